"""Regimes: the names under which weights and inputs are drawn, and what is drawn under them.

`arrays` draws; `structures` has the structures.
"""

from typing import NamedTuple

from rnnparity.errors import UsageError


class Regime(NamedTuple):
    """Standard deviations from which weights and inputs are drawn (uniformly).

    `gain_ih` and `gain_hh` are per product: an entry has `gain / sqrt(terms)`, so that `gain_hh`
    is the spectral radius of the recurrent weight. None stands for torch's own 1 / sqrt(3 H).
    `structure` is "dense" or one of `structures.WEIGHTS`: of the recurrent weight, scaled to the
    same radius; `structure_ih` is the input weight's, and `inputs` one of `structures.INPUTS`.
    `gates` has what is added to bias_ih of the gates of those names, of kinds that have them.
    """

    meaning: str
    gain_ih: float | None
    gain_hh: float | None
    bias: float | None
    x: float = 1.0
    h0: float = 0.5
    structure: str = "dense"
    structure_ih: str = "dense"
    inputs: str = "dense"
    gates: tuple[tuple[str, float], ...] = ()


REGIMES = {
    "torch-init": Regime("weights as torch.nn.RNN draws them", None, None, None),
    "contractive": Regime("spectral radius 0.5: the state forgets", 0.5, 0.5, 0.1),
    "critical": Regime("spectral radius 1: the edge of stability", 0.3, 1.0, 0.1, x=0.5),
    "expansive": Regime("spectral radius 2: rounding grows with time", 0.3, 2.0, 0.1, x=0.5),
    "saturated": Regime("activations far out on tanh's flat ends", 8.0, 1.0, 2.0),
    "tiny": Regime(
        "inputs near 2^-10, where tanh is the identity", 1.0, 0.9, 2**-10, 2**-10, 2**-10
    ),
    "wiring": Regime(
        "one weight per row: no sum, so no order of summation",
        1.0,
        1.0,
        0.1,
        structure="one per row",
        structure_ih="one per row",
    ),
    "constant": Regime(
        "equal weights: units and terms err alike", 0.3, 0.9, 0.1, structure="constant"
    ),
    "positive": Regime(
        "weights of one sign: errors do not cancel", 0.3, 0.9, 0.1, structure="positive"
    ),
    "identity": Regime(
        "an identity, nearly: errors stay", 0.05, 0.999, 0.01, 0.1, 0.3, structure="identity"
    ),
    "canary": Regime(
        "wiring on tiny inputs: products and nothing else",
        1.0,
        1.0,
        0.0,
        2**-13,
        2**-13,
        "one per row",
        "one per row",
    ),
}

# Of gated cells besides: an LSTM's f is its memory, a GRU's z; i and g are what comes into c.
GATED = {
    "remembering": Regime(
        "forget gates near 1: memory over thousands of steps",
        0.5,
        0.5,
        0.1,
        gates=(("f", 8.0), ("z", 8.0)),
    ),
    "forgetting": Regime(
        "forget gates near 0: nothing is carried", 0.5, 0.5, 0.1, gates=(("f", -8.0), ("z", -8.0))
    ),
    "full-candidates": Regime(
        "candidates far out on tanh's flat ends",
        1.0,
        1.0,
        0.1,
        gates=(("g", 6.0), ("n", 6.0)),
    ),
    "growing": Regime(
        "c grows by nearly 1 at every step",
        0.3,
        0.3,
        0.1,
        gates=(("i", 8.0), ("f", 10.0), ("g", 3.0), ("z", 4.0), ("n", 3.0)),
    ),
}

