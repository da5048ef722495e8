"""A network as a drawing: units, weights, and the numbers of a step on them."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import _names
from nncore.explain import MOST_LAYERS, MOST_PARAMETERS, MOST_UNITS, computes, letters
from nncore.models import Sequential
from nncore.plot._canvas import Sheet, make_axes, need_matplotlib, plain
from nncore.trace import LayerTrace, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["network"]

Array = NDArray[Any]

#: A larger net than that of the numbers (those of ``explain``) is drawn with its units and its
#: weights as lines, without the weights' numbers; one that is larger than this, as blocks.
MOST_UNITS_DRAWN = 16
MOST_WEIGHTS_DRAWN = 400
MOST_LAYERS_DRAWN = 10

#: Blocks side by side; more go on in the next row.
BLOCKS_A_ROW = 5


@dataclass(slots=True)
class _Column:
    """The units of one layer, or the input's.

    Attributes
    ----------
    title, detail : str
        The layer's name; what it is.
    units : list of str
        Their names.
    inside, above, below : list of list of (str, bool)
        Lines in, over and under each unit, and whether they belong to the way back.
    shape, n_parameters
        For a block.
    norms : list of (str, str)
        For a block: of the way forward, of the way back.
    w, dw : ndarray or None
        The weights into it; None: one line for each unit.
    mixes : bool
        Whether each unit sees all units below although there are no weights: softmax.
    """

    title: str
    detail: str
    units: list[str]
    inside: list[list[tuple[str, bool]]]
    above: list[list[tuple[str, bool]]]
    below: list[list[tuple[str, bool]]]
    shape: tuple[int, ...]
    n_parameters: int = 0
    norms: list[tuple[str, str]] = field(default_factory=list)
    w: Array | None = None
    dw: Array | None = None
    mixes: bool = False

    @property
    def size(self) -> int:
        return len(self.units)


@dataclass(slots=True)
class _Net:
    name: str
    columns: list[_Column]
    targets: list[str] = field(default_factory=list)
    loss: list[str] = field(default_factory=list)
    note: str = ""
    traced: bool = False

    @property
    def n_parameters(self) -> int:
        return sum(column.n_parameters for column in self.columns)

    @property
    def widest(self) -> int:
        return max(column.size for column in self.columns)

    @property
    def n_weights(self) -> int:
        return sum(column.w.size for column in self.columns if column.w is not None)


class _Numbers:
    """Writes numbers with so many significant digits."""

    def __init__(self, digits: int) -> None:
        self.digits = digits

    def __call__(self, value: Any) -> str:
        text = f"{float(value):.{self.digits}g}"
        return text.replace("-", "\N{MINUS SIGN}")

    @property
    def longer(self) -> float:
        """How much longer a number is than one of three digits, in inches."""
        return 0.075 * max(0, self.digits - 3)

    def norm(self, array: Array) -> str:
        with np.errstate(over="ignore"):
            return self(np.sqrt(np.square(array, dtype=np.float64).sum()))


def network(source: Any, *, row: int = 0, digits: int = 3, ax: Axes | None = None) -> Axes:
    """Draw a network, with the numbers of a training step if a trace is given.

    Parameters
    ----------
    source : Trace or Sequential
        A trace: ``z`` and ``y`` stand in the units, ``w`` on the lines, ``b`` over the units;
        the gradients ``dw``, ``db``, ``dy``, ``dz`` beside them in a second colour.  A model:
        its units and weights.
    row : int, default 0
        The row of the trace's batch whose values are shown; ``dw`` and ``db`` are always those
        of the whole batch.
    digits : int, default 3
        Significant digits.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.  In a small one all is drawn smaller.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError, IndexError
        For another source, a model that is not built, or a row that the batch does not have.

    Notes
    -----
    The lines' width is the weight's size, dashes are negative weights.  Numbers fit up to 40
    parameters, 8 units a layer and 6 layers.  Up to 16 units a layer, 10 layers and 400 weights
    are lines without numbers; larger networks are drawn as one block a layer, with its norms.  The
    drawing says so.
    """
    need_matplotlib("network")
    digits = _names.check_integer("nncore.plot.network", "digits", digits, minimum=1)
    write = _Numbers(digits)
    if isinstance(source, Trace):
        net = _of_trace(source, _row(source, row), write)
    elif isinstance(source, Sequential):
        net = _of_model(source, write)
    else:
        raise TypeError(
            f"nncore.plot.network: source must be a Trace (of model.trace(x, y)) or a model; "
            f"received {type(source).__name__}"
        )
    inner = net.columns[1:]
    if (
        net.n_parameters <= MOST_PARAMETERS
        and net.widest <= MOST_UNITS
        and len(inner) <= MOST_LAYERS
    ):
        return _draw_units(net, write, ax, numbers=True)
    if (
        net.widest <= MOST_UNITS_DRAWN
        and net.n_weights <= MOST_WEIGHTS_DRAWN
        and len(inner) <= MOST_LAYERS_DRAWN
    ):
        return _draw_units(net, write, ax, numbers=False)
    return _draw_blocks(net, ax)


def _row(trace: Trace, row: object) -> int:
    if isinstance(row, bool) or not hasattr(row, "__index__"):
        raise TypeError(f"nncore.plot.network: row must be an integer; received row={row!r}")
    number = int(row.__index__())
    if not -trace.rows <= number < trace.rows:
        raise IndexError(
            f"nncore.plot.network: the trace has {trace.rows} rows, so row is from 0 to "
            f"{trace.rows - 1}; received row={row!r}"
        )
    return number % trace.rows


# --- what is drawn ---


def _name(letter: str, sup: str, j: int) -> str:
    """Return a unit's name, as ``explain`` writes it."""
    above = f"^{{({sup})}}" if sup else ""
    return f"${letter}_{{{j + 1}}}{above}$"


