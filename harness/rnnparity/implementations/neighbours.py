"""How what lies beside a user's Python file is imported, and which files that will be.

Found without running any of it, it is what import statements name, wherever they stand. What a file
reads besides, or imports by a name that it computes, is not known.
"""

import ast
import os
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    PathFinder,
    SourceFileLoader,
)
from pathlib import Path
from typing import Any

# Bytes, and entries of folders that are looked at. What is written beside a file to be imported is
# far below; a library that lies there as a whole is above, and is to be installed.
MOST_BYTES, MOST_ENTRIES = 10_000_000, 2000


# Folders of files that were loaded here, whose neighbours can be imported.
_folders: set[str] = set()


class TooMuch(Exception):
    """A file imports more from beside it than is reasonable to send; the message says it."""


def make_importable(folder: Path) -> None:
    """Let a file import its neighbours: none that hides a library, and no other file's.

    Modules of the same names that files of other folders imported are taken out of `sys.modules`;
    who has imported them keeps them.
    """
    others = _folders - {str(folder)}
    roots = {name.partition(".")[0] for name in sys.modules} if others else set()
    for root in roots & {path.name.partition(".")[0] for path in folder.iterdir()}:
        if _home(sys.modules.get(root)) in others:
            for name in [one for one in sys.modules if one.partition(".")[0] == root]:
                del sys.modules[name]
    last = len(sys.path)
    while last and sys.path[last - 1] in _folders:
        last -= 1
    sys.path.insert(last, str(folder))
    _folders.add(str(folder))


def _home(module: Any) -> str:
    """Return the folder in which a module's file lies, or a package as a whole."""
    places = [*getattr(module, "__path__", ()), getattr(module, "__file__", None) or ""]
    return str(Path(places[0]).parent)


def with_imports(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Give a file, and all that it and those import from its folder, with what each holds.

    Raises:
        TooMuch: it is too much; what is within the limit was given before.
        OSError: the file cannot be read.
    """
    seen, todo, size = {path}, [path], 0
    while todo:
        file = todo.pop()
        try:
            size += file.stat().st_size
            if size > MOST_BYTES and file != path:
                raise TooMuch(f"what it imports beside it is more than {MOST_BYTES:,} bytes")
            data = file.read_bytes()
        except OSError:
            if file == path:
                raise
            continue  # whoever imports it will be told
        yield file, data
        if file.suffix in SOURCE_SUFFIXES:
            new = {one for name in sorted(_named(data)) for one in _beside(path.parent, name)}
            todo += sorted(new - seen)
            seen |= new


def _named(code: bytes) -> set[str]:
    """Return the first parts of all names that are imported; of relative ones there are none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful code: whoever runs it will be told
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()  # importing it will say why
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _beside(folder: Path, name: str) -> Iterator[Path]:
    """Give the files of a module or of a whole package in a folder, if no library hides it."""
    installed = [one for one in sys.path if Path(one).name in ("site-packages", "dist-packages")]
    if name in sys.stdlib_module_names or PathFinder.find_spec(name, installed):
        return
    loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceFileLoader, SOURCE_SUFFIXES)
    found = FileFinder(str(folder), *loaders).find_spec(name)
    if found is None:
        return
    if found.submodule_search_locations is None:
        yield Path(str(found.origin))
        return
    looked = 0
    for root, folders, files in os.walk(folder / name):
        folders[:] = sorted(one for one in folders if one.isidentifier() and one != "__pycache__")
        looked += len(folders) + len(files)
        if looked > MOST_ENTRIES:
            raise TooMuch(f"{name} beside it has more than {MOST_ENTRIES} files")
        yield from (
            Path(root, file)
            for file in sorted(files)
            if file.endswith((*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES))
        )
