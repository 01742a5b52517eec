"""Wrong outcomes made of right ones, some of the truth put elsewhere, and what is said of them."""

import re

import numpy as np
from conftest import reference_of

from rnnparity.cells.config import RNNConfig
from rnnparity.implementations.outcome import Outcome
from rnnparity.judging.assess import assess
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.problems.quantities import of_weights, time_major


def case_of(T=12, B=4, I=8, H=16, **given):
    of_case = {name: given.pop(name) for name in ("ragged", "regime", "judged") if name in given}
    return Case(config=RNNConfig(input_size=I, hidden_size=H, **given), T=T, B=B, **of_case)


CASES = {
    "plain": case_of(),
    "relu": case_of(nonlinearity="relu"),
    "unbatched": case_of(B=None),
    "batch first": case_of(batch_first=True),
    "square": case_of(T=4),
    "deep": case_of(kind="gru", num_layers=3),
    "both ways": case_of(kind="gru", bidirectional=True),
    "deep both ways": case_of(kind="gru", bidirectional=True, num_layers=3),
    "ragged": case_of(B=6, ragged=True),
    "chaotic": case_of(T=60, regime="expansive"),
    "wide": case_of(T=6, H=64),
    "long": case_of(T=300, B=3),
    "gru": case_of(kind="gru"),
    "deep gru": case_of(kind="gru", num_layers=2),
    "deep lstm": case_of(kind="lstm", num_layers=2),
}


def said_of(case, change, verdicts=("fail",)):
    """Return the reason for which a right outcome that was changed fails, without z.

    Args:
        case: of the outcome.
        change: given the right arrays, time-major, by name, and the reference; changes some.
        verdicts: that may come of it.
    """
    against = reference_of(case)
    dtype = numpy_dtype(case.dtype)
    arrays = {name: value.astype(dtype) for name, value in against.true.values.items()}
    change(arrays, against)
    for name, array in arrays.items():
        assert array.dtype == dtype, name
        laid_out = array if of_weights(name) or case.B else array[:, 0]
        batch_first = case.config.batch_first and not of_weights(name)
        laid_out = time_major(case, name, laid_out) if batch_first else laid_out
        arrays[name] = np.ascontiguousarray(laid_out)
    assessed = assess(case, Outcome(arrays), against, lambda *_, **__: None)
    assert assessed.judgement.verdict in verdicts, assessed.judgement.reason
    return re.sub(r" \(within [^)]* units\)", "", assessed.judgement.reason)


def changed(name, change):
    """Change one quantity as a whole."""

    def of_arrays(arrays, _):
        arrays[name] = np.ascontiguousarray(change(arrays[name]))

    return of_arrays


def put(name, index, value):
    """Change a part of a quantity: to a number, or to what is made of the whole."""

    def of_arrays(arrays, _):
        made = value(arrays[name]) if callable(value) else arrays[name].dtype.type(value)
        arrays[name][index] = made

    return of_arrays


def replaced(name, value):
    """Put what is made of the reference in a quantity's place."""

    def of_arrays(arrays, against):
        made = value(against, arrays)
        arrays[name] = np.asarray(made).astype(arrays[name].dtype).reshape(arrays[name].shape)

    return of_arrays


def every(change):
    """Change all gradients."""

    def of_arrays(arrays, _):
        for name in [name for name in arrays if name.startswith("grad_")]:
            arrays[name] = change(arrays[name])

    return of_arrays


def exchanged(one, other):
    """Put two quantities in each other's places."""

    def of_arrays(arrays, _):
        arrays[one], arrays[other] = arrays[other], arrays[one]

    return of_arrays


def both(*changes):
    """Make several changes."""

    def of_arrays(arrays, against):
        for change in changes:
            change(arrays, against)

    return of_arrays


def shares(factor, steps=slice(None), rows=slice(None)):
    """Return the gradient of a weight from some steps and rows."""

    def of(against, _):
        trace = against.true.traces[0]
        before = np.concatenate((trace.h0[None], trace.output[:-1]))
        read = {"x": trace.x, "before": before, "after": trace.output}[factor]
        return np.einsum("tbr,tbc->rc", trace.grad_state[steps, rows], read[steps, rows])

    return of


def tiles(width, a):
    """Exchange neighbouring tiles of units."""
    return a.reshape(*a.shape[:-1], -1, 2, width)[..., ::-1, :].reshape(a.shape)


def last_steps(against, arrays, back=0):
    ends = against.true.lengths - 1 - back
    return arrays["output"][ends, np.arange(len(ends))]
