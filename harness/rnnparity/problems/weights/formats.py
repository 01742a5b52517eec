"""What a file of weights is, told by its first bytes: people name a checkpoint as they like.

No framework is imported here: a run's own process asks this, and must not load torch.
"""

import zipfile
from pathlib import Path

# How each format is told to users.
EXPECTED = "a weights file: safetensors, torch, .npz, Keras, Flax or ONNX"

# What a file begins with, and the format that it is then.
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"\x08": "onnx",  # a protobuf whose first field is a number: ir_version
    b"\x80\x02": "torch",  # pickles, of protocols 2 to 5: torch.save's before zip files
    b"\x80\x03": "torch",
    b"\x80\x04": "torch",
    b"\x80\x05": "torch",
}
# What is no weights file at all, but often taken for one; and the way out.
_OTHERS = {
    b"\x93NUMPY": "one array without a name (.npy): save all by name, numpy.savez(file, **state)",
    b"\x1f\x8b": "compressed (gzip): gunzip it first",
    b"BZh": "compressed (bzip2): bunzip2 it first",
    b"\xfd7zXZ": "compressed (xz): unxz it first",
    b"\x28\xb5\x2f\xfd": "compressed (zstd): unzstd it first",
    b"version https://git-lfs": "a pointer of Git LFS: run git lfs pull, which fetches the file",
    b"<": "a page of the web (HTML or XML): download the file itself",
    b"GGUF": "a GGUF file: save the state dict as .safetensors",
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
    """Return what a file is: "safetensors", "torch", "npz", "hdf5", "keras", "msgpack" or "onnx".

    Content decides; the name's ending only where content tells nothing. "" if that does not tell,
    either, and for no file.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return ""
    # A length in eight bytes, then JSON. Its first bytes may be those of a pickle: so it comes
    # first. No header has four gigabytes.
    if start[8:9] == b"{" and start[4:8] == bytes(4):
        return "safetensors"
    if start[:2] == b"PK":
        # One that was cut short names its first entry all the same.
        return "torch" if b"/data.pkl" in start else _zip_format(path) or _by_ending(path)
    if other(path):
        return ""
    # A small map whose first key is a short text; of another length, in two more bytes or four.
    if start[:1] and 0x81 <= start[0] <= 0x8F and len(start) > 1 and 0xA0 <= start[1] <= 0xDB:
        return "msgpack"
    if start[:1] in (b"\xde", b"\xdf"):
        return "msgpack"
    found = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    return found or _by_ending(path)


def other(path: Path) -> str:
    """Return what a file is that holds no weights as it is, and the way out; "" if not told."""
    with path.open("rb") as file:
        start = file.read(512)
    if start[:2] == b"PK" and b"/data/weights/" in start:
        return (
            "a program of torch.export: torch.save(torch.export.load(file).state_dict, "
            "'weights.pt'), then that file"
        )
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it (tar -xf), and give the file in it"
    return next((told for magic, told in _OTHERS.items() if start.startswith(magic)), "")


def _by_ending(path: Path) -> str:
    return _ENDINGS.get(path.suffix.lower(), "")


def _zip_format(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damaged: anything; whoever reads it says so
        return ""
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    if "model.weights.h5" in names:
        return "keras"
    return "npz" if any(name.endswith(".npy") for name in names) else ""
