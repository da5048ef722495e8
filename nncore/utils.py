"""Small tools for data: one-hot targets, normalized rows, the seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nncore import _names, config
from nncore._arrays import real_array
from nncore.random import set_random_seed

__all__ = ["PyDataset", "Sequence", "normalize", "set_random_seed", "to_categorical"]


class PyDataset:
    """Batches by number: subclass it with ``__len__`` and ``__getitem__``.

    ``fit`` takes any object with these two methods; the base class is there for programs written
    for Keras.  ``dataset[k]`` returns batch k as ``(x, y)`` or ``(x, y, sample_weight)``.

    Parameters
    ----------
    workers, use_multiprocessing, max_queue_size : int, bool, int
        Kept for Keras: batches are made one after the other, in the caller's thread.
    """

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __len__(self) -> int:
        """Return the number of batches."""
        raise TypeError(f"{type(self).__name__} must define __len__: the number of batches")

    def __getitem__(self, index: int) -> Any:
        """Return a batch."""
        raise TypeError(f"{type(self).__name__} must define __getitem__: batch number {index}")

    def on_epoch_end(self) -> None:
        """Do nothing; called after each epoch."""


#: Keras's older name.
Sequence = PyDataset


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
