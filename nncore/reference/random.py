"""Counter-based randomness, as a few lines of integer arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1


def mix64(v: int) -> int:
    """Return SplitMix64's finaliser of v (Steele, Lea and Flood 2014)."""
    v ^= v >> 30
    v = (v * 0xBF58476D1CE4E5B9) & _MASK
    v ^= v >> 27
    v = (v * 0x94D049BB133111EB) & _MASK
    return v ^ (v >> 31)


def mix32(h: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return Wellons' "lowbias32" of every element."""
    h = h ^ (h >> np.uint32(16))
    h = h * np.uint32(0x7FEB352D)
    h = h ^ (h >> np.uint32(15))
    h = h * np.uint32(0x846CA68B)
    return h ^ (h >> np.uint32(16))


def keep(rows: int, cols: int, rate: float, seed: int, iteration: int) -> NDArray[np.bool_]:
    """Return dropout's mask: which elements are kept, (rows, cols).

    An element is its place in the batch, row * cols + column.  (seed, iteration, element) alone
    decides, so the mask can be drawn again on the way back.
    """
    key = mix64((seed + (iteration + 1) * 0x9E3779B97F4A7C15) & _MASK)
    element = np.arange(rows * cols, dtype=np.uint32).reshape(rows, cols)
    h = mix32(mix32(element + np.uint32(key & 0xFFFFFFFF)) + np.uint32(key >> 32))
    return h >= np.uint32(rate * 4294967296.0)
