"""The rules of the house: what may import what, each formula twice, nothing left behind."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nncore
from nncore import kernels, runtime
from nncore.plan import OPS, SLACK
from nncore.reference import activations, losses, metrics, observations, optimizers, plan
from nncore.verify import parse_op

PACKAGE = Path(nncore.__file__).parent
ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(("nncore", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
#: Packages whose modules may use what an optional extra brings.
EXTRAS = {"nncore.plot": {"matplotlib"}, "nncore.runtime": {"threadpoolctl"}}
REFERENCE = [name for name in MODULES if name.startswith("nncore.reference")]


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names]


def imports(module: str) -> set[str]:
    """Return what a module imports anywhere in it, ``if TYPE_CHECKING`` aside, by full name."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree(module))
    return found


class TestImports:
    @pytest.mark.parametrize("module", MODULES)
    def test_nothing_but_numpy_is_needed(self, module: str) -> None:
        roots = {name.partition(".")[0] for name in imports(module)}
        package = module.rpartition(".")[0]
        optional = EXTRAS.get(module, EXTRAS.get(package, set())) & roots
        assert roots - optional <= {"numpy", "nncore", *sys.stdlib_module_names}
        # What an extra brings is imported when it is used.
        assert not optional & {
            name.partition(".")[0]
            for node in tree(module).body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in imported(node)
        }

    @pytest.mark.parametrize("module", REFERENCE)
    def test_the_reference_knows_numpy_and_the_plan(self, module: str) -> None:
        ours = {name for name in imports(module) if name.startswith("nncore")}
        assert ours <= {"nncore.plan", *REFERENCE}

    def test_only_the_compiler_knows_the_reference(self) -> None:
        knowing = {
            module
            for module in MODULES
            if module not in REFERENCE and imports(module) & set(REFERENCE)
        }
        assert knowing == {"nncore.compiler"}

    def test_only_compiler_and_kernels_ask_for_a_core(self) -> None:
        asking = {module for module in MODULES if re.search(r"\bcore\(", ast.unparse(tree(module)))}
        assert asking <= {"nncore.runtime", "nncore.compiler", "nncore.kernels", "nncore.bench"}

    @pytest.mark.parametrize(
        "module", ["nncore.plan", "nncore.config", "nncore._names", "nncore.verify"]
    )
    def test_the_foundation_knows_little(self, module: str) -> None:
        ours = {name for name in imports(module) if name.startswith("nncore")}
        assert ours <= {"nncore._names", "nncore.plan"}

    def test_what_is_kept_does_not_know_who_keeps_it(self) -> None:
        ours = {name for name in imports("nncore.record") if name.startswith("nncore")}
        assert ours == {"nncore._names", "nncore._files"}
        watching = {module for module in MODULES if "nncore.watch" in imports(module)}
        assert watching == {"nncore.training"}

    @pytest.mark.parametrize("module", MODULES)
    def test_nothing_is_run_from_data(self, module: str) -> None:
        assert not imports(module) & {"pickle", "marshal", "shelve", "dill"}
        called = {
            ast.unparse(node.func) for node in ast.walk(tree(module)) if isinstance(node, ast.Call)
        }
        assert not called & {"eval", "exec", "compile", "__import__"}


class TestLayers:
    def test_no_arithmetic(self) -> None:
        """Layers hold configuration: no matmul, no NumPy function of numbers, no kernel."""
        module = "nncore.layers"
        assert not imports(module) & {
            "nncore.kernels", "nncore.runtime", "nncore.compiler", *REFERENCE,
        }  # fmt: skip
        for node in ast.walk(tree(module)):
            if isinstance(node, (ast.BinOp, ast.AugAssign)):
                assert not isinstance(node.op, ast.MatMult)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np":
                assert not isinstance(getattr(np, node.attr), np.ufunc), node.attr


#: Kernels that take part in no formula of one row: the batch's square root is in batch_loss.
OF_THE_BATCH = {"root_mean_squared_error"}


def functions(module: object) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == getattr(module, "__name__", None)
        and not name.startswith("_")
    }


