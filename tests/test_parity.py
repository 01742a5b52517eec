"""The parity matrix: implementation x device x dtype x configuration x regime."""

import itertools

import pytest
from conftest import evaluate, find_device

from rnnparity import presets
from rnnparity.cases import full_id
from rnnparity.dtypes import NAMES
from rnnparity.problems import REGIMES

IMPLEMENTATIONS = {
    "torch-rnn": ("cpu", "cuda"),
    "numpy-loop": ("cpu",),
    "jax-scan": ("cpu", "cuda"),
    "torch-loop": ("cpu", "cuda"),
}


def _cases():
    features = list(presets.features())
    for case, dtype in itertools.product(features, NAMES):
        yield case.replace(dtype=dtype)
    for case, regime, dtype in itertools.product(
        (features[0], features[3], features[-2]), REGIMES, NAMES
    ):
        yield case.replace(regime=regime, dtype=dtype)
    yield presets.trained("float32")
    yield presets.trained("float64")


MATRIX = [
    pytest.param(name, kind, case, id=full_id(name, kind, case))
    for case in dict.fromkeys(_cases())
    for name, kinds in IMPLEMENTATIONS.items()
    for kind in kinds
]


@pytest.mark.parametrize(("name", "kind", "case"), MATRIX)
def test_implementation_agrees_with_the_truth(name, kind, case):
    judgement = evaluate(name, find_device(name, kind), case)
    # With 8 or 11 bits, growth, relu's kink or one saturated unit can leave a gradient that nobody
    # can judge; never so with more.
    coarse = case.dtype in ("bfloat16", "float16")
    hard = (
        case.regime == "expansive"
        or case.config.nonlinearity == "relu"
        or case.config.hidden_size == 1
    )
    expected = ("pass", "chaotic") if coarse and hard else ("pass",)
    assert judgement.verdict in expected, f"{full_id(name, kind, case)}: {judgement.reason}"
    assert {"output", "h_n", "grad_x", "grad_weight_hh_l0"} <= judgement.quantities.keys()


def test_the_matrix_is_large_and_its_ids_are_unique():
    on_cpu = [p for p in MATRIX if p.values[1] == "cpu"]
    assert len(on_cpu) >= 500
    assert len({p.id for p in MATRIX}) == len(MATRIX)
