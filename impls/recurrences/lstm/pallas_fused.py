"""The LSTM as one Pallas kernel, in JAX: every step of a layer in one launch, W_hh on chip.

    i_t, f_t, o_t = s(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)     s(a) = 1 / (1 + exp(-a))
              g_t = tanh(x_t W_i^T + b_i + h_{t-1} W_h^T + b_h)  each with weights of its own
              c_t = f_t c_{t-1} + i_t g_t
              h_t = o_t tanh(c_t)

Source of the formula: the documentation of `torch.nn.LSTM`, after Hochreiter and Schmidhuber
(1997), with the forget gate f_t of Gers, Schmidhuber and Cummins (2000). The input products of all
steps are one matrix product before. A block of the kernel reads W_hh once, keeps it and the states
of its sequences over all steps, and needs nothing of another block; where gradients are asked for
it writes i, f, g, o and c, too. Backward, with dh_t and dc_t for the gradients of h_t and c_t, and
grad_v for the gradient of what v's tanh or logistic function is taken of,

    dh_t = grad_output_t + [grad_i, grad_f, grad_g, grad_o]_{t+1} W_hh
    dc_t = dh_t o_t (1 - tanh(c_t)^2) + dc_{t+1} f_{t+1}
    grad_i_t = dc_t g_t i_t (1 - i_t)            grad_f_t = dc_t c_{t-1} f_t (1 - f_t)
    grad_g_t = dc_t i_t (1 - g_t^2)              grad_o_t = dh_t tanh(c_t) o_t (1 - o_t)

is a kernel from the last step to the first, and each weight's gradient one product after it.

Where arrays are on an NVIDIA card, Triton compiles the kernels; elsewhere they are interpreted,
which is slow. They were compiled for an H100, but never ran on a card: how fast they are, and how
large their rounding is there, is not known. JAX 0.11 announces that it will drop its use of Triton.

It can be mapped (`jax.vmap`), and differentiated in reverse (`jax.grad`, `jax.vjp`; not `jax.jvp`);
a second derivative is that of a scan.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from recurrences import pallas_blocks as blocks

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [4H, I], weight_hh [4H, H], biases [4H]

# from_x = weight_ih^T [I, 4H], from_h = weight_hh^T of each gate [4, H, H], bias_ih + bias_hh [4H];
# in float32 for types of 16 bits.
Prepared = tuple[Array, Array, Array]

kind = "lstm"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")


@jax.jit
def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [4H, I], weight_hh [4H, H], bias_ih [4H], bias_hh [4H])`, rows i f g o.
    """
    wide, H = jnp.promote_types(cell[0].dtype, jnp.float32), cell[1].shape[1]
    weight_ih, weight_hh, bias_ih, bias_hh = (a.astype(wide) for a in cell)
    return weight_ih.T, weight_hh.reshape(4, H, H).swapaxes(1, 2), bias_ih + bias_hh


