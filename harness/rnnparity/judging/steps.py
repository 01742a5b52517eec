"""Single steps, judged from the implementation's own state before each."""

import numpy as np

from rnnparity.cells.network import in_cell_order
from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.difference import apart, judged_part
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.unit import as_float64, one_step
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import is_16_bit, spacing, unit_roundoff


def do_not_follow(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Judge every step from the implementation's own state before it.

    One step is well conditioned also where the whole sequence is chaotic. It can be checked where
    the states are seen: with one layer.
    """
    true, config = reference.true, reference.true.config
    if config.num_layers > 1 or len(config.states) > 1 or "output" not in outcome.arrays:
        return []
    H, lengths = config.hidden_size, true.lengths
    output = judged_part(case, "output", outcome.arrays["output"], reference).astype(np.float64)
    T, R, _ = output.shape
    ends = np.full(R, T) if lengths is None else lengths
    fine = reference.finite["output"].all(axis=2) & (np.arange(T)[:, None] < ends[None, :])
    for d, trace in enumerate(map(as_float64, true.traces)):
        h = in_cell_order(output[:, :, d * H : (d + 1) * H], lengths, d == 1)
        before = np.concatenate((trace.h0[None], h[:-1]))
        expected, deviation = one_step(trace, before, reference.arithmetic, config.nonlinearity)
        z = np.where(fine[:, :, None], apart(h, expected, deviation), 0)
        if z.max() > LIMIT:
            t = int(np.flatnonzero((z > LIMIT).any(axis=(1, 2)))[0])
            row, unit = (int(i) for i in np.unravel_index(int(np.argmax(z[t])), z[t].shape))
            row = int(reference.problem.rows[row])
            return [
                f"step {t} (row {row}, unit {unit}) does not follow from the state before it: off "
                f"by {z[t].max():.3g} units of one step's rounding"
            ]
        if "h_n" not in outcome.arrays:
            continue
        h_n = judged_part(case, "h_n", outcome.arrays["h_n"], reference).astype(np.float64)
        last = h[ends - 1, np.arange(R)]
        off = np.abs(h_n[d] - last) > LIMIT * unit_roundoff(case.dtype) * np.abs(last)
        if (off & reference.finite["h_n"][d]).any():
            return ["h_n is not the output at the last step"]
    return []


# A single product rounded to nearest errs up or down like a coin. Of at least so many that are not
# exact, at most this share may err towards zero: right ones come to it once in 10^10.
TRUNCATION_COUNT, TRUNCATION_SHARE = 64, 7 / 8


def truncated(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Whether 16-bit results are cut off and not rounded, or rounded to fewer bits.

    Either is within ten units of rounding. But what is cut off errs towards zero everywhere, and of
    fewer bits the last is always 0. Seen with one layer behind relu, every step taken from the
    implementation's own state, or where a result is one product: on weights and inputs that have no
    structure of their own.
    """
    config, canary = case.config, case.regime == "canary"
    if config.kind != "rnn":
        return []
    plain = canary or (case.regime == "torch-init" and case.weights is None is case.inputs)
    if not plain or not is_16_bit(case.dtype) or config.num_cells > 1 or case.ragged:
        return []
    if config.nonlinearity != "relu" and not (canary and case.T == 1):
        return []
    if "output" not in outcome.arrays:
        return []
    output = judged_part(case, "output", outcome.arrays["output"], reference)
    found, trace = output.astype(np.float64), as_float64(reference.true.traces[0])
    before = np.concatenate((trace.h0[None], found[:-1]))
    true, _ = one_step(trace, before, reference.arithmetic, config.nonlinearity)
    off = (found != true) & (true != 0) & (np.abs(found - true) < 4 * spacing(true, case.dtype))
    last_bits = np.ascontiguousarray(output).view(np.uint16)[found != 0] & 1
    for one_sided, told in (
        ((np.abs(found) < np.abs(true))[off], "results err towards zero: are they cut off"),
        (last_bits == 0, "results have a last bit of 0: have they fewer bits"),
    ):
        if len(one_sided) >= TRUNCATION_COUNT and one_sided.mean() > TRUNCATION_SHARE:
            return [f"{100 * one_sided.mean():.0f}% of {told}, not rounded to {case.dtype}?"]
    return []
