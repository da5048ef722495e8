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
    the process may use: its affinity's, or fewer where a container's CPU quota allows fewer.
    ``docs/guides/threads.md`` has the whole order.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import platform
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore import __version__

_MEND = (
    "If that is the source folder: run from another folder or with python -P, or build them in "
    "place: python setup.py build_ext --inplace. If this is an installation: it is incomplete: "
    "install it again from the wheel or source it came from"
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
    "MOST_THREADS",
    "available_isas",
    "core",
    "default_threads",
    "get_num_threads",
    "isa",
    "num_threads_origin",
    "register_threadpoolctl",
    "set_num_threads",
    "show_config",
]

#: The largest pool of threads, and so the most processors that are counted.
MOST_THREADS = 256

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
    """Return the default number of threads and what decides it, as the process is now.

    Returns
    -------
    n : int
    origin : str
        ``"NNCORE_NUM_THREADS"``, ``"OMP_NUM_THREADS"``, ``"CPU quota"`` (of a container),
        ``"CPU affinity"`` or ``"processors"``: the first of the variables that is set; else
        whichever of the last three allows the fewest.

    Raises
    ------
    ValueError
        If ``NNCORE_NUM_THREADS`` is no integer from 1 to 256.

    Warns
    -----
    RuntimeWarning
        If ``OMP_NUM_THREADS``, which other libraries read as well, is no positive integer (or list
        of them, one for each level of nesting): it counts as not set.
    """
    own = os.environ.get("NNCORE_NUM_THREADS", "").strip()
    if own:
        n = int(own) if own.isdecimal() else 0
        if not 1 <= n <= MOST_THREADS:
            raise ValueError(
                f"NNCORE_NUM_THREADS must be an integer from 1 to {MOST_THREADS}; received "
                f"NNCORE_NUM_THREADS={own}. Unset it, or set it to one of these."
            )
        return n, "NNCORE_NUM_THREADS"
    shared = os.environ.get("OMP_NUM_THREADS", "").strip()
    if shared:
        first = shared.partition(",")[0].strip()
        if first.isdecimal() and int(first):
            return min(int(first), MOST_THREADS), "OMP_NUM_THREADS"
    from nncore import _processors  # late: reading control groups takes modules of its own

    n, origin = _processors.available()
    if shared:
        warnings.warn(
            f"OMP_NUM_THREADS={shared} is no positive integer: nncore uses {n} threads "
            f"(by {origin})",
            RuntimeWarning,
            stacklevel=4,
        )
    return n, origin


_threads_origin = ""
_deciding = threading.RLock()  # a warning's or signal's handler may ask, too


def _after_fork_in_child() -> None:
    # Another thread of the parent may have held it.
    global _deciding
    _deciding = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


if os.environ.get("NNCORE_MOVE_THREADS") == "0":
    _runtime.let_threads_stay()


def _decide() -> None:
    """Set the default number of threads, unless somebody has."""
    global _threads_origin
    if _threads_origin:
        return
    with _deciding:
        if not _threads_origin:
            n, origin = default_threads()
            _runtime.set_num_threads(n)
            _threads_origin = origin


def get_num_threads() -> int:
    """Return the process's default for the most threads a call uses.

    The environment is read at the first call; the guide on threads has the order.

    Returns
    -------
    int
        The limit of threadpoolctl, while one is set (:func:`register_threadpoolctl`).
    """
    _decide()
    return _runtime.get_num_threads()


def set_num_threads(n: int) -> None:
    """Set the process's default for the most threads a call uses.

    Parameters
    ----------
    n : int
        From 1 to 256. ``n_threads`` of ``Model.compile`` comes before it.
    """
    global _threads_origin
    with _deciding:
        _runtime.set_num_threads(n)
        _threads_origin = "set_num_threads"


def num_threads_origin() -> str:
    """Return what decided :func:`get_num_threads`.

    Returns
    -------
    str
        ``"threadpoolctl"`` while it limits the pool, ``"set_num_threads"``, or what
        :func:`default_threads` names.
    """
    _decide()
    return "threadpoolctl" if _runtime.thread_limit() else _threads_origin


_registered = False


def register_threadpoolctl() -> None:
    """Let threadpoolctl see and limit nncore's threads, beside those of BLAS and OpenMP.

    Afterwards ``threadpoolctl.threadpool_info()`` lists a pool whose ``user_api`` is
    ``"nncore"``, and ``threadpoolctl.threadpool_limits(1)`` limits it, for the whole process and
    for models and calls that ask for more threads, until it is undone.  Calling this twice is
    the same as once.

    Raises
    ------
    ImportError
        If threadpoolctl is not installed, or older than 3.2.

    Examples
    --------
    >>> nncore.register_threadpoolctl()                      # doctest: +SKIP
    >>> with threadpoolctl.threadpool_limits(1, "nncore"):   # doctest: +SKIP
    ...     model.fit(x, y)
    """
    global _registered
    try:
        import threadpoolctl

        base: Any = threadpoolctl.LibController
        register = threadpoolctl.register
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"nncore.register_threadpoolctl needs threadpoolctl 3.2 or newer ({error}): "
            f"pip install 'threadpoolctl>=3.2'"
        ) from error
    _decide()
    if _registered:
        return

    class NncoreController(base):  # type: ignore[misc]
        user_api = internal_api = "nncore"
        filename_prefixes = ("_runtime.",)
        check_symbols = ("nncore_get_num_threads", "nncore_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.nncore_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.nncore_set_num_threads(num_threads)

        def get_version(self) -> str:
            from nncore import __version__

            return __version__

    register(NncoreController)
    _registered = True


def show_config(print_fn: Callable[[str], object] | None = None) -> None:
    """Print version, compiler, instruction set and threads.

    Parameters
    ----------
    print_fn : callable, optional
        Gets each line. Default: ``print``.
    """
    from nncore import _processors

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
        "threads": f"{threads} (by {num_threads_origin()}; processors: "
        f"{_processors.available()[0]}; started: {_runtime.pool_size()})",
    }
    for name, value in rows.items():
        say(f"{name + ':':<17} {value}")
