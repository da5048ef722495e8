"""Penalties on the size of parameters or outputs, added to the loss.

``l1 * sum(|w|) + l2 * sum(w**2)``: not halved and not divided by the batch size, as in
Keras.  Its derivative is ``l1 * sign(w) + 2 * l2 * w``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nncore import _names

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "serialize",
]

if not TYPE_CHECKING:
    __getattr__ = _names.lacks(__name__, __all__)


class Regularizer:
    """A penalty ``l1 * sum(|w|) + l2 * sum(w**2)``.

    What :class:`L1`, :class:`L2` and :class:`L1L2` share.

    Attributes
    ----------
    l1, l2 : float
        The two factors, finite and >= 0.
    """

    l1: float
    l2: float

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        where = type(self).__name__
        self.l1 = _names.check_real(where, "l1", l1, minimum=0.0)
        self.l2 = _names.check_real(where, "l2", l2, minimum=0.0)

    def __call__(self, x: npt.ArrayLike) -> float:
        """Return the penalty of an array, computed in float64."""
        values = np.asarray(x, dtype=np.float64)
        penalty = 0.0
        if self.l1:
            penalty += self.l1 * float(np.sum(np.abs(values)))
        if self.l2:
            penalty += self.l2 * float(np.sum(values * values))
        return penalty

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal regularizer."""
        return {"l1": self.l1, "l2": self.l2}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Regularizer:
        """Make a regularizer from what :meth:`get_config` returned."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Regularizer):
            return NotImplemented
        return (self.l1, self.l2) == (other.l1, other.l2)

    def __hash__(self) -> int:
        return hash((Regularizer, self.l1, self.l2))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class L1(Regularizer):
    """``l1 * sum(|w|)``: drives small weights to zero.

    Parameters
    ----------
    l1 : float, default 0.01 (Keras)
        Finite and >= 0.
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal regularizer."""
        return {"l1": self.l1}


class L2(Regularizer):
    """``l2 * sum(w**2)``: keeps weights small.

    Parameters
    ----------
    l2 : float, default 0.01 (Keras)
        Finite and >= 0.  Not halved: the derivative is ``2 * l2 * w``.
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal regularizer."""
        return {"l2": self.l2}


class L1L2(Regularizer):
    """``l1 * sum(|w|) + l2 * sum(w**2)``.

    Parameters
    ----------
    l1, l2 : float, default 0.0 (Keras)
        Finite and >= 0.
    """


l1 = L1
l2 = L2
l1_l2 = L1L2

_KNOWN: dict[str, type[Regularizer]] = {
    "L1": L1,
    "L2": L2,
    "L1L2": L1L2,
    "l1": L1,
    "l2": L2,
    "l1_l2": L1L2,
    "l1l2": L1L2,
}


def serialize(regularizer: Regularizer) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}`` of a regularizer.

    Parameters
    ----------
    regularizer : Regularizer
        What is to be written down.

    Returns
    -------
    dict
        What :func:`deserialize` reads.
    """
    return _names.object_config(regularizer)


def deserialize(
    config: Mapping[str, Any] | str, custom_objects: Mapping[str, Any] | None = None
) -> Regularizer:
    """Make a regularizer from what :func:`serialize` returned, or from a name.

    Parameters
    ----------
    config : mapping or str
        ``{"class_name": ..., "config": arguments}``, or a name.
    custom_objects : mapping, optional
        Own classes by their names.

    Returns
    -------
    Regularizer
        A new object.

    Raises
    ------
    ValueError
        An unknown name.
    """
    return _check(_names.build("regularizer", config, _KNOWN, custom_objects))


def get(identifier: object) -> Regularizer | None:
    """Return the regularizer that ``identifier`` stands for.

    Parameters
    ----------
    identifier : None, str, mapping, class or Regularizer
        ``"l1"``, ``"l2"``, ``"l1_l2"`` (with Keras's default factors), a configuration, a
        class, or an object, which is returned as it is.  None stays None.

    Raises
    ------
    ValueError
        An unknown name.
    TypeError
        Something else, an own function for one: the compiled step knows l1 and l2 only.
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Regularizer):
        return identifier()
    return _check(identifier)


def _check(value: object) -> Regularizer:
    if isinstance(value, Regularizer):
        return value
    raise TypeError(
        'regularizer must be None, a name ("l1", "l2", "l1_l2"), a configuration or an '
        f"nncore.regularizers object such as L2(0.01); received {value!r}"
    )
