"""Mistakes of what is composed around a layer: deep stacks, two directions, unequal lengths."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnparity.cells.config import RNNConfig
from rnnparity.judging.mistakes.forward import each_final, each_state, right_layer, run
from rnnparity.judging.mistakes.mistake import Forward, Mistake
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Setup
from rnnparity.types import Array

# Makes the input of layer k from the outputs of the layers below it, `[T, B, D * H]` each.
Feed = Callable[[int, list[Array], RNNConfig], Array]


def _deep(layers: int, directions: int = 1) -> Callable[[Case], bool]:
    return lambda case: (
        case.config.num_layers >= layers and case.config.num_directions >= directions
    )


def _ragged(case: Case) -> bool:
    return case.ragged


def _of_one_layer(s: Setup, k: int, x: Array) -> tuple[Array, Any]:
    """Run layer k, in all its directions, on an input."""
    D = s.config.num_directions
    rows = slice(k * D, (k + 1) * D)
    one = RNNConfig(
        input_size=x.shape[2],
        hidden_size=s.config.hidden_size,
        nonlinearity=s.config.nonlinearity,
        bidirectional=s.config.bidirectional,
        kind=s.config.kind,
    )
    states = each_state(s, lambda of_all: of_all[rows])
    return run(states.replace(x=x, cells=s.cells[rows], config=one))


def _joined(finals: list[Any]) -> Any:
    """Join the layers' last states, of an LSTM pairs of h and c."""
    if isinstance(finals[0], tuple):
        return tuple(np.concatenate(states) for states in zip(*finals, strict=True))
    return np.concatenate(finals)


def _stacked(feed: Feed) -> Forward:
    """Layers stacked in another way."""

    def forward(s: Setup) -> tuple[Array, Any]:
        outputs: list[Array] = []
        finals = []
        for k in range(s.config.num_layers):
            x = s.x if k == 0 else feed(k, outputs, s.config)
            output, h_n = _of_one_layer(s, k, np.ascontiguousarray(x))
            outputs.append(output)
            finals.append(h_n)
        return outputs[-1], _joined(finals)

    return forward


def _all_read(first: int) -> Forward:
    """Layers from one on read x, as the first does."""

    def forward(s: Setup) -> tuple[Array, Any]:
        return _stacked(lambda k, outputs, _: s.x if k >= first else outputs[-1])(s)

    return forward


def _of_one_width(layers: int) -> Callable[[Case], bool]:
    """Whether there are so many layers, and x is as wide as what goes from layer to layer."""

    def when(case: Case) -> bool:
        config = case.config
        return _deep(layers)(case) and (
            config.input_size == config.num_directions * config.hidden_size
        )

    return when


def _ahead_twice(k: int, outputs: list[Array], config: RNNConfig) -> Array:
    ahead = outputs[-1][:, :, : config.hidden_size]
    return outputs[-1] if k < 2 else np.concatenate((ahead, ahead), axis=2)


def _exchanged(k: int, outputs: list[Array], config: RNNConfig) -> Array:
    halves = np.split(outputs[-1], 2, axis=2)
    return outputs[-1] if k < 2 else np.concatenate(halves[::-1], axis=2)


def _interleaved(k: int, outputs: list[Array], config: RNNConfig) -> Array:
    ahead, back = np.split(outputs[-1], 2, axis=2)
    return np.stack((ahead, back), axis=3).reshape(outputs[-1].shape)


def _residual(k: int, outputs: list[Array], config: RNNConfig) -> Array:
    return outputs[-1] if k < 2 else outputs[-1] + outputs[-2]


def _from(first: int, cell_of: Callable[[int, int], int]) -> Forward:
    """Layers from one on with another's parameters; given the layer and the directions."""

    def forward(s: Setup) -> tuple[Array, Any]:
        D = s.config.num_directions
        cells = [
            cell if row // D < first else s.cells[cell_of(row, D)]
            for row, cell in enumerate(s.cells)
        ]
        return run(s.replace(cells=cells))

    return forward


