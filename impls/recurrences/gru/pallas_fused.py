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

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

try:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton
except ImportError:  # JAX before 0.7 does not bring absl, which its Pallas imports
    triton = None  # type: ignore[assignment]  # a module is never None to mypy

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [3H, I], weight_hh [3H, H], biases [3H]

# from_x = weight_ih^T [I, 3H], from_h = weight_hh^T of each gate [3, H, H], what is added to the
# input's part (b_ih, for r and z b_hh, too) [3H], and b_hn [H]; in float32 for types of 16 bits.
Prepared = tuple[Array, Array, Array, Array]

kind = "gru"
framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Bytes of W_hh, padded, that a block holds in registers: of 256 KB that a processor has, with room
# for what is computed, and for a second block. So H is up to 64, in float64 32. A larger layer is
# left to XLA (`lax.scan`): its blocks would have to share W_hh, and wait for each other every step.
BYTES_PER_BLOCK = 2**16

# Each warp of 32 threads holds 4 KB of it, 32 registers a thread, up to eight warps, which wait for
# each other in every step. With four for 64 KB of it registers do not suffice: what Triton 3.9
# makes of that for an H100 keeps a part in memory.
BYTES_PER_WARP, MOST_WARPS = 2**12, 8

# Sequences from which a block has several. Up to there each has a block of its own, most of which
# an H100's 132 processors compute at once, two on each. From there on W_hh is multiplied by 16
# rows, the fewest that Triton's product takes.
MANY, ROWS = 2 * 132, 16

# Fewest elements of a padded state, the terms of a sum: fewest that Triton's product takes.
TERMS = 16


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
    if not hasattr(triton, "load"):
        raise NotImplementedError("jax.experimental.pallas.triton.load, as of JAX 0.7.1")
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
    projected = (_product(x, from_x) + bias).reshape(T, B, 3, H)

    def by_scan(from_h: Array, projected: Array, h0: Array, bias_hn: Array) -> Any:
        def step(h: Array, projected_t: Array) -> Any:
            a, products = projected_t.swapaxes(0, 1), [_product(h, weight) for weight in from_h]
            h, gates = _step(h, a, products, bias_hn)
            return h, (h, *([jnp.stack(gates, axis=1)] if kept else []))

        h, (output, *gates) = lax.scan(step, h0, projected)
        return output, h, *gates

    shapes = [(T, B, H), (B, H), *([(T, B, 4, H)] if kept else [])]
    return _run(_forward_kernel, by_scan, shapes, from_h, projected, h0, bias_hn)


