"""The plan, run step by step in NumPy.

The oracle of the compiled executor, the baseline of the benchmark, and the place to see what a
training step does: each step of a plan is one short method.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncore.plan import BUFFER_FIELDS, Plan, Step
from nncore.reference import activations, losses, metrics, optimizers, random

__all__ = ["Executor", "first_difference"]

Array = NDArray[Any]

#: The activations that have a parameter of their own.
PARAMETRIC = frozenset({"leaky_relu", "elu"})


class Executor:
    """Runs a plan in NumPy; see ``src/plan.pyx`` for the compiled one with the same methods.

    Parameters
    ----------
    plan : Plan
    parameters : ndarray, (plan.n_parameters,)
        Held by reference and updated in place.
    slots : ndarray, (plan.n_slots, plan.n_parameters), or None
        Likewise.
    batch_size : int
        The most rows of a batch.
    n_threads : int
        Kept for the common interface; NumPy decides for itself.
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
        for name, array, shape in (
            ("parameters", parameters, (plan.n_parameters,)),
            ("slots", slots, (plan.n_slots, plan.n_parameters)),
        ):
            if array is None:
                if plan.n_slots:
                    raise ValueError(f"{plan.optimizer} needs {plan.n_slots} slots; received none")
            elif array.dtype != plan.dtype or array.shape[-1:] != shape[-1:]:
                raise ValueError(
                    f"{name} must be an array of shape {shape}, dtype {plan.dtype}; "
                    f"received shape {array.shape}, dtype {array.dtype}"
                )
        self.plan = plan
        self.parameters = parameters
        self.slots = np.empty((0, plan.n_parameters), plan.dtype) if slots is None else slots
        self.batch_size = batch_size
        self.n_threads = n_threads
        self.loss = 0.0
        self.hyper: dict[str, float] = dict(plan.hyper)
        stores = any(b.arena == "gradients" for b in plan.buffers)
        self.gradients = np.zeros(plan.n_parameters, plan.dtype) if stores else None
        # One array a buffer; parameters and gradients are views of their vector.
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

    def load(
        self,
        x: Array,
        t: Array | None = None,
        r: Array | None = None,
        order: Array | None = None,
        begin: int = 0,
        rows: int | None = None,
    ) -> None:
        """Gather the rows of one batch, cast to the plan's dtype."""
        end = (len(x) if order is None else len(order)) if rows is None else begin + rows
        at: Any = slice(begin, end) if order is None else order[begin:end]
        plan = self.plan
        for i, b in enumerate(plan.buffers):
            if b.arena == "x":
                self.values[i] = np.asarray(x[at]).reshape(-1, b.cols).astype(plan.dtype)
            elif b.arena == "t" and t is not None:
                self.values[i] = np.asarray(t[at]).reshape(-1, b.cols).astype(plan.dtype)
            elif b.arena == "labels" and t is not None:
                self.values[i] = np.asarray(t[at]).reshape(-1, 1).astype(np.int64)
            elif b.arena == "r" and r is not None:
                self.values[i] = np.asarray(r[at]).reshape(-1, 1).astype(np.float64)
        self.loss = 0.0

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
        # `loss` is the value; the step of that name is loss_step.
        getattr(self, "loss_step" if step.op == "loss" else step.op)(step)

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
        totals: Array | None = None,
        seconds: float = float("inf"),
    ) -> int:
        """Run batch after batch; return the number done.  As the compiled executor's run()."""
        last = (len(x) if order is None else len(order)) if end is None else end
        size = batch_size or self.batch_size
        rates = np.zeros(1) if learning_rates is None else learning_rates
        deadline = time.perf_counter() + seconds
        done = 0
        for at in range(begin, last, size):
            self.load(x, t, r, order, at, min(size, last - at))
            rate = float(rates[done if len(rates) > 1 else 0])
            for index in range(len(self.plan.steps)):
                self.execute(index, iteration + done, rate, totals)
            if losses is not None:
                losses[done] = self.loss
            done += 1
            if time.perf_counter() >= deadline:
                break
        return done

    def predict(self, x: Array, out: Array) -> None:
        """Write the output for every row of x into out."""
        for at in range(0, len(x), self.batch_size):
            rows = min(self.batch_size, len(x) - at)
            self.load(x, begin=at, rows=rows)
            for index in range(len(self.plan.steps)):
                self.execute(index)
            out[at : at + rows] = self.values[self.plan.output]

    def read(self, buffer: int) -> Array:
        """Return a copy of a buffer, (rows, columns)."""
        return np.array(self.values[buffer])

    # --- small helpers ---

    def get(self, buffer: int | None) -> Any:
        """Return a buffer's array; None stays None."""
        return None if buffer is None else self.values[buffer]

    def put(self, buffer: int | None, value: Array) -> None:
        """Give a buffer its value; where it is a view of a vector, write into the vector."""
        if buffer is None:
            return
        if self.plan.buffers[buffer].arena in ("parameters", "gradients"):
            self.values[buffer][...] = value
        else:
            self.values[buffer] = value.astype(self.plan.dtype, copy=False)

    def activation(self, kind: str, z: Array, alpha: float) -> Array:
        """Y = kind(z)."""
        rest = (alpha,) if kind in PARAMETRIC else ()
        y: Array = getattr(activations, kind)(z, *rest)
        return y

    def times_derivative(self, step: Step, dy: Array) -> Array:
        """Return dy times the derivative, from whichever of z and y the step gives."""
        if step.kind == "linear":
            return dy
        zy = self.get(step.y if step.z is None else step.z)
        if step.kind == "softmax":
            return activations.softmax_backward(dy, zy)
        rest = (step.alpha,) if step.kind in PARAMETRIC else ()
        derivative: Array = getattr(activations, f"{step.kind}_derivative")(zy, *rest)
        return dy * derivative

    def apply_optimizer(self, w: int, gradient: Array) -> None:
        """Update a parameter, and its part of every slot, in place."""
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
        """Y = x alpha + beta."""
        self.put(step.y, self.get(step.x) * step.alpha + step.beta)

    def dense(self, step: Step) -> None:
        """Z = x w + b;  y = kind(z)."""
        z = self.get(step.x) @ self.get(step.w)
        if step.b is not None:
            z += self.get(step.b)
        self.put(step.z, z)
        self.put(step.y, self.activation(step.kind, z, step.alpha))

    def activate(self, step: Step) -> None:
        """Y = kind(x)."""
        self.put(step.y, self.activation(step.kind, self.get(step.x), step.alpha))

    def dropout(self, step: Step) -> None:
        """Y = x / (1 - rate) where kept, else 0."""
        self.put(step.y, self.get(step.x) * self.mask(step, self.get(step.x)))

    def mask(self, step: Step, x: Array) -> Array:
        """1 / (1 - rate) where kept, else 0: the same forward and backward."""
        rows, cols = x.shape
        kept = random.keep(rows, cols, step.alpha, step.seed, self.iteration)
        return kept * x.dtype.type(1 / (1 - step.alpha))

    # --- loss, metrics, penalties ---

    def loss_step(self, step: Step) -> None:
        """Set the batch's loss and its derivative dy."""
        r = None if step.r is None else self.get(step.r)[:, 0]
        self.loss, dy = losses.batch_loss(
            step.kind, self.get(step.y), self.get(step.t), r, step.alpha, step.reduction
        )
        self.put(step.dy, dy)

    def metric(self, step: Step) -> None:
        """Add a metric's sum and count to its row of the totals."""
        y, t = self.get(step.y), self.get(step.t)
        r = np.ones(len(y)) if step.r is None else self.get(step.r)[:, 0]
        values = getattr(metrics, step.kind)(y, t, step.alpha)
        self.totals[step.index] += (r * values).sum(), r.sum()

    def penalty(self, step: Step) -> None:
        """Add l1 sum|w| + l2 sum w^2 to the loss."""
        w = self.get(step.w).astype(np.float64)
        self.loss += float(step.l1 * np.abs(w).sum() + step.l2 * (w * w).sum())

    def activity_penalty(self, step: Step) -> None:
        """Add (l1 sum|y| + l2 sum y^2) / rows to the loss, and its derivative to dy."""
        y = self.get(step.y)
        wide = y.astype(np.float64)
        self.loss += float(step.l1 * np.abs(wide).sum() + step.l2 * (wide * wide).sum()) / len(y)
        if step.dy is not None:
            self.put(
                step.dy,
                self.get(step.dy) + (step.l1 * np.sign(y) + 2 * step.l2 * y) / len(y),
            )

    # --- the steps, backward ---

    def activate_backward(self, step: Step) -> None:
        """Dx = dy times the derivative."""
        self.put(step.dx, self.times_derivative(step, self.get(step.dy)))

    def dropout_backward(self, step: Step) -> None:
        """Dx = dy / (1 - rate) where kept, else 0."""
        self.put(step.dx, self.get(step.dy) * self.mask(step, self.get(step.dy)))

    def rescale_backward(self, step: Step) -> None:
        """Dx = dy alpha."""
        self.put(step.dx, self.get(step.dy) * step.alpha)

    def dense_backward_data(self, step: Step) -> None:
        """Dx = (dz w^T), times the derivative of the layer below."""
        self.put(step.dx, self.times_derivative(step, self.get(step.dz) @ self.get(step.w).T))

    def dense_backward_weights(self, step: Step) -> None:
        """Dw = x^T dz, db = column sums of dz, penalties added; stored, or used for the update."""
        dz = self.get(step.dz)
        pairs = [(step.w, step.dw, self.get(step.x).T @ dz, step.l1, step.l2)]
        if step.b is not None:
            db = dz.sum(axis=0, keepdims=True)
            pairs.append((step.b, step.db, db, step.bias_l1, step.bias_l2))
        for parameter, stored, gradient, l1, l2 in pairs:
            w = self.get(parameter)
            gradient = gradient + l1 * np.sign(w) + 2 * l2 * w if l1 or l2 else gradient
            if step.update:
                assert parameter is not None
                self.apply_optimizer(parameter, gradient)
            else:
                self.put(stored, gradient)

    def clip_value(self, step: Step) -> None:
        """No element further from 0 than alpha."""
        g = self.get(step.dw)
        self.put(step.dw, np.clip(g, -step.alpha, step.alpha))

    def clip_norm(self, step: Step) -> None:
        """Keep to a norm of at most alpha for one parameter's gradient."""
        g = self.get(step.dw)
        norm = np.sqrt((g.astype(np.float64) ** 2).sum())
        if not norm <= step.alpha:
            self.put(step.dw, g * g.dtype.type(step.alpha / norm))

    def clip_global_norm(self, step: Step) -> None:
        """Keep to a norm of at most alpha for all gradients together."""
        assert self.gradients is not None
        norm = np.sqrt((self.gradients.astype(np.float64) ** 2).sum())
        if not norm <= step.alpha:
            self.gradients *= self.gradients.dtype.type(step.alpha / norm)

    def update(self, step: Step) -> None:
        """Apply the optimizer with a stored gradient."""
        assert step.w is not None
        self.apply_optimizer(step.w, self.get(step.dw))


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

    Parameters
    ----------
    a, b : Executor
        Of one plan, compiled or not; both go one training step further.
    x, t, r : ndarray
        The batch is their first `rows` rows.
    rows, iteration, learning_rate : number
    rtol, atol : float
        Relative and absolute tolerance.

    Returns
    -------
    str or None
        The step, the buffer and the largest difference; None if there is none.
    """
    plan: Plan = a.plan
    for executor in (a, b):
        executor.load(x, t, r, rows=rows)
    for index, step in enumerate(plan.steps):
        for executor in (a, b):
            executor.execute(index, iteration, learning_rate)
        for name in BUFFER_FIELDS:
            buffer = getattr(step, name)
            if buffer is None:
                continue
            one, two = a.read(buffer), b.read(buffer)
            if not np.allclose(one, two, rtol=rtol, atol=atol, equal_nan=True):
                worst = np.nanmax(np.abs(one - two))
                return (
                    f"step {index} ({step.op} {step.kind} {step.layer}): {name} = "
                    f"{plan.buffers[buffer].name} differs by up to {worst:.3g}"
                )
        if not np.isclose(a.loss, b.loss, rtol=rtol, atol=atol, equal_nan=True):
            return f"step {index} ({step.op} {step.kind}): loss {a.loss:.9g} and {b.loss:.9g}"
    return None
