"""What a report says of timings, as plain data: rows, shares of the machine's best, means."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rnnparity.records.run import Run
from rnnparity.records.timing import IMPLEMENTATION, Timing, size
from rnnparity.report import speed_table
from rnnparity.timing import noise


def timed(run: Run) -> list[Timing]:
    """Return the timings that have times."""
    return [t for t in run.timings if t.median and t.definition is not None]


def timings(run: Run) -> list[dict[str, Any]]:
    """Return a row for every timing that has times, for the table."""
    rows = []
    found, best = timed(run), roof(run)
    for t in found:
        rows.append(
            {
                "implementation": t.implementation,
                "cell": t.cell,
                "device": t.device,
                "dtype": t.dtype,
                "size": size(t),
                "mode": t.mode,
                "threads": t.threads,
                "role": t.role,
                "median": t.median,
                "ratio": t.ratio,
                "low": t.ratio_low,
                "high": t.ratio_high,
                "first_call": _median(t.first_call),
                "prepare": _median(t.prepare),
                "paid_after": paid_after(t, found),
                "with_transfer": t.with_transfer,
                "memory": t.peak_memory,
                "fixed": t.fixed,
                "per_step": t.per_step,
                "same": t.role == IMPLEMENTATION and noise.is_same(t, found),
            }
            | achieved(t, best)
        )
    return rows


@dataclass(frozen=True)
class Roof:
    """The most that this machine did in the run: in any framework's large product, in a copy."""

    product_flop_per_second: float
    copy_bytes_per_second: float


def roof(run: Run) -> Roof | None:
    """Return the best that was measured, or None if it was not."""
    best = run.environment.get("best") or {}
    products, copied = best.get("product_flop_per_second"), best.get("copy_bytes_per_second")
    return Roof(max(products.values()), copied) if products and copied else None


def has_roof(t: Timing) -> bool:
    """Whether a timing can be set against the roof, which is of float32 on the CPU."""
    return (t.mode, t.device, t.dtype) == ("forward", "cpu", "float32") and bool(t.flop and t.bytes)


def achieved(t: Timing, best: Roof | None) -> dict[str, float | None]:
    """Return operations and bytes per second, and their shares of this machine's own best."""
    found: dict[str, float | None] = dict.fromkeys(("gflops", "of_product", "gbytes", "of_copy"))
    if t.mode == "forward" and t.flop and t.bytes and t.median:
        found |= {"gflops": t.flop / t.median / 1e9, "gbytes": t.bytes / t.median / 1e9}
        if best is not None and has_roof(t):
            found["of_product"] = t.flop / t.median / best.product_flop_per_second
            found["of_copy"] = t.bytes / t.median / best.copy_bytes_per_second
    return found


def paid_after(t: Timing, found: Iterable[Timing]) -> int | None:
    """Return after how many calls the first one and `prepare` have paid, against the baseline."""
    wanted = t.baseline, t.job
    baseline = next((o for o in found if (o.implementation, o.job) == wanted), None)
    if baseline is None or baseline.median is None or t.median is None or baseline is t:
        return None
    gain = baseline.median - t.median
    cost = _median(t.first_call) + _median(t.prepare)
    cost -= _median(baseline.first_call) + _median(baseline.prepare)
    if gain <= 0:
        return None
    return max(1, math.ceil(cost / gain))


def speed(run: Run) -> list[dict[str, Any]]:
    """Return the mean of every implementation that has one, by device, dtype and mode."""
    return [
        {
            "device": table.device,
            "dtype": table.dtype,
            "mode": table.mode,
            "threads": table.threads,
            "baseline": table.baseline,
            "implementation": name,
            "mean": mean.value,
        }
        for table in speed_table.tables(run)
        for name, mean in table.means.items()
        if mean.value is not None
    ]


def _median(values: tuple[float, ...]) -> float:
    return statistics.median(values) if values else 0.0
