"""What an ONNX file holds: its nodes, wherever they stand, and its values, stored or computed.

A value is known where it is stored, or made of stored ones by operations that exporters put between
weights and the nodes that read them. Nothing outside a model's own folder is read, only what is
asked for is loaded, and what is computed is bounded before it is.
"""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.errors import UsageError
from rnnparity.problems.weights.onnx_format import package
from rnnparity.types import Array

# Values made of constants may have so many times as many numbers as were read from the file, and so
# many more: exporters copy a weight some ten times on its way; a small file must not fill memory.
TIMES_READ, BESIDES = 32, 2**20
# Nodes after local functions are put in place; functions that call functions multiply.
MOST_NODES = 10**6


def clean(text: str) -> str:
    """Return a name out of a file as one line without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)[:80]


def _together(*inputs: Array) -> int:
    return sum(value.size for value in inputs)


def _broadcast(*inputs: Array) -> int:
    return prod(np.broadcast_shapes(*(value.shape for value in inputs)))


def _expanded(x: Array, shape: Array) -> int:
    return prod(np.broadcast_shapes(x.shape, tuple(int(n) for n in shape)))


def _product(a: Array, b: Array, *rest: Array) -> int:
    inner = max(min(a.shape[-2:] + b.shape[-2:]), 1)
    return int(a.size // inner) * int(b.size // inner)


# What makes no more numbers than it takes, and what takes values of several shapes together.
_NO_LARGER = """
    Abs Cast CastLike Clip Concat Constant DequantizeLinear Dropout DynamicQuantizeLinear Exp
    Flatten Identity Log Neg QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean
    ReduceSum ReduceSumSquare Reshape Shape Sigmoid Size Slice Softmax Split Sqrt Squeeze Tanh
    Transpose Unsqueeze
