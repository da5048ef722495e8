"""Watching a training: what fit(record=nncore.Record(...)) keeps, and what it must not change."""

from __future__ import annotations

import copy
import doctest
import itertools
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from test_trace import DTYPES, build, cases, data, small

import nncore
from nncore import kernels, losses, optimizers
from nncore.callbacks import EarlyStopping, LambdaCallback
from nncore.layers import (
    ELU,
    Activation,
    Dense,
    Dropout,
    Flatten,
    Input,
    LeakyReLU,
    ReLU,
    Rescaling,
    Softmax,
)
from nncore.record import GROUPS, PARTS, STATISTICS
from nncore.watch import RANGES, RECTIFIERS, Watch

EVERYTHING = (*PARTS, *STATISTICS)
OTHER_NAMES = ("steps", "epochs", "rows", "loss")


def digits(
    hidden: str = "relu", dtype: str = "float32", optimizer: Any = "adam", **settings: Any
) -> nncore.Sequential:
    """Return a model of two hidden layers, with weights of its own."""
    layers = [
        Dense(8, activation=hidden, dtype=dtype, name="one"),
        Dense(7, activation=hidden, dtype=dtype, name="two"),
        Dense(3, activation="softmax", dtype=dtype, name="three"),
    ]
    return small(layers, "sparse_categorical_crossentropy", optimizer, dtype=dtype, **settings)


def rows(n: int = 50) -> tuple[Any, Any]:
    x, t, _ = data("sparse_categorical_crossentropy", n, 4, 3)
    return x, t


def fit(model: nncore.Sequential, record: Any, *arguments: Any, **settings: Any) -> Any:
    nncore.set_random_seed(5)
    settings = {"batch_size": 8, "epochs": 2, "verbose": 0, **settings}
    return model.fit(*(arguments or rows()), record=record, **settings)


def assert_same(one: nncore.Sequential, two: nncore.Sequential) -> None:
    np.testing.assert_array_equal(one.parameters, two.parameters)
    assert (one.slots is None) == (two.slots is None)
    if one.slots is not None and two.slots is not None:
        np.testing.assert_array_equal(one.slots, two.slots)
    assert one.optimizer.iterations == two.optimizer.iterations


