"""Writing a file so that there is never half of one."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import IO

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(
    what: str, path: str | os.PathLike[str], overwrite: bool = True
) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of another one when all is written, or not at all.

    Parameters
    ----------
    what : str
        Named by the error: ``"diagram"``.
    path : path
        As it is: no ending is added.  A link stays a link, and a file keeps its mode.
    overwrite : bool, default True
        Whether a file that is there may be replaced.

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
    mode = _check_target(what, target, overwrite)
    temporary = os.path.join(folder, f".nncore-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _cannot(what, target, error) from error
        raise
    _sync_folder(folder)


def _cannot(what: str, path: str, error: OSError) -> OSError:
    return OSError(error.errno, f"the {what} cannot be saved here: {error.strerror}", path)


def _check_target(what: str, path: str, overwrite: bool) -> int | None:
    """Return the mode of the file that will be replaced, None if there is none."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"the {what} cannot be saved as {path}: the folder {folder} does not exist. "
                f"Make it first, or choose another one"
            ) from None
        return None
    except OSError as error:
        raise _cannot(what, path, error) from error
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(
            f"the {what} cannot be saved as {path}: that is a folder. Give the name of a file"
        )
    if not stat.S_ISREG(there.st_mode):
        raise OSError(f"the {what} cannot be saved as {path}: that is not a regular file")
    if not overwrite:
        raise FileExistsError(
            f"{path} exists already. overwrite=True replaces it; or choose another name"
        )
    if not os.access(path, os.W_OK):
        raise PermissionError(f"the {what} cannot be saved as {path}: the file is write-protected")
    return stat.S_IMODE(there.st_mode)


def _sync_folder(folder: str) -> None:
    """Make the renaming last, where the system can (Windows and some file systems cannot)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