"""
_TOGETHER = "Add And Div Equal Less Max Min Mul Not Or Pow Sub Where"
# The operations that constants may go through, each with how many numbers it makes at most.
_LARGEST: Mapping[str, Callable[..., int]] = {
    **dict.fromkeys(_NO_LARGER.split(), _together),
    **dict.fromkeys(_TOGETHER.split(), _broadcast),
    "Expand": _expanded,
    "ConstantOfShape": lambda shape: prod(int(n) for n in shape.ravel()),
    "Tile": lambda x, repeats: x.size * prod(int(n) for n in repeats.ravel()),
    "Gather": lambda x, indices: x.size // max(min(x.shape), 1) * indices.size,
    "Range": lambda start, limit, step: int(abs((limit - start) / step)) + 1,
    "MatMul": _product,
    "Gemm": _product,
}


class Graph:
    """A graph of a model, or a body in one of its nodes, which sees the names around it.

    Attributes:
        path: of the file.
        nodes: in their order.
        inputs: names that are handed in.
        inner: the bodies of its nodes (If, Loop, Scan).
    """

    def __init__(
        self,
        path: Path,
        model: Any,
        graph: Any,
        outer: "Graph | None" = None,
        given: Mapping[str, Array] | None = None,
    ) -> None:
        """See what is there; nothing is loaded or computed yet.

        Args:
            path: of the file.
            model: the `ModelProto`.
            graph: the `GraphProto` in it.
            outer: what it is a body in.
            given: values of inputs by name.
        """
        self.path, self.nodes = path, list(graph.node)
        self._made_by = {output: node for node in self.nodes for output in node.output if output}
        self._model, self._outer = model, outer
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._values = dict(given or {})
        self.inputs = {value.name for value in graph.input} - self._tensors.keys()
        self._place = {id(node): k for k, node in enumerate(self.nodes)}
        self._constants = {*self._tensors, *self._values}
        for node in self.nodes:
            known = node.op_type in _LARGEST and node.domain in ("", "ai.onnx")
            if known and all(self.is_constant(name) for name in node.input if name):
                self._constants.update(output for output in node.output if output)
        self._room: list[int] = outer._room if outer else [BESIDES]
        self.inner = [
            Graph(path, model, body, self)
            for node in self.nodes
            for attribute in node.attribute
            for body in [attribute.g, *attribute.graphs]
            if body.node
        ]

    def walk(self) -> Iterator["Graph"]:
        """Yield this graph and all that are inside of it."""
        yield self
        for inner in self.inner:
            yield from inner.walk()

    def stored(self) -> list[str]:
        """Return the names of what is stored in it."""
        return list(self._tensors)

    def maker(self, name: str) -> Any:
        """Return the node that makes a value, here or around here; None if none does."""
        if name in self._made_by or self._outer is None or name in self.inputs:
            return self._made_by.get(name)
        return self._outer.maker(name)

    def is_constant(self, name: str) -> bool:
        """Whether a value is stored, or made of what is stored."""
        if name in self._constants:
            return True
        seen = name in self._made_by or name in self.inputs
        return self._outer is not None and not seen and self._outer.is_constant(name)

    def sources(self, name: str) -> Iterator[str]:
        """Yield the names of stored values that a value is made of."""
        for node in self._before(name):
            yield from (one for one in node.input if one in self._tensors)
        if name in self._tensors:
            yield name

    def why_not(self, name: str) -> str:
        """Return why a value is not known, to go after "is not stored in the file"."""
        nodes = self._before(name)
        for one in [name, *(one for node in nodes for one in node.input)]:
            if one in self.inputs:
                return f": {clean(one)} is handed in, as an input"
        other = [n.op_type for n in nodes if n.op_type not in _LARGEST or n.domain]
        return f", but made by {clean(other[0])}, which is not computed here" if other else ""

    def value(self, name: str) -> Array | None:
        """Return a value; None if it is not constant.

        Raises:
            UsageError: it lies in a file that is not there, or cannot be computed.
        """
        if not name or not self.is_constant(name):
            return None
        if name in self._values:
            return self._values[name]
        if name not in self._constants:
            assert self._outer is not None
            return self._outer.value(name)
        made: dict[str, Array] = {}
        for node in self._before(name):
            inputs = {n: made[n] if n in made else self.value(n) for n in node.input if n}
            made |= self._computed(node, inputs)
        found = made[name] if name in made else self._loaded(name, self._tensors[name])
        self._values[name] = found
        return found

    def _before(self, name: str) -> list[Any]:
        """Return the nodes of this graph that a value comes from, in their order."""
        found, wanted = {}, [name]
        while wanted:
            node = self._made_by.get(wanted.pop())
            if node is not None and id(node) not in found:
                found[id(node)] = node
                wanted += node.input
        return sorted(found.values(), key=lambda node: self._place[id(node)])

    def _computed(self, node: Any, inputs: Mapping[str, Any]) -> dict[str, Array]:
        onnx = package()
        names = [output for output in node.output if output]
        what = f"{self.path}: {clean(names[0])}"
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            return {names[0]: self._loaded(names[0], node.attribute[0].t)}
        try:
            largest = _LARGEST[node.op_type](*(inputs[name] for name in node.input if name))
            if largest > self._room[0]:
                raise UsageError(f"{what} is made of constants, and too large: {largest} numbers")
            self._room[0] -= largest
            graph = onnx.helper.make_graph(
                [node],
                "constants",
                [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in inputs],
                [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in names],
            )
            from onnx.reference import ReferenceEvaluator

            opsets = self._model.opset_import
            if node.op_type == "DequantizeLinear":  # what onnx computes begins with 19
                own = next((one.version for one in opsets if one.domain in ("", "ai.onnx")), 19)
                opsets = [onnx.helper.make_opsetid("", max(own, 19))]
            one = onnx.helper.make_model(graph, opset_imports=opsets)
            one.ir_version = self._model.ir_version
            made = ReferenceEvaluator(one).run(None, dict(inputs))
        except UsageError:
            raise
        except Exception as error:  # ONNX's and NumPy's, for shapes and types that do not fit
            told = type(error).__name__
            raise UsageError(f"{what} cannot be computed by {node.op_type}: {told}") from None
        return dict(zip(names, map(np.asarray, made), strict=True))

    def _loaded(self, name: str, tensor: Any) -> Array:
        """Return a stored tensor; what lies in another file must lie beside this one."""
        onnx = package()
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            folder = self.path.parent.resolve()
            entries = {entry.key: entry.value for entry in tensor.external_data}
            location = clean(entries.get("location", ""))
            place = (folder / entries.get("location", "")).resolve()
            if not place.is_relative_to(folder) or not place.is_file():
                raise UsageError(
                    f"{self.path} keeps {clean(name)} in {location!r}: "
                    "expected a file in its own folder"
                )
            if prod(tensor.dims) > 2 * max(place.stat().st_size, 1):  # four bits each, or more
                raise UsageError(
                    f"{self.path}: {clean(name)} is larger than the file that holds it"
                )
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        found = np.asarray(onnx.numpy_helper.to_array(tensor))
        self._room[0] += TIMES_READ * found.size
        return found


def load(path: Path, given: Mapping[str, Array] | None = None) -> tuple[Any, Graph]:
    """Return a model and its graph, with local functions put in place.

    Args:
        path: of a `.onnx` file.
        given: values of the graph's inputs by name.

    Raises:
        UsageError: it is no ONNX file.
    """
    onnx = package()
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors have no public base
        raise UsageError(f"{path} is not an ONNX file: {type(error).__name__}") from None
    if model.functions:
        if _nodes_inlined(model) > MOST_NODES:
            raise UsageError(f"{path} has more than {MOST_NODES} nodes in its functions")
        try:
            from onnx import inliner

            model = inliner.inline_local_functions(model)
        except Exception as error:  # of onnx's C++
            told = type(error).__name__
            raise UsageError(f"{path} has functions that cannot be put in place: {told}") from None
    return model, Graph(path, model, model.graph, given=given)


def _nodes_inlined(model: Any) -> float:
    """Return how many nodes a model has once its functions are put in place; they may nest."""
    functions = {(f.domain, f.name): f for f in model.functions}
    counts: dict[tuple[str, str], float] = {}

    def count(nodes: Any, depth: int) -> float:
        if depth > len(functions):
            return float("inf")
        total = 0.0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in functions and key not in counts:
                counts[key] = count(functions[key].node, depth + 1)
            total += counts.get(key, 1)
        return total

    return count(model.graph.node, 0)
