"""The runs that nncore and Keras 3 must agree on.

Every case is written once, for a module ``k`` that is ``keras`` or ``nncore``: the same
lines build the model, compile it and train it for 18 steps.  Weights and data are given,
from integers of a seeded generator, so the two differ in arithmetic alone.

``make_keras_golden.py`` runs the cases with Keras and records what came out;
``tests/test_keras_golden.py`` runs them with nncore and compares.  A case that is added or
changed here needs a new recording.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Make = Callable[[Any], Any]

#: Rows of one batch, and of all data: five full batches and a shorter one, 6 steps an epoch.
BATCH = 8
ROWS = 5 * BATCH + 4
EPOCHS = 3
STEPS = 18

#: A case agrees where |nncore - Keras| <= tolerance * (1 + |Keras|).
TOLERANCE = {"float32": 2e-4, "float64": 1e-11}
#: The same for float64 where hard_sigmoid is in use: PyTorch's factor 1/6 has float32's digits.
HARD_SIGMOID_TOLERANCE = 1e-7
#: What a variant's weights must differ by from those of its base case, at least, so that
#: leaving the variant out could not pass.
DISTINCT = 2e-3

ACTIVATIONS: tuple[str, ...] = (
    "linear", "sigmoid", "tanh", "relu", "softmax", "leaky_relu", "elu", "selu", "gelu",
    "silu", "swish", "softplus", "softsign", "mish", "exponential", "hard_sigmoid", "relu6",
    "log_sigmoid",
)  # fmt: skip


# --- data ---


def _uniform(seed: int, *shape: int) -> Array:
    """Return numbers in [-1, 1) from integers alone: the same on every platform."""
    integers = np.random.RandomState(seed).randint(0, 2**20, size=shape)
    values: Array = integers / 2.0**19 - 1.0
    return values


def _features(rows: int, columns: int = 6) -> Array:
    return 2.0 * _uniform(1, rows, columns)


def _scores(rows: int, columns: int) -> Array:
    """Return numbers that depend on the features, so that there is something to learn."""
    x = _features(rows)
    scores: Array = x @ _uniform(2, 6, columns) + 0.5 * _uniform(3, rows, columns)
    return scores


def _one_hot(labels: Array, classes: int) -> Array:
    return np.eye(classes)[labels]


def _targets(kind: str, rows: int) -> Array:
    labels: Array = _scores(rows, 4).argmax(axis=1)
    if kind == "real":
        return _scores(rows, 3) / 2.0
    if kind == "real_vector":
        return _scores(rows, 1)[:, 0] / 2.0
    if kind == "counts":
        return np.clip(np.rint(_scores(rows, 3) + 1.5), 0.0, 5.0)
    if kind == "bits":
        return (_scores(rows, 1) > 0.0).astype(np.int64)
    if kind == "bits_vector":
        return (_scores(rows, 1)[:, 0] > 0.0).astype(np.int64)
    if kind == "bits3":
        return (_scores(rows, 3) > 0.0).astype(np.float64)
    if kind == "labels":
        return labels.astype(np.int64)
    if kind == "labels_column":
        return labels.astype(np.int64)[:, None]
    if kind == "labels2":
        return (_scores(rows, 1)[:, 0] > 0.0).astype(np.int64)
    if kind == "one_hot":
        return _one_hot(labels, 4)
    if kind == "shares":  # rows of shares that sum to 1
        share = np.abs(_uniform(4, rows, 4)) + 0.05
        share /= share.sum(axis=1, keepdims=True)
        return share
    if kind == "several":  # rows that do not sum to 1
        return _one_hot(labels, 4) + _one_hot((labels + 1) % 4, 4)
    raise ValueError(f"unknown kind of targets: {kind!r}")


def _row_weights(rows: int) -> Array:
    """Return weights in [0.25, 1.75), every seventh 0."""
    weights = 1.0 + 0.75 * _uniform(5, rows)
    weights[::7] = 0.0
    return weights


# --- cases ---


def _plain_layers(k: Any) -> list[Any]:
    dense = k.layers.Dense
    return [dense(8, activation="tanh"), dense(3)]


def _sgd(k: Any) -> Any:
    return k.optimizers.SGD(learning_rate=0.05)


@dataclass(frozen=True)
class Case:
    """One training run.

    Attributes
    ----------
    name : str
    layers : callable
        Takes ``k``, returns the layers behind the Input.
    optimizer, loss : callable or str
        What ``compile`` gets, or a function of ``k`` that returns it.
    targets : str
        Kind of targets, see ``_targets``.
    metrics, weighted_metrics : callable
        Take ``k``, return lists.
    sample_weight : bool
        Whether ``fit`` and ``evaluate`` get a weight for each row.
    weight_factor : float
        Factor of these weights.
    fit : mapping
        More arguments of ``fit``.
    validation : bool
        Whether ``fit`` gets ``validation_data``.
    extra_rows : int
        Rows that ``fit`` takes away again (validation_split).
    images : bool
        Integer images (3, 4) of 0..255 instead of six real features.
    by_batch : bool
        Train with ``train_on_batch`` instead of ``fit``.
    scale : float
        Factor of the initial kernels.
    differs_from : str
        A case whose result must be another, see ``DISTINCT``.
    dtypes : tuple of str
    """

    name: str
    layers: Make = _plain_layers
    optimizer: Make | str = _sgd
    loss: Make | str = "mse"
    targets: str = "real"
    metrics: Callable[[Any], list[Any]] = lambda k: []
    weighted_metrics: Callable[[Any], list[Any]] | None = None
    sample_weight: bool = False
    weight_factor: float = 1.0
    fit: Mapping[str, Any] = field(default_factory=dict)
    validation: bool = False
    extra_rows: int = 0
    images: bool = False
    by_batch: bool = False
    scale: float = 1.0
    differs_from: str = ""
    dtypes: tuple[str, ...] = ("float32", "float64")


def _activation_cases() -> list[Case]:
    cases = []

    def hidden(activation: Make) -> Make:
        def layers(k: Any) -> list[Any]:
            dense = k.layers.Dense
            return [
                dense(8, activation=activation(k)),
                dense(5, activation=activation(k)),
                dense(3),
            ]

        return layers

    def as_layer(activation: Make) -> Make:
        def layers(k: Any) -> list[Any]:
            return [k.layers.Dense(8), k.layers.Activation(activation(k)), k.layers.Dense(3)]

        return layers

    def at_the_end(activation: Make) -> Make:
        def layers(k: Any) -> list[Any]:
            dense = k.layers.Dense
            return [dense(8, activation="tanh"), dense(3, activation=activation(k))]

        return layers

    def named(name: str) -> Make:
        return lambda k: name

    kinds: dict[str, Make] = {name: named(name) for name in ACTIVATIONS}
    kinds |= {
        "gelu_approximate": lambda k: functools.partial(k.activations.gelu, approximate=True),
        "leaky_relu_slope": lambda k: functools.partial(
            k.activations.leaky_relu, negative_slope=0.05
        ),
        "elu_alpha": lambda k: functools.partial(k.activations.elu, alpha=0.5),
    }
    for name, activation in kinds.items():
        # Wide inputs reach the saturated ends of relu6, hard_sigmoid and the like.
        wide, narrow = (1.0, 0.25) if name == "exponential" else (3.0, 1.0)
        cases += [
            Case(f"activation_{name}", hidden(activation), scale=narrow),
            Case(f"activation_layer_{name}", as_layer(activation), scale=wide, optimizer=_slow),
            Case(f"activation_output_{name}", at_the_end(activation)),
        ]

    layer_kinds: dict[str, Make] = {
        "relu": lambda k: k.layers.ReLU(),
        "relu_6": lambda k: k.layers.ReLU(max_value=6.0),
        "relu_slope": lambda k: k.layers.ReLU(negative_slope=0.1),
        "leaky_relu": lambda k: k.layers.LeakyReLU(),
        "leaky_relu_slope": lambda k: k.layers.LeakyReLU(negative_slope=0.05),
        "elu": lambda k: k.layers.ELU(),
        "elu_alpha": lambda k: k.layers.ELU(alpha=0.5),
        "softmax": lambda k: k.layers.Softmax(),
    }

    def layer_between(layer: Make) -> Make:
        return lambda k: [k.layers.Dense(8), layer(k), k.layers.Dense(3)]

    for name, layer in layer_kinds.items():
        cases.append(Case(f"layer_{name}", layer_between(layer), scale=2.0, optimizer=_slow))
    return cases


def _slow(k: Any) -> Any:
    return k.optimizers.SGD(learning_rate=0.005)


def _rmse(k: Any) -> Any:
    if k.__name__ == "nncore":
        return "rmse"

    # Keras has it as a metric alone; as a loss it is the root of the batch's mse.
    def root_mean_squared_error(y_true: Any, y_pred: Any) -> Any:
        return k.ops.sqrt(k.ops.mean(k.ops.square(y_true - y_pred)))

    return root_mean_squared_error


def _network(units: int, activation: str | None, hidden: str = "tanh") -> Make:
    def layers(k: Any) -> list[Any]:
        dense = k.layers.Dense
        return [dense(8, activation=hidden), dense(units, activation=activation)]

    return layers


def _loss_cases() -> list[Case]:
    real = _network(3, None)
    one = _network(1, "sigmoid")
    one_raw = _network(1, None)
    bits3 = _network(3, "sigmoid")
    softmax = _network(4, "softmax")
    raw = _network(4, None)
    sigmoid = _network(4, "sigmoid")
    fast: Make = lambda k: k.optimizers.SGD(learning_rate=0.2)  # noqa: E731

    def loss(name: str, **arguments: Any) -> Make:
        return lambda k: getattr(k.losses, name)(**arguments)

    cases = [
        Case("loss_mse", real, loss="mse"),
        Case("loss_mean_squared_error", real, loss="mean_squared_error"),
        Case("loss_mse_class", real, loss=loss("MeanSquaredError")),
        Case("loss_mse_function", real, loss=lambda k: k.losses.mean_squared_error),
        Case("loss_mse_vector_targets", _network(1, None), targets="real_vector"),
        Case("loss_rmse", real, loss=_rmse),
        Case("loss_mae", real, loss="mae"),
        Case("loss_mae_class", real, loss=loss("MeanAbsoluteError")),
        Case("loss_huber", real, loss="huber"),
        Case("loss_huber_delta", real, loss=loss("Huber", delta=0.3), differs_from="loss_huber"),
        Case("loss_log_cosh", real, loss="log_cosh"),
        Case("loss_log_cosh_class", real, loss=loss("LogCosh")),
        Case("loss_poisson", _network(3, "exponential"), loss="poisson", targets="counts"),
        Case("loss_poisson_softplus", _network(3, "softplus"), loss=loss("Poisson"),
             targets="counts"),
        # binary cross-entropy
        Case("loss_binary", one, fast, "binary_crossentropy", "bits"),
        Case("loss_binary_vector_targets", one, fast, "binary_crossentropy", "bits_vector"),
        Case("loss_binary_three", bits3, fast, loss("BinaryCrossentropy"), "bits3"),
        Case("loss_binary_soft_targets", sigmoid, fast, "binary_crossentropy", "shares"),
        Case("loss_binary_from_logits", one_raw, fast,
             loss("BinaryCrossentropy", from_logits=True), "bits"),
        Case("loss_binary_three_from_logits", _network(3, None), fast,
             loss("BinaryCrossentropy", from_logits=True), "bits3"),
        Case("loss_binary_smoothing", bits3, fast,
             loss("BinaryCrossentropy", label_smoothing=0.2), "bits3",
             differs_from="loss_binary_three"),
        Case("loss_binary_from_logits_smoothing", _network(3, None), fast,
             loss("BinaryCrossentropy", from_logits=True, label_smoothing=0.2), "bits3",
             differs_from="loss_binary_three_from_logits"),
        Case("loss_binary_of_softmax", softmax, fast, "binary_crossentropy", "one_hot"),
        Case("loss_binary_activation_layer",
             lambda k: [k.layers.Dense(8, activation="tanh"), k.layers.Dense(3),
                        k.layers.Activation("sigmoid")],
             fast, "binary_crossentropy", "bits3"),
        # Probabilities of exactly 0 and 1: Keras clips to [1e-7, 1 - 1e-7], where the
        # derivative is 0.  In float32 the upper end is not 1 - 1e-7, so float64 alone.
        Case("loss_binary_saturated", _network(3, "hard_sigmoid"), fast, "binary_crossentropy",
             "bits3", scale=4.0, dtypes=("float64",)),
        Case("loss_categorical_saturated", _network(4, "relu6"), _slow,
             "categorical_crossentropy", "one_hot", scale=2.0, dtypes=("float64",)),
        # categorical cross-entropy
        Case("loss_categorical", softmax, fast, "categorical_crossentropy", "one_hot"),
        Case("loss_categorical_soft_targets", softmax, fast, loss("CategoricalCrossentropy"),
             "shares"),
        Case("loss_categorical_several", softmax, fast, "categorical_crossentropy", "several"),
        Case("loss_categorical_several_from_logits", raw, fast,
             loss("CategoricalCrossentropy", from_logits=True), "several"),
        Case("loss_categorical_from_logits", raw, fast,
             loss("CategoricalCrossentropy", from_logits=True), "one_hot"),
        Case("loss_categorical_smoothing", softmax, fast,
             loss("CategoricalCrossentropy", label_smoothing=0.2), "one_hot",
             differs_from="loss_categorical"),
        Case("loss_categorical_from_logits_smoothing", raw, fast,
             loss("CategoricalCrossentropy", from_logits=True, label_smoothing=0.2), "one_hot",
             differs_from="loss_categorical_from_logits"),
        Case("loss_categorical_of_sigmoid", sigmoid, fast, "categorical_crossentropy", "one_hot"),
        Case("loss_categorical_of_sigmoid_smoothing", sigmoid, fast,
             loss("CategoricalCrossentropy", label_smoothing=0.2), "one_hot",
             differs_from="loss_categorical_of_sigmoid"),
        Case("loss_categorical_of_softplus", _network(4, "softplus"), fast,
             "categorical_crossentropy", "shares"),
        Case("loss_categorical_softmax_layer",
             lambda k: [k.layers.Dense(8, activation="tanh"), k.layers.Dense(4),
                        k.layers.Softmax()],
             fast, "categorical_crossentropy", "one_hot"),
        # sparse categorical cross-entropy
        Case("loss_sparse", softmax, fast, "sparse_categorical_crossentropy", "labels"),
        Case("loss_sparse_column", softmax, fast, loss("SparseCategoricalCrossentropy"),
             "labels_column"),
        Case("loss_sparse_from_logits", raw, fast,
             loss("SparseCategoricalCrossentropy", from_logits=True), "labels"),
        Case("loss_sparse_of_sigmoid", sigmoid, fast, "sparse_categorical_crossentropy",
             "labels_column"),
        Case("loss_sparse_two_classes", _network(2, "softmax"), fast,
             "sparse_categorical_crossentropy", "labels2"),
        Case("loss_sparse_activation_layer",
             lambda k: [k.layers.Dense(8, activation="tanh"), k.layers.Dense(4),
                        k.layers.Activation("softmax")],
             fast, "sparse_categorical_crossentropy", "labels"),
    ]  # fmt: skip

    # Row weights and reductions, for a loss of each family.
    families: dict[str, tuple[Make, Make, str, str, dict[str, Any]]] = {
        "mse": (real, _sgd, "MeanSquaredError", "real", {}),
        "mae": (real, _sgd, "MeanAbsoluteError", "real", {}),
        "huber": (real, _sgd, "Huber", "real", {}),
        "log_cosh": (real, _sgd, "LogCosh", "real", {}),
        "poisson": (_network(3, "exponential"), _sgd, "Poisson", "counts", {}),
        "binary": (bits3, fast, "BinaryCrossentropy", "bits3", {}),
        "binary_from_logits": (
            _network(3, None), fast, "BinaryCrossentropy", "bits3", {"from_logits": True},
        ),
        "categorical": (softmax, fast, "CategoricalCrossentropy", "one_hot", {}),
        "categorical_of_sigmoid": (sigmoid, fast, "CategoricalCrossentropy", "one_hot", {}),
        "sparse": (softmax, fast, "SparseCategoricalCrossentropy", "labels", {}),
        "sparse_of_sigmoid": (sigmoid, fast, "SparseCategoricalCrossentropy", "labels", {}),
    }  # fmt: skip
    for family, (layers, optimizer, name, targets, arguments) in families.items():
        cases.append(
            Case(
                f"loss_{family}_sample_weight", layers, optimizer, loss(name, **arguments), targets,
                sample_weight=True,
            )
        )  # fmt: skip
        if family in ("mse", "binary", "categorical", "sparse", "sparse_of_sigmoid"):
            total = loss(name, reduction="sum", **arguments)
            mean = loss(name, reduction="mean", **arguments)
            weighted = loss(name, reduction="mean_with_sample_weight", **arguments)
            base = f"loss_{family}_sample_weight"
            cases += [
                Case(f"loss_{family}_sum", layers, _small, total, targets),
                Case(f"loss_{family}_sum_sample_weight", layers, _small, total, targets,
                     sample_weight=True, differs_from=f"loss_{family}_sum"),
                Case(f"loss_{family}_mean", layers, optimizer, mean, targets),
                Case(f"loss_{family}_mean_with_sample_weight", layers, optimizer, weighted,
                     targets, sample_weight=True, differs_from=base),
                Case(f"loss_{family}_mean_with_no_sample_weight", layers, optimizer, weighted,
                     targets, differs_from=base),
            ]  # fmt: skip

    rare = {0: 1.0, 1: 2.5, 2: 0.5}  # class 3 has no entry: 1
    cases += [
        Case("class_weight_labels", softmax, fast, "sparse_categorical_crossentropy", "labels",
             fit={"class_weight": rare}, differs_from="loss_sparse",
             metrics=lambda k: ["accuracy"]),
        Case("class_weight_labels_column", softmax, fast, "sparse_categorical_crossentropy",
             "labels_column", fit={"class_weight": rare}, differs_from="loss_sparse"),
        Case("class_weight_one_hot", softmax, fast, "categorical_crossentropy", "one_hot",
             fit={"class_weight": rare}, differs_from="loss_categorical"),
        Case("class_weight_bits", one, fast, "binary_crossentropy", "bits",
             fit={"class_weight": {0: 0.5, 1: 3.0}}, differs_from="loss_binary"),
    ]  # fmt: skip
    return cases


def _small(k: Any) -> Any:
    return k.optimizers.SGD(learning_rate=0.02)


def _optimizer_cases() -> list[Case]:
    def optimizer(name: str, *arguments: Any, **options: Any) -> Make:
        return lambda k: getattr(k.optimizers, name)(*arguments, **options)

    def scheduled(name: str, *arguments: Any, **options: Any) -> Make:
        def make(k: Any) -> Any:
            rate = getattr(k.optimizers.schedules, name)(*arguments, **options)
            return k.optimizers.SGD(rate, momentum=0.5)

        return make

    makers: dict[str, tuple[Make | str, str]] = {
        # name: (optimizer, the case it must differ from)
        "sgd_string": ("sgd", ""),
        "adagrad_string": ("adagrad", ""),
        "rmsprop_string": ("rmsprop", ""),
        "adam_string": ("adam", ""),
        "adamw_string": ("adamw", ""),
        "sgd": (optimizer("SGD", 0.1), ""),
        "sgd_momentum": (optimizer("SGD", 0.05, momentum=0.9), "optimizer_sgd"),
        "sgd_nesterov": (
            optimizer("SGD", 0.05, momentum=0.9, nesterov=True), "optimizer_sgd_momentum",
        ),
        "adagrad": (optimizer("Adagrad", 0.05), ""),
        "adagrad_start": (
            optimizer("Adagrad", 0.05, initial_accumulator_value=0.01), "optimizer_adagrad",
        ),
        "adagrad_epsilon": (optimizer("Adagrad", 0.05, epsilon=0.1), "optimizer_adagrad"),
        "rmsprop": (optimizer("RMSprop", 0.01), ""),
        "rmsprop_rho": (optimizer("RMSprop", 0.01, rho=0.6), "optimizer_rmsprop"),
        "rmsprop_epsilon": (optimizer("RMSprop", 0.01, epsilon=0.05), "optimizer_rmsprop"),
        "rmsprop_momentum": (optimizer("RMSprop", 0.01, momentum=0.5), "optimizer_rmsprop"),
        "rmsprop_centered": (optimizer("RMSprop", 0.01, centered=True), "optimizer_rmsprop"),
        "rmsprop_both": (
            optimizer("RMSprop", 0.01, momentum=0.5, centered=True), "optimizer_rmsprop_momentum",
        ),
        "adam": (optimizer("Adam", 0.02), ""),
        "adam_betas": (optimizer("Adam", 0.02, beta_1=0.7, beta_2=0.9), "optimizer_adam"),
        "adam_epsilon": (optimizer("Adam", 0.02, epsilon=0.01), "optimizer_adam"),
        "adam_amsgrad": (optimizer("Adam", 0.05, beta_2=0.5, amsgrad=True), "optimizer_adam_fast"),
        "adam_fast": (optimizer("Adam", 0.05, beta_2=0.5), "optimizer_adam"),
        "adamw": (optimizer("AdamW", 0.02, weight_decay=0.2), "optimizer_adam"),
        "adamw_amsgrad": (
            optimizer("AdamW", 0.05, beta_2=0.5, amsgrad=True, weight_decay=0.2),
            "optimizer_adam_amsgrad",
        ),
        "sgd_weight_decay": (optimizer("SGD", 0.1, weight_decay=0.1), "optimizer_sgd"),
        "momentum_weight_decay": (
            optimizer("SGD", 0.05, momentum=0.9, weight_decay=0.1), "optimizer_sgd_momentum",
        ),
        "adagrad_weight_decay": (optimizer("Adagrad", 0.05, weight_decay=0.1),
                                 "optimizer_adagrad"),
        "rmsprop_weight_decay": (optimizer("RMSprop", 0.01, weight_decay=0.2),
                                 "optimizer_rmsprop"),
        "clipnorm": (optimizer("SGD", 0.1, clipnorm=0.2), "optimizer_sgd"),
        "clipvalue": (optimizer("SGD", 0.1, clipvalue=0.05), "optimizer_sgd"),
        "global_clipnorm": (optimizer("SGD", 0.1, global_clipnorm=0.3), "optimizer_sgd"),
        "adagrad_clipnorm": (optimizer("Adagrad", 0.05, clipnorm=0.1), "optimizer_adagrad"),
        "rmsprop_clipvalue": (optimizer("RMSprop", 0.01, clipvalue=0.02), "optimizer_rmsprop"),
        "adam_global_clipnorm": (
            optimizer("Adam", 0.02, epsilon=0.01, global_clipnorm=0.1), "optimizer_adam_epsilon",
        ),
        "adamw_clipnorm": (
            optimizer("AdamW", 0.02, epsilon=0.01, weight_decay=0.2, clipnorm=0.1),
            "optimizer_adamw",
        ),
    }  # fmt: skip
    cases = [
        Case(f"optimizer_{name}", optimizer=made, differs_from=base, metrics=lambda k: ["mae"])
        for name, (made, base) in makers.items()
    ]
    # A loss so small that epsilon, 1e-7 in Keras, is as large as the gradients.
    cases += [
        Case(f"optimizer_{name.lower()}_tiny_gradients",
             optimizer=optimizer(name, rate), sample_weight=True, weight_factor=1e-6)
        for name, rate in (("RMSprop", 1.0), ("Adam", 0.02), ("AdamW", 0.02))
    ]  # fmt: skip
    for name, make in schedules().items():
        cases.append(
            Case(
                f"optimizer_schedule_{name}",
                optimizer=functools.partial(_with_schedule, make),
            )
        )
    cases.append(
        Case(
            "optimizer_adamw_schedule",
            optimizer=lambda k: k.optimizers.AdamW(
                k.optimizers.schedules.ExponentialDecay(0.05, 4, 0.5), weight_decay=0.2
            ),
            differs_from="optimizer_adamw",
        )
    )
    return cases


def _with_schedule(make: Make, k: Any) -> Any:
    return k.optimizers.SGD(make(k), momentum=0.5)


def schedules() -> dict[str, Make]:
    """Return learning-rate schedules by name: each changes a lot within 18 steps."""

    def schedule(name: str, *arguments: Any, **options: Any) -> Make:
        return lambda k: getattr(k.optimizers.schedules, name)(*arguments, **options)

    return {
        "exponential": schedule("ExponentialDecay", 0.1, 7, 0.4),
        "exponential_staircase": schedule("ExponentialDecay", 0.1, 7, 0.4, staircase=True),
        "inverse_time": schedule("InverseTimeDecay", 0.1, 5, 0.8),
        "inverse_time_staircase": schedule("InverseTimeDecay", 0.1, 5, 0.8, staircase=True),
        "piecewise_constant": schedule("PiecewiseConstantDecay", [4, 11], [0.1, 0.03, 0.01]),
        "polynomial": schedule("PolynomialDecay", 0.1, 13, 0.01, power=2.0),
        "polynomial_defaults": schedule("PolynomialDecay", 0.1, 13),
        "polynomial_cycle": schedule("PolynomialDecay", 0.1, 7, 0.01, power=0.5, cycle=True),
        "cosine": schedule("CosineDecay", 0.1, 15, alpha=0.1),
        "cosine_warmup": schedule(
            "CosineDecay", 0.01, 10, alpha=0.05, warmup_target=0.1, warmup_steps=5
        ),
        "cosine_warmup_from_zero": schedule(
            "CosineDecay", 0.0, 20, warmup_target=0.1, warmup_steps=8
        ),
    }


def _layer_cases() -> list[Case]:
    def two(first: dict[str, Any], second: dict[str, Any]) -> Make:
        """Return a 6-8-3 network with these arguments; strings "l1 l2" become L1L2 objects."""

        def layers(k: Any) -> list[Any]:
            dense = k.layers.Dense
            return [
                dense(8, activation="tanh", **_regularizers(k, first)),
                dense(3, **_regularizers(k, second)),
            ]

        return layers

    adam: Make = lambda k: k.optimizers.Adam(0.02)  # noqa: E731
    clip: Make = lambda k: k.optimizers.SGD(0.05, clipnorm=0.5)  # noqa: E731
    base = "loss_mse"
    return [
        Case("regularizer_l1", two({"kernel_regularizer": ("L1", 0.05)}, {}), differs_from=base),
        Case("regularizer_l2", two({"kernel_regularizer": ("L2", 0.1)}, {}), differs_from=base),
        Case("regularizer_l1_l2", two({"kernel_regularizer": ("L1L2", 0.03, 0.05)}, {}),
             differs_from=base),
        Case("regularizer_string",
             two({"kernel_regularizer": "l2"}, {"kernel_regularizer": "l1"}), differs_from=base),
        Case("regularizer_bias",
             two({"bias_regularizer": ("L2", 0.2)}, {"bias_regularizer": ("L1", 0.1)}),
             differs_from=base),
        Case("regularizer_all",
             two({"kernel_regularizer": ("L1L2", 0.03, 0.05), "bias_regularizer": ("L2", 0.2),
                  "activity_regularizer": ("L2", 0.1)},
                 {"kernel_regularizer": ("L2", 0.1), "bias_regularizer": ("L1L2", 0.1, 0.1),
                  "activity_regularizer": ("L1", 0.1)}),
             differs_from=base, validation=True),
        Case("regularizer_activity_hidden", two({"activity_regularizer": ("L1L2", 0.05, 0.1)}, {}),
             differs_from=base, validation=True),
        Case("regularizer_activity_output", two({}, {"activity_regularizer": ("L2", 0.1)}),
             differs_from=base),
        Case("regularizer_activity_softmax",
             lambda k: [k.layers.Dense(8, activation="relu"),
                        k.layers.Dense(4, activation="softmax",
                                       activity_regularizer=k.regularizers.L2(0.5))],
             loss="sparse_categorical_crossentropy", targets="labels"),
        Case("regularizer_activity_string", two({"activity_regularizer": "l2"}, {}),
             optimizer=lambda k: k.optimizers.SGD(0.5)),
        Case("regularizer_adam", two({"kernel_regularizer": ("L2", 0.1)}, {}), adam,
             differs_from="optimizer_adam"),
        Case("regularizer_clipnorm", two({"kernel_regularizer": ("L2", 0.5)}, {}), clip,
             differs_from="regularizer_l2"),
        Case("regularizer_sample_weight",
             two({"kernel_regularizer": ("L2", 0.1), "activity_regularizer": ("L2", 0.1)}, {}),
             sample_weight=True, differs_from="loss_mse_sample_weight"),
        Case("regularizer_sum",
             two({"kernel_regularizer": ("L2", 0.5), "activity_regularizer": ("L2", 0.5)}, {}),
             _small, lambda k: k.losses.MeanSquaredError(reduction="sum"),
             differs_from="loss_mse_sum"),
        # no bias, frozen layers
        Case("no_bias", two({"use_bias": False}, {"use_bias": False}), differs_from=""),
        Case("no_bias_hidden_adam", two({"use_bias": False}, {}), adam),
        Case("no_bias_global_clipnorm", two({}, {"use_bias": False}),
             lambda k: k.optimizers.SGD(0.1, global_clipnorm=0.3)),
        Case("frozen_first", two({"trainable": False}, {}), differs_from=base),
        Case("frozen_last", two({}, {"trainable": False}), adam),
        Case("frozen_weight_decay", two({"trainable": False}, {}),
             lambda k: k.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.1)),
        Case("frozen_global_clipnorm", two({}, {"trainable": False}),
             lambda k: k.optimizers.SGD(0.1, global_clipnorm=0.3)),
        # Keras leaves the penalties of frozen parameters out of the loss; activity's it keeps.
        Case("frozen_regularizer",
             two({"trainable": False, "kernel_regularizer": ("L2", 0.1),
                  "activity_regularizer": ("L2", 0.1)}, {})),
        Case("frozen_middle",
             lambda k: [k.layers.Dense(8, activation="relu"),
                        k.layers.Dense(8, activation="tanh", trainable=False),
                        k.layers.Dense(3)],
             lambda k: k.optimizers.SGD(0.05, momentum=0.9)),
        # layers without parameters
        Case("images_flatten_rescale",
             lambda k: [k.layers.Flatten(), k.layers.Rescaling(1.0 / 255.0),
                        k.layers.Dense(8, activation="relu"),
                        k.layers.Dense(4, activation="softmax")],
             loss="sparse_categorical_crossentropy", targets="labels", images=True),
        Case("images_rescale_flatten",
             lambda k: [k.layers.Rescaling(1.0 / 127.5, offset=-1.0), k.layers.Flatten(),
                        k.layers.Dense(8, activation="relu"),
                        k.layers.Dense(4, activation="softmax")],
             loss="sparse_categorical_crossentropy", targets="labels", images=True),
        Case("rescale_between",
             lambda k: [k.layers.Dense(8, activation="tanh"), k.layers.Rescaling(2.0, offset=0.5),
                        k.layers.Dense(3), k.layers.Rescaling(0.5)],
             differs_from=base),
        Case("dropout_nothing",
             lambda k: [k.layers.Dense(8, activation="tanh"), k.layers.Dropout(0.0),
                        k.layers.Dense(3)]),
        Case("one_layer", lambda k: [k.layers.Dense(3)]),
        Case("deep",
             lambda k: [k.layers.Dense(n, activation="elu") for n in (9, 7, 5, 4)]
             + [k.layers.Dense(3)], adam),
    ]  # fmt: skip


def _regularizers(k: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make ("L2", 0.1) the object ``k.regularizers.L2(0.1)``."""
    return {
        name: getattr(k.regularizers, value[0])(*value[1:]) if isinstance(value, tuple) else value
        for name, value in arguments.items()
    }


