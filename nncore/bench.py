"""The benchmark that comes with the wheel: compiled kernels beside NumPy.

Training is compared with ``engine="reference"``, the same plan run in plain NumPy; predictions with
one NumPy expression a layer.

``nncore bench`` compares the two on the user's own machine in under a minute.  The table of work
is here once, for the benchmarks of the source folder too, which add other libraries.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import nncore
from nncore import runtime
from nncore._files import replacing
from nncore.layers import Dense, Input

__all__ = [
    "DROPPED", "WORKLOADS", "Workload", "apart", "begin_anew", "check_writable", "circumstances",
    "difference", "find", "interleave", "pin", "plain_predict", "repeated", "run", "shown",
    "write_json",
]  # fmt: skip

Array = NDArray[Any]

ENGINES = ("compiled", "reference")
#: Set on some machines for the sake of old OpenBLAS builds; they slow a current one down.
DROPPED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
#: Steps after which results are compared, before anything is timed.
CHECKED_STEPS = 18
#: What two orders of summation may differ by after so many steps, relative to the way that the
#: weights have gone.  (Adam moves a weight whose gradient is all rounding as far as any other.)
TOLERANCE = {"float32": 1e-2, "float64": 1e-8}
#: Of predictions, relative to the largest output.
PREDICTED = {"float32": 1e-4, "float64": 1e-9}


@dataclass(frozen=True)
class Workload:
    """A network, its loss and optimizer, and how many rows make a step.

    Attributes
    ----------
    sizes : tuple of int
        Inputs, then units of each layer.
    steps : int
        Steps of one epoch of the benchmark's data.
    """

    sizes: tuple[int, ...]
    batch_size: int
    hidden: str
    output: str
    loss: str
    optimizer: str
    steps: int

    @property
    def name(self) -> str:
        """Return ``"64-64-10"``."""
        return "-".join(map(str, self.sizes))

    @property
    def checked_steps(self) -> int:
        """Return after how many steps results are compared."""
        return min(CHECKED_STEPS, self.steps)

    @property
    def parameters(self) -> int:
        """Return the number of weights and biases."""
        return sum((a + 1) * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))

    def forward_flops(self, rows: int) -> int:
        """Return the floating-point operations of the matmuls of a prediction."""
        return sum(2 * rows * a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))

    @property
    def flops(self) -> int:
        """Return the floating-point operations of one training step's matmuls."""
        first = 2 * self.batch_size * self.sizes[0] * self.sizes[1]
        return 3 * self.forward_flops(self.batch_size) - first

    def data(self, dtype: str = "float32", seed: int = 0) -> tuple[Array, Array]:
        """Return rows of inputs and targets: made up, with something to learn in them."""
        rng = np.random.default_rng(seed)
        rows, n_in, n_out = self.batch_size * self.steps, self.sizes[0], self.sizes[-1]
        x = rng.standard_normal((rows, n_in)).astype(dtype)
        t = np.tanh(x @ rng.standard_normal((n_in, n_out)) / np.sqrt(n_in))
        if self.loss.startswith("sparse"):
            return x, t.argmax(axis=1)
        return x, t.astype(dtype)

    def model(
        self, engine: str, dtype: str = "float32", seed: int = 0, n_threads: int | None = None
    ) -> nncore.Sequential:
        """Return the compiled model; the same weights for the same seed."""
        nncore.set_random_seed(seed)
        *inner, last = self.sizes[1:]
        model = nncore.Sequential(
            [
                Input((self.sizes[0],)),
                *(Dense(units, activation=self.hidden, dtype=dtype) for units in inner),
                Dense(last, activation=self.output, dtype=dtype),
            ]
        )
        model.compile(self.optimizer, self.loss, engine=engine, n_threads=n_threads)
        return model


_CLASSES = ("softmax", "sparse_categorical_crossentropy", "adam")
_VALUES = ("linear", "mse", "adam")

WORKLOADS = (
    Workload((2, 2, 2), 1, "sigmoid", "sigmoid", "mse", "sgd", 2000),
    Workload((4, 16, 3), 16, "relu", *_CLASSES, 500),
    Workload((64, 64, 10), 32, "relu", *_CLASSES, 200),
    Workload((50, 256, 256, 1), 256, "relu", *_VALUES, 40),
    Workload((784, 128, 10), 128, "relu", *_CLASSES, 40),
    Workload((784, 512, 512, 10), 128, "relu", *_CLASSES, 10),
    Workload((1024, 2048, 2048, 1000), 512, "relu", *_CLASSES, 2),
)


