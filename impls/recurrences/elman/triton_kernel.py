"""The kernel of triton-fused: all steps of one layer in one launch (recurrences/triton_layout.py).

Each block computes its rows of every state. The backward pass is the same kernel on W_hh^T, from
the last step to the first.
"""

import torch
import triton
import triton.language as tl

from recurrences.triton_layout import BITS, UNWRITTEN, Plan, launch, place, tanh

Array = torch.Tensor


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
    weight = tl.load(matrix + row * (KO * KI) + column)
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
            state = h_0

    here, length = place(start * ROWS, T, B, H, ROWS, BACKWARD)
    added = tl.load(addend + here + j, j < length, other=0)
    slope_of, more = added, added
    if BACKWARD:
        slope_of = tl.load(forward + B * H + here + j, j < length, other=0 if TANH else 1)
        b = tl.program_id(1) * ROWS
        more = tl.load(first + b * H + j, j < tl.where(start == 0, length, 0), other=0)
    # Backward, a step before the first has no slope: it is the gradient of h_0.
    for m in range(start * ROWS, stop * ROWS):
        # What the next step adds is asked for a step ahead.
        ahead, length_ahead = place(m + 1, T, B, H, ROWS, BACKWARD)
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
            term = found.to(WIDE, bitcast=True)
        product = tl.sum(tl.sum(weight * term[:, None, :], axis=0), axis=1)

        a = added + product
        if BACKWARD:
            a += more
            h = slope_of
            state = a * (1 - h * h) if TANH else tl.where(h > 0, a, 0)
        else:
            state = tanh(a) if TANH else tl.where(a <= 0, 0, a)
        tl.store(states + after + here + j, state, j < length)
        final = m >= (T * ROWS if BACKWARD else (T - 1) * ROWS)
        tl.store(last + b * H + j, state, j < tl.where(final, whole, 0))
        here, length, added = ahead, length_ahead, next_added
        slope_of, more = next_slope_of, next_more


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
        sums `[T, B, H]`, and of h_0 `[B, H]`. All arrays are contiguous, and float32 or float64.
    """
    T, B, H = addend.shape
    backward, dtype, device = forward is not None, addend.dtype, addend.device
    together = plan.split > 1
    steps = T + 1
    if together:
        shape = (T if backward else steps, B, H)
        bits = torch.full(shape, UNWRITTEN.value, dtype=BITS[dtype.itemsize], device=device)
        states = bits.view(dtype)
    else:
        states = bits = addend.new_empty(T if backward else steps, B, H)
    last = addend.new_empty(B, H)
    arrays = addend, matrix, first, states, bits, last, states if forward is None else forward
    wide = tl.float64 if dtype == torch.float64 else tl.float32
    layout = plan.split, plan.rows, plan.J, plan.KO, plan.KI
    constants = (backward, nonlinearity == "tanh", *layout, wide)
    launch(_recur, plan, arrays, (T, B, H), constants, steps if backward else T)
    return states, last
