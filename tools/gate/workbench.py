"""Where the parts work: commands and their log, packages, environments, source trees, wheels."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "verify"
X86_MACHINE = os.uname().machine == "x86_64"
EPOCH = "1700000000"  # the time that every file of a reproducible wheel gets
#: What the smaller form of a part runs of the suite: plans of every kind on every instruction set,
#: threads and forks, known numbers.
SMOKE = ("tests/test_plan.py", "tests/test_runtime.py", "tests/test_a_worked_example.py")
#: pytest's -k where the machine code itself is not what is tested: it is read natively.
NO_LISTING = "not vectorised"
#: What a wheel depends on.
BUILT_FROM = (
    "setup.py",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "src/",
    "nncore/",
)


class CannotRun(Exception):  # noqa: N818 - no error: a verdict
    """What the part needs is not here; the text says what."""


class Failed(Exception):  # noqa: N818 - no error: a verdict
    """What the part was to show is not so."""


@dataclass(frozen=True)
class Part:
    """One thing that the gate shows: ``run`` returns what it saw, or raises one of the above."""

    name: str
    what: str
    run: Callable[[Workbench], str]
    smoke: bool = False


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def project() -> dict[str, Any]:
    """Return what pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


class Workbench:
    """The tools of one run of the gate; what is slow to make is made once and kept."""

    def __init__(self, smoke: bool, environment: Path | None) -> None:
        self.smoke = smoke
        self._environment = environment.resolve() if environment else None
        self.cache = CACHE
        self._log = CACHE / "log" / "gate.txt"

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Take the folder for this process; say whether no other has it."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True

    def begin(self, name: str) -> None:
        """Start the log of a part."""
        self._log = CACHE / "log" / f"{name}.txt"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.write_text("", encoding="utf-8")

    def note(self, text: str) -> None:
        """Write something into the log of the part."""
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    # --- commands --------------------------------------------------------------------------------

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        ok: bool = True,
        log: bool = True,
        seconds: float = 3600,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a clean environment; its output goes to the log.

        With ``ok``, a status other than 0 is a failure of the part.
        """
        words = [str(word) for word in command]
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("NNCORE_", "PYTHON", "CFLAGS", "OMP_NUM"))
        }
        try:
            done = subprocess.run(
                words, cwd=cwd or ROOT, env={**clean, **(env or {})}, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=seconds, check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise CannotRun(f"there is no {words[0]}") from error
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(words)} took longer than {seconds:.0f} s") from error
        said = " ".join(f"{name}={value}" for name, value in (env or {}).items())
        output = done.stdout if log else f"({len(done.stdout)} characters)"
        self.note(f"$ {said} {' '.join(words)}\n{output}\n[{done.returncode}]")
        if ok and done.returncode:
            tail = "\n".join(done.stdout.splitlines()[-40:])
            raise Failed(f"{' '.join(words)[:200]} ended with {done.returncode}; "
                         f"all of it is in {self._log}\n{tail}")  # fmt: skip
        return done

    def suite(
        self,
        python: Sequence[str | Path],
        folder: Path,
        tests: Sequence[str] = (),
        which: str = "",
        env: dict[str, str] | None = None,
        seconds: float = 7200,
    ) -> str:
        """Run the tests that lie in a folder, or some of them; return pytest's closing line."""
        tests = tests or (SMOKE if self.smoke else ("tests",))
        done = self.run(*python, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests,
                        *(["-k", which] if which else []), cwd=folder, env=env,
                        seconds=seconds)  # fmt: skip
        line = last_line(done.stdout)
        if not re.search(r"\d+ passed", line):
            raise Failed(f"no test ran: {line}")
        return line

    # --- Debian's packages -----------------------------------------------------------------------

    def debian(self, *packages: str) -> None:
        """Install Debian's packages where they are missing."""
        if not shutil.which("apt-get"):
            raise CannotRun(f"there is no apt-get to install {' '.join(packages)}")
        missing = [
            package
            for package in packages
            if "install ok installed"
            not in self.run("dpkg-query", "-W", "-f=${Status}", package, ok=False).stdout
        ]
        if not missing:
            return
        if os.geteuid() != 0:
            raise CannotRun(f"it needs: apt-get install {' '.join(missing)}")
        self._apt_update()
        done = self.run(
            "apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "-q",
            "--no-install-recommends", *missing,
            ok=False, env={"DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
        if done.returncode:
            raise CannotRun(f"apt-get install {' '.join(missing)}: {last_line(done.stdout)}")

    @functools.cache  # noqa: B019 - one workbench a process
    def _apt_update(self) -> None:
        self.run("apt-get", "-o", "DPkg::Lock::Timeout=300", "update", "-q", ok=False)

    @functools.cache  # noqa: B019
    def apt_root(self, name: str, suite: str = "", architecture: str = "amd64") -> dict[str, str]:
        """Return the environment of an apt of its own, for another architecture or release.

        It takes the mirror of this machine's own sources. Nothing of the system is changed.
        """
        self.debian("dpkg-dev")
        lines = self.run("apt-get", "indextargets", "--format",
                         "$(ORIGIN) $(REPO_URI) $(CODENAME)").stdout.splitlines()  # fmt: skip
        mirrors = [words for words in map(str.split, lines)
                   if len(words) == 3 and words[0] == "Debian" and "-" not in words[2]]  # fmt: skip
        if not mirrors:
            raise CannotRun("this system's apt has no Debian archive")
        _, mirror, codename = mirrors[0]
        folder = CACHE / "apt" / name
        for inner in ("lists/partial", "archives/partial"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        kinds = ("deb", "deb-src")
        (folder / "sources.list").write_text(
            "".join(f"{kind} {mirror} {suite or codename} main\n" for kind in kinds)
        )
        (folder / "apt.conf").write_text(
            f'APT::Architecture "{architecture}";\nAPT::Architectures {{ "{architecture}"; }};\n'
            f'APT::Install-Recommends "false";\nAPT::Sandbox::User "root";\n'
            f'Dir::State "{folder}";\nDir::State::status "{folder}/status";\n'
            f'Dir::Cache "{folder}";\nDir::Etc::sourceparts "/dev/null";\n'
            f'Dir::Etc::sourcelist "{folder}/sources.list";\n'
        )
        environment = {"APT_CONFIG": str(folder / "apt.conf")}
        done = self.run("apt-get", "update", "-q", env=environment, ok=False)
        if done.returncode:
            raise CannotRun(f"apt-get update for {name}: {last_line(done.stdout)}")
        return environment

    # --- Python's packages -----------------------------------------------------------------------

    @functools.cached_property
    def python(self) -> Path:
        """The Python that is not of a virtual environment, of the version that runs this."""
        return Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")

    def environment(self, name: str, python: Path, *packages: str | Path) -> Path:
        """Return a virtual environment with these packages; made where it is not there yet."""
        folder = CACHE / "environments" / name
        marker = folder / "packages.txt"
        stamp = [p.stat().st_mtime_ns if isinstance(p, Path) else 0 for p in packages]
        wanted = "\n".join([str(python), *map(str, packages), *map(str, stamp)])
        if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        self.run(python, "-m", "venv", folder)
        # An older wheel rather than a newer source that would have to be compiled.
        self.run(folder / "bin/pip", "install", "-q", "--prefer-binary", *packages)
        marker.write_text(wanted, encoding="utf-8")
        return folder

    def tools(self, *packages: str) -> Path:
        """Return an environment with tools of the Python Package Index, named after the first."""
        return self.environment(f"tools-{packages[0]}", self.python, *packages)

    @staticmethod
    def requirements(*tables: str) -> list[str]:
        """Return requirements of pyproject.toml: ``build``, ``run`` or an extra."""
        settings = project()
        found: list[str] = []
        for table in tables:
            if table == "build":
                found += settings["build-system"]["requires"]
            elif table == "run":
                found += settings["project"]["dependencies"]
            else:
                found += settings["project"]["optional-dependencies"][table]
        return found

    def builder(self, python: Path | None = None, tag: str = "") -> Path:
        """Return an environment with what a build needs."""
        return self.environment(f"build{tag}", python or self.python, *self.requirements("build"))

    def tester(self) -> Path:
        """Return an environment with what the suite needs, beside nncore."""
        if self._environment:
            return self._environment
        return self.environment("test", self.python, *self.requirements("run", "test"))

    # --- the source, and what is made of it ------------------------------------------------------

    @functools.cache  # noqa: B019
    def source_files(self) -> tuple[str, ...]:
        """Return the project's files: what git tracks or would track."""
        done = self.run("git", "-c", f"safe.directory={ROOT}", "ls-files", "-z",
                        "--cached", "--others", "--exclude-standard", ok=False)  # fmt: skip
        if done.returncode:
            raise CannotRun("this is no clone: git cannot say what the project's files are")
        return tuple(f for f in done.stdout.split("\0") if f and (ROOT / f).is_file())

    def tree(self, name: str) -> Path:
        """Return a folder with a copy of the source, brought up to date; what was built stays."""
        folder = CACHE / "trees" / name
        for file in self.source_files():
            source, copy = ROOT / file, folder / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                shutil.copy(source, copy)
        kept = set(self.source_files())
        for path in [p for top in ("nncore", "tests") for p in (folder / top).rglob("*.py")]:
            if path.relative_to(folder).as_posix() not in kept:
                path.unlink()
        return folder

    def build(self, name: str, env: dict[str, str] | None = None, isas: str = "") -> Path:
        """Return a tree whose modules were built in place, with an environment of the build's."""
        folder = self.tree(name)
        chosen = {"NNCORE_BUILD_ISAS": isas} if isas else {}
        self.run(self.builder() / "bin/python", "setup.py", "build_ext", "--inplace",
                 cwd=folder, env={**chosen, **(env or {})})  # fmt: skip
        return folder

    @functools.cache  # noqa: B019
    def fingerprint(self, *parts: str) -> str:
        """Return what tells one state of the source, or of parts of it, from another."""
        text = hashlib.sha256()
        for file in self.source_files():
            if file.startswith(parts or ("",)):
                text.update(file.encode() + b"\0" + (ROOT / file).read_bytes() + b"\0")
        return text.hexdigest()[:16]

    @functools.cache  # noqa: B019
    def sdist(self) -> Path:
        """Return the source archive."""
        folder = CACHE / "sdist" / self.fingerprint()
        if not (found := list(folder.glob("*.tar.gz"))):
            shutil.rmtree(folder.parent, ignore_errors=True)
            self.run(self.builder() / "bin/python", "setup.py", "-q", "sdist", "-d", folder,
                     cwd=self.tree("sdist"))  # fmt: skip
            found = list(folder.glob("*.tar.gz"))
        return found[0]

    def unpacked(self) -> Path:
        """Return the folder that the source archive holds: no compiled module is in it."""
        folder = self.sdist().parent / "unpacked"
        if not folder.exists():
            folder.mkdir()
            self.run("tar", "-xzf", self.sdist(), "-C", folder, "--strip-components=1")
        return folder

    def wheels(self, name: str) -> Path:
        """Return the folder of a wheel of the present source."""
        return CACHE / "wheels" / f"{name}{'-smoke' * self.smoke}" / self.fingerprint(*BUILT_FROM)

    def fewer(self) -> dict[str, str]:
        """Return what makes a build smaller where that will do."""
        return {"NNCORE_BUILD_ISAS": "x86_64_v2"} if self.smoke and X86_MACHINE else {}

    def wheel(
        self, name: str = "wheel", python: Path | None = None, env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Path:  # fmt: skip
        """Return a wheel that was made of the source archive; ``prefix`` begins the command.

        In the smaller form of a part it holds the first instruction set alone.
        """
        folder = self.wheels(name)
        if not (found := list(folder.glob("*.whl"))):
            shutil.rmtree(folder.parent, ignore_errors=True)
            builder = self.builder(python, f"-{name}" if python else "")
            self.run(
                *prefix, builder / "bin/pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
                "--no-index", "-w", folder, self.sdist(),
                env={"SOURCE_DATE_EPOCH": EPOCH, **self.fewer(), **(env or {})},
            )  # fmt: skip
            found = list(folder.glob("*.whl"))
        return found[0]

    def installed(self) -> Path:
        """Return an environment with the wheel and what the suite needs."""
        if self._environment:
            return self._environment
        return self.environment(f"installed{'-smoke' * self.smoke}", self.python, self.wheel(),
                                *self.requirements("test"))  # fmt: skip
