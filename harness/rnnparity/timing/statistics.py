"""From raw seconds to medians, ratios paired within a round, and their intervals."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Share of the intervals that should hold the truth, and resamples that they are found from.
CONFIDENCE, RESAMPLES = 0.95, 2000


class Ratio(NamedTuple):
    """How many times as fast as the baseline, with its interval."""

    value: float
    low: float
    high: float

    @property
    def same(self) -> bool:
        """Whether the interval holds 1: no difference was seen."""
        return self.low <= 1 <= self.high


class Line(NamedTuple):
    """seconds = fixed + per_step * T."""

    fixed: float
    per_step: float


def median(seconds: Sequence[Sequence[float]]) -> float:
    """Return the median over all processes and rounds."""
    return float(np.median(np.concatenate([np.asarray(s) for s in seconds])))


def ratio(
    baseline: Sequence[Sequence[float]], other: Sequence[Sequence[float]], seed: int = 0
) -> Ratio:
    """Return by how much the baseline takes longer, with a bootstrap interval.

    Both took turns: round by round they met the same machine, so that the quotient of a round is
    free of what slowed it as a whole. What differs between processes (where arrays came to lie)
    stays, so processes are drawn first, then rounds within them (a two-stage bootstrap; Davison and
    Hinkley, 1997, 3.8). Few processes spread too little by a factor of (P - 1) / P, in variance:
    the interval is widened by that.

    Args:
        baseline: seconds per call, a sequence of rounds for each process.
        other: seconds of the other one, in the same rounds.
        seed: of the resampling.
    """
    logs = [np.log(np.asarray(b) / np.asarray(o)) for b, o in zip(baseline, other, strict=True)]
    value = float(np.median(np.concatenate(logs)))
    low, high = _interval(value, np.median(_resampled(logs, seed), axis=1), len(logs))
    return Ratio(float(np.exp(value)), float(np.exp(low)), float(np.exp(high)))


def quotient(
    numerators: Sequence[Sequence[float]], denominators: Sequence[Sequence[float]], seed: int = 0
) -> Ratio:
    """Return the quotient of two sums over all rounds, with an interval as `ratio`'s.

    Args:
        numerators: a sequence of rounds for each process.
        denominators: for each process, those of the same rounds.
        seed: of the resampling.
    """
    pairs = [
        np.asarray(n) + 1j * np.asarray(d) for n, d in zip(numerators, denominators, strict=True)
    ]
    whole = np.concatenate(pairs).sum()
    drawn = _resampled(pairs, seed).sum(axis=1)
    value = float(whole.real / whole.imag)
    return Ratio(value, *_interval(value, drawn.real / drawn.imag, len(pairs)))


def _resampled(samples: Sequence[NDArray[Any]], seed: int) -> NDArray[Any]:
    """Draw processes, then rounds within them: `[RESAMPLES, P * rounds]`."""
    P, rounds = len(samples), np.array([len(one) for one in samples])
    padded = np.full((P, rounds.max()), np.nan, samples[0].dtype)
    for row, one in zip(padded, samples, strict=True):
        row[: len(one)] = one
    rng = np.random.default_rng(seed)
    drawn = rng.integers(P, size=(RESAMPLES, P))
    each = max(1, round(float(rounds.mean())))
    which = rng.random((RESAMPLES, P, each)) * rounds[drawn][:, :, None]
    resampled: NDArray[Any] = padded[drawn[:, :, None], which.astype(np.int64)]
    return resampled.reshape(RESAMPLES, -1)


def _interval(value: float, resampled: NDArray[Any], P: int) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    widen = float(np.sqrt(P / (P - 1))) if P > 1 else 1.0
    return float(value - widen * (value - low)), float(value + widen * (high - value))


def line(points: Sequence[tuple[int, float]]) -> Line | None:
    """Fit seconds over time steps; None for fewer than two lengths.

    Least relative squares, neither part below 0 (Lawson and Hanson's non-negative least squares).
    """
    from scipy.optimize import nnls

    if len({T for T, _ in points}) < 2:
        return None
    T, seconds = (np.asarray(column, np.float64) for column in zip(*points, strict=True))
    design = np.stack([1 / seconds, T / seconds], axis=1)
    (fixed, per_step), _ = nnls(design, np.ones(len(points)))
    return Line(float(fixed), float(per_step))


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean, which is what ratios are averaged by."""
    return float(np.exp(np.mean(np.log(values))))
