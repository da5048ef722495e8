"""Time training and prediction on 1, 2, 4, ... threads: how they scale, and that none is slower.

    python benchmarks/threads.py [--most 16] [--only 784-512-512-10] [--rows 10000] [--busy 1]
                                 [--json FILE]

The weights after an epoch, and the predictions, are compared bit for bit with those of one thread.
The last lines of a network are of predictions that come one by one, a millisecond apart, when the
helpers sleep.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import measure
import numpy as np

#: Of a prediction that comes now and then.
FEW_ROWS = 64


def now_and_then(call):
    """Return a runner for ``interleave`` that calls once a millisecond."""

    def run_for(seconds):
        times, end = [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            time.sleep(1e-3)
            begin = time.perf_counter()
            call()
            times.append(1e6 * (time.perf_counter() - begin))
        return statistics.median(times)

    return run_for


def main() -> int:
    """Run the table; 1 if some bits differed."""
    parser = measure.parser(__doc__.partition("\n")[0], peers=False)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument(
        "--most", type=measure.positive, default=available, help="threads; default: processors"
    )
    parser.add_argument(
        "--rows", type=measure.positive, default=10_000, help="of a prediction; default 10,000"
    )
    parser.add_argument(
        "--busy", type=int, default=0, help="programs that want processors all the time; default 0"
    )
    options = parser.parse_args()
    measure.begin(options.most)
    from nncore import bench

    bench.check_writable(options.json)
    counts = [1]
    while counts[-1] * 2 <= options.most:
        counts.append(counts[-1] * 2)
    print("microseconds per step, and per prediction: median (fastest-slowest); times faster than")
    print("one thread\n")
    results, wrong = [], 0

    def compare(work, what, runners, bits):
        """Time them in turn, each a number of threads, and show how they scale."""
        times = bench.interleave(runners, options.repeats, options.seconds)
        one = statistics.median(times["1"])
        for n in counts:
            middle = statistics.median(times[str(n)])
            print(
                f"{work.name:>20} {what:>14} {n:3d} {bench.shown(times[str(n)]):>28} "
                f"{one / middle:6.2f} {'same bits' if bits[n] else 'OTHER BITS'}"
            )
        results.append(
            {"network": work.name, "what": what, "microseconds": times, "same_bits": bits}
        )
        return not all(bits.values())

    def run(work):
        x, t = work.data(options.dtype)
        rows = np.random.default_rng(0).standard_normal((options.rows, work.sizes[0]))
        rows = rows.astype(options.dtype)
        few = rows[:FEW_ROWS]
        steps, many, apart, fitted, predicted, alone = {}, {}, {}, {}, {}, {}
        for n in counts:
            model = work.model("compiled", options.dtype, n_threads=n)
            model.fit(x, t, batch_size=work.batch_size, verbose=0)
            outputs = model.predict(rows), model.predict(few)
            if n == 1:
                parameters, expected = model.parameters.copy(), outputs
            fitted[n] = np.array_equal(model.parameters, parameters)
            predicted[n] = np.array_equal(outputs[0], expected[0])
            alone[n] = np.array_equal(outputs[1], expected[1])

            def step(model=model):
                model.fit(x, t, batch_size=work.batch_size, verbose=0)

            steps[str(n)] = bench.repeated(step, work.steps)
            many[str(n)] = bench.repeated(lambda m=model: m.predict(rows))
            apart[str(n)] = now_and_then(lambda m=model: m.predict(few))
        return (
            compare(work, "step", steps, fitted)
            + compare(work, f"{options.rows:,} rows", many, predicted)
            + compare(work, f"{len(few)} rows, apart", apart, alone)
        )

    busy = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in range(options.busy)]
    try:
        for work in bench.find(options.only):
            wrong += run(work)
    finally:
        for program in busy:
            program.kill()
            program.wait()
    if options.json:
        bench.write_json(
            options.json,
            bench.circumstances(
                kind="threads", dtype=options.dtype, busy=options.busy, results=results
            ),
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
