"""Mistakes at the edges of kernels: tiles, blocks, counters and special cases of sizes.

Each is right at most sizes, and wrong where a size is no multiple of a tile, larger than a block or
a counter, or 1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rnnparity.cells.config import Cell
from rnnparity.judging.mistakes.forward import (
    Activation,
    right_layer,
    run,
    with_activation,
    with_cells,
    with_layer,
    with_state,
)
from rnnparity.judging.mistakes.mistake import PLAIN, Forward, Mistake
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Setup
from rnnparity.types import Array


def _has_tail(size: Callable[[Case], int], tile: int) -> Callable[[Case], bool]:
    """Whether a size has a whole tile, and a part of one after it."""
    return lambda case: size(case) > tile and size(case) % tile != 0


def _T(case: Case) -> int:
    return case.T


def _B(case: Case) -> int:
    return case.B or 1


def _I(case: Case) -> int:
    return case.config.input_size


def _H(case: Case) -> int:
    return case.config.hidden_size


def _whole(size: int, tile: int) -> int:
    """Return how much of a size whole tiles cover; all of it if there is none."""
    return size - size % tile if size > tile else size


def _tail_without_state(tile: int) -> Forward:
    def change(cell: Cell) -> Cell:
        H = cell.weight_hh.shape[1]
        weight = cell.weight_hh.copy()
        weight.reshape(-1, H, H)[:, _whole(H, tile) :] = 0
        return cell._replace(weight_hh=weight)

    return with_cells(change)


def _tail_at_zero(s: Setup) -> tuple[Array, Any]:
    H = s.config.hidden_size

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        states, output = h0, []
        for t in range(len(x)):
            states = right_layer(x[t : t + 1], states, cell, nonlinearity)[1].copy()
            states.reshape(len(states), -1, H)[:, :, _whole(H, 8) :] = 0
            output.append(states)
        return np.stack(output), states

    return run(s, layer)


def _terms_dropped(name: str, tile: int) -> Forward:
    def change(cell: Cell) -> Cell:
        weight = getattr(cell, name).copy()
        weight[:, _whole(weight.shape[1], tile) :] = 0
        return cell._replace(**{name: weight})

    return with_cells(change)


def _bias_of_tail_dropped(cell: Cell) -> Cell:
    bias = cell.bias_hh.copy()
    bias[_whole(len(bias), 4) :] = 0
    return cell._replace(bias_hh=bias)


def _lanes_repeated(cell: Cell) -> Cell:
    """The last, partial vector of 8 lanes is loaded 8 lanes before the end, and not shifted."""
    H = len(cell.weight_hh)
    tail = H % 8
    if H <= 8 or not tail:
        return cell
    return cell._replace(bias_ih=np.concatenate((cell.bias_ih[:-tail], cell.bias_ih[-8:][:tail])))


def _blocks(length: int, start: Callable[[Array, Array], Array]) -> Forward:
    """Every block of steps begins from what `start` makes of h0 and of the state so far."""

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        h, outputs = h0, []
        for begin in range(0, len(x), length):
            h = start(h0, h) if begin else h
            output, h = right_layer(x[begin : begin + length], h, cell, nonlinearity)
            outputs.append(output)
        return np.concatenate(outputs), h

    return with_layer(layer)


def _odd_last_step(last: Callable[[Array], Array]) -> Forward:
    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        output, h_n = right_layer(x, h0, cell, nonlinearity)
        if len(x) % 2 == 0 or len(x) == 1:
            return output, h_n
        return np.concatenate((output[:-1], last(output)[None])), output[-2]

    return with_layer(layer)


def _unrolled_by_four(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    output, h_n = right_layer(x, h0, cell, nonlinearity)
    whole = _whole(len(x), 4)
    if whole == len(x):
        return output, h_n
    output[whole:] = 0
    return output, output[whole - 1]


def _buffers_exchanged(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    output, h_n = right_layer(x, h0, cell, nonlinearity)
    return output, output[-2] if len(x) % 2 and len(x) > 1 else h_n


def _step_in_a_byte(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    return right_layer(x[np.arange(len(x)) % 256], h0, cell, nonlinearity)


def _without_h0(applies: Callable[[Array], bool]) -> Forward:
    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        return right_layer(x, np.zeros_like(h0) if applies(x) else h0, cell, nonlinearity)

    return with_layer(layer)


def _rows(change: Callable[[Array, Array], Array]) -> Forward:
    """A mistake in the state that a step reads: given it, and the numbers of the batch's rows."""
    return with_state(lambda h: change(h, np.arange(len(h))))


def _rows_without_result(first: int) -> Forward:
    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        output, _ = right_layer(x, h0, cell, nonlinearity)
        output[:, first:] = 0
        return output, output[-1]

    return with_layer(layer)


def _tail_of_rows_reads_first(h: Array, row: Array) -> Array:
    whole = _whole(len(row), 4)
    return np.asarray(h[np.where(row < whole, row, row - whole)])


def _taken_for_batch_first(s: Setup) -> tuple[Array, Any]:
    output, h_n = run(s.replace(x=np.ascontiguousarray(s.x.swapaxes(0, 1))))
    return np.ascontiguousarray(output.swapaxes(0, 1)), h_n


def _clipped(bound: float) -> Forward:
    def activate(a: Array, f: Activation) -> Array:
        return f(a) if f is np.tanh else np.minimum(f(a), a.dtype.type(bound))

    return with_activation(activate)


def _relu(case: Case) -> bool:
    return case.config.nonlinearity == "relu"


