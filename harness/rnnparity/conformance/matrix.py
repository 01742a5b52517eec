"""The matrix: implementation x device x dtype x configuration x regime."""

import itertools
from collections.abc import Callable, Iterable, Iterator

from rnnparity.implementations.frameworks import FRAMEWORKS, KINDS
from rnnparity.implementations.registry import Spec, declared
from rnnparity.problems import edges, presets
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES
from rnnparity.problems.regimes import REGIMES
from rnnparity.verdicts import Verdict


def cases(kind: str = "rnn") -> list[Case]:
    """Return every feature in every dtype, some in every regime too, edges, the trained model.

    Args:
        kind: of layers; what only a plain RNN has is left out for another.
    """
    made = _cases() if kind == "rnn" else presets.of_kind(_cases(), kind)
    return list(dict.fromkeys(made))


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


def features(kind: str = "rnn") -> list[Case]:
    """Return every feature in float32: what peers are for is comparison, not conformance."""
    made = presets.features() if kind == "rnn" else presets.of_kind(presets.features(), kind)
    return list(dict.fromkeys(made))


def kinds(spec: Spec) -> tuple[str, ...]:
    """Return the kinds of device to try: all wherever the framework may have one."""
    return ("cpu",) if declared(spec, "framework") == "numpy" else KINDS


def kinds_here(spec: Spec, devices: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """Return those of `kinds` that are here; all if its framework is not declared in plain words.

    Args:
        spec: an implementation.
        devices: a framework to the names of its devices here.
    """
    framework = declared(spec, "framework")
    if framework not in FRAMEWORKS:
        return kinds(spec)
    here = {device.partition(":")[0] for device in devices(framework)}
    return tuple(kind for kind in kinds(spec) if kind in here)


def expected_verdicts(case: Case) -> tuple[Verdict, ...]:
    """Return what a right implementation gets.

    With 8 or 11 bits, growth, relu's kink or one saturated unit can leave something that nobody can
    judge; never so with more.
    """
    coarse = case.dtype in ("bfloat16", "float16")
    config = case.config
    growing = case.regime in ("expansive", "canary")
    hard = growing or config.nonlinearity == "relu" or config.hidden_size == 1
    return (Verdict.PASS, Verdict.CHAOTIC) if coarse and hard else (Verdict.PASS,)
