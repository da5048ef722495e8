"""Activations by name, and as functions of arrays.

``get("relu")`` returns an :class:`Activation`: a name that the compiled kernels know, and
its one parameter.  The functions have Keras's names and arguments; each computes through
:func:`nncore.kernels.activate`.  float32 and float64 arrays keep their dtype, everything
else is computed in :func:`nncore.config.floatx`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nncore import _names
from nncore._arrays import real_array

__all__ = [
    "Activation",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]

if not TYPE_CHECKING:
    __getattr__ = _names.lacks(__name__, __all__)

Array = npt.NDArray[Any]

#: The activations that have a parameter: its name in Keras, and its default there.
_PARAMETERS: dict[str, tuple[str, float]] = {
    "leaky_relu": ("negative_slope", 0.2),
    "elu": ("alpha", 1.0),
}


@dataclass(frozen=True, slots=True, repr=False)
class Activation:
    """An activation: the name of its kernel, and its parameter.

    Attributes
    ----------
    name : str
        ``"relu"``, ``"leaky_relu"``, ``"gelu_tanh"``.
    alpha : float
        ``negative_slope`` of leaky_relu, ``alpha`` of elu; 0 and unused for the others.
    """

    name: str
    alpha: float = 0.0

    @property
    def __name__(self) -> str:
        """The name, where Keras has a function."""
        return self.name

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Return the activation of an array: elementwise; softmax over the last axis."""
        from nncore import kernels

        z = real_array(self.name, "x", x)
        if z.size == 0:
            return z.copy()
        columns = z.shape[-1] if z.ndim else 1
        y = kernels.activate(
            self.name, np.ascontiguousarray(z.reshape(-1, columns)), alpha=self.alpha
        )
        return np.asarray(y).reshape(z.shape)

    def __repr__(self) -> str:
        if self.name in _PARAMETERS:
            return f"<activation {self.name}({_PARAMETERS[self.name][0]}={self.alpha:g})>"
        return f"<activation {self.name}>"


