"""The loop in PyTorch, captured once as a CUDA graph and replayed: no call from Python per step.

    h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh)

Source of the formula: the documentation of `torch.nn.RNN`. A graph is a list of kernels with fixed
addresses: arguments are copied to where it reads them, results from where it writes them. Captured
is what neither autograd nor a caller sees; both directions have a graph of their own, which meet in
an autograd function, so that calls may be interleaved in any way.

A step's product is small, and the library behind PyTorch picks for some sizes a kernel ten times
slower than for others near by. So the ways to ask for it are timed, once for a set of weights and a
batch size, and the fastest is captured: two processes may differ by rounding.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

Array = torch.Tensor
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]
Function = Callable[..., tuple[Array, ...]]
Product = Callable[[Array, Array], object]  # adds states [B, H] times a matrix to a total [B, H]

framework = "torch"
dtypes = ("float64", "float32", "float16", "bfloat16")
devices = ("cuda",)

# Graphs that a set of weights keeps: each has its own memory, and a caller with ever other lengths
# would fill the card.
KEPT = 8

# Runs before a capture, in which libraries choose kernels and take the memory that they work in.
WARM_UP = 2

# Products in a graph that is timed, each after the other as in a recurrence, and replays of it.
TIMED, REPLAYS = 32, 3

# Columns of a product that is cut into several.
COLUMNS = 64


class Captured:
    """A function of arrays as a CUDA graph.

    Args:
        function: of arrays with the shapes of `examples`; runs on the device alone.
        examples: arrays; only their shapes, dtypes and devices count.
    """

    def __init__(self, function: Function, examples: Sequence[Array]) -> None:
        """Run the function a few times, then capture it."""
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.device_of(examples[0]):
            self.arguments = [
                torch.zeros_like(example, memory_format=torch.contiguous_format)
                for example in examples
            ]
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    function(*self.arguments)
            torch.cuda.current_stream().wait_stream(aside)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.results = function(*self.arguments)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Replay the graph on these arrays; what it returns is nobody else's."""
        with torch.no_grad(), torch.cuda.device_of(arrays[0]):
            for argument, array in zip(self.arguments, arrays, strict=True):
                argument.copy_(array)
            self.graph.replay()
            return tuple(result.clone() for result in self.results)


def _whole(total: Array, states: Array, matrix: Array) -> None:
    total.addmm_(states, matrix)


def _by_rows(total: Array, states: Array, matrix: Array) -> None:
    total[:, None].baddbmm_(states[:, None], matrix.expand(len(states), -1, -1))


