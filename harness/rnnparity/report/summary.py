"""What a report says of a run's checks, as plain data: no markup here.

A new column of the tables of all checks and timings is named in `templates/page.js`, too, one of
`closest` in `page.html.j2`. The two tables that every report begins with are in `error_table` and
`speed_table`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rnnparity.cells.config import KINDS
from rnnparity.judging.limit import LIMIT
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.report import failing
from rnnparity.verdicts import Verdict

# In place of an error that is no number.
NOT_FINITE = "not finite"

# Names that a sentence can hold.
NAMED = 4


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


def judged(run: Run) -> list[str]:
    """Return those of which something was compared with the truth, or broke."""
    found = {r.implementation for r in run.records if r.verdict.is_right or r.verdict.is_wrong}
    return [name for name in names(run) if name in found]


def sentence(run: Run) -> str:
    """Return the verdict on the whole run in a sentence."""
    checks = [r for r in run.records if r.verdict.is_right or r.verdict.is_wrong]
    among = judged(run)
    if not among:
        return "Nothing was checked."
    wrong = [n for n in among if any(r.implementation == n and r.verdict.is_wrong for r in checks)]
    timed = [t.implementation for t in failing.failed_timings(run)]
    doubtful = [n for n in dict.fromkeys(timed) if n not in wrong]
    count = sum(r.definition is not None for r in checks)
    others = f" {some(doubtful)} failed while timed." if doubtful else ""
    if wrong:
        right = len(among) - len({*wrong, *doubtful})
        return (
            f"{some(wrong)} {'does' if len(wrong) == 1 else 'do'} not compute the recurrence "
            f"everywhere; {right or 'none'} of {len(among)} implementations "
            f"{'does' if right < 2 else 'do'}, in {counted(count, 'check')}.{others}"
        )
    largest = max((z for r in checks for z in [largest_z(r)] if z is not None), default=0.0)
    whom = f"All {len(among)} implementations compute" if len(among) > 1 else f"{among[0]} computes"
    return (
        f"{whom} the recurrence: {counted(count, 'check')}, the largest error is "
        f"{largest:.1f} units of predicted rounding (limit {LIMIT:g}).{others}"
    )


def counted(number: int, what: str) -> str:
    """Return how many there are of what: 1 check, 2 checks."""
    return f"{number} {what}{'s' * (number != 1)}"


def some(these: Sequence[str]) -> str:
    """Return names as a sentence has room for: the first ones, and how many more."""
    more = f" and {len(these) - NAMED} more" if len(these) > NAMED + 1 else ""
    return ", ".join(these[:NAMED] if more else these) + more


def pythons(environment: dict[str, Any]) -> list[str]:
    """Return which Python and packages ran what, a line each, if others than this one did."""
    alike: dict[str, list[str]] = {}
    for name, one in environment.get("interpreters", {}).items():
        packages = [f"{key} {version}" for key, version in one.get("packages", {}).items()]
        line = ", ".join([f"Python {one.get('python', '')}".strip(), *packages])
        alike.setdefault(line, []).append(name)
    return [f"{some(names)}: {line}" for line, names in alike.items()]


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
    """Return how close each right implementation is to the truth, by kind, dtype and device.

    The root mean square of the errors in units over all quantities of those cases that all of
    them passed. Who fails anywhere is left out: its own and the others' cases would be fewer.
    """
    groups: dict[tuple[str, str, str], dict[str, dict[Any, Record]]] = {}
    wrong = failing.names(run)
    for r in run.records:
        if r.verdict.is_right and r.implementation not in wrong:
            group = groups.setdefault((r.cell, r.dtype, r.device), {})
            group.setdefault(r.implementation, {})[r.definition] = r
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
