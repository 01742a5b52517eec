"""The pages of GRU and LSTM against `torch.nn.GRU` and `LSTM` in float64, forward and backward."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

from rnnparity.implementations.settings import Settings

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.machine

KINDS = ("gru", "lstm")
GATES = {"gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
PAGES = ("numpy_loop", "jax_scan", "torch_loop", "numba_fused")
SIZES = [(T, B, I, H) for T in (1, 2, 17) for B in (1, 3) for I, H in ((1, 1), (4, 7), (6, 33))]

# What else a page does for its size: several blocks of steps, a batch of BLAS's own, XLA's loops
# unrolled, its input product in the step.
LARGE = [(300, 1, 9, 40), (29, 17, 21, 40), (20, 40, 33, 96), (5, 64, 3, 320)]


def page_of(kind, page):
    if page != "torch_loop":
        pytest.importorskip({"jax_scan": "jax", "numba_fused": "numba"}.get(page, "numpy"))
    return importlib.import_module(f"recurrences.{kind}.{page}")


def problem(kind, T, B, I, H, bias=True):
    """Return x, the states before, the cell and gradients of the results, in float64."""
    random = np.random.default_rng(T + B + I + H)
    rows, states = len(GATES[kind]) * H, 2 if kind == "lstm" else 1

    def draw(*shape, bound=1.0):
        return random.uniform(-bound, bound, shape)

    cell = tuple(draw(*shape, bound=H**-0.5) for shape in ((rows, I), (rows, H), (rows,), (rows,)))
    if not bias:
        cell = (*cell[:2], np.zeros(rows), np.zeros(rows))
    before = [draw(B, H) for _ in range(states)]
    return draw(T, B, I), before, cell, [draw(T, B, H), *(draw(B, H) for _ in range(states))]


def by_torch(kind, x, before, cell, upstream):
    """Return what torch's own module makes of it: results, then gradients, as NumPy arrays."""
    module = getattr(torch.nn, kind.upper())(x.shape[2], before[0].shape[1], dtype=torch.float64)
    parameters = list(module.parameters())
    for parameter, values in zip(parameters, cell, strict=True):
        parameter.data = torch.tensor(values)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *before)]
    states = tuple(a[None] for a in leaves[1:])
    output, last = module(leaves[0], states if kind == "lstm" else states[0])
    results = [output, *(a[0] for a in (last if kind == "lstm" else (last,)))]
    given = [torch.tensor(a) for a in upstream]
    gradients = torch.autograd.grad(results, [*leaves, *parameters], given)
    return [[a.detach().numpy() for a in some] for some in (results, gradients)]


def by_page(page, x, before, cell, upstream):
    """Return what a page makes of it: results, then gradients, or None for a page without."""
    if page.framework == "numpy":
        prepared = page.prepare(cell)
        results = page.layer(x, *before, prepared)
        if not hasattr(page, "layer_backward"):
            return results, None
        found = page.layer_backward(*upstream, x, *before, results[0], prepared)
        return results, (*found[:-1], *found[-1])
    if page.framework == "torch":
        leaves = [torch.tensor(a, requires_grad=True) for a in (x, *before, *cell)]
        states, parameters = leaves[1 : 1 + len(before)], tuple(leaves[1 + len(before) :])
        results = page.layer(leaves[0], *states, page.prepare(parameters))
        gradients = torch.autograd.grad(results, leaves, [torch.tensor(a) for a in upstream])
        return [[a.detach().numpy() for a in some] for some in (results, gradients)]
    jax = importlib.import_module("jax")

    def run(x, before, cell):
        return page.layer(x, *before, page.prepare(cell))

    arrays = jax.tree.map(jax.numpy.asarray, (x, tuple(before), cell))
    results, pull_back = jax.vjp(run, *arrays)
    return results, jax.tree.leaves(pull_back(tuple(map(jax.numpy.asarray, upstream))))


