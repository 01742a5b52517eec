"""ONNX models with recurrent networks, read as the parameters of torch's layers.

What torch's layers cannot do is refused by name. Which nodes are meant: `onnx_stacks`; what is
stored: `onnx_graph`; models whose steps stand one by one: `onnx_unrolled`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.cells.config import KINDS
from rnnparity.errors import UsageError
from rnnparity.problems.weights import onnx_graph, onnx_stacks, onnx_unrolled
from rnnparity.problems.weights.onnx_format import OPERATORS, rows_to_torch
from rnnparity.problems.weights.onnx_graph import Graph, clean
from rnnparity.problems.weights.onnx_stacks import Stack
from rnnparity.types import Array


@dataclass(frozen=True)
class Imported:
    """What an ONNX model says.

    Attributes:
        kind: "rnn", "gru" or "lstm".
        parameters: by torch's names, gates in torch's order.
        nonlinearity: "tanh" or "relu".
        batch_first: whether x is `[B, T, I]`: by its nodes' `layout`, and a Transpose in front.
        is_told: whether the model leaves no doubt of `batch_first`.
        reverse: whether it reads sequences backwards only: torch's layer on reversed sequences.
        h0: `[L * D, B, H]`, where it is stored or given.
        c0: an LSTM's, `[L * D, B, H]`, where it is stored or given.
        lengths: `[B]`, if they are stored in the model; else None.
        x: the name of the sequences that it reads.
        note: what a user should be told of how it was read; "" for nothing.
    """

    kind: str
    parameters: dict[str, Array]
    nonlinearity: str
    batch_first: bool
    is_told: bool
    reverse: bool
    h0: Array | None
    c0: Array | None
    lengths: Array | None
    x: str
    note: str = ""


def read(
    path: Path,
    inputs: Mapping[str, Array] | None = None,
    kind: str | None = None,
    prefix: str | None = None,
) -> Imported:
    """Read the one recurrent network in a model, whatever stands around it.

    Args:
        path: of a `.onnx` file.
        inputs: values of the graph's inputs by name, for weights that are not stored in it.
        kind: whose nodes are meant, "rnn", "gru" or "lstm"; None where there is one kind only.
        prefix: which network is meant, by the name of its first node, or of torch's module.

    Raises:
        UsageError: it is no such model, has several such networks, or has what torch's layers
            cannot do (each named).
    """
    try:
        model, graph = onnx_graph.load(path, inputs)
        stacks = onnx_stacks.candidates(path, graph, kind, prefix)
        if not stacks:
            return _from_unrolled(path, model, graph, kind, prefix)
        return _the_same(path, stacks, prefix)
    except UsageError:
        raise
    except Exception as error:  # a damaged model: any field may be missing or of a wrong type
        raise UsageError(f"{path} is a damaged ONNX model: {type(error).__name__}") from None


def _from_unrolled(
    path: Path, model: Any, graph: Graph, kind: str | None, prefix: str | None
) -> Imported:
    found = onnx_unrolled.read(path, model, graph, kind, prefix)
    notes = (
        f"{path} {onnx_unrolled.UNROLLED}: the weights are taken by torch's names in it",
        _note(found.kind, onnx_stacks.around(graph, found.x)),
    )
    return Imported(
        found.kind,
        found.parameters,
        found.nonlinearity,
        *found.layout,
        reverse=False,
        h0=None,
        c0=None,
        lengths=None,
        x=found.x,
        note="; ".join(filter(None, notes)),
    )


def _note(kind: str, around: str) -> str:
    """Say that x and output are a network's own, where other operators stand around it."""
    own = f"x and output are taken to be the {kind.upper()}'s own"
    return f"the model has {around} it: {own}" if around else ""


def _the_same(path: Path, stacks: Sequence[Stack], prefix: str | None) -> Imported:
    """Read stacks that must be one network: a module that is called twice is there twice."""
    if len(stacks) == 1:
        return _joined(path, stacks[0])
    asked = onnx_stacks.several(path, stacks, prefix)
    try:
        first, *others = (_joined(path, stack) for stack in stacks)
    except UsageError:
        raise asked from None
    for other in others:
        told = [(i.kind, i.nonlinearity, i.batch_first, i.reverse) for i in (first, other)]
        alike = told[0] == told[1] and first.parameters.keys() == other.parameters.keys()
        if not alike or any(
            not np.array_equal(value, other.parameters[name])
            for name, value in first.parameters.items()
        ):
            raise asked
    return first


