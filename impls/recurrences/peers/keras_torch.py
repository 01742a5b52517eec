"""Keras on its PyTorch backend: `SimpleRNN`, `GRU` with `reset_after=True`, and `LSTM`."""

from types import SimpleNamespace

from recurrences.peers import keras_layers

framework = "torch"
dtypes = ("float32", "float16", "bfloat16")  # its matmul makes float32 of float64
process = "own"

_keras = keras_layers.on("torch")
rnn, gru, lstm = (
    SimpleNamespace(
        framework=framework,
        kind=kind,
        dtypes=dtypes,
        supports=keras_layers.SUPPORTS,
        process=process,
        prepare=_keras.prepare,
        rnn=_keras.rnn,
    )
    for kind in ("rnn", "gru", "lstm")
)
