"""From a case to its arrays: weights, inputs and lengths, the same bits on every machine.

Only the raw 64-bit output of PCG64 is used (NumPy keeps that stream fixed; its distributions may
change between versions), turned into numbers by operations that IEEE 754 rounds exactly. Spectral
radii come from the circular law (independent entries of standard deviation r / sqrt(H) give a
spectral radius near r), not from an eigensolver, whose last bits differ from machine to machine.
"""

import hashlib
import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnparity import digits, structures, weights
from rnnparity.cases import Case
from rnnparity.config import parameter_shapes
from rnnparity.dtypes import numpy_dtype
from rnnparity.errors import UsageError

Array = NDArray[Any]


class Problem(NamedTuple):
    """The arrays of a case, in its dtype and laid out as `torch.nn.RNN` takes them."""

    weights: dict[str, Array]  # torch's parameter names
    x: Array  # [T, B, I], [B, T, I] or [T, I]
    h0: Array | None  # [L * D, B, H] or [L * D, H]
    lengths: Array | None  # [B], int64
    x_next: Array | None  # one more step, laid out as x with T = 1
    grad_output: Array  # laid out as the output: the functional whose gradient is taken is
    grad_h_n: Array  # sum(grad_output * output) + sum(grad_h_n * h_n)
    rows: Array  # [R], the batch rows that are judged; the functional weighs no other


