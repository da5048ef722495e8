"""nncore gives what Keras 3 gave: predictions, losses, metrics and weights after 18 steps.

What Keras gave lies in ``golden/keras.npz``; ``golden/make_keras_golden.py`` recorded it.
Keras is not needed here.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nncore

Array = NDArray[Any]

GOLDEN = Path(__file__).resolve().parent / "golden"
RECORDING = GOLDEN / "keras.npz"


def _load_cases() -> Any:
    # By path: this works whatever pytest's import mode and the working directory are.
    name = "nncore_keras_golden_cases"
    spec = importlib.util.spec_from_file_location(name, GOLDEN / "cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


golden = _load_cases()
CASES = golden.all_cases()
RUNS = [(name, dtype) for name, case in CASES.items() for dtype in case.dtypes]


@functools.cache
def _recording() -> tuple[dict[str, Any], dict[str, dict[str, Array]]]:
    """Return the index, and the arrays by "case|dtype" and key; functions are "|float64"."""
    with np.load(RECORDING) as file:
        index = json.loads(file["index"].tobytes())
        values = {dtype: file[dtype] for dtype in ("float32", "float64")}
    runs: dict[str, dict[str, Array]] = {}
    for path, (begin, shape) in index["entries"].items():
        name, dtype, key = path.split("|")
        array = values[dtype][begin : begin + int(np.prod(shape))].reshape(shape)
        runs.setdefault(f"{name}|{dtype}", {})[key] = array
    return index, runs


def _recorded(name: str, dtype: str) -> dict[str, Array]:
    _, runs = _recording()
    run = runs.get(f"{name}|{dtype}")
    if run is None:
        pytest.fail(
            f"no recording of case {name!r} in {dtype}: run tests/golden/make_keras_golden.py"
        )
    return run


def _compare(found: dict[str, Array], wanted: dict[str, Array], tolerance: float) -> None:
    assert sorted(found) == sorted(wanted), "other results than Keras's"
    wrong = []
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            wrong.append(f"{key}: shape {found[key].shape}, Keras {value.shape}")
            continue
        a, b = found[key].astype(np.float64), value.astype(np.float64)
        error = np.abs(a - b) / (1.0 + np.abs(b))
        if not (error <= tolerance).all():
            at = np.unravel_index(int(np.nanargmax(np.where(np.isnan(error), np.inf, error))),
                                  error.shape)  # fmt: skip
            wrong.append(f"{key}{[int(i) for i in at]}: {a[at]:.9g}, Keras {b[at]:.9g}")
    assert not wrong, "\n".join(wrong)


def test_recording_and_cases_are_the_same_set() -> None:
    _, runs = _recording()
    wanted = {f"{name}|{dtype}" for name, dtype in RUNS} | {"|float64"}
    assert sorted(wanted - set(runs)) == [], "cases that were never recorded"
    assert sorted(set(runs) - wanted) == [], "recordings without a case"


def test_recording_is_of_these_data() -> None:
    index, _ = _recording()
    digests = {name: golden.digest(case) for name, case in CASES.items()}
    assert digests == index["digests"], "cases.py changed: run tests/golden/make_keras_golden.py"


def test_recording_says_what_made_it_and_is_small() -> None:
    index, _ = _recording()
    assert index["versions"]["keras"].startswith("3.")
    assert set(index["versions"]) == {"keras", "torch", "numpy", "python"}
    assert RECORDING.stat().st_size < 500_000


def _plan_of(case: Any) -> Any:
    """Return the plan that a case trains by."""
    from nncore.compiler import compile_plan

    shape = (3, 4) if case.images else (6,)
    model = nncore.Sequential([nncore.Input(shape), *case.layers(nncore)])
    optimizer, loss = (golden._made(nncore, value) for value in (case.optimizer, case.loss))
    model.compile(optimizer, loss)
    return compile_plan(model.layers, "train", loss=model.loss, optimizer=model.optimizer)


def test_cases_cover_every_kernel() -> None:
    """A new activation, loss, optimizer or schedule needs a case."""
    core = nncore.runtime.core("float32")
    names = " ".join(CASES)
    approximate = {"gelu_tanh": "gelu_approximate"}
    for activation in core.ACTIVATIONS:
        name = approximate.get(activation, activation)
        assert f"activation_{name} " in names + " ", f"no case for the activation {activation}"
    plans = [_plan_of(case) for case in CASES.values()]
    losses = {step.kind for plan in plans for step in plan.steps if step.op == "loss"}
    assert set(core.LOSSES) == losses, "losses without a case"
    assert set(core.OPTIMIZERS) == {plan.optimizer for plan in plans}, "optimizers without a case"
    known = set(nncore.optimizers.schedules.__all__) - {
        "LearningRateSchedule", "deserialize", "get", "serialize",
    }  # fmt: skip
    used = {type(make(nncore)).__name__ for make in golden.schedules().values()}
    assert known == used, "schedules without a case, or a case without a schedule"


@pytest.fixture
def floatx(dtype: str) -> Iterator[None]:
    """Set what `train` sets too, before it: threads that train at once change it no more."""
    before = nncore.config.floatx()
    nncore.config.set_floatx(dtype)
    yield
    nncore.config.set_floatx(before)


@pytest.mark.usefixtures("floatx")
@pytest.mark.parametrize(("name", "dtype"), RUNS, ids=[f"{n}-{d}" for n, d in RUNS])
def test_case(name: str, dtype: str) -> None:
    wanted = _recorded(name, dtype)
    found = golden.train(nncore, CASES[name], dtype)
    _compare(found, wanted, golden.tolerance(CASES[name], dtype))


def test_functions_and_schedules() -> None:
    wanted = _recorded("", "float64")
    found = golden.function_values(nncore) | golden.constant_values(nncore)
    for key, value in wanted.items():
        hard = key == "activation/hard_sigmoid"
        bound = golden.HARD_SIGMOID_TOLERANCE if hard else golden.TOLERANCE["float64"]
        _compare({key: found[key]}, {key: value}, bound)
    assert set(found) == set(wanted)


@pytest.mark.parametrize("name", golden.INITIALIZERS)
def test_initializer_draws_from_the_distribution_of_keras(name: str) -> None:
    index, _ = _recording()
    assert set(index["initializers"]) == set(golden.INITIALIZERS)
    asked = index["initializers"][name]
    kind, arguments = golden.INITIALIZERS[name]
    initializer = getattr(nncore.initializers, kind)(**arguments, seed=3)
    values = np.asarray(initializer(golden.INITIALIZER_SHAPE))
    assert values.shape == golden.INITIALIZER_SHAPE
    if "minval" in asked:
        low, high = asked["minval"], asked["maxval"]
        middle, half = (low + high) / 2.0, (high - low) / 2.0
        share = np.abs(values - middle) / half
        # Of 3,072 uniform numbers none within the outer 1 %: chance 4e-14.
        assert 0.99 < share.max() <= 1.0 + 1e-6
        deviation = half / np.sqrt(3.0)
    else:
        middle, deviation = asked["mean"], asked["stddev"]
        share = np.abs(values - middle) / deviation
        if asked["truncated"]:
            assert 1.95 < share.max() <= 2.0 + 1e-6
            deviation *= 0.87962566103423978
        else:
            assert share.max() > 2.5
    assert np.std(values) == pytest.approx(deviation, rel=0.06)
    assert np.mean(values) == pytest.approx(middle, abs=0.1 * deviation)
