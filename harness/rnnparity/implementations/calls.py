"""The calls that an implementation gets of one case: forward, once more, and with gradients."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rnnparity.errors import ContractViolation
from rnnparity.implementations import compiled, invariants, stopwatch
from rnnparity.implementations.contract import Implementation
from rnnparity.implementations.frameworks import Border, initial
from rnnparity.implementations.gradient_calls import untouched
from rnnparity.implementations.outcome import Result, crossed, named, numbers
from rnnparity.problems.arrays import Problem, initial_states
from rnnparity.problems.cases import Case
from rnnparity.types import Array

Values = dict[str, Any]  # arrays of the framework, by name

# What lies between the features of an input that is a view: to be read by no one.
GAP = 97


class Calls:
    """An implementation that is called with the arrays of a case, in its framework's arrays."""

    def __init__(
        self,
        implementation: Implementation,
        border: Border,
        case: Case,
        problem: Problem,
        device: str,
    ) -> None:
        """Bring the arrays to the device, and do what is done once per set of weights."""
        self._border, self._case, self._problem, self._device = border, case, problem, device
        weights = {f"weight {name}": value for name, value in problem.weights.items()}
        self._states = {"x": problem.x} | initial_states(problem)
        lengths = {} if problem.lengths is None else {"lengths": problem.lengths}
        self._given = weights | self._states | lengths
        self._held = self._brought(self._given)
        if case.strided:
            self._held |= {name: self._view(array) for name, array in self._states.items()}
        self._weights = {name: self._held[f"weight {name}"] for name in problem.weights}
        backward = implementation.layer_backward
        watched = backward and untouched(backward, border, implementation.kind)
        self._differentiable = replace(implementation, layer_backward=watched)
        with border.unrecorded():
            self._prepared = own(
                compiled.forward, implementation, border, case.config, self._weights
            )

    def forward(self) -> tuple[Values, Result]:
        """Call it on the case; return what it returned, and the same as NumPy's arrays."""
        return self._called(self._held)

    def on(self, x: Array, states: dict[str, Array], lengths: Array | None) -> Result:
        """Call it on other arrays of NumPy's, which must stay as they are."""
        taken = {"x": x} | states | ({} if lengths is None else {"lengths": lengths})
        arguments = self._brought(taken)
        _, found = self._called(arguments)
        self._check_unchanged(taken, arguments)
        return found

    def one_more_step(self, results: Values) -> tuple[Values, Result]:
        """Call it on one more step, with the last states of a result fed back in."""
        problem, taken = self._problem, {"x": self._problem.x_next}
        if problem.lengths is not None:
            taken["lengths"] = np.ones_like(problem.lengths)
        return self._called(self._brought(taken) | invariants.fed_back(results))

    def gradients(self, weighed: Result) -> tuple[Result, Result]:
        """Call it forward and backward; return the result as it was recorded, and the gradients.

        Args:
            weighed: the gradients that come in: of output, h_n and an LSTM's c_n.
        """
        border, case = self._border, self._case
        # Anew every time: what is made of the weights may be differentiated only once.
        differentiate = own(
            compiled.gradients, self._differentiable, border, case.config, self._weights
        )
        states = {name: border.leaf(self._held[name]) for name in self._states}
        coming = self._brought(weighed)
        lengths = self._held.get("lengths")
        recorded, found = own(differentiate, states, lengths, tuple(coming.values()))
        own(border.synchronize, tuple(found.values()))
        self._check_unchanged(self._states | weighed, states | coming)
        found = {f"grad_{name}": value for name, value in found.items()}
        self._check_devices(found, "")
        output = crossed(border, named(recorded, case.config), self._problem.x.shape, case)
        return output, numbers(border, found, case)

    def check_kept(self, kept: Values, arrays: Result) -> None:
        """Check that what earlier calls returned is what it was.

        Raises:
            ContractViolation: a later call changed it.
        """
        self._check_same(kept, arrays, "a later call changed the {} that an earlier one returned")

    def check_at_the_end(self, kept: Values) -> None:
        """Check that results are where x is, and that no call has changed what all were given.

        Raises:
            ContractViolation: one is elsewhere, or one has.
        """
        self._check_devices(kept, ", where x is")
        self._check_unchanged(self._given, self._held)

    def _called(self, arguments: Values) -> tuple[Values, Result]:
        order = (arguments["x"], initial(arguments), arguments.get("lengths"))
        with self._border.unrecorded():
            found = named(own(self._prepared, *order), self._case.config)
        own(self._border.synchronize, tuple(found.values()))
        return found, crossed(self._border, found, tuple(arguments["x"].shape), self._case)

    def _brought(self, arrays: Values) -> Values:
        return {n: self._border.from_numpy(value, self._device) for n, value in arrays.items()}

    def _view(self, array: Array) -> Any:
        """Copy an array to the device as every other feature of a larger one."""
        wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), GAP, array.dtype)
        wide[..., ::2] = array
        return self._border.from_numpy(wide, self._device)[..., ::2]

    def _check_unchanged(self, given: Values, held: Values) -> None:
        self._check_same(held, given, "changed its argument {} in place: copy before writing")

    def _check_same(self, held: Values, arrays: Values, told: str) -> None:
        for name, array in arrays.items():
            if self._border.to_numpy(held[name]).tobytes() != array.tobytes():
                raise ContractViolation(told.format(name))

    def _check_devices(self, values: Values, why: str) -> None:
        for name, value in values.items():
            where = self._border.device_of(value)
            if where != self._device:
                raise ContractViolation(f"returned {name} on {where}, expected {self._device}{why}")


def own(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call what is the implementation's own, and note that it is at work."""
    with stopwatch.running():
        return function(*arguments)
