"""What must hold of any right implementation, whatever the truth is.

The cheap ones are looked at in every case: the same call again, after all others, must be right
again; another input must give another result; what was given and what was returned stays as it is.
The others are calls of other shapes, which some frameworks compile: `Case.invariants` asks for
them. Each runs the implementation once more, in another way that must give the same result, and
returns that result in the shape of the first one, so that both can be compared element by element.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from rnnparity.implementations.outcome import Result
from rnnparity.problems.arrays import Problem, initial_states
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import time_major
from rnnparity.types import Array

# Given x, the initial states by name (none for zeros), and lengths.
Run = Callable[[Array, dict[str, Array], Array | None], Result]

CHUNKS = "chunks with the state fed back"
ROW = "a batch row alone"
PERMUTED = "a permuted batch"
PADDING = "another padding"
REPEATED = "the same input twice"
RESPONDS = "another input gives another result"
THREADS = "another thread count"
NO_STATE = "no h0"
ZERO_STATE = "zeros as h0"
AUTODIFF = "the forward pass while gradients are recorded"

# Not compared with the first result: of the same call again only what came out in other bits is
# kept, which is judged by the truth (threads may add in another order); another input and another
# h0 have another truth.
NOT_COMPARED = (REPEATED, RESPONDS, NO_STATE, ZERO_STATE)


def observe(case: Case, problem: Problem, first: Result, run: Run) -> dict[str, Result]:
    """Run an implementation in the ways that must not matter.

    Args:
        case: what was run; decides which invariants there are.
        problem: its arrays.
        first: what the implementation returned for them.
        run: runs it on x, initial states and lengths, laid out as the case says, as NumPy arrays.

    Returns:
        Invariant to result, each to be compared with `first`; `NO_STATE` with `ZERO_STATE`. Those
        that `run` says are not implemented are left out.
    """
    found: dict[str, Result] = {}
    B, states = case.B or 1, initial_states(problem)
    if not case.config.bidirectional and case.T > 1 and not case.ragged:
        with suppress(NotImplementedError):
            found[CHUNKS] = _chunks(case, problem, run)
    if B > 1:
        with suppress(NotImplementedError):
            found[ROW] = _row_alone(case, problem, first, run)
        order = np.roll(np.arange(B)[::-1], 1)
        with suppress(NotImplementedError):
            found[PERMUTED] = _permuted(case, problem, run, order)
    if problem.lengths is not None:
        found[PADDING] = run(_other_padding(case, problem), states, problem.lengths)
    if states:
        with suppress(NotImplementedError):
            without = run(problem.x, {}, problem.lengths)
            zeros = {name: np.zeros_like(state) for name, state in states.items()}
            found[ZERO_STATE] = run(problem.x, zeros, problem.lengths)
            found[NO_STATE] = without
    return found


def fed_back(result: "dict[str, Any]") -> "dict[str, Any]":
    """Return a result's last states as initial ones, by name."""
    return {f"{name[0]}0": state for name, state in result.items() if name in ("h_n", "c_n")}


def other_input(problem: Problem) -> Array:
    """Return an input of the same shape that must change the result."""
    return np.ascontiguousarray(-problem.x[::-1])


def _chunks(case: Case, problem: Problem, run: Run) -> Result:
    x, half = time_major(case, "x", problem.x), case.T // 2
    first = run(_back(case, x[:half]), initial_states(problem), None)
    second = run(_back(case, x[half:]), fed_back(first), None)
    axis = 1 if case.config.batch_first and case.B is not None else 0
    whole = np.concatenate((first["output"], second["output"]), axis=axis)
    return second | {"output": whole}


def _row_alone(case: Case, problem: Problem, first: Result, run: Run) -> Result:
    row = [int(problem.rows[-1])]
    alone = _permuted_run(case, problem, run, np.array(row))
    found = {name: first[name].copy() for name in alone}
    for name, value in alone.items():
        time_major(case, name, found[name])[:, row] = time_major(case, name, value)
    return found


def _permuted(case: Case, problem: Problem, run: Run, order: Array) -> Result:
    result = _permuted_run(case, problem, run, order)
    inverse = np.argsort(order)
    return {
        name: _back(case, time_major(case, name, value)[:, inverse], name)
        for name, value in result.items()
    }


def _permuted_run(case: Case, problem: Problem, run: Run, order: Array) -> Result:
    x = _back(case, time_major(case, "x", problem.x)[:, order])
    given = initial_states(problem).items()
    states = {name: np.ascontiguousarray(state[:, order]) for name, state in given}
    return run(x, states, None if problem.lengths is None else problem.lengths[order])


def _other_padding(case: Case, problem: Problem) -> Array:
    x = time_major(case, "x", problem.x).copy()
    assert problem.lengths is not None
    outside = np.arange(case.T)[:, None] >= problem.lengths[None, :]
    x[outside] = np.asarray(97, x.dtype)
    return _back(case, x)


def _back(case: Case, array: Array, name: str = "x") -> Array:
    """Lay a time-major array out as the case says: batches only, or as it was for one sequence."""
    if case.B is None:
        return np.ascontiguousarray(array[:, 0])
    return np.ascontiguousarray(time_major(case, name, array))
