"""Layers: what a network is made of.

A layer holds configuration and a view of its parameters, no arithmetic: the
formulas are in ``src/`` and, a second time, in :mod:`nncore.reference`.  Names,
arguments, orders and defaults are those of ``keras.layers``.

Shapes are written without the batch axis: a layer between 64 inputs and 10
outputs has ``input_shape == (64,)`` and ``output_shape == (10,)``.
"""

from __future__ import annotations

import copy
import math
import operator
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nncore import _arrays, _names, activations, config, initializers, random, regularizers

__all__ = [
    "ELU",
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "Layer",
    "LeakyReLU",
    "Parameter",
    "ReLU",
    "Rescaling",
    "Softmax",
]

if not TYPE_CHECKING:
    __getattr__ = _names.lacks(__name__, __all__)

Shape = tuple[int, ...]

_counters: dict[str, int] = {}
_counters_lock = threading.Lock()


def _after_fork_in_child() -> None:
    # Another thread of the parent may have held it.
    global _counters_lock
    _counters_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def automatic_name(word: str) -> str:
    """Return ``"dense"``, then ``"dense_1"``, ``"dense_2"``: one counter a word and process.

    Parameters
    ----------
    word : str
        A class name; it is turned into snake case as Keras does (``ReLU``: ``re_lu``).
    """
    word = _names.snake_case(word)
    with _counters_lock:
        n = _counters.get(word, 0)
        _counters[word] = n + 1
    return f"{word}_{n}" if n else word


def reset_names() -> None:
    """Let automatic names begin again with ``"dense"``, ``"sequential"`` and so on."""
    with _counters_lock:
        _counters.clear()


def _positive_int(label: str, argument: str, value: object) -> int:
    if not isinstance(value, (bool, np.bool_)):
        try:
            n = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            n = 0
        if n > 0:
            return n
    raise ValueError(
        f"{label}: {argument} must be a positive integer; received {argument}={value!r}"
    )


def _real(label: str, argument: str, value: object) -> float:
    if not isinstance(value, (bool, np.bool_, str)):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ValueError(f"{label}: {argument} must be a finite number; received {argument}={value!r}")


def _shape(label: str, argument: str, shape: object) -> Shape:
    """Check a shape without batch axis."""
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        raise ValueError(
            f"{label}: {argument} must be a tuple; received {argument}={shape!r}. "
            f"For rows of {shape} numbers write {argument}=({shape},)"
        )
    if not isinstance(shape, (tuple, list)) or not shape:
        raise ValueError(
            f"{label}: {argument} must be a tuple of at least one positive integer, without the "
            f"batch axis, such as (784,); received {argument}={shape!r}"
        )
    if any(n is None for n in shape):
        raise ValueError(
            f"{label}: each size in {argument} must be known (a dense network cannot take rows of "
            f"varying length); received {argument}={tuple(shape)!r}"
        )
    return tuple(_positive_int(label, argument, n) for n in shape)


class Parameter:
    """A kernel or a bias: a named array that lies in the model's flat vector.

    Attributes
    ----------
    name : str
        ``"kernel"`` or ``"bias"``.
    shape : tuple of int
    dtype : str
    offset : int
        Where it starts in the model's flat vector; -1 before it belongs to a model.
    value : ndarray
        A view of the flat vector: writing into it changes the model.
    regularizer : Regularizer or None
    path : str
        ``"hidden/kernel"``.
    """

    __slots__ = ("attached", "dtype", "name", "offset", "path", "regularizer", "shape", "value")

    def __init__(
        self, name: str, value: NDArray[Any], regularizer: Any = None, path: str = ""
    ) -> None:
        self.name = name
        self.value = value
        self.shape: Shape = value.shape
        self.dtype = value.dtype.name
        self.regularizer = regularizer
        self.path = path or name
        self.offset = -1
        self.attached = False

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    def attach(self, vector: NDArray[Any], offset: int, *, copy: bool = True) -> None:
        """Move into ``vector`` at ``offset``; with ``copy`` the values come along."""
        view = vector[offset : offset + self.size].reshape(self.shape)
        if copy:
            view[...] = self.value
        self.value, self.offset, self.attached = view, offset, True

    def detach(self) -> None:
        """Leave the model's vector, with an own copy of the values."""
        if self.attached:
            self.value, self.offset, self.attached = self.value.copy(), -1, False

    def numpy(self) -> NDArray[Any]:
        """Return a copy of the values."""
        return self.value.copy()

    def assign(self, value: ArrayLike) -> None:
        """Copy ``value`` in; its shape must be the parameter's."""
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.path}: expected an array of shape {self.shape}; "
                f"received shape {array.shape}"
            )
        self.value[...] = array

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            return np.asarray(self.value, dtype)
        return np.array(self.value, dtype)

    def __repr__(self) -> str:
        return f"<Parameter {self.path} shape={self.shape} dtype={self.dtype}>"

    def __getstate__(self) -> dict[str, Any]:
        # A copy has values of its own; the model it is copied with, if any, attaches it again.
        state = {name: getattr(self, name) for name in self.__slots__}
        state.update(value=self.value.copy(), offset=-1, attached=False)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


