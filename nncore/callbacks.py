"""Callbacks: what is called back during ``fit``, ``evaluate`` and ``predict``.

Hooks, arguments and behaviour are Keras's.  A callback sees the model through ``self.model``
and may set ``self.model.stop_training = True``.  One that defines a hook for batches makes
``fit`` come back to Python after every step; the others cost nothing a step.
"""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import _names, progress

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]

if not TYPE_CHECKING:
    __getattr__ = _names.lacks(__name__, __all__)

Logs = dict[str, Any]

_BATCH_HOOKS = {
    "train": (
        "on_batch_begin",
        "on_batch_end",
        "on_train_batch_begin",
        "on_train_batch_end",
    ),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


class Callback:
    """Base of all callbacks; every hook does nothing.

    ``logs`` is a dict of the loss and the metrics so far; what a callback adds to it at the
    end of an epoch is recorded in the history.

    Attributes
    ----------
    model
        The model, once training begins.
    params : dict
        ``epochs``, ``steps``, ``verbose``.
    """

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The model that calls back."""
        return getattr(self, "_model", None)  # an own __init__ may not have called ours

    def set_params(self, params: dict[str, Any]) -> None:
        """Take the parameters of this run."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Take the model."""
        self._model = model

    def wants_batches(self, mode: str = "train") -> bool:
        """Return whether a hook for batches is defined.

        Parameters
        ----------
        mode : {"train", "test", "predict"}
            For which batches.
        """
        own, cls = self.__dict__, type(self)  # a hook may be set on the object
        for hook in _BATCH_HOOKS[mode]:
            if hook in own or getattr(cls, hook) is not getattr(Callback, hook):
                return True
        return False

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Be called before a training step: another name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Be called after a training step: another name of ``on_train_batch_end``."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Be called before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Be called after an epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Be called before a training step, counted from 0 in each epoch."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Be called after a training step; ``logs`` are means over the epoch so far."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Be called before a batch of ``evaluate`` or of validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Be called after a batch of ``evaluate`` or of validation."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Be called before a batch of ``predict``."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Be called after a batch of ``predict``; ``logs`` holds its ``outputs``."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Be called when ``fit`` begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Be called when ``fit`` ends; ``logs`` are those of the last epoch."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Be called when ``evaluate`` or validation begins."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Be called when ``evaluate`` or validation ends."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Be called when ``predict`` begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Be called when ``predict`` ends."""


def check_callbacks(callbacks: object) -> None:
    """Raise TypeError for anything that :class:`CallbackList` cannot call."""
    if not isinstance(callbacks, CallbackList):
        list(_flat(callbacks))


class CallbackList(Callback):
    """Several callbacks as one, called in their order.

    Parameters
    ----------
    callbacks : Callback, or iterable of them, optional
        Lists within lists are taken apart.
    add_history : bool
        Whether a :class:`History` is added at the end if there is none.
    model : optional
        Given to each; its ``history`` becomes the :class:`History`.
    **params
        Given to each as ``params``.

    Attributes
    ----------
    callbacks : list of Callback
        In the order of their calls.
    history : History or None
        The history among them.
    needs_batches, needs_test_batches, needs_predict_batches : bool
        Whether any callback wants to be called at every batch of ``fit``; of ``evaluate`` and
        validation; of ``predict``.

    Raises
    ------
    TypeError
        Something that is not a callback; a class instead of an object, for one.
    """

    def __init__(
        self,
        callbacks: object = None,
        add_history: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self.callbacks: list[Callback] = list(_flat(callbacks))
        self.history: History | None = None
        for callback in self.callbacks:
            if isinstance(callback, History):
                self.history = callback
        if self.history is None and add_history:
            self.history = History()
            self.callbacks.append(self.history)
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def append(self, callback: Callback) -> None:
        """Add a callback at the end."""
        self.callbacks.extend(_flat(callback))

    def set_params(self, params: dict[str, Any]) -> None:
        """Give every callback the parameters of this run."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Give every callback the model, and the model its history."""
        super().set_model(model)
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def wants_batches(self, mode: str = "train") -> bool:
        """Return whether any callback wants to be called at every batch."""
        return any(callback.wants_batches(mode) for callback in self.callbacks)

    @property
    def needs_batches(self) -> bool:
        """Whether any callback wants to be called at every training step."""
        return self.wants_batches("train")

    @property
    def needs_test_batches(self) -> bool:
        """Whether any callback wants to be called at every batch of ``evaluate``."""
        return self.wants_batches("test")

    @property
    def needs_predict_batches(self) -> bool:
        """Whether any callback wants to be called at every batch of ``predict``."""
        return self.wants_batches("predict")

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*args)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_batch_begin``."""
        self._call("on_batch_begin", batch, {} if logs is None else logs)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_batch_end``."""
        self._call("on_batch_end", batch, {} if logs is None else logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_epoch_begin``."""
        self._call("on_epoch_begin", epoch, {} if logs is None else logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_epoch_end``, all with the same dict."""
        self._call("on_epoch_end", epoch, {} if logs is None else logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_train_batch_begin``."""
        self._call("on_train_batch_begin", batch, {} if logs is None else logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_train_batch_end``."""
        self._call("on_train_batch_end", batch, {} if logs is None else logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_test_batch_begin``."""
        self._call("on_test_batch_begin", batch, {} if logs is None else logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_test_batch_end``."""
        self._call("on_test_batch_end", batch, {} if logs is None else logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_predict_batch_begin``."""
        self._call("on_predict_batch_begin", batch, {} if logs is None else logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Call every callback's ``on_predict_batch_end``."""
        self._call("on_predict_batch_end", batch, {} if logs is None else logs)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Call every callback's ``on_train_begin``."""
        self._call("on_train_begin", {} if logs is None else logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Call every callback's ``on_train_end``."""
        self._call("on_train_end", {} if logs is None else logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Call every callback's ``on_test_begin``."""
        self._call("on_test_begin", {} if logs is None else logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Call every callback's ``on_test_end``."""
        self._call("on_test_end", {} if logs is None else logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Call every callback's ``on_predict_begin``."""
        self._call("on_predict_begin", {} if logs is None else logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Call every callback's ``on_predict_end``."""
        self._call("on_predict_end", {} if logs is None else logs)


def _flat(callbacks: object) -> Iterable[Callback]:
    """Yield the callbacks of a callback, a list of them, a list of lists."""
    if callbacks is None:
        return
    if isinstance(callbacks, Callback):
        yield callbacks
    elif isinstance(callbacks, Iterable) and not isinstance(callbacks, (str, bytes, Mapping)):
        for inner in callbacks:
            yield from _flat(inner)
    elif isinstance(callbacks, type) and issubclass(callbacks, Callback):
        raise TypeError(
            f"callbacks must be objects; received the class {callbacks.__name__}; call it: "
            f"{callbacks.__name__}(...)"
        )
    else:
        raise TypeError(
            "callbacks must be nncore.callbacks.Callback objects (a function: "
            f"LambdaCallback(on_epoch_end=function)); received {callbacks!r}"
        )


class History(Callback):
    """Keeps the logs of each epoch; ``fit`` adds one by itself and returns it.

    Attributes
    ----------
    history : dict of str to list of float
        For ``"loss"``, each metric and, with validation data, their ``"val_"`` twins.
    epoch : list of int
        Numbers of the epochs, counted from 0.
    epochs_of : dict of str to list of int
        The epoch of each entry of ``history``: with ``validation_freq`` some have no validation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []
        self.epochs_of: dict[str, list[int]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start counting epochs anew."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self.epochs_of.setdefault(name, []).append(epoch)
        if self.model is not None:
            self.model.history = self


class _Monitor(Callback):
    """What the callbacks that watch one entry of the logs share."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        super().__init__()
        if not isinstance(monitor, str):
            raise TypeError(
                f"{type(self).__name__}: monitor must be a name in the logs such as "
                f'"val_loss"; received monitor={monitor!r}'
            )
        self.monitor = monitor
        self.mode = _names.check_choice(type(self).__name__, "mode", mode, ("auto", "min", "max"))
        self.min_delta = abs(_names.check_real(type(self).__name__, "min_delta", min_delta))
        self.best: Any = None
        self._rising: bool | None = None

    @property
    def rising(self) -> bool:
        """Whether larger is better."""
        return self._direction({})

    @property
    def worst(self) -> float:
        """A value that every other improves on."""
        return -math.inf if self.rising else math.inf

    def _direction(self, logs: Logs) -> bool:
        if self._rising is None:
            self._rising = self._find_direction(logs)
        return self._rising

    def _find_direction(self, logs: Logs) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return False
        for metric in getattr(self.model, "metrics", None) or ():
            direction = getattr(metric, "_direction", None)
            if getattr(metric, "name", None) == name and direction is not None:
                return bool(direction == "up")
        from nncore import metrics

        try:
            known = metrics.get(name)
        except ValueError:
            known = None
        direction = getattr(known, "_direction", None)
        if direction is None:
            raise ValueError(
                f'{type(self).__name__}: it is not known whether "{self.monitor}" is better when '
                f'it is larger or smaller; give mode="max" or mode="min"{self._hint(logs)}'
            )
        return bool(direction == "up")

    def _improves(self, value: Any, reference: Any) -> bool:
        if reference is None:
            return True
        if self.rising:
            return bool(value - self.min_delta > reference)
        return bool(value + self.min_delta < reference)

    def _hint(self, logs: Logs) -> str:
        """Return the name in the logs that was meant, perhaps."""
        near = None if self.monitor in logs else _names.nearest(self.monitor, logs)
        return f'; did you mean "{near}"?' if near else ""

    def _value(self, logs: Logs, action: str) -> Any:
        """Return the monitored value, or None after a warning."""
        value = logs.get(self.monitor)
        if value is None:
            hint = self._hint(logs)
            if self.monitor.startswith("val_") and not any(k.startswith("val_") for k in logs):
                hint = "; give fit validation_data or validation_split"
            warnings.warn(
                f'{type(self).__name__}: {action} depends on "{self.monitor}", which is not '
                f"available. Available: {', '.join(logs) or 'nothing'}{hint}",
                stacklevel=3,
            )
        return value


class EarlyStopping(_Monitor):
    """Stops training when a monitored value has stopped improving.

    Parameters
    ----------
    monitor : str, default "val_loss" (Keras)
        Name in the logs.
    min_delta : float, default 0 (Keras)
        A change of this much or less is no improvement.
    patience : int, default 0 (Keras)
        Epochs without improvement after which training stops.
    verbose : {0, 1}
        1: says so.
    mode : {"auto", "min", "max"}
        Which way is better; ``"auto"`` knows it of losses and of this library's metrics.
    baseline : float, optional
        Epochs count as without improvement until the value is better than this.
    restore_best_weights : bool, default False (Keras)
        Whether the model gets back the weights of its best epoch when training ends (also
        when it was not stopped early).
    start_from_epoch : int, default 0 (Keras)
        Epochs before this one, counted from 0, are not looked at.

    Attributes
    ----------
    best : float
        Best value.
    best_epoch, stopped_epoch : int
        Counted from 0.
    wait : int
        Epochs since the last improvement.

    Notes
    -----
    An object that is used for a second ``fit`` starts anew.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = _names.check_integer("EarlyStopping", "patience", patience, minimum=0)
        self.verbose = verbose
        self.baseline = (
            None if baseline is None else _names.check_real("EarlyStopping", "baseline", baseline)
        )
        self.restore_best_weights = bool(restore_best_weights)
        self.start_from_epoch = _names.check_integer(
            "EarlyStopping", "start_from_epoch", start_from_epoch, minimum=0
        )
        self.wait = 0
        self.stopped_epoch = 0
        self.best_epoch = 0
        self.best_weights: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start anew."""
        self.wait = 0
        self.stopped_epoch = 0
        self.best_epoch = 0
        self.best_weights = None
        self.best = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the monitored value; stop training if it is time."""
        logs = logs or {}
        self._direction(logs)  # an unknown one is an error from the start
        current = self._value(logs, "early stopping")
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            # Should no epoch improve on anything (NaN), the first one watched is the best.
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if self._improves(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._improves(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Give the model back its best weights, if that was asked for."""
        if self.stopped_epoch > 0 and self.verbose > 0:
            progress.message(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                progress.message(
                    "Restoring model weights from the end of the best epoch: "
                    f"{self.best_epoch + 1}."
                )
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(_Monitor):
    """Saves the model, or its weights, at the end of each epoch or every so many batches.

    A file is written whole or not at all: a crash leaves the one before it.

    Parameters
    ----------
    filepath : str or path
        May hold ``{epoch}`` (counted from 1), ``{batch}`` and names in the logs, formatted
        as in ``"{epoch:02d}-{val_loss:.2f}.safetensors"``.  Folders are made.
    monitor : str, default "val_loss" (Keras)
        Name in the logs, for ``save_best_only``.
    verbose : {0, 1}
        1: says what is saved.
    save_best_only : bool, default False (Keras)
        Whether only an improvement is saved.
    save_weights_only : bool, default False (Keras)
        Whether ``model.save_weights`` is called instead of ``model.save``.
    mode : {"auto", "min", "max"}
        Which way is better; ``"auto"`` knows it of losses and of this library's metrics.
    save_freq : {"epoch"} or int, default "epoch" (Keras)
        An integer: after so many batches, counted on across epochs.
    initial_value_threshold : float, optional
        The value to improve on at first.

    Notes
    -----
    ``best`` is kept when the object is used for a second ``fit``, so that a better model is
    not overwritten by a worse one.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = bool(save_best_only)
        self.save_weights_only = bool(save_weights_only)
        if save_freq != "epoch":
            if isinstance(save_freq, str):
                raise ValueError(
                    'ModelCheckpoint: save_freq must be "epoch" or a number of batches; '
                    f"received save_freq={save_freq!r}"
                )
            save_freq = _names.check_integer("ModelCheckpoint", "save_freq", save_freq, minimum=1)
        self.save_freq = save_freq
        if initial_value_threshold is not None:
            self.best = _names.check_real(
                "ModelCheckpoint", "initial_value_threshold", initial_value_threshold
            )
        self._epoch = 0
        self._batches_since_saving = 0
        self._last_batch = 0

    def wants_batches(self, mode: str = "train") -> bool:
        """Return whether ``save_freq`` counts batches."""
        if mode == "train" and type(self).on_train_batch_end is ModelCheckpoint.on_train_batch_end:
            return self.save_freq != "epoch"
        return super().wants_batches(mode)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look whether files can be written there: better now than after the first epoch."""
        path = os.path.abspath(self.filepath)
        if "{" not in path:
            self._check_file(path)
        folder = os.path.dirname(path.partition("{")[0] + "_")
        while not os.path.exists(folder) and os.path.dirname(folder) != folder:
            folder = os.path.dirname(folder)  # those below it are made when the time comes
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise PermissionError(
                f"ModelCheckpoint: nothing can be written in {folder}, where filepath="
                f"{self.filepath!r} lies; choose another place"
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the epoch's number."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, if ``save_freq`` batches have passed."""
        super().on_train_batch_end(batch, logs)
        if not isinstance(self.save_freq, int):
            return
        new_epoch = batch <= self._last_batch
        self._batches_since_saving += batch + 1 if new_epoch else batch - self._last_batch
        self._last_batch = batch
        if self._batches_since_saving >= self.save_freq:
            self._batches_since_saving = 0
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if ``save_freq`` is ``"epoch"``."""
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        path = self._path(epoch, batch, logs)
        if not self._should_save(epoch, logs, path):
            return
        self._check_file(path)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)

    @staticmethod
    def _check_file(path: str) -> None:
        if os.path.isdir(path):
            raise IsADirectoryError(
                f"ModelCheckpoint: filepath must name a file; {path} is a folder"
            )

    def _should_save(self, epoch: int, logs: Logs, path: str) -> bool:
        if not self.save_best_only:
            self._say(epoch, f"saving model to {path}")
            return True
        current = self._value(logs, "saving the best model only")
        if current is None:
            return True
        if np.ndim(current) > 0:
            warnings.warn(
                f'ModelCheckpoint: "{self.monitor}" is not one number, so the model is saved '
                f"as with save_best_only=False; received {current!r}",
                stacklevel=2,
            )
            return True
        if self.best is None:
            self.best = self.worst
        if self._improves(current, self.best):
            self._say(
                epoch,
                f"{self.monitor} improved from {self.best:.5f} to {current:.5f}, saving model "
                f"to {path}",
            )
            self.best = current
            return True
        self._say(epoch, f"{self.monitor} did not improve from {self.best:.5f}")
        return False

    def _say(self, epoch: int, text: str) -> None:
        if self.verbose > 0:
            progress.message(f"Epoch {epoch + 1}: {text}")

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        names = {"epoch": epoch + 1, **logs}
        if batch is not None:
            names.setdefault("batch", batch + 1)
        try:
            return self.filepath.format(**names)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f'ModelCheckpoint: filepath "{self.filepath}" cannot be filled in: {error!r}; '
                f"available: {', '.join(names)}"
            ) from error


class ReduceLROnPlateau(_Monitor):
    """Multiplies the learning rate by ``factor`` when a monitored value stops improving.

    Records ``learning_rate`` in the logs.

    Parameters
    ----------
    monitor : str, default "val_loss" (Keras)
        Name in the logs.
    factor : float, default 0.1 (Keras)
        In [0, 1).
    patience : int, default 10 (Keras)
        Epochs without improvement after which the rate is reduced.
    verbose : {0, 1}
        1: says so.
    mode : {"auto", "min", "max"}
        Which way is better; with ``"auto"``, larger if the name contains "acc" or is that of
        a metric of this library which grows, else smaller.
    min_delta : float, default 0.0001 (Keras)
        A change of this much or less is no improvement.
    cooldown : int, default 0 (Keras)
        Epochs to wait after a reduction before looking again.
    min_lr : float, default 0.0 (Keras)
        The rate does not go below this.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        where = "ReduceLROnPlateau"
        self.factor = _names.check_real(
            where, "factor", factor, minimum=0.0, maximum=1.0, open_maximum=True
        )
        self.patience = _names.check_integer(where, "patience", patience, minimum=0)
        self.verbose = verbose
        self.cooldown = _names.check_integer(where, "cooldown", cooldown, minimum=0)
        self.min_lr = _names.check_real(where, "min_lr", min_lr, minimum=0.0)
        self.cooldown_counter = 0
        self.wait = 0

    def _find_direction(self, logs: Logs) -> bool:
        if self.mode == "auto" and "acc" in self.monitor:
            return True
        try:
            return super()._find_direction(logs)
        except ValueError:
            return False

    def in_cooldown(self) -> bool:
        """Return whether a reduction was so recent that nothing is looked at."""
        return self.cooldown_counter > 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start anew."""
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the monitored value; reduce the learning rate if it is time."""
        logs = {} if logs is None else logs
        optimizer = self.model.optimizer
        rate = logs["learning_rate"] = float(optimizer.learning_rate)
        current = self._value(logs, "reducing the learning rate")
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.best is None:
            self.best = self.worst
        if self._improves(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                reduced = max(rate * self.factor, self.min_lr)
                optimizer.learning_rate = reduced
                if self.verbose > 0:
                    progress.message(
                        f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {reduced}."
                    )
                self.cooldown_counter = self.cooldown
                self.wait = 0


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of every epoch.

    Records ``learning_rate`` in the logs.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, learning_rate)`` or ``schedule(epoch)``, epochs counted from 0,
        returns the new rate.
    verbose : {0, 1}
        1: says what is set.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "LearningRateScheduler: schedule must be a function of (epoch, learning_rate); "
                f"received schedule={schedule!r}"
            )
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rate."""
        optimizer = self.model.optimizer
        try:
            inspect.signature(self.schedule).bind(epoch, 0.0)
            with_rate = True
        except TypeError:
            with_rate = False
        except ValueError:  # no signature to look at
            with_rate = True
        arguments = (epoch, float(optimizer.learning_rate)) if with_rate else (epoch,)
        rate = _names.check_real(
            "LearningRateScheduler",
            f"what schedule({epoch}) returns",
            self.schedule(*arguments),
            minimum=0.0,
        )
        optimizer.learning_rate = rate
        if self.verbose > 0:
            progress.message(
                f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}."
            )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the learning rate."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class CSVLogger(Callback):
    """Writes the logs of each epoch as a line of a CSV file.

    The columns are ``epoch`` (counted from 0) and the names of the first epoch's logs in
    alphabetical order.  Each line is on disk when the next epoch begins.

    Parameters
    ----------
    filename : str or path
        The file.
    separator : str, default "," (Keras)
        Between the columns.
    append : bool, default False (Keras)
        Whether to go on at the end of a file that exists; no second header is written.
    """

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        super().__init__()
        self.filename = os.fspath(filename)
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(
                f"CSVLogger: separator must be one character; received separator={separator!r}"
            )
        self.sep = separator
        self.append = bool(append)
        self.keys: list[str] | None = None
        self._header = True

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Make the file, or look whether the one that is there has a header."""
        there = self.append and os.path.exists(self.filename) and os.path.getsize(self.filename)
        self._header = not there
        self.keys = None
        with open(self.filename, "a" if self.append else "w", encoding="utf-8"):
            pass

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a line.  The file is open for that alone: nothing is lost with what comes later."""
        import csv

        logs = logs or {}
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.sep)
            if self.keys is None:
                self.keys = sorted(logs)
                if not any(k.startswith("val_") for k in self.keys):
                    # Keras's rule: columns for a validation that may come in a later epoch.
                    self.keys += [f"val_{k}" for k in self.keys]
                if self._header:
                    writer.writerow(["epoch", *self.keys])
            writer.writerow([epoch, *(_cell(logs.get(k, "NA")) for k in self.keys)])


def _cell(value: Any) -> Any:
    """Return a value as one cell."""
    if isinstance(value, str) or np.ndim(value) == 0:
        return value
    return f'"[{", ".join(map(str, value))}]"'


class TerminateOnNaN(Callback):
    """Stops training after the first step whose loss is NaN or infinite.

    Parameters
    ----------
    raise_error : bool, default False (Keras)
        True: raises instead, so that ``on_train_end`` of the callbacks is not called.

    Raises
    ------
    RuntimeError
        With ``raise_error``, at such a loss.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = bool(raise_error)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"batch {batch}: the loss is {loss}; training was terminated")
        progress.message(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True


class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : callable, optional
        ``f(epoch, logs)``.
    on_train_begin, on_train_end : callable, optional
        ``f(logs)``.
    on_train_batch_begin, on_train_batch_end : callable, optional
        ``f(batch, logs)``.
    **kwargs
        Functions for other hooks by their names (``on_test_begin``), and attributes.

    Examples
    --------
    >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))
    >>> callback.on_epoch_end(0, {"loss": 0.5})
    0 {'loss': 0.5}
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for name in kwargs:
            if name.startswith("on_") and not hasattr(Callback, name):
                known = [h for h in dir(Callback) if h.startswith("on_")]
                raise ValueError(f"LambdaCallback: {_names.unknown_name('hook', name, known)}")
        for name, value in {**hooks, **kwargs}.items():
            if value is None and name.startswith("on_"):
                continue
            if name.startswith("on_") and not callable(value):
                raise TypeError(
                    f"LambdaCallback: {name} must be a function; received {name}={value!r}"
                )
            setattr(self, name, value)
