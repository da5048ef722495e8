"""The pages of docs/: their programs run, their links lead somewhere, no public name is missing."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import nncore

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

if not (DOCS / "conf.py").is_file():
    pytest.skip("docs/ is not beside tests/", allow_module_level=True)

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))
DOCUMENTS = [*PAGES, "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
#: The libraries that guides compare with, by the name of their module.
PEERS = ("keras", "sklearn", "torch")


def helper(name: str) -> ModuleType:
    """Import a file of docs/_ext, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


public_names = helper("public_names")


# --- the programs on the pages ---


def blocks(document: str) -> list[str]:
    """Return a page's Python programs, in their order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def peers_of(program: str) -> set[str]:
    """Return the other libraries that a program imports."""
    names = {
        name
        for node in ast.walk(ast.parse(program))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    return {name.partition(".")[0] for name in names} & set(PEERS)


def prepare(document: str) -> None:
    """Make the file that a page speaks of as being there."""
    if document == "docs/file-format.md":
        pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
        layer = nncore.layers.Dense(3, name="hidden")
        nncore.Sequential([nncore.Input((2,)), layer]).save("digits.nncore")


WITH_PROGRAMS = [page for page in PAGES if blocks(page)]
BESIDE_PEERS = [page for page in WITH_PROGRAMS if any(peers_of(block) for block in blocks(page))]


@pytest.mark.parametrize("document", WITH_PROGRAMS)
def test_programs_run(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, in one session; those that need another library aside."""
    monkeypatch.chdir(tmp_path)
    prepare(document)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(document):
        if not peers_of(block):
            exec(compile(block, document, "exec"), names)


@pytest.mark.parametrize("document", BESIDE_PEERS)
def test_programs_run_beside_the_other_library(
    document: str, tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """All of them, those of the other library too; they assert that the numbers agree."""
    for name in sorted(set().union(*map(peers_of, blocks(document)))):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: what {document} says of it is not checked here")
    run = python("\n".join(blocks(document)), cwd=tmp_path, OMP_NUM_THREADS="1")
    assert run.returncode == 0, run.stderr[-3000:]


def test_the_guides_are_among_them() -> None:
    assert {"docs/guides/keras.md", "docs/guides/pytorch.md", "docs/guides/scikit-learn.md"} == set(
        BESIDE_PEERS
    )
    assert "docs/start/getting-started.md" in WITH_PROGRAMS


def test_file_format_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare("docs/file-format.md")
    names: dict[str, dict[str, object]] = {}
    exec(compile(blocks("docs/file-format.md")[0], "file-format.md", "exec"), names)
    assert set(names["weights"]) == {"hidden/kernel", "hidden/bias"}


# --- links ---


def fenced(text: str) -> tuple[str, list[str]]:
    """Return a page's text without what is between fences, and each such part."""
    outside: list[str] = []
    inside: list[str] = []
    fence = ""
    for line in text.splitlines():
        if fence:
            if line.strip() == fence:
                fence = ""
            else:
                inside[-1] += line + "\n"
        elif line.startswith("```"):
            fence = "`" * (len(line) - len(line.lstrip("`")))
            inside.append(line + "\n")
        else:
            outside.append(line)
    return "\n".join(outside), inside


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ +(.*)$", fenced(path.read_text(encoding="utf-8"))[0], re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: str) -> Iterator[tuple[str, str]]:
    """Yield the (file, anchor) of each link and each entry of a toctree within the project."""
    text, parts = fenced((ROOT / document).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            yield file, anchor
    for part in parts:
        for line in part.splitlines()[1:] if part.startswith("```{toctree}") else ():
            name = re.sub(r".*<(.*)>", r"\1", line.strip())
            if name and name[0] != ":" and not set(name) & set("*[?"):
                # A name that begins with / counts from docs/.
                up = "../" * (document.count("/") - 1)
                yield f"{up}{name[1:]}.md" if name[0] == "/" else f"{name}.md", ""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links(document: str) -> None:
    for file, anchor in links(document):
        # What lies in the package is there in an installation too.
        places = [
            (ROOT / document).parent / file if file else ROOT / document,
            Path(nncore.__file__).parents[1] / file,
        ]
        found = [place for place in places if place.exists()]
        assert found, f"{document} links to {file}, which is not there"
        if anchor:
            assert anchor in anchors(found[0]), f"{document}: {file} has no heading #{anchor}"


def test_links_are_seen() -> None:
    assert ("../guides/saving.md", "") in set(links("docs/start/getting-started.md"))
    assert ("", "when-it-does-not-learn") in set(links("docs/start/getting-started.md"))
    assert ("keras.md", "") in set(links("docs/guides/index.md"))


# --- the reference ---

DIRECTIVE = re.compile(r"```\{public\} (\S+)\n(?::only: (.*)\n)?(?::except: (.*)\n)?```")


def in_the_reference() -> list[str]:
    """Return the full name of all that the pages of docs/api describe, repetitions included."""
    described, _ = public_names.entries()
    found = []
    for page in sorted((DOCS / "api").glob("*.md")):
        for module, only, left_out in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            assert module in described, f"{page.name}: {module} is not public"
            words = only.split() if only else described[module]
            unknown = {*words, *left_out.split()} - set(described[module])
            assert not unknown, f"{page.name}: {module} has no {unknown}"
            found += [f"{module}.{word}" for word in words if word not in left_out.split()]
    return found


def test_every_public_name_is_in_the_reference_once() -> None:
    described, _ = public_names.entries()
    wanted = [f"{module}.{word}" for module, words in described.items() for word in words]
    found = in_the_reference()
    missing = sorted(set(wanted) - set(found))
    assert not missing, (
        f"not in docs/api: {missing}. A new module needs a page there: a title and the directive "
        f"```{{public}} nncore.name```; the other pages show the form"
    )
    assert sorted(found) == sorted(wanted), "something is described twice"


def test_each_name_is_found_by_its_owner() -> None:
    described, others = public_names.entries()
    assert "Dense" in described["nncore.layers"]
    assert others["nncore.layers"]["Input"] == "nncore.Input"
    assert others["nncore.initializers"]["zeros"] == "nncore.initializers.Zeros"
    for module in public_names.modules():
        exported = {
            word
            for word in importlib.import_module(module).__all__
            if not inspect.ismodule(getattr(importlib.import_module(module), word))
        }
        assert exported == {*described[module], *others[module]}


def test_docstrings_keep_their_promise() -> None:
    pytest.importorskip("numpydoc", reason="numpydoc is not installed: docstrings are not checked")
    assert helper("docstrings").problems() == []


# --- the tool ---


def test_the_build_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("build_docs", ROOT / "tools" / "build_docs.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "find_spec", lambda name: None)
    assert tool.main([]) == 1
    assert "pip install '.[docs]'" in capsys.readouterr().err
