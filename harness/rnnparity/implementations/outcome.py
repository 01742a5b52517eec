"""One implementation on one case on one device: from arrays to an outcome. Judges nothing."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import ContractViolation, explain
from rnnparity.implementations import compiled, invariants, stopwatch
from rnnparity.implementations.contract import Implementation
from rnnparity.implementations.frameworks import Border, initial
from rnnparity.implementations.gradient_calls import explain_gradients, untouched
from rnnparity.problems.arrays import (
    Problem,
    build,
    initial_states,
    rows_are_left,
    upstream,
    weighing_all_rows,
)
from rnnparity.problems.cases import Case
from rnnparity.problems.dtypes import numpy_dtype
from rnnparity.types import Array
from rnnparity.verdicts import Verdict

Result = dict[str, Array]
Upstream = dict[str, Array]  # the gradients that come in: of output, h_n and an LSTM's c_n

# What lies between the features of an input that is a view: to be read by no one.
GAP = 97


@dataclass(frozen=True)
class Trouble:
    """What went wrong while gradients were taken: FAIL or ERROR, and why, in one line."""

    verdict: Verdict
    reason: str

    def __post_init__(self) -> None:
        """Refuse a verdict that is no trouble.

        Raises:
            ValueError: the verdict is another than FAIL and ERROR.
        """
        if not self.verdict.is_wrong:
            raise ValueError(f"the verdict on gradients is {self.verdict}, expected fail or error")


@dataclass(frozen=True)
class Outcome:
    """What came of a run: arrays in their own dtype, or why there are none.

    Attributes:
        arrays: quantity ("output", "h_n", ...) to array, as the implementation returned it.
        verdict: None where the arrays decide, else FAIL, ERROR, UNSUPPORTED or ABSENT.
        reason: one line, where there is a verdict.
        invariants: what it returned in ways that must not matter, to compare with `arrays`.
        trouble: why there are no gradients among the arrays, though there should be.
        every_row: its gradients where the functional weighs all rows of the batch, if only a sample
            of them is judged (and weighed) otherwise.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    verdict: Verdict | None = None
    reason: str = ""
    invariants: dict[str, dict[str, Array]] = field(default_factory=dict)
    trouble: Trouble | None = None
    every_row: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a verdict that only judging can come to.

        Raises:
            ValueError: the verdict says that something is right.
        """
        if self.verdict is not None and self.verdict.is_right:
            raise ValueError(f"the verdict on what is not judged yet is {self.verdict}")


def execute(
    implementation: Implementation, border: Border, case: Case, problem: Problem, device: str
) -> Outcome:
    """Run a case; everything that the implementation does wrong becomes an outcome.

    Args:
        implementation: what to run.
        border: of its framework.
        case: what the problem was built from.
        problem: the arrays; they are copied, never handed out.
        device: a name from `border.devices()`.
    """
    lacking = implementation.lacks(case, device)
    if lacking is None and case.dtype not in border.dtypes(device):
        lacking = f"{border.framework} has no {case.dtype} on {device}"
    if lacking is not None:
        return Outcome(verdict=Verdict.UNSUPPORTED, reason=lacking)
    try:
        with warnings.catch_warnings():
            leave_arithmetic_alone()
            return _run(implementation, border, case, problem, device)
    except ContractViolation as violation:
        return Outcome(verdict=Verdict.FAIL, reason=str(violation))
    except BaseException as error:  # whatever it raises is its own; Ctrl-C does not come here
        return Outcome(verdict=Verdict.ERROR, reason=explain(error))


def run_times(
    implementation: Implementation,
    border: Border,
    case: Case,
    device: str,
    times: int,
    gradients: bool,
) -> list[Outcome]:
    """Run a case so many times in a row, with gradients or without."""
    implementation = replace(implementation, gradients=implementation.gradients and gradients)
    problem = build(case)
    return [execute(implementation, border, case, problem, device) for _ in range(times)]


def leave_arithmetic_alone() -> None:
    """Ignore warnings of an overflow and the like, also where all warnings are made errors.

    Whether NumPy gives one depends on the loop that it chose for the processor; the verdict knows
    where an overflow may be.
    """
    warnings.filterwarnings("ignore", ".* encountered in", RuntimeWarning)


def _run(
    implementation: Implementation, border: Border, case: Case, problem: Problem, device: str
) -> Outcome:
    given = {f"weight {name}": value for name, value in problem.weights.items()}
    given |= {"x": problem.x} | initial_states(problem)
    if problem.lengths is not None:
        given["lengths"] = problem.lengths
    held = {name: border.from_numpy(value, device) for name, value in given.items()}
    if case.strided:
        held |= {n: _view(border, given[n], device) for n in ("x", "h0", "c0") if n in given}
    weights = {name: held[f"weight {name}"] for name in problem.weights}
    with border.unrecorded():
        prepared = own(compiled.forward, implementation, border, case.config, weights)

    def called(arguments: dict[str, Any]) -> tuple[dict[str, Any], Result]:
        """Call it; return the result in the framework's arrays and in NumPy's."""
        order = (arguments["x"], initial(arguments), arguments.get("lengths"))
        with border.unrecorded():
            found = named(own(prepared, *order), case.config)
        own(border.synchronize, tuple(found.values()))
        shape = tuple(arguments["x"].shape)
        return found, crossed(border, found, shape, case)

    def again(x: Array, states: dict[str, Array], lengths: Array | None) -> Result:
        """Call it on arrays of NumPy's, which must stay as they are."""
        taken = {"x": x} | states | ({} if lengths is None else {"lengths": lengths})
        arguments = {n: border.from_numpy(value, device) for n, value in taken.items()}
        _, found = called(arguments)
        _check_unchanged(border, taken, arguments)
        return found

    results, arrays = called(held)
    # A layer alone does not tell what c was at the ends of sequences of unequal length.
    told = all(f"{state}_n" in results for state in case.config.states)
    if problem.x_next is not None and told:
        ones = None if problem.lengths is None else np.ones_like(problem.lengths)
        following, crossed_next = called(
            {
                "x": border.from_numpy(problem.x_next, device),
                "lengths": None if ones is None else border.from_numpy(ones, device),
            }
            | invariants.fed_back(results)
        )
        results |= {f"next_{name}": value for name, value in following.items()}
        arrays |= {f"next_{name}": value for name, value in crossed_next.items()}
    kept, forward_arrays = dict(results), dict(arrays)
    observed: dict[str, Result] = {}
    every_row: Result = {}
    trouble: Trouble | None = None
    differentiated: Callable[[Upstream], tuple[Result, Result]] | None = None
    weighed = upstream(problem)
    if implementation.gradients:
        try:
            differentiated = _differentiation(implementation, border, case, problem, device, held)
            observed[invariants.AUTODIFF], gradients = differentiated(weighed)
            arrays |= gradients
            if rows_are_left(case, problem):
                _, every_row = differentiated(weighing_all_rows(case, problem))
        except ContractViolation as violation:
            trouble = Trouble(Verdict.FAIL, str(violation))
        except BaseException as error:  # as in `execute`; the forward pass is judged all the same
            trouble = Trouble(Verdict.ERROR, explain_gradients(error))
    if case.invariants:
        observed |= invariants.observe(case, problem, arrays, again)
    # Last: what is kept of all the calls before, other inputs and shapes among them, shows here.
    other = again(invariants.other_input(problem), initial_states(problem), problem.lengths)
    if other["output"].tobytes() == arrays["output"].tobytes():
        observed[invariants.RESPONDS] = other
    _check_kept(border, kept, forward_arrays)
    _, repeated = called(held)  # after which a reused buffer holds the first result again
    if differentiated is not None and trouble is None:
        repeated |= differentiated(weighed)[1]
    for name, value in repeated.items():
        if value.shape != arrays[name].shape or value.dtype != arrays[name].dtype:
            raise ContractViolation(f"returned {name} in another shape or dtype at a second call")
    observed[invariants.REPEATED] = {
        name: value for name, value in repeated.items() if value.tobytes() != arrays[name].tobytes()
    }

    for name, value in kept.items():
        if border.device_of(value) != device:
            raise ContractViolation(
                f"returned {name} on {border.device_of(value)}, expected {device}, where x is"
            )
    _check_unchanged(border, given, held)
    _check_kept(border, kept, forward_arrays)
    return Outcome(arrays, invariants=observed, every_row=every_row, trouble=trouble)