def _relu(
    negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Activation:
    slope = _names.check_real("relu", "negative_slope", negative_slope, minimum=0.0)
    start = _names.check_real("relu", "threshold", threshold)
    top = None if max_value is None else _names.check_real("relu", "max_value", max_value)
    if start == 0.0 and top is None:
        return Activation("leaky_relu", slope) if slope else Activation("relu")
    if start == 0.0 and top == 6.0 and slope == 0.0:
        return Activation("relu6")
    raise ValueError(
        "relu: offered are relu(x), relu(x, negative_slope=s) and relu(x, max_value=6); received "
        f"negative_slope={negative_slope!r}, max_value={max_value!r}, threshold={threshold!r}"
    )


def _leaky_relu(negative_slope: float = 0.2) -> Activation:
    slope = _names.check_real("leaky_relu", "negative_slope", negative_slope, minimum=0.0)
    return Activation("leaky_relu", slope)


def _elu(alpha: float = 1.0) -> Activation:
    return Activation("elu", _names.check_real("elu", "alpha", alpha, minimum=0.0))


def _gelu(approximate: bool = False) -> Activation:
    return Activation("gelu_tanh" if approximate else "gelu")


def _softmax(axis: int = -1) -> Activation:
    if axis != -1:
        raise ValueError(
            f"softmax: in a layer, axis must be -1 (each row sums to 1); received axis={axis!r}"
        )
    return Activation("softmax")


def linear(x: npt.ArrayLike) -> Array:
    """Return ``x``.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("linear")(x)


def sigmoid(x: npt.ArrayLike) -> Array:
    """Return ``1 / (1 + exp(-x))``, in (0, 1).

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("sigmoid")(x)


def tanh(x: npt.ArrayLike) -> Array:
    """Return the hyperbolic tangent of ``x``, in (-1, 1).

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("tanh")(x)


def relu(
    x: npt.ArrayLike,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Array:
    """Return ``max(x, 0)``.

    Parameters
    ----------
    x : array-like
        Input.
    negative_slope : float, default 0.0 (Keras)
        Slope for x < 0; not 0 makes this :func:`leaky_relu`.
    max_value : float, optional
        6 makes this :func:`relu6`; no other limit is offered.
    threshold : float, default 0.0 (Keras)
        No other threshold is offered.

    Raises
    ------
    ValueError
        A combination that is none of relu, leaky_relu and relu6.
    """
    return _relu(negative_slope, max_value, threshold)(x)


def leaky_relu(x: npt.ArrayLike, negative_slope: float = 0.2) -> Array:
    """Return ``x`` for x > 0, else ``negative_slope * x``.

    Parameters
    ----------
    x : array-like
        Input.
    negative_slope : float, default 0.2 (Keras)
        Finite and >= 0.
    """
    return _leaky_relu(negative_slope)(x)


def relu6(x: npt.ArrayLike) -> Array:
    """Return ``min(max(x, 0), 6)``.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("relu6")(x)


def elu(x: npt.ArrayLike, alpha: float = 1.0) -> Array:
    """Return ``x`` for x > 0, else ``alpha * (exp(x) - 1)``.

    Parameters
    ----------
    x : array-like
        Input.
    alpha : float, default 1.0 (Keras)
        Finite and >= 0.

    References
    ----------
    D. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", ICLR 2016.
    """
    return _elu(alpha)(x)


def selu(x: npt.ArrayLike) -> Array:
    """Return ``1.0507 * elu(x, 1.6733)``, with the constants at full precision.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.

    References
    ----------
    G. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
    """
    return Activation("selu")(x)


def gelu(x: npt.ArrayLike, approximate: bool = False) -> Array:
    """Return ``x * P(Z <= x)`` for a normally distributed Z: ``x/2 * (1 + erf(x / sqrt(2)))``.

    Parameters
    ----------
    x : array-like
        Input.
    approximate : bool, default False (Keras)
        True: ``x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3)))``.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016.
    """
    return _gelu(approximate)(x)


def silu(x: npt.ArrayLike) -> Array:
    """Return ``x * sigmoid(x)``, also called swish.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("silu")(x)


swish = silu


def softplus(x: npt.ArrayLike) -> Array:
    """Return ``log(1 + exp(x))``.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("softplus")(x)


def softsign(x: npt.ArrayLike) -> Array:
    """Return ``x / (1 + |x|)``.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("softsign")(x)


def mish(x: npt.ArrayLike) -> Array:
    """Return ``x * tanh(softplus(x))``.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.
    """
    return Activation("mish")(x)


def exponential(x: npt.ArrayLike) -> Array:
    """Return ``exp(x)``.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("exponential")(x)


def hard_sigmoid(x: npt.ArrayLike) -> Array:
    """Return ``relu6(x + 3) / 6``.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("hard_sigmoid")(x)


def log_sigmoid(x: npt.ArrayLike) -> Array:
    """Return ``log(sigmoid(x)) = -softplus(-x)``.

    Parameters
    ----------
    x : array-like
        Input.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    return Activation("log_sigmoid")(x)


def softmax(x: npt.ArrayLike, axis: int = -1) -> Array:
    """Return ``exp(x) / sum(exp(x))``, the sum over one axis.

    Parameters
    ----------
    x : array-like
        Input, at least one-dimensional.
    axis : int, default -1 (Keras)
        Over which the result sums to 1.
    """
    z = real_array("softmax", "x", x)
    if z.ndim == 0:
        raise ValueError("softmax: x must have at least one dimension; received a single number")
    moved = np.moveaxis(z, axis, -1)
    return np.moveaxis(Activation("softmax")(moved), -1, axis)


#: What makes an Activation from the arguments of the function of that name.
_MAKERS: dict[str, Callable[..., Activation]] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "softmax": _softmax,
}
_MAKERS |= {
    f.__name__: functools.partial(Activation, f.__name__)
    for f in (
        linear, sigmoid, tanh, relu6, selu, silu, softplus, softsign, mish, exponential,
        hard_sigmoid, log_sigmoid,
    )
}  # fmt: skip
_MAKERS |= {"gelu_tanh": functools.partial(Activation, "gelu_tanh"), "swish": _MAKERS["silu"]}

