"""What ONNX calls torch's recurrent layers: operators, the order of their gates, activations.

Source: the operators RNN, GRU and LSTM of https://onnx.ai/onnx/operators/. Each keeps, per layer, W
`[D, G * H, I]`, R `[D, G * H, H]` and B `[D, 2 * G * H]` (input biases first), with its gates in an
order of its own; stacked layers are nodes whose outputs `[T, D, B, H]` are transposed and reshaped
into the next one's input. `onnx_reader` and `onnx_writer` go by this table.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnparity.cells.config import KINDS
from rnnparity.errors import UsageError
from rnnparity.types import Array


class Operator(NamedTuple):
    """How ONNX has one kind of layer.

    `gates` are torch's, in the order of ONNX's rows; `activations` what it applies in each
    direction, by torch's nonlinearity; `attributes` what makes it torch's formula.
    """

    gates: tuple[str, ...]
    activations: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, Any]


OPERATORS = {
    "rnn": Operator(("h",), {"tanh": ("Tanh",), "relu": ("Relu",)}, {}),
    # ONNX's gate h is torch's n; linear_before_reset=1: r multiplies the product, not the state
    "gru": Operator(("z", "r", "n"), {"tanh": ("Sigmoid", "Tanh")}, {"linear_before_reset": 1}),
    # ONNX's gate c is torch's g
    "lstm": Operator(("i", "o", "f", "g"), {"tanh": ("Sigmoid", "Tanh", "Tanh")}, {}),
}


def rows_to_onnx(rows: Array, kind: str) -> Array:
    """Return a parameter `[G * H, ...]` with its gates in ONNX's order instead of torch's."""
    return _reordered(rows, KINDS[kind].gates, OPERATORS[kind].gates)


def rows_to_torch(rows: Array, kind: str) -> Array:
    """Return a parameter `[G * H, ...]` with its gates in torch's order instead of ONNX's."""
    return _reordered(rows, OPERATORS[kind].gates, KINDS[kind].gates)


def _reordered(rows: Array, given: Sequence[str], wanted: Sequence[str]) -> Array:
    blocks = dict(zip(given, np.split(rows, len(given)), strict=True))
    return np.concatenate([blocks[gate] for gate in wanted])


def package() -> Any:
    """Return the package onnx.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise UsageError("ONNX files need onnx: pip install 'rnnparity[onnx]'") from None
    return onnx