class Layer:
    """What all layers have.  It cannot be used by itself.

    Parameters
    ----------
    name : str, optional
        Unique within a model; default: the class name in snake case, numbered
        (``dense``, ``dense_1``), as in Keras.
    dtype : {"float32", "float64"}, optional
        Of parameters and arithmetic; default :func:`nncore.config.floatx`.  A model has
        one dtype; layers without parameters follow it unless they were given one.
    trainable : bool, default True
        Whether training changes the layer's parameters.
    input_shape : tuple of int, optional
        On the first layer of a model: same as an ``Input(input_shape)`` before it.
    input_dim : int, optional
        Same as ``input_shape=(input_dim,)``.

    Attributes
    ----------
    built : bool
    input_shape, output_shape : tuple of int
        Without batch axis; known once the layer is built.
    parameters : list of Parameter
        In Keras's order: kernel, bias.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
    ) -> None:
        kind = type(self).__name__
        if name is None:
            name = automatic_name(kind)
        elif not isinstance(name, str) or not name or "/" in name:
            raise ValueError(
                f"{kind}: name must be a non-empty string without '/'; received name={name!r}"
            )
        self.name: str = name
        self.dtype_given = dtype is not None
        self.dtype: str = config.standardize_dtype(dtype, self.label)
        self.trainable = trainable
        self.built = False
        self.parameters: list[Parameter] = []
        self._input_shape: Shape | None = None
        self._output_shape: Shape | None = None
        self._owner: weakref.ref[Any] | None = None
        if input_dim is not None:
            if input_shape is not None:
                raise ValueError(f"{self.label}: give input_shape or input_dim, not both")
            input_shape = (_positive_int(self.label, "input_dim", input_dim),)
        self.input_shape_argument: Shape | None = (
            None if input_shape is None else _shape(self.label, "input_shape", input_shape)
        )

    # --- names and shapes ---

    @property
    def label(self) -> str:
        """Return how errors call this layer: ``Dense "hidden"``."""
        return f'{type(self).__name__} "{self.name}"'

    @property
    def trainable(self) -> bool:
        """Whether training changes the layer's parameters."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = _names.check_bool(self.label, "trainable", value)

    @property
    def input_shape(self) -> Shape:
        """Return the shape of one input row."""
        if self._input_shape is None:
            raise ValueError(f"{self.label} has no input shape before it is built")
        return self._input_shape

    @property
    def output_shape(self) -> Shape:
        """Return the shape of one output row."""
        if self._output_shape is None:
            raise ValueError(f"{self.label} has no output shape before it is built")
        return self._output_shape

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the output shape, batch axis first, for an input shape, batch axis first."""
        batch, *rest = input_shape
        return (batch, *self._shape_of_output(_shape(self.label, "input_shape", tuple(rest))))

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Fix the shapes and make the parameters.

        Parameters
        ----------
        input_shape : tuple
            With the batch axis first, as in Keras: ``(None, 64)``.

        Raises
        ------
        ValueError
            If the layer cannot take this shape, or was built for another one.
        """
        shape = _shape(self.label, "input_shape", tuple(input_shape)[1:])
        if self.built:
            if shape != self.input_shape:
                raise ValueError(
                    f"{self.label} was built for inputs of shape {self.input_shape} and now gets "
                    f"shape {shape}. Make a new layer, or give inputs of shape {self.input_shape}"
                )
            return
        output = self._shape_of_output(shape)
        self.parameters = self._make_parameters(shape)
        self._input_shape, self._output_shape, self.built = shape, output, True

    def _shape_of_output(self, shape: Shape) -> Shape:
        return shape

    def _make_parameters(self, shape: Shape) -> list[Parameter]:
        return []

    # --- weights ---

    @property
    def weights(self) -> list[Parameter]:
        """Return the parameters in Keras's order: kernel, bias."""
        return list(self.parameters)

    @property
    def trainable_weights(self) -> list[Parameter]:
        """Return the parameters that training changes."""
        return list(self.parameters) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """Return the parameters that training leaves alone."""
        return [] if self.trainable else list(self.parameters)

    @property
    def variables(self) -> list[Parameter]:
        """Return :attr:`weights`, under Keras's other name."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Parameter]:
        """Return :attr:`trainable_weights`, under Keras's other name."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Parameter]:
        """Return :attr:`non_trainable_weights`, under Keras's other name."""
        return self.non_trainable_weights

    def count_params(self) -> int:
        """Return the number of parameters (elements)."""
        if not self.built:
            raise ValueError(
                f"{self.label} is not built yet, so its parameters cannot be counted. Start the "
                f"model with Input(shape), or call build() or fit() first"
            )
        return sum(p.size for p in self.parameters)

    def get_weights(self) -> list[NDArray[Any]]:
        """Return copies of the parameters in Keras's order."""
        return [p.numpy() for p in self.parameters]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Set the parameters from arrays in Keras's order and shapes.

        Parameters
        ----------
        weights : list of array-like
            Kernel, then bias.

        Raises
        ------
        ValueError
            If their number or a shape differs; nothing is changed then.
        """
        set_parameters(self.label, self.parameters, weights)

    # --- configuration ---

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs to make the layer again (no weights)."""
        settings: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        settings["dtype"] = self.dtype
        return settings

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layer:
        """Make a layer from what :meth:`get_config` returned."""
        try:
            return cls(**config)
        except TypeError as error:
            raise ValueError(f"{cls.__name__}: this configuration does not fit: {error}") from error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: layers are put together with Sequential."""
        raise TypeError(
            f"{self.label} cannot be called. Put layers together with "
            f"nncore.Sequential([...]) and call the model"
        )

    def __repr__(self) -> str:
        return f"<{self.label}{', built' if self.built else ''}>"

    # --- ownership ---

    @property
    def owner(self) -> Any:
        """Return the model whose vector holds the parameters, or None."""
        return None if self._owner is None else self._owner()

    def _join(self, model: Any) -> None:
        self._owner = weakref.ref(model)

    def _leave(self) -> None:
        self._owner = None
        for p in self.parameters:
            p.detach()

    def __copy__(self) -> Layer:
        """Return a whole copy: parameters lie in the vector of one model."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_owner"] = None
        return state


