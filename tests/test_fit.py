"""fit, evaluate and the single batches: Keras's meanings, callbacks, Ctrl-C, determinism."""

from __future__ import annotations

import _thread
import math
import os
import signal
import sys
import threading
import time
import timeit
import warnings

import numpy as np
import pytest

import nncore
from nncore import callbacks, layers, metrics, regularizers, training
from nncore.callbacks import Callback, LambdaCallback
from nncore.layers import Activation, Dense, Dropout, Input

ENGINES = ["compiled", "reference"]


@pytest.fixture(autouse=True)
def _fresh():
    layers.reset_names()
    nncore.set_random_seed(1)


def blobs(n=60, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return (rng.normal(size=(n, 4)) + y[:, None]).astype(dtype), y


def network(optimizer="sgd", dropout=0.0, seed=1, dtype="float64", **arguments):
    nncore.set_random_seed(seed)
    model = nncore.Sequential(
        [
            Input((4,)),
            Dense(5, activation="tanh", dtype=dtype),
            Dropout(dropout),
            Dense(3, activation="softmax", dtype=dtype),
        ]
    )
    given = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **arguments}
    model.compile(optimizer, **given)
    return model


def crossentropy(model, x, y, r=None):
    p = model.predict(x)[np.arange(len(x)), y]
    return float(np.mean(-np.log(p) * (1 if r is None else r)))


def batches_once(x, y, size=10):
    return ((x[i : i + size], y[i : i + size]) for i in range(0, len(x), size))


@pytest.mark.parametrize("engine", ENGINES)
def test_no_batches_are_no_epoch(engine):
    """Neither a loss of 0 in the history nor a best epoch that never was."""
    x, y = blobs(40)
    model = network(engine=engine)
    with pytest.warns(UserWarning, match="fit: no batches are left for epoch 2"):
        history = model.fit(batches_once(x, y), epochs=4, verbose=0)
    assert len(history.history["loss"]) == 1
    with pytest.warns(UserWarning, match="fit: validation_data: no batches are left"):
        history = model.fit(x, y, epochs=3, verbose=0, validation_data=batches_once(x, y))
    assert len(history.history["val_loss"]) == 1


def test_callbacks_come_before_the_line_of_the_epoch(capsys):
    x, y = blobs(20)
    network().fit(x, y, epochs=1, verbose=2, callbacks=[
        callbacks.LearningRateScheduler(lambda epoch: 0.125),
        LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(extra=1.5)),
    ])  # fmt: skip
    out = capsys.readouterr().out
    assert "learning_rate: 0.125" in out
    assert "extra: 1.5" in out


def test_class_weight_takes_the_floats_of_numpy_unique():
    x, y = blobs(20)
    one, two = network(), network()
    one.fit(x, y, class_weight={0: 1.0, 1: 2.0, 2: 3.0}, verbose=0, shuffle=False)
    two.fit(x, y, class_weight={0.0: 1.0, 1.0: 2.0, 2.0: 3.0}, verbose=0, shuffle=False)
    np.testing.assert_array_equal(one.parameters, two.parameters)


def test_a_keras_dataset():
    x, y = blobs(40)

    class Data(nncore.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return x[10 * index : 10 * index + 10], y[10 * index : 10 * index + 10]

    one, two = network(), network()
    one.fit(Data(workers=2), epochs=2, verbose=0, shuffle=False)
    two.fit(x, y, batch_size=10, epochs=2, verbose=0, shuffle=False)
    np.testing.assert_array_equal(one.parameters, two.parameters)
    with pytest.raises(TypeError, match="must define __len__"):
        len(nncore.utils.PyDataset())


# --- the basic promises ---


@pytest.mark.parametrize("engine", ENGINES)
def test_fit_learns(engine):
    x, y = blobs(300)
    model = network("adam", dtype="float32", engine=engine)
    history = model.fit(x, y, epochs=20, verbose=0, validation_data=blobs(100, 1))
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(v) == 20 for v in history.history.values())
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]
    assert history.epoch == list(range(20))
    assert history is model.history
    assert model.optimizer.iterations == 20 * 10
    assert all(type(v) is float for values in history.history.values() for v in values)


