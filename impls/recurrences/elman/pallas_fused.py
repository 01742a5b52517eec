"""The recurrence as one Pallas kernel, in JAX: every step of a layer in one launch, W_hh on chip.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all steps are one
matrix product before. A block of the kernel reads W_hh once, keeps it and the state of its
sequences over all steps, and needs nothing of another block. Backward, with s_t for the gradient of
what tanh is taken of,

    s_t = (dL/dh_t + s_{t+1} W_hh) (1 - h_t^2)

is a kernel from the last step to the first, and each weight's gradient one product after it.

Where arrays are on an NVIDIA card, Triton compiles the kernels; elsewhere they are interpreted,
which is slow. They were compiled for an H100, but never ran on a card: how fast they are, and how
large their rounding is there, is not known. JAX 0.11 announces that it will drop its use of Triton.

It can be mapped (`jax.vmap`), and differentiated in reverse (`jax.grad`, `jax.vjp`; not `jax.jvp`);
a second derivative is that of a scan.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from recurrences import pallas_blocks as blocks

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

# from_x = weight_ih^T [I, H], from_h = weight_hh^T [H, H], bias_ih + bias_hh [H]; in float32 for
# types of 16 bits.
Prepared = tuple[Array, Array, Array]

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")


@partial(jax.jit, static_argnames="nonlinearity")
def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    wide = jnp.promote_types(cell[0].dtype, jnp.float32)
    weight_ih, weight_hh, bias_ih, bias_hh = (a.astype(wide) for a in cell)
    return weight_ih.T, weight_hh.T, bias_ih + bias_hh


@partial(jax.jit, static_argnames="nonlinearity")
def layer(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T. Types of 16
        bits are float32 in between.

    Raises:
        NotImplementedError: this JAX lacks what the kernels are written in.
    """
    blocks.needed()
    wide = cell[0].dtype
    output, h_n = _layer(nonlinearity, x.astype(wide), h0.astype(wide), cell)
    return output.astype(x.dtype), h_n.astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(nonlinearity: str, x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    from_x, from_h, bias = cell
    projected = blocks.product(x, from_x) + bias

    def by_scan(weights: Array, projected: Array, h0: Array) -> Any:
        def step(h: Array, projected_t: Array) -> Any:
            h = _activate(projected_t + blocks.product(h, weights[0]), nonlinearity)
            return h, h

        h, output = lax.scan(step, h0, projected)
        return output, h

    shapes = [projected.shape, h0.shape]
    output, h_n = blocks.run(
        partial(_forward_kernel, nonlinearity), by_scan, shapes, from_h[None], projected, h0
    )
    return output, h_n


def _forward_kernel(
    nonlinearity: str, B: int, H: int, weights: Any, projected: Any, h0: Any, output: Any, h_n: Any
) -> None:
    """Make all steps of a block's sequences: of references, the last two of which are written.

    What a step reads is asked for a step ahead, so that no step waits for memory.
    """
    mask, (weight,), last = blocks.inside(h0, B, H), blocks.whole(weights, H), len(projected) - 1

    def read(t: Array) -> Array:
        return blocks.load(projected.at[t], mask)

    def step(t: Array, carried: tuple[Array, Array]) -> tuple[Array, Array]:
        (h, a), later = carried, read(jnp.minimum(t + 1, last))
        # Beyond H it stays 0, also where a sum is infinite: 0 times that is not a number.
        h = jnp.where(mask, _activate(a + blocks.times(h, weight), nonlinearity), 0)
        blocks.store(output.at[t], h, mask)
        return h, later

    first = blocks.load(h0, mask), read(blocks.nth(0))
    h, _ = lax.fori_loop(0, last + 1, step, first)
    blocks.store(h_n, h, mask)


def _activate(a: Array, nonlinearity: str) -> Array:
    # Not by a maximum, which on a card takes a number for what is none.
    return jnp.tanh(a) if nonlinearity == "tanh" else jnp.where(a <= 0, 0, a)


def _forward(
    nonlinearity: str, x: Array, h0: Array, cell: Prepared
) -> tuple[tuple[Array, Array], tuple[Any, ...]]:
    output, h_n = _layer(nonlinearity, x, h0, cell)
    return (output, h_n), (x, h0, cell, output)


def _backward(
    nonlinearity: str, saved: tuple[Any, ...], gradients: tuple[Array, Array]
) -> tuple[Array, Array, Prepared]:
    (x, h0, (from_x, from_h, _), output), (grad_output, grad_h_n) = saved, gradients
    (T, B, I), H = x.shape, h0.shape[1]

    def by_scan(weights: Array, grad_output: Array, grad_h_n: Array, output: Array) -> Any:
        def step(grad_h: Array, now: tuple[Array, Array]) -> Any:
            grad_output_t, h = now
            grad_sum = (grad_output_t + grad_h) * _slope(h, nonlinearity)
            return blocks.product(grad_sum, weights[0]), grad_sum

        grad_h0, sums = lax.scan(step, grad_h_n, (grad_output, output), reverse=True)
        return sums, grad_h0

    kernel, shapes = partial(_backward_kernel, nonlinearity), [output.shape, h0.shape]
    sums, grad_h0 = blocks.run(
        kernel, by_scan, shapes, from_h.T[None], grad_output, grad_h_n, output
    )
    rows, before = sums.reshape(T * B, H), jnp.concatenate([h0[None], output])[:T]
    grad_from_x = blocks.product(x.reshape(T * B, I).T, rows)
    grad_from_h = blocks.product(before.reshape(T * B, H).T, rows)
    grad_x = blocks.product(rows, from_x.T).reshape(T, B, I)
    return grad_x, grad_h0, (grad_from_x, grad_from_h, rows.sum(0))


def _backward_kernel(
    nonlinearity: str,
    B: int,
    H: int,
    weights: Any,
    grad_output: Any,
    grad_h_n: Any,
    output: Any,
    sums: Any,
    grad_h0: Any,
) -> None:
    """Make all steps of a block's sequences, from the last to the first."""
    mask, (weight,), last = blocks.inside(grad_h_n, B, H), blocks.whole(weights, H), len(output) - 1

    def read(t: Array) -> list[Array]:
        return [blocks.load(one.at[t], mask) for one in (grad_output, output)]

    def step(made: Array, carried: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        t = last - made
        (grad_h, (grad_output_t, h)), later = carried, read(jnp.maximum(t - 1, 0))
        grad_sum = (grad_output_t + grad_h) * _slope(h, nonlinearity)
        blocks.store(sums.at[t], grad_sum, mask)
        return jnp.where(mask, blocks.times(grad_sum, weight), 0), later

    first = blocks.load(grad_h_n, mask), read(blocks.nth(last))
    grad_h, _ = lax.fori_loop(0, last + 1, step, first)
    blocks.store(grad_h0, grad_h, mask)


def _slope(h: Array, nonlinearity: str) -> Array:
    return 1 - h * h if nonlinearity == "tanh" else jnp.where(h > 0, 1, 0).astype(h.dtype)


_layer.defvjp(_forward, _backward)
