"""Writing a file so that there is never half of one."""

from __future__ import annotations

import contextlib
import os

__all__ = ["replace_file"]


def replace_file(path: str | os.PathLike[str], content: bytes | memoryview, what: str) -> None:
    """Write a file as a whole: under another name in the same folder, then renamed.

    Parameters
    ----------
    path : path
        As it is: no ending is added.  A link stays a link.
    content : bytes
    what : str
        For errors: ``"the trace"``.

    Raises
    ------
    OSError
        The file cannot be written.  What was there before is unchanged then.
    """
    target = os.path.realpath(os.fspath(path))
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise IsADirectoryError(
            f"{what} cannot be saved as {target}: that is a folder. Give the name of a file"
        )
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"{what} cannot be saved as {target}: the folder {folder} does not exist. Make "
            f"it first, or choose another one"
        )
    temporary = os.path.join(folder, f".nncore-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OSError(
                error.errno, f"{what} cannot be saved here: {error.strerror}", target
            ) from error
        raise
