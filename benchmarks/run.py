"""Run every benchmark, one after the other, and keep the results in a folder.

python benchmarks/run.py RESULTS [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run them; 1 if one of them found something wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="folder for the JSON files and the picture")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that all works")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    short = ["--repeats", "3", "--seconds", "0.05"] if options.quick else []
    few = ["--predictions", "50000", "--fits", "50", "--file-mb", "200"] if options.quick else []
    jobs = [
        ("kernels", ["kernels.py", *short]),
        ("kernels-float64", ["kernels.py", "--dtype", "float64", *short]),
        ("training", ["training.py", *short]),
        ("training-float64", ["training.py", "--dtype", "float64", *short]),
        ("inference", ["inference.py", *short]),
        ("optimizers", ["optimizers.py", *short]),
        ("record", ["record.py", *short]),
        ("threads", ["threads.py", *short]),
        ("jobs", ["jobs.py", *(["--repeats", "1"] if options.quick else [])]),
        ("memory", ["memory.py", *few]),
        ("footprint", ["footprint.py"]),
    ]
    failed = []
    for name, command in jobs:
        print(f"\n=== {name}", flush=True)
        path = options.results / f"{name}.json"
        run = subprocess.run(
            [sys.executable, HERE / command[0], *command[1:], "--json", path], check=False
        )
        if run.returncode:
            failed.append(name)
    picture = [sys.executable, HERE / "plot.py", options.results / "training.json"]
    for kind in ("svg", "png"):
        subprocess.run([*picture, options.results / f"training.{kind}"], check=False)
    if failed:
        print(f"something is wrong in: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
