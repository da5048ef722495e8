"""The plan, run step by step in NumPy.

The oracle of the compiled executor, the baseline of the benchmark, and the place to see what a
training step does: each step of a plan is one short method of :class:`Executor`, of the same name.
:func:`first_difference` is the debugger.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.plan import BUFFER_FIELDS, IN_PLACE, OPS, WRITES, Plan, Step
from nncore.reference import (
    activations,
    evaluate,
    formulas,
    losses,
    metrics,
    observations,
    optimizers,
    random,
)

__all__ = ["Executor", "first_difference"]

Array = NDArray[Any]

#: Where the formula that a step's `kind` names is to be found.
KINDS: Mapping[str, ModuleType] = {
    "dense": activations,
    "activate": activations,
    "activate_backward": activations,
    "dense_backward_data": activations,
    "loss": losses,
    "metric": metrics,
    "observe": observations,
}


def _kinds(op: str) -> list[str]:
    """Return the kinds that a step of this op may have."""
    names = formulas(KINDS[op])
    if op == "loss":
        return [*(name for name in names if name != "batch_loss"), "root_mean_squared_error"]
    return names


class Executor:
    """Runs a plan in NumPy; the compiled one in ``src/plan.pyx`` has the same methods.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray, (plan.n_parameters,), plan.dtype
        Held by reference and updated in place.
    slots : ndarray, (plan.n_slots, plan.n_parameters), plan.dtype, or None
        Likewise.
    batch_size : int
        The most rows of a batch.
    n_threads : int
        Kept for the common interface; NumPy decides for itself.

    Attributes
    ----------
    loss : float
        The last batch's, penalties included.
    gradients : ndarray or None
        Laid out like the parameters, in plans that store gradients.

    Raises
    ------
    ValueError
        If an array does not fit the plan, or the plan is wrong (the step is named).
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Array,
        slots: Array | None,
        *,
        batch_size: int,
        n_threads: int = 1,
    ) -> None:
        if slots is None:
            slots = np.empty((0, plan.n_parameters), plan.dtype)
        _check_vector("parameters", parameters, plan, (plan.n_parameters,))
        _check_vector("slots", slots, plan, (*slots.shape[:1], plan.n_parameters))
        if len(slots) < plan.n_slots:
            raise ValueError(f"{plan.optimizer} needs {plan.n_slots} slots; received {len(slots)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be a positive integer; received {batch_size}")
        _check_plan(plan)
        self.plan = plan
        self.parameters = parameters
        self.slots = slots
        self.batch_size = batch_size
        self.n_threads = n_threads
        self.loss = 0.0
        self.hyper: dict[str, float] = dict(plan.hyper)
        # Where run() puts what is kept and observed of this batch; None: nowhere.
        self.kept: list[Array] | None = None
        self.observed: Array | None = None
        stores = any(b.arena == "gradients" for b in plan.buffers)
        self.gradients = np.zeros(plan.n_parameters, plan.dtype) if stores else None
        # One array a buffer; those of parameters and gradients are views of their vector.
        self.values: list[Any] = [None] * len(plan.buffers)
        for i, b in enumerate(plan.buffers):
            vector = {"parameters": parameters, "gradients": self.gradients}.get(b.arena)
            if vector is not None:
                size = b.rows * b.cols
                self.values[i] = vector[b.offset : b.offset + size].reshape(b.rows, b.cols)

    def set_hyper(self, hyper: Mapping[str, float]) -> None:
        """Set the optimizer's constants."""
        self.hyper = dict(hyper)

    # --- running ---

    def run(
        self,
        x: Array,
        t: Array | None = None,
        r: Array | None = None,
        *,
        order: Array | None = None,
        begin: int = 0,
        end: int | None = None,
        batch_size: int | None = None,
        iteration: int = 0,
        learning_rates: Array | None = None,
        losses: Array | None = None,
        loss_totals: Array | None = None,
        totals: Array | None = None,
        seconds: float = float("inf"),
        kept: Sequence[Array] | None = None,
        observed: Array | None = None,
        every: int = 1,
        past: int = 0,
        between: Executor | None = None,
    ) -> int:
        """Run batch after batch; return the number done.

        Parameters
        ----------
        x : ndarray (n, ...)
            Inputs, of any real dtype.
        t : ndarray
            Targets: (n, n_targets), or integer labels (n,) or (n, 1).
        r : ndarray (n,)
            Weights of the rows.
        order : ndarray of int64
            Row numbers; None: the rows as they lie.
        begin, end : int
            Which part of the order; its last batch may be shorter.
        batch_size : int
            Rows of a batch; None: the executor's.
        iteration : int
            Updates done before.
        learning_rates : ndarray
            One number, or one for each batch; None: 0.
        losses : ndarray
            Gets the loss of each batch.
        loss_totals : ndarray (2,)
            Each batch's loss times its rows, and its rows, are added to it.
        totals : ndarray (n_metrics, 2)
            The metrics' sums and counts are added to it.
        seconds : float
            Stop between two batches once so much time has passed; one is always done.
        kept : sequence of ndarray
            One for each number of a ``keep`` step: (batches, ...).
        observed : ndarray (batches, n_observed)
            What the ``observe`` steps measure.
        every, past : int
            Of the batches, counted from ``past``, only each ``every``-th is run by this executor,
            and takes an entry of what is kept and observed;
        between : Executor
            runs the others.
        """
        size = self.batch_size if batch_size is None else batch_size
        if not 1 <= size <= self.batch_size:
            raise ValueError(f"batch_size must be from 1 to {self.batch_size}; received {size}")
        end = self._check_data(x, t, r, order, begin, end)
        rates = np.zeros(1) if learning_rates is None else learning_rates
        batches = range(begin, end, size)
        if len(rates) != 1 and len(rates) < len(batches):
            raise ValueError(
                f"learning_rates must hold one number, or one for each of {len(batches)} batches; "
                f"received {len(rates)}"
            )
        deadline = time.perf_counter() + seconds
        done = watched = 0
        for at in batches:
            runner = self
            if between is not None and (past + done) % every:
                runner = between
            else:
                self.kept = None if kept is None else [array[watched] for array in kept]
                self.observed = None if observed is None else observed[watched]
                if self.observed is not None:
                    self.observed[:] = 0
                watched += 1
            runner._gather(x, t, r, order, at, min(at + size, end))
            rate = float(rates[done if len(rates) > 1 else 0])
            for index in range(len(runner.plan.steps)):
                runner.execute(index, iteration + done, rate, totals)
            self.kept = self.observed = None
            if losses is not None:
                losses[done] = runner.loss
            if loss_totals is not None:
                rows = min(size, end - at)
                loss_totals[0] = float(loss_totals[0]) + runner.loss * rows
                loss_totals[1] += rows
            done += 1
            if time.perf_counter() >= deadline:
                break
        return done

    def predict(self, x: Array, out: Array) -> None:
        """Write the output for every row of x into out, (n, n_out)."""
        if self.plan.output < 0:
            raise ValueError("the plan has no output")
        _check_rows("x", x, len(x), self.plan.n_in)
        if out.shape != (len(x), self.plan.n_out):
            raise ValueError(
                f"out must be an array of shape ({len(x)}, {self.plan.n_out}); received {out.shape}"
            )
        for at in range(0, len(x), self.batch_size):
            end = min(at + self.batch_size, len(x))
            self._gather(x, None, None, None, at, end)
            for index in range(len(self.plan.steps)):
                self.execute(index)
            out[at:end] = self.values[self.plan.output]

    def load(
        self,
        x: Array,
        t: Array | None = None,
        r: Array | None = None,
        order: Array | None = None,
        begin: int = 0,
        rows: int | None = None,
    ) -> None:
        """Gather one batch, for execute() and read()."""
        end = self._check_data(x, t, r, order, begin, None if rows is None else begin + rows)
        if not 1 <= end - begin <= self.batch_size:
            raise ValueError(
                f"a batch must have from 1 to {self.batch_size} rows; received {end - begin}"
            )
        self._gather(x, t, r, order, begin, end)

    def execute(
        self,
        index: int,
        iteration: int = 0,
        learning_rate: float = 0.0,
        totals: Array | None = None,
    ) -> None:
        """Run one step of the plan on the batch that load() gathered."""
        self.iteration, self.learning_rate = iteration, learning_rate
        self.totals = np.zeros((self.plan.n_metrics, 2)) if totals is None else totals
        step = self.plan.steps[index]
        # The method that runs a "loss" is loss_step: `loss` is the value.
        getattr(self, "loss_step" if step.op == "loss" else step.op)(step)

    def read(self, buffer: int) -> Array:
        """Return a copy of a buffer, (rows, columns)."""
        return np.array(self.values[buffer])

    # --- data ---

    def _check_data(
        self,
        x: Array,
        t: Array | None,
        r: Array | None,
        order: Array | None,
        begin: int,
        end: int | None,
    ) -> int:
        """Check the shapes of the data and return the end."""
        plan = self.plan
        _check_rows("x", x, len(x), plan.n_in)
        if plan.labels or plan.n_targets:
            _check_rows("t", t, len(x), 1 if plan.labels else plan.n_targets)
        if plan.weights:
            _check_rows("r", r, len(x), 1)
        n = len(x) if order is None else len(order)
        last = n if end is None else end
        if not 0 <= begin <= last <= n:
            raise ValueError(
                f"begin and end must satisfy 0 <= begin <= end <= {n}; received {begin}, {end}"
            )
        return last

    def _gather(
        self, x: Array, t: Array | None, r: Array | None, order: Array | None, begin: int, end: int
    ) -> None:
        """Take the rows of one batch, each cast to the dtype in which it is computed with."""
        at: Any = slice(begin, end)
        if order is not None:
            at = order[at]
            if at.size and not 0 <= at.min() <= at.max() < len(x):
                raise ValueError(f"order must hold row numbers from 0 to {len(x) - 1}")
        sources: dict[str, tuple[Any, Any]] = {
            "x": (x, self.plan.dtype),
            "t": (t, self.plan.dtype),
            "labels": (t, np.int64),
            "r": (r, np.float64),
        }
        for i, b in enumerate(self.plan.buffers):
            array, dtype = sources.get(b.arena, (None, None))
            if array is not None:
                self.values[i] = array[at].reshape(-1, b.cols).astype(dtype)
            if b.arena == "labels" and array is not None:
                wrong = (self.values[i] < 0) | (self.values[i] >= self.plan.n_out)
                if wrong.any():
                    raise ValueError(
                        f"labels must be from 0 to {self.plan.n_out - 1}; "
                        f"received {self.values[i][wrong][0]}"
                    )
        self.loss = 0.0

    # --- what several steps need ---

    def get(self, buffer: int | None) -> Any:
        """Return a buffer's array; None stays None."""
        return None if buffer is None else self.values[buffer]

    def put(self, buffer: int | None, value: Array) -> None:
        """Give a buffer its value; where it is a view of a vector, write into the vector."""
        if buffer is None:
            return
        if self.plan.buffers[buffer].arena == "gradients":
            self.values[buffer][...] = value
        else:
            self.values[buffer] = value

    def times_derivative(self, step: Step, dy: Array) -> Array:
        """Return dy times the derivative, which reads z or y: the step gives the one it needs."""
        if step.kind == "linear":
            return dy
        zy = self.get(step.y if step.z is None else step.z)
        if step.kind == "softmax":
            return activations.softmax_backward(dy, zy)
        return dy * evaluate(activations, f"{step.kind}_derivative", zy, alpha=step.alpha)

    def mask(self, step: Step, x: Array) -> Array:
        """Return 1 / (1 - rate) where kept, else 0: the same forward and backward."""
        rows, cols = x.shape
        kept = random.keep(rows, cols, step.alpha, step.seed, self.iteration)
        return kept * x.dtype.type(1 / (1 - step.alpha))

    def apply_optimizer(self, w: int | None, gradient: Array) -> None:
        """Update a parameter, and its part of every slot, in place."""
        assert w is not None
        b = self.plan.buffers[w]
        part = slice(b.offset, b.offset + b.rows * b.cols)
        getattr(optimizers, self.plan.optimizer)(
            self.parameters[part],
            gradient.reshape(-1),
            self.slots[:, part],
            learning_rate=self.learning_rate,
            iteration=self.iteration,
            **self.hyper,
        )

    # --- the steps, forward ---

    def rescale(self, step: Step) -> None:
        """Compute y = x alpha + beta."""
        self.put(step.y, self.get(step.x) * step.alpha + step.beta)

    def dense(self, step: Step) -> None:
        """Compute z = x w + b and y = kind(z)."""
        z = self.get(step.x) @ self.get(step.w)
        if step.b is not None:
            z += self.get(step.b)
        self.put(step.z, z)
        self.put(step.y, evaluate(activations, step.kind, z, alpha=step.alpha))

    def activate(self, step: Step) -> None:
        """Compute y = kind(x)."""
        self.put(step.y, evaluate(activations, step.kind, self.get(step.x), alpha=step.alpha))

    def dropout(self, step: Step) -> None:
        """Compute y = x / (1 - rate) where kept, else 0."""
        x = self.get(step.x)
        self.put(step.y, x * self.mask(step, x))

    # --- loss, metrics, penalties ---

    def loss_step(self, step: Step) -> None:
        """Compute the batch's loss and, if wanted, its derivative dy."""
        self.loss, dy = losses.batch_loss(
            step.kind,
            self.get(step.y),
            self.get(step.t),
            self.get(step.r),
            step.alpha,
            step.reduction,
            derivative=step.dy is not None,
        )
        if dy is not None:
            self.put(step.dy, dy)

    def metric(self, step: Step) -> None:
        """Add a metric's sum and count to its row of the totals."""
        y, t = self.get(step.y), self.get(step.t)
        r = np.ones(len(y)) if step.r is None else self.get(step.r)[:, 0]
        values = evaluate(metrics, step.kind, y, t, alpha=step.alpha)
        self.totals[step.index] += (r * values).sum(), r.sum()

    def penalty(self, step: Step) -> None:
        """Add l1 sum|w| + l2 sum w^2 to the loss."""
        self.loss += _penalty(self.get(step.w), step)

    def activity_penalty(self, step: Step) -> None:
        """Add (l1 sum|y| + l2 sum y^2) / rows to the loss, and its derivative to dy."""
        y = self.get(step.y)
        self.loss += _penalty(y, step) / len(y)
        if step.dy is not None:
            derivative = (step.l1 * np.sign(y) + 2 * step.l2 * y) / len(y)
            self.put(step.dy, self.get(step.dy) + derivative)

    # --- the steps, backward ---

    def activate_backward(self, step: Step) -> None:
        """Compute dx = dy kind'(z or y)."""
        self.put(step.dx, self.times_derivative(step, self.get(step.dy)))

    def dropout_backward(self, step: Step) -> None:
        """Compute dx = dy / (1 - rate) where kept, else 0."""
        dy = self.get(step.dy)
        self.put(step.dx, dy * self.mask(step, dy))

    def rescale_backward(self, step: Step) -> None:
        """Compute dx = dy alpha."""
        self.put(step.dx, self.get(step.dy) * step.alpha)

    def dense_backward_data(self, step: Step) -> None:
        """Compute dx = (dz w^T) kind'(z or y), kind being the activation of the layer below."""
        self.put(step.dx, self.times_derivative(step, self.get(step.dz) @ self.get(step.w).T))

    def dense_backward_weights(self, step: Step) -> None:
        """Compute dw = x^T dz and db = column sums of dz, penalties added; store or update."""
        dz = self.get(step.dz)
        gradients = [(step.w, step.dw, self.get(step.x).T @ dz, step.l1, step.l2)]
        if step.b is not None:
            db = dz.sum(axis=0, keepdims=True)
            gradients.append((step.b, step.db, db, step.bias_l1, step.bias_l2))
        for parameter, stored, gradient, l1, l2 in gradients:
            w = self.get(parameter)
            if l1:
                gradient += l1 * np.sign(w)
            if l2:
                gradient += 2 * l2 * w
            if step.update:
                self.apply_optimizer(parameter, gradient)
            else:
                self.put(stored, gradient)

    def clip_value(self, step: Step) -> None:
        """Let no element of the gradient be further from 0 than alpha."""
        self.put(step.dw, np.clip(self.get(step.dw), -step.alpha, step.alpha))

    def clip_norm(self, step: Step) -> None:
        """Let the norm of one parameter's gradient be at most alpha."""
        _clip_norm(self.get(step.dw), step.alpha)

    def clip_global_norm(self, step: Step) -> None:
        """Let the norm of all gradients together be at most alpha."""
        _clip_norm(self.gradients, step.alpha)

    def update(self, step: Step) -> None:
        """Apply the optimizer with a stored gradient."""
        self.apply_optimizer(step.w, self.get(step.dw))

    # --- watching ---

    def watched(self, step: Step) -> Array:
        """Return the array that a step copies or measures."""
        given = (step.w, step.dw, step.y)
        return np.asarray(self.get(next(buffer for buffer in given if buffer is not None)))

    def keep(self, step: Step) -> None:
        """Copy an array to where the caller wants it."""
        if self.kept is not None:
            value = self.watched(step).reshape(-1)
            self.kept[step.index].reshape(-1)[: value.size] = value

    def observe(self, step: Step) -> None:
        """Add what `kind` measures of an array to this batch's observations."""
        if self.observed is not None:
            formula = getattr(observations, step.kind)
            arguments = (self.watched(step), step.alpha, step.beta)
            self.observed[step.index] += formula(*arguments[: formula.__code__.co_argcount])


