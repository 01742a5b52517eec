"""The verdict on an outcome: its error in units of predicted rounding."""

from dataclasses import dataclass, replace

import numpy as np

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging import calls, other_rows, steps
from rnnparity.judging.difference import (
    Difference,
    difference,
    judged_part,
    why_off,
)
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.problems import digits
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype, unit_roundoff
from rnnparity.problems.quantities import is_gradient, of_weights, time_major
from rnnparity.types import Array
from rnnparity.verdicts import Verdict


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
            quantities[name] = difference(case, name, array, reference, other)
            reasons += why_off(case, name, array, quantities[name], reference)
        # What has no right form is not asked anything more.
        outcome = replace(
            outcome,
            arrays={name: outcome.arrays[name] for name in quantities},
            every_row={n: array for n, array in outcome.every_row.items() if n in quantities},
        )
        reasons += calls.broken_invariants(case, outcome, reference)
        of_calls = calls.is_cached(case, outcome, reference)
        of_calls += calls.keeps_state(case, outcome, reference)
        if not reasons:
            of_calls += steps.truncated(case, outcome, reference)
        reasons = of_calls + reasons
        reasons += _outside_range(case, outcome, reference)
        reasons += other_rows.reasons(case, outcome.arrays, outcome.every_row, reference, LIMIT)
        if reference.horizon is not None and not reasons:
            reasons += steps.do_not_follow(case, outcome, reference)
    if not reasons and case.weights == "digits" and "h_n" in outcome.arrays:
        of_truth = digits.predict(reference.true.values["h_n"], case.config.kind)
        found = judged_part(case, "h_n", outcome.arrays["h_n"], reference)
        wrong = digits.predict(found, case.config.kind) != of_truth
        if wrong.any():
            reasons = [f"reads another digit from {wrong.sum()} of {len(wrong)} images"]
    without = ""
    if outcome.trouble is not None and not outcome.trouble.verdict.is_wrong:
        without = f"gradients were not compared: {outcome.trouble.reason}"
    elif outcome.trouble is not None:
        said = f"while gradients were taken: {outcome.trouble.reason}"
        if reasons:
            return Judgement(Verdict.FAIL, f"{reasons[0]}; {said}", quantities)
        said = f"{_forward_is_right(case, quantities, reference)}; {said}"
        return Judgement(outcome.trouble.verdict, said, quantities)
    if reasons:
        return Judgement(Verdict.FAIL, reasons[0], quantities, bool(of_calls))
    if any(quantity.judged < 1 for quantity in quantities.values()):
        said = "; ".join(filter(None, (_horizon(case, reference, quantities), without)))
        return Judgement(Verdict.CHAOTIC, said, quantities)
    return Judgement(Verdict.PASS, without, quantities)


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


def _forward_is_right(case: Case, quantities: dict[str, Difference], reference: Reference) -> str:
    largest = max((quantity.z or 0.0 for quantity in quantities.values()), default=0.0)
    until = "" if reference.horizon is None else f" up to step {reference.horizon}"
    return f"the forward pass is right{until} (within {largest:.2g} units)"


def _horizon(case: Case, reference: Reference, quantities: dict[str, Difference]) -> str:
    if reference.horizon is None:
        names = [name for name, quantity in quantities.items() if quantity.judged < 1]
        what = "gradients" if all(map(is_gradient, names)) else ", ".join(names)
        return f"{what}: rounding alone can reach their size; the rest is right"
    return (
        f"from step {reference.horizon} of {case.T} on rounding alone can reach the size of the "
        f"state; right up to there"
    )
