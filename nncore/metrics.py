"""Metrics: what is reported beside the loss.

A metric keeps a sum and a count over the batches it sees; :meth:`Metric.result` is their
quotient.  ``sum_i r_i v_i / sum_i r_i`` over rows, ``v_i`` being the row's value and ``r_i``
its weight (1 without ``sample_weight``).  Those of this module (but :class:`Mean`,
:class:`Accuracy` and :class:`MeanMetricWrapper`) are accumulated inside the compiled step;
an own metric subclasses :class:`Metric` and works in plain Python, on predictions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from nncore import _names, config
from nncore._arrays import pair, real_array, row_weights
from nncore.losses import Loss

__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "deserialize",
    "get",
    "is_accuracy",
    "resolve_accuracy",
    "serialize",
]

if not TYPE_CHECKING:
    __getattr__ = _names.lacks(__name__, __all__)


class Metric:
    """Base of all metrics.

    An own metric defines :meth:`update_state` and, unless ``total / count`` is what it
    reports, :meth:`result` and :meth:`reset_state`.

    Parameters
    ----------
    dtype : str, optional
        Kept for Keras; sums are float64.
    name : str, optional
        Key in logs and ``history``; the class's name in snake case by default.

    Attributes
    ----------
    kernel : str or None
        Name of the kernel that computes it inside the compiled step; None: plain Python.
    alpha : float
        The kernel's parameter: ``threshold`` or ``k``.
    labels : bool
        Whether targets are class numbers.
    total, count : float
        What was added up since :meth:`reset_state`.

    Examples
    --------
    >>> class WorstError(Metric):
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.total = max(self.total, float(abs(y_true - y_pred).max()))
    ...     def result(self):
    ...         return self.total
    """

    kernel: ClassVar[str | None] = None
    labels: ClassVar[bool] = False
    #: Which way is better, for callbacks that monitor it: "up", "down" or None.
    _direction: str | None = None

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        where = type(self).__name__
        self.name = _names.snake_case(where) if name is None else str(name)
        self.dtype = config.standardize_dtype(dtype, where=where)
        self.alpha = 0.0
        self.total = 0.0
        self.count = 0.0

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Add one batch: ``update_state(y_true, y_pred, sample_weight=None)``."""
        raise TypeError(
            f"{type(self).__name__}: an own metric must define "
            "update_state(self, y_true, y_pred, sample_weight=None)"
        )

    def result(self) -> float:
        """Return the metric of all batches since :meth:`reset_state`; 0 if there were none."""
        return self.total / self.count if self.count else 0.0

    def reset_state(self) -> None:
        """Forget all batches."""
        self.total = 0.0
        self.count = 0.0

    def _add(self, values: npt.ArrayLike, sample_weight: npt.ArrayLike | None) -> None:
        """Add values, weighted; weights have their shape, or that of their first axes."""
        v = real_array(self.name, "values", values, "float64")
        if sample_weight is None:
            self.total += float(np.sum(v))
            self.count += float(v.size)
            return
        r = real_array(self.name, "sample_weight", sample_weight, "float64")
        if r.ndim > v.ndim and r.shape[-1] == 1:
            r = r[..., 0]
        if r.shape != v.shape[: r.ndim]:
            raise ValueError(
                f"{self.name}: sample_weight must have the shape of the values or of their first "
                f"axes; received {r.shape} and {v.shape}"
            )
        r = np.broadcast_to(r.reshape(r.shape + (1,) * (v.ndim - r.ndim)), v.shape)
        self.total += float(np.sum(v * r))
        self.count += float(np.sum(r))

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        """Add one batch and return the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Metric:
        """Make a metric from what :meth:`get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


class Mean(Metric):
    """The mean of values.

    Parameters
    ----------
    name : str, default "mean" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)

    def update_state(
        self, values: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> None:
        """Add values; ``sample_weight`` has their shape, or that of their first axes."""
        self._add(values, sample_weight)


class MeanMetricWrapper(Metric):
    """The mean of what a function ``fn(y_true, y_pred)`` returns for each row.

    Parameters
    ----------
    fn : callable
        Called with a batch's targets and predictions; returns one value a row, or one.
    name : str, optional
        The function's name by default.
    dtype : str, optional
        Kept for Keras.
    **kwargs
        More arguments of ``fn``.
    """

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        if name is None:  # a loss object has a name of its own
            name = getattr(fn, "__name__", None) or getattr(fn, "name", None) or "metric"
            name = name.strip("<>")  # Keras's name for a lambda
        super().__init__(dtype, name)
        from nncore.losses import Loss

        if isinstance(fn, Loss):
            self._direction = "down"
        self._fn = fn
        self._fn_kwargs = kwargs

    def update_state(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: npt.ArrayLike | None = None,
    ) -> None:
        """Add one batch."""
        self._add(self._fn(y_true, y_pred, **self._fn_kwargs), sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, the function by its name.

        ``custom_objects`` has to give the function of that name when this is read again.
        """
        from nncore import losses

        fn: Any = getattr(self._fn, "__name__", None)
        if isinstance(self._fn, losses.Loss):
            fn = losses.serialize(self._fn)
        elif not isinstance(fn, str):
            raise TypeError(
                f'metric "{self.name}": {self._fn!r} has no name and cannot be written down; use a '
                f"function made with def, or subclass nncore.metrics.Metric"
            )
        return {**super().get_config(), "fn": fn, **self._fn_kwargs}

    @classmethod
    def _made(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None
    ) -> MeanMetricWrapper:
        """Return the metric that :meth:`get_config` described."""
        from nncore import losses

        settings = dict(config)
        fn = settings.pop("fn", None)
        if isinstance(fn, Mapping):
            return cls(losses.deserialize(fn, custom_objects), **settings)
        found = (custom_objects or {}).get(fn)
        if not callable(found):
            raise ValueError(
                f'metric "{settings.get("name")}" is the function "{fn}": give it as '
                f'custom_objects={{"{fn}": the function}}'
            )
        return cls(found, **settings)


class Accuracy(Metric):
    """How often predictions equal targets exactly: for class numbers, not probabilities.

    ``metrics=["accuracy"]`` in ``compile`` is not this one: it chooses among
    :class:`BinaryAccuracy`, :class:`CategoricalAccuracy` and
    :class:`SparseCategoricalAccuracy`.

    Parameters
    ----------
    name : str, default "accuracy" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(dtype, name)

    def update_state(
        self,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> None:
        """Add one batch."""
        t, y, _ = pair(self.name, y_true, y_pred, column=True, dtype="float64")
        self._add(np.mean(t == y, axis=1), sample_weight)


class _Compiled(Metric):
    """A metric that a kernel computes."""

    _one_dimension_is_column: ClassVar[bool] = True

    def update_state(
        self,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> None:
        """Add one batch.

        Parameters
        ----------
        y_true : array-like
            Targets, of ``y_pred``'s shape; class numbers for the sparse ones.
        y_pred : array-like
            Predictions, (rows, columns).
        sample_weight : array-like, optional
            One weight a row.

        Raises
        ------
        TypeError, ValueError
            Not numbers, or shapes that do not fit.
        """
        t, y, rows = pair(
            self.name, y_true, y_pred, labels=self.labels, column=self._one_dimension_is_column
        )
        r = None if sample_weight is None else row_weights(self.name, sample_weight, rows)
        if y.shape[0] == 0:
            return
        from nncore import kernels

        kernel = self.kernel
        total, count = kernels.metric(str(kernel), y, t, r, alpha=self.alpha)
        self.total += float(total)
        self.count += float(count)


class BinaryAccuracy(_Compiled):
    """How often ``y > threshold`` equals the target; the mean over the columns of each row.

    Parameters
    ----------
    name : str, default "binary_accuracy" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    threshold : float, default 0.5 (Keras)
        Any finite number; with raw outputs (``from_logits``) the natural one is 0.
    """

    kernel = "binary_accuracy"
    _direction = "up"

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        super().__init__(dtype, name)
        self.threshold = self.alpha = _names.check_real(
            "BinaryAccuracy",
            "threshold",
            threshold,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {**super().get_config(), "threshold": self.threshold}


class CategoricalAccuracy(_Compiled):
    """How often the largest prediction is where the target's largest entry is (one-hot).

    Of equal largest entries the first counts.

    Parameters
    ----------
    name : str, default "categorical_accuracy" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    kernel = "categorical_accuracy"
    _direction = "up"
    _one_dimension_is_column = False

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(dtype, name)


class SparseCategoricalAccuracy(_Compiled):
    """How often the largest prediction is at the target, a class number.

    Parameters
    ----------
    name : str, default "sparse_categorical_accuracy" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    kernel = "sparse_categorical_accuracy"
    labels = True
    _direction = "up"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(dtype, name)


class _TopK(_Compiled):
    """What the two top-k accuracies share."""

    _direction = "up"
    _one_dimension_is_column = False

    def __init__(self, k: int, name: str | None, dtype: Any) -> None:
        super().__init__(dtype, name)
        self.k = _names.check_integer(type(self).__name__, "k", k, minimum=1)
        self.alpha = float(self.k)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {**super().get_config(), "k": self.k}


class TopKCategoricalAccuracy(_TopK):
    """How often fewer than ``k`` predictions are larger than the one at the target (one-hot).

    Parameters
    ----------
    k : int, default 5 (Keras)
        At least 1.
    name : str, default "top_k_categorical_accuracy" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    kernel = "top_k_categorical_accuracy"

    def __init__(
        self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(k, name, dtype)


class SparseTopKCategoricalAccuracy(_TopK):
    """How often fewer than ``k`` predictions are larger than the one at the target.

    The target is a class number.

    Parameters
    ----------
    k : int, default 5 (Keras)
        At least 1.
    name : str, default "sparse_top_k_categorical_accuracy" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    kernel = "sparse_top_k_categorical_accuracy"
    labels = True

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
    ) -> None:
        super().__init__(k, name, dtype)


class MeanSquaredError(_Compiled):
    """``mean (t - y)**2``.

    Parameters
    ----------
    name : str, default "mean_squared_error" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    kernel = "mean_squared_error"
    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(dtype, name)


class RootMeanSquaredError(_Compiled):
    """``sqrt(mean (t - y)**2)``, the mean over all batches: unlike the loss of that name.

    Parameters
    ----------
    name : str, default "root_mean_squared_error" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    kernel = "mean_squared_error"
    _direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(dtype, name)

    def result(self) -> float:
        """Return the root of the mean of all batches since :meth:`Metric.reset_state`."""
        return math.sqrt(super().result())


class MeanAbsoluteError(_Compiled):
    """``mean |t - y|``.

    Parameters
    ----------
    name : str, default "mean_absolute_error" (Keras)
        Key in logs.
    dtype : str, optional
        Kept for Keras.
    """

    kernel = "mean_absolute_error"
    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(dtype, name)


_CLASSES: tuple[type[Metric], ...] = (
    Mean, Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy,
    TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy, MeanSquaredError,
    RootMeanSquaredError, MeanAbsoluteError,
)  # fmt: skip

_KNOWN: dict[str, type[Metric]] = {
    **{c.__name__: c for c in _CLASSES},
    **{_names.snake_case(c.__name__): c for c in _CLASSES},
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "mse": MeanSquaredError,
    "MSE": MeanSquaredError,
    "rmse": RootMeanSquaredError,
    "RMSE": RootMeanSquaredError,
    "mae": MeanAbsoluteError,
    "MAE": MeanAbsoluteError,
}

_ACCURACY = ("accuracy", "acc")


def is_accuracy(identifier: object) -> bool:
    """Return whether this is the name that :func:`resolve_accuracy` has to resolve.

    Parameters
    ----------
    identifier : object
        A metric as ``compile`` takes it.

    Returns
    -------
    bool
        True for ``"accuracy"`` and ``"acc"``.
    """
    return isinstance(identifier, str) and identifier.lower() in _ACCURACY


def resolve_accuracy(
    loss: Loss | None, n_out: int, labels: bool | None = None, name: str = "accuracy"
) -> Metric:
    """Return the metric that ``metrics=["accuracy"]`` stands for, by Keras's rule.

    Parameters
    ----------
    loss : Loss or None
        Asked for ``labels`` if that is None.
    n_out : int
        Columns of the predictions.
    labels : bool, optional
        Whether targets have one column or none: class numbers, unless there is one output.
    name : str, default "accuracy"
        Name of the metric: what the user wrote.

    Returns
    -------
    Metric
        :class:`BinaryAccuracy` for one output; else :class:`SparseCategoricalAccuracy` for
        class numbers; else :class:`CategoricalAccuracy`, also for several yes-no outputs: give
        ``"binary_accuracy"`` for those.
    """
    if n_out == 1:
        return BinaryAccuracy(name=name)
    if labels is None:
        labels = loss is not None and loss.labels
    return SparseCategoricalAccuracy(name=name) if labels else CategoricalAccuracy(name=name)


def serialize(metric: Metric) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}`` of a metric.

    Parameters
    ----------
    metric : Metric
        What is to be written down.

    Returns
    -------
    dict
        What :func:`deserialize` reads.
    """
    return _names.object_config(metric)


def deserialize(
    config: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None
) -> Metric:
    """Make a metric from what :func:`serialize` returned, or from a name.

    Parameters
    ----------
    config : mapping or str
        ``{"class_name": ..., "config": arguments}``, or a name.
    custom_objects : mapping, optional
        Own classes by their names.

    Returns
    -------
    Metric
        A new object.

    Raises
    ------
    ValueError
        An unknown name.
    """
    if isinstance(config, Mapping) and config.get("class_name") == MeanMetricWrapper.__name__:
        return MeanMetricWrapper._made(config["config"], custom_objects)
    return _check(_names.build("metric", config, _KNOWN, custom_objects))


def get(identifier: object) -> Metric | None:
    """Return the metric that ``identifier`` stands for.

    Parameters
    ----------
    identifier : None, str, mapping, class, function or Metric
        A name gives a metric that is called what was written, so ``"mse"`` is ``"mse"`` in
        the history, as in Keras.  ``"accuracy"`` is :class:`Accuracy` here; ``compile``
        resolves it with :func:`resolve_accuracy`.  A function ``f(y_true, y_pred)`` becomes
        a :class:`MeanMetricWrapper`.  An object is returned as it is, and None stays None.

    Raises
    ------
    ValueError
        An unknown name.
    TypeError
        Something else.
    """
    made: Any
    if identifier is None:
        return None
    if isinstance(identifier, str):
        known = {**_KNOWN, "acc": Accuracy}
        if identifier not in known:
            raise ValueError(_names.unknown_name("metric", identifier, known))
        made = known[identifier]()
        made.name = identifier
        return _check(made)
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        made = identifier
        return _check(made())
    if callable(identifier) and not isinstance(identifier, (Metric, type)):
        return MeanMetricWrapper(identifier)
    return _check(identifier)


def _check(value: object) -> Metric:
    if isinstance(value, Metric):
        return value
    raise TypeError(
        f"metric must be one of the known names ({', '.join(sorted({*_KNOWN, 'acc'}))}), an "
        f"nncore.metrics object or a function f(y_true, y_pred); received {value!r}"
    )
