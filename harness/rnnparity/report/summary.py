"""What a report says of a run, as plain data: no markup here.

A new column of the page's tables is named in `templates/page.js`, too (checks, timings), or in
`page.html.j2` (closest, speed); the terminal's tables are in `terminal` and `timing_table`.
"""

import math
import shlex
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rnnparity.cells.config import KINDS
from rnnparity.implementations.registry import without_kind
from rnnparity.judging.limit import LIMIT
from rnnparity.problems import presets
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import IMPLEMENTATION, Timing, size
from rnnparity.timing import noise
from rnnparity.timing.statistics import geometric_mean
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
    found = [
        {
            "implementation": r.implementation,
            "device": r.device,
            "case": r.case or "(import)",
            "verdict": r.verdict,
            "reason": r.reason,
            "command": command(r, run),
        }
        for r in run.records
        if r.verdict.is_wrong
    ]
    found += [
        {
            "implementation": t.implementation,
            "device": t.device,
            "case": f"{t.case} ({t.mode})",
            "verdict": t.verdict,
            "reason": t.reason,
            "command": bench_command(t, run),
        }
        for t in failed_timings(run)
    ]
    return found


@lru_cache
def _ids(preset: str, kind: str) -> frozenset[str]:
    return frozenset(case.id for case in presets.preset(preset, kind))


def command(record: Record, run: Run) -> str:
    """Return the one line that checks this again; "" where the command line cannot."""
    case = record.definition
    words = ["rnnparity", "check", _target(record.implementation, run)]
    words += ["--cell", record.cell] if record.cell != "rnn" else []
    if case is None:
        return shlex.join(words)
    kind = case.config.kind
    if case.weights not in (None, "digits"):
        words += ["--weights", str(case.weights)]
    elif record.case in _ids("full", kind) and record.case not in _ids("quick", kind):
        words += ["--preset", "full"]
    elif record.case not in _ids("quick", kind):
        # A size, which is checked before it is timed; or a case of the caller's own.
        timed = any(t.definition == case for t in run.timings)
        return bench_command(record, run) if timed else ""
    words += ["--device", record.device, "--case", record.case]
    return shlex.join(words + _settings(run))


def bench_command(one: Record | Timing, run: Run) -> str:
    """Return the one line that times an implementation again."""
    preset = run.environment.get("preset")
    words = ["rnnparity", "bench", _target(one.implementation, run)]
    words += ["--preset", preset] if preset else []
    words += ["--cell", one.cell] if one.cell != "rnn" else []
    return shlex.join([*words, "--device", one.device, *_settings(run)])


def _target(implementation: str, run: Run) -> str:
    """Return what an implementation is called by: its name, or its file's."""
    identity = str(run.environment.get("implementations", {}).get(implementation, ""))
    file = identity.partition(" ")[0]
    return file if file.endswith(".py") else without_kind(implementation)


def _settings(run: Run) -> list[str]:
    settings = run.environment.get("settings", {})
    threads, precision = settings.get("threads", 1), settings.get("matmul_precision", "float32")
    words = ["--threads", str(threads)] if threads != 1 else []
    return words + (["--matmul-precision", str(precision)] if precision != "float32" else [])


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


def timed(run: Run) -> list[Timing]:
    """Return the timings that have times."""
    return [t for t in run.timings if t.median and t.definition is not None]


def timings(run: Run) -> list[dict[str, Any]]:
    """Return a row for every timing, for the table."""
    rows = []
    found, best = timed(run), roof(run)
    for t in found:
        rows.append(
            {
                "implementation": t.implementation,
                "cell": t.cell,
                "device": t.device,
                "dtype": t.dtype,
                "size": size(t),
                "mode": t.mode,
                "threads": t.threads,
                "role": t.role,
                "median": t.median,
                "ratio": t.ratio,
                "low": t.ratio_low,
                "high": t.ratio_high,
                "first_call": _median(t.first_call),
                "prepare": _median(t.prepare),
                "paid_after": paid_after(t, found),
                "with_transfer": t.with_transfer,
                "memory": t.peak_memory,
                "fixed": t.fixed,
                "per_step": t.per_step,
                "same": t.role == IMPLEMENTATION and noise.is_same(t, found),
            }
            | achieved(t, best)
        )
    return rows


@dataclass(frozen=True)
class Roof:
    """This machine's own best, measured in the run: of any framework's large product, of a copy."""

    product_flop_per_second: float
    copy_bytes_per_second: float


def roof(run: Run) -> Roof | None:
    """Return the best that was measured, or None if it was not."""
    best = run.environment.get("best") or {}
    products, copied = best.get("product_flop_per_second"), best.get("copy_bytes_per_second")
    return Roof(max(products.values()), copied) if products and copied else None


def under_roof(t: Timing) -> bool:
    """Whether a timing can be set against the roof, which is of float32 on the CPU."""
    return (t.mode, t.device, t.dtype) == ("forward", "cpu", "float32") and bool(t.flop and t.bytes)


def achieved(t: Timing, best: Roof | None) -> dict[str, float | None]:
    """Return operations and bytes per second, and their shares of this machine's own best."""
    found: dict[str, float | None] = dict.fromkeys(("gflops", "of_product", "gbytes", "of_copy"))
    if t.mode == "forward" and t.flop and t.bytes and t.median:
        found |= {"gflops": t.flop / t.median / 1e9, "gbytes": t.bytes / t.median / 1e9}
        if best is not None and under_roof(t):
            found["of_product"] = t.flop / t.median / best.product_flop_per_second
            found["of_copy"] = t.bytes / t.median / best.copy_bytes_per_second
    return found


def paid_after(t: Timing, found: Iterable[Timing]) -> int | None:
    """Return the number of calls after which compiling has paid, against the baseline."""
    wanted = t.baseline, t.job
    baseline = next((o for o in found if (o.implementation, o.job) == wanted), None)
    if baseline is None or baseline.median is None or t.median is None or baseline is t:
        return None
    gain = baseline.median - t.median
    cost = _median(t.first_call) + _median(t.prepare)
    cost -= _median(baseline.first_call) + _median(baseline.prepare)
    if gain <= 0:
        return None
    return max(1, math.ceil(cost / gain))


def speed(run: Run) -> list[dict[str, Any]]:
    """Return the geometric means of the ratios, and the noise floor, by device, dtype and mode."""
    found = timed(run)
    rows = []
    for key in dict.fromkeys((t.device, t.dtype, t.mode, t.threads, t.baseline) for t in found):
        group = [t for t in found if (t.device, t.dtype, t.mode, t.threads, t.baseline) == key]
        floor = noise.largest(group)
        for name in dict.fromkeys(t.implementation for t in group if t.role == IMPLEMENTATION):
            ratios = [t.ratio for t in group if t.implementation == name and t.ratio]
            if ratios:
                rows.append(
                    dict(zip(("device", "dtype", "mode", "threads", "baseline"), key, strict=True))
                    | {
                        "implementation": name,
                        "mean": geometric_mean(ratios),
                        "sizes": len(ratios),
                        "noise": floor,
                    }
                )
    return rows


def _median(values: tuple[float, ...]) -> float:
    return statistics.median(values) if values else 0.0
