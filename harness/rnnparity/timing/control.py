"""The control: work that is the same in every run, whatever versions of frameworks it has.

Two runs meet two states of a machine, and perhaps two machines. What became of an implementation
between them is seen relative to something that took turns with it both times: to `torch.nn.RNN`,
if that has not changed itself, or else to this. It is the product of two large integers, which
CPython makes by one core and no library (Karatsuba's method, `Objects/longobject.c`): it follows
the core's clock and whoever else runs, though not the width of memory.
"""

import math
import time

from rnnparity.timing.contestants import BLOCK

NAME = "control"

# 300 and 301 decimal digits to the eighth power each: some 20 us a product on a core of today.
_A, _B = (10**300 // 7) ** 8, (10**301 // 11) ** 8


class Control:
    """Takes turns as a `Timed` contestant does; what it computes is judged by nobody."""

    device = "cpu"
    prepare = 0.0
    peak_memory = None

    def __init__(self) -> None:
        """Find out how many products a block has."""
        self.first_call = min(_measure(1)[0] for _ in range(5))
        self.calls = max(1, math.ceil(BLOCK / self.first_call))

    def block(self, end_with_first: bool = False) -> tuple[float, float, None]:
        """Return seconds per product, the cores that were busy, and no result."""
        _measure(max(1, self.calls // 8))
        return (*_measure(self.calls), None)

    def fresh(self) -> tuple[float, float]:
        """Return seconds per product, twice: no input was ever seen."""
        n = max(1, self.calls // 8)
        return _measure(n)[0], _measure(n)[0]


def _measure(n: int) -> tuple[float, float]:
    a, b = _A, _B
    cpu, begun = time.process_time(), time.perf_counter()
    for _ in range(n):
        a * b  # computed, and dropped
    seconds = time.perf_counter() - begun
    return seconds / n, (time.process_time() - cpu) / seconds
