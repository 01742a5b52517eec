"""From which size on a card is faster than the CPU: the same implementation on both."""

from collections.abc import Iterable
from typing import Any

from rnnparity.records.timing import IMPLEMENTATION, Timing, size


def rows(timings: Iterable[Timing]) -> list[dict[str, Any]]:
    """Return a row for every timing that has its like on the CPU.

    `times` is how many times as fast as there, `work` the operations of the products of one step,
    which have to fill the device: steps follow one another.
    """
    found = [t for t in timings if t.role == IMPLEMENTATION and t.median and t.definition]
    on_cpu = {_what(t): t.median for t in found if t.device == "cpu"}
    made = []
    for t in found:
        there = on_cpu.get(_what(t))
        if t.device == "cpu" or there is None or t.median is None or t.definition is None:
            continue
        made.append(
            {
                "implementation": t.implementation,
                "size": f"{size(t)} {t.dtype} {t.mode} {t.device}",
                "T": t.definition.T,
                "work": (t.flop or 0.0) / t.definition.T,
                "times": there / t.median,
            }
        )
    return [row for row in made if row["work"]]


def _what(t: Timing) -> tuple[str, str, str, int]:
    return t.implementation, t.case, t.mode, t.threads
