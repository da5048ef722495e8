"""Build the compiled floor of nncore.

src/core.pyx is turned into C once; that C is compiled once for each instruction set and
number type, each a module of its own (src/isa/), with flags of its own. nncore/runtime.py
picks one before importing it. The code that Cython needs for typed memoryviews lies once in
nncore._cyutility instead of in every module.

Environment
-----------
``CC``
    The compiler, as everywhere. On Windows ``cl`` (the default; it has no vector extensions, so
    nncore is slower, and ``nncore.show_config()`` says so) or ``clang-cl``.
``NNCORE_BUILD_ISAS``
    The instruction sets to build, such as ``"x86_64_v2 x86_64_v3"``; else all of the platform's.
    Every platform also has ``generic``, plain C, which is built when asked for.
``SOURCE_DATE_EPOCH``
    The time, in seconds since 1970, that source archives and wheels carry instead of today's.
``NNCORE_BUILD_DEBUG``
    ``1``: little optimisation, and symbols: for debuggers, and for sanitizers, whose flags go into
    CFLAGS.
"""

from __future__ import annotations

import gzip
import os
import platform as host
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
SOURCE = Path("src")
UTILITY = "nncore._cyutility"
RUNTIME = "nncore._runtime"
BUILT = SOURCE / "_built.h"
TARGET = sysconfig.get_platform()  # not this machine's where _PYTHON_HOST_PLATFORM is set

OLDEST_PYTHON = (3, 11)
OLDEST = {"setuptools": "77", "Cython": "3.3", "numpy": "2.0"}
COMPILERS = "gcc 11 or newer, or clang 12 or newer"
OPTIMISE = ["-O3", "-g0"]
# With the pass that fuses products and sums, which gcc's -O1 leaves out: a number's bits must not
# depend on the loop that computes it.
DEBUG = ["-O1", "-fexpensive-optimizations", "-g", "-fno-omit-frame-pointer"]

# What the vectoriser needs, and no more: NaN and infinity keep their meaning, sums their order.
GCC_FLAGS = [
    "-std=gnu17",  # gcc then contracts products and sums; clang does by src/real.h
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-Wno-unused-function",
    "-Wno-unknown-pragmas",
    "-fno-asynchronous-unwind-tables",  # C alone: nothing unwinds through it
]
# Where the compiler knows them (gcc): no copies of functions for callers with constants, which make
# a wheel 75 KB larger (what gains from one is written twice); and -O2's idea of which functions to
# inline without being asked (another 60 KB: parts of what prepares the work, not of the work).
SMALLER = ("-fno-ipa-cp-clone", "--param=max-inline-insns-auto=15")
ISA_FLAGS = {
    "x86_64_v2": ["-march=x86-64-v2"],
    "x86_64_v3": ["-march=x86-64-v3"],
    "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "neon": [],
    "generic": [],
}
MSVC_ISA_FLAGS = {"x86_64_v3": ["/arch:AVX2"], "x86_64_v4": ["/arch:AVX512"]}
CLANG_CL_TARGETS = {"win-amd64": "x86_64-pc-windows-msvc", "win-arm64": "aarch64-pc-windows-msvc"}


def stop(what: str) -> NoReturn:
    """End the build with one line that says what it needs."""
    sys.exit(f"nncore cannot be built: {what}")


