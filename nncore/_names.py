"""Names: finding an object by its name, and saying so clearly when there is none.

Initializers, regularizers, activations, losses, metrics, optimizers and schedules are
all found in the same three ways: by an object, by a name, or by a configuration
``{"class_name": ..., "config": {...}}``.  This module holds what they share.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

__all__ = [
    "PUBLIC",
    "UnknownNameError",
    "build",
    "check_bool",
    "check_choice",
    "check_integer",
    "check_real",
    "glossary",
    "object_config",
    "snake_case",
    "unknown_name",
]


#: The words of the public API for what ``docs/glossary.md`` calls w and b.
PUBLIC = {"kernel": "w", "bias": "b"}


class UnknownNameError(KeyError):
    """A KeyError that shows its text as it is, not quoted."""

    def __str__(self) -> str:
        return str(self.args[0])


def glossary(name: str) -> str:
    """Return a name with the glossary's word for a parameter.

    Examples
    --------
    >>> glossary("hidden.kernel"), glossary("hidden.bias.next"), glossary("hidden.dw")
    ('hidden.w', 'hidden.b.next', 'hidden.dw')
    """
    return re.sub(r"\.(kernel|bias)(?=\.|$)", lambda found: f".{PUBLIC[found[1]]}", name)


def snake_case(name: str) -> str:
    """Return a class name the way Keras writes it as a string: ``"HeNormal"`` -> ``"he_normal"``.

    Examples
    --------
    >>> snake_case("GlorotUniform"), snake_case("L1L2"), snake_case("MeanSquaredError")
    ('glorot_uniform', 'l1_l2', 'mean_squared_error')
    """
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def nearest(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``, if one is like it at all.

    Examples
    --------
    >>> nearest("val_los", ["loss", "val_loss"])
    'val_loss'
    """
    import difflib  # slow to import, and needed for errors only

    lowered = {n.lower(): n for n in known}
    near = difflib.get_close_matches(str(name).lower().strip(), list(lowered), n=1, cutoff=0.6)
    return lowered[near[0]] if near else None


def unknown_name(what: str, name: object, known: Iterable[str]) -> str:
    """Return the text of the error for a name that nobody knows.

    Parameters
    ----------
    what : str
        What was looked for: ``"activation"``, ``"loss"``.
    name : object
        What came.
    known : iterable of str
        The names that would have been right.

    Returns
    -------
    str
        One sentence with the nearest known name, if any is near, and all known ones.

    Examples
    --------
    >>> unknown_name("activation", "rellu", ["relu", "tanh"])
    'unknown activation "rellu": did you mean "relu"? Known: relu, tanh.'
    """
    every = set(known)
    # Of a name in several spellings (HeNormal, he_normal; MSE, mse) the plain one is shown.
    names = sorted(n for n in every if n.islower() or not {snake_case(n), n.lower()} & every)
    near = nearest(name, names)
    shown = f'"{name}"' if isinstance(name, str) else repr(name)
    hint = f': did you mean "{near}"?' if near else "."
    return f"unknown {what} {shown}{hint} Known: {', '.join(names)}."


