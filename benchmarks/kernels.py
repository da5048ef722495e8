"""Time the kernels alone: matmuls beside NumPy's BLAS, activations, losses, optimizers.

    python benchmarks/kernels.py [--dtype float64] [--json FILE]

Every matmul of a training step at every layer's shape of the table of work, and
1024 x 1024 x 1024, as part of the machine's peak, which is measured in the same run; the one for
the weights also with Adam in its epilogue. Each result is compared with float64 first; a wrong
kernel is not timed.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial

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


def with_adam(dtype, rows, n_in, n_out):
    """Return (ours, NumPy's, how far the first update is from float64's) of xᵀ dz with Adam.

    Ours as the engine runs it, in the epilogue: a step of a plan. Each call comes from Python,
    which the tiny shapes show.
    """
    from nncore import Input, Sequential, bench, compiler
    from nncore.layers import Dense
    from nncore.reference import optimizers

    model = Sequential([Input((n_in,)), Dense(n_out, dtype=dtype)])
    model.compile("adam", "mse", n_threads=1)
    rng = np.random.default_rng(2)
    x, t = (rng.standard_normal((rows, n)).astype(dtype) for n in (n_in, n_out))
    plan = compiler.compile_plan(
        model.layers, "train", loss=model.loss, optimizer=model.optimizer, weights=False
    )
    executor = compiler.make_executor(
        plan, model.parameters, model.slots, batch_size=rows, n_threads=1, engine="compiled"
    )
    *before, last = range(len(plan.steps))
    executor.load(x, t)
    for k in before:
        executor.execute(k)
    dz = executor.read(plan.steps[last].dz)
    hyper = {**plan.hyper, "learning_rate": 1e-3}
    start = [np.array(a) for a in model.get_weights()]
    exact = [a.astype(np.float64) for a in start]
    gradients = x.T.astype(np.float64) @ dz.astype(np.float64), dz.sum(0, dtype=np.float64)
    for w, g in zip(exact, gradients, strict=True):
        optimizers.adam(w, g, np.zeros((2, *w.shape)), iteration=0, **hyper)
    executor.execute(last, 0, 1e-3)
    apart = bench.apart(model.get_weights(), exact, start)

    w, b = start
    dw, w_slots, b_slots = np.empty_like(w), np.zeros((2, *w.shape)), np.zeros((2, *b.shape))
    w_slots, b_slots = w_slots.astype(dtype), b_slots.astype(dtype)

    def numpy():
        np.matmul(x.T, dz, out=dw)
        optimizers.adam(w, dw, w_slots, iteration=10, **hyper)
        optimizers.adam(b, dz.sum(0), b_slots, iteration=10, **hyper)

    return lambda: executor.execute(last, 10, 1e-3), numpy, apart


def elementwise(core, dtype, n):
    """Yield (what, name, call, bytes moved, found, exact) of each activation, loss and optimizer.

    ``found`` is what the call writes, ``exact`` the reference's result in float64.
    """
    from nncore.reference import activations, evaluate, losses, optimizers

    rng = np.random.default_rng(1)
    size, shape = np.dtype(dtype).itemsize, (n // 64, 64)
    z, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    z64, dy64 = z.astype(np.float64), dy.astype(np.float64)
    for name, reads in core.ACTIVATIONS.items():
        y, dx = np.empty_like(z), np.empty_like(z)
        exact = evaluate(activations, name, z64, alpha=0.2)
        yield (
            "activation", name, partial(core.activate_into, name, z, y, 0.2), 2 * n * size,
            [y], [exact],
        )  # fmt: skip
        zy = z if reads == "z" else exact.astype(dtype)
        zy64 = zy.astype(np.float64)
        exact = (
            activations.softmax_backward(dy64, zy64)
            if name == "softmax"
            else dy64 * evaluate(activations, f"{name}_derivative", zy64, alpha=0.2)
        )
        yield (
            "derivative", name, partial(core.activate_backward_into, name, dy, zy, dx, 0.2),
            3 * n * size, [dx], [exact],
        )  # fmt: skip
    t = (0.05 + 0.9 * rng.random(shape)).astype(dtype)
    labels, values = rng.integers(0, 64, len(z)), np.empty(len(z))
    for name in core.LOSSES:
        sparse = "sparse" in name
        raw = name.startswith(("softmax_", "sigmoid_"))
        y = z if raw else (0.05 + 0.9 * rng.random(shape)).astype(dtype)
        dx = np.empty_like(z)
        _, exact = losses.batch_loss(
            name, y.astype(np.float64), labels if sparse else t.astype(np.float64), alpha=0.5
        )
        call = partial(
            core.loss_into, name, y, None if sparse else t, labels if sparse else None, None, dx,
            values, 0.5,
        )  # fmt: skip
        yield "loss", name, call, (2 if sparse else 3) * n * size, [dx], [exact]
    hyper = {
        "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "momentum": 0.9, "rho": 0.9,
        "centered": 1.0,
    }  # fmt: skip
    g = rng.standard_normal((1, n)).astype(dtype)
    for name, slots in core.OPTIMIZERS.items():
        w, state = np.zeros((1, n), dtype), np.full((slots, n), 0.1, dtype)
        w64, state64 = np.zeros(n), state.astype(np.float64)
        getattr(optimizers, name)(
            w64, g[0].astype(np.float64), state64, learning_rate=1e-3, iteration=10, **hyper
        )
        yield (
            "update", name, partial(core.update_into, name, w, g, state, 1e-3, 10, hyper),
            (3 + 2 * slots) * n * size, [w[0], state], [w64, state64],
        )  # fmt: skip


def error(found, exact, dtype):
    """Return the largest error in epsilons, relative to each number and to their mean size."""
    worst = 0.0
    for a, b in zip(found, exact, strict=True):
        if a.size:
            scale = np.abs(b) + np.abs(b).mean() + np.finfo(np.float64).tiny
            # Not max(), which would pass over a NaN.
            worst = np.maximum(worst, np.max(np.abs(a - b) / scale))
    return float(worst / np.finfo(dtype).eps)


def main() -> int:
    """Run all; 1 if a result was wrong."""
    parser = measure.parser(__doc__.partition("\n")[0], peers=False)
    parser.set_defaults(repeats=9, seconds=0.05)
    parser.add_argument(
        "--numbers", type=measure.positive, default=1 << 16, help="of the elementwise kernels"
    )
    options = parser.parse_args()
    dropped = measure.begin(options.threads)
    from nncore import bench, runtime

    bench.check_writable(options.json)
    dtype = options.dtype
    core = runtime.core(dtype)
    peak = core.peak_gflops(0.3)
    print(f"{dtype}, one thread, {runtime.isa()}; peak of one core {peak:.0f} GFLOP/s\n")
    print("matmuls of one layer; peak: the part of it that is reached; ratio: to NumPy\n")
    print(f"{'rows x in x out':>17} {'matmul':<17} {'GFLOP/s':>8} {'peak':>6} {'NumPy':>8} ratio")
    results, wrong = [], 0

    def say(name, rows, n_in, n_out, times, **more):
        mine, other = (statistics.median(times[k]) for k in ("nncore", "numpy"))
        rate = 2 * rows * n_in * n_out / 1e3
        print(
            f"{f'{rows}x{n_in}x{n_out}':>17} {name:<17} {rate / mine:8.1f} "
            f"{100 * rate / mine / peak:5.0f} % {rate / other:8.1f} {other / mine:5.2f}"
        )
        results.append(
            {"kernel": name, "shape": [rows, n_in, n_out], "microseconds": times, **more}
        )

    for rows, n_in, n_out in shapes(bench.find(options.only)):
        label = f"{rows}x{n_in}x{n_out}"
        for name, ours, numpy, found, exact, magnitude in matmuls(core, dtype, rows, n_in, n_out):
            ours()
            off = float(np.max(np.abs(found - exact) / (magnitude * np.finfo(dtype).eps)))
            if not off <= EPSILONS:
                print(f"{label:>17} {name:<17} not timed: wrong by {off:.0f} epsilons")
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
            say(name, rows, n_in, n_out, times, error_epsilons=off)
        ours, numpy, apart = with_adam(dtype, rows, n_in, n_out)
        if not apart <= bench.TOLERANCE[dtype]:
            print(f"{label:>17} {'weights and Adam':<17} not timed: {apart:.0e} apart")
            wrong += 1
            continue
        runners = {"nncore": bench.repeated(ours), "numpy": bench.repeated(numpy)}
        times = bench.interleave(runners, options.repeats, options.seconds)
        say("weights and Adam", rows, n_in, n_out, times, difference=apart)
    print(f"\n{options.numbers:,} numbers: nanoseconds a number, GB/s")
    for what, name, call, moved, found, exact in elementwise(core, dtype, options.numbers):
        call()
        off = error(found, exact, dtype)
        if not off <= EPSILONS:
            print(f"{what:>11} {name:<40} not timed: wrong by {off:.0f} epsilons")
            wrong += 1
            continue
        times = [bench.repeated(call)(options.seconds) for _ in range(options.repeats)]
        median = statistics.median(times)
        print(
            f"{what:>11} {name:<40} {1e3 * median / options.numbers:6.3f} "
            f"{moved / median / 1e3:6.1f}"
        )
        results.append(
            {"kernel": name, "what": what, "error_epsilons": off, "microseconds": {"nncore": times}}
        )
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
