"""Sequential: structure, weights, copies, prediction."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nncore
from nncore import layers, models
from nncore.layers import Activation, Dense, Dropout, Flatten, Input, Rescaling


@pytest.fixture(autouse=True)
def _fresh():
    layers.reset_names()
    nncore.set_random_seed(1)
    yield
    nncore.config.set_floatx("float32")


def network(**arguments):
    model = nncore.Sequential(
        [Input((4,)), Dense(5, activation="tanh"), Dense(3, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", **arguments)
    return model


def blobs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return (rng.normal(size=(n, 4)) + y[:, None]).astype("float32"), y


# --- structure ---


def test_structure():
    model = network()
    assert model.built
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
    assert model.input_shape == (None, 4)
    assert model.output_shape == (None, 3)
    assert model.count_params() == 4 * 5 + 5 + 5 * 3 + 3
    assert [w.shape for w in model.get_weights()] == [(4, 5), (5,), (5, 3), (3,)]
    assert [p.path for p in model.weights] == [
        "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias",
    ]  # fmt: skip
    assert repr(model) == '<Sequential "sequential", 2 layers, built>'


def test_one_flat_aligned_vector():
    model = network()
    assert model.parameters.ctypes.data % 64 == 0
    for p in model.weights:
        assert np.shares_memory(p.value, model.parameters)
        assert p.offset % 16 == 0
    model.parameters[...] = 2
    assert (model.layers[1].kernel == 2).all()
    assert model.slots.shape == (2, model.parameters.size)
    assert model.slots.ctypes.data % 64 == 0


def test_add_and_pop():
    model = nncore.Sequential()
    with pytest.raises(ValueError, match="has no layers to pop"):
        model.pop()
    model.add(Input((4,)))
    model.add(Dense(5))
    kernel = model.layers[0].kernel.copy()
    assert model.output_shape == (None, 5)
    model.add(Dense(3))
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
    last = model.pop()
    assert last.owner is None
    assert model.output_shape == (None, 5)
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
    assert np.shares_memory(model.layers[0].kernel, model.parameters)
    weights = last.get_weights()
    model.add(last)  # with its weights
    np.testing.assert_array_equal(model.layers[1].kernel, weights[0])


def test_built_at_first_data():
    model = nncore.Sequential([Dense(5), Dense(3)])
    assert not model.built
    assert model.weights == []
    for what in (model.count_params, lambda: model.parameters, lambda: model.set_weights([])):
        with pytest.raises(ValueError, match="built"):
            what()
    for what in ("input_shape", "output_shape"):
        with pytest.raises(ValueError, match="before it is built"):
            getattr(model, what)
    assert model.predict(np.zeros((2, 7))).shape == (2, 3)
    assert model.input_shape == (None, 7)
    with pytest.raises(ValueError, match=r"x must have shape \(n, 7\); received shape \(2, 6\)"):
        model.predict(np.zeros((2, 6)))


def test_build():
    model = nncore.Sequential([Dense(5)])
    model.build((None, 3))
    assert model.input_shape == (None, 3)
    model.build((None, 3))
    with pytest.raises(ValueError, match=r"cannot be built for inputs of shape \(4,\)"):
        model.build((None, 4))
    with pytest.raises(ValueError, match="has no layers"):
        nncore.Sequential().build((None, 3))
    with pytest.raises(ValueError, match="build needs input_shape"):
        nncore.Sequential([Dense(1)]).build()
    with pytest.raises(ValueError, match="with the batch axis first"):
        nncore.Sequential([Dense(1)]).build((3,))


def test_a_refused_layer_changes_nothing():
    model = nncore.Sequential([Input((4, 4)), Flatten()])
    with pytest.raises(ValueError, match="rows of rank 1"):
        nncore.Sequential([Input((4, 4)), Dense(3)])
    shaped = nncore.Sequential([Input((4, 4)), Rescaling(0.5)])
    with pytest.raises(ValueError, match="Put Flatten"):
        shaped.add(Dense(3))
    assert len(shaped.layers) == 1
    model.add(Dense(3))
    assert model.count_params() == 51


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (7, "only nncore layers can be added; received 7"),
        (Dense, r"a class: write Dense\(\.\.\.\)"),
    ],
)
def test_not_a_layer(layer, text):
    with pytest.raises(ValueError, match=text):
        nncore.Sequential([layer])


def test_what_cannot_be_added():
    model = network()
    with pytest.raises(ValueError, match='"dense" is taken'):
        model.add(Dense(1, name="dense"))
    with pytest.raises(ValueError, match="belongs to this model already"):
        model.add(model.layers[0])
    with pytest.raises(ValueError, match='belongs to Sequential "sequential" already'):
        nncore.Sequential(model.layers)
    with pytest.raises(ValueError, match="has an input of shape"):
        model.add(Input((3,)))
    with pytest.raises(ValueError, match="Input must come before"):
        nncore.Sequential([Dense(1), Input((3,))])
    with pytest.raises(ValueError, match="a model inside a model"):
        nncore.Sequential([model])
    with pytest.raises(ValueError, match="layers must be a list; received one layer"):
        nncore.Sequential(Dense(1))


def test_layers_of_a_failed_model_are_free():
    first = Dense(3)
    with pytest.raises(ValueError, match="Put Flatten"):
        nncore.Sequential([Input((2, 2)), Flatten(), first, Dense(2, name=first.name + "x")][::2])
    nncore.Sequential([Input((2,)), first])


def test_one_dtype():
    with pytest.raises(ValueError, match="need one dtype") as error:
        nncore.Sequential([Input((3,)), Dense(2, dtype="float64", name="a"), Dense(2, name="b")])
    assert 'Dense "a": float64, Dense "b": float32' in str(error.value)
    model = nncore.Sequential([Input((3,)), Rescaling(2.0), Dense(2, dtype="float64")])
    assert model.dtype == "float64"
    assert model.layers[0].dtype == "float64"
    assert model.predict(np.zeros((1, 3))).dtype == np.float64
    nncore.config.set_floatx("float64")
    assert nncore.Sequential([Input((3,)), Dense(2)]).dtype == "float64"


def test_get_layer():
    model = network()
    assert model.get_layer("dense_1") is model.layers[1]
    assert model.get_layer(index=-1) is model.layers[1]
    with pytest.raises(ValueError, match='unknown layer "dens": did you mean "dense"'):
        model.get_layer("dens")
    with pytest.raises(ValueError, match="has 2 layers; received index=2"):
        model.get_layer(index=2)
    with pytest.raises(ValueError, match="either name or index"):
        model.get_layer()


def test_trainable_reaches_the_layers():
    model = network()
    model.trainable = False
    assert model.trainable_weights == []
    assert len(model.non_trainable_weights) == 4
    assert nncore.Sequential([Dense(1)], trainable=False).layers[0].trainable is False


# --- weights ---


def test_set_weights():
    model, other = network(), network()
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.parameters, other.parameters)
    before = model.get_weights()
    with pytest.raises(ValueError, match="set_weights expected 4 arrays"):
        model.set_weights(before[:3])
    with pytest.raises(ValueError, match=r"expected shape \(5,\) for dense/bias"):
        model.set_weights([np.zeros((4, 5)), np.zeros(4), *before[2:]])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# --- prediction ---


def forward(model, x):
    (w1, b1, w2, b2) = model.get_weights()
    z = np.tanh(x @ w1 + b1) @ w2 + b2
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_predict(engine):
    model = network(engine=engine)
    x, _ = blobs(1000)
    expected = forward(model, x.astype(np.float64))
    y = model.predict(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-6)
    for other in (
        model(x),
        model.predict_on_batch(x),
        model.predict(x, batch_size=7, verbose=0),
        model.predict(x.tolist()),
        model.predict(np.asfortranarray(x)),
        model.predict(x.astype(">f4")),
        model.predict(x[::-1])[::-1],
        model.predict(iter([x[:300], (x[300:],)])),
    ):
        np.testing.assert_allclose(other, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(x[:1]), y[:1], rtol=1e-5, atol=1e-6)
    assert model.predict(x[:0]).shape == (0, 3)
    assert model.predict(x, steps=2, batch_size=10).shape == (20, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_short_path_gives_the_bits_of_the_long_one(dtype, shape):
    model = nncore.Sequential(
        [Input(shape), Flatten(), Dense(40, activation="tanh", dtype=dtype), Dense(1, dtype=dtype)]
    )
    x = np.random.default_rng(0).normal(size=(300, *shape))
    model.predict(x)
    assert model._quick is None
    model.predict(x[:1])
    for kind in ("float32", "float64", "uint8"):
        rows = (np.clip(100 * x, 0, 255) if kind == "uint8" else 100 * x).astype(kind)
        whole = model.predict(np.asfortranarray(np.repeat(rows, 2, axis=0)[::2]))
        for n in (1, 2, 17, 256, 257, 300):
            quick, none = (model._quick, model._bulk)[:: 1 if n <= 256 else -1]
            assert none(rows[:n]) is None
            quick = quick(rows[:n])
            assert quick.dtype == dtype
            np.testing.assert_array_equal(quick, whole[:n])
            np.testing.assert_array_equal(model(rows[:n]), whole[:n])
            np.testing.assert_array_equal(model.predict(rows[:n]), whole[:n])
    for other in (
        x[:0], x[:4].astype("int32"), x[:8:2], x[:4].tolist(), x[:4].astype(">f4"),
        np.ma.masked_array(x[:4]), x[0], x[:4, :-1], x[:4, None], None, "x",
    ):  # fmt: skip
        assert model._quick(other) is None
        assert model._bulk(other) is None
    with pytest.raises(ValueError, match="x must have shape"):
        model.predict(x[:4, :-1])


def test_short_path_sees_new_weights_and_layers():
    model = nncore.Sequential([Input((2,)), Dense(2, use_bias=False)])
    x = np.ones((1, 2), np.float32)
    model.predict(x)
    model.set_weights([np.eye(2)])
    np.testing.assert_array_equal(model.predict(x), x)
    model.add(Rescaling(3.0))
    np.testing.assert_array_equal(model(x), 3 * x)
    model.pop()
    model.pop()
    np.testing.assert_array_equal(nncore.Sequential([Input((2,)), Flatten()])(x), x)
    again = nncore.Sequential([Input((2,)), Flatten()])
    assert again(x) is not x
    np.testing.assert_array_equal(again(x), x)


def test_predict_before_compile():
    model = nncore.Sequential([Input((3,)), Dense(2)])
    assert model.predict(np.zeros((4, 3))).shape == (4, 2)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "float64"])
def test_predict_takes_any_real_dtype(dtype):
    model = network()
    x = np.arange(3000).reshape(750, 4) % 2
    np.testing.assert_allclose(
        model.predict(x.astype(dtype)), model.predict(x.astype("float32")), rtol=1e-6
    )


def test_predict_of_rows_with_shape():
    model = nncore.Sequential([Input((2, 3)), Rescaling(2.0, 1.0)])
    x = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(model.predict(x), 2 * x + 1)
    holes = np.arange(48.0).reshape(2, 4, 6)[:, ::2, ::2]
    np.testing.assert_array_equal(model.predict(holes), 2 * holes + 1)


def test_one_input_takes_one_dimension():
    model = nncore.Sequential([Input((1,)), Dense(2)])
    x = np.arange(4.0)
    np.testing.assert_array_equal(model.predict(x), model.predict(x[:, None]))


def test_call_with_training():
    x = np.zeros((1, 3))
    nncore.Sequential([Input((3,)), Dense(2)])(x, training=True)
    model = nncore.Sequential([Input((3,)), Dropout(0.5), Dense(2)])
    model(x, training=False)
    with pytest.raises(ValueError, match="training=True is not supported for a model with Dropout"):
        model(x, training=True)


def test_dropout_does_nothing_in_predict():
    model = nncore.Sequential([Input((3,)), Dropout(0.9), Activation("linear")])
    np.testing.assert_array_equal(model.predict(np.ones((5, 3))), 1)


def test_many_threads_predict_with_one_model():
    model = network()
    x, _ = blobs(400)
    expected = model.predict(x)
    wrong = []

    def work():
        for _ in range(50):
            if not np.array_equal(model.predict(x), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_predict_progress(capsys):
    model = network()
    x, _ = blobs(64)
    model.predict(x)
    assert capsys.readouterr().out == ""
    model.predict(x, verbose=1)
    assert capsys.readouterr().out.startswith("2/2 - 0s")


# --- summary ---


def test_summary(capsys):
    model = nncore.Sequential(
        [Input((8, 8)), Flatten(), Dense(10, name="out", trainable=False)], name="digits"
    )
    model.summary()
    text = capsys.readouterr().out
    assert 'Model: "digits"' in text
    for piece in ("flatten (Flatten)", "(None, 64)", "out (Dense)", "(None, 10)", "650",
                  "Total params: 650 (2.54 KB)", "Trainable params: 0 (0.00 B)",
                  "Non-trainable params: 650"):  # fmt: skip
        assert piece in text
    assert max(map(len, text.splitlines())) <= 80
    lines = []
    model.summary(line_length=60, print_fn=lines.append, show_trainable=True)
    assert {len(s) for s in lines[0].splitlines() if s[0] in "┏┃│└├┡"} == {60}
    assert "Trainable" in lines[0]
    model.summary(layer_range=("out", "out"), print_fn=lines.append)
    assert "flatten" not in lines[1]


def test_summary_in_ascii(monkeypatch, capsys):
    monkeypatch.setattr("nncore.summary._plain", lambda: True)
    network().summary()
    text = capsys.readouterr().out
    assert text.isascii()
    assert "| dense (Dense)" in text
    assert "Optimizer params: 86" in text
    nncore.Sequential([Dense(3)]).summary()
    assert "0 (unbuilt)" in capsys.readouterr().out


# --- configuration and copies ---


def test_config_round_trip():
    model = nncore.Sequential(
        [Input((4,), name="i"), Dense(5, activation="elu"), Dropout(0.5), Dense(3)], name="m"
    )
    config = json.loads(json.dumps(model.get_config()))
    again = nncore.Sequential.from_config(config)
    assert again.get_config() == model.get_config()
    assert again.built
    assert models.model_from_json(model.to_json()).get_config() == model.get_config()
    with pytest.raises(ValueError, match="must be a mapping with layers"):
        nncore.Sequential.from_config({})
    with pytest.raises(ValueError, match="this is not JSON"):
        models.model_from_json("{")


def test_config_of_a_model_built_from_data():
    model = nncore.Sequential([Dense(3)])
    assert "build_input_shape" not in model.get_config()
    model.build((None, 4))
    again = nncore.Sequential.from_config(model.get_config())
    assert again.input_shape == (None, 4)
    assert len(again.get_config()["layers"]) == 1


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_copy_continues_identically(how, optimizer):
    x, y = blobs()
    model = nncore.Sequential(
        [Input((4,)), Dense(5, activation="relu"), Dropout(0.2), Dense(3, activation="softmax")]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], n_threads=1)
    model.fit(x, y, epochs=2, verbose=0)
    copied = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert copied.optimizer is not model.optimizer
    assert copied.optimizer.iterations == model.optimizer.iterations == 4
    assert copied.parameters.ctypes.data % 64 == 0
    assert not np.shares_memory(copied.parameters, model.parameters)
    for p in copied.weights:
        assert np.shares_memory(p.value, copied.parameters)
    histories = []
    for m in (model, copied):
        nncore.set_random_seed(9)
        histories.append(m.fit(x, y, epochs=3, verbose=0).history)
    assert histories[0] == histories[1]
    np.testing.assert_array_equal(model.parameters, copied.parameters)
    before = model.parameters.copy()
    copied.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.parameters, before)


def test_copy_of_what_is_not_built():
    model = copy.deepcopy(nncore.Sequential([Dense(3)]))
    model.build((None, 2))
    assert model.count_params() == 9


# --- compile ---


def test_compile_twice():
    model = network()
    x, y = blobs()
    model.fit(x, y, verbose=0)
    slots, optimizer = model.slots.copy(), model.optimizer
    model.compile(optimizer, "sparse_categorical_crossentropy")
    np.testing.assert_array_equal(model.slots, slots)
    model.compile("adam", "sparse_categorical_crossentropy")
    assert not model.slots.any()


def test_compile_config_round_trip():
    model = network(metrics=["accuracy", "sparse_top_k_categorical_accuracy"], n_threads=2,
                    weighted_metrics=["acc"])  # fmt: skip
    model.optimizer.learning_rate = 0.125
    config = json.loads(json.dumps(model.get_compile_config()))
    other = nncore.Sequential.from_config(model.get_config())
    other.compile_from_config(config)
    assert other.get_compile_config() == model.get_compile_config()
    assert other.optimizer.learning_rate == 0.125
    assert nncore.Sequential([Dense(1)]).get_compile_config() == {}


def test_one_optimizer_one_model():
    model = network()
    other = nncore.Sequential([Input((4,)), Dense(3)])
    with pytest.raises(ValueError, match='works for Sequential "sequential" already'):
        other.compile(model.optimizer, "mse")
    optimizer = model.optimizer
    model.compile("sgd", "sparse_categorical_crossentropy")
    other.compile(optimizer, "mse")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"optimizer": "adm"}, ValueError, 'unknown optimizer "adm": did you mean "adam"'),
        ({"loss": "msee"}, ValueError, 'unknown loss "msee": did you mean "mse"'),
        ({"loss": "mse", "metrics": ["acuracy"]}, ValueError, 'unknown metric "acuracy"'),
        ({"loss": "mse", "metrics": 3}, ValueError, r"metrics must be a list such as"),
        ({"loss": ["mse", "mse"]}, ValueError, "loss must have one entry"),
        ({"loss": "mse", "loss_weights": 2}, ValueError, "loss_weights must be None"),
        ({"loss": "mse", "engine": "fast"}, ValueError, 'engine must be "compiled" or "reference"'),
        ({"loss": "mse", "n_threads": 0}, ValueError, "n_threads must be a positive integer"),
        ({"loss": lambda t, y: 0}, TypeError, "loss must be one of the known names"),
    ],
)
def test_bad_compile(arguments, error, text):
    model = network()
    before = model.get_compile_config()
    with pytest.raises(error, match=text):
        model.compile(**arguments)
    assert model.get_compile_config() == before


def test_loss_without_reduction():
    with pytest.raises(ValueError, match='reduction="none"'):
        network().compile("sgd", nncore.losses.MeanSquaredError(reduction="none"))


def test_metric_names():
    model = network(
        metrics=["accuracy", "accuracy", nncore.metrics.SparseCategoricalAccuracy()],
        weighted_metrics=["accuracy", nncore.metrics.SparseTopKCategoricalAccuracy(2, name="top")],
    )
    assert model.metrics_names == [
        "loss", "accuracy", "accuracy_1", "sparse_categorical_accuracy",
        "weighted_accuracy", "top",
    ]  # fmt: skip
    assert nncore.Sequential([Dense(1)]).metrics_names == ["loss"]


@pytest.mark.parametrize(
    ("units", "loss", "kind"),
    [
        (1, "binary_crossentropy", "binary_accuracy"),
        (1, "mse", "binary_accuracy"),
        (3, "sparse_categorical_crossentropy", "sparse_categorical_accuracy"),
        (3, "categorical_crossentropy", "categorical_accuracy"),
        (3, "binary_crossentropy", "categorical_accuracy"),  # as in Keras
    ],
)
def test_accuracy_means_what_it_means_in_keras(units, loss, kind):
    model = nncore.Sequential([Input((2,)), Dense(units)])
    model.compile("sgd", loss, metrics=["accuracy"])
    assert [m.kernel for m in model.metrics] == [kind]
    assert model.metrics_names == ["loss", "accuracy"]


def test_keras_name_for_a_repeated_weighted_metric():
    model = network(metrics=["acc"], weighted_metrics=["acc"])
    assert model.metrics_names == ["loss", "acc", "weighted_acc"]


def test_a_shallow_copy_is_a_whole_one():
    model = network()
    x, y = blobs(20)
    other = copy.copy(model)
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    layer = copy.copy(model.layers[0])
    layer.set_weights([0 * w for w in layer.get_weights()])
    assert (model.layers[0].kernel != 0).any()


def test_too_many_threads_are_refused_before_fit():
    model = network()
    with pytest.raises(ValueError, match="compile: n_threads must be at most 256; received"):
        model.compile("sgd", "mse", n_threads=1000)
    with pytest.raises(ValueError, match="n_threads must be at most 256"):
        model.n_threads = 257


def test_the_number_of_threads_reaches_predictions():
    model = nncore.Sequential([Input((600,)), Dense(900), Dense(800)])
    x = np.random.default_rng(0).normal(size=(200, 600)).astype("float32")
    before = nncore.get_num_threads()
    try:
        results = []
        for n in (1, 3, 2):
            nncore.set_num_threads(n)
            results += [model.predict(x), model(x)]
            assert model._short_threads == [n, 0]
            assert all(e.n_threads == n for e in model._predictors)
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other)
    finally:
        nncore.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rows_of_a_block_that_threads_share_have_the_same_bits(dtype):
    model = nncore.Sequential(
        [
            Input((70,)),
            Dense(500, "relu", dtype=dtype),
            Dense(400, "tanh", dtype=dtype),
            Dense(5, "softmax", dtype=dtype),
        ]
    )
    x = np.random.default_rng(0).normal(size=(256, 70))
    model.n_threads = 1
    expected = model.predict(x)
    for n in (2, 3, 7):
        model.n_threads = n
        for rows in (1, 6, 12, 13, 14, 100, 255, 256):  # around a tile's; a part that is shorter
            for given in (x[:rows], np.asfortranarray(x)[:rows]):
                np.testing.assert_array_equal(model.predict(given), expected[:rows])
    model.set_weights([w / 2 for w in model.get_weights()])
    shared = model.predict(x)
    model.n_threads = 1
    np.testing.assert_array_equal(shared, model.predict(x))


def test_the_first_prediction_of_a_model_may_come_from_several_threads():
    """One of them builds it."""
    x = np.random.default_rng(0).normal(size=(5, 6))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(30):
                model = nncore.Sequential([Dense(8, "relu"), Dense(3, "softmax")])
                start = threading.Barrier(4)

                def predict(_, model=model, start=start):
                    start.wait()
                    return model.predict(x)

                found = list(pool.map(predict, range(4)))
                assert all((one == found[0]).all() for one in found)
                np.testing.assert_array_equal(model.predict(x), found[0])
    finally:
        sys.setswitchinterval(interval)


def test_many_rows_of_one_thread_leave_others_the_short_path():
    model = nncore.Sequential([Input((64,)), Dense(64, "relu"), Dense(10, "softmax")])
    x = np.random.default_rng(0).normal(size=(2000, 64)).astype("float32")
    one, many = model.predict(x[:1]), model.predict(x)
    ended = threading.Event()

    def go_on():
        while not ended.is_set():
            np.testing.assert_array_equal(model.predict(x), many)

    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(go_on)
        try:
            for _ in range(2000):
                np.testing.assert_array_equal(model._quick(x[:1]), one)  # never None
        finally:
            ended.set()
        busy.result()


def test_threads_that_predict_different_rows_at_once():
    model = nncore.Sequential([Input((40,)), Dense(33, "relu"), Dense(11, "softmax")])
    x = np.random.default_rng(0).normal(size=(1500, 40)).astype("float32")
    y = model.predict(x)

    def some(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            first, end = sorted(rng.integers(0, 1501, 2))
            np.testing.assert_array_equal(model.predict(x[first:end]), y[first:end])

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(some, range(10)))
