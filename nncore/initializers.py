"""Start values of parameters: Keras's family, with Keras's formulas.

An initializer is called with a shape and returns an array.  With equal seeds it returns
equal bits, on every call, as in Keras 3; without a seed it takes one from
:func:`nncore.random.next_seed` when it is made, so :func:`nncore.set_random_seed` decides
it too.  The numbers are not those of Keras: the two have different generators.

For a kernel of shape (n_in, n_out), ``fan_in`` is n_in and ``fan_out`` is n_out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nncore import _names, config
from nncore import random as _random

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]

if not TYPE_CHECKING:
    __getattr__ = _names.lacks(__name__, __all__)

#: Standard deviation of a normal distribution cut off at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer:
    """Base of all initializers; a user's own needs ``__call__(shape, dtype=None)``."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> npt.NDArray[Any]:
        """Return start values.

        Parameters
        ----------
        shape : sequence of int
            Shape of the parameter.
        dtype : str, optional
            ``"float32"`` or ``"float64"``; None: :func:`nncore.config.floatx`.

        Returns
        -------
        numpy.ndarray
            A new array of this shape and dtype.
        """
        name = type(self).__name__
        checked = _shape(name, shape)
        values = self._values(checked)
        return np.ascontiguousarray(values, dtype=config.standardize_dtype(dtype, where=name))

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Return the values in float64."""
        raise TypeError(
            f"{type(self).__name__}: an own initializer must define __call__(self, shape, dtype)"
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initializer:
        """Make an initializer from what :meth:`get_config` returned."""
        return cls(**config)

    def clone(self) -> Initializer:
        """Return a new initializer from this one's configuration."""
        return type(self).from_config(self.get_config())

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class Zeros(Initializer):
    """All elements 0: the default of every bias."""

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        return np.zeros(shape)


class Ones(Initializer):
    """All elements 1."""

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        return np.ones(shape)


class Constant(Initializer):
    """All elements ``value``.

    Parameters
    ----------
    value : float or array-like, default 0.0 (Keras)
        One finite number, or an array of the parameter's own shape.
    """

    def __init__(self, value: npt.ArrayLike = 0.0) -> None:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.array(np.nan)
        if not np.all(np.isfinite(array)):
            raise ValueError(
                f"Constant: value must be finite, a number or an array; received value={value!r}"
            )
        self.value: Any = float(array) if array.ndim == 0 else array

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        if np.ndim(self.value) and np.shape(self.value) != shape:
            raise ValueError(
                f"Constant: value has shape {np.shape(self.value)}, the parameter has shape "
                f"{shape}; give one number or an array of the parameter's shape"
            )
        return np.array(np.broadcast_to(np.asarray(self.value, dtype=np.float64), shape))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        value = self.value
        return {"value": value.tolist() if isinstance(value, np.ndarray) else value}


class Identity(Initializer):
    """``gain`` on the diagonal, 0 elsewhere; two-dimensional, square or not.

    Parameters
    ----------
    gain : float, default 1.0 (Keras)
        The diagonal's value.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = _names.check_real(type(self).__name__, "gain", gain)

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        if len(shape) != 2:
            raise ValueError(
                f"Identity: only a parameter of two dimensions has a diagonal; received "
                f"shape={shape}"
            )
        return self.gain * np.eye(shape[0], shape[1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {"gain": self.gain}


class _Seeded(Initializer):
    """What the random initializers share: the seed."""

    def __init__(self, seed: int | None = None) -> None:
        name = type(self).__name__
        self._init_seed = (
            None if seed is None else _names.check_integer(name, "seed", seed, minimum=0)
        )
        self.seed = _random.next_seed() if self._init_seed is None else self._init_seed

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer; an unset seed stays None."""
        return {"seed": self._init_seed}


