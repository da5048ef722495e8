"""Where plots are drawn, and in which colours.

matplotlib is asked for here alone, when something is drawn.  Its settings and pyplot's figures are
left alone: a plot without ``ax`` makes one new figure through pyplot, so that a notebook shows it;
a plot with ``ax`` does not import pyplot at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = [
    "Palette", "Sheet", "figure_of", "make_axes", "mixed", "need_matplotlib", "palette", "plain",
    "shades",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours that can be told apart by everybody, on a light or on a dark ground.

    Attributes
    ----------
    paper : str
        The ground.
    ink, muted, faint : str
        Text; text of less weight; lines.
    fill : str
        Of nodes and blocks.
    backward : str
        What belongs to the way back; the way forward is in ink.
    series : tuple of str
        Of curves and classes, after Okabe and Ito (2008), "Color Universal Design".
    """

    paper: str
    ink: str
    muted: str
    faint: str
    fill: str
    backward: str
    series: tuple[str, ...]


LIGHT = Palette(
    "#ffffff", "#1b1f24", "#57606a", "#9aa4af", "#eaf2f9", "#b34700",
    ("#0072b2", "#d55e00", "#009e73", "#b0589a", "#c28a00", "#3fa0d6", "#5b5b5b", "#8c510a"),
)  # fmt: skip
DARK = Palette(
    "#111418", "#e8eaed", "#a9b1ba", "#6b747e", "#1d2b38", "#ff9d66",
    ("#56b4e9", "#ff8a4c", "#2fc79b", "#dd8fc2", "#f0c344", "#7fd0ff", "#b9b9b9", "#cf9b5c"),
)  # fmt: skip


def need_matplotlib(where: str) -> None:
    """Import matplotlib, or say which extra brings it.

    Parameters
    ----------
    where : str
        The function that draws.

    Raises
    ------
    ImportError
        It is not there, or does not work.
    """
    try:
        import matplotlib.axes  # noqa: F401
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "matplotlib"
        reason = "is not installed" if missing else f"cannot be imported ({error})"
        raise ImportError(
            f"nncore.plot.{where} draws with matplotlib (the extra plot), which {reason}: "
            f"pip install 'matplotlib>=3.9'"
        ) from error


def make_axes(where: str, ax: Any, size: tuple[float, float], *, bare: bool = False) -> Axes:
    """Return the axes to draw on: those that were given, or a new figure's.

    Parameters
    ----------
    where : str
        For errors.
    ax : Axes or None
    size : (float, float)
        Of a new figure, in inches.
    bare : bool
        Without room for ticks and labels.
    """
    from matplotlib.axes import Axes

    if ax is not None:
        if not isinstance(ax, Axes):
            raise TypeError(
                f"nncore.plot.{where}: ax must be one matplotlib Axes, such as "
                f"pyplot.subplots()[1]; received {type(ax).__name__}"
            )
        return ax
    from matplotlib import pyplot

    made: Axes
    if bare:
        made = pyplot.figure(figsize=size).add_axes((0.0, 0.0, 1.0, 1.0))
    else:
        _, made = pyplot.subplots(figsize=size, layout="constrained")
    return made


def figure_of(where: str, fig: Any, size: tuple[float, float]) -> Figure:
    """Return the figure to draw on: the one that was given, or a new one."""
    from matplotlib.figure import FigureBase

    if fig is not None:
        if not isinstance(fig, FigureBase):
            raise TypeError(
                f"nncore.plot.{where}: fig must be a matplotlib Figure, such as pyplot.figure(); "
                f"received {type(fig).__name__}"
            )
        return cast("Figure", fig)  # a SubFigure does as well
    from matplotlib import pyplot

    made: Figure = pyplot.figure(figsize=size, layout="constrained")
    return made


def palette(ax: Axes, *, bare: bool = False) -> Palette:
    """Return the colours for the ground that the axes have.

    Parameters
    ----------
    ax : Axes
    bare : bool
        Whether the axes' own ground is not shown, so that the figure's is.
    """
    from matplotlib.colors import to_hex, to_rgba

    grounds = [ax.figure.get_facecolor()]
    if not bare:
        grounds.insert(0, ax.get_facecolor())
    for ground in grounds:
        red, green, blue, alpha = to_rgba(ground)
        if alpha > 0.5:
            light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.4
            found = LIGHT if light else DARK
            return Palette(
                to_hex(ground), found.ink, found.muted, found.faint, found.fill, found.backward,
                found.series,
            )  # fmt: skip
    return LIGHT


def shades(colours: Palette, n: int) -> Sequence[Any]:
    """Return n colours for n layers in order: distinct ones, or a scale where they do not suffice.

    The scale is cividis, made for those who see fewer colours; its ends that fade into the ground
    are left out.
    """
    if n <= len(colours.series):
        return colours.series[:n]
    from matplotlib import colormaps

    light = colours.ink == LIGHT.ink
    low, high = (0.0, 0.8) if light else (0.4, 1.0)
    return [colormaps["cividis"](low + (high - low) * i / (n - 1)) for i in range(n)]


def plain(name: str) -> str:
    """Return a name as matplotlib shows it as it is: no formula, and not left out of a legend."""
    shown = name.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def mixed(colour: Any, other: Any, share: float) -> tuple[float, float, float]:
    """Return a colour with a share of another one in it."""
    from matplotlib.colors import to_rgb

    red, green, blue = (
        (1 - share) * a + share * b for a, b in zip(to_rgb(colour), to_rgb(other), strict=True)
    )
    return red, green, blue


class Sheet:
    """Axes without ticks, on which one unit is an inch if there is room; else all is smaller.

    Parameters
    ----------
    ax : Axes
    width, height : float
        Of the drawing, in inches at its full size.
    """

    def __init__(self, ax: Axes, width: float, height: float) -> None:
        self.ax = ax
        self.colours = palette(ax, bare=True)
        ax.set_axis_off()
        ax.set_aspect("equal")
        ax.set_xlim(0.0, width)
        ax.set_ylim(0.0, height)
        dpi = ax.figure.dpi
        #: How large an inch of the drawing is.
        self.scale = min(ax.bbox.width / dpi / width, ax.bbox.height / dpi / height)

    def text(self, x: float, y: float, words: str, size: float = 8.5, **options: Any) -> Text:
        """Write words, by default in ink, centred; ``size`` is in points at full size."""
        options = {"color": self.colours.ink, "ha": "center", "va": "center", **options}
        return self.ax.text(x, y, words, fontsize=size * self.scale, **options)

    def label(self, x: float, y: float, words: str, size: float = 8.5, **options: Any) -> Text:
        """Write words over a line: with the ground behind them."""
        ground = {"facecolor": self.colours.paper, "edgecolor": "none", "pad": 0.4 * self.scale}
        return self.text(x, y, words, size, bbox=ground, **options)

    def patch(self, shape: Any, **options: Any) -> Any:
        """Add a shape."""
        options = {
            "facecolor": self.colours.fill,
            "edgecolor": self.colours.muted,
            "linewidth": 1.0 * self.scale,
            "zorder": 2,
            **options,
        }
        shape.set(**options)
        return self.ax.add_patch(shape)
