"""The memory of a process, as its system tells it."""

from __future__ import annotations

import sys
from pathlib import Path


def memory_mb(what):
    """Return a line of ``/proc/self/status`` in megabytes; None where the system has none.

    Parameters
    ----------
    what : {"VmRSS", "VmHWM", "RssAnon"}
        What is in memory now, the most that ever was, and what no file backs: the pages of files
        are the system's to take back.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) / 1024
    if what != "VmHWM":
        return None
    # On Linux ru_maxrss would not do: it counts what the process was before exec, too.
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
