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


GATED = """
import numpy as np

framework = "numpy"
kind = "{kind}"
dtypes = ("float32", "float64")


def read(x, states, cell):
    return x, states, cell


def gates(a):
    return np.split(a, {gates}, axis=-1)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gru(x, h, before):
    r, z = sigmoid(x[0] + h[0]), sigmoid(x[1] + h[1])
    return ((1 - z) * np.tanh(x[2] + r * h[2]) + z * before[0],)


def lstm(x, h, before):
    i, f, g, o = (a + b for a, b in zip(x, h))
    c = sigmoid(f) * before[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def layer(x, *given):
    x, states, cell = read(x, given[:-1], given[-1])
    made = []
    for x_t in x:
        from_x = gates(x_t @ cell.weight_ih.T + cell.bias_ih)
        from_h = gates(states[0] @ cell.weight_hh.T + cell.bias_hh)
        states = [state.astype(x.dtype) for state in {kind}(from_x, from_h, states)]
        made.append(states)
    output, *others = (np.stack(every) for every in zip(*made))
    return output, output[-1], *others


"""


def write(folder, wrong, kind="rnn"):
    """Write one into a folder and return its path.

    Args:
        folder: where.
        wrong: source that defines some of the functions above once more.
        kind: "rnn", or "gru" or "lstm", which have no backward pass.
    """
    source = SOURCE if kind == "rnn" else GATED.format(kind=kind, gates=3 if kind == "gru" else 4)
    digest = hashlib.sha256((kind + wrong).encode()).hexdigest()[:8]
    path = folder / f"wrong_{digest}.py"
    path.write_text(source + wrong + "\n")
    return path