def _of_trace(trace: Trace, row: int, write: _Numbers) -> _Net:
    layers = [layer for layer in trace.layers if computes(layer)]
    first = trace.get(f"{trace.layers[0].name}.dx") if trace.layers else None
    x = trace["x"]
    columns = [_input_column(x.shape[1:], write, x[row], None if first is None else first[row])]
    back = "" if first is None else f"|dx| {write.norm(first)}"
    columns[0].norms = [(f"|x| {write.norm(x)}", back)]
    for layer, (letter, sup) in zip(layers, letters(layers), strict=True):
        arrays = {
            part: trace[f"{layer.name}.{part}"]
            for part in ("w", "b", "z", "y", "dw", "db", "dz", "dy")
            if f"{layer.name}.{part}" in trace
        }
        columns.append(_column(layer, letter, sup, arrays, row, write))
    t = trace["t"]
    net = _Net(trace.model, columns, traced=True)
    if t.ndim == 1:
        net.loss.append(f"t: class {int(t[row])}")
    else:
        net.targets = [f"t {write(value)}" for value in t[row]]
    loss = re.sub("^(softmax|sigmoid)_", "", trace.loss_name).replace("_", " ")
    net.loss += [f"E {write(trace.loss)}", loss, f"after the step {write(trace['loss.next'])}"]
    if trace.rows > 1:
        net.note = f"row {row + 1} of {trace.rows}"
    return net


def _of_model(model: Sequential, write: _Numbers) -> _Net:
    if not model.built:
        raise ValueError(
            f"nncore.plot.network: {model.label} is not built, so it has no weights to draw. Start "
            f"it with Input(shape), or call build((None, n_inputs)) or fit() first"
        )
    known = [(layer, _described(layer)) for layer in model.layers]
    layers = [(layer, info) for layer, info in known if computes(info)]
    names = letters([info for _, info in layers])
    shape = tuple(int(n or 0) for n in model.input_shape[1:])
    columns = [_input_column((math.prod(shape),), write)]
    for (layer, info), (letter, sup) in zip(layers, names, strict=True):
        arrays = {"w" if p.name == "kernel" else "b": p.value for p in layer.parameters}
        arrays["y"] = np.empty((0, math.prod(layer.output_shape)))
        columns.append(_column(info, letter, sup, arrays, None, write))
    return _Net(model.label, columns)


def _described(layer: Any) -> LayerTrace:
    """Return what a trace would say of a layer."""
    activation = getattr(layer, "activation", None)
    return LayerTrace(
        layer.name,
        type(layer).__name__,
        activation=activation.name if activation is not None else "linear",
        alpha=float(getattr(layer, "rate", 0.0)),
    )


