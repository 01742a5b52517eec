"""ONNX models with `RNN` nodes: read as the parameters of a `torch.nn.RNN`, and written from them.

ONNX keeps per layer W `[D, H, I]`, R `[D, H, H]` and B `[D, 2 H]` (input biases first); stacked
layers are nodes whose outputs `[T, D, B, H]` are transposed and reshaped into the next one's input.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.cells.config import RNNConfig, suffixes
from rnnparity.errors import UsageError
from rnnparity.types import Array

# An operator set and a file version that releases of the last years read.
OPSET, IR_VERSION = 17, 8

# Operations that only rearrange what one layer hands to the next.
_REARRANGING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast")


@dataclass(frozen=True)
class Imported:
    """What an ONNX model says.

    Attributes:
        parameters: by torch's names.
        nonlinearity: "tanh" or "relu".
        batch_first: whether its nodes have `layout=1`.
        reverse: whether it reads sequences backwards only: `torch.nn.RNN` on reversed sequences.
        h0: `[L * D, B, H]`, where it is stored or given.
        lengths: `[B]`, if they are stored in the model; else None.
        x: the name of the model's sequence input.
    """

    parameters: dict[str, Array]
    nonlinearity: str
    batch_first: bool
    reverse: bool
    h0: Array | None
    lengths: Array | None
    x: str


def read(path: Path, inputs: Mapping[str, Array] | None = None) -> Imported:
    """Read a model of one or more stacked `RNN` nodes.

    Args:
        path: of a `.onnx` file.
        inputs: values of the graph's inputs by name, for weights that are not stored in it.

    Raises:
        UsageError: it is no such model, or has what `torch.nn.RNN` cannot do (each named).
    """
    model = _load(path)
    graph = model.graph
    try:
        values = _stored(path, graph) | dict(inputs or {})
        nodes = [node for node in graph.node if node.op_type == "RNN"]
        if not nodes:
            kinds = sorted({node.op_type for node in graph.node}) or ["nothing"]
            raise UsageError(f"{path} has no RNN node, but {_clean(', '.join(kinds[:6]))}")
        _check_stacked(path, graph, nodes)
        layers = [_layer(path, node, values) for node in nodes]
    except UsageError:
        raise
    except Exception as error:  # a damaged model: any field may be missing or of a wrong type
        raise UsageError(f"{path} is a damaged ONNX model: {type(error).__name__}") from None
    return _joined(path, nodes, layers, values)


def write(
    path: Path, parameters: Mapping[str, Array], config: RNNConfig, lengths: bool = False
) -> None:
    """Write a model with inputs x, h0 (and lengths, int32), and outputs output and h_n.

    Args:
        path: of the file to write.
        parameters: by torch's names, float32 or float64.
        config: their configuration; decides the layout of x and output.
        lengths: whether the model takes sequences of unequal length.

    Raises:
        UsageError: onnx is not installed, or the dtype has no RNN operator.
    """
    onnx = _onnx()
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    dtype = parameters["weight_hh_l0"].dtype
    if dtype.name not in ("float32", "float64", "float16"):
        raise UsageError(f"ONNX's RNN has no {dtype.name}: convert the weights to float32")
    if len({value.dtype for value in parameters.values()}) > 1:
        raise UsageError("the parameters have several dtypes: ONNX's RNN takes one")
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    D, H, I = config.num_directions, config.hidden_size, config.input_size
    stored, nodes = [], []

    def constant(name: str, value: Array) -> str:
        stored.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def transposed(source: str, target: str, order: list[int]) -> str:
        nodes.append(helper.make_node("Transpose", [source], [target], perm=order))
        return target

    named = list(suffixes(config))
    x = transposed("x", "x_time_major", [1, 0, 2]) if config.batch_first else "x"
    states = [f"h0_{k}" for k in range(config.num_layers)]
    nodes.append(
        helper.make_node(
            "Split", ["h0", constant("sizes", np.full(len(states), D, np.int64))], states, axis=0
        )
    )
    for k, h0 in enumerate(states):
        own = named[k * D : (k + 1) * D]
        weights = {
            f"{letter}_{k}": np.stack([parameters[f"{name}_{suffix}"] for suffix in own])
            for letter, name in (("W", "weight_ih"), ("R", "weight_hh"))
        }
        biases = [
            np.concatenate([parameters[f"{name}_{suffix}"] for name in ("bias_ih", "bias_hh")])
            if config.bias
            else np.zeros(2 * H, dtype)
            for suffix in own
        ]
        names = [constant(name, value) for name, value in weights.items()]
        names.append(constant(f"B_{k}", np.stack(biases)))
        nodes.append(
            helper.make_node(
                "RNN",
                [x, *names, "lengths" if lengths else "", h0],
                [f"y_{k}", f"h_n_{k}"],
                hidden_size=H,
                direction="bidirectional" if config.bidirectional else "forward",
                activations=[config.nonlinearity.capitalize()] * D,
            )
        )
        joined = transposed(f"y_{k}", f"y_joined_{k}", [0, 2, 1, 3])
        nodes.append(
            helper.make_node(
                "Reshape",
                [joined, constant(f"shape_{k}", np.array([0, 0, D * H]))],
                [f"output_{k}"],
            )
        )
        x = f"output_{k}"
    if config.batch_first:
        transposed(x, "output", [1, 0, 2])
    else:
        nodes.append(helper.make_node("Identity", [x], ["output"]))
    nodes.append(
        helper.make_node("Concat", [f"h_n_{k}" for k in range(len(states))], ["h_n"], axis=0)
    )
    sizes: list[Any] = ["B", "T"] if config.batch_first else ["T", "B"]
    state = [config.num_cells, "B", H]
    value = helper.make_tensor_value_info
    given = [value("x", kind, [*sizes, I]), value("h0", kind, state)]
    if lengths:
        given.append(value("lengths", onnx.TensorProto.INT32, ["B"]))
    made = [value("output", kind, [*sizes, D * H]), value("h_n", kind, state)]
    graph = helper.make_graph(nodes, "rnn", given, made, stored)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="rnnparity"
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _onnx() -> Any:
    try:
        import onnx
    except ModuleNotFoundError:
        raise UsageError("ONNX files need onnx: pip install 'rnnparity[onnx]'") from None
    return onnx


def _load(path: Path) -> Any:
    onnx = _onnx()
    try:
        return onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors have no public base
        raise UsageError(f"{path} is not an ONNX file: {type(error).__name__}") from None


def _stored(path: Path, graph: Any) -> dict[str, Array]:
    """Return the tensors in a graph; what lies in other files must lie beside it."""
    onnx = _onnx()
    values = {}
    folder = path.parent.resolve()
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            place = (folder / entries.get("location", "")).resolve()
            if not place.is_relative_to(folder) or not place.is_file():
                raise UsageError(
                    f"{path} keeps {_clean(tensor.name)} in "
                    f"{_clean(entries.get('location', ''))!r}: "
                    "expected a file in its own folder"
                )
            size = int(np.prod(list(tensor.dims), dtype=object)) * 8
            if size > 8 * max(place.stat().st_size, 1):
                raise UsageError(
                    f"{path}: {_clean(tensor.name)} is larger than the file that holds it"
                )
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        values[tensor.name] = onnx.numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            values[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    return values


def _clean(text: str) -> str:
    """Return a name out of a file as one line without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)[:80]


