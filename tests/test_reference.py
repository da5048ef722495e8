"""The NumPy reference: each formula against exact numbers, the executor against hand-worked ones.

The compiled kernels are tested against the reference; this is where the reference is.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys

import mpmath as mp
import numpy as np
import pytest
import scipy.optimize

from nncore.plan import OPS, Buffer, Plan, Step
from nncore.reference import activations, evaluate, formulas, losses, metrics, optimizers, random
from nncore.reference.plan import WRITES, Executor, first_difference

ALPHA = {"leaky_relu": 0.2, "elu": 1.5}

# --- Activations ---


def mp_sigmoid(z):
    return 1 / (1 + mp.exp(-z))


def mp_elu(z, alpha):
    return z if z > 0 else alpha * mp.expm1(z)


def mp_selu(z):
    return mp.mpf("1.0507009873554804934") * mp_elu(z, mp.mpf("1.6732632423543772848"))


#: Each activation once more, as its paper writes it; mpmath has digits enough.
ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": lambda z: max(z, mp.mpf(0)),
    "leaky_relu": lambda z: z if z > 0 else mp.mpf(0.2) * z,
    "relu6": lambda z: min(max(z, mp.mpf(0)), mp.mpf(6)),
    "hard_sigmoid": lambda z: min(max(z + 3, mp.mpf(0)), mp.mpf(6)) / 6,
    "sigmoid": mp_sigmoid,
    "tanh": mp.tanh,
    "softsign": lambda z: z / (1 + abs(z)),
    "softplus": lambda z: mp.log1p(mp.exp(z)),
    "log_sigmoid": lambda z: -mp.log1p(mp.exp(-z)),
    "exponential": mp.exp,
    "elu": lambda z: mp_elu(z, mp.mpf(1.5)),
    "selu": mp_selu,
    "gelu": lambda z: z * mp.erfc(-z / mp.sqrt(2)) / 2,
    "gelu_tanh": lambda z: (
        z * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (z + mp.mpf("0.044715") * z**3))) / 2
    ),
    "silu": lambda z: z * mp_sigmoid(z),
    "mish": lambda z: z * mp.tanh(mp.log1p(mp.exp(z))),
}
ELEMENTWISE = [name for name in formulas(activations) if name != "softmax"]
POINTS = np.array(
    [
        0, 1e-300, 1e-20, 1e-8, 1e-4, 0.1, 0.5, 1, 2.5, 4, 5.9, 8, 13, 20, 36, 37, 39, 88, 104,
        700, 709, 750, 1e4,
    ]
)  # fmt: skip
POINTS = np.concatenate([-POINTS[::-1], POINTS, np.random.default_rng(0).normal(0, 3, 40)])


def exact(name, z):
    """The activation's value, rounded once; no more than the largest number."""
    with mp.workdps(400):  # 1 + tanh u has lost as many as u has, where gelu_tanh is nearly 0.
        y = ACTIVATIONS[name](mp.mpf(float(z)))
        return float(min(y, mp.mpf(sys.float_info.max)))


def exact_slope(name, z):
    """The derivative by central differences, in so many digits that the step may be tiny.

    A float64 kept e^-750 as 0, and its derivative is then 0 or 1 less e^-750: both round to it.
    """
    with mp.workdps(700):
        z, h = mp.mpf(float(z)), mp.mpf(10) ** -320
        slope = (ACTIVATIONS[name](z + h) - ACTIVATIONS[name](z - h)) / (2 * h)
        return float(min(slope, mp.mpf(sys.float_info.max)))


def value(name, z):
    return evaluate(activations, name, z, alpha=ALPHA.get(name, 0.0))


def slope(name, z):
    """The derivative at z, from whichever of z and y it reads."""
    derivative = getattr(activations, f"{name}_derivative")
    zy = z if reads(name) == "z" else value(name, z)
    return evaluate(activations, derivative.__name__, zy, alpha=ALPHA.get(name, 0.0))


def reads(name):
    return next(iter(inspect.signature(getattr(activations, f"{name}_derivative")).parameters))


def test_every_activation_has_an_exact_statement_here():
    assert set(ELEMENTWISE) == set(ACTIVATIONS)
    assert {reads(name) for name in ELEMENTWISE} == {"y", "z"}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activation_is_exact(name):
    expected = np.array([exact(name, z) for z in POINTS])
    # e^z and the normal's tail turn z's last bit into z, or z^2, bits.
    np.testing.assert_allclose(value(name, POINTS), expected, rtol=2e-12, atol=1e-307)


SMOOTH = [n for n in ELEMENTWISE if n not in ("relu", "leaky_relu", "relu6", "hard_sigmoid")]


