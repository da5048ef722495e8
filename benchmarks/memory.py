"""Memory: flat over a million predictions and a thousand trainings; bounded for a large file.

    python benchmarks/memory.py [--predictions 1000000] [--fits 1000] [--file-mb 1500]

Resident memory is that of the process without the pages of files (RssAnon), which the system takes
back when it needs them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from process import memory_mb

anonymous_mb = partial(memory_mb, "RssAnon")


def main() -> int:
    """Print the three; 1 if memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--file-mb", type=int, default=1500)
    parser.add_argument("--limit-mb", type=int, default=64, help="that a fit on the file may add")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    options = parser.parse_args()
    if anonymous_mb() is None:
        print("this system does not tell a process its memory (no /proc/self/status): not measured")
        return 0
    from nncore import bench

    bench.check_writable(options.json)
    work = bench.find(["64-64-10"])[0]
    model = work.model("compiled")
    x, t = work.data()
    row = x[:1]
    model.fit(x, t, batch_size=32, verbose=0)
    model.predict(row)
    grown = []

    before = anonymous_mb()
    for _ in range(options.predictions):
        model.predict(row)
    grown.append(anonymous_mb() - before)
    print(f"{options.predictions:,} predictions: {before:.1f} MB before, {grown[-1]:+.2f} MB")

    before = anonymous_mb()
    for _ in range(options.fits):
        model.fit(x[:640], t[:640], batch_size=32, verbose=0)
    grown.append(anonymous_mb() - before)
    print(f"{options.fits:,} trainings: {before:.1f} MB before, {grown[-1]:+.2f} MB")

    rows = options.file_mb * (1 << 20) // 784
    work = bench.find(["784-128-10"])[0]
    with tempfile.TemporaryDirectory() as folder:
        pixels = np.memmap(Path(folder) / "x", np.uint8, "w+", shape=(rows, 784))
        for at in range(0, rows, 10_000):
            pixels[at : at + 10_000] = at % 251
        pixels.flush()
        labels = np.zeros(rows, np.uint8)
        pixels = np.memmap(Path(folder) / "x", np.uint8, "r", shape=(rows, 784))
        model = work.model("compiled")
        before = anonymous_mb()
        peak = [before]
        from nncore.callbacks import LambdaCallback

        model.fit(
            pixels, labels, batch_size=128, verbose=0,
            callbacks=[
                LambdaCallback(
                    on_train_batch_end=lambda batch, logs: (
                        peak.append(anonymous_mb()) if batch % 100 == 0 else None
                    )
                )
            ],
        )  # fmt: skip
        added = max(peak) - before
    print(f"fit on a memory-mapped file of {options.file_mb} MB: {added:+.1f} MB at most")
    if options.json:
        results = [
            {"what": f"{options.predictions} predictions", "grown_mb": grown[0]},
            {"what": f"{options.fits} trainings", "grown_mb": grown[1]},
            {"what": f"fit on a file of {options.file_mb} MB", "grown_mb": added},
        ]
        bench.write_json(options.json, bench.circumstances(kind="memory", results=results))
    return 1 if max(grown) > 1 or added > options.limit_mb else 0


if __name__ == "__main__":
    sys.exit(main())
