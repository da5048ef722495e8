"""Time predictions beside other libraries, in turn, in one run: one row, and many.

    python benchmarks/inference.py [--rows 1 10000] [--peers nncore numpy onnxruntime] [--json FILE]

A call takes a NumPy array and returns one, as a service would make it. A peer whose outputs differ
from those of plain NumPy is not timed, nncore first of all.
"""

from __future__ import annotations

import sys

import measure
import numpy as np

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


def main() -> int:
    """Run the table; 1 if a result was wrong."""
    parser = measure.parser(__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", type=measure.positive, default=[1, 32, 256, 10_000])
    options = parser.parse_args()
    dropped = measure.begin(options.threads, options.isa, options.cpu_time)
    from nncore import bench, runtime

    names = list(dict.fromkeys(["nncore", *options.peers]))
    works = bench.find(options.only)
    bench.check_writable(options.json)
    peers, missing = measure.start(names, options.threads, options.dtype)
    peak = runtime.core(options.dtype).peak_gflops(0.3)
    how = f"{runtime.isa()}, {options.dtype}, {options.threads} thread(s)"
    print(f"\n{how}; peak of one core {peak:.0f} GFLOP/s")
    print("microseconds per call: median (fastest-slowest)\n")
    results, wrong = [], 0
    for work in works:
        weights = work.model("compiled", options.dtype).get_weights()
        x = np.random.default_rng(0).standard_normal((max(options.rows), work.sizes[0]))
        plain = bench.plain_predict(work, weights)
        serving, notes = {}, {}
        for name, peer in peers.items():
            try:
                peer.call("serve", work, weights)
                serving[name] = peer
            except measure.MissingError as error:
                notes[name] = str(error)
        for rows in options.rows:
            part = np.ascontiguousarray(x[:rows], options.dtype)
            ready, wanted, said = {}, plain(part), dict(notes)
            for name, peer in serving.items():
                try:
                    found = np.asarray(peer.call("rows", part)).reshape(rows, -1)
                except measure.MissingError as error:
                    said[name] = str(error)
                    continue
                apart = float(np.abs(found - wanted).max() / np.abs(wanted).max())
                if apart <= TOLERANCE[options.dtype]:
                    ready[name] = peer
                else:
                    said[name] = f"not timed: its outputs are {apart:.0e} apart"
                    wrong += 1
            times, failed = measure.in_turn(
                ready, "time_predict", options.repeats, options.seconds, rest=options.threads > 1
            )
            said |= failed
            flops = work.forward_flops(rows)
            print(f"{work.name}, {rows:,} rows: matmuls at the peak {flops / peak / 1e3:.2f}")
            measure.show(names, peers, times, said)
            results.append(
                {
                    "network": work.name, "rows": rows, "flops": flops,
                    "parameters": work.parameters, "microseconds": times, "notes": said,
                }
            )  # fmt: skip
    measure.save(
        options, "inference", peers, missing, peak_gflops=peak, dropped_from_environment=dropped,
        results=results, isa=runtime.isa(),
    )  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
