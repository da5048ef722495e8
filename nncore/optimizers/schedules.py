"""Learning-rate schedules: the learning rate of each step.

Keras's names, arguments and formulas.  A schedule is called with a step number, or here with
an array of them, counted from 0 since the optimizer was made; one call gives the rates of a
whole slice of an epoch.  An own schedule subclasses :class:`LearningRateSchedule` and
defines ``__call__(step)`` for one step.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nncore import _names

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

Floats = npt.NDArray[np.float64]


class LearningRateSchedule(ABC):
    """Base of all schedules.

    An own schedule defines ``__call__``, for one step number; with ``get_config``, a model
    that uses it can be saved.

    Examples
    --------
    >>> class Halving(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 * 0.5**step
    >>> Halving()(2)
    0.025
    """

    @abstractmethod
    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""

    def rates(self, begin: int, n: int) -> Floats:
        """Return the learning rates of the steps ``begin`` to ``begin + n - 1``."""
        return np.array([float(self(step)) for step in range(begin, begin + n)], dtype=np.float64)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal schedule."""
        raise TypeError(
            f"{type(self).__name__} has no get_config, so a model that uses it cannot be saved; "
            "define get_config to return the arguments of __init__"
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LearningRateSchedule:
        """Make a schedule from what :meth:`get_config` returned."""
        return cls(**config)


class _Formula(LearningRateSchedule):
    """A schedule whose formula works on arrays of steps."""

    name: str

    @abstractmethod
    def _formula(self, step: Floats) -> Floats:
        """Return the learning rates of these steps."""

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, or of each step of an array.

        Parameters
        ----------
        step : int, float or array-like
            Step numbers, counted from 0.

        Returns
        -------
        float or numpy.ndarray
            float64, of the shape of ``step``.
        """
        steps = np.asarray(step, dtype=np.float64)
        values = self._formula(steps.reshape(-1)).reshape(steps.shape)
        return float(values) if values.ndim == 0 else values

    def rates(self, begin: int, n: int) -> Floats:
        """Return the learning rates of the steps ``begin`` to ``begin + n - 1``."""
        if type(self).__call__ is not _Formula.__call__:  # a subclass with its own, scalar one
            return super().rates(begin, n)
        return self._formula(np.arange(begin, begin + n, dtype=np.float64))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items() if k != "name")
        return f"{type(self).__name__}({arguments})"


class ExponentialDecay(_Formula):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
        At step 0; >= 0.
    decay_steps : float
        Positive: after so many steps the rate has been multiplied by ``decay_rate``.
    decay_rate : float
        >= 0.
    staircase : bool, default False (Keras)
        True: the exponent is ``floor(step / decay_steps)``.
    name : str
        Kept for Keras; not used.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, decay_steps)
        self.decay_rate = _rate(self, "decay_rate", decay_rate)
        self.staircase = bool(staircase)
        self.name = name

    def _formula(self, step: Floats) -> Floats:
        p = step / self.decay_steps
        if self.staircase:
            p = np.floor(p)
        return self.initial_learning_rate * np.power(self.decay_rate, p)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal schedule."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class InverseTimeDecay(_Formula):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
        At step 0; >= 0.
    decay_steps : float
        Positive.
    decay_rate : float
        >= 0.
    staircase : bool, default False (Keras)
        True: ``floor(step / decay_steps)`` instead of the quotient.
    name : str
        Kept for Keras; not used.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, decay_steps)
        self.decay_rate = _rate(self, "decay_rate", decay_rate)
        self.staircase = bool(staircase)
        self.name = name

    def _formula(self, step: Floats) -> Floats:
        p = step / self.decay_steps
        if self.staircase:
            p = np.floor(p)
        return self.initial_learning_rate / (1.0 + self.decay_rate * p)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal schedule."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class PiecewiseConstantDecay(_Formula):
    """``values[0]`` up to and including step ``boundaries[0]``, then ``values[1]``, and so on.

    Parameters
    ----------
    boundaries : sequence of float
        Strictly increasing step numbers.
    values : sequence of float
        Rates >= 0, one more than boundaries.
    name : str
        Kept for Keras; not used.
    """

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str = "PiecewiseConstant",
    ) -> None:
        where = type(self).__name__
        edges, rates = list(boundaries), list(values)
        if len(edges) != len(rates) - 1:
            raise ValueError(
                f"{where}: values must have one element more than boundaries; received "
                f"{len(edges)} boundaries and {len(rates)} values"
            )
        checked = [_names.check_real(where, "each of boundaries", b) for b in edges]
        if any(b >= c for b, c in itertools.pairwise(checked)):
            raise ValueError(
                f"{where}: boundaries must be strictly increasing; received boundaries={edges!r}"
            )
        self.boundaries = edges
        self.values = [_rate(self, "each of values", v) for v in rates]
        self.name = name

    def _formula(self, step: Floats) -> Floats:
        index = np.searchsorted(np.asarray(self.boundaries, dtype=np.float64), step, side="left")
        return np.asarray(self.values, dtype=np.float64)[index]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal schedule."""
        return {"boundaries": self.boundaries, "values": self.values, "name": self.name}


class PolynomialDecay(_Formula):
    """``(initial - end) * (1 - step / decay_steps) ** power + end``.

    From step ``decay_steps`` on it stays at ``end_learning_rate``; with ``cycle``,
    ``decay_steps`` is instead replaced by its smallest multiple that is not below ``step``,
    so the rate rises and falls again.

    Parameters
    ----------
    initial_learning_rate : float
        At step 0; >= 0.
    decay_steps : float
        Positive.
    end_learning_rate : float, default 0.0001 (Keras)
        >= 0.
    power : float, default 1.0 (Keras)
        >= 0.
    cycle : bool, default False (Keras)
        See above.
    name : str
        Kept for Keras; not used.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, decay_steps)
        self.end_learning_rate = _rate(self, "end_learning_rate", end_learning_rate)
        self.power = _rate(self, "power", power)
        self.cycle = bool(cycle)
        self.name = name

    def _formula(self, step: Floats) -> Floats:
        if self.cycle:
            multiple = np.where(step == 0.0, 1.0, np.ceil(step / self.decay_steps))
            p = step / (self.decay_steps * multiple)
        else:
            p = np.minimum(step, self.decay_steps) / self.decay_steps
        span = self.initial_learning_rate - self.end_learning_rate
        return np.asarray(span * np.power(1.0 - p, self.power) + self.end_learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal schedule."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate,
            "power": self.power,
            "cycle": self.cycle,
            "name": self.name,
        }


class CosineDecay(_Formula):
    """Half a cosine from ``start`` down to ``alpha * start``, after an optional linear warm-up.

    ``start * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha)``, and from step
    ``decay_steps`` on ``alpha * start``.  Without a warm-up, ``start`` is
    ``initial_learning_rate``.  With one, the rate first rises linearly from
    ``initial_learning_rate`` to ``start = warmup_target`` during ``warmup_steps`` steps, and
    the cosine's steps are counted from there.

    Parameters
    ----------
    initial_learning_rate : float
        At step 0; >= 0.
    decay_steps : float
        Positive: steps of the cosine.
    alpha : float, default 0.0 (Keras)
        What is left in the end, as a fraction of ``start``; >= 0.
    name : str
        Kept for Keras; not used.
    warmup_target : float, optional
        None: no warm-up.
    warmup_steps : float, default 0 (Keras)
        >= 0.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
    ICLR 2017; P. Goyal et al., "Accurate, large minibatch SGD", 2017 (warm-up).
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, decay_steps)
        self.alpha = _rate(self, "alpha", alpha)
        self.name = name
        self.warmup_target = (
            None if warmup_target is None else _rate(self, "warmup_target", warmup_target)
        )
        _rate(self, "warmup_steps", warmup_steps)
        self.warmup_steps = warmup_steps

    def _cosine(self, step: Floats, start: float) -> Floats:
        fraction = np.minimum(step, self.decay_steps) / self.decay_steps
        cosine = 0.5 * (1.0 + np.cos(math.pi * fraction))
        return np.asarray(start * ((1.0 - self.alpha) * cosine + self.alpha))

    def _formula(self, step: Floats) -> Floats:
        target = self.warmup_target
        if target is None:
            return self._cosine(step, self.initial_learning_rate)
        decayed = self._cosine(np.maximum(step - self.warmup_steps, 0.0), target)
        if self.warmup_steps == 0:
            return decayed
        rise = (target - self.initial_learning_rate) * (step / self.warmup_steps)
        return np.where(step < self.warmup_steps, rise + self.initial_learning_rate, decayed)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal schedule."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "name": self.name,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }


