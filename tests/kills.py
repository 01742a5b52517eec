"""Runs that are killed at random moments and gone on with: `python tests/kills.py --count 100`.

After every kill all that was recorded before is still there. In the end a run's records are those
of one that nobody disturbed: none is lost, none is there twice.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# What is run, and the file that it writes to.
CHECK = ("check", "numpy-loop", "torch-loop", "--dtype", "float64"), "records.jsonl"
BENCH = (
    (
        *("bench", "numpy-loop", "--size", "5,4,5,3", "--size", "7,1,5,3"),
        *("--processes", "2", "--budget", "0.01"),
    ),
    "timings.jsonl",
)

# Of a folder, so many kills before it is gone on with to its end.
KILLS = 4

# Seconds from the start of a run to the first moment that it is killed at.
EARLIEST = 0.3

# What a timing says in every run alike.
TIMED = ("implementation", "device", "mode", "role", "case", "definition", "verdict", "cell")


@dataclass
class Found:
    """What came of kills: how many hit a run that was going on, and what was wrong after them."""

    hit: int = 0
    seconds: float = 0.0
    recorded: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that were written to their ends."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n")]


def lasting(line: str) -> str:
    """Return what a record or a timing says in every run alike."""
    told = json.loads(line)
    if "mode" in told:
        kept = {name: told.get(name) for name in TIMED}
    else:
        kept = {name: value for name, value in told.items() if name != "seconds"}
    return json.dumps(kept, sort_keys=True)


def start(words: tuple[str, ...], folder: Path) -> subprocess.Popen[str]:
    """Start a run in a folder, or go on with the one that is there."""
    command = [sys.executable, "-m", "rnnparity", *words, "--out", str(folder), "--resume"]
    return subprocess.Popen(
        command, cwd=folder.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(words: tuple[str, ...], folder: Path) -> str:
    """Go on with a run to its end, and return what was wrong with that; empty if nothing."""
    with start(words, folder) as process:
        _, errors = process.communicate()
    left = sorted(
        one.name for one in folder.iterdir() if one.name.startswith(".") or ".part" in one.name
    )
    wrong = [f"ended with {process.returncode}: {errors}"] if process.returncode else []
    return "; ".join([*wrong, *(f"{name} is left" for name in left)])


def disturbed(what: tuple[tuple[str, ...], str], count: int, work: Path, seed: int = 0) -> Found:
    """Kill runs so many times, at moments drawn evenly over what one takes.

    Args:
        what: the command and the file that it writes to.
        count: of kills.
        work: a folder for all of it.
        seed: of the moments.
    """
    words, name = what
    rng, found = random.Random(seed), Found()
    began = time.monotonic()
    wrong = finish(words, work / "undisturbed")
    found.seconds = time.monotonic() - began
    found.wrong += [wrong] if wrong else []
    expected = Counter(map(lasting, whole_lines(work / "undisturbed" / name)))
    for number, kills in enumerate(_parted(count)):
        folder = work / f"killed-{number}"
        before: set[str] = set()
        for _ in range(kills):
            _kill(words, folder, rng.uniform(EARLIEST, found.seconds), found)
            lines = whole_lines(folder / name)
            found.recorded.append(len(lines))
            if before - set(lines):
                found.wrong.append(f"{folder.name}: what was recorded is lost after a kill")
            before = set(lines)
        wrong = finish(words, folder)
        found.wrong += [f"{folder.name}: {wrong}"] if wrong else []
        lines = whole_lines(folder / name)
        if before - set(lines):
            found.wrong.append(f"{folder.name}: what was recorded is lost in the end")
        there = Counter(map(lasting, lines))
        for told, difference in (("lost", expected - there), ("more than once", there - expected)):
            if difference:
                found.wrong.append(f"{folder.name}: {difference.total()} {told}: {min(difference)}")
    return found


def _parted(count: int) -> Iterator[int]:
    while count > 0:
        yield min(count, KILLS)
        count -= KILLS


def _kill(words: tuple[str, ...], folder: Path, after: float, found: Found) -> None:
    with start(words, folder) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            found.hit += 1
        finally:
            process.kill()


def main() -> None:
    """Kill runs of both kinds, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="kills of each kind")
    parser.add_argument("--only", choices=("check", "bench"), help="both, if it is not given")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    failed = False
    for what in (CHECK, BENCH):
        if given.only not in (None, what[0][0]):
            continue
        with tempfile.TemporaryDirectory() as work:
            found = disturbed(what, given.count, Path(work), given.seed)
        failed |= bool(found.wrong)
        print(
            f"{what[0][0]}: {given.count} kills within {found.seconds:.1f} s, {found.hit} of a run "
            f"that was going on, after {min(found.recorded)} to {max(found.recorded)} lines"
        )
        print("\n".join(found.wrong) or "nothing lost, nothing twice")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
