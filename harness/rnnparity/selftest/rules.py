"""Other suites' rules, applied to the same results, to compare what they reject and accept.

Each compares an implementation's output and h_n with `torch.nn.RNN`'s, as a test suite does that
has no better reference; the one relative to float64 has the truth, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.difference import judged_part
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.problems.cases import Case
from rnnparity.selftest.findings import Counts

Array = NDArray[np.float64]


class Compared(NamedTuple):
    """One quantity, in float64: what was found, what torch.nn.RNN made of it, what is true."""

    found: Array
    torch_rnn: Array
    truth: Array


Rule = Callable[[Compared], bool]


def _close(rtol: float, atol: float) -> Rule:
    def accepts(c: Compared) -> bool:
        return bool((np.abs(c.found - c.torch_rnn) <= atol + rtol * np.abs(c.torch_rnn)).all())

    return accepts


def _rmse(a: Array, b: Array) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def _within_twice(c: Compared) -> bool:
    return _rmse(c.found, c.truth) <= 2 * _rmse(c.torch_rnn, c.truth)


RULES: dict[str, Rule] = {
    "`np.allclose` against `torch.nn.RNN`": _close(1e-5, 1e-8),
    "`torch.testing.assert_close`, float32 defaults": _close(1.3e-6, 1e-5),
    "rtol 1e-3, atol 1e-7 (as ONNX's suite)": _close(1e-3, 1e-7),
    "rmse at most 2x `torch.nn.RNN`'s, relative to float64 (as torch dynamo's)": _within_twice,
}

OURS = f"error in units of predicted rounding, limit {LIMIT:g} (ours)"


def apply_rules(
    case: Case,
    outcome: Outcome,
    baseline: Outcome | None,
    against: Reference,
    ours: bool,
    counts: Counts,
) -> None:
    """Count which rules accept a result: all of output and h_n must be accepted.

    Args:
        case: what was run.
        outcome: what came of it.
        baseline: what `torch.nn.RNN` made of it.
        against: the reference.
        ours: whether our own rule accepts it.
        counts: kind and rule to [accepted, of], added to.
    """
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
        count = counts[case.config.kind, name]
        count[0] += accepted
        count[1] += 1
