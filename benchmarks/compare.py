"""Compare two result files of the same benchmark: before and after a change, or two machines.

    python benchmarks/compare.py before.json after.json

The ratio of the medians of each row; a row is marked where the two ranges do not overlap.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path


def rows(results):
    """Yield (name of the row, times) of a result file."""
    for entry in results["results"]:
        name = " ".join(
            str(entry[key])
            for key in ("network", "kernel", "shape", "what", "rows")
            if key in entry
        )
        for library, runs in entry.get("runs", {}).items():
            if runs:  # of whole jobs
                yield f"{entry['job']} {library}", [run["seconds"] for run in runs]
        for who, times in entry.get("microseconds", {}).items():
            yield f"{name} {who}", times


def main(arguments=None) -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args(arguments)
    files = []
    for path in (options.before, options.after):
        try:
            files.append(json.loads(path.read_text(encoding="utf-8")))
            list(rows(files[-1]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            parser.error(f"{path} is not a result file: {error}")
    before, after = files
    for what in ("cpu", "dtype", "threads", "nncore", "numpy"):
        if before.get(what) != after.get(what):
            print(f"{what}: {before.get(what)} -> {after.get(what)}")
    then, now = dict(rows(before)), dict(rows(after))
    for name in then:
        if name not in now:
            print(f"{name:<50} only before")
            continue
        ratio = statistics.median(then[name]) / statistics.median(now[name])
        mark = ""
        if max(now[name]) < min(then[name]):
            mark = "faster"
        elif min(now[name]) > max(then[name]):
            mark = "SLOWER"
        print(f"{name:<50} {ratio:6.2f} x  {mark}")
    for name in now:
        if name not in then:
            print(f"{name:<50} only after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
