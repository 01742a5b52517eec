"""A report as JUnit XML, which CI systems show: a suite for an implementation and device."""

from pathlib import Path
from xml.etree import ElementTree

from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.report import commands, summary
from rnnparity.verdicts import Verdict

JUNIT = "junit.xml"


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
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=name,
            tests=str(len(records)),
            failures=str(sum(r.verdict == Verdict.FAIL for r in records)),
            errors=str(sum(r.verdict == Verdict.ERROR for r in records)),
            skipped=str(sum(r.verdict in (Verdict.UNSUPPORTED, Verdict.ABSENT) for r in records)),
        )
        for record in records:
            test = ElementTree.SubElement(
                suite, "testcase", classname=name, name=_clean(record.case or "import")
            )
            kind = {Verdict.FAIL: "failure", Verdict.ERROR: "error"}.get(record.verdict)
            if kind is not None:
                told = ElementTree.SubElement(test, kind, message=_clean(record.reason))
                told.text = _clean(commands.command(record, run))
            elif record.verdict in (Verdict.UNSUPPORTED, Verdict.ABSENT):
                ElementTree.SubElement(test, "skipped", message=_clean(record.reason))
            elif record.reason:
                ElementTree.SubElement(test, "system-out").text = _clean(record.reason)
    _add_timings(root, run)
    ElementTree.indent(root)
    found: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return found


def _add_timings(root: ElementTree.Element, run: Run) -> None:
    """Add a suite of what failed while it was timed, if anything did."""
    failed = summary.failed_timings(run)
    if not failed:
        return
    errors = sum(t.verdict == Verdict.ERROR for t in failed)
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name="timing",
        tests=str(len(failed)),
        failures=str(len(failed) - errors),
        errors=str(errors),
        skipped="0",
    )
    for t in failed:
        where = _clean(f"{t.implementation} {t.device}")
        test = ElementTree.SubElement(
            suite, "testcase", classname=where, name=_clean(f"{t.case} ({t.mode})")
        )
        kind = "failure" if t.verdict == Verdict.FAIL else "error"
        told = ElementTree.SubElement(test, kind, message=_clean(t.reason))
        told.text = _clean(commands.bench_command(t.implementation, t.device, run))


def _clean(text: str) -> str:
    """Return text without the characters that XML has no way to write."""
    return "".join(c if _in_xml(c) else "?" for c in text)


def _in_xml(c: str) -> bool:
    return c in "\t\n" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff"
