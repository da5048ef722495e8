"""Losses: L of each row, and its derivative by that row's y, plainly.

Each function takes outputs ``y`` (rows, columns) and targets ``t``: of y's shape, or for the
``sparse_`` losses one class number a row.  The loss returns the rows' values, (rows,), float64;
its derivative an array of y's shape and dtype.  The ``softmax_`` and ``sigmoid_`` losses take raw
outputs, before the activation, in place of y.  n is the number of columns, e the error y - t.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.reference import evaluate
from nncore.reference.activations import _below_largest, sigmoid, softmax

Array = NDArray[Any]

EPSILON = 1e-7  # Keras's, which keeps logarithms finite


def _mean(values: Array) -> Array:
    """Mean of each row, summed in float64."""
    return values.mean(axis=1, dtype=np.float64)


# --- numbers ---


def mean_squared_error(y: Array, t: Array) -> Array:
    """Return the mean of e^2."""
    return _mean((y - t) ** 2)


def mean_squared_error_derivative(y: Array, t: Array) -> Array:
    """Return 2 e / n."""
    return 2 * (y - t) / y.shape[1]


def mean_absolute_error(y: Array, t: Array) -> Array:
    """Return the mean of |e|."""
    return _mean(np.abs(y - t))


def mean_absolute_error_derivative(y: Array, t: Array) -> Array:
    """Return sign(e) / n, 0 where e is 0."""
    return np.sign(y - t) / y.shape[1]


def huber(y: Array, t: Array, delta: float) -> Array:
    """Return the mean of e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2 (Huber 1964).

    Both are q (|e| - q / 2), q = min(|e|, delta).
    """
    e = np.abs(y - t)
    q = np.minimum(e, delta)
    return _mean(q * (e - q / 2))


def huber_derivative(y: Array, t: Array, delta: float) -> Array:
    """Return e / n, e no further from 0 than delta."""
    return np.clip(y - t, -delta, delta) / y.shape[1]


def log_cosh(y: Array, t: Array) -> Array:
    """Return the mean of log(cosh e) = |e| + log(1 + e^(-2 |e|)) - log 2.

    Near 0, where that cancels: log(1 + 2 sinh^2(e / 2)).
    """
    e = np.abs(y - t)
    near = np.log1p(2 * np.sinh(np.minimum(e, 1) / 2) ** 2)
    far = e + np.log1p(np.exp(-2 * e)) - math.log(2)
    return _mean(np.where(e < 1, near, far))


def log_cosh_derivative(y: Array, t: Array) -> Array:
    """Return tanh(e) / n."""
    return np.tanh(y - t) / y.shape[1]


def poisson(y: Array, t: Array) -> Array:
    """Return the mean of y - t log(y + 1e-7): Keras's, without the constant log t!."""
    return _mean(y - t * np.log(y + EPSILON))


def poisson_derivative(y: Array, t: Array) -> Array:
    """Return (1 - t / (y + 1e-7)) / n."""
    return (1 - t / (y + EPSILON)) / y.shape[1]


# --- probabilities ---


def _smooth(t: Array, smoothing: float, classes: int) -> Array:
    """Targets moved towards 1 / classes (Szegedy et al. 2016, section 7)."""
    return t * (1 - smoothing) + smoothing / classes if smoothing else t


def _clip(p: Array) -> Array:
    return np.clip(p, EPSILON, 1 - EPSILON)


def _inside(p: Array) -> Array:
    """Where clipping changed nothing, so that the derivative is not 0."""
    return (p >= EPSILON) & (p <= 1 - EPSILON)


def binary_crossentropy(y: Array, t: Array, smoothing: float) -> Array:
    """Return the mean of -(t log y + (1 - t) log(1 - y)), y clipped to [1e-7, 1 - 1e-7]."""
    t, p = _smooth(t, smoothing, 2), _clip(y)
    return _mean(-(t * np.log(p) + (1 - t) * np.log(1 - p)))


def binary_crossentropy_derivative(y: Array, t: Array, smoothing: float) -> Array:
    """Return (y - t) / (y (1 - y)) / n; 0 where y was clipped."""
    t, p = _smooth(t, smoothing, 2), _clip(y)
    return np.where(_inside(y), (p - t) / (p * (1 - p)), 0) / y.shape[1]


def categorical_crossentropy(y: Array, t: Array, smoothing: float) -> Array:
    """Return -sum_j t_j log p_j, p = y / sum_k y_k clipped to [1e-7, 1 - 1e-7]."""
    t = _smooth(t, smoothing, y.shape[1])
    p = y / y.sum(axis=1, keepdims=True)
    return -(t * np.log(_clip(p))).sum(axis=1, dtype=np.float64)


def categorical_crossentropy_derivative(y: Array, t: Array, smoothing: float) -> Array:
    """Return (g_k - sum_j g_j p_j) / sum_j y_j; g_j = -t_j / p_j, 0 where p_j was clipped."""
    t = _smooth(t, smoothing, y.shape[1])
    total = y.sum(axis=1, keepdims=True)
    p = y / total
    g = np.where(_inside(p), -t / _clip(p), 0)
    return (g - (g * p).sum(axis=1, keepdims=True)) / total


