"""Small documents with formulas, written once: for a terminal, as Markdown, as HTML.

A :class:`Formula` knows how it looks as plain text, as LaTeX and as MathML, and arithmetic on
formulas writes larger ones: ``1 / (1 + exp(-z))`` is a formula when ``z`` is one, and a number when
``z`` is a number.  So the formula that is shown is the formula that is tested.
"""

from __future__ import annotations

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

__all__ = [
    "Document",
    "Formula",
    "atom",
    "cases",
    "exp",
    "fixed",
    "function",
    "partial",
    "root",
    "short",
    "total",
]

#: How tightly a formula holds together: what is looser gets parentheses.
_SUM, _PRODUCT, _POWER, _ATOM = range(4)


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula in three notations.

    Attributes
    ----------
    text, tex, mathml : str
    binds : int
        How tightly it holds together.
    value : float or None
        Of a formula of numbers alone; None where there are names.
    """

    text: str
    tex: str
    mathml: str
    binds: int = _ATOM
    value: float | None = None

    def within(self, binds: int) -> Formula:
        """Return it with parentheses, if it needs them there."""
        if self.binds >= binds:
            return self
        return Formula(
            f"({self.text})",
            rf"\left({self.tex}\right)",
            f"<mrow><mo>(</mo>{self.mathml}<mo>)</mo></mrow>",
            value=self.value,
        )

    def __add__(self, other: Any) -> Formula:
        return _join(self, "+", "+", "+", _formula(other).within(_PRODUCT), _SUM, operator.add)

    def __radd__(self, other: Any) -> Formula:
        return _formula(other) + self

    def __sub__(self, other: Any) -> Formula:
        below = _formula(other).within(_PRODUCT)
        return _join(self, "-", "-", "&#x2212;", below, _SUM, operator.sub)

    def __rsub__(self, other: Any) -> Formula:
        return _formula(other) - self

    def __mul__(self, other: Any) -> Formula:
        right = _formula(other).within(_POWER)
        left = self.within(_PRODUCT)
        return _join(left, "×", r"\times", "&#xD7;", right, _PRODUCT, operator.mul)

    def __rmul__(self, other: Any) -> Formula:
        return _formula(other) * self

    def __truediv__(self, other: Any) -> Formula:
        below = _formula(other)
        return Formula(
            f"{self.within(_PRODUCT).text} / {below.within(_POWER).text}",
            rf"\frac{{{self.tex}}}{{{below.tex}}}",
            f"<mfrac><mrow>{self.mathml}</mrow><mrow>{below.mathml}</mrow></mfrac>",
            _PRODUCT,
            _computed(operator.truediv, self, below),
        )

    def __rtruediv__(self, other: Any) -> Formula:
        return _formula(other) / self

    def __neg__(self) -> Formula:
        inner = self.within(_PRODUCT)
        return Formula(
            f"-{inner.text}",
            f"-{inner.tex}",
            f"<mrow><mo>&#x2212;</mo>{inner.mathml}</mrow>",
            _SUM,
            _computed(operator.neg, self),
        )

    def __pow__(self, other: Any) -> Formula:
        base, above = self.within(_ATOM), _formula(other)
        return Formula(
            f"{base.text}^{above.within(_ATOM).text}",
            f"{{{base.tex}}}^{{{above.tex}}}",
            f"<msup><mrow>{base.mathml}</mrow><mrow>{above.mathml}</mrow></msup>",
            _POWER,
            _computed(operator.pow, self, above),
        )

    def __abs__(self) -> Formula:
        return Formula(
            f"|{self.text}|",
            rf"\left|{self.tex}\right|",
            f"<mrow><mo>|</mo>{self.mathml}<mo>|</mo></mrow>",
            value=_computed(abs, self),
        )


def _join(
    a: Formula,
    text: str,
    tex: str,
    mathml: str,
    b: Formula,
    binds: int,
    compute: Callable[..., float],
) -> Formula:
    return Formula(
        f"{a.text} {text} {b.text}",
        f"{a.tex} {tex} {b.tex}",
        f"{a.mathml}<mo>{mathml}</mo>{b.mathml}",
        binds,
        _computed(compute, a, b),
    )


def _computed(compute: Callable[..., float], *parts: Formula) -> float | None:
    """Return the value of a formula of numbers, None if a part has none."""
    values = [part.value for part in parts]
    if None in values:
        return None
    try:
        return float(compute(*values))
    except ArithmeticError:
        return None


def _formula(value: Any) -> Formula:
    """Return a formula, or a plain number as one."""
    return value if isinstance(value, Formula) else _written(f"{value:.10g}")


def _written(digits: str) -> Formula:
    """Return a number as it was written."""
    mantissa, _, exponent = digits.partition("e")
    tex, mathml = mantissa, f"<mn>{mantissa.lstrip('-')}</mn>"
    if exponent:
        power = int(exponent)
        tex = rf"{mantissa} \cdot 10^{{{power}}}"
        mathml += (
            f"<mo>&#xB7;</mo><msup><mn>10</mn><mrow>"
            f"{'<mo>&#x2212;</mo>' if power < 0 else ''}<mn>{abs(power)}</mn></mrow></msup>"
        )
    if digits in ("nan", "inf", "-inf"):
        tex = {"nan": r"\mathrm{NaN}", "inf": r"\infty", "-inf": r"-\infty"}[digits]
    if digits.startswith("-"):
        mathml = f"<mrow><mo>&#x2212;</mo>{mathml}</mrow>"  # in a row of its own: a sign
    binds = _SUM if digits.startswith("-") else _PRODUCT if exponent else _ATOM
    return Formula(digits, tex, mathml, binds, float(digits))


def fixed(value: float, digits: int) -> Formula:
    """Return a number with so many decimals; a small or large one with a power of ten."""
    value = float(value)
    if value == 0 or not math.isfinite(value) or 1e-4 <= abs(value) < 1e7:
        return _written(f"{value + 0.0:.{digits}f}" if math.isfinite(value) else f"{value}")
    return _written(f"{value:.{digits - 2}e}")


def short(value: float, digits: int) -> Formula:
    """Return a number as somebody would have given it: 0.3, not 0.30000000."""
    value = float(value)
    brief = f"{value:.4g}"
    # What is given as 0.1 is another number in float32, which is shown with fewer digits.
    tolerance = 1e-12 if digits >= 8 else 1e-7
    if math.isfinite(value) and abs(float(brief) - value) <= tolerance * abs(value):
        return _written(brief)
    return fixed(value, digits)


def atom(letter: str, sub: str = "", sup: str = "", tex: str = "") -> Formula:
    """Return a name: a letter, what stands below and above it."""
    text = letter + (f"({sup})_" if sup else "") + sub
    written = tex or letter
    mathml = f"<mi>{escape(letter)}</mi>"
    if sub:
        written += f"_{{{sub}}}"
    if sup:
        written += f"^{{({sup})}}"
    if sub and sup:
        above = f"<mrow><mo>(</mo><mn>{sup}</mn><mo>)</mo></mrow>"
        mathml = f"<msubsup>{mathml}<mn>{sub}</mn>{above}</msubsup>"
    elif sub:
        mathml = f"<msub>{mathml}<mn>{sub}</mn></msub>"
    elif sup:
        mathml = f"<msup>{mathml}<mrow><mo>(</mo><mn>{sup}</mn><mo>)</mo></mrow></msup>"
    return Formula(text, written, mathml)


def partial(a: Formula, b: Formula) -> Formula:
    """Return the derivative of a by b."""
    return Formula(
        f"d{a.text}/d{b.text}",
        rf"\frac{{\partial {a.tex}}}{{\partial {b.tex}}}",
        f"<mfrac><mrow><mo>&#x2202;</mo>{a.mathml}</mrow>"
        f"<mrow><mo>&#x2202;</mo>{b.mathml}</mrow></mfrac>",
    )


def total(terms: Sequence[Formula], left_out: int = 0) -> Formula:
    """Return a sum, term by term; dots for those that are left out."""
    if not terms:
        return _formula(0)
    found = terms[0]
    for term in terms[1:]:
        found = found + term
    if left_out:
        found = found + Formula("...", r"\cdots", "<mo>&#x22EF;</mo>")
    return found


def function(
    name: str, compute: Callable[..., float], tex: str | None = None
) -> Callable[..., Any]:
    """Return a function that writes itself for formulas and computes for numbers."""
    shown = rf"\operatorname{{{name}}}" if tex is None else tex

    def call(*values: Any) -> Any:
        if not any(isinstance(value, Formula) for value in values):
            return compute(*values)
        written = [_formula(value) for value in values]
        return Formula(
            f"{name}({', '.join(w.text for w in written)})",
            rf"{shown}\left({', '.join(w.tex for w in written)}\right)",
            f"<mi>{name}</mi><mo>&#x2061;</mo><mrow><mo>(</mo>"
            + "<mo>,</mo>".join(w.mathml for w in written)
            + "<mo>)</mo></mrow>",
            value=_computed(compute, *written),
        )

    return call


def exp(value: Any) -> Any:
    """Return e to a power."""
    if not isinstance(value, Formula):
        return math.exp(value)
    return Formula("e", "e", "<mi>e</mi>", value=math.e) ** value


def root(value: Any) -> Any:
    """Return a square root."""
    if not isinstance(value, Formula):
        return math.sqrt(value)
    return Formula(
        f"sqrt({value.text})", rf"\sqrt{{{value.tex}}}", f"<msqrt>{value.mathml}</msqrt>"
    )


def cases(left: Any, right: Any, yes: Any, no: Any) -> Any:
    """Return ``yes`` where left > right, else ``no``."""
    if not isinstance(left, Formula) and not isinstance(right, Formula):
        return yes if left > right else no
    a, b, y, n = (_formula(value) for value in (left, right, yes, no))
    if a.value is not None and b.value is not None:
        return y if a.value > b.value else n
    return Formula(
        f"{{{y.text}: {a.text} > {b.text}; {n.text}: {a.text} <= {b.text}}}",
        rf"\begin{{cases}} {y.tex} & {a.tex} > {b.tex} \\ "
        rf"{n.tex} & {a.tex} \le {b.tex} \end{{cases}}",
        f"<mrow><mo>{{</mo><mtable columnalign='left'>"
        f"<mtr><mtd>{y.mathml}</mtd><mtd>{a.mathml}<mo>&gt;</mo>{b.mathml}</mtd></mtr>"
        f"<mtr><mtd>{n.mathml}</mtd><mtd>{a.mathml}<mo>&#x2264;</mo>{b.mathml}</mtd></mtr>"
        f"</mtable></mrow>",
    )


# --- documents ---

Part = str | Formula


@dataclass(slots=True)
class _Heading:
    level: int
    words: str


@dataclass(slots=True)
class _Paragraph:
    parts: tuple[Part, ...]


@dataclass(slots=True)
class _Equations:
    lines: list[tuple[Formula, ...]]


@dataclass(slots=True)
class _Table:
    head: tuple[str, ...]
    rows: list[tuple[Part, ...]]


@dataclass(slots=True)
class Document:
    """Headings, paragraphs, equations and tables, in order.

    Attributes
    ----------
    lang : str
        For the HTML.
    """

    lang: str = "en"
    blocks: list[Any] = field(default_factory=list)

    def heading(self, level: int, words: str) -> None:
        """Add a heading of level 1, 2 or 3."""
        self.blocks.append(_Heading(level, words))

    def say(self, *parts: Part) -> None:
        """Add a paragraph of words and formulas."""
        self.blocks.append(_Paragraph(parts))

    def equations(self, *lines: Sequence[Formula]) -> None:
        """Add equations; the parts of each are equal: a = b = c."""
        kept = [tuple(_distinct(line)) for line in lines if line]
        if kept:
            self.blocks.append(_Equations(kept))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Part]]) -> None:
        """Add a table."""
        self.blocks.append(_Table(tuple(head), [tuple(row) for row in rows]))

    def text(self) -> str:
        """Return it for a terminal."""
        return "\n".join(_text(block) for block in self.blocks).strip("\n") + "\n"

    def markdown(self) -> str:
        """Return it as Markdown with LaTeX."""
        return "\n\n".join(_markdown(block) for block in self.blocks) + "\n"

    def html(self) -> str:
        """Return it as HTML with MathML, which browsers show without any script."""
        inner = "\n".join(_html(block) for block in self.blocks)
        return f'<div class="nncore-explanation" lang="{self.lang}">\n{inner}\n</div>'


def _distinct(line: Sequence[Formula]) -> list[Formula]:
    """Leave out a part that looks like the one before it, and 1 before 1.00000000."""
    kept = list(line[:1])
    for part in line[1:]:
        before = kept[-1]
        plain = before.value is not None and before.value == part.value
        if len(kept) > 1 and plain and re.fullmatch(r"-?\d+", before.text):
            kept[-1] = part
        elif part.text != before.text:
            kept.append(part)
    return kept


def width(text: str) -> int:
    """Return the columns that a text takes in a terminal: Hangul takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, columns: int, right: bool = False) -> str:
    space = " " * (columns - width(text))
    return space + text if right else text + space


