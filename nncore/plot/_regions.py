"""What a model of two inputs says all over the plane."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _names
from nncore._arrays import real_array
from nncore.models import Sequential
from nncore.plot._canvas import Palette, make_axes, need_matplotlib, palette, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["decision_regions"]

Array = NDArray[Any]

_WHERE = "nncore.plot.decision_regions"
KINDS = ("binary", "classes", "regression")
_MARKERS = "osD^vPX*"
_LARGEST = 2000


def decision_regions(
    model: Sequential,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    kind: str | None = None,
    output: int | None = None,
    resolution: int = 200,
    margin: float = 0.1,
    ax: Axes | None = None,
) -> Axes:
    """Draw what a model of two inputs answers all over the plane, and the rows on it.

    Parameters
    ----------
    model : Sequential
        Built, with two inputs.
    x : array-like, (n, 2)
        Rows; they decide which part of the plane is drawn.
    y : array-like, optional
        Their targets: 0 and 1, class numbers or one-hot rows, or numbers.
    kind : {"binary", "classes", "regression"}, optional
        How to read the output.  Default, from the last activation and the loss: *binary* for one
        sigmoid output (its probability, with the line at one half), *classes* for softmax or a
        categorical cross-entropy (the largest output's class, paler where it is less sure),
        *regression* for one other output (its value, with lines of equal value).
    output : int, optional
        Which output to draw, where there are several that are no classes.
    resolution : int, default 200
        Points on each axis.
    margin : float, default 0.1
        What is added around the rows, as a share of their range.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        For a model that is not built or has not two inputs, rows of another width, targets that do
        not fit, an output that the model does not have.
    """
    need_matplotlib("decision_regions")
    resolution = _resolution(resolution)
    margin = _names.check_real(_WHERE, "margin", margin, minimum=0.0)
    _check_model(model)
    rows = _check_rows(x)
    n_outputs = math.prod(_row_shape(model.output_shape))
    kind, output = _reading(model, n_outputs, kind, output)
    n_classes = {"binary": 2, "classes": n_outputs}.get(kind, 0)
    t = None if y is None else _check_targets(y, len(rows), n_classes, n_outputs, output)
    (left, right), (bottom, top) = (_range(rows[:, i], margin) for i in (0, 1))
    across = np.linspace(left, right, resolution)
    up = np.linspace(bottom, top, resolution)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    answers = model.predict(grid.reshape(-1, *_row_shape(model.input_shape)), verbose=0)
    answers = answers.reshape(resolution, resolution, n_outputs).astype(np.float64)
    if not np.isfinite(answers).any():
        raise ValueError(
            f"{_WHERE}: {model.label} answers NaN or infinity everywhere: its weights have diverged"
        )
    ax = make_axes("decision_regions", ax, (5.6, 4.4))
    plane = _Plane(ax, across, up)
    if kind == "classes":
        plane.classes(_probabilities(model, answers))
    elif kind == "binary":
        plane.binary(_probabilities(model, answers[..., output : output + 1])[..., 0])
    else:
        plane.regression(answers[..., output], t)
    if kind == "regression":
        plane.points(rows, t)
    else:
        plane.points_of_classes(rows, t, n_classes)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")
    return ax


# --- what came ---


def _resolution(value: object) -> int:
    number = _names.check_integer(_WHERE, "resolution", value, minimum=2)
    if number > _LARGEST:
        raise ValueError(
            f"{_WHERE}: resolution must be at most {_LARGEST}; received resolution={number}"
        )
    return number


def _check_model(model: object) -> None:
    if not isinstance(model, Sequential):
        raise TypeError(f"{_WHERE}: model must be a model; received {type(model).__name__}")
    if not model.built:
        raise ValueError(
            f"{_WHERE}: {model.label} is not built, so it cannot answer. Train it with fit() first"
        )
    n = math.prod(_row_shape(model.input_shape))
    if n != 2:
        raise ValueError(
            f"{_WHERE}: a plane has two axes, so the model must have 2 inputs; {model.label} has "
            f"{n}"
        )


def _row_shape(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """Return a shape without the batch's axis."""
    return tuple(int(n or 0) for n in shape[1:])


def _check_rows(x: ArrayLike) -> Array:
    rows = real_array(_WHERE, "x", x, "float64")
    if rows.ndim > 2 and rows[0:1].size == 2:
        rows = rows.reshape(len(rows), 2)
    if rows.ndim != 2 or rows.shape[1] != 2 or not len(rows):
        raise ValueError(
            f"{_WHERE}: x must hold rows of 2 numbers, shape (n, 2); received shape {rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise ValueError(f"{_WHERE}: x must be finite; received NaN or infinity")
    return rows


def _reading(
    model: Sequential, n_outputs: int, kind: str | None, output: int | None
) -> tuple[str, int]:
    """Return how the output is to be read, and which one."""
    if kind is not None:
        kind = _names.check_choice(_WHERE, "kind", kind, KINDS)
    if output is not None:
        output = _names.check_integer(_WHERE, "output", output, minimum=0)
        if output >= n_outputs:
            raise ValueError(
                f"{_WHERE}: {model.label} has {n_outputs} outputs, so output is from 0 to "
                f"{n_outputs - 1}; received output={output}"
            )
        if kind == "classes":
            raise ValueError(
                f'{_WHERE}: output={output} draws one output, kind="classes" compares all; give '
                f"one of them"
            )
    last, loss = _last_activation(model), getattr(model.loss, "name", "")
    if kind is None:
        if n_outputs > 1 and output is None and ("softmax" in last or "categorical" in loss):
            kind = "classes"
        elif "sigmoid" in last or loss == "binary_crossentropy":
            kind = "binary"
        else:
            kind = "regression"
    if kind == "classes" and n_outputs == 1:
        raise ValueError(
            f'{_WHERE}: {model.label} has one output; kind="classes" needs one for each class'
        )
    if kind != "classes" and n_outputs > 1 and output is None:
        raise ValueError(
            f"{_WHERE}: {model.label} has {n_outputs} outputs. Choose one with output=0, or give "
            f'kind="classes" if the largest tells the class'
        )
    return kind, output or 0


def _last_activation(model: Sequential) -> str:
    for layer in reversed(model.layers):
        activation = getattr(layer, "activation", None)
        if activation is not None:
            return str(activation.name)
    return "linear"


def _probabilities(model: Sequential, answers: Array) -> Array:
    """Return answers as probabilities, where the model leaves that to the loss."""
    from nncore import kernels

    if not getattr(model.loss, "from_logits", False):
        return answers
    return kernels.activate("sigmoid" if answers.shape[-1] == 1 else "softmax", answers)


def _check_targets(y: ArrayLike, n_rows: int, n_classes: int, n_outputs: int, output: int) -> Array:
    """Return one target a row: a class number, or a number."""
    t = real_array(_WHERE, "y", y, "float64")
    if t.ndim == 0 or len(t) != n_rows:
        raise ValueError(
            f"{_WHERE}: y must have a target for each of the {n_rows} rows; received shape "
            f"{t.shape}"
        )
    t = t.reshape(n_rows, -1)
    if n_outputs > 1 and t.shape[1] == n_outputs:
        t = t.argmax(axis=1) if n_classes == n_outputs else t[:, output]
    elif t.shape[1] == 1:
        t = t[:, 0]
    else:
        raise ValueError(
            f"{_WHERE}: y must have one target a row, or {n_outputs} as the model has outputs; "
            f"received shape {np.shape(y)}"
        )
    if n_classes and not np.isin(t, np.arange(n_classes)).all():
        raise ValueError(
            f"{_WHERE}: y must hold class numbers from 0 to {n_classes - 1}; received "
            f"{t[~np.isin(t, np.arange(n_classes))][0]:g}"
        )
    return t


def _range(values: Array, margin: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


# --- drawing ---


class _Plane:
    """Axes, and the points of a grid on them."""

    def __init__(self, ax: Axes, across: Array, up: Array) -> None:
        self.ax = ax
        self.across = across
        self.up = up
        self.colours: Palette = palette(ax)

    def classes(self, p: Array) -> None:
        """Colour each point like its class, paler where another is nearly as probable."""
        from matplotlib.colors import to_rgb

        n = p.shape[-1]
        winner = p.argmax(axis=-1)
        colours = np.array([to_rgb(c) for c in shades(self.colours, n)])
        total = np.where(p.sum(axis=-1) == 0, 1, p.sum(axis=-1))
        share = np.clip(p.max(axis=-1) / total, 1 / n, 1)
        strength = 0.12 + 0.38 * (share - 1 / n) / (1 - 1 / n)
        self._image(colours[winner], strength, p)
        for k in range(n):
            others = np.delete(p, k, axis=-1).max(axis=-1)
            self._line(p[..., k] - others, 0.0)

    def binary(self, p: Array) -> None:
        """Colour each point by its probability; draw the line at one half."""
        from matplotlib.colors import to_rgb

        colours = np.array([to_rgb(c) for c in self.colours.series[:2]])
        winner = (p > 0.5).astype(int)
        strength = np.clip(np.abs(p - 0.5), 0, 0.5)
        self._image(colours[winner], 0.06 + 0.88 * strength, p)
        self._line(p, 0.5)

    def regression(self, values: Array, t: Array | None) -> None:
        """Colour each point by its value; draw lines of equal value with their numbers."""
        from matplotlib.ticker import MaxNLocator

        finite = values[np.isfinite(values)]
        low, high = finite.min(), finite.max()
        if t is not None and np.isfinite(t).any():
            low, high = min(low, np.nanmin(t)), max(high, np.nanmax(t))
        self.levels = MaxNLocator(10).tick_values(low, high)
        shown = np.ma.masked_invalid(values)
        self.ax.contourf(self.across, self.up, shown, levels=self.levels, cmap="cividis", zorder=0)
        crossed = [n for n in self.levels if finite.min() < n < finite.max()]
        if crossed:
            # White on the scale's dark half, black on its light one.
            half = (self.levels[0] + self.levels[-1]) / 2
            lines = self.ax.contour(
                self.across, self.up, shown, levels=crossed, linewidths=0.8, linestyles="solid",
                colors=["white" if level < half else "black" for level in crossed], zorder=1,
            )  # fmt: skip
            self.ax.clabel(lines, fontsize=8)

    def points(self, rows: Array, t: Array | None) -> None:
        """Draw rows in the colours of their numbers."""
        look: dict[str, Any] = {"color": "black"}
        if t is not None:
            look = {
                "c": t, "cmap": "cividis", "vmin": self.levels[0], "vmax": self.levels[-1],
            }  # fmt: skip
        self.ax.scatter(
            rows[:, 0], rows[:, 1], s=_dot(len(rows)), edgecolors="white", linewidths=0.8,
            zorder=3, **look,
        )  # fmt: skip

    def points_of_classes(self, rows: Array, t: Array | None, n_classes: int) -> None:
        """Draw rows, a colour and a mark for each class."""
        size = _dot(len(rows))
        if t is None:
            self.ax.scatter(
                rows[:, 0], rows[:, 1], s=size, color=self.colours.ink,
                edgecolors=self.colours.paper, linewidths=0.8, zorder=3,
            )  # fmt: skip
            return
        for k, colour in enumerate(shades(self.colours, n_classes)):
            own = rows[t == k]
            if len(own):
                self.ax.scatter(
                    own[:, 0], own[:, 1], s=size, color=[colour], marker=_MARKERS[k % 8],
                    edgecolors=self.colours.paper, linewidths=0.8, zorder=3, label=f"class {k}",
                )  # fmt: skip
        self.ax.legend(framealpha=0.85, fontsize="small")

    def _image(self, colours: Array, strength: Array, p: Array) -> None:
        from matplotlib.colors import to_rgb

        paper = np.array(to_rgb(self.colours.paper))
        image = paper + (colours - paper) * strength[..., None]
        known: Array = np.isfinite(p.reshape(*strength.shape, -1).sum(axis=-1))
        image = np.concatenate([np.where(known[..., None], image, paper), known[..., None]], axis=2)
        # Pixels have their middle at the points of the grid.
        half_x = (self.across[1] - self.across[0]) / 2
        half_y = (self.up[1] - self.up[0]) / 2
        extent = (
            self.across[0] - half_x, self.across[-1] + half_x,
            self.up[0] - half_y, self.up[-1] + half_y,
        )  # fmt: skip
        self.ax.imshow(
            image, extent=extent, origin="lower", aspect="auto", interpolation="bilinear", zorder=0
        )

    def _line(self, values: Array, level: float) -> None:
        """Draw where the values cross a level, if they do."""
        finite = values[np.isfinite(values)]
        if finite.size and finite.min() < level < finite.max():
            self.ax.contour(
                self.across, self.up, np.ma.masked_invalid(values), levels=[level],
                colors=[self.colours.ink], linewidths=1.2, zorder=2,
            )  # fmt: skip


def _dot(n_rows: int) -> float:
    """Return the area of a mark: large for few rows, small for many."""
    return float(np.clip(3000 / n_rows, 10, 60))
