"""The commonest mistakes inside one layer of the forward pass.

A layer here is of any kind: its states come side by side, `[B, S * H]`, h first, and in place of a
nonlinearity it is told the kind of a gated cell.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnparity.cells import network, recurrence
from rnnparity.cells.config import Cell, RNNConfig
from rnnparity.cells.recurrence import Trace, traced_step
from rnnparity.judging.mistakes.mistake import GATED, PLAIN, Forward, Mistake, product
from rnnparity.problems.cases import Case
from rnnparity.problems.setup import Setup
from rnnparity.types import Array

# Also what is seen where weights were taken to be of the other nonlinearity.
EXCHANGED = "relu and tanh exchanged"

Activation = Callable[[Array], Array]
Step = Callable[[Array, Array, Cell, Activation], Array]


def activation(nonlinearity: str) -> Activation:
    """Return a plain RNN's right nonlinearity."""
    if nonlinearity == "relu":
        return lambda a: np.maximum(a, a.dtype.type(0))
    return np.tanh


def right_step(x_t: Array, h: Array, cell: Cell, activate: Activation) -> Array:
    """One right step of a plain RNN."""
    from_x = product(x_t, cell.weight_ih.T) + cell.bias_ih
    return activate(from_x + product(h, cell.weight_hh.T) + cell.bias_hh)


def layer_of(step: Step = right_step) -> network.Layer:
    """Return a plain RNN's layer that loops over a step."""

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        h, output = h0, np.empty((*x.shape[:2], h0.shape[1]), x.dtype)
        for t, x_t in enumerate(x):
            output[t] = step(x_t, h, cell, activation(nonlinearity))
            h = output[t]
        return output, h

    return layer


_plain = layer_of()


