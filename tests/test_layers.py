"""Layers: configuration, shapes, names, parameters."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

import nncore
from nncore import activations, initializers, layers, regularizers
from nncore.layers import (
    ELU,
    Activation,
    Dense,
    Dropout,
    Flatten,
    Input,
    InputLayer,
    LeakyReLU,
    ReLU,
    Rescaling,
    Softmax,
)


@pytest.fixture(autouse=True)
def _fresh():
    layers.reset_names()
    nncore.set_random_seed(1)
    yield
    nncore.config.set_floatx("float32")


# --- names ---


def test_automatic_names_are_keras_s():
    assert [Dense(1).name for _ in range(3)] == ["dense", "dense_1", "dense_2"]
    assert ReLU().name == "re_lu"
    assert LeakyReLU().name == "leaky_re_lu"
    assert ELU().name == "elu"
    assert Input((3,)).name == "input_layer"
    assert nncore.Sequential().name == "sequential"
    assert nncore.Sequential().name == "sequential_1"


@pytest.mark.parametrize("name", ["", "a/b", 7])
def test_bad_name(name):
    with pytest.raises(ValueError, match="Dense: name must be a non-empty string without '/'"):
        Dense(1, name=name)


# --- Dense ---


def test_dense_defaults():
    layer = Dense(3)
    assert layer.units == 3
    assert layer.activation == activations.get("linear")
    assert layer.use_bias is True
    assert isinstance(layer.kernel_initializer, initializers.GlorotUniform)
    assert isinstance(layer.bias_initializer, initializers.Zeros)
    assert layer.kernel_regularizer is layer.bias_regularizer is layer.activity_regularizer is None
    assert layer.dtype == "float32"
    assert layer.trainable
    assert not layer.built


def test_dense_builds_with_keras_shapes():
    layer = Dense(3)
    layer.build((None, 5))
    assert layer.built
    assert layer.input_shape == (5,)
    assert layer.output_shape == (3,)
    assert [(p.name, p.shape) for p in layer.parameters] == [("kernel", (5, 3)), ("bias", (3,))]
    assert layer.kernel.shape == (5, 3)
    assert not layer.bias.any()
    assert layer.count_params() == 18
    assert layer.compute_output_shape((None, 5)) == (None, 3)


def test_dense_without_bias():
    layer = Dense(3, use_bias=False)
    layer.build((None, 5))
    assert layer.bias is None
    assert len(layer.get_weights()) == 1
    with pytest.raises(ValueError, match="has no bias"):
        layer.bias = np.zeros(3)


def test_kernel_before_build():
    with pytest.raises(ValueError, match=r'Dense "dense" has no kernel yet: .*Input\(shape\)'):
        Dense(3).kernel  # noqa: B018


@pytest.mark.parametrize("units", [0, -1, 1.5, True, "3", None])
def test_bad_units(units):
    with pytest.raises(ValueError, match="units must be") as error:
        Dense(units, name="hidden")
    assert str(error.value) == (
        f'Dense "hidden": units must be a positive integer; received units={units!r}'
    )


def test_unknown_names_list_known_and_nearest():
    with pytest.raises(ValueError, match=r'Dense "h": unknown activation "rellu": did you mean'):
        Dense(1, activation="rellu", name="h")
    with pytest.raises(ValueError, match=r'Dense "h": unknown initializer "he_norml"'):
        Dense(1, kernel_initializer="he_norml", name="h")
    with pytest.raises(ValueError, match=r'Dense "h": unknown regularizer "l3"'):
        Dense(1, kernel_regularizer="l3", name="h")


@pytest.mark.parametrize(
    "argument",
    ["kernel_constraint", "bias_constraint", "lora_rank", "lora_alpha", "quantization_config"],
)
def test_what_dense_does_not_have(argument):
    Dense(1, **{argument: None})
    with pytest.raises(ValueError, match=f"{argument} is not supported, leave it None"):
        Dense(1, **{argument: 4})


def test_dense_needs_rank_two():
    with pytest.raises(ValueError, match=r'"h": expected rows of rank 1.*\(8, 8\)\. Put Flatten'):
        nncore.Sequential([Input((8, 8)), Dense(3, name="h")])


def test_dense_takes_an_activation_layer():
    assert Dense(1, activation=LeakyReLU(0.1)).activation == activations.Activation(
        "leaky_relu", 0.1
    )


def test_legacy_input_arguments():
    assert nncore.Sequential([Dense(3, input_shape=(5,))]).built
    assert nncore.Sequential([Dense(3, input_dim=5)]).input_shape == (None, 5)
    with pytest.raises(ValueError, match="input_shape or input_dim, not both"):
        Dense(3, input_shape=(5,), input_dim=5)
    with pytest.raises(ValueError, match=r"write input_shape=\(5,\)"):
        Dense(3, input_shape=5)


def test_another_input_after_build():
    layer = Dense(3, name="h")
    layer.build((None, 5))
    with pytest.raises(ValueError, match=r'"h" was built for inputs of shape \(5,\)'):
        layer.build((None, 6))


@pytest.mark.parametrize("dtype", ["float16", "int32", "mixed_float16", complex])
def test_bad_dtype(dtype):
    with pytest.raises(ValueError, match='dtype must be one of "float32", "float64"'):
        Dense(1, dtype=dtype)


def test_floatx_and_dtype():
    assert Dense(1, dtype=np.float64).dtype == "float64"
    nncore.config.set_floatx("float64")
    layer = Dense(1)
    layer.build((None, 2))
    assert layer.kernel.dtype == np.float64


# --- weights ---


def test_weights_of_a_layer():
    layer = Dense(2, name="h")
    layer.build((None, 3))
    w, b = np.arange(6.0).reshape(3, 2), np.array([1.0, 2.0])
    layer.set_weights([w, b])
    np.testing.assert_array_equal(layer.kernel, w)
    np.testing.assert_array_equal(layer.get_weights()[1], b)
    layer.kernel *= 2
    np.testing.assert_array_equal(layer.kernel, 2 * w)
    layer.kernel = w
    np.testing.assert_array_equal(layer.kernel, w)
    with pytest.raises(ValueError, match=r'"h": set_weights expected 2 arrays \(h/kernel'):
        layer.set_weights([w])
    with pytest.raises(ValueError, match=r"expected shape \(2,\) for h/bias; received shape \(3,"):
        layer.set_weights([w, np.zeros(3)])
    with pytest.raises(ValueError, match="expected real numbers for h/kernel"):
        layer.set_weights([w.astype(str), b])
    with pytest.raises(ValueError, match=r"h/kernel: expected an array of shape \(3, 2\)"):
        layer.kernel = np.zeros((2, 3))


def test_trainable():
    layer = Dense(2, trainable=False)
    layer.build((None, 3))
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == len(layer.weights) == 2
    layer.trainable = True
    assert len(layer.trainable_weights) == 2


def test_parameters_are_array_like():
    layer = Dense(2)
    layer.build((None, 3))
    kernel = layer.weights[0]
    np.testing.assert_array_equal(np.asarray(kernel), layer.kernel)
    kernel.assign(np.ones((3, 2)))
    assert layer.kernel.sum() == 6
    assert kernel.numpy() is not kernel.value
    assert repr(kernel) == "<Parameter dense/kernel shape=(3, 2) dtype=float32>"


def test_same_seed_same_weights():
    made = []
    for _ in range(2):
        nncore.set_random_seed(5)
        layer = Dense(4)
        layer.build((None, 3))
        made.append(layer.kernel)
    np.testing.assert_array_equal(*made)


def test_bad_initializer_output():
    with pytest.raises(ValueError, match=r'"h": kernel_initializer must return shape \(3, 2\)'):
        Dense(2, kernel_initializer=lambda shape, dtype: np.zeros(3), name="h").build((None, 3))


# --- the other layers ---


def test_input():
    layer = Input((28, 28), batch_size=4, dtype="uint8", name="pixels")
    assert isinstance(layer, InputLayer)
    assert layer.batch_shape == (4, 28, 28)
    assert layer.output_shape == (28, 28)
    assert Input(batch_shape=(None, 3)).shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"shape": 784}, r"For rows of 784 numbers write shape=\(784,\)"),
        ({"shape": ()}, "shape must be a tuple of at least one positive integer"),
        ({"shape": (None,)}, "each size in shape must be known"),
        ({"shape": (3, -1)}, "shape must be a positive integer; received shape=-1"),
        ({}, "shape is missing"),
        ({"shape": (3,), "sparse": True}, "sparse is not supported"),
        ({"shape": (3,), "batch_shape": (1, 3)}, "give shape or batch_shape, not both"),
    ],
)
def test_bad_input_layer(arguments, text):
    with pytest.raises(ValueError, match=text):
        Input(**arguments)


def test_activation_layers():
    assert Activation("tanh").activation.name == "tanh"
    assert ReLU().activation.name == "relu"
    assert ReLU(max_value=6).activation.name == "relu6"
    assert ReLU(negative_slope=0.1).activation == activations.Activation("leaky_relu", 0.1)
    assert LeakyReLU().activation.alpha == 0.3  # Keras's layer; its function has 0.2
    assert ELU().activation == activations.Activation("elu", 1.0)
    assert Softmax().activation.name == "softmax"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ReLU(max_value=5), "max_value must be None, or 6"),
        (lambda: ReLU(threshold=1.0), "threshold is not supported"),
        (lambda: ReLU(negative_slope=-1), "negative_slope must be at least 0"),
        (lambda: LeakyReLU(-0.1), "negative_slope must be at least 0"),
        (lambda: ELU(-1.0), "alpha must be at least 0"),
        (lambda: ELU("a"), "alpha must be a finite number; received alpha='a'"),
        (lambda: Softmax(axis=0), "axis must be -1"),
        (lambda: Activation("nope"), r'Activation "activation": unknown activation "nope"'),
        (lambda: Flatten("channels_first"), "data_format must be None"),
        (lambda: Rescaling(float("nan")), "scale must be a finite number; received scale=nan"),
        (lambda: Dropout(1.0), "rate must be at least 0 and less than 1"),
        (lambda: Dropout(-0.1), "rate must be at least 0 and less than 1"),
        (lambda: Dropout(0.5, noise_shape=(1,)), "noise_shape is not supported"),
        (lambda: Dropout(0.5, seed=-1), "seed must be None or an integer from 0 to 2"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_softmax_needs_rank_two():
    with pytest.raises(ValueError, match="softmax expects rows of rank 1"):
        nncore.Sequential([Input((2, 3)), Softmax()])


def test_flatten_shape():
    assert Flatten().compute_output_shape((None, 4, 5)) == (None, 20)


def test_dropout_seed_is_drawn_from_the_stream():
    nncore.set_random_seed(3)
    first = Dropout(0.5).seed
    nncore.set_random_seed(3)
    assert Dropout(0.5).seed == first
    assert Dropout(0.5, seed=7).seed == 7


def test_layers_are_not_called():
    with pytest.raises(TypeError, match=r"cannot be called.*nncore\.Sequential"):
        Dense(1)(np.zeros((1, 1)))


# --- configuration ---

EXAMPLES = [
    Input((4, 5), name="i"),
    Dense(
        3,
        activation="gelu",
        use_bias=False,
        kernel_initializer=initializers.HeNormal(seed=3),
        kernel_regularizer=regularizers.L1L2(0.1, 0.2),
        activity_regularizer="l2",
        name="d",
        dtype="float64",
        trainable=False,
    ),
    Dense(2, activation=LeakyReLU(0.25), bias_initializer="ones", bias_regularizer="l1", name="e"),
    Activation("softplus", name="a"),
    ReLU(max_value=6, name="r"),
    LeakyReLU(0.2, name="l"),
    ELU(0.5, name="u"),
    Softmax(name="s"),
    Flatten(name="f"),
    Rescaling(1 / 255, -0.5, name="c"),
    Dropout(0.25, name="o"),
]


def test_every_layer_has_an_example():
    assert {type(e).__name__ for e in EXAMPLES} == set(layers.LAYERS)


@pytest.mark.parametrize("layer", EXAMPLES, ids=lambda e: type(e).__name__)
def test_config_round_trip(layer):
    described = json.loads(json.dumps(layers.serialize(layer)))
    again = layers.deserialize(described)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    assert again.name == layer.name


def test_deserialize_unknown_layer():
    with pytest.raises(ValueError, match='unknown layer "Dens": did you mean "Dense"'):
        layers.deserialize({"class_name": "Dens", "config": {}})
    with pytest.raises(ValueError, match="must be a mapping with class_name"):
        layers.deserialize({"config": {}})
    with pytest.raises(ValueError, match="Dense: this configuration does not fit"):
        layers.deserialize({"class_name": "Dense", "config": {"unts": 3}})


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copy_of_a_layer_is_its_own(how):
    model = nncore.Sequential([Input((3,)), Dense(2)])
    layer = model.layers[0]
    other = copy.deepcopy(layer) if how == "deepcopy" else pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(other.kernel, layer.kernel)
    before = layer.kernel.copy()
    other.kernel[...] = 0
    np.testing.assert_array_equal(layer.kernel, before)
    assert other.owner is None
    nncore.Sequential([Input((3,)), other])


def test_a_new_rate_of_dropout_takes_effect():
    x, y = np.ones((4000, 1)), np.zeros((4000, 1))
    model = nncore.Sequential([nncore.Input((1,)), layers.Dropout(0.0), layers.Dense(1)])
    model.compile(nncore.optimizers.SGD(0.0), "mse")
    model.set_weights([[[1.0]], [0.0]])
    assert model.train_on_batch(x, y) == pytest.approx(1)
    model.layers[0].rate = 0.75
    assert model.train_on_batch(x, y) == pytest.approx(4, rel=0.2)
