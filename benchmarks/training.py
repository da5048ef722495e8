"""Time training steps beside other libraries, in turn, in one run.

    python benchmarks/training.py [--peers nncore numpy torch] [--only 64-64-10] [--json FILE]

A step is shuffle, gather, forward, loss, backward and update; whole epochs are timed, calls from
Python included. Before that, each peer trains a few steps on the same rows from the same weights,
and so does plain NumPy; one whose weights then differ from NumPy's by more than conventions explain
is not timed, nncore first of all.
"""

from __future__ import annotations

import sys

import measure

#: How far a peer's weights may be apart after the checked steps, relative to the way they went:
#: its order of summation is another. (Where its Adam or its loss follows another convention, the
#: peer's file translates it.)
TOLERANCE = {"float32": 1e-2, "float64": 1e-8}
#: Keras computes the learning rate and Adam's bias correction in float32, whatever its floatx.
KERAS = 1e-4


def main() -> int:
    """Run the table; 1 if a result was wrong."""
    options = measure.parser(__doc__.partition("\n")[0]).parse_args()
    dropped = measure.begin(options.threads, options.isa, options.cpu_time)
    from nncore import bench, runtime

    names = list(dict.fromkeys(["nncore", *options.peers]))
    works = bench.find(options.only)
    bench.check_writable(options.json)
    peers, missing = measure.start(names, options.threads, options.dtype)
    peak = runtime.core(options.dtype).peak_gflops(0.3)
    how = f"{runtime.isa()}, {options.dtype}, {options.threads} thread(s)"
    print(f"\n{how}; peak of one core {peak:.0f} GFLOP/s")
    print("microseconds per step: median (fastest-slowest)\n")
    results, wrong = [], 0
    for work in works:
        x, t = work.data(options.dtype)
        weights = work.model("compiled", options.dtype).get_weights()
        ready, notes, differences = {}, {}, {}
        oracle = work.model("reference", options.dtype)
        rows = work.checked_steps * work.batch_size
        oracle.fit(x[:rows], t[:rows], batch_size=work.batch_size, shuffle=False, verbose=0)
        wanted = oracle.get_weights()
        for name, peer in peers.items():
            try:
                peer.call("train", work, weights, x, t)
                found = peer.call("check", work.checked_steps)
            except measure.MissingError as error:
                notes[name] = str(error)
                continue
            apart = bench.apart(found, wanted, weights)
            if apart <= max(TOLERANCE[options.dtype], KERAS if name == "keras" else 0):
                ready[name] = peer
            else:
                notes[name] = f"not timed: its weights are {apart:.0e} apart"
                wrong += 1
            differences[name] = apart
        times, failed = measure.in_turn(
            ready, "time_epochs", options.repeats, options.seconds, rest=options.threads > 1
        )
        notes |= failed
        limit = work.flops / peak / 1e3 / options.threads
        print(f"{work.name}, batch {work.batch_size}: matmuls at the peak {limit:.2f}")
        measure.show(names, peers, times, notes)
        results.append(
            {
                "network": work.name, "batch_size": work.batch_size, "flops": work.flops,
                "parameters": work.parameters, "microseconds": times, "notes": notes,
                "differences": differences,
            }
        )  # fmt: skip
    measure.save(
        options, "training", peers, missing, peak_gflops=peak, dropped_from_environment=dropped,
        results=results, isa=runtime.isa(),
    )  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
