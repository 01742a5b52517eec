"""Which nodes of an ONNX model are one recurrent network, how it is called, and how it takes x.

Nodes are stacked where each reads the one before it, rearranged at most, and none is handed the
final state of another; what else stands around them does not matter.
"""

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnparity.cells.config import KINDS
from rnnparity.errors import UsageError
from rnnparity.problems.weights.onnx_format import package
from rnnparity.problems.weights.onnx_graph import Graph, clean
from rnnparity.words import option

# What leaves every number where it is (in evaluation mode Dropout drops nothing) ...
_INERT = ("Identity", "Cast", "Dropout")
# ... and what only rearranges: one layer may hand its output to the next through these.
_REARRANGING = (*_INERT, "Transpose", "Reshape", "Squeeze", "Unsqueeze")
# What all layers of one of torch's modules have in common, and ONNX's defaults.
_COMMON = {"direction": b"forward", "hidden_size": None, "activations": None, "layout": 0}
# A parameter of torch's, with the path of its module in front.
PARAMETER = re.compile(r"(?:(.+)\.)?((?:weight|bias)_(?:ih|hh)_l\d+(?:_reverse)?)")

_Placed = tuple[Graph, Any]  # a node, and the graph that it stands in


@dataclass(frozen=True)
class Stack:
    """Nodes of one kind, each of which reads the one before, and the graph that they stand in."""

    graph: Graph
    nodes: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """Of what kind of layers: "rnn", "gru" or "lstm"."""
        return str(self.nodes[0].op_type).lower()

    @property
    def label(self) -> str:
        """What it is called: its first node's name, or the module's where that is a number only."""
        node = self.nodes[0]
        homes = sorted(filter(None, homes_of(self.graph, node)))
        return homes[0] if homes and node.name.startswith("node_") else label_of(node)


def label_of(node: Any) -> str:
    """Return a node's name, or what stands for it."""
    return clean(node.name or next(filter(None, node.output), node.op_type))


def attributes_of(node: Any) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {a.name: package().helper.get_attribute_value(a) for a in node.attribute}


def candidates(path: Path, graph: Graph, kind: str | None, prefix: str | None) -> list[Stack]:
    """Return the stacks of a model that may be meant; [] if it has no recurrent node.

    Args:
        path: of the file.
        graph: of the model; nodes in the bodies inside of it count, too.
        kind: which kind is meant; None for any.
        prefix: the name of a stack's first node or of one node, or the path of torch's module, with
            slashes or dots; None for any.

    Raises:
        UsageError: there is none of that kind, or none with that name.
    """
    every = [(one, n) for one in graph.walk() for n in one.nodes if _is_recurrent(n)]
    there = [one for one in KINDS if any(n.op_type == one.upper() for _, n in every)]
    if every and kind is not None and kind not in there:
        raise UsageError(
            f"{path} has no {kind.upper()} node: give {option('cell')}, one of {', '.join(there)}"
        )
    every = [(one, n) for one, n in every if kind in (None, n.op_type.lower())]
    if prefix is None or not every:
        return _stacked(every)
    wanted = dotted(prefix)
    found = []
    for one, node in every:
        if wanted and dotted(node.name or node.output[0]) == wanted:
            homes = homes_of(one, node)
            mates = _stacked([(g, n) for g, n in every if homes_of(g, n) == homes])
            whole = [stack for stack in mates if stack.nodes[0] is node]
            found += whole or [Stack(one, (node,))]
    found = found or _stacked([(g, n) for g, n in every if _is_within(wanted, g, n)])
    if not found:
        listed = ", ".join(stack.label for stack in _stacked(every))
        raise UsageError(f"{path} has no RNN under the prefix {prefix!r}: there is {listed}")
    return found


def several(path: Path, stacks: Sequence[Stack], prefix: str | None) -> UsageError:
    """Return what to say where several stacks may be meant."""
    labels = ", ".join(stack.label for stack in stacks[:12]) + ", ..." * (len(stacks) > 12)
    kinds = Counter(stack.kind for stack in stacks)
    if len(set(map(str, labels.split(", ")))) < len(stacks[:12]):  # one module, called twice
        labels = ", ".join(label_of(stack.nodes[0]) for stack in stacks[:12])
    ways = f"give {option('prefix')}, one of {labels}"
    if len(kinds) == len(stacks):
        told = ", ".join(kind for kind in KINDS if kind in kinds)
        ways = f"give {option('cell')}, one of {told}; or {ways[5:]}"
        return UsageError(f"{path} has nodes of several kinds: {ways}")
    what = "several RNNs" if set(kinds) == {"rnn"} else "several recurrent networks"
    under = f" under {prefix!r}" if prefix else ""
    return UsageError(f"{path} holds {what}{under}: {ways}")


def layout(graph: Graph, x: str, own: bool) -> tuple[bool, bool]:
    """Return whether a network takes `[B, T, I]`, and whether the model leaves no doubt of it.

    A Transpose in front, as torch's exporter writes it for `batch_first`, turns round what the
    network has of its own.

    Args:
        graph: that it stands in.
        x: the value that it reads.
        own: whether it takes that as `[B, T, I]`.
    """
    swaps, seen = 0, set[str]()
    while (maker := graph.maker(x)) is not None and x not in seen:
        seen.add(x)
        swap = maker.op_type == "Transpose" and _perm(maker) == [1, 0, 2]
        if not swap and maker.op_type not in _INERT:
            # another operation made it: then only the nearest Transpose is the network's own
            return own != bool(swaps), own or bool(swaps)
        swaps += swap
        x = maker.input[0]
    return own != bool(swaps % 2), True


