"""Time whole training epochs: compiled kernels beside the NumPy baseline, in one run.

    python benchmarks/bench_training.py [--dtype float64] [--only 64-64-10] [--json FILE]

Both engines run the same plan on the same data from the same weights. Before anything is
timed, their weights after a few steps are compared; a wrong result is not timed. Runs of the
two alternate, so that a disturbance of the machine meets both; the median is given, with
the fastest and the slowest run. ``fit`` is timed whole, calls from Python included.
"""

from __future__ import annotations

import os

THREADS = os.environ.setdefault("NNCORE_BENCH_THREADS", "1")
for _name in ("NNCORE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = THREADS  # before NumPy starts its BLAS

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from workloads import WORKLOADS, Workload  # noqa: E402

import nncore  # noqa: E402

ENGINES = ("compiled", "reference")
CHECKED_STEPS = 18
#: What two orders of summation may differ by after so many steps, relative to the way that the
#: weights have gone. (Adam moves a weight whose gradient is all rounding as far as any other.)
TOLERANCE = {"float32": 1e-2, "float64": 1e-8}


def difference(work: Workload, dtype: str) -> float:
    """Return how far the engines' weights are apart after a few steps, relative to their way."""
    x, t = work.data(dtype)
    rows = min(CHECKED_STEPS, work.steps) * work.batch_size
    weights = []
    for engine in ENGINES:
        model = work.model(engine, dtype)
        start = model.parameters.copy()
        model.fit(x[:rows], t[:rows], batch_size=work.batch_size, shuffle=False, verbose=0)
        weights.append(model.parameters.copy())
    return float(np.linalg.norm(weights[0] - weights[1]) / np.linalg.norm(weights[1] - start))


def measure(work: Workload, dtype: str, repeats: int, seconds: float) -> dict[str, list[float]]:
    """Return microseconds per step of each run of each engine."""
    x, t = work.data(dtype)
    models = {engine: work.model(engine, dtype) for engine in ENGINES}

    def run(engine: str, epochs: int) -> float:
        begin = time.perf_counter()
        models[engine].fit(x, t, batch_size=work.batch_size, epochs=epochs, verbose=0)
        return time.perf_counter() - begin

    epochs = {}
    for engine in ENGINES:
        run(engine, 1)  # the first one also allocates
        epochs[engine] = max(1, round(seconds / run(engine, 1)))
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for _ in range(repeats):
        for engine in ENGINES:
            taken = run(engine, epochs[engine])
            times[engine].append(1e6 * taken / (epochs[engine] * work.steps))
    return times


def main() -> int:
    """Run the table; 1 if some result was wrong."""
    parser = argparse.ArgumentParser(description="training: compiled kernels beside NumPy")
    parser.add_argument("--dtype", choices=list(TOLERANCE), default="float32")
    parser.add_argument("--only", action="append", metavar="NAME", help="such as 64-64-10")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each run, about")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    options = parser.parse_args()
    names = [work.name for work in WORKLOADS]
    for name in options.only or ():
        if name not in names:
            parser.error(f"--only {name}: known are {', '.join(names)}")

    nncore.show_config()
    print(f"\n{options.dtype}, threads: {THREADS}; microseconds per step: median (fastest-slowest)")
    print(
        f"{'network':>20} {'batch':>5}  {'compiled':>26}  {'NumPy':>26}  {'ratio':>6}  difference"
    )
    results: list[dict[str, Any]] = []
    wrong = 0
    for work in WORKLOADS:
        if options.only and work.name not in options.only:
            continue
        apart = difference(work, options.dtype)
        if not apart <= TOLERANCE[options.dtype]:
            print(f"{work.name:>20} {work.batch_size:>5}  not timed: wrong by {apart:.1e}")
            wrong += 1
            continue
        times = measure(work, options.dtype, options.repeats, options.seconds)
        median = {engine: statistics.median(times[engine]) for engine in ENGINES}
        shown = [
            f"{median[e]:10.1f} ({min(times[e]):.1f}-{max(times[e]):.1f})".rjust(26)
            for e in ENGINES
        ]
        ratio = median["reference"] / median["compiled"]
        label = f"{work.name:>20} {work.batch_size:>5}"
        print(f"{label}  {shown[0]}  {shown[1]}  {ratio:6.1f}  {apart:.1e}")
        results.append(
            {
                "network": work.name,
                "batch_size": work.batch_size,
                "flops": work.flops,
                "difference": apart,
                "microseconds_per_step": times,
            }
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({**circumstances(options.dtype), "results": results}))
    return 1 if wrong else 0


def circumstances(dtype: str) -> dict[str, Any]:
    """Return what a result means nothing without."""
    config: list[str] = []
    nncore.show_config(config.append)
    return {
        "command": " ".join(sys.argv),
        "dtype": dtype,
        "threads": THREADS,
        "machine": platform.processor() or platform.machine(),
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "nncore": nncore.__version__,
        "config": config,
    }


def cpu_name() -> str:
    """Return the processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    sys.exit(main())
