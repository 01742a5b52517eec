"""tinygrad: a loop over `tinygrad.nn.LSTMCell`, the only recurrent thing that it has.

Parameters have torch's names and order of gates. On a CPU it compiles each kernel by clang, or
by what CC names. It takes no bfloat16 of NumPy's, which goes through float32.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor
from tinygrad import dtypes as types
from tinygrad.nn import LSTMCell

Array = NDArray[Any]
States = tuple[Array, Array]  # of h and of c

kind = "lstm"
framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = ("without_h0", "without_bias")


def prepare(weights: dict[str, Array], config: Any) -> LSTMCell:
    """Return the cell, with the weights in it.

    Args:
        weights: torch's parameter names to arrays.
        config: has the arguments of `torch.nn.LSTM` as attributes.
    """
    cell = LSTMCell(config.input_size, config.hidden_size, bias=config.bias)
    for name, value in weights.items():
        setattr(cell, name.removesuffix("_l0"), _tensor(value))
    return cell


def rnn(
    x: Array, h0: States | None, cell: LSTMCell, config: Any, lengths: None
) -> tuple[Array, States]:
    """Run the cell over a sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden and cell states, each `[1, B, H]`, or None for zeros.
        cell: what `prepare` returned.
        config: has the arguments of `torch.nn.LSTM` as attributes.
        lengths: None: it has none.

    Returns:
        The output `[T, B, H]`, and the pair of h_n and c_n, each `[1, B, H]`.
    """
    state = None if h0 is None else (_tensor(h0[0][0]), _tensor(h0[1][0]))
    output = []
    for x_t in x:
        h, c = cell(_tensor(x_t), state)
        state = h.realize(), c.realize()
        output.append(_in_numpy(h, x.dtype))
    return np.stack(output), (output[-1][None], _in_numpy(c, x.dtype)[None])


def _tensor(array: Array) -> Tensor:
    if array.dtype.name == "bfloat16":
        return Tensor(array.astype(np.float32)).cast(types.bfloat16)
    return Tensor(np.ascontiguousarray(array))


def _in_numpy(tensor: Tensor, dtype: Any) -> Array:
    wide = tensor.dtype == types.bfloat16
    array: Array = (tensor.cast(types.float32) if wide else tensor).numpy()
    return array.astype(dtype) if wide else array
