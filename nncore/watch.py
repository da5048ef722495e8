"""Watching a training: how a fit fills its :class:`nncore.Record`.

A step that is recorded runs a plan of its own: the steps of an ordinary training step, gradients
stored instead of used up (the same bits: see ``docs/design.md``), completed as for a trace where
that is needed, with ``keep`` steps that copy and ``observe`` steps that measure.  A step that is
not recorded runs the plan that it always runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import _names, compiler
from nncore.plan import BUFFER_FIELDS, IN_PLACE, WRITES, Plan, Step
from nncore.record import STATISTICS, Block, Entry, Record, shown_bytes, step_bytes
from nncore.trace import UPDATES, complete, places

if TYPE_CHECKING:
    from nncore.losses import Loss
    from nncore.metrics import Metric
    from nncore.optimizers import Optimizer

__all__ = ["Watch", "watching_plan"]

Array = NDArray[Any]

#: An output is saturated in the outermost part, so large, of its activation's range.
SATURATION = 0.01
#: The ranges of activations that flatten out at both ends.
RANGES: Mapping[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}  # fmt: skip
#: Activations that are 0, as is their derivative, below 0; two of them with alpha = 0 alone.
RECTIFIERS = frozenset({"relu", "relu6"})
RECTIFIERS_IF_ZERO = frozenset({"leaky_relu", "elu"})

#: Parts for which a step's gradients or derivatives have to be stored.
_BACKWARD = frozenset({"dy", "dz", "dw", "db", "dx", "gradient_norm"})

#: Bytes that are taken at a time where the number of steps is not known.
_CHUNK = 4 << 20


# --- what there is to record ---


def _computes(layer: Any) -> bool:
    """Tell whether a layer does anything to its input while it is trained."""
    kind = type(layer).__name__
    if kind in ("InputLayer", "Flatten"):
        return False
    if kind == "Dropout":
        return bool(layer.rate > 0)
    activation = getattr(layer, "activation", None)
    return kind == "Dense" or activation is None or bool(activation.name != "linear")


def _entries_of(
    layer: Any, n_in: int, n_out: int, parts: Sequence[str], absorbed: bool
) -> Iterator[Entry]:
    """Yield what a layer has of the parts that are asked for."""
    dense = type(layer).__name__ == "Dense"
    bias = dense and bool(layer.use_bias)
    trained = dense and bool(layer.trainable)
    activation: Any = getattr(layer, "activation", None)
    kind = "linear" if activation is None else str(activation.name)
    has = {"x": True, "y": True, "dx": True, "dy": not absorbed, "z": dense, "dz": dense,
           "w": dense, "b": bias, "dw": trained, "db": trained and bias,
           "gradient_norm": trained, "weight_norm": dense, "saturated": kind in RANGES,
           "dead": kind in RECTIFIERS
           or (kind in RECTIFIERS_IF_ZERO and activation.alpha == 0)}  # fmt: skip
    for part in parts:
        if not has[part]:
            continue
        if part in STATISTICS:
            low, high = RANGES[kind] if part == "saturated" else (0.0, 0.0)
            inset = SATURATION * (high - low)
            yield Entry(layer.name, part, bounds=(low + inset, high - inset))
        elif part in ("w", "dw"):
            yield Entry(layer.name, part, (n_in, n_out))
        elif part in ("b", "db"):
            yield Entry(layer.name, part, (n_out,))
        else:
            yield Entry(layer.name, part, (n_in if part in ("x", "dx") else n_out,), by_row=True)


def _entries(
    layers: Sequence[Any],
    shape: tuple[int, ...],
    loss: Loss,
    parts: Sequence[str],
    chosen: Sequence[str] | None,
) -> list[Entry]:
    """Return what is to be recorded of a model for input rows of this shape, built or not."""
    working = [layer for layer in layers if _computes(layer)]
    last = working[-1] if working else None
    found: list[Entry] = []
    for layer in layers:
        n_in = math.prod(shape)
        shape = layer._shape_of_output(shape)
        if layer not in working or (chosen is not None and layer.name not in chosen):
            continue
        absorbed = layer is last and compiler.absorbs(layer, loss)
        found.extend(_entries_of(layer, n_in, math.prod(shape), parts, absorbed))
    return found


# --- the plan of a recorded step ---


def watching_plan(
    layers: Sequence[Any],
    entries: Sequence[Entry],
    *,
    loss: Loss,
    metrics: Sequence[Metric],
    optimizer: Optimizer,
    weights: bool,
    fused: bool,
) -> Plan:
    """Return the plan of a training step that is recorded.

    Parameters
    ----------
    layers, loss, metrics, optimizer, weights, fused
        As for :func:`nncore.compiler.compile_plan`.
    entries : sequence of Entry
        Arrays are numbered in their order, and so are statistics.  One that the model has not
        (of a layer that was frozen since) has no step.
    """
    stored = any(entry.part in _BACKWARD for entry in entries)
    compiled = compiler.compile_plan(
        layers, "train", loss=loss, metrics=metrics, optimizer=optimizer, weights=weights,
        fused=fused and not stored, output=True,
    )  # fmt: skip
    plan, ops = complete(compiled)
    where = {layer.name: places(layers, layer, plan, ops) for layer in layers}
    watching: dict[int, list[Step]] = {}
    counts = {"keep": 0, "observe": 0}
    for entry in entries:
        op = "observe" if entry.part in STATISTICS else "keep"
        index = counts[op]
        counts[op] += 1
        parts = {
            "gradient_norm": ("dw", "db"), "weight_norm": ("w", "b"), "dead": ("y",),
            "saturated": ("y",),
        }.get(entry.part, (entry.part,))  # fmt: skip
        numbers = [where[entry.layer][part] for part in parts if part in where[entry.layer]]
        kind = "squares" if entry.part.endswith("_norm") else entry.part
        for number in numbers:
            field = {"parameters": "w", "gradients": "dw"}.get(plan.buffers[number].arena, "y")
            step = Step(op, layer=entry.layer, index=index, kind=kind if op == "observe" else "",
                        alpha=entry.bounds[0], beta=entry.bounds[1],
                        **{field: number})  # type: ignore[arg-type]  # fmt: skip
            watching.setdefault(_written_after(plan, number), []).append(step)
    steps = list(watching.get(-1, []))
    for i, step in enumerate(plan.steps):
        steps += [step, *watching.get(i, [])]
    needed = _needed(steps)
    if fused and stored:
        needed = _updated_early(needed)
    return replace(
        plan, steps=needed, output=-1, n_kept=counts["keep"], n_observed=counts["observe"]
    )


def _written_after(plan: Plan, buffer: int) -> int:
    """Return the last step before clipping and update that writes a buffer; -1: none does."""
    if plan.buffers[buffer].arena == "parameters":
        return -1
    return max(
        (
            i
            for i, step in enumerate(plan.steps)
            if step.op not in UPDATES
            and any(getattr(step, field) == buffer for field in WRITES[step.op])
        ),
        default=-1,
    )


#: Steps that do more than to write a buffer.
_LASTING = frozenset({
    "loss", "metric", "penalty", "activity_penalty", "dense_backward_weights", "keep", "observe",
}) | UPDATES  # fmt: skip


def _needed(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Leave out the steps whose results nobody reads."""
    read: set[int | None] = set()
    kept: list[Step] = []
    for step in reversed(steps):
        written = WRITES[step.op]
        if step.op not in _LASTING and not any(
            getattr(step, field) in read for field in written if getattr(step, field) is not None
        ):
            continue
        kept.append(step)
        read.update(
            getattr(step, field)
            for field in BUFFER_FIELDS
            if field not in written or step.op in IN_PLACE
        )
    return tuple(reversed(kept))


