"""Live torch modules, whatever wraps them: their tensors by name, and how a layer is configured.

A layer is what is of torch's own classes: a wrapper that hands attributes on has a layer's, too,
but is none.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rnnparity.errors import UsageError

# What torch's modules call their kind.
MODES = {"RNN_TANH": "rnn", "RNN_RELU": "rnn", "GRU": "gru", "LSTM": "lstm"}
_CELLS = {"RNNCell": "rnn", "GRUCell": "gru", "LSTMCell": "lstm"}


def is_live(source: Any) -> bool:
    """Whether a source is a torch module, or an object that has some as attributes."""
    return not isinstance(source, Mapping | str) and next(_roots(source), None) is not None


def _roots(source: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(source, "named_modules"):
        yield "", source
        return
    for name, value in getattr(source, "__dict__", {}).items():
        if hasattr(value, "named_modules") and not isinstance(value, type):
            yield name, value


def modules(source: Any) -> dict[str, Any]:
    """Return every module in a source, by every name that it has."""
    return {
        ".".join(part for part in (root, name) if part): module
        for root, value in _roots(source)
        for name, module in value.named_modules(remove_duplicate=False)
    }


def tensors(source: Any) -> dict[str, Any]:
    """Return a source's state dict, with parametrised tensors as the module has them.

    They are computed in evaluation mode: a spectral norm in training would change the module.
    """
    found: dict[str, Any] = {}
    for root, value in _roots(source):
        before = f"{root}." if root else ""
        found |= {before + name: tensor for name, tensor in value.state_dict().items()}
    for name, module in modules(source).items():
        parametrised = getattr(module, "parametrizations", None)
        if parametrised is None or not hasattr(parametrised, "keys"):
            continue
        inner = list(parametrised.modules())
        training = [one.training for one in inner]
        parametrised.eval()
        try:
            for key in parametrised.keys():  # noqa: SIM118  # a ModuleDict's
                found[f"{name}.{key}" if name else key] = getattr(module, key)
        finally:
            for one, was in zip(inner, training, strict=True):
                one.training = was
    return found


def configured(source: Any, prefix: str) -> dict[str, Any]:
    """Return a layer's own kind, nonlinearity, batch_first and dropout, as far as it has them.

    A module that somebody wrote with torch's names says what it has attributes of.

    Raises:
        UsageError: its nonlinearity is neither tanh nor relu.
    """
    module = modules(source).get(prefix.rstrip("."))
    if module is None:
        return {}
    told = {
        name: getattr(module, name)
        for name, of in (("nonlinearity", str), ("batch_first", bool), ("dropout", float))
        if isinstance(getattr(module, name, None), of)
    }
    kind = _kind(module)
    if kind in ("gru", "lstm"):
        told.pop("nonlinearity", None)
    elif kind == "rnn" and "nonlinearity" not in told:
        told["nonlinearity"] = "relu" if getattr(module, "mode", "") == "RNN_RELU" else "tanh"
    if told.get("nonlinearity", "tanh") not in ("tanh", "relu"):
        raise UsageError(
            f"the {type(module).__name__}'s nonlinearity is {told['nonlinearity']!r}, expected "
            "tanh or relu"
        )
    return told | ({"kind": kind} if kind else {})


def _kind(module: Any) -> str | None:
    """Return the kind of a module of torch's own classes, scripted or not; None for others."""
    nn: Any = sys.modules["torch"].nn
    scripted = getattr(module, "original_name", "")
    if isinstance(module, nn.RNNBase) or scripted in ("RNN", "GRU", "LSTM"):
        mode = getattr(module, "mode", scripted)
        return MODES.get(mode)
    name = next((one for one in _CELLS if isinstance(module, getattr(nn, one))), scripted)
    return _CELLS.get(name)
