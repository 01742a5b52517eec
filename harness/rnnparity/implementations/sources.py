"""What an implementation is made of, as a text that changes when it does; found without running it.

That is its source, with what it imports of its own package, and the versions of the packages that
these files import. What they read besides is not known.
"""

import ast
import hashlib
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

# Bytes of a package that are looked through, in a second or so. A package that is larger is most
# likely installed, and has a version.
MOST_BYTES = 500_000

# What computes for a framework that is imported, under a name of its own.
BENEATH = {"jax": ("jaxlib",)}


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Return a digest of files, and the versions of what they import: `0123456789ab numpy 2.4.0`.

    Args:
        files: what each holds, by a name that is the same wherever they lie.
    """
    digest = hashlib.sha256()
    found: set[str] = set()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)}\n".encode(errors="surrogateescape") + data)
        found |= {one.partition(".")[0] for one in _imported(data, "")} | _declared(data)
    found |= {under for name in found for under in BENEATH.get(name, ())}
    found -= sys.stdlib_module_names
    versions = [f"{name} {told}" for name in sorted(found) if (told := version_of(name))]
    return " ".join([digest.hexdigest()[:12], *versions])


def of_module(target: str) -> str:
    """Return the fingerprint of a module: `pkg.mod`, or of what it holds, `pkg.mod:attribute`."""
    module = target.partition(":")[0]
    own = module.partition(".")[0]
    files: dict[str, bytes] = {}
    todo, seen, size = [module], {module}, 0
    while todo and size < MOST_BYTES:
        name = todo.pop(0)
        spec = _found(name)
        try:
            data = Path(str(spec and spec.origin)).read_bytes()
        except OSError:  # nothing, or a folder without a file
            continue
        files[name] = data
        size += len(data)
        package = name if spec and spec.submodule_search_locations else name.rpartition(".")[0]
        new = {one for one in _imported(data, package) if one.partition(".")[0] == own}
        new |= {name.rpartition(".")[0]} - {""}  # importing it runs that of its package
        todo += sorted(new - seen)
        seen |= new
    return fingerprint(files)


def tell(target: str) -> None:
    """Print the fingerprint of a module, or of the files that stdin holds, by name, as JSON."""
    files = json.load(sys.stdin)
    held = {name: text.encode("latin-1") for name, text in files.items()}
    print(fingerprint(held) if held else of_module(target))


def _found(name: str) -> ModuleSpec | None:
    """Find a module as importing it would, but import no package on the way."""
    spec: ModuleSpec | None = None
    path = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        found = (one.find_spec(part, path) for one in sys.meta_path if hasattr(one, "find_spec"))
        spec = next(filter(None, found), None)
        if spec is None and count == 1:  # a worker looks in the current folder, too
            spec = PathFinder.find_spec(part, [str(Path.cwd())])
        if spec is None or (path := spec.submodule_search_locations) is None:
            return spec if count == len(parts) else None
    return spec


def _imported(code: bytes, package: str) -> Iterator[str]:
    """Give the names that statements and calls may import, wherever they stand.

    Args:
        code: of a file; nothing is found in one that is no Python.
        package: whose file it is, for names that are relative to it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            yield home
            yield from (f"{home}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in (
            getattr(node.func, "attr", ""),
            getattr(node.func, "id", ""),
        ):
            named = [one.value for one in node.args[:1] if isinstance(one, ast.Constant)]
            yield from (name for name in named if isinstance(name, str))


def _declared(code: bytes) -> set[str]:
    """Return the framework that a file declares, which it may use without importing it."""
    found = re.search(rb"""^framework = ["'](\w+)["']""", code, re.MULTILINE)
    return {found[1].decode()} if found else set()


@cache
def version_of(name: str) -> str:
    """Return the version of the package that a module comes with; empty if that is not known."""
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        pass
    try:
        return version(_distributions()[name][0])
    except (PackageNotFoundError, KeyError):
        return ""


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
