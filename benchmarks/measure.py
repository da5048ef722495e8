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
from functools import partial
from pathlib import Path

from peers import PEERS, UnsupportedError

from nncore import bench
from nncore.cli import _positive as positive
from nncore.cli import _seconds as seconds


def environment(threads):
    """Set the number of threads of every library; for this process and those it starts."""
    dropped = bench.pin(threads)
    os.environ["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={'false' if threads == 1 else 'true'} "
        f"intra_op_parallelism_threads={threads}"
    )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return dropped


#: The kernels of OpenBLAS for an instruction set, and NumPy's names of what is no more than it.
EQUALS = {
    "x86_64_v2": ("Nehalem", ()),
    "x86_64_v3": ("Haswell", ("X86_V3", "AVX", "F16C", "FMA3", "AVX2")),
    "x86_64_v4": (
        "SkylakeX", ("X86_V3", "X86_V4", "AVX", "F16C", "FMA3", "AVX2", "AVX512F", "AVX512CD",
                     "AVX512_SKX"),
    ),
}  # fmt: skip


def restrict(isa):
    """Let nncore and NumPy use this instruction set and no better one, as on such a processor.

    For processes that begin afterwards.
    """
    from numpy._core import _multiarray_umath as numpy_core

    blas, allowed = EQUALS[isa]
    better = [
        name
        for name in numpy_core.__cpu_dispatch__
        if numpy_core.__cpu_features__[name] and name not in allowed
    ]
    off = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").replace(",", " ").split()  # stays off
    os.environ.update(
        NNCORE_ISA=isa, OPENBLAS_CORETYPE=blas, NPY_DISABLE_CPU_FEATURES=" ".join([*off, *better])
    )


def clock():
    """Return the clock of this run: the wall's, or with --cpu-time the processor's."""
    return time.process_time if os.environ.get("NNCORE_BENCH_CPU_TIME") else time.perf_counter


def begin(threads, isa=None, cpu_time=False):
    """Begin anew where the environment has to be another when Python starts."""
    sys.stdout.reconfigure(line_buffering=True)  # to a file, too, as it comes
    if cpu_time and threads > 1:
        sys.exit("--cpu-time is for one thread: it adds up what all threads use")
    os.environ["NNCORE_BENCH_CPU_TIME"] = "1" if cpu_time else ""
    started = f"{threads} {isa or ''}".strip()
    if os.environ.get("NNCORE_BENCH_STARTED") == started:
        return os.environ["NNCORE_BENCH_DROPPED"].split()
    dropped = environment(threads)
    if isa:
        restrict(isa)
    os.environ["NNCORE_BENCH_STARTED"] = started
    os.environ["NNCORE_BENCH_DROPPED"] = " ".join(dropped)
    if dropped:
        print(f"not used here: {', '.join(dropped)} (they slow a current OpenBLAS down)")
    return bench.begin_anew()


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
    repeated = bench.repeated(lambda: peer.predict(rows[0]), clock=clock())
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            if method == "time_epochs":
                connection.send(("done", _time_epochs(peer, *arguments)))
            elif method == "time_predict":
                connection.send(("done", repeated(*arguments)))
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
    """Return microseconds of one step, from about so many seconds of whole epochs in one call.

    The first call after ``train`` only makes ready: it compiles, and learns what an epoch takes.
    """
    if seconds <= 0:
        peer.epochs(1)
        n = 1
    else:
        n = max(1, round(seconds / peer.epoch_seconds))
    now = clock()
    start = now()
    peer.epochs(n)
    took = now() - start
    peer.epoch_seconds = took / n
    return 1e6 * took / n / peer.work.steps


#: Seconds in which a peer has to answer: compiling takes long, hanging longer.
LONGEST = 300


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
            if not self.connection.poll(LONGEST):
                self.process.kill()
                raise MissingError(f"no answer within {LONGEST} s; its process was ended")
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


#: Threads of some libraries spin so long after their work, waiting for more.
_REST = 0.2


def in_turn(peers, method, repeats, seconds, rest=False):
    """Return each peer's times, round after round, and why some have none.

    With ``rest``, the threads of one may fall asleep before the next begins.
    """
    failed = {}

    def run(name, peer, wanted):
        if name in failed:
            return None
        try:
            return peer.call(method, wanted)
        except MissingError as error:
            failed[name] = f"failed while it was timed: {error}"
            return None
        finally:
            if rest and len(peers) > 1:
                time.sleep(_REST)

    times = bench.interleave(
        {name: partial(run, name, peer) for name, peer in peers.items()}, repeats, seconds
    )
    return {name: values for name, values in times.items() if name not in failed}, failed


def parser(description, peers=True):
    """Return the argument parser that the scripts share."""
    import argparse

    result = argparse.ArgumentParser(description=description)
    networks = [work.name for work in bench.WORKLOADS]
    result.add_argument(
        "--only", action="append", choices=networks, metavar="NETWORK", help="such as 64-64-10"
    )
    if peers:
        result.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
        result.add_argument(
            "--isa", choices=list(EQUALS), help="nncore and NumPy use this and no better one"
        )
        result.add_argument(
            "--cpu-time", action="store_true",
            help="time of the processor, not of the clock: where others use the machine, too",
        )  # fmt: skip
    result.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    result.add_argument("--threads", type=positive, default=1)
    result.add_argument("--repeats", type=positive, default=7)
    result.add_argument("--seconds", type=seconds, default=0.3, help="of each run, about")
    result.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    return result


def show(names, peers, times, notes):
    """Print each peer's times and its ratio to nncore's, or why there are none."""
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name in names:
        title = peers[name].title if name in peers else name
        if name in times:
            ratio = f"{middle[name] / middle['nncore']:8.2f} x" if "nncore" in middle else ""
            print(f"  {title:<18} {bench.shown(times[name]):>28}  {ratio}")
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