@dataclass(frozen=True)
class _Layer:
    """One node."""

    cells: list[dict[str, Array]]
    direction: str
    nonlinearity: str
    layout: int
    h0: Array | None
    lengths: Array | None


def _layer(path: Path, node: Any, values: Mapping[str, Array]) -> _Layer:
    onnx = _onnx()
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    name = _clean(node.name or node.output[0] or "RNN")
    if node.domain not in ("", "ai.onnx"):
        raise UsageError(f"{path}: {name} is of the domain {_clean(node.domain)}, not ONNX's own")
    if "clip" in attributes:
        raise UsageError(f"{path}: {name} has clip={attributes['clip']:g}: torch.nn.RNN has none")
    direction = attributes.get("direction", b"forward").decode()
    if direction not in ("forward", "reverse", "bidirectional"):
        raise UsageError(f"{path}: {name} has the unknown direction {_clean(direction)}")
    D = 2 if direction == "bidirectional" else 1
    activations = [a.decode() for a in attributes.get("activations", [b"Tanh"] * D)]
    foreign = [a for a in activations if a.lower() not in ("tanh", "relu")]
    if foreign or len(set(activations)) > 1 or len(activations) != D:
        raise UsageError(
            f"{path}: {name} has activations {_clean(', '.join(activations))}: "
            "torch.nn.RNN has tanh or relu, one for all directions"
        )
    inputs = [*node.input, *[""] * (6 - len(node.input))]
    _, w, r, b, lengths, h0 = inputs
    for key in (w, r, b, lengths, h0):
        if key in (w, r) and key not in values:
            raise UsageError(
                f"{path}: {name}'s {_clean(key) or 'weights'} are not stored in the file"
            )
    weight_ih, weight_hh = values[w], values[r]
    if b and b not in values:
        raise UsageError(f"{path}: {name}'s {_clean(b)} is not stored in the file")
    H = weight_hh.shape[2]
    if weight_ih.ndim != 3 or weight_ih.shape[:2] != (D, H) or weight_hh.shape != (D, H, H):
        raise UsageError(
            f"{path}: {name} has W {weight_ih.shape} and R {weight_hh.shape}, expected "
            f"({D}, H, I) and ({D}, H, H)"
        )
    if attributes.get("hidden_size", H) != H or (b and values[b].shape != (D, 2 * H)):
        raise UsageError(f"{path}: {name}'s hidden_size or B do not fit R {weight_hh.shape}")
    cells = []
    for d in range(D):
        cell = {"weight_ih": weight_ih[d], "weight_hh": weight_hh[d]}
        if b:
            cell |= {"bias_ih": values[b][d, :H], "bias_hh": values[b][d, H:]}
        cells.append(cell)
    layout = int(attributes.get("layout", 0))
    state = values.get(h0)
    if state is not None and layout:
        state = np.swapaxes(state, 0, 1)
    nonlinearity = activations[0].lower()
    return _Layer(cells, direction, nonlinearity, layout, state, values.get(lengths))


