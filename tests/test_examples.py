"""The examples and the README do what they say."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from test_a_worked_example import ROWS

import nncore

ROOT = Path(__file__).parents[1]

if not (ROOT / "examples").is_dir():
    pytest.skip("examples/ is not beside tests/", allow_module_level=True)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_worked_example(capsys: pytest.CaptureFixture[str]) -> None:
    load("worked_example").main()
    numbers = re.findall(r"\d\.\d{8}", capsys.readouterr().out)
    assert [float(number) for number in numbers] == [number for _, row in ROWS for number in row]


def test_fashion_mnist(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("fashion_mnist")
    if example.find_data() is None:
        pytest.skip("Fashion-MNIST is not there: set NNCORE_DATA to the folder with fashion-mnist/")
    assert example.main([]) == 0
    accuracy = re.search(r"Test accuracy: ([\d.]+) %", capsys.readouterr().out)
    assert accuracy
    assert float(accuracy[1]) >= 88.0


def test_fashion_mnist_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load("fashion_mnist").main(["--data", str(tmp_path)]) == 1
    assert "give --data" in capsys.readouterr().err


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("README.md", "python")
    names: dict[str, object] = {}
    exec(compile(program, "README.md", "exec"), names)
    accuracy = names["accuracy"]
    assert isinstance(accuracy, float)
    assert accuracy > 0.95
    again = names["again"]
    assert isinstance(again, nncore.Sequential)
    np.testing.assert_array_equal(again.predict(names["x_test"], verbose=0), names["probabilities"])
    assert os.listdir(tmp_path) == ["digits.nncore"]


def test_readme_commands() -> None:
    first, second = blocks("README.md", "bash")[:2]
    assert len(first.splitlines()) == 1
    assert first.rstrip().endswith("nncore demo")
    assert len(second.splitlines()) == 1
    assert second.rstrip().endswith("pytest tests")
