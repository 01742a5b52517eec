"""The states of a network, of every layer at every step: what an output or h_n may be in truth."""

from collections.abc import Iterator

import numpy as np

from rnnparity.cells.network import in_cell_order
from rnnparity.cells.recurrence import Trace
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.relation.equal import OF_SLICE, Other
from rnnparity.judging.relation.parts import Part
from rnnparity.problems.quantities import quantity
from rnnparity.types import Array


def others(part: Part, reference: Reference) -> Iterator[Other]:
    """Yield what else a quantity that is no parameter's may equal.

    Args:
        part: of the quantity.
        reference: of the case.
    """
    name = part.name
    of = quantity(name)
    if name == "output":
        yield from _for_output(part, reference)
    elif name == "grad_x":
        yield from _for_grad_x(part, reference)
    elif of.is_state and not of.is_next:
        yield from _for_states(part, reference)


def initial(part: Part, reference: Reference) -> Array | None:
    """Return the last layer's first states, shaped as a step of the output; else None."""
    if part.name != "output":
        return None
    D = reference.true.config.num_directions
    first = np.stack([trace.h0 for trace in reference.true.traces[-D:]], axis=1)
    size = int(np.prod(part.true.shape[1:]))
    return first.reshape(part.true.shape[1:]) if first.size == size else None


def _for_output(part: Part, reference: Reference) -> Iterator[Other]:
    """Other layers' outputs, an LSTM's c, the input, and sequences turned in their own lengths."""
    true, config = reference.true, reference.true.config
    D = config.num_directions
    unit = _largest(part, 1)
    for layer in range(config.num_layers):
        for k, state in enumerate(config.states):
            if layer == config.num_layers - 1 and k == 0:
                continue
            traces = true.traces[layer * D : (layer + 1) * D]
            made = [
                in_cell_order(trace.states[k], true.lengths, d == 1)
                for d, trace in enumerate(traces)
            ]
            of = f" of layer {layer}" if config.num_layers > 1 else ""
            words = f"the truth's {state}{of}" if k else f"the output{of}"
            yield Other(words, np.stack(made, axis=2).reshape(part.true.shape), unit, part.judged)
    x = true.traces[0].x
    if x.size == part.true.size:
        yield Other("the input", x.reshape(part.true.shape), part.unit, part.judged)
    if true.lengths is not None and part.axis("row") == 1:
        yield from _by_length(part, true.lengths)


def _by_length(part: Part, lengths: Array) -> Iterator[Other]:
    """The truth at other steps, sequence by sequence."""
    steps, rows = np.arange(part.true.shape[0])[:, None], np.arange(len(lengths))
    late = steps - (len(steps) - lengths)
    within = {
        "with each sequence in reversed order": lengths - 1 - steps,
        "with each sequence rolled by 1, cyclically": (steps - 1) % lengths,
        "with each sequence rolled by -1, cyclically": (steps + 1) % lengths,
    }
    moves = {words: np.where(steps < lengths, t, steps) for words, t in within.items()}
    moves["at the last step of each sequence"] = np.minimum(steps, lengths - 1)
    # Before a shorter sequence there is what is in its padding, at the last step.
    moves["with each sequence moved to the end"] = np.where(late >= 0, late, -1)
    for words, source in moves.items():
        values, unit, judged = (a[source, rows] for a in (part.true, part.unit, part.judged))
        yield Other(f"the truth {words}", values, unit, judged)


def _for_states(part: Part, reference: Reference) -> Iterator[Other]:
    """States after other steps than the last, of each cell; the initial ones, and c for h."""
    true, config = reference.true, reference.true.config
    of = quantity(part.name)
    which = config.states.index(of.kind[0])
    unit = _largest(part, part.true.ndim - 1)

    def other(words: str, array: Array) -> Other:
        return Other(words, array.reshape(part.true.shape), unit, part.judged)

    if of.is_gradient:
        made = np.stack([trace.grad_states[which] for trace in true.traces])  # [L * D, T, R, H]
        seen = "the gradient of the state after step"
    else:
        made = np.stack([trace.states[which] for trace in true.traces])
        plain = config.num_layers == 1 and not which and true.lengths is None
        seen = "the output at step" if plain else "the state after step"
        given = [(t.h0, *getattr(t, "initial", ())[1:])[which] for t in true.traces]
        yield other(f"{of.kind[0]}0", np.stack(given))
        for k, state in enumerate(config.states):
            if k != which:
                yield other(f"{state}_n", np.stack([trace.states[k][-1] for trace in true.traces]))
    T, axis = made.shape[1], part.axis("direction")
    backwards = axis is not None and part.along(axis, part.wrong) == [1]
    for step in _alike(part, made.swapaxes(0, 1), unit):
        yield other(f"{seen} {T - 1 - step if backwards else step}", made[:, step])
    if true.lengths is None or of.is_gradient:
        return
    rows, backs = np.arange(len(true.lengths)), range(1, int(true.lengths.max()))
    ends = [made[:, np.maximum(true.lengths - 1 - back, 0), rows] for back in backs]
    for k in _alike(part, np.array(ends), unit) if ends else ():
        far = "one step" if k == 0 else f"{k + 1} steps"
        yield other(f"the state {far} before the last of each sequence", ends[k])


def _alike(part: Part, arrays: Array, unit: Array) -> list[int]:
    """Return which of many arrays are like what is wrong, by a few of its elements."""
    some = np.flatnonzero(part.wrong)
    some = some[:: max(1, len(some) // OF_SLICE)]
    near = np.abs(arrays.reshape(len(arrays), -1)[:, some] - part.found.flat[some])
    return [int(i) for i in np.flatnonzero((near <= LIMIT * unit.flat[some]).all(axis=1))[::-1]]


def _largest(part: Part, axis: int) -> Array:
    """Return the largest unit along axes from one on: of what else there is none is kept."""
    over = tuple(range(axis, part.unit.ndim))
    return np.broadcast_to(part.unit.max(axis=over, keepdims=True), part.unit.shape)


def _for_grad_x(part: Part, reference: Reference) -> Iterator[Other]:
    """What one direction alone brings to it."""
    true, config = reference.true, reference.true.config
    if config.num_directions == 1:
        return
    for d, name in enumerate(("forward", "reverse")):
        trace: Trace = true.traces[d]
        own = in_cell_order(trace.grad_input @ trace.cell.weight_ih, true.lengths, d == 1)
        values = own.reshape(part.true.shape)
        yield Other(f"that of the {name} direction alone", values, part.unit, part.judged)
