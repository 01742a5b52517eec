"""The parity matrix on all that is registered: the conformance suite, on ourselves."""

from rnnparity.conformance import matrix
from rnnparity.conformance.test_conformance import (  # noqa: F401  (pytest collects them)
    pytest_generate_tests,
    test_implementation_agrees_with_the_truth,
)
from rnnparity.registry import resolve_all


def test_the_matrix_is_large_and_its_ids_are_unique():
    cases = matrix.cases()
    assert len(cases) * len(resolve_all([])) >= 500
    assert len({case.id for case in cases}) == len(cases)
