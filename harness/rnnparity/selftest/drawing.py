"""The random cases on which right implementations are judged: every dtype in turn."""

import math
from collections.abc import Iterator

import numpy as np

from rnnparity.cells.config import RNNConfig
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import NAMES
from rnnparity.problems.regimes import REGIMES, STRUCTURED

# A case's cost, in multiply-adds of one forward pass: what is dearer is drawn again. One group in
# ten may cost ten times as much.
COST, COST_OF_LARGE, LARGE = 3e7, 3e8, 0.1

# Draws per shape: other weights, inputs and spectral radius, without compiling again. Two have
# random weights of a random spectral radius, one is of a preset's regime, the rest is structured.
DRAWS = 5
RADII = 2


def draw_shapes(seed: int, count: int) -> Iterator[list[Case]]:
    """Yield groups of random cases; a group shares its shapes, so that it compiles once.

    Args:
        seed: of the draws.
        count: of groups; each dtype has a fourth of them.
    """
    rng = np.random.default_rng(seed)

    def log_uniform(low: float, high: float) -> int:
        return round(math.exp(rng.uniform(math.log(low), math.log(high + 0.49))))

    made = 0
    while made < count:
        large = bool(rng.random() < LARGE)
        config = RNNConfig(
            input_size=log_uniform(1, 512),
            hidden_size=log_uniform(1, 1024 if large else 512),
            num_layers=int(rng.choice([1, 1, 1, 2, 3])),
            nonlinearity=str(rng.choice(["tanh", "tanh", "relu"])),
            bias=bool(rng.random() < 0.8),
            batch_first=bool(rng.random() < 0.3),
            bidirectional=bool(rng.random() < 0.4),
        )
        T, B = log_uniform(1, 2000 if large else 500), log_uniform(1, 48)
        batched = bool(rng.random() < 0.85)
        width = config.input_size + config.hidden_size
        cost = T * B * config.num_cells * config.hidden_size * width
        if cost > (COST_OF_LARGE if large else COST):
            continue
        shape = Case(
            config=config,
            T=T,
            B=B if batched else None,
            dtype=NAMES[made % len(NAMES)],
            ragged=batched and bool(rng.random() < 0.3),
            h0=bool(rng.random() < 0.7),
        )
        made += 1
        radii = np.exp(rng.uniform(math.log(0.1), math.log(4), RADII))
        regimes = [f"radius{radius:.2f}" for radius in radii]
        regimes.append(str(rng.choice(list(REGIMES))))
        structured = rng.choice(list(STRUCTURED), DRAWS - len(regimes), replace=False)
        regimes += [str(name) for name in structured]
        yield [shape.replace(regime=r, seed=int(rng.integers(2**31))) for r in regimes]
