"""What there is of nncore.plot where matplotlib is not installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nncore
from nncore.layers import Dense, Input


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib is not there."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)

    class Nowhere:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name.partition(".")[0] == "matplotlib":
                raise ModuleNotFoundError(f"No module named '{name}'", name="matplotlib")

    monkeypatch.setattr(sys, "meta_path", [Nowhere, *sys.meta_path])


def model() -> nncore.Sequential:
    made = nncore.Sequential([Input((2,)), Dense(1)])
    made.compile("sgd", "mse")
    return made


CALLS: dict[str, Callable[[], Any]] = {
    "network": lambda: model().trace([[1, 2]], [[3]]).plot(),
    "history": lambda: nncore.plot.history({"loss": [1]}),
    "curves": lambda: nncore.plot.curves({"a": [1]}),
    "activation": lambda: nncore.plot.activation("relu"),
    "decision_regions": lambda: nncore.plot.decision_regions(model(), np.zeros((1, 2))),
    "histograms": lambda: nncore.plot.histograms(model()),
}


@pytest.mark.usefixtures("no_matplotlib")
class TestWithoutMatplotlib:
    def test_every_plot_is_here(self) -> None:
        assert set(CALLS) == set(nncore.plot.__all__) - {"Diagram", "diagram"}

    @pytest.mark.parametrize("name", CALLS)
    def test_the_error_names_the_extra(self, name: str) -> None:
        with pytest.raises(ImportError) as caught:
            CALLS[name]()
        assert str(caught.value) == (
            f"nncore.plot.{name} draws with matplotlib (the extra plot), which is not installed: "
            f"pip install 'matplotlib>=3.9'"
        )

    def test_the_diagram_needs_none(self) -> None:
        assert str(nncore.plot.diagram(model())).startswith("<svg")


def test_a_broken_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it raises
    with pytest.raises(ImportError, match=r"which (is not installed|cannot be imported)"):
        nncore.plot.activation("relu")
