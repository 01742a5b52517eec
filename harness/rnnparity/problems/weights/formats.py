"""What a file of weights or of arrays is, told by its bytes: people name files as they like.

Here alone is known how files of each format begin; what to say of one that cannot be used is said
where it was wanted. No framework is imported: a run's own process asks this, and must not load
torch.
"""

import zipfile
from pathlib import Path

# How each format of weights is told to users.
EXPECTED = "a weights file: safetensors, torch, .npz, Keras, Flax or ONNX"

# What a file begins with, and what it is then.
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"\x08": "onnx",  # a protobuf whose first field is a number: ir_version
    b"\x80\x02": "pickle",  # of protocols 2 to 5
    b"\x80\x03": "pickle",
    b"\x80\x04": "pickle",
    b"\x80\x05": "pickle",
    b"\xde": "msgpack",  # a map whose length is in two more bytes, or in four
    b"\xdf": "msgpack",
    b"\x93NUMPY": "npy",
    b"MATLAB 5.0 MAT": "matlab",
    b"MATLAB 7.3 MAT": "matlab",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"version https://git-lfs": "lfs",
    b"<": "page",
    b"GGUF": "gguf",
}
# What is no weights file at all, but often taken for one; and the way out.
_OTHERS = {
    "exported": (
        "a program of torch.export: torch.save(torch.export.load(file).state_dict, "
        "'weights.pt'), then that file"
    ),
    "tar": "a tar archive: unpack it (tar -xf), and give the file in it",
    "npy": "one array without a name (.npy): save all by name, numpy.savez(file, **state)",
    "matlab": "a MATLAB file: numpy.savez(file, **state), with the arrays by torch's names",
    "gzip": "compressed (gzip): gunzip it first",
    "bzip2": "compressed (bzip2): bunzip2 it first",
    "xz": "compressed (xz): unxz it first",
    "zstd": "compressed (zstd): unzstd it first",
    "lfs": "a pointer of Git LFS: run git lfs pull, which fetches the file",
    "page": "a page of the web (HTML or XML): download the file itself",
    "gguf": "a GGUF file: save the state dict as .safetensors",
}
# Where content tells nothing (damaged, empty): whose error message is of use.
_ENDINGS = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".onnx": "onnx",
    ".npz": "npz",
    ".h5": "hdf5",
    ".msgpack": "msgpack",
}


def format_of(path: Path) -> str:
    """Return which weights a file has: of "safetensors", "torch", "npz", "hdf5", "keras", ...

    Content decides; the name's ending only where content tells nothing. "" if that does not tell,
    either, and for no file.
    """
    try:
        found = content_of(path)
    except OSError:
        return ""
    if found in _OTHERS:
        return ""
    if found in ("", "zip"):
        return _ENDINGS.get(path.suffix.lower(), "")
    return "torch" if found == "pickle" else found  # torch.save's before zip files


def other(path: Path) -> str:
    """Return what a file is that holds no weights as it is, and the way out; "" if not told."""
    return _OTHERS.get(content_of(path), "")


def content_of(path: Path) -> str:
    """Return what a file is by its content alone; "" if that does not tell.

    "safetensors", "torch" (a zip), "pickle", "npz", "npy", "hdf5", "keras", "msgpack", "onnx";
    "zip", of anything else; "matlab", "tar", "gzip" and whatever else is told, though nobody here
    reads it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(512)
    # A length in eight bytes, then JSON. Its first bytes may be those of a pickle: so it comes
    # first. No header has four gigabytes, and one without names or beyond the file's end is none.
    if start[8:9] == b"{" and start[4:8] == bytes(4):
        length = int.from_bytes(start[:8], "little")
        if start[9:10] == b'"' or length <= path.stat().st_size - 8:
            return "safetensors"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_format(path, start)
    if start[257:262] == b"ustar":
        return "tar"
    # A small map whose first key is a short text.
    if start[:1] and 0x81 <= start[0] <= 0x8F and len(start) > 1 and 0xA0 <= start[1] <= 0xDB:
        return "msgpack"
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def _zip_format(path: Path, start: bytes) -> str:
    # One that was cut short names its first entry all the same.
    if b"/data.pkl" in start:
        return "torch"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damaged: anything; whoever reads it says so
        names = []
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    if b"/data/weights/" in start:
        return "exported"
    if "model.weights.h5" in names:
        return "keras"
    is_npz = any(name.endswith(".npy") for name in names) or b".npy" in start
    return "npz" if is_npz else "zip"