def _input_column(
    shape: Sequence[int], write: _Numbers, x: Array | None = None, dx: Array | None = None
) -> _Column:
    n = math.prod(shape)
    units = [_name("x", "", j) for j in range(n)] if n <= MOST_UNITS_DRAWN else [""] * n
    shown = n if n <= MOST_UNITS_DRAWN else 0
    return _Column(
        "input", f"{n} number{'s' if n != 1 else ''}", units,
        [[] if x is None else [(write(x[j]), False)] for j in range(shown)],
        [[] for _ in range(shown)],
        [[] if dx is None else [(f"dx {write(dx[j])}", True)] for j in range(shown)],
        tuple(shape),
    )  # fmt: skip


def _column(
    layer: LayerTrace,
    letter: str,
    sup: str,
    arrays: Mapping[str, Array],
    row: int | None,
    write: _Numbers,
) -> _Column:
    n = arrays["y"].shape[1]
    shown = n if n <= MOST_UNITS_DRAWN else 0

    def lines(parts: Sequence[str], j: int, *, back: bool) -> list[tuple[str, bool]]:
        if row is None:
            return []
        return [(f"{p} {write(arrays[p][row, j])}", back) for p in parts if p in arrays]

    # Of a linear layer, z and y are one number.
    forward = ["y"] if layer.activation == "linear" else ["z", "y"]
    detail = layer.kind
    if layer.activation != "linear" and layer.kind.lower() != layer.activation.replace("_", ""):
        detail += f", {layer.activation}"
    if layer.kind == "Dropout":
        detail += f", {layer.alpha:g}"
    column = _Column(
        layer.name, detail,
        [_name(letter, sup, j) for j in range(shown)] or [""] * n,
        [lines(forward, j, back=False) for j in range(shown)],
        [_bias(arrays, j, write) for j in range(shown)],
        [lines(("dy", "dz"), j, back=True) for j in range(shown)],
        (n,),
        sum(arrays[p].size for p in ("w", "b") if p in arrays),
        w=arrays.get("w"),
        dw=arrays.get("dw"),
        mixes=layer.activation == "softmax",
    )  # fmt: skip
    for part in ("w", "b", "y") if row is not None else ("w", "b"):
        if part in arrays:
            back = f"|d{part}| {write.norm(arrays[f'd{part}'])}" if f"d{part}" in arrays else ""
            column.norms.append((f"|{part}| {write.norm(arrays[part])}", back))
    return column


def _bias(arrays: Mapping[str, Array], j: int, write: _Numbers) -> list[tuple[str, bool]]:
    found = []
    if "b" in arrays:
        found.append((f"b {write(arrays['b'][j])}", False))
    if "db" in arrays:
        found.append((f"db {write(arrays['db'][j])}", True))
    return found


# --- units and lines ---

#: Inches between columns and between the units of a column, a unit's radius; with numbers.
_ROOMY = (2.5, 1.62, 0.43)
_NARROW = (1.7, 0.7, 0.29)
_HEAD = 0.62  # over the units
_FOOT = 0.12  # under them, without the key
_MARGIN = 0.35
_LOSS = 2.1  # beside them
_LINE = 0.145  # one line of small text


def _draw_units(net: _Net, write: _Numbers, ax: Axes | None, *, numbers: bool) -> Axes:
    across, down, radius = _ROOMY if numbers else _NARROW
    if numbers:
        more = write.longer
        across, down, radius = across + 2.5 * more, down + 1.3 * more, radius + 0.65 * more
    # Over the topmost unit and under the lowest one there is room for their lines only.
    over = _room(lines for column in net.columns for lines in column.above) if numbers else 0.0
    under = _room(lines for column in net.columns for lines in column.below) if numbers else 0.0
    beside = _LOSS + write.longer if net.traced else 0.0
    needed = 2 * (_MARGIN + radius) + across * (len(net.columns) - 1) + beside
    width = max(needed, 5.2)
    inner = down * (net.widest - 1) + 2 * radius
    notes, ways = _notes(net, numbers=numbers), net.traced and numbers
    foot = _FOOT + 0.19 * (bool(notes) + ways)
    height = _HEAD + over + inner + under + foot
    sheet = Sheet(make_axes("network", ax, (width, height), bare=True), width, height)
    middle = foot + under + inner / 2
    left = _MARGIN + radius + (width - needed) / 2
    places = [
        [(left + across * i, middle + down * ((column.size - 1) / 2 - j))
         for j in range(column.size)]
        for i, column in enumerate(net.columns)
    ]  # fmt: skip
    largest = max((_largest(c.w) for c in net.columns if c.w is not None), default=0.0)
    for i, column in enumerate(net.columns[1:], 1):
        _draw_lines(sheet, column, places[i - 1], places[i], largest)
        if numbers and column.w is not None:
            _draw_weights(sheet, column, places[i - 1], places[i], radius, write)
    for column, spots in zip(net.columns, places, strict=True):
        x = spots[0][0]
        sheet.text(x, height - 0.2, plain(_cut(column.title, across)), 10, weight="bold")
        sheet.text(x, height - 0.4, column.detail, 8.5, color=sheet.colours.muted)
        for j, spot in enumerate(spots):
            _draw_unit(sheet, column, j, spot, radius, numbers=numbers)
    if net.traced:
        _draw_loss(sheet, net, places[-1], radius, middle, beside - 1.35)
    _draw_key(sheet, notes, width, ways=ways)
    return sheet.ax


