"""Sequences of length 0 in a batch.

torch's layers refuse them, and so have no truth for them. What others document, and what the loop
over no step gives: the output is all padding, and the last state is the initial one. The other rows
are judged as ever.
"""

from pathlib import Path

import numpy as np

from rnnparity.judging.difference import z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import reference
from rnnparity.problems import arrays
from rnnparity.problems.arrays import initial_states
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import time_major
from rnnparity.runs.examiner import Examiner
from rnnparity.scoreboard.board import Cell, State
from rnnparity.types import Array
from rnnparity.verdicts import Verdict

ROW = 1  # whose sequence is empty


def judged(examiner: Examiner, device: str, ragged: Case, folder: Path) -> Cell:
    """Judge a layer on a batch of which one sequence is empty.

    Args:
        examiner: runs the layer.
        device: where.
        ragged: a case of unequal lengths; one of them is replaced.
        folder: gets the input.
    """
    case, other = (_case(ragged, length, folder) for length in (0, 1))
    outcome = examiner.outcome(case, device)
    if outcome.verdict == Verdict.ERROR:  # perhaps only while gradients were taken
        outcome = next(iter(examiner.fresh(case, device) or ()), outcome)
    if outcome.verdict:
        states = {Verdict.UNSUPPORTED: State.NOT_OFFERED, Verdict.FAIL: State.WRONG}
        state = states.get(outcome.verdict, State.REFUSES)
        return Cell(state=state, reason=outcome.reason, case=ragged)
    wrong = why(outcome.arrays, case, other)
    return Cell(state=State.WRONG if wrong else State.RIGHT, reason=wrong, case=ragged)


def why(found: dict[str, Array], case: Case, other: Case) -> str:
    """Say what is wrong with a result; "" if nothing is.

    Args:
        found: by quantity.
        case: of which a sequence is empty.
        other: the same, but for that sequence, which has one step.
    """
    against = reference(other)
    initial = initial_states(against.problem)
    others = np.arange(case.B or 1) != ROW
    for name in ("output", *(f"{state}_n" for state in case.config.states)):
        if name not in found:
            continue  # an LSTM's c_n, which nobody tells of unequal lengths
        array = time_major(case, name, found[name])
        if array.shape != against.true.values[name].shape:
            return f"{name} has shape {found[name].shape}"
        if z_scores(array, name, against)[:, others].max() > LIMIT:
            return f"{name} of the other sequences is wrong"
        state = initial.get(f"{name[0]}0") if name != "output" else None
        expected = 0 if state is None else time_major(case, f"{name[0]}0", state)[:, ROW]
        if not (array[:, ROW] == expected).all():
            what = "its initial state" if name != "output" else "0"
            return f"{name} of the empty sequence is not {what}"
    return ""


def _case(ragged: Case, length: int, folder: Path) -> Case:
    problem = arrays.build(ragged)
    assert problem.lengths is not None
    lengths = problem.lengths.copy()
    lengths[ROW] = length
    path = folder / f"{ragged.config.kind}-one-of-length-{length}.npz"
    held = {"x": problem.x, "lengths": lengths, **initial_states(problem)}
    np.savez(path, **held)  # type: ignore[arg-type]  # NumPy's stub: allow_pickle
    return ragged.replace(inputs=str(path.resolve()))
