"""Penalties: values, names, configurations, errors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from nncore import regularizers
from nncore.regularizers import L1, L1L2, L2

W = np.array([[1.0, -2.0], [3.0, 0.5]], dtype=np.float32)


def test_values():
    assert L1(0.1)(W) == pytest.approx(0.65)
    assert L2(0.1)(W) == pytest.approx(0.1 * 14.25)
    assert L1L2(0.1, 0.2)(W) == pytest.approx(0.65 + 0.2 * 14.25)
    assert L1L2()(W) == 0.0


def test_defaults_are_keras():
    assert (L1().l1, L1().l2) == (0.01, 0.0)
    assert (L2().l1, L2().l2) == (0.0, 0.01)
    assert (L1L2().l1, L1L2().l2) == (0.0, 0.0)
    assert regularizers.l1 is L1
    assert regularizers.l2 is L2
    assert regularizers.l1_l2 is L1L2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", L1()), ("l2", L2()), ("L1", L1()), ("L2", L2()), ("l1_l2", L1L2()),
        ("L1L2", L1L2()), (L2, L2()), (L1(0.3), L1(0.3)),
        ({"class_name": "L2", "config": {"l2": 0.5}}, L2(0.5)),
        ({"module": "keras.regularizers", "class_name": "L1L2", "registered_name": None,
          "config": {"l1": 0.5, "l2": 1.0}}, L1L2(0.5, 1.0)),
    ],
)  # fmt: skip
def test_get(name, expected):
    assert regularizers.get(name) == expected


def test_get_none():
    assert regularizers.get(None) is None


@pytest.mark.parametrize("r", [L1(0.3), L2(0.4), L1L2(0.1, 0.2)])
def test_round_trips(r):
    made = regularizers.deserialize(regularizers.serialize(r))
    assert type(made) is type(r)
    assert made == r
    assert hash(made) == hash(r)
    assert pickle.loads(pickle.dumps(r)) == r
    assert type(r).from_config(r.get_config()) == r
    assert repr(r).startswith(type(r).__name__ + "(l")


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_factors(value):
    with pytest.raises(ValueError, match=r"^L1: l1 must be a finite number >= 0; received l1="):
        L1(value)
    with pytest.raises(ValueError, match=r"^L1L2: l2 must be a finite number >= 0; received l2="):
        L1L2(0.1, value)


def test_factors_of_another_kind():
    with pytest.raises(TypeError, match=r"^L2: l2 must be .* received l2=None$"):
        L2(None)


def test_errors():
    with pytest.raises(ValueError, match='unknown regularizer "L1L": did you mean "l1l2"'):
        regularizers.get("L1L")
    with pytest.raises(TypeError, match="regularizer must be None, a name"):
        regularizers.get(lambda w: 0.0)
    with pytest.raises(ValueError, match='regularizer "l1" cannot be made from'):
        regularizers.get({"class_name": "l1", "config": {"l2": 1.0}})