class RandomNormal(_Seeded):
    """Normally distributed numbers.

    Parameters
    ----------
    mean, stddev : float, default 0.0 and 0.05 (Keras)
        Of the distribution; ``stddev`` >= 0.
    seed : int, optional
        Equal seeds, equal bits.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        name = type(self).__name__
        self.mean = _names.check_real(name, "mean", mean)
        self.stddev = _names.check_real(name, "stddev", stddev, minimum=0.0)
        super().__init__(seed)

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        return _random.normal(self.seed, shape, self.mean, self.stddev)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """Normally distributed numbers, none farther from ``mean`` than two ``stddev``.

    ``stddev`` is that of the distribution before it is cut off; what is left has
    0.8796 of it.

    Parameters
    ----------
    mean, stddev : float, default 0.0 and 0.05 (Keras)
        Of the distribution before it is cut off; ``stddev`` >= 0.
    seed : int, optional
        Equal seeds, equal bits.
    """

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        return _random.truncated_normal(self.seed, shape, self.mean, self.stddev)


class RandomUniform(_Seeded):
    """Numbers evenly spread between ``minval`` and ``maxval``.

    Parameters
    ----------
    minval, maxval : float, default -0.05 and 0.05 (Keras)
        The interval; ``minval <= maxval``.
    seed : int, optional
        Equal seeds, equal bits.
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        name = type(self).__name__
        self.minval = _names.check_real(name, "minval", minval)
        self.maxval = _names.check_real(name, "maxval", maxval)
        if self.minval > self.maxval:
            raise ValueError(
                f"{name}: minval must not exceed maxval; received minval={minval!r}, "
                f"maxval={maxval!r}"
            )
        super().__init__(seed)

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        return _random.uniform(self.seed, shape, self.minval, self.maxval)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class VarianceScaling(_Seeded):
    """Random numbers whose variance is ``scale / n``: the family of Glorot, He and LeCun.

    ``n`` is ``fan_in``, ``fan_out`` or their mean.  ``"truncated_normal"`` draws from a normal
    distribution cut off at two standard deviations, widened by 1 / 0.8796 so that its
    standard deviation is ``sqrt(scale / n)``; ``"untruncated_normal"`` is not cut off;
    ``"uniform"`` spreads over ``(-limit, limit)``, ``limit = sqrt(3 * scale / n)``.

    Parameters
    ----------
    scale : float, default 1.0 (Keras)
        Positive.
    mode : {"fan_in", "fan_out", "fan_avg"}
        What ``n`` is.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        ``"normal"`` is another word for ``"truncated_normal"``, as in Keras.
    seed : int, optional
        Equal seeds, equal bits.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        name = type(self).__name__
        self.scale = _names.check_real(name, "scale", scale, minimum=0.0, open_minimum=True)
        self.mode = _names.check_choice(name, "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        if isinstance(distribution, str):
            distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        self.distribution = _names.check_choice(
            name,
            "distribution",
            distribution,
            ("truncated_normal", "untruncated_normal", "uniform"),
        )
        super().__init__(seed)

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        fan_in, fan_out = _fans(shape)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return _random.uniform(self.seed, shape, -limit, limit)
        stddev = math.sqrt(variance)
        if self.distribution == "untruncated_normal":
            return _random.normal(self.seed, shape, 0.0, stddev)
        return _random.truncated_normal(self.seed, shape, 0.0, stddev / _TRUNCATED_STDDEV)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        own = {"scale": self.scale, "mode": self.mode, "distribution": self.distribution}
        return {**own, **super().get_config()}


class _Named(VarianceScaling):
    """A :class:`VarianceScaling` whose only argument is the seed."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {"seed": self._init_seed}


class GlorotUniform(_Named):
    """Evenly spread over ``(-limit, limit)``, ``limit = sqrt(6 / (fan_in + fan_out))``.

    The default of every kernel, as in Keras.  Also called Xavier.

    Parameters
    ----------
    seed : int, optional
        Equal seeds, equal bits.

    References
    ----------
    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, equation 16.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(_Named):
    """Truncated normal with standard deviation ``sqrt(2 / (fan_in + fan_out))``.

    Parameters
    ----------
    seed : int, optional
        Equal seeds, equal bits.

    References
    ----------
    X. Glorot, Y. Bengio, AISTATS 2010.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeUniform(_Named):
    """Evenly spread over ``(-limit, limit)``, ``limit = sqrt(6 / fan_in)``.

    Parameters
    ----------
    seed : int, optional
        Equal seeds, equal bits.

    References
    ----------
    K. He et al., "Delving deep into rectifiers", ICCV 2015.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(_Named):
    """Truncated normal with standard deviation ``sqrt(2 / fan_in)``: meant for relu.

    Parameters
    ----------
    seed : int, optional
        Equal seeds, equal bits.

    References
    ----------
    K. He et al., "Delving deep into rectifiers", ICCV 2015, equation 10.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class LecunUniform(_Named):
    """Evenly spread over ``(-limit, limit)``, ``limit = sqrt(3 / fan_in)``.

    Parameters
    ----------
    seed : int, optional
        Equal seeds, equal bits.

    References
    ----------
    Y. LeCun et al., "Efficient BackProp", 1998, section 4.6.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(_Named):
    """Truncated normal with standard deviation ``sqrt(1 / fan_in)``: meant for selu.

    Parameters
    ----------
    seed : int, optional
        Equal seeds, equal bits.

    References
    ----------
    Y. LeCun et al., "Efficient BackProp", 1998; G. Klambauer et al., "Self-normalizing
    neural networks", 2017.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


