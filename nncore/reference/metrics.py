"""Metrics: the value of each row, plainly.

``y`` are outputs (rows, columns), ``t`` targets of the same shape, or for the ``sparse_`` metrics
one class number a row.  The third argument is the metric's parameter, if it has one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def binary_accuracy(y: Array, t: Array, threshold: float) -> Array:
    """Return the share of columns in which (y > threshold) is t."""
    return np.mean((y > threshold) == t, axis=1)


def categorical_accuracy(y: Array, t: Array) -> Array:
    """Return 1 where the largest output is at the largest target; the first of equals."""
    return y.argmax(axis=1) == t.argmax(axis=1)


def sparse_categorical_accuracy(y: Array, t: Array) -> Array:
    """Return 1 where the largest output is at the label; the first of equals."""
    return np.asarray(y.argmax(axis=1) == t.reshape(-1))


def top_k_categorical_accuracy(y: Array, t: Array, k: float) -> Array:
    """Return 1 where fewer than k outputs are larger than that of the largest target."""
    return sparse_top_k_categorical_accuracy(y, t.argmax(axis=1), k)


def sparse_top_k_categorical_accuracy(y: Array, t: Array, k: float) -> Array:
    """Return 1 where fewer than k outputs are larger than the label's, which must be finite.

    An output that cannot be compared, because it is NaN, counts as larger.
    """
    score = y[np.arange(len(y)), t.reshape(-1)]
    larger = (~(y <= score[:, None])).sum(axis=1)
    return np.asarray((larger < k) & np.isfinite(score))


def mean_squared_error(y: Array, t: Array) -> Array:
    """Return the mean of (y - t)^2."""
    return ((y - t) ** 2).mean(axis=1, dtype=np.float64)


def mean_absolute_error(y: Array, t: Array) -> Array:
    """Return the mean of |y - t|."""
    return np.abs(y - t).mean(axis=1, dtype=np.float64)