# What the self-test draws besides: structured weights and inputs, on which right implementations
# err in patterns. They are no part of the presets.
STRUCTURED = {
    "orthogonal": Regime("a rotation: errors stay", 0.3, 1.0, 0.05, structure="orthogonal"),
    "irnn": Regime(
        "an identity, positive biases: relu's usual start", 0.2, 1.0, 0.02, structure="identity"
    ),
    "low-rank": Regime("units that are alike", 0.5, 0.7, 0.1, structure="low rank"),
    "powers-of-two": Regime(
        "products are exact, sums meet in ties",
        0.5,
        0.7,
        0.25,
        structure="powers of two",
        structure_ih="powers of two",
    ),
    "mixed-scales": Regime(
        "weights over nine decades",
        0.5,
        0.9,
        0.1,
        structure="mixed scales",
        structure_ih="mixed scales",
    ),
    "mixed-inputs": Regime("inputs over nine decades", 0.2, 0.9, 0.1, inputs="mixed scales"),
    "mixed": Regime(
        "both over nine decades",
        0.2,
        0.9,
        0.1,
        structure="mixed scales",
        structure_ih="mixed scales",
        inputs="mixed scales",
    ),
    "sparse": Regime(
        "zero weights, dead units", 0.5, 0.9, 0.0, structure="sparse", structure_ih="sparse"
    ),
    "zero-weights": Regime("no recurrence", 0.5, 0.0, 0.1),
    "zero-inputs": Regime("nothing comes in", 0.5, 0.9, 0.1, x=0.0),
    "all-zero": Regime("nothing comes in, nothing is there", 0.5, 0.9, 0.0, x=0.0, h0=0.0),
    "sorted-by-sign": Regime(
        "differences of two nearly equal frames",
        1.0,
        0.5,
        0.1,
        structure_ih="sorted by sign",
        inputs="frames",
    ),
    "dale": Regime(
        "excitatory units before inhibitory ones", 0.5, 0.9, 0.1, structure="Dale's law"
    ),
    "equal-rows": Regime("one sequence in every row", 0.5, 0.9, 0.3, inputs="equal rows"),
    "near-rows": Regime("nearly the same sequence", 0.5, 0.9, 0.3, inputs="near rows"),
    "expansive-rows": Regime("equal rows, expanding", 0.5, 1.4, 0.3, inputs="equal rows"),
    "one-hot": Regime("symbols as one-hot vectors", 1.0, 0.9, 0.1, inputs="one hot"),
    "text": Regime("embedded symbols, often repeated", 0.5, 0.9, 0.1, inputs="text"),
    "images": Regime("rows of images: zeros, nothing negative", 1.0, 0.9, 0.1, inputs="images"),
    "steady": Regime("the same input at every step", 0.5, 0.9, 0.1, inputs="steady"),
    "steady-positive": Regime(
        "the same, and weights of one sign", 0.3, 0.9, 0.1, structure="positive", inputs="steady"
    ),
    "saturated-rows": Regime("saturated, in equal rows", 8.0, 1.0, 2.0, inputs="equal rows"),
    "subnormal": Regime(
        "inputs around the smallest normal number", 0.5, 0.9, 0.0, 1.0, 1.0, inputs="subnormal"
    ),
    "large": Regime("inputs in the hundreds", 0.5, 0.9, 1.0, 300.0, 300.0),
    "near-overflow": Regime("inputs near overflow", 0.5, 0.7, 0.1, 1.0, 1.0, inputs="huge"),
}

# Regimes for relu whose states outgrow what is clipped (6), what float16 adds up exactly (2048) and
# what it holds (65504). No part of `REGIMES`: "huge" itself does not fit into float16, and tanh
# makes 1 of both.
LARGE = {
    "thousands": Regime("states in the thousands", 2.0, 0.25, 1.0, 700.0, 700.0),
    "huge": Regime("states beyond 2^16", 1.0, 0.5, 1.0, 2.0**17, 2.0**17),
}

# Inputs that isolate one operation each, for one step of one layer; `location` tries them on what
# fails and is no known mistake. Products of tiny numbers: tanh, too, leaves them as they are.
PRODUCTS = {
    "the input product": Regime("", 1.0, 0.0, 0.0, 2**-10, 0.0),
    "the recurrent product": Regime("", 0.0, 1.0, 0.0, 0.0, 2**-10),
    "the sum of the biases": Regime("", 0.0, 0.0, 2**-10, 0.0, 0.0),
}

# One weight per row, so that nothing is added up: arguments of the nonlinearity, of both signs.
ARGUMENTS = {
    "near zero": Regime("", 1.0, 0.0, 0.0, 2**-10, 0.0, "one per row", "one per row"),
    "around one": Regime("", 1.0, 0.0, 0.0, 1.0, 0.0, "one per row", "one per row"),
    "where it levels off": Regime("", 1.0, 0.0, 0.0, 2.0**3, 0.0, "one per row", "one per row"),
    "far out": Regime("", 1.0, 0.0, 0.0, 2.0**10, 0.0, "one per row", "one per row"),
}

PROBES = PRODUCTS | ARGUMENTS


def find_regime(name: str) -> Regime:
    """Return a regime by name; `radius<r>` is one of a given spectral radius.

    Raises:
        UsageError: there is none of that name.
    """
    known = REGIMES | GATED | STRUCTURED | LARGE | PROBES
    if name in known:
        return known[name]
    try:
        radius = float(name.removeprefix("radius"))
    except ValueError:
        raise UsageError(
            f"no regime {name!r}: there are {', '.join(REGIMES)}, and radius<number>"
        ) from None
    return Regime(f"spectral radius {radius:g}", 0.5, radius, 0.2)