def _differentiation(
    implementation: Implementation,
    border: Border,
    case: Case,
    problem: Problem,
    device: str,
    held: dict[str, Any],
) -> Callable[[Upstream], tuple[Result, Result]]:
    """Return what differentiates: gives (output, h_n) as they were recorded, and the gradients."""
    weights = {name: held[f"weight {name}"] for name in problem.weights}
    if implementation.layer_backward is not None:
        watched = untouched(implementation.layer_backward, border, implementation.kind)
        implementation = replace(implementation, layer_backward=watched)
    given = {"x": problem.x} | initial_states(problem)

    def differentiated(weighed: Upstream) -> tuple[Result, Result]:
        # Anew every time: what is made of the weights may be differentiated only once.
        differentiate = own(compiled.gradients, implementation, border, case.config, weights)
        states = {name: border.leaf(held[name]) for name in given}
        coming = {n: border.from_numpy(value, device) for n, value in weighed.items()}
        recorded, found = own(differentiate, states, held.get("lengths"), tuple(coming.values()))
        own(border.synchronize, tuple(found.values()))
        _check_unchanged(border, given | weighed, states | coming)
        for name, value in found.items():
            if border.device_of(value) != device:
                raise ContractViolation(
                    f"returned grad_{name} on {border.device_of(value)}, expected {device}"
                )
        output = crossed(border, named(recorded, case.config), problem.x.shape, case)
        gradients = {f"grad_{name}": value for name, value in found.items()}
        return output, {n: _crossed(border, n, value, case) for n, value in gradients.items()}

    return differentiated


