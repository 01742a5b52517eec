"""Time jax-newton against jax-scan over T, H and B, forward, with the iterations that it takes.

    python results/newton.py cuda --seconds 80 > results/<card>/newton.md
    python results/newton.py cpu --seconds 900 > results/reference-newton/newton.md

Both are compiled, called once on the arrays that are timed, and compared with the recurrence in
float64: what is off by more than ten times what the other is off by has no time. Then they take
turns in one process, a call each at a time, every result waited for. A ratio is the median over
rounds of the quotient within a round, with a bootstrap interval of 95%. float32 in full precision,
I = H, weights uniform within 1/sqrt(H), as torch.nn.RNN draws them, x and h0 normal; `--radius R`
scales the recurrent weights to that spectral radius. The longest come first; what there is no time
for is named.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import numpy as np

from recurrences.elman import jax_newton, jax_scan
from rnnparity.implementations.settings import Settings
from rnnparity.records.environment import environment
from rnnparity.report.timing_table import seconds
from rnnparity.timing import statistics

LENGTHS, WIDTHS, BATCHES = (10000, 1000, 100), (2, 4, 8, 16, 32, 64), (16, 1)

COLUMNS = (
    *("T,B,H", "jax-scan", "jax-newton", "times as fast", "iterations", "settled"),
    *("error of jax-scan", "error of jax-newton"),
)

# Rounds per size: enough for an interval, and at most so many in so many seconds.
LEAST, MOST, SHARE = 7, 41, 1.0

# How much further from the truth than the other one may be; what is wrong is thousands of times.
WORSE = 10.0

Problem = tuple[Any, Any, tuple[Any, Any, Any, Any]]  # x [T, B, H], h0 [B, H], cell


def draw(T: int, B: int, H: int, radius: float | None = None) -> Problem:
    """Return a problem in NumPy's arrays, float32; with a spectral radius, if one is given."""
    random, bound = np.random.default_rng(0), H**-0.5
    shapes = ((H, H), (H, H), (H,), (H,))
    drawn = [random.uniform(-bound, bound, shape) for shape in shapes]
    if radius is not None:
        drawn[1] *= radius / np.abs(np.linalg.eigvals(drawn[1])).max()
    cell = tuple(weight.astype(np.float32) for weight in drawn)
    x, h0 = random.standard_normal((T, B, H)), random.standard_normal((B, H))
    return x.astype(np.float32), h0.astype(np.float32), cell  # type: ignore[return-value]


def truth(problem: Problem) -> Any:
    """Return the output in float64, `[T, B, H]`."""
    x, h, (weight_ih, weight_hh, bias_ih, bias_hh) = problem
    from_h = weight_hh.T.astype(np.float64)
    output = x.astype(np.float64) @ weight_ih.T + bias_ih + bias_hh
    for t, given in enumerate(output):
        output[t] = h = np.tanh(given + h @ from_h)
    return output


def measured(problem: Problem, device: Any) -> tuple[str, ...]:
    """Return a row of the table."""
    T = len(problem[0])
    x, h0, cell = jax.device_put(problem, device)
    prepared = jax_scan.prepare(cell, "tanh")
    solution = jax_newton.solve(x, h0, prepared, "tanh")
    calls: list[Callable[[], Any]] = [
        lambda: jax.block_until_ready(jax_scan.layer(x, h0, prepared, "tanh")),
        lambda: jax.block_until_ready(jax_newton.layer(x, h0, prepared, "tanh")),
    ]
    true, unit = truth(problem), 2.0**-24
    off = [float(np.abs(np.asarray(call()[0]) - true).max()) / unit for call in calls]
    settled = f"{int(solution.iterations)}", f"{int(solution.settled) / T:.0%}"
    errors = f"{off[0]:.1f}", f"{off[1]:.1f}"
    if not off[1] <= WORSE * off[0]:
        return "", "wrong", "", *settled, *errors
    samples = turns(calls)
    ratio = statistics.ratio([samples[0]], [samples[1]])
    medians = (seconds(statistics.median([one])) for one in samples)
    return *medians, f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})", *settled, *errors


def turns(calls: Sequence[Callable[[], Any]]) -> list[list[float]]:
    """Return the seconds of each call in each round; who is first changes every round."""
    samples: list[list[float]] = [[] for _ in calls]
    begun = time.perf_counter()
    for i in range(MOST):
        if i >= LEAST and time.perf_counter() - begun > SHARE:
            break
        for which in (0, 1) if i % 2 else (1, 0):
            start = time.perf_counter()
            calls[which]()
            samples[which].append(time.perf_counter() - start)
    return samples


def _name(device: Any) -> str:
    """Return what the device is called; of a CPU, with the cores that XLA may use."""
    if device.platform != "cpu":
        return str(device.device_kind)
    described = environment(Settings())
    return f"{described['cpu_model']}, {described['cpu_cores_usable']} cores"


def main(arguments: Sequence[str]) -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("device", choices=("cpu", "cuda"))
    parser.add_argument("--seconds", type=float, default=80.0, help="no size is begun after them")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="T")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, metavar="H")
    parser.add_argument("--radius", type=float, help="spectral radius of the recurrent weights")
    asked = parser.parse_args(arguments)
    jax.config.update("jax_default_matmul_precision", "highest")
    device = jax.devices(asked.device)[0]
    begun = time.perf_counter()
    radius = "" if asked.radius is None else f", spectral radius {asked.radius:g}"
    print(f"{_name(device)}, JAX {jax.__version__}, float32, forward{radius}\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"| {' | '.join('---' for _ in COLUMNS)} |")
    left = []
    for T, B, H in itertools.product(asked.lengths, BATCHES, asked.widths):
        if time.perf_counter() - begun > asked.seconds:
            left.append(f"{T},{B},{H}")
        else:
            row = f"{T},{B},{H}", *measured(draw(T, B, H, asked.radius), device)
            print(f"| {' | '.join(row)} |", flush=True)
    print("\nErrors: the largest difference from float64, in units of 2^-24.")
    if left:
        print(f"There was no time for {' '.join(left)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
