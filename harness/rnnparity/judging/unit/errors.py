"""What the operations of a step err by along a trajectory, in every replica."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnparity.cells.operations import OPERATIONS
from rnnparity.cells.program import Instruction
from rnnparity.judging.unit import products
from rnnparity.judging.unit.arithmetic import AT_ONCE, tanh_shares
from rnnparity.judging.unit.replicas import SMALLEST, Noise, Replicas
from rnnparity.problems.arrays import REPLICAS
from rnnparity.types import Array

# Errors that are less, of zeros by underflow, are none where differences are followed in float32:
# they would be no normal numbers soon, with which processors are slow.
UNSEEN = SMALLEST * 2.0**-26

EXACT = ("negative", "nothing", "relu", "slope of relu")  # operations that no rounding touches


@dataclass
class Errors:
    """What an operation errs by at every step: at random, as one computation does, to one side."""

    noise: Noise
    deviation: Array  # [T, B, H]
    shares: Array  # [K, n], of each of the errors below, in every replica
    sure: Array  # [T, n, B * H]: what is no matter of chance but for its sign
    drawn: range = range(0)  # the steps of what was drawn last
    last: Array | None = None  # [len(drawn), K, B, H]

    def at(self, t: int) -> Array:
        """Return the errors at a step, `[K, B, H]`."""
        if self.last is None or t not in self.drawn:
            T, size = len(self.deviation), self.noise.persistent.size
            count = max(1, AT_ONCE // size)
            self.drawn = range(t - t % count, min(T, t - t % count + count))
            steps = slice(self.drawn.start, self.drawn.stop)
            self.last = self.noise.at(self.drawn)
            self.last *= self.deviation[steps, None]
            self.last += (self.shares @ self.sure[steps]).reshape(self.last.shape)
        at_step: Array = self.last[t - self.drawn.start]
        return at_step


def errors(
    replicas: Replicas,
    value: Array,
    deviation: Array,
    made: Sequence[Array],
    one_sided: Array | None = None,
    there: Array | float = 1.0,
) -> Errors:
    """Return the errors of what has a value at every step, `[T, B, H]`.

    Args:
        replicas: that err.
        value: what is computed.
        deviation: standard deviation of what is different in every element.
        made: errors that right computations really make; each replica has each, or its opposite.
        one_sided: the largest error that is the same in every element but for the value's sign.
        there: 0 where nothing errs, `[T, B, 1]`.
    """
    T = len(value)
    shares = [replicas.signs.draw((REPLICAS,)) for _ in made]
    sure = [there * each for each in made]
    deviation = there * deviation
    if one_sided is None:
        deviation = np.sqrt(deviation**2 + sum(each**2 for each in sure))
    else:
        shares.append(tanh_shares(REPLICAS))
        sure.append(one_sided)
    flat = np.stack([each.reshape(T, -1) for each in sure], axis=1)
    if replicas.dtype == np.float32:
        deviation, flat = (np.where(np.abs(a) < UNSEEN, 0, a) for a in (deviation, flat))
    deviation, weights, flat = replicas.cast(deviation, np.stack(shares, axis=1), flat)
    return Errors(replicas.noise(value), deviation, weights, flat)


def of_step(replicas: Replicas, values: list[Array]) -> tuple[dict[int, Errors], dict[int, Errors]]:
    """Return the errors of a step's operations, and of the products that none of them adds up.

    Args:
        replicas: that err.
        values: all values of the program at every step.

    Returns:
        By the numbers of the results, and by those of the parts.
    """
    trace, arithmetic, step = replicas.trace, replicas.arithmetic, replicas.trace.step
    G, first = step.gates, step.program.inputs
    before = trace.before[0]
    joint = np.split(products.joint(trace, arithmetic, before)[1], G, axis=2)
    made = [np.split(each, G, axis=2) for each in products.made_joint(trace, arithmetic)]
    found: dict[int, Errors] = {}
    alone: set[int] = set()
    for k, instruction in enumerate(step.program.code[: step.forward]):
        gate, number = _gate(instruction, G), first + k
        if gate is not None:
            made_here = [each[gate] for each in made]
            found[number] = errors(replicas, values[number], joint[gate], made_here)
            continue
        alone |= {a for a in instruction.arguments if a < 2 * G}
        own = of_operation(replicas, instruction, values[number], values)
        if own is not None:
            found[number] = own
    parts: dict[int, Errors] = {}
    separate = products.separate(trace, arithmetic, before) if alone else {}
    for number in sorted(alone):
        deviation, error = (np.split(a, G, axis=2) for a in separate["h" if number >= G else "x"])
        gate = number % G
        parts[number] = errors(replicas, values[number], deviation[gate], [error[gate]])
    return found, parts


def _gate(instruction: Instruction, G: int) -> int | None:
    """Return which gate's two products an instruction adds up; None if it does not."""
    a, b = (*instruction.arguments, -1)[:2]
    return a if instruction.operation == "sum" and a < G and b == a + G else None


def of_operation(
    replicas: Replicas,
    instruction: Instruction,
    value: Array,
    values: list[Array],
    there: Array | float = 1.0,
) -> Errors | None:
    """Return the errors of an operation by its rounding, or None where there are none.

    Args:
        replicas: that err.
        instruction: which operation of which values.
        value: what comes of it, at every step.
        values: all values of the program at every step.
        there: 0 where nothing errs, `[T, B, 1]`.
    """
    arithmetic, name = replicas.arithmetic, instruction.operation
    one_sided = None
    if name in EXACT:
        return None
    if name in ("tanh", "sigmoid"):
        of = arithmetic.tanh_error if name == "tanh" else arithmetic.logistic_error
        deviation, one_sided = of(value)
    elif name == "slope of tanh":
        deviation = np.sqrt(arithmetic.rounded(values[instruction.arguments[0]] ** 2, value))
    elif name == "slope of sigmoid":
        deviation = np.sqrt(arithmetic.rounded(value, value))
    else:
        variance = arithmetic.rounded(value)
        if name == "product":
            variance = variance + _opened(replicas, instruction.arguments, values)
        deviation = np.sqrt(variance)
    if name.startswith("slope"):
        # As it is made of the result in the dtype.
        y = arithmetic.round(values[instruction.arguments[0]])
        exact = OPERATIONS[name].apply(*arithmetic.higher(y))
        made = OPERATIONS[name].apply(y).astype(exact.dtype) - exact
    else:
        made = arithmetic.round(value).astype(np.float64) - value
    return errors(replicas, value, deviation, [made], one_sided, there)


def _opened(replicas: Replicas, factors: tuple[int, ...], values: list[Array]) -> Array | float:
    """Return the variance of a product whose factor `1 - y` may be multiplied out: of `y` times it.

    Right implementations have `a - y a` for `(1 - y) a`, or another form of it.
    """
    program = replicas.trace.step.program
    variance: Array | float = 0.0
    for one, other in (factors, factors[::-1]):
        made = program.code[one - program.inputs] if one >= program.inputs else None
        if made is not None and made.operation == "one minus":
            y = values[made.arguments[0]]
            variance = variance + replicas.arithmetic.rounded(y * values[other])
    return variance
