"""Which compiled module runs: instruction set, threads, and what the build was.

The core exists once for each instruction set and number type. The best instruction set that
CPU *and* operating system offer is chosen before any of these modules is imported, since merely
importing one that the CPU lacks would end the process.

Environment
-----------
``NNCORE_ISA``
    Forces an instruction set (``x86_64_v2``, ``x86_64_v3``, ``x86_64_v4``, ``neon``).
    One that the machine or the build lacks is an error.
``NNCORE_NUM_THREADS``, ``OMP_NUM_THREADS``
    The default number of threads, the first that is set; else the number of processors that
    the process may use.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import platform
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from nncore import __version__

_MEND = (
    "If that is the source folder: run from another folder or with python -P, or build them in "
    "place: python setup.py build_ext --inplace. If this is an installation: it is incomplete; "
    "pip install --force-reinstall nncore"
)

try:
    from nncore import _runtime
except ImportError as error:
    raise ImportError(
        f"nncore's compiled modules are not in {os.path.dirname(__file__)} ({error}). {_MEND}"
    ) from error

if TYPE_CHECKING:
    from nncore._core import Core

__all__ = [
    "available_isas",
    "core",
    "default_threads",
    "get_num_threads",
    "isa",
    "set_num_threads",
    "show_config",
]

_SUFFIX = {"float32": "f32", "float64": "f64"}
_cores: dict[str, Core] = {}
_isa = ""


def _built() -> tuple[str, ...]:
    """Return the instruction sets that were built; an error where not all of it is there."""
    folder = os.path.dirname(_runtime.__file__)
    version, isas = _runtime.built()
    if version != __version__:
        raise ImportError(
            f"nncore's compiled modules in {folder} are of version {version}, its Python files "
            f"of {__version__}. {_MEND}"
        )
    present = {
        name.partition(".")[0]
        for name in os.listdir(folder)
        if name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    }
    wanted = ["_cyutility", *(f"_core_{isa}_{kind}" for isa in isas for kind in _SUFFIX.values())]
    if missing := [name for name in wanted if name not in present]:
        raise ImportError(
            f"nncore's compiled modules {', '.join(missing)} are not in {folder}. {_MEND}"
        )
    return isas


_ISAS = _built()


def available_isas() -> tuple[str, ...]:
    """Return the instruction sets that both this build and this machine have, best last.

    Returns
    -------
    tuple of str
    """
    return tuple(name for name in ("generic", *_runtime.cpu_levels()) if name in _ISAS)


def isa() -> str:
    """Return the instruction set in use.

    Returns
    -------
    str

    Raises
    ------
    ImportError
        If the build has none for this machine, or ``NNCORE_ISA`` names one it has not.
    """
    global _isa
    if not _isa:
        have = available_isas()
        wanted = os.environ.get("NNCORE_ISA", "")
        if wanted and wanted not in have:
            raise ImportError(
                f"NNCORE_ISA={wanted}: this machine and build have {', '.join(have) or 'none'}. "
                f"Unset NNCORE_ISA, or set it to one of these."
            )
        if not have:
            raise ImportError(
                f"nncore has no compiled module for this processor ({platform.machine()}): it was "
                f"built for {', '.join(_ISAS)}; this processor has "
                f"{', '.join(_runtime.cpu_levels()) or 'none of these'}"
            )
        _isa = wanted or have[-1]
    return _isa


def load_core(name: str, dtype: str) -> Core:
    """Import the core of one instruction set, which the machine must have.

    Parameters
    ----------
    name : str
        One of :func:`available_isas`.
    dtype : {"float32", "float64"}

    Returns
    -------
    module
    """
    if name not in available_isas():
        raise ImportError(f"instruction set {name!r}: this machine and build have "
                          f"{', '.join(available_isas())}")  # fmt: skip
    before = "nncore._core" in sys.modules
    full = f"nncore._core_{name}_{_SUFFIX[dtype]}"
    try:
        module: Core = importlib.import_module(full)
    except ImportError as error:
        raise ImportError(f"{full} cannot be loaded ({error}). {_MEND}") from error
    if not before:
        # The cores share one generated source, which also enters itself under its own name.
        sys.modules.pop("nncore._core", None)
    return module


def core(dtype: str = "float32") -> Core:
    """Return the compiled core for a dtype, on the instruction set in use.

    Parameters
    ----------
    dtype : {"float32", "float64"}

    Returns
    -------
    module
    """
    found = _cores.get(dtype)
    if found is None:
        if dtype not in _SUFFIX:
            raise ValueError(f'dtype must be "float32" or "float64"; received {dtype!r}')
        found = _cores[dtype] = load_core(isa(), dtype)
    return found


def default_threads() -> tuple[int, str]:
    """Return the default number of threads and what decided it.

    Returns
    -------
    n : int
    origin : str
        ``"NNCORE_NUM_THREADS"``, ``"OMP_NUM_THREADS"`` or ``"processors"``.
    """
    for name in ("NNCORE_NUM_THREADS", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, one number for each level of nesting.
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isdigit() and int(text) >= 1:
            return min(int(text), 256), name
    return _runtime.cpu_count(), "processors"


_threads_origin = ""


def get_num_threads() -> int:
    """Return the process's default for the most threads a call uses.

    Returns
    -------
    int
    """
    global _threads_origin
    if not _threads_origin:
        n, _threads_origin = default_threads()
        _runtime.set_num_threads(n)
    return _runtime.get_num_threads()


def set_num_threads(n: int) -> None:
    """Set the process's default for the most threads a call uses.

    Parameters
    ----------
    n : int
        From 1 to 256. ``n_threads`` of ``Model.compile`` comes before it.
    """
    global _threads_origin
    _runtime.set_num_threads(n)
    _threads_origin = "set_num_threads"


def show_config(print_fn: Callable[[str], object] | None = None) -> None:
    """Print version, compiler, instruction set and threads.

    Parameters
    ----------
    print_fn : callable, optional
        Gets each line. Default: ``print``.
    """
    say = print if print_fn is None else print_fn
    threads = get_num_threads()
    extensions = core("float32").VECTOR_EXTENSIONS
    rows = {
        "nncore": __version__,
        "Python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        "NumPy": np.__version__,
        "compiler": _runtime.compiler() + ("" if extensions else " (no vector extensions: slower)"),
        "instruction set": f"{isa()} (here: {', '.join(available_isas())}"
        + (", forced by NNCORE_ISA)" if os.environ.get("NNCORE_ISA") else ")"),
        "register tile": ", ".join(
            f"{rows} x {cols} {dtype}" for dtype in _SUFFIX for rows, cols in [core(dtype).TILE]
        ),
        "threads": f"{threads} (by {_threads_origin}; processors: {_runtime.cpu_count()}; "
        f"started: {_runtime.pool_size()})",
    }
    for name, value in rows.items():
        say(f"{name + ':':<17} {value}")
