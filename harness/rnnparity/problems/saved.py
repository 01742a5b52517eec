"""Arrays in files that anybody wrote: a port in C++, MATLAB, firmware, a notebook.

Told by content, not by the file's name: `.npy`, `.npz`, `.safetensors`, or text (CSV and alike),
whose numbers are known to the digits that were written only. Nothing pickled is loaded.
"""

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnparity.errors import UsageError
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
_EXPECTED = "expected .npy, .npz, .safetensors or CSV"
_NUMBER = re.compile(r"[+-]?(\d*)\.?(\d*)(?:[eEdD]([+-]?\d+))?")
_NO_NUMBER = {"nan", "inf", "infinity"}


@dataclass(frozen=True)
class Saved:
    """An array out of a file.

    Attributes:
        values: the numbers, in the file's dtype; of text, float64.
        off: `values.shape`: how far at most the digits of text are from what was written; None if
            the file has every bit.
        digits: how text was written, in words: "6 decimals"; "" for other files.
    """

    values: Array
    off: Array | None = None
    digits: str = ""

    def reshaped(self, shape: tuple[int, ...]) -> "Saved":
        """Return the same numbers in another shape."""
        off = None if self.off is None else self.off.reshape(shape)
        return Saved(self.values.reshape(shape), off, self.digits)


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
    """Read a table of numbers: one row a line, split at commas, semicolons or blanks.

    A first line of words is a heading; what follows a `#` is a remark.
    """
    try:
        wide = path.read_bytes().startswith(codecs.BOM_UTF16_LE)
        lines = path.read_text("utf-16" if wide else "utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"neither text nor another known file: {_EXPECTED}") from None
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines, 1):
        words = _split(line.partition("#")[0])
        if words and not (not rows and not any(map(_is_number, words))):
            rows.append((number, words))
    if not rows:
        raise UsageError(f"has no numbers: {_EXPECTED}")
    width = len(rows[0][1])
    for number, words in rows:
        wrong = next((word for word in words if not _is_number(word)), None)
        if wrong is not None:
            raise UsageError(f"line {number} has {wrong[:20]!r}, expected numbers")
        if len(words) != width:
            raise UsageError(f"line {number} has {len(words)} numbers, line {rows[0][0]} {width}")
    words = [word.lower() for _, row in rows for word in row]
    words = [word if "n" in word else word.replace("d", "e") for word in words]  # Fortran's 1d-5
    values = np.array(words, dtype=np.float64)
    off, digits = _written(words, values)
    shape = (len(rows), width)
    return {"": Saved(values.reshape(shape), off.reshape(shape), digits)}


def _split(line: str) -> list[str]:
    """Split a line of a table; a comma is a decimal one where semicolons or tabs part numbers."""
    for separator in (";", "\t"):
        if separator in line:
            words = [word.strip().replace(",", ".") for word in line.split(separator)]
            break
    else:
        words = [word.strip() for word in (line.split(",") if "," in line else line.split())]
    if words and not words[-1]:
        words.pop()  # a separator at the end of the line
    return [word.strip("\"'") for word in words]


def _is_number(word: str) -> bool:
    bare = word.lstrip("+-").lower()
    match = _NUMBER.fullmatch(word)
    return bare in _NO_NUMBER or bool(match and (match[1] or match[2]))


def _written(words: list[str], values: Array) -> tuple[Array, str]:
    """Return how far each number may be from what was written, and how it was written, in words.

    Half a unit of the last place: of the decimals, if all numbers have as many, else of as many
    significant digits as the longest number has (fewer are zeros that were not written).
    """
    if not values.any():  # zeros as such: of rounded ones not all would be
        return np.zeros(values.shape), "zeros"
    parts = [_NUMBER.fullmatch(word) for word in words]
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
