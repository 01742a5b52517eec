"""How a recurrence is laid out on a card for Pallas, and what the pages of pallas-fused share.

A block of the kernel has some sequences of the batch and all of W_hh, which it reads once and holds
over all steps, and needs nothing of another block. Where arrays are on an NVIDIA card, Triton
compiles the kernels; elsewhere they are interpreted.
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

# Bytes of W_hh, padded, that a block holds in registers: of 256 KB that a processor has, with room
# for what is computed, and for a second block. So H is up to 128 of one gate, up to 64 of three or
# four; in float64 half as much. A larger layer is left to XLA (`lax.scan`): its blocks would have
# to share W_hh, and wait for each other every step.
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


def needed() -> None:
    """Say what is missing, if something is.

    Raises:
        NotImplementedError: this JAX lacks what the kernels are written in.
    """
    if not hasattr(triton, "load"):
        raise NotImplementedError("jax.experimental.pallas.triton.load, as of JAX 0.7.1")


def load(reference: Any, mask: Any) -> Array:
    """Read what a mask allows, and 0 elsewhere."""
    found: Array = triton.load(reference, mask=mask, other=0.0)
    return found


def store(reference: Any, value: Array, mask: Any) -> None:
    """Write where a mask allows."""
    triton.store(reference, value, mask=mask)


def run(
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
        weight: of each gate, `[gates, H, H]`.
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
    def chosen(*arguments: Array) -> Any:
        # Where arrays are is known when this is compiled, not yet now, when it is traced.
        ways = {"cuda": partial(launch, False), "default": partial(launch, True)}
        return tuple(lax.platform_dependent(*arguments, **ways))

    chosen.defvjp(
        lambda *arguments: (chosen(*arguments), arguments),
        lambda arguments, gradients: jax.vjp(by_scan, *arguments)[1](gradients),
    )
    return chosen(weight, *arrays)


def inside(state: Any, B: int, H: int) -> Array:
    """Return which elements of a block's states are of a sequence, and not padding."""
    row, column = (lax.broadcasted_iota(jnp.int32, state.shape, axis) for axis in (0, 1))
    return (pl.program_id(0) * len(state) + row < B) & (column < H)


def whole(weight: Any, H: int) -> list[Array]:
    """Read each gate's weight, with zeros for padding."""
    shape = weight.shape[1:]
    row, column = (lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))
    mask = (row < H) & (column < H)
    return [triton.load(weight.at[nth(k)], mask=mask, other=0.0) for k in range(len(weight))]


def nth(k: int) -> Any:
    """Return an index of the type of those that are traced; Pallas takes no others beside them."""
    return jax.dtypes.canonicalize_dtype(int).type(k)


def times(state: Array, weight: Array) -> Array:
    """Multiply in a kernel; one state by a sum over rows, as Triton's product takes no vector."""
    if len(state) == 1:
        return jnp.sum(state.T * weight, axis=0)[None]
    return product(state, weight)


def product(one: Array, other: Array) -> Array:
    """Multiply, in the arrays' own precision unless JAX is set to another one for float32."""
    set_to = jax.config.values["jax_default_matmul_precision"]
    own = set_to is None or one.dtype == jnp.float64
    return jnp.matmul(one, other, precision=lax.Precision.HIGHEST if own else None)