@pytest.mark.parametrize("name", SMOOTH)
def test_derivative_is_exact_for_extreme_values_too(name):
    z = POINTS[POINTS != 0]
    expected = np.array([exact_slope(name, v) for v in z])
    np.testing.assert_allclose(slope(name, z), expected, rtol=1e-12, atol=3e-15)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative_agrees_with_finite_differences(name):
    z = np.linspace(-7.03, 7.03, 150)  # The kinks at -3, 0, 3 and 6 lie further off than h.
    h = 1e-5
    expected = (value(name, z + h) - value(name, z - h)) / (2 * h)
    np.testing.assert_allclose(slope(name, z), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_finite_stays_finite_and_nan_stays_nan(name, dtype):
    """A warning would be an error: see pyproject.toml."""
    largest = np.finfo(dtype).max
    z = np.concatenate([POINTS, [-largest, largest]]).astype(dtype)
    y, d = value(name, z), slope(name, z)
    assert y.dtype == d.dtype == dtype
    assert np.isfinite(y).all()
    assert np.isfinite(d).all()
    assert np.isnan(value(name, np.array([np.nan], dtype))).all()
    assert value(name, np.empty((0, 3), dtype)).shape == (0, 3)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_float32_is_float64_rounded(name):
    z = np.concatenate([POINTS[np.abs(POINTS) < 80], np.linspace(-12, 12, 300)]).astype("f4")
    wide = z.astype("f8")
    np.testing.assert_allclose(value(name, z), value(name, wide), rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(slope(name, z), slope(name, wide), rtol=2e-5, atol=2e-6)


def test_the_notebooks_activations():
    for z, y in ((5, 0.9933071490757153), (-5, 0.0066928509242848554), (0.1, 0.52497918747894)):
        assert value("sigmoid", np.array([float(z)]))[0] == pytest.approx(y, rel=1e-15)
    assert value("relu", np.array([-5.0]))[0] == 0
    e10 = value("sigmoid", np.array([-10.0]))[0]
    assert e10 == pytest.approx(4.5397868702434395e-05, rel=1e-15)


def mp_softmax(z):
    with mp.workdps(60):
        e = [mp.exp(mp.mpf(float(v))) for v in z]
        return [v / mp.fsum(e) for v in e]


RAW = np.array(
    [
        [0, 0, 0], [1, 2, 3], [-1e4, 0, 1e4], [1e4, 1e4, -1e4], [88, -88, 87], [750, -750, 749.5],
        [-750, -751, -752.5], [1e-9, 0, -1e-9],
    ],
    dtype=float,
)  # fmt: skip


def test_softmax_is_exact():
    expected = [[float(p) for p in mp_softmax(z)] for z in RAW]
    np.testing.assert_allclose(activations.softmax(RAW), expected, rtol=1e-13, atol=1e-307)
    for dtype in ("float32", "float64"):
        largest = np.finfo(dtype).max
        y = activations.softmax(np.array([[largest, -largest, 0], [-largest] * 3], dtype))
        assert y.dtype == dtype
        np.testing.assert_allclose(y, [[1, 0, 0], [1 / 3] * 3], rtol=1e-6)
    assert np.isnan(activations.softmax(np.array([[1.0, np.nan]]))).all()


def test_softmax_backward_agrees_with_finite_differences():
    rng = np.random.default_rng(1)
    z, dy, h = rng.normal(size=(4, 5)), rng.normal(size=(4, 5)), 1e-5
    dx = activations.softmax_backward(dy, activations.softmax(z))
    for j in range(5):
        step = h * np.eye(5)[j]
        change = activations.softmax(z + step) - activations.softmax(z - step)
        np.testing.assert_allclose(dx[:, j], (dy * change).sum(1) / (2 * h), rtol=1e-8, atol=1e-10)


# --- Losses ---

SMOOTHING, DELTA = 0.1, 0.7
EPSILON = mp.mpf(1e-7)


def smooth(t, classes):
    return [v * (1 - mp.mpf(SMOOTHING)) + mp.mpf(SMOOTHING) / classes for v in t]


def clipped(p):
    return min(max(p, EPSILON), 1 - EPSILON)


def mean(values):
    return mp.fsum(values) / len(values)


def mp_huber(e):
    e, delta = abs(e), mp.mpf(DELTA)
    return e * e / 2 if e <= delta else delta * e - delta * delta / 2


def mp_binary(y, t):
    return mean([
        -(b * mp.log(a) + (1 - b) * mp.log(1 - a)) for a, b in zip(y, smooth(t, 2), strict=True)
    ])  # fmt: skip


def mp_categorical(y, t):
    total = mp.fsum(y)
    return -mp.fsum(b * mp.log(clipped(a / total)) for a, b in zip(y, t, strict=True))


def errors(y, t):
    return [a - b for a, b in zip(y, t, strict=True)]


#: Each loss of one row, as its paper writes it.  t is a list, or a label.
LOSSES = {
    "mean_squared_error": lambda y, t: mean([e * e for e in errors(y, t)]),
    "mean_absolute_error": lambda y, t: mean([abs(e) for e in errors(y, t)]),
    "huber": lambda y, t: mean([mp_huber(e) for e in errors(y, t)]),
    "log_cosh": lambda y, t: mean([mp.log(mp.cosh(e)) for e in errors(y, t)]),
    "poisson": lambda y, t: mean([
        a - b * mp.log(a + EPSILON) for a, b in zip(y, t, strict=True)
    ]),
    "binary_crossentropy": lambda y, t: mp_binary([clipped(a) for a in y], t),
    "categorical_crossentropy": lambda y, t: mp_categorical(y, smooth(t, len(y))),
    "sparse_categorical_crossentropy": lambda y, t: -mp.log(clipped(y[t] / mp.fsum(y))),
    "sigmoid_binary_crossentropy": lambda y, t: mp_binary([mp_sigmoid(a) for a in y], t),
    "softmax_categorical_crossentropy": lambda y, t: -mp.fsum(
        b * mp.log(a) for a, b in zip(mp_softmax(y), smooth(t, len(y)), strict=True)
    ),
    "softmax_sparse_categorical_crossentropy": lambda y, t: -mp.log(mp_softmax(y)[t]),
}  # fmt: skip
ROW_LOSSES = [name for name in formulas(losses) if name != "batch_loss"]
RAW_LOSSES = [name for name in ROW_LOSSES if name.startswith(("sigmoid_", "softmax_"))]
LOSS_ALPHA = {"huber": DELTA}


def batch_of(name, rows=6, cols=4, seed=2):
    """Outputs and targets such as the loss takes, none where its derivative jumps."""
    rng = np.random.default_rng(seed)
    y, t = rng.normal(0, 2, (rows, cols)), rng.normal(0, 2, (rows, cols))
    if name == "poisson" or ("crossentropy" in name and name not in RAW_LOSSES):
        y = rng.uniform(0.05, 0.9, (rows, cols))
    if name == "poisson":
        t = rng.poisson(2, (rows, cols)).astype(float)
    elif "binary" in name:
        t = rng.integers(0, 2, (rows, cols)).astype(float)
    elif "sparse" in name:
        t = rng.integers(0, cols, (rows, 1))
    elif "categorical" in name:
        t = np.eye(cols)[rng.integers(0, cols, rows)]
    return y, t


def exact_losses(name, y, t):
    rows = []
    for a, b in zip(y, t, strict=True):
        # 1 - sigmoid(z) needs as many digits as e^z has.
        with mp.workdps(60 + int(np.abs(a).max()) if name.startswith("sigmoid") else 60):
            target = int(b.item()) if "sparse" in name else [mp.mpf(float(v)) for v in b]
            rows.append(float(LOSSES[name]([mp.mpf(float(v)) for v in a], target)))
    return np.array(rows)


def row_losses(name, y, t):
    return evaluate(losses, name, y, t, alpha=LOSS_ALPHA.get(name, SMOOTHING))


def loss_derivative(name, y, t):
    return evaluate(losses, f"{name}_derivative", y, t, alpha=LOSS_ALPHA.get(name, SMOOTHING))


def test_every_loss_has_an_exact_statement_here():
    assert set(ROW_LOSSES) == set(LOSSES)


@pytest.mark.parametrize("name", ROW_LOSSES)
def test_loss_is_exact(name):
    y, t = batch_of(name)
    np.testing.assert_allclose(row_losses(name, y, t), exact_losses(name, y, t), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RAW_LOSSES)
def test_loss_from_extreme_raw_outputs(name, dtype):
    y = np.array([[1e4, -1e4, 0], [88, -88, 1], [-750, 750, 30], [-40, 2, 3]])
    t = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=float)
    if "sparse" in name:
        t = t.argmax(1)
    expected = exact_losses(name, y, t)
    found = row_losses(name, y.astype(dtype), t if "sparse" in name else t.astype(dtype))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=10 * np.finfo(dtype).eps)
    d = loss_derivative(name, y.astype(dtype), t)
    assert np.abs(d).max() <= 1 + 1e-6


