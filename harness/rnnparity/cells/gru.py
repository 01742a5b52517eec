"""The gated recurrent unit, as `torch.nn.GRU` has it (Cho et al., 2014; reset after the product).

r = s(x_r + h_r)    z = s(x_z + h_z)    n = tanh(x_n + r h_n)    h' = (1 - z) n + z h
"""

from collections.abc import Sequence

from rnnparity.cells.program import Value
from rnnparity.cells.step import sigmoid, tanh


def step(x: Sequence[Value], h: Sequence[Value], before: Sequence[Value]) -> tuple[Value, ...]:
    """One step: of x and h the parts of r, z, n; before: h."""
    r, z = sigmoid(x[0] + h[0]), sigmoid(x[1] + h[1])
    n = tanh(x[2] + r * h[2])
    return ((1 - z) * n + z * before[0],)
