"""Plots, by what stands in them: texts, lines, places; and the diagram."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore
from nncore import kernels, plot
from nncore.layers import Activation, Dense, Dropout, Flatten, Input, ReLU, Rescaling, Softmax

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra plot)")

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

ROOT = Path(__file__).parents[1]
X, T = [[0.1, 0.2]], [[0.4, 0.6]]


@pytest.fixture
def ax() -> Axes:
    """Axes that pyplot knows nothing of."""
    return Figure(figsize=(8, 5)).subplots()


@pytest.fixture
def no_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """pyplot without a screen, which forgets its figures."""
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield pyplot
    pyplot.close("all")


def worked_example(use_bias: bool = False) -> nncore.Sequential:
    model = nncore.Sequential(
        [
            Input((2,), dtype="float64"),
            Dense(2, activation="sigmoid", use_bias=use_bias, dtype="float64", name="hidden"),
            Dense(2, activation="sigmoid", use_bias=use_bias, dtype="float64", name="output"),
        ]
    )
    weights = [[[0.30, 0.40], [0.25, 0.35]], [[0.45, 0.70], [0.40, 0.60]]]
    if use_bias:
        weights = [weights[0], [0.1, -0.2], weights[1], [0.3, 0.05]]  # type: ignore[list-item]
    model.set_weights(weights)
    model.compile(nncore.optimizers.SGD(learning_rate=0.5), loss="mse")
    return model


def classifier(*units: int, n: int = 2, classes: int = 3) -> nncore.Sequential:
    nncore.set_random_seed(0)
    hidden = [Dense(k, activation="relu", name=f"hidden_{i}") for i, k in enumerate(units)]
    model = nncore.Sequential([Input((n,)), *hidden, Dense(classes, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def rows(n: int, columns: int = 2) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(n, columns))


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def drawn(figure: Any) -> None:
    """Draw it, so that what fails only then fails here."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()


def minus(number: float, digits: int = 3) -> str:
    return f"{number:.{digits}g}".replace("-", "−")


def inside(ax: Axes) -> None:
    """Assert that no text leaves the drawing."""
    drawn(ax.figure)
    box = ax.get_window_extent().expanded(1.01, 1.01)
    for text in ax.texts:
        extent = text.get_window_extent()
        assert box.x0 <= extent.x0, text
        assert box.x1 >= extent.x1, text
        assert box.y0 <= extent.y0, text
        assert box.y1 >= extent.y1, text


# --- the network ---