def _updated_early(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Put each update after the last step that reads its parameter or gradient.

    It finds the gradient in the cache then.  Where gradients are clipped, the order stays.
    """
    if any(step.op in UPDATES - {"update"} for step in steps):
        return tuple(steps)
    others = [step for step in steps if step.op != "update"]
    after: dict[int, list[Step]] = {}
    for update in (step for step in steps if step.op == "update"):
        touched = {update.w, update.dw}
        last = max(
            i
            for i, step in enumerate(others)
            if touched & {getattr(step, field) for field in ("w", "dw", "db")}
        )
        after.setdefault(last, []).append(update)
    return tuple(s for i, step in enumerate(others) for s in (step, *after.get(i, ())))


# --- a fit that is watched ---


class Watch:
    """A record while a fit fills it.

    Parameters
    ----------
    record : Record
    layers : sequence of Layer
        The model's.
    shape : tuple of int
        Of an input row.
    loss : Loss
    dtype : str
    rows : int
        Of the first batch: the most, where batches are of one size.
    steps : int or None
        How many steps there will be at the most; None: nobody knows.
    label : str
        The model's, for errors.

    Raises
    ------
    ValueError, RuntimeError
        The record would not fit, has nothing to record, or is in use.  Nothing is changed then.
    """

    def __init__(
        self,
        record: Record,
        layers: Sequence[Any],
        shape: tuple[int, ...],
        *,
        loss: Loss,
        dtype: str,
        rows: int,
        steps: int | None,
        label: str,
    ) -> None:
        self.record, self.dtype, self.label = record, dtype, label
        if record._in_use:
            raise RuntimeError(
                "fit: this record is being filled by another fit; give each its own Record"
            )
        names = [layer.name for layer in layers]
        for name in record.layers or ():
            if name not in names:
                raise ValueError(f"fit: record: {_names.unknown_name('layer', name, names)}")
        self.entries = tuple(_entries(layers, shape, loss, record._parts, record.layers))
        if not self.entries:
            raise ValueError(self._nothing(layers))
        self.about = {layer.name: _about(layer) for layer in layers}
        self.kept = tuple(e.name for e in self.entries if e.part not in STATISTICS)
        self.statistics = tuple(e for e in self.entries if e.part in STATISTICS)
        self._plan: Plan | None = None
        self._absent: tuple[set[int], set[int]] = (set(), set())
        self.rows, self.step, self.epoch = rows, 0, 0
        self.wanted = None if steps is None else -(-steps // record.every)
        self.begun = 0  # recorded steps before this epoch
        if steps is not None:
            self._check_need(steps, rows)

    def _nothing(self, layers: Sequence[Any]) -> str:
        chosen = f" of {', '.join(self.record.layers)}" if self.record.layers else ""
        return (
            f"fit: record: there is nothing to record: no layer{chosen} has any of "
            f"what={self.record.what!r}. The model's layers: "
            + ", ".join(f'"{layer.name}" ({_about(layer)})' for layer in layers)
        )

    def _check_need(self, steps: int, rows: int) -> None:
        """Raise an error if what is recorded of so many steps takes more than allowed."""
        record = self.record
        each, most = step_bytes(self.entries, self.dtype, rows), record.max_bytes
        recorded = -(-steps // record.every)
        need = recorded * each
        if need <= most:
            return
        fits = most // each
        fewer = f"fewer steps (every={-(-steps // fits)})" if fits else "fewer steps"
        raise ValueError(
            f"fit: the record would need {shown_bytes(need)}, {recorded:,} steps of "
            f"{shown_bytes(each)}, and max_bytes={most} allows {shown_bytes(most)}. "
            f"Record {fewer}; less of each "
            f'(what=..., statistics such as "gradient_norm" take 8 bytes a layer); fewer layers '
            f"(layers=[...]); or allow more (max_bytes={need})"
        )

    def begin(self) -> None:
        """Begin anew; to be called when everything has been checked."""
        record = self.record
        blocks = []
        if self.wanted is not None:
            blocks.append(Block(self.entries, self.dtype, self.wanted, self.rows))
        record._in_use = True
        record._entries, record._about, record._blocks = self.entries, self.about, blocks

    def end(self) -> None:
        """Let the record go; what is in it stays."""
        self.record._in_use = False
        if self.record._blocks:
            self.record._blocks[-1].trim()

    # --- an epoch ---

    def begin_epoch(self, epoch: int) -> None:
        """Note where an epoch begins."""
        self.epoch = epoch
        self.begun = self._recorded()

    def _recorded(self) -> int:
        return sum(block.filled for block in self.record._blocks)

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of :meth:`logs`."""
        return tuple(f"{entry.layer}/{entry.part}" for entry in self.statistics)

    def logs(self) -> dict[str, float]:
        """Return the mean of each statistic over the epoch's recorded steps."""
        if not self.statistics:
            return {}
        left, parts = self._recorded() - self.begun, []
        for block in reversed(self.record._blocks):
            first = max(0, block.filled - left)
            parts.append(block.observed[first : block.filled])
            left -= block.filled - first
            if not left:
                break
        values = np.concatenate(parts[::-1]) if parts else np.empty((0, 0))
        if not len(values):
            return dict.fromkeys(self.names, math.nan)
        norms = np.array([entry.part.endswith("_norm") for entry in self.statistics])
        with np.errstate(all="ignore"):
            means = np.where(norms, np.sqrt(values), values).mean(axis=0)
        return dict(zip(self.names, means.tolist(), strict=True))

    # --- steps ---

    def plan(self, layers: Sequence[Any], **settings: Any) -> Plan:
        """Return the plan of a recorded step; see :func:`watching_plan`."""
        return watching_plan(layers, self.entries, **settings)

    def absent(self, plan: Plan) -> tuple[set[int], set[int]]:
        """Return the numbers of the arrays and statistics that a plan has no step for."""
        if plan is not self._plan:
            found = {op: {s.index for s in plan.steps if s.op == op} for op in ("keep", "observe")}
            self._absent = (
                set(range(plan.n_kept)) - found["keep"],
                set(range(plan.n_observed)) - found["observe"],
            )
            self._plan = plan
        return self._absent

    def upcoming(self, rows: int, steps: int) -> tuple[bool, int]:
        """Look at what comes next: up to so many steps of so many rows.

        Returns
        -------
        recorded : bool
            Whether any of them is recorded.
        steps : int
            For how many that holds and there is room.

        Raises
        ------
        RuntimeError
            The very next step is to be recorded, and there is no room for it.
        """
        every = self.record.every
        before = -self.step % every  # steps before the next that is recorded
        if before >= steps:
            return False, steps
        block = self.record._blocks[-1] if self.record._blocks else None
        if before and (block is None or not self._fits(block, rows)):
            return False, before
        block = self._room(rows)
        return True, min(steps, before + (block.capacity - block.filled) * every)

    @staticmethod
    def _fits(block: Block, rows: int) -> bool:
        """Tell whether a block has room for another step, of so many rows."""
        return block.filled < block.capacity and not (block.by_row and rows > block.rows)

    def _room(self, rows: int) -> Block:
        """Return a block with room for a step."""
        record = self.record
        block = record._blocks[-1] if record._blocks else None
        if block is not None and self._fits(block, rows):
            return block
        if block is not None:
            block.trim()
        held = sum(
            b.capacity * step_bytes(self.entries, self.dtype, b.rows) for b in record._blocks
        )
        each = step_bytes(self.entries, self.dtype, rows)
        capacity = min((record.max_bytes - held) // each, max(1, _CHUNK // each))
        if capacity < 1:
            raise RuntimeError(
                f"fit: the record has no room for step {self.step}: {self._recorded():,} steps "
                f"take {shown_bytes(held)}, this one {shown_bytes(each)}, and "
                f"max_bytes={record.max_bytes}. What was recorded stays, and {self.label} is as "
                f"{self.step:,} steps left it. "
                f"Record fewer steps (every=), less of each (what=, layers=), or allow more "
                f"(max_bytes=)"
            )
        record._blocks.append(Block(self.entries, self.dtype, capacity, rows))
        return record._blocks[-1]

    def room(self) -> dict[str, Any]:
        """Return what the executor of recorded steps needs: which, and where to put things."""
        block = self.record._blocks[-1]
        at = block.filled
        return {
            "kept": [block.kept[name][at:] for name in self.kept],
            "observed": block.observed[at:],
            "every": self.record.every,
            "past": self.step % self.record.every,
        }

    def done(self, losses: Array, batch_size: int, rows: int, plan: Plan | None) -> None:
        """Take note of steps that were done, with so many rows in all.

        ``plan`` is that of the recorded ones; None if there were none.
        """
        n = len(losses)
        if plan is None or not n:
            self.step += n
            return
        block, every = self.record._blocks[-1], self.record.every
        which = np.arange(-self.step % every, n, every)  # of these steps, those recorded
        at = slice(block.filled, block.filled + len(which))
        each = np.where(which < n - 1, batch_size, rows - (n - 1) * batch_size)
        block.arrays["steps"][at] = self.step + which
        block.arrays["epochs"][at] = self.epoch
        block.arrays["rows"][at] = each
        block.arrays["loss"][at] = losses[which]
        for name in block.by_row:
            block.kept[name][at, batch_size:] = np.nan
            if len(each) and each[-1] < batch_size:
                block.kept[name][at.stop - 1, each[-1] :] = np.nan
        arrays, statistics = self.absent(plan)  # of a layer that was frozen in between
        for k in arrays:
            block.kept[self.kept[k]][at] = np.nan
        for k in statistics:
            block.observed[at, k] = np.nan
        # Both at once, as Ctrl-C may come between two lines.
        self.step, block.filled = self.step + n, at.stop


def _about(layer: Any) -> str:
    """Return what a layer is, for the error that it has not got what was asked for."""
    kind = type(layer).__name__
    words = [kind]
    activation = getattr(layer, "activation", None)
    if activation is not None:
        words.append(f"activation {activation.name}")
    if kind == "Dense" and not layer.use_bias:
        words.append("no bias")
    if kind == "Dense" and not layer.trainable:
        words.append("trainable=False")
    if not _computes(layer):
        words.append("it hands on what it gets")
    return ", ".join(words)
