"""What ``compile`` leaves: optimizer, loss, metrics, and the executors made from them.

:class:`Compiled` is the part of a model below :class:`nncore.training.Trainer`.  It knows
which plan is needed when, checks data against the model, and keeps the optimizer's state.
"""

from __future__ import annotations

import copy
import math
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nncore import data
from nncore import losses as losses_module
from nncore import metrics as metrics_module
from nncore import optimizers as optimizers_module
from nncore.data import Rows
from nncore.losses import Loss
from nncore.metrics import Metric
from nncore.optimizers import Optimizer
from nncore.runtime import MOST_THREADS

if TYPE_CHECKING:
    from nncore.callbacks import History
    from nncore.layers import Layer
    from nncore.watch import Watch

__all__ = ["Compiled", "aligned"]

#: Which model an optimizer works for: its count of updates belongs to one model.
_users: weakref.WeakKeyDictionary[Optimizer, weakref.ref[Compiled]] = weakref.WeakKeyDictionary()


#: Models that are there: a fork drops their executors, which another thread may have been using.
_alive: weakref.WeakSet[Compiled] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    Compiled._building = threading.RLock()  # another thread of the parent may have held it
    for model in list(_alive):
        model._forget_executors()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

#: Executors that a model keeps: to train and to test, with and without weights of rows, and as many
#: again for settings that were changed in between.
MOST_EXECUTORS = 8


