"""The plan: its verifier, and two executors that must agree after every step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nncore import activations, layers, losses, metrics, models, optimizers, runtime
from nncore.compiler import compile_plan, make_executor, make_predictor
from nncore.plan import Buffer, Plan, Step
from nncore.reference.plan import first_difference

TOLERANCE = {"float32": (2e-4, 2e-5), "float64": (1e-10, 1e-11)}


def build(stack, dtype="float32", seed=0):
    """A built model of the layers, with weights that no two draw alike."""
    model = models.Sequential(stack)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(scale=0.5, size=w.shape) for w in model.get_weights()])
    return model


def net(hidden="relu", last="linear", dtype="float32", n_in=5, n_hidden=7, n_out=4, **options):
    return build(
        [
            layers.Input((n_in,)),
            layers.Dense(n_hidden, hidden, dtype=dtype, **options),
            layers.Dense(n_hidden + 1, hidden, dtype=dtype),
            layers.Dense(n_out, last, dtype=dtype),
        ]
    )


def data(loss, rows=11, n_in=5, n_out=4, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, n_in))
    if loss.labels:
        return x, rng.integers(0, n_out, rows)
    if "crossentropy" in loss.kernel:
        return x, np.eye(n_out)[rng.integers(0, n_out, rows)]
    return x, rng.uniform(0.1, 0.9, (rows, n_out))


def pair(model, loss, optimizer, *, fused=True, weights=False, found=(), batch_size=16):
    """A compiled and a reference executor, each with its own copy of the parameters."""
    plan = compile_plan(
        model.layers, "train", loss=loss, metrics=found, optimizer=optimizer, fused=fused,
        weights=weights,
    )  # fmt: skip
    made = []
    for engine in ("compiled", "reference"):
        parameters = model.parameters.copy()
        slots = optimizer.initial_slots(plan.n_parameters, plan.dtype)
        made.append(make_executor(plan, parameters, slots, batch_size=batch_size, engine=engine))
    return made


def assert_executors_agree(model, loss, optimizer, dtype, **options):
    one, two = pair(model, loss, optimizer, **options)
    x, t = data(loss)
    r = np.linspace(0.5, 2, len(x)) if options.get("weights") else None
    rtol, atol = TOLERANCE[dtype]
    for iteration in range(3):
        difference = first_difference(
            one, two, x, t, r, iteration=iteration, learning_rate=0.01, rtol=rtol, atol=atol
        )
        assert difference is None, f"iteration {iteration}: {difference}\n{one.plan}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", tuple(runtime.core("float32").ACTIVATIONS))
def test_executors_agree_for_every_activation(name, dtype):
    for last in (name, "linear"):
        model = net(name, last, dtype)
        model.parameters[:] *= 0.2 if name == "exponential" else 1.0
        loss, optimizer = losses.MeanSquaredError(), optimizers.SGD(0.01)
        assert_executors_agree(model, loss, optimizer, dtype)


LOSSES = [
    ("linear", losses.MeanSquaredError()),
    ("linear", losses.RootMeanSquaredError()),
    ("linear", losses.MeanAbsoluteError()),
    ("linear", losses.Huber(0.3)),
    ("linear", losses.LogCosh()),
    ("softplus", losses.Poisson()),
    ("sigmoid", losses.BinaryCrossentropy()),
    ("linear", losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)),
    ("hard_sigmoid", losses.BinaryCrossentropy(label_smoothing=0.1)),
    ("softmax", losses.CategoricalCrossentropy(label_smoothing=0.1)),
    ("linear", losses.CategoricalCrossentropy(from_logits=True)),
    ("sigmoid", losses.CategoricalCrossentropy()),
    ("softmax", losses.SparseCategoricalCrossentropy()),
    ("linear", losses.SparseCategoricalCrossentropy(from_logits=True)),
    ("sigmoid", losses.SparseCategoricalCrossentropy()),
    ("softmax", losses.MeanSquaredError()),
    ("linear", losses.MeanSquaredError(reduction="sum")),
    ("linear", losses.MeanSquaredError(reduction="mean_with_sample_weight")),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("last", "loss"), LOSSES, ids=lambda v: getattr(v, "name", v))
def test_executors_agree_for_every_loss(last, loss, dtype):
    for weights in (False, True):
        model = net("tanh", last, dtype)
        assert_executors_agree(model, loss, optimizers.SGD(0.01), dtype, weights=weights)


OPTIMIZERS = [
    optimizers.SGD(0.01),
    optimizers.SGD(0.01, momentum=0.9),
    optimizers.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    optimizers.Adagrad(),
    optimizers.RMSprop(),
    optimizers.RMSprop(momentum=0.9),
    optimizers.RMSprop(centered=True),
    optimizers.Adam(),
    optimizers.Adam(amsgrad=True),
    optimizers.AdamW(),
    optimizers.Adam(clipnorm=0.01),
    optimizers.Adam(clipvalue=0.001),
    optimizers.SGD(0.01, global_clipnorm=0.01),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{o.kernel}")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_executors_agree_for_every_optimizer(optimizer, dtype):
    model = net("tanh", "linear", dtype)
    for fused in (True, False):
        assert_executors_agree(model, losses.MeanSquaredError(), optimizer, dtype, fused=fused)


def everything(dtype):
    """A net with every kind of layer and penalty."""
    return build(
        [
            layers.Input((5,)),
            layers.Rescaling(0.5, 0.1, dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dense(9, "gelu", kernel_regularizer="l1_l2", bias_regularizer="l2", dtype=dtype),
            layers.Dropout(0.3, seed=5, dtype=dtype),
            layers.Dense(8, "softmax", use_bias=False, activity_regularizer="l2", dtype=dtype),
            layers.Rescaling(2.0, dtype=dtype),
            layers.Dense(7, dtype=dtype),
            layers.Activation("mish", dtype=dtype),
            layers.Dense(6, "relu", activity_regularizer="l1", dtype=dtype),
            layers.Dense(4, "softmax", activity_regularizer="l2", dtype=dtype),
        ]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_executors_agree_for_every_kind_of_layer(dtype):
    for fused in (True, False):
        assert_executors_agree(
            everything(dtype), losses.CategoricalCrossentropy(), optimizers.Adam(), dtype,
            fused=fused, weights=True,
        )  # fmt: skip


def test_gradient_agrees_with_finite_differences():
    model = everything("float64")
    loss = losses.CategoricalCrossentropy()
    plan = compile_plan(model.layers, "train", loss=loss)
    executor = make_executor(plan, model.parameters, None, batch_size=16)
    x, t = data(loss)
    executor.run(x, t, iteration=3)
    gradient = executor.gradients.copy()
    for layer in model.layers:
        for p in layer.parameters:
            flat = p.value.reshape(-1)
            for i in range(0, flat.size, max(1, flat.size // 7)):
                kept, h, ends = flat[i], 1e-6, []
                for sign in (1, -1):
                    flat[i] = kept + sign * h
                    executor.run(x, t, iteration=3)
                    ends.append(executor.loss)
                flat[i] = kept
                slope = (ends[0] - ends[1]) / (2 * h)
                found = gradient[p.offset + i]
                assert found == pytest.approx(slope, rel=1e-5, abs=1e-8), (layer.name, p.name, i)


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:10], ids=lambda o: f"{o.kernel}")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_equals_unfused_bit_for_bit(optimizer, dtype):
    loss = losses.SparseCategoricalCrossentropy()
    for sizes in ({}, {"n_in": 33, "n_hidden": 65, "n_out": 17}):
        results = []
        for fused in (True, False):
            model = net("tanh", "softmax", dtype, kernel_regularizer="l2", **sizes)
            one, _ = pair(model, loss, optimizer, fused=fused, batch_size=64)
            parameters = one_run(one, model, loss, optimizer, **sizes)
            results.append(parameters)
        np.testing.assert_array_equal(results[0], results[1])


def one_run(executor, model, loss, optimizer, n_in=5, n_out=4, n_threads=1, **_):
    plan = executor.plan
    parameters = model.parameters.copy()
    slots = optimizer.initial_slots(plan.n_parameters, plan.dtype)
    fresh = make_executor(plan, parameters, slots, batch_size=64, n_threads=n_threads)
    x, t = data(loss, rows=150, n_in=n_in, n_out=n_out)
    for epoch in range(3):
        fresh.run(x, t, iteration=3 * epoch, learning_rates=np.array([0.01]))
    return parameters


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_repetition_do_not_change_a_bit(dtype):
    sizes = {"n_in": 300, "n_hidden": 400, "n_out": 50}
    loss, optimizer = losses.SparseCategoricalCrossentropy(), optimizers.Adam()
    model = net("relu", "softmax", dtype, **sizes)
    executor, _ = pair(model, loss, optimizer, batch_size=64)
    first = one_run(executor, model, loss, optimizer, **sizes)
    for n in (1, 2, 3, 7):
        again = one_run(executor, model, loss, optimizer, n_threads=n, **sizes)
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"])
def test_data_is_read_where_it_lies(kind):
    model = net("tanh", "softmax")
    loss = losses.SparseCategoricalCrossentropy()
    plan = compile_plan(model.layers, "train", loss=loss, optimizer=optimizers.SGD(0.1))
    rng = np.random.default_rng(3)
    whole = rng.integers(0, 2, (60, 10)).astype(kind)
    t = rng.integers(0, 4, 60)
    results = []
    for x, labels in (
        (whole[::2, ::2], t[::2].astype(kind if kind[0] in "iu" else "i4").reshape(-1, 1)),
        (np.ascontiguousarray(whole[::2, ::2], np.float32), t[::2]),
        (np.asfortranarray(whole[::2, ::2]), t[::2].astype(np.float64)),
    ):
        parameters = model.parameters.copy()
        executor = make_executor(plan, parameters, None, batch_size=8)
        order = np.arange(30)[::-1].copy()
        assert executor.run(x, labels, order=order, learning_rates=np.array([0.1])) == 4
        results.append(parameters)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_run_stops_after_its_time_and_goes_on():
    model = net()
    loss = losses.MeanSquaredError()
    plan = compile_plan(model.layers, "train", loss=loss, optimizer=optimizers.SGD(0.01))
    x, t = data(loss, rows=40)
    rates = np.full(10, 0.01)
    whole, parts = model.parameters.copy(), model.parameters.copy()
    losses_whole, losses_parts = np.zeros(10), np.zeros(10)
    executor = make_executor(plan, whole, None, batch_size=4)
    assert executor.run(x, t, learning_rates=rates, losses=losses_whole) == 10
    executor = make_executor(plan, parts, None, batch_size=4)
    done = 0
    while done < 10:
        n = executor.run(x, t, begin=4 * done, iteration=done, learning_rates=rates[done:],
                         losses=losses_parts[done:], seconds=0.0)  # fmt: skip
        assert n == 1
        done += n
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(losses_whole, losses_parts)


def test_metrics_ride_along():
    model = net("tanh", "softmax")
    loss = losses.SparseCategoricalCrossentropy()
    found = (metrics.SparseCategoricalAccuracy(), metrics.SparseTopKCategoricalAccuracy(k=2))
    x, t = data(loss, rows=30)
    for mode in ("train", "test"):
        plan = compile_plan(model.layers, mode, loss=loss, metrics=found,
                            optimizer=optimizers.SGD(0.0))  # fmt: skip
        totals = np.zeros((2, 2))
        executor = make_executor(plan, model.parameters.copy(), None, batch_size=7)
        executor.run(x, t, totals=totals, learning_rates=np.zeros(1))
        y = model.predict(x)
        assert totals[0].tolist() == [(y.argmax(1) == t).sum(), 30]
        assert totals[1].tolist() == [
            sum(t[i] in np.argsort(-y[i])[:2] for i in range(30)), 30
        ]  # fmt: skip


def test_the_first_layer_has_two_matmuls_and_frozen_ones_fewer():
    model = net()
    plan = compile_plan(model.layers, "train", loss=losses.MeanSquaredError(),
                        optimizer=optimizers.SGD())  # fmt: skip
    ops = [step.op for step in plan.steps]
    assert ops.count("dense_backward_data") == 2
    assert ops.count("dense_backward_weights") == 3
    model.layers[0].trainable = False
    plan = compile_plan(model.layers, "train", loss=losses.MeanSquaredError(),
                        optimizer=optimizers.SGD())  # fmt: skip
    ops = [step.op for step in plan.steps]
    assert ops.count("dense_backward_data") == 1
    assert ops.count("dense_backward_weights") == 2


def test_softmax_and_cross_entropy_are_one_step_however_written():
    kinds = set()
    for stack, loss in (
        ([layers.Dense(4, "softmax")], losses.SparseCategoricalCrossentropy()),
        ([layers.Dense(4), layers.Activation("softmax")], losses.SparseCategoricalCrossentropy()),
        ([layers.Dense(4), layers.Softmax()], losses.SparseCategoricalCrossentropy()),
        ([layers.Dense(4)], losses.SparseCategoricalCrossentropy(from_logits=True)),
    ):
        model = models.Sequential([layers.Input((5,)), *stack])
        plan = compile_plan(model.layers, "train", loss=loss, optimizer=optimizers.SGD())
        kinds.add(tuple(step.kind for step in plan.steps))
    assert kinds == {("linear", "softmax_sparse_categorical_crossentropy", "")}


# --- Watching ---


def watched(model, loss, optimizer, *, fused=False, clip=True):
    """Return a plan that keeps and observes something of every arena."""
    plan = compile_plan(model.layers, "train", loss=loss, optimizer=optimizer, fused=fused)
    at = {b.name: i for i, b in enumerate(plan.buffers)}
    first = plan.steps[0]
    steps = list(plan.steps)
    after = next(i for i, s in enumerate(steps) if s.op in ("clip_norm", "update"))
    steps[after:after] = [
        Step("keep", dw=at[f"{first.layer}.dw"], index=2),
        Step("observe", kind="squares", dw=at[f"{first.layer}.dw"]),
        Step("observe", kind="squares", dw=at[f"{first.layer}.db"]),
        Step("observe", kind="dead", y=first.y, index=1),
        Step("observe", kind="saturated", y=first.x, index=2, alpha=-1.0, beta=0.5),
    ]
    steps[:0] = [Step("keep", w=first.w), Step("keep", y=first.x, index=1)]
    return dataclasses.replace(plan, steps=tuple(steps), n_kept=3, n_observed=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("every", [1, 2, 5])
def test_executors_keep_and_observe_the_same(dtype, every):
    """Also with another executor between those that are watched."""
    loss = losses.SparseCategoricalCrossentropy()
    optimizer = optimizers.Adam(clipnorm=0.01)
    model = net("relu", "softmax", dtype)
    x, t = data(loss, rows=43)
    found = []
    for engine in ("compiled", "reference"):
        parameters = model.parameters.copy()
        plan = watched(model, loss, optimizer)
        slots = optimizer.initial_slots(plan.n_parameters, plan.dtype)
        plain, watching = (
            make_executor(p, parameters, slots, batch_size=8, engine=engine)
            for p in (compile_plan(model.layers, "train", loss=loss, optimizer=optimizer), plan)
        )
        past = 1 % every
        n = len(range(-past % every, 6, every))
        kept = [np.full((n, *shape), 7, dtype) for shape in ((5, 7), (8, 5), (5, 7))]
        observed, values = np.full((n, 3), 9.0), np.zeros(6)
        done = watching.run(
            x, t, batch_size=8, learning_rates=np.array([0.01]), losses=values, kept=kept,
            observed=observed, every=every, past=past, between=plain if every > 1 else None,
        )  # fmt: skip
        assert done == 6
        found.append([*kept, observed, values, parameters])
    alone = model.parameters.copy()
    slots = optimizer.initial_slots(plan.n_parameters, plan.dtype)
    make_executor(
        compile_plan(model.layers, "train", loss=loss, optimizer=optimizer), alone, slots,
        batch_size=8,
    ).run(x, t, learning_rates=np.array([0.01]))  # fmt: skip
    rtol, atol = TOLERANCE[dtype]
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=atol)
    np.testing.assert_array_equal(found[0][-1], alone)
    first = -past % every
    batch = x[8 * first : 8 * first + 8]
    np.testing.assert_array_equal(found[0][1][0], batch.astype(dtype))
    np.testing.assert_array_equal(
        found[0][3][0, 2], np.mean((batch.astype(dtype) <= -1) | (batch.astype(dtype) >= 0.5))
    )


def test_a_watching_plan_runs_without_anything_to_fill():
    loss, optimizer = losses.SparseCategoricalCrossentropy(), optimizers.Adam()
    model = net("relu", "softmax")
    plan = watched(model, loss, optimizer)
    slots = optimizer.initial_slots(plan.n_parameters, plan.dtype)
    x, t = data(loss, rows=8)
    for engine in ("compiled", "reference"):
        e = make_executor(plan, model.parameters.copy(), slots.copy(), batch_size=8, engine=engine)
        assert e.run(x, t, learning_rates=np.array([0.01])) == 1
        e.load(x, t)
        for k in range(len(plan.steps)):
            e.execute(k, 1, 0.01)


def test_the_executor_checks_what_it_is_to_fill():
    loss, optimizer = losses.SparseCategoricalCrossentropy(), optimizers.Adam()
    model = net("relu", "softmax")
    plan = watched(model, loss, optimizer)
    parameters = model.parameters.copy()
    before = parameters.copy()
    slots = optimizer.initial_slots(plan.n_parameters, plan.dtype)
    make = lambda p, *a, size=8: make_executor(p, *a, batch_size=size)  # noqa: E731
    e = make(plan, parameters, slots)
    ordinary = compile_plan(model.layers, "train", loss=loss, optimizer=optimizer)
    other, small = make(ordinary, parameters, slots), make(ordinary, parameters, slots, size=4)
    stranger = make(ordinary, parameters.copy(), slots)
    x, t = data(loss, rows=16)
    kept = [np.zeros((2, *shape), np.float32) for shape in ((5, 7), (8, 5), (5, 7))]
    fixed = np.zeros((2, 3))
    fixed.flags.writeable = False
    for change, text in (
        ({"kept": kept[:2]}, "kept must hold 3 arrays; received 2"),
        ({"kept": [kept[0], kept[1], kept[2][:1]]}, "kept[2] must be a writable"),
        ({"kept": [kept[0], kept[1][:, :7].copy(), kept[2]]}, "2 entries of 40 numbers"),
        ({"kept": [kept[0], kept[1][:, ::2], kept[2]]}, "kept[1] must be a writable"),
        ({"kept": [kept[0].astype(float), *kept[1:]]}, "kept[0] must be a writable"),
        ({"kept": [None, *kept[1:]]}, "kept[0] must be a writable"),
        ({"observed": np.zeros((1, 3))}, "observed must be a writable float64 array of shape (2,"),
        ({"observed": np.zeros((2, 2))}, "observed must be"),
        ({"observed": np.zeros((2, 3), np.float32)}, "observed must be"),
        ({"observed": fixed}, "observed must be"),
        ({"every": 0}, "every must be at least 1"),
        ({"every": 2}, "and between given where every is more than 1"),
        ({"every": 2, "past": 2, "between": other}, "past from 0 to every - 1"),
        ({"every": 2, "past": -1, "between": other}, "past from 0 to every - 1"),
        ({"every": 2, "between": e}, "between must be another executor"),
        ({"every": 2, "between": stranger}, "between must be another executor"),
        ({"every": 2, "between": small}, "between has room for batches of 4 rows only"),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            e.run(x, t, learning_rates=np.ones(1), **change)
        assert text in str(caught.value)
    with pytest.raises(TypeError):
        e.run(x, t, learning_rates=np.ones(1), every=2, between=object())
    np.testing.assert_array_equal(parameters, before)
    # And both can be used again.
    assert e.run(x, t, learning_rates=np.ones(1), kept=kept, every=2, between=other) == 2
    assert other.run(x, t, learning_rates=np.ones(1)) == 2


def test_a_run_that_fails_forgets_where_to_watch():
    """The next one, which watches nothing, writes nothing into arrays that may be gone."""
    plan = Plan(
        dtype="float32",
        buffers=(Buffer("x", "x", 0, 3), Buffer("y", "work", 0, 3)),
        steps=(Step("rescale", x=0, y=1, alpha=1.0), Step("keep", y=1)),
        n_in=3, n_out=3, output=-1, n_parameters=64, n_work=3, n_kept=1,
    )  # fmt: skip
    e = make_executor(plan, np.zeros(64, np.float32), None, batch_size=2)
    x, kept = np.ones((2, 3), np.float32), np.zeros((1, 2, 3), np.float32)
    with pytest.raises(TypeError):
        e.run(x, kept=[kept], seconds="soon")
    e.run(x)
    np.testing.assert_array_equal(kept, 0)
    e.run(x, kept=[kept])
    np.testing.assert_array_equal(kept, 1)


def test_a_wrong_label_between():
    """What the executor in between finds is told, and nothing of it is used."""
    loss, optimizer = losses.SparseCategoricalCrossentropy(), optimizers.SGD()
    model = net("relu", "softmax")
    plan = watched(model, loss, optimizer)
    parameters = model.parameters.copy()
    ordinary = compile_plan(model.layers, "train", loss=loss, optimizer=optimizer)
    x, t = data(loss, rows=12)
    t[5] = 99
    results = []
    for between in (True, False):
        parameters = model.parameters.copy()
        e, other = (make_executor(p, parameters, None, batch_size=4) for p in (plan, ordinary))
        done = np.full(3, -1.0)
        options = {"every": 2, "between": other} if between else {}
        with pytest.raises(ValueError, match="labels must be from 0 to 3: row 5 has another"):
            e.run(x, t, learning_rates=np.ones(1), losses=done, **options)
        assert (done[1:] == -1).all()
        results.append(parameters)
    np.testing.assert_array_equal(*results)


# --- The verifier ---


def sound():
    model = net("tanh", "softmax")
    return compile_plan(model.layers, "train", loss=losses.SparseCategoricalCrossentropy(),
                        optimizer=optimizers.Adam())  # fmt: skip


def run_it(plan, slots=2):
    make_executor(plan, np.zeros(plan.n_parameters, np.float32),
                  np.zeros((slots, plan.n_parameters), np.float32), batch_size=4)  # fmt: skip


def with_step(plan: Plan, index: int, **changes) -> Plan:
    steps = list(plan.steps)
    steps[index] = dataclasses.replace(steps[index], **changes)
    return dataclasses.replace(plan, steps=tuple(steps))


def index_of(plan, op, nth=0):
    return [i for i, step in enumerate(plan.steps) if step.op == op][nth]


def swapped(plan):
    i = index_of(plan, "dense_backward_data")
    steps = list(plan.steps)
    steps[i], steps[i + 1] = steps[i + 1], steps[i]
    return dataclasses.replace(plan, steps=tuple(steps))


def with_buffer(plan, index, **changes):
    buffers = list(plan.buffers)
    buffers[index] = dataclasses.replace(buffers[index], **changes)
    return dataclasses.replace(plan, buffers=tuple(buffers))


def with_watching(plan, op, *, last=True, **fields):
    steps = list(plan.steps)
    steps.insert(len(steps) if last else 0, Step(op, **fields))
    return dataclasses.replace(plan, steps=tuple(steps), n_kept=1, n_observed=1)


BAD_PLANS = [
    (swapped, "read after its update: dense_backward_data of a layer comes first"),
    (lambda p: with_step(p, 0, op="convolve"), "unknown op"),
    (lambda p: with_step(p, 0, kind="rellu"), "unknown kind 'rellu'"),
    (lambda p: with_step(p, 0, kind="softmax"), "softmax needs whole rows"),
    (lambda p: with_step(p, 0, x=None), "x is missing"),
    (lambda p: with_step(p, 0, x=999), "names no buffer"),
    (lambda p: with_step(p, 0, x=-1), "names no buffer"),
    (lambda p: with_step(p, 0, w=0), "must not be a batch's rows"),
    (lambda p: with_step(p, 0, y=p.steps[0].x), "does not fit"),
    (lambda p: with_step(p, 0, alpha=float("nan")), "alpha must be finite"),
    (lambda p: with_step(p, 0, x=p.steps[1].y, y=p.steps[0].y), "does not fit"),
    (lambda p: with_step(p, index_of(p, "loss"), kind="mean_squared_error"), "dense targets"),
    (lambda p: with_step(p, index_of(p, "loss"), reduction="product"), "unknown reduction"),
    (lambda p: with_step(p, index_of(p, "dense_backward_data"), y=None), "reads y"),
    (lambda p: with_step(p, index_of(p, "dense_backward_weights"), update=False), "dw"),
    (lambda p: dataclasses.replace(p, n_out=10**8), "labels go up to"),
    (
        lambda p: dataclasses.replace(p, steps=(*p.steps, Step("clip_global_norm", alpha=1.0))),
        "no stored gradients",
    ),
    (lambda p: with_step(p, -1, op="clip_global_norm"), "is no field of this op"),
    (
        lambda p: dataclasses.replace(
            p, steps=(*p.steps, Step("clip_global_norm", kind="relu", alpha=1.0))
        ),
        "this op has no kinds; received 'relu'",
    ),
    (lambda p: with_step(p, 1, op="activate", x=p.steps[0].x, y=p.steps[0].x), "must not lie in"),
    (lambda p: dataclasses.replace(p, steps=p.steps[1:]), "read before it is written"),
    (lambda p: dataclasses.replace(p, optimizer="adamm"), "unknown: 'adamm'"),
    (lambda p: dataclasses.replace(p, optimizer=""), "an update needs an optimizer"),
    (lambda p: dataclasses.replace(p, n_work=1), "columns of work"),
    (lambda p: dataclasses.replace(p, n_in=0), "n_in"),
    (lambda p: dataclasses.replace(p, dtype="float16"), "float16"),
    (lambda p: dataclasses.replace(p, output=99), "names no buffer"),
    (lambda p: with_buffer(p, p.steps[0].w, offset=10**6), "within the"),
    (lambda p: with_buffer(p, p.steps[0].w, rows=-1), "negative"),
    (lambda p: with_buffer(p, p.steps[0].y, arena="stack"), "unknown arena"),
    (lambda p: with_watching(p, "keep"), "exactly one of w, dw and y must be given; received []"),
    (
        lambda p: with_watching(p, "keep", y=p.steps[0].x, w=p.steps[0].w, last=False),
        "exactly one of w, dw and y must be given; received ['w', 'y']",
    ),
    (lambda p: with_watching(p, "keep", y=p.steps[0].y, index=1), "index must be from 0 to 0"),
    (lambda p: with_watching(p, "observe", kind="dead", y=p.steps[0].y, index=-1), "index must be"),
    (lambda p: with_watching(p, "observe", kind="deaf", y=p.steps[0].y), "unknown kind 'deaf'"),
    (
        lambda p: with_watching(p, "observe", kind="dead", w=p.steps[0].w, last=False),
        "looks at an output, y",
    ),
    (lambda p: with_watching(p, "keep", kind="dead", y=p.steps[0].y), "this op has no kinds"),
    (lambda p: with_watching(p, "keep", x=p.steps[0].x, y=p.steps[0].y), "is no field of this op"),
    (lambda p: with_watching(p, "keep", y=p.steps[-1].dz, last=False), "read before it is written"),
    (lambda p: with_watching(p, "keep", w=p.steps[0].w), "read after its update"),
    (
        lambda p: with_watching(with_watching(p, "keep", y=p.steps[0].y), "keep", y=p.steps[0].y),
        "two keep steps have one index",
    ),
    (lambda p: dataclasses.replace(p, n_kept=1 << 20), "must be less than 2^20"),
    (lambda p: dataclasses.replace(p, n_observed=-1), "n_observed"),
    (
        lambda p: with_buffer(p, p.steps[1].y, offset=p.buffers[p.steps[0].y].offset),
        "overlap",
    ),
]


def test_what_lies_within_a_larger_buffer_is_not_that_buffer():
    model = models.Sequential([layers.Input((3,)), layers.Dense(2, "tanh"), layers.Dense(3)])
    plan = compile_plan(
        model.layers, "train", loss=losses.MeanSquaredError(), optimizer=optimizers.SGD()
    )
    hidden = plan.steps[0].y
    dy = plan.steps[index_of(plan, "loss")].dy
    plan = with_buffer(plan, dy, offset=plan.buffers[hidden].offset)
    with pytest.raises(ValueError, match="read before it is written") as caught:
        runtime.core("float32").verify(plan, 0)
    assert plan.buffers[hidden].name in str(caught.value)


@pytest.mark.parametrize(("spoil", "text"), BAD_PLANS)
def test_the_verifier_names_the_step(spoil, text):
    plan = spoil(sound())
    with pytest.raises(ValueError, match=r"^plan ") as caught:
        runtime.core("float32").verify(plan, 2)
    assert text in str(caught.value)


def test_a_sound_plan_passes_and_prints():
    plan = sound()
    run_it(plan)
    assert "dense_backward_weights" in str(plan)
    with pytest.raises(ValueError, match="adam needs 2 slots"):
        run_it(plan, slots=1)


def test_only_a_plan_to_predict_predicts():
    model = net("tanh", "softmax")
    plan = compile_plan(model.layers, "test", loss=losses.SparseCategoricalCrossentropy(),
                        metrics=[metrics.SparseCategoricalAccuracy()], output=True)  # fmt: skip
    e = make_executor(plan, np.zeros(plan.n_parameters, np.float32), None, batch_size=4)
    with pytest.raises(ValueError, match="not one to predict"):
        e.predict(np.zeros((4, 5), np.float32), np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match="not one to predict"):
        make_predictor(e, (5,), (4,))
    e.load(np.zeros((4, 5)), np.zeros(4, int))
    fixed = np.zeros((1, 2))
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="totals must be a writable"):
        e.execute(0, totals=fixed)


def test_labels_that_were_refused_are_not_used():
    plan = sound()
    e = make_executor(plan, np.zeros(plan.n_parameters, np.float32),
                      np.zeros((2, plan.n_parameters), np.float32), batch_size=4)  # fmt: skip
    e.load(np.zeros((4, 5)), np.zeros(4, int))
    with pytest.raises(ValueError, match="labels must be from 0 to 3"):
        e.load(np.zeros((4, 5)), np.array([0, 1, 2, 10**7]))
    with pytest.raises(ValueError, match="no batch is loaded"):
        e.execute(0)


def test_more_threads_and_fewer_do_not_need_more_and_more_memory():
    plan = sound()
    e = make_executor(plan, np.zeros(plan.n_parameters, np.float32),
                      np.zeros((2, plan.n_parameters), np.float32), batch_size=4)  # fmt: skip
    sizes = set()
    for n in (8, 1, 8, 3, 8, 1):
        e.n_threads = n
        assert e.n_threads == n
        sizes.add(e.scratch_size)
    assert len(sizes) == 1


def test_a_long_batch_in_parts_gives_the_same_bits():
    """run() does the matmuls of a heavy batch in parts; execute() does not."""
    model = models.Sequential(
        [layers.Input((420,)), layers.Dense(410, "gelu"), layers.Dense(430, "relu"),
         layers.Dense(1)]
    )  # fmt: skip
    plan = compile_plan(model.layers, "train", loss=losses.MeanSquaredError(),
                        optimizer=optimizers.Adam(), fused=False)  # fmt: skip
    rng = np.random.default_rng(0)
    rows = 5000
    x = rng.normal(size=(rows, 420)).astype(np.float32)
    t = rng.normal(size=(rows, 1)).astype(np.float32)
    start = rng.normal(size=plan.n_parameters).astype(np.float32) / 20
    found = []
    for whole in (True, False):
        parameters = start.copy()
        e = make_executor(plan, parameters, np.zeros((2, plan.n_parameters), np.float32),
                          batch_size=rows, n_threads=2)  # fmt: skip
        if whole:
            e.run(x, t, learning_rates=np.array([1e-3]))
        else:
            e.load(x, t)
            for k in range(len(plan.steps)):
                e.execute(k, 0, 1e-3)
        found.append(parameters)
    assert not np.array_equal(found[0], start)
    np.testing.assert_array_equal(found[0], found[1])


def test_the_executor_checks_its_arguments():
    plan = sound()
    parameters = np.zeros(plan.n_parameters, np.float32)
    slots = np.zeros((2, plan.n_parameters), np.float32)
    with pytest.raises(ValueError, match="parameters must be an array of shape"):
        make_executor(plan, parameters[:-1], slots, batch_size=4)
    with pytest.raises(ValueError, match="parameters must be an array of shape"):
        make_executor(plan, parameters.astype(np.float64), slots, batch_size=4)
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        make_executor(plan, parameters, slots, batch_size=0)
    with pytest.raises(ValueError, match="n_threads must be an integer"):
        make_executor(plan, parameters, slots, batch_size=4, n_threads=0)
    with pytest.raises(ValueError, match="engine must be"):
        make_executor(plan, parameters, slots, batch_size=4, engine="gpu")
    e = make_executor(plan, parameters, slots, batch_size=4)
    x, t, one = np.zeros((6, 5)), np.zeros(6, int), np.ones(1)
    run = lambda *a, **k: e.run(*a, **{"learning_rates": one, **k})  # noqa: E731
    for call, text in (
        (lambda: run(x[:, :4], t), "x must have 5 numbers a row"),
        (lambda: run(x), "t is missing"),
        (lambda: run(x, t[:5]), "as many rows as x"),
        (lambda: run(x, np.full(6, 4)), "labels must be from 0 to 3"),
        (lambda: run(x, t - 1), "labels must be from 0 to 3"),
        (lambda: run(x, t, order=np.array([6])), "order[0] must be from 0 to 5"),
        (lambda: run(x, t, order=np.array([0.5])), "order must be"),
        (lambda: run(x, t, begin=3, end=2), "begin and end"),
        (lambda: run(x, t, end=7), "begin and end"),
        (lambda: run(x, t, batch_size=5), "batch_size must be from 1 to 4"),
        (lambda: run(x, t, iteration=-1), "iteration must be from 0"),
        (lambda: e.run(x, t), "learning_rates must hold"),
        (lambda: run(x, t, losses=np.zeros(1)), "losses must be writable"),
        (lambda: run(x, t, totals=np.zeros((1, 2))), "totals must be"),
        (lambda: e.predict(x, np.zeros((6, 4), np.float32)), "no output"),
        (lambda: e.execute(99), "the plan has steps"),
        (lambda: e.execute(0), "no batch is loaded"),
        (lambda: e.read(99), "the plan has buffers"),
        (lambda: e.set_hyper({"beta": 1}), "unknown hyper-parameter"),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            call()
        assert text in str(caught.value)
    for bad in (x.astype("f2"), x.astype(">f8"), np.array([["a"] * 5] * 6), x.astype(complex)):
        with pytest.raises(TypeError, match="native byte order"):
            run(bad, t)
    assert (parameters == 0).all()


def test_every_step_kind_is_known_to_both_floors():
    from nncore.plan import OPS

    assert tuple(runtime.core("float32").OPS) == OPS
    assert {f.name for f in dataclasses.fields(Step)} >= {"op", "kind", "x", "w", "b", "z", "y"}
    assert activations.get("relu").name == "relu"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_out", [8, 9, 10, 11, 12, 13])
def test_softmax_that_is_computed_with_its_layer_has_the_same_bits(dtype, n_out):
    """predict() does the two in one where rows lie turned; execute() does one after the other."""
    rng = np.random.default_rng(7)
    for n_in in (20, 33, 140):
        model = net(last="softmax", n_in=5, n_hidden=n_in - 1, n_out=n_out, dtype=dtype)
        plan = compile_plan(model.layers, "predict")
        e = make_executor(plan, model.parameters, None, batch_size=200)
        x = 3 * rng.normal(size=(500, 5)).astype(dtype)
        x[3] = np.nan
        x[40] = 1e30
        e.load(x, rows=200)
        for step in range(len(plan.steps)):
            e.execute(step)
        whole = e.read(plan.output)
        assert np.isnan(whole[3]).all()
        assert np.isfinite(np.delete(whole, [3, 40], axis=0)).all()
        for rows in (1, 3, 15, 16, 17, 31, 32, 47, 64, 65, 80, 97, 200):
            out = np.full((rows + 1, n_out), -1, dtype)
            e.predict(x[:rows], out[:-1])
            np.testing.assert_array_equal(out[:-1], whole[:rows])
            assert (out[-1] == -1).all()
        # Several batches, of as many rows as are whole tiles and strips; of few; and one that may
        # be done in parts.
        for capacity, n_threads in ((200, 3), (100, 1), (47, 1), (16, 1), (1_000_000 // n_in, 2)):
            other = make_executor(plan, model.parameters, None, batch_size=capacity,
                                  n_threads=n_threads)  # fmt: skip
            out = np.empty((500, n_out), dtype)
            other.predict(x, out)
            np.testing.assert_array_equal(out[:200], whole)
            other.predict(x[200:], out[:300])
            again = np.empty((500, n_out), dtype)
            e.predict(x, again)
            np.testing.assert_array_equal(out[:300], again[200:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("last", "n_out"),
    [(None, 1), (None, 10), ("sigmoid", 1), ("sigmoid", 10)]
    + [("softmax", n_out) for n_out in (3, 10, 40)],
)
def test_rows_that_threads_share_have_the_same_bits(dtype, last, n_out):
    """Many rows are predicted by several threads, each with rows of its own."""
    rng = np.random.default_rng(9)
    model = net(last=last, n_in=9, n_hidden=400, n_out=n_out, dtype=dtype)
    plan = compile_plan(model.layers, "predict")
    x = 3 * rng.normal(size=(1200, 9)).astype(dtype)
    x[123] = np.nan
    one = make_executor(plan, model.parameters, None, batch_size=256)
    whole = np.empty((len(x), n_out), dtype)
    one.predict(x, whole)
    assert np.isnan(whole[123]).all()
    assert np.isfinite(np.delete(whole, 123, axis=0)).all()
    shared = make_executor(plan, model.parameters, None, batch_size=256)
    # One block and several; the last of 481 rows is a part of its own.
    for n_threads, rows in ((2, 256), (3, 481), (7, 1200)):
        shared.n_threads = n_threads
        # Of other types and strides, too: each thread gathers its own rows.
        for given in (x, x.astype(np.float64), np.asfortranarray(x), x[::-1]):
            out = np.full((rows + 1, n_out), -1, dtype)
            shared.predict(given[:rows], out[:-1])
            expected = whole[::-1] if given[0, 0] != x[0, 0] else whole
            np.testing.assert_array_equal(out[:-1], expected[:rows])
            assert (out[-1] == -1).all()
    # The parameters are shared, not copied.
    model.parameters[...] *= 0.5
    one.predict(x, whole)
    shared.predict(x, out := np.empty_like(whole))
    np.testing.assert_array_equal(out, whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_single_layer_and_its_softmax(dtype, use_bias):
    """Its rows are read where they lie."""
    rng = np.random.default_rng(8)
    for n_in in (32, 39):
        model = build([layers.Input((n_in,)),
                       layers.Dense(10, "softmax", use_bias=use_bias, dtype=dtype)])  # fmt: skip
        x = rng.normal(size=(37, n_in)).astype(dtype)
        e = make_executor(compile_plan(model.layers, "predict"), model.parameters, None,
                          batch_size=37)  # fmt: skip
        e.load(x)
        e.execute(0)
        e.execute(1)
        out = np.empty((37, 10), dtype)
        e.predict(x, out)
        np.testing.assert_array_equal(out, e.read(e.plan.output))


def test_softmax_whose_input_is_watched_is_computed_by_itself():
    model = net(last="softmax", n_hidden=39, n_out=10)
    plan = compile_plan(model.layers, "predict")
    raw = plan.steps[-1].x
    watched = dataclasses.replace(
        plan, n_observed=1,
        steps=(*plan.steps, Step(op="observe", kind="squares", y=raw, index=0)),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    outs = []
    for one in (plan, watched):
        e = make_executor(one, model.parameters, None, batch_size=40)
        outs.append(np.empty((40, 10), np.float32))
        e.predict(x, outs[-1])
    np.testing.assert_array_equal(*outs)
    seen = e.read(raw)
    e.load(x)
    for step in range(len(plan.steps)):
        e.execute(step)
    np.testing.assert_array_equal(seen, e.read(raw))
