"""The random cases on which right implementations are judged, and mistakes: every dtype in turn."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.problems import presets
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES
from rnnparity.problems.regimes import REGIMES, STRUCTURED

# Groups of random cases of every kind, in a full self-test and in a short one: a fourth of them in
# each dtype.
GROUPS = {"rnn": (48, 4), "gru": (32, 4), "lstm": (32, 4)}


class Sizes(NamedTuple):
    """The largest sizes that are drawn; of two, the second is that of a large group.

    `cost` is a case's, in multiply-adds of one forward pass: what is dearer is drawn again. Its
    replicas go along a gated cell in Python, operation by operation, for every step.
    """

    cost: tuple[float, float]
    T: tuple[int, int]
    B: int
    I: int
    H: tuple[int, int]


GATED = Sizes((1e7, 1e8), (120, 500), 32, 256, (256, 512))
SIZES = {"rnn": Sizes((3e7, 3e8), (500, 2000), 48, 512, (512, 1024)), "gru": GATED, "lstm": GATED}

# One group in ten is large.
LARGE = 0.1

# Elements of an array at most. All implementations' are in memory at once, each with its gradient,
# and with those of a second call.
ELEMENTS = 3e6

# Draws per shape: other weights, inputs and spectral radius, without compiling again. Two have
# random weights of a random spectral radius, one is of a preset's regime, the rest is structured.
DRAWS = 5
RADII = 2

# The draws of a shape in which mistakes are made, too: random, of a preset's regime, structured.
# What every mistake makes is kept, so that no array may have more elements.
MISTAKES_ON = (0, RADII, DRAWS - 1)
ELEMENTS_OF_MISTAKES = 1e5


class Plan(NamedTuple):
    """What a kind of layers is tested on.

    `groups` are what right implementations are given, `mistakes` what every mistake is made in.
    """

    groups: list[list[Case]]
    mistakes: list[Case]


def plans(full: bool, seed: int) -> dict[str, Plan]:
    """Return what every kind is tested on.

    Args:
        full: whether that is much.
        seed: of the random cases.
    """
    made = {}
    for kind, counts in GROUPS.items():
        groups = list(draw_shapes(seed, counts[not full], kind))
        drawn = [group[k] for group in groups for k in MISTAKES_ON]
        small = [case for case in drawn if _elements(case) <= ELEMENTS_OF_MISTAKES]
        made[kind] = Plan(groups, presets.mistake_cases(full, kind) + small)
    return made


def _elements(case: Case) -> int:
    """Return how many elements the largest array of a case has: input, output, or all weights."""
    config = case.config
    features = max(config.input_size, config.num_directions * config.hidden_size)
    weights = sum(math.prod(shape) for shape in parameter_shapes(config).values())
    return max(case.T * (case.B or 1) * features, weights)


def draw_shapes(seed: int, count: int, kind: str = "rnn") -> Iterator[list[Case]]:
    """Yield groups of random cases; a group shares its shapes, so that it compiles once.

    Args:
        seed: of the draws.
        count: of groups; each dtype has a fourth of them.
        kind: of layers.
    """
    rng, sizes = np.random.default_rng([seed, list(SIZES).index(kind)]), SIZES[kind]

    def log_uniform(low: float, high: float) -> int:
        return round(math.exp(rng.uniform(math.log(low), math.log(high + 0.49))))

    made = 0
    while made < count:
        large = bool(rng.random() < LARGE)
        config = RNNConfig(
            input_size=log_uniform(1, sizes.I),
            hidden_size=log_uniform(1, sizes.H[large]),
            num_layers=int(rng.choice([1, 1, 1, 2, 3])),
            nonlinearity=str(rng.choice(["tanh", "tanh", "relu"] if kind == "rnn" else ["tanh"])),
            bias=bool(rng.random() < 0.8),
            batch_first=bool(rng.random() < 0.3),
            bidirectional=bool(rng.random() < 0.4),
            kind=kind,
        )
        T, B = log_uniform(1, sizes.T[large]), log_uniform(1, sizes.B)
        batched = bool(rng.random() < 0.85)
        width = config.input_size + config.hidden_size
        cost = T * B * config.num_cells * config.num_gates * config.hidden_size * width
        shape = Case(config=config, T=T, B=B if batched else None, dtype=NAMES[made % len(NAMES)])
        if cost > sizes.cost[large] or _elements(shape) > ELEMENTS:
            continue
        made += 1
        ragged = batched and bool(rng.random() < 0.3)
        shape = shape.replace(ragged=ragged, h0=bool(rng.random() < 0.7))
        radii = np.exp(rng.uniform(math.log(0.1), math.log(4), RADII))
        regimes = [f"radius{radius:.2f}" for radius in radii]
        regimes.append(str(rng.choice(list(REGIMES))))
        structured = rng.choice(list(STRUCTURED), DRAWS - len(regimes), replace=False)
        regimes += [str(name) for name in structured]
        yield [shape.replace(regime=r, seed=int(rng.integers(2**31))) for r in regimes]
