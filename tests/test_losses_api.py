"""Losses as classes, functions and names: Keras's documented examples, shapes, errors."""

from __future__ import annotations

import inspect
import math
import pickle

import numpy as np
import pytest

from nncore import kernels, losses
from nncore.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Huber,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
)

T = [[0.0, 1.0], [0.0, 0.0]]
ONE_HOT = [[0, 1, 0], [0, 0, 1]]
PROBABILITIES = [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]]
LOGITS = [[-18.6, 0.51], [2.94, -12.8]]


@pytest.mark.parametrize(
    ("loss", "t", "y", "weights", "values"),
    [  # values: mean, weighted mean, sum, rows; from the docstrings of Keras 3
        (MeanSquaredError, T, [[1, 1], [1, 0]], [0.7, 0.3], (0.5, 0.25, 1.0, [0.5, 0.5])),
        (MeanAbsoluteError, T, [[1, 1], [1, 0]], [0.7, 0.3], (0.5, 0.25, 1.0, [0.5, 0.5])),
        (Huber, T, [[0.6, 0.4], [0.4, 0.6]], [1, 0], (0.155, 0.09, 0.31, [0.18, 0.13])),
        (LogCosh, T, [[1, 1], [0, 0]], [0.8, 0.2], (0.108, 0.087, 0.217, [0.217, 0.0])),
        (Poisson, T, [[1, 1], [0, 0]], [0.8, 0.2], (0.5, 0.4, 1.0, [1.0, 0.0])),
        (BinaryCrossentropy, T, [[0.6, 0.4], [0.4, 0.6]], [1, 0],
         (0.815, 0.458, 1.630, [0.916, 0.714])),
        (lambda **k: BinaryCrossentropy(from_logits=True, **k), T, LOGITS, [0.8, 0.2],
         (0.8654, 0.243, 1.730, [0.235, 1.496])),
        (CategoricalCrossentropy, ONE_HOT, PROBABILITIES, [0.3, 0.7],
         (1.177, 0.814, 2.354, [0.0513, 2.303])),
        (SparseCategoricalCrossentropy, [1, 2], PROBABILITIES, [0.3, 0.7],
         (1.177, 0.814, 2.354, [0.0513, 2.303])),
    ],
)  # fmt: skip
def test_keras_examples(loss, t, y, weights, values):
    mean, weighted, total, rows = values
    assert loss()(t, y) == pytest.approx(mean, abs=1e-3)
    assert type(loss()(t, y)) is float
    assert loss(reduction="mean")(t, y) == loss()(t, y)
    assert loss()(t, y, sample_weight=weights) == pytest.approx(weighted, abs=1e-3)
    assert loss(reduction="sum")(t, y) == pytest.approx(total, abs=2e-3)
    for none in ("none", None):
        np.testing.assert_allclose(loss(reduction=none)(t, y), rows, atol=1e-3)
    np.testing.assert_allclose(
        loss(reduction="none")(t, y, weights), np.multiply(rows, weights), atol=1e-3
    )
    share = np.dot(rows, weights) / np.sum(weights)
    by_weight = loss(reduction="mean_with_sample_weight")
    assert by_weight(t, y, weights) == pytest.approx(share, abs=2e-3)
    assert by_weight(t, y) == loss()(t, y)
    assert by_weight(t, y, [0.0, 0.0]) == 0.0


def test_label_smoothing():
    y = np.array([[0.2, 0.7, 0.1]])
    t = np.array([[0.0, 1.0, 0.0]])
    smooth = t * 0.9 + 0.1 / 3
    expected = -(smooth * np.log(y)).sum()
    assert CategoricalCrossentropy(label_smoothing=0.1)(t, y) == pytest.approx(expected)
    logits = np.log(y) + 3.0
    raw = CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    assert raw(t, logits) == pytest.approx(expected)
    smooth = t * 0.9 + 0.05
    expected = -np.mean(smooth * np.log(y) + (1 - smooth) * np.log(1 - y))
    assert BinaryCrossentropy(label_smoothing=0.1)(t, y) == pytest.approx(expected)


def test_rmse_is_one_value_a_batch():
    t, y = [[1.0, 2.0], [3.0, 4.0]], [[1.0, 4.0], [3.0, 0.0]]
    assert RootMeanSquaredError()(t, y) == pytest.approx(math.sqrt(20 / 4))
    assert RootMeanSquaredError(reduction="sum")(t, y) == pytest.approx(math.sqrt(2 + 8))
    assert RootMeanSquaredError()(t, y, [1.0, 0.0]) == pytest.approx(math.sqrt(2 / 2))
    value, _ = kernels.loss("root_mean_squared_error", np.array(y), np.array(t))
    assert RootMeanSquaredError()(t, np.array(y)) == pytest.approx(value)
    np.testing.assert_allclose(losses.root_mean_squared_error(t, y), [math.sqrt(2), math.sqrt(8)])
    for none in ("none", None):
        with pytest.raises(ValueError, match='one value a batch, so reduction must not be "none"'):
            RootMeanSquaredError(reduction=none)


