"""The C parts by themselves: CPU detection, thread pool, register tile (tests/c/)."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from nncore import runtime

ROOT = Path(__file__).parents[1]
BITS = {"x86_64_v2": 1, "x86_64_v3": 2, "x86_64_v4": 4, "neon": 8, "generic": 0}
FLAGS = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unknown-pragmas"]


def compiler() -> str:
    """Return a C compiler for the processor that runs the tests."""
    found = shutil.which("cc")
    if not found or os.name != "posix" or not (ROOT / "src").is_dir():
        pytest.skip("there is no cc, or src/ is not beside tests/")
    if "LD_PRELOAD" in os.environ:
        pytest.skip("what is preloaded would be so into the compiler too")
    machine = subprocess.run([found, "-dumpmachine"], capture_output=True, text=True, check=True)
    if machine.stdout.partition("-")[0] != platform.machine():
        pytest.skip(f"cc compiles for {machine.stdout.strip()}")
    return found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86-64 alone there are several")
@pytest.mark.parametrize("extensions", ["", "-DNNCORE_PLAIN_C"])
@pytest.mark.parametrize("level", [2, 3, 4])
def test_both_halves_compile_for_every_instruction_set(level: int, extensions: str) -> None:
    """cl takes the plain half, and says __AVX2__ and __AVX512F__ all the same."""
    for double in (0, 1):
        run = subprocess.run(
            [
                compiler(), *FLAGS, f"-march=x86-64-v{level}", f"-DNNCORE_DOUBLE={double}",
                *extensions.split(), "-Isrc", "-x", "c", "-c", "-", "-o", os.devnull,
            ],
            input='#include "microkernel.h"\n', cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr


def test_the_c_parts(tmp_path: Path) -> None:
    cc = compiler()
    isas = [isa for isa in runtime.available_isas() if isa in BITS]

    def compiled(isa: str, *arguments: str | Path) -> None:
        march = [f"-march={isa.replace('_', '-')}"]
        run = subprocess.run(
            [cc, *FLAGS, *(march if isa.startswith("x86") else []), "-Isrc", *arguments],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr

    objects = []
    for isa in isas:
        for double, kind in enumerate(("f32", "f64")):
            objects.append(tmp_path / f"{isa}_{kind}.o")
            compiled(
                isa, f"-DNNCORE_DOUBLE={double}", f"-DTEST=test_{isa}_{kind}",
                "-c", "tests/c/tile.c", "-o", objects[-1],
            )  # fmt: skip
    program = tmp_path / "floor"
    tiles = " ".join(f"TILE({isa}, {BITS[isa]})" for isa in isas)
    compiled(
        isas[0], f"-DTILES={tiles}", "tests/c/floor.c", "src/cpu.c", "src/threads.c", *objects,
        "-lm", "-lpthread", "-o", program,
    )  # fmt: skip
    run = subprocess.run([program], capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stdout
    lines = run.stdout.splitlines()
    assert lines[-1] == "failures: 0"
    for isa in isas:
        assert f"tile {isa}: done" in lines
