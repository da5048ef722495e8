"""A training step in words and numbers: trace.explain and ``nncore trace``."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import nncore
from nncore import _formulas, _markup, cli, kernels, optimizers
from nncore._trace_command import worked_example
from nncore._words import LANGUAGES, WORDS
from nncore.layers import Activation, Dense, Dropout, Input, Rescaling, Softmax

GOLDEN = Path(__file__).parent / "golden"
X, T = [[0.1, 0.2]], [[0.4, 0.6]]

#: What the notebook has: forward, both errors, eight gradients, eight new weights, next error.
NUMBERS = (
    "z1 0.08000000; z2 0.11000000; h1 0.51998934; h2 0.52747230; z3 0.44498412; z4 0.68047592; "
    "o1 0.60944600; o2 0.66384491; E1 0.02193381; E2 0.00203809; E 0.02397190; "
    "dE/dW1 0.00080888; dE/dW2 0.00161775; dE/dW3 0.00071009; dE/dW4 0.00142017; "
    "dE/dW5 0.02592286; dE/dW6 0.02629590; dE/dW7 0.00740844; dE/dW8 0.00751506; "
    "W1' 0.29959556; W2' 0.24919112; W3' 0.39964496; W4' 0.34928991; "
    "W5' 0.43703857; W6' 0.38685205; W7' 0.69629578; W8' 0.59624247; "
    "o1' 0.60617688; o2' 0.66295848; E' 0.02323634"
)


def results(text: str) -> dict[str, str]:
    """Return the left side and the last number of each equation."""
    whole = re.sub(r"\n +(= )", r" \1", text)  # equations that take several lines
    found = {}
    for line in whole.splitlines():
        sides = line.strip().split(" = ")
        if len(sides) > 1:
            found[sides[0]] = sides[-1]
    return found


class TestWorkedExample:
    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_all_its_numbers(self, lang: str) -> None:
        found = results(str(worked_example().trace(X, T).explain(lang=lang)))
        for pair in NUMBERS.split("; "):
            name, number = pair.split()
            assert found[name] == number, name

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_the_whole_text(self, lang: str) -> None:
        expected = (GOLDEN / f"worked_example.{lang}.txt").read_text(encoding="utf-8")
        assert str(worked_example().trace(X, T).explain(lang=lang)) == expected

    def test_one_weight_as_the_textbook_does_it(self) -> None:
        text = str(worked_example().trace(X, T).explain("output.kernel[0, 0]"))
        assert (
            "  dE/dW5 = dE/do1 × do1/dz3 × dz3/dW5 = 0.20944600 × 0.23802157 × 0.51998934 "
            "= 0.02592286\n" in text
        )
        assert "  do1/dz3 = o1 × (1 - o1) = 0.60944600 × (1 - 0.60944600) = 0.23802157\n" in text
        assert "  dz3/dW5 = h1 = 0.51998934\n" in text
        assert "  W5' = W5 - lr × dE/dW5 = 0.45 - 0.5 × 0.02592286 = 0.43703857\n" in text

    def test_a_hidden_weight_sums_over_the_outputs(self) -> None:
        trace = worked_example().trace(X, T)
        text = str(trace.explain("hidden.kernel[0, 1]"))
        assert "dE/dW3 = dE/dh2 × dh2/dz2 × dz2/dW3" in text
        assert (
            "  dE/dh2 = dE/dz3 × dz3/dh2 + dE/dz4 × dz4/dh2\n"
            "         = dE/dz3 × W6 + dE/dz4 × W8\n"
            "         = 0.04985267 × 0.4 + 0.01424730 × 0.6\n"
            "         = 0.02848945\n"
        ) in text
        for same in ("hidden.w[0,1]", " hidden.kernel[ 0 , -1 ]", "hidden.dw[0, 1]"):
            assert str(trace.explain(same)) == text

    def test_a_smaller_step_by_words(self) -> None:
        text = str(worked_example().trace(X, T, apply=True).explain())
        assert text.endswith(
            "The error went down by 0.00073556.\nThe model itself has made this step.\n"
        )


# --- formulas ---

POINTS = (-4.5, -2.0, -0.7, -0.1, 0.2, 0.9, 2.5, 3.5, 7.0)


class TestFormulas:
    """The formulas that are shown are those that the kernels compute."""

    @pytest.mark.parametrize("name", sorted(_formulas.ACTIVATIONS))
    def test_activation(self, name: str) -> None:
        value, slope = _formulas.ACTIVATIONS[name]
        alpha = 0.3
        for z in POINTS:
            point = np.array([z])
            y = float(kernels.activate(name, point, alpha)[0])
            assert value(z, alpha) == pytest.approx(y, rel=1e-9, abs=1e-12)
            expected = float(kernels.activate_derivative(name, point, alpha)[0])
            assert slope(z, y, alpha) == pytest.approx(expected, rel=1e-9, abs=1e-12)

    @pytest.mark.parametrize("name", sorted(_formulas.LOSSES))
    def test_loss(self, name: str) -> None:
        value, slope = _formulas.LOSSES[name]
        kernel = "mean_squared_error" if name == "root_mean_squared_error" else name
        delta = 0.4 if name == "huber" else 0.0
        for o in (0.1, 0.45, 0.9):
            for t in (0.0, 0.3, 1.0):
                found, dy = kernels.loss(kernel, np.array([[o]]), np.array([[t]]), alpha=delta)
                assert value(o, t, delta) == pytest.approx(found, rel=1e-9, abs=1e-12)
                assert slope(o, t, delta) == pytest.approx(float(dy[0, 0]), rel=1e-9, abs=1e-12)

    def test_without_a_formula_the_numbers_are_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A new kernel need not have a formula to be explained."""
        monkeypatch.setattr(_formulas, "ACTIVATIONS", {})
        monkeypatch.setattr(_formulas, "LOSSES", {})
        monkeypatch.setattr(_formulas, "update_rules", lambda *_: [])
        text = str(worked_example().trace(X, T).explain())
        assert "  h1 = sigmoid(z1) = 0.51998934\n" in text
        assert "  do1/dz3 = 0.23802157\n" in text
        assert "  E1 = 0.02193381\n" in text
        assert "  dE/do1 = 0.20944600\n" in text
        assert re.search(r"W5 +0.02592286 +0.45000000 +0.43703857", text)

    @pytest.mark.parametrize("name", list(kernels.optimizers()))
    @pytest.mark.parametrize("decay", [0.0, 0.1])
    def test_update(self, name: str, decay: float) -> None:
        from nncore.trace import SLOTS

        hyper = {"momentum": 0.8, "rho": 0.7, "epsilon": 1e-3, "beta_1": 0.6, "beta_2": 0.9,
                 "centered": 1.0, "weight_decay": decay}  # fmt: skip
        w, g = 0.7, -0.3
        before = dict(zip(SLOTS[name], (0.2, 0.3, 0.4), strict=False))
        if name == "rmsprop_full":
            before = {"v": 0.3, "a": 0.1, "m": 0.2}
        slots = np.array([[value] for value in before.values()])
        vector = np.array([w])
        kernels.update(name, vector, [g], slots.reshape(-1, 1), learning_rate=0.05, iteration=2,
                       **hyper)  # fmt: skip
        values: dict[str, Any] = {**hyper, **before, "w": w, "g": g, "lr": 0.05, "t": 3}
        for result, rule in _formulas.update_rules(name, hyper):
            key = result if result == "rate" else f"{result}.next"
            values[key] = rule(values)
        assert values["w.next"] == pytest.approx(float(vector[0]), rel=1e-12)
        for i, slot in enumerate(before):
            assert values[f"{slot}.next"] == pytest.approx(float(slots[i, 0]), rel=1e-12)

    def test_parentheses(self) -> None:
        a, b = _markup.atom("a"), _markup.atom("b")
        assert (a * (b - 1)).text == "a × (b - 1)"
        assert (a - (b - 1)).text == "a - (b - 1)"
        assert (1 / (1 + _markup.exp(-a))).text == "1 / (1 + e^(-a))"
        assert (1 / (1 + _markup.exp(-a))).tex == r"\frac{1}{1 + {e}^{-a}}"
        assert ((a * b) ** 2).text == "(a × b)^2"
        assert (_markup.fixed(-0.5, 2) * a).text == "(-0.50) × a"
        assert (a / (b * 2)).text == "a / (b × 2)"

    def test_numbers(self) -> None:
        shown = [_markup.fixed(v, 8).text for v in (0.5, -1e-9, 123456.0, 0.0, math.inf, math.nan)]
        assert shown == ["0.50000000", "-1.000000e-09", "123456.00000000", "0.00000000", "inf",
                         "nan"]  # fmt: skip
        assert _markup.short(np.float32(0.1), 6).text == "0.1"
        assert _markup.short(1 / 3, 8).text == "0.33333333"
        assert _markup.short(1.30400005, 8).text == "1.30400005"


