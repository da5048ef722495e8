"""The suite on every instruction set: natively, and on processors that QEMU emulates."""

from __future__ import annotations

import functools
import os
import re
import shutil
from pathlib import Path

from gate.floor import X86
from gate.targets import target
from gate.workbench import (
    CACHE,
    NO_LISTING,
    SMOKE,
    X86_MACHINE,
    CannotRun,
    Failed,
    Part,
    Workbench,
    last_line,
)

#: Processors as QEMU knows them (less what it would warn about), what nncore must pick there, and
#: what NumPy must be told: its OpenBLAS takes an emulated Nehalem for a newer one, and its own AVX2
#: code reads strided arrays wrongly on QEMU 7. NumPy's baseline is x86-64-v2: nothing older runs.
MODELS = {
    "nehalem": ("Nehalem", "x86_64_v2", {"OPENBLAS_CORETYPE": "Nehalem"}),
    "haswell": (
        "Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid",
        "x86_64_v3",
        {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V3"},
    ),
}
#: Where the other half of microkernel.h is least like the one with vectors.
SHORTCUTS = ("tests/test_short_rows.py", "tests/test_tiny_nets.py")
PICKED = "import nncore; print(nncore.runtime.isa())"


def native(isa: str, bench: Workbench) -> str:
    """Run the suite with an instruction set forced."""
    python = bench.installed() / "bin/python"
    have = bench.run(python, "-P", "-c", "import nncore; print(*nncore.runtime.available_isas())")
    if isa not in have.stdout.split():
        raise CannotRun(f"this processor has {', '.join(have.stdout.split())}")
    env = {"NNCORE_ISA": isa}
    if last_line(bench.run(python, "-P", "-c", PICKED, env=env).stdout) != isa:
        raise Failed(f"NNCORE_ISA={isa} does not choose it")
    return bench.suite([python], bench.unpacked(), env=env)


def plain_c(bench: Workbench) -> str:
    """Run the suite on loops without vector extensions, as cl compiles them."""
    tree = bench.build("plain-c", {"CFLAGS": "-DNNCORE_PLAIN_C"}, isas="generic")
    tests = (*SMOKE, *SHORTCUTS) if bench.smoke else ("tests",)
    return bench.suite([bench.tester() / "bin/python"], tree, tests,
                       "not every_instruction_set", {"PYTHONPATH": str(tree)})  # fmt: skip


def emulator(name: str, command: list[str | Path]) -> tuple[Path, dict[str, str]]:
    """Return an executable for the command, and an environment whose children run by it too.

    A child that Python starts as ``sys.executable`` would run on the real processor: the system,
    not the emulator, starts it.
    """
    folder = CACHE / "emulators" / name
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "python"
    words = " ".join(f"'{word}'" for word in command)
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    (folder / "sitecustomize.py").write_text(
        f'import sys\n\nsys.executable = "{program}"\n', encoding="utf-8"
    )
    return program, {"PYTHONPATH": str(folder)}


def qemu_x86(model: str, bench: Workbench) -> str:
    """Run the suite on an emulated x86-64 processor, which must pick the right modules."""
    if not X86_MACHINE:
        raise CannotRun(f"the wheel made here is for {os.uname().machine}")
    bench.debian("qemu-user-static")
    cpu, isa, numpy = MODELS[model]
    python, env = emulator(
        model, ["qemu-x86_64-static", "-cpu", cpu, bench.installed() / "bin/python"]
    )
    env |= numpy
    picked = last_line(bench.run(python, "-P", "-c", PICKED, env=env).stdout)
    if picked != isa:
        raise Failed(f"on {cpu}, {picked} was picked instead of {isa}")
    have = X86[: X86.index(isa) + 1]
    for absent in X86[len(have) :]:
        done = bench.run(python, "-P", "-c", PICKED, env={**env, "NNCORE_ISA": absent}, ok=False)
        error = f"NNCORE_ISA={absent}: this machine and build have {', '.join(have)}"
        if done.returncode != 1 or error not in done.stdout:
            raise Failed(f"forcing {absent}, which {cpu} lacks, says: {last_line(done.stdout)}")
    return f"{isa}: " + bench.suite([python], bench.unpacked(), (), NO_LISTING, env)


class Arm:
    """A Debian system for aarch64 in a folder, with Python, and what the suite needs."""

    def __init__(self, bench: Workbench) -> None:
        bench.debian("qemu-user-static", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross")
        self.root = CACHE / "aarch64" / "root"
        self.site = CACHE / "aarch64" / "site-packages"
        apt = bench.apt_root("aarch64", architecture="arm64")
        if not (self.root / "usr/bin/python3").exists():
            bench.run("apt-get", "install", "--download-only", "-y", "-q", "python3",
                      "libpython3-dev", "libc6", "libstdc++6", env=apt)  # fmt: skip
            self.root.mkdir(parents=True, exist_ok=True)
            for package in sorted((CACHE / "apt/aarch64/archives").glob("*.deb")):
                bench.run("dpkg-deb", "-x", package, self.root)
        self.command: list[str | Path] = [
            "qemu-aarch64-static", "-L", self.root, self.root / "usr/bin/python3"
        ]  # fmt: skip
        version = bench.run(*self.command, "-V").stdout
        found = re.search(r"Python 3\.(\d+)", version)
        if not found:
            raise CannotRun(f"QEMU does not run this Debian's Python for aarch64: {version}")
        self.minor = found[1]
        packages = bench.requirements("run", "test")
        marker = self.site / "packages.txt"
        if not marker.exists() or marker.read_text(encoding="utf-8") != "\n".join(packages):
            shutil.rmtree(self.site, ignore_errors=True)
            bench.run(
                bench.builder() / "bin/pip", "install", "-q", "--target", self.site,
                *(f"--platform=manylinux_2_{glibc}_aarch64" for glibc in (28, 27, 17)),
                "--platform=manylinux2014_aarch64", f"--python-version=3.{self.minor}",
                "--only-binary=:all:", *packages,
            )  # fmt: skip
            marker.write_text("\n".join(packages), encoding="utf-8")

    def build(self, bench: Workbench) -> Path:
        """Return a tree with modules for aarch64, which the ordinary build made."""
        include = self.root / "usr/include"
        env = target(
            "linux-aarch64", ["aarch64-linux-gnu-gcc"],
            [include / f"python3.{self.minor}", include], ".so",
        )  # fmt: skip
        return bench.build("aarch64", env)


def aarch64(bench: Workbench) -> str:
    """Run the suite on an emulated aarch64 processor, with NEON."""
    arm = Arm(bench)
    tree = arm.build(bench)
    python, env = emulator("aarch64", arm.command)
    env = {"PYTHONPATH": os.pathsep.join([env["PYTHONPATH"], str(tree), str(arm.site)])}
    picked = last_line(bench.run(python, "-P", "-c", PICKED, env=env).stdout)
    if picked != "neon":
        raise Failed(f"{picked} was picked instead of neon")
    return f"Python 3.{arm.minor}, neon: " + bench.suite([python], tree, env=env)


PARTS = (
    *(
        Part(f"isa-{isa}", f"the suite with NNCORE_ISA={isa}", functools.partial(native, isa), True)
        for isa in X86
    ),
    *(
        Part(f"qemu-{model}", f"the suite on an emulated {model.title()}",
             functools.partial(qemu_x86, model), True)
        for model in MODELS
    ),
    Part("plain-c", "the suite on C without vector extensions", plain_c, True),
    Part("aarch64", "the suite on an emulated aarch64 processor, with NEON", aarch64, True),
)  # fmt: skip
