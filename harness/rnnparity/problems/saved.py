"""Arrays in files that anybody wrote: a port in C++, MATLAB, firmware, a notebook.

Told by content, not by the file's name: `.npy`, `.npz`, `.safetensors`, or text (CSV, JSON, an
array in C), whose numbers are known to the digits that were written only. Nothing pickled is
loaded.
"""

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.errors import UsageError
from rnnparity.problems import text
from rnnparity.problems.weights.formats import content_of
from rnnparity.problems.weights.tensors import one_line
from rnnparity.types import Array

# What an array goes by in files that hold several, the likeliest name first.
ALIASES = {
    "output": ("output", "outputs", "out", "y"),
    "h_n": ("h_n", "hn", "h"),
    "c_n": ("c_n", "cn", "c"),
    "x": ("x", "input", "inputs"),
    "h0": ("h0", "h_0"),
    "c0": ("c0", "c_0"),
    "lengths": ("lengths",),
}

# Files that hold numbers, but not so that they can be read here: what they are, and the line that
# writes one that can, by what `formats.content_of` tells.
_ZIP = "a zip, as torch.save writes one", "numpy.save('y.npy', y.detach().cpu().numpy())"
_ELSEWHERE = {
    "matlab": ("a MATLAB file", "writematrix(y, 'y.csv'), or scipy.io.loadmat and numpy.save"),
    "hdf5": ("an HDF5 file", "numpy.save('y.npy', h5py.File(path)[name][:])"),
    "gzip": ("compressed by gzip", "gunzip it first"),
    "pickle": ("a pickle", "numpy.save('y.npy', numpy.asarray(y))"),
    "torch": _ZIP,
    "zip": _ZIP,
    "exported": _ZIP,
    "keras": _ZIP,
}
_EXPECTED = "expected .npy, .npz, .safetensors CSV or JSON"


@dataclass(frozen=True)
class Saved:
    """An array out of a file.

    Attributes:
        values: the numbers, in the file's dtype; of text, float64.
        off: `values.shape`: how far at most the digits of text are from what was written; None if
            the file has every bit.
        digits: how text was written, in words: "6 decimals"; "" for other files.
        note: what was taken for granted of text; "" for nothing.
    """

    values: Array
    off: Array | None = None
    digits: str = ""
    note: str = ""

    def reshaped(self, shape: tuple[int, ...]) -> "Saved":
        """Return the same numbers in another shape."""
        off = None if self.off is None else self.off.reshape(shape)
        return Saved(self.values.reshape(shape), off, self.digits, self.note)

    def padded(self, shape: tuple[int, ...]) -> "Saved":
        """Return the same numbers, with zeros behind them up to a larger shape."""
        more = [(0, n - own) for n, own in zip(shape, self.values.shape, strict=True)]
        off = None if self.off is None else np.pad(self.off, more)
        return Saved(np.pad(self.values, more), off, self.digits, self.note)


def read_saved(path: str | Path, name: str) -> Saved:
    """Read one array.

    Args:
        path: of the file; `file.npz:name` picks one of several.
        name: what the array is, as in `ALIASES`, by which it is found among several.

    Raises:
        UsageError: the file is missing, of another format, or has no such array.
    """
    held, label, wanted = _held(path)
    if wanted is None and len(held) > 1:
        wanted = next((alias for alias in ALIASES[name] if alias in held), None)
        if wanted is None:
            there = ", ".join(list(held)[:8])
            raise UsageError(
                f"{label} holds several arrays, none of them called {name}: there is {there}; "
                f"give {label}:NAME"
            )
    return _checked(held, next(iter(held)) if wanted is None else wanted, label, name)


def read_others(path: str | Path, names: tuple[str, ...]) -> dict[str, Saved]:
    """Return what a file holds besides, of these names (as in `ALIASES`); {} if nothing.

    Only a file that was given whole, and not one array of it, says more than it was asked.

    Raises:
        UsageError: the file is missing or of another format.
    """
    held, label, wanted = _held(path)
    if wanted is not None or len(held) < 2:
        return {}
    found = {name: [alias for alias in ALIASES[name] if alias in held] for name in names}
    return {name: _checked(held, own[0], label, name) for name, own in found.items() if own}


def _checked(held: Mapping[str, Saved], wanted: str, label: str, name: str) -> Saved:
    if wanted not in held:
        there = ", ".join(list(held)[:8])
        raise UsageError(f"{label} has no array {wanted!r}: there is {there}")
    dtype = held[wanted].values.dtype
    if dtype.kind not in "fiuV" or dtype.hasobject or dtype.names:
        raise UsageError(f"{label}: {name} is {dtype}, expected numbers")
    return held[wanted]


