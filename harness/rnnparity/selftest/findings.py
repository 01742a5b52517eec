"""What the self-test finds, and when that is a failure."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from rnnparity.cells.config import KINDS
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import is_gradient
from rnnparity.problems.regimes import STRUCTURED
from rnnparity.selftest.right_ways import WAYS
from rnnparity.verdicts import Verdict

# The root mean square of z of right outputs below which the unit is too wide. Where a unit is what
# one right implementation does, it is near 1; it has to cover the worst order of summation, tanh
# and rounding that is right, which makes 0.15 to 0.5 of it. At 0.1 a mistake of a hundred times
# what implementations really err by would pass.
TOO_WIDE = 0.1

# Cases that are needed to say so, of two shapes at least: a few may be calm by themselves.
ENOUGH_CASES = 10

# Ways that are as far off as is right, on purpose: no measure of what rounding usually makes.
EXTREME = {way.name for way in WAYS if way.is_extreme}

# Ranges of H that z is reported by.
RANGES = ((1, 4), (5, 16), (17, 64), (65, 256), (257, 1024))


Wrong = tuple[str, str]  # kind of layers, mistake
Where = tuple[str, str, tuple[int, int]]  # kind of layers, dtype, range of H
Counts = dict[tuple[str, str], list[int]]  # kind of layers and rule to [accepted, of]


@dataclass(frozen=True)
class Failure:
    """A right implementation that was failed, or a mistake that passed."""

    who: str
    case: str
    reason: str


@dataclass(frozen=True)
class JudgedRun:
    """A right implementation on a case, forward or backward.

    Attributes:
        who: the implementation or way.
        case: the case's id.
        kind: of the case's layers.
        dtype: of the case.
        hidden_size: of the case.
        structured: whether weights or inputs have structure.
        part: "forward" or "gradients".
        judged: whether anything was judged.
        rejected: whether it was failed.
        z: the largest of any quantity.
        quantity: which one that is.
        rms: the root mean square of z, of the output or of all gradients; None if not judged.
    """

    who: str
    case: str
    kind: str
    dtype: str
    hidden_size: int
    structured: bool
    part: str
    judged: bool
    rejected: bool
    z: float
    quantity: str
    rms: float | None


def runs_of(who: str, case: Case, judgement: Judgement) -> list[JudgedRun]:
    """Return what a judgement says of both passes; nothing if it was not run."""
    if judgement.verdict == Verdict.UNSUPPORTED:
        return []
    runs = []
    failed = not judgement.verdict.is_right
    by_z = any(q.z is None or q.z > LIMIT for q in judgement.quantities.values())
    for part in ("forward", "gradients"):
        found = {
            name: quantity
            for name, quantity in judgement.quantities.items()
            if is_gradient(name) == (part == "gradients")
        }
        if not found:
            continue
        z = {name: math.inf if q.z is None else q.z for name, q in found.items()}
        worst = max(z, key=z.__getitem__)
        counted = found.values() if part == "gradients" else [found["output"]]
        squares = [q.rms_z**2 for q in counted if q.rms_z is not None]
        runs.append(
            JudgedRun(
                who=who,
                case=case.id,
                kind=case.config.kind,
                dtype=case.dtype,
                hidden_size=case.config.hidden_size,
                structured=case.regime in STRUCTURED,
                part=part,
                judged=any(q.judged > 0 for q in found.values()),
                rejected=failed and (z[worst] > LIMIT if by_z else part == "forward"),
                z=z[worst],
                quantity=worst,
                rms=math.sqrt(sum(squares) / len(squares)) if squares else None,
            )
        )
    return runs


def ordinary(runs: Iterable[JudgedRun], part: str) -> list[float]:
    """Return the root mean square of z of every run of one part in which anything was rounded.

    Without those of a function at its bound.
    """
    return [run.rms for run in runs if run.part == part and run.rms and run.who not in EXTREME]


def rms(runs: Iterable[JudgedRun], part: str) -> float:
    """Return the root mean square of z over the ordinary runs; NaN if none was judged."""
    sizes = ordinary(runs, part)
    return math.sqrt(sum(size**2 for size in sizes) / len(sizes)) if sizes else math.nan


@dataclass
class Found:
    """What the self-test found.

    A mistake is known by the kind of layers and by its name: several have some in common.

    Attributes:
        runs: of right implementations and ways, forward and backward.
        rejected: right ones that were failed.
        observable: mistake to the number of cases in which it can be seen.
        seen: mistake and sort of case (a dtype, a regime) to that number.
        killed: mistake and sort of case to the number of cases in which it was failed.
        survived: mistakes that passed where they can be seen.
        undiagnosed: mistakes that were failed, but not named.
        right: kind and rule to [accepted, of] right float32 outputs.
        wrong: kind and rule to [accepted, of] wrong float32 outputs.
    """

    runs: list[JudgedRun] = field(default_factory=list)
    rejected: list[Failure] = field(default_factory=list)
    observable: Counter[Wrong] = field(default_factory=Counter)
    seen: Counter[tuple[Wrong, str]] = field(default_factory=Counter)
    killed: Counter[tuple[Wrong, str]] = field(default_factory=Counter)
    survived: list[Failure] = field(default_factory=list)
    undiagnosed: list[Failure] = field(default_factory=list)
    right: Counts = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    wrong: Counts = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def by_range(self) -> dict[Where, list[JudgedRun]]:
        """Return the runs by kind, dtype and range of H."""
        groups: dict[Where, list[JudgedRun]] = defaultdict(list)
        for run in self.runs:
            (bounds,) = [r for r in RANGES if r[0] <= run.hidden_size <= r[1]]
            groups[run.kind, run.dtype, bounds].append(run)
        kinds = list(KINDS)
        return dict(sorted(groups.items(), key=lambda one: (kinds.index(one[0][0]), one[0])))

    def too_wide(self) -> list[str]:
        """Return where right outputs are so near to the truth that the unit must be too wide."""
        found = []
        for (kind, dtype, (low, high)), runs in self.by_range().items():
            cases = {run.case for run in runs if run.judged and run.part == "forward"}
            size = rms(runs, "forward")
            if len(cases) >= ENOUGH_CASES and size < TOO_WIDE:
                where = f"{kind}, {dtype}, H from {low} to {high}"
                found.append(f"{where}: rms z of right outputs {size:.3f}")
        return found

    @property
    def passed(self) -> bool:
        """Whether nothing right was failed, nothing wrong passed, and no unit is too wide."""
        judged = any(run.judged for run in self.runs) and bool(self.observable)
        wrong = self.rejected or self.survived or self.undiagnosed or self.too_wide()
        return judged and not wrong