class TestBits:
    """A training that is recorded is the one that is not, bit for bit."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(("activation", "last", "loss", "optimizer"), list(cases()))
    def test_whatever_is_recorded(
        self, activation: str, last: str, loss: str, optimizer: str, dtype: str
    ) -> None:
        x, t, r = data(loss, 43, 4, 3)
        plain = build(activation, last, loss, optimizer, dtype)
        history = fit(plain, None, x, t, sample_weight=r).history
        for record in (
            nncore.Record(1, EVERYTHING),
            nncore.Record(3, ("gradients", *STATISTICS)),
            nncore.Record(2, ("weights", "activations")),
        ):
            watched = build(activation, last, loss, optimizer, dtype)
            found = fit(watched, record, x, t, sample_weight=r).history
            assert_same(plain, watched)
            assert {name: found[name] for name in history} == history
            assert len(record.steps) == -(-12 // record.every)

    @pytest.mark.parametrize("n_threads", [1, 2, 3])
    @pytest.mark.parametrize(
        "optimizer",
        [lambda: optimizers.Adam(0.01), lambda: optimizers.SGD(0.1, momentum=0.9, clipvalue=0.01),
         lambda: optimizers.RMSprop(0.01, global_clipnorm=0.1)],
    )  # fmt: skip
    def test_threads(self, n_threads: int, optimizer: Callable[[], Any]) -> None:
        rng = np.random.default_rng(3)
        x, t = rng.normal(size=(300, 90)), rng.integers(0, 5, 300)
        found: list[nncore.Record] = []
        models: list[nncore.Sequential] = []
        for threads, record in (
            (1, None), (n_threads, nncore.Record(1, EVERYTHING)), (1, nncore.Record(1, EVERYTHING)),
        ):  # fmt: skip
            layers = [Dense(260, "relu"), Dropout(0.1, seed=2), Dense(200, "tanh"),
                      Dense(5, "softmax")]  # fmt: skip
            nncore.layers.reset_names()
            model = small(layers, "sparse_categorical_crossentropy", optimizer(), dtype="float32",
                          n_in=90, n_threads=threads)  # fmt: skip
            fit(model, record, x, t, batch_size=128, class_weight={0: 2.0, 3: 0.5})
            models.append(model)
            if record is not None:
                found.append(record)
        assert_same(models[0], models[1])
        assert_same(models[0], models[2])
        for name, array in found[0].items():
            np.testing.assert_array_equal(array, found[1][name], err_msg=name)

    def test_a_batch_that_takes_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Gradients are stored first there, and updates come last."""
        from nncore import compiler

        monkeypatch.setattr(compiler, "is_short", lambda *_: False)
        plain, watched = digits(), digits()
        record = nncore.Record(1, EVERYTHING)
        fit(plain, None)
        fit(watched, record)
        assert_same(plain, watched)
        plan = next(e.plan for e, _ in watched._executors.values() if e.plan.n_kept)
        assert [step.op for step in plan.steps][-6:] == ["update"] * 6

    @pytest.mark.parametrize("every", [1, 3])
    def test_settings_that_a_callback_changes(self, every: int) -> None:
        """They hold from the next pass over the data on, recorded or not."""

        def change(batch: int, logs: Any) -> None:
            if batch == 1:
                model.optimizer.momentum = 0.25
                model.get_layer("two").trainable = False

        found = []
        for record in (None, nncore.Record(every)):
            model = digits(optimizer=optimizers.SGD(0.1, momentum=0.75))
            fit(model, record, callbacks=[LambdaCallback(on_train_batch_end=change)])
            found.append(model)
        assert_same(*found)

    def test_the_reference(self) -> None:
        for every in (1, 3):
            plain, watched = digits(engine="reference"), digits(engine="reference")
            record = nncore.Record(every, EVERYTHING)
            fit(plain, None)
            fit(watched, record)
            assert_same(plain, watched)
            assert len(record.steps) == -(-14 // every)


class TestAgainstATrace:
    """The arrays of a recorded step are those of a trace of it, bit for bit."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(("activation", "last", "loss", "optimizer"), list(cases()))
    def test_every_array(
        self, activation: str, last: str, loss: str, optimizer: str, dtype: str
    ) -> None:
        x, t, r = data(loss, 24, 4, 3)
        traced, watched = (build(activation, last, loss, optimizer, dtype) for _ in range(2))
        record = nncore.Record(1, EVERYTHING)
        fit(watched, record, x, t, sample_weight=r, shuffle=False, epochs=1)
        assert list(record.steps) == [0, 1, 2]
        for i in range(3):
            part = slice(8 * i, 8 * i + 8)
            trace = traced.trace(x[part], t[part], r[part], apply=True)
            assert record.loss[i] == trace.loss
            nothing = "bend." if activation == "linear" else None  # it hands on what it gets
            wanted = {
                name
                for name in trace
                if name.partition(".")[2] in PARTS and not name.startswith(nothing or "-")
            }
            kept = {name for name in record if name.rpartition(".")[2] in PARTS}
            assert kept == wanted
            for name in wanted:
                np.testing.assert_array_equal(record[name][i], trace[name], err_msg=name)
            for name in set(record) - wanted - set(OTHER_NAMES):
                layer, _, statistic = name.rpartition(".")
                expected = statistic_of(statistic, layer, trace)
                assert record[name][i] == pytest.approx(expected, rel=1e-12), name

    @pytest.mark.parametrize("what", [*GROUPS, *PARTS, *STATISTICS])
    def test_one_thing_alone(self, what: str) -> None:
        """Steps that nobody needs are left out, and nothing that somebody needs."""
        x, t, r = data("binary_crossentropy", 24, 4, 3)
        for last in ("sigmoid", "softplus"):
            model = build("relu", last, "binary_crossentropy", "adam", "float64")
            both = build("relu", last, "binary_crossentropy", "adam", "float64")
            alone, everything = nncore.Record(1, what), nncore.Record(1, EVERYTHING)
            if what == "saturated" and last == "softplus":
                with pytest.raises(ValueError, match="there is nothing to record"):
                    fit(model, alone, x, t)
                continue
            fit(model, alone, x, t, sample_weight=r)
            fit(both, everything, x, t, sample_weight=r)
            assert_same(model, both)
            for name, array in alone.items():
                np.testing.assert_array_equal(array, everything[name], err_msg=name)


def statistic_of(statistic: str, layer: str, trace: Any) -> float:
    """Return a statistic of a layer from a trace's arrays."""
    names = {"gradient_norm": ("dw", "db"), "weight_norm": ("w", "b")}.get(statistic)
    if names is not None:
        found = [trace[f"{layer}.{name}"] for name in names if f"{layer}.{name}" in trace]
        return float(np.sqrt(sum(np.square(a, dtype=np.float64).sum() for a in found)))
    y = trace[f"{layer}.y"]
    if statistic == "dead":
        return float(np.mean([not y[:, j].any() for j in range(y.shape[1])]))
    low, high = RANGES[trace.layer(layer).activation]
    near = 0.01 * (high - low)
    low, high = np.asarray([low + near, high - near], y.dtype)
    return float(np.mean((y <= low) | (y >= high)))


class TestAgainstTheReference:
    """Every recorded array and number is what plain NumPy computes."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(("activation", "last", "loss", "optimizer"), list(cases()))
    def test_every_array(
        self, activation: str, last: str, loss: str, optimizer: str, dtype: str
    ) -> None:
        x, t, r = data(loss, 20, 4, 3)
        found: list[nncore.Record] = []
        for engine in ("compiled", "reference"):
            model = build(activation, last, loss, optimizer, dtype, engine=engine)
            found.append(nncore.Record(2, EVERYTHING))
            fit(model, found[-1], x, t, sample_weight=r, epochs=1)
        kernel, plain = found
        assert list(kernel) == list(plain)
        scale = 1e4 if dtype == "float32" else 1e5
        tolerance = scale * float(np.finfo(dtype).eps)
        for name, array in kernel.items():
            expected = plain[name]
            size = max(1.0, float(np.nanmax(np.abs(expected))))
            assert array.shape == expected.shape
            assert array.dtype == expected.dtype
            np.testing.assert_allclose(
                array, expected, rtol=tolerance, atol=tolerance * size, err_msg=name
            )


class TestSteps:
    def test_which_are_recorded(self) -> None:
        record = nncore.Record(3, "gradient_norm")
        fit(digits(), record)  # 7 steps an epoch, the last one of 2 rows
        assert record.steps.tolist() == [0, 3, 6, 9, 12]
        assert record.epochs.tolist() == [0, 0, 0, 1, 1]
        assert record.rows.tolist() == [8, 8, 2, 8, 8]
        assert record.steps.dtype == np.int64
        assert record["one.gradient_norm"].shape == (5,)

    def test_every_few_is_a_part_of_all(self) -> None:
        records = {every: nncore.Record(every, EVERYTHING) for every in (1, 2, 5, 100)}
        for record in records.values():
            fit(digits(), record)
        for every, record in records.items():
            for name, array in record.items():
                np.testing.assert_array_equal(array, records[1][name][::every], err_msg=name)

    def test_the_loss_is_that_of_the_history(self) -> None:
        record = nncore.Record(1, "w")
        history = fit(digits(), record).history
        for epoch, loss in enumerate(history["loss"]):
            mine = record.epochs == epoch
            mean = np.average(record.loss[mine], weights=record.rows[mine])
            assert mean == pytest.approx(loss, rel=1e-12)

    def test_weights_are_those_before_the_step(self) -> None:
        model = digits(optimizer=optimizers.SGD(0.1))
        start = model.get_weights()
        record = nncore.Record(1, ("weights", "gradients"))
        fit(model, record)
        np.testing.assert_array_equal(record["one.w"][0], start[0])
        np.testing.assert_allclose(
            record["one.w"][1:], record["one.w"][:-1] - 0.1 * record["one.dw"][:-1], rtol=1e-5,
            atol=1e-7,
        )  # fmt: skip

    def test_a_gradient_is_that_before_clipping(self) -> None:
        records = []
        for clip in ({}, {"clipnorm": 1e-3}):
            record = nncore.Record(1, ("gradients", "gradient_norm"))
            fit(digits(optimizer=optimizers.SGD(0.1, **clip)), record)
            records.append(record)
        np.testing.assert_array_equal(records[0]["two.dw"][0], records[1]["two.dw"][0])
        assert records[1]["two.gradient_norm"][0] > 1e-2

    def test_a_short_batch_is_filled_up(self) -> None:
        record = nncore.Record(1, "activations")
        fit(digits(), record)
        y = record["one.y"]
        assert y.shape == (14, 8, 8)
        assert np.isnan(y[6, 2:]).all()
        assert not np.isnan(y[6, :2]).any()
        assert not np.isnan(y[7]).any()

    def test_a_fit_begins_anew(self) -> None:
        record = nncore.Record(1, "w")
        model = digits()
        fit(model, record)
        fit(model, record, epochs=1)
        assert record.steps.tolist() == list(range(7))
        assert not np.array_equal(record["one.w"][0], digits().get_weights()[0])

    def test_no_epochs(self) -> None:
        record = nncore.Record(1, EVERYTHING)
        history = fit(digits(), record, epochs=0)
        assert history.history == {}
        assert record.steps.shape == (0,)
        assert record["one.w"].shape == (0, 4, 8)


class TestWorksWith:
    def test_batches_of_any_length(self) -> None:
        """A generator of which nobody knows how long it is, with batches of all sizes."""
        x, t = rows(60)
        cuts = [0, 5, 6, 18, 30, 33, 60]
        plain, watched = digits(), digits()

        def batches() -> Iterator[Any]:
            for a, b in itertools.pairwise(cuts):
                yield x[a:b], t[a:b]

        plain.fit(batches(), verbose=0)
        record = nncore.Record(1, EVERYTHING)
        watched.fit(batches(), verbose=0, record=record)
        assert_same(plain, watched)
        sizes = np.diff(cuts)
        assert record.rows.tolist() == sizes.tolist()
        y = record["one.y"]
        assert y.shape == (6, 27, 8)
        for one, n in zip(y, sizes, strict=True):
            assert not np.isnan(one[:n]).any()
            assert np.isnan(one[n:]).all()
        assert record["one.x"][2][:12] == pytest.approx(x[6:18], rel=1e-6)

    def test_a_data_set_of_batches(self) -> None:
        class Set:
            def __len__(self) -> int:
                return 5

            def __getitem__(self, i: int) -> Any:
                x, t = rows(50)
                return x[10 * i : 10 * i + 10], t[10 * i : 10 * i + 10]

        record = nncore.Record(2, EVERYTHING)
        history = fit(digits(), record, Set(), batch_size=None, epochs=3)
        assert record.steps.tolist() == list(range(0, 15, 2))
        assert record.epochs.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
        assert len(history.history["one/dead"]) == 3

    def test_steps_per_epoch(self) -> None:
        record = nncore.Record(2, "w")
        fit(digits(), record, *rows(48), steps_per_epoch=3, epochs=4)
        assert record.steps.tolist() == [0, 2, 4, 6, 8, 10]
        assert record.epochs.tolist() == [0, 0, 1, 2, 2, 3]

    def test_callbacks_of_batches_and_validation(self) -> None:
        """One step at a time: a metric in Python, batch hooks, a training in between."""
        x, t = rows()
        seen: list[Any] = []

        def train(step: int, logs: Any) -> None:
            seen.append((step, sorted(logs)))
            if step == 2:
                model.train_on_batch(x[:4], t[:4])

        found = []
        for record in (None, nncore.Record(3, EVERYTHING)):
            seen.clear()
            model = digits(metrics=["accuracy", lambda a, b: np.mean(a == b.argmax(1))])
            history = fit(
                model, record, validation_data=(x, t),
                callbacks=[LambdaCallback(on_train_batch_end=train)],
            )  # fmt: skip
            found.append((model, list(seen), history))
        assert_same(found[0][0], found[1][0])
        assert found[0][1] == found[1][1]  # the logs of batches have no statistics
        assert record is not None
        assert record.steps.tolist() == [0, 3, 6, 9, 12]  # steps of fit, not of train_on_batch
        assert "val_loss" in found[1][2].history
        assert not [name for name in found[1][2].history if name.startswith("val_one")]

    def test_early_stopping_by_a_statistic(self) -> None:
        record = nncore.Record(1, ("dead", "w"))
        history = fit(
            digits(), record, epochs=50,
            callbacks=[EarlyStopping("one/dead", patience=1, mode="min")],
        )  # fmt: skip
        epochs = len(history.epoch)
        assert epochs < 50
        assert len(record.steps) == 7 * epochs
        assert record["one.w"].base is None or record["one.w"].base.nbytes < 2 * record.nbytes

    def test_ctrl_c(self) -> None:
        """What was recorded so far stays."""
        for every in (1, 2):
            record = nncore.Record(every, EVERYTHING)
            model, other = digits(), digits()

            def stop(step: int, logs: Any) -> None:
                if step == 4:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                fit(model, record, callbacks=[LambdaCallback(on_train_batch_end=stop)])
            assert record.steps.tolist() == list(range(0, 5, every))
            again = nncore.Record(every, EVERYTHING)
            fit(other, again)
            for name, array in record.items():
                np.testing.assert_array_equal(array, again[name][: len(array)], err_msg=name)
            fit(model, record)  # and it can be used again
            assert len(record.steps) == -(-14 // every)

    def test_ctrl_c_inside_a_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The executor was interrupted after three steps: the losses tell."""
        model, other = digits(), digits()
        record, again = nncore.Record(2, EVERYTHING), nncore.Record(2, EVERYTHING)
        run = type(model)._slice

        def interrupted(
            self: Any, executor: Any, rows: Any, order: Any, begin: int, end: int, size: int,
            **rest: Any,
        ) -> int:  # fmt: skip
            run(self, executor, rows, order, begin, begin + 3 * size, size, **rest)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(type(model), "_slice", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fit(model, record)
        assert model.optimizer.iterations == 3
        assert record.steps.tolist() == [0, 2]
        fit(other, again)
        for name, array in record.items():
            np.testing.assert_array_equal(array, again[name][:2], err_msg=name)

    def test_an_error_of_a_callback(self) -> None:
        record = nncore.Record(1, "w")

        def fail(epoch: int, logs: Any) -> None:
            raise RuntimeError("of the callback")

        model = digits()
        with pytest.raises(RuntimeError, match="of the callback"):
            fit(model, record, callbacks=[LambdaCallback(on_epoch_end=fail)])
        assert len(record.steps) == 7
        fit(model, record)
        assert len(record.steps) == 14

    def test_frozen_layers(self) -> None:
        model = digits()
        model.get_layer("two").trainable = False
        record = nncore.Record(1, EVERYTHING)
        fit(model, record)
        assert "two.w" in record
        assert "two.dz" in record
        assert (record["two.w"] == record["two.w"][0]).all()
        assert not {"two.dw", "two.db", "two.gradient_norm"} & set(record)
        with pytest.raises(KeyError, match=r'"two.dw" is not recorded: .*trainable=False'):
            record["two.dw"]

    @pytest.mark.parametrize("every", [1, 3])
    def test_a_layer_frozen_on_the_way(self, every: int) -> None:
        def freeze(epoch: int, logs: Any) -> None:
            model.get_layer("two").trainable = epoch != 1

        for record in (None, nncore.Record(every, ("gradients", "gradient_norm", "w"))):
            model = digits()
            history = fit(
                model, record, epochs=3, callbacks=[LambdaCallback(on_epoch_begin=freeze)]
            )
            if record is None:
                plain = model
        assert record is not None
        assert_same(plain, model)
        frozen = record.epochs == 1
        assert np.isnan(record["two.dw"][frozen]).all()
        assert not np.isnan(record["two.dw"][~frozen]).any()
        np.testing.assert_array_equal(np.isnan(record["two.gradient_norm"]), frozen)
        assert not np.isnan(record["one.dw"]).any()
        assert np.isnan(history.history["two/gradient_norm"]).tolist() == [False, True, False]

    def test_all_frozen(self) -> None:
        model = digits()
        for layer in model.layers:
            layer.trainable = False
        record = nncore.Record(1, EVERYTHING)
        fit(model, record)
        assert not [name for name in record if name.endswith((".dw", ".db"))]
        assert np.isfinite(record["one.dx"][0]).all()

    def test_full_batches_of_gd(self) -> None:
        record = nncore.Record(1, ("gradients", "activations"))
        model = digits(optimizer="gd")
        x, t = rows()
        fit(model, record, batch_size=None, epochs=3, shuffle=False)
        assert record.rows.tolist() == [50, 50, 50]
        np.testing.assert_array_equal(record["one.dw"][0], digits().gradients(x, t)["one.kernel"])

    def test_going_on(self) -> None:
        model = digits()
        record = nncore.Record(2, "gradient_norm")
        history = fit(model, record, initial_epoch=3, epochs=5)
        assert record.steps.tolist() == list(range(0, 14, 2))
        assert set(record.epochs.tolist()) == {3, 4}
        assert len(history.history["one/gradient_norm"]) == 2

    @pytest.mark.parametrize("kind", ["uint8", "float16", "int64", ">f8"])
    def test_data_of_any_kind(self, kind: str) -> None:
        x, t = rows()
        x = (10 * np.abs(x)).astype(kind)
        plain, watched = digits(), digits()
        fit(plain, None, x, t)
        record = nncore.Record(1, EVERYTHING)
        fit(watched, record, x, t, shuffle=True)
        assert_same(plain, watched)
        assert record["one.x"].dtype == np.float32

    def test_layers_that_do_nothing_are_left_out(self) -> None:
        model = small(
            [Flatten(name="flat"), Dropout(0.0, name="drop"), Activation("linear", name="same"),
             Dense(3, name="line"), Softmax(name="soft")],
            "categorical_crossentropy", "sgd", dtype="float32",
        )  # fmt: skip
        record = nncore.Record(1, EVERYTHING)
        x, t, _ = data("categorical_crossentropy", 16, 4, 3)
        fit(model, record, x, t)
        layers = {name.partition(".")[0] for name in record} - set(OTHER_NAMES)
        assert layers == {"line", "soft"}
        assert "soft.dy" not in record  # the loss takes it in
        assert "soft.dx" in record
        with pytest.raises(KeyError, match="it hands on what it gets"):
            record["flat.y"]

    def test_chosen_layers(self) -> None:
        record = nncore.Record(1, ("gradients", "dead"), layers="two")
        history = fit(digits(), record)
        assert set(record) == {*OTHER_NAMES, "two.dw", "two.db", "two.dead"}
        assert sorted(history.history) == ["loss", "two/dead"]

    def test_slices_of_one_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The executor returns after its time, wherever that is."""
        from nncore import training

        whole, parts = nncore.Record(3, EVERYTHING), nncore.Record(3, EVERYTHING)
        fit(digits(), whole)
        monkeypatch.setattr(training, "SLICE", 0.0)
        fit(digits(), parts)
        for name, array in whole.items():
            np.testing.assert_array_equal(array, parts[name], err_msg=name)


class TestStatistics:
    def test_what_dead_is(self) -> None:
        layers = [
            Dense(4, activation="relu", name="relu"),
            ReLU(max_value=6, name="six"),
            LeakyReLU(0.0, name="stiff"),
            ELU(0.0, name="stiffer"),
            LeakyReLU(0.1, name="leaky"),
            Dense(1, name="out"),
        ]
        model = small(layers, "mse", optimizers.SGD(0.0), dtype="float32", n_in=1)
        kernel = [[1.0, -1.0, 1.0, 0.0]]
        model.get_layer("relu").set_weights([kernel, [0.0, 0.0, -9.0, 0.0]])
        record = nncore.Record(1, "dead")
        history = model.fit([[1.0], [2.0]], [[0.0], [0.0]], verbose=0, record=record)
        # On these two rows only the first unit is more than 0.
        wanted = {"relu", "six", "stiff", "stiffer"}
        assert set(record.by_layer("dead")) == wanted
        assert {name: float(v[0]) for name, v in record.by_layer("dead").items()} == dict.fromkeys(
            wanted, 0.75
        )
        assert history.history["relu/dead"] == [0.75]

    def test_what_saturated_is(self) -> None:
        for kind, (low, high) in RANGES.items():
            layers = [Dense(1, activation=kind, name="line")]
            model = small(layers, "mse", optimizers.SGD(0.0), dtype="float64", n_in=1)
            model.set_weights([[[1.0]], [0.0]])
            x = np.array([[-300.0], [-1.0], [0.0], [1.0], [300.0], [301.0]])
            record = nncore.Record(1, ("saturated", "activations"))
            model.fit(x, 0 * x, verbose=0, record=record, shuffle=False)
            y = record["line.y"][0]
            assert low <= y.min() < low + 0.01 * (high - low)
            assert high - 0.01 * (high - low) < y.max() <= high
            assert record["line.saturated"].tolist() == [0.5]

    def test_the_tables_hold(self) -> None:
        """The activations that are said to flatten out do so, and no other does."""
        far = np.array([-1e4, 1e4])
        for name in kernels.activations():
            if name == "softmax":
                continue
            y, slope = kernels.activate(name, far), kernels.activate_derivative(name, far)
            flat = bool((np.abs(slope) < 1e-6).all())
            bounded = bool((np.abs(y) < 100).all())
            assert (name in RANGES) == (flat and bounded and name != "relu6"), name
            if name in RANGES:
                np.testing.assert_allclose(y, RANGES[name], atol=1e-3)
            below = kernels.activate(name, np.array([-3.0, -1.0, -1e-3]))
            slopes = kernels.activate_derivative(name, np.array([-3.0, -1.0, -1e-3]))
            assert (name in RECTIFIERS) == bool((below == 0).all() and (slopes == 0).all()), name

    def test_the_history_has_the_means(self) -> None:
        record = nncore.Record(2, ("gradient_norm", "dead", "gradients"))
        seen: list[dict[str, float]] = []
        history = fit(
            digits(), record, epochs=3,
            callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))],
        ).history  # fmt: skip
        assert sorted(history) == [
            "loss", "one/dead", "one/gradient_norm", "three/gradient_norm", "two/dead",
            "two/gradient_norm",
        ]  # fmt: skip
        for name in set(history) - {"loss"}:
            series = record[name]
            means = [series[record.epochs == epoch].mean() for epoch in range(3)]
            np.testing.assert_allclose(history[name], means, rtol=1e-12)
            assert [logs[name] for logs in seen] == history[name]

    def test_without_statistics_the_history_is_as_ever(self) -> None:
        for record in (None, nncore.Record(1, ("gradients", "weights", "activations"))):
            assert list(fit(digits(), record).history) == ["loss"]

    def test_an_epoch_without_a_recorded_step(self) -> None:
        record = nncore.Record(10, "gradient_norm")
        history = fit(digits(), record, epochs=3)
        assert record.epochs.tolist() == [0, 1, 2]
        history = fit(digits(), record, epochs=3, batch_size=25)
        assert np.isnan(history.history["one/gradient_norm"]).tolist() == [False, True, True]

    def test_the_progress_line_is_not_flooded(self, capsys: pytest.CaptureFixture[str]) -> None:
        fit(digits(), nncore.Record(1, STATISTICS), verbose=2)
        shown = capsys.readouterr().out
        assert "loss: " in shown
        assert "gradient_norm" not in shown

    def test_a_broken_net(self) -> None:
        """Numbers that are not finite are recorded as they are."""
        model = digits(optimizer=optimizers.SGD(1e30), hidden="linear")
        record = nncore.Record(1, EVERYTHING)
        with pytest.warns(RuntimeWarning, match="loss became"):
            fit(model, record)
        assert not np.isfinite(record["one.gradient_norm"][-1])
        assert not np.isfinite(record.loss[-1])


class TestMemory:
    def need(self, record: nncore.Record) -> int:
        """Return the bytes that a record says it would need."""
        with pytest.raises(ValueError, match="the record would need") as caught:
            fit(digits(), record)
        return int(re.findall(r"max_bytes=(\d+)\)$", str(caught.value))[0])

    def test_what_it_needs_is_known_before(self) -> None:
        model = digits()
        before = model.parameters.copy()
        record = nncore.Record(1, EVERYTHING, max_bytes=1000)
        need = self.need(record)
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            fit(model, record)
        text = str(caught.value)
        assert text.startswith("fit: the record would need 63.5 kB, 14 steps of 4.54 kB, and")
        assert "Record fewer steps;" in text
        np.testing.assert_array_equal(before, model.parameters)
        assert model.optimizer.iterations == 0
        assert list(record) == []
        enough = nncore.Record(1, EVERYTHING, max_bytes=need)
        fit(model, enough)
        assert enough.nbytes == need
        assert self.need(nncore.Record(1, EVERYTHING, max_bytes=need - 1)) == need

    def test_the_advice_is_right(self) -> None:
        with pytest.raises(ValueError, match="the record would need") as caught:
            fit(digits(), nncore.Record(2, "gradients", max_bytes=2000))
        found = re.search(r"every=(\d+)", str(caught.value))
        assert found is not None
        record = nncore.Record(int(found[1]), "gradients", max_bytes=2000)
        fit(digits(), record)
        assert record.nbytes <= 2000

    def test_a_model_that_is_not_built_stays_so(self) -> None:
        model = nncore.Sequential([Dense(500, activation="relu"), Dense(3, name="out")])
        model.compile("sgd", "mse")
        x, t, _ = data("mse", 40, 100, 3)
        with pytest.raises(ValueError, match="would need"):
            fit(model, nncore.Record(max_bytes=10_000), x, t)
        with pytest.raises(ValueError, match="nothing to record"):
            fit(model, nncore.Record(what="saturated"), x, t)
        with pytest.raises(ValueError, match='unknown layer "outt": did you mean "out"'):
            fit(model, nncore.Record(layers=["outt"]), x, t)
        assert not model.built
        fit(model, nncore.Record(), x, t)

    def test_batches_of_unknown_number(self) -> None:
        """It stops before it takes more than it may, the model as the last step left it."""
        x, t = rows(8)
        record = nncore.Record(2, "gradients", max_bytes=3000)
        each = 8 * 4 + 4 * (4 * 8 + 8 + 8 * 7 + 7 + 7 * 3 + 3)
        most = 3000 // each
        model, other = digits(), digits()

        def forever() -> Iterator[Any]:
            while True:
                yield x, t

        with pytest.raises(RuntimeError, match=f"no room for step {2 * most}: {most} steps take"):
            model.fit(forever(), verbose=0, record=record)
        assert record.nbytes == most * each <= 3000
        assert len(record.steps) == most == 5
        assert model.optimizer.iterations == 2 * most
        for _ in range(2 * most):
            other.train_on_batch(x, t)
        assert_same(model, other)
        np.testing.assert_array_equal(record["one.dw"][0], digits().gradients(x, t)["one.kernel"])

    def test_what_grows_is_one_series(self) -> None:
        """Blocks behind each other, here of a few steps each."""
        x, t = rows(8)

        def some() -> Iterator[Any]:
            for _ in range(9):
                yield x, t

        found = []
        for chunk in (1, 3000, 1 << 20):
            from nncore import watch

            record = nncore.Record(1, EVERYTHING)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(watch, "_CHUNK", chunk)
                digits().fit(some(), verbose=0, record=record)
            found.append(record)
            assert len(record.steps) == 9
        assert len(found[0]._blocks) == 9
        for name, array in found[0].items():
            for other in found[1:]:
                np.testing.assert_array_equal(array, other[name], err_msg=name)

    def test_one_record_for_two_trainings_at_once(self) -> None:
        record = nncore.Record()

        def again(epoch: int, logs: Any) -> None:
            fit(digits(), record)

        model = digits()
        with pytest.raises(RuntimeError, match="being filled by another fit"):
            fit(model, record, callbacks=[LambdaCallback(on_epoch_begin=again)])
        inner = nncore.Record()
        fit(model, record, callbacks=[LambdaCallback(
            on_epoch_begin=lambda epoch, logs: fit(digits(), inner))])  # fmt: skip
        assert len(record.steps) == len(inner.steps) == 14


class TestMapping:
    def test_names(self) -> None:
        record = nncore.Record(1, ("gradients", "weights", "gradient_norm"))
        fit(digits(), record)
        assert list(record)[:9] == [
            *OTHER_NAMES, "one.w", "one.b", "one.dw", "one.db", "one.gradient_norm",
        ]  # fmt: skip
        assert len(record) == len(list(record)) == 4 + 3 * 5
        for other in ("one.kernel", "one/w", "one/kernel"):
            assert other in record
            np.testing.assert_array_equal(record[other], record["one.w"])
        np.testing.assert_array_equal(record["one/gradient_norm"], record["one.gradient_norm"])
        assert "one.y" not in record
        assert 3 not in record
        for array in record.values():
            assert not array.flags.writeable

    def test_by_layer(self) -> None:
        record = nncore.Record(2, ("gradients", "gradient_norm", "weights"))
        fit(digits(), record)
        curves = record.by_layer("gradient_norm")
        assert list(curves) == ["one", "two", "three"]
        assert all(series.shape == record.steps.shape for series in curves.values())
        np.testing.assert_array_equal(record.by_layer("kernel")["two"], record["two.w"])
        at = record.by_layer("dw", step=4)
        np.testing.assert_array_equal(at["two"], record["two.dw"][2])
        np.testing.assert_array_equal(record.by_layer("dw", step=-1)["one"], record["one.dw"][-1])
        with pytest.raises(KeyError, match="step 3 is not recorded; those that are: 0 to 12, ev"):
            record.by_layer("dw", step=3)
        with pytest.raises(KeyError, match='unknown word in this record "gradientnorm": did you'):
            record.by_layer("gradientnorm")
        with pytest.raises(TypeError, match="step must be an integer"):
            record.by_layer("dw", step=1.5)  # type: ignore[arg-type]

    def test_as_dict_and_file(self, tmp_path: Path) -> None:
        record = nncore.Record(2, EVERYTHING)
        fit(digits(), record)
        copies = record.to_dict()
        assert list(copies) == list(record)
        copies["one.w"][...] = 7
        assert not (record["one.w"] == 7).any()
        path = tmp_path / "run.npz"
        path.write_text("old")
        record.save(path)
        assert os.listdir(tmp_path) == ["run.npz"]
        with np.load(path, allow_pickle=False) as stored:
            assert set(stored) == set(record)
            for name, array in record.items():
                np.testing.assert_array_equal(stored[name], array)
                assert stored[name].dtype == array.dtype
        with pytest.raises(FileNotFoundError, match="the record cannot be saved as"):
            record.save(tmp_path / "no" / "run.npz")

    def test_repr_and_str(self) -> None:
        record = nncore.Record(7, ("gradient_norm",))
        assert repr(record) == "<Record every=7, what=('gradient_norm',): nothing recorded yet>"
        assert str(record) == repr(record)[1:-1]
        fit(digits(), record)
        assert repr(record) == (
            "<Record every=7, what=('gradient_norm',): 2 steps, 3 layers, 7 arrays, 112 bytes>"
        )
        assert re.search(r"one.gradient_norm +2 +16 bytes", str(record))

    def test_copies(self) -> None:
        record = nncore.Record(1, EVERYTHING)
        fit(digits(), record)
        for other in (copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
            assert other != record
            assert list(other) == list(record)
            np.testing.assert_array_equal(other["one.dw"], record["one.dw"])
            fit(digits(), other)

    def test_before_it_is_filled(self, tmp_path: Path) -> None:
        record = nncore.Record()
        assert list(record) == []
        assert len(record) == 0
        assert record.nbytes == 0
        assert record.steps.shape == (0,)
        assert record.to_dict() == {}
        for call in (lambda: record["one.dw"], lambda: record.by_layer("dw")):
            with pytest.raises(KeyError, match="nothing is recorded yet: give it to fit"):
                call()
        with pytest.raises(ValueError, match="nothing is recorded yet"):
            record.save(tmp_path / "run.npz")


class TestErrors:
    @pytest.mark.parametrize(
        ("settings", "error", "text"),
        [
            ({"every": 0}, ValueError, "Record: every must be an integer >= 1; received every=0"),
            ({"every": 1.5}, TypeError, "Record: every must be an integer >= 1"),
            ({"every": True}, TypeError, "Record: every must be an integer >= 1"),
            ({"what": "gradient"}, ValueError,
             'what: unknown word "gradient": did you mean "gradients"? Known: '),
            ({"what": ("weights", "ww")}, ValueError, 'unknown word "ww": did you mean "w"?'),
            ({"what": ()}, ValueError, "what must name something to record"),
            ({"what": 3}, TypeError, "what must be a word or a sequence of words"),
            ({"what": (1, 2)}, TypeError, "what must be a word or a sequence of words"),
            ({"layers": 3}, TypeError, "layers must be a word or a sequence of words"),
            ({"max_bytes": 0}, ValueError, "max_bytes must be an integer >= 1"),
            ({"max_bytes": "1 GB"}, TypeError, "max_bytes must be an integer >= 1"),
        ],
    )  # fmt: skip
    def test_settings(self, settings: Any, error: type[Exception], text: str) -> None:
        with pytest.raises(error) as caught:
            nncore.Record(**settings)
        assert text in str(caught.value)

    @pytest.mark.parametrize("record", [True, "gradients", nncore.Record, {"every": 1}])
    def test_of_another_kind(self, record: Any) -> None:
        model = digits()
        before = model.parameters.copy()
        with pytest.raises(TypeError, match=r"fit: record must be an nncore\.Record") as caught:
            fit(model, record)
        assert ("call it: record=nncore.Record()" in str(caught.value)) == isinstance(record, type)
        np.testing.assert_array_equal(before, model.parameters)

    def test_unknown_layer(self) -> None:
        with pytest.raises(ValueError, match='fit: record: unknown layer "on": did you mean "one"'):
            fit(digits(), nncore.Record(layers=("on", "two")))

    def test_nothing_to_record(self) -> None:
        with pytest.raises(ValueError, match=r"no layer of one has any of what=\(\'saturated\',\)"):
            fit(digits(), nncore.Record(what="saturated", layers="one"))

    def test_names_that_are_not_there(self) -> None:
        record = nncore.Record(1, ("gradients", "dead", "b"))
        model = small(
            [Dense(5, activation="tanh", use_bias=False, name="one"), Dense(3, name="two")], "mse",
            "sgd", dtype="float32",
        )  # fmt: skip
        x, t, _ = data("mse", 8, 4, 3)
        fit(model, record, x, t)
        for name, text in (
            (
                "one.dead",
                '"one.dead" is not recorded: layer "one" has none (Dense, activation tanh',
            ),
            (
                "one.db",
                '"one.db" is not recorded: layer "one" has none (Dense, activation tanh, no bias)',
            ),
            ("one.y", "what=('gradients', 'dead', 'b') does not ask for it. Known: dw"),
            ("one.dww", 'unknown name in this record "one.dww": did you mean "one.dw"? Known: '),
            ("on.dw", 'did you mean "one.dw"?'),
            (3, "names are strings such as 'one.dw'; received 3"),
        ):
            with pytest.raises(KeyError) as caught:
                record[name]  # type: ignore[index]
            assert text in str(caught.value)

    def test_a_large_net_does_not_list_all_its_names(self) -> None:
        layers = [Dense(2, name=f"layer{i}") for i in range(30)]
        record = nncore.Record(1, ("gradients", "weights"))
        x, t, _ = data("mse", 8, 4, 2)
        fit(small(layers, "mse", "sgd", dtype="float32"), record, x, t)
        with pytest.raises(KeyError) as caught:
            record["layr7.dw"]
        assert 'unknown layer in this record "layr7": did you mean "layer7"?' in str(caught.value)
        with pytest.raises(KeyError) as caught:
            record["layer7.dzz"]
        assert len(str(caught.value)) < 500


class TestPlan:
    def test_updates_stay_in_the_epilogue_where_no_gradient_is_wanted(self) -> None:
        model = digits()
        fit(model, nncore.Record(1, ("weights", "activations", "dead")))
        plans = [executor.plan for executor, _ in model._executors.values()]
        (watching,) = [plan for plan in plans if plan.n_kept]
        assert not any(b.arena == "gradients" for b in watching.buffers)
        assert [s.update for s in watching.steps if s.op == "dense_backward_weights"] == [True] * 3

    def test_a_record_of_the_same_things_needs_no_new_executor(self) -> None:
        model = digits()
        for _ in range(4):
            fit(model, nncore.Record(2, "gradient_norm"))
        assert len(model._executors) == 2

    def test_only_what_is_needed_is_computed(self) -> None:
        model = digits()
        fit(model, nncore.Record(1, "gradient_norm"))
        (watching,) = [e.plan for e, _ in model._executors.values() if e.plan.n_observed]
        ops = [step.op for step in watching.steps]
        assert ops.count("dense") == 3
        assert ops.count("dense_backward_data") == 2
        assert "activate" not in ops

    def test_a_watch_counts(self) -> None:
        record = nncore.Record(4, "w")
        watch = Watch(
            record, digits().layers, (4,), loss=losses.SparseCategoricalCrossentropy(),
            dtype="float32", rows=8, steps=10, label="it",
        )  # fmt: skip
        watch.begin()
        assert watch.upcoming(8, 10) == (True, 10)
        watch.done(np.zeros(3), 8, 24, None)
        assert watch.upcoming(8, 1) == (False, 1)
        assert watch.upcoming(8, 7) == (True, 7)


def test_importing_nncore_imports_none_of_it(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    run = python("import sys, nncore; print(*sorted(m for m in sys.modules if 'nncore' in m))")
    assert not {"nncore.watch", "nncore.trace"} & set(run.stdout.split())


def test_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    """What docs/record.md shows is what comes."""
    path = Path(__file__).parents[1] / "docs" / "record.md"
    if not path.exists():
        pytest.skip("docs/ is not beside tests/")
    text = path.read_text(encoding="utf-8")
    examples = "".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    found = doctest.DocTestParser().get_doctest(examples, {}, "record.md", "record.md", 0)
    assert len(found.examples) > 10
    options = np.get_printoptions()
    try:
        results = doctest.DocTestRunner().run(found)
    finally:
        np.set_printoptions(**options)
    assert results.failed == 0, capsys.readouterr().out


def test_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    found = doctest.DocTestFinder().find(nncore.Record, "Record", globs={})
    runner = doctest.DocTestRunner()
    for test in found:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out


def test_rescaling_and_dropout_have_outputs() -> None:
    layers = [Rescaling(0.5, name="scale"), Dense(5, name="a"), Dropout(0.5, seed=1, name="drop"),
              Dense(3, name="b")]  # fmt: skip
    model = nncore.Sequential([Input((4,)), *layers])
    model.compile("sgd", "mse")
    record = nncore.Record(1, "activations")
    x, t, _ = data("mse", 8, 4, 3)
    fit(model, record, x, t)
    assert list(record.by_layer("y")) == ["scale", "a", "drop", "b"]
    assert (record["drop.y"] == 0).any()
