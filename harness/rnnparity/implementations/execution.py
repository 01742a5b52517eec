"""One implementation on one case on one device: from arrays to an outcome. Judges nothing."""

import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np

from rnnparity.errors import ContractViolation, explain
from rnnparity.implementations import invariants
from rnnparity.implementations.calls import Calls
from rnnparity.implementations.contract import Implementation
from rnnparity.implementations.frameworks import Border
from rnnparity.implementations.gradient_calls import explain_gradients
from rnnparity.implementations.outcome import Outcome, Result, Trouble
from rnnparity.implementations.support import Unsupported
from rnnparity.problems.arrays import (
    Problem,
    build,
    initial_states,
    rows_are_left,
    upstream,
    weighing_all_rows,
)
from rnnparity.problems.cases import Case
from rnnparity.types import Array
from rnnparity.verdicts import Verdict


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
    lacking = implementation.support.lacks(case, device)
    if lacking is None and case.dtype not in border.dtypes(device):
        lacking = f"{border.framework} has no {case.dtype} on {device}"
    if lacking is not None:
        return Outcome(verdict=Verdict.UNSUPPORTED, reason=lacking)
    try:
        with warnings.catch_warnings():
            leave_arithmetic_alone()
            return _run(implementation, border, case, problem, device)
    except ContractViolation as violation:
        return Outcome(verdict=Verdict.FAIL, reason=str(violation))
    except NotImplementedError as error:
        return Outcome(verdict=Verdict.UNSUPPORTED, reason=_not_implemented(error))
    except BaseException as error:  # whatever it raises is its own; Ctrl-C does not come here
        return Outcome(verdict=Verdict.ERROR, reason=explain(error))


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
    calls = Calls(implementation, border, case, problem, device)
    results, arrays = calls.forward()
    # A layer alone does not tell what c was at the ends of sequences of unequal length.
    told = all(f"{state}_n" in results for state in case.config.states)
    if problem.x_next is not None and told:
        with suppress(NotImplementedError):  # it takes no initial state
            following, crossed_next = calls.one_more_step(results)
            results |= {f"next_{name}": value for name, value in following.items()}
            arrays |= {f"next_{name}": value for name, value in crossed_next.items()}
    forward = dict(arrays)
    observed: dict[str, Result] = {}
    every_row: Result = {}
    trouble: Trouble | None = None
    if implementation.gradients:
        try:
            observed[invariants.AUTODIFF], gradients = calls.gradients(upstream(problem))
            arrays |= gradients
            if rows_are_left(case, problem):
                _, every_row = calls.gradients(weighing_all_rows(case, problem))
                _check_form(every_row, arrays)
        except ContractViolation as violation:
            trouble = Trouble(Verdict.FAIL, str(violation))
        except NotImplementedError as error:
            trouble = Trouble(Verdict.UNSUPPORTED, _not_implemented(error))
        except BaseException as error:  # as in `execute`; the forward pass is judged all the same
            trouble = Trouble(Verdict.ERROR, explain_gradients(error))
    if case.invariants:

        def on(x: Array, states: Result, lengths: Array | None) -> Result:
            if not states and not implementation.support.has("without_h0"):
                raise NotImplementedError
            return calls.on(x, states, lengths)

        observed |= invariants.observe(case, problem, arrays, on)
    # Last: what is kept of all the calls before, other inputs and shapes among them, shows here.
    other = calls.on(invariants.other_input(problem), initial_states(problem), problem.lengths)
    output = arrays["output"]
    if other["output"].tobytes() == output.tobytes() and not np.isnan(output).all():
        observed[invariants.RESPONDS] = other
    calls.check_kept(results, forward)
    _, repeated = calls.forward()  # after which a reused buffer holds the first result again
    if implementation.gradients and trouble is None:
        repeated |= calls.gradients(upstream(problem))[1]
    _check_form(repeated, arrays)
    observed[invariants.REPEATED] = {
        name: value for name, value in repeated.items() if value.tobytes() != arrays[name].tobytes()
    }
    calls.check_at_the_end(results)
    calls.check_kept(results, forward)
    return Outcome(arrays, invariants=observed, every_row=every_row, trouble=trouble)


def _not_implemented(error: NotImplementedError) -> str:
    return str(error) if isinstance(error, Unsupported) else explain(error).removeprefix("raises ")


def _check_form(again: Result, first: Result) -> None:
    for name, value in again.items():
        if value.shape != first[name].shape or value.dtype != first[name].dtype:
            raise ContractViolation(f"returned {name} in another shape or dtype at a second call")