def _fit_cases() -> list[Case]:
    softmax = _network(4, "softmax")
    fast: Make = lambda k: k.optimizers.SGD(learning_rate=0.2)  # noqa: E731
    sparse = "sparse_categorical_crossentropy"
    categorical = "categorical_crossentropy"

    def sparse_metrics(k: Any) -> list[Any]:
        m = k.metrics
        return [
            "accuracy", m.SparseCategoricalAccuracy(), m.SparseTopKCategoricalAccuracy(k=2),
        ]  # fmt: skip

    def categorical_metrics(k: Any) -> list[Any]:
        m = k.metrics
        return [
            "acc", m.CategoricalAccuracy(), m.TopKCategoricalAccuracy(k=2, name="top2"),
            m.MeanAbsoluteError(),
        ]  # fmt: skip

    def binary_metrics(k: Any) -> list[Any]:
        return ["accuracy", k.metrics.BinaryAccuracy(name="low", threshold=0.3)]

    def real_metrics(k: Any) -> list[Any]:
        m = k.metrics
        return [
            "mae", "mse", m.RootMeanSquaredError(), m.MeanAbsoluteError(), m.MeanSquaredError(),
        ]  # fmt: skip

    def weighted_metrics(k: Any) -> list[Any]:
        m = k.metrics
        return [
            m.MeanAbsoluteError(name="weighted_mae"), m.MeanSquaredError(name="weighted_mse"),
            m.RootMeanSquaredError(name="weighted_rmse"),
        ]  # fmt: skip

    return [
        Case("metrics_sparse", softmax, fast, sparse, "labels", metrics=sparse_metrics),
        Case("metrics_sparse_column", softmax, fast, sparse, "labels_column",
             metrics=sparse_metrics),
        Case("metrics_categorical", softmax, fast, categorical, "one_hot",
             metrics=categorical_metrics),
        Case("metrics_binary", _network(1, "sigmoid"), fast, "binary_crossentropy", "bits",
             metrics=binary_metrics),
        Case("metrics_binary_vector", _network(1, "sigmoid"), fast, "binary_crossentropy",
             "bits_vector", metrics=binary_metrics),
        Case("metrics_binary_three", _network(3, "sigmoid"), fast, "binary_crossentropy",
             "bits3", metrics=lambda k: [k.metrics.BinaryAccuracy(), "binary_accuracy"]),
        # From raw outputs Keras compares the raw outputs with the threshold too.
        Case("metrics_binary_from_logits", _network(1, None), fast,
             lambda k: k.losses.BinaryCrossentropy(from_logits=True), "bits",
             metrics=lambda k: ["accuracy", k.metrics.BinaryAccuracy(name="zero", threshold=0.0)]),
        Case("metrics_sparse_from_logits", _network(4, None), fast,
             lambda k: k.losses.SparseCategoricalCrossentropy(from_logits=True), "labels",
             metrics=sparse_metrics),
        Case("metrics_real", metrics=real_metrics),
        Case("metrics_real_vector", _network(1, None), targets="real_vector",
             metrics=real_metrics),
        Case("metrics_weighted", metrics=real_metrics, weighted_metrics=weighted_metrics,
             sample_weight=True, validation=True),
        Case("metrics_sparse_weighted", softmax, fast, sparse, "labels", metrics=sparse_metrics,
             weighted_metrics=lambda k: [k.metrics.SparseCategoricalAccuracy(name="weighted")],
             sample_weight=True),
        Case("metrics_class_weight", softmax, fast, sparse, "labels", metrics=sparse_metrics,
             weighted_metrics=lambda k: [k.metrics.SparseCategoricalAccuracy(name="weighted")],
             fit={"class_weight": {0: 1.0, 1: 2.5, 2: 0.5}}),
        Case("validation_data", softmax, fast, sparse, "labels", metrics=sparse_metrics,
             validation=True),
        Case("validation_batch_size", metrics=real_metrics, validation=True,
             fit={"validation_batch_size": 5}),
        Case("validation_freq", validation=True, fit={"validation_freq": 2}),
        Case("validation_split", softmax, fast, sparse, "labels", metrics=sparse_metrics,
             fit={"validation_split": 0.2}, extra_rows=11),
        Case("validation_split_sample_weight", metrics=real_metrics, sample_weight=True,
             fit={"validation_split": 0.2}, extra_rows=11),
        Case("validation_rmse", loss=_rmse, validation=True),
        Case("validation_sum", optimizer=_small, validation=True,
             loss=lambda k: k.losses.MeanSquaredError(reduction="sum")),
        Case("initial_epoch", fit={"initial_epoch": 2, "epochs": 5}),
        Case("train_on_batch", softmax, fast, sparse, "labels", metrics=lambda k: ["accuracy"],
             by_batch=True),
        Case("train_on_batch_sample_weight", optimizer=lambda k: k.optimizers.Adam(0.02),
             metrics=lambda k: ["mae"], sample_weight=True, by_batch=True),
    ]  # fmt: skip


