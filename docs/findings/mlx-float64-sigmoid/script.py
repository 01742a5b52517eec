"""MLX on a CPU: exp and sigmoid of float64 have the precision of float32."""

import mlx.core as mx
import numpy as np

mx.set_default_device(mx.cpu)
a = np.linspace(-3, 3, 1001)
given = mx.array(a, dtype=mx.float64)
true = {"exp": np.exp(a), "sigmoid": 1 / (1 + np.exp(-a)), "tanh": np.tanh(a)}
off = {}
for name, values in true.items():
    found = getattr(mx, name)(given)
    assert found.dtype == mx.float64
    off[name] = float(np.max(np.abs(np.array(found) - values) / np.maximum(np.abs(values), 1e-3)))
wrong = [f"{name} is off by {error:.1e}" for name, error in off.items() if error > 1e-12]
print(", ".join(wrong))
print("present" if wrong else "fixed")
