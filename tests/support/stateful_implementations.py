"""Wrong implementations that keep something from one call to another: no mistake of one call.

In each, the first call of a process is right.
"""

HEAD = """
import numpy as np

from rnnparity.cells import network
from rnnparity.cells.config import cells

framework = "numpy"
KEPT = {}


def step(x_t, h, cell, nonlinearity):
    a = x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3]
    return np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)


def right(x, h0, cell, nonlinearity):
    h, output = h0, []
    for x_t in x:
        h = step(x_t, h, cell, nonlinearity)
        output.append(h)
    return np.stack(output), h


def right_backward(grad_output, grad_h_n, x, h0, output, cell, nonlinearity):
    slope = 1 - output * output if nonlinearity == "tanh" else (output > 0).astype(x.dtype)
    grad_a, grad_h = np.empty_like(output), grad_h_n
    for t in reversed(range(len(x))):
        grad_a[t] = (grad_output[t] + grad_h) * slope[t]
        grad_h = grad_a[t] @ cell[1]
    before = np.concatenate((h0[None], output[:-1]))
    bias = grad_a.sum(axis=(0, 1))
    weight_ih = np.einsum("tbh,tbi->hi", grad_a, x)
    weight_hh = np.einsum("tbh,tbk->hk", grad_a, before)
    return grad_a @ cell[0], grad_h, (weight_ih, weight_hh, bias, bias.copy())
"""

WHOLE = """
def rnn(x, h0, weights, config, lengths):
    batch = x.shape[0 if config.batch_first else 1 : ][:1] if x.ndim == 3 else ()
    shape = (config.num_cells, *batch, config.hidden_size)
    {wrong}
    output, h_n = network.run(right, x, h0, cells(weights, config), config, lengths)
    {after}
    return output, h_n
"""


def _whole(wrong, after="pass"):
    return HEAD + WHOLE.format(wrong=wrong, after=after)


def _layer(body):
    return (
        HEAD + f"layer_backward = right_backward\n\ndef layer(x, h0, cell, nonlinearity):\n{body}"
    )


