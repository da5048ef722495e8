"""Short cuts of tiny networks: none changes a bit, or reads what was not checked."""

from __future__ import annotations

import dataclasses
import threading

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
    for sizes in (
        (2, 2, 2), (4, 16, 3), (5, 3, 7, 1, 2), (3, 8, 9, 15, 4), (64, 5), (65, 5),
        # Gradients of the last weights computed as their transpose, where so many fill vectors.
        (3, 64, 2), (3, 32, 10), (64, 12), (32, 7), (16, 3), (8, 3),
    ):  # fmt: skip
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


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("epsilon", "rate"),
    [(0.0, 0.01), (1e-40, 0.01), (1e-300, 0.01), (1e-7, 1e39), (1e-7, -1e39), (1e-7, 1e300)],
)
def test_numbers_that_float32_does_not_have_leave_the_gaps_alone(
    name: str, epsilon: float, rate: float
) -> None:
    """An epsilon that becomes 0 would make 0 / 0 of what lies unused, a rate of infinity NaN."""
    model = network((2, 2, 2), "float32")
    optimizer = OPTIMIZERS[name]()
    plan = compile_plan(model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizer)
    parameters = model.parameters.copy()
    slots = None
    if optimizer.n_slots:
        slots = np.zeros((optimizer.n_slots, plan.n_parameters), np.float32)
    executor = make_executor(plan, parameters, slots, batch_size=4)
    executor.set_hyper({**plan.hyper, "epsilon": epsilon})
    x = np.random.default_rng(2).normal(size=(12, 2)).astype(np.float32)
    executor.run(x, x**2, learning_rates=np.array([rate]))
    assert not parameters[~used(plan)].any()
    assert not np.array_equal(parameters, model.parameters)
    if slots is not None:
        assert not slots[:, ~used(plan)].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_room_behind_a_buffer_changes_no_bit(dtype: str) -> None:
    """Results are written with what lies behind them only where nothing else lies there."""
    random = np.random.default_rng(5)
    for case in range(60):
        sizes = tuple(random.choice([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17], 3 + case % 2).tolist())
        rows = int(random.choice([1, 2, 3, 5, 8, 16, 17, 40]))
        kinds = [random.choice(["linear", "relu", "tanh", "gelu", "elu"]) for _ in sizes[2:]]
        last, loss = (
            ("softmax", losses.CategoricalCrossentropy()), ("sigmoid", losses.MeanSquaredError()),
            ("linear", losses.Huber()), ("sigmoid", losses.BinaryCrossentropy()),
        )[case % 4]  # fmt: skip
        model = models.Sequential(
            [
                layers.Input((sizes[0],)),
                *(
                    layers.Dense(n, kind, dtype=dtype)
                    for n, kind in zip(sizes[1:], [*kinds, last], strict=True)
                ),
            ]
        )
        random_weights = [random.normal(0, 0.5, w.shape) for w in model.get_weights()]
        model.set_weights(random_weights)
        plan = compile_plan(model.layers, "train", loss=loss, optimizer=optimizers.SGD(0.1))
        tight, at = [], 0
        for b in plan.buffers:
            if b.arena == "work":
                b = dataclasses.replace(b, offset=at)
                at += b.cols
            tight.append(b)
        x = random.normal(size=(2 * rows + 1, sizes[0])).astype(dtype)
        t = random.uniform(0.1, 0.9, size=(len(x), sizes[-1])).astype(dtype)
        found = []
        for one in (plan, dataclasses.replace(plan, buffers=tuple(tight), n_work=at)):
            parameters = model.parameters.copy()
            executor = make_executor(one, parameters, None, batch_size=rows)
            executor.run(x, t, learning_rates=np.array([0.1]))
            found.append(parameters)
        assert np.isfinite(found[0]).all()
        np.testing.assert_array_equal(found[0], found[1], err_msg=f"{sizes}, {kinds}, {rows}")


