"""Data sets: one that comes with the package, and a reader for MNIST-style files.

Nothing here touches the network.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import IO, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["digits", "idx"]

Images = NDArray[np.uint8]

# Within each class, the image at every fifth place (2, 7, 12, ...) is held out.
_HELD_OUT_EVERY = 5
_HELD_OUT_FIRST = 2


@overload
def digits(split: Literal[True] = True) -> tuple[tuple[Images, Images], tuple[Images, Images]]: ...


@overload
def digits(split: Literal[False]) -> tuple[Images, Images]: ...


@overload
def digits(
    split: bool,
) -> tuple[tuple[Images, Images], tuple[Images, Images]] | tuple[Images, Images]: ...


def digits(
    split: bool = True,
) -> tuple[tuple[Images, Images], tuple[Images, Images]] | tuple[Images, Images]:
    """Return the UCI handwritten digits: 1,797 images of 8x8 pixels, 10 classes.

    Parameters
    ----------
    split : bool, default True
        True: ``(x_train, y_train), (x_test, y_test)`` as Keras's data sets give it, 1,438
        and 359 images.  False: ``x, y``, all images in the order of the source.

    Returns
    -------
    x : ndarray of uint8, shape (n, 8, 8)
        Ink in each pixel, 0 to 16.  ``Rescaling(1 / 16)`` and ``Flatten()`` make 64 inputs
        between 0 and 1 of it.
    y : ndarray of uint8, shape (n,)
        The digit, 0 to 9.

    Raises
    ------
    ValueError
        ``split`` is not a bool, or the installed data file is damaged.

    Notes
    -----
    The split is fixed and needs no random numbers: of each class, the images at places
    2, 7, 12, ... are held out (20 %).  Both parts hold digits of the same 13 writers, so
    accuracy on them is higher than on new writers.

    The arrays are new on every call, so they may be changed.

    Origin: E. Alpaydin and C. Kaynak (1998), *Optical Recognition of Handwritten Digits*,
    UCI Machine Learning Repository, https://doi.org/10.24432/C50P49: its test part, as
    scikit-learn distributes it.  Licence: CC BY 4.0.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = digits()
    >>> x_train.shape, x_test.shape, int(x_train.max())
    ((1438, 8, 8), (359, 8, 8), 16)
    """
    if not isinstance(split, (bool, np.bool_)):
        raise ValueError(f"digits: split must be True or False; received split={split!r}")
    from importlib import resources

    with (resources.files("nncore") / "_data" / "digits.npz").open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        x, y = archive["x"], archive["y"]
    if x.shape != (1797, 8, 8) or y.shape != (1797,):
        raise ValueError(
            f"digits: the embedded file is damaged (shapes {x.shape} and {y.shape}, wanted "
            f"(1797, 8, 8) and (1797,)). Install nncore again"
        )
    if not split:
        return x, y
    held_out = np.zeros(len(y), bool)
    for digit in range(10):
        held_out[np.flatnonzero(y == digit)[_HELD_OUT_FIRST::_HELD_OUT_EVERY]] = True
    return (x[~held_out], y[~held_out]), (x[held_out], y[held_out])


#: The third byte of an IDX file and what it means; numbers are big-endian.
_IDX_DTYPES = {
    0x08: ">u1",
    0x09: ">i1",
    0x0B: ">i2",
    0x0C: ">i4",
    0x0D: ">f4",
    0x0E: ">f8",
}
# Deflate cannot make more than this many bytes of one (zlib's documentation: 1032:1).
_LARGEST_EXPANSION = 1032
_BLOCK = 1 << 20


def idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file: MNIST, Fashion-MNIST, EMNIST and others come in this format.

    Parameters
    ----------
    path : str or path-like
        The file, gzipped or not (its first bytes tell, not its name).

    Returns
    -------
    ndarray
        Shape and dtype as the file says (uint8, int8, int16, int32, float32 or float64),
        in the machine's own byte order.

    Raises
    ------
    ValueError
        The file is not an IDX file, ends too early, is damaged, or goes on behind its
        last number.  The message names the file.
    OSError
        The file cannot be opened or read.

    Notes
    -----
    Layout: two zero bytes, one byte for the type of number, one for the number of axes,
    a big-endian uint32 for the length of each axis, then the numbers in C order
    (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits").

    What the header claims is compared with the size of the file before any memory is
    asked for; a gzipped file is read in steps of 1 MiB.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not zipped:
            return _read_idx(path, file, size)
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                return _read_idx(path, unzipped, size * _LARGEST_EXPANSION, exact=False)
        except EOFError:
            raise ValueError(
                f"{path}: the gzipped file is truncated ({size} bytes are there). "
                f"Download or copy it again"
            ) from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path}: the gzipped file is damaged ({error}). Download or copy it again"
            ) from error


def _read_idx(
    path: str, file: IO[bytes] | gzip.GzipFile, size: int, exact: bool = True
) -> NDArray[Any]:
    """Read an IDX file of ``size`` bytes (of at most ``size`` bytes, where not ``exact``)."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES or magic[3] == 0:
        raise ValueError(
            f"{path}: not an IDX file: wanted two zero bytes, a type (8, 9, 11, 12, 13 or 14) and "
            f"the number of axes (1 or more); received {magic.hex(' ') or 'an empty file'}"
        )
    dtype = np.dtype(_IDX_DTYPES[magic[2]])
    axes = magic[3]
    if axes > 32:
        raise ValueError(f"{path}: not an IDX file that can be read: it claims {axes} axes")
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError(f"{path}: the file is truncated within its header of {4 + 4 * axes} bytes")
    shape = struct.unpack(f">{axes}I", lengths)
    wanted = math.prod(shape) * dtype.itemsize
    there = size - 4 - 4 * axes
    claim = f"its header claims shape {shape} of {dtype.newbyteorder('=').name}, {wanted} bytes"
    if there < wanted:
        most = f"{there} follow" if exact else "more than a gzipped file of this size can hold"
        raise ValueError(f"{path}: the file is truncated: {claim}, but {most}")
    if exact and there > wanted:
        raise ValueError(f"{path}: not an IDX file: {claim}, but {there} follow")
    data = bytearray()
    while len(data) < wanted:
        block = file.read(min(_BLOCK, wanted - len(data)))
        if not block:
            raise ValueError(f"{path}: the file is truncated: {claim}, but {len(data)} follow")
        data += block
    if file.read(1):
        raise ValueError(f"{path}: not an IDX file: {claim}, but more follow")
    try:
        array = np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:  # an axis of 0 beside ones beyond any array
        raise ValueError(f"{path}: not an IDX file that can be read: {claim}") from error
    return array if array.dtype.isnative else array.byteswap().view(dtype.newbyteorder("="))