def number(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def check_python() -> None:
    """Stop where this Python, or a package that the build uses, is not one that will do."""
    have = f"{host.python_implementation()} {host.python_version()}"
    if sys.version_info[:2] < OLDEST_PYTHON or host.python_implementation() != "CPython":
        wanted = ".".join(map(str, OLDEST_PYTHON))
        stop(f"it needs CPython {wanted} or newer; this is {have} ({sys.executable})")
    if sys.maxsize < 2**32 or sys.byteorder != "little":
        stop(f"it needs a 64-bit, little-endian Python; this one is for {host.machine()}")
    for name, oldest in OLDEST.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            stop(f"{name} is not installed; pip install '{name}>={oldest}'")
        if number(found) < number(oldest):
            stop(f"it needs {name} {oldest} or newer; {found} is installed; "
                 f"pip install '{name}>={oldest}'")  # fmt: skip


def failure(command: list[str], flags: list[str], code: str) -> str:
    """Return what the compiler says against a program; nothing if it compiles it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(code, encoding="ascii")
        run = subprocess.run(
            [*command, *flags, "-c", str(source), "-o", str(Path(folder, "probe.o"))],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    lines = [line for line in run.stderr.splitlines() if "error" in line] or [
        f"it ended with {run.returncode}"
    ]
    return lines[0] if run.returncode else ""


def check_compiler(command: list[str], includes: list[str], isas: list[str]) -> None:
    """Stop where the compiler is missing, too old, or finds no Python.h."""
    try:
        broken = failure(command, [], "int nothing;\n")
    except OSError:
        stop(f"there is no C compiler {command[0]!r}; install {COMPILERS}, or name it in CC")
    if broken:
        stop(f"the C compiler {command[0]!r} does not work: {broken}")
    for isa in isas:
        flags = [*GCC_FLAGS, *ISA_FLAGS[isa]]
        wrong = failure(command, flags, "typedef int pair __attribute__((vector_size(8)));\n")
        if wrong:
            stop(f"the C compiler {command[0]!r} is too old, it needs {COMPILERS}: {wrong}")
    if failure(command, [f"-I{folder}" for folder in includes], "#include <Python.h>\n"):
        stop(f"Python.h is not in {includes[0]}; install Python's headers, such as python3-dev")


def instruction_sets() -> list[str]:
    """Return the instruction sets of the target processor, weakest first."""
    platform = os.environ.get("ARCHFLAGS", "") or TARGET
    arm, intel = "arm64" in platform, "x86_64" in platform
    if "universal2" in platform or (arm and intel):
        # Each processor has modules of its own: a build is for one of them.
        if arm and intel:
            stop(
                f"ARCHFLAGS={platform} names two processors; build for one at a time, such as "
                f'ARCHFLAGS="-arch {host.machine()}"'
            )
        platform = host.machine()
        os.environ["ARCHFLAGS"] = f"-arch {platform}"
    if "arm64" in platform or "aarch64" in platform:
        return ["neon"]
    if "x86_64" in platform or "amd64" in platform:
        # Darwin turns AVX-512 on at first use only, and not on every Mac.
        last = 2 if TARGET.startswith("macosx") else 3
        return ["x86_64_v2", "x86_64_v3", "x86_64_v4"][:last]
    return ["generic"]


def chosen() -> list[str]:
    """Return the instruction sets to build, weakest first."""
    platform = instruction_sets()
    offered = list(dict.fromkeys(["generic", *platform]))
    wanted = os.environ.get("NNCORE_BUILD_ISAS", "").split()
    if wrong := sorted(set(wanted) - set(offered)):
        known = ", ".join(dict.fromkeys([*platform, "generic"]))
        stop(f"NNCORE_BUILD_ISAS={' '.join(wrong)}: this platform has {known}")
    return [isa for isa in offered if isa in wanted] or platform


def baseline() -> str:
    """Return the instruction set of the modules that every processor of the platform imports."""
    return "generic" if "generic" in chosen() else instruction_sets()[0]


def find_clang_cl(visual_studio: str) -> str:
    """Return the path of clang-cl: on PATH, among Visual Studio's tools, or in LLVM's folder."""
    llvm = os.path.join(os.environ.get("PROGRAMFILES", r"C:\Program Files"), "LLVM", "bin")
    for folders in (None, visual_studio, llvm):
        if found := shutil.which("clang-cl", path=folders):
            return found
    stop(f"CC=clang-cl is neither on PATH nor among Visual Studio's tools nor in {llvm}")


def newest(paths: list[Path]) -> float:
    """Return the latest modification time of the paths."""
    return max(path.stat().st_mtime for path in paths)


class BuildExt(build_ext):
    """Run Cython where its sources are newer, then compile, each module with its flags."""

    clang_cl = False
    smaller: tuple[str, ...] = ()

    def build_extensions(self) -> None:
        """Generate the C files, then build every module."""
        if self.compiler.compiler_type == "unix":
            includes = [sysconfig.get_path("include"), sysconfig.get_path("platinclude")]
            check_compiler(self.compiler.compiler_so, includes, chosen())
            if not failure(self.compiler.compiler_so, ["-Werror", *SMALLER], "int nothing;\n"):
                self.smaller = SMALLER
        if self.compiler.compiler_type == "msvc":
            self.choose_windows_compiler()
        self.generate()
        self.record()
        if self.parallel is None:
            self.parallel = os.cpu_count() or 1
        super().build_extensions()

    def choose_windows_compiler(self) -> None:
        """Put clang-cl in cl's place where CC says so, which setuptools heeds on Unix only."""
        name = os.environ.get("CC", "cl")
        if name.lower().removesuffix(".exe") not in ("cl", "clang-cl"):
            stop(f"on Windows CC is cl or clang-cl, both found by themselves; received CC={name}")
        if not self.compiler.initialized:
            self.compiler.initialize(self.plat_name)
        self.clang_cl = name.lower().startswith("clang-cl")
        if self.clang_cl:
            self.compiler.cc = find_clang_cl(self.compiler._paths)
            # cl's own link-time optimisation, which clang-cl has not.
            self.compiler.compile_options.remove("/GL")
        else:
            print("nncore: cl has no vector extensions; with CC=clang-cl nncore is faster")

    def windows_flags(self, isa: str) -> list[str]:
        """Return the flags of cl or clang-cl; /Brepro leaves the time out of what is built."""
        if not self.clang_cl:
            return ["/O2", "/Brepro", *MSVC_ISA_FLAGS.get(isa, [])]
        flags = [f"/clang:{flag}" for flag in (*OPTIMISE, *GCC_FLAGS, *ISA_FLAGS[isa])]
        return [f"--target={CLANG_CL_TARGETS[self.plat_name]}", "/Brepro", *flags]

    def generate(self) -> None:
        """Run Cython on what has changed: any .pyx or .pxd, or this file."""
        from Cython.Compiler.Main import main as cython

        inputs = [*SOURCE.glob("*.p[yx][xd]"), *Path("nncore").glob("*.pxd"), Path("setup.py")]
        common = ["-3", "--shared", UTILITY, "-I", ".", "-I", "src"]
        jobs = {
            SOURCE / "core.c": [*common, "--module-name", "nncore._core", "src/core.pyx"],
            SOURCE / "_runtime.c": [*common, "--module-name", RUNTIME, "src/_runtime.pyx"],
            SOURCE / "_cyutility.c": ["generate-shared", "--module-name", UTILITY],
        }
        for output, arguments in jobs.items():
            if not self.force and output.exists() and output.stat().st_mtime > newest(inputs):
                continue
            print("cython:", output)
            shared = arguments[0] == "generate-shared"
            argv = [*arguments, str(output)] if shared else [*arguments, "-o", str(output)]
            saved, sys.argv = sys.argv, ["cython", *argv]
            try:
                cython(command_line=1)
            except SystemExit as stop:
                if stop.code:
                    output.unlink(missing_ok=True)
                    raise
            finally:
                sys.argv = saved

    def record(self) -> None:
        """Write down what is built, so that an installation can tell whether it is whole."""
        text = (
            f'#define NNCORE_BUILT_VERSION "{self.distribution.get_version()}"\n'
            f'#define NNCORE_BUILT_ISAS "{" ".join(chosen())}"\n'
        )
        if not BUILT.exists() or BUILT.read_text(encoding="ascii") != text:
            BUILT.write_text(text, encoding="ascii")

    def build_extension(self, ext: Extension) -> None:
        """Add the flags of the compiler at hand, and of the module's instruction set."""
        import numpy

        ext.include_dirs = ["src", numpy.get_include()]
        isa = getattr(ext, "isa", baseline())
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args = self.windows_flags(isa)
            ext.extra_link_args = ["/Brepro"]
        else:
            debug = os.environ.get("NNCORE_BUILD_DEBUG") == "1"
            optimise = DEBUG if debug else OPTIMISE
            ext.extra_compile_args = [*optimise, *self.smaller, *GCC_FLAGS, *ISA_FLAGS[isa]]
            if TARGET.startswith("linux"):
                ext.libraries = ["m", "pthread"]
                ext.extra_link_args = [] if debug else ["-Wl,-s"]
        super().build_extension(ext)


class SourceArchive(sdist):
    """With SOURCE_DATE_EPOCH, an archive of the same bytes, whoever makes it, where and when."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **owner):
        """Pack the folder `base_dir`."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is None or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, **owner)

        def nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = int(epoch)
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            return entry

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for member in sorted([Path(base_dir), *Path(base_dir).rglob("*")]):
                archive.add(member, recursive=False, filter=nobodys)
        return path


def extensions() -> list[Extension]:
    """Return the modules: Cython's shared code, the runtime, a core for each ISA and type."""
    headers = [str(path) for path in sorted(SOURCE.glob("*.h")) if path != BUILT]
    macros = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
    modules = [
        Extension(UTILITY, ["src/_cyutility.c"]),
        Extension(
            RUNTIME,
            ["src/_runtime.c", "src/threads.c", "src/cpu.c"],
            depends=[*headers, str(BUILT)],
        ),
    ]
    for isa in chosen():
        for kind in ("f32", "f64"):
            name = f"_core_{isa}_{kind}"
            module = Extension(
                f"nncore.{name}",
                [f"src/isa/{name}.c"],
                depends=[*headers, "src/core.c"],
                define_macros=macros,
            )
            module.isa = isa
            modules.append(module)
    return modules


if __name__ == "__main__":
    os.chdir(HERE)
    check_python()
    if "SOURCE_DATE_EPOCH" in os.environ:
        os.umask(0o022)  # a wheel holds the files' modes
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt, "sdist": SourceArchive})
