"""Short cuts of tiny networks: none changes a bit, or reads what was not checked."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nncore import layers, losses, models, optimizers
from nncore.compiler import compile_plan, make_executor
from nncore.plan import Plan

ROWS = 37
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(weight_decay=0.01),
    "momentum": lambda: optimizers.SGD(momentum=0.9),
    "nesterov": lambda: optimizers.SGD(momentum=0.9, nesterov=True),
    "adagrad": optimizers.Adagrad,
    "rmsprop": optimizers.RMSprop,
    "rmsprop, centered": lambda: optimizers.RMSprop(centered=True, momentum=0.5),
    "adam": optimizers.Adam,
    "adam, epsilon 0": lambda: optimizers.Adam(epsilon=0.0),
    "amsgrad": lambda: optimizers.Adam(amsgrad=True),
}


def network(sizes: tuple[int, ...], dtype: str, bias: bool = True) -> models.Sequential:
    model = models.Sequential(
        [
            layers.Input((sizes[0],)),
            *(layers.Dense(n, "tanh", use_bias=bias, dtype=dtype) for n in sizes[1:]),
        ]
    )
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def used(plan: Plan) -> NDArray[np.bool_]:
    """Return which numbers of the flat vector belong to a parameter."""
    mask = np.zeros(plan.n_parameters, bool)
    for b in plan.buffers:
        if b.arena == "parameters":
            mask[b.offset : b.offset + b.rows * b.cols] = True
    return mask


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_and_biases_updated_together(name: str, dtype: str) -> None:
    random = np.random.default_rng(1)
    for sizes in ((2, 2, 2), (4, 16, 3), (5, 3, 7, 1, 2), (3, 8, 9, 15, 4), (64, 5), (65, 5)):
        for bias in (True, False):
            model = network(sizes, dtype, bias)
            x = random.normal(size=(ROWS, sizes[0])).astype(dtype)
            t = random.uniform(0, 1, (ROWS, sizes[-1])).astype(dtype)
            found = []
            for fused in (True, False):
                optimizer = OPTIMIZERS[name]()
                plan = compile_plan(
                    model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizer,
                    fused=fused,
                )  # fmt: skip
                parameters = model.parameters.copy()
                slots = optimizer.initial_slots(plan.n_parameters, plan.dtype)
                executor = make_executor(plan, parameters, slots, batch_size=16)
                for epoch in range(3):
                    executor.run(x, t, iteration=3 * epoch, learning_rates=np.array([0.01]))
                mask = used(plan)
                assert np.isfinite(parameters).all()
                assert not parameters[~mask].any()  # nothing lies there
                found.append((parameters, None if slots is None else slots[:, mask]))
            assert not np.array_equal(found[0][0], model.parameters)
            np.testing.assert_array_equal(found[0][0], found[1][0])
            if found[0][1] is not None:
                np.testing.assert_array_equal(found[0][1], found[1][1])


def test_an_epsilon_that_becomes_0_leaves_the_gaps_alone() -> None:
    model = network((2, 2, 2), "float32")
    optimizer = optimizers.Adam()
    plan = compile_plan(model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizer)
    parameters = model.parameters.copy()
    slots = optimizer.initial_slots(plan.n_parameters, plan.dtype)
    executor = make_executor(plan, parameters, slots, batch_size=4)
    executor.set_hyper({**plan.hyper, "epsilon": 0.0})
    x = np.random.default_rng(2).normal(size=(12, 2)).astype(np.float32)
    executor.run(x, x**2, learning_rates=np.array([0.01]))
    assert np.isfinite(parameters).all()
    assert not parameters[~used(plan)].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_of_one_row_wherever_it_lies(dtype: str) -> None:
    """Contiguous rows are read in place, others gathered; both in an order and as they lie."""
    model = network((3, 4, 2), dtype)
    random = np.random.default_rng(3)
    x, t = random.normal(size=(20, 3)).astype(dtype), random.uniform(size=(20, 2)).astype(dtype)
    wide_x, wide_t = np.zeros((40, 9), dtype), np.zeros((40, 5), dtype)
    wide_x[::2, 2:5], wide_t[::2, 1:3] = x, t
    spread = np.zeros((20, 6), dtype)
    spread[:, ::2] = x
    plan = compile_plan(
        model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizers.SGD(0.1)
    )
    for order in (None, random.permutation(20)):
        found = []
        for xs, ts in (
            (x, t), (wide_x[::2, 2:5], wide_t[::2, 1:3]), (spread[:, ::2], t),
            (np.asfortranarray(x), np.asfortranarray(t)), (x[::-1].copy()[::-1], t),
            (x.astype("float64"), t.astype("float64")),
        ):  # fmt: skip
            before = xs.copy(), ts.copy()
            parameters = model.parameters.copy()
            executor = make_executor(plan, parameters, None, batch_size=8)
            total = np.empty(20)
            executor.run(
                xs, ts, order=order, batch_size=1, learning_rates=np.array([0.1]), losses=total
            )
            np.testing.assert_array_equal(xs, before[0])
            np.testing.assert_array_equal(ts, before[1])
            found.append((parameters, total))
        for parameters, total in found[1:]:
            np.testing.assert_array_equal(parameters, found[0][0])
            np.testing.assert_array_equal(total, found[0][1])
        assert not np.array_equal(found[0][0], model.parameters)


def test_a_row_number_out_of_range_far_ahead() -> None:
    """Row numbers are checked before they are used, some batches ahead."""
    model = network((2, 2, 2), "float32")
    plan = compile_plan(
        model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizers.SGD(0.1)
    )
    x = np.random.default_rng(4).uniform(size=(50, 2)).astype(np.float32)
    for at in (0, 1, 1023, 1024, 2999):
        for bad in (50, -1, np.iinfo(np.int64).min, np.iinfo(np.int64).max):
            order = np.arange(3000) % 50
            order[at] = bad
            parameters = model.parameters.copy()
            executor = make_executor(plan, parameters, None, batch_size=7)
            written = np.full(429, -1.0)
            with pytest.raises(ValueError, match=f"order\\[{at}\\] must be from 0 to 49") as caught:
                executor.run(x, x, order=order, learning_rates=np.array([0.1]), losses=written)
            assert str(bad) in str(caught.value)
            done = int((written >= 0).sum())  # what came before the bad one
            assert done <= at // 7
            assert (written[:done] >= 0).all()
            again = model.parameters.copy()
            executor = make_executor(plan, again, None, batch_size=7)
            if done:
                executor.run(x, x, order=order[: 7 * done], learning_rates=np.array([0.1]))
            np.testing.assert_array_equal(parameters, again)
