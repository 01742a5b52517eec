"""The matrix: implementation x device x dtype x configuration x regime."""

import itertools
from collections.abc import Iterator

from rnnparity import edges, presets
from rnnparity.cases import Case
from rnnparity.dtypes import NAMES
from rnnparity.problems import REGIMES
from rnnparity.registry import Spec, framework_hint


def cases() -> list[Case]:
    """Return every feature in every dtype, some in every regime too, edges, the trained model."""
    return list(dict.fromkeys(_cases()))


def _cases() -> Iterator[Case]:
    features = list(presets.features())
    for case, dtype in itertools.product(features, NAMES):
        yield case.replace(dtype=dtype)
    meeting = (features[0], features[3], features[-2])
    for case, regime, dtype in itertools.product(meeting, REGIMES, NAMES):
        yield case.replace(regime=regime, dtype=dtype)
    for case in presets.quick():
        if case.invariants:
            yield case
    yield from edges.cases()
    yield presets.trained("float32")
    yield presets.trained("float64")


def cases_of_peers() -> list[Case]:
    """Return every feature in float32: what peers are for is comparison, not conformance."""
    return list(presets.features())


def kinds(spec: Spec) -> tuple[str, ...]:
    """Return the kinds of device to try: a GPU wherever the framework may have one."""
    return ("cpu",) if framework_hint(spec) == "numpy" else ("cpu", "cuda")


def expected_verdicts(case: Case) -> tuple[str, ...]:
    """Return what a right implementation gets.

    With 8 or 11 bits, growth, relu's kink or one saturated unit can leave something that nobody can
    judge; never so with more.
    """
    coarse = case.dtype in ("bfloat16", "float16")
    config = case.config
    growing = case.regime in ("expansive", "canary")
    hard = growing or config.nonlinearity == "relu" or config.hidden_size == 1
    return ("pass", "chaotic") if coarse and hard else ("pass",)
