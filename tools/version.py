"""The version: it stands in pyproject.toml; what repeats it is written and checked by this file.

python tools/version.py                  print it; an error where a file says another one
python tools/version.py --tag v1.2.3     also check that it is the tag's, and in the changelog
python tools/version.py 1.2.3            begin a release: write it everywhere, dated today
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"
#: The line of each file that holds the version; pyproject.toml's is the one that counts.
LINES = {
    "pyproject.toml": rf'(?m)^(version = ")({VERSION})(")$',
    "nncore/__init__.py": rf'(?m)^(__version__ = ")({VERSION})(")$',
    "CITATION.cff": rf'(?m)^(version: ")({VERSION})(")$',
}
DATE = r'(?m)^(date-released: ")(\d{4}-\d{2}-\d{2})(")$'
UNRELEASED = "## [Unreleased]\n"


class WrongVersionError(Exception):
    """What is wrong, and what to do."""


def _one(pattern: str, text: str, where: str) -> re.Match[str]:
    found = list(re.finditer(pattern, text))
    if len(found) != 1:
        raise WrongVersionError(f"{where}: {len(found)} lines match {pattern}, one must")
    return found[0]


def read(root: Path) -> str:
    """Return the version; an error where a file says another one."""
    says = {
        name: _one(pattern, (root / name).read_text(encoding="utf-8"), name)[2]
        for name, pattern in LINES.items()
    }
    version = says["pyproject.toml"]
    wrong = [f"{name} says {other}" for name, other in says.items() if other != version]
    if wrong:
        raise WrongVersionError(
            f"pyproject.toml says {version}, but {', '.join(wrong)}: "
            f"python tools/version.py {version}"
        )
    return version


def check_tag(root: Path, tag: str) -> None:
    """Refuse a tag that is not the version's, or whose changes are not written down."""
    version = read(root)
    if tag != f"v{version}":
        raise WrongVersionError(f"the tag is {tag}, the version {version}: tag v{version}")
    if not re.search(rf"(?m)^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}$",
                     (root / "CHANGELOG.md").read_text(encoding="utf-8")):  # fmt: skip
        raise WrongVersionError(
            f"CHANGELOG.md has no section [{version}] with a date: "
            f"python tools/version.py {version}"
        )


def write(root: Path, version: str, date: datetime.date) -> None:
    """Write the version and its date everywhere; what is unreleased becomes its section."""
    if not re.fullmatch(VERSION, version):
        raise WrongVersionError(f"a version is like 1.2.3 or 1.2.3rc1; received {version}")
    texts = {name: (root / name).read_text(encoding="utf-8") for name in (*LINES, "CHANGELOG.md")}
    for name, pattern in LINES.items():
        _one(pattern, texts[name], name)
        texts[name] = re.sub(pattern, rf"\g<1>{version}\g<3>", texts[name])
    _one(DATE, texts["CITATION.cff"], "CITATION.cff")
    texts["CITATION.cff"] = re.sub(DATE, rf"\g<1>{date}\g<3>", texts["CITATION.cff"])
    if f"## [{version}]" not in texts["CHANGELOG.md"]:
        if UNRELEASED not in texts["CHANGELOG.md"]:
            raise WrongVersionError(f"CHANGELOG.md has no line {UNRELEASED.strip()!r}")
        texts["CHANGELOG.md"] = texts["CHANGELOG.md"].replace(
            UNRELEASED, f"{UNRELEASED}\n## [{version}] - {date}\n", 1
        )
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", nargs="?", help="the version to write")
    parser.add_argument("--tag", help="the tag that must be this version's")
    options = parser.parse_args(arguments)
    try:
        if options.version:
            write(ROOT, options.version, datetime.datetime.now(datetime.UTC).date())
        print(read(ROOT))
        if options.tag:
            check_tag(ROOT, options.tag)
    except WrongVersionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
