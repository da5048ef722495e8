"""A damaged installation says on import what is missing and how to mend it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import nncore
from nncore import _runtime, runtime

pytestmark = pytest.mark.thread_unsafe(reason="damages a copy of the package")
PACKAGE = Path(nncore.__file__).parent
#: An editable installation would find elsewhere what the copy lacks.
ALONE = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f)]\n"
MEND = "install it again from the wheel or source it came from"
BEST = runtime.available_isas()[-1]


def module(folder: Path, name: str) -> Path:
    """Return the file of a compiled module."""
    return next(
        folder / f"{name}{s}" for s in EXTENSION_SUFFIXES if (folder / f"{name}{s}").exists()
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "nncore"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyx", "*.pyi"))
    return folder


def imported(folder: Path, code: str = "import nncore") -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "NNCORE_ISA"}
    path = os.pathsep.join([str(folder.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-P", "-c", ALONE + code], cwd=folder.parent, capture_output=True,
        text=True, timeout=100, check=False, env={**environment, "PYTHONPATH": path},
    )  # fmt: skip


def test_a_whole_copy_is_imported(copy: Path) -> None:
    done = imported(copy, "import nncore; print(nncore.__file__)")
    assert done.stdout.strip() == str(copy / "__init__.py"), done.stderr


@pytest.mark.parametrize("name", [f"_core_{BEST}_f32", f"_core_{BEST}_f64"])
def test_a_missing_core_is_an_error_on_import(copy: Path, name: str) -> None:
    module(copy, name).unlink()
    done = imported(copy)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: nncore's compiled modules {name} are not in {copy}.")
    assert last.endswith(MEND)


@pytest.mark.parametrize("name", ["_runtime", "_cyutility"])
def test_a_missing_module_of_the_floor_is_an_error_on_import(copy: Path, name: str) -> None:
    module(copy, name).unlink()
    last = imported(copy).stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: nncore's compiled modules")
    assert name in last
    assert str(copy) in last
    assert last.endswith(MEND)


@pytest.mark.parametrize("name", ["layers", "plan", "runtime", "optimizers.schedules"])
def test_a_missing_python_module_is_an_error_on_import(copy: Path, name: str) -> None:
    (copy / f"{name.replace('.', '/')}.py").unlink()
    last = imported(copy).stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: a module of nncore is missing in {copy} (")
    assert name.rpartition(".")[2] in last
    assert last.endswith(f"This installation is incomplete: {MEND}")


def test_a_missing_numpy_is_not_called_a_damage(copy: Path) -> None:
    code = "import sys; sys.modules['numpy'] = None; import nncore"
    last = imported(copy, code).stderr.strip().splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: import of numpy")


def test_a_module_that_is_cut_off_says_how_to_mend_it(copy: Path) -> None:
    path = module(copy, f"_core_{BEST}_f32")
    path.write_bytes(path.read_bytes()[:20])  # longer ones crash, with any package
    last = imported(copy, "import nncore; nncore.runtime.core()").stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: nncore._core_{BEST}_f32 cannot be loaded (")
    assert last.endswith(MEND)


def test_modules_of_another_version_are_an_error_on_import(copy: Path) -> None:
    """What an upgrade leaves behind that was broken off, or sources newer than what was built."""
    init = copy / "__init__.py"
    text, n = re.subn(r'__version__ = ".*"', '__version__ = "99.1"', init.read_text("utf-8"))
    assert n == 1
    init.write_text(text, encoding="utf-8")
    last = imported(copy).stderr.strip().splitlines()[-1]
    assert f"are of version {nncore.__version__}, its Python files of 99.1" in last
    assert last.endswith(MEND)


def test_what_was_built_is_what_is_there() -> None:
    version, isas = _runtime.built()
    assert version == nncore.__version__
    assert runtime.available_isas() == tuple(
        isa for isa in ("generic", *_runtime.cpu_levels()) if isa in isas
    )
