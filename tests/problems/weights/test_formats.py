"""Files are told by what is in them; what is none is told what it is, and the way out."""

import argparse
import gzip
import pathlib
import pickle
import subprocess
import sys
import tarfile
from collections import OrderedDict

import numpy as np
import pytest
from safetensors.numpy import save_file

from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import weights
from rnnparity.problems.given import Weights
from rnnparity.problems.weights.formats import format_of

CONFIG = RNNConfig(input_size=3, hidden_size=4)
NAMES = ["model.ckpt", "pytorch_model.bin", "best.pth.tar", "weights", "w.safetensors", "x.onnx"]


def _state(prefix=""):
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(CONFIG).items()
    return {prefix + name: rng.normal(size=shape).astype("f4") for name, shape in shapes}


def _torch():
    return pytest.importorskip("torch", reason="torch is not installed")


def _torch_state(prefix=""):
    torch = _torch()
    return OrderedDict((name, torch.tensor(value)) for name, value in _state(prefix).items())


def _save_safetensors(path):
    save_file(_state("rnn."), path)


def _save_npz(path):
    with path.open("wb") as file:
        np.savez(file, **_state("rnn."))


def _save_compressed(path):
    with path.open("wb") as file:
        np.savez_compressed(file, **_state("rnn."))


def _save_torch(path):
    _torch().save(_torch_state("rnn."), path)


def _save_before_zip(path):
    _torch().save(_torch_state("rnn."), path, _use_new_zipfile_serialization=False)


def _save_lightning(path):
    state = _torch_state("model.rnn.")
    more = {"optimizer_states": [{"state": {0: {"exp_avg": state["model.rnn.weight_ih_l0"]}}}]}
    _torch().save({"state_dict": state, "epoch": 1, "hyper_parameters": {"lr": 1e-3}, **more}, path)


SAVED = {
    "safetensors": _save_safetensors,
    "npz": _save_npz,
    "npz-compressed": _save_compressed,
    "torch": _save_torch,
    "torch-before-zip": _save_before_zip,
    "torch-lightning": _save_lightning,
}


@pytest.mark.parametrize("saved", SAVED)
@pytest.mark.parametrize("name", NAMES)
def test_any_ending_will_do(tmp_path, name, saved):
    SAVED[saved](tmp_path / name)
    assert Weights(tmp_path / name).format == saved.partition("-")[0]
    found = weights.read(tmp_path / name)
    assert found.keys() == _state().keys()
    assert all(np.array_equal(found[key], value) for key, value in _state().items())


@pytest.mark.parametrize("name", ["model.onnx", "model", "model.bin"])
def test_onnx_is_told_by_its_content(tmp_path, name):
    pytest.importorskip("onnx", reason="onnx is not installed")
    from rnnparity.problems.weights import onnx_writer

    onnx_writer.write(tmp_path / name, _state(), CONFIG)
    assert format_of(tmp_path / name) == "onnx"
    assert weights.read(tmp_path / name).keys() == _state().keys()


