"""ONNX models whose steps an exporter wrote out: read by torch's names, or told as that."""

import numpy as np
import pytest

import rnnparity
from rnnparity.cells.config import RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.problems import weights
from rnnparity.problems.given import Weights, keep
from rnnparity.problems.weights import onnx_reader

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

B, I, H = 2, 4, 5
UNROLLED = r"a\.onnx was unrolled by torch\.onnx\.export\(dynamo=True\), the default since"
WAY_OUT = UNROLLED + r" torch 2\.9: export with dynamo=False, or give the state dict$"


def _parameters(**config):
    shapes = parameter_shapes(RNNConfig(input_size=I, hidden_size=H, **config))
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}


class Unroller:
    """Writes steps as torch's exporter does: weights turned and without names, biases named."""

    def __init__(self, T=3, gemm=False, keeps_weights=False):
        self.T, self.gemm, self.keeps_weights = T, gemm, keeps_weights
        self.nodes, self.stored, self.count = [], {}, 0

    def add(self, op, *inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(op, inputs, [f"v{self.count}"], **attributes))
        return f"v{self.count}"

    def store(self, value, name=None):
        name = name or f"val_{len(self.stored)}"
        self.stored[name] = value
        return name

    def linear(self, x, parameters, home, part):
        weight, bias = parameters[f"weight_{part}"], parameters.get(f"bias_{part}")
        if self.keeps_weights:
            turned = self.add("Transpose", self.store(weight, f"{home}weight_{part}"), perm=[1, 0])
        else:
            turned = self.store(np.ascontiguousarray(weight.T), f"{home}turned_{part}")
        if bias is None:
            return self.add("MatMul", x, turned)
        bias = self.store(bias, f"{home}bias_{part}")
        if self.gemm:
            as_it_is = self.store(weight, f"{home}gemm_{part}")
            return self.add("Gemm", x, as_it_is, bias, transB=1)
        return self.add("Add", self.add("MatMul", x, turned), bias)

    def rnn(self, x, parameters, home="", nonlinearity="Tanh"):
        for layer in range(sum(name.startswith("weight_ih") for name in parameters)):
            sums, states, h = self.linear(x, parameters, home, f"ih_l{layer}"), [], None
            for t in range(self.T):
                step = self.add("Gather", sums, self.store(np.array(t), f"step{t}"), axis=0)
                # the first step's product with zeros is computed by the exporter
                bias = parameters.get(f"bias_hh_l{layer}", np.zeros(H, "f4"))
                product = (
                    self.store(np.tile(bias, (B, 1)))
                    if h is None
                    else self.linear(h, parameters, home, f"hh_l{layer}")
                )
                h = self.add(nonlinearity, self.add("Add", product, step))
                states.append(self.add("Unsqueeze", h, self.store(np.array([0]), "zero")))
            x = self.add("Concat", *states, axis=0)
        return x

    def write(self, path, output, producer="pytorch"):
        value = helper.make_tensor_value_info
        used = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes,
            "g",
            [value("x", 1, [None, None, I])],
            [value(output, 1, None)],
            [numpy_helper.from_array(v, n) for n, v in self.stored.items() if n in used],
        )
        opsets = [helper.make_opsetid("", 20)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name=producer)
        path.write_bytes(model.SerializeToString())
        return path


def _is(found, parameters):
    return found.keys() == parameters.keys() and all(
        np.array_equal(found[name], value) for name, value in parameters.items()
    )


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("home", ["", "rnn.", "encoder.rnn."])
@pytest.mark.parametrize("way", [{}, {"gemm": True}, {"keeps_weights": True}, {"T": 2}], ids=str)
def test_weights_are_taken_by_name_and_that_is_told(
    tmp_path, way, home, layers, batch_first, nonlinearity
):
    parameters = _parameters(num_layers=layers)
    made = Unroller(**way)
    x = made.add("Transpose", "x", perm=[1, 0, 2]) if batch_first else "x"
    output = made.rnn(x, parameters, home, nonlinearity.title())
    path = made.write(tmp_path / "a.onnx", made.add("Sigmoid", output))
    kept = keep(Weights(path), tmp_path)
    assert _is(weights.read(path), parameters)
    assert (kept.config.nonlinearity, kept.config.batch_first) == (nonlinearity, batch_first)
    assert kept.note.isprintable()
    assert kept.note.endswith("the weights are taken by torch's names in it")
    with pytest.raises(UsageError, match="nonlinearity is given as"):
        keep(Weights(path, nonlinearity="relu" if nonlinearity == "tanh" else "tanh"), tmp_path)


def test_several_are_asked_for_by_name(tmp_path):
    first, second = _parameters(), _parameters(num_layers=1, bias=True)
    second = {
        name: 2 * value[:, :H] if value.ndim == 2 else value for name, value in second.items()
    }
    second["weight_ih_l0"] = np.ones((H, H), "f4")
    made = Unroller()
    path = made.write(tmp_path / "a.onnx", made.rnn(made.rnn("x", first, "enc."), second, "dec."))
    with pytest.raises(UsageError, match=r"holds several RNNs: give prefix=, one of enc, dec$"):
        weights.read(path)
    assert _is(weights.read(path, "enc"), first)
    assert _is(weights.read(path, "/dec/"), second)
    with pytest.raises(UsageError, match="no RNN under the prefix 'a': there is enc, dec"):
        weights.read(path, "a")
    with pytest.raises(UsageError, match="has no LSTM: give cell=, one of rnn"):
        weights.read(path, "enc", "lstm")


def _nameless(path):
    made = Unroller()
    return made.write(path, made.rnn("x", _parameters(bias=False)))


def _one_step(path):
    made = Unroller(T=1)
    return made.write(path, made.rnn("x", _parameters()))


def _noted(path):
    """One step without a name, but the exporter says where it is from."""
    made = Unroller(T=1)
    made.write(path, made.rnn("x", _parameters(bias=False)))
    model = onnx.load(path)
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = "class_hierarchy", "['Net', 'torch.nn.modules.rnn.RNN', 'aten.linear']"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("write", [_nameless, _one_step, _noted])
def test_where_weights_are_not_there_whole_the_way_out_is_told(tmp_path, write):
    with pytest.raises(UsageError, match=WAY_OUT):
        onnx_reader.read(write(tmp_path / "a.onnx"))


def test_what_is_no_recurrence_is_not_called_unrolled(tmp_path):
    """Layers with nonlinearities; one that is used on two inputs; steps of another's exporter."""
    made = Unroller()
    weight = made.store(np.ones((I, I), "f4"))
    one, two = (made.add("Tanh", made.add("MatMul", "x", weight)) for _ in range(2))
    last = made.add("MatMul", made.add("Add", one, two), made.store(np.ones((I, 3), "f4")))
    with pytest.raises(UsageError, match=r"a\.onnx has no RNN, GRU or LSTM node, but Add, MatMul"):
        weights.read(made.write(tmp_path / "a.onnx", last))
    made = Unroller()
    path = made.write(tmp_path / "a.onnx", made.rnn("x", _parameters(bias=False)), "tf2onnx")
    with pytest.raises(UsageError, match=r"a\.onnx has no RNN, GRU or LSTM node"):
        weights.read(path)


def test_a_run_says_it(tmp_path):
    made = Unroller()
    path = made.write(tmp_path / "a.onnx", made.rnn("x", _parameters()))
    run = rnnparity.check("numpy-loop", weights=path, device="cpu", out=tmp_path / "run")
    assert run.passed
    (line,) = run.environment["assumed"][1:]
    assert line.startswith(f"{path} was unrolled by torch.onnx.export(dynamo=True)")
