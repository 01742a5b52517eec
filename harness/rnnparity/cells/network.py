"""Layers, directions and layouts composed around one `layer`, for all frameworks at once.

Written on the array API: the arrays may be of any framework that `array-api-compat` knows. What
it does is what `torch.nn.RNN` does around its cell: stack layers, run the reverse direction from
each sequence's own end, pad outputs with zeros, take each final state at its own last step.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from array_api_compat import array_namespace, device, is_array_api_obj

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import ContractViolation

Layer = Callable[..., tuple[Any, ...]]


def run(
    layer: Layer,
    x: Any,
    h0: Any | None,
    cells: Sequence[Any],
    config: RNNConfig,
    lengths: Any | None = None,
    tape: "list[Call] | None" = None,
) -> tuple[Any, Any]:
    """Run a whole RNN, given what runs one layer in one direction.

    Args:
        layer: `(x [T, B, I], h0 [B, H], cell, nonlinearity) -> (output [T, B, H], h_n [B, H])`;
            of a GRU without the nonlinearity; of an LSTM `(x, h0, c0, cell) -> (output, h_n, c_n)`,
            where c of every step, `[T, B, H]`, may come in place of c_n.
        x: `[T, B, I]`, or `[B, T, I]` with `config.batch_first`, or unbatched `[T, I]`.
        h0: `[L * D, B, H]`, or `[L * D, H]` for unbatched x, or None for zeros; of an LSTM the pair
            (h0, c0) of such.
        cells: one per layer and direction, forward before reverse.
        config: the arguments of `torch.nn.RNN`.
        lengths: steps that count in each sequence, integers `[B]` from 0 to T; None for all.
        tape: gets every call of `layer`, for `backward`.

    Returns:
        The output, laid out as x with `D * H` features, and h_n, shaped as h0; of an LSTM the pair
        (h_n, c_n), with None for c_n where sequences are of unequal length and no layer says what c
        was at their ends.

    Raises:
        ContractViolation: `layer` returned a wrong shape or dtype.
    """
    batched = x.ndim == 3
    xp = array_namespace(x)
    states = _states(h0, config)
    if not batched:
        x = x[:, None, :]
        states = [None if state is None else state[:, None, :] for state in states]
    elif config.batch_first:
        x = xp.permute_dims(x, (1, 0, 2))
    shape = (config.num_cells, x.shape[1], config.hidden_size)
    states = [
        xp.zeros(shape, dtype=x.dtype, device=device(x)) if state is None else state
        for state in states
    ]
    span = None if lengths is None else _span(xp, lengths, x.shape[0])
    more = (config.nonlinearity,) if config.kind == "rnn" else ()

    finals: list[tuple[Any, ...]] = []
    for k in range(config.num_layers):
        x = x if span is None else _masked(xp, x, span)
        outputs = []
        for reverse in range(config.num_directions):
            row = k * config.num_directions + reverse
            source = _reversed(xp, x, span) if reverse else x
            before = [state[row, ...] for state in states]
            output, *last = _checked(layer(source, *before, cells[row], *more), source, config)
            if tape is not None:
                tape.append(Call(source, tuple(before), output, cells[row]))
            finals.append(_final(xp, output, last, before, span))
            outputs.append(_reversed(xp, output, span) if reverse else output)
        x = outputs[0] if len(outputs) == 1 else xp.concat(outputs, axis=2)
    output = x if span is None else _masked(xp, x, span)

    after = [_stacked(xp, rows) for rows in zip(*finals, strict=True)]
    if not batched:
        output, after = output[:, 0, :], [a if a is None else a[:, 0, :] for a in after]
    elif config.batch_first:
        output = xp.permute_dims(output, (1, 0, 2))
    return output, after[0] if len(after) == 1 else tuple(after)


def _states(given: Any, config: RNNConfig) -> list[Any]:
    """Return the initial states, None for zeros: (h0), or of an LSTM (h0, c0)."""
    count = len(config.states)
    if count == 1:
        return [given]
    return [None] * count if given is None else list(given)


def _final(
    xp: Any, output: Any, last: Sequence[Any], before: Sequence[Any], span: "_Span | None"
) -> tuple[Any, ...]:
    """Return each state at every sequence's own last step; None for one that nobody tells.

    After no step at all it is what it was before.
    """
    every = [output, *last[1:]]  # h at every step, and c, perhaps
    if span is None:
        return tuple(state[-1, ...] if state.ndim == 3 else state for state in (last[0], *last[1:]))

    def at_end(state: Any, initial: Any) -> Any:
        taken = xp.take(xp.reshape(state, (-1, state.shape[2])), span.last, axis=0)
        return xp.where(span.is_empty[:, None], initial, taken)

    return tuple(
        at_end(state, initial) if state.ndim == 3 else None
        for state, initial in zip(every, before, strict=True)
    )


def _stacked(xp: Any, rows: Sequence[Any]) -> Any:
    if any(row is None for row in rows):
        return None
    return xp.stack(rows, axis=0) if len(rows) > 1 else rows[0][None]


def for_calls(layer: Layer, config: RNNConfig) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
    """Return `run` for a configuration, as `(cells, x, h0, lengths) -> (output, h_n)`.

    Where there is nothing to compose, it adds next to nothing to a call that takes microseconds.
    """
    nonlinearity = config.nonlinearity
    one_cell = config.num_cells == 1 and not config.batch_first and config.kind == "rnn"

    def call(cells: Sequence[Any], x: Any, h0: Any, lengths: Any) -> tuple[Any, Any]:
        if one_cell and h0 is not None and lengths is None and x.ndim == 3:
            output, last = _checked(layer(x, h0[0], cells[0], nonlinearity), x, config)
            return output, last[None]
        return run(layer, x, h0, cells, config, lengths)

    return call


class Call(NamedTuple):
    """One call of `layer`, as `backward` needs it."""

    x: Any  # [T, B, I]
    before: tuple[Any, ...]  # the initial states, [B, H] each
    output: Any  # [T, B, H]
    cell: Any


LayerBackward = Callable[..., tuple[Any, ...]]


def backward(
    layer_backward: LayerBackward,
    tape: Sequence[Call],
    grad_output: Any,
    grad_h_n: Any,
    config: RNNConfig,
    lengths: Any | None = None,
) -> tuple[Any, Any, list[Any]]:
    """Differentiate what `run` did: for frameworks without autodiff, and for the truth.

    Args:
        layer_backward: `(grad_output, grad_h_n, x, h0, output, cell, nonlinearity) ->
            (grad_x, grad_h0, grad_cell)`, all shaped as what they are the gradients of; of a GRU
            without the nonlinearity; of an LSTM `(grad_output, grad_h_n, grad_c_n, x, h0, c0,
            output, cell) -> (grad_x, grad_h0, grad_c0, grad_cell)`.
        tape: what `run` put on it.
        grad_output: laid out as the output.
        grad_h_n: laid out as h_n; of an LSTM the pair (grad_h_n, grad_c_n). With unequal lengths
            grad_c_n is not looked at.
        config: as given to `run`.
        lengths: as given to `run`.

    Returns:
        The gradient of x, laid out as x; of h0, laid out as h0 (of an LSTM the pair of both); and
        of every cell.
    """
    xp = array_namespace(grad_output)
    batched = grad_output.ndim == 3
    grad_last = _states(grad_h_n, config)
    if not batched:
        grad_output, grad_last = grad_output[:, None, :], [g[:, None, :] for g in grad_last]
    elif config.batch_first:
        grad_output = xp.permute_dims(grad_output, (1, 0, 2))
    span = None if lengths is None else _span(xp, lengths, grad_output.shape[0])
    H, D = config.hidden_size, config.num_directions
    more = (config.nonlinearity,) if config.kind == "rnn" else ()

    grad_before: list[Sequence[Any]] = [()] * config.num_cells
    grad_cells: list[Any] = [None] * config.num_cells
    grad_x = grad_output
    for k in reversed(range(config.num_layers)):
        upstream = grad_x if span is None else _masked(xp, grad_x, span)
        grads_x = []
        for reverse in range(D):
            row = k * D + reverse
            call = tape[row]
            grad = upstream[:, :, reverse * H : (reverse + 1) * H]
            grad = _reversed(xp, grad, span) if reverse else grad
            last = [g[row, ...] for g in grad_last]
            if span is not None:
                zeros = xp.zeros_like(grad)
                grad = grad + xp.where(span.is_last[:, :, None], last[0][None, ...], zeros)
                empty = xp.where(span.is_empty[:, None], last[0], xp.zeros_like(last[0]))
                last = [xp.zeros_like(g) for g in last]
            made = layer_backward(grad, *last, call.x, *call.before, call.output, call.cell, *more)
            of_x, *of_states, grad_cells[row] = _counted(made, config)
            if span is not None:
                of_states[0] = of_states[0] + empty
            grad_before[row] = of_states
            grads_x.append(_reversed(xp, of_x, span) if reverse else of_x)
        grad_x = grads_x[0] if D == 1 else grads_x[0] + grads_x[1]
    grad_x = grad_x if span is None else _masked(xp, grad_x, span)

    whole = [xp.stack(rows, axis=0) for rows in zip(*grad_before, strict=True)]
    if not batched:
        grad_x, whole = grad_x[:, 0, :], [g[:, 0, :] for g in whole]
    elif config.batch_first:
        grad_x = xp.permute_dims(grad_x, (1, 0, 2))
    return grad_x, whole[0] if len(whole) == 1 else tuple(whole), grad_cells


def _counted(made: Any, config: RNNConfig) -> tuple[Any, ...]:
    """Return what a `layer_backward` returned, if it is as many as there should be."""
    names = ["grad_x", *(f"grad_{state}0" for state in config.states), "grad_cell"]
    if not isinstance(made, tuple | list) or len(made) != len(names):
        size = f" of {len(made)}" if isinstance(made, tuple | list) else ""
        raise ContractViolation(
            f"layer_backward returned a {type(made).__name__}{size}, expected ({', '.join(names)})"
        )
    return tuple(made)


def in_cell_order(array: Any, lengths: Any | None, reverse: bool) -> Any:
    """Return `[T, B, features]` in the order in which a direction's cell reads or makes it."""
    xp = array_namespace(array)
    span = None if lengths is None else _span(xp, lengths, array.shape[0])
    return _reversed(xp, array, span) if reverse else array


