"""Running a layer on the cases of all columns, in processes of its own; shrinking what fails."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from rnnparity.cells.config import NONLINEARITIES, RNNConfig
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec, registered, without_kind
from rnnparity.implementations.settings import Settings
from rnnparity.judging.difference import z_scores
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import time_major
from rnnparity.records.check import Record
from rnnparity.records.environment import usable_cores
from rnnparity.runs.examiner import Examiner
from rnnparity.runs.one_check import Check
from rnnparity.runs.work import Description
from rnnparity.scoreboard import deciding, empty
from rnnparity.scoreboard.board import Cell, Row, State
from rnnparity.scoreboard.capabilities import (
    CALLS,
    EMPTY,
    GRADIENTS,
    HIDDEN,
    INPUT,
    LENGTHS,
    PLAIN,
    ROWS,
    STEPS,
    Trial,
    changed,
    of_kind,
)
from rnnparity.scoreboard.deciding import Tried
from rnnparity.scoreboard.shrinking import smallest
from rnnparity.verdicts import Verdict

# In this order a dtype is taken for the columns that are about something else.
DTYPES = ("float32", "float64", "bfloat16", "float16")

# What every column is judged on: all that is tried here is here for the CPU.
DEVICE = "cpu"


def rows(
    specs: Sequence[Spec],
    settings: Settings,
    timeout: float,
    folder: Path,
    done: Callable[[Row], None] = lambda row: None,
) -> tuple[Row, ...]:
    """Return a row for each layer, as many made at a time as there are cores for.

    Args:
        specs: of one kind each; several kinds of one library are several rows.
        settings: of their processes.
        timeout: seconds for a case and for an import.
        folder: gets logs and inputs.
        done: told of each row that is ready.
    """
    alike = Counter(_bare(spec) for spec in specs)

    def make(spec: Spec) -> Row:
        own = Path(tempfile.mkdtemp(dir=folder))
        row = _Trying(spec, settings, timeout, own).row()
        if alike[_bare(spec)] == 1:
            row = msgspec.structs.replace(row, name=_bare(spec)[0])
        done(row)
        return row

    with ThreadPoolExecutor(max(1, usable_cores() // settings.threads)) as pool:
        return tuple(pool.map(make, specs))


def _bare(spec: Spec) -> tuple[str, str]:
    """Return a layer's name without its kind and the Python that runs it, and its kind."""
    name = without_kind(spec.name)
    return (name.rpartition("@")[0] or name) if spec.python else name, spec.kind


def _registered(spec: Spec) -> str:
    """Return what is registered under a layer's name; "" if nothing is."""
    name, kind = _bare(spec)
    found = registered(kind).get(name)
    return found.target if found else ""


