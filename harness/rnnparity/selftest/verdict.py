"""The self-test of the verdict: no right implementation may fail, no observable mistake may pass.

Random cases are given to the right implementations and to further correct ways to compute it
(soundness), chosen ones and some of these to every known mistake (sensitivity); other suites' rules
are applied to the same float32 results, for comparison. A unit that is too wide fails, too.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rnnparity.implementations import registry
from rnnparity.implementations.settings import Settings
from rnnparity.runs import processes
from rnnparity.runs.examiner import Examiner
from rnnparity.runs.processes import Worker
from rnnparity.selftest.drawing import DRAWS, Plan
from rnnparity.selftest.findings import Found
from rnnparity.selftest.sensitivity import check_mistakes
from rnnparity.selftest.soundness import check_group

# Groups after which processes are started anew: XLA keeps every program that it has compiled.
ANEW = 20


class Right(NamedTuple):
    """Right implementations, and the process in which ways are judged."""

    here: dict[str, Examiner]
    ways: Worker
    pool: ThreadPoolExecutor


def selftest(
    plans: Mapping[str, Plan],
    *,
    settings: Settings | None = None,
    timeout: float = 300.0,
    progress: Callable[[str], None] = lambda stage: None,
) -> Found:
    """Test the verdict on right implementations and on mistakes.

    Args:
        plans: of every kind of layers.
        settings: of the workers.
        timeout: seconds for one case of one implementation.
        progress: called with a stage's name after every case of it.
    """
    found, settings = Found(), settings or Settings()
    for kind, plan in plans.items():
        for first in range(0, len(plan.groups), ANEW):
            with _started(kind, settings, timeout) as right:
                for group in plan.groups[first : first + ANEW]:
                    check_group(group, *right, timeout, found, partial(progress, "soundness"))
        with _started(kind, settings, timeout) as right:
            torch_rnn = right.here.get(registry.BASELINE)
            for case in plan.mistakes:
                baseline = None if torch_rnn is None else torch_rnn.outcome(case, "cpu")
                check_mistakes(case, baseline, found)
                progress("sensitivity")
    return found


@contextmanager
def _started(kind: str, settings: Settings, timeout: float) -> Iterator[Right]:
    """Start what runs the right implementations of a kind that are here, and the ways."""
    with tempfile.TemporaryDirectory() as folder:
        examiners = {
            registry.without_kind(spec.name): Examiner(
                spec, settings, Path(folder) / f"{spec.name}.log", timeout
            )
            for spec in registry.resolve_all([], kinds=(kind,))
        }
        ways = Worker(settings, Path(folder) / "ways.log")
        with ThreadPoolExecutor(len(examiners) + DRAWS) as pool:
            try:
                described = {n: pool.submit(e.describe) for n, e in examiners.items()}
                processes.finish(described.values())
                here = {n: examiners[n] for n, d in described.items() if not d.result().verdict}
                yield Right(here, ways, pool)
            finally:
                ways.close()
                for examiner in examiners.values():
                    examiner.stop()
