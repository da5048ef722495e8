"""The check that makes running a plan safe: every executor of a core makes it before anything else.

A plan that has passed cannot fail, and cannot read or write where it must not.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NoReturn

from nncore.plan import BUFFER_FIELDS, Buffer, Plan, Step

__all__ = ["INPUTS", "OPS", "Tables", "parse_op", "verify"]


@dataclass(frozen=True, slots=True)
class Tables:
    """What a core knows: its dtype, the slack behind the parameters, and its kernels' names."""

    dtype: str
    slack: int
    activations: Mapping[str, str]
    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    optimizers: Mapping[str, int]
    reductions: tuple[str, ...]
    observations: tuple[str, ...]
    take_labels: Collection[str]


# In the order of the enum in src/verify.pyx: the buffers of each step as field: (rows, columns),
# where "batch" is the batch's rows and other names must agree within the step; "?" marks those
# that may be missing.  Fields after "->" are written.
OPS = {
    "rescale": "x=batch,n -> y=batch,n",
    "dense": "x=batch,i w=i,o b?=1,o -> z?=batch,o y=batch,o",
    "activate": "x=batch,n -> y=batch,n",
    "dropout": "x=batch,n -> y=batch,n",
    "loss": "y=batch,n t=batch,m r?=batch,1 -> dy?=batch,n",
    "metric": "y=batch,n t=batch,m r?=batch,1 ->",
    "penalty": "w=i,o ->",
    "activity_penalty": "y=batch,n dy?=batch,n -> dy?=batch,n",
    "activate_backward": "dy=batch,n z?=batch,n y?=batch,n -> dx=batch,n",
    "dropout_backward": "dy=batch,n -> dx=batch,n",
    "rescale_backward": "dy=batch,n -> dx=batch,n",
    "dense_backward_data": "dz=batch,o w=i,o z?=batch,i y?=batch,i -> dx=batch,i",
    "dense_backward_weights": "x=batch,i dz=batch,o w=i,o b?=1,o -> dw?=i,o db?=1,o",
    "clip_value": "dw=i,o -> dw=i,o",
    "clip_norm": "dw=i,o -> dw=i,o",
    "clip_global_norm": "->",
    "update": "w=i,o dw=i,o ->",
    "keep": "w?=p,q dw?=i,o y?=batch,n ->",
    "observe": "w?=p,q dw?=i,o y?=batch,n ->",
}

# The fields that may name the input's buffer, apart from x itself.
INPUTS = {
    "loss": ("y",),
    "metric": ("y",),
    "activity_penalty": ("y",),
    "keep": ("y",),
    "observe": ("y",),
}


#: Field -> (rows, columns, may be missing).
Fields = dict[str, tuple[str, str, bool]]


@functools.cache
def parse_op(op: str) -> tuple[Fields, Fields]:
    """Return what an op reads and what it writes."""
    sides: list[Fields] = []
    for side in OPS[op].split("->"):
        fields: Fields = {}
        for word in side.split():
            name, shape = word.split("=")
            rows, cols = shape.split(",")
            fields[name.rstrip("?")] = (rows, cols, name.endswith("?"))
        sides.append(fields)
    reads, writes = sides
    return reads, writes


#: The arenas in which a field's buffer may lie, where that is not "work".
ARENAS: Mapping[str, tuple[str, ...]] = {
    "w": ("parameters",), "b": ("parameters",), "dw": ("gradients",), "db": ("gradients",),
    "t": ("t", "labels"), "r": ("r",),
}  # fmt: skip

_COUNTS = ("n_in", "n_out", "n_parameters", "n_work", "n_targets", "n_metrics", "n_slots",
           "n_kept", "n_observed")  # fmt: skip


def verify(plan: Plan, n_slots: int, tables: Tables) -> None:
    """Raise ValueError, naming the step, unless running a plan is safe and in order.

    Checked: ops, kinds and numbers are known and finite; every buffer lies in its arena and has
    the shape its step needs; nothing is read before it is written; what a step writes does not
    overlap what it reads; no step reads a parameter that an earlier step has updated.

    Parameters
    ----------
    plan : Plan
    n_slots : int
        Vectors of optimizer state that there are.
    tables : Tables
        Of the core that is to run it.
    """
    _Verifier(plan, n_slots, tables).run()


