"""Weights files: a reader of tensors for each suffix; nothing stored in them is executed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnparity.errors import UsageError


def tensors_in(path: Path, kind: str | None = None, prefix: str | None = None) -> Mapping[str, Any]:
    """Return the tensors in a file, by the names that they have in it.

    Args:
        path: of a `.safetensors`, `.pt`, `.pth` or `.onnx` file.
        kind: which nodes of an ONNX model are meant, "rnn", "gru" or "lstm"; None to find out.
        prefix: which network of an ONNX model is meant; its names then begin with that.

    Raises:
        UsageError: it is missing, damaged, or no such file.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}: expected a .safetensors, .pt or .onnx file")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise UsageError(f"{path} is not a safetensors file: {one_line(error)}") from None
        except Exception as error:  # a dtype that NumPy lacks is an AttributeError, and so on
            raise UsageError(f"{path} cannot be read: {one_line(error)}") from None
    if suffix in (".pt", ".pth"):
        return _read_pt(path)
    if suffix == ".onnx":
        from rnnparity.problems import onnx_reader

        found = onnx_reader.read(path, kind=kind, prefix=prefix).parameters
        before = f"{prefix.rstrip('.')}." if prefix else ""
        return {f"{before}{name}": value for name, value in found.items()}
    raise UsageError(f"{path} is no weights file: expected .safetensors, .pt or .onnx")


def _read_pt(path: Path) -> Mapping[str, Any]:
    try:
        import torch
    except ModuleNotFoundError:
        raise UsageError(
            f"reading {path} needs torch: pip install 'rnnparity[torch]', or save as .safetensors"
        ) from None
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # no common base; and torch's texts go on to suggest weights_only=False
        raise UsageError(
            f"{path} is no file of tensors, or holds other objects, which are not loaded "
            "(weights_only=True): save module.state_dict()"
        ) from None
    if not isinstance(loaded, Mapping):
        raise UsageError(f"{path} holds a {type(loaded).__name__}, expected a state dict")
    return loaded


def one_line(error: BaseException) -> str:
    """Return an error's text as one line of at most 160 characters."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
