"""The options of the conformance suite; loaded by every pytest, so it imports nothing heavy."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from rnnparity import listed
from rnnparity.errors import UsageError


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--rnn-impl`, `--rnn-onnx-backend` and `--rnn-xfail`."""
    group = parser.getgroup("rnnparity", "conformance of recurrent networks")
    group.addoption(
        "--rnn-impl",
        action="append",
        default=[],
        metavar="IMPL",
        help="implementation for rnnparity.conformance: a file, a module or a registered name; "
        "repeatable",
    )
    group.addoption(
        "--rnn-onnx-backend",
        action="append",
        default=[],
        metavar="FILE",
        help="file of an ONNX runtime, with run(model_bytes, inputs); repeatable",
    )
    group.addoption(
        "--rnn-xfail",
        metavar="FILE",
        help="expected failures, one `id pattern: reason` a line; strict",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the expected failures; an entry without a reason or a match is an error."""
    path = config.getoption("--rnn-xfail")
    if not path:
        return
    try:
        expected = [*listed.lines(_read(path), path)]
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    for number, pattern, reason in expected:
        matching = [item for item in items if fnmatchcase(_id(item), pattern)]
        # A worker of xdist cannot stop the session; a test named by its id leaves others out.
        narrowed = any("::" in argument for argument in config.args)
        if not matching and not narrowed and not hasattr(config, "workerinput"):
            raise pytest.UsageError(f"{path}, line {number}: {pattern} matches no test")
        for item in matching:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise pytest.UsageError(f"--rnn-xfail {path} cannot be read: {error}") from None


def _id(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return callspec.id if callspec is not None else item.name
