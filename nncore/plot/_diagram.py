"""A model as a diagram in plain SVG: no matplotlib, no script, no font, nothing from a network."""

from __future__ import annotations

import itertools
import math
import os
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from nncore import _names
from nncore._files import replacing
from nncore._markup import width as columns_of

if TYPE_CHECKING:
    from nncore.models import Sequential

__all__ = ["Diagram", "diagram"]

# Lengths in CSS pixels.
_BOX = (204, 92)
_GAP = 28
_PAD = 20
_HEAD = 34
_INSET = 14
_LETTER = 6.9  # a letter of the widest usual font

#: What a layer does decides its colour; the words in its box say it too.
_GROUPS = {"Dense": "dense", "Dropout": "dropout", "Input": "input"}
_RESHAPES = frozenset({"Flatten", "Rescaling"})

_STYLE = """
.nncore-diagram text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #57606a }
.nncore-diagram .name { font-weight: 600; font-size: 13.5px; fill: #1b1f24 }
.nncore-diagram .card { fill: #ffffff; stroke: #d0d7de }
.nncore-diagram .box { fill: #f6f8fa; stroke: #afb8c1 }
.nncore-diagram .arrow { fill: none; stroke: #6e7781; stroke-width: 1.5 }
.nncore-diagram .tip { fill: #6e7781 }
.nncore-diagram .track { fill: #e4e8ec }
.nncore-diagram .dense { fill: #0072b2 }
.nncore-diagram .activation { fill: #009e73 }
.nncore-diagram .dropout { fill: #b0589a }
.nncore-diagram .shape { fill: #c28a00 }
.nncore-diagram .input { fill: #8c959f }
@media (prefers-color-scheme: dark) {
.nncore-diagram text { fill: #a9b1ba }
.nncore-diagram .name { fill: #f0f3f6 }
.nncore-diagram .card { fill: #0f1419; stroke: #3d444d }
.nncore-diagram .box { fill: #1a2129; stroke: #4c555f }
.nncore-diagram .arrow { stroke: #9aa4af }
.nncore-diagram .tip { fill: #9aa4af }
.nncore-diagram .track { fill: #333b44 }
.nncore-diagram .dense { fill: #56b4e9 }
.nncore-diagram .activation { fill: #2fc79b }
.nncore-diagram .dropout { fill: #dd8fc2 }
.nncore-diagram .shape { fill: #f0c344 }
.nncore-diagram .input { fill: #7d8792 }
}
"""


class Diagram:
    """A drawing of a model; a notebook shows it, ``str`` is the SVG.

    Attributes
    ----------
    svg : str
        An SVG document, to stand alone or inside a page.
    """

    def __init__(self, svg: str, label: str) -> None:
        self.svg = svg
        self._label = label

    def __str__(self) -> str:
        """Return the SVG."""
        return self.svg

    def __repr__(self) -> str:
        return f"<Diagram of {self._label}: save(path) writes it, str() is the SVG>"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the SVG into a file.

        Parameters
        ----------
        path : path
            As it is: no ending is added; ``.svg`` is the usual one.

        Raises
        ------
        OSError
            The file cannot be written.  What was there before is unchanged then.
        """
        content = self.svg.encode("utf-8")
        with replacing("diagram", path) as file:
            file.write(content)


@dataclass(frozen=True, slots=True)
class _Box:
    name: str
    group: str
    lines: tuple[str, ...]
    n_parameters: int = 0


def diagram(model: Sequential, *, across: int = 4) -> Diagram:
    """Draw a model's layers as boxes: name, kind, activation, units, output shape, parameters.

    Parameters
    ----------
    model : Sequential
        Built or not; shapes and counts that are not known are left open.
    across : int, default 4
        Boxes side by side; a deeper model goes on in the next row.

    Returns
    -------
    Diagram
        Of plain SVG: it needs no matplotlib.  Light or dark, as the reader's system is.  The bar in
        a box is the layer's share of the parameters.

    Raises
    ------
    TypeError, ValueError
        For anything but a model with layers.

    Examples
    --------
    >>> import nncore
    >>> model = nncore.Sequential([nncore.Input((4,)), nncore.layers.Dense(3, name="hidden")])
    >>> "15 parameters" in str(nncore.plot.diagram(model))
    True
    """
    from nncore.models import Sequential

    where = "nncore.plot.diagram"
    across = _names.check_integer(where, "across", across, minimum=1)
    if not isinstance(model, Sequential):
        raise TypeError(f"{where}: model must be a model; received {type(model).__name__}")
    if not model.layers:
        raise ValueError(f"{where}: {model.label} has no layers; add some with model.add(layer)")
    boxes = _boxes(model)
    return Diagram(_svg(model, boxes, min(across, len(boxes))), model.label)


# --- what stands in it ---


def _boxes(model: Sequential) -> list[_Box]:
    boxes = []
    if model.input_layer is not None:
        shape = model.input_layer.shape
        n = math.prod(shape)
        numbers = f"{n:,} number{'s' if n != 1 else ''} a row"
        lines = (_shape(shape), numbers) if len(shape) > 1 else (numbers,)
        boxes.append(_Box("input", "input", lines))
    for layer in model.layers:
        boxes.append(_box(layer))
    return boxes


def _box(layer: Any) -> _Box:
    kind = type(layer).__name__
    group = _GROUPS.get(kind) or ("shape" if kind in _RESHAPES else "activation")
    what = kind
    activation = getattr(layer, "activation", None)
    if activation is not None and activation.name.replace("_", "") != kind.lower():
        what += f", {activation.name}"
    if kind == "Dropout":
        what += f", rate {layer.rate:g}"
    shape = f"output {_shape(layer.output_shape)}" if layer.built else "output ?"
    units = getattr(layer, "units", None)
    if units is not None:
        shape = f"{units:,} unit{'s' if units != 1 else ''}, {shape}"
    if not layer.built:
        return _Box(layer.name, group, (what, shape, "not built yet"))
    n = layer.count_params()
    count = "no parameters" if not n else f"{n:,} parameter{'s' if n != 1 else ''}"
    if n and not layer.trainable:
        count += ", frozen"
    return _Box(layer.name, group, (what, shape, count), n)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{n:,}" for n in shape)


# --- drawing ---


def _svg(model: Sequential, boxes: list[_Box], across: int) -> str:
    wide, high = _BOX
    rows = -(-len(boxes) // across)
    head = f"{len(model.layers)} layer{'s' if len(model.layers) != 1 else ''}"
    if model.built:
        head += f", {model.count_params():,} parameters"
    head += f", {model.dtype}"
    inner = max(across * wide + (across - 1) * _GAP, round(_LETTER * (len(head) + 12)))
    width = 2 * _PAD + inner
    height = 2 * _PAD + _HEAD + rows * high + (rows - 1) * _GAP
    title = f"{model.name}: {head}"
    total = sum(box.n_parameters for box in boxes)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="nncore-diagram" role="img" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'style="max-width: 100%; height: auto">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        _heading(model.name, head, inner),
    ]
    places = [
        (_PAD + k % across * (wide + _GAP), _PAD + _HEAD + k // across * (high + _GAP))
        for k in range(len(boxes))
    ]
    parts += [_arrow(a, b) for a, b in itertools.pairwise(places)]
    for box, (x, y) in zip(boxes, places, strict=True):
        parts.append(_draw(box, x, y, total))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _heading(name: str, words: str, room: float) -> str:
    """Return the model's name, cut where it needs more room, and what there is of it."""
    name = _cut(name, int((room - 10 - _LETTER * len(words)) / (1.25 * _LETTER)))
    return (
        f'<text x="{_PAD}" y="{_PAD + 13}"><tspan class="name">{_text(name)}</tspan>'
        f'<tspan dx="10">{_text(words)}</tspan></text>'
    )


