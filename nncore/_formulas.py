"""The formulas of activations, losses and optimizers as explanations show them.

They are for reading, nothing computes with them: each takes formulas and returns one, or numbers
and returns a number, which is how the tests hold them against the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nncore._markup import cases, exp, function, root

__all__ = ["ACTIVATIONS", "LOSSES", "update_rules"]

_log = function("log", math.log, r"\log")
_tanh = function("tanh", math.tanh, r"\tanh")
_cosh = function("cosh", math.cosh, r"\cosh")
_max = function("max", max, r"\max")
_min = function("min", min, r"\min")
_sign = function("sign", lambda e: float((e > 0) - (e < 0)))
_sigmoid = function("sigmoid", lambda z: 1 / (1 + math.exp(-z)))
_softplus = function("softplus", lambda z: math.log1p(math.exp(z)))
_cdf = function("Phi", lambda z: math.erfc(-z / math.sqrt(2)) / 2, r"\Phi")
_density = function(
    "phi", lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi), r"\varphi"
)  # fmt: skip

_SCALE, _ALPHA = 1.0507009873554805, 1.6732632423543772  # selu's
_C = math.sqrt(2 / math.pi)


def _bent(z: Any) -> Any:
    """Return what gelu_tanh takes the tanh of."""
    return _C * (z + 0.044715 * z**3)


#: name -> (y from z and alpha, dy/dz from z, y and alpha).  softmax is of whole rows.
ACTIVATIONS: Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "linear": (lambda z, a: z, lambda z, y, a: 1),
    "sigmoid": (lambda z, a: 1 / (1 + exp(-z)), lambda z, y, a: y * (1 - y)),
    "tanh": (lambda z, a: _tanh(z), lambda z, y, a: 1 - y**2),
    "relu": (lambda z, a: _max(0, z), lambda z, y, a: cases(z, 0, 1, 0)),
    "leaky_relu": (lambda z, a: cases(z, 0, z, a * z), lambda z, y, a: cases(z, 0, 1, a)),
    "relu6": (lambda z, a: _min(_max(0, z), 6), lambda z, y, a: cases(3, abs(z - 3), 1, 0)),
    "hard_sigmoid": (
        lambda z, a: _min(_max(0, z + 3), 6) / 6,
        lambda z, y, a: cases(3, abs(z), 1 / 6, 0),
    ),
    "softsign": (lambda z, a: z / (1 + abs(z)), lambda z, y, a: 1 / (1 + abs(z)) ** 2),
    "softplus": (lambda z, a: _log(1 + exp(z)), lambda z, y, a: 1 / (1 + exp(-z))),
    "log_sigmoid": (lambda z, a: -_log(1 + exp(-z)), lambda z, y, a: 1 / (1 + exp(z))),
    "exponential": (lambda z, a: exp(z), lambda z, y, a: y),
    "elu": (
        lambda z, a: cases(z, 0, z, a * (exp(z) - 1)),
        lambda z, y, a: cases(z, 0, 1, y + a),
    ),
    "selu": (
        lambda z, a: cases(z, 0, _SCALE * z, _SCALE * _ALPHA * (exp(z) - 1)),
        lambda z, y, a: cases(z, 0, _SCALE, y + _SCALE * _ALPHA),
    ),
    "gelu": (lambda z, a: z * _cdf(z), lambda z, y, a: _cdf(z) + z * _density(z)),
    "gelu_tanh": (
        lambda z, a: z * (1 + _tanh(_bent(z))) / 2,
        lambda z, y, a: (
            (1 + _tanh(_bent(z))) / 2
            + z * (1 - _tanh(_bent(z)) ** 2) / 2 * (_C * (1 + 3 * 0.044715 * z**2))
        ),
    ),
    "silu": (
        lambda z, a: z * _sigmoid(z),
        lambda z, y, a: _sigmoid(z) + z * _sigmoid(z) * (1 - _sigmoid(z)),
    ),
    "mish": (
        lambda z, a: z * _tanh(_softplus(z)),
        lambda z, y, a: (
            _tanh(_softplus(z)) + z * (1 - _tanh(_softplus(z)) ** 2) * _sigmoid(z)
        ),
    ),
}  # fmt: skip

#: Losses that are the mean over a row's outputs: name -> (one output's part, its derivative), of
#: output o, target t and the loss's parameter; the division by the number of outputs is left out.
LOSSES: Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "mean_squared_error": (lambda o, t, a: (t - o) ** 2, lambda o, t, a: 2 * (o - t)),
    "root_mean_squared_error": (lambda o, t, a: (t - o) ** 2, lambda o, t, a: 2 * (o - t)),
    "mean_absolute_error": (lambda o, t, a: abs(t - o), lambda o, t, a: _sign(o - t)),
    "huber": (
        lambda o, t, a: cases(abs(t - o), a, a * abs(t - o) - a**2 / 2, (t - o) ** 2 / 2),
        lambda o, t, a: cases(abs(o - t), a, a * _sign(o - t), o - t),
    ),
    "log_cosh": (lambda o, t, a: _log(_cosh(o - t)), lambda o, t, a: _tanh(o - t)),
    "poisson": (lambda o, t, a: o - t * _log(o + 1e-7), lambda o, t, a: 1 - t / (o + 1e-7)),
    "binary_crossentropy": (
        lambda o, t, a: -(t * _log(o) + (1 - t) * _log(1 - o)),
        lambda o, t, a: (o - t) / (o * (1 - o)),
    ),
    # From raw outputs.
    "sigmoid_binary_crossentropy": (
        lambda o, t, a: _log(1 + exp(o)) - t * o,
        lambda o, t, a: _sigmoid(o) - t,
    ),
}

#: The part of one class in the categorical losses: of its probability p and target t.
CLASS_LOSS: Callable[..., Any] = lambda p, t: -(t * _log(p))  # noqa: E731


def update_rules(
    optimizer: str, hyper: Mapping[str, float]
) -> list[tuple[str, Callable[[Mapping[str, Any]], Any]]]:
    """Return an optimizer's lines: what each computes, and from what.

    Parameters
    ----------
    optimizer : str
        Name of the kernel.
    hyper : mapping
        Its constants.

    Returns
    -------
    list of (str, callable)
        The name of a slot, "rate" or "w", and a function of a mapping with ``w`` and ``g``, the
        slots before (``m``) and after (``m.next``), ``lr``, ``t`` (the step's number from 1) and
        the constants.
    """

    def shrunk(k: Mapping[str, Any]) -> Any:
        if not hyper.get("weight_decay"):
            return k["w"]
        return k["w"] - k["lr"] * k["weight_decay"] * k["w"]

    def mean(slot: str, beta: str, power: int) -> Callable[[Mapping[str, Any]], Any]:
        return lambda k: k[beta] * k[slot] + (1 - k[beta]) * (k["g"] ** 2 if power == 2 else k["g"])

    def rate(k: Mapping[str, Any]) -> Any:
        return k["lr"] * root(1 - k["beta_2"] ** k["t"]) / (1 - k["beta_1"] ** k["t"])

    heavy = ("m", lambda k: k["momentum"] * k["m"] - k["lr"] * k["g"])
    if optimizer == "sgd":
        return [("w", lambda k: shrunk(k) - k["lr"] * k["g"])]
    if optimizer == "momentum":
        return [heavy, ("w", lambda k: shrunk(k) + k["m.next"])]
    if optimizer == "nesterov":
        return [
            heavy,
            ("w", lambda k: shrunk(k) + k["momentum"] * k["m.next"] - k["lr"] * k["g"]),
        ]
    if optimizer == "adagrad":
        return [
            ("a", lambda k: k["a"] + k["g"] ** 2),
            ("w", lambda k: shrunk(k) - k["lr"] * k["g"] / root(k["a.next"] + k["epsilon"])),
        ]
    if optimizer == "rmsprop":
        return [
            ("v", mean("v", "rho", 2)),
            ("w", lambda k: shrunk(k) - k["lr"] * k["g"] / root(k["v.next"] + k["epsilon"])),
        ]
    if optimizer == "rmsprop_full":
        lines = [("v", mean("v", "rho", 2))]
        if hyper.get("centered"):
            lines.append(("a", mean("a", "rho", 1)))

        def step(k: Mapping[str, Any]) -> Any:
            below = k["v.next"] - k["a.next"] ** 2 if hyper.get("centered") else k["v.next"]
            return k["momentum"] * k["m"] + k["lr"] * k["g"] / root(below + k["epsilon"])

        return [*lines, ("m", step), ("w", lambda k: shrunk(k) - k["m.next"])]
    if optimizer not in ("adam", "amsgrad"):
        return []
    lines = [("m", mean("m", "beta_1", 1)), ("v", mean("v", "beta_2", 2))]
    below = "v.next"
    if optimizer == "amsgrad":
        lines.append(("largest", lambda k: _max(k["largest"], k["v.next"])))
        below = "largest.next"
    return [
        *lines,
        ("rate", rate),
        ("w", lambda k: shrunk(k) - k["rate"] * k["m.next"] / (root(k[below]) + k["epsilon"])),
    ]
