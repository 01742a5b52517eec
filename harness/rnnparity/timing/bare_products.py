"""The matrix products of the recurrence and nothing else: what a framework's own calls allow.

No implementations: they have the contract's form, and results that are wrong on purpose. Each runs
one product of all inputs, then one product of the state's shape for every step. In JAX the state is
what the product before returned, or the compiler would take the product out of the loop.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np


def _numpy_layer(x: Any, h0: Any, cell: Any, nonlinearity: str) -> tuple[Any, Any]:
    weight_ih, weight_hh = cell[0], np.ascontiguousarray(cell[1].T)
    (T, B, I), H = x.shape, h0.shape[1]
    output, state = np.empty((T, B, H), x.dtype), np.empty((B, H), x.dtype)
    np.dot(x.reshape(T * B, I), weight_ih.T, out=output.reshape(T * B, H))
    for _ in range(T):
        np.dot(h0, weight_hh, out=state)
    return output, state


def _torch_layer(x: Any, h0: Any, cell: Any, nonlinearity: str) -> tuple[Any, Any]:
    import torch

    (T, B, I), H = x.shape, h0.shape[1]
    output = torch.mm(x.reshape(T * B, I), cell[0].T).reshape(T, B, H)
    state, transposed = torch.empty_like(h0), cell[1].T
    for _ in range(T):
        torch.mm(h0, transposed, out=state)
    return output, state


def _jax_layer(x: Any, h0: Any, cell: Any, nonlinearity: str) -> tuple[Any, Any]:
    import jax

    # sqrt(3): with the weights that torch draws the state then keeps its size, and is never
    # denormal.
    transposed = jax.lax.optimization_barrier(cell[1].T * np.sqrt(3, dtype=x.dtype))
    state, _ = jax.lax.scan(lambda h, _: (h @ transposed, None), h0, length=x.shape[0])
    return x @ cell[0].T, state


def _products(framework: str, layer: Any) -> Any:
    return SimpleNamespace(
        framework=framework,
        layer=layer,
        gradients=False,
        dtypes=("float64", "float32", "float16", "bfloat16"),
    )


numpy_products = _products("numpy", _numpy_layer)
torch_products = _products("torch", _torch_layer)
jax_products = _products("jax", _jax_layer)