class _Trying:
    """One layer."""

    def __init__(self, spec: Spec, settings: Settings, timeout: float, folder: Path) -> None:
        self._spec, self._settings, self._timeout = spec, settings, timeout
        self._folder = folder
        self._log = folder / "worker.log"
        self._examiner = self._examination()
        self._description = Description()
        self._check: Check | None = None
        self._silent: Record | None = None  # of the plain case, where no answer came in time
        self._refer = cache(lambda case: reference(case, settings))

    def row(self) -> Row:
        """Make its row."""
        try:
            return self._row()
        finally:
            self._examiner.stop()

    def _examination(self) -> Examiner:
        return Examiner(self._spec, self._settings, self._log, self._timeout)

    def _row(self) -> Row:
        told = self._description = self._examiner.describe()
        if told.verdict or DEVICE not in told.devices:
            return self._made({}, told.reason or f"it does not run on the {DEVICE}")
        plain = self._plain()
        columns = of_kind(self._spec.kind)
        if self._silent is not None:
            cells = {one.name: Cell(state=State.HIDDEN) for one in columns}
            cells[PLAIN] = Cell(state=State.REFUSES, reason=self._silent.reason, case=plain)
            return self._made(cells)
        tried = {one.name: [self._tried(trial) for trial in one.trials(plain)] for one in columns}
        cells = {EMPTY: self._empty(plain)}
        cells = deciding.decide(columns, {n: t for n, t in tried.items() if t}, cells)
        if cells[LENGTHS].state not in deciding.GOOD and cells[EMPTY].state != State.NOT_OFFERED:
            cells[EMPTY] = Cell(state=State.HIDDEN)
        for column, cell in cells.items():
            if cell.state == State.WRONG and column != EMPTY and cell.case is not None:
                cells[column] = self._shrunk(column, cell, cell.case)
        return self._made(cells)

    def _made(self, cells: dict[str, Cell], reason: str = "") -> Row:
        return Row(
            name=without_kind(self._spec.name),
            kind=self._spec.kind,
            framework=self._description.framework,
            versions=self._description.packages,
            registered=self._spec.target == _registered(self._spec),
            cells=cells,
            reason=reason,
        )

    def _plain(self) -> Case:
        """Return the plain case: float32, tanh, no initial state, if the layer is right there.

        Else the first that it does right, or at least offers.
        """
        config = RNNConfig(input_size=INPUT, hidden_size=HIDDEN, kind=self._spec.kind)
        first = Case(config=config, h0=False, T=STEPS, B=ROWS)
        nonlinearities = NONLINEARITIES if self._spec.kind == "rnn" else ("tanh",)
        offered: list[Case] = []
        for dtype, nonlinearity, h0 in itertools.product(DTYPES, nonlinearities, (False, True)):
            if offered and (dtype, nonlinearity) != (first.dtype, "tanh"):
                break  # a fault is told of the first that is offered
            case = changed(first, dtype=dtype, nonlinearity=nonlinearity, h0=h0)
            record = self._record(case)
            if deciding.forward(record) in deciding.GOOD:
                return case
            if record.verdict != Verdict.UNSUPPORTED:
                offered.append(case)
            if self._is_silent(record):
                self._silent = record
                break
        return offered[0] if offered else first

    def _record(self, case: Case) -> Record:
        self._renew()
        if self._check is None:
            self._check = Check(self._examiner, self._description, DEVICE)
        return self._check.record(case, self._refer, lambda case: None)

    def _renew(self) -> None:
        """Begin anew with one that crashed or hung so often in a row that it is asked no more."""
        if self._examiner.given_up:
            self._examiner.stop()
            self._examiner = self._examination()
            self._check = None

    def _is_silent(self, record: Record) -> bool:
        """Whether it gave no answer in time: then it is not waited for in every column."""
        return record.verdict == Verdict.ERROR and "gave no answer" in record.reason

    def _tried(self, trial: Trial) -> Tried:
        record = self._record(trial.case)
        if record.verdict == Verdict.ERROR and not record.quantities:
            record = self._without_gradients(trial.case, record)
        both = trial.case.config.bidirectional and record.verdict == Verdict.FAIL
        return Tried(trial, record, self._halves(trial.case) if both else None)

    def _without_gradients(self, case: Case, record: Record) -> Record:
        """Return what is to be said of a case that broke, if its forward pass alone does not."""
        if self._is_silent(record) or case.invariants or case.one_more_step:
            return record
        found = self._examiner.fresh(case, DEVICE)
        if not found or found[0].verdict:
            return record
        told = judge(case, found[0], self._refer(case))
        if told.verdict != Verdict.PASS:
            return record
        why = f"while gradients were taken: {record.reason}"
        return msgspec.structs.replace(record, reason=why, quantities=told.quantities)

    def _halves(self, case: Case) -> tuple[float, float] | None:
        """Return how far each direction's outputs are off, in units."""
        outcome = self._examiner.outcome(case, DEVICE)
        return None if outcome.verdict else halves(case, outcome, self._refer(case))

    def _empty(self, plain: Case) -> Cell:
        ragged = changed(plain, ragged=True)
        self._renew()
        return empty.judged(self._examiner, DEVICE, ragged, self._folder)

    def _shrunk(self, column: str, cell: Cell, case: Case) -> Cell:
        def fails(smaller: Case) -> bool:
            record = self._record(smaller)
            if column == GRADIENTS:
                return deciding.backward(record) == State.WRONG
            state = deciding.of_calls(record) if column == CALLS else deciding.forward(record)
            return state == State.WRONG

        return msgspec.structs.replace(cell, smallest=smallest(case, fails))


def halves(case: Case, outcome: Outcome, against: Reference) -> tuple[float, float] | None:
    """Return the largest error of each direction in units; None if one has no right form."""
    ahead, back = 0.0, 0.0
    for name in ("output", *(f"{state}_n" for state in case.config.states)):
        if name not in outcome.arrays:
            continue  # an LSTM's c_n, which nobody tells of unequal lengths
        found = time_major(case, name, outcome.arrays[name])
        if found.shape != against.true.values[name].shape:
            return None
        z = z_scores(found, name, against)
        parts = np.split(z, 2, axis=-1) if name == "output" else (z[0::2], z[1::2])
        ahead, back = max(ahead, float(parts[0].max())), max(back, float(parts[1].max()))
    return ahead, back
