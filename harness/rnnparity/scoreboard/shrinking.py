"""The smallest sizes at which something is still wrong."""

from collections.abc import Callable, Iterator

from rnnparity.problems.cases import Case
from rnnparity.scoreboard.capabilities import changed


def smallest(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Return a case with its sizes halved, one after another, as long as it still fails.

    Args:
        case: that fails.
        fails: runs a case.
    """
    found = True
    while found:
        found = False
        for smaller in _halved(case):
            if fails(smaller):
                case, found = smaller, True
                break
    return case


def _halved(case: Case) -> Iterator[Case]:
    config = case.config
    sizes = {
        "T": case.T,
        "B": case.B or 1,
        "hidden_size": config.hidden_size,
        "input_size": config.input_size,
        "num_layers": config.num_layers,
    }
    for name, size in sizes.items():
        least = 2 if name == "B" and case.ragged else 1
        if size // 2 >= least and (name != "B" or case.B is not None):
            yield changed(case, **{name: size // 2})
