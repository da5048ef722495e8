"""Metrics: Keras's documented examples, accumulation, names, errors."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from nncore import kernels, losses, metrics
from nncore.metrics import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    Mean,
    MeanAbsoluteError,
    MeanMetricWrapper,
    MeanSquaredError,
    Metric,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)

SCORES = [[0.1, 0.9, 0.8], [0.05, 0.95, 0]]
ONE_HOT = [[0, 0, 1], [0, 1, 0]]
T, Y = [[0, 1], [0, 0]], [[1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("make", "t", "y", "weights", "value", "weighted"),
    [  # from the docstrings of Keras 3
        (BinaryAccuracy, [[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]], [1, 0, 0, 1], 0.75, 0.5),
        (CategoricalAccuracy, ONE_HOT, SCORES, [0.7, 0.3], 0.5, 0.3),
        (SparseCategoricalAccuracy, [[2], [1]], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]], [0.7, 0.3],
         0.5, 0.3),
        (lambda: TopKCategoricalAccuracy(k=1), ONE_HOT, SCORES, [0.7, 0.3], 0.5, 0.3),
        (lambda: SparseTopKCategoricalAccuracy(k=1), [2, 1], SCORES, [0.7, 0.3], 0.5, 0.3),
        (lambda: SparseTopKCategoricalAccuracy(k=2), [2, 1], SCORES, [0.7, 0.3], 1.0, 1.0),
        (MeanSquaredError, T, Y, [1, 0], 0.25, 0.5),
        (MeanAbsoluteError, T, Y, [1, 0], 0.25, 0.5),
        (RootMeanSquaredError, T, Y, [1, 0], 0.5, math.sqrt(0.5)),
        (Accuracy, [[1], [2], [3], [4]], [[0], [2], [3], [4]], [1, 1, 0, 0], 0.75, 0.5),
    ],
)  # fmt: skip
def test_keras_examples(make, t, y, weights, value, weighted):
    m = make()
    assert m.result() == 0.0
    m.update_state(t, y)
    assert m.result() == pytest.approx(value, abs=1e-6)
    assert type(m.result()) is float
    m.reset_state()
    assert m.result() == 0.0
    m.update_state(t, y, sample_weight=weights)
    assert m.result() == pytest.approx(weighted, abs=1e-6)
    assert make()(t, y) == pytest.approx(value, abs=1e-6)


def test_mean():
    m = Mean()
    m.update_state([1, 3, 5, 7])
    assert m.result() == 4.0
    m.reset_state()
    m.update_state([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
    assert m.result() == 2.0
    m.reset_state()
    m.update_state([[1, 3], [5, 7]], sample_weight=[0, 1])
    assert m.result() == 6.0
    with pytest.raises(ValueError, match="mean: sample_weight must have the shape of the values"):
        m.update_state([1, 2], sample_weight=[1, 2, 3])


@pytest.mark.parametrize("cls", [c for c in metrics._CLASSES if c.kernel])
def test_batches_add_up(cls):
    rng = np.random.default_rng(3)
    y = rng.random((50, 7))
    t = rng.integers(0, 7, 50)
    if not cls.labels:
        t = np.eye(7)[t]
    r = rng.random(50)
    whole, parts = cls(), cls()
    whole.update_state(t, y, r)
    for i in range(0, 50, 16):
        parts.update_state(t[i : i + 16], y[i : i + 16], r[i : i + 16])
    parts.update_state(t[:0], y[:0], r[:0])
    assert parts.result() == pytest.approx(whole.result(), rel=1e-12)
    assert whole.count == pytest.approx(r.sum())


def test_every_kernel_belongs_to_a_metric():
    assert {c.kernel for c in metrics._CLASSES} - {None} == set(kernels.metrics())


def test_binary_accuracy():
    m = BinaryAccuracy(threshold=0.7)
    assert m([1, 0, 1], [0.71, 0.69, 0.7]) == pytest.approx(2 / 3)
    m = BinaryAccuracy()
    assert m([[1, 1], [0, 1]], [[0.9, 0.1], [0.1, 0.9]]) == pytest.approx(0.75)


def test_ties_and_nan():
    assert SparseCategoricalAccuracy()([0, 1], [[0.5, 0.5], [0.5, 0.5]]) == 0.5
    assert SparseTopKCategoricalAccuracy(k=1)([1], [[0.5, 0.5]]) == 1.0
    assert SparseTopKCategoricalAccuracy(k=2)([0], [[math.nan, 0.5]]) == 0.0


def test_rmse_is_over_all_batches():
    m = RootMeanSquaredError()
    m.update_state([0.0], [3.0])
    m.update_state([0.0, 0.0], [0.0, 0.0])
    assert m.result() == pytest.approx(math.sqrt(3))


def test_own_metric():
    class WorstError(Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total = max(self.total, float(np.abs(np.subtract(y_true, y_pred)).max()))

        def result(self):
            return self.total

    m = WorstError()
    assert m.name == "worst_error"
    assert m.kernel is None
    assert m([1.0, 2.0], [1.0, 5.0]) == 3.0
    m.reset_state()
    assert m.result() == 0.0
    config = metrics.serialize(m)
    assert type(metrics.deserialize(config, {"WorstError": WorstError})) is WorstError
    with pytest.raises(TypeError, match="Metric: an own metric must define update_state"):
        Metric().update_state([1], [1])


def test_functions():
    def bias(y_true, y_pred):
        return np.mean(np.subtract(y_pred, y_true), axis=-1)

    m = metrics.get(bias)
    assert isinstance(m, MeanMetricWrapper)
    assert m.name == "bias"
    m.update_state(np.zeros((2, 2)), np.array([[1, 1], [3, 3]]), [1, 0])
    assert m.result() == 1.0
    written = metrics.serialize(m)
    again = metrics.deserialize(written, {"bias": bias})
    again.update_state(np.zeros((2, 2)), np.array([[1, 1], [3, 3]]), [1, 0])
    assert (again.name, again.result()) == ("bias", 1.0)
    with pytest.raises(ValueError, match='metric "bias" is the function "bias": give it as custom'):
        metrics.deserialize(written)
    loss = metrics.get(losses.BinaryCrossentropy(from_logits=True, name="cross"))
    assert loss.name == "cross"
    again = metrics.deserialize(metrics.serialize(loss))
    for each in (loss, again):
        each.update_state([[0.0], [1.0]], [[0.0], [0.0]])
        assert each.result() == pytest.approx(np.log(2))
    assert metrics.get(lambda y_true, y_pred: 0.0).name == "lambda"
    assert MeanMetricWrapper(losses.huber, delta=2.0)([[0.0]], [[1.0]]) == 0.5


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("mse", MeanSquaredError), ("MSE", MeanSquaredError), ("mae", MeanAbsoluteError),
        ("rmse", RootMeanSquaredError), ("mean_squared_error", MeanSquaredError),
        ("MeanSquaredError", MeanSquaredError), ("binary_accuracy", BinaryAccuracy),
        ("categorical_accuracy", CategoricalAccuracy),
        ("sparse_categorical_accuracy", SparseCategoricalAccuracy),
        ("top_k_categorical_accuracy", TopKCategoricalAccuracy),
        ("sparse_top_k_categorical_accuracy", SparseTopKCategoricalAccuracy),
        ("TopKCategoricalAccuracy", TopKCategoricalAccuracy), ("Accuracy", Accuracy),
        ("root_mean_squared_error", RootMeanSquaredError),
    ],
)  # fmt: skip
def test_names(name, cls):
    m = metrics.get(name)
    assert type(m) is cls
    assert m.name == name


def test_get_others():
    m = MeanSquaredError(name="x")
    assert metrics.get(m) is m
    assert metrics.get(None) is None
    assert type(metrics.get(MeanSquaredError)) is MeanSquaredError
    with pytest.raises(ValueError, match='unknown metric "acuracy": did you mean "accuracy"'):
        metrics.get("acuracy")
    with pytest.raises(TypeError, match="metric must be one of the known names"):
        metrics.get(3)


@pytest.mark.parametrize("cls", metrics._CLASSES)
def test_round_trips(cls):
    m = cls(name="n", dtype="float64")
    for made in (
        metrics.deserialize(metrics.serialize(m)),
        metrics.get(metrics.serialize(m)),
        pickle.loads(pickle.dumps(m)),
    ):
        assert type(made) is cls
        assert made.get_config() == m.get_config()
    assert TopKCategoricalAccuracy.from_config(TopKCategoricalAccuracy(3).get_config()).alpha == 3.0


def test_default_names():
    for cls in metrics._CLASSES:
        assert metrics._KNOWN[cls().name] is cls


def test_resolve_accuracy():
    binary = losses.BinaryCrossentropy()
    dense = losses.CategoricalCrossentropy()
    sparse = losses.SparseCategoricalCrossentropy()
    assert type(metrics.resolve_accuracy(binary, 1)) is BinaryAccuracy
    assert type(metrics.resolve_accuracy(sparse, 1, True)) is BinaryAccuracy
    assert type(metrics.resolve_accuracy(sparse, 10)) is SparseCategoricalAccuracy
    assert type(metrics.resolve_accuracy(None, 10, True)) is SparseCategoricalAccuracy
    assert type(metrics.resolve_accuracy(dense, 10)) is CategoricalAccuracy
    # Keras's rule looks at shapes only: several yes-no outputs are taken for classes.
    assert type(metrics.resolve_accuracy(binary, 10)) is CategoricalAccuracy
    assert metrics.resolve_accuracy(dense, 10).name == "accuracy"
    assert metrics.resolve_accuracy(dense, 10, name="acc").name == "acc"
    assert metrics.is_accuracy("acc")
    assert metrics.is_accuracy("Accuracy")
    assert not metrics.is_accuracy("binary_accuracy")
    assert not metrics.is_accuracy(Accuracy())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: BinaryAccuracy(threshold=float("nan")),
            "BinaryAccuracy: threshold must be a finite",
        ),
        (
            lambda: TopKCategoricalAccuracy(k=0),
            "TopKCategoricalAccuracy: k must be an integer >= 1",
        ),
        (lambda: SparseTopKCategoricalAccuracy(k=1.5), "k must be an integer >= 1; received k=1.5"),
        (lambda: MeanSquaredError(dtype="int8"), "MeanSquaredError: dtype must be one of"),
        (lambda: MeanSquaredError()(T, [[1.0]]), "y_true and y_pred must have the same shape"),
        (lambda: SparseCategoricalAccuracy()(ONE_HOT, SCORES), "these look like one-hot rows"),
        (lambda: SparseCategoricalAccuracy()([0, 5], SCORES), "class numbers from 0 to 2"),
        (lambda: CategoricalAccuracy()([2, 1, 0], np.ones((3, 4))), "use the sparse form"),
        (lambda: MeanSquaredError()(T, Y, [1, 2, 3]), "one weight for each row"),
        (lambda: MeanSquaredError()(T, [["a", "b"], ["c", "d"]]), "real numbers; received dtype"),
    ],
)
def test_errors(make, text):
    with pytest.raises((TypeError, ValueError), match=text):
        make()
