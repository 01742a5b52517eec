"""Judging outputs that somebody saved: nothing is run, so nothing is run again to explain them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rnnparity.errors import UsageError
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.settings import Settings
from rnnparity.judging.assess import Assessment, assess
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference, reference
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.outputs import coarser
from rnnparity.problems.quantities import time_major
from rnnparity.problems.saved import Saved
from rnnparity.types import Array
from rnnparity.verdicts import Verdict
from rnnparity.words import option

# What digits of text may leave open, as a share of the size of the truth: of three and more.
COARSEST = 1e-2


def assess_outputs(
    case: Case, given: Mapping[str, Saved], settings: Settings | None = None
) -> tuple[Assessment, Reference, dict[str, Array]]:
    """Judge outputs by the case that they are of.

    Args:
        case: what they should be the outputs of.
        given: "output", "h_n", "c_n", or some of them, in the shapes that the case has.
        settings: what is declared besides the dtype, as for `reference`.

    Returns:
        What is made of them, what they were judged against, and the arrays as they were judged.
    """
    against = reference(case, settings)
    for name, saved in given.items():
        _check_digits(name, saved, against)
    arrays = {name: _in_dtype(case, name, saved, against) for name, saved in given.items()}

    def fresh(probe: Case, /, *, times: int = 1, gradients: bool = False) -> None:
        """Return that there is nothing to run."""

    found = assess(case, Outcome(arrays), against, fresh)
    if found.judgement.verdict == Verdict.FAIL:
        hint = _hint(case, given, arrays, against)
        reason = "; ".join(filter(None, (found.judgement.reason, hint)))
        found = found._replace(judgement=replace(found.judgement, reason=reason))
    return found, against, arrays


def _check_digits(name: str, saved: Saved, against: Reference) -> None:
    """Refuse text whose digits leave so much open that nearly anything would pass.

    Raises:
        UsageError: they leave open more than a hundredth of the truth's size.
    """
    if saved.off is None:
        return
    with np.errstate(all="ignore"):
        true = against.true.values[name].astype(np.float64)
        size = np.sqrt(np.mean(np.square(true[np.isfinite(true)])))
        open_ = np.sqrt(np.mean(np.square(saved.off)))
    if open_ > COARSEST * size:
        raise UsageError(
            f"{name} is text of {saved.digits}, which tells too little: write nine digits (%.9g)"
        )


def _in_dtype(case: Case, name: str, saved: Saved, against: Reference) -> Array:
    """Return an output in the case's dtype; of what its digits leave open, what is nearest to true.

    So that the digits that were not written are held against nobody.
    """
    dtype = numpy_dtype(case.dtype)
    with np.errstate(all="ignore"):
        if saved.off is None:
            return saved.values.astype(dtype)
        rows = against.problem.rows
        found = time_major(case, name, saved.values).astype(np.float64)
        off = time_major(case, name, saved.off)
        true = against.true.values[name].astype(np.float64)
        part = found[:, rows]
        nearest = np.clip(true, part - off[:, rows], part + off[:, rows])
        found[:, rows] = np.where(np.isfinite(true), nearest, part)
        laid_out = found[:, 0] if case.B is None else time_major(case, name, found)
        return np.ascontiguousarray(laid_out.astype(dtype))


def _hint(
    case: Case, given: Mapping[str, Saved], arrays: Mapping[str, Array], against: Reference
) -> str:
    """Say what else a failure may come of: of what is too large, coarser, or behind the ends."""
    for name, saved in given.items():
        values = saved.values.astype(np.float64)
        lost = np.isfinite(values) & ~np.isfinite(arrays[name].astype(np.float64))
        if lost.any():
            largest = np.abs(values[lost]).max()
            return f"{name} has values up to {largest:.3g}, beyond the range of {case.dtype}"
    dtype = coarser(case.dtype, given)
    if dtype is not None:
        return (
            f"every value is a {dtype} number: was it computed in that ({option('dtype', dtype)})?"
        )
    lengths = against.true.lengths
    if lengths is None or "output" not in arrays:
        return ""
    found = time_major(case, "output", arrays["output"])[:, against.problem.rows]
    beyond = np.arange(len(found))[:, None] >= lengths[None, :]
    with np.errstate(all="ignore"):
        true, units = against.true.values["output"], against.units["output"]
        off = np.abs(found.astype(np.float64) - true) > LIMIT * units
    if off[beyond].any() and not off[~beyond].any():
        return "right up to each sequence's end; beyond it torch's output is 0"
    return ""
