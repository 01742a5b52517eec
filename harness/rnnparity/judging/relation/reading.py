"""What was read in another order: the steps or rows of the input, the rows of a state.

What a layer read at a step can be told from its output there and the state before: each step and
row is tried at the first wrong one, and steps are followed from there on. What is found is made
into a mistake, for the whole case to be run with it: by itself it proves nothing.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from rnnparity.judging.difference import judged_part, z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.mistakes import Mistake
from rnnparity.judging.reference import Reference
from rnnparity.judging.relation import wiring
from rnnparity.judging.relation.layer import ROWS, Layer, layers, run
from rnnparity.judging.relation.orders import Order, orders
from rnnparity.judging.relation.words import Axis
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Setup
from rnnparity.types import Array

# So many elements of the output must be wrong for what fits them to be no chance.
ENOUGH = 16

# For how many steps and rows each is tried, and how often all steps are.
STEPS, OF_BATCH, SEARCHES = 512, 256, 8


def misread(case: Case, output: Array, reference: Reference) -> Iterator[Mistake]:
    """Yield mistakes that a wrong output looks like at its first wrong step, or may come from.

    Args:
        case: what was run.
        output: as the implementation returned it, of the right shape.
        reference: of the case.
    """
    found = judged_part(case, "output", output, reference)
    if (z_scores(found, "output", reference) > LIMIT).sum() < ENOUGH:
        return
    if case.config.num_layers > 1:  # whose inner layers are not seen
        return
    # Of two directions the first wrong one: the other does the same, or nothing that is known.
    layer = next(layers(found, reference))
    yield from _steps(layer)
    yield from _layouts(layer)
    yield from _blocks(layer)
    if len(reference.problem.rows) == case.B:
        yield from _rows(layer)
    yield from wiring.mistakes(layer)


def _steps(layer: Layer) -> Iterator[Mistake]:
    """Follow some rows from their first wrong step, and find which step's input each read."""
    T, start = len(layer.found), layer.start
    whole = True if layer.lengths is None else layer.lengths == T
    rows = np.flatnonzero(layer.wrong.any(axis=(0, 2)) & whole)[:ROWS]
    if not len(rows) or T == 1:
        return
    from_x = layer.from_x(layer.trace.x[:, rows])
    before = [state[rows] for state in layer.before(start)]
    read, searches, last = list(range(start)), 0, start
    for t in range(start, min(T, STEPS)):
        from_h = layer.from_h(before[0])
        guesses = [(last + 1) % T, last - 1, last, t] if t > start else []
        for tried in (guesses, list(range(T))):
            after = layer.after(from_x[tried], from_h, before)
            near = np.abs(after[0] - layer.found[t, rows]) <= layer.limit[t]
            fits = np.flatnonzero(near.all(axis=(1, 2)))
            searches += tried is not guesses
            if len(fits):
                break
        if not len(fits) or searches > SEARCHES:
            return
        last = tried[fits[0]] % T
        read.append(last)
        before = [state[fits[0]] for state in after]
    other = [t for t, s in enumerate(read) if s != t]
    holds = np.zeros((len(other), T), bool)
    holds[np.arange(len(other)), [read[t] for t in other]] = True
    axis = Axis("step", tuple(range(T)))
    for order in orders(axis, other, holds) if other else ():
        for one in order.also_only(axis, other):
            yield from _of_input(one, 0)


def _rows(layer: Layer) -> Iterator[Mistake]:
    """Try the input of every row for every other at the first wrong step; and the state."""
    t, count = layer.start, layer.found.shape[1]
    if count == 1 or count > OF_BATCH:
        return
    before, axis = layer.before(t), Axis("row", tuple(range(count)))
    from_x, from_h = layer.from_x(layer.trace.x[t]), layer.from_h(before[0])
    wrong = [int(row) for row in np.flatnonzero(layer.wrong[t].any(axis=1))]

    def held(of: Callable[[int], tuple[Array, Array, list[Array]]]) -> Iterator[Order]:
        holds = np.zeros((len(wrong), count), bool)
        for k, row in enumerate(wrong):
            near = np.abs(layer.after(*of(row))[0] - layer.found[t, row]) <= layer.limit[t]
            holds[k] = near.all(axis=1)
        for order in orders(axis, wrong, holds):
            yield from order.also_only(axis, wrong)

    for order in held(lambda row: (from_x, from_h[row], [state[row] for state in before])):
        yield from _of_input(order, 1)
    for order in held(lambda row: (from_x[row], from_h, before)):
        yield _mistake(order.of("the initial state"), partial(_begun, order))
        yield _mistake(order.of("the state before"), partial(_carried, order))


