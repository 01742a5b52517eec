"""Structure in weights and inputs: what data and trained networks have, and random draws have not.

Every function makes its array of uniform draws by operations that IEEE 754 rounds exactly, element
by element, so that the bits are the same on every machine: no `exp`, no matrix product, no solver.
"""

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from rnnparity.problems import digits
from rnnparity.problems.dtypes import numpy_dtype

Array = NDArray[np.float64]
Shape = tuple[int, ...]
Draw = Callable[[str, Shape, float], Array]  # (name of the stream, shape, standard deviation)

# A uniform draw of this deviation lies between -1 and 1.
TO_ONE = 1 / math.sqrt(3)


# Weights [rows, terms]. A gain is per product: what the entries' deviation times the root of the
# number of terms is, so that a recurrent weight has a spectral radius near it.


def one_per_row(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """One weight in every row: no sum. The columns are a permutation, so that no state is lost."""
    rows, terms = shape
    order = np.argsort(draw(name + " order", (terms,), 1.0), kind="stable")
    column = order[np.arange(rows) % terms]
    sparse = np.zeros(shape)
    sparse[np.arange(rows), column] = draw(name, (rows,), gain)
    return sparse


def constant(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """All entries equal."""
    return np.full(shape, gain / shape[1])


def identity(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """A multiple of the identity."""
    return gain * np.eye(shape[0], shape[1])


def positive(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """All entries of one sign."""
    mean = math.sqrt(3) / 2  # of the absolute values drawn
    return np.abs(draw(name, shape, 1.0)) * (gain / (mean * shape[1]))


def orthogonal(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """Rotations of pairs of rows, level after level, until every row is a mixture of all."""
    n = max(shape)
    rotated = np.eye(n)
    for level in range(2 * max(1, n - 1).bit_length()):
        order = np.argsort(draw(f"{name} order {level}", (n,), 1.0), kind="stable")
        one, other = order[: n // 2], order[n // 2 : 2 * (n // 2)]
        half = draw(f"{name} tangents {level}", (n // 2, 1), 1.0)
        squared = half * half
        cosine, sine = (1 - squared) / (1 + squared), 2 * half / (1 + squared)
        first, second = rotated[one], rotated[other]
        rotated[one], rotated[other] = (
            cosine * first - sine * second,
            sine * first + cosine * second,
        )
    return gain * rotated[: shape[0], : shape[1]]


def low_rank(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """A sum of two outer products."""
    rows, terms = shape
    left, right = draw(name + " left", (2, rows), 1.0), draw(name + " right", (2, terms), 1.0)
    both = left[0, :, None] * right[0] + left[1, :, None] * right[1]
    return np.asarray(both * (gain / math.sqrt(terms)))


def powers_of_two(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """Signs times powers of two: every product is exact, sums meet in ties."""
    drawn = draw(name, shape, TO_ONE)
    exponents = np.floor(draw(name + " exponents", shape, 2 * TO_ONE)).astype(np.int64)
    _, largest = math.frexp(gain / math.sqrt(shape[1]))
    return np.ldexp(np.where(drawn < 0, -1.0, 1.0), exponents + (largest - 1))


def mixed_scales(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """Magnitudes over nine decades."""
    return log_uniform(draw, name, shape, -30, 0) * (gain * math.sqrt(30 / shape[1]))


def sparse(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """Three of four weights are zero, and of every fifth unit all are."""
    kept = np.abs(draw(name + " kept", shape, TO_ONE)) < 0.25
    kept &= (np.arange(shape[0]) % 5 != 4)[:, None]
    return np.where(kept, draw(name, shape, 2 * gain / math.sqrt(shape[1])), 0.0)


def sorted_by_sign(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """`[v, -v]` with positive v: a difference of two halves of what comes in."""
    half = shape[1] // 2
    v = np.abs(draw(name, (shape[0], half), gain / math.sqrt(shape[1])))
    return np.concatenate((v, -v, np.zeros((shape[0], shape[1] - 2 * half))), axis=1)


def dale(draw: Draw, name: str, shape: Shape, gain: float) -> Array:
    """Excitatory units first, then a fifth as many inhibitory ones, as much stronger."""
    excitatory = shape[1] - shape[1] // 5
    strength = np.where(np.arange(shape[1]) < excitatory, 0.5, -2.0)
    return np.abs(draw(name, shape, gain / math.sqrt(shape[1]))) * strength


WEIGHTS: dict[str, Callable[[Draw, str, Shape, float], Array]] = {
    "one per row": one_per_row,
    "constant": constant,
    "identity": identity,
    "positive": positive,
    "orthogonal": orthogonal,
    "low rank": low_rank,
    "powers of two": powers_of_two,
    "mixed scales": mixed_scales,
    "sparse": sparse,
    "sorted by sign": sorted_by_sign,
    "Dale's law": dale,
}


# Inputs [T, B, I]. Also of h0 where it says something of rows.


def images(draw: Draw, name: str, shape: Shape, std: float) -> Array:
    """Rows of images of digits: many zeros, no negative value."""
    pixels = (digits.load().images.astype(np.float64) / 16).ravel()
    first = np.abs(draw(name, (shape[1],), TO_ONE) * (len(pixels) - 1)).astype(np.int64)
    steps = np.arange(shape[0] * shape[2]).reshape(shape[0], 1, shape[2])
    return np.asarray(std * pixels[(first[:, None] + steps) % len(pixels)])


def text(draw: Draw, name: str, shape: Shape, std: float) -> Array:
    """Few vectors, repeated, some often, as embedded characters are."""
    embedding = draw("embedding", (32, shape[2]), std)
    place = draw(name, shape[:2], TO_ONE)
    return embedding[(place * place * 31.999).astype(np.int64)]


def one_hot(draw: Draw, name: str, shape: Shape, std: float) -> Array:
    """A one in one place, zeros elsewhere."""
    place = (draw(name, shape[:2], TO_ONE) * 0.4999 + 0.5) * shape[2]
    return np.where(np.arange(shape[2]) == place.astype(np.int64)[:, :, None], std, 0.0)


def steady(draw: Draw, name: str, shape: Shape, std: float) -> Array:
    """The same at every step."""
    return np.repeat(draw("steady", (1, *shape[1:]), std), shape[0], axis=0)


def frames(draw: Draw, name: str, shape: Shape, std: float) -> Array:
    """Two frames side by side that nearly agree, no value negative."""
    half = shape[2] // 2
    still = 0.5 + draw("still", (1, shape[1], half), 0.25 * TO_ONE)
    moving = still + draw(name, (shape[0] + 1, shape[1], half), 0.02 * TO_ONE)
    rest = np.zeros((*shape[:2], shape[2] - 2 * half))
    return std * np.concatenate((moving[1:], moving[:-1], rest), axis=2)


def equal_rows(draw: Draw, name: str, shape: Shape, std: float) -> Array:
    """The same in every row of the batch."""
    return np.repeat(draw(name, (shape[0], 1, shape[2]), std), shape[1], axis=1)


def near_rows(draw: Draw, name: str, shape: Shape, std: float) -> Array:
    """Nearly the same in every row: half of them agree to 2^-20, half to 2^-33."""
    apart = np.where(np.arange(shape[1]) % 2, 2.0**-20, 2.0**-33)[:, None]
    one = equal_rows(draw, name, shape, std)
    return one + draw(name + " apart", shape, std) * apart


def of_mixed_scales(draw: Draw, name: str, shape: Shape, std: float) -> Array:
    """Magnitudes over nine decades, the largest in the thousands."""
    return log_uniform(draw, name, shape, -20, 10) * std


def log_uniform(draw: Draw, name: str, shape: Shape, low: int, high: int) -> Array:
    """Return numbers of either sign whose magnitudes are spread from 2^low to 2^high."""
    exponent = (draw(name + " exponents", shape, TO_ONE) * 0.4999 + 0.5) * (high - low)
    drawn = draw(name, shape, TO_ONE)
    mantissa = np.where(drawn < 0, -1.0, 1.0) * (1 + np.abs(drawn)) / 2
    return np.asarray(np.ldexp(mantissa, exponent.astype(np.int64) + (low + 1)))


INPUTS: dict[str, Callable[[Draw, str, Shape, float], Array]] = {
    "dense": lambda draw, name, shape, std: draw(name, shape, std),
    "images": images,
    "text": text,
    "one hot": one_hot,
    "steady": steady,
    "frames": frames,
    "equal rows": equal_rows,
    "near rows": near_rows,
    "mixed scales": of_mixed_scales,
    "subnormal": lambda draw, name, shape, std: log_uniform(draw, name, shape, -6, 6),
    "huge": lambda draw, name, shape, std: draw(name, shape, std),
}

# Variances are kept in float64: what is larger is not judged.
LARGEST = 1e150

# Where rows are alike, the states that they start from are.
OF_STATES = ("equal rows", "near rows", "subnormal", "huge")


def scale(inputs: str, dtype: str, terms: int) -> float:
    """Return what inputs and states are multiplied by, a power of two that depends on the dtype.

    Args:
        inputs: the structure.
        dtype: of the case.
        terms: of the longest sum.
    """
    info = ml_dtypes.finfo(numpy_dtype(dtype))
    if inputs == "subnormal":
        return float(info.smallest_normal)
    if inputs == "huge":
        _, exponent = math.frexp(min(float(info.max), LARGEST) / terms)
        return math.ldexp(1.0, exponent - 6)
    return 1.0
