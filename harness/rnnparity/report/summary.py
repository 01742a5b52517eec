"""What a report says of a run's checks, as plain data: no markup here.

A new column of the page's tables is named in `templates/page.js`, too (checks, timings), or in
`page.html.j2` (closest, speed); the terminal's tables are in `terminal` and `timing_table`.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rnnparity.cells.config import KINDS
from rnnparity.judging.limit import LIMIT
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing
from rnnparity.report.commands import bench_command, command
from rnnparity.verdicts import Verdict

# In place of an error that is no number.
NOT_FINITE = "not finite"


@dataclass(frozen=True)
class Entry:
    """One cell of the matrix: the verdict for all, how many are right of how many, and why not."""

    verdict: Verdict
    passed: int
    of: int
    reason: str

    @property
    def letter(self) -> str:
        """The verdict's first letter, so that it reads without colour."""
        return self.verdict[0].upper()


def names(run: Run) -> list[str]:
    """Return the implementations, kind by kind, in the order in which they were begun."""
    records = sorted(run.records, key=lambda r: _order(r.cell))
    return list(dict.fromkeys(r.implementation for r in records))


def _order(cell: str) -> int:
    """Where a kind stands; one that only a newer version knows stands last."""
    return [*KINDS, cell].index(cell)


def sentence(run: Run) -> str:
    """Return the verdict on the whole run in a sentence."""
    checks = [r for r in run.records if r.verdict.is_right or r.verdict.is_wrong]
    judged = [n for n in names(run) if any(r.implementation == n for r in checks)]
    if not judged:
        return "Nothing was checked."
    wrong = [n for n in judged if any(r.implementation == n and r.verdict.is_wrong for r in checks)]
    timed = [t.implementation for t in failed_timings(run)]
    doubtful = [n for n in dict.fromkeys(timed) if n not in wrong]
    count = sum(r.definition is not None for r in checks)
    others = ""
    if doubtful:
        others = f" {', '.join(doubtful)} failed while timed."
    if wrong:
        right = len(judged) - len(wrong)
        one = len(wrong) == 1
        return (
            f"{', '.join(wrong)} {'does' if one else 'do'} not compute the recurrence everywhere; "
            f"{right} of {len(judged)} implementations do, in {count} checks.{others}"
        )
    largest = max((z for r in checks for z in [largest_z(r)] if z is not None), default=0.0)
    whom = (
        f"All {len(judged)} implementations compute" if len(judged) > 1 else f"{judged[0]} computes"
    )
    return (
        f"{whom} the recurrence: {count} checks, the largest error is {largest:.1f} units of "
        f"predicted rounding ({LIMIT:g} pass).{others}"
    )


def failed_timings(run: Run) -> list[Timing]:
    """Return timings that failed or broke while timed; not those of what had failed before."""
    known = {(r.implementation, r.device, r.definition, r.verdict, r.reason) for r in run.records}
    return [
        t
        for t in run.timings
        if t.verdict.is_wrong
        and (t.implementation, t.device, t.definition, t.verdict, t.reason) not in known
    ]


def largest_z(record: Record) -> float | None:
    """Return the largest z of all quantities; infinity if one is not finite."""
    found = [math.inf if q.z is None else q.z for q in record.quantities.values()]
    return max(found, default=None)


def largest_by_implementation(run: Run) -> dict[str, float]:
    """Return the largest finite z of every implementation."""
    found: dict[str, float] = {}
    for r in run.records:
        z = largest_z(r)
        if z is not None and math.isfinite(z) and z > 0:
            found[r.implementation] = max(z, found.get(r.implementation, 0.0))
    return found


def matrix(run: Run) -> tuple[list[str], dict[str, list[Entry | None]]]:
    """Return the columns ("cpu float32", ...) and a row of cells for each implementation."""
    checks = [r for r in run.records if r.definition is not None]
    columns = list(dict.fromkeys((r.device, r.dtype) for r in checks))
    columns.sort(key=lambda c: (c[0] != "cpu", c[0]))
    rows: dict[str, list[Entry | None]] = {}
    for name in names(run):
        own = [r for r in run.records if r.implementation == name]
        rows[name] = [
            _cell(
                [r for r in own if (r.device, r.dtype) == column and r.definition]
                or [r for r in own if not r.definition and column[0].startswith(r.device)]
            )
            for column in columns
        ] or [_cell(own)]
    return [f"{device} {dtype}" for device, dtype in columns] or ["here"], rows


def _cell(records: list[Record]) -> Entry | None:
    if not records:
        return None
    counts = Counter(r.verdict for r in records)
    verdict = next(v for v in Verdict if counts[v])
    first = next(r for r in records if r.verdict == verdict)
    right = sum(count for one, count in counts.items() if one.is_right)
    return Entry(verdict, right, len(records), first.reason)


def failures(run: Run) -> list[dict[str, str]]:
    """Return what failed or broke: where, why, and the command that repeats it."""
    wrong: list[tuple[Record | Timing, str, str]] = [
        (r, r.case or "(import)", command(r, run)) for r in run.records if r.verdict.is_wrong
    ]
    wrong += [(t, f"{t.case} ({t.mode})", bench_command(t, run)) for t in failed_timings(run)]
    return [
        {
            "implementation": one.implementation,
            "device": one.device,
            "case": case,
            "verdict": one.verdict,
            "reason": one.reason,
            "command": again,
        }
        for one, case, again in wrong
    ]


def checks(run: Run) -> list[dict[str, Any]]:
    """Return a row for every record, for the table."""
    rows = []
    for r in run.records:
        z = largest_z(r)
        output = r.quantities.get("output")
        rows.append(
            {
                "implementation": r.implementation,
                "cell": r.cell,
                "device": r.device,
                "dtype": r.dtype,
                "case": r.case,
                "verdict": r.verdict,
                "z": z if z is None else NOT_FINITE if math.isinf(z) else round(z, 2),
                "error": None if output is None else output.max_abs_error,
                "reason": r.reason,
            }
        )
    return rows


def closest(run: Run) -> list[dict[str, Any]]:
    """Return how close each implementation is to the truth, by kind, dtype and device.

    The root mean square of z over all quantities of those cases that all of a kind passed.
    """
    groups: dict[tuple[str, str, str], dict[str, dict[Any, Record]]] = {}
    for r in run.records:
        if r.verdict.is_right or (r.verdict.is_wrong and r.definition is not None):
            group = groups.setdefault((r.cell, r.dtype, r.device), {})
            own = group.setdefault(r.implementation, {})
            if r.verdict.is_right:
                own[r.definition] = r
    rows = []
    for (cell, dtype, device), found in groups.items():
        common = set.intersection(*[set(own) for own in found.values()])
        for implementation, own in found.items():
            squares = [
                q.rms_z**2
                for case in common
                for q in own[case].quantities.values()
                if q.rms_z is not None
            ]
            if squares:
                rows.append(
                    {
                        "cell": cell,
                        "dtype": dtype,
                        "device": device,
                        "implementation": implementation,
                        "rms": round(math.sqrt(sum(squares) / len(squares)), 3),
                        "cases": len(common),
                    }
                )
    return sorted(rows, key=lambda r: (_order(r["cell"]), r["dtype"], r["device"], r["rms"]))