class TestNetwork:
    @pytest.mark.parametrize("use_bias", [False, True])
    def test_every_number_of_the_worked_example(self, ax: Axes, use_bias: bool) -> None:
        trace = worked_example(use_bias).trace(X, T)
        assert trace.plot(ax=ax) is ax
        found = texts(ax)
        for layer in ("hidden", "output"):
            for word in ("z", "y", "dy", "dz"):
                for value in trace[f"{layer}.{word}"][0]:
                    assert f"{word} {minus(value)}" in found
            for word in ("w", "dw"):
                for value in trace[f"{layer}.{word}"].ravel():
                    assert minus(value) in found
            for word in ("b", "db") if use_bias else ():
                for value in trace[f"{layer}.{word}"]:
                    assert f"{word} {minus(value)}" in found
        for value in trace["hidden.dx"][0]:
            assert f"dx {minus(value)}" in found
        assert {"0.1", "0.2", "t 0.4", "t 0.6", "$h_{1}$", "$o_{2}$"} <= set(found)
        assert f"E {minus(trace.loss)}" in found
        assert not any("nan" in text for text in found)

    def test_digits(self, ax: Axes) -> None:
        trace = worked_example().trace(X, T)
        plot.network(trace, digits=8, ax=ax)
        assert f"{trace['output.dw'][0, 0]:.8g}" in texts(ax)
        assert f"dz {trace['output.dz'][0, 0]:.8g}" in texts(ax)
        assert len(f"{trace['output.dw'][0, 0]:.8g}") > 8

    def test_units_and_lines(self, ax: Axes) -> None:
        trace = worked_example().trace(X, T)
        trace.plot(ax=ax)
        assert sum(isinstance(patch, Circle) for patch in ax.patches) == 6
        first, second = (c for c in ax.collections if isinstance(c, LineCollection))
        assert first.get_gid() == "nncore:hidden:w"
        assert len(first.get_segments()) == 4
        # The line is as wide as the weight is large.
        assert list(np.argsort(second.get_linewidths())) == list(
            np.argsort(trace["output.w"].ravel())
        )

    def test_gradients_have_a_colour_of_their_own(self, ax: Axes) -> None:
        worked_example(True).trace(X, T).plot(ax=ax)
        colours: dict[bool, set[str]] = {True: set(), False: set()}
        for text in ax.texts:
            if re.match("(d?[zyb]|dx) ", text.get_text()):
                colours[text.get_text().startswith("d")].add(text.get_color())
        assert len(colours[True]) == len(colours[False]) == 1
        assert colours[True] != colours[False]

    def test_negative_weights_are_dashed(self, ax: Axes) -> None:
        model = worked_example()
        model.layers[0].kernel = [[0.3, -0.4], [0.2, 0.1]]
        plot.network(model, ax=ax)
        lines = next(c for c in ax.collections if isinstance(c, LineCollection))
        solid = [style[1] is None for style in lines.get_linestyles()]
        assert solid == [True, False, True, True]
        assert "dashed: negative weight" in texts(ax)[-1]
        assert "−0.4" in texts(ax)

    @pytest.mark.parametrize("row", [0, 2, -1])
    def test_the_row(self, ax: Axes, row: int) -> None:
        trace = classifier(2).trace(rows(3), [0, 1, 2])
        trace.plot(row=row, ax=ax)
        found = texts(ax)
        number = row % 3
        assert f"y {minus(trace['hidden_0.y'][number, 0])}" in found
        assert f"t: class {number}" in found
        assert any(text.startswith(f"row {number + 1} of 3; dw, db and E") for text in found)

    def test_a_model_has_its_weights_alone(self, ax: Axes) -> None:
        plot.network(worked_example(True), ax=ax)
        found = texts(ax)
        assert {"0.3", "0.4", "0.25", "b 0.1", "b −0.2"} <= set(found)
        assert not any(re.match("[zyE] |d[wbzyx]", text) for text in found)

    def test_the_names_are_those_of_the_explanation(self, ax: Axes) -> None:
        nncore.set_random_seed(0)
        model = nncore.Sequential(
            [Input((2,)), Rescaling(0.5), Dense(2), Dense(2), Dropout(0.5), Dense(2), Softmax()]
        )
        model.compile("sgd", "categorical_crossentropy")
        trace = model.trace(X, [[1, 0]])
        trace.plot(ax=ax)
        markdown = trace.explain().markdown
        names = [text.strip("$") for text in texts(ax) if text.startswith("$")]
        assert len(names) == 14
        assert {"h_{1}^{(3)}", "a_{2}^{(1)}", "a_{2}^{(2)}", "o_{1}"} <= set(names)
        for name in names:
            assert name in markdown

    def test_layers_that_hand_on_are_left_out(self, ax: Axes) -> None:
        model = nncore.Sequential([Input((2, 1)), Flatten(), Dense(1), Activation("linear")])
        plot.network(model, ax=ax)
        assert sum(isinstance(patch, Circle) for patch in ax.patches) == 3

    def test_softmax_looks_at_the_whole_row(self, ax: Axes) -> None:
        plot.network(nncore.Sequential([Input((3,)), Softmax(name="soft"), ReLU(name="r")]), ax=ax)
        lines = {c.get_gid(): c for c in ax.collections}
        assert len(lines["nncore:soft:w"].get_segments()) == 9
        assert len(lines["nncore:r:w"].get_segments()) == 3

    def test_a_middling_net_has_no_numbers_on_its_lines(self, ax: Axes) -> None:
        trace = classifier(12).trace(rows(1), [0])
        trace.plot(ax=ax)
        found = texts(ax)
        assert "too large for the numbers of its 60 weights" in found[-1]
        assert minus(trace["hidden_0.y"][0, 3]) in found
        assert not any(text.startswith("dz") for text in found)
        assert sum(len(c.get_segments()) for c in ax.collections) == 60

    @pytest.mark.parametrize("traced", [False, True])
    def test_a_large_net_is_drawn_as_blocks(self, ax: Axes, traced: bool) -> None:
        model = classifier(64, 64, n=64, classes=10)
        trace = model.trace(rows(8, 64), np.arange(8))
        plot.network(trace if traced else model, ax=ax)
        found = texts(ax)
        head = "64-64-64-10, 8,970 parameters: too large to draw unit by unit"
        assert f"{head}, so each layer is a block" in found
        assert sum(isinstance(patch, FancyBboxPatch) for patch in ax.patches) == 4
        norm = np.sqrt(np.square(trace["hidden_1.w"], dtype=float).sum())
        assert f"|w| {norm:.3g}" in found
        gradient = np.sqrt(np.square(trace["hidden_1.dw"], dtype=float).sum())
        assert (f"|dw| {gradient:.3g}" in found) == traced

    def test_a_deep_net_goes_on_in_the_next_row(self, ax: Axes) -> None:
        plot.network(classifier(*[20] * 11), ax=ax)
        blocks = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
        assert len(blocks) == 13
        assert len({round(block.get_y(), 3) for block in blocks}) == 3

    @pytest.mark.parametrize(
        "units", [(2,), (4, 3), (8,), (16,), (3, 3, 3, 3), (100,), (50,) * 14], ids=str
    )
    @pytest.mark.parametrize("traced", [False, True])
    def test_nothing_leaves_the_drawing(
        self, units: tuple[int, ...], traced: bool, no_window: Any
    ) -> None:
        model = classifier(*units)
        source: Any = model.trace(rows(3), [0, 1, 2]) if traced else model
        inside(plot.network(source))

    @pytest.mark.parametrize("digits", [3, 8, 17])
    def test_numbers_stay_off_the_units(self, no_window: Any, digits: int) -> None:
        """What stands in a unit fits into it; what stands on a line is clear of its units."""
        ax = worked_example(True).trace([[0.1, 0.2]], T).plot(digits=digits)
        inside(ax)
        circles = [patch for patch in ax.patches if isinstance(patch, Circle)]
        dots_an_inch = ax.figure.dpi
        for text in ax.texts:
            box = text.get_window_extent()
            x, y = text.get_position()
            for circle in circles:
                near = np.hypot(x - circle.center[0], y - circle.center[1])
                if near < circle.radius:
                    assert box.width <= 2.05 * circle.radius * dots_an_inch, text
                elif text.get_rotation() == 0 and text.get_text()[0] in "0−":
                    left, right = box.x0 / dots_an_inch, box.x1 / dots_an_inch
                    gap = max(left - circle.center[0], circle.center[0] - right)
                    assert gap >= circle.radius or abs(y - circle.center[1]) > 0.2, text

    def test_a_small_place_makes_all_smaller(self) -> None:
        trace = worked_example().trace(X, T)
        sizes = []
        for width in (9.0, 3.0):
            ax = Figure(figsize=(width, width / 2)).add_axes((0, 0, 1, 1))
            trace.plot(ax=ax)
            inside(ax)
            sizes.append(ax.texts[0].get_fontsize())
        assert sizes[1] == pytest.approx(sizes[0] / 3, rel=0.02)

    def test_names_are_no_formulas(self, ax: Axes) -> None:
        model = nncore.Sequential([Input((2,)), Dense(1, name="a$b_{$ {} \\frac")])
        plot.network(model, ax=ax)
        drawn(ax.figure)  # a formula that is none is an error here
        assert any(text.replace("\\$", "$") == "a$b_{$ {} \\frac" for text in texts(ax))

    def test_what_is_not_finite(self, ax: Axes) -> None:
        model = worked_example()
        model.layers[0].kernel = [[np.nan, np.inf], [1e200, 0.0]]
        plot.network(model, ax=ax)
        drawn(ax.figure)
        assert {"nan", "inf", "1e+200", "0"} <= set(texts(ax))

    def test_nothing_is_changed(self, ax: Axes) -> None:
        model = worked_example()
        before = model.parameters.copy()
        model.trace(X, T).plot(ax=ax)
        plot.network(model, ax=ax)
        np.testing.assert_array_equal(model.parameters, before)

    def test_bad_input(self, ax: Axes) -> None:
        trace = worked_example().trace(X, T)
        with pytest.raises(TypeError, match=r"source must be a Trace .* received list"):
            plot.network([1])
        with pytest.raises(ValueError, match=r"network: Sequential \".*\" is not built"):
            plot.network(nncore.Sequential([Dense(1)]))
        with pytest.raises(IndexError, match=r"the trace has 1 rows, .* received row=1"):
            trace.plot(row=1)
        with pytest.raises(TypeError, match=r"row must be an integer; received row=0\.5"):
            trace.plot(row=0.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"digits must be an integer >= 1"):
            trace.plot(digits=0)
        with pytest.raises(TypeError, match=r"ax must be one matplotlib Axes.*received ndarray"):
            trace.plot(ax=ax.figure.subplots(2))  # type: ignore[union-attr]
        assert not ax.texts


