"""Random numbers: one stream of seeds for the process, and arrays drawn from a seed.

Nothing here keeps a hidden generator.  The stream is a counter: its draw number ``i`` is
``mix64(seed, i)``, and element ``j`` of an array is a function of ``(seed, j)`` alone, so
equal seeds give equal bits whatever was drawn before, by whichever thread, and with
whichever version of NumPy.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from nncore._names import check_integer

__all__ = [
    "get_state",
    "next_seed",
    "normal",
    "set_random_seed",
    "set_state",
    "truncated_normal",
    "uniform",
]

_MASK = 0xFFFFFFFFFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15


class _Stream:
    """The process-wide stream: ``seed`` (None: not asked for yet) and how many were drawn."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seed: int | None = None
        self.draws = 0
        self.chosen = False  # whether the user set the seed

    def after_fork(self) -> None:
        """Give a child process an own stream, unless the user set the seed."""
        self.lock = threading.Lock()
        if not self.chosen:
            self.seed = None
            self.draws = 0


_stream = _Stream()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stream.after_fork)


def mix64(value: int) -> int:
    """Return 64 well-mixed bits of 64 bits: the finalizer of SplitMix64.

    References
    ----------
    G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014.
    """
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def set_random_seed(seed: int) -> None:
    """Start the stream of seeds anew; as Keras does, seed Python's and NumPy's generators too.

    After this call, the same program makes the same initial weights, shuffles and dropout
    masks, bit for bit.

    Parameters
    ----------
    seed : int
        Any integer >= 0.  NumPy's own generator gets its lowest 32 bits.

    Raises
    ------
    TypeError, ValueError
        Not an integer, or negative.
    """
    import random

    number = check_integer("set_random_seed", "seed", seed, minimum=0)
    with _stream.lock:
        _stream.seed = number
        _stream.draws = 0
        _stream.chosen = True
    random.seed(number)
    np.random.seed(number & 0xFFFFFFFF)  # noqa: NPY002 - the user's own generator


def next_seed() -> int:
    """Return the stream's next seed, an integer in [0, 2**63).

    The first draw of a process in which no seed was set takes the stream's start from the
    operating system.
    """
    with _stream.lock:
        if _stream.seed is None:
            _stream.seed = int.from_bytes(os.urandom(8), "little")
            _stream.draws = 0
        _stream.draws += 1
        return mix64(mix64(_fold(_stream.seed)) + _stream.draws * _GOLDEN) >> 1


def get_state() -> dict[str, Any]:
    """Return the stream's state: ``{"seed": int or None, "draws": int, "chosen": bool}``."""
    with _stream.lock:
        return {"seed": _stream.seed, "draws": _stream.draws, "chosen": _stream.chosen}


def set_state(state: dict[str, Any]) -> None:
    """Put the stream back to a state that :func:`get_state` returned.

    Parameters
    ----------
    state : dict
        What :func:`get_state` returned, now or in another process.

    Raises
    ------
    ValueError
        Not such a state.
    """
    wanted = 'random.set_state: state must be what get_state() returns, {"seed", "draws", "chosen"}'
    if not isinstance(state, dict) or not {"seed", "draws", "chosen"} <= set(state):
        raise ValueError(f"{wanted}; received {state!r}")
    seed = state["seed"]
    if seed is not None:
        seed = check_integer("random.set_state", "seed", seed, minimum=0)
    draws = check_integer("random.set_state", "draws", state["draws"], minimum=0)
    with _stream.lock:
        _stream.seed = seed
        _stream.draws = draws
        _stream.chosen = bool(state["chosen"])


def _fold(seed: int) -> int:
    """Return 64 bits of an integer of any length."""
    folded = seed & _MASK
    seed >>= 64
    while seed:
        folded = mix64(folded) ^ (seed & _MASK)
        seed >>= 64
    return folded


def _unit(seed: int, size: int) -> npt.NDArray[np.float64]:
    """Return ``size`` numbers spread evenly over (0, 1): odd multiples of 2**-54.

    Neither 0 nor 1 occurs, so a logarithm of them is finite.
    """
    start = np.uint64(mix64(_fold(seed) + _GOLDEN))
    bits = np.arange(1, size + 1, dtype=np.uint64)
    bits *= np.uint64(_GOLDEN)
    bits += start
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    bits >>= np.uint64(12)
    return (bits.astype(np.float64) + 0.5) * 2.0**-52


