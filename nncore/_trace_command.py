"""What ``nncore trace`` does: a training step in the terminal, with every number."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nncore._markup import Document, fixed

if TYPE_CHECKING:
    from nncore.models import Sequential

__all__ = ["add_parser", "run", "worked_example"]

#: Lines of the table of many steps.
_LINES = 20

_WORDS = {
    "en": ("The error, step after step", "step", "error", "change"),
    "ko": ("단계마다의 오차", "단계", "오차", "변화"),
}


def add_parser(commands: Any, positive: Any) -> None:
    """Add the command to the command line.

    Parameters
    ----------
    commands : argparse's subparsers
    positive : callable
        Reads a positive integer.
    """
    parser = commands.add_parser(
        "trace",
        help="one training step with every number, in words",
        description="Work one training step out in the terminal: forward, error, chain rule, new "
        "weights. Without --model: the worked example of many courses (2 inputs, 2 hidden units, "
        "2 outputs, learning rate 0.5).",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--lang", choices=("en", "ko"), default="en", help="language; default: %(default)s"
    )
    parser.add_argument(
        "--steps", type=positive, default=1, metavar="N",
        help="do N steps and show how the error changes; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--model", metavar="FILE", help="a saved model, compiled when it was saved")
    parser.add_argument(
        "--row", metavar="NUMBERS", help='the input: "0.1,0.2", or a CSV file with a row a line'
    )
    parser.add_argument(
        "--target", metavar="NUMBERS", help='the target: "0.4,0.6", a class number, or a CSV file'
    )
    parser.add_argument(
        "--explain", metavar="NAME", help='one parameter instead: "hidden.kernel[0, 1]"'
    )
    parser.set_defaults(run=run)


def worked_example() -> Sequential:
    """Return the network of https://wikidocs.net/37406: 2-2-2, sigmoid, no bias, rate 0.5."""
    import nncore
    from nncore.layers import Dense, Input

    settings: dict[str, Any] = {"activation": "sigmoid", "use_bias": False, "dtype": "float64"}
    model = nncore.Sequential(
        [
            Input((2,), dtype="float64"),
            Dense(2, name="hidden", **settings),
            Dense(2, name="output", **settings),
        ],
        name="worked_example",
    )
    # Unit i's weights are column i: W1 W3 / W2 W4 and W5 W7 / W6 W8.
    model.set_weights([[[0.30, 0.40], [0.25, 0.35]], [[0.45, 0.70], [0.40, 0.60]]])
    # The mean over two outputs is the example's sum of halves.
    model.compile(nncore.optimizers.SGD(learning_rate=0.5), "mse")
    return model


def run(options: argparse.Namespace) -> None:
    """Print the step."""
    x, y = options.row, options.target
    if options.model is None:
        model = worked_example()
        x, y = x or "0.1,0.2", y or "0.4,0.6"
    else:
        from nncore.saving import load_model

        for name, value in (("--row", x), ("--target", y)):
            if value is None:
                raise ValueError(
                    f'--model needs {name} too: numbers separated by commas, such as "0.1,0.2", or '
                    f"a CSV file"
                )
        model = load_model(options.model)
        if not model.compiled or model.loss is None:
            raise ValueError(
                f"--model {options.model}: it was saved without a loss, so there is no training "
                f"step; call compile(optimizer, loss) before saving it"
            )
    rows, targets = _numbers("--row", x), _numbers("--target", y)
    shape = tuple(int(n or 0) for n in model.input_shape[1:])
    if rows.shape[1] != np.prod(shape):
        raise ValueError(
            f"--row must have {np.prod(shape)} numbers, the model's inputs; received "
            f"{rows.shape[1]}"
        )
    if model.loss is not None and model.loss.labels and targets.shape[0] == 1 != rows.shape[0]:
        targets = targets.T  # class numbers in one line
    rows = rows.reshape(len(rows), *shape)
    trace = model.trace(rows, targets)
    try:
        text = str(trace.explain(options.explain, options.lang))
    except KeyError as error:
        raise ValueError(f"--explain: {error.args[0]}") from None
    if options.steps > 1:
        errors = [
            float(model.train_on_batch(rows, targets, return_dict=True)["loss"])
            for _ in range(options.steps)
        ]
        errors.append(float(model.test_on_batch(rows, targets, return_dict=True)["loss"]))
        text += "\n" + _table(errors, options.lang)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a character shows another one rather than nothing at all.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.reconfigure(errors="replace")
    print(text, end="")


def _numbers(option: str, text: str) -> NDArray[np.float64]:
    """Return rows of numbers, from the command line or a CSV file."""
    lines, where = [text], option
    if os.path.isfile(text):
        where = f"{option} {text}"
        with open(text, encoding="utf-8-sig") as file:
            lines = [line for line in file.read().splitlines() if line.strip()]
        if not lines:
            raise ValueError(f"{where}: the file is empty; wanted a row of numbers a line")
    rows = []
    for number, line in enumerate(lines, 1):
        place = f"{where}, line {number}" if where != option else where
        try:
            rows.append([float(cell) for cell in line.split(",")])
        except ValueError:
            hint = "" if where != option else ", and no file of that name"
            raise ValueError(
                f"{place}: wanted numbers separated by commas, such as 0.1,0.2; received "
                f"{line!r}{hint}"
            ) from None
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(
                f"{place}: has {len(rows[-1])} numbers, but the first has {len(rows[0])}"
            )
    return np.array(rows)


def _table(errors: list[float], lang: str) -> str:
    """Return a table of the error after so many steps, at most a screen long."""
    title, *head = _WORDS[lang]
    last = len(errors) - 1
    shown = np.unique(np.linspace(0, last, min(last, _LINES - 1) + 1).round().astype(int)).tolist()
    document = Document(lang)
    document.heading(2, title)
    rows = []
    for i, at in enumerate(shown):
        change = fixed(errors[at] - errors[shown[i - 1]], 8) if i else ""
        rows.append((str(at), fixed(errors[at], 8), change))
    document.table(head, rows)
    return document.text()
