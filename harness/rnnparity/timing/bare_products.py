"""The matrix products of the recurrence and nothing else: what a framework's own calls allow.

No implementations: they have the contract's form, and results that are wrong on purpose. Each runs
one product of all inputs, then one product of the state's shape for every step. Weights are laid
out once, as implementations do it. In JAX the state is what the product before returned, or the
compiler would take the product out of the loop.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np


def _numpy_prepare(cell: Any, nonlinearity: str) -> Any:
    return cell[0].T, np.ascontiguousarray(cell[1].T)


def _numpy_layer(x: Any, h0: Any, cell: Any, nonlinearity: str) -> tuple[Any, Any]:
    from_x, from_h = cell
    (T, B, I), H = x.shape, h0.shape[1]
    output, state = np.empty((T, B, H), x.dtype), np.empty((B, H), x.dtype)
    np.dot(x.reshape(T * B, I), from_x, out=output.reshape(T * B, H))
    for _ in range(T):
        np.dot(h0, from_h, out=state)
    return output, state


def _torch_prepare(cell: Any, nonlinearity: str) -> Any:
    return cell[0].T, cell[1].T


def _torch_layer(x: Any, h0: Any, cell: Any, nonlinearity: str) -> tuple[Any, Any]:
    import torch

    from_x, from_h = cell
    (T, B, I), H = x.shape, h0.shape[1]
    output = torch.mm(x.reshape(T * B, I), from_x).reshape(T, B, H)
    state = torch.empty_like(h0)
    for _ in range(T):
        torch.mm(h0, from_h, out=state)
    return output, state


def _jax_prepare(cell: Any, nonlinearity: str) -> Any:
    # sqrt(3): with the weights that torch draws the state then keeps its size, and is never
    # denormal.
    return cell[0].T, cell[1].T * np.sqrt(3, dtype=cell[1].dtype)


def _jax_layer(x: Any, h0: Any, cell: Any, nonlinearity: str) -> tuple[Any, Any]:
    import jax

    from_x, from_h = cell
    state, _ = jax.lax.scan(lambda h, _: (h @ from_h, None), h0, length=x.shape[0])
    return x @ from_x, state


def _products(framework: str, prepare: Any, layer: Any) -> Any:
    return SimpleNamespace(
        framework=framework,
        prepare=prepare,
        layer=layer,
        gradients=False,
        dtypes=("float64", "float32", "float16", "bfloat16"),
    )


numpy_products = _products("numpy", _numpy_prepare, _numpy_layer)
torch_products = _products("torch", _torch_prepare, _torch_layer)
jax_products = _products("jax", _jax_prepare, _jax_layer)
