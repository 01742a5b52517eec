"""The columns of a scoreboard, and the cases that try each.

A case has what its column names and as little else as it can. Some faults show only where two
capabilities meet: such a case stands in the column that it blames, and counts where the others that
it needs are right.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from rnnparity.problems.cases import Case

# Sizes of no tile and no vector; and what was not compiled for when these were run.
STEPS, ROWS, INPUT, HIDDEN = 7, 4, 5, 6
LONGER, LARGER = 120, 33


@dataclass(frozen=True)
class Trial:
    """A case, and the columns that must be right for it to say something of its own."""

    case: Case
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Capability:
    """A column.

    Attributes:
        name: its head.
        what: what is tried, in a sentence.
        trials: its cases, made of the plain one.
        kinds: of layers that have it.
    """

    name: str
    what: str
    trials: Callable[[Case], Iterator[Trial]]
    kinds: tuple[str, ...] = ("rnn", "gru", "lstm")


# Columns that others are measured by: what is right without them is not the fault of another.
PLAIN, BIAS, PRODUCTS, GRADIENTS, CALLS = "plain", "bias", "products", "gradients", "calls"
REVERSE, BOTH, LENGTHS, EMPTY, STATE = "reverse", "both", "lengths", "empty", "initial state"


def _with(**changes: Any) -> Callable[[Case], Iterator[Trial]]:
    return lambda plain: iter([Trial(changed(plain, **changes))])


def _fed_back(*needs: str, **changes: Any) -> Callable[[Case], Iterator[Trial]]:
    return lambda plain: iter([Trial(changed(plain, **changes), frozenset({STATE, *needs}))])


def changed(case: Case, **changes: Any) -> Case:
    """Return a case with some attributes, of its own or of its config, changed."""
    inner = {name: changes.pop(name) for name in [*changes] if name not in Case.__struct_fields__}
    return case.replace(config=msgspec.structs.replace(case.config, **inner), **changes)


def _none(plain: Case) -> Iterator[Trial]:
    """Yield nothing: the plain case tells."""
    return iter([])


def _lengths(plain: Case) -> Iterator[Trial]:
    yield Trial(changed(plain, ragged=True))
    yield Trial(changed(plain, ragged=True, bidirectional=True), frozenset({BOTH}))


def _initial(plain: Case) -> Iterator[Trial]:
    yield Trial(changed(plain, h0=True))
    yield Trial(changed(plain, h0=True, bidirectional=True), frozenset({BOTH}))
    yield Trial(changed(plain, h0=True, num_layers=2), frozenset({"layers"}))


def _together(plain: Case) -> Iterator[Trial]:
    """Yield many features at once, as users have them."""
    needs = frozenset({"layers", BOTH, LENGTHS, STATE})
    many = {"num_layers": 2, "bidirectional": True, "ragged": True, "h0": True}
    yield Trial(changed(plain, **many), needs)
    yield Trial(changed(plain, batch_first=True, **many), needs | {"batch first"})


CAPABILITIES = (
    Capability(PLAIN, "one layer, time first, a batch; tanh, or the only one that it has", _with()),
    Capability("relu", "relu in place of tanh", _with(nonlinearity="relu"), ("rnn",)),
    Capability(BIAS, "what only goes wrong with biases, and is right without them", _none),
    Capability("no bias", "a layer without biases", _with(bias=False)),
    Capability("layers", "two layers", _with(num_layers=2)),
    Capability(REVERSE, "the second direction of two: what is read backwards", _none),
    Capability(BOTH, "two directions: the first, and how they are put side by side",
               _with(bidirectional=True)),
    Capability("batch first", "input and output as [B, T, features]", _with(batch_first=True)),
    Capability(LENGTHS, "sequences of unequal length in a batch, padded", _lengths),
    Capability(EMPTY, "one of them of length 0: output 0, the state as it was", _none),
    Capability("no state", "no initial state: zeros", _with(h0=False)),
    Capability(STATE, "an initial state, in each direction and layer its own", _initial),
    Capability("one more step", "one step more, with the state fed back",
               _fed_back(one_more_step=True)),
    Capability("unbatched", "one sequence without a batch", _with(B=None)),
    Capability("longer", f"{LONGER} steps, after calls with {STEPS}", _with(T=LONGER)),
    Capability("larger batch", f"{LARGER} rows, after calls with {ROWS}", _with(B=LARGER)),
    Capability(CALLS, "called again, with other rows or in parts, nothing changes",
               _fed_back("no state", invariants=True)),
    Capability("near zero", "values so small that tanh(a) = a", _with(regime="tiny")),
    Capability("saturated", "values so large that tanh is 1 or -1, and gates are 0 or 1",
               _with(regime="saturated")),
    Capability("float64", "in float64", _with(dtype="float64")),
    Capability("float16", "in float16", _with(dtype="float16")),
    Capability("bfloat16", "in bfloat16", _with(dtype="bfloat16")),
    Capability(GRADIENTS, "of all inputs and parameters", _none),
    Capability(PRODUCTS, "matrix products of float32 are made in float32", _none),
    Capability("together", "two layers, both directions, lengths, a state, at once", _together),
)  # fmt: skip


def of_kind(kind: str) -> tuple[Capability, ...]:
    """Return the columns of a kind of layers."""
    return tuple(one for one in CAPABILITIES if kind in one.kinds)
