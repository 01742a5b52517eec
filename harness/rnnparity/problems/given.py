"""Inputs that users bring: checked, kept with the run, and turned into a case."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import UsageError
from rnnparity.problems.cases import Case

Array = NDArray[Any]


def load_array(path: Path) -> Array:
    """Read a `.npy` file; nothing pickled is loaded.

    Raises:
        UsageError: it is missing, or no such file.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}: expected an array saved with numpy.save")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it holds several arrays")
        return np.array(array)
    except Exception as error:  # damaged headers raise anything
        line = " ".join(str(error).split())[:120]
        raise UsageError(f"{path} is not an array saved with numpy.save: {line}") from None


def reversed_in_time(x: Any, config: RNNConfig, lengths: Any) -> Array:
    """Return sequences turned round, each within its own length: what a reverse RNN reads."""
    x = np.array(_numbers("x", x))
    axis = 1 if config.batch_first and x.ndim == 3 else 0
    if lengths is None:
        return np.asarray(np.flip(x, axis))
    time_major = np.moveaxis(x, axis, 0)
    for row, length in enumerate(np.asarray(lengths)):
        time_major[:length, row] = time_major[:length, row][::-1].copy()
    return np.asarray(x)


def parse_lengths(text: str) -> Array:
    """Read lengths: `5,3,8`, or the path of a `.npy` file.

    Raises:
        UsageError: it is neither.
    """
    if text.endswith(".npy"):
        return load_array(Path(text))
    try:
        return np.array([int(part) for part in text.split(",")])
    except ValueError:
        raise UsageError(f"lengths are {text!r}, expected 5,3,8 or a .npy file") from None


def case(
    weights: str,
    config: RNNConfig,
    dtype: str,
    directory: Path,
    x: Any = None,
    h0: Any = None,
    lengths: Any = None,
) -> Case:
    """Return a case on weights and, where they are given, inputs, which are kept in a folder.

    Args:
        weights: the path of a weights file.
        config: its configuration.
        dtype: to compute in.
        directory: gets `input-<digest>.npz`.
        x: laid out as the configuration says; None to draw one.
        h0: `[L * D, B, H]` or `[L * D, H]`, or None.
        lengths: `[B]`, or None.

    Raises:
        UsageError: a shape that does not fit, or values that are not finite.
    """
    if x is None:
        if h0 is not None or lengths is not None:
            raise UsageError("h0 or lengths are given without x: give the input, too")
        return Case(config=config, T=32, B=4, dtype=dtype, weights=weights)
    given = {"x": _numbers("x", x)}
    x = given["x"]
    if x.ndim not in (2, 3) or x.shape[-1] != config.input_size or 0 in x.shape:
        layout = "[B, T, I]" if config.batch_first else "[T, B, I]"
        raise UsageError(
            f"x has shape {x.shape}, expected {layout} or [T, I] with I = {config.input_size}"
        )
    B = None if x.ndim == 2 else x.shape[0 if config.batch_first else 1]
    T = x.shape[1 if config.batch_first and x.ndim == 3 else 0]
    if h0 is not None:
        given["h0"] = _numbers("h0", h0)
        middle = () if B is None else (B,)
        expected = (config.num_cells, *middle, config.hidden_size)
        if given["h0"].shape != expected:
            raise UsageError(f"h0 has shape {given['h0'].shape}, expected {expected}")
    if lengths is not None:
        given["lengths"] = _lengths(lengths, B, T)
    digest = hashlib.sha256(b"".join(a.tobytes() for a in given.values())).hexdigest()[:8]
    path = directory / f"input-{digest}.npz"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        np.savez(path, **given)  # type: ignore[arg-type]  # its stub reads them as allow_pickle
    except OSError as error:
        raise UsageError(f"{directory} cannot be written to: {error.strerror}") from None
    return Case(
        config=config,
        T=T,
        B=B,
        dtype=dtype,
        weights=weights,
        inputs=str(path.resolve()),
        ragged=lengths is not None,
        h0=h0 is not None,
    )


def _numbers(name: str, value: Any) -> Array:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    array = np.asarray(value)
    if array.dtype.kind not in "fiuV" or array.dtype == object:
        raise UsageError(f"{name} is {array.dtype}, expected numbers")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise UsageError(f"{name} has values that are not finite: nothing to compare")
    return array


def _lengths(lengths: Any, B: int | None, T: int) -> Array:
    found = np.asarray(lengths)
    if B is None or found.shape != (B,) or found.dtype.kind not in "iu":
        raise UsageError(
            f"lengths are {found.dtype} {found.shape}, expected one integer per sequence ({B})"
        )
    if found.min() < 1 or found.max() > T:
        raise UsageError(f"lengths are {found.min()} to {found.max()}, expected 1 to T = {T}")
    return found.astype(np.int64)
