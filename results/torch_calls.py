"""What bounds torch-loop at the streaming sizes: its calls into PyTorch by themselves.

    python results/torch_calls.py > results/reference-bounds/torch_calls.md

Every call that the loop makes is repeated alone, on the arrays that it is made on, in a loop of its
own over the steps where there is one per step. What `torch.nn.RNN` takes, divided by the sum of the
calls, is the most that a loop of these calls could reach. All take turns on one thread; medians of
41 rounds, in microseconds.
"""

import statistics
import timeit
from collections.abc import Callable

import torch

from recurrences.elman import torch_loop

SIZES = ((1, 1, 64, 64), (64, 1, 32, 32), (200, 1, 256, 256))  # T, B, I, H
ROUNDS, BLOCK = 41, 2e-3

Call = tuple[str, Callable[[], object]]


def calls(T: int, B: int, I: int, H: int) -> tuple[Call, ...]:
    """Return what `torch_loop` calls for a sequence."""
    x, bias, state = torch.randn(T, B, I), torch.randn(H), torch.randn(B, H)
    weight, recurrent = torch.randn(H, I) / H, torch.randn(H, H) / H
    from_x, from_h, h = weight.T, recurrent.T, torch.randn(B, H)
    if T == 1:
        return (
            ("x[0]", lambda: x[0]),
            ("addmm", lambda: torch.addmm(bias, h, from_h)),
            ("addmm_", lambda: h.addmm_(state, from_x)),
            ("tanh_", lambda: torch.tanh_(h)),
            ("[None]", lambda: h[None]),
            ("clone", h.clone),
        )
    small = T * B * I * H < torch_loop.ONEDNN_FROM
    linear = torch.nn.functional.linear if small else torch_loop._linear
    addmv_, tanh_ = torch.Tensor.addmv_, torch.tanh_

    @torch.inference_mode()
    def projected() -> torch.Tensor:
        return linear(x, weight, bias)

    output, vector = projected(), state[0]

    @torch.inference_mode()
    def views() -> tuple[torch.Tensor, ...]:
        return output[:, 0].unbind()

    steps = views()

    @torch.inference_mode()
    def products() -> None:
        for h_t in steps:
            addmv_(h_t, recurrent, vector)

    @torch.inference_mode()
    def activations() -> None:
        for h_t in steps:
            tanh_(h_t)

    return (
        ("linear", projected),
        ("unbind", views),
        (f"{T} addmv_", products),
        (f"{T} tanh_", activations),
        ("output.clone", output.clone),
        ("clone", h.clone),
    )


def measured(T: int, B: int, I: int, H: int) -> str:
    """Return a row of the table."""
    module = torch.nn.RNN(I, H)
    x, h0 = torch.randn(T, B, I), torch.zeros(1, B, H)
    weight_ih, weight_hh, bias_ih, bias_hh = (p.detach() for p in module.parameters())
    prepared = torch_loop.prepare((weight_ih, weight_hh, bias_ih, bias_hh), "tanh")
    parts = calls(T, B, I, H)
    timed = [lambda: module(x, h0), lambda: torch_loop.layer(x, h0[0], prepared, "tanh")]
    timed += [call for _, call in parts]
    with torch.no_grad():
        for f in timed:  # what is done at a first call only would make the blocks too short
            timeit.timeit(f, number=20)
        numbers = [max(1, int(BLOCK / (timeit.timeit(f, number=20) / 20))) for f in timed]
        samples = [
            [timeit.timeit(f, number=n) / n * 1e6 for f, n in zip(timed, numbers, strict=True)]
            for _ in range(ROUNDS)
        ]
    rnn, loop, *each = (statistics.median(one) for one in zip(*samples, strict=True))
    shown = ", ".join(f"`{name}` {us:.2f}" for (name, _), us in zip(parts, each, strict=True))
    most = statistics.median(row[0] / sum(row[2:]) for row in samples)
    cells = (f"{T},{B},{I},{H}", f"{rnn:.1f}", f"{loop:.1f}", shown, f"{sum(each):.1f}")
    return f"| {' | '.join(cells)} | {most:.2f} |"


torch.set_num_threads(1)
print("| T,B,I,H | torch.nn.RNN | torch-loop | its calls alone | their sum | at most |")
print("| --- | --- | --- | --- | --- | --- |")
for size in SIZES:
    print(measured(*size))
