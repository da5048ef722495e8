"""The progress bar of ``fit``, ``evaluate`` and ``predict``.

On a terminal and in a notebook one line is redrawn in place, at most ten times a second::

    Epoch 3/10
    24/40 ━━━━━━━━━━━━──────── 1s 2ms/step - accuracy: 0.9100 - loss: 0.3100

Before the end the time is what is left, at the end what it took.  Into a file or a pipe
goes one plain line an epoch, whole and without control characters::

    Epoch 3/10 - 40/40 - 1s - 2ms/step - accuracy: 0.9100 - loss: 0.3100
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Mapping
from typing import Any, TextIO

__all__ = ["ProgressBar", "format_duration", "format_step_time", "message", "resolve_verbose"]

#: The bar whose line is not finished, if there is one.
_open: ProgressBar | None = None


def resolve_verbose(verbose: object, stream: TextIO | None = None) -> int:
    """Return 0 (silent), 1 (bar) or 2 (one line an epoch).

    Parameters
    ----------
    verbose : {"auto", 0, 1, 2} or bool
        ``"auto"``: 1 on a terminal and in a notebook, otherwise 2.
    stream : file, optional
        Where it will be written; ``sys.stdout`` by default.

    Raises
    ------
    ValueError
        Another value.
    """
    stream = sys.stdout if stream is None else stream
    if isinstance(verbose, str) and verbose == "auto":
        return 1 if _redraws(stream) else 2
    if isinstance(verbose, (bool, int)) and verbose in (0, 1, 2):
        return int(verbose)
    raise ValueError(f'verbose must be "auto", 0, 1 or 2; received verbose={verbose!r}')


def message(text: str, stream: TextIO | None = None) -> None:
    """Print a line below a bar that is being drawn, rather than through it."""
    global _open
    if _open is not None:
        _open.close()
    stream = sys.stdout if stream is None else stream
    if stream is not None:
        _write(stream, text + "\n")


def format_duration(seconds: float) -> str:
    """Return a duration as Keras writes it: ``"7s"``, ``"2:05"``, ``"1:00:03"``.

    Examples
    --------
    >>> format_duration(7.6), format_duration(125), format_duration(3603)
    ('7s', '2:05', '1:00:03')
    """
    s = int(seconds)
    if s > 3600:
        return f"{s // 3600}:{s % 3600 // 60:02d}:{s % 60:02d}"
    if s > 60:
        return f"{s // 60}:{s % 60:02d}"
    return f"{s}s"


def format_step_time(seconds: float, unit_name: str = "step") -> str:
    """Return the time of one step as Keras writes it.

    Examples
    --------
    >>> format_step_time(1.6), format_step_time(0.0021), format_step_time(0.00004)
    ('2s/step', '2ms/step', '40us/step')
    """
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s/{unit_name}"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.0f}ms/{unit_name}"
    return f"{seconds * 1e6:.0f}us/{unit_name}"


class ProgressBar:
    """Shows how far a pass over the data is.

    Parameters
    ----------
    target : int or None
        Steps of the pass; None: not known beforehand.
    verbose : {"auto", 0, 1, 2}
        See :func:`resolve_verbose`.
    epoch : int, optional
        Number of this epoch, counted from 0; None: no epochs (evaluate, predict).
    epochs : int, optional
        How many there are.
    unit_name : str
        What a step is called.
    width : int
        Characters of the bar.
    interval : float
        Least time between two drawings, in seconds.
    stream : file, optional
        Where to write; ``sys.stdout`` at this moment by default.

    Attributes
    ----------
    verbose : int
        0, 1 or 2.
    redraws : bool
        Whether the line is redrawn in place.

    Examples
    --------
    >>> bar = ProgressBar(40, verbose=2, epoch=2, epochs=10)
    >>> bar.update(24, {"loss": 0.31})
    >>> bar.finish({"loss": 0.31})  # doctest: +SKIP
    Epoch 3/10 - 40/40 - 1s - 2ms/step - loss: 0.3100
    """

    def __init__(
        self,
        target: int | None,
        verbose: object = "auto",
        *,
        epoch: int | None = None,
        epochs: int | None = None,
        unit_name: str = "step",
        width: int = 20,
        interval: float = 0.1,
        stream: TextIO | None = None,
    ) -> None:
        self.target = target
        self.stream = sys.stdout if stream is None else stream
        self.verbose = resolve_verbose(verbose, self.stream)
        if self.stream is None:  # a process without a console
            self.verbose = 0
        self.redraws = self.verbose == 1 and _redraws(self.stream)
        self.unit_name = unit_name
        self.width = width
        self.interval = interval
        self.done = 0
        self._head = ""
        if epoch is not None:
            self._head = f"Epoch {epoch + 1}" + ("" if epochs is None else f"/{epochs}")
        self._marks = _marks(self.stream)
        self._drawn = 0  # columns of the line that stands there unfinished
        self._start = self._last = time.perf_counter()
        if self.redraws and self._head:
            _write(self.stream, self._head + "\n")

    def update(self, done: int, logs: Mapping[str, Any] | None = None) -> None:
        """Draw the bar, unless it was drawn a moment ago.

        Parameters
        ----------
        done : int
            Steps done.
        logs : mapping, optional
            Loss and metrics so far.
        """
        self.done = done
        if not self.redraws:
            return
        now = time.perf_counter()
        if now - self._last < self.interval:
            return
        self._last = now
        self._draw(self._bar_line(now - self._start, logs or {}))

    def finish(self, logs: Mapping[str, Any] | None = None, done: int | None = None) -> None:
        """Draw the last state, and end the line.

        Parameters
        ----------
        logs : mapping, optional
            Loss and metrics.
        done : int, optional
            Steps done; by default all of them, or what :meth:`update` was told last if their
            number was not known.
        """
        if done is None:
            done = self.done if self.target is None else self.target
        self.done = done
        if self.verbose == 0:
            return
        elapsed = time.perf_counter() - self._start
        if self.redraws:
            first, *rest = self._last_lines(elapsed, logs or {})
            self._draw(first)
            self.close()
            for line in rest:
                _write(self.stream, line + "\n")
            return
        count = f"{done}" if self.target is None else f"{done}/{self.target}"
        parts = [self._head] if self._head else []
        parts += [count, f"{elapsed:.0f}s", self._step_time(elapsed), *_values(logs or {})]
        _write(self.stream, " - ".join(parts) + "\n")

    def close(self) -> None:
        """End the line if it stands there unfinished: after an exception, or before a message."""
        global _open
        if self._drawn:
            _write(self.stream, "\n")
            self._drawn = 0
        if _open is self:
            _open = None

    def _step_time(self, elapsed: float) -> str:
        return format_step_time(elapsed / self.done if self.done else 0.0, self.unit_name)

    def _bar(self, width: int) -> str:
        """Return the count and a bar of this width."""
        full, empty = self._marks
        if not self.target:
            return f"{self.done:7d}/Unknown"
        count = f"{self.done:{len(str(self.target))}d}/{self.target}"
        filled = int(width * min(self.done / self.target, 1.0))
        return f"{count} {full * filled}{empty * (width - filled)}".rstrip()

    def _bar_line(self, elapsed: float, logs: Mapping[str, Any]) -> str:
        """Return the line before the end: the bar shrinks, then the end is cut, to fit."""
        left = elapsed
        if self.target:
            left = max(elapsed / max(self.done, 1) * (self.target - self.done), 0.0)
        info = " - ".join([f"{format_duration(left)} {self._step_time(elapsed)}", *_values(logs)])
        room = _columns(self.stream) - 1
        width = room - _text_width(self._bar(0)) - _text_width(info) - 2
        return _cut(f"{self._bar(max(0, min(width, self.width)))} {info}", room)

    def _last_lines(self, elapsed: float, logs: Mapping[str, Any]) -> list[str]:
        """Return the line at the end, continued on others rather than cut."""
        room = _columns(self.stream) - 1
        time_text = f"{elapsed:.0f}s {self._step_time(elapsed)}"
        width = room - _text_width(self._bar(0)) - _text_width(time_text) - 2
        lines = [f"{self._bar(max(0, min(width, self.width)))} {time_text}"]
        for value in _values(logs):
            if _text_width(lines[-1]) + _text_width(value) + 3 > room:
                lines.append("   ")
            lines[-1] += f" - {value}"
        return [_cut(line, room) for line in lines]

    def _draw(self, line: str) -> None:
        """Write the line over the one that stands there."""
        global _open
        columns = _text_width(line)
        _write(self.stream, "\r" + line + " " * max(0, self._drawn - columns))
        self._drawn = columns
        _open = self


def _values(logs: Mapping[str, Any]) -> list[str]:
    """Return ``name: value`` of each entry: those of training, of validation, then the rate."""

    def place(name: str) -> tuple[int, str]:
        return (2 if name == "learning_rate" else 1 if name.startswith("val_") else 0, name)

    texts = []
    for name in sorted(logs, key=place):
        value = logs[name]
        try:
            number = float(value)
        except (TypeError, ValueError):
            texts.append(f"{name}: {value}")
            continue
        texts.append(f"{name}: {number:.4f}" if abs(number) > 1e-3 else f"{name}: {number:.4e}")
    return texts


def _redraws(stream: TextIO | None) -> bool:
    """Return whether a carriage return brings the line's start back: terminals, notebooks."""
    if stream is None:
        return False
    if type(stream).__module__.startswith("ipykernel"):
        return True
    if "PYCHARM_HOSTED" in os.environ and stream is sys.__stdout__:
        return True
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # not a file, or closed
        return False


def _columns(stream: TextIO) -> int:
    """Return how wide a line may be."""
    if type(stream).__module__.startswith("ipykernel"):
        return 160
    import shutil

    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, ValueError, OSError):
        columns = 0
    # Some terminals do not know their width and say 0.
    return max(columns or shutil.get_terminal_size().columns, 2)


def _marks(stream: TextIO | None) -> tuple[str, str]:
    """Return the characters of the bar that the stream can show."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        "━─".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "=", "."
    return "━", "─"


def _text_width(text: str) -> int:
    """Return the columns that a text takes: two for a wide character."""
    if text.isascii():
        return len(text)
    return sum(_character_width(c) for c in text)


def _character_width(c: str) -> int:
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def _cut(text: str, columns: int) -> str:
    """Return as much of the text as fits."""
    if _text_width(text) <= columns:
        return text
    taken = 0
    for i, c in enumerate(text):
        taken += _character_width(c)
        if taken > columns:
            return text[:i]
    return text


def _write(stream: TextIO, text: str) -> None:
    """Write and flush; characters that the stream cannot encode become question marks."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, errors="replace").decode(encoding))
    stream.flush()
