"""Which operation of a failing implementation is off, by inputs that isolate each.

Every probe is one forward call on a fresh instance, of which nothing is known but its source: what
earlier calls left behind, or what only gradients get wrong, is blamed on no operation.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from rnnparity.cells.config import NONLINEARITIES, RNNConfig
from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.difference import judged_part, told_apart, z_scores
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import unit_roundoff
from rnnparity.problems.quantities import is_gradient
from rnnparity.problems.regimes import ARGUMENTS, PRODUCTS
from rnnparity.types import Array
from rnnparity.verdicts import Verdict

Refer = Callable[[Case], Reference]

# Rows of a probe. A failure must show in a row alone, too, in one of so many draws: what several
# rows do to each other is no failure of an operation. Where none shows it, it was either rare, and
# stands, or it takes several rows, if it is so unlikely that it was missed.
ROWS, DRAWS = 16, 16
MISSED = 1e-6

# From 20 on tanh is 1 in every dtype; up to a quarter, an absolute error of a rounding of 1 shows.
LEVEL, SMALL = 20, 0.25


class Fresh(Protocol):
    """Runs a case on an instance that nothing has called yet."""

    def __call__(
        self, case: Case, /, *, times: int = 1, gradients: bool = False
    ) -> list[Outcome] | None:
        """Return the outcomes of so many calls in a row; None if there is no fresh instance."""


class Seen(NamedTuple):
    """What a probe showed.

    `off` is None where nothing can be said, `why` what else went wrong. `share` of the elements is
    off. Of those, or of all if none is: what the nonlinearity was given, what it made of that, and
    what is true.
    """

    off: bool | None
    why: str = ""
    share: float = 0.0
    given: Array = np.empty(0)
    made: Array = np.empty(0)
    true: Array = np.empty(0)


def locate(
    case: Case, fresh: Fresh, refer: Refer, *, finite: bool = True, some_rows: bool = False
) -> str:
    """Say which operation alone is off, or what is right; "" if that cannot be found out.

    Args:
        case: what failed, in its forward pass.
        fresh: runs the implementation.
        refer: returns what a case is judged against.
        finite: whether what it made of the case are numbers; if not, what makes none is told first.
        some_rows: whether it is off in some rows only, so that no product is.
    """
    if case.config.kind != "rnn":
        return ""  # the probes are a plain RNN's
    own = case.config.nonlinearity
    order = (own, *(name for name in NONLINEARITIES if name != own))

    def probe(regime: str, nonlinearity: str) -> Seen:
        config = RNNConfig(
            input_size=case.config.input_size,
            hidden_size=case.config.hidden_size,
            nonlinearity=nonlinearity,
        )
        alone = Case(config=config, T=1, B=ROWS, dtype=case.dtype, regime=regime)
        return _confirmed(alone, fresh, refer)

    looked_at = () if some_rows else PRODUCTS
    products = {what: [probe(what, name) for name in order] for what in looked_at}
    arguments = {where: probe(where, own) for where in ARGUMENTS}
    everything = [seen for found in products.values() for seen in found] + [*arguments.values()]
    for seen in everything:
        if seen.why:
            return seen.why
    if all(seen.off is None for seen in everything):
        return ""
    for what, found in products.items():
        shown = [seen for seen in found if seen.off is not None]
        # A product is off behind every nonlinearity; what is off behind one is the nonlinearity.
        if shown and all(seen.off for seen in shown):
            alone = len(shown) == 1
            if not (alone and _is_nonlinearity(own, shown[0], arguments)):
                return f"{what} alone is off"
    off = [(where, seen) for where, seen in arguments.items() if seen.off]
    if not finite:
        off.sort(key=lambda one: bool(np.isfinite(one[1].made).all()))
    for where, seen in off:
        absolute = where == "near zero" and all(
            (np.abs(at.made - at.true) <= 8 * unit_roundoff(case.dtype)).all()
            for at in (seen, arguments["around one"])
        )
        return _of_nonlinearity(own, where, seen, absolute)
    return _right_alone(case, fresh, refer)


def one_layer(case: Case) -> Case | None:
    """Return a case with the first layer in one direction alone; None if it has no other."""
    config = case.config
    if config.num_cells == 1 or case.weights is not None or case.inputs is not None:
        return None
    one = msgspec.structs.replace(config, num_layers=1, bidirectional=False)
    return case.replace(config=one, invariants=False, one_more_step=False)


def forward_is_right(case: Case, outcome: Outcome, reference: Reference) -> bool | None:
    """Whether outputs and states are within what rounding allows; None if there are none."""
    if outcome.verdict:
        return None
    arrays = {n: a for n, a in outcome.arrays.items() if not is_gradient(n)}
    judgement = judge(case, Outcome(arrays), reference)
    return judgement.verdict.is_right


def _confirmed(probe: Case, fresh: Fresh, refer: Refer) -> Seen:
    """Run a probe on some rows, and if it is off, on one row alone."""
    together = _seen(probe, fresh, refer)
    if not together.off:
        return together
    missed = 1.0
    for seed in range(DRAWS):
        alone = _seen(probe.replace(B=1, seed=seed), fresh, refer)
        if alone.off is None or alone.off:
            return alone
        missed *= (1 - together.share) ** probe.config.hidden_size
        if missed < MISSED:
            return Seen(None, f"a row alone is right, {ROWS} rows together are not")
    return together


def _seen(probe: Case, fresh: Fresh, refer: Refer) -> Seen:
    outcomes = fresh(probe)
    if outcomes is None or outcomes[0].verdict:
        why = outcomes[0].reason if outcomes and outcomes[0].verdict == Verdict.FAIL else ""
        return Seen(None, why and f"one step of one layer {why}")
    reference = refer(probe)
    if judge(probe, outcomes[0], reference).quantities == {}:
        return Seen(None)  # a wrong shape or dtype, which is no failure of an operation
    found = judged_part(probe, "output", outcomes[0].arrays["output"], reference)
    with np.errstate(all="ignore"):
        off = z_scores(found, "output", reference) > LIMIT
    trace = reference.true.traces[0]
    cell = trace.cell
    given = trace.x @ cell.weight_ih.T + trace.h0 @ cell.weight_hh.T + cell.bias_ih + cell.bias_hh
    shown = off if off.any() else np.ones_like(off)
    return Seen(
        bool(off.any()),
        share=float(off.mean()),
        given=given[shown],
        made=found[shown].astype(given.dtype),
        true=reference.true.values["output"][shown],
    )


def _is_nonlinearity(own: str, small: Seen, arguments: dict[str, Seen]) -> bool:
    """Whether it is the only nonlinearity there is, and not the product before it, that is off."""
    if own == "relu":
        return bool((small.true == 0).all())
    far, one = arguments["far out"], arguments["around one"]
    # Far out, tanh is 1 or -1, whatever a product is off by; and a product that is off is so around
    # one, too.
    beyond = bool(far.off) and (np.abs(far.given) > LEVEL).any()
    return bool(beyond or not (one.off and (np.abs(one.given) > SMALL).any()))


def _of_nonlinearity(own: str, where: str, seen: Seen, absolute: bool) -> str:
    """Say of what argument which value was made, and what makes an absolute error near zero."""
    error = np.abs(seen.made - seen.true)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    made, true = told_apart(float(seen.made[worst]), float(seen.true[worst]))
    example = f"of {seen.given[worst]:.3g} it makes {made}, not {true}"
    if own == "relu":
        signs = {bool(one < 0) for one in seen.given}
        sign = "" if len(signs) > 1 else " of negative numbers" if signs == {True} else ""
        return f"relu{sign} alone is off: {example}"
    if absolute:
        return f"tanh loses digits near zero, as (exp(2a) - 1) / (exp(2a) + 1) does: {example}"
    if not np.isfinite(seen.made).all():
        return f"tanh of large numbers is not finite, as exp(2a) overflows: {example}"
    return f"tanh alone is off {where}: {example}"


def _right_alone(case: Case, fresh: Fresh, refer: Refer) -> str:
    """Say what of a failing case is right: operations, one step, one row, one layer."""
    own = case.config.nonlinearity
    plain = case.replace(invariants=False, one_more_step=False)
    smaller = {
        "one step": plain.replace(T=1) if case.T > 1 and not case.ragged else None,
        "one row": plain.replace(B=1, ragged=False) if (case.B or 1) > 1 else None,
        "one layer": one_layer(case),
    }
    right = []
    for what, part in smaller.items():
        # What is given by the user, or with the package, has its own sizes.
        if part is None or case.inputs is not None or case.weights == "digits":
            continue
        outcomes = fresh(part)
        if outcomes is not None and forward_is_right(part, outcomes[0], refer(part)):
            right.append(what)
    also = f", and so is {' and '.join(right)}" if right else ""
    return f"products, biases and {own} are right alone{also}"
