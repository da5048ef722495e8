"""Every kernel against the plain NumPy statement of its formula, on every instruction set."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys

import mpmath as mp
import numpy as np
import pytest

from nncore import Input, Sequential, kernels, runtime
from nncore.layers import Dense
from nncore.reference import activations as ref_activations
from nncore.reference import losses as ref_losses
from nncore.reference import observations as ref_observations
from nncore.reference import optimizers as ref_optimizers

ISAS = runtime.available_isas()
DTYPES = ("float32", "float64")
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 97)


@pytest.fixture(params=ISAS, autouse=True)
def isa(request):
    """Run every test of this file on each instruction set of the machine."""
    kept = runtime._isa, runtime._cores
    runtime._isa, runtime._cores = request.param, {}
    yield request.param
    runtime._isa, runtime._cores = kept


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


def close(actual, expected, dtype, relative=16, absolute=16, scale=1.0):
    """Agree within `relative` and `absolute` units in the last place."""
    eps = EPS[dtype]
    expected = np.asarray(expected, dtype=np.float64)
    np.testing.assert_allclose(
        np.asarray(actual, dtype=np.float64), expected, rtol=relative * eps,
        atol=absolute * eps * scale,
    )  # fmt: skip


def points(dtype):
    z = np.concatenate([
        np.linspace(-12, 12, 1001), [-3, 0, 3, 6, 1e-3, -1e-3, 1e-30, -1e-30],
        [-30, 30, -88, 88, -1e3, 1e3, -1e4, 1e4, -1e30, 1e30, -3.4e38, 3.4e38],
    ])  # fmt: skip
    return z.astype(dtype)


def test_every_instruction_set_is_tested():
    """A skipped one must be loud: the CPU's levels and the build's modules agree."""
    from nncore import _runtime

    assert set(ISAS) == set(_runtime.cpu_levels() or ("generic",)), (
        f"this CPU has {_runtime.cpu_levels()}, the build {ISAS}: an instruction set is untested"
    )


@pytest.mark.parametrize("name", kernels.activations())
def test_activation_agrees_with_its_reference(name, dtype):
    z = points(dtype)
    alpha = {"leaky_relu": 0.2, "elu": 1.0}.get(name)
    f = getattr(ref_activations, name)
    with np.errstate(all="ignore"):
        expected = f(z.astype(np.float64), *(() if alpha is None else (alpha,)))
    y = kernels.activate(name, z)
    assert y.dtype == np.dtype(dtype)
    assert y.shape == z.shape
    assert np.isfinite(y).all(), f"{name}: not finite at {z[~np.isfinite(y)]}"
    if name == "exponential":  # e^z's relative error grows with |z|; it saturates at the largest
        expected = np.minimum(expected, np.finfo(dtype).max)
        near = np.abs(z) < 60
        close(y[near], expected[near], dtype, relative=64, absolute=2)
        return
    if name == "selu":
        expected = np.minimum(expected, np.finfo(dtype).max)
        np.testing.assert_allclose(y, expected, rtol=0.02, atol=0)
        z, y, expected = z[np.abs(z) < 1e38], y[np.abs(z) < 1e38], expected[np.abs(z) < 1e38]
    close(y, expected, dtype, relative=24, absolute=2)


@pytest.mark.parametrize("name", [n for n in kernels.activations() if n != "softmax"])
def test_derivative_agrees_with_its_reference(name, dtype):
    z = points(dtype)
    alpha = {"leaky_relu": 0.2, "elu": 1.0}.get(name)
    rest = () if alpha is None else (alpha,)
    reads = kernels.derivative_reads(name)
    zy = z if reads == "z" else kernels.activate(name, z)
    derivative = getattr(ref_activations, f"{name}_derivative")
    with np.errstate(all="ignore"):
        expected = derivative(zy.astype(np.float64), *rest) * np.ones_like(zy, np.float64)
    d = kernels.activate_derivative(name, z)
    assert np.isfinite(d).all(), f"{name}: not finite at {z[~np.isfinite(d)]}"
    big = np.abs(expected) > 1e30
    close(d[~big], expected[~big], dtype, relative=64, absolute=8)


@pytest.mark.parametrize("function", [kernels.activate, kernels.activate_derivative])
@pytest.mark.parametrize("name", [n for n in kernels.activations() if n != "softmax"])
def test_a_number_does_not_depend_on_its_neighbours(name, function, dtype):
    """A loop's vectors and its end round alike: bits depend on no batch, no number of threads."""
    z = np.random.default_rng(1).uniform(-6, 6, 1024).astype(dtype)
    alone = np.array([function(name, z[i : i + 1])[0] for i in range(z.size)])
    np.testing.assert_array_equal(function(name, z), alone)


@pytest.mark.parametrize("name", kernels.activations())
def test_a_nan_stays_a_nan(name, dtype):
    z = np.full((3, 37), np.nan, dtype)
    assert np.isnan(kernels.activate(name, z)).all()


@pytest.mark.parametrize("n", SIZES)
def test_softmax_rows(n, dtype):
    rng = np.random.default_rng(n)
    z = rng.normal(scale=5, size=(5, n)).astype(dtype)
    z[0] *= 1000
    y = kernels.activate("softmax", z)
    close(y, ref_activations.softmax(z.astype(np.float64)), dtype, relative=256, absolute=4)
    dy = rng.normal(size=z.shape).astype(dtype)
    expected = ref_activations.softmax_backward(dy.astype(np.float64), y.astype(np.float64))
    close(kernels.activate_backward("softmax", dy, y), expected, dtype, absolute=32)


@pytest.mark.parametrize("cols", [1, 7, 63, 64, 65, 130])
def test_observations_agree_with_their_reference(cols, dtype):
    assert set(kernels.observations()) == {"squares", "dead", "saturated"}
    rng = np.random.default_rng(cols)
    for rows in (1, 2, 8, 9, 31):
        v = rng.normal(size=(rows, cols)).astype(dtype)
        close(kernels.observe("squares", v), ref_observations.squares(v), "float64",
              relative=64)  # fmt: skip
        for share in (0.0, 0.3, 0.9, 1.0):
            y = np.where(rng.uniform(size=v.shape) < share, 0, v)
            y[:, rng.uniform(size=cols) < 0.3] = 0
            if rows > 2:
                y[-1, 0] = 1.0  # the last row is looked at, too
            assert kernels.observe("dead", y) == ref_observations.dead(y)
        for low, high in ((-0.5, 0.5), (0.0, 1.0), (-9.0, 9.0), (1.0, -1.0)):
            assert kernels.observe("saturated", v, low, high) == ref_observations.saturated(
                v, low, high
            )


def test_observations_of_numbers_that_are_not_finite(dtype):
    y = np.array([[np.nan, -0.0, np.inf, 1.0], [0.0, 0.0, 0.0, -np.inf]], dtype)
    assert kernels.observe("dead", y) == 0.25
    assert kernels.observe("saturated", y, -5.0, 5.0) == 0.25
    assert math.isnan(kernels.observe("squares", y))
    on_the_bounds = np.array([[-5.0, 5.0, 4.9]], dtype)
    assert kernels.observe("saturated", on_the_bounds, -5.0, 5.0) == 2 / 3


