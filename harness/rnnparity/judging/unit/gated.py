"""Differences of replicas from the truth along a gated cell's traced step, forward and backward.

Every operation of the step passes the differences of its arguments on exactly, also where they are
large, and adds an error of its own, of its rounding's size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnparity.cells.config import Cell
from rnnparity.cells.elman import Trace
from rnnparity.cells.gated import GatedTrace, gates
from rnnparity.cells.operations import logistic, run
from rnnparity.cells.program import Instruction
from rnnparity.judging.unit.arithmetic import Arithmetic, tanh_shares
from rnnparity.judging.unit.backward import bias_deviation, made_product, weight_deviation
from rnnparity.judging.unit.forward import made_forward, pre_activation, tanh_difference
from rnnparity.judging.unit.replicas import Noise, Replicas
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array

# Beyond this a difference of the logistic function is taken directly.
LARGE = 0.5

# Given the values of the arguments, of the result and the arguments' differences: the result's.
Difference = Callable[[Sequence[Array], Array, Sequence[Array]], Array]


def _of_tanh(values: Sequence[Array], result: Array, d: Sequence[Array]) -> Array:
    (a,) = values
    slope = (1 / np.cosh(np.clip(np.asarray(a, np.float64), -300, 300)) ** 2).astype(a.dtype)
    return tanh_difference(a, result, slope, d[0])


def _of_sigmoid(values: Sequence[Array], result: Array, d: Sequence[Array]) -> Array:
    """`s(a + d) - s(a) = s(a) s(-a) expm1(d) / (1 + s(a) expm1(d))`."""
    (a,), (da,) = values, d
    large = np.abs(da) > LARGE
    grown = np.expm1(np.clip(da, -LARGE, LARGE))
    found: Array = result * logistic(-a) * grown / (1 + result * grown)
    return np.where(large, logistic(a + da) - result, found) if large.any() else found


DIFFERENCES: dict[str, Difference] = {
    "sum": lambda values, result, d: d[0] + d[1],
    "difference": lambda values, result, d: d[0] - d[1],
    "product": lambda values, result, d: values[0] * d[1] + d[0] * (values[1] + d[1]),
    "one minus": lambda values, result, d: -d[0],
    "negative": lambda values, result, d: -d[0],
    "tanh": _of_tanh,
    "sigmoid": _of_sigmoid,
}
EXACT = ("negative",)  # operations that no rounding touches


@dataclass
class Errors:
    """What an operation errs by at every step: at random, as one computation does, to one side."""

    noise: Noise
    deviation: Array  # [T, B, H]
    made: list[tuple[Array, Array]]  # signs [K, 1, 1] and errors [T, B, H]
    shared: tuple[Array, Array] | None = None  # shares [K, 1, 1] and the largest error [T, B, H]

    def at(self, t: int) -> Array:
        """Return the errors at a step, `[K, B, H]`."""
        found = self.noise.at(t, self.deviation[t])
        for sign, made in self.made:
            found += sign * made[t]
        if self.shared is not None:
            found += self.shared[0] * self.shared[1][t]
        return found


def layer(dx: Array, *given: object) -> tuple[Array, ...]:
    """The forward layer on differences: `(dx, dh0, replicas)`, of an LSTM with dc0.

    Args:
        dx: `[T, K * B, I]`.
        *given: each initial state's difference, `[K * B, H]`, and the replicas.

    Returns:
        Differences of the output `[T, K * B, H]`, of h_n, and of an LSTM's c at every step.
    """
    *initial, replicas = given
    assert isinstance(replicas, Replicas)
    trace = replicas.trace
    assert isinstance(trace, GatedTrace)
    step, G = trace.traced, trace.traced.gates
    T, B, _ = trace.x.shape
    H = trace.initial[0].shape[1]
    code = step.program.code[: step.forward]
    values = _values(trace, forward_only=True)
    errors, of_parts = _forward_errors(replicas, values)
    cast = replicas.cast(*values)
    to_input, to_hidden = replicas.cast(trace.cell.weight_ih.T, trace.cell.weight_hh.T)
    moved = bool(dx.any())

    before = [np.asarray(d).reshape(REPLICAS, B, H) for d in initial]
    output = [np.empty((T, REPLICAS, B, H), replicas.dtype) for _ in before]
    needed = {a for _, arguments in step.program.code[step.forward :] for a in arguments}
    replicas.kept = {
        number: np.empty((T, REPLICAS, B, H), replicas.dtype)
        for number in needed
        if number < step.program.inputs + step.forward
    }
    none = np.zeros((REPLICAS, B, G * H), replicas.dtype)
    for t in range(T):
        from_x = (dx[t] @ to_input).reshape(REPLICAS, B, G * H) if moved else none
        from_h = (before[0].reshape(REPLICAS * B, H) @ to_hidden).reshape(REPLICAS, B, G * H)
        d = [*gates(from_x, G), *gates(from_h, G), *before, *before]
        for number, part in of_parts.items():
            d[number] = d[number] + part.at(t)
        for k, (operation, arguments) in enumerate(code):
            number = step.program.inputs + k
            change = DIFFERENCES[operation](
                [cast[a][t] for a in arguments], cast[number][t], [d[a] for a in arguments]
            )
            d.append(change + errors[number].at(t) if number in errors else change)
        for number, array in replicas.kept.items():
            array[t] = d[number]
        before = [d[number] for number in step.after]
        for array, after in zip(output, before, strict=True):
            array[t] = after
        replicas.widest[t] = _widest(before, trace)
    flat = [array.reshape(T, REPLICAS * B, H) for array in output]
    return flat[0], flat[0][-1], *flat[1:]


def _widest(states: Sequence[Array], trace: GatedTrace) -> Array:
    """Return the largest unit of h in every row, and of c as far as it is to h's size, `[B]`."""
    found = []
    for d, value in zip(states, trace.states, strict=True):
        unit = np.sqrt(np.mean(np.square(d, dtype=np.float64), axis=0)).max(axis=1)
        size = np.sqrt(np.mean(np.square(value)))
        found.append(unit / size if size else unit)
    scale = np.sqrt(np.mean(np.square(trace.states[0])))
    return np.asarray(np.max(found, axis=0) * (scale or 1.0))


