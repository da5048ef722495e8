"""Keras 3 on TensorFlow."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import tensorflow as tf


class KerasTensorflow:
    """``fit`` with many steps an execution, as Keras advises for small models."""

    title = "Keras"

    def __init__(self, threads, dtype):
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        keras.config.set_floatx(dtype)

    def versions(self):
        return {"keras": keras.__version__, "tensorflow": tf.__version__}

    def _net(self, work, weights):
        *inner, last = work.sizes[1:]
        net = keras.Sequential(
            [
                keras.Input((work.sizes[0],)),
                *(keras.layers.Dense(units, activation=work.hidden) for units in inner),
                keras.layers.Dense(last, activation=work.output),
            ]
        )
        net.set_weights(weights)
        return net

    def train(self, work, weights, x, t):
        self.work, self.x, self.t = work, x, t
        self.net = self._net(work, weights)
        self.net.compile(work.optimizer, work.loss, steps_per_execution=work.checked_steps)

    def _fit(self, rows, epochs, shuffle):
        self.net.fit(
            self.x[:rows], self.t[:rows], batch_size=self.work.batch_size, epochs=epochs,
            shuffle=shuffle, verbose=0,
        )  # fmt: skip

    def check(self, steps):
        self._fit(steps * self.work.batch_size, 1, False)
        weights = self.net.get_weights()
        # As many steps an execution as an epoch has, at most 100.
        steps = next(k for k in range(min(100, self.work.steps), 0, -1) if not self.work.steps % k)
        self.net.compile(self.work.optimizer, self.work.loss, steps_per_execution=steps)
        return weights

    def epochs(self, n):
        self._fit(None, n, True)

    def serve(self, work, weights):
        net = self._net(work, weights)

        @tf.function(jit_compile=False, reduce_retracing=True)
        def output(x):
            return net(x, training=False)

        def predict(x):
            # predict() is made for many rows; for few, calling the model is faster.
            return (
                output(tf.constant(x)).numpy()
                if len(x) <= 256
                else net.predict(x, batch_size=1024, verbose=0)
            )

        self.predict = predict