# --- other networks ---

MODELS: dict[str, tuple[list[Any], str, Any]] = {
    "softmax": ([Dense(2, "relu"), Dense(3, "softmax")], "categorical_crossentropy", "adam"),
    "separate": ([Dense(3), Softmax()], "sparse_categorical_crossentropy", "adagrad"),
    "probabilities": ([Dense(3, "softplus")], "categorical_crossentropy", "rmsprop"),
    "sparse": ([Dense(3, "sigmoid")], "sparse_categorical_crossentropy", "sgd"),
    "binary": ([Dense(2, "tanh"), Dense(1, "sigmoid")], "binary_crossentropy", "momentum"),
    "jacobian": ([Dense(3, "softmax"), Dense(2, "softmax")], "mse", "adamw"),
    "all_kinds": (
        [Rescaling(2.0, 0.5), Dense(2, "mish", kernel_regularizer="l2"), Activation("gelu"),
         Dropout(0.4, seed=2), Dense(2, "elu", activity_regularizer="l1")],
        "huber", "rmsprop",
    ),
    "root": ([Dense(2, "selu"), Dense(2)], "root_mean_squared_error", "sgd"),
    "poisson": ([Dense(2, "exponential")], "poisson", "sgd"),
    "deep": ([Dense(3, "silu") for _ in range(9)], "log_cosh", "adam"),
    "wide": ([Dense(40, "tanh"), Dense(30, "softmax")], "categorical_crossentropy", "adam"),
}  # fmt: skip


