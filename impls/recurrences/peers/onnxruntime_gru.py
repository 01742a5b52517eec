"""ONNX Runtime: the ONNX operator `GRU` on the CPU, one node for one layer in one direction.

Its gates are in the order z r h; with `linear_before_reset` r multiplies the recurrent product and
its bias, as in `torch.nn.GRU`.
"""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from recurrences.peers.onnxruntime_session import session

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

kind = "gru"
framework = "numpy"
dtypes = ("float32",)  # what its kernel is registered for


def prepare(cell: Cell) -> onnxruntime.InferenceSession:
    """Make a session for a model of one node, with the weights in it.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    return session("GRU", [_zrh(parameter) for parameter in cell], linear_before_reset=1)


def _zrh(parameter: Array) -> Array:
    r, z, n = np.split(parameter, 3)
    return np.concatenate((z, r, n))


def layer(x: Array, h0: Array, model: onnxruntime.InferenceSession) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        model: what `prepare` returned.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    output, h_n = model.run(None, {"x": np.ascontiguousarray(x), "h0": h0[None]})
    return output[:, 0], h_n[0]
