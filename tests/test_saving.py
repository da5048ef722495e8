"""nncore.saving: round trips, the promise of the format, and files that are not right."""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import pickle
import stat
import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nncore
from nncore import saving
from nncore.layers import Activation, Dense, Dropout, Flatten, Input, Rescaling

DATA = Path(__file__).parent / "data"


def make(dtype: str = "float32", optimizer: Any = "adam", units: int = 5) -> nncore.Sequential:
    nncore.set_random_seed(3)
    model = nncore.Sequential(
        [
            Input((4, 2)),
            Flatten(name="flat"),
            Dense(units, activation="tanh", dtype=dtype, name="hidden"),
            Dropout(0.2, seed=1, name="drop"),
            Dense(3, activation="softmax", dtype=dtype, name="output"),
        ]
    )
    if optimizer is not None:
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    return model


def batch(n: int = 12) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(4)
    return rng.standard_normal((n, 4, 2)), np.eye(3)[rng.integers(0, 3, n)]


def trained(**arguments: Any) -> nncore.Sequential:
    model = make(**arguments)
    for _ in range(4):
        model.train_on_batch(*batch())
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.nncore"


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(path: Path, entries: Any, data: bytes) -> None:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


OPTIMIZERS = {
    "sgd": lambda: nncore.optimizers.SGD(0.1),
    "momentum": lambda: nncore.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: nncore.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adagrad": lambda: nncore.optimizers.Adagrad(0.1),
    "rmsprop": lambda: nncore.optimizers.RMSprop(0.01),
    "rmsprop_full": lambda: nncore.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "adam": lambda: nncore.optimizers.Adam(
        nncore.optimizers.schedules.PiecewiseConstantDecay([2, 5], [0.1, 0.05, 0.01])
    ),
    "amsgrad": lambda: nncore.optimizers.Adam(amsgrad=True, global_clipnorm=1.0),
    "adamw": lambda: nncore.optimizers.AdamW(weight_decay=0.01),
}


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_goes_on_as_the_saved_one(self, path: Path, dtype: str, optimizer: str) -> None:
        model = trained(dtype=dtype, optimizer=OPTIMIZERS[optimizer]())
        model.save(path)
        loaded = nncore.load_model(path)
        x, t = batch(20)
        assert loaded.dtype == dtype
        np.testing.assert_array_equal(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0), strict=True
        )
        assert loaded.optimizer.iterations == 4
        for _ in range(3):
            assert loaded.train_on_batch(x, t) == model.train_on_batch(x, t)
        for mine, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, other, strict=True)
        assert loaded.get_config() == model.get_config()
        assert loaded.get_compile_config() == model.get_compile_config()

    def test_a_second_file_is_the_same(self, path: Path, tmp_path: Path) -> None:
        trained().save(path)
        again = tmp_path / "again"
        nncore.load_model(path).save(again)
        assert again.read_bytes() == path.read_bytes()

    def test_not_compiled(self, path: Path) -> None:
        model = make(optimizer=None)
        model.save(path)
        loaded = nncore.load_model(path)
        assert not loaded.compiled
        x, _ = batch()
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))

    def test_without_compiling(self, path: Path) -> None:
        trained().save(path)
        assert not nncore.load_model(path, compile=False).compiled

    def test_without_parameters(self, path: Path) -> None:
        model = nncore.Sequential([Input((3,)), Rescaling(2.0), Activation("relu")])
        model.save(path)
        assert nncore.load_model(path).predict(np.ones((1, 3)), verbose=0).tolist() == [[2, 2, 2]]

    def test_built_by_data(self, path: Path) -> None:
        model = nncore.Sequential([Dense(2, name="only")])
        x = np.ones((3, 5), np.float32)
        expected = model.predict(x, verbose=0)
        model.save(path)
        np.testing.assert_array_equal(nncore.load_model(path).predict(x, verbose=0), expected)

    def test_nan_and_infinity_are_kept(self, path: Path) -> None:
        model = make()
        model.layers[1].parameters[0].value[0, :3] = np.nan, np.inf, -np.inf
        model.save(path)
        np.testing.assert_array_equal(nncore.load_model(path).get_weights()[0],
                                      model.get_weights()[0])  # fmt: skip

    def test_a_layer_called_optimizer(self, path: Path) -> None:
        model = nncore.Sequential([Input((2,)), Dense(2, name="optimizer"), Dense(2, name="é 0")])
        model.compile("adam", "mse")
        model.train_on_batch(np.ones((2, 2)), np.zeros((2, 2)))
        model.save(path)
        loaded = nncore.load_model(path)
        np.testing.assert_array_equal(loaded.parameters, model.parameters)
        np.testing.assert_array_equal(loaded.slots, model.slots)
        loaded.load_weights(path)

    def test_own_schedule(self, path: Path) -> None:
        model = make(optimizer=nncore.optimizers.SGD(Halving()))
        model.save(path)
        with pytest.raises(ValueError, match=r"cannot be compiled as it was: .*compile=False"):
            nncore.load_model(path)
        loaded = nncore.load_model(path, custom_objects={"Halving": Halving})
        assert isinstance(loaded.optimizer.schedule, Halving)

    def test_what_cannot_be_saved(self, path: Path) -> None:
        model = make(optimizer=nncore.optimizers.SGD(lambda: 0.1))
        with pytest.raises(ValueError, match="cannot be saved: SGD: the learning rate"):
            model.save(path)
        assert not path.exists()

    def test_pickle_and_deepcopy(self) -> None:
        model = trained()
        x, t = batch()
        for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            reference = copy.deepcopy(model)
            assert twin.train_on_batch(x, t) == reference.train_on_batch(x, t)
            np.testing.assert_array_equal(twin.parameters, reference.parameters)


