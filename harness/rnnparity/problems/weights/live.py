"""Live torch modules, whatever wraps them: their tensors by name, and how a layer is configured.

A layer is what is of torch's own classes: a wrapper that hands attributes on has a layer's, too,
but is none.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rnnparity.errors import UsageError

_CELLS = ("RNNCell", "GRUCell", "LSTMCell")


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
        UsageError: it does not tell, being traced; its nonlinearity is neither tanh nor relu.
    """
    module = modules(source).get(prefix.rstrip("."))
    if module is None:
        return {}
    told = {
        name: getattr(module, name)
        for name, of in (("nonlinearity", str), ("batch_first", bool), ("dropout", float))
        if isinstance(getattr(module, name, None), of)
    }
    kind, traced = _kind(module)
    if traced:
        raise UsageError(
            f"a traced {module.original_name} does not tell its nonlinearity and batch_first: give "
            "its state_dict(), and these"
        )
    if kind in ("gru", "lstm"):
        told.pop("nonlinearity", None)
    if told.get("nonlinearity", "tanh") not in ("tanh", "relu"):
        raise UsageError(
            f"the {type(module).__name__}'s nonlinearity is {told['nonlinearity']!r}, expected "
            "tanh or relu"
        )
    return told | ({"kind": kind} if kind else {})


def _kind(module: Any) -> tuple[str | None, bool]:
    """Return the kind of a module of torch's own classes, and whether tracing lost what it does."""
    nn: Any = sys.modules["torch"].nn
    names = ("RNN", "GRU", "LSTM", *_CELLS)
    name = next((one for one in names if isinstance(module, getattr(nn, one))), "")
    scripted = getattr(module, "original_name", "") if not name else ""
    name = name or (scripted if scripted in names else "")
    if not name:
        return None, False
    tells = {"RNNCell": "nonlinearity", "GRUCell": "training", "LSTMCell": "training"}
    return name.removesuffix("Cell").lower(), not hasattr(module, tells.get(name, "batch_first"))
