"""Orders in which the terms of a matrix product are added up, each as some library has it.

All take a `[N, n]`, b `[n, m]` and what is added onto, `[N, m]` or None, in one dtype, and return
`[N, m]` in that dtype.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnparity.types import Array

Adds = Callable[[Array, Array, Array | None], Array]

# Elements of a block of results that stays in the cache.
BLOCK = 2**15


@dataclass(frozen=True)
class Sum:
    """An order of summation, and what it costs.

    Attributes:
        adds: the terms.
        at_once: how many terms each turn of its loop takes; None for no loop.
        dear: how many times what a plain loop takes for a term.
    """

    adds: Adds
    at_once: int | None = None
    dear: float = 1.0


def _blas(a: Array, b: Array, onto: Array | None) -> Array:
    return a @ b if onto is None else onto + a @ b


def _transposed(a: Array, b: Array, onto: Array | None) -> Array:
    product: Array = (np.ascontiguousarray(b.T) @ np.ascontiguousarray(a.T)).T
    return product if onto is None else onto + product


def _by_blocks(adds: Callable[[Array, Array, Array], Array]) -> Adds:
    """Run on blocks of rows, each with a start of its own."""

    def whole(a: Array, b: Array, onto: Array | None) -> Array:
        total = np.zeros((len(a), b.shape[1]), a.dtype) if onto is None else onto.copy()
        rows = max(1, BLOCK // max(1, b.shape[1]))
        for first in range(0, len(a), rows):
            part = slice(first, first + rows)
            total[part] = adds(a[part], b, total[part])
        return total

    return whole


def _ascending(a: Array, b: Array, onto: Array) -> Array:
    for column, row in zip(a.T, b, strict=True):
        onto = onto + column[:, None] * row
    return onto


def _descending(a: Array, b: Array, onto: Array) -> Array:
    return _ascending(a[:, ::-1], b[::-1], onto)


def _pairwise(a: Array, b: Array, onto: Array | None) -> Array:
    """Halves of halves: the error grows with the logarithm of the number of terms."""
    n, m = b.shape
    total = np.empty((len(a), m), a.dtype)
    rows = max(1, 8 * BLOCK // max(1, n * m))
    for first in range(0, len(a), rows):
        terms: Array = a[first : first + rows, :, None] * b
        while terms.shape[1] > 1:
            half = terms.shape[1] // 2
            rest = terms[:, 2 * half :]
            terms = np.concatenate((terms[:, :half] + terms[:, half : 2 * half], rest), axis=1)
        total[first : first + rows] = terms[:, 0] if n else 0
    return total if onto is None else onto + total


def in_lanes(lanes: int, multiply_add: Callable[[Array, Array, Array], Array]) -> Adds:
    """As many partial sums as a vector register has lanes, added up pairwise in the end."""

    def adds(a: Array, b: Array, onto: Array) -> Array:
        n, m = b.shape
        short = -n % lanes
        if short:
            a = np.concatenate((a, np.zeros((len(a), short), a.dtype)), axis=1)
            b = np.concatenate((b, np.zeros((short, m), b.dtype)))
        partial = np.zeros((len(a), lanes, m), a.dtype)
        for k in range(0, n, lanes):
            partial = multiply_add(a[:, k : k + lanes, None], b[k : k + lanes], partial)
        while partial.shape[1] > 1:
            half = partial.shape[1] // 2
            partial = partial[:, :half] + partial[:, half:]
        return onto + partial[:, 0]

    return _by_blocks(adds)


def _multiply_add(a: Array, b: Array, c: Array) -> Array:
    return np.asarray(c + a * b)


def fused(a: Array, b: Array, c: Array) -> Array:
    """Return `c + a * b` rounded once: the product is exact in twice the precision, or nearly."""
    higher = np.longdouble if c.dtype == np.float64 else np.float64
    exact: Array = c.astype(higher) + a.astype(higher) * b.astype(higher)
    return np.asarray(exact, c.dtype)


def _fused_ascending(a: Array, b: Array, onto: Array) -> Array:
    for column, row in zip(a.T, b, strict=True):
        onto = fused(column[:, None], row, onto)
    return onto


def in_tiles(terms: int) -> Adds:
    """Tile after tile of so many terms, each added onto what the ones before came to."""

    def adds(a: Array, b: Array, onto: Array | None) -> Array:
        total = np.zeros((len(a), b.shape[1]), a.dtype) if onto is None else onto
        for k in range(0, len(b), terms):
            total = total + a[:, k : k + terms] @ b[k : k + terms]
        return total

    return adds


def _compensated(a: Array, b: Array, onto: Array) -> Array:
    """What every addition loses is added to the next term (Kahan, 1965)."""
    lost = np.zeros_like(onto)
    for column, row in zip(a.T, b, strict=True):
        term = column[:, None] * row - lost
        total = onto + term
        lost = (total - onto) - term
        onto = total
    return onto


def _higher(a: Array, b: Array, onto: Array | None) -> Array:
    """Everything in a higher precision, rounded once."""
    higher = np.longdouble if a.dtype == np.float64 else np.float64
    total = a.astype(higher) @ b.astype(higher)
    return np.asarray(total if onto is None else onto + total, a.dtype)


def _by_size(a: Array, b: Array, onto: Array | None) -> Array:
    """The smallest terms first, so that they are not lost in the sum of the large ones."""
    n, m = b.shape
    total = np.empty((len(a), m), a.dtype)
    rows = max(1, 8 * BLOCK // max(1, n * m))
    for first in range(0, len(a), rows):
        terms = a[first : first + rows, :, None] * b
        order = np.argsort(np.abs(terms), axis=1, kind="stable")
        ordered = np.take_along_axis(terms, order, axis=1)
        total[first : first + rows] = np.add.accumulate(ordered, axis=1)[:, -1] if n else 0
    return total if onto is None else onto + total


def _rows_of_tiles(rows: int) -> Adds:
    """Whole tiles of rows in eight lanes; the rows that are left over, term by term."""
    vector, scalar = in_lanes(8, _multiply_add), _by_blocks(_ascending)

    def adds(a: Array, b: Array, onto: Array | None) -> Array:
        whole = len(a) - len(a) % rows
        first, rest = (None, None) if onto is None else (onto[:whole], onto[whole:])
        return np.concatenate((vector(a[:whole], b, first), scalar(a[whole:], b, rest)))

    return adds


BLAS = Sum(_blas)
TRANSPOSED = Sum(_transposed)
ASCENDING = Sum(_by_blocks(_ascending), 1)
DESCENDING = Sum(_by_blocks(_descending), 1)
PAIRWISE = Sum(_pairwise, 8)
FOUR_LANES = Sum(in_lanes(4, _multiply_add), 4)
EIGHT_LANES = Sum(in_lanes(8, _multiply_add), 8)
SIXTEEN_LANES = Sum(in_lanes(16, _multiply_add), 16)
FUSED = Sum(_by_blocks(_fused_ascending), 1, 4)
FUSED_LANES = Sum(in_lanes(8, fused), 8, 4)
TILES_OF_64 = Sum(in_tiles(64))
TILES_OF_256 = Sum(in_tiles(256))
COMPENSATED = Sum(_by_blocks(_compensated), 1)
HIGHER = Sum(_higher, 8)
BY_SIZE = Sum(_by_size, 1, 25)
TILES_OF_ROWS = Sum(_rows_of_tiles(4), 1)
