"""The recurrence as one Triton kernel: every step of a layer in one launch, W_hh on chip.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. The input products of all steps are one
matrix product before; the kernel adds the recurrent ones. A block of threads loads its rows of W_hh
into registers once. Where one block holds them all, the state never leaves the chip, and each
sequence has a block of its own. Else several blocks share the rows of W_hh; they run at the same
time, and read each other's states from memory as soon as these are there. The backward pass is the
same kernel on W_hh^T, from the last step to the first.

Under `TRITON_INTERPRET=1` it runs on the CPU. Blocks are then run one after another, so that those
which share W_hh are launched once per step. What interpretation does not show: that blocks wait for
each other, what the compiler makes of it, and in which order a compiled sum is added up.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")

# Bytes of W_hh, as it is computed with, in the registers of one block: of 256 KB that a processor
# has, with room for what is computed. Each of a block's 32-thread warps holds 8 KB of it.
BYTES_PER_BLOCK = 2**16
BYTES_PER_WARP = 2**13

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


@triton.jit
def _recur(
    addend,  # [T, B, H]: input products, or gradients of the output
    matrix,  # [SPLIT * J, KO * KI]: W_hh or W_hh^T, zeros beyond H
    states,  # [T + 1, B, H]: h_0 to h_T; backward ga_1 to ga_T, and zeros
    bits,  # the same memory, as integers
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

    here, length = _place(start * ROWS, T, B, H, ROWS, BACKWARD)
    mine = j < length
    added = tl.load(addend + here + j, mine, other=0)
    slope_of = tl.load(forward + B * H + here + j, mine, other=0) if BACKWARD else added
    state = tl.load(states + before + here + j, mine, other=0).to(WIDE)
    for m in range(start * ROWS, stop * ROWS):
        # What the next step adds is asked for a step ahead.
        ahead, length_ahead = _place(m + 1, T, B, H, ROWS, BACKWARD)
        next_added = tl.load(addend + ahead + j, j < length_ahead, other=0)
        next_slope_of = next_added
        if BACKWARD:
            next_slope_of = tl.load(forward + B * H + ahead + j, j < length_ahead, other=0)

        if SPLIT == 1:
            term = tl.reshape(state, [KO, KI])
        else:
            where, awaited = bits + before + here + k, k < length
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
            h = slope_of.to(WIDE)
            result = a * (1 - h * h) if TANH else tl.where(h > 0, a, 0)
        else:
            result = _tanh(a) if TANH else tl.where(a <= 0, 0, a)
        rounded = result.to(states.dtype.element_ty)
        tl.store(states + after + here + j, rounded, j < length)
        state = rounded.to(WIDE)
        here, length, added, slope_of = ahead, length_ahead, next_added, next_slope_of


# Triton decides when it decorates a kernel.
INTERPRETED = not isinstance(_recur, triton.JITFunction)
devices = ("cpu",) if INTERPRETED else ("cuda",)


class Plan(NamedTuple):
    """How a layer is laid out on the card."""

    split: int  # blocks that share the rows of W_hh
    groups: int  # of batch rows, each with blocks of its own
    rows: int  # of the batch, in a group
    J: int  # rows of W_hh in a block, a power of 2
    KO: int  # terms of a sum: KO * KI, a power of 2
    KI: int
    warps: int


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
    warps = min(16, max(1, J * K * size // BYTES_PER_WARP))
    # A warp has whole rows, so that no sum crosses warps. As many threads as share a row then each
    # load 16 bytes of it at a time.
    KI = min(K, max(TERMS, 16 // dtype.itemsize * 32 * warps // J))
    return Plan(split, triton.cdiv(B, rows), rows, J, K // KI, KI, warps)


class Prepared(NamedTuple):
    """A cell's weights, and W_hh as the kernel reads it: for each direction, padded with zeros."""

    weight_ih: Array  # [H, I]
    weight_hh: Array  # [H, H]
    bias: Array  # bias_ih + bias_hh, [H]
    padded: Array  # [K, K], K a power of 2
    transposed: Array  # [K, K]


def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    H = len(weight_hh)
    missing = max(TERMS, triton.next_power_of_2(H)) - H
    padded = torch.nn.functional.pad(weight_hh.detach(), (0, missing, 0, missing)).contiguous()
    return Prepared(weight_ih, weight_hh, bias_ih + bias_hh, padded, padded.T.contiguous())