def test_telling_what_a_file_is_loads_no_framework(tmp_path):
    """The run's own process must not import torch; a `.npz` file is read without it."""
    _save_npz(tmp_path / "w.ckpt")
    program = (
        "import sys; from rnnparity.problems import weights;"
        f"weights.read({str(tmp_path / 'w.ckpt')!r});"
        "assert not {'torch', 'jax', 'h5py', 'onnx'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


class _Net:
    """Stands for a module of somebody's own code."""


def _checkpoint(key, **more):
    return {key: _torch_state("rnn."), **more}


def _model():
    return _torch().nn.RNN(3, 4)


REFUSED = {
    "namespace": (
        lambda: _checkpoint("state_dict", args=argparse.Namespace(lr=1)),
        r"argparse\.Namespace beside its tensors.*False\)\['state_dict'\], 'weights.pt'",
    ),
    "numpy-scalar": (
        lambda: _checkpoint("model_state_dict", loss=np.float64(0.5)),
        r"scalar beside its tensors.*\['model_state_dict'\]",
    ),
    "numpy-array": (
        lambda: _checkpoint("net", mean=np.ones(3)),
        r"numpy\S+ beside its tensors.*\['net'\]",
    ),
    "path": (
        lambda: _checkpoint("model", at=pathlib.PurePosixPath("x")),
        r"PurePosixPath beside its tensors.*\['model'\]",
    ),
    "own": (lambda: _checkpoint("network", of=_Net()), r"test_formats\._Net beside its tensors"),
    "first": (
        lambda: {"args": argparse.Namespace(), "state_dict": _torch_state()},
        r"argparse\.Namespace.*\['state_dict'\], 'weights.pt'",
    ),
    "flat": (
        lambda: {**_torch_state(), "args": argparse.Namespace()},
        r"argparse\.Namespace.*weights_only=False\), 'weights.pt'",
    ),
    "whole": (
        _model,
        r"is a whole torch\.nn\.modules\.rnn\.RNN, .*weights_only=False\)\.state_dict\(\), ",
    ),
    "module-in-dictionary": (
        lambda: {"epoch": 1, "model": _model()},
        r"modules\.rnn\.RNN beside its tensors.*\['model'\]\.state_dict\(\), 'weights.pt'",
    ),
    "optimizer": (
        lambda: {"optim": _torch().optim.SGD(_model().parameters()), **_checkpoint("module")},
        r"SGD beside its tensors.*\['module'\], 'weights.pt'",
    ),
}


@pytest.mark.parametrize("before_zip", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_a_safe_load_refuses_is_named_with_the_line_that_helps(
    tmp_path, monkeypatch, case, before_zip
):
    """And the line works: what it saves is read."""
    torch = _torch()
    make, message = REFUSED[case]
    path = tmp_path / "a.ckpt"
    torch.save(make(), path, _use_new_zipfile_serialization=not before_zip)
    with pytest.raises(UsageError, match=message) as raised:
        weights.read(path)
    assert "\n" not in str(raised.value)
    line = str(raised.value).partition("if you trust the file: ")[2]
    monkeypatch.chdir(tmp_path)
    eval(line, {"torch": torch})
    if case != "flat":
        assert weights.read("weights.pt").keys() == _state().keys()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ["a.pt", "a.ckpt", "a"])
def test_torchscript_is_told_the_line_that_makes_a_state_dict(tmp_path, monkeypatch, name):
    torch = _torch()
    torch.jit.script(torch.nn.Sequential(_model())).save(tmp_path / name)
    with pytest.raises(
        UsageError, match=r"TorchScript.*torch\.jit\.load.*\.state_dict\(\)"
    ) as told:
        weights.read(tmp_path / name)
    line = str(told.value).partition("expected a state dict: ")[2].partition(", then that")[0]
    monkeypatch.chdir(tmp_path)
    eval(line, {"torch": torch})
    assert weights.read("weights.pt").keys() == _state().keys()


def _gzipped(path):
    with gzip.open(path, "wb") as file:
        file.write(b"weights")


def _tarred(path):
    _save_npz(path.with_suffix(".inner"))
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_suffix(".inner"))


def _objects(path):
    with path.open("wb") as file:
        np.savez(file, state=np.array([_state()], dtype=object))


def _array(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def _of_bytes(content):
    return lambda path: path.write_bytes(content)


OTHERS = {
    "gzip": (_gzipped, "gunzip it first"),
    "matlab": (_of_bytes(b"MATLAB 5.0 MAT-file, by"), "a MATLAB file: numpy.savez"),
    "tar": (_tarred, "unpack it"),
    "npy": (_array, "one array without a name"),
    "objects": (_objects, "Python objects, which are not loaded.*numpy.savez"),
    "lfs": (_of_bytes(b"version https://git-lfs.github.com/spec/v1\noid x"), "git lfs pull"),
    "page": (_of_bytes(b"<!DOCTYPE html><html></html>"), "page of the web"),
    "gguf": (_of_bytes(b"GGUF\x03\x00\x00\x00"), "GGUF file"),
    "empty": (_of_bytes(b""), "is empty: expected a weights file"),
    "text": (_of_bytes(b"weights"), "is no weights file: expected a weights file: safetensors"),
    "zip-cut-short": (_of_bytes(b"PK\x03\x04" + bytes(30)), "no weights file"),
    "hdf5-damaged": (_of_bytes(b"\x89HDF\r\n\x1a\n12"), "is not an HDF5 file|needs h5py"),
    "msgpack-damaged": (_of_bytes(b"\x81\xa3abc"), "is not a msgpack file|needs msgpack"),
    "safetensors-cut": (_of_bytes(b"\x40" + bytes(7) + b'{"a"'), "not a safetensors file"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_weights_file_is_told_what_it_is(tmp_path, case):
    make, message = OTHERS[case]
    make(tmp_path / "model.ckpt")
    with pytest.raises(UsageError, match=message) as raised:
        weights.read(tmp_path / "model.ckpt")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("held", ["list", "tensor", "text", "pickle"])
def test_what_torch_loads_but_is_no_state_dict(tmp_path, held):
    torch, path = _torch(), tmp_path / "a.bin"
    state = _torch_state()
    if held == "pickle":
        path.write_bytes(pickle.dumps(_state()))
    else:
        torch.save({"list": [state], "tensor": state["weight_ih_l0"], "text": "x"}[held], path)
    with pytest.raises(UsageError, match=r"expected a state dict|numpy\.savez") as raised:
        weights.read(path)
    assert "\n" not in str(raised.value)
