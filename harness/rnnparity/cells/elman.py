"""The plain RNN, as `torch.nn.RNN` has it (Elman, 1990).

h' = tanh(x + h), or the larger of x + h and 0
"""

from collections.abc import Sequence

from rnnparity.cells.program import Value
from rnnparity.cells.step import relu, tanh


def tanh_step(x: Sequence[Value], h: Sequence[Value], before: Sequence[Value]) -> tuple[Value, ...]:
    """One step: of x and h the parts of its one sum; before: h."""
    return (tanh(x[0] + h[0]),)


def relu_step(x: Sequence[Value], h: Sequence[Value], before: Sequence[Value]) -> tuple[Value, ...]:
    """One step: of x and h the parts of its one sum; before: h."""
    return (relu(x[0] + h[0]),)
