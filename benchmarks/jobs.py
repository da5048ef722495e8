"""Whole jobs beside scikit-learn and Keras: time from data to accuracy, and peak memory.

    python benchmarks/jobs.py [--job fashion digits letters] [--json FILE]

fashion: 784-128-10 on Fashion-MNIST, 10 epochs, batch 128; digits and letters: 64-64-10 and
16-128-26, batch 32, until a held-out accuracy is reached (97 and 93 %). The data are looked for in
the folder that NNCORE_DATA names, or ../shared/data. Each job runs in a process of its own that has
its library alone; the time is that from the data in memory to the accuracy, looked at after every
epoch. The library's import is given beside it; memory is the most that the process had, and what it
had when data and library were loaded.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from process import memory_mb

LIBRARIES = ("nncore", "sklearn", "keras")
GOALS = {"digits": 0.97, "letters": 0.93}
MOST_EPOCHS = 200


def folder():
    """Return where the data are, or None."""
    places = [os.environ.get("NNCORE_DATA"), Path(__file__).parents[2] / "shared" / "data"]
    return next((Path(p) for p in places if p and Path(p).is_dir()), None)


def data(job):
    """Return ((x, y), (x_test, y_test)), scaled; FileNotFoundError where they are not there."""
    import nncore

    if job == "digits":
        (x, y), (x_test, y_test) = nncore.datasets.digits()
        scale = np.float32(1 / 16)
        return (x.reshape(len(x), -1) * scale, y), (x_test.reshape(len(x_test), -1) * scale, y_test)
    where = folder()
    if where is None:
        raise FileNotFoundError("no folder ../shared/data")
    if job == "fashion":
        parts = []
        for kind in ("train", "t10k"):
            stem = where / "fashion-mnist" / kind
            images = nncore.datasets.idx(f"{stem}-images-idx3-ubyte.gz")
            labels = nncore.datasets.idx(f"{stem}-labels-idx1-ubyte.gz")
            parts.append((images.reshape(len(images), -1) * np.float32(1 / 255), labels))
        return tuple(parts)
    with gzip.open(where / "letter-recognition.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    y = np.array([ord(row.pop("letter")) - ord("A") for row in rows])
    x = np.array([[float(v) for v in row.values()] for row in rows], np.float32)
    x = (x - x[:16000].mean(0)) / x[:16000].std(0)
    return (x[:16000], y[:16000]), (x[16000:], y[16000:])


def run_keras_like(k, job, train, test):
    """Train with Keras's words; return (epochs, accuracy)."""
    k.utils.set_random_seed(0)
    units, classes = {"fashion": (128, 10), "digits": (64, 10), "letters": (128, 26)}[job]
    model = k.Sequential(
        [
            k.Input((train[0].shape[1],)),
            k.layers.Dense(units, activation="relu"),
            k.layers.Dense(classes, activation="softmax"),
        ]
    )
    batch = 128 if job == "fashion" else 32
    steps = min(100, len(train[0]) // batch)  # as Keras advises for small models
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=steps
    )
    if job == "fashion":
        model.fit(*train, batch_size=batch, epochs=10, verbose=0)
        return 10, model.evaluate(*test, verbose=0)[1]
    epoch, accuracy = 0, 0.0
    while accuracy < GOALS[job] and epoch < MOST_EPOCHS:
        model.fit(*train, batch_size=batch, verbose=0)
        accuracy = model.evaluate(*test, verbose=0)[1]
        epoch += 1
    return epoch, accuracy


def run_sklearn(neural_network, job, train, test):
    """Train scikit-learn's classifier; return (epochs, accuracy)."""
    warnings.simplefilter("ignore")  # that it has not converged
    units = {"fashion": 128, "digits": 64, "letters": 128}[job]
    batch = 128 if job == "fashion" else 32
    net = neural_network.MLPClassifier(
        (units,), batch_size=batch, alpha=0.0, random_state=0, max_iter=10
    )
    if job == "fashion":
        net.fit(*train)
        return net.n_iter_, net.score(*test)
    classes = np.unique(train[1])
    epoch, accuracy = 0, 0.0
    while accuracy < GOALS[job] and epoch < MOST_EPOCHS:
        net.partial_fit(*train, classes=classes)
        accuracy = net.score(*test)
        epoch += 1
    return epoch, accuracy