def _states_from(order: Callable[[int, int], list[int]]) -> Forward:
    """h0's rows in another order; given the layers and the directions."""
    return lambda s: run(
        each_state(s, lambda states: states[order(s.config.num_layers, s.config.num_directions)])
    )


def _by_direction_first(L: int, D: int) -> list[int]:
    return [d * L + k for k in range(L) for d in range(D)]


def _finals_by_direction_first(s: Setup) -> tuple[Array, Any]:
    order = _by_direction_first(s.config.num_layers, s.config.num_directions)
    return each_final(run(s), lambda states: states[order])


def _top_left_out(layers: int) -> Forward:
    """Layers from a number on are not run: the output is of the one below, their states are h0."""

    def forward(s: Setup) -> tuple[Array, Any]:
        x, finals = s.x, []
        for k in range(layers):
            x, h_n = _of_one_layer(s, k, x)
            finals.append(h_n)
        rest = each_state(s, lambda states: states[layers * s.config.num_directions :])
        return x, _joined([*finals, rest.h0 if rest.c0 is None else (rest.h0, rest.c0)])

    return forward


def _one_direction(k: int, D: int) -> int:
    return k - k % D


def _bias_of_forward(s: Setup) -> tuple[Array, Any]:
    cells = [
        cell._replace(bias_ih=s.cells[row & ~1].bias_ih, bias_hh=s.cells[row & ~1].bias_hh)
        for row, cell in enumerate(s.cells)
    ]
    return run(s.replace(cells=cells if s.config.bidirectional else s.cells))


def _tanh_above(s: Setup) -> tuple[Array, Any]:
    calls = iter(range(s.config.num_cells))

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        first = next(calls) < s.config.num_directions
        return right_layer(x, h0, cell, nonlinearity if first else "tanh")

    return run(s, layer)


def _other_lengths(change: Callable[[Array, int], Array]) -> Forward:
    """Lengths misread; given them and T. What counts as padding is zero as it should be."""

    def forward(s: Setup) -> tuple[Array, Any]:
        if s.lengths is None:
            return run(s)
        return run(s.replace(lengths=change(s.lengths, len(s.x))))

    return forward


def _not_put_back(s: Setup) -> tuple[Array, Any]:
    """Sorted by length for packing, and left so."""
    if s.lengths is None:
        return run(s)
    order = np.argsort(-s.lengths, kind="stable")
    output, last = each_final(run(s), lambda states: states[:, order])
    return output[:, order], last


def _padded_with_last(s: Setup) -> tuple[Array, Any]:
    output, h_n = run(s)
    if s.lengths is None:
        return output, h_n
    inside = np.arange(len(output))[:, None] < s.lengths[None, :]
    last = output[s.lengths - 1, np.arange(len(s.lengths))]
    return np.where(inside[:, :, None], output, last[None]), h_n


def _h0_after_padding(s: Setup) -> tuple[Array, Any]:
    """The reverse direction of shorter sequences begins with zeros, where the padding ended."""
    if s.lengths is None:
        return run(s)
    lost = np.zeros(s.h0.shape[:2], bool)
    lost[1::2] = s.lengths < len(s.x)
    return run(each_state(s, lambda states: np.where(lost[:, :, None], 0, states)))


