"""Parameters of a `torch.nn.RNN`, `GRU` or `LSTM`, written as an ONNX model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.cells.config import KINDS, RNNConfig, suffixes
from rnnparity.errors import UsageError
from rnnparity.problems.weights.onnx_format import OPERATORS, package, rows_to_onnx
from rnnparity.types import Array

# An operator set and a file version that releases of the last years read.
OPSET, IR_VERSION = 17, 8


def write(
    path: Path, parameters: Mapping[str, Array], config: RNNConfig, lengths: bool = False
) -> None:
    """Write a model with inputs x, h0 (LSTM: and c0), and outputs output, h_n (LSTM: and c_n).

    Args:
        path: of the file to write.
        parameters: by torch's names, float32, float64 or float16.
        config: their configuration; decides the operator, and the layout of x and output.
        lengths: whether the model also takes lengths (int32, `[B]`).

    Raises:
        UsageError: onnx is not installed, or the dtype has no such operator.
    """
    onnx = package()
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kind, operator = config.kind, OPERATORS[config.kind]
    dtype = parameters["weight_hh_l0"].dtype
    if dtype.name not in ("float32", "float64", "float16"):
        raise UsageError(
            f"ONNX's {kind.upper()} has no {dtype.name}: convert the weights to float32"
        )
    if len({value.dtype for value in parameters.values()}) > 1:
        raise UsageError(f"the parameters have several dtypes: ONNX's {kind.upper()} takes one")
    element = helper.np_dtype_to_tensor_dtype(dtype)
    L, D, H, I = config.num_layers, config.num_directions, config.hidden_size, config.input_size
    stored, nodes = [], []

    def constant(name: str, value: Array) -> str:
        stored.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def transposed(source: str, target: str, order: list[int]) -> str:
        nodes.append(helper.make_node("Transpose", [source], [target], perm=order))
        return target

    def rows(name: str, suffix: str) -> Array:
        return rows_to_onnx(parameters[f"{name}_{suffix}"], kind)

    named = list(suffixes(config))
    x = transposed("x", "x_time_major", [1, 0, 2]) if config.batch_first else "x"
    states = KINDS[kind].states
    sizes = constant("sizes", np.full(L, D, np.int64))
    for state in states:
        parts = [f"{state}0_{k}" for k in range(L)]
        nodes.append(helper.make_node("Split", [f"{state}0", sizes], parts, axis=0))
    for k in range(L):
        own = named[k * D : (k + 1) * D]
        W = constant(f"W_{k}", np.stack([rows("weight_ih", suffix) for suffix in own]))
        R = constant(f"R_{k}", np.stack([rows("weight_hh", suffix) for suffix in own]))
        B = ""
        if config.bias:
            both = [[rows("bias_ih", suffix), rows("bias_hh", suffix)] for suffix in own]
            B = constant(f"B_{k}", np.stack([np.concatenate(pair) for pair in both]))
        initial = [f"{state}0_{k}" for state in states]
        nodes.append(
            helper.make_node(
                kind.upper(),
                [x, W, R, B, "lengths" if lengths else "", *initial],
                [f"y_{k}", *(f"{state}_n_{k}" for state in states)],
                hidden_size=H,
                direction="bidirectional" if config.bidirectional else "forward",
                activations=[*operator.activations[config.nonlinearity]] * D,
                **operator.attributes,
            )
        )
        joined = transposed(f"y_{k}", f"y_joined_{k}", [0, 2, 1, 3])
        shape = constant(f"shape_{k}", np.array([0, 0, D * H]))
        nodes.append(helper.make_node("Reshape", [joined, shape], [f"output_{k}"]))
        x = f"output_{k}"
    if config.batch_first:
        transposed(x, "output", [1, 0, 2])
    else:
        nodes.append(helper.make_node("Identity", [x], ["output"]))
    for state in states:
        parts = [f"{state}_n_{k}" for k in range(L)]
        nodes.append(helper.make_node("Concat", parts, [f"{state}_n"], axis=0))
    layout: list[Any] = ["B", "T"] if config.batch_first else ["T", "B"]
    of_state = [config.num_cells, "B", H]
    value = helper.make_tensor_value_info
    given = [value("x", element, [*layout, I])]
    given += [value(f"{state}0", element, of_state) for state in states]
    if lengths:
        given.append(value("lengths", onnx.TensorProto.INT32, ["B"]))
    made = [value("output", element, [*layout, D * H])]
    made += [value(f"{state}_n", element, of_state) for state in states]
    graph = helper.make_graph(nodes, kind, given, made, stored)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="rnnparity"
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
