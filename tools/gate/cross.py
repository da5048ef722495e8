"""Other systems: every extension compiled and linked by zig, the C parts run by Wine."""

from __future__ import annotations

import functools
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from gate.floor import X86, test_program, tested
from gate.targets import PYTHON, cpython_source, debian_python, target, zig
from gate.workbench import CACHE, X86_MACHINE, CannotRun, Failed, Part, Workbench


@dataclass(frozen=True)
class System:
    """A system to compile for: zig's name, Python's, NumPy's wheel, and what a module is."""

    zig: str
    platform: str
    numpy: str
    magic: bytes
    machine: bytes  # what follows, somewhere in the first 256 bytes


SYSTEMS = {
    "macos-x86_64": System("x86_64-macos.11.0", "macosx-11.0-x86_64", "macosx_14_0_x86_64",
                           b"\xcf\xfa\xed\xfe", b"\x07\x00\x00\x01"),
    "macos-arm64": System("aarch64-macos.11.0", "macosx-11.0-arm64", "macosx_14_0_arm64",
                          b"\xcf\xfa\xed\xfe", b"\x0c\x00\x00\x01"),
    "windows-x64": System("x86_64-windows-gnu", "win-amd64", "win_amd64",
                          b"MZ", b"PE\0\0\x64\x86"),
    "windows-arm64": System("aarch64-windows-gnu", "win-arm64", "win_arm64",
                            b"MZ", b"PE\0\0\x64\xaa"),
    "musl-x86_64": System("x86_64-linux-musl", "linux-x86_64", "musllinux_1_2_x86_64",
                          b"\x7fELF", b"\x3e\x00"),
    "musl-aarch64": System("aarch64-linux-musl", "linux-aarch64", "musllinux_1_2_aarch64",
                           b"\x7fELF", b"\xb7\x00"),
}  # fmt: skip


def numpy_headers(bench: Workbench, system: System) -> Path:
    """Return NumPy's headers of a system: the sizes of C's types are in them."""
    folder = CACHE / "numpy" / system.numpy
    if not folder.exists():
        bench.run(
            bench.builder() / "bin/pip", "download", "-q", "--no-deps", "--only-binary=:all:",
            f"--platform={system.numpy}", f"--python-version={PYTHON}", "-d", folder, "numpy",
        )  # fmt: skip
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(
                folder, [n for n in archive.namelist() if n.startswith("numpy/_core/include/")]
            )
        wheel.unlink()
    return folder / "numpy/_core/include"


def windows_python(bench: Workbench, system: System) -> tuple[Path, Path]:
    """Return Python's headers for Windows and an import library with the names that it exports."""
    folder = CACHE / "windows" / system.platform
    headers, library = folder / "include", folder / "libpython313.a"
    if not library.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        bench.run("tar", "-xJf", cpython_source(bench), "-C", folder, "--strip-components=1",
                  "--wildcards", "*/Include", "*/PC/pyconfig.h.in")  # fmt: skip
        (folder / "Include").rename(headers)
        (folder / "PC/pyconfig.h.in").rename(headers / "pyconfig.h")
        table = bench.run("nm", "-D", debian_python(bench), log=False).stdout
        names = re.findall(r" [TDBR] (_?Py\w+)$", table, re.MULTILINE)
        definition = folder / "python313.def"
        definition.write_text("LIBRARY python313.dll\nEXPORTS\n" + "\n".join(names) + "\n")
        bench.run(
            bench.tools("ziglang") / "bin/python", "-m", "ziglang", "dlltool", "-d", definition,
            "-l", library, "-m", "arm64" if "arm64" in system.platform else "i386:x86-64",
        )  # fmt: skip
    return headers, library


def cross(name: str, bench: Workbench) -> str:
    """Compile and link every extension for a system, by setup.py's own words."""
    system = SYSTEMS[name]
    includes, suffix = [numpy_headers(bench, system)], ".so"
    link: tuple[str, ...] = ()
    if name.startswith("windows"):
        headers, library = windows_python(bench, system)
        includes.insert(0, headers)
        link, suffix = (str(library),), ".pyd"
    elif name.startswith("macos"):
        link = ("-undefined", "dynamic_lookup")
    compiler = zig(bench, system.zig)
    arm = "arm64" in name or "aarch64" in name
    isas = ("neon",) if arm else X86[:2] if name.startswith("macos") else X86
    if bench.smoke:
        isas = isas[:1]
    tree = bench.build(
        name, target(system.platform, [compiler], includes, suffix, link), " ".join(isas)
    )
    wanted = {"_runtime", "_cyutility", *(f"_core_{i}_{k}" for i in isas for k in ("f32", "f64"))}
    modules = {m.name.partition(".")[0]: m for m in (tree / "nncore").glob(f"*{suffix}")}
    if absent := sorted(wanted - set(modules)):
        raise Failed(f"these modules were not made: {', '.join(absent)}")
    for module in modules.values():
        head = module.read_bytes()[:512]
        if not head.startswith(system.magic) or system.machine not in head:
            raise Failed(f"{module.name} is no module for {name}: it begins with {head[:20]!r}")
    return f"{len(modules)} modules, {sum(m.stat().st_size for m in modules.values()) / 1e6:.1f} MB"


def wine(bench: Workbench) -> str:
    """Compile the C parts for Windows and run them."""
    if not X86_MACHINE:
        raise CannotRun("it needs an x86-64 machine")
    bench.debian("wine64")
    program = test_program(bench, "windows", [zig(bench, "x86_64-windows-gnu")], X86)
    loader = shutil.which("wine64") or shutil.which("wine64", path="/usr/lib/wine")
    if not loader:
        raise CannotRun("Debian's wine64 has no wine64 program")
    env = {"WINEPREFIX": str(CACHE / "wine"), "WINEDEBUG": "-all"}
    return tested(bench.run(loader, program, env=env, seconds=600).stdout)


PARTS = (
    *(Part(f"cross-{name}", f"every module compiled and linked for {name}",
           functools.partial(cross, name), True) for name in SYSTEMS),
    Part("wine", "the C parts on Windows, by Wine", wine),
)  # fmt: skip
