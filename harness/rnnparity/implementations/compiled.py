"""An implementation bound to weights, ready to be called: alike for the verdict and the timing."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from rnnparity.cells import network
from rnnparity.cells.config import RNNConfig, named_gradients
from rnnparity.implementations.contract import Implementation
from rnnparity.implementations.frameworks import Arrays, Border, Differentiator, WholeRun, initial

Forward = Callable[[Any, Any, Any], tuple[Any, Any]]  # x, h0 or None, lengths or None
Differentiated = Callable[[Arrays, Any, tuple[Any, ...]], tuple[Any, Arrays]]


def forward(
    implementation: Implementation, border: Border, config: RNNConfig, weights: Arrays
) -> Forward:
    """Do what is done once per set of weights, and return what runs the whole RNN.

    Args:
        implementation: what to run.
        border: of its framework.
        config: the arguments of `torch.nn.RNN`.
        weights: torch's parameter names to arrays of the framework.
    """
    prepared = implementation.prepared(weights, config)
    if border.can_take(prepared):
        return partial(_compiled(implementation, border, config), prepared)
    return border.compiled(partial(_run(implementation, config), prepared))


def gradients(
    implementation: Implementation, border: Border, config: RNNConfig, weights: Arrays
) -> Differentiated:
    """Return what runs forward and backward: by the framework's autodiff or by `layer_backward`.

    It is given leaves for x and h0 by name, lengths, and the gradients of output and h_n. It
    returns (output, h_n) as they were while recorded, and a gradient for every weight, x and h0,
    under their names.
    """
    if implementation.layer_backward is not None:
        return _by_hand(implementation, config, weights)
    leaves = {name: border.leaf(value) for name, value in weights.items()}
    return _differentiated(implementation, border, config)(leaves)


# Kept, so that cases that differ only in their numbers are compiled once.
@lru_cache(maxsize=8)
def _compiled(implementation: Implementation, border: Border, config: RNNConfig) -> WholeRun:
    return border.compiled(_run(implementation, config))


@lru_cache(maxsize=8)
def _differentiated(
    implementation: Implementation, border: Border, config: RNNConfig
) -> Differentiator:
    def prepare(weights: Arrays) -> Any:
        return implementation.prepared(weights, config)

    return border.gradients(prepare, _run(implementation, config))


def _run(implementation: Implementation, config: RNNConfig) -> WholeRun:
    if implementation.layer is not None:
        return network.for_calls(implementation.layer, config)
    return lambda prepared, x, h0, lengths: implementation.run(prepared, x, h0, lengths, config)


def _by_hand(implementation: Implementation, config: RNNConfig, weights: Arrays) -> Differentiated:
    layer, backward = implementation.layer, implementation.layer_backward
    assert layer is not None
    assert backward is not None
    prepared = implementation.prepared(weights, config)

    def differentiate(
        states: Arrays, lengths: Any, upstream: tuple[Any, ...]
    ) -> tuple[Any, Arrays]:
        tape: list[network.Call] = []
        given = initial(states)
        recorded = network.run(layer, states["x"], given, prepared, config, lengths, tape)
        of_output, *of_last = upstream
        last = tuple(of_last) if config.kind == "lstm" else of_last[0]
        of_x, of_states, of_cells = network.backward(
            backward, tape, of_output, last, config, lengths
        )
        found = {"x": of_x}
        if given is not None:
            of_states = of_states if config.kind == "lstm" else (of_states,)
            found |= dict(zip(("h0", "c0"), of_states, strict=False))
        named = named_gradients(of_cells, config)
        return recorded, found | {name.removeprefix("grad_"): g for name, g in named.items()}

    return differentiate
