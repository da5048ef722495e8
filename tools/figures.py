"""Draw the figures of docs/plot.md: ``python tools/figures.py`` from the repository's root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import nncore
from nncore.layers import Dense, Flatten, Input, Rescaling

FOLDER = Path(__file__).parents[1] / "docs" / "plot"


def worked_example() -> nncore.Sequential:
    """Return the network of docs/trace.md."""
    layers = [
        Dense(2, activation="sigmoid", use_bias=False, dtype="float64", name=name)
        for name in ("hidden", "output")
    ]
    model = nncore.Sequential([Input((2,), dtype="float64"), *layers])
    model.set_weights([[[0.30, 0.40], [0.25, 0.35]], [[0.45, 0.70], [0.40, 0.60]]])
    model.compile(nncore.optimizers.SGD(learning_rate=0.5), loss="mse")
    return model


def digits() -> nncore.Sequential:
    """Return the README's network."""
    layers = [
        Rescaling(1 / 16, name="rescaling"),
        Flatten(name="flatten"),
        Dense(64, activation="relu", name="hidden"),
        Dense(10, activation="softmax", name="output"),
    ]
    return nncore.Sequential([Input((8, 8)), *layers], name="digits")


def spirals() -> tuple[nncore.Sequential, Any, Any]:
    """Return three arms that wind around each other, and a network that has learnt them."""
    nncore.set_random_seed(0)
    random = np.random.default_rng(0)
    arm = np.repeat(np.arange(3), 70)
    radius = np.tile(np.linspace(0.05, 1, 70), 3)
    angle = 4 * radius + 2 * np.pi / 3 * arm + random.normal(0, 0.12, len(arm))
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    hidden = [Dense(32, activation="tanh") for _ in range(2)]
    model = nncore.Sequential([Input((2,)), *hidden, Dense(3, activation="softmax")])
    model.compile(nncore.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(x, arm, epochs=150, verbose=0)
    return model, x, arm


def main() -> None:
    """Write the files."""
    import matplotlib

    matplotlib.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    nncore.plot.diagram(digits()).save(FOLDER / "diagram.svg")
    trace = worked_example().trace([[0.1, 0.2]], [[0.4, 0.6]])
    save(trace.plot(), "network.png")
    save(nncore.plot.decision_regions(*spirals()), "regions.png")


def save(ax: Any, name: str) -> None:
    """Write a plot's figure."""
    ax.figure.savefig(FOLDER / name, dpi=80, metadata={"Software": None})


if __name__ == "__main__":
    main()
