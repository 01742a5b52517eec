"""Running and judging a case inside a test process; what is not here skips, by name."""

from functools import cache, lru_cache

import pytest

from rnnparity.implementations import contract, frameworks
from rnnparity.implementations.contract import Implementation
from rnnparity.implementations.execution import execute, run_times
from rnnparity.implementations.frameworks import Border
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec, resolve
from rnnparity.implementations.settings import Settings, threads_given
from rnnparity.judging.assess import assess
from rnnparity.judging.reference import Reference, reference
from rnnparity.judging.verdict import Judgement
from rnnparity.problems.cases import Case

# pytest has no --threads: what the user has set decides.
SETTINGS = Settings(threads=threads_given())


@cache
def border(framework: str) -> Border:
    """Return the border of a framework, or skip, naming what is missing."""
    try:
        return frameworks.imported(framework, SETTINGS)
    except ModuleNotFoundError:
        hint = frameworks.install_hint(framework)
        pytest.skip(f"{framework} is not installed: {hint}")


@cache
def loaded(name: str | Spec) -> tuple[Implementation, Border]:
    """Return an implementation (a registered name, file or module) and its border, or skip."""
    try:
        implementation = contract.load(_spec(name))
    except contract.Absent as absent:
        pytest.skip(str(absent))
    return implementation, border(implementation.framework)


def _spec(name: str | Spec) -> Spec:
    return resolve(name) if isinstance(name, str) else name


def find_device(name: str | Spec, kind: str) -> str:
    """Return the first device of a kind that an implementation's framework has here, or skip."""
    _, its_border = loaded(name)
    for device in its_border.devices():
        if device.partition(":")[0] == kind:
            return device
    pytest.skip(f"{its_border.framework} has no {kind} device here")


@cache
def devices_of(framework: str) -> tuple[str, ...]:
    """Return the devices of a framework; the CPU where it is missing, which a test is to say."""
    try:
        return tuple(frameworks.imported(framework, SETTINGS).devices())
    except ModuleNotFoundError:
        return ("cpu",)


@lru_cache(maxsize=64)
def reference_of(case: Case) -> Reference:
    """Return what a case is judged against, kept for the implementations that follow."""
    return reference(case)


def evaluate(name: str | Spec, device: str, case: Case) -> Judgement:
    """Run a case in this process, judge it, and explain a failure."""
    implementation, its_border = loaded(name)
    against = reference_of(case)

    def fresh(other: Case, *, times: int = 1, gradients: bool = False) -> list[Outcome] | None:
        try:
            with contract.loaded_anew(_spec(name)) as anew:
                return run_times(anew, its_border, other, device, times, gradients)
        except (contract.Absent, contract.BrokenImplementation):
            return None

    with frameworks.as_set(its_border, SETTINGS):  # other tests of this process go on as they were
        outcome = execute(implementation, its_border, case, against.problem, device)
        return assess(case, outcome, against, fresh, refer=lru_cache(reference)).judgement
