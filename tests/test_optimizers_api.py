"""Optimizers as objects: arguments, defaults, learning rates, configurations, errors.

Their updates are tested with the kernels.
"""

from __future__ import annotations

import gc
import inspect
import math
import pickle

import numpy as np
import pytest

import nncore
from nncore import kernels, optimizers
from nncore.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, schedules

CLASSES = optimizers._CLASSES
COMMON = {
    "weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None,
    "use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": None,
    "loss_scale_factor": None, "gradient_accumulation_steps": None, "name": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "own"),
    [
        (SGD, {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
        (Adagrad, {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7}),
        (RMSprop, {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7,
                   "centered": False}),
        (Adam, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7,
                "amsgrad": False}),
        (AdamW, {"learning_rate": 0.001, "weight_decay": 0.004, "beta_1": 0.9, "beta_2": 0.999,
                 "epsilon": 1e-7, "amsgrad": False}),
    ],
)  # fmt: skip
def test_signatures_are_keras(cls, own):
    parameters = {
        n: p.default
        for n, p in inspect.signature(cls).parameters.items()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    }
    expected = {**own, **{k: v for k, v in COMMON.items() if k not in own}}
    assert parameters == expected
    assert list(parameters) == list(expected)
    made = cls()
    for name, value in own.items():
        assert getattr(made, name) == value


@pytest.mark.parametrize(
    ("optimizer", "kernel", "hyper"),
    [
        (SGD(), "sgd", {}),
        (SGD(nesterov=True), "sgd", {}),
        (SGD(momentum=0.5), "momentum", {"momentum": 0.5}),
        (SGD(momentum=0.5, nesterov=True), "nesterov", {"momentum": 0.5}),
        (Adagrad(epsilon=1e-5), "adagrad", {"epsilon": 1e-5}),
        (RMSprop(), "rmsprop", {"rho": 0.9, "epsilon": 1e-7}),
        (RMSprop(momentum=0.5), "rmsprop_full",
         {"rho": 0.9, "epsilon": 1e-7, "momentum": 0.5, "centered": 0.0}),
        (RMSprop(centered=True), "rmsprop_full",
         {"rho": 0.9, "epsilon": 1e-7, "momentum": 0.0, "centered": 1.0}),
        (Adam(), "adam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        (Adam(amsgrad=True), "amsgrad", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        (AdamW(), "adam",
         {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.004}),
    ],
)  # fmt: skip
def test_what_the_compiler_reads(optimizer, kernel, hyper):
    assert optimizer.kernel == kernel
    assert optimizer.n_slots == kernels.optimizers()[kernel]
    assert optimizer.hyper() == {"weight_decay": 0.0, **hyper}
    slots = optimizer.initial_slots(5, "float32")
    assert slots.shape == (optimizer.n_slots, 5)
    assert slots.dtype == np.float32
    assert np.all(slots == (np.float32(0.1) if kernel == "adagrad" else 0))
    w, g = np.ones((1, 5), "f4"), np.ones((1, 5), "f4")
    kernels.update(
        kernel, w, g, slots.reshape(-1, 1, 5), learning_rate=0.01,
        iteration=0, **optimizer.hyper(),
    )  # fmt: skip
    assert np.all(w < 1)


def test_every_kernel_belongs_to_an_optimizer():
    made = [
        SGD(), SGD(momentum=0.1), SGD(momentum=0.1, nesterov=True), Adagrad(), RMSprop(),
        RMSprop(centered=True), Adam(), Adam(amsgrad=True),
    ]  # fmt: skip
    assert {o.kernel for o in made} == set(kernels.optimizers())