@pytest.mark.parametrize("name", RAW_LOSSES)
def test_a_sure_and_right_answer_costs_exactly_what_is_left(name):
    """log(1 + e^-37) is 8e-17, not 0 and not lost in 37."""
    y = np.array([[37.0, 0.0]])
    t = np.array([0]) if "sparse" in name else np.array([[1.0, 0.0]])
    found = evaluate(losses, name, y[:, :1], t[:, :1], alpha=0.0) if "sigmoid" in name else (
        evaluate(losses, name, y, t, alpha=0.0)
    )  # fmt: skip
    assert 0 <= found[0] < 1e-15
    if "sigmoid" in name:
        assert found[0] == pytest.approx(math.exp(-37), rel=1e-12)


@pytest.mark.parametrize("name", ROW_LOSSES)
def test_loss_derivative_agrees_with_finite_differences(name):
    y, t = batch_of(name)
    d, h = loss_derivative(name, y, t), 1e-6
    assert d.shape == y.shape
    for j in range(y.shape[1]):
        step = h * np.eye(y.shape[1])[j]
        expected = (row_losses(name, y + step, t) - row_losses(name, y - step, t)) / (2 * h)
        np.testing.assert_allclose(d[:, j], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ROW_LOSSES)
def test_loss_in_float32(name):
    y, t = batch_of(name)
    y, t = y.astype("f4"), t if "sparse" in name else t.astype("f4")
    wide = y.astype("f8"), t if "sparse" in name else t.astype("f8")
    assert loss_derivative(name, y, t).dtype == np.float32
    np.testing.assert_allclose(row_losses(name, y, t), row_losses(name, *wide), rtol=1e-5)
    np.testing.assert_allclose(
        loss_derivative(name, y, t), loss_derivative(name, *wide), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [n for n in ROW_LOSSES if "crossentropy" in n])
def test_probabilities_of_0_and_1_are_clipped(name, dtype):
    y = np.array([[1, 0, 0], [0, 1, 0]], dtype)
    t = np.array([[0, 1, 0], [0, 1, 0]], dtype)
    if "sparse" in name:
        t = t.argmax(1)
    found = row_losses(name, y, t)
    assert np.isfinite(found).all()
    assert found[0] > found[1] >= 0
    if name in RAW_LOSSES:
        return
    # The slope is that of the clipped probability, which does not change.
    assert (loss_derivative(name, y, t) == 0).all()


def test_huber_and_log_cosh_do_not_overflow():
    y, t = np.array([[1e200, 3.0]]), np.array([[-1e200, 3.0]])
    assert losses.huber(y, t, 1.0)[0] == pytest.approx(1e200)
    assert losses.log_cosh(y, t)[0] == pytest.approx(1e200)
    np.testing.assert_array_equal(losses.log_cosh_derivative(y, t), [[0.5, 0]])


R = np.array([0.5, 2, 0, 1, 1, 3])


@pytest.mark.parametrize(
    ("reduction", "r", "scale"),
    [
        ("sum_over_batch_size", None, 1 / 6), ("mean", R, 1 / 6), ("sum", None, 1.0),
        ("sum", R, 1.0), ("mean_with_sample_weight", R, 1 / 7.5),
        ("mean_with_sample_weight", np.zeros(6), 0.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", [*ROW_LOSSES, "root_mean_squared_error"])
def test_batch_loss_and_its_derivative(name, reduction, r, scale):
    y, t = batch_of(name)
    alpha = LOSS_ALPHA.get(name, SMOOTHING)
    rooted = name.startswith("root")
    found, dy = losses.batch_loss(name, y, t, r, alpha, reduction)
    weights = scale * (np.ones(6) if r is None else r)
    total = (weights * row_losses(name.removeprefix("root_"), y, t)).sum()
    assert found == pytest.approx(math.sqrt(total) if rooted else total)
    assert losses.batch_loss(name, y, t, r, alpha, reduction, derivative=False) == (found, None)
    h = 1e-6
    for i, j in np.ndindex(*y.shape):
        ends = []
        for sign in (1, -1):
            moved = y.copy()
            moved[i, j] += sign * h
            ends.append(losses.batch_loss(name, moved, t, r, alpha, reduction)[0])
        assert dy[i, j] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-8)


def test_root_mean_squared_error_of_a_perfect_batch():
    y = np.ones((3, 2))
    found, dy = losses.batch_loss("root_mean_squared_error", y, y)
    assert found == 0
    assert (dy == 0).all()


# --- Metrics and dropout's mask ---


def test_metrics():
    y = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]])
    labels = np.array([[1], [1], [2], [1]])
    hot = np.eye(3)[labels[:, 0]]
    by_name = {
        "binary_accuracy": ((y, (y > 0.3).astype(float), 0.5), [1, 2 / 3, 1, 1 / 3]),
        "categorical_accuracy": ((y, hot), [1, 0, 1, 0]),  # Of equals the first is the answer.
        "sparse_categorical_accuracy": ((y, labels), [1, 0, 1, 0]),
        "top_k_categorical_accuracy": ((y, hot, 1), [1, 0, 1, 1]),  # None is larger than an equal.
        "sparse_top_k_categorical_accuracy": ((y, labels, 2), [1, 1, 1, 1]),
        "mean_squared_error": ((y, y + 0.5), [0.25] * 4),
        "mean_absolute_error": ((y, y - 0.5), [0.5] * 4),
    }
    assert set(by_name) == set(formulas(metrics))
    for name, (arguments, expected) in by_name.items():
        np.testing.assert_allclose(getattr(metrics, name)(*arguments), expected, err_msg=name)
    broken = np.array([[np.nan, 0.5, 0.2], [0.1, np.inf, 0.2]])
    assert not metrics.sparse_top_k_categorical_accuracy(broken, np.array([0, 1]), 3).any()


