"""ONNX Runtime: the ONNX operator `GRU` on the CPU, one node for one layer in one direction.

Its gates are in the order z r h; with `linear_before_reset` r multiplies the recurrent product and
its bias, as in `torch.nn.GRU`.
"""

import os
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

kind = "gru"
framework = "numpy"
dtypes = ("float32",)  # what its kernel is registered for

# The operator's sets and file versions that releases of the last years read.
OPSET, IR_VERSION = 17, 8


def prepare(cell: Cell) -> onnxruntime.InferenceSession:
    """Make a session for a model of one node, with the weights in it.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = (_zrh(parameter) for parameter in cell)
    I, H = weight_ih.shape[1], weight_hh.shape[1]
    stored = {"W": weight_ih, "R": weight_hh, "B": np.concatenate((bias_ih, bias_hh))}
    node = helper.make_node(
        "GRU",
        ["x", "W", "R", "B", "", "h0"],
        ["output", "h_n"],
        hidden_size=H,
        linear_before_reset=1,
    )
    graph = helper.make_graph(
        [node],
        "gru",
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
    # It has a pool of its own, which no variable sizes: it gets what OpenMP gets.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _zrh(parameter: Array) -> Array:
    r, z, n = np.split(parameter, 3)
    return np.concatenate((z, r, n))


def layer(x: Array, h0: Array, session: onnxruntime.InferenceSession) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        session: what `prepare` returned.

    Returns:
        The output `[T, B, H]` and h_n `[B, H]`.
    """
    output, h_n = session.run(None, {"x": np.ascontiguousarray(x), "h0": h0[None]})
    return output[:, 0], h_n[0]
