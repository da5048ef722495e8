"""Histograms of weights, gradients and activations, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import _names
from nncore._arrays import real_array
from nncore.explain import computes
from nncore.models import Sequential
from nncore.plot._canvas import figure_of, need_matplotlib, palette, plain
from nncore.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["histograms"]

Array = NDArray[Any]

_WHERE = "nncore.plot.histograms"
#: What can be shown, and what a trace calls it.
WHAT = {"weights": "w", "gradients": "dw", "activations": "y"}
#: Layers one under the other; of more, the first and the last are shown.
MOST_LAYERS = 20


def histograms(
    source: Any,
    what: str | Sequence[str] | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    step: int = -1,
    bins: int = 50,
    share: bool = True,
    log: bool = False,
    fig: Figure | None = None,
) -> Figure:
    """Draw how the numbers of each layer are spread: a row a layer, a column for each of ``what``.

    Parameters
    ----------
    source : Sequential, Trace, Record, or mapping
        A model: its weights.  A trace: weights, gradients and activations of the step.  A record:
        what it has of them, at one of its steps.  A mapping of layer names to arrays: those, as
        they are; or one of ``"weights"``, ``"gradients"``, ``"activations"`` to such mappings.
    what : str or sequence of str, optional
        Of ``"weights"`` (kernels), ``"gradients"`` (of kernels), ``"activations"`` (a layer's
        ``y``); default: all that the source has.  For a mapping of arrays, what they are.
    layers : str or sequence of str, optional
        Names of the layers to show; default: all that have numbers.  Of more than 20, the
        first and the last ten.
    step : int, default -1
        Which of a record's recorded steps; default the last.
    bins : int, default 50
        Bars of each histogram.
    share : bool, default True
        Whether all layers of a column have one axis, so that a vanishing gradient is seen.
    log : bool, default False
        A logarithmic count.
    fig : matplotlib.figure.Figure, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        Each histogram says the standard deviation of its numbers, the share of exact zeros if
        there are many, and how many are NaN or infinite and so not drawn.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        For another source, a model that is not built, or names that it does not have.
    """
    need_matplotlib("histograms")
    bins = _names.check_integer(_WHERE, "bins", bins, minimum=1)
    share = _names.check_bool(_WHERE, "share", share)
    log = _names.check_bool(_WHERE, "log", log)
    table = _table(source, what, step)
    names = _layers(table, layers)
    left_out = max(0, len(names) - MOST_LAYERS)
    if left_out:
        names = [*names[: MOST_LAYERS // 2], *names[-MOST_LAYERS // 2 :]]
    height = 0.7 + 1.15 * len(names)
    fig = figure_of("histograms", fig, (1.2 + 3.0 * len(table), height))
    axes = fig.subplots(len(names), len(table), squeeze=False, sharex="col" if share else False)
    for column, (title, arrays) in enumerate(table.items()):
        shared = _edges([arrays[name] for name in names if name in arrays], bins)
        for row, name in enumerate(names):
            ax = axes[row, column]
            if name in arrays:
                edges = shared if share else _edges([arrays[name]], bins)
                _histogram(ax, arrays[name], edges, title, log=log)
            else:
                ax.text(0.5, 0.5, "none", ha="center", va="center", transform=ax.transAxes,
                        color=palette(ax).muted)  # fmt: skip
            _frame(ax, name if column == 0 else None, title if row == 0 else None)
    if left_out:
        fig.suptitle(
            f"the first and last {MOST_LAYERS // 2} of {left_out + MOST_LAYERS} layers",
            fontsize="medium",
        )
    return fig


def _table(source: Any, what: Any, step: int) -> dict[str, dict[str, Array]]:
    """Return arrays by layer by what they are."""
    found = _everything(source, what, step)
    if what is None or _is_plain(source):
        chosen = list(found)
    else:
        chosen = [what] if isinstance(what, str) else list(what)
    for name in chosen:
        if name not in found:
            raise ValueError(f"{_WHERE}: {_names.unknown_name('numbers', name, found)}")
    table = {name: dict(found[name]) for name in chosen if found[name]}
    if not table:
        raise ValueError(f"{_WHERE}: there is nothing to draw: no layer has {' or '.join(chosen)}")
    return table


def _is_record(source: Any) -> bool:
    """Tell whether a source holds arrays step by step, as a Record does."""
    return isinstance(source, Mapping) and all(hasattr(source, w) for w in ("steps", "rows"))


def _of_record(record: Any, step: object) -> dict[str, dict[str, Array]]:
    """Return what a record has of one step, without the rows that a smaller batch lacks."""
    n = len(record.steps)
    if not n:
        raise ValueError(f"{_WHERE}: the record is empty: give it to fit, record=record")
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise TypeError(f"{_WHERE}: step must be an integer; received step={step!r}")
    k = int(step.__index__())
    if not -n <= k < n:
        raise IndexError(
            f"{_WHERE}: the record has {n} steps, so step is from 0 to {n - 1}; received "
            f"step={step!r}"
        )
    found: dict[str, dict[str, Array]] = {word: {} for word in WHAT}
    for word, part in WHAT.items():
        for name in record:
            layer, _, last = name.rpartition(".")
            if last == part and layer:
                array = record[name][k]
                found[word][layer] = array[: int(record.rows[k])] if part == "y" else array
    return found


def _is_plain(source: Any) -> bool:
    """Tell whether a source maps layers straight to arrays."""
    return (
        isinstance(source, Mapping)
        and not isinstance(source, Trace)
        and not _is_record(source)
        and not any(isinstance(value, Mapping) for value in source.values())
    )


def _everything(source: Any, what: Any, step: int) -> dict[str, dict[str, Array]]:
    if isinstance(source, Trace):
        return {
            word: {
                layer.name: source[f"{layer.name}.{part}"]
                for layer in source.layers
                if computes(layer) and f"{layer.name}.{part}" in source
            }
            for word, part in WHAT.items()
        }
    if _is_record(source):
        return _of_record(source, step)
    if isinstance(source, Sequential):
        if not source.built:
            raise ValueError(
                f"{_WHERE}: {source.label} is not built, so it has no weights. Start it with "
                f"Input(shape), or call build((None, n_inputs)) or fit() first"
            )
        if what is not None and list([what] if isinstance(what, str) else what) != ["weights"]:
            raise ValueError(
                f"{_WHERE}: a model has weights alone; gradients and activations are in "
                f"model.trace(x, y). Received what={what!r}"
            )
        return {
            "weights": {
                layer.name: p.value
                for layer in source.layers
                for p in layer.parameters
                if p.name == "kernel"
            }
        }
    if isinstance(source, Mapping):
        if _is_plain(source):
            title = what if isinstance(what, str) else "values"
            return {title: _arrays(source)}
        return {str(word): _arrays(arrays) for word, arrays in source.items()}
    raise TypeError(
        f"{_WHERE}: source must be a model, a Trace, a Record, or a mapping of layer names to "
        f"arrays; received {type(source).__name__}"
    )


def _arrays(source: Any) -> dict[str, Array]:
    if not isinstance(source, Mapping):
        raise TypeError(
            f"{_WHERE}: source must map layer names to arrays; received {type(source).__name__}"
        )
    return {str(name): real_array(_WHERE, str(name), value) for name, value in source.items()}


def _layers(table: Mapping[str, Mapping[str, Array]], layers: Any) -> list[str]:
    # The column with the most layers has them in the network's order.
    longest_first = sorted(table.values(), key=len, reverse=True)
    known = list(dict.fromkeys(name for arrays in longest_first for name in arrays))
    if layers is None:
        return known
    chosen = [layers] if isinstance(layers, str) else list(layers)
    if not chosen:
        raise ValueError(f"{_WHERE}: layers is empty; leave it None to draw all")
    for name in chosen:
        if name not in known:
            raise ValueError(f"{_WHERE}: {_names.unknown_name('layer', name, known)}")
    return chosen


def _finite(array: Array) -> Array:
    """Return the numbers that can be drawn; beyond 1e300 a range overflows."""
    flat = np.asarray(array, np.float64).reshape(-1)
    return flat[np.abs(flat) < 1e300]


def _edges(arrays: Sequence[Array], bins: int) -> Array:
    """Return bins that hold the numbers of all arrays."""
    finite = [part for part in map(_finite, arrays) if part.size]
    if not finite:
        return np.linspace(-0.5, 0.5, bins + 1)
    low, high = min(part.min() for part in finite), max(part.max() for part in finite)
    if high - low < 1e-9 * max(abs(low), abs(high)):  # as good as one number
        low, high = low - 0.5 * abs(low), high + 0.5 * abs(high)
    return np.histogram_bin_edges([low, high], bins)


def _histogram(ax: Axes, array: Array, edges: Array, title: str, *, log: bool) -> None:
    colours = palette(ax)
    values = _finite(array)
    counts, _ = np.histogram(values, edges)
    colour = colours.series[list(WHAT).index(title) if title in WHAT else 0]
    ax.stairs(counts, edges, fill=True, color=colour, alpha=0.85)
    if log:
        ax.set_yscale("symlog", linthresh=1)
    words = []
    if values.size:
        with np.errstate(over="ignore"):
            words.append(f"sd {values.std():.3g}")
        zeros = np.count_nonzero(values == 0) / values.size
        if zeros >= 0.05:
            words.append(f"zeros {zeros:.0%}")
    if values.size < array.size:
        words.append(f"not drawn: {array.size - values.size:,}")
    if not array.size:
        words.append("no numbers")
    ax.text(
        0.98, 0.94, "\n".join(words), transform=ax.transAxes, ha="right", va="top",
        fontsize="small", color=colours.ink,
        bbox={"facecolor": colours.paper, "edgecolor": "none", "alpha": 0.75, "pad": 1},
    )  # fmt: skip


def _frame(ax: Axes, name: str | None, title: str | None) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.tick_params(labelsize="small")
    if name is not None:
        ax.set_ylabel(plain(name), rotation=0, ha="right", va="center")
    if title is not None:
        ax.set_title(title, fontsize="medium")
