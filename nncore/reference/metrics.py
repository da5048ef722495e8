"""Metrics: the value of each row, plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def binary_accuracy(y: Array, t: Array, threshold: float) -> Array:
    """Share of columns in which (y > threshold) is t."""
    return np.mean((y > threshold) == t, axis=1)


def categorical_accuracy(y: Array, t: Array, _: float) -> Array:
    """1 where the largest output is at the largest target."""
    return y.argmax(axis=1) == t.argmax(axis=1)


def sparse_categorical_accuracy(y: Array, t: Array, _: float) -> Array:
    """1 where the largest output is at the label."""
    return np.asarray(y.argmax(axis=1) == t.reshape(-1))


def top_k_categorical_accuracy(y: Array, t: Array, k: float) -> Array:
    """1 where fewer than k outputs are larger than that of the largest target."""
    return sparse_top_k_categorical_accuracy(y, t.argmax(axis=1), k)


def sparse_top_k_categorical_accuracy(y: Array, t: Array, k: float) -> Array:
    """1 where fewer than k outputs are larger than that of the label."""
    score = y[np.arange(len(y)), t.reshape(-1)]
    larger = (~(y <= score[:, None])).sum(axis=1)
    return np.asarray((larger < k) & np.isfinite(score))


def mean_squared_error(y: Array, t: Array, _: float) -> Array:
    """Mean of (y - t)^2."""
    return np.mean((y.astype(np.float64) - t) ** 2, axis=1)


def mean_absolute_error(y: Array, t: Array, _: float) -> Array:
    """Mean of |y - t|."""
    return np.mean(np.abs(y.astype(np.float64) - t), axis=1)
