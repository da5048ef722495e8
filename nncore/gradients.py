"""Are the gradients right?  Central finite differences, in float64, beside the compiled ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import _names

if TYPE_CHECKING:
    from nncore.models import Sequential

__all__ = ["GradientCheck", "ParameterCheck", "check_gradients"]


@dataclass(frozen=True, slots=True)
class ParameterCheck:
    """What :func:`nncore.check_gradients` found for one parameter.

    Attributes
    ----------
    name : str
        ``"hidden.kernel"``; ``"x"`` for the input.
    shape : tuple of int
    checked : int
        How many of its elements were compared.
    kinks : int
        How many of them lie so near a kink (relu at 0, ``|e|`` at 0) that the loss has another
        slope on each side and the gradient is one of the two: neither right nor wrong.
    wrong : int
        How many disagree.
    error : float
        The largest relative error, ``|gradient - numerical|`` / the larger of the two, of the
        elements that have no kink and whose gradient is more than the rounding of the difference.
    worst : tuple of int
        Where the difference is largest compared with what is allowed.
    gradient, numerical : float
        The two values there.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    kinks: int
    wrong: int
    error: float
    worst: tuple[int, ...]
    gradient: float
    numerical: float

    @property
    def ok(self) -> bool:
        """Whether it agrees everywhere."""
        return self.wrong == 0


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """The result of :func:`nncore.check_gradients`: true if all gradients agree; printed, a table.

    Attributes
    ----------
    parameters : tuple of ParameterCheck
    dtype : str
        Of the gradients that were checked.
    rtol, atol : float
        What was allowed: ``atol + rtol * the larger of the two``.
    """

    parameters: tuple[ParameterCheck, ...]
    dtype: str
    rtol: float
    atol: float

    @property
    def ok(self) -> bool:
        """Whether all gradients agree."""
        return all(p.ok for p in self.parameters)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        """Return the table."""
        head = ("parameter", "shape", "checked", "max rel. error", "agrees")
        rows = [head]
        notes = []
        for p in self.parameters:
            shape = "x".join(str(n) for n in p.shape)
            size = math.prod(p.shape)
            checked = "all" if p.checked == size else f"{p.checked} of {size}"
            rows.append((p.name, shape, checked, f"{p.error:.1e}", "yes" if p.ok else "NO"))
            if not p.ok:
                where = ", ".join(str(i) for i in p.worst)
                notes.append(
                    f"{p.name}: {p.wrong} of {p.checked} elements disagree; worst [{where}]: "
                    f"gradient {p.gradient:.9g}, finite difference {p.numerical:.9g}"
                )
            if p.kinks:
                notes.append(
                    f"{p.name}: {p.kinks} of {p.checked} elements lie at a kink, where the two "
                    f"sides have two slopes; the gradient is one of them"
                )
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            f"gradients in {self.dtype} beside central finite differences in float64 "
            f"(allowed: {self.rtol:.0e} relative + {self.atol:.1e})"
        ]
        for name, *rest in rows:
            cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
            lines.append("  ".join((name.ljust(widths[0]), *cells)))
        return "\n".join([*lines, *notes])


