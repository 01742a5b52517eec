"""ONNX Runtime's sessions: a model of one recurrent node, for one layer in one direction."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]

# The operator's sets and file versions that releases of the last years read.
OPSET, IR_VERSION = 17, 8


def session(
    operator: str, cell: Sequence[Array], states: Sequence[str] = ("h",), **attributes: Any
) -> onnxruntime.InferenceSession:
    """Make a session for a model of one node on the CPU, with the weights in it.

    It takes x, `[T, B, I]`, and each initial state, h0 say, `[1, B, H]`; it returns the output,
    `[T, 1, B, H]`, and each final state, `[1, B, H]`.

    Args:
        operator: "RNN", "GRU" or "LSTM".
        cell: `(weight_ih [G*H, I], weight_hh [G*H, H], bias_ih, bias_hh [G*H])`, gates in the
            operator's order.
        states: what there is an initial and a final one of.
        attributes: of the node.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    I, H = weight_ih.shape[1], weight_hh.shape[1]
    stored = {"W": weight_ih, "R": weight_hh, "B": np.concatenate((bias_ih, bias_hh))}
    before, after = [f"{state}0" for state in states], [f"{state}_n" for state in states]
    node = helper.make_node(
        operator,
        ["x", "W", "R", "B", "", *before],
        ["output", *after],
        hidden_size=H,
        **attributes,
    )

    def told(name: str, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [node],
        operator.lower(),
        [told("x", "T", "B", I), *(told(name, 1, "B", H) for name in before)],
        [told("output", "T", 1, "B", H), *(told(name, 1, "B", H) for name in after)],
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