def set_parameters(
    label: str, parameters: Sequence[Parameter], weights: Sequence[ArrayLike]
) -> None:
    """Copy arrays into parameters, after checking all of them.

    Parameters
    ----------
    label : str
        Whose parameters they are, for errors.
    parameters : sequence of Parameter
    weights : sequence of array_like
    """
    if not isinstance(weights, (list, tuple, np.ndarray)) and not hasattr(weights, "__iter__"):
        raise TypeError(
            f"{label}: set_weights expected a list of arrays, as get_weights returns; received "
            f"{type(weights).__name__}"
        )
    arrays = [np.asarray(w) for w in weights]
    wanted = ", ".join(f"{p.path} {p.shape}" for p in parameters) or "none"
    if len(arrays) != len(parameters):
        raise ValueError(
            f"{label}: set_weights expected {len(parameters)} arrays ({wanted}); "
            f"received {len(arrays)}"
        )
    for p, array in zip(parameters, arrays, strict=True):
        if array.shape != p.shape:
            raise ValueError(
                f"{label}: set_weights expected shape {p.shape} for {p.path}; "
                f"received shape {array.shape}. In order: {wanted}"
            )
        if array.dtype.kind not in "fiub":
            raise ValueError(
                f"{label}: set_weights expected real numbers for {p.path}; "
                f"received dtype {array.dtype}"
            )
        _arrays.check_finite_in(f"{label}: set_weights", p.path, array, p.dtype)
    for p, array in zip(parameters, arrays, strict=True):
        p.value[...] = array


