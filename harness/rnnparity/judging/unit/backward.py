"""Differences of replicas from the truth, backward through time."""

import numpy as np

from rnnparity.cells.config import Cell
from rnnparity.cells.elman import Trace
from rnnparity.judging.unit.arithmetic import Arithmetic
from rnnparity.judging.unit.replicas import Replicas
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array


def layer_backward(
    d_output: Array,
    d_h_n: Array,
    dx: Array,
    dh0: Array,
    output: Array,
    replicas: Replicas,
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
    made_x = made_product(arithmetic, rounded.reshape(-1, H), arithmetic.round(weight_ih))
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
            assert replicas.slopes is not None
            changed = replicas.slopes[t] - derivative_[t]
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
        weight_deviation(replicas, grad_a, da, trace.x, dx),
        weight_deviation(replicas, grad_a, da, h_before, before),
        *[bias_deviation(replicas, grad_a, da)] * 2,
    )
    return d_x, d.reshape(REPLICAS * B, H), of_cell


def made_product(arithmetic: Arithmetic, a: Array, b: Array) -> Array:
    """The errors that one right product of two matrices in the dtype really makes."""
    exact_a, exact_b = arithmetic.higher(a, b)
    return np.asarray(arithmetic.sequential(a, b) - exact_a @ exact_b, np.float64)


def _made_backward(trace: Trace, arithmetic: Arithmetic, tanh: bool) -> tuple[Array, Array]:
    """The errors that a right computation makes of the gradients of h_t and of a_t, `[T, B, H]`."""
    grad_a, weight_hh = arithmetic.round(trace.grad_a), arithmetic.round(trace.cell.weight_hh)
    H = grad_a.shape[2]
    carried = made_product(arithmetic, grad_a.reshape(-1, H), weight_hh).reshape(grad_a.shape)
    made_h = np.concatenate((carried[1:], np.zeros_like(carried[:1])))
    made_h += arithmetic.round(trace.grad_h).astype(np.float64) - trace.grad_h
    if not tanh:
        return made_h, np.zeros_like(made_h)
    h, g = arithmetic.round(trace.output), arithmetic.round(trace.grad_h)
    made = g * (h.dtype.type(1) - h * h)
    exact_h, exact_g = arithmetic.higher(h, g)
    return made_h, np.asarray(made - exact_g * (1 - exact_h * exact_h), np.float64)


def weight_deviation(replicas: Replicas, gradient: Array, da: Array, b: Array, db: Array) -> Array:
    """Deviation of `sum over t, rows of grad_a^T b`, replica by replica to bound the memory."""
    T, _, B, H = da.shape
    grad_a = gradient.reshape(T * B, H)
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
    made = made_product(
        arithmetic, arithmetic.round(grad_a.T), arithmetic.round(b.reshape(T * B, n))
    )
    own = error + arithmetic.rounded(total) + made**2
    own = own + arithmetic.stepwise(grad_a.T, b.reshape(T * B, n), T)
    deviation: Array = np.sqrt(squares / REPLICAS + own)
    return deviation


def bias_deviation(replicas: Replicas, gradient: Array, da: Array) -> Array:
    """Deviation of the sum of a gradient over steps and rows."""
    T, _, B, H = da.shape
    change = da.sum(axis=(0, 2), dtype=np.float64)
    flat = gradient.reshape(T * B, H)
    arithmetic, ones = replicas.arithmetic, np.ones((T * B, 1))
    total, error = arithmetic.dot(flat.T, ones)
    made = made_product(arithmetic, arithmetic.round(flat.T), arithmetic.round(ones))
    own = error + arithmetic.rounded(total) + made**2 + arithmetic.stepwise(flat.T, ones, T)
    deviation: Array = np.sqrt(np.mean(change**2, axis=0) + own[:, 0])
    return deviation
