"""A build that cannot succeed says in one line what it needs, before it does anything."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]

pytest.importorskip("setuptools")
if not (ROOT / "setup.py").exists():
    pytest.skip("setup.py is not beside tests/", allow_module_level=True)

posix = pytest.mark.skipif(os.name != "posix", reason="the compilers are shell scripts")
INCLUDES = [sysconfig.get_path("include")]


@pytest.fixture
def build() -> ModuleType:
    """Return setup.py, as a module."""
    spec = importlib.util.spec_from_file_location("nncore_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def message(stopped: pytest.ExceptionInfo[SystemExit]) -> str:
    text = str(stopped.value)
    assert "\n" not in text
    assert text.startswith("nncore cannot be built: ")
    return text.removeprefix("nncore cannot be built: ")


def script(folder: Path, text: str) -> str:
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


class TestPython:
    def test_this_one_will_do(self, build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(build, "OLDEST", {"numpy": "2.0"})
        build.check_python()

    def test_too_old(self, build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(build, "OLDEST_PYTHON", (3, 99))
        with pytest.raises(SystemExit) as stopped:
            build.check_python()
        assert message(stopped) == (
            f"it needs CPython 3.99 or newer; this is CPython {platform.python_version()} "
            f"({sys.executable})"
        )

    def test_another_implementation(
        self, build: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(build.host, "python_implementation", lambda: "PyPy")
        with pytest.raises(SystemExit) as stopped:
            build.check_python()
        assert message(stopped).startswith("it needs CPython 3.11 or newer; this is PyPy ")

    def test_32_bits(self, build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "maxsize", 2**31 - 1)
            with pytest.raises(SystemExit) as stopped:
                build.check_python()
        assert message(stopped).startswith("it needs a 64-bit, little-endian Python; this one is")

    def test_numpy_too_old(self, build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(build, "OLDEST", {"numpy": "99.0"})
        with pytest.raises(SystemExit) as stopped:
            build.check_python()
        text = message(stopped)
        assert text.startswith("it needs numpy 99.0 or newer; ")
        assert text.endswith("is installed; pip install 'numpy>=99.0'")

    def test_a_package_is_missing(self, build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(build, "OLDEST", {"nncore-has-no-such-need": "1"})
        with pytest.raises(SystemExit) as stopped:
            build.check_python()
        assert message(stopped) == (
            "nncore-has-no-such-need is not installed; pip install 'nncore-has-no-such-need>=1'"
        )

    @pytest.mark.parametrize(
        ("version", "numbers"),
        [("2.0", (2, 0)), ("3.3.1", (3, 3, 1)), ("2.4.0rc1", (2, 4)), ("x", ())],
    )
    def test_numbers_of_a_version(self, build: ModuleType, version: str, numbers: tuple) -> None:
        assert build.number(version) == numbers


class TestPlatform:
    @pytest.mark.parametrize(
        ("platform", "isas"),
        [
            ("linux-x86_64", ["x86_64_v2", "x86_64_v3", "x86_64_v4"]),
            ("macosx-10.13-x86_64", ["x86_64_v2", "x86_64_v3"]),
            ("macosx-11.0-arm64", ["neon"]),
            ("linux-aarch64", ["neon"]),
            ("win-amd64", ["x86_64_v2", "x86_64_v3", "x86_64_v4"]),
            ("win-arm64", ["neon"]),
            ("linux-riscv64", ["generic"]),
        ],
    )
    def test_instruction_sets(
        self, build: ModuleType, monkeypatch: pytest.MonkeyPatch, platform: str, isas: list[str]
    ) -> None:
        monkeypatch.delenv("ARCHFLAGS", raising=False)
        monkeypatch.setattr(build, "TARGET", platform)
        assert build.instruction_sets() == isas

    def test_two_processors_at_once(
        self, build: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ARCHFLAGS", "-arch arm64 -arch x86_64")
        with pytest.raises(SystemExit) as stopped:
            build.instruction_sets()
        assert "names two processors; build for one at a time" in message(stopped)

    def test_some_of_them(self, build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ARCHFLAGS", raising=False)
        monkeypatch.setattr(build, "TARGET", "linux-x86_64")
        monkeypatch.setenv("NNCORE_BUILD_ISAS", "x86_64_v3")
        assert build.chosen() == ["x86_64_v3"]
        monkeypatch.setenv("NNCORE_BUILD_ISAS", "x86_64_v3 neon")
        with pytest.raises(SystemExit) as stopped:
            build.chosen()
        assert message(stopped) == (
            "NNCORE_BUILD_ISAS=neon: this platform has x86_64_v2, x86_64_v3, x86_64_v4, generic"
        )


@posix
class TestCompiler:
    def test_missing(self, build: ModuleType) -> None:
        with pytest.raises(SystemExit) as stopped:
            build.check_compiler(["/nowhere/cc"], INCLUDES, [])
        assert message(stopped) == (
            "there is no C compiler '/nowhere/cc'; install gcc 11 or newer, or clang 12 or newer, "
            "or name it in CC"
        )

    def test_broken(self, build: ModuleType, tmp_path: Path) -> None:
        compiler = script(tmp_path, "echo 'cc: error: no space left' >&2; exit 1")
        with pytest.raises(SystemExit) as stopped:
            build.check_compiler([compiler], INCLUDES, [])
        assert (
            message(stopped)
            == f"the C compiler '{compiler}' does not work: cc: error: no space left"
        )

    def test_too_old(self, build: ModuleType, tmp_path: Path) -> None:
        compiler = script(
            tmp_path,
            'case "$*" in *x86-64-v3*) echo "cc1: error: bad value for -march" >&2; exit 1;; esac',
        )
        build.check_compiler([compiler], INCLUDES, ["x86_64_v2"])
        with pytest.raises(SystemExit) as stopped:
            build.check_compiler([compiler], INCLUDES, ["x86_64_v2", "x86_64_v3"])
        assert message(stopped) == (
            f"the C compiler '{compiler}' is too old, it needs gcc 11 or newer, or clang 12 or "
            f"newer: cc1: error: bad value for -march"
        )

    @pytest.mark.skipif(shutil.which("cc") is None, reason="there is no cc")
    def test_no_headers_of_python(self, build: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(SystemExit) as stopped:
            build.check_compiler(["cc"], [str(tmp_path)], [])
        assert message(stopped) == (
            f"Python.h is not in {tmp_path}; install Python's headers, such as python3-dev"
        )

    def test_a_build_ends_with_that_line(self, tmp_path: Path) -> None:
        pytest.importorskip("Cython")
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--build-temp", tmp_path,
             "--build-lib", tmp_path],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "CC": "/nowhere/cc"},
        )  # fmt: skip
        assert done.returncode == 1
        lines = done.stderr.strip().splitlines()
        assert lines[-1].startswith("nncore cannot be built: there is no C compiler '/nowhere/cc'")
        assert not list(tmp_path.iterdir())
