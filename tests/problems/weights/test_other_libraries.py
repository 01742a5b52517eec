"""What Keras and Flax keep gives, under torch's names, the very outputs of their own layers."""

import os

import numpy as np
import pytest

from rnnparity.errors import UsageError
from rnnparity.problems import weights

T, B, I, H = 6, 3, 4, 5


def _output(parameters, x):
    """Return the outputs of torch's layer on x `[B, T, I]`."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    config = weights.infer_config(parameters)
    module = getattr(torch.nn, config.kind.upper())(
        config.input_size, config.hidden_size, bias=config.bias, batch_first=True
    )
    module.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in parameters.items()})
    return module(torch.tensor(x))[0].detach().numpy()


def _x():
    return np.random.default_rng(0).normal(size=(B, T, I)).astype("f4")


def _same(source, true, prefix=None):
    np.testing.assert_allclose(_output(weights.read(source, prefix), _x()), true, atol=5e-6)


def _keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    pytest.importorskip("h5py", reason="h5py is not installed")
    return pytest.importorskip("keras", reason="keras is not installed")


def _keras_model(layer, **more):
    keras = _keras()
    made = getattr(keras.layers, layer)(H, return_sequences=True, bias_initializer="normal", **more)
    model = keras.Sequential([keras.Input((None, I)), made, keras.layers.Dense(2)])
    return model, made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("layer", "more"),
    [
        ("SimpleRNN", {}),
        ("SimpleRNN", {"use_bias": False}),
        ("LSTM", {}),
        ("LSTM", {"use_bias": False}),
        ("GRU", {}),
    ],
)
def test_keras_in_every_form(tmp_path, layer, more):
    model, made = _keras_model(layer, **more)
    true = np.asarray(made(_x()))
    model.save_weights(tmp_path / "a.weights.h5")
    model.save(tmp_path / "a.keras")
    model.save(tmp_path / "a.h5")
    np.savez(tmp_path / "a.npz", **{w.path: np.asarray(w) for w in model.weights})
    for name in ("a.weights.h5", "a.keras", "a.h5", "a.npz"):
        _same((tmp_path / name).rename(tmp_path / "weights"), true)
    _same({w.name: np.asarray(w) for w in made.weights}, true)
    _same({f"{layer}/cell/{w.name}:0": np.asarray(w) for w in made.weights}, true, layer)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reset_after": False}, "this has one bias: reset_after=False"),
        ({"use_bias": False}, "this does not tell it by bias"),
    ],
)
def test_a_gru_of_keras_that_torch_has_not_is_refused(tmp_path, more, message):
    model, _ = _keras_model("GRU", **more)
    model.save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(UsageError, match=f"reset_after=True, and {message}") as raised:
        weights.read(tmp_path / "a.weights.h5")
    assert "\n" not in str(raised.value)


def test_a_simple_rnn_s_one_bias_is_bias_ih():
    own = {
        "kernel": np.arange(I * H, dtype="f4").reshape(I, H),
        "recurrent_kernel": np.arange(H * H, dtype="f4").reshape(H, H),
        "bias": np.arange(H, dtype="f4"),
    }
    found = weights.read(own)
    assert np.array_equal(found["weight_ih_l0"], own["kernel"].T)
    assert np.array_equal(found["weight_hh_l0"], own["recurrent_kernel"].T)
    assert np.array_equal(found["bias_ih_l0"], own["bias"])
    assert not found["bias_hh_l0"].any()
    for wrong in ({"bias": np.ones(2 * H, "f4")}, {"kernel": np.ones((I, H + 1), "f4")}):
        with pytest.raises(UsageError, match="expected Keras' kernel"):
            weights.read(own | wrong)


@pytest.mark.parametrize("layer", ["SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell"])
def test_flax_linen_in_every_form(tmp_path, layer):
    flax = pytest.importorskip("flax", reason="flax is not installed")
    import jax
    from flax import linen, serialization, traverse_util
    from safetensors.numpy import save_file

    module = linen.RNN(getattr(linen, layer)(H))
    given = module.init(jax.random.key(0), _x())
    given = jax.tree.map(lambda a: a + 0.1, given)  # biases begin at zero
    true = np.asarray(module.apply(given, _x()))
    (tmp_path / "model").write_bytes(serialization.to_bytes(given))
    flat = {k: np.asarray(v) for k, v in traverse_util.flatten_dict(given, sep=".").items()}
    save_file(flat, tmp_path / "flat.safetensors")
    slashed = {name.replace(".", "/"): value for name, value in flat.items()}
    forms = (
        given,
        tmp_path / "model",
        tmp_path / "flat.safetensors",
        slashed,
        traverse_util.flatten_dict(given),
        flax.core.freeze(given),
        {"params": given, "opt_state": {"0": {"mu": jax.tree.map(lambda a: a * 0, given)}}},
    )
    for form in forms:
        _same(form, true)


@pytest.mark.parametrize("layer", ["SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell"])
def test_flax_nnx(layer):
    pytest.importorskip("flax", reason="flax is not installed")
    from flax import nnx

    module = nnx.RNN(getattr(nnx, layer)(I, H, rngs=nnx.Rngs(0)))
    true = np.asarray(module(_x()))
    state = nnx.state(module)
    for form in (nnx.to_pure_dict(state), state):
        _same(form, true)


def test_gates_that_are_not_all_there_are_not_read():
    gates = {f"{part}{gate}.kernel": np.ones((H, H), "f4") for part in "ih" for gate in "fn"}
    with pytest.raises(UsageError, match="are not guessed"):  # Flax's MGUCell
        weights.read(gates)