def _check_stacked(path: Path, graph: Any, nodes: list[Any]) -> None:
    """Make sure that every RNN node reads the one before it, rearranged at most."""
    made_by = {output: node for node in graph.node for output in node.output}
    for before, node in pairwise([None, *nodes]):
        value, seen = node.input[0], 0
        while value in made_by and made_by[value].op_type in _REARRANGING and seen < 20:
            value, seen = made_by[value].input[0], seen + 1
        if value in made_by if before is None else value != before.output[0]:
            raise UsageError(
                f"{path}: {_clean(node.name or node.output[0])} does not read the RNN before it: "
                "expected stacked RNN nodes with nothing but transposes and reshapes between them"
            )


def _joined(
    path: Path, nodes: list[Any], layers: list[_Layer], values: Mapping[str, Array]
) -> Imported:
    for what in ("direction", "nonlinearity", "layout"):
        found = {getattr(layer, what) for layer in layers}
        if len(found) > 1:
            raise UsageError(f"{path} mixes {what}s {sorted(map(str, found))} in its layers")
    first = layers[0]
    has_bias = any("bias_ih" in cell for layer in layers for cell in layer.cells)
    parameters: dict[str, Array] = {}
    for k, layer in enumerate(layers):
        for cell, ending in zip(layer.cells, ("", "_reverse"), strict=False):
            if has_bias and "bias_ih" not in cell:
                zeros = np.zeros(len(cell["weight_hh"]), cell["weight_hh"].dtype)
                cell |= {"bias_ih": zeros, "bias_hh": zeros}
            parameters |= {f"{name}_l{k}{ending}": value for name, value in cell.items()}
    states = [layer.h0 for layer in layers]
    given = [state for state in states if state is not None]
    h0 = np.concatenate(given) if len(given) == len(states) else None
    return Imported(
        parameters,
        first.nonlinearity,
        bool(first.layout),
        first.direction == "reverse",
        h0,
        first.lengths,
        nodes[0].input[0],
    )