def all_cases() -> dict[str, Case]:
    """Return every case by its name."""
    cases = _activation_cases() + _loss_cases() + _optimizer_cases() + _layer_cases() + _fit_cases()
    by_name = {case.name: case for case in cases}
    if len(by_name) != len(cases):
        raise ValueError("two cases have the same name")
    return by_name


# --- running a case ---


def _inputs(case: Case) -> tuple[Array, Array, Array | None]:
    """Return x, y and the row weights of a case."""
    rows = ROWS + case.extra_rows
    x: Array
    if case.images:
        # Brightness follows the features, so that there is something to learn.
        x = np.rint(127.5 + 60.0 * np.concatenate([_features(rows)] * 2, axis=1))
        x = np.clip(x, 0, 255).astype(np.uint8).reshape(rows, 3, 4)
    else:
        x = _features(rows)
    r = case.weight_factor * _row_weights(rows) if case.sample_weight else None
    return x, _targets(case.targets, rows), r


def initial_weights(case: Case, shapes: list[tuple[int, ...]]) -> list[Array]:
    """Return what the parameters of a case start from."""
    weights = []
    for i, shape in enumerate(shapes):
        values = _uniform(100 + i, *shape)
        if len(shape) == 2:
            weights.append(values * (case.scale * math.sqrt(3.0 / shape[0])))
        else:
            weights.append(0.3 * values)
    return weights


