"""Optimizers: one update of w and its slots from the gradient g, in place, plainly.

The formulas are Keras 3's.  ``slots`` holds the optimizer's memory, one array like w for each
slot.  ``iteration`` counts the updates before this one.  ``weight_decay`` shrinks w first
(Loshchilov and Hutter 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _decay(w: Array, learning_rate: float, weight_decay: float) -> None:
    if weight_decay:
        w -= w * w.dtype.type(learning_rate * weight_decay)


def sgd(
    w: Array, g: Array, slots: Array, *, learning_rate: float, weight_decay: float = 0.0, **_: float
) -> None:
    """Gradient descent: w -= learning_rate g."""
    _decay(w, learning_rate, weight_decay)
    w -= learning_rate * g


def momentum(
    w: Array,
    g: Array,
    slots: Array,
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float = 0.0,
    **_: float,
) -> None:
    """Heavy ball (Polyak 1964): m = momentum m - learning_rate g;  w += m."""
    _decay(w, learning_rate, weight_decay)
    m = slots[0]
    m *= momentum
    m -= learning_rate * g
    w += m


def nesterov(
    w: Array,
    g: Array,
    slots: Array,
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float = 0.0,
    **_: float,
) -> None:
    """Nesterov 1983: m as for momentum;  w += momentum m - learning_rate g."""
    _decay(w, learning_rate, weight_decay)
    m = slots[0]
    m *= momentum
    m -= learning_rate * g
    w += momentum * m - learning_rate * g


def adagrad(
    w: Array,
    g: Array,
    slots: Array,
    *,
    learning_rate: float,
    epsilon: float,
    weight_decay: float = 0.0,
    **_: float,
) -> None:
    """Duchi et al. 2011: a += g^2;  w -= learning_rate g / sqrt(a + epsilon)."""
    _decay(w, learning_rate, weight_decay)
    a = slots[0]
    a += g * g
    w -= learning_rate * g / np.sqrt(a + epsilon)


def rmsprop(
    w: Array,
    g: Array,
    slots: Array,
    *,
    learning_rate: float,
    rho: float,
    epsilon: float,
    weight_decay: float = 0.0,
    **_: float,
) -> None:
    """Hinton 2012: v = rho v + (1 - rho) g^2;  w -= learning_rate g / sqrt(v + epsilon)."""
    _decay(w, learning_rate, weight_decay)
    v = slots[0]
    v *= rho
    v += (1 - rho) * g * g
    w -= learning_rate * g / np.sqrt(v + epsilon)


def rmsprop_full(
    w: Array,
    g: Array,
    slots: Array,
    *,
    learning_rate: float,
    rho: float,
    epsilon: float,
    momentum: float = 0.0,
    centered: float = 0.0,
    weight_decay: float = 0.0,
    **_: float,
) -> None:
    """As rmsprop, centered (Graves 2013) and with momentum.

    a = rho a + (1 - rho) g (when centered, else 0);  m = momentum m + learning_rate g
    / sqrt(v - a^2 + epsilon);  w -= m.
    """
    _decay(w, learning_rate, weight_decay)
    v, a, m = slots[0], slots[1], slots[2]
    v *= rho
    v += (1 - rho) * g * g
    if centered:
        a *= rho
        a += (1 - rho) * g
    m *= momentum
    m += learning_rate * g / np.sqrt(v - a * a + epsilon)
    w -= m


def adam(
    w: Array,
    g: Array,
    slots: Array,
    *,
    learning_rate: float,
    iteration: int,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float = 0.0,
    **_: float,
) -> None:
    """Kingma and Ba 2015, in the form at the end of their section 2 ("epsilon hat").

    m += (1 - beta_1)(g - m);  v += (1 - beta_2)(g^2 - v);
    w -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt v + epsilon).
    """
    _decay(w, learning_rate, weight_decay)
    m, v = slots[0], slots[1]
    t = iteration + 1
    rate = learning_rate * float(np.sqrt(1 - beta_2**t)) / (1 - beta_1**t)
    m += (1 - beta_1) * (g - m)
    v += (1 - beta_2) * (g * g - v)
    w -= rate * m / (np.sqrt(v) + epsilon)


def amsgrad(
    w: Array,
    g: Array,
    slots: Array,
    *,
    learning_rate: float,
    iteration: int,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float = 0.0,
    **_: float,
) -> None:
    """Reddi et al. 2018: Adam with the largest v so far in the denominator."""
    _decay(w, learning_rate, weight_decay)
    m, v, largest = slots[0], slots[1], slots[2]
    t = iteration + 1
    rate = learning_rate * float(np.sqrt(1 - beta_2**t)) / (1 - beta_1**t)
    m += (1 - beta_1) * (g - m)
    v += (1 - beta_2) * (g * g - v)
    np.maximum(largest, v, out=largest)
    w -= rate * m / (np.sqrt(largest) + epsilon)