def _room(stacks: Iterable[Sequence[Any]]) -> float:
    """Return the height of the tallest stack of lines."""
    n = max((len(lines) for lines in stacks), default=0)
    return 0.1 + _LINE * n if n else 0.05


def _largest(w: Array) -> float:
    """Return the largest size of a weight, of those that are finite."""
    sizes = np.abs(w[np.isfinite(w)], dtype=np.float64)
    return float(sizes.max(initial=0.0))


def _cut(words: str, inches: float) -> str:
    """Cut a name that is wider than its column."""
    n = max(4, int(inches * 10.5))
    return words if len(words) <= n else words[: n - 1] + "…"


def _draw_unit(
    sheet: Sheet,
    column: _Column,
    j: int,
    spot: tuple[float, float],
    radius: float,
    *,
    numbers: bool,
) -> None:
    from matplotlib.patches import Circle

    x, y = spot
    circle = Circle(spot, radius)
    circle.set_gid(f"nncore:{column.title}:{j}")
    sheet.patch(circle)
    inside = [words for words, _ in column.inside[j]]
    if not numbers:  # y alone, small
        inside = [words.removeprefix("y ") for words in inside[-1:]]
    step, sizes = (0.2, (11, 8.5)) if numbers else (0.21, (9.5, 7))
    for k, words in enumerate([column.units[j], *inside]):
        offset = step * (len(inside) / 2 - k)
        sheet.text(x, y + offset, words, sizes[k > 0], zorder=4)
    if not numbers:
        return
    for k, (words, back) in enumerate(column.below[j]):
        sheet.label(x, y - radius - 0.1 - _LINE * k, words, color=_way(sheet, back), zorder=4)
    for k, (words, back) in enumerate(reversed(column.above[j])):
        sheet.label(x, y + radius + 0.1 + _LINE * k, words, color=_way(sheet, back), zorder=4)


def _way(sheet: Sheet, back: bool) -> str:
    """Return the colour of the way forward or back."""
    return sheet.colours.backward if back else sheet.colours.ink


def _pairs(column: _Column, below: int) -> Iterator[tuple[int, int]]:
    """Yield which units a column's lines join."""
    if column.w is None and not column.mixes:
        yield from ((j, j) for j in range(column.size))
    else:
        yield from ((i, j) for i in range(below) for j in range(column.size))


_Places = Sequence[tuple[float, float]]


def _draw_lines(
    sheet: Sheet, column: _Column, below: _Places, here: _Places, largest: float
) -> None:
    from matplotlib.collections import LineCollection

    segments, widths, styles = [], [], []
    for i, j in _pairs(column, len(below)):
        segments.append([below[i], here[j]])
        w = 0.0 if column.w is None else float(column.w[i, j])
        share = abs(w) / largest if largest and math.isfinite(w) else 0.0
        widths.append((0.5 + 2.3 * share) * sheet.scale)
        styles.append("--" if w < 0 else "-")
    lines = LineCollection(
        segments, linewidths=widths, linestyles=styles, colors=sheet.colours.faint, zorder=1
    )
    lines.set_gid(f"nncore:{column.title}:w")
    sheet.ax.add_collection(lines, autolim=False)