def around(graph: Graph, x: str, stack: Stack | None = None) -> str:
    """Say which operators stand before and after a network; "" if none does.

    Those count whose numbers are others than they take: what is fed to the model is not x then, and
    what it returns is not the network's output.

    Args:
        graph: that it stands in.
        x: the value that it reads.
        stack: its nodes; None where they are not known, and with them what comes after.
    """
    before: dict[int, Any] = {}
    wanted = [x]
    while wanted:
        node = graph.maker(wanted.pop())
        if node is not None and id(node) not in before:
            before[id(node)] = node
            inputs = node.input[:1] if node.op_type in _REARRANGING else node.input
            wanted += [name for name in inputs if name and not graph.is_constant(name)]
    own = stack.nodes if stack else ()
    after: dict[int, Any] = {}
    made = {name for node in own for name in node.output if name}
    for node in graph.nodes if made else ():
        if made & {*node.input} and not any(node is one for one in own):
            after[id(node)] = node
            made |= {*filter(None, node.output)} if node.op_type != "Shape" else set()
    found = []
    for nodes, where in ((reversed(before.values()), "before"), (after.values(), "after")):
        operators = dict.fromkeys(clean(node.op_type) for node in nodes)
        if told := [one for one in operators if one not in (*_REARRANGING, "Concat", "Shape")]:
            found.append(f"{', '.join(told)} {where}")
    return " and ".join(found)


def _perm(transpose: Any) -> list[int]:
    return list(attributes_of(transpose).get("perm", ()))


def _is_recurrent(node: Any) -> bool:
    return node.op_type in {kind.upper() for kind in KINDS}


def dotted(name: str) -> str:
    """Return the path of a module, given with slashes or dots, as torch writes it."""
    return name.replace("/", ".").strip(".")


def homes_of(graph: Graph, node: Any) -> set[str]:
    """Return the paths of the module that a node may have come from, with dots.

    The one in its name (torch's older exporter), in its metadata (the newer one), and in the names
    of its weights.
    """
    homes = {dotted(node.name).rpartition(".")[0]} if "/" in node.name else set()
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            try:
                scopes = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError):
                continue
            homes.add(str(scopes[-2]) if isinstance(scopes, list) and len(scopes) > 1 else "")
    for name in graph.sources(node.input[1] if len(node.input) > 1 else ""):
        if match := PARAMETER.fullmatch(name):
            homes.add(match[1] or "")
    return homes


def _is_within(wanted: str, graph: Graph, node: Any) -> bool:
    homes = homes_of(graph, node)
    if not wanted:
        return "" in homes
    homes.add(dotted(node.name))
    return any(home == wanted or home.startswith(f"{wanted}.") for home in homes)


def _stacked(every: Sequence[_Placed]) -> list[Stack]:
    """Join nodes of which each reads the one before, and only one reads it."""
    reads = [_node_read(graph, node) for graph, node in every]
    readers = Counter(id(read) for read in reads)
    stacks: dict[int, Stack] = {}  # by the last node
    for (graph, node), read in zip(every, reads, strict=True):
        before = stacks.get(id(read))
        if before and readers[id(read)] == 1 and _joins(before, graph, node):
            del stacks[id(read)]
            stacks[id(node)] = Stack(graph, (*before.nodes, node))
        else:
            stacks[id(node)] = Stack(graph, (node,))
    return list(stacks.values())


def _node_read(graph: Graph, node: Any) -> Any:
    """Return the recurrent node whose whole output a node reads; None if there is none."""
    value, swapped, seen = node.input[0], False, set[str]()
    while (maker := graph.maker(value)) is not None and value not in seen:
        seen.add(value)
        if _is_recurrent(maker):
            return maker if value == maker.output[0] and not swapped else None
        if maker.op_type not in _REARRANGING:
            return None
        if maker.op_type == "Transpose":
            # T and B stand first and second, but in [T, D, B, H], which is what layout=0 makes
            perm, layout_1 = _perm(maker), attributes_of(node).get("layout", 0)
            second = 2 if len(perm) == 4 and not layout_1 else 1
            swapped ^= len(perm) > second and perm.index(0) > perm.index(second)
        value = maker.input[0]
    return None


def _joins(before: Stack, graph: Graph, node: Any) -> bool:
    """Whether a node that reads a stack can be one more layer of the same module of torch's."""
    last = before.nodes[-1]
    if last.op_type != node.op_type:
        return False
    one, other = attributes_of(last), attributes_of(node)
    if any(one.get(key, default) != other.get(key, default) for key, default in _COMMON.items()):
        return False
    # no layer begins with the final state of one below it: that is a decoder, behind its encoder
    wanted, seen = [*node.input[5:7]], set[str]()
    while wanted:
        value = wanted.pop()
        maker = graph.maker(value)
        if maker is None or value in seen:
            continue
        seen.add(value)
        if any(maker is layer for layer in before.nodes):
            return False
        if maker.op_type != "Shape" and not _is_recurrent(maker):
            wanted += maker.input
    return True
