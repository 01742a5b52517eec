"""Mistakes of the backward pass at the edges of kernels, in deep stacks and in padding."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import named_gradients
from rnnparity.judging.mistakes.backward import (
    Gradients,
    right_backward,
    right_gradients,
    with_backward,
    with_cell,
    with_part,
    with_result,
    with_upstream,
)
from rnnparity.judging.mistakes.forward import right_layer, rounded_to
from rnnparity.judging.mistakes.mistake import PLAIN, Backward, Mistake, product
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Quantities, Setup
from rnnparity.types import Array


def _whole(size: int, tile: int) -> int:
    return size - size % tile if size > tile else size


def _rows(case: Case) -> int:
    return case.T * (case.B or 1)


def _cut_every(steps: int) -> Backward:
    return with_part(carry=lambda t, d: 0 * d if t and t % steps == 0 else d)


def _odd_step_without_gradient(s: Setup) -> Setup:
    if len(s.x) % 2 == 0:
        return s
    kept = s.grad_output.copy()
    kept[-1] = 0
    return s.replace(grad_output=kept)


def _weights_from_whole_tiles(
    g: Gradients, x: Array, h0: Array, output: Array, grad_a: Array
) -> Gradients:
    flat = grad_a.reshape(-1, h0.shape[1])
    whole = _whole(len(flat), 8)
    of_x = product(flat[:whole].T, x.reshape(len(flat), -1)[:whole])
    return g[0], g[1], g[2]._replace(weight_ih=of_x)


def _bias_from_whole_tiles(
    g: Gradients, x: Array, h0: Array, output: Array, grad_a: Array
) -> Gradients:
    flat = grad_a.reshape(-1, h0.shape[1])
    whole = _whole(len(flat), 16)
    bias = product(np.ones(whole, x.dtype), flat[:whole])
    return g[0], g[1], g[2]._replace(bias_ih=bias, bias_hh=bias.copy())


def _bias_from_64_rows(
    g: Gradients, x: Array, h0: Array, output: Array, grad_a: Array
) -> Gradients:
    flat = grad_a[:, :64].reshape(-1, h0.shape[1])
    bias = product(np.ones(len(flat), x.dtype), flat)
    return g[0], g[1], g[2]._replace(bias_ih=bias, bias_hh=bias.copy())


def _with_grad_a(change: Callable[[Gradients, Array, Array, Array, Array], Gradients]) -> Backward:
    """A mistake in one layer's results, made knowing the gradients before the nonlinearity."""

    def backward(go: Array, gn: Array, x: Array, h0: Array, output: Array, *rest: Any) -> Gradients:
        g = right_backward(go, gn, x, h0, output, *rest)
        cell, nonlinearity = rest
        eye = np.eye(h0.shape[1], dtype=x.dtype)
        grad_a, _, _ = right_backward(
            go, gn, x, h0, output, cell._replace(weight_ih=eye), nonlinearity
        )
        return change(g, x, h0, output, grad_a)

    return with_backward(backward)


def _grad_x_of_whole_tiles(gradient: Array, s: Setup) -> Array:
    kept = gradient.copy()
    kept[:, :, _whole(kept.shape[2], 8) :] = 0
    return kept


def _only_last_h_n(s: Setup) -> Setup:
    kept = np.zeros_like(s.grad_h_n)
    kept[-s.config.num_directions :] = s.grad_h_n[-s.config.num_directions :]
    return s.replace(grad_h_n=kept)


def _rounded(g: Gradients, *_: Array) -> Gradients:
    of_cell = g[2]._replace(
        weight_ih=rounded_to(11, g[2].weight_ih), weight_hh=rounded_to(11, g[2].weight_hh)
    )
    return g[0], g[1], of_cell


def _states_by_direction_first(gradient: Array, s: Setup) -> Array:
    L, D = s.config.num_layers, s.config.num_directions
    return gradient[[d * L + k for k in range(L) for d in range(D)]]


def _h_n_after_padding(s: Setup) -> Quantities:
    """The gradient of h_n comes in at the batch's last step, where a shorter sequence has none."""
    if s.lengths is not None:
        there = (s.lengths == len(s.x)).astype(s.grad_h_n.dtype)
        s = s.replace(grad_h_n=s.grad_h_n * there[None, :, None])
    return right_gradients(s)


