"""Weights out of a live `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or a file.

The configuration is inferred from the parameters' names and shapes: weight_hh `[G * H, H]` tells
the kind, G = 1, 3 or 4. What they cannot tell (the nonlinearity, `batch_first`) is asked for. Under
torch's names, gates are taken to be in torch's order; names of other libraries, whose order is
another, are refused. Nothing here executes anything stored in a file.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.errors import UsageError, no_such
from rnnparity.problems.tensors import one_line, tensors_in
from rnnparity.types import Array

NAMES = {"rnn": "an RNN", "gru": "a GRU", "lstm": "an LSTM"}

# torch's parameters; `weight_hr`, an LSTM's projection, is known so that it can be refused by name.
_PARAMETER = re.compile(r"(?:(?:weight|bias)_(?:ih|hh)|(weight_hr))_l(0|[1-9]\d*)(?:_reverse)?")
# Keras, Flax and TensorFlow have other names, and GRU and LSTM gates in another order.
_NOT_GUESSED = "gates of other libraries, in other orders, are not guessed"
# What torch's modules call their kind.
_MODES = {"RNN_TANH": "rnn", "RNN_RELU": "rnn", "GRU": "gru", "LSTM": "lstm"}


def read(source: Any, prefix: str | None = None, kind: str | None = None) -> dict[str, Array]:
    """Return one recurrent layer's parameters by torch's names, from whatever holds them.

    Args:
        source: a live `torch.nn.RNN`, `GRU` or `LSTM` or a module with one in it, a mapping of
            names to arrays (a state dict, or a checkpoint with one in it), or the path of a
            `.safetensors`, `.pt`, `.pth` or `.onnx` file. A `.pt` file is loaded with
            `weights_only=True`.
        prefix: what the names begin with ("encoder.rnn"), where the source holds several.
        kind: "rnn", "gru" or "lstm", which also picks one of several; None to find out.

    Raises:
        UsageError: a file that is missing or is no weights file; no recurrent layer, or several;
            values that are not finite numbers.
    """
    _check_kind(kind)
    if isinstance(source, str | Path):
        tensors, label = tensors_in(Path(source), kind, prefix), str(source)
    else:
        tensors = source.state_dict() if hasattr(source, "state_dict") else source
        label = f"the {type(source).__name__}"
    if not isinstance(tensors, Mapping) or not tensors:
        raise UsageError(
            f"{label} holds no named tensors: expected a torch.nn.RNN, GRU or LSTM, or its state "
            f"dict; {_NOT_GUESSED}"
        )
    chosen = _choose(_flat(tensors), prefix, kind, label)
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


def _choose(
    tensors: dict[str, Any], prefix: str | None, kind: str | None, label: str
) -> dict[str, Any]:
    """Pick the parameters of one layer out of a model's, without what their names begin with."""
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
            f"{label} has no parameters of a torch.nn.RNN, GRU or LSTM (weight_ih_l0, ...), but "
            f"{_some(sorted(tensors))}; {_NOT_GUESSED}"
        )
    if set(groups) == {""}:  # a layer's own names: then what stands beside them is of it, too
        return {name: value for name, value in tensors.items() if "." not in name}
    kinds = {name: _kind_of(group.get("weight_hh_l0")) for name, group in groups.items()}
    told = [name for name, found in kinds.items() if found and kind in (None, found)]
    if len(told) == 1 or len(groups) == 1:
        return groups[next(iter(told or groups))]
    listed = ", ".join(name.rstrip(".") or "(no prefix)" for name in (told or groups))
    several = [found for found in KINDS if list(kinds.values()).count(found) == 1]
    also = f"; or --cell {' or '.join(several)}" if several and kind is None else ""
    none = f", none of them {NAMES[kind]}" if kind and not told else ""
    raise UsageError(
        f"{label} holds several recurrent layers{none}: give --prefix, one of {listed}{also}"
    )


def _kind_of(weight_hh: Any) -> str | None:
    """Return the kind of layer that a weight_hh `[G * H, H]` belongs to; None if to none."""
    shape = tuple(getattr(weight_hh, "shape", ()))
    if len(shape) != 2 or 0 in shape:
        return None
    return next((k for k, kind in KINDS.items() if shape[0] == len(kind.gates) * shape[1]), None)


def _check_kind(kind: str | None) -> None:
    if kind is not None and kind not in KINDS:
        raise UsageError(no_such("kind of cell", kind, KINDS))


