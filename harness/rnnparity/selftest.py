"""Testing the tester: no right implementation may fail, no observable mistake may pass.

Random cases are given to the right implementations (soundness) and to every known mistake
(sensitivity); other suites' rules are applied to the same float32 results, for comparison.
"""

import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity import registry, workers
from rnnparity.cases import Case
from rnnparity.config import RNNConfig
from rnnparity.diagnosis import OBSERVABLE, diagnose, effect
from rnnparity.dtypes import numpy_dtype
from rnnparity.examination import Examination
from rnnparity.execution import Outcome
from rnnparity.mistakes import Mistake, every_mistake
from rnnparity.problems import REGIMES, time_major
from rnnparity.reference import Reference, reference
from rnnparity.rules import RULES, Compared
from rnnparity.settings import Settings
from rnnparity.verdict import LIMIT, judge, judged_part, z_scores

Array = NDArray[Any]

OURS = f"error in units of predicted rounding, limit {LIMIT:g} (ours)"

# A case's cost, in multiply-adds of one forward pass; large ones are drawn, huge ones drawn again.
COST = 3e8

# Draws per shape: other weights, inputs and spectral radius, without compiling again.
DRAWS = 5


# How many of the right runs that came nearest to the limit are named.
NAMED = 5


@dataclass
class Failure:
    """A right implementation that was failed, or a mistake that passed."""

    who: str
    case: str
    reason: str


@dataclass
class Found:
    """What the self-test found.

    Attributes:
        runs: right (implementation, case, forward or gradients) that were judged.
        chaotic: those in which nothing could be judged.
        nearest: the largest z of right implementations, with where: quantity set, who, case.
        rejected: right ones that were failed.
        observable: mistake to the number of cases in which it can be seen.
        killed: mistake and case kind to the number of cases in which it was failed.
        survived: mistakes that passed where they can be seen.
        undiagnosed: mistakes that were failed, but not named.
        right: rule to [accepted, of] right float32 outputs.
        wrong: likewise wrong ones.
    """

    runs: int = 0
    chaotic: int = 0
    nearest: list[tuple[float, str, str, str]] = field(default_factory=list)
    rejected: list[Failure] = field(default_factory=list)
    observable: Counter[str] = field(default_factory=Counter)
    killed: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    survived: list[Failure] = field(default_factory=list)
    undiagnosed: list[Failure] = field(default_factory=list)
    right: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    wrong: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    @property
    def passed(self) -> bool:
        """Whether nothing right was failed and nothing wrong passed."""
        judged = self.runs > 0 and bool(self.observable)
        return judged and not self.rejected and not self.survived and not self.undiagnosed


def draw_shapes(seed: int, count: int) -> Iterator[list[Case]]:
    """Yield groups of random cases; a group shares its shapes, so that it compiles once."""
    rng = np.random.default_rng(seed)

    def log_uniform(low: int, high: int) -> int:
        return round(math.exp(rng.uniform(math.log(low), math.log(high + 0.49))))

    made = 0
    while made < count:
        config = RNNConfig(
            input_size=log_uniform(1, 512),
            hidden_size=log_uniform(1, 1024),
            num_layers=int(rng.choice([1, 1, 1, 2, 3])),
            nonlinearity=str(rng.choice(["tanh", "tanh", "relu"])),
            bias=bool(rng.random() < 0.8),
            batch_first=bool(rng.random() < 0.3),
            bidirectional=bool(rng.random() < 0.4),
        )
        T, B = log_uniform(1, 2000), log_uniform(1, 32)
        batched = bool(rng.random() < 0.85)
        width = config.input_size + config.hidden_size
        if T * B * config.num_cells * config.hidden_size * width > COST:
            continue
        made += 1
        shape = Case(
            config=config,
            T=T,
            B=B if batched else None,
            dtype=str(rng.choice(["float32", "float32", "float64"])),
            ragged=batched and bool(rng.random() < 0.3),
            h0=bool(rng.random() < 0.7),
        )
        radii = np.exp(rng.uniform(math.log(0.1), math.log(4), DRAWS - 1))
        regimes = [f"radius{radius:.2f}" for radius in radii]
        regimes.append(str(rng.choice(list(REGIMES))))
        yield [shape.replace(regime=r, seed=int(rng.integers(2**31))) for r in regimes]


def selftest(
    shapes: int,
    mistake_cases: list[Case],
    *,
    seed: int = 0,
    settings: Settings | None = None,
    timeout: float = 300.0,
    progress: Callable[[str], None] = lambda stage: None,
) -> Found:
    """Test the verdict on right implementations and on mistakes.

    Args:
        shapes: groups of random cases for the right implementations, `DRAWS` cases each.
        mistake_cases: what every mistake is tried on.
        seed: of the random cases.
        settings: of the workers.
        timeout: seconds for one case of one implementation.
        progress: called with a stage's name after every case of it.
    """
    found, settings = Found(), settings or Settings()
    with tempfile.TemporaryDirectory() as folder:
        examinations = {
            spec.name: Examination(spec, settings, Path(folder) / f"{spec.name}.log", timeout)
            for spec in registry.resolve_all([])
        }
        with ThreadPoolExecutor(len(examinations)) as pool:
            try:
                described = {n: pool.submit(e.describe) for n, e in examinations.items()}
                workers.finish(described.values())
                here = {n: examinations[n] for n, d in described.items() if not d.result().verdict}
                for group in draw_shapes(seed, shapes):
                    for case in group:
                        _check_right(case, here, pool, found)
                        progress("soundness")
                for case in mistake_cases:
                    torch_rnn = here.get(registry.BASELINE)
                    baseline = None if torch_rnn is None else torch_rnn.outcome(case, "cpu")
                    _check_wrong(case, baseline, found)
                    progress("sensitivity")
            finally:
                for examination in examinations.values():
                    examination.stop()
    return found


