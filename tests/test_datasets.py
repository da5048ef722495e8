"""nncore.datasets: the embedded digits and the IDX reader."""

from __future__ import annotations

import gzip
import struct
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nncore import datasets


class TestDigits:
    def test_all(self) -> None:
        x, y = datasets.digits(split=False)
        assert x.shape == (1797, 8, 8)
        assert x.dtype == np.uint8
        assert y.shape == (1797,)
        assert y.dtype == np.uint8
        assert x.max() == 16
        assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        # The first row of optdigits.tes.
        assert x[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
        assert y[0] == 0

    def test_split_holds_every_image_once(self) -> None:
        (x_train, y_train), (x_test, y_test) = datasets.digits()
        x, y = datasets.digits(split=False)
        assert len(x_train) == len(y_train) == 1438
        assert len(x_test) == len(y_test) == 359
        both = np.concatenate([x_train, x_test]).reshape(1797, 64)
        assert sorted(map(bytes, both)) == sorted(map(bytes, x.reshape(1797, 64)))
        assert (np.bincount(y_train) + np.bincount(y_test) == np.bincount(y)).all()

    def test_every_class_is_held_out_alike(self) -> None:
        (_, y_train), (_, y_test) = datasets.digits()
        share = np.bincount(y_test) / (np.bincount(y_train) + np.bincount(y_test))
        assert ((share > 0.19) & (share < 0.21)).all()

    def test_the_same_again_and_not_shared(self) -> None:
        (first, _), _ = datasets.digits()
        first[:] = 0
        (again, _), _ = datasets.digits()
        assert again.any()

    def test_split_must_be_a_bool(self) -> None:
        with pytest.raises(ValueError, match=r"digits: split must be True or False; .*'train'"):
            datasets.digits("train")  # type: ignore[call-overload]


def idx_bytes(array: np.ndarray[Any, Any]) -> bytes:
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    header = struct.pack(
        f">BBBB{array.ndim}I", 0, 0, codes[array.dtype.name], array.ndim, *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(params=["plain", "gzipped"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    def write(data: bytes) -> Path:
        # No extension: the content decides. Threads that run a test at once have a file each.
        path = tmp_path / f"{threading.get_ident()}-file"
        path.write_bytes(gzip.compress(data) if request.param == "gzipped" else data)
        return path

    write.gzipped = request.param == "gzipped"  # type: ignore[attr-defined]
    return write


class TestIdx:
    @pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
    @pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (0,), (2, 0, 3)])
    def test_roundtrip(self, write: Any, dtype: str, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(1)
        array = rng.integers(-100 if dtype[0] != "u" else 0, 100, shape).astype(dtype)
        if dtype.startswith("float"):
            array /= 7
        read = datasets.idx(write(idx_bytes(array)))
        assert read.dtype == array.dtype
        assert read.dtype.isnative
        assert read.shape == shape
        np.testing.assert_array_equal(read, array)
        assert read.flags.writeable
        assert read.flags.c_contiguous

    def test_larger_than_a_step(self, write: Any) -> None:
        array = np.random.default_rng(2).integers(0, 256, 3 * (1 << 20) + 17).astype(np.uint8)
        np.testing.assert_array_equal(datasets.idx(str(write(idx_bytes(array)))), array)

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "not an IDX file: .* an empty file"),
            (b"\0\0\x08", "not an IDX file: .*00 00 08"),
            (b"PK\x03\x04" + bytes(40), "not an IDX file: .*50 4b 03 04"),
            (b"\0\0\x0a\x01" + bytes(40), r"not an IDX file: .*type \(8, 9, 11"),
            (b"\0\0\x08\x00" + bytes(40), "not an IDX file: .*number of axes"),
            (b"\0\0\x08\xff" + bytes(2000), "claims 255 axes"),
            (b"\0\0\x08\x03" + bytes(11), "truncated within its header of 16 bytes"),
        ],
    )
    def test_foreign(self, write: Any, data: bytes, words: str) -> None:
        with pytest.raises(ValueError, match=words) as error:
            datasets.idx(write(data))
        assert "file: " in str(error.value)  # names the file

    @pytest.mark.parametrize("missing", [1, 5, 24])
    def test_truncated(self, write: Any, missing: int) -> None:
        data = idx_bytes(np.arange(24, dtype=np.int8).reshape(4, 6))
        follow = 24 - missing
        with pytest.raises(
            ValueError, match=rf"truncated: .*shape \(4, 6\) of int8, 24 bytes, but {follow} follow"
        ):
            datasets.idx(write(data[:-missing]))

    def test_trailing_bytes(self, write: Any) -> None:
        with pytest.raises(ValueError, match=r"24 bytes, but (25|more) follow"):
            datasets.idx(write(idx_bytes(np.zeros((4, 6), np.uint8)) + b"x"))

    def test_a_huge_claim_takes_no_memory(self, write: Any) -> None:
        path = write(struct.pack(">BBBB4I", 0, 0, 14, 4, *[0xFFFFFFFF] * 4) + bytes(100))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="truncated: its header claims"):
                datasets.idx(path)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()

    def test_a_plausible_claim_takes_no_memory(self, tmp_path: Path) -> None:
        # Less than gzip could hold in theory, so only reading shows that it is not there.
        path = tmp_path / "file.gz"
        noise = np.random.default_rng(3).bytes(100_000)
        path.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 100_000_000) + noise))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r"truncated: .* but 100000 follow"):
                datasets.idx(path)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()

    def test_gzip_truncated(self, tmp_path: Path) -> None:
        path = tmp_path / "file.gz"
        data = gzip.compress(
            idx_bytes(np.random.default_rng(4).integers(0, 9, 5000).astype(np.uint8))
        )
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match="the gzipped file is truncated"):
            datasets.idx(path)
        path.write_bytes(data[:5])
        with pytest.raises(ValueError, match="the gzipped file is truncated"):
            datasets.idx(path)

    def test_gzip_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "file.gz"
        data = bytearray(gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8))))
        data[-6] ^= 0xFF  # the checksum
        path.write_bytes(data)
        with pytest.raises(ValueError, match="the gzipped file is damaged"):
            datasets.idx(path)
        path.write_bytes(b"\x1f\x8b\x07" + bytes(30))
        with pytest.raises(ValueError, match="the gzipped file is damaged"):
            datasets.idx(path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            datasets.idx(tmp_path / "missing")
