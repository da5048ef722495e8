"""Data on its way into training: what is taken, what is converted, what is never copied."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import nncore
from nncore import data, losses
from nncore.layers import Dense, Flatten, Input

N, WIDTH = 50, 6


def rows(**arguments):
    given = {
        "x": np.zeros((N, WIDTH), "float32"),
        "y": np.zeros(N, int),
        "input_shape": (WIDTH,),
        "n_out": 3,
        "loss": losses.SparseCategoricalCrossentropy(),
    }
    return data.rows_of(**{**given, **arguments})


class Frame:
    """Looks like a table of another library."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        return self.values[i]


# --- arrays and batches ---


@pytest.mark.parametrize(
    "x", [np.zeros((2, 2)), [[1, 2]], ((1, 2),), Frame(np.zeros((2, 2))), None, range(3), 5.0,
          "ab", {"a": 1}, memoryview(b"ab")],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_these_are_no_batches(x):
    assert not data.is_batches(x)


class Dataset:
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return np.zeros((1, 1)), np.zeros(1)


@pytest.mark.parametrize("x", [iter([1]), (i for i in range(2)), Dataset(), {1, 2}.__iter__()])
def test_these_are_batches(x):
    assert data.is_batches(x)


@pytest.mark.parametrize("kind", "?bBhHiIlLqQefdg")
def test_any_real_dtype_is_taken_as_it_is(kind):
    x = np.zeros((3, 2), dtype=kind)
    got = data.as_array(x, "x")
    assert np.shares_memory(got, x)
    assert data.gatherable(got) == (kind not in "eg")


def test_array_likes():
    assert data.as_array([[1, 2], [3, 4]], "x").dtype.kind == "i"
    values = np.zeros((3, 2))
    assert np.shares_memory(data.as_array(Frame(values), "x"), values)
    masked = np.ma.masked_array(values, mask=False)
    assert np.shares_memory(data.as_array(masked, "x"), values)


def test_what_the_executor_can_gather():
    x = np.zeros((4, 6, 8), "float32")
    assert data.gatherable(x)
    assert data.gatherable(x[::2])
    assert data.gatherable(x[:, 0, ::-2])
    assert not data.gatherable(x[:, ::2])
    assert not data.gatherable(x.astype(">f4"))
    unaligned = np.zeros(33, np.uint8)[1:].view("float32").reshape(4, 2)
    assert not data.gatherable(unaligned)


@pytest.mark.thread_unsafe(reason="sets the seed")
@pytest.mark.parametrize("what", ["float16", ">f4", ">i2", "holes", "unaligned", "longdouble"])
def test_foreign_rows_train_to_the_same_bits(what):
    rng = np.random.default_rng(0)
    plain = rng.integers(-9, 9, (70, 4, 6)).astype("float32")
    y = rng.integers(0, 3, 70)
    if what == "holes":
        x = np.zeros((70, 8, 6), "float32")[:, ::2]
        x[...] = plain
    elif what == "unaligned":
        x = np.zeros(plain.nbytes + 1, np.uint8)[1:].view("float32").reshape(plain.shape)
        x[...] = plain
    else:
        x = plain.astype(what)
    assert not data.gatherable(x)
    results = []
    for given in (plain, x):
        nncore.set_random_seed(2)
        model = nncore.Sequential([Input((4, 6)), Flatten(), Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], n_threads=1)
        history = model.fit(given, y, batch_size=16, epochs=2, verbose=0, validation_split=0.2)
        results.append((history.history, model.parameters.copy(), model.predict(given)))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(results[0][2], results[1][2])


def test_conversion_takes_whole_batches(monkeypatch):
    monkeypatch.setattr(data, "_CONVERSION", 1)
    made = rows(x=np.zeros((N, WIDTH), "float16"))
    assert not made.direct
    assert made.chunk_rows(8) == 8
    order = np.arange(N)[::-1].copy()
    part = made.converted(order, 8, 16, "float64")
    assert part.direct
    assert part.x.dtype == np.float64
    assert part.n == 8


# --- memory ---


@pytest.mark.thread_unsafe(reason="measures the process's memory")
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float16"])
def test_a_mapped_file_is_never_copied_whole(tmp_path, dtype):
    n = (24 << 20) // (256 * np.dtype(dtype).itemsize)
    path = tmp_path / "x.bin"
    x = np.memmap(path, dtype=dtype, mode="w+", shape=(n, 256))
    x[::7, 3] = 1
    y = (np.arange(n) % 7 == 0).astype("uint8")
    model = nncore.Sequential([Input((256,)), Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:64], y[:64], verbose=0, batch_size=256)
    tracemalloc.start()
    model.fit(x, y, batch_size=256, verbose=0, validation_split=0.1)
    model.evaluate(x, y, batch_size=256, verbose=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    out = model.predict(x)
    _, predicting = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # What grows with n: the order and the labels, 8 bytes a row each.
    assert peak < 12 << 20
    assert predicting < out.nbytes + (12 << 20)


@pytest.mark.thread_unsafe(reason="measures the process's memory")
def test_the_finiteness_check_works_in_pieces():
    x = np.zeros((2 << 20, 4), "float16")
    x[-1, 2] = np.nan
    tracemalloc.start()
    at = data.first_nonfinite(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert at == x.size - 2
    assert peak < 4 << 20


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
@pytest.mark.parametrize("place", [(0, 0), (1234, 5), (4999, 10)])
def test_first_nonfinite(bad, layout, place):
    x = np.zeros((5000, 11), "float32", order="F" if layout == "F" else "C")
    if layout == "strided":
        x = np.zeros((10000, 11), "float32")[::2]
    assert data.first_nonfinite(x) is None
    x[place] = bad
    x[4999, 10] = bad
    assert data.first_nonfinite(x) == place[0] * 11 + place[1]


def test_large_but_finite():
    assert data.first_nonfinite(np.full((100, 9), 3e38, "float32")) is None


def test_integers_need_no_look():
    assert data.first_nonfinite(np.zeros((3, 3), int)) is None


# --- targets and weights ---


def test_labels_keep_their_place():
    y = np.zeros(N, "uint8")
    assert np.shares_memory(rows(y=y).t, y)
    assert np.shares_memory(rows(y=y[:, None]).t, y)
    floats = rows(y=y.astype("float64")).t
    assert floats.dtype == np.int64


def test_dense_targets_keep_their_place():
    y = np.zeros((N, 3), "float64")
    assert np.shares_memory(rows(y=y, loss=losses.MeanSquaredError()).t, y)
    one = rows(y=y[:, 0], loss=losses.MeanSquaredError(), n_out=1).t
    assert one.shape == (N, 1)
    assert np.shares_memory(one, y)


def test_sample_weights():
    r = np.linspace(0, 1, N)
    np.testing.assert_array_equal(rows(sample_weight=r).r, r)
    np.testing.assert_array_equal(rows(sample_weight=r[:, None].tolist()).r, r)
    assert rows().r is None


def test_class_weights():
    y = np.arange(N) % 3
    expected = np.array([1.0, 5.0, 0.5])[y]
    weights = {1: 5, 2: 0.5}  # class 0 weighs 1, as in Keras
    np.testing.assert_array_equal(rows(y=y, class_weight=weights).r, expected)
    one_hot = np.eye(3)[y]
    got = rows(y=one_hot, class_weight=weights, loss=losses.CategoricalCrossentropy()).r
    np.testing.assert_array_equal(got, expected)
    r = np.linspace(0, 1, N)
    np.testing.assert_array_equal(rows(y=y, class_weight=weights, sample_weight=r).r, r * expected)
    binary = rows(
        y=y % 2, class_weight={1: 3}, loss=losses.BinaryCrossentropy(), n_out=1
    )  # fmt: skip
    np.testing.assert_array_equal(binary.r, 1 + 2 * (y % 2))


def test_split_takes_the_last_rows():
    made = rows(x=np.arange(N * WIDTH).reshape(N, WIDTH), sample_weight=np.arange(N))
    first, last = data.split(made, 0.25)
    assert (first.n, last.n) == (37, 13)
    np.testing.assert_array_equal(last.x, made.x[37:])
    np.testing.assert_array_equal(last.r, np.arange(37, 50))
    assert np.shares_memory(last.x, made.x)
    assert data.split(made, 0.001)[1].n == 1  # floor(50 * 0.999) rows are for training
    with pytest.raises(ValueError, match="leaves no row for training"):
        data.split(made.part(0, 1), 0.5)


def test_unpack():
    x = np.zeros((2, 2))
    assert data.unpack(x)[0] is x
    assert data.unpack((x,))[0] is x
    assert data.unpack([x, 1])[1] == 1
    assert data.unpack((x, 1, 2))[2] == 2
    with pytest.raises(ValueError, match=r"a batch must be \(x,\), \(x, y\) or"):
        data.unpack((1, 2, 3, 4))


def test_batches_of_a_data_set():
    class Counting(Dataset):
        ended = 0

        def on_epoch_end(self):
            self.ended += 1

    source = Counting()
    batches = data.Batches(source, lambda n, epoch: [1, 0])
    assert batches.length == 2
    assert len(list(batches.iterate(0))) == 2
    batches.end_of_epoch()
    assert source.ended == 1
    assert data.Batches(iter([])).length is None