def _draw_weights(
    sheet: Sheet,
    column: _Column,
    below: _Places,
    here: _Places,
    radius: float,
    write: _Numbers,
) -> None:
    """Write each weight on its line, its gradient under it, where they are in nobody's way."""
    assert column.w is not None
    taken: list[tuple[float, float]] = []
    label = (0.66 + write.longer, 0.36)
    for i, j in _pairs(column, len(below)):
        (x0, y0), (x1, y1) = below[i], here[j]
        spots = _spots(below[i], here[j], radius + (0.8 + write.longer) / 2)
        best = max(spots, key=lambda spot: _distance(spot, taken, label))
        taken.append(best)
        angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
        options: dict[str, Any] = {"rotation": angle, "rotation_mode": "anchor", "zorder": 3}
        nx, ny = -math.sin(math.radians(angle)), math.cos(math.radians(angle))
        off = 0.0 if column.dw is None else 0.098
        sheet.label(best[0] + nx * off, best[1] + ny * off, write(column.w[i, j]), **options)
        if column.dw is not None:
            sheet.label(
                best[0] - nx * off, best[1] - ny * off, write(column.dw[i, j]),
                color=sheet.colours.backward, **options,
            )  # fmt: skip


def _spots(
    a: tuple[float, float], b: tuple[float, float], clear: float
) -> list[tuple[float, float]]:
    """Return places on a line, nearest to its first third first, so far from its ends."""
    (x0, y0), (x1, y1) = a, b
    length = math.hypot(x1 - x0, y1 - y0)
    edge = min(clear / length, 0.5)
    found = [edge + (1 - 2 * edge) * k / 24 for k in range(25)]
    found.sort(key=lambda f: abs(f - 0.33))
    return [(x0 + f * (x1 - x0), y0 + f * (y1 - y0)) for f in found]


def _distance(
    spot: tuple[float, float], taken: Sequence[tuple[float, float]], label: tuple[float, float]
) -> float:
    """Return how far a place is from the nearest taken one, in sizes of a label; enough is 1."""
    x, y = spot
    wide, high = label
    nearest = min((max(abs(x - u) / wide, abs(y - v) / high) for u, v in taken), default=1.0)
    return min(nearest, 1.0)


def _draw_loss(
    sheet: Sheet, net: _Net, last: _Places, radius: float, middle: float, beside: float
) -> None:
    from matplotlib.patches import FancyBboxPatch

    x = last[0][0]
    left, wide = x + radius + beside, 1.35
    lines = [line for words in net.loss for line in textwrap.wrap(words, 22)]
    height = 0.2 + 0.19 * len(lines)
    for _, y in last:
        sheet.ax.plot(
            [x, left], [y, middle], color=sheet.colours.faint, linewidth=0.8 * sheet.scale, zorder=1
        )
    shape = FancyBboxPatch(
        (left, middle - height / 2), wide, height, boxstyle="round,pad=0,rounding_size=0.06"
    )
    shape.set_gid("nncore:loss")
    sheet.patch(shape, facecolor=sheet.colours.paper)
    for k, words in enumerate(lines):
        y = middle + 0.19 * ((len(lines) - 1) / 2 - k)
        if words.startswith("E "):
            sheet.text(left + wide / 2, y, words, 10, zorder=4, weight="bold")
        else:
            sheet.text(left + wide / 2, y, words, 7.5, zorder=4)
    for (_, y), words in zip(last, net.targets, strict=False):
        sheet.label(x + radius + 0.12, y, words, zorder=4, ha="left")


def _notes(net: _Net, *, numbers: bool) -> str:
    """Return what is to be known of the drawing."""
    notes = [net.note] if net.note else []
    if net.note and numbers:
        notes.append("dw, db and E: of all rows")
    if any(column.w is not None and (column.w < 0).any() for column in net.columns):
        notes.append("dashed: negative weight")
    if not numbers:
        what = "y in the units; " if net.traced else ""
        notes.append(f"{what}too large for the numbers of its {net.n_weights} weights")
    return "; ".join(notes)


def _draw_key(sheet: Sheet, notes: str, width: float, *, ways: bool) -> None:
    """Say under the drawing what is what."""
    y = 0.17
    if notes:
        sheet.text(width / 2, y, notes, color=sheet.colours.muted)
        y += 0.19
    if ways:
        sheet.text(width / 2 - 0.75, y, "way forward", ha="right")
        backward = sheet.colours.backward
        sheet.text(width / 2 - 0.6, y, "gradients, on the way back", ha="left", color=backward)


