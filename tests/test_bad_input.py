"""Every mistake gets an error that says what was wanted, what came and what to do.

And nothing is changed: each case is checked to leave the model as it was.
"""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pytest

import nncore
from nncore import layers
from nncore.callbacks import LambdaCallback
from nncore.layers import Activation, Dense, Flatten, Input, Rescaling

N = 12
X = np.random.default_rng(0).normal(size=(N, 4)).astype("float32")
Y = np.arange(N) % 3


@pytest.fixture(autouse=True)
def _fresh():
    layers.reset_names()
    nncore.set_random_seed(1)
    yield
    nncore.config.set_nonfinite("error")


def network(loss="sparse_categorical_crossentropy", units=3, activation="softmax", **arguments):
    model = nncore.Sequential([Input((4,)), Dense(units, activation=activation)])
    model.compile("adam", loss, **arguments)
    return model


def put(array, place, value):
    array = np.array(array, dtype=np.result_type(array, np.float32))
    array[place] = value
    return array


class Sparse:
    """Looks like a scipy.sparse matrix."""

    shape = (N, 4)

    def toarray(self):
        return X


X_CASES = {
    "rank 1": (X[:, 0], r"fit: x must have shape \(n, 4\); received shape \(12,\)"),
    "rank 3": (X[:, None], r"shape \(12, 1, 4\)\. Use x\.reshape\(len\(x\), 4\)"),
    "narrow": (X[:, :3], r"received shape \(12, 3\): 3 values a row instead of 4 values"),
    "wide": (np.zeros((N, 5)), r"received shape \(12, 5\): 5 values a row instead of 4"),
    "one row": (X[0], r"received shape \(4,\)|same number of rows; received 4 rows in x"),
    "number": (3.0, "x must be an array of rows; received one number, 3.0"),
    "empty": (X[:0], r"x has no rows \(shape \(0, 4\)\); give at least one"),
    "none": (None, r"fit: x is missing \(None\); give an array"),
    "strings": (X.astype(str), r"received strings \(dtype <U\d+, the first is '.*'\): turn text"),
    "bytes": (X.astype("S4"), "received byte strings"),
    "text": ("abc", "x must be an array; received str"),
    "objects": (X.astype(object), r"received Python objects .*x = numpy\.asarray\(x, 'float32'\)"),
    "complex": (X.astype(complex), r"received complex numbers .*such as x\.real"),
    "dates": (np.full((N, 4), datetime.date(2020, 1, 1), "M8[D]"), "received dates"),
    "records": (np.zeros(N, [("a", float), ("b", float)]), "received records .* stack the fields"),
    "ragged": ([[1, 2, 3, 4], [1, 2]] * 6, "cannot be made an array, its rows may differ"),
    "dict": ({"a": X}, "x must be an array; received dict. A model has one input"),
    "sparse": (Sparse(), r"must be a dense array; received Sparse: use x\.toarray\(\)"),
    "masked": (np.ma.masked_greater(X, 0), r"masked elements; fill them first: x\.filled\(0\)"),
    "nan": (put(X, (5, 2), np.nan), r"x must be finite; received nan in row 5, column 2\. Remove"),
    "inf": (put(X, (0, 3), -np.inf), "x must be finite; received -inf in row 0, column 3"),
    "half nan": (put(X, (5, 2), np.nan).astype("float16"), "nan in row 5, column 2"),
}


@pytest.mark.parametrize("case", X_CASES)
def test_x(case):
    x, text = X_CASES[case]
    model = network()
    before = model.parameters.copy()
    for call in (model.fit, model.train_on_batch, model.evaluate, model.test_on_batch):
        name = call.__name__
        with pytest.raises(ValueError, match=text.replace("fit:", f"{name}:")) as error:
            call(x, Y)
        assert str(error.value).startswith(f"{name}: x")
    np.testing.assert_array_equal(model.parameters, before)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("case", [c for c in X_CASES if c not in {"empty", "nan", "inf",
                                                                  "half nan"}])  # fmt: skip
def test_x_of_predict(case):
    x, _ = X_CASES[case]
    model = network()
    for call in (model.predict, model.predict_on_batch, model):
        with pytest.raises(ValueError, match=r"^(predict|predict_on_batch|call): x "):
            call(x)


