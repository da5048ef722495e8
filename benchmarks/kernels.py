"""Time the kernels alone: matmuls beside NumPy's BLAS, activations, losses, optimizers.

    python benchmarks/kernels.py [--dtype float64] [--json FILE]

Every matmul of a training step at every layer's shape of the table of work, and
1024 x 1024 x 1024, as part of the machine's peak, which is measured in the same run. Each result is
compared with float64 first; a wrong kernel is not timed.
"""

from __future__ import annotations

import statistics
import sys

import measure
import numpy as np

REPEATS = 10  # of a matmul in one call
EPSILONS = 64  # of error that a result may have, relative to the sum of magnitudes


def shapes(works):
    """Return (rows, n_in, n_out) of every layer, the largest last."""
    found = {(1024, 1024, 1024)}
    for work in works:
        for n_in, n_out in zip(work.sizes, work.sizes[1:], strict=False):
            found.add((work.batch_size, n_in, n_out))
    return sorted(found, key=lambda s: (s[0] * s[1] * s[2], s))


def matmuls(core, dtype, rows, n_in, n_out):
    """Yield (name, ours, NumPy's, found, exact, magnitude) of the three matmuls of a layer."""
    rng = np.random.default_rng(0)
    x, w, dz = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((rows, n_in), (n_in, n_out), (rows, n_out))
    )
    x64, w64, dz64 = (a.astype(np.float64) for a in (x, w, dz))
    y, dx, dw = np.empty((rows, n_out), dtype), np.empty_like(x), np.empty_like(w)
    db, none = np.empty(n_out, dtype), np.empty((0, 0), dtype)
    y2, dx2, dw2 = np.empty_like(y), np.empty_like(dx), np.empty_like(dw)
    yield (
        "forward", lambda k=1: core.dense_into(x, w, None, none, y, repeats=k),
        lambda: np.matmul(x, w, out=y2), y, x64 @ w64, np.abs(x64) @ np.abs(w64),
    )  # fmt: skip
    yield (
        "backward-data", lambda k=1: core.dense_backward_data_into(dz, w, none, dx, repeats=k),
        lambda: np.matmul(dz, w.T, out=dx2), dx, dz64 @ w64.T, np.abs(dz64) @ np.abs(w64.T),
    )  # fmt: skip
    yield (
        "backward-weights", lambda k=1: core.dense_backward_weights_into(x, dz, dw, db, repeats=k),
        lambda: (np.matmul(x.T, dz, out=dw2), dz.sum(0)), dw, x64.T @ dz64,
        np.abs(x64.T) @ np.abs(dz64),
    )  # fmt: skip


def elementwise(core, dtype, n):
    """Yield (what, name, call, bytes moved) of each activation, loss and optimizer."""
    rng = np.random.default_rng(1)
    size = np.dtype(dtype).itemsize
    z, dy = (rng.standard_normal((n // 64, 64)).astype(dtype) for _ in range(2))
    y, dx = np.empty_like(z), np.empty_like(z)
    for name in core.ACTIVATIONS:
        yield "activation", name, lambda k=name: core.activate_into(k, z, y, 0.2), 2 * n * size
        yield (
            "derivative", name, lambda k=name: core.activate_backward_into(k, dy, z, dx, 0.2),
            3 * n * size,
        )  # fmt: skip
    positive = np.abs(z) / 8 + 0.1
    labels = rng.integers(0, 64, len(z))
    values = np.empty(len(z))
    for name in core.LOSSES:
        sparse = "sparse" in name
        yield (
            "loss", name,
            lambda k=name, s=sparse: core.loss_into(
                k, positive, None if s else y, labels if s else None, None, dx, values, 0.5
            ),
            3 * n * size,
        )  # fmt: skip
    y[...] = 0.5
    hyper = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "momentum": 0.9, "rho": 0.9}
    w, g = np.zeros((1, n), dtype), rng.standard_normal((1, n)).astype(dtype)
    for name, slots in core.OPTIMIZERS.items():
        state = np.ones((slots, n), dtype)
        yield (
            "update", name,
            lambda k=name, s=state: core.update_into(k, w, g, s, 1e-3, 10, hyper),
            (3 + 2 * slots) * n * size,
        )  # fmt: skip


def main() -> int:
    """Run all; 1 if a result was wrong."""
    parser = measure.parser(__doc__.partition("\n")[0])
    parser.set_defaults(repeats=9, seconds=0.05)
    parser.add_argument("--numbers", type=int, default=1 << 16, help="of the elementwise kernels")
    options = parser.parse_args()
    dropped = measure.begin(options.threads)
    from nncore import bench, runtime

    dtype = options.dtype
    core = runtime.core(dtype)
    peak = core.peak_gflops(0.3)
    print(f"{dtype}, one thread, {runtime.isa()}; peak of one core {peak:.0f} GFLOP/s\n")
    print(f"{'rows x in x out':>17} {'matmul':<17} {'GFLOP/s':>8} {'peak':>6} {'NumPy':>8} ratio")
    results, wrong = [], 0
    for rows, n_in, n_out in shapes(bench.find(options.only)):
        label = f"{rows}x{n_in}x{n_out}"
        for name, ours, numpy, found, exact, magnitude in matmuls(core, dtype, rows, n_in, n_out):
            ours()
            error = float(np.max(np.abs(found - exact) / (magnitude * np.finfo(dtype).eps)))
            if not error <= EPSILONS:
                print(f"{label:>17} {name:<17} not timed: wrong by {error:.0f} epsilons")
                wrong += 1
                continue
            times = bench.interleave(
                {
                    # As the engine runs it: many in one call. NumPy's has to be called each time.
                    "nncore": bench.repeated(lambda f=ours: f(REPEATS), REPEATS),
                    "numpy": bench.repeated(numpy),
                },
                options.repeats, options.seconds,
            )  # fmt: skip
            mine, other = (statistics.median(times[k]) for k in ("nncore", "numpy"))
            rate = 2 * rows * n_in * n_out / 1e3
            print(
                f"{label:>17} {name:<17} {rate / mine:8.1f} {100 * rate / mine / peak:5.0f} % "
                f"{rate / other:8.1f} {other / mine:5.2f}"
            )
            results.append(
                {
                    "kernel": name, "shape": [rows, n_in, n_out], "error_epsilons": error,
                    "microseconds": times,
                }
            )  # fmt: skip
    print(f"\n{options.numbers:,} numbers: nanoseconds a number, GB/s")
    for what, name, call, moved in elementwise(core, dtype, options.numbers):
        times = [bench.repeated(call)(options.seconds) for _ in range(options.repeats)]
        median = statistics.median(times)
        print(
            f"{what:>11} {name:<40} {1e3 * median / options.numbers:6.3f} "
            f"{moved / median / 1e3:6.1f}"
        )
        results.append({"kernel": name, "what": what, "microseconds": {"nncore": times}})
    if options.json:
        bench.write_json(
            options.json,
            bench.circumstances(
                kind="kernels", dtype=dtype, threads=1, peak_gflops=peak,
                dropped_from_environment=dropped, results=results,
            ),
        )  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
