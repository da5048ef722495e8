"""What is kept of a training: ``fit(..., record=Record(...))`` fills it.

:mod:`nncore.watch` does the filling.  Names are those of a trace, after the layer's name:
``hidden.dw``, ``hidden.w``, ``hidden.y``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore import _names
from nncore._files import replacing
from nncore._names import PUBLIC, UnknownNameError, glossary

__all__ = ["Record"]

Array = NDArray[Any]

#: What a group of arrays is: the words of the public API for the glossary's.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "gradients": ("dw", "db"),
    "weights": ("w", "b"),
    "activations": ("y",),
}
#: The arrays of a layer, in a trace's order.
PARTS: tuple[str, ...] = ("x", "w", "b", "z", "y", "dy", "dz", "dw", "db", "dx")
#: What is measured instead of kept: one number a layer.
STATISTICS: tuple[str, ...] = ("gradient_norm", "weight_norm", "dead", "saturated")
#: What a record has of each recorded step besides.
STEPWISE: Mapping[str, Any] = {
    "steps": np.int64, "epochs": np.int64, "rows": np.int64, "loss": np.float64,
}  # fmt: skip

#: More names than this are not listed in an error.
_MOST_NAMES = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """One array, or one number, of each recorded step."""

    layer: str
    part: str
    shape: tuple[int, ...] = ()  # of a parameter; of an output its columns; () for a number
    by_row: bool = False
    bounds: tuple[float, float] = (0.0, 0.0)

    @property
    def name(self) -> str:
        return f"{self.layer}.{self.part}"

    def size(self, rows: int) -> int:
        """Return the numbers of one step."""
        return math.prod(self.shape) * (rows if self.by_row else 1)


class Block:
    """Room for some recorded steps.

    Parameters
    ----------
    entries : sequence of Entry
    dtype : str
        Of the arrays.
    capacity : int
        Steps.
    rows : int
        The most rows of a batch.
    """

    def __init__(self, entries: Sequence[Entry], dtype: str, capacity: int, rows: int) -> None:
        self.capacity, self.rows, self.filled = capacity, rows, 0
        self.by_row = {entry.name for entry in entries if entry.by_row}
        self.arrays: dict[str, Array] = {
            name: np.empty(capacity, kind) for name, kind in STEPWISE.items()
        }
        self.kept: dict[str, Array] = {
            entry.name: np.empty(
                (capacity, *((rows,) if entry.by_row else ()), *entry.shape), dtype
            )
            for entry in entries
            if entry.part not in STATISTICS
        }
        self.observed = np.empty((capacity, sum(e.part in STATISTICS for e in entries)))

    def trim(self) -> None:
        """Give back what was not needed, where that is more than half."""
        if 2 * self.filled >= self.capacity:
            return
        n = self.capacity = self.filled
        for held in (self.arrays, self.kept):
            for name in held:
                held[name] = held[name][:n].copy()
        self.observed = self.observed[:n].copy()


def step_bytes(entries: Sequence[Entry], dtype: str, rows: int) -> int:
    """Return the bytes that one recorded step takes."""
    item = np.dtype(dtype).itemsize
    return 8 * len(STEPWISE) + sum(
        8 if entry.part in STATISTICS else item * entry.size(rows) for entry in entries
    )


def shown_bytes(n: float) -> str:
    """Return a number of bytes for people."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = min(len(units) - 1, max(0, (len(str(int(n))) - 1) // 3))
    return f"{n / 1000**power:.{3 if power else 6}g} {units[power]}"


