"""The directive ``{public}``: a module's public names, described from their docstrings.

    ```{public} nncore.layers
    :only: Dense Dropout
    :except: Layer
    ```

A table of all that follows, then each class and function, then the module's other names for
things that are described elsewhere.  New names of a module come in by themselves.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, ClassVar

import public_names
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

#: These have most of their methods from classes that are not public themselves.
WITH_INHERITED = {"Sequential"}
ABOUT_ONE_CLASS = {"api/sequential"}


def block(*lines: str) -> str:
    """Return lines of reStructuredText as a part of a Markdown page."""
    return "\n".join(("```{eval-rst}", *lines, "```", "", ""))


class Public(SphinxDirective):
    """Describe the public names of a module."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "only": directives.unchanged_required,
        "except": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the whole description."""
        name = self.arguments[0]
        described, others = public_names.entries()
        module = importlib.import_module(name)
        self.env.note_dependency(module.__file__)
        words = sorted(  # classes, then functions
            described[name],
            key=lambda word: (not inspect.isclass(getattr(module, word)), word.lower()),
        )
        if "only" in self.options:
            words = self.options["only"].split()
        left_out = set(self.options.get("except", "").split())
        unknown = (left_out | set(words)) - set(described[name])
        if unknown:
            raise self.error(f"{name} has no public {', '.join(sorted(unknown))}")
        words = [word for word in words if word not in left_out]

        public = {
            id(getattr(importlib.import_module(owner), word))
            for owner, names in described.items()
            for word in names
        }
        text = self.table(name, words) if len(words) > 1 else ""
        for word in words:
            text += self.one(name, word, getattr(module, word), public)
        if others[name] and "only" not in self.options:
            text += self.table_of_others(name, others[name])
        return self.parse_text_to_nodes(text)

    @staticmethod
    def table(name: str, words: list[str]) -> str:
        return block(
            f".. currentmodule:: {name}", "", ".. autosummary::", "   :nosignatures:", "",
            *(f"   {word}" for word in words),
        )  # fmt: skip

    @staticmethod
    def one(name: str, word: str, thing: object, public: set[int]) -> str:
        full = f"{name}.{word}"
        if inspect.isclass(thing):
            options = ["   :members:"]
            if word in WITH_INHERITED:
                options += ["   :inherited-members:", "   :member-order: groupwise"]
            else:
                bases = [base for base in thing.__mro__[1:] if id(base) in public]
                known = {member for base in bases for member in vars(base) if member[0] != "_"}
                if known:  # what a public base tells is not told again
                    options.append(f"   :exclude-members: {', '.join(sorted(known))}")
                if thing.__base__ in bases:
                    options.append("   :show-inheritance:")
            return block(f".. autoclass:: {full}", *options)
        return block(f".. {'autofunction' if callable(thing) else 'autodata'}:: {full}")

    @staticmethod
    def table_of_others(name: str, others: dict[str, str]) -> str:
        rows = [f"| `{word}` | {{py:obj}}`~{owner}` |" for word, owner in sorted(others.items())]
        return "\n".join(("| other name | of |", "|---|---|", *rows, "", ""))


def show_methods(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.Node | None
) -> None:
    """Let "On this page" list the methods too, where a page is about one class."""
    if page in ABOUT_ONE_CLASS:
        context["theme_show_toc_level"] = 2


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the directive."""
    app.add_directive("public", Public)
    app.connect("html-page-context", show_methods)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
