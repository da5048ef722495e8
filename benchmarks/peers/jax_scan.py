"""JAX: a whole epoch in one jit, as a scan over shuffled batches."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


class JaxScan:
    """Arrays on the device, buffers donated: no call from Python inside an epoch."""

    title = "JAX"

    def __init__(self, threads, dtype):
        jax.config.update("jax_enable_x64", dtype == "float64")

    def versions(self):
        return {"jax": jax.__version__}

    @staticmethod
    def _raw(work, parameters, x):
        hidden = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[work.hidden]
        for w, b in parameters[:-1]:
            x = hidden(x @ w + b)
        w, b = parameters[-1]
        return x @ w + b

    def _output(self, work, parameters, x):
        last = {"linear": lambda z: z, "sigmoid": jax.nn.sigmoid, "softmax": jax.nn.softmax}
        return last[work.output](self._raw(work, parameters, x))

    def _loss(self, work, parameters, x, t):
        if work.output == "softmax":
            logs = jax.nn.log_softmax(self._raw(work, parameters, x))
            return -jnp.mean(jnp.take_along_axis(logs, t[:, None], 1))
        return jnp.mean((self._output(work, parameters, x) - t) ** 2)

    def train(self, work, weights, x, t):
        self.work = work
        self.parameters = [
            (jnp.array(w), jnp.array(b)) for w, b in zip(weights[::2], weights[1::2], strict=True)
        ]
        x, t = jnp.asarray(x), jnp.asarray(t)
        rows, size = len(x), work.batch_size
        zeros = partial(jax.tree.map, jnp.zeros_like)
        state = (self.parameters, zeros(self.parameters), zeros(self.parameters), jnp.zeros(()))

        def step(state, batch):
            p, m, v, count = state
            g = jax.grad(partial(self._loss, work))(p, x[batch], t[batch])
            count = count + 1
            if work.optimizer == "sgd":
                p = jax.tree.map(lambda p, g: p - 0.01 * g, p, g)
            else:
                m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
                v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
                rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
                p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), p, m, v)
            return (p, m, v, count), ()

        @partial(jax.jit, donate_argnums=0)
        def epoch(state, key):
            order = jax.random.permutation(key, rows).reshape(-1, size)
            return jax.lax.scan(step, state, order)[0]

        @partial(jax.jit, static_argnums=1)
        def some(state, steps):
            return jax.lax.scan(step, state, jnp.arange(steps * size).reshape(-1, size))[0]

        self.state, self.epoch, self.some = state, epoch, some
        self.key = jax.random.PRNGKey(0)

    def check(self, steps):
        self.state = self.some(self.state, steps)
        return [np.array(a) for pair in self.state[0] for a in pair]

    def epochs(self, n):
        for _ in range(n):
            self.key, key = jax.random.split(self.key)
            self.state = self.epoch(self.state, key)
        jax.block_until_ready(self.state)

    def serve(self, work, weights):
        parameters = [
            (jnp.array(w), jnp.array(b)) for w, b in zip(weights[::2], weights[1::2], strict=True)
        ]
        output = jax.jit(lambda x: self._output(work, parameters, x))
        self.predict = lambda x: np.asarray(output(x))
