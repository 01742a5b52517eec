"""Outputs that a port saved: the verdict, with nothing to run; in `judge` and `assert_outputs`."""

import json
import shlex
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import rnnparity
from rnnparity.cells.config import KINDS, RNNConfig, parameter_shapes
from rnnparity.errors import UsageError
from rnnparity.judging.truth import truth
from rnnparity.problems import arrays, given, weights
from rnnparity.problems.given import Sequences, Weights
from rnnparity.records.run import read
from rnnparity.verdicts import Verdict

T, B, I, H = 9, 3, 4, 6


def _port(folder, kind="rnn", dtype="float32", **options):
    """Return weights, an input and the true outputs, rounded to a dtype."""
    layers = {
        name: options.pop(name) for name in ("num_layers", "bidirectional") if name in options
    }
    config = RNNConfig(kind=kind, input_size=I, hidden_size=H, **layers)
    rng = np.random.default_rng(0)
    parameters = {
        name: rng.normal(scale=0.4, size=shape).astype("f4")
        for name, shape in parameter_shapes(config).items()
    }
    told = {name: options[name] for name in ("nonlinearity", "batch_first") if name in options}
    x = rng.normal(size=options.get("shape", (T, B, I))).astype("f4")
    kept = given.keep(Weights(parameters, **told), folder / "true")
    sequences = Sequences(x, *(options.get(name) for name in ("h0", "lengths", "c0")))
    case = given.case(kept, sequences, folder / "true", dtype)
    values = truth(case, arrays.build(case)).values
    found = {"weights": parameters, "x": x} | told
    found |= {name: options[name] for name in ("h0", "c0", "lengths") if name in options}
    outputs = {}
    for name in ("output", "h_n", "c_n"):
        if name in values:
            value = values[name][:, 0] if case.B is None else values[name]
            if name == "output" and config.batch_first | told.get("batch_first", False):
                value = value.swapaxes(0, 1)
            outputs[name] = value.astype(getattr(ml_dtypes, dtype, dtype))
    return found, outputs