# --- curves ---


class TestHistory:
    def fitted(self, **options: Any) -> Any:
        x = rows(40)
        labels = (x[:, 0] > 0).astype(int)
        return classifier(4).fit(x, labels, epochs=6, verbose=0, **options)

    def test_pairs(self, ax: Axes) -> None:
        history = self.fitted(validation_split=0.25)
        assert plot.history(history, ax=ax) is ax
        lines = {line.get_label(): line for line in ax.lines}
        assert list(lines) == ["loss", "val_loss", "accuracy", "val_accuracy"]
        for name, line in lines.items():
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 7))
            np.testing.assert_array_equal(line.get_ydata(), history.history[name])
            assert line.get_linestyle() == ("--" if name.startswith("val_") else "-")
        for name in ("loss", "accuracy"):
            assert lines[name].get_color() == lines[f"val_{name}"].get_color()
        assert lines["loss"].get_color() != lines["accuracy"].get_color()
        assert ax.get_xlabel() == "epoch"
        assert [text.get_text() for text in ax.get_legend().get_texts()] == list(lines)

    @pytest.mark.parametrize(
        ("metrics", "names"),
        [
            ("loss", ["loss", "val_loss"]),
            (["accuracy"], ["accuracy", "val_accuracy"]),
            ("val_loss", ["val_loss"]),
            (["val_loss", "loss"], ["val_loss", "loss"]),
        ],
    )
    def test_choice(self, ax: Axes, metrics: Any, names: list[str]) -> None:
        plot.history(self.fitted(validation_split=0.25).history, metrics, ax=ax)
        assert [line.get_label() for line in ax.lines] == names
        assert ax.get_ylabel() == names[0].removeprefix("val_")

    def test_validation_stands_at_its_epochs(self, ax: Axes) -> None:
        history = self.fitted(validation_split=0.25, validation_freq=[1, 4, 6])
        plot.history(history, "loss", ax=ax)
        assert list(ax.lines[1].get_xdata()) == [1, 4, 6]

    def test_a_shorter_list_of_a_dict(self, ax: Axes) -> None:
        plot.history({"loss": [3, 2, 1, 0.5], "val_loss": [3, 2]}, ax=ax)
        assert list(ax.lines[1].get_xdata()) == [2, 4]

    def test_one_epoch_is_a_dot(self, ax: Axes) -> None:
        plot.history({"loss": [3]}, ax=ax)
        assert ax.lines[0].get_marker() == "o"
        plot.history({"loss": [3, np.nan, 2, 1, np.inf]}, ax=ax)
        assert ax.lines[1].get_markevery() == [0]

    def test_two_fits(self, ax: Axes) -> None:
        model, history = classifier(4), nncore.callbacks.History()
        for _ in range(2):
            model.fit(rows(8), np.zeros(8), epochs=3, verbose=0, callbacks=[history])
        plot.history(history, "loss", ax=ax)
        assert list(ax.lines[0].get_xdata()) == [1, 2, 3, 4, 5, 6]

    def test_what_is_not_drawn_unasked(self, ax: Axes) -> None:
        logs = {"loss": [1, 2], "learning_rate": [1, 1], "hidden/gradient": [1, 2]}
        plot.history(logs, ax=ax)
        assert [line.get_label() for line in ax.lines] == ["loss"]
        plot.history(logs, "hidden/gradient", ax=ax)
        assert ax.lines[1].get_label() == "hidden/gradient"
        assert len(plot.history({"learning_rate": [1, 2]}, ax=ax).lines) == 3

    def test_log(self, ax: Axes) -> None:
        plot.history({"loss": [1, 0, 0.1]}, log=True, ax=ax)
        assert ax.get_yscale() == "log"
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1, np.nan, 0.1])

    def test_bad_input(self) -> None:
        with pytest.raises(
            ValueError, match=r'unknown metric "los": did you mean "loss"\? Known: accuracy, loss\.'
        ):
            plot.history({"loss": [1], "accuracy": [1]}, "los")
        with pytest.raises(ValueError, match="the history is empty: no epoch has been trained"):
            plot.history(nncore.callbacks.History())
        with pytest.raises(ValueError, match="metrics is empty"):
            plot.history({"loss": [1]}, [])
        with pytest.raises(TypeError, match=r"must be what fit returned.*received Sequential"):
            plot.history(worked_example())
        with pytest.raises(TypeError, match=r'the series "loss" must be an array of real numbers'):
            plot.history({"loss": ["a"]})