def example(name: str, rows: int = 1, dtype: str = "float64", **settings: Any) -> Any:
    layers, loss, optimizer = MODELS[name]
    copies = [type(layer).from_config({**layer.get_config(), "name": f"layer{i}", "dtype": dtype})
              for i, layer in enumerate(layers)]  # fmt: skip
    nncore.set_random_seed(3)
    model = nncore.Sequential([Input((3,), dtype=dtype), *copies], name=name)
    model.compile(optimizer, loss, **settings)
    rng = np.random.default_rng(0)
    n_out = int(model.output_shape[1] or 0)
    t: Any = rng.uniform(size=(rows, n_out))
    if loss == "sparse_categorical_crossentropy":
        t = rng.integers(0, n_out, rows)
    elif loss == "categorical_crossentropy":
        t = np.eye(n_out)[rng.integers(0, n_out, rows)]
    return model.trace(rng.normal(size=(rows, 3)), t)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 6])
def test_any_network(name: str, rows: int, lang: str) -> None:
    """Everything can be told, within bounds, in three notations, and the products are right."""
    trace = example(name, rows)
    first = next(iter(trace.parameters))
    for what in (None, f"{first}[0, 0]", f"{trace.parameters[-1]}[-1]"):
        told = trace.explain(what, lang)
        text = str(told)
        assert len(text.splitlines()) < 300
        assert max(_markup.width(line) for line in text.splitlines()) < 200
        assert told.markdown.count("$$") % 2 == 0
        assert ElementTree.fromstring(told._repr_html_().replace("&nbsp;", " ")).tag == "div"
        check_equations(text)


@pytest.mark.parametrize("weights", [None, (1.0, 0.5)])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize(
    ("activation", "loss", "t"),
    [
        ("sigmoid", nncore.losses.MeanSquaredError, [[1, 0.2], [0.3, 0.4]]),
        ("sigmoid", nncore.losses.BinaryCrossentropy, [[1, 0], [0, 1]]),
        ("softmax", nncore.losses.SparseCategoricalCrossentropy, [1, 0]),
        ("softplus", nncore.losses.CategoricalCrossentropy, [[1, 0], [0, 1]]),
    ],
)
def test_any_reduction(
    activation: str, loss: Any, t: Any, reduction: str, weights: tuple[float, ...] | None
) -> None:
    model = nncore.Sequential([Input((2,)), Dense(2, activation, dtype="float64", name="one")])
    model.compile("sgd", loss(reduction=reduction))
    trace = model.trace([[0.5, -1.0], [2.0, 1.0]], t, weights)
    check_equations(str(trace.explain()))
    check_equations(str(trace.explain("one.kernel[0, 1]")))