def test_dropouts_mask():
    """Once more in plain integers, which do not wrap around by themselves."""

    def mix32(h):
        h ^= h >> 16
        h = h * 0x7FEB352D % 2**32
        h ^= h >> 15
        h = h * 0x846CA68B % 2**32
        return h ^ (h >> 16)

    seed, iteration, rate = 12345, 6, 0.3
    key = random.mix64((seed + (iteration + 1) * 0x9E3779B97F4A7C15) % 2**64)
    found = random.keep(7, 5, rate, seed, iteration)
    for element in range(35):
        h = mix32((mix32((element + key % 2**32) % 2**32) + (key >> 32)) % 2**32)
        assert found.flat[element] == (h >= rate * 2**32)
    assert random.mix64(0) == 0
    assert random.mix64(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF  # SplitMix64's first, seed 0
    many = random.keep(400, 300, rate, seed, iteration)
    assert many.mean() == pytest.approx(0.7, abs=0.005)
    assert (many != random.keep(400, 300, rate, seed, iteration + 1)).mean() > 0.4
    assert (many != random.keep(400, 300, rate, seed + 1, iteration)).mean() > 0.4
    assert random.keep(9, 9, 0.0, 1, 1).all()


# --- Optimizers ---

SLOTS = {
    "sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1, "rmsprop_full": 3,
    "adam": 2, "amsgrad": 3,
}  # fmt: skip
DEFAULTS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "adagrad": {"epsilon": 1e-7},
    "rmsprop": {"rho": 0.9, "epsilon": 1e-7},
    "rmsprop_full": {"rho": 0.9, "epsilon": 1e-7, "momentum": 0.5, "centered": 1.0},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "amsgrad": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
}


def start_slots(name, shape, dtype=np.float64):
    return np.full((SLOTS[name], *shape), 0.1 if name == "adagrad" else 0.0, dtype)


def test_every_optimizer_is_in_the_tables():
    assert set(formulas(optimizers)) == set(SLOTS) == set(DEFAULTS)


#: From w = 1 with learning rate 0.1, gradients 0.5 and then -1: w after each, worked by hand.
#:
#: adam: m = .05, v = .00025, rate = .1 sqrt(.001) / .1, w = 1 - .1;
#:       m = -.055, v = .00124975, rate = .1 sqrt(.001999) / .19.
WORKED = [
    ("sgd", {}, (0.95, 1.05)),
    ("sgd", {"weight_decay": 0.5}, (0.9, 0.955)),
    ("momentum", {"momentum": 0.9}, (0.95, 1.005)),
    ("nesterov", {"momentum": 0.9}, (0.905, 1.0545)),
    ("adagrad", {"epsilon": 0.0}, (1 - 0.05 / math.sqrt(0.35), None)),
    ("adagrad", {"epsilon": 0.01}, (1 - 0.05 / 0.6, 1 - 0.05 / 0.6 + 0.1 / math.sqrt(1.36))),
    ("rmsprop", {"rho": 0.9, "epsilon": 0.0}, (1 - math.sqrt(0.1), None)),
    ("rmsprop", {"rho": 0.9, "epsilon": 0.011}, (1 - 0.05 / math.sqrt(0.036), None)),
    (
        "rmsprop_full",
        {"rho": 0.9, "epsilon": 0.0, "momentum": 0.0, "centered": 0.0},
        (1 - math.sqrt(0.1), 1 - math.sqrt(0.1) + 0.1 / math.sqrt(0.1225)),
    ),
    (
        "rmsprop_full",
        {"rho": 0.9, "epsilon": 0.0, "momentum": 0.5, "centered": 1.0},
        (1 - 1 / 3, 1 - 1 / 3 - (1 / 6 - 0.1 / math.sqrt(0.1225 - 0.055**2))),
    ),
    (
        "adam",
        {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 0.0},
        (0.9, 0.9 + 0.1 * math.sqrt(0.001999) / 0.19 * 0.055 / math.sqrt(0.00124975)),
    ),
    (
        "adam",  # Epsilon is added to the uncorrected root.
        {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 0.001},
        (1 - 0.05 * math.sqrt(0.001) / (math.sqrt(0.00025) + 0.001), None),
    ),
    ("amsgrad", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 0.0}, (0.9, None)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "hyper", "expected"), WORKED)
def test_update_worked_by_hand(name, hyper, expected, dtype):
    w, slots = np.ones(3, dtype), start_slots(name, (3,), dtype)
    kept = w, slots
    for iteration, (g, after) in enumerate(zip((0.5, -1.0), expected, strict=True)):
        getattr(optimizers, name)(
            w, np.full(3, g, dtype), slots, learning_rate=0.1, iteration=iteration, **hyper
        )
        if after is not None:
            np.testing.assert_allclose(w, after, rtol=10 * np.finfo(dtype).eps)
    assert w is kept[0]
    assert w.dtype == slots.dtype == dtype


def test_amsgrad_remembers_the_largest():
    """After a large gradient and a zero one, Adam's v shrinks and the largest stays."""
    hyper = {"beta_1": 0.9, "beta_2": 0.5, "epsilon": 0.0}
    w, slots = np.zeros(1), start_slots("amsgrad", (1,))
    for iteration, g in enumerate((4.0, 0.0)):
        optimizers.amsgrad(w, np.array([g]), slots, learning_rate=1.0, iteration=iteration, **hyper)
    np.testing.assert_allclose(slots[:, 0], [0.36, 4.0, 8.0])
    # The first step is -1; the second -sqrt(.75) / .19 * .36 / sqrt(8).
    assert w[0] == pytest.approx(-1 - math.sqrt(0.75) / 0.19 * 0.36 / math.sqrt(8))


def minimize(name, gradient, start, learning_rate, steps):
    w = np.array(start, float)
    slots = start_slots(name, w.shape)
    for iteration in range(steps):
        getattr(optimizers, name)(
            w, gradient(w), slots, learning_rate=learning_rate, iteration=iteration,
            **DEFAULTS[name],
        )  # fmt: skip
    return w


PARABOLA = {
    "sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adagrad": 0.5, "rmsprop": 0.002,
    "rmsprop_full": 0.002, "adam": 0.05, "amsgrad": 0.05,
}  # fmt: skip
ROSENBROCK = {
    "sgd": (1e-3, 15000), "momentum": (2e-4, 8000), "nesterov": (2e-4, 8000),
    "adagrad": (0.5, 15000), "rmsprop": (5e-4, 15000), "rmsprop_full": (2e-4, 15000),
    "adam": (1e-2, 8000), "amsgrad": (1e-2, 8000),
}  # fmt: skip


@pytest.mark.parametrize("name", formulas(optimizers))
def test_every_optimizer_solves_a_parabola(name):
    scale, best = np.array([1.0, 10.0]), np.array([0.5, -1.0])
    w = minimize(name, lambda w: scale * (w - best), [-1.0, 1.0], PARABOLA[name], 2500)
    np.testing.assert_allclose(w, best, atol=3e-3)