def _index_in_16_bits(s: Setup) -> tuple[Array, Any]:
    """The output is written where a 16-bit offset of its row points to."""
    output, h_n = run(s)
    flat = output.reshape(-1, output.shape[2])
    H = output.shape[2]
    wrapped = (np.arange(len(flat)) * H) % 2**16 // H
    seen = np.zeros_like(flat)
    seen[wrapped] = flat
    return seen.reshape(output.shape), h_n


# What is left out beyond whole tiles: its name, the bug, and how, of which size, for which tiles.
REMAINDERS = (
    (
        "the last hidden units beyond tiles of {} without the recurrent product",
        "a matrix product in tiles of {} whose remainder is left out",
        (_tail_without_state, _H, (4, 8, 16)),
    ),
    (
        "the inputs beyond whole tiles of {} dropped",
        "a sum in steps of {} terms without a remainder loop",
        (partial(_terms_dropped, "weight_ih"), _I, (4, 8, 16)),
    ),
    (
        "the terms of the state beyond whole tiles of {} dropped",
        "a sum in vectors of {} terms without a remainder loop",
        (partial(_terms_dropped, "weight_hh"), _H, (8, 32)),
    ),
)

MISTAKES = (
    *(
        Mistake(name.format(tile), bug.format(tile), make(tile), when=_has_tail(size, tile))
        for name, bug, (make, size, tiles) in REMAINDERS
        for tile in tiles
    ),
    Mistake(
        "the hidden units beyond whole tiles of 8 left at zero",
        "a grid of H // 8 blocks",
        _tail_at_zero,
        when=_has_tail(_H, 8),
    ),
    Mistake(
        "bias_hh of the last partial tile of 4 dropped",
        "a vectorised sum whose remainder forgets a term",
        with_cells(_bias_of_tail_dropped),
        when=_has_tail(_H, 4),
        kinds=PLAIN,
    ),
    Mistake(
        "the last partial vector of 8 biases read 8 before the end",
        "an overlapping load of the tail that is not shifted",
        with_cells(_lanes_repeated),
        when=_has_tail(_H, 8),
        kinds=PLAIN,
    ),
    Mistake(
        "the state lost every 128 steps",
        "a sequence in blocks of 128 steps, each from h0",
        _blocks(128, lambda h0, h: h0),
        when=lambda case: case.T > 128,
    ),
    Mistake(
        "the state reset to zeros every 32 steps",
        "a workspace of 32 steps that begins with zeros",
        _blocks(32, lambda h0, h: np.zeros_like(h)),
        when=lambda case: case.T > 32,
    ),
    Mistake(
        "an odd last step dropped",
        "a loop over pairs of steps",
        _odd_last_step(lambda output: np.zeros_like(output[-1])),
        when=lambda case: case.T > 1,
    ),
    Mistake(
        "an odd last step copied from the one before",
        "a loop over pairs of steps, its result repeated",
        _odd_last_step(lambda output: output[-2]),
        when=lambda case: case.T > 1,
    ),
    Mistake(
        "the steps beyond multiples of 4 left out",
        "a loop unrolled by 4 without a remainder",
        with_layer(_unrolled_by_four),
        when=_has_tail(_T, 4),
    ),
    Mistake(
        "h_n from the other of two buffers when T is odd",
        "a double buffer exchanged once too often",
        with_layer(_buffers_exchanged),
        when=lambda case: case.T > 1,
    ),
    Mistake(
        "the input's steps counted in a byte",
        "an index of 8 bits: step 256 is step 0 again",
        with_layer(_step_in_a_byte),
        when=lambda case: case.T > 256,
    ),
    Mistake(
        "output rows counted in 16 bits",
        "an offset of 16 bits into the output",
        _index_in_16_bits,
        when=lambda case: (
            case.T * _B(case) * _H(case) * case.config.num_directions > 2**16 + _H(case)
        ),
    ),
    Mistake(
        "h0 ignored where T is 1",
        "one step taken for a plain layer",
        _without_h0(lambda x: len(x) == 1),
        when=lambda case: case.T == 1 and case.h0,
    ),
    Mistake(
        "h0 ignored where the batch is one",
        "an axis of one squeezed away, and broadcast",
        _without_h0(lambda x: x.shape[1] == 1),
        when=lambda case: _B(case) == 1 and case.h0,
    ),
    Mistake(
        "batch rows from the 32nd on reading the first rows' state",
        "a thread's row modulo the width of a warp",
        _rows(lambda h, row: h[row % 32]),
        when=lambda case: _B(case) > 32,
    ),
    Mistake(
        "batch rows from the 64th on left at zero",
        "one block of 64 rows launched",
        _rows_without_result(64),
        when=lambda case: _B(case) > 64,
    ),
    Mistake(
        "the last partial tile of 4 batch rows reading the first's state",
        "a tile's rows counted from the batch's beginning",
        _rows(_tail_of_rows_reads_first),
        when=_has_tail(_B, 4),
    ),
    Mistake(
        "batch rows counted from the end beyond 16",
        "a negative offset in the second tile of rows",
        _rows(lambda h, row: h[np.where(row < 16, row, len(row) - 1 - (row - 16))]),
        when=lambda case: _B(case) > 17,
    ),
    Mistake(
        "time and batch exchanged where T is B",
        "a layout guessed from the shape",
        _taken_for_batch_first,
        when=lambda case: case.T == case.B and case.T > 1 and not case.ragged,
    ),
    Mistake("relu clipped at 6", "relu6, as mobile networks have it", _clipped(6), when=_relu),
    Mistake("relu clipped at 1e4", "a guard against overflow left in", _clipped(1e4), when=_relu),
    Mistake(
        "relu clipped at float16's largest number",
        "activations kept in half",
        _clipped(65504),
        when=lambda case: _relu(case) and case.dtype != "float16",
    ),
)
