"""The local gate: proves on one Linux machine what can be proved of a build.

python tools/verify.py                     every part
python tools/verify.py asan qemu-nehalem   these parts
python tools/verify.py --list              what there is
python tools/verify.py --smoke aarch64     the smaller form, of the parts that have one

Each part says "pass", "fail" or "cannot run here because ...". The exit status is 1 if one failed,
and with --strict also if one could not run. What a part needs is installed: Debian's packages with
apt-get where this is root, Python's into environments of their own. All of it lies in build/verify,
and so does each part's log; to begin anew, delete that folder.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

from gate import cross, distributions, floor, processors, sanitizers
from gate.workbench import CannotRun, Failed, Part, Workbench

PARTS: tuple[Part, ...] = (
    *floor.PARTS,
    *distributions.PARTS,
    *processors.PARTS,
    *sanitizers.PARTS,
    *cross.PARTS,
)


def judge(part: Part, bench: Workbench) -> tuple[str, str]:
    """Run a part; return its verdict and what there is to say about it."""
    try:
        return "pass", part.run(bench)
    except CannotRun as reason:
        return "cannot run here", f"because {reason}"
    except Failed as failure:
        return "fail", str(failure)
    except Exception as error:  # of the gate itself: the other parts are still to be seen
        bench.note(traceback.format_exc())
        return "fail", f"with {type(error).__name__}: {error}"


def verdict_of(part: Part, bench: Workbench) -> tuple[str, str, str]:
    """Run a part and say all about it; return its line of the table."""
    print(f"=== {part.name}: {part.what}", flush=True)
    begun = time.monotonic()
    bench.begin(part.name)
    verdict, detail = judge(part, bench)
    print(f"{verdict} {detail} ({time.monotonic() - begun:.0f} s)\n", flush=True)
    return part.name, verdict, detail.partition("\n")[0]


def main() -> int:
    """Run the parts that were asked for; return the exit status."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="the parts to run; default: all")
    parser.add_argument("--list", action="store_true", help="say which parts there are")
    parser.add_argument("--smoke", action="store_true", help="the smaller form of each part")
    parser.add_argument("--strict", action="store_true", help="a part that cannot run is a failure")
    parser.add_argument(
        "--environment", type=Path, metavar="FOLDER",
        help="a virtual environment with nncore's wheel and its test extra, instead of a new one",
    )  # fmt: skip
    options = parser.parse_args()
    if options.list:
        for part in PARTS:
            print(f"{part.name:<24} {part.what}{' (smoke)' if part.smoke else ''}")
        return 0
    if wrong := sorted(set(options.parts) - set(names)):
        parser.error(f"no part is called {', '.join(wrong)}; there are {', '.join(names)}")
    if not sys.platform.startswith("linux"):
        parser.error("the gate runs on Linux")

    bench = Workbench(smoke=options.smoke, environment=options.environment)
    with bench.alone() as alone:
        if not alone:
            parser.error(f"another gate is at work in {bench.cache}")
        verdicts = [
            verdict_of(part, bench)
            for part in PARTS
            if not options.parts or part.name in options.parts
        ]

    width = max(len(name) for name, _, _ in verdicts)
    for name, verdict, detail in verdicts:
        print(f"{name:<{width}}  {verdict:<15}  {detail}")
    bad = {"fail", "cannot run here"} if options.strict else {"fail"}
    return int(any(verdict in bad for _, verdict, _ in verdicts))


if __name__ == "__main__":
    sys.exit(main())
