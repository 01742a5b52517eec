"""Models whose recurrence an exporter wrote out step by step, read by torch's names.

`torch.onnx.export(dynamo=True)` unrolls `nn.RNN` at the length of its example. The names of biases
stay; a weight is what is multiplied before its bias is added.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnparity.cells.config import KINDS
from rnnparity.errors import UsageError
from rnnparity.problems.weights.onnx_graph import Graph, clean
from rnnparity.problems.weights.onnx_stacks import PARAMETER, attributes_of, dotted, layout
from rnnparity.types import Array
from rnnparity.words import option

UNROLLED = "was unrolled by torch.onnx.export(dynamo=True), the default since torch 2.9"
_WAY_OUT = "export with dynamo=False, or give the state dict"
# What torch's newer exporter notes at nodes that came from a layer; cells have no other way out.
_FROM_LAYER = re.compile(r"torch\.nn\.modules\.rnn\.(RNN|GRU|LSTM)\b")
# What stands between a product and the nonlinearity that takes the sum.
_PRODUCTS = ("MatMul", "Gemm")
_MOVED = ("Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze")
_ON_THE_WAY = (*_PRODUCTS, *_MOVED, "Add", "Transpose", "Unsqueeze")
_IN_A_STEP = ("Tanh", "Relu", "Sigmoid", "Mul", "Sub")
_QUANTISED = "its weights are stored in 8 bits: give the model as it was before"


class Unrolled(NamedTuple):
    """What was found: parameters by torch's names; `layout` as `onnx_stacks.layout` tells it."""

    kind: str
    parameters: dict[str, Array]
    nonlinearity: str
    layout: tuple[bool, bool]
    x: str


def read(path: Path, model: Any, graph: Graph, kind: str | None, prefix: str | None) -> Unrolled:
    """Read the one layer whose parameters have torch's names.

    Raises:
        UsageError: there is none that is there whole, or there are several; or it is another model.
    """
    readers: dict[str, list[Any]] = {}
    for node in graph.nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    groups: dict[str, dict[str, str]] = {}
    for name in graph.stored():
        if match := PARAMETER.fullmatch(name):
            groups.setdefault(match[1] or "", {})[match[2]] = name
    whole = {}
    for home, names in groups.items():
        parameters = _parameters(graph, names, readers)
        found = _kind(parameters)
        if found is not None:
            whole[home] = (found, parameters)
    there = [one for one in KINDS if any(one == found for found, _ in whole.values())]
    if kind is not None and there:
        if kind not in there:
            raise UsageError(
                f"{path} has no {kind.upper()}: give {option('cell')}, one of {', '.join(there)}"
            )
        whole = {home: one for home, one in whole.items() if one[0] == kind}
    if prefix is not None and whole:
        if dotted(prefix) not in whole:
            listed = ", ".join(clean(home) or "(no prefix)" for home in whole)
            raise UsageError(f"{path} has no RNN under the prefix {prefix!r}: there is {listed}")
        whole = {dotted(prefix): whole[dotted(prefix)]}
    if not whole:
        raise UsageError(_told(path, model, graph, groups, readers))
    if len(whole) > 1:
        listed = ", ".join(clean(home) or "(no prefix)" for home in whole)
        raise UsageError(f"{path} holds several RNNs: give {option('prefix')}, one of {listed}")
    ((home, (found, parameters)),) = whole.items()
    names = groups[home]
    product, nonlinearity = _followed(graph, readers, names)
    x = product.input[0] if product is not None else ""
    if found == "rnn" and nonlinearity is None:
        raise UsageError(f"{path} {UNROLLED}: {_WAY_OUT}")
    nonlinearity = nonlinearity if found == "rnn" and nonlinearity else "tanh"
    return Unrolled(found, parameters, nonlinearity, layout(graph, x, own=False), x)


