"""Weights out of a live `torch.nn.RNN`, `GRU` or `LSTM`, a state dict, or a file.

The configuration is inferred from the parameters' names and shapes: weight_hh `[G * H, H]` tells
the kind, G = 1, 3 or 4. What they cannot tell (the nonlinearity, `batch_first`) is asked for. Under
torch's names, gates are taken to be in torch's order. Nothing here executes anything stored in a
file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.errors import UsageError, no_such
from rnnparity.problems.weights import live
from rnnparity.problems.weights.layers import (
    NAMES,
    NOT_GUESSED,
    PARAMETER,
    Layer,
    choose,
    kind_of,
    some,
)
from rnnparity.problems.weights.tensors import tensors_in
from rnnparity.types import Array
from rnnparity.words import option


def read(source: Any, prefix: str | None = None, kind: str | None = None) -> dict[str, Array]:
    """Return one recurrent layer's parameters by torch's names, from whatever holds them.

    Args:
        source: a live `torch.nn.RNN`, `GRU` or `LSTM` or a module with one in it, a mapping of
            names to arrays (a state dict, or a checkpoint with one in it), or the path of a
            weights file, which is told by its content: safetensors, torch (loaded with
            `weights_only=True`), `.npz`, Keras, Flax or ONNX.
        prefix: what the names begin with ("encoder.rnn"), where the source holds several.
        kind: "rnn", "gru" or "lstm", which also picks one of several; None to find out.

    Raises:
        UsageError: a file that is missing or is no weights file; no recurrent layer, or several;
            values that are not finite numbers.
    """
    chosen, label = _chosen(source, prefix, kind)
    arrays = chosen.parameters(label)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UsageError(f"{label}: {name} has values that are not finite: nothing to compare")
    return arrays


def _chosen(source: Any, prefix: str | None, kind: str | None) -> tuple[Layer, str]:
    """Return the layer that is meant, and what a message calls the source."""
    _check_kind(kind)
    if isinstance(source, str | Path):
        return choose(tensors_in(Path(source), kind, prefix), prefix, kind, str(source)), str(
            source
        )
    label = f"the {type(source).__name__}"
    if live.is_live(source):
        named = live.modules(source)

        def same(one: Layer, other: Layer) -> bool:
            """Whether two names are of one module: another may have another nonlinearity."""
            return named.get(one.prefix.rstrip(".")) is named.get(other.prefix.rstrip("."), label)

        return choose(live.tensors(source), prefix, kind, label, same), label
    tensors = source.state_dict() if hasattr(source, "state_dict") else source
    if not isinstance(tensors, Mapping) or not tensors:
        raise UsageError(
            f"{label} holds no named tensors: expected a torch.nn.RNN, GRU or LSTM, or its state "
            f"dict; {NOT_GUESSED}"
        )
    return choose(tensors, prefix, kind, label), label


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
    matches = {name: PARAMETER.fullmatch(name) for name in parameters}
    projections = [name for name, match in matches.items() if match and match[1]]
    if projections:
        raise UsageError(
            f"LSTM with proj_size is not supported: {projections[0]} projects h; "
            "give one with proj_size=0"
        )
    foreign = sorted(name for name, match in matches.items() if not match)
    if foreign:
        raise UsageError(
            f"unexpected names {some(foreign)}: expected only the parameters of one torch.nn.RNN, "
            "GRU or LSTM (weight_ih_l0, weight_hh_l0, bias_ih_l0, ...)"
        )
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if name not in parameters:
            raise UsageError(f"{name} is missing: save the layer's whole state dict")
        if parameters[name].ndim != 2:
            raise UsageError(f"{name} has shape {parameters[name].shape}, expected two dimensions")
    weight_hh = parameters["weight_hh_l0"]
    H = weight_hh.shape[1]
    found = kind_of(weight_hh)
    if found is None:
        expected = [f"({len(KINDS[k].gates) * H}, {H})" for k in ([kind] if kind else KINDS)]
        raise UsageError(
            f"weight_hh_l0 has shape {weight_hh.shape}, expected {' or '.join(expected)}: "
            f"{' or '.join(NAMES[k] for k in ([kind] if kind else KINDS))}"
            + (_transposed("weight_hh_l0", weight_hh.shape) if kind_of(weight_hh.T) else "")
        )
    if kind is not None and kind != found:
        raise UsageError(
            f"weight_hh_l0 has shape {weight_hh.shape}, which is {NAMES[found]}'s, "
            f"but {NAMES[kind]} was asked for: give {option('cell', found)}, or other weights"
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
    weight_ih = parameters["weight_ih_l0"].shape
    if weight_ih[0] != (rows := shapes["weight_hh_l0"][0]) and weight_ih[1] == rows:
        raise UsageError(
            f"weight_ih_l0 has shape {weight_ih}, expected ({rows}, I)"
            f"{_transposed('weight_ih_l0', weight_ih)}"
        )
    extra = sorted(parameters.keys() - shapes.keys())
    if extra:
        raise UsageError(
            f"unexpected names {some(extra)} for {len(shapes)} parameters of {NAMES[found]}"
        )
    missing = [name for name in shapes if name not in parameters]
    if missing:
        zeros = (
            "zeros if the model has one bias, else "
            if all(name.startswith("bias") for name in missing)
            else ""
        )
        raise UsageError(f"{some(missing)} missing: {zeros}save the layer's whole state dict")
    for name, shape in shapes.items():
        own = parameters[name].shape
        if own != shape:
            turned = _transposed(name, own) if own == shape[::-1] else ""
            raise UsageError(
                f"{name} has shape {own}, expected {shape} "
                f"for {NAMES[found]} with hidden_size {H}, taken from weight_hh_l0{turned}"
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
    if not live.is_live(source):
        return infer_config(parameters, kind, **told)
    own = live.configured(source, _chosen(source, prefix, kind)[0].prefix)
    of = own.pop("kind", None)
    if kind is not None and of not in (kind, None):
        raise UsageError(
            f"the module is {NAMES[of]}, but {NAMES[kind]} was asked for: give {option('cell', of)}"
        )
    return infer_config(parameters, of or kind, **(told | own))


def _transposed(name: str, shape: tuple[int, ...]) -> str:
    return f"; {name}.T {shape[::-1]} would fit: are all weights transposed?"


def write(path: Path, parameters: Mapping[str, Array]) -> None:
    """Write parameters as a `.safetensors` file."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(value) for name, value in parameters.items()}, path)
