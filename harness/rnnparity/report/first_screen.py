"""What a report says first: who is right, who is fastest, can the numbers be trusted."""

from dataclasses import dataclass

from rnnparity.implementations.registry import without_kind
from rnnparity.judging.limit import LIMIT
from rnnparity.records.run import Run
from rnnparity.report import failing, speed_table, summary
from rnnparity.report.speed_table import NOT_TOLD, SpeedTable, spoken
from rnnparity.timing import noise
from rnnparity.verdicts import Verdict

# Tables of timings that the answer tells of; the tables themselves follow.
TOLD = 4


@dataclass(frozen=True)
class Answer:
    """A question, its answer in a few words, and what it rests on.

    `tone` is the verdict that the answer is coloured like.
    """

    question: str
    answer: str
    lines: tuple[str, ...]
    tone: str


def answers(run: Run) -> list[Answer]:
    """Return the three answers."""
    return [_right(run), _fastest(run), _trust(run)]


def header(run: Run) -> list[tuple[str, str]]:
    """Return what a run is told apart by: the command that repeats it, commit, date."""
    told = {"command": "command", "commit": "commit", "version": "rnnparity", "date": "started"}
    found = [(name, str(run.environment.get(key) or "not recorded")) for name, key in told.items()]
    *others, (date, at) = found
    return [*others, (date, at.replace("T", " ").replace("+00:00", " UTC"))]


def _right(run: Run) -> Answer:
    question, wrong = "Who is right?", failing.names(run)
    judged = summary.judged(run)
    if not judged:
        return Answer(question, "Nothing was checked", (), Verdict.ABSENT)
    lines = []
    cells = list(dict.fromkeys(r.cell for r in run.records if r.implementation in judged))
    for cell in cells:
        own = [r for r in run.records if r.cell == cell and r.definition is not None]
        own = [r for r in own if r.implementation not in wrong and r.verdict.is_right]
        names = [without_kind(n) for n in judged if any(r.implementation == n for r in own)]
        if names:
            kind = f"{cell.upper()}: " if len(cells) > 1 else ""
            largest = max(summary.largest_z(r) or 0 for r in own)
            lines.append(
                f"{kind}{', '.join(names)}: largest error {largest:.1f} units (limit {LIMIT:g}) "
                f"in {summary.counted(len(own), 'check')}"
            )
    bad = [one.implementation for one in failing.failing(run)]
    if bad:
        lines.append(f"Not right: {summary.some(bad)}")
    others = [name for name in summary.names(run) if name not in {*judged, *bad}]
    if others:
        lines.append(f"Not checked, for it is absent or unsupported here: {summary.some(others)}")
    tried = len({*judged, *bad})
    counted = f"{tried - len(bad) or 'None'} of {tried}" if bad else f"All {tried}"
    return Answer(question, counted, tuple(lines), Verdict.FAIL if bad else Verdict.PASS)


def _fastest(run: Run) -> Answer:
    question, wrong = "Who is fastest?", failing.names(run)
    found = [(t, _first(t, run, wrong)) for t in speed_table.tables(run)]
    if not found:
        return Answer(question, "Nothing was timed", (), Verdict.ABSENT)
    several = len({table.cell for table, _ in found}) > 1
    lines = [
        f"{table.cell.upper() + ', ' if several else ''}{table.where}: {line}"
        for table, (_, line) in found[:TOLD]
    ]
    if len(found) > TOLD:
        lines.append(f"And {len(found) - TOLD} more tables below")
    return Answer(question, found[0][1][0], tuple(lines), Verdict.CHAOTIC)


def _first(table: SpeedTable, run: Run, wrong: set[str]) -> tuple[str, str]:
    """Return who is fastest of those that are right and have all sizes, and the line that says so.

    Who is not told apart from the first, since the intervals of their means overlap, is named.
    """
    means = {
        name: mean
        for name, mean in table.means.items()
        if name not in wrong and mean.value and mean.sizes == mean.of
    }
    over = spoken(table.baseline)
    if not any(mean.value for mean in table.means.values()):
        return "Not known", f"nothing was compared with {over}"
    floor = noise.largest(table.timings) or 0.0
    faster = {n: m for n, m in means.items() if m.low > 1 and (m.value or 0) > 1 + floor}
    if not faster:
        return f"No one told from {over}", f"none is told to be faster than {over}"
    first = max(faster, key=lambda name: faster[name].value or 0)
    mean = faster[first]
    others = [without_kind(n) for n, m in faster.items() if n != first and m.high >= mean.low]
    beside = f"; {NOT_TOLD} to {summary.some(others)}" if others else ""
    sizes = f"geometric mean over {mean.of} sizes" if mean.of > 1 else "one size"
    name, ratio = without_kind(first), f"{mean.value:.3g} [{mean.low:.3g}, {mean.high:.3g}]"
    either = summary.some([name, *others]).replace(", ", " or ")
    return f"{either}: {ratio}", f"{name}, speed-up over {over} {ratio}, {sizes}{beside}"


def _trust(run: Run) -> Answer:
    """Return what may make the numbers uncertain, and how far that goes."""
    doubts = [*run.notes, *warnings(run)]
    if run.interrupted:
        doubts.append("the run was interrupted")
    if str(run.environment.get("commit") or "").endswith("+"):
        doubts.append("the source tree had changes that are in no commit")
    lines = []
    floor = noise.largest(run.timings)
    if floor is not None:
        lines.append(
            f"Times: the baseline against itself is within {floor:.1%} at every size; below that, "
            f"{NOT_TOLD}"
        )
    elif run.timings:
        doubts.append("the noise was not measured: the baseline was not timed twice")
    judged = [r for r in run.records if r.verdict.was_judged]
    if judged:
        lines.append("Errors: against the same formula in higher precision, on the same bits")
    chaotic = sum(r.verdict == Verdict.CHAOTIC for r in judged)
    if chaotic:
        told = summary.counted(chaotic, "chaotic check")
        lines.append(f"{told}: judged up to where rounding alone takes over")
    within = "" if floor is None else f", times within {floor:.1%}"
    answer = "With care" if doubts else f"Yes{within}"
    if not judged and not run.timings:
        answer = "There are none"
    tone = Verdict.ABSENT if doubts else Verdict.PASS
    return Answer("Can the numbers be trusted?", answer, (*doubts, *lines), tone)


def warnings(run: Run) -> list[str]:
    """Return what was noticed while timing."""
    found = run.environment.get("timing", {}).get("warnings")
    return [str(one) for one in found] if isinstance(found, list) else []
