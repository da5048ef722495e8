"""The flat plan: the list of steps that a compiled model runs.

A plan is data, not code.  It names buffers and the steps that read and write
them, in the order in which they run.  Two executors run the same plan: the
compiled one (``src/plan.pyx``) and the plain NumPy one
(``nncore/reference/plan.py``).  :mod:`nncore.compiler` writes plans.

Words are those of ``docs/glossary.md``: ``x`` is a layer's input,
``w`` and ``b`` its kernel and bias, ``z = x w + b`` the value before the
activation, ``y`` after it, ``t`` the target, ``r`` the weight of each row;
``dx, dw, db, dz, dy`` the derivative of the loss by it.

Arenas
------
Every buffer lies in one arena:

================  =========================================================
``"parameters"``  the model's flat parameter vector; ``rows x cols`` elements
                  from ``offset``
``"gradients"``   a vector laid out like the parameters (only in plans that
                  store gradients)
``"work"``        ``cols`` columns for each row of the batch; ``offset`` counts
                  columns
``"x"``           the gathered rows of the input, cast to the plan's dtype
``"t"``           the gathered rows of dense targets, cast to the plan's dtype
``"labels"``      the gathered integer labels (int64), one a row
``"r"``           the gathered row weights, float64, one a row
================  =========================================================

Steps
-----
``rescale``                 y = x * alpha + beta
``dense``                   z = x w + b;  y = kind(z).  ``kind`` is an elementwise
                            activation; ``z`` is kept only when given
``activate``                y = kind(x), any activation, row-wise ones included
``dropout``                 y = x * mask / (1 - alpha), alpha = rate;
                            mask from (seed, iteration, element)
``loss``                    value and ``dy``: derivative of the step's loss by ``y``.
                            ``kind`` names the loss; for the ``softmax_*`` and
                            ``sigmoid_*`` kinds ``y`` holds raw outputs.
                            ``dy`` is None when only the value is wanted
``metric``                  adds (sum, count) to row ``index`` of the totals
``penalty``                 adds ``l1 sum|w| + l2 sum w^2`` to the step's loss
``activity_penalty``        adds ``(l1 sum|y| + l2 sum y^2) / rows`` to the step's
                            loss and, when ``dy`` is given, its derivative to ``dy``
``activate_backward``       dx = dy * kind'(z or y): ``z`` or ``y`` is given,
                            whichever the derivative reads (softmax reads ``y``)
``dropout_backward``        dx = dy * mask / (1 - alpha)
``rescale_backward``        dx = dy * alpha
``dense_backward_data``     dx = (dz w^T) * kind'(z or y), where ``kind`` is the
                            activation of the layer *below* ("linear": no factor)
``dense_backward_weights``  dw = x^T dz, db = column sums of dz, each plus the
                            penalty's derivative (l1, l2 for w; bias_l1, bias_l2
                            for b).  ``update=True`` applies the optimizer to w
                            and b in place and stores nothing; otherwise ``dw``
                            and ``db`` are written
``clip_value``              g = clip(g, -alpha, alpha) over the gradient ``dw``
``clip_norm``               scales the gradient ``dw`` to a norm of at most alpha
``clip_global_norm``        scales all gradients to a joint norm of at most alpha
``update``                  applies the optimizer to the parameter ``w`` with the
                            gradient ``dw``
``keep``                    copies ``w``, ``dw`` or ``y`` to where the caller keeps array
                            ``index`` of this batch
``observe``                 adds what ``kind`` measures of ``w``, ``dw`` or ``y`` to number
                            ``index`` of this batch's observations: ``squares`` (the sum of
                            squares), ``dead`` (the share of columns that are 0 in every row),
                            ``saturated`` (the share of numbers <= alpha or >= beta)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

__all__ = ["ARENAS", "OPS", "Buffer", "Plan", "Step", "goes_to_softmax", "parameter_layout"]

Arena = Literal["parameters", "gradients", "work", "x", "t", "labels", "r"]

ARENAS: tuple[str, ...] = ("parameters", "gradients", "work", "x", "t", "labels", "r")

OPS: tuple[str, ...] = (
    "rescale", "dense", "activate", "dropout", "loss", "metric", "penalty",
    "activity_penalty", "activate_backward", "dropout_backward",
    "rescale_backward", "dense_backward_data", "dense_backward_weights",
    "clip_value", "clip_norm", "clip_global_norm", "update", "keep", "observe",
)  # fmt: skip

#: Every parameter starts at a multiple of this many elements (64 bytes of float32).
ALIGNMENT = 16
#: Elements behind the last parameter that kernels may read and never use.
SLACK = 64


@dataclass(frozen=True, slots=True)
class Buffer:
    """A place in an arena.

    Attributes
    ----------
    name : str
        For people: ``"hidden.kernel"``, ``"hidden.y"``, ``"x"``.
    arena : str
        One of :data:`ARENAS`.
    rows : int
        Rows of a parameter or gradient; 0 where it is the batch's row count.
    cols : int
        Columns.
    offset : int
        Elements (parameters, gradients) or columns (work) from the arena's start.
    """

    name: str
    arena: str
    rows: int
    cols: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan.  Buffers are indices into ``Plan.buffers``; None: not used."""

    op: str
    kind: str = ""
    layer: str = ""
    x: int | None = None
    w: int | None = None
    b: int | None = None
    z: int | None = None
    y: int | None = None
    t: int | None = None
    r: int | None = None
    dx: int | None = None
    dw: int | None = None
    db: int | None = None
    dz: int | None = None
    dy: int | None = None
    alpha: float = 0.0
    beta: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    bias_l1: float = 0.0
    bias_l2: float = 0.0
    reduction: str = "sum_over_batch_size"
    seed: int = 0
    index: int = 0
    update: bool = False


