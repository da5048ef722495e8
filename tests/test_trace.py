"""One training step with every number kept: model.trace, gradients, check_gradients."""

from __future__ import annotations

import copy
import doctest
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

import nncore
from nncore import compiler, kernels, optimizers
from nncore.layers import (
    Activation,
    Dense,
    Dropout,
    Flatten,
    Input,
    LeakyReLU,
    Rescaling,
    Softmax,
)
from nncore.reference import losses as reference_losses
from nncore.trace import SLOTS, complete

DTYPES = ("float32", "float64")
ACTIVATIONS = kernels.activations()
LOSSES = (
    "mse", "root_mean_squared_error", "mae", "huber", "log_cosh", "poisson",
    "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
)  # fmt: skip

MAKE_OPTIMIZER: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01, clipvalue=0.001),
    "rmsprop_full": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adam": lambda: optimizers.Adam(0.01, clipnorm=0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, global_clipnorm=0.01),
    "adamw": lambda: optimizers.AdamW(optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)),
}


def worked_example(dtype: str = "float64") -> nncore.Sequential:
    model = nncore.Sequential(
        [
            Input((2,), dtype=dtype),
            Dense(2, activation="sigmoid", use_bias=False, dtype=dtype, name="hidden"),
            Dense(2, activation="sigmoid", use_bias=False, dtype=dtype, name="output"),
        ]
    )
    model.set_weights([[[0.30, 0.40], [0.25, 0.35]], [[0.45, 0.70], [0.40, 0.60]]])
    model.compile(optimizers.SGD(0.5), "mse")
    return model


X, T = [[0.1, 0.2]], [[0.4, 0.6]]


def data(loss: str, rows: int, n_in: int, n_out: int, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, n_in))
    t: Any
    if loss == "sparse_categorical_crossentropy":
        t = rng.integers(0, n_out, rows)
    elif loss == "categorical_crossentropy":
        t = np.eye(n_out)[rng.integers(0, n_out, rows)]
    else:
        t = rng.uniform(size=(rows, n_out))
    return x, t, rng.uniform(0.5, 2.0, size=rows)


