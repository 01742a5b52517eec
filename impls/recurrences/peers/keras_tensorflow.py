"""Keras on its TensorFlow backend: `SimpleRNN`, `GRU` with `reset_after=True`, and `LSTM`."""

from types import SimpleNamespace

from recurrences.peers import keras_layers

framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")
process = "own"

_keras = keras_layers.on("tensorflow")
rnn, gru, lstm = (
    SimpleNamespace(
        framework=framework,
        kind=kind,
        dtypes=dtypes,
        supports=keras_layers.SUPPORTS,
        process=process,
        prepare=_keras.prepare,
        rnn=_keras.in_numpy,
    )
    for kind in ("rnn", "gru", "lstm")
)
