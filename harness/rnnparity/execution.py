"""One implementation on one case on one device: from arrays to an outcome. Judges nothing."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity import calls, invariants, other_rows, stopwatch
from rnnparity.borders import Border
from rnnparity.cases import Case
from rnnparity.contract import Implementation
from rnnparity.errors import ContractViolation, explain
from rnnparity.problems import Problem

Array = NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a run: arrays in their own dtype, or why there are none.

    Attributes:
        arrays: quantity ("output", "h_n", ...) to array, as the implementation returned it.
        verdict: "" where the arrays decide, else "fail", "error", "unsupported" or "absent".
        reason: one line, where there is a verdict.
        invariants: what it returned in ways that must not matter, to compare with `arrays`.
        every_row: its gradients where the functional weighs all rows of the batch, if only a sample
            of them is judged (and weighed) otherwise.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    verdict: str = ""
    reason: str = ""
    invariants: dict[str, dict[str, Array]] = field(default_factory=dict)
    every_row: dict[str, Array] = field(default_factory=dict)


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
        with warnings.catch_warnings():
            leave_arithmetic_alone()
            return _run(implementation, border, case, problem, device)
    except ContractViolation as violation:
        return Outcome(verdict="fail", reason=str(violation))
    except BaseException as error:  # whatever it raises is its own; Ctrl-C does not come here
        return Outcome(verdict="error", reason=explain(error))


def leave_arithmetic_alone() -> None:
    """Ignore warnings of an overflow and the like, also where all warnings are made errors.

    Whether NumPy gives one depends on the loop that it chose for the processor; the verdict knows
    where an overflow may be.
    """
    warnings.filterwarnings("ignore", ".* encountered in", RuntimeWarning)


def _run(
    implementation: Implementation, border: Border, case: Case, problem: Problem, device: str
) -> Outcome:
    config = case.config
    given = {f"weight {name}": value for name, value in problem.weights.items()}
    given |= {
        name: value
        for name, value in (("x", problem.x), ("h0", problem.h0), ("lengths", problem.lengths))
        if value is not None
    }
    held = {name: border.from_numpy(value, device) for name, value in given.items()}
    weights = {name: held[f"weight {name}"] for name in problem.weights}

    def own(function: Callable[..., Any], *arguments: Any) -> Any:
        with stopwatch.running():
            return function(*arguments)

    with border.unrecorded():
        forward = own(calls.forward, implementation, border, config, weights)
        results = _named(own(forward, held["x"], held.get("h0"), held.get("lengths")))
        if problem.x_next is not None:
            x_next = border.from_numpy(problem.x_next, device)
            ones = None if problem.lengths is None else np.ones_like(problem.lengths)
            lengths = None if ones is None else border.from_numpy(ones, device)
            following = _named(own(forward, x_next, results["h_n"], lengths))
            results |= {f"next_{name}": value for name, value in following.items()}
    observed: dict[str, dict[str, Array]] = {}
    every_row: dict[str, Array] = {}
    if implementation.gradients:
        differentiate = own(calls.gradients, implementation, border, config, weights)
        states: dict[str, Any] = {
            name: border.leaf(held[name]) for name in held if name in ("x", "h0")
        }
        upstream = tuple(
            border.from_numpy(value, device) for value in (problem.grad_output, problem.grad_h_n)
        )
        recorded, gradients = own(differentiate, states, held.get("lengths"), upstream)
        results |= {f"grad_{name}": value for name, value in gradients.items()}
        crossed = {name: border.to_numpy(value) for name, value in _named(recorded).items()}
        observed[invariants.AUTODIFF] = crossed
        if other_rows.are_left(case, problem):
            upstream = tuple(
                border.from_numpy(value, device) for value in other_rows.weighed(case, problem)
            )
            _, gradients = own(differentiate, states, held.get("lengths"), upstream)
            every_row = {f"grad_{n}": border.to_numpy(value) for n, value in gradients.items()}
    own(border.synchronize, tuple(results.values()))

    arrays = {name: border.to_numpy(value) for name, value in results.items()}
    for name, value in results.items():
        if border.device_of(value) != device:
            raise ContractViolation(
                f"returned {name} on {border.device_of(value)}, expected {device}, where x is"
            )
    for name, value in given.items():
        if border.to_numpy(held[name]).tobytes() != value.tobytes():
            raise ContractViolation(f"changed its argument {name} in place: copy before writing")
    if not case.invariants:
        return Outcome(arrays, invariants=observed, every_row=every_row)

    def again(x: Array, h0: Array | None, lengths: Array | None) -> dict[str, Array]:
        crossed = [None if a is None else border.from_numpy(a, device) for a in (x, h0, lengths)]
        with border.unrecorded():
            found = _named(own(forward, *crossed))
        border.synchronize(tuple(found.values()))
        return {name: border.to_numpy(value) for name, value in found.items()}

    observed |= invariants.observe(case, problem, arrays, again)
    other = again(invariants.other_input(problem), problem.h0, problem.lengths)
    observed[invariants.RESPONDS] = other
    for name in ("output", "h_n"):
        if border.to_numpy(results[name]).tobytes() != arrays[name].tobytes():
            raise ContractViolation(f"a later call changed the {name} that an earlier one returned")
    return Outcome(arrays, invariants=observed, every_row=every_row)


def _named(result: Any) -> dict[str, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ContractViolation(
            f"returned a {type(result).__name__}, expected the pair (output, h_n)"
        )
    return {"output": result[0], "h_n": result[1]}
