"""ONNX models with `RNN`, `GRU` or `LSTM` nodes, read as the parameters of torch's layers.

What torch's layers cannot do is refused by name. Nothing outside a model's own folder is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.cells.config import KINDS
from rnnparity.errors import UsageError
from rnnparity.problems.onnx_format import OPERATORS, package, rows_to_torch
from rnnparity.types import Array

# Operations that only rearrange what one layer hands to the next.
_REARRANGING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast")


@dataclass(frozen=True)
class Imported:
    """What an ONNX model says.

    Attributes:
        kind: "rnn", "gru" or "lstm".
        parameters: by torch's names, gates in torch's order.
        nonlinearity: "tanh" or "relu".
        batch_first: whether its nodes have `layout=1`.
        reverse: whether it reads sequences backwards only: torch's layer on reversed sequences.
        h0: `[L * D, B, H]`, where it is stored or given.
        c0: an LSTM's, `[L * D, B, H]`, where it is stored or given.
        lengths: `[B]`, if they are stored in the model; else None.
        x: the name of the model's sequence input.
    """

    kind: str
    parameters: dict[str, Array]
    nonlinearity: str
    batch_first: bool
    reverse: bool
    h0: Array | None
    c0: Array | None
    lengths: Array | None
    x: str


def read(
    path: Path, inputs: Mapping[str, Array] | None = None, kind: str | None = None
) -> Imported:
    """Read a model of one or more stacked `RNN`, `GRU` or `LSTM` nodes.

    Args:
        path: of a `.onnx` file.
        inputs: values of the graph's inputs by name, for weights that are not stored in it.
        kind: whose nodes are meant, "rnn", "gru" or "lstm"; None where there is one kind only.

    Raises:
        UsageError: it is no such model, or has what torch's layers cannot do (each named).
    """
    model = _load(path)
    graph = model.graph
    try:
        values = _stored(path, graph) | dict(inputs or {})
        kind, nodes = _nodes(path, graph, kind)
        _check_stacked(path, graph, nodes)
        layers = [_layer(path, node, kind, values) for node in nodes]
    except UsageError:
        raise
    except Exception as error:  # a damaged model: any field may be missing or of a wrong type
        raise UsageError(f"{path} is a damaged ONNX model: {type(error).__name__}") from None
    return _joined(path, kind, nodes, layers)


def _nodes(path: Path, graph: Any, kind: str | None) -> tuple[str, list[Any]]:
    """Return the kind of a graph's recurrent nodes, and the nodes of it."""
    of_kind = {one: [n for n in graph.node if n.op_type == one.upper()] for one in KINDS}
    there = [one for one, nodes in of_kind.items() if nodes]
    if not there:
        operators = sorted({node.op_type for node in graph.node}) or ["nothing"]
        raise UsageError(
            f"{path} has no RNN, GRU or LSTM node, but {_clean(', '.join(operators[:6]))}"
        )
    if kind is None and len(there) > 1:
        raise UsageError(
            f"{path} has nodes of several kinds: give --cell, one of {', '.join(there)}"
        )
    kind = kind or there[0]
    if kind not in there:
        raise UsageError(
            f"{path} has no {kind.upper()} node: expected --cell to be one of {', '.join(there)}"
        )
    return kind, of_kind[kind]


def _load(path: Path) -> Any:
    onnx = package()
    try:
        return onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors have no public base
        raise UsageError(f"{path} is not an ONNX file: {type(error).__name__}") from None


def _stored(path: Path, graph: Any) -> dict[str, Array]:
    """Return the tensors in a graph; what lies in other files must lie beside it."""
    onnx = package()
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
    """One node: parameters of each direction in torch's order, and what else it says.

    `states` are the initial ones, each `[D, B, H]`, None for zeros; the whole is None where one of
    them is not stored.
    """

    cells: list[dict[str, Array]]
    direction: str
    nonlinearity: str
    layout: int
    states: list[Array | None] | None
    lengths: Array | None