def test_engines_agree():
    x, y = blobs(70)
    results = []
    for engine in ENGINES:
        model = network("adam", dropout=0.3, engine=engine)
        history = model.fit(x, y, epochs=3, batch_size=16, verbose=0, validation_split=0.2)
        results.append((history.history, model.get_weights()))
    for key in results[0][0]:
        np.testing.assert_allclose(results[0][0][key], results[1][0][key], rtol=1e-9)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_one_step_by_hand():
    x, y = blobs(8, dtype="float64")
    model = network(optimizer=nncore.optimizers.SGD(0.5))
    before = crossentropy(model, x, y)
    w1, b1, w2, b2 = model.get_weights()
    h = np.tanh(x @ w1 + b1)
    dz = (model.predict(x) - np.eye(3)[y]) / 8
    loss, accuracy = model.train_on_batch(x, y)
    assert loss == pytest.approx(before, rel=1e-12)
    np.testing.assert_allclose(model.layers[2].kernel, w2 - 0.5 * h.T @ dz, rtol=1e-12)
    np.testing.assert_allclose(model.layers[2].bias, b2 - 0.5 * dz.sum(0), rtol=1e-12)
    da = dz @ w2.T * (1 - h * h)
    np.testing.assert_allclose(model.layers[0].kernel, w1 - 0.5 * x.T @ da, rtol=1e-12)
    assert 0 <= accuracy <= 1


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows():
    x, y = blobs(50)
    model = network(optimizer=nncore.optimizers.SGD(0.0))
    history = model.fit(x, y, batch_size=16, verbose=0)  # 16, 16, 16, 2
    assert history.history["loss"][0] == pytest.approx(crossentropy(model, x, y), rel=1e-12)
    expected = np.mean(model.predict(x).argmax(1) == y)
    assert history.history["accuracy"][0] == pytest.approx(expected)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(
        [history.history["loss"][0], expected], rel=1e-12
    )


def test_losses_include_penalties():
    nncore.set_random_seed(0)
    model = nncore.Sequential([Input((4,)), Dense(2, kernel_regularizer=regularizers.L2(0.5))])
    model.compile(nncore.optimizers.SGD(0.0), "mse")
    x, t = np.ones((6, 4)), np.zeros((6, 2))
    plain = float(np.mean(model.predict(x).astype(float) ** 2))
    penalty = 0.5 * float((model.layers[0].kernel.astype(float) ** 2).sum())
    assert model.evaluate(x, t, verbose=0) == pytest.approx(plain + penalty, rel=1e-5)
    assert model.fit(x, t, verbose=0).history["loss"][0] == pytest.approx(plain + penalty, rel=1e-5)


# --- batches, epochs, order ---


class Batches(Callback):
    """Records what happens."""

    def __init__(self):
        super().__init__()
        self.events = []

    def on_train_begin(self, logs=None):
        self.events.append("train begin")

    def on_train_end(self, logs=None):
        self.events.append("train end")
        self.logs = dict(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(f"epoch {epoch} begin")

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(f"epoch {epoch} end {','.join(logs)}")

    def on_train_batch_begin(self, batch, logs=None):
        self.events.append(f"batch {batch} begin")

    def on_train_batch_end(self, batch, logs=None):
        self.events.append(f"batch {batch} end {','.join(logs)}")

    def on_test_begin(self, logs=None):
        self.events.append("test begin")

    def on_test_end(self, logs=None):
        self.events.append("test end")

    def on_test_batch_end(self, batch, logs=None):
        self.events.append(f"test batch {batch}")


def test_callbacks_order():
    x, y = blobs(20)
    seen = Batches()
    network().fit(
        x, y, batch_size=10, epochs=1, verbose=0, callbacks=[seen], validation_data=(x, y),
        validation_batch_size=15,
    )  # fmt: skip
    assert seen.events == [
        "train begin",
        "epoch 0 begin",
        "batch 0 begin",
        "batch 0 end loss,accuracy",
        "batch 1 begin",
        "batch 1 end loss,accuracy",
        "test begin",
        "test batch 0",
        "test batch 1",
        "test end",
        "epoch 0 end accuracy,loss,val_accuracy,val_loss",
        "train end",
    ]
    assert set(seen.logs) == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_batch_hooks_change_nothing():
    x, y = blobs(70)
    results = []
    for given in ([], [LambdaCallback(on_train_batch_end=lambda batch, logs: None)]):
        model = network("adam", dropout=0.2, n_threads=1)
        history = model.fit(x, y, epochs=3, verbose=0, callbacks=given)
        results.append((history.history, model.parameters.copy()))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_logs_of_batches_are_running_means():
    x, y = blobs(30)
    seen = []
    model = network(optimizer=nncore.optimizers.SGD(0.0))
    model.fit(
        x, y, batch_size=10, verbose=0, shuffle=False,
        callbacks=[LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(logs["loss"]))],
    )  # fmt: skip
    expected = [crossentropy(model, x[: 10 * i], y[: 10 * i]) for i in (1, 2, 3)]
    assert seen == pytest.approx(expected, rel=1e-12)


def test_default_batch_sizes():
    x, y = blobs(70)
    model = network()
    model.fit(x, y, verbose=0)
    assert model.optimizer.iterations == 3  # 32, 32, 6
    model = network("gd")
    model.fit(x, y, verbose=0, epochs=2)
    assert model.optimizer.iterations == 2
    model = network("gd")
    model.fit(x, y, verbose=0, batch_size=35)
    assert model.optimizer.iterations == 2
    model = network()
    model.fit(x, y, verbose=0, steps_per_epoch=4)  # 18 rows each, as in Keras
    assert model.optimizer.iterations == 4


def test_gd_is_sgd_on_all_rows():
    x, y = blobs(50)
    a = network(nncore.optimizers.get("gd"))
    b = network(nncore.optimizers.SGD(0.01))
    a.fit(x, y, epochs=3, verbose=0)
    b.fit(x, y, epochs=3, verbose=0, batch_size=50, shuffle=False)
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-12)