@jax.jit
def layer(x: Array, h0: Array, c0: Array, cell: Prepared) -> tuple[Array, Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        c0: initial cell state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, h_n `[B, H]`, which is h_T, and c_n `[B, H]`,
        which is c_T. Types of 16 bits are float32 in between.

    Raises:
        NotImplementedError: this JAX lacks what the kernels are written in.
    """
    blocks.needed()
    wide = cell[0].dtype
    output, h_n, c_n = _layer(x.astype(wide), h0.astype(wide), c0.astype(wide), cell)
    return output.astype(x.dtype), h_n.astype(x.dtype), c_n.astype(x.dtype)


@jax.custom_vjp
def _layer(x: Array, h0: Array, c0: Array, cell: Prepared) -> tuple[Array, Array, Array]:
    output, h_n, c_n = _recur(x, h0, c0, cell, kept=False)
    return output, h_n, c_n


def _recur(x: Array, h0: Array, c0: Array, cell: Prepared, kept: bool) -> Any:
    """Return the output, h_n and c_n; if they are kept i, f, g, o and c of all steps, too.

    These are `[T, B, 5, H]`.
    """
    from_x, from_h, bias = cell
    (T, B, _), H = x.shape, h0.shape[1]
    projected = (blocks.product(x, from_x) + bias).reshape(T, B, 4, H)

    def by_scan(from_h: Array, projected: Array, h0: Array, c0: Array) -> Any:
        def step(states: tuple[Array, Array], projected_t: Array) -> Any:
            h, c = states
            products = [blocks.product(h, weight) for weight in from_h]
            h, gates = _step(c, projected_t.swapaxes(0, 1), products)
            return (h, gates[-1]), (h, *([jnp.stack(gates, axis=1)] if kept else []))

        (h, c), (output, *gates) = lax.scan(step, (h0, c0), projected)
        return output, h, c, *gates

    shapes = [(T, B, H), (B, H), (B, H), *([(T, B, 5, H)] if kept else [])]
    return blocks.run(_forward_kernel, by_scan, shapes, from_h, projected, h0, c0)


def _forward_kernel(
    B: int, H: int, from_h: Any, projected: Any, h0: Any, c0: Any, *results: Any
) -> None:
    """Make all steps of a block's sequences: of references, the results' being written.

    What a step reads is asked for a step ahead, so that no step waits for memory.
    """
    mask, weights, last = blocks.inside(h0, B, H), blocks.whole(from_h, H), len(projected) - 1
    output, h_n, c_n, *kept = results

    def read(t: Array) -> list[Array]:
        return [blocks.load(projected.at[t, :, blocks.nth(k)], mask) for k in range(4)]

    def step(t: Array, carried: tuple[Array, Array, list[Array]]) -> Any:
        (h, c, a), later = carried, read(jnp.minimum(t + 1, last))
        h, gates = _step(c, a, [blocks.times(h, weight) for weight in weights])
        # Beyond H it stays 0, also where a sum is infinite: 0 times that is not a number.
        h = jnp.where(mask, h, 0)
        blocks.store(output.at[t], h, mask)
        for of_all in kept:
            for k, gate in enumerate(gates):
                blocks.store(of_all.at[t, :, blocks.nth(k)], gate, mask)
        return h, gates[-1], later

    first = (blocks.load(state, mask) for state in (h0, c0))
    h, c, _ = lax.fori_loop(0, last + 1, step, (*first, read(blocks.nth(0))))
    blocks.store(h_n, h, mask)
    blocks.store(c_n, c, mask)


def _step(c: Array, a: Any, products: Sequence[Array]) -> tuple[Array, tuple[Array, ...]]:
    """Return the next h, and i, f, g, o and the next c.

    Args:
        c: the cell state, `[B, H]`.
        a: input parts of i, f, g and o, `[B, H]` each.
        products: their recurrent products, `[B, H]` each.
    """
    i, f, g, o = (one + other for one, other in zip(a, products, strict=True))
    i, f, g, o = _logistic(i), _logistic(f), jnp.tanh(g), _logistic(o)
    c = f * c + i * g
    return o * jnp.tanh(c), (i, f, g, o, c)


# It is made of exp, not of tanh, and so right where it is near 0, too.
_logistic = lax.logistic


def _forward(
    x: Array, h0: Array, c0: Array, cell: Prepared
) -> tuple[tuple[Array, Array, Array], tuple[Any, ...]]:
    output, h_n, c_n, gates = _recur(x, h0, c0, cell, kept=True)
    return (output, h_n, c_n), (x, h0, c0, cell, output, gates)


def _backward(
    saved: tuple[Any, ...], gradients: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array, Prepared]:
    x, h0, c0, (from_x, from_h, _), output, gates = saved
    grad_output, grad_h_n, grad_c_n = gradients
    (T, B, I), H = x.shape, h0.shape[1]

    def by_scan(weight_hh: Array, *arrays: Array) -> Any:
        grad_output, grad_h_n, grad_c_n, gates, c0 = arrays

        def step(carried: tuple[Array, Array], now: tuple[Array, Array, Array]) -> Any:
            (grad_h, grad_c), (grad_output_t, gates_t, c_before) = carried, now
            grads, grad_c = _step_back(
                grad_h + grad_output_t, grad_c, gates_t.swapaxes(0, 1), c_before
            )
            products = [
                blocks.product(a, weight) for a, weight in zip(grads, weight_hh, strict=True)
            ]
            return (sum(products), grad_c), jnp.stack(grads, axis=1)

        steps = (grad_output, gates, jnp.concatenate([c0[None], gates[:, :, 4]])[:T])
        carried, grad_a = lax.scan(step, (grad_h_n, grad_c_n), steps, reverse=True)
        return grad_a, *carried

    arrays, weight_hh = (grad_output, grad_h_n, grad_c_n, gates, c0), from_h.swapaxes(1, 2)
    shapes = [(T, B, 4, H), (B, H), (B, H)]
    grad_a, grad_h0, grad_c0 = blocks.run(_backward_kernel, by_scan, shapes, weight_hh, *arrays)
    rows, before = grad_a.reshape(T * B, 4 * H), jnp.concatenate([h0[None], output])[:T]
    grad_from_x = blocks.product(x.reshape(T * B, I).T, rows)
    grad_from_h = blocks.product(before.reshape(T * B, H).T, rows).reshape(H, 4, H).swapaxes(0, 1)
    grad_x = blocks.product(rows, from_x.T).reshape(T, B, I)
    return grad_x, grad_h0, grad_c0, (grad_from_x, grad_from_h, rows.sum(0))


def _backward_kernel(
    B: int,
    H: int,
    weight_hh: Any,
    grad_output: Any,
    grad_h_n: Any,
    grad_c_n: Any,
    gates: Any,
    c0: Any,
    grad_a: Any,
    grad_h0: Any,
    grad_c0: Any,
) -> None:
    """Make all steps of a block's sequences, from the last to the first."""
    mask, weights, last = blocks.inside(c0, B, H), blocks.whole(weight_hh, H), len(grad_output) - 1
    c_0 = blocks.load(c0, mask)

    def read(t: Array) -> list[Array]:
        of_step = [grad_output.at[t], *(gates.at[t, :, blocks.nth(k)] for k in range(5))]
        return [blocks.load(one, mask) for one in of_step]

    def step(made: Array, carried: tuple[Array, Array, list[Array]]) -> Any:
        t = last - made
        (grad_h, grad_c, (grad_output_t, *now)), later = carried, read(jnp.maximum(t - 1, 0))
        c_before = jnp.where(t > 0, later[-1], c_0)
        grads, grad_c = _step_back(grad_h + grad_output_t, grad_c, now, c_before)
        for k, of_gate in enumerate(grads):
            blocks.store(grad_a.at[t, :, blocks.nth(k)], of_gate, mask)
        products = [blocks.times(a, weight) for a, weight in zip(grads, weights, strict=True)]
        return jnp.where(mask, sum(products), 0), grad_c, later

    start = (blocks.load(one, mask) for one in (grad_h_n, grad_c_n))
    grad_h, grad_c, _ = lax.fori_loop(0, last + 1, step, (*start, read(blocks.nth(last))))
    blocks.store(grad_h0, grad_h, mask)
    blocks.store(grad_c0, grad_c, mask)


def _step_back(grad_h: Array, grad_c: Array, gates: Any, c_before: Array) -> tuple[Any, Array]:
    """Return the gradients of what i, f, g and o are taken of, and of c before the step.

    Args:
        grad_h: of h after the step, `[B, H]`.
        grad_c: of c after the step, but for what comes by h, `[B, H]`.
        gates: i, f, g, o and c of the step, `[B, H]` each.
        c_before: c before it, `[B, H]`.
    """
    i, f, g, o, c = gates
    tanh_c = jnp.tanh(c)
    grad_c = grad_c + grad_h * o * (1 - tanh_c * tanh_c)
    of_gates = (
        grad_c * g * i * (1 - i),
        grad_c * c_before * f * (1 - f),
        grad_c * i * (1 - g * g),
        grad_h * tanh_c * o * (1 - o),
    )
    return of_gates, grad_c * f


_layer.defvjp(_forward, _backward)
