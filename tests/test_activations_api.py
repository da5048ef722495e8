"""Activations by name and as functions.  Their formulas are tested with the kernels."""

from __future__ import annotations

import functools
import inspect
import pickle

import numpy as np
import pytest

from nncore import activations, config, kernels
from nncore.activations import Activation, get


def test_every_kernel_is_a_function_here():
    reachable = set(activations._FUNCTIONS.values()) | {"gelu_tanh"}
    assert reachable == set(kernels.activations())
    for name in reachable - {"gelu_tanh"}:
        assert name in activations.__all__


@pytest.mark.parametrize("name", sorted(activations._FUNCTIONS.values()))
def test_function_name_and_object_agree(name):
    x = np.array([[-3.0, -0.5, 0.0], [0.25, 2.0, 7.0]], dtype=np.float32)
    function = getattr(activations, name)
    expected = np.asarray(kernels.activate(name, x))
    np.testing.assert_array_equal(function(x), expected)
    np.testing.assert_array_equal(get(name)(x), expected)
    np.testing.assert_array_equal(get(function)(x), expected)
    assert get(name).name == name
    assert get(Activation(name)) == Activation(name)


def test_keras_examples():
    x = [-10.0, -5.0, 0.0, 5.0, 10.0]
    assert activations.relu(x).tolist() == [0, 0, 0, 5, 10]
    assert activations.relu(x, negative_slope=0.5).tolist() == [-5, -2.5, 0, 5, 10]
    assert activations.relu(x, max_value=6).tolist() == [0, 0, 0, 5, 6]
    np.testing.assert_allclose(activations.leaky_relu(x), [-2, -1, 0, 5, 10], rtol=1e-6)
    np.testing.assert_allclose(activations.elu([-1.0, 1.0], alpha=2.0), [-1.264241, 1], rtol=1e-6)
    np.testing.assert_allclose(
        activations.gelu([-3.0, -1.0, 0.0, 1.0, 3.0], approximate=True),
        [-0.00363752, -0.15880796, 0.0, 0.841192, 2.9963627],
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        activations.gelu([-3.0, -1.0, 0.0, 1.0, 3.0]),
        [-0.00404951, -0.15865529, 0.0, 0.8413447, 2.9959507],
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        activations.softplus([-20.0, -1.0, 0.0, 1.0, 20.0]),
        [2.0611537e-09, 3.1326166e-01, 6.9314718e-01, 1.3132616e00, 2.0e01],
        rtol=1e-5,
    )
    assert activations.swish is activations.silu


def test_shapes_and_dtypes():
    for shape in [(), (3,), (2, 3), (2, 3, 4), (0, 3)]:
        x = np.ones(shape, dtype=np.float64)
        y = activations.tanh(x)
        assert y.shape == shape
        assert y.dtype == np.float64
    assert activations.tanh([1, 2]).dtype == np.float32
    assert activations.sigmoid(np.uint8(3)).dtype == np.float32
    config.set_floatx("float64")
    try:
        assert activations.tanh([1, 2]).dtype == np.float64
    finally:
        config.set_floatx("float32")
    strided = np.arange(12.0).reshape(3, 4).T[::2]
    # (NumPy's own strided loops read the wrong numbers on some emulators.)
    np.testing.assert_allclose(activations.tanh(strided), np.tanh(strided.copy()), rtol=1e-12)


