"""Curves: of a training, of a statistic per layer, of an activation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nncore import _names, activations, kernels
from nncore._arrays import real_array
from nncore.plot._canvas import make_axes, mixed, need_matplotlib, palette, plain, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["activation", "curves", "history"]

Array = NDArray[Any]

#: Points of an activation's curve.
_POINTS = 2001
_LARGEST = 1e300  # a range of larger numbers overflows


# --- a training ---


def history(
    history: Any,
    metrics: str | Sequence[str] | None = None,
    *,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw what ``fit`` returned: one colour a metric, training solid, validation dashed.

    Parameters
    ----------
    history : History or mapping of str to sequence
        What ``fit`` returned, or its ``history``.
    metrics : str or sequence of str, optional
        Which to draw, each with its ``val_`` twin if there is one; ``"val_loss"`` alone is that
        alone.  Default: the loss and the metrics of ``compile``, that is all but
        ``learning_rate`` and what belongs to one layer (a ``/`` or ``.`` in its name).
    log : bool, default False
        A logarithmic axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        A name that is not in the history: the error lists those that are.  A history without
        any epoch.

    Notes
    -----
    A History knows in which epochs it validated (``validation_freq``); of a dict, a list that is
    shorter than the others is taken to be of every second, third, ... epoch.
    """
    need_matplotlib("history")
    where = "nncore.plot.history"
    values, epochs = _logs(history)
    chosen = _chosen(values, metrics)
    log = _names.check_bool(where, "log", log)
    longest = max(map(len, values.values()))
    lines = {
        name: (_epochs(epochs, name, len(values[name]), longest),
               _series(where, name, values[name], log=log))
        for group in chosen.values()
        for name in group
    }  # fmt: skip
    ax = make_axes("history", ax, (6.4, 4.0))
    colours = shades(palette(ax), len(chosen))
    for (_metric, group), colour in zip(chosen.items(), colours, strict=True):
        for name in group:
            x, y = lines[name]
            validation = name.startswith("val_")
            ax.plot(
                x, y, color=colour, label=plain(name), linestyle="--" if validation else "-",
                linewidth=1.8, **_dots(y),
            )  # fmt: skip
    _finish(ax, "epoch", next(iter(chosen)) if len(chosen) == 1 else None, log=log)
    return ax


def _logs(history: Any) -> tuple[dict[str, Sequence[Any]], Mapping[str, Sequence[int]]]:
    """Return the values by name, and the epochs (from 1) of those that are not of every epoch."""
    values = history if isinstance(history, Mapping) else getattr(history, "history", None)
    if not isinstance(values, Mapping):
        raise TypeError(
            f"nncore.plot.history: history must be what fit returned, or a dict of lists such as "
            f"its .history; received {type(history).__name__}"
        )
    if not any(len(y) for y in values.values()):
        raise ValueError("nncore.plot.history: the history is empty: no epoch has been trained")
    return {name: y for name, y in values.items() if len(y)}, getattr(history, "epochs_of", {})


def _chosen(
    values: Mapping[str, Sequence[Any]], metrics: str | Sequence[str] | None
) -> dict[str, list[str]]:
    """Return the names to draw, those of one colour together under the metric's name."""
    if metrics is None:
        wanted = [
            name for name in values
            if not {"/", "."} & set(name) and name.removeprefix("val_") != "learning_rate"
        ] or list(values)  # fmt: skip
        wanted.sort(key=lambda name: name.removeprefix("val_") != "loss")  # it comes first
    else:
        wanted = [metrics] if isinstance(metrics, str) else list(metrics)
        if not wanted:
            raise ValueError("nncore.plot.history: metrics is empty; leave it None to draw all")
    groups: dict[str, list[str]] = {}
    for name in wanted:
        if name not in values:
            raise ValueError(
                f"nncore.plot.history: {_names.unknown_name('metric', name, map(str, values))}"
            )
        group = groups.setdefault(name.removeprefix("val_"), [])
        for twin in (name, f"val_{name}"):
            if twin in values and twin not in group:
                group.append(twin)
    return groups


