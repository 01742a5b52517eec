"""Mistakes in the order of steps and rows: of what a layer reads, and of what it returns."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnparity.judging.mistakes.forward import right_layer, run, with_layer
from rnnparity.judging.mistakes.mistake import Forward, Mistake
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Setup
from rnnparity.types import Array


def _with_input(change: Callable[[Array], Array]) -> Forward:
    """A mistake in what a layer reads, `[T, B, I]`."""
    return with_layer(lambda x, h0, cell, f: right_layer(change(x), h0, cell, f))


def _by_reshape(array: Array) -> Array:
    """Read `[T, B, F]` as `[B, T, F]` by a reshape, and lay it out right again."""
    T, B, features = array.shape
    return np.ascontiguousarray(array.reshape(B, T, features).swapaxes(0, 1))


def _to_reshape(array: Array) -> Array:
    """Write `[B, T, F]` to `[T, B, F]` by a reshape."""
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(array.shape)


def _in_network(
    x: Callable[[Array], Array] | None = None, output: Callable[[Array], Array] | None = None
) -> Forward:
    """A mistake in what the whole network reads, `[T, B, I]`, or returns, `[T, B, D * H]`."""

    def forward(s: Setup) -> tuple[Array, Any]:
        made, last = run(s if x is None else s.replace(x=x(s.x)))
        return made if output is None else output(made), last

    return forward


def _output_reshaped(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    output, last = right_layer(x, h0, cell, nonlinearity)
    return _to_reshape(output), last


def _last_throughout(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    output, last = right_layer(x, h0, cell, nonlinearity)
    return np.broadcast_to(output[-1], output.shape).copy(), last


def _last_of_the_top(s: Setup) -> tuple[Array, Any]:
    """What a network returns in one direction is its last step's, and what it reads is right."""
    output, last = run(s)
    if s.lengths is not None:  # its own last step's, in every step that there is
        ends = output[s.lengths - 1, np.arange(len(s.lengths))]
        inside = np.arange(len(output))[:, None] < s.lengths[None, :]
        return np.where(inside[:, :, None], ends[None], 0).astype(output.dtype), last
    return np.broadcast_to(output[-1], output.shape).copy(), last


def _composed(case: Case) -> bool:
    """Whether what a layer reads is not what the network reads."""
    return case.config.num_cells > 1 or case.ragged


def _read_backwards(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    output, last = right_layer(x[::-1], h0, cell, nonlinearity)
    return output[::-1], last


MISTAKES = (
    Mistake(
        "the last state as every step of the output (one buffer kept T times)",
        "a state written in place and put on a list; torch's documentation of nn.RNN to 2025",
        with_layer(_last_throughout),
    ),
    Mistake(
        "the last state as every step of the output, in the last layer only",
        "the same where all layers take a step together",
        _last_of_the_top,
        when=lambda case: case.config.num_layers > 1 and case.config.num_directions == 1,
    ),
    Mistake(
        "the input's steps and rows reshaped, not transposed",
        "x.reshape(B, T, I) for x.transpose(1, 0, 2)",
        _in_network(_by_reshape),
    ),
    Mistake(
        "the input's rows and steps reshaped, not transposed",
        "a batch-first input reshaped to (T, B, I)",
        _in_network(_to_reshape),
    ),
    Mistake(
        "the output's steps and rows reshaped, not transposed",
        "an output [B, T, H] reshaped to (T, B, H)",
        _in_network(None, _to_reshape),
    ),
    Mistake(
        "the output's rows and steps reshaped, not transposed",
        "a batch-first output made by reshape",
        _in_network(None, _by_reshape),
    ),
    Mistake(
        "steps and rows reshaped, not transposed, in the input and back in the output",
        "batch-major code around which both are reshaped",
        _in_network(_by_reshape, _to_reshape),
    ),
    Mistake(
        "rows and steps reshaped, not transposed, in the input and back in the output",
        "time-major code in a batch-first module",
        _in_network(_to_reshape, _by_reshape),
    ),
    Mistake(
        "each layer's input reshaped, not transposed",
        "the same in a function of one layer",
        _with_input(_by_reshape),
        when=_composed,
    ),
    Mistake(
        "each layer's output reshaped, not transposed",
        "the same",
        with_layer(_output_reshaped),
        when=_composed,
    ),
    Mistake(
        "the input rolled by a step, the last step first",
        "np.roll where a shift was meant",
        _with_input(lambda x: np.roll(x, 1, axis=0)),
    ),
    Mistake(
        "the input a step early, the first step last",
        "the same the other way round",
        _with_input(lambda x: np.roll(x, -1, axis=0)),
    ),
    Mistake(
        "every row given the input of the row before",
        "an off-by-one in a batch",
        _with_input(lambda x: np.roll(x, 1, axis=1)),
    ),
    Mistake(
        "every row given the input of the row after",
        "the same the other way round",
        _with_input(lambda x: np.roll(x, -1, axis=1)),
    ),
    Mistake(
        "the rows of the batch in reversed order",
        "a flip along the wrong dimension",
        _with_input(lambda x: x[:, ::-1]),
    ),
    Mistake(
        "the sequence read backwards",
        "a flip that belongs to the reverse direction",
        _with_input(lambda x: x[::-1]),
    ),
    Mistake(
        "the sequence read backwards and the output turned round",
        "the reverse direction for the forward one",
        with_layer(_read_backwards),
    ),
)
