"""Softmax and its cross-entropy over rows of few columns, which are turned strip by strip.

Checked with formulas in double precision, and with themselves: a row depends on no other row.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

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
