"""MLX: `mlx.nn.RNN` on the CPU."""

from recurrences.peers import mlx_layers

framework = "numpy"
dtypes = ("float64", "float32", "float16", "bfloat16")
supports = mlx_layers.SUPPORTS

prepare, rnn = mlx_layers.prepare, mlx_layers.rnn
