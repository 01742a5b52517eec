"""How a recurrence is laid out on a card for Triton, and what its kernels have in common.

A block of threads loads its rows of W_hh into registers once. Where one block holds them all, the
state never leaves the chip, and each sequence has a block of its own. Else several blocks share the
rows of W_hh; they run at the same time, and read each other's states from memory as soon as these
are there.

Under `TRITON_INTERPRET=1` kernels run on the CPU. Blocks are then run one after another, so that
those which share W_hh are launched once per step. What interpretation does not show: that blocks
wait for each other, what the compiler makes of it, and in which order a compiled sum is added up.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

Array = torch.Tensor

# Bytes of W_hh, as it is computed with, in the registers of one block: of 256 KB that a processor
# has, with room for what is computed. Each of a block's 32-thread warps holds 8 KB of it.
BYTES_PER_BLOCK = 2**16
BYTES_PER_WARP = 2**13

# Up to so many terms a step is so short that more than four warps cost more by waiting for each
# other than they save: at H=128 and T=1024 a forward pass takes 315 to 360 us with four, 427 to 457
# with eight (results/nvidia-h100-80gb-hbm3/kernels.md). Where a unit has gates, eight: with four
# registers do not suffice, as the compiler says.
FEW_TERMS = 256

# Fewest rows of W_hh in a block that shares them, and terms of a sum side by side in memory.
FEWEST_ROWS, TERMS = 16, 16

# Times that a block looks for one state before it gives up, which leaves not-a-number in the output
# instead of a kernel that never ends: about a second.
PATIENCE = 2**21

# All ones: not-a-number, but none that arithmetic returns. Stands where no state was written yet.
UNWRITTEN = tl.constexpr(-1)

BITS = {4: torch.int32, 8: torch.int64}


@triton.jit
def tanh(a):
    """By one division: of Pade's approximant [7/6] near zero, where the other would cancel."""
    size = tl.abs(a)
    s = size * size
    grown = tl.exp(2 * tl.where(size > 20, 20, size))  # not-a-number stays what it is
    near = size < 0.4
    above = size * (((s + 378) * s + 17325) * s + 135135)
    below = ((28 * s + 3150) * s + 62370) * s + 135135
    result = tl.where(near, above, grown - 1) / tl.where(near, below, grown + 1)
    return tl.where(a < 0, -result, result)


@triton.jit
def logistic(a):
    """Return 1 / (1 + exp(-a)), the smaller of it and its complement by a division of its own."""
    grown = tl.exp(-tl.abs(a))  # at most 1: nothing overflows
    return tl.where(a < 0, grown, 1) / (1 + grown)


@triton.jit
def place(m, T, B, H, ROWS: tl.constexpr, BACKWARD: tl.constexpr):
    """Return where the m-th vector of a block starts in [T, B, H], and its length: 0 past all."""
    step = m // ROWS
    b = tl.program_id(1) * ROWS + m % ROWS
    t = T - 1 - step if BACKWARD else step
    return (tl.cast(t, tl.int64) * B + b) * H, tl.where((b < B) & (step < T), H, 0)


# Triton decides when it decorates a kernel.
INTERPRETED = not isinstance(place, triton.JITFunction)


class Plan(NamedTuple):
    """How a layer is laid out on the card."""

    split: int  # blocks that share the rows of W_hh
    groups: int  # of batch rows, each with blocks of its own
    rows: int  # of the batch, in a group
    J: int  # rows of W_hh in a block, of each gate, a power of 2
    KO: int  # terms of a sum: KO * KI, a power of 2
    KI: int
    warps: int