@pytest.mark.parametrize("name", formulas(optimizers))
def test_every_optimizer_solves_rosenbrock(name):
    learning_rate, steps = ROSENBROCK[name]

    def gradient(w):
        x, y = w
        return np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])

    start = np.array([-1.2, 1.0])
    assert scipy.optimize.check_grad(scipy.optimize.rosen, gradient, start) < 1e-4
    w = minimize(name, gradient, start, learning_rate, steps)
    assert scipy.optimize.rosen(w) < 1e-3, w


# --- The executor: the notebook's worked example ---


def notebook(update=True, optimizer="sgd"):
    """The plan of two inputs, two sigmoid units, two sigmoid outputs, no bias."""
    names = {
        "w1": ("parameters", 2, 2, 0), "w2": ("parameters", 2, 2, 16),
        "x": ("x", 0, 2, 0), "t": ("t", 0, 2, 0),
        "h": ("work", 0, 2, 0), "y": ("work", 0, 2, 2), "dy": ("work", 0, 2, 4),
        "dz2": ("work", 0, 2, 6), "dz1": ("work", 0, 2, 8),
        "dw1": ("gradients", 2, 2, 0), "dw2": ("gradients", 2, 2, 16),
    }  # fmt: skip
    at = {name: i for i, name in enumerate(names)}
    steps = [
        Step("dense", "sigmoid", "hidden", x=at["x"], w=at["w1"], y=at["h"]),
        Step("dense", "sigmoid", "output", x=at["h"], w=at["w2"], y=at["y"]),
        Step("loss", "mean_squared_error", y=at["y"], t=at["t"], dy=at["dy"]),
        Step("activate_backward", "sigmoid", y=at["y"], dy=at["dy"], dx=at["dz2"]),
        Step("dense_backward_data", "sigmoid", dz=at["dz2"], w=at["w2"], y=at["h"], dx=at["dz1"]),
    ]
    for x, dz, w in (("h", "dz2", "w2"), ("x", "dz1", "w1")):
        steps.append(
            Step("dense_backward_weights", x=at[x], dz=at[dz], w=at[w], update=update,
                 dw=None if update else at[f"d{w}"])
        )  # fmt: skip
    if not update and optimizer:
        steps += [Step("update", w=at[w], dw=at[f"d{w}"]) for w in ("w2", "w1")]
    return Plan(
        dtype="float64", buffers=tuple(Buffer(name, *rest) for name, rest in names.items()),
        steps=tuple(steps), n_in=2, n_out=2, output=at["y"], n_parameters=96, n_work=10,
        n_targets=2, optimizer=optimizer, n_slots=SLOTS.get(optimizer, 0),
        hyper=DEFAULTS.get(optimizer, {}),
    )  # fmt: skip


def notebook_weights(dtype="float64"):
    """W1..W8, each unit's two in a column."""
    parameters = np.zeros(96, dtype)
    parameters[:4] = 0.3, 0.4, 0.25, 0.35
    parameters[16:20] = 0.45, 0.7, 0.4, 0.6
    return parameters


X, T = np.array([[0.1, 0.2]]), np.array([[0.4, 0.6]])


def buffer(executor, name):
    plan = executor.plan
    return executor.read([b.name for b in plan.buffers].index(name))


def eight(values):
    return [f"{v:.8f}" for v in np.ravel(values)]


def test_the_worked_example_to_eight_decimals():
    parameters = notebook_weights()
    executor = Executor(notebook(update=False), parameters, None, batch_size=1)
    assert executor.run(X, T, learning_rates=np.array([0.5])) == 1
    assert eight(buffer(executor, "h")) == ["0.51998934", "0.52747230"]
    assert eight(buffer(executor, "y")) == ["0.60944600", "0.66384491"]
    assert eight(executor.loss) == ["0.02397190"]
    assert eight(buffer(executor, "dw1").T) == [
        "0.00080888", "0.00161775", "0.00071009", "0.00142017",
    ]  # fmt: skip
    assert eight(buffer(executor, "dw2").T) == [
        "0.02592286", "0.02629590", "0.00740844", "0.00751506",
    ]  # fmt: skip
    assert eight(parameters[:4].reshape(2, 2).T) == [
        "0.29959556", "0.24919112", "0.39964496", "0.34928991",
    ]  # fmt: skip
    assert eight(parameters[16:20].reshape(2, 2).T) == [
        "0.43703857", "0.38685205", "0.69629578", "0.59624247",
    ]  # fmt: skip
    out = np.empty((1, 2))
    Executor(forward_only(notebook()), parameters, None, batch_size=1).predict(X, out)
    assert eight(out) == ["0.60617688", "0.66295848"]
    executor.run(X, T, learning_rates=np.zeros(1))
    assert eight(executor.loss) == ["0.02323634"]


def forward_only(plan):
    return dataclasses.replace(plan, steps=plan.steps[:2], optimizer="", n_slots=0)


@pytest.mark.parametrize("name", formulas(optimizers))
def test_fused_equals_unfused(name):
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=(7, 2)), rng.uniform(size=(7, 2))
    ends = []
    for update in (True, False):
        parameters, slots = notebook_weights(), start_slots(name, (96,))
        plan = notebook(update, name)
        executor = Executor(plan, parameters, slots, batch_size=3)
        for epoch in range(4):
            executor.run(x, t, iteration=3 * epoch, learning_rates=np.array([0.1]))
        ends.append((parameters, slots))
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    np.testing.assert_array_equal(ends[0][1], ends[1][1])
    assert not np.array_equal(ends[0][0], notebook_weights())


# --- The executor: every op ---


