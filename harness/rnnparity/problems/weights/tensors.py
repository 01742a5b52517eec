"""Weights files: a reader of tensors for each format; nothing stored in them is executed."""

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from rnnparity import errors
from rnnparity.errors import UsageError
from rnnparity.problems.weights import torch_files
from rnnparity.problems.weights.formats import EXPECTED, format_of, other
from rnnparity.types import Array


def tensors_in(path: Path, kind: str | None = None, prefix: str | None = None) -> Mapping[str, Any]:
    """Return the tensors in a file, by the names that they have in it.

    Args:
        path: of a weights file; its content tells what it is, its ending does not count.
        kind: which nodes of an ONNX model are meant, "rnn", "gru" or "lstm"; None to find out.
        prefix: which network of an ONNX model is meant; its names then begin with that.

    Raises:
        UsageError: it is missing, damaged, or no such file.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the file of weights in it")
    if not path.is_file():
        raise UsageError(f"no file {path}: expected {EXPECTED}")
    found = format_of(path)
    if found == "torch":
        return torch_files.read(path)
    if found == "onnx":
        from rnnparity.problems.weights import onnx_reader

        read = onnx_reader.read(path, kind=kind, prefix=prefix).parameters
        before = f"{prefix.rstrip('.')}." if prefix else ""
        return {f"{before}{name}": value for name, value in read.items()}
    readers = {
        "safetensors": _read_safetensors,
        "npz": _read_npz,
        "hdf5": _read_hdf5,
        "keras": _read_hdf5,
        "msgpack": _read_msgpack,
    }
    if found not in readers:
        told = other(path) or ("empty" if not path.stat().st_size else "no weights file")
        raise UsageError(f"{path} is {told}" + ("" if ": " in told else f": expected {EXPECTED}"))
    try:
        return readers[found](path)
    except UsageError:
        raise
    except Exception as error:  # damaged files raise anything
        name = {"hdf5": "an HDF5", "npz": "an .npz"}.get(found, f"a {found}")
        raise UsageError(f"{path} is not {name} file: {one_line(error)}") from None


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError:
        raise
    except Exception as error:  # a dtype that NumPy lacks is an AttributeError, and so on
        raise UsageError(f"{path} cannot be read: {one_line(error)}") from None


def _read_npz(path: Path) -> Mapping[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        try:
            return {name: archive[name] for name in archive.files}
        except ValueError as error:
            if "pickle" not in str(error):
                raise
            raise UsageError(
                f"{path} holds Python objects, which are not loaded: save arrays by name, "
                "numpy.savez(file, **state)"
            ) from None


def _read_hdf5(path: Path) -> Mapping[str, Any]:
    """Read `.weights.h5`, a whole model's `.h5`, or the weights in a `.keras` archive."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise UsageError(
            f"reading {path} needs h5py: pip install h5py; or numpy.savez('weights.npz', "
            "**{w.path: w.numpy() for w in model.weights})"
        ) from None
    source: Any = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    found: dict[str, Any] = {}
    with h5py.File(source, "r") as file:

        def keep(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset):
                found[name] = node[()]

        file.visititems(keep)
    return found


def _read_msgpack(path: Path) -> Mapping[str, Any]:
    """Read what `flax.serialization.to_bytes` wrote."""
    try:
        import msgpack
    except ModuleNotFoundError:
        raise UsageError(
            f"reading {path} needs msgpack: pip install msgpack; or numpy.savez('weights.npz', "
            "**flax.traverse_util.flatten_dict(params, sep='.'))"
        ) from None

    def array(code: int, data: bytes) -> Any:
        if code not in (1, 3):  # Flax: arrays, scalars of NumPy; 2 are complex numbers
            return None
        shape, dtype, content = msgpack.unpackb(data, raw=True)
        bfloat16 = dtype == b"bfloat16"
        of = np.dtype(ml_dtypes.bfloat16 if bfloat16 else dtype.decode())
        return np.frombuffer(content, of).reshape(shape)

    def whole(node: Any) -> Any:
        """Join what Flax cuts in chunks (arrays beyond 1 GB)."""
        if not isinstance(node, dict):
            return node
        if "__msgpack_chunked_array__" not in node:
            return {name: whole(value) for name, value in node.items()}
        shape, chunks = (list(node[key].values()) for key in ("shape", "chunks"))
        return np.concatenate(chunks).reshape(shape)

    loaded = msgpack.unpackb(path.read_bytes(), ext_hook=array, strict_map_key=False)
    if not isinstance(loaded, dict):
        raise UsageError(f"{path} holds a {type(loaded).__name__}, expected parameters by name")
    return dict(whole(loaded))


def numbers(name: str, value: Any, label: str) -> Array:
    """Return a tensor of any library, or numbers in lists, as an array of its own dtype.

    Raises:
        UsageError: it holds no floating-point numbers.
    """
    try:
        if isinstance(value, list | tuple):
            value = np.array(value, np.float64)
        if getattr(getattr(value, "device", None), "type", "") == "meta":
            raise UsageError(
                f"{label}: {name} cannot be read as numbers: it is on the meta device, which holds "
                "none; give the module after its weights are loaded"
            )
        array = as_numpy(value)
    except UsageError:
        raise
    except Exception as error:  # sparse, float8, quantized, ...: each its own type
        raise UsageError(f"{label}: {name} cannot be read as numbers: {one_line(error)}") from None
    if array.dtype == object:
        kind = type(value).__name__
        raise UsageError(
            f"{label}: {name} is a {kind}, expected a tensor: save the layer's state dict alone"
        )
    if array.dtype.kind not in "fV":
        raise UsageError(f"{label}: {name} is {array.dtype}, expected floating-point numbers")
    return array


def as_numpy(value: Any) -> Array:
    """Return a tensor, or whatever NumPy takes, as an array; torch's bfloat16 in its own dtype."""
    if hasattr(value, "detach"):  # torch's, and what derives from it
        value = value.full_tensor() if hasattr(value, "full_tensor") else value
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # the one type torch does not hand to NumPy
            value = value.float().numpy().astype(ml_dtypes.bfloat16)
    return np.asarray(value)


def one_line(error: BaseException) -> str:
    """Return an error's text as one line of at most 160 characters, without colours."""
    return errors.one_line(re.sub(r"\x1b\[[0-9;]*m", "", str(error)), 160) or type(error).__name__
