"""Long short-term memory, as `torch.nn.LSTM` has it (Hochreiter and Schmidhuber, 1997; Gers, 2000).

i, f, o = s(x + h)    g = tanh(x_g + h_g)    c' = f c + i g    h' = o tanh(c')
"""

from collections.abc import Sequence

from rnnparity.cells.program import Value
from rnnparity.cells.step import sigmoid, tanh


def step(x: Sequence[Value], h: Sequence[Value], before: Sequence[Value]) -> tuple[Value, ...]:
    """One step: of x and h the parts of i, f, g, o; before: h, c."""
    i, f, o = (sigmoid(x[k] + h[k]) for k in (0, 1, 3))
    g = tanh(x[2] + h[2])
    c = f * before[1] + i * g
    return o * tanh(c), c
