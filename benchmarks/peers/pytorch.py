"""PyTorch: eager, and with torch.compile."""

from __future__ import annotations

import math

import torch

from . import UnsupportedError

EPSILON = 1e-7


class Eager:
    """Tensors in memory, no DataLoader, the fused optimizer: its tuning guide's advice."""

    title = "PyTorch"

    def __init__(self, threads, dtype):
        torch.set_num_threads(threads)
        self.dtype = getattr(torch, dtype)

    def versions(self):
        return {"torch": torch.__version__}

    def _net(self, work, weights, *, raw):
        kinds = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "linear": None,
                 "softmax": None if raw else lambda: torch.nn.Softmax(dim=1)}  # fmt: skip
        parts = []
        pairs = list(zip(weights[::2], weights[1::2], strict=True))
        for i, (w, b) in enumerate(pairs):
            dense = torch.nn.Linear(*w.shape, dtype=self.dtype)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(w.T.copy()))
                dense.bias.copy_(torch.from_numpy(b))
            parts.append(dense)
            make = kinds[work.output if i == len(pairs) - 1 else work.hidden]
            if make is not None:
                parts.append(make())
        return torch.nn.Sequential(*parts)

    def _compiled(self, function):
        return function

    def train(self, work, weights, x, t):
        self.work = work
        self.x, self.t = torch.from_numpy(x), torch.from_numpy(t)
        self.net = self._net(work, weights, raw=True)
        loss = torch.nn.CrossEntropyLoss() if work.output == "softmax" else torch.nn.MSELoss()
        parameters = self.net.parameters()
        if work.optimizer == "adam":
            self.optimizer = torch.optim.Adam(parameters, lr=1e-3, eps=EPSILON, fused=True)
        elif work.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(parameters, lr=0.01, fused=True)
        else:
            raise UnsupportedError(f"no case for the optimizer {work.optimizer}")
        self.forward = self._compiled(lambda x, t: loss(self.net(x), t))

    def _step(self, x, t):
        self.optimizer.zero_grad(set_to_none=True)
        self.forward(x, t).backward()
        self.optimizer.step()

    def check(self, steps):
        size = self.work.batch_size
        for k in range(steps):
            if self.work.optimizer == "adam":
                # It adds epsilon after the bias correction of the root, Keras and nncore before.
                epsilon = EPSILON / math.sqrt(1 - 0.999 ** (k + 1))
                self.optimizer.param_groups[0]["eps"] = epsilon
            rows = slice(k * size, (k + 1) * size)
            self._step(self.x[rows], self.t[rows])
        if self.work.optimizer == "adam":
            self.optimizer.param_groups[0]["eps"] = EPSILON
        dense = [part for part in self.net if isinstance(part, torch.nn.Linear)]
        return [a.detach().numpy() for d in dense for a in (d.weight.T, d.bias)]

    def epochs(self, n):
        size = self.work.batch_size
        for _ in range(n):
            order = torch.randperm(len(self.x))
            for batch in order.split(size):
                self._step(self.x.index_select(0, batch), self.t.index_select(0, batch))

    def serve(self, work, weights):
        net = self._compiled(self._net(work, weights, raw=False).eval())

        @torch.inference_mode()
        def predict(x):
            return net(torch.from_numpy(x)).numpy()

        self.predict = predict


class Compiled(Eager):
    """The same, the model and its loss through torch.compile."""

    title = "PyTorch compiled"

    def _compiled(self, function):
        torch.compiler.reset()  # what was compiled for the net before
        # Each number of rows gets code of its own, rather than one for all.
        return torch.compile(function, dynamic=False)
