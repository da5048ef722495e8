"""Whole jobs beside scikit-learn and Keras: time from data to accuracy, and peak memory.

    python benchmarks/jobs.py [--job fashion digits letters] [--json FILE]

fashion: 784-128-10 on Fashion-MNIST, 10 epochs, batch 128; digits and letters: 64-64-10 and
16-128-26, batch 32, until a held-out accuracy is reached (97 and 93 %). The data are looked for in
the folder that NNCORE_DATA names, or ../shared/data. Each job runs in a process of its own; the
time is that from the data in memory to the accuracy, the library's import included.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import measure
import numpy as np

LIBRARIES = ("nncore", "sklearn", "keras")
GOALS = {"digits": 0.97, "letters": 0.93}
MOST_EPOCHS = 200


def folder():
    """Return where the data are, or None."""
    places = [os.environ.get("NNCORE_DATA"), Path(__file__).parents[2] / "shared" / "data"]
    return next((Path(p) for p in places if p and Path(p).is_dir()), None)


def data(job):
    """Return ((x, y), (x_test, y_test)), scaled, or None where it is not there."""
    import nncore

    if job == "digits":
        (x, y), (x_test, y_test) = nncore.datasets.digits()
        scale = np.float32(1 / 16)
        return (x.reshape(len(x), -1) * scale, y), (x_test.reshape(len(x_test), -1) * scale, y_test)
    where = folder()
    if where is None:
        return None
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


def run_keras_like(library, job, train, test):
    """Train with Keras's words; return (epochs, accuracy)."""
    if library == "keras":
        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import keras as k
    else:
        import nncore as k
    k.utils.set_random_seed(0)
    units, classes = {"fashion": (128, 10), "digits": (64, 10), "letters": (128, 26)}[job]
    model = k.Sequential(
        [
            k.Input((train[0].shape[1],)),
            k.layers.Dense(units, activation="relu"),
            k.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    if job == "fashion":
        model.fit(*train, batch_size=128, epochs=10, verbose=0)
        return 10, model.evaluate(*test, verbose=0)[1]
    epoch, accuracy = 0, 0.0
    while accuracy < GOALS[job] and epoch < MOST_EPOCHS:
        model.fit(*train, batch_size=32, verbose=0)
        accuracy = model.evaluate(*test, verbose=0)[1]
        epoch += 1
    return epoch, accuracy


def run_sklearn(job, train, test):
    """Train scikit-learn's classifier; return (epochs, accuracy)."""
    import warnings

    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    units = {"fashion": 128, "digits": 64, "letters": 128}[job]
    batch = 128 if job == "fashion" else 32
    net = MLPClassifier((units,), batch_size=batch, alpha=0.0, random_state=0, max_iter=10)
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


def child(library, job):
    """Do one job in this process and print what it took as JSON."""
    import resource

    begin = time.perf_counter()
    found = data(job)
    if found is None:
        print(json.dumps({"missing": "the data are not there: set NNCORE_DATA"}))
        return
    read = time.perf_counter() - begin
    begin = time.perf_counter()
    if library == "sklearn":
        epochs, accuracy = run_sklearn(job, *found)
    else:
        epochs, accuracy = run_keras_like(library, job, *found)
    took = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "seconds": took, "reading_seconds": read, "epochs": int(epochs),
                "accuracy": float(accuracy), "peak_mb": peak,
            }
        )
    )  # fmt: skip


def main() -> int:
    """Run the jobs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--job", nargs="+", choices=("fashion", "digits", "letters"),
                        default=["fashion", "digits", "letters"])  # fmt: skip
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", nargs=2, metavar=("LIBRARY", "JOB"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return 0
    measure.begin(1)
    from nncore import bench

    results = []
    for job in options.job:
        rows = {library: [] for library in options.libraries}
        notes = {}
        for _ in range(options.repeats):
            for library in options.libraries:
                if library in notes:
                    continue
                run = subprocess.run(
                    [sys.executable, __file__, "--child", library, job],
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                if run.returncode:
                    notes[library] = run.stderr.strip().splitlines()[-1]
                    continue
                found = json.loads(run.stdout.splitlines()[-1])
                if "missing" in found:
                    notes[library] = found["missing"]
                else:
                    rows[library].append(found)
        print(job)
        for library, runs in rows.items():
            if not runs:
                print(f"  {library:<10} {notes.get(library, 'no result')}")
                continue
            middle = sorted(runs, key=lambda r: r["seconds"])[len(runs) // 2]
            print(
                f"  {library:<10} {middle['seconds']:8.2f} s  {middle['epochs']:4d} epochs  "
                f"{100 * middle['accuracy']:6.2f} %  {middle['peak_mb']:6.0f} MB"
            )
        results.append({"job": job, "runs": rows, "notes": notes})
    if options.json:
        bench.write_json(options.json, bench.circumstances(kind="jobs", threads=1, results=results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
