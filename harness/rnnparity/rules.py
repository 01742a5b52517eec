"""Other suites' rules, applied to the same results, to compare what they reject and accept.

Each compares an implementation's output and h_n with `torch.nn.RNN`'s, as a test suite does that
has no better reference; the one relative to float64 has the truth, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Compared(NamedTuple):
    """One quantity, in float64: what was found, what torch.nn.RNN made of it, what is true."""

    found: Array
    torch_rnn: Array
    truth: Array


Rule = Callable[[Compared], bool]


def _close(rtol: float, atol: float) -> Rule:
    def accepts(c: Compared) -> bool:
        return bool((np.abs(c.found - c.torch_rnn) <= atol + rtol * np.abs(c.torch_rnn)).all())

    return accepts


def _rmse(a: Array, b: Array) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def _within_twice(c: Compared) -> bool:
    return _rmse(c.found, c.truth) <= 2 * _rmse(c.torch_rnn, c.truth)


RULES: dict[str, Rule] = {
    "`np.allclose` against `torch.nn.RNN`": _close(1e-5, 1e-8),
    "`torch.testing.assert_close`, float32 defaults": _close(1.3e-6, 1e-5),
    "rtol 1e-3, atol 1e-7 (as ONNX's suite)": _close(1e-3, 1e-7),
    "rmse at most 2x `torch.nn.RNN`'s, relative to float64 (as torch dynamo's)": _within_twice,
}
