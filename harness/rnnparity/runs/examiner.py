"""Which questions of `work` one implementation is asked, and what if its process dies."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from rnnparity.implementations import invariants
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.judging import precision
from rnnparity.problems import arrays
from rnnparity.problems.cases import Case
from rnnparity.runs import answers, elsewhere, work
from rnnparity.runs.processes import Start, Worker, WorkerLost, fresh_process
from rnnparity.runs.work import Description
from rnnparity.verdicts import Verdict

# An implementation that hangs or crashes this often in a row is asked no more: a hang costs the
# whole time-out each time.
LOST_IN_A_ROW = 2


class Examiner:
    """One implementation and its process."""

    def __init__(
        self,
        spec: Spec,
        settings: Settings,
        log: Path,
        timeout: float,
        start: Start = fresh_process,
    ) -> None:
        """Start nothing yet.

        Args:
            spec: the implementation.
            settings: of its processes.
            log: gets what they print.
            timeout: seconds for one case, and for the import.
            start: makes the executors that run it, with this process's own Python.
        """
        self.spec, self.settings, self.timeout = spec, settings, timeout
        if spec.python:
            start = partial(elsewhere.Process, spec.python)
        threads = 2 if settings.threads == 1 else 1
        self._other_settings = msgspec.structs.replace(settings, threads=threads)
        self._worker, self._spare = Worker(settings, log, start), Worker(settings, log, start)
        self._other = Worker(self._other_settings, log, start)
        self._asked: dict[tuple[Case, str, int, bool], list[Outcome] | None] = {}
        self._lost: list[str] = []
        self._threads_seen = False

    def stop(self) -> None:
        """End the processes for good."""
        self._worker.close()
        self._other.close()
        self._spare.close()

    def forget(self) -> None:
        """Drop what is kept of cases that will not come again."""
        self._asked.clear()

    def describe(self) -> Description:
        """Load the implementation and return what it is."""
        python = self.spec.python
        if lacking := python and elsewhere.absent(python):
            return Description(verdict=Verdict.ABSENT, reason=lacking)
        try:
            found = self._worker.call(self.timeout, work.describe, self.spec, self.settings)
            if python and found.verdict == Verdict.ABSENT:  # says what to install there
                there = found.reason.replace("pip install", f"{python} -m pip install")
                found = msgspec.structs.replace(found, reason=there)
            return answers.in_lines(found)
        except WorkerLost as lost:
            return Description(verdict=Verdict.ERROR, reason=f"on import: {lost}")

    @property
    def given_up(self) -> bool:
        """Whether it hung or crashed so often in a row that it is asked no more."""
        return len(self._lost) >= LOST_IN_A_ROW

    def outcome(self, case: Case, device: str) -> Outcome:
        """Run a case."""
        if self.given_up:
            reason = f"not run: it {self._lost[-1]} {len(self._lost)} times in a row"
            return Outcome(verdict=Verdict.ERROR, reason=reason)
        try:
            outcome = self._worker.call(
                self.timeout, work.run_case, self.spec, self.settings, case, device
            )
        except WorkerLost as lost:
            self._lost.append(str(lost))
            return Outcome(verdict=Verdict.ERROR, reason=str(lost))
        self._lost = []
        return answers.checked(self._with_other_threads(outcome, case, device), case)

    def _with_other_threads(self, outcome: Outcome, case: Case, device: str) -> Outcome:
        """Run the first case with invariants once more, in a process with another thread count."""
        if not case.invariants or self._threads_seen or device != "cpu" or outcome.verdict:
            return outcome
        self._threads_seen = True
        settings, plain = self._other_settings, case.replace(invariants=False)
        threads = settings.threads
        try:
            other = self._other.call(
                self.timeout, work.run_case, self.spec, settings, plain, device
            )
        except WorkerLost as lost:
            return Outcome(verdict=Verdict.ERROR, reason=f"with {threads} threads it {lost}")
        finally:
            self._other.stop()
        if other.verdict:
            return Outcome(verdict=other.verdict, reason=f"with {threads} threads: {other.reason}")
        names = ("output", "h_n", "c_n")
        result = {name: other.arrays[name] for name in names if name in other.arrays}
        seen = outcome.invariants | {invariants.THREADS: result}
        return replace(outcome, invariants=seen)

    def fresh(
        self, case: Case, device: str, *, times: int = 1, gradients: bool = False
    ) -> list[Outcome] | None:
        """Run a case in another process, on an instance that nothing has called yet.

        Args:
            case: what to run.
            device: where.
            times: how often in a row.
            gradients: whether to take them, too.

        Returns:
            The outcomes; None if there is no such instance, or if its process is lost.
        """
        question = (case, device, times, gradients)
        if question not in self._asked:
            self._asked[question] = None
            try:
                found = self._ask_spare(*question)
                if found is None:  # cannot be loaded twice in one process
                    self._spare.stop()
                    found = self._ask_spare(*question)
                self._asked[question] = found
            except WorkerLost:
                self._spare.close()  # a hang costs the whole time-out: once is enough
        return self._asked[question]

    def _ask_spare(
        self, case: Case, device: str, times: int, gradients: bool
    ) -> list[Outcome] | None:
        found = self._spare.call(
            self.timeout, work.run_fresh, self.spec, self.settings, case, device, times, gradients
        )
        if found is not None and len(found) != times:
            raise WorkerLost(f"returned {len(found)} outcomes, expected {times}")
        return found and [answers.checked(outcome, case) for outcome in found]

    def matmul_precision(self, device: str) -> str | None:
        """Return the precision in which float32 matrix products really ran, in the canary.

        None where what came of it is the signature of no precision (`judging.precision`).
        """
        kind = self.spec.kind
        for nonlinearity in ("relu", "tanh") if kind == "rnn" else ("tanh",):
            case = precision.case(nonlinearity, kind)  # tanh where there is no relu
            outcome = self.outcome(case, device)
            if outcome.verdict != Verdict.UNSUPPORTED:
                break
        if outcome.verdict:
            return None
        canary = outcome.arrays["output"], arrays.build(case), case
        return precision.precision_of(*canary) or precision.computed_in(*canary)


def as_record_fields(outcome: Outcome) -> dict[str, Any]:
    """Return what a record says of an outcome's invariants beyond the verdict."""
    if invariants.REPEATED not in outcome.invariants:
        return {}
    return {"same_bits_twice": not outcome.invariants[invariants.REPEATED]}