class TestEachFormulaTwice:
    @pytest.mark.parametrize("name", kernels.activations())
    def test_activation(self, name: str) -> None:
        assert next(iter(inspect.signature(getattr(activations, name)).parameters)) == "z"
        if name == "softmax":  # its derivative needs the whole row
            assert list(inspect.signature(activations.softmax_backward).parameters) == ["dy", "y"]
            assert kernels.derivative_reads(name) == "y"
            return
        derivative = getattr(activations, f"{name}_derivative")
        assert next(iter(inspect.signature(derivative).parameters)) == kernels.derivative_reads(
            name
        )

    @pytest.mark.parametrize("name", sorted(set(kernels.losses()) - OF_THE_BATCH))
    def test_loss(self, name: str) -> None:
        for function in (getattr(losses, name), getattr(losses, f"{name}_derivative")):
            assert list(inspect.signature(function).parameters)[:2] == ["y", "t"]

    @pytest.mark.parametrize("name", kernels.metrics())
    def test_metric(self, name: str) -> None:
        assert list(inspect.signature(getattr(metrics, name)).parameters)[:2] == ["y", "t"]

    @pytest.mark.parametrize("name", kernels.optimizers())
    def test_optimizer(self, name: str) -> None:
        assert list(inspect.signature(getattr(optimizers, name)).parameters)[:2] == ["w", "g"]

    @pytest.mark.parametrize("name", kernels.observations())
    def test_observation(self, name: str) -> None:
        assert next(iter(inspect.signature(getattr(observations, name)).parameters)) in ("v", "y")

    def test_nothing_is_only_in_the_reference(self) -> None:
        def formulas(module: object, known: object) -> None:
            assert isinstance(known, (tuple, dict))
            left = functions(module) - set(known) - {f"{name}_derivative" for name in known}
            assert left <= {"softmax_backward", "batch_loss"}

        formulas(activations, kernels.activations())
        formulas(losses, kernels.losses())
        formulas(metrics, kernels.metrics())
        formulas(optimizers, kernels.optimizers())
        formulas(observations, kernels.observations())

    def test_every_step_of_a_plan(self) -> None:
        assert set(runtime.core("float32").OPS) == set(OPS)
        assert runtime.core("float32").TABLES.slack == SLACK
        for op in OPS:
            assert hasattr(plan.Executor, "loss_step" if op == "loss" else op), op

    @pytest.mark.parametrize("op", OPS)
    def test_both_floors_agree_on_what_a_step_writes(self, op: str) -> None:
        reads, writes = parse_op(op)
        assert tuple(writes) == plan.WRITES[op]
        assert bool(set(reads) & set(writes)) == (op in plan.IN_PLACE)

    def test_every_layer_is_in_the_table(self) -> None:
        from nncore import layers

        made = {
            name
            for name, value in vars(layers).items()
            if inspect.isclass(value)
            and issubclass(value, layers.Layer)
            and value is not layers.Layer
        }
        assert made == set(layers.LAYERS)


def sources() -> Iterator[Path]:
    for folder, endings in {
        "nncore": ("py", "pyi", "pxd"),
        "src": ("pyx", "pxd", "h", "c"),
        "tests": ("py",),
        "benchmarks": ("py",),
        "examples": ("py",),
        "docs": ("md",),
        "tools": ("py",),
    }.items():
        for ending in endings:
            yield from (ROOT / folder).rglob(f"*.{ending}")
    yield from ROOT.glob("*.md")
    yield from ROOT.glob("*.toml")
    yield ROOT / "setup.py"


GENERATED = ("src/core.c", "src/_runtime.c", "src/_cyutility.c", "src/_built.h")


class TestNothingLeftBehind:
    def test_no_notes_to_self(self) -> None:
        word = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b|raise NotImplemented")
        found = [
            f"{path.relative_to(ROOT)}:{number}"
            for path in sources()
            if path.is_file() and path.relative_to(ROOT).as_posix() not in GENERATED
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if word.search(line) and path != Path(__file__)
        ]
        assert not found

    def test_vectors_are_spoken_of_in_four_files(self) -> None:
        if not (ROOT / "src").is_dir():
            pytest.skip("src/ is not beside tests/")
        word = re.compile(r"vector_size|__m(128|256|512)|_mm(256|512)_|float32x4|vld1q")
        speaking = {
            path.name
            for path in (ROOT / "src").rglob("*")
            if path.suffix in (".pyx", ".pxd", ".h", ".c")
            and path.relative_to(ROOT).as_posix() not in GENERATED
            and word.search(path.read_text(encoding="utf-8"))
        }
        assert speaking <= {"microkernel.h", "narrow.h", "closed.h", "lanes.h"}

    def test_nothing_generated_is_tracked(self) -> None:
        if not (ROOT / ".git").exists():
            pytest.skip("this is no clone: what is tracked cannot be told")
        run = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "ls-files"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        tracked = run.stdout.splitlines()
        wrong = [
            name
            for name in tracked
            if name in GENERATED
            or name.startswith(("build/", "dist/"))
            or Path(name).suffix in (".so", ".pyd", ".pyc", ".o", ".whl", ".html")
        ]
        assert not wrong

    def test_every_package_is_shipped(self) -> None:
        if not (ROOT / "pyproject.toml").exists() or not (ROOT / "nncore").exists():
            pytest.skip("pyproject.toml and nncore/ are not beside tests/")
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        shipped = settings["tool"]["setuptools"]["packages"]
        packages = {
            ".".join(path.parent.relative_to(ROOT).parts)
            for path in (ROOT / "nncore").rglob("__init__.py")
        }
        assert set(shipped) == packages

    def test_the_version_is_the_same_everywhere(self) -> None:
        if not (ROOT / "pyproject.toml").exists():
            pytest.skip("pyproject.toml is not beside tests/")
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        project = settings["project"]
        assert project.get("version", nncore.__version__) == nncore.__version__
