"""The parity matrix on all that is registered: the conformance suite, on ourselves."""

from rnnparity.conformance import matrix
from rnnparity.conformance.test_conformance import (  # noqa: F401  (pytest collects them)
    pytest_generate_tests,
    test_implementation_agrees_with_the_truth,
    test_no_device_is_missing,
)
from rnnparity.implementations.frameworks import KINDS
from rnnparity.implementations.registry import Spec, resolve_all


def test_the_matrix_is_large_and_its_ids_are_unique():
    cases = matrix.cases()
    assert len(cases) * len(resolve_all([])) >= 500
    assert len({case.id for case in cases}) == len(cases)


def test_only_devices_that_are_here_are_tried():
    """A card that is not here is no test that skips, for every case."""
    with_card = {"torch": ("cpu", "cuda:0", "cuda:1"), "jax": ("cpu",), "numpy": ("cpu",)}
    kinds = {
        name: matrix.kinds_here(spec, with_card.__getitem__)
        for name in ("torch-rnn", "jax-scan", "numpy-loop")
        for spec in resolve_all([name])
    }
    assert kinds == {"torch-rnn": ("cpu", "cuda"), "jax-scan": ("cpu",), "numpy-loop": ("cpu",)}
    # What hides its framework is asked when it is run.
    assert matrix.kinds_here(Spec("a", __file__), with_card.__getitem__) == KINDS