class InputLayer(Layer):
    """The shape of a model's input rows; made by :func:`nncore.Input`.

    Parameters
    ----------
    shape : tuple of int
        Of one row, without the batch axis.
    batch_size : int, optional
        Kept for Keras's sake; any number of rows is accepted.
    dtype : str, optional
        Kept for Keras's sake: data of any real dtype is read where it lies and cast
        batch by batch.
    batch_shape : tuple, optional
        ``(batch_size, *shape)`` instead of ``shape``.
    name : str, optional
        Default: ``"input_layer"``, numbered.
    trainable : bool, default True
        Kept for Keras's sake; there is nothing to train.
    """

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        dtype: DTypeLike | None = None,
        *,
        batch_shape: Sequence[int | None] | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        if batch_shape is not None:
            if shape is not None or batch_size is not None:
                raise ValueError(f"{self.label}: give shape or batch_shape, not both")
            batch_size, *rest = batch_shape
            shape = rest  # type: ignore[assignment]
        if shape is None:
            raise ValueError(
                f"{self.label}: shape is missing; give the shape of one row, such as shape=(784,)"
            )
        self.shape: Shape = _shape(self.label, "shape", shape)
        if batch_size is not None:
            batch_size = _positive_int(self.label, "batch_size", batch_size)
        self.batch_size = batch_size
        self.input_dtype: str | None = None if dtype is None else np.dtype(dtype).name
        self._input_shape = self._output_shape = self.shape
        self.built = True

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """Return the shape with the batch axis first."""
        return (self.batch_size, *self.shape)

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        return {
            "name": self.name,
            "batch_shape": list(self.batch_shape),
            "dtype": self.input_dtype,
        }


def Input(  # noqa: N802  (Keras's name)
    shape: Sequence[int] | None = None,
    batch_size: int | None = None,
    dtype: DTypeLike | None = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: None = None,
    optional: bool = False,
) -> InputLayer:
    """Say what one input row looks like; the first entry of a :class:`nncore.Sequential`.

    Parameters
    ----------
    shape : tuple of int
        Of one row, without the batch axis: ``(784,)`` or ``(28, 28)``.
    batch_size, dtype : optional
        Accepted; any number of rows of any real dtype is taken.
    sparse, ragged : bool, optional
        Must not be True: inputs are dense arrays.
    batch_shape : tuple, optional
        ``(batch_size, *shape)`` instead of ``shape``.
    name : str, optional
        Default: ``"input_layer"``, numbered.
    tensor, optional : None and False
        Must keep these defaults.

    Returns
    -------
    InputLayer
    """
    for argument, value in (
        ("sparse", sparse),
        ("ragged", ragged),
        ("tensor", tensor),
        ("optional", optional),
    ):
        if value:
            raise ValueError(
                f"Input: {argument} is not supported, inputs are dense arrays; "
                f"received {argument}={value!r}"
            )
    return InputLayer(
        shape=shape, batch_size=batch_size, dtype=dtype, batch_shape=batch_shape, name=name
    )


def _activation(identifier: Any) -> activations.Activation:
    """Return the activation that a name, a function or an activation layer means."""
    if isinstance(identifier, Activation):
        return identifier.activation
    if isinstance(identifier, Mapping) and identifier.get("class_name") in LAYERS:
        return _activation(deserialize(identifier))
    return activations.get(identifier)


