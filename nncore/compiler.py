"""Layers, loss and optimizer become a flat plan.

The only module that knows both floors.  What it decides:

* a softmax or sigmoid at the end and its cross-entropy become one step from raw outputs, however
  the user wrote them;
* the derivative of the layer below rides in the epilogue of ``dense_backward_data``;
* the optimizer's update rides in the epilogue of ``dense_backward_weights``, unless the whole
  gradient is wanted first (clipping) or asked for (``fused=False``);
* backward steps that no trainable layer needs are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import NDArray

from nncore import layers as nn
from nncore import runtime
from nncore.plan import ALIGNMENT, SLACK, Buffer, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nncore.losses import Loss
    from nncore.metrics import Metric
    from nncore.optimizers import Optimizer

__all__ = ["Executor", "Mode", "absorbs", "compile_plan", "make_executor", "make_predictor"]

Mode = Literal["train", "test", "predict"]

#: Metrics that only compare the entries of a row: they may read raw outputs before a softmax.
_RANK_METRICS = frozenset({
    "categorical_accuracy", "sparse_categorical_accuracy",
    "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy",
})  # fmt: skip

#: Cross-entropies whose last activation is part of the step: activation -> losses' kernels.
_FUSED_LOSSES = {
    "softmax": frozenset({"categorical_crossentropy", "sparse_categorical_crossentropy"}),
    "sigmoid": frozenset({"binary_crossentropy"}),
}


class Executor(Protocol):
    """What both executors offer; see ``src/plan.pyx`` and ``nncore/reference/plan.py``."""

    batch_size: int
    n_threads: int

    @property
    def plan(self) -> Plan:
        """The plan it runs."""

    @property
    def gradients(self) -> NDArray[Any] | None:
        """The flat gradient, in plans that store it."""

    @property
    def loss(self) -> float:
        """The last batch's loss, penalties included."""

    def set_hyper(self, hyper: Mapping[str, float]) -> None:
        """Set the optimizer's constants."""

    def run(
        self,
        x: NDArray[Any],
        t: NDArray[Any] | None = None,
        r: NDArray[Any] | None = None,
        *,
        order: NDArray[Any] | None = None,
        begin: int = 0,
        end: int | None = None,
        batch_size: int | None = None,
        iteration: int = 0,
        learning_rates: NDArray[Any] | None = None,
        losses: NDArray[Any] | None = None,
        loss_totals: NDArray[Any] | None = None,
        totals: NDArray[Any] | None = None,
        seconds: float = ...,
        kept: Sequence[NDArray[Any]] | None = None,
        observed: NDArray[Any] | None = None,
        every: int = 1,
        past: int = 0,
        between: Any = None,
    ) -> int:
        """Run batch after batch; return the number done."""

    def predict(self, x: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the output for every row."""

    def load(
        self,
        x: NDArray[Any],
        t: NDArray[Any] | None = None,
        r: NDArray[Any] | None = None,
        order: NDArray[Any] | None = None,
        begin: int = 0,
        rows: int | None = None,
    ) -> None:
        """Gather one batch."""

    def execute(self, index: int, iteration: int = 0, learning_rate: float = 0.0) -> None:
        """Run one step on the batch that load gathered."""

    def read(self, buffer: int) -> NDArray[Any]:
        """Return a copy of a buffer."""


@dataclass(slots=True)
class _Op:
    """One forward operation, as the backward pass will need it."""

    kind: str  # "dense", "activate", "rescale", "dropout"
    layer: Any
    x: int = -1
    y: int = -1
    z: int | None = None
    w: int = -1
    b: int | None = None
    activation: str = "linear"
    alpha: float = 0.0
    beta: float = 0.0
    seed: int = 0

    @property
    def elementwise(self) -> bool:
        return self.activation != "softmax"

    def trainable(self) -> bool:
        return self.kind == "dense" and bool(self.layer.trainable)


class _Writer:
    """Collects buffers and steps."""

    def __init__(self, dtype: str) -> None:
        self.buffers: list[Buffer] = []
        self.steps: list[Step] = []
        self.n_work = 0
        # What the derivative of each activation reads is a fact of its kernel.
        self.reads = runtime.core(dtype).ACTIVATIONS

    def buffer(self, name: str, arena: str, rows: int, cols: int, offset: int = 0) -> int:
        self.buffers.append(Buffer(name, arena, rows, cols, offset))
        return len(self.buffers) - 1

    def work(self, name: str, cols: int) -> int:
        offset = self.n_work
        self.n_work += -(-cols // ALIGNMENT) * ALIGNMENT
        return self.buffer(name, "work", 0, cols, offset)

    def cols(self, buffer: int) -> int:
        return self.buffers[buffer].cols

    def step(self, op: str, **fields: Any) -> None:
        self.steps.append(Step(op, **fields))

    def zy(self, op: _Op) -> dict[str, Any]:
        """Return the buffer that the derivative of an operation's activation reads."""
        if op.activation == "linear":
            return {}
        return {"z": op.z} if self.reads[op.activation] == "z" else {"y": op.y}


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n


def _operations(layers: Sequence[Any], mode: Mode, writer: _Writer) -> list[_Op]:
    """Turn layers into forward operations; a row-wise activation becomes one of its own."""
    ops: list[_Op] = []
    for layer in layers:
        if isinstance(layer, nn.Dense):
            params = {p.name: p for p in layer.parameters}
            kernel = params["kernel"]
            rows, cols = kernel.shape
            op = _Op("dense", layer, activation=layer.activation.name, alpha=layer.activation.alpha)
            op.w = writer.buffer(f"{layer.name}.kernel", "parameters", rows, cols, kernel.offset)
            if "bias" in params:
                op.b = writer.buffer(
                    f"{layer.name}.bias", "parameters", 1, cols, params["bias"].offset
                )
            if op.elementwise:
                ops.append(op)
            else:
                ops.append(replace(op, activation="linear", alpha=0.0))
                ops.append(_Op("activate", layer, activation=op.activation, alpha=op.alpha))
        elif isinstance(layer, nn.Activation):
            if layer.activation.name != "linear":
                ops.append(
                    _Op(
                        "activate",
                        layer,
                        activation=layer.activation.name,
                        alpha=layer.activation.alpha,
                    )
                )
        elif isinstance(layer, nn.Rescaling):
            ops.append(_Op("rescale", layer, alpha=float(layer.scale), beta=float(layer.offset)))
        elif isinstance(layer, nn.Dropout):
            if mode == "train" and layer.rate > 0:
                ops.append(_Op("dropout", layer, alpha=float(layer.rate), seed=int(layer.seed)))
        elif not isinstance(layer, (nn.InputLayer, nn.Flatten)):
            raise TypeError(
                f"{type(layer).__name__} {layer.name!r}: this kind of layer cannot be compiled"
            )
    return ops


def _raw_loss(ops: list[_Op], loss: Loss) -> tuple[str, bool]:
    """Return the loss's kernel, and whether it takes in the last activation.

    The last activation is taken off the last operation then: what it leaves is the raw output.
    """
    if loss.from_logits and loss.kernel_from_raw is not None:
        return loss.kernel_from_raw, False
    if ops and absorbs(ops[-1].layer, loss, ops[-1].activation):
        assert loss.kernel_from_raw is not None
        return loss.kernel_from_raw, True
    return loss.kernel, False


def absorbs(layer: Any, loss: Loss, activation: str | None = None) -> bool:
    """Tell whether a loss takes in the activation of the last layer that computes something.

    Parameters
    ----------
    layer : Layer
    loss : Loss
    activation : str, optional
        Default: the layer's.
    """
    if activation is None:
        activation = getattr(getattr(layer, "activation", None), "name", "linear")
    return (
        loss.kernel_from_raw is not None
        and not loss.from_logits
        and loss.kernel in _FUSED_LOSSES.get(activation, ())
        and getattr(layer, "activity_regularizer", None) is None
    )


def compile_plan(
    layers: Sequence[Any],
    mode: Mode,
    *,
    loss: Loss | None = None,
    metrics: Sequence[Metric] = (),
    optimizer: Optimizer | None = None,
    weights: bool = False,
    fused: bool = True,
    output: bool = False,
) -> Plan:
    """Return the plan of a model.

    Parameters
    ----------
    layers : sequence of Layer
        Built, their parameters placed in the flat vector.
    mode : {"train", "test", "predict"}
        ``"train"``: forward, loss, metrics, backward, update.  ``"test"``: forward, loss, metrics,
        no dropout.  ``"predict"``: forward alone.
    loss : Loss
        For train and test.
    metrics : sequence of Metric
        Those with a kernel; ``metric.weighted`` makes one use the row weights.
    optimizer : Optimizer, optional
        For train; None computes and stores the gradients alone.
    weights : bool
        Whether rows have weights.
    fused : bool, default True
        Update in the epilogue of the matmul; False stores the gradients first.  The result is the
        same, bit for bit.
    output : bool, default False
        In train and test: keep the final output, too, readable as ``plan.output``.

    Returns
    -------
    Plan
    """
    if not layers:
        raise ValueError("a plan needs at least one layer")
    dtype: str = next((layer.dtype for layer in layers if layer.parameters), layers[0].dtype)
    writer = _Writer(dtype)
    n_in, n_out = _size(layers[0].input_shape), _size(layers[-1].output_shape)
    x = writer.buffer("x", "x", 0, n_in)
    ops = _operations(layers, mode, writer)
    training = mode == "train"
    first_trainable = next((i for i, op in enumerate(ops) if op.trainable()), len(ops))

    kernel, absorbed = "", None
    if mode != "predict":
        if loss is None:
            raise ValueError(f"a plan to {mode} needs a loss")
        kernel, absorb = _raw_loss(ops, loss)
        if absorb:
            absorbed = _Op("activate", ops[-1].layer, activation=ops[-1].activation)
            if ops[-1].kind == "activate":
                ops.pop()
            else:
                ops[-1] = replace(ops[-1], activation="linear", alpha=0.0)

    # Forward.
    here = x
    for i, op in enumerate(ops):
        op.x = here
        here = _forward(writer, op, keep_z=training and i >= first_trainable)
    raw = final = here
    if absorbed is not None:
        ranked = absorbed.activation == "softmax"
        if output or any(not (ranked and m.kernel in _RANK_METRICS) for m in metrics):
            final = writer.work("y", n_out)
            writer.step("activate", kind=absorbed.activation, layer=absorbed.layer.name,
                        x=raw, y=final)  # fmt: skip

    if mode == "predict":
        return _finish(writer, dtype, n_in, n_out, final, layers)

    # Loss, metrics, penalties.
    assert loss is not None
    labels = bool(loss.labels)
    t = writer.buffer("labels", "labels", 0, 1) if labels else writer.buffer("t", "t", 0, n_out)
    r = writer.buffer("r", "r", 0, 1) if weights else None
    backward = training and first_trainable < len(ops)
    dy = writer.work("dy", n_out) if backward else None
    writer.step("loss", kind=kernel, y=raw, t=t, r=r, dy=dy, alpha=float(loss.alpha),
                reduction=str(loss.reduction))  # fmt: skip
    for index, metric in enumerate(metrics):
        if bool(metric.labels) != labels:
            wanted = "integer labels" if metric.labels else "dense targets (one column an output)"
            raise ValueError(
                f"metric {metric.name!r} takes {wanted}, but the loss {loss.name!r} takes "
                f"{'integer labels' if labels else 'dense targets'}: choose the metric that fits"
            )
        writer.step("metric", kind=metric.kernel, y=final, t=t, index=index,
                    alpha=float(metric.alpha),
                    r=r if getattr(metric, "weighted", False) else None)  # fmt: skip
    penalized = _penalties(writer, ops)
    if backward:
        assert dy is not None
        _backward(writer, ops, dy, first_trainable, optimizer, fused, penalized)
    for op in penalized:
        # Outputs below the first trainable layer: their penalty counts, and has no derivative.
        _activity_penalty(writer, op, None)
    plan = _finish(writer, dtype, n_in, n_out, final if output else -1, layers)
    return replace(
        plan,
        n_targets=0 if labels else n_out,
        labels=labels,
        weights=weights,
        n_metrics=len(metrics),
        optimizer=optimizer.kernel if backward and optimizer is not None else "",
        n_slots=optimizer.n_slots if backward and optimizer is not None else 0,
        hyper=dict(optimizer.hyper()) if backward and optimizer is not None else {},
    )


def _forward(writer: _Writer, op: _Op, *, keep_z: bool) -> int:
    """Write the forward step of an operation; return the buffer of its output."""
    name = op.layer.name
    if op.kind == "dense":
        cols = writer.cols(op.w)
        op.y = writer.work(f"{name}.y", cols)
        if keep_z and op.activation != "linear" and writer.reads[op.activation] == "z":
            op.z = writer.work(f"{name}.z", cols)
        writer.step("dense", kind=op.activation, layer=name, x=op.x, w=op.w, b=op.b, z=op.z,
                    y=op.y, alpha=op.alpha)  # fmt: skip
        return op.y
    op.y = writer.work(f"{name}.y", writer.cols(op.x))
    if op.kind == "activate":
        op.z = op.x
        writer.step("activate", kind=op.activation, layer=name, x=op.x, y=op.y, alpha=op.alpha)
    else:
        writer.step(op.kind, layer=name, x=op.x, y=op.y, alpha=op.alpha, beta=op.beta,
                    seed=op.seed)  # fmt: skip
    return op.y


def _regularized(op: _Op) -> Any:
    """Return the activity regularizer that looks at this operation's output, or None."""
    found = getattr(op.layer, "activity_regularizer", None)
    if found is None or (found.l1 == 0 and found.l2 == 0):
        return None
    # Of a softmax layer's two operations, the second has the output.
    if op.kind == "dense" and op.activation != op.layer.activation.name:
        return None
    return found


def _penalties(writer: _Writer, ops: list[_Op]) -> list[_Op]:
    """Write the penalties on parameters; return the operations whose output has one."""
    for op in ops:
        if op.kind != "dense" or not op.layer.trainable:
            continue
        for buffer, found in (
            (op.w, op.layer.kernel_regularizer),
            (op.b, op.layer.bias_regularizer),
        ):
            if buffer is not None and found is not None and (found.l1 or found.l2):
                writer.step("penalty", layer=op.layer.name, w=buffer, l1=float(found.l1),
                            l2=float(found.l2))  # fmt: skip
    return [op for op in ops if _regularized(op) is not None]


def _activity_penalty(writer: _Writer, op: _Op, dy: int | None) -> None:
    found = _regularized(op)
    writer.step("activity_penalty", layer=op.layer.name, y=op.y, dy=dy, l1=float(found.l1),
                l2=float(found.l2))  # fmt: skip


def _backward(
    writer: _Writer,
    ops: list[_Op],
    dy: int,
    first_trainable: int,
    optimizer: Optimizer | None,
    fused: bool,
    penalized: list[_Op],
) -> None:
    """Write the backward steps, from the last operation to the first that can be trained."""
    clipped = optimizer is not None and any(
        getattr(optimizer, name) is not None
        for name in ("clipvalue", "clipnorm", "global_clipnorm")
    )
    in_place = fused and optimizer is not None and not clipped
    stored: list[tuple[_Op, int, int | None]] = []
    here = dy
    derived = False  # Whether `here` is already the derivative before this operation's activation.
    for i in range(len(ops) - 1, first_trainable - 1, -1):
        op = ops[i]
        if op in penalized and not derived:
            _activity_penalty(writer, op, here)
            penalized.remove(op)
        below = ops[i - 1] if i > first_trainable else None
        name = op.layer.name
        if op.kind in ("dense", "activate"):
            if not derived and op.activation != "linear":
                dz = writer.work(f"{name}.dz", writer.cols(here))
                writer.step("activate_backward", kind=op.activation, layer=name, dy=here, dx=dz,
                            alpha=op.alpha, **writer.zy(op))  # fmt: skip
                here = dz
            derived = False
        elif below is not None:
            dx = writer.work(f"{name}.dx", writer.cols(here))
            if op.kind == "dropout":
                writer.step("dropout_backward", layer=name, dy=here, dx=dx, alpha=op.alpha,
                            seed=op.seed)  # fmt: skip
            else:
                writer.step("rescale_backward", layer=name, dy=here, dx=dx, alpha=op.alpha)
            here = dx
        if op.kind != "dense":
            continue
        dz = here
        if below is not None:
            # The derivative of what lies below rides in the epilogue, where it can.
            ride = (
                below.kind in ("dense", "activate") and below.elementwise and below not in penalized
            )
            here = writer.work(f"{name}.dx", writer.cols(op.x))
            kind = below.activation if ride else "linear"
            writer.step("dense_backward_data", kind=kind, layer=name, dz=dz, w=op.w, dx=here,
                        alpha=below.alpha if ride else 0.0,
                        **(writer.zy(below) if ride else {}))  # fmt: skip
            derived = ride
        if op.trainable():
            dw, db = _weights_step(writer, op, dz, in_place)
            stored.append((op, dw, db))
    if not in_place and optimizer is not None:
        _update_steps(writer, stored, optimizer)


def _weights_step(writer: _Writer, op: _Op, dz: int, in_place: bool) -> tuple[int, int | None]:
    """Write ``dense_backward_weights``; return the gradients' buffers."""
    layer = op.layer
    dw, db = -1, None
    if not in_place:
        w = writer.buffers[op.w]
        dw = writer.buffer(f"{layer.name}.dw", "gradients", w.rows, w.cols, w.offset)
        if op.b is not None:
            b = writer.buffers[op.b]
            db = writer.buffer(f"{layer.name}.db", "gradients", 1, b.cols, b.offset)
    kernel, bias = layer.kernel_regularizer, layer.bias_regularizer
    writer.step(
        "dense_backward_weights",
        layer=layer.name,
        x=op.x,
        dz=dz,
        w=op.w,
        b=op.b,
        dw=None if in_place else dw,
        db=db,
        l1=float(kernel.l1) if kernel is not None else 0.0,
        l2=float(kernel.l2) if kernel is not None else 0.0,
        bias_l1=float(bias.l1) if bias is not None else 0.0,
        bias_l2=float(bias.l2) if bias is not None else 0.0,
        update=in_place,
    )
    return dw, db


def _update_steps(
    writer: _Writer, stored: list[tuple[_Op, int, int | None]], optimizer: Optimizer
) -> None:
    """Write clipping and updates of stored gradients."""
    pairs = [
        (op.layer.name, parameter, gradient)
        for op, dw, db in stored
        for parameter, gradient in ((op.w, dw), (op.b, db))
        if parameter is not None and gradient is not None
    ]
    # Keras's order: at most one of the three is set.
    for name, _, gradient in pairs:
        if optimizer.clipnorm is not None:
            writer.step("clip_norm", layer=name, dw=gradient, alpha=float(optimizer.clipnorm))
        elif optimizer.clipvalue is not None:
            writer.step("clip_value", layer=name, dw=gradient, alpha=float(optimizer.clipvalue))
    if optimizer.global_clipnorm is not None:
        writer.step("clip_global_norm", alpha=float(optimizer.global_clipnorm))
    for name, parameter, gradient in pairs:
        writer.step("update", layer=name, w=parameter, dw=gradient)


def _finish(
    writer: _Writer, dtype: str, n_in: int, n_out: int, output: int, layers: Sequence[Any]
) -> Plan:
    end = max((p.offset + p.size for layer in layers for p in layer.parameters), default=0)
    return Plan(
        dtype=dtype,
        buffers=tuple(writer.buffers),
        steps=tuple(writer.steps),
        n_in=n_in,
        n_out=n_out,
        output=output,
        n_parameters=-(-end // ALIGNMENT) * ALIGNMENT + SLACK,
        n_work=writer.n_work,
    )


def is_short(work: int, dtype: str) -> bool:
    """Tell whether the weights' gradients of a batch take less than about 50 ms.

    From the first update in an epilogue on, a batch has to be finished; a longer one stores its
    gradients and updates at the end, so that Ctrl-C is answered within a tenth of a second.
    It is up to 5 % slower then.

    Parameters
    ----------
    work : int
        Rows times parameters.
    dtype : str
    """
    # One thread does about 3e9 multiplications a second for each column of the register tile.
    return work < 150_000_000 * runtime.core(dtype).TILE[1]


def make_executor(
    plan: Plan,
    parameters: NDArray[Any],
    slots: NDArray[Any] | None,
    *,
    batch_size: int,
    n_threads: int = 1,
    engine: Literal["compiled", "reference"] = "compiled",
) -> Executor:
    """Return an executor of the plan.

    Parameters
    ----------
    plan : Plan
    parameters, slots : ndarray
        Held by reference.
    batch_size : int
        The most rows of a batch.
    n_threads : int
        The most threads; the bits of the result do not depend on it.
    engine : {"compiled", "reference"}
        The kernels, or plain NumPy.
    """
    if engine == "reference":
        from nncore.reference.plan import Executor as Reference

        plain: Executor = Reference(
            plan, parameters, slots, batch_size=batch_size, n_threads=n_threads
        )
        return plain
    if engine != "compiled":
        raise ValueError(f'engine must be "compiled" or "reference"; received {engine!r}')
    compiled: Executor = runtime.core(plan.dtype).Executor(
        plan, parameters, slots, batch_size=batch_size, n_threads=n_threads
    )
    return compiled


def make_predictor(
    executor: Executor,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    follows: bool = False,
    bulk: bool = False,
) -> Callable[[object], NDArray[Any] | None]:
    """Return the short path of ``predict``.

    Parameters
    ----------
    executor : Executor
        Compiled, of a plan to predict; it is used by nobody else from now on.
    input_shape, output_shape : tuple of int
        Of one row.
    follows : bool
        Whether the long path is to be asked again when the process's default number of threads
        has changed.
    bulk : bool
        Take more rows than the executor's batch, and no fewer; else as many or fewer.

    Returns
    -------
    callable
        Rows -> outputs, or None for rows that only the long path can check or read.
    """
    core = runtime.core(executor.plan.dtype)
    short: Callable[[object], NDArray[Any] | None]
    short = core.Predictor(executor, input_shape, output_shape, follows, bulk).predict
    return short
