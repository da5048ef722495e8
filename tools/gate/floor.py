"""The compiled floor without Python: its own test program, and what the compiled modules hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gate.workbench import Failed, Part, Workbench, last_line

TESTS = Path("tests", "c")
FLAGS = ("-O2", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unknown-pragmas")
ISAS = {  # flags, and the bit of nncore_cpu_levels
    "x86_64_v2": ("-march=x86-64-v2", 1),
    "x86_64_v3": ("-march=x86-64-v3", 2),
    "x86_64_v4": ("-march=x86-64-v4", 4),
    "neon": ("", 8),
}
X86 = ("x86_64_v2", "x86_64_v3", "x86_64_v4")

#: What would be above the level of a module; and its own registers.
AVX512 = r"%zmm|%k[1-7]\b|%[xy]mm(?:1[6-9]|2\d|3[01])\b"
TOO_WIDE = {"_v4": "(?!)", "_v3": AVX512, "": AVX512 + r"|%ymm|\bv[a-z]\w*\s.*%xmm"}
OWN = {"_v4": "%zmm", "_v3": "%ymm", "": "%xmm"}


def test_program(
    bench: Workbench, name: str, compiler: Sequence[str | Path], isas: Sequence[str],
    *flags: str,
) -> Path:  # fmt: skip
    """Compile the test program of the C parts for some instruction sets; return it."""
    folder = bench.tree("floor")
    out = folder / "build" / name
    out.mkdir(parents=True, exist_ok=True)
    objects = []
    for isa in isas:
        for double, kind in enumerate(("f32", "f64")):
            target = out / f"{isa}_{kind}.o"
            bench.run(
                *compiler, *FLAGS, *flags, *ISAS[isa][0].split(), "-Isrc",
                f"-DNNCORE_DOUBLE={double}", f"-DTEST=test_{isa}_{kind}",
                "-c", TESTS / "tile.c", "-o", target, cwd=folder,
            )  # fmt: skip
            objects.append(target)
    tiles = " ".join(f"TILE({isa}, {ISAS[isa][1]})" for isa in isas)
    program = out / "floor.exe"
    bench.run(
        *compiler, *FLAGS, *flags, *ISAS[isas[0]][0].split(), "-Isrc", f"-DTILES={tiles}",
        TESTS / "floor.c", "src/cpu.c", "src/threads.c", *objects,
        *(() if "windows" in name else ("-lm", "-lpthread")), "-o", program, cwd=folder,
    )  # fmt: skip
    return program


def tested(output: str) -> str:
    """Return what the test program says it tested."""
    if "failures: 0" not in output:
        raise Failed(f"the test program says: {last_line(output)}")
    done = re.findall(r"^(?:tile )?(.+?): done", output, re.MULTILINE)
    absent = re.findall(r"^tile (\w+): this processor does not", output, re.MULTILINE)
    return ", ".join(done) + (f"; not on this processor: {', '.join(absent)}" if absent else "")


def c_parts(bench: Workbench) -> str:
    """Compile the test program and run it."""
    program = test_program(bench, "native", ["gcc"], X86, "-Werror")
    return tested(bench.run(program).stdout)


def level(module: str) -> str:
    """Return which instruction set a module's name allows: ``_v4``, ``_v3`` or the baseline."""
    found = re.search(r"_core_x86_64(_v[34])_", module)
    return found[1] if found else ""


def disassembly(bench: Workbench) -> str:
    """Read every module's machine code: nothing above what its name says."""
    bench.debian("binutils")
    python = bench.installed() / "bin/python"
    package = bench.run(python, "-P", "-c", "import nncore; print(nncore.__path__[0])")
    modules = sorted(Path(last_line(package.stdout)).glob("*.so"))
    own: dict[str, int] = {}
    for module in modules:
        listing = bench.run("objdump", "-d", "--no-show-raw-insn", module, log=False).stdout
        name = module.name.partition(".")[0]
        above = [line for line in listing.splitlines() if re.search(TOO_WIDE[level(name)], line)]
        if above:
            raise Failed(
                f"{name} has {len(above)} instructions above its level, such as {above[0].strip()}"
            )
        own[name] = len(re.findall(OWN[level(name)], listing))
    # A rule that never finds anything would pass an empty listing too.
    cores = [name for name in own if name.startswith("_core_")]
    if len(cores) < 2 or min(own[name] for name in cores) < 1000:
        raise Failed(f"the modules do not use the registers of their level: {own}")
    return f"{len(modules)} modules; {', '.join(f'{name[6:]}: {own[name]}' for name in cores)}"


PARTS = (
    Part("c-parts", "CPU detection, thread pool and register tile, as a C program", c_parts),
    Part("disassembly", "no module holds an instruction above its level", disassembly),
)
