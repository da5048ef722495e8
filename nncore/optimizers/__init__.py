"""Optimizers: how parameters follow their gradients.

Keras's names, arguments, defaults and formulas; ``g`` is the gradient, ``lr`` the learning
rate and ``t`` the update's number, counted from 1.  Where Keras, PyTorch and scikit-learn
differ (the place of epsilon, the start of Adagrad's sum), this is Keras.  The arithmetic is
in the kernels; an object here holds arguments, the learning rate and the count of updates.

By name there are two more: ``"gd"``, gradient descent with the whole data set as one batch,
and ``"momentum"``, :class:`SGD` with a momentum of 0.9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nncore import _names
from nncore.optimizers import schedules
from nncore.optimizers._optimizer import Optimizer

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

if not TYPE_CHECKING:
    __getattr__ = _names.lacks(__name__, __all__)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum or without.

    ``w -= lr * g``; with momentum ``m = momentum * m - lr * g`` and ``w += m``; with Nesterov
    momentum ``w += momentum * m - lr * g`` with the new ``m``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.01 (Keras)
        See :class:`Optimizer`.
    momentum : float, default 0.0 (Keras)
        In [0, 1].
    nesterov : bool, default False (Keras)
        Without momentum it changes nothing.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See :class:`Optimizer`.
    use_ema, ema_momentum, ema_overwrite_frequency : optional
        Not offered: only Keras's default values are accepted.
    loss_scale_factor, gradient_accumulation_steps : optional
        Not offered either.
    name : str, optional
        See :class:`Optimizer`.
    full_batch : bool, default False
        Whether the whole data set is one batch unless ``fit`` gets a ``batch_size``; ``"gd"``
        stands for ``SGD(full_batch=True)``.
    """

    _default_name = "SGD"
    kernel = "sgd"

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
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
        *,
        full_batch: bool = False,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.momentum = _names.check_real("SGD", "momentum", momentum, minimum=0.0, maximum=1.0)
        self.nesterov = _names.check_bool("SGD", "nesterov", nesterov)
        self.full_batch = bool(full_batch)
        if self.momentum:
            self.kernel = "nesterov" if self.nesterov else "momentum"
        self.n_slots = 1 if self.momentum else 0

    def hyper(self) -> dict[str, float]:
        """Return what the kernel needs beside the learning rate."""
        own = {"momentum": self.momentum} if self.momentum else {}
        return {**own, **super().hyper()}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal optimizer."""
        own: dict[str, Any] = {"momentum": self.momentum, "nesterov": self.nesterov}
        if self.full_batch:
            own["full_batch"] = True
        return {**super().get_config(), **own}


class Adagrad(Optimizer):
    """``a += g**2``; ``w -= lr * g / sqrt(a + epsilon)``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001 (Keras)
        See :class:`Optimizer`.
    initial_accumulator_value : float, default 0.1 (Keras)
        Where the sum ``a`` starts; >= 0.
    epsilon : float, default 1e-7 (Keras)
        Inside the root; >= 0.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See :class:`Optimizer`.
    use_ema, ema_momentum, ema_overwrite_frequency : optional
        Not offered: only Keras's default values are accepted.
    loss_scale_factor, gradient_accumulation_steps : optional
        Not offered either.
    name : str, optional
        See :class:`Optimizer`.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods", JMLR 12, 2011.
    """

    _default_name = "adagrad"
    kernel = "adagrad"
    n_slots = 1

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
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
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.initial_accumulator_value = self._nonnegative(
            "initial_accumulator_value", initial_accumulator_value
        )
        self.epsilon = self._nonnegative("epsilon", epsilon)

    def hyper(self) -> dict[str, float]:
        """Return what the kernel needs beside the learning rate."""
        return {"epsilon": self.epsilon, **super().hyper()}

    def initial_slots(self, n_parameters: int, dtype: Any) -> npt.NDArray[Any]:
        """Return the state before the first update: ``initial_accumulator_value`` everywhere."""
        return np.full((1, n_parameters), self.initial_accumulator_value, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal optimizer."""
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


