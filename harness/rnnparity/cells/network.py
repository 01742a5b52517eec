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

Layer = Callable[[Any, Any, Any, str], tuple[Any, Any]]


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
        layer: `(x [T, B, I], h0 [B, H], cell, nonlinearity) -> (output [T, B, H], h_n [B, H])`.
        x: `[T, B, I]`, or `[B, T, I]` with `config.batch_first`, or unbatched `[T, I]`.
        h0: `[L * D, B, H]`, or `[L * D, H]` for unbatched x, or None for zeros.
        cells: one per layer and direction, forward before reverse.
        config: the arguments of `torch.nn.RNN`.
        lengths: steps that count in each sequence, integers `[B]` from 1 to T; None for all.
        tape: gets every call of `layer`, for `backward`.

    Returns:
        The output, laid out as x with `D * H` features, and h_n, shaped as h0.

    Raises:
        ContractViolation: `layer` returned a wrong shape or dtype.
    """
    batched = x.ndim == 3
    xp = array_namespace(x)
    if not batched:
        x = x[:, None, :]
        h0 = None if h0 is None else h0[:, None, :]
    elif config.batch_first:
        x = xp.permute_dims(x, (1, 0, 2))
    if h0 is None:
        shape = (config.num_cells, x.shape[1], config.hidden_size)
        h0 = xp.zeros(shape, dtype=x.dtype, device=device(x))
    span = None if lengths is None else _span(xp, lengths, x.shape[0])

    h_n = []
    for k in range(config.num_layers):
        x = x if span is None else _masked(xp, x, span)
        outputs = []
        for reverse in range(config.num_directions):
            row = k * config.num_directions + reverse
            source = _reversed(xp, x, span) if reverse else x
            output, last = layer(source, h0[row], cells[row], config.nonlinearity)
            _check(output, last, source, config.hidden_size)
            if tape is not None:
                tape.append(Call(source, h0[row], output, cells[row]))
            if span is not None:
                last = xp.take(xp.reshape(output, (-1, output.shape[2])), span.last, axis=0)
            outputs.append(_reversed(xp, output, span) if reverse else output)
            h_n.append(last)
        x = outputs[0] if len(outputs) == 1 else xp.concat(outputs, axis=2)
    output = x if span is None else _masked(xp, x, span)

    final = xp.stack(h_n, axis=0) if len(h_n) > 1 else h_n[0][None]
    if not batched:
        return output[:, 0, :], final[:, 0, :]
    return (xp.permute_dims(output, (1, 0, 2)) if config.batch_first else output), final


def for_calls(layer: Layer, config: RNNConfig) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
    """Return `run` for a configuration, as `(cells, x, h0, lengths) -> (output, h_n)`.

    Where there is nothing to compose, it adds next to nothing to a call that takes microseconds.
    """
    nonlinearity, H = config.nonlinearity, config.hidden_size
    one_cell = config.num_cells == 1 and not config.batch_first

    def call(cells: Sequence[Any], x: Any, h0: Any, lengths: Any) -> tuple[Any, Any]:
        if one_cell and h0 is not None and lengths is None and x.ndim == 3:
            output, last = layer(x, h0[0], cells[0], nonlinearity)
            _check(output, last, x, H)
            return output, last[None]
        return run(layer, x, h0, cells, config, lengths)

    return call


class Call(NamedTuple):
    """One call of `layer`, as `backward` needs it."""

    x: Any  # [T, B, I]
    h0: Any  # [B, H]
    output: Any  # [T, B, H]
    cell: Any


LayerBackward = Callable[..., tuple[Any, Any, Any]]


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
            (grad_x, grad_h0, grad_cell)`, all shaped as what they are the gradients of.
        tape: what `run` put on it.
        grad_output: laid out as the output.
        grad_h_n: laid out as h_n.
        config: as given to `run`.
        lengths: as given to `run`.

    Returns:
        The gradient of x, laid out as x; of h0, laid out as h0; and of every cell.
    """
    xp = array_namespace(grad_output)
    batched = grad_output.ndim == 3
    if not batched:
        grad_output, grad_h_n = grad_output[:, None, :], grad_h_n[:, None, :]
    elif config.batch_first:
        grad_output = xp.permute_dims(grad_output, (1, 0, 2))
    span = None if lengths is None else _span(xp, lengths, grad_output.shape[0])
    H, D = config.hidden_size, config.num_directions

    grad_h0: list[Any] = [None] * config.num_cells
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
            grad_last = grad_h_n[row, ...]
            if span is not None:
                zeros = xp.zeros_like(grad)
                grad = grad + xp.where(span.is_last[:, :, None], grad_last[None, ...], zeros)
                grad_last = xp.zeros_like(grad_last)
            of_x, grad_h0[row], grad_cells[row] = layer_backward(
                grad, grad_last, call.x, call.h0, call.output, call.cell, config.nonlinearity
            )
            grads_x.append(_reversed(xp, of_x, span) if reverse else of_x)
        grad_x = grads_x[0] if D == 1 else grads_x[0] + grads_x[1]
    grad_x = grad_x if span is None else _masked(xp, grad_x, span)

    of_h0 = xp.stack(grad_h0, axis=0)
    if not batched:
        return grad_x[:, 0, :], of_h0[:, 0, :], grad_cells
    return (xp.permute_dims(grad_x, (1, 0, 2)) if config.batch_first else grad_x), of_h0, grad_cells


def in_cell_order(array: Any, lengths: Any | None, reverse: bool) -> Any:
    """Return `[T, B, features]` in the order in which a direction's cell reads or makes it."""
    xp = array_namespace(array)
    span = None if lengths is None else _span(xp, lengths, array.shape[0])
    return _reversed(xp, array, span) if reverse else array


class _Span(NamedTuple):
    """Where the sequences of a padded batch lie in `[T * B, features]`."""

    inside: Any  # [T, B], whether the step counts
    is_last: Any  # [T, B], whether the step is its sequence's last
    last: Any  # [B], row of each sequence's last step
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
        (lengths - 1) * B + sequence,
        xp.reshape(mirrored * B + sequence, (T * B,)),
    )


def _masked(xp: Any, a: Any, span: _Span) -> Any:
    return xp.where(span.inside[:, :, None], a, xp.zeros_like(a))


def _reversed(xp: Any, a: Any, span: _Span | None) -> Any:
    if span is None:
        return xp.flip(a, axis=0)
    rows = xp.take(xp.reshape(a, (-1, a.shape[2])), span.reversal, axis=0)
    return xp.reshape(rows, a.shape)


def _check(output: Any, last: Any, x: Any, H: int) -> None:
    T, B, _ = x.shape
    if (
        (type(output) is type(last) is type(x))
        and (output.dtype == last.dtype == x.dtype)
        and output.shape == (T, B, H)
        and last.shape == (B, H)
    ):
        return  # what nearly every call comes to, and what is timed
    expected = (("output", output, (T, B, H)), ("h_n", last, (B, H)))
    for name, value, shape in expected:
        if not is_array_api_obj(value) or array_namespace(value) is not array_namespace(x):
            raise ContractViolation(
                f"layer returned {name} as a {type(value).__name__}, expected an array like x"
            )
        if tuple(value.shape) != shape:
            raise ContractViolation(
                f"layer returned {name} of shape {tuple(value.shape)}, expected {shape}"
            )
        if value.dtype != x.dtype:
            raise ContractViolation(
                f"layer returned {name} in {value.dtype}, expected {x.dtype}: "
                "compute in the dtype of x"
            )
