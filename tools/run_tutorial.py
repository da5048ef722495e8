"""Execute the notebooks of docs/tutorial afresh and write their outputs into them.

    pip install '.[docs]'
    python tools/run_tutorial.py                # all of them
    python tools/run_tutorial.py 06 ko/08       # those whose path contains one of the words

The notebooks are the source: text and code are edited in them, in both languages, then this is
run.  What it writes is the same each time (no times, versions or paths); figures look as
docs/tutorial/matplotlibrc says.  tests/test_tutorial.py compares the outputs with fresh ones.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorial"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path) -> None:
    """Run one notebook in a kernel of its own, in its folder, and write it back."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
    ).execute()
    clean(notebook, path)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def clean(notebook: Any, path: Path) -> None:
    """Keep what readers see; raise if a cell wrote to stderr."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise RuntimeError(f"{path.name}, {cell.id}: a cell wrote to stderr: {output.text}")
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})


def main(words: list[str]) -> None:
    """Execute the notebooks that were asked for."""
    os.environ["MATPLOTLIBRC"] = str(FOLDER / "matplotlibrc")
    paths = sorted(FOLDER.glob("*/*.ipynb"))
    wanted = [p for p in paths if not words or any(word in p.as_posix() for word in words)]
    if not wanted:
        raise SystemExit(f"no notebook in {FOLDER} has {' or '.join(words)} in its path")
    for path in wanted:
        begin = time.perf_counter()
        execute(path)
        name = path.relative_to(FOLDER)
        kib = path.stat().st_size // 1024
        print(f"{name}: {time.perf_counter() - begin:.1f} s, {kib} KiB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
