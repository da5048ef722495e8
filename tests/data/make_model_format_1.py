"""Write the model file of format 1 that the suite reads for ever, and what it predicts.

It was run once, by the version that introduced the format.  Do not run it again: the point of
the files is that they are old.

    python tests/data/make_model_format_1.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import nncore
from nncore.layers import Activation, Dense, Dropout, Flatten, Input, Rescaling

HERE = Path(__file__).parent


def main() -> None:
    """Train a small model, save it, and record what it predicts and how it goes on."""
    (x, y), (x_test, _) = nncore.datasets.digits()
    nncore.set_random_seed(1)
    model = nncore.Sequential(
        [
            Input((8, 8)),
            Rescaling(1 / 8, offset=-1.0, name="scale"),
            Flatten(name="flat"),
            Dense(12, activation="relu", kernel_regularizer="l2", name="first"),
            Dropout(0.1, seed=5, name="drop"),
            Dense(9, use_bias=False, kernel_initializer="he_normal", name="second"),
            Activation("gelu", name="bend"),
            Dense(10, activation="softmax", name="last"),
        ],
        name="format_1",
    )
    schedule = nncore.optimizers.schedules.ExponentialDecay(0.01, 100, 0.9)
    model.compile(
        nncore.optimizers.Adam(schedule, amsgrad=True, clipnorm=1.0),
        nncore.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=64, epochs=5, shuffle=False, verbose=0)
    model.save(HERE / "model-format-1.nncore")
    predicted = model.predict(x_test[:20], verbose=0)
    model.train_on_batch(x[:64], y[:64])
    np.savez_compressed(
        HERE / "model-format-1-expected.npz",
        predicted=predicted,
        after_one_more_step=model.predict(x_test[:20], verbose=0),
    )


if __name__ == "__main__":
    main()