def digest(case: Case) -> int:
    """Return a number that changes when the data of a case change."""
    shapes = [(6, 8), (8,), (8, 3), (3,)]
    arrays = [*_inputs(case), *initial_weights(case, shapes)]
    value = zlib.crc32(repr((sorted(case.fit.items()), BATCH, EPOCHS, case.by_batch)).encode())
    for array in arrays:
        if array is not None:
            # Rounded, and without -0: the last bits depend on NumPy's version and its BLAS.
            plain = np.round(np.asarray(array, np.float64), 6) + 0.0
            value = zlib.crc32(np.ascontiguousarray(plain).tobytes(), value)
    return value


def tolerance(case: Case, dtype: str) -> float:
    """Return how far a result may be from Keras's."""
    hard = "hard_sigmoid" in case.name or case.name == "loss_binary_saturated"
    return HARD_SIGMOID_TOLERANCE if hard and dtype == "float64" else TOLERANCE[dtype]


def _made(k: Any, value: Make | str) -> Any:
    return value if isinstance(value, str) else value(k)


def train(k: Any, case: Case, dtype: str, **compile_options: Any) -> dict[str, Array]:
    """Train a case with ``keras`` or ``nncore``; return all that can be compared.

    Parameters
    ----------
    k : module
    case : Case
    dtype : {"float32", "float64"}
    **compile_options
        More arguments of ``compile``: ``engine="reference"``, say.

    Returns
    -------
    dict of str to ndarray
        ``weights/0`` and so on, ``history/loss`` (one an epoch), ``evaluate/loss``,
        ``predict``.
    """
    before = k.config.floatx()
    k.config.set_floatx(dtype)
    try:
        return _train(k, case, dtype, compile_options)
    finally:
        k.config.set_floatx(before)