def _fail(where: str, what: str) -> NoReturn:
    raise ValueError(f"plan {where}: {what}")


def _known(names: Collection[str]) -> str:
    return f"known: {', '.join(names)}"


def _size(b: Buffer) -> int:
    return max(b.rows, 1) * b.cols


def _overlap(p: Buffer, q: Buffer) -> bool:
    """Tell whether two buffers share a number."""
    return p.arena == q.arena and (
        p.arena not in ("work", "parameters", "gradients")
        or (p.offset < q.offset + _size(q) and q.offset < p.offset + _size(p))
    )


def _within(b: Buffer, other: Buffer) -> bool:
    """Tell whether what a buffer holds is another one's, or a part of it."""
    if b.arena == "work":  # rows of another width, or another meaning: it is that one or none
        return b == other
    return (
        other.arena == b.arena
        and other.offset <= b.offset
        and b.offset + _size(b) <= other.offset + _size(other)
    )


class _Verifier:
    """Goes through a plan once; see :func:`verify`."""

    def __init__(self, plan: Plan, n_slots: int, tables: Tables) -> None:
        self.plan, self.n_slots, self.tables = plan, n_slots, tables
        given = ("x", "t", "labels", "r", "parameters")
        self.written = [b for b in plan.buffers if b.arena in given]
        self.updated: list[Buffer] = []

    def run(self) -> None:
        """Check everything."""
        self.numbers()
        for k, b in enumerate(self.plan.buffers):
            self.buffer(f"buffer {k} ({b.name})", b)
        kept = [step.index for step in self.plan.steps if step.op == "keep"]
        if len(kept) != len(set(kept)):
            _fail("steps", "two keep steps have one index")
        for k, step in enumerate(self.plan.steps):
            self.step(f"step {k} ({step.op})", step)
        self.output()

    def numbers(self) -> None:
        """Check the plan's own numbers and its optimizer."""
        plan, tables = self.plan, self.tables
        if plan.dtype != tables.dtype:
            _fail("dtype", f"this executor runs {tables.dtype}; received {plan.dtype}")
        for name in _COUNTS:
            value = getattr(plan, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 40:
                _fail(name, f"must be an integer from 0 on; received {value!r}")
        if plan.n_kept >= 1 << 20 or plan.n_observed >= 1 << 20:
            _fail("n_kept, n_observed", "must be less than 2^20")
        if plan.n_in < 1:
            _fail("n_in", "must be at least 1")
        if not plan.optimizer:
            return
        if plan.optimizer not in tables.optimizers:
            _fail("optimizer", f"unknown: {plan.optimizer!r}; {_known(tables.optimizers)}")
        needs = tables.optimizers[plan.optimizer]
        if self.n_slots < needs:
            _fail("optimizer", f"{plan.optimizer} needs {needs} slots; received {self.n_slots}")

    def buffer(self, where: str, b: Buffer) -> None:
        """Check that a buffer lies in its arena."""
        plan, end = self.plan, self.plan.n_parameters - self.tables.slack
        if not (b.cols >= 1 and b.rows >= 0 and b.offset >= 0):
            _fail(where, "rows, columns and offset must not be negative")
        if b.arena in ("parameters", "gradients"):
            if b.rows < 1 or b.offset + b.rows * b.cols > end:
                _fail(where, f"must lie within the {end} parameters")
        elif b.rows != 0:
            _fail(where, "rows must be 0 (the batch's) outside parameters and gradients")
        elif b.arena == "work":
            if b.offset + b.cols > plan.n_work:
                _fail(where, f"must lie within the {plan.n_work} columns of work")
        elif b.arena == "x":
            if b.cols != plan.n_in:
                _fail(where, f"must have n_in = {plan.n_in} columns")
        elif b.arena == "t":
            if plan.labels or b.cols != plan.n_targets:
                _fail(where, f"must have n_targets = {plan.n_targets} columns, and no labels")
        elif b.arena == "labels":
            if not plan.labels or b.cols != 1:
                _fail(where, "must have one column, and the plan labels")
        elif b.arena == "r":
            if not plan.weights or b.cols != 1:
                _fail(where, "must have one column, and the plan weights")
        else:
            _fail(where, f"unknown arena {b.arena!r}")

    def step(self, where: str, step: Step) -> None:
        """Check one step, and note what it writes and updates."""
        if step.op not in OPS:
            _fail(where, f"unknown op; {_known(OPS)}")
        for name in ("alpha", "beta", "l1", "l2", "bias_l1", "bias_l2"):
            if not -1e300 < getattr(step, name) < 1e300:
                _fail(where, f"{name} must be finite; received {getattr(step, name)}")
        reads, writes = parse_op(step.op)
        self.shapes(where, step, reads, writes)
        for name in BUFFER_FIELDS:
            if name not in reads and name not in writes and getattr(step, name) is not None:
                _fail(where, f"{name} is no field of this op")
        self.order(where, step, reads, writes)
        self.kind(where, step)
        self.update(where, step)

    def shapes(self, where: str, step: Step, reads: Fields, writes: Fields) -> None:
        """Check that a step's buffers are there, fit each other and lie where they may."""
        buffers = self.plan.buffers
        sizes: dict[str, int] = {}
        for fields in (reads, writes):
            for name, (rows, cols, may_miss) in fields.items():
                number = getattr(step, name)
                if number is None:
                    if not may_miss:
                        _fail(where, f"{name} is missing")
                    continue
                if not 0 <= number < len(buffers):
                    _fail(where, f"{name} names no buffer; received {number}")
                b = buffers[number]
                if (rows == "batch") != (b.rows == 0):
                    must = "be" if rows == "batch" else "not be"
                    _fail(where, f"{name} = {b.name}: must {must} a batch's rows")
                for symbol, value in ((rows, b.rows), (cols, b.cols)):
                    if symbol == "batch":
                        continue
                    want = int(symbol) if symbol.isdigit() else sizes.setdefault(symbol, value)
                    if value != want:
                        _fail(
                            where,
                            f"{name} = {b.name}: its shape is ({b.rows}, {b.cols}), which does "
                            f"not fit the step's other buffers",
                        )
                allowed = ("work", "x") if name in INPUTS.get(step.op, ("x",)) else ("work",)
                if b.arena not in ARENAS.get(name, allowed):
                    _fail(where, f"{name} = {b.name} must not lie in arena {b.arena!r}")
                if fields is writes and b.arena == "x":
                    _fail(where, f"{name} = {b.name}: the input is not to be written")

    def order(self, where: str, step: Step, reads: Fields, writes: Fields) -> None:
        """Check that what is read is there, and that nothing else is overwritten."""

        def given(fields: Fields) -> list[tuple[str, Buffer]]:
            numbers = ((name, getattr(step, name)) for name in fields)
            return [(name, self.plan.buffers[n]) for name, n in numbers if n is not None]

        used, made = [b for _, b in given(reads)], given(writes)
        for b in used:
            if not any(_within(b, other) for other in self.written):
                _fail(where, f"{b.name} is read before it is written")
            if any(_overlap(b, other) for other in self.updated):
                _fail(
                    where,
                    f"{b.name} is read after its update: dense_backward_data of a layer comes "
                    f"first",
                )
        for at, (name, b) in enumerate(made):
            for c in used:
                if name not in reads and _overlap(b, c):
                    _fail(where, f"{b.name} is written while {c.name}, which overlaps it, is read")
            for _, c in made[:at]:
                if _overlap(b, c):
                    _fail(where, f"{b.name} and {c.name} overlap and are both written")
            # An overwritten buffer is no longer what it was.
            self.written = [other for other in self.written if not _overlap(other, b)]
            self.written.append(b)

    def update(self, where: str, step: Step) -> None:
        """Check that gradients are there for what needs them; note what is updated."""
        buffers = self.plan.buffers
        weights = step.op == "dense_backward_weights"
        if step.op == "clip_global_norm" and not any(b.arena == "gradients" for b in buffers):
            _fail(where, "there are no stored gradients")
        if (weights and step.update) or step.op == "update":
            if not self.plan.optimizer:
                _fail(where, "an update needs an optimizer")
            assert step.w is not None
            self.updated.append(buffers[step.w])
            if weights and step.b is not None:
                self.updated.append(buffers[step.b])
        elif weights and (step.dw is None or (step.b is not None) != (step.db is not None)):
            _fail(where, "dw (and db, for a bias) is missing, and update is False")

    def kind(self, where: str, step: Step) -> None:
        """Check the kind of a step, and the buffers that depend on it."""
        tables = self.tables
        kinds: Collection[str] = {
            "loss": tables.losses, "metric": tables.metrics, "observe": tables.observations,
            **dict.fromkeys(
                ("dense", "activate", "activate_backward", "dense_backward_data"),
                tuple(tables.activations),
            ),
        }.get(step.op, ())  # fmt: skip
        if kinds and step.kind not in kinds:
            _fail(where, f"unknown kind {step.kind!r}; {_known(kinds)}")
        if step.kind and not kinds:
            _fail(where, f"this op has no kinds; received {step.kind!r}")
        if step.op in ("dense", "dense_backward_data") and step.kind == "softmax":
            _fail(where, "softmax needs whole rows: use a step of its own")
        if step.op in ("activate_backward", "dense_backward_data") and step.kind != "linear":
            reads = tables.activations[step.kind]
            if getattr(step, reads) is None:
                _fail(where, f"the derivative of {step.kind} reads {reads}, which is missing")
        elif step.op == "loss":
            if step.reduction not in tables.reductions:
                _fail(where, f"unknown reduction {step.reduction!r}; {_known(tables.reductions)}")
            self.target(where, step)
        elif step.op == "metric":
            self.index(where, step, self.plan.n_metrics)
            self.target(where, step)
        elif step.op in ("keep", "observe"):
            self.watching(where, step)
        if step.op in ("dropout", "dropout_backward") and not 0 <= step.alpha < 1:
            _fail(where, f"the rate must be in [0, 1); received {step.alpha}")
        if not 0 <= step.seed < 1 << 64:
            _fail(where, f"seed must be an integer from 0 to 2^64 - 1; received {step.seed}")

    def index(self, where: str, step: Step, end: int) -> None:
        """Check the number of what a step fills."""
        if not 0 <= step.index < end:
            _fail(where, f"index must be from 0 to {end - 1}; received {step.index}")

    def watching(self, where: str, step: Step) -> None:
        """Check a step that copies or measures one buffer."""
        given = [name for name in ("w", "dw", "y") if getattr(step, name) is not None]
        if len(given) != 1:
            _fail(where, f"exactly one of w, dw and y must be given; received {given}")
        if step.op == "observe" and step.kind != "squares" and step.y is None:
            _fail(where, f"{step.kind} looks at an output, y")
        plan = self.plan
        self.index(where, step, plan.n_observed if step.op == "observe" else plan.n_kept)

    def target(self, where: str, step: Step) -> None:
        """Check that a loss or metric gets the kind of target it takes."""
        assert step.t is not None
        assert step.y is not None
        plan = self.plan
        y, t, labels = (
            plan.buffers[step.y],
            plan.buffers[step.t],
            step.kind in self.tables.take_labels,
        )
        if (t.arena == "labels") != labels:
            _fail(where, f"{step.kind} takes {'integer labels' if labels else 'dense targets'}")
        if labels and y.cols != plan.n_out:
            _fail(
                where,
                f"y has {y.cols} columns, and labels go up to n_out - 1 = {plan.n_out - 1}",
            )
        if not labels and t.cols != y.cols:
            _fail(where, f"t has {t.cols} columns, y {y.cols}")

    def output(self) -> None:
        """Check the buffer that predict returns."""
        plan = self.plan
        if plan.output < 0:
            return
        if plan.output >= len(plan.buffers):
            _fail("output", "names no buffer")
        b = plan.buffers[plan.output]
        if b.rows != 0 or b.cols != plan.n_out or b.arena not in ("work", "x"):
            _fail("output", f"must have n_out = {plan.n_out} columns")
        if b.arena == "work" and not any(
            step.y == plan.output and "y" in parse_op(step.op)[1] for step in plan.steps
        ):
            _fail("output", "is never written")