def _arrow(a: tuple[int, int], b: tuple[int, int]) -> str:
    wide, high = _BOX
    (x0, y0), (x1, y1) = a, b
    if y0 == y1:
        y = y0 + high / 2
        line = f"M{x0 + wide} {y:g}H{x1 - 7}"
        tip = f"M{x1 - 1} {y:g}l-8 -4.5v9z"
    else:  # from under the last box of a row to over the first of the next
        middle0, middle1 = x0 + wide / 2, x1 + wide / 2
        turn = y0 + high + _GAP / 2 - 3
        line = f"M{middle0:g} {y0 + high}V{turn:g}H{middle1:g}V{y1 - 7}"
        tip = f"M{middle1:g} {y1 - 1}l-4.5 -8h9z"
    return f'<path class="arrow" d="{line}"/><path class="tip" d="{tip}"/>'


def _draw(box: _Box, x: int, y: int, total: int) -> str:
    wide, high = _BOX
    parts = [
        f'<g class="layer"><title>{_text(", ".join((box.name, *box.lines)))}</title>',
        f'<rect class="box" x="{x}" y="{y}" width="{wide}" height="{high}" rx="7"/>',
        f'<rect class="{box.group}" x="{x}" y="{y + 10}" width="4" height="{high - 20}" rx="2"/>',
        f'<text class="name" x="{x + _INSET}" y="{y + 22}">{_text(_cut(box.name, 22))}</text>',
    ]
    for k, words in enumerate(box.lines):
        parts.append(
            f'<text x="{x + _INSET}" y="{y + 41 + 16 * k}">{_text(_cut(words, 28))}</text>'
        )
    if total and box.group != "input":
        track = wide - 2 * _INSET
        share = track * box.n_parameters / total
        place = f'x="{x + _INSET}" y="{y + high - 10}" height="3" rx="1.5"'
        parts.append(f'<rect class="track" {place} width="{track}"/>')
        if share:
            parts.append(f'<rect class="{box.group}" {place} width="{max(share, 2):.1f}"/>')
    parts.append("</g>")
    return "".join(parts)


def _cut(words: str, columns: int) -> str:
    """Cut words that are wider than so many columns; a Hangul syllable takes two."""
    if columns_of(words) <= columns:
        return words
    while columns_of(words) >= columns:
        words = words[:-1]
    return words + "…"


def _text(words: str) -> str:
    """Return words for XML: escaped, what XML cannot hold replaced."""
    allowed = re.sub(
        "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", words
    )
    return escape(allowed)
