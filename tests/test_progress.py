"""The progress bar, on a terminal, in a notebook, in a file."""

from __future__ import annotations

import io
import math
import sys
import types

import pytest

from nncore import progress
from nncore.progress import ProgressBar, format_duration, format_step_time, resolve_verbose


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


class AsciiTerminal(Terminal):
    encoding = "ascii"

    def write(self, text):
        text.encode("ascii")
        return super().write(text)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = types.SimpleNamespace(t=100.0)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now.t)
    return now


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setattr(progress, "_columns", lambda stream: 100)


def screen(text):
    """What stands on the lines of a terminal after these characters."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_the_documented_line(clock, wide):
    out = Terminal()
    bar = ProgressBar(40, 1, epoch=2, epochs=10, stream=out)
    assert bar.redraws
    clock.t += 1.5
    bar.update(24, {"loss": 0.31, "accuracy": 0.91})
    assert screen(out.getvalue()) == [
        "Epoch 3/10",
        "24/40 ━━━━━━━━━━━━──────── 1s 62ms/step - accuracy: 0.9100 - loss: 0.3100",
    ]
    clock.t += 1.0
    bar.finish({"loss": 0.3, "accuracy": 0.92, "val_loss": 0.4, "learning_rate": 0.001})
    assert screen(out.getvalue())[1:] == [
        "40/40 ━━━━━━━━━━━━━━━━━━━━ 2s 62ms/step - accuracy: 0.9200 - loss: 0.3000"
        " - val_loss: 0.4000",
        "    - learning_rate: 1.0000e-03",
        "",
    ]


def test_at_most_ten_drawings_a_second(clock, wide):
    out = Terminal()
    bar = ProgressBar(1000, 1, stream=out)
    for i in range(1000):
        clock.t += 0.001
        bar.update(i + 1, {"loss": 1.0})
    assert out.getvalue().count("\r") <= 10
    bar.finish({"loss": 1.0})
    assert out.getvalue().count("\n") == 1


def test_a_shorter_line_covers_a_longer_one(clock, wide):
    out = Terminal()
    bar = ProgressBar(5, 1, stream=out)
    clock.t += 1
    bar.update(1, {"something_long": 12345.6})
    clock.t += 1
    bar.finish({"a": 1.0})
    assert screen(out.getvalue())[0] == "5/5 ━━━━━━━━━━━━━━━━━━━━ 2s 400ms/step - a: 1.0000"


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 80])
def test_never_wider_than_the_terminal(clock, monkeypatch, columns):
    monkeypatch.setattr(progress, "_columns", lambda stream: columns)
    out = Terminal()
    bar = ProgressBar(1000, 1, epoch=0, epochs=1, stream=out)
    for done in (1, 500, 1000):
        clock.t += 1
        bar.update(done, {"accuracy": 0.5, "loss": 123456.789, "정확도": 0.25})
        drawn = out.getvalue().rsplit("\r", 1)[1]
        assert progress._text_width(drawn) < columns
    bar.finish({"loss": 1.0})
    assert all(progress._text_width(line) < columns for line in screen(out.getvalue()))


def test_wide_characters_count_twice():
    assert progress._text_width("정확도") == 6
    assert progress._text_width("━─ab") == 4
    assert progress._text_width("e\u0301") == 1
    assert progress._cut("정확도", 5) == "정확"


def test_terminal_without_the_characters(clock, wide):
    out = AsciiTerminal()
    bar = ProgressBar(4, 1, stream=out)
    clock.t += 1
    bar.update(1, {"정확도": 1.0})
    assert screen(out.getvalue())[0] == "1/4 =====............... 3s 1s/step - ???: 1.0000"


def test_unknown_length(clock, wide):
    out = Terminal()
    bar = ProgressBar(None, 1, stream=out)
    clock.t += 2
    bar.update(8, {"loss": 0.5})
    assert screen(out.getvalue())[0] == "      8/Unknown 2s 250ms/step - loss: 0.5000"
    bar.finish({"loss": 0.5})
    assert screen(out.getvalue())[0] == "      8/Unknown 2s 250ms/step - loss: 0.5000"
    plain = io.StringIO()
    bar = ProgressBar(None, 2, stream=plain)
    bar.update(8)
    clock.t += 2
    bar.finish({"loss": 0.5})
    assert plain.getvalue() == "8 - 2s - 250ms/step - loss: 0.5000\n"


@pytest.mark.parametrize("verbose", [1, 2, "auto", True])
def test_a_file_gets_one_plain_line_an_epoch(clock, verbose):
    out = io.StringIO()
    for epoch in range(2):
        bar = ProgressBar(40, verbose, epoch=epoch, epochs=2, stream=out)
        assert not bar.redraws
        for i in range(40):
            clock.t += 0.2
            bar.update(i + 1, {"loss": 0.31})
        bar.finish({"loss": 0.31, "val_loss": 0.0005})
        bar.close()
    assert out.getvalue() == (
        "Epoch 1/2 - 40/40 - 8s - 200ms/step - loss: 0.3100 - val_loss: 5.0000e-04\n"
        "Epoch 2/2 - 40/40 - 8s - 200ms/step - loss: 0.3100 - val_loss: 5.0000e-04\n"
    )


def test_one_line_an_epoch_on_a_terminal_too(clock):
    out = Terminal()
    bar = ProgressBar(4, 2, stream=out)
    clock.t += 1
    bar.update(2, {"loss": 1.0})
    bar.finish({"loss": 1.0})
    assert out.getvalue() == "4/4 - 1s - 250ms/step - loss: 1.0000\n"


def test_silent():
    out = Terminal()
    bar = ProgressBar(4, 0, epoch=0, epochs=1, stream=out)
    bar.update(2, {"loss": 1.0})
    bar.finish({"loss": 1.0})
    bar.close()
    assert out.getvalue() == ""


def test_notebook(clock):
    out = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    assert resolve_verbose("auto", out) == 1
    bar = ProgressBar(4, "auto", stream=out)
    clock.t += 1
    bar.update(1, {})
    assert "\r" in out.getvalue()


def test_no_console(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    bar = ProgressBar(4, 1)
    bar.update(1)
    bar.finish({"loss": 1.0})
    progress.message("nothing")


def test_message_does_not_break_a_line_in_two(clock, wide, monkeypatch):
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    bar = ProgressBar(4, 1)
    clock.t += 1
    bar.update(2, {"loss": 1.0})
    progress.message("Epoch 1: early stopping")
    progress.message("again")
    bar.finish({"loss": 1.0})
    bar.close()
    assert [line.split(" ")[0] for line in screen(out.getvalue())] == [
        "2/4", "Epoch", "again", "4/4", "",
    ]  # fmt: skip
    assert progress._open is None


def test_close_after_an_exception(clock, wide):
    out = Terminal()
    bar = ProgressBar(4, 1, stream=out)
    clock.t += 1
    bar.update(2)
    bar.close()
    bar.close()
    assert out.getvalue().endswith("step\n")


def test_values():
    assert progress._values(
        {"loss": 0.0, "val_b": math.nan, "b": -0.5, "learning_rate": 0.01, "a": math.inf, "c": "x"}
    ) == ["a: inf", "b: -0.5000", "c: x", "loss: 0.0000e+00", "val_b: nan", "learning_rate: 0.0100"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (61, "1:01"),
        (3600, "60:00"),
        (3661, "1:01:01"),
        (36000, "10:00:00"),
    ],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s/step"), (2.4, "2s/step"), (0.0021, "2ms/step"), (4e-5, "40us/step")],
)
def test_format_step_time(seconds, text):
    assert format_step_time(seconds) == text


def test_resolve_verbose():
    assert resolve_verbose("auto", Terminal()) == 1
    assert resolve_verbose("auto", io.StringIO()) == 2
    assert [resolve_verbose(v, io.StringIO()) for v in (0, 1, 2, True, False)] == [0, 1, 2, 1, 0]
    for wrong in (3, "loud", None, 1.5):
        with pytest.raises(ValueError, match=r'^verbose must be "auto", 0, 1 or 2; received v'):
            resolve_verbose(wrong, io.StringIO())