def everything(dtype="float64", loss="softmax_sparse_categorical_crossentropy", optimizer=""):
    """A plan with each op: x -> rescale -> dense gelu -> dropout -> dense, softmax -> dense."""
    buffers, place, work = [], {}, 0

    def add(name, arena, rows, cols, offset=0):
        nonlocal work
        if arena == "work":
            offset, work = work, work + cols
        place[name] = len(buffers)
        buffers.append(Buffer(name, arena, rows, cols, offset))

    shapes = {"w1": (3, 5), "b1": (1, 5), "w2": (5, 4), "w3": (4, 3), "b3": (1, 3)}
    for k, (name, shape) in enumerate(shapes.items()):
        add(name, "parameters", *shape, 32 * k)
        add(f"d{name}", "gradients", *shape, 32 * k)
    for name, cols in (("x", 3), ("labels", 1), ("r", 1)):
        add(name, name, 0, cols)
    for name, cols in (
        ("s", 3), ("z1", 5), ("y1", 5), ("d", 5), ("z2", 4), ("y2", 4), ("y3", 3), ("dy", 3),
        ("dy2", 4), ("dz2", 4), ("dd", 5), ("dy1", 5), ("dz1", 5), ("ds", 3), ("dx", 3),
    ):  # fmt: skip
        add(name, "work", 0, cols)

    def step(op, kind="", *, names="", **rest):
        pairs = dict(item.split("=") for item in names.split())
        return Step(op, kind, **{f: place[name] for f, name in pairs.items()}, **rest)

    steps = [
        step("rescale", names="x=x y=s", alpha=0.5, beta=0.1),
        step("dense", "gelu", names="x=s w=w1 b=b1 z=z1 y=y1"),
        step("dropout", names="x=y1 y=d", alpha=0.3, seed=4),
        step("dense", "linear", names="x=d w=w2 y=z2"),
        step("activate", "softmax", names="x=z2 y=y2"),
        step("dense", "linear", names="x=y2 w=w3 b=b3 y=y3"),
        step("loss", loss, names="y=y3 t=labels r=r dy=dy"),
        step("metric", "sparse_categorical_accuracy", names="y=y3 t=labels"),
        step("penalty", names="w=w1", l1=0.01, l2=0.02),
        step("penalty", names="w=b1", l2=0.03),
        step("dense_backward_data", "linear", names="dz=dy w=w3 dx=dy2"),
        step("dense_backward_weights", names="x=y2 dz=dy w=w3 b=b3 dw=dw3 db=db3"),
        step("activity_penalty", names="y=y2 dy=dy2", l1=0.01, l2=0.04),
        step("activate_backward", "softmax", names="dy=dy2 y=y2 dx=dz2"),
        step("dense_backward_data", "linear", names="dz=dz2 w=w2 dx=dd"),
        step("dense_backward_weights", names="x=d dz=dz2 w=w2 dw=dw2"),
        step("dropout_backward", names="dy=dd dx=dy1", alpha=0.3, seed=4),
        step("activate_backward", "gelu", names="dy=dy1 z=z1 dx=dz1"),
        step("dense_backward_weights", names="x=s dz=dz1 w=w1 b=b1 dw=dw1 db=db1", l1=0.01,
             l2=0.02, bias_l2=0.03),
        step("dense_backward_data", "linear", names="dz=dz1 w=w1 dx=ds"),
        step("rescale_backward", names="dy=ds dx=dx", alpha=0.5),
        step("keep", names="y=dx"),
        step("keep", names="w=w2", index=1),
        step("observe", "squares", names="dw=dw1"),
        step("observe", "squares", names="dw=db1"),
        step("observe", "saturated", names="y=y2", index=1, alpha=0.1, beta=0.9),
        step("observe", "dead", names="y=d", index=2),
    ]  # fmt: skip
    if optimizer:
        steps += [
            step("clip_norm", names="dw=dw1", alpha=0.01),
            step("clip_value", names="dw=dw3", alpha=0.002),
            step("clip_global_norm", alpha=0.015),
            *(step("update", names=f"w={name} dw=d{name}") for name in shapes),
        ]
    return Plan(
        dtype=dtype, buffers=tuple(buffers), steps=tuple(steps), n_in=3, n_out=3,
        output=place["y3"], n_parameters=256, n_work=work, labels=True, weights=True, n_metrics=1,
        n_kept=2, n_observed=3,
        optimizer=optimizer, n_slots=SLOTS.get(optimizer, 0), hyper=DEFAULTS.get(optimizer, {}),
    )  # fmt: skip


def everything_data(rows=6):
    rng = np.random.default_rng(5)
    return rng.normal(size=(rows, 3)), rng.integers(0, 3, rows), rng.uniform(0.5, 2, rows)


def everything_executor(dtype="float64", optimizer="", batch_size=6, kind=Executor):
    plan = everything(dtype, optimizer=optimizer)
    parameters = np.random.default_rng(6).normal(0, 0.7, plan.n_parameters).astype(dtype)
    slots = start_slots(optimizer, (plan.n_parameters,), dtype) if optimizer else None
    return kind(plan, parameters, slots, batch_size=batch_size)


def test_every_op_is_run_here():
    ops = {step.op for step in everything(optimizer="adam").steps}
    assert ops == set(OPS) == set(WRITES)


def test_what_is_watched():
    executor = everything_executor()
    x, t, r = everything_data()
    kept, observed = [np.zeros((1, 6, 3)), np.zeros((1, 5, 4))], np.full((1, 3), 7.0)
    executor.run(x, t, r, iteration=2, kept=kept, observed=observed)
    np.testing.assert_array_equal(kept[0][0], buffer(executor, "dx"))
    np.testing.assert_array_equal(kept[1][0], buffer(executor, "w2"))
    y = buffer(executor, "y2")
    squares = sum((buffer(executor, name) ** 2).sum() for name in ("dw1", "db1"))
    assert observed[0].tolist() == [
        pytest.approx(squares, rel=1e-14),
        np.mean((y <= 0.1) | (y >= 0.9)),
        np.mean((buffer(executor, "d") == 0).all(axis=0)),
    ]


def test_gradients_agree_with_finite_differences():
    executor = everything_executor()
    x, t, r = everything_data()
    executor.run(x, t, r, iteration=2)
    gradient, dx = executor.gradients.copy(), buffer(executor, "dx")
    h = 1e-6

    def slope_by(array, index):
        ends = []
        for sign in (1, -1):
            kept = array[index]
            array[index] = kept + sign * h
            executor.run(x, t, r, iteration=2)
            array[index] = kept
            ends.append(executor.loss)
        return (ends[0] - ends[1]) / (2 * h)

    for b in executor.plan.buffers:
        if b.arena == "parameters":
            for i in range(b.offset, b.offset + b.rows * b.cols):
                expected = slope_by(executor.parameters, i)
                assert gradient[i] == pytest.approx(expected, rel=1e-6, abs=1e-9), (b.name, i)
    for index in np.ndindex(*x.shape):
        assert dx[index] == pytest.approx(slope_by(x, index), rel=1e-6, abs=1e-9)


def test_every_buffer_has_the_plans_dtype():
    executor = everything_executor("float32", "adam")
    executor.run(*everything_data())
    for k, b in enumerate(executor.plan.buffers):
        wide = {"labels": np.int64, "r": np.float64}
        assert executor.read(k).dtype == wide.get(b.arena, np.float32), b.name
        assert executor.read(k).shape == (b.rows or 6, b.cols), b.name


