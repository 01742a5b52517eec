"""What was assumed of a user's weights, in words, with the option that says otherwise."""

from collections.abc import Sequence

from rnnparity.problems.cases import Case
from rnnparity.words import option


def nonlinearity(case: Case) -> str:
    """Say that weights were taken as tanh, which their names and shapes do not tell; or ""."""
    if not case.assumed or case.config.nonlinearity != "tanh":
        return ""
    return f"the weights were taken as tanh: {option('nonlinearity', 'relu')}"


def dtype(case: Case, others: Sequence[str]) -> str:
    """Say that a user's weights are in a dtype, and how to check them in another; or ""."""
    if not _of_user(case):
        return ""
    nearest = "float32" if "float32" in others else others[0]
    return f"; the weights are {case.dtype}: {option('dtype', nearest)}"


def _of_user(case: Case) -> bool:
    """Whether a case's weights are a file, no draw and not those that come with the package."""
    return case.weights not in (None, "digits")
