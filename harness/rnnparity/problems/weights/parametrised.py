"""Weights that are kept as a formula: weight norm, spectral norm, pruning, dropped weights.

Each is computed as torch computes it in evaluation mode, in float64, rounded once. What has no
plain formula is named, with the line that removes it.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnparity.errors import UsageError
from rnnparity.problems.weights.tensors import numbers
from rnnparity.types import Array

_NEW = re.compile(r"((?:.*\.)?)parametrizations\.(\w+)\.(original[01]?|\d+\..+)")
_OLD = re.compile(r"(.*(?:weight|bias)_(?:ih|hh)(?:_l\d+(?:_reverse)?)?)_(g|v|orig|u|mask|raw)")


def resolved(tensors: dict[str, Any], label: str) -> dict[str, Any]:
    """Return tensors with every parametrised one in place of what it is computed from.

    Args:
        tensors: by name. A name that is there itself (a live module's) is left as it is.
        label: what holds them, for messages.
    """
    plain, parts = {}, dict[str, dict[str, Any]]()
    for name, value in tensors.items():
        new, old = _NEW.fullmatch(name), _OLD.fullmatch(name)
        if new:
            parts.setdefault(new[1] + new[2], {})[new[3]] = value
        elif old:
            parts.setdefault(old[1], {})[old[2]] = value
        else:
            plain[name] = value
    return {n: Unresolved(n, of, label) for n, of in parts.items() if n not in plain} | plain


@dataclass(frozen=True)
class Unresolved:
    """A parametrised tensor, computed once its layer is chosen: others may have no formula."""

    name: str
    parts: dict[str, Any]
    label: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor, which that of its largest part is; () if there is none."""
        shapes = [tuple(getattr(part, "shape", ())) for part in self.parts.values()]
        return max(shapes, key=lambda shape: (len(shape), *shape), default=())

    def computed(self) -> Array:
        """Return the tensor.

        Raises:
            UsageError: no formula is known for its parts.
        """
        given = {n: numbers(f"{self.name} ({n})", v, self.label) for n, v in self.parts.items()}
        parts = {n: v.astype(np.float64) for n, v in given.items()}
        match tuple(sorted(parts)):
            case ("original0", "original1"):
                value = _weight_norm(parts["original0"], parts["original1"])
            case ("g", "v"):
                value = _weight_norm(parts["g"], parts["v"])
            case ("0._u", "0._v", "original"):
                value = _spectral_norm(parts["original"], parts["0._u"], parts["0._v"])
            case ("orig", "u", "v"):
                value = _spectral_norm(parts["orig"], parts["u"], parts["v"])
            case ("mask", "orig"):  # torch.nn.utils.prune
                value = parts["orig"] * parts["mask"]
            case ("raw",):  # weights dropped while training (AWD-LSTM): all count in evaluation
                value = parts["raw"]
            case _:
                raise UsageError(self._unknown())
        of = next(v.dtype for n, v in given.items() if n in ("original", "original1") or len(n) < 5)
        return value.astype(given["orig"].dtype if "orig" in given else of)

    def _unknown(self) -> str:
        name = self.name.rpartition(".")[2]
        new = any(part.startswith("original") for part in self.parts)
        line = (
            f"torch.nn.utils.parametrize.remove_parametrizations(module, {name!r})"
            if new
            else f"torch.nn.utils.remove_weight_norm(module, {name!r})"
        )
        return (
            f"{self.label}: {self.name} is parametrised ({', '.join(sorted(self.parts))}), by a "
            f"formula that the file does not tell: {line}, then save the state dict"
        )


def _weight_norm(g: Array, v: Array) -> Array:
    """Return `g v / |v|`; g has size 1 along what the norm is taken over, or is one number."""
    axes = tuple(k for k, size in enumerate(g.shape) if size == 1) or None
    if g.ndim and g.ndim != v.ndim:
        raise UsageError(f"weight norm has g {g.shape} and v {v.shape}, which do not fit")
    if g.ndim and axes is None:
        return np.asarray(g * np.sign(v))  # every element is a vector of its own
    return np.asarray(
        g * (v / np.sqrt(np.sum(v * v, axis=axes if g.ndim else None, keepdims=True)))
    )


def _spectral_norm(weight: Array, u: Array, v: Array) -> Array:
    return np.asarray(weight / (u @ weight @ v))
