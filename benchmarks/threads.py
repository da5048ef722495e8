"""Time training steps on 1, 2, 4, ... threads: how far each net scales, and that none is slower.

    python benchmarks/threads.py [--most 16] [--only 784-512-512-10] [--json FILE]

The weights after an epoch are compared bit for bit with those of one thread.
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
    options = parser.parse_args()
    measure.begin(options.most)
    from nncore import bench

    bench.check_writable(options.json)
    counts = [1]
    while counts[-1] * 2 <= options.most:
        counts.append(counts[-1] * 2)
    print("microseconds per step: median (fastest-slowest); times faster than one thread\n")
    results, wrong = [], 0
    for work in bench.find(options.only):
        x, t = work.data(options.dtype)
        models, bits = {}, {}
        for n in counts:
            model = models[n] = work.model("compiled", options.dtype, n_threads=n)
            model.fit(x, t, batch_size=work.batch_size, verbose=0)
            bits[n] = np.array_equal(model.parameters, models[1].parameters)
        wrong += not all(bits.values())
        times = bench.interleave(
            {
                str(n): bench.repeated(
                    lambda m=m, w=work, x=x, t=t: m.fit(x, t, batch_size=w.batch_size, verbose=0),
                    work.steps,
                )
                for n, m in models.items()
            },
            options.repeats, options.seconds,
        )  # fmt: skip
        one = statistics.median(times["1"])
        for n in counts:
            middle = statistics.median(times[str(n)])
            print(
                f"{work.name:>20} {n:3d} {bench.shown(times[str(n)]):>28} {one / middle:6.2f} "
                f"{'same bits' if bits[n] else 'OTHER BITS'}"
            )
        results.append({"network": work.name, "microseconds": times, "same_bits": bits})
    if options.json:
        bench.write_json(
            options.json, bench.circumstances(kind="threads", dtype=options.dtype, results=results)
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