def small(
    layers: list[Any], loss: Any, optimizer: Any, *, dtype: str, n_in: int = 4, **settings: Any
) -> nncore.Sequential:
    """Return a compiled model; layers without parameters follow the dtype of the others."""
    model = nncore.Sequential([Input((n_in,)), *layers])
    rng = np.random.default_rng(1)
    model.set_weights([0.5 * rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile(optimizer, loss, **settings)
    return model


def cases() -> Iterator[Any]:
    """Every activation, loss and optimizer, each with something else beside it."""
    names = list(MAKE_OPTIMIZER)
    for i, activation in enumerate(ACTIVATIONS):
        last = "softmax" if i % 2 else "sigmoid"
        yield pytest.param(activation, last, LOSSES[i % len(LOSSES)], names[i % len(names)])
    for i, loss in enumerate(LOSSES):
        for last in ("sigmoid", "softmax", "softplus"):
            yield pytest.param("tanh", last, loss, names[(i + len(last)) % len(names)])
    for name in names:
        yield pytest.param("gelu", "sigmoid", "mse", name)


def build(
    activation: str, last: str, loss: str, optimizer: str, dtype: str, **settings: Any
) -> nncore.Sequential:
    return small(
        [
            Rescaling(0.5, 0.1, name="scale"),
            Dense(5, activation=activation, dtype=dtype, name="one", kernel_regularizer="l2"),
            Dropout(0.3, seed=3, name="drop"),
            Dense(6, dtype=dtype, name="two", activity_regularizer="l1"),
            Activation(activation if activation != "softmax" else "relu", name="bend"),
            Dense(3, activation=last, dtype=dtype, name="three"),
        ],
        loss, MAKE_OPTIMIZER[optimizer](), dtype=dtype, **settings,
    )  # fmt: skip


class TestWorkedExample:
    """The numbers of https://wikidocs.net/37406, to eight decimals."""

    def test_all_of_it(self) -> None:
        trace = worked_example().trace(X, T)
        for name, numbers in {
            "hidden.z": (0.08, 0.11),
            "hidden.y": (0.51998934, 0.52747230),
            "output.z": (0.44498412, 0.68047592),
            "output.y": (0.60944600, 0.66384491),
            "loss": (0.02397190,),
            "output.dy": (0.20944600, 0.06384491),
            "hidden.dw": (0.00080888, 0.00161775, 0.00071009, 0.00142017),
            "output.dw": (0.02592286, 0.02629590, 0.00740844, 0.00751506),
            "hidden.kernel.next": (0.29959556, 0.24919112, 0.39964496, 0.34928991),
            "output.kernel.next": (0.43703857, 0.38685205, 0.69629578, 0.59624247),
            "y.next": (0.60617688, 0.66295848),
            "loss.next": (0.02323634,),
        }.items():
            assert [f"{v:.8f}" for v in trace[name].T.ravel()] == [f"{v:.8f}" for v in numbers]
        each = (np.array(T) - trace["y"]) ** 2 / 2
        assert [f"{v:.8f}" for v in each.ravel()] == ["0.02193381", "0.00203809"]

    def test_the_model_is_as_before(self) -> None:
        model = worked_example()
        before = model.get_weights()
        trace = model.trace(X, T)
        assert model.optimizer.iterations == 0
        assert not trace.applied
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert trace.loss == model.evaluate(X, T, verbose=0)

    def test_apply(self) -> None:
        model = worked_example()
        trace = model.trace(X, T, apply=True)
        assert model.optimizer.iterations == 1
        assert trace.applied
        np.testing.assert_array_equal(model.get_weights()[1], trace["output.w.next"])
        assert trace["loss.next"] == model.evaluate(X, T, verbose=0)
        np.testing.assert_array_equal(trace["hidden.w"], [[0.30, 0.40], [0.25, 0.35]])


class TestBits:
    """A trace and an ordinary step from the same start give the same weights."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(("activation", "last", "loss", "optimizer"), list(cases()))
    def test_as_train_on_batch(
        self, activation: str, last: str, loss: str, optimizer: str, dtype: str
    ) -> None:
        x, t, r = data(loss, 7, 4, 3)
        model, other, watched = (build(activation, last, loss, optimizer, dtype) for _ in range(3))
        for weights in (None, r):
            trace = watched.trace(x, t, weights)
            applied = other.trace(x, t, weights, apply=True)
            result = model.train_on_batch(x, t, weights)
            assert trace.loss == applied.loss
            assert trace.loss * 7 / 7 == result  # the mean over 7 rows, as logs have it
            for layer in ("one", "two", "three"):
                for p in model.get_layer(layer).parameters:
                    for found in (trace, applied):
                        np.testing.assert_array_equal(found[f"{layer}.{p.name}.next"], p.value)
            np.testing.assert_array_equal(model.parameters, other.parameters)
            if model.slots is not None:
                np.testing.assert_array_equal(model.slots, other.slots)
            assert other.optimizer.iterations == model.optimizer.iterations
            watched.set_weights(model.get_weights())
            if model.slots is not None:
                watched.slots[...] = model.slots  # type: ignore[index]
            watched.optimizer.iterations = model.optimizer.iterations


class TestAgainstTheReference:
    """Every array is what plain NumPy computes."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(("activation", "last", "loss", "optimizer"), list(cases()))
    def test_every_array(
        self, activation: str, last: str, loss: str, optimizer: str, dtype: str
    ) -> None:
        x, t, r = data(loss, 9, 4, 3)
        found, plain = (
            build(activation, last, loss, optimizer, dtype, engine=engine).trace(x, t, r)
            for engine in ("compiled", "reference")
        )
        assert list(found) == list(plain)
        scale = 2e3 if dtype == "float32" else 2e4
        tolerance = scale * float(np.finfo(dtype).eps)
        for name, array in found.items():
            size = max(1.0, float(np.abs(plain[name]).max()))
            assert array.shape == plain[name].shape
            assert array.dtype == plain[name].dtype
            np.testing.assert_allclose(
                array, plain[name], rtol=tolerance, atol=tolerance * size, err_msg=name
            )

    @pytest.mark.parametrize("loss", LOSSES)
    def test_loss_of_each_row(self, loss: str) -> None:
        x, t, _ = data(loss, 9, 4, 3)
        last = "softmax" if "categorical" in loss else "sigmoid"
        trace = small(
            [Dense(3, activation=last, dtype="float64", name="only")], loss, "sgd", dtype="float64"
        ).trace(x, t)
        kernel = trace.loss_name.replace("root_", "")
        raw = trace["only.z" if trace.layer("only").absorbed else "only.y"]
        takes = {"huber": (1.0,), "binary_crossentropy": (0.0,), "categorical_crossentropy": (0.0,)}
        extra = takes.get(kernel.removeprefix("softmax_").removeprefix("sigmoid_"), ())
        expected = getattr(reference_losses, kernel)(raw, np.asarray(t), *extra)
        np.testing.assert_allclose(trace["loss.rows"], expected, rtol=1e-12)

    def test_the_chain_holds(self) -> None:
        """What is recorded fits together: dz = dy f'(z), dw = x^T dz, dx = dz w^T."""
        x, t, _ = data("mse", 6, 4, 3)
        trace = build("tanh", "sigmoid", "mse", "sgd", "float64").trace(x, t)
        for name in ("one", "two", "three"):
            layer = trace.layer(name)
            slope = kernels.activate_derivative(layer.activation, trace[f"{name}.z"])
            np.testing.assert_allclose(trace[f"{name}.dz"], trace[f"{name}.dy"] * slope, rtol=1e-12)
            dw = trace[f"{name}.x"].T @ trace[f"{name}.dz"]
            if name == "one":
                dw = dw + 2 * 0.01 * trace["one.w"]
            np.testing.assert_allclose(trace[f"{name}.dw"], dw, atol=1e-15)
            np.testing.assert_allclose(
                trace[f"{name}.dx"], trace[f"{name}.dz"] @ trace[f"{name}.w"].T, atol=1e-15
            )
            np.testing.assert_allclose(
                trace[f"{name}.z"],
                trace[f"{name}.x"] @ trace[f"{name}.w"] + trace[f"{name}.b"],
                atol=1e-15,
            )


class TestWhatIsThere:
    def test_names_of_a_layer(self) -> None:
        x, t, r = data("mse", 3, 4, 3)
        trace = build("relu", "sigmoid", "mse", "adam", "float32").trace(x, t, r)
        parts = "x w b z y dy dz dw dw.clipped db db.clipped dx w.next w.m w.m.next w.v w.v.next"
        for part in parts.split():
            assert f"one.{part}" in trace
        assert trace["one.x"].shape == (3, 4)
        assert trace["one.b"].shape == trace["one.db"].shape == (5,)
        assert trace["one.w.m"].shape == (4, 5)
        assert trace["r"].shape == (3,)
        np.testing.assert_array_equal(trace["one.kernel.m.next"], trace["one.w.m.next"])
        norm = float(np.sqrt((trace["one.dw.clipped"].astype(float) ** 2).sum()))
        assert norm == pytest.approx(0.01, rel=1e-5)
        assert trace.clip == ("clipnorm", 0.01)
        assert float(trace["loss.penalty"]) > 0
        for array in trace.values():
            assert not array.flags.writeable

    def test_softmax_and_cross_entropy_are_one_step(self) -> None:
        x, t, _ = data("categorical_crossentropy", 3, 4, 3)
        model = build("relu", "softmax", "categorical_crossentropy", "sgd", "float64")
        trace = model.trace(x, t)
        assert trace.layer("three").absorbed
        np.testing.assert_allclose(trace["three.dz"], (trace["y"] - t) / 3, atol=1e-15)
        with pytest.raises(KeyError, match=r'one step.*Use "three.dz"'):
            trace["three.dy"]

    def test_layers_without_arithmetic(self) -> None:
        model = nncore.Sequential(
            [Input((2, 2)), Flatten(name="flat"), Dense(3, name="line"), Softmax(name="soft")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        x = np.arange(8.0).reshape(2, 2, 2)
        trace = model.trace(x, [0, 2])
        np.testing.assert_array_equal(trace["flat.y"], trace["x"])
        np.testing.assert_array_equal(trace["flat.dy"], trace["line.dx"])
        np.testing.assert_array_equal(trace["soft.x"], trace["line.z"])
        np.testing.assert_array_equal(trace["soft.dx"], trace["line.dz"])
        np.testing.assert_array_equal(trace["t"], [0, 2])
        with pytest.raises(KeyError, match=r'Use "soft.dx"'):
            trace["soft.dy"]

    def test_frozen_layers(self) -> None:
        """The way back goes on below the last layer that is trained, to the input."""
        x, t, _ = data("mse", 5, 4, 3)
        layers = [
            Rescaling(2.0), Dense(5, activation="mish", dtype="float64", name="a"), LeakyReLU(0.2),
            Dense(4, activation="softmax", dtype="float64", name="b", activity_regularizer="l2"),
            Dropout(0.2, seed=1), Dense(3, activation="gelu", dtype="float64", name="c"),
        ]  # fmt: skip
        model = small(layers, "mse", "sgd", dtype="float64")
        everything = model.trace(x, t)
        for names in (("a",), ("a", "b"), ("a", "b", "c")):
            for name in names:
                model.get_layer(name).trainable = False
            trace = model.trace(x, t)
            for name, array in trace.items():
                if "next" not in name:
                    np.testing.assert_allclose(array, everything[name], rtol=1e-9, err_msg=name)
            with pytest.raises(KeyError, match="trainable=False"):
                trace["a.dw"]
            assert nncore.check_gradients(model, x, t)
        assert trace.parameters == ()
        assert model.gradients(x, t) == {}
        np.testing.assert_array_equal(trace["y.next"], trace["y"])

    @pytest.mark.parametrize("rows", [1, 33])
    def test_rows(self, rows: int) -> None:
        x, t, _ = data("mse", rows, 4, 3)
        model = build("relu", "sigmoid", "mse", "sgd", "float32")
        assert model.trace(x, t).rows == rows
        ints = np.arange(4 * rows).reshape(rows, 4)[:, ::-1]
        assert model.trace(ints, t)["x"].dtype == np.float32
        assert model.trace(x[:, ::-1].astype(np.float16), t).rows == rows

    def test_a_model_that_is_not_built(self) -> None:
        model = nncore.Sequential([Dense(2, name="line")])
        model.compile("adam", "mse")
        assert model.trace([[1.0, 2.0]], [[0.0, 1.0]])["line.w"].shape == (2, 2)

    def test_slots_of_every_optimizer(self) -> None:
        assert {name: len(SLOTS[name]) for name in kernels.optimizers()} == kernels.optimizers()

    def test_nothing_is_recorded_twice(self) -> None:
        """Each buffer that is added is written once, by a step of its own."""
        model = build("mish", "softmax", "mse", "sgd", "float32")
        plan = compiler.compile_plan(
            model.layers, "train", loss=model.loss, optimizer=model.optimizer, fused=False,
            output=True,
        )  # fmt: skip
        completed, _ = complete(plan)
        kept = [step for step in completed.steps if step in plan.steps]
        assert kept == list(plan.steps)
        assert completed.buffers[: len(plan.buffers)] == plan.buffers


class TestMapping:
    def test_as_dict(self) -> None:
        trace = worked_example().trace(X, T)
        copies = trace.to_dict()
        assert list(copies) == list(trace)
        copies["x"][...] = 5
        assert trace["x"][0, 0] == 0.1

    def test_repr_and_str(self) -> None:
        trace = worked_example().trace(X, T)
        assert "step 1: 1 row, 2 layers, loss 0.023971901" in repr(trace)
        assert "hidden.dw             2 x 2  norm 0.0024067629" in str(trace)

    def test_unknown_names(self) -> None:
        trace = worked_example().trace(X, T)
        with pytest.raises(KeyError) as caught:
            trace["hidden.dww"]
        assert str(caught.value).startswith(
            'unknown name in this trace "hidden.dww": did you mean "hidden.dw"? Known: '
        )
        with pytest.raises(KeyError, match='the layer "hidden" has no bias'):
            trace["hidden.bias"]
        with pytest.raises(KeyError, match='unknown layer "hiden": did you mean "hidden"'):
            trace.layer("hiden")
        with pytest.raises(KeyError, match="names are strings"):
            trace[0]  # type: ignore[index]
        assert "hidden.dww" not in trace
        assert trace.get("hidden.dww") is None

    def test_a_large_net_does_not_list_all_its_names(self) -> None:
        layers = [Dense(2, name=f"layer{i}") for i in range(30)]
        trace = small(layers, "mse", "adam", dtype="float32").trace(*data("mse", 2, 4, 2)[:2])
        with pytest.raises(KeyError) as caught:
            trace["layer7.dzz"]
        assert 'did you mean "layer7.dz"? Known: layer7.b, ' in str(caught.value)
        assert "layer8" not in str(caught.value)
        with pytest.raises(KeyError) as caught:
            trace["layr7.dz"]
        assert 'unknown layer in this trace "layr7": did you mean "layer7"?' in str(caught.value)
        assert len(str(caught.value)) < 500

    def test_copies(self) -> None:
        trace = worked_example().trace(X, T)
        for other in (copy.deepcopy(trace), pickle.loads(pickle.dumps(trace))):
            assert other != trace
            assert str(other.explain()) == str(trace.explain())
        assert len({trace, trace}) == 1

    def test_save(self, tmp_path: Path) -> None:
        trace = build("relu", "sigmoid", "mse", "adam", "float32").trace(*data("mse", 3, 4, 3))
        path = tmp_path / "step.npz"
        path.write_text("old")
        trace.save(path)
        assert os.listdir(tmp_path) == ["step.npz"]
        with np.load(path, allow_pickle=False) as stored:
            assert set(stored) == {*trace, "learning_rate", "iteration"}
            for name in trace:
                np.testing.assert_array_equal(stored[name], trace[name])
                assert stored[name].dtype == trace[name].dtype

    @pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
    def test_a_file_keeps_its_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "step.npz"
        path.write_text("old")
        path.chmod(0o600)
        worked_example().trace(X, T).save(path)
        assert path.stat().st_mode & 0o777 == 0o600
        np.load(path).close()

    def test_save_nowhere(self, tmp_path: Path) -> None:
        trace = worked_example().trace(X, T)
        with pytest.raises(FileNotFoundError, match="does not exist"):
            trace.save(tmp_path / "no" / "step.npz")
        with pytest.raises(IsADirectoryError, match="is a folder"):
            trace.save(tmp_path)

    def test_a_failed_save_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        path = tmp_path / "step.npz"
        path.write_text("old")
        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="the trace cannot be saved here: No space left"):
            worked_example().trace(X, T).save(path)
        assert os.listdir(tmp_path) == ["step.npz"]
        assert path.read_text() == "old"


class TestErrors:
    def test_before_compile(self) -> None:
        model = nncore.Sequential([Input((2,)), Dense(2)])
        for call in (model.trace, model.gradients, model.input_gradient):
            with pytest.raises(ValueError, match=f"before {call.__name__}"):
                call(X, T)
        with pytest.raises(ValueError, match="before check_gradients"):
            nncore.check_gradients(model, X, T)

    def test_data_that_does_not_fit(self) -> None:
        model = worked_example()
        with pytest.raises(ValueError, match="trace: x and y must have the same number of rows"):
            model.trace([[0.1, 0.2]], [[0.4, 0.6], [0.4, 0.6]])
        with pytest.raises(ValueError, match="trace: "):
            model.trace([[0.1, 0.2, 0.3]], T)
        with pytest.raises(ValueError, match="gradients: y is missing"):
            model.gradients(X, None)

    def test_a_wrong_label_changes_nothing(self) -> None:
        model = small([Dense(3, activation="softmax")], "sparse_categorical_crossentropy", "adam",
                      dtype="float32")  # fmt: skip
        before = model.parameters.copy()
        with pytest.raises(ValueError, match="label"):
            model.trace(np.zeros((2, 4)), [0, 7], apply=True)
        np.testing.assert_array_equal(before, model.parameters)
        assert model.optimizer.iterations == 0


class TestGradients:
    def test_they_are_those_of_a_trace(self) -> None:
        x, t, r = data("mse", 5, 4, 3)
        model = build("elu", "sigmoid", "mse", "adam", "float32")
        before = model.parameters.copy()
        trace, found = model.trace(x, t, r), model.gradients(x, t, r)
        assert list(found) == [
            f"{layer}.{part}" for layer in ("one", "two", "three") for part in ("kernel", "bias")
        ]
        for name, gradient in found.items():
            layer, part = name.split(".")
            np.testing.assert_array_equal(gradient, trace[f"{layer}.d{part[0].replace('k', 'w')}"])
        np.testing.assert_array_equal(before, model.parameters)
        assert model.optimizer.iterations == 0

    def test_by_the_input(self) -> None:
        model = nncore.Sequential(
            [Input((2, 2)), Flatten(), Rescaling(0.5), Dense(1, dtype="float64", name="line")]
        )
        model.compile("sgd", "mse")
        x, t = np.arange(8.0).reshape(2, 2, 2), np.array([[1.0], [0.0]])
        found = model.input_gradient(x, t)
        assert found.shape == x.shape
        residual = model.predict(x) - t
        kernel = model.get_layer("line").kernel  # type: ignore[attr-defined]
        expected = residual @ kernel.T * 0.5  # 2 e / (1 output) / (2 rows)
        np.testing.assert_allclose(found.reshape(2, 4), expected, rtol=1e-12)


class TestCheckGradients:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize(
        ("activation", "loss"),
        [("sigmoid", "mse"), ("mish", "binary_crossentropy"), ("softmax", "huber"),
         ("gelu", "root_mean_squared_error"), ("relu", "sparse_categorical_crossentropy")],
    )  # fmt: skip
    def test_they_agree(self, activation: str, loss: str, dtype: str) -> None:
        x, t, r = data(loss, 4, 4, 3)
        last = "softmax" if "categorical" in loss else "sigmoid"
        model = build(activation, last, loss, "sgd", dtype)
        before = model.parameters.copy()
        found = nncore.check_gradients(model, x, t, r)
        assert found, str(found)
        assert [p.name for p in found.parameters][-3:] == ["three.kernel", "three.bias", "x"]
        assert max(p.error for p in found.parameters) < (1e-2 if dtype == "float32" else 1e-4)
        np.testing.assert_array_equal(before, model.parameters)

    def test_a_wrong_gradient_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from nncore import trace as module

        model = worked_example()
        right = module._Recorder.get

        def wrong(self: Any, number: int | None) -> Any:
            found = right(self, number)
            if number is not None and self.plan.buffers[number].name == "output.dw":
                found = found.copy()
                found[1, 0] *= 1.01
            return found

        monkeypatch.setattr(module._Recorder, "get", wrong)
        found = nncore.check_gradients(model, X, T)
        assert not found
        assert [p.ok for p in found.parameters] == [True, False, True]
        row = found.parameters[1]
        assert (row.wrong, row.worst) == (1, (1, 0))
        assert row.error == pytest.approx(0.01 / 1.01, rel=1e-3)
        assert "output.kernel: 1 of 4 elements disagree; worst [1, 0]: gradient 0.02655886" in str(
            found
        )

    def test_a_kink_is_named(self) -> None:
        model = nncore.Sequential([Input((1,)), Dense(1, "relu", dtype="float64", name="one")])
        model.set_weights([[[1.0]], [0.0]])
        model.compile("sgd", "mse")
        found = nncore.check_gradients(model, [[0.0]], [[1.0]])
        assert found
        assert [p.kinks for p in found.parameters] == [0, 1, 1]
        assert "one.bias: 1 of 1 elements lie at a kink" in str(found)

    def test_large_parameters_are_sampled(self) -> None:
        x, t, _ = data("mse", 2, 4, 3)
        model = build("tanh", "sigmoid", "mse", "sgd", "float64")
        found = nncore.check_gradients(model, x, t, max_elements=6)
        assert found
        assert "6 of 20" in str(found)
        with pytest.raises(ValueError, match="max_elements must be an integer >= 1"):
            nncore.check_gradients(model, x, t, max_elements=0)
        with pytest.raises(ValueError, match="step must be a finite number > 0"):
            nncore.check_gradients(model, x, t, step=0.0)

    def test_table(self) -> None:
        lines = str(nncore.check_gradients(worked_example(), X, T)).splitlines()
        assert lines[0].startswith("gradients in float64 beside central finite differences")
        assert lines[1].split() == ["parameter", "shape", "checked", "max", "rel.", "error",
                                    "agrees"]  # fmt: skip
        assert lines[2].split()[:3] == ["hidden.kernel", "2x2", "all"]
        assert all(line.endswith("yes") for line in lines[2:])


def test_importing_nncore_imports_none_of_it(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    run = python("import sys, nncore; print(*sorted(m for m in sys.modules if 'nncore' in m))")
    assert not {"nncore.trace", "nncore.explain"} & set(run.stdout.split())


def test_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    """What docs/trace.md shows is what comes."""
    path = Path(__file__).parents[1] / "docs" / "trace.md"
    if not path.exists():
        pytest.skip("docs/ is not beside tests/")
    text = path.read_text(encoding="utf-8")
    examples = "".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    found = doctest.DocTestParser().get_doctest(examples, {}, "trace.md", "trace.md", 0)
    assert len(found.examples) > 15
    options = np.get_printoptions()
    try:
        results = doctest.DocTestRunner().run(found)
    finally:
        np.set_printoptions(**options)
    assert results.failed == 0, capsys.readouterr().out
