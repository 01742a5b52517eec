"""What a worker is asked during a check: pure functions of picklable values."""

from functools import cache
from typing import Any

import msgspec

from rnnparity.implementations import stopwatch
from rnnparity.implementations.execution import execute, run_times
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.problems.cases import Case
from rnnparity.verdicts import Verdict


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What an implementation turned out to be, once loaded in a worker.

    `verdict` is None for one that can be run, else ABSENT or ERROR, with the reason. `devices`
    are those that are here, of the kinds that it declares (`runs_on`; all kinds if none is named).
    `packages` are the versions of the libraries that were imported for it.
    """

    framework: str = ""
    devices: tuple[str, ...] = ()
    runs_on: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    nonlinearities: tuple[str, ...] = ()
    whole: bool = False
    versions: dict[str, str] = {}
    packages: dict[str, str] = {}
    verdict: Verdict | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse a verdict that nothing has earned yet.

        Raises:
            ValueError: the verdict is another than ABSENT and ERROR.
        """
        if self.verdict not in (None, Verdict.ABSENT, Verdict.ERROR):
            raise ValueError(f"the verdict is {self.verdict}, expected absent or error")


def describe(spec: Spec, settings: Settings) -> Description:
    """Load an implementation (in a worker) and say what it is and where it can run."""
    from rnnparity.errors import explain
    from rnnparity.implementations import contract, frameworks

    try:
        with stopwatch.running():
            implementation = contract.load(spec)
    except contract.Absent as error:
        return Description(verdict=Verdict.ABSENT, reason=str(error))
    except contract.BrokenImplementation as error:
        return Description(verdict=Verdict.ERROR, reason=str(error))
    framework, support = implementation.framework, implementation.support
    try:
        with stopwatch.running():
            border = frameworks.get(framework, settings)
            devices = border.devices()  # may take as long as the import
    except ModuleNotFoundError:
        reason = f"{framework} is not installed: {frameworks.install_hint(framework)}"
        return Description(framework=framework, verdict=Verdict.ABSENT, reason=reason)
    except Exception as error:
        return Description(framework=framework, verdict=Verdict.ERROR, reason=explain(error))
    return Description(
        framework=framework,
        devices=tuple(
            device
            for device in devices
            if support.devices is None or device.partition(":")[0] in support.devices
        ),
        runs_on=support.devices or (),
        dtypes=support.dtypes,
        nonlinearities=support.nonlinearities,
        whole=implementation.rnn is not None,
        versions=border.versions(),
        packages=frameworks.loaded(),
    )


def run_case(spec: Spec, settings: Settings, case: Case, device: str) -> Outcome:
    """Run one case (in a worker)."""
    from rnnparity.implementations import contract
    from rnnparity.problems import arrays

    try:
        implementation, border = loaded(spec, settings)
    except (contract.Absent, contract.BrokenImplementation) as error:
        return Outcome(verdict=Verdict.ERROR, reason=str(error))
    return execute(implementation, border, case, arrays.build(case), device)


def run_fresh(
    spec: Spec, settings: Settings, case: Case, device: str, times: int, gradients: bool
) -> list[Outcome] | None:
    """Run a case so many times on an instance that nothing has called (in a worker).

    Returns:
        The outcomes, or None if the implementation cannot be loaded once more in this process.
    """
    from rnnparity.implementations import contract, frameworks

    try:
        with contract.loaded_anew(spec) as implementation:
            border = frameworks.get(implementation.framework, settings)
            return run_times(implementation, border, case, device, times, gradients)
    except (contract.Absent, contract.BrokenImplementation):
        return None


@cache
def loaded(spec: Spec, settings: Settings) -> Any:
    """Load an implementation and its border, once per process."""
    from rnnparity.implementations import contract, frameworks

    with stopwatch.running():
        implementation = contract.load(spec)
        return implementation, frameworks.get(implementation.framework, settings)