def missing(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error of a module that is asked for a name which it lacks.

    Examples
    --------
    >>> print(str(missing("nncore.layers", "Dens", ["Dense", "Flatten"])).partition(" (")[0])
    module 'nncore.layers' has no attribute 'Dens': did you mean "Dense"? It has Dense, Flatten
    """
    text = f"module {module!r} has no attribute {name!r}"
    if name.startswith("_"):  # what Python's own tools ask every module for
        return AttributeError(text)
    names = sorted(n for n in known if not n.startswith("_"))
    near = nearest(name, names)
    hint = f': did you mean "{near}"?' if near else "."
    return AttributeError(
        f"{text}{hint} It has {', '.join(names)} (nncore is the part of Keras for dense networks)"
    )


def lacks(module: str, known: Iterable[str]) -> Callable[[str], NoReturn]:
    """Return a module's ``__getattr__``: what it lacks gets the error of :func:`missing`."""

    def getter(name: str) -> NoReturn:
        raise missing(module, name, known)

    return getter


def object_config(value: Any) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}`` of an object that has ``get_config``."""
    return {"class_name": type(value).__name__, "config": value.get_config()}


def build(
    what: str,
    identifier: Mapping[str, Any] | str,
    known: Mapping[str, Callable[..., Any]],
    custom_objects: Mapping[str, Any] | None = None,
) -> Any:
    """Make an object from a name or from ``{"class_name": ..., "config": {...}}``.

    Parameters
    ----------
    what : str
        For errors: ``"initializer"``.
    identifier : mapping or str
        A name, or a configuration as :func:`object_config` writes it.  Other entries
        (Keras writes ``module`` and ``registered_name``) are not read.
    known : mapping
        Names and the classes that they stand for.
    custom_objects : mapping, optional
        More names; they win over ``known``.

    Raises
    ------
    ValueError
        The name is not known, or the configuration is not one.
    """
    names: dict[str, Any] = {**known, **(custom_objects or {})}
    config: Any = {}
    name: Any = identifier
    if not isinstance(identifier, str):
        if "class_name" not in identifier:
            raise ValueError(
                f"the configuration of this {what} has no class_name: wanted "
                '{"class_name": ..., "config": {...}}; received ' + repr(dict(identifier))
            )
        name = identifier["class_name"]
        config = identifier.get("config") or {}
        if not isinstance(config, Mapping):
            raise ValueError(
                f'the configuration of {what} "{name}" must be a dict; received {config!r}'
            )
    if name not in names:
        raise ValueError(unknown_name(what, name, names))
    made = names[name]
    from_config = getattr(made, "from_config", None)
    try:
        return from_config(dict(config)) if from_config is not None else made(**config)
    except TypeError as error:
        raise ValueError(
            f'{what} "{name}" cannot be made from {dict(config)!r}: {error}'
        ) from error


def check_real(
    where: str,
    argument: str,
    value: object,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    open_minimum: bool = False,
    open_maximum: bool = False,
) -> float:
    """Return ``value`` as a float, or say what is wrong with it.

    Parameters
    ----------
    where, argument : str
        Named by the error: ``Adam: learning_rate must be ...``.
    value : object
        A finite real number; booleans are refused.
    minimum, maximum : float
        Bounds.
    open_minimum, open_maximum : bool
        Whether the bound itself is out of bounds.

    Raises
    ------
    TypeError
        Not a real number.
    ValueError
        Not finite, or out of bounds.
    """
    wanted = "a finite number"
    if minimum != -math.inf or maximum != math.inf:
        if maximum == math.inf:
            wanted += f" {'>' if open_minimum else '>='} {minimum:g}"
        else:
            left, right = "(" if open_minimum else "[", ")" if open_maximum else "]"
            wanted += f" in {left}{minimum:g}, {maximum:g}{right}"
    number: Any = value
    if getattr(number, "ndim", None) == 0 and not isinstance(number, numbers.Real):
        number = number.item()  # a NumPy array without dimensions, or another library's scalar
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise TypeError(f"{where}: {argument} must be {wanted}; received {argument}={value!r}")
    result = float(number)
    low = result > minimum if open_minimum else result >= minimum
    high = result < maximum if open_maximum else result <= maximum
    if not math.isfinite(result) or not low or not high:
        raise ValueError(f"{where}: {argument} must be {wanted}; received {argument}={value!r}")
    return result


def check_integer(where: str, argument: str, value: object, *, minimum: int) -> int:
    """Return ``value`` as an int of at least ``minimum``, or say what is wrong with it.

    Raises
    ------
    TypeError
        Not an integer (a float with an integral value is not one).
    ValueError
        Too small.
    """
    if type(value) is int and value >= minimum:  # nearly always: an epoch checks several
        return value
    wanted = f"an integer >= {minimum}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{where}: {argument} must be {wanted}; received {argument}={value!r}")
    if int(value) < minimum:
        raise ValueError(f"{where}: {argument} must be {wanted}; received {argument}={value!r}")
    return int(value)


def check_bool(where: str, argument: str, value: object) -> bool:
    """Return ``value`` as a bool, or say what is wrong with it.

    Parameters
    ----------
    where, argument : str
        Named by the error.
    value : object
        A bool, NumPy's included, or the numbers 0 and 1.

    Raises
    ------
    TypeError
        Anything else: a string such as ``"no"`` would count as true.
    """
    whole = isinstance(value, numbers.Integral) or type(value).__name__ in ("bool", "bool_")
    if whole and value in (0, 1):
        return bool(value)
    raise TypeError(f"{where}: {argument} must be True or False; received {argument}={value!r}")


def check_choice(where: str, argument: str, value: object, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``, or say which there are.

    Raises
    ------
    ValueError
        Not one of them.
    """
    options = tuple(choices)
    if not isinstance(value, str) or value not in options:
        listed = ", ".join(f'"{c}"' for c in options)
        raise ValueError(
            f"{where}: {argument} must be one of {listed}; received {argument}={value!r}"
        )
    return value
