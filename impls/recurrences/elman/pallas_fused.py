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
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

# from_x = weight_ih^T [I, H], from_h = weight_hh^T [H, H], bias_ih + bias_hh [H]; in float32 for
# types of 16 bits.
Prepared = tuple[Array, Array, Array]

framework = "jax"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Bytes of W_hh, padded, that a block holds in registers: of 256 KB that a processor has, with room
# for what is computed, and for a second block. So H is up to 128, in float64 64. A larger layer is
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
    if not hasattr(triton, "load"):
        raise NotImplementedError("jax.experimental.pallas.triton.load, as of JAX 0.7.1")
    wide = cell[0].dtype
    output, h_n = _layer(nonlinearity, x.astype(wide), h0.astype(wide), cell)
    return output.astype(x.dtype), h_n.astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(nonlinearity: str, x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    from_x, from_h, bias = cell
    projected = _product(x, from_x) + bias

    def by_scan(from_h: Array, projected: Array, h0: Array) -> Any:
        def step(h: Array, projected_t: Array) -> Any:
            h = _activate(projected_t + _product(h, from_h), nonlinearity)
            return h, h

        h, output = lax.scan(step, h0, projected)
        return output, h

    shapes = [projected.shape, h0.shape]
    output, h_n = _run(
        partial(_forward_kernel, nonlinearity), by_scan, shapes, from_h, projected, h0
    )
    return output, h_n


def _forward_kernel(
    nonlinearity: str, B: int, H: int, from_h: Any, projected: Any, h0: Any, output: Any, h_n: Any
) -> None:
    """Make all steps of a block's sequences: of references, the last two of which are written.

    What a step reads is asked for a step ahead, so that no step waits for memory.
    """
    mask, weight, last = _mask(h0, B, H), _whole(from_h, H), len(projected) - 1

    def read(t: Array) -> Array:
        return triton.load(projected.at[t], mask=mask, other=0.0)

    def step(t: Array, carried: tuple[Array, Array]) -> tuple[Array, Array]:
        (h, a), later = carried, read(jnp.minimum(t + 1, last))
        # Beyond H it stays 0, also where a sum is infinite: 0 times that is not a number.
        h = jnp.where(mask, _activate(a + _times(h, weight), nonlinearity), 0)
        triton.store(output.at[t], h, mask=mask)
        return h, later

    first = triton.load(h0, mask=mask, other=0.0), read(_nth(0))
    h, _ = lax.fori_loop(0, last + 1, step, first)
    triton.store(h_n, h, mask=mask)


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

    def by_scan(weight_hh: Array, grad_output: Array, grad_h_n: Array, output: Array) -> Any:
        def step(grad_h: Array, now: tuple[Array, Array]) -> Any:
            grad_output_t, h = now
            grad_sum = (grad_output_t + grad_h) * _slope(h, nonlinearity)
            return _product(grad_sum, weight_hh), grad_sum

        grad_h0, sums = lax.scan(step, grad_h_n, (grad_output, output), reverse=True)
        return sums, grad_h0

    kernel, shapes = partial(_backward_kernel, nonlinearity), [output.shape, h0.shape]
    sums, grad_h0 = _run(kernel, by_scan, shapes, from_h.T, grad_output, grad_h_n, output)
    rows, before = sums.reshape(T * B, H), jnp.concatenate([h0[None], output])[:T]
    grad_from_x = _product(x.reshape(T * B, I).T, rows)
    grad_from_h = _product(before.reshape(T * B, H).T, rows)
    grad_x = _product(rows, from_x.T).reshape(T, B, I)
    return grad_x, grad_h0, (grad_from_x, grad_from_h, rows.sum(0))


def _backward_kernel(
    nonlinearity: str,
    B: int,
    H: int,
    weight_hh: Any,
    grad_output: Any,
    grad_h_n: Any,
    output: Any,
    sums: Any,
    grad_h0: Any,
) -> None:
    """Make all steps of a block's sequences, from the last to the first."""
    mask, weight, last = _mask(grad_h_n, B, H), _whole(weight_hh, H), len(output) - 1

    def read(t: Array) -> list[Array]:
        return [triton.load(one.at[t], mask=mask, other=0.0) for one in (grad_output, output)]

    def step(made: Array, carried: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        t = last - made
        (grad_h, (grad_output_t, h)), later = carried, read(jnp.maximum(t - 1, 0))
        grad_sum = (grad_output_t + grad_h) * _slope(h, nonlinearity)
        triton.store(sums.at[t], grad_sum, mask=mask)
        return jnp.where(mask, _times(grad_sum, weight), 0), later

    first = triton.load(grad_h_n, mask=mask, other=0.0), read(_nth(last))
    grad_h, _ = lax.fori_loop(0, last + 1, step, first)
    triton.store(grad_h0, grad_h, mask=mask)


def _slope(h: Array, nonlinearity: str) -> Array:
    return 1 - h * h if nonlinearity == "tanh" else jnp.where(h > 0, 1, 0).astype(h.dtype)


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
        shapes: of the results, `[T, B, H]` or `[B, H]`; the first is `[T, B, H]`.
        weight: `[H, H]`.
        arrays: `[T, B, H]` or `[B, H]`.

    Returns:
        The results.
    """
    (T, B, H), K = shapes[0], TERMS
    while K < H:
        K *= 2
    size = K * K * weight.dtype.itemsize
    if size > BYTES_PER_BLOCK or T == 0 or B == 0:
        return by_scan(weight, *arrays)
    rows, warps = ROWS if B >= MANY else 1, 1
    while warps < MOST_WARPS and warps * BYTES_PER_WARP < size:
        warps *= 2

    def block(shape: tuple[int, ...]) -> Any:
        """A group's sequences, with padded states: the last two axes."""
        before = shape[:-2]
        return pl.BlockSpec((*before, rows, K), lambda group: (*(0 for _ in before), group, 0))

    def launch(interpret: bool, *arguments: Array) -> Any:
        call = pl.pallas_call(
            partial(kernel, B, H),
            out_shape=[jax.ShapeDtypeStruct(shape, weight.dtype) for shape in shapes],
            grid=((B + rows - 1) // rows,),
            in_specs=[
                pl.BlockSpec((K, K), lambda group: (0, 0)),
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


def _whole(weight: Any, H: int) -> Array:
    """Read a weight, with zeros for padding."""
    row, column = (lax.broadcasted_iota(jnp.int32, weight.shape, axis) for axis in (0, 1))
    return triton.load(weight, mask=(row < H) & (column < H), other=0.0)


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
