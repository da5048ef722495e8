"""Time training steps that are recorded: what watching costs, and that not watching costs nothing.

    python benchmarks/record.py [--only 784-128-10] [--json FILE]

The same net, data and batches; the ratio is to the training that nobody records. That a record
changes no bit is checked before anything is timed. Full arrays are gradients and weights on every
10th step (on every one for nets of less than 50,000 parameters).
"""

from __future__ import annotations

import statistics
import sys

import measure
import numpy as np

STATISTICS = ("gradient_norm", "weight_norm", "dead", "saturated")
#: Parameters of a net whose arrays are kept at every step.
SMALL = 50_000
#: Of the largest nets one step's gradients and weights alone take 67 MB.
MOST_BYTES = 2_000_000_000


def records(nncore, work):
    """Return what is recorded, by what it is called; None records nothing."""
    full = 1 if work.parameters < SMALL else 10
    return {
        "nothing": lambda: None,
        "dead, saturated": lambda: nncore.Record(1, ("dead", "saturated")),
        "statistics, every 10th": lambda: nncore.Record(10, STATISTICS),
        "statistics": lambda: nncore.Record(1, STATISTICS),
        f"arrays, every {'one' if full == 1 else '10th'}": lambda: nncore.Record(
            full, ("gradients", "weights"), max_bytes=MOST_BYTES
        ),
    }


def same_bits(work, dtype, x, t, make):
    """Tell whether a training that is recorded gives the weights of one that is not."""
    weights = []
    rows = work.checked_steps * work.batch_size
    for record in (None, make()):
        model = work.model("compiled", dtype)
        model.fit(x[:rows], t[:rows], batch_size=work.batch_size, verbose=0, record=record)
        weights.append(model.parameters)
    return np.array_equal(*weights)


def main() -> int:
    """Run the table; 1 if a result was wrong."""
    parser = measure.parser(__doc__.partition("\n")[0], peers=False)
    options = parser.parse_args()
    dropped = measure.begin(options.threads)
    import nncore
    from nncore import bench

    bench.check_writable(options.json)
    print(f"{options.dtype}, {options.threads} thread(s)")
    print("microseconds per step: median (fastest-slowest); times that of nothing recorded\n")
    results, wrong = [], 0
    for work in bench.find(options.only):
        x, t = work.data(options.dtype)
        runners, notes = {}, {}
        epochs = 5 if work.parameters < SMALL else 1  # a call of fit takes about as long in all
        for name, make in records(nncore, work).items():
            if not same_bits(work, options.dtype, x, t, make):
                notes[name] = "not timed: its weights are others"
                wrong += 1
                continue
            model = work.model("compiled", options.dtype, n_threads=options.threads)
            runners[name] = bench.repeated(
                lambda m=model, w=work, x=x, t=t, make=make, n=epochs: m.fit(
                    x, t, batch_size=w.batch_size, epochs=n, verbose=0, record=make()
                ),
                work.steps * epochs,
            )
        times = bench.interleave(runners, options.repeats, options.seconds)
        print(f"{work.name}, batch {work.batch_size}")
        for name in [*times, *notes]:
            if name in notes:
                print(f"  {name:<24} {notes[name]}")
                continue
            ratio = statistics.median(
                a / b for a, b in zip(times[name], times["nothing"], strict=True)
            )
            print(f"  {name:<24} {bench.shown(times[name]):>28}  {ratio:6.2f} x")
        results.append({"network": work.name, "microseconds": times, "notes": notes})
    if options.json:
        bench.write_json(
            options.json,
            bench.circumstances(
                kind="record", dtype=options.dtype, threads=options.threads,
                dropped_from_environment=dropped, results=results,
            ),
        )  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