def _layer(path: Path, node: Any, kind: str, values: Mapping[str, Array]) -> _Layer:
    helper = package().helper
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    name = f"{path}: {_clean(node.name or node.output[0] or node.op_type)}"
    if node.domain not in ("", "ai.onnx"):
        raise UsageError(f"{name} is of the domain {_clean(node.domain)}, not ONNX's own")
    if "clip" in attributes:
        raise UsageError(
            f"{name} has clip={attributes['clip']:g}: torch.nn.{node.op_type} has none"
        )
    if attributes.get("input_forget"):
        raise UsageError(f"{name} has input_forget=1: torch.nn.LSTM has a forget gate of its own")
    direction = attributes.get("direction", b"forward").decode()
    if direction not in ("forward", "reverse", "bidirectional"):
        raise UsageError(f"{name} has the unknown direction {_clean(direction)}")
    D = 2 if direction == "bidirectional" else 1
    nonlinearity = _nonlinearity(name, kind, D, attributes.get("activations"))
    inputs = [*node.input, *[""] * (8 - len(node.input))]
    _, w, r, b, lengths, h0, c0, p = inputs
    for key in (w, r):
        if key not in values:
            raise UsageError(f"{name}'s {_clean(key) or 'weights'} are not stored in the file")
    for key in (b, p):
        if key and key not in values:
            raise UsageError(f"{name}'s {_clean(key)} is not stored in the file")
    W, R, B = values[w], values[r], values[b] if b else None
    G, H = len(OPERATORS[kind].gates), R.shape[2]
    if W.ndim != 3 or W.shape[:2] != (D, G * H) or R.shape != (D, G * H, H):
        rows = "H" if G == 1 else f"{G} H"
        raise UsageError(
            f"{name} has W {W.shape} and R {R.shape}, expected ({D}, {rows}, I) "
            f"and ({D}, {rows}, H)"
        )
    if attributes.get("hidden_size", H) != H or (B is not None and B.shape != (D, 2 * G * H)):
        raise UsageError(f"{name}'s hidden_size or B do not fit R {R.shape}")
    if p and values[p].any():
        raise UsageError(f"{name} has peepholes (P is not zero): torch.nn.LSTM has none")
    cells = []
    for d in range(D):
        cell = {"weight_ih": W[d], "weight_hh": R[d]}
        if B is not None:
            cell |= {"bias_ih": B[d, : G * H], "bias_hh": B[d, G * H :]}
        cells.append({key: rows_to_torch(value, kind) for key, value in cell.items()})
    after = kind != "gru" or attributes.get("linear_before_reset", 0)
    if not (after or all(_reset_commutes(cell) for cell in cells)):
        raise UsageError(
            f"{name} has linear_before_reset=0, r times h before the product with it: "
            "torch.nn.GRU has r times the product (1)"
        )
    layout = int(attributes.get("layout", 0))
    given = (h0, c0)[: len(KINDS[kind].states)]
    states = None
    if all(key in values for key in given if key):
        found = [np.asarray(values[key]) if key else None for key in given]
        states = [None if s is None else np.swapaxes(s, 0, 1) if layout else s for s in found]
        wrong = [s.shape for s in states if s is not None and s.shape[::2] != (D, H)]
        if wrong:
            raise UsageError(f"{name} has an initial state {wrong[0]}, expected ({D}, B, {H})")
    return _Layer(cells, direction, nonlinearity, layout, states, values.get(lengths))


def _nonlinearity(name: str, kind: str, D: int, activations: Sequence[bytes] | None) -> str:
    """Return the nonlinearity that a node's activations are; ONNX's names have any case."""
    choices = OPERATORS[kind].activations
    if activations is None:
        return next(iter(choices))
    found = [one.decode() for one in activations]
    for nonlinearity, expected in choices.items():
        if [one.lower() for one in found] == [one.lower() for one in expected * D]:
            return nonlinearity
    known = " or ".join(", ".join(expected) for expected in choices.values())
    raise UsageError(
        f"{name} has activations {_clean(', '.join(found))}: torch.nn.{kind.upper()} has {known} "
        "in each direction"
    )


def _reset_commutes(cell: Mapping[str, Array]) -> bool:
    """Whether a GRU's r, applied before or after the product with h, makes no difference.

    R (r h) + b = r (R h + b) for every r and h where R is diagonal and b is zero.
    """
    R = np.split(cell["weight_hh"], 3)[2]
    b = np.split(cell["bias_hh"], 3)[2] if "bias_hh" in cell else np.zeros(1)
    return not (R[~np.eye(len(R), dtype=bool)].any() or b.any())


def _check_stacked(path: Path, graph: Any, nodes: list[Any]) -> None:
    """Make sure that every recurrent node reads the one before it, rearranged at most."""
    made_by = {output: node for node in graph.node for output in node.output}
    for before, node in pairwise([None, *nodes]):
        value, seen = node.input[0], 0
        while value in made_by and made_by[value].op_type in _REARRANGING and seen < 20:
            value, seen = made_by[value].input[0], seen + 1
        if value in made_by if before is None else value != before.output[0]:
            raise UsageError(
                f"{path}: {_clean(node.name or node.output[0])} does not read the {node.op_type} "
                "before it: "
                "expected stacked nodes with nothing but transposes and reshapes between them"
            )


def _joined(path: Path, kind: str, nodes: list[Any], layers: list[_Layer]) -> Imported:
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
    h0, c0 = _initial_states(path, kind, layers)
    return Imported(
        kind,
        parameters,
        first.nonlinearity,
        bool(first.layout),
        first.direction == "reverse",
        h0,
        c0,
        first.lengths,
        nodes[0].input[0],
    )


def _initial_states(
    path: Path, kind: str, layers: list[_Layer]
) -> tuple[Array | None, Array | None]:
    """Return h0 and, an LSTM's, c0, `[L * D, B, H]`; None if none is stored, or not all are."""
    found = [layer.states for layer in layers if layer.states is not None]
    given = [state for states in found for state in states if state is not None]
    if len(found) < len(layers) or not given:
        return None, None
    shapes = sorted({state.shape for state in given})
    if len(shapes) > 1:
        raise UsageError(f"{path} has initial states of several shapes: {shapes}")
    zeros = np.zeros_like(given[0])
    joined = [
        np.concatenate([zeros if state is None else state for state in states])
        for states in zip(*found, strict=True)
    ]
    return joined[0], joined[1] if kind == "lstm" else None
