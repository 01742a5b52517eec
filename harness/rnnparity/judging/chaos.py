"""Where an element is judged: not past chaos, and not where the dtype may have overflowed."""

from typing import Any

import ml_dtypes
import msgspec
import numpy as np
from numpy.typing import NDArray

from rnnparity.cells import network
from rnnparity.cells.config import suffixes
from rnnparity.cells.recurrence import Trace
from rnnparity.judging.truth import Truth
from rnnparity.judging.unit import KINK, Deviations
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import is_16_bit, numpy_dtype, underflow, unit_roundoff
from rnnparity.problems.quantities import is_gradient, of_weights
from rnnparity.types import Array

# Where the unit is above this share of a quantity's own size, rounding alone can soon reach all of
# it: the difference no longer grows in proportion, its distribution has heavy tails, and a verdict
# would be a matter of luck. A coarse dtype makes errors of that size without any growth: there it
# takes many unit roundoffs.
CHAOTIC = 1 / 32
CHAOTIC_ROUNDOFFS = 64

# Relu stops being linear where its kink is within reach, which is ten units: ten times sooner.
CHAOTIC_RELU = CHAOTIC / KINK

# Results of the 16-bit types below this part of the largest number cannot have overflowed: sums of
# products are made in float32, and a few of them are added up in the type itself.
SUMS_16_BIT = 8


def where_calm(case: Case, true: Truth, predicted: Deviations) -> dict[str, NDArray[np.bool_]]:
    """Return where rounding alone has not taken over: `[T, R, 1]` of output, and so on."""
    config = msgspec.structs.replace(true.config, hidden_size=1, kind="rnn")
    layers = _own_chaos(case, true.traces, predicted.widest)
    none = np.zeros((*true.traces[0].x.shape[:2], 1))
    output, h_n = network.run(spread_chaos, none, None, layers, config, true.lengths)
    chaotic = {"output": output, "h_n": h_n}
    if true.next_traces:
        layers = _own_chaos(case, true.next_traces, predicted.next_widest, true.traces)
        ones = None if true.lengths is None else np.ones_like(true.lengths)
        following = network.run(spread_chaos, none[:1], h_n, layers, config, ones)
        chaotic |= {"next_output": following[0], "next_h_n": following[1]}
    for prefix in ("", "next_"):
        if f"{prefix}c_n" in true.values:
            chaotic[f"{prefix}c_n"] = chaotic[f"{prefix}h_n"]
    return {name: ~flags.any(axis=2, keepdims=True) for name, flags in chaotic.items()}


def where_finite(
    case: Case, true: Truth, calm: dict[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.bool_]]:
    """Return where the dtype cannot have overflowed on the way, by the truth's own values.

    Past an overflow, infinities meet and make NaN in every later step of the row. Where rounding
    has taken over, gradients grow along another path than the truth's, by other orders of
    magnitude: nothing is said of those.
    """
    config = true.config
    most = float(ml_dtypes.finfo(numpy_dtype(case.dtype)).max)
    largest = min(most, 1e150)  # variances, their squares, are kept in float64
    # A sum of so many terms must fit, too; those of the 16-bit types are accumulated in float32.
    terms = config.input_size + 2 * config.hidden_size
    largest /= min(terms, SUMS_16_BIT) if is_16_bit(case.dtype) else terms

    def over(arrays: list[Array]) -> NDArray[np.bool_]:
        found = [(np.abs(array) >= largest).any(axis=2) for array in arrays]
        either: NDArray[np.bool_] = np.logical_or.reduce(
            [~np.isfinite(a).all(axis=2) | b for a, b in zip(arrays, found, strict=True)]
        )
        return either

    forward = over([state for trace in true.traces for state in trace.states])  # [T, R]
    for trace in true.traces:
        forward |= _sums_overflow(trace, most)
    in_order = config.num_cells == 1
    past = np.maximum.accumulate(forward, axis=0) if in_order else forward | forward.any(axis=0)
    row = forward.any(axis=0)
    tame = calm["output"].all(axis=(0, 2)) & calm["h_n"].all(axis=(0, 2))
    backward = over([gradient for trace in true.traces for gradient in trace.grad_states])
    for trace in true.traces:
        if trace.step.gates > 1:  # a huge state, say, times the gradient of a gate
            backward |= over(trace.values())
    row_backward = row | ~tame | backward.any(axis=0)
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, value in true.values.items():
        if name == "output":
            fine = ~past[:, :, None]
        elif is_gradient(name) and not of_weights(name):
            fine = ~row_backward.reshape(1, -1, 1)
        elif is_gradient(name):
            fine = np.asarray(not row_backward.any())
        else:
            fine = ~row.reshape(1, -1, 1)
        masks[name] = np.broadcast_to(fine, value.shape) & (np.abs(value) < largest)
    for k, suffix in enumerate(suffixes(config)):
        trace = true.traces[k]
        before = np.concatenate((trace.h0[None], trace.output[:-1]))
        for name, gradient, factor in (
            ("ih", trace.grad_input, trace.x),
            ("hh", trace.grad_state, before),
        ):
            masks[f"grad_weight_{name}_{suffix}"] &= ~_sum_overflows(gradient, factor, most)
    return masks


