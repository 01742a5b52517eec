"""The unit: how far rounding alone carries a right implementation, per element of a quantity.

Monte Carlo arithmetic (Parker, 1997) in difference form. The truth's trajectory is known; what is
simulated is only the difference from it, in many replicas at once, with a random error added at
every operation, of the size that rounding in the dtype under test has there. Differences obey

    tanh(a + d) - tanh(a) = tanh(d) sech^2(a) / (1 + tanh(a) tanh(d))
    relu(a + d) - relu(a) = max(d, -a) for a > 0, max(a + d, 0) for a <= 0
    (h + d) W - h W       = d W

exactly, so that nothing cancels, whatever the dtype's precision is, and large differences saturate
as the network does. Layers, directions and unequal lengths come from the same composition that the
implementations run in: all that it does to rows (reversing, masking, gathering, joining) it does to
a row of differences alike. `docs/verdict.md` derives the sizes and says what was measured.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity import composition
from rnnparity.arithmetic import Arithmetic
from rnnparity.config import Cell
from rnnparity.problems import REPLICAS
from rnnparity.truth import Trace, Truth, named_gradients

Array = NDArray[Any]

# Share of an error that stays the same at every step of a sequence: near a fixed point of the
# recurrence an implementation makes nearly the same rounding errors again and again; independent
# errors alone would let them average out.
PERSISTENT = 1 / 3

# How near to relu's kink, in standard deviations of what goes into it, a replica may take either
# side. The limit of the verdict, so that no right implementation's side is out of the model.
KINK = 10.0


class Signs:
    """A stream of random signs: the raw bits of PCG64, the same on every machine."""

    def __init__(self, seed: int, dtype: Any) -> None:
        """Start the stream."""
        self._bits, self._dtype = np.random.PCG64(seed), dtype

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Return +1 and -1 with equal probability."""
        count = int(np.prod(shape))
        raw = np.asarray(self._bits.random_raw(-(-count // 64)), np.uint64).view(np.uint8)
        signs = np.unpackbits(raw, count=count).astype(self._dtype)
        signs *= 2
        signs -= 1
        return signs.reshape(shape)


@dataclass
class _Noise:
    """Errors of given sizes: partly the same at every step, partly fresh."""

    signs: Signs
    persistent: Array  # [K, B, H]
    steps: list[Array]  # [B, H] each: alike computations have the same number

    def at(self, t: int, deviation: Array) -> Array:
        """Draw errors `[K, B, H]` of standard deviation `[B, H]`, the same for what is alike."""
        alike = self.steps[t]
        fresh = self.signs.draw((REPLICAS, int(alike.max()) + 1))[:, alike]
        fresh *= np.sqrt(1 - PERSISTENT**2)
        fresh += self.persistent
        fresh *= deviation
        return fresh


@dataclass
class _Replicas:
    """A trace, with what the replicas' layers need to go along it."""

    trace: Trace
    arithmetic: Arithmetic
    signs: Signs
    dtype: Any
    widest: Array  # [T, B]
    sides: Array | None = None  # [T, K, B, H] for relu: whether each replica is past the kink

    def noise(self, results: Array) -> _Noise:
        """Noise for the results of an operation at every step, `[T, B, H]`.

        Equal results come from equal computations, of units with equal weights, say: what rounding
        does to one it does to all of them, so that they share their error.
        """
        steps = [_alike(step) for step in results]
        throughout = _alike(results.sum(axis=0))
        drawn = self.signs.draw((REPLICAS, int(throughout.max()) + 1))
        return _Noise(self.signs, PERSISTENT * drawn[:, throughout], steps)

    def cast(self, *arrays: Array) -> list[Array]:
        return [np.asarray(array, self.dtype) for array in arrays]


def _alike(results: Array) -> Array:
    """Number results so that equal ones, up to the order of their summation, share a number."""
    mantissa, exponent = np.frexp(np.asarray(results, np.float64))
    key = np.ldexp(np.rint(mantissa * 2.0**30), exponent)
    _, numbers = np.unique(key, return_inverse=True)
    return numbers.reshape(results.shape)


@dataclass(frozen=True)
class Deviations:
    """The predicted standard deviations of rounding.

    Attributes:
        units: of every element of every quantity, shaped as `Truth.values`, float64, never below
            the dtype's underflow.
        widest: `[T, B]` for each of `Truth.traces`: the largest of the units of h_t.
        next_widest: likewise for `Truth.next_traces`.
    """

    units: dict[str, Array]
    widest: list[Array]
    next_widest: list[Array]


def deviations(true: Truth, dtype: str, seed: int, matmul_precision: str = "float32") -> Deviations:
    """Predict how far rounding alone carries every quantity, and every layer's states.

    Args:
        true: of the case; its arrays are time-major and hold the judged rows only.
        dtype: under test.
        seed: of the replicas.
        matmul_precision: as declared for the run.
    """
    work = np.float64 if dtype == "float64" else np.float32
    arithmetic = Arithmetic.of(dtype, matmul_precision)
    signs = Signs(seed, work)
    config = true.config
    repeated = None if true.lengths is None else np.tile(true.lengths, REPLICAS)

    def replicas(traces: list[Trace]) -> list[_Replicas]:
        return [
            _Replicas(as_float64(trace), arithmetic, signs, work, np.empty(trace.output.shape[:2]))
            for trace in traces
        ]

    def none(like: Array) -> Array:
        return np.zeros((like.shape[0], REPLICAS * like.shape[1], like.shape[2]), work)

    tape: list[composition.Call] = []
    x, layers, next_layers = true.traces[0].x, replicas(true.traces), replicas(true.next_traces)
    output, h_n = composition.run(
        _layer, none(x), none(true.values["h_n"]), layers, config, repeated, tape
    )
    differences = {"output": output, "h_n": h_n}
    if true.next_traces:
        ones = None if repeated is None else np.ones_like(repeated)
        following = composition.run(
            _layer, none(true.next_traces[0].x), h_n, next_layers, config, ones
        )
        differences |= {"next_output": following[0], "next_h_n": following[1]}
    upstream = none(true.values["output"]), none(true.values["h_n"])
    grad_x, grad_h0, of_cells = composition.backward(
        _layer_backward, tape, *upstream, config, repeated
    )
    differences |= {"grad_x": grad_x, "grad_h0": grad_h0}

    found = {name: _spread(value) for name, value in differences.items() if name in true.values}
    found |= named_gradients(of_cells, config)
    floor = arithmetic.underflow
    units = {name: np.maximum(value.astype(np.float64), floor) for name, value in found.items()}
    return Deviations(units, [r.widest for r in layers], [r.widest for r in next_layers])


def _spread(differences: Array) -> Array:
    """Root mean square over the replicas: `[T, K * B, F] -> [T, B, F]`."""
    T, rows, F = differences.shape
    split = differences.reshape(T, REPLICAS, rows // REPLICAS, F)
    spread: Array = np.sqrt(np.mean(np.square(split, dtype=np.float64), axis=1))
    return spread


def as_float64(trace: Trace) -> Trace:
    """Return a trace in float64, which is precise enough for deviations."""
    arrays = (trace.x, trace.h0, trace.output, trace.grad_h, trace.grad_a)
    cell = Cell(*(value.astype(np.float64) for value in trace.cell))
    return Trace(cell, *(array.astype(np.float64) for array in arrays))


def _layer(dx: Array, dh0: Array, replicas: _Replicas, nonlinearity: str) -> tuple[Array, Array]:
    """The forward layer on differences, `[T, K * B, I]` to `[T, K * B, H]`."""
    trace, arithmetic = replicas.trace, replicas.arithmetic
    T, B, _ = trace.x.shape
    H = trace.h0.shape[1]
    weight_ih, weight_hh, _, _ = trace.cell
    a, deviation_a = pre_activation(trace, arithmetic)
    made_a = _made_forward(trace, arithmetic)
    deviation_a = np.hypot(deviation_a, made_a)
    noise_a, sign = replicas.noise(a), replicas.signs.draw((REPLICAS, 1, 1))
    to_input, to_hidden = replicas.cast(weight_ih.T, weight_hh.T)
    a, deviation_a, made_a = replicas.cast(a, deviation_a, made_a)

    d = dh0
    output = np.empty((T, REPLICAS * B, H), replicas.dtype)
    moved = bool(dx.any())
    if nonlinearity == "tanh":
        slope = 1 / np.cosh(np.clip(np.asarray(a, np.float64), -300, 300)) ** 2
        each = arithmetic.tanh_error / np.sqrt(2)
        error = np.sqrt(arithmetic.rounded(each * np.sqrt(3) * trace.output))
        made_h = arithmetic.round(trace.output).astype(np.float64) - trace.output
        throughout = each * arithmetic.u * trace.output
        h, slope, error = replicas.cast(trace.output, slope, error)
        made_h, throughout = replicas.cast(made_h, throughout)
        noise_h, sign_h = replicas.noise(trace.output), replicas.signs.draw((REPLICAS, 1, 1))
    else:
        replicas.sides = np.empty((T, REPLICAS, B, H), bool)
    for t in range(T):
        d = d @ to_hidden
        if moved:
            d += dx[t] @ to_input
        da = d.reshape(REPLICAS, B, H)
        da += noise_a.at(t, deviation_a[t])
        da += sign * made_a[t]
        if nonlinearity == "tanh":
            da = _tanh_difference(a[t], h[t], slope[t], da)
            da += noise_h.at(t, error[t])
            da += sign * made_h[t]
            da += sign_h * throughout[t]
        else:
            da = _relu_difference(replicas, t, a[t], da)
        variance = np.mean(np.square(da, dtype=np.float64), axis=0)
        replicas.widest[t] = np.sqrt(variance.max(axis=1))
        d = da.reshape(REPLICAS * B, H)
        output[t] = d
    return output, d


def pre_activation(
    trace: Trace, arithmetic: Arithmetic, h_before: Array | None = None
) -> tuple[Array, Array]:
    """Return what goes into the nonlinearity at every step, and the deviation of one step's errors.

    Args:
        trace: of a layer and direction, float64.
        arithmetic: of the dtype.
        h_before: the states that the steps start from, `[T, B, H]`; the trace's own if None.

    Returns:
        `[T, B, H]` each.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    if h_before is None:
        h_before = np.concatenate((trace.h0[None], trace.output[:-1]))
    bias = bias_ih + bias_hh
    # An implementation may accumulate onto one bias, onto both, or onto all that came before.
    from_x, error_x = arithmetic.dot(
        trace.x, weight_ih.T, np.maximum(np.abs(bias_ih), np.abs(bias))
    )
    from_h, error_h = arithmetic.dot(
        h_before, weight_hh.T, np.maximum(np.abs(bias_hh), np.abs(from_x + bias))
    )
    a = from_x + from_h + bias
    added = arithmetic.rounded(bias_ih, bias_hh, bias, from_x + bias, from_h, a)
    return a, np.sqrt(error_x + error_h + added)


def one_step(trace: Trace, h_before: Array, dtype: str, nonlinearity: str) -> tuple[Array, Array]:
    """Return every step taken from given states, and the deviation of one step's rounding.

    Args:
        trace: of a layer and direction, float64.
        h_before: the states that the steps start from, `[T, B, H]`.
        dtype: under test.
        nonlinearity: "tanh" or "relu".

    Returns:
        `[T, B, H]` each.
    """
    arithmetic = Arithmetic.of(dtype)
    a, deviation = pre_activation(trace, arithmetic, h_before)
    if nonlinearity == "relu":
        return np.maximum(a, 0), np.where(a > -KINK * deviation, deviation, arithmetic.underflow)
    # The slope is taken where it is steepest within reach, since the step is no longer small there.
    nearest = np.clip(np.maximum(np.abs(a) - KINK * deviation, 0), 0, 300)
    moved = deviation / np.cosh(nearest) ** 2
    h = np.tanh(a)
    return h, np.sqrt(moved**2 + arithmetic.rounded(arithmetic.tanh_error * np.sqrt(3) * h))


def _made_forward(trace: Trace, arithmetic: Arithmetic) -> Array:
    """The errors that one right computation of the pre-activations really makes, `[T, B, H]`.

    Signed, and the same for the same numbers: where terms, units or steps are alike, their errors
    are alike, too, and add up as random ones do not.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = (arithmetic.round(p) for p in trace.cell)
    h_before = arithmetic.round(np.concatenate((trace.h0[None], trace.output[:-1])))
    x = arithmetic.round(trace.x)
    shape = h_before.shape

    def flat(array: Array) -> Array:
        return array.reshape(-1, array.shape[-1])

    from_x = arithmetic.sequential(flat(x), weight_ih.T)
    from_h = arithmetic.sequential(flat(h_before), weight_hh.T)
    made = ((from_x + (bias_ih + bias_hh)) + from_h).reshape(shape)
    x, h, w, r, b, c = arithmetic.higher(x, h_before, weight_ih, weight_hh, bias_ih, bias_hh)
    return np.asarray(made - (x @ w.T + h @ r.T + (b + c)), np.float64)


def _tanh_difference(a: Array, h: Array, slope: Array, d: Array) -> Array:
    """`tanh(a + d) - h`: by the addition theorem, or directly where d is large enough."""
    large = np.abs(d) > 0.5
    direct = np.tanh(a + d) - h if large.any() else None
    tanh_d = np.tanh(np.clip(d, -0.5, 0.5))
    difference: Array = tanh_d * slope / (1 + h * tanh_d)
    return difference if direct is None else np.where(large, direct, difference)


def _relu_difference(replicas: _Replicas, t: int, a: Array, d: Array) -> Array:
    """Either side of the kink where rounding can reach it; the exact difference elsewhere."""
    spread = np.sqrt(np.mean(np.square(d, dtype=np.float64), axis=0))
    # Where nothing but underflow can move it, zero stays zero, and there the derivative is 0.
    moved = (a != 0) | (spread > 1e3 * replicas.arithmetic.underflow)
    reachable = moved & (np.abs(a) <= KINK * spread)
    past = a + d > 0
    drawn = replicas.signs.draw(d.shape) > 0
    assert replicas.sides is not None
    replicas.sides[t] = np.where(reachable, drawn, past & moved)
    exact = np.where(a > 0, np.maximum(d, -a), np.maximum(a + d, 0))
    return np.where(reachable, d * drawn, exact)


def _layer_backward(
    d_output: Array,
    d_h_n: Array,
    dx: Array,
    dh0: Array,
    output: Array,
    replicas: _Replicas,
    nonlinearity: str,
) -> tuple[Array, Array, Cell]:
    """The backward layer on differences; a cell's gradients come back as deviations `[H, ...]`."""
    trace, arithmetic = replicas.trace, replicas.arithmetic
    T, B, input_size = trace.x.shape
    H = trace.h0.shape[1]
    weight_ih, weight_hh, _, _ = trace.cell
    h, grad_h, grad_a = trace.output, trace.grad_h, trace.grad_a
    tanh = nonlinearity == "tanh"
    derivative = 1 - h * h if tanh else (h > 0).astype(np.float64)

    start = np.concatenate((grad_h[:1], grad_h[:-1]))
    recurrent, error_recurrent = arithmetic.dot(grad_a, weight_hh, start)
    error_h = error_recurrent + arithmetic.rounded(recurrent)
    error_h = np.concatenate((error_h[1:], np.zeros_like(error_h[:1])))
    error_h = np.sqrt(error_h + arithmetic.rounded(grad_h))
    of_derivative = arithmetic.rounded(h * h, derivative) if tanh else 0.0
    error_a = np.sqrt(grad_h**2 * of_derivative + arithmetic.rounded(grad_a))
    error_h0 = np.sqrt(error_recurrent[0] + arithmetic.rounded(recurrent[0]))
    into_x, error_x = arithmetic.dot(grad_a, weight_ih)
    rounded = arithmetic.round(grad_a)
    made_x = _made_product(arithmetic, rounded.reshape(-1, H), arithmetic.round(weight_ih))
    error_x = np.sqrt(error_x + arithmetic.rounded(into_x) + made_x.reshape(into_x.shape) ** 2)
    made_h, made_a = _made_backward(trace, arithmetic, tanh)

    from_input, from_hidden = replicas.cast(weight_ih, weight_hh)
    h_, grad_h_, derivative_ = replicas.cast(h, grad_h, derivative)
    error_h, error_a = np.hypot(error_h, made_h), np.hypot(error_a, made_a)
    carried = np.concatenate((recurrent[1:], np.zeros_like(recurrent[:1])))
    noise_h, noise_a = replicas.noise(carried), replicas.noise(grad_a)
    made_h, made_a = replicas.cast(made_h, made_a)
    # Where a row has no gradient at all, past a sequence's end, say, zeros come of zeros, exactly.
    there = grad_h.any(axis=2, keepdims=True)
    error_h, error_a, error_x = there * error_h, there * error_a, there * error_x
    error_h, error_a, error_x = replicas.cast(error_h, error_a, error_x)
    sign = replicas.signs.draw((REPLICAS, 1, 1))
    dh = output.reshape(T, REPLICAS, B, H)
    upstream = d_output.reshape(T, REPLICAS, B, H)
    da = np.empty((T, REPLICAS, B, H), replicas.dtype)
    d = d_h_n.reshape(REPLICAS, B, H).copy()
    for t in reversed(range(T)):
        d += upstream[t]
        d += noise_h.at(t, error_h[t])
        d += sign * made_h[t]
        if tanh:
            changed = -(2 * h_[t] + dh[t]) * dh[t]
        else:
            assert replicas.sides is not None
            changed = replicas.sides[t] - derivative_[t]
        np.multiply(d, derivative_[t] + changed, out=da[t])
        da[t] += grad_h_[t] * changed
        da[t] += noise_a.at(t, error_a[t])
        da[t] += sign * made_a[t]
        d = (da[t].reshape(REPLICAS * B, H) @ from_hidden).reshape(REPLICAS, B, H)
    d += replicas.signs.draw(d.shape) * np.asarray(error_h0, replicas.dtype)

    d_x = da.reshape(T, REPLICAS * B, H) @ from_input
    split = d_x.reshape(T, REPLICAS, B, input_size)
    split += replicas.signs.draw(split.shape) * error_x[:, None]

    before = np.concatenate((dh0[None], output[:-1]))
    h_before = np.concatenate((trace.h0[None], h[:-1]))
    of_cell = Cell(
        _weight_deviation(replicas, da, trace.x, dx),
        _weight_deviation(replicas, da, h_before, before),
        *[_bias_deviation(replicas, da)] * 2,
    )
    return d_x, d.reshape(REPLICAS * B, H), of_cell


def _made_product(arithmetic: Arithmetic, a: Array, b: Array) -> Array:
    """The errors that one right product of two matrices in the dtype really makes."""
    exact_a, exact_b = arithmetic.higher(a, b)
    return np.asarray(arithmetic.sequential(a, b) - exact_a @ exact_b, np.float64)


def _made_backward(trace: Trace, arithmetic: Arithmetic, tanh: bool) -> tuple[Array, Array]:
    """Likewise of the gradients of h_t, and of those before the nonlinearity: `[T, B, H]` each."""
    grad_a, weight_hh = arithmetic.round(trace.grad_a), arithmetic.round(trace.cell.weight_hh)
    H = grad_a.shape[2]
    carried = _made_product(arithmetic, grad_a.reshape(-1, H), weight_hh).reshape(grad_a.shape)
    made_h = np.concatenate((carried[1:], np.zeros_like(carried[:1])))
    made_h += arithmetic.round(trace.grad_h).astype(np.float64) - trace.grad_h
    if not tanh:
        return made_h, np.zeros_like(made_h)
    h, g = arithmetic.round(trace.output), arithmetic.round(trace.grad_h)
    made = g * (h.dtype.type(1) - h * h)
    exact_h, exact_g = arithmetic.higher(h, g)
    return made_h, np.asarray(made - exact_g * (1 - exact_h * exact_h), np.float64)


def _weight_deviation(replicas: _Replicas, da: Array, b: Array, db: Array) -> Array:
    """Deviation of `sum over t, rows of grad_a^T b`, replica by replica to bound the memory."""
    T, _, B, H = da.shape
    grad_a = replicas.trace.grad_a.reshape(T * B, H)
    n = b.shape[2]
    b_flat = np.asarray(b.reshape(T * B, n), replicas.dtype)
    g_flat = np.asarray(grad_a, replicas.dtype)
    moved = bool(db.any())
    db = db.reshape(T, REPLICAS, B, n)
    squares = np.zeros((H, n))
    for k in range(REPLICAS):
        da_k = da[:, k].reshape(T * B, H)
        change = da_k.T @ b_flat
        if moved:
            change += (g_flat + da_k).T @ db[:, k].reshape(T * B, n)
        squares += np.square(change, dtype=np.float64)
    arithmetic = replicas.arithmetic
    total, error = arithmetic.dot(grad_a.T, b.reshape(T * B, n))
    made = _made_product(
        arithmetic, arithmetic.round(grad_a.T), arithmetic.round(b.reshape(T * B, n))
    )
    own = error + arithmetic.rounded(total) + made**2
    deviation: Array = np.sqrt(squares / REPLICAS + own)
    return deviation


def _bias_deviation(replicas: _Replicas, da: Array) -> Array:
    T, _, B, H = da.shape
    change = da.sum(axis=(0, 2), dtype=np.float64)
    flat = replicas.trace.grad_a.reshape(T * B, H)
    arithmetic, ones = replicas.arithmetic, np.ones((T * B, 1))
    total, error = arithmetic.dot(flat.T, ones)
    made = _made_product(arithmetic, arithmetic.round(flat.T), arithmetic.round(ones))
    own = error + arithmetic.rounded(total) + made**2
    deviation: Array = np.sqrt(np.mean(change**2, axis=0) + own[:, 0])
    return deviation
