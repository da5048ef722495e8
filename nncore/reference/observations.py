"""Observations: the one number that watching a training makes of an array, plainly.

``v`` and ``y`` have two dimensions; of an output ``y`` they are (rows of the batch, units).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def squares(v: Array) -> float:
    """Return the sum of squares: a norm is its square root."""
    return float(np.square(v, dtype=np.float64).sum())


def dead(y: Array) -> float:
    """Return the share of units that are 0 in every row (Lu et al. 2019, "Dying ReLU")."""
    return float((y == 0).all(axis=0).mean())


def saturated(y: Array, low: float, high: float) -> float:
    """Return the share of outputs that are at most ``low`` or at least ``high``."""
    return float(((y <= low) | (y >= high)).mean())
