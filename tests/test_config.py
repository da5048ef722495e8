"""The process's settings, and the names that errors suggest."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from nncore import _names, config


@pytest.fixture(autouse=True)
def _restore():
    before = config.floatx(), config.nonfinite()
    yield
    config.set_floatx(before[0])
    config.set_nonfinite(before[1])


def test_defaults():
    assert config.floatx() == "float32"
    assert config.epsilon() == 1e-7
    assert config.nonfinite() == "error"


@pytest.mark.parametrize("value", ["float64", np.float64, np.dtype("float64"), float])
def test_set_floatx_takes_every_spelling(value):
    config.set_floatx(value)
    assert config.floatx() == "float64"


@pytest.mark.parametrize("value", ["float16", "f8", np.int32, "double", 3])
def test_set_floatx_refuses(value):
    with pytest.raises(
        ValueError, match=r'^set_floatx: value must be one of "float32", "float64"; received value='
    ):
        config.set_floatx(value)
    assert config.floatx() == "float32"


def test_standardize_dtype():
    assert config.standardize_dtype() == "float32"
    config.set_floatx("float64")
    assert config.standardize_dtype(None) == "float64"
    assert config.standardize_dtype(np.float32) == "float32"
    with pytest.raises(ValueError, match=r'^Dense "a": dtype must be one of .* dtype=\'int8\'$'):
        config.standardize_dtype("int8", where='Dense "a"')


def test_nonfinite_policy():
    for value in ("warn", "ignore", "error"):
        config.set_nonfinite(value)
        assert config.nonfinite() == value
    with pytest.raises(ValueError, match='value must be one of "error", "warn", "ignore"'):
        config.set_nonfinite("raise")


def test_unknown_name_names_the_nearest_and_all():
    text = _names.unknown_name("activation", "Rellu", ["tanh", "relu", "elu"])
    assert text == 'unknown activation "Rellu": did you mean "relu"? Known: elu, relu, tanh.'
    text = _names.unknown_name("loss", "MS", ["mse", "MSE", "LogCosh", "log_cosh", "L1"])
    assert text == 'unknown loss "MS": did you mean "mse"? Known: L1, log_cosh, mse.'
    text = _names.unknown_name("loss", "xyz", ["mse"])
    assert text == 'unknown loss "xyz". Known: mse.'


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("GlorotUniform", "glorot_uniform"),
        ("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy"),
        ("L1L2", "l1_l2"),
        ("LogCosh", "log_cosh"),
        ("Zeros", "zeros"),
    ],
)
def test_snake_case(name, snake):
    assert _names.snake_case(name) == snake


def test_check_real():
    assert _names.check_real("A", "b", np.float32(0.5)) == 0.5
    assert _names.check_real("A", "b", np.array(2)) == 2.0
    for wrong in ("1", None, True, [1.0], 1j, np.ones(2)):
        with pytest.raises(TypeError, match=r"^A: b must be a finite number"):
            _names.check_real("A", "b", wrong)
    with pytest.raises(ValueError, match=r"^A: b must be a finite number; received b=nan$"):
        _names.check_real("A", "b", float("nan"))
    with pytest.raises(ValueError, match=r"a finite number in \[0, 1\); received b=1$"):
        _names.check_real("A", "b", 1, minimum=0, maximum=1, open_maximum=True)
    with pytest.raises(ValueError, match=r"a finite number > 0; received b=0$"):
        _names.check_real("A", "b", 0, minimum=0, open_minimum=True)


def test_check_integer():
    assert _names.check_integer("A", "b", np.int64(3), minimum=1) == 3
    with pytest.raises(ValueError, match=r"^A: b must be an integer >= 1; received b=0$"):
        _names.check_integer("A", "b", 0, minimum=1)
    for wrong in (1.0, "1", True, None):
        with pytest.raises(TypeError, match=r"^A: b must be an integer >= 1; received b="):
            _names.check_integer("A", "b", wrong, minimum=1)


def test_build_errors():
    with pytest.raises(ValueError, match="has no class_name"):
        _names.build("loss", {"config": {}}, {})
    with pytest.raises(ValueError, match='configuration of loss "a" must be a dict'):
        _names.build("loss", {"class_name": "a", "config": 3}, {"a": dict})
    with pytest.raises(ValueError, match=r'loss "a" cannot be made from \{.b.: 1\}'):
        _names.build("loss", {"class_name": "a", "config": {"b": 1}}, {"a": lambda: 0})
    with pytest.raises(ValueError, match=r"unknown loss 3\. Known: a"):
        _names.build("loss", {"class_name": 3}, {"a": dict})


@pytest.mark.parametrize(
    "name",
    [
        "_names", "config", "activations", "initializers", "losses", "metrics", "callbacks",
        "progress", "utils", "optimizers.schedules",
    ],
)  # fmt: skip
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"nncore.{name}")
    assert doctest.testmod(module).failed == 0
