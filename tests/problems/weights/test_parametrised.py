"""Parametrised weights: what the module computes with is computed; the rest is named."""

import numpy as np
import pytest

from rnnparity.errors import UsageError
from rnnparity.problems import weights

torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn
new, old = nn.utils.parametrizations, nn.utils
HH = "weight_hh_l0"
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # the old ones are deprecated


def _pruned(module):
    from torch.nn.utils import prune

    return prune.l1_unstructured(module, HH, 0.5)


KNOWN = {
    "new": lambda m: new.weight_norm(m, HH),
    "new-ih": lambda m: new.weight_norm(m, "weight_ih_l0"),
    "new-bias": lambda m: new.weight_norm(m, "bias_ih_l0"),
    "new-both": lambda m: new.weight_norm(new.weight_norm(m, HH), "weight_ih_l0"),
    "new-dim-1": lambda m: new.weight_norm(m, HH, dim=1),
    "new-whole": lambda m: new.weight_norm(m, HH, dim=None),
    "old": lambda m: old.weight_norm(m, HH),
    "old-dim-1": lambda m: old.weight_norm(m, HH, dim=1),
    "old-whole": lambda m: old.weight_norm(m, HH, dim=None),
    "old-two-layers": lambda m: old.weight_norm(old.weight_norm(m, HH), "weight_hh_l1"),
    "spectral": lambda m: new.spectral_norm(m, HH),
    "spectral-old": lambda m: old.spectral_norm(m, HH),
    "pruned": _pruned,
}


def _trained(make, kind):
    """Return a module whose weights are no longer those that it was parametrised with."""
    torch.manual_seed(0)
    module = make(getattr(nn, kind)(4, 5, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1 + torch.rand_like(parameter))
    module.train()(torch.ones(3, 2, 4))  # a spectral norm's vectors follow while training
    return module


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("name", KNOWN)
def test_it_is_the_module_s_own_weight(name, kind, tmp_path):
    module = _trained(KNOWN[name], kind)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    torch.save({"state_dict": before, "epoch": 3}, tmp_path / "a.ckpt")
    inner = nn.ModuleDict({"rnn": module})
    found = [weights.read(one) for one in (module, before, tmp_path / "a.ckpt", inner)]
    # Read while it was training, it is as it was: a spectral norm changes with every look.
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert module.training
    module.eval()(torch.ones(3, 2, 4))
    for one in found:
        assert weights.infer_config(one).num_layers == 2
        for key, value in one.items():
            true = getattr(module, key).detach().numpy()
            assert value.dtype == true.dtype
            np.testing.assert_allclose(value, true, rtol=5e-7, atol=1e-7)


class _Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T


UNKNOWN = {
    "orthogonal": lambda m: new.orthogonal(m, HH),
    "householder": lambda m: new.orthogonal(m, HH, "householder"),
    "own": lambda m: nn.utils.parametrize.register_parametrization(m, HH, _Symmetric()),
    "own-after-orthogonal": lambda m: nn.utils.parametrize.register_parametrization(
        new.orthogonal(m, HH), HH, _Symmetric()
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_formula_is_named_in_a_file_and_read_from_a_module(name):
    module = UNKNOWN[name](nn.RNN(4, 5))
    with pytest.raises(UsageError, match=f"remove_parametrizations.module, '{HH}'") as raised:
        weights.read(module.state_dict())
    assert "\n" not in str(raised.value)
    assert np.array_equal(weights.read(module)[HH], getattr(module, HH).detach().numpy())
    # Another layer beside it is read all the same.
    state = {f"a.{key}": value for key, value in module.state_dict().items()}
    state |= {f"b.{key}": value for key, value in nn.RNN(4, 5).state_dict().items()}
    assert weights.read(state, "b")[HH].shape == (5, 5)


def test_weights_dropped_while_training_all_count():
    state = nn.LSTM(4, 5).state_dict()
    state[f"{HH}_raw"] = state.pop(HH)
    assert np.array_equal(weights.read(state)[HH], state[f"{HH}_raw"].numpy())


def test_parts_that_do_not_fit_are_one_line():
    state = nn.RNN(4, 5).state_dict()
    v = state.pop(HH)
    for parts in ({"_g": v[:, :1]}, {"_g": v[:, 0], "_v": v}, {"_orig": v, "_u": v[0]}):
        with pytest.raises(UsageError) as raised:
            weights.read(state | {HH + key: value for key, value in parts.items()})
        assert "\n" not in str(raised.value)
