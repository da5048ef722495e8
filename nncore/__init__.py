"""Dense neural networks on a CPU, in Keras's words.

>>> import nncore
>>> model = nncore.Sequential([
...     nncore.Input((64,)),
...     nncore.layers.Dense(64, activation="relu"),
...     nncore.layers.Dense(10, activation="softmax"),
... ])
>>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
"""

from __future__ import annotations

#: The version, as in ``nncore --version``.
__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

try:
    from nncore import (
        activations,
        callbacks,
        config,
        datasets,
        initializers,
        kernels,
        layers,
        losses,
        metrics,
        optimizers,
        random,
        regularizers,
        utils,
    )
    from nncore.gradients import check_gradients
    from nncore.layers import Input
    from nncore.models import Sequential
    from nncore.random import set_random_seed
    from nncore.record import Record
    from nncore.runtime import (
        get_num_threads,
        register_threadpoolctl,
        set_num_threads,
        show_config,
    )
    from nncore.saving import load_model
except ImportError as error:
    if (error.name or "").partition(".")[0] != "nncore":
        raise  # NumPy's, or one that says itself what is wrong
    raise ImportError(
        f"a module of nncore is missing in {__path__[0]} ({error}). This installation is "
        f"incomplete: install it again from the wheel or source it came from"
    ) from error

if TYPE_CHECKING:
    from nncore import plot

__all__ = [
    "Input",
    "Record",
    "Sequential",
    "__version__",
    "activations",
    "callbacks",
    "check_gradients",
    "config",
    "datasets",
    "get_num_threads",
    "initializers",
    "kernels",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "optimizers",
    "plot",
    "random",
    "register_threadpoolctl",
    "regularizers",
    "set_num_threads",
    "set_random_seed",
    "show_config",
    "utils",
]


def __getattr__(name: str) -> Any:
    """Import ``nncore.plot`` when it is first asked for."""
    if name == "plot":
        import importlib

        return importlib.import_module("nncore.plot")
    from nncore import _names

    raise _names.missing("nncore", name, __all__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
