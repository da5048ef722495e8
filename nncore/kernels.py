r"""The compiled kernels by themselves, without any model.

Every function takes array-likes of real numbers and returns new arrays, unless it says that it
works in place.  Arithmetic is float64 when an argument is float64, else float32.  ``n_threads``
is the most threads used; the bits of the result do not depend on it.

Words: ``x`` (batch, n_in) a layer's input, ``w`` (n_in, n_out) and ``b`` (n_out,) its kernel and
bias, ``z = x w + b``, ``y`` the value after the activation, ``t`` the target, ``r`` the rows'
weights, ``dx, dz, dw, db, dy`` the derivative of the loss by each.

The formulas, with their sources, stand in :mod:`nncore.reference`, whose plain NumPy statement of
each is the kernels' oracle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nncore import _names, runtime

__all__ = [
    "activate",
    "activate_backward",
    "activate_derivative",
    "activations",
    "dense",
    "dense_backward_data",
    "dense_backward_weights",
    "derivative_reads",
    "dropout",
    "loss",
    "loss_rows",
    "losses",
    "metric",
    "metrics",
    "names",
    "observations",
    "observe",
    "optimizers",
    "permutation",
    "update",
]

_Array = npt.NDArray[Any]


def names() -> Iterator[str]:
    """Yield the name of every kernel: activations, derivatives, losses, metrics, updates.

    Yields
    ------
    str
        ``"dense"``, ``"relu"``, ...
    """
    core = runtime.core("float32")
    yield from ("dense", "dense_backward_data", "dense_backward_weights", "dropout")
    for name in core.ACTIVATIONS:
        yield name
        yield f"{name}_derivative"
    yield from core.LOSSES
    yield from core.METRICS
    yield from core.OPTIMIZERS


def activations() -> tuple[str, ...]:
    """Return the names of the activations."""
    return tuple(runtime.core("float32").ACTIVATIONS)


def derivative_reads(name: str) -> str:
    """Return ``"z"`` or ``"y"``: what the derivative of an activation reads.

    Parameters
    ----------
    name : str
        One of :func:`activations`.

    Returns
    -------
    str
        ``"z"``, the value before it, or ``"y"``, the value after it.
    """
    _known("activation", name, runtime.core("float32").ACTIVATIONS)
    return runtime.core("float32").ACTIVATIONS[name]


def losses() -> tuple[str, ...]:
    """Return the names of the losses."""
    return tuple(runtime.core("float32").LOSSES)


def metrics() -> tuple[str, ...]:
    """Return the names of the metrics."""
    return tuple(runtime.core("float32").METRICS)


def optimizers() -> dict[str, int]:
    """Return the names of the optimizers, each with its number of slots."""
    return dict(runtime.core("float32").OPTIMIZERS)


def observations() -> tuple[str, ...]:
    """Return the names of what can be measured of an array."""
    return tuple(runtime.core("float32").OBSERVATIONS)


def _known(what: str, name: str, known: Any) -> None:
    if name not in known:
        raise ValueError(_names.unknown_name(what, name, tuple(known)))


def _real(name: str, value: npt.ArrayLike) -> _Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name} must be an array of real numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of real numbers; received dtype {array.dtype}")
    return array


def _dtype(*arrays: _Array) -> str:
    return "float64" if any(a.dtype == np.float64 for a in arrays) else "float32"


def _as(array: _Array, dtype: str) -> _Array:
    made = np.ascontiguousarray(array, dtype=dtype)
    return made if made.flags.aligned else made.copy()


def _threads(where: str, value: object) -> int:
    n = _names.check_integer(where, "n_threads", value, minimum=1)
    if n > 256:
        raise ValueError(f"{where}: n_threads must be at most 256; received n_threads={n}")
    return n


def _counter(where: str, argument: str, value: object, bits: int) -> int:
    n = _names.check_integer(where, argument, value, minimum=0)
    if n >> bits:
        raise ValueError(f"{where}: {argument} must be less than 2**{bits}; received {n}")
    return n


def _matrix(name: str, value: _Array, dtype: str) -> _Array:
    if value.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions; received shape {value.shape}")
    return _as(value, dtype)


def _rows(array: _Array, dtype: str) -> _Array:
    """Return the array as rows: its last axis stays, the others become one."""
    flat = _as(array, dtype)
    return flat.reshape(-1, flat.shape[-1] if flat.ndim else 1) if flat.size else flat.reshape(0, 0)


_ALPHA = {"leaky_relu": 0.2, "elu": 1.0, "huber": 1.0, "binary_accuracy": 0.5,
          "top_k_categorical_accuracy": 5.0, "sparse_top_k_categorical_accuracy": 5.0}  # fmt: skip


def _alpha(name: str, alpha: float | None) -> float:
    """Return an op's parameter: as given, else its default (Keras's)."""
    if alpha is None:
        return _ALPHA.get(name, 0.0)
    value = _names.check_real(name, "alpha", alpha)
    if name in ("leaky_relu", "elu") and value < 0:
        # Their derivative reads y, whose sign is then no longer that of z.
        raise ValueError(f"{name}: alpha must not be negative; received alpha={alpha!r}")
    return value


def activate(name: str, z: npt.ArrayLike, alpha: float | None = None) -> _Array:
    """Return y = name(z).

    Parameters
    ----------
    name : str
        One of :func:`activations`.
    z : array-like
        Any shape; ``softmax`` works along the last axis.
    alpha : float, optional
        The activation's parameter: ``leaky_relu``'s slope (0.2), ``elu``'s scale (1.0).

    Returns
    -------
    ndarray
        Of z's shape.
    """
    _known("activation", name, runtime.core("float32").ACTIVATIONS)
    array = _real("z", z)
    dtype = _dtype(array)
    rows = _rows(array, dtype)
    y = np.empty_like(rows)
    runtime.core(dtype).activate_into(name, rows, y, _alpha(name, alpha))
    return y.reshape(array.shape)


def activate_backward(
    name: str, dy: npt.ArrayLike, z_or_y: npt.ArrayLike, alpha: float | None = None
) -> _Array:
    """Return dx = dy times the derivative of an activation, softmax's whole Jacobian included.

    Parameters
    ----------
    name : str
        One of :func:`activations`.
    dy : array-like
        The derivative by y.
    z_or_y : array-like
        What the derivative reads: ``z`` or ``y`` as :func:`derivative_reads` says.
    alpha : float, optional
        The activation's parameter.

    Returns
    -------
    ndarray
        Of dy's shape.
    """
    _known("activation", name, runtime.core("float32").ACTIVATIONS)
    first, second = _real("dy", dy), _real("z_or_y", z_or_y)
    if first.shape != second.shape:
        raise ValueError(
            f"dy and {derivative_reads(name)} must have one shape; "
            f"received {first.shape} and {second.shape}"
        )
    dtype = _dtype(first, second)
    rows = _rows(first, dtype)
    dx = np.empty_like(rows)
    runtime.core(dtype).activate_backward_into(
        name, rows, _rows(second, dtype), dx, _alpha(name, alpha)
    )
    return dx.reshape(first.shape)


def activate_derivative(name: str, z: npt.ArrayLike, alpha: float | None = None) -> _Array:
    """Return dy/dz at z, element by element (not for softmax, whose derivative is a matrix).

    Parameters
    ----------
    name : str
        One of :func:`activations`, softmax aside.
    z : array-like
        The value before the activation; y is computed from it where the derivative reads y.
    alpha : float, optional
        The activation's parameter.

    Returns
    -------
    ndarray
        Of z's shape.
    """
    if name == "softmax":
        raise ValueError("softmax has no elementwise derivative: use activate_backward")
    array = _real("z", z)
    reads = array if derivative_reads(name) == "z" else activate(name, array, alpha)
    return activate_backward(name, np.ones_like(reads), reads, alpha)


def _target(
    name: str, takes_labels: bool, y: _Array, t: npt.ArrayLike, dtype: str
) -> tuple[_Array | None, _Array | None]:
    """Return (dense target, labels), one of which is None."""
    array = _real("t", t)
    if takes_labels:
        if array.dtype.kind == "f" and not np.all(array == np.floor(array)):
            raise ValueError(f"{name}: labels must be integers")
        if array.size != len(y):
            raise ValueError(f"{name}: t must hold {len(y)} labels; received shape {array.shape}")
        labels = np.ascontiguousarray(array.reshape(-1).astype(np.int64))
        return None, labels
    if array.ndim == 1 and y.shape[1] == 1:
        array = array.reshape(-1, 1)
    if array.shape != y.shape:
        raise ValueError(f"{name}: t must have y's shape {y.shape}; received {array.shape}")
    return _as(array, dtype), None


def _weights(r: npt.ArrayLike | None, rows: int) -> _Array | None:
    if r is None:
        return None
    array = _as(_real("r", r), "float64").reshape(-1)
    if len(array) != rows:
        raise ValueError(f"r must hold {rows} weights; received {len(array)}")
    return array


def _loss(
    name: str,
    y: npt.ArrayLike,
    t: npt.ArrayLike,
    r: npt.ArrayLike | None,
    alpha: float | None,
    reduction: str,
) -> tuple[float, _Array, _Array]:
    core = runtime.core("float32")
    _known("loss", name, core.LOSSES)
    array = _real("y", y)
    dtype = _dtype(array)
    rows = _matrix("y", array, dtype)
    target, labels = _target(name, "sparse" in name, rows, t, dtype)
    dy, values = np.empty_like(rows), np.empty(len(rows))
    value = runtime.core(dtype).loss_into(
        name, rows, target, labels, _weights(r, len(rows)), dy, values, _alpha(name, alpha),
        reduction,
    )  # fmt: skip
    return value, dy, values


def loss(
    name: str,
    y: npt.ArrayLike,
    t: npt.ArrayLike,
    r: npt.ArrayLike | None = None,
    alpha: float | None = None,
    reduction: str = "sum_over_batch_size",
) -> tuple[float, _Array]:
    r"""Return the loss of a batch, :math:`\sum_i s\, r_i L_i`, and its derivative by y.

    Parameters
    ----------
    name : str
        One of :func:`losses`; those with ``softmax_`` and ``sigmoid_`` take raw outputs.
    y : array-like, (rows, columns)
        Outputs.
    t : array-like
        Targets of y's shape, or integer labels, one a row, for the ``sparse`` losses.
    r : array-like, (rows,), optional
        Weights of the rows.
    alpha : float, optional
        ``huber``'s delta (1.0), or label smoothing (0.0).
    reduction : str
        ``"sum_over_batch_size"`` or ``"mean"`` (s = 1 / rows), ``"sum"`` (s = 1),
        ``"mean_with_sample_weight"`` (s = 1 / sum of r).

    Returns
    -------
    value : float
    dy : ndarray, (rows, columns)
    """
    value, dy, _ = _loss(name, y, t, r, alpha, reduction)
    return value, dy


def loss_rows(
    name: str, y: npt.ArrayLike, t: npt.ArrayLike, alpha: float | None = None
) -> npt.NDArray[np.float64]:
    """Return the loss of each row.

    Parameters
    ----------
    name : str
        One of :func:`losses`.
    y, t : array-like
        Outputs and targets, as for :func:`loss`.
    alpha : float, optional
        The loss's parameter.

    Returns
    -------
    ndarray of float64, (rows,)
        Before weights and reduction.
    """
    return _loss(name, y, t, None, alpha, "sum_over_batch_size")[2]


def observe(name: str, v: npt.ArrayLike, low: float = 0.0, high: float = 1.0) -> float:
    """Return the one number that watching a training makes of an array.

    Parameters
    ----------
    name : str
        ``"squares"``: the sum of squares, in float64; ``"dead"``: the share of columns that are 0
        in every row; ``"saturated"``: the share of numbers that are at most ``low`` or at least
        ``high``.  A NaN is not 0 and beyond no bound.
    v : array-like, (rows, columns)
        Not empty.
    low, high : float
        The bounds of "saturated"; the others do not read them.

    Returns
    -------
    float
    """
    core = runtime.core("float32")
    _known("observation", name, core.OBSERVATIONS)
    array = _real("v", v)
    dtype = _dtype(array)
    low = _names.check_real(name, "low", low)
    high = _names.check_real(name, "high", high)
    found: float = runtime.core(dtype).observe_of(name, _matrix("v", array, dtype), low, high)
    return found


def metric(
    name: str,
    y: npt.ArrayLike,
    t: npt.ArrayLike,
    r: npt.ArrayLike | None = None,
    alpha: float | None = None,
) -> tuple[float, float]:
    """Return a metric's sum over the rows and the rows' total weight.

    Parameters
    ----------
    name : str
        One of :func:`metrics`.
    y : array-like, (rows, columns)
        Outputs.
    t : array-like
        Targets of y's shape, or integer labels for the ``sparse`` metrics.
    r : array-like, (rows,), optional
        Weights of the rows.
    alpha : float, optional
        ``binary_accuracy``'s threshold (0.5), or k (5).

    Returns
    -------
    total, count : float
        The metric is total / count.
    """
    _known("metric", name, runtime.core("float32").METRICS)
    array = _real("y", y)
    dtype = _dtype(array)
    rows = _matrix("y", array, dtype)
    target, labels = _target(name, "sparse" in name, rows, t, dtype)
    total, count = runtime.core(dtype).metric_of(
        name, rows, target, labels, _weights(r, len(rows)), _alpha(name, alpha)
    )
    return total, count


def update(
    name: str,
    w: _Array,
    g: npt.ArrayLike,
    slots: _Array | None = None,
    *,
    learning_rate: float,
    iteration: int = 0,
    **hyper: float,
) -> None:
    r"""Apply an optimizer's update to w and slots, in place.

    Parameters
    ----------
    name : str
        One of :func:`optimizers`.
    w : ndarray
        float32 or float64, C-contiguous, writable.
    g : array-like
        The gradient, of w's shape.
    slots : ndarray, (slots, \\*w.shape), optional
        The optimizer's state, of w's dtype; updated too.
    learning_rate : float
        Of this update.
    iteration : int
        Updates done before (Adam's t is iteration + 1).
    **hyper : float
        momentum, rho, epsilon, beta_1, beta_2, centered, weight_decay; those not given are 0.
    """
    known = runtime.core("float32").OPTIMIZERS
    _known("optimizer", name, known)
    if not isinstance(w, np.ndarray) or w.dtype.name not in ("float32", "float64"):
        raise TypeError("w must be a float32 or float64 array, since it is updated in place")
    gradient = _real("g", g)
    if gradient.shape != w.shape:
        raise ValueError(f"g must have w's shape {w.shape}; received {gradient.shape}")
    dtype = w.dtype.name
    if not w.dtype.isnative:
        raise TypeError(f"w must be in the machine's byte order; received dtype {w.dtype.str}")
    state = np.empty((0, w.size), dtype) if slots is None else slots
    if not isinstance(state, np.ndarray):
        raise TypeError("slots must be an array of w's dtype, since they are updated in place")
    if state.dtype != w.dtype or state.size != len(state) * w.size or len(state) < known[name]:
        raise ValueError(
            f"{name} needs slots of shape ({known[name]}, {w.size}) and dtype {dtype}; received "
            f"{'none' if slots is None else f'shape {state.shape}, dtype {state.dtype}'}"
        )
    for what, array in (("w", w), ("slots", state)):
        if not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
            raise ValueError(
                f"{what} must be C-contiguous, aligned and writable: it is updated in place"
            )
    learning_rate = _names.check_real(name, "learning_rate", learning_rate)
    for what, number in hyper.items():
        _names.check_real(name, what, float(number) if isinstance(number, bool) else number)
    runtime.core(dtype).update_into(
        name,
        w.reshape(1, -1),
        _as(gradient, dtype).reshape(1, -1),
        state.reshape(len(state), w.size),
        learning_rate,
        _counter("update", "iteration", iteration, 62),
        hyper,
    )


def dense(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    activation: str = "linear",
    alpha: float | None = None,
    n_threads: int = 1,
) -> _Array:
    r"""Return y = activation(x w + b): :math:`z_{ij} = \sum_p x_{ip} w_{pj} + b_j`.

    Parameters
    ----------
    x : array-like, (rows, n_in)
        Inputs.
    w : array-like, (n_in, n_out)
        The kernel.
    b : array-like, (n_out,), optional
        The bias.
    activation : str
        One of :func:`activations`.
    alpha : float, optional
        The activation's parameter.
    n_threads : int, default 1
        At most so many threads; the bits are the same for any number.

    Returns
    -------
    ndarray, (rows, n_out)
    """
    _known("activation", activation, runtime.core("float32").ACTIVATIONS)
    arrays = [_real("x", x), _real("w", w)]
    bias = None if b is None else _real("b", b)
    dtype = _dtype(*arrays, *(() if bias is None else (bias,)))
    xs, ws = _matrix("x", arrays[0], dtype), _matrix("w", arrays[1], dtype)
    if bias is not None:
        if bias.ndim != 1:
            raise ValueError(f"b must have 1 dimension; received shape {bias.shape}")
        bias = _as(bias, dtype)
    core = runtime.core(dtype)
    y = np.empty((xs.shape[0], ws.shape[1]), dtype)
    inner = "linear" if activation == "softmax" else activation
    core.dense_into(
        xs,
        ws,
        bias,
        np.empty((0, 0), dtype),
        y,
        inner,
        _alpha(activation, alpha),
        _threads("dense", n_threads),
    )
    return activate("softmax", y) if activation == "softmax" else y


def dense_backward_data(
    dz: npt.ArrayLike,
    w: npt.ArrayLike,
    activation: str = "linear",
    z_or_y: npt.ArrayLike | None = None,
    alpha: float | None = None,
    n_threads: int = 1,
) -> _Array:
    r"""Return dx = (dz wᵀ) times the derivative of the layer below.

    Parameters
    ----------
    dz : array-like, (rows, n_out)
        The derivative by z.
    w : array-like, (n_in, n_out)
        The kernel.
    activation : str
        Of the layer below; ``"linear"``: no factor.
    z_or_y : array-like, (rows, n_in), optional
        What its derivative reads, see :func:`derivative_reads`.
    alpha : float, optional
        The activation's parameter.
    n_threads : int, default 1
        At most so many threads; the bits are the same for any number.

    Returns
    -------
    ndarray, (rows, n_in)
    """
    _known("activation", activation, runtime.core("float32").ACTIVATIONS)
    arrays = [_real("dz", dz), _real("w", w)]
    if activation != "linear":
        if z_or_y is None:
            raise ValueError(
                f"the derivative of {activation} reads {derivative_reads(activation)}: "
                f"give it as z_or_y"
            )
        arrays.append(_real("z_or_y", z_or_y))
    dtype = _dtype(*arrays)
    rows, ws = _matrix("dz", arrays[0], dtype), _matrix("w", arrays[1], dtype)
    dx = np.empty((rows.shape[0], ws.shape[0]), dtype)
    zy = _matrix("z_or_y", arrays[2], dtype) if activation != "linear" else np.empty((0, 0), dtype)
    inner = "linear" if activation == "softmax" else activation
    runtime.core(dtype).dense_backward_data_into(
        rows,
        ws,
        zy,
        dx,
        inner,
        _alpha(activation, alpha),
        _threads("dense_backward_data", n_threads),
    )
    return activate_backward("softmax", dx, zy) if activation == "softmax" else dx


def dense_backward_weights(
    x: npt.ArrayLike, dz: npt.ArrayLike, n_threads: int = 1
) -> tuple[_Array, _Array]:
    r"""Return dw = xᵀ dz and db = column sums of dz.

    Parameters
    ----------
    x : array-like, (rows, n_in)
        The layer's input.
    dz : array-like, (rows, n_out)
        The derivative by z.
    n_threads : int, default 1
        At most so many threads; the bits are the same for any number.

    Returns
    -------
    dw : ndarray, (n_in, n_out)
    db : ndarray, (n_out,)
    """
    first, second = _real("x", x), _real("dz", dz)
    dtype = _dtype(first, second)
    xs, rows = _matrix("x", first, dtype), _matrix("dz", second, dtype)
    dw, db = np.empty((xs.shape[1], rows.shape[1]), dtype), np.empty(rows.shape[1], dtype)
    runtime.core(dtype).dense_backward_weights_into(
        xs, rows, dw, db, _threads("dense_backward_weights", n_threads)
    )
    return dw, db


def dropout(x: npt.ArrayLike, rate: float, seed: int = 0, iteration: int = 0) -> _Array:
    """Return x / (1 - rate) where an element is kept, else 0.

    Parameters
    ----------
    x : array-like
        Any shape.
    rate : float
        The share that is dropped, in [0, 1).
    seed, iteration : int
        Decide, with the element's position, what is kept.

    Returns
    -------
    ndarray
        Of x's shape.
    """
    array = _real("x", x)
    dtype = _dtype(array)
    rows = _rows(array, dtype)
    y = np.empty_like(rows)
    runtime.core(dtype).dropout_into(
        rows, y, _names.check_real("dropout", "rate", rate), _counter("dropout", "seed", seed, 64),
        _counter("dropout", "iteration", iteration, 62),
    )  # fmt: skip
    return y.reshape(array.shape)


def permutation(n: int, seed: int = 0, epoch: int = 0) -> npt.NDArray[np.int64]:
    """Return 0..n-1 in the order that (seed, epoch) decides.

    The same on every machine, for every release.

    Parameters
    ----------
    n : int
        How many.
    seed, epoch : int
        Decide the order.

    Returns
    -------
    ndarray of int64, (n,)
    """
    core = runtime.core("float32")
    order: npt.NDArray[np.int64] = core.permutation(
        _counter("permutation", "n", n, 62), _counter("permutation", "seed", seed, 64),
        _counter("permutation", "epoch", epoch, 62),
    )  # fmt: skip
    return order