def where_judged(
    true: Truth, calm: dict[str, NDArray[np.bool_]], finite: dict[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.bool_]]:
    """Return where a difference from the truth means something, shaped as every quantity.

    Args:
        true: of the case.
        calm: of output and final states, as `where_calm` returns it.
        finite: of every quantity, as `where_finite` returns it.
    """
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, value in true.values.items():
        if is_gradient(name):
            # Rows of a batch do not depend on each other; weights depend on all of them.
            tame = calm["output"].all(axis=(0, 2)) & calm["h_n"].all(axis=(0, 2))
            tame &= finite["output"].all(axis=(0, 2)) & finite["h_n"].all(axis=(0, 2))
            mask = tame.reshape(1, -1, 1) if not of_weights(name) else tame.all()
        else:
            mask = calm[name]
        masks[name] = np.broadcast_to(mask, value.shape) & finite[name]
    return masks


def _own_chaos(
    case: Case, traces: list[Trace], widest: list[Array], earlier: list[Trace] | None = None
) -> list[Array]:
    """Return where rounding alone reaches too much of a layer's states: `[T, B, 1]` for each.

    Relu's states may grow by many orders of magnitude: their size is that of the steps so far, of
    which some may be in `earlier` traces.
    """
    tanh = case.config.nonlinearity == "tanh"
    share = CHAOTIC if tanh else CHAOTIC_RELU
    share = max(share, CHAOTIC_ROUNDOFFS * unit_roundoff(case.dtype))
    tiny = 1e3 * underflow(case.dtype)
    found = []
    for k, (trace, unit) in enumerate(zip(traces, widest, strict=True)):
        size: Any = _rms(trace.output)
        if not tanh:
            size = np.maximum.accumulate(np.abs(trace.output).max(axis=2), axis=0)
            if earlier is not None:
                size = np.maximum(size, np.abs(earlier[k].output).max(axis=(0, 2)))
        small = unit <= share * size + tiny
        found.append((~small).astype(np.float64)[:, :, None])
    return found


def spread_chaos(x: Array, h0: Array, own: Array, nonlinearity: str) -> tuple[Array, Array]:
    """A layer that hands on, in place of states, whether they are chaotic (1) or not (0).

    They are, once anything is that they are made from, also where the unit happens to shrink again.
    """
    at_step = np.maximum(x.max(axis=2, keepdims=True), own)
    chaotic = np.maximum(np.maximum.accumulate(at_step, axis=0), h0)
    return chaotic, chaotic[-1]


def _sums_overflow(trace: Trace, most: float) -> NDArray[np.bool_]:
    """Return where what goes into the nonlinearity may overflow on the way, `[T, R]`.

    By the sum of absolute terms: in which order they are added up, and what of them is kept in the
    dtype, is not known. Half of the largest number is near enough.
    """
    before = np.concatenate((trace.h0[None], trace.output[:-1]))
    weight_ih, weight_hh, bias_ih, bias_hh = map(np.abs, trace.cell)
    bias = bias_ih + bias_hh
    at_most = (
        weight_ih.shape[1] * weight_ih.max() * np.abs(trace.x).max()
        + weight_hh.shape[1] * weight_hh.max() * np.abs(before).max()
        + bias.max()
    )
    if at_most < most / 2:
        return np.zeros(trace.x.shape[:2], bool)
    sums = np.abs(trace.x) @ weight_ih.T + np.abs(before) @ weight_hh.T + bias
    over: NDArray[np.bool_] = ~(sums < most / 2).all(axis=2)
    return over


def _sum_overflows(grad_a: Array, factor: Array, most: float) -> NDArray[np.bool_]:
    """Return where a gradient of a weight may overflow on the way, `[H, n]`; as above."""
    flat, other = (np.abs(a.reshape(-1, a.shape[2])) for a in (grad_a, factor))
    if len(flat) * flat.max() * other.max() < most / 2:
        return np.zeros((flat.shape[1], other.shape[1]), bool)
    over: NDArray[np.bool_] = ~(flat.T @ other < most / 2)
    return over


def _rms(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array.astype(np.longdouble)))))
