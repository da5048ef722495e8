"""A training step told in words and numbers: what :meth:`nncore.trace.Trace.explain` returns.

The numbers are those of the trace.  What is computed here for showing (a derivative of an
activation, one output's part of the loss) comes from the kernels; the formulas are those of
``nncore/_formulas.py``, the words those of ``nncore/_words.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore import _formulas, _names, kernels
from nncore._markup import Document, Formula, atom, exp, fixed, partial, root, short, total
from nncore._words import LANGUAGES, WORDS

if TYPE_CHECKING:
    from nncore.trace import LayerTrace, Trace

__all__ = ["Explanation", "explain"]

#: A step with more parameters, or units in a layer, or layers, is shown by shapes and norms.
MOST_PARAMETERS = 40
MOST_UNITS = 8
MOST_LAYERS = 6
#: Terms of a sum, rows of a batch, units of a layer above, numbers of an array that are shown.
TERMS = 6
ROWS = 4
UNITS = 4
FIRST = 4

_PART = re.compile(r"(.+)\.(kernel|bias|w|b|dw|db)(?:\[\s*(-?\d+)\s*(?:,\s*(-?\d+)\s*)?\])?")
_SQUARES = {"root_mean_squared_error": "mean_squared_error"}


class Explanation:
    """Words and numbers of a training step.

    ``print`` it in a terminal; a notebook shows it as HTML with formulas.

    Attributes
    ----------
    lang : {"en", "ko"}
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.lang = document.lang

    def __str__(self) -> str:
        """Return it as plain text."""
        return self._document.text()

    def __repr__(self) -> str:
        return str(self)

    @property
    def markdown(self) -> str:
        """As Markdown, formulas in LaTeX between dollars."""
        return self._document.markdown()

    @property
    def html(self) -> str:
        """As HTML, formulas in MathML: no script, no style sheet, nothing from a network."""
        return self._document.html()

    def _repr_html_(self) -> str:
        return self.html

    def _repr_markdown_(self) -> str:
        return self.markdown


def explain(trace: Trace, what: str | None = None, lang: str = "en") -> Explanation:
    """Explain a step, or the gradient of one parameter; see :meth:`nncore.trace.Trace.explain`.

    Parameters
    ----------
    trace : Trace
        A step.
    what : str, optional
        ``"hidden.kernel[0, 1]"``; default: the whole step.
    lang : {"en", "ko"}, default "en"
        The language.

    Returns
    -------
    Explanation
        To print, or to show in a notebook.
    """
    _names.check_choice("explain", "lang", lang, LANGUAGES)
    story = _Story(trace, lang)
    if what is None:
        story.tell()
    else:
        story.tell_of(*_parameter(trace, what))
    return Explanation(story.doc)


def _parameter(trace: Trace, what: object) -> tuple[LayerTrace, str, tuple[int, ...]]:
    """Return the layer, "w" or "b", and the index that a text names."""
    example = next((f"{name}[{_zeros(trace[name])}]" for name in trace.parameters), "hidden.w[0]")
    if not isinstance(what, str):
        raise TypeError(
            f'explain: what must be None or a parameter such as "{_public(example)}"; '
            f"received {what!r}"
        )
    found = _PART.fullmatch(what.strip())
    known = [_public(name) for name in trace.parameters]
    if found is None:
        raise ValueError(
            f'explain: what must be a parameter with its index, such as "{_public(example)}"; '
            f"received {what!r}. Parameters: {', '.join(known) or 'none'}"
        )
    name, part = found[1], found[2].lstrip("d")[0].replace("k", "w")
    if f"{name}.d{part}" not in trace:
        layer = next((layer for layer in trace.layers if layer.name == name), None)
        if layer is not None and layer.kind == "Dense" and not layer.trainable:
            raise ValueError(
                f'explain: the layer "{name}" has trainable=False, so there is no gradient for '
                f"{what}"
            )
        given = _public(f"{name}.{part}")
        raise KeyError(_names.unknown_name("parameter", given, known))
    shape = trace[f"{name}.{part}"].shape
    given_index = tuple(int(n) for n in found.groups()[2:] if n is not None)
    inside = len(given_index) == len(shape) and all(
        -n <= i < n for i, n in zip(given_index, shape, strict=True)
    )
    if not inside:
        public = _public(f"{name}.{part}")
        raise ValueError(
            f"explain: {public} has shape {shape}, so an index is from "
            f"{public}[{_zeros(trace[f'{name}.{part}'])}] to "
            f"{public}[{', '.join(str(n - 1) for n in shape)}]; received {what!r}"
        )
    index = tuple(i % n for i, n in zip(given_index, shape, strict=True))
    return trace.layer(name), part, index


def _zeros(array: NDArray[Any]) -> str:
    return ", ".join("0" * array.ndim)


def _public(name: str) -> str:
    """Return hidden.w as hidden.kernel, the word of the public API."""
    return re.sub(
        r"\.([wb])(?=$|\[)", lambda m: ".kernel" if m[1] == "w" else ".bias", name, count=1
    )


@dataclass(frozen=True, slots=True)
class _Stage:
    """A layer that computes something."""

    layer: LayerTrace
    number: int
    dense: int  # its number among the Dense layers, from 1; 0: it is none
    letter: str
    sup: str
    z_before: int = 0  # units of the Dense layers below: where running numbers go on
    w_before: int = 0
    b_before: int = 0

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def elementwise(self) -> bool:
        return self.layer.activation != "softmax"


def computes(layer: LayerTrace) -> bool:
    """Tell whether a layer computes something; a Flatten hands on what it gets."""
    if layer.kind == "Dense" or layer.activation != "linear" or layer.kind == "Rescaling":
        return True
    return layer.kind == "Dropout" and layer.alpha > 0


def letters(layers: Sequence[LayerTrace]) -> list[tuple[str, str]]:
    """Return how the outputs of each layer are called: a letter, and the layer's number above it.

    ``h`` for a hidden Dense layer, ``a`` for another one, ``o`` for the last; a number where
    there are several of a kind.

    Parameters
    ----------
    layers : sequence of LayerTrace
        Those that compute something.
    """
    if not layers:
        return []
    n_hidden = sum(layer.kind == "Dense" for layer in layers[:-1])
    n = {"h": n_hidden, "a": len(layers) - 1 - n_hidden}
    count = {"h": 0, "a": 0}
    found = []
    for layer in layers[:-1]:
        letter = "h" if layer.kind == "Dense" else "a"
        count[letter] += 1
        found.append((letter, str(count[letter]) if n[letter] > 1 else ""))
    return [*found, ("o", "")]