def test_names():
    for name, cls in {
        "sgd": SGD, "SGD": SGD, "adagrad": Adagrad, "rmsprop": RMSprop, "RMSprop": RMSprop,
        "adam": Adam, "Adam": Adam, "adamw": AdamW, "AdamW": AdamW,
    }.items():  # fmt: skip
        made = optimizers.get(name)
        assert type(made) is cls
        assert not made.full_batch
    gd, momentum = optimizers.get("gd"), optimizers.get("momentum")
    assert (gd.kernel, gd.full_batch, gd.learning_rate) == ("sgd", True, 0.01)
    assert (momentum.kernel, momentum.momentum, momentum.full_batch) == ("momentum", 0.9, False)
    assert type(optimizers.get(Adam)) is Adam
    adam = Adam()
    assert optimizers.get(adam) is adam
    assert [c().name for c in CLASSES] == ["SGD", "adagrad", "rmsprop", "adam", "adamw"]


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.5, 0.9, True, weight_decay=0.1, clipnorm=1.0, name="n"), optimizers.get("gd"),
        optimizers.get("momentum"), Adagrad(clipvalue=0.5), RMSprop(global_clipnorm=2.0, rho=0.8),
        Adam(schedules.CosineDecay(0.1, 10)), AdamW(weight_decay=0.1, amsgrad=True),
    ],
    ids=repr,
)  # fmt: skip
def test_round_trips(optimizer):
    optimizer.iterations = 3
    for made in (
        optimizers.deserialize(optimizers.serialize(optimizer)),
        optimizers.get(optimizers.serialize(optimizer)),
        type(optimizer).from_config(optimizer.get_config()),
    ):
        assert type(made) is type(optimizer)
        assert made.get_config() == optimizer.get_config()
        assert made.full_batch == optimizer.full_batch
        assert made.iterations == 0
        np.testing.assert_array_equal(made.rates(0, 5), optimizer.rates(0, 5))
    copied = pickle.loads(pickle.dumps(optimizer))
    assert copied.get_config() == optimizer.get_config()
    assert copied.iterations == 3


def test_keras_configuration_is_read():
    """As `keras.optimizers.serialize(keras.optimizers.Adam())` writes it."""
    config = {
        "module": "keras.optimizers",
        "class_name": "Adam",
        "config": {
            "name": "adam", "learning_rate": 0.0010000000474974513, "weight_decay": None,
            "clipnorm": None, "global_clipnorm": None, "clipvalue": None, "use_ema": False,
            "ema_momentum": 0.99, "ema_overwrite_frequency": None, "loss_scale_factor": None,
            "gradient_accumulation_steps": None, "beta_1": 0.9, "beta_2": 0.999,
            "epsilon": 1e-07, "amsgrad": False,
        },
        "registered_name": None,
    }  # fmt: skip
    made = optimizers.get(config)
    assert set(made.get_config()) == set(config["config"])


def test_learning_rate():
    o = SGD(0.1)
    assert o.learning_rate == 0.1
    assert o.schedule is None
    assert o.rates(5, 3).tolist() == [0.1, 0.1, 0.1]
    o.learning_rate = np.float32(0.5)
    assert o.learning_rate == 0.5
    assert type(o.learning_rate) is float
    assert SGD(1).learning_rate == 1.0
    assert SGD(0.0).learning_rate == 0.0
    o.learning_rate = schedules.ExponentialDecay(0.1, 1, 0.5)
    assert o.learning_rate == 0.1
    o.iterations = 2
    assert o.learning_rate == 0.025
    assert o.rates(1, 2).tolist() == [0.05, 0.025]
    with pytest.raises(TypeError, match="comes from ExponentialDecay and cannot be set to a numb"):
        o.learning_rate = 0.1


def test_callable_learning_rates():
    assert SGD(lambda step: 0.1 * step).rates(1, 3).tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert SGD(lambda: 0.3).rates(1, 2).tolist() == [0.3, 0.3]
    o = SGD(lambda: 0.3)
    assert o.learning_rate == 0.3
    with pytest.raises(TypeError, match="the learning rate is the function <lambda>, which cannot"):
        o.get_config()
    o.learning_rate = 0.2
    assert o.learning_rate == 0.2