def _train(k: Any, case: Case, dtype: str, compile_options: Mapping[str, Any]) -> dict[str, Array]:
    x, y, r = _inputs(case)
    if not case.images:
        x = x.astype(dtype)
    if y.dtype.kind == "f":
        y = y.astype(dtype)
    if r is not None:
        r = r.astype(dtype)
    model = k.Sequential([k.layers.Input(x.shape[1:]), *case.layers(k)])
    shapes = [tuple(w.shape) for w in model.get_weights()]
    model.set_weights([w.astype(dtype) for w in initial_weights(case, shapes)])
    model.compile(
        optimizer=_made(k, case.optimizer),
        loss=_made(k, case.loss),
        metrics=case.metrics(k),
        weighted_metrics=None if case.weighted_metrics is None else case.weighted_metrics(k),
        **compile_options,
    )
    result: dict[str, Array] = {}
    if case.by_batch:
        logs: dict[str, list[float]] = {}
        for step in range(STEPS):
            begin = step % 6 * BATCH
            rows = slice(begin, begin + BATCH)
            log = model.train_on_batch(
                x[rows], y[rows], sample_weight=None if r is None else r[rows], return_dict=True
            )
            for name, value in log.items():
                logs.setdefault(name, []).append(float(value))
        result |= {f"batches/{name}": np.array(values) for name, values in logs.items()}
        model.reset_metrics()
        log = model.test_on_batch(x[:BATCH], y[:BATCH], return_dict=True)
        result |= {f"test_on_batch/{name}": np.array(float(v)) for name, v in log.items()}
    else:
        options: dict[str, Any] = {"epochs": EPOCHS, "shuffle": False, "verbose": 0}
        if case.validation:
            rows = slice(3, 3 + 2 * BATCH + 3)
            options["validation_data"] = (
                (x[rows] * 0.5, y[rows]) if r is None else (x[rows] * 0.5, y[rows], r[rows])
            )
        options |= case.fit
        history = model.fit(x, y, batch_size=BATCH, sample_weight=r, **options).history
        result |= {f"history/{name}": np.array(values) for name, values in history.items()}
    evaluated = model.evaluate(x, y, batch_size=BATCH, sample_weight=r, verbose=0, return_dict=True)
    result |= {f"evaluate/{name}": np.array(float(v)) for name, v in evaluated.items()}
    result["predict"] = np.asarray(model.predict(x[:5], verbose=0))
    result |= {f"weights/{i}": np.asarray(w) for i, w in enumerate(model.get_weights())}
    return {name: np.asarray(value, dtype=dtype) for name, value in result.items()}