class _Span(NamedTuple):
    """Where the sequences of a padded batch lie in `[T * B, features]`."""

    inside: Any  # [T, B], whether the step counts
    is_last: Any  # [T, B], whether the step is its sequence's last
    is_empty: Any  # [B], whether the sequence has no step
    last: Any  # [B], row of each sequence's last step; of an empty one, of its first
    reversal: Any  # [T * B], rows in the order of the reversed sequences, padding left in place


def _span(xp: Any, lengths: Any, T: int) -> _Span:
    B = lengths.shape[0]
    steps = xp.arange(T, dtype=lengths.dtype, device=device(lengths))[:, None]
    sequence = xp.arange(B, dtype=lengths.dtype, device=device(lengths))
    inside = steps < lengths[None, :]
    mirrored = xp.where(inside, lengths[None, :] - 1 - steps, steps)
    return _Span(
        inside,
        steps == lengths[None, :] - 1,
        lengths == 0,
        xp.where(lengths > 0, lengths - 1, xp.zeros_like(lengths)) * B + sequence,
        xp.reshape(mirrored * B + sequence, (T * B,)),
    )


def _masked(xp: Any, a: Any, span: _Span) -> Any:
    return xp.where(span.inside[:, :, None], a, xp.zeros_like(a))


def _reversed(xp: Any, a: Any, span: _Span | None) -> Any:
    if span is None:
        return xp.flip(a, axis=0)
    rows = xp.take(xp.reshape(a, (-1, a.shape[2])), span.reversal, axis=0)
    return xp.reshape(rows, a.shape)