def aligned(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return zeros that start at a multiple of 64 bytes.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
    """
    item = np.dtype(dtype).itemsize
    n = math.prod(shape)
    raw = np.zeros(n * item + 64, dtype=np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + n * item].view(dtype).reshape(shape)


class Compiled:
    """The part of a model that knows how it is to be trained; see :class:`nncore.Sequential`."""

    # Given by the model.
    name: str
    _layers: list[Layer]
    _input: Any
    _parameters: NDArray[Any] | None
    built: Any
    dtype: Any
    label: Any
    parameters: Any

    #: Held by the first prediction, which builds a model; a signal's handler may predict, too.
    _building: ClassVar[Any] = threading.RLock()

    #: Attributes that a copy makes anew.
    _transient: ClassVar[tuple[str, ...]] = (
        "_executors", "_predictors", "_quick", "_bulk", "_short_threads", "_metrics",
        "_metric_names",
    )  # fmt: skip

    def __init__(self) -> None:
        self._start()
        self._optimizer: Optimizer | None = None
        self._loss: Loss | None = None
        self._metric_specs: list[tuple[Any, bool]] = []
        self._engine = "compiled"
        self._n_threads: int | None = None
        self._slots: NDArray[Any] | None = None
        self.history: History | None = None
        self.stop_training = False
        self._reported = False  # whether this fit has warned of a loss that is not finite

    def _start(self) -> None:
        _alive.add(self)
        self._forget_executors()
        self._metrics: list[Metric] | None = None
        self._metric_names: list[str] = []

    def _forget_executors(self) -> None:
        self._executors: dict[tuple[Any, ...], tuple[Any, dict[str, float]]] = {}
        self._predictors: list[Any] = []
        #: The short path of predict, once there was a first prediction: rows -> outputs or None;
        #: and that of more than one block of rows, which keeps nobody waiting who has few.
        self._quick: Callable[[Any], NDArray[Any] | None] | None = None
        self._bulk: Callable[[Any], NDArray[Any] | None] | None = None
        self._short_threads = [0, 0]  # what they were made for

    def _forget(self) -> None:
        """Drop everything that depends on the layers and the flat vector."""
        self._forget_executors()
        self._metrics = None
        self._slots = None
        if self._optimizer is not None:
            self._optimizer.iterations = 0  # what it counts are the updates of its slots

    # --- compile ---

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
        *,
        engine: str = "compiled",
        n_threads: int | None = None,
    ) -> None:
        """Say how the model is to be trained.

        Parameters
        ----------
        optimizer : str or Optimizer, default "rmsprop"
            Any of :mod:`nncore.optimizers`; also "gd" (the whole data set is one batch
            unless ``batch_size`` is given) and "momentum".
        loss : str or Loss
            Any of :mod:`nncore.losses`.
        loss_weights : optional
            None, or 1 (there is one output).
        metrics, weighted_metrics : list, optional
            Names, :mod:`nncore.metrics` objects or functions of ``(y_true, y_pred)``.
            Sample weights count in the loss and in ``weighted_metrics``, not in ``metrics``.
            "accuracy" means what it means in Keras: binary with one output, sparse for
            integer labels, else categorical.  A metric written in Python sees the outputs
            of the model as ``predict`` gives them (no dropout), before the batch's update.
        run_eagerly, steps_per_execution, jit_compile, auto_scale_loss : optional
            Accepted for Keras's sake; they change nothing here.
        engine : {"compiled", "reference"}
            "reference" runs the plain NumPy executor of the same plan.
        n_threads : int, optional
            The most threads to use; default :func:`nncore.get_num_threads`.  The results'
            bits do not depend on it.

        Raises
        ------
        ValueError, TypeError
            For unknown names and arguments that cannot be; nothing is changed then.

        Notes
        -----
        The optimizer's state survives compiling again with the same optimizer object.
        """
        found = optimizers_module.get(optimizer)
        loss_object = None if loss is None else losses_module.get(self._one("loss", loss))
        if loss_object is not None and loss_object.reduction in ("none", None):
            raise ValueError(
                f"{self.label}: compile needs a loss with one value a batch; received "
                f'reduction="none". Use reduction="sum_over_batch_size" or "sum"'
            )
        if loss_weights is not None and self._one("loss_weights", loss_weights) not in (1, 1.0):
            raise ValueError(
                f"{self.label}: loss_weights must be None, there is one output; "
                f"received loss_weights={loss_weights!r}"
            )
        if engine not in ("compiled", "reference"):
            raise ValueError(
                f'{self.label}: engine must be "compiled" or "reference"; '
                f"received engine={engine!r}"
            )
        if n_threads is not None:
            n_threads = _check_threads(n_threads, "compile")
        specs: list[tuple[Any, bool]] = []
        for argument, given, weighted in (
            ("metrics", metrics, False),
            ("weighted_metrics", weighted_metrics, True),
        ):
            for identifier in self._listed(argument, given):
                if not metrics_module.is_accuracy(identifier):
                    made = metrics_module.get(identifier)
                    if made is None:
                        continue
                    if any(made is other for other, _ in specs):
                        made = copy.copy(made)
                    identifier = made
                specs.append((identifier, weighted))
        user = _users.get(found)
        other = None if user is None else user()
        if other is not None and other is not self and other._optimizer is found:
            raise ValueError(
                f"{self.label}: this {type(found).__name__} works for {other.label} already; an "
                f"optimizer counts the updates of one model. Make another one"
            )
        if found is not self._optimizer:
            self._slots = None
            found.iterations = 0  # what it counts are the updates of its slots
        self._optimizer = found
        self._claim_optimizer()
        self._loss = loss_object
        self._metric_specs = specs
        self._engine = engine
        self._n_threads = n_threads
        self._metrics = None
        self._forget_executors()
        self.stop_training = False

    def _claim_optimizer(self) -> None:
        """Note that the optimizer works for this model."""
        if self._optimizer is not None:
            _users[self._optimizer] = weakref.ref(self)

    def _one(self, argument: str, value: Any) -> Any:
        """Return the only entry of a list or mapping of one, as Keras allows."""
        if isinstance(value, Mapping) and "class_name" not in value:
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            if len(value) != 1:
                raise ValueError(
                    f"{self.label}: {argument} must have one entry, there is one output; "
                    f"received {len(value)}"
                )
            return value[0]
        return value

    def _listed(self, argument: str, value: Any) -> list[Any]:
        if value is None:
            return []
        if isinstance(value, Mapping) and "class_name" not in value:
            value = [m for v in value.values() for m in (v if isinstance(v, list) else [v])]
        if isinstance(value, (list, tuple)):
            if len(value) == 1 and isinstance(value[0], (list, tuple)):
                value = value[0]
            return list(value)
        if isinstance(value, (str, Metric)) or callable(value):
            return [value]
        raise ValueError(
            f'{self.label}: {argument} must be a list such as ["accuracy"]; '
            f"received {argument}={value!r}"
        )

    @property
    def compiled(self) -> bool:
        """Whether :meth:`compile` was called."""
        return self._optimizer is not None

    @property
    def optimizer(self) -> Any:
        """Return the optimizer, None before :meth:`compile`."""
        return self._optimizer

    @property
    def loss(self) -> Loss | None:
        """Return the loss, None before :meth:`compile`."""
        return self._loss

    @property
    def engine(self) -> str:
        """Return "compiled" or "reference"."""
        return self._engine

    @property
    def n_threads(self) -> int:
        """The most threads that training and prediction use."""
        if self._n_threads is not None:
            return self._n_threads
        from nncore import runtime

        return runtime.get_num_threads()

    @n_threads.setter
    def n_threads(self, value: int | None) -> None:
        if value is not None:
            value = _check_threads(value, self.label)
        self._n_threads = value
        self._forget_executors()

    @property
    def slots(self) -> NDArray[Any] | None:
        """Return the optimizer's state, laid out like the parameters.

        (n_slots, n_parameters); None before the model is built and compiled, and for an
        optimizer without state.
        """
        if self._slots is None and self._optimizer is not None and self.built:
            n = self.parameters.size
            initial = self._optimizer.initial_slots(n, self.dtype)
            if initial.shape[0]:
                self._slots = aligned(initial.shape, self.dtype)
                self._slots[...] = initial
        return self._slots

    @property
    def optimizer_state_size(self) -> int:
        """Return how many numbers of state the optimizer keeps for the trained parameters."""
        if self._optimizer is None or not self.built:
            return 0
        trained = sum(p.size for layer in self._layers for p in layer.trainable_weights)
        return self._optimizer.n_slots * trained

    @property
    def metrics(self) -> list[Metric]:
        """Return the metric objects; their state is that of the last pass over data."""
        return [] if self._optimizer is None or not self.built else list(self._resolve()[0])

    @property
    def metrics_names(self) -> list[str]:
        """Return the keys of the logs: ``["loss", "accuracy", ...]``."""
        if self._optimizer is None or not self.built:
            return ["loss"]
        return ["loss", *self._resolve()[1]]

    def reset_metrics(self) -> None:
        """Set all metrics back to the start."""
        for m in self.metrics:
            m.reset_state()

    def get_compile_config(self) -> dict[str, Any]:
        """Return what :meth:`compile_from_config` needs; empty before :meth:`compile`."""
        if self._optimizer is None:
            return {}

        def described(weighted: bool) -> list[Any]:
            return [
                m if isinstance(m, str) else metrics_module.serialize(m)
                for m, w in self._metric_specs
                if w == weighted
            ]

        return {
            "optimizer": optimizers_module.serialize(self._optimizer),
            "loss": None if self._loss is None else losses_module.serialize(self._loss),
            "metrics": described(False),
            "weighted_metrics": described(True),
            "engine": self._engine,
            "n_threads": self._n_threads,
        }

    def compile_from_config(
        self, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> None:
        """Compile as :meth:`get_compile_config` described."""
        if not config:
            return
        settings = dict(config)
        settings["optimizer"] = optimizers_module.deserialize(settings["optimizer"], custom_objects)
        if settings.get("loss") is not None:
            settings["loss"] = losses_module.deserialize(settings["loss"], custom_objects)
        for argument in ("metrics", "weighted_metrics"):
            settings[argument] = [
                m if isinstance(m, str) else metrics_module.deserialize(m, custom_objects)
                for m in settings.get(argument) or []
            ]
        self.compile(**settings)

    # --- before the first step ---

    def _require_compiled(self, where: str) -> tuple[Optimizer, Loss]:
        if self._optimizer is None:
            raise ValueError(f"{self.label}: call compile(optimizer, loss) before {where}")
        if self._loss is None:
            raise ValueError(
                f'{self.label}: {where} needs a loss; give one to compile, such as loss="mse"'
            )
        return self._optimizer, self._loss

    def _shapes_for(
        self, x: Any, where: str, known: tuple[int, ...] | None = None
    ) -> tuple[tuple[int, ...], int]:
        """Return the shape of an input row and the number of outputs; build nothing."""
        if not self._layers:
            raise ValueError(f"{self.label} has no layers; add some with model.add(layer)")
        if self._input is not None and self.built:
            shape: tuple[int, ...] = self._input.shape
            output: tuple[int, ...] = self._layers[-1].output_shape
        elif known is not None:
            shape, output = known, self._shapes(known)
        else:
            array = data.as_array(x, "x", where)
            if array.ndim < 2:
                raise ValueError(
                    f"{where}: x must have rows of at least one value, shape (n, n_inputs); "
                    f"received shape {array.shape}. For one input a row use x.reshape(-1, 1)"
                )
            shape = array.shape[1:]
            if 0 in shape:
                raise ValueError(f"{where}: x has rows without values, shape {array.shape}")
            output = self._shapes(shape)
        if len(output) != 1 and where != "predict":
            last = self._layers[-1]
            raise ValueError(
                f"{where}: the model must give one row of numbers for each row of x; "
                f"{last.label} gives rows of shape {output}. Add Flatten() as the last layer"
            )
        return shape, math.prod(output)

    def _shapes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        raise AssertionError("given by the model")

    def _build(self, shape: tuple[int, ...]) -> None:
        raise AssertionError("given by the model")

    def _check_outputs(self, loss: Loss, n_out: int, where: str) -> None:
        """Refuse a loss that cannot work with the last layer."""
        last = self._layers[-1]
        activation = getattr(getattr(last, "activation", None), "name", "linear")
        for layer in self._layers[:-1]:
            name = getattr(getattr(layer, "activation", None), "name", "linear")
            if name == "softmax" and getattr(layer, "units", None) == 1:
                raise ValueError(
                    f"{where}: {layer.label} has a softmax over one output, which is always 1, so "
                    f"nothing can be learned. Use another activation, or more units"
                )
        if n_out == 1:
            fix = 'For two classes use activation="sigmoid" and loss="binary_crossentropy"'
            if activation == "softmax":
                raise ValueError(
                    f"{where}: {last.label} has a softmax over one output, which is always 1, so "
                    f"nothing can be learned. {fix}; for more classes one output a class"
                )
            if loss.labels or loss.kernel == "categorical_crossentropy":
                raise ValueError(
                    f'{where}: loss "{loss.name}" needs one output a class; {last.label} has one '
                    f"output. {fix}"
                )
        if loss.from_logits and activation in ("softmax", "sigmoid"):
            warnings.warn(
                f'{where}: loss "{loss.name}" expects raw outputs (from_logits=True), but '
                f'{last.label} ends with "{activation}". Use one or the other, not both',
                UserWarning,
                stacklevel=4,
            )

    def _rows(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Any,
        where: str,
        shape: tuple[int, ...] | None = None,
        build: bool = True,
    ) -> Rows:
        """Check arrays against each other and the model; then build it if it is not built.

        ``shape`` is that of an input row when other data decide it; without ``build`` nothing is
        changed.
        """
        loss = self._loss
        assert loss is not None
        if self._metrics is None or not self.built:
            shape, n_out = self._shapes_for(x, where, shape)
            self._check_outputs(loss, n_out, where)
            self._resolve(n_out, keep=build)
        else:
            shape, n_out = self._input.shape, self._layers[-1].output_shape[0]
        rows = data.rows_of(
            x,
            y,
            input_shape=shape,
            n_out=n_out,
            loss=loss,
            sample_weight=sample_weight,
            class_weight=class_weight,
            where=where,
            dtype=self.dtype,
        )
        if build:
            if not self.built:
                self._build(shape)
            self._resolve()
        return rows

    def _resolve(
        self, n_out: int | None = None, keep: bool = True
    ) -> tuple[list[Metric], list[str]]:
        """Return the metric objects and their names in logs."""
        if self._metrics is not None:
            return self._metrics, self._metric_names
        loss = self._loss
        if n_out is None:
            n_out = math.prod(self._layers[-1].output_shape)
        found: list[Metric] = []
        names: list[str] = []
        counts: dict[str, int] = {}
        for identifier, weighted in self._metric_specs:
            metric: Metric
            if isinstance(identifier, str):
                metric = metrics_module.resolve_accuracy(loss, n_out, name=identifier)
            else:
                metric = identifier
            if loss is not None and metric.kernel is not None and metric.labels != loss.labels:
                wants, has = "one row of targets", "integer labels"
                if metric.labels:
                    wants, has = has, "rows of targets"
                raise ValueError(
                    f'{self.label}: metric "{metric.name}" wants {wants}, but loss '
                    f'"{loss.name}" takes {has}. ' + _other_metric(metric.kernel)
                )
            metric.weighted = weighted  # type: ignore[attr-defined]
            # Keras's rule for names that occur twice.
            name = metric.name
            if name in counts and weighted:
                name = f"weighted_{name}"
            n = counts.get(name, 0)
            counts[name] = n + 1
            names.append(f"{name}_{n}" if n else name)
            found.append(metric)
        if keep:
            self._metrics, self._metric_names = found, names
        return found, names

    # --- executors ---

    def _executor(self, mode: str, weights: bool, rows: int, watch: Watch | None = None) -> Any:
        """Return an executor for batches of up to ``rows``, with the optimizer's settings.

        With ``watch`` for steps that are recorded.
        """
        optimizer = self._optimizer
        assert optimizer is not None
        key: tuple[Any, ...] = (mode, weights)
        hyper: dict[str, float] = {}
        if mode == "train":
            hyper = optimizer.hyper()
            key = (
                mode,
                weights,
                optimizer.kernel,
                optimizer.clipnorm,
                optimizer.clipvalue,
                optimizer.global_clipnorm,
                *[(layer.trainable, getattr(layer, "rate", 0.0)) for layer in self._layers],
                None if watch is None else watch.entries,
            )
        entry = self._executors.get(key)
        if entry is None or entry[0].batch_size < rows:
            entry = self._new_executor(mode, weights, rows, hyper, watch)
            if len(self._executors) >= MOST_EXECUTORS:
                self._executors.pop(next(iter(self._executors)))  # the oldest
            self._executors[key] = entry
        executor, known = entry
        if executor.n_threads != self.n_threads:
            executor.n_threads = self.n_threads
        if known != hyper:
            executor.set_hyper(hyper)
            self._executors[key] = (executor, hyper)
        return executor

    def _new_executor(
        self,
        mode: str,
        weights: bool,
        rows: int,
        hyper: dict[str, float],
        watch: Watch | None = None,
    ) -> tuple[Any, dict[str, float]]:
        from nncore import compiler

        train = mode == "train"
        settings: dict[str, Any] = {
            "loss": None if mode == "predict" else self._loss,
            "metrics": ()
            if mode == "predict"
            else [m for m in self._resolve()[0] if m.kernel is not None],
            "optimizer": self._optimizer if train else None,
            "weights": weights,
            # Gradients first, where a batch takes long: until the update Ctrl-C can stop it.
            "fused": compiler.is_short(rows * self.parameters.size, self.dtype),
        }
        if watch is not None:
            plan = watch.plan(self._layers, **settings)
        else:
            plan = compiler.compile_plan(self._layers, mode, **settings)  # type: ignore[arg-type]
        executor = compiler.make_executor(
            plan,
            self.parameters,
            self.slots if train else None,
            batch_size=rows,
            n_threads=self.n_threads,
            engine=self._engine,  # type: ignore[arg-type]
        )
        return executor, hyper


def _check_threads(value: Any, where: str) -> int:
    n = data.check_count("n_threads", value, where=where)
    if n > MOST_THREADS:
        raise ValueError(
            f"{where}: n_threads must be at most {MOST_THREADS}; received n_threads={n}"
        )
    return n


def _other_metric(kernel: str) -> str:
    """Return the hint which metric fits the other kind of targets."""
    other = {
        "categorical_accuracy": "sparse_categorical_accuracy",
        "sparse_categorical_accuracy": "categorical_accuracy",
        "top_k_categorical_accuracy": "sparse_top_k_categorical_accuracy",
        "sparse_top_k_categorical_accuracy": "top_k_categorical_accuracy",
    }.get(kernel)
    return f'Use "{other}"' if other else "Leave it out, or use a metric for class labels"