class RMSprop(Optimizer):
    """``v = rho v + (1 - rho) g**2``; ``w -= lr * g / sqrt(v + epsilon)``.

    ``centered`` subtracts the square of a running mean of ``g`` under the root.  With
    momentum, ``m = momentum m + lr * g / sqrt(v + epsilon)`` and ``w -= m``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001 (Keras)
        See :class:`Optimizer`.
    rho : float, default 0.9 (Keras)
        In [0, 1).
    momentum : float, default 0.0 (Keras)
        In [0, 1].
    epsilon : float, default 1e-7 (Keras)
        Inside the root; >= 0.
    centered : bool, default False (Keras)
        See above.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See :class:`Optimizer`.
    use_ema, ema_momentum, ema_overwrite_frequency : optional
        Not offered: only Keras's default values are accepted.
    loss_scale_factor, gradient_accumulation_steps : optional
        Not offered either.
    name : str, optional
        See :class:`Optimizer`.

    References
    ----------
    T. Tieleman, G. Hinton, "Lecture 6.5: RMSProp", 2012.
    """

    _default_name = "rmsprop"
    kernel = "rmsprop"

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
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
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.rho = self._fraction("rho", rho)
        self.momentum = _names.check_real("RMSprop", "momentum", momentum, minimum=0.0, maximum=1.0)
        self.epsilon = self._nonnegative("epsilon", epsilon)
        self.centered = _names.check_bool("RMSprop", "centered", centered)
        full = self.centered or self.momentum > 0.0
        self.kernel = "rmsprop_full" if full else "rmsprop"
        self.n_slots = 3 if full else 1

    def hyper(self) -> dict[str, float]:
        """Return what the kernel needs beside the learning rate."""
        own = {"rho": self.rho, "epsilon": self.epsilon}
        if self.kernel == "rmsprop_full":
            own |= {"momentum": self.momentum, "centered": float(self.centered)}
        return {**own, **super().hyper()}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal optimizer."""
        return {
            **super().get_config(),
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }


class Adam(Optimizer):
    """Running means of the gradient and of its square.

    ``m = beta_1 m + (1 - beta_1) g``, ``v = beta_2 v + (1 - beta_2) g**2``,
    ``w -= lr * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)``.
    ``epsilon`` is added before the bias of ``v`` is corrected, as in Keras and scikit-learn
    ("epsilon hat"; PyTorch adds it after).  AMSGrad uses the largest ``v`` so far.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001 (Keras)
        See :class:`Optimizer`.
    beta_1, beta_2 : float, default 0.9 and 0.999 (Keras)
        In [0, 1).
    epsilon : float, default 1e-7 (Keras; 1e-8 in the paper)
        >= 0.
    amsgrad : bool, default False (Keras)
        See above.
    weight_decay, clipnorm, clipvalue, global_clipnorm : float, optional
        See :class:`Optimizer`.
    use_ema, ema_momentum, ema_overwrite_frequency : optional
        Not offered: only Keras's default values are accepted.
    loss_scale_factor, gradient_accumulation_steps : optional
        Not offered either.
    name : str, optional
        See :class:`Optimizer`.

    References
    ----------
    D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, the end of
    section 2; S. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond", ICLR
    2018 (AMSGrad).
    """

    _default_name = "adam"
    kernel = "adam"

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.beta_1 = self._fraction("beta_1", beta_1)
        self.beta_2 = self._fraction("beta_2", beta_2)
        self.epsilon = self._nonnegative("epsilon", epsilon)
        self.amsgrad = _names.check_bool(type(self).__name__, "amsgrad", amsgrad)
        self.kernel = "amsgrad" if self.amsgrad else "adam"
        self.n_slots = 3 if self.amsgrad else 2

    def hyper(self) -> dict[str, float]:
        """Return what the kernel needs beside the learning rate."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**own, **super().hyper()}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal optimizer."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }


