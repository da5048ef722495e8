"""What a release is made of: version, workflows, wheels, source archive, the compiler on Windows.

The tools come with the extra `dev`; a test whose tool is not there is skipped and says so.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import nncore

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.thread_unsafe(reason="starts tools, which write into the folder")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

in_a_clone = pytest.mark.skipif(not WORKFLOWS, reason=".github/ is in a clone only")
with_the_source = pytest.mark.skipif(
    not (ROOT / "tools").is_dir() or not (ROOT / "setup.py").exists(),
    reason="tools/ and setup.py are not beside tests/",
)


def run(tool: str, *arguments: object) -> str:
    """Run a tool of the extra `dev` in the project's folder; return what it printed."""
    path = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed: pip install '.[dev]'")
    done = subprocess.run(
        [path, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, f"{tool}: {done.stdout}{done.stderr}"
    return done.stdout


def module(path: str) -> ModuleType:
    """Import a file of the project that is no module of nncore."""
    name = "nncore_" + Path(path).stem
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


# --- the workflows ---


@in_a_clone
class TestWorkflows:
    @pytest.mark.parametrize(
        ("schema", "files"),
        [
            ("vendor.github-workflows", "workflows/*.yml"),
            ("custom.github-workflows-require-timeout", "workflows/*.yml"),
            ("vendor.dependabot", "dependabot.yml"),
            ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml"),
            ("vendor.github-issue-forms", "ISSUE_TEMPLATE/[!c]*.yml"),
        ],
    )
    def test_they_follow_their_schemas(self, schema: str, files: str) -> None:
        found = sorted((ROOT / ".github").glob(files))
        assert found
        run("check-jsonschema", "--builtin-schema", schema, *found)

    def test_they_are_safe(self) -> None:
        """Pinned actions, least permissions, no credentials kept, nothing pasted into a shell."""
        run("zizmor", "--offline", "--no-progress", "--strict-collection", ".github")

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_actions_are_pinned_and_say_their_version(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"uses: (.+)", text)
        assert used
        for action in used:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action), action
        assert "\npermissions:\n  contents: read\n" in text
        assert "\nconcurrency:\n" in text

    def test_an_action_has_one_version(self) -> None:
        pins: dict[str, set[str]] = {}
        for path in WORKFLOWS:
            for name, pin in re.findall(
                r"uses: (\S+)@([0-9a-f]{40})", path.read_text(encoding="utf-8")
            ):
                pins.setdefault(name, set()).add(pin)
        assert {name: len(found) for name, found in pins.items() if len(found) > 1} == {}

    def test_their_commands_are_there(self) -> None:
        for path in WORKFLOWS:
            for script in re.findall(r"python3? (tools/\w+\.py)", path.read_text(encoding="utf-8")):
                assert (ROOT / script).exists(), f"{path.name} runs {script}"


@in_a_clone
class TestInstructionSets:
    def test_every_one_has_a_job(self) -> None:
        text = (ROOT / ".github/workflows/instruction-sets.yml").read_text(encoding="utf-8")
        jobs = re.findall(r"\{ isa: (\w+),", text)
        assert set(jobs) == module("tools/tested_isas.py").buildable()
        assert len(jobs) == len(set(jobs))

    def test_one_that_was_tested_nowhere_is_missed(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for isa in module("tools/tested_isas.py").buildable():
            (tmp_path / isa).touch()
        compare = module("tools/tested_isas.py").main
        assert compare(str(tmp_path)) == 0
        (tmp_path / "neon").unlink()
        assert compare(str(tmp_path)) == 1
        assert capsys.readouterr().err == "tested nowhere: neon\n"


# --- what is built ---

PYTHONS = ["cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t"]


@with_the_source
class TestWheels:
    @pytest.mark.parametrize(
        ("platform", "archs", "systems"),
        [
            ("linux", "x86_64", ["manylinux_x86_64", "musllinux_x86_64"]),
            ("linux", "aarch64", ["manylinux_aarch64", "musllinux_aarch64"]),
            ("macos", "x86_64", ["macosx_x86_64"]),
            ("macos", "arm64", ["macosx_arm64"]),
            ("windows", "AMD64", ["win_amd64"]),
            ("windows", "ARM64", ["win_arm64"]),
        ],
    )
    def test_these_and_no_others(self, platform: str, archs: str, systems: list[str]) -> None:
        said = run(
            "cibuildwheel", "--print-build-identifiers", "--platform", platform, "--archs", archs
        )
        assert sorted(said.split()) == sorted(f"{p}-{s}" for s in systems for p in PYTHONS)

    def test_the_classifiers_name_the_same_pythons(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        named = {
            f"cp3{minor}"
            for line in project["classifiers"]
            for minor in re.findall(r"^Programming Language :: Python :: 3\.(\d+)$", line)
        }
        assert named == {name.removesuffix("t") for name in PYTHONS}
        assert any("Free Threading" in line for line in project["classifiers"])
        assert project["requires-python"] == ">=3.11"

    def test_the_settings_are_valid(self) -> None:
        run("validate-pyproject", "pyproject.toml")

    def test_the_source_archive_is_whole(self, tmp_path: Path) -> None:
        if not (ROOT / ".git").exists():
            pytest.skip("this is no clone: what belongs to the archive cannot be told")
        git = ("git", "-c", f"safe.directory={ROOT}")
        listed = subprocess.run(
            [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        # In a copy: making an archive leaves things in the folder.
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, tmp_path / name)
        for arguments in (["init", "--quiet"], ["add", "--all"]):
            subprocess.run([*git, *arguments], cwd=tmp_path, check=True, capture_output=True)
        run("check-manifest", "--no-build-isolation", tmp_path)


@with_the_source
def test_a_source_archive_is_the_same_wherever_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    from setuptools.dist import Distribution

    setup = module("setup.py")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    packed = []
    for place, names, mode in (("one", "ab", 0o644), ("two", "ba", 0o600)):
        for name in names:
            path = tmp_path / place / "nncore-1" / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            path.chmod(mode)
        monkeypatch.chdir(tmp_path / place)
        command = setup.SourceArchive(Distribution({"name": "nncore"}))
        packed.append(Path(command.make_archive("nncore-1", "gztar", base_dir="nncore-1")))
        packed[-1] = packed[-1].resolve()
    assert packed[0] != packed[1]
    assert packed[0].read_bytes() == packed[1].read_bytes()
    with tarfile.open(packed[0]) as archive:
        assert archive.getnames() == [
            "nncore-1", "nncore-1/src", "nncore-1/src/a", "nncore-1/src/b",
        ]  # fmt: skip
        assert {(m.mtime, m.uid, m.uname) for m in archive} == {(1_700_000_000, 0, "")}


class FakeCompiler:
    """What setup.py touches of setuptools' compiler for Windows."""

    compiler_type = "msvc"
    initialized = False
    _paths = ""
    cc = "cl.exe"

    def __init__(self) -> None:
        self.compile_options = ["/nologo", "/O2", "/W3", "/GL", "/DNDEBUG", "/MD"]

    def initialize(self, plat_name: str) -> None:
        assert plat_name in ("win-amd64", "win-arm64")
        self.initialized = True


@with_the_source
class TestTheCompilerOnWindows:
    """As far as it can be told without Windows."""

    @pytest.fixture
    def build(self) -> SimpleNamespace:
        pytest.importorskip("setuptools", reason="setuptools is not installed")
        from setuptools.dist import Distribution

        setup = module("setup.py")
        command = setup.BuildExt(Distribution({"name": "nncore"}))
        command.compiler = FakeCompiler()
        command.plat_name = "win-amd64"
        return SimpleNamespace(command=command, setup=setup)

    @pytest.fixture
    def clang_cl(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / ("clang-cl.exe" if os.name == "nt" else "clang-cl")
        path.write_text("")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("CC", "clang-cl")
        return path

    def test_clang_cl_takes_the_place_of_cl(self, build: SimpleNamespace, clang_cl: Path) -> None:
        build.command.choose_windows_compiler()
        assert Path(build.command.compiler.cc) == clang_cl
        assert build.command.compiler.initialized
        assert "/GL" not in build.command.compiler.compile_options
        flags = build.command.windows_flags("x86_64_v3")
        assert flags[0] == "--target=x86_64-pc-windows-msvc"
        assert {"/clang:-O3", "/clang:-fno-math-errno", "/clang:-march=x86-64-v3"} <= set(flags)
        build.command.plat_name = "win-arm64"
        assert build.command.windows_flags("neon")[0] == "--target=aarch64-pc-windows-msvc"

    def test_clang_cl_that_is_not_there(
        self, build: SimpleNamespace, clang_cl: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clang_cl.unlink()
        monkeypatch.setenv("PROGRAMFILES", str(clang_cl.parent))
        with pytest.raises(SystemExit, match=r"^nncore cannot be built: CC=clang-cl is neither"):
            build.command.choose_windows_compiler()

    def test_cl_is_the_default_and_slower(
        self,
        build: SimpleNamespace,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.delenv("CC", raising=False)
        build.command.choose_windows_compiler()
        assert build.command.compiler.cc == "cl.exe"
        assert "with CC=clang-cl nncore is faster" in capsys.readouterr().out
        assert build.command.windows_flags("x86_64_v4") == ["/O2", "/Brepro", "/arch:AVX512"]
        assert build.command.windows_flags("x86_64_v2") == ["/O2", "/Brepro"]

    def test_another_compiler_is_refused(
        self, build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CC", "gcc")
        with pytest.raises(SystemExit, match=r"on Windows CC is cl or clang-cl.*received CC=gcc"):
            build.command.choose_windows_compiler()

    @pytest.mark.parametrize(
        ("platform", "isa"),
        [("win-amd64", "x86_64_v2"), ("win-amd64", "x86_64_v3"), ("win-amd64", "x86_64_v4"),
         ("win-arm64", "neon")],
    )  # fmt: skip
    def test_clang_cl_knows_every_flag(
        self, build: SimpleNamespace, platform: str, isa: str, tmp_path: Path
    ) -> None:
        names = ["clang-cl", *(f"clang-cl-{version}" for version in range(30, 14, -1))]
        found = next((path for name in names if (path := shutil.which(name))), None)
        if found is None:
            pytest.skip("clang-cl is not installed")
        build.command.clang_cl = True
        build.command.plat_name = platform
        source = tmp_path / "tile.c"
        source.write_text(
            f"typedef float vector __attribute__((vector_size({64 if isa[-1] == '4' else 16})));\n"
            "vector product(vector a, vector b) { return a * b; }\n"
        )
        flags = ["/nologo", "/O2", "/W3", "/MD", *build.command.windows_flags(isa)]
        done = subprocess.run(
            [found, *flags, "/WX", "/c", f"/Fo{tmp_path / 'tile.obj'}", "--", str(source)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""

    def test_plain_c_can_be_built_anywhere(
        self, build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NNCORE_BUILD_ISAS", "generic")
        assert build.setup.chosen() == ["generic"]
        assert build.setup.baseline() == "generic"
        monkeypatch.setenv("NNCORE_BUILD_ISAS", "sse9")
        with pytest.raises(
            SystemExit, match=r"NNCORE_BUILD_ISAS=sse9: this platform has .*generic"
        ):
            build.setup.chosen()
        monkeypatch.setenv("NNCORE_BUILD_ISAS", "")
        assert build.setup.chosen() == build.setup.instruction_sets()
        assert build.setup.baseline() == build.setup.instruction_sets()[0]


# --- version, changelog, citation ---


@pytest.fixture
def version() -> ModuleType:
    if not (ROOT / "tools").is_dir() or not (ROOT / "nncore").is_dir():
        pytest.skip("tools/ and nncore/ are not beside tests/")
    return module("tools/version.py")


@pytest.fixture
def project(tmp_path: Path, version: ModuleType) -> Path:
    """Return a folder with the files that hold the version."""
    for name in (*version.LINES, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


class TestVersion:
    def test_every_file_says_the_same(self, version: ModuleType) -> None:
        assert version.read(ROOT) == nncore.__version__

    def test_a_release_writes_it_everywhere(self, version: ModuleType, project: Path) -> None:
        version.write(project, "7.8.9rc1", datetime.date(2030, 1, 2))
        assert version.read(project) == "7.8.9rc1"
        version.check_tag(project, "v7.8.9rc1")
        assert 'date-released: "2030-01-02"' in (project / "CITATION.cff").read_text()
        before, after = ((folder / "CHANGELOG.md").read_text() for folder in (ROOT, project))
        section = "## [Unreleased]\n\n## [7.8.9rc1] - 2030-01-02\n"
        assert section in after
        assert after.replace(section, "## [Unreleased]\n") == before

    def test_a_file_that_says_another_is_named(self, version: ModuleType, project: Path) -> None:
        path = project / "CITATION.cff"
        path.write_text(re.sub(r"(?m)^version: .*$", 'version: "9.9.9"', path.read_text()))
        with pytest.raises(version.WrongVersionError, match=r"but CITATION\.cff says 9\.9\.9: "):
            version.read(project)

    def test_a_tag_must_fit(self, version: ModuleType, project: Path) -> None:
        version.write(project, "7.8.9", datetime.date(2030, 1, 2))
        with pytest.raises(
            version.WrongVersionError, match=r"the tag is v7\.8, the version 7\.8\.9"
        ):
            version.check_tag(project, "v7.8")
        (project / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
        with pytest.raises(version.WrongVersionError, match=r"no section \[7\.8\.9\] with a date"):
            version.check_tag(project, "v7.8.9")

    @pytest.mark.parametrize("wrong", ["1.2", "v1.2.3", "1.2.3.dev1", "one"])
    def test_what_is_no_version_changes_nothing(
        self, version: ModuleType, project: Path, wrong: str
    ) -> None:
        with pytest.raises(version.WrongVersionError, match=r"^a version is like 1\.2\.3"):
            version.write(project, wrong, datetime.date(2030, 1, 2))
        assert version.read(project) == nncore.__version__


@with_the_source
def test_the_changelog_keeps_its_form() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# Changelog"
    sections = [line for line in lines if line.startswith("## ")]
    assert sections[0] == "## [Unreleased]"
    dates = []
    for line in sections[1:]:
        found = re.fullmatch(r"## \[\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?\] - (\d{4}-\d\d-\d\d)", line)
        assert found, line
        dates.append(datetime.date.fromisoformat(found[1]))
    assert dates == sorted(dates, reverse=True)
    kinds = {line for line in lines if line.startswith("### ")}
    known = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    assert kinds <= {f"### {kind}" for kind in known}


@with_the_source
def test_the_citation_follows_its_schema() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.citation-file-format", "CITATION.cff")


@with_the_source
@pytest.mark.parametrize("document", ["RELEASING.md", "SECURITY.md", "SUPPORT.md"])
def test_links(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target and (WORKFLOWS or not target.startswith(".github")):
            assert (ROOT / target).exists(), f"{document} links to {target}"


@with_the_source
def test_what_is_supported_is_what_is_built() -> None:
    text = (ROOT / "SUPPORT.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "CPython 3.11 to 3.15, and 3.14t and 3.15t" in text
    assert f"| NumPy | {project['dependencies'][0].removeprefix('numpy>=')} or newer |" in text
