"""Activations: y = f(z), and the derivative f'(z), plainly.

The name of a derivative's first parameter says what it reads: ``z``, the value before the
activation, or ``y``, the value after it.  ``alpha`` is an activation's own parameter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SELU_SCALE = 1.0507009873554805  # Klambauer et al. 2017, "Self-Normalizing Neural Networks"
SELU_ALPHA = 1.6732632423543772


def _exp(z: Array) -> Array:
    """e^z, no more than the largest finite number; NaN stays."""
    limit = np.log(np.finfo(z.dtype).max)
    largest = np.finfo(z.dtype).max
    return np.where(z >= limit, largest, np.exp(np.minimum(z, limit))).astype(z.dtype)


def linear(z: Array) -> Array:
    """Return z."""
    return z


def linear_derivative(y: Array) -> Array:
    """Return 1."""
    return np.ones_like(y)


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z), between 0 and 1."""
    e = np.exp(-np.abs(z))  # at most 1: it cannot overflow
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_derivative(y: Array) -> Array:
    """Y (1 - y): at most 1/4, and nearly 0 where y is nearly 0 or 1 (gradients vanish)."""
    return y * (1 - y)


def tanh(z: Array) -> Array:
    """(e^z - e^-z) / (e^z + e^-z), between -1 and 1."""
    return np.tanh(z)


def tanh_derivative(y: Array) -> Array:
    """1 - y^2."""
    return 1 - y * y


def relu(z: Array) -> Array:
    """max(z, 0)."""
    return np.maximum(z, 0)


def relu_derivative(y: Array) -> Array:
    """1 where y > 0, else 0."""
    return (y > 0).astype(y.dtype)


def leaky_relu(z: Array, alpha: float) -> Array:
    """Return z where z > 0, else alpha z (Maas et al. 2013)."""
    return np.where(z > 0, z, alpha * z)


def leaky_relu_derivative(y: Array, alpha: float) -> Array:
    """1 where y > 0, else alpha."""
    return np.where(y > 0, 1, alpha).astype(y.dtype)


def elu(z: Array, alpha: float) -> Array:
    """Return z where z > 0, else alpha (e^z - 1) (Clevert et al. 2016)."""
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def elu_derivative(y: Array, alpha: float) -> Array:
    """1 where y > 0, else alpha e^z = y + alpha."""
    return np.where(y > 0, 1, y + alpha)


def selu(z: Array) -> Array:
    """Return lambda elu(z, alpha) with the two constants of Klambauer et al. 2017."""
    largest = np.finfo(z.dtype).max
    y = np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0)))
    return SELU_SCALE * np.minimum(y, largest / 1.06)


def selu_derivative(y: Array) -> Array:
    """Return lambda where y > 0, else y + lambda alpha."""
    return np.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA).astype(y.dtype)


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _normal_cdf(z: Array) -> Array:
    """P(N <= z) for a standard normal N: erfc(-z / sqrt 2) / 2."""
    if z.size == 0:
        return z
    return np.asarray(_erfc(-z.astype(np.float64) / math.sqrt(2)) / 2).astype(z.dtype)


def gelu(z: Array) -> Array:
    """Return z P(N <= z) (Hendrycks and Gimpel 2016)."""
    return z * _normal_cdf(z)


def gelu_derivative(z: Array) -> Array:
    """P(N <= z) + z p(z), p the normal density."""
    c = np.clip(z, -50, 50)  # the density is 0 there, and z^2 would overflow
    return _normal_cdf(z) + c * np.exp(-c * c / 2) / math.sqrt(2 * math.pi)


def gelu_tanh(z: Array) -> Array:
    """Return z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2, an approximation of gelu."""
    c = np.clip(z, -50, 50)
    return z * sigmoid(2 * math.sqrt(2 / math.pi) * (c + 0.044715 * c**3))


def gelu_tanh_derivative(z: Array) -> Array:
    """S + z s (1 - s) 2 u', s = sigmoid(2 u), u = sqrt(2/pi) (z + 0.044715 z^3)."""
    c = np.clip(z, -50, 50)
    s = sigmoid(2 * math.sqrt(2 / math.pi) * (c + 0.044715 * c**3))
    return s + c * s * (1 - s) * 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * c**2)


def silu(z: Array) -> Array:
    """Return z sigmoid(z), also called swish (Elfwing et al. 2018)."""
    return z * sigmoid(z)


def silu_derivative(z: Array) -> Array:
    """S + z s (1 - s), s = sigmoid(z)."""
    s = sigmoid(z)
    return s + z * s * sigmoid(-z)


def softplus(z: Array) -> Array:
    """log(1 + e^z)."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def softplus_derivative(z: Array) -> Array:
    """sigmoid(z)."""
    return sigmoid(z)


def softsign(z: Array) -> Array:
    """Return z / (1 + |z|)."""
    return z / (1 + np.abs(z))


def softsign_derivative(z: Array) -> Array:
    """1 / (1 + |z|)^2."""
    return (1 / (1 + np.abs(z))) ** 2


def mish(z: Array) -> Array:
    """Return z tanh(log(1 + e^z)) (Misra 2019)."""
    return z * np.tanh(softplus(z))


def mish_derivative(z: Array) -> Array:
    """T + z (1 - T^2) sigmoid(z), T = tanh(softplus(z))."""
    c = np.clip(z, -800, 800)
    t = np.tanh(softplus(c))
    return t + c * (1 - t * t) * sigmoid(c)


def exponential(z: Array) -> Array:
    """e^z; no more than the largest finite number."""
    return _exp(z)


def exponential_derivative(y: Array) -> Array:
    """Return y."""
    return y


def hard_sigmoid(z: Array) -> Array:
    """relu6(z + 3) / 6."""
    return np.clip(z + 3, 0, 6) / 6


def hard_sigmoid_derivative(y: Array) -> Array:
    """1/6 where 0 < y < 1, else 0."""
    return (((y > 0) & (y < 1)) / 6).astype(y.dtype)


def relu6(z: Array) -> Array:
    """min(max(z, 0), 6)."""
    return np.clip(z, 0, 6)


def relu6_derivative(y: Array) -> Array:
    """1 where 0 < y < 6, else 0."""
    return ((y > 0) & (y < 6)).astype(y.dtype)


def log_sigmoid(z: Array) -> Array:
    """log(sigmoid(z)) = -log(1 + e^-z)."""
    return -softplus(-z)


def log_sigmoid_derivative(z: Array) -> Array:
    """sigmoid(-z)."""
    return sigmoid(-z)


def softmax(z: Array) -> Array:
    """e^z_j / sum_k e^z_k over each row: positive, and 1 in all."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))  # the shift changes nothing but the range
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_backward(dy: Array, y: Array) -> Array:
    """dx_j = y_j (dy_j - sum_k dy_k y_k): dy times softmax's Jacobian."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