class Halving(nncore.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.1 * 0.5**step

    def get_config(self) -> dict[str, Any]:
        return {}


class TestWeights:
    def test_roundtrip(self, path: Path) -> None:
        model = trained()
        model.save_weights(path)
        other = make(optimizer=None)
        other.load_weights(path)
        for mine, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)

    def test_from_a_whole_model(self, path: Path) -> None:
        model = trained()
        model.save(path)
        other = make()
        other.load_weights(path)
        np.testing.assert_array_equal(other.parameters, model.parameters)
        assert other.optimizer.iterations == 0

    def test_automatic_names_differ_from_process_to_process(self, path: Path) -> None:
        def build() -> nncore.Sequential:
            return nncore.Sequential([Input((2,)), Dense(3), Dense(3), Dense(1)])

        model, other = build(), build()
        assert model.layers[0].name != other.layers[0].name
        model.save_weights(path)
        other.load_weights(path)
        np.testing.assert_array_equal(other.parameters, model.parameters)

    @pytest.mark.parametrize(("there", "here"), [("float32", "float64"), ("float64", "float32")])
    def test_of_the_other_dtype_are_converted(self, path: Path, there: str, here: str) -> None:
        saved, model = trained(dtype=there), make(dtype=here)
        saved.save_weights(path)
        model.load_weights(path)
        for mine, theirs in zip(model.get_weights(), saved.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs.astype(here))

    def test_that_would_become_infinite(self, path: Path) -> None:
        saved, model = make(dtype="float64"), make()
        saved.set_weights([w + 1e300 for w in saved.get_weights()])
        saved.save_weights(path)
        before = model.parameters.copy()
        with pytest.raises(ValueError, match=r"in float32 for hidden/kernel; received 1e\+300"):
            model.load_weights(path)
        np.testing.assert_array_equal(model.parameters, before)

    def test_is_no_model(self, path: Path) -> None:
        make().save_weights(path)
        with pytest.raises(ValueError, match=r"holds weights only, .*load_weights"):
            nncore.load_model(path)

    @pytest.mark.parametrize(
        ("other", "words"),
        [
            (lambda: make(units=6), r"hidden/kernel must have shape \(8, 6\) and dtype float32; "
             r"the file has shape \(8, 5\) and dtype float32"),
            (lambda: nncore.Sequential([Input((8,)), Dense(5, name="hidden")]),
             "it also holds output/kernel, output/bias"),
            (lambda: nncore.Sequential([Input((8,)), Dense(5, name="a"), Dense(3, name="b"),
                                        Dense(2, name="c")]), "it lacks a/kernel"),
            (lambda: nncore.Sequential([Input((8,)), Dense(5, name="hidden"),
                                        Dense(3, name="output", use_bias=False)]),
             "it also holds output/bias"),
        ],
    )  # fmt: skip
    def test_does_not_fit(
        self, path: Path, other: Callable[[], nncore.Sequential], words: str
    ) -> None:
        trained().save_weights(path)
        model = other()
        before = model.parameters.copy()
        with pytest.raises(ValueError, match=f"does not fit the model: {words}"):
            model.load_weights(path)
        np.testing.assert_array_equal(model.parameters, before)

    def test_skip_mismatch(self, path: Path) -> None:
        model = trained()
        model.save_weights(path)
        other = nncore.Sequential(
            [Input((8,)), Dense(5, name="hidden"), Dense(7, name="output"), Dense(1, name="new")]
        )
        before = other.get_weights()
        with pytest.warns(UserWarning, match=r'not loaded.*Dense "output", Dense "new"'):
            saving.load_weights(other, path, skip_mismatch=True)
        after = other.get_weights()
        np.testing.assert_array_equal(after[0], model.get_weights()[0])
        for mine, old in zip(after[2:], before[2:], strict=True):
            np.testing.assert_array_equal(mine, old)

    def test_not_built(self, path: Path) -> None:
        model = nncore.Sequential([Dense(2)], name="late")
        for call in (model.save, model.save_weights, model.load_weights):
            with pytest.raises(ValueError, match='"late" has no weights yet'):
                call(path)