def _penalty(values: Array, step: Step) -> float:
    """Return l1 sum|v| + l2 sum v^2."""
    absolute = np.abs(values).sum(dtype=np.float64)
    squares = np.square(values).sum(dtype=np.float64)
    return float(step.l1 * absolute + step.l2 * squares)


def _clip_norm(g: Any, limit: float) -> None:
    """Scale g, in place, to a norm of at most `limit` (Pascanu et al. 2013).

    A norm that is NaN makes all of g NaN: a broken gradient is not to look sound.
    """
    norm = float(np.sqrt(np.square(g, dtype=np.float64).sum()))
    if not norm <= limit:
        g *= limit / norm


def _check_vector(name: str, array: Array, plan: Plan, shape: tuple[int, ...]) -> None:
    """Raise unless `array` can be updated in place."""
    if array.dtype != plan.dtype or array.shape != shape:
        raise ValueError(
            f"{name} must be an array of shape {shape}, dtype {plan.dtype}; "
            f"received shape {array.shape}, dtype {array.dtype}"
        )
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise ValueError(f"{name} must be C-contiguous and writable")


def _check_rows(name: str, array: Array | None, rows: int, cols: int) -> None:
    """Raise unless `array` has so many rows of so many numbers."""
    if array is None:
        raise ValueError(f"{name} is missing: the plan reads it")
    if math.prod(array.shape[1:]) != cols:
        raise ValueError(f"{name} must have {cols} numbers a row; received shape {array.shape}")
    if len(array) != rows:
        raise ValueError(f"{name} must have as many rows as x, {rows}; received {len(array)}")


