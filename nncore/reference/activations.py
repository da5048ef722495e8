"""Activations: y = f(z), and the derivative f'(z), plainly.

The name of a derivative's first parameter says what it reads: ``z``, the value before the
activation, or ``y``, the value after it.  ``alpha`` is an activation's own parameter.

Each function takes and returns a float32 or float64 array of any shape (softmax: of rows) and
computes in its dtype.  None overflows for a finite z, and a NaN stays a NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SELU_SCALE = 1.0507009873554805  # lambda and alpha: Klambauer et al. 2017, appendix A.4
SELU_ALPHA = 1.6732632423543772

# --- straight lines, bent ---


def linear(z: Array) -> Array:
    """Return z."""
    return z


def linear_derivative(y: Array) -> Array:
    """Return 1."""
    return np.ones_like(y)


def relu(z: Array) -> Array:
    """Return max(z, 0) (Nair and Hinton 2010)."""
    return np.maximum(z, 0)


def relu_derivative(y: Array) -> Array:
    """Return 1 where y > 0, else 0."""
    return (y > 0).astype(y.dtype)


def leaky_relu(z: Array, alpha: float) -> Array:
    """Return z where z > 0, else alpha z (Maas et al. 2013)."""
    return np.maximum(z, 0) + alpha * np.minimum(z, 0)


def leaky_relu_derivative(y: Array, alpha: float) -> Array:
    """Return 1 where y > 0, else alpha."""
    return np.where(y > 0, 1, alpha).astype(y.dtype)


def relu6(z: Array) -> Array:
    """Return min(max(z, 0), 6) (Krizhevsky 2010)."""
    return np.clip(z, 0, 6)


def relu6_derivative(y: Array) -> Array:
    """Return 1 where 0 < y < 6, else 0."""
    return ((y > 0) & (y < 6)).astype(y.dtype)


def hard_sigmoid(z: Array) -> Array:
    """Return relu6(z + 3) / 6 (Howard et al. 2019; Keras 3)."""
    return np.clip(z + 3, 0, 6) / 6


def hard_sigmoid_derivative(y: Array) -> Array:
    """Return 1/6 where 0 < y < 1, else 0."""
    return (((y > 0) & (y < 1)) / 6).astype(y.dtype)


# --- sigmoid and its kin ---


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + e^-z), between 0 and 1."""
    e = np.exp(-np.abs(z))  # at most 1: it cannot overflow
    return np.where(z >= 0, 1, e) / (1 + e)


def sigmoid_derivative(y: Array) -> Array:
    """Return y (1 - y): at most 1/4, nearly 0 where y is near 0 or 1 (gradients vanish)."""
    return y * (1 - y)


def tanh(z: Array) -> Array:
    """Return (e^z - e^-z) / (e^z + e^-z), between -1 and 1."""
    return np.tanh(z)


def tanh_derivative(y: Array) -> Array:
    """Return 1 - y^2."""
    return 1 - y * y


def softsign(z: Array) -> Array:
    """Return z / (1 + |z|) (Bergstra et al. 2009)."""
    return z / (1 + np.abs(z))


def softsign_derivative(z: Array) -> Array:
    """Return 1 / (1 + |z|)^2."""
    return (1 / (1 + np.abs(z))) ** 2