class TestCurves:
    def test_one_line_a_layer(self, ax: Axes) -> None:
        series = {"hidden": [0.5, 0.25, 0.125], "_$out$": [1.0, 2.0]}
        plot.curves(series, ylabel="|dw|", log=True, ax=ax)
        first, second = ax.lines
        np.testing.assert_array_equal(first.get_ydata(), series["hidden"])
        assert list(second.get_xdata()) == [1, 2]
        assert ax.get_ylabel() == "|dw|"
        assert ax.get_yscale() == "log"
        assert len(ax.get_legend().get_texts()) == 2
        drawn(ax.figure)

    def test_places(self, ax: Axes) -> None:
        plot.curves({"a": [1, 2]}, x=[10, 20], xlabel="epoch", ax=ax)
        assert list(ax.lines[0].get_xdata()) == [10, 20]
        assert ax.get_xlabel() == "epoch"

    @pytest.mark.parametrize("n", [1, 8, 9, 40])
    def test_every_line_has_its_colour(self, ax: Axes, n: int) -> None:
        plot.curves({f"layer {i}": [1, 2] for i in range(n)}, ax=ax)
        assert len({str(line.get_color()) for line in ax.lines}) == n

    def test_bad_input(self) -> None:
        with pytest.raises(TypeError, match=r"series must be a mapping.*received list"):
            plot.curves([1, 2])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="series is empty"):
            plot.curves({})
        with pytest.raises(ValueError, match=r'the series "a" must have one dimension.*\(1, 2\)'):
            plot.curves({"a": [[1, 2]]})
        with pytest.raises(
            ValueError, match=r'x has shape \(3,\), but the series "a" has 2 values'
        ):
            plot.curves({"a": [1, 2]}, x=[1, 2, 3])
        with pytest.raises(ValueError, match=r'log=True needs positive numbers; the series "a"'):
            plot.curves({"a": [0, -1]}, log=True)


