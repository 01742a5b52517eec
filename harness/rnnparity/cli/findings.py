"""What was found in other libraries, run again: findings.

A finding is a folder of docs/findings: README.md, whose first lines say what it is of, and a
script.py whose last line of output is its state now: `present`, `fixed`, or `absent` where the
processor has not what it takes.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rnnparity.errors import UsageError, no_such, one_line

STATES = ("present", "fixed", "absent")
INSIDE = Path(__file__).parents[1] / "data" / "findings"  # where a wheel has them
IN_CLONE = Path(__file__).parents[3] / "docs" / "findings"


class Finding(NamedTuple):
    """One folder: `recorded` are the versions by package, `state` what it was with them."""

    script: Path
    title: str
    recorded: dict[str, str]
    state: str
    upstream: str

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.script.parent.name


class Now(NamedTuple):
    """What a script said: its state, or "error"; the versions that were there; all it printed."""

    state: str
    versions: dict[str, str]
    output: str


def corpus(folder: Path | None = None) -> list[Finding]:
    """Read the findings.

    Raises:
        ValueError: a README lacks one of its first lines.
    """
    folder = folder or (INSIDE if INSIDE.is_dir() else IN_CLONE)
    return [_read(script) for script in sorted(folder.glob("*/script.py"))]


def _read(script: Path) -> Finding:
    text = script.with_name("README.md").read_text(encoding="utf-8")
    found = re.match(r"# (.+)\n\n- with: (.+)\n- state: (\w+)\n- upstream: (.+)\n\n", text)
    if found is None or found[3] not in STATES:
        raise ValueError(f"{script.parent}/README.md: expected a title, with, state and upstream")
    title, together, state, upstream = found.groups()
    recorded = dict(one.split(" ") for one in together.split(", "))
    return Finding(script, title, recorded, state, upstream)


def again(finding: Finding, python: str = sys.executable) -> Now:
    """Run a finding's script in a process of its own, by an interpreter that has the library.

    Raises:
        UsageError: it is none.
    """
    code = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))"""
    told = _run([python, "-c", code, *finding.recorded]).stdout.splitlines()
    if not told or not told[-1].startswith("{"):
        raise UsageError(f"python is {python}: expected an interpreter of Python 3.8 or newer")
    versions: dict[str, str] = json.loads(told[-1])
    missing = [name for name in finding.recorded if name not in versions]
    if missing:
        return Now("absent", versions, f"{', '.join(missing)} is not installed")
    done = _run([python, "-W", "ignore", str(finding.script)])
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0 and last in STATES:
        return Now(last, versions, done.stdout)
    return Now("error", versions, done.stdout + done.stderr)


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise UsageError(f"python is {command[0]}: {error.strerror}") from None


def lines(found: list[Finding]) -> Iterator[str]:
    """Yield the table of docs/findings.md."""
    yield "| finding | with | state |"
    yield "| --- | --- | --- |"
    for one in found:
        together = ", ".join(" ".join(pair) for pair in one.recorded.items())
        yield f"| [{one.title}](findings/{one.name}/README.md) | {together} | {one.state} |"


def findings(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Some of them; all if none.")
    ] = None,
    python: Annotated[
        str, typer.Option(help="An interpreter of another environment.", show_default=False)
    ] = sys.executable,
    verbose: Annotated[bool, typer.Option("--verbose", help="With what each prints.")] = False,
) -> None:
    """Run again what was found in other libraries. Exit code 1 if one is not as it is recorded."""
    found = {one.name: one for one in corpus()}
    for name in names or ():
        if name not in found:
            raise UsageError(no_such("finding", name, found))
    width, changed = max(map(len, found), default=0), False
    for one in [found[name] for name in names or found]:
        now = again(one, python)
        versions = now.versions or one.recorded
        together = ", ".join(f"{name} {versions.get(name, '-')}" for name in one.recorded)
        changed |= now.state not in (one.state, "absent")
        sys.stdout.write(f"{one.name:{width}}  {one.state:8}{now.state:8}  {together}\n")
        if verbose or now.state == "error":
            sys.stdout.write("".join(f"    {line}\n" for line in now.output.splitlines()[-40:]))
        elif now.state == "absent":
            sys.stdout.write(f"    {one_line(now.output.splitlines()[0])}\n")
        sys.stdout.flush()
    raise typer.Exit(int(changed))
