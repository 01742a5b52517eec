"""Whether a run in a folder can be gone on with, and what of it is kept.

Kept is what would come out the same: records of the same implementation and case. What was
recorded of an implementation that has changed since is made again. With other settings nothing
would be the same: that is another run.
"""

import hashlib
import os
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from rnnparity.errors import UsageError
from rnnparity.implementations import sources
from rnnparity.implementations.registry import Spec
from rnnparity.problems.cases import Case
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.records.timing import Timing
from rnnparity.runs import elsewhere
from rnnparity.runs.expected import as_expected
from rnnparity.runs.parcels import own_files
from rnnparity.runs.plan import Plan
from rnnparity.verdicts import Verdict
from rnnparity.words import option

# Of a run's environment, what timing adds; a resumed run goes on from there.
OF_TIMING = ("best", "timing")

# Settings that decide no number: who was stopped for want of memory is given more.
MAY_CHANGE = {"memory"}


def earlier_records(plan: Plan, described: dict[str, Any], notes: list[str]) -> list[Record]:
    """Return the records of the run that is resumed, if it was made the same way.

    Args:
        plan: of the run that goes on.
        described: its environment; gets what timing has added to it, and who took part before.
        notes: gets a line for what no longer counts.

    Raises:
        UsageError: there is a run already, or it was made another way.
    """
    directory = plan.directory
    if not plan.resume:
        if next(files.read(directory), None) is not None:
            raise UsageError(
                f"{directory} has records already: give {option('resume', True)}, or another folder"
            )
        return []
    before = files.read_environment(directory)
    _refuse_another(directory, before, described)
    described |= {name: before[name] for name in OF_TIMING if name in before}
    then, now = before.get("implementations", {}), described["implementations"]
    changed = {name for name in now if then.get(name) != now[name]}
    described["implementations"] = then | now
    pythons = before.get("interpreters", {}) | described.get("interpreters", {})
    described |= {"interpreters": pythons} if pythons else {}
    cases = {_wherever(case) for case in plan.all_cases}
    ids = {case.id for case in cases}

    def is_current(one: Record | Timing) -> bool:
        """Whether one is of what is to be done now, or of what that does not touch."""
        case = one.definition
        same = case is None or one.case not in ids or _wherever(case) in cases
        return one.implementation not in changed and same

    def is_kept(one: Record) -> bool:
        """Leave out what is tried again: errors, which may be mended, and what has no case."""
        undecided = one.definition is None or one.verdict == Verdict.ERROR
        planned = one.definition is None or one.definition in plan.all_cases
        return is_current(one) and not (undecided and planned and one.implementation in now)

    _, timings = files.keep(directory, files.TIMINGS, Timing, is_current)
    expected = partial(as_expected, plan.expected)
    kept, records = files.keep(directory, files.RECORDS, Record, is_kept, expected)
    notes += _told([one for one in records if not is_current(one)], timings, changed)
    return kept


def _refuse_another(directory: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with a run that was made another way.

    What a run does not tell, since it is from before that was told, is not asked.

    Raises:
        UsageError: it was made another way.
    """
    asked = {"rnnparity": "source"} if "source" in before else {}
    then = {name: before.get(key) for name, key in asked.items()}
    then |= before.get("settings", {})
    found = {name: now[key] for name, key in asked.items()} | now["settings"]
    # A worker's variables decide its kernels.
    told = "user_variables" in before
    variables = sorted({name for one in (before, now) if told for name in one["variables"]})
    then |= {f"{name} in the environment": before["variables"].get(name) for name in variables}
    found |= {f"{name} in the environment": now["variables"].get(name) for name in variables}
    for name in found:
        if name in then and name not in MAY_CHANGE and then[name] != found[name]:
            raise UsageError(
                f"{directory} was made with another {name} ({then[name] or 'none'}, now "
                f"{found[name] or 'none'}): resume it as it was, or give another folder"
            )


def _told(records: list[Record], timings: list[Timing], changed: set[str]) -> list[str]:
    """Return a line for each implementation that has changed, and for cases that have."""
    lost: dict[str, Counter[str]] = {}
    gone: list[Record | Timing] = [*records, *timings]
    for one in gone:
        whose = one.implementation if one.implementation in changed else "the input"
        what = "records" if isinstance(one, Record) else "timings"
        lost.setdefault(whose, Counter())[what] += 1
    return [
        f"{whose} has changed since: "
        + " and ".join(f"{count} {what}" for what, count in counts.items())
        + " from before no longer count"
        for whose, counts in lost.items()
    ]


def _wherever(case: Case) -> Case:
    """Return a case as its id means it: a sample of its rows is the same case."""
    return case.replace(judged=None)


def identity(spec: Spec) -> str:
    """Return what an implementation is, which is another text when its code or packages change.

    Of one that another Python runs it ends with that one's version and a digest of its place.
    """
    is_file = spec.target.endswith(".py")
    files = own_files(spec) if is_file else {}
    name = Path(spec.target).name if is_file else spec.target
    if spec.python:
        told = elsewhere.fingerprint(spec.python, spec.target, files)
        place = hashlib.sha256(os.fsencode(spec.python)).hexdigest()[:12]
        return f"{name} {told} python {elsewhere.look(spec.python).version} at {place}"
    return f"{name} {sources.fingerprint(files) if is_file else sources.of_module(spec.target)}"


def told_by(identity: str) -> dict[str, Any]:
    """Return the versions that the identity of an implementation of another Python tells."""
    found = re.search(r" [0-9a-f]{12}((?: \S+ \S+)*) python (\S+) at [0-9a-f]{12}$", identity)
    words = found[1].split() if found else []
    packages = dict(zip(words[::2], words[1::2], strict=True))
    return {"python": found[2] if found else "", "packages": packages}
