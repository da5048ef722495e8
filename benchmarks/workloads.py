"""The one table of work that every benchmark uses, from the smallest net to a wide one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nncore
from nncore.layers import Dense, Input


@dataclass(frozen=True)
class Workload:
    """A network, its loss and optimizer, and how many rows make a step.

    Attributes
    ----------
    sizes : tuple of int
        Inputs, then units of each layer.
    steps : int
        Steps of one epoch of the benchmark's data.
    """

    sizes: tuple[int, ...]
    batch_size: int
    hidden: str
    output: str
    loss: str
    optimizer: str
    steps: int

    @property
    def name(self) -> str:
        """Return ``"64-64-10"``."""
        return "-".join(map(str, self.sizes))

    @property
    def flops(self) -> int:
        """Return the floating-point operations of one step's matmuls."""
        pairs = list(zip(self.sizes, self.sizes[1:], strict=False))
        forward = sum(2 * self.batch_size * a * b for a, b in pairs)
        return 3 * forward - 2 * self.batch_size * pairs[0][0] * pairs[0][1]

    def data(self, dtype: str = "float32", seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return rows of inputs and targets: made up, with something to learn in them."""
        rng = np.random.default_rng(seed)
        rows, n_in, n_out = self.batch_size * self.steps, self.sizes[0], self.sizes[-1]
        x = rng.standard_normal((rows, n_in)).astype(dtype)
        t = np.tanh(x @ rng.standard_normal((n_in, n_out)) / np.sqrt(n_in))
        if self.loss.startswith("sparse"):
            return x, t.argmax(axis=1)
        return x, t.astype(dtype)

    def model(self, engine: str, dtype: str = "float32", seed: int = 0) -> nncore.Sequential:
        """Return the compiled model; the same weights for the same seed."""
        nncore.set_random_seed(seed)
        *inner, last = self.sizes[1:]
        model = nncore.Sequential(
            [
                Input((self.sizes[0],)),
                *(Dense(units, activation=self.hidden, dtype=dtype) for units in inner),
                Dense(last, activation=self.output, dtype=dtype),
            ]
        )
        model.compile(self.optimizer, self.loss, engine=engine)
        return model


_CLASSES = ("softmax", "sparse_categorical_crossentropy", "adam")
_VALUES = ("linear", "mse", "adam")

WORKLOADS = (
    Workload((2, 2, 2), 1, "sigmoid", "sigmoid", "mse", "sgd", 2000),
    Workload((4, 16, 3), 16, "relu", *_CLASSES, 500),
    Workload((64, 64, 10), 32, "relu", *_CLASSES, 200),
    Workload((50, 256, 256, 1), 256, "relu", *_VALUES, 40),
    Workload((784, 128, 10), 128, "relu", *_CLASSES, 40),
    Workload((784, 512, 512, 10), 128, "relu", *_CLASSES, 10),
    Workload((1024, 2048, 2048, 1000), 512, "relu", *_CLASSES, 2),
)
