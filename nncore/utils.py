"""Small tools for data: one-hot targets, normalized rows, the seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nncore import _names, config
from nncore._arrays import real_array
from nncore.random import set_random_seed

__all__ = ["normalize", "set_random_seed", "to_categorical"]


def to_categorical(x: npt.ArrayLike, num_classes: int | None = None) -> npt.NDArray[Any]:
    """Return class numbers as one-hot rows, of dtype :func:`nncore.config.floatx`.

    Parameters
    ----------
    x : array-like
        Class numbers from 0, of any shape; an axis of length 1 at the end is dropped.
    num_classes : int, optional
        Columns; the largest class number plus 1 by default.

    Returns
    -------
    numpy.ndarray
        Of the shape of ``x`` with an axis of length ``num_classes`` added.

    Raises
    ------
    TypeError, ValueError
        Not integers, negative, or not below ``num_classes``.

    Examples
    --------
    >>> to_categorical([0, 1, 2, 3], num_classes=4)
    array([[1., 0., 0., 0.],
           [0., 1., 0., 0.],
           [0., 0., 1., 0.],
           [0., 0., 0., 1.]], dtype=float32)
    """
    labels = np.asarray(x)
    if labels.dtype.kind not in "biuf":
        raise TypeError(
            f"to_categorical: x must hold class numbers (integers); received dtype {labels.dtype}"
        )
    if labels.dtype.kind == "f" and not np.all(labels == np.floor(labels)):
        raise ValueError("to_categorical: x must hold class numbers; received fractions or NaN")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.size == 0 and num_classes is None:
        raise ValueError("to_categorical: x is empty; give num_classes")
    flat = labels.reshape(-1).astype(np.int64)
    largest = int(flat.max(initial=-1))
    if num_classes is None:
        num_classes = largest + 1
    else:
        num_classes = _names.check_integer("to_categorical", "num_classes", num_classes, minimum=1)
    if flat.size and (int(flat.min()) < 0 or largest >= num_classes):
        raise ValueError(
            f"to_categorical: x must hold class numbers from 0 to {num_classes - 1} "
            f"(num_classes={num_classes}); received {int(flat.min())} to {largest}"
        )
    rows = np.zeros((flat.size, num_classes), dtype=config.floatx())
    rows[np.arange(flat.size), flat] = 1
    return rows.reshape(*labels.shape, num_classes)


def normalize(x: npt.ArrayLike, axis: int = -1, order: float = 2) -> npt.NDArray[Any]:
    """Return an array divided by its norm along an axis; rows of norm 0 stay 0.

    Parameters
    ----------
    x : array-like
        Real numbers.
    axis : int, default -1 (Keras)
        Along which to take the norm.
    order : float, default 2 (Keras)
        Which norm: ``sum(|x|**order)**(1/order)``.
    """
    values = np.atleast_1d(real_array("normalize", "x", x))
    power = _names.check_real("normalize", "order", order, minimum=0.0, open_minimum=True)
    norm = np.linalg.norm(values, power, axis, keepdims=True)
    return np.asarray(values / np.where(norm == 0, 1, norm))
