"""Time training steps with each optimizer: what an update in the matmul's epilogue costs.

    python benchmarks/optimizers.py [--only 784-512-512-10] [--json FILE]

The same net, data and batches; the ratio is to plain gradient descent. Each is compared with NumPy
before it is timed.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace

import measure

OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam")


def main() -> int:
    """Run the table; 1 if a result was wrong."""
    parser = measure.parser(__doc__.partition("\n")[0], peers=False)
    options = parser.parse_args()
    dropped = measure.begin(options.threads)
    from nncore import bench

    bench.check_writable(options.json)
    print(f"{options.dtype}, {options.threads} thread(s)")
    print("microseconds per step: median (fastest-slowest); times that of sgd\n")
    results, wrong = [], 0
    for work in bench.find(options.only):
        x, t = work.data(options.dtype)
        runners, notes = {}, {}
        for name in OPTIMIZERS:
            other = replace(work, optimizer=name)
            apart = bench.difference(other, options.dtype, x, t)
            if not apart <= bench.TOLERANCE[options.dtype]:
                notes[name] = f"not timed: its weights are {apart:.0e} apart"
                wrong += 1
                continue
            model = other.model("compiled", options.dtype, n_threads=options.threads)
            runners[name] = bench.repeated(
                lambda m=model, w=work, x=x, t=t: m.fit(x, t, batch_size=w.batch_size, verbose=0),
                work.steps,
            )
        times = bench.interleave(runners, options.repeats, options.seconds)
        print(f"{work.name}, batch {work.batch_size}")
        for name in OPTIMIZERS:
            if name in notes:
                print(f"  {name:<10} {notes[name]}")
                continue
            ratio = ""
            if "sgd" in times:
                ratio = f"{statistics.median(times[name]) / statistics.median(times['sgd']):6.2f} x"
            print(f"  {name:<10} {bench.shown(times[name]):>28}  {ratio}")
        results.append({"network": work.name, "microseconds": times, "notes": notes})
    if options.json:
        bench.write_json(
            options.json,
            bench.circumstances(
                kind="optimizers", dtype=options.dtype, threads=options.threads,
                dropped_from_environment=dropped, results=results,
            ),
        )  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