class TestActivation:
    @pytest.mark.parametrize("name", sorted(set(kernels.activations()) - {"softmax"}))
    def test_the_kernels_numbers(self, ax: Axes, name: str) -> None:
        plot.activation(name, x=(-3, 4), ax=ax)
        value, slope = (line for line in ax.lines if line.get_gid())
        z = np.asarray(value.get_xdata())
        assert (z[0], z[-1]) == (-3, 4)
        alpha = nncore.activations.get(name).alpha
        np.testing.assert_array_equal(value.get_ydata(), kernels.activate(name, z, alpha))
        at, drawn_slope = np.asarray(slope.get_xdata()), np.asarray(slope.get_ydata())
        known = np.isfinite(drawn_slope)
        np.testing.assert_array_equal(
            drawn_slope[known], kernels.activate_derivative(name, at[known], alpha)
        )
        assert set(z) <= set(at)

    @pytest.mark.parametrize(
        ("name", "jumps"),
        [("relu", [0]), ("relu6", [0, 6]), ("hard_sigmoid", [-3, 3]), ("selu", [0]), ("tanh", []),
         ("mish", []), ("linear", []), ("sigmoid", []), ("elu", []), ("leaky_relu", [0])],
    )  # fmt: skip
    @pytest.mark.parametrize("x", [(-7, 8), (-90.5, 100)])
    def test_the_line_is_broken_where_the_derivative_jumps(
        self, ax: Axes, name: str, jumps: list[float], x: tuple[float, float]
    ) -> None:
        plot.activation(name, x=x, ax=ax)
        slope = ax.lines[-1]
        gaps = np.asarray(slope.get_xdata())[np.isnan(np.asarray(slope.get_ydata()))]
        np.testing.assert_allclose(gaps, jumps, atol=1e-6)

    def test_softmax(self, ax: Axes) -> None:
        plot.activation("softmax", ax=ax)
        value, slope = (line for line in ax.lines if line.get_gid())
        sigmoid = kernels.activate("sigmoid", np.asarray(value.get_xdata()))
        np.testing.assert_allclose(np.asarray(value.get_ydata()), sigmoid, atol=1e-15)
        np.testing.assert_allclose(
            np.asarray(slope.get_ydata()), sigmoid * (1 - sigmoid), atol=1e-15
        )

    def test_several_on_one_plot(self, ax: Axes) -> None:
        for activation in ("relu", nncore.activations.tanh, {"class_name": "elu", "config": {}}):
            plot.activation(activation, ax=ax, derivative=False)
        curves = [line for line in ax.lines if line.get_gid()]
        assert [line.get_label() for line in curves] == ["relu", "tanh", "elu(alpha=1)"]
        assert len({line.get_color() for line in curves}) == 3
        assert len(ax.lines) == 5  # and the axes' zero lines, once

    def test_what_overflows_is_a_gap(self, ax: Axes) -> None:
        plot.activation("exponential", x=(-1, 2000), ax=ax)
        assert np.isnan(np.asarray(ax.lines[2].get_ydata())).any()
        drawn(ax.figure)

    def test_bad_input(self) -> None:
        with pytest.raises(ValueError, match=r'unknown activation "rellu": did you mean "relu"'):
            plot.activation("rellu")
        with pytest.raises(TypeError, match=r"x must be a pair of numbers.*received x=3"):
            plot.activation("relu", x=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"x must be from a smaller to a larger number"):
            plot.activation("relu", x=(1, 1))
        with pytest.raises(ValueError, match=r"x must be a finite number in \[-1e\+06, 1e\+06\]"):
            plot.activation("relu", x=(0, np.inf))


# --- regions ---


def two_inputs(*layers: Any, loss: Any = "mse") -> nncore.Sequential:
    nncore.set_random_seed(1)
    model = nncore.Sequential([Input((2,)), *layers])
    model.compile("sgd", loss)
    return model


