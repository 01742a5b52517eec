"""Several runs side by side: what changed between versions of a framework."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing
from rnnparity.report import failing, first_screen, summary, times

# A geometric mean that moved by more than this is told; what two runs differ by for certain is for
# `rnnparity compare`, which has the samples.
MOVED = 0.1


def comparable(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with those timings only whose size, mode, device and threads all have.

    A mean over other sizes is another mean.
    """
    keys = [{_key(t) for t in times.timed(run)} for run in runs]
    common = set.intersection(*[found for found in keys if found] or [set()])
    return [replace(run, timings=[t for t in run.timings if _key(t) in common]) for run in runs]


def _key(t: Timing) -> tuple[Any, ...]:
    return t.implementation, t.role, t.job


def table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows: an implementation, and what each run found of it."""
    head = ["implementation", *(run.name for run in runs)]
    names = dict.fromkeys(name for run in runs for name in summary.names(run))
    told = [dict(first_screen.header(run)) for run in runs]
    rows = [[what, *(one[what] for one in told)] for what in ("command", "commit", "date")]
    rows.append(["versions", *(versions(run) for run in runs)])
    rows += [[name, *(_cell(run, name) for run in runs)] for name in names]
    return head, rows


def changes(runs: Sequence[Run]) -> list[str]:
    """Return what changed from each run to the next, a line for each.

    Which run became which is said where there are more than two.
    """
    return [
        f"{before.name} to {after.name}: {line}" if len(runs) > 2 else line
        for before, after in pairwise(runs)
        for line in [
            *changed_surroundings(before, after),
            *_changed_verdicts(before, after),
            *_changed_speed(before, after),
        ]
    ]


def changed_surroundings(before: Run, after: Run) -> list[str]:
    """Say what else differs between two runs: versions, threads, preset, machine."""
    then, now = _surroundings(before), _surroundings(after)
    return [
        f"{name} {then[name]} became {now[name]}"
        for name in sorted(then.keys() & now.keys())
        if then[name] != now[name]
    ]


def baseline_changed(before: Run, after: Run) -> bool:
    """Whether the baseline's own framework has another version, and the control is the same."""
    then, now = _surroundings(before), _surroundings(after)
    return then.get("torch") != now.get("torch") and then.get("python") == now.get("python")


def _changed_verdicts(before: Run, after: Run) -> list[str]:
    then, now = _checks(before), _checks(after)
    found = []
    if not then.keys() & now.keys():
        found.append("no check in common")
    moved: dict[tuple[str, str, str], list[str]] = {}
    for key in (key for key in now if key in then):
        if then[key].verdict != now[key].verdict:
            names = key[0], then[key].verdict, now[key].verdict
            moved.setdefault(names, []).append(now[key].case)
    for (name, was, became), cases in moved.items():
        more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
        found.append(f"{name}: {was} became {became} in {cases[0]}{more}")
    gone = dict.fromkeys(key[0] for key in then if key[0] not in {key[0] for key in now})
    whys: dict[str, list[str]] = {}
    for name in gone:
        here = [r for r in after.records if r.implementation == name]
        whys.setdefault(f": {here[0].verdict}, {here[0].reason}" if here else "", []).append(name)
    for why, those in whys.items():
        are = "is" if len(those) == 1 else "are"
        found.append(f"{', '.join(those)} {are} no longer checked{why}")
    return found


def _changed_speed(before: Run, after: Run) -> list[str]:
    then, now = _means(before), _means(after)
    return [
        f"{name}: speed-up over the baseline {then[key]:.2f} became {now[key]:.2f} ({where})"
        for key in now
        for name, where in [key]
        if key in then and abs(now[key] / then[key] - 1) > MOVED
    ]


def _checks(run: Run) -> dict[tuple[Any, ...], Record]:
    return {
        (r.implementation, r.device, r.definition): r
        for r in run.records
        if r.definition is not None
    }


def versions(run: Run) -> str:
    """Return the versions of a run's frameworks in a line."""
    shown = ("numpy", "torch", "jax")
    found = _frameworks(run).items()
    own = [f"{name} {version}" for name, version in found if name in shown]
    others = summary.pythons(run.environment)
    return "; ".join([", ".join(own), *others] if own else others)


def _frameworks(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for reported in run.environment.get("frameworks", {}).values():
        found |= reported
    return found


def _surroundings(run: Run) -> dict[str, Any]:
    told = {"python": "python", "cpu_model": "processor", "preset": "preset"}
    named = {told[n]: run.environment[n] for n in told if run.environment.get(n)}
    settings: dict[str, Any] = run.environment.get("settings", {})
    others = {
        f"{name} of {whose}": version
        for whose, one in run.environment.get("interpreters", {}).items()
        for name, version in {"python": one.get("python"), **one.get("packages", {})}.items()
    }
    return _frameworks(run) | others | named | settings


def _means(run: Run) -> dict[tuple[str, str], float]:
    return {
        (row["implementation"], f"{row['device']}, {row['dtype']}, {row['mode']}"): row["mean"]
        for row in times.speed(run)
    }


def _cell(run: Run, name: str) -> str:
    own = [r for r in run.records if r.implementation == name]
    checks = [r for r in own if r.definition is not None]
    if not checks:
        return own[0].verdict if own else ""
    right = sum(r.verdict.is_right for r in checks)
    largest = max((z for r in checks for z in [summary.largest_z(r)] if z is not None), default=0)
    words = ["FAILS"] * (name in failing.names(run))
    words += [f"{right}/{len(checks)} right", f"{largest:.3g} units"]
    means = [
        f"{m:.3g}x {where.split(', ')[-1]}" for (n, where), m in _means(run).items() if n == name
    ]
    return ", ".join([*words, *means])