def test_softmax_axes():
    x = np.random.default_rng(1).normal(size=(3, 4, 5))
    for axis in (0, 1, 2, -1):
        y = activations.softmax(x, axis=axis)
        assert y.shape == x.shape
        np.testing.assert_allclose(y.sum(axis=axis), 1.0, rtol=1e-12)
        assert np.array_equal(y.argmax(axis=axis), x.argmax(axis=axis))
    with pytest.raises(ValueError, match="x must have at least one dimension"):
        activations.softmax(1.0)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (None, Activation("linear")),
        ("swish", Activation("silu")),
        ("leaky_relu", Activation("leaky_relu", 0.2)),
        ("elu", Activation("elu", 1.0)),
        ("gelu", Activation("gelu")),
        ("gelu_tanh", Activation("gelu_tanh")),
        (functools.partial(activations.gelu, approximate=True), Activation("gelu_tanh")),
        (functools.partial(activations.relu, negative_slope=0.1), Activation("leaky_relu", 0.1)),
        (functools.partial(activations.relu, max_value=6.0), Activation("relu6")),
        (functools.partial(activations.elu, alpha=0.5), Activation("elu", 0.5)),
        (functools.partial(activations.tanh), Activation("tanh")),
        ({"class_name": "elu", "config": {"alpha": 0.5}}, Activation("elu", 0.5)),
        ({"class_name": "function", "config": "relu"}, Activation("relu")),
        (
            {"module": "builtins", "class_name": "function", "config": "silu",
             "registered_name": "function"},
            Activation("silu"),
        ),
    ],
)  # fmt: skip
def test_get(identifier, expected):
    assert get(identifier) == expected
    assert hash(get(identifier)) == hash(expected)


@pytest.mark.parametrize(
    "activation",
    [Activation(n) for n in kernels.activations() if n not in ("leaky_relu", "elu")]
    + [Activation("leaky_relu", a) for a in (0.2, 0.3)]
    + [Activation("elu", a) for a in (1.0, 0.3)],
    ids=repr,
)
def test_round_trips(activation):
    assert activations.deserialize(activations.serialize(activation)) == activation
    assert pickle.loads(pickle.dumps(activation)) == activation


def test_repr_and_frozen():
    assert repr(get("elu")) == "<activation elu(alpha=1)>"
    assert repr(get("tanh")) == "<activation tanh>"
    with pytest.raises((AttributeError, TypeError)):
        get("tanh").name = "relu"


def test_signatures_are_keras():
    def of(f):
        return {n: p.default for n, p in inspect.signature(f).parameters.items() if n != "x"}

    assert of(activations.relu) == {"negative_slope": 0.0, "max_value": None, "threshold": 0.0}
    assert of(activations.leaky_relu) == {"negative_slope": 0.2}
    assert of(activations.elu) == {"alpha": 1.0}
    assert of(activations.gelu) == {"approximate": False}
    assert of(activations.softmax) == {"axis": -1}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: get("rellu"), r'^unknown activation "rellu": did you mean "relu"\? Known: elu, '),
        (lambda: get(lambda x: x), "an own Python function cannot run inside a compiled step"),
        (lambda: get(np.tanh), "activation must be one of the known names"),
        (lambda: get(3), "activation must be one of the known names"),
        (lambda: get({"class_name": "elu", "config": {"a": 1}}), "does not take these arguments"),
        (lambda: get({"config": {}}), "the configuration of an activation must be a name or"),
        (lambda: get(functools.partial(activations.elu, [1.0])), "must leave x open"),
        (lambda: activations.relu([1.0], max_value=5), r"relu: offered are relu\(x\)"),
        (lambda: activations.relu([1.0], threshold=1.0), "threshold=1.0$"),
        (lambda: activations.elu([1.0], alpha=-1), "elu: alpha must be a finite number >= 0"),
        (lambda: activations.leaky_relu([1.0], float("nan")), "leaky_relu: negative_slope must be"),
        (lambda: activations.tanh(["a"]), "tanh: x must be an array of real numbers; received dt"),
        (lambda: activations.tanh([[1], [1, 2]]), "tanh: x must be .* different lengths"),
        (lambda: activations.tanh(1j), "tanh: x must be an array of real numbers"),
        (
            lambda: get(functools.partial(activations.softmax, axis=0)),
            "softmax: in a layer, axis must be -1",
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises((TypeError, ValueError), match=text):
        make()


def test_custom_objects():
    custom = {"mine": functools.partial(activations.elu, alpha=0.5)}
    assert activations.deserialize("mine", custom) == Activation("elu", 0.5)
