"""Gradients watched: a backward pass must leave its arguments alone, and why one fails."""

from collections.abc import Callable
from typing import Any

from rnnparity.errors import ContractViolation, explain
from rnnparity.implementations.frameworks import Border

# What a `layer_backward` is given besides the cell, by kind.
ARGUMENTS = {
    "rnn": ("grad_output", "grad_h_n", "x", "h0", "output"),
    "gru": ("grad_output", "grad_h_n", "x", "h0", "output"),
    "lstm": ("grad_output", "grad_h_n", "grad_c_n", "x", "h0", "c0", "output"),
}

# How PyTorch says that a value which the backward pass needs was overwritten. It goes on with
# shapes and version numbers, which differ from case to case.
OVERWRITTEN = ("modified by an inplace operation", "used in an in-place operation")

FORWARD_ONLY = "gradients = False compares the forward pass only"


def untouched(layer_backward: Callable[..., Any], border: Border, kind: str) -> Callable[..., Any]:
    """Return a `layer_backward` that raises `ContractViolation` if it writes to an argument.

    Args:
        layer_backward: `(grad_output, grad_h_n, x, h0, output, cell, nonlinearity) -> ...`.
        border: of its framework.
        kind: of the layer.
    """

    def call(*arguments: Any) -> Any:
        given = dict(zip(ARGUMENTS[kind], arguments, strict=False))
        before = {name: border.to_numpy(array).tobytes() for name, array in given.items()}
        result = layer_backward(*arguments)
        for name, array in given.items():
            if border.to_numpy(array).tobytes() != before[name]:
                raise ContractViolation(
                    f"layer_backward changed its argument {name} in place: copy before writing"
                )
        return result

    return call


def explain_gradients(error: BaseException) -> str:
    """Return why gradients could not be taken as one line, the same for every shape."""
    told = explain(error)
    for phrase in OVERWRITTEN:
        before, found, after = told.partition(phrase)
        if found:
            known = getattr(error, "__notes__", [])  # the line, where a border found it out
            where = known[-1] if known else after[after.rfind("(") + 1 :].removesuffix(")")
            return f"{before}{phrase} at {where} (write no state in place; {FORWARD_ONLY})"
    return f"{told}; {FORWARD_ONLY}"
