"""nncore, compiled kernels."""

from __future__ import annotations

import nncore


class Ours:
    """``fit`` and ``predict`` as a user calls them."""

    title = "nncore"
    engine = "compiled"

    def __init__(self, threads, dtype):
        self.threads, self.dtype = threads, dtype
        nncore.set_num_threads(threads)

    def versions(self):
        return {"nncore": nncore.__version__}

    def train(self, work, weights, x, t):
        self.work, self.x, self.t = work, x, t
        self.model = work.model(self.engine, self.dtype, n_threads=self.threads)
        self.model.set_weights(weights)

    def _fit(self, rows, epochs, shuffle):
        self.model.fit(
            self.x[:rows], self.t[:rows], batch_size=self.work.batch_size, epochs=epochs,
            shuffle=shuffle, verbose=0,
        )  # fmt: skip

    def check(self, steps):
        self._fit(steps * self.work.batch_size, 1, False)
        return self.model.get_weights()

    def epochs(self, n):
        self._fit(None, n, True)

    def serve(self, work, weights):
        self.train(work, weights, None, None)
        self.predict = self.model.predict
