"""What a task carries in place of paths: labels of files, which are sent to a worker once.

A path means something on one machine only. So a task names a user's own file, weights or inputs by
name and digest. A worker takes what stands at the file's place, if it was told the place and finds
it unchanged: so do workers on this machine. Any other says that it lacks the file, is sent it, and
keeps it in a folder that is gone when its process ends.

With a Python file goes what it imports from beside it, and nothing else that is there.
"""

import hashlib
import io
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from rnnparity.errors import UsageError
from rnnparity.implementations.neighbours import TooMuch, with_imports
from rnnparity.implementations.registry import Spec
from rnnparity.problems.cases import Case

R = TypeVar("R")

# What every Python that can be a worker's reads.
PROTOCOL = 4

Stamps = dict[str, tuple[int, int]]  # of each file its size, and when it was changed


class Label(NamedTuple):
    """A file in a task: its name, and a digest of its place and of all that goes with it."""

    name: str
    digest: str


class Parcel(msgspec.Struct, frozen=True):
    """What is sent: what each file holds, by its path in the folder of the one that is labelled."""

    label: Label
    files: dict[str, bytes]


class Place(NamedTuple):
    """Where a file is on this machine, and what tells whether it is still the same."""

    path: str
    stamps: Stamps

    def is_unchanged(self) -> bool:
        """Whether this is what was noted, and not touched since."""
        try:
            return _stamps(map(Path, self.stamps)) == self.stamps
        except OSError:
            return False


@dataclass(frozen=True)
class Original:
    """A file as it was when it was noted. Only of Python files `files` are kept in memory."""

    label: Label
    place: Place
    files: Mapping[str, bytes]
    too_much: str = ""

    def parcel(self) -> Parcel:
        """Return what is to be sent.

        Raises:
            UsageError: it is too much, or its file is gone or another.
        """
        path = self.place.path
        if self.too_much:
            raise UsageError(f"{path} cannot be sent to a worker: {self.too_much}")
        if self.files:
            return Parcel(self.label, dict(self.files))
        try:
            files = {self.label.name: Path(path).read_bytes()}
        except OSError as error:
            raise UsageError(f"{path} cannot be sent to a worker: {error.strerror}") from None
        if _label(path, {name: _digest(data) for name, data in files.items()}) != self.label:
            raise UsageError(f"{path} was changed since the run was planned: begin a new one")
        return Parcel(self.label, files)


class Lacking(Exception):
    """A worker has no file of this digest, and is to be sent it."""


class Packed(NamedTuple):
    """A task's arguments as bytes, and the files that they name, by digest."""

    data: bytes
    originals: dict[str, Original]


_originals: dict[str, Original] = {}  # by path: what was noted in this process
_places: dict[str, Place] = {}  # by digest: where files are on this machine
_here: dict[str, str] = {}  # by digest: the path of what was found unchanged, or has arrived
_folder: list[str] = []  # this process's own, once there is one
_lock = threading.RLock()


def note(values: Iterable[Spec | Case]) -> None:
    """Remember the files of implementations and cases as they are now.

    One that is gone is what it was when it was noted before, if it was.
    """
    for path in {path for value in values for path in _paths(value).values()}:
        known = _originals.get(path)
        python = path.endswith(".py")
        if known is not None and not python and known.place.is_unchanged():
            continue  # large ones are read once
        try:
            _originals[path] = found = _python(Path(path)) if python else _data(Path(path))
        except OSError:
            continue  # who reads it says so
        _places[found.label.digest] = found.place


def own_files(spec: Spec) -> Mapping[str, bytes]:
    """Return what a user's Python file, and what it imports beside it, held when it was noted.

    Raises:
        UsageError: it is not there, and never was.
    """
    if spec.target not in _originals:
        note([spec])
    if spec.target not in _originals:
        raise UsageError(f"no Python file {spec.target}: it cannot be read")
    return _originals[spec.target].files


