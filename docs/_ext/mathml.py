"""Formulas as MathML: every browser shows it without a script, so the site works off line.

The LaTeX is turned into MathML by docutils, which Sphinx needs anyway.  What docutils cannot
read is a warning, and so ends the build, instead of a formula that is silently wrong.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def mathml(node: nodes.Element, block: bool) -> str:
    """Return the MathML of a formula's node; its LaTeX, and a warning, if it cannot be read."""
    # An environment of its own is, within one formula, the one for a part of it.
    source = re.sub(r"\\(begin|end)\{align\*?\}", r"\\\1{aligned}", node.astext())
    try:
        return latex2mathml.tex2mathml(source, as_block=block)
    except Exception as error:
        logger.warning("this formula cannot be shown as MathML: %s", error, location=node)
        return f"<code>{HTML5Translator.encode(None, node.astext())}</code>"


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula of its own."""
    self.body.append(f'<div class="formula">{mathml(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the renderer; ``html_math_renderer = "mathml"`` chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
