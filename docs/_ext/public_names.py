"""What is public in nncore: needed by the reference's directive and by the test suite.

Public is what can be reached from ``nncore.__all__``: each name in it, and in each module in it
the names of that module's ``__all__``, and so on; and what public functions return.  Nothing here
needs Sphinx.
"""

from __future__ import annotations

import importlib
from types import ModuleType

#: Modules that are reached by calling something, not by name.
OF_RESULTS = ("nncore.trace", "nncore.explain", "nncore.gradients", "nncore.reference")


def exported(module: ModuleType) -> list[str]:
    """Return the names of a module's ``__all__``, each once, in their order."""
    return list(dict.fromkeys(module.__all__))


def modules() -> list[str]:
    """Return the full name of every public module, nncore first, each before those in it."""
    found = ["nncore"]
    for name in found:  # grows while it is read
        module = importlib.import_module(name)
        found += [
            f"{name}.{word}"
            for word in exported(module)
            if isinstance(getattr(module, word), ModuleType)
        ]
    return found + [name for name in OF_RESULTS if name not in found]


def entries() -> tuple[dict[str, list[str]], dict[str, dict[str, str]]]:
    """Return what is described under each module, and each module's other names for things.

    One object is described once, under its own name in the first module that has it:
    ``nncore.layers.Input`` is another name for ``nncore.Input``, ``initializers.zeros`` for
    ``initializers.Zeros``.

    Returns
    -------
    described : dict
        ``{"nncore.layers": ["Layer", "Dense", ...]}``.
    others : dict
        ``{"nncore.layers": {"Input": "nncore.Input"}}``.
    """
    described: dict[str, list[str]] = {}
    others: dict[str, dict[str, str]] = {}
    owners: dict[int, str] = {}
    for name in modules():
        module = importlib.import_module(name)
        described[name], others[name] = [], {}
        things = {
            word: getattr(module, word)
            for word in exported(module)
            if not isinstance(getattr(module, word), ModuleType)
        }
        # A thing's own name first, then the further names that a module has for it.
        for word, thing in sorted(
            things.items(), key=lambda item: getattr(item[1], "__name__", item[0]) != item[0]
        ):
            owner = owners.setdefault(id(thing), f"{name}.{word}")
            if owner == f"{name}.{word}":
                described[name].append(word)
            else:
                others[name][word] = owner
    return described, others
