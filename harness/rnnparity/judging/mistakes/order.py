"""Mistakes in the order of what a layer reads: of steps, and of rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnparity.judging.mistakes.forward import right_layer, with_layer
from rnnparity.judging.mistakes.mistake import Forward, Mistake
from rnnparity.types import Array


def _with_input(change: Callable[[Array], Array]) -> Forward:
    """A mistake in what a layer reads, `[T, B, I]`."""
    return with_layer(lambda x, h0, cell, f: right_layer(change(x), h0, cell, f))


def _read_backwards(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    output, last = right_layer(x[::-1], h0, cell, nonlinearity)
    return output[::-1], last


MISTAKES = (
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