def _at(t: Array) -> tuple[Array, Array]:
    """Index of each row's label: a[_at(t)] is one number a row."""
    return np.arange(len(t)), t.reshape(-1)


def sparse_categorical_crossentropy(y: Array, t: Array) -> Array:
    """Return -log p_label: categorical cross-entropy when all of a row's target is one class."""
    return -np.log(_clip(y[_at(t)] / y.sum(axis=1))).astype(np.float64)


def sparse_categorical_crossentropy_derivative(y: Array, t: Array) -> Array:
    """Return 1 / sum_j y_j, less 1 / y_label at the label; 0 where p_label was clipped."""
    inside = _inside(y[_at(t)] / y.sum(axis=1))
    dy = np.repeat(inside / y.sum(axis=1), y.shape[1]).reshape(y.shape).astype(y.dtype)
    dy[_at(t)] -= np.where(inside, 1 / np.where(inside, y[_at(t)], 1), 0)
    return dy


# --- raw outputs ---


def sigmoid_binary_crossentropy(y: Array, t: Array, smoothing: float) -> Array:
    """Return binary cross-entropy of sigmoid(y): the mean of log(1 + e^y) - t y.

    Written max(y, 0) - t y + log(1 + e^-|y|), nothing overflows and no digits cancel.
    """
    t = _smooth(t, smoothing, 2)
    return _mean(np.maximum(y, 0) - t * y + np.log1p(np.exp(-np.abs(y))))


def sigmoid_binary_crossentropy_derivative(y: Array, t: Array, smoothing: float) -> Array:
    """Return (sigmoid(y) - t) / n."""
    return (sigmoid(y) - _smooth(t, smoothing, 2)) / y.shape[1]


def _log_softmax(y: Array) -> Array:
    below = _below_largest(y)
    return below - np.log(np.exp(below).sum(axis=1, keepdims=True))


def softmax_categorical_crossentropy(y: Array, t: Array, smoothing: float) -> Array:
    """Return -sum_j t_j log softmax(y)_j."""
    t = _smooth(t, smoothing, y.shape[1])
    return -(t * _log_softmax(y)).sum(axis=1, dtype=np.float64)


def softmax_categorical_crossentropy_derivative(y: Array, t: Array, smoothing: float) -> Array:
    """Return softmax(y) sum_j t_j - t, where the sum is 1 for probabilities."""
    t = _smooth(t, smoothing, y.shape[1])
    return softmax(y) * t.sum(axis=1, keepdims=True) - t


def softmax_sparse_categorical_crossentropy(y: Array, t: Array) -> Array:
    """Return -log softmax(y)_label."""
    return -_log_softmax(y)[_at(t)].astype(np.float64)


def softmax_sparse_categorical_crossentropy_derivative(y: Array, t: Array) -> Array:
    """Return softmax(y), less 1 at the label."""
    dy = softmax(y)
    dy[_at(t)] -= 1
    return dy


# --- a batch ---


def batch_loss(
    name: str,
    y: Array,
    t: Array,
    r: Array | None = None,
    alpha: float = 0.0,
    reduction: str = "sum_over_batch_size",
    derivative: bool = True,
) -> tuple[float, Array | None]:
    """Return a batch's loss, sum_i s r_i L_i, and its derivative by y.

    Parameters
    ----------
    name : str
        A loss of this module, or ``"root_mean_squared_error"``: one number for the batch, the
        root of that sum for the squared error.  Its derivative is the sum's over twice the root,
        and 0 where the root is 0.
    y, t : ndarray
        As the loss takes them.
    r : ndarray (rows,), optional
        Weights of the rows; all 1 when None.
    alpha : float
        The loss's parameter: delta, or label smoothing.
    reduction : {"sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"}
        s is 1 / rows for the first two, 1, or 1 / sum r (0 where that sum is 0).
    derivative : bool
        Whether the derivative is wanted; None is returned in its place otherwise.
    """
    losses = sys.modules[__name__]
    rooted = name == "root_mean_squared_error"
    name = "mean_squared_error" if rooted else name
    weights = np.ones(len(y)) if r is None else r.reshape(-1).astype(np.float64)
    if reduction == "sum":
        scale = 1.0
    elif reduction == "mean_with_sample_weight":
        scale = 1 / weights.sum() if weights.sum() != 0 else 0.0
    else:
        scale = 1 / len(y)
    weights = scale * weights
    value = float(weights @ evaluate(losses, name, y, t, alpha=alpha))
    if rooted:
        value = math.sqrt(value) if value >= 0 else math.nan
        weights = weights / (2 * value) if value != 0 else np.zeros_like(weights)
    if not derivative:
        return value, None
    dy = evaluate(losses, f"{name}_derivative", y, t, alpha=alpha)
    return value, dy * weights[:, None].astype(y.dtype)
