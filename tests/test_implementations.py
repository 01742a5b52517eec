"""What our implementations promise beyond the recurrence itself."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("T", "B", "H"),
    [(2, 1, 8), (6, 1, 8), (6, 3, 8), (3, 16, 512)],
    ids=["short", "vectors", "rows", "onednn"],
)
def test_torch_loop_returns_tensors_that_autograd_takes(T, B, H):
    """Its fast ways leave autograd's bookkeeping, but must not leave their results outside."""
    torch = pytest.importorskip("torch")
    from elman import torch_loop

    weight = torch.full((H, H), 1e-3)
    cell = (weight, weight.clone(), torch.zeros(H), torch.zeros(H))
    found = torch_loop.layer(torch.ones(T, B, H), torch.zeros(B, H), cell, "tanh")
    scale = torch.ones(1, requires_grad=True)
    for result in found:
        assert not result.is_inference()
        (result * scale).sum().backward()
    assert scale.grad.item() == pytest.approx(sum(result.sum().item() for result in found))


def test_torch_loop_tanh_by_expm1():
    torch = pytest.importorskip("torch")
    from elman import torch_loop

    a = torch.linspace(-60, 60, 600_001)
    true = torch.tanh(a.double())
    found = torch_loop._tanh_by_expm1(a.clone()).double()
    assert (found - true).abs().div(true.abs().clamp_min(1e-30)).max() < 6 * 2.0**-24
    assert found.abs().max() <= 1


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