class _Story:
    """Writes the document."""

    def __init__(self, trace: Trace, lang: str) -> None:
        self.trace = trace
        self.doc = Document(lang)
        self.words: Mapping[str, str] = WORDS[lang]
        self.digits = 8 if trace.dtype == "float64" else 6
        self.row = 0
        self.E = atom("E")
        layers = [layer for layer in trace.layers if computes(layer)]
        sizes = [trace[name].size for name in trace if re.fullmatch(r".+\.[wb]", name)]
        self.n_parameters = sum(sizes)
        widths = [trace[f"{layer.name}.y"].shape[1] for layer in layers]
        widths.append(trace["x"].shape[1])
        self.small = (
            self.n_parameters <= MOST_PARAMETERS
            and max(widths) <= MOST_UNITS
            and len(layers) <= MOST_LAYERS
        )
        self.stages: list[_Stage] = []
        count = z = w = b = 0
        for i, (layer, (letter, sup)) in enumerate(zip(layers, letters(layers), strict=True)):
            count += layer.kind == "Dense"
            number = count if layer.kind == "Dense" else 0
            self.stages.append(_Stage(layer, i, number, letter, sup, z, w, b))
            if layer.kind == "Dense":
                z += trace[f"{layer.name}.y"].shape[1]
                w += trace[f"{layer.name}.w"].size
                if f"{layer.name}.b" in trace:
                    b += trace[f"{layer.name}.b"].size
        self.n_dense = count
        self.last = self.stages[-1] if self.stages else None

    # --- words, names, numbers ---

    def say(self, key: str, **fields: Any) -> None:
        """Add a paragraph."""
        self.doc.say(self.words[key].format(**fields))

    def heading(self, level: int, key: str, **fields: Any) -> None:
        """Add a heading."""
        self.doc.heading(level, self.words[key].format(**fields))

    def num(self, value: Any) -> Formula:
        """Return a computed number."""
        return fixed(float(value), self.digits)

    def given(self, value: Any) -> Formula:
        """Return a number that somebody gave, such as a weight or an input."""
        return short(float(value), self.digits)

    def array(self, stage: _Stage, part: str) -> NDArray[Any]:
        """Return an array of a layer."""
        return self.trace[f"{stage.name}.{part}"]

    def at(self, stage: _Stage, part: str, *index: int) -> float:
        """Return a number of the row that is told of (or of a parameter)."""
        array = self.array(stage, part)
        if part in ("w", "b", "dw", "db"):
            return float(array[index])
        return float(array[(self.row, *index)])

    def below(self, stage: _Stage) -> _Stage | None:
        """Return the stage that feeds this one; None: the input does."""
        return self.stages[stage.number - 1] if stage.number else None

    def above(self, stage: _Stage | None) -> _Stage | None:
        """Return the stage that this one feeds; None: it is the last."""
        number = 0 if stage is None else stage.number + 1
        return self.stages[number] if number < len(self.stages) else None

    def y(self, stage: _Stage | None, j: int) -> Formula:
        """Return the name of an output of a stage, or of the input."""
        if stage is None:
            return atom("x", str(j + 1))
        return atom(stage.letter, str(j + 1), stage.sup)

    def z(self, stage: _Stage, j: int) -> Formula:
        """Return the name of a weighted sum."""
        if self.small:
            return atom("z", str(stage.z_before + j + 1))
        return atom("z", str(j + 1), str(stage.dense) if self.n_dense > 1 else "")

    def w(self, stage: _Stage, i: int, j: int) -> Formula:
        """Return the name of a weight."""
        if self.small:
            n_in = self.array(stage, "w").shape[0]
            return atom("W", str(stage.w_before + j * n_in + i + 1))
        return atom("w", f"{i + 1},{j + 1}", str(stage.dense) if self.n_dense > 1 else "")

    def b(self, stage: _Stage, j: int) -> Formula:
        """Return the name of a bias."""
        if self.small:
            return atom("b", str(stage.b_before + j + 1))
        return atom("b", str(j + 1), str(stage.dense) if self.n_dense > 1 else "")

    def parameter(self, stage: _Stage, part: str, index: tuple[int, ...]) -> Formula:
        """Return the name of a weight or a bias."""
        return self.w(stage, *index) if part == "w" else self.b(stage, *index)

    def every(self, stage: _Stage) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield a layer's parameters unit by unit, as textbooks number them."""
        n_in, n_out = self.array(stage, "w").shape
        for j in range(n_out):
            for i in range(n_in):
                yield "w", (i, j)
        if f"{stage.name}.b" in self.trace:
            for j in range(n_out):
                yield "b", (j,)

    def label(self, key: str, **fields: Any) -> Formula:
        """Return words as the left side of an equation."""
        text = self.words[key].format(**fields)
        return Formula(text, rf"\text{{{text}}}", f"<mtext>{text}</mtext>")

    def dense_stages(self) -> list[_Stage]:
        """Return the Dense layers."""
        return [stage for stage in self.stages if stage.dense]

    # --- the whole step ---

    def tell(self) -> None:
        """Tell the whole step."""
        trace = self.trace
        self.heading(1, "title")
        chain = [self.words["inputs"].format(n=trace["x"].shape[1])]
        chain += [f'"{stage.name}" ({self._what(stage)})' for stage in self.stages]
        rate = self.given(trace.learning_rate).text
        self.say(
            "network", chain=" → ".join(chain), loss=self._plain(), rate=rate,
            optimizer=trace.optimizer or "-", rows=self._rows(), dtype=trace.dtype,
        )  # fmt: skip
        self.say("counting")
        if self.small:
            self._numbering()
        else:
            names = trace.parameters or ("hidden.w",)
            example = f"{_public(names[0])}[0, 0]"
            self.say(
                "large", parameters=f"{self.n_parameters:,}", layers=len(self.stages),
                rows=self._rows(), n=FIRST, example=example,
            )  # fmt: skip
        if trace.rows > 1:
            self.say("one_row", rows=trace.rows, row=self.row + 1)
        self._forward()
        self._error()
        self._backward()
        self._update()
        self._after()

    def _rows(self) -> str:
        """Return how many rows there are, in words."""
        n = self.trace.rows
        return self.words["a_row" if n == 1 else "some_rows"].format(n=n)

    def _what(self, stage: _Stage) -> str:
        layer = stage.layer
        words = [layer.kind]
        if stage.dense:
            words.append(str(self.array(stage, "w").shape[1]))
        if layer.activation != "linear" and layer.kind != "Softmax":
            words.append(layer.activation)
        if layer.kind in ("Dropout", "Rescaling"):
            words.append(f"{layer.alpha:g}")
        return " ".join(words)

    def _numbering(self) -> None:
        rows: list[tuple[Any, ...]] = []
        for stage in self.dense_stages():
            for part, index in self.every(stage):
                where = f"[{', '.join(str(i) for i in index)}]"
                name = _public(f"{stage.name}.{part}") + where
                value = self.given(self.at(stage, part, *index))
                rows.append((self.parameter(stage, part, index), name, value))
        if rows:
            self.say("numbering")
            self.doc.table(
                (self.words["symbol"], self.words["parameter"], self.words["value"]), rows
            )

    def _shown(self) -> list[_Stage]:
        """Return the stages that a table of a large net shows."""
        if len(self.stages) <= 2 * UNITS:
            return self.stages
        return [*self.stages[:UNITS], *self.stages[-UNITS:]]

    def _arrays(self, *parts: str, backwards: bool = False) -> None:
        """Add a table of arrays: shape, norm, the first numbers."""
        rows: list[tuple[str, ...]] = []
        shown = self._shown()
        for stage in reversed(shown) if backwards else shown:
            for part in parts:
                name = f"{stage.name}.{part}"
                if name in self.trace:
                    rows.append((name, *self._measures(self.trace[name])))
        head = (self.words["array"], self.words["shape"], self.words["norm"], self.words["first"])
        self.doc.table(head, rows)
        if len(shown) < len(self.stages):
            self.say("left_out_layers", n=len(self.stages) - len(shown))

    def _measures(self, array: NDArray[Any]) -> tuple[str, str, str]:
        norm = math.sqrt(float(np.square(array, dtype=np.float64).sum()))
        first = [self.num(value).text for value in array.ravel()[:FIRST].tolist()]
        dots = " ..." if array.size > FIRST else ""
        return (
            " x ".join(str(n) for n in array.shape),
            self.num(norm).text,
            ", ".join(first) + dots,
        )

    # --- forward ---

    def _forward(self) -> None:
        self.heading(2, "forward")
        if not self.small:
            self._arrays("x", "w", "b", "z", "y")
            return
        for stage in self.stages:
            self.heading(3, "stage", n=stage.number + 1, layer=stage.name)
            layer = stage.layer
            if stage.dense:
                self._forward_dense(stage)
                continue
            if layer.kind == "Dropout":
                self.say("stage_dropout", rate=f"{layer.alpha:g}")
            elif layer.kind == "Rescaling":
                self.say("stage_rescaling", scale=f"{layer.alpha:g}", offset=f"{layer.beta:g}")
            else:
                self._say_activation(layer.activation)
            n = self.array(stage, "y").shape[1]
            self.doc.equations(*(self._output(stage, j) for j in range(n)))

    def _say_activation(self, activation: str) -> None:
        if activation == "softmax":
            self.say("softmax")
        else:
            self.say("stage_activation", activation=activation)

    def _forward_dense(self, stage: _Stage) -> None:
        activation = stage.layer.activation
        bias = f"{stage.name}.b" in self.trace
        then = "then_nothing" if activation == "linear" else "then_activation"
        self.say(
            "weighted_sum",
            bias=self.words["with_bias" if bias else "without_bias"],
            then=self.words[then].format(activation=activation),
        )
        if activation == "softmax":
            self.say("softmax")
        n_out = self.array(stage, "w").shape[1]
        self.doc.equations(*(self._sum_of(stage, j) for j in range(n_out)))
        self.doc.equations(*(self._output(stage, j) for j in range(n_out)))

    def _sum_of(self, stage: _Stage, j: int) -> list[Formula]:
        """Return z = W x + b, named, with numbers, and its value."""
        below = self.below(stage)
        n_in = self.array(stage, "w").shape[0]
        kept = range(min(n_in, TERMS))
        names = [self.w(stage, i, j) * self.y(below, i) for i in kept]
        numbers = [
            self.given(self.at(stage, "w", i, j)) * self.given(self.at(stage, "x", i)) for i in kept
        ]
        left = n_in - len(names)
        named, counted = total(names, left), total(numbers, left)
        if f"{stage.name}.b" in self.trace:
            named = named + self.b(stage, j)
            counted = counted + self.given(self.at(stage, "b", j))
        return [self.z(stage, j), named, counted, self.num(self.at(stage, "z", j))]

    def _before(self, stage: _Stage, j: int) -> tuple[Formula, float]:
        """Return what an activation is applied to: its name and its value."""
        if stage.dense:
            return self.z(stage, j), self.at(stage, "z", j)
        return self.y(self.below(stage), j), self.at(stage, "x", j)

    def _output(self, stage: _Stage, j: int) -> list[Formula]:
        """Return y = f(z), named, with numbers, and its value."""
        layer = stage.layer
        y, value = self.y(stage, j), self.num(self.at(stage, "y", j))
        z, number = self._before(stage, j)
        if layer.kind == "Dropout":
            kept = self._mask(stage, j)
            formula = z * kept / (1 - self.given(layer.alpha))
            return [y, formula, self.given(number) * kept / (1 - self.given(layer.alpha)), value]
        if layer.kind == "Rescaling":
            scale, offset = self.given(layer.alpha), self.given(layer.beta)
            return [y, z * scale + offset, self.given(number) * scale + offset, value]
        if layer.activation == "softmax":
            n = self.array(stage, "y").shape[1]
            kept_terms = range(min(n, TERMS))
            before = [self._before(stage, k) for k in kept_terms]
            names = total([exp(name) for name, _ in before], n - len(before))
            numbers = total([exp(self.num(v)) for _, v in before], n - len(before))
            return [y, exp(z) / names, exp(self.num(number)) / numbers, value]
        known = _formulas.ACTIVATIONS.get(layer.activation)
        if known is None:
            return [y, _applied(layer.activation, z), value]
        if layer.activation == "linear":
            return [y, z, value]
        alpha = self.given(layer.alpha)
        return [y, known[0](z, alpha), known[0](self.num(number), alpha), value]

    def _mask(self, stage: _Stage, j: int) -> Formula:
        """Return 1 where dropout kept an input, else 0."""
        kept = self.at(stage, "y", j) != 0
        if self.at(stage, "x", j) == 0:  # a zero tells nothing, but the way back may
            kept = self.at(stage, "dx", j) != 0 or self.at(stage, "dy", j) == 0
        return self.given(1.0 if kept else 0.0)

    # --- the error ---

    @property
    def kernel(self) -> str:
        """The loss's kernel; softmax_ and sigmoid_ say that it reads raw outputs."""
        return self.trace.loss_name

    @property
    def absorbed(self) -> bool:
        """Whether the loss takes in the last activation."""
        return self.last is not None and self.last.layer.absorbed

    @property
    def categorical(self) -> bool:
        """Whether the loss is a sum over classes."""
        return "categorical" in self.kernel

    @property
    def smoothed(self) -> bool:
        """Whether labels are smoothed."""
        return "crossentropy" in self.kernel and self.trace.loss_alpha != 0

    def _targets(self) -> NDArray[Any]:
        """Return the row's targets as the loss uses them: one-hot, smoothed."""
        n = self.trace["y"].shape[1]
        t = self.trace["t"]
        row: NDArray[Any] = np.eye(n)[int(t[self.row])] if t.ndim == 1 else t[self.row] * 1.0
        if self.smoothed:
            alpha = self.trace.loss_alpha
            row = row * (1 - alpha) + alpha / (n if self.categorical else 2)
        return row

    def _outputs(self) -> tuple[Callable[[int], Formula], NDArray[Any]]:
        """Return name and values of what is held against the targets."""
        values = self.trace["y"][self.row].astype(np.float64)
        if self.kernel.startswith(("softmax_", "sigmoid_")) and not self.absorbed:
            activation = self.kernel.partition("_")[0]
            after: NDArray[Any] = kernels.activate(activation, values[None, :])[0]
            return (lambda k: atom("p", str(k + 1))), after
        if "categorical" in self.kernel and not self.kernel.startswith("softmax_"):
            values = values / values.sum()
            if abs(float(self.trace["y"][self.row].sum()) - 1) > 1e-6:
                return (lambda k: atom("p", str(k + 1))), values
        return (lambda k: self.y(self.last, k)), values

    def _plain(self) -> str:
        """Return the loss as a formula of outputs after the activation."""
        return self.kernel.removeprefix("softmax_").removeprefix("sigmoid_")

    def _error(self) -> None:
        self.heading(2, "error")
        n = self.trace["y"].shape[1]
        plain = self._plain()
        name, values = self._outputs()
        targets = self._targets()
        if self.categorical:
            self.say("error_classes", loss=plain)
        else:
            mean = self.words["error_mean"].format(n=n) if n > 1 else ""
            self.say("error_of", loss=plain, mean=mean)
        if self.smoothed:
            self.say("smoothing", alpha=f"{self.trace.loss_alpha:g}")
        if self.kernel != plain and not self.absorbed:
            self.say("logits", activation=self.kernel.partition("_")[0])
        alone = self._alone()
        letter = "E" if alone else "L"
        parts: list[tuple[Formula, float]] = []
        lines = []
        chosen = [k for k in range(n) if not self.categorical or targets[k] != 0]
        for k in chosen[:TERMS]:
            part, value = self._part(k, name(k), values[k], targets[k], n)
            symbol = atom(letter, str(k + 1))
            parts.append((symbol, value))
            lines.append([symbol, *part, self.num(value)])
        self.doc.equations(*lines)
        if len(chosen) > TERMS:
            self.say("more_terms", shown=TERMS, n=len(chosen))
        left = len(chosen) - len(parts)
        row_loss = float(self.trace["loss.rows"][self.row])
        whole = self.E if alone else atom("L")
        self.say("in_all")
        self.doc.equations(
            [
                whole,
                total([symbol for symbol, _ in parts], left),
                total([self.num(value) for _, value in parts], left),
                self.num(row_loss),
            ]
        )
        if not alone:
            self._error_of_rows()
        if "loss.penalty" in self.trace:
            penalty = float(self.trace["loss.penalty"])
            loss = self.trace.loss
            self.say("penalty")
            self.doc.equations(
                [self.E, self.num(loss - penalty) + self.num(penalty), self.num(loss)]
            )

    def _alone(self) -> bool:
        """Whether the row's error is the step's."""
        trace = self.trace
        return trace.rows == 1 and "r" not in trace and self.kernel != "root_mean_squared_error"

    def _part(
        self, k: int, o: Formula, value: float, target: float, n: int
    ) -> tuple[list[Formula], float]:
        """Return one output's part of the row's error: formula, numbers, and its value."""
        t, number, wanted = atom("t", str(k + 1)), self.num(value), self.given(target)
        if self.categorical:
            formula = _formulas.CLASS_LOSS
            part = -target * math.log(min(max(float(value), 1e-7), 1 - 1e-7))
            if self.kernel.startswith("softmax_"):
                part = -target * float(_log_softmax(self._raw())[k])
            return [formula(o, t), formula(number, wanted)], part
        known = _formulas.LOSSES.get(self._plain())
        raw = self._raw()[k]
        kernel = _SQUARES.get(self.kernel, self.kernel)
        # Labels are smoothed already.
        alpha = None if self.smoothed else self.trace.loss_alpha
        one = np.array([[raw]], self.trace["y"].dtype)
        part = float(kernels.loss_rows(kernel, one, [[target]], alpha)[0]) / n
        if known is None:
            return [], part
        delta = self.given(self.trace.loss_alpha)
        lines = [known[0](o, t, delta), known[0](number, wanted, delta)]
        return [line / n if n > 1 else line for line in lines], part

    def _raw(self) -> NDArray[Any]:
        """Return what the loss's kernel reads, of this row."""
        found = self.trace["y"]
        if self.absorbed:
            assert self.last is not None
            found = self.array(self.last, "z" if self.last.dense else "x")
        raw: NDArray[Any] = found[self.row]
        return raw

    def _error_of_rows(self) -> None:
        trace = self.trace
        rows = trace["loss.rows"]
        weights = trace.get("r")
        if self.kernel == "root_mean_squared_error":
            self.say("rooted")
        else:
            reduction = "mean" if trace.reduction == "sum_over_batch_size" else trace.reduction
            if reduction == "mean_with_sample_weight" and weights is None:
                reduction = "mean"
            words = self.words[reduction]
            if weights is not None and reduction != "mean_with_sample_weight":
                words += self.words["weighted"]
            self.say("row_errors", reduction=words)
        terms = []
        for i in range(min(trace.rows, TERMS)):
            term = self.num(rows[i])
            terms.append(term if weights is None else self.given(weights[i]) * term)
        found = total(terms, trace.rows - len(terms))
        for divisor in self._divisors(1):
            found = found / divisor
        if self.kernel == "root_mean_squared_error":
            found = root(found)
        loss = trace.loss - float(trace.get("loss.penalty", np.zeros(())))
        self.doc.equations([self.E, found, self.num(loss)])

    def _divisors(self, n: int) -> list[Formula]:
        """Return what a row's loss is divided by: outputs, rows or the sum of weights."""
        trace = self.trace
        divisors = [self.given(n)] if n > 1 else []
        if trace.reduction == "mean_with_sample_weight":
            weights = trace["r"] if "r" in trace else np.ones(trace.rows)
            if float(weights.sum()) != 1:
                divisors.append(self.given(weights.sum()))
        elif trace.reduction != "sum" and trace.rows > 1:
            divisors.append(self.given(trace.rows))
        return divisors

    # --- back ---

    def _loss_slope(self, lhs: Formula, k: int, value: float) -> list[Formula]:
        """Return the loss's derivative by what its kernel reads: formula, numbers, value."""
        n = self.trace["y"].shape[1]
        name, values = self._outputs()
        o, t = name(k), atom("t", str(k + 1))
        number, wanted = self.num(values[k]), self.given(self._targets()[k])
        lines: list[Formula]
        if self.kernel.startswith(("softmax_", "sigmoid_")):
            whole = float(self._targets().sum()) if self.categorical else 1.0
            if abs(whole - 1) < 1e-6:
                lines = [o - t, number - wanted]
            else:
                lines = [o * self.given(whole) - t, number * self.given(whole) - wanted]
        elif self.categorical:
            whole, sum_ = float(self._targets().sum()), float(self.trace["y"][self.row].sum())
            lines = [self.given(whole) - t / o, self.given(whole) - wanted / number]
            if abs(sum_ - 1) > 1e-6:
                lines = [line / self.num(sum_) for line in lines]
        else:
            known = _formulas.LOSSES.get(self.kernel)
            if known is None:
                return [lhs, self.num(value)]
            delta = self.given(self.trace.loss_alpha)
            lines = [known[1](o, t, delta), known[1](number, wanted, delta)]
        if "r" in self.trace:
            weight = self.trace["r"][self.row]
            lines = [atom("r") * lines[0], self.given(weight) * lines[1]]
        divisors = self._divisors(1 if self.categorical else n)
        numbers = list(divisors)
        if self.kernel == "root_mean_squared_error":
            loss = self.trace.loss - float(self.trace.get("loss.penalty", np.zeros(())))
            divisors = [*divisors, self.given(2), self.E]
            numbers = [*numbers, self.given(2), self.num(loss)]
        if divisors:
            lines = [lines[0] / _product(divisors), lines[1] / _product(numbers)]
        return [lhs, *lines, self.num(value)]

    def _error_by_output(self, stage: _Stage | None, j: int) -> list[Formula]:
        """Return dE by an output of a stage (None: the input): formula, numbers, value."""
        above = self.above(stage)
        lhs = partial(self.E, self.y(stage, j))
        if stage is None:
            value = float(self.array(self.stages[0], "dx")[self.row, j])
        else:
            value = self.at(stage, "dy", j)
        extra = self._activity(stage, j)
        if above is None:
            return _plus(self._loss_slope(lhs, j, value), extra)
        layer = above.layer
        if above.dense:
            n = self.array(above, "w").shape[1]
            kept = range(min(n, TERMS))
            links = [
                partial(self.E, self.z(above, k)) * partial(self.z(above, k), self.y(stage, j))
                for k in kept
            ]
            named = [partial(self.E, self.z(above, k)) * self.w(above, j, k) for k in kept]
            numbers = [
                self.num(self.at(above, "dz", k)) * self.given(self.at(above, "w", j, k))
                for k in kept
            ]
            left = n - len(links)
            line = [lhs, total(links, left), total(named, left), total(numbers, left)]
        elif layer.absorbed:
            return _plus(self._loss_slope(lhs, j, value), extra)
        elif layer.kind == "Dropout":
            kept_or_not = self._mask(above, j)
            rest = kept_or_not / (1 - self.given(layer.alpha))
            line = [
                lhs, partial(self.E, self.y(above, j)) * rest,
                self.num(self.at(above, "dy", j)) * rest,
            ]  # fmt: skip
        elif layer.kind == "Rescaling":
            scale = self.given(layer.alpha)
            line = [
                lhs, partial(self.E, self.y(above, j)) * scale,
                self.num(self.at(above, "dy", j)) * scale,
            ]  # fmt: skip
        elif layer.activation == "softmax":
            line = self._through_softmax(above, lhs, j)
        else:
            slope, number = self._slope(above, j)[0], self._slope_value(above, j)
            line = [
                lhs, partial(self.E, self.y(above, j)) * slope,
                self.num(self.at(above, "dy", j)) * self.num(number),
            ]  # fmt: skip
        return _plus([*line, self.num(value)], extra)

    def _activity(self, stage: _Stage | None, j: int) -> tuple[Formula, Formula] | None:
        """Return what a penalty on this output adds to its derivative."""
        if stage is None or "y" not in stage.layer.penalties:
            return None
        l1, l2 = stage.layer.penalties["y"]
        value = self.at(stage, "y", j)
        rows = self.trace.rows
        return self._penalty_slope(self.y(stage, j), value, l1, l2, rows)

    def _penalty_slope(
        self, name: Formula, value: float, l1: float, l2: float, rows: int = 1
    ) -> tuple[Formula, Formula]:
        terms, numbers = [], []
        if l2:
            terms.append(2 * self.given(l2) * name)
            numbers.append(2 * self.given(l2) * self.num(value))
        if l1:
            sign = Formula(f"sign({name.text})", rf"\operatorname{{sign}}({name.tex})",
                           f"<mi>sign</mi><mo>(</mo>{name.mathml}<mo>)</mo>")  # fmt: skip
            terms.append(self.given(l1) * sign)
            numbers.append(self.given(l1) * self.given(np.sign(value)))
        formula, number = total(terms), total(numbers)
        return (formula / rows, number / rows) if rows > 1 else (formula, number)

    def _slope(self, stage: _Stage, j: int) -> list[Formula]:
        """Return the derivative of an elementwise activation: name, formula, numbers, value."""
        layer = stage.layer
        z, number = self._before(stage, j)
        y, output = self.y(stage, j), self.num(self.at(stage, "y", j))
        lhs, value = partial(y, z), self.num(self._slope_value(stage, j))
        known = _formulas.ACTIVATIONS.get(layer.activation)
        if known is None:
            return [lhs, value]
        alpha = self.given(layer.alpha)
        formulas = [known[1](z, y, alpha), known[1](self.num(number), output, alpha)]
        if not isinstance(formulas[0], Formula):  # a constant
            return [lhs, value]
        return [lhs, *formulas, value]

    def _slope_value(self, stage: _Stage, j: int) -> float:
        part = "z" if stage.dense else "x"
        array = self.array(stage, part)[self.row, j : j + 1]
        slope = kernels.activate_derivative(stage.layer.activation, array, stage.layer.alpha)
        return float(slope[0])

    def _through_softmax(self, stage: _Stage, lhs: Formula, j: int) -> list[Formula]:
        """Return softmax's derivative: y_j (dE/dy_j - sum_k dE/dy_k y_k)."""
        n = self.array(stage, "y").shape[1]
        kept = range(min(n, TERMS))
        names = [partial(self.E, self.y(stage, k)) * self.y(stage, k) for k in kept]
        numbers = [
            self.num(self.at(stage, "dy", k)) * self.num(self.at(stage, "y", k)) for k in kept
        ]
        left = n - len(names)
        return [
            lhs,
            self.y(stage, j) * (partial(self.E, self.y(stage, j)) - _grouped(total(names, left))),
            self.num(self.at(stage, "y", j))
            * (self.num(self.at(stage, "dy", j)) - _grouped(total(numbers, left))),
        ]

    def _error_by_sum(self, stage: _Stage, j: int) -> list[Formula]:
        """Return dE/dz of a Dense unit: formula, numbers, value."""
        lhs, value = partial(self.E, self.z(stage, j)), self.at(stage, "dz", j)
        if stage.layer.absorbed:
            return self._loss_slope(lhs, j, value)
        if not stage.elementwise:
            return [*self._through_softmax(stage, lhs, j), self.num(value)]
        y = self.y(stage, j)
        return [
            lhs,
            partial(self.E, y) * partial(y, self.z(stage, j)),
            self.num(self.at(stage, "dy", j)) * self.num(self._slope_value(stage, j)),
            self.num(value),
        ]

    def _links(self, stage: _Stage, part: str, index: tuple[int, ...]) -> list[Formula]:
        """Return the links of a parameter's chain: dE/dy, dy/dz, dz/dw."""
        j = index[-1]
        z, w = self.z(stage, j), self.parameter(stage, part, index)
        if stage.layer.absorbed or not stage.elementwise:
            return [partial(self.E, z), partial(z, w)]
        y = self.y(stage, j)
        return [partial(self.E, y), partial(y, z), partial(z, w)]

    def _link_values(
        self, stage: _Stage, part: str, index: tuple[int, ...], row: int
    ) -> list[float]:
        """Return the values of the links in one row."""
        j = index[-1]
        x = float(self.array(stage, "x")[row, index[0]]) if part == "w" else 1.0
        if stage.layer.absorbed or not stage.elementwise:
            return [float(self.array(stage, "dz")[row, j]), x]
        kept, self.row = self.row, row
        try:
            return [self.at(stage, "dy", j), self._slope_value(stage, j), x]
        finally:
            self.row = kept

    def _chain(self, stage: _Stage, part: str, index: tuple[int, ...]) -> list[list[Formula]]:
        """Return the chain rule of one parameter, filled in, row by row."""
        lhs = partial(self.E, self.parameter(stage, part, index))
        links = _product(self._links(stage, part, index))
        value = self.num(self.at(stage, f"d{part}", *index))
        extra = None
        if part in stage.layer.penalties:
            l1, l2 = stage.layer.penalties[part]
            name = self.parameter(stage, part, index)
            extra = self._penalty_slope(name, self.at(stage, part, *index), l1, l2)
        rows = self.trace.rows
        if rows == 1:
            values = self._link_values(stage, part, index, 0)
            line = [lhs, links, _product([self.num(v) for v in values]), value]
            return [_plus(line, extra)]
        lines, shown = [], []
        for row in range(min(rows, ROWS)):
            values = self._link_values(stage, part, index, row)
            product = math.prod(values)
            shown.append(self.num(product))
            lines.append(
                [
                    self.label("row", n=row + 1),
                    *([links] if row == 0 else []),
                    _product([self.num(v) for v in values]),
                    self.num(product),
                ]
            )
        line = [lhs, total(shown, rows - len(shown)), value]
        if extra is not None:
            line[1] = line[1] + extra[1]
        return [*lines, line]

    def _role(self, stage: _Stage) -> str:
        if not stage.dense:
            return "other_layer"
        # An activation may follow the last one as a layer of its own.
        above = self.stages[stage.number + 1 :]
        return "hidden_layer" if any(other.dense for other in above) else "output_layer"

    def _backward(self) -> None:
        self.heading(2, "backward")
        self.say("chain_rule")
        if not self.small:
            self._arrays("dy", "dz", "dw", "db", "dx", backwards=True)
            trained = [s for s in self.dense_stages() if s.layer.trainable]
            for stage in reversed(trained[-2:]):
                self._example(stage)
            return
        for stage in reversed(self.stages):
            self._backward_stage(stage)

    def _example(self, stage: _Stage) -> None:
        """Work out the weight with the largest gradient of a layer of a large net."""
        self.heading(3, self._role(stage), layer=stage.name)
        gradient = np.abs(self.array(stage, "dw"))
        if not np.isfinite(gradient).all():
            gradient = np.nan_to_num(gradient)
        where = np.unravel_index(int(gradient.argmax()), gradient.shape)
        index = tuple(int(i) for i in where)
        name = f"{_public(stage.name + '.w')}[{index[0]}, {index[1]}]"
        self.say("worked", name=name)
        self._tell_chain(stage, "w", index)
        self._factors(stage, index[-1])

    def _backward_stage(self, stage: _Stage) -> None:
        layer = stage.layer
        if layer.absorbed and not stage.dense:
            self.heading(3, self._role(stage), layer=stage.name)
            self.say("one_step", activation=layer.activation)
            return
        n = self.array(stage, "y").shape[1]
        self.heading(3, self._role(stage), layer=stage.name)
        if self._role(stage) == "hidden_layer":
            self.say("from_above")
        if layer.absorbed:
            self.say("one_step", activation=layer.activation)
        else:
            self.doc.equations(*(self._error_by_output(stage, j) for j in range(n)))
        if not stage.dense:
            if layer.activation not in ("softmax", "linear"):
                self.say("slope", activation=layer.activation)
                self.doc.equations(*(self._slope(stage, j) for j in range(n)))
            elif layer.activation == "softmax":
                self.say("jacobian")
            return
        if layer.activation not in ("softmax", "linear") and not layer.absorbed:
            self.say("slope", activation=layer.activation)
            self.doc.equations(*(self._slope(stage, j) for j in range(n)))
        elif layer.activation == "softmax" and not layer.absorbed:
            self.say("jacobian")
        self.doc.equations(*(self._error_by_sum(stage, j) for j in range(n)))
        if not layer.trainable:
            self.say("frozen", layer=stage.name)
            return
        self.say("then_weights")
        lines = []
        for part, index in self.every(stage):
            lines += self._chain(stage, part, index)
        self.doc.equations(*lines)
        if self.trace.rows > ROWS:
            self.say("rows_left", shown=ROWS, n=self.trace.rows)
        if {"w", "b"} & set(layer.penalties):
            self.say("regularized")

    # --- one parameter ---

    def tell_of(self, layer: LayerTrace, part: str, index: tuple[int, ...]) -> None:
        """Tell where the gradient of one parameter comes from, and what it does."""
        stage = next(s for s in self.stages if s.layer is layer)
        where = ", ".join(str(i) for i in index)
        self.heading(1, "parameter_title", name=f"{_public(f'{layer.name}.{part}')}[{where}]")
        symbol = self.parameter(stage, part, index).text
        value = self.given(self.at(stage, part, *index)).text
        if part == "w":
            source = self.y(self.below(stage), index[0]).text
            self.say("is_weight", symbol=symbol, source=source, unit=index[1] + 1,
                     layer=layer.name, value=value)  # fmt: skip
        else:
            self.say("is_bias", symbol=symbol, unit=index[0] + 1, layer=layer.name, value=value)
        self.say("by_chain_rule")
        self._tell_chain(stage, part, index)
        self.say("factors", row=self.row + 1)
        self._factors(stage, index[-1], part, index)
        self._above(stage, index[-1])
        gradient = self.at(stage, f"d{part}", *index)
        if gradient == 0:
            self.say("zero", symbol=symbol)
        elif not math.isnan(gradient):
            self.say("grows" if gradient > 0 else "shrinks", symbol=symbol)
        if self.trace.optimizer:
            self.say("update_of", optimizer=self.trace.optimizer)
            self._say_rule()
            self._tell_update(stage, part, index)

    def _tell_chain(self, stage: _Stage, part: str, index: tuple[int, ...]) -> None:
        rows = self.trace.rows
        if rows > 1:
            self.say("each_row")
        self.doc.equations(*self._chain(stage, part, index))
        if rows > ROWS:
            rest = sum(
                math.prod(self._link_values(stage, part, index, row)) for row in range(ROWS, rows)
            )
            self.say("more_rows", n=rows - ROWS, value=self.num(rest).text)
        if part in stage.layer.penalties:
            self.say("regularized")

    def _factors(self, stage: _Stage, j: int, part: str = "", index: tuple[int, ...] = ()) -> None:
        """Add the equations of the links of a chain."""
        layer = stage.layer
        if layer.absorbed or not stage.elementwise:
            self.say("one_step" if layer.absorbed else "jacobian", activation=layer.activation)
            lines = [self._error_by_sum(stage, j)]
            if not layer.absorbed:
                lines.insert(0, self._error_by_output(stage, j))
        else:
            lines = [self._error_by_output(stage, j), self._slope(stage, j)]
        if part:
            z, name = self.z(stage, j), self.parameter(stage, part, index)
            if part == "w":
                source = self.y(self.below(stage), index[0])
                value = self.given(self.at(stage, "x", index[0]))
                lines.append([partial(z, name), source, value])
            else:
                lines.append([partial(z, name), self.given(1)])
        self.doc.equations(*lines)
        above = self.above(stage)
        if above is not None and above.dense:
            n = self.array(above, "w").shape[1]
            if n > TERMS:
                self.say("more_terms", shown=TERMS, n=n)

    def _above(self, stage: _Stage, j: int) -> None:
        """Add the equations of the layers above, up to the loss or as far as there is room."""
        here: _Stage | None = stage
        units: Sequence[int] = [j]
        for level in range(UNITS + 1):
            here = self.above(here)
            if here is None or (here.layer.absorbed and not here.dense):
                return
            if level == UNITS:
                self.say("and_so_on")
                return
            if level == 0:
                self.say("and_above")
            if here.dense or not here.elementwise:
                units = range(min(UNITS, self.array(here, "y").shape[1]))
            lines = []
            for k in units:
                if not here.layer.absorbed:
                    lines.append(self._error_by_output(here, k))
                    if here.elementwise and here.layer.activation != "linear":
                        lines.append(self._slope(here, k))
                if here.dense:
                    lines.append(self._error_by_sum(here, k))
            if here.layer.absorbed:
                self.say("one_step", activation=here.layer.activation)
            self.doc.equations(*lines)

    # --- the update ---

    def _say_rule(self) -> None:
        trace = self.trace
        centered = self.words["centered"] if trace.hyper.get("centered") else ""
        key = f"rule_{trace.optimizer}"
        if key in self.words:
            self.say(key, t=trace.iteration + 1, centered=centered)
        if trace.hyper.get("weight_decay"):
            self.say("decay")
        if trace.clip is not None:
            name, limit = trace.clip
            self.say("clipped", clip=name, limit=f"{limit:g}")

    def _tell_update(self, stage: _Stage, part: str, index: tuple[int, ...]) -> None:
        """Add the lines of the update of one parameter."""
        trace = self.trace
        word = f"{stage.name}.{part}"
        w = self.parameter(stage, part, index)
        rules = _formulas.update_rules(trace.optimizer, trace.hyper)
        gradient = f"{stage.name}.d{part}"
        gradient = f"{gradient}.clipped" if f"{gradient}.clipped" in trace else gradient
        g = float(trace[gradient][index])
        plain = gradient.endswith(f".d{part}")
        slope = partial(self.E, w)
        # One line: the gradient stands in it by its own name.
        short_rule = len(rules) == 1 and plain
        names: dict[str, Formula] = {"w": w, "g": slope if short_rule else atom("g")}
        numbers: dict[str, Formula] = {
            "w": self.given(trace[word][index]), "g": self.num(g),
            "lr": self.given(trace.learning_rate), "t": self.given(trace.iteration + 1),
        }  # fmt: skip
        names |= {"lr": atom("lr", tex=r"\eta"), "t": atom("t")}
        greek = {"momentum": r"\mu", "rho": r"\rho", "epsilon": r"\epsilon",
                 "beta_1": r"\beta_1", "beta_2": r"\beta_2",
                 "weight_decay": r"\lambda"}  # fmt: skip
        for name, constant in trace.hyper.items():
            names[name] = atom(name, tex=greek.get(name, name))
            numbers[name] = self.given(constant)
        lines: list[list[Formula]] = []
        if not short_rule:
            if plain:
                lines.append([names["g"], slope, self.num(g)])
            else:
                lines.append([slope, self.num(trace[f"{stage.name}.d{part}"][index])])
                lines.append([names["g"], self.num(g)])
        for slot in ("m", "v", "a", "largest"):
            if f"{word}.{slot}" in trace:
                names[slot] = atom(slot, tex=slot if len(slot) == 1 else r"\hat v")
                names[f"{slot}.next"] = _primed(names[slot])
                numbers[slot] = self.num(trace[f"{word}.{slot}"][index])
                numbers[f"{slot}.next"] = self.num(trace[f"{word}.{slot}.next"][index])
        for result, rule in rules:
            if result == "rate":
                t, h = trace.iteration + 1, trace.hyper
                rate = trace.learning_rate * math.sqrt(1 - h["beta_2"] ** t)
                value = self.num(rate / (1 - h["beta_1"] ** t))
                names["rate"], numbers["rate"] = atom("rate", tex=r"\eta_t"), value
                lhs = names["rate"]
            else:
                after = word if result == "w" else f"{word}.{result}"
                value = self.num(trace[f"{after}.next"][index])
                lhs = _primed(names[result])
            lines.append([lhs, rule(names), rule(numbers), value])
        self.doc.equations(*lines)

    def _update(self) -> None:
        trace = self.trace
        self.heading(2, "update")
        trained = [s for s in self.dense_stages() if s.layer.trainable]
        if not trained or not trace.optimizer:
            self.say("nothing_trained")
            return
        self._say_rule()
        one_line = len(_formulas.update_rules(trace.optimizer, trace.hyper)) == 1
        if self.small and one_line and trace.clip is None:
            for stage in trained:
                for part, index in self.every(stage):
                    self._tell_update(stage, part, index)
            return
        stage = trained[-1]
        self.say("example", name=f"{_public(f'{stage.name}.w')}[0, 0]")
        self._tell_update(stage, "w", (0, 0))
        self.say("all_new")
        if self.small:
            rows: list[tuple[Any, ...]] = []
            for stage in trained:
                for part, index in self.every(stage):
                    word = f"{stage.name}.{part}"
                    rows.append(
                        (
                            self.parameter(stage, part, index),
                            self.num(self.at(stage, f"d{part}", *index)),
                            self.num(self.at(stage, part, *index)),
                            self.num(trace[f"{word}.next"][index]),
                        )
                    )
            head = ("parameter", "gradient", "old", "new")
            self.doc.table([self.words[key] for key in head], rows)
            return
        summary: list[tuple[str, ...]] = []
        shown = self._shown()
        for stage in shown:
            for part in ("w", "b") if stage in trained else ():
                name = f"{stage.name}.{part}"
                if name in trace:
                    change = trace[f"{name}.next"].astype(np.float64) - trace[name]
                    norm = math.sqrt(float(np.square(change).sum()))
                    after = self._measures(trace[f"{name}.next"])
                    summary.append((_public(name), after[0], self.num(norm).text, after[2]))
        self.doc.table(
            (self.words["parameter"], self.words["shape"], self.words["change"],
             self.words["new"]),
            summary,
        )  # fmt: skip

    # --- after it ---

    def _after(self) -> None:
        trace = self.trace
        self.heading(2, "after")
        dropped = any(s.layer.kind == "Dropout" for s in self.stages)
        self.say("after_text", masks=self.words["same_masks"] if dropped else "")
        outputs = trace["y.next"][self.row]
        lines = [
            [_primed(self.y(self.last, k)), self.num(value)]
            for k, value in enumerate(outputs[:TERMS].tolist())
        ]
        following = float(trace["loss.next"])
        lines.append([_primed(self.E), self.num(following)])
        self.doc.equations(*lines)
        if outputs.size > TERMS:
            self.say("more_outputs", shown=TERMS, n=outputs.size)
        change = following - trace.loss
        if change < 0:
            self.say("went_down", value=self.num(-change).text)
        elif change > 0:
            self.say("went_up", value=self.num(change).text)
        elif change == 0:
            self.say("stayed")
        if trace.applied:
            self.say("applied")


