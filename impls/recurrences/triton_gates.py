"""The kernels of triton-fused for the GRU and the LSTM: all steps of a layer in one launch.

Laid out as recurrences/triton_layout.py says. A block computes its units of every state: for each
of them it holds a row of W_hh per gate. What one step hands to the same unit's next one (of the
LSTM c, of the GRU h beside its product, back what goes past the gates) no other block needs.

None of this has run on a card: it was judged in interpreted form.
"""

import torch
import triton
import triton.language as tl

from recurrences.triton_layout import BITS, UNWRITTEN, Plan, launch, logistic, place, tanh

Array = torch.Tensor

# Sums that are kept of a step: of the LSTM its gates i, f, g, o, of the GRU r, z, n and q, which is
# what r multiplies; back the gradients of i, f, g, o, or of r, z, q and n.
KEPT = 4


@triton.jit
def _weights(matrix, gate, J: tl.constexpr, KO: tl.constexpr, KI: tl.constexpr):
    """Load a block's rows of one gate, [KO, J, KI].

    Loaded as two axes and computed with as three: so a thread sums most terms of a row by itself,
    and few threads share a row, whatever the compiler thinks of the order of three.
    """
    n = tl.arange(0, KO * J)[:, None]
    row = gate * KO * KI + tl.program_id(0) * J + n % J
    column = n // J * KI + tl.arange(0, KI)[None, :]
    return tl.reshape(tl.load(matrix + row * (KO * KI) + column), [KO, J, KI])


@triton.jit
def _product(weight, term):
    return tl.sum(tl.sum(weight * term[:, None, :], axis=0), axis=1)


@triton.jit
def _awaited(bits, where, wanted, patience, WIDE: tl.constexpr):
    """Wait for other blocks' vectors; return what is there, and the patience left."""
    found = tl.load(bits + where, wanted, other=0, volatile=True)
    spins = patience
    while (tl.min(tl.where(found == UNWRITTEN, 0, 1)) == 0) & (spins > 0):
        found = tl.load(bits + where, wanted, other=0, volatile=True)
        spins -= 1
    return found.to(WIDE, bitcast=True), tl.where(spins > 0, patience, 0)


