"""A report as JUnit XML, which CI systems show: a suite for an implementation and device."""

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from xml.etree import ElementTree

from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.records.timing import Timing
from rnnparity.report import commands, failing, summary
from rnnparity.verdicts import Verdict

JUNIT = "junit.xml"

# What the format calls a verdict; the others need no word.
KINDS = {
    Verdict.FAIL: "failure",
    Verdict.ERROR: "error",
    Verdict.XFAIL: "skipped",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.ABSENT: "skipped",
}


def write(run: Run, directory: Path) -> Path:
    """Write `junit.xml` into a folder."""
    path = directory / JUNIT
    path.write_bytes(render(run))
    return path


def render(run: Run) -> bytes:
    """Return the document: fail is a failure, error an error, unsupported and absent are skips."""
    root = ElementTree.Element("testsuites", name="rnnparity")
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in run.records:
        groups.setdefault((record.implementation, record.device), []).append(record)
    for (implementation, device), records in groups.items():
        name = _clean(f"{implementation} {device}".strip())
        suite = _suite(root, name, records)
        for record in records:
            test = _test(suite, name, record)
            kind = KINDS.get(record.verdict)
            if kind is not None:
                told = ElementTree.SubElement(test, kind, message=_clean(record.reason))
                if record.verdict.is_wrong:
                    told.text = _clean(commands.command(record, run))
            elif record.reason:
                ElementTree.SubElement(test, "system-out").text = _clean(record.reason)
    _add_timings(root, run)
    ElementTree.indent(root)
    found: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return found


def _suite(
    root: ElementTree.Element, name: str, checks: Sequence[Record | Timing]
) -> ElementTree.Element:
    found = Counter(KINDS.get(one.verdict) for one in checks)
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    told = {"name": name, "tests": str(len(checks))}
    told |= {attribute: str(found[kind]) for attribute, kind in counts.items()}
    told["time"] = f"{sum(map(_seconds, checks)):.6f}"
    return ElementTree.SubElement(root, "testsuite", told)


def _test(suite: ElementTree.Element, where: str, one: Record | Timing) -> ElementTree.Element:
    """Add a test with its time and its properties: device, dtype, and the largest error."""
    told = {"classname": where, "name": _clean(failing.case_of(one))}
    told["time"] = f"{_seconds(one):.6f}"
    test = ElementTree.SubElement(suite, "testcase", told)
    properties = ElementTree.SubElement(test, "properties")
    largest = summary.largest_z(one) if isinstance(one, Record) else None
    units = "" if largest is None else f"{largest:.3g}" if isfinite(largest) else summary.NOT_FINITE
    for name, value in (("device", one.device), ("dtype", one.dtype), ("units", units)):
        ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
    return test


def _seconds(one: Record | Timing) -> float:
    """Return what it took; 0 if it was not recorded, or never ran."""
    if isinstance(one, Record):
        return one.seconds or 0.0
    blocks = zip(one.calls, one.seconds, strict=False)
    return sum(one.first_call) + sum(calls * sum(rounds) for calls, rounds in blocks)


def _add_timings(root: ElementTree.Element, run: Run) -> None:
    """Add a suite of what failed while it was timed, if anything did."""
    failed = failing.failed_timings(run)
    if not failed:
        return
    suite = _suite(root, "timing", failed)
    for t in failed:
        where = _clean(f"{t.implementation} {t.device}")
        test = _test(suite, where, t)
        told = ElementTree.SubElement(test, KINDS[t.verdict], message=_clean(t.reason))
        told.text = _clean(commands.bench_command(t, run))


def _clean(text: str) -> str:
    """Return text without the characters that XML has no way to write."""
    return "".join(c if _in_xml(c) else "?" for c in text)


def _in_xml(c: str) -> bool:
    return c in "\t\n" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff"