class Order(Callback):
    """Reads the order of the rows from a model whose loss names the row."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        self.rows.append([])
        self.sum = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = logs["loss"] * (batch + 1)
        self.rows[-1].append(round(total - self.sum))
        self.sum = total


def reader():
    model = nncore.Sequential([Input((1,)), Activation("linear", dtype="float64")])
    model.compile(nncore.optimizers.SGD(0.0), "mae")
    return model


def order_of(n=10, **arguments):
    seen = Order()
    given = {"batch_size": 1, "verbose": 0, "callbacks": [seen], **arguments}
    reader().fit(np.arange(n, dtype=float), np.zeros(n), **given)
    return seen.rows


def test_shuffle():
    plain = list(range(10))
    assert order_of(shuffle=False, epochs=2) == [plain, plain]
    nncore.set_random_seed(4)
    first, second = order_of(epochs=2)
    assert sorted(first) == sorted(second) == plain
    assert first != plain
    assert first != second
    nncore.set_random_seed(4)
    assert order_of(epochs=2) == [first, second]
    assert order_of(epochs=1)[0] != first  # another fit, another seed


def test_initial_epoch_goes_on():
    nncore.set_random_seed(4)
    both = order_of(epochs=2)
    nncore.set_random_seed(4)
    assert order_of(epochs=2, initial_epoch=1) == both[1:]
    history = network().fit(*blobs(), epochs=3, initial_epoch=1, verbose=0)
    assert history.epoch == [1, 2]
    assert network().fit(*blobs(), epochs=2, initial_epoch=5, verbose=0).epoch == []


def test_validation_split_takes_the_last_rows():
    rows = order_of(validation_split=0.3)[0]
    assert sorted(rows) == list(range(7))
    x, y = blobs(50)
    a, b = network(), network()
    split = a.fit(x, y, verbose=0, shuffle=False, epochs=2, validation_split=0.2)
    data = b.fit(
        x[:40], y[:40], verbose=0, shuffle=False, epochs=2, validation_data=(x[40:], y[40:])
    )
    assert split.history == data.history
    both = network().fit(
        x, y, verbose=0, validation_split=0.2, validation_data=(x[:3], y[:3])
    )  # validation_data wins
    assert both.model.optimizer.iterations == 2


def test_steps_per_epoch_goes_on_where_the_last_epoch_ended():
    rows = order_of(6, shuffle=False, steps_per_epoch=2, epochs=4)
    assert rows == [[0, 1], [2, 3], [4, 5], [0, 1]]
    with pytest.warns(UserWarning, match="ran out before 4 steps"):
        rows = order_of(6, shuffle=False, steps_per_epoch=4, epochs=3)
    assert rows == [[0, 1, 2, 3], [4, 5], [0, 1, 2, 3]]


def test_shuffle_inside_batches():
    x = np.arange(12.0)
    seen = []
    model = reader()
    model.fit(
        x, np.zeros(12), batch_size=4, shuffle="batch", verbose=0,
        callbacks=[LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(logs["loss"]))],
    )  # fmt: skip
    assert seen == pytest.approx([1.5, 3.5, 5.5])


@pytest.mark.parametrize(
    ("freq", "due"), [(1, [1, 2, 3, 4]), (2, [2, 4]), ([1, 4], [1, 4]), (9, [])]
)
def test_validation_freq(freq, due):
    seen = []
    network().fit(
        *blobs(), epochs=4, verbose=0, validation_data=blobs(10), validation_freq=freq,
        callbacks=[LambdaCallback(
            on_epoch_end=lambda e, logs: seen.append(e + 1) if "val_loss" in logs else None)],
    )  # fmt: skip
    assert seen == due


def test_validation_steps():
    x, y = blobs(50)
    model = network(optimizer=nncore.optimizers.SGD(0.0))
    history = model.fit(
        x, y, verbose=0, validation_data=(x, y), validation_steps=2, validation_batch_size=5
    )
    assert history.history["val_loss"][0] == pytest.approx(crossentropy(model, x[:10], y[:10]))


# --- weights of rows ---


def test_class_weight_is_a_sample_weight():
    x, y = blobs(60)
    weights = {0: 0.5, 2: 4.0}
    by_class = network()
    a = by_class.fit(x, y, epochs=2, verbose=0, class_weight=weights)
    r = np.array([0.5, 1.0, 4.0])[y]
    by_sample = network()
    b = by_sample.fit(x, y, epochs=2, verbose=0, sample_weight=r)
    assert a.history == b.history
    np.testing.assert_array_equal(by_class.parameters, by_sample.parameters)


def test_class_weight_is_not_for_validation():
    x, y = blobs(60)
    model = network(optimizer=nncore.optimizers.SGD(0.0))
    history = model.fit(x, y, verbose=0, class_weight={0: 9.0}, validation_split=0.5)
    assert history.history["val_loss"][0] == pytest.approx(crossentropy(model, x[30:], y[30:]))
    r = np.linspace(0, 1, 60)
    history = model.fit(
        x, y, verbose=0, class_weight={0: 9.0}, sample_weight=r, validation_split=0.5
    )
    assert history.history["val_loss"][0] == pytest.approx(
        crossentropy(model, x[30:], y[30:], r[30:])
    )


def test_sample_weights_count_in_loss_and_weighted_metrics_only():
    x, y = blobs(60)
    model = network(optimizer=nncore.optimizers.SGD(0.0), weighted_metrics=["acc"])
    right = model.predict(x).argmax(1) == y
    r = np.where(right, 1.0, 0.25)
    logs = model.evaluate(x, y, sample_weight=r, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(crossentropy(model, x, y, r))  # divided by rows
    assert logs["accuracy"] == pytest.approx(right.mean())
    assert logs["acc"] == pytest.approx((r * right).sum() / r.sum())
    assert model.evaluate(x, y, verbose=0, return_dict=True)["acc"] == pytest.approx(right.mean())
    history = model.fit(x, y, sample_weight=r, verbose=0, validation_data=(x, y, r))
    for name, value in logs.items():
        assert history.history[name][0] == pytest.approx(value)
        assert history.history[f"val_{name}"][0] == pytest.approx(value)


# --- metrics in Python ---


class Largest(metrics.Metric):
    """The largest predicted probability."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total = max(self.total, float(y_pred.max()))

    def result(self):
        return self.total


