"""ONNX Runtime: the ONNX operator `LSTM` on the CPU, one node for one layer in one direction.

Its gates are in the order i o f c.
"""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from recurrences.peers.onnxruntime_session import session

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]

kind = "lstm"
framework = "numpy"
dtypes = ("float32",)  # what its kernel is registered for


def prepare(cell: Cell) -> onnxruntime.InferenceSession:
    """Make a session for a model of one node, with the weights in it.

    Args:
        cell: `(weight_ih [4H, I], weight_hh [4H, H], bias_ih [4H], bias_hh [4H])`, rows i f g o.
    """
    return session("LSTM", [_iofc(parameter) for parameter in cell], states=("h", "c"))


def _iofc(parameter: Array) -> Array:
    i, f, g, o = np.split(parameter, 4)
    return np.concatenate((i, o, f, g))


def layer(
    x: Array, h0: Array, c0: Array, model: onnxruntime.InferenceSession
) -> tuple[Array, Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        c0: initial cell state, `[B, H]`.
        model: what `prepare` returned.

    Returns:
        The output `[T, B, H]`, h_n and c_n `[B, H]`.
    """
    given = {"x": np.ascontiguousarray(x), "h0": h0[None], "c0": c0[None]}
    output, h_n, c_n = model.run(None, given)
    return output[:, 0], h_n[0], c_n[0]
