"""Record what Keras 3 gives for the cases of ``cases.py``, in ``keras.npz`` beside it.

Needs ``keras==3.15.1`` and ``torch==2.13.0``, which the tests do not::

    python -m pip install keras==3.15.1 torch==2.13.0 numpy
    python tests/golden/make_keras_golden.py

Before it writes, it refuses cases that could not tell right from wrong: results that are not
finite, parameters that training hardly moves, a variant like its base case, and a run whose
float32 result is not its float64 result within a quarter of the tolerance.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import cases as golden  # noqa: E402

Array = NDArray[Any]
Result = dict[str, Array]


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Let Keras compute in this dtype, all of it.

    ``set_floatx`` alone does not: layers follow the dtype policy, which stays what floatx was
    at its first use.  And except with TensorFlow, Keras takes the result of float64 operands
    to be float32, as JAX does unless told otherwise.
    """
    from keras.src.backend.common import dtypes

    keras.config.set_dtype_policy(dtype)
    with mock.patch.dict(dtypes.BIT64_TO_BIT32_DTYPE, {"float64": dtype}):
        yield


def train(case: golden.Case, dtype: str) -> Result:
    """Run a case with Keras."""
    with precision(dtype):
        return golden.train(keras, case, dtype)


def distribution(kind: str, arguments: dict[str, Any]) -> dict[str, float]:
    """Return what an initializer of Keras asks its random generator for."""
    from keras.src.initializers import random_initializers

    asked: dict[str, float] = {}

    def record(generator: str) -> Any:
        def draw(shape: Any, *args: Any, **options: Any) -> Any:
            if args:
                raise TypeError(f"Keras calls {generator} with positional arguments: {args!r}")
            asked["truncated"] = float(generator == "truncated_normal")
            for name in ("mean", "stddev", "minval", "maxval"):
                if name in options:
                    asked[name] = float(options[name])
            return keras.ops.zeros(shape)

        return draw

    names = ("normal", "truncated_normal", "uniform")
    module = random_initializers.random
    replaced = {name: record(name) for name in names}
    with mock.patch.multiple(module, **replaced):
        getattr(keras.initializers, kind)(**arguments)(golden.INITIALIZER_SHAPE)
    if not asked:
        raise RuntimeError(f"{kind} drew nothing")
    return asked


def check(case: golden.Case, results: dict[str, Result]) -> list[str]:
    """Return what is wrong with the recording of one case."""
    wrong = []
    for dtype, result in results.items():
        for key, value in result.items():
            if not np.isfinite(value).all():
                wrong.append(f"{dtype} {key} is not finite")
        weights = [v for k, v in result.items() if k.startswith("weights/")]
        if max(float(np.abs(w).max()) for w in weights) > 50.0:
            wrong.append(f"{dtype}: weights grew beyond 50")
    if len(results) == 2:
        single, double = results["float32"], results["float64"]
        for key in double:
            error = np.abs(single[key] - double[key]) / (1.0 + np.abs(double[key]))
            if float(error.max()) > golden.TOLERANCE["float32"] / 4.0:
                wrong.append(f"{key}: float32 is {float(error.max()):.1e} off float64")
    return wrong


def moved(case: golden.Case, result: Result) -> list[str]:
    """Return which parameters training did not move."""
    values = [v for k, v in sorted(result.items()) if k.startswith("weights/")]
    initial = golden.initial_weights(case, [v.shape for v in values])
    return [
        f"weights/{i} moved by {float(np.abs(v - w).max()):.1e}"
        for i, (v, w) in enumerate(zip(values, initial, strict=True))
        if float(np.abs(v - w).max()) < golden.DISTINCT
    ]


def main() -> None:
    """Run all cases and write the file."""
    started = time.perf_counter()
    cases = golden.all_cases()
    recorded: dict[str, dict[str, Result]] = {}
    wrong: list[str] = []
    for name, case in cases.items():
        recorded[name] = {dtype: train(case, dtype) for dtype in case.dtypes}
        wrong += [f"{name}: {text}" for text in check(case, recorded[name])]
        if not name.startswith("frozen"):
            wrong += [f"{name}: {text}" for text in moved(case, recorded[name][case.dtypes[0]])]
    for name, case in cases.items():
        if case.differs_from:
            dtype = case.dtypes[0]
            mine, base = recorded[name][dtype], recorded[case.differs_from][dtype]
            keys = [k for k in mine if k.startswith("weights/")]
            far = max(float(np.abs(mine[k] - base[k]).max()) for k in keys)
            if far < golden.DISTINCT:
                wrong.append(f"{name}: only {far:.1e} from {case.differs_from}")

    index: dict[str, Any] = {
        "versions": {
            "keras": keras.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        },
        "digests": {name: golden.digest(case) for name, case in cases.items()},
        "initializers": {
            name: distribution(kind, arguments)
            for name, (kind, arguments) in golden.INITIALIZERS.items()
        },
        "entries": {},
    }
    values: dict[str, list[Array]] = {"float32": [], "float64": []}
    ends = {"float32": 0, "float64": 0}

    def add(path: str, dtype: str, value: Array) -> None:
        index["entries"][path] = [ends[dtype], list(value.shape)]
        values[dtype].append(np.asarray(value, dtype).ravel())
        ends[dtype] += value.size

    for name, results in recorded.items():
        for dtype, result in results.items():
            for key, value in result.items():
                add(f"{name}|{dtype}|{key}", dtype, value)
    with precision("float64"):
        functions = golden.function_values(keras) | golden.constant_values(keras)
    for key, value in functions.items():
        add(f"|float64|{key}", "float64", value)

    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        sys.exit(f"{len(wrong)} complaints; nothing written")
    path = HERE / "keras.npz"
    np.savez_compressed(
        path,
        index=np.frombuffer(json.dumps(index, separators=(",", ":")).encode(), np.uint8),
        **{dtype: np.concatenate(parts) for dtype, parts in values.items()},
    )
    seconds = time.perf_counter() - started
    print(f"{len(cases)} cases, {path.stat().st_size} bytes, {seconds:.0f} s: {path}")


if __name__ == "__main__":
    main()
