"""Keeping models: one file in the safetensors format, no pickle, no code run on loading.

The format is specified in ``docs/file-format.md`` and is read for ever.  A file is written
beside its destination and then renamed, so that a crash leaves the old file as it was.  A
file is checked whole before anything of it reaches a model.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncore import _arrays
from nncore._files import replacing

if TYPE_CHECKING:
    from nncore.layers import Layer, Parameter
    from nncore.models import Sequential

__all__ = ["load_model", "load_weights", "save_model", "save_weights"]

#: Written into every file.  A reader refuses files with a larger number.
FORMAT_VERSION = 1

_DTYPES = {"F32": "<f4", "F64": "<f8"}
_DTYPE_NAMES = {"float32": "F32", "float64": "F64"}
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
_LARGEST_HEADER = 16_000_000  # far beyond any model's; reading JSON takes many times its size
_ALIGNMENT = 64
# What a configuration that does not fit may raise.
_CONFIG_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
_OPTIMIZER = "optimizer"

_Path = str | os.PathLike[str]


# --- public ---


def save_model(model: Sequential, path: _Path, overwrite: bool = True) -> None:
    """Write a model into one file: configuration, weights, compile arguments, optimizer state.

    Parameters
    ----------
    model : Sequential
        Built; compiled or not.
    path : str or path-like
        Any name; ``.nncore`` is the usual ending.
    overwrite : bool, default True
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        The model is not built, or its configuration holds an object that cannot be
        written as JSON.
    FileExistsError
        The file exists and ``overwrite`` is False.
    OSError
        The file cannot be written.  What was there before is unchanged then.

    Notes
    -----
    The file is written under another name in the same folder, forced to the disk and
    renamed, so that a crash at any moment leaves either the old file or the new one.
    """
    _require_built(model, "save")
    tensors = _model_tensors(model)
    try:
        config, compiled = model.get_config(), model.get_compile_config()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{model.label} cannot be saved: {error}") from error
    metadata = {
        "kind": "model",
        "config": _dumps({"class_name": "Sequential", "config": config}, "model"),
    }
    if compiled:
        metadata["compile"] = _dumps(compiled, "compile")
        slots = model.slots
        metadata["optimizer"] = _dumps(
            {
                "kind": model.optimizer.kernel,
                "iterations": int(model.optimizer.iterations),
                "slots": 0 if slots is None else len(slots),
            },
            "optimizer",
        )
        if slots is not None:
            for name, _, where, shape in _slot_places(model, len(slots)):
                tensors.append((name, slots[where].reshape(shape)))
    _write(os.fspath(path), tensors, metadata, overwrite)


def load_model(
    path: _Path,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Sequential:
    """Read a model that this version of nncore or any older one saved.

    See :meth:`nncore.Sequential.save`.

    Parameters
    ----------
    path : str or path-like
        The file.
    custom_objects : mapping of str to object, optional
        Own classes and functions that the model uses, by name.
    compile : bool, default True
        Whether to compile the model as it was, its optimizer's state included.
    safe_mode : bool, default True
        For Keras's sake; loading never runs code from the file, whatever is given.

    Returns
    -------
    Sequential
        It predicts and goes on training as the saved one would have.

    Raises
    ------
    ValueError
        The file is foreign, truncated, damaged, or from a newer version of nncore, holds
        weights only, or uses a name that is not known.
    OSError
        The file cannot be read.
    """
    with _open(os.fspath(path)) as file:
        return _load_model(file, custom_objects, compile)


def save_weights(model: Sequential, path: _Path, overwrite: bool = True) -> None:
    """Write a model's weights into one file, without configuration and optimizer state.

    Parameters and errors are those of :func:`save_model`.
    """
    _require_built(model, "save_weights")
    _write(os.fspath(path), _model_tensors(model), {"kind": "weights"}, overwrite)


def load_weights(model: Sequential, path: _Path, skip_mismatch: bool = False) -> None:
    """Read weights into a model from a file of :func:`save_weights` or :func:`save_model`.

    Parameters
    ----------
    model : Sequential
        Built.  Its optimizer's state stays as it is.
    path : str or path-like
    skip_mismatch : bool, default False
        True: layers that the file does not have, or has in another shape, keep their
        weights, with a warning that names them.

    Raises
    ------
    ValueError
        The file is foreign, truncated, damaged, or does not fit the model.  The model is
        unchanged then.
    OSError
        The file cannot be read.  The model is unchanged then.

    Notes
    -----
    Layers are found by name.  Where the file lacks a layer of that name but has as many
    layers with weights as the model, they are taken in order: the names
    that layers get by themselves (``dense_3``) differ from one process to another.
    """
    _require_built(model, "load_weights")
    with _open(os.fspath(path)) as file:
        arrays = _weights_for(file, model, skip_mismatch)
    for p, array in arrays:
        p.value[...] = array


# --- what of a model goes into a file ---


def _require_built(model: Sequential, verb: str) -> None:
    if not model.built:
        raise ValueError(
            f"{model.label} has no weights yet, so {verb} cannot be done: start it "
            f"with Input(shape), or call build() or fit() first"
        )


def _parameters(model: Sequential) -> list[tuple[Layer, Parameter]]:
    return [(layer, p) for layer in model.layers for p in layer.parameters]


def _layout(model: Sequential) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and dtype of each tensor, by its name."""
    return {f"{layer.name}/{p.name}": (p.shape, p.dtype) for layer, p in _parameters(model)}


