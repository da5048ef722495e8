"""Build the documentation site into build/docs; every warning is an error.

    pip install '.[docs]'
    python tools/build_docs.py [--fresh] [--open]

The nncore that is documented is the one beside this folder when its compiled modules are there
(``pip install -e .``, ``setup.py build_ext --inplace``), the installed one otherwise.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import webbrowser
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "build" / "docs"


def environment() -> dict[str, str]:
    """Return the environment in which Sphinx imports the nncore that is meant."""
    if not any((ROOT / "nncore").glob("_core_*")):
        return dict(os.environ)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}


def main(arguments: list[str] | None = None) -> int:
    """Build the site and say where it is; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the documentation; warnings are errors.")
    parser.add_argument("--fresh", action="store_true", help="forget what was built before")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    options = parser.parse_args(arguments)

    if find_spec("sphinx") is None or find_spec("myst_nb") is None:
        print("Sphinx and its extensions are missing: pip install '.[docs]'", file=sys.stderr)
        return 1
    if options.fresh:
        shutil.rmtree(SITE, ignore_errors=True)
    begin = time.perf_counter()
    code = subprocess.call(
        [
            sys.executable, "-P", "-m", "sphinx", "--builder", "html", "--quiet",
            "--fail-on-warning", "--nitpicky", "--doctree-dir", str(SITE / "doctrees"),
            str(ROOT / "docs"), str(SITE / "html"),
        ],
        env=environment(),
    )  # fmt: skip
    if code == 0:
        index = SITE / "html" / "index.html"
        print(f"{index} ({time.perf_counter() - begin:.0f} s)")
        if options.open:
            webbrowser.open(index.as_uri())
    return code


if __name__ == "__main__":
    raise SystemExit(main())
