"""What the core does not need: packages that come with an extra, and what installs them.

The core is what `assert_parity` and `assert_outputs` need in somebody's own tests.
"""

from collections.abc import Callable
from importlib.util import find_spec

from rnnparity.errors import UsageError

# Names as they are imported.
PACKAGES = {
    "cli": ("typer", "rich", "loky", "psutil", "cpuinfo"),
    "report": ("jinja2", "altair", "vl_convert"),
    "bench": ("scipy",),
    "cluster": ("distributed",),
}


def of(package: str | None) -> str | None:
    """Return the extra that a package comes with; None if with none."""
    top = (package or "").partition(".")[0]
    return next((extra for extra, packages in PACKAGES.items() if top in packages), None)


def line(what: str, package: str) -> str:
    """Return what is said where a package is missing."""
    return f"{what} needs {package}: pip install 'rnnparity[{of(package)}]'"


def needed(extra: str, what: str, find: Callable[[str], object] = find_spec) -> None:
    """Make sure of an extra before the work that ends with it, and not after.

    Args:
        extra: its name.
        what: what needs it, in words.
        find: returns None for a package that is missing.

    Raises:
        UsageError: a package of it is missing.
    """
    for package in PACKAGES[extra]:
        if find(package) is None:
            raise UsageError(line(what, package))