@lru_cache(maxsize=4096)
def plan(B: int, H: int, dtype: torch.dtype, processors: int, gates: int = 1) -> Plan:
    """Choose a layout.

    Args:
        B: rows of the batch.
        H: size of the state.
        dtype: of the arrays, float32 or float64.
        processors: blocks that certainly run at the same time, one on each.
        gates: how many times H rows W_hh has.
    """
    size = dtype.itemsize * gates
    K = width(H)
    J = K
    if K * K * size > BYTES_PER_BLOCK:
        while J > FEWEST_ROWS and J * K * size > BYTES_PER_BLOCK:
            J //= 2
        # Where there are processors to spare, each block has fewer rows, and is done sooner.
        while J > FEWEST_ROWS and triton.cdiv(2 * H, J) * B <= processors:
            J //= 2
    split = triton.cdiv(H, J)
    rows = 1 if split == 1 else triton.cdiv(B, max(1, processors // split))
    most = 16 if K > FEW_TERMS else 4 if gates == 1 else 8
    warps = min(most, triton.next_power_of_2(triton.cdiv(J * K * size, BYTES_PER_WARP)))
    if split > 1:
        # Each thread looks for states of its own: of two that look for one, the first may find it
        # and the second not yet, and only the first is asked.
        warps = min(warps, max(1, K // 32))
    # A warp has whole rows, so that no sum crosses warps. As many threads as share a row then each
    # load 16 bytes of it at a time.
    KI = min(K, max(TERMS, 16 // dtype.itemsize * 32 * warps // J))
    return Plan(split, triton.cdiv(B, rows), rows, J, K // KI, KI, warps)


def width(H: int) -> int:
    """Return how many terms a sum over H states has: a power of 2, what is beyond H being zero."""
    return int(max(TERMS, triton.next_power_of_2(H)))


@lru_cache
def processors(device: torch.device) -> int:
    """Return how many blocks certainly run at the same time."""
    if device.type != "cuda":
        return 132  # an H100's, so that what is interpreted is laid out as there
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def launch(
    kernel: Any,
    plan: Plan,
    arrays: Sequence[Array],
    sizes: tuple[int, int, int],
    constants: tuple[Any, ...],
    steps: int,
) -> None:
    """Run a kernel over all steps, in one launch; interpreted, in one per step if blocks wait.

    Args:
        kernel: takes the arrays, the first step and the one after the last, T, B, H, how often a
            block looks for a state, and the constants.
        plan: the layout.
        arrays: contiguous, on one device.
        sizes: T, B and H.
        constants: what the kernel is compiled for; hashable.
        steps: how many are made.
    """
    device = arrays[0].device
    dtypes = tuple(array.dtype for array in arrays)
    start = _launcher(kernel, plan, dtypes, sizes[2], constants, device)
    if INTERPRETED:
        # Each block needs the last step of all the others, and what each does before any step.
        together = [(0, 0), *((t, t + 1) for t in range(steps))] if plan.split > 1 else [(0, steps)]
        for first, end in together:
            start(*arrays, first, end, *sizes, PATIENCE)
    elif device.index == torch.cuda.current_device():
        start(*arrays, 0, steps, *sizes, PATIENCE)
    else:
        with torch.cuda.device(device):
            start(*arrays, 0, steps, *sizes, PATIENCE)


@lru_cache(maxsize=1024)
def _launcher(
    kernel: Any,
    plan: Plan,
    dtypes: tuple[torch.dtype, ...],
    H: int,
    constants: tuple[Any, ...],
    device: torch.device,
) -> Callable[..., object]:
    """Return the compiled kernel, to be called on the device with all that is not a constant.

    Triton looks at every argument of every launch to find which compiled kernel fits. A step of a
    small layer takes a third of a microsecond, and that look as long as a hundred steps.
    """
    grid = (plan.split, plan.groups, 1)
    if INTERPRETED:
        return lambda *arguments: kernel[grid](*arguments, *constants)
    # In place of arrays stand their dtypes, in place of sizes that the kernel is not compiled for
    # any number. Blocks that wait for each other must run at the same time: that, or an error, is
    # what a cooperative launch promises.
    with torch.cuda.device(device):
        compiled = kernel.warmup(
            *dtypes,
            *(0, 0, 0, 0, H, 0),
            *constants,
            grid=grid,
            num_warps=plan.warps,
            enable_fp_fusion=True,
            launch_cooperative_grid=plan.split > 1,
        )[grid]
    return lambda *arguments: compiled(*arguments, *constants)
