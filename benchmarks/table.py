"""Print a result file of training.py or inference.py as a table of Markdown.

    python benchmarks/table.py training.json

Medians in microseconds; the best peer's and nncore's also in multiples of the limit, which is what
the matmuls take at the machine's peak.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path


def shown(number: float) -> str:
    """Return a number of microseconds or a ratio: three figures, or all before the point."""
    return (
        f"{number:,.0f}" if number >= 100 else f"{number:.3g}" if number >= 1 else f"{number:.2f}"
    )


def table(found) -> list[str]:
    """Return the lines: a row for each workload, a column for each library."""
    titles = found["titles"]
    peers = [name for name in titles if name != "nncore"]
    head = ["work", "limit", *titles.values(), "ahead of the best peer", "of NumPy"]
    head += ["nncore / limit", "best peer / limit"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for entry in found["results"]:
        times = {name: statistics.median(t) for name, t in entry["microseconds"].items()}
        rows = entry.get("rows")
        work = f"{entry['network']}, {rows:,}" if rows else entry["network"]
        work += f" ({entry['batch_size']})" if "batch_size" in entry else ""
        limit = entry["flops"] / found["peak_gflops"] / 1e3 / found["threads"]
        cells = [work, shown(limit)]
        cells += [shown(times[name]) if name in times else "–" for name in titles]
        others = [name for name in peers if name in times]
        if "nncore" in times and others:
            ours, best = times["nncore"], min(others, key=times.__getitem__)
            cells.append(f"**{times[best] / ours:.2f}** ({titles[best]})")
            cells.append(f"{times['numpy'] / ours:.3g}" if "numpy" in times else "–")
            # (Where calls, not arithmetic, are what takes the time, the multiple says nothing.)
            far = limit < ours / 10
            cells += ["–", "–"] if far else [shown(ours / limit), shown(times[best] / limit)]
        else:
            cells += ["–"] * 4
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main(arguments=None) -> int:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="what --json wrote")
    options = parser.parse_args(arguments)
    try:
        lines = table(json.loads(options.results.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        parser.error(f"{options.results} is no result file of training.py or inference.py: {error}")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
