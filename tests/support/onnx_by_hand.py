"""A runtime of ONNX's recurrent operators in NumPy, right or wrong in one way; none of rnnparity.

The ways are what somebody who writes these operators gets wrong: `WRONG` says what each is.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

WRONG = {
    "lengths": "sequence_lens is ignored",
    "length off by one": "each sequence ends a step early",
    "past the end": "the output goes on past a sequence's end",
    "last step": "Y_h is what stands at the last step, also of a shorter sequence",
    "reverse": "the second direction reads forwards",
    "reverse of all": "the second direction begins at step T, also of a shorter sequence",
    "turned": "the second direction's output is left in the order in which it was made",
    "first weights": "both directions have the first one's weights",
    "state of the other": "each direction begins with the other one's state",
    "no state": "the initial states are ignored",
    "states swapped": "initial_h and initial_c are taken for each other",
    "last states swapped": "Y_h and Y_c are taken for each other",
    "layout": "layout=1 is ignored",
    "activations": "every activation is tanh, or what is the default of a gate",
    "no bias": "B is ignored",
    "bias halves": "the halves of B are taken for each other",
    "reset": "linear_before_reset is ignored",
    "gates": "the gates stand in torch's order",
    "half": "the products are in float16",
}
ACTIVATIONS = {
    "Tanh": np.tanh,
    "Relu": lambda a: np.maximum(a, 0),
    "Sigmoid": lambda a: 1 / (1 + np.exp(-a)),
}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
ORDERS = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}  # where torch has ONNX's gates


def runtime(wrong=""):
    """Return a `run(model_bytes, inputs)`."""

    def run(model_bytes, inputs):
        graph = onnx.load_from_string(model_bytes).graph
        values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        values |= {"": None} | inputs
        for node in graph.node:
            attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            given = [values[name] for name in node.input]
            made = operation(node.op_type, given, attributes, wrong)
            values |= dict(zip(node.output, made, strict=True))
        return {one.name: values[one.name] for one in graph.output}

    return run


def operation(name, given, attributes, wrong):
    if name in DEFAULTS:
        return recurrent(name, given, attributes, wrong)
    if name == "Identity":
        return given
    if name == "Transpose":
        return [given[0].transpose(attributes["perm"])]
    if name == "Concat":
        return [np.concatenate(given, attributes["axis"])]
    if name == "Split":
        return np.split(given[0], np.cumsum(given[1])[:-1], attributes["axis"])
    assert name == "Reshape"
    sizes = zip(given[1], range(given[1].size), strict=True)
    return [given[0].reshape([n or given[0].shape[k] for n, k in sizes])]


def recurrent(name, given, attributes, wrong):
    x, W, R, B, lengths, *states = [*given, *[None] * (5 - len(given))]
    layout, H = attributes.get("layout", 0), attributes["hidden_size"]
    if layout and wrong != "layout":
        x = x.swapaxes(0, 1)
    D, (T, rows) = len(W), x.shape[:2]
    if wrong in ("no state", "states swapped"):
        states = [] if wrong == "no state" else states[::-1]
    if layout:
        states = [state.swapaxes(0, 1) for state in states]
    count = 2 if name == "LSTM" else 1
    states = states or [np.zeros((D, rows, H), x.dtype)] * count
    if lengths is None or wrong == "lengths":
        lengths = np.full(rows, T)
    lengths = np.maximum(lengths - (wrong == "length off by one"), 0)
    names = [one.decode() for one in attributes["activations"]]
    names = DEFAULTS[name] * D if wrong == "activations" else names
    output, last, every = np.zeros((T, D, rows, H), x.dtype), [], np.arange(rows)
    for d in range(D):
        own = 0 if wrong == "first weights" else d
        parts = [W[own], R[own], np.zeros(2 * len(W[own]), x.dtype) if B is None else B[own]]
        functions = [ACTIVATIONS[one] for one in np.split(np.array(names), D)[d]]
        now = [state[D - 1 - d if wrong == "state of the other" else d] for state in states]
        for t in range(T):
            back = d == 1 and wrong != "reverse"
            end = np.full(rows, T) if back and wrong == "reverse of all" else lengths
            place = np.maximum(end - 1 - t, 0) if back else np.full(rows, t)
            live = t < end
            new = step(name, x[place, every], now, parts, functions, attributes, wrong)
            now = [np.where(live[:, None], a, b) for a, b in zip(new, now, strict=True)]
            shown = live & (place < lengths) | (wrong == "past the end")
            place = np.full(rows, t) if wrong == "turned" else place
            output[place[shown], d, every[shown]] = now[0][shown]
        last.append([output[-1, d]] if wrong == "last step" else now)
    last = [np.stack(state) for state in zip(*last, strict=True)]
    last = last[::-1] if wrong == "last states swapped" else last
    if layout:
        output = output.transpose((0, 2, 1, 3) if wrong == "layout" else (2, 0, 1, 3))
        last = [state.swapaxes(0, 1) for state in last]
    return [output, *last]


def step(name, x, states, parts, functions, attributes, wrong):
    W, R, B = parts
    if wrong == "gates" and name in ORDERS:
        blocks = len(ORDERS[name])
        W, R = (np.concatenate([np.split(A, blocks)[k] for k in ORDERS[name]]) for A in (W, R))
    of_x, of_h = np.split(B * (wrong != "no bias"), 2)[:: -1 if wrong == "bias halves" else 1]
    h, kind = states[0], np.float16 if wrong == "half" else x.dtype
    a = (x.astype(kind) @ W.T.astype(kind)).astype(x.dtype) + of_x
    b = (h.astype(kind) @ R.T.astype(kind)).astype(x.dtype) + of_h
    if name == "RNN":
        return [functions[0](a + b)]
    f, g, *k = functions
    if name == "GRU":
        (za, ra, na), (zb, rb, nb) = np.split(a, 3, 1), np.split(b, 3, 1)
        z, r = f(za + zb), f(ra + rb)
        if wrong == "reset" or not attributes.get("linear_before_reset"):
            nb, r = (r * h) @ np.split(R, 3)[2].T + np.split(of_h, 3)[2], 1
        return [(1 - z) * g(na + r * nb) + z * h]
    i, o, forget, c = np.split(a + b, 4, 1)
    c = f(forget) * states[1] + f(i) * g(c)
    return [f(o) * k[0](c), c]