def check_equations(text: str) -> None:
    """Compute every side of every equation that is all numbers, and compare with the last one."""
    whole = re.sub(r"\n +(= |\+ )", r" \1", text)
    seen = 0
    for line in whole.splitlines():
        sides = line.strip().split(" = ")
        if not line.startswith("  ") or len(sides) < 2:
            continue
        value = float(sides[-1]) if re.fullmatch(r"[-+.\de]+", sides[-1]) else None
        if value is None:
            continue
        for side in sides[1:-1]:
            if "..." in side or re.search(r"[a-zA-Z]", re.sub(r"\de[-+]\d", "", side)):
                continue  # a name, a function, or terms that are not shown
            if "{" in side or "|" in side:
                continue
            computed = eval(side.replace("×", "*").replace("^", "**"))
            assert computed == pytest.approx(value, rel=1e-4, abs=2e-6), line
            seen += 1
    assert seen > 0


class TestWhatIsSaid:
    def test_softmax_and_cross_entropy(self) -> None:
        trace = example("softmax")
        text = str(trace.explain())
        assert "softmax and the cross-entropy are one step" in text
        assert "dE/dz3 = o1 - t1 = " in text
        assert "dE/do1" not in text
        assert "softmax 함수와 교차 엔트로피는 한 단계" in str(trace.explain(lang="ko"))

    def test_an_activation_as_a_layer_of_its_own(self) -> None:
        text = str(example("separate").explain())
        assert 'Output layer "layer0"' in text
        assert "A hidden unit has no target" not in text
        assert "dE/dh1 = o1 - t1 = " in text
        assert "dh1/dz1" in text

    def test_softmax_by_itself(self) -> None:
        text = str(example("jacobian").explain())
        assert "Each output of softmax depends on every z of the row" in text
        assert "dE/dz4 = o1 × (dE/do1 - (dE/do1 × o1 + dE/do2 × o2))" in text

    def test_rows_are_added(self) -> None:
        text = str(example("binary", 6).explain("layer1.bias[0]"))
        assert "Each row of the batch adds its own product" in text
        assert "  row 4 = " in text
        assert "  row 5 = " not in text
        assert "The 2 rows that are not shown add" in text
        whole = str(example("binary", 6).explain())
        assert "Of each sum the first 4 of 6 rows are shown." in whole

    def test_updates(self) -> None:
        text = str(example("softmax").explain("layer0.kernel[0, 0]"))
        for line in ("m' = beta_1 × m + (1 - beta_1) × g", "v' = beta_2 × v + (1 - beta_2) × g^2",
                     "rate = lr × sqrt(1 - beta_2^t) / (1 - beta_1^t)",
                     "W1' = W1 - rate × m' / (sqrt(v') + epsilon)"):  # fmt: skip
            assert line in text
        assert "W1' = W1 - lr × weight_decay × W1 - rate" in str(
            example("jacobian").explain("layer0.kernel[0, 0]")
        )
        assert "m' = momentum × m - lr × dE/dW1" not in str(
            example("binary").explain("layer0.kernel[0, 0]")
        )
        assert "m' = momentum × m - lr × g" in str(example("binary").explain())

    def test_clipping(self) -> None:
        model = worked_example()
        model.compile(optimizers.SGD(0.5, clipvalue=0.01), "mse")
        text = str(model.trace(X, T).explain("output.kernel[0, 0]"))
        assert "clipvalue = 0.01 has clipped the gradients" in text
        assert "  dE/dW5 = 0.02592286\n  g = 0.01000000\n" in text
        assert "W5' = W5 - lr × g = 0.45 - 0.5 × 0.01000000 = 0.44500000" in text

    def test_regularization(self) -> None:
        text = str(example("all_kinds").explain())
        assert "Regularization adds its penalty" in text
        assert "+ 2 × 0.01 × W1" in text
        assert "+ 0.01 × sign(o1)" in text
        assert "The gradient includes the derivative of the penalty." in text

    def test_label_smoothing_and_raw_outputs(self) -> None:
        model = nncore.Sequential([Input((2,)), Dense(3, dtype="float64", name="raw")])
        loss = nncore.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
        model.compile("sgd", loss)
        text = str(model.trace([[1.0, 2.0]], [[0, 1, 0]]).explain())
        assert "Label smoothing 0.3 has moved the targets" in text
        assert "The loss takes raw outputs (from_logits=True): p is softmax(o)." in text
        assert re.search(r"dE/do2 = p2 - t2 = 0\.\d+ - 0\.8 = ", text)
        check_equations(text)

    def test_frozen(self) -> None:
        model = worked_example()
        model.get_layer("hidden").trainable = False
        text = str(model.trace(X, T).explain())
        assert 'The layer "hidden" is not trained' in text
        assert "W1'" not in text
        model.trainable = False
        assert "No layer is trained" in str(model.trace(X, T).explain())

    def test_large_networks_are_bounded(self) -> None:
        trace = example("wide", 6)
        text = str(trace.explain())
        assert "This step is too large to write out: 1,390 parameters in 2 layers, 6 rows." in text
        assert 'trace.explain("layer0.kernel[0, 0]")' in " ".join(text.split())
        assert re.search(r"layer1.dw +40 x 30 +\d", text)
        assert "the weight of this layer with the largest gradient" in text
        assert len(text) < 9000
        assert "Shown are the first 6 of 30 outputs." in text
        assert "Shown are the first 6 of 30 terms." in str(trace.explain("layer0.kernel[0, 0]"))

    def test_deep_networks_are_bounded(self) -> None:
        text = str(example("deep").explain())
        assert "(1 layers between are left out)" in text
        assert "And so on up to the loss" in str(example("deep").explain("layer0.kernel[0, 0]"))

    def test_float32_shows_six_decimals(self) -> None:
        model = nncore.Sequential([Input((2,)), Dense(1, name="line")])
        model.set_weights([[[0.1], [0.2]], [0.3]])
        model.compile("sgd", "mse")
        text = str(model.trace([[1.0, 2.0]], [[0.5]]).explain())
        assert "z1 = W1 × x1 + W2 × x2 + b1 = 0.1 × 1 + 0.2 × 2 + 0.3 = 0.800000" in text

    def test_not_a_number(self) -> None:
        model = worked_example()
        model.set_weights([np.full((2, 2), np.nan), np.ones((2, 2))])
        text = str(model.trace(X, T).explain())
        assert "o1 = 1 / (1 + e^(-z3)) = 1 / (1 + e^(-nan)) = nan" in text

    def test_no_word_is_missing(self) -> None:
        assert set(WORDS["en"]) == set(WORDS["ko"])
        for key, words in WORDS["en"].items():
            fields = set(re.findall(r"{(\w+)}", words))
            assert fields == set(re.findall(r"{(\w+)}", WORDS["ko"][key])), key
            assert key == "without_bias" or re.search("[가-힣]", WORDS["ko"][key]), key

    def test_html_is_self_contained(self) -> None:
        html = worked_example().trace(X, T).explain()._repr_html_()
        assert "<math" in html
        assert not re.search(r"https?:|<script|<link|src=", html)
        model = nncore.Sequential([Input((1,)), Dense(1, name="<b>&")])
        model.compile("sgd", "mse")
        html = model.trace([[1.0]], [[0.5]]).explain().html
        assert "<b>" not in html
        assert "&lt;b&gt;&amp;" in html

    def test_markdown(self) -> None:
        markdown = worked_example().trace(X, T).explain("output.kernel[0, 0]").markdown
        assert markdown.startswith("# The gradient of output.kernel[0, 0]\n")
        assert (
            r"\frac{\partial E}{\partial W_{5}} &= \frac{\partial E}{\partial o_{1}} \times "
            r"\frac{\partial o_{1}}{\partial z_{3}} \times \frac{\partial z_{3}}{\partial W_{5}}"
        ) in markdown


