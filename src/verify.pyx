# What a plan may be: the table of ops, and the check that makes running a plan safe.

cdef enum:
    RESCALE, DENSE, ACTIVATE, DROPOUT, LOSS, METRIC, PENALTY, ACTIVITY_PENALTY, ACTIVATE_BACKWARD
    DROPOUT_BACKWARD, RESCALE_BACKWARD, DENSE_BACKWARD_DATA, DENSE_BACKWARD_WEIGHTS, CLIP_VALUE
    CLIP_NORM, CLIP_GLOBAL_NORM, UPDATE, KEEP, OBSERVE

# Numbers behind the parameters that a matmul may read and never use.
cdef enum:
    DEF_SLACK = 64

# In the enum's order: the buffers of each step as field: (rows, columns), where "batch" is the
# batch's rows and other names must agree within the step; "?" marks those that may be missing.
# Fields after "->" are written.
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
INPUTS = {"loss": "y", "metric": "y", "activity_penalty": "y", "keep": "y", "observe": "y"}


def parse_op(str op):
    """Return what an op reads and writes: two dicts of field -> (rows, columns, may be missing)."""
    sides = []
    for side in OPS[op].split("->"):
        fields = {}
        for word in side.split():
            name, shape = word.split("=")
            rows, cols = shape.split(",")
            fields[name.rstrip("?")] = (rows, cols, name.endswith("?"))
        sides.append(fields)
    return sides


