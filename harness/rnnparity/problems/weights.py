"""Weights out of a live `torch.nn.RNN`, a state dict, or a file: a reader for each suffix.

The configuration is inferred from the parameters' names and shapes; what they cannot tell (the
nonlinearity, `batch_first`) is asked for. Nothing here executes anything stored in a file.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.types import Array

_PARAMETER = re.compile(r"(weight|bias)_(ih|hh)_l(0|[1-9]\d*)(_reverse)?")
_GATES = {3: "a GRU", 4: "an LSTM"}


def read(source: Any, prefix: str | None = None) -> dict[str, Array]:
    """Return an RNN's parameters by torch's names, from whatever holds them.

    Args:
        source: a live `torch.nn.RNN` or a module with one in it, a mapping of names to arrays (a
            state dict, or a checkpoint with one in it), or the path of a `.safetensors`, `.pt`,
            `.pth` or `.onnx` file. A `.pt` file is loaded with `weights_only=True`.
        prefix: what the names begin with ("encoder.rnn"), where the source holds several RNNs.

    Raises:
        UsageError: a file that is missing or is no weights file; no RNN, or several; values that
            are not finite numbers.
    """
    if isinstance(source, str | Path):
        tensors, label = _read_file(Path(source)), str(source)
    else:
        tensors = source.state_dict() if hasattr(source, "state_dict") else source
        label = f"the {type(source).__name__}"
    if not isinstance(tensors, Mapping) or not tensors:
        raise UsageError(f"{label} holds no named tensors: expected a torch.nn.RNN's state dict")
    chosen = _choose(_flat(tensors), prefix, label)
    arrays = {name: _to_numpy(name, value, label) for name, value in chosen.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UsageError(f"{label}: {name} has values that are not finite: nothing to compare")
    return arrays


def _flat(tensors: Mapping[Any, Any], before: str = "") -> dict[str, Any]:
    """Flatten mappings in mappings, as checkpoints have them: `state_dict.rnn.weight_ih_l0`."""
    flat: dict[str, Any] = {}
    for name, value in tensors.items():
        if isinstance(value, Mapping) and before.count(".") < 4:
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[f"{before}{name}"] = value
    return flat


def _choose(tensors: dict[str, Any], prefix: str | None, label: str) -> dict[str, Any]:
    """Pick the parameters of one RNN out of a model's, without what their names begin with."""
    groups: dict[str, dict[str, Any]] = {}
    for name, value in tensors.items():
        before, dot, last = name.rpartition(".")
        if _PARAMETER.fullmatch(last):
            groups.setdefault(before + dot, {})[last] = value
    if prefix is not None:
        wanted = prefix.rstrip(".") + "." if prefix else ""
        if wanted not in groups:
            there = ", ".join(name.rstrip(".") or "none" for name in groups) or "no RNN at all"
            raise UsageError(f"{label} has no RNN under the prefix {prefix!r}: there is {there}")
        return groups[wanted]
    if not groups:
        raise UsageError(
            f"{label} has no parameters of a torch.nn.RNN (weight_ih_l0, ...), but "
            f"{_some(sorted(tensors))}"
        )
    if set(groups) == {""}:  # an RNN's own names: then what stands beside them is of it, too
        return {name: value for name, value in tensors.items() if "." not in name}
    rnns = {name: group for name, group in groups.items() if _is_rnn(group)}
    if len(rnns) == 1 or len(groups) == 1:
        return next(iter((rnns or groups).values()))
    listed = ", ".join(name.rstrip(".") or "(no prefix)" for name in (rnns or groups))
    raise UsageError(f"{label} holds several RNNs: give --prefix, one of {listed}")


def _is_rnn(group: Mapping[str, Any]) -> bool:
    shape = tuple(getattr(group.get("weight_hh_l0"), "shape", ()))
    return len(shape) == 2 and shape[0] == shape[1]


