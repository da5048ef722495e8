"""What is promised of public docstrings, checked by numpydoc's own validation.

Every public name and every public method of a public class has a docstring.  It begins with one
sentence in one line; its sections are numpydoc's, in numpydoc's order.  Every function describes
all its parameters; whoever has a section "Parameters" has it whole: each parameter, in the order
of the signature, none that is not there, with type and description.  A method may do without
(a callback's hooks, ``from_config``), as may a class that nncore makes and that lists its
attributes instead.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import public_names
from numpydoc.validate import validate
from sphinx.application import Sphinx
from sphinx.util import logging

#: numpydoc's codes, with what each asks for.
CHECKS = {
    "GL03": "no two empty lines together",
    "GL05": "no tabs",
    "GL06": "known sections only",
    "GL07": "sections in numpydoc's order",
    "GL08": "there is a docstring",
    "GL10": "directives are written with two colons",
    "SS01": "a summary",
    "SS02": "that begins with a capital letter",
    "SS03": "ends with a period",
    "SS04": "has no leading spaces",
    "SS06": "fits in one line",
    "PR01": "every parameter is described",
    "PR02": "no parameter that the signature lacks",
    "PR03": "in the signature's order",
    "PR04": "with its type",
    "PR05": "which ends without a period",
    "PR06": "is written as Python does (int, not integer)",
    "PR07": "with a description",
    "PR10": "with a space before the colon",
    "RT04": "what is returned begins with a capital letter",
    "RT05": "and ends with a period",
    "YD01": "a generator says what it yields",
}


def public_objects() -> Iterator[tuple[str, object]]:
    """Yield each public class, function and method with its full name."""
    described, _ = public_names.entries()
    for module, words in described.items():
        for word in words:
            thing = getattr(importlib.import_module(module), word)
            if not callable(thing):
                continue
            yield f"{module}.{word}", thing
            if inspect.isclass(thing):
                for name, member in inspect.getmembers(thing):
                    home = str(getattr(member, "__module__", "nncore"))
                    is_method = inspect.isroutine(member) and home.startswith("nncore")
                    if name[0] != "_" and (is_method or isinstance(member, property)):
                        yield f"{module}.{word}.{name}", member


def asks_too_much(code: str, thing: object, name: str) -> bool:
    """Whether the check is one that this kind of docstring is free of."""
    text = inspect.getdoc(thing) or ""
    if code == "PR01" and "Parameters\n---" not in text:
        is_method = inspect.isfunction(thing) and "." in thing.__qualname__
        return is_method or inspect.ismethod(thing) or "Attributes\n---" in text
    # Formulas may begin a summary.
    return code == "SS02" and text.startswith("``")


def problems() -> list[str]:
    """Return a line for each promise that a docstring breaks."""
    found = []
    for name, thing in public_objects():
        for code, message in validate(name)["errors"]:
            if code in CHECKS and not asks_too_much(code, thing, name):
                found.append(f"{name}: {code} {message}")
    return sorted(set(found))


def check(app: Sphinx) -> None:
    """Warn of each problem, which ends the build."""
    for problem in problems():
        logging.getLogger(__name__).warning(problem, type="docstrings")


def setup(app: Sphinx) -> dict[str, Any]:
    """Check when a build begins."""
    app.connect("builder-inited", check)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