def test_observations_check_their_arguments():
    with pytest.raises(ValueError, match='unknown observation "deaf": did you mean "dead"'):
        kernels.observe("deaf", [[1.0]])
    with pytest.raises(ValueError, match="v must have 2 dimensions"):
        kernels.observe("dead", [1.0])
    with pytest.raises(ValueError, match="v must not be empty"):
        kernels.observe("dead", np.zeros((0, 3)))
    with pytest.raises(ValueError, match="saturated: low must be a finite number"):
        kernels.observe("saturated", [[1.0]], low=math.nan)


def targets(name, rng, rows, cols, dtype):
    if "sparse" in name:
        return rng.integers(0, cols, rows)
    if "categorical" in name:
        return np.eye(cols, dtype=dtype)[rng.integers(0, cols, rows)]
    if "binary" in name:
        return rng.integers(0, 2, (rows, cols)).astype(dtype)
    if name == "poisson":
        return rng.poisson(2.0, (rows, cols)).astype(dtype)
    return rng.normal(size=(rows, cols)).astype(dtype)


def outputs(name, rng, rows, cols, dtype):
    y = rng.normal(size=(rows, cols))
    if name.startswith(("binary", "categorical", "sparse", "poisson")):
        y = 0.05 + 0.9 / (1 + np.exp(-y))
    return y.astype(dtype)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("name", kernels.losses())
def test_loss_and_gradient_by_finite_differences(name, reduction):
    rng = np.random.default_rng(1)
    alpha = {"huber": 0.7, "binary_crossentropy": 0.1, "softmax_categorical_crossentropy": 0.2}
    a = alpha.get(name)
    for rows, cols in ((1, 1), (3, 2), (4, 19), (2, 33)):
        y, t = outputs(name, rng, rows, cols, "float64"), targets(name, rng, rows, cols, "float64")
        r = rng.uniform(0.5, 2, rows)
        value, dy = kernels.loss(name, y, t, r, alpha=a, reduction=reduction)
        each = kernels.loss_rows(name, y, t, alpha=a)
        scale = {"sum_over_batch_size": 1 / rows, "sum": 1.0}.get(reduction, 1 / r.sum())
        total = scale * (each * r).sum()
        assert value == pytest.approx(
            math.sqrt(total) if name == "root_mean_squared_error" else total
        )
        h = 1e-6
        for i in range(rows):
            for j in range(cols):
                up, down = y.copy(), y.copy()
                up[i, j] += h
                down[i, j] -= h
                slope = (
                    kernels.loss(name, up, t, r, alpha=a, reduction=reduction)[0]
                    - kernels.loss(name, down, t, r, alpha=a, reduction=reduction)[0]
                ) / (2 * h)
                assert dy[i, j] == pytest.approx(slope, rel=2e-5, abs=2e-8)


@pytest.mark.parametrize("name", kernels.losses())
def test_loss_agrees_with_its_reference(name, dtype):
    rng = np.random.default_rng(2)
    for cols in SIZES:
        y, t = outputs(name, rng, 4, cols, dtype), targets(name, rng, 4, cols, dtype)
        each = kernels.loss_rows(name, y, t, alpha=1.0 if name == "huber" else 0.0)
        expected = reference_loss_rows(name, y.astype(np.float64), t)
        close(each, expected, dtype, relative=64, absolute=64)


def reference_loss_rows(name, y, t):
    if name == "root_mean_squared_error":
        name = "mean_squared_error"
    f = getattr(ref_losses, name)
    t = t.astype(np.float64) if t.dtype.kind == "f" else t
    try:
        return f(y, t, 1.0 if name == "huber" else 0.0)
    except TypeError:
        return f(y, t)


def test_stable_for_extreme_raw_outputs(dtype):
    big = 1e4
    z = np.array([[big, -big, 0.0]], dtype)
    value, dz = kernels.loss("softmax_sparse_categorical_crossentropy", z, [1])
    assert value == pytest.approx(2 * big)
    np.testing.assert_allclose(dz, [[1, -1, 0]])
    value, dz = kernels.loss("sigmoid_binary_crossentropy", z, np.array([[0, 1, 1]], dtype))
    assert value == pytest.approx((2 * big + math.log(2)) / 3)
    np.testing.assert_allclose(dz, np.array([[1, -1, -0.5]]) / 3)


def test_finite_for_all_finite_outputs(dtype):
    top = float(np.finfo(dtype).max) * 0.9
    z = np.array([[top, -top, 0.0]], dtype)
    for name, t in (
        ("softmax_sparse_categorical_crossentropy", [0]),
        ("softmax_categorical_crossentropy", np.array([[1, 0, 0]], dtype)),
    ):
        value, dz = kernels.loss(name, z, t)
        assert value == 0
        np.testing.assert_array_equal(dz, 0)
    assert kernels.loss("softmax_sparse_categorical_crossentropy", z, [1])[0] >= top


def test_log_cosh_is_accurate_near_its_minimum(dtype):
    t = np.zeros((1, 1), dtype)
    for e in (0.9999, 1e-1, 1e-2, 1e-3, 1e-5, 1e-9):
        y = np.full((1, 1), e, dtype)
        exact = float(mp.log(mp.cosh(mp.mpf(float(y[0, 0])))))
        assert kernels.loss("log_cosh", y, t)[0] == pytest.approx(exact, rel=64 * EPS[dtype])


def test_poisson_is_undefined_for_a_negative_rate(dtype):
    value, _ = kernels.loss("poisson", np.array([[-0.5]], dtype), np.array([[1.0]], dtype))
    assert math.isnan(value)


def test_sums_over_a_large_batch_are_accurate(dtype):
    rng = np.random.default_rng(9)
    rows = 60_000
    x = (1 + rng.random((rows, 3))).astype(dtype)
    dz = (1 + rng.random((rows, 2))).astype(dtype)
    for columns in (2, 1):
        part = np.ascontiguousarray(dz[:, :columns])
        dw, db = kernels.dense_backward_weights(x, part)
        exact = [[math.fsum(np.float64(a) * b) for b in part.T] for a in x.T]
        np.testing.assert_allclose(dw, exact, rtol=32 * EPS[dtype])
        np.testing.assert_allclose(db, [math.fsum(b) for b in part.T], rtol=32 * EPS[dtype])


HYPER = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "adagrad": {"epsilon": 1e-7},
    "rmsprop": {"rho": 0.9, "epsilon": 1e-7},
    "rmsprop_full": {"rho": 0.9, "epsilon": 1e-7, "momentum": 0.5, "centered": 1.0},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "amsgrad": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
}


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("name", kernels.optimizers())
def test_update_agrees_with_its_reference(name, dtype, decay):
    rng = np.random.default_rng(3)
    hyper = {**HYPER[name], **({"weight_decay": decay} if decay else {})}
    for n in SIZES:
        w = rng.normal(size=n).astype(dtype)
        slots = np.full((kernels.optimizers()[name], n), 0.1 if name == "adagrad" else 0.0, dtype)
        w_ref, slots_ref = w.astype(np.float64), slots.astype(np.float64)
        for k in range(5):
            g = rng.normal(size=n).astype(dtype)
            kernels.update(name, w, g, slots, learning_rate=0.01, iteration=k, **hyper)
            getattr(ref_optimizers, name)(
                w_ref, g.astype(np.float64), slots_ref, learning_rate=0.01, iteration=k, **hyper
            )
        close(w, w_ref, dtype, relative=64, absolute=64)
        close(slots, slots_ref, dtype, relative=64, absolute=64)