def agreement(y_true, y_pred):
    return (y_pred.argmax(1) == y_true).astype(float)


@pytest.mark.parametrize("engine", ENGINES)
def test_metrics_in_python(engine):
    x, y = blobs(50)
    model = network(
        optimizer=nncore.optimizers.SGD(0.0),
        metrics=["accuracy", agreement, Largest(name="top")],
        weighted_metrics=[agreement],
        engine=engine,
    )
    r = np.linspace(0, 1, 50)
    logs = model.evaluate(x, y, sample_weight=r, verbose=0, return_dict=True)
    assert list(logs) == ["accuracy", "agreement", "loss", "top", "weighted_agreement"]
    assert logs["agreement"] == pytest.approx(logs["accuracy"])
    right = model.predict(x).argmax(1) == y
    assert logs["weighted_agreement"] == pytest.approx((r * right).sum() / r.sum())
    assert logs["top"] == pytest.approx(model.predict(x).max())
    history = model.fit(x, y, verbose=0)
    assert history.history["agreement"] == pytest.approx(history.history["accuracy"])
    assert model.train_on_batch(x, y, return_dict=True)["agreement"] == pytest.approx(right.mean())


def test_metric_of_a_regression():
    model = nncore.Sequential([Input((2,)), Dense(1)])
    model.compile("sgd", "mse", metrics=["mae", "mse", "rmse"])
    x, t = np.ones((40, 2)), np.arange(40.0)
    logs = model.evaluate(x, t, verbose=0, return_dict=True)
    e = model.predict(x)[:, 0] - t
    assert logs["mae"] == pytest.approx(np.abs(e).mean(), rel=1e-5)
    assert logs["mse"] == pytest.approx((e * e).mean(), rel=1e-5)
    assert logs["rmse"] == pytest.approx(math.sqrt((e * e).mean()), rel=1e-5)
    assert logs["loss"] == pytest.approx(logs["mse"], rel=1e-5)


# --- single batches, evaluate ---


def test_single_batches():
    x, y = blobs(20)
    model = network()
    assert model.test_on_batch(x, y) == pytest.approx(model.evaluate(x, y, verbose=0))
    before = model.test_on_batch(x, y, return_dict=True)
    assert set(before) == {"loss", "accuracy"}
    assert model.train_on_batch(x, y, return_dict=True) == pytest.approx(before)
    assert model.optimizer.iterations == 1
    assert model.test_on_batch(x, y)[0] < before["loss"]
    plain = network(metrics=None)
    assert isinstance(plain.train_on_batch(x, y), float)
    assert isinstance(plain.evaluate(x, y, verbose=0), float)
    assert plain.train_on_batch(x, y, class_weight={0: 2.0}) != plain.test_on_batch(x, y)
    r = np.ones(20)
    assert plain.test_on_batch(x, y, sample_weight=2 * r) == pytest.approx(
        2 * plain.test_on_batch(x, y)
    )


def test_train_on_batch_is_fit():
    x, y = blobs(64)
    a, b = network("adam", dropout=0.3), network("adam", dropout=0.3)
    a.fit(x, y, batch_size=16, shuffle=False, epochs=2, verbose=0)
    for _ in range(2):
        for i in range(0, 64, 16):
            b.train_on_batch(x[i : i + 16], y[i : i + 16])
    np.testing.assert_array_equal(a.parameters, b.parameters)
    np.testing.assert_array_equal(a.slots, b.slots)


