"""Known mistakes: each a wrong implementation in miniature, under the name of what is wrong.

One definition serves twice. In the dtype under test it is a wrong implementation, on which the
verdict is tested (`rnnparity selftest`). In higher precision it is a hypothesis: what a failing
implementation would return if this were its mistake (`diagnosis`).

mistake         what a mistake is
forward         the commonest inside one layer of the forward pass
composition     the commonest of what is composed around a layer
order           of what a layer reads: steps, rows
stacks          rarer ones around a layer: deep stacks, two directions, lengths
edges           at the edges of kernels: tiles, blocks, counters
precision       of precision: a coarser number somewhere
backward        the commonest of the backward pass
gates           of gated cells: orders of gates, biases, steps nearly right
upstream        of what a backward pass starts from, of derivatives, of what it returns
backward_edges  of the backward pass at the edges of kernels
"""

from rnnparity.judging.mistakes import (
    backward,
    backward_edges,
    composition,
    edges,
    forward,
    gates,
    order,
    precision,
    stacks,
    upstream,
)
from rnnparity.judging.mistakes.mistake import Mistake

__all__ = ["Mistake", "every_mistake"]


def every_mistake() -> tuple[Mistake, ...]:
    """Return all known mistakes, forward before backward, the commonest first."""
    return (
        *forward.MISTAKES,
        *composition.MISTAKES,
        *order.MISTAKES,
        *stacks.MISTAKES,
        *edges.MISTAKES,
        *precision.MISTAKES,
        *backward.MISTAKES,
        *upstream.MISTAKES,
        *backward_edges.MISTAKES,
        *gates.MISTAKES,
    )
