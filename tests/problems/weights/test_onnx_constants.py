"""Values in ONNX models that are made of stored ones, and where nodes and values may stand."""

import numpy as np
import pytest

from rnnparity.errors import UsageError
from rnnparity.problems import weights
from rnnparity.problems.weights import onnx_reader

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64

I, H = 4, 5
RNG = np.random.default_rng(0)
W, R, B = (RNG.normal(size=shape).astype("f4") for shape in ((1, H, I), (1, H, H), (1, 2 * H)))


def _node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


def _model(path, nodes=(), stored=None, opset=17, functions=(), x="x", domains=()):
    """Write an RNN that reads W, R and B, which are stored where no node makes them."""
    made = {output for node in nodes for output in node.output}
    stored = {n: v for n, v in (("W", W), ("R", R), ("B", B)) if n not in made} | (stored or {})
    value = helper.make_tensor_value_info
    has_rnn = any("y" in node.output for node in nodes)
    rnn = helper.make_node("RNN", [x, "W", "R", "B"], ["y", "h"], hidden_size=H, name="rnn")
    graph = helper.make_graph(
        [*nodes, *([] if has_rnn else [rnn])],
        "g",
        [value("x", FLOAT, [None, None, I])],
        [value("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )
    opsets = [helper.make_opsetid(domain, 1) for domain in domains]
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), *opsets], functions=functions
    )
    path.write_bytes(model.SerializeToString())
    return path


def _ints(*values):
    return np.array(values, "i8")


