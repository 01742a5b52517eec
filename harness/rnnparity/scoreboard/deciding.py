"""From what came of the cases to the state of each column.

A column is blamed for what fails in its own cases and nowhere that these need: so that a layer
which does one thing wrong is wrong in one column.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from rnnparity.judging.limit import LIMIT
from rnnparity.problems.quantities import quantity
from rnnparity.records.check import Record
from rnnparity.scoreboard.board import Cell, State
from rnnparity.scoreboard.capabilities import (
    BIAS,
    BOTH,
    CALLS,
    GRADIENTS,
    PLAIN,
    PRODUCTS,
    REVERSE,
    Capability,
    Trial,
)
from rnnparity.verdicts import Verdict

WITHOUT_BIAS = "no bias"

# What a reason says that blames the calls before.
OF_EARLIER_CALLS = "depends on earlier calls"

# What may stand for a state of a column that another needs.
GOOD = (State.RIGHT, State.CHAOTIC)

# In this order one state stands for several trials of a column.
WORST = (State.WRONG, State.REFUSES, State.HIDDEN, State.CHAOTIC, State.RIGHT, State.NOT_OFFERED)


@dataclass(frozen=True)
class Tried:
    """A trial and what came of it; `halves` are the errors of the two directions, in units."""

    trial: Trial
    record: Record
    halves: tuple[float, float] | None = None


def forward(record: Record) -> State:
    """Return what is to be said of a case's outputs and last states."""
    if record.verdict == Verdict.UNSUPPORTED:
        return State.NOT_OFFERED
    if record.verdict in (Verdict.ERROR, Verdict.ABSENT) and not record.quantities:
        return State.REFUSES
    if record.verdict == Verdict.FAIL and (not record.quantities or _off(record, False)):
        return State.WRONG
    return State.CHAOTIC if record.verdict == Verdict.CHAOTIC else State.RIGHT


def keeps_state(record: Record) -> bool:
    """Whether a case fails by which calls came before it."""
    return record.verdict == Verdict.FAIL and OF_EARLIER_CALLS in record.reason


def backward(record: Record) -> State:
    """Return what is to be said of a case's gradients."""
    if not any(quantity(name).is_gradient for name in record.quantities):
        return State.REFUSES if record.verdict == Verdict.ERROR else State.NOT_OFFERED
    if record.verdict == Verdict.ERROR:
        return State.REFUSES
    return State.WRONG if _off(record, True) else State.RIGHT


def of_calls(record: Record) -> State:
    """Return what is to be said of further calls, where outputs and gradients are right."""
    found = forward(record)
    if found == State.RIGHT and record.verdict == Verdict.FAIL and not _off(record, True):
        return State.WRONG
    return found


def _off(record: Record, gradients: bool) -> bool:
    return any(
        one.z is None or one.z > LIMIT
        for name, one in record.quantities.items()
        if quantity(name).is_gradient == gradients
    )


def decide(
    columns: Iterable[Capability], tried: dict[str, list[Tried]], others: dict[str, Cell]
) -> dict[str, Cell]:
    """Return the cells of a layer.

    Args:
        columns: of its kind, in order.
        tried: by column, what came of its trials.
        others: cells that were judged otherwise; theirs are not decided here.
    """
    plain = tried[PLAIN][0]
    found = {PRODUCTS: _products(plain), **others}
    first = forward(plain.record)
    without = tried.get(WITHOUT_BIAS, [])
    of_bias = first == State.WRONG and bool(without) and forward(without[0].record) in GOOD
    if first == State.WRONG and found[PRODUCTS].state == State.WRONG:
        found[PLAIN] = found[BIAS] = _hidden()
    elif of_bias:
        found[PLAIN], found[BIAS] = _cell(State.RIGHT, without[0]), _cell(State.WRONG, plain)
    else:
        found[PLAIN] = _cell(first, plain)
        found[BIAS] = _hidden() if first in (State.WRONG, State.REFUSES) else _cell(first, plain)
    sound = first in GOOD
    if keeps_state(plain.record):
        found[PLAIN] = found[BIAS] = _hidden()
    found[GRADIENTS] = _gradients(tried) if sound else _hidden()
    if first == State.NOT_OFFERED:
        found[GRADIENTS] = _cell(first, plain)
    left = [one for one in columns if one.name not in found and one.name in tried]
    for column in _in_order(left, tried):
        found[column] = _of_column(column, tried[column], found, sound)
    stateful = [one for trials in tried.values() for one in trials if keeps_state(one.record)]
    if stateful:
        found[CALLS] = _cell(State.WRONG, stateful[0])
    if tried.get(BOTH):
        found[REVERSE], found[BOTH] = _directions(tried[BOTH][0], found[BOTH])
    return {one.name: found[one.name] for one in columns if one.name in found}


