"""Finding implementations by name, without importing any of them."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import msgspec

from rnnparity.cells.config import KINDS
from rnnparity.errors import UsageError, no_such
from rnnparity.implementations import interpreters

GROUP = "rnnparity.implementations"
PEERS = "rnnparity.peers"  # what others offer: run when named, or when asked for
BASELINE = "torch-rnn"


class Spec(msgspec.Struct, frozen=True):
    """Where an implementation is: a name to show, and a module or a file to load."""

    name: str  # no other one's in a run; registered ones of gated kinds: "numpy-loop (gru)"
    target: str  # "pkg.mod", "pkg.mod:attribute", or the absolute path of a file
    peer: bool = False
    kind: str = "rnn"  # of the cases that it is given
    python: str = ""  # the path of the Python that runs it; "" for this process's own
    onnx: bool = False  # a user's file with a runtime, given the cases as ONNX models


@cache
def registered(kind: str = "rnn") -> dict[str, Spec]:
    """Return what the entry-point groups offer: the baseline, implementations, then peers.

    Args:
        kind: of layers: "rnn", "gru" or "lstm", whose groups end in `.gru` and `.lstm`.

    Returns:
        By the names that users write, which several kinds have in common.
    """
    suffix = "" if kind == "rnn" else f".{kind}"
    found = {
        point.name: Spec(point.name + _shown(kind), point.value, group == PEERS, kind)
        for group in (GROUP, PEERS)
        for point in entry_points(group=group + suffix)
    }
    return dict(sorted(found.items(), key=lambda one: (one[1].peer, one[0] != BASELINE, one[0])))


def _shown(kind: str) -> str:
    """Return what is added to a name that several kinds have in common."""
    return "" if kind == "rnn" else f" ({kind})"


def is_baseline(spec: Spec) -> bool:
    """Whether this is torch's own."""
    return spec == registered(spec.kind).get(BASELINE)


def is_alone(spec: Spec) -> bool:
    """Whether it needs a process of its own: by its Python, or by a line `process = "own"`."""
    return bool(spec.python) or declared(spec, "process") == "own"


def without_kind(name: str) -> str:
    """Return the name that users write: of "numpy-loop (gru)" numpy-loop."""
    return re.sub(rf" \(({'|'.join(KINDS)})\)$", "", name)


def resolve(text: str, kind: str = "rnn") -> Spec:
    """Turn what a user wrote into a spec: a registered name, also as it is shown, a file, a module.

    Args:
        text: what a user wrote.
        kind: of layers, in which registered names are looked up.

    Raises:
        UsageError: it is none of them.
    """
    if text in registered(kind):
        return registered(kind)[text]
    shown = {spec.name: spec for other in KINDS for spec in registered(other).values()}
    if text != without_kind(text) and text in shown:
        return shown[text]
    path = Path(text)
    if path.suffix == ".py" or "/" in text or "\\" in text:
        if not path.is_file() or path.suffix != ".py":
            raise UsageError(f"no Python file {text}: expected one with an implementation (.py)")
        return Spec(path.stem, str(path.resolve()))
    module = text.partition(":")[0]
    if re.fullmatch(r"[A-Za-z_][\w.]*", module) and _importable(module):
        return Spec(text, text)
    line = no_such("implementation", text, registered(kind))
    raise UsageError(f"{line}; or give a file (my_rnn.py) or a module (pkg.mod)")