def find(names: Sequence[str] | None) -> list[Workload]:
    """Return the workloads of these names, or all.

    Raises
    ------
    ValueError
        For a name that is not in the table.
    """
    known = {work.name: work for work in WORKLOADS}
    for name in names or ():
        if name not in known:
            raise ValueError(f"no workload is called {name!r}; known: {', '.join(known)}")
    return [work for work in WORKLOADS if not names or work.name in names]


def pin(threads: int) -> list[str]:
    """Set the number of threads of NumPy's BLAS in the environment; return what was dropped.

    It counts in processes that begin afterwards: a BLAS reads the environment once.
    """
    for name in (
        "NNCORE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    ):  # fmt: skip
        os.environ[name] = str(threads)
    return [name for name in DROPPED if os.environ.pop(name, None) is not None]


def begin_anew() -> NoReturn:
    """Run the same command again in a process with the environment as it is now."""
    sys.stdout.flush()
    command = [sys.executable, *sys.orig_argv[1:]]
    if os.name == "nt":  # where exec leaves the terminal to its parent before it is done
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(sys.executable, command)


def interleave(
    runners: Mapping[str, Callable[[float], float]], repeats: int, seconds: float
) -> dict[str, list[float]]:
    """Return each runner's times, taken in turn, so that a disturbance meets all.

    Parameters
    ----------
    runners : mapping of str to callable
        Called with about how many seconds to run; return microseconds of one unit of work.
    repeats : int
    seconds : float
        Of each run.
    """
    for run_for in runners.values():
        run_for(0.0)  # the first one also allocates
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(repeats):
        for name, run_for in runners.items():
            times[name].append(run_for(seconds))
    return times


def repeated(
    call: Callable[[], object], units: int = 1, clock: Callable[[], float] = time.perf_counter
) -> Callable[[float], float]:
    """Return a runner for :func:`interleave` that calls again and again."""

    def run_for(seconds: float) -> float:
        done, rounds = 0, 1
        begin = clock()
        while True:
            for _ in range(rounds):
                call()
            done += rounds
            took = clock() - begin
            if took >= seconds:
                return 1e6 * took / done / units
            # About a tenth of the time between two looks at the clock.
            rounds = max(1, min(2 * rounds, int(done * seconds / took / 10)))

    return run_for


def apart(found: Sequence[Array], wanted: Sequence[Array], start: Sequence[Array]) -> float:
    """Return how far two results are apart, relative to the way that the weights have gone."""

    def flat(arrays: Sequence[Array]) -> Array:
        return np.concatenate([np.ravel(a).astype(np.float64) for a in arrays])

    way = np.linalg.norm(flat(wanted) - flat(start))
    return float(np.linalg.norm(flat(found) - flat(wanted)) / way)


def shown(times: Sequence[float]) -> str:
    """Return ``"12.3 (12.1-13.0)"``: median, fastest and slowest."""
    digits = 2 if statistics.median(times) < 100 else 0
    low, middle, high = min(times), statistics.median(times), max(times)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def circumstances(**more: Any) -> dict[str, Any]:
    """Return what a result means nothing without: machine, versions, command."""
    config: list[str] = []
    nncore.show_config(config.append)
    return {
        "command": " ".join(sys.argv),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "cpu": _cpu_name(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "nncore": nncore.__version__,
        "config": config,
        **more,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def check_writable(path: str | os.PathLike[str] | None) -> None:
    """Raise OSError if results cannot be written there: better now than after the measurement."""
    if path is None:
        return
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"--json {path} is a folder; give the name of a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"--json {path}: the folder {target.parent} is not writable")


def write_json(path: str | os.PathLike[str], results: Mapping[str, Any]) -> None:
    """Write results; a file that is there is replaced only by a whole one."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing("results", target) as file:
        file.write(json.dumps(results, indent=1).encode())


def difference(work: Workload, dtype: str, x: Array, t: Array) -> float:
    """Return how far the compiled weights are from NumPy's after a few steps (:func:`apart`)."""
    rows = work.checked_steps * work.batch_size
    weights = []
    for engine in ENGINES:
        model = work.model(engine, dtype)
        start = model.get_weights()
        model.fit(x[:rows], t[:rows], batch_size=work.batch_size, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    return apart(weights[0], weights[1], start)


_FORMULAS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softmax": lambda z: _softmax(z),
}


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    whole: Array = e / e.sum(axis=1, keepdims=True)
    return whole


def plain_predict(work: Workload, weights: Sequence[Array]) -> Callable[[Array], Array]:
    """Return a prediction in a line of NumPy a layer: what a user would write without a library."""
    kinds = [work.hidden] * (len(work.sizes) - 2) + [work.output]
    layers = [
        (w, b, _FORMULAS[kind])
        for w, b, kind in zip(weights[::2], weights[1::2], kinds, strict=True)
    ]

    def predict(x: Array) -> Array:
        for w, b, activation in layers:
            x = activation(x @ w + b)
        return x

    return predict


def _training(work: Workload, model: nncore.Sequential, x: Array, t: Array) -> Any:
    return repeated(
        lambda: model.fit(x, t, batch_size=work.batch_size, verbose=0), units=work.steps
    )


def run(
    names: Sequence[str] | None = None,
    dtype: str = "float32",
    threads: int = 1,
    repeats: int = 5,
    seconds: float = 0.2,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Compare the compiled kernels with the NumPy baseline on this machine.

    Results are compared before anything is timed; a wrong one is not timed.

    Parameters
    ----------
    names : list of str, optional
        Of workloads; default: all.
    dtype : {"float32", "float64"}
    threads : int
        For the compiled kernels; NumPy's BLAS reads its own from the environment when it is
        loaded (:func:`pin`).
    repeats : int
        Runs of each side, in turn.
    seconds : float
        Of each run, about.
    say : callable
        Gets each line.

    Returns
    -------
    dict
        Machine, versions, and for each workload the microseconds of each run.
    """
    works = find(names)
    core = runtime.core(dtype)
    peak = core.peak_gflops(0.2)
    results: list[dict[str, Any]] = []
    say(
        f"{_cpu_name()}, {runtime.isa()}, {dtype}, nncore {nncore.__version__} on {threads} "
        f"thread{'s' if threads > 1 else ''}, NumPy {np.__version__}"
    )
    say(f"peak of one core, measured: {peak:.0f} GFLOP/s")
    say("microseconds: median (fastest-slowest); peak: of the matmuls alone\n")
    head = f"{'network':>19} {'what':<15} {'nncore':>24} {'NumPy':>24} {'ratio':>6} {'peak':>6}"
    say(head)
    for work in works:
        x, t = work.data(dtype)
        off = difference(work, dtype, x, t)
        if not off <= TOLERANCE[dtype]:
            say(f"{work.name:>19} not timed: the results are {off:.0e} apart")
            results.append({"network": work.name, "wrong": off})
            continue
        models = {e: work.model(e, dtype, n_threads=threads) for e in ENGINES}
        many = np.resize(x, (10_000, x.shape[1]))
        plain = plain_predict(work, models["compiled"].get_weights())
        jobs: list[tuple[str, int, int, dict[str, Any]]] = [
            (
                f"step, batch {work.batch_size}", work.flops, work.batch_size,
                {e: _training(work, models[e], x, t) for e in ENGINES},
            )
        ]  # fmt: skip
        for rows, data in ((1, x[:1].copy()), (10_000, many)):
            if rows * work.parameters > 2_000_000_000:
                continue  # seconds a call: the wide net's 10,000 rows
            both = {
                "compiled": repeated(partial(models["compiled"].predict, data)),
                "reference": repeated(partial(plain, data)),
            }
            jobs.append((f"predict {rows:,}", work.forward_flops(rows), rows, both))
        for rows in (1, 100):  # the short path of predict, and the other
            wanted = plain(many[:rows])
            error = np.abs(models["compiled"].predict(many[:rows]) - wanted).max()
            error /= np.abs(wanted).max()
            if not error <= PREDICTED[dtype]:
                say(f"{work.name:>19} predictions not timed: they are {error:.0e} apart")
                results.append({"network": work.name, "what": "predict", "wrong": float(error)})
                del jobs[1:]
                break
        for what, flops, rows, runners in jobs:
            times = interleave(runners, repeats, seconds)
            ours, numpy = (statistics.median(times[e]) for e in ENGINES)
            rate = flops / ours / 1e3 / peak / threads
            say(
                f"{work.name:>19} {what:<15} {shown(times['compiled']):>24} "
                f"{shown(times['reference']):>24} {numpy / ours:6.1f} {100 * rate:5.0f} %"
            )
            results.append(
                {
                    "network": work.name, "what": what, "rows": rows, "flops": flops,
                    "difference": off, "microseconds": times,
                }
            )  # fmt: skip
    return circumstances(dtype=dtype, threads=threads, peak_gflops=peak, results=results)
