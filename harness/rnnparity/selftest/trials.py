"""The timing method on trial: a baseline against itself, and against itself made slower.

Every trial is a small timing run of its own. What the intervals of the first
comparison should hold is 1; the second should be told apart.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnparity.cells.config import RNNConfig
from rnnparity.defaults import PROCESSES, TIMEOUT
from rnnparity.implementations.registry import resolve
from rnnparity.implementations.settings import Settings
from rnnparity.problems.cases import Case
from rnnparity.problems.sizes import FORWARD, Job
from rnnparity.runs.processes import Worker
from rnnparity.timing import statistics, turns
from rnnparity.timing.contestants import Contestant
from rnnparity.timing.statistics import Ratio

# What the method promises: how often the interval holds the truth, how often a delay of this share
# is told apart, and how wide the interval may be, in the median.
COVERED, DELAY, TOLD, WIDTH = 0.93, 0.05, 0.90, 0.04

# As in a run, but three contestants of one size need less time than a dozen.
BUDGET = 0.4

# Trials that the same processes serve, as they serve the jobs of a run.
ANEW = 10


@dataclass
class Trials:
    """The intervals of all trials.

    Attributes:
        same: of the baseline to itself.
        delayed: of the baseline to itself with the delay.
    """

    same: list[Ratio] = field(default_factory=list)
    delayed: list[Ratio] = field(default_factory=list)

    @property
    def covered(self) -> float:
        """Share of the intervals of equals that hold 1."""
        return float(np.mean([one.low <= 1 <= one.high for one in self.same]))

    @property
    def told(self) -> float:
        """Share of the intervals of the delayed that do not."""
        return float(np.mean([one.high < 1 for one in self.delayed]))

    @property
    def width(self) -> float:
        """Median width of the intervals of equals."""
        return float(np.median([one.high - one.low for one in self.same]))

    @property
    def passed(self) -> bool:
        """Whether the method keeps its promises."""
        return self.covered >= COVERED and self.told >= TOLD and self.width <= WIDTH


def trials(
    count: int,
    *,
    implementation: str = "numpy-loop",
    processes: int = PROCESSES,
    budget: float = BUDGET,
    settings: Settings | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Trials:
    """Try the method.

    Args:
        count: of trials.
        implementation: what is compared with itself.
        processes: of each trial.
        budget: seconds of rounds in each process.
        settings: of the processes.
        progress: called after every trial.
    """
    settings = settings or Settings()
    spec = resolve(implementation)
    contestants = (
        Contestant("one", spec),
        Contestant("again", spec),
        Contestant("delayed", spec, delay=DELAY),
    )
    config = RNNConfig(input_size=64, hidden_size=128)
    job = Job(Case(config=config, T=20, B=8), FORWARD)
    found = Trials()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers: list[Worker] = []
        for i in range(count):
            if i % ANEW == 0:
                stack.close()
                workers = [Worker(settings, Path(folder) / "log") for _ in range(processes)]
                for worker in workers:
                    stack.callback(worker.close)
            measured = []
            for p, worker in enumerate(workers):
                arguments = (contestants, settings, job, "cpu", budget, i * processes + p)
                measured.append(worker.call(TIMEOUT, turns.measure, *arguments)[0])
            seconds = {c.name: [one[c.name].seconds for one in measured] for c in contestants}
            found.same.append(statistics.ratio(seconds["one"], seconds["again"], seed=i))
            found.delayed.append(statistics.ratio(seconds["one"], seconds["delayed"], seed=i))
            progress()
    return found


def summary(found: Trials) -> str:
    """Return what was found as Markdown."""
    ratios = [one.value for one in found.same]
    delays = [1 / one.value - 1 for one in found.delayed]
    return "\n".join(
        [
            f"{len(found.same)} trials of {PROCESSES} processes, started anew every {ANEW} trials",
            f"a baseline against itself: the 95% interval holds 1 in {found.covered:.1%} "
            f"(at least {COVERED:.0%} pass); ratios from {min(ratios):.4f} to {max(ratios):.4f}; "
            f"median width of the interval {found.width:.2%} (at most {WIDTH:.0%})",
            f"made {DELAY:.0%} slower: told apart in {found.told:.1%} (at least {TOLD:.0%}); "
            f"found slower by {np.median(delays):.2%} in the median",
        ]
    )