_FUNCTIONS: dict[Any, str] = {
    f: f.__name__
    for f in (
        linear, sigmoid, tanh, relu, leaky_relu, relu6, elu, selu, gelu, silu, softplus,
        softsign, mish, exponential, hard_sigmoid, log_sigmoid, softmax,
    )
}  # fmt: skip


def _named(name: str, arguments: Mapping[str, Any] | None = None) -> Activation:
    """Return the activation of this name."""
    maker = _MAKERS.get(name)
    if maker is None:
        # An activation that exists in the compiled core needs no function here.
        from nncore import kernels

        kinds = kernels.activations()
        if name not in kinds:
            raise ValueError(_names.unknown_name("activation", name, {*_MAKERS, *kinds}))
        maker = functools.partial(Activation, name)
    try:
        return maker(**(arguments or {}))
    except TypeError as error:
        if "argument" not in str(error) or arguments is None:
            raise
        raise ValueError(
            f'activation "{name}" does not take these arguments: {dict(arguments)!r}'
        ) from error


def get(identifier: object) -> Activation:
    """Return the activation that ``identifier`` stands for.

    Parameters
    ----------
    identifier : None, str, function, functools.partial, mapping or Activation
        None: linear.  A name (``"relu"``, ``"swish"``), a function of this module, a partial
        of one (``partial(relu, negative_slope=0.1)``), what :func:`serialize` returned, or
        an activation layer.

    Raises
    ------
    ValueError
        An unknown name.
    TypeError
        Something else, an own function for one: a compiled step cannot call it.

    Examples
    --------
    >>> get("leaky_relu")
    <activation leaky_relu(negative_slope=0.2)>
    """
    if identifier is None:
        return Activation("linear")
    if isinstance(identifier, Activation):
        return identifier
    if isinstance(identifier, str):
        return _named(identifier)
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, functools.partial) and identifier.func in _FUNCTIONS:
        name = _FUNCTIONS[identifier.func]
        if identifier.args:
            raise TypeError(
                f"activation: a partial of {name} must leave x open, its other arguments are "
                f"given by name; received {identifier!r}"
            )
        return _named(name, identifier.keywords)
    if _hashable(identifier) and identifier in _FUNCTIONS:
        return _named(_FUNCTIONS[identifier])
    inner = getattr(identifier, "activation", None)
    if isinstance(inner, Activation) and not isinstance(identifier, type):
        return inner
    raise TypeError(
        f"activation must be one of the known names ({', '.join(sorted(_MAKERS))}) or a function "
        "of nncore.activations; an own Python function cannot run inside a compiled step; "
        f"received {identifier!r}"
    )


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def serialize(activation: object) -> str | dict[str, Any]:
    """Return a name, or a configuration where a parameter is not the default.

    Parameters
    ----------
    activation : Activation, function or str
        Whatever :func:`get` takes.

    Examples
    --------
    >>> serialize(silu)
    'silu'
    >>> import functools
    >>> serialize(functools.partial(elu, alpha=0.5))
    {'class_name': 'elu', 'config': {'alpha': 0.5}}
    """
    found = get(activation)
    if found.name in _PARAMETERS:
        argument, default = _PARAMETERS[found.name]
        if found.alpha != default:
            return {"class_name": found.name, "config": {argument: found.alpha}}
    return found.name


def deserialize(
    config: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None
) -> Activation:
    """Return the activation that :func:`serialize` wrote.

    Parameters
    ----------
    config : str or mapping
        A name; ``{"class_name": name, "config": arguments}``; or Keras's
        ``{"class_name": "function", "config": name}``.
    custom_objects : mapping, optional
        Names and what they stand for: anything that :func:`get` takes.
    """
    name: Any = config
    arguments: Any = None
    if not isinstance(config, str):
        name = config.get("class_name")
        arguments = config.get("config")
        if name == "function":
            name, arguments = arguments, None
        if not isinstance(name, str) or not isinstance(arguments, (Mapping, type(None))):
            raise ValueError(
                "the configuration of an activation must be a name or "
                '{"class_name": name, "config": {...}}; received ' + repr(dict(config))
            )
    if custom_objects and name in custom_objects:
        return get(custom_objects[name])
    return _named(name, arguments)
