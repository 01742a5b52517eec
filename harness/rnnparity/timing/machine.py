"""The best that this machine does, measured in the run itself, and what makes it unstable."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rnnparity.implementations.settings import Settings
from rnnparity.records.environment import CPU, usable_cores
from rnnparity.records.timing import Timing

# A square product that no overhead shows in (2.1 GFLOP), a copy that no cache holds (bytes), and
# how often each is tried for the best.
PRODUCT, COPY, TRIES = 1024, 128 * 2**20, 7

# What was seen to spoil timings: other work per core, and cores taken away by the host.
BUSY_PER_CORE, STOLEN = 0.3, 0.01

# Architectures that OpenBLAS has kernels for and takes where it does not know the processor.
AVX512, WITHOUT_AVX512 = " avx512f ", ("Haswell", "Zen")

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def best(
    frameworks: tuple[str, ...], settings: Settings
) -> dict[str, int | float | dict[str, float]]:
    """Measure, in a worker: operations per second by framework, and bytes per second of a copy."""
    products = {name: _best_product(name) for name in frameworks}
    return {
        "threads": settings.threads,
        "product_flop_per_second": products,
        "copy_bytes_per_second": _best_copy(settings.threads),
    }


def threads() -> dict[str, int]:
    """Return how many threads the libraries that are loaded say they use, by library.

    XLA's pool does not say; there the CPU time of what is timed has to tell.
    """
    from threadpoolctl import threadpool_info

    found: dict[str, int] = {}
    for library in threadpool_info():
        name = library["internal_api"]
        found[name] = max(library["num_threads"], found.get(name, 0))
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].get_num_threads()
    return found


def other_threads(found: dict[str, int], asked: int) -> list[str]:
    """Return a line for each library that does not use as many threads as were asked for."""
    return [
        f"{name} uses {count} thread{'s' * (count > 1)}, {asked} were asked for"
        for name, count in found.items()
        if count != asked
    ]


def older_kernels(blas: str) -> list[str]:
    """Return a line if OpenBLAS has chosen kernels without AVX-512, and the processor has it.

    Args:
        blas: what the border of NumPy says of it: name, version, architecture.
    """
    architecture = blas.rpartition(" ")[2]
    if architecture not in WITHOUT_AVX512 or not CPU.exists() or AVX512 not in CPU.read_text():
        return []
    return [
        f"OpenBLAS uses its kernels for {architecture}, and this processor has AVX-512: "
        "try OPENBLAS_CORETYPE=SkylakeX"
    ]


def throttled(timings: Iterable[Timing], reasons: set[str]) -> list[str]:
    """Return a line if rounds were dropped since a card was throttled."""
    # All that took turns in a round were dropped with it.
    dropped = {one.job: one.throttled for one in timings if one.throttled}
    if not dropped:
        return []
    why = ", ".join(sorted(reasons)) or "in an earlier part of the run"
    return [f"{sum(dropped.values())} rounds were dropped: the card was throttled ({why})"]


def _best_copy(threads: int) -> float:
    """Return bytes read and written per second by so many threads, each with its share."""
    source, target = np.ones(COPY // 8), np.zeros(COPY // 8)
    shares = list(
        zip(np.array_split(target, threads), np.array_split(source, threads), strict=True)
    )
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            wait([pool.submit(np.copyto, *share) for share in shares])  # holds no lock of Python's

        return 2 * COPY / _fastest(copy)


def _best_product(framework: str) -> float:
    a = np.random.default_rng(0).standard_normal((PRODUCT, PRODUCT), np.float32)
    call: Callable[[], Any]
    if framework == "torch":
        import torch

        there, out = torch.from_numpy(a), torch.empty(PRODUCT, PRODUCT)

        def call() -> Any:
            return torch.mm(there, there, out=out)
    elif framework == "jax":
        import jax

        product = jax.jit(lambda a: a @ a)
        on_device = jax.device_put(a, jax.devices("cpu")[0])  # the default would be a card

        def call() -> Any:
            return product(on_device).block_until_ready()
    else:
        result = np.empty_like(a)

        def call() -> Any:
            return np.dot(a, a, out=result)

    return float(2 * PRODUCT**3 / _fastest(call))


def _fastest(call: Callable[[], Any]) -> float:
    call()
    found = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return min(found)


class Watch:
    """Sees what makes timings unstable, from its making to `warnings`."""

    def __init__(self, threads: int, load: float | None = None) -> None:
        """Look at the machine before the run puts load on it; if it has, `load` is from before."""
        self._threads, self._cores = threads, usable_cores()
        now = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        self._load = now if load is None else load
        self._cpu = psutil.cpu_times()

    def warnings(self) -> list[str]:
        """Return one line for each reason to trust the times less."""
        found = []
        if self._load > BUSY_PER_CORE * self._cores:
            found.append(
                f"other work was running: load {self._load:.1f} on {self._cores} cores at the start"
            )
        now = psutil.cpu_times()
        all_of_it = sum(now) - sum(self._cpu)
        stolen = getattr(now, "steal", 0.0) - getattr(self._cpu, "steal", 0.0)
        if all_of_it > 0 and stolen / all_of_it > STOLEN:
            found.append(f"the host took {100 * stolen / all_of_it:.0f}% of the time (steal)")
        if self._threads >= self._cores:
            found.append(
                f"{self._threads} threads on {self._cores} cores: none is left for the system"
            )
        if GOVERNOR.exists() and GOVERNOR.read_text().strip() != "performance":
            found.append(
                f"the clock follows the load (governor {GOVERNOR.read_text().strip()}): "
                "set it to performance"
            )
        return found