def _check_right(
    case: Case, here: dict[str, Examination], pool: ThreadPoolExecutor, found: Found
) -> None:
    futures = {name: pool.submit(e.outcome, case, "cpu") for name, e in here.items()}
    against = reference(case)
    workers.finish(futures.values())
    outcomes = {name: future.result() for name, future in futures.items()}
    baseline = outcomes.get(registry.BASELINE)
    for name, outcome in outcomes.items():
        judgement = judge(case, outcome, against)
        if judgement.verdict == "unsupported":
            continue
        if judgement.verdict not in ("pass", "chaotic"):
            found.rejected.append(Failure(name, case.id, judgement.reason))
        for quantity_set in ("forward", "gradients"):
            quantities = {
                quantity: q
                for quantity, q in judgement.quantities.items()
                if quantity.startswith("grad_") == (quantity_set == "gradients")
            }
            judged = any(q.judged > 0 for q in quantities.values())
            found.runs += judged
            found.chaotic += not judged
            z = max((math.inf if q.z is None else q.z for q in quantities.values()), default=0)
            found.nearest.append((z, quantity_set, name, case.id))
        found.nearest = sorted(found.nearest, reverse=True)[:NAMED]
        if case.dtype == "float32" and name != registry.BASELINE:
            ours = judgement.verdict != "fail"
            _apply_rules(case, outcome, baseline, against, ours, found.right)


def _check_wrong(case: Case, baseline: Outcome | None, found: Found) -> None:
    against = reference(case)
    kind = f"{case.dtype} {case.regime.rstrip('0123456789.')}"
    for mistake in every_mistake():
        if not mistake.applies(case) or effect(case, mistake, against) <= OBSERVABLE:
            continue
        outcome = wrong_outcome(case, mistake, against)
        found.observable[mistake.name] += 1
        found.seen[mistake.name, kind] += 1
        z = max(
            float(z_scores(judged_part(case, n, a, against), n, against).max())
            for n, a in outcome.arrays.items()
        )
        if z <= LIMIT:
            found.survived.append(Failure(mistake.name, case.id, f"z = {z:.3g}"))
            continue
        found.killed[mistake.name, kind] += 1
        names = [match.mistake.name for match in diagnose(case, outcome, against)]
        if mistake.name not in names:
            found.undiagnosed.append(Failure(mistake.name, case.id, f"named: {names}"))
        if case.dtype == "float32" and mistake.forward is not None:
            _apply_rules(case, outcome, baseline, against, False, found.wrong)


def wrong_outcome(case: Case, mistake: Mistake, against: Reference) -> Outcome:
    """Return what a wrong implementation with this one mistake returns, as a worker would."""
    every_row = against.problem._replace(rows=np.arange(case.B or 1))
    with np.errstate(all="ignore"):
        made = mistake.quantities(case, every_row, numpy_dtype(case.dtype))
    arrays = {}
    for name, array in made.items():
        batchless = name.startswith(("grad_weight", "grad_bias"))
        one = case.B is None and not batchless
        arrays[name] = array[:, 0] if one else time_major(case, name, array)
    return Outcome(arrays)


def _apply_rules(
    case: Case,
    outcome: Outcome,
    baseline: Outcome | None,
    against: Reference,
    ours: bool,
    counts: dict[str, list[int]],
) -> None:
    """Count which rules accept a result: all of output and h_n must be accepted."""
    if baseline is None or baseline.verdict or outcome.verdict:
        return

    def part(source: Outcome, name: str) -> Array:
        return judged_part(case, name, source.arrays[name], against).astype(np.float64)

    compared = [
        Compared(
            found=part(outcome, name),
            torch_rnn=part(baseline, name),
            truth=against.true.values[name].astype(np.float64),
        )
        for name in ("output", "h_n")
    ]
    with np.errstate(all="ignore"):
        verdicts = {name: all(map(rule, compared)) for name, rule in RULES.items()} | {OURS: ours}
    for name, accepted in verdicts.items():
        counts[name][0] += accepted
        counts[name][1] += 1


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
    """Return mistake by kind of case as Markdown: killed / observable."""
    kinds = sorted({kind for _, kind in found.seen})
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


def summary(found: Found) -> str:
    """Return what was found as Markdown."""
    pairs = found.observable.total()
    text = [
        f"soundness: {found.runs} judged runs of right implementations "
        f"({found.chaotic} more were chaotic throughout), {len(found.rejected)} rejected",
        f"nearest to the limit of {LIMIT:g} units: "
        + "; ".join(f"{z:.2f} ({what}, {who}, {case})" for z, what, who, case in found.nearest),
        f"sensitivity: {len(found.observable)} mistakes, {pairs} observable (mistake, case) pairs, "
        f"{len(found.survived)} survived, {len(found.undiagnosed)} not named by the diagnosis",
    ]
    for label, failures in (
        ("rejected", found.rejected),
        ("survived", found.survived),
        ("not named", found.undiagnosed),
    ):
        text += [f"{label}: {f.who}, {f.case}: {f.reason}" for f in failures[:20]]
    return "\n".join(text)
