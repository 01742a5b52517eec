"""rnnparity: is it the same recurrence, who is right if not, and how fast is each?

Importing this package imports no framework; not even NumPy, until something is asked of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnparity.api import bench as bench
    from rnnparity.api import check as check
    from rnnparity.api import judge as judge
    from rnnparity.api import run as run
    from rnnparity.assertion import assert_outputs as assert_outputs
    from rnnparity.assertion import assert_parity as assert_parity
    from rnnparity.cells.config import RNNConfig as RNNConfig
    from rnnparity.errors import UsageError as UsageError
    from rnnparity.implementations.settings import Settings as Settings
    from rnnparity.problems import weights as weights
    from rnnparity.problems.cases import Case as Case

_HOME = {
    "assert_outputs": "rnnparity.assertion",
    "assert_parity": "rnnparity.assertion",
    "bench": "rnnparity.api",
    "check": "rnnparity.api",
    "judge": "rnnparity.api",
    "run": "rnnparity.api",
    "Case": "rnnparity.problems.cases",
    "RNNConfig": "rnnparity.cells.config",
    "Settings": "rnnparity.implementations.settings",
    "UsageError": "rnnparity.errors",
}

# Modules that users call by the package's name: rnnparity.weights.read(...).
_MODULES = {"weights": "rnnparity.problems.weights"}

__all__ = [
    "Case",
    "RNNConfig",
    "Settings",
    "UsageError",
    "assert_outputs",
    "assert_parity",
    "bench",
    "check",
    "judge",
    "run",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _HOME:
        raise AttributeError(f"module 'rnnparity' has no attribute {name!r}")
    try:
        home = import_module(_HOME[name])
    except ModuleNotFoundError as missing:
        from rnnparity import extras

        if extras.of(missing.name) is None:
            raise
        raise ImportError(extras.line(f"rnnparity.{name}", str(missing.name))) from None
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_MODULES])
