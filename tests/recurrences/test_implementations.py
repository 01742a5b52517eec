"""What our implementations promise beyond the recurrence itself."""

import importlib

import numpy as np
import pytest

pytestmark = pytest.mark.machine


@pytest.mark.parametrize(
    ("T", "B", "I", "H"),
    [
        (1, 2, 8, 8),
        (2, 1, 8, 8),
        (6, 1, 8, 8),
        (6, 3, 8, 8),
        (6, 40, 8, 64),
        (6, 16, 512, 512),
        (6, 16, 513, 512),
    ],
    ids=["one step", "short", "vectors", "rows", "many rows", "joined", "projected"],
)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_torch_loop_in_all_its_ways(T, B, I, H, nonlinearity):
    """Each is right in both directions, and its results can be used where autograd records."""
    torch = pytest.importorskip("torch")
    from recurrences.elman import torch_loop

    torch.manual_seed(0)
    module = torch.nn.RNN(I, H, nonlinearity=nonlinearity)
    cell = (module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.bias_hh_l0)
    x, h0 = torch.randn(T, B, I, requires_grad=True), torch.randn(B, H, requires_grad=True)
    upstream = torch.randn(T, B, H), torch.randn(B, H)

    prepared = torch_loop.prepare(cell, nonlinearity)
    found = torch_loop.layer(x, h0, prepared, nonlinearity)
    expected, h_n = module(x, h0[None])
    torch.testing.assert_close(found, (expected, h_n[0]), rtol=1e-4, atol=1e-5)
    leaves = (x, h0, *cell)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, upstream),
        torch.autograd.grad((expected, h_n[0]), leaves, upstream),
        rtol=1e-4,
        atol=1e-4,
    )

    with torch.no_grad():
        unrecorded = torch_loop.layer(x, h0, prepared, nonlinearity)
    scale = torch.ones(1, requires_grad=True)
    for result in (*found, *unrecorded):
        assert not result.is_inference()
        (result.detach() * scale).sum().backward()
    assert scale.grad is not None


def test_torch_loop_says_that_it_is_differentiated_once():
    torch = pytest.importorskip("torch")
    from recurrences.elman import torch_loop

    cell = torch.ones(3, 2), torch.ones(3, 3), torch.zeros(3), torch.zeros(3)
    x = torch.full((6, 1, 2), 0.1, requires_grad=True)
    output, _ = torch_loop.layer(x, torch.zeros(1, 3), torch_loop.prepare(cell, "tanh"), "tanh")
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        torch.autograd.grad(output.sum(), x, create_graph=True)


@pytest.mark.parametrize(
    ("I", "H", "from_x", "from_h"), [(2, 396, 1, 0.17), (1024, 256, 0.02, 0.9)]
)
def test_torch_loop_adds_many_small_terms_before_few_large_ones(I, H, from_x, from_h):
    """Its step is one product; the other order is nine and four times as far off as torch."""
    torch = pytest.importorskip("torch")
    from recurrences.elman import torch_loop

    T, B = 20, 32
    torch.manual_seed(0)
    module = torch.nn.RNN(I, H)
    with torch.no_grad():
        module.weight_ih_l0.uniform_(-1, 1).mul_(from_x * (3 / I) ** 0.5)
        module.weight_hh_l0.uniform_(-1, 1).mul_(from_h * (3 / H) ** 0.5)
        module.bias_ih_l0.uniform_(-1, 1)
    x, h0 = torch.randn(T, B, I), torch.randn(1, B, H)
    cell = [parameter.detach().clone() for parameter in module.parameters()]
    with torch.no_grad():
        ours, _ = torch_loop.layer(x, h0[0], torch_loop.prepare(cell, "tanh"), "tanh")
        theirs, _ = module(x, h0)
        truth, _ = module.double()(x.double(), h0.double())
    ratio = (ours - truth).abs().max() / (theirs - truth).abs().max()
    assert ratio < 2.5


JAX_WAYS = {
    "product in step": (10, 1, 4, 4),
    "one product": (6, 3, 32, 32),
    "blocks": (6, 64, 20, 40),
    "blocks of one step": (7, 100, 20, 30),
    "one product, as no blocks fit": (521, 2, 20, 60),
    "unrolled": (6, 64, 20, 512),
    "unrolled, blocks of one step": (13, 300, 40, 520),
    "empty batch": (3, 0, 20, 30),
}


@pytest.mark.parametrize("way", JAX_WAYS)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_jax_scan_in_all_its_ways(way, nonlinearity):
    """Each is right in both directions; the reference is differentiated by JAX alone."""
    jax = pytest.importorskip("jax")
    from recurrences.elman import jax_scan

    T, B, I, H = JAX_WAYS[way]
    x, h0, cell, upstream = _jax_problem(jax, T, B, I, H)

    def ours(x, h0, cell):
        return jax_scan.layer(x, h0, jax_scan.prepare(cell, nonlinearity), nonlinearity)

    def plain(x, h0, cell):
        return _plain_scan(jax, x, h0, cell, nonlinearity)

    found, pull = jax.vjp(ours, x, h0, cell)
    expected, pull_plain = jax.vjp(plain, x, h0, cell)
    gradients = jax.tree.leaves(pull(upstream)), jax.tree.leaves(pull_plain(upstream))
    for one, other in [*zip(found, expected, strict=True), *zip(*gradients, strict=True)]:
        assert one.shape == other.shape
        largest = float(abs(other).max(initial=0))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * largest)


