"""Miss the instruction sets that were tested nowhere.

python tools/tested_isas.py FOLDER

The folder holds a file for each instruction set that ran the suite, named like it: what the jobs
of .github/workflows/instruction-sets.yml leave. The exit code is 1 if setup.py can build one that
has none.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def buildable() -> set[str]:
    """Return the instruction sets that setup.py has flags for."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ISA_FLAGS":
            return set(ast.literal_eval(node.value))
    raise LookupError("setup.py has no table ISA_FLAGS")


def main(folder: str) -> int:
    """Compare; return the exit code."""
    tested = {path.name for path in Path(folder).iterdir()}
    print("tested:", *sorted(tested))
    missed = buildable() - tested
    if missed:
        print("tested nowhere:", *sorted(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(f"usage: python {sys.argv[0]} FOLDER")
    sys.exit(main(sys.argv[1]))
