"""Ways in which the products and the biases of a step meet.

Each takes the arithmetic, x `[T, B, I]` and a cell, or those of its rows that belong to one gate or
to some, and returns what makes their pre-activation of step t from the state `[B, H]` before it.
"""

from collections.abc import Callable

import numpy as np

from rnnparity.cells.config import Cell
from rnnparity.selftest.right_ways.work import Work
from rnnparity.types import Array

Step = Callable[[int, Array], Array]
Meets = Callable[[Work, Array, Cell], Step]
Parts = tuple[Array, Array]
Apart = Callable[[Work, Array, Cell], Callable[[int, Array], Parts]]


def each_its_own(work: Work, x: Array, cell: Cell) -> Step:
    """`(x W_ih + b_ih) + (h W_hh + b_hh)`, step by step."""

    def step(t: int, h: Array) -> Array:
        from_x = work.round(work.dot(x[t], cell.weight_ih.T) + cell.bias_ih)
        from_h = work.round(work.dot(h, cell.weight_hh.T) + cell.bias_hh)
        return work.round(from_x + from_h)

    return step


def biases_first(work: Work, x: Array, cell: Cell) -> Step:
    """The input products of all steps at once, with the sum of the biases."""
    bias = work.round(cell.bias_ih + cell.bias_hh)
    from_x = work.round(_all_steps(work, x, cell) + bias)
    return lambda t, h: work.round(from_x[t] + work.dot(h, cell.weight_hh.T))


def biases_last(work: Work, x: Array, cell: Cell) -> Step:
    """`(x W_ih + h W_hh) + (b_ih + b_hh)`."""
    bias = work.round(cell.bias_ih + cell.bias_hh)

    def step(t: int, h: Array) -> Array:
        both = work.round(work.dot(x[t], cell.weight_ih.T) + work.dot(h, cell.weight_hh.T))
        return work.round(both + bias)

    return step


def one_by_one(work: Work, x: Array, cell: Cell) -> Step:
    """`((x W_ih + b_ih) + h W_hh) + b_hh`."""
    from_x = work.round(_all_steps(work, x, cell) + cell.bias_ih)

    def step(t: int, h: Array) -> Array:
        return work.round(work.round(from_x[t] + work.dot(h, cell.weight_hh.T)) + cell.bias_hh)

    return step


def from_biases(work: Work, x: Array, cell: Cell) -> Step:
    """One accumulator, from the biases through both products."""

    def step(t: int, h: Array) -> Array:
        bias = _repeated(cell.bias_ih + cell.bias_hh, len(h))
        return work.dot(h, cell.weight_hh.T, work.unrounded(x[t], cell.weight_ih.T, bias))

    return step


def onto_the_projection(work: Work, x: Array, cell: Cell) -> Step:
    """The recurrent product is accumulated onto the input's with its biases."""
    bias = _repeated(work.round(cell.bias_ih + cell.bias_hh), *x.shape[:2])
    from_x = _all_steps(work, x, cell, bias)
    return lambda t, h: work.dot(h, cell.weight_hh.T, from_x[t])


def onto_a_bias(work: Work, x: Array, cell: Cell) -> Step:
    """Each product is accumulated onto its own bias, as `torch.nn.RNN` has it."""
    from_x = _all_steps(work, x, cell, _repeated(cell.bias_ih, *x.shape[:2]))

    def step(t: int, h: Array) -> Array:
        onto = _repeated(cell.bias_hh, len(h))
        return work.round(from_x[t] + work.dot(h, cell.weight_hh.T, onto))

    return step


def input_first(work: Work, x: Array, cell: Cell) -> Step:
    """One product of [x, h], the sum of the biases after it."""
    weight, bias = np.hstack((cell.weight_ih, cell.weight_hh)).T, cell.bias_ih + cell.bias_hh

    def step(t: int, h: Array) -> Array:
        return work.round(work.dot(np.hstack((x[t], h)), weight) + work.round(bias))

    return step


def state_first(work: Work, x: Array, cell: Cell) -> Step:
    """One product of [h, x], accumulated onto the sum of the biases."""
    weight, bias = np.hstack((cell.weight_hh, cell.weight_ih)).T, cell.bias_ih + cell.bias_hh

    def step(t: int, h: Array) -> Array:
        onto = _repeated(work.round(bias), len(h))
        return work.dot(np.hstack((h, x[t])), weight, onto)

    return step


def biases_as_columns(work: Work, x: Array, cell: Cell) -> Step:
    """One product of [x, 1, h, 1]: the biases are columns of the weights."""
    columns = cell.weight_ih, cell.bias_ih[:, None], cell.weight_hh, cell.bias_hh[:, None]
    weight = np.hstack(columns).T

    def step(t: int, h: Array) -> Array:
        one = np.ones((len(h), 1), h.dtype)
        return work.dot(np.hstack((x[t], one, h, one)), weight)

    return step


def _all_steps(work: Work, x: Array, cell: Cell, onto: Array | None = None) -> Array:
    T, B, I = x.shape
    start = None if onto is None else onto.reshape(T * B, -1)
    return work.dot(x.reshape(T * B, I), cell.weight_ih.T, start).reshape(T, B, -1)


def _repeated(bias: Array, *shape: int) -> Array:
    return np.broadcast_to(bias, (*shape, len(bias)))


# Of a GRU's candidate the two products do not meet, and each has its own bias: the two parts.


def apart(meets: Meets) -> Apart:
    """Return the way of the two parts that goes with a way in which products meet."""
    if meets is biases_as_columns:
        return _apart_with_columns
    onto = onto_a_bias, from_biases, onto_the_projection, state_first
    return _apart_onto_biases if meets in onto else _apart_biases_last


def _apart_biases_last(work: Work, x: Array, cell: Cell) -> Callable[[int, Array], Parts]:
    from_x = work.round(_all_steps(work, x, cell) + cell.bias_ih)
    to_h = cell.weight_hh.T
    return lambda t, h: (from_x[t], work.round(work.dot(h, to_h) + cell.bias_hh))


def _apart_onto_biases(work: Work, x: Array, cell: Cell) -> Callable[[int, Array], Parts]:
    """Each product is accumulated onto its bias."""
    from_x = _all_steps(work, x, cell, _repeated(cell.bias_ih, *x.shape[:2]))

    def parts(t: int, h: Array) -> Parts:
        return from_x[t], work.dot(h, cell.weight_hh.T, _repeated(cell.bias_hh, len(h)))

    return parts


def _apart_with_columns(work: Work, x: Array, cell: Cell) -> Callable[[int, Array], Parts]:
    """The products of [x, 1] and of [h, 1]."""
    from_x = np.hstack((cell.weight_ih, cell.bias_ih[:, None])).T
    from_h = np.hstack((cell.weight_hh, cell.bias_hh[:, None])).T

    def parts(t: int, h: Array) -> Parts:
        one = np.ones((len(h), 1), h.dtype)
        return work.dot(np.hstack((x[t], one)), from_x), work.dot(np.hstack((h, one)), from_h)

    return parts
