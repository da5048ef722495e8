"""The tutorial's notebooks: they run, say what they say, and both languages say the same."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore

FOLDER = Path(__file__).parents[1] / "docs" / "tutorial"
LANGUAGES = ("en", "ko")
NAMES = sorted(path.stem for path in (FOLDER / "en").glob("*.ipynb"))
BOTH = [(lang, name) for lang in LANGUAGES for name in NAMES]

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="docs/tutorial is not beside tests/")


@dataclass(frozen=True)
class Cell:
    """One cell: its text, and of a code cell what it printed and how many figures it drew."""

    kind: str
    text: str
    printed: str = ""
    figures: int = 0


def load(lang: str, name: str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((FOLDER / lang / f"{name}.ipynb").read_text("utf-8"))
    return notebook


def cells(lang: str, name: str) -> list[Cell]:
    return [
        Cell(cell["cell_type"], "".join(cell["source"]), *outputs(cell.get("outputs", [])))
        for cell in load(lang, name)["cells"]
    ]


def outputs(found: list[dict[str, Any]]) -> tuple[str, int]:
    """Return an executed cell's text and the number of its figures."""
    printed, figures = "", 0
    for output in found:
        if output["output_type"] == "stream":
            printed += "".join(output["text"])
        elif "image/png" in output["data"]:
            figures += 1
        else:
            printed += "".join(output["data"]["text/plain"])
    return printed.rstrip("\n"), figures


def markdown(lang: str, name: str) -> str:
    return "\n\n".join(cell.text for cell in cells(lang, name) if cell.kind == "markdown")


def in_english(code: str) -> str:
    return code.replace('lang="ko"', 'lang="en"')


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let ``plt.show()`` draw what is open and count it; leave no setting changed."""
    matplotlib = pytest.importorskip(
        "matplotlib", reason="matplotlib is not installed (the extra plot)"
    )
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown: list[int] = []

    def show() -> None:
        for number in pyplot.get_fignums():
            pyplot.figure(number).canvas.draw()
            shown.append(number)
        pyplot.close("all")

    monkeypatch.setattr(pyplot, "show", show)
    monkeypatch.setenv("COLUMNS", "80")  # the width of a summary
    floatx = nncore.config.floatx()
    with np.printoptions(), matplotlib.rc_context(fname=FOLDER / "matplotlibrc"):
        yield shown
    nncore.config.set_floatx(floatx)
    pyplot.close("all")


def run(code: str, where: str, namespace: dict[str, Any]) -> str:
    """Run a cell as a notebook does: the value of a last expression is shown."""
    tree = ast.parse(code)
    last = tree.body.pop().value if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last), where, "eval"), namespace)
            if value is not None:
                print(repr(value))
    assert isinstance(printed.buffer, io.BytesIO)
    return printed.buffer.getvalue().decode().rstrip("\n")


class TestRunning:
    @pytest.mark.parametrize("name", NAMES)
    def test_it_runs_and_gives_what_it_shows(self, name: str, figures: list[int]) -> None:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        english, korean = cells("en", name), cells("ko", name)
        for i, (en, ko) in enumerate(zip(english, korean, strict=True)):
            if en.kind != "code":
                continue
            where = f"{name}, cell {i + 1}"
            figures.clear()
            assert run(en.text, where, namespace) == en.printed, where
            assert len(figures) == en.figures == ko.figures, where
            if ko.text == en.text:
                assert ko.printed == en.printed, where
            else:
                assert run(ko.text, where, namespace) == ko.printed, where


class TestBothLanguages:
    def test_they_have_the_same_chapters(self) -> None:
        assert len(NAMES) == 9
        assert sorted(path.stem for path in (FOLDER / "ko").glob("*.ipynb")) == NAMES

    @pytest.mark.parametrize("name", NAMES)
    def test_the_code_is_the_same(self, name: str) -> None:
        english, korean = cells("en", name), cells("ko", name)
        assert [cell.kind for cell in korean] == [cell.kind for cell in english]
        for en, ko in zip(english, korean, strict=True):
            if en.kind == "code":
                assert in_english(ko.text) == en.text
                assert 'lang="ko"' not in en.text

    @pytest.mark.parametrize("name", NAMES)
    def test_the_text_has_the_same_parts(self, name: str) -> None:
        def shape(text: str) -> list[str]:
            """Return what both must have alike: headings' levels, lists, tables, formulas."""
            return re.findall(r"^(?:#+ |\* |\d+\. |\||\$\$.*|```)", text, re.M)

        for en, ko in zip(cells("en", name), cells("ko", name), strict=True):
            if en.kind == "markdown":
                assert shape(ko.text) == shape(en.text), en.text[:80]
                assert len(re.findall("[가-힣]", en.text)) == 0
                assert re.search("[가-힣]", ko.text), ko.text[:80]

    @pytest.mark.parametrize("name", NAMES)
    def test_korean_emphasis_ends_where_markdown_sees_it(self, name: str) -> None:
        """``**A(B)**는`` is not bold: no closing ``**`` between a mark and a letter."""
        assert not re.findall(r"[^\w\s*]\*\*[가-힣]", markdown("ko", name))