def infer_config(
    parameters: Mapping[str, Array], kind: str | None = None, **told: Any
) -> RNNConfig:
    """Infer what a `torch.nn.RNN`, `GRU` or `LSTM` was constructed with.

    Args:
        parameters: torch's parameter names to arrays.
        kind: "rnn", "gru" or "lstm", what they are expected to be of; None to find out.
        **told: what names and shapes cannot tell: `nonlinearity`, `batch_first`, `dropout`.

    Raises:
        UsageError: names or shapes that are not those of such a layer, each named.
    """
    _check_kind(kind)
    matches = {name: _PARAMETER.fullmatch(name) for name in parameters}
    projections = [name for name, match in matches.items() if match and match[1]]
    if projections:
        raise UsageError(
            f"LSTM with proj_size is not supported: {projections[0]} projects h; "
            "give one with proj_size=0"
        )
    foreign = sorted(name for name, match in matches.items() if not match)
    if foreign:
        raise UsageError(
            f"unexpected names {_some(foreign)}: expected only the parameters of one torch.nn.RNN, "
            "GRU or LSTM (weight_ih_l0, weight_hh_l0, bias_ih_l0, ...)"
        )
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if name not in parameters:
            raise UsageError(f"{name} is missing: save the layer's whole state dict")
        if parameters[name].ndim != 2:
            raise UsageError(f"{name} has shape {parameters[name].shape}, expected two dimensions")
    weight_hh = parameters["weight_hh_l0"]
    H = weight_hh.shape[1]
    found = _kind_of(weight_hh)
    if found is None:
        expected = [f"({len(KINDS[k].gates) * H}, {H})" for k in ([kind] if kind else KINDS)]
        raise UsageError(
            f"weight_hh_l0 has shape {weight_hh.shape}, expected {' or '.join(expected)}: "
            f"{' or '.join(NAMES[k] for k in ([kind] if kind else KINDS))}"
        )
    if kind is not None and kind != found:
        raise UsageError(
            f"weight_hh_l0 has shape {weight_hh.shape}, which is {NAMES[found]}'s, "
            f"but {NAMES[kind]} was asked for: give --cell {found}, or other weights"
        )
    layers = [int(match[2]) for match in matches.values() if match]
    gap = next(k for k in range(len(layers) + 1) if k not in layers)
    if gap < max(layers):
        raise UsageError(f"layer {max(layers)} is there, but weight_ih_l{gap} is missing")
    config = RNNConfig(
        input_size=parameters["weight_ih_l0"].shape[1],
        hidden_size=H,
        num_layers=max(layers) + 1,
        bias=any(name.startswith("bias") for name in parameters),
        bidirectional=any(name.endswith("_reverse") for name in parameters),
        kind=found,
        **told,
    )
    shapes = parameter_shapes(config)
    extra = sorted(parameters.keys() - shapes.keys())
    if extra:
        raise UsageError(
            f"unexpected names {_some(extra)} for {len(shapes)} parameters of {NAMES[found]}"
        )
    missing = [name for name in shapes if name not in parameters]
    if missing:
        raise UsageError(f"{_some(missing)} missing: save the layer's whole state dict")
    for name, shape in shapes.items():
        if parameters[name].shape != shape:
            raise UsageError(
                f"{name} has shape {parameters[name].shape}, expected {shape} "
                f"for {NAMES[found]} with hidden_size {H}, taken from weight_hh_l0"
            )
    return config


def config_of(
    source: Any,
    parameters: Mapping[str, Array],
    prefix: str | None = None,
    kind: str | None = None,
    **told: Any,
) -> RNNConfig:
    """Return the configuration of a live torch layer, or infer it from anything else's.

    Args:
        source: as `read`.
        parameters: what `read` returned.
        prefix: as `read`.
        kind: as `infer_config`; a live layer's own type must be of it.
        **told: as `infer_config`; a live layer tells these itself.

    Raises:
        UsageError: as `infer_config`.
    """
    module = _live_layer(source, prefix, kind)
    if module is None:
        return infer_config(parameters, kind, **told)
    own = _MODES[module.mode]
    if kind is not None and kind != own:
        raise UsageError(
            f"the module is {NAMES[own]}, but {NAMES[kind]} was asked for: give --cell {own}"
        )
    return infer_config(
        parameters,
        own,
        nonlinearity=getattr(module, "nonlinearity", "tanh"),
        batch_first=module.batch_first,
        dropout=module.dropout,
    )


def _live_layer(source: Any, prefix: str | None, kind: str | None) -> Any:
    """Return the torch layer that `read` takes the parameters of, if the source is a module."""
    if not hasattr(source, "named_modules"):
        return None
    found = {
        name: module
        for name, module in source.named_modules()
        if getattr(module, "mode", None) in _MODES
    }
    if prefix is not None:
        return found.get(prefix.rstrip("."))
    if len(found) > 1:
        found = {name: m for name, m in found.items() if kind in (None, _MODES[m.mode])}
    return next(iter(found.values())) if len(found) == 1 else None


def write(path: Path, parameters: Mapping[str, Array]) -> None:
    """Write parameters as a `.safetensors` file."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(value) for name, value in parameters.items()}, path)


def _to_numpy(name: str, value: Any, label: str) -> Array:
    try:
        if type(value).__module__.startswith("torch"):
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":  # the one type torch does not hand to NumPy
                value = value.float().numpy().astype(ml_dtypes.bfloat16)
        array = np.asarray(value)
    except Exception as error:  # sparse, float8, on the meta device, ...: each its own type
        raise UsageError(f"{label}: {name} cannot be read as numbers: {one_line(error)}") from None
    if array.dtype == object:
        kind = type(value).__name__
        raise UsageError(
            f"{label}: {name} is a {kind}, expected a tensor: save the layer's state dict alone"
        )
    if array.dtype.kind not in "fV":
        raise UsageError(f"{label}: {name} is {array.dtype}, expected floating-point numbers")
    return array


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