def _reverse_of_upper_layers_lost(s: Setup) -> Quantities:
    """Upper layers hand down the gradient of their forward direction only."""
    tape: list[network.Call] = []
    network.run(right_layer, s.x, s.h0, s.cells, s.config, s.lengths, tape)
    calls = iter(reversed(range(s.config.num_cells)))
    D = s.config.num_directions

    def backward(*arguments: Any) -> Gradients:
        # Called from the top layer down, forward before reverse in each.
        number = s.config.num_cells - 1 - next(calls)
        layer, reverse = s.config.num_layers - 1 - number // D, number % D
        g = right_backward(*arguments)
        return (np.zeros_like(g[0]), g[1], g[2]) if layer and reverse else g

    of_x, of_h0, of_cells = network.backward(
        backward, tape, s.grad_output, s.grad_h_n, s.config, s.lengths
    )
    return {"grad_x": of_x, "grad_h0": of_h0} | named_gradients(of_cells, s.config)


def _saved_once(g: Gradients, x: Array, h0: Array, output: Array) -> Gradients:
    """grad_h0 of a workspace that holds what came before the last product."""
    return g[0], np.zeros_like(g[1]) if len(x) == 1 else g[1], g[2]


MISTAKES = (
    Mistake(
        "the gradient cut every 128 steps",
        "blocks of steps differentiated one by one",
        backward=_cut_every(128),
        when=lambda case: case.T > 128,
        kinds=PLAIN,
    ),
    Mistake(
        "the gradient cut every 8 steps",
        "checkpoints that hand on no gradient",
        backward=_cut_every(8),
        when=lambda case: case.T > 8,
        kinds=PLAIN,
    ),
    Mistake(
        "the gradient of an odd last output left out",
        "a loop over pairs of steps",
        backward=with_upstream(_odd_step_without_gradient),
        when=lambda case: case.T % 2 == 1,
    ),
    Mistake(
        "grad_weight_ih from whole tiles of 8 rows",
        "a sum over steps and batch without a remainder loop",
        backward=_with_grad_a(_weights_from_whole_tiles),
        when=lambda case: _rows(case) > 8 and _rows(case) % 8 != 0,
        kinds=PLAIN,
    ),
    Mistake(
        "the gradients of the biases from whole tiles of 16 rows",
        "the same in another kernel",
        backward=_with_grad_a(_bias_from_whole_tiles),
        when=lambda case: case.config.bias and _rows(case) > 16 and _rows(case) % 16 != 0,
        kinds=PLAIN,
    ),
    Mistake(
        "the gradients of the biases from 64 rows of the batch",
        "one block of threads sums",
        backward=_with_grad_a(_bias_from_64_rows),
        when=lambda case: case.config.bias and (case.B or 1) > 64,
        kinds=PLAIN,
    ),
    Mistake(
        "grad_x zero beyond whole tiles of 8 inputs",
        "a grid of I // 8 blocks",
        backward=with_result("grad_x", _grad_x_of_whole_tiles),
        when=lambda case: case.config.input_size > 8 and case.config.input_size % 8 != 0,
    ),
    Mistake(
        "the gradient of h_n given to the last layer only",
        "one final state differentiated",
        backward=with_upstream(_only_last_h_n),
        when=lambda case: case.config.num_layers > 1,
    ),
    Mistake(
        "the gradient of the reverse direction of upper layers not handed down",
        "one of two contributions overwritten",
        backward=_reverse_of_upper_layers_lost,
        when=lambda case: case.config.num_layers > 1 and case.config.bidirectional,
        kinds=PLAIN,
    ),
    Mistake(
        "grad_h0's rows by direction before layer",
        "(D, L, B, H) for (L, D, B, H)",
        backward=with_result("grad_h0", _states_by_direction_first),
        when=lambda case: case.config.num_layers > 1 and case.config.bidirectional and case.h0,
    ),
    Mistake(
        "grad_h0 dropped where T is 1",
        "one step taken for a plain layer",
        backward=with_cell(_saved_once),
        when=lambda case: case.T == 1 and case.h0,
        kinds=PLAIN,
    ),
    Mistake(
        "gradients of weights rounded to float16",
        "mixed precision without main gradients",
        backward=with_cell(_rounded),
        when=lambda case: case.dtype in ("float32", "float64"),
        kinds=PLAIN,
    ),
    Mistake(
        "the gradient of h_n lost in shorter sequences",
        "added at the batch's last step, and masked",
        backward=_h_n_after_padding,
        when=lambda case: case.ragged,
    ),
)