def _parameters(
    graph: Graph, names: Mapping[str, str], readers: Mapping[str, list[Any]]
) -> dict[str, Array]:
    found = {}
    for parameter, name in names.items():
        value = graph.value(name)
        assert value is not None
        found[parameter] = value
        weight = parameter.replace("bias", "weight")
        if weight in names:
            continue
        for node in readers.get(name, ()):
            if node.op_type == "Gemm" and node.input[2] == name:
                product, transposed = node, bool(attributes_of(node).get("transB", 0))
            else:
                other = next((one for one in node.input if one != name), "")
                product, transposed = graph.maker(other), False
            if product is None or product.op_type not in _PRODUCTS:
                continue
            value = graph.value(product.input[1])
            if value is not None and value.ndim == 2:
                found[weight] = np.ascontiguousarray(value if transposed else value.T)
    return found


def _kind(parameters: Mapping[str, Array]) -> str | None:
    """Return of what kind parameters are; None if some are missing."""
    ends = {name.partition("_l")[2] for name in parameters}
    weights = [f"weight_{of}_l{end}" for end in ends for of in ("ih", "hh")]
    if not parameters or any(parameters.get(name, np.zeros(0)).ndim != 2 for name in weights):
        return None
    rows, columns = parameters.get("weight_hh_l0", np.zeros((0, 0))).shape
    return next((k for k in KINDS if columns and rows == len(KINDS[k].gates) * columns), None)


def _followed(
    graph: Graph, readers: Mapping[str, list[Any]], names: Mapping[str, str]
) -> tuple[Any, str | None]:
    """Return the product of x with the first layer's weight, and the nonlinearity after it."""
    name = names.get("bias_ih_l0") or names["weight_ih_l0"]
    wanted, seen, product, nonlinearity = [name], {name}, None, None
    while wanted and nonlinearity is None:
        for node in readers.get(wanted.pop(0), ()):
            makers = [node, *(graph.maker(one) for one in node.input)]
            products = [n for n in makers if n is not None and n.op_type in _PRODUCTS]
            product = product or next(iter(products), None)
            if node.op_type in ("Tanh", "Relu"):
                nonlinearity = str(node.op_type).lower()
            elif node.op_type in _ON_THE_WAY:
                wanted += [output for output in node.output if output not in seen]
                seen.update(node.output)
    return product, nonlinearity


def _told(
    path: Path,
    model: Any,
    graph: Graph,
    groups: Mapping[str, Any],
    readers: Mapping[str, list[Any]],
) -> str:
    """Return what to say of a model in which no recurrent network was found."""
    nodes = [node for one in graph.walk() for node in one.nodes]
    for node in nodes:
        if node.domain == "com.microsoft" and node.op_type.startswith("DynamicQuantize"):
            return f"{path} has {clean(node.op_type)} of com.microsoft: {_QUANTISED}"
    noted = any(_FROM_LAYER.search(entry.value) for node in nodes for entry in node.metadata_props)
    if noted or groups or (model.producer_name == "pytorch" and _recurs(graph, readers)):
        return f"{path} {UNROLLED}: {_WAY_OUT}"
    operators = sorted({node.op_type for node in nodes}) or ["nothing"]
    loops = sorted({"Loop", "Scan"} & {*operators})
    told = f"{path} has no RNN, GRU or LSTM node, but {clean(', '.join(operators[:6]))}"
    if loops:
        told += f"; what a {loops[0]} repeats is not read: give the state dict"
    return told


def _recurs(graph: Graph, readers: Mapping[str, list[Any]]) -> bool:
    """Whether a product leads to another with the same weight: a step, and the step after it."""
    for name, nodes in readers.items():
        products = [n for n in nodes if n.op_type in _PRODUCTS and n.input[1:2] == [name]]
        if len(products) < 2 or not graph.is_constant(name):
            continue
        wanted, seen = [*products[0].output], set(products[0].output)
        while wanted:
            for node in readers.get(wanted.pop(), ()):
                if any(node is product for product in products[1:]):
                    return True
                if node.op_type in _ON_THE_WAY or node.op_type in _IN_A_STEP:
                    wanted += [output for output in node.output if output not in seen]
                    seen.update(node.output)
    return False