def _epochs(epochs: Mapping[str, Sequence[int]], name: str, n: int, longest: int) -> Array:
    """Return the epochs, from 1, of n values; those of a plain dict are spread evenly."""
    known = np.asarray(epochs.get(name, ()))
    if len(known) == n and np.all(np.diff(known) > 0):  # not after a second fit from epoch 0
        return known + 1
    return np.arange(1, n + 1) * (longest // n)


# --- a statistic per layer ---


def curves(
    series: Mapping[str, ArrayLike],
    *,
    x: ArrayLike | None = None,
    xlabel: str = "step",
    ylabel: str | None = None,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw one line a layer: a number of each layer over the training.

    Parameters
    ----------
    series : mapping of str to sequence of float
        By the layer's name, in the network's order: gradient norms, shares of dead units.
    x : sequence of float, optional
        Where the values stand; default 1, 2, 3, ...
    xlabel : str, default "step"
        Name of the horizontal axis.
    ylabel : str, optional
        Name of the vertical axis.
    log : bool, default False
        A logarithmic axis; values that are not positive leave a gap.
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
        For anything but a mapping of one-dimensional sequences, or ``x`` of another length.
    """
    need_matplotlib("curves")
    where = "nncore.plot.curves"
    if not isinstance(series, Mapping):
        raise TypeError(
            f"{where}: series must be a mapping of names to sequences, such as "
            f'{{"hidden": [0.3, 0.2]}}; received {type(series).__name__}'
        )
    if not series:
        raise ValueError(f"{where}: series is empty")
    log = _names.check_bool(where, "log", log)
    lines = {str(name): _series(where, str(name), y, log=log) for name, y in series.items()}
    places = None if x is None else real_array(where, "x", x, "float64")
    for name, y in lines.items():
        if places is not None and places.shape != y.shape:
            raise ValueError(
                f'{where}: x has shape {places.shape}, but the series "{name}" has {len(y)} values'
            )
    ax = make_axes("curves", ax, (6.4, 4.0))
    for (name, y), colour in zip(lines.items(), shades(palette(ax), len(lines)), strict=True):
        at = np.arange(1, len(y) + 1) if places is None else places
        ax.plot(at, y, color=colour, label=plain(name), linewidth=1.6, **_dots(y))
    _finish(ax, xlabel, ylabel, log=log, whole=places is None)
    return ax


def _series(where: str, name: str, values: Any, *, log: bool) -> Array:
    """Return values to draw: floats, with gaps where the axis has no place for them."""
    y = real_array(where, f'the series "{name}"', values, "float64").copy()
    if y.ndim != 1:
        raise ValueError(
            f'{where}: the series "{name}" must have one dimension; received shape {y.shape}'
        )
    y[~np.isfinite(y)] = np.nan
    if log:
        y[y <= 0] = np.nan
        if not np.isfinite(y).any():
            raise ValueError(
                f'{where}: log=True needs positive numbers; the series "{name}" has none'
            )
    return y


def _dots(y: Array) -> dict[str, Any]:
    """Return how to show values that no line joins: as dots."""
    there = np.isfinite(y)
    alone = there.copy()
    alone[1:] &= ~there[:-1]
    alone[:-1] &= ~there[1:]
    dots = np.flatnonzero(alone)
    return {"marker": "o", "markersize": 5, "markevery": list(dots)} if len(dots) else {}


def _finish(ax: Axes, xlabel: str, ylabel: str | None, *, log: bool, whole: bool = True) -> None:
    """Label the axes, add a quiet grid and the legend."""
    from matplotlib.ticker import MaxNLocator

    if log:
        ax.set_yscale("log")
    if whole:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel(xlabel)
    if ylabel is not None:
        ax.set_ylabel(ylabel)
    _grid(ax)
    _legend(ax)


def _grid(ax: Axes) -> None:
    ax.grid(True, color=palette(ax).faint, alpha=0.35, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _legend(ax: Axes) -> None:
    """Name the lines: inside the axes; many of them in columns beside it."""
    n = len(ax.get_legend_handles_labels()[1])
    if n > 10:
        ax.legend(
            loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small",
            ncols=-(-n // 18),
        )  # fmt: skip
    elif n:
        ax.legend(frameon=False)


# --- an activation ---


def activation(
    activation: Any,
    *,
    x: Iterable[float] = (-5, 5),
    derivative: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw an activation and its derivative, as the compiled kernels compute them in float64.

    Parameters
    ----------
    activation : str, function or Activation
        What ``Dense(activation=...)`` takes.
    x : (float, float), default (-5, 5)
        From where to where.
    derivative : bool, default True
        Whether to draw the derivative too, dashed in a darker shade.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.  Drawing on the axes of another activation
        takes the next colour.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        For an unknown activation (the error lists the known ones) or another range.

    Notes
    -----
    ``softmax`` belongs to a row: drawn is the first output of softmax(z, 0), and its derivative
    by z.  Where a derivative jumps (``relu`` at 0), its line is broken.
    """
    need_matplotlib("activation")
    where = "nncore.plot.activation"
    found = activations.get(activation)
    low, high = _range(where, x)
    derivative = _names.check_bool(where, "derivative", derivative)
    z = np.linspace(low, high, _POINTS)
    y = _value(found, z)
    title = found.name
    if "=" in repr(found):
        title = repr(found).removeprefix("<activation ").removesuffix(">")
    ax = make_axes("activation", ax, (5.6, 3.8))
    series = palette(ax).series
    used = sum(str(line.get_gid()).startswith("nncore:activation") for line in ax.lines)
    colour = series[used % len(series)]
    if not used:
        ax.axhline(0, color=palette(ax).muted, linewidth=0.7, zorder=0.5)
        ax.axvline(0, color=palette(ax).muted, linewidth=0.7, zorder=0.5)
        ax.set_xlim(low, high)
    (line,) = ax.plot(z, y, color=colour, linewidth=2.4, label=title)
    line.set_gid(f"nncore:activation:{title}")
    if derivative:
        at, slope = _broken(found, z)
        (line,) = ax.plot(
            at,
            slope,
            color=mixed(colour, palette(ax).ink, 0.45),
            linewidth=1.5,
            linestyle="--",
            label=f"{title}: dy/dz",
        )
        line.set_gid(f"nncore:derivative:{title}")
    _finish(ax, "z", "y", log=False, whole=False)
    return ax


def _range(where: str, x: Any) -> tuple[float, float]:
    try:
        low, high = x
    except (TypeError, ValueError):
        raise TypeError(
            f"{where}: x must be a pair of numbers, from and to, such as (-5, 5); received x={x!r}"
        ) from None
    low, high = (
        _names.check_real(where, "x", bound, minimum=-1e6, maximum=1e6) for bound in (low, high)
    )
    if low >= high:
        raise ValueError(f"{where}: x must be from a smaller to a larger number; received x={x!r}")
    return low, high


def _value(found: activations.Activation, z: Array) -> Array:
    """Return the activation; a gap where it is larger than can be drawn."""
    if found.name == "softmax":
        y = kernels.activate("softmax", np.stack([z, np.zeros_like(z)], axis=1))[:, 0]
    else:
        y = kernels.activate(found.name, z, found.alpha)
    return np.where(np.abs(y) < _LARGEST, y, np.nan)


def _slope(found: activations.Activation, z: Array) -> Array:
    """Return the derivative; a gap where it is larger than can be drawn."""
    if found.name == "softmax":
        y = kernels.activate("softmax", np.stack([z, np.zeros_like(z)], axis=1))
        dy = np.zeros_like(y)
        dy[:, 0] = 1
        slope = kernels.activate_backward("softmax", dy, y)[:, 0]
    else:
        slope = kernels.activate_derivative(found.name, z, found.alpha)
    return np.where(np.abs(slope) < _LARGEST, slope, np.nan)


def _broken(found: activations.Activation, z: Array) -> tuple[Array, Array]:
    """Return places and derivatives, with a gap in the line at each jump.

    A jump is a difference that stays when the interval is halved thirty times.
    """
    slope = _slope(found, z)
    height = np.nanmax(slope) - np.nanmin(slope)
    left, right = z[:-1].copy(), z[1:].copy()
    for _ in range(30):
        middle = (left + right) / 2
        at = [_slope(found, part) for part in (left, middle, right)]
        in_left = np.abs(at[1] - at[0]) > np.abs(at[2] - at[1])
        left, right = np.where(in_left, left, middle), np.where(in_left, middle, right)
    jump = np.abs(_slope(found, right) - _slope(found, left)) > 0.01 * height
    after = np.flatnonzero(jump) + 1
    places = np.insert(z, np.repeat(after, 3), np.stack([left, right, right], 1)[jump].ravel())
    values = _slope(found, places)
    # left, gap, right
    inserted = after + 3 * np.arange(len(after)) + 1
    values[inserted] = np.nan
    return places, values
