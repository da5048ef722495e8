"""What several tests need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nncore

FOLDER = str(Path(nncore.__file__).parents[1])


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a fresh interpreter that imports the same nncore as this one.

    Installed or not, and whatever lies in the current folder.
    """

    def run(
        code: str, *arguments: object, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([FOLDER, os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-P", "-c", code, *map(str, arguments)],
            capture_output=True, text=True, timeout=100, check=False, cwd=cwd,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )  # fmt: skip

    return run


#: Fixtures whose tests cannot run in several threads at once (pytest-run-parallel), and why.
ONE_THREAD = {
    "python": "starts a process, which shares no memory",
    "ctrl_c": "interrupts the main thread",
    "_fresh": "begins with the process's seed and the first of the layers' names",
    "_restore": "changes a setting of the process",
    "path": "writes a file of one name",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use such a fixture."""
    for item in items:
        for name in ONE_THREAD.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.thread_unsafe(reason=ONE_THREAD[name]))
