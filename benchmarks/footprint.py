"""What having nncore costs: seconds of import over NumPy's, bytes on the disk, bytes of the wheel.

python benchmarks/footprint.py [--wheel dist/nncore-...whl]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import nncore

PROGRAM = """
import time, numpy
begin = time.perf_counter()
import nncore
print(time.perf_counter() - begin)
"""


def import_times(repeats: int) -> list[float]:
    """Return milliseconds that ``import nncore`` took after NumPy, each in a new process."""
    times = []
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(repeats + 1):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            check=True,
            text=True,
            cwd=Path(nncore.__file__).parents[1],
            env=environment,
        )
        times.append(1000 * float(run.stdout))
    return times[1:]  # the first one also wrote the byte code


def main() -> None:
    """Print the three numbers."""
    parser = argparse.ArgumentParser(description="import time, installed size, wheel size")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--wheel", type=Path)
    options = parser.parse_args()

    times = import_times(options.repeats)
    print(
        f"import over NumPy: {statistics.median(times):.1f} ms "
        f"(median of {len(times)}; {min(times):.1f}-{max(times):.1f})"
    )
    package = Path(nncore.__file__).parent
    files = [f for f in package.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    print(f"installed: {sum(f.stat().st_size for f in files) / 1e6:.2f} MB in {len(files)} files")
    if options.wheel:
        print(f"wheel: {options.wheel.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
