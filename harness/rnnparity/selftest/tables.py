"""What was found, as text and as Markdown tables."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import median

from rnnparity.cells.config import KINDS
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.mistakes import every_mistake
from rnnparity.problems.dtypes import NAMES
from rnnparity.selftest.findings import TOO_WIDE, Found, JudgedRun, ordinary, rms
from rnnparity.selftest.right_ways import WAYS

# How many of the right runs that came nearest to the limit are named, and how many failures.
NEAREST, NAMED = 10, 20


def parts(found: Found) -> list[str]:
    """Return all that is told of a self-test: the sentences, then the tables."""
    every = (summary, z_table, rules_tables, ways_table, kill_matrix)
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
        *(f"  {line}" for line in _right(found)),
        f"nearest to the limit of {LIMIT:g} units:",
        *(f"  {run.z:.2f} {run.quantity} of {run.who}, {run.case}" for run in nearest),
        f"sensitivity: {len(found.observable)} mistakes, {pairs} observable (mistake, case) pairs, "
        f"{len(found.survived)} survived, {len(found.undiagnosed)} not named by the diagnosis",
        *(f"  {line}" for line in _wrong(found)),
    ]
    text += [f"unit too wide: {where} (less than {TOO_WIDE:g})" for where in found.too_wide()]
    for label, failures in (
        ("rejected", found.rejected),
        ("survived", found.survived),
        ("not named", found.undiagnosed),
    ):
        text += [f"{label}: {f.who}, {f.case}: {f.reason}" for f in failures[:NAMED]]
    return "\n".join(text)


def _right(found: Found) -> Iterator[str]:
    """Yield what was judged, by kind and dtype."""
    for kind in KINDS:
        for dtype in NAMES:
            runs = [run for run in found.runs if (run.kind, run.dtype) == (kind, dtype)]
            judged = [run for run in runs if run.judged]
            if not judged:
                continue
            structured = sum(run.structured for run in judged)
            rejected = sum(run.rejected for run in runs)
            yield (
                f"{kind} {dtype}: {len(judged)} judged ({structured} structured), "
                f"{rejected} rejected, {len(runs) - len(judged)} chaotic; "
                f"z: rms {rms(runs, 'forward'):.2f} of outputs, "
                f"{rms(runs, 'gradients'):.2f} of gradients, at most {max(r.z for r in judged):.2f}"
            )


def _wrong(found: Found) -> Iterator[str]:
    """Yield how many mistakes were seen, by kind."""
    for kind in KINDS:
        seen = {name: count for (of, name), count in found.observable.items() if of == kind}
        if seen:
            known = sum(kind in mistake.kinds for mistake in every_mistake())
            yield f"{kind}: {len(seen)} of {known} mistakes seen, {sum(seen.values())} pairs"


def z_table(found: Found) -> str:
    """Return the distribution of z of right implementations by kind, dtype and H."""
    lines = [
        "| kind | dtype | H | cases | judged runs | chaotic | rejected | rms z of outputs "
        "| half of runs below | rms z of gradients | half below | largest z of outputs "
        "| of gradients |",
        "|" + "---|" * 13,
    ]
    for (kind, dtype, (low, high)), runs in found.by_range().items():
        cases = {run.case for run in runs if run.judged}
        judged = sum(run.judged for run in runs)
        cells = [kind, dtype, f"{low} to {high}", len(cases), judged, len(runs) - judged]
        cells.append(sum(run.rejected for run in runs))
        for part in ("forward", "gradients"):
            sizes = ordinary(runs, part)
            cells += [_number(rms(runs, part)), _number(median(sizes) if sizes else math.nan)]
        cells += [_largest(runs, part) for part in ("forward", "gradients")]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def ways_table(found: Found) -> str:
    """Return the largest z of every implementation and way in every kind and dtype, as Markdown."""
    stands_for = {way.name: way.stands_for for way in WAYS}
    groups: dict[tuple[str, str], list[JudgedRun]] = defaultdict(list)
    for run in found.runs:
        groups[run.kind, run.who].append(run)
    lines = [
        "| kind | right implementation | stands for | judged runs | "
        + " | ".join(f"largest z, {dtype}" for dtype in NAMES)
        + " |",
        "|" + "---|" * (4 + len(NAMES)),
    ]
    for (kind, who), runs in groups.items():
        largest = [_largest([run for run in runs if run.dtype == dtype]) for dtype in NAMES]
        cells = [
            kind,
            who,
            stands_for.get(who, "itself"),
            sum(run.judged for run in runs),
            *largest,
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def rules_tables(found: Found) -> str:
    """Return the comparison of the rules, a Markdown table for every kind."""
    tables = []
    for kind in dict.fromkeys(kind for kind, _ in found.right):
        what = "rule" if kind == "rnn" else f"rule, {kind}"
        lines = [f"| {what} | right ones rejected | wrong ones accepted |", "|---|---|---|"]
        for name in (rule for of, rule in found.right if of == kind):
            accepted, right = found.right[kind, name]
            wrongly, wrong = found.wrong[kind, name]
            rejected = 100 * (right - accepted) / right
            said = name.replace("torch.nn.RNN", f"torch.nn.{kind.upper()}")
            lines.append(f"| {said} | {rejected:.2g}% | {100 * wrongly / max(1, wrong):.2g}% |")
        said = f"{right} right and {wrong} wrong float32 results (output and h_n)."
        tables.append("\n".join([*lines, "", said]))
    return "\n\n".join(tables)


def kill_matrix(found: Found) -> str:
    """Return mistake by sort of case (dtypes, then regimes) as Markdown: killed / observable."""
    sorts = sorted({sort for _, sort in found.seen}, key=lambda sort: (sort not in NAMES, sort))
    lines = [
        "| kind | mistake | stands for | " + " | ".join(sorts) + " |",
        "|" + "---|" * (3 + len(sorts)),
    ]
    for mistake in every_mistake():
        for kind in mistake.kinds:
            wrong = kind, mistake.name
            cells = [
                f"{found.killed[wrong, sort]}/{found.seen[wrong, sort]}"
                if found.seen[wrong, sort]
                else ""
                for sort in sorts
            ]
            lines.append("| " + " | ".join([*wrong, mistake.stands_for, *cells]) + " |")
    return "\n".join(lines)


def _largest(runs: Iterable[JudgedRun], part: str | None = None) -> str:
    values = [run.z for run in runs if run.judged and part in (None, run.part)]
    return _number(max(values, default=math.nan))


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