def _held(path: str | Path) -> tuple[Mapping[str, Saved], str, str | None]:
    """Return the arrays in a file by name, the file's name, and which one was asked for."""
    label, wanted = str(path), None
    if not Path(label).is_file() and ":" in label:
        label, _, wanted = label.rpartition(":")
    place = Path(label)
    if not place.is_file():
        raise UsageError(f"no file {path}: {_EXPECTED}")
    try:
        content = place.read_bytes()
    except OSError as error:
        raise UsageError(f"{label} cannot be read: {error.strerror}") from None
    if not content.strip():
        raise UsageError(f"{label} is empty: {_EXPECTED}")
    reader, what = _reader(place, content, label)
    try:
        held = reader(place)
    except UsageError as error:
        raise UsageError(f"{label}: {error}") from None
    except Exception as error:  # damaged files raise anything
        raise UsageError(f"{label} is {what}, but damaged: {one_line(error)}") from None
    if not held:
        raise UsageError(f"{label} holds no arrays")
    return held, label, wanted


def _reader(
    place: Path, content: bytes, label: str
) -> tuple[Callable[[Path], Mapping[str, Saved]], str]:
    """Return what reads a file of this content, and what it is."""
    readers = {
        "npy": (_npy, "an array saved with numpy.save"),
        "npz": (_npz, "an archive of numpy.savez"),
        "safetensors": (_safetensors, "a safetensors file"),
    }
    found = content_of(place)
    if found in readers:
        return readers[found]
    if found in _ELSEWHERE:
        what, way_out = _ELSEWHERE[found]
        raise UsageError(f"{label} is {what}, {_EXPECTED}: {way_out}")
    if b"\0" in content and not content.startswith(codecs.BOM_UTF16_LE):
        raise UsageError(
            f"{label} is binary without a header, {_EXPECTED}: "
            "numpy.save('y.npy', numpy.fromfile(path, 'float32').reshape(T, B, H))"
        )
    return _text, "text"


def _npy(path: Path) -> dict[str, Saved]:
    held: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    if held.offset + held.nbytes != path.stat().st_size:
        raise UsageError("holds more than one array: numpy.savez keeps several")
    return {"": Saved(np.array(held))}


def _npz(path: Path) -> dict[str, Saved]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: Saved(archive[name]) for name in archive.files}


def _safetensors(path: Path) -> dict[str, Saved]:
    from safetensors.numpy import load_file

    return {name: Saved(array) for name, array in load_file(path).items()}


def _text(path: Path) -> dict[str, Saved]:
    """Read numbers in text; a decimal exponent may be Fortran's, 1d-5."""
    try:
        wide = path.read_bytes().startswith(codecs.BOM_UTF16_LE)
        found = text.read(path.read_text("utf-16" if wide else "utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"neither text nor another known file: {_EXPECTED}") from None
    held = {}
    for name, (written, shape, note) in found.items():
        words = [word.lower() for word in written]
        words = [word if "n" in word else word.replace("d", "e") for word in words]
        values = np.array(words, dtype=np.float64)
        off, digits = _written(words, values)
        held[name] = Saved(values.reshape(shape), off.reshape(shape), digits, note)
    return held


def _written(words: list[str], values: Array) -> tuple[Array, str]:
    """Return how far each number may be from what was written, and how it was written, in words.

    Half a unit of the last place: of the decimals, if all numbers have as many, else of as many
    significant digits as the longest number has (fewer are zeros that were not written).
    """
    if not values.any():  # zeros as such: of rounded ones not all would be
        return np.zeros(values.shape), "zeros"
    parts = [text.NUMBER.fullmatch(word) for word in words]
    found = [match for match in parts if match]
    decimals = {len(match[2]) for match in found}
    if len(decimals) == 1 and not any(match[3] for match in found):
        places = decimals.pop()
        return np.full(values.shape, 0.5 * 10.0**-places), f"{places} decimals"
    most = max((len((m[1] + m[2]).lstrip("0")) for m in found), default=1) or 1
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log10(np.abs(values)))
    exponent = np.where(np.isfinite(exponent), exponent, 0)
    off = np.where(values == 0, 0.0, 0.5 * 10.0 ** (exponent - most + 1))
    return off, f"{most} digits"
