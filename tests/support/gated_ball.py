"""One layer of a GRU or an LSTM in ball arithmetic: values and gradients, each with a proven bound.

Written from the formulas, gate by gate, with nothing of the harness in it.
"""

from ball import arb, arb_mat, column, matrix, part


def times(a, b):
    pairs = zip(a.entries(), b.entries(), strict=True)
    return arb_mat([[x * y] for x, y in pairs])


def mapped(function, a):
    return arb_mat([[function(v)] for v in a.entries()])


def logistic(a):
    return mapped(lambda v: 1 / (1 + (-v).exp()), a)


def tanh(a):
    return mapped(lambda v: v.tanh(), a)


def level(s):
    """s (1 - s), the logistic function's derivative."""
    return mapped(lambda v: v * (1 - v), s)


def flat(y):
    """1 - y^2, tanh's derivative."""
    return mapped(lambda v: 1 - v * v, y)


def below(columns):
    return arb_mat([[v] for one in columns for v in one.entries()])


class Layer:
    """One layer: parameters as NumPy arrays, a sequence of inputs, the initial states."""

    def __init__(self, kind, parameters, x, states):
        self.kind, self.H = kind, states[0].shape[0]
        weight_ih, weight_hh, bias_ih, bias_hh = parameters
        self.W, self.U = matrix(weight_ih), matrix(weight_hh)
        self.b, self.c = column(bias_ih), column(bias_hh)
        self.x = [column(step) for step in x]
        self.states = [[column(state) for state in states]]
        self.kept = []
        for step in self.x:
            self.states.append(self._step(step, self.states[-1]))

    def _gates(self, vector):
        return [part(vector, k * self.H, self.H) for k in range(vector.nrows() // self.H)]

    def _step(self, x, before):
        a, u = self._gates(self.W * x + self.b), self._gates(self.U * before[0] + self.c)
        if self.kind == "gru":
            r, z = logistic(a[0] + u[0]), logistic(a[1] + u[1])
            n = tanh(a[2] + times(r, u[2]))
            self.kept.append((r, z, n, u[2]))
            return [n + times(z, before[0] - n)]
        i, f, g, o = (
            logistic(a[0] + u[0]),
            logistic(a[1] + u[1]),
            tanh(a[2] + u[2]),
            logistic(a[3] + u[3]),
        )
        c = times(f, before[1]) + times(i, g)
        self.kept.append((i, f, g, o))
        return [times(o, tanh(c)), c]

    def backward(self, grad_output, grad_last):
        """Gradients of every x, of the initial states, and of the four parameters."""
        going = [column(g) for g in grad_last]
        of_x, sums = [None] * len(self.x), [self.W * 0, self.U * 0, self.b * 0, self.c * 0]
        for t in reversed(range(len(self.x))):
            before, after = self.states[t], self.states[t + 1]
            g = going[0] + column(grad_output[t])
            if self.kind == "gru":
                r, z, n, u = self.kept[t]
                d_n = times(g - times(g, z), flat(n))
                d_z = times(times(g, before[0] - n), level(z))
                d_r = times(times(d_n, u), level(r))
                of_a, of_u = below([d_r, d_z, d_n]), below([d_r, d_z, times(d_n, r)])
                going = [times(g, z) + self.U.transpose() * of_u]
            else:
                i, f, k, o = self.kept[t]
                bent = tanh(after[1])
                g_c = going[1] + times(times(g, o), flat(bent))
                of_a = below(
                    [
                        times(times(g_c, k), level(i)),
                        times(times(g_c, before[1]), level(f)),
                        times(times(g_c, i), flat(k)),
                        times(times(g, bent), level(o)),
                    ]
                )
                of_u = of_a
                going = [self.U.transpose() * of_u, times(g_c, f)]
            of_x[t] = self.W.transpose() * of_a
            sums[0] += of_a * self.x[t].transpose()
            sums[1] += of_u * before[0].transpose()
            sums[2] += of_a
            sums[3] += of_u
        return of_x, going, sums


__all__ = ["Layer", "arb"]