class Dense(Layer):
    """Densely connected layer: ``y = activation(x w + b)``.

    ``z[i, j] = sum_k x[i, k] w[k, j] + b[j]``; ``x`` (batch, n_in), ``w`` =
    ``kernel`` (n_in, units), ``b`` = ``bias`` (units,), ``y`` (batch, units).

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str, Activation or layer, optional
        Any of :mod:`nncore.activations`; default: linear.
    use_bias : bool, default True
        Whether there is a ``b``.
    kernel_initializer, bias_initializer : str, Initializer or callable
        Any of :mod:`nncore.initializers`, default ``"glorot_uniform"`` and ``"zeros"``.
    kernel_regularizer, bias_regularizer, activity_regularizer : optional
        A :mod:`nncore.regularizers` object or name: penalties added to the loss.
    kernel_constraint, bias_constraint, lora_rank, lora_alpha, quantization_config : None
        Must be None; here for Keras's argument order.
    name, dtype, trainable, input_shape, input_dim : optional
        See :class:`Layer`.

    Raises
    ------
    ValueError
        For units that are not a positive integer, unknown names, and inputs of rank other
        than 2 (put ``Flatten()`` before the layer).

    Notes
    -----
    Defaults are those of ``keras.layers.Dense``.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: None = None,
        bias_constraint: None = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        *,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
    ) -> None:
        super().__init__(
            name=name,
            dtype=dtype,
            trainable=trainable,
            input_shape=input_shape,
            input_dim=input_dim,
        )
        self.units = _positive_int(self.label, "units", units)
        for argument, value in (
            ("kernel_constraint", kernel_constraint),
            ("bias_constraint", bias_constraint),
            ("lora_rank", lora_rank),
            ("lora_alpha", lora_alpha),
            ("quantization_config", quantization_config),
        ):
            if value is not None:
                raise ValueError(
                    f"{self.label}: {argument} is not supported, leave it None; "
                    f"received {argument}={value!r}"
                )
        self.use_bias = _names.check_bool(self.label, "use_bias", use_bias)
        with _Naming(self.label):
            self.activation = _activation(activation)
            self.kernel_initializer = initializers.get(kernel_initializer or "glorot_uniform")
            self.bias_initializer = initializers.get(bias_initializer or "zeros")
            self.kernel_regularizer = regularizers.get(kernel_regularizer)
            self.bias_regularizer = regularizers.get(bias_regularizer)
            self.activity_regularizer = regularizers.get(activity_regularizer)

    def _shape_of_output(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ValueError(
                f"{self.label}: expected rows of rank 1, such as (64,); received rows of shape "
                f"{shape}. Put Flatten() before this layer"
            )
        return (self.units,)

    def _make_parameters(self, shape: Shape) -> list[Parameter]:
        made = []
        wanted: list[tuple[str, Shape, Any, Any]] = [
            ("kernel", (*shape, self.units), self.kernel_initializer, self.kernel_regularizer)
        ]
        if self.use_bias:
            wanted.append(("bias", (self.units,), self.bias_initializer, self.bias_regularizer))
        for name, size, initializer, regularizer in wanted:
            with _Naming(self.label):
                value = np.asarray(initializer(size, dtype=self.dtype))
            if value.shape != size:
                raise ValueError(
                    f"{self.label}: {name}_initializer must return shape {size}; "
                    f"it returned shape {value.shape}"
                )
            value = np.array(value, dtype=self.dtype, order="C")
            made.append(Parameter(name, value, regularizer, f"{self.name}/{name}"))
        return made

    @property
    def kernel(self) -> NDArray[Any]:
        """Return the weights (n_in, units): a view, writing into it changes the model."""
        return self._value("kernel")

    @kernel.setter
    def kernel(self, value: ArrayLike) -> None:
        self._assign("kernel", value)

    @property
    def bias(self) -> NDArray[Any] | None:
        """Return the bias (units,), a view; None without bias."""
        return self._value("bias") if self.use_bias else None

    @bias.setter
    def bias(self, value: ArrayLike) -> None:
        if not self.use_bias:
            raise ValueError(f"{self.label} has no bias (use_bias=False)")
        self._assign("bias", value)

    def _parameter(self, name: str) -> Parameter:
        for p in self.parameters:
            if p.name == name:
                return p
        raise ValueError(
            f"{self.label} has no {name} yet: it is made when the layer is built. Start the "
            f"model with Input(shape), or call build() or fit() first"
        )

    def _value(self, name: str) -> NDArray[Any]:
        return self._parameter(name).value

    def _assign(self, name: str, value: ArrayLike) -> None:
        p = self._parameter(name)
        if value is not p.value:  # `layer.kernel += 1` hands back the view itself
            p.assign(value)

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": _serialized(self.kernel_regularizer),
            "bias_regularizer": _serialized(self.bias_regularizer),
            "activity_regularizer": _serialized(self.activity_regularizer),
        }


def _serialized(regularizer: regularizers.Regularizer | None) -> dict[str, Any] | None:
    return None if regularizer is None else regularizers.serialize(regularizer)


class _Naming:
    """Put the layer's label before the text of an error raised inside."""

    def __init__(self, label: str) -> None:
        self.label = label

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> Literal[False]:
        if isinstance(error, (ValueError, TypeError)) and not str(error).startswith(self.label):
            raise type(error)(f"{self.label}: {error}") from error
        return False


