"""Training, evaluating and predicting: what a model does with data.

The steps themselves run in an executor, without the GIL, in slices of about 50 ms; between
two slices Python looks after Ctrl-C and the progress bar.  One step a call is run only if a
callback overrides a batch hook or a metric is written in Python.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import data
from nncore.compiled import Compiled
from nncore.data import Batches, Rows
from nncore.metrics import Metric

if TYPE_CHECKING:
    from nncore.callbacks import CallbackList, History
    from nncore.progress import ProgressBar
    from nncore.record import Record
    from nncore.watch import Watch

__all__ = ["Trainer"]

#: Seconds that one call of the executor may take before Python has a look around.
SLICE = 0.05
#: Rows of one block of ``predict``.
BLOCK = 256
#: Bytes of weights above which blocks of four times as many rows are faster.
LARGE = 8 << 20
#: A bit pattern (a NaN) that no computation yields: marks the steps that were not done.
_NOT_DONE = np.uint64(0x7FF8DEADBEEF0001)
_NO_RATE = np.zeros(1)


class _Meter:
    """Loss and metrics of one pass over some data."""

    def __init__(self, metrics: Sequence[Metric], names: Sequence[str]) -> None:
        self.metrics = metrics
        self.names = names
        self.compiled = [m for m in metrics if m.kernel is not None]
        self.python = [m for m in metrics if m.kernel is None]
        self.totals = np.zeros((len(self.compiled), 2))
        #: Sum of the batches' losses, each times its rows; and the rows.
        self.loss_totals = np.zeros(2)
        for m in metrics:
            m.reset_state()

    @property
    def rows(self) -> int:
        """Return how many rows have been read."""
        return int(self.loss_totals[1])

    def logs(self) -> dict[str, float]:
        """Return loss and metrics so far; the loss is the mean weighted by rows."""
        total, rows = self.loss_totals.tolist()
        result = {"loss": total / rows if rows else 0.0}
        if self.metrics:
            for m, (total, count) in zip(self.compiled, self.totals.tolist(), strict=True):
                m.total, m.count = total, count
            for name, m in zip(self.names, self.metrics, strict=True):
                result[name] = float(m.result())
        return result

    def sorted_logs(self) -> dict[str, float]:
        """Return :meth:`logs` in the order of their names, as Keras's callbacks get them."""
        logs = self.logs()
        return dict(sorted(logs.items())) if len(logs) > 1 else logs


