"""Orders: which index each index holds, by a rule, and the rule in words.

From a table of which index's values could stand at which, rules are drawn up and tried: a shift, a
roll, a reversal, two tiles exchanged, one index for all. What fits none is a list.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnparity.judging.relation.parts import Mask
from rnnparity.judging.relation.words import Axis, told
from rnnparity.types import Array

# An order without a rule is listed for no more indices than this; of it so many are shown.
WITHOUT_RULE, SHOWN = 64, 3

# An index that holds the first of its group does so in groups of one of these sizes.
EVERY = range(3, 17)

# Rules are drawn up from what this many indices could hold, of each no more than so many.
FIRST, HELD = 3, 8


# From indices to where their values come from.
Rule = Callable[[Array], Array]


@dataclass(frozen=True)
class Order:
    """Where the values at each index of an axis come from.

    Attributes:
        words: as they read after "the truth": "of the step before", "with rows 0 and 1 exchanged".
        size: of the axis.
        rule: gives the index where they come from, which may lie outside: there is nothing.
        free: how many indices were chosen by themselves, by no rule.
    """

    words: str
    size: int
    rule: Rule
    free: int = 0

    def source(self) -> Array:
        """Return the source of every index, and -1 where there is none."""
        found = np.asarray(self.rule(np.arange(self.size)))
        return np.where((found >= 0) & (found < self.size), found, -1)

    def of(self, subject: str) -> str:
        """Say what is in this order: "the input of the step before", "the input's rows 0 ..."."""
        if self.words.startswith("with "):
            return f"{subject}'s {self.words.removeprefix('with ')}"
        return f"{subject} {self.words}"

    def taken(self, array: Array, axis: int) -> Array:
        """Return an array in this order, zero where nothing is; one of another size as it is."""
        if array.shape[axis] != self.size:
            return array
        taken = array.take(self.source(), axis)
        taken[(slice(None),) * axis + (self.source() < 0,)] = 0
        return taken

    def also_only(self, axis: Axis, wrong: Sequence[int]) -> Iterator["Order"]:
        """Yield the order, and the same at some indices alone, where it says more than that.

        What is right at others may be so for nothing depends on it: all those between are tried.
        """
        yield self
        source, every, between = self.source(), range(self.size), range(wrong[0], wrong[-1] + 1)
        for some in (range(wrong[0], self.size), between, wrong):
            table = np.arange(self.size)
            table[list(some)] = source[list(some)]
            if (table != source).any():
                place = told(axis, some, [i for i in every if i not in some])
                words = f"{self.words} {place or f'in {axis.many(some)}'}"
                yield Order(words, self.size, _listed(table), self.free)


def orders(axis: Axis, wrong: Sequence[int], holds: Mask) -> Iterator[Order]:
    """Yield the orders that a table allows, the plainest first.

    Args:
        axis: the dimension.
        wrong: the indices that were looked at, ascending.
        holds: `[wrong, indices]`: whether the values of an index could stand at a wrong one.
    """
    at = np.array(wrong)
    seen = [(i, [int(j) for j in np.flatnonzero(row)]) for i, row in zip(wrong, holds, strict=True)]
    some = [(i, j) for i, js in [one for one in seen if one[1]][:FIRST] for j in js[:HELD]]
    for order in _rules(axis, at[0], at[-1], some):
        source = order.source()[at]
        inside = source >= 0
        if holds[inside, source[inside]].all() and inside.any():
            yield order
    complete = axis.named or axis.whole
    if all(js for _, js in seen) and len(wrong) <= WITHOUT_RULE and complete:
        yield _without_rule(axis, {i: js[0] for i, js in seen})


def _rules(axis: Axis, low: int, high: int, some: Sequence[tuple[int, int]]) -> Iterator[Order]:
    """Yield rules that fit one of the pairs (index, what it holds), as far as that tells."""
    size, plural, width = len(axis.labels), axis.plural, high - low + 1
    far = list(dict.fromkeys(j - i for i, j in some if i != j))
    if axis.name == "step" and low == high:
        yield from (_shifted(axis, k) for k in far if abs(k) == 1)
    for j in dict.fromkeys(j for _, j in some):
        yield Order(f"of {axis.one(j)}", size, _constant(j))
    if not (axis.named or axis.whole):
        return
    for k in {abs(k): None for k in far if 2 * abs(k) <= width}:
        yield Order(_exchange_told(axis, low, high, k), size, _exchanged(low, high, k))
    if axis.named:
        return
    yield from (_shifted(axis, k) for k in far)
    some_of = axis.many(range(low, high + 1))
    yield reversal(axis)
    yield Order(f"with {some_of} in reversed order", size, _turned(low + high))
    for k in far:
        yield roll(axis, -k)
        words = f"with {some_of} rolled by {-k % width}, cyclically"
        yield Order(words, size, _rolled(low, width, k))
    yield Order(f"of the {axis.name} modulo {low}", size, _rolled(0, max(low, 1), 0))
    for n in EVERY:
        yield Order(f"of the first of every {n} {plural}", size, _floored(n))


def reversal(axis: Axis) -> Order:
    """Return the order from the last to the first."""
    size = len(axis.labels)
    return Order(f"with {axis.plural} in reversed order", size, _turned(size - 1))


def roll(axis: Axis, by: int) -> Order:
    """Return the order that `np.roll` makes."""
    size = len(axis.labels)
    near = by % size if by % size <= size / 2 else by % size - size
    words = f"rolled by {near} along the {axis.plural}, cyclically"
    return Order(words, size, _rolled(0, size, -by))


def _shifted(axis: Axis, k: int) -> Order:
    side = "before" if k < 0 else "after"
    how_far = f"the {axis.name}" if abs(k) == 1 else f"{abs(k)} {axis.plural}"
    return Order(f"of {how_far} {side}", len(axis.labels), lambda i: i + k)


def _constant(j: int) -> Rule:
    return lambda i: np.full_like(i, j)


def _exchanged(low: int, high: int, k: int) -> Rule:
    def other(i: Array) -> Array:
        there = i + np.where((i - low) // k % 2 == 0, k, -k)
        inside = (i >= low) & (i <= high) & (there >= low) & (there <= high)
        return np.where(inside, there, i)  # what has no neighbour stays

    return other


def _turned(ends: int) -> Rule:
    return lambda i: ends - i


def _rolled(low: int, width: int, k: int) -> Rule:
    return lambda i: low + (i - low + k) % width


def _listed(table: Array) -> Rule:
    return lambda i: np.asarray(table[i])


def _floored(n: int) -> Rule:
    return lambda i: i - i % n


def _exchange_told(axis: Axis, low: int, high: int, k: int) -> str:
    """Say that tiles of k are exchanged with their neighbours, from the first wrong index on."""
    if axis.name == "direction":
        return "with directions exchanged"
    if high - low + 1 > 2 * k:
        tiles = "" if k == 1 else f"tiles of {k} "
        return f"with neighbouring {tiles}{axis.plural} exchanged"
    both = [axis.many(range(first, first + k)) for first in (low, low + k)]
    named = [one.removeprefix(axis.plural).removeprefix(axis.name).strip() for one in both]
    return f"with {axis.plural} {' and '.join(named)} exchanged"


def _without_rule(axis: Axis, chosen: dict[int, int]) -> Order:
    table = np.arange(len(axis.labels))
    table[list(chosen)] = list(chosen.values())
    if axis.named:
        words = f"with {axis.plural} in the order {' '.join(str(axis.labels[j]) for j in table)}"
    else:
        shown = [f"{axis.labels[i]} is {axis.labels[j]}" for i, j in chosen.items()][:SHOWN]
        more = ", ..." if len(chosen) > SHOWN else ""
        words = f"with {axis.plural} in another order ({', '.join(shown)}{more})"
    return Order(words, len(table), _listed(table), len(chosen))