def _model_tensors(model: Sequential) -> list[tuple[str, NDArray[Any]]]:
    return [(f"{layer.name}/{p.name}", p.value) for layer, p in _parameters(model)]


def _slot_places(
    model: Sequential, n_slots: int
) -> list[tuple[str, Parameter, tuple[int, slice], tuple[int, ...]]]:
    """Return name, parameter, place in ``model.slots`` and shape of each part of the slots."""
    places = []
    for i in range(n_slots):
        for layer, p in _parameters(model):
            where = (i, slice(p.offset, p.offset + math.prod(p.shape)))
            places.append((f"{_OPTIMIZER}/{i}/{layer.name}/{p.name}", p, where, p.shape))
    return places


# --- writing ---


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is not a number, string, list, dict or None")


def _dumps(value: Any, what: str) -> str:
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"the {what} configuration cannot be saved: {error}. An own class needs a "
            f"get_config() that returns plain values"
        ) from error


def _write(
    path: str,
    tensors: Sequence[tuple[str, NDArray[Any]]],
    metadata: Mapping[str, str],
    overwrite: bool,
) -> None:
    import nncore

    entries: dict[str, Any] = {
        "__metadata__": {
            "format": "nncore",
            "format_version": str(FORMAT_VERSION),
            "nncore_version": nncore.__version__,
            **metadata,
        }
    }
    end = 0
    for name, array in tensors:
        begin, end = end, end + array.nbytes
        entries[name] = {
            "dtype": _DTYPE_NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-(len(header) + 8) % _ALIGNMENT)

    with replacing("model", path, overwrite) as file:
        file.write(struct.pack("<Q", len(header)))
        file.write(header)
        for _, array in tensors:
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            file.write(little.data)


# --- reading ---