class TestDecisionRegions:
    def test_binary(self, ax: Axes) -> None:
        model = two_inputs(Dense(1, activation="sigmoid"), loss="binary_crossentropy")
        model.set_weights([[[2.0], [0.0]], [-1.0]])  # the line at x1 = 0.5
        x = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
        plot.decision_regions(model, x, x[:, 0], margin=0.5, resolution=50, ax=ax)
        assert ax.get_xlim() == (-0.5, 1.5)
        (line,) = [c for c in ax.collections if len(getattr(c, "levels", ())) == 1]
        (path,) = (path for path in line.get_paths() if len(path))
        np.testing.assert_allclose(path.vertices[:, 0], 0.5, atol=1e-3)
        points = [c for c in ax.collections if len(c.get_offsets()) > 1]
        assert [c.get_label() for c in points] == ["class 0", "class 1"]
        np.testing.assert_array_equal(points[1].get_offsets(), x[x[:, 0] == 1])
        image = np.asarray(ax.images[0].get_array())
        assert image.shape == (50, 50, 4)
        left, right = image[25, 0], image[25, -1]
        assert left[2] > left[0]  # blue
        assert right[0] > right[2]  # orange
        np.testing.assert_allclose(image[25, 25, :3], 1, atol=0.1)  # undecided: the paper

    @pytest.mark.parametrize("from_logits", [False, True])
    def test_classes(self, ax: Axes, from_logits: bool) -> None:
        loss = nncore.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        last = Dense(3, activation="linear" if from_logits else "softmax")
        model = two_inputs(last, loss=loss)
        x = rows(30)
        plot.decision_regions(model, x, np.arange(30) % 3, resolution=40, ax=ax)
        image = np.asarray(ax.images[0].get_array())
        across, up = (np.linspace(*limits, 40) for limits in (ax.get_xlim(), ax.get_ylim()))
        grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
        winner = model.predict(grid, verbose=0).argmax(1).reshape(40, 40)
        hue = np.round(
            (image[..., :3] - 1) / (image[..., :3] - 1).min(axis=-1, keepdims=True), 3
        ).reshape(-1, 3)
        for k in range(3):
            assert len(np.unique(hue[winner.ravel() == k], axis=0)) <= 1
        assert len(np.unique(hue, axis=0)) == len(np.unique(winner))

    def test_one_hot_targets(self, ax: Axes) -> None:
        model = two_inputs(Dense(3, activation="softmax"), loss="categorical_crossentropy")
        plot.decision_regions(model, rows(3), np.eye(3)[[2, 0, 2]], resolution=5, ax=ax)
        points = [c for c in ax.collections if c.get_label() in ("class 0", "class 2")]
        assert [len(c.get_offsets()) for c in points] == [1, 2]

    def test_regression(self, ax: Axes) -> None:
        model = two_inputs(Dense(1))
        model.set_weights([[[1.0], [0.0]], [0.0]])  # y = x1
        x = np.array([[0, 0], [1, 0], [0, 1], [1, 1.0]])
        plot.decision_regions(model, x, [0, 1, 0, 3], margin=0, resolution=20, ax=ax)
        (lines,) = [c for c in ax.collections if c.get_linewidth()[0] == 0.8 and len(c.get_paths())
                    and hasattr(c, "levels")]  # fmt: skip
        for level, path in zip(lines.levels, lines.get_paths(), strict=True):
            np.testing.assert_allclose(path.vertices[:, 0], level, atol=1e-6)
        points = ax.collections[-1]
        np.testing.assert_array_equal(points.get_array(), [0, 1, 0, 3])
        assert points.get_clim()[1] >= 3
        assert ax.texts  # the lines' numbers

    def test_an_output_of_several(self, ax: Axes) -> None:
        model = worked_example()
        with pytest.raises(ValueError, match=r"has 2 outputs\. Choose one with output=0, or give"):
            plot.decision_regions(model, rows(4))
        plot.decision_regions(model, rows(4), resolution=5, kind="classes", ax=ax)
        plot.decision_regions(model, rows(4), rows(4), kind="regression", output=1, ax=ax)
        np.testing.assert_array_equal(ax.collections[-1].get_array(), rows(4)[:, 1])

    def test_a_constant_answer(self, ax: Axes) -> None:
        layers = (Dense(1), Dense(1, activation="sigmoid"), Dense(2, activation="softmax"))
        for images, layer in enumerate(layers):  # a regression has lines, the others an image
            model = two_inputs(layer)
            model.set_weights([np.zeros_like(w) for w in model.get_weights()])
            plot.decision_regions(model, [[1, 1]], resolution=5, ax=ax)
            assert len(ax.images) == images
            for image in (np.asarray(found.get_array(), dtype=float) for found in ax.images):
                np.testing.assert_array_equal(image, np.broadcast_to(image[:1, :1], image.shape))
        drawn(ax.figure)

    def test_rows_of_another_shape(self, ax: Axes) -> None:
        model = nncore.Sequential([Input((2, 1)), Flatten(), Dense(1)])
        plot.decision_regions(model, rows(4).reshape(4, 2, 1), resolution=5, ax=ax)
        assert len(ax.collections[-1].get_offsets()) == 4

    def test_bad_input(self, ax: Axes) -> None:
        model = two_inputs(Dense(3, activation="softmax"), loss="sparse_categorical_crossentropy")
        regions = plot.decision_regions
        with pytest.raises(TypeError, match="model must be a model; received int"):
            regions(3, [[1, 2]])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"is not built.*Train it with fit\(\) first"):
            regions(nncore.Sequential([Dense(1)]), [[1, 2]])
        with pytest.raises(ValueError, match=r"must have 2 inputs; Sequential \".*\" has 3"):
            regions(classifier(2, n=3), [[1, 2, 3]])
        with pytest.raises(ValueError, match=r"shape \(n, 2\); received shape \(1, 3\)"):
            regions(model, [[1, 2, 3]])
        with pytest.raises(ValueError, match=r"x must be finite"):
            regions(model, [[1, np.nan]])
        with pytest.raises(ValueError, match=r"target for each of the 2 rows; received shape \(1,"):
            regions(model, rows(2), [1])
        with pytest.raises(ValueError, match=r"class numbers from 0 to 2; received 3"):
            regions(model, rows(2), [1, 3])
        with pytest.raises(ValueError, match=r"y must have one target a row, or 3 as the model"):
            regions(model, rows(2), rows(2, 2))
        with pytest.raises(ValueError, match=r"has 3 outputs, so output is from 0 to 2"):
            regions(model, rows(2), output=3)
        with pytest.raises(ValueError, match=r'kind must be one of "binary", "classes", "regr'):
            regions(model, rows(2), kind="class")
        with pytest.raises(ValueError, match=r'output=1 draws one output, kind="classes" compares'):
            regions(model, rows(2), kind="classes", output=1)
        with pytest.raises(ValueError, match=r'has one output; kind="classes" needs one for each'):
            regions(two_inputs(Dense(1)), rows(2), kind="classes")
        with pytest.raises(ValueError, match=r"resolution must be at most 2000"):
            regions(model, rows(2), resolution=5000)
        model.layers[0].bias = [np.nan] * 3
        with pytest.raises(ValueError, match=r"NaN or infinity everywhere: its weights have"):
            regions(model, rows(2), ax=ax)
        assert not ax.collections


# --- histograms ---