def test_clipping():
    executor = everything_executor(optimizer="sgd")
    x, t, r = everything_data()
    executor.load(x, t, r)
    before = {}
    for k, step in enumerate(executor.plan.steps):
        if step.op.startswith("clip"):
            before[step.op] = executor.gradients.copy()
        executor.execute(k)
    after_norm, after_value = before["clip_value"], before["clip_global_norm"]
    whole = slice(0, 15)
    assert np.linalg.norm(before["clip_norm"][whole]) > 0.01
    assert np.linalg.norm(after_norm[whole]) == pytest.approx(0.01)
    np.testing.assert_allclose(
        after_norm[whole] / 0.01,
        before["clip_norm"][whole] / np.linalg.norm(before["clip_norm"][whole]),
    )
    np.testing.assert_array_equal(after_norm[15:], before["clip_norm"][15:])
    assert np.abs(after_norm[96 : 96 + 12]).max() > 0.002
    assert np.abs(after_value[96 : 96 + 12]).max() == 0.002
    assert np.linalg.norm(after_value) > 0.015
    assert np.linalg.norm(executor.gradients) == pytest.approx(0.015)


def test_clipping_leaves_small_gradients_and_shows_broken_ones():
    executor = everything_executor(optimizer="sgd")
    k = next(i for i, s in enumerate(executor.plan.steps) if s.op == "clip_global_norm")
    executor.gradients[:] = 1e-9
    executor.execute(k)
    assert (executor.gradients == 1e-9).all()
    executor.gradients[3] = np.nan
    executor.execute(k)
    assert np.isnan(executor.gradients).all()


def test_row_weights_and_penalties_and_metrics():
    """The loss by hand: weighted mean of the rows' losses, and the three penalties."""
    executor = everything_executor()
    x, t, r = everything_data()
    totals, found = np.ones((1, 2)), np.zeros(1)
    executor.run(x, t, r, totals=totals, losses=found)
    y, y2 = buffer(executor, "y3"), buffer(executor, "y2")
    w1, b1 = buffer(executor, "w1"), buffer(executor, "b1")
    rows = np.log(np.exp(y).sum(1)) - y[np.arange(6), t]
    expected = (
        (r * rows).mean() + 0.01 * np.abs(w1).sum() + 0.02 * (w1**2).sum() + 0.03 * (b1**2).sum()
        + (0.01 * np.abs(y2).sum() + 0.04 * (y2**2).sum()) / 6
    )  # fmt: skip
    assert found[0] == executor.loss == pytest.approx(expected)
    assert totals.tolist() == [[1 + (y.argmax(1) == t).sum(), 7]]


def test_dropout_is_the_same_on_the_way_back_and_another_one_each_step():
    executor = everything_executor()
    x, t, r = everything_data()
    masks = []
    for iteration in (0, 1):
        executor.run(x, t, r, iteration=iteration)
        kept = buffer(executor, "d") != 0
        np.testing.assert_array_equal(kept, buffer(executor, "dy1") != 0)
        scaled = (buffer(executor, "y1") / 0.7)[kept]
        np.testing.assert_allclose(buffer(executor, "d")[kept], scaled)
        masks.append(kept)
    assert (masks[0] != masks[1]).any()


# --- The executor: data ---


def test_order_batches_rates_and_time():
    rng = np.random.default_rng(7)
    x, t = rng.normal(size=(10, 2)), rng.uniform(size=(10, 2))
    order, rates = rng.permutation(10), np.array([0.1, 0.2, 0.3, 0.4])

    def fresh():
        return make(notebook(optimizer="adam"), slots=start_slots("adam", (96,)))

    whole, parts, alone = fresh(), fresh(), fresh()
    found = np.zeros(3)
    arguments = {"order": order, "batch_size": 3, "begin": 1, "end": 9}
    done = whole.run(x, t, learning_rates=rates, losses=found, iteration=5, **arguments)
    assert done == 3
    np.testing.assert_array_equal(buffer(whole, "x"), x[order[7:9]])
    for k in range(3):  # Out of time at once, it still does one.
        arguments["begin"] = 1 + 3 * k
        done = parts.run(
            x, t, learning_rates=rates[k:], iteration=5 + k, seconds=0.0, **arguments
        )  # fmt: skip
        assert done == 1
        assert parts.loss == found[k]
    for k, rows in enumerate((order[1:4], order[4:7], order[7:9])):
        alone.run(x[rows], t[rows], learning_rates=rates[k : k + 1], iteration=5 + k)
    np.testing.assert_array_equal(whole.parameters, parts.parameters)
    np.testing.assert_array_equal(whole.parameters, alone.parameters)
    assert whole.run(x, t, begin=5, end=5) == 0


@pytest.mark.parametrize("kind", ["u1", "i4", "f4", "f8", "?"])
def test_any_real_data_of_any_strides(kind):
    whole = np.random.default_rng(8).integers(0, 2, (12, 2, 2)).astype(kind)
    forward = forward_only(notebook())
    ends = []
    for x in (whole[::2, :, 1], np.ascontiguousarray(whole[::2, :, 1]).astype(float)):
        ends.append(np.empty((6, 2)))
        Executor(forward, notebook_weights(), None, batch_size=4).predict(x, ends[-1])
    np.testing.assert_array_equal(*ends)


def test_targets_may_be_a_vector_and_labels_a_column():
    buffers = (
        Buffer("x", "x", 0, 1), Buffer("t", "t", 0, 1), Buffer("dy", "work", 0, 1),
    )  # fmt: skip
    plan = Plan("float64", buffers, (Step("loss", "mean_squared_error", y=0, t=1, dy=2),),
                n_in=1, n_out=1, output=-1, n_parameters=64, n_work=1, n_targets=1)  # fmt: skip
    executor = Executor(plan, np.zeros(64), None, batch_size=4)
    executor.run(np.array([[1.0], [2.0]]), np.array([0.0, 4.0]))
    assert executor.loss == 2.5
    executor.run(np.array([1.0, 2.0]), np.array([[0.0], [4.0]]))
    assert executor.loss == 2.5
    executor, (x, t, r) = everything_executor(), everything_data()
    found = []
    for labels in (t, t[:, None], t.astype(float), t.astype(np.uint8)):
        executor.run(x, labels, r)
        found.append(executor.loss)
    assert len(set(found)) == 1


def test_parameters_and_slots_are_held_by_reference():
    parameters, slots = notebook_weights(), start_slots("adam", (96,))
    executor = Executor(notebook(True, "adam"), parameters, slots, batch_size=1)
    executor.run(X, T, learning_rates=np.array([0.1]))
    assert (parameters[:4] != notebook_weights()[:4]).all()
    assert (slots[:, :4] != 0).all()
    assert (slots[:, 4:16] == 0).all()
    assert (parameters[20:] == 0).all()
    executor.set_hyper({"beta_1": 0.0, "beta_2": 0.0, "epsilon": 0.0})
    before = parameters.copy()
    executor.run(X, T, learning_rates=np.array([0.1]))  # Without memory: 0.1 against the sign.
    np.testing.assert_allclose(before[:4] - parameters[:4], 0.1)
    read = executor.read(0)
    read[:] = 7
    assert (parameters[:4] != 7).all()