def test_x_of_a_model_that_is_not_built():
    model = nncore.Sequential([Dense(3, activation="softmax", name="h")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    for x, text in (
        (X[:, 0], r"received shape \(12,\)\. For one input a row use x\.reshape\(-1, 1\)"),
        (X[:, None], r'"h": expected rows of rank 1.*Put Flatten\(\) before'),
        (X[:, :0], r"x has rows without values, shape \(12, 0\)"),
    ):
        with pytest.raises(ValueError, match=text):
            model.fit(x, Y)
        assert not model.built
    with pytest.raises(ValueError, match="labels in y must lie in"):
        model.fit(X, Y + 7)
    assert not model.built
    empty = nncore.Sequential([Input((4,))])
    empty.compile("sgd", "mse")
    with pytest.raises(ValueError, match="has no layers"):
        empty.fit(X, Y)


def test_nan_names_row_and_column_of_rows_with_shape():
    model = nncore.Sequential([Input((2, 2)), Flatten(), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = X.reshape(N, 2, 2).copy()
    x[4, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"received nan in row 4, column \(1, 0\)"):
        model.fit(x, Y)


def test_nonfinite_may_be_allowed():
    x = put(X, (5, 2), np.inf)
    model = network()
    with pytest.raises(ValueError, match=r'nncore\.config\.set_nonfinite\("warn"\)'):
        model.fit(x, Y)
    nncore.config.set_nonfinite("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, Y, verbose=0)
    assert str(caught[0].message) == "fit: x must be finite; received inf in row 5, column 2"
    assert caught[0].filename == __file__
    assert model.optimizer.iterations == 1
    nncore.config.set_nonfinite("ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the loss becomes NaN
        model.fit(x, Y, verbose=0)


LABEL_CASES = {
    "short": (Y[:-1], r"same number of rows; received 12 rows in x .* and 11 rows in y"),
    "number": (3, "received 12 rows in x .* and one number in y"),
    "none": (None, 'y is missing; loss "sparse_categorical_crossentropy" needs one target a row'),
    "too large": (put(Y, 7, 3), r"labels in y must lie in 0\.\.2, the last layer has 3 outputs; "
                  r"received 3 in row 7\. Labels that count from 1 need y - 1"),
    "far too large": (put(Y, 7, 30), r"received 30 in row 7\. Labels are the numbers of classes"),
    "negative": (put(Y, 2, -1), r"received -1 in row 2\. .* leave out rows that have none"),
    "fraction": (put(Y, 3, 0.5), r"wants integer labels in y; received 0\.5 in row 3"),
    "nan": (put(Y, 3, np.nan), r"wants integer labels in y; received nan in row 3"),
    "infinite": (put(Y, 3, np.inf), r"received inf in row 3"),
    "one-hot": (np.eye(3)[Y], r'shape \(12, 3\), which looks one-hot\. Use loss='
                r'"categorical_crossentropy", or y\.argmax\(axis=1\)'),
    "two columns": (np.zeros((N, 2)), r"shape \(n,\) or \(n, 1\); received shape \(12, 2\)"),
    "strings": (Y.astype(str), "y must be an array of real numbers; received strings"),
}  # fmt: skip


@pytest.mark.parametrize("case", LABEL_CASES)
def test_labels(case):
    y, text = LABEL_CASES[case]
    model = network()
    before = model.parameters.copy()
    for call in (model.fit, model.train_on_batch, model.evaluate):
        with pytest.raises(ValueError, match=text):
            call(X, y)
    np.testing.assert_array_equal(model.parameters, before)


DENSE_CASES = {
    "labels": ("categorical_crossentropy", 3, Y, r"wants one column a class in y, shape \(n, 3\); "
               r'.*use loss="sparse_categorical_crossentropy", or nncore\.utils\.to_categorical'),
    "labels for mse": ("mse", 3, Y, r"y must have shape \(n, 3\).*use Dense\(1\) as the last"),
    "columns": ("mse", 3, np.zeros((N, 2)), r"y must have shape \(n, 3\), one column an output"),
    "columns for one": ("mse", 1, np.zeros((N, 2)), r"For 2 targets use Dense\(2\)"),
    "above 1": ("binary_crossentropy", 1, Y, r"between 0 and 1; received 2\. Labels -1 and 1"),
    "below 0": ("binary_crossentropy", 1, 1 - 2 * (Y % 2), r"received -1\..*with \(y \+ 1\) / 2"),
    "counts": ("poisson", 1, Y - 1, "wants counts in y, at least 0; received -1"),
    "nan": ("mse", 1, put(Y, 4, np.nan), "fit: y must be finite; received nan in row 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", DENSE_CASES)
def test_dense_targets(case):
    loss, units, y, text = DENSE_CASES[case]
    model = network(loss, units, "sigmoid")
    with pytest.raises(ValueError, match=text):
        model.fit(X, y)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize(
    ("loss", "activation", "text"),
    [
        ("categorical_crossentropy", "softmax", "softmax over one output, which is always 1"),
        ("sparse_categorical_crossentropy", "softmax", "softmax over one output"),
        ("binary_crossentropy", "softmax", "softmax over one output"),
        ("categorical_crossentropy", "sigmoid", "needs one output a class"),
        ("sparse_categorical_crossentropy", None, "needs one output a class"),
    ],
)
def test_one_output(loss, activation, text):
    model = network(loss, 1, activation)
    with pytest.raises(ValueError, match=f'{text}.*loss="binary_crossentropy"'):
        model.fit(X, np.zeros(N))
    layered = nncore.Sequential([Input((4,)), Dense(1), Activation(activation or "linear")])
    layered.compile("sgd", loss)
    with pytest.raises(ValueError, match=text):
        layered.fit(X, np.zeros(N))


def test_logits_from_a_softmax():
    model = network(nncore.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.warns(UserWarning, match=r'expects raw outputs.*ends with "softmax"') as caught:
        model.fit(X, Y, verbose=0)
    assert caught[0].filename == __file__
    model.fit(X, Y, verbose=0)  # said once


def test_rows_of_outputs_are_needed():
    model = nncore.Sequential([Input((2, 2)), Rescaling(1.0, name="last")])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r'"last" gives rows of shape \(2, 2\)\. Add Flatten'):
        model.fit(X.reshape(N, 2, 2), X)


@pytest.mark.parametrize(
    ("metric", "loss", "text"),
    [
        ("categorical_accuracy", "sparse_categorical_crossentropy",
         'wants one row of targets, .* Use "sparse_categorical_accuracy"'),
        ("sparse_categorical_accuracy", "categorical_crossentropy",
         'wants integer labels, .* Use "categorical_accuracy"'),
        ("mae", "sparse_categorical_crossentropy", "Leave it out, or use a metric for class"),
    ],
)  # fmt: skip
def test_metric_and_loss_must_fit(metric, loss, text):
    model = network(loss, metrics=[metric])
    with pytest.raises(ValueError, match=text):
        model.fit(X, Y if loss.startswith("sparse") else np.eye(3)[Y])


WEIGHT_CASES = {
    "short": ({"sample_weight": np.ones(5)}, r"sample_weight must have shape \(12,\)"),
    "wide": ({"sample_weight": np.ones((N, 2))}, r"received shape \(12, 2\)"),
    "negative": ({"sample_weight": put(np.ones(N), 3, -1)}, r"at least 0; received -1\.0 in row 3"),
    "nan": ({"sample_weight": put(np.ones(N), 3, np.nan)}, "received nan in row 3"),
    "infinite": ({"sample_weight": put(np.ones(N), 3, np.inf)}, "received inf in row 3"),
    "text": ({"sample_weight": ["a"] * N}, "sample_weight must be an array of real numbers"),
    "list": ({"class_weight": [1, 2, 3]}, r"class_weight must be a dict such as \{0: 1\.0"),
    "unknown class": ({"class_weight": {3: 1.0}}, "has the class 3; classes are the integers 0"),
    "name": ({"class_weight": {"cat": 1.0}}, "has the class 'cat'"),
    "negative class": ({"class_weight": {0: -1}}, "weights of at least 0; received -1 for class 0"),
    "no number": ({"class_weight": {0: "a"}}, "received 'a' for class 0"),
}


@pytest.mark.parametrize("case", WEIGHT_CASES)
def test_weights(case):
    arguments, text = WEIGHT_CASES[case]
    model = network()
    for call in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match=text):
            call(X, Y, **arguments)
    assert model.optimizer.iterations == 0


FIT_CASES = {
    **{
        f"{name}={value!r}": ({name: value}, f"fit: {name} must be .*; received {name}={value!r}")
        for name in ("batch_size", "steps_per_epoch", "validation_steps", "validation_batch_size")
        for value in (0, -1, 2.5, "8", True)
    },
    "epochs": ({"epochs": -1}, "epochs must be an integer of at least 0; received epochs=-1"),
    "epochs 1.5": ({"epochs": 1.5}, r"epochs must be an integer of at least 0; received epochs=1"),
    "initial_epoch": ({"initial_epoch": -1}, "initial_epoch must be an integer of at least 0"),
    "split 1": ({"validation_split": 1.0}, "validation_split must be at least 0 and less than 1"),
    "split -1": ({"validation_split": -0.5}, "received validation_split=-0.5"),
    "split text": ({"validation_split": "a"}, "received validation_split='a'"),
    "split all": ({"validation_split": 0.99}, "leaves no row for training of the 12 in x"),
    "verbose": ({"verbose": 3}, 'verbose must be "auto", 0, 1 or 2; received 3'),
    "shuffle": ({"shuffle": "rows"}, 'shuffle must be True, False or "batch"'),
    "freq": ({"validation_freq": 0}, "validation_freq must be a positive integer"),
    "freqs": ({"validation_freq": [1, 0]}, "validation_freq must be a positive integer"),
    "validation x": ({"validation_data": X}, "validation_data must be .*; received ndarray"),
    "validation 4": ({"validation_data": (X, Y, Y, Y)}, "received a tuple of 4"),
    "validation rows": ({"validation_data": (X, Y[:3])},
                        "^fit: validation_data: x and y must have the same number of rows"),
    "validation width": ({"validation_data": (X[:, :2], Y)},
                         r"^fit: validation_data: x must have shape \(n, 4\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", FIT_CASES)
def test_arguments_of_fit(case):
    arguments, text = FIT_CASES[case]
    model = network()
    before = model.parameters.copy()
    begun = []
    with pytest.raises(ValueError, match=text):
        model.fit(
            X, Y, callbacks=[LambdaCallback(on_train_begin=lambda logs: begun.append(1))],
            **arguments,
        )  # fmt: skip
    assert not begun
    np.testing.assert_array_equal(model.parameters, before)


def test_callbacks_must_be_callbacks():
    with pytest.raises(TypeError, match="callbacks must be"):
        network().fit(X, Y, callbacks=[print])


def test_before_compile():
    model = nncore.Sequential([Input((4,)), Dense(3)])
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=r"call compile\(optimizer, loss\) before"):
            call(X, Y)
    model.compile("sgd")
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match='needs a loss; give one to compile, such as loss="ms'):
            call(X, Y)


BATCH_CASES = {
    "y": (lambda: iter([(X, Y)]), {"y": Y}, "x yields batches .* so y and sample_weight must be"),
    "split": (lambda: iter([(X, Y)]), {"validation_split": 0.5}, "validation_split needs arrays"),
    "nothing": (lambda: iter([]), {}, "x has no batches; give an iterator that yields at least"),
    "four": (lambda: iter([(X, Y, Y, Y)]), {}, "a batch must be .*; received a tuple of 4"),
    "no y": (lambda: iter([X]), {}, "y is missing"),
    "width": (lambda: iter([(X[:, :2], Y)]), {}, r"x must have shape \(n, 4\)"),
}


@pytest.mark.parametrize("case", BATCH_CASES)
def test_batches(case):
    make, arguments, text = BATCH_CASES[case]
    model = network()
    with pytest.raises(ValueError, match=text):
        model.fit(make(), **arguments)
    assert model.optimizer.iterations == 0


def test_a_bad_batch_later_on():
    model = network()
    with pytest.raises(ValueError, match=r"fit: labels in y must lie in 0\.\.2"):
        model.fit(iter([(X, Y), (X, Y + 1)]), verbose=0)
    assert model.optimizer.iterations == 1


def test_batch_size_with_a_data_set():
    class Dataset:
        def __len__(self):
            return 1

        def __getitem__(self, i):
            return X, Y

    with pytest.raises(ValueError, match="which have their own size; received batch_size=4"):
        network().fit(Dataset(), batch_size=4)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.evaluate(X, Y, batch_size=0), "evaluate: batch_size must be a positive"),
        (lambda m: m.evaluate(X, Y, steps=-1), "evaluate: steps must be a positive integer"),
        (lambda m: m.evaluate(iter([(X, Y)]), Y), "evaluate: x yields batches"),
        (lambda m: m.evaluate(X, Y, verbose="loud"), "evaluate: verbose must be"),
        (lambda m: m.predict(X, batch_size=0), "predict: batch_size must be a positive integer"),
        (lambda m: m.predict(X, steps=0), "predict: steps must be a positive integer"),
        (lambda m: m.predict(X, verbose=-1), "predict: verbose must be"),
    ],
)
def test_arguments_of_evaluate_and_predict(call, text):
    with pytest.raises(ValueError, match=text):
        call(network())


def test_learning_rate_that_is_not_finite():
    with pytest.raises(ValueError, match="learning_rate must be a finite number"):
        nncore.optimizers.SGD(float("nan"))
    model = nncore.Sequential([Input((4,)), Dense(3, activation="softmax")])
    model.compile(nncore.optimizers.SGD(lambda step: 0.1 if step < 1 else float("nan")),
                  "sparse_categorical_crossentropy")  # fmt: skip
    with pytest.raises(ValueError, match=r"gave nan at step 1"):
        model.fit(X, Y, batch_size=4, verbose=0)
    assert model.optimizer.iterations == 0


def test_numbers_beyond_the_models_dtype():
    model = nncore.Sequential([nncore.Input((2,)), nncore.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((5, 2))
    x[3, 1] = 1e39
    with pytest.raises(
        ValueError, match=r"x must be finite in float32; received 1e\+39 in row 3, c"
    ):
        model.fit(x, np.ones(5), verbose=0)
    with pytest.raises(ValueError, match="y must be finite in float32"):
        model.fit(np.ones((5, 2)), -x[:, 1], verbose=0)
    assert model.optimizer.iterations == 0


def test_counters_of_kernels():
    for call in (
        lambda: nncore.kernels.dropout([[1.0]], 0.5, seed=-1),
        lambda: nncore.kernels.dropout([[1.0]], 0.5, iteration=2**70),
        lambda: nncore.kernels.permutation(5, seed=2**64),
        lambda: nncore.kernels.permutation(5, epoch=-1),
    ):
        with pytest.raises(ValueError, match=r"must be (an integer >= 0|less than 2)"):
            call()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Dense(2, use_bias="no"), 'use_bias must be True or False; received use_bias="no"'),
        (lambda: Dense(2, trainable="x"), "trainable must be True or False"),
        (lambda: nncore.optimizers.Adam(amsgrad="x"), "Adam: amsgrad must be True or False"),
        (lambda: nncore.optimizers.SGD(nesterov=2), "SGD: nesterov must be True or False"),
        (lambda: nncore.Sequential(5), "layers must be a list of layers; received 5"),
        (lambda: setattr(nncore.optimizers.SGD(), "iterations", 1.5), "iterations must be an int"),
        (lambda: setattr(nncore.optimizers.SGD(), "iterations", -1), "iterations must be an int"),
        (lambda: setattr(nncore.optimizers.SGD(), "iterations", 2**62), "less than 2"),
        (lambda: nncore.callbacks.CSVLogger("f", separator=""), "separator must be one character"),
        (lambda: trained().set_weights(None), "expected a list of arrays, as get_weights returns"),
        (lambda: trained().get_layer(index="a"), "index must be an integer; received index='a'"),
        (
            lambda: trained().set_weights([np.full((2, 1), 1e300), [0.0]]),
            "expected numbers that are finite in float32 for",
        ),
    ],
)
def test_wrong_kinds_of_arguments(call, text):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert text.replace('"', "'") in str(caught.value).replace('"', "'")


def trained():
    return nncore.Sequential([nncore.Input((2,)), Dense(1)])


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("layers", "Dens", 'did you mean "Dense"? It has Activation, Dense, '),
        ("layers", "BatchNormalization", "It has Activation, Dense, "),
        ("losses", "MeanSquareError", 'did you mean "MeanSquaredError"?'),
        ("metrics", "accuracy_", 'did you mean "Accuracy"?'),
        ("optimizers", "Adma", 'did you mean "Adam"?'),
        ("callbacks", "EarlyStop", 'did you mean "EarlyStopping"?'),
        ("initializers", "GlorotUnifrm", 'did you mean "GlorotUniform"?'),
        ("activations", "rleu", 'did you mean "relu"?'),
        ("regularizers", "L3", "It has L1, L1L2, L2, "),
        ("", "Sequental", 'did you mean "Sequential"?'),
    ],
)
def test_a_name_that_a_module_lacks(module, name, said):
    where = getattr(nncore, module) if module else nncore
    with pytest.raises(AttributeError) as caught:
        getattr(where, name)
    text = str(caught.value)
    assert text.startswith(f"module '{where.__name__}' has no attribute '{name}'")
    assert said in text
    assert text.endswith("(nncore is the part of Keras for dense networks)")
    assert not hasattr(where, "__nothing__")


@pytest.mark.parametrize(
    "method", ["compile", "fit", "evaluate", "predict", "train_on_batch", "summary", "save"]
)
def test_an_unknown_argument_names_the_class_that_users_know(method):
    with pytest.raises(TypeError, match=rf"Sequential\.{method}\(\) got an unexpected keyword"):
        getattr(network(), method)(colour="red")


def test_a_list_of_one_array_is_met_with_what_to_do():
    with pytest.raises(ValueError, match=r"\(1, 12, 4\)\. Is it a list of one array\? Give the"):
        network().predict([X])
