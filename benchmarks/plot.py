"""Draw the step time against the net's size, one line a library, and the machine's limit.

python benchmarks/plot.py training.json docs/training.svg
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

COLORS = {
    "nncore": "#d1495b", "numpy": "#7a7a7a", "sklearn": "#e08e45", "torch": "#3b6fb6",
    "torch-compiled": "#86aee0", "jax": "#3f9b6b", "keras": "#8a63b5", "onnxruntime": "#b59b3b",
}  # fmt: skip


def main(arguments=None) -> None:
    """Write the picture; its ending (.png, .svg) says in which format."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="what training.py --json wrote")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    try:
        import matplotlib
    except ImportError:
        parser.error("matplotlib is not installed: pip install 'nncore[bench]'")
    found = json.loads(options.results.read_text(encoding="utf-8"))
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = "nncore"
    entries = sorted(found["results"], key=lambda entry: entry["flops"])
    places = range(len(entries))
    figure, axes = plt.subplots(figsize=(11, 5.2), layout="constrained")
    limit = [e["flops"] / found["peak_gflops"] / 1e3 / found["threads"] for e in entries]
    axes.fill_between(places, limit, color="#eeeeee")
    axes.plot(
        places, limit, "--", color="#555555", label="the machine's limit:\nmatmuls at its peak"
    )
    names = sorted({name for e in entries for name in e["microseconds"]})
    for name in sorted(names, key=lambda n: n == "nncore"):
        points = [
            (place, statistics.median(e["microseconds"][name]))
            for place, e in enumerate(entries)
            if name in e["microseconds"]
        ]
        axes.plot(
            *zip(*points, strict=True), marker="o", color=COLORS.get(name),
            label=found.get("titles", {}).get(name, name), linewidth=3 if name == "nncore" else 1.5,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.05)
    axes.set_xticks(
        places, [f"{e['network']}\nbatch {e['batch_size']}" for e in entries], fontsize=7.5
    )
    axes.set_ylabel("microseconds per training step")
    axes.set_title(
        f"{found['cpu']}, {found['dtype']}, {found['threads']} thread"
        f"{'s' if found['threads'] > 1 else ''}, nncore {found['nncore']}", fontsize=10,
    )  # fmt: skip
    axes.grid(axis="y", color="#eeeeee")
    figure.legend(fontsize=8, loc="outside right upper")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.picture, dpi=150, metadata={"Date": None} if
                   options.picture.suffix == ".svg" else None)  # fmt: skip
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
