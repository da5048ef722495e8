"""scikit-learn's MLPClassifier and MLPRegressor."""

from __future__ import annotations

import warnings

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

from . import UnsupportedError


class ScikitLearn:
    """Without penalty and early stopping, so that it does the same work."""

    title = "scikit-learn"

    def __init__(self, threads, dtype):
        warnings.simplefilter("ignore")  # that it has not converged

    def versions(self):
        return {"scikit-learn": sklearn.__version__}

    def _net(self, work, weights, x, t):
        if work.hidden == "sigmoid" and work.output == "sigmoid":
            raise UnsupportedError(
                "its regressor has no sigmoid output, its classifier no squared loss"
            )
        classes = work.output == "softmax"
        # Its squared error is halved; so is then an epsilon that is to mean the same.
        epsilon = 1e-7 if classes else 0.5e-7
        net = (MLPClassifier if classes else MLPRegressor)(
            hidden_layer_sizes=work.sizes[1:-1], activation=work.hidden, solver=work.optimizer,
            alpha=0.0, batch_size=work.batch_size, learning_rate_init=0.001, epsilon=epsilon,
            shuffle=False, tol=0.0, n_iter_no_change=10**9, max_iter=1,
        )  # fmt: skip
        if classes:
            few = np.resize(x, (work.sizes[-1], x.shape[1]))
            net.partial_fit(few, np.arange(work.sizes[-1]), classes=np.arange(work.sizes[-1]))
        else:
            net.partial_fit(x[:2], t[:2].ravel() if t.shape[1] == 1 else t[:2])
        net.coefs_ = [np.array(w) for w in weights[::2]]
        net.intercepts_ = [np.array(b) for b in weights[1::2]]
        del net._optimizer  # which holds the arrays that were there before
        return net

    def train(self, work, weights, x, t):
        self.work, self.x = work, x
        self.t = t.ravel() if t.ndim == 2 and t.shape[1] == 1 else t
        self.net = self._net(work, weights, x, t)

    def check(self, steps):
        rows = steps * self.work.batch_size
        self.net.partial_fit(self.x[:rows], self.t[:rows])
        return [a for pair in zip(self.net.coefs_, self.net.intercepts_, strict=True) for a in pair]

    def epochs(self, n):
        # One epoch a call: fit() would begin again with new state.
        self.net.shuffle = True
        for _ in range(n):
            self.net.partial_fit(self.x, self.t)

    def serve(self, work, weights):
        x, t = work.data(weights[0].dtype.name)
        net = self._net(work, weights, x, t)
        self.predict = net.predict_proba if work.output == "softmax" else net.predict