def uniform(
    seed: int, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0
) -> npt.NDArray[np.float64]:
    """Return numbers evenly spread over (low, high), float64.

    Element ``j`` (in C order) depends on ``(seed, j)`` alone.

    Parameters
    ----------
    seed : int
        Decides, with the element's position, each number.
    shape : tuple of int
        Of the result.
    low, high : float, default 0.0 and 1.0
        The ends, neither of which is returned.

    Returns
    -------
    ndarray of float64
        Of that shape.
    """
    size = int(np.prod(shape, dtype=np.int64))
    result = _unit(seed, size)
    result *= high - low
    result += low
    return result.reshape(shape)


def normal(
    seed: int, shape: tuple[int, ...], mean: float = 0.0, stddev: float = 1.0
) -> npt.NDArray[np.float64]:
    """Return normally distributed numbers, float64.

    They are the inverse of the normal distribution function at the numbers of :func:`uniform`.

    Parameters
    ----------
    seed : int
        Decides, with the element's position, each number.
    shape : tuple of int
        Of the result.
    mean : float, default 0.0
        The distribution's mean.
    stddev : float, default 1.0
        Its standard deviation.

    Returns
    -------
    ndarray of float64
        Of that shape.
    """
    size = int(np.prod(shape, dtype=np.int64))
    result = _inverse_normal(_unit(seed, size))
    result *= stddev
    result += mean
    return result.reshape(shape)


#: The normal distribution at -2 and 2.
_PHI_MINUS_2 = 0.022750131948179207
_PHI_2 = 0.9772498680518208


def truncated_normal(
    seed: int, shape: tuple[int, ...], mean: float = 0.0, stddev: float = 1.0
) -> npt.NDArray[np.float64]:
    """Return normally distributed numbers within two ``stddev`` of ``mean``, float64.

    The distribution is that of drawing again whatever lies outside, without the loop: the
    inverse of the normal distribution of numbers spread evenly over its values at -2 and 2.

    Parameters
    ----------
    seed : int
        Decides, with the element's position, each number.
    shape : tuple of int
        Of the result.
    mean : float, default 0.0
        The distribution's mean.
    stddev : float, default 1.0
        Its standard deviation, before it is cut off.

    Returns
    -------
    ndarray of float64
        Of that shape.
    """
    size = int(np.prod(shape, dtype=np.int64))
    p = _unit(seed, size)
    p *= _PHI_2 - _PHI_MINUS_2
    p += _PHI_MINUS_2
    result = np.clip(_inverse_normal(p), -2.0, 2.0)
    result *= stddev
    result += mean
    return result.reshape(shape)


# Coefficients of algorithm AS 241 (PPND16), constant term last.
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
     4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
     1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
     2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
     4.2313330701600911252e1, 1.0),
)  # fmt: skip
_NEAR = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
     2.05319162663775882187e0, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
     5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
     5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def _rational(
    r: npt.NDArray[np.float64], table: tuple[tuple[float, ...], tuple[float, ...]]
) -> npt.NDArray[np.float64]:
    """Return the quotient of two polynomials in ``r``."""
    values = []
    for coefficients in table:
        value = np.full_like(r, coefficients[0])
        for c in coefficients[1:]:
            value *= r
            value += c
        values.append(value)
    return values[0] / values[1]


def _inverse_normal(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return z with P(Z <= z) = p, relative error about 1e-16.

    References
    ----------
    M. Wichura, "Algorithm AS 241: the percentage points of the normal distribution",
    Applied Statistics 37 (1988) 477-484.
    """
    q = p - 0.5
    z = q * _rational(0.180625 - q * q, _CENTRE)
    tail = np.flatnonzero(np.abs(q) > 0.425)
    if tail.size:
        pt = p[tail]
        r = np.sqrt(-np.log(np.minimum(pt, 1.0 - pt)))
        value = np.where(r <= 5.0, _rational(r - 1.6, _NEAR), _rational(r - 5.0, _FAR))
        z[tail] = np.copysign(value, q[tail])
    return z
