"""What bounds the loops of GRU and LSTM on a CPU, in parts that are timed alone.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python results/gates.py lstm > results/reference-gates/lstm.md    # or gru

Forward, float32, one thread, at the sizes of the preset `cpu`; medians of rounds in which the parts
take turns. `products` are the matrix products that the NumPy loop makes, with nothing between them;
`exp and tanh` as many of these as it needs, on arrays of a step's size; oneDNN is what PyTorch's
own layers run on for float32 where nothing is recorded for gradients, `plain` the same layer
without it.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from recurrences.gru import numpy_loop as gru_loop
from recurrences.lstm import numpy_loop as lstm_loop
from rnnparity.problems.sizes import PRESETS, Size
from rnnparity.report.markdown import table
from rnnparity.report.timing_table import seconds

# Seconds for the rounds of a size, and at least so many rounds.
BUDGET, FEWEST = 3.0, 5

# kind: gates, and how many exponentials and tanh a step of the NumPy loop makes of [B, H].
KINDS = {"gru": (3, 2, 1), "lstm": (4, 3, 2)}


def parts(kind: str, size: Size) -> dict[str, Callable[[], Any]]:
    """Return what is timed of one kind of layer at one size, by name."""
    T, B, I, H = size
    G, exps, tanhs = KINDS[kind]
    module = getattr(torch.nn, kind.upper())(I, H)
    x = torch.randn(T, B, I)
    page: Any = {"gru": gru_loop, "lstm": lstm_loop}[kind]
    cell = page.prepare(tuple(p.detach().numpy() for p in module.parameters()))
    x_np, zeros = x.numpy(), np.zeros((B, H), np.float32)
    states = (zeros,) * (2 if kind == "lstm" else 1)
    weight_ih, weight_hh = (np.ones((n, G * H), np.float32) for n in (I, H))
    rows, step = np.empty((T * B, G * H), np.float32), np.empty((B, G * H), np.float32)
    a = np.zeros((B, H), np.float32)

    def with_onednn(enabled: bool) -> None:
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=enabled):
            module(x)

    def products() -> None:
        np.dot(x_np.reshape(T * B, I), weight_ih, out=rows)
        for _ in range(T):
            np.dot(zeros, weight_hh, out=step)

    def transcendental() -> None:
        for _ in range(T):
            for _ in range(exps):
                np.exp(a, out=a)
            np.minimum(a, 0, out=a)
            for _ in range(tanhs):
                np.tanh(a, out=a)

    return {
        f"torch.nn.{kind.upper()}, oneDNN": lambda: with_onednn(True),
        "plain": lambda: with_onednn(False),
        "numpy-loop": lambda: page.layer(x_np, *states, cell),
        "its products": products,
        "its exp and tanh": transcendental,
    }


def medians(timed: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median seconds of each, all in turns."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for call in timed.values():
        call()
    begun = time.perf_counter()
    while len(found["plain"]) < FEWEST or time.perf_counter() - begun < BUDGET:
        for name, call in timed.items():
            before = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - before)
    return {name: float(np.median(one)) for name, one in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    body, head = [], ["T,B,I,H"]
    for size in PRESETS["cpu"][1]:
        found = medians(parts(sys.argv[1], size))
        head = ["T,B,I,H", *found]
        body.append([",".join(map(str, size)), *(seconds(found[name]) for name in found)])
    sys.stdout.write(table(head, body) + "\n")
