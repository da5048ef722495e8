"""Peers in processes of their own, measured in turn.

Each peer's process loads only its library, with its threads pinned before the import, and sleeps
while another is measured: no thread pool and no memory of one disturbs the next.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

from peers import PEERS, UnsupportedError

from nncore import bench

#: Set on some machines for the sake of old OpenBLAS builds; they slow a current one down.
DROPPED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def environment(threads):
    """Set the number of threads of every library; for this process and those it starts."""
    for name in (
        "NNCORE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    ):  # fmt: skip
        os.environ[name] = str(threads)
    os.environ["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={'false' if threads == 1 else 'true'} "
        f"intra_op_parallelism_threads={threads}"
    )
    dropped = [name for name in DROPPED if os.environ.pop(name, None) is not None]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return dropped


def begin(threads):
    """Begin anew where the environment has to be another when Python starts."""
    if os.environ.get("NNCORE_BENCH_STARTED") == str(threads):
        return os.environ["NNCORE_BENCH_DROPPED"].split()
    dropped = environment(threads)
    os.environ["NNCORE_BENCH_STARTED"] = str(threads)
    os.environ["NNCORE_BENCH_DROPPED"] = " ".join(dropped)
    if dropped:
        print(f"not used here: {', '.join(dropped)} (they slow a current OpenBLAS down)")
    sys.stdout.flush()
    return os.execv(sys.executable, [sys.executable, *sys.argv])


def _serve(connection, name, threads, dtype):
    """Answer (method, arguments) until the pipe is closed; runs in the peer's process."""
    try:
        module, cls = PEERS[name]
        peer = getattr(importlib.import_module(f"peers.{module}"), cls)(threads, dtype)
        connection.send(("done", (peer.title, peer.versions())))
    except ImportError as error:
        connection.send(("unsupported", f"not installed ({error})"))
        return
    rows = []
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            if method == "time_epochs":
                connection.send(("done", _time_epochs(peer, *arguments)))
            elif method == "time_predict":
                connection.send(("done", bench.repeated(lambda: peer.predict(rows[0]))(*arguments)))
            elif method == "rows":
                rows[:] = arguments
                connection.send(("done", peer.predict(rows[0])))
            else:
                connection.send(("done", getattr(peer, method)(*arguments)))
        except UnsupportedError as error:
            connection.send(("unsupported", str(error)))
        except Exception as error:  # a peer's failure is a result, said in a word
            connection.send(("failed", f"{type(error).__name__}: {str(error)[:200]}"))


def _time_epochs(peer, seconds):
    """Return microseconds of one step, from about so many seconds of whole epochs."""
    n, done = 1, 0
    start = time.perf_counter()
    while True:
        peer.epochs(n)
        done += n
        took = time.perf_counter() - start
        if took >= seconds:
            return 1e6 * took / done / peer.work.steps
        n = max(1, int(done * (seconds - took) / took))


class MissingError(Exception):
    """Why there is no number."""


class Peer:
    """A peer in a process of its own."""

    def __init__(self, name, threads, dtype):
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(other, name, threads, dtype), daemon=True
        )
        self.process.start()
        other.close()
        self.title, self.versions = self._answer()

    def _answer(self):
        try:
            how, answer = self.connection.recv()
        except EOFError:
            raise MissingError("its process ended without a word") from None
        if how != "done":
            raise MissingError(answer)
        return answer

    def call(self, method, *arguments):
        """Return what the peer's method returns; MissingError says why it cannot."""
        try:
            self.connection.send((method, arguments))
        except OSError:
            raise MissingError("its process has ended") from None
        return self._answer()

    def close(self):
        """End the process."""
        self.connection.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.terminate()


def start(names, threads, dtype, say=print):
    """Return the peers that can be had, and why the others cannot."""
    peers, missing = {}, {}
    for name in names:
        module = PEERS[name][0]
        if importlib.util.find_spec(f"peers.{module}") is None:
            raise ValueError(f"no file for the peer {name}")
        try:
            peers[name] = Peer(name, threads, dtype)
        except MissingError as error:
            missing[name] = str(error)
            say(f"{name}: left out: {error}")
    return peers, missing


def in_turn(peers, method, repeats, seconds):
    """Return each peer's times, round after round."""
    return bench.interleave(
        {name: lambda s, p=peer: p.call(method, s) for name, peer in peers.items()},
        repeats,
        seconds,
    )


def parser(description):
    """Return the argument parser that the scripts share."""
    import argparse

    result = argparse.ArgumentParser(description=description)
    result.add_argument("--only", action="append", metavar="NETWORK", help="such as 64-64-10")
    result.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    result.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    result.add_argument("--threads", type=int, default=1)
    result.add_argument("--repeats", type=int, default=7)
    result.add_argument("--seconds", type=float, default=0.3, help="of each run, about")
    result.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    return result


def medians(times):
    """Return each peer's median."""
    return {name: statistics.median(values) for name, values in times.items()}


def show(names, peers, times, notes):
    """Print each peer's times and its ratio to nncore's, or why there are none."""
    middle = medians(times)
    for name in names:
        title = peers[name].title if name in peers else name
        if name in times:
            ratio = middle[name] / middle["nncore"]
            print(f"  {title:<18} {bench.shown(times[name]):>28}  {ratio:8.2f} x")
        elif name in notes:
            print(f"  {title:<18} {notes[name]}")


def save(options, kind, peers, missing, **more):
    """Write the results where --json says, and end the peers' processes."""
    if options.json:
        found = bench.circumstances(
            kind=kind, dtype=options.dtype, threads=options.threads, missing=missing,
            titles={name: peer.title for name, peer in peers.items()},
            versions={k: v for peer in peers.values() for k, v in peer.versions.items()}, **more,
        )  # fmt: skip
        bench.write_json(options.json, found)
    for peer in peers.values():
        peer.close()
