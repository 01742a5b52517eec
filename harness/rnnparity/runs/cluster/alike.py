"""Cases that are left to do, of which a worker gets those that are alike.

Cases of one shape are one compiled program to XLA and others that compile: what runs all of a
shape's cases compiles once, where two that share them compile twice.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from rnnparity.problems.cases import Case


class Alike:
    """Cases that are left, by shape.

    A worker goes on with the shape that it did last, then begins one that nobody has, then helps
    with the one that has most left.
    """

    def __init__(self, cases: Iterable[Case]) -> None:
        """Take cases; those of a shape come in the order that they are given in."""
        self._left: dict[Any, deque[Case]] = {}
        self._last: dict[str, Any] = {}  # by worker
        self._count = 0
        for case in cases:
            self._left.setdefault(_shape(case), deque()).append(case)
            self._count += 1
        self._new = deque(self._left)  # shapes that nobody has begun

    def __len__(self) -> int:
        """Return how many are left."""
        return self._count

    def __iter__(self) -> Iterator[Case]:
        """Go through those that are left."""
        return (case for cases in self._left.values() for case in cases)

    def next(self, worker: str) -> Case:
        """Return the case that a worker would do next; there must be one."""
        return self._left[self._choose(worker)][0]

    def take(self, worker: str) -> Case:
        """Return it, and have it left no more."""
        shape = self._choose(worker)
        case = self._left[shape].popleft()
        self._count -= 1
        if not self._left[shape]:
            del self._left[shape]
        return case

    def _choose(self, worker: str) -> Any:
        shape = self._last.get(worker)
        if shape in self._left:
            return shape
        while self._new and self._new[0] not in self._left:
            self._new.popleft()
        if self._new:
            shape = self._new.popleft()
        else:
            shape = max(self._left, key=lambda one: len(self._left[one]))
        self._last[worker] = shape
        return shape


def _shape(case: Case) -> Any:
    """Return what makes two cases one program: all but what is drawn."""
    return case.config, case.T, case.B, case.dtype, case.ragged, case.h0