def with_step(plan, index, **changes):
    steps = list(plan.steps)
    steps[index] = dataclasses.replace(steps[index], **changes)
    return dataclasses.replace(plan, steps=tuple(steps))


def make(plan=None, parameters=None, slots=None, batch_size=4):
    parameters = notebook_weights() if parameters is None else parameters
    return Executor(plan or notebook(), parameters, slots, batch_size=batch_size)


def swapped():
    plan = notebook()
    steps = list(plan.steps)
    steps[4], steps[5] = steps[5], steps[4]
    return dataclasses.replace(plan, steps=tuple(steps))


def run_labels(t, **options):
    x, _, r = everything_data()
    everything_executor().run(x, t, r, **options)


ERRORS = [
    (lambda: make(parameters=np.zeros(95)), r"parameters must be an array of shape \(96,\)"),
    (lambda: make(parameters=np.zeros(96, "f4")), "dtype float64; received shape .* dtype float32"),
    (lambda: make(parameters=np.zeros(192)[::2]), "parameters must be C-contiguous and writable"),
    (lambda: make(notebook(optimizer="adam")), "adam needs 2 slots; received 0"),
    (lambda: make(slots=np.zeros((1, 3))), "slots must be an array of shape"),
    (lambda: make(batch_size=0), "batch_size must be a positive integer; received 0"),
    (lambda: make(notebook(optimizer="adamm")), "unknown: 'adamm'; known: sgd, momentum"),
    (lambda: make(with_step(notebook(), 0, op="convolve")), r"step 0 \(convolve\): unknown op"),
    (lambda: make(with_step(notebook(), 1, kind="np")), r"step 1 \(dense\): unknown kind 'np'"),
    (lambda: make(with_step(notebook(), 2, kind="batch_loss")), "unknown kind 'batch_loss'"),
    (lambda: make(with_step(notebook(), 1, x=5)), r"step 1 \(dense\): y is read before"),
    (lambda: make(with_step(notebook(), 1, x=99)), "x names no buffer; received 99"),
    (lambda: make(swapped()), r"step 5 \(dense_backward_data\): w2 is read after its update"),
    (lambda: make(dataclasses.replace(notebook(), optimizer="")), "an update needs an optimizer"),
    (lambda: make().run(X), "t is missing"),
    (lambda: make().run(X[:, :1], T), r"x must have 2 numbers a row; received shape \(1, 1\)"),
    (lambda: make().run(X, T[:, :1]), "t must have 2 numbers a row"),
    (lambda: make().run(X, np.vstack([T, T])), "t must have as many rows as x, 1; received 2"),
    (lambda: make().run(X, T, begin=1, end=0), "0 <= begin <= end <= 1; received 1, 0"),
    (lambda: make().run(X, T, batch_size=5), "batch_size must be from 1 to 4; received 5"),
    (lambda: make().run(X, T, order=np.array([-1])), "order must hold row numbers from 0 to 0"),
    (lambda: make().run(np.ones((5, 2)), np.ones((5, 2)), batch_size=1,
                        learning_rates=np.ones(2)), "one for each of 5 batches; received 2"),
    (lambda: make().load(np.ones((5, 2)), np.ones((5, 2))), "from 1 to 4 rows; received 5"),
    (lambda: make(forward_only(notebook())).predict(X, np.empty(2)), "out must be an array"),
    (lambda: run_labels(None), "t is missing"),
    (lambda: run_labels(np.array([0, 1, 2, 3, 0, 0])), "labels must be from 0 to 2; received 3"),
    (lambda: run_labels(np.array([0, 1, 2, -1, 0, 0])), "labels must be from 0 to 2; received -1"),
    (lambda: everything_executor().run(*everything_data()[:2]), "r is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "text"), ERRORS)
def test_errors_say_what_is_wrong(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# --- The debugger ---


class WrongDropout(Executor):
    """Dropout with the mask of another seed."""

    def dropout(self, step):
        super().dropout(dataclasses.replace(step, seed=step.seed + 1))


class WrongUpdate(Executor):
    """Forgets the biases' slots."""

    def apply_optimizer(self, w, gradient):
        slots = self.slots.copy()
        super().apply_optimizer(w, gradient)
        if self.plan.buffers[w].name == "b3":
            self.slots[...] = slots


class WrongPenalty(Executor):
    def penalty(self, step):
        super().penalty(dataclasses.replace(step, l2=0.0))


class WrongMetric(Executor):
    def metric(self, step):
        super().metric(dataclasses.replace(step, kind="sparse_top_k_categorical_accuracy", alpha=3))


class WrongClip(Executor):
    def clip_global_norm(self, step):
        super().clip_global_norm(dataclasses.replace(step, alpha=step.alpha / 2))


class Nan(Executor):
    def activate(self, step):
        super().activate(step)
        self.values[step.y][2, 1] = np.nan


DIFFERENCES = [
    (Executor, None),
    (WrongDropout, r"step 2 \(dropout\): y = d\[\d, \d\] is "),
    (WrongUpdate, r"step 34 \(update\): slots\[\d, \d+\] is "),
    (WrongPenalty, r"step 8 \(penalty\): loss\[\] is "),
    (WrongMetric, r"step 7 \(metric sparse_categorical_accuracy\): totals\[0, 0\] is "),
    (WrongClip, r"step 29 \(clip_global_norm\): gradients\[\d+\] is "),
    (Nan, r"step 4 \(activate softmax\): y = y2\[2, 1\] is .* and nan; 1 of 24 elements differ"),
]


@pytest.mark.parametrize(("kind", "text"), DIFFERENCES)
def test_first_difference_names_the_step(kind, text):
    one = everything_executor(optimizer="adam")
    two = everything_executor(optimizer="adam", kind=kind)
    x, t, r = everything_data()
    found = first_difference(one, two, x, t, r, iteration=1, learning_rate=0.1)
    if text is None:
        assert found is None
        return
    with pytest.raises(ValueError, match=text):
        raise ValueError(found)


def test_first_difference_allows_what_it_is_told_to():
    x, t, r = everything_data()
    pair = []
    for change in (0, 1e-4):
        executor = everything_executor()
        executor.parameters *= 1 + change
        pair.append(executor)
    assert first_difference(*pair, x, t, r, rows=5, rtol=1e-2, atol=1e-2) is None
    assert "step 1 (dense gelu): z = z1" in str(first_difference(*pair, x, t, r, rows=5))
