"""Every case of the matrix, on the implementations named by `--rnn-impl`, or on all registered."""

import os

import pytest

from rnnparity.cases import Case, full_id
from rnnparity.conformance import matrix
from rnnparity.conformance.evaluation import SETTINGS, evaluate, find_device
from rnnparity.errors import UsageError
from rnnparity.registry import resolve_all

os.environ.update(SETTINGS.environment_variables())  # before any framework is imported


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test per implementation, device and case."""
    if "case" not in metafunc.fixturenames:
        return
    named = metafunc.config.getoption("--rnn-impl")
    try:
        specs = resolve_all(named or [], peers=not named)
    except UsageError as error:
        raise pytest.UsageError(f"--rnn-impl: {error}") from None
    metafunc.parametrize(
        ("implementation", "kind", "case"),
        [
            pytest.param(
                spec.target if named else spec.name,
                kind,
                case,
                id=_id(spec, kind, case),
                # What a peer's library warns about is not this suite's to mend.
                marks=[pytest.mark.filterwarnings("ignore")] if spec.peer else [],
            )
            for spec in specs
            for kind in matrix.kinds(spec)
            for case in (matrix.cases_of_peers() if spec.peer else matrix.cases())
        ],
    )


def _id(spec: object, kind: str, case: Case) -> str:
    return full_id(getattr(spec, "name", ""), kind, case)


def test_implementation_agrees_with_the_truth(
    implementation: str, kind: str, case: Case, request: pytest.FixtureRequest
) -> None:
    """The verdict is pass; what is declared as unsupported skips."""
    judgement = evaluate(implementation, find_device(implementation, kind), case)
    if judgement.verdict == "unsupported":
        pytest.skip(judgement.reason)
    if judgement.verdict not in matrix.expected_verdicts(case):
        name = request.node.callspec.id
        pytest.fail(f"{name}: {judgement.verdict}: {judgement.reason}", pytrace=False)