def _values(trace: GatedTrace, forward_only: bool = False) -> list[Array]:
    """Return all values of the program at every step, `[T, B, H]` each."""
    step, G = trace.traced, trace.traced.gates
    weight_ih, weight_hh, bias_ih, bias_hh = trace.cell
    before = trace.before
    values = [*gates(trace.x @ weight_ih.T + bias_ih, G)]
    values += [*gates(before[0] @ weight_hh.T + bias_hh, G), *before]
    values += trace.states if forward_only else trace.grad_states
    run(step.program, values, step.forward if forward_only else None)
    return values


def _forward_errors(
    replicas: Replicas, values: list[Array]
) -> tuple[dict[int, Errors], dict[int, Errors]]:
    """Return the errors of the step's operations, and of the products that none of them adds up."""
    trace, arithmetic = replicas.trace, replicas.arithmetic
    assert isinstance(trace, GatedTrace)
    step, G = trace.traced, trace.traced.gates
    code = step.program.code[: step.forward]
    plain = Trace(trace.cell, trace.x, trace.initial[0], trace.states[0], *[np.empty(0)] * 2)
    _, joint = pre_activation(plain, arithmetic)
    made = made_forward(plain, arithmetic)
    errors: dict[int, Errors] = {}
    alone: set[int] = set()
    for k, instruction in enumerate(code):
        number = step.program.inputs + k
        gate = _gate(instruction, G)
        if gate is not None:
            of_gate = [gates(each, G)[gate] for each in (joint, *made)]
            errors[number] = _errors(replicas, values[number], of_gate[0], of_gate[1:])
        else:
            alone |= {a for a in instruction.arguments if a < 2 * G}
            own = _own(replicas, instruction, values[number])
            if own is not None:
                errors[number] = own
    separate = _products(plain, arithmetic) if alone else {}
    of_parts = {}
    for number in alone:
        deviation, error = separate["h" if number >= G else "x"]
        of_parts[number] = _errors(
            replicas,
            values[number],
            gates(deviation, G)[number % G],
            [gates(error, G)[number % G]],
        )
    return errors, of_parts


