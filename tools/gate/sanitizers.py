"""The suite under AddressSanitizer, UndefinedBehaviorSanitizer, ThreadSanitizer and valgrind.

Each is first shown a bug (tests/c/bugs.c) in the very set-up that then runs the suite: a sanitizer
that is not really there finds nothing.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

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

#: Where threads work: the pool, several of Python's threads at once, plans and kernels in parts.
#: (Not test_fit: ThreadSanitizer holds back signals, and so the Ctrl-C that ends long fits there.)
THREADS = tuple(f"tests/test_{name}.py" for name in ("runtime", "threads", "plan", "kernels"))
#: What tests a build of every instruction set, small and fast: these are none.
RELEASE = "not vectorised and not installed_size and not every_instruction_set"
#: Tests of child processes, which ThreadSanitizer and valgrind do not go on in where the parent has
#: threads, or that compile a sanitizer's program of their own.
NO_FORK = " and ".join(
    f"not {word}"
    for word in (
        "fork",
        "without_a_seed",
        "multiprocessing",
        "joblib",
        "under_stress",
        "has_no_races",
    )
)


@dataclass(frozen=True)
class Sanitizer:
    """How to build with a sanitizer and run Python under it; ``bugs``: what it must report."""

    flags: str
    libraries: tuple[str, ...]
    env: dict[str, str]
    bugs: dict[str, str]
    tests: tuple[str, ...] = ("tests",)
    which: str = RELEASE
    wrapper: tuple[str, ...] = ()


ADDRESS = Sanitizer(
    flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined",
    libraries=("libasan.so", "libubsan.so"),
    env={"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1",
         "PYTHONMALLOC": "malloc"},
    bugs={"heap_overflow": "heap-buffer-overflow", "undefined": "signed integer overflow"},
)  # fmt: skip
THREAD = Sanitizer(
    flags="-fsanitize=thread",
    libraries=("libtsan.so",),
    env={
        "TSAN_OPTIONS": "halt_on_error=1 report_signal_unsafe=0 die_after_fork=0",
        "OPENBLAS_NUM_THREADS": "1",  # its threads are not instrumented
    },
    bugs={"data_race": "data race"},
    tests=THREADS,
    which=f"{RELEASE} and {NO_FORK}",
    wrapper=("setarch", "-R"),  # gcc 12's cannot live with today's random addresses
)


def commit(bug: str) -> str:
    """Return a program for Python that commits one of the bugs."""
    return f"import ctypes, sys; ctypes.CDLL(sys.argv[1]).{bug}(); print('not seen')"


def bugs(bench: Workbench, tree: Path, flags: list[str]) -> Path:
    """Compile the bugs as the modules are compiled."""
    library = tree / "build" / "bugs.so"
    library.parent.mkdir(exist_ok=True)
    bench.run(
        "gcc", "-O1", "-g", "-fPIC", "-shared", "-w", "-DNNCORE_DOUBLE=0", "-march=x86-64-v3",
        *flags, "-Isrc", "tests/c/bugs.c", "src/threads.c", "-lpthread", "-lm", "-o", library,
        cwd=tree,
    )  # fmt: skip
    return library


def sanitized(name: str, how: Sanitizer, bench: Workbench) -> str:
    """Build with a sanitizer, show it the bugs, then run the suite."""
    if not X86_MACHINE:
        raise CannotRun("the bugs are compiled for x86-64")
    python = bench.tester() / "bin/python"
    preload = [bench.run("gcc", f"-print-file-name={lib}").stdout.strip() for lib in how.libraries]
    if absent := [lib for lib in preload if not os.path.isabs(lib)]:
        raise CannotRun(f"this gcc has no {', '.join(absent)}")
    build = {"NNCORE_BUILD_DEBUG": "1", "CFLAGS": how.flags}
    tree = bench.build(name, build, isas="x86_64_v3")
    env = {**how.env, "LD_PRELOAD": os.pathsep.join(preload), "PYTHONPATH": str(tree)}
    library = bugs(bench, tree, how.flags.split())
    for bug, report in how.bugs.items():
        done = bench.run(*how.wrapper, python, "-P", "-c", commit(bug), library, env=env, ok=False)
        if done.returncode == 0 or report not in done.stdout:
            raise Failed(f"it did not see {bug}: {last_line(done.stdout)}")
    tests = SMOKE if bench.smoke else how.tests
    line = bench.suite([*how.wrapper, python], tree, tests, how.which, env)
    return f"saw {', '.join(how.bugs)}; then {line}"


def valgrind(bench: Workbench) -> str:
    """Run kernels and plans under valgrind; no report may name a module of nncore."""
    bench.debian("valgrind")
    python = bench.installed() / "bin/python"
    reports = CACHE / "valgrind"
    env = {"PYTHONMALLOC": "malloc", "NNCORE_ISA": "x86_64_v3"}  # it knows no AVX-512

    def checked(*command: str | Path) -> str:
        """Run Python under it; return the reports that name one of our libraries."""
        reports.mkdir(parents=True, exist_ok=True)
        for old in reports.glob("*"):
            old.unlink()
        bench.run("valgrind", "-q", f"--log-file={reports}/%p.txt", "--num-callers=30", python,
                  "-P", *command, cwd=bench.unpacked(), env=env)  # fmt: skip
        text = "\n".join(path.read_text(errors="replace") for path in reports.glob("*"))
        blocks = re.split(r"\n==\d+== \n", text)
        return "\n\n".join(b for b in blocks if re.search(r"/nncore/_|bugs\.so|bugs\.c", b))

    seen = checked("-c", commit("heap_overflow"), bugs(bench, bench.tree("floor"), []))
    if "Invalid write" not in seen:
        raise Failed("it did not see heap_overflow")
    what = ["tests/test_a_worked_example.py"] if bench.smoke else [*SMOKE]
    found = checked("-m", "pytest", "-q", "-p", "no:cacheprovider", *what, "-k",
                    # (A child is not under valgrind, and so has the better instruction set.)
                    f"{NO_LISTING} and {NO_FORK} and not best_instruction_set")  # fmt: skip
    if found:
        raise Failed(f"it reports\n{found[:4000]}")
    return f"saw heap_overflow; then nothing in nncore's modules, of {' '.join(what)}"


PARTS = (
    Part("asan", "the suite under AddressSanitizer and UndefinedBehaviorSanitizer",
         functools.partial(sanitized, "asan", ADDRESS), True),
    Part("tsan", "threads under ThreadSanitizer",
         functools.partial(sanitized, "tsan", THREAD), True),
    Part("valgrind", "plans under valgrind", valgrind, True),
)  # fmt: skip