class TestErrors:
    @pytest.mark.parametrize(
        ("what", "error", "words"),
        [
            ("hiden.kernel[0, 0]", KeyError,
             'unknown parameter "hiden.kernel": did you mean "hidden.kernel"?'),
            ("hidden.bias[0]", KeyError, "Known: hidden.kernel, output.kernel"),
            ("hidden.kernel", ValueError, r"from hidden.kernel\[0, 0\] to hidden.kernel\[1, 1\]"),
            ("hidden.kernel[2, 0]", ValueError, r"has shape \(2, 2\).*received 'hidden.kernel\[2"),
            ("hidden.kernel[0]", ValueError, r"has shape \(2, 2\)"),
            ("hidden", ValueError, r'a parameter with its index, such as "hidden.kernel\[0, 0\]"'),
            (3, TypeError, "what must be None or a parameter"),
        ],
    )  # fmt: skip
    def test_parameters(self, what: Any, error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            worked_example().trace(X, T).explain(what)

    def test_languages(self) -> None:
        with pytest.raises(ValueError, match='lang must be one of "en", "ko"; received lang=\'de'):
            worked_example().trace(X, T).explain(lang="de")

    def test_frozen(self) -> None:
        model = worked_example()
        model.get_layer("hidden").trainable = False
        with pytest.raises(ValueError, match="trainable=False, so there is no gradient"):
            model.trace(X, T).explain("hidden.kernel[0, 0]")


class TestCommand:
    def run(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        assert cli.main(["trace", *arguments]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_worked_example(self, lang: str, capsys: pytest.CaptureFixture[str]) -> None:
        text = self.run(capsys, "--lang", lang)
        assert text == (GOLDEN / f"worked_example.{lang}.txt").read_text(encoding="utf-8")

    def test_steps(self, capsys: pytest.CaptureFixture[str]) -> None:
        plain = worked_example()
        plain.compile(optimizers.SGD(0.5), "mse", engine="reference")
        errors = [f"{plain.train_on_batch(X, T):.8f}" for _ in range(3)]
        lines = self.run(capsys, "--steps", "2").splitlines()
        assert [line.split()[:2] for line in lines[-3:]] == [
            [str(step), error] for step, error in enumerate(errors)
        ]
        assert lines[-2].split() == ["1", "0.02323634", "-0.00073556"]
        lines = self.run(capsys, "--steps", "300", "--lang", "ko").splitlines()
        assert len(lines) < 160
        assert "단계마다의 오차" in lines
        assert lines[-1].split()[0] == "300"

    def test_one_parameter(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "dE/dW5 = dE/do1" in self.run(capsys, "--explain", "output.kernel[0, 0]")

    def test_a_saved_model(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = nncore.Sequential([Input((2, 1)), nncore.layers.Flatten(), Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        path = tmp_path / "model.nncore"
        model.save(path)
        arguments = ["--model", str(path), "--row", "0.5,-1", "--target", "2"]
        text = self.run(capsys, *arguments, "--steps", "3")
        assert "sparse_categorical_crossentropy" in text
        (tmp_path / "rows.csv").write_text("0.5,-1\n1,2\n\n")
        (tmp_path / "targets.csv").write_text("2\n0\n")
        arguments[3], arguments[5] = str(tmp_path / "rows.csv"), str(tmp_path / "targets.csv")
        assert "The batch has 2 rows" in self.run(capsys, *arguments)
        arguments[5] = "2,0"
        assert "The batch has 2 rows" in self.run(capsys, *arguments)
        before = nncore.load_model(path).get_weights()
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_errors(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        bare = nncore.Sequential([Input((2,)), Dense(1)])
        bare.save(tmp_path / "bare")
        (tmp_path / "bad.csv").write_text("1,2\n1,x\n")
        (tmp_path / "short.csv").write_text("1,2\n1\n")
        (tmp_path / "empty.csv").write_text("\n")
        for arguments, words in (
            (["--row", "1,x"], "--row: wanted numbers separated by commas, such as 0.1,0.2; "
             "received '1,x', and no file of that name"),
            (["--row", "1,2,3"], "--row must have 2 numbers, the model's inputs; received 3"),
            (["--target", "1"], "trace: "),
            (["--row", str(tmp_path / "bad.csv")], "bad.csv, line 2: wanted numbers"),
            (["--row", str(tmp_path / "short.csv")], "line 2: has 1 numbers, but the first has 2"),
            (["--row", str(tmp_path / "empty.csv")], "the file is empty"),
            (["--model", str(tmp_path / "bare")], "--model needs --row too"),
            (["--model", str(tmp_path / "bare"), "--row", "1,2", "--target", "1"],
             "saved without a loss"),
            (["--model", str(tmp_path / "none"), "--row", "1,2", "--target", "1"], "none"),
            (["--explain", "hidden.bias[0]"], '--explain: unknown parameter "hidden.bias"'),
        ):  # fmt: skip
            assert cli.main(["trace", *arguments]) == 1
            captured = capsys.readouterr()
            assert captured.out == ""
            assert captured.err.startswith("nncore: error: ")
            assert words in captured.err
            assert captured.err.count("\n") == 1

    def test_wrong_language(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            cli.main(["trace", "--lang", "de"])
        assert "invalid choice: 'de'" in capsys.readouterr().err