# --- blocks ---

_BLOCK = (1.85, 0.86)  # inches: width, height without norms
_GAP = 0.42


def _draw_blocks(net: _Net, ax: Axes | None) -> Axes:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    block, gap = _BLOCK[0], _GAP
    n_norms = max(len(column.norms) for column in net.columns)
    high = _BLOCK[1] + 0.17 * n_norms
    across = min(BLOCKS_A_ROW, len(net.columns))
    rows = -(-len(net.columns) // across)
    width = max(2 * _MARGIN + across * block + (across - 1) * gap, 4.6)
    height = 0.55 + rows * high + (rows - 1) * gap + _MARGIN + (0.3 if net.traced else 0.0)
    sheet = Sheet(make_axes("network", ax, (width, height), bare=True), width, height)
    colours = sheet.colours
    sizes = "-".join(str(math.prod(column.shape)) for column in net.columns)
    if len(sizes) > 40:
        sizes = f"{len(net.columns) - 1} layers"
    sheet.text(
        width / 2, height - 0.27,
        f"{sizes}, {net.n_parameters:,} parameters: too large to draw unit by unit, so each layer "
        f"is a block",
        _fitting(width, 90), color=colours.muted,
    )  # fmt: skip
    left = (width - across * block - (across - 1) * gap) / 2
    ends: list[tuple[float, float]] = []
    for k, column in enumerate(net.columns):
        row, place = divmod(k, across)
        x = left + place * (block + gap)
        y = height - 0.55 - row * (high + gap) - high
        shape = FancyBboxPatch((x, y), block, high, boxstyle="round,pad=0,rounding_size=0.06")
        shape.set_gid(f"nncore:{column.title}")
        sheet.patch(shape)
        _write_block(sheet, column, x + block / 2, y + high)
        ends.append((x, y + high / 2))
    for k, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(ends)):
        if (k + 1) % across:
            path: dict[str, Any] = {"posA": (x0 + block, y0), "posB": (x1, y1)}
        else:
            turn = y0 - high / 2 - gap / 2
            path = {"path": _elbow((x0 + block / 2, y0 - high / 2), turn, (x1 + block / 2,
                    y1 + high / 2))}  # fmt: skip
        arrow = FancyArrowPatch(
            **path, arrowstyle="-|>", mutation_scale=9 * sheet.scale, shrinkA=0, shrinkB=0
        )
        sheet.patch(arrow, facecolor=colours.faint, edgecolor=colours.faint, zorder=1)
    if net.traced:
        _write_loss(sheet, net, width)
    return sheet.ax


def _elbow(start: tuple[float, float], turn: float, end: tuple[float, float]) -> Any:
    from matplotlib.path import Path

    return Path([start, (start[0], turn), (end[0], turn), end])


def _fitting(width: float, characters: int) -> float:
    """Return a size at which so many characters fit."""
    return min(9.0, width * 72 / characters / 0.56)


def _write_block(sheet: Sheet, column: _Column, x: float, top: float) -> None:
    colours = sheet.colours
    shape = " × ".join(f"{n:,}" for n in column.shape)
    sheet.text(x, top - 0.16, plain(_cut(column.title, _BLOCK[0])), 9.5, weight="bold", zorder=4)
    detail = column.detail if column.title != "input" else ""
    lines = [detail, f"{shape} unit{'s' if column.size != 1 else ''}" if detail else shape]
    if column.n_parameters:
        lines.append(f"{column.n_parameters:,} parameters")
    y = top - 0.34
    for words in filter(None, lines):
        sheet.text(x, y, words, 8, color=colours.muted, zorder=4)
        y -= 0.165
    y -= 0.03
    for forward, back in column.norms:
        if back:
            sheet.text(x - 0.06, y, forward, 8, ha="right", zorder=4)
            sheet.text(x + 0.06, y, back, 8, ha="left", color=colours.backward, zorder=4)
        else:
            sheet.text(x, y, forward, 8, zorder=4)
        y -= 0.165


def _write_loss(sheet: Sheet, net: _Net, width: float) -> None:
    words = [w for w in net.loss if not w.startswith("t: ")]
    words = [f"{words[0]} ({words[1]})", *words[2:], "|w|: norm of w, of all rows"]
    sheet.text(width / 2, 0.24, "; ".join(words), 8.5)
