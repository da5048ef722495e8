"""Build the compiled floor of nncore.

src/core.pyx is turned into C once; that C is compiled once for each instruction set and
number type, each a module of its own (src/isa/), with flags of its own. nncore/runtime.py
picks one before importing it. The code that Cython needs for typed memoryviews lies once in
nncore._cyutility instead of in every module.
"""

from __future__ import annotations

import os
import platform as host
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
SOURCE = Path("src")
UTILITY = "nncore._cyutility"
RUNTIME = "nncore._runtime"

# What the vectoriser needs, and no more: NaN and infinity keep their meaning, sums their order.
GCC_FLAGS = [
    "-O3",
    "-g0",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-ffp-contract=fast",
    "-Wno-unused-function",
    "-Wno-unknown-pragmas",
    "-fno-asynchronous-unwind-tables",  # C alone: nothing unwinds through it
]
ISA_FLAGS = {
    "x86_64_v2": ["-march=x86-64-v2"],
    "x86_64_v3": ["-march=x86-64-v3"],
    "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "neon": [],
    "generic": [],
}
MSVC_ISA_FLAGS = {"x86_64_v3": ["/arch:AVX2"], "x86_64_v4": ["/arch:AVX512"]}


def instruction_sets() -> list[str]:
    """Return the instruction sets to build for the target processor, weakest first."""
    platform = os.environ.get("ARCHFLAGS", "") or sysconfig.get_platform()
    arm, intel = "arm64" in platform, "x86_64" in platform
    if "universal2" in platform or (arm and intel):
        # Each processor has modules of its own: a build is for one of them.
        if arm and intel:
            sys.exit(
                f"ARCHFLAGS={platform}: build for one processor at a time, such as "
                f'ARCHFLAGS="-arch {host.machine()}"'
            )
        platform = host.machine()
        os.environ["ARCHFLAGS"] = f"-arch {platform}"
    if "arm64" in platform or "aarch64" in platform:
        return ["neon"]
    if "x86_64" in platform or "amd64" in platform:
        # Darwin turns AVX-512 on at first use only, and not on every Mac.
        last = 2 if sys.platform == "darwin" else 3
        return ["x86_64_v2", "x86_64_v3", "x86_64_v4"][:last]
    return ["generic"]


def newest(paths: list[Path]) -> float:
    """Return the latest modification time of the paths."""
    return max(path.stat().st_mtime for path in paths)


class BuildExt(build_ext):
    """Run Cython where its sources are newer, then compile, each module with its flags."""

    def build_extensions(self) -> None:
        """Generate the C files, then build every module."""
        self.generate()
        if self.parallel is None:
            self.parallel = os.cpu_count() or 1
        super().build_extensions()

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

    def build_extension(self, ext: Extension) -> None:
        """Add the flags of the compiler at hand, and of the module's instruction set."""
        import numpy

        ext.include_dirs = ["src", numpy.get_include()]
        isa = getattr(ext, "isa", None)
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args = ["/O2", *MSVC_ISA_FLAGS.get(isa or "", [])]
        else:
            baseline = ISA_FLAGS[instruction_sets()[0]]
            ext.extra_compile_args = [*GCC_FLAGS, *(ISA_FLAGS[isa] if isa else baseline)]
            if sys.platform.startswith("linux"):
                ext.libraries = ["m", "pthread"]
                ext.extra_link_args = ["-Wl,-s"]
        super().build_extension(ext)


def extensions() -> list[Extension]:
    """Return the modules: Cython's shared code, the runtime, a core for each ISA and type."""
    headers = [str(path) for path in sorted(SOURCE.glob("*.h"))]
    macros = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
    modules = [
        Extension(UTILITY, ["src/_cyutility.c"]),
        Extension(
            RUNTIME,
            ["src/_runtime.c", "src/threads.c", "src/cpu.c"],
            depends=headers,
        ),
    ]
    for isa in instruction_sets():
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
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