# Name to source, and what the verdict says, in part.
STATEFUL = {
    "state_kept_without_h0": (
        _whole(
            "old = KEPT.get(shape); h0 = old.astype(x.dtype) if h0 is None and old is not None "
            "else h0",
            "KEPT[shape] = h_n",
        ),
        "is state kept between calls?",
    ),
    "state_kept_if_it_was_given": (
        _whole(
            "KEPT.update({shape: h0} if h0 is not None else {}); old = KEPT.get(shape); "
            "h0 = old.astype(x.dtype) if h0 is None and old is not None else h0"
        ),
        "is state kept between calls?",
    ),
    "state_added_up": (
        _layer(
            "    key = h0.shape, h0.dtype\n"
            "    h0 = h0 + KEPT.get(key, 0 * h0) * h0.dtype.type(1e-3)\n"
            "    KEPT[key] = h0\n"
            "    return right(x, h0, cell, nonlinearity)\n"
        ),
        "is state kept between calls?",
    ),
    "inputs_left_in_a_wider_workspace": (
        # [x, h] side by side in one workspace, of which a narrower call sees the old columns.
        _layer(
            "    B, H = h0.shape\n"
            "    I = x.shape[2]\n"
            "    wide = max(I, KEPT.get('I', 0))\n"
            "    old = KEPT.get('row', np.zeros(0))\n"
            "    KEPT['I'] = wide\n"
            "    stale = np.zeros(wide, x.dtype)\n"
            "    stale[: len(old)] = old\n"
            "    KEPT['row'] = np.concatenate((x[-1, 0], stale[I:])).astype(np.float64)\n"
            "    weight = np.concatenate((cell[0], np.ones((H, wide - I), x.dtype)), 1)\n"
            "    tail = np.broadcast_to(stale[I:], (*x.shape[:2], wide - I))\n"
            "    x = np.concatenate((x, tail), 2)\n"
            "    return right(x, h0, (weight, *cell[1:]), nonlinearity)\n"
        ),
        "off by",
    ),
    "rows_left_in_a_larger_workspace": (
        # Steps are run on a workspace of the largest batch so far; a mean over it leaks.
        _layer(
            "    B, H = h0.shape\n"
            "    old = KEPT.get((H, h0.dtype), np.zeros((0, H), x.dtype))\n"
            "    KEPT[H, h0.dtype] = np.concatenate((h0, old[B:]))\n"
            "    if len(old) > B:\n"
            "        h0 = np.concatenate((h0[:-1], old[B : B + 1]))\n"
            "    return right(x, h0, cell, nonlinearity)\n"
        ),
        "",
    ),
    "steps_left_in_a_longer_workspace": (
        _layer(
            "    key = x.shape[1:], h0.shape, x.dtype\n"
            "    T = len(x)\n"
            "    old = KEPT.get(key)\n"
            "    output, h_n = right(x, h0, cell, nonlinearity)\n"
            "    if old is not None and len(old) > T:\n"
            "        h_n = old[-1]\n"
            "    else:\n"
            "        KEPT[key] = output.copy()\n"
            "    return output, h_n\n"
        ),
        "",
    ),
    "mask_kept_by_shape": (
        _whole(
            "lengths = lengths if lengths is None else "
            "KEPT.setdefault((x.shape, len(lengths)), lengths.copy())"
        ),
        "",
    ),
    "biases_kept_by_shape": (
        _layer(
            "    bias = KEPT.setdefault(cell[2].shape, cell[2].astype(np.float64))\n"
            "    cell = (*cell[:2], bias.astype(x.dtype), cell[3])\n"
            "    return right(x, h0, cell, nonlinearity)\n"
        ),
        "off by",
    ),
    "gradients_added_up": (
        HEAD
        + """
layer = right


def layer_backward(*arguments):
    of_x, of_h0, of_cell = right_backward(*arguments)
    key = of_cell[0].shape, of_x.shape, of_x.dtype
    total = [old + new for old, new in zip(KEPT.get(key, [0] * 4), of_cell)]
    KEPT[key] = total
    return of_x, of_h0, tuple(total)
""",
        "",
    ),
    "upstream_in_place": (
        HEAD
        + """
layer = right


def layer_backward(grad_output, *rest):
    grad_output += 0 * rest[0]
    found = right_backward(grad_output, *rest)
    grad_output[-1] += rest[0]
    return found
""",
        "layer_backward changed its argument grad_output in place",
    ),
    "upstream_h_n_in_place": (
        HEAD
        + """
layer = right


def layer_backward(grad_output, grad_h_n, *rest):
    found = right_backward(grad_output, grad_h_n, *rest)
    grad_h_n *= 2
    return found
""",
        "layer_backward changed its argument grad_h_n in place",
    ),
    "saved_output_in_place": (
        HEAD
        + """
layer = right


def layer_backward(grad_output, grad_h_n, x, h0, output, cell, nonlinearity):
    found = right_backward(grad_output, grad_h_n, x, h0, output, cell, nonlinearity)
    output *= output
    return found
""",
        "layer_backward changed its argument output in place",
    ),
    "gradient_of_another_dtype_at_every_other_call": (
        HEAD
        + """
layer = right


def layer_backward(*arguments):
    KEPT["calls"] = KEPT.get("calls", 0) + 1
    of_x, of_h0, of_cell = right_backward(*arguments)
    return of_x, of_h0.astype("f8") if KEPT["calls"] % 2 else of_h0, of_cell
""",
        "returned grad_h0 in another shape or dtype at a second call",
    ),
    "fourth_call_wrong": (
        _layer(
            "    KEPT['calls'] = KEPT.get('calls', 0) + 1\n"
            "    output, h_n = right(x, h0, cell, nonlinearity)\n"
            "    return (output, h_n) if KEPT['calls'] % 4 else (output * 2, h_n * 2)\n"
        ),
        "",
    ),
}