class _Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class _File:
    """An open file whose header has been read and checked.

    It stays open until all is read, so that another process may replace it meanwhile.

    Attributes
    ----------
    tensors : dict of str to _Tensor
        In the order of their data.
    start : int
        Where the data begins.
    """

    def __init__(
        self,
        path: str,
        stream: IO[bytes],
        metadata: dict[str, str],
        tensors: dict[str, _Tensor],
        start: int,
    ) -> None:
        self.path = path
        self.stream = stream
        self.metadata = metadata
        self.tensors = tensors
        self.start = start
        self.kind = metadata.get("kind")

    def error(self, what: str) -> ValueError:
        return ValueError(f"{self.path}: the file is damaged: {what}. Use another copy of it")

    def json(self, key: str) -> dict[str, Any]:
        """Return an entry of the metadata that must be a JSON object."""
        if key not in self.metadata:
            raise self.error(f"its metadata lacks {key!r}")
        try:
            value = _loads(self.metadata[key])
        except ValueError as error:
            raise self.error(f"its metadata {key!r} is not JSON ({error})") from None
        if not isinstance(value, dict):
            raise self.error(f"its metadata {key!r} is not a JSON object")
        return value

    def layers(self) -> dict[str, list[str]]:
        """Return the names of the layers and of their parameters."""
        layers: dict[str, list[str]] = {}
        for name in self.tensors:
            layer, _, parameter = name.partition("/")
            if parameter and "/" not in parameter:
                layers.setdefault(layer, []).append(parameter)
        return layers

    def require(
        self,
        wanted: Mapping[str, tuple[tuple[int, ...], str]],
        exactly: bool = False,
        cast: bool = False,
    ) -> None:
        """Check that the file holds these tensors (name: shape, dtype) and no other ones.

        Without ``exactly``, an optimizer's slots may be there too. With ``cast``, they may be
        float32 where float64 is wanted, or the other way round.
        """
        missing = [name for name in wanted if name not in self.tensors]
        if missing:
            raise ValueError(
                f"{self.path}: the file does not fit the model: it lacks {_some(missing)} and "
                f"holds {_some(list(self.tensors)) or 'nothing'}"
            )
        for name, (shape, dtype) in wanted.items():
            there = self.tensors[name]
            accepted = _DTYPES if cast else (_DTYPE_NAMES[dtype],)
            if there.shape != shape or there.dtype not in accepted:
                kind = _DTYPES.get(there.dtype)
                received = np.dtype(kind).name if kind else there.dtype
                raise ValueError(
                    f"{self.path}: the file does not fit the model: {name} must have shape {shape} "
                    f"and dtype {dtype}; the file has shape {there.shape} and dtype {received}"
                )
        more = [n for n in self.tensors if n not in wanted and (exactly or not _is_slot(n))]
        if more:
            raise ValueError(
                f"{self.path}: the file does not fit the model: it also holds {_some(more)}, which "
                f"the model has not"
            )

    def array(self, name: str) -> NDArray[Any]:
        """Read a tensor."""
        tensor = self.tensors[name]
        self.stream.seek(self.start + tensor.begin)
        data = self.stream.read(tensor.end - tensor.begin)
        if len(data) != tensor.end - tensor.begin:
            raise self.error(f"it became shorter while {name} was read")
        return np.frombuffer(data, _DTYPES[tensor.dtype]).reshape(tensor.shape)


def _load_model(file: _File, custom_objects: Mapping[str, Any] | None, compile: bool) -> Sequential:
    from nncore.models import Sequential

    if file.kind != "model":
        raise ValueError(
            f"{file.path}: holds weights only, no model. "
            f"Make the model first, then call model.load_weights({file.path!r})"
        )
    description = file.json("config")
    if description.get("class_name") != "Sequential" or "config" not in description:
        raise file.error(f"the model's class is {description.get('class_name')!r}, not Sequential")
    try:
        _check_sizes(file, description["config"], custom_objects)
        model = Sequential.from_config(description["config"], custom_objects)
    except _CONFIG_ERRORS as error:
        raise ValueError(f"{file.path}: the model cannot be made again: {error}") from error
    compiled = file.json("compile") if "compile" in file.metadata else None
    state = file.json("optimizer") if "optimizer" in file.metadata else {}
    n_slots = _count(file, state, "slots", most=64)
    iterations = _count(file, state, "iterations", most=1 << 62)
    wanted = _layout(model)
    places = _slot_places(model, n_slots)
    for name, parameter, _, _ in places:
        wanted[name] = (parameter.shape, parameter.dtype)
    file.require(wanted, exactly=True)
    arrays = {name: file.array(name) for name in wanted}
    for layer, p in _parameters(model):
        p.value[...] = arrays[f"{layer.name}/{p.name}"]
    if compiled is None or not compile:
        return model
    try:
        model.compile_from_config(compiled, custom_objects=custom_objects)
        model.optimizer.iterations = iterations
        slots = model.slots
    except _CONFIG_ERRORS as error:
        raise ValueError(
            f"{file.path}: the model cannot be compiled as it was: {error}. "
            f"compile=False loads it without"
        ) from error
    if n_slots != (0 if slots is None else len(slots)):
        raise file.error(f"its optimizer does not have the {n_slots} slots that it holds")
    if slots is not None:
        for name, _, where, _ in places:
            slots[where] = arrays[name].reshape(-1)
    return model


