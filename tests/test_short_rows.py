"""Rows of few columns: softmax and its cross-entropy, turned strip by strip, and a layer's matmuls.

Checked with formulas in double precision, and with themselves: a row depends on no other row.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nncore
from nncore import kernels

ROWS = (1, 2, 4, 5, 7, 15, 16, 17, 35, 127, 128, 129, 300)
COLS = (1, 2, 3, 4, 5, 6, 10, 13, 15, 16, 17)
TOLERANCE = {"float32": 3e-6, "float64": 1e-13}


def softmax(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return softmax and its logarithm."""
    d = z - z.max(axis=1, keepdims=True)
    total = np.exp(d).sum(axis=1, keepdims=True)
    return np.exp(d) / total, d - np.log(total)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cols", COLS)
@pytest.mark.parametrize("rows", ROWS)
def test_any_number_of_rows_and_columns(rows: int, cols: int, dtype: str) -> None:
    random = np.random.default_rng(rows * 100 + cols)
    z = random.normal(0, 3, (rows, cols)).astype(dtype)
    labels = random.integers(0, cols, rows)
    t = random.uniform(0, 1, (rows, cols)).astype(dtype)
    r = random.uniform(0, 2, rows)
    p, logs = softmax(z.astype(np.float64))
    near = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(kernels.activate("softmax", z), p, **near)

    hot = np.eye(cols)[labels]
    value, dz = kernels.loss("softmax_sparse_categorical_crossentropy", z, labels)
    np.testing.assert_allclose(value, -(hot * logs).sum(axis=1).mean(), **near)
    np.testing.assert_allclose(dz, (p - hot) / rows, **near)
    value, dz = kernels.loss("softmax_sparse_categorical_crossentropy", z, labels, r=r)
    np.testing.assert_allclose(value, -(r * (hot * logs).sum(axis=1)).mean(), **near)
    np.testing.assert_allclose(dz, (p - hot) * r[:, None] / rows, **near)

    # Targets that add up to anything, smoothed.
    smooth = t.astype(np.float64) * 0.9 + 0.1 / cols
    value, dz = kernels.loss("softmax_categorical_crossentropy", z, t, alpha=0.1)
    np.testing.assert_allclose(value, -(smooth * logs).sum(axis=1).mean(), **near)
    expected = (p * smooth.sum(axis=1, keepdims=True) - smooth) / rows
    np.testing.assert_allclose(dz, expected, **near)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cols", COLS)
def test_a_row_depends_on_no_other(cols: int, dtype: str) -> None:
    random = np.random.default_rng(cols)
    z = random.normal(0, 3, (37, cols)).astype(dtype)
    t = random.uniform(0, 1, (37, cols)).astype(dtype)
    labels = random.integers(0, cols, 37)
    z[5] = np.nan
    z[11, 0] = np.nan
    for name, target in (("softmax_categorical_crossentropy", t),
                         ("softmax_sparse_categorical_crossentropy", labels)):  # fmt: skip
        values = kernels.loss_rows(name, z, target)
        _, dz = kernels.loss(name, z, target, reduction="sum")
        y = kernels.activate("softmax", z)
        for i in range(37):
            one = slice(i, i + 1)
            np.testing.assert_array_equal(kernels.loss_rows(name, z[one], target[one]), values[one])
            alone = kernels.loss(name, z[one], target[one], reduction="sum")[1]
            np.testing.assert_array_equal(alone, dz[one])
            np.testing.assert_array_equal(kernels.activate("softmax", z[one]), y[one])
            assert np.isnan(values[i]) == np.isnan(y[i]).all() == (i in (5, 11))


@pytest.mark.parametrize("cols", COLS[1:])
def test_the_largest_numbers(cols: int) -> None:
    """Distances that overflow: a target of 0 times one is 0."""
    z = np.full((3, cols), -3e38, np.float32)
    z[0, 0] = z[1, -1] = 3e38
    t = np.eye(cols, dtype=np.float32)[[0, cols - 1, 0]]
    values = kernels.loss_rows("softmax_categorical_crossentropy", z, t)
    np.testing.assert_allclose(values, [0, 0, np.log(cols)], rtol=1e-6)
    labels = np.array([0, cols - 1, 0])
    values = kernels.loss_rows("softmax_sparse_categorical_crossentropy", z, labels)
    np.testing.assert_allclose(values, [0, 0, np.log(cols)], rtol=1e-6)