SCALE, ZERO = np.float32(0.02), np.int8(3)
EIGHT_BITS = np.round(np.clip(R / SCALE, -100, 100)).astype("i1")
# What makes R or B, of what; where they are stored as they are, these are what is read.
MADE = {
    "identity": ([_node("Identity", ["r"], "R")], {"r": R}, 17),
    "identities": (
        [_node("Identity", ["r"], "r1"), _node("Identity", ["r1"], "R")],
        {"r": R},
        17,
    ),
    "concat": ([_node("Concat", ["b1", "b2"], "B", axis=1)], {"b1": B[:, :H], "b2": B[:, H:]}, 17),
    "unsqueeze": ([_node("Unsqueeze", ["r", "n"], "R")], {"r": R[0], "n": _ints(0)}, 17),
    "unsqueeze of old": ([_node("Unsqueeze", ["r"], "R", axes=[0])], {"r": R[0]}, 7),
    "squeeze of old": ([_node("Squeeze", ["r"], "R", axes=[0])], {"r": R[None]}, 11),
    "transpose": ([_node("Transpose", ["r"], "R", perm=[0, 2, 1])], {"r": R.swapaxes(1, 2)}, 13),
    "reshape": ([_node("Reshape", ["r", "s"], "R")], {"r": R.ravel(), "s": _ints(1, H, -1)}, 22),
    "slice": (
        [_node("Slice", ["r", "a", "b", "n"], "R")],
        {"r": np.concatenate([R, R + 1]), "a": _ints(0), "b": _ints(1), "n": _ints(0)},
        13,
    ),
    "slice of old": (
        [_node("Slice", ["r"], "R", axes=[0], starts=[1], ends=[2])],
        {"r": np.concatenate([R + 1, R])},
        9,
    ),
    "split": (
        [helper.make_node("Split", ["r", "s"], ["", "R"], axis=0)],
        {"r": np.concatenate([R + 1, R]), "s": _ints(1, 1)},
        18,
    ),
    "gather": (
        [_node("Gather", ["r", "k"], "R")],
        {"r": np.stack([R + 1, R]), "k": _ints(1)[0]},
        17,
    ),
    "cast": (
        [_node("Cast", ["r"], "R", to=FLOAT)],
        {"r": R.astype("f2")},
        17,
    ),
    "constant": ([_node("Constant", [], "R", value=numpy_helper.from_array(R))], {}, 17),
    "constants": (
        [
            _node("Constant", [], "r", value_floats=R.ravel().tolist()),
            _node("Constant", [], "s", value_ints=[1, H, H]),
            _node("Reshape", ["r", "s"], "R"),
        ],
        {},
        17,
    ),
    "zeros": ([_node("ConstantOfShape", ["s"], "B")], {"s": _ints(1, 2 * H)}, 17),
    "arithmetic": (
        [_node("Mul", ["r", "s"], "m"), _node("Add", ["m", "s"], "R")],
        {"r": R, "s": np.float32(2)},
        17,
    ),
    "low rank": ([_node("MatMul", ["a", "b"], "R")], {"a": R[:, :, :2], "b": R[:, :2]}, 17),
    "expand": ([_node("Expand", ["b", "s"], "B")], {"b": B[:, :1], "s": _ints(1, 2 * H)}, 17),
    "eight bits": (
        [_node("DequantizeLinear", ["r", "s", "z"], "R")],
        {"r": EIGHT_BITS, "s": SCALE, "z": ZERO},
        17,
    ),
}
BY_NUMPY = {
    "cast": R.astype("f2").astype("f4"),
    "zeros": np.zeros((1, 2 * H)),
    "arithmetic": 2 * R + 2,
    "low rank": R[:, :, :2] @ R[:, :2],
    "expand": np.repeat(B[:, :1], 2 * H, 1),
    "eight bits": (EIGHT_BITS.astype("f4") - ZERO) * SCALE,
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_constants_is_a_constant(tmp_path, name):
    nodes, stored, opset = MADE[name]
    path = _model(tmp_path / "a.onnx", nodes, stored, opset)
    what = "B" if "B" in nodes[-1].output else "R"
    expected = BY_NUMPY.get(name, {"R": R, "B": B}[what])
    found = weights.read(path)
    if what == "R":
        np.testing.assert_allclose(found["weight_hh_l0"], expected[0], rtol=1e-6)
    else:
        read = np.concatenate([found["bias_ih_l0"], found["bias_hh_l0"]])
        np.testing.assert_allclose(read, expected[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([_node("Identity", ["x"], "R")], "R are not stored in the file: x is handed in"),
        ([_node("Identity", ["nowhere"], "R")], "R are not stored in the file$"),
        ([_node("RandomNormal", [], "R", shape=[1, H, H])], "but made by RandomNormal"),
        ([_node("Magic", ["W"], "R", domain="com.example")], "but made by Magic, which is not"),
        ([_node("Reshape", ["W", "s"], "R")], r"R cannot be computed by Reshape: \w+$"),
        ([_node("Concat", ["W", "s"], "R", axis=0)], "R cannot be computed by Concat"),
        ([_node("Identity", ["R"], "R")], "R are not stored in the file"),
    ],
)
def test_what_is_none_is_refused_in_one_line(tmp_path, nodes, message):
    path = _model(tmp_path / "a.onnx", nodes, {"s": _ints(7, 11)})
    with pytest.raises(UsageError, match=message) as told:
        weights.read(path)
    assert str(told.value).isprintable()


DOUBLED = [_node("Concat", [f"r{k}", f"r{k}"], f"r{k + 1}", axis=0) for k in range(60)]
BOMBS = {
    "shape": [_node("ConstantOfShape", ["huge"], "R")],
    "expand": [_node("Expand", ["W", "huge"], "R")],
    "tile": [_node("Tile", ["W", "huge"], "R")],
    "doubled": [*DOUBLED, _node("Identity", ["r60"], "R")],
    "product": [_node("Mul", ["column", "row"], "R")],
    "range": [_node("Range", ["zero", "end", "step"], "R")],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_makes_much_is_refused(tmp_path, name):
    stored = {
        "huge": _ints(2**20, 2**20, 2**20),
        "r0": R,
        "column": np.ones((30000, 1), "f4"),
        "row": np.ones((1, 30000), "f4"),
        "zero": np.float32(0),
        "end": np.float32(1e15),
        "step": np.float32(1),
    }
    if name == "expand":
        stored["W"] = np.ones((1, 1, 1), "f4")
    with pytest.raises(UsageError, match="made of constants, and too large"):
        weights.read(_model(tmp_path / "a.onnx", BOMBS[name], stored))


def _in_a_body(op, branches, names=("y", "h")):
    """Return a node that has an RNN in a body; the weights stand outside."""
    value = helper.make_tensor_value_info
    bodies = {
        key: helper.make_graph(
            [
                _node("Identity", ["R" if scale == 1 else "R2"], "r"),
                helper.make_node("RNN", ["x", "W", "r", "B"], [*names], hidden_size=H, name=key),
            ],
            key,
            [],
            [value(names[0], FLOAT, None)],
        )
        for key, scale in branches.items()
    }
    return helper.make_node(op, ["which"], ["out"], **bodies)


def test_a_body_sees_the_values_around_it(tmp_path):
    """And two bodies may have the same names in them: each has its own."""
    stored = {"which": np.array(True), "W": W, "R": R, "B": B, "R2": 2 * R}
    alike = _in_a_body("If", {"then_branch": 1, "else_branch": 1})
    nodes = [alike, _node("Identity", ["out"], "y")]
    path = _model(tmp_path / "a.onnx", nodes, stored)
    assert np.array_equal(weights.read(path)["weight_hh_l0"], R[0])
    nodes[0] = _in_a_body("If", {"then_branch": 1, "else_branch": 2})
    path = _model(tmp_path / "b.onnx", nodes, stored)
    with pytest.raises(UsageError, match=r"give prefix=, one of .*then_branch"):
        weights.read(path)
    assert np.array_equal(weights.read(path, "then_branch")["weight_hh_l0"], R[0])
    assert np.array_equal(weights.read(path, "else_branch")["weight_hh_l0"], 2 * R[0])


def test_a_local_function_is_put_in_place(tmp_path):
    function = helper.make_function(
        "here",
        "Network",
        ["x", "W", "R", "B"],
        ["y"],
        [helper.make_node("RNN", ["x", "W", "R", "B"], ["y", "h"], hidden_size=H)],
        [helper.make_opsetid("", 17)],
    )
    nodes = [_node("Network", ["x", "W", "R", "B"], "y", domain="here")]
    path = _model(tmp_path / "a.onnx", nodes, functions=[function], domains=["here"])
    assert np.array_equal(weights.read(path)["weight_hh_l0"], R[0])


def test_functions_that_multiply_are_refused(tmp_path):
    functions = [
        helper.make_function(
            "here",
            f"F{k}",
            ["x"],
            ["y"],
            [_node(f"F{k + 1}", ["x"], f"{n}", domain="here") for n in ("y", "z")],
            [helper.make_opsetid("here", 1)],
        )
        for k in range(40)
    ]
    nodes = [_node("F0", ["x"], "y", domain="here")]
    path = _model(tmp_path / "a.onnx", nodes, functions=functions, domains=["here"])
    with pytest.raises(UsageError, match="nodes in its functions"):
        weights.read(path)


def test_only_what_is_needed_is_loaded(tmp_path):
    """Of a large model, whose other weights may lie elsewhere."""
    path = _model(tmp_path / "a.onnx", stored={"embedding": np.ones((3, 2), "f4")})
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "embedding":
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="not_here.bin")
    path.write_bytes(model.SerializeToString())
    assert np.array_equal(weights.read(path)["weight_hh_l0"], R[0])


@pytest.mark.parametrize(
    ("before", "batch_first", "is_told"),
    [
        ([], False, True),
        ([_node("Transpose", ["x"], "in", perm=[1, 0, 2])], True, True),
        (
            [_node("Cast", ["x"], "c", to=FLOAT), _node("Transpose", ["c"], "in", perm=[1, 0, 2])],
            True,
            True,
        ),
        ([_node("Transpose", ["x"], "in", perm=[2, 0, 1])], False, False),
        ([_node("Relu", ["x"], "in")], False, False),
        (
            [_node("Transpose", ["x"], "a", perm=[1, 0, 2]), _node("Relu", ["a"], "in")],
            False,
            False,
        ),
        (
            [
                _node("Transpose", ["x"], "a", perm=[1, 0, 2]),
                _node("Transpose", ["a"], "in", perm=[1, 0, 2]),
            ],
            False,
            True,
        ),
    ],
)
@pytest.mark.parametrize("layout", [0, 1])
def test_what_tells_that_the_batch_is_first(tmp_path, before, batch_first, is_told, layout):
    inputs = ["in" if before else "x", "W", "R", "B"]
    rnn = helper.make_node("RNN", inputs, ["y", "h"], hidden_size=H, layout=layout)
    found = onnx_reader.read(_model(tmp_path / "a.onnx", [*before, rnn]))
    assert found.batch_first == (batch_first != bool(layout))
    assert found.is_told == (is_told or bool(layout))


def test_a_turn_between_layers_is_no_stack(tmp_path):
    """The second would go through the batch: a mistake of the model's, not torch's stack."""
    square = {"W": R}
    layers = [
        helper.make_node("RNN", ["x", "W", "R", "B"], ["y1", "h1"], hidden_size=H, name="one"),
        _node("Squeeze", ["y1", "n"], "s"),
        _node("Transpose", ["s"], "t", perm=[1, 0, 2]),
        helper.make_node("RNN", ["t", "W", "R2", "B"], ["y", "h"], hidden_size=H, name="two"),
    ]
    stored = square | {"R": R, "B": B, "R2": 2 * R, "n": _ints(1)}
    with pytest.raises(UsageError, match="give prefix=, one of one, two"):
        weights.read(_model(tmp_path / "a.onnx", layers, stored))
    layers[3].input[0] = "s"
    assert "weight_hh_l1" in weights.read(_model(tmp_path / "b.onnx", layers, stored))


def test_a_network_that_microsoft_s_tools_quantised_is_told(tmp_path):
    node = helper.make_node(
        "DynamicQuantizeLSTM", ["x", "W", "R"], ["y"], domain="com.microsoft", hidden_size=H
    )
    path = _model(tmp_path / "a.onnx", [node], domains=["com.microsoft"])
    with pytest.raises(UsageError, match=r"DynamicQuantizeLSTM of com.microsoft: .* in 8 bits"):
        weights.read(path)


def test_damage_is_one_line(tmp_path):
    """One byte of three, changed in turn: a model comes of it, or a line that refuses it."""
    nodes, stored, opset = MADE["split"]
    whole = _model(tmp_path / "a.onnx", nodes, stored, opset).read_bytes()
    path, refused = tmp_path / "b.onnx", []
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            weights.read(path)
        except UsageError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not any("\n" in line for line in refused)
