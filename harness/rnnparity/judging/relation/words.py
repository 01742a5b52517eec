"""Indices in words: "in row 3", "from step 256 on", "at every 4th step from 3 on"."""

from collections.abc import Iterator, Sequence
from math import gcd
from typing import NamedTuple

# Tiles in which kernels do their work, narrowest first.
TILES = (4, 8, 16, 32, 64, 128)

# An every-so-many-th must have occurred so often to be a pattern, and no more numbers are listed.
TIMES, LISTED = 3, 3


class Axis(NamedTuple):
    """A dimension of a quantity: what one index of it is, "step", and each index's own number."""

    name: str
    labels: tuple[int | str, ...]

    @property
    def plural(self) -> str:
        """The name of many."""
        return f"{self.name}s"

    @property
    def named(self) -> bool:
        """Whether its indices have names, not numbers: directions, gates."""
        return isinstance(self.labels[0], str)

    @property
    def whole(self) -> bool:
        """Whether it has all indices: of a large batch some rows are judged."""
        return self.labels == tuple(range(len(self.labels)))

    def one(self, index: int) -> str:
        """Name an index: "row 3", "gate z", "the reverse direction"."""
        label = self.labels[index]
        return f"the {label} direction" if self.name == "direction" else f"{self.name} {label}"

    def many(self, indices: Sequence[int]) -> str:
        """Name a run of indices or a few: "row 3", "units 0 to 7", "gates r and z"."""
        labels = [str(self.labels[i]) for i in indices]
        if len(indices) == 1:
            return self.one(indices[0])
        run = not self.named and len(indices) > 2 and _is_run(indices)
        told = f"{labels[0]} to {labels[-1]}" if run else listed(labels)
        return f"the {told} directions" if self.name == "direction" else f"{self.plural} {told}"


def listed(words: Sequence[str]) -> str:
    """Join words: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def ordinal(n: int) -> str:
    """Write a number as 2nd, 3rd, 4th."""
    teen = n // 10 % 10 == 1
    return f"{n}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def told(axis: Axis, wrong: Sequence[int], right: Sequence[int]) -> str | None:
    """Say which indices are wrong, by a pattern that holds no right one.

    Args:
        axis: the dimension.
        wrong: the indices at which something is wrong, ascending.
        right: those at which all is right, though a fault would show; others may be either.

    Returns:
        "in row 3"; "" if there is no right one; None if there is no pattern.
    """
    if not right:
        return ""
    for words, holds in _named(axis, wrong) if axis.named else _patterns(axis, wrong, right):
        if set(wrong) <= holds and not holds & set(right):
            return words
    return None


def _named(axis: Axis, wrong: Sequence[int]) -> Iterator[tuple[str, set[int]]]:
    yield f"in {axis.many(wrong)}", set(wrong)


def _patterns(
    axis: Axis, wrong: Sequence[int], right: Sequence[int]
) -> Iterator[tuple[str, set[int]]]:
    """Yield patterns in words, and the indices that each of them holds; the plainest first."""
    every = range(len(axis.labels))
    numbers = [int(label) for label in axis.labels]
    name, at = axis.name, "at" if axis.name == "step" else "in"
    low, high = wrong[0], wrong[-1]
    if low == high:
        last = " (the last)" if low == every[-1] else ""
        yield f"{at} {axis.one(low)}{last}", {low}
    yield f"from {axis.one(low)} on", {i for i in every if i >= low}
    yield f"up to {axis.one(high)}", {i for i in every if i <= high}
    yield f"{at} {axis.plural} {numbers[low]} to {numbers[high]}", set(every[low : high + 1])
    period = gcd(*(numbers[i] - numbers[low] for i in wrong[1:])) if len(wrong) >= TIMES else 0
    if period > 1:
        rest = numbers[low] % period
        holds = {i for i in every if numbers[i] % period == rest}
        yield f"{at} every {ordinal(period)} {name} from {numbers[low]} on", holds
    for tile in TILES if name != "step" else ():
        rest = numbers[low] // tile % 2
        holds = {i for i in every if numbers[i] // tile % 2 == rest}
        if len({numbers[i] // tile for i in wrong}) >= TIMES - 1:
            yield f"{at} every 2nd tile of {tile} {axis.plural} from {numbers[low]} on", holds
    if len(right) == 1 and len(every) > TIMES:
        yield f"{at} every {name} but {numbers[right[0]]}", set(every) - set(right)
    period = gcd(*(numbers[i] - numbers[right[0]] for i in right[1:])) if right[TIMES - 1 :] else 0
    if period > 1:
        rest = numbers[right[0]] % period
        holds = {i for i in every if numbers[i] % period != rest}
        yield f"{at} all {axis.plural} but every {ordinal(period)} from {rest} on", holds
    if len(wrong) <= LISTED:
        yield f"{at} {axis.many(wrong)}", set(wrong)


def _is_run(indices: Sequence[int]) -> bool:
    return list(indices) == list(range(indices[0], indices[0] + len(indices)))
