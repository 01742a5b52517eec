"""Finding implementations by name, without importing any of them."""

import re
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import msgspec

from rnnparity.errors import UsageError

GROUP = "rnnparity.implementations"
PEERS = "rnnparity.peers"  # what others offer: run when named, or when asked for
BASELINE = "torch-rnn"


class Spec(msgspec.Struct, frozen=True):
    """Where an implementation is: a name to show, and a module or a file to load."""

    name: str
    target: str  # "pkg.mod", "pkg.mod:attribute", or the absolute path of a file
    peer: bool = False


@cache
def registered(kind: str = "rnn") -> dict[str, Spec]:
    """Return what the entry-point groups offer: the baseline, implementations, then peers.

    Args:
        kind: of layers: "rnn", "gru" or "lstm", whose groups end in `.gru` and `.lstm`.
    """
    suffix = "" if kind == "rnn" else f".{kind}"
    found = [
        Spec(point.name, point.value, group == PEERS)
        for group in (GROUP, PEERS)
        for point in entry_points(group=group + suffix)
    ]
    found.sort(key=lambda spec: (spec.peer, spec.name != BASELINE, spec.name))
    return {spec.name: spec for spec in found}


def resolve(text: str, kind: str = "rnn") -> Spec:
    """Turn what a user wrote into a spec: a registered name, a file, or a module.

    Args:
        text: what a user wrote.
        kind: of layers, in which registered names are looked up.

    Raises:
        UsageError: it is none of them.
    """
    if text in registered(kind):
        return registered(kind)[text]
    path = Path(text)
    if path.suffix == ".py" or "/" in text or "\\" in text:
        if not path.is_file() or path.suffix != ".py":
            raise UsageError(f"no Python file {text}: expected one with an implementation (.py)")
        return Spec(path.stem, str(path.resolve()))
    module = text.partition(":")[0]
    if re.fullmatch(r"[A-Za-z_][\w.]*", module) and _importable(module):
        return Spec(text, text)
    raise UsageError(
        f"no implementation {text!r}: registered are {', '.join(registered(kind))}; "
        "or give a file (my_rnn.py) or a module (pkg.mod)"
    )


def resolve_all(texts: list[str], peers: bool = False, kind: str = "rnn") -> list[Spec]:
    """Resolve several, all registered ones if none is named; names are kept unique.

    Args:
        texts: what a user wrote.
        peers: whether peers come along, unless they are named.
        kind: of layers, in which registered names are looked up.

    Raises:
        UsageError: one is no registered name, no file and no module.
    """
    specs = [resolve(text, kind) for text in texts]
    if not texts:
        specs = [spec for spec in registered(kind).values() if not spec.peer]
    if peers:
        specs += [spec for spec in registered(kind).values() if spec.peer]
    unique = {spec.target: spec for spec in specs}.values()
    names = [spec.name for spec in unique]
    return [
        spec if names.count(spec.name) == 1 else msgspec.structs.replace(spec, name=spec.target)
        for spec in unique
    ]


def declared(spec: Spec, name: str) -> str | None:
    """Return what a module declares in so many words, `name = "..."`, without importing it."""
    target = spec.target.partition(":")[0]
    if not target.endswith(".py"):
        try:
            found = find_spec(target)
        except (ImportError, ValueError):
            return None
        if found is None or found.origin is None:
            return None
        target = found.origin
    found_in = re.search(
        rf"""^{name} = ["'](\w+)["']""",
        Path(target).read_text(encoding="utf-8", errors="replace"),
        re.MULTILINE,
    )
    return found_in[1] if found_in else None


def _importable(module: str) -> bool:
    """Whether a module can be found, in the current folder too, without importing it."""
    path = Path(*module.split("."))
    if path.with_suffix(".py").is_file() or path.is_dir():
        return True
    try:
        return find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False