class OrthogonalInitializer(_Seeded):
    """A matrix with orthonormal rows or columns, whichever are fewer, times ``gain``.

    The orthogonal factor of the QR decomposition of a matrix of normal numbers, its columns
    signed so that the other factor's diagonal is positive.  A shape of more than two
    dimensions is the matrix of its last dimension by all others.

    Parameters
    ----------
    gain : float, default 1.0 (Keras)
        Factor.
    seed : int, optional
        Equal seeds, equal bits (on one machine: the decomposition is LAPACK's).

    References
    ----------
    A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = _names.check_real(type(self).__name__, "gain", gain)
        super().__init__(seed)

    def _values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        if len(shape) < 2:
            raise ValueError(
                "OrthogonalInitializer: the parameter must have at least two dimensions; "
                f"received shape={shape}"
            )
        rows, cols = math.prod(shape[:-1]), shape[-1]
        normal = _random.normal(self.seed, (max(rows, cols), min(rows, cols)))
        q, r = np.linalg.qr(normal)
        q = q * np.where(np.diagonal(r) < 0.0, -1.0, 1.0)
        matrix = q.T if rows < cols else q
        return np.asarray(self.gain * matrix.reshape(shape), dtype=np.float64)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return {"gain": self.gain, **super().get_config()}


Orthogonal = OrthogonalInitializer
zeros = Zeros
ones = Ones
constant = Constant
identity = Identity
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
orthogonal = OrthogonalInitializer

_CLASSES: tuple[type[Initializer], ...] = (
    Zeros, Ones, Constant, Identity, RandomNormal, RandomUniform, TruncatedNormal,
    VarianceScaling, GlorotNormal, GlorotUniform, HeNormal, HeUniform, LecunNormal,
    LecunUniform, OrthogonalInitializer,
)  # fmt: skip

_KNOWN: dict[str, type[Initializer]] = {
    **{c.__name__: c for c in _CLASSES},
    **{_names.snake_case(c.__name__): c for c in _CLASSES},
    "uniform": RandomUniform,
    "normal": RandomNormal,
    "orthogonal": OrthogonalInitializer,
    "Orthogonal": OrthogonalInitializer,
    "one": Ones,
    "zero": Zeros,
}


def serialize(initializer: Any) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}`` of an initializer.

    Parameters
    ----------
    initializer : Initializer
        What is to be written down.

    Returns
    -------
    dict
        What :func:`deserialize` reads.
    """
    if not hasattr(initializer, "get_config"):
        raise TypeError(
            f"initializer {initializer!r} has no get_config and cannot be written to a file; "
            "use an nncore.initializers object, or a class with get_config"
        )
    return _names.object_config(initializer)


def deserialize(
    config: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Make an initializer from what :func:`serialize` returned, or from a name.

    Parameters
    ----------
    config : mapping or str
        ``{"class_name": ..., "config": arguments}``, or a name.
    custom_objects : mapping, optional
        Own classes by their names.

    Returns
    -------
    Initializer
        A new object.

    Raises
    ------
    ValueError
        An unknown name.
    """
    return _names.build("initializer", config, _KNOWN, custom_objects)


def get(identifier: object) -> Callable[..., npt.NDArray[Any]] | None:
    """Return the initializer that ``identifier`` stands for.

    Parameters
    ----------
    identifier : None, str, mapping, class, Initializer or callable
        ``"glorot_uniform"``, ``"GlorotUniform"``, a configuration, a class, an object or an
        own function ``f(shape, dtype)``; the last two are returned as they are.  None stays
        None.

    Raises
    ------
    ValueError
        An unknown name.
    TypeError
        Something that cannot be called.
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, Mapping)):
        identifier = deserialize(identifier)
    if isinstance(identifier, type):
        identifier = identifier()
    if not callable(identifier):
        raise TypeError(
            'initializer must be a name such as "glorot_uniform", a configuration, an '
            "nncore.initializers object or a function of (shape, dtype); received "
            f"{identifier!r}"
        )
    return identifier


def _shape(where: str, shape: object) -> tuple[int, ...]:
    """Return a shape as a tuple of ints."""
    sizes: Any = shape
    if isinstance(sizes, (int, np.integer)) and not isinstance(sizes, bool):
        sizes = (sizes,)
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        raise TypeError(f"{where}: shape must be a tuple of integers; received shape={shape!r}")
    return tuple(_names.check_integer(where, "each size in shape", n, minimum=0) for n in sizes)


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Return (fan_in, fan_out) of a parameter, as Keras counts them."""
    if not shape:
        return 1.0, 1.0
    if len(shape) == 1:
        return float(shape[0]), float(shape[0])
    field = math.prod(shape[:-2])
    return float(shape[-2] * field), float(shape[-1] * field)