def test_schedule_and_scheduler():
    x, y = blobs(64)
    schedule = nncore.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5)
    model = network(nncore.optimizers.SGD(schedule))
    model.fit(x, y, batch_size=16, epochs=2, verbose=0)
    assert model.optimizer.learning_rate == pytest.approx(0.025)
    a = network(nncore.optimizers.SGD(schedule))
    b = network(nncore.optimizers.SGD(schedule))
    a.fit(x, y, batch_size=16, shuffle=False, epochs=2, verbose=0)
    for _ in range(2):
        for i in range(0, 64, 16):
            b.train_on_batch(x[i : i + 16], y[i : i + 16])
    np.testing.assert_array_equal(a.parameters, b.parameters)
    seen = network().fit(
        x, y, epochs=3, verbose=0,
        callbacks=[callbacks.LearningRateScheduler(lambda epoch: 0.5 ** epoch)],
    )  # fmt: skip
    assert seen.history["learning_rate"] == [1.0, 0.5, 0.25]


def test_a_batch_hook_may_set_the_learning_rate():
    x, y = blobs(40)
    model = network()

    def stop_learning(batch, logs):
        model.optimizer.learning_rate = 0.0

    before = model.parameters.copy()
    model.fit(x, y, verbose=0, callbacks=[LambdaCallback(on_train_batch_begin=stop_learning)])
    np.testing.assert_array_equal(model.parameters, before)


def test_hyper_parameters_may_change_between_fits():
    x, y = blobs(40)
    a, b = network("adam"), network("adam")
    a.train_on_batch(x, y)
    b.train_on_batch(x, y)
    a.optimizer.beta_1 = 0.5
    a.train_on_batch(x, y)
    b.train_on_batch(x, y)
    assert not np.array_equal(a.parameters, b.parameters)
    a.layers[0].trainable = False
    kernel = a.layers[0].kernel.copy()
    a.train_on_batch(x, y)
    np.testing.assert_array_equal(a.layers[0].kernel, kernel)


def test_stop_training():
    def stop(epoch, logs):
        model.stop_training = epoch == 2

    model = network()
    history = model.fit(
        *blobs(), epochs=9, verbose=0, callbacks=[LambdaCallback(on_epoch_end=stop)]
    )
    assert history.epoch == [0, 1, 2]

    def stop_early(batch, logs):
        model.stop_training = batch == 1

    before = model.optimizer.iterations
    model.fit(
        *blobs(), epochs=9, batch_size=10, verbose=0,
        callbacks=[LambdaCallback(on_train_batch_end=stop_early)],
    )  # fmt: skip
    assert model.optimizer.iterations == before + 2


def test_early_stopping_restores_the_best_weights():
    x, y = blobs(60)
    model = network(nncore.optimizers.SGD(30.0))
    stopping = callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    history = model.fit(x, y, epochs=50, verbose=0, validation_data=(x, y), callbacks=[stopping])
    assert len(history.epoch) < 50
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(min(history.history["val_loss"]))


# --- generators ---


def test_generator_is_the_arrays():
    x, y = blobs(50)
    r = np.linspace(0.5, 1, 50)

    def batches():
        while True:
            for i in range(0, 50, 16):
                yield x[i : i + 16], y[i : i + 16], r[i : i + 16]

    a, b = network("adam"), network("adam")
    first = a.fit(x, y, sample_weight=r, batch_size=16, shuffle=False, epochs=3, verbose=0,
                  validation_data=(x, y), validation_batch_size=16)  # fmt: skip
    source = batches()
    second = b.fit(
        source, steps_per_epoch=4, epochs=3, verbose=0,
        validation_data=((x[i : i + 16], y[i : i + 16]) for _ in range(3) for i in (0, 16, 32, 48)),
        validation_steps=4,
    )  # fmt: skip
    np.testing.assert_array_equal(a.parameters, b.parameters)
    for key, values in first.history.items():
        assert values == pytest.approx(second.history[key])
    assert a.evaluate(x, y, verbose=0, batch_size=16, sample_weight=r) == pytest.approx(
        b.evaluate(batches(), steps=4, verbose=0)
    )
    next(source)  # still usable


class Dataset:
    """Keras's PyDataset in shape."""

    def __init__(self, x, y, size):
        self.x, self.y, self.size, self.ended, self.asked = x, y, size, 0, []

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError(i)
        self.asked.append(i)
        part = slice(i * self.size, (i + 1) * self.size)
        return self.x[part], self.y[part]

    def on_epoch_end(self):
        self.ended += 1


def test_data_set():
    x, y = blobs(50)
    source = Dataset(x, y, 20)
    model = nncore.Sequential([Dense(3, activation="softmax")])  # built from the first batch
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(source, epochs=4, verbose=0, validation_data=Dataset(x, y, 30))
    assert model.optimizer.iterations == 12
    assert source.ended == 4
    assert source.asked[0] == 0  # looked at first
    epochs = np.reshape(source.asked[1:], (4, 3))
    assert (np.sort(epochs) == [0, 1, 2]).all()
    assert len({tuple(e) for e in epochs}) > 1  # shuffled
    assert len(history.history["val_loss"]) == 4
    assert model.evaluate(source, verbose=0) == pytest.approx(
        model.evaluate(x, y, batch_size=20, verbose=0)
    )
    assert model.predict(Dataset(x, y, 20)).shape == (50, 3)


