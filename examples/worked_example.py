"""The worked example of many neural-network courses, checked by the library.

Two inputs, two sigmoid hidden units, two sigmoid outputs, no bias, plain gradient
descent: small enough to compute by hand, so every number below can be followed on
paper.  https://wikidocs.net/37406 does so; this program gives the same numbers.

    python examples/worked_example.py
"""

from __future__ import annotations

import numpy as np

import nncore
from nncore.layers import Dense, Input


def main() -> None:
    """Do one step of training and print every number of it."""
    x = np.array([[0.1, 0.2]])
    t = np.array([[0.4, 0.6]])

    model = nncore.Sequential(
        [
            Input((2,), dtype="float64"),
            Dense(2, activation="sigmoid", use_bias=False, dtype="float64", name="hidden"),
            Dense(2, activation="sigmoid", use_bias=False, dtype="float64", name="output"),
        ]
    )
    # z1 = W1 x1 + W2 x2, z2 = W3 x1 + W4 x2: unit i's weights are column i of the kernel.
    w_hidden = np.array([[0.30, 0.40], [0.25, 0.35]])  # W1 W3 / W2 W4
    w_output = np.array([[0.45, 0.70], [0.40, 0.60]])  # W5 W7 / W6 W8
    model.set_weights([w_hidden, w_output])
    # The mean over two outputs is the example's sum of halves: (a + b) / 2 = a / 2 + b / 2.
    model.compile(optimizer=nncore.optimizers.SGD(learning_rate=0.5), loss="mse")

    hidden = nncore.kernels.dense(x, w_hidden, activation="sigmoid")
    print_row("hidden units", hidden)
    print_row("outputs", model(x))
    print_row("error", model.evaluate(x, t, verbose=0))

    model.train_on_batch(x, t)

    new_hidden, new_output = model.get_weights()
    print_row("W1 W2 W3 W4 after one step", new_hidden.T)
    print_row("W5 W6 W7 W8 after one step", new_output.T)
    print_row("outputs", model(x))
    print_row("error", model.evaluate(x, t, verbose=0))


def print_row(label: str, values: object) -> None:
    """Print numbers to eight decimals."""
    print(f"{label:28s}", *(f"{v:.8f}" for v in np.ravel(np.asarray(values))))


if __name__ == "__main__":
    main()
