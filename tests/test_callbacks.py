"""Callbacks: Keras's behaviour, on a model that only keeps what they do to it."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from nncore import callbacks, metrics
from nncore.callbacks import (
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from nncore.optimizers import SGD, schedules


class Model:
    """The public interface that callbacks use."""

    def __init__(self, learning_rate=0.1):
        self.optimizer = SGD(learning_rate)
        self.stop_training = False
        self.weight = 0
        self.saved = []
        self.metrics = []
        self.history = None

    def get_weights(self):
        return [np.array([self.weight])]

    def set_weights(self, weights):
        self.weight = int(weights[0][0])

    def save(self, path, overwrite=True):
        self.saved.append(("model", path, self.weight))

    def save_weights(self, path, overwrite=True):
        self.saved.append(("weights", path, self.weight))


def run(given, values, monitor="val_loss", model=None, batches=1, more=None):
    """Pretend to fit: one epoch for each value of what is monitored; return model, history."""
    model = model or Model()
    model.stop_training = False
    chain = CallbackList(given, add_history=True, model=model, epochs=len(values))
    chain.on_train_begin()
    for epoch, value in enumerate(values):
        chain.on_epoch_begin(epoch)
        for batch in range(batches):
            chain.on_train_batch_begin(batch)
            chain.on_train_batch_end(batch, {"loss": value})
        model.weight = epoch + 1
        logs = {"loss": 1.0, monitor: value, **(more or {})}
        chain.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    chain.on_train_end(logs)
    return model, chain.history


class Recorder(Callback):
    def __init__(self, name="r", calls=None):
        super().__init__()
        self.name = name
        self.calls = [] if calls is None else calls


for _hook in [h for h in dir(Callback) if h.startswith("on_")]:

    def _record(self, *args, _hook=_hook, **kwargs):
        self.calls.append((self.name, _hook, *args, *kwargs.values()))

    setattr(Recorder, _hook, _record)


def test_list_calls_every_hook_in_order():
    calls = []
    chain = CallbackList([Recorder("a", calls), [Recorder("b", calls)]])
    for hook in [h for h in dir(Callback) if h.startswith("on_")]:
        calls.clear()
        arguments = (3,) if "batch" in hook or "epoch" in hook else ()
        getattr(chain, hook)(*arguments, {"loss": 1.0})
        assert calls == [(n, hook, *arguments, {"loss": 1.0}) for n in "ab"]
        calls.clear()
        getattr(chain, hook)(*arguments)
        assert calls == [(n, hook, *arguments, {}) for n in "ab"]


def test_list_gives_model_and_params():
    model = Model()
    a, b = Recorder(), Recorder()
    chain = CallbackList([a], add_history=True, model=model, epochs=3, steps=4)
    assert a.model is model
    assert a.params == {"epochs": 3, "steps": 4}
    assert isinstance(chain.callbacks[-1], History)
    assert model.history is chain.history
    chain.append(b)
    assert chain.callbacks[-1] is b
    own = History()
    assert CallbackList([own], add_history=True).callbacks == [own]
    assert CallbackList().callbacks == []
    assert CallbackList(a).callbacks == [a]
    assert CallbackList((a, b)).callbacks == [a, b]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Callback(), ""), (History(), ""), (EarlyStopping(), ""), (ModelCheckpoint("a"), ""),
        (ModelCheckpoint("a", save_freq=3), "train"), (TerminateOnNaN(), "train"),
        (ReduceLROnPlateau(), ""), (LearningRateScheduler(lambda e: 0.1), ""),
        (CSVLogger("a"), ""), (LambdaCallback(on_epoch_end=print), ""),
        (LambdaCallback(on_train_batch_end=print), "train"),
        (LambdaCallback(on_test_batch_end=print), "test"),
        (LambdaCallback(on_predict_batch_begin=print), "predict"),
    ],
)  # fmt: skip
def test_needs_batches(made, expected):
    chain = CallbackList([History(), made])
    assert chain.needs_batches is (expected == "train")
    assert chain.needs_test_batches is (expected == "test")
    assert chain.needs_predict_batches is (expected == "predict")


def test_needs_batches_of_subclasses():
    class Old(Callback):
        def on_batch_end(self, batch, logs=None):
            pass

    class Checkpoint(ModelCheckpoint):
        def on_train_batch_end(self, batch, logs=None):
            pass

    assert CallbackList([Old()]).needs_batches
    assert CallbackList([Checkpoint("a")]).needs_batches

    class WithoutInit(Callback):
        def __init__(self):
            pass

    assert WithoutInit().model is None
    CallbackList([WithoutInit()], model=Model(), epochs=1)


def test_list_errors():
    with pytest.raises(
        TypeError, match=r"received the class EarlyStopping; call it: EarlyStopping"
    ):
        CallbackList([EarlyStopping])
    with pytest.raises(TypeError, match=r"must be nncore\.callbacks\.Callback objects"):
        CallbackList([print])
    with pytest.raises(TypeError, match="received 'a'"):
        CallbackList("a")


def test_history():
    model, history = run([], [0.5, 0.4])
    assert history.history == {"loss": [1.0, 1.0], "val_loss": [0.5, 0.4]}
    assert history.epoch == [0, 1]
    assert model.history is history
    run(history, [0.3], model=model)
    assert history.history["val_loss"] == [0.5, 0.4, 0.3]
    assert history.epoch == [0]


# --- EarlyStopping ---


@pytest.mark.parametrize(
    ("arguments", "values", "epochs"),
    [
        ({}, [3, 2, 1], 3),
        ({}, [1, 2, 0], 2),
        ({"patience": 2}, [1, 2, 3, 0], 3),
        ({"patience": 2}, [1, 2, 0.5, 2, 3], 5),
        ({"patience": 1, "min_delta": 0.5}, [3, 2.6, 2.2], 2),
        ({"min_delta": -0.5}, [3, 2.4, 1.8], 3),
        ({"patience": 2, "mode": "max"}, [1, 2, 3, 2, 1, 9], 5),
        ({"patience": 2, "baseline": 0.5}, [0.9, 0.8, 0.7, 0.6], 4),
        ({"patience": 2, "baseline": 0.5}, [0.9, 0.8, 0.85, 0.1], 3),
        ({"patience": 3, "baseline": 0.5}, [0.9, 0.8, 0.4, 0.45, 0.45, 0.45, 0.1], 6),
        ({"start_from_epoch": 2}, [1, 2, 3, 4, 5], 4),
        ({"patience": 2}, [math.nan] * 5, 3),
    ],
)
def test_early_stopping(arguments, values, epochs):
    model, history = run(EarlyStopping(**arguments), values)
    assert len(history.epoch) == epochs
    assert model.stop_training is (epochs < len(values) or values[-1] != min(values))


def test_the_example_of_keras():
    """Four epochs run with a patience of 3 when the loss does not improve after the first."""
    _, history = run(EarlyStopping(monitor="loss", patience=3), [1.0] * 10, monitor="loss")
    assert len(history.epoch) == 4


def test_early_stopping_restores_the_best():
    stop = EarlyStopping(patience=2, restore_best_weights=True)
    model, history = run(stop, [3, 1, 2, 2, 2])
    assert len(history.epoch) == 4
    assert model.weight == 2
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (1, 1, 3)
    model, _ = run(EarlyStopping(patience=9, restore_best_weights=True), [3, 1, 2])
    assert model.weight == 2
    model, _ = run(EarlyStopping(patience=2), [3, 1, 2, 2])
    assert model.weight == 4
    model, _ = run(
        EarlyStopping(patience=9, restore_best_weights=True, start_from_epoch=2), [0, 0, 3, 4]
    )
    assert model.weight == 3
    model, _ = run(EarlyStopping(patience=2, restore_best_weights=True), [math.nan] * 4)
    assert model.weight == 1


def test_early_stopping_is_reusable():
    stop = EarlyStopping(patience=1, restore_best_weights=True)
    run(stop, [1, 2])
    model, history = run(stop, [9, 8, 7, 8])
    assert len(history.epoch) == 4
    assert model.weight == 3
    assert stop.best == 7


def test_early_stopping_says_so(capsys):
    run(EarlyStopping(patience=1, restore_best_weights=True, verbose=1), [1, 2])
    assert capsys.readouterr().out == (
        "Epoch 2: early stopping\nRestoring model weights from the end of the best epoch: 1.\n"
    )


def test_missing_value_is_a_warning():
    text = (
        r'^EarlyStopping: early stopping depends on "val_loss", which is not available\. '
        r"Available: loss; give fit validation_data"
    )
    with pytest.warns(UserWarning, match=text):
        run(EarlyStopping(), [1.0], monitor="loss")


def test_a_slip_in_the_name_gets_a_hint():
    match = r'better when it is larger or smaller; .*; did you mean "val_loss"\?'
    with pytest.raises(ValueError, match=match):
        run(EarlyStopping(monitor="val_los"), [1.0], monitor="val_loss")
    with pytest.warns(UserWarning, match=r'Available: loss, val_mse; did you mean "val_mse"\?'):
        run(EarlyStopping(monitor="mse"), [1.0], monitor="val_mse")


@pytest.mark.parametrize(
    ("monitor", "rising"),
    [
        ("loss", False), ("val_loss", False), ("accuracy", True), ("val_acc", True), ("mse", False),
        ("val_rmse", False), ("val_top_k_categorical_accuracy", True),
        ("mean_absolute_error", False),
    ],
)  # fmt: skip
def test_auto_mode(monitor, rising):
    stop = EarlyStopping(monitor=monitor)
    stop.set_model(Model())
    assert stop.rising is rising


def test_auto_mode_asks_the_models_metrics():
    class Score(metrics.Mean):
        _direction = "up"

    model = Model()
    model.metrics = [metrics.MeanSquaredError(name="mine"), Score(name="score")]
    for monitor, rising in (("val_score", True), ("mine", False)):
        stop = EarlyStopping(monitor=monitor)
        stop.set_model(model)
        assert stop.rising is rising
    with pytest.raises(
        ValueError, match='EarlyStopping: it is not known whether "val_x" is better'
    ):
        run(EarlyStopping(monitor="val_x"), [1.0], monitor="val_x")


# --- ModelCheckpoint ---


def test_checkpoint_every_epoch(tmp_path):
    path = str(tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.safetensors")
    model, _ = run(ModelCheckpoint(path), [0.5, 0.25])
    assert [p for _, p, _ in model.saved] == [
        str(tmp_path / "new" / "01-0.50.safetensors"),
        str(tmp_path / "new" / "02-0.25.safetensors"),
    ]
    assert (tmp_path / "new").is_dir()
    assert {kind for kind, _, _ in model.saved} == {"model"}


def test_checkpoint_best_only(tmp_path, capsys):
    keep = ModelCheckpoint(
        tmp_path / "m", save_best_only=True, save_weights_only=True, verbose=1,
        initial_value_threshold=0.45,
    )  # fmt: skip
    model, _ = run(keep, [0.5, 0.4, 0.45, 0.3])
    assert model.saved == [("weights", str(tmp_path / "m"), w) for w in (2, 4)]
    assert keep.best == 0.3
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Epoch 1: val_loss did not improve from 0.45000"
    assert out[1] == (
        f"Epoch 2: val_loss improved from 0.45000 to 0.40000, saving model to {tmp_path / 'm'}"
    )
    again, _ = run(keep, [0.35, 0.2])
    assert [w for *_, w in again.saved] == [2]
    model, _ = run(ModelCheckpoint(tmp_path / "m", "val_accuracy", save_best_only=True),
                   [0.1, 0.3, 0.2], monitor="val_accuracy")  # fmt: skip
    assert [w for *_, w in model.saved] == [1, 2]


def test_checkpoint_without_the_value(tmp_path):
    keep = ModelCheckpoint(tmp_path / "m", save_best_only=True)
    with pytest.warns(UserWarning, match="saving the best model only depends on"):
        model, _ = run(keep, [0.5], monitor="loss")
    assert len(model.saved) == 1
    with pytest.warns(UserWarning, match="is not one number"):
        model, _ = run(keep, [np.array([0.5, 0.1])])
    assert len(model.saved) == 1


def test_checkpoint_by_batches(tmp_path):
    keep = ModelCheckpoint(str(tmp_path / "{epoch}-{batch}"), save_freq=3)
    model, _ = run(keep, [1.0, 1.0], batches=4)
    assert [p[len(str(tmp_path)) + 1 :] for _, p, _ in model.saved] == ["1-3", "2-2"]
    keep = ModelCheckpoint(tmp_path / "m", "loss", save_freq=1, save_best_only=True)
    model, _ = run(keep, [3.0, 4.0, 2.0])
    assert len(model.saved) == 2


def test_checkpoint_errors(tmp_path):
    with pytest.raises(ValueError, match='save_freq must be "epoch" or a number of batches'):
        ModelCheckpoint("a", save_freq="batch")
    with pytest.raises(ValueError, match="save_freq must be an integer >= 1"):
        ModelCheckpoint("a", save_freq=0)
    with pytest.raises(
        ValueError, match=r"cannot be filled in: KeyError\('mae'\); available: epoch"
    ):
        run(ModelCheckpoint("{mae}"), [1.0])
    with pytest.raises(IsADirectoryError, match="filepath must name a file"):
        run(ModelCheckpoint(tmp_path), [1.0])
    with pytest.raises(
        ValueError, match='ModelCheckpoint: mode must be one of "auto", "min", "max"'
    ):
        ModelCheckpoint("a", mode="down")


# --- learning rate ---


def test_reduce_on_plateau(capsys):
    model, history = run(ReduceLROnPlateau(factor=0.5, patience=2, verbose=1), [1.0] * 6)
    rates = history.history["learning_rate"]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.05, 0.05, 0.025])
    assert model.optimizer.learning_rate == pytest.approx(0.025)
    assert capsys.readouterr().out.splitlines()[0] == (
        "Epoch 3: ReduceLROnPlateau reducing learning rate to 0.05."
    )


def test_reduce_on_plateau_cooldown_and_bounds():
    reduce = ReduceLROnPlateau(factor=0.1, patience=1, cooldown=2, min_lr=0.005)
    _, history = run(reduce, [1.0] * 8)
    np.testing.assert_allclose(
        history.history["learning_rate"], [0.1, 0.1, 0.01, 0.01, 0.005, 0.005, 0.005, 0.005]
    )


def test_reduce_on_plateau_min_delta_and_direction():
    model, _ = run(ReduceLROnPlateau(patience=1), [1.0, 0.99995])
    assert model.optimizer.learning_rate == pytest.approx(0.01)
    model, _ = run(ReduceLROnPlateau(patience=1), [1.0, 0.9998])
    assert model.optimizer.learning_rate == pytest.approx(0.1)
    model, _ = run(ReduceLROnPlateau("val_my_acc", patience=1), [0.1, 0.2], monitor="val_my_acc")
    assert model.optimizer.learning_rate == pytest.approx(0.1)
    model, _ = run(ReduceLROnPlateau("unheard", patience=1), [0.2, 0.1], monitor="unheard")
    assert model.optimizer.learning_rate == pytest.approx(0.1)


def test_reduce_on_plateau_errors():
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau: factor must be .* in \[0, 1\)"):
        ReduceLROnPlateau(factor=1.0)
    with pytest.warns(UserWarning, match="reducing the learning rate depends on"):
        run(ReduceLROnPlateau(), [1.0], monitor="loss")
    model = Model(schedules.CosineDecay(0.1, 10))
    with pytest.raises(TypeError, match="cannot be set to a number"):
        run(ReduceLROnPlateau(patience=1), [1.0, 1.0], model=model)


def test_learning_rate_scheduler(capsys):
    """The example of Keras: ten epochs at 0.01, then five that decay."""

    def schedule(epoch, rate):
        return rate if epoch < 10 else rate * math.exp(-0.1)

    model, history = run(LearningRateScheduler(schedule), [1.0] * 15, model=Model(0.01))
    assert round(model.optimizer.learning_rate, 5) == 0.00607
    assert history.history["learning_rate"][:10] == [0.01] * 10
    model, _ = run(LearningRateScheduler(lambda epoch: 0.5 / (epoch + 1), verbose=1), [1.0] * 2)
    assert model.optimizer.learning_rate == 0.25
    assert capsys.readouterr().out.splitlines()[1] == (
        "Epoch 2: LearningRateScheduler setting learning rate to 0.25."
    )
    with pytest.raises(TypeError, match=r"what schedule\(0\) returns must be a finite number"):
        run(LearningRateScheduler(lambda epoch: None), [1.0])
    with pytest.raises(TypeError, match="schedule must be a function"):
        LearningRateScheduler(0.1)


def test_learning_rate_scheduler_does_not_hide_errors():
    def schedule(epoch, rate):
        raise TypeError("inside")

    with pytest.raises(TypeError, match=r"^inside$"):
        run(LearningRateScheduler(schedule), [1.0])


# --- the others ---


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    run(CSVLogger(path), [0.5, 0.25], more={"b": np.array([1, 2]), "c": "x"})
    assert path.read_text().splitlines() == [
        "epoch,b,c,loss,val_loss",
        '0,"""[1, 2]""",x,1.0,0.5',
        '1,"""[1, 2]""",x,1.0,0.25',
    ]
    run(CSVLogger(path, separator=";"), [0.5])
    assert path.read_text().splitlines() == ["epoch;loss;val_loss", "0;1.0;0.5"]
    run(CSVLogger(path, separator=";", append=True), [0.75])
    assert path.read_text().splitlines()[1:] == ["0;1.0;0.5", "0;1.0;0.75"]


def test_csv_logger_lines_are_there_at_once(tmp_path):
    path = tmp_path / "log.csv"
    log = CSVLogger(path)
    log.set_model(Model())
    log.on_train_begin()
    log.on_epoch_end(0, {"loss": 1.0})
    log.on_epoch_end(1, {"other": 1.0})
    assert path.read_text().splitlines() == ["epoch,loss,val_loss", "0,1.0,NA", "1,NA,NA"]
    assert pickle.loads(pickle.dumps(log)).filename == str(path)
    log.on_train_begin()
    log.on_train_end()
    assert path.read_text() == ""


def test_terminate_on_nan(capsys):
    model, history = run(TerminateOnNaN(), [1.0, math.nan, 1.0])
    assert len(history.epoch) == 2
    assert model.stop_training
    assert capsys.readouterr().out == "Batch 0: Invalid loss, terminating training\n"
    with pytest.raises(RuntimeError, match="batch 0: the loss is inf; training was terminated"):
        run(TerminateOnNaN(raise_error=True), [math.inf])


def test_lambda_callback():
    seen = []
    made = LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(("begin", epoch)),
        on_train_batch_end=lambda batch, logs: seen.append(("batch", batch, logs["loss"])),
        on_train_end=lambda logs: seen.append("end"),
        on_test_begin=lambda logs: seen.append("test"),
        note="kept",
    )
    run(made, [0.5])
    made.on_test_begin({})
    assert seen == [("begin", 0), ("batch", 0, 0.5), "end", "test"]
    assert made.note == "kept"
    with pytest.raises(
        ValueError, match='unknown hook "on_epoch_ends": did you mean "on_epoch_end'
    ):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="LambdaCallback: on_epoch_end must be a function"):
        LambdaCallback(on_epoch_end=3)


def test_defaults_are_keras():
    stop, keep, reduce = EarlyStopping(), ModelCheckpoint("a"), ReduceLROnPlateau()
    assert (stop.monitor, stop.min_delta, stop.patience, stop.mode, stop.baseline) == (
        "val_loss", 0, 0, "auto", None,
    )  # fmt: skip
    assert (keep.monitor, keep.save_freq, keep.save_best_only) == ("val_loss", "epoch", False)
    assert (reduce.factor, reduce.patience, reduce.min_delta, reduce.cooldown) == (0.1, 10, 1e-4, 0)
    assert set(callbacks.__all__) <= set(dir(callbacks))