# --- functions ---


def function_values(k: Any) -> dict[str, Array]:
    """Return values of the activations (float64) and of the schedules (steps 0 to 50)."""
    before = k.config.floatx()
    k.config.set_floatx("float64")
    try:
        z = np.linspace(-12.0, 12.0, 49).reshape(7, 7)
        result = {f"activation/{a}": np.asarray(getattr(k.activations, a)(z)) for a in ACTIVATIONS}
        result["activation/gelu_approximate"] = np.asarray(k.activations.gelu(z, approximate=True))
        for name, make in schedules().items():
            schedule = make(k)
            result[f"schedule/{name}"] = np.array([float(schedule(step)) for step in range(51)])
        return result
    finally:
        k.config.set_floatx(before)


#: Initializers that draw: name and arguments.  The recording holds the limits or the
#: standard deviation of the distribution that Keras draws from, for INITIALIZER_SHAPE.
INITIALIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "random_normal": ("RandomNormal", {}),
    "random_normal_wide": ("RandomNormal", {"mean": 1.0, "stddev": 0.5}),
    "random_uniform": ("RandomUniform", {}),
    "random_uniform_wide": ("RandomUniform", {"minval": -0.5, "maxval": 1.5}),
    "truncated_normal": ("TruncatedNormal", {}),
    "truncated_normal_wide": ("TruncatedNormal", {"mean": 1.0, "stddev": 0.5}),
    "glorot_uniform": ("GlorotUniform", {}),
    "glorot_normal": ("GlorotNormal", {}),
    "he_uniform": ("HeUniform", {}),
    "he_normal": ("HeNormal", {}),
    "lecun_uniform": ("LecunUniform", {}),
    "lecun_normal": ("LecunNormal", {}),
    "variance_scaling": ("VarianceScaling", {}),
    "variance_scaling_average": (
        "VarianceScaling", {"scale": 2.0, "mode": "fan_avg", "distribution": "uniform"},
    ),
    "variance_scaling_out": (
        "VarianceScaling",
        {"scale": 0.5, "mode": "fan_out", "distribution": "untruncated_normal"},
    ),
}  # fmt: skip
INITIALIZER_SHAPE = (96, 32)

#: Initializers whose values are the same everywhere.
CONSTANTS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "zeros": ("Zeros", {}, (2, 3)),
    "ones": ("Ones", {}, (2, 3)),
    "constant": ("Constant", {"value": 0.25}, (2, 3)),
    "identity": ("Identity", {"gain": 2.0}, (3, 4)),
}


def constant_values(k: Any) -> dict[str, Array]:
    """Return what the initializers that do not draw give."""
    return {
        f"initializer/{name}": np.asarray(getattr(k.initializers, kind)(**arguments)(shape))
        for name, (kind, arguments, shape) in CONSTANTS.items()
    }