@triton.jit(
    do_not_specialize=["start", "stop", "T", "B", "patience"],
    do_not_specialize_on_alignment=["bias_n", "h_0", "c_0"],
)
def _forward(
    addend,  # [T, B, G * H]: input products and biases
    matrix,  # [G, K, K]: W_hh, zeros beyond H
    bias_n,  # [H], of the GRU
    h_0,  # [B, H]
    c_0,  # [B, H], of the LSTM
    states,  # written: h_0 to h_T, [T + 1, B, H]
    bits,  # the same memory, as integers
    cells,  # written: c_0 to c_T, [T + 1, B, H]; of the GRU the same as states
    kept,  # written, if at all: [T, B, KEPT * H]
    start,
    stop,
    T,
    B,
    H,
    patience,
    LSTM: tl.constexpr,
    KEEP: tl.constexpr,
    SPLIT: tl.constexpr,
    ROWS: tl.constexpr,
    J: tl.constexpr,
    KO: tl.constexpr,
    KI: tl.constexpr,
    WIDE: tl.constexpr,
):
    G: tl.constexpr = 4 if LSTM else 3
    j = tl.program_id(0) * J + tl.arange(0, J)
    k = tl.arange(0, KO)[:, None] * KI + tl.arange(0, KI)[None, :]
    weight_0 = _weights(matrix, 0, J, KO, KI)
    weight_1 = _weights(matrix, 1, J, KO, KI)
    weight_2 = _weights(matrix, 2, J, KO, KI)
    weight_3 = _weights(matrix, G - 1, J, KO, KI)
    bias = tl.load(bias_n + j, j < (0 if LSTM else H), other=0)

    state = tl.zeros([J], WIDE)
    for r in range(ROWS):
        b = tl.program_id(1) * ROWS + r
        mine = j < tl.where(b < B, H, 0)
        state = tl.load(h_0 + b * H + j, mine, other=0)
        state = tl.where(state == state, state, float("nan"))  # any other could look unwritten
        if start == 0:
            tl.store(states + b * H + j, state, mine)
            if LSTM:
                tl.store(cells + b * H + j, tl.load(c_0 + b * H + j, mine, other=0), mine)
    tl.debug_barrier()  # each thread reads what another one may have stored

    here, length = place(start * ROWS, T, B, H, ROWS, False)
    added_0 = tl.load(addend + here * G + j, j < length, other=0)
    added_1 = tl.load(addend + here * G + H + j, j < length, other=0)
    added_2 = tl.load(addend + here * G + 2 * H + j, j < length, other=0)
    added_3 = tl.load(addend + here * G + (G - 1) * H + j, j < length, other=0)
    own = tl.load(cells + here + j, j < length, other=0)
    for m in range(start * ROWS, stop * ROWS):
        # What the next step adds is asked for a step ahead.
        ahead, length_ahead = place(m + 1, T, B, H, ROWS, False)
        next_0 = tl.load(addend + ahead * G + j, j < length_ahead, other=0)
        next_1 = tl.load(addend + ahead * G + H + j, j < length_ahead, other=0)
        next_2 = tl.load(addend + ahead * G + 2 * H + j, j < length_ahead, other=0)
        next_3 = tl.load(addend + ahead * G + (G - 1) * H + j, j < length_ahead, other=0)
        next_own = own
        if ROWS > 1:  # of another sequence, and written a round ago
            next_own = tl.load(cells + ahead + j, j < length_ahead, other=0)

        if SPLIT == 1:
            term = tl.reshape(state, [KO, KI])
        else:
            wanted = k < tl.where(length > 0, H, 0)
            term, patience = _awaited(bits, here + k, wanted, patience, WIDE)
        product_0 = _product(weight_0, term)
        product_1 = _product(weight_1, term)
        product_2 = _product(weight_2, term)
        after = here + B * H
        if LSTM:
            i = logistic(added_0 + product_0)
            f = logistic(added_1 + product_1)
            g = tanh(added_2 + product_2)
            o = logistic(added_3 + _product(weight_3, term))
            own = f * own + i * g
            state = o * tanh(own)
            tl.store(cells + after + j, own, j < length)
        else:
            i = logistic(added_0 + product_0)  # r
            f = logistic(added_1 + product_1)  # z
            o = product_2 + bias  # q
            g = tanh(added_2 + i * o)  # n
            own = g + f * (own - g)
            state = own
        tl.store(states + after + j, state, j < length)
        if KEEP:
            tl.store(kept + here * 4 + j, i, j < length)
            tl.store(kept + here * 4 + H + j, f, j < length)
            tl.store(kept + here * 4 + 2 * H + j, g, j < length)
            tl.store(kept + here * 4 + 3 * H + j, o, j < length)
        here, length = ahead, length_ahead
        added_0, added_1, added_2, added_3 = next_0, next_1, next_2, next_3
        if ROWS > 1:
            own = next_own
            tl.debug_barrier()


@triton.jit
def _given(grad_output, grad_h_n, kept, cells, m, T, B, H, j, ROWS: tl.constexpr):
    """Load what the m-th vector of a block needs beside the steps before it."""
    here, length = place(m, T, B, H, ROWS, True)
    b = tl.program_id(1) * ROWS + m % ROWS
    grad = tl.load(grad_output + here + j, j < length, other=0)
    grad += tl.load(grad_h_n + b * H + j, j < tl.where(m < ROWS, length, 0), other=0)
    i = tl.load(kept + here * 4 + j, j < length, other=0)
    f = tl.load(kept + here * 4 + H + j, j < length, other=0)
    g = tl.load(kept + here * 4 + 2 * H + j, j < length, other=0)
    o = tl.load(kept + here * 4 + 3 * H + j, j < length, other=0)
    before = tl.load(cells + here + j, j < length, other=0)
    after = tl.load(cells + here + B * H + j, j < length, other=0)
    return grad, i, f, g, o, before, after