@dataclass(frozen=True)
class _Layer:
    """One node: parameters of each direction in torch's order, and what else it says.

    `states` are the initial ones, each `[D, B, H]`, None for zeros; the whole is None where one of
    them is not stored.
    """

    cells: list[dict[str, Array]]
    direction: str
    nonlinearity: str
    states: list[Array | None] | None
    lengths: Array | None


def _layer(path: Path, node: Any, kind: str, graph: Graph) -> _Layer:
    attributes = onnx_stacks.attributes_of(node)
    name = f"{path}: {onnx_stacks.label_of(node)}"
    if node.domain not in ("", "ai.onnx"):
        raise UsageError(f"{name} is of the domain {clean(node.domain)}, not ONNX's own")
    if "clip" in attributes:
        raise UsageError(
            f"{name} has clip={attributes['clip']:g}: torch.nn.{node.op_type} has none"
        )
    if attributes.get("input_forget"):
        raise UsageError(f"{name} has input_forget=1: torch.nn.LSTM has a forget gate of its own")
    direction = attributes.get("direction", b"forward").decode()
    if direction not in ("forward", "reverse", "bidirectional"):
        raise UsageError(f"{name} has the unknown direction {clean(direction)}")
    D = 2 if direction == "bidirectional" else 1
    nonlinearity = _nonlinearity(name, kind, D, attributes.get("activations"))
    inputs = [*node.input, *[""] * (8 - len(node.input))]
    _, w, r, b, lengths, h0, c0, p = inputs
    W, R, B, P = (graph.value(key) for key in (w, r, b, p))
    for key, value in ((w, W), (r, R), (b, B), (p, P)):
        if value is None and (key or value is W or value is R):
            which = f"{clean(key) or 'weights'} {'are' if key in (w, r) else 'is'}"
            raise UsageError(f"{name}'s {which} not stored in the file{graph.why_not(key)}")
    assert W is not None
    assert R is not None
    G, H = len(OPERATORS[kind].gates), R.shape[-1]
    if W.ndim != 3 or R.ndim != 3 or W.shape[:2] != (D, G * H) or R.shape != (D, G * H, H):
        rows = "H" if G == 1 else f"{G} H"
        raise UsageError(
            f"{name} has W {W.shape} and R {R.shape}, expected ({D}, {rows}, I) "
            f"and ({D}, {rows}, H)"
        )
    if attributes.get("hidden_size", H) != H or (B is not None and B.shape != (D, 2 * G * H)):
        raise UsageError(f"{name}'s hidden_size or B do not fit R {R.shape}")
    if P is not None and P.any():
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
    if all(graph.is_constant(key) for key in given if key):
        found = [graph.value(key) for key in given]
        states = [None if s is None else np.swapaxes(s, 0, 1) if layout else s for s in found]
        wrong = [s.shape for s in states if s is not None and s.shape[::2] != (D, H)]
        if wrong:
            raise UsageError(f"{name} has an initial state {wrong[0]}, expected ({D}, B, {H})")
    return _Layer(cells, direction, nonlinearity, states, graph.value(lengths))


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
        f"{name} has activations {clean(', '.join(found))}: torch.nn.{kind.upper()} has {known} "
        "in each direction"
    )


def _reset_commutes(cell: Mapping[str, Array]) -> bool:
    """Whether a GRU's r, applied before or after the product with h, makes no difference.

    R (r h) + b = r (R h + b) for every r and h where R is diagonal and b is zero.
    """
    R = np.split(cell["weight_hh"], 3)[2]
    b = np.split(cell["bias_hh"], 3)[2] if "bias_hh" in cell else np.zeros(1)
    return not (R[~np.eye(len(R), dtype=bool)].any() or b.any())


def _joined(path: Path, stack: Stack) -> Imported:
    kind, graph, node = stack.kind, stack.graph, stack.nodes[0]
    layers = [_layer(path, one, kind, graph) for one in stack.nodes]
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
        *onnx_stacks.layout(
            graph, node.input[0], bool(onnx_stacks.attributes_of(node).get("layout"))
        ),
        first.direction == "reverse",
        h0,
        c0,
        first.lengths,
        node.input[0],
        _note(kind, onnx_stacks.around(graph, node.input[0], stack)),
    )


def _initial_states(
    path: Path, kind: str, layers: list[_Layer]
) -> tuple[Array | None, Array | None]:
    """Return h0 and, an LSTM's, c0, `[L * D, B, H]`; None if none is stored, or not all are.

    Zeros are none: exporters store as many as the example's batch had.
    """
    found = [layer.states for layer in layers if layer.states is not None]
    given = [state for states in found for state in states if state is not None]
    if len(found) < len(layers) or not any(state.any() for state in given):
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
