"""Models: a stack of layers on one flat vector of parameters.

:class:`Sequential` holds the layers and the vector; training, evaluation and prediction
come from :class:`nncore.training.Trainer`.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from nncore import _names, config
from nncore import layers as layers_module
from nncore.compiled import aligned
from nncore.layers import InputLayer, Layer, Parameter
from nncore.plan import parameter_layout
from nncore.training import Trainer

if TYPE_CHECKING:
    from nncore.trace import Trace

__all__ = ["Sequential", "load_model", "model_from_json"]


class Sequential(Trainer):
    """A stack of layers, each fed by the one before.

    Parameters
    ----------
    layers : iterable of Layer, optional
        ``Input(shape)`` may come first; the model is built at once then.  Without it the
        model is built from the first data it sees, or by :meth:`build`.
    trainable : bool, default True
        False: no layer is trained.
    name : str, optional
        Default: ``sequential``, ``sequential_1``, ...

    Attributes
    ----------
    built : bool
    dtype : str
    parameters : ndarray
        All parameters in one vector, 64-byte aligned; the layers' ``kernel`` and ``bias``
        are views of it.
    slots : ndarray (n_slots, n_parameters) or None
        The optimizer's state, laid out like the parameters; None before training.
    optimizer, loss
        As given to :meth:`compile`, made into objects.
    history : History or None
        Of the last :meth:`fit`.
    stop_training : bool
        A callback sets it to end :meth:`fit` after the epoch.

    Examples
    --------
    >>> import nncore
    >>> model = nncore.Sequential([
    ...     nncore.layers.Input((64,)),
    ...     nncore.layers.Dense(64, activation="relu"),
    ...     nncore.layers.Dense(10, activation="softmax"),
    ... ])
    >>> model.count_params()
    4810
    """

    def __init__(
        self,
        layers: Iterable[Layer] | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if name is not None and (not isinstance(name, str) or not name):
            raise ValueError(f"Sequential: name must be a non-empty string; received name={name!r}")
        self.name = layers_module.automatic_name("sequential") if name is None else name
        self._input: InputLayer | None = None
        self._given_input = False
        self._layers: list[Layer] = []
        self._parameters: NDArray[Any] | None = None
        self._dtype: str | None = None
        if isinstance(layers, Layer):
            raise ValueError(
                f"{self.label}: layers must be a list; received one layer, {layers!r}. "
                f"Write Sequential([...])"
            )
        if layers is not None and not hasattr(layers, "__iter__"):
            raise TypeError(f"{self.label}: layers must be a list of layers; received {layers!r}")
        try:
            for layer in layers or ():
                self.add(layer, rebuild=False)
            self._rebuild()
        except BaseException:
            for layer in self._layers:  # free for another try
                layer._leave()
            raise
        self._trainable = True
        if not trainable:
            self.trainable = False

    # --- structure ---

    @property
    def label(self) -> str:
        """Return how errors call this model."""
        return f'Sequential "{self.name}"'

    @property
    def layers(self) -> list[Layer]:
        """Return the layers, without the input layer (as in Keras)."""
        return list(self._layers)

    @property
    def input_layer(self) -> InputLayer | None:
        """Return the input layer, or None before the model is built."""
        return self._input

    @property
    def built(self) -> bool:
        """Whether the parameters exist."""
        return self._parameters is not None

    @property
    def dtype(self) -> str:
        """Return the dtype of parameters and arithmetic."""
        return self._dtype if self._dtype is not None else self._common_dtype()

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Return the input shape, batch axis first: ``(None, 784)``."""
        if self._input is None:
            raise ValueError(f"{self.label} has no input shape before it is built")
        return (None, *self._input.shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Return the output shape, batch axis first: ``(None, 10)``."""
        if not self.built:
            raise ValueError(f"{self.label} has no output shape before it is built")
        return (None, *self._layers[-1].output_shape)

    @property
    def trainable(self) -> bool:
        """Whether the model is trained; setting it sets it in all layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self._layers:
            layer.trainable = self._trainable

    def add(self, layer: Layer, rebuild: bool = True) -> None:
        """Put a layer on top of the stack.

        Parameters
        ----------
        layer : Layer
            It may belong to no other model.
        rebuild : bool, default True
            Build at once where the input shape is known.

        Raises
        ------
        ValueError
            For anything but a layer, a name used twice, a layer of another model, a second
            input layer, or a shape that the layer cannot take.
        """
        if isinstance(layer, Sequential):
            raise ValueError(
                f"{self.label}: a model inside a model is not supported; add its layers one by "
                f"one: for layer in inner.layers: model.add(copy.deepcopy(layer))"
            )
        if not isinstance(layer, Layer):
            hint = ""
            if isinstance(layer, type) and issubclass(layer, Layer):
                hint = f" (a class: write {layer.__name__}(...))"
            raise ValueError(
                f"{self.label}: only nncore layers can be added; received {layer!r}{hint}"
            )
        if isinstance(layer, InputLayer):
            if self._input is not None and (self._given_input or self._layers):
                raise ValueError(
                    f"{self.label} has an input of shape {self._input.shape} already; it cannot "
                    f"get another one"
                )
            if self._layers:
                raise ValueError(f"{self.label}: Input must come before the other layers")
            self._input, self._given_input = layer, True
            return
        if layer.owner is not None:
            who = "this model" if layer.owner is self else layer.owner.label
            raise ValueError(
                f"{self.label}: {layer.label} belongs to {who} already, and its weights lie "
                f"there. Add a copy: copy.deepcopy(layer), or "
                f"{type(layer).__name__}.from_config(layer.get_config()) for fresh weights"
            )
        taken = [other.name for other in self._layers]
        if layer.name in taken:
            raise ValueError(
                f'{self.label}: layers need unique names; "{layer.name}" is taken (layers: '
                f"{', '.join(taken)}). Give the new one another name="
            )
        given = self._given_input
        if not self._layers and self._input is None and layer.input_shape_argument is not None:
            self._input, self._given_input = InputLayer(layer.input_shape_argument), True
        self._layers.append(layer)
        try:
            if rebuild:
                self._rebuild()
        except BaseException:
            self._layers.pop()
            if not given and self._given_input:
                self._input, self._given_input = None, False
            raise
        layer._join(self)

    def pop(self, rebuild: bool = True) -> Layer:
        """Take the topmost layer off and return it, with its weights.

        Parameters
        ----------
        rebuild : bool, default True
            Build what is left at once.

        Returns
        -------
        Layer
            The one that was taken off.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not self._layers:
            raise ValueError(f"{self.label} has no layers to pop")
        layer = self._layers.pop()
        layer._leave()
        if not self._layers and not self._given_input:
            self._input = None
        self._parameters = None
        self._forget()
        if rebuild:
            self._rebuild()
        return layer

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the parameters.

        Parameters
        ----------
        input_shape : tuple, optional
            With the batch axis first, as in Keras: ``(None, 784)``.  Not needed after
            ``Input(shape)``.

        Raises
        ------
        ValueError
            Without layers, without any input shape, or for a shape that does not fit.
        """
        if not self._layers:
            raise ValueError(
                f"{self.label} has no layers; add some with model.add(layer) before building it"
            )
        if input_shape is None:
            if self._input is None:
                raise ValueError(
                    f"{self.label}: build needs input_shape, such as (None, 784); or start the "
                    f"model with Input((784,))"
                )
            shape = self._input.shape
        else:
            if not isinstance(input_shape, (tuple, list)) or len(input_shape) < 2:
                raise ValueError(
                    f"{self.label}: input_shape must be a tuple with the batch axis first, such as "
                    f"(None, 784); received input_shape={input_shape!r}"
                )
            shape = layers_module._shape(self.label, "input_shape", tuple(input_shape[1:]))
            if self._input is not None and shape != self._input.shape:
                raise ValueError(
                    f"{self.label} has inputs of shape {self._input.shape}; "
                    f"it cannot be built for inputs of shape {shape}"
                )
        self._build(shape)

    def _rebuild(self) -> None:
        """Build again after a change of the stack, where the input shape is known."""
        if self._input is not None and self._layers:
            self._build(self._input.shape)
        else:
            self._parameters = None

    def _common_dtype(self) -> str:
        """Return the dtype of all layers; those without parameters follow the others."""
        deciding = [y for y in self._layers if isinstance(y, layers_module.Dense) or y.dtype_given]
        if len({y.dtype for y in deciding}) > 1:
            listed = ", ".join(f"{y.label}: {y.dtype}" for y in deciding)
            raise ValueError(
                f"{self.label}: all layers need one dtype; received {listed}. Give all layers the "
                f"same dtype=, or set it once with nncore.config.set_floatx"
            )
        if deciding:
            return deciding[0].dtype
        return self._layers[0].dtype if self._layers else config.floatx()

    def _shapes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output shape for an input shape, and change nothing."""
        for layer in self._layers:
            if layer.built and layer.input_shape != shape:
                layer.build((None, *shape))  # raises
            shape = layer._shape_of_output(shape)
        return shape

    def _build(self, shape: tuple[int, ...]) -> None:
        dtype = self._common_dtype()
        self._shapes(shape)
        for layer in self._layers:
            layer.dtype = dtype
            layer.build((None, *shape))
            shape = layer.output_shape
        if self._input is None:
            self._input = InputLayer(self._layers[0].input_shape)
        self._dtype = dtype
        self._layout()

    def _layout(self) -> None:
        """Move all parameters into one new vector."""
        parameters = self.weights
        offsets, length = parameter_layout([p.shape for p in parameters])
        vector = aligned((length,), self.dtype)
        for p, offset in zip(parameters, offsets, strict=True):
            p.attach(vector, offset)
        for layer in self._layers:
            layer._join(self)
        self._parameters = vector
        self._forget()

    # --- weights ---

    @property
    def parameters(self) -> NDArray[Any]:
        """Return the flat vector of all parameters."""
        if self._parameters is None:
            raise ValueError(
                f"{self.label} has no parameters before it is built. Start it with Input(shape), "
                f"or call build((None, n_inputs)) or fit() first"
            )
        return self._parameters

    @property
    def weights(self) -> list[Parameter]:
        """Return all parameters, layer by layer, kernel before bias."""
        return [p for layer in self._layers for p in layer.parameters]

    @property
    def trainable_weights(self) -> list[Parameter]:
        """Return the parameters that training changes."""
        return [p for layer in self._layers for p in layer.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """Return the parameters that training leaves alone."""
        return [p for layer in self._layers for p in layer.non_trainable_weights]

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

    def get_weights(self) -> list[NDArray[Any]]:
        """Return copies of all parameters: kernel, bias, kernel, bias, ... as in Keras."""
        return [p.numpy() for p in self.weights]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Set all parameters from arrays in the order of :meth:`get_weights`.

        Parameters
        ----------
        weights : list of array-like
            One for each parameter, of its shape.

        Raises
        ------
        ValueError
            If their number or a shape differs; nothing is changed then.
        """
        if not self.built:
            raise ValueError(
                f"{self.label}: set_weights needs a built model. Start it with Input(shape), or "
                f"call build((None, n_inputs)) first"
            )
        layers_module.set_parameters(self.label, self.weights, weights)

    def count_params(self) -> int:
        """Return the number of parameters (elements)."""
        if not self.built:
            raise ValueError(
                f"{self.label} is not built yet, so its parameters cannot be counted. Start it "
                f"with Input(shape), or call build((None, n_inputs)) first"
            )
        return sum(p.size for p in self.weights)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its place.

        Parameters
        ----------
        name : str, optional
            The layer's name.
        index : int, optional
            Its place, from 0, or from the end if negative.  One of the two is needed.

        Returns
        -------
        Layer
            The model's own, not a copy.

        Raises
        ------
        ValueError
            If there is none; the error lists the names.
        """
        if (name is None) == (index is None):
            raise ValueError(f"{self.label}: get_layer needs either name or index")
        if index is not None:
            if isinstance(index, bool) or not hasattr(index, "__index__"):
                raise TypeError(f"{self.label}: index must be an integer; received index={index!r}")
            if not -len(self._layers) <= index < len(self._layers):
                raise ValueError(
                    f"{self.label} has {len(self._layers)} layers; received index={index}"
                )
            return self._layers[index]
        for layer in self._layers:
            if layer.name == name:
                return layer
        known = [layer.name for layer in self._layers]
        raise ValueError(f"{self.label}: {_names.unknown_name('layer', name, known)}")

    # --- looking at it ---

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: tuple[str, str] | None = None,
    ) -> None:
        """Print a table of the layers.

        Parameters
        ----------
        line_length : int, optional
            Width; default: that of the terminal, at most 80.
        positions : sequence of float, optional
            Accepted for Keras's sake; columns place themselves.
        print_fn : callable, optional
            Gets the whole text; default: ``print``.
        expand_nested : bool, default False
            Accepted for Keras's sake; there are no models within models.
        show_trainable : bool
            Add a column that says which layers are trained.
        layer_range : (str, str), optional
            Names of the first and last layer to show.
        """
        from nncore.summary import print_summary

        print_summary(
            self,
            print_fn,
            line_length=line_length,
            show_trainable=show_trainable,
            layer_range=layer_range,
        )

    def __repr__(self) -> str:
        return f"<{self.label}, {len(self._layers)} layers{', built' if self.built else ''}>"

    # --- looking into a training step ---

    def trace(self, x: Any, y: Any, sample_weight: Any = None, *, apply: bool = False) -> Trace:
        """Run one training step on these rows and keep every number of it.

        Parameters
        ----------
        x, y, sample_weight : array-like
            The batch, as for :meth:`train_on_batch`.
        apply : bool, default False
            True: the model itself makes the step, as :meth:`train_on_batch` would, with the same
            bits.  False: copies of its parameters and slots do; the model stays as it is.

        Returns
        -------
        Trace
            A mapping from names such as ``"hidden.z"`` and ``"hidden.dw"`` to arrays; its
            ``explain()`` tells the step in words.

        Raises
        ------
        ValueError
            Before :meth:`compile`, or for data that does not fit.

        Notes
        -----
        The step runs in the executor that training uses.  It takes several times as long as a
        step of ``fit``, and memory for every array.
        """
        from nncore.trace import trace

        return trace(self, x, y, sample_weight, apply=apply)

    def gradients(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, NDArray[Any]]:
        """Return the derivative of the loss by each trainable parameter; change nothing.

        Parameters
        ----------
        x, y, sample_weight : array-like
            The batch, as for :meth:`train_on_batch`.

        Returns
        -------
        dict of str to ndarray
            ``{"hidden.kernel": ..., "hidden.bias": ..., ...}``, of the parameters' shapes.
            Penalties are in them, clipping is not: what ``trace`` calls ``hidden.dw``.
        """
        from nncore.trace import gradients

        return gradients(self, x, y, sample_weight)

    def input_gradient(self, x: Any, y: Any, sample_weight: Any = None) -> NDArray[Any]:
        """Return the derivative of the loss by the input; change nothing.

        Parameters
        ----------
        x, y, sample_weight : array-like
            The batch, as for :meth:`train_on_batch`.

        Returns
        -------
        ndarray
            Of x's shape and the model's dtype.
        """
        from nncore.trace import input_gradient

        return input_gradient(self, x, y, sample_weight)

    # --- configuration, files, copies ---

    def get_config(self) -> dict[str, Any]:
        """Return what :meth:`from_config` needs (no weights); it can be written as JSON."""
        described = [layers_module.serialize(layer) for layer in self._layers]
        if self._input is not None and self._given_input:
            described.insert(0, layers_module.serialize(self._input))
        settings: dict[str, Any] = {
            "name": self.name,
            "trainable": self._trainable,
            "dtype": self.dtype,
            "layers": described,
        }
        if self._input is not None:
            settings["build_input_shape"] = [None, *self._input.shape]
        return settings

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Sequential:
        """Make a model, with fresh weights, from what :meth:`get_config` returned.

        Parameters
        ----------
        config : mapping
            ``{"name": ..., "layers": [...]}``.
        custom_objects : mapping, optional
            Own initializer classes by their names.
        """
        if not isinstance(config, Mapping) or "layers" not in config:
            raise ValueError(
                f"Sequential: a configuration must be a mapping with layers; received {config!r}"
            )
        model = cls(
            [layers_module.deserialize(d, custom_objects) for d in config["layers"]],
            name=config.get("name"),
        )
        shape = config.get("build_input_shape")
        if shape and not model.built and model.layers:
            model.build(tuple(shape))
        model._trainable = bool(config.get("trainable", True))
        return model

    def to_json(self, **kwargs: Any) -> str:
        """Return the configuration as JSON text.

        Parameters
        ----------
        **kwargs
            For ``json.dumps``: ``indent=2``.

        Returns
        -------
        str
            What ``model_from_json`` reads.
        """
        return json.dumps({"class_name": "Sequential", "config": self.get_config()}, **kwargs)

    def save(
        self, filepath: str | os.PathLike[str], overwrite: bool = True, zipped: bool | None = None
    ) -> None:
        """Write the model, its weights and its training state into one file.

        Parameters
        ----------
        filepath : str or path-like
            Any name; ``.nncore`` is the usual ending.
        overwrite : bool, default True
            False: an existing file is an error.
        zipped : None
            Here for Keras's argument order; a model is one safetensors file.
        """
        from nncore import saving

        if zipped:
            raise ValueError(
                f"{self.label}: save writes one safetensors file; leave zipped None, "
                f"received zipped={zipped!r}"
            )
        saving.save_model(self, filepath, overwrite=overwrite)

    def save_weights(
        self,
        filepath: str | os.PathLike[str],
        overwrite: bool = True,
        max_shard_size: float | None = None,
    ) -> None:
        """Write the weights alone into one file.

        Parameters
        ----------
        filepath : str or path-like
            Any name.
        overwrite : bool, default True
            False: an existing file is an error.
        max_shard_size : None
            Must be None: the weights are one file.
        """
        from nncore import saving

        if max_shard_size is not None:
            raise ValueError(
                f"{self.label}: save_weights writes one file; leave max_shard_size None, "
                f"received max_shard_size={max_shard_size!r}"
            )
        saving.save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
        """Read weights that :meth:`save_weights` or :meth:`save` wrote.

        Parameters
        ----------
        filepath : str or path-like
            The file; a whole model or weights alone.  float32 and
            float64 are converted into each other, as Keras does.
        skip_mismatch : bool, default False
            True: layers that the file lacks, or has in another shape, keep their weights.
        """
        from nncore import saving

        saving.load_weights(self, filepath, skip_mismatch=skip_mismatch)

    def __copy__(self) -> Sequential:
        """Return a whole copy: layers lie in the vector of one model."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_built"] = self.built
        for name in ("_parameters", *self._transient):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        built = state.pop("_built")
        self._start()
        self.__dict__.update(state)
        slots = self._slots
        iterations = 0 if self._optimizer is None else self._optimizer.iterations
        self._parameters = None
        if built:
            self._layout()
            if self._optimizer is not None:
                self._optimizer.iterations = iterations
            if slots is not None:
                self._slots = aligned(slots.shape, slots.dtype.name)
                self._slots[...] = slots
        self._claim_optimizer()


# An error about an argument names the class that users know, whichever module its method is in.
for _class in Sequential.__mro__[1:-1]:
    for _name, _method in vars(_class).items():
        if isinstance(_method, FunctionType) and not _name.startswith("_"):
            _method.__qualname__ = f"Sequential.{_name}"
del _class, _name, _method


def model_from_json(json_string: str) -> Sequential:
    """Make a model, with fresh weights, from what :meth:`Sequential.to_json` returned."""
    try:
        described = json.loads(json_string)
    except ValueError as error:
        raise ValueError(f"model_from_json: this is not JSON: {error}") from error
    if not isinstance(described, Mapping) or described.get("class_name") != "Sequential":
        raise ValueError(
            'model_from_json: expected {"class_name": "Sequential", "config": ...}; '
            f"received {json_string[:80]!r}"
        )
    return Sequential.from_config(described["config"])


def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Sequential:
    """Read a model that :meth:`Sequential.save` wrote; see :func:`nncore.saving.load_model`."""
    from nncore import saving

    return saving.load_model(filepath, custom_objects, compile, safe_mode)
