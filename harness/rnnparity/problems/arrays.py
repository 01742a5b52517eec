"""From a case to its arrays: weights, inputs and lengths, the same bits on every machine.

Only the raw 64-bit output of PCG64 is used (NumPy keeps that stream fixed; its distributions may
change between versions), turned into numbers by operations that IEEE 754 rounds exactly. Spectral
radii come from the circular law (independent entries of standard deviation r / sqrt(H) give a
spectral radius near r), not from an eigensolver, whose last bits differ from machine to machine.
"""

import hashlib
import math
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnparity.cells.config import KINDS, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import digits, structures, weights
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import time_major
from rnnparity.problems.regimes import REGIMES, Regime, find_regime
from rnnparity.types import Array


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
    c0: Array | None = None  # of an LSTM with h0, shaped as h0
    grad_c_n: Array | None = None  # of an LSTM, shaped as h0: sum(grad_c_n * c_n) is added


def build(case: Case) -> Problem:
    """Draw the arrays of a case.

    Raises:
        UsageError: an unknown regime, or a weights file that cannot be used.
    """
    config, dtype = case.config, numpy_dtype(case.dtype)
    if case.weights == "digits":
        model = digits.load(config.kind)
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
    c0 = grad_c_n = None
    if "c" in config.states:
        c0 = _state(case, regime, h0.shape, "c0")
        # A layer alone does not tell what c was at the ends of sequences of unequal length.
        weight = 0.0 if case.ragged else 1.0
        grad_c_n = _uniform(case, "grad_c_n", h0.shape, weight)
    lengths = _lengths(case) if case.ragged else None
    if case.inputs is not None:
        with np.load(case.inputs, allow_pickle=False) as given:
            x = time_major(case, "x", given["x"])
            h0 = time_major(case, "h0", given["h0"]) if "h0" in given else h0
            c0 = time_major(case, "c0", given["c0"]) if "c0" in given else c0
            lengths = given.get("lengths", lengths)
    x_next = _input(case, regime, "x_next", 1)
    D, H = config.num_directions, config.hidden_size
    rows = judged_rows(case)
    weighed = np.isin(np.arange(B), rows)[None, :, None]
    grad_output = _uniform(case, "grad_output", (case.T, B, D * H), 1.0) * weighed
    grad_h_n = _uniform(case, "grad_h_n", (config.num_cells, B, H), 1.0) * weighed
    grad_c_n = None if grad_c_n is None else grad_c_n * weighed

    def layout(a: Array) -> Array:
        a = a.astype(dtype)
        if case.B is None:
            return np.ascontiguousarray(a[:, 0])
        return np.ascontiguousarray(a.swapaxes(0, 1)) if config.batch_first else a

    def states(a: Array) -> Array:
        return a.astype(dtype) if case.B is not None else a[:, 0].astype(dtype)

    if case.inputs is not None and not np.isfinite(layout(x).astype(np.float64)).all():
        raise UsageError(f"x has values up to {np.abs(x).max():.3g}, too large for {case.dtype}")
    return Problem(
        {name: value.astype(dtype) for name, value in parameters.items()},
        layout(x),
        states(h0) if case.h0 else None,
        lengths,
        layout(x_next) if case.one_more_step else None,
        layout(grad_output),
        states(grad_h_n),
        rows,
        states(c0) if c0 is not None and case.h0 else None,
        states(grad_c_n) if grad_c_n is not None else None,
    )


# What judging a case may cost: the memory of the replicas (bytes), the floating-point operations of
# the replicas, and those of a truth in longdouble, which are about a hundred times slower.
JUDGE_BYTES = 3e8
JUDGE_REPLICA_FLOP = 6e11
JUDGE_LONGDOUBLE_FLOP = 4e8
# Arrays of differences that are kept of a layer, each as large as its states.
JUDGE_ARRAYS = {"rnn": 8, "gru": 16, "lstm": 20}
REPLICAS = 32


