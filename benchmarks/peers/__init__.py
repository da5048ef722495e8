"""The libraries that nncore is measured beside, one file each.

A module has one or more classes with a ``title`` and

* ``versions() -> dict``
* ``train(work, weights, x, t)``: make ready to train from these weights
* ``check(steps) -> list of ndarray``: the weights after so many unshuffled steps
* ``epochs(n)``: run so many whole epochs, each in a new order
* ``serve(work, weights)``: make ready to predict
* ``predict(x) -> ndarray``

A peer that cannot do a workload raises :class:`UnsupportedError` with the reason.
"""

from __future__ import annotations

#: name on the command line -> module and class
PEERS = {
    "nncore": ("ours", "Ours"),
    "numpy": ("numpy_baseline", "NumpyBaseline"),
    "sklearn": ("scikit_learn", "ScikitLearn"),
    "torch": ("pytorch", "Eager"),
    "torch-compiled": ("pytorch", "Compiled"),
    "jax": ("jax_scan", "JaxScan"),
    "keras": ("keras_tensorflow", "KerasTensorflow"),
    "onnxruntime": ("onnx_runtime", "OnnxRuntime"),
}


class UnsupportedError(Exception):
    """What a peer cannot do, and why."""