#: Columns of a terminal that an equation may take on one line.
_LINE = 96


def _equation(line: tuple[Formula, ...]) -> str:
    whole = "  " + " = ".join(part.text for part in line)
    if width(whole) <= _LINE:
        return whole
    left = f"  {line[0].text}"
    indent = " " * width(left)
    lines = [
        _broken(f"{left if i == 0 else indent} = {part.text}", len(indent) + 5)
        for i, part in enumerate(line[1:])
    ]
    return "\n".join(lines or [left])


def _broken(text: str, indent: int) -> str:
    """Break a line that is too long before a plus that stands in no parentheses."""
    if width(text) <= _LINE:
        return text
    lines, line, depth = [], "", 0
    for term in re.split(r"(?= \+ )", text):
        if line and depth == 0 and width(line) + width(term) > _LINE:
            lines.append(line)
            line = " " * (indent - 2) + term[1:]
        else:
            line += term
        depth += term.count("(") - term.count(")")
    return "\n".join([*lines, line])


def _text(block: Any) -> str:
    if isinstance(block, _Heading):
        if block.level == 3:
            return f"\n{block.words}"
        return f"\n{block.words}\n{('=' if block.level == 1 else '-') * width(block.words)}"
    if isinstance(block, _Paragraph):
        return _wrapped("".join(p if isinstance(p, str) else p.text for p in block.parts))
    if isinstance(block, _Equations):
        return "\n".join(_equation(line) for line in block.lines)
    rows = [block.head, *([p if isinstance(p, str) else p.text for p in r] for r in block.rows)]
    columns = [max(width(row[i]) for row in rows) for i in range(len(block.head))]
    return "\n".join(
        "  " + "  ".join(_pad(cell, n) for cell, n in zip(row, columns, strict=True)).rstrip()
        for row in rows
    )


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split(" "):
        if line and width(line) + 1 + width(word) > _LINE:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