def _forward_kernel(
    B: int, H: int, from_h: Any, projected: Any, h0: Any, bias_hn: Any, *results: Any
) -> None:
    """Make all steps of a block's sequences: of references, the results' being written.

    What a step reads is asked for a step ahead, so that no step waits for memory.
    """
    mask, weights, last = _mask(h0, B, H), _whole(from_h, H), len(projected) - 1
    bias = triton.load(bias_hn, mask=lax.iota(jnp.int32, len(bias_hn)) < H, other=0.0)
    output, h_n, *kept = results

    def read(t: Array) -> list[Array]:
        return [triton.load(projected.at[t, :, _nth(k)], mask=mask, other=0.0) for k in range(3)]

    def step(t: Array, carried: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        (h, a), later = carried, read(jnp.minimum(t + 1, last))
        h, gates = _step(h, a, [_times(h, weight) for weight in weights], bias)
        # Beyond H it stays 0, also where a sum is infinite: 0 times that is not a number.
        h = jnp.where(mask, h, 0)
        triton.store(output.at[t], h, mask=mask)
        for of_all in kept:
            for k, gate in enumerate(gates):
                triton.store(of_all.at[t, :, _nth(k)], gate, mask=mask)
        return h, later

    first = triton.load(h0, mask=mask, other=0.0), read(_nth(0))
    h, _ = lax.fori_loop(0, last + 1, step, first)
    triton.store(h_n, h, mask=mask)


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
            products = [_product(a, weight) for a, weight in zip(of_h, weight_hh, strict=True)]
            grad_h = grad_h * gates_t[:, 1] + sum(products)
            return grad_h, (jnp.stack(of_x, axis=1), jnp.stack(of_h, axis=1))

        steps = (grad_output, gates, before)
        grad_h0, (of_x, of_h) = lax.scan(step, grad_h_n, steps, reverse=True)
        return of_x, of_h, grad_h0

    before = jnp.concatenate([h0[None], output])[:T]
    arrays, weight_hh = (grad_output, grad_h_n, gates, before), from_h.swapaxes(1, 2)
    shapes = [(T, B, 3, H), (T, B, 3, H), (B, H)]
    of_x, of_h, grad_h0 = _run(_backward_kernel, by_scan, shapes, weight_hh, *arrays)
    rows_x, rows_h = of_x.reshape(T * B, 3 * H), of_h.reshape(T * B, 3 * H)
    grad_from_x = _product(x.reshape(T * B, I).T, rows_x)
    grad_from_h = _product(before.reshape(T * B, H).T, rows_h).reshape(H, 3, H).swapaxes(0, 1)
    grad_x = _product(rows_x, from_x.T).reshape(T, B, I)
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
    mask, weights, last = _mask(grad_h_n, B, H), _whole(weight_hh, H), len(before) - 1
    *of_all, grad_h0 = results

    def read(t: Array) -> list[Array]:
        of_step = [grad_output.at[t], before.at[t], *(gates.at[t, :, _nth(k)] for k in range(4))]
        return [triton.load(one, mask=mask, other=0.0) for one in of_step]

    def step(made: Array, carried: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        t = last - made
        (grad_h, (grad_output_t, h_before, *now)), later = carried, read(jnp.maximum(t - 1, 0))
        grad_h = grad_h + grad_output_t
        of_x, of_h = _step_back(grad_h, now, h_before)
        for all_steps, of_gates in zip(of_all, (of_x, of_h), strict=True):
            for k, of_gate in enumerate(of_gates):
                triton.store(all_steps.at[t, :, _nth(k)], of_gate, mask=mask)
        products = [_times(a, weight) for a, weight in zip(of_h, weights, strict=True)]
        return jnp.where(mask, grad_h * now[1] + sum(products), 0), later

    first = triton.load(grad_h_n, mask=mask, other=0.0), read(_nth(last))
    grad_h, _ = lax.fori_loop(0, last + 1, step, first)
    triton.store(grad_h0, grad_h, mask=mask)


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


def _run(
    kernel: Callable[..., None],
    by_scan: Callable[..., Any],
    shapes: Sequence[tuple[int, ...]],
    weight: Array,
    *arrays: Array,
) -> Any:
    """Run a kernel, a block for each group of sequences; or a scan, where no kernel can be.

    Args:
        kernel: given B, H, and references to the weight, the arrays and the results.
        by_scan: returns the same results of the weight and the arrays. It is also what is
            differentiated where a kernel would be.
        shapes: of the results: as arrays'; the first is of all steps.
        weight: `[3, H, H]`.
        arrays: `[T, B, gates, H]`, `[T, B, H]`, `[B, H]` or `[H]`.

    Returns:
        The results.
    """
    (T, B, *_, H), K = shapes[0], TERMS
    while K < H:
        K *= 2
    size = len(weight) * K * K * weight.dtype.itemsize
    if size > BYTES_PER_BLOCK or T == 0 or B == 0:
        return by_scan(weight, *arrays)
    rows, warps = ROWS if B >= MANY else 1, 1
    while warps < MOST_WARPS and warps * BYTES_PER_WARP < size:
        warps *= 2

    def block(shape: tuple[int, ...]) -> Any:
        """A group's sequences, with padded states."""
        batch = min(1, len(shape) - 2)
        padded = {batch: rows, len(shape) - 1: K}
        return pl.BlockSpec(
            tuple(padded.get(axis, size) for axis, size in enumerate(shape)),
            lambda group: tuple(group if axis == batch else 0 for axis in range(len(shape))),
        )

    def launch(interpret: bool, *arguments: Array) -> Any:
        call = pl.pallas_call(
            partial(kernel, B, H),
            out_shape=[jax.ShapeDtypeStruct(shape, weight.dtype) for shape in shapes],
            grid=((B + rows - 1) // rows,),
            in_specs=[
                pl.BlockSpec((len(weight), K, K), lambda group: (0, 0, 0)),
                *(block(array.shape) for array in arrays),
            ],
            out_specs=[block(shape) for shape in shapes],
            compiler_params=triton.CompilerParams(num_warps=warps),
            interpret=interpret,
        )
        with jax.disable_jit(False):  # a kernel is always compiled
            return call(*arguments)

    @jax.custom_vjp
    def run(*arguments: Array) -> Any:
        # Where arrays are is known when this is compiled, not yet now, when it is traced.
        ways = {"cuda": partial(launch, False), "default": partial(launch, True)}
        return tuple(lax.platform_dependent(*arguments, **ways))

    run.defvjp(
        lambda *arguments: (run(*arguments), arguments),
        lambda arguments, gradients: jax.vjp(by_scan, *arguments)[1](gradients),
    )
    return run(weight, *arrays)


def _mask(state: Any, B: int, H: int) -> Array:
    """Return which elements of a block's states are of a sequence, and not padding."""
    row, column = (lax.broadcasted_iota(jnp.int32, state.shape, axis) for axis in (0, 1))
    return (pl.program_id(0) * len(state) + row < B) & (column < H)


def _whole(weight: Any, H: int) -> list[Array]:
    """Read each gate's weight, with zeros for padding."""
    shape = weight.shape[1:]
    row, column = (lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))
    mask = (row < H) & (column < H)
    return [triton.load(weight.at[_nth(k)], mask=mask, other=0.0) for k in range(len(weight))]


def _nth(k: int) -> Any:
    """Return an index of the type of those that are traced; Pallas takes no others beside them."""
    return jax.dtypes.canonicalize_dtype(int).type(k)


def _times(state: Array, weight: Array) -> Array:
    """Multiply in a kernel; one state by a sum over rows, as Triton's product takes no vector."""
    if len(state) == 1:
        return jnp.sum(state.T * weight, axis=0)[None]
    return _product(state, weight)


def _product(one: Array, other: Array) -> Array:
    """Multiply, in the arrays' own precision unless JAX is set to another one for float32."""
    set_to = jax.config.values["jax_default_matmul_precision"]
    own = set_to is None or one.dtype == jnp.float64
    return jnp.matmul(one, other, precision=lax.Precision.HIGHEST if own else None)
