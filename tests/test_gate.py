"""The local gate says something about each part, and its exit status is true."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]

if not (ROOT / "tools" / "verify.py").exists() or not sys.platform.startswith("linux"):
    pytest.skip("tools/ is not beside tests/, or this is not Linux", allow_module_level=True)


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import verify
    from gate import workbench

    monkeypatch.setattr(workbench, "CACHE", tmp_path)
    yield verify
    for name in [n for n in sys.modules if n == "verify" or n.partition(".")[0] == "gate"]:
        del sys.modules[name]


@pytest.fixture
def gate(
    verify: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a gate of three parts: one that passes, one that fails, one that cannot run."""
    from gate.workbench import CannotRun, Failed, Part, Workbench

    def fail(bench: Workbench) -> str:
        raise Failed("it is broken\nin two lines")

    def cannot(bench: Workbench) -> str:
        raise CannotRun("there is no such machine")

    parts = (
        Part("good", "what works", lambda bench: "seen"),
        Part("bad", "what does not", fail, smoke=True),
        Part("absent", "what is not here", cannot),
    )
    monkeypatch.setattr(verify, "PARTS", parts)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["verify.py", *arguments])
        return verify.main(), capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((), 1),
        (("good",), 0),
        (("absent",), 0),
        (("absent", "--strict"), 1),
        (("good", "--strict"), 0),
        (("bad", "good"), 1),
    ],
)
def test_exit_status(
    gate: Callable[..., tuple[int, str]], arguments: tuple[str, ...], status: int
) -> None:
    assert gate(*arguments)[0] == status


def test_every_part_says_its_verdict_and_stands_in_the_table(
    gate: Callable[..., tuple[int, str]],
) -> None:
    _, said = gate()
    *_, good, bad, absent = said.splitlines()
    assert re.fullmatch(r"good +pass +seen", good)
    assert re.fullmatch(r"bad +fail +it is broken", bad)
    assert re.fullmatch(r"absent +cannot run here +because there is no such machine", absent)
    assert "fail it is broken\nin two lines (" in said


def test_list_and_unknown_parts(
    gate: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate("--list") == (
        0,
        "good                     what works\n"
        "bad                      what does not (smoke)\n"
        "absent                   what is not here\n",
    )
    with pytest.raises(SystemExit) as stopped:
        gate("god")
    assert stopped.value.code == 2
    assert "no part is called god; there are good, bad, absent" in capsys.readouterr().err


def test_one_gate_at_a_time(
    gate: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    from gate.workbench import Workbench

    with Workbench(smoke=False, environment=None).alone() as alone:
        assert alone
        with pytest.raises(SystemExit):
            gate("good")
    assert "another gate is at work in" in capsys.readouterr().err


def test_a_command_that_fails_or_is_not_there(verify: ModuleType) -> None:
    from gate.workbench import CannotRun, Failed, Workbench

    bench = Workbench(smoke=True, environment=None)
    bench.begin("test")
    assert bench.run(sys.executable, "-c", "print(6 * 7)").stdout == "42\n"
    with pytest.raises(Failed, match="ended with 3"):
        bench.run(sys.executable, "-c", "raise SystemExit(3)")
    with pytest.raises(Failed, match="took longer than"):
        bench.run(sys.executable, "-c", "import time; time.sleep(60)", seconds=0.2)
    with pytest.raises(CannotRun, match="there is no nncore-has-no-such-program"):
        bench.run("nncore-has-no-such-program")


def test_what_is_above_a_level(verify: ModuleType) -> None:
    """The disassembly's rules, on lines that objdump writes."""
    from gate.floor import TOO_WIDE, level

    sse, avx = "mulps  %xmm1,%xmm0", "vmulps %xmm1,%xmm2,%xmm3"
    ymm, zmm = "vmulps %ymm1,%ymm2,%ymm3", "vfmadd231ps (%rax),%zmm1,%zmm2"
    evex, mask = "vmovaps %xmm17,%xmm0", "vmovups %ymm1,(%rax){%k1}"
    refused = {
        "_core_x86_64_v2_f32": [avx, ymm, zmm, evex, mask],
        "_runtime": [avx, ymm, zmm, evex, mask],
        "_cyutility": [avx, ymm, zmm, evex, mask],
        "_core_x86_64_v3_f64": [zmm, evex, mask],
        "_core_x86_64_v4_f32": [],
    }
    for module, wanted in refused.items():
        rule = TOO_WIDE[level(module)]
        assert [
            line for line in (sse, avx, ymm, zmm, evex, mask) if re.search(rule, line)
        ] == wanted


def test_the_parts_that_are_spoken_of_exist(verify: ModuleType) -> None:
    names = [part.name for part in verify.PARTS]
    assert len(set(names)) == len(names)
    run = ROOT / ".ci" / "run"  # not in the source archive
    if run.exists():
        (asked,) = re.findall(r'--environment "\$work/env" \\\n +(.+)', run.read_text("utf-8"))
        assert set(asked.split()) <= set(names)
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The local gate")[2]
    for text in re.findall(r"^\| (`.+?) \|", told, re.MULTILINE):
        for name in re.findall(r"`([\w*-]+)`", text):
            pattern = name.replace("*", ".+")
            assert any(re.fullmatch(pattern, n) for n in names), name
