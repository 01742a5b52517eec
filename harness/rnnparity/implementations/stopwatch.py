"""When imports, compilation and the implementations' own calls took place: the rest is ours."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

Span = tuple[float, float]  # begun and ended, on the clock of `time.monotonic`

_spans: list[Span] = []


@contextmanager
def running() -> Iterator[None]:
    """Note the time that is spent in here."""
    begun = time.monotonic()
    try:
        yield
    finally:
        _spans.append((begun, time.monotonic()))


def note(spans: Iterable[Span]) -> None:
    """Add what another process noted; the clock is the machine's."""
    _spans.extend(spans)


def take() -> list[Span]:
    """Return what was noted since the last call."""
    taken = _spans.copy()
    _spans.clear()
    return taken


def covered(spans: Iterable[Span], begun: float) -> float:
    """Return for how many seconds, since a moment, at least one of the spans went on."""
    total, until = 0.0, begun
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
