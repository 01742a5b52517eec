"""On an NVIDIA card: triton-fused, torch-graph and torch-loop beside cuDNN's torch.nn.RNN.

    python results/card_kernels.py > results/<card>/kernels.jsonl
    python results/card_tables.py results/<card>/kernels.jsonl > results/<card>/kernels.md

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
from itertools import product
from typing import Any

Row = dict[str, Any]
Layer = Callable[[Any, Any], tuple[Any, ...]]  # x [T, B, H], h0 [B, H] -> output, h_n

LENGTHS, BATCHES, WIDTHS = (256, 1024), (1, 16, 32), (64, 128, 256, 512)
PRODUCT_BATCHES = (1, 4, 8, 16, 17, 32, 64)
MODES = "forward", "gradients"
NAMES = "torch.nn.RNN", "triton-fused", "torch-graph", "torch-loop"

# Of the largest element: float32 is off by 1e-6 here, cuDNN's tanh by 1e-5, a wrong term by 1e-2.
ALLOWED = 1e-4

# Rounds, and seconds that one implementation's calls in a round take: long beside an event.
ROUNDS, BLOCK = 7, 5e-3


def layers(module: Any) -> dict[str, Layer]:
    """Return what is timed, with a module's weights."""
    from recurrences.elman import torch_graph, torch_loop, triton_fused

    def cudnn(x: Any, h0: Any) -> tuple[Any, ...]:
        output, h_n = module(x, h0[None])
        return output, h_n[0]

    def prepared(own: Any) -> Layer:
        cell = own.prepare(tuple(module.parameters()), "tanh")
        return lambda x, h0: own.layer(x, h0, cell, "tanh")

    own = map(prepared, (triton_fused, torch_graph, torch_loop))
    return dict(zip(NAMES, (cudnn, *own), strict=True))


def measured(T: int, B: int, H: int) -> Iterator[Row]:
    """Compare all at one size, and time what is right."""
    import torch

    torch.manual_seed(0)
    module = torch.nn.RNN(H, H).cuda()
    x, upstream = torch.randn(2, T, B, H, device="cuda")
    h0, of_h_n = torch.randn(2, B, H, device="cuda")
    x.requires_grad_()
    h0.requires_grad_()

    def gradients(layer: Layer, module: Any = module, dtype: Any = torch.float32) -> Any:
        inputs = x.to(dtype), h0.to(dtype)
        results = layer(*inputs)
        wanted = *inputs, *module.parameters()
        given = upstream.to(dtype), of_h_n.to(dtype)
        # The sum of the biases is made once for all calls, and so is its part of the graph.
        return *results, *torch.autograd.grad(results, wanted, given, retain_graph=True)

    def forward(layer: Layer) -> Any:
        with torch.no_grad():
            return layer(x, h0)

    wide = copy.deepcopy(module).double()
    with torch.backends.cudnn.flags(enabled=False):
        true = gradients(layers(wide)[NAMES[0]], wide, torch.float64)
    right = {}
    for name, layer in layers(module).items():
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


def everything() -> Iterator[Row]:
    """Measure all there is, beginning with what it is measured on."""
    import torch
    import triton

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found = {"torch": torch.__version__, "cuda": torch.version.cuda, "triton": triton.__version__}
    card = {"card": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}
    yield {"phase": "machine", **card, **found}
    for H, T, B in product(WIDTHS, LENGTHS, BATCHES):
        yield from measured(T, B, H)
    for H, B in product(WIDTHS, PRODUCT_BATCHES):
        yield from products(B, H)


if __name__ == "__main__":
    for row in everything():
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