class Record(Mapping[str, Array]):
    r"""What a training was like, step by step: ``fit(..., record=Record(...))`` fills it.

    Parameters
    ----------
    every : int, default 1
        Steps 0, every, 2 every, ... are recorded.  A step is one update; step k is the one
        before which this ``fit`` has made k, through all its epochs.
    what : str or sequence of str, default ("gradients",)
        Arrays, copied: ``"gradients"`` (``dw`` and ``db`` of each layer that is trained: the
        loss's derivative, penalties included, before clipping), ``"weights"`` (``w`` and ``b``
        before the step's update), ``"activations"`` (``y`` of each layer); or any of a trace's
        words for one layer: ``x w b z y dy dz dw db dx``.

        Statistics, one number a layer, measured by the compiled kernels:

        ===================  =================================================================
        ``"gradient_norm"``  :math:`\sqrt{\sum dw^2 + \sum db^2}` of each layer that is trained
        ``"weight_norm"``    :math:`\sqrt{\sum w^2 + \sum b^2}` of each Dense layer
        ``"dead"``           share of units whose output is 0 for every row of the batch, in
                             layers with relu or relu6 (leaky_relu and elu with a slope of 0):
                             such a unit has no gradient [1]_
        ``"saturated"``      share of outputs in the outermost 1 % of the activation's range at
                             either end, in layers with sigmoid, hard_sigmoid (at most 0.01 or
                             at least 0.99), tanh or softsign (-0.98, 0.98): flat there [2]_
        ===================  =================================================================

        They also go to ``History.history`` and to the callbacks' logs at the end of each epoch,
        as ``"hidden/gradient_norm"``: the mean over the epoch's recorded steps (NaN if it had
        none).  A layer to which one does not apply is left out.
    layers : str or sequence of str, optional
        Names of the layers to record; default: all that compute something.
    max_bytes : int, default 256_000_000
        What the record may take.  How much it needs is computed before the training begins; for
        batches of which nobody knows the number, it is looked at as the record grows.

    Attributes
    ----------
    steps : ndarray of int64, (recorded,)
        The number of each recorded step, counted from 0.
    epochs : ndarray of int64
        Its epoch, counted as callbacks do.
    rows : ndarray of int64
        The rows of its batch.
    loss : ndarray of float64
        Its loss, penalties included, before the update.

    Raises
    ------
    TypeError, ValueError
        For settings that cannot be; unknown words list the known ones.

    Notes
    -----
    A mapping from names to arrays, one entry for each recorded step first:
    ``record["hidden.dw"]`` has shape (recorded, n_in, n_out), ``record["hidden.y"]`` (recorded,
    rows, units), of the model's dtype; ``record["hidden.gradient_norm"]`` is (recorded,), float64.
    A batch of fewer rows than the largest is filled up with NaN.  ``hidden.kernel`` and
    ``hidden.bias`` are other names of ``hidden.w`` and ``hidden.b``, and ``hidden/dw`` of
    ``hidden.dw``.  Arrays are read-only, and views where that is possible.

    Each ``fit`` begins anew.  What was recorded before Ctrl-C, an early stop or an error stays.
    Recording changes no bit of the training.

    References
    ----------
    .. [1] Lu, Shin, Su, Karniadakis, "Dying ReLU and initialization: theory and numerical
       examples", 2019.  They call a network dead that is constant; here it is a unit, on a batch.
    .. [2] Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
       networks", 2010, section 3, on saturation and the gradients of each layer.

    Examples
    --------
    >>> import numpy as np, nncore
    >>> model = nncore.Sequential([nncore.Input((3,)), nncore.layers.Dense(2, name="line")])
    >>> model.compile("sgd", "mse")
    >>> record = nncore.Record(what=("gradients", "gradient_norm"))
    >>> history = model.fit(np.eye(3), np.ones((3, 2)), batch_size=2, epochs=2, verbose=0,
    ...                     record=record)
    >>> record.steps, record["line.dw"].shape
    (array([0, 1, 2, 3]), (4, 3, 2))
    >>> sorted(history.history)
    ['line/gradient_norm', 'loss']
    """

    def __init__(
        self,
        every: int = 1,
        what: str | Sequence[str] = ("gradients",),
        *,
        layers: str | Sequence[str] | None = None,
        max_bytes: int = 256_000_000,
    ) -> None:
        self.every = _names.check_integer("Record", "every", every, minimum=1)
        self.what = _words("what", what)
        known = (*GROUPS, *PARTS, *STATISTICS)
        for word in self.what:
            if word not in known:
                raise ValueError(f"Record: what: {_names.unknown_name('word', word, known)}")
        if not self.what:
            raise ValueError(
                f"Record: what must name something to record; received what={what!r}. "
                f"Known: {', '.join(known)}"
            )
        self.layers = None if layers is None else _words("layers", layers)
        self.max_bytes = _names.check_integer("Record", "max_bytes", max_bytes, minimum=1)
        asked = {part for word in self.what for part in GROUPS.get(word, (word,))}
        self._parts = tuple(part for part in (*PARTS, *STATISTICS) if part in asked)
        self._entries: tuple[Entry, ...] = ()
        self._blocks: list[Block] = []
        self._about: dict[str, str] = {}  # of each layer: why something of it is missing
        self._in_use = False

    # --- a mapping ---

    def __getitem__(self, name: str) -> Array:
        """Return what was recorded under a name, stacked.

        Raises
        ------
        KeyError
            For a name that is not there; the text says why, or lists the known ones.
        """
        known = self._find(name)
        if known is None:
            raise UnknownNameError(self._missing(name))
        parts = [self._part(block, known) for block in self._blocks]
        if not parts:
            stacked = self._part(Block(self._entries, "float32", 0, 0), known)
        elif len(parts) == 1:
            stacked = parts[0]
        else:
            stacked = np.concatenate([_padded(part, parts) for part in parts])
        stacked.setflags(write=False)
        return stacked

    def __iter__(self) -> Iterator[str]:
        if self._entries:
            yield from STEPWISE
            yield from (entry.name for entry in self._entries)

    def __len__(self) -> int:
        return len(STEPWISE) + len(self._entries) if self._entries else 0

    # Two records are equal if they are one: arrays do not compare as a whole.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __contains__(self, name: object) -> bool:
        return self._find(name) is not None

    def _find(self, name: object) -> str | None:
        """Return the name in full of what is asked for, None if there is no such thing."""
        if not isinstance(name, str) or not self._entries:
            return None
        if name in STEPWISE:
            return name
        known = {entry.name for entry in self._entries}
        for spelling in (name, glossary(name), glossary(re.sub(r"/([^/]*)$", r".\1", name))):
            if spelling in known:
                return spelling
        return None

    def _part(self, block: Block, name: str) -> Array:
        """Return a block's part of an array: a view, or for a norm the root of what was summed."""
        n = block.filled
        for held in (block.arrays, block.kept):
            if name in held:
                return held[name][:n]
        names = [entry.name for entry in self._entries if entry.part in STATISTICS]
        column = block.observed[:n, names.index(name)]
        return np.sqrt(column) if name.endswith("_norm") else column.copy()

    def _missing(self, name: object) -> str:
        if not self._entries:
            return "record: nothing is recorded yet: give it to fit, model.fit(x, y, record=record)"
        if not isinstance(name, str):
            return f"record: names are strings such as {self._entries[0].name!r}; received {name!r}"
        layer, _, part = glossary(name).rpartition(".")
        if layer in self._about and part in (*PARTS, *STATISTICS):
            if part not in self._parts:
                return (
                    f'"{name}" is not recorded: what={self.what!r} does not ask for it. Known: '
                    + ", ".join(e.part for e in self._entries if e.layer == layer)
                )
            return f'"{name}" is not recorded: layer "{layer}" has none ({self._about[layer]})'
        known = list(self)
        if len(known) > _MOST_NAMES and layer in self._about:
            known = [e.name for e in self._entries if e.layer == layer]
        elif len(known) > _MOST_NAMES:
            text = _names.unknown_name("layer in this record", layer or name, self._about)
            return f'{text} Names are such as "{known[-1]}"; print(record) lists them'
        return _names.unknown_name("name in this record", name, known)

    # --- looking at it ---

    @property
    def steps(self) -> Array:
        """The number of each recorded step of ``fit``, counted from 0."""
        return self._stepwise("steps")

    @property
    def epochs(self) -> Array:
        """The epoch of each recorded step."""
        return self._stepwise("epochs")

    @property
    def rows(self) -> Array:
        """The rows of each recorded step's batch."""
        return self._stepwise("rows")

    @property
    def loss(self) -> Array:
        """The loss of each recorded step."""
        return self._stepwise("loss")

    def _stepwise(self, name: str) -> Array:
        return self[name] if self._entries else np.empty(0, STEPWISE[name])

    @property
    def nbytes(self) -> int:
        """Bytes of what is recorded."""
        return sum(
            array[: block.filled].nbytes
            for block in self._blocks
            for array in (*block.arrays.values(), *block.kept.values(), block.observed)
        )

    def by_layer(self, part: str, step: int | None = None) -> dict[str, Array]:
        """Return one word's arrays by the names of their layers, in the model's order.

        Parameters
        ----------
        part : str
            A word such as ``"dw"``, ``"y"`` or ``"gradient_norm"``.
        step : int, optional
            The number of a recorded step; -1: the last one.  None: all, stacked.

        Returns
        -------
        dict of str to ndarray
            For curves: ``by_layer("gradient_norm")``, a series for each layer, beside
            :attr:`steps`.  For histograms: ``by_layer("dw", step=100)``, an array for each layer.

        Raises
        ------
        KeyError
            Nothing was recorded under that word, or no step of that number.
        """
        word = PUBLIC.get(part, part)
        names = [entry.name for entry in self._entries if entry.part == word]
        if not names:
            parts = list(dict.fromkeys(entry.part for entry in self._entries))
            raise UnknownNameError(
                _names.unknown_name("word in this record", part, parts)
                if parts
                else self._missing(part)
            )
        at: Any = slice(None)
        if step is not None:
            at = self._position(step)
        return {name.rpartition(".")[0]: self[name][at] for name in names}

    def _position(self, step: int) -> int:
        """Return which of the recorded steps has a number."""
        steps = self.steps
        number = _names.check_integer("Record", "step", step, minimum=-1)
        found = np.flatnonzero(steps == number) if number >= 0 else np.arange(len(steps))[-1:]
        if not found.size:
            shown = f"{steps[0]} to {steps[-1]}, every {self.every}" if steps.size else "none"
            raise UnknownNameError(f"record: step {step} is not recorded; those that are: {shown}")
        return int(found[0])

    def __repr__(self) -> str:
        settings = f"every={self.every}, what={self.what!r}"
        if not self._entries:
            return f"<Record {settings}: nothing recorded yet>"
        n = len(self.steps)
        layers = len({entry.layer for entry in self._entries})
        return (
            f"<Record {settings}: {n} step{'s' if n != 1 else ''}, {layers} "
            f"layer{'s' if layers != 1 else ''}, {len(self)} arrays, {shown_bytes(self.nbytes)}>"
        )

    def __str__(self) -> str:
        """Return a table of what is in it: name, shape, bytes."""
        lines = [repr(self)[1:-1]]
        width = max((len(name) for name in self), default=0)
        for name, array in self.items():
            shape = " x ".join(str(n) for n in array.shape)
            lines.append(f"{name:<{width}}  {shape:>18}  {shown_bytes(array.nbytes):>10}")
        return "\n".join(lines)

    # --- keeping it ---

    def to_dict(self) -> dict[str, Array]:
        """Return copies of all arrays by their names, ``steps`` and the like included."""
        return {name: array.copy() for name, array in self.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all arrays into one ``.npz`` file, which ``numpy.load(path)`` reads.

        Parameters
        ----------
        path : path
            As it is: no ending is added.

        Raises
        ------
        ValueError
            Nothing is recorded.
        OSError
            The file cannot be written.  What was there before is unchanged then.
        """
        if not self._entries:
            raise ValueError(str(self._missing("")))
        with replacing("record", path) as file:
            np.savez(file, **self)  # type: ignore[arg-type]


def _words(argument: str, value: Any) -> tuple[str, ...]:
    """Return one word or several as a tuple, each once."""
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise TypeError(
            f"Record: {argument} must be a word or a sequence of words; "
            f"received {argument}={value!r}"
        )
    return tuple(dict.fromkeys(words))


def _padded(part: Array, parts: Sequence[Array]) -> Array:
    """Return outputs of batches with as many rows as the largest has, filled up with NaN."""
    if part.ndim < 3 or len({other.shape[1] for other in parts}) == 1:
        return part
    rows = max(other.shape[1] for other in parts)
    whole = np.full((len(part), rows, *part.shape[2:]), np.nan, part.dtype)
    whole[:, : part.shape[1]] = part
    return whole
