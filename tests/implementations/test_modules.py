"""Modules handed over: PyTorch's as they are, others with the line to write."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import evaluate, find_device

from rnnparity import UsageError, assert_parity
from rnnparity.problems import presets

torch = pytest.importorskip("torch", reason="torch is not installed")
from torch import nn  # noqa: E402  # after the skip

X = torch.linspace(-1, 1, 5 * 2 * 3).reshape(5, 2, 3)
OWN = """
import torch
from torch import nn


class MyRNN(nn.Module):
    def __init__(self, i, h):
        super().__init__()
        self.i2h = nn.Linear(i + h, h)

    def forward(self, x, h):
        output = []
        for x_t in x:
            h = torch.tanh(self.i2h(torch.cat((x_t, h), 1)))
            output.append(h)
        return torch.stack(output), h
"""
PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")


class Mine(nn.RNN):
    """Torch's names, with a forward pass of its own for one layer."""

    sign = 1

    def forward(self, x, h=None):
        p = dict(self.named_parameters())
        h = torch.zeros(x.shape[1], self.hidden_size) if h is None else h[0]
        output = []
        for x_t in x:
            a = x_t @ p["weight_ih_l0"].T + p["bias_ih_l0"] + p["bias_hh_l0"]
            h = torch.tanh(a + self.sign * (h @ p["weight_hh_l0"].T))
            output.append(h)
        return torch.stack(output), h[None]


class Negative(Mine):
    sign = -1


class Around(nn.Module):
    """A module around a layer, which is built with names of its own."""

    def __init__(self, kind, **options):
        super().__init__()
        self.inner = kind(3, 4, **options)

    def forward(self, x, states=None):
        return self.inner(x, states)


class Loop(nn.Module):
    """A loop over a cell of torch's."""

    def __init__(self, size=3):
        super().__init__()
        self.cell = nn.GRUCell(size, 4)

    def forward(self, x, h=None):
        h, output = None if h is None else h[0], []
        for x_t in x:
            h = self.cell(x_t, h)
            output.append(h)
        return torch.stack(output), h[None]


class Head(Around):
    def forward(self, x):
        return super().forward(x)[0].sum(2)


def of_cell(module):
    """Return a cell's parameters under a layer's names."""
    return {f"{n.rpartition('.')[2]}_l0": value for n, value in module.state_dict().items()}


@pytest.fixture(autouse=True)
def drawn():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.RNN(3, 4),
        lambda: nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
        lambda: nn.GRU(3, 4, num_layers=2, bidirectional=True),
        lambda: nn.LSTM(3, 4, bias=False),
        lambda: nn.RNN(3, 4, num_layers=2, dropout=0.5),
        lambda: nn.GRU(3, 4).double(),
        lambda: Mine(3, 4),
        lambda: Around(nn.LSTM),
        lambda: Around(nn.RNN, batch_first=True, nonlinearity="relu"),
        lambda: nn.DataParallel(nn.RNN(3, 4)),
    ],
)
def test_a_module_with_torchs_names_passes_as_it_is(make):
    module = make()
    assert_parity(module, module.state_dict(), X)
    assert_parity(module.forward, module, X.numpy())
    other = make()  # it is the weights that are given which count
    before = [value.detach().clone() for value in other.parameters()]
    assert_parity(other, module, X)
    assert all(map(torch.equal, before, other.parameters()))


def test_initial_states_and_lengths():
    for layer in (nn.RNN(3, 4), nn.GRU(3, 4)):
        assert_parity(layer, layer, X, h0=torch.ones(1, 2, 4), lengths=[5, 3])
    layer = nn.LSTM(3, 4)
    assert_parity(layer, layer, X, h0=torch.ones(1, 2, 4), c0=torch.ones(1, 2, 4))
    with pytest.raises(AssertionError, match="unsupported: Mine takes no lengths"):
        assert_parity(Mine(3, 4), nn.RNN(3, 4), X, lengths=[5, 3])


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell, nn.LSTMCell, Loop])
def test_cells_pass(cell):
    module = cell(3) if cell is Loop else cell(3, 4)
    assert_parity(module, of_cell(module), X)


def test_a_class_is_built():
    assert_parity(nn.RNN, nn.RNN(3, 4, num_layers=2), X)
    assert_parity(Mine, nn.RNN(3, 4), X)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Negative(3, 4), "fail: "),
        (Negative, "fail: "),
        (Around(nn.RNN, nonlinearity="relu"), "unsupported: Around has nonlinearity = 'relu'"),
        (nn.RNN(3, 5), r"weight_ih_l0 of shape \(5, 3\), the weights \(4, 3\)"),
        (Head(nn.RNN), r"Head returned no pair, expected \(output, h_n\): hand over"),
        (nn.GRU(3, 4), "unsupported: is of the kind gru"),
    ],
)
def test_a_wrong_module_does_not_pass(module, message):
    with pytest.raises(AssertionError, match=message):
        assert_parity(module, nn.RNN(3, 4), X)