def check_gradients(
    model: Sequential,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    step: float = 1e-5,
    rtol: float | None = None,
    atol: float | None = None,
    max_elements: int = 200,
) -> GradientCheck:
    """Compare the compiled gradients with central finite differences; change nothing.

    ``(L(w + h) - L(w - h)) / (2 h)`` for element after element of each parameter and of x, L the
    loss of a training step on these rows: penalties and dropout masks (those of the next step)
    included, clipping not.

    Parameters
    ----------
    model : Sequential
        Compiled.
    x, y, sample_weight : array-like
        A few rows, as for ``train_on_batch``.
    step : float, default 1e-5
        h is this times the larger of 1 and ``|w|``.
    rtol : float, optional
        Relative tolerance; default 1e-5 for float64 and 1e-3 for float32 models.
    atol : float, optional
        Absolute tolerance; default: what rounding leaves, 100 epsilons of the largest gradient,
        and 1e-9 of the loss for the difference.
    max_elements : int, default 200
        Of a larger parameter so many elements, evenly spread, are compared; the table says so.

    Returns
    -------
    GradientCheck

    Notes
    -----
    The loss is computed in float64 whatever the model's dtype, so that the difference has digits
    enough; the gradients are those of the model's own kernels.

    Examples
    --------
    >>> import nncore
    >>> model = nncore.Sequential([nncore.Input((2,)), nncore.layers.Dense(1, name="line")])
    >>> model.compile("sgd", "mse")
    >>> bool(nncore.check_gradients(model, [[1.0, 2.0]], [[3.0]]))
    True
    """
    from nncore import compiler
    from nncore.compiled import aligned
    from nncore.trace import _gradients, forward_only

    where = "check_gradients"
    h = _names.check_real(where, "step", step, minimum=0.0, open_minimum=True)
    most = _names.check_integer(where, "max_elements", max_elements, minimum=1)
    recorder = _gradients(model, x, y, sample_weight, where)
    given = model._rows(x, y, sample_weight, None, where)
    rows = given.converted(None, 0, given.n, "float64")
    plan = replace(forward_only(recorder.plan), dtype="float64")
    parameters = aligned(recorder.parameters.shape, "float64")
    parameters[...] = recorder.parameters
    executor = compiler.make_executor(
        plan, parameters, None, batch_size=rows.n, engine=model.engine  # type: ignore[arg-type]
    )  # fmt: skip
    inputs = np.array(rows.x.reshape(rows.n, -1), dtype="float64", order="C")
    iteration = int(model.optimizer.iterations)
    value = np.empty(1)

    def loss() -> float:
        executor.run(inputs, rows.t, rows.r, iteration=iteration, losses=value)
        return float(value[0])

    compared: list[tuple[str, tuple[int, ...], NDArray[Any], NDArray[Any]]] = []
    for layer in model.layers:
        for wires in recorder.ops:
            if wires.step.layer == layer.name and wires.dw is not None:
                for p in layer.parameters:
                    gradient = recorder.get(wires.dw if p.name == "kernel" else wires.db)
                    assert gradient is not None
                    place = parameters[p.offset : p.offset + p.size]
                    compared.append((f"{layer.name}.{p.name}", p.shape, place, gradient.ravel()))
    found = recorder.get(
        recorder.ops[0].dx
        if recorder.ops
        else next(s.dy for s in recorder.plan.steps if s.op == "loss")
    )
    assert found is not None
    compared.append(("x", rows.x.shape, inputs.reshape(-1), found.ravel()))

    centre = loss()
    largest = max(float(np.abs(g).max(initial=0.0)) for *_, g in compared)
    epsilon = float(np.finfo(model.dtype).eps)
    if rtol is None:
        rtol = 1e-5 if model.dtype == "float64" else 1e-3
    if atol is None:
        atol = 100 * epsilon * largest + 1e-9 * max(1.0, abs(centre)) * 1e-5 / h
    checked = [
        _check(name, shape, place, gradient, loss, centre, h, rtol, atol, most)
        for name, shape, place, gradient in compared
    ]
    return GradientCheck(tuple(checked), model.dtype, rtol, atol)


def _check(
    name: str,
    shape: tuple[int, ...],
    place: NDArray[Any],
    gradient: NDArray[Any],
    loss: Callable[[], float],
    centre: float,
    h: float,
    rtol: float,
    atol: float,
    most: int,
) -> ParameterCheck:
    """Compare one parameter's gradient with differences of the loss, element by element."""
    chosen = np.unique(np.linspace(0, place.size - 1, min(most, place.size)).astype(np.int64))
    kinks = wrong = 0
    error, worst, excess = 0.0, int(chosen[0]), -1.0
    values = (0.0, 0.0)
    for at in chosen.tolist():
        kept = float(place[at])
        # What is added is a number that w + h and w - h hold exactly.
        high, low = kept + h * max(1.0, abs(kept)), kept - h * max(1.0, abs(kept))
        place[at] = high
        above = loss()
        place[at] = low
        below = loss()
        place[at] = kept
        numerical = (above - below) / (high - low)
        exact = float(gradient[at])
        difference = abs(exact - numerical)
        size = max(abs(exact), abs(numerical))
        allowed = atol + rtol * size
        # A NaN is never right, not even beside another one.
        bad = not difference <= allowed
        if bad:
            left, right = (centre - below) / (kept - low), (above - centre) / (high - kept)
            if min(left, right) - allowed <= exact <= max(left, right) + allowed:
                kinks += 1
                continue
            wrong += 1
        if bad or size > atol / rtol:
            relative = difference / size if size else math.inf
            error = max(error, relative) if math.isfinite(relative) else math.inf
        over = difference / allowed if math.isfinite(difference) else math.inf
        if over > excess:
            excess, worst, values = over, at, (exact, numerical)
    where = tuple(int(i) for i in np.unravel_index(worst, shape))
    return ParameterCheck(name, shape, len(chosen), kinks, wrong, error, where, *values)