class _Source:
    """Training or validation data, and how far it has been read.

    Either ``rows`` (arrays) or ``batches`` (an iterator or a data set).
    """

    def __init__(
        self,
        rows: Rows | None,
        batches: Batches | None,
        batch_size: int,
        steps: int | None,
    ) -> None:
        self.rows = rows
        self.batches = batches
        self.batch_size = batch_size
        self.steps = steps
        self.seen = 0  # batches of the current pass
        self.passes = 0
        self.iterator: Iterator[Any] | None = None
        self.warned = False
        self.watch: Watch | None = None  # who records the training's steps

    @property
    def length(self) -> int | None:
        """Batches of one epoch, None if not known."""
        if self.steps is not None:
            return self.steps
        if self.rows is not None:
            return -(-self.rows.n // self.batch_size)
        assert self.batches is not None
        return self.batches.length

    def ran_out(self, where: str, wanted: int) -> None:
        """Warn, once, that there were fewer batches than asked for."""
        if self.warned:
            return
        self.warned = True
        warnings.warn(
            f"{where}: the data ran out before {wanted} steps of an epoch were done. Give at least "
            f"steps_per_epoch * epochs batches, or leave the number of steps None",
            UserWarning,
            stacklevel=4,
        )


class Trainer(Compiled):
    """The part of a model that deals with data.  See :class:`nncore.Sequential`."""

    def _slice(
        self,
        executor: Any,
        rows: Rows,
        order: NDArray[np.int64] | None,
        begin: int,
        end: int,
        batch_size: int,
        **rest: Any,
    ) -> int:
        """Run some steps; return how many."""
        if rows.direct:
            done: int = executor.run(
                rows.x, rows.t, rows.r, order=order, begin=begin, end=end,
                batch_size=batch_size, **rest,
            )  # fmt: skip
            return done
        # Whole batches only, so that they are the same as without a conversion.
        end = min(end, begin + rows.chunk_rows(batch_size))
        part = rows.converted(order, begin, end, self.dtype)
        return int(executor.run(part.x, part.t, part.r, batch_size=batch_size, **rest))

    def _pass(
        self,
        mode: str,
        rows: Rows,
        batch_size: int,
        meter: _Meter,
        *,
        order: NDArray[np.int64] | None = None,
        begin: int = 0,
        end: int | None = None,
        callbacks: CallbackList | None = None,
        progress: ProgressBar | None = None,
        epoch: int = 0,
        step: int = 0,
        watch: Watch | None = None,
    ) -> int:
        """Run the batches of positions ``begin`` to ``end``; return how many were run.

        ``optimizer.iterations`` is right whenever this is left, by an exception too.
        """
        train = mode == "train"
        if end is None:
            end = rows.n
        optimizer = self._optimizer
        assert optimizer is not None
        batch_size = min(batch_size, end - begin)
        executor = self._executor(mode, rows.r is not None, batch_size)
        steps = -(-(end - begin) // batch_size)
        stepwise = bool(meter.python) or callbacks is not None
        losses = _not_done(steps)
        iteration = optimizer.iterations if train else 0
        rates = optimizer.rates(iteration, steps) if train and not stepwise else _NO_RATE
        done, at, stop = 0, begin, end
        parameters, running = self._parameters, False
        plain, recorded = executor, False
        if watch is not None:
            # Both from the same settings: what a callback changes holds from the next pass on.
            watching = self._executor(mode, rows.r is not None, batch_size, watch)
            first = watch.step
        try:
            while at < end:
                if stepwise:
                    stop = min(end, at + batch_size)
                    if callbacks is not None:
                        _hook(callbacks, mode, "begin")(step + done, None)
                    if self._parameters is not parameters:
                        raise RuntimeError(
                            f"{self.label}: its layers were changed while it works through data "
                            f"(in a callback?); change them before or after fit"
                        )
                    if train:  # a callback may have trained, too
                        iteration = optimizer.iterations - done
                        rates = optimizer.rates(iteration + done, 1)
                    if meter.python:
                        self._update_python_metrics(meter, rows, order, at, stop)
                rest: dict[str, Any] = {}
                if watch is not None:
                    last = stop if stepwise else end
                    recorded, count = watch.upcoming(batch_size, -(-(last - at) // batch_size))
                    stop = min(last, at + count * batch_size)
                    executor = plain
                    if recorded:
                        executor = watching
                        rest = {"between": plain, **watch.room()}
                running = True
                n = self._slice(
                    executor, rows, order, at, stop, batch_size,
                    iteration=iteration + done,
                    learning_rates=rates if rates.size == 1 else rates[done:],
                    losses=losses[done:], loss_totals=meter.loss_totals, totals=meter.totals,
                    seconds=SLICE, **rest,
                )  # fmt: skip
                running = False
                if train:
                    optimizer.iterations = iteration + done + n
                if watch is not None:
                    watch.done(
                        losses[done : done + n], batch_size, min(n * batch_size, stop - at),
                        executor.plan if recorded else None,
                    )  # fmt: skip
                after = min(at + n * batch_size, stop)
                if train and not self._reported and not math.isfinite(meter.loss_totals[0]):
                    self._warn_not_finite(losses[done : done + n], epoch, step + done)
                done += n
                at = after
                if progress is not None and progress.redraws:
                    progress.update(step + done, meter.logs())
                if stepwise and callbacks is not None:
                    _hook(callbacks, mode, "end")(step + done - 1, meter.logs())
                    if train and self.stop_training:
                        break
        except BaseException:
            # Ctrl-C arrives as soon as the executor returns: count what it wrote.
            if train and (running or not stepwise):
                n = int(np.count_nonzero(losses.view(np.uint64) != _NOT_DONE))
                optimizer.iterations = iteration + n
                if watch is not None and running:
                    n -= watch.step - first
                    watch.done(
                        losses[done : done + n], batch_size, min(n * batch_size, stop - at),
                        executor.plan if recorded else None,
                    )  # fmt: skip
            raise
        return done

    def _update_python_metrics(
        self, meter: _Meter, rows: Rows, order: NDArray[np.int64] | None, begin: int, end: int
    ) -> None:
        part = rows.converted(order, begin, end, self.dtype)
        y_pred = self._predict_rows(part.x)
        for m in meter.python:
            if getattr(m, "weighted", False) and part.r is not None:
                m.update_state(part.t, y_pred, sample_weight=part.r)
            else:
                m.update_state(part.t, y_pred)

    def _warn_not_finite(self, losses: NDArray[np.float64], epoch: int, step: int) -> None:
        bad = np.flatnonzero(~np.isfinite(losses))
        if not bad.size:
            return
        self._reported = True
        optimizer = self._optimizer
        assert optimizer is not None
        rate = f" (now {optimizer.learning_rate:g})"
        warnings.warn(
            f"{self.label}: the loss became {losses[bad[0]]} in epoch {epoch + 1}, step "
            f"{step + int(bad[0]) + 1}. Usual causes: a learning rate that is too high{rate}; "
            f"inputs that are not scaled to about -1..1 (a Rescaling layer does it); large "
            f"gradients (give the optimizer clipnorm=1.0). Training goes on; the callback "
            f"TerminateOnNaN would end it",
            RuntimeWarning,
            stacklevel=5,
        )

    # --- fit ---

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        record: Record | None = None,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x : array_like, or an iterator, generator or data set of batches
            Rows of inputs, of any real dtype, memory-mapped files included: they are read
            where they lie.  Batches are ``(x, y)`` or ``(x, y, sample_weight)``.
        y : array_like
            Targets: integer labels (n,) for the sparse loss, else (n, n_outputs); not with
            batches.
        batch_size : int, optional
            Rows of one step; default 32, or all rows for the optimizer "gd".
        epochs : int, default 1
            The number of the last epoch (``initial_epoch`` counts).
        verbose : {"auto", 0, 1, 2}
            0: silent; 1: a progress bar; 2: one line an epoch; "auto": 1 on a terminal and in a
            notebook, else 2.
        callbacks : list of Callback, optional
            Any of :mod:`nncore.callbacks`, called in this order.
        validation_split : float, default 0
            This part of the rows, the last ones, is kept for validation.
        validation_data : tuple or batches, optional
            ``(x, y)`` or ``(x, y, sample_weight)``; wins over ``validation_split``.
        shuffle : bool or "batch", default True
            Whether each epoch takes the rows in another order; "batch" shuffles inside
            the batches.  Not for iterators.
        class_weight : mapping of int to float, optional
            Weight of the rows of each class; 1 for classes that it does not name.
        sample_weight : array_like, optional
            Weight of each row.  With ``class_weight``: the product counts.
        initial_epoch : int, default 0
            Where to go on.
        steps_per_epoch : int, optional
            Batches of an epoch; default: one pass over the data.
        validation_steps, validation_batch_size : int, optional
            The same for validation.
        validation_freq : int or list of int, default 1
            Validate every so many epochs, or after these epochs (counted from 1).
        record : Record, optional
            Keeps gradients, weights, activations or statistics of the steps: see
            :class:`nncore.Record`.  Steps of ``train_on_batch``, called by a callback, are not
            recorded.  The training is the same, bit for bit.

        Returns
        -------
        History
            ``history.history`` maps "loss", "accuracy", "val_loss", ... to one value an
            epoch.  The loss of an epoch is the mean over its rows, penalties included.
            With a ``record`` of statistics also "hidden/gradient_norm" and the like.

        Raises
        ------
        ValueError
            For data and arguments that do not fit, before anything is changed.
        KeyboardInterrupt
            Ctrl-C ends the training within a tenth of a second.  The callbacks' ``on_train_end``
            is called first, and the model is as the last whole step left it.

        Notes
        -----
        A loss that becomes NaN or infinite is a RuntimeWarning with epoch and step.
        """
        from nncore import random
        from nncore.callbacks import CallbackList
        from nncore.progress import ProgressBar, resolve_verbose

        self._require_compiled("fit")
        check = data.check_count
        if batch_size is not None:
            batch_size = check("batch_size", batch_size)
        epochs = check("epochs", epochs, minimum=0)
        initial_epoch = check("initial_epoch", initial_epoch, minimum=0)
        for argument, value in (
            ("steps_per_epoch", steps_per_epoch),
            ("validation_steps", validation_steps),
            ("validation_batch_size", validation_batch_size),
        ):
            if value is not None:
                check(argument, value)
        _check_verbose(verbose, "fit")
        if not isinstance(shuffle, (bool, np.bool_)) and shuffle != "batch":
            raise ValueError(
                f'fit: shuffle must be True, False or "batch"; received shuffle={shuffle!r}'
            )
        _check_freq(validation_freq)
        _check_record(record)
        fraction = _check_split(validation_split)

        validation: _Source | None = None
        if data.is_batches(x):
            if y is not None or sample_weight is not None:
                raise ValueError(
                    f"fit: x yields batches ({type(x).__name__}), so y and sample_weight must be "
                    f"None; yield (x, y) or (x, y, sample_weight) instead"
                )
            if fraction and validation_data is None:
                raise ValueError(
                    "fit: validation_split needs arrays; with batches give validation_data"
                )
            if batch_size is not None and not hasattr(x, "__next__"):
                raise ValueError(
                    f"fit: x yields batches ({type(x).__name__}), which have their own size; "
                    f"received batch_size={batch_size}"
                )
            train = _Source(None, Batches(x), 0, steps_per_epoch)
            shape = self._peek(train, class_weight, "fit", build=False)
        else:
            rows = self._rows(x, y, sample_weight, class_weight, "fit", build=False)
            shape = rows.x.shape[1:]
            if fraction and validation_data is None:
                rows, kept = data.split(rows, fraction)
                if class_weight is not None:  # they are for training alone
                    whole = data.check_weights(sample_weight, None, None, rows.n + kept.n, 1)
                    kept.r = None if whole is None else whole[rows.n :]
                size = self._batch_size(
                    validation_batch_size or batch_size, kept.n, validation_steps
                )
                validation = _Source(kept, None, size, validation_steps)
            size = self._batch_size(batch_size, rows.n, steps_per_epoch)
            train = _Source(rows, None, size, steps_per_epoch)
        if validation_data is not None:
            validation = self._source(
                validation_data, validation_batch_size or batch_size, validation_steps, shape
            )

        from nncore.callbacks import check_callbacks

        check_callbacks(callbacks)
        watch = self._watch(record, train, shape, epochs - initial_epoch)
        if not self.built:  # now that everything fits
            self._build(shape)
        chain = callbacks
        if not isinstance(chain, CallbackList):
            chain = CallbackList(
                callbacks,
                add_history=True,
                model=self,
                epochs=epochs,
                verbose=verbose,
                steps=train.length,
            )
        self.stop_training = self._reported = False
        seed = random.next_seed() if shuffle else 0
        logs: dict[str, float] = {}
        shown = resolve_verbose(verbose)
        bar: ProgressBar | None = None
        if watch is not None:
            watch.begin()
        try:
            chain.on_train_begin(None)
            for epoch in range(initial_epoch, epochs):
                chain.on_epoch_begin(epoch, None)
                if shown:
                    bar = ProgressBar(train.length, shown, epoch=epoch, epochs=epochs)
                meter = _Meter(*self._resolve())
                if watch is not None:
                    watch.begin_epoch(epoch)
                enough = self._epoch(train, meter, shuffle, seed, epoch, class_weight, chain, bar)
                if not meter.rows:  # the batches have run out: this was no epoch
                    break
                logs = meter.sorted_logs()
                if validation is not None and _is_due(validation_freq, epoch):
                    values = self._validate(validation, chain, epoch)
                    logs.update((f"val_{name}", value) for name, value in values.items())
                if watch is not None:
                    logs.update(watch.logs())
                # Callbacks first: what they add to the logs is shown.
                chain.on_epoch_end(epoch, logs)
                if bar is not None:
                    quiet = () if watch is None else watch.names
                    bar.finish({name: logs[name] for name in logs if name not in quiet})
                if self.stop_training or not enough:
                    break
        except KeyboardInterrupt:
            if bar is not None:
                bar.close()
            chain.on_train_end(logs or None)
            raise
        finally:
            if bar is not None:
                bar.close()
            if watch is not None:
                watch.end()
        chain.on_train_end(logs or None)
        assert self.history is not None
        return self.history

    def _watch(
        self, record: Record | None, train: _Source, shape: tuple[int, ...], epochs: int
    ) -> Watch | None:
        """Return who fills a record from the training's steps; nothing is changed yet."""
        if record is None:
            return None
        from nncore.watch import Watch

        assert self._loss is not None
        steps = train.length
        train.watch = Watch(
            record, self._layers, shape, loss=self._loss, dtype=self.dtype, rows=train.batch_size,
            steps=None if steps is None else steps * max(0, epochs), label=self.label,
        )  # fmt: skip
        return train.watch

    def _batch_size(self, given: int | None, n: int, steps: int | None) -> int:
        """Return the batch size for ``n`` rows, by Keras's rule."""
        if given is not None:
            return min(given, n)
        assert self._optimizer is not None
        if steps is not None:
            return -(-n // steps)
        return n if self._optimizer.full_batch else min(32, n)

    def _source(
        self, given: Any, batch_size: int | None, steps: int | None, shape: tuple[int, ...]
    ) -> _Source:
        """Return checked validation data, for input rows of ``shape``."""
        if data.is_batches(given):
            return _Source(None, Batches(given), 0, steps)
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise ValueError(
                "fit: validation_data must be (x, y), (x, y, sample_weight) or batches; received "
                + (
                    f"a {type(given).__name__} of {len(given)}"
                    if isinstance(given, (tuple, list))
                    else f"{type(given).__name__}"
                )
            )
        x, y, w = (*given, None)[:3]
        where = "fit: validation_data"
        rows = self._rows(x, y, w, None, where, shape=shape, build=False)
        return _Source(rows, None, self._batch_size(batch_size, rows.n, steps), steps)

    def _peek(
        self, source: _Source, class_weight: Any, where: str, build: bool = True
    ) -> tuple[int, ...]:
        """Check the first batch; return the shape of its rows."""
        batches = source.batches
        assert batches is not None
        iterator = batches.iterate(0)
        try:
            first = next(iterator)
        except StopIteration:
            raise ValueError(
                f"{where}: x has no batches; give an iterator that yields at least one (one that "
                f"was read to its end before must be made anew)"
            ) from None
        x, y, w = data.unpack(first, where)
        rows = self._rows(x, y, w, class_weight, where, build=build)
        source.batch_size = rows.n
        if not batches.indexed:
            source.iterator = itertools.chain([first], iterator)
        shape: tuple[int, ...] = rows.x.shape[1:]
        return shape

    def _epoch(
        self,
        source: _Source,
        meter: _Meter,
        shuffle: Any,
        seed: int,
        epoch: int,
        class_weight: Any,
        callbacks: CallbackList,
        progress: ProgressBar | None,
    ) -> bool:
        """Run one epoch of training; return whether there is data for another."""
        hooks = callbacks if callbacks.needs_batches else None
        if source.rows is None:
            return self._epoch_of_batches(
                "train", source, meter, class_weight, hooks, progress, epoch, shuffle, seed
            )
        rows, size = source.rows, source.batch_size
        n_batches = -(-rows.n // size)
        begin = source.seen * size
        take = n_batches if source.steps is None else source.steps
        if take > n_batches - source.seen:
            take = n_batches - source.seen
            source.ran_out("fit", source.steps or 0)
        end = min(rows.n, begin + take * size)
        order = None
        if shuffle and n_batches > 1:
            order = _order(rows.n, seed, source.passes if source.steps else epoch, size, shuffle)
        self._pass(
            "train", rows, size, meter, order=order, begin=begin, end=end,
            callbacks=hooks, progress=progress, epoch=epoch, watch=source.watch,
        )  # fmt: skip
        source.seen += take
        if source.seen >= n_batches:
            source.seen = 0
            source.passes += 1
        return True

    def _epoch_of_batches(
        self,
        mode: str,
        source: _Source,
        meter: _Meter,
        class_weight: Any,
        hooks: CallbackList | None,
        progress: ProgressBar | None,
        epoch: int = 0,
        shuffle: Any = False,
        seed: int = 0,
        where: str = "",
    ) -> bool:
        batches = source.batches
        assert batches is not None
        where = where or ("fit" if mode == "train" else "evaluate")
        if shuffle and batches.indexed:
            batches.order = lambda n, k: _order(n, seed, k, n, True)
        if source.iterator is None:
            source.iterator = batches.iterate(source.passes)
        step = 0
        while source.steps is None or step < source.steps:
            try:
                batch = next(source.iterator)
            except StopIteration:
                source.iterator = None
                source.passes += 1
                batches.end_of_epoch()
                if source.steps is not None:
                    source.ran_out(where, source.steps)
                elif step == 0:
                    warnings.warn(
                        f"{where}: no batches are left for epoch {epoch + 1}. Give "
                        f"steps_per_epoch, or x that can be iterated again and again",
                        UserWarning,
                        stacklevel=4,
                    )
                else:
                    batches.length = batches.length or (None if batches.once else step)
                return not batches.once or (source.steps is None and step > 0)
            x, y, w = data.unpack(batch, where)
            rows = self._rows(x, y, w, class_weight, where)
            self._pass(
                mode, rows, rows.n, meter, callbacks=hooks, progress=progress,
                epoch=epoch, step=step, watch=source.watch,
            )  # fmt: skip
            step += 1
            if mode == "train" and hooks is not None and self.stop_training:
                break
        if batches.length is not None and source.steps is not None:
            source.seen += step
            if source.seen >= batches.length:
                source.seen, source.iterator = 0, None
                source.passes += 1
                batches.end_of_epoch()
        return True

    def _validate(
        self, source: _Source, callbacks: CallbackList | None, epoch: int
    ) -> dict[str, float]:
        """Return loss and metrics of validation data; nothing where there was none."""
        hooks = None
        if callbacks is not None:
            callbacks.on_test_begin(None)
            if callbacks.needs_test_batches:
                hooks = callbacks
        meter = _Meter(*self._resolve())
        self._test(source, meter, hooks, None, "fit: validation_data", epoch)
        logs = meter.sorted_logs() if meter.rows else {}
        if callbacks is not None:
            callbacks.on_test_end(logs)
        return logs

    def _test(
        self,
        source: _Source,
        meter: _Meter,
        hooks: CallbackList | None,
        progress: ProgressBar | None,
        where: str = "evaluate",
        epoch: int = 0,
    ) -> None:
        if source.rows is None:
            assert source.batches is not None
            if not source.batches.once:
                source.iterator = None
            source.seen = 0
            self._epoch_of_batches("test", source, meter, None, hooks, progress, epoch, where=where)
            if source.iterator is not None and not source.batches.once:
                source.iterator = None
            return
        rows, size = source.rows, source.batch_size
        end = rows.n
        if source.steps is not None:
            end = min(end, source.steps * size)
            if source.steps > -(-rows.n // size):
                source.ran_out(where, source.steps)
        self._pass("test", rows, size, meter, end=end, callbacks=hooks, progress=progress)

    # --- evaluate ---

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return loss and metrics of the model on some data.

        Parameters
        ----------
        x, y : array_like
            As in :meth:`fit`.
        batch_size : int, optional
            As in :meth:`fit`.
        verbose : {"auto", 0, 1, 2}
            As in :meth:`fit`.
        sample_weight : array_like, optional
            As in :meth:`fit`.
        steps : int, optional
            Only so many batches.
        callbacks : list of Callback, optional
            Their ``on_test_...`` hooks are called.
        return_dict : bool, default False
            Whether names come with the numbers.

        Returns
        -------
        float, list of float or dict
            The loss; with metrics ``[loss, metric, ...]``; with ``return_dict`` a dict.
        """
        from nncore.callbacks import CallbackList
        from nncore.progress import ProgressBar, resolve_verbose

        self._require_compiled("evaluate")
        _check_verbose(verbose, "evaluate")
        if batch_size is not None:
            batch_size = data.check_count("batch_size", batch_size, where="evaluate")
        if steps is not None:
            steps = data.check_count("steps", steps, where="evaluate")
        if data.is_batches(x):
            if y is not None or sample_weight is not None:
                raise ValueError(
                    f"evaluate: x yields batches ({type(x).__name__}), so y and sample_weight must "
                    f"be None; yield (x, y) or (x, y, sample_weight) instead"
                )
            source = _Source(None, Batches(x), 0, steps)
            self._peek(source, None, "evaluate")
            iterator = source.iterator
        else:
            rows = self._rows(x, y, sample_weight, None, "evaluate")
            source = _Source(rows, None, self._batch_size(batch_size, rows.n, steps), steps)
            iterator = None
        chain = callbacks
        if chain is not None and not isinstance(chain, CallbackList):
            chain = CallbackList(
                callbacks, model=self, epochs=1, verbose=verbose, steps=source.length
            )
        hooks = chain if chain is not None and chain.needs_test_batches else None
        meter = _Meter(*self._resolve())
        if chain is not None:
            chain.on_test_begin(None)
        shown = resolve_verbose(verbose)
        bar = ProgressBar(source.length, shown) if shown else None
        try:
            if source.rows is None:
                source.iterator = iterator
                self._epoch_of_batches("test", source, meter, None, hooks, bar)
            else:
                self._test(source, meter, hooks, bar)
            logs = meter.logs()
            if bar is not None:
                bar.finish(logs)
        finally:
            if bar is not None:
                bar.close()
        if chain is not None:
            chain.on_test_end(logs)
        return _returned(logs, return_dict)

    # --- predict ---

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> NDArray[Any]:
        """Return the model's outputs for rows of x.

        Any number of rows: they are worked through in blocks, so that the memory needed does not
        grow.

        Parameters
        ----------
        x : array_like, or an iterator, generator or data set of batches
            Rows of inputs, of any real dtype.
        batch_size : int, optional
            Rows of a batch, for ``steps``, ``callbacks`` and the progress bar; the outputs do not
            depend on it.
        verbose : {"auto", 0, 1, 2}
            1: a progress bar; "auto" is silent.
        steps : int, optional
            Only so many batches, of ``batch_size`` rows; without it all rows, in so many batches.
        callbacks : list of Callback, optional
            Their ``on_predict_...`` hooks are called.

        Returns
        -------
        ndarray
            ``(n, *output shape)``, of the model's dtype.
        """
        if (
            (verbose == "auto" or verbose == 0)
            and batch_size is None
            and steps is None
            and callbacks is None
        ):
            outputs = None if self._quick is None else self._quick(x)
            if outputs is None and self._bulk is not None:
                outputs = self._bulk(x)
            if outputs is not None:
                return outputs
        from nncore.callbacks import CallbackList
        from nncore.progress import ProgressBar, resolve_verbose

        _check_verbose(verbose, "predict")
        if batch_size is not None:
            batch_size = data.check_count("batch_size", batch_size, where="predict")
        if steps is not None:
            steps = data.check_count("steps", steps, where="predict")
        if not data.is_batches(x):
            rows = self._inputs(x, "predict")
            if verbose in ("auto", 0) and callbacks is None and steps is None:
                return self._predict_rows(rows)
            size = batch_size or 32
            if steps is not None:
                size = batch_size or -(-rows.shape[0] // steps)
                rows = rows[: steps * size]
            total = -(-rows.shape[0] // size)
            parts: Iterator[Any] = (rows[at : at + size] for at in range(0, rows.shape[0], size))
        else:
            batches = Batches(x)
            total = steps if steps is not None else (batches.length or 0)
            parts = itertools.islice(batches.iterate(0), steps)
        chain = callbacks
        if not isinstance(chain, CallbackList):
            chain = CallbackList(callbacks, model=self, epochs=1, verbose=verbose, steps=total)
        shown = 0 if verbose == "auto" else resolve_verbose(verbose)
        bar = ProgressBar(total or None, shown) if shown else None
        found = []
        chain.on_predict_begin(None)
        try:
            for step, part in enumerate(parts):
                chain.on_predict_batch_begin(step, None)
                part = data.unpack(part, "predict")[0]
                found.append(self._predict_rows(self._inputs(part, "predict")))
                chain.on_predict_batch_end(step, {"outputs": found[-1]})
                if bar is not None:
                    bar.update(step + 1)
            if bar is not None:
                bar.finish()
        finally:
            if bar is not None:
                bar.close()
        chain.on_predict_end(None)
        if not found:
            if not self.built:
                raise ValueError("predict: x has no batches")
            return np.empty((0, *self._layers[-1].output_shape), self.dtype)
        return np.concatenate(found)

    def predict_on_batch(self, x: Any) -> NDArray[Any]:
        """Return the model's outputs for rows of x."""
        return self._predict_rows(self._inputs(x, "predict_on_batch"))

    def __call__(self, x: Any, training: bool = False) -> NDArray[Any]:
        """Return the model's outputs for rows of x: the short path of :meth:`predict`.

        Parameters
        ----------
        x : array_like
            Rows of inputs.
        training : bool, default False
            True is an error if the model has Dropout: masks belong to training steps.
        """
        if not training:
            outputs = None if self._quick is None else self._quick(x)
            if outputs is None and self._bulk is not None:
                outputs = self._bulk(x)
            if outputs is not None:
                return outputs
        if training and any(type(layer).__name__ == "Dropout" for layer in self._layers):
            raise ValueError(
                f"{self.label}: calling it with training=True is not supported for a model with "
                f"Dropout; the masks are drawn inside fit and train_on_batch. Use training=False"
            )
        return self._predict_rows(self._inputs(x, "call"))

    def _inputs(self, x: Any, where: str) -> NDArray[Any]:
        """Return x, checked; builds the model if it is not built."""
        array = data.as_array(x, "x", where)
        if not self.built:
            with self._building:
                if not self.built:
                    shape, _ = self._shapes_for(array, "predict")
                    self._build(shape)
        if array.ndim == 0:
            raise ValueError(f"{where}: x must be an array of rows; received one number, {x!r}")
        return data.check_inputs(array, self._input.shape, where)

    def _predict_rows(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs for checked rows.  Several threads may be here at once."""
        n = x.shape[0]
        threads = self.n_threads
        large = self.parameters.nbytes > LARGE
        short = self._short_path(n, threads, large)
        if short is not None:
            outputs = short(x)
            if outputs is not None:
                return outputs
        last = self._layers[-1].output_shape
        out = np.empty((n, *last), self.dtype)
        flat = out if len(last) == 1 else out.reshape(n, math.prod(last))
        if not n:
            return out
        try:
            executor = self._predictors.pop()
        except IndexError:
            executor = None
        if executor is None:
            # Weights that no cache keeps are read anew for every block.
            executor = self._new_executor("predict", False, 4 * BLOCK if large else BLOCK, {})[0]
        if executor.n_threads != threads:
            executor.n_threads = threads
        if data.gatherable(x):
            executor.predict(x, flat)
        else:
            # What must be converted first is so piece by piece: 4 MB at a time.
            size = executor.batch_size
            size = max(size, (4 << 20) // max(1, 8 * math.prod(x.shape[1:])) // size * size)
            for at in range(0, n, size):
                executor.predict(data.plain(x[at : at + size], self.dtype), flat[at : at + size])
        self._predictors.append(executor)
        return out

    def _short_path(
        self, n: int, threads: int, large: bool
    ) -> Callable[[Any], NDArray[Any] | None] | None:
        """Return the short path for so many rows, made if need be, or None: there is none.

        Each has an executor of its own.  Large weights are better off with larger blocks.
        """
        bulk = n > BLOCK
        if self._engine != "compiled" or not n or (bulk and large):
            return None
        if self._short_threads[bulk] != threads:
            from nncore import compiler

            made = compiler.make_predictor(
                self._new_executor("predict", False, BLOCK, {})[0],
                self._input.shape,
                self._layers[-1].output_shape,
                follows=self._n_threads is None,
                bulk=bulk,
            )
            if bulk:
                self._bulk = made
            else:
                self._quick = made
            self._short_threads[bulk] = threads
        return self._bulk if bulk else self._quick

    # --- single batches ---

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Run one step of training on these rows.

        Returns
        -------
        float, list of float or dict
            Loss and metrics of this batch before its update; see :meth:`evaluate`.
        """
        self._require_compiled("train_on_batch")
        return self._one_batch(
            "train", self._rows(x, y, sample_weight, class_weight, "train_on_batch"), return_dict
        )

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return loss and metrics of these rows; see :meth:`evaluate`."""
        self._require_compiled("test_on_batch")
        return self._one_batch(
            "test", self._rows(x, y, sample_weight, None, "test_on_batch"), return_dict
        )

    def _one_batch(self, mode: str, rows: Rows, return_dict: bool) -> Any:
        optimizer = self._optimizer
        assert optimizer is not None
        meter = _Meter(*self._resolve())
        executor = self._executor(mode, rows.r is not None, rows.n)
        if meter.python:
            self._update_python_metrics(meter, rows, None, 0, rows.n)
        loss = _not_done(1)
        iteration, rates = 0, _NO_RATE
        if mode == "train":
            iteration = optimizer.iterations
            rates = optimizer.rates(iteration, 1)
            optimizer.iterations = iteration + 1
        try:
            self._slice(
                executor, rows, None, 0, rows.n, rows.n, iteration=iteration,
                learning_rates=rates, losses=loss, loss_totals=meter.loss_totals,
                totals=meter.totals,
            )  # fmt: skip
        except BaseException:
            if mode == "train" and loss.view(np.uint64)[0] == _NOT_DONE:
                optimizer.iterations = iteration
            raise
        return _returned(meter.logs(), return_dict)


def _not_done(steps: int) -> NDArray[np.float64]:
    """Return room for the losses of so many steps, where it can be told which were written."""
    losses = np.empty(steps, np.uint64)
    losses.fill(_NOT_DONE)
    return losses.view(np.float64)


def _hook(callbacks: CallbackList, mode: str, end: str) -> Callable[[int, Any], None]:
    word: Callable[[int, Any], None] = getattr(callbacks, f"on_{mode}_batch_{end}")
    return word


def _returned(logs: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return dict(sorted(logs.items()))
    return list(logs.values()) if len(logs) > 1 else logs["loss"]


def _order(n: int, seed: int, epoch: int, batch_size: int, shuffle: Any) -> NDArray[np.int64]:
    """Return the order of rows in one epoch."""
    from nncore import kernels

    order = kernels.permutation(n, seed, epoch)
    if isinstance(shuffle, str):  # "batch": rows stay in their batch
        order = order[np.argsort(order // batch_size, kind="stable")]
    return order


def _check_verbose(verbose: Any, where: str) -> None:
    if verbose != "auto" and (isinstance(verbose, str) or verbose not in (0, 1, 2)):
        raise ValueError(f'{where}: verbose must be "auto", 0, 1 or 2; received {verbose!r}')


def _check_record(record: Any) -> None:
    from nncore.record import Record

    if record is not None and not isinstance(record, Record):
        hint = "; call it: record=nncore.Record()" if record is Record else ""
        raise TypeError(
            f"fit: record must be an nncore.Record, such as nncore.Record(every=10, "
            f'what=("gradient_norm", "dead")), or None; received record={record!r}{hint}'
        )


def _check_split(value: Any) -> float:
    try:
        fraction = float(value) if value is not None else 0.0
    except (TypeError, ValueError):
        fraction = math.nan
    if not 0 <= fraction < 1:
        raise ValueError(
            f"fit: validation_split must be at least 0 and less than 1 (the part of the rows that "
            f"is kept for validation); received validation_split={value!r}"
        )
    return fraction


def _check_freq(value: Any) -> None:
    if isinstance(value, (list, tuple, set, frozenset)):
        for entry in value:
            data.check_count("validation_freq", entry)
    else:
        data.check_count("validation_freq", value)


def _is_due(freq: Any, epoch: int) -> bool:
    """Tell whether the epoch (counted from 0) is one to validate after."""
    if isinstance(freq, (list, tuple, set, frozenset)):
        return epoch + 1 in freq
    return (epoch + 1) % int(freq) == 0
