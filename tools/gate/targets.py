"""Other systems to build for: compilers, headers and names of theirs."""

from __future__ import annotations

from pathlib import Path

from gate.workbench import CACHE, Workbench

#: Debian's release whose source package of Python builds without the GIL, and that version.
RELEASE, PYTHON = "trixie", "3.13"
#: zig's cc, which writes the levels of x86-64 in its own way.
ZIG = """#!/bin/sh
for word in "$@"; do
    shift
    case "$word" in
        -march=x86-64-v*) word="-march=x86_64_${{word#-march=x86-64-}}" ;;
    esac
    set -- "$@" "$word"
done
exec "{python}" -m ziglang cc -target {target} "$@"
"""


def target(
    platform: str, compiler: list[str | Path], includes: list[Path], suffix: str,
    link: tuple[str, ...] = (),
) -> dict[str, str]:  # fmt: skip
    """Return an environment that has setup.py build for another platform.

    Python's build settings come from a module that Python looks up by name; this is one of ours.
    """
    folder = CACHE / "targets" / platform
    folder.mkdir(parents=True, exist_ok=True)
    compile_ = " ".join(map(str, compiler))
    flags = " ".join(["-fPIC", "-DNDEBUG", *(f"-I{path}" for path in includes)])
    shared = " ".join([compile_, "-shared", *link])
    settings = {
        "CC": compile_, "CXX": compile_, "CFLAGS": flags, "OPT": "", "CCSHARED": "-fPIC",
        "LDSHARED": shared, "LDCXXSHARED": shared, "EXT_SUFFIX": suffix, "SHLIB_SUFFIX": suffix,
        "AR": "ar", "ARFLAGS": "rcs", "Py_GIL_DISABLED": 0, "Py_DEBUG": 0,
    }  # fmt: skip
    name = "_nncore_target"
    (folder / f"{name}.py").write_text(f"build_time_vars = {settings!r}\n", encoding="utf-8")
    return {
        "PYTHONPATH": str(folder),
        "_PYTHON_HOST_PLATFORM": platform,
        "_PYTHON_SYSCONFIGDATA_NAME": name,
    }


def zig(bench: Workbench, target: str) -> Path:
    """Return a C compiler for a target: one program, as setuptools wants it."""
    python = bench.tools("ziglang") / "bin/python"
    program = CACHE / "zig" / f"cc-{target}"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(ZIG.format(python=python, target=target), encoding="utf-8")
    program.chmod(0o755)
    return program


def cpython_source(bench: Workbench) -> Path:
    """Return Debian's source archive of CPython."""
    folder = CACHE / "source"
    folder.mkdir(parents=True, exist_ok=True)
    if not (found := list(folder.glob("*.orig.tar.xz"))):
        apt = bench.apt_root(RELEASE, suite=RELEASE)
        bench.run("apt-get", "source", "--download-only", "-q", f"python{PYTHON}", cwd=folder,
                  env=apt)  # fmt: skip
        found = list(folder.glob("*.orig.tar.xz"))
    return found[0]


def debian_python(bench: Workbench) -> Path:
    """Return Debian's shared library of that CPython, whatever this machine's own is."""
    folder = CACHE / "libpython"
    if not (found := list(folder.rglob(f"libpython{PYTHON}.so.1.0"))):
        folder.mkdir(parents=True, exist_ok=True)
        apt = bench.apt_root(RELEASE, suite=RELEASE)
        bench.run("apt-get", "download", "-q", f"libpython{PYTHON}", cwd=folder, env=apt)
        bench.run("dpkg-deb", "-x", next(folder.glob("*.deb")), folder)
        found = list(folder.rglob(f"libpython{PYTHON}.so.1.0"))
    return found[0]