#: Each point of the outline: the chapter that teaches it, and its words in both languages.
OUTLINE = [
    ("01", "input layer", "입력층"),
    ("01", "hidden layer", "은닉층"),
    ("01", "deep", "깊은"),
    ("01", "Y = XW + B", "Y = XW + B"),
    ("01", "fully connected", "완전 연결층"),
    ("02", "vector", "벡터"),
    ("02", "tensor", "텐서"),
    ("02", "NumPy arrays", "NumPy 배열"),
    ("03", "f(x) = w x + b", "f(x) = w x + b"),
    ("03", "straight line", "직선"),
    ("03", "XOR", "XOR"),
    ("04", "sigmoid", "시그모이드"),
    ("04", "tanh", "tanh"),
    ("04", "ReLU", "ReLU"),
    ("04", "softmax", "소프트맥스"),
    ("04", "range", "치역"),
    ("04", "derivative", "미분"),
    ("04", "Weak signals", "약한 신호"),
    ("04", "Which one where", "어디에 무엇을 쓰는가"),
    ("05", "mean squared error", "평균 제곱 오차"),
    ("05", "root mean squared error", "평균 제곱근 오차"),
    ("05", "`binary_crossentropy`", "`binary_crossentropy`"),
    ("05", "`categorical_crossentropy`", "`categorical_crossentropy`"),
    ("05", "`sparse_categorical_crossentropy`", "`sparse_categorical_crossentropy`"),
    ("06", "Forward pass", "순전파"),
    ("06", "Stage 2", "2단계"),
    ("06", "Backpropagation: the output layer", "역전파: 출력층"),
    ("06", "Backpropagation: the hidden layer", "역전파: 은닉층"),
    ("06", "chain rule", "연쇄 법칙"),
    ("06", "Gradient descent", "경사 하강법"),
    ("07", "Vanishing gradients", "기울기 소실"),
    ("07", "saturated", "포화"),
    ("08", "learning rate", "학습률"),
    ("08", "SGD", "확률적 경사 하강법"),
    ("08", "Momentum", "모멘텀"),
    ("08", "Nesterov", "네스테로프"),
    ("08", "Adagrad", "Adagrad"),
    ("08", "RMSprop", "RMSprop"),
    ("08", "Adam", "Adam"),
    ("09", "Overfitting", "과적합"),
    ("09", "test", "테스트"),
]

#: What the outline's cells print, and every number of the worked example.
NUMBERS = {
    "02": ["(2, 4)", "[[-0.82, 0.94, -1.15, 0.25], [-0.82, 0.94, -1.15, 0.25]]"],
    "04": ["0.993307149076", "0.006692850924", "0.524979187479", "0.270912077651",
           "np.maximum(0, -5) = 0", "4.539786870243e-05"],
    "06": ["0.08000000", "0.11000000", "0.51998934", "0.52747230", "0.44498412", "0.68047592",
           "0.60944600", "0.66384491", "0.02193381", "0.00203809", "0.02397190", "0.00080888",
           "0.00161775", "0.00071009", "0.00142017", "0.02592286", "0.02629590", "0.00740844",
           "0.00751506", "0.29959556", "0.24919112", "0.39964496", "0.34928991", "0.43703857",
           "0.38685205", "0.69629578", "0.59624247", "0.60617688", "0.66295848", "0.02323634",
           "0.20944600 x 0.23802157 x 0.51998934 = 0.02592286"],
}  # fmt: skip


