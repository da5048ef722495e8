"""Formulas as MathML: every browser shows it without a script, so the site works off line.

(MathJax and KaTeX are scripts and fonts from another server, or megabytes in this one.)
A command that cannot be translated is a warning, and so ends the build.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def mathml(node: nodes.Element, display: str) -> str:
    """Return the MathML of a formula's node."""
    latex = node.astext()
    try:
        made = convert(latex, display=display)
    except Exception as error:
        logger.warning("this formula cannot be read: %s (%r)", latex, error, location=node)
        return f"<code>{escape(latex)}</code>"
    for unknown in re.findall(r">\s*(\\[a-zA-Z]+)\s*<", made):
        logger.warning("%s in a formula is not known", unknown, location=node)
    return made


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula of its own."""
    self.body.append(f'<div class="formula">{mathml(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the renderer; ``html_math_renderer = "mathml"`` chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
