"""What all optimizers share: the learning rate, the arguments that Keras gives to every one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nncore import _names
from nncore.optimizers import schedules

__all__ = ["Optimizer"]

#: Arguments of every Keras optimizer that are not offered, and the one value they may have.
_NOT_OFFERED: dict[str, tuple[Any, str]] = {
    "use_ema": (False, "averaging of the weights is not offered"),
    "ema_momentum": (0.99, "averaging of the weights is not offered"),
    "ema_overwrite_frequency": (None, "averaging of the weights is not offered"),
    "loss_scale_factor": (None, "float32 and float64 need no scaling of the loss"),
    "gradient_accumulation_steps": (None, "use a larger batch_size instead"),
}


class Optimizer:
    """Base of all optimizers: configuration, not arithmetic (that is in the kernels).

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
        Finite and >= 0.  A callable gets the step's number, counted from 0, or nothing if it
        takes nothing, and returns the rate.
    weight_decay : float, optional
        ``w -= learning_rate * weight_decay * w`` before each update (decoupled: not part of
        the gradient).
    clipnorm : float, optional
        Each parameter's gradient is scaled to a norm of at most this.
    clipvalue : float, optional
        Each element of the gradients is clipped to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        All gradients are scaled to a joint norm of at most this.  Only one of the three may
        be given.
    use_ema, ema_momentum, ema_overwrite_frequency : optional
        Not offered: only Keras's default values are accepted.
    loss_scale_factor, gradient_accumulation_steps : optional
        Not offered either.
    name : str, optional
        For configurations.

    Attributes
    ----------
    kernel : str
        Name of the kernel.
    n_slots : int
        Vectors of state that the kernel keeps.
    iterations : int
        Updates done so far.
    learning_rate : float
        Of the next step.  Settable: to a number, a schedule or a callable.
    schedule : LearningRateSchedule, callable or None
        Where the learning rate comes from, if it is not a number.
    full_batch : bool
        Whether the whole data set is one batch unless ``fit`` gets a ``batch_size``.
    """

    kernel: str
    n_slots: int
    full_batch: bool = False
    _default_name: ClassVar[str] = "optimizer"

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        where = type(self).__name__
        if not hasattr(type(self), "kernel"):
            raise TypeError(
                f"{where}: an optimizer needs a compiled kernel, so Optimizer is not made or "
                "subclassed directly; use SGD, Adagrad, RMSprop, Adam or AdamW"
            )
        given = {
            "use_ema": use_ema,
            "ema_momentum": ema_momentum,
            "ema_overwrite_frequency": ema_overwrite_frequency,
            "loss_scale_factor": loss_scale_factor,
            "gradient_accumulation_steps": gradient_accumulation_steps,
        }
        for argument, value in given.items():
            default, reason = _NOT_OFFERED[argument]
            if value is not default and value != default:
                raise ValueError(
                    f"{where}: {argument} must keep its default {default!r}, {reason}; received "
                    f"{argument}={value!r}"
                )
        self.name = self._default_name if name is None else name
        self.weight_decay = (
            None
            if weight_decay is None
            else _names.check_real(where, "weight_decay", weight_decay, minimum=0.0)
        )
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        checked = {
            k: None if v is None else _names.check_real(where, k, v, minimum=0.0, open_minimum=True)
            for k, v in clips.items()
        }
        if sum(v is not None for v in checked.values()) > 1:
            listed = ", ".join(f"{k}={v!r}" for k, v in clips.items())
            raise ValueError(
                f"{where}: only one of clipnorm, clipvalue and global_clipnorm can be given; "
                f"received {listed}"
            )
        self.clipnorm = checked["clipnorm"]
        self.clipvalue = checked["clipvalue"]
        self.global_clipnorm = checked["global_clipnorm"]
        self.iterations = 0
        self._learning_rate: Any = self._check_rate(learning_rate)

    def _check_rate(self, value: Any) -> Any:
        """Return a learning rate as it is kept: a float, a schedule or a callable."""
        if isinstance(value, Mapping):
            return schedules.deserialize(value)
        if isinstance(value, type) and issubclass(value, schedules.LearningRateSchedule):
            raise TypeError(
                f"{type(self).__name__}: learning_rate must be an object; received the class "
                f"{value.__name__}; call it with its arguments"
            )
        if callable(value):
            return value
        try:
            return _names.check_real(type(self).__name__, "learning_rate", value, minimum=0.0)
        except TypeError:
            raise TypeError(
                f"{type(self).__name__}: learning_rate must be a finite number >= 0, a "
                "LearningRateSchedule or a callable; received "
                f"learning_rate={value!r}"
            ) from None

    @property
    def iterations(self) -> int:
        """The updates done."""
        return self._iterations

    @iterations.setter
    def iterations(self, value: int) -> None:
        n = _names.check_integer(type(self).__name__, "iterations", value, minimum=0)
        if n >> 62:
            raise ValueError(
                f"{type(self).__name__}: iterations must be less than 2**62; received {n}"
            )
        self._iterations = n

    @property
    def schedule(self) -> Any:
        """The schedule or callable that gives the learning rate; None if it is a number."""
        return self._learning_rate if callable(self._learning_rate) else None

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        if not callable(self._learning_rate):
            return float(self._learning_rate)
        return float(self.rates(self.iterations, 1)[0])

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        checked = self._check_rate(value)
        if not callable(checked) and isinstance(
            self._learning_rate, schedules.LearningRateSchedule
        ):
            raise TypeError(
                f"{type(self).__name__}: the learning rate comes from "
                f"{type(self._learning_rate).__name__} and cannot be set to a number (a callback "
                "that sets it, such as ReduceLROnPlateau, and a schedule exclude each other); "
                "make the optimizer with a number instead"
            )
        self._learning_rate = checked

    def rates(self, iteration: int, n: int) -> npt.NDArray[np.float64]:
        """Return the learning rates of ``n`` steps, float64.

        Parameters
        ----------
        iteration : int
            Number of the first of these steps, counted from 0 since the optimizer was made.
        n : int
            How many.

        Raises
        ------
        ValueError
            The schedule gave a rate that is negative or not finite; the error names the step.
        """
        source = self._learning_rate
        if not callable(source):
            rates = np.empty(n)
            rates.fill(source)
            return rates
        if isinstance(source, schedules.LearningRateSchedule):
            rates = source.rates(iteration, n)
        elif _takes_step(source):
            rates = np.array([float(source(iteration + i)) for i in range(n)], dtype=np.float64)
        else:
            rates = np.array([float(source()) for _ in range(n)], dtype=np.float64)
        wrong = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0.0)))
        if wrong.size:
            first = int(wrong[0])
            raise ValueError(
                f"{type(self).__name__}: the learning rate must be finite and >= 0; "
                f"{_title(source)} gave {rates[first]} at step {iteration + first}"
            )
        return rates

    def hyper(self) -> dict[str, float]:
        """Return what the kernel needs beside the learning rate."""
        return {"weight_decay": self.weight_decay or 0.0}

    def initial_slots(self, n_parameters: int, dtype: Any) -> npt.NDArray[Any]:
        """Return the state before the first update, (n_slots, n_parameters)."""
        return np.zeros((self.n_slots, n_parameters), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal optimizer (``iterations`` is not one).

        Raises
        ------
        TypeError
            The learning rate is an own function, which cannot be written down.
        """
        rate = self._learning_rate
        if isinstance(rate, schedules.LearningRateSchedule):
            rate = schedules.serialize(rate)
        elif callable(rate):
            raise TypeError(
                f"{type(self).__name__}: the learning rate is the function {_title(rate)}, which "
                "cannot be written down; use a LearningRateSchedule with get_config"
            )
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            **{argument: default for argument, (default, _) in _NOT_OFFERED.items()},
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Optimizer:
        """Make an optimizer from what :meth:`get_config` returned."""
        arguments = dict(config)
        rate = arguments.get("learning_rate")
        if isinstance(rate, Mapping):
            arguments["learning_rate"] = schedules.deserialize(rate, custom_objects)
        return cls(**arguments)

    def __repr__(self) -> str:
        rate = self.schedule or self._learning_rate
        return f"<{type(self).__name__}(learning_rate={rate!r})>"

    def _fraction(self, argument: str, value: object) -> float:
        """Return a number in [0, 1)."""
        return _names.check_real(
            type(self).__name__, argument, value, minimum=0.0, maximum=1.0, open_maximum=True
        )

    def _nonnegative(self, argument: str, value: object) -> float:
        """Return a number >= 0."""
        return _names.check_real(type(self).__name__, argument, value, minimum=0.0)


def _takes_step(function: Callable[..., Any]) -> bool:
    """Return whether a function can be called with one argument."""
    try:
        inspect.signature(function).bind(math.inf)
    except (TypeError, ValueError):
        return False
    return True


def _title(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