#: The fields of a step that name buffers.
BUFFER_FIELDS: tuple[str, ...] = (
    "x", "w", "b", "z", "y", "t", "r", "dx", "dw", "db", "dz", "dy",
)  # fmt: skip


#: The fields of the buffers that each op writes.  An update writes parameters besides.
WRITES: Mapping[str, tuple[str, ...]] = {
    "rescale": ("y",),
    "dense": ("z", "y"),
    "activate": ("y",),
    "dropout": ("y",),
    "loss": ("dy",),
    "metric": (),
    "penalty": (),
    "activity_penalty": ("dy",),
    "activate_backward": ("dx",),
    "dropout_backward": ("dx",),
    "rescale_backward": ("dx",),
    "dense_backward_data": ("dx",),
    "dense_backward_weights": ("dw", "db"),
    "clip_value": ("dw",),
    "clip_norm": ("dw",),
    "clip_global_norm": (),
    "update": (),
    "keep": (),
    "observe": (),
}

#: The ops that read what they write.
IN_PLACE = frozenset({"activity_penalty", "clip_value", "clip_norm"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What an executor needs to know, and nothing else.

    Attributes
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``: of parameters and arithmetic.
    buffers, steps : tuple
        See the module's text.
    n_in, n_out : int
        Columns of ``x`` and of the final output.
    output : int
        Index of the buffer that ``predict`` returns (-1: none).
    n_parameters : int
        Length of the flat parameter vector, alignment and slack included.
    n_work : int
        Columns of the work arena.
    n_targets : int
        Columns of dense targets; 0: none or integer labels.
    labels : bool
        Whether targets are integer labels.
    weights : bool
        Whether rows have weights (``r``).
    n_metrics : int
        Rows of the totals.
    optimizer : str
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "amsgrad"; "" for none.
    n_kept, n_observed : int
        Arrays that ``keep`` steps copy, numbers that ``observe`` steps measure.
    n_slots : int
        Vectors of optimizer state, each laid out like the parameters.
    hyper : mapping
        momentum, rho, epsilon, beta_1, beta_2, centered, weight_decay: those the
        optimizer uses.
    """

    dtype: str
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    n_in: int
    n_out: int
    output: int
    n_parameters: int
    n_work: int
    n_targets: int = 0
    labels: bool = False
    weights: bool = False
    n_metrics: int = 0
    n_kept: int = 0
    n_observed: int = 0
    optimizer: str = ""
    n_slots: int = 0
    hyper: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the plan as a table, one line a step."""
        lines = [f"plan: {self.dtype}, {len(self.steps)} steps, {len(self.buffers)} buffers"]
        for i, step in enumerate(self.steps):
            words = [f"{i:3d}  {step.op:<22}"]
            for f in fields(step):
                value = getattr(step, f.name)
                if f.name in ("op",) or value is None or value == f.default:
                    continue
                if f.name in BUFFER_FIELDS:
                    value = self.buffers[value].name
                words.append(f"{f.name}={value}")
            lines.append(" ".join(words))
        return "\n".join(lines)


def goes_to_softmax(plan: Plan, index: int) -> bool:
    """Tell whether nobody reads what step ``index`` gives but the next, a softmax with the output.

    The step is dense and linear; an executor may then do the two in one.
    """
    if index + 1 == len(plan.steps):
        return False
    step, after = plan.steps[index], plan.steps[index + 1]
    others = plan.steps[:index] + plan.steps[index + 2 :]
    return (
        (step.op, step.kind, step.z) == ("dense", "linear", None)
        and (after.op, after.kind, after.x) == ("activate", "softmax", step.y)
        and after.y == plan.output != step.y
        and not any(getattr(other, f) == step.y for other in others for f in BUFFER_FIELDS)
    )


def parameter_layout(shapes: Sequence[tuple[int, ...]]) -> tuple[list[int], int]:
    """Place parameters in one flat vector.

    Returns
    -------
    offsets : list of int
        Where each parameter starts: a multiple of :data:`ALIGNMENT`.
    length : int
        Length of the vector, :data:`SLACK` included.
    """
    offsets = []
    end = 0
    for shape in shapes:
        size = 1
        for n in shape:
            size *= n
        offsets.append(end)
        end += -(-size // ALIGNMENT) * ALIGNMENT
    return offsets, end + SLACK