class TestContent:
    @pytest.mark.parametrize(("chapter", "en", "ko"), OUTLINE)
    def test_the_outline_is_taught(self, chapter: str, en: str, ko: str) -> None:
        name = next(name for name in NAMES if name.startswith(chapter))
        assert en in markdown("en", name)
        assert ko in markdown("ko", name)

    @pytest.mark.parametrize("chapter", NUMBERS)
    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_its_numbers_are_there(self, lang: str, chapter: str) -> None:
        name = next(name for name in NAMES if name.startswith(chapter))
        code = [cell for cell in cells(lang, name) if "explain(" not in cell.text]
        printed = "".join(cell.printed for cell in code)
        assert not [number for number in NUMBERS[chapter] if number not in printed]

    @pytest.mark.parametrize(
        ("lang", "learn", "exercises", "answers"),
        [
            ("en", "**What you will learn**", "## Exercises", "## Answers"),
            ("ko", "**이 장에서 배우는 것**", "## 연습 문제", "## 해답"),
        ],
    )
    @pytest.mark.parametrize("number", range(1, len(NAMES) + 1))
    def test_every_chapter_is_built_alike(
        self, number: int, lang: str, learn: str, exercises: str, answers: str
    ) -> None:
        name = NAMES[number - 1]
        first = cells(lang, name)[0].text
        assert first.startswith(f"# {number}. ")
        assert learn in first
        _, _, end = markdown(lang, name).partition(f"\n{exercises}\n")
        questions, _, solutions = end.partition(f"\n{answers}\n")
        asked = re.findall(r"^(\d+)\. ", questions, re.M)
        assert asked == [str(n + 1) for n in range(len(asked))]
        assert len(asked) >= 3
        assert re.findall(r"^\*\*(\d+)\.\*\* ", solutions, re.M) == asked

    @pytest.mark.parametrize("name", NAMES)
    def test_every_chapter_draws_something(self, name: str) -> None:
        assert sum(cell.figures for cell in cells("en", name)) >= 1


class TestFiles:
    @pytest.mark.parametrize(("lang", "name"), BOTH)
    def test_it_is_executed_and_clean(self, lang: str, name: str) -> None:
        notebook = load(lang, name)
        assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
        assert notebook["metadata"]["language_info"] == {"name": "python"}
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(set(ids)) == len(ids)
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
        assert all(cell["metadata"] == {} for cell in notebook["cells"])
        for output in (output for cell in code for output in cell["outputs"]):
            assert output["output_type"] in {"stream", "display_data", "execute_result"}
            assert output.get("name", "stdout") == "stdout"
            assert output.get("metadata", {}) == {}

    @pytest.mark.parametrize(("lang", "name"), BOTH)
    def test_no_output_names_an_object_or_a_place(self, lang: str, name: str) -> None:
        printed = "".join(cell.printed for cell in cells(lang, name))
        assert not re.search(r" at 0x[0-9a-f]+|/home/|/tmp/|/usr/|[A-Z]:\\", printed)

    def test_the_whole_is_small(self) -> None:
        assert sum(path.stat().st_size for path in FOLDER.rglob("*.ipynb")) < 5 * 2**20

    @pytest.mark.parametrize(("lang", "name"), BOTH)
    def test_links_lead_somewhere(self, lang: str, name: str) -> None:
        text = markdown(lang, name)
        links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
        assert all((FOLDER / lang / link).is_file() for link in links), links
        after = NAMES.index(name) + 1
        if after < len(NAMES):
            assert f"{NAMES[after]}.ipynb" in links

    def test_the_index_lists_every_chapter_by_its_title(self) -> None:
        index = (FOLDER / "index.md").read_text("utf-8")
        for lang, name in BOTH:
            title = cells(lang, name)[0].text.splitlines()[0].removeprefix("# ")
            assert f"[{title}]({lang}/{name}.ipynb)" in index

    def test_the_readme_links_it(self) -> None:
        readme = FOLDER.parents[1] / "README.md"
        if not readme.is_file():
            pytest.skip("README.md is not beside tests/")
        assert "docs/tutorial/index.md" in readme.read_text("utf-8")
