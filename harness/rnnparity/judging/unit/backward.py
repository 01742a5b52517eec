"""Differences of replicas from the truth, backward through time along a step's program."""

import numpy as np

from rnnparity.cells.config import Cell
from rnnparity.cells.recurrence import arguments
from rnnparity.judging.unit import products
from rnnparity.judging.unit.arithmetic import AT_ONCE, Arithmetic
from rnnparity.judging.unit.errors import Errors, errors, of_operation
from rnnparity.judging.unit.forward import places
from rnnparity.judging.unit.replicas import Replicas
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array


def layer_backward(d_output: Array, *given: object) -> tuple[object, ...]:
    """The backward layer on differences; a cell's gradients come back as deviations.

    Args:
        d_output: `[T, K * B, H]`.
        *given: differences of the gradients of the last states, of x, of the initial states and of
            the output, and the replicas.

    Returns:
        Differences of the gradients of x and of the initial states; deviations of the cell's.
    """
    differences, replicas = arguments(given, Replicas)
    assert isinstance(replicas, Replicas)
    trace, step = replicas.trace, replicas.trace.step
    count, GH = step.states, trace.cell.weight_hh.shape[0]
    last, dx, initial = differences[:count], differences[count], differences[count + 1]
    output = differences[-1]
    T, B, input_size = trace.x.shape
    H = trace.h0.shape[1]
    values = trace.values()
    # Where a row has no gradient at all, past a sequence's end, say, zeros come of zeros, exactly.
    there = np.any([g.any(axis=2, keepdims=True) for g in trace.grad_states], axis=0)
    own: dict[int, Errors] = {}
    for k, instruction in enumerate(step.program.code[step.forward :], step.forward):
        number = step.program.inputs + k
        found = of_operation(replicas, instruction, values[number], values, there)
        if found is not None:
            own[number] = found
    backward = places(replicas, values, own, step.forward, None)
    error_h, error_h0 = _carried(replicas, there)

    weight_ih, weight_hh = replicas.cast(trace.cell.weight_ih, trace.cell.weight_hh)
    upstream = d_output.reshape(T, REPLICAS, B, H)
    of_input = np.empty((T, REPLICAS, B, GH), replicas.dtype)
    same = step.grad_input == step.grad_state
    of_state = of_input if same else np.empty_like(of_input)
    going = [d.reshape(REPLICAS, B, H) for d in last]
    of_gradients = range(step.program.inputs - count, step.program.inputs)
    for t in reversed(range(T)):
        going[0] = going[0] + upstream[t]
        going[0] += error_h.at(t)
        d = {k: array[t] for k, array in (replicas.slopes | replicas.kept).items()}
        d |= dict(zip(of_gradients, going, strict=True))
        for place in backward:
            place.pass_on(t, d)
        np.concatenate([d[number] for number in step.grad_input], axis=-1, out=of_input[t])
        if not same:
            np.concatenate([d[number] for number in step.grad_state], axis=-1, out=of_state[t])
        into = of_state[t].reshape(REPLICAS * B, GH) @ weight_hh
        going = [0 * into if number is None else d[number] for number in step.grad_before]
        going = [each.reshape(REPLICAS, B, H) for each in going]
        going[0] = going[0] + into.reshape(REPLICAS, B, H)
    going[0] = going[0] + replicas.signs.draw(going[0].shape) * error_h0

    d_x = of_input.reshape(T, REPLICAS * B, GH) @ weight_ih
    split = d_x.reshape(T, REPLICAS, B, input_size)
    error_x = there * _rounding(replicas.arithmetic, trace.grad_input, trace.cell.weight_ih)
    split += replicas.signs.draw(split.shape) * np.asarray(error_x, replicas.dtype)[:, None]
    before = np.concatenate((initial[None], output[:-1]))
    of_cell = Cell(
        weight_deviation(replicas, trace.grad_input, of_input, trace.x, dx),
        weight_deviation(replicas, trace.grad_state, of_state, trace.before[0], before),
        bias_deviation(replicas, trace.grad_input, of_input),
        bias_deviation(replicas, trace.grad_state, of_state),
    )
    return d_x, *(change.reshape(REPLICAS * B, H) for change in going), of_cell


def _carried(replicas: Replicas, there: Array) -> tuple[Errors, Array]:
    """Return what the gradient of h errs by as it is carried to every step, and to h0, `[B, H]`."""
    trace, arithmetic = replicas.trace, replicas.arithmetic
    grad_h, weight_hh = trace.grad_states[0], trace.cell.weight_hh
    start = np.concatenate((grad_h[:1], grad_h[:-1]))
    recurrent, variance = arithmetic.dot(trace.grad_state, weight_hh, start)
    variance = variance + arithmetic.rounded(recurrent)
    made = _earlier(products.made(arithmetic, trace.grad_state, weight_hh))
    made += arithmetic.round(grad_h).astype(np.float64) - grad_h
    deviation = np.sqrt(_earlier(variance) + arithmetic.rounded(grad_h))
    error_h = errors(replicas, _earlier(recurrent), deviation, [made], there=there)
    return error_h, np.asarray(np.sqrt(variance[0]), replicas.dtype)


def _earlier(array: Array) -> Array:
    """Return what comes from the step after each, `[T, B, H]`; nothing comes to the last."""
    return np.concatenate((array[1:], np.zeros_like(array[:1])))


def _rounding(arithmetic: Arithmetic, a: Array, b: Array) -> Array:
    """Return the deviation of rounding of a product, of one that is really made included."""
    total, variance = arithmetic.dot(a, b)
    made = products.made(arithmetic, a, b)
    return np.asarray(np.sqrt(variance + arithmetic.rounded(total) + made**2))


def weight_deviation(replicas: Replicas, gradient: Array, da: Array, b: Array, db: Array) -> Array:
    """Deviation of `sum over t, rows of gradient^T b`, some replicas at once to save memory."""
    T, K, B, rows = da.shape
    n, flat = b.shape[2], gradient.reshape(T * B, rows)
    b_flat, g_flat = replicas.cast(b.reshape(T * B, n), flat)
    moved = bool(db.any())
    db = db.reshape(T, K, B, n)
    squares = np.zeros((rows, n))
    for k in range(0, K, max(1, AT_ONCE // (rows * n))):
        some = slice(k, k + max(1, AT_ONCE // (rows * n)))
        of_a = da[:, some].swapaxes(0, 1).reshape(-1, T * B, rows)
        change = of_a.swapaxes(1, 2) @ b_flat
        if moved:
            of_b = db[:, some].swapaxes(0, 1).reshape(-1, T * B, n)
            change += (g_flat + of_a).swapaxes(1, 2) @ of_b
        squares += np.square(change, dtype=np.float64).sum(axis=0)
    own = _summed(replicas.arithmetic, flat.T, b.reshape(-1, n), T)
    return np.asarray(np.sqrt(squares / K + own))


def bias_deviation(replicas: Replicas, gradient: Array, da: Array) -> Array:
    """Deviation of the sum of a gradient over steps and rows."""
    T, _, B, rows = da.shape
    change = da.sum(axis=(0, 2), dtype=np.float64)
    own = _summed(replicas.arithmetic, gradient.reshape(T * B, rows).T, np.ones((T * B, 1)), T)
    return np.asarray(np.sqrt(np.mean(change**2, axis=0) + own[:, 0]))


def _summed(arithmetic: Arithmetic, a: Array, b: Array, T: int) -> Array:
    """Return the variance of rounding of a gradient that is added up over T steps."""
    variance = _rounding(arithmetic, a, b) ** 2 + arithmetic.stepwise(a, b, T)
    return np.asarray(variance)
