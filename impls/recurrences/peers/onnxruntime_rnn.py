"""ONNX Runtime: the ONNX operator `RNN` on the CPU, one node for one layer in one direction."""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from recurrences.peers.onnxruntime_session import session

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "numpy"
dtypes = ("float32",)  # what its kernel is registered for


def prepare(cell: Cell, nonlinearity: str) -> onnxruntime.InferenceSession:
    """Make a session for a model of one node, with the weights in it."""
    return session("RNN", cell, activations=[{"tanh": "Tanh", "relu": "Relu"}[nonlinearity]])


def layer(
    x: Array, h0: Array, model: onnxruntime.InferenceSession, nonlinearity: str
) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        model: what `prepare` returned.
        nonlinearity: as given to `prepare`.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    output, h_n = model.run(None, {"x": np.ascontiguousarray(x), "h0": h0[None]})
    return output[:, 0], h_n[0]