@pytest.fixture(scope="module")
def page():
    """Return a function: an array's copy that ends where no memory may be read."""
    if sys.platform != "linux":
        pytest.skip("memory is protected by mprotect, as Linux has it")
    size = 1 << 20
    room = mmap.mmap(-1, size + mmap.PAGESIZE)
    whole = np.frombuffer(room, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(whole.ctypes.data + size), mmap.PAGESIZE, 0):
        pytest.skip(f"mprotect: error {ctypes.get_errno()}")

    def at_the_end(array: NDArray[Any]) -> NDArray[Any]:
        at = whole[size - array.nbytes : size].view(array.dtype).reshape(array.shape)
        at[...] = array
        return at

    return at_the_end


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_out", [2, 3, 4, 5])
def test_a_step_of_few_columns(n_out: int, dtype: str, page: Any) -> None:
    """The gradients of a layer of few columns and rows, seen by what SGD with a rate of 1 does.

    Its input is read where it lies, and nothing beyond its end.
    """
    random = np.random.default_rng(n_out)
    for n_in in (1, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 64):
        for use_bias in (True, False):
            model = nncore.Sequential(
                [nncore.Input((n_in,)), nncore.layers.Dense(n_out, use_bias=use_bias, dtype=dtype)]
            )
            model.compile(nncore.optimizers.SGD(1.0), "mse")
            for rows in (1, 2, 15, 16, 17, 33, 64):
                x = page(random.normal(size=(rows, n_in)).astype(dtype))
                t = random.normal(size=(rows, n_out)).astype(dtype)
                before = [w.astype(np.float64) for w in model.get_weights()]
                b = before[1] if use_bias else 0.0
                dz = 2 / t.size * (x.astype(np.float64) @ before[0] + b - t)
                model.fit(x, t, batch_size=rows, shuffle=False, verbose=0)
                after = model.get_weights()
                near = {"rtol": 10 * TOLERANCE[dtype], "atol": 10 * TOLERANCE[dtype]}
                np.testing.assert_allclose(after[0], before[0] - x.T @ dz, **near)
                if use_bias:
                    np.testing.assert_allclose(after[1], before[1] - dz.sum(axis=0), **near)
                model.set_weights(before)


@pytest.mark.parametrize("n_out", [2, 3, 4])
def test_few_columns_are_those_of_many(n_out: int, page: Any) -> None:
    """Four rows to a vector or one, each with a few columns: the bits are the same."""
    random = np.random.default_rng(n_out)
    for n_in in (1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 130):
        x = page(random.normal(size=(67, n_in)).astype(np.float32))
        wide = random.normal(size=(n_in, 16)).astype(np.float32)
        b = random.normal(size=16).astype(np.float32)
        whole = kernels.dense(x, wide, b)
        for rows in (1, 15, 16, 17, 32, 67):
            y = kernels.dense(x[-rows:], wide[:, :n_out].copy(), b[:n_out].copy())
            np.testing.assert_array_equal(y, whole[-rows:, :n_out])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["linear", "sigmoid", "tanh", "relu", "elu"])
def test_one_row_of_few_numbers(activation: str, dtype: str) -> None:
    """One row at a time, in registers where it has few numbers: as plain NumPy trains."""
    for n_in, hidden, n_out in ((1, 2, 2), (2, 2, 2), (3, 4, 3), (4, 3, 1), (5, 4, 5), (2, 5, 2)):
        random = np.random.default_rng(n_in)
        x = random.normal(size=(9, n_in)).astype(dtype)
        t = random.uniform(0, 1, (9, n_out)).astype(dtype)
        found = []
        for engine in ("compiled", "reference"):
            dense = functools.partial(nncore.layers.Dense, dtype=dtype, activation=activation)
            model = nncore.Sequential(
                [nncore.Input((n_in,)), dense(hidden), dense(hidden, use_bias=False), dense(n_out)]
            )
            model.compile(nncore.optimizers.SGD(0.01), "mse", engine=engine)
            start = np.random.default_rng(n_out)
            model.set_weights([start.normal(0, 0.5, w.shape) for w in model.get_weights()])
            history = model.fit(x, t, batch_size=1, epochs=2, shuffle=False, verbose=0)
            found.append([*model.get_weights(), history.history["loss"], model.predict(x[:1])])
        for one, other in zip(*found, strict=True):
            near = {"rtol": 20 * TOLERANCE[dtype], "atol": 20 * TOLERANCE[dtype]}
            np.testing.assert_allclose(one, other, **near)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["linear", "sigmoid", "tanh", "relu"])
def test_a_row_alone_has_the_bits_of_one_among_others(activation: str, dtype: str) -> None:
    random = np.random.default_rng(7)
    for n_in in (1, 2, 3, 4, 5, 16, 33):
        x = random.normal(size=(35, n_in)).astype(dtype)
        for hidden in (2, 3, 4):
            for use_bias in (True, False):
                dense = functools.partial(nncore.layers.Dense, dtype=dtype, use_bias=use_bias)
                model = nncore.Sequential(
                    [nncore.Input((n_in,)), dense(hidden, activation=activation), dense(3)]
                )
                model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
                whole = model.predict(x, batch_size=35)
                np.testing.assert_array_equal(model.predict(x, batch_size=1), whole)
                np.testing.assert_array_equal(model.predict(x[::-1], batch_size=5)[::-1], whole)
