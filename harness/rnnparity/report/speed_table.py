"""The table of speed by size, as plain data: speed-ups over the baseline, with intervals."""

from dataclasses import dataclass
from functools import cached_property

from rnnparity.records.run import Run
from rnnparity.records.timing import IMPLEMENTATION, Timing, size
from rnnparity.timing import noise
from rnnparity.timing.statistics import geometric_mean

# What stands beside a ratio that is below the noise, or whose interval holds 1.
NOT_TOLD = "no difference told"


@dataclass(frozen=True)
class Mean:
    """The geometric mean of the speed-ups of an implementation, over the sizes that it has.

    `low` and `high` are the geometric means of the intervals' ends: all sizes err the same way at
    once, which is the widest that they can. No value where it failed at a size: a mean over the
    others would be of another job.
    """

    value: float | None
    low: float
    high: float
    sizes: int
    of: int
    failed: int

    @property
    def text(self) -> str:
        """The mean, and of how many sizes where others have more."""
        if self.failed:
            return f"fails {self.failed}/{self.of}"
        if self.value is None:
            return "-"
        return f"{self.value:.2f}" + (f" of {self.sizes}" if self.sizes < self.of else "")


@dataclass(frozen=True)
class SpeedTable:
    """The timings of a kind of layers on a device, in a dtype and a mode, with some threads."""

    cell: str
    device: str
    dtype: str
    mode: str
    threads: int
    baseline: str
    names: tuple[str, ...]  # all but the baseline's
    timings: tuple[Timing, ...]

    @property
    def where(self) -> str:
        """What was timed: "cpu, float32, forward, 1 thread"."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.device}, {self.dtype}, {self.mode}, {threads}"

    @property
    def title(self) -> str:
        """What the table shows."""
        return f"{self.where}: speed-up over {spoken(self.baseline)}"

    @cached_property
    def rows(self) -> list[tuple[str, dict[str, Timing]]]:
        """Every size, and who was timed there."""
        found: dict[str, dict[str, Timing]] = {}
        for one in self.timings:
            found.setdefault(one.case, {})[one.implementation] = one
        return [(size(next(iter(here.values()))), here) for here in found.values()]

    @cached_property
    def means(self) -> dict[str, Mean]:
        """The mean of every implementation besides the baseline."""
        return {name: self._mean(name) for name in self.names}

    def _mean(self, name: str) -> Mean:
        own = [here[name] for _, here in self.rows if name in here]
        found = [t for t in own if t.ratio and t.ratio_low and t.ratio_high]
        failed = sum(t.verdict.is_wrong for t in own)
        if not found or failed:
            return Mean(None, 0.0, 0.0, len(found), len(self.rows), failed)
        value, low, high = (
            geometric_mean([getattr(t, end) for t in found])
            for end in ("ratio", "ratio_low", "ratio_high")
        )
        return Mean(value, low, high, len(found), len(self.rows), 0)


def tables(run: Run) -> list[SpeedTable]:
    """Return a table for every kind, device, dtype and mode in which a baseline was timed."""
    groups: dict[tuple[str, str, str, str, int], list[Timing]] = {}
    for t in run.timings:
        if t.definition is not None:
            key = (t.cell, t.device, t.dtype, t.mode, t.threads)
            groups.setdefault(key, []).append(t)
    made = []
    for (cell, device, dtype, mode, threads), own in groups.items():
        baseline = next((t.baseline for t in own if t.baseline), "")
        everybody = dict.fromkeys(t.implementation for t in own if t.role == IMPLEMENTATION)
        others = tuple(name for name in everybody if name != baseline)
        if baseline:
            made.append(
                SpeedTable(cell, device, dtype, mode, threads, baseline, others, tuple(own))
            )
    return made


def spoken(baseline: str) -> str:
    """Return what a baseline is called in a sentence: torch.nn.RNN, where it is torch's own."""
    name, _, kind = baseline.partition(" (")
    return f"torch.nn.{kind[:-1].upper() or 'RNN'}" if name == "torch-rnn" else baseline


def told(one: Timing, run: Run) -> str:
    """Return a timing's speed-up with its interval, as a page has room for; "-" if there is none.

    What failed says so.
    """
    if one.ratio is None or one.ratio_low is None or one.ratio_high is None:
        return str(one.verdict) if one.verdict != "pass" else "-"
    if noise.is_same(one, run.timings):
        return f"{one.ratio:.3g} ({NOT_TOLD})"
    return f"{one.ratio:.3g} [{one.ratio_low:.3g}, {one.ratio_high:.3g}]"
