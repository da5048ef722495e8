"""Losses: how far predictions are from targets.

Each loss exists as a class, as a function and as a name, as in Keras::

    losses.Huber(delta=2.0)(y_true, y_pred)         # one number
    losses.huber(y_true, y_pred, delta=2.0)         # one number a row
    model.compile(loss="huber")

A row's loss ``L_i`` is the mean over the columns (mse, mae, huber, log_cosh, poisson,
binary_crossentropy) or the sum over the classes (the categorical ones).  ``reduction`` makes
one number of the rows, ``r_i`` being the row's weight (1 without ``sample_weight``):

=============================  =============================================
``"sum_over_batch_size"``      ``sum(r_i L_i) / rows``, the default
``"mean"``                     the same
``"sum"``                      ``sum(r_i L_i)``
``"mean_with_sample_weight"``  ``sum(r_i L_i) / sum(r_i)``, 0 if no row counts
``"none"``, None               ``r_i L_i``, an array
=============================  =============================================

The arithmetic is in :mod:`nncore.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from nncore import _names, config
from nncore._arrays import pair, row_weights

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "RootMeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "deserialize",
    "get",
    "huber",
    "log_cosh",
    "mean_absolute_error",
    "mean_squared_error",
    "poisson",
    "root_mean_squared_error",
    "serialize",
    "sparse_categorical_crossentropy",
]

if not TYPE_CHECKING:
    __getattr__ = _names.lacks(__name__, __all__)

_REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none")


class Loss:
    """Base of all losses.

    Attributes
    ----------
    kernel : str
        Name of the kernel that reads predictions as they are.
    kernel_from_raw : str or None
        Name of the kernel that reads what comes before the last activation (softmax or
        sigmoid): one stable step.
    from_logits : bool
        Whether predictions are such raw outputs.
    alpha : float
        The kernel's parameter: ``delta`` or ``label_smoothing``.
    labels : bool
        Whether targets are class numbers.
    reduction, name, dtype
        As given.
    """

    kernel: ClassVar[str] = ""
    kernel_from_raw: ClassVar[str | None] = None
    labels: ClassVar[bool] = False

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        where = type(self).__name__
        if not self.kernel:
            raise TypeError(
                f"{where}: a loss needs a compiled kernel, so Loss is not made or subclassed "
                f"directly; use one of {', '.join(c.__name__ for c in _CLASSES)}"
            )
        self.reduction = _names.check_choice(
            where, "reduction", "none" if reduction is None else reduction, _REDUCTIONS
        )
        self.name = _names.snake_case(where) if name is None else name
        self.dtype = None if dtype is None else config.standardize_dtype(dtype, where=where)
        self.from_logits = False
        self.alpha = 0.0

    def __call__(
        self,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Any:
        """Return the loss.

        Parameters
        ----------
        y_true : array-like
            Targets, of ``y_pred``'s shape; class numbers (one a row) for the sparse loss.
        y_pred : array-like
            Predictions, (rows, columns).  One dimension is one row; with
            ``sample_weight`` it is n rows of one column.
        sample_weight : array-like, optional
            One weight a row.

        Returns
        -------
        float or numpy.ndarray
            One number; with ``reduction="none"`` a float64 array with one number a row.

        Raises
        ------
        TypeError, ValueError
            Not numbers, or shapes that do not fit.
        """
        t, y, rows = pair(
            self.name,
            y_true,
            y_pred,
            labels=self.labels,
            column=sample_weight is not None,
            dtype=self.dtype,
        )
        r = None if sample_weight is None else row_weights(self.name, sample_weight, rows)
        losses = _rows(self._row_kernel, t, y, self.alpha)
        weighted = losses if r is None else losses * r
        if self.reduction == "none":
            return weighted.reshape(rows)
        return self._finish(self._reduce(weighted, r))

    @property
    def _row_kernel(self) -> str:
        """Name of the kernel for predictions as this loss takes them."""
        raw = self.kernel_from_raw
        return raw if self.from_logits and raw is not None else self.kernel

    def _reduce(self, losses: npt.NDArray[np.float64], r: npt.NDArray[np.float64] | None) -> float:
        total = float(np.sum(losses))
        if self.reduction == "sum":
            return total
        divisor = float(losses.size)
        if self.reduction == "mean_with_sample_weight" and r is not None:
            divisor = float(np.sum(r))
        return total / divisor if divisor else 0.0

    def _finish(self, value: float) -> float:
        """Return the batch's loss from the reduced row losses."""
        return value

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal loss."""
        return {"reduction": self.reduction, "name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Loss:
        """Make a loss from what :meth:`get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items() if k != "dtype")
        return f"{type(self).__name__}({arguments})"


class MeanSquaredError(Loss):
    """``L_i = mean_j (t_ij - y_ij)**2``.

    Parameters
    ----------
    reduction : str, default "sum_over_batch_size" (Keras)
        See the module's text.
    name : str, default "mean_squared_error"
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.
    """

    kernel = "mean_squared_error"


class RootMeanSquaredError(Loss):
    """``sqrt(mean_ij (t_ij - y_ij)**2)``: the square root of the batch's mean squared error.

    Keras has this as a metric only.  It is one value a batch, not one a row: the loss of an
    epoch is the mean of its batches' values, weighted by their rows, and so is not the root
    of the epoch's mean squared error (that is the metric ``"rmse"``).  Its derivative
    is ``(y - t) / (size * value)``, and 0 where the value is 0.

    Parameters
    ----------
    reduction : str, default "sum_over_batch_size"
        Of the squares, before the root.  ``"none"`` is not offered.
    name : str, default "root_mean_squared_error"
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.
    """

    kernel = "root_mean_squared_error"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        if self.reduction == "none":
            raise ValueError(
                "RootMeanSquaredError: the loss is one value a batch, so reduction must not be "
                f'"none"; received reduction={reduction!r}; use the function '
                "root_mean_squared_error for one value a row"
            )

    @property
    def _row_kernel(self) -> str:
        return "mean_squared_error"

    def _finish(self, value: float) -> float:
        return float(np.sqrt(value))


class MeanAbsoluteError(Loss):
    """``L_i = mean_j |t_ij - y_ij|``.

    Parameters
    ----------
    reduction : str, default "sum_over_batch_size" (Keras)
        See the module's text.
    name : str, default "mean_absolute_error"
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.
    """

    kernel = "mean_absolute_error"


class Huber(Loss):
    """Quadratic near the target, linear far from it.

    With ``e = t - y``: ``e**2 / 2`` where ``|e| <= delta``, else
    ``delta * |e| - delta**2 / 2``; the mean over the columns.

    Parameters
    ----------
    delta : float, default 1.0 (Keras)
        Where quadratic becomes linear; positive.
    reduction : str, default "sum_over_batch_size" (Keras)
        See the module's text.
    name : str, default "huber_loss" (Keras)
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.

    References
    ----------
    P. Huber, "Robust estimation of a location parameter", 1964.
    """

    kernel = "huber"

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = self.alpha = _names.check_real(
            "Huber", "delta", delta, minimum=0.0, open_minimum=True
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal loss."""
        return {"delta": self.delta, **super().get_config()}


class LogCosh(Loss):
    """``L_i = mean_j log(cosh(y_ij - t_ij))``: quadratic near the target, linear far from it.

    Parameters
    ----------
    reduction : str, default "sum_over_batch_size" (Keras)
        See the module's text.
    name : str, default "log_cosh"
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.
    """

    kernel = "log_cosh"


class Poisson(Loss):
    """``L_i = mean_j (y_ij - t_ij log(y_ij + 1e-7))``: for counts; ``y`` must be >= 0.

    Parameters
    ----------
    reduction : str, default "sum_over_batch_size" (Keras)
        See the module's text.
    name : str, default "poisson"
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.
    """

    kernel = "poisson"


class _Crossentropy(Loss):
    """What the losses from probabilities or raw outputs share."""

    def __init__(
        self,
        from_logits: bool,
        reduction: str | None,
        axis: int,
        name: str | None,
        dtype: Any,
    ) -> None:
        super().__init__(reduction, name, dtype)
        where = type(self).__name__
        if not isinstance(from_logits, (bool, np.bool_)):
            raise TypeError(
                f"{where}: from_logits must be True or False; received from_logits={from_logits!r}"
            )
        if axis != -1:
            raise ValueError(
                f"{where}: axis must be -1, the columns are the classes; received axis={axis!r}"
            )
        self.from_logits = bool(from_logits)
        self.axis = -1

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal loss."""
        return {"from_logits": self.from_logits, "axis": self.axis, **super().get_config()}


class _Smoothed(_Crossentropy):
    """What the losses with label smoothing share."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, reduction, axis, name, dtype)
        self.label_smoothing = self.alpha = _names.check_real(
            type(self).__name__, "label_smoothing", label_smoothing, minimum=0.0, maximum=1.0
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal loss."""
        return {"label_smoothing": self.label_smoothing, **super().get_config()}


class BinaryCrossentropy(_Smoothed):
    """``L_i = -mean_j (t_ij log(p_ij) + (1 - t_ij) log(1 - p_ij))``.

    ``p`` is ``y`` clipped to [1e-7, 1 - 1e-7], or the sigmoid of ``y`` with
    ``from_logits``; that is computed as ``max(y, 0) - y t + log(1 + exp(-|y|))``.  A model
    whose last activation is the sigmoid trains with that form, too.

    Parameters
    ----------
    from_logits : bool, default False (Keras)
        Whether predictions are raw outputs.
    label_smoothing : float, default 0.0 (Keras)
        ``a`` in [0, 1]: targets become ``t (1 - a) + a / 2``.
    axis : int
        -1.
    reduction : str, default "sum_over_batch_size" (Keras)
        See the module's text.
    name : str, default "binary_crossentropy"
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.
    """

    kernel = "binary_crossentropy"
    kernel_from_raw = "sigmoid_binary_crossentropy"


class CategoricalCrossentropy(_Smoothed):
    """``L_i = -sum_j t_ij log(p_ij)``, targets one-hot or any distribution.

    ``p`` is ``y`` divided by its row's sum and clipped to [1e-7, 1 - 1e-7], or the softmax of
    ``y`` with ``from_logits``, computed as one stable step.  A model whose last activation is
    the softmax trains with that form, too.

    Parameters
    ----------
    from_logits : bool, default False (Keras)
        Whether predictions are raw outputs.
    label_smoothing : float, default 0.0 (Keras)
        ``a`` in [0, 1]: targets become ``t (1 - a) + a / classes``.
    axis : int
        -1.
    reduction : str, default "sum_over_batch_size" (Keras)
        See the module's text.
    name : str, default "categorical_crossentropy"
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.
    """

    kernel = "categorical_crossentropy"
    kernel_from_raw = "softmax_categorical_crossentropy"


class SparseCategoricalCrossentropy(_Crossentropy):
    """``L_i = -log(p_i[t_i])``: targets are class numbers, (n,) or (n, 1).

    ``p`` is as for :class:`CategoricalCrossentropy`.

    Parameters
    ----------
    from_logits : bool, default False (Keras)
        Whether predictions are raw outputs.
    ignore_class : None
        Not offered: give the rows of such a class a ``sample_weight`` of 0.
    reduction : str, default "sum_over_batch_size" (Keras)
        See the module's text.
    axis : int
        -1.
    name : str, default "sparse_categorical_crossentropy"
        For logs.
    dtype : str, optional
        In which dtype a call computes; None: that of ``y_pred``.
    """

    kernel = "sparse_categorical_crossentropy"
    kernel_from_raw = "softmax_sparse_categorical_crossentropy"
    labels = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, reduction, axis, name, dtype)
        _no_ignored_class(type(self).__name__, ignore_class)


def _no_ignored_class(where: str, ignore_class: object) -> None:
    if ignore_class is not None:
        raise ValueError(
            f"{where}: ignore_class is not offered, give the rows of that class a sample_weight "
            f"of 0; received ignore_class={ignore_class!r}"
        )


def _rows(
    kernel: str, t: npt.NDArray[Any], y: npt.NDArray[Any], alpha: float
) -> npt.NDArray[np.float64]:
    """Return the loss of each row."""
    if y.shape[0] == 0:
        return np.zeros(0)
    from nncore import kernels

    return np.asarray(kernels.loss_rows(kernel, y, t, alpha=alpha), dtype=np.float64)


def mean_squared_error(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``mean_j (t_ij - y_ij)**2`` of each row; see :class:`MeanSquaredError`.

    Parameters
    ----------
    y_true : array-like, (rows, columns)
        Targets.
    y_pred : array-like, (rows, columns)
        Outputs.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    t, y, rows = pair("mean_squared_error", y_true, y_pred)
    return _rows("mean_squared_error", t, y, 0.0).reshape(rows)


def root_mean_squared_error(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return ``sqrt(mean_j (t_ij - y_ij)**2)`` of each row.

    The loss of a batch, :class:`RootMeanSquaredError`, is not the mean of these.

    Parameters
    ----------
    y_true : array-like, (rows, columns)
        Targets.
    y_pred : array-like, (rows, columns)
        Outputs.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    t, y, rows = pair("root_mean_squared_error", y_true, y_pred)
    return np.sqrt(_rows("mean_squared_error", t, y, 0.0)).reshape(rows)


def mean_absolute_error(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``mean_j |t_ij - y_ij|`` of each row; see :class:`MeanAbsoluteError`.

    Parameters
    ----------
    y_true : array-like, (rows, columns)
        Targets.
    y_pred : array-like, (rows, columns)
        Outputs.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    t, y, rows = pair("mean_absolute_error", y_true, y_pred)
    return _rows("mean_absolute_error", t, y, 0.0).reshape(rows)


def huber(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, delta: float = 1.0
) -> npt.NDArray[np.float64]:
    """Return the Huber loss of each row; see :class:`Huber`.

    Parameters
    ----------
    y_true : array-like, (rows, columns)
        Targets.
    y_pred : array-like, (rows, columns)
        Outputs.
    delta : float, default 1.0 (Keras)
        Where the square becomes a line; > 0.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    alpha = _names.check_real("huber", "delta", delta, minimum=0.0, open_minimum=True)
    t, y, rows = pair("huber", y_true, y_pred)
    return _rows("huber", t, y, alpha).reshape(rows)


def log_cosh(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``mean_j log(cosh(y_ij - t_ij))`` of each row; see :class:`LogCosh`.

    Parameters
    ----------
    y_true : array-like, (rows, columns)
        Targets.
    y_pred : array-like, (rows, columns)
        Outputs.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    t, y, rows = pair("log_cosh", y_true, y_pred)
    return _rows("log_cosh", t, y, 0.0).reshape(rows)


def poisson(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``mean_j (y_ij - t_ij log(y_ij + 1e-7))`` of each row; see :class:`Poisson`.

    Parameters
    ----------
    y_true : array-like, (rows, columns)
        Targets.
    y_pred : array-like, (rows, columns)
        Outputs.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    t, y, rows = pair("poisson", y_true, y_pred)
    return _rows("poisson", t, y, 0.0).reshape(rows)


def _function_form(
    loss: Loss, y_true: npt.ArrayLike, y_pred: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    t, y, rows = pair(loss.name, y_true, y_pred, labels=loss.labels)
    return _rows(loss._row_kernel, t, y, loss.alpha).reshape(rows)


def binary_crossentropy(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> npt.NDArray[np.float64]:
    """Return the binary cross-entropy of each row; see :class:`BinaryCrossentropy`.

    Parameters
    ----------
    y_true : array-like, (rows, columns)
        Targets.
    y_pred : array-like, (rows, columns)
        Probabilities, or raw outputs with ``from_logits``.
    from_logits : bool, default False (Keras)
        Whether ``y_pred`` is before the sigmoid or softmax.
    label_smoothing : float, default 0.0 (Keras)
        See the class.
    axis : int, default -1
        The last axis; no other is offered.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    return _function_form(BinaryCrossentropy(from_logits, label_smoothing, axis), y_true, y_pred)


def categorical_crossentropy(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> npt.NDArray[np.float64]:
    """Return the cross-entropy of each row; see :class:`CategoricalCrossentropy`.

    Parameters
    ----------
    y_true : array-like, (rows, columns)
        Targets.
    y_pred : array-like, (rows, columns)
        Probabilities, or raw outputs with ``from_logits``.
    from_logits : bool, default False (Keras)
        Whether ``y_pred`` is before the sigmoid or softmax.
    label_smoothing : float, default 0.0 (Keras)
        See the class.
    axis : int, default -1
        The last axis; no other is offered.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    loss = CategoricalCrossentropy(from_logits, label_smoothing, axis)
    return _function_form(loss, y_true, y_pred)


def sparse_categorical_crossentropy(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    from_logits: bool = False,
    ignore_class: None = None,
    axis: int = -1,
) -> npt.NDArray[np.float64]:
    """Return the cross-entropy of each row; see :class:`SparseCategoricalCrossentropy`.

    Parameters
    ----------
    y_true : array-like of int, (rows,)
        Class numbers.
    y_pred : array-like, (rows, columns)
        Probabilities, or raw outputs with ``from_logits``.
    from_logits : bool, default False (Keras)
        Whether ``y_pred`` is before the softmax.
    ignore_class : None
        Not offered.
    axis : int, default -1
        The last axis; no other is offered.

    Returns
    -------
    ndarray of float64, (rows,)
        The loss of each row.
    """
    loss = SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis)
    return _function_form(loss, y_true, y_pred)


_CLASSES: tuple[type[Loss], ...] = (
    MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError, Huber, LogCosh, Poisson,
    BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy,
)  # fmt: skip

_FUNCTIONS: dict[Any, type[Loss]] = {
    mean_squared_error: MeanSquaredError,
    root_mean_squared_error: RootMeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    huber: Huber,
    log_cosh: LogCosh,
    poisson: Poisson,
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
}

_KNOWN: dict[str, Callable[..., Loss]] = {
    **{c.__name__: c for c in _CLASSES},
    **{f.__name__: c for f, c in _FUNCTIONS.items()},
    "mse": MeanSquaredError,
    "MSE": MeanSquaredError,
    "rmse": RootMeanSquaredError,
    "RMSE": RootMeanSquaredError,
    "mae": MeanAbsoluteError,
    "MAE": MeanAbsoluteError,
    "bce": BinaryCrossentropy,
    "BCE": BinaryCrossentropy,
    "logcosh": LogCosh,
}


def serialize(loss: Any) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}`` of a loss, or of whatever :func:`get` takes.

    Parameters
    ----------
    loss : Loss, str, function or class
        What is to be written down.

    Returns
    -------
    dict
        What :func:`deserialize` reads.
    """
    found = get(loss)
    if found is None:
        raise TypeError("serialize: loss must be a loss; received None")
    return _names.object_config(found)


def deserialize(
    name: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None
) -> Loss:
    """Make a loss from what :func:`serialize` returned, or from a name.

    Parameters
    ----------
    name : mapping or str
        ``{"class_name": ..., "config": arguments}``, or a name.
    custom_objects : mapping, optional
        Own classes by their names.

    Returns
    -------
    Loss
        A new object.

    Raises
    ------
    ValueError
        An unknown name.
    """
    return _check(_names.build("loss", name, _KNOWN, custom_objects))


def get(identifier: object) -> Loss | None:
    """Return the loss that ``identifier`` stands for.

    Parameters
    ----------
    identifier : None, str, function, class, mapping or Loss
        A name (``"mse"``, ``"mean_squared_error"``, ``"MeanSquaredError"``), a function or
        class of this module, what :func:`serialize` returned, or an object, which is
        returned as it is.  None stays None.

    Raises
    ------
    ValueError
        An unknown name.
    TypeError
        Something else, an own function for one: a compiled step cannot call it.
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier) and not isinstance(identifier, Loss):
        try:
            return _FUNCTIONS[identifier]()
        except (KeyError, TypeError):
            pass
    return _check(identifier)


def _check(value: object) -> Loss:
    if isinstance(value, Loss):
        return value
    raise TypeError(
        f"loss must be one of the known names ({', '.join(sorted(_KNOWN))}) or an nncore.losses "
        "object; an own Python function cannot run inside a compiled step; received "
        f"{value!r}"
    )