class Activation(Layer):
    """Apply an activation: ``y = activation(x)``, elementwise (softmax: over a row).

    Parameters
    ----------
    activation : str, Activation or layer
        Any of :mod:`nncore.activations`.
    name, dtype, trainable, input_shape, input_dim : optional
        See :class:`Layer`.
    """

    def __init__(
        self,
        activation: Any,
        *,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
        input_dim: int | None = None,
    ) -> None:
        super().__init__(
            name=name,
            dtype=dtype,
            trainable=trainable,
            input_shape=input_shape,
            input_dim=input_dim,
        )
        with _Naming(self.label):
            self.activation: activations.Activation = _activation(activation)

    def _shape_of_output(self, shape: Shape) -> Shape:
        if self.activation.name == "softmax" and len(shape) != 1:
            raise ValueError(
                f"{self.label}: softmax expects rows of rank 1, such as (10,); received rows of "
                f"shape {shape}. Put Flatten() before this layer"
            )
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class ReLU(Activation):
    """``y = max(x, 0)``, with Keras's arguments for its relatives.

    Parameters
    ----------
    max_value : float, optional
        None or 6 (ReLU6: ``min(max(x, 0), 6)``).
    negative_slope : float, default 0
        Slope below zero (leaky ReLU); 0 when ``max_value`` is given.
    threshold : float, default 0
        Must be 0.
    **kwargs
        ``name``, ``dtype``, ``trainable``, ``input_shape``, ``input_dim``: see :class:`Layer`.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__("relu", **kwargs)
        slope = _real(self.label, "negative_slope", negative_slope)
        if slope < 0:
            raise ValueError(
                f"{self.label}: negative_slope must be at least 0; received {negative_slope!r}"
            )
        if _real(self.label, "threshold", threshold) != 0:
            raise ValueError(
                f"{self.label}: threshold is not supported, leave it 0; "
                f"received threshold={threshold!r}"
            )
        if max_value is not None and (max_value != 6 or slope != 0):
            raise ValueError(
                f"{self.label}: max_value must be None, or 6 with negative_slope 0; "
                f"received max_value={max_value!r}, negative_slope={negative_slope!r}"
            )
        self.max_value = max_value
        self.negative_slope = slope
        if max_value is not None:
            self.activation = activations.get("relu6")
        elif slope:
            self.activation = activations.Activation("leaky_relu", slope)

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        settings = super().get_config()
        del settings["activation"]
        settings.update(max_value=self.max_value, negative_slope=self.negative_slope)
        return settings


class LeakyReLU(Activation):
    """``y = x`` where ``x >= 0``, else ``negative_slope * x``.

    Parameters
    ----------
    negative_slope : float, default 0.3
        At least 0.  Keras's default for the layer; its function has 0.2.
    **kwargs
        ``name``, ``dtype``, ``trainable``, ``input_shape``, ``input_dim``: see :class:`Layer`.
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        super().__init__("leaky_relu", **kwargs)
        self.negative_slope = _real(self.label, "negative_slope", negative_slope)
        if self.negative_slope < 0:
            raise ValueError(
                f"{self.label}: negative_slope must be at least 0; received {negative_slope!r}"
            )
        self.activation = activations.Activation("leaky_relu", self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        settings = super().get_config()
        del settings["activation"]
        settings["negative_slope"] = self.negative_slope
        return settings


class ELU(Activation):
    """``y = x`` where ``x > 0``, else ``alpha (exp(x) - 1)``.

    Parameters
    ----------
    alpha : float, default 1.0
        At least 0.
    **kwargs
        ``name``, ``dtype``, ``trainable``, ``input_shape``, ``input_dim``: see :class:`Layer`.
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__("elu", **kwargs)
        self.alpha = _real(self.label, "alpha", alpha)
        if self.alpha < 0:
            raise ValueError(f"{self.label}: alpha must be at least 0; received alpha={alpha!r}")
        self.activation = activations.Activation("elu", self.alpha)

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        settings = super().get_config()
        del settings["activation"]
        settings["alpha"] = self.alpha
        return settings


class Softmax(Activation):
    """``y_j = exp(x_j) / sum_k exp(x_k)`` over each row.

    Parameters
    ----------
    axis : int, default -1
        Must be the last axis: -1 (or 1).
    **kwargs
        ``name``, ``dtype``, ``trainable``, ``input_shape``, ``input_dim``: see :class:`Layer`.
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__("softmax", **kwargs)
        if axis not in (-1, 1):
            raise ValueError(f"{self.label}: axis must be -1, the last one; received axis={axis!r}")
        self.axis = axis

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        settings = super().get_config()
        del settings["activation"]
        settings["axis"] = self.axis
        return settings


class Flatten(Layer):
    """Make one axis of each row: ``(batch, 28, 28)`` becomes ``(batch, 784)``.

    Parameters
    ----------
    data_format : str, optional
        None or ``"channels_last"`` (rows are read in C order).
    **kwargs
        ``name``, ``dtype``, ``trainable``, ``input_shape``, ``input_dim``: see :class:`Layer`.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if data_format not in (None, "channels_last"):
            raise ValueError(
                f'{self.label}: data_format must be None or "channels_last"; '
                f"received data_format={data_format!r}"
            )

    def _shape_of_output(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class Rescaling(Layer):
    """``y = x * scale + offset``.

    Parameters
    ----------
    scale : float
        The factor.
    offset : float, default 0.0
        What is added.
    **kwargs
        ``name``, ``dtype``, ``trainable``, ``input_shape``, ``input_dim``: see :class:`Layer`.
    """

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = _real(self.label, "scale", scale)
        self.offset = _real(self.label, "offset", offset)

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


class Dropout(Layer):
    """Set each input to 0 with probability ``rate`` in training, scale the rest.

    ``y = x * mask / (1 - rate)``; ``mask`` depends on (seed, iteration, element) alone,
    so the same seed gives the same bits.  Outside training ``y = x``.

    Parameters
    ----------
    rate : float
        At least 0 and less than 1.
    noise_shape : None
        Must be None: each element is dropped by itself.
    seed : int, optional
        Default: drawn from :mod:`nncore.random`; :meth:`Layer.get_config` reports the one drawn,
        so that a copy of the layer drops the same elements.
    **kwargs
        ``name``, ``dtype``, ``trainable``, ``input_shape``, ``input_dim``: see :class:`Layer`.

    Notes
    -----
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", JMLR 15 (2014).
    """

    def __init__(
        self, rate: float, noise_shape: None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate = _real(self.label, "rate", rate)
        if not 0 <= self.rate < 1:
            raise ValueError(
                f"{self.label}: rate must be at least 0 and less than 1 (it is the part that is "
                f"dropped); received rate={rate!r}"
            )
        if noise_shape is not None:
            raise ValueError(
                f"{self.label}: noise_shape is not supported, leave it None; "
                f"received noise_shape={noise_shape!r}"
            )
        if seed is None:
            seed = random.next_seed()
        elif (
            isinstance(seed, bool)
            or not isinstance(seed, (int, np.integer))
            or not 0 <= seed < 1 << 64
        ):
            raise ValueError(
                f"{self.label}: seed must be None or an integer from 0 to 2**64 - 1; "
                f"received seed={seed!r}"
            )
        self.seed = int(seed)

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`Layer.from_config` needs."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


#: Every layer class by its name, as :func:`deserialize` knows them.
LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        InputLayer, Dense, Activation, ReLU, LeakyReLU, ELU, Softmax, Flatten, Rescaling, Dropout,
    )
}  # fmt: skip


def serialize(layer: Layer) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}`` for a layer."""
    return {"class_name": type(layer).__name__, "config": layer.get_config()}


def deserialize(
    description: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> Layer:
    """Make a layer from what :func:`serialize` returned.

    Parameters
    ----------
    description : mapping
    custom_objects : mapping, optional
        Own initializer classes by their names.

    Raises
    ------
    ValueError
        For an unknown class; the error lists the known ones and the nearest.
    """
    if not isinstance(description, Mapping) or "class_name" not in description:
        raise ValueError(
            "a layer's description must be a mapping with class_name and config; "
            f"received {description!r}"
        )
    name = description["class_name"]
    if name not in LAYERS:
        raise ValueError(_names.unknown_name("layer", name, LAYERS))
    settings = dict(description.get("config") or {})
    if custom_objects:
        for argument, module in (
            ("kernel_initializer", initializers),
            ("bias_initializer", initializers),
        ):
            if isinstance(settings.get(argument), Mapping):
                settings[argument] = module.deserialize(settings[argument], custom_objects)
    return LAYERS[name].from_config(settings)