class TestPromise:
    def test_format_1(self) -> None:
        """A file of the first version is read as it was meant: do not make it anew."""
        expected = np.load(DATA / "model-format-1-expected.npz")
        model = nncore.load_model(DATA / "model-format-1.nncore")
        (x, y), (x_test, _) = nncore.datasets.digits()
        assert [layer.name for layer in model.layers] == [
            "scale", "flat", "first", "drop", "second", "bend", "last",
        ]  # fmt: skip
        # Instruction sets add up in different orders.
        close = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(
            model.predict(x_test[:20], verbose=0), expected["predicted"], **close
        )
        assert model.optimizer.iterations == 115
        model.train_on_batch(x[:64], y[:64])
        np.testing.assert_allclose(
            model.predict(x_test[:20], verbose=0), expected["after_one_more_step"], **close
        )

    def test_layout(self, path: Path) -> None:
        model = trained()
        model.save(path)
        entries, data = header(path)
        metadata = entries.pop("__metadata__")
        assert metadata["format"] == "nncore"
        assert metadata["format_version"] == "1"
        assert metadata["nncore_version"] == nncore.__version__
        assert metadata["kind"] == "model"
        assert json.loads(metadata["config"]) == {
            "class_name": "Sequential", "config": model.get_config(),
        }  # fmt: skip
        assert json.loads(metadata["optimizer"]) == {"kind": "adam", "iterations": 4, "slots": 2}
        parameters = ["hidden/kernel", "hidden/bias", "output/kernel", "output/bias"]
        slots = [f"optimizer/{i}/{name}" for i in (0, 1) for name in parameters]
        assert list(entries) == parameters + slots
        assert (path.stat().st_size - len(data)) % 64 == 0
        begin, end = entries["output/bias"]["data_offsets"]
        np.testing.assert_array_equal(np.frombuffer(data[begin:end], "<f4"), model.get_weights()[3])

    def test_the_safetensors_library_reads_it(self, path: Path) -> None:
        numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
        model = trained()
        model.save(path)
        tensors = numpy.load_file(path)
        for name, array in zip(
            ["hidden/kernel", "hidden/bias", "output/kernel", "output/bias"],
            model.get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(tensors[name], array, strict=True)

    def test_reads_what_the_safetensors_library_writes(self, path: Path) -> None:
        numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
        model = trained()
        model.save(path)
        metadata = header(path)[0]["__metadata__"]
        numpy.save_file(numpy.load_file(path), path, metadata)
        loaded = nncore.load_model(path)
        np.testing.assert_array_equal(loaded.parameters, model.parameters)
        np.testing.assert_array_equal(loaded.slots, model.slots)


class TestWriting:
    def test_overwrite(self, path: Path) -> None:
        path.write_bytes(b"old")
        with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
            make().save(path, overwrite=False)
        assert path.read_bytes() == b"old"
        make().save(path)
        nncore.load_model(path)

    @pytest.mark.parametrize("broken", ["fsync", "replace"])
    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
    def test_an_interruption_leaves_the_old_file(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, error: BaseException
    ) -> None:
        path.write_bytes(b"old")

        def fail(*_: Any) -> None:
            raise error

        model = make()
        monkeypatch.setattr(os, broken, fail)
        with pytest.raises(type(error)) as raised:
            model.save(path)
        monkeypatch.undo()
        if isinstance(error, OSError):
            assert "the model cannot be saved here: No space left" in str(raised.value)
        assert path.read_bytes() == b"old"
        assert os.listdir(path.parent) == [path.name]

    def test_killed_in_the_middle(
        self, path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        make().save(path)
        before = path.read_bytes()
        program = (
            "import os, sys, nncore\n"
            "model = nncore.load_model(sys.argv[1])\n"
            "model.set_weights([w + 1 for w in model.get_weights()])\n"
            "os.replace = lambda *_: os._exit(9)\n"
            "model.save(sys.argv[1])\n"
        )
        run = python(program, path, cwd=path.parent)
        assert run.returncode == 9, run.stderr
        assert path.read_bytes() == before

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"the folder .*missing does not exist"):
            make().save(tmp_path / "missing" / "model")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError, match="that is a folder"):
            make().save(tmp_path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in files")
    def test_not_a_file(self, path: Path) -> None:
        os.mkfifo(path)
        with pytest.raises(OSError, match="not a regular file"):
            make().save(path)
        assert stat.S_ISFIFO(path.stat().st_mode)

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
    )
    def test_write_protected(self, path: Path) -> None:
        path.write_bytes(b"old")
        path.chmod(0o444)
        with pytest.raises(PermissionError, match="write-protected"):
            make().save(path)
        path.chmod(0o644)
        path.parent.chmod(0o555)
        try:
            with pytest.raises(PermissionError, match="the model cannot be saved here"):
                make().save(path)
        finally:
            path.parent.chmod(0o755)
        assert path.read_bytes() == b"old"

    @pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")
    def test_mode_and_link(self, path: Path, tmp_path: Path) -> None:
        make().save(path)
        mask = os.umask(0)
        os.umask(mask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        path.chmod(0o640)
        link = tmp_path / "link"
        link.symlink_to(path)
        make(units=2).save(link)
        assert link.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert nncore.load_model(path).layers[1].units == 2


def both(path: Path) -> list[Callable[[], Any]]:
    """Return the two readers; ``load_weights`` also says that nothing was changed."""
    model = make()
    before = model.parameters.copy()

    def weights() -> None:
        try:
            model.load_weights(path)
        finally:
            np.testing.assert_array_equal(model.parameters, before)

    return [lambda: nncore.load_model(path), weights]


class TestDamaged:
    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "not an nncore file: it is empty"),
            (b"{}", "not in the safetensors format"),
            (b"\x89HDF\r\n\x1a\n" + bytes(100), "not in the safetensors format"),
            (b"PK\x03\x04" + bytes(100),
             "not in the safetensors format. If Keras wrote it, load it with Keras, and give"),
            (struct.pack("<Q", 1 << 60) + b"{}", "its header would be 1152921504606846976 bytes"),
            (struct.pack("<Q", 15_000_000) + b"{}", "truncated: its header is 15000000 bytes"),
            (struct.pack("<Q", 17_000_000) + b"{}", "its header would be 17000000 bytes long"),
            (struct.pack("<Q", 3) + b"{]}", "its header is not JSON"),
            (struct.pack("<Q", 2) + b"{}", 'safetensors file, but not one that nncore wrote'),
            (struct.pack("<Q", 4) + b'{"\xff"', "its header is not JSON"),
            (struct.pack("<Q", 15) + b'{"a":1, "a":2} ', "a key occurs twice"),
            (struct.pack("<Q", 9) + b'{"a":NaN}', "NaN is not JSON"),
            (struct.pack("<Q", 200_005) + b'{"a":' + b"[" * 200_000, "nested too deeply"),
        ],
    )  # fmt: skip
    def test_foreign(self, path: Path, data: bytes, words: str) -> None:
        path.write_bytes(data)
        for read in both(path):
            with pytest.raises(ValueError, match=words) as error:
                read()
            assert str(path) in str(error.value)

    def test_a_claim_takes_no_memory(self, path: Path) -> None:
        path.write_bytes(struct.pack("<Q", 15_999_999) + b"{" + bytes(100))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="truncated"):
                nncore.load_model(path)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()

    def test_truncated_anywhere(self, path: Path) -> None:
        trained().save(path)
        data = path.read_bytes()
        for length in [*range(40), *range(40, len(data), 97), len(data) - 1]:
            path.write_bytes(data[:length])
            with pytest.raises(ValueError, match=r"truncated|not an nncore file"):
                nncore.load_model(path)

    def test_trailing_bytes(self, path: Path) -> None:
        trained().save(path)
        path.write_bytes(path.read_bytes() + b"x")
        for read in both(path):
            with pytest.raises(ValueError, match="1 bytes follow behind its last tensor"):
                read()

    @pytest.mark.parametrize(
        ("metadata", "words"),
        [
            ({"format": "pt"}, "not one that nncore wrote"),
            ({"format_version": "2"}, r"was written by nncore .* in format 2; this nncore reads "
             r"formats up to 1. Install a newer nncore"),
            ({"format_version": "0"}, "its format version is '0'"),
            ({"format_version": "-1"}, "its format version is '-1'"),
            ({"format_version": "9" * 5000}, "its format version is"),
            ({"kind": "other"}, "its kind must be 'model' or 'weights'"),
            ({"kind": 3}, "must map strings to strings"),
        ],
    )  # fmt: skip
    def test_metadata(self, path: Path, metadata: dict[str, Any], words: str) -> None:
        trained().save(path)
        entries, data = header(path)
        entries["__metadata__"].update(metadata)
        write(path, entries, data)
        for read in both(path):
            with pytest.raises(ValueError, match=words):
                read()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"dtype": "F33"}, "unknown dtype 'F33'"),
            ({"dtype": ["F32"]}, "unknown dtype"),
            ({"shape": [5, 3]}, r"shape \(5, 3\) of F32 takes 60 bytes, but its data has 20"),
            ({"shape": [-5]}, "is not a list of sizes"),
            ({"shape": [5.0]}, "is not a list of sizes"),
            ({"shape": [True] * 5}, "is not a list of sizes"),
            ({"shape": [1 << 61, 1 << 61]}, "takes .* bytes, but its data has 20"),
            ({"shape": [1] * 40 + [5]}, "it has 41 axes"),
            ({"shape": 5}, "is not a list of sizes"),
            ({"data_offsets": [0, 20]}, "overlaps another tensor"),
            ({"data_offsets": [180, 160]}, "not a begin and an end"),
            ({"data_offsets": [160]}, "not a begin and an end"),
            ({"data_offsets": [1 << 40, (1 << 40) + 20]}, "follows a hole"),
            ({"more": 1}, "must have dtype, shape and data_offsets"),
            ({"dtype": "I32"}, "must have shape .* and dtype float32; .*dtype I32"),
            ({"shape": [1, 5]}, r"must have shape \(5,\)"),
        ],
    )
    def test_tensor(self, path: Path, change: dict[str, Any], words: str) -> None:
        trained().save(path)
        entries, data = header(path)
        entries["hidden/bias"].update(change)
        write(path, entries, data)
        for read in both(path):
            with pytest.raises(ValueError, match=words):
                read()

    def test_a_tensor_is_missing(self, path: Path) -> None:
        model = trained()
        saving._write(str(path), saving._model_tensors(model)[:-1], {"kind": "weights"}, True)
        with pytest.raises(ValueError, match="it lacks output/bias and holds hidden/kernel"):
            model.load_weights(path)

    @pytest.mark.parametrize("key", ["config", "compile", "optimizer"])
    @pytest.mark.parametrize("value", ["", "[]", "{", '{"class_name": "Functional"}', "[" * 10000])
    def test_configuration(self, path: Path, key: str, value: str) -> None:
        trained().save(path)
        entries, data = header(path)
        entries["__metadata__"][key] = value
        write(path, entries, data)
        with pytest.raises(ValueError, match=str(path.name)):
            nncore.load_model(path)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"units": 5', '"units": 5000000000'),
            ('"units": 5', '"units": "5"'),
            ('"units": 5', '"units": 5, "other": 1'),
            ('"class_name": "Dense"', '"class_name": "Dence"'),
            ('"class_name": "Flatten"', '"class_name": "os.system"'),
            ('[null, 4, 2]', '[null, 400000, 200000]'),
            ('"tanh"', '"tanhh"'),
        ],
    )  # fmt: skip
    def test_hostile_configuration(self, path: Path, old: str, new: str) -> None:
        trained().save(path)
        entries, data = header(path)
        changed = entries["__metadata__"]["config"].replace(old, new)
        assert changed != entries["__metadata__"]["config"]
        entries["__metadata__"]["config"] = changed
        write(path, entries, data)
        with pytest.raises(ValueError, match="the model cannot be made again"):
            nncore.load_model(path)

    @pytest.mark.parametrize("state", [{"slots": 1}, {"slots": 65}, {"slots": -1}, {"slots": 2.0},
                                       {"iterations": "4"}, {"iterations": -4}])  # fmt: skip
    def test_optimizer_state(self, path: Path, state: dict[str, Any]) -> None:
        trained().save(path)
        entries, data = header(path)
        changed = {"kind": "adam", "iterations": 4, "slots": 2, **state}
        entries["__metadata__"]["optimizer"] = json.dumps(changed)
        write(path, entries, data)
        with pytest.raises(ValueError, match="optimizer"):
            nncore.load_model(path)

    def test_any_byte_may_be_wrong(self, path: Path) -> None:
        """Whatever is in a header: a model or a ValueError, nothing else."""
        trained().save(path)
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        rng = np.random.default_rng(7)
        for _ in range(300):
            changed = bytearray(data)
            for place in rng.integers(0, 8 + length, rng.integers(1, 4)):
                changed[place] = rng.choice(list(b'{}[]",:0123456789 aeflnrstu\\\xff\x00'))
            path.write_bytes(changed)
            with contextlib.suppress(ValueError):
                nncore.load_model(path)

    def test_missing_file(self, path: Path) -> None:
        for read in both(path):
            with pytest.raises(FileNotFoundError):
                read()


class Halves(nncore.initializers.Initializer):
    """An initializer of the user's own."""

    def __call__(self, shape, dtype=None):
        return np.full(shape, 0.5, dtype)

    def get_config(self):
        return {}


def test_own_initializer_comes_back(tmp_path):
    model = nncore.Sequential(
        [nncore.Input((2,)), nncore.layers.Dense(3, kernel_initializer=Halves())]
    )
    model.save(tmp_path / "m")
    again = nncore.load_model(tmp_path / "m", custom_objects={"Halves": Halves})
    assert isinstance(again.layers[0].kernel_initializer, Halves)
    np.testing.assert_array_equal(again.get_weights()[0], 0.5)
    with pytest.raises(ValueError, match='unknown initializer "Halves"'):
        nncore.load_model(tmp_path / "m")


@pytest.mark.parametrize("length", [0, 1])
def test_a_header_of_no_length(tmp_path, length):
    path = tmp_path / "m"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", length) + b"{")
        file.truncate(1 << 33)  # nothing of it is read
    with pytest.raises(ValueError, match=f"not an nncore file: its header would be {length} bytes"):
        nncore.load_model(path)
