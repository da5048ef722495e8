"""How many processors this process may use, and what says so.

A container gets a part of a machine in two ways: some of its processors (affinity; a cpuset ends up
there too), or some of their time (a quota of its control group). A quota holds for a group and for
all below it, so the smallest on the way up to the root counts.  Linux alone has them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from nncore import _runtime
from nncore.runtime import MOST_THREADS

__all__ = ["available", "quota"]


def available(root: str | os.PathLike[str] = "/") -> tuple[int, str]:
    """Return how many processors this process may use, at least 1, and what decided it.

    Parameters
    ----------
    root : path, default "/"
        Where ``proc`` and the mounted control groups are found.

    Returns
    -------
    n : int
        The smaller of the affinity's number and the quota, rounded up.
    origin : str
        ``"CPU quota"``, ``"CPU affinity"`` or, where nothing is smaller than the machine,
        ``"processors"``.
    """
    n: int = _runtime.cpu_count()
    limit = quota(root)
    if limit is not None and math.ceil(limit) < n:
        return max(1, math.ceil(limit)), "CPU quota"
    machine = min(os.cpu_count() or 1, MOST_THREADS)
    return n, "CPU affinity" if n < machine else "processors"


def quota(root: str | os.PathLike[str] = "/") -> float | None:
    """Return the processors' time that the control groups allow; None: as much as there is.

    Parameters
    ----------
    root : path, default "/"
        Where ``proc`` and the mounted control groups are found.

    Returns
    -------
    float or None
        In processors: 1.5 is 150 ms of each 100 ms.
    """
    limits = [
        limit
        for version, folder in _groups(Path(root))
        if (limit := (_limit_v2 if version == 2 else _limit_v1)(folder)) is not None
    ]
    return min(limits, default=None)


def _groups(root: Path) -> Iterator[tuple[int, Path]]:
    """Yield the version and folder of each control group that this process belongs to."""
    own = _own_groups(_text(root / "proc/self/cgroup"))
    mounts = list(_mounts(_text(root / "proc/self/mountinfo")))
    for version, group in own.items():
        places = [(point, top) for v, top, point in mounts if v == version]
        # Where none holds the group (of another namespace), what is mounted is all there is to see.
        holding = [(point, group.relative_to(top)) for point, top in places if _holds(top, group)]
        for point, below in holding or [(point, PurePosixPath()) for point, _ in places]:
            top = root / point.relative_to("/")
            folder = top / below
            yield version, folder
            while folder != top:
                folder = folder.parent
                yield version, folder


def _holds(top: PurePosixPath, group: PurePosixPath) -> bool:
    return group.is_relative_to(top) and ".." not in group.parts


def _own_groups(text: str) -> dict[int, PurePosixPath]:
    """Return this process's group in each version's hierarchy, from ``/proc/self/cgroup``."""
    found = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/"):
            continue
        if number == "0" and not controllers:
            found[2] = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            found[1] = PurePosixPath(path)
    return found


def _mounts(text: str) -> Iterator[tuple[int, PurePosixPath, PurePosixPath]]:
    """Yield version, root and mount point of each hierarchy, from ``/proc/self/mountinfo``."""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        place, kind = left.split(), right.split()
        if len(place) < 5 or len(kind) < 3 or not place[4].startswith("/"):
            continue
        mount_root, mount_point = (PurePosixPath(_unescaped(part)) for part in place[3:5])
        if kind[0] == "cgroup2":
            yield 2, mount_root, mount_point
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(","):
            yield 1, mount_root, mount_point


def _unescaped(path: str) -> str:
    """Return a path of ``mountinfo`` with the characters that it writes as octal numbers."""
    for character in " \t\n":
        path = path.replace(f"\\{ord(character):03o}", character)
    return path.replace("\\134", "\\")


def _limit_v2(folder: Path) -> float | None:
    return _share(*(_text(folder / "cpu.max").split() or ["max"]))


def _limit_v1(folder: Path) -> float | None:
    return _share(
        _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
    )


def _share(time: str = "max", period: str = "100000", *_: str) -> float | None:
    """Return how many processors a time in each period is; None where there is no limit."""
    if time.isdecimal() and period.isdecimal() and int(time) and int(period):
        return int(time) / int(period)
    return None  # "max", or -1 in version 1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
