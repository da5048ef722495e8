"""Learning-rate schedules: values worked by hand, arrays of steps, configurations, errors."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from nncore.optimizers import SGD, schedules
from nncore.optimizers.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (ExponentialDecay(0.1, 10, 0.5), {0: 0.1, 5: 0.1 * math.sqrt(0.5), 10: 0.05, 20: 0.025}),
        (ExponentialDecay(0.1, 10, 0.5, staircase=True), {0: 0.1, 9: 0.1, 10: 0.05, 29: 0.025}),
        (InverseTimeDecay(0.1, 10, 0.5), {0: 0.1, 10: 0.1 / 1.5, 5: 0.08, 20: 0.05}),
        (InverseTimeDecay(0.1, 10, 0.5, staircase=True), {9: 0.1, 10: 0.1 / 1.5, 19: 0.1 / 1.5}),
        (PiecewiseConstantDecay([100, 110], [1.0, 0.5, 0.1]),
         {0: 1.0, 100: 1.0, 101: 0.5, 110: 0.5, 111: 0.1, 10**6: 0.1}),
        (PiecewiseConstantDecay([], [0.3]), {0: 0.3, 9: 0.3}),
        (PolynomialDecay(0.1, 10), {0: 0.1, 5: 0.05005, 10: 0.0001, 11: 0.0001}),
        (PolynomialDecay(0.1, 10, 0.01, power=2.0), {0: 0.1, 5: 0.01 + 0.09 / 4, 10: 0.01}),
        (PolynomialDecay(0.1, 10, 0.01, power=0.5), {5: 0.01 + 0.09 * math.sqrt(0.5), 99: 0.01}),
        (PolynomialDecay(0.1, 10, 0.01, cycle=True),
         {0: 0.1, 5: 0.055, 10: 0.01, 11: 0.01 + 0.09 * (1 - 11 / 20), 20: 0.01}),
        (CosineDecay(0.1, 100), {0: 0.1, 50: 0.05, 100: 0.0, 1000: 0.0,
                                 25: 0.05 * (1 + math.cos(math.pi / 4))}),
        (CosineDecay(0.1, 100, alpha=0.2), {0: 0.1, 50: 0.06, 100: 0.02, 101: 0.02}),
        (CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=10),
         {0: 0.0, 5: 0.05, 10: 0.1, 60: 0.05, 110: 0.0, 200: 0.0}),
        (CosineDecay(0.02, 100, alpha=0.5, warmup_target=0.1, warmup_steps=4),
         {0: 0.02, 1: 0.04, 4: 0.1, 104: 0.05}),
        (CosineDecay(0.02, 100, warmup_target=0.1), {0: 0.1, 100: 0.0}),
    ],
    ids=repr,
)  # fmt: skip
def test_values(schedule, values):
    for step, expected in values.items():
        assert schedule(step) == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert type(schedule(step)) is float
    steps = np.array(list(values))
    np.testing.assert_allclose(schedule(steps), list(values.values()), rtol=1e-12, atol=1e-15)
    assert schedule(steps.reshape(1, -1)).shape == (1, len(steps))
    rates = schedule.rates(3, 120)
    assert rates.dtype == np.float64
    np.testing.assert_array_equal(rates, [schedule(s) for s in range(3, 123)])

    for made in (
        schedules.deserialize(schedules.serialize(schedule)),
        pickle.loads(pickle.dumps(schedule)),
        type(schedule).from_config(schedule.get_config()),
    ):
        assert type(made) is type(schedule)
        assert made.get_config() == schedule.get_config()


def test_keras_configuration_is_read():
    config = {
        "module": "keras.optimizers.schedules",
        "class_name": "ExponentialDecay",
        "config": {
            "initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5,
            "staircase": False, "name": "ExponentialDecay",
        },
        "registered_name": None,
    }  # fmt: skip
    assert schedules.deserialize(config)(10) == pytest.approx(0.05)


class Own(LearningRateSchedule):
    """Works for one step at a time only."""

    def __init__(self, first=0.1):
        self.first = first

    def __call__(self, step):
        return self.first if step < 2 else self.first / 2

    def get_config(self):
        return {"first": self.first}


class OwnFromOurs(ExponentialDecay):
    def __call__(self, step):
        return max(super().__call__(step), 0.09) if step > 1 else 0.5


def test_own_schedules():
    np.testing.assert_allclose(Own().rates(1, 3), [0.1, 0.05, 0.05])
    np.testing.assert_allclose(OwnFromOurs(0.1, 1, 0.95).rates(1, 3), [0.5, 0.09025, 0.09])
    made = schedules.deserialize(schedules.serialize(Own(0.3)), {"Own": Own})
    assert made.first == 0.3
    assert SGD(Own()).rates(0, 4).tolist() == [0.1, 0.1, 0.05, 0.05]

    class Silent(LearningRateSchedule):
        def __call__(self, step):
            return 0.1

    with pytest.raises(TypeError, match="Silent has no get_config, so a model that uses it cannot"):
        schedules.serialize(Silent())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LearningRateSchedule(), "abstract"),
        (lambda: ExponentialDecay(-0.1, 1, 1), "ExponentialDecay: initial_learning_rate must be"),
        (lambda: ExponentialDecay(0.1, 0, 1), "decay_steps must be a finite number > 0; received"),
        (lambda: InverseTimeDecay(0.1, 1, math.nan), "InverseTimeDecay: decay_rate must be"),
        (lambda: PolynomialDecay(0.1, -1), "PolynomialDecay: decay_steps must be"),
        (lambda: CosineDecay(0.1, 0), "CosineDecay: decay_steps must be a finite number > 0"),
        (lambda: CosineDecay(0.1, 1, warmup_steps=-1), "CosineDecay: warmup_steps must be"),
        (lambda: CosineDecay("a", 1), "CosineDecay: initial_learning_rate must be"),
        (
            lambda: PiecewiseConstantDecay([1], [0.1]),
            "values must have one element more than boundaries; received 1 boundaries and 1 values",
        ),
        (lambda: PiecewiseConstantDecay([2, 1], [1, 1, 1]), "boundaries must be strictly increas"),
        (
            lambda: schedules.deserialize({"class_name": "CosinDecay", "config": {}}),
            'unknown learning-rate schedule "CosinDecay": did you mean "CosineDecay"',
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises((TypeError, ValueError), match=text):
        make()
