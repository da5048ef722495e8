"""Writing a file so that there is never half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(what: str, path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of another one when all is written, or not at all.

    Parameters
    ----------
    what : str
        Named by the error: ``"diagram"``.
    path : path
        As it is: no ending is added.  A link stays a link.

    Yields
    ------
    file
        Open for writing bytes, under another name in the same folder; renamed at the end.

    Raises
    ------
    OSError
        The file cannot be written.  What was there before is unchanged then.
    """
    target = os.path.realpath(os.fspath(path))
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise IsADirectoryError(
            f"the {what} cannot be saved as {target}: that is a folder. Give the name of a file"
        )
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"the {what} cannot be saved as {target}: the folder {folder} does not exist. Make "
            f"it first, or choose another one"
        )
    temporary = os.path.join(folder, f".nncore-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OSError(
                error.errno, f"the {what} cannot be saved here: {error.strerror}", target
            ) from error
        raise