_KNOWN: dict[str, type[LearningRateSchedule]] = {
    c.__name__: c
    for c in (
        CosineDecay, ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay,
    )
}  # fmt: skip


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}`` of a schedule.

    Parameters
    ----------
    learning_rate_schedule : LearningRateSchedule
        What is to be written down.

    Returns
    -------
    dict
        What :func:`deserialize` reads.
    """
    return _names.object_config(learning_rate_schedule)


def deserialize(
    config: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None
) -> LearningRateSchedule:
    """Make a schedule from what :func:`serialize` returned.

    Parameters
    ----------
    config : mapping or str
        ``{"class_name": ..., "config": arguments}``, or a name.
    custom_objects : mapping, optional
        Own classes by their names.

    Returns
    -------
    LearningRateSchedule
        A new object.

    Raises
    ------
    ValueError
        An unknown name.
    """
    made = _names.build("learning-rate schedule", config, _KNOWN, custom_objects)
    if not isinstance(made, LearningRateSchedule):
        raise TypeError(f"a learning-rate schedule was wanted; the configuration made {made!r}")
    return made


def _rate(schedule: LearningRateSchedule, argument: str, value: object) -> float:
    """Return a number >= 0."""
    return _names.check_real(type(schedule).__name__, argument, value, minimum=0.0)


def _steps(schedule: LearningRateSchedule, value: float) -> float:
    """Return ``decay_steps`` as it came, checked."""
    _names.check_real(type(schedule).__name__, "decay_steps", value, minimum=0.0, open_minimum=True)
    return value
