"""What our implementations promise beyond the recurrence itself."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("T", "B", "I", "H"),
    [(1, 2, 8, 8), (2, 1, 8, 8), (6, 1, 8, 8), (6, 3, 8, 8), (6, 16, 512, 512), (6, 16, 513, 512)],
    ids=["one step", "short", "vectors", "rows", "joined", "projected"],
)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_torch_loop_in_all_its_ways(T, B, I, H, nonlinearity):
    """Each is right in both directions, and its results can be used where autograd records."""
    torch = pytest.importorskip("torch")
    from elman import torch_loop

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
    from elman import torch_loop

    cell = torch.ones(3, 2), torch.ones(3, 3), torch.zeros(3), torch.zeros(3)
    x = torch.full((6, 1, 2), 0.1, requires_grad=True)
    output, _ = torch_loop.layer(x, torch.zeros(1, 3), torch_loop.prepare(cell, "tanh"), "tanh")
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        torch.autograd.grad(output.sum(), x, create_graph=True)


def test_numba_fused_tanh_is_off_by_six_ulp_at_most():
    """As docs/performance.md says; over the whole range in which float32's tanh is not 1."""
    pytest.importorskip("numba")
    from elman import numba_fused

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