class TestHistograms:
    def panels(self, figure: Figure) -> dict[tuple[str, str], Axes]:
        """Return the panels that have something, by layer and column."""
        found, titles = {}, [ax.get_title() for ax in figure.axes if ax.get_title()]
        for k, ax in enumerate(figure.axes):
            layer = figure.axes[k - k % len(titles)].get_ylabel()
            if ax.patches:
                found[layer, titles[k % len(titles)]] = ax
        return found

    def counts(self, ax: Axes) -> tuple[Any, Any]:
        (stairs,) = ax.patches
        return stairs.get_data()[:2]  # type: ignore[attr-defined, no-any-return]

    def test_a_trace(self) -> None:
        trace = classifier(5, 4).trace(rows(16), np.zeros(16))
        figure = plot.histograms(trace, bins=10, share=False, fig=Figure())
        panels = self.panels(figure)
        layers = [layer.name for layer in trace.layers]
        assert list(panels) == [
            (layer, what) for layer in layers for what in ("weights", "gradients", "activations")
        ]
        for (layer, what), ax in panels.items():
            part = {"weights": "w", "gradients": "dw", "activations": "y"}[what]
            values = trace[f"{layer}.{part}"].astype(float).ravel()
            counts, edges = np.histogram(values, 10)
            shown = self.counts(ax)
            np.testing.assert_array_equal(shown[0], counts)
            np.testing.assert_allclose(shown[1], edges)
            assert texts(ax)[0].startswith(f"sd {values.std():.3g}")

    def test_layers_share_their_axis(self) -> None:
        figure = plot.histograms({"a": [0, 1], "b": [-4, 0.001]}, bins=5, fig=Figure())
        first, second = self.panels(figure).values()
        assert list(self.counts(first)[1]) == list(self.counts(second)[1])
        assert first.get_xlim() == second.get_xlim()

    def test_a_model(self) -> None:
        model = classifier(5)
        panels = self.panels(plot.histograms(model, "weights", layers="hidden_0", fig=Figure()))
        assert list(panels) == [("hidden_0", "weights")]
        assert self.counts(panels["hidden_0", "weights"])[0].sum() == 10

    def test_mappings(self) -> None:
        panels = self.panels(plot.histograms({"a": np.arange(9)}, "gradients", fig=Figure()))
        assert list(panels) == [("a", "gradients")]
        nested = {"weights": {"a": [1, 2]}, "activations": {"a": [3], "b": [4, 5]}}
        panels = self.panels(plot.histograms(nested, fig=Figure()))
        assert set(panels) == {("a", "weights"), ("a", "activations"), ("b", "activations")}

    def test_a_record(self) -> None:
        class Recorded(dict[str, Any]):
            """What a Record has of a training of two steps, the second with fewer rows."""

            steps, rows = np.array([0, 1]), np.array([3, 2])

        y = np.arange(6.0).reshape(2, 3, 1)
        y[1, 2] = np.nan
        record = Recorded(loss=np.ones(2), **{"a.y": y, "a.w": np.ones((2, 4, 1))})
        panels = self.panels(plot.histograms(record, fig=Figure()))
        assert [self.counts(ax)[0].sum() for ax in panels.values()] == [4, 2]
        assert list(panels) == [("a", "weights"), ("a", "activations")]
        panels = self.panels(plot.histograms(record, "activations", step=0, fig=Figure()))
        assert self.counts(panels["a", "activations"])[0].sum() == 3
        with pytest.raises(IndexError, match=r"has 2 steps, so step is from 0 to 1; .*step=2"):
            plot.histograms(record, step=2)
        with pytest.raises(ValueError, match=r"no layer has gradients"):
            plot.histograms(record, "gradients")
        Recorded.steps = np.array([], int)
        with pytest.raises(ValueError, match=r"the record is empty: give it to fit"):
            plot.histograms(record)

    def test_what_is_said(self) -> None:
        values = np.array([0, 0, 0, 1, np.nan, np.inf])
        figure = plot.histograms({"a": values, "b": [], "$c": [2.0, 2.0]}, fig=Figure())
        first, second, third = (texts(ax)[0] for ax in figure.axes)
        assert first == "sd 0.433\nzeros 75%\nnot drawn: 2"
        assert second == "no numbers"
        assert third == "sd 0"
        drawn(figure)

    def test_numbers_that_hardly_differ_and_enormous_ones(self) -> None:
        almost = np.nextafter(3.0, 4.0)
        figure = plot.histograms(
            {"a": [3.0, almost], "b": [1e308, -1e308, 1.0], "c": [-1e299, 1e299]},
            share=False, log=True, fig=Figure(),
        )  # fmt: skip
        assert [self.counts(ax)[0].sum() for ax in figure.axes] == [2, 1, 2]
        drawn(figure)

    def test_a_deep_net(self) -> None:
        figure = plot.histograms({f"layer {i}": [i, i + 1] for i in range(50)}, fig=Figure())
        assert [ax.get_ylabel() for ax in figure.axes] == [
            f"layer {i}" for i in (*range(10), *range(40, 50))
        ]
        assert figure.get_suptitle() == "the first and last 10 of 50 layers"

    def test_bad_input(self) -> None:
        trace = classifier(2).trace(rows(2), [0, 1])
        with pytest.raises(ValueError, match=r'unknown numbers "weight": did you mean "weights"'):
            plot.histograms(trace, "weight")
        with pytest.raises(
            ValueError, match=r'unknown layer "hidden": .* Known: dense.*, hidden_0'
        ):
            plot.histograms(trace, layers="hidden")
        with pytest.raises(ValueError, match=r"a model has weights alone; .*what='gradients'"):
            plot.histograms(classifier(2), "gradients")
        with pytest.raises(ValueError, match=r"is not built, so it has no weights"):
            plot.histograms(nncore.Sequential([Dense(1)]))
        with pytest.raises(ValueError, match=r"nothing to draw: no layer has weights"):
            plot.histograms(nncore.Sequential([Input((2,)), Softmax()]))
        with pytest.raises(TypeError, match=r"source must be a model, a Trace, a Record, or a map"):
            plot.histograms(np.zeros(3))
        with pytest.raises(TypeError, match=r"fig must be a matplotlib Figure.*received int"):
            plot.histograms({"a": [1]}, fig=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"bins must be an integer >= 1"):
            plot.histograms({"a": [1]}, bins=0)
        with pytest.raises(ValueError, match=r"layers is empty"):
            plot.histograms({"a": [1]}, layers=[])