def _in_order(columns: list[Capability], tried: dict[str, list[Tried]]) -> list[str]:
    """Return names of columns, after those that they need."""
    names = [one.name for one in columns]
    needs = {n: {m for one in tried[n] for m in one.trial.needs if m in names} for n in names}
    done: list[str] = []
    while len(done) < len(names):
        done += [name for name in names if name not in done and needs[name] <= {*done}][:1]
    return done


def _of_column(name: str, tried: list[Tried], found: dict[str, Cell], sound: bool) -> Cell:
    cells = []
    for one in tried:
        state = of_calls(one.record) if name == CALLS else forward(one.record)
        blamed = sound and all(found[need].state in GOOD for need in one.trial.needs)
        blamed = blamed and not keeps_state(one.record)
        apart = one.trial.case.invariants or one.trial.case.one_more_step
        if state == State.REFUSES == found[GRADIENTS].state and apart:
            blamed = False  # it cannot be tried without gradients
        if not blamed and state in (State.WRONG, State.REFUSES):
            state = State.HIDDEN
        cells.append(_cell(state, one))
    offered = [one for one in cells if one.state != State.NOT_OFFERED]
    if not offered or cells[0].state == State.NOT_OFFERED:
        return cells[0]
    # What only shows where something else fails, too, says nothing against what is right alone.
    own = [one for one in offered if one.state != State.HIDDEN] or offered
    return min(own, key=lambda one: WORST.index(one.state))


def _directions(tried: Tried, both: Cell) -> tuple[Cell, Cell]:
    """Return the cells of what is read backwards, and of both directions side by side."""
    if both.state not in (State.WRONG, State.REFUSES):
        return both, both
    if tried.halves is None or both.state == State.REFUSES:
        return _hidden(), both
    ahead, back = tried.halves
    if ahead <= LIMIT < back:
        return both, _hidden()
    return _hidden(), both


def _gradients(tried: dict[str, list[Tried]]) -> Cell:
    """Return the cell of gradients: of the plain case, and wherever the forward pass is right."""
    plain = tried[PLAIN][0]
    first = backward(plain.record)
    if first != State.RIGHT:
        return _cell(first, plain)
    for trials in tried.values():
        for one in trials:
            if forward(one.record) in GOOD and one.record.quantities:
                state = backward(one.record)
                if state in (State.WRONG, State.REFUSES):
                    return _cell(state, one)
    return _cell(State.RIGHT, plain)


def _products(plain: Tried) -> Cell:
    precision = plain.record.matmul_precision
    if plain.trial.case.dtype != "float32":
        return Cell(state=State.NOT_OFFERED)
    if precision in (None, "float32"):
        state = State.RIGHT if precision else State.HIDDEN
        return Cell(state=state)
    why = f"matrix products of float32 run in {precision}"
    return msgspec.structs.replace(_cell(State.WRONG, plain), reason=why)


def _cell(state: State, tried: Tried) -> Cell:
    record = tried.record
    known = [one.z for one in record.quantities.values() if one.z is not None]
    blamed = state in (State.WRONG, State.REFUSES)
    bad = state in (State.WRONG, State.REFUSES, State.NOT_OFFERED, State.CHAOTIC)
    return Cell(
        state=state,
        reason=record.reason if bad else "",
        z=max(known, default=None),
        diagnosis=record.diagnosis if state == State.WRONG else (),
        case=tried.trial.case if blamed else None,
    )


def _hidden() -> Cell:
    return Cell(state=State.HIDDEN)
