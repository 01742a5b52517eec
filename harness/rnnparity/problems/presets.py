"""The presets: which cases are checked under a name."""

from collections.abc import Iterable, Iterator

import msgspec

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import UsageError, no_such
from rnnparity.problems import digits, edges, sizes
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES
from rnnparity.problems.regimes import OF_GATES, REGIMES

PRESETS = {
    "quick": "every feature, regime and dtype, the cheapest edges",
    "edges": "sizes at and beyond the tiles of kernels, features in pairs",
    "full": "every feature and dtype in every regime, larger sizes, all edges",
}


def preset(name: str, kind: str = "rnn") -> list[Case]:
    """Return the cases of a preset; those of a preset of sizes are what would be timed.

    Args:
        name: of the preset.
        kind: of layers: "rnn", "gru" or "lstm", for which relu's cases become tanh's, and what is
            then there already is left out.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in PRESETS and name not in sizes.PRESETS:
        known = dict.fromkeys([*PRESETS, *sizes.PRESETS])
        raise UsageError(no_such("preset", name, known))
    if name not in PRESETS:
        cases = [job.case for job in sizes.jobs(name)]
    else:
        cases = list({"quick": quick, "edges": edges.cases, "full": full}[name]())
    if kind == "rnn":
        return list(dict.fromkeys(cases))
    of_gates = gated(name == "full") if name in ("quick", "full") else ()
    return list(dict.fromkeys(of_kind([*cases, *of_gates], kind)))


def of_kind(cases: Iterable[Case], kind: str) -> Iterator[Case]:
    """Yield the same cases of a gated kind, which has no relu."""
    for case in cases:
        config = msgspec.structs.replace(case.config, kind=kind, nonlinearity="tanh")
        yield case.replace(config=config)


def gated(large: bool) -> Iterator[Case]:
    """Yield cases in which gates remember, forget and fill up.

    Args:
        large: also every feature in each, and memory over 2,000 steps.
    """
    plain, *others = features()
    for regime in OF_GATES:
        yield plain.replace(regime=regime)
        if large:
            for case in others:
                yield case.replace(regime=regime)
            for dtype in NAMES:
                yield plain.replace(regime=regime, dtype=dtype)
    if large:
        for regime in ("remembering", "growing"):
            yield Case(config=_config(3, 8), T=2000, B=2, regime=regime)


def features(T: int = 12, B: int = 4, I: int = 8, H: int = 16) -> Iterator[Case]:
    """Yield one case per feature of `torch.nn.RNN`, and some where features meet.

    Others count on the places: a plain one first, relu third, two networks of many features before
    the last.
    """

    def case(T: int = T, B: int | None = B, H: int = H, **arguments: object) -> Case:
        of_case = {"ragged", "h0", "one_more_step", "seed"}
        inner = {k: v for k, v in arguments.items() if k not in of_case}
        outer = {k: v for k, v in arguments.items() if k in of_case}
        return Case(config=_config(I, H, **inner), T=T, B=B, **outer)  # type: ignore[arg-type]

    yield case()
    yield case(num_layers=2)
    yield case(nonlinearity="relu")
    yield case(bias=False)
    yield case(batch_first=True)
    yield case(bidirectional=True)
    yield case(B=None)
    yield case(h0=False)
    yield case(one_more_step=True)
    yield case(ragged=True)
    yield case(num_layers=3, dropout=0.5)
    yield case(T=1)
    yield case(B=1)
    yield case(H=1)
    yield case(num_layers=2, bidirectional=True, batch_first=True, ragged=True)
    yield case(num_layers=2, bidirectional=True, B=None, bias=False, h0=False)
    yield case(
        num_layers=2, bidirectional=True, ragged=True, nonlinearity="relu", one_more_step=True
    )
    yield case(T=1, B=1, H=1, one_more_step=True)


def trained(dtype: str) -> Case:
    """Return the trained digits model on all of its test images."""
    model = digits.load()
    config = RNNConfig(input_size=8, hidden_size=model.weights["weight_hh_l0"].shape[0])
    return Case(
        config=config,
        T=8,
        B=len(model.images),
        dtype=dtype,
        regime="trained",
        h0=False,
        weights="digits",
    )


def quick() -> Iterator[Case]:
    """Yield every feature, every regime, every dtype, a real model, and the cheapest edges."""
    plain, *others = features()
    yield from (plain, *others)
    for regime in REGIMES:
        yield plain.replace(regime=regime)
    for dtype in NAMES:
        yield plain.replace(dtype=dtype)
    for regime in ("saturated", "tiny"):  # both ends of tanh, to 53 bits
        yield plain.replace(dtype="float64", regime=regime)
    meeting = others[-2]
    yield meeting.replace(dtype="float64")
    yield plain.replace(invariants=True)
    yield meeting.replace(invariants=True, one_more_step=False)
    yield Case(config=RNNConfig(input_size=64, hidden_size=128), T=100, B=32)
    yield from edges.quick()
    # Last, since its batch is the largest: among the edges calls grow beyond those before.
    yield trained("float32")
    yield trained("float64")


def glance(kind: str) -> list[Case]:
    """Return a few of the cases of `quick`: every regime, and a network of many features.

    Compilers, which take most of the time, have two configurations to compile.
    """
    plain, *others = features()
    cases = [plain.replace(regime=regime) for regime in REGIMES]
    return list(of_kind([*cases, others[-2].replace(dtype="float64")], kind))


def mistake_cases(large: bool, kind: str = "rnn") -> list[Case]:
    """Return what mistakes are tried on: every feature, regime and dtype, on small sizes.

    Args:
        large: also every feature and regime in every dtype, square and long ones, other seeds.
        kind: of layers, as of a preset.
    """
    plain, *others = features()
    cases = [plain, *others]
    cases += [plain.replace(regime=regime) for regime in REGIMES]
    cases += [case.replace(dtype=dtype) for dtype in NAMES for case in (plain, others[-2])]
    same = RNNConfig(input_size=16, hidden_size=16, num_layers=3, dropout=0.5)
    cases += [Case(config=same, T=12, B=4), Case(config=same, T=12, B=4, dtype="float64")]
    if large:
        for dtype in NAMES:
            cases += [case.replace(dtype=dtype) for case in others]
            cases += [plain.replace(dtype=dtype, regime=regime) for regime in REGIMES]
        for seed in (1, 2):
            cases += [case.replace(seed=seed) for case in features(T=9, B=3, I=5, H=24)]
        both = RNNConfig(input_size=16, hidden_size=8, num_layers=2, bidirectional=True)
        cases += [Case(config=both, T=40, B=3, ragged=ragged) for ragged in (False, True)]
        for radius in (0.5, 1.0, 1.5, 2.0):
            config = RNNConfig(input_size=32, hidden_size=64)
            cases.append(Case(config=config, T=200, B=4, regime=f"radius{radius}"))
        cases += edges.quick()
    return list(dict.fromkeys(cases if kind == "rnn" else of_kind(cases, kind)))


def full() -> Iterator[Case]:
    """Yield every feature and dtype in every regime, larger sizes and other draws, all edges.

    A dtype meets every regime in both nonlinearities and in two networks that have most features
    between them, and each feature alone among the edges.
    """
    yield from quick()
    for case in features():
        yield from (case.replace(regime=regime) for regime in REGIMES)
    plain, _, relu, *_, unbatched, meeting, _ = features()
    for case in (plain, relu, unbatched, meeting):
        for dtype in NAMES:
            yield from (case.replace(regime=regime, dtype=dtype) for regime in REGIMES)
    for regime in REGIMES:
        for seed in (1, 2):
            config = RNNConfig(input_size=64, hidden_size=128)
            yield Case(config=config, T=50, B=8, regime=regime, seed=seed)
    for H in (256, 1024):
        yield Case(config=RNNConfig(input_size=H, hidden_size=H), T=30, B=4)
    yield from edges.cases()


def _config(input_size: int, hidden_size: int, **arguments: object) -> RNNConfig:
    return RNNConfig(input_size=input_size, hidden_size=hidden_size, **arguments)  # type: ignore[arg-type]