def _check_sizes(
    file: _File, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None
) -> None:
    """Check the sizes that a configuration asks for against the file, before memory is taken."""
    from nncore import layers

    shape: tuple[int, ...] = tuple(config.get("build_input_shape") or ())[1:]
    for description in config["layers"]:
        layer = layers.deserialize(description, custom_objects)
        if isinstance(layer, layers.InputLayer):
            shape = layer.shape
            continue
        if isinstance(layer, layers.Dense) and shape:
            there = file.tensors.get(f"{layer.name}/kernel")
            wanted = (shape[-1], layer.units)
            if there is None or there.shape != wanted:
                raise ValueError(
                    f"{layer.name}/kernel must have shape {wanted} by its configuration; the file "
                    f"has {'none' if there is None else there.shape}"
                )
        shape = layer._shape_of_output(shape)


def _weights_for(
    file: _File, model: Sequential, skip_mismatch: bool
) -> list[tuple[Parameter, NDArray[Any]]]:
    """Return a model's parameters with what the file has for them."""
    layers = [layer for layer in model.layers if layer.parameters]
    saved = file.layers()
    names = {layer.name: layer.name for layer in layers}
    found = sum(name in saved for name in names)
    if found < len(layers) == len(saved) and not (skip_mismatch and found):
        names = dict(zip(names, saved, strict=True))
    if skip_mismatch:
        fitting = [layer for layer in layers if _fits(file, layer, names[layer.name])]
        skipped = [layer.label for layer in layers if layer not in fitting]
        if skipped:
            warnings.warn(
                f"{file.path}: not loaded, because the file has no weights of that name and "
                f"shape: {', '.join(skipped)}",
                stacklevel=4,
            )
        layers = fitting
    else:
        file.require(
            {
                f"{names[layer.name]}/{p.name}": (p.shape, p.dtype)
                for layer in layers
                for p in layer.parameters
            },
            cast=True,
        )
    found_arrays = [
        (p, file.array(f"{names[layer.name]}/{p.name}"))
        for layer in layers
        for p in layer.parameters
    ]
    for p, array in found_arrays:
        _arrays.check_finite_in(file.path, p.path, array, p.dtype)
    return found_arrays


def _fits(file: _File, layer: Layer, name: str) -> bool:
    there = file.layers().get(name, [])
    if sorted(there) != sorted(p.name for p in layer.parameters):
        return False
    return all(
        file.tensors[f"{name}/{p.name}"].shape == p.shape
        and file.tensors[f"{name}/{p.name}"].dtype in _DTYPES
        for p in layer.parameters
    )