def right_layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    """A right layer: all states `[T, B, S * H]`, and the last ones."""
    if nonlinearity not in GATED:
        return _plain(x, h0, cell, nonlinearity)
    H = cell.weight_hh.shape[1]
    config = RNNConfig(input_size=x.shape[2], hidden_size=H, kind=nonlinearity)
    trace = Trace(cell, traced_step(config))
    recurrence.layer(x, *np.split(h0, h0.shape[1] // H, axis=1), trace)
    states = np.concatenate(trace.states, axis=2)
    return states, states[-1]


def run(
    s: Setup, layer: network.Layer = right_layer, tape: list[network.Call] | None = None
) -> tuple[Array, Any]:
    """Run a whole network of any kind with a layer whose states come side by side."""
    if s.config.kind == "rnn":
        return s.run(layer, tape)

    def parted(x: Array, *given: Any) -> tuple[Array, ...]:
        *states, cell = given
        output, last = layer(x, np.concatenate(states, axis=1), cell, s.config.kind)
        h, *others = np.split(output, len(states), axis=2)
        h_n, *finals = np.split(last, len(states), axis=1)
        # Where a sequence ends within the batch, c has to be seen there, too.
        return h, h_n, *(finals if s.lengths is None else others)

    return s.run(parted, tape)


def each_state(s: Setup, change: Callable[[Array], Array]) -> Setup:
    """Change the initial states, `[L * D, B, H]` each."""
    return s.replace(h0=change(s.h0), c0=None if s.c0 is None else change(s.c0))


def each_final(result: tuple[Array, Any], change: Callable[[Array], Array]) -> tuple[Array, Any]:
    """Change the last states, `[L * D, B, H]` each."""
    output, last = result
    return output, tuple(map(change, last)) if isinstance(last, tuple) else change(last)


def with_cells(change: Callable[[Cell], Cell]) -> Forward:
    """A mistake in the parameters."""
    return lambda s: run(s.replace(cells=[change(cell) for cell in s.cells]))


def with_step(step: Step) -> Forward:
    """A mistake inside one step of a plain RNN."""
    return lambda s: s.run(layer_of(step))


def with_state(change: Callable[[Array], Array]) -> Forward:
    """A mistake in the states that every step reads, `[B, S * H]`."""

    def layer(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
        states, output = h0, []
        for t in range(len(x)):
            _, states = right_layer(x[t : t + 1], change(states), cell, nonlinearity)
            output.append(states)
        return np.stack(output), states

    return with_layer(layer)


def with_layer(layer: network.Layer) -> Forward:
    """A mistake in the loop over time."""
    return lambda s: run(s, layer)


def with_activation(wrong: Callable[[Array, Activation], Array]) -> Forward:
    """A mistake in a plain RNN's nonlinearity."""

    def step(x_t: Array, h: Array, cell: Cell, activate: Activation) -> Array:
        return right_step(x_t, h, cell, lambda a: wrong(a, activate))

    return with_step(step)


def rounded_to(bits: int, array: Array) -> Array:
    """Round to a number of significant bits, to nearest."""
    mantissa, exponent = np.frexp(array.astype(np.longdouble))
    rounded = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return np.asarray(rounded, array.dtype)


def _round_cell(bits: int) -> Forward:
    return with_cells(
        lambda c: c._replace(
            weight_ih=rounded_to(bits, c.weight_ih), weight_hh=rounded_to(bits, c.weight_hh)
        )
    )


def _round_state(bits: int) -> Forward:
    return with_state(lambda h: rounded_to(bits, h))


def _reset_halfway(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    half = max(1, len(x) // 2)
    first, last = right_layer(x[:half], h0, cell, nonlinearity)
    if half == len(x):
        return first, last
    second, last = right_layer(x[half:], np.zeros_like(h0), cell, nonlinearity)
    return np.concatenate((first, second)), last


def _always_from_h0(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    steps = [right_layer(x[t : t + 1], h0, cell, nonlinearity)[1] for t in range(len(x))]
    return np.stack(steps), steps[-1]


def _late_input(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    return right_layer(np.concatenate((np.zeros_like(x[:1]), x[:-1])), h0, cell, nonlinearity)


def _output_before_update(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    output, last = right_layer(x, h0, cell, nonlinearity)
    return np.concatenate((h0[None], output[:-1])), last


def _last_step_skipped(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    output, _ = right_layer(x, h0, cell, nonlinearity)
    before = output[-2] if len(x) > 1 else h0
    return np.concatenate((output[:-1], before[None])), before


def _bias_at_first_step(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    zeros = np.zeros_like(cell.bias_ih)
    first, last = right_layer(x[:1], h0, cell, nonlinearity)
    without = cell._replace(bias_ih=zeros, bias_hh=zeros)
    if len(x) == 1:
        return first, last
    rest, last = right_layer(x[1:], last, without, nonlinearity)
    return np.concatenate((first, rest)), last


def _pre_activation(x: Array, h0: Array, cell: Any, nonlinearity: str) -> tuple[Array, Array]:
    _, last = right_layer(x, h0, cell, nonlinearity)
    h, output = h0, []
    for x_t in x:
        a = right_step(x_t, h, cell, lambda a: a)
        h = activation(nonlinearity)(a)
        output.append(a)
    return np.stack(output), last


def _bias_outside(x_t: Array, h: Array, cell: Cell, activate: Activation) -> Array:
    inside = product(x_t, cell.weight_ih.T) + product(h, cell.weight_hh.T) + cell.bias_hh
    return np.asarray(activate(inside) + cell.bias_ih)


def _rational_tanh(a: Array, activate: Activation) -> Array:
    if activate is not np.tanh:
        return activate(a)
    clipped = np.clip(a, -3, 3)
    squared = clipped * clipped
    return np.asarray(clipped * (27 + squared) / (27 + 9 * squared), a.dtype)


def _drop(*names: str) -> Forward:
    return with_cells(lambda c: c._replace(**{n: np.zeros_like(getattr(c, n)) for n in names}))


def _double(name: str) -> Forward:
    return with_cells(lambda c: c._replace(**{name: getattr(c, name) + getattr(c, name)}))


def transposed(*names: str) -> Callable[[Cell], Cell]:
    """Return what transposes weights, each gate's block alone; what is not square stays."""

    def change(cell: Cell) -> Cell:
        H, turned = cell.weight_hh.shape[1], {}
        for name in names:
            weight = getattr(cell, name)
            if weight.shape[1] == H:
                blocks = np.split(weight, len(weight) // H)
                turned[name] = np.concatenate([block.T for block in blocks])
        return cell._replace(**turned)

    return change


def _other_nonlinearity(a: Array, activate: Activation) -> Array:
    return np.maximum(a, a.dtype.type(0)) if activate is np.tanh else np.tanh(a)


def square(case: Case) -> bool:
    """Whether the first layer's weight_ih is square, or each gate's block of it."""
    return case.config.input_size == case.config.hidden_size


MISTAKES = (
    Mistake(
        "weight_hh transposed",
        "Keras and Flax keep kernels as (in, out), torch as (out, in); no shape complains",
        with_cells(transposed("weight_hh")),
        kinds=PLAIN,
    ),
    Mistake(
        "weight_ih transposed",
        "the same with as many inputs as hidden units",
        with_cells(transposed("weight_ih")),
        when=square,
        kinds=PLAIN,
    ),
    Mistake(
        "weight_ih and weight_hh transposed",
        "all weights of such a layer as (in, out)",
        with_cells(transposed("weight_ih", "weight_hh")),
        when=square,
        kinds=PLAIN,
    ),
    Mistake(
        "bias_hh dropped", "a port to a framework with one bias takes bias_ih", _drop("bias_hh")
    ),
    Mistake("bias_ih dropped", "the same, taking bias_hh", _drop("bias_ih")),
    Mistake("both biases dropped", "a port written for bias=False", _drop("bias_ih", "bias_hh")),
    Mistake("bias_ih doubled", "added to the hoisted input and in the step", _double("bias_ih")),
    Mistake("bias_hh doubled", "the same with bias_hh", _double("bias_hh")),
    Mistake(
        "the biases added at the first step only",
        "biases folded into the initial state of an accumulator that is not kept",
        with_layer(_bias_at_first_step),
    ),
    Mistake(
        "bias_ih outside the nonlinearity",
        "a misread formula",
        with_step(_bias_outside),
        kinds=PLAIN,
    ),
    Mistake(
        "h0 ignored",
        "a stateful API starts from zeros",
        lambda s: run(each_state(s, np.zeros_like)),
    ),
    Mistake(
        "the recurrence dropped",
        "a dense layer over time; ONNX's node cases to 1.22 accept it",
        with_state(np.zeros_like),
    ),
    Mistake("every step started from h0", "the carry is not carried", with_layer(_always_from_h0)),
    Mistake("the state reset halfway", "chunks that forget the state", with_layer(_reset_halfway)),
    Mistake("the input one step late", "an off-by-one in a pipeline", with_layer(_late_input)),
    Mistake(
        "the output one step late",
        "the carry is emitted before its update",
        with_layer(_output_before_update),
    ),
    Mistake("the last step skipped", "range(T - 1)", with_layer(_last_step_skipped)),
    Mistake(
        "the output taken before the nonlinearity",
        "wrong value kept",
        with_layer(_pre_activation),
        kinds=PLAIN,
    ),
    Mistake(
        EXCHANGED,
        "a default of another library (Haiku's VanillaRNN is relu)",
        with_activation(_other_nonlinearity),
        kinds=PLAIN,
    ),
    Mistake(
        "the nonlinearity left out", "a linear layer", with_activation(lambda a, f: a), kinds=PLAIN
    ),
    Mistake(
        "the nonlinearity applied twice",
        "a fused activation and a separate one",
        with_activation(lambda a, f: f(f(a)) if f is np.tanh else f(a)),
        kinds=PLAIN,
    ),
    Mistake(
        "hard tanh instead of tanh",
        "a quantised or mobile backend",
        with_activation(
            lambda a, f: np.clip(a, a.dtype.type(-1), a.dtype.type(1)) if f is np.tanh else f(a)
        ),
        kinds=PLAIN,
    ),
    Mistake(
        "a rational tanh good to two digits",
        "a shader's approximation",
        with_activation(_rational_tanh),
        kinds=PLAIN,
    ),
    Mistake(
        "tanh off by 5e-4",
        "a table of tanh; ONNX's node cases to 1.22 accept it",
        with_activation(lambda a, f: f(a) * a.dtype.type(1 - 5e-4) if f is np.tanh else f(a)),
        kinds=PLAIN,
    ),
    Mistake(
        "the state shared between batch rows",
        "a wrong stride",
        with_state(lambda h: np.roll(h, 1, axis=0)),
    ),
    Mistake("weights rounded to TF32", "a GPU's default matmul precision", _round_cell(11)),
    Mistake("weights rounded to bfloat16", "a checkpoint saved in half", _round_cell(8)),
    Mistake("the state rounded to float16 at every step", "mixed precision", _round_state(11)),
    Mistake("the state rounded to bfloat16 at every step", "mixed precision", _round_state(8)),
)
