"""Which of the gradients that come in a backward pass counts: left out, twice, or times a factor.

All gradients are linear in those that come in: of the output, of its last step, of h_n, of c_n.
What each of them brings alone is computed, and how much of it there is in what was found.
"""

from typing import Any

import numpy as np

from rnnparity.cells import network
from rnnparity.cells.recurrence import Trace, layer, layer_backward, traced_step
from rnnparity.judging.difference import judged_part
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.reference import Reference
from rnnparity.judging.truth import higher_precision
from rnnparity.problems.cases import Case
from rnnparity.problems.quantities import is_gradient
from rnnparity.problems.setup import Quantities, setup
from rnnparity.types import Array

# What is often made of a gradient that comes in; and how near to that its share must be, which all
# elements together tell far more exactly than each is known.
OFTEN = {1.0: "", 0.0: "left out", 2.0: "counted twice", -1.0: "with its sign reversed"}
NEAR = 1e-2

# The share is found from no more than so many elements of each gradient, and no fewer of them all.
SOME, ENOUGH = 256, 32

OUTPUT, LAST = "the output", "the last output"


def incoming(case: Case, arrays: dict[str, Array], reference: Reference) -> str:
    """Say which gradient that comes in is counted otherwise than once; "" if that explains nothing.

    Args:
        case: what was run, whose forward pass is right.
        arrays: quantity to array, of the right shape, as the implementation returned it.
        reference: of the case.
    """
    found = {n: judged_part(case, n, a, reference) for n, a in arrays.items() if is_gradient(n)}
    finite = all(np.isfinite(array.astype(np.float64)).all() for array in found.values())
    if not finite or not all(reference.judged[name].all() for name in found):
        return ""
    with np.errstate(all="ignore"):
        parts = _parts(case, reference)
        sizes = {"B": case.B or 1, "T": case.T}
        often = {1 / size: f"times {1 / size:.4g} (1 / {name})" for name, size in sizes.items()}
        often |= OFTEN
        shares = _shares(found, [*parts.values()], reference)
        apart = np.abs(np.array([*often]) - shares[:, None])
        if not len(shares) or not (apart.min(axis=1) <= NEAR).all():
            return ""
        counted = [[*often][k] for k in apart.argmin(axis=1)]
        z = 0.0
        for name, array in found.items():
            made = sum(c * part[name] for c, part in zip(counted, parts.values(), strict=True))
            error = np.abs(array.astype(np.asarray(made).dtype) - made) / reference.units[name]
            z = max(z, float(error.max()))
    what = dict(zip(parts, counted, strict=True))
    if what.get(OUTPUT) == what.get(LAST):
        what.pop(LAST, None)
    elif LAST in what and OUTPUT in what:
        what = {f"{OUTPUT} but its last step": what.pop(OUTPUT)} | what
    told = [f"that of {name} {often[share]}" for name, share in what.items() if share != 1]
    if not told or not z <= LIMIT:
        return ""
    return f"what is off equals the gradients with {' and '.join(told)} (within {z:.2g} units)"


def _shares(found: Quantities, parts: list[Quantities], reference: Reference) -> Array:
    """Return how much of each part there is in what was found; none where that cannot be told."""
    columns, target = [], []
    for name, array in found.items():
        unit = reference.units[name].ravel()
        some = slice(None, None, max(1, len(unit) // SOME))
        columns.append(np.array([part[name].ravel()[some] / unit[some] for part in parts]))
        target.append(array.ravel()[some].astype(np.float64) / unit[some])
    matrix = np.concatenate(columns, axis=1).T.astype(np.float64)
    aim = np.concatenate(target).astype(np.float64)
    if len(aim) < ENOUGH or not (np.isfinite(matrix).all() and np.isfinite(aim).all()):
        return np.empty(0)
    shares, _, rank, _ = np.linalg.lstsq(matrix, aim, rcond=None)
    return np.asarray(shares) if rank == len(parts) else np.empty(0)


def _parts(case: Case, reference: Reference) -> dict[str, Quantities]:
    """Return the gradients that each gradient which comes in brings alone."""
    given = setup(case, reference.problem, higher_precision(case.dtype))
    tape: list[network.Call] = []
    cells = [Trace(cell, traced_step(given.config)) for cell in given.cells]
    given.replace(cells=cells, x_next=None).run(layer, tape)
    T = len(given.x)
    ends = np.full(given.x.shape[1], T) if given.lengths is None else given.lengths
    at_end = (np.arange(T)[:, None] == ends - 1)[:, :, None]
    coming: dict[str, Any] = {
        "grad_output": given.grad_output,
        "grad_h_n": given.grad_h_n,
        "grad_c_n": given.grad_c_n,
    }
    coming = {name: value for name, value in coming.items() if value is not None}
    nothing = {name: 0 * value for name, value in coming.items()}
    alone = {
        OUTPUT: {"grad_output": np.where(at_end, 0, given.grad_output)},
        LAST: {"grad_output": np.where(at_end, given.grad_output, 0)},
    }
    alone |= {name.removeprefix("grad_"): {name: coming[name]} for name in [*coming][1:]}
    return {
        what: given.replace(**nothing | own).backward(layer_backward, tape)
        for what, own in alone.items()
        if any(np.any(value) for value in own.values())
    }
