"""Parameters of a `torch.nn.RNN`, `GRU` or `LSTM`, written as an ONNX model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.cells.config import KINDS, RNNConfig, suffixes
from rnnparity.errors import UsageError
from rnnparity.problems.weights.onnx_format import OPERATORS, package, rows_to_onnx
from rnnparity.types import Array

# An operator set and a file version that releases of the last years read; bfloat16 came later.
OPSET, IR_VERSION = 17, 8
OPSET_OF_BFLOAT16, IR_VERSION_OF_BFLOAT16 = 22, 10


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
        UsageError: onnx is not installed, or the dtype is one that hardly anything reads.
    """
    dtype, name = parameters["weight_hh_l0"].dtype, config.kind.upper()
    if dtype.name not in ("float32", "float64", "float16"):
        raise UsageError(f"ONNX's {name} has no {dtype.name}: convert the weights to float32")
    if len({value.dtype for value in parameters.values()}) > 1:
        raise UsageError(f"the parameters have several dtypes: ONNX's {name} takes one")
    made = model(parameters, config, lengths=lengths)
    package().checker.check_model(made)
    path.write_bytes(made.SerializeToString())


def model(
    parameters: Mapping[str, Array],
    config: RNNConfig,
    *,
    lengths: bool = False,
    initial: bool = True,
    layout: int = 0,
) -> Any:
    """Return a `ModelProto` of a whole network: one node a layer, both directions in it.

    Args:
        parameters: by torch's names, of one dtype: float32, float64, float16 or bfloat16.
        config: their configuration; decides the operator, and the layout of x and output.
        lengths: whether there is an input lengths, int32 `[B]`.
        initial: whether there are inputs h0 (LSTM: and c0) `[L * D, B, H]`; zeros if not.
        layout: of the operator, by its own attribute: 0 is time first, whose x and output are
            transposed around it if `batch_first`; 1 is batch first, which few runtimes have.

    Raises:
        UsageError: onnx is not installed.
        ValueError: layout=1 of a network that is time first.
    """
    if layout and not config.batch_first:
        raise ValueError("layout=1 is batch first: expected a config with batch_first")
    onnx = package()
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kind, operator = config.kind, OPERATORS[config.kind]
    dtype = parameters["weight_hh_l0"].dtype
    element = helper.np_dtype_to_tensor_dtype(dtype)
    late = dtype.name == "bfloat16"
    L, D, H, I = config.num_layers, config.num_directions, config.hidden_size, config.input_size
    stored, nodes = [], []

    def constant(name: str, value: Array) -> str:
        stored.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(operation: str, sources: list[str], target: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operation, sources, [target], **attributes))
        return target

    def transposed(source: str, target: str, *order: int) -> str:
        return node("Transpose", [source], target, perm=order)

    def rows(name: str, suffix: str) -> Array:
        return rows_to_onnx(parameters[f"{name}_{suffix}"], kind)

    named = list(suffixes(config))
    turned = config.batch_first and not layout
    x = transposed("x", "x_time_major", 1, 0, 2) if turned else "x"
    states = KINDS[kind].states
    if initial:
        sizes = constant("sizes", np.full(L, D, np.int64))
        for state in states:
            parts = [f"{state}0_{k}" for k in range(L)]
            source = transposed(f"{state}0", f"{state}0_batch", 1, 0, 2) if layout else f"{state}0"
            nodes.append(helper.make_node("Split", [source, sizes], parts, axis=layout))
    shape = constant("shape", np.array([0, 0, D * H]))
    for k in range(L):
        own = named[k * D : (k + 1) * D]
        W = constant(f"W_{k}", np.stack([rows("weight_ih", suffix) for suffix in own]))
        R = constant(f"R_{k}", np.stack([rows("weight_hh", suffix) for suffix in own]))
        B = ""
        if config.bias:
            both = [[rows("bias_ih", suffix), rows("bias_hh", suffix)] for suffix in own]
            B = constant(f"B_{k}", np.stack([np.concatenate(pair) for pair in both]))
        given = [f"{state}0_{k}" for state in states] if initial else []
        nodes.append(
            helper.make_node(
                kind.upper(),
                [x, W, R, B, "lengths" if lengths else "", *given],
                [f"y_{k}", *(f"{state}_n_{k}" for state in states)],
                hidden_size=H,
                direction="bidirectional" if config.bidirectional else "forward",
                activations=[*operator.activations[config.nonlinearity]] * D,
                **({"layout": 1} if layout else {}),
                **operator.attributes,
            )
        )
        y = f"y_{k}" if layout else transposed(f"y_{k}", f"y_joined_{k}", 0, 2, 1, 3)
        x = node("Reshape", [y, shape], f"output_{k}")
    if turned:
        transposed(x, "output", 1, 0, 2)
    else:
        node("Identity", [x], "output")
    for state in states:
        parts = [f"{state}_n_{k}" for k in range(L)]
        if layout:
            transposed(node("Concat", parts, f"{state}_n_batch", axis=1), f"{state}_n", 1, 0, 2)
        else:
            node("Concat", parts, f"{state}_n", axis=0)
    axes: list[Any] = ["B", "T"] if config.batch_first else ["T", "B"]
    of_state = [config.num_cells, "B", H]
    value = helper.make_tensor_value_info
    inputs = [value("x", element, [*axes, I])]
    inputs += [value(f"{state}0", element, of_state) for state in states if initial]
    if lengths:
        inputs.append(value("lengths", onnx.TensorProto.INT32, ["B"]))
    outputs = [value("output", element, [*axes, D * H])]
    outputs += [value(f"{state}_n", element, of_state) for state in states]
    made = helper.make_model(
        helper.make_graph(nodes, kind, inputs, outputs, stored),
        opset_imports=[helper.make_opsetid("", OPSET_OF_BFLOAT16 if late else OPSET)],
        producer_name="rnnparity",
    )
    made.ir_version = IR_VERSION_OF_BFLOAT16 if late else IR_VERSION
    return made
