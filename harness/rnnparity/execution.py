"""One implementation on one case on one device: from arrays to an outcome. Judges nothing."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity import calls, invariants, other_rows, stopwatch
from rnnparity.borders import Border
from rnnparity.cases import Case
from rnnparity.contract import Implementation
from rnnparity.errors import ContractViolation, explain
from rnnparity.gradient_calls import explain_gradients, untouched
from rnnparity.problems import Problem, build

Array = NDArray[Any]


@dataclass(frozen=True)
class Trouble:
    """What went wrong while gradients were taken: "fail" or "error", and why, in one line."""

    verdict: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What came of a run: arrays in their own dtype, or why there are none.

    Attributes:
        arrays: quantity ("output", "h_n", ...) to array, as the implementation returned it.
        verdict: "" where the arrays decide, else "fail", "error", "unsupported" or "absent".
        reason: one line, where there is a verdict.
        invariants: what it returned in ways that must not matter, to compare with `arrays`.
        trouble: why there are no gradients among the arrays, though there should be.
        every_row: its gradients where the functional weighs all rows of the batch, if only a sample
            of them is judged (and weighed) otherwise.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    verdict: str = ""
    reason: str = ""
    invariants: dict[str, dict[str, Array]] = field(default_factory=dict)
    trouble: Trouble | None = None
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


def run_times(
    implementation: Implementation,
    border: Border,
    case: Case,
    device: str,
    times: int,
    gradients: bool,
) -> list[Outcome]:
    """Run a case so many times in a row, with gradients or without."""
    implementation = replace(implementation, gradients=implementation.gradients and gradients)
    problem = build(case)
    return [execute(implementation, border, case, problem, device) for _ in range(times)]


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
        # Before anything is made of them: what follows would fail in other words.
        _check_form(results, border, problem)
        if problem.x_next is not None:
            x_next = border.from_numpy(problem.x_next, device)
            ones = None if problem.lengths is None else np.ones_like(problem.lengths)
            lengths = None if ones is None else border.from_numpy(ones, device)
            following = _named(own(forward, x_next, results["h_n"], lengths))
            results |= {f"next_{name}": value for name, value in following.items()}
    own(border.synchronize, tuple(results.values()))
    arrays = _crossed(results, border, device)

    def gradients() -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        watched = implementation
        if implementation.layer_backward is not None:
            kept_whole = untouched(implementation.layer_backward, border)
            watched = replace(implementation, layer_backward=kept_whole)
        differentiate = own(calls.gradients, watched, border, config, weights)
        states: dict[str, Any] = {
            name: border.leaf(held[name]) for name in held if name in ("x", "h0")
        }

        def of(upstream: tuple[Array, Array]) -> tuple[Any, dict[str, Array]]:
            weighed = tuple(border.from_numpy(value, device) for value in upstream)
            recorded, found = own(differentiate, states, held.get("lengths"), weighed)
            own(border.synchronize, tuple(found.values()))
            named = {f"grad_{name}": value for name, value in found.items()}
            return recorded, _crossed(named, border, device)

        recorded, found = of((problem.grad_output, problem.grad_h_n))
        left = other_rows.are_left(case, problem)
        _, every = of(other_rows.weighed(case, problem)) if left else (None, {})
        return found, _crossed(_named(recorded), border, device), every

    observed: dict[str, dict[str, Array]] = {}
    trouble: Trouble | None = None
    every_row: dict[str, Array] = {}
    if implementation.gradients:
        try:
            found, observed[invariants.AUTODIFF], every_row = gradients()
            arrays |= found
        except ContractViolation as violation:
            trouble = Trouble("fail", str(violation))
        except BaseException as error:  # as in `execute`; the forward pass is judged all the same
            trouble = Trouble("error", explain_gradients(error))
    for name, value in given.items():
        if border.to_numpy(held[name]).tobytes() != value.tobytes():
            raise ContractViolation(f"changed its argument {name} in place: copy before writing")
    if not case.invariants:
        return Outcome(arrays, invariants=observed, every_row=every_row, trouble=trouble)

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
    return Outcome(arrays, invariants=observed, every_row=every_row, trouble=trouble)


def _check_form(results: dict[str, Any], border: Border, problem: Problem) -> None:
    upstream = {"output": problem.grad_output, "h_n": problem.grad_h_n}
    for name, expected in upstream.items():
        found = border.to_numpy(results[name])
        if found.shape != expected.shape:
            raise ContractViolation(f"{name} has shape {found.shape}, expected {expected.shape}")
        if found.dtype != expected.dtype:
            raise ContractViolation(f"{name} is {found.dtype}, expected {expected.dtype}")


def _crossed(results: dict[str, Any], border: Border, device: str) -> dict[str, Array]:
    arrays = {name: border.to_numpy(value) for name, value in results.items()}
    for name, value in results.items():
        if border.device_of(value) != device:
            raise ContractViolation(
                f"returned {name} on {border.device_of(value)}, expected {device}, where x is"
            )
    return arrays


def _named(result: Any) -> dict[str, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ContractViolation(
            f"returned a {type(result).__name__}, expected the pair (output, h_n)"
        )
    return {"output": result[0], "h_n": result[1]}
