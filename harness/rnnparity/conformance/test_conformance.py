"""Every case of the matrix, on what `--rnn-impl` and `--rnn-onnx-backend` name, or on all."""

import os
from fnmatch import fnmatchcase

import pytest

from rnnparity import listed
from rnnparity.cells.config import KINDS
from rnnparity.conformance import matrix
from rnnparity.conformance.evaluation import SETTINGS, devices_of, evaluate, find_device
from rnnparity.errors import UsageError
from rnnparity.implementations.registry import Spec, is_alone, kind_of, resolve_all
from rnnparity.problems.cases import Case, full_id
from rnnparity.verdicts import Verdict

os.environ.update(SETTINGS.environment_variables())  # before any framework is imported


ONNX = "--rnn-onnx-backend"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test per implementation, device that is here, and case."""
    if "case" not in metafunc.fixturenames:
        return
    named = any(metafunc.config.getoption(option) for option in ("--rnn-impl", ONNX))
    metafunc.parametrize(
        ("implementation", "kind", "case"),
        [
            pytest.param(
                # Registered names are those of plain RNNs.
                spec if spec.onnx else spec.target if named or cell != "rnn" else spec.name,
                kind,
                case,
                id=_id(spec, kind, case),
                marks=_of_peer(_id(spec, kind, case)) if spec.peer else [],
            )
            for spec in _specs(metafunc.config)
            for cell in [kind_of(spec)]
            for kind in matrix.kinds_here(spec, devices_of)
            for case in _cases(spec, cell, named)
        ],
    )


def _of_peer(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a test: what a peer's library gets wrong is not this suite's to mend."""
    known = [reason for _, pattern, reason in listed.of_peers() if fnmatchcase(name, pattern)]
    expected = [pytest.mark.xfail(reason=reason, strict=True) for reason in known[:1]]
    return [pytest.mark.filterwarnings("ignore"), *expected]


def _cases(spec: Spec, cell: str, named: bool) -> list[Case]:
    """Return the whole matrix, or of peers, and of what is registered for gated cells, features."""
    whole = named or (cell == "rnn" and not spec.peer)
    return matrix.cases(cell) if whole else matrix.features(cell)


def _specs(config: pytest.Config) -> list[Spec]:
    named, backends = config.getoption("--rnn-impl"), config.getoption(ONNX)
    try:
        if named or backends:
            own = resolve_all([], kinds=tuple(KINDS), backends=backends) if backends else []
            found = [*(resolve_all(named) if named else []), *own]
            if any(spec.python for spec in found):
                raise UsageError("all tests share this Python: leave out @PATH")
            return found
        every = resolve_all([], peers=True, kinds=tuple(KINDS))
        return [spec for spec in every if not is_alone(spec)]  # all tests share a process
    except UsageError as error:
        option = "--rnn-impl" if named else ONNX
        raise pytest.UsageError(f"{option}: {error}") from None


def _id(spec: object, kind: str, case: Case) -> str:
    return full_id(getattr(spec, "name", ""), kind, case)


def test_no_device_is_missing(pytestconfig: pytest.Config) -> None:
    """Skips where a kind of device is not here, and says for which implementations."""
    missing: dict[str, list[str]] = {}
    for spec in _specs(pytestconfig):
        here = matrix.kinds_here(spec, devices_of)
        for kind in matrix.kinds(spec):
            if kind not in here:
                missing.setdefault(kind, []).append(spec.name)
    if missing:
        told = (f"no {kind} device for {', '.join(names)}" for kind, names in missing.items())
        pytest.skip(f"not tested: {'; '.join(told)}")


def test_implementation_agrees_with_the_truth(
    implementation: str | Spec, kind: str, case: Case, request: pytest.FixtureRequest
) -> None:
    """The verdict is pass; what is declared as unsupported skips."""
    judgement = evaluate(implementation, find_device(implementation, kind), case)
    if judgement.verdict == Verdict.UNSUPPORTED:
        pytest.skip(judgement.reason)
    if judgement.verdict not in matrix.expected_verdicts(case):
        name = request.node.callspec.id
        pytest.fail(f"{name}: {judgement.verdict}: {judgement.reason}", pytrace=False)
