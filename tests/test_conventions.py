"""What docs/conventions.md says of the other libraries, asked of them where they are installed."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable

import pytest

KERAS = """
import inspect
import keras
import numpy as np
import nncore
from nncore import kernels


def default(thing, argument):
    return inspect.signature(thing).parameters[argument].default


# Defaults are one: every argument of what both have, in the same order.
for ours, theirs in [
    (nncore.layers.Dense, keras.layers.Dense),
    (nncore.Sequential.fit, keras.Model.fit),
    (nncore.Sequential.evaluate, keras.Model.evaluate),
    (nncore.Sequential.predict, keras.Model.predict),
    *((getattr(nncore.optimizers, n), getattr(keras.optimizers, n))
      for n in ("SGD", "Adagrad", "RMSprop", "Adam", "AdamW")),
    *((getattr(nncore.callbacks, n), getattr(keras.callbacks, n))
      for n in ("EarlyStopping", "ReduceLROnPlateau", "LearningRateScheduler")),
]:
    known = inspect.signature(theirs).parameters
    own = inspect.signature(ours).parameters
    for name, parameter in known.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD and name != "self":
            assert name in own, (ours, name)
            if name != "name":
                assert own[name].default == parameter.default, (ours, name)
    names = [n for n in known if n in own]
    assert names == [n for n in own if n in known], ours

layer = keras.layers.Dense(7)
layer.build((None, 100))
assert layer.kernel.shape == (100, 7)
assert np.abs(np.asarray(layer.bias)).max() == 0
assert np.abs(keras.ops.convert_to_numpy(layer.kernel)).max() <= np.sqrt(6 / 107)

assert default(keras.activations.leaky_relu, "negative_slope") == 0.2
assert default(keras.layers.LeakyReLU, "negative_slope") == 0.3
assert keras.utils.to_categorical([1], 2).dtype == np.float64
assert nncore.utils.to_categorical([1], 2).dtype == np.float32
w = np.array([1.0, -2.0], dtype="float32")
assert np.isclose(float(keras.regularizers.L2(0.1)(w)), 0.5)

# Adam's epsilon is added before the correction is undone; decay comes first.
def step(optimizer, kernel, slots, g=1e-6, start=(), **hyper):
    theirs = keras.Variable(np.ones(1, "float32"))
    optimizer.build([theirs])
    optimizer.apply([keras.ops.convert_to_tensor(np.full(1, g, "float32"))], [theirs])
    ours = np.ones(1, "float32")
    state = np.zeros((slots, 1), "float32")
    state[:] = start or 0
    kernels.update(kernel, ours, np.full(1, g, "float32"), state, learning_rate=0.5, **hyper)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(theirs), ours, rtol=1e-5)
    return float(ours[0])


moved = step(keras.optimizers.Adam(0.5), "adam", 2, beta_1=0.9, beta_2=0.999, epsilon=1e-7)
assert np.isclose(1 - moved, 0.5 * 1e-6 / (1e-6 + 1e-7 / np.sqrt(1e-3)), rtol=1e-4)
moved = step(keras.optimizers.Adagrad(0.5), "adagrad", 1, g=0.5, start=(0.1,), epsilon=1e-7)
assert np.isclose(1 - moved, 0.5 * 0.5 / np.sqrt(0.1 + 0.25 + 1e-7), rtol=1e-5)
moved = step(keras.optimizers.RMSprop(0.5), "rmsprop", 1, rho=0.9, epsilon=1e-7)
assert np.isclose(1 - moved, 0.5 * 1e-6 / np.sqrt(0.1 * 1e-12 + 1e-7), rtol=1e-4)
step(keras.optimizers.AdamW(0.5, weight_decay=0.1), "adam", 2, beta_1=0.9, beta_2=0.999,
     epsilon=1e-7, weight_decay=0.1)

# Where nncore differs on purpose.
model = keras.Sequential([keras.layers.Input((2, 3)), keras.layers.Dense(1)])
assert model.predict(np.zeros((4, 2, 3)), verbose=0).shape == (4, 2, 1)
model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2, "softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
x, y = np.zeros((4, 2)), np.zeros(4)
try:
    model.fit(x, y, sample_weight=np.ones(4), class_weight={0: 1.0}, verbose=0)
except ValueError:
    pass
else:
    raise AssertionError("Keras takes sample_weight with class_weight")
x[0, 0] = np.nan
model.fit(x, y, verbose=0)
for loss in ("rmse", "root_mean_squared_error"):
    try:
        keras.losses.get(loss)
    except ValueError:
        pass
    else:
        raise AssertionError(f"Keras has a loss {loss}")
