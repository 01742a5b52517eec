"""The recurrence in ball arithmetic: every number with a proven bound on its error.

Written sequence by sequence on lists of balls, with nothing of the harness in it, so that it is a
judge of the truth's precision and of the composition alike.
"""

from flint import arb, arb_mat, ctx

ctx.prec = 240  # bits


def matrix(array):
    """An exact matrix of balls from a NumPy array of any floating-point type."""
    return arb_mat([[exact(value) for value in row] for row in array])


def exact(value):
    """An exact ball: longdouble is split into two float64 parts."""
    high = float(value)
    return arb(high) + arb(float(value - type(value)(high)))


def column(vector):
    return arb_mat([[exact(value)] for value in vector])


def tanh(a, nonlinearity):
    return arb_mat([[v.tanh() if nonlinearity == "tanh" else v.max(arb(0))] for v in a.entries()])


def slope(h, nonlinearity):
    if nonlinearity == "tanh":
        return [1 - v * v for v in h.entries()]
    return [arb(1 if v > 0 else 0) for v in h.entries()]


class Sequence:
    """One sequence through the whole RNN: `x` is a list of columns, parameters by torch's names."""

    def __init__(self, config, parameters, x, h0):
        self.config, self.p = config, parameters
        self.inputs, self.states = (
            [],
            [],
        )  # per layer: its inputs; per cell: h_0 .. h_T in its order
        for k in range(config.num_layers):
            self.inputs.append(x)
            runs = []
            for d in range(config.num_directions):
                runs.append(self._run(k, d, x, h0[k * config.num_directions + d]))
            x = [stack([run[t] for run in runs]) for t in range(len(x))]
        self.output = x
        self.h_n = [states[-1] for states in self.states]

    def _name(self, kind, k, d):
        return self.p[f"{kind}_l{k}" + ("_reverse" if d else "")]

    def _run(self, k, d, x, h):
        states = [h]
        for x_t in reversed(x) if d else x:
            a = self._name("weight_ih", k, d) * x_t + self._name("weight_hh", k, d) * h
            if self.config.bias:
                a += self._name("bias_ih", k, d) + self._name("bias_hh", k, d)
            h = tanh(a, self.config.nonlinearity)
            states.append(h)
        self.states.append(states)
        return list(reversed(states[1:])) if d else states[1:]

    def backward(self, grad_output, grad_h_n):
        """Gradients of x (columns), of every h0, and of every parameter."""
        config, H = self.config, self.config.hidden_size
        grads, grad_h0 = {}, [None] * config.num_cells
        upstream = grad_output
        for k in reversed(range(config.num_layers)):
            into_x = [arb_mat(self.inputs[k][0].nrows(), 1) for _ in upstream]
            for d in range(config.num_directions):
                row = k * config.num_directions + d
                steps = range(len(upstream))
                order = list(reversed(steps)) if d else list(steps)  # as the cell reads them
                g = grad_h_n[row]
                suffix = f"l{k}" + ("_reverse" if d else "")
                w_ih, w_hh = self._name("weight_ih", k, d), self._name("weight_hh", k, d)
                sums = [w_ih * 0, w_hh * 0, g * 0]
                for i in reversed(range(len(order))):
                    t = order[i]
                    g = g + part(upstream[t], d * H, H)
                    h = self.states[row][i + 1]
                    ga = arb_mat(
                        [
                            [v * s]
                            for v, s in zip(g.entries(), slope(h, config.nonlinearity), strict=True)
                        ]
                    )
                    into_x[t] += w_ih.transpose() * ga
                    sums[0] += ga * self.inputs[k][t].transpose()
                    sums[1] += ga * self.states[row][i].transpose()
                    sums[2] += ga
                    g = w_hh.transpose() * ga
                grad_h0[row] = g
                grads[f"weight_ih_{suffix}"], grads[f"weight_hh_{suffix}"] = sums[0], sums[1]
                grads[f"bias_ih_{suffix}"] = grads[f"bias_hh_{suffix}"] = sums[2]
            upstream = into_x
        return upstream, grad_h0, grads


def stack(columns):
    return arb_mat([[v] for column_ in columns for v in column_.entries()])


def part(vector, start, count):
    return arb_mat([[v] for v in vector.entries()[start : start + count]])
