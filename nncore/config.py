"""Settings of the process: the default dtype, and what to do about data that is not finite.

A setting is read when a layer is made or when ``fit`` begins; changing one never changes
a model that exists.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nncore._names import check_choice

__all__ = [
    "epsilon",
    "floatx",
    "nonfinite",
    "set_floatx",
    "set_nonfinite",
    "standardize_dtype",
]

_DTYPES = ("float32", "float64")
_NONFINITE = ("error", "warn", "ignore")
_EPSILON = 1e-7

_settings = {"floatx": "float32", "nonfinite": "error"}


def floatx() -> str:
    """Return the dtype of layers that name none: ``"float32"`` until :func:`set_floatx`.

    Examples
    --------
    >>> floatx()
    'float32'
    """
    return _settings["floatx"]


def set_floatx(value: str) -> None:
    """Set the dtype of layers made from now on.

    Parameters
    ----------
    value : {"float32", "float64"}
        Half precision is not offered: this library computes on CPUs, where it is slower.

    Raises
    ------
    ValueError
        Another dtype.
    """
    _settings["floatx"] = standardize_dtype(value, where="set_floatx", argument="value")


def standardize_dtype(dtype: Any = None, where: str = "dtype", argument: str = "dtype") -> str:
    """Return ``"float32"`` or ``"float64"`` for any spelling of them.

    Parameters
    ----------
    dtype : str, numpy.dtype, type or None
        None: :func:`floatx`.
    where, argument : str
        Named by the error.

    Raises
    ------
    ValueError
        Another dtype.
    """
    if dtype is None:
        return floatx()
    name = dtype
    if not isinstance(dtype, str):
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = dtype
    return check_choice(where, argument, name, _DTYPES)


def epsilon() -> float:
    """Return the small number that keeps logarithms and quotients finite: 1e-7, as in Keras.

    It is a constant: probabilities are clipped to ``[1e-7, 1 - 1e-7]`` and ``poisson`` adds
    it inside its logarithm.
    """
    return _EPSILON


def nonfinite() -> str:
    """Return what ``fit`` does when the data holds NaN or infinity; see :func:`set_nonfinite`."""
    return _settings["nonfinite"]


def set_nonfinite(value: str) -> None:
    """Set what ``fit`` does when ``x`` holds NaN or infinity.

    Parameters
    ----------
    value : {"error", "warn", "ignore"}
        ``"error"`` (the default): nothing is trained; the error names the first row and
        column.  ``"warn"``: a warning names them, and training goes on.  ``"ignore"``:
        the data is not looked at.

    Raises
    ------
    ValueError
        Another value.
    """
    _settings["nonfinite"] = check_choice("set_nonfinite", "value", value, _NONFINITE)
