"""Failures that are expected: a list of ids with reasons, one a line.

    # id pattern: reason
    my-kernel-cpu-bfloat16-*: no 16-bit products yet

What fails or breaks as a line says gets the verdict `xfail` in place of its own. A line none of
whose checks fails is outdated, and told: a list that only grows hides what it was made to show.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from msgspec import ValidationError, convert
from msgspec.structs import replace

from rnnparity import listed
from rnnparity.errors import UsageError
from rnnparity.implementations.registry import without_kind
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.verdicts import Verdict
from rnnparity.words import option

# What a run's environment has the user's lines as.
KEPT_LINES = "xfail"


class Expected(NamedTuple):
    """One line: of which checks' ids, why, and whether it must happen.

    `pattern` is as `fnmatch` has it. `of_peers` are lines that come with the package: what is known
    of others' layers may be mended in the version that is here.
    """

    pattern: str
    reason: str
    of_peers: bool = False

    def is_of(self, record: Record) -> bool:
        """Whether it is of a check, by its id, that without its Python, or its case's."""
        name = record.implementation
        bare, at, python = without_kind(name).rpartition("@")
        kind = name.removeprefix(f"{bare}{at}{python}")
        here = f"{bare}{kind}{record.id.removeprefix(name)}" if at else record.id
        return any(fnmatchcase(one, self.pattern) for one in (record.id, here, record.case))


def read_expected(path: str | Path) -> tuple[Expected, ...]:
    """Read a list of expected failures.

    Raises:
        UsageError: it cannot be read, or a line has no reason.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option('xfail', str(path))} cannot be read: {error}") from None
    return _parsed(text, str(path))


def told(expected: Iterable[Expected]) -> list[str]:
    """Return the user's lines, as a run's environment keeps them."""
    return [f"{one.pattern}: {one.reason}" for one in expected if not one.of_peers]


def kept(directory: Path) -> tuple[Expected, ...]:
    """Return the user's lines that a run was made with.

    Raises:
        UsageError: its environment is damaged.
    """
    label = str(directory / files.ENVIRONMENT)
    try:
        lines = convert(files.read_environment(directory).get(KEPT_LINES, []), list[str])
    except ValidationError as error:
        raise UsageError(f"{label}, {KEPT_LINES}: {error}") from None
    return _parsed("\n".join(lines), label)


def of_peers() -> tuple[Expected, ...]:
    """Return what is known of the peers (docs/findings.md)."""
    return tuple(Expected(pattern, reason, True) for _, pattern, reason in listed.of_peers())


def _parsed(text: str, label: str) -> tuple[Expected, ...]:
    return tuple(Expected(pattern, reason) for _, pattern, reason in listed.lines(text, label))


def as_expected(expected: Iterable[Expected], record: Record) -> Record:
    """Return a check's record, `xfail` where it fails as a line says; no other list counts."""
    verdict, reason = record.own or (record.verdict, record.reason)
    if verdict.is_wrong:
        for one in expected:
            if one.is_of(record):
                why = f"{one.reason} ({verdict}: {reason})"
                own = verdict, reason
                return replace(record, verdict=Verdict.XFAIL, reason=why, own=own)
    return replace(record, verdict=verdict, reason=reason, own=None)


def unmatched(expected: Iterable[Expected], records: Sequence[Record]) -> list[Expected]:
    """Return the user's lines that say something of no check at all."""
    return [one for one in expected if not one.of_peers and not any(one.is_of(r) for r in records)]


def outdated(expected: Iterable[Expected], records: Sequence[Record]) -> list[Expected]:
    """Return the lines that something was checked of, none of which failed."""
    found = []
    for one in expected:
        own = [r.verdict for r in records if one.is_of(r)]
        if any(v.is_right for v in own) and Verdict.XFAIL not in own:
            found.append(one)
    return found