# --- small pieces of formulas ---


def _product(factors: Sequence[Formula]) -> Formula:
    found = factors[0]
    for factor in factors[1:]:
        found = found * factor
    return found


def _plus(line: list[Formula], extra: tuple[Formula, Formula] | None) -> list[Formula]:
    """Add a penalty's part to the formulas (all but the left side and the value)."""
    if extra is None or len(line) < 3:
        return line
    middle = [part + extra[0] for part in line[1:-2]] + [line[-2] + extra[1]]
    return [line[0], *middle, line[-1]]


def _grouped(formula: Formula) -> Formula:
    return formula.within(1)


def _primed(formula: Formula) -> Formula:
    """Return the name of a value after the update."""
    return Formula(
        f"{formula.text}'",
        f"{{{formula.tex}}}'",
        f"<msup><mrow>{formula.mathml}</mrow><mo lspace='0' mathsize='130%'>&#x2032;</mo></msup>",
    )


def _applied(name: str, z: Formula) -> Formula:
    return Formula(
        f"{name}({z.text})",
        rf"\operatorname{{{name}}}({z.tex})".replace("_", r"\_"),
        f"<mi>{name}</mi><mo>(</mo>{z.mathml}<mo>)</mo>",
    )


def _log_softmax(raw: NDArray[Any]) -> NDArray[Any]:
    below = raw.astype(np.float64) - float(raw.max())
    return np.asarray(below - np.log(np.exp(below).sum()))