MISTAKES = (
    Mistake(
        "every layer reading x, not the layer below",
        "torch's documentation of nn.RNN to 2025: an index of layers left out",
        _all_read(1),
        when=_of_one_width(2),
    ),
    Mistake(
        "the layers from the third on reading x, not the layer below",
        "a list of inputs that is not replaced",
        _all_read(2),
        when=_of_one_width(3),
    ),
    Mistake(
        "a third layer fed by the first",
        "two buffers taken in turns, one of them read too late",
        _stacked(lambda k, outputs, config: outputs[0]),
        when=_deep(3),
    ),
    Mistake(
        "a third layer fed by the forward direction twice",
        "the directions' buffers of upper layers at one address",
        _stacked(_ahead_twice),
        when=_deep(3, 2),
    ),
    Mistake(
        "a third layer fed by the directions exchanged",
        "directions joined in the order in which they end",
        _stacked(_exchanged),
        when=_deep(3, 2),
    ),
    Mistake(
        "the directions interleaved between layers",
        "joined along the wrong axis",
        _stacked(_interleaved),
        when=_deep(2, 2),
    ),
    Mistake(
        "the layer below added to a third layer's input",
        "a residual connection",
        _stacked(_residual),
        when=_deep(3),
    ),
    Mistake(
        "the parameters of the second layer in those above",
        "an index of layers that ends at 1",
        _from(2, lambda row, D: D + row % D),
        when=_deep(3),
    ),
    Mistake(
        "the parameters of the third layer in the fourth",
        "an index of layers that ends at 2",
        _from(3, lambda row, D: 2 * D + row % D),
        when=_deep(4),
    ),
    Mistake(
        "the parameters of the forward direction in both, from the second layer on",
        "a suffix left out",
        _from(1, _one_direction),
        when=_deep(2, 2),
    ),
    Mistake(
        "the layers from the third on left out",
        "two layers unrolled by hand",
        _top_left_out(2),
        when=_deep(3),
    ),
    Mistake(
        "the layers from the fourth on left out",
        "three layers unrolled by hand",
        _top_left_out(3),
        when=_deep(4),
    ),
    Mistake(
        "h0 of the second layer in those above",
        "an offset that is not advanced",
        _states_from(lambda L, D: [min(k, 1) * D + d for k in range(L) for d in range(D)]),
        when=lambda case: _deep(3)(case) and case.h0,
    ),
    Mistake(
        "h0's rows read by direction before layer",
        "(D, L, B, H) for (L, D, B, H)",
        _states_from(_by_direction_first),
        when=lambda case: _deep(2, 2)(case) and case.h0,
    ),
    Mistake(
        "h_n's rows by direction before layer",
        "the same where states are stacked",
        _finals_by_direction_first,
        when=_deep(2, 2),
    ),
    Mistake(
        "h0 of the forward direction in both",
        "one state for two directions",
        _states_from(lambda L, D: [k * D for k in range(L) for _ in range(D)]),
        when=lambda case: case.config.bidirectional and case.h0,
    ),
    Mistake(
        "the biases of the forward direction in both",
        "one bias for two directions",
        _bias_of_forward,
        when=lambda case: case.config.bidirectional and case.config.bias,
    ),
    Mistake(
        "tanh in the layers above the first",
        "an argument not handed on",
        _tanh_above,
        when=lambda case: case.config.nonlinearity == "relu" and case.config.num_layers > 1,
    ),
    Mistake(
        "lengths kept in a byte",
        "an index of 8 bits",
        _other_lengths(lambda lengths, T: np.where(lengths > 255, lengths - 255, lengths)),
        when=lambda case: case.ragged and case.T > 256,
    ),
    Mistake(
        "sequences of full length taken for one step shorter",
        "a comparison with T instead of T - 1",
        _other_lengths(lambda lengths, T: np.where((lengths == T) & (T > 1), T - 1, lengths)),
        when=_ragged,
    ),
    Mistake(
        "the first sequence's length in all",
        "a mask broadcast along the wrong axis",
        _other_lengths(lambda lengths, T: np.full_like(lengths, lengths[0])),
        when=_ragged,
    ),
    Mistake(
        "sequences left in the order of their lengths",
        "sorted for packing, not put back",
        _not_put_back,
        when=_ragged,
    ),
    Mistake(
        "padding filled with the last state",
        "a loop that masks the update and not the output",
        _padded_with_last,
        when=_ragged,
    ),
    Mistake(
        "h0 of the reverse direction lost in shorter sequences",
        "a state that is reset in the padding",
        _h0_after_padding,
        when=lambda case: case.ragged and case.config.bidirectional and case.h0,
    ),
)
