"""The glass box: one training step with every number of it kept.

:meth:`nncore.Sequential.trace` runs the plan of an ordinary training step in the same executor,
step by step, and reads every buffer after the step that wrote it.  A plan leaves out what nobody
needs; :func:`complete` adds those steps (``z`` where it is not kept, ``dy`` where the activation's
derivative rides along, ``dx`` of the first layer), each into a buffer of its own, so that the
others compute what they always do, bit for bit.

Names in a trace are the glossary's, after the layer's name: ``hidden.x``, ``hidden.w``,
``hidden.b``, ``hidden.z``, ``hidden.y`` on the way forward; ``hidden.dy``, ``hidden.dz``,
``hidden.dw``, ``hidden.db``, ``hidden.dx`` on the way back.  See :class:`Trace` for the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import _names, compiler, kernels
from nncore._files import replacing
from nncore._names import PUBLIC, UnknownNameError, glossary
from nncore.compiled import aligned
from nncore.plan import ALIGNMENT, Buffer, Plan, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nncore.data import Rows
    from nncore.explain import Explanation
    from nncore.models import Sequential

__all__ = ["LayerTrace", "Trace", "gradients", "input_gradient", "trace"]

Array = NDArray[Any]

#: The slots of each optimizer, in the kernels' order.
SLOTS: Mapping[str, tuple[str, ...]] = {
    "": (), "sgd": (), "momentum": ("m",), "nesterov": ("m",), "adagrad": ("a",),
    "rmsprop": ("v",), "rmsprop_full": ("v", "a", "m"), "adam": ("m", "v"),
    "amsgrad": ("m", "v", "largest"),
}  # fmt: skip

#: More names than this are not listed in an error.
_MOST_NAMES = 60

#: Steps of a plan that lead to the loss; the others are for the way back and the update.
FORWARD = frozenset({
    "rescale", "dense", "activate", "dropout", "loss", "metric", "penalty", "activity_penalty",
})  # fmt: skip
#: Steps that follow the way back.
UPDATES = frozenset({"clip_value", "clip_norm", "clip_global_norm", "update"})


# --- the plan, completed ---


@dataclass(slots=True)
class _Wires:
    """The buffers of one forward operation, by their number in the plan."""

    step: Step
    x: int
    y: int
    z: int | None = None
    dy: int | None = None
    dz: int | None = None
    dx: int | None = None
    dw: int | None = None
    db: int | None = None
    absorbed: bool = False  # the loss takes this activation in: there is no dy


class _Completion:
    """Adds to a plan the steps that a training step can do without.

    Parameters
    ----------
    plan : Plan
        To train, ``fused=False``, ``output=True``.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.buffers = list(plan.buffers)
        self.n_work = plan.n_work
        self.steps: list[Step] = []
        self.ops: list[_Wires] = []
        self.loss: Step | None = None
        self.clips: dict[int, int] = {}

    def work(self, name: str, cols: int) -> int:
        """Return a new buffer of so many columns."""
        self.buffers.append(Buffer(name, "work", 0, cols, self.n_work))
        self.n_work += -(-cols // ALIGNMENT) * ALIGNMENT
        return len(self.buffers) - 1

    def like(self, name: str, buffer: int) -> int:
        """Return a new buffer as wide as another one."""
        return self.work(name, self.buffers[buffer].cols)

    def op(self, layer: str, *kinds: str) -> _Wires:
        """Return the last operation of a layer that is one of these kinds."""
        for wires in reversed(self.ops):
            if wires.step.layer == layer and wires.step.op in kinds and not wires.absorbed:
                return wires
        raise AssertionError(f"no {kinds} in {layer}")

    def run(self) -> Plan:
        """Return the completed plan."""
        updates = [step for step in self.plan.steps if step.op in UPDATES]
        # A penalty on the output of a layer that nothing below is trained for has no derivative
        # in the plan; the gradient by the input needs it.
        late: dict[str, Step] = {}
        for step in self.plan.steps:
            if step.op in UPDATES:
                continue
            if step.op == "activity_penalty" and step.dy is None:
                late[step.layer] = step
                continue
            visit: Callable[[Step], None] | None = getattr(self, f"_{step.op}", None)
            if visit is None:
                self.steps.append(step)
            else:
                visit(step)
        self._to_the_input(late)
        return replace(
            self.plan,
            buffers=tuple(self.buffers),
            steps=(*self.steps, *updates),
            n_work=self.n_work,
        )

    # Forward.

    def _dense(self, step: Step) -> None:
        assert step.x is not None
        assert step.y is not None
        wires = _Wires(step, step.x, step.y, step.z)
        if step.kind == "linear":
            wires.z = step.y
        elif step.z is None:
            wires.z = self.like(f"{step.layer}.z", step.y)
            self.steps.append(replace(step, kind="linear", alpha=0.0, y=wires.z))
        self.steps.append(step)
        self.ops.append(wires)

    def _activate(self, step: Step) -> None:
        assert step.x is not None
        assert step.y is not None
        self.steps.append(step)
        self.ops.append(_Wires(step, step.x, step.y, z=step.x))

    _dropout = _rescale = _activate

    def _loss(self, step: Step) -> None:
        assert step.y is not None
        dy = self.like("dy", step.y) if step.dy is None else step.dy
        self.loss = replace(step, dy=dy)
        self.steps.append(self.loss)
        if not self.ops:
            return
        last = self.ops[-1]
        if last.x == step.y and last.y == self.plan.output and last.y != step.y:
            last.absorbed = True
            last.dx = dy
        else:
            last.dy = dy

    # Back.

    def _activate_backward(self, step: Step) -> None:
        self.steps.append(step)
        wires = self.op(step.layer, "dense", "activate")
        wires.dz = step.dx
        if wires.step.op == "activate":
            wires.dx = step.dx

    def _dropout_backward(self, step: Step) -> None:
        self.steps.append(step)
        self.op(step.layer, "dropout", "rescale").dx = step.dx

    _rescale_backward = _dropout_backward

    def _dense_backward_data(self, step: Step) -> None:
        wires = self.op(step.layer, "dense")
        wires.dz = step.dz
        if step.kind == "linear":
            wires.dx = step.dx
        else:
            wires.dx = self.like(f"{step.layer}.dx", wires.x)
            self.steps.append(replace(step, kind="linear", alpha=0.0, z=None, y=None, dx=wires.dx))
            below = self.ops[self.ops.index(wires) - 1]
            below.dz = step.dx
            if below.step.op == "activate":
                below.dx = step.dx
        self.steps.append(step)

    def _dense_backward_weights(self, step: Step) -> None:
        self.steps.append(step)
        wires = self.op(step.layer, "dense")
        wires.dz, wires.dw, wires.db = step.dz, step.dw, step.db

    def _to_the_input(self, late: dict[str, Step]) -> None:
        """Write what is missing on the way to the input; note every dy."""
        assert self.loss is not None
        here = self.loss.dy
        for wires in reversed(self.ops):
            step = wires.step
            if wires.absorbed:
                here = wires.dx
                continue
            assert here is not None
            wires.dy = here
            if step.layer in late and wires is self.op(step.layer, step.op):
                self.steps.append(replace(late.pop(step.layer), dy=here))
            if wires.dx is None:
                wires.dx = self._back(wires, here)
            if step.op == "dense" and wires.dz is None:
                wires.dz = here
            here = wires.dx
        self.steps.extend(late.values())

    def _back(self, wires: _Wires, dy: int) -> int:
        """Write the way back through one operation; return the derivative by its input."""
        step = wires.step
        dx = self.like(f"{step.layer}.dx", wires.x)
        if step.op == "dense":
            if wires.dz is None and step.kind != "linear":
                wires.dz = self._derivative(wires, dy, self.like(f"{step.layer}.dz", wires.y))
            dz = dy if wires.dz is None else wires.dz
            self.steps.append(
                Step("dense_backward_data", kind="linear", layer=step.layer, dz=dz, w=step.w, dx=dx)
            )
        elif step.op == "activate":
            self._derivative(wires, dy, dx)
        else:
            op = f"{step.op}_backward"
            self.steps.append(
                Step(op, layer=step.layer, dy=dy, dx=dx, alpha=step.alpha, seed=step.seed)
            )
        return dx

    def _derivative(self, wires: _Wires, dy: int, dx: int) -> int:
        step = wires.step
        back = Step("activate_backward", kind=step.kind, layer=step.layer, dy=dy, dx=dx,
                    alpha=step.alpha)  # fmt: skip
        reads_z = kernels.derivative_reads(step.kind) == "z"
        self.steps.append(replace(back, z=wires.z) if reads_z else replace(back, y=wires.y))
        return dx


def complete(plan: Plan) -> tuple[Plan, list[_Wires]]:
    """Return a plan that computes every number of a step, and where each of them lies.

    Parameters
    ----------
    plan : Plan
        To train, compiled with ``fused=False`` and ``output=True``.
    """
    completion = _Completion(plan)
    return completion.run(), completion.ops


def forward_only(plan: Plan) -> Plan:
    """Return the part of a plan that leads to the loss, penalties included.

    Parameters
    ----------
    plan : Plan
    """
    steps = tuple(replace(step, dy=None) for step in plan.steps if step.op in FORWARD)
    return replace(plan, steps=steps, optimizer="", n_slots=0, hyper={}, output=-1)


# --- what is kept ---


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What a layer is, and what a trace knows of it.

    Attributes
    ----------
    name, kind : str
        ``"hidden"``, ``"Dense"``.
    activation : str
        ``"linear"`` where there is none.
    alpha : float
        The activation's parameter; a Dropout's rate; a Rescaling's factor.
    beta : float
        A Rescaling's offset.
    absorbed : bool
        Whether the loss takes in the activation: softmax or sigmoid and their cross-entropy are
        one step, from z; there is no ``dy`` then.
    trainable : bool
        Whether the step updates its parameters.
    penalties : dict
        ``(l1, l2)`` by ``"w"``, ``"b"`` and ``"y"``, where there are any.
    """

    name: str
    kind: str
    activation: str = "linear"
    alpha: float = 0.0
    beta: float = 0.0
    absorbed: bool = False
    trainable: bool = False
    penalties: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Trace(Mapping[str, Array]):
    """Every number of one training step; :meth:`nncore.Sequential.trace` makes it.

    A mapping from names to arrays.  All have one row for each row of the batch, or the
    parameter's shape:

    =============================  ============================================================
    ``x t y r``                    the batch: input, target, output, the rows' weights if given
    ``loss``                       the step's loss, penalties included (no dimension)
    ``loss.rows``                  of each row, before weights and reduction; for
                                   ``root_mean_squared_error`` the row's squared error
    ``loss.penalty``               what regularizers add, where there are any
    ``hidden.x .w .b .z .y``       layer "hidden" forward; ``hidden.kernel`` and ``hidden.bias``
                                   are other names of ``hidden.w`` and ``hidden.b``
    ``hidden.dy .dz .dw .db .dx``  the derivative of the loss by each
    ``hidden.dw.clipped``          what clipping left of ``hidden.dw``, with an optimizer that
                                   clips
    ``hidden.w.next``              after the update; ``hidden.b.next`` likewise
    ``hidden.w.m``                 the optimizer's slots before the update, here Adam's ``m``;
    ``hidden.w.m.next``            and after it
    ``y.next``, ``loss.next``      output and loss of the same rows after the update, with the
                                   same dropout masks
    =============================  ============================================================

    Attributes
    ----------
    layers : tuple of LayerTrace
    model, dtype, engine : str
    loss_name : str
        The loss's kernel: ``"mean_squared_error"``; ``"softmax_categorical_crossentropy"`` reads
        z.
    loss_alpha, reduction
        Its parameter (delta, label smoothing), and how rows become one number.
    optimizer : str
        The kernel: ``"sgd"``, ``"momentum"``, ``"nesterov"``, ``"adagrad"``, ``"rmsprop"``,
        ``"rmsprop_full"``, ``"adam"``, ``"amsgrad"``; "" where nothing can be trained.
    learning_rate : float
        Of this step.
    iteration : int
        Updates done before it.
    hyper : mapping
        The optimizer's constants.
    clip : (str, float) or None
        ``("clipnorm", 1.0)``
    applied : bool
        Whether the model itself made the step.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        layers: Sequence[LayerTrace],
        *,
        model: str,
        dtype: str,
        engine: str,
        loss_name: str,
        loss_alpha: float,
        reduction: str,
        optimizer: str,
        learning_rate: float,
        iteration: int,
        hyper: Mapping[str, float],
        clip: tuple[str, float] | None,
        applied: bool,
    ) -> None:
        self._arrays = dict(arrays)
        for array in self._arrays.values():
            array.setflags(write=False)
        self.layers = tuple(layers)
        self.model = model
        self.dtype = dtype
        self.engine = engine
        self.loss_name = loss_name
        self.loss_alpha = loss_alpha
        self.reduction = reduction
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.iteration = iteration
        self.hyper = dict(hyper)
        self.clip = clip
        self.applied = applied

    # --- a mapping ---

    def __getitem__(self, name: str) -> Array:
        """Return an array by its name.

        Raises
        ------
        KeyError
            For a name that is not there; the text says why, or lists the known ones and the
            nearest.
        """
        found = self._arrays.get(name)
        if found is None and isinstance(name, str):
            found = self._arrays.get(glossary(name))
        if found is None:
            raise UnknownNameError(self._missing(name))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    # Two traces are equal if they are one: arrays do not compare as a whole.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._arrays or glossary(name) in self._arrays)

    def layer(self, name: str) -> LayerTrace:
        """Return what the trace knows of a layer.

        Raises
        ------
        KeyError
            For a name that no layer has.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise UnknownNameError(
            _names.unknown_name("layer", name, [layer.name for layer in self.layers])
        )

    def _missing(self, name: object) -> str:
        if not isinstance(name, str):
            return f'trace: names are strings such as "{next(iter(self))}"; received {name!r}'
        layer, _, part = glossary(name).rpartition(".")
        for known in self.layers:
            if known.name != layer:
                continue
            if part == "dy" and known.absorbed:
                return (
                    f'"{name}" is not computed: {known.activation} and the cross-entropy are one '
                    f"step, which gives the derivative before the activation at once. Use "
                    f'"{self.before(known)}"'
                )
            if part in ("dw", "db") and known.kind == "Dense" and not known.trainable:
                return f'"{name}" is not computed: the layer "{layer}" has trainable=False'
            if part in ("b", "db") and known.kind == "Dense":
                return f'"{name}" is not there: the layer "{layer}" has no bias'
        return self._unknown(name, layer)

    def _unknown(self, name: str, layer: str) -> str:
        """Return the text for a name that is not there: all names, or a large net's nearest."""
        known = list(self)
        if len(known) > _MOST_NAMES:
            names = {known_layer.name for known_layer in self.layers}
            # One layer's names, or the layers and one example.
            near = [n for n in known if n.startswith(f"{layer}.")] if layer in names else []
            if not near:
                text = _names.unknown_name("layer in this trace", layer or name, names)
                return f'{text} Names are such as "{known[-3]}"; print(trace) lists them'
            known = near
        return _names.unknown_name("name in this trace", name, known)

    def before(self, layer: LayerTrace) -> str:
        """Return the name of the derivative before a layer's activation."""
        return f"{layer.name}.{'dz' if layer.kind == 'Dense' else 'dx'}"

    # --- looking at it ---

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return len(self._arrays["x"])

    @property
    def loss(self) -> float:
        """The step's loss, penalties included."""
        return float(self._arrays["loss"])

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that the step updates: ``("hidden.w", "hidden.b", ...)``."""
        return tuple(
            f"{layer.name}.{part}"
            for layer in self.layers
            for part in ("w", "b")
            if f"{layer.name}.d{part}" in self._arrays
        )

    def __repr__(self) -> str:
        rows = f"{self.rows} row{'s' if self.rows != 1 else ''}"
        return (
            f"<Trace of {self.model}, step {self.iteration + 1}: {rows}, {len(self.layers)} layers,"
            f" loss {self.loss:.8g}, {len(self)} arrays>"
        )

    def __str__(self) -> str:
        """Return a table of what is in it: name, shape, norm."""
        width = max(len(name) for name in self)
        lines = [repr(self)[1:-1]]
        for name, array in self._arrays.items():
            shape = " x ".join(str(n) for n in array.shape) or "-"
            norm = float(np.sqrt(np.square(array, dtype=np.float64).sum()))
            lines.append(f"{name:<{width}}  {shape:>12}  norm {norm:.8g}")
        return "\n".join(lines)

    def explain(self, what: str | None = None, lang: str = "en") -> Explanation:
        """Explain the step in words and numbers.

        Parameters
        ----------
        what : str, optional
            None: the whole step, forward, error, chain rule, update.  One parameter, such as
            ``"hidden.kernel[0, 1]"`` or ``"output.bias[0]"``: its chain rule with every factor.
        lang : {"en", "ko"}

        Returns
        -------
        Explanation
            ``print`` it in a terminal; ``.markdown`` has LaTeX; a notebook shows it as HTML.

        Raises
        ------
        ValueError, KeyError
            For what is not in the trace, or another language.
        """
        from nncore.explain import explain

        return explain(self, what, lang)

    def plot(self, *, row: int = 0, digits: int = 3, ax: Axes | None = None) -> Axes:
        """Draw the network with the numbers of the step; see :func:`nncore.plot.network`.

        Parameters
        ----------
        row : int, default 0
            Whose values the units show; gradients of parameters are those of the whole batch.
        digits : int, default 3
            Significant digits.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from nncore.plot import network

        return network(self, row=row, digits=digits, ax=ax)

    # --- keeping it ---

    def to_dict(self) -> dict[str, Array]:
        """Return copies of all arrays by their names."""
        return {name: array.copy() for name, array in self._arrays.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all arrays into one ``.npz`` file, which ``numpy.load(path)`` reads.

        Parameters
        ----------
        path : path
            As it is: no ending is added.

        Raises
        ------
        OSError
            The file cannot be written.  What was there before is unchanged then.

        Notes
        -----
        The file is written under another name in the same folder and then renamed.  Beside the
        arrays it holds ``learning_rate`` and ``iteration``.
        """
        more = {
            "learning_rate": np.array(self.learning_rate),
            "iteration": np.array(self.iteration),
        }
        with replacing("trace", path) as file:
            np.savez(file, **self._arrays, **more)  # type: ignore[arg-type]


# --- running a step ---


class _Recorder:
    """Runs a completed plan and keeps what its steps write.

    Parameters
    ----------
    model : Sequential
        Built and compiled.
    rows : Rows
    update : bool
        Whether the step ends with the update; otherwise with the gradients.
    apply : bool
        Whether to update the model's own parameters and slots, not copies.
    """

    def __init__(self, model: Sequential, rows: Rows, *, update: bool, apply: bool = False) -> None:
        self.model = model
        optimizer = model.optimizer
        plan = compiler.compile_plan(
            model.layers,
            "train",
            loss=model.loss,
            optimizer=optimizer if update else None,
            weights=rows.r is not None,
            fused=False,
            output=True,
        )
        self.plan, self.ops = complete(plan)
        parameters, slots = model.parameters, model.slots
        if not apply:
            parameters = _copy(parameters)
            slots = None if slots is None else _copy(slots)
        self.parameters = parameters
        self.slots = slots if self.plan.n_slots else None
        self.before = parameters.copy()
        self.slots_before = None if self.slots is None else self.slots.copy()
        self.executor: Any = compiler.make_executor(
            self.plan,
            self.parameters,
            self.slots,
            batch_size=rows.n,
            n_threads=model.n_threads,
            engine=model.engine,  # type: ignore[arg-type]
        )
        part = rows if rows.direct else rows.converted(None, 0, rows.n, model.dtype)
        self.executor.load(part.x, part.t, part.r, rows=rows.n)
        self.values: dict[int, Array] = {}
        self.clipped: dict[int, Array] = {}
        self.loss_value = self.loss = 0.0

    def run(self, iteration: int, learning_rate: float) -> None:
        """Run the step."""
        for index, step in enumerate(self.plan.steps):
            self.executor.execute(index, iteration, learning_rate)
            self._keep(step)
            if step.op == "loss":
                self.loss_value = float(self.executor.loss)
        self.loss = float(self.executor.loss)

    def _keep(self, step: Step) -> None:
        if step.op in ("clip_value", "clip_norm"):
            assert step.dw is not None
            self.clipped[step.dw] = self.executor.read(step.dw)
        elif step.op == "clip_global_norm":
            for number, buffer in enumerate(self.plan.buffers):
                if buffer.arena == "gradients":
                    self.clipped[number] = self.executor.read(number)
        elif step.op != "update":
            for name in ("z", "y", "dx", "dw", "db", "dz", "dy"):
                number = getattr(step, name)
                # What a step reads is here already, unless it is written in place.
                if number is not None and (number not in self.values or name == "dy"):
                    self.values[number] = self.executor.read(number)

    def again(self, iteration: int) -> tuple[Array, float]:
        """Run forward again, with the parameters as they are now: output and loss."""
        executor = self.executor
        loss = 0.0
        for index, step in enumerate(self.plan.steps):
            if step.op in FORWARD:
                executor.execute(index, iteration, 0.0)
                loss = float(executor.loss)
        return executor.read(self.plan.output), loss

    def read(self, arena: str) -> Array | None:
        """Return what an arena of the batch holds."""
        for number, buffer in enumerate(self.plan.buffers):
            if buffer.arena == arena:
                found: Array = self.executor.read(number)
                return found
        return None

    def get(self, number: int | None) -> Array | None:
        """Return a kept buffer; the input itself is not written by any step."""
        if number is None:
            return None
        if number not in self.values:
            self.values[number] = self.executor.read(number)
        return self.values[number]


def _copy(vector: Array) -> Array:
    copied = aligned(vector.shape, vector.dtype.name)
    copied[...] = vector
    return copied


def trace(
    model: Sequential, x: Any, y: Any, sample_weight: Any = None, *, apply: bool = False
) -> Trace:
    """Run one training step and keep every number; see :meth:`nncore.Sequential.trace`.

    Parameters
    ----------
    model : Sequential
        Compiled.
    x, y, sample_weight : array-like
        The batch, as for ``train_on_batch``.
    apply : bool, default False
        Whether the model itself makes the step.

    Returns
    -------
    Trace
        Every number of the step.
    """
    model._require_compiled("trace")
    rows = model._rows(x, y, sample_weight, None, "trace")
    optimizer = model.optimizer
    iteration = int(optimizer.iterations)
    rate = float(optimizer.rates(iteration, 1)[0])
    recorder = _Recorder(model, rows, update=True, apply=apply)
    recorder.run(iteration, rate)
    if apply:
        optimizer.iterations = iteration + 1
    plan = recorder.plan
    arrays: dict[str, Array] = {}
    step = next(s for s in plan.steps if s.op == "loss")
    given = {"x": "x", "t": "labels" if plan.labels else "t", "r": "r"}
    for name, arena in given.items():
        found = recorder.read(arena)
        if found is not None:
            arrays[name] = found[:, 0] if arena in ("labels", "r") else found
    output = recorder.get(plan.output)
    assert output is not None
    arrays["y"] = output
    raw = recorder.get(step.y)
    assert raw is not None
    per_row = (
        "mean_squared_error" if step.kind == "root_mean_squared_error" else step.kind
    )  # one number for the batch, from the rows' squared errors
    arrays["loss"] = np.array(recorder.loss)
    arrays["loss.rows"] = kernels.loss_rows(per_row, raw, arrays["t"], step.alpha)
    if any(s.op in ("penalty", "activity_penalty") for s in plan.steps):
        arrays["loss.penalty"] = np.array(recorder.loss - recorder.loss_value)
    layers = [_layer(model, layer, recorder, arrays) for layer in model.layers]
    arrays["y.next"], following = recorder.again(iteration)
    arrays["loss.next"] = np.array(following)
    clips = [(n, getattr(optimizer, n)) for n in ("clipnorm", "clipvalue", "global_clipnorm")]
    return Trace(
        {name: np.array(array) for name, array in arrays.items()},
        layers,
        model=model.label,
        dtype=model.dtype,
        engine=model.engine,
        loss_name=step.kind,
        loss_alpha=step.alpha,
        reduction=step.reduction,
        optimizer=plan.optimizer,
        learning_rate=rate,
        iteration=iteration,
        hyper=plan.hyper,
        clip=next(((n, float(v)) for n, v in clips if v is not None), None),
        applied=bool(apply),
    )


def places(layers: Sequence[Any], layer: Any, plan: Plan, ops: Sequence[_Wires]) -> dict[str, int]:
    """Return the buffers of a completed plan that hold a layer's numbers, by their names in it.

    Parameters
    ----------
    layers : sequence of Layer
        Of the model.
    layer : Layer
        One of them.
    plan, ops
        What :func:`complete` returned.
    """
    mine = [wires for wires in ops if wires.step.layer == layer.name]
    found: dict[str, int | None]
    if mine:
        first, last = mine[0], mine[-1]
        found = {"x": first.x, "y": last.y, "dy": last.dy, "dx": first.dx}
        if first.step.op == "dense":
            found |= {"w": first.step.w, "b": first.step.b, "z": first.z, "dw": first.dw,
                      "db": first.db, "dz": last.dx if last is not first else first.dz}  # fmt: skip
    else:
        # It hands on what it gets: the output of the layer below, and the derivative from above.
        below = {other.name for other in layers[: layers.index(layer)]}
        at = sum(1 for wires in ops if wires.step.layer in below)
        value = ops[at - 1].y if at else 0
        step = next(s for s in plan.steps if s.op == "loss")
        derivative = None if ops and ops[-1].absorbed else step.dy
        if at < len(ops):
            derivative = ops[at].dx
        found = {"x": value, "y": value, "dy": derivative, "dx": derivative}
    return {part: number for part, number in found.items() if number is not None}


def _layer(
    model: Sequential, layer: Any, recorder: _Recorder, arrays: dict[str, Array]
) -> LayerTrace:
    """Put a layer's arrays into the trace; return what it is."""
    name, kind = layer.name, type(layer).__name__
    ops = [wires for wires in recorder.ops if wires.step.layer == name]
    numbers = places(model.layers, layer, recorder.plan, recorder.ops)
    found = {part: recorder.get(n) for part, n in numbers.items() if part not in PUBLIC.values()}
    if not ops:
        return _put(name, kind, found, arrays, LayerTrace(name, kind))
    first, last = ops[0], ops[-1]
    info = LayerTrace(
        name, kind, alpha=last.step.alpha, beta=last.step.beta, absorbed=last.absorbed
    )
    if first.step.op == "dense":
        penalties = {
            part: (float(regularizer.l1), float(regularizer.l2))
            for part, regularizer in (
                ("w", layer.kernel_regularizer if layer.trainable else None),
                ("b", layer.bias_regularizer if layer.trainable and layer.use_bias else None),
                ("y", layer.activity_regularizer),
            )
            if regularizer is not None and (regularizer.l1 or regularizer.l2)
        }
        info = replace(info, trainable=first.dw is not None, penalties=penalties)
    if last.step.op in ("dense", "activate"):
        info = replace(info, activation=last.step.kind)
    for p in layer.parameters:
        word, part = PUBLIC[p.name], slice(p.offset, p.offset + p.size)
        found[word] = recorder.before[part].reshape(p.shape)
        number = numbers.get(f"d{word}")
        if number is not None:
            gradient = found[f"d{word}"]
            assert gradient is not None
            found[f"d{word}"] = gradient.reshape(p.shape)
            if number in recorder.clipped:
                found[f"d{word}.clipped"] = recorder.clipped[number].reshape(p.shape)
    _put(name, kind, found, arrays, info)
    if first.dw is not None:
        _updated(layer, recorder, arrays)
    return info


#: The order in which a layer's arrays stand in a trace.
_ORDER = ("x", "w", "b", "z", "y", "dy", "dz", "dw", "dw.clipped", "db", "db.clipped", "dx")


def _put(
    name: str,
    kind: str,
    found: Mapping[str, Array | None],
    arrays: dict[str, Array],
    info: LayerTrace,
) -> LayerTrace:
    for part in _ORDER:
        array = found.get(part)
        if array is not None:
            arrays[f"{name}.{part}"] = array
    return info


def _updated(layer: Any, recorder: _Recorder, arrays: dict[str, Array]) -> None:
    """Put parameters after the update, and slots before and after it, into the trace."""
    if not recorder.plan.optimizer:
        return
    for p in layer.parameters:
        word = f"{layer.name}.{PUBLIC[p.name]}"
        part = slice(p.offset, p.offset + p.size)
        arrays[f"{word}.next"] = recorder.parameters[part].reshape(p.shape)
        for i, slot in enumerate(SLOTS[recorder.plan.optimizer]):
            assert recorder.slots is not None
            assert recorder.slots_before is not None
            arrays[f"{word}.{slot}"] = recorder.slots_before[i, part].reshape(p.shape)
            arrays[f"{word}.{slot}.next"] = recorder.slots[i, part].reshape(p.shape)


# --- gradients alone ---


def _gradients(model: Sequential, x: Any, y: Any, sample_weight: Any, where: str) -> _Recorder:
    model._require_compiled(where)
    rows = model._rows(x, y, sample_weight, None, where)
    recorder = _Recorder(model, rows, update=False)
    recorder.run(int(model.optimizer.iterations), 0.0)
    return recorder


def gradients(model: Sequential, x: Any, y: Any, sample_weight: Any = None) -> dict[str, Array]:
    """Return the loss's derivative by each parameter; see :meth:`nncore.Sequential.gradients`.

    Parameters
    ----------
    model : Sequential
        Compiled.
    x, y, sample_weight : array-like
        The batch, as for ``train_on_batch``.

    Returns
    -------
    dict of str to ndarray
        By ``"hidden.kernel"`` and so on.
    """
    recorder = _gradients(model, x, y, sample_weight, "gradients")
    found: dict[str, Array] = {}
    for layer in model.layers:
        for wires in recorder.ops:
            if wires.step.layer != layer.name or wires.dw is None:
                continue
            for p in layer.parameters:
                gradient = recorder.get(wires.dw if p.name == "kernel" else wires.db)
                assert gradient is not None
                found[f"{layer.name}.{p.name}"] = gradient.reshape(p.shape)
    return found


def input_gradient(model: Sequential, x: Any, y: Any, sample_weight: Any = None) -> Array:
    """Return the loss's derivative by x; see :meth:`nncore.Sequential.input_gradient`.

    Parameters
    ----------
    model : Sequential
        Compiled.
    x, y, sample_weight : array-like
        The batch, as for ``train_on_batch``.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    recorder = _gradients(model, x, y, sample_weight, "input_gradient")
    step = next(s for s in recorder.plan.steps if s.op == "loss")
    found = recorder.get(recorder.ops[0].dx if recorder.ops else step.dy)
    assert found is not None
    shape = model.input_shape[1:]
    return found.reshape(len(found), *(int(n or 0) for n in shape))
