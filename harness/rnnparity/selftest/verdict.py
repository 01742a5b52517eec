"""The self-test of the verdict: no right implementation may fail, no observable mistake may pass.

Random cases are given to the right implementations and to further correct ways to compute it
(soundness), chosen ones to every known mistake (sensitivity); other suites' rules are applied to
the same float32 results, for comparison. A unit that is too wide fails, too.
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rnnparity.implementations import registry
from rnnparity.implementations.settings import Settings
from rnnparity.problems.cases import Case
from rnnparity.runs import processes
from rnnparity.runs.examiner import Examiner
from rnnparity.runs.processes import Worker
from rnnparity.selftest.drawing import DRAWS, draw_shapes
from rnnparity.selftest.findings import Found
from rnnparity.selftest.sensitivity import check_mistakes
from rnnparity.selftest.soundness import check_group


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
        examiners = {
            spec.name: Examiner(spec, settings, Path(folder) / f"{spec.name}.log", timeout)
            for spec in registry.resolve_all([])
        }
        ways = Worker(settings, Path(folder) / "ways.log")
        with ThreadPoolExecutor(len(examiners) + DRAWS) as pool:
            try:
                described = {n: pool.submit(e.describe) for n, e in examiners.items()}
                processes.finish(described.values())
                here = {n: examiners[n] for n, d in described.items() if not d.result().verdict}
                for group in draw_shapes(seed, shapes):
                    advance = partial(progress, "soundness")
                    check_group(group, here, ways, pool, timeout, found, advance)
                for case in mistake_cases:
                    torch_rnn = here.get(registry.BASELINE)
                    baseline = None if torch_rnn is None else torch_rnn.outcome(case, "cpu")
                    check_mistakes(case, baseline, found)
                    progress("sensitivity")
            finally:
                ways.close()
                for examiner in examiners.values():
                    examiner.stop()
    return found
