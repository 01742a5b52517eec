"""The house: which room may import which, and no circle; read from the code's own imports."""

import ast
import re
from pathlib import Path

import rnnparity

PACKAGE = Path(rnnparity.__file__).parent

# Each room, in the order in which data goes through them, and the rooms that it may import.
BASE = {"errors", "defaults", "extras", "listed", "types", "verdicts", "words"}
ORDER = ("cells", "problems", "implementations", "judging", "records", "runs", "timing", "report")
ROOMS = {room: BASE | set(ORDER[:k]) for k, room in enumerate(ORDER)}
ROOMS["records"] -= {"cells"}
FILES = {"extras": {"errors"}, "listed": {"errors"}}
ROOMS["selftest"] = BASE | set(ORDER) - {"report"}
ROOMS["scoreboard"] = BASE | set(ORDER)
ROOMS["conformance"] = BASE | set(ORDER[:4])
# What stands in front of the rooms may import all of them.
DOORS = {"__init__", "__main__", "api", "assertion", "cli"}


def modules(package=PACKAGE):
    """Return every module's name below the package, and its file."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts)] = path
    return found


def imports(name, path, known):
    """Return which of the package's modules a module imports, wherever in its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if _own(alias.name)}
        elif isinstance(node, ast.ImportFrom) and _own(node.module or ""):
            home = node.module.partition(".")[2]
            for alias in node.names:
                inner = f"{home}.{alias.name}".lstrip(".")
                found.add(inner if inner in known else home)
    return {one for one in found if one in known and one != name}


def _own(name):
    return name == "rnnparity" or name.startswith("rnnparity.")


def graph(package=PACKAGE):
    known = modules(package)
    return {name: imports(name, path, known) for name, path in known.items()}


def upward(found):
    """Return the imports that no room may have: (importer, imported)."""
    bad = []
    for name, targets in found.items():
        room = name.partition(".")[0]
        if room in DOORS:
            continue
        allowed = (ROOMS | FILES).get(room, set()) | {room}
        bad += [(name, one) for one in sorted(targets) if one.partition(".")[0] not in allowed]
    return bad


def circle(found):
    """Return modules that import each other in a ring; [] if there are none."""
    done, path = set(), []

    def walk(name):
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        path.append(name)
        for target in sorted(found[name]):
            ring = walk(target)
            if ring:
                return ring
        done.add(path.pop())
        return []

    for name in sorted(found):
        ring = walk(name)
        if ring:
            return ring
    return []


def test_every_module_is_in_a_room():
    rooms = {name.partition(".")[0] for name in modules()}
    assert rooms - DOORS - BASE == set(ROOMS)


def test_no_room_imports_what_comes_after_it():
    assert upward(graph()) == []


def test_there_is_no_circle():
    assert circle(graph()) == []


def test_a_planted_import_is_seen(tmp_path):
    """Upward, inside of a function, and in a ring."""
    package = tmp_path / "rnnparity"
    (package / "cells").mkdir(parents=True)
    (package / "judging").mkdir()
    (package / "cells" / "config.py").write_text(
        "def late():\n    from rnnparity.judging import truth\n"
    )
    (package / "judging" / "truth.py").write_text("from rnnparity.cells.config import late\n")
    found = graph(package)
    assert upward(found) == [("cells.config", "judging.truth")]
    assert circle(found) == ["cells.config", "judging.truth"]


def importers_of_the_harness(folder):
    found = set()
    for page in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(page.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(_own(name) for name in names):
                found.add(page.relative_to(folder).as_posix())
    return found


RUNTIMES = ("onnxruntime_whole", "onnx_reference", "openvino_whole", "tract_whole")


def test_nothing_by_hand_imports_the_harness():
    """A page can be read alone; ONNX runtimes are given the model that `export` writes."""
    import recurrences

    folder = Path(recurrences.__file__).parent
    assert importers_of_the_harness(folder) == {f"peers/{name}.py" for name in RUNTIMES}


def test_every_room_lists_what_is_in_it():
    """The first lines of a room's `__init__` name each of its modules, and say what it is."""
    for room in ROOMS:
        told = (PACKAGE / room / "__init__.py").read_text(encoding="utf-8")
        listed = re.findall(r"^ *(\w+) {2,}\S", told, re.MULTILINE)
        there = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
        there |= {path.parent.name for path in (PACKAGE / room).glob("*/__init__.py")}
        assert sorted(listed) == sorted(there), room