def _written(step: Step) -> Iterator[tuple[str, int]]:
    """Yield the name and number of each buffer that a step writes."""
    names = WRITES[step.op]
    if step.op == "update" or step.update:
        names = ("w", "b")
    for name in names:
        number = getattr(step, name)
        if number is not None:
            yield name, number


def _check_plan(plan: Plan) -> None:
    """Raise ValueError, naming the step, unless the plan can be run in its order."""
    if plan.optimizer and plan.optimizer not in formulas(optimizers):
        raise ValueError(
            f"plan optimizer: unknown: {plan.optimizer!r}; known: {', '.join(formulas(optimizers))}"
        )
    computed = ("work", "gradients")
    known = {i for i, b in enumerate(plan.buffers) if b.arena not in computed}
    updated: set[int] = set()
    for k, step in enumerate(plan.steps):
        where = f"plan step {k} ({step.op})"
        if step.op not in OPS:
            raise ValueError(f"{where}: unknown op; known: {', '.join(OPS)}")
        if step.op in KINDS and step.kind not in _kinds(step.op):
            raise ValueError(
                f"{where}: unknown kind {step.kind!r}; known: {', '.join(_kinds(step.op))}"
            )
        written = dict(_written(step))
        for name in BUFFER_FIELDS:
            number = getattr(step, name)
            if number is None:
                continue
            if not 0 <= number < len(plan.buffers):
                raise ValueError(f"{where}: {name} names no buffer; received {number}")
            if name in written and step.op not in IN_PLACE:
                continue
            buffer = plan.buffers[number].name
            if number not in known:
                raise ValueError(f"{where}: {buffer} is read before it is written")
            if number in updated:
                raise ValueError(
                    f"{where}: {buffer} is read after its update: "
                    f"dense_backward_data of a layer comes first"
                )
        known.update(written.values())
        if step.op == "update" or step.update:
            if not plan.optimizer:
                raise ValueError(f"{where}: an update needs an optimizer")
            updated.update(written.values())


