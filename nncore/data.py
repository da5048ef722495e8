"""Data for training: what may come in, and every check, before anything is changed.

Arrays are read where they lie.  What the executor can gather by itself (any native real
dtype, memory-mapped files included) is handed to it as it is; what it cannot (float16,
foreign byte order, rows with holes) is converted a few batches at a time.  The data set
is never copied whole.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import config

if TYPE_CHECKING:
    from nncore.losses import Loss

__all__ = [
    "Rows",
    "as_array",
    "check_count",
    "check_finite",
    "check_inputs",
    "check_targets",
    "check_weights",
    "gatherable",
    "is_batches",
    "plain",
    "rows_of",
    "split",
    "unpack",
]

Array = NDArray[Any]

#: Elements that a check looks at in one go.
_CHUNK = 1 << 20
#: Elements of one product in the finiteness check: few enough that no BLAS starts threads.
_BLOCK = 8192
#: Bytes that a conversion of foreign rows may hold at once (always at least one batch).
_CONVERSION = 4 << 20


# --- arguments ---


def check_count(argument: str, value: object, *, minimum: int = 1, where: str = "fit") -> int:
    """Return an integer argument of at least ``minimum``.

    Raises
    ------
    ValueError
        Naming the argument and what came.
    """
    if not isinstance(value, (bool, np.bool_)):
        try:
            n = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            n = minimum - 1
        if n >= minimum:
            return n
    wanted = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
    raise ValueError(f"{where}: {argument} must be {wanted}; received {argument}={value!r}")


# --- arrays ---


def is_batches(x: object) -> bool:
    """Tell whether ``x`` yields batches (iterator, generator, data set) and is no array."""
    if x is None or isinstance(x, (np.ndarray, list, tuple, str, bytes, Mapping)):
        return False
    if hasattr(x, "__array__") or hasattr(x, "__array_interface__") or hasattr(x, "__dlpack__"):
        return False
    if hasattr(x, "toarray") or np.isscalar(x) or isinstance(x, (range, memoryview, bytearray)):
        return False
    return (
        hasattr(x, "__next__")
        or hasattr(x, "__iter__")
        or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))
    )


def as_array(value: Any, argument: str, where: str = "fit") -> Array:
    """Return ``value`` as an array of real numbers, without a copy where there is one.

    Parameters
    ----------
    value : array_like
        Array, nested lists, anything with ``__array__`` (pandas, memory-mapped files).
        Booleans are seen as uint8.
    argument, where : str
        For errors: ``"x"``, ``"fit"``.

    Raises
    ------
    ValueError
        For None, ragged lists, strings, objects, complex numbers, dates, sparse matrices.
    """
    array = value if type(value) is np.ndarray else _foreign(value, argument, where)
    kind = array.dtype.kind
    if kind in "fiu":
        return array
    if kind == "b":
        return array.view(np.uint8)
    what, hint = {
        "O": (
            "Python objects",
            f"convert it first: {argument} = numpy.asarray({argument}, 'float32')",
        ),
        "U": (
            "strings",
            "turn text into numbers first: numpy.unique(y, return_inverse=True)[1] are labels"
            if argument == "y"
            else "turn text into numbers first (one column a category, for example)",
        ),
        "S": ("byte strings", "turn text into numbers first"),
        "T": ("strings", "turn text into numbers first"),
        "c": ("complex numbers", f"give real numbers, such as {argument}.real or abs({argument})"),
        "M": ("dates", "turn dates into numbers first"),
        "m": ("time differences", "turn them into numbers first"),
        "V": ("records", "stack the fields into a plain 2-D array first"),
    }.get(kind, (f"dtype {array.dtype}", "give real numbers"))
    shown = ""
    if kind in "OUST" and array.size:
        first = array.flat[0]
        if isinstance(first, np.generic):
            first = first.item()
        shown = f", the first is {first!r}"
    raise ValueError(
        f"{where}: {argument} must be an array of real numbers; received {what} "
        f"(dtype {array.dtype}{shown}): {hint}"
    )


def _foreign(value: Any, argument: str, where: str) -> Array:
    if value is None:
        raise ValueError(f"{where}: {argument} is missing (None); give an array")
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise ValueError(
                f"{where}: {argument} is a masked array with masked elements; "
                f"fill them first: {argument}.filled(0)"
            )
        return np.asarray(value.data)
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise ValueError(
            f"{where}: {argument} must be a dense array; received {type(value).__name__}: "
            f"use {argument}.toarray(), or a generator that yields batches of it"
        )
    if isinstance(value, (Mapping, set, frozenset, str, bytes)):
        raise ValueError(
            f"{where}: {argument} must be an array; received {type(value).__name__}. A model "
            f"has one input and one output"
        )
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{where}: {argument} cannot be made an array, its rows may differ in length: {error}"
        ) from error


def gatherable(a: Array) -> bool:
    """Tell whether the executor can gather the rows of ``a`` by itself."""
    dtype = a.dtype
    if not dtype.isnative or not a.flags.aligned:
        return False
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return False
    return a.ndim <= 2 or a.flags.c_contiguous or bool(a[0].flags.c_contiguous)


def plain(a: Array, dtype: str) -> Array:
    """Return ``a`` as the executor can read it: C-contiguous, floats of ``dtype``."""
    wanted = dtype if a.dtype.kind == "f" else a.dtype.newbyteorder("=")
    return np.require(a, wanted, ["C", "A"])


def _location(a: Array, flat: int) -> str:
    row, *columns = (int(i) for i in np.unravel_index(flat, a.shape))
    if not columns:
        return f"row {row}"
    return f"row {row}, column {columns[0] if len(columns) == 1 else tuple(columns)}"


def first_nonfinite(a: Array) -> int | None:
    """Return the flat index (C order) of the first NaN or infinity, or None.

    Integers need no look.  Chunk by chunk; a product with itself is finite only if each
    element is, unless it overflows, so only suspicious chunks are looked at closely.
    """
    if a.dtype.kind != "f":
        return None
    if a.flags.c_contiguous and a.dtype.isnative and a.dtype.itemsize in (4, 8):
        flat = a.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            for begin in range(0, flat.size, _BLOCK):
                part = flat[begin : begin + _BLOCK]
                if not math.isfinite(part.dot(part)):
                    bad = np.flatnonzero(~np.isfinite(part))
                    if bad.size:
                        return begin + int(bad[0])
        return None
    width = math.prod(a.shape[1:])
    rows = max(1, _CHUNK // max(1, width))
    for begin in range(0, a.shape[0], rows):
        finite = np.isfinite(a[begin : begin + rows])
        if not finite.all():
            return begin * width + int(np.flatnonzero(~finite.reshape(-1))[0])
    return None


def _first_beyond(a: Array, largest: float) -> int | None:
    """Return the flat index of the first element whose magnitude is beyond ``largest``, or None."""
    width = math.prod(a.shape[1:])
    rows = max(1, _CHUNK // max(1, width))
    for begin in range(0, a.shape[0], rows):
        part = a[begin : begin + rows]
        if part.size and (part.max() > largest or part.min() < -largest):
            beyond = np.abs(part).reshape(-1) > largest
            return begin * width + int(np.flatnonzero(beyond)[0])
    return None


def check_finite(a: Array, argument: str, where: str = "fit", dtype: str = "float64") -> None:
    """Refuse NaN and infinity as :func:`nncore.config.nonfinite` says.

    So is a number that would be infinite in the model's ``dtype``.

    Raises
    ------
    ValueError
        Naming the first row and column, if the setting is "error".
    """
    setting = config.nonfinite()
    if setting == "ignore":
        return
    flat, what = first_nonfinite(a), "finite"
    if flat is None and a.dtype.kind == "f" and a.dtype.itemsize > np.dtype(dtype).itemsize:
        flat, what = _first_beyond(a, float(np.finfo(dtype).max)), f"finite in {dtype}"
    if flat is None:
        return
    value = float(a[np.unravel_index(flat, a.shape)])
    text = f"{where}: {argument} must be {what}; received {value} in {_location(a, flat)}"
    if setting == "error":
        raise ValueError(
            f"{text}. Remove or replace such values (numpy.nan_to_num), or allow them with "
            f'nncore.config.set_nonfinite("warn")'
        )
    warnings.warn(text, RuntimeWarning, stacklevel=5)


def _extremes(a: Array) -> tuple[float, float]:
    """Return (smallest, largest), chunk by chunk; NaN if there is one."""
    low, high = math.inf, -math.inf
    width = math.prod(a.shape[1:])
    rows = max(1, _CHUNK // max(1, width))
    for begin in range(0, a.shape[0], rows):
        part = a[begin : begin + rows]
        a_low, a_high = part.min().item(), part.max().item()
        if a_low != a_low or a_high != a_high:
            return math.nan, math.nan
        low, high = min(low, a_low), max(high, a_high)
    return low, high


# --- x ---


def check_inputs(x: Array, shape: tuple[int, ...], where: str = "fit") -> Array:
    """Return ``x`` with rows of ``shape``, or say what is wrong with it.

    A model of one input takes a 1-D ``x``, and any model takes rows with a last axis of
    length 1 more, as in Keras.

    Raises
    ------
    ValueError
        For the wrong rank or width.
    """
    if x.shape[1:] == shape and x.ndim > 0:
        return x
    if x.ndim == len(shape) and shape[-1] == 1 and x.shape[1:] == shape[:-1]:
        return x[..., None]
    if x.ndim == len(shape) + 2 and x.shape[-1] == 1 and x.shape[1:-1] == shape:
        return x[..., 0]
    wanted = f"(n, {', '.join(map(str, shape))})"
    text = f"{where}: x must have shape {wanted}; received shape {x.shape}"
    if x.ndim == len(shape) and x.shape == shape:
        text += ". For one row write x[None]"
    elif x.ndim == len(shape) + 1:
        text += f": {shape_word(x.shape[1:])} a row instead of {shape_word(shape)}"
    elif len(x) == 1 and x.shape[2:] == shape:
        text += ". Is it a list of one array? Give the array itself"
    elif math.prod(x.shape[1:]) == math.prod(shape):
        text += ". Use x.reshape(len(x), " + ", ".join(map(str, shape)) + ")"
    raise ValueError(text)


def shape_word(shape: tuple[int, ...]) -> str:
    """Return ``"64 values"`` or ``"28 x 28 values"``."""
    return " x ".join(map(str, shape)) + " values"


# --- targets ---


def check_targets(y: Array, loss: Loss, n_out: int, where: str = "fit") -> Array:
    """Return targets as the plan wants them, after every check that does not need ``x``.

    Parameters
    ----------
    y : ndarray
        Integer labels (n,) or (n, 1) for a loss with ``loss.labels``; else (n, n_out), or
        (n,) for one output.
    loss : Loss
    n_out : int
        Outputs of the model.

    Returns
    -------
    ndarray
        (n,) integers for labels, else (n, n_out).

    Raises
    ------
    ValueError
        Saying which loss or utility fits the data.
    """
    name = loss.name
    if loss.labels:
        return _check_labels(y, name, n_out, where)
    if y.ndim == 1 and n_out == 1:
        y = y[:, None]
    elif y.ndim == 2 and y.shape[1] == n_out:
        pass
    elif loss.kernel == "categorical_crossentropy" and (
        y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)
    ):
        raise ValueError(
            f'{where}: loss "{name}" wants one column a class in y, shape (n, {n_out}); received '
            f'shape {y.shape}. For integer labels use loss="sparse_categorical_crossentropy", '
            f"or nncore.utils.to_categorical(y, {n_out})"
        )
    elif y.ndim == 3 and y.shape[2] == 1 and y.shape[1] == n_out:
        y = y[..., 0]
    else:
        text = (
            f"{where}: y must have shape (n, {n_out}), one column an output of the last layer; "
            f"received shape {y.shape}"
        )
        if y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
            text += (
                f'. For integer labels of {n_out} classes use loss="sparse_categorical_'
                f'crossentropy"; for one number a row use Dense(1) as the last layer'
            )
        elif n_out == 1 and y.ndim == 2:
            text += f". For {y.shape[1]} targets use Dense({y.shape[1]}) as the last layer"
        raise ValueError(text)
    if loss.kernel == "binary_crossentropy" and y.shape[0]:
        low, high = _extremes(y)
        if low < 0 or high > 1:
            raise ValueError(
                f'{where}: loss "{name}" wants targets in y between 0 and 1; received '
                f"{low if low < 0 else high:g}. Labels -1 and 1 become 0 and 1 with (y + 1) / 2; "
                f'labels of more classes need loss="sparse_categorical_crossentropy" and one '
                f"output a class"
            )
    elif loss.kernel == "poisson" and y.shape[0]:
        low, _ = _extremes(y)
        if low < 0:
            raise ValueError(
                f'{where}: loss "{name}" wants counts in y, at least 0; received {low:g}'
            )
    return y


def _check_labels(y: Array, name: str, n_out: int, where: str) -> Array:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    elif y.ndim == 2 and y.shape[1] == n_out:
        raise ValueError(
            f'{where}: loss "{name}" wants integer labels in y, shape (n,) or (n, 1); received '
            f'shape {y.shape}, which looks one-hot. Use loss="categorical_crossentropy", or '
            f"y.argmax(axis=1)"
        )
    if y.ndim != 1:
        raise ValueError(
            f'{where}: loss "{name}" wants integer labels in y, shape (n,) or (n, 1); received '
            f"shape {y.shape}"
        )
    if not y.shape[0]:
        return y.astype(np.int64)
    for begin in range(0, y.shape[0], _CHUNK):
        part = y[begin : begin + _CHUNK]
        low, high = part.min(), part.max()
        whole = part.dtype.kind != "f" or bool((np.floor(part) == part).all())
        if whole and low >= 0 and high < n_out:
            continue
        if not whole:
            i = int(np.flatnonzero(np.floor(part) != part)[0])
            raise ValueError(
                f'{where}: loss "{name}" wants integer labels in y; received {float(part[i])!r} '
                f'in row {begin + i}. For numbers as targets use another loss, such as "mse"'
            )
        i = int(np.flatnonzero((part < 0) | (part >= n_out))[0])
        label = part[i].item()
        label = int(label) if label == label and abs(label) < 2**63 else label
        hint = (
            f" Labels that count from 1 need y - 1, {n_out + 1} classes need Dense({n_out + 1})"
            if label == n_out
            else " Labels are the numbers of classes, from 0 on: number yours so, and leave out "
            "rows that have none"
        )
        raise ValueError(
            f"{where}: labels in y must lie in 0..{n_out - 1}, the last layer has {n_out} outputs; "
            f"received {label} in row {begin + i}.{hint}"
        )
    if y.dtype.kind == "f" or not gatherable(y):
        return y.astype(np.int64)
    return y


# --- weights ---


def check_weights(
    sample_weight: Any,
    class_weight: Any,
    y: Array | None,
    n: int,
    n_out: int,
    where: str = "fit",
) -> NDArray[np.float64] | None:
    """Return one weight a row (float64), or None where neither argument is given.

    Parameters
    ----------
    sample_weight : array_like or None
        (n,) or (n, 1), not negative.
    class_weight : mapping or None
        Weight of each class; classes it does not name weigh 1, as in Keras.  The class of a
        row is its label, or the largest column of one-hot targets.  Both given: the product.
    y : ndarray
    n, n_out : int
        Rows, and outputs of the model.

    Raises
    ------
    ValueError
    """
    r: NDArray[np.float64] | None = None
    if sample_weight is not None:
        w = as_array(sample_weight, "sample_weight", where)
        if w.ndim == 2 and w.shape[1] == 1:
            w = w[:, 0]
        if w.shape != (n,):
            raise ValueError(
                f"{where}: sample_weight must have shape ({n},), one weight a row of x; "
                f"received shape {w.shape}"
            )
        r = np.ascontiguousarray(w, dtype=np.float64)
        bad = np.flatnonzero(~(r >= 0) | (r == math.inf))
        if bad.size:
            raise ValueError(
                f"{where}: sample_weight must be finite and at least 0; "
                f"received {r[bad[0]]} in row {bad[0]}"
            )
    if class_weight is not None:
        by_class = _class_weights(class_weight, y, n_out, where)
        rows = np.empty(n, dtype=np.float64)
        assert y is not None
        for begin in range(0, n, _CHUNK):
            part = y[begin : begin + _CHUNK]
            if part.ndim == 2 and part.shape[1] > 1:
                labels = part.argmax(axis=1)
            else:
                labels = np.round(part.reshape(-1)).astype(np.int64)
            if labels.size:
                labels = np.clip(labels, 0, by_class.size - 1)
            rows[begin : begin + _CHUNK] = by_class[labels]
        r = rows if r is None else r * rows
    return r


def _class_weights(
    class_weight: Any, y: Array | None, n_out: int, where: str
) -> NDArray[np.float64]:
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            f"{where}: class_weight must be a dict such as {{0: 1.0, 1: 5.0}}; "
            f"received {class_weight!r}"
        )
    if y is None:
        raise ValueError(f"{where}: class_weight needs y")
    n_classes = max(2, n_out)
    by_class = np.ones(n_classes, dtype=np.float64)
    for key, value in class_weight.items():
        # A float such as 1.0 is what numpy.unique gives for labels that are floats.
        whole = isinstance(key, (float, np.floating)) and float(key).is_integer()
        try:
            label = int(key) if whole else operator.index(key)
        except TypeError:
            label = -1
        if not 0 <= label < n_classes:
            raise ValueError(
                f"{where}: class_weight has the class {key!r}; classes are the integers "
                f"0..{n_classes - 1}"
            )
        try:
            weight = float(value)
        except (TypeError, ValueError):
            weight = math.nan
        if not (weight >= 0 and math.isfinite(weight)):
            raise ValueError(
                f"{where}: class_weight must hold finite weights of at least 0; "
                f"received {value!r} for class {key!r}"
            )
        by_class[label] = weight
    return by_class


# --- rows ---


@dataclass(slots=True)
class Rows:
    """A checked data set in memory (or mapped into it).

    Attributes
    ----------
    x : ndarray (n, ...)
    t : ndarray or None
        Targets: labels (n,) or (n, n_out).
    r : ndarray (n,) float64, or None
        Weights.
    direct : bool
        Whether the executor can gather the rows of ``x`` and ``t`` itself.
    """

    x: Array
    t: Array | None = None
    r: NDArray[np.float64] | None = None
    direct: bool = True

    def __post_init__(self) -> None:
        self.direct = self.n == 0 or (gatherable(self.x) and (self.t is None or gatherable(self.t)))

    @property
    def n(self) -> int:
        """Return the number of rows."""
        return int(self.x.shape[0])

    def part(self, begin: int, end: int) -> Rows:
        """Return rows ``begin`` to ``end``, without a copy."""
        return Rows(
            self.x[begin:end],
            None if self.t is None else self.t[begin:end],
            None if self.r is None else self.r[begin:end],
        )

    def chunk_rows(self, batch_size: int) -> int:
        """Return how many rows one conversion should take: whole batches."""
        width = math.prod(self.x.shape[1:])
        if self.t is not None:
            width += math.prod(self.t.shape[1:])
        batches = max(1, _CONVERSION // max(1, 8 * width * batch_size))
        return batches * batch_size

    def converted(self, order: NDArray[np.int64] | None, begin: int, end: int, dtype: str) -> Rows:
        """Return positions ``begin`` to ``end`` of ``order`` as plain arrays (a small copy)."""
        index: Any = slice(begin, end) if order is None else order[begin:end]

        return Rows(
            plain(self.x[index], dtype),
            None if self.t is None else plain(self.t[index], dtype),
            None if self.r is None else self.r[index],
        )


def rows_of(
    x: Any,
    y: Any,
    *,
    input_shape: tuple[int, ...],
    n_out: int,
    loss: Loss,
    sample_weight: Any = None,
    class_weight: Any = None,
    where: str = "fit",
    finite: bool = True,
    dtype: str = "float64",
) -> Rows:
    """Check x, y and weights against each other and the model, and return them.

    Raises
    ------
    ValueError
        Whatever is wrong, before anything is changed.
    """
    a = as_array(x, "x", where)
    if a.ndim == 0:
        raise ValueError(f"{where}: x must be an array of rows; received one number, {x!r}")
    if a.shape[0] == 0:
        raise ValueError(f"{where}: x has no rows (shape {a.shape}); give at least one")
    if y is None:
        raise ValueError(
            f'{where}: y is missing; loss "{loss.name}" needs one target a row of x '
            f"({a.shape[0]} rows)"
        )
    b = as_array(y, "y", where)
    if b.ndim == 0 or b.shape[0] != a.shape[0]:
        rows = "one number" if b.ndim == 0 else f"{b.shape[0]} rows"
        raise ValueError(
            f"{where}: x and y must have the same number of rows; received {a.shape[0]} rows in x "
            f"(shape {a.shape}) and {rows} in y (shape {b.shape})"
        )
    a = check_inputs(a, input_shape, where)
    if finite:
        check_finite(a, "x", where, dtype)
        if not loss.labels:  # labels are looked at one by one in any case
            check_finite(b, "y", where, dtype)
    t = check_targets(b, loss, n_out, where)
    r = check_weights(sample_weight, class_weight, t, a.shape[0], n_out, where)
    return Rows(a, t, r)


def split(rows: Rows, validation_split: float) -> tuple[Rows, Rows]:
    """Return (training rows, validation rows); the last part is for validation, as in Keras.

    Raises
    ------
    ValueError
        If one of the two would be empty.
    """
    at = math.floor(rows.n * (1.0 - validation_split))
    if at == 0 or at == rows.n:
        raise ValueError(
            f"fit: validation_split={validation_split} leaves no row for "
            f"{'training' if at == 0 else 'validation'} of the {rows.n} in x; give more rows or "
            f"another validation_split"
        )
    return rows.part(0, at), rows.part(at, rows.n)


# --- batches ---


def unpack(batch: Any, where: str = "fit") -> tuple[Any, Any, Any]:
    """Return (x, y, sample_weight) of what a generator yielded.

    Raises
    ------
    ValueError
        If it is no tuple of one to three entries.
    """
    if not isinstance(batch, (tuple, list)):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        raise ValueError(
            f"{where}: a batch must be (x,), (x, y) or (x, y, sample_weight); "
            f"received a {type(batch).__name__} of {len(batch)}"
        )
    x, y, w = (*batch, None, None)[:3]
    return x, y, w


class Batches:
    """Batches from an iterator, a generator or a data set with ``len`` and ``[i]``.

    Parameters
    ----------
    source : object
        An iterator is read on from epoch to epoch; what can be iterated again begins
        again each epoch.  A data set of length n gives its batches 0..n-1, after each
        epoch ``on_epoch_end()`` is called if it has one (Keras's ``PyDataset``).
    order : callable, optional
        ``order(n, epoch)`` returns the order of a data set's batches (shuffling).
    """

    def __init__(self, source: Any, order: Any = None) -> None:
        self.source = source
        self.order = order
        self.once = hasattr(source, "__next__")
        self.indexed = (
            not self.once and hasattr(source, "__getitem__") and hasattr(source, "__len__")
        )
        self.length: int | None = None
        if not self.once and hasattr(source, "__len__"):
            self.length = len(source)
        declared = getattr(source, "num_batches", None)
        if self.indexed and isinstance(declared, int):  # Keras's PyDataset
            self.length = declared

    def iterate(self, epoch: int) -> Iterator[Any]:
        """Return an iterator over one pass of the source."""
        if self.once:
            return iter(self.source)
        if not self.indexed:
            return iter(self.source)
        return self._items(epoch)

    def _items(self, epoch: int) -> Iterator[Any]:
        assert self.length is not None
        numbers = range(self.length) if self.order is None else self.order(self.length, epoch)
        for i in numbers:
            yield self.source[int(i)]

    def end_of_epoch(self) -> None:
        """Tell the source that an epoch is over, if it wants to know."""
        hook = getattr(self.source, "on_epoch_end", None)
        if callable(hook):
            hook()
