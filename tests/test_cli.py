"""The command line, as its users start it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore import cli

PACKAGE = Path(nncore.__file__).parent


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # The same nncore as here, installed or not.
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "nncore", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        timeout=300,
    )


def test_demo(tmp_path: Path) -> None:
    result = run("demo", "--output", "kept.nncore", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    text = result.stdout
    held_out = re.search(r"Held-out accuracy: ([\d.]+) % \((\d+) of 359", text)
    assert held_out, text
    assert float(held_out[1]) >= 97.0
    assert f"{100 * int(held_out[2]) / 359:.2f}" == held_out[1]
    assert text.count("Epoch ") >= 20
    for words in ("compiled kernels", "NumPy baseline", "ratio"):
        assert re.search(rf"{words} +\d+\.\d+", text), words
    differences = re.search(r"weights: (\S+) \(float32: 900 .*\n.*in float64 it is (\S+)\)", text)
    assert differences
    assert float(differences[1]) < 0.3  # one rounding may switch a relu, and Adam magnifies it
    assert float(differences[2]) < 1e-9
    assert "Saved in kept.nncore" in text

    model = nncore.load_model(tmp_path / "kept.nncore")
    (_, _), (x, y) = nncore.datasets.digits()
    right = (model.predict(x, verbose=0).argmax(axis=1) == y).sum()
    assert abs(int(right) - int(held_out[2])) <= 1  # other instruction sets may round otherwise
    assert os.listdir(tmp_path) == ["kept.nncore"]


def test_demo_gives_the_same_again(tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        result = run("demo", "--epochs", "2", "--seed", "5", "--output", name, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        weights.append(nncore.load_model(tmp_path / name).get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_config(tmp_path: Path) -> None:
    result = run("config", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for word in (nncore.__version__, "compiler", "instruction set", "threads"):
        assert word in result.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"nncore {nncore.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: COMMAND"),
        (["dem"], "invalid choice: 'dem'"),
        (["demo", "--epochs", "0"], "--epochs: must be a positive integer; received 0"),
        (["demo", "--batch-size", "x"], "--batch-size: must be a positive integer; received x"),
        (["demo", "--seed", "-1"], "--seed: must be an integer from 0 to 2**32 - 1; received -1"),
        (["demo", "--other"], "unrecognized arguments: --other"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--output", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err == (
        f"nncore: error: --output {tmp_path} is a folder; give the name of a file\n"
    )
    assert captured.out == ""
    assert cli.main(["demo", "--output", str(tmp_path / "no" / "m")]) == 1
    assert re.search(r"nncore: error: .*folder .* does not exist\n$", capsys.readouterr().err)


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nncore, "show_config", stop)
    assert cli.main(["config"]) == 130
    assert capsys.readouterr().err == "nncore: stopped\n"
