"""Mistakes of precision: a coarser number somewhere, often only from a certain size on."""

from collections.abc import Callable

import numpy as np

from rnnparity.cells.config import Cell
from rnnparity.judging.mistakes.forward import (
    Activation,
    right_step,
    rounded_to,
    with_activation,
    with_cells,
    with_state,
    with_step,
)
from rnnparity.judging.mistakes.mistake import PLAIN, Forward, Mistake, product
from rnnparity.problems.cases import Case
from rnnparity.types import Array


def _wide(case: Case) -> bool:
    """Whether some product has 512 terms or more."""
    return max(case.config.input_size, case.config.hidden_size) >= 512 and not _coarse(case)


def _many_weights(case: Case) -> bool:
    H = case.config.hidden_size
    inner = case.config.num_directions * H * (case.config.num_layers > 1)
    return H * max(case.config.input_size, H, inner) >= 2**16


def _coarse(case: Case) -> bool:
    return case.dtype in ("bfloat16", "float16")


def _fine(case: Case) -> bool:
    return not _coarse(case)


def _half_product(a: Array, weight: Array) -> Array:
    """A product of 512 terms or more, of numbers of 11 bits."""
    if weight.shape[1] < 512:
        return product(a, weight.T)
    return product(rounded_to(11, a), rounded_to(11, weight).T)


def _half_from_512(x: Array, h: Array, cell: Cell, activate: Activation) -> Array:
    from_x = _half_product(x, cell.weight_ih) + cell.bias_ih
    return activate(from_x + _half_product(h, cell.weight_hh) + cell.bias_hh)


def _in_int8(weight: Array) -> Array:
    scale = np.abs(weight).max() / weight.dtype.type(127)
    if scale == 0:
        return weight
    return np.asarray(np.rint(weight / scale) * scale, weight.dtype)


def _large_in_int8(cell: Cell) -> Cell:
    def quantised(weight: Array) -> Array:
        return _in_int8(weight) if weight.size >= 2**16 else weight

    return cell._replace(weight_ih=quantised(cell.weight_ih), weight_hh=quantised(cell.weight_hh))


def _rows_in_int8(cell: Cell) -> Cell:
    """Weights in int8, with a scale for every row."""
    rows = [_in_int8(row) for row in cell.weight_hh]
    return cell._replace(weight_hh=np.stack(rows))


def truncated_to(bits: int, array: Array) -> Array:
    """Cut an array off to a number of significant bits."""
    mantissa, exponent = np.frexp(array.astype(np.longdouble))
    return np.asarray(np.ldexp(np.trunc(np.ldexp(mantissa, bits)), exponent - bits), array.dtype)


def _before(change: Callable[[Array], Array]) -> Forward:
    """A mistake in what goes into the nonlinearity."""
    return with_activation(lambda a, f: f(change(a)))


def _projected_in_half(x: Array, h: Array, cell: Cell, activate: Activation) -> Array:
    from_x = rounded_to(11, product(x, cell.weight_ih.T) + cell.bias_ih)
    return activate(from_x + product(h, cell.weight_hh.T) + cell.bias_hh)


def _no_bias(cell: Cell) -> Cell:
    return cell._replace(bias_hh=np.zeros_like(cell.bias_hh))


MISTAKES = (
    Mistake(
        "products of 512 terms or more in float16",
        "a faster kernel chosen by size",
        with_step(_half_from_512),
        when=_wide,
        kinds=PLAIN,
    ),
    Mistake(
        "weights of 2^16 elements or more in int8",
        "dynamic quantisation of what is large",
        with_cells(_large_in_int8),
        when=_many_weights,
    ),
    Mistake(
        "weight_hh in int8, a scale for every row",
        "post-training quantisation",
        with_cells(_rows_in_int8),
    ),
    Mistake(
        "the state truncated to bfloat16 at every step",
        "the upper half of a float32, not rounded",
        with_state(lambda h: truncated_to(8, h)),
        when=_fine,
    ),
    Mistake(
        "the state rounded to 20 bits at every step",
        "a fixed-point accelerator's 20 bits",
        with_state(lambda h: rounded_to(20, h)),
        when=_fine,
    ),
    Mistake(
        "sums kept in float16",
        "a matrix unit that accumulates in half",
        _before(lambda a: rounded_to(11, a)),
        when=_fine,
        kinds=PLAIN,
    ),
    Mistake(
        "float16 sums clipped at 2048",
        "whole numbers that float16 holds exactly",
        _before(lambda a: np.clip(a, a.dtype.type(-2048), a.dtype.type(2048))),
        when=lambda case: case.dtype == "float16" and case.config.nonlinearity == "relu",
        kinds=PLAIN,
    ),
    Mistake(
        "the input's projection stored in float16",
        "a workspace in half",
        with_step(_projected_in_half),
        when=_fine,
        kinds=PLAIN,
    ),
    Mistake(
        "bias_hh dropped in bfloat16",
        "a bias too small to be seen beside a coarse sum",
        with_cells(_no_bias),
        when=lambda case: case.dtype == "bfloat16",
    ),
    Mistake(
        "float64 computed in float32",
        "a default dtype in the middle",
        with_step(
            lambda x, h, cell, f: np.asarray(rounded_to(24, right_step(x, h, cell, f)), x.dtype)
        ),
        when=lambda case: case.dtype == "float64",
        kinds=PLAIN,
    ),
    Mistake(
        "tanh's argument clipped to 4",
        "a table that ends too early",
        with_activation(
            lambda a, f: f(np.clip(a, a.dtype.type(-4), a.dtype.type(4))) if f is np.tanh else f(a)
        ),
        kinds=PLAIN,
    ),
    Mistake(
        "tanh taken for the identity below 2^-4",
        "a series cut off after its first term",
        with_activation(
            lambda a, f: np.where(np.abs(a) < 2**-4, a, f(a)) if f is np.tanh else f(a)
        ),
        when=_fine,
        kinds=PLAIN,
    ),
)
