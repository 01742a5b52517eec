"""Keras's recurrent layers with the weights of torch's: what its pages of all backends share.

A layer after another is called, batch-major, each in one direction or under `Bidirectional`, with
`mask` for sequences of unequal length and `zero_output_for_mask`. Kernels are (in, G * units). A
`SimpleRNN` and an `LSTM` (gates i f c o) have one bias, which is given the sum of both; a `GRU`
(gates z r h) with `reset_after=True` has two, in one array (2, 3 units).
"""

import importlib
import os
import sys
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

# All of it but a sequence `[T, I]` without a batch.
SUPPORTS = ("layers", "bidirectional", "lengths", "batch_first", "without_h0", "without_bias")


def on(backend: str) -> "Keras":
    """Import Keras on a backend: "jax", "torch", "tensorflow" or "openvino".

    Raises:
        ImportError: it runs on another in this process, and can be on one only.
    """
    importlib.import_module(backend)
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend  # read when Keras is imported
    keras: Any = importlib.import_module("keras")
    there = keras.backend.backend()
    if there != backend:
        raise ImportError(
            f"Keras runs on {there} in this process, and can be on one backend only: "
            f"on {backend} it needs a process of its own"
        )
    return Keras(keras)


class Keras(NamedTuple):
    """Keras, as it was imported; arrays are those of its backend."""

    library: Any

    def prepare(self, weights: dict[str, Any], config: Any) -> list[Any]:
        """Return the weights as the layers keep them, in the order of their variables.

        Args:
            weights: torch's parameter names to arrays.
            config: has the arguments of `torch.nn.RNN` as attributes.
        """
        ops, kept = self.library.ops, []

        def ordered(name: str) -> Any:
            if config.kind != "gru":
                return ops.convert_to_tensor(weights[name])
            r, z, n = ops.split(weights[name], 3, axis=0)
            return ops.concatenate([z, r, n], axis=0)

        for name in weights:
            if name.startswith("weight_ih"):
                hh, bias_ih, bias_hh = (
                    name.replace("weight_ih", other)
                    for other in ("weight_hh", "bias_ih", "bias_hh")
                )
                kept += [ops.transpose(ordered(name)), ops.transpose(ordered(hh))]
                if config.bias:
                    both = [ordered(bias_ih), ordered(bias_hh)]
                    kept.append(ops.stack(both) if config.kind == "gru" else both[0] + both[1])
        return kept

    def rnn(self, x: Any, h0: Any, kept: list[Any], config: Any, lengths: Any) -> tuple[Any, Any]:
        """Run all layers.

        Args:
            x: input, `[T, B, I]`, or `[B, T, I]` with `config.batch_first`.
            h0: initial hidden states `[L * D, B, H]`, an LSTM's (h0, c0), or None for zeros.
            kept: what `prepare` returned.
            config: the arguments of `torch.nn.RNN`.
            lengths: how many steps of each sequence count, `[B]`, integers; None for all.

        Returns:
            The output, laid out as x with `D * H` features, and h_n, an LSTM's (h_n, c_n), as h0.
        """
        ops = self.library.ops
        layers = _layers(self.library, config, self.library.backend.standardize_dtype(x.dtype))
        output = x if config.batch_first else ops.transpose(x, (1, 0, 2))
        mask = None
        if lengths is not None:
            steps = ops.expand_dims(ops.arange(output.shape[1]), 0)
            mask = ops.less(steps, ops.expand_dims(lengths, 1))
        before = None if h0 is None else h0 if config.kind == "lstm" else (h0,)
        D, count = 2 if config.bidirectional else 1, len(kept) // len(layers)
        after: list[Any] = []
        for k, layer in enumerate(layers):
            states = None
            if before is not None:
                states = [state[row] for row in range(k * D, k * D + D) for state in before]
            (output, *last), _ = layer.stateless_call(
                kept[k * count : (k + 1) * count],
                [variable.value for variable in layer.non_trainable_variables],
                output,
                initial_state=states,
                mask=mask,
            )
            after += last
        each = 2 if config.kind == "lstm" else 1
        h_n, *c_n = (ops.stack(after[state::each]) for state in range(each))
        output = output if config.batch_first else ops.transpose(output, (1, 0, 2))
        return output, (h_n, *c_n) if c_n else h_n

    def in_numpy(self, *arguments: Any) -> tuple[Any, Any]:
        """Run all layers as `rnn`, and return NumPy's arrays."""
        output, last = self.rnn(*arguments)
        numpy = self.library.ops.convert_to_numpy
        return numpy(output), tuple(map(numpy, last)) if isinstance(last, tuple) else numpy(last)


@lru_cache
def _layers(keras: Any, config: Any, dtype: str) -> list[Any]:
    """Make the layers of a configuration, whose own weights are not looked at."""
    options: dict[str, Any] = {
        "use_bias": config.bias,
        "recurrent_initializer": "zeros",  # the default needs a QR decomposition, in any dtype
        "return_sequences": True,
        "return_state": True,
        "zero_output_for_mask": True,
        "dtype": dtype,
    }
    made = []
    for k in range(config.num_layers):
        if config.kind == "rnn":
            layer = keras.layers.SimpleRNN(
                config.hidden_size, activation=config.nonlinearity, **options
            )
        elif config.kind == "gru":
            layer = keras.layers.GRU(config.hidden_size, reset_after=True, **options)
        else:
            layer = keras.layers.LSTM(config.hidden_size, **options)
        if config.bidirectional:
            layer = keras.layers.Bidirectional(layer, dtype=dtype)
        below = config.hidden_size * (2 if config.bidirectional else 1)
        with _untraced(keras):
            layer.build((None, None, below if k else config.input_size))
        made.append(layer)
    return made


def _untraced(keras: Any) -> Any:
    """Return a context in which variables are made, of which no trace of JAX may be a part."""
    if keras.backend.backend() != "jax":
        return nullcontext()
    return importlib.import_module("jax").ensure_compile_time_eval()
