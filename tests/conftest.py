"""What all tests share: a numeric environment set before any framework is imported."""

import os
from functools import cache, lru_cache

import pytest

from rnnparity.settings import Settings

SETTINGS = Settings()
os.environ.update(SETTINGS.environment_variables())


@cache
def border(framework):
    """The border of a framework, or a skip that names what is missing."""
    from rnnparity import borders

    pytest.importorskip(framework, reason=f"{framework} is not installed")
    return borders.get(framework, SETTINGS)


@cache
def loaded(name):
    """A registered implementation and its border."""
    from rnnparity import contract, registry

    try:
        implementation = contract.load(registry.registered()[name])
    except contract.Absent as absent:
        pytest.skip(str(absent))
    return implementation, border(implementation.framework)


def find_device(name, kind):
    """The first device of a kind that an implementation's framework has here, or a skip."""
    _, its_border = loaded(name)
    for device in its_border.devices():
        if device.partition(":")[0] == kind:
            return device
    pytest.skip(f"{its_border.framework} has no {kind} device here")


def evaluate(name, device, case):
    """Run and judge a case in this process."""
    from rnnparity.execution import execute
    from rnnparity.verdict import judge

    implementation, its_border = loaded(name)
    against = reference_of(case)
    outcome = execute(implementation, its_border, case, against.problem, device)
    return judge(case, outcome, against)


@lru_cache(maxsize=64)
def reference_of(case):
    """What a case is judged against."""
    from rnnparity.reference import reference

    return reference(case)