# --- all of them ---


def everything(**place: Any) -> list[Any]:
    """Draw one of each."""
    model = classifier(3)
    trace = model.trace(rows(2), [0, 1])
    return [
        plot.network(trace, **place),
        plot.network(classifier(99), **place),
        plot.history({"loss": [1, 2], "val_loss": [2, 1]}, **place),
        plot.curves({"a": [1, 2]}, **place),
        plot.activation("relu", **place),
        plot.decision_regions(model, rows(9), np.arange(9) % 3, resolution=9, **place),
        plot.decision_regions(two_inputs(Dense(1)), rows(9), resolution=9, **place),
    ]


class TestManners:
    def test_settings_stay(self, no_window: Any) -> None:
        import matplotlib

        before = dict(matplotlib.rcParams)
        current = no_window.figure()
        axes = Figure().subplots(1, 7)
        for ax in axes:
            everything(ax=ax)
        plot.histograms({"a": [1]}, fig=Figure())
        assert no_window.get_fignums() == [current.number]
        assert no_window.gcf() is current
        everything()
        plot.histograms({"a": [1]})
        assert len(no_window.get_fignums()) == 9
        assert dict(matplotlib.rcParams) == before

    def test_everything_can_be_drawn_light_and_dark(self, no_window: Any) -> None:
        inks = []
        for style in ("default", "dark_background"):
            with no_window.style.context(style):  # a glyph that the font lacks is a warning
                axes = everything()
                figures = [ax.figure for ax in axes] + [plot.histograms({"a": [1]})]
                for figure in figures:
                    drawn(figure)
                inks.append(axes[0].texts[0].get_color())
        assert inks[0] != inks[1]

    def test_colours_can_be_read(self) -> None:
        """Text has a contrast of 4.5 (WCAG 2.2, 1.4.3) to its ground, curves one of 3 (1.4.11)."""
        from matplotlib.colors import to_rgb

        from nncore.plot._canvas import DARK, LIGHT

        def luminance(colour: str) -> float:
            parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                     for c in to_rgb(colour)]  # fmt: skip
            return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))

        def contrast(a: str, b: str) -> float:
            high, low = sorted((luminance(a), luminance(b)), reverse=True)
            return (high + 0.05) / (low + 0.05)

        for colours in (LIGHT, DARK):
            for ground in (colours.paper, colours.fill):
                for text in (colours.ink, colours.muted, colours.backward):
                    assert contrast(text, ground) >= 4.5, (text, ground)
            for line in colours.series:
                assert contrast(line, colours.paper) >= 2.9, line
        light, dark = str(plot.diagram(worked_example())).split("@media")
        for style in (light, dark):
            colour = dict(re.findall(r"diagram ([.\w]+) \{[^}]*?fill: (#\w+)", style))
            for text in ("text", ".name"):
                for ground in (".card", ".box"):
                    assert contrast(colour[text], colour[ground]) >= 4.5

    def test_pyplot_is_left_alone(
        self, python: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        program = (
            "import sys, nncore\n"
            "assert 'nncore.plot' not in sys.modules\n"
            "nncore.plot.diagram(nncore.Sequential([nncore.Input((2,)), nncore.layers.Dense(1)]))\n"
            "assert 'matplotlib' not in sys.modules\n"
            "from matplotlib.figure import Figure\n"
            "nncore.plot.activation('relu', ax=Figure().subplots())\n"
            "nncore.plot.network(nncore.Sequential([nncore.Input((2,)), nncore.layers.Dense(1)]),\n"
            "                    ax=Figure().subplots())\n"
            "print('matplotlib.pyplot' in sys.modules)\n"
        )
        run = python(program)
        assert run.stderr == ""
        assert run.stdout == "False\n"

    def test_the_documentation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_window: Any
    ) -> None:
        """What docs/plot.md shows runs, and its diagram is the one that is drawn today."""
        path = ROOT / "docs" / "plot.md"
        if not path.exists():
            pytest.skip("docs/ is not beside tests/")
        monkeypatch.chdir(tmp_path)
        blocks = re.findall(r"```pycon\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        found = doctest.DocTestParser().get_doctest("".join(blocks), {}, "plot.md", "plot.md", 0)
        assert doctest.DocTestRunner().run(found).failed == 0
        assert len(no_window.get_fignums()) == 8
        spec = importlib.util.spec_from_file_location("figures", ROOT / "tools" / "figures.py")
        assert spec is not None
        assert spec.loader is not None
        figures = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(figures)
        drawn_today = str(plot.diagram(figures.digits()))
        assert (path.parent / "plot" / "diagram.svg").read_text(encoding="utf-8") == drawn_today

    def test_the_module_is_there(self) -> None:
        assert "plot" in dir(nncore)
        assert nncore.plot is plot
        with pytest.raises(AttributeError, match="has no attribute 'plots'"):
            _ = nncore.plots  # type: ignore[attr-defined]
