"""The kernel of triton-fused, and how it is laid out on a card.

A block of threads loads its rows of W_hh into registers once. Where one block holds them all, the
state never leaves the chip, and each sequence has a block of its own. Else several blocks share the
rows of W_hh; they run at the same time, and read each other's states from memory as soon as these
are there. The backward pass is the same kernel on W_hh^T, from the last step to the first.

Under `TRITON_INTERPRET=1` it runs on the CPU. Blocks are then run one after another, so that those
which share W_hh are launched once per step. What interpretation does not show: that blocks wait for
each other, what the compiler makes of it, and in which order a compiled sum is added up.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

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
# with eight (results/nvidia-h100-80gb-hbm3/kernels.md).
FEW_TERMS = 256

# Fewest rows of W_hh in a block that shares them, and terms of a sum side by side in memory.
FEWEST_ROWS, TERMS = 16, 16

# Times that a block looks for one state before it gives up, which leaves not-a-number in the output
# instead of a kernel that never ends: about a second.
PATIENCE = 2**21

# All ones: not-a-number, but none that arithmetic returns. Stands where no state was written yet.
UNWRITTEN = tl.constexpr(-1)

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@triton.jit
def _tanh(a):
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
def _place(m, T, B, H, ROWS: tl.constexpr, BACKWARD: tl.constexpr):
    """Return where the m-th vector of a block starts in [T, B, H], and its length: 0 past all."""
    step = m // ROWS
    b = tl.program_id(1) * ROWS + m % ROWS
    t = T - 1 - step if BACKWARD else step
    return (tl.cast(t, tl.int64) * B + b) * H, tl.where((b < B) & (step < T), H, 0)


@triton.jit(
    do_not_specialize=["start", "stop", "T", "B", "patience"],
    do_not_specialize_on_alignment=["addend", "first"],
)
def _recur(
    addend,  # [T, B, H]: input products, or gradients of the output
    matrix,  # [SPLIT * J, KO * KI]: W_hh or W_hh^T, zeros beyond H
    first,  # [B, H]: h_0, or the gradient of h_n
    states,  # written: h_0 to h_T, [T + 1, B, H], or ga_1 to ga_T, [T, B, H]
    bits,  # the same memory, as integers
    last,  # written, [B, H]: h_T, or the gradient of h_0
    forward,  # [T + 1, B, H]: h_0 to h_T for the backward pass
    start,
    stop,
    T,
    B,
    H,
    patience,
    BACKWARD: tl.constexpr,
    TANH: tl.constexpr,
    SPLIT: tl.constexpr,
    ROWS: tl.constexpr,
    J: tl.constexpr,
    KO: tl.constexpr,
    KI: tl.constexpr,
    WIDE: tl.constexpr,
):
    j = tl.program_id(0) * J + tl.arange(0, J)
    k = tl.arange(0, KO)[:, None] * KI + tl.arange(0, KI)[None, :]
    # Loaded as two axes and computed with as three: so a thread sums most terms of a row by itself,
    # and few threads share a row, whatever the compiler thinks of the order of three.
    n = tl.arange(0, KO * J)[:, None]
    row, column = tl.program_id(0) * J + n % J, n // J * KI + tl.arange(0, KI)[None, :]
    weight = tl.load(matrix + row * (KO * KI) + column).to(WIDE)
    weight = tl.reshape(weight, [KO, J, KI])
    before = B * H if BACKWARD else 0
    after = 0 if BACKWARD else B * H

    state = tl.zeros([J], WIDE)
    if not BACKWARD:
        for r in range(ROWS):
            b = tl.program_id(1) * ROWS + r
            mine = j < tl.where(b < B, H, 0)
            h_0 = tl.load(first + b * H + j, mine, other=0)
            h_0 = tl.where(h_0 == h_0, h_0, float("nan"))  # any other could look unwritten
            tl.store(states + b * H + j, h_0, mine)
            state = h_0.to(WIDE)

    here, length = _place(start * ROWS, T, B, H, ROWS, BACKWARD)
    added = tl.load(addend + here + j, j < length, other=0)
    slope_of, more = added, added
    if BACKWARD:
        slope_of = tl.load(forward + B * H + here + j, j < length, other=0 if TANH else 1)
        b = tl.program_id(1) * ROWS
        more = tl.load(first + b * H + j, j < tl.where(start == 0, length, 0), other=0)
    # Backward, a step before the first has no slope: it is the gradient of h_0.
    for m in range(start * ROWS, stop * ROWS):
        # What the next step adds is asked for a step ahead.
        ahead, length_ahead = _place(m + 1, T, B, H, ROWS, BACKWARD)
        next_added = tl.load(addend + ahead + j, j < length_ahead, other=0)
        next_slope_of, next_more = next_added, next_added
        if BACKWARD:
            next_slope_of = tl.load(
                forward + B * H + ahead + j, j < length_ahead, other=0 if TANH else 1
            )
            b = tl.program_id(1) * ROWS + m + 1
            next_more = tl.load(
                first + b * H + j, j < tl.where(m + 1 < ROWS, length_ahead, 0), other=0
            )

        b = tl.program_id(1) * ROWS + m % ROWS
        whole = tl.where(b < B, H, 0)
        if SPLIT == 1:
            term = tl.reshape(state, [KO, KI])
        else:
            where = bits + before + here + k
            awaited = k < (tl.where(m < ROWS, 0, whole) if BACKWARD else whole)
            found = tl.load(where, awaited, other=0, volatile=True)
            spins = patience
            while (tl.min(tl.where(found == UNWRITTEN, 0, 1)) == 0) & (spins > 0):
                found = tl.load(where, awaited, other=0, volatile=True)
                spins -= 1
            patience = tl.where(spins > 0, patience, 0)
            term = found.to(states.dtype.element_ty, bitcast=True).to(WIDE)
        product = tl.sum(tl.sum(weight * term[:, None, :], axis=0), axis=1)

        a = added.to(WIDE) + product
        if BACKWARD:
            a += more.to(WIDE)
            h = slope_of.to(WIDE)
            result = a * (1 - h * h) if TANH else tl.where(h > 0, a, 0)
        else:
            result = _tanh(a) if TANH else tl.where(a <= 0, 0, a)
        rounded = result.to(states.dtype.element_ty)
        tl.store(states + after + here + j, rounded, j < length)
        final = m >= (T * ROWS if BACKWARD else (T - 1) * ROWS)
        tl.store(last + b * H + j, rounded, j < tl.where(final, whole, 0))
        state = rounded.to(WIDE)
        here, length, added = ahead, length_ahead, next_added
        slope_of, more = next_slope_of, next_more


# Triton decides when it decorates a kernel.
INTERPRETED = not isinstance(_recur, triton.JITFunction)


class Plan(NamedTuple):
    """How a layer is laid out on the card."""

    split: int  # blocks that share the rows of W_hh
    groups: int  # of batch rows, each with blocks of its own
    rows: int  # of the batch, in a group
    J: int  # rows of W_hh in a block, a power of 2
    KO: int  # terms of a sum: KO * KI, a power of 2
    KI: int
    warps: int


@lru_cache(maxsize=4096)
def plan(B: int, H: int, dtype: torch.dtype, processors: int) -> Plan:
    """Choose a layout.

    Args:
        B: rows of the batch.
        H: size of the state.
        dtype: of the arrays.
        processors: blocks that certainly run at the same time, one on each.
    """
    size = 8 if dtype == torch.float64 else 4
    K = max(TERMS, triton.next_power_of_2(H))
    J = K
    if K * K * size > BYTES_PER_BLOCK:
        while J > FEWEST_ROWS and J * K * size > BYTES_PER_BLOCK:
            J //= 2
        # Where there are processors to spare, each block has fewer rows, and is done sooner.
        while J > FEWEST_ROWS and triton.cdiv(2 * H, J) * B <= processors:
            J //= 2
    split = triton.cdiv(H, J)
    rows = 1 if split == 1 else triton.cdiv(B, max(1, processors // split))
    warps = min(4 if K <= FEW_TERMS else 16, max(1, J * K * size // BYTES_PER_WARP))
    if split > 1:
        # Each thread looks for states of its own: of two that look for one, the first may find it
        # and the second not yet, and only the first is asked.
        warps = min(warps, max(1, K // 32))
    # A warp has whole rows, so that no sum crosses warps. As many threads as share a row then each
    # load 16 bytes of it at a time.
    KI = min(K, max(TERMS, 16 // dtype.itemsize * 32 * warps // J))
    return Plan(split, triton.cdiv(B, rows), rows, J, K // KI, KI, warps)


def run(
    addend: Array,
    matrix: Array,
    first: Array,
    forward: Array | None,
    nonlinearity: str,
    plan: Plan,
) -> tuple[Array, Array]:
    """Run the kernel over all steps, in one launch.

    Args:
        addend: input products, or gradients of the output to go back from the last, `[T, B, H]`.
        matrix: W_hh, or W_hh^T to go back, `[K, K]`, zeros beyond H.
        first: h_0, or the gradient of h_n, `[B, H]`.
        forward: the states h_0 to h_T to go back from, `[T + 1, B, H]`.
        nonlinearity: "tanh" or "relu".
        plan: the layout.

    Returns:
        The states h_0 to h_T `[T + 1, B, H]`, and h_T `[B, H]`; back: the gradients of the steps'
        sums `[T, B, H]`, and of h_0 `[B, H]`. All arrays are contiguous.
    """
    T, B, H = addend.shape
    backward, dtype, device = forward is not None, addend.dtype, addend.device
    together = plan.split > 1
    steps = T + 1
    if together:
        shape = (T if backward else steps, B, H)
        bits = torch.full(shape, UNWRITTEN.value, dtype=_BITS[dtype.itemsize], device=device)
        states = bits.view(dtype)
    else:
        states = bits = addend.new_empty(T if backward else steps, B, H)
    last = addend.new_empty(B, H)
    arrays = addend, matrix, first, states, bits, last, states if forward is None else forward
    launch = _launcher(plan, H, dtype, device, backward, nonlinearity == "tanh")
    if INTERPRETED:
        # Each block needs the last step of all the others, and what each does before any step.
        end = steps if backward else T
        for start, stop in [(0, 0), *((t, t + 1) for t in range(end))] if together else [(0, end)]:
            launch(*arrays, start, stop, T, B, H, PATIENCE)
    elif device.index == torch.cuda.current_device():
        launch(*arrays, 0, steps if backward else T, T, B, H, PATIENCE)
    else:
        with torch.cuda.device(device):
            launch(*arrays, 0, steps if backward else T, T, B, H, PATIENCE)
    return states, last


@lru_cache(maxsize=1024)
def _launcher(
    plan: Plan, H: int, dtype: torch.dtype, device: torch.device, backward: bool, tanh: bool
) -> Callable[..., object]:
    """Return the compiled kernel, to be called on the device with all that is not a constant.

    Triton looks at every argument of every launch to find which compiled kernel fits. A step of a
    small layer takes a third of a microsecond, and that look as long as a hundred steps.
    """
    wide = tl.float64 if dtype == torch.float64 else tl.float32
    constants = (backward, tanh, plan.split, plan.rows, plan.J, plan.KO, plan.KI, wide)
    grid = (plan.split, plan.groups, 1)
    if INTERPRETED:
        return lambda *arguments: _recur[grid](*arguments, *constants)
    # In place of arrays stand their dtypes, in place of sizes that the kernel is not compiled for
    # any number. Blocks that wait for each other must run at the same time: that, or an error, is
    # what a cooperative launch promises.
    arrays = (dtype, dtype, dtype, dtype, _BITS[dtype.itemsize], dtype, dtype)
    if plan.split == 1:
        arrays = (dtype,) * 7
    with torch.cuda.device(device):
        compiled = _recur.warmup(
            *arrays,
            *(0, 0, 0, 0, H, 0),
            *constants,
            grid=grid,
            num_warps=plan.warps,
            enable_fp_fusion=True,
            launch_cooperative_grid=plan.split > 1,
        )[grid]
    return lambda *arguments: compiled(*arguments, *constants)
