"""NumPy: the same plan step by step; predictions as one expression a layer."""

from __future__ import annotations

import numpy as np

from nncore import bench

from .ours import Ours


class NumpyBaseline(Ours):
    """``engine="reference"``, in place and with its BLAS: what nncore's kernels replace."""

    title = "NumPy"
    engine = "reference"

    def versions(self):
        return {"numpy": np.__version__}

    def serve(self, work, weights):
        self.predict = bench.plain_predict(work, weights)