class Regime(NamedTuple):
    """Standard deviations from which weights and inputs are drawn (uniformly).

    `gain_ih` and `gain_hh` are per product: an entry has `gain / sqrt(terms)`, so that `gain_hh`
    is the spectral radius of the recurrent weight. None stands for torch's own 1 / sqrt(3 H).
    `structure` is "dense" or one of `structures.WEIGHTS`: of the recurrent weight, scaled to the
    same radius; `structure_ih` is the input weight's, and `inputs` one of `structures.INPUTS`.
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
    "thousands": Regime("states in the thousands", 1.0, 0.5, 1.0, 2500.0, 2500.0),
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


def build(case: Case) -> Problem:
    """Draw the arrays of a case.

    Raises:
        UsageError: an unknown regime, or a weights file that cannot be used.
    """
    config, dtype = case.config, numpy_dtype(case.dtype)
    if case.weights == "digits":
        model = digits.load()
        parameters, x = model.weights, digits.as_sequences(model.images[: case.B])
        regime = REGIMES["torch-init"]
    else:
        regime = find_regime(case.regime)
        x = _input(case, regime, "x", case.T)
        if case.weights is not None:
            parameters = weights.read(case.weights)
            _check_fits(parameters, case)
        else:
            parameters = {
                name: _parameter(case, regime, name, shape)
                for name, shape in parameter_shapes(config).items()
            }
    B = x.shape[1]
    h0 = _state(case, regime, (config.num_cells, B, config.hidden_size))
    lengths = _lengths(case) if case.ragged else None
    if case.inputs is not None:
        with np.load(case.inputs, allow_pickle=False) as given:
            x = time_major(case, "x", given["x"])
            h0 = time_major(case, "h0", given["h0"]) if "h0" in given else h0
            lengths = given.get("lengths", lengths)
    x_next = _input(case, regime, "x_next", 1)
    D, H = config.num_directions, config.hidden_size
    rows = judged_rows(case)
    weighed = np.isin(np.arange(B), rows)[None, :, None]
    grad_output = _uniform(case, "grad_output", (case.T, B, D * H), 1.0) * weighed
    grad_h_n = _uniform(case, "grad_h_n", (config.num_cells, B, H), 1.0) * weighed

    def layout(a: Array) -> Array:
        a = a.astype(dtype)
        if case.B is None:
            return np.ascontiguousarray(a[:, 0])
        return np.ascontiguousarray(a.swapaxes(0, 1)) if config.batch_first else a

    def states(a: Array) -> Array:
        return a.astype(dtype) if case.B is not None else a[:, 0].astype(dtype)

    if case.inputs is not None and not np.isfinite(layout(x).astype(np.float64)).all():
        raise UsageError(f"{case.inputs}: x has values too large for {case.dtype}")
    return Problem(
        {name: value.astype(dtype) for name, value in parameters.items()},
        layout(x),
        states(h0) if case.h0 else None,
        lengths,
        layout(x_next) if case.one_more_step else None,
        layout(grad_output),
        states(grad_h_n),
        rows,
    )


# What judging a case may cost: the memory of the replicas (bytes), the floating-point operations of
# the replicas, and those of a truth in longdouble, which are about a hundred times slower.
JUDGE_BYTES = 5e8
JUDGE_REPLICA_FLOP = 6e11
JUDGE_LONGDOUBLE_FLOP = 4e8
REPLICAS = 32


def judged_rows(case: Case) -> NDArray[np.int64]:
    """Return which rows of the batch are judged: all, or a sample where all would cost too much.

    Rows of a batch do not depend on each other, so that a sample of them is judged exactly.
    """
    config, B = case.config, case.B or 1
    width = config.input_size + config.hidden_size * (1 + config.num_directions)
    steps = case.T * config.num_cells
    # Bytes of the replicas of one row: four arrays of every layer's states, and three of the widest
    # input (its gradient, that one's errors and squares), in float32.
    inner = config.num_directions * config.hidden_size if config.num_layers > 1 else 0
    inputs = max(config.input_size, inner)
    size = REPLICAS * 4 * (4 * steps * config.hidden_size + 3 * case.T * inputs)
    products = 6.0 * steps * config.hidden_size * width
    affordable = min(JUDGE_BYTES / size, JUDGE_REPLICA_FLOP / (REPLICAS * products))
    if case.dtype == "float64":
        affordable = min(affordable / 2, JUDGE_LONGDOUBLE_FLOP / products)
    count = max(1, min(B, int(affordable), case.judged or B))
    order = np.argsort(_uniform(case, "rows", (B,), 1.0), kind="stable")
    return np.sort(order[:count])


def time_major(case: Case, name: str, array: Array) -> Array:
    """Return a quantity as `[T, B, features]` or `[L * D, B, H]`, whatever the case's layout is.

    Args:
        case: says the layout.
        name: "x", "h0", "lengths", or a quantity; what has no batch is returned as it is.
        array: laid out as the case says.
    """
    if name.startswith(("grad_weight", "grad_bias", "weight", "bias")):
        return array
    if case.B is None:
        return array[:, None]
    states = name.removeprefix("next_").removeprefix("grad_") in ("h0", "h_n")
    return array.swapaxes(0, 1) if case.config.batch_first and not states else array


def find_regime(name: str) -> Regime:
    """Return a regime by name; `radius<r>` is one of a given spectral radius.

    Raises:
        UsageError: there is none of that name.
    """
    known = REGIMES | STRUCTURED | LARGE | PROBES
    if name in known:
        return known[name]
    try:
        radius = float(name.removeprefix("radius"))
    except ValueError:
        raise UsageError(
            f"no regime {name!r}: there are {', '.join(REGIMES)}, and radius<number>"
        ) from None
    return Regime(f"spectral radius {radius:g}", 0.5, radius, 0.2)


def _input(case: Case, regime: Regime, name: str, T: int) -> Array:
    shape = (T, case.B or 1, case.config.input_size)
    drawn = structures.INPUTS[regime.inputs](_stream(case), name, shape, regime.x)
    return drawn * structures.scale(regime.inputs, case.dtype, _terms(case))


def _state(case: Case, regime: Regime, shape: tuple[int, int, int]) -> Array:
    inputs = regime.inputs if regime.inputs in structures.OF_STATES else "dense"
    drawn = structures.INPUTS[inputs](_stream(case), "h0", shape, regime.h0)
    return drawn * structures.scale(inputs, case.dtype, _terms(case))


def _terms(case: Case) -> int:
    return case.config.input_size + 2 * case.config.hidden_size


def _stream(case: Case) -> structures.Draw:
    return partial(_uniform, case)


def _parameter(case: Case, regime: Regime, name: str, shape: tuple[int, ...]) -> Array:
    torch_std = 1 / math.sqrt(3 * case.config.hidden_size)
    if name.startswith("bias"):
        return _uniform(case, name, shape, torch_std if regime.bias is None else regime.bias)
    of_input = name.startswith("weight_ih")
    gain = regime.gain_ih if of_input else regime.gain_hh
    structure = regime.structure_ih if of_input else regime.structure
    if structure == "dense":
        std = torch_std if gain is None else gain / math.sqrt(shape[1])
        return _uniform(case, name, shape, std)
    gain = 1.0 if gain is None else gain
    return structures.WEIGHTS[structure](_stream(case), name, shape, gain)


def _check_fits(parameters: dict[str, Array], case: Case) -> None:
    for name, shape in parameter_shapes(case.config).items():
        if name not in parameters or parameters[name].shape != shape:
            found = parameters[name].shape if name in parameters else "missing"
            raise UsageError(f"{case.weights}: {name} is {found}, the case's config says {shape}")
        with np.errstate(over="ignore"):
            fits = np.isfinite(parameters[name].astype(numpy_dtype(case.dtype))).all()
        if not fits:
            raise UsageError(f"{case.weights}: {name} has values too large for {case.dtype}")


def _lengths(case: Case) -> Array:
    assert case.B is not None
    drawn = (_uniform(case, "lengths", (case.B,), 1.0) / (2 * math.sqrt(3)) + 0.5) * case.T
    lengths = np.clip(drawn.astype(np.int64) + 1, 1, case.T)
    lengths[case.seed % case.B] = case.T
    return lengths


def _uniform(case: Case, name: str, shape: tuple[int, ...], std: float) -> NDArray[np.float64]:
    """Draw uniformly from +- sqrt(3) std; every named array has a stream of its own."""
    digest = hashlib.sha256(f"{case.seed} {name} {shape}".encode()).digest()
    bits = np.random.PCG64(int.from_bytes(digest[:16], "little"))
    raw = np.asarray(bits.random_raw(math.prod(shape)), np.uint64)
    unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0  # exact, in [-1, 1)
    return (unit * (math.sqrt(3) * std)).reshape(shape)