def assert_close(found, expected, terms):
    """Each is off by no more than a sum of so many terms of size 1, or of its largest, may be."""
    __tracebackhide__ = True
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        allowed = terms * np.finfo(np.float64).eps * max(1, np.abs(other).max())
        assert np.abs(np.asarray(one) - other).max() <= allowed


def compare(kind, page, T, B, I, H, bias=True):
    """Compare a page with torch: a step sums I + H products, a gradient T * B of them."""
    __tracebackhide__ = True
    given = problem(kind, T, B, I, H, bias)
    results, gradients = by_torch(kind, *given)
    found, found_gradients = by_page(page, *given)
    assert_close(found, results, I + H + 8)
    if found_gradients is not None:
        assert_close(found_gradients, gradients, T * B + I + len(GATES[kind]) * H + 8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_torchs(kind, page, size):
    compare(kind, page_of(kind, page), *size)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_without_biases(kind, page):
    compare(kind, page_of(kind, page), 17, 3, 6, 33, bias=False)


@pytest.mark.parametrize("size", LARGE, ids=str)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_large_sizes(kind, page, size):
    compare(kind, page_of(kind, page), *size)


def exchanged(page, kind, one, other):
    """Return a page that takes one gate's rows for another's."""
    order = np.arange(len(GATES[kind]))
    i, j = GATES[kind].index(one), GATES[kind].index(other)
    order[[i, j]] = j, i

    def prepare(cell):
        split = (a.reshape(len(order), -1, *a.shape[1:])[order] for a in cell)
        return page.prepare(tuple(a.reshape(-1, *a.shape[2:]) for a in split))

    wrong = SimpleNamespace(framework=page.framework, prepare=prepare, layer=page.layer)
    if hasattr(page, "layer_backward"):
        wrong.layer_backward = page.layer_backward
    return wrong


@pytest.mark.parametrize("size", [(1, 1, 1, 1), (17, 3, 6, 33)], ids=str)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [("gru", "r", "z"), ("gru", "z", "n"), ("lstm", "i", "f"), ("lstm", "f", "o")],
)
def test_exchanged_gates_are_seen(kind, one, other, page, size):
    wrong = exchanged(page_of(kind, page), kind, one, other)
    with pytest.raises(AssertionError):
        compare(kind, wrong, *size)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_gradient_is_seen(kind):
    """Of one parameter, in one row: exchanged rows, and a bias that gets the other's gradient."""
    page = page_of(kind, "numpy_loop")

    def spoilt(change):
        def layer_backward(*arguments):
            *others, of_cell = page.layer_backward(*arguments)
            return (*others, change(*of_cell))

        return SimpleNamespace(**{**vars(page), "layer_backward": layer_backward})

    compare(kind, spoilt(lambda *of_cell: of_cell), 2, 3, 4, 7)
    with pytest.raises(AssertionError):
        compare(kind, spoilt(lambda w, *others: (np.roll(w, 1, axis=0), *others)), 2, 3, 4, 7)
    if kind == "gru":  # whose two biases have different gradients
        with pytest.raises(AssertionError):
            compare(kind, spoilt(lambda *g: (*g[:2], g[2], g[2])), 2, 3, 4, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_layer_backward_leaves_its_arguments_alone(kind):
    page = page_of(kind, "numpy_loop")
    x, before, cell, upstream = problem(kind, 5, 3, 4, 7)
    prepared = page.prepare(cell)
    output = page.layer(x, *before, prepared)[0]
    given = [*upstream, x, *before, output, *cell]
    copies = [a.copy() for a in given]
    for _ in range(2):  # it may be called again on the same
        page.layer_backward(*upstream, x, *before, output, prepared)
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# What a page's logistic function may be off by, in units in the last place of its dtype; that of
# float32 by as much as its exponential, which is a polynomial in three of the four libraries.
ULPS = {"float64": 4, "float32": 6, "float16": 2, "bfloat16": 2}
# From where on it is a normal number; but of float16 also below that, and to its smallest.
LOWEST = {"float64": -708.0, "float32": -86.0, "float16": -16.0, "bfloat16": -86.0}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_logistic_function_is_right_where_it_is_near_zero(kind, page):
    """Each gate alone, in every dtype; a form by tanh is off by all of it there."""
    module = page_of(kind, page)
    for dtype in dtypes_of(module):
        a, found = gate_alone(kind, module, dtype, np.linspace(LOWEST[dtype], 30, 3001))
        true = 1 / (1 + np.exp(-a.astype(np.longdouble)))
        spacing = np.spacing(true.astype("float32" if dtype == "bfloat16" else dtype))
        spacing = spacing.astype(np.float64) * (2**16 if dtype == "bfloat16" else 1)
        for gate, values in found.items():
            of = np.tanh(true) if gate == "r" else true
            assert (np.abs(values - of) / spacing).max() <= ULPS[dtype], (dtype, gate)
        by_tanh = np.tanh(a.astype(np.float64) / 2) / 2 + 0.5
        assert (np.abs(by_tanh - true) / spacing).max() > 100 or dtype in ("float16", "bfloat16")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_logistic_function_far_out(kind, page):
    """Where exp overflows nothing is told (warnings are errors here), lost or negative."""
    module = page_of(kind, page)
    for dtype in ("float64", "float32"):
        _, found = gate_alone(kind, module, dtype, np.array([-1e4, -1000, -200, 200, 1000, 1e4]))
        for gate, values in found.items():
            assert (values >= 0).all(), gate
            tiny = np.finfo(dtype).tiny if dtype == "float32" else 1e-80
            assert (values[:3] < tiny).all(), gate
            np.testing.assert_allclose(values[3:], np.tanh(1) if gate == "r" else 1, rtol=1e-6)


def dtypes_of(module):
    """Return what a page declares, less what its framework cannot compile for this processor."""
    if module.framework != "jax":
        return module.dtypes
    framework = importlib.import_module("rnnparity.implementations.frameworks.jax_framework")
    possible = framework.border(Settings()).dtypes("cpu")
    return tuple(dtype for dtype in module.dtypes if dtype in possible)


def gate_alone(kind, module, dtype, values):
    """Return a, in its dtype, and what each gate makes of it: s(a), but r: tanh(s(a))."""
    to_dtype, to_numpy = _borders(module.framework, dtype)
    a = to_numpy(to_dtype(values))
    x, zeros, ones = a[None, :, None], np.zeros((len(a), 1)), np.ones((len(a), 1))

    def run(gate, before, biases):
        order, rows = GATES[kind], len(GATES[kind])
        weight_ih, bias_ih, bias_hh = np.zeros((rows, 1)), np.zeros(rows), np.zeros(rows)
        weight_ih[order.index(gate)] = 1
        for name, value in biases.items():
            (bias_hh if name == "n" else bias_ih)[order.index(name)] = value
        cell = tuple(to_dtype(one) for one in (weight_ih, np.zeros((rows, 1)), bias_ih, bias_hh))
        prepared = module.prepare(cell)
        results = module.layer(to_dtype(x), *(to_dtype(one) for one in before), prepared)
        return [to_numpy(one)[..., 0] for one in results]

    if kind == "gru":  # h' = n + z (h - n), with n = 0 and h = 1; or with z = 0 and q = 1
        return a, {
            "z": run("z", [ones], {})[1],
            "r": run("r", [zeros], {"z": -60, "n": 1})[1],
        }
    return a, {  # c' = f c + i g, h' = o tanh(c'), with 1 or 0 for all of them but one
        "i": run("i", [zeros, zeros], {"g": 30})[2],
        "f": run("f", [zeros, ones], {})[2],
        "o": run("o", [zeros, 30 * ones], {"f": 60})[1],
    }


def _borders(framework, dtype):
    """Return what takes an array to a framework's dtype, and from there to float64."""
    if framework == "torch":
        return (
            lambda a: torch.tensor(a).to(getattr(torch, dtype)),
            lambda a: a.double().numpy(),
        )
    names = np if dtype != "bfloat16" else importlib.import_module("ml_dtypes")
    asarray = np.asarray if framework == "numpy" else importlib.import_module("jax.numpy").asarray
    return (
        lambda a: asarray(np.asarray(a).astype(getattr(names, dtype))),
        lambda a: np.asarray(a).astype(np.float64),
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("page", ["numpy_loop", "jax_scan", "torch_loop"])
@pytest.mark.parametrize("kind", KINDS)
def test_types_of_16_bits_are_rounded_once(kind, page, dtype):
    """Results are those of float64 on the same rounded arrays, to a few roundings of the type."""
    module = page_of(kind, page)
    if dtype not in dtypes_of(module):
        pytest.skip(f"XLA does not compile {dtype} for this processor")
    to_dtype, to_numpy = _borders(module.framework, dtype)
    x, before, cell, upstream = problem(kind, 9, 3, 6, 33)
    rounded = [to_dtype(a) for a in (x, *before, *cell)]
    exact = [to_numpy(a) for a in rounded]
    states = 1 + len(before)
    expected, _ = by_torch(kind, exact[0], exact[1:states], exact[states:], upstream)
    prepared = module.prepare(tuple(rounded[states:]))
    found = module.layer(*rounded[:states], prepared)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == rounded[0].dtype
        half_a_unit = {"float16": 2**-11, "bfloat16": 2**-8}[dtype] * np.abs(other).max()
        np.testing.assert_allclose(to_numpy(one), other, rtol=0, atol=1.01 * half_a_unit)


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "states given"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_torchs_own_module_takes_lengths(kind, batch_first, given):
    """Each sequence is as if it were alone, and the output zero past its end."""
    page = importlib.import_module(f"recurrences.{kind}.torch_rnn")
    T, I, H, lengths = 6, 3, 5, torch.tensor([4, 6, 1])
    config = SimpleNamespace(
        input_size=I, hidden_size=H, num_layers=2, bias=True, batch_first=batch_first,
        bidirectional=True,
    )  # fmt: skip
    torch.manual_seed(0)
    module = getattr(torch.nn, kind.upper())(I, H, 2, bidirectional=True)
    prepared = page.prepare(module.state_dict(), config)
    x, states = torch.randn(T, 3, I), [torch.randn(4, 3, H) for _ in range(1 + (kind == "lstm"))]
    before = tuple(states) if kind == "lstm" else states[0]
    x_given = x.transpose(0, 1) if batch_first else x
    output, last = page.rnn(x_given, before if given else None, prepared, config, lengths)
    output = output.transpose(0, 1) if batch_first else output
    for b, length in enumerate(lengths.tolist()):
        alone = tuple(a[:, b : b + 1].contiguous() for a in states)
        alone = (alone if kind == "lstm" else alone[0]) if given else None
        expected, last_alone = module(x[:length, b : b + 1], alone)
        torch.testing.assert_close(output[:length, b : b + 1], expected)
        assert not output[length:, b].any()
        for one, other in zip(*map(_as_tuple, (last, last_alone)), strict=True):
            torch.testing.assert_close(one[:, b : b + 1], other)


def _as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("T", [1, 2, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_torch_loops_results_can_be_used_where_autograd_records(kind, T):
    module = page_of(kind, "torch_loop")
    x, before, cell, _ = problem(kind, T, 2, 3, 4)
    x, *before = (torch.tensor(a) for a in (x, *before))
    leaf = x.clone().requires_grad_()
    prepared = module.prepare(tuple(map(torch.tensor, cell)))
    scale = torch.ones(1, requires_grad=True)
    for result in (*module.layer(x, *before, prepared), *module.layer(leaf, *before, prepared)):
        assert not result.is_inference()
        (result.detach() * scale).sum().backward()
    assert scale.grad is not None


@pytest.mark.parametrize("kind", KINDS)
def test_torch_loop_says_that_it_is_differentiated_once(kind):
    module = page_of(kind, "torch_loop")
    x, before, cell, _ = problem(kind, 6, 1, 2, 3)
    x = torch.tensor(x, requires_grad=True)
    prepared = module.prepare(tuple(map(torch.tensor, cell)))
    output = module.layer(x, *map(torch.tensor, before), prepared)[0]
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        torch.autograd.grad(output.sum(), x, create_graph=True)


@pytest.mark.parametrize("kind", KINDS)
def test_jax_scan_is_differentiated_twice(kind):
    """The second derivative is the difference of first ones, far out on the gates, too."""
    jax = pytest.importorskip("jax")
    module = page_of(kind, "jax_scan")
    x, before, cell, upstream = problem(kind, 5, 2, 3, 4)
    cell = (cell[0], cell[1], cell[2] - 3, cell[3])

    def slope(scale):
        def loss(scale):
            results = module.layer(scale * x, *before, module.prepare(cell))
            return sum((a * b).sum() for a, b in zip(results, upstream, strict=True))

        return jax.grad(loss)(scale)

    x, before, cell, upstream = jax.tree.map(jax.numpy.asarray, (x, before, cell, upstream))
    step = 1e-5
    expected = (slope(1 + step) - slope(1 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(slope)(1.0), expected, rtol=1e-7)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: module.layer(x, *before, module.prepare(cell)), (x,), (x,))


@pytest.mark.parametrize("kind", KINDS)
def test_jax_scan_is_mapped(kind):
    jax = pytest.importorskip("jax")
    module = page_of(kind, "jax_scan")
    x, before, cell, _ = problem(kind, 5, 2, 3, 4)
    prepared = module.prepare(jax.tree.map(jax.numpy.asarray, cell))
    many = jax.numpy.stack([x, 2 * x])
    found = jax.vmap(lambda x: module.layer(x, *before, prepared)[0])(many)
    for one, x in zip(found, many, strict=True):
        np.testing.assert_allclose(one, module.layer(x, *before, prepared)[0], rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_numba_fuseds_functions_in_float32(kind):
    """The logistic function is off by 3 ULP at most, tanh by 6; and what is no number stays so."""
    pytest.importorskip("numba")
    module = page_of(kind, "numba_fused")
    random = np.random.default_rng(0)
    a = np.float32(random.uniform(-87, 30, 20_000))
    true = 1 / (1 + np.exp(-a.astype(np.float64)))
    found = np.array([module._float32_logistic(one) for one in a])
    assert (np.abs(found - true) / np.spacing(true.astype(np.float32))).max() < 3
    a = np.float32(random.uniform(-12, 12, 20_000))
    true = np.tanh(a.astype(np.float64))
    found = np.array([module._rational_tanh(one) for one in a])
    assert (np.abs(found - true) / np.spacing(np.abs(true).astype(np.float32))).max() < 6
    for function in (module._float32_logistic, module._rational_tanh):
        assert np.isnan(function(np.float32(np.nan)))


@pytest.mark.parametrize("page", PAGES)
def test_a_gate_that_is_shut_lets_nothing_of_a_large_state_through(page):
    """In float32 s(-200) is 0: a bound on the exponent would leave 4e-39 of 1e30."""
    module, H, I = page_of("lstm", page), 3, 2
    cell = [np.zeros(shape, "f4") for shape in ((4 * H, I), (4 * H, H), (4 * H,), (4 * H,))]
    cell[2][:] = np.repeat(np.array([0, -200, 0, 0], "f4"), H)  # f; and g is 0, so i g is
    x, h0 = np.zeros((2, 1, I), "f4"), np.zeros((1, H), "f4")
    c0 = np.full((1, H), 1e30, "f4")
    if page == "torch_loop":
        x, h0, c0, *cell = map(torch.from_numpy, (x, h0, c0, *cell))
    output, *_ = module.layer(x, h0, c0, module.prepare(tuple(cell)))
    assert not np.asarray(output).any()