def rnnparity_command(*words, cwd):
    command = [sys.executable, "-m", "rnnparity", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


STATE = np.linspace(-1, 1, 2 * B * H).reshape(2, B, H).astype("f4")
OPTIONS = [
    {},
    {"num_layers": 2},
    {"bidirectional": True, "h0": STATE},
    {"batch_first": True, "shape": (B, T, I)},
    {"shape": (T, I)},
    {"lengths": [T, 2, 5]},
    {"dtype": "float16"},
    {"dtype": "bfloat16"},
    {"dtype": "float64"},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_right_outputs_pass_and_wrong_ones_fail(tmp_path, kind, options):
    if kind == "lstm" and "h0" in options:
        options = options | {"c0": STATE}
    told, outputs = _port(tmp_path, kind, **options)
    dtype = options.get("dtype")
    rnnparity.assert_outputs(**outputs, **told, dtype=dtype)
    for name in outputs:
        rnnparity.assert_outputs(**{name: outputs[name]}, **told, dtype=dtype)
        wrong = outputs[name].astype("f8")
        wrong.flat[-1 if "lengths" not in options else 0] += 0.05
        wrong = {name: wrong.astype(outputs[name].dtype)}
        with pytest.raises(AssertionError, match=rf"fail: .*{name}\["):
            rnnparity.assert_outputs(**outputs | wrong, **told, dtype=dtype)


def test_the_dtype_is_the_coarser_of_weights_and_outputs(tmp_path):
    told, outputs = _port(tmp_path)
    for dtype, judged in (("f8", "float32"), ("f4", "float32"), ("f2", "float16")):
        rounded = {name: array.astype(dtype) for name, array in outputs.items()}
        run = rnnparity.judge(**rounded, **told, out=tmp_path / dtype)
        assert run.records[0].dtype == judged
        assert run.passed


def test_values_of_a_coarser_dtype_are_told(tmp_path):
    told, outputs = _port(tmp_path, dtype="bfloat16")
    as_float32 = {name: array.astype("f4") for name, array in outputs.items()}
    with pytest.raises(AssertionError, match=r"bfloat16 number.*dtype=.bfloat16."):
        rnnparity.assert_outputs(**as_float32, **told)
    rnnparity.assert_outputs(**as_float32, **told, dtype="bfloat16")


def test_digits_that_were_not_written_are_held_against_nobody(tmp_path):
    told, outputs = _port(tmp_path)
    table = outputs["output"].reshape(T * B, H)
    path = tmp_path / "y.csv"
    np.savetxt(path, table, fmt="%.4f", delimiter=",")
    run = rnnparity.judge(path, **told, out=tmp_path / "right")
    assert run.passed
    assert run.environment["assumed"][1:] == [
        "x: T = 9 steps, B = 3 sequences (batch_first=True if it is the other way round)",
        "output: [27, 6] read as [9, 3, 6]",
        "output is text of 4 decimals: what these leave open is held against nobody",
    ]
    np.savetxt(path, table + 1e-4, fmt="%.4f", delimiter=",")  # more than they leave open
    assert not rnnparity.judge(path, **told, out=tmp_path / "wrong").passed


def test_a_known_mistake_is_named_without_an_implementation(tmp_path):
    told, _ = _port(tmp_path)
    _, wrong = _port(tmp_path, nonlinearity="relu")
    with pytest.raises(AssertionError, match="with relu and tanh exchanged"):
        rnnparity.assert_outputs(wrong["output"], **told)
    with pytest.raises(AssertionError, match="with relu and tanh exchanged"):
        rnnparity.assert_outputs(h_n=wrong["h_n"], **told)


def test_what_stands_behind_the_ends_is_told(tmp_path):
    told, outputs = _port(tmp_path, lengths=[T, 2, 5])
    output = outputs["output"].copy()
    output[5:, 2] = output[4, 2]
    with pytest.raises(AssertionError, match="beyond it torch's output is 0"):
        rnnparity.assert_outputs(output, **told)


def test_past_a_horizon_steps_are_judged_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    parameters = {
        name: rng.normal(scale=3, size=shape).astype("f4")
        for name, shape in parameter_shapes(RNNConfig(input_size=I, hidden_size=16)).items()
    }
    x, h = rng.normal(size=(200, 1, I)).astype("f4"), np.zeros(16, "f4")
    output = np.empty((200, 1, 16), "f4")
    for t in range(200):
        a = parameters["weight_ih_l0"] @ x[t, 0] + parameters["bias_ih_l0"]
        output[t, 0] = h = np.tanh(a + parameters["weight_hh_l0"] @ h + parameters["bias_hh_l0"])
    told = {"weights": parameters, "x": x}
    run = rnnparity.judge(output, output[-1:], **told, out=tmp_path / "right")
    assert run.records[0].verdict == Verdict.CHAOTIC
    output[150] *= 0.99
    for given_outputs in ({"output": output}, {"output": output, "h_n": output[-1:]}):
        out = tmp_path / f"wrong{len(given_outputs)}"
        run = rnnparity.judge(**given_outputs, **told, out=out)
        assert run.records[0].verdict == Verdict.FAIL
        assert "does not follow" in run.records[0].reason


def test_shapes_that_can_be_read_one_way_only_are_read(tmp_path):
    told, outputs = _port(tmp_path, shape=(T, 1, I))
    rnnparity.assert_outputs(outputs["output"][:, 0], outputs["h_n"][0, 0], **told)
    told, outputs = _port(tmp_path)
    rnnparity.assert_outputs(outputs["output"].reshape(T * B, H), outputs["h_n"][0], **told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": np.zeros((B, T, H))}, r"\[9, 3, 6\]: transpose it; x and output are both"),
        ({"output": np.zeros((H, T, B))}, "transpose it"),
        ({"output": np.zeros((B, H))}, "the last state, give it as h_n="),
        ({"output": np.zeros((T, B, H + 1))}, r"shape \[9, 3, 7\], expected \[T, B, D \* H\] ="),
        ({"h_n": np.zeros((2, B, H))}, r"expected \[L \* D, B, H\] = \[1, 3, 6\]"),
        ({"c_n": np.zeros((1, B, H))}, "c_n is given, but an RNN has none"),
        ({"output": np.zeros((T, B, H), "i1")}, "int8, expected floating-point.*scale"),
        ({"output": np.zeros((T, B, H), "?")}, "bool, expected numbers"),
        ({"output": None}, "nothing to judge: give output=, h_n= or both"),
        ({"x": np.zeros((T, B, I + 1))}, "x has shape"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(tmp_path, change, message):
    told, outputs = _port(tmp_path)
    given_all = {"output": outputs["output"]} | told | change
    with pytest.raises(UsageError, match=message) as caught:
        rnnparity.assert_outputs(**given_all)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_none_fail(tmp_path):
    told, outputs = _port(tmp_path)
    outputs["output"][3, 1, 2] = np.nan
    with pytest.raises(AssertionError, match=r"output\[3, 1, 2\] is not a finite number"):
        rnnparity.assert_outputs(outputs["output"], **told)


def test_a_run_is_kept_and_read_again(tmp_path):
    told, outputs = _port(tmp_path, "lstm")
    np.savez(tmp_path / "port.npz", **outputs)
    path = tmp_path / "port.npz"
    run = rnnparity.judge(path, **told, out=tmp_path / "run")
    again = read(tmp_path / "run")
    assert again.records == run.records
    assert run.records[0].quantities.keys() == {"output", "h_n", "c_n"}  # the file has them all
    assert run.records[0].implementation == "port.npz"
    assert len(list((tmp_path / "run").glob("output-*.npz"))) == 1
    with pytest.raises(UsageError, match="has records already"):
        rnnparity.judge(path, **told, out=tmp_path / "run")


def test_one_command(tmp_path):
    told, outputs = _port(tmp_path)
    weights.write(tmp_path / "w.safetensors", told["weights"])
    np.save(tmp_path / "x.npy", told["x"])
    np.save(tmp_path / "y.npy", outputs["output"])
    words = ["judge", "--weights", "w.safetensors", "--input", "x.npy", "--output"]
    done = rnnparity_command(*words, "y.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1/1 pass" in done.stdout
    assert "T = 9 steps, B = 3 sequences" in done.stdout
    np.save(tmp_path / "y.npy", -outputs["output"])
    done = rnnparity_command(*words, "y.npy", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert '"verdict": "fail"' in done.stdout
    done = rnnparity_command(*words, "none.npy", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    done = rnnparity_command("judge", "--output", "y.npy", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("options", [{}, {"nonlinearity": "relu"}, {"lengths": [T, 2, 5]}])
def test_the_line_that_repeats_it_does(tmp_path, options):
    from rnnparity.report.commands import command

    told, outputs = _port(tmp_path, **options)
    outputs["output"][2, 0, 1] += 0.5
    run = rnnparity.judge(**outputs, **told, name="a port's", out=tmp_path / "run")
    words = shlex.split(command(run.records[0], run))
    done = rnnparity_command(*words[1:], "--json", "--out", "again", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (record,) = json.loads(done.stdout)["records"]
    assert record["reason"] == run.records[0].reason
    assert record["implementation"] == "a port's"


def test_zeros_in_text_are_zeros_and_too_few_digits_tell_nothing(tmp_path):
    told, outputs = _port(tmp_path)
    path = tmp_path / "y.csv"
    np.savetxt(path, np.zeros((T * B, H)), fmt="%.9g", delimiter=",")
    with pytest.raises(AssertionError, match="output"):
        rnnparity.assert_outputs(path, **told)
    for form in ("%.0f", "%.1f", "%.1g"):
        np.savetxt(path, outputs["output"].reshape(T * B, H), fmt=form, delimiter=",")
        with pytest.raises(UsageError, match=r"tells too little: write nine digits"):
            rnnparity.assert_outputs(path, **told)


def test_outputs_of_two_dtypes_are_asked_about(tmp_path):
    told, outputs = _port(tmp_path)
    mixed = {"output": outputs["output"], "h_n": outputs["h_n"].astype("f2")}
    with pytest.raises(UsageError, match="outputs are float16 and float32: give dtype="):
        rnnparity.assert_outputs(**mixed, **told)


def test_an_input_in_text_is_told(tmp_path):
    told, outputs = _port(tmp_path, shape=(T, I))
    np.savetxt(tmp_path / "x.csv", told["x"], fmt="%.3f", delimiter=",")
    with pytest.raises(AssertionError, match="x is text of 3 decimals: was the port given"):
        rnnparity.assert_outputs(**outputs, **told | {"x": tmp_path / "x.csv"})


@pytest.mark.parametrize("lengths", [None, [T, 2, 5]])
def test_a_model_that_reads_backwards(tmp_path, lengths):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from rnnparity.problems.weights import onnx_writer

    told, _ = _port(tmp_path)
    config = RNNConfig(input_size=I, hidden_size=H)
    path = tmp_path / "m.onnx"
    onnx_writer.write(path, told["weights"], config)
    model = onnx.load_model(path)
    (node,) = [node for node in model.graph.node if node.op_type == "RNN"]
    node.attribute.append(onnx.helper.make_attribute("direction", "reverse"))
    onnx.save_model(model, path)
    more = {} if lengths is None else {"lengths": lengths}
    forwards = given.turned(told["x"], False, lengths)
    weights.write(tmp_path / "w.safetensors", told["weights"])
    kept = given.keep(Weights(told["weights"]), tmp_path / "again")
    case = given.case(kept, Sequences(forwards, None, lengths), tmp_path / "again")
    values = truth(case, arrays.build(case)).values
    output = given.turned(values["output"].astype("f4"), False, lengths)
    asked = {"weights": path, "x": told["x"]} | more
    rnnparity.assert_outputs(output, values["h_n"].astype("f4"), **asked)
    with pytest.raises(AssertionError, match="reads sequences backwards"):
        rnnparity.assert_outputs(given.turned(output, False, lengths), **asked)


def test_states_that_a_model_stores_are_told_and_not_contradicted(tmp_path):
    kept = given.keep(Weights(_port(tmp_path)[0]["weights"]), tmp_path / "k")
    kept = kept._replace(h0=np.ones((1, B, H)))
    x = np.ones((T, B, I))
    case = given.case(kept, Sequences(x), tmp_path)
    assert "h0: stored in the model" in given.told(kept, case)
    with pytest.raises(UsageError, match="h0 is given, but the model stores another"):
        given.case(kept, Sequences(x, np.zeros((1, B, H))), tmp_path)
    with pytest.raises(UsageError, match=r"h0 of the model has shape .* for this x"):
        given.case(kept, Sequences(x[:, :2]), tmp_path)


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("f4"), "float32"])
def test_dtypes_of_any_library(tmp_path, dtype):
    told, outputs = _port(tmp_path)
    rnnparity.assert_outputs(**outputs, **told, dtype=dtype)


def test_without_x_nothing_is_judged(tmp_path):
    told, outputs = _port(tmp_path)
    with pytest.raises(UsageError, match="x is missing"):
        rnnparity.assert_outputs(**outputs, **told | {"x": None})
    masked = np.ma.masked_array(outputs["output"], outputs["output"] > 0)
    with pytest.raises(UsageError, match="masked array"):
        rnnparity.assert_outputs(masked, **told)


def test_batch_first_is_hinted_at(tmp_path):
    told, outputs = _port(tmp_path)
    with pytest.raises(UsageError, match=r"if x is \[B, T, I\], give batch_first=True"):
        rnnparity.assert_outputs(h_n=outputs["h_n"], **told | {"x": told["x"].swapaxes(0, 1)})


@pytest.mark.parametrize("kind", KINDS)
def test_weights_the_other_way_round_are_named(tmp_path, kind):
    """Both at once fit where there are as many inputs as hidden units, and no shape complains."""
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(RNNConfig(kind=kind, input_size=H, hidden_size=H))
    drawn = {name: rng.normal(scale=0.4, size=shape) for name, shape in shapes.items()}
    weights_, x = {n: a.astype("f4") for n, a in drawn.items()}, rng.normal(size=(T, B, H))
    turned = weights_ | {
        name: np.concatenate([block.T for block in np.split(value, len(value) // H)])
        for name, value in weights_.items()
        if name.startswith("weight")
    }
    kept = given.keep(Weights(turned), tmp_path)
    case = given.case(kept, Sequences(x), tmp_path)
    output = truth(case, arrays.build(case)).values["output"].astype("f4")
    with pytest.raises(AssertionError, match=r"with .*weight_ih and weight_hh transposed"):
        rnnparity.assert_outputs(output, weights=weights_, x=x)


def test_an_output_may_end_with_the_longest_sequence(tmp_path):
    """As `pad_packed_sequence` returns it; what is behind is zero."""
    told, outputs = _port(tmp_path, lengths=[5, 2, 3])
    run = rnnparity.judge(outputs["output"][:5], **told, out=tmp_path / "run")
    assert run.passed
    assert "output ends with the longest sequence: zeros up to T = 9" in run.environment["assumed"]
    rnnparity.assert_outputs(outputs["output"][:5].reshape(5 * B, H), **told)
    with pytest.raises(UsageError, match=r"\[4, 3, 6\], expected"):
        rnnparity.assert_outputs(outputs["output"][:4], **told)
    with pytest.raises(AssertionError, match="off by"):
        rnnparity.assert_outputs(outputs["output"][:5] * 1.01, **told)


def test_numbers_in_one_row_or_column_are_read_where_they_fit(tmp_path):
    told, outputs = _port(tmp_path)
    flat = outputs["output"].ravel()
    for fmt, shape in (("%.9g", (-1, 1)), ("%.9g", (1, -1))):
        np.savetxt(tmp_path / "y.csv", flat.reshape(shape), fmt=fmt, delimiter=",")
        out = tmp_path / f"run{shape[0]}"
        run = rnnparity.judge(tmp_path / "y.csv", **told, out=out)
        assert run.passed
        assert "read as [9, 3, 6], the last axis the fastest" in str(run.environment["assumed"])
    with pytest.raises(UsageError, match=r"expected \[T, B, D"):
        rnnparity.assert_outputs(flat[:-1], **told)
    with pytest.raises(UsageError, match=r"x.reshape\(T, B, 4\)\), then that"):
        rnnparity.assert_outputs(flat, **told | {"x": told["x"].ravel()})


def test_what_is_too_large_is_told_without_a_path(tmp_path):
    told, outputs = _port(tmp_path)
    huge = outputs["output"].astype("f8")
    huge[3, 1, 2] = 1e300
    with pytest.raises(AssertionError, match=r"values up to 1e\+300, beyond the range of float32"):
        rnnparity.assert_outputs(huge, **told)
    with pytest.raises(UsageError, match=r"^x has values up to 1e\+300, too large for float32$"):
        rnnparity.assert_outputs(**outputs, **told | {"x": np.full((T, B, I), 1e300)})


def test_each_face_names_options_in_its_own_words(tmp_path):
    """Python's in Python; the command line's on it, of what its own processes say, too."""
    told, outputs = _port(tmp_path)
    weights.write(tmp_path / "w.safetensors", told["weights"])
    several = {f"{layer}.{n}": a for layer in "ab" for n, a in told["weights"].items()}
    several["b.bias_hh_l0"] = several["b.bias_hh_l0"] + 1
    np.savez(tmp_path / "two.npz", **several)
    np.save(tmp_path / "x.npy", told["x"])
    np.save(tmp_path / "y.npy", outputs["output"].swapaxes(0, 1))
    x, y = tmp_path / "x.npy", tmp_path / "y.npy"
    for name, python, line in (
        ("w.safetensors", "with batch_first=True", "with --batch-first"),
        ("two.npz", "give prefix=, one of a, b", "give --prefix, one of a, b"),
    ):
        with pytest.raises(UsageError, match=python) as caught:
            rnnparity.assert_outputs(y, weights=tmp_path / name, x=x)
        assert "--" not in str(caught.value)
        words = ["judge", "--weights", name, "--input", "x.npy", "--output", "y.npy"]
        assert line in rnnparity_command(*words, cwd=tmp_path).stderr
