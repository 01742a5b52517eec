"""Gradients of parameters by what makes them: each step's share, each row's, and other factors.

    dW = sum over steps t and rows b of  g[t, b]^T f[t, b]

with g the gradient of a product and f what that product read.
"""

from collections.abc import Iterator

import numpy as np

from rnnparity.cells.config import suffixes
from rnnparity.cells.recurrence import Trace
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.relation.equal import OF_SLICE, Other
from rnnparity.judging.relation.parts import Part
from rnnparity.judging.relation.words import Axis
from rnnparity.problems.quantities import quantity
from rnnparity.types import Array


def others(part: Part, reference: Reference) -> Iterator[Other]:
    """Yield what else the gradient of a parameter may equal.

    Args:
        part: of the gradient.
        reference: of the case.
    """
    true = reference.true
    for name, value in true.values.items():
        if quantity(name).is_parameter and name != part.name and value.size == part.true.size:
            unit = reference.units[name].reshape(part.true.shape)
            yield Other(f"the truth's {name}", value.reshape(part.true.shape), unit, part.judged)
    of = quantity(part.name)
    suffix = f"l{of.layer}" + "_reverse" * of.reverse
    trace = true.traces[list(suffixes(true.config)).index(suffix)]
    gradient = trace.grad_input if of.kind.endswith("ih") else trace.grad_state
    yield from _other_factors(part, trace, gradient)
    factor = _factor(trace, of.kind)
    steps = Axis("step", tuple(range(len(gradient))))
    rows = Axis("row", tuple(int(row) for row in reference.problem.rows))
    for axis, dimension in ((steps, 0), (rows, 1)):
        yield from _some_shares(part, gradient, factor, axis, dimension)


def _factor(trace: Trace, kind: str) -> Array:
    """Return what a parameter is multiplied with, `[T, R, n]`."""
    if kind.startswith("bias"):
        return np.ones((*trace.x.shape[:2], 1), trace.x.dtype)
    return trace.x if kind == "weight_ih" else _before(trace)


def _before(trace: Trace) -> Array:
    return np.concatenate((trace.h0[None], trace.output[:-1]))


def _other_factors(part: Part, trace: Trace, gradient: Array) -> Iterator[Other]:
    """The right gradient of a product, with another factor than what it read; or the other way."""
    kind = quantity(part.name).kind
    factor = _factor(trace, kind)
    found = []
    if kind == "weight_hh":
        found.append(("made of the state after each step", gradient, trace.output))
    if kind.startswith("weight"):
        early, late = np.roll(factor, 1, axis=0), np.roll(factor, -1, axis=0)
        found.append(("made of the step before, of the last at the first", gradient, early))
        found.append(("made of the step after, of the first at the last", gradient, late))
    if trace.step.gates > 1:
        other = trace.grad_state if gradient is trace.grad_input else trace.grad_input
        side = "state" if gradient is trace.grad_input else "input"
        found.append((f"made with the gradient of the {side}'s product", other, factor))
    for words, left, right in found:
        yield _other(part, f"the gradient {words}", _sum(left, right))


def _other(part: Part, words: str, values: Array) -> Other:
    # Shares and sums of other terms err like the whole: by its largest unit.
    unit = np.broadcast_to(part.unit.max(), part.true.shape)
    return Other(words, values.reshape(part.true.shape), unit, part.judged)


def _sum(left: Array, right: Array) -> Array:
    """Sum the products of `[T, R, r]` and `[T, R, c]` over steps and rows, `[r, c]`."""
    total: Array = left.reshape(-1, left.shape[2]).T @ right.reshape(-1, right.shape[2])
    return total


def _some_shares(
    part: Part, gradient: Array, factor: Array, axis: Axis, dimension: int
) -> Iterator[Other]:
    """Yield the sum over some of the steps, or of the rows, where a few elements are like it."""
    count = len(axis.labels)
    if count == 1:
        return
    some = np.flatnonzero(part.wrong)
    some = some[:: max(1, len(some) // OF_SLICE)]
    row, column = np.unravel_index(some, (gradient.shape[2], factor.shape[2]))
    each = (gradient[:, :, row] * factor[:, :, column]).sum(axis=1 - dimension)
    total = each.sum(axis=0)
    up_to = np.cumsum(each, axis=0)
    found, limit = part.found.flat[some], LIMIT * part.unit.max()
    sums = (total - each, each, total + each, up_to, total - up_to)
    words = ("without {}", "of {} alone", "with {} counted twice", "of {} alone", "of {} alone")
    for which, some_of in enumerate(sums):
        for k in np.flatnonzero((np.abs(some_of - found) <= limit).all(axis=1)):
            one, until = 1 * (np.arange(count) == k), 1 * (np.arange(count) <= k)
            weight = (1 - one, one, 1 + one, until, 1 - until)[which]
            if (weight == 1).all() or not weight.any():
                continue
            alone = [int(i) for i in np.flatnonzero(weight)]
            told = axis.many(alone) if "alone" in words[which] else axis.one(int(k))
            told += " (the last)" if told == axis.one(count - 1) else ""
            weighed = gradient * np.expand_dims(weight, (1 - dimension, 2))
            yield _other(part, f"the sum {words[which].format(told)}", _sum(weighed, factor))
