"""Cases at the edges of kernels: sizes at, below and above tiles, and features combined in pairs.

A kernel is right at the sizes it was tried on. What goes wrong elsewhere goes wrong where a size is
no multiple of a tile or a vector, exceeds a block or a counter, equals another, or is 1; where a
third layer meets a second direction; where a call is smaller than the one before. Each case here is
at several of these edges at once, and every pair of features meets in some case.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rnnparity.cells.config import RNNConfig
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES

Row = dict[str, Any]

# Of a large batch so many rows are judged by the unit.
ROWS = 64

# Sizes by the edge that they are at; the members of a group take turns.
SMALL = ((1,), (2, 3), (5, 7, 8, 9, 11, 13), (15, 16, 17, 19), (31, 32, 33), (63, 64, 65))
LARGE = ((127, 128, 129), (255, 256, 257), (511, 512, 513))

FEATURES: dict[str, tuple[Any, ...]] = {
    "num_layers": (1, 2, 3, 4),
    "bidirectional": (False, True),
    "nonlinearity": ("tanh", "relu"),
    "bias": (True, False),
    "batch_first": (False, True),
    "ragged": (False, True),
    "h0": (True, False),
}

# A case costs less than so many multiply-adds of one forward pass: it is the edge that matters.
COST = 4e6


def covering(
    factors: Mapping[str, Sequence[Any]],
    allowed: Callable[[Row], bool] = lambda row: True,
    there: Sequence[Row] = (),
) -> list[Row]:
    """Return rows in which every two values of two factors meet, where they are allowed to.

    Greedy: a row begins with a pair that has not met yet; every other factor then gets the value
    that meets the most others for the first time, the first one listed among equals.

    Args:
        factors: name to values, the cheapest value first.
        allowed: whether a row, or the part of it that there is, may be had.
        there: rows that are there already: what meets in them need not meet again.
    """
    names = list(factors)
    missing = {
        ((a, u), (b, v)): None
        for a, b in itertools.combinations(names, 2)
        for u in factors[a]
        for v in factors[b]
    }

    def meet(row: Row) -> None:
        for pair in itertools.combinations([(name, row[name]) for name in names], 2):
            missing.pop(pair, None)

    for row in there:
        meet(row)
    rows = []
    while missing:
        first = next(iter(missing))
        found = _filled(dict(first), factors, missing, allowed)
        del missing[first]  # met now, or not allowed to meet
        if found is not None:
            meet(found)
            rows.append({name: found[name] for name in names})
    return rows


def _filled(
    row: Row,
    factors: Mapping[str, Sequence[Any]],
    missing: Mapping[tuple[Any, Any], None],
    allowed: Callable[[Row], bool],
) -> Row | None:
    """Return a row filled up from a pair; None if that is not allowed."""
    if not allowed(row):
        return None
    place = {name: i for i, name in enumerate(factors)}
    for name, values in factors.items():
        if name in row:
            continue

        def gain(value: Any, name: str = name) -> int:
            others = (
                ((other, row[other]), (name, value))
                if place[other] < place[name]
                else ((name, value), (other, row[other]))
                for other in row
            )
            return sum(pair in missing for pair in others)

        possible = [value for value in values if allowed(row | {name: value})]
        if not possible:
            return None
        row[name] = max(possible, key=gain)
    return row


def _affordable(row: Row) -> bool:
    """Whether the sizes chosen so far stay below the cost; those to come are 1 at least.

    Two layers of two directions have a case of their own: compilers take several times as long.
    """
    T, B, I, H = (row[size][-1] if size in row else 1 for size in "TBIH")
    cells = row.get("num_layers", 1) * (1 + row.get("bidirectional", False))
    cheap = cells <= 2 and T * B * cells * H * (I + H) <= COST
    return bool(cheap and (B > 1 or not row.get("ragged")))


def _case(row: Row) -> Case:
    of_config = FEATURES.keys() - {"ragged", "h0"}
    inner = {name: value for name, value in row.items() if name in of_config}
    outer = {name: value for name, value in row.items() if name not in of_config | {"I", "H"}}
    return Case(config=RNNConfig(input_size=row["I"], hidden_size=row["H"], **inner), **outer)


def _sized(rows: list[Row]) -> Iterator[Case]:
    """Give the groups of sizes a member each, in turns."""
    turn: Counter[Any] = Counter()
    for row in rows:
        for size in "TBIH":
            group = row[size]
            row = row | {size: group[turn[size, group] % len(group)]}
            turn[size, group] += 1
        yield _case(row)


def quick() -> Iterator[Case]:
    """Yield some forty cheap cases: single edges, features in pairs on odd sizes, a few in threes.

    They get smaller and larger again, one size at a time: what is left of a larger call in a
    workspace is met by a smaller one.
    """
    singles = list(_singles())
    yield from singles
    shallow = FEATURES | {"num_layers": (1, 3, 4)}
    rows = covering(shallow, there=[_features(case) for case in singles])
    sizes = ((11, 5, 17, 11), (9, 7, 5, 13), (3, 2, 11, 5), (2, 9, 3, 9), (11, 3, 13, 3))
    for row, (T, B, I, H) in zip(rows, itertools.cycle(sizes), strict=False):
        dtype = "float64" if row["num_layers"] == 4 and not row["bidirectional"] else "float32"
        yield _case(row | {"T": T, "B": B, "I": I, "H": H, "dtype": dtype})
    yield from _threes()


def _features(case: Case) -> Row:
    """Return the features of a case, as a row."""
    config = case.config
    return {
        "num_layers": config.num_layers,
        "bidirectional": config.bidirectional,
        "nonlinearity": config.nonlinearity,
        "bias": config.bias,
        "batch_first": config.batch_first,
        "ragged": case.ragged,
        "h0": case.h0,
    }


def _one(T: int, B: int | None, I: int, H: int, **more: Any) -> Case:
    return _case({"T": T, "B": B, "I": I, "H": H} | more)


def _threes() -> Iterator[Case]:
    """Yield what pairs leave out: features in threes, and sizes that kernels are made for."""
    relu = {"nonlinearity": "relu"}
    # h0 and h_n of the layers above the second, of both directions; as many rows as layers times
    # directions.
    yield _one(3, 8, 3, 5, num_layers=4, bidirectional=True, batch_first=True, **relu)
    yield _one(5, 6, 5, 7, num_layers=3, bidirectional=True)
    yield _one(5, None, 3, 4, num_layers=3, **relu)
    yield _one(5, 3, 4, 4, num_layers=3)  # any layer could read x
    # Lengths in more than eight rows, and in more than 32, with what may lose them.
    yield _one(5, 9, 3, 4, num_layers=2, bias=False, batch_first=True, ragged=True, **relu)
    yield _one(5, 33, 3, 4, bidirectional=True, batch_first=True, ragged=True, h0=False, **relu)
    # A long sequence whose last state counts, which lengths would give another.
    yield _one(260, 2, 3, 4, **relu)
    # Whole tiles.
    yield _one(16, 64, 128, 64, **relu)
    yield _one(2, 16, 256, 256)
    yield _one(128, 8, 4, 4, dtype="float64")
    # Large states of relu in the dtypes that hold them; tanh where exp overflows.
    for dtype in ("bfloat16", "float64"):
        yield _one(5, 3, 2, 2, regime="huge", dtype=dtype, **relu)
    yield _one(3, 2, 5, 7, regime="large")
    # Sums of many terms of one sign, which a 16-bit accumulator loses; and float64's in float32.
    yield _one(2, 2, 2048, 19, regime="positive", dtype="float16")
    yield _one(1, 5, 1025, 33, regime="positive", dtype="bfloat16", **relu)
    yield _one(3, 2, 513, 67, dtype="float64")
    # Rounded to the last bit, step after step.
    for dtype in ("bfloat16", "float16"):
        yield _one(13, 9, 21, 33, dtype=dtype, **relu)
    # Near zero, with more units than a small kernel has.
    yield _one(3, 2, 9, 65, regime="tiny")


def _singles() -> Iterator[Case]:
    # Products of 512 terms and more, weights of 2^16 elements and more.
    yield _one(3, 2, 513, 515)
    # Long: blocks of 32, 128 and 256 steps, counters of 8 bits, of lengths, too.
    yield _one(259, 3, 3, 5, ragged=True)
    # A batch beyond one and two blocks of 64.
    yield _one(3, 131, 9, 7)
    # Smaller, one size at a time, and large again.
    large = _one(7, 37, 21, 23, h0=False)
    yield large
    yield _one(7, 37, 5, 23, h0=False)
    yield _one(7, 37, 5, 11, h0=False)
    yield _one(3, 3, 1, 11, h0=False)
    yield large.replace(seed=1)
    # What is alike in size but not in meaning.
    yield _one(9, 9, 17, 17, strided=True)
    yield _one(6, 6, 5, 7, batch_first=True, invariants=True)
    # Large states of relu, beyond what is clipped and what half a float holds; and small ones.
    yield _one(5, 3, 2, 2, nonlinearity="relu", regime="huge")
    for regime in ("thousands", "torch-init"):
        yield _one(5, 3, 2, 2, nonlinearity="relu", regime=regime, dtype="float16")
    # One product, rounded to 8 bits: to nearest, or cut off? And with biases.
    for regime in ("canary", "torch-init"):
        yield _one(1, 17, 67, 65, nonlinearity="relu", regime=regime, dtype="bfloat16")


def cases() -> Iterator[Case]:
    """Yield all: the quick ones, sizes in pairs with features and dtypes, and large sizes."""
    yield from quick()
    # Deeper stacks meet every feature in the quick ones; what is wrong in them is not about sizes.
    factors = {size: SMALL for size in "TBIH"} | FEATURES | {"num_layers": (1, 2), "dtype": NAMES}
    yield from _sized(covering(factors, _affordable))
    yield _one(17, 3, 7, 33, num_layers=2, bidirectional=True, ragged=True)
    config = RNNConfig(input_size=67, hidden_size=65, nonlinearity="relu")
    yield Case(config=config, T=1, B=17, regime="canary", dtype="float16")
    config = RNNConfig(input_size=3, hidden_size=131)
    yield Case(config=config, T=257, B=1, dtype="float64")
    # Large sizes, two at a time: T with I, and B with an H of another group.
    for i, group in enumerate(LARGE):
        for size, other in zip(group, LARGE[i - 1], strict=True):
            yield _case({"T": size, "B": 3, "I": size, "H": 9})
            relu = {"nonlinearity": "relu"} if size % 2 == 0 else {}
            yield _case({"T": 2, "B": size, "I": 3, "H": other, "judged": ROWS} | relu)
