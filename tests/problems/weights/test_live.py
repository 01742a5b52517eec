"""Live modules: whatever wraps a layer, its own configuration counts."""

import copy
import functools

import numpy as np
import pytest

from rnnparity.errors import UsageError
from rnnparity.problems import weights

torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn
compiled = functools.partial(torch.compile, backend="eager")  # imports no compiler
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of itself


def _relu(kind="RNN"):
    more = {"nonlinearity": "relu"} if kind == "RNN" else {}
    return getattr(nn, kind)(4, 5, batch_first=True, **more)


class _HandsOn(nn.Module):
    """Has every attribute of what it wraps, as `torch.compile`'s wrapper has."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


class _Object:
    """No module, but one is an attribute of it; as trainers and agents are."""

    def __init__(self, inner):
        self.inner = inner
        self.step = 3


class _Proxy(_Object):
    def __getattr__(self, name):
        return getattr(self.__dict__["inner"], name)


class _Twice(nn.Module):
    """One module under two names."""

    def __init__(self, inner):
        super().__init__()
        self.first = self.second = inner


class _OwnForward(nn.RNN):
    def forward(self, *given):
        return super().forward(*given)


WRAPPERS = {
    "none": lambda m: m,
    "compiled": compiled,
    "data-parallel": nn.DataParallel,
    "hands-on": _HandsOn,
    "compiled-hands-on": lambda m: compiled(_HandsOn(m)),
    "hands-on-compiled": lambda m: _HandsOn(compiled(m)),
    "sequential": lambda m: nn.Sequential(nn.Linear(4, 4), m),
    "compiled-inside": lambda m: nn.Sequential(compiled(m), nn.Linear(5, 2)),
    "dict": lambda m: nn.ModuleDict({"rnn": m, "head": nn.Linear(5, 2)}),
    "object": _Object,
    "proxy": _Proxy,
    "two-names": _Twice,
    "deep": lambda m: compiled(nn.DataParallel(nn.Sequential(_HandsOn(_Twice(m))))),
}


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_layer_keeps_its_configuration(wrapper, kind):
    """With tanh or time-major taken in its place, parity would be with another layer."""
    module = _relu(kind)
    wrapped = WRAPPERS[wrapper](module)
    found = weights.read(wrapped)
    config = weights.config_of(wrapped, found)
    assert config.kind == kind.lower()
    assert config.nonlinearity == ("relu" if kind == "RNN" else "tanh")
    assert config.batch_first
    assert np.array_equal(found["weight_hh_l0"], module.weight_hh_l0.detach().numpy())


@pytest.mark.filterwarnings("ignore")  # tracing's own
def test_a_scripted_layer_tells_and_a_traced_one_is_refused():
    scripted = torch.jit.script(nn.Sequential(_relu()))
    config = weights.config_of(scripted, weights.read(scripted))
    assert (config.nonlinearity, config.batch_first) == ("relu", True)
    traced = torch.jit.trace(_relu().eval(), torch.ones(2, 3, 4))
    with pytest.raises(UsageError, match="a traced RNN does not tell its nonlinearity") as raised:
        weights.config_of(traced, weights.read(traced))
    assert "\n" not in str(raised.value)


def test_a_subclass_and_a_module_by_hand_say_what_they_are():
    module = _OwnForward(4, 5, nonlinearity="relu", batch_first=True)
    assert weights.config_of(module, weights.read(module)).nonlinearity == "relu"

    class ByHand(nn.Module):
        def __init__(self, nonlinearity):
            super().__init__()
            for name, value in nn.RNN(4, 5).named_parameters():
                self.register_parameter(name, value)
            self.nonlinearity, self.batch_first = nonlinearity, True

    module = ByHand("relu")
    config = weights.config_of(module, weights.read(module), nonlinearity="tanh")
    assert (config.nonlinearity, config.batch_first) == ("relu", True)
    module = ByHand("gelu")
    with pytest.raises(UsageError, match="nonlinearity is 'gelu', expected tanh or relu"):
        weights.config_of(module, weights.read(module))


def test_layers_of_equal_numbers_are_one_only_if_they_are_one_module():
    model = nn.ModuleDict({"a": _relu(), "b": nn.RNN(4, 5)})
    model["b"].load_state_dict(model["a"].state_dict())
    with pytest.raises(UsageError, match="give prefix=, one of a, b"):
        weights.read(model)
    for prefix, nonlinearity in (("a", "relu"), ("b", "tanh")):
        found = weights.read(model, prefix)
        assert weights.config_of(model, found, prefix).nonlinearity == nonlinearity
    twice = _Twice(_relu())
    for prefix in (None, "first", "second"):
        assert weights.config_of(twice, weights.read(twice, prefix), prefix).batch_first
    assert weights.read(model.state_dict()).keys() == weights.read(twice).keys()


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_is_one_layer(kind, bias):
    more = {"nonlinearity": "relu"} if kind == "RNN" else {}
    cell = getattr(nn, kind + "Cell")(4, 5, bias=bias, **more)
    for source in (cell, compiled(cell), nn.ModuleDict({"cell": cell})):
        found = weights.read(source)
        config = weights.config_of(source, found, batch_first=True)
        assert (config.kind, config.bias, config.batch_first) == (kind.lower(), bias, True)
        assert config.nonlinearity == ("relu" if more else "tanh")
        for name in ("weight_ih", "weight_hh"):
            assert np.array_equal(found[f"{name}_l0"], getattr(cell, name).detach().numpy())
    state = cell.state_dict()
    assert weights.infer_config(weights.read(state)) == weights.infer_config(weights.read(cell))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNNCell"])
def test_quantised_layers_are_named(tmp_path, layer):
    model = nn.Sequential(getattr(nn, layer)(4, 5))
    try:
        quantised = torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(model), {getattr(nn, layer)}, dtype=torch.qint8
        )
    except (AttributeError, RuntimeError) as error:
        pytest.skip(f"no quantised engine here: {error}")
    torch.save(quantised, tmp_path / "model.pt")  # no line that loads these makes a state dict
    torch.save({"state_dict": quantised.state_dict()}, tmp_path / "state.pt")
    files = (tmp_path / "model.pt", tmp_path / "state.pt")
    for source in (quantised, quantised.state_dict(), *files):
        with pytest.raises(UsageError, match=r"quantised layers.*give the model before") as raised:
            weights.read(source)
        assert "\n" not in str(raised.value)


def test_the_meta_device_is_named():
    with pytest.raises(UsageError, match="on the meta device"):
        weights.read(nn.Sequential(nn.LSTM(4, 5, device="meta")))