"""

TORCH = """
import inspect
import numpy as np
import torch
from nncore import kernels


def defaults(optimizer):
    return {n: p.default for n, p in inspect.signature(optimizer).parameters.items()}


layer = torch.nn.Linear(100, 70)
assert layer.weight.shape == (70, 100)
for array in (layer.weight, layer.bias):
    assert 0.09 < float(array.abs().max()) <= 0.1

assert defaults(torch.optim.Adam)["eps"] == 1e-8
assert defaults(torch.optim.AdamW)["weight_decay"] == 0.01
assert (defaults(torch.optim.Adagrad)["eps"], defaults(torch.optim.RMSprop)["alpha"]) == (
    1e-10, 0.99)
assert defaults(torch.optim.Adagrad)["initial_accumulator_value"] == 0
assert defaults(torch.optim.RMSprop)["eps"] == 1e-8
assert torch.nn.LeakyReLU().negative_slope == 0.01


def step(optimizer, g=1e-8, **settings):
    w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    w.grad = torch.full_like(w, g)
    optimizer([w], lr=0.5, **settings).step()
    return float(w.detach()[0])


# epsilon after the correction, and outside the roots
assert np.isclose(1 - step(torch.optim.Adam), 0.5 * 0.5)
assert np.isclose(1 - step(torch.optim.Adagrad, 1e-10), 0.5 * 0.5)
assert np.isclose(1 - step(torch.optim.RMSprop, 1e-7), 0.5 * 1e-7 / (1e-8 + 1e-8), rtol=1e-6)
# coupled decay, but in AdamW
assert np.isclose(step(torch.optim.SGD, 0.0, weight_decay=0.1), 1 - 0.5 * 0.1)
assert np.isclose(step(torch.optim.Adam, 0.0, weight_decay=0.1), 0.5)  # part of the gradient
assert np.isclose(step(torch.optim.AdamW, 0.0, weight_decay=0.1), 1 - 0.5 * 0.1)

y, t = torch.tensor([[0.0, 1.0], [3.0, 0.5]]), torch.zeros(2, 2)
for theirs, ours in ((torch.nn.MSELoss, "mean_squared_error"), (torch.nn.HuberLoss, "huber"),
                     (torch.nn.L1Loss, "mean_absolute_error")):
    assert np.isclose(float(theirs()(y, t)), kernels.loss(ours, y.numpy(), t.numpy())[0])
assert torch.utils.data.DataLoader([1]).drop_last is False
"""

SKLEARN = """
import inspect
import warnings
import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

warnings.simplefilter("ignore")
given = {n: p.default for n, p in inspect.signature(MLPClassifier).parameters.items()}
wanted = {"epsilon": 1e-8, "momentum": 0.9, "nesterovs_momentum": True, "alpha": 1e-4,
          "batch_size": "auto", "max_iter": 200, "tol": 1e-4, "n_iter_no_change": 10,
          "validation_fraction": 0.1, "learning_rate_init": 1e-3, "shuffle": True}
assert {name: given[name] for name in wanted} == wanted

rng = np.random.default_rng(0)
x, y = rng.random((64, 100)), rng.integers(0, 2, 64)
# A step of no length leaves the initial weights: Glorot's bound, biases too.
model = MLPClassifier((70,), learning_rate_init=1e-12, max_iter=1, random_state=0).fit(x, y)
assert model.coefs_[0].shape == (100, 70)
bound = np.sqrt(6 / 170)
for array in (model.coefs_[0], model.intercepts_[0]):
    assert 0.9 * bound < np.abs(array).max() <= bound + 1e-9
assert model.predict_proba(x).shape == (64, 2)

# The squared error is halved, the penalty alpha / 2 sum w^2 / rows.
target = rng.random(64)
settings = {"learning_rate_init": 1e-12, "max_iter": 1, "random_state": 0, "batch_size": 64}
model = MLPRegressor(hidden_layer_sizes=(5,), alpha=3.0, **settings).fit(x, target)
squares = sum((w**2).sum() for w in model.coefs_)
expected = ((model.predict(x) - target) ** 2).mean() / 2 + 3.0 / 2 * squares / 64
assert np.isclose(model.loss_, expected)
assert model.predict(x).shape == (64,)
"""


@pytest.mark.parametrize(
    ("library", "program"), [("keras", KERAS), ("torch", TORCH), ("sklearn", SKLEARN)]
)
def test_what_is_said_of(
    library: str, program: str, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: what docs/conventions.md says is not checked")
    run = python(program, OMP_NUM_THREADS="1")
    assert run.returncode == 0, run.stderr[-3000:]
