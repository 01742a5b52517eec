"""One implementation's check of a case on a device: run, judged, as a record.

The same in the driving threads of one machine and on a worker of a cluster; who drives it, and
where references and the baseline come from, is not known here.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rnnparity.errors import UsageError
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec
from rnnparity.judging.assess import assess
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.records.check import Record
from rnnparity.runs.examiner import Examiner, as_record_fields
from rnnparity.runs.work import Description
from rnnparity.verdicts import Verdict


class Check:
    """What one implementation is checked on, case after case, on one device."""

    def __init__(self, examiner: Examiner, description: Description, device: str) -> None:
        """Run nothing yet."""
        self._examiner, self._description, self._device = examiner, description, device
        self._precision: str | None = None
        self._asked = False

    def record(
        self,
        case: Case,
        refer: Callable[[Case], Reference],
        baseline: Callable[[Case], Outcome | None],
    ) -> Record:
        """Run a case and judge it.

        Args:
            case: what is run.
            refer: returns what it is judged against, or raises a UsageError.
            baseline: returns what came of `torch.nn.RNN` on the CPU; None where it is not run.
        """
        examiner, device = self._examiner, self._device
        if case.dtype == "float32" and not self._asked:
            self._precision, self._asked = examiner.matmul_precision(device), True
        make = partial(record_of, examiner.spec, self._description, device, case)
        try:
            against = refer(case)
        except UsageError as error:
            return make(Judgement(Verdict.UNSUPPORTED, str(error), {}))
        begun = time.monotonic()
        outcome = examiner.outcome(case, device)
        found = assess(
            case,
            outcome,
            against,
            partial(examiner.fresh, device=device),
            baseline=baseline(case),
            refer=partial(reference, settings=examiner.settings),
            canary=self._precision,
        )
        took = round(time.monotonic() - begun, 6)
        more = {"diagnosis": found.diagnosis, "seconds": took, **as_record_fields(outcome)}
        more["matmul_precision"] = found.precision
        return make(found.judgement, against, more)


def record_of(
    spec: Spec,
    description: Description,
    device: str,
    case: Case | None,
    judgement: Judgement,
    against: Reference | None = None,
    more: dict[str, Any] | None = None,
) -> Record:
    """Return the record of a judgement; of what concerns no case, `case` is None."""
    rows = None if against is None else len(against.problem.rows)
    return Record(
        implementation=spec.name,
        framework=description.framework,
        device=device,
        dtype="" if case is None else case.dtype,
        case="" if case is None else case.id,
        verdict=judgement.verdict,
        reason=judgement.reason,
        quantities=judgement.quantities,
        horizon=None if against is None else against.horizon,
        judged_rows=rows if case is not None and rows != (case.B or 1) else None,
        cell=spec.kind,
        definition=case,
        **(more or {}),
    )


def chosen_devices(
    wanted: Sequence[str] | None, here: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Return which devices to check on, and of what is wanted and missing, why.

    Args:
        wanted: names or kinds; None for all.
        here: those that an implementation runs on and that there are.
    """
    if wanted is None and here:
        return [*here], {}
    chosen: list[str] = []
    missing = {}
    for name in wanted or ["declared"]:
        found = [d for d in here if name in (d, d.partition(":")[0])]
        if not found:
            missing[name] = f"no device {name} here: there is {', '.join(here) or 'none for it'}"
        chosen += found
    return list(dict.fromkeys(chosen)), missing