def pack(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
    """Write a task's arguments, in which labels stand for paths."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, PROTOCOL)
    pickler.dump((args, kwargs))
    return Packed(buffer.getvalue(), pickler.originals)


def call(function: Callable[..., R], packed: bytes, *sent: Parcel) -> R:
    """Call a function on packed arguments (in a worker), with the files that they name.

    Raises:
        Lacking: one of the files is not here, and was not sent.
    """
    with _lock:
        for parcel in sent:
            if parcel.label.digest not in _here:
                _here[parcel.label.digest] = _arrived(parcel)
    args, kwargs = pickle.loads(packed)
    return function(*args, **kwargs)


def for_workers() -> tuple[dict[str, Place], str]:
    """Return what a worker on this machine is told: where files are, and where to put others.

    That is this process's own, which removes it: a worker that is killed removes nothing.
    """
    return dict(_places), _own_folder()


def take_over(places: dict[str, Place], folder: str) -> None:
    """Be told, in a worker, what `for_workers` returned."""
    _places.update(places)
    _folder[:] = [folder]


def remove_folder() -> None:
    """Remove the folder of what was sent, in a worker whose parent was killed and cannot do it."""
    for folder in _folder:
        shutil.rmtree(folder, ignore_errors=True)


class _Pickler(pickle.Pickler):
    """Writes labels in place of paths."""

    def __init__(self, buffer: io.BytesIO, protocol: int) -> None:
        super().__init__(buffer, protocol)
        self.originals: dict[str, Original] = {}

    def reducer_override(self, value: Any) -> Any:
        paths = _paths(value)
        if any(path not in _originals for path in paths.values()):
            note([value])
        found = {field: _originals[path] for field, path in paths.items() if path in _originals}
        if not found:  # structs by their fields: msgspec may be another version there
            told = isinstance(value, msgspec.Struct)
            return (_made, (type(value), msgspec.structs.asdict(value))) if told else NotImplemented
        labels = {field: original.label for field, original in found.items()}
        self.originals |= {original.label.digest: original for original in found.values()}
        return _unpacked, (msgspec.structs.replace(value, **dict.fromkeys(found, "")), labels)


def _made(kind: type[Any], fields: dict[str, Any]) -> Any:
    return kind(**fields)


def _unpacked(value: Any, labels: dict[str, Label]) -> Any:
    return msgspec.structs.replace(value, **{f: _find(label) for f, label in labels.items()})


def _find(label: Label) -> str:
    """Return where a file is for this process, which goes on with what it once found."""
    if label.digest not in _here:
        place = _places.get(label.digest)
        if place is None or not place.is_unchanged():
            raise Lacking(label.digest)
        _here[label.digest] = place.path
    return _here[label.digest]


def _paths(value: Any) -> dict[str, str]:
    """Return which fields of a value are paths."""
    if isinstance(value, Spec):
        return {"target": value.target} if value.target.endswith(".py") else {}
    if isinstance(value, Case):
        given = {"weights": value.weights, "inputs": value.inputs}
        return {name: path for name, path in given.items() if path and path != "digits"}
    return {}


def _python(path: Path) -> Original:
    files: dict[Path, bytes] = {}
    too_much = ""
    try:
        for file, data in with_imports(path):
            files[file] = data
    except TooMuch as error:
        too_much = str(error)
    held = {file.relative_to(path.parent).as_posix(): data for file, data in files.items()}
    label = _label(str(path), {name: _digest(data) for name, data in held.items()})
    return Original(label, Place(str(path), _stamps(files)), held, too_much)


def _data(path: Path) -> Original:
    place = Place(str(path), _stamps([path]))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Original(_label(str(path), {path.name: digest}), place, {})


def _label(path: str, digests: dict[str, str]) -> Label:
    """Make a label. Equal files of two places get two, since each may read other data beside it."""
    told = "\n".join([path, *(f"{digests[name]} {name}" for name in sorted(digests))])
    return Label(Path(path).name, _digest(os.fsencode(told)))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _stamps(paths: Iterable[Path]) -> Stamps:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def _arrived(parcel: Parcel) -> str:
    # The folder's name is in messages of what is not found in it.
    name = parcel.label.name
    folder = Path(tempfile.mkdtemp(prefix=f"sent-with-{name[:40]}-", dir=_own_folder()))
    for place, data in parcel.files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(data)
    return str(folder / name)


def _own_folder() -> str:
    with _lock:
        if not _folder:
            _folder.append(tempfile.mkdtemp(prefix="rnnparity-"))
            # Unlike `atexit`, this is also called where processes of a pool end.
            util.Finalize(None, shutil.rmtree, (_folder[0], True), exitpriority=0)
        return _folder[0]
