"""Writes wrong implementations: a right one in NumPy, of which one function is another."""

import hashlib

SOURCE = """
import numpy as np

framework = "numpy"
dtypes = ("float32", "float64", "float16")
calls = []


def sum_of(a, weight):
    return a @ weight.T


def pre_activation(x_t, h, cell):
    return sum_of(x_t, cell.weight_ih) + cell.bias_ih + sum_of(h, cell.weight_hh) + cell.bias_hh


def tanh(a):
    return np.tanh(a)


def relu(a):
    return np.maximum(a, 0)


def read(x, h0, cell):
    return x, h0, cell


def returned(output, h_n):
    return output, h_n


def layer(x, h0, cell, nonlinearity):
    x, h, cell = read(x, h0, cell)
    output = []
    for x_t in x:
        h = (tanh if nonlinearity == "tanh" else relu)(pre_activation(x_t, h, cell))
        h = h.astype(x.dtype)
        output.append(h)
    return returned(np.stack(output), h)


def received(grad_output, grad_h_n, output):
    return grad_output, grad_h_n


def slope(h, nonlinearity):
    return 1 - h * h if nonlinearity == "tanh" else (h > 0).astype(h.dtype)


def carried(t, grad_h):
    return grad_h


def before(h0, output):
    return np.concatenate((h0[None], output[:-1]))


def gradients(of_x, of_h0, of_cell):
    return of_x, of_h0, of_cell


def layer_backward(grad_output, grad_h_n, x, h0, output, cell, nonlinearity):
    grad_output, grad_h = received(grad_output, grad_h_n, output)
    steep, grad_a = slope(output, nonlinearity), np.empty_like(output)
    for t in reversed(range(len(x))):
        grad_a[t] = (grad_output[t] + grad_h) * steep[t]
        grad_h = carried(t, grad_a[t] @ cell.weight_hh)
    bias = grad_a.sum(axis=(0, 1))
    weight_ih = np.einsum("tbh,tbi->hi", grad_a, x)
    weight_hh = np.einsum("tbh,tbk->hk", grad_a, before(h0, output))
    of_cell = [weight_ih, weight_hh, bias, bias.copy()]
    return gradients(grad_a @ cell.weight_ih, grad_h, of_cell)


"""


def write(folder, wrong):
    """Write one into a folder and return its path.

    Args:
        folder: where.
        wrong: source that defines some of the functions above once more.
    """
    digest = hashlib.sha256(wrong.encode()).hexdigest()[:8]
    path = folder / f"wrong_{digest}.py"
    path.write_text(SOURCE + wrong + "\n")
    return path
