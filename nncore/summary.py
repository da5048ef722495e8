"""The table that ``model.summary()`` prints."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nncore.models import Sequential

__all__ = ["summary_text"]

_BOX = "┏━┳┓┃┡╇┩│├─┼┤└┴┘"
_ASCII = "+-++|+++|+-+++++"


def _plain() -> bool:
    """Tell whether standard output cannot show box characters."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        _BOX.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def _size(n_bytes: int) -> str:
    size = float(n_bytes)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def _cut(text: str, width: int, dots: str) -> str:
    return text if len(text) <= width else text[: width - 1] + dots


def summary_text(
    model: Sequential,
    line_length: int | None = None,
    *,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
    plain: bool | None = None,
) -> str:
    """Return the table: one line a layer, then the totals.

    Parameters
    ----------
    model : Sequential
    line_length : int, optional
        Width of the table; default: that of the terminal, at most 80.
    show_trainable : bool
        Add a column that says which layers are trained.
    layer_range : (str, str), optional
        Names of the first and last layer to show.
    plain : bool, optional
        ASCII instead of box characters; default: where standard output needs it.
    """
    if plain is None:
        plain = _plain()
    box = _ASCII if plain else _BOX
    dots = "." if plain else "…"
    layers = model.layers
    if layer_range is not None:
        names = [layer.name for layer in layers]
        first, last = (names.index(model.get_layer(name).name) for name in layer_range)
        layers = layers[first : last + 1]
    width = line_length or min(80, shutil.get_terminal_size((80, 24)).columns)

    header = ["Layer (type)", "Output Shape", "Param #"]
    rows = []
    for layer in layers:
        shape = str((None, *layer.output_shape)) if layer.built else "?"
        count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
        rows.append([f"{layer.name} ({type(layer).__name__})", shape, count])
    if show_trainable:
        header.append("Trainable")
        for row, layer in zip(rows, layers, strict=True):
            row.append(("Y" if layer.trainable else "N") if layer.parameters else "-")

    fixed = [max(len(r[i]) for r in [header, *rows]) for i in range(1, len(header))]
    longest = max(len(r[0]) for r in [header, *rows])
    room = width - sum(fixed) - 3 * len(header) - 1
    first_width = max(12, room if line_length else min(max(longest, 24), room))
    widths = [first_width, *fixed]

    def line(left: str, fill: str, middle: str, right: str) -> str:
        return left + middle.join(fill * (w + 2) for w in widths) + right

    def cells(values: list[str], bar: str) -> str:
        shown = []
        for i, (value, w) in enumerate(zip(values, widths, strict=True)):
            value = _cut(value, w, dots)
            shown.append(f" {value:>{w}} " if header[i] == "Param #" else f" {value:<{w}} ")
        return bar + bar.join(shown) + bar

    (
        top_left, thick, top_middle, top_right, thick_bar,
        head_left, head_middle, head_right, bar,
        row_left, thin, row_middle, row_right, end_left, end_middle, end_right,
    ) = list(box)  # fmt: skip
    text = [f'Model: "{model.name}"', line(top_left, thick, top_middle, top_right)]
    text.append(cells(header, thick_bar))
    text.append(line(head_left, thick, head_middle, head_right))
    for i, row in enumerate(rows):
        if i:
            text.append(line(row_left, thin, row_middle, row_right))
        text.append(cells(row, bar))
    text.append(line(end_left, thin, end_middle, end_right))

    item = 8 if model.dtype == "float64" else 4
    trainable = sum(p.size for p in model.trainable_weights)
    frozen = sum(p.size for p in model.non_trainable_weights)
    state = model.optimizer_state_size
    totals: list[tuple[str, int]] = [
        ("Total params", trainable + frozen + state),
        ("Trainable params", trainable),
        ("Non-trainable params", frozen),
    ]
    if state:
        totals.append(("Optimizer params", state))
    text.extend(f" {name}: {n:,} ({_size(n * item)})" for name, n in totals)
    if not model.built:
        text.append(" The model is not built yet: its input shape is not known.")
    return "\n".join(text)


def print_summary(model: Sequential, print_fn: Callable[[str], Any] | None, **options: Any) -> None:
    """Print the table, or hand it to ``print_fn`` line by line's worth at once."""
    (print if print_fn is None else print_fn)(summary_text(model, **options))
