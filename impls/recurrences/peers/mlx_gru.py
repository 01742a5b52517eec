"""MLX: `mlx.nn.GRU` on the CPU."""

from recurrences.peers import mlx_layers

kind = "gru"
framework = "numpy"
dtypes = ("float32", "float16", "bfloat16")  # its sigmoid has the precision of float32
supports = mlx_layers.SUPPORTS

prepare, rnn = mlx_layers.prepare, mlx_layers.rnn