@triton.jit(
    do_not_specialize=["start", "stop", "T", "B", "patience"],
    do_not_specialize_on_alignment=["grad_output", "grad_h_n"],
)
def _backward(
    grad_output,  # [T, B, H]
    matrix,  # [G, K, K]: of each gate W_hh^T, zeros beyond H
    grad_h_n,  # [B, H]
    kept,  # [T, B, KEPT * H], by the forward pass
    cells,  # [T + 1, B, H]: c_0 to c_T, of the GRU h_0 to h_T
    sums,  # written, [T, B, KEPT * H]: gradients of the steps' sums
    bits,  # the same memory, as integers
    passed,  # read and written, [B, H]: the gradient of c; of the GRU what goes past its gates
    grad_h_0,  # written, [B, H]
    start,
    stop,
    T,
    B,
    H,
    patience,
    LSTM: tl.constexpr,
    SPLIT: tl.constexpr,
    ROWS: tl.constexpr,
    J: tl.constexpr,
    KO: tl.constexpr,
    KI: tl.constexpr,
    WIDE: tl.constexpr,
):
    j = tl.program_id(0) * J + tl.arange(0, J)
    k = tl.arange(0, KO)[:, None] * KI + tl.arange(0, KI)[None, :]
    weight_0 = _weights(matrix, 0, J, KO, KI)
    weight_1 = _weights(matrix, 1, J, KO, KI)
    weight_2 = _weights(matrix, 2, J, KO, KI)
    weight_3 = _weights(matrix, 3 if LSTM else 2, J, KO, KI)

    state_0 = tl.zeros([J], WIDE)
    state_1, state_2, state_3 = state_0, state_0, state_0
    b = tl.program_id(1) * ROWS
    own = tl.load(passed + b * H + j, j < tl.where(b < B, H, 0), other=0)
    grad, i, f, g, o, before, after = _given(
        grad_output, grad_h_n, kept, cells, start * ROWS, T, B, H, j, ROWS
    )
    # The step after the last only makes the gradient of h_0.
    for m in range(start * ROWS, stop * ROWS):
        here, length = place(m, T, B, H, ROWS, True)
        b = tl.program_id(1) * ROWS + m % ROWS
        whole = tl.where(b < B, H, 0)
        # What the next step is given is asked for a step ahead.
        next_grad, next_i, next_f, next_g, next_o, next_before, next_after = _given(
            grad_output, grad_h_n, kept, cells, m + 1, T, B, H, j, ROWS
        )
        if ROWS > 1:  # of another sequence, and written a round ago
            own = tl.load(passed + b * H + j, j < whole, other=0)

        before_it = (here + B * H) * 4 + k
        wanted = k < tl.where(m < ROWS, 0, whole)
        if SPLIT == 1:
            term = tl.reshape(state_0, [KO, KI])
        else:
            term, patience = _awaited(bits, before_it, wanted, patience, WIDE)
        product = _product(weight_0, term)
        if SPLIT == 1:
            term = tl.reshape(state_1, [KO, KI])
        else:
            term, patience = _awaited(bits, before_it + H, wanted, patience, WIDE)
        product += _product(weight_1, term)
        if SPLIT == 1:
            term = tl.reshape(state_2, [KO, KI])
        else:
            term, patience = _awaited(bits, before_it + 2 * H, wanted, patience, WIDE)
        product += _product(weight_2, term)
        if LSTM:
            if SPLIT == 1:
                term = tl.reshape(state_3, [KO, KI])
            else:
                term, patience = _awaited(bits, before_it + 3 * H, wanted, patience, WIDE)
            product += _product(weight_3, term)

        grad += product if LSTM else product + own
        final = tl.where(m >= T * ROWS, whole, 0)
        tl.store(grad_h_0 + b * H + j, grad, j < final)
        if LSTM:
            tanh_c = tanh(after)
            grad_c = own + grad * o * (1 - tanh_c * tanh_c)
            state_0 = grad_c * g * i * (1 - i)
            state_1 = grad_c * before * f * (1 - f)
            state_2 = grad_c * i * (1 - g * g)
            state_3 = grad * tanh_c * o * (1 - o)
            own = grad_c * f
        else:
            state_3 = grad * (1 - f) * (1 - g * g)  # of n
            state_0 = state_3 * o * i * (1 - i)
            state_1 = grad * (before - g) * f * (1 - f)
            state_2 = state_3 * i  # of q
            own = grad * f
        tl.store(passed + b * H + j, own, j < tl.where(m >= T * ROWS, 0, whole))
        tl.store(sums + here * 4 + j, state_0, j < length)
        tl.store(sums + here * 4 + H + j, state_1, j < length)
        tl.store(sums + here * 4 + 2 * H + j, state_2, j < length)
        tl.store(sums + here * 4 + 3 * H + j, state_3, j < length)
        grad, i, f, g, o = next_grad, next_i, next_f, next_g, next_o
        before, after = next_before, next_after
        if ROWS > 1:
            tl.debug_barrier()


