"""Several runs side by side: what changed between versions of a framework."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from rnnparity.report import summary
from rnnparity.report.source import Source
from rnnparity.timing.contestants import IMPLEMENTATION
from rnnparity.timing.statistics import geometric_mean

# A geometric mean that moved by more than this is told; what two runs differ by for certain is for
# `rnnparity compare`, which has the samples.
MOVED = 0.1


def comparable(sources: Sequence[Source]) -> list[Source]:
    """Return the runs with those timings only whose size, mode, device and threads all have.

    A mean over other sizes is another mean.
    """
    jobs = [{t.job for t in summary.timed(source)} for source in sources]
    common = set.intersection(*[found for found in jobs if found] or [set()])
    return [
        replace(source, timings=[t for t in source.timings if t.job in common])
        for source in sources
    ]


def table(sources: Sequence[Source]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows: an implementation, and what each run found of it."""
    head = ["implementation", *(source.name for source in sources)]
    names = dict.fromkeys(r.implementation for source in sources for r in source.records)
    rows = [["versions", *(versions(source) for source in sources)]]
    rows += [[name, *(_cell(source, name) for source in sources)] for name in names]
    return head, rows


def changes(sources: Sequence[Source]) -> list[str]:
    """Return what changed from each run to the next, a line for each."""
    found = []
    for before, after in pairwise(sources):
        where = f"{before.name} to {after.name}"
        then, now = _frameworks(before), _frameworks(after)
        for name in sorted(then.keys() & now.keys()):
            if then[name] != now[name]:
                found.append(f"{where}: {name} {then[name]} became {now[name]}")
        verdicts = {r.id: r for r in before.records if r.definition is not None}
        moved: dict[tuple[str, str, str], list[str]] = {}
        for r in after.records:
            old = verdicts.get(r.id)
            if old is not None and old.verdict != r.verdict:
                key = (r.implementation, old.verdict, r.verdict)
                moved.setdefault(key, []).append(r.case)
        for (name, was, is_now), cases in moved.items():
            more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
            found.append(f"{where}: {name}: {was} became {is_now} in {cases[0]}{more}")
        for name in dict.fromkeys(r.implementation for r in after.records):
            was_mean, mean = _mean(before, name), _mean(after, name)
            if was_mean and mean and abs(mean / was_mean - 1) > MOVED:
                found.append(
                    f"{where}: {name}: {was_mean:.2f} times as fast as the baseline became "
                    f"{mean:.2f}"
                )
    return found


def versions(source: Source) -> str:
    """Return the versions of a run's frameworks in a line."""
    return ", ".join(f"{name} {version}" for name, version in _frameworks(source).items())


def _frameworks(source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for reported in source.environment.get("frameworks", {}).values():
        found |= {n: v for n, v in reported.items() if n in ("numpy", "torch", "jax", "jaxlib")}
    return found


def _mean(source: Source, name: str) -> float | None:
    ratios = [
        t.ratio
        for t in summary.timed(source)
        if t.implementation == name and t.ratio and t.role == IMPLEMENTATION
    ]
    return geometric_mean(ratios) if ratios else None


def _cell(source: Source, name: str) -> str:
    own = [r for r in source.records if r.implementation == name]
    checks = [r for r in own if r.definition is not None]
    if not checks:
        return own[0].verdict if own else ""
    right = sum(r.verdict in ("pass", "chaotic") for r in checks)
    largest = max((z for r in checks for z in [summary.largest_z(r)] if z is not None), default=0)
    words = [f"{right}/{len(checks)} right", f"{largest:.3g} units"]
    mean = _mean(source, name)
    return ", ".join([*words, *([f"{mean:.2f}x"] if mean else [])])
