"""ONNX Runtime: the ONNX operator `RNN` on the CPU, one node for one layer in one direction."""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "numpy"
dtypes = ("float32",)  # what its kernel is registered for

# The operator's sets and file versions that releases of the last years read.
OPSET, IR_VERSION = 17, 8


def prepare(cell: Cell, nonlinearity: str) -> onnxruntime.InferenceSession:
    """Make a session for a model of one node, with the weights in it."""
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    H, I = weight_ih.shape
    stored = {"W": weight_ih, "R": weight_hh, "B": np.concatenate((bias_ih, bias_hh))}
    node = helper.make_node(
        "RNN",
        ["x", "W", "R", "B", "", "h0"],
        ["output", "h_n"],
        hidden_size=H,
        activations=[{"tanh": "Tanh", "relu": "Relu"}[nonlinearity]],
    )
    graph = helper.make_graph(
        [node],
        "rnn",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I]),
            helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, "B", H]),
        ],
        [
            helper.make_tensor_value_info("output", TensorProto.FLOAT, ["T", 1, "B", H]),
            helper.make_tensor_value_info("h_n", TensorProto.FLOAT, [1, "B", H]),
        ],
        [numpy_helper.from_array(value[None], name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(_threads())
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _threads() -> str:
    """ONNX Runtime has a pool of its own, which no variable sizes: it gets what OpenMP gets."""
    import os

    return os.environ.get("OMP_NUM_THREADS", "0")


def layer(
    x: Array, h0: Array, session: onnxruntime.InferenceSession, nonlinearity: str
) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        session: what `prepare` returned.
        nonlinearity: as given to `prepare`.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    output, h_n = session.run(None, {"x": np.ascontiguousarray(x), "h0": h0[None]})
    return output[:, 0], h_n[0]