class AdamW(Adam):
    """:class:`Adam` with decoupled weight decay: ``w -= lr * weight_decay * w`` first.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable, default 0.001 (Keras)
        See :class:`Optimizer`.
    weight_decay : float, default 0.004 (Keras)
        >= 0.
    beta_1, beta_2 : float, default 0.9 and 0.999 (Keras)
        In [0, 1).
    epsilon : float, default 1e-7 (Keras)
        >= 0.
    amsgrad : bool, default False (Keras)
        See :class:`Adam`.
    clipnorm, clipvalue, global_clipnorm : float, optional
        See :class:`Optimizer`.
    use_ema, ema_momentum, ema_overwrite_frequency : optional
        Not offered: only Keras's default values are accepted.
    loss_scale_factor, gradient_accumulation_steps : optional
        Not offered either.
    name : str, optional
        See :class:`Optimizer`.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    _default_name = "adamw"

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        if weight_decay is None:
            raise ValueError(
                "AdamW: weight_decay must be a number >= 0; received None; use Adam without it"
            )
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )


def _gd(**arguments: Any) -> SGD:
    """Return gradient descent on the whole data set."""
    return SGD(**{"name": "gd", **arguments, "full_batch": True})


def _momentum(**arguments: Any) -> SGD:
    """Return SGD with a momentum of 0.9."""
    return SGD(**{"name": "momentum", "momentum": 0.9, **arguments})


_CLASSES: tuple[type[Optimizer], ...] = (SGD, Adagrad, RMSprop, Adam, AdamW)

_KNOWN: dict[str, Callable[..., Optimizer]] = {
    **{c.__name__.lower(): c for c in _CLASSES},
    "gd": _gd,
    "momentum": _momentum,
}


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}`` of an optimizer; its state is not in it.

    Parameters
    ----------
    optimizer : Optimizer
        What is to be written down.

    Returns
    -------
    dict
        What :func:`deserialize` reads.
    """
    return _names.object_config(optimizer)


def deserialize(
    config: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None
) -> Optimizer:
    """Make an optimizer from what :func:`serialize` returned, or from a name.

    Names are read without regard to case, as in Keras.

    Parameters
    ----------
    config : mapping or str
        ``{"class_name": ..., "config": arguments}``, or a name.
    custom_objects : mapping, optional
        Own classes by their names.

    Returns
    -------
    Optimizer
        A new object.

    Raises
    ------
    ValueError
        An unknown name.
    """
    custom = custom_objects or {}
    identifier: Any = config
    name = config if isinstance(config, str) else config.get("class_name")
    if isinstance(name, str) and name not in custom:
        lowered = name.lower()
        identifier = lowered if isinstance(config, str) else {**config, "class_name": lowered}
    known: dict[str, Any] = {**_KNOWN, **custom}
    rate = {} if isinstance(config, str) else dict(config.get("config") or {})
    if custom and isinstance(rate.get("learning_rate"), Mapping):
        rate["learning_rate"] = schedules.deserialize(rate["learning_rate"], custom)
        identifier = {**identifier, "config": rate}
    return _check(_names.build("optimizer", identifier, known))


def get(identifier: object) -> Optimizer:
    """Return the optimizer that ``identifier`` stands for.

    Parameters
    ----------
    identifier : str, mapping, class or Optimizer
        ``"sgd"``, ``"gd"``, ``"momentum"``, ``"adagrad"``, ``"rmsprop"``, ``"adam"``,
        ``"adamw"`` in any case, with Keras's default arguments; what :func:`serialize`
        returned; a class; or an object, which is returned as it is.

    Raises
    ------
    ValueError
        An unknown name.
    TypeError
        Something else.
    """
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        made: Any = identifier
        return _check(made())
    return _check(identifier)


def _check(value: object) -> Optimizer:
    if isinstance(value, Optimizer):
        return value
    raise TypeError(
        f"optimizer must be one of the known names ({', '.join(sorted(_KNOWN))}) or an "
        f"nncore.optimizers object such as Adam(0.001); received {value!r}"
    )
