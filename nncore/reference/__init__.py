"""Plain NumPy: every formula once more, and an executor of the same plan.

Read it to learn how a dense network works, line by line; the compiled floor is tested against
it.  Nothing here is generated from the kernels, nor they from it: two people's statements of
one formula, which must agree.

A formula is found by its name: to add one, write the function.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

__all__ = ["evaluate", "formulas"]


def formulas(module: ModuleType) -> list[str]:
    """Return the names of a module's formulas, derivatives aside, in the order of its text.

    Parameters
    ----------
    module : module
        A module of :mod:`nncore.reference`.

    Returns
    -------
    list of str
        ``["linear", "sigmoid", ...]``.
    """
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and not name.endswith(("_derivative", "_backward"))
    ]


def evaluate(module: ModuleType, name: str, *arrays: NDArray[Any], alpha: float) -> NDArray[Any]:
    """Return what a module's formula makes of the arrays, and of alpha if it has a parameter.

    Parameters
    ----------
    module : module
        ``nncore.reference.activations``, ``losses`` or ``metrics``.
    name : str
        One of its formulas.
    *arrays : ndarray
        What the formula takes first: ``z``, or ``y`` and ``t``.
    alpha : float
        The formula's parameter, passed on if it has one.

    Returns
    -------
    ndarray
        The formula's value.
    """
    formula = getattr(module, name)
    if formula.__code__.co_argcount > len(arrays):
        return formula(*arrays, alpha)
    return formula(*arrays)