def test_other_names_get_the_line_to_write():
    space = {"__name__": "own"}
    exec(OWN, space)  # the same text is a file in another test
    weighed = nn.utils.parametrizations.weight_norm(nn.RNN(3, 4), "weight_hh_l0")
    two = nn.ModuleList([nn.RNN(3, 4), nn.RNN(4, 4)])
    for module in (space["MyRNN"](3, 4), weighed, two):
        with pytest.raises(UsageError, match=r"functional_call\(module, \{") as raised:
            assert_parity(module, nn.RNN(3, 4), X)
        assert "\n" not in str(raised.value)
    assert "has 2 layers with names like torch.nn.RNN's (weight_ih_l0, ...)" in str(raised.value)


def test_modules_of_other_libraries_get_the_line_to_write():
    flax = pytest.importorskip("flax", reason="flax is not installed")
    from flax import linen, nnx

    assert flax
    of_linen = linen.RNN(linen.SimpleCell(4))
    of_nnx = nnx.RNN(nnx.SimpleCell(3, 4, rngs=nnx.Rngs(0)))
    for module, line in ((of_linen, r"module\.apply"), (of_nnx, r"nnx\.merge")):
        with pytest.raises(UsageError, match=f"a module of Flax.*return {line}"):
            assert_parity(module, nn.RNN(3, 4), X.numpy())


RECIPES = re.findall(r"```python\n([^`]*?framework[^`]*?)```", PAGE.split("## Modules")[1], re.S)[
    :2
]


@pytest.mark.parametrize("recipe", RECIPES, ids=("torch", "linen"))
def test_recipes_of_the_page_pass(tmp_path, recipe):
    if "flax" in recipe:
        pytest.importorskip("flax", reason="flax is not installed")
    (tmp_path / "my_model.py").write_text(OWN)
    path = tmp_path / "recipe.py"
    path.write_text(recipe)
    for case in [one for one in presets.features() if one.config.nonlinearity == "tanh"][:6]:
        judgement = evaluate(str(path), find_device(str(path), "cpu"), case)
        assert judgement.verdict == "pass", judgement.reason


def check(path, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "rnnparity", "check", path.name, *arguments],
        capture_output=True,
        text=True,
        cwd=path.parent,
    )


def test_a_file_with_a_module_is_checked(tmp_path):
    path, case = tmp_path / "mine.py", "float32-torch-init-T12-B4-I8-H16"
    for text, code, told in (
        ("from torch import nn\nmodel = nn.RNN(3, 4)\n", 0, "1/1 pass"),
        ("from torch import nn\nclass A(nn.RNN): ...\n", 0, "1/1 pass"),
        ("from torch import nn\nrnn = nn.RNN\nframework = 'torch'\n", 0, "1/1 pass"),
        (OWN, 1, "functional_call(module, {"),
    ):
        path.write_text(text)
        done = check(path, "--case", case)
        assert done.returncode == code, done.stdout + done.stderr
        assert told in done.stdout
    path.write_text("from torch import nn\nclass A(nn.GRU): ...\n")
    done = check(path, "--case", case.replace("T12", "gru-T12"))
    assert "1/1 pass" in done.stdout, done.stdout + done.stderr


def layer(x, h0, cell, nonlinearity):
    h, output = h0, []
    for x_t in x:
        h = np.tanh(x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3])
        output.append(h)
    return np.stack(output), h


def through_torch(x, h0, weights, config, lengths):
    module = nn.RNN(3, 4)
    module.load_state_dict({n: torch.from_numpy(w.copy()) for n, w in weights.items()})
    h0 = None if h0 is None else torch.from_numpy(h0)
    return tuple(part.detach().numpy() for part in module(torch.from_numpy(x), h0))


def annotated(x: torch.Tensor, h0, weights, config, lengths):
    return torch.func.functional_call(nn.RNN(3, 4), weights, (x,) if h0 is None else (x, h0))


def test_whose_arrays_a_function_takes_is_found():
    weights = nn.RNN(3, 4).state_dict()
    for function in (
        layer,
        through_torch,  # its code names torch, and it takes NumPy's arrays
        annotated,
        lambda x, h0, cell, nonlinearity: layer(x, h0, cell, nonlinearity),
        lambda x, h0, cell, nonlinearity, eps=0: layer(x, h0, cell, nonlinearity),
    ):
        assert_parity(function, weights, X.numpy())
    assert_parity(layer, weights)
    assert_parity(annotated, weights, X)


def test_of_jax_too():
    jax = pytest.importorskip("jax", reason="jax is not installed")

    def step(h, x_t, cell):
        h = jax.numpy.tanh(x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3])
        return h, h

    def of_jax(x, h0, cell, nonlinearity):
        h, output = jax.lax.scan(lambda h, x_t: step(h, x_t, cell), h0, x)
        return output, h

    weights = nn.RNN(3, 4).state_dict()
    assert_parity(of_jax, weights, X.numpy())
    assert_parity(jax.jit(of_jax, static_argnums=3), weights, X.numpy())


def test_what_was_assumed_is_told():
    def negative(x, h0, cell, nonlinearity):
        output, h = layer(x, h0, cell, nonlinearity)
        return -output, h

    message = r"numpy was assumed, since .*: else give framework="
    with pytest.raises(AssertionError, match=message):
        assert_parity(negative, nn.RNN(3, 4).state_dict(), X.numpy())
