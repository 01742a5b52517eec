"""PaddlePaddle: `paddle.nn.GRU` on the CPU, called whole."""

from recurrences.peers import paddle_layers

kind = "gru"
framework = "numpy"
dtypes = ("float64", "float32")  # there are no kernels of 16 bits on a CPU
supports = paddle_layers.SUPPORTS

prepare, rnn = paddle_layers.prepare, paddle_layers.rnn
