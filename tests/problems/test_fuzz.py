"""Damaged files: 10,000 mutations, and never anything but one clear line."""

import io
import random
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import save

from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import weights
from rnnparity.problems.saved import read_saved

CONFIG = RNNConfig(input_size=3, hidden_size=4)
LSTM = RNNConfig(input_size=3, hidden_size=4, kind="lstm")


def _parameters(config=CONFIG):
    rng = np.random.default_rng(0)
    return {n: rng.normal(size=s).astype("f4") for n, s in parameter_shapes(config).items()}


def _safetensors(folder):
    return save(_parameters())


def _pt(folder):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    made = io.BytesIO()
    torch.save(torch.nn.RNN(3, 4).state_dict(), made)
    return made.getvalue()


def _onnx(folder, config=CONFIG):
    pytest.importorskip("onnx", reason="onnx is not installed")
    from rnnparity.problems.weights import onnx_writer

    onnx_writer.write(folder / "made.onnx", _parameters(config), config)
    return (folder / "made.onnx").read_bytes()


def _onnx_with_states(folder):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load_model_from_string(_onnx(folder, LSTM))
    (node,) = [node for node in model.graph.node if node.op_type == "LSTM"]
    for k, name in ((5, "h"), (6, "c")):
        node.input[k] = name
        state = onnx.numpy_helper.from_array(np.ones((1, 2, 4), "f4"), name)
        model.graph.initializer.append(state)
    return model.SerializeToString()


def _npy(folder):
    made = io.BytesIO()
    np.save(made, np.zeros((5, 2, 3), "f4"))
    return made.getvalue()


def _npz(folder):
    made = io.BytesIO()
    np.savez(made, x=np.zeros((5, 2, 3), "f4"), h0=np.ones(4))
    return made.getvalue()


def _csv(folder):
    return "\n".join(f"{k},-{k}.5,1e-{k}" for k in range(9)).encode()


def _mutated(content, rng):
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        kind, place = rng.random(), rng.randrange(len(data) or 1)
        if kind < 0.5 and data:
            data[place] = rng.randrange(256)
        elif kind < 0.7:
            del data[place:]
        elif kind < 0.85:
            data[place:place] = rng.randbytes(rng.choice((1, 4, 8)))
        else:
            del data[place : place + rng.choice((1, 4, 8))]
    return bytes(data)


def _refusal(read, path):
    try:
        found = read(path)
        if isinstance(found, dict):
            weights.infer_config(found)
    except UsageError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("suffix", "make", "count"),
    [
        (".safetensors", _safetensors, 4500),
        (".onnx", _onnx, 3000),
        (".onnx", _onnx_with_states, 1000),
        (".pt", _pt, 1000),
        (".npy", _npy, 1000),
        (".npz", _npz, 1000),
        (".csv", _csv, 1000),
    ],
)
def test_mutated_files_are_read_or_refused_in_one_line(tmp_path, suffix, make, count):
    content, rng = make(tmp_path), random.Random(0)
    of_arrays = suffix in (".npy", ".npz", ".csv")
    read = partial(read_saved, name="x") if of_arrays else weights.read
    path, refused = tmp_path / f"mutated{suffix}", 0
    for _ in range(count):
        path.write_bytes(_mutated(content, rng))
        line = _refusal(read, path)
        refused += line is not None
        assert line is None or "\n" not in line
    assert count > refused > count / 10  # some mutations hit the numbers, and stay readable


def test_a_header_of_two_gigabytes_is_refused(tmp_path):
    path = tmp_path / "huge.safetensors"
    path.write_bytes((2**31).to_bytes(8, "little") + b"{}" + bytes(100))
    with pytest.raises(UsageError, match="not a safetensors file"):
        weights.read(path)
