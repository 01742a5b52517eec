"""What a report says of a run, as plain data: no markup here."""

import math
import shlex
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rnnparity.records import Record, Timing
from rnnparity.report.source import Source
from rnnparity.timing import noise
from rnnparity.timing.contestants import IMPLEMENTATION
from rnnparity.timing.statistics import geometric_mean
from rnnparity.timing.table import size
from rnnparity.verdict import LIMIT

# A cell's verdict is the worst of its checks; a letter for each, so that it reads without colour.
WORST = ("error", "fail", "pass", "chaotic", "unsupported", "absent")
LETTERS = {
    "pass": "P",
    "fail": "F",
    "error": "E",
    "chaotic": "C",
    "unsupported": "U",
    "absent": "A",
}


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix: the worst verdict, how many passed of how many, and why not."""

    verdict: str
    letter: str
    passed: int
    of: int
    reason: str


def sentence(source: Source) -> str:
    """Return the verdict on the whole run in a sentence."""
    checks = [r for r in source.records if r.definition is not None or r.verdict == "error"]
    names = list(dict.fromkeys(r.implementation for r in checks))
    bad = [
        n
        for n in names
        if any(r.verdict in ("fail", "error") for r in checks if r.implementation == n)
    ]
    count = len([r for r in checks if r.definition is not None])
    if not names:
        return "Nothing was checked."
    if bad:
        right = len(names) - len(bad)
        one = len(bad) == 1
        return (
            f"{', '.join(bad)} {'does' if one else 'do'} not compute the recurrence everywhere; "
            f"{right} of {len(names)} implementations do, in {count} checks."
        )
    largest = max((z for r in checks for z in [largest_z(r)] if z is not None), default=0.0)
    whom = f"All {len(names)} implementations compute" if len(names) > 1 else f"{names[0]} computes"
    return (
        f"{whom} the recurrence: {count} checks, the largest error is {largest:.1f} units of "
        f"predicted rounding ({LIMIT:g} pass)."
    )


def largest_z(record: Record) -> float | None:
    """Return the largest z of all quantities; infinity if one is not finite."""
    found = [math.inf if q.z is None else q.z for q in record.quantities.values()]
    return max(found, default=None)


def largest_by_implementation(source: Source) -> dict[str, float]:
    """Return the largest finite z of every implementation."""
    found: dict[str, float] = {}
    for r in source.records:
        z = largest_z(r)
        if z is not None and math.isfinite(z) and z > 0:
            found[r.implementation] = max(z, found.get(r.implementation, 0.0))
    return found


def matrix(source: Source) -> tuple[list[str], dict[str, list[Cell | None]]]:
    """Return the columns ("cpu float32", ...) and a row of cells for each implementation."""
    checks = [r for r in source.records if r.definition is not None]
    columns = list(dict.fromkeys((r.device, r.dtype) for r in checks))
    columns.sort(key=lambda c: (c[0] != "cpu", c[0]))
    rows: dict[str, list[Cell | None]] = {}
    for name in dict.fromkeys(r.implementation for r in source.records):
        own = [r for r in source.records if r.implementation == name]
        whole = next((r for r in own if r.definition is None and not r.device), None)
        rows[name] = [
            _cell(
                [r for r in own if (r.device, r.dtype) == column and r.definition]
                or ([whole] if whole else [])
            )
            for column in columns
        ] or [_cell(own)]
    return [f"{device} {dtype}" for device, dtype in columns] or ["here"], rows


def _cell(records: list[Record]) -> Cell | None:
    if not records:
        return None
    counts = Counter(r.verdict for r in records)
    verdict = next((v for v in WORST if counts[v]), records[0].verdict)
    first = next(r for r in records if r.verdict == verdict)
    letter = LETTERS.get(verdict, "?")
    return Cell(verdict, letter, counts["pass"] + counts["chaotic"], len(records), first.reason)


def failures(source: Source) -> list[dict[str, str]]:
    """Return what failed or broke: where, why, and the command that repeats it."""
    found = [
        {
            "implementation": r.implementation,
            "device": r.device,
            "case": r.case or "(import)",
            "verdict": r.verdict,
            "reason": r.reason,
            "command": command(r, source),
        }
        for r in source.records
        if r.verdict in ("fail", "error")
    ]
    found += [
        {
            "implementation": t.implementation,
            "device": t.device,
            "case": f"{t.case} ({t.mode})",
            "verdict": t.verdict,
            "reason": t.reason,
            "command": f"rnnparity bench {shlex.quote(t.implementation)}",
        }
        for t in source.timings
        if t.verdict in ("fail", "error") and t.reason.startswith("while timed")
    ]
    return found


def command(record: Record, source: Source) -> str:
    """Return the one line that checks this again."""
    words = ["rnnparity", "check", record.implementation]
    if record.definition is not None:
        preset = source.environment.get("preset")
        words += ["--preset", preset] if preset and preset != "quick" else []
        words += ["--device", record.device, "--case", record.case]
    return shlex.join(words)


def checks(source: Source) -> list[dict[str, Any]]:
    """Return a row for every record, for the table."""
    rows = []
    for r in source.records:
        z = largest_z(r)
        output = r.quantities.get("output")
        rows.append(
            {
                "implementation": r.implementation,
                "device": r.device,
                "dtype": r.dtype,
                "case": r.case,
                "verdict": r.verdict,
                "z": None if z is None or math.isinf(z) else round(z, 2),
                "error": None if output is None else output.max_abs_error,
                "reason": r.reason,
            }
        )
    return rows


def closest(source: Source) -> list[dict[str, Any]]:
    """Return how close each implementation is to the truth: root mean square of z, by dtype."""
    sums: dict[tuple[str, str, str], list[float]] = {}
    for r in source.records:
        if r.verdict not in ("pass", "chaotic"):
            continue
        for quantity in r.quantities.values():
            if quantity.rms_z is not None:
                sums.setdefault((r.dtype, r.device, r.implementation), []).append(quantity.rms_z)
    rows = [
        {
            "dtype": dtype,
            "device": device,
            "implementation": implementation,
            "rms": round(math.sqrt(sum(z * z for z in found) / len(found)), 3),
            "checks": len(found),
        }
        for (dtype, device, implementation), found in sums.items()
    ]
    return sorted(rows, key=lambda row: (row["dtype"], row["device"], row["rms"]))


def timed(source: Source) -> list[Timing]:
    """Return the timings that have times."""
    return [t for t in source.timings if t.median is not None]


def timings(source: Source) -> list[dict[str, Any]]:
    """Return a row for every timing, for the table."""
    rows = []
    found = timed(source)
    for t in found:
        rows.append(
            {
                "implementation": t.implementation,
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
                "same": t.role == IMPLEMENTATION and noise.is_same(t, found),
                "first_call": _median(t.first_call),
                "prepare": _median(t.prepare),
                "paid_after": paid_after(t, found),
                "with_transfer": t.with_transfer,
                "memory": t.peak_memory,
                "fixed": t.fixed,
                "per_step": t.per_step,
                "gflops": None
                if t.flop is None or t.median is None or t.mode != "forward"
                else t.flop / t.median / 1e9,
            }
        )
    return rows


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


def speed(source: Source) -> list[dict[str, Any]]:
    """Return the geometric means of the ratios, and the noise floor, by device, dtype and mode."""
    found = timed(source)
    rows = []
    for key in dict.fromkeys((t.device, t.dtype, t.mode, t.threads) for t in found):
        group = [t for t in found if (t.device, t.dtype, t.mode, t.threads) == key]
        floor = noise.largest(group) or 0.0
        for name in dict.fromkeys(t.implementation for t in group if t.role == IMPLEMENTATION):
            ratios = [t.ratio for t in group if t.implementation == name and t.ratio]
            if ratios:
                rows.append(
                    dict(zip(("device", "dtype", "mode", "threads"), key, strict=True))
                    | {
                        "implementation": name,
                        "mean": round(geometric_mean(ratios), 2),
                        "sizes": len(ratios),
                        "noise": floor,
                    }
                )
    return rows


def _median(values: tuple[float, ...]) -> float:
    return statistics.median(values) if values else 0.0
