"""The benchmark measures what was done, refuses what is wrong, and says what it could not do."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore import bench, cli

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
        if name.split(".")[0] in ("measure", "peers", "compare", "plot", "training"):
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
    assert not list(path.parent.glob("*.part"))


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