def test_iterable_again_and_again():
    class Loader:
        def __iter__(self):
            return iter([blobs(10), blobs(5)])

    model = network()
    history = model.fit(Loader(), epochs=3, verbose=0)
    assert model.optimizer.iterations == 6
    assert history.epoch == [0, 1, 2]


def test_a_generator_that_ends():
    model = network()
    history = model.fit(iter([blobs(10), blobs(10)]), verbose=0)
    assert model.optimizer.iterations == 2
    assert history.epoch == [0]
    with pytest.warns(UserWarning, match="no batches are left for epoch 2"):
        model.fit(iter([blobs(10)]), epochs=3, verbose=0)
    with pytest.warns(UserWarning, match="ran out before 5 steps"):
        history = model.fit(iter([blobs(10)] * 7), epochs=3, steps_per_epoch=5, verbose=0)
    assert history.epoch == [0, 1]


def test_an_error_in_a_generator_comes_out():
    def batches():
        yield blobs(10)
        raise OSError("disk")

    model = network()
    with pytest.raises(OSError, match="disk"):
        model.fit(batches(), verbose=0)
    assert model.optimizer.iterations == 1


# --- Ctrl-C ---


def test_interrupt_from_a_callback():
    def interrupt(batch, logs):
        if batch == 2:
            raise KeyboardInterrupt

    seen = Batches()
    model = network("adam")
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            *blobs(), batch_size=10, epochs=3, verbose=0,
            callbacks=[seen, LambdaCallback(on_train_batch_end=interrupt)],
        )  # fmt: skip
    assert seen.events[-1] == "train end"
    assert model.optimizer.iterations == 3
    model.fit(*blobs(), batch_size=10, verbose=0)
    assert model.optimizer.iterations == 9


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal, where Python's handler is in place (not under nohup or with &)."""
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("engine", ENGINES)
def test_interrupt_from_outside(engine):
    x, y = blobs(20000)
    model = network("adam", engine=engine, n_threads=1)
    model.fit(x[:64], y[:64], verbose=0)
    ended = []
    fired = []

    def press():
        fired.append(1)
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        else:
            _thread.interrupt_main()

    timer = threading.Timer(0.2, press)
    begun = model.optimizer.iterations
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            x, y, batch_size=4, epochs=1000, verbose=0,
            callbacks=[LambdaCallback(on_train_end=lambda logs: ended.append(1))],
        )  # fmt: skip
    timer.join()
    assert fired
    assert ended == [1]
    assert model.optimizer.iterations > begun
    assert np.isfinite(model.parameters).all()
    model.fit(x[:64], y[:64], verbose=0)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent to threads there")
def test_iterations_are_right_after_an_interrupt():
    """The count that the callbacks and the schedule see is that of the updates done."""
    x = np.ones((100_000, 1))
    nncore.set_random_seed(0)
    model = nncore.Sequential(
        [Input((1,)), Dense(1, use_bias=False, dtype="float64", kernel_initializer="zeros")]
    )
    # With this loss the derivative is 1 at every step: the kernel counts the updates.
    model.compile(nncore.optimizers.SGD(1.0), "mae", n_threads=1)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, np.full(100_000, 1e9), batch_size=1, epochs=1000, verbose=0)
    timer.join()
    assert model.optimizer.iterations == model.layers[0].kernel[0, 0] > 0


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent to threads there")
def test_an_interrupted_long_step_leaves_no_half_update():
    """Ctrl-C ends even a single long batch, before its update; all or nothing of it is done."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8000, 420)).astype("float32"), rng.normal(size=(8000, 1))

    def net():
        nncore.set_random_seed(0)
        model = nncore.Sequential([Input((420,)), Dense(420, "tanh"), Dense(420, "tanh"), Dense(1)])
        model.compile("gd", "mse", n_threads=1)
        return model

    model = net()
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=100, verbose=0)
    timer.join()
    again = net()
    if model.optimizer.iterations:
        again.fit(x, y, epochs=model.optimizer.iterations, verbose=0)
    elif not again.built:
        again.build((None, 420))
    np.testing.assert_array_equal(model.parameters, again.parameters)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_signal_handler_that_trains_the_same_model_is_told_off():
    """It runs in the middle of the step that it would have to wait for."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8000, 420)).astype("float32"), rng.normal(size=(8000, 1))
    model = nncore.Sequential([Input((420,)), Dense(420, "tanh"), Dense(420, "tanh"), Dense(1)])
    model.compile("gd", "mse", n_threads=1)

    def train(*_):
        model.train_on_batch(x, y)
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # it came outside a step: once more

    before = signal.signal(signal.SIGALRM, train)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(RuntimeError, match="is this a signal's handler"):
            model.fit(x, y, epochs=100, verbose=0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_that_computes_nothing_is_evaluated(engine, dtype):
    x = np.arange(12, dtype=dtype).reshape(4, 3)
    for stack in ([layers.Flatten()], [Dropout(0.5)], [Activation("linear")]):
        model = nncore.Sequential([Input((3,)), *stack])
        model.compile("sgd", "mse", metrics=["mae"], engine=engine)
        assert model.evaluate(x, 0 * x, verbose=0) == pytest.approx(
            [float(np.mean(x.astype(float) ** 2)), float(np.mean(x))]
        )


# --- a loss that is not finite ---


def test_a_loss_that_becomes_nan_is_reported_once():
    model = nncore.Sequential([Input((1,)), Dense(1)])
    model.compile(nncore.optimizers.SGD(1e3), "mse")
    x = np.linspace(-9, 9, 64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, x, epochs=4, verbose=0, batch_size=8)
    texts = [str(w.message) for w in caught if w.category is RuntimeWarning]
    assert len(texts) == 1
    assert texts[0].startswith('Sequential "sequential": the loss became ')
    assert " in epoch 1, step " in texts[0]
    for hint in ("learning rate", "Rescaling", "clipnorm", "TerminateOnNaN"):
        assert hint in texts[0]
    assert caught[0].filename == __file__
    assert model.optimizer.iterations == 32


def test_terminate_on_nan():
    model = nncore.Sequential([Input((1,)), Dense(1)])
    model.compile(nncore.optimizers.SGD(1e6), "mse")
    x = np.linspace(-9, 9, 256)
    with pytest.warns(RuntimeWarning, match="the loss became"):
        model.fit(x, x, epochs=4, verbose=0, batch_size=8, callbacks=[callbacks.TerminateOnNaN()])
    assert model.optimizer.iterations < 32


# --- the same bits ---


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_same_seed_same_bits(n_threads):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 100)).astype("float32"), rng.integers(0, 10, 300)
    results = []
    for threads in (1, n_threads):
        nncore.set_random_seed(7)
        model = nncore.Sequential(
            [
                Input((100,)),
                Dense(150, activation="relu", kernel_regularizer="l2"),
                Dropout(0.2),
                Dense(10, activation="softmax"),
            ]
        )
        model.compile(
            "adam", "sparse_categorical_crossentropy", metrics=["accuracy"], n_threads=threads
        )
        history = model.fit(x, y, epochs=2, batch_size=64, verbose=0, validation_split=0.1)
        results.append((history.history, model.parameters.tobytes(), model.predict(x).tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "strided"])