def own(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call what is the implementation's own, and note that it is at work."""
    with stopwatch.running():
        return function(*arguments)


def named(result: Any, config: RNNConfig) -> dict[str, Any]:
    """Return the parts of a result under their names: output, h_n, and an LSTM's c_n, if told.

    Raises:
        ContractViolation: it is no pair, or an LSTM's last states are none.
    """
    expected = "(output, (h_n, c_n))" if config.kind == "lstm" else "(output, h_n)"
    _check_pair("", result, expected)
    if config.kind != "lstm":
        return {"output": result[0], "h_n": result[1]}
    _check_pair("as its last states ", result[1], "(h_n, c_n)")
    found = {"output": result[0], "h_n": result[1][0], "c_n": result[1][1]}
    return {name: value for name, value in found.items() if value is not None}


def _check_pair(what: str, value: Any, expected: str) -> None:
    if not isinstance(value, tuple | list) or len(value) != 2:
        size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        kind = type(value).__name__
        raise ContractViolation(f"returned {what}a {kind}{size}, expected the pair {expected}")


def crossed(border: Border, found: dict[str, Any], x: tuple[int, ...], case: Case) -> Result:
    """Return a result as NumPy's arrays, of the shapes and the dtype that are expected.

    Args:
        border: of the framework.
        found: "output" and "h_n".
        x: the shape of the input.
        case: says the rest.

    Raises:
        ContractViolation: another type, shape or dtype. Nothing behind this asks again.
    """
    arrays = {}
    expected = result_shapes(case.config, x)
    for name, value in found.items():
        array = _crossed(border, name, value, case)
        if array.shape != expected[name]:
            raise ContractViolation(f"{name} has shape {array.shape}, expected {expected[name]}")
        if array.dtype != numpy_dtype(case.dtype):
            raise ContractViolation(f"{name} is {array.dtype}, expected {case.dtype}")
        arrays[name] = array
    return arrays


def _crossed(border: Border, name: str, value: Any, case: Case) -> Array:
    """Return one array as NumPy's, of any numbers."""
    try:
        array = border.to_numpy(value)
    except ContractViolation as violation:
        raise ContractViolation(f"{name}: {violation}") from None
    if array.dtype.hasobject:
        raise ContractViolation(f"{name} is {array.dtype}, expected {case.dtype}")
    return array


def result_shapes(config: RNNConfig, x: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of output and h_n for an input's, `[T, B, I]`, `[B, T, I]` or `[T, I]`."""
    H, features = config.hidden_size, config.num_directions * config.hidden_size
    batch = x[:-1][0 if config.batch_first else 1 :][:1] if len(x) == 3 else ()
    states = (config.num_cells, *batch, H)
    return {"output": (*x[:-1], features)} | {f"{state}_n": states for state in config.states}


def _check_unchanged(border: Border, given: dict[str, Any], held: dict[str, Any]) -> None:
    for name, value in given.items():
        if border.to_numpy(held[name]).tobytes() != value.tobytes():
            raise ContractViolation(f"changed its argument {name} in place: copy before writing")


def _check_kept(border: Border, kept: dict[str, Any], arrays: Result) -> None:
    for name, value in kept.items():
        if border.to_numpy(value).tobytes() != arrays[name].tobytes():
            raise ContractViolation(f"a later call changed the {name} that an earlier one returned")


def _view(border: Border, array: Array, device: str) -> Any:
    """Copy an array to a device as every other feature of a larger one."""
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), GAP, array.dtype)
    wide[..., ::2] = array
    return border.from_numpy(wide, device)[..., ::2]