def infer_config(parameters: Mapping[str, Array], **told: Any) -> RNNConfig:
    """Infer what `torch.nn.RNN` was constructed with.

    Args:
        parameters: torch's parameter names to arrays.
        **told: what names and shapes cannot tell: `nonlinearity`, `batch_first`, `dropout`.

    Raises:
        UsageError: names or shapes that are not those of a `torch.nn.RNN`, each named.
    """
    foreign = sorted(name for name in parameters if not _PARAMETER.fullmatch(name))
    if foreign:
        raise UsageError(
            f"unexpected names {_some(foreign)}: expected only the parameters of one torch.nn.RNN "
            "(weight_ih_l0, weight_hh_l0, bias_ih_l0, ...)"
        )
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if name not in parameters:
            raise UsageError(f"{name} is missing: save the whole state dict of the torch.nn.RNN")
        if parameters[name].ndim != 2:
            raise UsageError(f"{name} has shape {parameters[name].shape}, expected two dimensions")
    rows, H = parameters["weight_hh_l0"].shape
    if rows != H and H and rows % H == 0 and rows // H in _GATES:
        raise UsageError(
            f"weight_hh_l0 has shape ({rows}, {H}), which is {_GATES[rows // H]}'s: "
            "only torch.nn.RNN is compared here"
        )
    layers = [int(match[3]) for name in parameters if (match := _PARAMETER.fullmatch(name))]
    gap = next(k for k in range(len(layers) + 1) if k not in layers)
    if gap < max(layers):
        raise UsageError(f"layer {max(layers)} is there, but weight_ih_l{gap} is missing")
    config = RNNConfig(
        input_size=parameters["weight_ih_l0"].shape[1],
        hidden_size=H,
        num_layers=max(layers) + 1,
        bias=any(name.startswith("bias") for name in parameters),
        bidirectional=any(name.endswith("_reverse") for name in parameters),
        **told,
    )
    shapes = parameter_shapes(config)
    extra = sorted(parameters.keys() - shapes.keys())
    if extra:
        raise UsageError(f"unexpected names {_some(extra)} for {len(shapes)} parameters of an RNN")
    missing = [name for name in shapes if name not in parameters]
    if missing:
        raise UsageError(f"{_some(missing)} missing: save the whole state dict of the torch.nn.RNN")
    for name, shape in shapes.items():
        if parameters[name].shape != shape:
            raise UsageError(
                f"{name} has shape {parameters[name].shape}, expected {shape} "
                f"for hidden_size {H}, taken from weight_hh_l0"
            )
    return config


def config_of(
    source: Any, parameters: Mapping[str, Array], prefix: str | None = None, **told: Any
) -> RNNConfig:
    """Return the configuration of a live `torch.nn.RNN`, or infer it from anything else's.

    Raises:
        UsageError: as `infer_config`.
    """
    module = _live_rnn(source, parameters, prefix)
    if module is None:
        return infer_config(parameters, **told)
    return infer_config(
        parameters,
        nonlinearity=module.nonlinearity,
        batch_first=module.batch_first,
        dropout=module.dropout,
    )


def _live_rnn(source: Any, parameters: Mapping[str, Array], prefix: str | None) -> Any:
    """Return the `torch.nn.RNN` that the parameters were read from, if the source is a module."""
    if not hasattr(source, "named_modules"):
        return None
    found = {
        name: module
        for name, module in source.named_modules()
        if getattr(module, "mode", None) in ("RNN_TANH", "RNN_RELU")
    }
    if prefix is not None:
        return found.get(prefix.rstrip("."))
    return next(iter(found.values())) if len(found) == 1 else None


def write(path: Path, parameters: Mapping[str, Array]) -> None:
    """Write parameters as a `.safetensors` file."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(value) for name, value in parameters.items()}, path)


def _read_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UsageError(f"no file {path}: expected a .safetensors, .pt or .onnx file")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise UsageError(f"{path} is not a safetensors file: {_line(error)}") from None
        except Exception as error:  # a dtype that NumPy lacks is an AttributeError, and so on
            raise UsageError(f"{path} cannot be read: {_line(error)}") from None
    if suffix in (".pt", ".pth"):
        return _read_pt(path)
    if suffix == ".onnx":
        from rnnparity.problems import onnx_format

        return onnx_format.read(path).parameters
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


def _to_numpy(name: str, value: Any, label: str) -> Array:
    try:
        if type(value).__module__.startswith("torch"):
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":  # the one type torch does not hand to NumPy
                value = value.float().numpy().astype(ml_dtypes.bfloat16)
        array = np.asarray(value)
    except Exception as error:  # sparse, float8, on the meta device, ...: each its own type
        raise UsageError(f"{label}: {name} cannot be read as numbers: {_line(error)}") from None
    if array.dtype == object:
        kind = type(value).__name__
        raise UsageError(
            f"{label}: {name} is a {kind}, expected a tensor: save the RNN's state dict alone"
        )
    if array.dtype.kind not in "fV":
        raise UsageError(f"{label}: {name} is {array.dtype}, expected floating-point numbers")
    return array


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _line(error: BaseException) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