def test_rows_gathered_by_several_threads(kind):
    """Large batches are; whatever the rows are, and however many threads, each comes once."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, size=(400, 1000)).astype("float32" if kind == "strided" else kind)
    x = x[:, ::2] if kind == "strided" else x[:, :500].copy()
    y = rng.normal(size=400)
    found = []
    for n_threads in (1, 2, 3, 5):
        nncore.set_random_seed(1)
        model = nncore.Sequential(
            [Input((500,)), layers.Rescaling(1 / 255), Dense(80, "tanh"), Dense(1)]
        )
        model.compile("sgd", "mse", n_threads=n_threads)
        history = model.fit(x, y, batch_size=170, epochs=2, verbose=0).history
        found.append((history, model.parameters.tobytes()))
    assert all(one == found[0] for one in found)


# --- what is shown ---


def test_verbose(capsys):
    x, y = blobs(64)
    model = network()
    model.fit(x, y, epochs=2, verbose=0)
    model.evaluate(x, y, verbose=0)
    assert capsys.readouterr().out == ""
    model.fit(x, y, epochs=2, verbose=2, validation_split=0.5)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:15] for line in lines] == ["Epoch 1/2 - 1/1", "Epoch 2/2 - 1/1"]
    for name in ("accuracy", "loss", "val_accuracy", "val_loss"):
        assert f" {name}: " in lines[0]
    model.fit(x, y)
    assert "Epoch 1/1 - 2/2" in capsys.readouterr().out
    model.evaluate(x, y)
    assert capsys.readouterr().out.startswith("2/2 - 0s")


def test_the_bar_is_closed_after_an_error(monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    monkeypatch.setattr("sys.stdout", out)

    def fail(batch, logs):
        time.sleep(0.11)
        if batch == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        network().fit(*blobs(), batch_size=10, callbacks=[LambdaCallback(on_train_batch_end=fail)])
    assert "\r" in out.getvalue()
    assert out.getvalue().endswith("\n")


def test_params_of_callbacks():
    seen = []
    callback = LambdaCallback(on_train_begin=lambda logs: seen.append(dict(callback.params)))
    network().fit(*blobs(64), epochs=3, verbose=0, callbacks=[callback])
    assert seen == [{"epochs": 3, "steps": 2, "verbose": 0}]
    assert callback.model is not None


@pytest.mark.parametrize(
    "arguments",
    [
        {"validation_data": (np.ones((4, 3)), np.ones((4, 1)))},
        {"validation_data": 5},
        {"callbacks": [1]},
        {"validation_split": 0.9999},
    ],
)
@pytest.mark.parametrize("generator", [False, True])
def test_a_refused_fit_builds_nothing(arguments, generator):
    model = nncore.Sequential([Dense(3), Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 4)), np.ones((8, 1))
    data = (batches_once(x, y, 4),) if generator else (x, y)
    with pytest.raises((ValueError, TypeError)):
        model.fit(*data, verbose=0, **arguments)
    assert not model.built
    model.fit(np.ones((8, 7)), y, verbose=0, validation_data=(np.ones((2, 7)), y[:2]))
    assert model.input_shape == (None, 7)


def test_a_metric_that_does_not_fit_builds_nothing():
    model = nncore.Sequential([Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["categorical_accuracy"])
    with pytest.raises(ValueError, match='metric "categorical_accuracy" wants'):
        model.fit(np.ones((8, 4)), np.zeros(8, int), verbose=0)
    assert not model.built


def test_softmax_of_one_unit_in_any_layer():
    model = nncore.Sequential([Input((2,)), Dense(1, "softmax"), Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    with pytest.raises(ValueError, match="softmax over one output, which is always 1"):
        model.fit(np.ones((4, 2)), np.ones(4), verbose=0)


def test_a_checkpoint_that_cannot_be_written_is_refused_first(tmp_path):
    x, y = blobs(20)
    model = network()
    (tmp_path / "file").write_text("")
    for path, kind in ((tmp_path, IsADirectoryError), (tmp_path / "file" / "m", PermissionError)):
        with pytest.raises(kind):
            model.fit(x, y, verbose=0, callbacks=[callbacks.ModelCheckpoint(path)])
    assert model.optimizer.iterations == 0


@pytest.mark.thread_unsafe(reason="forks, which other Python threads need not survive")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_trains_a_model_that_a_thread_was_training():
    model = network(n_threads=1)
    x, y = blobs(50_000)
    model.fit(x[:100], y[:100], verbose=0)
    thread = threading.Thread(target=lambda: model.fit(x, y, batch_size=1, epochs=3, verbose=0))
    thread.start()
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)  # a hang ends as a failure
            model.fit(x[:100], y[:100], verbose=0)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()


def test_training_inside_a_callback_is_counted():
    x, y = blobs(30)
    model = network("adam")
    hook = LambdaCallback(on_train_batch_begin=lambda batch, logs: model.train_on_batch(x, y))
    model.fit(x, y, batch_size=10, verbose=0, callbacks=[hook])
    assert model.optimizer.iterations == 6


def test_layers_cannot_be_changed_inside_fit():
    x, y = blobs(30)
    model = network()
    hook = LambdaCallback(on_train_batch_begin=lambda batch, logs: model.pop())
    with pytest.raises(RuntimeError, match="its layers were changed while it works through data"):
        model.fit(x, y, batch_size=10, verbose=0, callbacks=[hook])


def test_many_settings_keep_few_executors():
    x, y = blobs(10)
    optimizer = nncore.optimizers.SGD(0.1, clipnorm=1.0)
    model = network(optimizer)
    for k in range(1, 30):
        optimizer.clipnorm = float(k)
        model.train_on_batch(x, y)
    assert len(model._executors) <= 8


# --- blocks of predict ---


@pytest.mark.parametrize("kind", ["float32", "float16"])  # read where it lies, and converted
def test_large_weights_are_predicted_in_larger_blocks(monkeypatch, kind):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2500, 5)).astype(kind)

    def network():
        model = nncore.Sequential([Input((5,)), Dense(40, "relu"), Dense(3, "softmax")])
        model.set_weights(
            [np.full(w.shape, 0.1) * (i + 1) for i, w in enumerate(model.get_weights())]
        )
        return model

    expected = network().predict(x, verbose=0)
    monkeypatch.setattr(training, "LARGE", 0)
    model = network()
    for n in (1, 255, 257, 1024, 1025, 2500):
        np.testing.assert_array_equal(model.predict(x[:n], verbose=0), expected[:n])
    assert {e.batch_size for e in model._predictors} == {4 * training.BLOCK}


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_signals_are_served_while_predicting(quick, n_threads):
    """Their handlers run between two blocks, may predict, and an exception ends it all."""
    model = nncore.Sequential([Input((1,)), Dense(64, "relu"), Dense(64, "relu"), Dense(1)])
    model.n_threads = n_threads
    x = np.zeros((200_000, 1), np.float32 if quick else np.int32)
    model.predict(x[:1], verbose=0)
    model.predict(x[:300], verbose=0)
    # As many rows as take half a second: threads that share them look every 50 ms.
    once = min(timeit.repeat(lambda: model.predict(x, verbose=0), number=1, repeat=3))
    x = np.zeros((min(int(0.5 / once * len(x)), 30_000_000), 1), x.dtype)
    assert (model._bulk(x[:300]) is not None) == quick
    served = []

    def serve(*_):
        served.append(model.predict(x[:300], verbose=0))

    before = signal.signal(signal.SIGALRM, serve)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        y = model.predict(x, verbose=0)
        assert len(served) > 2  # and not once, at the end
        assert all((y[:300] == one).all() for one in served)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # once: not after it has been caught, too
        with pytest.raises(KeyboardInterrupt):
            model.predict(x, verbose=0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    np.testing.assert_array_equal(model.predict(x[:300], verbose=0), y[:300])