@pytest.mark.parametrize("cls", losses._CLASSES)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_agrees_with_the_step(cls, reduction):
    """A call and the compiled step's loss are the same number."""
    rng = np.random.default_rng(2)
    y = rng.uniform(0.1, 0.9, (7, 3))
    t = rng.integers(0, 3, 7) if cls.labels else rng.uniform(0.1, 0.9, (7, 3))
    r = rng.uniform(0, 2, 7)
    loss = cls(reduction=reduction)
    for kernel in {loss.kernel, loss.kernel_from_raw} - {None}:
        loss.from_logits = kernel == loss.kernel_from_raw
        value, _ = kernels.loss(kernel, y, t, r, alpha=loss.alpha, reduction=reduction)
        assert loss(t, y, r) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("function", losses._FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_give_one_value_a_row(function):
    cls = losses._FUNCTIONS[function]
    rng = np.random.default_rng(2)
    y = rng.uniform(0.1, 0.9, (2, 5, 3))
    t = rng.integers(0, 3, (2, 5)) if cls.labels else rng.uniform(0.1, 0.9, (2, 5, 3))
    rows = function(t, y)
    assert rows.shape == (2, 5)
    assert function(t[0], y[0]).shape == (5,)
    assert function(t[0, 0], y[0, 0]).shape == ()
    np.testing.assert_allclose(function(t[1], y[1]), rows[1])
    if function is not losses.root_mean_squared_error:
        assert cls()(t, y) == pytest.approx(rows.mean())
    assert type(losses.get(function)) is cls
    assert losses.get(function.__name__).name == cls().name


def test_every_kernel_belongs_to_a_loss():
    reachable = {k for c in losses._CLASSES for k in (c.kernel, c.kernel_from_raw) if k}
    assert reachable == set(kernels.losses())


def test_shapes():
    mse = MeanSquaredError()
    assert mse([1.0, 2.0], [1.0, 4.0]) == 2.0
    assert mse([1.0, 2.0], [1.0, 4.0], sample_weight=[0.0, 1.0]) == 2.0
    assert mse([1.0, 2.0], [[1.0], [4.0]]) == 2.0
    assert mse([[1.0], [2.0]], [1.0, 4.0]) == 2.0
    assert mse(1.0, 3.0) == 4.0
    assert mse(np.zeros((0, 2)), np.zeros((0, 2))) == 0.0
    sparse = SparseCategoricalCrossentropy()
    assert sparse([1, 2], PROBABILITIES) == sparse([[1], [2]], PROBABILITIES)
    assert sparse([1.0, 2.0], PROBABILITIES) == sparse(np.uint8([1, 2]), PROBABILITIES)
    assert sparse(1, PROBABILITIES[0]) == pytest.approx(0.0513, abs=1e-4)
    assert mse(T, [[1, 1], [1, 0]], [[0.7], [0.3]]) == pytest.approx(0.25)


def test_dtype():
    y = np.array([[1e-9, 1.0]])
    assert MeanSquaredError(dtype="float64")(y, y.astype("f4")) >= 0
    assert MeanSquaredError(dtype="float32").get_config()["dtype"] == "float32"
    assert SparseCategoricalCrossentropy(dtype="float64")([0], np.float32([[0.3, 0.7]])) == (
        pytest.approx(-math.log(0.3), rel=1e-6)
    )


@pytest.mark.parametrize(
    "loss",
    [c(name="n", reduction="sum") for c in losses._CLASSES]
    + [Huber(2.0), BinaryCrossentropy(True, 0.1), CategoricalCrossentropy(True, 0.2),
       SparseCategoricalCrossentropy(True)],
    ids=repr,
)  # fmt: skip
def test_round_trips(loss):
    for made in (
        losses.deserialize(losses.serialize(loss)),
        losses.get(losses.serialize(loss)),
        pickle.loads(pickle.dumps(loss)),
    ):
        assert type(made) is type(loss)
        assert made.get_config() == loss.get_config()
        assert (made.alpha, made.from_logits) == (loss.alpha, loss.from_logits)


def test_names():
    for name, cls in {
        "mse": MeanSquaredError, "MSE": MeanSquaredError, "mean_squared_error": MeanSquaredError,
        "MeanSquaredError": MeanSquaredError, "mae": MeanAbsoluteError, "MAE": MeanAbsoluteError,
        "rmse": RootMeanSquaredError, "root_mean_squared_error": RootMeanSquaredError,
        "RootMeanSquaredError": RootMeanSquaredError, "huber": Huber, "Huber": Huber,
        "log_cosh": LogCosh, "logcosh": LogCosh, "LogCosh": LogCosh, "poisson": Poisson,
        "bce": BinaryCrossentropy, "BCE": BinaryCrossentropy,
        "binary_crossentropy": BinaryCrossentropy,
        "categorical_crossentropy": CategoricalCrossentropy,
        "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    }.items():  # fmt: skip
        assert type(losses.get(name)) is cls
    assert losses.get(None) is None
    assert type(losses.get(Huber)) is Huber
    loss = Huber()
    assert losses.get(loss) is loss
    assert [c().name for c in losses._CLASSES] == [
        "mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "huber_loss",
        "log_cosh", "poisson", "binary_crossentropy", "categorical_crossentropy",
        "sparse_categorical_crossentropy",
    ]  # fmt: skip


def test_what_the_compiler_reads():
    assert [c.labels for c in losses._CLASSES].count(True) == 1
    assert SparseCategoricalCrossentropy.labels
    assert Huber(2.5).alpha == 2.5
    assert BinaryCrossentropy(label_smoothing=0.3).alpha == 0.3
    assert MeanSquaredError().kernel_from_raw is None
    assert MeanSquaredError(reduction=None).reduction == "none"


def test_signatures_are_keras():
    assert list(inspect.signature(BinaryCrossentropy).parameters) == [
        "from_logits", "label_smoothing", "axis", "reduction", "name", "dtype",
    ]  # fmt: skip
    assert list(inspect.signature(Huber).parameters) == ["delta", "reduction", "name", "dtype"]
    assert list(inspect.signature(losses.categorical_crossentropy).parameters) == [
        "y_true", "y_pred", "from_logits", "label_smoothing", "axis",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: losses.get("msee"), r'^unknown loss "msee": did you mean "mse"\?'),
        (lambda: losses.get(lambda t, y: 0), "an own Python function cannot run inside a compiled"),
        (lambda: losses.get(3), "loss must be one of the known names"),
        (lambda: Loss(), "a loss needs a compiled kernel"),
        (lambda: MeanSquaredError(reduction="avg"), 'MeanSquaredError: reduction must be one of "'),
        (lambda: MeanSquaredError(dtype="int8"), "MeanSquaredError: dtype must be one of"),
        (lambda: Huber(delta=0), "Huber: delta must be a finite number > 0; received delta=0"),
        (lambda: Huber(delta=math.nan), "Huber: delta must be a finite number > 0"),
        (lambda: BinaryCrossentropy("yes"), "from_logits must be True or False"),
        (
            lambda: BinaryCrossentropy(label_smoothing=1.5),
            r"label_smoothing must .* in \[0, 1\]",
        ),
        (lambda: CategoricalCrossentropy(axis=0), "axis must be -1"),
        (lambda: SparseCategoricalCrossentropy(ignore_class=1), "ignore_class is not offered"),
        (
            lambda: MeanSquaredError()(np.ones((3, 2)), np.ones((3, 4))),
            r"y_true and y_pred must have the same shape; received \(3, 2\) and \(3, 4\)$",
        ),
        (
            lambda: CategoricalCrossentropy()([0, 1, 1], np.ones((3, 4))),
            "for class numbers use the sparse form",
        ),
        (
            lambda: SparseCategoricalCrossentropy()(ONE_HOT, PROBABILITIES),
            "these look like one-hot rows",
        ),
        (
            lambda: SparseCategoricalCrossentropy()([0, 3], PROBABILITIES),
            "class numbers from 0 to 2, as y_pred has 3 columns; received 0 to 3",
        ),
        (lambda: SparseCategoricalCrossentropy()([0, -1], PROBABILITIES), "received -1 to 0"),
        (lambda: SparseCategoricalCrossentropy()([0, 0.5], PROBABILITIES), "received fractions"),
        (lambda: SparseCategoricalCrossentropy()(["a", "b"], PROBABILITIES), "received dtype <U1"),
        (lambda: SparseCategoricalCrossentropy()([0], 0.5), "one column a class"),
        (lambda: MeanSquaredError()(["a"], [1.0]), "y_true must be an array of real numbers"),
        (lambda: MeanSquaredError()([[1.0]], [[1.0, 2], [3]]), "y_pred must be .* different leng"),
        (lambda: MeanSquaredError()(T, T, [1.0]), r"one weight for each row, shape \(2,\); rec"),
        (lambda: MeanSquaredError()(np.ones((2, 0)), np.ones((2, 0))), "y_pred has no columns"),
    ],
)
def test_errors(make, text):
    with pytest.raises((TypeError, ValueError), match=text):
        make()
