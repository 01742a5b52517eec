"""One implementation on one case on one device: from arrays to an outcome. Judges nothing."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity.borders import Border
from rnnparity.cases import Case
from rnnparity.contract import Implementation
from rnnparity.errors import ContractViolation
from rnnparity.problems import Problem

Array = NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a run: arrays in their own dtype, or why there are none.

    Attributes:
        arrays: quantity ("output", "h_n", ...) to array, as the implementation returned it.
        verdict: "" where the arrays decide, else "fail", "error", "unsupported" or "absent".
        reason: one line, where there is a verdict.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    verdict: str = ""
    reason: str = ""


def execute(
    implementation: Implementation, border: Border, case: Case, problem: Problem, device: str
) -> Outcome:
    """Run a case; everything that the implementation does wrong becomes an outcome.

    Args:
        implementation: what to run.
        border: of its framework.
        case: what the problem was built from.
        problem: the arrays; they are copied, never handed out.
        device: a name from `border.devices()`.
    """
    lacking = implementation.lacks(case, device)
    if lacking is None and case.dtype not in border.dtypes(device):
        lacking = f"{border.framework} has no {case.dtype} on {device}"
    if lacking is not None:
        return Outcome(verdict="unsupported", reason=lacking)
    try:
        return Outcome(_run(implementation, border, case, problem, device))
    except ContractViolation as violation:
        return Outcome(verdict="fail", reason=str(violation))
    except (Exception, SystemExit) as error:
        return Outcome(verdict="error", reason=explain(error))


def explain(error: BaseException) -> str:
    """Return an exception as one line, with the file and line that raised it."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    where, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f" ({code.co_filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SystemExit):
        return f"raises SystemExit({error.code!r}){where}"
    return (
        f"raises {type(error).__name__}: {text}{where}"
        if text
        else f"raises {type(error).__name__}{where}"
    )


def _run(
    implementation: Implementation, border: Border, case: Case, problem: Problem, device: str
) -> dict[str, Array]:
    config = case.config
    given = {f"weight {name}": value for name, value in problem.weights.items()}
    given |= {
        name: value
        for name, value in (("x", problem.x), ("h0", problem.h0), ("lengths", problem.lengths))
        if value is not None
    }
    held = {name: border.from_numpy(value, device) for name, value in given.items()}
    weights = {name: held[f"weight {name}"] for name in problem.weights}

    def run(prepared: Any, x: Any, h0: Any, lengths: Any) -> tuple[Any, Any]:
        return implementation.run(prepared, x, h0, lengths, config)

    forward = border.forward(run)
    prepared = implementation.prepared(weights, config)
    results = _named(forward(prepared, held["x"], held.get("h0"), held.get("lengths")))
    if problem.x_next is not None:
        x_next = border.from_numpy(problem.x_next, device)
        ones = None if problem.lengths is None else np.ones_like(problem.lengths)
        lengths = None if ones is None else border.from_numpy(ones, device)
        following = _named(forward(prepared, x_next, results["h_n"], lengths))
        results |= {f"next_{name}": value for name, value in following.items()}
    border.synchronize(tuple(results.values()))

    arrays = {name: border.to_numpy(value) for name, value in results.items()}
    for name, value in results.items():
        if border.device_of(value) != device:
            raise ContractViolation(
                f"returned {name} on {border.device_of(value)}, expected {device}, where x is"
            )
    for name, value in given.items():
        if border.to_numpy(held[name]).tobytes() != value.tobytes():
            raise ContractViolation(f"changed its argument {name} in place: copy before writing")
    return arrays


def _named(result: Any) -> dict[str, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ContractViolation(
            f"returned a {type(result).__name__}, expected the pair (output, h_n)"
        )
    return {"output": result[0], "h_n": result[1]}