@pytest.mark.parametrize("n", [1, 7, 16, 17, 63, 64, 65, 4099])
def test_an_updates_quotient_is_rounded_as_a_division_is(dtype, n):
    """Of w -= rate g / sqrt(a + g^2 + epsilon), from w = 0, NumPy knows dividend and divisor.

    (One next to the middle between two numbers may be one last bit off; here is none.)
    """
    rng = np.random.default_rng(5)
    rate, epsilon = np.array([1e-3, 1e-7], dtype)
    g = (rng.choice([-2, -1, 1, 2], n) * 2.0 ** rng.integers(-10, 10, n)).astype(dtype)
    a = (rng.random(n) * 4.0 ** rng.integers(-10, 10, n)).astype(dtype)
    w, slots = np.zeros(n, dtype), a[None].copy()
    kernels.update("adagrad", w, g, slots, learning_rate=float(rate), epsilon=float(epsilon))
    np.testing.assert_array_equal(slots[0], a + g * g)
    np.testing.assert_array_equal(w, -(rate * g / np.sqrt(slots[0] + epsilon)))


@pytest.mark.parametrize("n", [5, 16, 70])
def test_an_updates_quotient_of_what_is_not_finite(dtype, n):
    """0 / 0, x / 0, x / infinity and the like are what a division makes of them, and no others."""
    infinity = np.array(np.inf, dtype)
    for g, a in ((0, 0), (1, infinity), (infinity, 1), (np.nan, 1), (1, -2), (1, -1)):
        gs, slots = np.ones(n, dtype), np.ones((1, n), dtype)
        gs[n // 2], slots[0, n // 2] = g, a
        w = np.zeros(n, dtype)
        kernels.update("adagrad", w, gs, slots, learning_rate=1.0, epsilon=0.0)
        with np.errstate(all="ignore"):
            wanted = -(gs / np.sqrt(slots[0]))
        np.testing.assert_array_equal(w, wanted)


@pytest.mark.parametrize("name", kernels.optimizers())
def test_how_many_numbers_are_updated_together_does_not_show(name, dtype):
    rng = np.random.default_rng(7)
    hyper = {**HYPER[name], "weight_decay": 0.01, "learning_rate": 0.01, "iteration": 3}
    for n in SIZES:
        g, w = rng.normal(size=(2, n + 16)).astype(dtype)
        slots = np.abs(rng.normal(size=(kernels.optimizers()[name], n))).astype(dtype)
        if name == "rmsprop_full":
            slots[0] += slots[1] ** 2
        all_w, all_slots = w.copy(), slots.copy()
        kernels.update(name, all_w[:n], g[:n], all_slots, **hyper)
        np.testing.assert_array_equal(all_w[n:], w[n:])  # nothing beyond them is written
        for i in range(n):
            one, its = w[i : i + 1].copy(), slots[:, i : i + 1].copy()
            kernels.update(name, one, g[i : i + 1].copy(), its, **hyper)
            assert one[0] == all_w[i], (n, i)
            assert np.array_equal(its[:, 0], all_slots[:, i]), (n, i)


def test_a_momentum_is_fused_whatever_the_instruction_set(dtype, monkeypatch):
    """m = momentum m + rate g / sqrt(v - a^2 + epsilon): one rounding of product and sum."""
    fusing = [isa for isa in ISAS if isa != "x86_64_v2"]
    if len(fusing) < 2:
        pytest.skip("there are no two instruction sets that fuse")
    rng = np.random.default_rng(8)
    g, w, m = rng.normal(size=(3, 1000)).astype(dtype)
    found = []
    for isa in fusing:
        monkeypatch.setattr(runtime, "_isa", isa)
        monkeypatch.setattr(runtime, "_cores", {})
        slots = np.stack([np.full_like(g, 0.5), np.full_like(g, 0.1), m])
        hyper = {**HYPER["rmsprop_full"], "momentum": 0.5001}
        kernels.update("rmsprop_full", w.copy(), g, slots, learning_rate=0.01, **hyper)
        found.append(slots[2])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


SHAPES = [
    (1, 1, 1), (1, 64, 10), (2, 2, 2), (3, 5, 7), (12, 32, 32), (13, 33, 17), (32, 64, 64),
    (31, 300, 33), (128, 784, 128), (50, 520, 300), (300, 1000, 5), (3, 3, 700), (257, 129, 255),
    (1, 700, 300), (1, 3, 2100), (403, 3, 1), (17, 300, 1), (5, 33, 1), (600, 15, 9),
    (1040, 515, 3), (700, 784, 70), (300, 600, 150), (1045, 1030, 40),
]  # fmt: skip


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize(("rows", "n_in", "n_out"), SHAPES)
def test_matmuls(rows, n_in, n_out, n_threads, dtype):
    rng = np.random.default_rng(rows + n_in + n_out)
    x, w = rng.normal(size=(rows, n_in)).astype(dtype), rng.normal(size=(n_in, n_out)).astype(dtype)
    b, dz = rng.normal(size=n_out).astype(dtype), rng.normal(size=(rows, n_out)).astype(dtype)
    x64, w64, dz64 = x.astype(np.float64), w.astype(np.float64), dz.astype(np.float64)
    y = kernels.dense(x, w, b, "relu", n_threads=n_threads)
    close(y, np.maximum(x64 @ w64 + b, 0), dtype, absolute=16, scale=math.sqrt(n_in) + n_in / 16)
    dx = kernels.dense_backward_data(dz, w, "softsign", x, n_threads=n_threads)
    expected = (dz64 @ w64.T) / (1 + np.abs(x64)) ** 2
    close(dx, expected, dtype, absolute=16, scale=math.sqrt(n_out) + n_out / 16)
    dw, db = kernels.dense_backward_weights(x, dz, n_threads=n_threads)
    close(dw, x64.T @ dz64, dtype, absolute=16, scale=math.sqrt(rows) + rows / 16)
    close(db, dz64.sum(0), dtype, absolute=16, scale=math.sqrt(rows) + rows / 16)


CACHES = {"copied": (0, 1 << 20), "in place": (64, 1 << 20), "large": (64, 2 << 20)}


@pytest.fixture(params=CACHES)
def caches(request, dtype):
    """Let matmuls take rows a multiple of 4 KB apart to need copies, or not, whatever this CPU.

    And blocks be those of an L2 cache of 1 MB, or of 2.
    """
    core = runtime.core(dtype)
    before = core.set_caches(*CACHES[request.param])
    yield request.param
    core.set_caches(*before)


def test_no_thread_writes_beyond_its_scratch(dtype, caches):
    """The layout that the loops use, for every thread's part, against what is provided."""
    core = runtime.core(dtype)
    rng = np.random.default_rng(10)
    sizes = [1, 2, 3, 8, 11, 12, 13, 16, 31, 32, 33, 64, 96, 129, 256, 512, 513, 1000, 2048, 5000]
    sizes += [1025, 1033, 1100, 1537]  # just beyond a block of p
    sizes += [17408, 33000]  # more blocks of p than panels of a have room
    for _ in range(3000):
        m, n, k = (int(v) for v in rng.choice(sizes, 3))
        n_threads = int(rng.choice([1, 2, 3, 7, 8, 12, 16, 29, 32, 64, 100, 256]))
        for a_transposed, b_transposed in ((False, False), (False, True), (True, False)):
            spare = core.scratch_spare(
                m, n, k, a_step=int(rng.choice([m if a_transposed else k, 4096, 4097])),
                a_transposed=a_transposed,
                b_transposed=b_transposed, b_slack=bool(rng.integers(2)), n_threads=n_threads,
            )  # fmt: skip
            assert spare >= 0, (m, n, k, n_threads, a_transposed, b_transposed)


@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize(
    ("rows", "n_in", "n_out"),
    [
        (2, 1100, 1027), (13, 2048, 1030), (45, 2100, 517), (30, 5300, 200), (13, 900, 2500),
        (8, 2100, 70),
    ],
)  # fmt: skip
def test_weights_from_memory(dtype, rows, n_in, n_out, offset, caches):
    """The first rows read them in shares, the others a packed copy: the bits are the same."""
    rng = np.random.default_rng(17)
    w = np.empty(n_in * n_out + offset, dtype)[offset:].reshape(n_in, n_out)
    w[:] = rng.normal(size=w.shape)
    b = rng.normal(size=n_out).astype(dtype)
    x = np.tile(rng.normal(size=(1, n_in)).astype(dtype), (rows, 1))
    y = kernels.dense(x, w, b, "softsign")
    z = x[0].astype(np.float64) @ w + b
    close(y[0], z / (1 + np.abs(z)), dtype, absolute=32, scale=math.sqrt(n_in))
    np.testing.assert_array_equal(y, y[:1].repeat(rows, 0))
    np.testing.assert_array_equal(kernels.dense(x, w, b, "softsign", n_threads=3), y)
    x[rows // 2, n_in // 2] = np.inf  # of one row only
    bad = kernels.dense(x, w, b, "relu")
    assert not np.isfinite(bad[rows // 2]).all()
    others = np.arange(rows) != rows // 2
    np.testing.assert_array_equal(bad[others], np.maximum(kernels.dense(x[others], w, b), 0))


@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize(
    ("n_in", "n_out"), [(261, 523), (1037, 1030), (70, 2501), (4101, 65), (20, 9001), (1100, 2060)]
)
def test_few_rows_of_weights_from_afar(dtype, n_in, n_out, offset):
    """A few rows read whole rows of the weights, more read tiles of them: the bits are the same."""
    rng = np.random.default_rng(23)
    w = np.empty(n_in * n_out + offset, dtype)[offset:].reshape(n_in, n_out)
    w[:] = rng.normal(size=w.shape)
    b = rng.normal(size=n_out).astype(dtype)
    x = rng.normal(size=(20, n_in)).astype(dtype)
    many = kernels.dense(x, w, b, "softsign")
    z = x.astype(np.float64) @ w + b
    close(many, z / (1 + np.abs(z)), dtype, absolute=32, scale=math.sqrt(n_in))
    gradient = np.ascontiguousarray(x.T)
    many_dw, _ = kernels.dense_backward_weights(gradient, w)
    close(many_dw, x.astype(np.float64) @ w, dtype, absolute=32, scale=math.sqrt(n_in))
    for rows in range(1, 8):
        for n_threads in (1, 2):
            y = kernels.dense(x[:rows], w, b, "softsign", n_threads=n_threads)
            np.testing.assert_array_equal(y, many[:rows])
            few = np.ascontiguousarray(gradient[:, :rows])
            dw, _ = kernels.dense_backward_weights(few, w, n_threads=n_threads)
            np.testing.assert_array_equal(dw, many_dw[:rows])


def test_a_part_of_few_rows(dtype):
    """The last rows of many, by a thread or in a piece of their own."""
    rng = np.random.default_rng(31)
    w = rng.normal(size=(1100, 520)).astype(dtype)
    for rows in (13, 14, 25, 1033, 1036):
        x = rng.normal(size=(rows, 1100)).astype(dtype)
        dz = rng.normal(size=(rows, 520)).astype(dtype)
        last = slice(max(rows - 14, 0), rows)
        for n_threads in (1, 2, 3):
            y = kernels.dense(x, w, n_threads=n_threads)
            dx = kernels.dense_backward_data(dz, w, n_threads=n_threads)
            x64, dz64 = x[last].astype(np.float64), dz[last].astype(np.float64)
            close(y[last], x64 @ w, dtype, absolute=64, scale=math.sqrt(1100))
            close(dx[last], dz64 @ w.T, dtype, absolute=64, scale=math.sqrt(520))
            np.testing.assert_array_equal(y[-1:], kernels.dense(x[-1:], w))
            np.testing.assert_array_equal(dx[-1:], kernels.dense_backward_data(dz[-1:], w))
    rows_of_tile, cols_of_tile = runtime.core(dtype).TILE  # one of columns: threads share rows
    w = rng.normal(size=(cols_of_tile, 17_767)).astype(dtype)
    for rows in (rows_of_tile + 1, rows_of_tile + 2):
        dz = rng.normal(size=(rows, 17_767)).astype(dtype)
        one = kernels.dense_backward_data(dz, w)
        close(one, dz.astype(np.float64) @ w.T, dtype, absolute=256, scale=math.sqrt(17_767))
        np.testing.assert_array_equal(kernels.dense_backward_data(dz, w, n_threads=2), one)


@pytest.fixture
def before_a_guard():
    """Return a function: arrays behind which no memory may be read."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mprotect and the size of a page are Linux's here")
    protect, page, kept = ctypes.CDLL(None, use_errno=True).mprotect, mmap.PAGESIZE, []

    def array(values):
        size = -(-values.nbytes // page) * page
        memory = mmap.mmap(-1, size + page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert protect(ctypes.c_void_p(start + size), page, 0) == 0
        kept.append(memory)
        at = size - values.nbytes
        result = np.frombuffer(memory, values.dtype, values.size, at).reshape(values.shape)
        result[:] = values
        return result

    return array


def test_few_rows_read_nothing_behind_their_arrays(dtype, before_a_guard):
    rng = np.random.default_rng(37)
    for n_in, n_out in ((261, 523), (1037, 1030), (70, 2501), (40, 33), (33, 17), (130, 1)):
        w = before_a_guard(rng.normal(size=(n_in, n_out)).astype(dtype))
        for rows in range(1, 10):
            x = before_a_guard(rng.normal(size=(rows, n_in)).astype(dtype))
            dz = before_a_guard(rng.normal(size=(rows, n_out)).astype(dtype))
            y, dx = kernels.dense(x, w), kernels.dense_backward_data(dz, w)
            close(y, x.astype(np.float64) @ w, dtype, absolute=64, scale=math.sqrt(n_in))
            close(dx, dz.astype(np.float64) @ w.T, dtype, absolute=64, scale=math.sqrt(n_out))


@pytest.mark.parametrize(
    ("n_in", "n_out"), [(64, 16), (70, 50), (161, 100), (2100, 33), (133, 1100), (50, 1024)]
)
def test_backward_data_of_few_rows(dtype, n_in, n_out, caches):
    """They turn the weights in registers, more rows pack them: the bits are the same."""
    rng = np.random.default_rng(29)
    w = rng.normal(size=(n_in, n_out)).astype(dtype)
    x = rng.normal(size=(20, n_in)).astype(dtype)
    dz = rng.normal(size=(20, n_out)).astype(dtype)
    for name in ("linear", "relu", "tanh"):
        many = kernels.dense_backward_data(dz, w, name, x)
        slope = {"linear": 1, "relu": x > 0, "tanh": 1 - x.astype(np.float64) ** 2}[name]
        expected = dz.astype(np.float64) @ w.T * slope
        close(many, expected, dtype, absolute=64, scale=math.sqrt(n_out))
        for rows in range(1, 10):
            for n_threads in (1, 2):
                few = kernels.dense_backward_data(dz[:rows], w, name, x[:rows], n_threads=n_threads)
                np.testing.assert_array_equal(few, many[:rows])


@pytest.mark.parametrize(
    ("rows", "k", "n"),
    [(300, 1024, 900), (1100, 1024, 200), (13, 4096, 1030), (8, 32768, 140), (2, 17408, 129)],
)
def test_copies_that_are_kept(dtype, rows, k, n, caches):
    """Of rows that are copied all copies are kept, where there is room: the bits are the same."""
    rng = np.random.default_rng(19)
    x = rng.normal(size=(rows, k)).astype(dtype)
    w = rng.normal(size=(k, n)).astype(dtype)
    y = kernels.dense(x, w)
    close(y[-1], x[-1].astype(np.float64) @ w, dtype, absolute=32, scale=math.sqrt(k))
    np.testing.assert_array_equal(kernels.dense(x, w, n_threads=2), y)
    runtime.core(dtype).set_caches(*CACHES["in place"])
    np.testing.assert_array_equal(kernels.dense(x, w), y)
    np.testing.assert_array_equal(kernels.dense_backward_data(x, np.ascontiguousarray(w.T)), y)


@pytest.mark.parametrize("k", [1024, 2048, 3072])
def test_rows_that_push_each_other_out_of_the_cache(dtype, k, caches):
    """Rows a multiple of 4 KB apart are copied side by side, or not: the bits are the same."""
    core = runtime.core(dtype)
    rng = np.random.default_rng(13)
    x = rng.normal(size=(331, k)).astype(dtype)
    w = rng.normal(size=(k, 150)).astype(dtype)
    whole = kernels.dense(x, w)
    close(whole, x.astype(np.float64) @ w, dtype, absolute=32, scale=math.sqrt(k))
    for others in CACHES.values():
        core.set_caches(*others)
        np.testing.assert_array_equal(kernels.dense(x, w), whole)
    core.set_caches(*CACHES[caches])
    few = 4 * core.TILE[1]  # columns: too few for copies to pay
    np.testing.assert_array_equal(kernels.dense(x, w[:, :few]), whole[:, :few])
    np.testing.assert_array_equal(kernels.dense(x, w, n_threads=3), whole)
    dx = kernels.dense_backward_data(x, np.ascontiguousarray(w.T))
    np.testing.assert_array_equal(dx, whole)


@pytest.mark.parametrize(
    ("rows", "n_in", "n_out"), [(130, 512, 290), (1500, 256, 700), (520, 1024, 333)]
)
def test_columns_that_push_each_other_out_of_the_cache(dtype, rows, n_in, n_out, caches):
    """A transposed matrix with lines a power of two apart is packed: the bits are the same."""
    rng = np.random.default_rng(15)
    x = rng.normal(size=(rows, n_in + 1)).astype(dtype)
    dz = rng.normal(size=(rows, n_out)).astype(dtype)
    packed = np.ascontiguousarray(x[:, :n_in])
    assert packed.strides[0] % 1024 == 0
    dw, db = kernels.dense_backward_weights(packed, dz)
    close(dw, packed.astype(np.float64).T @ dz, dtype, absolute=32, scale=math.sqrt(rows))
    wider, _ = kernels.dense_backward_weights(x, dz)
    np.testing.assert_array_equal(dw, wider[:n_in])
    for n_threads in (2, 3):
        other, sums = kernels.dense_backward_weights(packed, dz, n_threads=n_threads)
        np.testing.assert_array_equal(other, dw)
        np.testing.assert_array_equal(sums, db)


def test_tiles_that_are_finished_in_registers(dtype):
    """Bias and ReLU, or ReLU's slope, within a tile: the bits are those of the function of a panel.

    That does what no tile can: keep z, or multiply by a slope that is not 0.  Widths end in a whole
    tile, behind whole blocks of columns, too.
    """
    core = runtime.core(dtype)
    rng = np.random.default_rng(14)
    rows_of_tile, cols_of_tile = core.TILE
    none, guard = np.empty((0, 0), dtype), 64
    for n_in in (1, 40, 520, 900, 1100):
        for tiles in (1, 2, 3, 5, 9):
            for more in (0, 1):
                rows, n_out = (
                    int(rng.integers(1, 9)) * rows_of_tile + more,
                    tiles * cols_of_tile + more,
                )
                x = rng.normal(size=(rows, n_in)).astype(dtype)
                w = rng.normal(size=(n_in, n_out)).astype(dtype)
                b = rng.normal(size=n_out).astype(dtype)
                whole = np.full(rows * n_out + 2 * guard, 7, dtype)
                y = whole[guard:-guard].reshape(rows, n_out)
                z, kept = np.empty_like(y), np.empty_like(y)
                for name, bias in (("relu", b), ("linear", b), ("relu", None), ("linear", None)):
                    core.dense_into(x, w, bias, z, kept, name)
                    for n_threads in (1, 3):
                        y[...] = 7
                        core.dense_into(x, w, bias, none, y, name, 0.0, n_threads)
                        np.testing.assert_array_equal(y, kept)
                for name, alpha in (("relu", 0.0), ("linear", 1.0)):
                    dz, zy = x, rng.normal(size=(rows, n_out)).astype(dtype)
                    back = np.ascontiguousarray(w.T)
                    core.dense_backward_data_into(dz, back, zy, kept, "leaky_relu", alpha)
                    y[...] = 7
                    core.dense_backward_data_into(dz, back, zy, y, name)
                    np.testing.assert_array_equal(y, kept)
                assert (whole[:guard] == 7).all()
                assert (whole[-guard:] == 7).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_relu_passes_nothing_back_where_it_was_0(dtype, bad):
    """Not even NaN or infinity, in tiles and at edges alike, whatever the number of threads."""
    rng = np.random.default_rng(16)
    for rows, n_in, n_out in ((25, 36, 40), (13, 8, 40), (210, 44, 290), (3, 2, 2), (70, 200, 33)):
        dz = np.full((rows, n_out), bad, dtype)
        w = np.ones((n_in, n_out), dtype)
        y = rng.normal(size=(rows, n_in)).astype(dtype)
        for n_threads in (1, 2, 3):
            dx = kernels.dense_backward_data(dz, w, "relu", y, n_threads=n_threads)
            np.testing.assert_array_equal(dx, np.where(y > 0, bad, 0))


def test_more_threads_than_a_thread_has_columns(dtype):
    rng = np.random.default_rng(11)
    x = rng.normal(size=(128, 512)).astype(dtype)
    w = rng.normal(size=(512, 1024)).astype(dtype)
    dz = rng.normal(size=(128, 1024)).astype(dtype)
    one = kernels.dense(x, w), kernels.dense_backward_data(dz, w)
    for n in (16, 32, 64, 256):
        np.testing.assert_array_equal(kernels.dense(x, w, n_threads=n), one[0])
        np.testing.assert_array_equal(kernels.dense_backward_data(dz, w, n_threads=n), one[1])


def test_a_row_does_not_depend_on_its_batch(dtype):
    """One row alone has the bits that it has among others, whatever tile it falls into."""
    rng = np.random.default_rng(8)
    # The last seven read more than half a megabyte of weights: few rows ask for them; one row, of
    # more than a megabyte, reads them in whole lines.
    for n_in, n_out in (
        (5, 1), (300, 1), (5, 40), (700, 130), (20, 7000), (64, 2200), (65, 2300), (700, 803),
        (1024, 330), (1030, 2100), (3, 90_001),
    ):  # fmt: skip
        x, w = rng.normal(size=(60, n_in)).astype(dtype), rng.normal(size=(n_in, n_out))
        whole = kernels.dense(x, w.astype(dtype))
        for first, end in (
            (0, 1), (59, 60), (3, 5), (7, 30), (1, 4), (20, 26), (10, 19), (30, 42), (5, 18),
            (40, 47), (40, 48), (0, 14), (0, 15),
        ):  # fmt: skip
            rows = slice(first, end)
            np.testing.assert_array_equal(kernels.dense(x[rows], w.astype(dtype)), whole[rows])


def test_small_results_have_the_bits_of_large_ones(dtype):
    """They are computed without blocks, with tiles of other numbers of rows."""
    core = runtime.core(dtype)
    rng = np.random.default_rng(17)
    cols_of_tile = core.TILE[1]
    n_in = 4 * cols_of_tile
    x = rng.normal(size=(160_000 // n_in, n_in)).astype(dtype)  # more than half a megabyte
    for n_out in (2, 9, cols_of_tile, cols_of_tile + 3, 3 * cols_of_tile, 4 * cols_of_tile):
        w = rng.normal(size=(n_in, n_out)).astype(dtype)
        b = rng.normal(size=n_out).astype(dtype)
        back = np.ascontiguousarray(w.T)
        for name in ("relu", "linear", "tanh"):
            y = kernels.dense(x, w, b, name)
            dx = kernels.dense_backward_data(x, back, name, y)
            for rows in (2, 4, 7, 8, 9, 13, 14, 15, 16, 20, 32, 50, 51, 61, 64, 98, 99):
                few = x[:rows]
                np.testing.assert_array_equal(kernels.dense(few, w, b, name), y[:rows])
                np.testing.assert_array_equal(
                    kernels.dense_backward_data(few, back, name, y[:rows]), dx[:rows]
                )
        for batch in (50, 70):  # tiles of short sums have fewer rows
            dz = rng.normal(size=(batch, n_out)).astype(dtype)
            wide = np.hstack([dz, rng.normal(size=(batch, 5 * cols_of_tile)).astype(dtype)])
            for rows in (2, 6, 8, 12, 33, 70):
                dw, db = kernels.dense_backward_weights(x[:batch, :rows], dz)
                whole, sums = kernels.dense_backward_weights(x[:batch, :rows], wide)
                np.testing.assert_array_equal(dw, whole[:, :n_out])
                np.testing.assert_array_equal(db, sums[:n_out])


@pytest.mark.parametrize("n_out", [8, 9, 10, 11, 12, 13])
def test_rows_or_columns_in_the_lanes(dtype, n_out):
    """Some narrow results are computed with their rows in the lanes: the bits are the same."""
    rng = np.random.default_rng(18)
    lanes = 64 // np.dtype(dtype).itemsize
    for n_in in (3, 4, 7, 31, 32, 33, 35, 140, 513):
        x = rng.normal(size=(9 * lanes + 5, n_in)).astype(dtype)
        wide = rng.normal(size=(n_in, 12 * lanes)).astype(dtype)
        w, b = wide[:, :n_out].copy(), rng.normal(size=n_out).astype(dtype)
        whole = (kernels.dense(x, wide)[:, :n_out] + b).clip(0)
        for rows in (1, lanes // 2, lanes - 1, lanes, lanes + 1, len(x)):
            y = kernels.dense(x[:rows], w, b, "relu")
            np.testing.assert_array_equal(y, whole[:rows])
        dw, db = kernels.dense_backward_weights(x, whole)
        padded = np.pad(whole, ((0, 0), (0, 3 * lanes)))
        np.testing.assert_array_equal(dw, kernels.dense_backward_weights(x, padded)[0][:, :n_out])
        np.testing.assert_array_equal(db, whole.sum(0))


def test_an_odd_column_with_rows_in_the_lanes(dtype):
    """A plan's weights may be read behind their end, so nine columns are computed so, too."""
    rng = np.random.default_rng(19)
    for n_in in (5, 40):
        w, b = rng.normal(size=(n_in, 9)), rng.normal(size=9)
        model = Sequential([Input((n_in,)), Dense(9, activation="relu", dtype=dtype)])
        model.set_weights([w, b])
        w, b = w.astype(dtype), b.astype(dtype)
        x = rng.normal(size=(70, n_in)).astype(dtype)
        wide = np.hstack([w, rng.normal(size=(n_in, 100)).astype(dtype)])
        whole = np.maximum(kernels.dense(x, wide)[:, :9] + b, 0)
        for rows in (1, 3, 16, 37, 70):
            np.testing.assert_array_equal(model.predict(x[:rows], verbose=0), whole[:rows])


def test_threads_do_not_change_a_bit_of_a_small_result(dtype):
    """One thread takes another path than several do."""
    rng = np.random.default_rng(18)
    for rows, n_in, n_out in (
        (900, 128, 4 * runtime.core(dtype).TILE[1]), (700, 500, 7), (1500, 400, 10),
    ):  # fmt: skip
        x = rng.normal(size=(rows, n_in)).astype(dtype)
        w = rng.normal(size=(n_in, n_out)).astype(dtype)
        dz = rng.normal(size=(rows, n_out)).astype(dtype)
        found = [
            (
                kernels.dense(x, w, None, "relu", n_threads=n),
                kernels.dense_backward_data(x, np.ascontiguousarray(w.T), n_threads=n),
                *kernels.dense_backward_weights(x, dz, n_threads=n),
            )
            for n in (1, 2, 3)
        ]
        for many in found[1:]:
            for one, other in zip(found[0], many, strict=True):
                np.testing.assert_array_equal(one, other)


def test_threads_do_not_change_a_bit(dtype):
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(300, 600)).astype(dtype), rng.normal(size=(600, 500)).astype(dtype)
    dz = rng.normal(size=(300, 500)).astype(dtype)
    one = (
        kernels.dense(x, w, None, "tanh"), kernels.dense_backward_data(dz, w),
        *kernels.dense_backward_weights(x, dz),
    )  # fmt: skip
    for n in (2, 3, 5, 16):
        many = (
            kernels.dense(x, w, None, "tanh", n_threads=n),
            kernels.dense_backward_data(dz, w, n_threads=n),
            *kernels.dense_backward_weights(x, dz, n_threads=n),
        )
        for a, c in zip(one, many, strict=True):
            np.testing.assert_array_equal(a, c)


#: Each kernel that writes: its inputs and outputs with their shapes (m rows, i inputs, o outputs;
#: "d": in double whatever the module's type), and a call.
WRITERS = {
    "activate_into": (
        {"z": "mo"}, {"y": "mo"}, lambda c, a: c.activate_into("sigmoid", a["z"], a["y"]),
    ),
    "activate_backward_into": (
        {"dy": "mo", "zy": "mo"}, {"dx": "mo"},
        lambda c, a: c.activate_backward_into("tanh", a["dy"], a["zy"], a["dx"]),
    ),
    "loss_into": (
        {"y": "mo", "t": "mo"}, {"dy": "mo", "values": "dm"},
        lambda c, a: c.loss_into(
            "mean_squared_error", a["y"], a["t"], None, None, a["dy"], a["values"]
        ),
    ),
    "update_into": (
        {"g": "1o"}, {"w": "1o", "slots": "2o"},
        lambda c, a: c.update_into("adam", a["w"], a["g"], a["slots"], 0.01, 0, HYPER["adam"]),
    ),
    "dense_into": (
        {"x": "mi", "w": "io", "b": "o"}, {"z": "mo", "y": "mo"},
        lambda c, a: c.dense_into(a["x"], a["w"], a["b"], a["z"], a["y"], "sigmoid", 0.0, 2),
    ),
    "dense_backward_data_into": (
        {"dz": "mo", "w": "io", "zy": "mi"}, {"dx": "mi"},
        lambda c, a: c.dense_backward_data_into(a["dz"], a["w"], a["zy"], a["dx"], "tanh", 0.0, 2),
    ),
    "dense_backward_weights_into": (
        {"x": "mi", "dz": "mo"}, {"dw": "io", "db": "o"},
        lambda c, a: c.dense_backward_weights_into(a["x"], a["dz"], a["dw"], a["db"], 2),
    ),
    "dropout_into": (
        {"x": "mo"}, {"y": "mo"}, lambda c, a: c.dropout_into(a["x"], a["y"], 0.5, 1, 2),
    ),
}  # fmt: skip


def shaped(letters, sizes):
    return tuple(sizes.get(letter) or int(letter) for letter in letters.removeprefix("d"))


def test_every_kernel_that_writes_is_in_the_table(dtype):
    assert set(WRITERS) == {n for n in dir(runtime.core(dtype)) if n.endswith("_into")}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_outside(name, dtype):
    """Outputs lie between guards, which must stay as they were."""
    rng = np.random.default_rng(6)
    core, guard = runtime.core(dtype), 64
    inputs, outputs, call = WRITERS[name]
    for rows, n_in, n_out in SHAPES:
        sizes = {"m": rows, "i": n_in, "o": n_out}
        arrays = {k: rng.normal(size=shaped(v, sizes)).astype(dtype) for k, v in inputs.items()}
        wholes = {}
        for key, letters in outputs.items():
            shape = shaped(letters, sizes)
            kind = "float64" if letters.startswith("d") else dtype
            wholes[key] = np.full(math.prod(shape) + 2 * guard, 7.0, kind)
            arrays[key] = wholes[key][guard:-guard].reshape(shape)
        call(core, arrays)
        for key, whole in wholes.items():
            assert (whole[:guard] == 7).all(), f"{key} before {sizes}"
            assert (whole[-guard:] == 7).all(), f"{key} behind {sizes}"
            assert not (arrays[key] == 7).all(), f"{key} is not written {sizes}"


def test_softmax_writes_nothing_behind_the_last_row(dtype):
    """A row's vector is written on the next rows, which then overwrite it: not beyond the last."""
    core, guard = runtime.core(dtype), 64
    rng = np.random.default_rng(19)
    for rows in (*range(1, 36), 64, 65):
        for cols in (1, 3, 4, 5, 8, 10, 16, 17):
            whole = np.full(rows * cols + 2 * guard, 7, dtype)
            result = whole[guard:-guard].reshape(rows, cols)
            z, values = rng.normal(size=(rows, cols)).astype(dtype), np.empty(rows)
            labels = rng.integers(0, cols, rows)
            name = "softmax_sparse_categorical_crossentropy"
            core.activate_into("softmax", z, result)
            core.loss_into(name, z, None, labels, None, result, values)
            assert (whole[:guard] == 7).all()
            assert (whole[-guard:] == 7).all()


OVERLAPS = [
    (name, out, other)
    for name, (inputs, outputs, _) in WRITERS.items()
    for out in outputs
    for other in (*inputs, *outputs)
    if out != other and not (outputs[out] + {**inputs, **outputs}[other]).count("d")
]


@pytest.mark.parametrize(("name", "out", "other"), OVERLAPS)
def test_outputs_must_not_overlap(name, out, other, dtype):
    """Kernels read and write through restricted pointers."""
    inputs, outputs, call = WRITERS[name]
    sizes = {"m": 3, "i": 4, "o": 5}
    shapes = {k: shaped(v, sizes) for k, v in {**inputs, **outputs}.items()}
    arrays = {
        k: np.zeros(shape, "float64" if outputs.get(k, "").startswith("d") else dtype)
        for k, shape in shapes.items()
    }
    base = np.zeros(100, dtype)
    size = math.prod(shapes[other])
    at = math.prod(shapes[out]) - 1  # the last number of the one is the first of the other
    arrays[out] = base[: at + 1].reshape(shapes[out])
    arrays[other] = base[at : at + size].reshape(shapes[other])
    with pytest.raises(ValueError, match="overlap"):
        call(runtime.core(dtype), arrays)


def test_unaligned_and_strided_inputs(dtype):
    rng = np.random.default_rng(7)
    raw = rng.normal(size=1 + 40 * 30).astype(dtype)[1:].reshape(40, 30)
    x, w = raw[::2, ::3], rng.normal(size=(20, 10)).astype(dtype).T[:, :7]
    close(kernels.dense(x, w), x.astype(np.float64) @ w, dtype, absolute=64)


def test_misaligned_arrays(dtype):
    """Copied where they are read, refused where they are written."""
    raw = np.zeros(1 + 40 * np.dtype(dtype).itemsize, np.uint8)[1:].view(dtype)
    raw[...] = np.linspace(-2, 2, 40)
    assert not raw.flags.aligned
    np.testing.assert_array_equal(
        kernels.activate("tanh", raw), kernels.activate("tanh", raw.copy())
    )
    with pytest.raises(ValueError, match="w must be C-contiguous, aligned and writable"):
        kernels.update("sgd", raw, np.zeros(40, dtype), learning_rate=0.1)


def test_metrics():
    y = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    hot = np.eye(3)[[1, 1, 2]]
    assert kernels.metric("categorical_accuracy", y, hot) == (2, 3)
    assert kernels.metric("sparse_categorical_accuracy", y, [1, 1, 2]) == (2, 3)
    assert kernels.metric("sparse_categorical_accuracy", y, [1, 1, 2], r=[1, 5, 2]) == (3, 8)
    assert kernels.metric("sparse_top_k_categorical_accuracy", y, [1, 1, 0], alpha=2) == (3, 3)
    assert kernels.metric("top_k_categorical_accuracy", y, hot, alpha=1) == (2, 3)
    total, count = kernels.metric("binary_accuracy", y, (y > 0.5).astype(float))
    assert (total, count) == (pytest.approx(3), 3)
    assert kernels.metric("mean_squared_error", y, y + 0.5)[0] == pytest.approx(0.75)
    assert kernels.metric("mean_absolute_error", y, y + 0.5)[0] == pytest.approx(1.5)


def test_permutation_is_one_and_depends_on_seed_and_epoch():
    order = kernels.permutation(1000, 1, 2)
    assert (np.sort(order) == np.arange(1000)).all()
    assert (order == kernels.permutation(1000, 1, 2)).all()
    assert (order != kernels.permutation(1000, 1, 3)).any()
    assert (order != kernels.permutation(1000, 2, 2)).any()
    # Fixed for every release: a seed's order is a promise.
    assert kernels.permutation(8, 42, 0).tolist() == [1, 3, 4, 5, 0, 7, 6, 2]


def test_dropout_keeps_the_mean_and_repeats(dtype):
    x = np.ones((200, 100), dtype)
    y = kernels.dropout(x, 0.3, seed=9, iteration=4)
    assert (y == kernels.dropout(x, 0.3, seed=9, iteration=4)).all()
    assert (y != kernels.dropout(x, 0.3, seed=9, iteration=5)).any()
    assert 0.68 < (y > 0).mean() < 0.72
    np.testing.assert_allclose(y[y > 0], 1 / 0.7, rtol=1e-6)
    # Neighbouring elements are independent: pairs are kept as often as chance has it.
    pairs = (y[:, :-1] > 0) & (y[:, 1:] > 0)
    assert 0.47 < pairs.mean() < 0.51


ERRORS = [
    (lambda: kernels.activate("rellu", [1.0]), ValueError, 'unknown activation "rellu": did'),
    (lambda: kernels.activate("relu", ["a"]), TypeError, "real numbers"),
    (lambda: kernels.activate("elu", [1.0], alpha=-1), ValueError, "alpha must not be negative"),
    (lambda: kernels.activate("elu", [1.0], alpha=math.nan), ValueError, "must be a finite number"),
    (lambda: kernels.dense([1.0], [[1.0]]), ValueError, "x must have 2 dimensions"),
    (lambda: kernels.dense([[1.0]], [[1.0], [2.0]]), ValueError, "w must have 1 rows"),
    (lambda: kernels.dense([[1.0]], [[1.0]], [1.0, 2.0]), ValueError, "b must have 1 numbers"),
    (lambda: kernels.dense([[1.0]], [[1.0]], n_threads=0), ValueError, "n_threads"),
    (lambda: kernels.dense_backward_data([[1.0]], [[1.0]], "relu"), ValueError, "reads y"),
    (lambda: kernels.dense_backward_weights([[1.0]], [[1.0], [1.0]]), ValueError, "1 rows, as x"),
    (lambda: kernels.loss("mse", [[1.0]], [[1.0]]), ValueError, "unknown loss"),
    (lambda: kernels.loss("huber", [[1.0]], [[1.0, 2.0]]), ValueError, "y's shape"),
    (
        lambda: kernels.loss("sparse_categorical_crossentropy", [[0.5, 0.5]], [2]),
        ValueError, "labels must be from 0 to 1; received 2 in row 0",
    ),
    (
        lambda: kernels.loss("sparse_categorical_crossentropy", [[0.5, 0.5]], [0.5]),
        ValueError, "labels must be integers",
    ),
    (
        lambda: kernels.metric("sparse_categorical_accuracy", [[0.5, 0.5]], [-1]),
        ValueError, "labels must be from 0 to 1",
    ),
    (lambda: kernels.loss("huber", np.empty((0, 3)), np.empty((0, 3))), ValueError, "empty"),
    (lambda: kernels.loss("huber", [[1.0]], [[1.0]], [1, 2]), ValueError, "r must hold 1"),
    (lambda: kernels.loss("huber", [[1.0]], [[1.0]], reduction="x"), ValueError, "reduction"),
    (
        lambda: kernels.update("adam", np.zeros(3), np.zeros(3), learning_rate=1.0),
        ValueError, "adam needs slots of shape (2, 3)",
    ),
    (
        lambda: kernels.update("sgd", np.zeros(3), np.zeros(4), learning_rate=1.0),
        ValueError, "g must have w's shape",
    ),
    (
        lambda: kernels.update("sgd", np.zeros(3), np.zeros(3), learning_rate=math.nan),
        ValueError, "learning_rate must be a finite number",
    ),
    (
        lambda: kernels.update("sgd", np.zeros(3), np.zeros(3), learning_rate=1.0, beta=1.0),
        ValueError, "unknown hyper-parameter 'beta'",
    ),
    (
        lambda: kernels.update("sgd", np.zeros(6)[::2], np.zeros(3), learning_rate=1.0),
        ValueError, "C-contiguous",
    ),
    (lambda: kernels.dropout([1.0], 1.0), ValueError, "rate must be in [0, 1)"),
    (lambda: kernels.permutation(-1), ValueError, "n must be an integer >= 0"),
    (lambda: kernels.permutation("3"), TypeError, "permutation: n must be an integer"),
    (lambda: kernels.activate("elu", [1.0], alpha="a"), TypeError, "elu: alpha must be a finite n"),
    (lambda: kernels.dropout([1.0], "0.5"), TypeError, "dropout: rate must be a finite number"),
    (lambda: kernels.dense([[1.0]], [[1.0]], [[1.0]]), ValueError, "b must have 1 dimension"),
    (lambda: kernels.dense([[1.0]], [[1.0]], n_threads=2**31), ValueError, "at most 256"),
    (lambda: kernels.dense([[1.0]], [[1.0]], n_threads=1.5), TypeError, "n_threads must be an int"),
    (
        lambda: kernels.update("sgd", np.zeros(3), np.zeros(3), learning_rate="a"),
        TypeError, "sgd: learning_rate must be a finite number",
    ),
    (
        lambda: kernels.update("sgd", np.zeros(3, ">f4"), np.zeros(3), learning_rate=0.1),
        TypeError, "byte order",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors_say_what_is_wrong(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


def test_empty_arrays_are_no_problem(dtype):
    assert kernels.activate("relu", np.empty((0, 3), dtype)).shape == (0, 3)
    assert kernels.activate("softmax", np.empty((3, 0), dtype)).shape == (3, 0)
    assert kernels.dense(np.empty((0, 3), dtype), np.ones((3, 2), dtype)).shape == (0, 2)
    for n in (2, 5, 10, 40):
        none = np.empty((0, n), dtype)
        dw, db = kernels.dense_backward_weights(np.empty((0, 20), dtype), none)
        assert (dw == 0).all()
        assert (db == 0).all()
        y = kernels.dense(np.empty((3, 0), dtype), none, np.arange(n, dtype=dtype))
        np.testing.assert_array_equal(y, np.tile(np.arange(n), (3, 1)))
