"""What bounds torch-loop at the streaming sizes: its calls into PyTorch by themselves.

    python results/reference-bounds/torch_calls.py > results/reference-bounds/torch_calls.md

Every call that the loop makes is repeated alone, on arrays of the size; nothing depends on
anything, and no Python stands between but the repetition. What `torch.nn.RNN` takes, divided by
the sum of the calls, is the most that a loop of these calls could reach. All take turns on one
thread; medians of 41 rounds, in microseconds.
"""

import statistics
import timeit
from collections.abc import Callable

import torch

from elman import torch_loop

SIZES = ((1, 1, 64, 64), (64, 1, 32, 32), (200, 1, 256, 256))  # T, B, I, H
ROUNDS, BLOCK = 41, 2e-3

Call = tuple[str, int, Callable[[], object]]  # its name, how often a sequence needs it


def calls(T: int, B: int, I: int, H: int) -> tuple[Call, ...]:
    """Return what `torch_loop` calls for a sequence."""
    small = T * B * I * H < torch_loop.ONEDNN_FROM
    linear = torch.nn.functional.linear if small else torch_loop._linear
    x, bias = torch.randn(T, B, I), torch.randn(H)
    weight, recurrent, state = torch.randn(H, I), torch.randn(H, H), torch.randn(B, H)
    output, transposed, h_t = linear(x, weight, bias), recurrent.T, torch.randn(B, H)
    product: Call = ("addmm_", T, lambda: torch.Tensor.addmm_(h_t, state, transposed, beta=0))
    if T >= torch_loop.LONG:
        row, vector = h_t[0], state[0]
        product = ("addmv_", T, lambda: torch.Tensor.addmv_(row, recurrent, vector, beta=0))
    tanh: Call = ("tanh_", T, lambda: torch.tanh_(h_t))
    once: Call = ("linear", 1, lambda: linear(x, weight, bias))
    return once, ("unbind", 1, output.unbind), product, tanh, ("clone", 1, state.clone)


def measured(T: int, B: int, I: int, H: int) -> str:
    """Return a row of the table."""
    module = torch.nn.RNN(I, H)
    x, h0 = torch.randn(T, B, I), torch.zeros(1, B, H)
    weight_ih, weight_hh, bias_ih, bias_hh = (p.detach() for p in module.parameters())
    prepared = torch_loop.prepare((weight_ih, weight_hh, bias_ih, bias_hh), "tanh")
    parts = calls(T, B, I, H)
    timed = [lambda: module(x, h0), lambda: torch_loop.layer(x, h0[0], prepared, "tanh")]
    timed += [call for _, _, call in parts]
    with torch.inference_mode():
        numbers = [max(1, int(BLOCK / (timeit.timeit(f, number=20) / 20))) for f in timed]
        samples = [
            [timeit.timeit(f, number=n) / n * 1e6 for f, n in zip(timed, numbers, strict=True)]
            for _ in range(ROUNDS)
        ]
    rnn, loop, *each = (statistics.median(one) for one in zip(*samples, strict=True))
    found = [(name, count, us) for (name, count, _), us in zip(parts, each, strict=True)]
    shown = ", ".join(f"{count} `{name}` of {us:.2f}" for name, count, us in found)
    total = sum(count * us for _, count, us in found)
    cells = (f"{T},{B},{I},{H}", f"{rnn:.1f}", f"{loop:.1f}", shown, f"{total:.1f}")
    return f"| {' | '.join(cells)} | {rnn / total:.2f} |"


torch.set_num_threads(1)
print("| T,B,I,H | torch.nn.RNN | torch-loop | its calls alone | their sum | at most |")
print("| --- | --- | --- | --- | --- | --- |")
for size in SIZES:
    print(measured(*size))
