"""What an installation weighs.  (Import time is a benchmark: benchmarks/footprint.py.)"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import nncore

PACKAGE = Path(nncore.__file__).parent
LARGEST = 6_000_000


def test_installed_size() -> None:
    files = [f for f in PACKAGE.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    size = sum(f.stat().st_size for f in files)
    assert size <= LARGEST, sorted(((f.stat().st_size, f.name) for f in files), reverse=True)[:10]


def test_embedded_data_is_small() -> None:
    assert sum(f.stat().st_size for f in (PACKAGE / "_data").iterdir()) < 200_000


def distribution() -> metadata.Distribution:
    try:
        return metadata.distribution("nncore")
    except metadata.PackageNotFoundError:
        pytest.skip("nncore is not installed, it is imported from its source folder")


def test_numpy_is_the_only_dependency() -> None:
    required = [r for r in distribution().requires or [] if "extra ==" not in r]
    assert len(required) == 1
    assert required[0].startswith("numpy")


def test_the_installed_version() -> None:
    assert distribution().version == nncore.__version__


def test_what_the_distribution_holds() -> None:
    files = distribution().files or []
    if not any(str(f) == "nncore/__init__.py" for f in files):
        pytest.skip("an editable installation")
    names = {str(f).replace("\\", "/") for f in files}
    for name in ("py.typed", "_data/digits.npz", "_data/README.md", "reference/__init__.py"):
        assert f"nncore/{name}" in names
    assert not [n for n in names if n.endswith((".pyx", ".c", ".h"))]
    assert not [n for n in names if n.startswith(("tests/", "src/", "benchmarks/"))]
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_import_is_light(python: Callable[..., CompletedProcess[str]]) -> None:
    """Nothing heavy is imported before it is needed, and no thread is started."""
    program = (
        "import sys, threading, numpy\n"
        "before = set(sys.modules)\n"
        "import nncore\n"
        "print(threading.active_count())\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    run = python(program)
    threads, modules = run.stdout.splitlines()
    assert threads == "1"
    assert run.stderr == ""
    heavy = {
        "argparse", "nncore.cli", "nncore.reference", "subprocess", "multiprocessing", "asyncio",
        "unittest", "scipy", "threadpoolctl", "matplotlib", "nncore.plot",
    }  # fmt: skip
    assert not heavy & set(modules.split())
