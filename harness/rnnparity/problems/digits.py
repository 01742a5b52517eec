"""The trained model that comes with the package: handwritten digits, read as 8 rows of 8 pixels.

`examples/train_digits.py` makes the file; `data/README.md` says where the images come from.
"""

from functools import cache
from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from rnnparity.types import Array


class Digits(NamedTuple):
    """A trained RNN, the linear layer that reads its last state, and images it never saw."""

    weights: dict[str, Array]  # of the torch.nn.RNN, float32
    readout_weight: Array  # [10, H]
    readout_bias: Array  # [10]
    images: Array  # [N, 8, 8], 0 to 16
    labels: Array  # [N], 0 to 9


@cache
def load() -> Digits:
    """Read the stored model and its test images."""
    with as_file(files("rnnparity") / "data" / "digits.safetensors") as path:
        stored = load_file(path)
    return Digits(
        {
            name.removeprefix("rnn."): value
            for name, value in stored.items()
            if name.startswith("rnn.")
        },
        stored["readout.weight"],
        stored["readout.bias"],
        stored["images"],
        stored["labels"].astype(np.int64),
    )


def as_sequences(images: Array) -> Array:
    """Turn images `[N, 8, 8]` of 0 to 16 into input `[T = 8, N, 8]` of 0 to 1."""
    return np.swapaxes(images, 0, 1) / 16


def predict(h_n: Array) -> NDArray[np.int64]:
    """Return the digit read from each final hidden state `[..., N, H]` (the last layer's)."""
    model = load()
    last = np.asarray(h_n, np.float64)[-1]
    scores = last @ model.readout_weight.T.astype(np.float64) + model.readout_bias
    predicted: NDArray[np.int64] = np.argmax(scores, axis=1)
    return predicted