def resolve_all(
    texts: list[str],
    peers: bool = False,
    kinds: tuple[str, ...] = ("rnn",),
    pythons: Mapping[str, str] | None = None,
    backends: Sequence[str] = (),
) -> list[Spec]:
    """Resolve several, all registered ones if nothing is named; names are kept unique.

    Args:
        texts: what a user wrote, of each also the Python that runs it: `NAME@PATH`.
        peers: whether peers come along, unless they are named.
        kinds: of layers, in all of which registered names are looked up; a user's own module is
            of the one that it declares.
        pythons: by registered name, the Python that runs one where none is written.
        backends: files with an ONNX runtime, of all these kinds each.

    Raises:
        UsageError: one is no registered name, no file and no module, or a file is given as both.
    """
    every = [spec for kind in kinds for spec in registered(kind).values()]
    specs = [spec for text in texts for spec in _of_kinds(text, kinds)]
    specs += [spec for text in backends for spec in _backend(text, kinds)]
    if not specs:
        specs = [spec for spec in every if not spec.peer]
    if peers:
        specs += [spec for spec in every if spec.peer]
    for name in pythons or {}:
        if not any(name in registered(kind) for kind in KINDS):
            raise UsageError(no_such("implementation", name, registered()))
    specs = [
        msgspec.structs.replace(
            spec, python=spec.python or (pythons or {}).get(without_kind(spec.name), "")
        )
        for spec in specs
    ]
    both = {spec.target for spec in specs if spec.onnx} & {s.target for s in specs if not s.onnx}
    if both:
        raise UsageError(
            f"{min(both)} is given as an implementation and as an ONNX runtime: drop one"
        )
    unique: dict[tuple[str, str, str], Spec] = {}
    for spec in sorted(specs, key=lambda spec: kinds.index(spec.kind)):
        unique.setdefault((spec.target, spec.python, spec.kind if spec.onnx else ""), spec)
    labels = interpreters.labels({spec.python for spec in unique.values() if spec.python})
    found = []
    for spec in unique.values():
        name = _told_apart(spec, [*unique.values()])
        if spec.python:  # its kind, if it is told, stays at the end
            bare = without_kind(name)
            name = f"{bare}@{labels[spec.python]}{name.removeprefix(bare)}"
        found.append(msgspec.structs.replace(spec, name=name))
    return found


def _told_apart(spec: Spec, others: list[Spec]) -> str:
    """Return the spec's name, or as much of the end of its target as no other of that name has."""
    alike = {other.target for other in others if other.name == spec.name}
    if len(alike) == 1:
        return spec.name
    told = spec.name.removeprefix(without_kind(spec.name))
    return interpreters.end(spec.target, alike, least=2) + told


def _of_kinds(text: str, kinds: tuple[str, ...]) -> list[Spec]:
    name, python = interpreters.parted(text)
    found = [registered(kind)[name] for kind in kinds if name in registered(kind)]
    if not found:
        own = resolve(name, kinds[0])
        kind = kind_of(own)
        found = [msgspec.structs.replace(own, kind=kind if kind in kinds else kinds[0])]
    return [msgspec.structs.replace(spec, python=python) for spec in found]


def _backend(text: str, kinds: tuple[str, ...]) -> list[Spec]:
    path = Path(text)
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"no Python file {text}: expected one with run(model_bytes, inputs) (.py)")
    return [
        Spec(path.stem + _shown(kind), str(path.resolve()), kind=kind, onnx=True) for kind in kinds
    ]


def kind_of(spec: Spec) -> str:
    """Return the kind that a module declares, or where it is registered, since it has several."""
    return declared(spec, "kind") or spec.kind


def declared(spec: Spec, name: str) -> str | None:
    """Return what a module declares in so many words, `name = "..."`, without importing it."""
    if spec.onnx:
        return {"framework": "numpy", "kind": spec.kind}.get(name)
    target = spec.target.partition(":")[0]
    if not target.endswith(".py"):
        try:
            found = find_spec(target)
        except (ImportError, ValueError):
            return None
        if found is None or found.origin is None:
            return None
        target = found.origin
    text = Path(target).read_text(encoding="utf-8", errors="replace")
    found_in = re.search(rf"""^{name} = ["'](\w+)["']""", text, re.MULTILINE)
    if found_in:
        return found_in[1]
    return _kind_of_module(text) if name == "kind" else None


def _kind_of_module(text: str) -> str | None:
    """Return the one kind that a file with a module of PyTorch's names; None if it is no such file.

    Args:
        text: of the file, which is not run to find out.
    """
    if re.search(r"^(framework|layer|rnn) =|^def (layer|rnn)\(", text, re.MULTILINE):
        return None
    kinds = {kind.lower() for kind in re.findall(r"\bnn\.(RNN|GRU|LSTM)(?:Cell)?\b", text)}
    return kinds.pop() if len(kinds) == 1 else None


def _importable(module: str) -> bool:
    """Whether a module can be found, in the current folder too, without importing it."""
    path = Path(*module.split("."))
    if path.with_suffix(".py").is_file() or path.is_dir():
        return True
    try:
        return find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False