def softplus(z: Array) -> Array:
    """Return log(1 + e^z) = max(z, 0) + log(1 + e^-|z|) (Dugas et al. 2001)."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def softplus_derivative(z: Array) -> Array:
    """Return sigmoid(z)."""
    return sigmoid(z)


def log_sigmoid(z: Array) -> Array:
    """Return log(sigmoid(z)) = -softplus(-z)."""
    return -softplus(-z)


def log_sigmoid_derivative(z: Array) -> Array:
    """Return sigmoid(-z)."""
    return sigmoid(-z)


# --- exponentials ---


def exponential(z: Array) -> Array:
    """Return e^z, but no more than the largest finite number."""
    with np.errstate(over="ignore"):
        return np.minimum(np.exp(z), np.finfo(z.dtype).max)


def exponential_derivative(y: Array) -> Array:
    """Return y."""
    return y


def elu(z: Array, alpha: float) -> Array:
    """Return z where z > 0, else alpha (e^z - 1) (Clevert et al. 2016)."""
    return np.maximum(z, 0) + alpha * np.expm1(np.minimum(z, 0))


def elu_derivative(y: Array, alpha: float) -> Array:
    """Return 1 where y > 0, else alpha e^z = y + alpha."""
    return np.where(y > 0, 1, y + alpha)


def selu(z: Array) -> Array:
    """Return lambda elu(z, alpha), with the constants that keep mean 0 and variance 1.

    No more than the largest finite number.  Klambauer et al. 2017, equation 2.
    """
    with np.errstate(over="ignore"):
        return np.minimum(SELU_SCALE * elu(z, SELU_ALPHA), np.finfo(z.dtype).max)


def selu_derivative(y: Array) -> Array:
    """Return lambda where y > 0, else lambda alpha e^z = y + lambda alpha."""
    return np.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA).astype(y.dtype)


# --- z times a number between 0 and 1 ---

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _normal_cdf(z: Array) -> Array:
    """P(N <= z) for a standard normal N: erfc(-z / sqrt 2) / 2, exact far to the left too."""
    if z.size == 0:
        return z
    return np.asarray(_erfc(-z.astype(np.float64) / math.sqrt(2)) / 2).astype(z.dtype)


def gelu(z: Array) -> Array:
    """Return z P(N <= z), N standard normal (Hendrycks and Gimpel 2016)."""
    return z * _normal_cdf(z)


def gelu_derivative(z: Array) -> Array:
    """Return P(N <= z) + z p(z), p the normal density."""
    c = np.clip(z, -50, 50)  # the density is 0 beyond, where z^2 might overflow
    return _normal_cdf(z) + c * np.exp(-c * c / 2) / math.sqrt(2 * math.pi)


def gelu_tanh(z: Array) -> Array:
    """Return z (1 + tanh u) / 2, u = sqrt(2/pi) (z + 0.044715 z^3): nearly gelu.

    (1 + tanh u) / 2 is sigmoid(2 u), which loses no digits where tanh u is nearly -1.
    Hendrycks and Gimpel 2016, section 2.
    """
    c = np.clip(z, -50, 50)  # the sigmoid is 0 or 1 beyond, where z^3 might overflow
    return z * sigmoid(2 * math.sqrt(2 / math.pi) * (c + 0.044715 * c**3))


def gelu_tanh_derivative(z: Array) -> Array:
    """Return s + z s (1 - s) 2 u', s = sigmoid(2 u), u' = sqrt(2/pi) (1 + 3 0.044715 z^2).

    1 - s is taken as sigmoid(-2 u): subtracted, it would lose digits where s is nearly 1.
    """
    c = np.clip(z, -50, 50)
    u = math.sqrt(2 / math.pi) * (c + 0.044715 * c**3)
    slope = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * c**2)
    return sigmoid(2 * u) + c * sigmoid(2 * u) * sigmoid(-2 * u) * slope


def silu(z: Array) -> Array:
    """Return z sigmoid(z), also called swish (Elfwing et al. 2018)."""
    return z * sigmoid(z)


def silu_derivative(z: Array) -> Array:
    """Return s + z s (1 - s), s = sigmoid(z) and 1 - s = sigmoid(-z)."""
    s = sigmoid(z)
    return s + z * s * sigmoid(-z)


def mish(z: Array) -> Array:
    """Return z tanh(softplus(z)) (Misra 2019)."""
    return z * np.tanh(softplus(z))


def mish_derivative(z: Array) -> Array:
    """Return s + z (1 - s^2) sigmoid(z), s = tanh(softplus(z))."""
    s = np.tanh(softplus(z))
    return s + z * (1 - s * s) * sigmoid(z)


# --- whole rows ---


def _below_largest(z: Array) -> Array:
    """Z less the largest of its row: 0 at the largest, and no exponential overflows."""
    with np.errstate(over="ignore"):
        below = z - z.max(axis=-1, keepdims=True)
    return np.maximum(below, np.finfo(z.dtype).min)


def softmax(z: Array) -> Array:
    """Return e^z_j / sum_k e^z_k over each row: positive, and 1 in all (Bridle 1990)."""
    e = np.exp(_below_largest(z))  # the shift cancels in the quotient
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dy: Array, y: Array) -> Array:
    """Return dx_j = y_j (dy_j - sum_k dy_k y_k): dy times softmax's Jacobian."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
