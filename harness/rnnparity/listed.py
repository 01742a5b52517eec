"""Lists of expected failures, as people write them: `id pattern: reason` a line, `#` a remark.

For the command line and for pytest's plugin, which imports nothing heavy.
"""

from collections.abc import Iterator
from importlib import resources

from rnnparity.errors import UsageError


def lines(text: str, label: str) -> Iterator[tuple[int, str, str]]:
    """Yield the number, the pattern and the reason of each line that says something.

    Args:
        text: of the list.
        label: what a message calls it.

    Raises:
        UsageError: a line has no reason.
    """
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0].strip()
        if not bare:
            continue
        pattern, colon, reason = (part.strip() for part in bare.partition(": "))
        if not colon or not reason:
            raise UsageError(f"{label}, line {number}: expected `id pattern: reason`")
        yield number, pattern, reason


def of_peers() -> Iterator[tuple[int, str, str]]:
    """Yield the lines of what is known of the peers (docs/findings.md)."""
    path = resources.files("rnnparity") / "data" / "peers_xfail.txt"
    return lines(path.read_text(encoding="utf-8"), str(path))