def _checked(result: Any, x: Any, config: RNNConfig) -> tuple[Any, ...]:
    """Return what a layer returned: the output, and its last states."""
    T, B, _ = x.shape
    H, names = config.hidden_size, ["output", *(f"{name}_n" for name in config.states)]
    if (
        isinstance(result, tuple)
        and len(result) == len(names)
        and all(type(a) is type(x) and a.dtype == x.dtype for a in result)
        and result[0].shape == (T, B, H)
        and all(a.shape == (B, H) for a in result[1:])
    ):
        return result  # what nearly every call comes to, and what is timed
    if not isinstance(result, tuple | list) or len(result) != len(names):
        size = f" of {len(result)}" if isinstance(result, tuple | list) else ""
        raise ContractViolation(
            f"layer returned a {type(result).__name__}{size}, expected ({', '.join(names)})"
        )
    for name, value in zip(names, result, strict=True):
        if not is_array_api_obj(value) or array_namespace(value) is not array_namespace(x):
            raise ContractViolation(
                f"layer returned {name} as a {type(value).__name__}, expected an array like x"
            )
        shapes: list[tuple[int, ...]] = [(T, B, H)] if name == "output" else [(B, H)]
        shapes += [(T, B, H)] if name == "c_n" else []
        if tuple(value.shape) not in shapes:
            raise ContractViolation(
                f"layer returned {name} of shape {tuple(value.shape)}, expected {shapes[0]}"
            )
        if value.dtype != x.dtype:
            raise ContractViolation(
                f"layer returned {name} in {value.dtype}, expected {x.dtype}: "
                "compute in the dtype of x"
            )
    return tuple(result)
