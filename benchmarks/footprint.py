"""What having nncore costs: time and memory of its import over NumPy's, disk space, the wheel.

python benchmarks/footprint.py [--wheel dist/nncore-...whl] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import nncore

PROGRAM = """
import sys, time, numpy
sys.path.insert(0, sys.argv[1])
from process import memory_mb
before = memory_mb("VmRSS")
begin, begin_cpu = time.perf_counter(), time.thread_time()
import nncore
took, took_cpu = time.perf_counter() - begin, time.thread_time() - begin_cpu
print(took, took_cpu, *([] if before is None else [memory_mb("VmRSS") - before]))
"""


def imports(repeats: int) -> tuple[list[float], list[float], list[float]]:
    """Return what ``import nncore`` takes after NumPy, each time in a new process.

    Milliseconds, milliseconds of the processor in this thread (other programs hardly change them),
    and megabytes of resident memory, the pages of its files included.
    """
    times, processor, memory = [], [], []
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(repeats + 1):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
            capture_output=True,
            check=True,
            text=True,
            cwd=Path(nncore.__file__).parents[1],
            env=environment,
        )
        took, took_cpu, *grown = map(float, run.stdout.split())
        times.append(1000 * took)
        processor.append(1000 * took_cpu)
        memory += grown
    return times[1:], processor[1:], memory[1:]  # the first one also wrote the byte code


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    options = parser.parse_args()
    from nncore import bench

    bench.check_writable(options.json)
    times, processor, memory = imports(options.repeats)
    print(
        f"import over NumPy: {statistics.median(times):.1f} ms "
        f"(median of {len(times)}; {min(times):.1f}-{max(times):.1f}; "
        f"of the processor {statistics.median(processor):.1f})"
    )
    package = Path(nncore.__file__).parent
    files = [f for f in package.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    size = sum(f.stat().st_size for f in files)
    results: list[dict[str, Any]] = [
        {"what": "import", "microseconds": {"nncore": [1000 * t for t in times]}},
        {"what": "processor time of the import", "milliseconds": processor},
        {"what": "memory of the import", "mb": memory},
        {"what": "installed", "mb": size / 1e6},
    ]
    if memory:
        print(
            f"memory of the import over NumPy's: {statistics.median(memory):.1f} MB "
            f"({min(memory):.1f}-{max(memory):.1f})"
        )
    print(f"installed: {size / 1e6:.2f} MB in {len(files)} files")
    if options.wheel:
        results.append({"what": "wheel", "mb": options.wheel.stat().st_size / 1e6})
        print(f"wheel: {results[-1]['mb']:.2f} MB")
    if options.json:
        bench.write_json(options.json, bench.circumstances(kind="footprint", results=results))


if __name__ == "__main__":
    main()