def verify(plan, Py_ssize_t n_slots):
    """Raise ValueError, naming the step, unless running `plan` is safe and in order.

    Checked: ops, kinds and numbers are known and finite; every buffer lies in its arena and has
    the shape its step needs; nothing is read before it is written; what a step writes does not
    overlap what it reads; no step reads a parameter that an earlier step has updated.
    """
    def fail(where, what):
        raise ValueError(f"plan {where}: {what}")

    dtype = "float64" if IS_DOUBLE else "float32"
    if plan.dtype != dtype:
        fail("dtype", f"this executor runs {dtype}; received {plan.dtype}")
    for name in ("n_in", "n_out", "n_parameters", "n_work", "n_targets", "n_metrics", "n_slots",
                 "n_kept", "n_observed"):
        value = getattr(plan, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 40:
            fail(name, f"must be an integer from 0 on; received {value!r}")
    if plan.n_kept >= 1 << 20 or plan.n_observed >= 1 << 20:
        fail("n_kept, n_observed", "must be less than 2^20")
    if plan.n_in < 1:
        fail("n_in", "must be at least 1")
    if plan.optimizer and plan.optimizer not in OPTIMIZERS:
        fail("optimizer", f"unknown: {plan.optimizer!r}; known: {', '.join(OPTIMIZERS)}")
    if plan.optimizer and n_slots < OPTIMIZERS[plan.optimizer]:
        fail("optimizer", f"{plan.optimizer} needs {OPTIMIZERS[plan.optimizer]} slots; "
                          f"received {n_slots}")
    end = plan.n_parameters - DEF_SLACK
    for k, b in enumerate(plan.buffers):
        where = f"buffer {k} ({b.name})"
        if not (b.cols >= 1 and b.rows >= 0 and b.offset >= 0):
            fail(where, "rows, columns and offset must not be negative")
        if b.arena in ("parameters", "gradients"):
            if b.rows < 1 or b.offset + b.rows * b.cols > end:
                fail(where, f"must lie within the {end} parameters")
        elif b.rows != 0:
            fail(where, "rows must be 0 (the batch's) outside parameters and gradients")
        elif b.arena == "work":
            if b.offset + b.cols > plan.n_work:
                fail(where, f"must lie within the {plan.n_work} columns of work")
        elif b.arena == "x":
            if b.cols != plan.n_in:
                fail(where, f"must have n_in = {plan.n_in} columns")
        elif b.arena == "t":
            if plan.labels or b.cols != plan.n_targets:
                fail(where, f"must have n_targets = {plan.n_targets} columns, and no labels")
        elif b.arena == "labels":
            if not plan.labels or b.cols != 1:
                fail(where, "must have one column, and the plan labels")
        elif b.arena == "r":
            if not plan.weights or b.cols != 1:
                fail(where, "must have one column, and the plan weights")
        else:
            fail(where, f"unknown arena {b.arena!r}")

    def overlap(p, q):
        return (p.arena == q.arena
                and (p.arena not in ("work", "parameters", "gradients")
                     or (p.offset < q.offset + max(q.rows, 1) * q.cols
                         and q.offset < p.offset + max(p.rows, 1) * p.cols)))

    kept = [step.index for step in plan.steps if step.op == "keep"]
    if len(kept) != len(set(kept)):
        fail("steps", "two keep steps have one index")
    written = [b for b in plan.buffers if b.arena in ("x", "t", "labels", "r", "parameters")]
    updated = []
    for k, step in enumerate(plan.steps):
        where = f"step {k} ({step.op})"
        if step.op not in OPS:
            fail(where, f"unknown op; known: {', '.join(OPS)}")
        for name in ("alpha", "beta", "l1", "l2", "bias_l1", "bias_l2"):
            if not -1e300 < getattr(step, name) < 1e300:
                fail(where, f"{name} must be finite; received {getattr(step, name)}")
        reads, writes = parse_op(step.op)
        sizes = {}
        for fields in (reads, writes):
            for name, (rows, cols, missing) in fields.items():
                number = getattr(step, name)
                if number is None:
                    if not missing:
                        fail(where, f"{name} is missing")
                    continue
                if not 0 <= number < len(plan.buffers):
                    fail(where, f"{name} names no buffer; received {number}")
                b = plan.buffers[number]
                if (rows == "batch") != (b.rows == 0):
                    fail(where, f"{name} = {b.name}: must "
                                f"{'be' if rows == 'batch' else 'not be'} a batch's rows")
                for symbol, value in ((rows, b.rows), (cols, b.cols)):
                    if symbol == "batch":
                        continue
                    want = int(symbol) if symbol.isdigit() else sizes.setdefault(symbol, value)
                    if value != want:
                        fail(where, f"{name} = {b.name}: its shape is ({b.rows}, {b.cols}), "
                                    f"which does not fit the step's other buffers")
                kinds = {"w": ("parameters",), "b": ("parameters",), "dw": ("gradients",),
                         "db": ("gradients",), "t": ("t", "labels"), "r": ("r",)}
                allowed = ("work", "x") if name in INPUTS.get(step.op, "x") else ("work",)
                if b.arena not in kinds.get(name, allowed):
                    fail(where, f"{name} = {b.name} must not lie in arena {b.arena!r}")
                if fields is writes and b.arena == "x":
                    fail(where, f"{name} = {b.name}: the input is not to be written")
        for name in ("x", "w", "b", "z", "y", "t", "r", "dx", "dw", "db", "dz", "dy"):
            if name not in reads and name not in writes and getattr(step, name) is not None:
                fail(where, f"{name} is no field of this op")
        used = [plan.buffers[getattr(step, name)] for name in reads
                if getattr(step, name) is not None]
        made = [(name, plan.buffers[getattr(step, name)]) for name in writes
                if getattr(step, name) is not None]
        for b in used:
            if not any(w.arena == b.arena and w.offset <= b.offset
                       and b.offset + max(b.rows, 1) * b.cols <= w.offset + max(w.rows, 1) * w.cols
                       for w in written):
                fail(where, f"{b.name} is read before it is written")
            if any(overlap(b, u) for u in updated):
                fail(where, f"{b.name} is read after its update: "
                            f"dense_backward_data of a layer comes first")
        for at, (name, b) in enumerate(made):
            for c in used:
                if name not in reads and overlap(b, c):
                    fail(where, f"{b.name} is written while {c.name}, which overlaps it, is read")
            for _, c in made[:at]:
                if overlap(b, c):
                    fail(where, f"{b.name} and {c.name} overlap and are both written")
            # An overwritten buffer is no longer what it was.
            written = [w for w in written if not overlap(w, b)]
            written.append(b)
        verify_kind(plan, step, where, fail)
        if step.op == "clip_global_norm" and not any(b.arena == "gradients"
                                                     for b in plan.buffers):
            fail(where, "there are no stored gradients")
        if (step.op == "dense_backward_weights" and step.update) or step.op == "update":
            if not plan.optimizer:
                fail(where, "an update needs an optimizer")
            updated.append(plan.buffers[step.w])
            if step.op != "update" and step.b is not None:
                updated.append(plan.buffers[step.b])
        elif step.op == "dense_backward_weights":
            if step.dw is None or (step.b is not None) != (step.db is not None):
                fail(where, "dw (and db, for a bias) is missing, and update is False")
    if plan.output >= 0:
        if plan.output >= len(plan.buffers):
            fail("output", "names no buffer")
        b = plan.buffers[plan.output]
        if b.rows != 0 or b.cols != plan.n_out or b.arena not in ("work", "x"):
            fail("output", f"must have n_out = {plan.n_out} columns")
        if b.arena == "work" and not any(step.y == plan.output and "y" in parse_op(step.op)[1]
                                         for step in plan.steps):
            fail("output", "is never written")


def verify_kind(plan, step, where, fail):
    """Check the kind of one step, and the buffers that depend on it."""
    def one_of(known):
        if step.kind not in known:
            fail(where, f"unknown kind {step.kind!r}; known: {', '.join(known)}")

    if step.op in ("dense", "activate", "activate_backward", "dense_backward_data"):
        one_of(ACTIVATIONS)
        if step.op in ("dense", "dense_backward_data") and step.kind == "softmax":
            fail(where, "softmax needs whole rows: use a step of its own")
        if step.op in ("activate_backward", "dense_backward_data") and step.kind != "linear":
            if getattr(step, ACTIVATIONS[step.kind]) is None:
                fail(where, f"the derivative of {step.kind} reads {ACTIVATIONS[step.kind]}, "
                            f"which is missing")
    elif step.op == "loss":
        one_of(LOSSES)
        if step.reduction not in REDUCTIONS:
            fail(where, f"unknown reduction {step.reduction!r}; known: {', '.join(REDUCTIONS)}")
        verify_target(plan, step, where, fail, loss_takes_labels(LOSSES.index(step.kind)))
    elif step.op == "metric":
        one_of(METRICS)
        if not 0 <= step.index < plan.n_metrics:
            fail(where, f"index must be from 0 to {plan.n_metrics - 1}; received {step.index}")
        verify_target(plan, step, where, fail, metric_takes_labels(METRICS.index(step.kind)))
    elif step.op in ("keep", "observe"):
        verify_watching(plan, step, where, fail)
    elif step.kind:
        fail(where, f"this op has no kinds; received {step.kind!r}")
    if step.op in ("dropout", "dropout_backward") and not 0 <= step.alpha < 1:
        fail(where, f"the rate must be in [0, 1); received {step.alpha}")
    if not 0 <= step.seed < 1 << 64:
        fail(where, f"seed must be an integer from 0 to 2^64 - 1; received {step.seed}")


def verify_watching(plan, step, where, fail):
    """Check a step that copies or measures one buffer."""
    given = [name for name in ("w", "dw", "y") if getattr(step, name) is not None]
    if len(given) != 1:
        fail(where, f"exactly one of w, dw and y must be given; received {given}")
    end = plan.n_kept
    if step.op == "observe":
        end = plan.n_observed
        if step.kind not in OBSERVATIONS:
            fail(where, f"unknown kind {step.kind!r}; known: {', '.join(OBSERVATIONS)}")
        if step.kind != "squares" and step.y is None:
            fail(where, f"{step.kind} looks at an output, y")
    elif step.kind:
        fail(where, f"this op has no kinds; received {step.kind!r}")
    if not 0 <= step.index < end:
        fail(where, f"index must be from 0 to {end - 1}; received {step.index}")


def verify_target(plan, step, where, fail, bint labels):
    """Check that a loss or metric gets the kind of target it takes."""
    if (plan.buffers[step.t].arena == "labels") != labels:
        fail(where, f"{step.kind} takes {'integer labels' if labels else 'dense targets'}")
    if labels and plan.buffers[step.y].cols != plan.n_out:
        fail(where, f"y has {plan.buffers[step.y].cols} columns, and labels go up to "
                    f"n_out - 1 = {plan.n_out - 1}")
    if not labels and plan.buffers[step.t].cols != plan.buffers[step.y].cols:
        fail(where, f"t has {plan.buffers[step.t].cols} columns, y {plan.buffers[step.y].cols}")