def _markdown(block: Any) -> str:
    if isinstance(block, _Heading):
        return f"{'#' * block.level} {block.words}"
    if isinstance(block, _Paragraph):
        return "".join(p if isinstance(p, str) else f"${p.tex}$" for p in block.parts)
    if isinstance(block, _Equations):
        lines = []
        for line in block.lines:
            lines.append(f"{line[0].tex} &= {line[1].tex}" if len(line) > 1 else line[0].tex)
            lines += [f"&= {part.tex}" for part in line[2:]]
        body = " \\\\\n".join(lines)
        return f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"
    rows = [[p if isinstance(p, str) else f"${p.tex}$" for p in row] for row in block.rows]
    table = [list(block.head), ["---"] * len(block.head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in table
    )


def _part(part: Part) -> str:
    return escape(part) if isinstance(part, str) else f"<math>{part.mathml}</math>"


def _html(block: Any) -> str:
    if isinstance(block, _Heading):
        return f"<h{block.level + 1}>{escape(block.words)}</h{block.level + 1}>"
    if isinstance(block, _Paragraph):
        return f"<p>{''.join(_part(p) for p in block.parts)}</p>"
    if isinstance(block, _Equations):
        rows = "".join(_html_equation(line, first=i == 0) for i, line in enumerate(block.lines))
        # Not display="block", which would centre each by itself; a long one scrolls.
        return (
            f'<div style="margin: 0.6em 0 0.9em 1.5em; overflow-x: auto">'
            f'<math><mtable displaystyle="true">{rows}</mtable></math></div>'
        )
    cell = 'style="text-align: left; padding: 0.15em 1.2em 0.15em 0"'
    head = "".join(f"<th {cell}>{escape(word)}</th>" for word in block.head)
    body = "".join(
        f"<tr>{''.join(f'<td {cell}>{_part(p)}</td>' for p in row)}</tr>" for row in block.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


#: Characters of an equation that stands in one line of a page; a longer one takes a line a part.
_HTML_LINE = 80


def _html_equation(line: tuple[Formula, ...], *, first: bool) -> str:
    """Return the rows of one equation: what it is of, the sign, what it equals."""
    above = "0" if first else "0.55em"
    if len(line) == 1:
        return _html_row("", "", line[0].mathml, above)
    equals = "<mo>=</mo>"
    # A fraction is narrower than the text of it.
    if len(re.sub(r"\bd\S+/d\S+", "dy/d", " = ".join(part.text for part in line))) <= _HTML_LINE:
        whole = equals.join(f"<mrow>{part.mathml}</mrow>" for part in line[1:])
        return _html_row(line[0].mathml, equals, whole, above)
    rows = [_html_row(line[0].mathml, equals, line[1].mathml, above)]
    rows += [_html_row("", equals, part.mathml, "0.3em") for part in line[2:]]
    return "".join(rows)


def _html_row(left: str, sign: str, right: str, above: str) -> str:
    padding = f"padding: {above} 0.15em 0.15em"
    return (
        f'<mtr><mtd style="text-align: right; {padding}">{left}</mtd>'
        f'<mtd style="{padding}">{sign}</mtd>'
        f'<mtd style="text-align: left; {padding}">{right}</mtd></mtr>'
    )
