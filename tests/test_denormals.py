"""Numbers below the smallest normal one count as 0 while a plan runs, and only there."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nncore
from nncore import kernels
from nncore.layers import Dense

SMALL = {"float32": 1e-37, "float64": 1e-307}  # normal; a hundredth of it is not

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64", "aarch64")
    and platform.system() != "Darwin",
    reason="how to set this is not known for this processor and compiler",
)


def model(dtype: str, width: int = 4) -> nncore.Sequential:
    """Return a model that multiplies by 0.01 and adds up."""
    made = nncore.Sequential([nncore.Input((width,)), Dense(width, use_bias=False, dtype=dtype)])
    made.set_weights([np.full((width, width), 0.01)])
    made.compile("sgd", "mse")
    return made


def denormal(dtype: str) -> bool:
    """Return whether this thread's own arithmetic knows such numbers."""
    a, b = np.array([SMALL[dtype]], dtype), np.array([0.01], dtype)
    return bool((a * b)[0] > 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_predictions_flush_them(dtype: str, rows: int) -> None:
    m = model(dtype)
    x = np.full((rows, 4), SMALL[dtype], dtype)
    np.testing.assert_array_equal(m.predict(x), 0)
    np.testing.assert_array_equal(m(x), 0)
    assert (m.predict(x * 1000) > 0).all()
    assert denormal(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_helper_treats_them_as_the_caller_does(dtype: str) -> None:
    m = model(dtype, 256)
    x = np.full((512, 256), SMALL[dtype] / 1000, dtype)
    m.n_threads = 4
    np.testing.assert_array_equal(m.predict(x), 0)
    w = np.full((256, 256), 0.5, dtype)
    one, four = (kernels.dense(x, w, None, n_threads=n) for n in (1, 4))
    np.testing.assert_array_equal(one, four)
    assert (one > 0).all()  # the kernels themselves compute them


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_flushes_them_and_a_trace_tells_so(dtype: str) -> None:
    m = model(dtype)
    x, y = np.full((8, 4), SMALL[dtype], dtype), np.zeros((8, 4), dtype)
    traced = m.trace(x, y)
    np.testing.assert_array_equal(traced["y"], 0)
    assert m.train_on_batch(x, y) == 0
    m.fit(x, y, epochs=3, verbose=0)
    assert denormal(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_training_flushes_changes_nothing(dtype: str) -> None:
    """Loss 0.04 x and gradient x / 4, for an x a little above the smallest normal number."""
    tiny = float(np.finfo(dtype).tiny)
    for scale, flushed in ((2.0, True), (6400.0, False)):
        m = model(dtype)
        m.compile(nncore.optimizers.SGD(1 / tiny), "mae")
        before = m.parameters.copy()
        x = np.full((1, 4), scale * tiny, dtype)
        assert (m.evaluate(x, np.zeros_like(x), verbose=0) == 0) == flushed
        m.fit(x, np.ones_like(x), verbose=0)
        assert np.array_equal(m.parameters, before) == flushed


def raising(model: nncore.Sequential, x: Any) -> None:
    executor = model._executor("train", weights=False, rows=4)
    with pytest.raises(ValueError, match="order"):
        executor.run(x, x, order=np.array([0, 1, 99]), learning_rates=np.zeros(1))


def stepping(model: nncore.Sequential, x: Any) -> None:
    executor = model._executor("train", weights=False, rows=4)
    executor.load(x, x, rows=4)
    executor.execute(0)
    predicting = model._new_executor("predict", False, 4, {})[0]
    predicting.load(x)
    with pytest.raises((OverflowError, TypeError)):
        predicting.execute(0, iteration=1 << 70)


@pytest.mark.parametrize("use", [raising, stepping])
def test_afterwards_the_thread_is_as_before(
    use: Callable[[nncore.Sequential, Any], None],
) -> None:
    use(model("float32"), np.ones((4, 4), np.float32))
    assert denormal("float32")


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_data_of_another_float_type_is_not_flushed(rows: int) -> None:
    """1e-40 is no normal float32, but a normal float64."""
    m = model("float64")
    m.set_weights([np.full((4, 4), 1e30)])
    x = np.full((rows, 4), 1e-40, np.float32)
    wanted = np.full((rows, 4), 4 * np.float64(x[0, 0]) * 1e30)
    np.testing.assert_allclose(m.predict(x), wanted, rtol=1e-12)
    np.testing.assert_allclose(m(x), wanted, rtol=1e-12)
    np.testing.assert_allclose(m.trace(x, x)["y"], wanted, rtol=1e-12)
    np.testing.assert_allclose(m.evaluate(x, np.zeros_like(x), verbose=0), wanted[0, 0] ** 2)


def test_a_softmax_that_is_sure() -> None:
    """e^-100 is no normal float: it counts as 0, and the loss is what it should be."""
    m = nncore.Sequential([nncore.Input((3,)), Dense(3, "softmax", use_bias=False)])
    m.set_weights([np.eye(3)])
    m.compile("sgd", "sparse_categorical_crossentropy")
    x = np.array([[100, 0, 0], [0, 95, 1]], np.float32)
    np.testing.assert_array_equal(m.predict(x), [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(m.evaluate(x, np.array([1, 2]), verbose=0), (100 + 94) / 2)