def test_jax_scan_block_length():
    """All blocks are of one length, so it divides T; where that would be too short, all steps."""
    pytest.importorskip("jax")
    from recurrences.elman.jax_scan import _block_length

    for T, B, H, expected in [
        (100, 64, 512, 10),
        (96, 64, 512, 16),
        (30, 32, 128, 15),
        (30, 32, 1024, 30),
        (521, 2, 520, 521),
        (30, 2000, 512, 1),
        (1, 1, 1, 1),
    ]:
        assert _block_length(T, B, H) == expected


def test_jax_scan_is_differentiated_twice():
    jax = pytest.importorskip("jax")
    from recurrences.elman import jax_scan

    x, h0, cell, _ = _jax_problem(jax, 5, 2, 3, 4)

    def twice(run):
        first = jax.grad(lambda cell: (run(cell)[0] ** 2).sum())
        return jax.grad(lambda cell: (first(cell)[1] ** 2).sum())(cell)

    found = twice(lambda cell: jax_scan.layer(x, h0, jax_scan.prepare(cell, "tanh"), "tanh"))
    expected = twice(lambda cell: _plain_scan(jax, x, h0, cell, "tanh"))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_jax_scan_says_that_it_is_differentiated_in_reverse():
    jax = pytest.importorskip("jax")
    from recurrences.elman import jax_scan

    x, h0, cell, _ = _jax_problem(jax, 5, 2, 3, 4)

    def run(x):
        return jax_scan.layer(x, h0, jax_scan.prepare(cell, "tanh"), "tanh")

    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(run, (x,), (x,))


def _jax_problem(jax, T, B, I, H):
    random = np.random.default_rng(0)

    def draw(*shape, bound=1.0):
        return jax.numpy.asarray(random.uniform(-bound, bound, shape), "float32")

    cell = tuple(draw(*shape, bound=H**-0.5) for shape in ((H, I), (H, H), (H,), (H,)))
    return draw(T, B, I), draw(B, H), cell, (draw(T, B, H), draw(B, H))


def _plain_scan(jax, x, h0, cell, nonlinearity):
    activate = {"tanh": jax.numpy.tanh, "relu": jax.nn.relu}[nonlinearity]

    def step(h, x_t):
        h = activate(x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3])
        return h, h

    h, output = jax.lax.scan(step, h0, x)
    return output, h


def test_numba_fused_tanh_is_off_by_six_ulp_at_most():
    """As docs/performance.md says; over the whole range in which float32's tanh is not 1."""
    pytest.importorskip("numba")
    from recurrences.elman import numba_fused

    a = np.linspace(-12, 12, 2_000_001, dtype=np.float32)
    true, found = np.tanh(a.astype(np.float64)), a.copy()
    numba_fused._activate(found.reshape(1, -1), True)
    assert np.abs(found - true).max() > 0
    ulp = np.abs(found - true) / np.spacing(np.abs(true).astype(np.float32))
    assert ulp.max() < 6
    assert np.abs(found).max() <= 1
    lost = np.full((1, 3), np.nan, np.float32)
    numba_fused._activate(lost, True)
    assert np.isnan(lost).all()


PAGES = {
    "elman": ("numpy_loop", "numba_fused", "torch_loop", "jax_scan", "jax_newton"),
    **dict.fromkeys(("gru", "lstm"), ("numpy_loop", "numba_fused", "torch_loop", "jax_scan")),
}


@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0), (0, 0)])
@pytest.mark.parametrize(("room", "page"), [(room, page) for room in PAGES for page in PAGES[room]])
def test_without_steps_the_states_stay_and_without_sequences_there_are_none(room, page, T, B):
    """As the recurrence says; the states' gradients go past no steps as they are."""
    library = {"jax": "jax.numpy", "torch": "torch"}.get(page.partition("_")[0], "numpy")
    ones = pytest.importorskip(library, reason=f"{library} is not installed").ones
    if page == "numba_fused":
        pytest.importorskip("numba", reason="numba is not installed")
    page = importlib.import_module(f"recurrences.{room}.{page}")
    gates, more = {"elman": (1, ("tanh",)), "gru": (3, ()), "lstm": (4, ())}[room]
    cell = tuple(ones(shape) for shape in ((gates * 4, 3), (gates * 4, 4), (gates * 4,)))
    prepared = page.prepare((*cell, cell[-1]), *more)
    states = [ones((B, 4)) for _ in range(2 if room == "lstm" else 1)]

    def last(*states):
        output, *states = page.layer(ones((T, B, 3)), *states, prepared, *more)
        assert output.shape == (T, B, 4)
        return states

    found = [np.asarray(state) for state in last(*states)]
    if page.framework == "torch":
        states = [state.requires_grad_() for state in states]
        sum(state.sum() for state in last(*states)).backward()
        found += [state.grad.numpy() for state in states]
    elif page.framework == "jax":
        _, pull = pytest.importorskip("jax").vjp(last, *states)
        found += map(np.asarray, pull(states))
    assert {one.shape for one in found} == {(B, 4)}
    if T == 0:
        assert all((one == 1).all() for one in found)