def test_an_order_that_changes_under_way() -> None:
    """What was checked is what is used, whatever another thread writes meanwhile."""
    model = network((200, 200, 4), "float32")
    plan = compile_plan(
        model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizers.SGD(0.1)
    )
    x, t = np.zeros((8, 200), np.float32), np.zeros((8, 4), np.float32)
    order = np.arange(1000) % 8
    executor = make_executor(plan, model.parameters.copy(), None, batch_size=1)
    written, ended = np.full(1000, -1.0), threading.Event()

    def spoil() -> None:
        while written[0] < 0 and not ended.is_set():
            pass
        order[900:] = 1 << 40

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        done = executor.run(x, t, order=order, learning_rates=np.array([0.1]), losses=written)
    finally:
        ended.set()
        thread.join()
    assert done == 1000
    assert order[900] == 1 << 40


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "loss",
    [
        losses.MeanSquaredError(), losses.RootMeanSquaredError(), losses.MeanAbsoluteError(),
        losses.Huber(0.3), losses.LogCosh(), losses.Poisson(), losses.BinaryCrossentropy(),
        losses.BinaryCrossentropy(from_logits=True), losses.CategoricalCrossentropy(),
        losses.CategoricalCrossentropy(from_logits=True),
    ],
    ids=lambda loss: f"{loss.name}, {loss.get_config().get('from_logits')}",
)  # fmt: skip
def test_weights_of_1_change_no_bit_of_the_loss(loss: losses.Loss, dtype: str) -> None:
    random = np.random.default_rng(6)
    for cols in (1, 2, 3, 7, 16):
        for n in (1, 2, 3, 5, 7, 8, 9, 31, 300):
            model = models.Sequential([layers.Input((cols,)), layers.Dense(cols, dtype=dtype)])
            model.set_weights([random.uniform(0.1, 0.9, w.shape) for w in model.get_weights()])
            x, t = random.uniform(0.1, 0.9, size=(2, n, cols)).astype(dtype)
            found = []
            for r in (None, np.ones(n)):
                plan = compile_plan(model.layers, "test", loss=loss, weights=r is not None)
                executor = make_executor(plan, model.parameters, None, batch_size=n)
                written = np.empty(1)
                executor.run(x, t, r, losses=written)
                found.append(written[0])
            assert np.isfinite(found[0])
            assert found[0] == found[1], (n, cols)


@pytest.mark.parametrize("iteration", [-1, -70, 1 << 62, (1 << 63) - 60, (1 << 63) - 1])
def test_an_iteration_that_nobody_can_count_to(iteration: int) -> None:
    model = network((3, 2), "float32")
    optimizer = optimizers.Adam()
    plan = compile_plan(model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizer)
    parameters = model.parameters.copy()
    slots = optimizer.initial_slots(plan.n_parameters, "float32")
    executor = make_executor(plan, parameters, slots, batch_size=1)
    x, rate = np.ones((80, 3), np.float32), np.array([0.1])
    with pytest.raises(ValueError, match="iteration must be from 0"):
        executor.run(x, x[:, :2], iteration=iteration, learning_rates=rate)
    executor.load(x[:1], x[:1, :2])
    with pytest.raises(ValueError, match="iteration must be from 0"):
        executor.execute(0, iteration, 0.1)
    np.testing.assert_array_equal(parameters, model.parameters)


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bias_correction_is_the_same_whoever_asks_first(dtype: str) -> None:
    """Powers of beta are kept from step to step; a step alone finds the same ones."""
    model = network((3, 2), dtype)
    optimizer = optimizers.Adam()
    plan = compile_plan(model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizer)
    x = np.random.default_rng(7).normal(size=(150, 3)).astype(dtype)
    t, rate = x[:, :2] ** 2, np.array([0.01])
    for first in (0, 50, 300, 37_900):

        def state() -> tuple[NDArray[np.generic], NDArray[np.generic]]:
            return model.parameters.copy(), optimizer.initial_slots(plan.n_parameters, dtype)

        at_once, alone = state(), state()
        executor = make_executor(plan, *at_once, batch_size=1)
        executor.run(x, t, iteration=first, learning_rates=rate)
        for k in range(len(x)):
            executor = make_executor(plan, *alone, batch_size=1)
            executor.run(x, t, begin=k, end=k + 1, iteration=first + k, learning_rates=rate)
        np.testing.assert_array_equal(at_once[0], alone[0])
        exact = state()
        executor = make_executor(plan, *exact, batch_size=1, engine="reference")
        executor.run(x, t, iteration=first, learning_rates=rate)
        moved = np.abs(exact[0] - model.parameters).max()
        assert np.abs(at_once[0] - exact[0]).max() < (1e-4 if dtype == "float32" else 1e-11) * moved
