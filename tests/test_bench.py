"""The benchmark measures what was done, refuses what is wrong, and says what it could not do."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore import bench, cli, runtime

ROOT = Path(__file__).parents[1]
QUICK = {"repeats": 2, "seconds": 0.001}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch):
    """Make the scripts of benchmarks/ importable."""
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("benchmarks/ is not beside tests/")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if Path(file).is_relative_to(ROOT / "benchmarks"):
            del sys.modules[name]


def test_the_table_of_work() -> None:
    work = bench.find(["64-64-10"])[0]
    assert work.parameters == 64 * 64 + 64 + 64 * 10 + 10
    assert work.forward_flops(32) == 2 * 32 * (64 * 64 + 64 * 10)
    assert work.flops == 3 * work.forward_flops(32) - 2 * 32 * 64 * 64
    model = work.model("compiled", "float64")
    assert model.count_params() == work.parameters
    assert model.dtype == "float64"
    assert [w.name for w in bench.find(None)] == [w.name for w in bench.WORKLOADS]
    with pytest.raises(ValueError, match="no workload is called '3-3-3'; known: 2-2-2, 4-16-3"):
        bench.find(["3-3-3"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: str) -> None:
    path = tmp_path / "results" / "bench.json"
    arguments = ["bench", "--only", "2-2-2", "--only", "4-16-3", "--dtype", dtype]
    arguments += ["--seconds", "0.001", "--repeats", "2", "--json", str(path)]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("step, batch" in line for line in lines) == 2
    assert sum("predict" in line for line in lines) == 4
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["dtype"] == dtype
    assert found["nncore"] == nncore.__version__
    assert found["peak_gflops"] > 0
    assert len(found["results"]) == 6
    for row in found["results"]:
        assert set(row["microseconds"]) == {"compiled", "reference"}
        assert all(len(t) == 2 and min(t) > 0 for t in row["microseconds"].values())
        assert row["difference"] <= bench.TOLERANCE[dtype]
    assert not list(path.parent.glob("*.tmp"))


def test_a_wrong_result_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = bench.Workload.model

    def spoiled(self, engine, *arguments, **more):
        model = right(self, engine, *arguments, **more)
        if engine == "compiled":
            model.compile(nncore.optimizers.SGD(0.5), "mse")
        return model

    monkeypatch.setattr(bench.Workload, "model", spoiled)
    assert cli.main(["bench", "--only", "2-2-2", "--seconds", "0.001"]) == 1
    out = capsys.readouterr()
    assert "2-2-2 not timed: the results are" in out.out
    assert "some results were wrong" in out.err
    assert "step, batch" not in out.out


def test_an_unknown_network_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--only", "5-5"]) == 1
    assert "no workload is called '5-5'; known: 2-2-2" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_a_wrong_time_is_an_error(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["bench", f"--seconds={seconds}"])
    assert f"above 0 and at most 600; received {seconds}" in capsys.readouterr().err


def test_where_nothing_can_be_written_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "--json", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"--json {tmp_path} is a folder; give the name of a file" in captured.err


def test_a_wrong_prediction_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(bench._FORMULAS, "sigmoid", lambda z: 1.001 / (1 + np.exp(-z)))
    assert cli.main(["bench", "--only", "2-2-2", "--seconds", "0.001", "--repeats", "1"]) == 1
    captured = capsys.readouterr()
    assert "predictions not timed: they are 1e-03 apart" in captured.out
    assert "predict 1" not in captured.out
    assert "some results were wrong" in captured.err


def search_path() -> str:
    """The same nncore as here, installed or not."""
    there = str(Path(nncore.__file__).parents[1])
    return os.pathsep.join([there, os.environ.get("PYTHONPATH", "")])


def test_the_process_begins_anew_with_its_threads_pinned(tmp_path: Path) -> None:
    names = {*bench.DROPPED, cli._PINNED}
    environment = {k: v for k, v in os.environ.items() if k not in names}
    environment |= {"PYTHONPATH": search_path(), "OPENBLAS_L2_SIZE": "512"}
    run = subprocess.run(
        [
            sys.executable, "-m", "nncore", "bench", "--only", "2-2-2", "--seconds", "0.001",
            "--repeats", "1", "--json", "a.json",
        ],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("not used here: OPENBLAS_L2_SIZE (")
    assert run.stdout.count("step, batch") == 1
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["results"]


def test_plain_numpy_is_the_model() -> None:
    for work in bench.find(["2-2-2", "4-16-3", "50-256-256-1"]):
        model = work.model("compiled", "float64")
        x = work.data("float64")[0][:5]
        plain = bench.plain_predict(work, model.get_weights())
        np.testing.assert_allclose(plain(x), model.predict(x), rtol=1e-12)


def test_runs_alternate() -> None:
    seen: list[str] = []
    times = bench.interleave(
        {name: lambda seconds, n=name: seen.append(n) or 1.0 for name in "ab"}, 3, 0.0
    )
    assert "".join(seen) == "ab" * 4
    assert times == {"a": [1.0] * 3, "b": [1.0] * 3}


def results(tmp_path: Path, name: str, **microseconds: list[float]) -> Path:
    path = tmp_path / name
    bench.write_json(
        path,
        bench.circumstances(
            dtype="float32", threads=1, peak_gflops=100.0, titles={"nncore": "nncore"},
            results=[
                {
                    "network": network, "batch_size": 8, "flops": flops,
                    "microseconds": {k: [v * flops for v in t] for k, t in microseconds.items()},
                }
                for network, flops in (("2-2-2", 10), ("4-16-3", 1000))
            ],
        ),
    )  # fmt: skip
    return path


def test_compare(scripts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare = scripts("compare")
    before = results(tmp_path, "a.json", nncore=[2.0, 2.1, 2.2], numpy=[9.0, 10.0, 11.0])
    after = results(tmp_path, "b.json", nncore=[1.0, 1.05, 1.1], numpy=[8.0, 10.0, 12.0])
    assert compare.main([str(before), str(after)]) == 0
    out = capsys.readouterr().out
    assert out.count("2.00 x  faster") == 2
    assert out.count("1.00 x") == 2
    assert compare.main([str(after), str(before)]) == 0
    assert capsys.readouterr().out.count("0.50 x  SLOWER") == 2
    (tmp_path / "no.json").write_text("[]")
    with pytest.raises(SystemExit):
        compare.main([str(before), str(tmp_path / "no.json")])
    assert "is not a result file" in capsys.readouterr().err


def test_table(scripts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = scripts("table")
    path = results(tmp_path, "a.json", nncore=[1.1e-5, 1.2e-5, 1.3e-5], numpy=[3e-5, 2.4e-5, 2e-5])
    found = json.loads(path.read_text(encoding="utf-8"))
    found["titles"] = {"nncore": "nncore", "numpy": "NumPy", "jax": "JAX"}
    found["results"][0]["microseconds"]["nncore"] = [2.0]
    path.write_text(json.dumps(found), encoding="utf-8")
    assert table.main([str(path)]) == 0
    head, _, far, near = capsys.readouterr().out.splitlines()
    assert head.split(" | ")[2:5] == ["nncore", "NumPy", "JAX"]
    assert far.startswith("| 2-2-2 (8) | 0.00 | 2 | 0.00 | – | **0.00** (NumPy) | ")
    assert far.endswith("| – | – |")
    assert near == ("| 4-16-3 (8) | 0.01 | 0.01 | 0.02 | – | **2.00** (NumPy) | 2 | 1.2 | 2.4 |")
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(SystemExit):
        table.main([str(path)])
    assert "is no result file" in capsys.readouterr().err


def test_plot(scripts, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = results(tmp_path, "a.json", nncore=[1.0, 2.0], numpy=[30.0])
    scripts("plot").main([str(path), str(tmp_path / "new" / "a.svg")])
    assert "nncore" in (tmp_path / "new" / "a.svg").read_text(encoding="utf-8")


def test_a_peer_that_is_not_there_is_said(
    scripts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = scripts("measure")
    monkeypatch.setitem(measure.PEERS, "absent", ("absent_library", "Absent"))
    with pytest.raises(ValueError, match="no file for the peer absent"):
        measure.start(["absent"], 1, "float32")
    answers = []

    class Connection:
        def send(self, answer):
            answers.append(answer)

    monkeypatch.setitem(sys.modules, "sklearn", None)  # as if it were not installed
    measure._serve(Connection(), "sklearn", 1, "float32")
    ((how, why),) = answers
    assert how == "unsupported"
    assert why.startswith("not installed")


@pytest.mark.parametrize(
    "isa", [isa for isa in runtime.available_isas() if isa.startswith("x86_64")]
)
def test_numpy_is_held_to_the_same_instruction_set(
    scripts, isa: str, monkeypatch: pytest.MonkeyPatch, python
) -> None:
    for name in ("NNCORE_ISA", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that it is put back
    measure = scripts("measure")
    measure.restrict(isa)
    done = python(
        "import os, nncore\n"
        "from numpy._core import _multiarray_umath as core\n"
        "used = {name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]}\n"
        "print(nncore.runtime.isa(), os.environ['OPENBLAS_CORETYPE'], *sorted(used))"
    )
    assert done.returncode == 0, done.stderr
    own, blas, *used = done.stdout.split()
    kernels, allowed = measure.EQUALS[isa]
    assert (own, blas) == (isa, kernels)
    assert set(used) <= set(allowed)


def test_the_clock_may_be_the_processors(scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = scripts("measure")
    monkeypatch.setenv("NNCORE_BENCH_CPU_TIME", "")
    assert measure.clock() is time.perf_counter
    monkeypatch.setenv("NNCORE_BENCH_CPU_TIME", "1")
    assert measure.clock() is time.process_time
    with pytest.raises(SystemExit, match="--cpu-time is for one thread"):
        measure.begin(2, cpu_time=True)
    ticks = iter(range(100))
    calls = []
    assert bench.repeated(lambda: calls.append(1), clock=lambda: next(ticks))(1.0) == 1e6
    assert calls == [1]


def test_a_peer_that_fails_while_it_is_timed_is_said(scripts) -> None:
    measure = scripts("measure")

    class Works:
        def call(self, method, seconds):
            return 2.0

    class Fails:
        calls = 0

        def call(self, method, seconds):
            self.calls += 1
            if self.calls == 2:
                raise measure.MissingError("MemoryError: no more")
            return 1.0

    times, failed = measure.in_turn({"a": Works(), "b": Fails()}, "time_predict", 3, 0.01)
    assert times == {"a": [2.0] * 3}
    assert failed == {"b": "failed while it was timed: MemoryError: no more"}


def test_a_peer_that_does_not_answer_is_ended(scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = scripts("measure")
    peers, _ = measure.start(["numpy"], 1, "float32")
    monkeypatch.setattr(measure, "LONGEST", 0)
    monkeypatch.setattr(peers["numpy"].connection, "poll", lambda seconds: False, raising=False)
    with pytest.raises(measure.MissingError, match="no answer within 0 s"):
        peers["numpy"].call("versions")
    peers["numpy"].close()
    assert not peers["numpy"].process.is_alive()


def test_the_error_of_a_kernel(scripts) -> None:
    kernels = scripts("kernels")
    exact = [np.ones(4), np.empty(0)]
    assert kernels.error([np.ones(4), np.empty(0)], exact, "float64") == 0
    assert kernels.error([np.full(4, 1.1), np.empty(0)], exact, "float32") > 1e5
    assert not kernels.error([np.array([1, np.nan, 1, 1]), np.empty(0)], exact, "float32") <= 64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernels_that_are_timed_are_right(scripts, dtype: str) -> None:
    kernels = scripts("kernels")
    core = runtime.core(dtype)
    seen = []
    for what, name, call, moved, found, exact in kernels.elementwise(core, dtype, 64 * 5):
        call()
        assert moved > 0
        assert kernels.error(found, exact, dtype) <= kernels.EPSILONS, (what, name)
        seen.append(name)
    assert set(seen) == {*core.ACTIVATIONS, *core.LOSSES, *core.OPTIMIZERS}
    for runner in kernels.with_adam(dtype, 5, 7, 3)[:2]:
        runner()
    assert kernels.with_adam(dtype, 5, 7, 3)[2] <= bench.TOLERANCE[dtype]


def test_a_job_that_fails_is_said(scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = scripts("jobs")
    monkeypatch.setenv("PYTHONPATH", search_path())
    runs, notes = jobs.in_turn("digits", tmp_path / "none.npz", ["nncore"], 2)
    assert runs == {}
    assert notes["nncore"].startswith("failed (1): FileNotFoundError")
    monkeypatch.setattr(jobs, "folder", lambda: None)
    with pytest.raises(FileNotFoundError):
        jobs.data("fashion")
    (x, y), (x_test, y_test) = jobs.data("digits")
    np.savez(tmp_path / "few.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    runs, notes = jobs.in_turn("digits", tmp_path / "few.npz", ["nncore"], 1)
    assert notes == {}
    assert runs["nncore"][0]["accuracy"] >= jobs.GOALS["digits"]


def test_recorded_trainings_are_compared_before_they_are_timed(scripts) -> None:
    record = scripts("record")
    for work in bench.find(["2-2-2", "4-16-3", "64-64-10"]):
        x, t = work.data("float32")
        for make in record.records(nncore, work).values():
            assert record.same_bits(work, "float32", x, t, make)


def test_peers_give_the_same_results(scripts) -> None:
    """nncore's and NumPy's, in processes of their own."""
    measure = scripts("measure")
    peers, missing = measure.start(["nncore", "numpy"], 1, "float64")
    assert not missing
    try:
        work = bench.find(["4-16-3"])[0]
        x, t = work.data("float64")
        start = work.model("compiled", "float64").get_weights()
        found = []
        for peer in peers.values():
            peer.call("train", work, start, x, t)
            found.append(peer.call("check", 5))
            assert peer.call("time_epochs", 0.0) > 0
            peer.call("serve", work, start)
            found.append([peer.call("rows", x[:3])])
        assert bench.apart(found[2], found[0], start) < 1e-8
        np.testing.assert_allclose(found[3][0], found[1][0], rtol=1e-10)
        with pytest.raises(measure.MissingError, match="AttributeError"):
            peers["numpy"].call("no_such_method")
    finally:
        for peer in peers.values():
            peer.close()
