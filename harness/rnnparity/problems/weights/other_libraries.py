"""Parameters as Keras and Flax name them, turned into torch's.

Their kernels are `[in, G * H]`, torch's weights `[G * H, in]`; most have one bias, which becomes
bias_ih, with zeros for bias_hh. Keras has gates z r h of a GRU and i f c o of an LSTM; Flax has
each gate by its name, or all in torch's order (`dense_i`).
"""

import re
from typing import Any

import numpy as np

from rnnparity.cells.config import KINDS
from rnnparity.errors import UsageError
from rnnparity.problems.weights.tensors import numbers
from rnnparity.types import Array

_KERAS = re.compile(r"((?:.*\.)?)(kernel|recurrent_kernel|bias)(?::0)?")
_VARS = re.compile(r"((?:.*\.)?)vars\.([012])")  # Keras 3 numbers them, in this order:
_NUMBERED = {"0": "kernel", "1": "recurrent_kernel", "2": "bias"}
_FLAX = re.compile(r"((?:.*\.)?)(dense_[ih]|[ih](?:[ifgorzn]_?)?)\.(kernel|bias)(?:\.value)?")
_GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": ("",)}


def keras_layers(tensors: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return, by prefix, what has a kernel and a recurrent kernel."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in tensors.items():
        dotted = name.replace("/", ".")
        if match := _KERAS.fullmatch(dotted):
            found.setdefault(match[1], {})[match[2]] = value
        elif match := _VARS.fullmatch(dotted):
            found.setdefault(match[1], {})[_NUMBERED[match[2]]] = value
    return {
        prefix: own
        for prefix, own in found.items()
        if {"kernel", "recurrent_kernel"} <= own.keys()
        and all(len(_shape(own[name])) == 2 for name in ("kernel", "recurrent_kernel"))
    }


def flax_layers(tensors: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return, by prefix, the gates (`ii.kernel`, ...) of what has all of one kind's."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in tensors.items():
        if match := _FLAX.fullmatch(name.replace("/", ".")):
            gate = match[2].rstrip("_")  # nnx has if_, since `if` is a word of Python
            found.setdefault(match[1], {})[f"{gate}.{match[3]}"] = value
    return {prefix: own for prefix, own in found.items() if flax_kind(own)}


def flax_kind(own: dict[str, Any]) -> str | None:
    """Return the kind whose gates these are; None for none's."""
    there = {name.partition(".")[0] for name in own if name.endswith(".kernel")}
    if there == {"dense_i", "dense_h"}:
        return _kind(own["dense_h.kernel"])
    for kind, gates in _GATES.items():
        if there == {part + gate for part in "ih" for gate in gates}:
            return kind
    return None


def keras_kind(own: dict[str, Any]) -> str | None:
    """Return the kind whose recurrent kernel `[H, G * H]` this is; None for none's."""
    return _kind(own["recurrent_kernel"])


def _kind(kernel: Any) -> str | None:
    shape = _shape(kernel)
    if len(shape) != 2 or 0 in shape:
        return None
    return next((k for k, kind in KINDS.items() if shape[1] == len(kind.gates) * shape[0]), None)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(np.shape(value) if isinstance(value, list) else getattr(value, "shape", ()))


def from_keras(own: dict[str, Any], label: str) -> dict[str, Array]:
    """Return Keras' parameters by torch's names.

    Raises:
        UsageError: shapes that do not fit, or a GRU that torch's cannot be.
    """
    arrays = {name: numbers(name, value, label) for name, value in own.items()}
    kernel, recurrent, bias = (arrays.get(n) for n in ("kernel", "recurrent_kernel", "bias"))
    assert kernel is not None
    assert recurrent is not None
    kind, columns = keras_kind(own), recurrent.shape[1]
    shapes = f"kernel {kernel.shape}, recurrent_kernel {recurrent.shape}"
    shapes += "" if bias is None else f", bias {bias.shape}"
    wanted = [(2, columns), (columns,)] if kind == "gru" else [(columns,)]
    if (
        kind is None
        or kernel.shape[1] != columns
        or (bias is not None and bias.shape not in wanted)
    ):
        raise UsageError(
            f"{label} has {shapes}, expected Keras' kernel [I, G H], recurrent_kernel [H, G H], "
            "bias [G H] (a GRU's [2, 3 H]); gates of other libraries, in other orders, are not "
            "guessed"
        )
    if kind == "gru" and (bias is None or bias.ndim == 1):
        tells = (
            "has one bias: reset_after=False" if bias is not None else "does not tell it by bias"
        )
        raise UsageError(
            f"{label} has {shapes}: torch's GRU is Keras' with reset_after=True, and this {tells}; "
            f"expected bias (2, {columns})"
        )
    if bias is None:
        both = []
    elif bias.ndim == 2:
        both = [bias[0], bias[1]]
    else:
        both = [bias, np.zeros_like(bias)]
    rows = [kernel.T, recurrent.T, *both]
    if kind == "gru":
        z_r_h = [np.split(one, 3) for one in rows]
        rows = [np.concatenate((r, z, h)) for z, r, h in z_r_h]
    return dict(
        zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), rows, strict=False)
    )


def from_flax(own: dict[str, Any], label: str) -> dict[str, Array]:
    """Return Flax's parameters by torch's names.

    Raises:
        UsageError: gates whose shapes do not fit each other.
    """
    arrays = {name: numbers(name, value, label) for name, value in own.items()}
    dense, kind = "dense_i.kernel" in arrays, flax_kind(own)
    assert kind is not None
    gates = ("",) if dense else _GATES[kind]
    parameters = {}
    for part, name in (("i", "ih"), ("h", "hh")):
        kernels, biases = [], []
        for gate in gates:
            at = f"dense_{part}" if dense else part + gate
            kernel = arrays[f"{at}.kernel"]
            kernels.append(kernel.T)
            biases.append(arrays.get(f"{at}.bias", np.zeros(kernel.shape[-1:], kernel.dtype)))
        if len({one.shape for one in kernels}) > 1:
            raise UsageError(f"{label} has gates of Flax whose kernels are of several shapes")
        parameters[f"weight_{name}_l0"] = np.concatenate(kernels)
        parameters[f"bias_{name}_l0"] = np.concatenate(biases)
    if not any(name.endswith(".bias") for name in arrays):
        return {n: value for n, value in parameters.items() if n.startswith("weight")}
    return parameters
