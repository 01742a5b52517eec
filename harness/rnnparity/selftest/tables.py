"""What was found, as text and as Markdown tables."""

import math
from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from rnnparity.judging.limit import LIMIT
from rnnparity.judging.mistakes import every_mistake
from rnnparity.problems.dtypes import NAMES
from rnnparity.selftest.findings import TOO_WIDE, Found, JudgedRun, ordinary, rms
from rnnparity.selftest.right_ways import WAYS

# How many of the right runs that came nearest to the limit are named, and how many failures.
NEAREST, NAMED = 10, 20


def parts(found: Found) -> list[str]:
    """Return all that is told of a self-test: the sentences, then the tables."""
    every = (summary, z_table, rules_table, ways_table, kill_matrix)
    return [one(found) for one in every]


def summary(found: Found) -> str:
    """Return what was found, line by line."""
    judged = [run for run in found.runs if run.judged]
    pairs = found.observable.total()
    nearest = sorted(judged, key=lambda run: run.z, reverse=True)[:NEAREST]
    text = [
        f"soundness: {len(judged)} judged runs of right implementations "
        f"({len(found.runs) - len(judged)} more were chaotic throughout), "
        f"{len(found.rejected)} rejected",
        *(f"  {line}" for line in _by_dtype(found)),
        f"nearest to the limit of {LIMIT:g} units:",
        *(f"  {run.z:.2f} {run.quantity} of {run.who}, {run.case}" for run in nearest),
        f"sensitivity: {len(found.observable)} mistakes, {pairs} observable (mistake, case) pairs, "
        f"{len(found.survived)} survived, {len(found.undiagnosed)} not named by the diagnosis",
    ]
    text += [f"unit too wide: {where} (less than {TOO_WIDE:g})" for where in found.too_wide()]
    for label, failures in (
        ("rejected", found.rejected),
        ("survived", found.survived),
        ("not named", found.undiagnosed),
    ):
        text += [f"{label}: {f.who}, {f.case}: {f.reason}" for f in failures[:NAMED]]
    return "\n".join(text)


def _by_dtype(found: Found) -> Iterable[str]:
    for dtype in NAMES:
        runs = [run for run in found.runs if run.dtype == dtype]
        judged = [run for run in runs if run.judged]
        if not judged:
            continue
        structured = sum(run.structured for run in judged)
        rejected = sum(run.rejected for run in runs)
        yield (
            f"{dtype}: {len(judged)} judged ({structured} structured), {rejected} rejected, "
            f"{len(runs) - len(judged)} chaotic; z: rms {rms(runs, 'forward'):.2f} of outputs, "
            f"{rms(runs, 'gradients'):.2f} of gradients, at most {max(r.z for r in judged):.2f}"
        )


def z_table(found: Found) -> str:
    """Return the distribution of z of right implementations by dtype and H, as Markdown."""
    lines = [
        "| dtype | H | cases | judged runs | chaotic | rejected | rms z of outputs "
        "| half of runs below | rms z of gradients | half below | largest z of outputs "
        "| of gradients |",
        "|" + "---|" * 12,
    ]
    for (dtype, (low, high)), runs in found.by_range().items():
        cases = {run.case for run in runs if run.judged}
        judged = sum(run.judged for run in runs)
        cells = [dtype, f"{low} to {high}", len(cases), judged, len(runs) - judged]
        cells.append(sum(run.rejected for run in runs))
        for part in ("forward", "gradients"):
            sizes = ordinary(runs, part)
            cells += [_number(rms(runs, part)), _number(median(sizes) if sizes else math.nan)]
        cells += [_largest(runs, part) for part in ("forward", "gradients")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def ways_table(found: Found) -> str:
    """Return the largest z of every implementation and way in every dtype, as Markdown."""
    stands_for = {way.name: way.stands_for for way in WAYS}
    groups: dict[str, list[JudgedRun]] = defaultdict(list)
    for run in found.runs:
        groups[run.who].append(run)
    lines = [
        "| right implementation | stands for | judged runs | "
        + " | ".join(f"largest z, {dtype}" for dtype in NAMES)
        + " |",
        "|" + "---|" * (3 + len(NAMES)),
    ]
    for who, runs in groups.items():
        largest = [_largest([run for run in runs if run.dtype == dtype]) for dtype in NAMES]
        cells = [who, stands_for.get(who, "itself"), sum(run.judged for run in runs), *largest]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def rules_table(found: Found) -> str:
    """Return the comparison of the rules as a Markdown table."""
    lines = ["| rule | right ones rejected | wrong ones accepted |", "|---|---|---|"]
    for name, (accepted, of) in found.right.items():
        wrongly, wrong = found.wrong[name]
        rejected = 100 * (of - accepted) / of
        lines.append(f"| {name} | {rejected:.2g}% | {100 * wrongly / max(1, wrong):.2g}% |")
    of, wrong = (next(iter(c.values()), [0, 0])[1] for c in (found.right, found.wrong))
    return "\n".join(
        [*lines, "", f"{of} right and {wrong} wrong float32 results (output and h_n)."]
    )


def kill_matrix(found: Found) -> str:
    """Return mistake by kind of case (dtypes, then regimes) as Markdown: killed / observable."""
    kinds = sorted({kind for _, kind in found.seen}, key=lambda kind: (kind not in NAMES, kind))
    lines = [
        "| mistake | stands for | " + " | ".join(kinds) + " |",
        "|" + "---|" * (2 + len(kinds)),
    ]
    for mistake in every_mistake():
        cells = [
            f"{found.killed[mistake.name, kind]}/{found.seen[mistake.name, kind]}"
            if found.seen[mistake.name, kind]
            else ""
            for kind in kinds
        ]
        lines.append(f"| {mistake.name} | {mistake.stands_for} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _largest(runs: Iterable[JudgedRun], part: str | None = None) -> str:
    values = [run.z for run in runs if run.judged and part in (None, run.part)]
    return _number(max(values, default=math.nan))


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
