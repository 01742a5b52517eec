"""What failed or broke, grouped: an implementation, its reasons, and how often each of them.

Every implementation that fails is here, once, however many of its checks do.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing
from rnnparity.report.commands import bench_command, command
from rnnparity.verdicts import Verdict


@dataclass(frozen=True)
class Reason:
    """Why an implementation fails, and the first place where it does.

    Attributes:
        verdict: "fail" or "error".
        text: the first one's reason, without the element that it shows.
        full: all of it.
        count: how many checks and timings have it.
        case: the first of them; where: its device and dtype.
        command: the line that repeats it; "" where the command line cannot.
    """

    verdict: Verdict
    text: str
    full: str
    count: int
    case: str
    where: str
    command: str


@dataclass(frozen=True)
class Failing:
    """An implementation that fails, in how many of how many checks and timings, and why."""

    implementation: str
    failed: int
    of: int
    reasons: tuple[Reason, ...]  # the most frequent first

    @property
    def verdict(self) -> Verdict:
        """The worst."""
        return next(v for v in Verdict if any(r.verdict == v for r in self.reasons))


def failing(run: Run) -> list[Failing]:
    """Return every implementation that fails, in the order in which they were begun."""
    wrong: dict[str, list[Record | Timing]] = {}
    found: list[Record | Timing] = [r for r in run.records if r.verdict.is_wrong]
    for one in [*found, *failed_timings(run)]:
        wrong.setdefault(one.implementation, []).append(one)
    tried = Counter(r.implementation for r in run.records if not _was_skipped(r))
    tried.update(t.implementation for t in failed_timings(run))
    return [
        Failing(name, len(own), max(len(own), tried[name]), _reasons(own, run))
        for name, own in wrong.items()
    ]


def names(run: Run) -> set[str]:
    """Return who fails anywhere, in a check or while timed."""
    made: list[Record | Timing] = [*run.records, *run.timings]
    return {one.implementation for one in made if one.verdict.is_wrong}


def marked(name: str, wrong: set[str]) -> str:
    """Return a name as it stands where others are right, or fast: one that fails says so."""
    return f"{name} (fails)" if name in wrong else name


def failed_timings(run: Run) -> list[Timing]:
    """Return timings that failed or broke while timed; not those of what had failed before."""
    known = {(r.implementation, r.device, r.definition, r.verdict, r.reason) for r in run.records}
    return [
        t
        for t in run.timings
        if t.verdict.is_wrong
        and (t.implementation, t.device, t.definition, t.verdict, t.reason) not in known
    ]


def case_of(one: Record | Timing) -> str:
    """Return what a case goes by in a list of failures."""
    if isinstance(one, Timing):
        return f"{one.case} ({one.mode})"
    return one.case or "(import)"


def again(one: Record | Timing, run: Run) -> str:
    """Return the line that repeats a check or a timing; "" where the command line cannot."""
    return bench_command(one, run) if isinstance(one, Timing) else command(one, run)


def kind_of(reason: str) -> str:
    """Return what makes a reason another one: not its numbers, nor the element that it shows."""
    return re.sub(r"[\d.]+(e[+-]?\d+)?|\[.*?\]|\(.*?\)", "#", _told(reason))


def _reasons(own: Iterable[Record | Timing], run: Run) -> tuple[Reason, ...]:
    groups: dict[tuple[Verdict, str], list[Record | Timing]] = {}
    for one in own:
        groups.setdefault((one.verdict, kind_of(one.reason)), []).append(one)
    found = [
        Reason(
            verdict=verdict,
            text=_told(same[0].reason) or "no reason was recorded",
            full=same[0].reason,
            count=len(same),
            case=case_of(same[0]),
            where=f"{same[0].device} {same[0].dtype}".strip() or "import",
            command=again(same[0], run),
        )
        for (verdict, _), same in groups.items()
    ]
    return tuple(sorted(found, key=lambda reason: -reason.count))


def _told(reason: str) -> str:
    """Return a reason without the element that is shown, which stands last."""
    return re.sub(r"; \w+\[[^;]*(; \d+ are allowed)?$", "", reason)


def _was_skipped(r: Record) -> bool:
    return r.verdict in (Verdict.UNSUPPORTED, Verdict.ABSENT)
