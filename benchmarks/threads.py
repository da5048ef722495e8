"""Time training and prediction on 1, 2, 4, ... threads: how they scale, and that none is slower.

    python benchmarks/threads.py [--most 16] [--only 784-512-512-10] [--rows 10000] [--json FILE]

The weights after an epoch, and the predictions, are compared bit for bit with those of one thread.
"""

from __future__ import annotations

import os
import statistics
import sys

import measure
import numpy as np


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

    def compare(work, what, calls, bits, per=1):
        """Time the calls in turn, each a number of threads, and show how they scale."""
        times = bench.interleave(
            {str(n): bench.repeated(call, per) for n, call in calls.items()},
            options.repeats, options.seconds,
        )  # fmt: skip
        one = statistics.median(times["1"])
        for n in counts:
            middle = statistics.median(times[str(n)])
            print(
                f"{work.name:>20} {what:>12} {n:3d} {bench.shown(times[str(n)]):>28} "
                f"{one / middle:6.2f} {'same bits' if bits[n] else 'OTHER BITS'}"
            )
        results.append(
            {"network": work.name, "what": what, "microseconds": times, "same_bits": bits}
        )
        return not all(bits.values())

    for work in bench.find(options.only):
        x, t = work.data(options.dtype)
        rows = np.random.default_rng(0).standard_normal((options.rows, work.sizes[0]))
        rows = rows.astype(options.dtype)
        models, fitted, predicted = {}, {}, {}
        for n in counts:
            model = models[n] = work.model("compiled", options.dtype, n_threads=n)
            model.fit(x, t, batch_size=work.batch_size, verbose=0)
            fitted[n] = np.array_equal(model.parameters, models[1].parameters)
            outputs = model.predict(rows)
            if n == 1:
                expected = outputs
            predicted[n] = np.array_equal(outputs, expected)
        wrong += compare(
            work, "step",
            {
                n: lambda m=m, w=work, x=x, t=t: m.fit(x, t, batch_size=w.batch_size, verbose=0)
                for n, m in models.items()
            },
            fitted, work.steps,
        )  # fmt: skip
        wrong += compare(
            work, f"{options.rows:,} rows",
            {n: lambda m=m, rows=rows: m.predict(rows) for n, m in models.items()}, predicted,
        )  # fmt: skip
    if options.json:
        bench.write_json(
            options.json, bench.circumstances(kind="threads", dtype=options.dtype, results=results)
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