def first_difference(
    a: Any,
    b: Any,
    x: Array,
    t: Array | None = None,
    r: Array | None = None,
    rows: int | None = None,
    iteration: int = 0,
    learning_rate: float = 0.0,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> str | None:
    """Run one batch through two executors, step by step; name the first step that differs.

    After each step, what it wrote is compared: its buffers, the loss, the metrics' totals; the
    parameters of an update, and the slots of executors that show theirs.

    Parameters
    ----------
    a, b : Executor
        Of one plan, compiled or not; both go one training step further.
    x, t, r : ndarray
        The batch is their first `rows` rows; None: all.
    rows, iteration, learning_rate : number
        See :meth:`Executor.run`.
    rtol, atol : float
        Relative and absolute tolerance.

    Returns
    -------
    str or None
        The step, the buffer, the element that differs most and its two values; None if nothing
        differs.
    """
    plan: Plan = a.plan
    totals = [np.zeros((plan.n_metrics, 2)) for _ in (a, b)]
    for executor in (a, b):
        executor.load(x, t, r, rows=rows)
    for index, step in enumerate(plan.steps):
        for executor, total in zip((a, b), totals, strict=True):
            executor.execute(index, iteration, learning_rate, total)
        found: list[tuple[str, Any, Any]] = [
            (f"{name} = {plan.buffers[number].name}", a.read(number), b.read(number))
            for name, number in _written(step)
        ]
        if step.op == "clip_global_norm":
            found.append(("gradients", a.gradients, b.gradients))
        if (step.op == "update" or step.update) and hasattr(a, "slots") and hasattr(b, "slots"):
            found.append(("slots", a.slots, b.slots))
        found.append(("totals", totals[0], totals[1]))
        found.append(("loss", np.array(a.loss), np.array(b.loss)))
        for name, one, two in found:
            same = np.isclose(one, two, rtol=rtol, atol=atol, equal_nan=True)
            if same.all():
                continue
            with np.errstate(invalid="ignore"):
                distance = np.nan_to_num(np.abs(one - two), nan=np.inf)
            worst = np.unravel_index(np.where(same, -1, distance).argmax(), distance.shape)
            where = ", ".join(str(i) for i in worst)
            return (
                f"step {index} ({' '.join(filter(None, (step.op, step.kind, step.layer)))}): "
                f"{name}[{where}] is {one[worst]:.9g} and {two[worst]:.9g}; "
                f"{np.sum(~same)} of {same.size} elements differ"
            )
    return None
