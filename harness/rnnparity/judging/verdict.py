"""The verdict on an outcome: its error in units of predicted rounding."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from rnnparity.cells.network import in_cell_order
from rnnparity.implementations import invariants
from rnnparity.implementations.outcome import Outcome
from rnnparity.judging import other_rows
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.truth import truth
from rnnparity.judging.unit import as_float64, one_step
from rnnparity.problems import digits
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import is_16_bit, numpy_dtype, spacing, underflow, unit_roundoff
from rnnparity.problems.quantities import is_gradient, of_weights, time_major
from rnnparity.types import Array
from rnnparity.verdicts import Verdict

# Of a zero, and up to so many times what underflow makes, the unit is no rounding of anything: z,
# which is then 1e37 or more, says nothing.
FLOORS = 1e3

# What a record keeps of z for pictures: stretches of time, the largest value, and a histogram.
STRETCHES, SHOWN, BIN, BINS = 48, 1e9, 0.25, 40


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one quantity (`output`, `h_n`, ...) differs from the truth.

    Attributes:
        max_abs_error: the largest absolute error; null where it is not finite.
        max_ulp: the largest error in units in the last place of the dtype at the truth.
        z: the largest error in units of predicted rounding; null where it is not finite.
        index: where that is, time-major: (step, row, feature), (layer and direction, row, unit), or
            the indices of a parameter.
        judged: share of the elements that are judged; the others are past the chaotic horizon.
        max_abs_difference_to_torch_rnn: from `torch.nn.RNN` on the CPU, where it was run.
        rms_z: root mean square of z over the judged elements.
        by_step: of the output, the largest z of every stretch of time steps, equally many in each.
        histogram: of the output, how many elements have z in each bin of a quarter unit.
    """

    max_abs_error: float | None
    max_ulp: float | None
    z: float | None
    index: tuple[int, ...]
    judged: float = 1.0
    max_abs_difference_to_torch_rnn: float | None = None
    rms_z: float | None = None
    by_step: tuple[float, ...] = ()
    histogram: tuple[int, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The verdict, why, and how far every quantity is from the truth.

    `explained` says that the reason is all there is to say: no operation is to be looked for.
    """

    verdict: Verdict
    reason: str
    quantities: dict[str, Difference]
    explained: bool = False


def judge(
    case: Case, outcome: Outcome, reference: Reference, baseline: Outcome | None = None
) -> Judgement:
    """Compare an outcome with the truth.

    Args:
        case: what was run.
        outcome: what came of it.
        reference: of the case.
        baseline: what came of `torch.nn.RNN` on the CPU, if it was run.

    Returns:
        "fail" if a judged element of any quantity is more than `LIMIT` units from the truth;
        "chaotic" if it is not, but rounding alone takes over at some time step; else "pass". What
        went wrong while gradients were taken decides only where the forward pass is right.
    """
    if outcome.verdict:
        return Judgement(outcome.verdict, outcome.reason, {})
    quantities: dict[str, Difference] = {}
    reasons: list[str] = []
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for name, array in outcome.arrays.items():
            form = _wrong_form(case, name, array, reference)
            if form and not is_gradient(name):
                return Judgement(Verdict.FAIL, form, {})
            if form:
                reasons.append(form)
                continue
            other = None if baseline is None else baseline.arrays.get(name)
            quantities[name] = _difference(case, name, array, reference, other)
            reasons += _reasons(case, name, array, quantities[name], reference)
        # What has no right form is not asked anything more.
        outcome = replace(
            outcome,
            arrays={name: outcome.arrays[name] for name in quantities},
            every_row={n: array for n, array in outcome.every_row.items() if n in quantities},
        )
        reasons += _broken_invariants(case, outcome, reference)
        of_calls = _is_cached(case, outcome, reference) + _keeps_state(case, outcome, reference)
        if not reasons:
            of_calls += _truncates(case, outcome, reference)
        reasons = of_calls + reasons
        reasons += _outside_range(case, outcome, reference)
        reasons += other_rows.reasons(case, outcome.arrays, outcome.every_row, reference, LIMIT)
        if reference.horizon is not None and not reasons:
            reasons += _steps_do_not_follow(case, outcome, reference)
    if not reasons and case.weights == "digits":
        of_truth = digits.predict(reference.true.values["h_n"])
        wrong = digits.predict(outcome.arrays["h_n"]) != of_truth
        if wrong.any():
            reasons = [f"reads another digit from {wrong.sum()} of {len(wrong)} images"]
    if outcome.trouble is not None:
        said = f"while gradients were taken: {outcome.trouble.reason}"
        if reasons:
            return Judgement(Verdict.FAIL, f"{reasons[0]}; {said}", quantities)
        said = f"{_forward_is_right(case, quantities, reference)}; {said}"
        return Judgement(outcome.trouble.verdict, said, quantities)
    if reasons:
        return Judgement(Verdict.FAIL, reasons[0], quantities, bool(of_calls))
    if any(quantity.judged < 1 for quantity in quantities.values()):
        return Judgement(Verdict.CHAOTIC, _horizon(case, reference), quantities)
    return Judgement(Verdict.PASS, "", quantities)


def z_scores(found: Array, name: str, reference: Reference) -> Array:
    """Return the error of every element in units; 0 where it is not judged, inf if not finite.

    Args:
        found: a quantity, time-major, the judged rows only.
        name: its name.
        reference: of the case.
    """
    expected = reference.true.values[name]
    error = np.abs(found.astype(expected.dtype) - expected)
    z = (error / reference.units[name]).astype(np.float64)
    z = np.where(np.isnan(z), np.inf, z)
    scores: Array = np.where(reference.judged[name], z, 0.0)
    return scores


def first_step_off(case: Case, outcome: Outcome, reference: Reference) -> str:
    """Say where the output first leaves what rounding allows; "" if it does not."""
    found = judged_part(case, "output", outcome.arrays["output"], reference)
    off = z_scores(found, "output", reference) > LIMIT
    if not off.any():
        return ""
    step = int(np.flatnonzero(off.any(axis=(1, 2)))[0])
    row, feature = (int(i) for i in np.argwhere(off[step])[0])
    row = int(reference.problem.rows[row])
    return f"leaves the recurrence at step {step} (row {row}, unit {feature})"


def judged_part(case: Case, name: str, array: Array, reference: Reference) -> Array:
    """Return a quantity as the reference has it: time-major, the judged rows only."""
    array = time_major(case, name, array)
    return array if of_weights(name) else array[:, reference.problem.rows]


def _broken_invariants(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Compare what the implementation returned in ways that must not matter with what it returned.

    Both were rounded, so that their difference may be sqrt(2) units where each may be one.
    """
    reasons = []
    for invariant, result in outcome.invariants.items():
        if invariant in invariants.NOT_COMPARED:
            continue
        for name, array in result.items():
            if array.shape != outcome.arrays[name].shape:
                shapes = f"{array.shape}, not {outcome.arrays[name].shape}"
                reasons.append(f"{invariant}: {name} has shape {shapes}")
                continue
            found = judged_part(case, name, array, reference).astype(np.float64)
            own = judged_part(case, name, outcome.arrays[name], reference).astype(np.float64)
            z = np.abs(found - own) / (np.sqrt(2) * reference.units[name])
            z = np.where(reference.judged[name], np.where(np.isnan(z), np.inf, z), 0)
            if z.max() > LIMIT:
                reasons.append(f"{invariant}: {name} differs by {z.max():.3g} units of rounding")
    return reasons


def _keeps_state(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Whether an earlier call shows in a later one: in the same again, or in one without h0."""
    question = "is state kept between calls?"
    for name, again in outcome.invariants.get(invariants.REPEATED, {}).items():
        if name not in outcome.arrays:
            continue
        found = judged_part(case, name, again, reference)
        first = judged_part(case, name, outcome.arrays[name], reference)
        if (_apart(found, first, np.sqrt(2) * reference.units[name]) > LIMIT)[
            reference.judged[name]
        ].any():
            return [f"the same input twice gives another result ({name} differs): {question}"]
        if z_scores(found, name, reference).max() > LIMIT:
            return [f"{name} is off when the same input is given again: {question}"]
    without, zeros = (
        outcome.invariants.get(name) for name in (invariants.NO_STATE, invariants.ZERO_STATE)
    )
    if without is None or zeros is None or reference.horizon is not None:
        return []
    for name in without:
        found, expected = (judged_part(case, name, r[name], reference) for r in (without, zeros))
        # The unit is that of another h0: the largest at a step stands for all of it.
        unit = reference.units[name].max(axis=2, keepdims=True)
        if (_apart(found, expected, np.sqrt(2) * unit) > LIMIT).any():
            return [f"without h0 {name} is not what it is with zeros as h0: {question}"]
    return []


def _apart(found: Array, other: Array, unit: Array) -> Array:
    """Return a distance in units; inf where it is no number."""
    z = np.abs(found.astype(np.float64) - other.astype(np.float64)) / unit
    return np.asarray(np.where(np.isnan(z), np.inf, z))


# A single product rounded to nearest errs up or down like a coin. Of at least so many that are not
# exact, at most this share may err towards zero: right ones come to it once in 10^10.
TRUNCATION_COUNT, TRUNCATION_SHARE = 64, 7 / 8


def _truncates(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
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


def _is_cached(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Whether another input gave the same bits though its truth is another."""
    other = outcome.invariants.get(invariants.RESPONDS)
    if other is None or other["output"].tobytes() != outcome.arrays["output"].tobytes():
        return []
    problem = reference.problem
    changed = truth(case, problem._replace(x=invariants.other_input(problem))).values["output"]
    if z_scores(changed, "output", reference).max() <= 2 * LIMIT:
        return []
    return ["returned the same output for another input: is it cached?"]


def _outside_range(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """What no rounding brings about, in every row and past every horizon: tanh beyond 1, or NaN.

    Only past an overflow of what goes into it, which `Reference.finite` knows of judged rows.
    """
    if case.config.nonlinearity != "tanh":
        return []
    bound = 1 + 16 * unit_roundoff(case.dtype)
    h0 = reference.problem.h0
    if case.config.kind == "gru" and h0 is not None:  # a mean of tanh and of what was there before
        bound *= max(1.0, float(np.abs(h0.astype(np.float64)).max()))
    reasons = []
    for name, array in outcome.arrays.items():
        if is_gradient(name) or name.endswith("c_n"):
            continue
        inside = np.abs(array.astype(np.float64)) <= bound
        finite = reference.finite[name]
        if not finite.all():
            inside = judged_part(case, name, inside, reference) | ~finite
        if not inside.all():
            reasons.append(f"{name} has values that tanh does not have (NaN, or beyond 1)")
    return reasons


def _steps_do_not_follow(case: Case, outcome: Outcome, reference: Reference) -> list[str]:
    """Judge every step from the implementation's own state before it.

    One step is well conditioned also where the whole sequence is chaotic. It can be checked where
    the states are seen: with one layer.
    """
    true, config = reference.true, reference.true.config
    if config.num_layers > 1 or config.kind != "rnn":
        return []
    H, lengths = config.hidden_size, true.lengths
    output = judged_part(case, "output", outcome.arrays["output"], reference).astype(np.float64)
    h_n = judged_part(case, "h_n", outcome.arrays["h_n"], reference).astype(np.float64)
    T, R, _ = output.shape
    ends = np.full(R, T) if lengths is None else lengths
    fine = reference.finite["output"].all(axis=2) & (np.arange(T)[:, None] < ends[None, :])
    for d, trace in enumerate(map(as_float64, true.traces)):
        h = in_cell_order(output[:, :, d * H : (d + 1) * H], lengths, d == 1)
        before = np.concatenate((trace.h0[None], h[:-1]))
        expected, deviation = one_step(trace, before, reference.arithmetic, config.nonlinearity)
        z = np.abs(h - expected) / deviation
        z = np.where(fine[:, :, None], np.where(np.isnan(z), np.inf, z), 0)
        if z.max() > LIMIT:
            t, row, unit = (int(i) for i in np.unravel_index(int(np.argmax(z)), z.shape))
            row = int(reference.problem.rows[row])
            return [
                f"step {t} (row {row}, unit {unit}) does not follow from the state before it: off "
                f"by {z.max():.3g} units of one step's rounding"
            ]
        last = h[ends - 1, np.arange(R)]
        off = np.abs(h_n[d] - last) > LIMIT * unit_roundoff(case.dtype) * np.abs(last)
        if (off & reference.finite["h_n"][d]).any():
            return ["h_n is not the output at the last step"]
    return []


def _wrong_form(case: Case, name: str, array: Array, reference: Reference) -> str:
    """Say what is wrong with an array's shape or dtype; "" if nothing is."""
    expected = _shape(case, name, reference)
    if array.shape != expected:
        return f"{name} has shape {array.shape}, expected {expected}"
    if array.dtype != numpy_dtype(case.dtype):
        return f"{name} is {array.dtype}, expected {case.dtype}"
    return ""


def _shape(case: Case, name: str, reference: Reference) -> tuple[int, ...]:
    shape = list(reference.true.values[name].shape)
    if of_weights(name):
        return tuple(shape)
    if case.B is None:
        return (shape[0], shape[2])
    shape[1] = case.B
    # A view of zeros laid out the other way round: time_major is its own inverse.
    return time_major(case, name, np.broadcast_to(np.float32(0), tuple(shape))).shape


def _difference(
    case: Case, name: str, array: Array, reference: Reference, baseline: Array | None
) -> Difference:
    found = judged_part(case, name, array, reference)
    expected, judged = reference.true.values[name], reference.judged[name]
    z = z_scores(found, name, reference)
    broken = ~np.isfinite(found.astype(np.float64)) & reference.finite[name]
    z = np.where(broken, np.inf, z)
    index = np.unravel_index(int(np.argmax(z)), z.shape)
    error = np.abs(found.astype(expected.dtype) - expected)
    error = np.where(judged | broken, np.where(np.isnan(error), np.inf, error), 0)
    difference = None
    if baseline is not None and baseline.shape == array.shape:
        difference = np.abs(array.astype(np.float64) - baseline.astype(np.float64)).max()
    return Difference(
        max_abs_error=_finite(error.max()),
        max_ulp=_finite((error / spacing(expected, case.dtype)).max()),
        z=_finite(z.max()),
        index=_case_index(name, index, reference),
        judged=float(judged.mean()),
        max_abs_difference_to_torch_rnn=_finite(difference),
        rms_z=_finite(np.sqrt(np.mean(np.square(z[judged])))) if judged.any() else None,
        by_step=_by_step(z) if name == "output" else (),
        histogram=_histogram(z[judged]) if name == "output" else (),
    )


def _by_step(z: Array) -> tuple[float, ...]:
    """Return the largest z of every time step, or of as many stretches as are kept."""
    largest = np.minimum(z.max(axis=(1, 2)), SHOWN)
    stretches = np.array_split(largest, min(len(largest), STRETCHES))
    return tuple(round(float(one.max()), 3) for one in stretches)


def _histogram(z: Array) -> tuple[int, ...]:
    """Return how many elements have z in each bin of a quarter unit; the last bin is open."""
    counts = np.bincount(np.minimum(z / BIN, BINS).astype(np.int64).ravel(), minlength=BINS + 1)
    return tuple(int(count) for count in np.trim_zeros(counts, "b"))


def _case_index(name: str, index: tuple[Any, ...], reference: Reference) -> tuple[int, ...]:
    where = [int(i) for i in index]
    if not of_weights(name):
        where[1] = int(reference.problem.rows[where[1]])
    return tuple(where)


def _reasons(
    case: Case, name: str, array: Array, quantity: Difference, reference: Reference
) -> list[str]:
    if quantity.z is not None and quantity.z <= LIMIT:
        return []
    where = f"{name}[{', '.join(map(str, quantity.index))}]"
    if quantity.z is None:
        return [f"{where} is not a finite number, the truth is"]
    z = z_scores(judged_part(case, name, array, reference), name, reference)
    index = np.unravel_index(int(np.argmax(z)), z.shape)
    value = float(judged_part(case, name, array, reference)[index])
    true_value, tiny = float(reference.true.values[name][index]), underflow(case.dtype)
    found, true = told_apart(value, true_value)
    if abs(true_value) <= tiny and reference.units[name][index] <= FLOORS * tiny:
        return [f"{where} is {found}, the truth is {true}, where there is nothing to round"]
    return [
        f"{where} is {found}, the truth is {true}: off by {quantity.z:.3g} units of rounding; "
        f"{LIMIT:g} are allowed"
    ]


def told_apart(a: float, b: float) -> tuple[str, str]:
    """Write two numbers with as many digits as it takes to see that they differ, and one more."""
    for n in range(2, 17):
        if f"{a:.{n}g}" != f"{b:.{n}g}":
            return f"{a:.{n + 1}g}", f"{b:.{n + 1}g}"
    return f"{a:.17g}", f"{b:.17g}"


def _forward_is_right(case: Case, quantities: dict[str, Difference], reference: Reference) -> str:
    largest = max((quantity.z or 0.0 for quantity in quantities.values()), default=0.0)
    until = "" if reference.horizon is None else f" up to step {reference.horizon}"
    return f"the forward pass is right{until} (z = {largest:.2g})"


def _horizon(case: Case, reference: Reference) -> str:
    if reference.horizon is None:
        return "gradients: rounding alone can reach their size; the rest is right"
    return (
        f"from step {reference.horizon} of {case.T} on rounding alone can reach the size of the "
        f"state; right up to there"
    )


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
