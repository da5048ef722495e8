"""Arrays that come from outside: made real, made two-dimensional, or refused clearly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nncore import config

__all__ = ["check_finite_in", "integer_labels", "pair", "real_array", "row_weights"]


def real_array(
    where: str, argument: str, value: npt.ArrayLike, dtype: str | None = None
) -> npt.NDArray[Any]:
    """Return ``value`` as an array of float32 or float64.

    Parameters
    ----------
    where, argument : str
        Named by the error.
    value : array-like
        Real numbers, booleans included.
    dtype : str, optional
        What to convert to; None: float32 and float64 stay, anything else becomes
        :func:`nncore.config.floatx`.

    Raises
    ------
    TypeError
        Not real numbers: strings, objects, complex numbers, rows of different lengths.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"{where}: {argument} must be an array of real numbers; its rows have different "
            f"lengths ({error})"
        ) from None
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{where}: {argument} must be an array of real numbers; received dtype {array.dtype}"
        )
    if dtype is None:
        keep = array.dtype in (np.float32, np.float64)
        dtype = array.dtype.name if keep else config.floatx()
    return array.astype(dtype, copy=False)


def check_finite_in(where: str, argument: str, array: npt.NDArray[Any], dtype: str) -> None:
    """Raise an error if a finite number of ``array`` is infinite in ``dtype``.

    Parameters
    ----------
    where, argument : str
        Named by the error.
    array : ndarray
        Real numbers.
    dtype : str
        What they are about to be converted to.

    Raises
    ------
    ValueError
        Such a number is there: stored, it would be inf, and every output with it.
    """
    if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(dtype).itemsize:
        beyond = np.isfinite(array) & (np.abs(array) > np.finfo(dtype).max)
        if beyond.any():
            raise ValueError(
                f"{where} expected numbers that are finite in {dtype} for {argument}; "
                f"received {float(array[beyond].flat[0])}"
            )


def integer_labels(
    where: str, y_true: npt.ArrayLike, rows: tuple[int, ...], classes: int
) -> npt.NDArray[np.int64]:
    """Return class numbers, one a row, checked against the number of classes.

    Parameters
    ----------
    where : str
        Named by the error.
    y_true : array-like
        Class numbers of shape ``rows`` or ``rows + (1,)``: integers, or floats with
        integral values.
    rows : tuple of int
        Shape of the predictions without their last axis.
    classes : int
        How many classes there are.

    Raises
    ------
    TypeError, ValueError
        Not integers, another shape, one-hot rows, or out of range.
    """
    t = np.asarray(y_true)
    if t.dtype.kind not in "biuf":
        raise TypeError(
            f"{where}: y_true must hold class numbers (integers); received dtype {t.dtype}"
        )
    if t.shape == (*rows, 1) and t.shape != rows:
        t = t.reshape(rows)
    if t.shape != rows:
        hint = ""
        if t.shape == (*rows, classes):
            hint = (
                "; these look like one-hot rows: pass y_true.argmax(axis=-1), or use the "
                "categorical form"
            )
        raise ValueError(
            f"{where}: y_true must hold one class number for each row, shape {rows} or "
            f"{(*rows, 1)}; received shape {t.shape}{hint}"
        )
    if t.dtype.kind == "f" and not np.all(t == np.floor(t)):
        raise ValueError(f"{where}: y_true must hold class numbers; received fractions or NaN")
    labels = t.astype(np.int64, copy=False)
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"{where}: y_true must hold class numbers from 0 to {classes - 1}, as y_pred has "
            f"{classes} columns; received {labels.min()} to {labels.max()}"
        )
    return labels


def pair(
    where: str,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    labels: bool = False,
    column: bool = False,
    dtype: str | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], tuple[int, ...]]:
    """Return targets and predictions as the kernels want them, and the shape of the rows.

    Parameters
    ----------
    where : str
        Named by the error.
    y_true, y_pred : array-like
        Of equal shapes, an axis of length 1 at the end aside; with ``labels``, ``y_true``
        holds one class number a row.
    labels : bool
        Whether ``y_true`` holds class numbers.
    column : bool
        Whether one-dimensional predictions are n rows of one column instead of one row.
    dtype : str, optional
        Of the results; None: that of ``y_pred`` if it is float32 or float64.

    Returns
    -------
    t : numpy.ndarray
        (n, columns), or int64 (n,) with ``labels``.
    y : numpy.ndarray
        (n, columns), C-contiguous.
    rows : tuple of int
        Shape of an array with one number a row: ``()`` for a single row.

    Raises
    ------
    TypeError, ValueError
        Shapes that do not fit, or not numbers.
    """
    y = real_array(where, "y_pred", y_pred, dtype)
    if labels:
        if y.ndim == 0:
            raise ValueError(f"{where}: y_pred must have one column a class; received one number")
        rows = y.shape[:-1]
        t: npt.NDArray[Any] = integer_labels(where, y_true, rows, y.shape[-1]).reshape(-1)
        return t, np.ascontiguousarray(y.reshape(-1, y.shape[-1])), rows
    t = real_array(where, "y_true", y_true, y.dtype.name)
    if t.shape != y.shape:
        if t.shape == (*y.shape, 1):
            y = y.reshape(t.shape)
        elif y.shape == (*t.shape, 1):
            t = t.reshape(y.shape)
        else:
            hint = ""
            if t.ndim == y.ndim - 1 or (t.ndim == y.ndim and t.shape[-1:] == (1,)):
                hint = "; for class numbers use the sparse form"
            raise ValueError(
                f"{where}: y_true and y_pred must have the same shape; received {t.shape} and "
                f"{y.shape}{hint}"
            )
    if y.ndim == 0:
        y, t = y.reshape(1), t.reshape(1)
    if y.ndim == 1 and column:
        y, t = y.reshape(-1, 1), t.reshape(-1, 1)
    rows = y.shape[:-1]
    columns = y.shape[-1]
    if columns == 0:
        raise ValueError(f"{where}: y_pred has no columns; received shape {y.shape}")
    return (
        np.ascontiguousarray(t.reshape(-1, columns)),
        np.ascontiguousarray(y.reshape(-1, columns)),
        rows,
    )


def row_weights(
    where: str, sample_weight: npt.ArrayLike, rows: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Return row weights as float64 (n,).

    Raises
    ------
    TypeError, ValueError
        Not real numbers, or not one a row.
    """
    r = real_array(where, "sample_weight", sample_weight, "float64")
    if r.ndim == 0:
        r = np.full(rows, r)
    if r.shape == (*rows, 1):
        r = r.reshape(rows)
    if r.shape != rows:
        raise ValueError(
            f"{where}: sample_weight must hold one weight for each row, shape {rows}; received "
            f"shape {r.shape}"
        )
    return np.ascontiguousarray(r.reshape(-1))