def test_bad_rates_name_the_step():
    o = Adam(lambda step: math.nan if step == 7 else 0.1)
    assert o.rates(0, 7).tolist() == [0.1] * 7
    with pytest.raises(ValueError, match=r"^Adam: the learning rate must be finite and >= 0; "
                       r"<lambda> gave nan at step 7$"):  # fmt: skip
        o.rates(5, 5)
    with pytest.raises(ValueError, match=r"gave -1.0 at step 0"):
        SGD(lambda: -1.0).rates(0, 1)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"learning_rate": math.nan}, "{}: learning_rate must be a finite number >= 0; received l"),
        ({"learning_rate": -0.1}, "{}: learning_rate must be a finite number >= 0; received learn"),
        ({"learning_rate": "fast"}, "{}: learning_rate must be .* LearningRateSchedule or a call"),
        ({"learning_rate": None}, "{}: learning_rate must be .* received learning_rate=None"),
        ({"learning_rate": schedules.CosineDecay}, "{}: learning_rate must be an object; received"),
        ({"weight_decay": -1}, "{}: weight_decay must be a finite number >= 0"),
        ({"clipnorm": 0}, "{}: clipnorm must be a finite number > 0"),
        ({"clipvalue": math.inf}, "{}: clipvalue must be a finite number > 0"),
        ({"global_clipnorm": "a"}, "{}: global_clipnorm must be a finite number > 0"),
        (
            {"clipnorm": 1, "clipvalue": 1},
            "{}: only one of clipnorm, clipvalue and global_clipnorm",
        ),
        ({"use_ema": True}, "{}: use_ema must keep its default False, averaging"),
        ({"ema_momentum": 0.9}, "{}: ema_momentum must keep its default 0.99"),
        ({"ema_overwrite_frequency": 3}, "{}: ema_overwrite_frequency must keep its default None"),
        ({"loss_scale_factor": 2.0}, "{}: loss_scale_factor must keep its default None"),
        ({"gradient_accumulation_steps": 2}, "use a larger batch_size instead; received"),
    ],
)
def test_common_errors(cls, arguments, text):
    with pytest.raises((TypeError, ValueError), match=text.replace("{}", f"^{cls.__name__}")):
        cls(**arguments)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SGD(momentum=1.5), r"SGD: momentum must be a finite number in \[0, 1\]"),
        (lambda: RMSprop(rho=1.0), r"RMSprop: rho must be a finite number in \[0, 1\)"),
        (lambda: RMSprop(epsilon=-1), "RMSprop: epsilon must be a finite number >= 0"),
        (lambda: Adam(beta_1=1.0), r"Adam: beta_1 must be a finite number in \[0, 1\)"),
        (lambda: Adam(beta_2=-0.1), r"Adam: beta_2 must be a finite number in \[0, 1\)"),
        (lambda: Adagrad(initial_accumulator_value=-1), "initial_accumulator_value must be"),
        (lambda: AdamW(weight_decay=None), "AdamW: weight_decay must be a number >= 0; rec.* Adam"),
        (lambda: Optimizer(0.1), "an optimizer needs a compiled kernel"),
        (lambda: optimizers.get("adma"), r'^unknown optimizer "adma": did you mean "adam"\? Known'),
        (lambda: optimizers.get(None), "optimizer must be one of the known names"),
        (lambda: optimizers.get({"class_name": "Lion", "config": {}}), 'unknown optimizer "lion"'),
        (
            lambda: optimizers.get({"class_name": "Adam", "config": {"x": 1}}),
            'optimizer "adam" cannot be made from',
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises((TypeError, ValueError), match=text):
        make()


def test_custom_objects():
    class Half(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.5

        def get_config(self):
            return {}

    config = optimizers.serialize(Adam(Half()))
    assert optimizers.deserialize(config, {"Half": Half}).learning_rate == 0.5

    class Mine(Adam):
        pass

    config = optimizers.serialize(Mine(0.25))
    assert type(optimizers.deserialize(config, {"Mine": Mine})) is Mine


def test_the_count_of_updates_is_that_of_the_slots():
    """Adam's first step is the learning rate: its bias correction is not ahead of its slots."""
    x, y = np.ones((64, 2)), np.ones((64, 1))

    def model():
        return nncore.Sequential([nncore.Input((2,)), nncore.layers.Dense(1)])

    def first_step(m):
        before = m.get_weights()[0]
        m.train_on_batch(x, 5 + y)
        return np.abs(m.get_weights()[0] - before).max()

    m, adam = model(), nncore.optimizers.Adam(0.001)
    m.compile(adam, "mse")
    m.fit(x, y, batch_size=1, epochs=3, verbose=0)
    assert adam.iterations == 192
    m.compile(adam, "mse")
    assert adam.iterations == 192  # the same model goes on
    m.pop()
    m.add(nncore.layers.Dense(1))
    assert first_step(m) == pytest.approx(0.001, rel=1e-3)
    del m
    gc.collect()
    other = model()
    other.compile(adam, "mse")
    assert first_step(other) == pytest.approx(0.001, rel=1e-3)
