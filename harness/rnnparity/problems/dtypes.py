"""The floating-point formats that cases can ask for, and their spacing."""

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from rnnparity.problems.cases import DTYPES as NAMES

__all__ = ["NAMES", "is_16_bit", "name_of", "numpy_dtype", "spacing", "underflow", "unit_roundoff"]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype called `name`; bfloat16 comes from ml_dtypes."""
    return np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)


def name_of(dtype: Any) -> str:
    """Return a dtype's name: of a name itself, or of NumPy's, torch's or JAX's dtypes."""
    if isinstance(dtype, str):
        return dtype
    text = str(dtype)
    if text.startswith("torch."):
        return text.removeprefix("torch.")
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        return text


def is_16_bit(name: str) -> bool:
    """Return whether the format is stored in 16 bits and computed with in float32."""
    return name in ("bfloat16", "float16")


def unit_roundoff(name: str) -> float:
    """Return u = 2^-p, half the distance from 1 to the next number."""
    return float(ml_dtypes.finfo(numpy_dtype(name)).eps) / 2


def spacing(values: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return one unit in the last place (ULP) of the format `name` at each of `values`.

    Args:
        values: any shape, in the same or a higher precision.
        name: the format.

    Returns:
        `2^(floor(log2 |v|) - p + 1)`, never less than the smallest subnormal; same shape.
    """
    info = ml_dtypes.finfo(numpy_dtype(name))
    magnitude = np.maximum(np.abs(np.asarray(values, np.float64)), float(info.smallest_normal))
    _, exponent = np.frexp(magnitude)
    steps: NDArray[np.float64] = np.ldexp(float(info.eps), exponent - 1)
    return steps


def underflow(name: str) -> float:
    """Return how large an error underflow makes.

    float32, float64 and bfloat16 computations may flush subnormal numbers to zero (XLA's CPU does);
    float16 is computed with, not flushed, since its normal numbers end at 6e-5.
    """
    if name == "float64":
        return 1e-145  # variances are kept in float64 themselves: the square must not underflow
    info = ml_dtypes.finfo(numpy_dtype(name))
    return float(info.smallest_subnormal if name == "float16" else info.smallest_normal)