def forward(
    addend: Array,
    matrix: Array,
    bias_n: Array | None,
    h0: Array,
    c0: Array | None,
    keep: bool,
    plan: Plan,
) -> tuple[Array, Array, Array]:
    """Run all steps forward.

    Args:
        addend: input products with the biases, `[T, B, 4H]`, or of the GRU `[T, B, 3H]`.
        matrix: of each gate its rows of W_hh, `[4, K, K]` or `[3, K, K]`, zeros beyond H.
        bias_n: of the GRU, what is added to its candidate's product, `[H]`.
        h0: `[B, H]`.
        c0: of the LSTM, `[B, H]`.
        keep: what the backward pass needs.
        plan: the layout.

    Returns:
        h_0 to h_T and c_0 to c_T (of the GRU again h_0 to h_T), `[T + 1, B, H]`, and what was kept,
        `[T, B, 4H]`. All arrays are contiguous, and float32 or float64.
    """
    (T, B, _), H = addend.shape, h0.shape[1]
    states, bits = _awaitable((T + 1, B, H), addend, plan)
    cells = states if c0 is None else torch.empty_like(states)
    kept = addend.new_empty((T, B, KEPT * H) if keep else (1,))
    arrays = (
        *(addend, matrix, h0 if bias_n is None else bias_n, h0, h0 if c0 is None else c0),
        *(states, bits, cells, kept),
    )
    constants = (c0 is not None, keep, *_constants(plan, addend))
    launch(_forward, plan, arrays, (T, B, H), constants, T)
    return states, cells, kept


def backward(
    grad_output: Array,
    matrix: Array,
    grad_h_n: Array,
    grad_c_n: Array | None,
    kept: Array,
    cells: Array,
    plan: Plan,
) -> tuple[Array, Array, Array]:
    """Run all steps back, from the last to the first.

    Args:
        grad_output: `[T, B, H]`.
        matrix: of each gate its rows of W_hh, transposed, `[4, K, K]` or `[3, K, K]`.
        grad_h_n: `[B, H]`.
        grad_c_n: of the LSTM, `[B, H]`.
        kept: by the forward pass, `[T, B, 4H]`.
        cells: c_0 to c_T, of the GRU h_0 to h_T, `[T + 1, B, H]`.
        plan: the layout.

    Returns:
        The gradients of the steps' sums, `[T, B, 4H]` (of i, f, g, o, or of r, z, q, n), of h_0,
        and of c_0, `[B, H]`. All arrays are contiguous, and float32 or float64.
    """
    T, B, H = grad_output.shape
    sums, bits = _awaitable((T, B, KEPT * H), grad_output, plan)
    passed = torch.zeros_like(grad_h_n) if grad_c_n is None else grad_c_n.clone()
    grad_h0 = torch.empty_like(grad_h_n)
    arrays = (grad_output, matrix, grad_h_n, kept, cells, sums, bits, passed, grad_h0)
    constants = (grad_c_n is not None, *_constants(plan, grad_output))
    launch(_backward, plan, arrays, (T, B, H), constants, T + 1)
    return sums, grad_h0, passed


def _awaitable(shape: tuple[int, ...], like: Array, plan: Plan) -> tuple[Array, Array]:
    """Return memory for what is written, and the same as integers; blank if blocks wait for it."""
    if plan.split == 1:
        memory = like.new_empty(shape)
        return memory, memory
    integers = BITS[like.dtype.itemsize]
    bits = torch.full(shape, UNWRITTEN.value, dtype=integers, device=like.device)
    return bits.view(like.dtype), bits


def _constants(plan: Plan, like: Array) -> tuple[object, ...]:
    wide = tl.float64 if like.dtype == torch.float64 else tl.float32
    return plan.split, plan.rows, plan.J, plan.KO, plan.KI, wide
