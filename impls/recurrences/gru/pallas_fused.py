"""The GRU as one Pallas kernel, in JAX: every step of a layer in one launch, W_hh on chip.

    r_t = s(x_t W_ir^T + b_ir + h_{t-1} W_hr^T + b_hr)           s(a) = 1 / (1 + exp(-a))
    z_t = s(x_t W_iz^T + b_iz + h_{t-1} W_hz^T + b_hz)
    n_t = tanh(x_t W_in^T + b_in + r_t (h_{t-1} W_hn^T + b_hn))
    h_t = n_t + z_t (h_{t-1} - n_t)

Source of the formula: the documentation of `torch.nn.GRU`, after Cho et al. (2014), whose r_t
multiplies h_{t-1} before the product and not after it. The input products of all steps are one
matrix product before. A block of the kernel reads W_hh once, keeps it and the state of its
sequences over all steps, and needs nothing of another block; where gradients are asked for it
writes r, z, n and q, too. Backward, with g_t for the gradient of h_t, q_t for h_{t-1} W_hn^T +
b_hn, and grad_v for the gradient of what v's tanh or logistic function is taken of,

    g_t = grad_output_t + g_{t+1} z_{t+1} + [grad_r, grad_z, grad_n r]_{t+1} W_hh
    grad_n_t = g_t (1 - z_t) (1 - n_t^2)
    grad_z_t = g_t (h_{t-1} - n_t) z_t (1 - z_t)
    grad_r_t = grad_n_t q_t r_t (1 - r_t)

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
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

# from_x = weight_ih^T [I, 3H], from_h = weight_hh^T of each gate [3, H, H], what is added to the
# input's part (b_ih, for r and z b_hh, too) [3H], and b_hn [H]; in float32 for types of 16 bits.
Prepared = tuple[Array, Array, Array, Array]

kind = "gru"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")


@jax.jit
def prepare(cell: Cell) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [3H, I], weight_hh [3H, H], bias_ih [3H], bias_hh [3H])`, rows r z n.
    """
    wide, H = jnp.promote_types(cell[0].dtype, jnp.float32), cell[1].shape[1]
    weight_ih, weight_hh, bias_ih, bias_hh = (a.astype(wide) for a in cell)
    bias = bias_ih.at[: 2 * H].add(bias_hh[: 2 * H])
    return weight_ih.T, weight_hh.reshape(3, H, H).swapaxes(1, 2), bias, bias_hh[2 * H :]


