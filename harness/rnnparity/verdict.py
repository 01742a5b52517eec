"""The verdict on an outcome: how far it is from the truth, and whether that is too far."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity import digits
from rnnparity.cases import Case
from rnnparity.dtypes import numpy_dtype, spacing, unit_roundoff
from rnnparity.execution import Outcome
from rnnparity.records import Quantity

Array = NDArray[Any]

# The largest absolute error that passes, in unit roundoffs of the dtype, relative to the largest
# magnitude of the quantity where that is above 1. Rounding in a dot product of n terms grows
# between sqrt(n) u and n u, and the recurrence carries it on; the presets' cases stay below this.
LIMITS = {"float64": 512, "float32": 512, "float16": 64, "bfloat16": 64}


def judge(
    case: Case, outcome: Outcome, truth: dict[str, Array], baseline: Outcome | None
) -> tuple[str, str, dict[str, Quantity]]:
    """Compare an outcome with the truth.

    Args:
        case: what was run.
        outcome: what came of it.
        truth: every quantity in higher precision.
        baseline: what came of `torch.nn.RNN` on the CPU, if it was run.

    Returns:
        The verdict, the reason ("" for a pass), and every quantity's difference.
    """
    if outcome.verdict:
        return outcome.verdict, outcome.reason, {}
    quantities: dict[str, Quantity] = {}
    for name, expected in truth.items():
        found = outcome.arrays[name]
        if found.shape != expected.shape:
            return "fail", f"{name} has shape {found.shape}, expected {expected.shape}", {}
        if found.dtype != numpy_dtype(case.dtype):
            return "fail", f"{name} is {found.dtype}, expected {case.dtype}", {}
        torch_rnn = None if baseline is None else baseline.arrays.get(name)
        quantities[name] = _difference(case, found, expected, torch_rnn)
    reasons = [_reason(case, name, q) for name, q in quantities.items() if not _passes(q)]
    if not reasons and case.weights == "digits":
        wrong = digits.predict(outcome.arrays["h_n"]) != digits.predict(truth["h_n"])
        if wrong.any():
            reasons = [f"reads another digit from {wrong.sum()} of {len(wrong)} images"]
    return ("fail", reasons[0], quantities) if reasons else ("pass", "", quantities)


def _difference(case: Case, found: Array, expected: Array, torch_rnn: Array | None) -> Quantity:
    error = np.abs(found.astype(expected.dtype) - expected)
    error = np.where(np.isnan(error), np.inf, error)
    index = np.unravel_index(int(np.argmax(error)), error.shape)
    ulps = error / spacing(expected, case.dtype)
    scale = max(1.0, float(np.abs(expected).max()))
    difference = None
    if torch_rnn is not None and torch_rnn.shape == found.shape:
        difference = float(np.abs(found.astype(np.float64) - torch_rnn.astype(np.float64)).max())
    return Quantity(
        max_abs_error=_finite(error.max()),
        max_ulp=_finite(ulps.max()),
        index=tuple(int(i) for i in index),
        limit=LIMITS[case.dtype] * unit_roundoff(case.dtype) * scale,
        max_abs_difference_to_torch_rnn=_finite(difference),
    )


def _passes(quantity: Quantity) -> bool:
    return quantity.max_abs_error is not None and quantity.max_abs_error <= quantity.limit


def _reason(case: Case, name: str, quantity: Quantity) -> str:
    where = f"{name}[{', '.join(map(str, quantity.index))}]"
    if quantity.max_abs_error is None:
        return f"{where} is not a finite number, the truth is"
    return (
        f"{where} is off by {quantity.max_abs_error:.3g} ({quantity.max_ulp:.3g} ULP), "
        f"allowed {quantity.limit:.3g} in {case.dtype}"
    )


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
