"""The commonest mistakes around a layer: its states, several layers, directions, padding."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnparity.judging.mistakes.forward import each_final, each_state, right_layer, run
from rnnparity.judging.mistakes.mistake import Forward, Mistake
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Setup
from rnnparity.types import Array


def _swap_directions(rows: list[Any]) -> list[Any]:
    return [rows[i ^ 1] for i in range(len(rows))]


def _h0_rows_swapped(s: Setup) -> tuple[Array, Any]:
    return run(each_state(s, lambda states: states[::-1]))


def _h0_of_first_layer(s: Setup) -> tuple[Array, Any]:
    return run(each_state(s, lambda states: np.broadcast_to(states[:1], states.shape)))


def _directions_weights_swapped(s: Setup) -> tuple[Array, Any]:
    return run(s.replace(cells=_swap_directions(s.cells) if s.config.bidirectional else s.cells))


def _output_directions_swapped(s: Setup) -> tuple[Array, Any]:
    output, h_n = run(s)
    if not s.config.bidirectional:
        return output, h_n
    return np.concatenate(np.split(output, 2, axis=2)[::-1], axis=2), h_n


def _h_n_directions_swapped(s: Setup) -> tuple[Array, Any]:
    if not s.config.bidirectional:
        return run(s)
    return each_final(run(s), lambda states: np.stack(_swap_directions(list(states))))


def _h_n_layers_reversed(s: Setup) -> tuple[Array, Any]:
    return each_final(run(s), lambda states: states[::-1])


def _by_direction(wrong: Callable[[Setup, Array, Any], Array]) -> Forward:
    """A mistake in the reversed direction of the last layer's output."""

    def forward(s: Setup) -> tuple[Array, Any]:
        output, h_n = run(s)
        if s.config.bidirectional:
            ahead, back = np.split(output, 2, axis=2)
            output = np.concatenate((ahead, wrong(s, back, h_n)), axis=2)
        return output, h_n

    return forward


def _reverse_h_n_from_the_end(s: Setup) -> tuple[Array, Any]:
    output, h_n = run(s)
    if s.config.bidirectional:
        last = s.lengths - 1 if s.lengths is not None else np.full(output.shape[1], len(output) - 1)
        back = output[last, np.arange(output.shape[1]), s.config.hidden_size :]
        h, *others = h_n if isinstance(h_n, tuple) else (h_n,)
        h = np.concatenate((h[:-1], back[None]))
        h_n = (h, *others) if others else h
    return output, h_n


def _reverse_runs_ahead(s: Setup) -> tuple[Array, Any]:
    """Both directions read the sequence forwards."""
    calls = iter(range(s.config.num_cells))

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        reverse = s.config.bidirectional and next(calls) % 2 == 1
        if not reverse or s.lengths is not None:
            return right_layer(x, h0, cell, nonlinearity)
        output, last = right_layer(x[::-1], h0, cell, nonlinearity)
        return output[::-1], last

    return run(s, layer)


def _padding_is_read(s: Setup) -> tuple[Array, Any]:
    """Lengths are ignored: padding is input, the reverse direction starts in it."""
    return run(s.replace(lengths=None))


def _padding_not_zeroed(s: Setup) -> tuple[Array, Any]:
    output, h_n = run(s)
    if s.lengths is None:
        return output, h_n
    without, _ = run(s.replace(lengths=None))
    inside = np.arange(len(output))[:, None] < s.lengths[None, :]
    return np.where(inside[:, :, None], output, without), h_n


def _h_n_from_padding(s: Setup) -> tuple[Array, Any]:
    output, h_n = run(s)
    return output, h_n if s.lengths is None else run(s.replace(lengths=None))[1]


def _layers_swapped(s: Setup) -> tuple[Array, Any]:
    D, swapped = s.config.num_directions, list(s.cells)
    first, second = (-2 * D, -D) if s.config.num_layers > 2 else (0, D)
    for i in range(D):
        swapped[first + i], swapped[second + i] = swapped[second + i], swapped[first + i]
    return run(s.replace(cells=swapped))


def _one_layers_weights_twice(s: Setup) -> tuple[Array, Any]:
    D, changed = s.config.num_directions, list(s.cells)
    for i in range(D):
        changed[-D + i] = changed[-2 * D + i]
    return run(s.replace(cells=changed))


def _no_bias_at_first(s: Setup) -> tuple[Array, Any]:
    """A first step without a state has no recurrent term at all, its bias included."""
    if s.has_h0:
        return run(s)

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        without = cell._replace(bias_hh=np.zeros_like(cell.bias_hh))
        first, last = right_layer(x[:1], h0, without, nonlinearity)
        if len(x) == 1:
            return first, last
        rest, last = right_layer(x[1:], last, cell, nonlinearity)
        return np.concatenate((first, rest)), last

    return run(s, layer)


def _dropout(s: Setup) -> tuple[Array, Any]:
    """Dropout between layers, as in training: a fixed mask, so that it can be recognised."""
    calls = iter(range(s.config.num_cells))

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        if next(calls) >= s.config.num_directions and s.config.dropout:
            kept = (np.arange(x.shape[2]) % 2).astype(x.dtype)
            x = x * kept * x.dtype.type(2)
        return right_layer(x, h0, cell, nonlinearity)

    return run(s, layer)


def _same_shapes(case: Case) -> bool:
    """Whether two layers have parameters of the same shape."""
    config = case.config
    inner = config.num_directions * config.hidden_size
    return config.num_layers > 2 or (config.num_layers == 2 and config.input_size == inner)


MISTAKES = (
    Mistake("h0's rows in reversed order", "another order of layers", _h0_rows_swapped),
    Mistake("the first row of h0 used for all layers", "an index left out", _h0_of_first_layer),
    Mistake(
        "two layers swapped",
        "weights loaded in another order",
        _layers_swapped,
        when=_same_shapes,
    ),
    Mistake(
        "one layer's weights used in the next",
        "a variable captured late",
        _one_layers_weights_twice,
        when=_same_shapes,
    ),
    Mistake(
        "bias_hh left out at the first step, where there is no h0",
        "the recurrent term skipped without a state, its bias too (mlx)",
        _no_bias_at_first,
        when=lambda case: not case.h0 and case.config.bias,
    ),
    Mistake("h_n's layers in reversed order", "states stacked from the top", _h_n_layers_reversed),
    Mistake("the directions' weights swapped", "swapped names", _directions_weights_swapped),
    Mistake(
        "the output's directions swapped", "joined in the other order", _output_directions_swapped
    ),
    Mistake("h_n's directions swapped", "the same for h_n", _h_n_directions_swapped),
    Mistake(
        "the reverse output left reversed",
        "not turned back into the order of the input",
        _by_direction(lambda s, back, h_n: back[::-1]),
    ),
    Mistake("the reverse direction run forwards", "a flip forgotten", _reverse_runs_ahead),
    Mistake(
        "h_n of the reverse direction taken at the sequence's end",
        "output[-1] is not its final state",
        _reverse_h_n_from_the_end,
    ),
    Mistake("padding read as input", "lengths ignored", _padding_is_read),
    Mistake("padding not zeroed", "a missing mask", _padding_not_zeroed),
    Mistake("h_n taken from the padding", "output[-1] of a padded batch", _h_n_from_padding),
    Mistake("dropout left on", "training mode", _dropout),
)