def judged_rows(case: Case) -> NDArray[np.int64]:
    """Return which rows of the batch are judged: all, or a sample where all would cost too much.

    Rows of a batch do not depend on each other, so that a sample of them is judged exactly.
    """
    config, B = case.config, case.B or 1
    width = config.input_size + config.hidden_size * (1 + config.num_directions)
    steps = case.T * config.num_cells
    # Bytes of the replicas of one row: some arrays of every layer's states, and three of the widest
    # input (its gradient, that one's errors and squares), in float32.
    inner = config.num_directions * config.hidden_size if config.num_layers > 1 else 0
    inputs = max(config.input_size, inner)
    size = (
        REPLICAS
        * 4
        * (JUDGE_ARRAYS[config.kind] * steps * config.hidden_size + 3 * case.T * inputs)
    )
    products = 6.0 * steps * config.num_gates * config.hidden_size * width
    affordable = min(JUDGE_BYTES / size, JUDGE_REPLICA_FLOP / (REPLICAS * products))
    if case.dtype == "float64":
        affordable = min(affordable / 2, JUDGE_LONGDOUBLE_FLOP / products)
    count = max(1, min(B, int(affordable), case.judged or B))
    order = np.argsort(_uniform(case, "rows", (B,), 1.0), kind="stable")
    return np.sort(order[:count])


def rows_are_left(case: Case, problem: Problem) -> bool:
    """Whether there are rows that are not judged by the unit."""
    return len(problem.rows) < (case.B or 1)


def weighing_all_rows(case: Case, problem: Problem) -> dict[str, Array]:
    """Return the gradients that come in, by name and laid out as the problem's, for all rows.

    Each row gets those of a judged one, the judged ones their own.
    """
    found = {}
    for name, array in upstream(problem).items():
        whole = time_major(case, name, array).copy()
        source = np.resize(problem.rows, whole.shape[1])
        source[problem.rows] = problem.rows
        whole = whole[:, source]
        found[name] = np.ascontiguousarray(time_major(case, name, whole))
    return found


def upstream(problem: Problem) -> dict[str, Array]:
    """Return the gradients that come in, by name: of output, h_n, and an LSTM's c_n."""
    found = {"grad_output": problem.grad_output, "grad_h_n": problem.grad_h_n}
    return found if problem.grad_c_n is None else found | {"grad_c_n": problem.grad_c_n}


def initial_states(problem: Problem) -> dict[str, Array]:
    """Return the initial states that are given, by name: h0, and an LSTM's c0; or none."""
    given = {"h0": problem.h0, "c0": problem.c0}
    return {name: array for name, array in given.items() if array is not None}


def _input(case: Case, regime: Regime, name: str, T: int) -> Array:
    shape = (T, case.B or 1, case.config.input_size)
    drawn = structures.INPUTS[regime.inputs](_stream(case), name, shape, regime.x)
    return drawn * structures.scale(regime.inputs, case.dtype, _terms(case))


def _state(case: Case, regime: Regime, shape: tuple[int, ...], name: str = "h0") -> Array:
    inputs = regime.inputs if regime.inputs in structures.OF_STATES else "dense"
    drawn = structures.INPUTS[inputs](_stream(case), name, shape, regime.h0)
    return drawn * structures.scale(inputs, case.dtype, _terms(case))


def _terms(case: Case) -> int:
    return case.config.input_size + 2 * case.config.hidden_size


def _stream(case: Case) -> structures.Draw:
    return partial(_uniform, case)


def _parameter(case: Case, regime: Regime, name: str, shape: tuple[int, ...]) -> Array:
    torch_std = 1 / math.sqrt(3 * case.config.hidden_size)
    if name.startswith("bias"):
        drawn = _uniform(case, name, shape, torch_std if regime.bias is None else regime.bias)
        for gate, offset in regime.gates if name.startswith("bias_ih") else ():
            if gate in (gates := KINDS[case.config.kind].gates):
                np.split(drawn, len(gates))[gates.index(gate)][:] += offset
        return drawn
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
            raise UsageError(f"{name} of the weights has values too large for {case.dtype}")


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