def child(library, job, path):
    """Do one job in this process and print what it took as JSON."""
    with np.load(path) as file:
        train, test = (file["x"], file["y"]), (file["x_test"], file["y_test"])
    begin = time.perf_counter()
    if library == "keras":
        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    name = {"sklearn": "sklearn.neural_network"}.get(library, library)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        print(json.dumps({"missing": f"not installed ({error})"}))
        return
    imported = time.perf_counter() - begin
    before = memory_mb("VmRSS")
    begin = time.perf_counter()
    run = run_sklearn if library == "sklearn" else run_keras_like
    epochs, accuracy = run(module, job, train, test)
    took = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "seconds": took, "import_seconds": imported, "epochs": int(epochs),
                "accuracy": float(accuracy), "reached": accuracy >= GOALS.get(job, 0.0),
                "peak_mb": memory_mb("VmHWM"), "before_mb": before,
            }
        )
    )  # fmt: skip


def in_turn(job, path, libraries, repeats):
    """Return each library's runs, taken in turn, and why some have none."""
    runs, notes = {library: [] for library in libraries}, {}
    for _ in range(repeats):
        for library in libraries:
            if library in notes:
                continue
            run = subprocess.run(
                [sys.executable, __file__, "--child", library, job, str(path)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            lines = run.stdout.splitlines()
            if run.returncode or not lines:
                said = run.stderr.strip().splitlines() or ["without a word"]
                notes[library] = f"failed ({run.returncode}): {said[-1]}"
                continue
            found = json.loads(lines[-1])
            if "missing" in found:
                notes[library] = found["missing"]
            elif not found["reached"]:
                notes[library] = f"only {found['accuracy']:.1%} after {found['epochs']} epochs"
            else:
                runs[library].append(found)
    return {library: found for library, found in runs.items() if library not in notes}, notes


def megabytes(run):
    if run["peak_mb"] is None:
        return "memory not told"
    before = "?" if run["before_mb"] is None else f"{run['before_mb']:.0f}"
    return f"{run['peak_mb']:5.0f} MB at most ({before} before)"


def main() -> int:
    """Run the jobs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--job", nargs="+", choices=("fashion", "digits", "letters"),
                        default=["fashion", "digits", "letters"])  # fmt: skip
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--repeats", type=int, choices=range(1, 100), metavar="N", default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return 0
    import measure

    from nncore import bench

    bench.check_writable(options.json)
    dropped = measure.begin(1)
    results, wrong = [], 0
    for job in options.job:
        print(job)
        try:
            (x, y), (x_test, y_test) = data(job)
        except FileNotFoundError as error:
            print(f"  left out: the data are not there ({error}); set NNCORE_DATA to their folder")
            results.append({"job": job, "runs": {}, "notes": {"data": str(error)}})
            continue
        with tempfile.TemporaryDirectory(prefix="nncore-") as folder:
            path = Path(folder) / "data.npz"
            np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
            runs, notes = in_turn(job, path, options.libraries, options.repeats)
        for library in options.libraries:
            if library in notes:
                print(f"  {library:<10} {notes[library]}")
                continue
            middle = sorted(runs[library], key=lambda run: run["seconds"])[options.repeats // 2]
            print(
                f"  {library:<10} {middle['seconds']:8.2f} s  {middle['epochs']:4d} epochs  "
                f"{100 * middle['accuracy']:6.2f} %  {megabytes(middle)}  "
                f"import {middle['import_seconds']:.2f} s"
            )
        wrong += "nncore" in notes
        results.append({"job": job, "runs": runs, "notes": notes})
    if options.json:
        bench.write_json(
            options.json,
            bench.circumstances(
                kind="jobs", threads=1, dropped_from_environment=dropped, results=results
            ),
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
