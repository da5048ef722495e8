"""Tools for data."""

from __future__ import annotations

import numpy as np
import pytest

from nncore import config, random, utils


def test_to_categorical():
    rows = utils.to_categorical([0, 1, 2, 3], num_classes=4)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, np.eye(4))
    assert np.array_equal(utils.to_categorical([[2], [0]]), [[0, 0, 1], [1, 0, 0]])
    assert utils.to_categorical(np.zeros((2, 3), np.uint8), 5).shape == (2, 3, 5)
    assert np.array_equal(utils.to_categorical(1, 3), [0, 1, 0])
    assert np.array_equal(utils.to_categorical([1.0, 0.0]), [[0, 1], [1, 0]])
    assert utils.to_categorical([], 3).shape == (0, 3)
    assert np.array_equal(utils.to_categorical([True, False]), [[0, 1], [1, 0]])
    config.set_floatx("float64")
    try:
        assert utils.to_categorical([0]).dtype == np.float64
    finally:
        config.set_floatx("float32")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([0, 3], 3), r"from 0 to 2 \(num_classes=3\); received 0 to 3"),
        (([-1, 1],), "received -1 to 1"),
        (([0.5],), "received fractions or NaN"),
        (([np.nan],), "received fractions or NaN"),
        ((["a"],), "class numbers .integers.; received dtype <U1"),
        (([],), "x is empty; give num_classes"),
        (([0], 0), "num_classes must be an integer >= 1"),
        (([0], 2.0), "num_classes must be an integer >= 1"),
    ],
)
def test_to_categorical_errors(arguments, text):
    with pytest.raises((TypeError, ValueError), match="^to_categorical: .*" + text):
        utils.to_categorical(*arguments)


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(utils.normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(utils.normalize(x, axis=0), [[1, 1], [0, 0]])
    np.testing.assert_allclose(utils.normalize(x, order=1), [[3 / 7, 4 / 7], [0, 0]])
    np.testing.assert_allclose(utils.normalize([3, 4]), [0.6, 0.8], rtol=1e-6)
    with pytest.raises(ValueError, match="normalize: order must be a finite number > 0"):
        utils.normalize(x, order=0)
    with pytest.raises(TypeError, match="normalize: x must be an array of real numbers"):
        utils.normalize(["a"])


def test_set_random_seed_is_the_one_of_random():
    assert utils.set_random_seed is random.set_random_seed
