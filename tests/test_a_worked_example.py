"""The notebook's worked example, each number to eight decimals, from the compiled kernels.

Two inputs, two sigmoid hidden units, two sigmoid outputs, no bias, plain gradient descent with rate
0.5: a forward pass, a backward pass and a forward pass again, as https://wikidocs.net/37406 works
them by hand.  The first test of the suite: what nncore is for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import nncore
from nncore import kernels, runtime
from nncore.layers import Dense, Input

ROWS = [
    ("hidden units", [0.51998934, 0.52747230]),
    ("outputs", [0.60944600, 0.66384491]),
    ("error", [0.02397190]),
    ("W1..W4 after the step", [0.29959556, 0.24919112, 0.39964496, 0.34928991]),
    ("W5..W8 after the step", [0.43703857, 0.38685205, 0.69629578, 0.59624247]),
    ("next outputs", [0.60617688, 0.66295848]),
    ("next error", [0.02323634]),
]


def compute() -> Iterator[np.ndarray]:
    """Yield the numbers of each row."""
    x, t = np.array([[0.1, 0.2]]), np.array([[0.4, 0.6]])
    w_hidden = np.array([[0.30, 0.40], [0.25, 0.35]])  # W1 W3 / W2 W4
    w_output = np.array([[0.45, 0.70], [0.40, 0.60]])  # W5 W7 / W6 W8
    dense = {"activation": "sigmoid", "use_bias": False, "dtype": "float64"}
    model = nncore.Sequential([Input((2,)), Dense(2, **dense), Dense(2, **dense)])
    model.set_weights([w_hidden, w_output])
    model.compile(nncore.optimizers.SGD(0.5), "mse")
    yield kernels.dense(x, w_hidden, activation="sigmoid")
    yield model(x)
    # The mean over two outputs is the example's sum of halves.
    yield model.evaluate(x, t, verbose=0)
    model.train_on_batch(x, t)
    hidden, output = model.get_weights()
    yield hidden.T
    yield output.T
    yield model(x)
    yield model.evaluate(x, t, verbose=0)


@pytest.mark.parametrize("isa", runtime.available_isas())
def test_worked_example(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_isa", isa)
    monkeypatch.setattr(runtime, "_cores", {})
    for (name, wanted), found in zip(ROWS, compute(), strict=True):
        assert [f"{v:.8f}" for v in np.ravel(found)] == [f"{v:.8f}" for v in wanted], name
