"""The trained models that come with the package: handwritten digits, read as 8 rows of 8 pixels.

`examples/train_digits.py` makes the files; `data/README.md` says where the images come from.
"""

from functools import cache
from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from rnnparity.types import Array


class Digits(NamedTuple):
    """A trained layer, the linear one that reads its last state, and images it never saw."""

    weights: dict[str, Array]  # torch's parameters, float32
    readout_weight: Array  # [10, H]
    readout_bias: Array  # [10]
    images: Array  # [N, 8, 8], 0 to 16
    labels: Array  # [N], 0 to 9


@cache
def load(kind: str = "rnn") -> Digits:
    """Read the stored model of a kind, "rnn", "gru" or "lstm", and the test images."""
    images = _stored("digits")
    stored = images if kind == "rnn" else _stored(f"digits-{kind}")
    return Digits(
        {
            name.removeprefix("rnn."): value
            for name, value in stored.items()
            if name.startswith("rnn.")
        },
        stored["readout.weight"],
        stored["readout.bias"],
        images["images"],
        images["labels"].astype(np.int64),
    )


@cache
def _stored(name: str) -> dict[str, Array]:
    with as_file(files("rnnparity") / "data" / f"{name}.safetensors") as path:
        return load_file(path)


def as_sequences(images: Array) -> Array:
    """Turn images `[N, 8, 8]` of 0 to 16 into input `[T = 8, N, 8]` of 0 to 1."""
    return np.swapaxes(images, 0, 1) / 16


def predict(h_n: Array, kind: str = "rnn") -> NDArray[np.int64]:
    """Return the digit that a kind's model reads from each last hidden state `[..., N, H]`."""
    model = load(kind)
    last = np.asarray(h_n, np.float64)[-1]
    scores = last @ model.readout_weight.T.astype(np.float64) + model.readout_bias
    predicted: NDArray[np.int64] = np.argmax(scores, axis=1)
    return predicted