def layer(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    (B, H), processors = h0.shape, _processors(x.device)
    chosen = plan(B, H, x.dtype, processors)
    if chosen.split > processors:  # too wide for the card: each product fills it by itself
        return _loop(x, h0, cell, nonlinearity)
    output, h_n = _Recurrence.apply(  # type: ignore[no-untyped-call]
        x, h0, cell.weight_ih, cell.weight_hh, cell.bias, cell, nonlinearity, chosen
    )
    return output, h_n


class _Recurrence(torch.autograd.Function):
    """The recurrence, and its gradients by backpropagation through time (Werbos, 1990).

        grad_a_t = (grad_output_t + grad_a_{t+1} W_hh) * f'(a_t)

    with f' = 1 - h_t^2 for tanh and [h_t > 0] for relu.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Array, Array]:
        x, h0, weight_ih, weight_hh, bias, cell, nonlinearity, chosen = arguments
        projected = torch.nn.functional.linear(x, weight_ih, bias).contiguous()
        states = _launch(projected, cell.padded, h0, None, nonlinearity, chosen)
        ctx.save_for_backward(x, weight_ih, weight_hh, states)
        ctx.transposed, ctx.nonlinearity, ctx.plan = cell.transposed, nonlinearity, chosen
        return states[1:], states[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Array, grad_h_n: Array) -> tuple[Array | None, ...]:
        x, weight_ih, weight_hh, states = ctx.saved_tensors
        (T, B, I), H = x.shape, len(weight_hh)
        upstream = grad_output.clone(memory_format=torch.contiguous_format)
        upstream[-1] += grad_h_n
        after = upstream, ctx.transposed, torch.zeros_like(grad_h_n), states
        grad_a = _launch(*after, ctx.nonlinearity, ctx.plan)[:-1]
        rows = grad_a.view(T * B, H)
        return (
            (rows @ weight_ih).view(T, B, I),
            grad_a[0] @ weight_hh,
            rows.T @ x.reshape(T * B, I),
            rows.T @ states[:-1].view(T * B, H),
            rows.sum(0),
            None,
            None,
            None,
        )


def _launch(
    addend: Array,
    matrix: Array,
    first: Array,
    forward: Array | None,
    nonlinearity: str,
    plan: Plan,
) -> Array:
    """Run the kernel, and return all states `[T + 1, B, H]`: the first, and one for each step.

    Args:
        addend: what each step adds to its product, `[T, B, H]`.
        matrix: `[K, K]`.
        first: the state before the first step, `[B, H]`.
        forward: the states of the forward pass, `[T + 1, B, H]`, to go back from the last.
        nonlinearity: "tanh" or "relu".
        plan: the layout.
    """
    T, B, H = addend.shape
    shape, bits_dtype = (T + 1, B, H), _BITS[addend.element_size()]
    together = plan.split > 1
    bits = torch.empty(shape, dtype=bits_dtype, device=addend.device)
    if together:
        bits.fill_(UNWRITTEN.value)
    states = bits.view(addend.dtype)
    states[0 if forward is None else T] = first
    # Blocks that wait for each other must run at the same time: that, or an error, is what a
    # cooperative launch promises. Interpreted, each needs the last step of all the others.
    spans = [(t, t + 1) for t in range(T)] if INTERPRETED and together else [(0, T)]
    with torch.cuda.device_of(addend):
        for start, stop in spans:
            _recur[(plan.split, plan.groups)](
                addend,
                matrix,
                states,
                bits,
                states if forward is None else forward,
                start,
                stop,
                T,
                B,
                H,
                PATIENCE,
                BACKWARD=forward is not None,
                TANH=nonlinearity == "tanh",
                SPLIT=plan.split,
                ROWS=plan.rows,
                J=plan.J,
                KO=plan.KO,
                KI=plan.KI,
                WIDE=tl.float64 if addend.dtype == torch.float64 else tl.float32,
                num_warps=plan.warps,
                enable_fp_fusion=True,
                launch_cooperative_grid=together,
            )
    return states


def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 132  # an H100's, so that what is interpreted is laid out as there
    return torch.cuda.get_device_properties(device).multi_processor_count


def _loop(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    activate = {"tanh": torch.tanh, "relu": torch.relu}[nonlinearity]
    h, steps = h0, []
    for projected_t in torch.nn.functional.linear(x, cell.weight_ih, cell.bias):
        h = activate(torch.addmm(projected_t, h, cell.weight_hh.T))
        steps.append(h)
    return torch.stack(steps), h.clone()
