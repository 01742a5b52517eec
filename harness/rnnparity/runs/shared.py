"""What the implementations of a run share, case by case, and drop when all have passed it.

References hold every array of a case several times over. Kept to the end of a run they would be as
large as all of its cases together.
"""

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Shared(Generic[Key, Value]):
    """Values that are made once, when first asked for, and dropped when nobody needs them.

    Users may be far apart, or come one after another: then values of so many bytes are kept, the
    oldest are dropped, and made again for who comes late.
    """

    def __init__(
        self,
        make: Callable[[Key], Value],
        size: Callable[[Value], int],
        *,
        users: int,
        most: float,
        hold: Callable[[Key], bool] = lambda key: False,
    ) -> None:
        """Make nothing yet.

        Args:
            make: makes a value; may raise, which every user then gets.
            size: of a value, in bytes.
            users: how many will pass every key.
            most: bytes that are kept, beside the newest value.
            hold: which are never dropped.
        """
        self._make, self._size, self._hold = make, size, hold
        self._users, self._most = users, most
        self._passed: Counter[Key] = Counter()
        self._sizes: dict[Key, int] = {}
        self._lock = threading.Lock()
        self.made: dict[Key, Future[Value]] = {}

    def get(self, key: Key) -> Value:
        """Return the value, made by whoever comes first; the others wait for it.

        Raises:
            BaseException: whatever making it raised.
        """
        with self._lock:
            future = self.made.pop(key, None)
            mine = future is None
            self.made[key] = future = future or Future()  # the last one asked for is the newest
        if mine:
            try:
                value = self._make(key)
                self._note(key, value)
                future.set_result(value)
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def passed(self, keys: Iterable[Key]) -> None:
        """Note that one user will not ask for these again."""
        with self._lock:
            for key in keys:
                self._passed[key] += 1
                if self._passed[key] >= self._users and not self._hold(key):
                    self._drop(key)

    def _note(self, key: Key, value: Value) -> None:
        """Note a new value's size, and drop the oldest ones that are too many beside it."""
        with self._lock:
            self._sizes[key] = self._size(value)
            total = sum(self._sizes.values()) - self._sizes[key]
            for old in [old for old in self.made if old in self._sizes and old != key]:
                if total <= self._most:
                    break
                if not self._hold(old):
                    total -= self._sizes[old]
                    self._drop(old)

    def _drop(self, key: Key) -> None:
        self.made.pop(key, None)
        self._sizes.pop(key, None)
