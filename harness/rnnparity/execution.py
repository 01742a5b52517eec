"""One implementation on one case on one device: from arrays to an outcome. Judges nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnparity import composition, invariants
from rnnparity.borders import Border, Gradients
from rnnparity.cases import Case
from rnnparity.config import RNNConfig, parameter_shapes
from rnnparity.contract import Implementation
from rnnparity.errors import ContractViolation, explain
from rnnparity.problems import Problem
from rnnparity.truth import named_gradients

Array = NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a run: arrays in their own dtype, or why there are none.

    Attributes:
        arrays: quantity ("output", "h_n", ...) to array, as the implementation returned it.
        verdict: "" where the arrays decide, else "fail", "error", "unsupported" or "absent".
        reason: one line, where there is a verdict.
        invariants: what it returned in ways that must not matter, to compare with `arrays`.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    verdict: str = ""
    reason: str = ""
    invariants: dict[str, dict[str, Array]] = field(default_factory=dict)


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
        return Outcome(verdict="unsupported", reason=lacking)
    try:
        return _run(implementation, border, case, problem, device)
    except ContractViolation as violation:
        return Outcome(verdict="fail", reason=str(violation))
    except BaseException as error:  # whatever it raises is its own; Ctrl-C does not come here
        return Outcome(verdict="error", reason=explain(error))


def _run(
    implementation: Implementation, border: Border, case: Case, problem: Problem, device: str
) -> Outcome:
    config = case.config
    given = {f"weight {name}": value for name, value in problem.weights.items()}
    given |= {
        name: value
        for name, value in (("x", problem.x), ("h0", problem.h0), ("lengths", problem.lengths))
        if value is not None
    }
    held = {name: border.from_numpy(value, device) for name, value in given.items()}
    weights = {name: held[f"weight {name}"] for name in problem.weights}

    forward = _forward(implementation, border, config, weights)
    results = _named(forward(weights, held["x"], held.get("h0"), held.get("lengths")))
    if problem.x_next is not None:
        x_next = border.from_numpy(problem.x_next, device)
        ones = None if problem.lengths is None else np.ones_like(problem.lengths)
        lengths = None if ones is None else border.from_numpy(ones, device)
        following = _named(forward(weights, x_next, results["h_n"], lengths))
        results |= {f"next_{name}": value for name, value in following.items()}
    observed: dict[str, dict[str, Array]] = {}
    if implementation.gradients:
        recorded, gradients = _gradients(implementation, border, case, problem, held, device)
        results |= gradients
        crossed = {name: border.to_numpy(value) for name, value in _named(recorded).items()}
        observed[invariants.AUTODIFF] = crossed
    border.synchronize(tuple(results.values()))

    arrays = {name: border.to_numpy(value) for name, value in results.items()}
    for name, value in results.items():
        if border.device_of(value) != device:
            raise ContractViolation(
                f"returned {name} on {border.device_of(value)}, expected {device}, where x is"
            )
    for name, value in given.items():
        if border.to_numpy(held[name]).tobytes() != value.tobytes():
            raise ContractViolation(f"changed its argument {name} in place: copy before writing")
    if not case.invariants:
        return Outcome(arrays, invariants=observed)

    def again(x: Array, h0: Array | None, lengths: Array | None) -> dict[str, Array]:
        crossed = [None if a is None else border.from_numpy(a, device) for a in (x, h0, lengths)]
        found = _named(forward(weights, *crossed))
        border.synchronize(tuple(found.values()))
        return {name: border.to_numpy(value) for name, value in found.items()}

    observed |= invariants.observe(case, problem, arrays, again)
    other = again(invariants.other_input(problem), problem.h0, problem.lengths)
    observed[invariants.RESPONDS] = other
    for name in ("output", "h_n"):
        if border.to_numpy(results[name]).tobytes() != arrays[name].tobytes():
            raise ContractViolation(f"a later call changed the {name} that an earlier one returned")
    return Outcome(arrays, invariants=observed)


def _forward(
    implementation: Implementation, border: Border, config: RNNConfig, weights: dict[str, Any]
) -> Callable[..., tuple[Any, Any]]:
    """Return what runs the whole RNN on weights, x, h0 and lengths, ready to be called."""
    if implementation.prepare is None:
        return _compiled_forward(implementation, border, config)
    # What `prepare` returns may be anything, also what no compiler takes as an argument.
    prepared = implementation.prepared(weights, config)

    def run(weights: Any, x: Any, h0: Any, lengths: Any) -> tuple[Any, Any]:
        return implementation.run(prepared, x, h0, lengths, config)

    return border.forward(run)


@lru_cache(maxsize=8)
def _compiled_forward(
    implementation: Implementation, border: Border, config: RNNConfig
) -> Callable[..., tuple[Any, Any]]:
    """Kept, so that cases that differ only in their numbers are compiled once."""

    def run(weights: Any, x: Any, h0: Any, lengths: Any) -> tuple[Any, Any]:
        prepared = implementation.prepared(weights, config)
        return implementation.run(prepared, x, h0, lengths, config)

    return border.forward(run)


@lru_cache(maxsize=8)
def _compiled_gradients(
    implementation: Implementation, border: Border, config: RNNConfig
) -> Gradients:
    def run(inputs: dict[str, Any], lengths: Any) -> tuple[Any, Any]:
        own = {name: inputs[name] for name in parameter_shapes(config)}
        prepared = implementation.prepared(own, config)
        return implementation.run(prepared, inputs["x"], inputs.get("h0"), lengths, config)

    return border.gradients(run)


def _gradients(
    implementation: Implementation,
    border: Border,
    case: Case,
    problem: Problem,
    held: dict[str, Any],
    device: str,
) -> tuple[Any, dict[str, Any]]:
    """Return (output, h_n) as they are while gradients are recorded, and the gradients.

    They are those of the problem's functional with respect to x, h0 and every parameter.
    """
    config, lengths = case.config, held.get("lengths")
    upstream = tuple(
        border.from_numpy(value, device) for value in (problem.grad_output, problem.grad_h_n)
    )
    weights = {name: held[f"weight {name}"] for name in problem.weights}
    if implementation.layer_backward is not None:
        tape: list[composition.Call] = []
        prepared = implementation.prepared(weights, config)
        layer, x, h0 = implementation.layer, held["x"], held.get("h0")
        assert layer is not None
        recorded = composition.run(layer, x, h0, prepared, config, lengths, tape)
        backward = implementation.layer_backward
        of_x, of_h0, of_cells = composition.backward(
            backward, tape, upstream[0], upstream[1], config, lengths
        )
        found = {"grad_x": of_x, "grad_h0": of_h0} | named_gradients(of_cells, config)
    else:
        inputs = {name: held[name] for name in ("x", "h0") if name in held}
        differentiate = _compiled_gradients(implementation, border, config)
        recorded, gradients = differentiate(weights | inputs, lengths, upstream)
        found = {f"grad_{name}": value for name, value in gradients.items()}
    if "h0" not in held:
        found.pop("grad_h0", None)
    return recorded, found


def _named(result: Any) -> dict[str, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ContractViolation(
            f"returned a {type(result).__name__}, expected the pair (output, h_n)"
        )
    return {"output": result[0], "h_n": result[1]}
