"""Losses: L of each row, and its derivative by that row's y, plainly.

Each function takes outputs ``y`` (rows, columns) and targets ``t`` and returns the rows' losses,
(rows,).  ``softmax_`` and ``sigmoid_`` losses take raw outputs z in place of y.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.reference.activations import sigmoid, softmax, softplus

Array = NDArray[Any]

EPSILON = 1e-7  # Keras's, which keeps logarithms finite


def mean_squared_error(y: Array, t: Array) -> Array:
    """Mean over the columns of (y - t)^2."""
    return np.mean((y - t) ** 2, axis=1)


def mean_squared_error_derivative(y: Array, t: Array) -> Array:
    """2 (y - t) / n."""
    return 2 * (y - t) / y.shape[1]


def mean_absolute_error(y: Array, t: Array) -> Array:
    """Mean of |y - t|."""
    return np.mean(np.abs(y - t), axis=1)


def mean_absolute_error_derivative(y: Array, t: Array) -> Array:
    """sign(y - t) / n."""
    return np.sign(y - t) / y.shape[1]


def huber(y: Array, t: Array, delta: float) -> Array:
    """Mean of e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2 (Huber 1964)."""
    e = np.abs(y - t)
    return np.mean(np.where(e <= delta, e * e / 2, delta * e - delta * delta / 2), axis=1)


def huber_derivative(y: Array, t: Array, delta: float) -> Array:
    """e, no further from 0 than delta, / n."""
    return np.clip(y - t, -delta, delta) / y.shape[1]


def log_cosh(y: Array, t: Array) -> Array:
    """Mean of log(cosh(e)), written so that cosh cannot overflow."""
    e = np.abs(y - t)
    return np.mean(e + np.log1p(np.exp(-2 * e)) - np.log(2), axis=1)


def log_cosh_derivative(y: Array, t: Array) -> Array:
    """tanh(e) / n."""
    return np.tanh(y - t) / y.shape[1]


def poisson(y: Array, t: Array) -> Array:
    """Mean of y - t log(y + 1e-7)."""
    return np.mean(y - t * np.log(y + EPSILON), axis=1)


def poisson_derivative(y: Array, t: Array) -> Array:
    """(1 - t / (y + 1e-7)) / n."""
    return (1 - t / (y + EPSILON)) / y.shape[1]


def binary_crossentropy(y: Array, t: Array, smoothing: float) -> Array:
    """Mean of -(t log y + (1 - t) log(1 - y)), y a probability."""
    t = t * (1 - smoothing) + smoothing / 2
    p = np.clip(y, EPSILON, 1 - EPSILON)
    return np.mean(-(t * np.log(p) + (1 - t) * np.log(1 - p)), axis=1)


def binary_crossentropy_derivative(y: Array, t: Array, smoothing: float) -> Array:
    """(y - t) / (y (1 - y)) / n; 0 where y was clipped."""
    t = t * (1 - smoothing) + smoothing / 2
    p = np.clip(y, EPSILON, 1 - EPSILON)
    inside = (y >= EPSILON) & (y <= 1 - EPSILON)
    return np.where(inside, (p - t) / (p * (1 - p)), 0) / y.shape[1]


def categorical_crossentropy(y: Array, t: Array, smoothing: float) -> Array:
    """-sum_j t_j log p_j with p = y / sum y, clipped to [1e-7, 1 - 1e-7]."""
    t = t * (1 - smoothing) + smoothing / y.shape[1]
    p = y / y.sum(axis=1, keepdims=True)
    return np.asarray(-(t * np.log(np.clip(p, EPSILON, 1 - EPSILON))).sum(axis=1))


def categorical_crossentropy_derivative(y: Array, t: Array, smoothing: float) -> Array:
    """(g_k - sum_j g_j p_j) / sum y with g_j = -t_j / p_j, 0 where p_j was clipped."""
    t = t * (1 - smoothing) + smoothing / y.shape[1]
    total = y.sum(axis=1, keepdims=True)
    p = y / total
    inside = (p >= EPSILON) & (p <= 1 - EPSILON)
    g = np.where(inside, -t / np.clip(p, EPSILON, 1 - EPSILON), 0)
    return (g - (g * p).sum(axis=1, keepdims=True)) / total


def _one_hot(labels: Array, y: Array) -> Array:
    return np.eye(y.shape[1], dtype=y.dtype)[labels.reshape(-1)]


def sparse_categorical_crossentropy(y: Array, t: Array) -> Array:
    """-log p_label: categorical cross-entropy of a row whose target is a class number."""
    return categorical_crossentropy(y, _one_hot(t, y), 0.0)


def sparse_categorical_crossentropy_derivative(y: Array, t: Array) -> Array:
    """As for the one-hot target."""
    return categorical_crossentropy_derivative(y, _one_hot(t, y), 0.0)


def sigmoid_binary_crossentropy(y: Array, t: Array, smoothing: float) -> Array:
    """Binary cross-entropy of sigmoid(z): mean of log(1 + e^z) - z t."""
    t = t * (1 - smoothing) + smoothing / 2
    return np.mean(softplus(y) - y * t, axis=1)


def sigmoid_binary_crossentropy_derivative(y: Array, t: Array, smoothing: float) -> Array:
    """(sigmoid(z) - t) / n."""
    return (sigmoid(y) - (t * (1 - smoothing) + smoothing / 2)) / y.shape[1]


def softmax_categorical_crossentropy(y: Array, t: Array, smoothing: float) -> Array:
    """-sum_j t_j log softmax(z)_j = sum_j t_j (log sum_k e^z_k - z_j)."""
    t = t * (1 - smoothing) + smoothing / y.shape[1]
    shifted = y - y.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.asarray((t * (log_sum - shifted)).sum(axis=1))


def softmax_categorical_crossentropy_derivative(y: Array, t: Array, smoothing: float) -> Array:
    """softmax(z) sum_j t_j - t."""
    t = t * (1 - smoothing) + smoothing / y.shape[1]
    return softmax(y) * t.sum(axis=1, keepdims=True) - t


def softmax_sparse_categorical_crossentropy(y: Array, t: Array) -> Array:
    """-log softmax(z)_label."""
    return softmax_categorical_crossentropy(y, _one_hot(t, y), 0.0)


def softmax_sparse_categorical_crossentropy_derivative(y: Array, t: Array) -> Array:
    """softmax(z) - 1 at the label."""
    return softmax_categorical_crossentropy_derivative(y, _one_hot(t, y), 0.0)


#: The losses that have a parameter: delta, or label smoothing.
PARAMETRIC = frozenset({
    "huber", "binary_crossentropy", "categorical_crossentropy", "sigmoid_binary_crossentropy",
    "softmax_categorical_crossentropy",
})  # fmt: skip


def batch_loss(
    name: str,
    y: Array,
    t: Array,
    r: Array | None = None,
    alpha: float = 0.0,
    reduction: str = "sum_over_batch_size",
) -> tuple[float, Array]:
    """Return a batch's loss, sum_i s r_i L_i, and its derivative by y.

    s is 1 / rows, 1 (``"sum"``) or 1 / sum r (``"mean_with_sample_weight"``).  The root mean
    squared error is one number for the batch, the root of that sum for the squared error; its
    derivative is the sum's over twice the root, and 0 where the root is 0.
    """
    rooted = name == "root_mean_squared_error"
    base = "mean_squared_error" if rooted else name
    rest = (alpha,) if base in PARAMETRIC else ()
    rows = globals()[base](y, t, *rest).astype(np.float64)
    weights = np.ones(len(y)) if r is None else np.asarray(r, dtype=np.float64)
    if reduction == "sum":
        scale = 1.0
    elif reduction == "mean_with_sample_weight":
        scale = 1 / weights.sum() if weights.sum() > 0 else 0.0
    else:
        scale = 1 / len(y)
    value = float((scale * weights * rows).sum())
    dy = globals()[f"{base}_derivative"](y, t, *rest) * (scale * weights)[:, None]
    if rooted:
        value = float(np.sqrt(value))
        dy = dy / (2 * value) if value != 0 else np.zeros_like(dy)
    return value, dy.astype(y.dtype)
