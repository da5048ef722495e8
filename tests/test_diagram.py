"""The diagram of a model: what stands in the SVG, and how it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import nncore
from nncore import plot
from nncore.layers import Dense, Dropout, Flatten, Input

SVG = "{http://www.w3.org/2000/svg}"


def svg_of(model: nncore.Sequential, **options: Any) -> ElementTree.Element:
    return ElementTree.fromstring(str(plot.diagram(model, **options)))


def words(element: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in element.iter(f"{SVG}text")]


class TestDiagram:
    def model(self) -> nncore.Sequential:
        model = nncore.Sequential(
            [
                Input((8, 8)),
                Flatten(name="flat"),
                Dense(64, activation="relu", name="hidden"),
                Dropout(0.25, name="drop"),
                Dense(1, name="out"),
            ],
            name="digits",
        )
        model.layers[1].trainable = False
        return model

    def test_what_stands_in_it(self) -> None:
        found = words(svg_of(self.model()))
        assert found[0].startswith("digits")
        assert found[0].endswith("4 layers, 4,225 parameters, float32")
        assert found[1:] == [
            *("input", "8 × 8", "64 numbers a row"),
            *("flat", "Flatten", "output 64", "no parameters"),
            *("hidden", "Dense, relu", "64 units, output 64", "4,160 parameters, frozen"),
            *("drop", "Dropout, rate 0.25", "output 64", "no parameters"),
            *("out", "Dense, linear", "1 unit, output 1", "65 parameters"),
        ]

    def test_a_model_that_is_not_built(self) -> None:
        found = words(svg_of(nncore.Sequential([Dense(2, name="a")])))
        assert found[1:] == ["a", "Dense, linear", "2 units, output ?", "not built yet"]

    def test_the_bar_is_the_share_of_the_parameters(self) -> None:
        root = svg_of(self.model())
        tracks = [r for r in root.iter(f"{SVG}rect") if r.get("class") == "track"]
        bars = [r for r in root.iter(f"{SVG}rect") if r.get("height") == "3" and r not in tracks]
        track = float(str(tracks[0].get("width")))
        widths = [float(str(bar.get("width"))) for bar in bars]
        assert widths == pytest.approx([track * 4160 / 4225, track * 65 / 4225], abs=0.5)

    @pytest.mark.parametrize("n", [1, 4, 5, 60])
    @pytest.mark.parametrize("across", [1, 4])
    def test_it_wraps(self, n: int, across: int) -> None:
        model = nncore.Sequential([Input((2,))])
        for i in range(n):
            model.add(Dense(3, name=f"layer_{i}"))
        root = svg_of(model, across=across)
        width, height = (float(str(root.get(name))) for name in ("width", "height"))
        boxes = [r for r in root.iter(f"{SVG}rect") if r.get("class") == "box"]
        assert len(boxes) == n + 1
        columns = {box.get("x") for box in boxes}
        assert len(columns) == min(across, n + 1)
        assert len({box.get("y") for box in boxes}) == -(-(n + 1) // across)
        for box in boxes:
            x, y, w, h = (float(str(box.get(k))) for k in ("x", "y", "width", "height"))
            assert 0 < x < x + w < width
            assert 0 < y < y + h < height
        assert len([p for p in root.iter(f"{SVG}path") if p.get("class") == "tip"]) == n

    def test_names_are_escaped_and_cut(self) -> None:
        model = nncore.Sequential(
            [Input((1,)), Dense(1, name='<b>&"\x01\ud800'), Dense(1, name="이름" * 20)],
            name="<script>" * 20,
        )
        diagram = plot.diagram(model)
        found = words(ElementTree.fromstring(diagram.svg))
        assert '<b>&"��' in found
        assert "이름이름이름이름이름…" in found
        assert found[0].startswith("<script><script>")
        assert "<script" not in diagram.svg
        assert "이름" * 20 in diagram.svg  # whole, as the box's title

    def test_it_needs_nothing(self) -> None:
        svg = str(plot.diagram(self.model()))
        assert not re.search(r"<script|<image|href|@import|url\(|src=", svg)
        assert re.findall('https?://[^"]*', svg) == ["http://www.w3.org/2000/svg"]
        assert "prefers-color-scheme: dark" in svg

    def test_both_styles_colour_the_same_things(self) -> None:
        light, dark = (
            set(re.findall(r"\.nncore-diagram ([.\w]+) \{[^}]*(?:fill|stroke): #", part))
            for part in str(plot.diagram(self.model())).split("@media")
        )
        assert light == dark
        used = set(re.findall(r'class="([\w-]+)"', str(plot.diagram(self.model()))))
        assert used - {"nncore-diagram", "layer"} <= {name.removeprefix(".") for name in light}

    def test_every_kind_of_layer(self) -> None:
        from nncore.layers import LAYERS

        options: dict[str, tuple[Any, ...]] = {
            "Dense": (3,), "Activation": ("tanh",), "Dropout": (0.5,), "Rescaling": (0.5,),
        }  # fmt: skip
        kinds = [kind for kind in LAYERS if kind != "InputLayer"]
        model = nncore.Sequential([Input((2,))])
        for kind in kinds:
            model.add(LAYERS[kind](*options.get(kind, ())))
        found = words(svg_of(model))
        for kind in kinds:
            assert any(text.split(",")[0] == kind for text in found), kind

    def test_in_a_notebook(self) -> None:
        diagram = plot.diagram(self.model())
        assert diagram._repr_svg_() == str(diagram) == diagram.svg
        assert repr(diagram).startswith('<Diagram of Sequential "digits"')

    def test_save(self, tmp_path: Path) -> None:
        diagram, path = plot.diagram(self.model()), tmp_path / "model.svg"
        path.write_text("old")
        diagram.save(path)
        assert path.read_text(encoding="utf-8") == str(diagram)
        assert [file.name for file in tmp_path.iterdir()] == ["model.svg"]
        with pytest.raises(
            FileNotFoundError, match=r"the diagram cannot be saved as .*Make it fir"
        ):
            diagram.save(tmp_path / "no" / "model.svg")
        with pytest.raises(IsADirectoryError, match="that is a folder"):
            diagram.save(tmp_path)

    def test_a_failed_save_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "model.svg"
        path.write_text("old")

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.replace", full)
        with pytest.raises(OSError, match="the diagram cannot be saved here: No space left"):
            plot.diagram(self.model()).save(path)
        assert path.read_text() == "old"
        assert [file.name for file in tmp_path.iterdir()] == ["model.svg"]

    def test_bad_input(self) -> None:
        with pytest.raises(TypeError, match="model must be a model; received str"):
            plot.diagram("model")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"has no layers; add some with model\.add"):
            plot.diagram(nncore.Sequential())
        with pytest.raises(ValueError, match="across must be an integer >= 1"):
            plot.diagram(self.model(), across=0)