def _is_slot(name: str) -> bool:
    return name.startswith(f"{_OPTIMIZER}/") and name.count("/") == 3


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _count(file: _File, state: Mapping[str, Any], key: str, most: int) -> int:
    value = state.get(key, 0)
    if type(value) is not int or not 0 <= value <= most:
        raise file.error(f"its optimizer's {key} must be a count; it is {value!r}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key occurs twice")
    return made


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _loads(text: str) -> Any:
    """Parse JSON strictly: no key twice, no NaN, no nesting deep enough to be an attack."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextlib.contextmanager
def _open(path: str) -> Iterator[_File]:
    with open(path, "rb") as stream:
        yield _read(path, stream)


def _read(path: str, stream: IO[bytes]) -> _File:
    """Read and check a file's header; its data is known to be all there afterwards."""
    size = os.fstat(stream.fileno()).st_size
    prefix = stream.read(8)
    length = int.from_bytes(prefix, "little")
    # A safetensors header begins with a brace: this tells other files from it.
    brace = stream.read(1)
    if len(prefix) < 8 or brace != b"{":
        what = "it is not in the safetensors format" if size else "it is empty"
        if prefix.startswith((b"PK\x03\x04", b"\x89HDF")):
            what += (
                ". If Keras wrote it, load it with Keras, and give what its get_weights returns to "
                "the set_weights of a model with the same layers"
            )
        raise ValueError(f"{path}: not an nncore file: {what}")
    if length < 2:
        raise ValueError(
            f"{path}: not an nncore file: its header would be {length} bytes long (at least 2)"
        )
    if length > _LARGEST_HEADER:
        raise ValueError(
            f"{path}: not an nncore file: its header would be {length} bytes long (at most "
            f"{_LARGEST_HEADER})"
        )
    if length > size - 8:
        raise ValueError(
            f"{path}: the file is truncated: its header is {length} bytes long, but only "
            f"{size - 8} follow"
        )
    try:
        header = _loads((brace + stream.read(length - 1)).decode())
    except ValueError as error:
        raise ValueError(f"{path}: not an nncore file: its header is not JSON ({error})") from None
    metadata = header.pop("__metadata__", {})
    _check_metadata(path, metadata)
    tensors = {name: _check_tensor(path, name, entry) for name, entry in header.items()}
    order = sorted(tensors, key=lambda name: (tensors[name].begin, tensors[name].end))
    end = 0
    for name in order:
        if tensors[name].begin != end:
            word = "overlaps another tensor" if tensors[name].begin < end else "follows a hole"
            raise ValueError(f"{path}: the file is damaged: {name} {word}")
        end = tensors[name].end
    there = size - 8 - length
    if there < end:
        raise ValueError(
            f"{path}: the file is truncated: its header claims {end} bytes of data, but {there} "
            f"follow"
        )
    if there > end:
        raise ValueError(
            f"{path}: the file is damaged: {there - end} bytes follow behind its last tensor"
        )
    ordered = {name: tensors[name] for name in order}
    return _File(path, stream, metadata, ordered, 8 + length)


def _check_metadata(path: str, metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{path}: the file is damaged: its metadata must map strings to strings")
    if metadata.get("format") != "nncore":
        raise ValueError(
            f"{path}: a safetensors file, but not one that nncore wrote (its metadata lacks "
            f'"format": "nncore")'
        )
    version = metadata.get("format_version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10 and int(version) > 0):
        raise ValueError(f"{path}: the file is damaged: its format version is {version!r}")
    if int(version) > FORMAT_VERSION:
        writer = metadata.get("nncore_version", "a newer version")
        raise ValueError(
            f"{path}: was written by nncore {writer} in format {version}; this nncore reads "
            f"formats up to {FORMAT_VERSION}. Install a newer nncore to read it"
        )
    if metadata.get("kind") not in ("model", "weights"):
        raise ValueError(
            f"{path}: the file is damaged: its kind must be 'model' or 'weights'; it is "
            f"{metadata.get('kind')!r}"
        )


def _check_tensor(path: str, name: str, entry: Any) -> _Tensor:
    def fail(what: str) -> ValueError:
        return ValueError(f"{path}: the file is damaged: {name}: {what}")

    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise fail("a tensor's entry must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise fail(f"unknown dtype {dtype!r}")
    for value in (shape, offsets):
        if not isinstance(value, list) or not all(
            type(n) is int and 0 <= n < 1 << 62 for n in value
        ):
            raise fail(f"{value!r} is not a list of sizes")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise fail(f"data_offsets {offsets} are not a begin and an end")
    if len(shape) > 32:
        raise fail(f"it has {len(shape)} axes")
    wanted = math.prod(shape) * _BITS[dtype] // 8
    if wanted != offsets[1] - offsets[0]:
        raise fail(
            f"shape {tuple(shape)} of {dtype} takes {wanted} bytes, but its data has "
            f"{offsets[1] - offsets[0]}"
        )
    return _Tensor(dtype, tuple(shape), offsets[0], offsets[1])