def _gate(instruction: Instruction, G: int) -> int | None:
    """Return which gate's two products an instruction adds up; None if it does not."""
    a, b = (*instruction.arguments, -1)[:2]
    return a if instruction.operation == "sum" and a < G and b == a + G else None


def _products(plain: Trace, arithmetic: Arithmetic) -> dict[str, tuple[Array, Array]]:
    """Return, of the input's part and of the state's, the deviation and one computation's error."""
    weight_ih, weight_hh, bias_ih, bias_hh = plain.cell
    before = np.concatenate((plain.h0[None], plain.output[:-1]))
    found = {}
    for name, a, weight, bias in (
        ("x", plain.x, weight_ih, bias_ih),
        ("h", before, weight_hh, bias_hh),
    ):
        product, variance = arithmetic.dot(a, weight.T, np.abs(bias))
        variance = variance + arithmetic.rounded(bias, product + bias)
        rounded = arithmetic.round(a.reshape(-1, a.shape[-1]))
        made = made_product(arithmetic, rounded, arithmetic.round(weight.T)).reshape(product.shape)
        found[name] = np.sqrt(variance), made
    return found


def _own(replicas: Replicas, instruction: Instruction, value: Array) -> Errors | None:
    """Return the errors of an operation by its rounding, or None where there are none."""
    arithmetic = replicas.arithmetic
    if instruction.operation in EXACT:
        return None
    made = [arithmetic.round(value).astype(np.float64) - value]
    if instruction.operation not in ("tanh", "sigmoid"):
        return _errors(replicas, value, np.sqrt(arithmetic.rounded(value)), made)
    of = arithmetic.tanh_error if instruction.operation == "tanh" else arithmetic.logistic_error
    deviation, largest = of(value)
    errors = _errors(replicas, value, deviation, made)
    shares, largest = replicas.cast(tanh_shares(REPLICAS)[:, None, None], largest)
    errors.shared = shares * replicas.signs.draw((1, 1, 1)), largest
    return errors


def _errors(
    replicas: Replicas,
    value: Array,
    deviation: Array,
    made: Sequence[Array],
    there: Array | None = None,
) -> Errors:
    deviation = np.sqrt(deviation**2 + sum(each**2 for each in made))
    if there is not None:
        deviation, made = there * deviation, [there * each for each in made]
    deviation, *made = replicas.cast(deviation, *made)
    signs = [replicas.signs.draw((REPLICAS, 1, 1)) for _ in made]
    return Errors(replicas.noise(value), deviation, list(zip(signs, made, strict=True)))