@jax.jit
def layer(x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T. Types of 16
        bits are float32 in between.

    Raises:
        NotImplementedError: this JAX lacks what the kernels are written in.
    """
    blocks.needed()
    wide = cell[0].dtype
    output, h_n = _layer(x.astype(wide), h0.astype(wide), cell)
    return output.astype(x.dtype), h_n.astype(x.dtype)


@jax.custom_vjp
def _layer(x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    output, h_n = _recur(x, h0, cell, kept=False)
    return output, h_n


def _recur(x: Array, h0: Array, cell: Prepared, kept: bool) -> Any:
    """Return the output, h_n, and if they are kept r, z, n and q of all steps, `[T, B, 4, H]`."""
    from_x, from_h, bias, bias_hn = cell
    (T, B, _), H = x.shape, h0.shape[1]
    projected = (blocks.product(x, from_x) + bias).reshape(T, B, 3, H)

    def by_scan(from_h: Array, projected: Array, h0: Array, bias_hn: Array) -> Any:
        def step(h: Array, projected_t: Array) -> Any:
            a, products = (
                projected_t.swapaxes(0, 1),
                [blocks.product(h, weight) for weight in from_h],
            )
            h, gates = _step(h, a, products, bias_hn)
            return h, (h, *([jnp.stack(gates, axis=1)] if kept else []))

        h, (output, *gates) = lax.scan(step, h0, projected)
        return output, h, *gates

    shapes = [(T, B, H), (B, H), *([(T, B, 4, H)] if kept else [])]
    return blocks.run(_forward_kernel, by_scan, shapes, from_h, projected, h0, bias_hn)


def _forward_kernel(
    B: int, H: int, from_h: Any, projected: Any, h0: Any, bias_hn: Any, *results: Any
) -> None:
    """Make all steps of a block's sequences: of references, the results' being written.

    What a step reads is asked for a step ahead, so that no step waits for memory.
    """
    mask, weights, last = blocks.inside(h0, B, H), blocks.whole(from_h, H), len(projected) - 1
    bias = blocks.load(bias_hn, lax.iota(jnp.int32, len(bias_hn)) < H)
    output, h_n, *kept = results

    def read(t: Array) -> list[Array]:
        return [blocks.load(projected.at[t, :, blocks.nth(k)], mask) for k in range(3)]

    def step(t: Array, carried: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        (h, a), later = carried, read(jnp.minimum(t + 1, last))
        h, gates = _step(h, a, [blocks.times(h, weight) for weight in weights], bias)
        # Beyond H it stays 0, also where a sum is infinite: 0 times that is not a number.
        h = jnp.where(mask, h, 0)
        blocks.store(output.at[t], h, mask)
        for of_all in kept:
            for k, gate in enumerate(gates):
                blocks.store(of_all.at[t, :, blocks.nth(k)], gate, mask)
        return h, later

    first = blocks.load(h0, mask), read(blocks.nth(0))
    h, _ = lax.fori_loop(0, last + 1, step, first)
    blocks.store(h_n, h, mask)


def _step(h: Array, a: Any, products: Sequence[Array], bias_hn: Array) -> tuple[Array, Any]:
    """Return the next state, and r, z, n and q.

    Args:
        h: the state, `[B, H]`.
        a: input parts of r, z and n, `[B, H]` each.
        products: their recurrent products, `[B, H]` each.
        bias_hn: `[H]`.
    """
    r, z, q = _logistic(a[0] + products[0]), _logistic(a[1] + products[1]), products[2] + bias_hn
    n = jnp.tanh(a[2] + r * q)
    return n + z * (h - n), (r, z, n, q)


# It is made of exp, not of tanh, and so right where it is near 0, too.
_logistic = lax.logistic


def _forward(x: Array, h0: Array, cell: Prepared) -> tuple[tuple[Array, Array], tuple[Any, ...]]:
    output, h_n, gates = _recur(x, h0, cell, kept=True)
    return (output, h_n), (x, h0, cell, output, gates)


def _backward(
    saved: tuple[Any, ...], gradients: tuple[Array, Array]
) -> tuple[Array, Array, Prepared]:
    (x, h0, (from_x, from_h, _, _), output, gates), (grad_output, grad_h_n) = saved, gradients
    (T, B, I), H = x.shape, h0.shape[1]

    def by_scan(weight_hh: Array, *arrays: Array) -> Any:
        grad_output, grad_h_n, gates, before = arrays

        def step(grad_h: Array, now: tuple[Array, Array, Array]) -> Any:
            grad_output_t, gates_t, h_before = now
            grad_h = grad_h + grad_output_t
            of_x, of_h = _step_back(grad_h, gates_t.swapaxes(0, 1), h_before)
            products = [
                blocks.product(a, weight) for a, weight in zip(of_h, weight_hh, strict=True)
            ]
            grad_h = grad_h * gates_t[:, 1] + sum(products)
            return grad_h, (jnp.stack(of_x, axis=1), jnp.stack(of_h, axis=1))

        steps = (grad_output, gates, before)
        grad_h0, (of_x, of_h) = lax.scan(step, grad_h_n, steps, reverse=True)
        return of_x, of_h, grad_h0

    before = jnp.concatenate([h0[None], output])[:T]
    arrays, weight_hh = (grad_output, grad_h_n, gates, before), from_h.swapaxes(1, 2)
    shapes = [(T, B, 3, H), (T, B, 3, H), (B, H)]
    of_x, of_h, grad_h0 = blocks.run(_backward_kernel, by_scan, shapes, weight_hh, *arrays)
    rows_x, rows_h = of_x.reshape(T * B, 3 * H), of_h.reshape(T * B, 3 * H)
    grad_from_x = blocks.product(x.reshape(T * B, I).T, rows_x)
    grad_from_h = blocks.product(before.reshape(T * B, H).T, rows_h).reshape(H, 3, H).swapaxes(0, 1)
    grad_x = blocks.product(rows_x, from_x.T).reshape(T, B, I)
    of_cell = (grad_from_x, grad_from_h, rows_x.sum(0), rows_h[:, 2 * H :].sum(0))
    return grad_x, grad_h0, of_cell


def _backward_kernel(
    B: int,
    H: int,
    weight_hh: Any,
    grad_output: Any,
    grad_h_n: Any,
    gates: Any,
    before: Any,
    *results: Any,
) -> None:
    """Make all steps of a block's sequences, from the last to the first."""
    mask, weights, last = blocks.inside(grad_h_n, B, H), blocks.whole(weight_hh, H), len(before) - 1
    *of_all, grad_h0 = results

    def read(t: Array) -> list[Array]:
        of_step = [
            grad_output.at[t],
            before.at[t],
            *(gates.at[t, :, blocks.nth(k)] for k in range(4)),
        ]
        return [blocks.load(one, mask) for one in of_step]

    def step(made: Array, carried: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        t = last - made
        (grad_h, (grad_output_t, h_before, *now)), later = carried, read(jnp.maximum(t - 1, 0))
        grad_h = grad_h + grad_output_t
        of_x, of_h = _step_back(grad_h, now, h_before)
        for all_steps, of_gates in zip(of_all, (of_x, of_h), strict=True):
            for k, of_gate in enumerate(of_gates):
                blocks.store(all_steps.at[t, :, blocks.nth(k)], of_gate, mask)
        products = [blocks.times(a, weight) for a, weight in zip(of_h, weights, strict=True)]
        return jnp.where(mask, grad_h * now[1] + sum(products), 0), later

    first = blocks.load(grad_h_n, mask), read(blocks.nth(last))
    grad_h, _ = lax.fori_loop(0, last + 1, step, first)
    blocks.store(grad_h0, grad_h, mask)


def _step_back(grad_h: Array, gates: Any, h_before: Array) -> tuple[Any, Any]:
    """Return the gradients of the input parts of r, z and n, and of their recurrent products.

    Args:
        grad_h: of the state after the step, `[B, H]`.
        gates: r, z, n and q of the step, `[B, H]` each.
        h_before: the state before it, `[B, H]`.
    """
    r, z, n, q = gates
    grad_n = grad_h * (1 - z) * (1 - n * n)
    grad_z = grad_h * (h_before - n) * z * (1 - z)
    grad_r = grad_n * q * r * (1 - r)
    return (grad_r, grad_z, grad_n), (grad_r, grad_z, grad_n * r)


_layer.defvjp(_forward, _backward)
