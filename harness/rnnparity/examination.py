"""Examining one implementation: everything that is asked of its worker process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnnparity import invariants, workers
from rnnparity.cases import Case
from rnnparity.config import RNNConfig
from rnnparity.execution import Outcome
from rnnparity.reference import reference
from rnnparity.registry import Spec
from rnnparity.settings import Settings
from rnnparity.workers import Description, Worker, WorkerLost

Array = NDArray[Any]

# An implementation that hangs or crashes this often in a row is asked no more: a hang costs the
# whole time-out each time.
LOST_IN_A_ROW = 2

# The median of a product's relative error, and the precision that it is a sign of:
# float32 has 24 significant bits, TF32 and float16 have 11, bfloat16 has 8.
PRECISIONS = ((2.0**-18, "float32"), (2.0**-10.5, "tf32"), (2.0**-7.5, "bfloat16"))


class Examination:
    """One implementation and its process."""

    def __init__(self, spec: Spec, settings: Settings, log: Path, timeout: float) -> None:
        """Start nothing yet."""
        self.spec, self.settings, self.timeout = spec, settings, timeout
        threads = 2 if settings.threads == 1 else 1
        self._other_settings = msgspec.structs.replace(settings, threads=threads)
        self._worker, self._other = Worker(settings, log), Worker(self._other_settings, log)
        self._lost: list[str] = []
        self._threads_seen = False

    def stop(self) -> None:
        """End the processes for good."""
        self._worker.close()
        self._other.close()

    def describe(self) -> Description:
        """Load the implementation and return what it is."""
        try:
            return self._worker.call(self.timeout, workers.describe, self.spec, self.settings)
        except WorkerLost as lost:
            return Description(verdict="error", reason=f"on import: {lost}")

    def outcome(self, case: Case, device: str) -> Outcome:
        """Run a case."""
        if len(self._lost) >= LOST_IN_A_ROW:
            reason = f"not run: it {self._lost[-1]} {len(self._lost)} times in a row"
            return Outcome(verdict="error", reason=reason)
        try:
            outcome: Outcome = self._worker.call(
                self.timeout, workers.run_case, self.spec, self.settings, case, device
            )
        except WorkerLost as lost:
            self._lost.append(str(lost))
            return Outcome(verdict="error", reason=str(lost))
        self._lost = []
        return self._with_other_threads(outcome, case, device)

    def _with_other_threads(self, outcome: Outcome, case: Case, device: str) -> Outcome:
        """Run the first case with invariants once more, in a process with another thread count."""
        if not case.invariants or self._threads_seen or device != "cpu" or outcome.verdict:
            return outcome
        self._threads_seen = True
        settings, plain = self._other_settings, case.replace(invariants=False)
        threads = settings.threads
        try:
            other: Outcome = self._other.call(
                self.timeout, workers.run_case, self.spec, settings, plain, device
            )
        except WorkerLost as lost:
            return Outcome(verdict="error", reason=f"with {threads} threads it {lost}")
        finally:
            self._other.stop()
        if other.verdict:
            return Outcome(verdict=other.verdict, reason=f"with {threads} threads: {other.reason}")
        result = {name: other.arrays[name] for name in ("output", "h_n")}
        seen = outcome.invariants | {invariants.THREADS: result}
        return replace(outcome, invariants=seen)

    def matmul_precision(self, device: str) -> str | None:
        """Return the precision in which float32 matrix products really ran.

        One weight per row, and relu, leave nothing but the products: their relative error is the
        precision's signature.
        """
        config = RNNConfig(input_size=64, hidden_size=64, nonlinearity="relu")
        case = Case(config=config, T=1, B=16, regime="canary")
        outcome = self.outcome(case, device)
        if outcome.verdict == "unsupported":  # then by tanh, near zero, where it is the identity
            case = case.replace(config=RNNConfig(input_size=64, hidden_size=64))
            outcome = self.outcome(case, device)
        if outcome.verdict:
            return None
        true = reference(case).true.values["output"]
        return precision_of(outcome.arrays["output"], true)


def precision_of(found: Array, true: Array) -> str | None:
    """Return the precision that an error is the signature of, or None if it is no such sign.

    Rounding of inputs makes relative errors that scatter; a wrong factor makes ones that do not,
    and a wrong weight or formula much larger ones.
    """
    there = true != 0
    relative = (found[there] - true[there]) / true[there]
    size = float(np.median(np.abs(relative)))
    low, high = np.quantile(relative, (0.25, 0.75))
    name = next((name for bound, name in PRECISIONS if size <= bound), None)
    return name if name == "float32" or high - low > size / 3 else None


def as_record_fields(outcome: Outcome) -> dict[str, Any]:
    """Return what a record says of an outcome's invariants beyond the verdict."""
    if invariants.REPEATED not in outcome.invariants:
        return {}
    again = outcome.invariants[invariants.REPEATED]
    same = all(again[name].tobytes() == outcome.arrays[name].tobytes() for name in again)
    return {"same_bits_twice": same}
