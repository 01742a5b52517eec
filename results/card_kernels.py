"""On an NVIDIA card: triton-fused, torch-graph and torch-loop beside cuDNN's layers.

    python results/card_kernels.py > results/<card>/kernels.jsonl
    python results/card_tables.py results/<card>/kernels.jsonl > results/<card>/kernels.md
    python results/card_kernels.py lstm > results/<card>/kernels-lstm.jsonl  # or: gru

Each is first compared with the recurrence in float64, which PyTorch makes without cuDNN; what is
wrong is not timed. Then all take turns, some calls between two events of the device's queue at a
time, and who is first changes every round: medians, least and most of the rounds, in microseconds.
Last, a step's product alone, repeated in a CUDA graph, as torch-graph does to choose a way to ask
for it. float32 in full precision, tanh, I = H. A row per measurement, as JSON.
"""

import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

Row = dict[str, Any]
Layer = Callable[..., tuple[Any, ...]]  # x [T, B, H], h0 (and c0) [B, H] -> output, h_n (and c_n)

LENGTHS, BATCHES, WIDTHS = (256, 1024), (1, 16, 32), (64, 128, 256, 512)
PRODUCT_BATCHES = (1, 4, 8, 16, 17, 32, 64)
MODES = "forward", "gradients"
BASELINES = {"rnn": "torch.nn.RNN", "gru": "torch.nn.GRU", "lstm": "torch.nn.LSTM"}
PAGES = {  # where there is a page of the name for a kind
    "rnn": ("recurrences.elman", "triton-fused", "torch-graph", "torch-loop"),
    "gru": ("recurrences.gru", "triton-fused", "torch-loop"),
    "lstm": ("recurrences.lstm", "triton-fused", "torch-loop"),
}

# Of the largest element: float32 is off by 1e-6 here, cuDNN's tanh by 1e-5, a wrong term by 1e-2.
ALLOWED = 1e-4

# Rounds, and seconds that one implementation's calls in a round take: long beside an event.
ROUNDS, BLOCK = 7, 5e-3


def layers(kind: str, module: Any) -> dict[str, Layer]:
    """Return what is timed, with a module's weights."""

    def cudnn(x: Any, *states: Any) -> tuple[Any, ...]:
        given = tuple(state[None] for state in states)
        output, last = module(x, given if kind == "lstm" else given[0])
        return output, *(one[0] for one in (last if kind == "lstm" else (last,)))

    def prepared(own: Any) -> Layer:
        more = ("tanh",) if kind == "rnn" else ()
        cell = own.prepare(tuple(module.parameters()), *more)
        return lambda x, *states: own.layer(x, *states, cell, *more)

    package, *names = PAGES[kind]
    pages = (import_module(f"{package}.{name.replace('-', '_')}") for name in names)
    return {BASELINES[kind]: cudnn} | dict(zip(names, map(prepared, pages), strict=True))


def measured(kind: str, T: int, B: int, H: int) -> Iterator[Row]:
    """Compare all at one size, and time what is right."""
    import torch

    torch.manual_seed(0)
    module = getattr(torch.nn, kind.upper())(H, H).cuda()
    x, upstream = torch.randn(2, T, B, H, device="cuda")
    states, of_last = torch.randn(2, 2 if kind == "lstm" else 1, B, H, device="cuda")
    inputs = [one.clone().requires_grad_() for one in (x, *states)]

    def gradients(layer: Layer, module: Any = module, dtype: Any = torch.float32) -> Any:
        given = [one.to(dtype) for one in inputs]
        results = layer(*given)
        wanted = *given, *module.parameters()
        above = [one.to(dtype) for one in (upstream, *of_last)]
        # The sum of the biases is made once for all calls, and so is its part of the graph.
        return *results, *torch.autograd.grad(results, wanted, above, retain_graph=True)

    def forward(layer: Layer) -> Any:
        with torch.no_grad():
            return layer(*inputs)

    wide = copy.deepcopy(module).double()
    with torch.backends.cudnn.flags(enabled=False):
        true = gradients(layers(kind, wide)[BASELINES[kind]], wide, torch.float64)
    right = {}
    for name, layer in layers(kind, module).items():
        error = max(
            float((one - exact).detach().abs().max() / exact.detach().abs().max())
            for one, exact in zip(gradients(layer), true, strict=True)
        )
        ok = error <= ALLOWED
        yield {"phase": "check", "impl": name, "T": T, "B": B, "H": H, "error": error, "ok": ok}
        if ok:
            right[name] = layer
    for mode, call in zip(MODES, (forward, gradients), strict=True):
        found = turns([partial(call, layer) for layer in right.values()])
        for name, us in zip(right, found, strict=True):
            spread = {"us": statistics.median(us), "least": min(us), "most": max(us)}
            yield {"phase": "time", "impl": name, "mode": mode, "T": T, "B": B, "H": H, **spread}


def turns(timed: Sequence[Callable[[], object]]) -> list[list[float]]:
    """Return the microseconds of each call in each round."""
    import torch

    numbers = []
    for call in timed:
        call()  # what is done at a first call only would make the blocks too short
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        numbers.append(max(1, int(BLOCK / (time.perf_counter() - start))))
    samples: list[list[float]] = [[] for _ in timed]
    for i in range(ROUNDS):
        for which in (*range(i % len(timed), len(timed)), *range(i % len(timed))):
            start_of, end_of = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start_of.record()
            for _ in range(numbers[which]):
                timed[which]()
            end_of.record()
            end_of.synchronize()
            samples[which].append(start_of.elapsed_time(end_of) / numbers[which] * 1e3)
    return samples


def products(B: int, H: int) -> Iterator[Row]:
    """Time the ways to add B states times W^T to a total."""
    import torch

    from recurrences.elman import torch_graph as graph

    rows = torch.randn(H, H, device="cuda") / H
    columns = rows.t().contiguous().t()  # the same matrix, column after column in memory
    ways = {
        "whole, columns": (graph._whole, columns),
        "whole, rows": (graph._whole, rows),
        "by rows, columns": (graph._by_rows, columns),
        "by rows, rows": (graph._by_rows, rows),
        "by columns, rows": (graph._by_columns, rows),
    }
    states = torch.randn(2, B, H, device="cuda").unbind()
    for way, (ask, matrix) in ways.items():

        def repeated(total: Any, h: Any, ask: Any = ask, matrix: Any = matrix) -> tuple[Any]:
            for _ in range(graph.TIMED):
                ask(total, h, matrix)
            return (total,)

        us = graph._milliseconds(graph.Captured(repeated, states)) / graph.TIMED * 1e3
        yield {"phase": "product", "B": B, "H": H, "way": way, "us": us}


def everything(kind: str) -> Iterator[Row]:
    """Measure all there is, beginning with what it is measured on."""
    import torch
    import triton

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found = {"torch": torch.__version__, "cuda": torch.version.cuda, "triton": triton.__version__}
    card = {"card": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}
    yield {"phase": "machine", **card, **found}
    for H, T, B in product(WIDTHS, LENGTHS, BATCHES):
        yield from measured(kind, T, B, H)
    for H, B in product(WIDTHS, PRODUCT_BATCHES if kind == "rnn" else ()):
        yield from products(B, H)


if __name__ == "__main__":
    for row in everything(sys.argv[1] if len(sys.argv) > 1 else "rnn"):
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