def _by_columns(total: Array, states: Array, matrix: Array) -> None:
    B, H = total.shape
    parts = H // COLUMNS if H % COLUMNS == 0 else 1
    total.view(B, parts, H // parts).transpose(0, 1).baddbmm_(
        states.expand(parts, -1, -1), matrix.view(H, parts, H // parts).transpose(0, 1)
    )


def _milliseconds(captured: Captured) -> float:
    """Return the least time of a few replays."""
    found: list[float] = []
    with torch.cuda.device_of(captured.arguments[0]):
        for _ in range(1 + REPLAYS):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            captured.graph.replay()
            end.record()
            end.synchronize()
            found.append(start.elapsed_time(end))
    return min(found[1:])


def fastest(matrix: Array, B: int) -> Product:
    """Choose how to add B states times a matrix, by time.

    Args:
        matrix: `[H, H]`.
        B: rows of the batch.
    """
    rows = matrix.contiguous()
    columns = rows.t().contiguous().t()  # the same matrix, column after column in memory
    products = [
        partial(_whole, matrix=columns),
        partial(_whole, matrix=rows),
        partial(_by_rows, matrix=columns),
        partial(_by_rows, matrix=rows),
        partial(_by_columns, matrix=rows),
    ]

    def repeated(total: Array, states: Array, product: Product) -> tuple[Array]:
        for _ in range(TIMED):
            product(total, states)
        return (total,)

    examples = matrix.new_empty(B, len(matrix)), matrix.new_empty(B, len(matrix))
    times = [_milliseconds(Captured(partial(repeated, product=p), examples)) for p in products]
    return products[times.index(min(times))]


class Prepared:
    """A cell's weights, and the graphs that read them."""

    def __init__(self, cell: Cell) -> None:
        """Add up the biases, since only their sum matters."""
        self.weight_ih, self.weight_hh, bias_ih, bias_hh = cell
        self.bias = bias_ih + bias_hh
        self.weights = self.weight_ih.detach(), self.weight_hh.detach(), self.bias.detach()
        self.graphs: dict[Any, Captured] = {}
        self.products: dict[Any, Product] = {}

    def replay(self, function: Any, nonlinearity: str, *arrays: Array) -> tuple[Array, ...]:
        """Run `_forward` or `_backward` on these arrays as a graph, captured where there is none.

        The graph used longest ago is dropped for one too many.
        """
        key = function, nonlinearity, tuple((a.shape, a.dtype, a.device) for a in arrays)
        graph = self.graphs.pop(key, None)
        if graph is None:
            if len(self.graphs) >= KEPT:
                self.graphs.pop(next(iter(self.graphs)))
            graph = Captured(
                partial(
                    function, self.weights, self._product(function, len(arrays[1])), nonlinearity
                ),
                arrays,
            )
        self.graphs[key] = graph
        return graph(*arrays)

    def _product(self, function: Any, B: int) -> Product:
        if (function, B) not in self.products:
            weight_hh = self.weights[1]
            matrix = weight_hh if function is _backward else weight_hh.t()
            self.products[function, B] = fastest(matrix, B)
        return self.products[function, B]


def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    return Prepared(cell)


def layer(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    output, h_n = _Recurrence.apply(  # type: ignore[no-untyped-call]
        x, h0, cell.weight_ih, cell.weight_hh, cell.bias, cell, nonlinearity
    )
    return output, h_n


class _Recurrence(torch.autograd.Function):
    """The recurrence, and its gradients by backpropagation through time (Werbos, 1990).

        grad_a_t = (grad_output_t + grad_a_{t+1} W_hh) * f'(a_t)

    with f' = 1 - h_t^2 for tanh and [h_t > 0] for relu.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Array, Array]:
        x, h0, *_, cell, nonlinearity = arguments
        output, h_n = cell.replay(_forward, nonlinearity, x, h0)
        ctx.save_for_backward(x, h0, output)
        ctx.cell, ctx.nonlinearity = cell, nonlinearity
        return output, h_n

    @staticmethod
    def backward(ctx: Any, grad_output: Array, grad_h_n: Array) -> tuple[Array | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("torch-graph can be differentiated once: leave create_graph out")
        arrays = grad_output, grad_h_n, *ctx.saved_tensors
        return (*ctx.cell.replay(_backward, ctx.nonlinearity, *arrays), None, None)


Weights = tuple[Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias [H]


def _forward(
    weights: Weights, product: Product, nonlinearity: str, x: Array, h0: Array
) -> tuple[Array, ...]:
    weight_ih, _, bias = weights
    activate_ = {"tanh": torch.tanh_, "relu": torch.relu_}[nonlinearity]
    output, h = torch.nn.functional.linear(x, weight_ih, bias), h0
    for h_t in output.unbind():  # a view: what is written to it is written to the output
        product(h_t, h)
        h = activate_(h_t)
    return output, h


def _backward(
    weights: Weights,
    product: Product,
    nonlinearity: str,
    grad_output: Array,
    grad_h_n: Array,
    x: Array,
    h0: Array,
    output: Array,
) -> tuple[Array, ...]:
    weight_ih, weight_hh, _ = weights
    (T, B, I), H = x.shape, h0.shape[1]
    grad_a = 1 - output * output if nonlinearity == "tanh" else (output > 0).to(output.dtype)
    grad_h = grad_output.clone()
    grad_h[-1] += grad_h_n
    for t in reversed(range(T)):
        grad_a[t] *= grad_h[t]
        if t > 0:
            product(grad_h[t - 1], grad_a[t])
    rows, before = grad_a.view(T * B, H), torch.cat((h0[None], output[:-1])).view(T * B, H)
    return (
        (rows @ weight_ih).view(T, B, I),
        grad_a[0] @ weight_hh,
        rows.T @ x.view(T * B, I),
        rows.T @ before,
        rows.sum(0),
    )
