"""Instruction sets; and that the hot loops really were vectorised."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nncore import runtime

PACKAGE = Path(runtime.__file__).parent


@pytest.mark.parametrize("isa", runtime.available_isas())
def test_an_instruction_set_can_be_forced(isa, python):
    done = python(
        "import nncore; print(nncore.runtime.isa()); nncore.show_config()", NNCORE_ISA=isa
    )
    assert done.stdout.splitlines()[0] == isa, done.stderr
    assert f"instruction set:  {isa}" in done.stdout
    assert "forced by NNCORE_ISA" in done.stdout


def test_forcing_one_that_is_missing_is_an_error_that_names_what_there_is(python):
    done = python("import nncore; nncore.kernels.activate('relu', [1.0])", NNCORE_ISA="avx10")
    assert done.returncode != 0
    assert "NNCORE_ISA=avx10: this machine and build have" in done.stderr
    assert runtime.available_isas()[-1] in done.stderr


def test_the_best_instruction_set_is_chosen(python):
    done = python("import nncore; print(nncore.runtime.isa())", NNCORE_ISA="")
    assert done.stdout.strip() == runtime.available_isas()[-1]


def test_show_config_says_it_all():
    lines = []
    runtime.show_config(lines.append)
    text = "\n".join(lines)
    for word in ("nncore:", "Python:", "NumPy:", "compiler:", "instruction set:", "threads:"):
        assert word in text
    assert runtime.isa() in text


# What the vectoriser must have made of the loops: packed operations, of the full width. The
# scalar ones that remain are the loops' ends.
PACKED = {
    "x86_64_v2": (r"\b(mul|add|div|sqrt|max)p[sd]\b.*%xmm", None),
    "x86_64_v3": (r"\bv(fn?m(add|sub)\d+|div|sqrt)p[sd]\b.*%ymm", r"%zmm"),
    "x86_64_v4": (r"\bv(fn?m(add|sub)\d+|div|sqrt)p[sd]\b.*%zmm", None),
}


@pytest.mark.skipif(
    shutil.which("objdump") is None or platform.machine() != "x86_64",
    reason="reads x86-64 machine code, with objdump",
)
@pytest.mark.parametrize("isa", [isa for isa in runtime.available_isas() if isa in PACKED])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_hot_loops_are_vectorised(isa, kind):
    (module,) = PACKAGE.glob(f"_core_{isa}_{kind}.*.so")
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(module)], capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    wanted, never = PACKED[isa]
    packed = len(re.findall(wanted, listing))
    # Each of 18 activations and derivatives, 8 updates and 9 losses has some dozens.
    assert packed > 400, f"{packed} packed operations in {module.name}"
    letter = "s" if kind == "f32" else "d"
    roots = len(re.findall(rf"\bv?sqrtp{letter}\b", listing))
    assert roots >= 5, f"{roots} packed square roots: are the optimizers' loops vectorised?"
    divisions = len(re.findall(rf"\bv?divp{letter}\b", listing))
    assert divisions >= 30, f"{divisions} packed divisions: are the activations vectorised?"
    if kind == "f32":
        # A bare 1.0 next to a float makes C compute in double, at half the speed.
        assert not re.search(r"\bv?divpd\b", listing), "float kernels divide in double"
    if never:
        assert not re.search(never, listing), f"{module.name} uses {never}"
    if isa == "x86_64_v2":
        assert "%ymm" not in listing, f"{module.name} uses AVX"