def layer_backward(d_output: Array, *given: object) -> tuple[object, ...]:
    """The backward layer on differences; a cell's gradients come back as deviations.

    Args:
        d_output: `[T, K * B, H]`.
        *given: differences of the gradients of the last states, of x, of the initial states and of
            the output, and the replicas.
    """
    replicas = given[-1]
    assert isinstance(replicas, Replicas)
    trace, arithmetic = replicas.trace, replicas.arithmetic
    assert isinstance(trace, GatedTrace)
    step, G = trace.traced, trace.traced.gates
    count = step.states
    last, dx = given[:count], np.asarray(given[count])
    initial, output = given[count + 1 : 2 * count + 1], np.asarray(given[2 * count + 1])
    T, B, input_size = trace.x.shape
    H = trace.initial[0].shape[1]
    weight_ih, weight_hh, _, _ = trace.cell
    values = _values(trace)
    cast = replicas.cast(*values)
    grad_h = trace.grad_states[0]

    # Where a row has no gradient at all, past a sequence's end, say, zeros come of zeros, exactly.
    there = np.any([g.any(axis=2, keepdims=True) for g in trace.grad_states], axis=0)
    errors = {}
    for k in range(step.forward, len(step.program.code)):
        number = step.program.inputs + k
        value = values[number]
        if step.program.code[k].operation not in (*EXACT, "side"):
            made = [arithmetic.round(value).astype(np.float64) - value]
            deviation = np.sqrt(arithmetic.rounded(value))
            errors[number] = _errors(replicas, value, deviation, made, there)

    start = np.concatenate((grad_h[:1], grad_h[:-1]))
    recurrent, variance = arithmetic.dot(trace.grad_state, weight_hh, start)
    variance = variance + arithmetic.rounded(recurrent)
    error_h0 = np.sqrt(variance[0])
    variance = np.concatenate((variance[1:], np.zeros_like(variance[:1])))
    flat = arithmetic.round(trace.grad_state.reshape(T * B, G * H))
    made_h = made_product(arithmetic, flat, arithmetic.round(weight_hh)).reshape(recurrent.shape)
    made_h = np.concatenate((made_h[1:], np.zeros_like(made_h[:1])))
    made_h += arithmetic.round(grad_h).astype(np.float64) - grad_h
    carried = np.concatenate((recurrent[1:], np.zeros_like(recurrent[:1])))
    error_h = _errors(
        replicas, carried, np.sqrt(variance + arithmetic.rounded(grad_h)), [made_h], there
    )

    from_input, from_hidden = replicas.cast(weight_ih, weight_hh)
    upstream = d_output.reshape(T, REPLICAS, B, H)
    of_input = np.empty((T, REPLICAS, B, G * H), replicas.dtype)
    of_state = np.empty_like(of_input)
    going = [np.asarray(d).reshape(REPLICAS, B, H) for d in last]
    for t in reversed(range(T)):
        going = [going[0] + upstream[t] + error_h.at(t), *going[1:]]
        d = {number: array[t] for number, array in replicas.kept.items()}
        d |= {2 * G + count + k: change for k, change in enumerate(going)}
        for k in range(step.forward, len(step.program.code)):
            operation, arguments = step.program.code[k]
            number = step.program.inputs + k
            change = DIFFERENCES[operation](
                [cast[a][t] for a in arguments], cast[number][t], [d[a] for a in arguments]
            )
            d[number] = change + errors[number].at(t) if number in errors else change
        of_input[t] = np.concatenate([d[number] for number in step.grad_input], axis=-1)
        of_state[t] = np.concatenate([d[number] for number in step.grad_state], axis=-1)
        into = (of_state[t].reshape(REPLICAS * B, G * H) @ from_hidden).reshape(REPLICAS, B, H)
        direct = [None if number is None else d[number] for number in step.grad_before]
        zero = np.zeros_like(into)
        going = [zero if change is None else change for change in direct]
        going[0] = going[0] + into
    going[0] = going[0] + replicas.signs.draw(going[0].shape) * np.asarray(error_h0, replicas.dtype)

    into_x, variance = arithmetic.dot(trace.grad_input, weight_ih)
    flat = arithmetic.round(trace.grad_input.reshape(T * B, G * H))
    made_x = made_product(arithmetic, flat, arithmetic.round(weight_ih)).reshape(into_x.shape)
    error_x = there * np.sqrt(variance + arithmetic.rounded(into_x) + made_x**2)
    d_x = of_input.reshape(T, REPLICAS * B, G * H) @ from_input
    split = d_x.reshape(T, REPLICAS, B, input_size)
    split += replicas.signs.draw(split.shape) * np.asarray(error_x, replicas.dtype)[:, None]

    before = np.concatenate((np.asarray(initial[0])[None], output[:-1]))
    of_cell = Cell(
        weight_deviation(replicas, trace.grad_input, of_input, trace.x, dx),
        weight_deviation(replicas, trace.grad_state, of_state, trace.before[0], before),
        bias_deviation(replicas, trace.grad_input, of_input),
        bias_deviation(replicas, trace.grad_state, of_state),
    )
    return d_x, *(change.reshape(REPLICAS * B, H) for change in going), of_cell