def _layouts(layer: Layer) -> Iterator[Mistake]:
    """Try an input that is reshaped where it should be transposed, and features turned round."""
    shape = layer.trace.x.shape
    turns: dict[str, Callable[[Array], Array]] = {
        "the input's columns in reversed order": lambda x: x[..., ::-1]
    }
    for k, words in enumerate(("steps and rows", "rows and columns")):
        swapped = (*shape[:k], shape[k + 1], shape[k], *shape[k + 2 :])
        turns |= {
            f"the {words} of the input reshaped, not transposed": partial(_reshaped, k, swapped),
            f"the {words} of the input transposed, not reshaped": partial(_transposed, k),
        }
    t = layer.start
    before = layer.before(t)
    for words, turn in turns.items():
        after = layer.after(layer.from_x(turn(layer.trace.x)[t]), layer.from_h(before[0]), before)
        if (np.abs(after[0] - layer.found[t]) <= layer.limit[t]).all():
            yield _mistake(words, partial(_turned, turn, shape))


def _reshaped(k: int, shape: tuple[int, ...], x: Array) -> Array:
    return x.reshape(shape).swapaxes(k, k + 1)


def _transposed(k: int, x: Array) -> Array:
    return x.swapaxes(k, k + 1).reshape(x.shape)


def _turned(turn: Callable[[Array], Array], shape: tuple[int, ...], s: Setup) -> tuple[Array, Any]:
    return run(s.replace(x=turn(s.x)) if s.x.shape == shape else s)


def _blocks(layer: Layer) -> Iterator[Mistake]:
    """Try a state that is lost at the first wrong step, or is the first one again."""
    t = layer.start
    if t == 0:
        return
    often: dict[str, Callable[[int], bool]] = {
        f"every {t} steps": lambda i: i > 0 and i % t == 0,
        f"at step {t}": lambda i: i == t,
        f"at every step from {t} on": lambda i: i >= t,
    }
    from_x, first = layer.from_x(layer.trace.x[t]), layer.before(0)
    for words, lost in (("lost", True), ("h0 again", False)):
        states = [0 * state if lost else state for state in first]
        after = layer.after(from_x, layer.from_h(states[0]), states)[0]
        if (np.abs(after - layer.found[t]) <= layer.limit[t]).all():
            for told, holds in often.items():
                yield _mistake(f"the state {words} {told}", partial(_begun_again, lost, holds))


def _begun_again(lost: bool, holds: Callable[[int], bool], s: Setup) -> tuple[Array, Any]:
    return run(s, carry=lambda t, h, first: (0 * first if lost else first) if holds(t) else h)


def _carried(order: Order, s: Setup) -> tuple[Array, Any]:
    return run(s, carry=lambda t, h, first: order.taken(h, 0))


def _begun(order: Order, s: Setup) -> tuple[Array, Any]:
    c0 = None if s.c0 is None else order.taken(s.c0, 1)
    return run(s.replace(h0=order.taken(s.h0, 1), c0=c0))


def _of_input(order: Order, axis: int) -> Iterator[Mistake]:
    """Read the input in another order: of the whole network, or in every layer."""
    name = order.of("the input")
    yield _mistake(name, lambda s: run(s.replace(x=order.taken(s.x, axis))))
    yield _mistake(f"{name}, in every layer", lambda s: run(s, lambda x: order.taken(x, axis)))


def _mistake(name: str, forward: Callable[[Setup], tuple[Array, Any]]) -> Mistake:
    return Mistake(name, "found by search", forward)
