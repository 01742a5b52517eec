"""Cases as files: judged by the program in docs/contract.md, which does not know of rnnparity."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest

from rnnparity import UsageError, listed
from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.problems import presets
from rnnparity.problems.arrays import judged_rows
from rnnparity.problems.cases import Case
from rnnparity.runs import exported

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
(JUDGE,) = (
    block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "index.json" in block
)
END = "\nassert not [name for name in sys.modules if name.split('.')[0] == 'rnnparity']\n"
RUNTIMES = {
    "onnxruntime-rnn": "onnxruntime.InferenceSession(",
    "onnx-reference": "__import__('onnx.reference').reference.ReferenceEvaluator(",
}
PLAIN = Case(config=RNNConfig(input_size=3, hidden_size=4), T=5, B=2)


def chosen():
    """Return features of each kind, and what is special of numbers: small, none, coarse."""
    for kind in KINDS:
        features = (
            presets.features() if kind == "rnn" else presets.of_kind(presets.features(), kind)
        )
        yield from features
    plain = next(iter(presets.features()))
    for regime in ("tiny", "expansive", "huge"):
        yield plain.replace(regime=regime)
    for dtype in ("float64", "float16", "bfloat16"):
        yield plain.replace(dtype=dtype)
    yield plain.replace(dtype="float16", regime="expansive")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    exported.write(folder, chosen())
    return folder


def told(folder, runtime="onnx-reference"):
    """Return what the page's program says of each case."""
    program = (JUDGE + END).replace(RUNTIMES["onnxruntime-rnn"], RUNTIMES[runtime])
    command = [sys.executable, "-W", "ignore", "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 2) for line in done.stdout.splitlines() if " " in line]
    return {line[0]: line[1:] for line in lines}


def index(folder):
    return json.loads((folder / "index.json").read_text(encoding="utf-8"))["cases"]


# What a runtime says that it does not have, by its dtype.
REFUSED = {"onnxruntime-rnn": ("float64", "bfloat16"), "onnx-reference": ()}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_is_right_but_for_what_is_known(written, runtime):
    """What the program says is what `check` says of the same runtime."""
    pytest.importorskip("onnxruntime", reason="the page's program imports it")
    found, seen = told(written, runtime), set()
    for case in index(written):
        name = runtime if case["cell"] == "rnn" else f"{runtime} ({case['cell']})"
        known = any(
            fnmatchcase(f"{name}-cpu-{case['id']}", pattern) for _, pattern, _ in listed.of_peers()
        )
        verdict, *why = found[case["id"]]
        if case["dtype"] in REFUSED[runtime]:
            assert verdict == "error", case
            continue
        assert (verdict != "pass") == known, (case["id"], why)
        seen.add(verdict)
    assert "pass" in seen
    assert seen & {"fail", "error"}


def arrays(folder):
    with np.load(folder / "case.npz", allow_pickle=False) as held:
        return dict(held)


def test_what_is_expected_is_what_torch_returns(written):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for case in index(written):
        held, layers = arrays(written / case["id"]), {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
        dtype = getattr(torch, case["dtype"])
        options = {name: case[name] for name in ("bidirectional", "bias", "batch_first")}
        if case["cell"] == "rnn":
            options["nonlinearity"] = case["nonlinearity"]
        layer = getattr(torch.nn, layers[case["cell"]])
        module = layer(case["I"], case["H"], case["layers"], dtype=dtype, **options)
        given = {name: torch.tensor(array) for name, array in held.items()}
        module.load_state_dict({name: given[name] for name in module.state_dict()})
        x, T = given["x"].to(dtype), case["T"]
        states = [given[name].to(dtype) for name in ("h0", "c0") if name in given]
        if "lengths" in given:
            x = torch.nn.utils.rnn.pack_padded_sequence(
                x, given["lengths"], options["batch_first"], enforce_sorted=False
            )
        with torch.no_grad():
            output, last = module(x, *([tuple(states)] if len(states) > 1 else states))
        if "lengths" in given:
            output, _ = torch.nn.utils.rnn.pad_packed_sequence(
                output, options["batch_first"], total_length=T
            )
        found = [output, *(last if case["cell"] == "lstm" else [last])]
        for name, got in zip(case["outputs"], found, strict=True):
            off = np.abs(got.double().numpy() - held[name].astype(np.float64))
            unit = held[f"unit_{name}"]
            assert ((off <= 10 * unit) | np.isinf(unit)).all(), (case["id"], name)


def test_both_forms_hold_the_same(written):
    for case in index(written):
        folder, held = written / case["id"], arrays(written / case["id"])
        graph = onnx.load(folder / "model.onnx").graph
        onnx.checker.check_model(onnx.load(folder / "model.onnx"))
        assert [one.name for one in graph.input] == case["inputs"]
        assert [one.name for one in graph.output] == case["outputs"]
        for kind, names in (("input", case["inputs"]), ("output", case["outputs"])):
            for k, name in enumerate(names):
                path = folder / "test_data_set_0" / f"{kind}_{k}.pb"
                tensor = onnx.TensorProto.FromString(path.read_bytes())
                assert tensor.name == name
                array = onnx.numpy_helper.to_array(tensor)
                assert array.dtype.name == ("int32" if name == "lengths" else case["dtype"])
                assert np.array_equal(array.astype(held[name].dtype), held[name], equal_nan=True)
        for k, name in enumerate(case["outputs"]):
            path = folder / "test_data_set_0" / f"unit_{k}.pb"
            unit = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
            assert unit.dtype == np.float64
            assert np.array_equal(unit, held[f"unit_{name}"])
            assert (unit > 0).all()
            assert np.isfinite(unit).mean() == case["judged"][name]


def changed_output(folder, change):
    path = folder / PLAIN.id / "test_data_set_0" / "output_0.pb"
    tensor = onnx.TensorProto.FromString(path.read_bytes())
    unit = arrays(folder / PLAIN.id)["unit_output"]
    made = change(onnx.numpy_helper.to_array(tensor).astype(np.float64), unit)
    path.write_bytes(onnx.numpy_helper.from_array(made, "output").SerializeToString())


def one_element(a, value):
    return np.where(np.arange(a.size).reshape(a.shape) == 7, value, a).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda a, unit: a.astype(np.float32), "pass"),
        (lambda a, unit: (a + 8 * unit).astype(np.float32), "pass"),
        (lambda a, unit: one_element(a, a + 13 * unit), "fail"),
        (lambda a, unit: one_element(a, np.nan), "fail"),
        (lambda a, unit: a.astype(np.float32)[:-1], "fail"),
        (lambda a, unit: a, "fail"),  # in another dtype
    ],
    ids=["same", "within", "beyond", "nan", "shape", "dtype"],
)
def test_what_is_off_by_more_than_ten_units_fails(tmp_path, change, verdict):
    pytest.importorskip("onnxruntime", reason="the page's program imports it")
    exported.write(tmp_path, [PLAIN])
    changed_output(tmp_path, change)
    assert told(tmp_path)[PLAIN.id][0] == verdict


def test_what_is_not_judged_has_an_infinite_unit(written):
    (case,) = (one for one in index(written) if one["id"].startswith("float16-expansive"))
    assert case["judged"]["output"] < 1
    unit = arrays(written / case["id"])["unit_output"]
    assert np.isinf(unit[-1]).any()
    assert np.isfinite(unit[0]).all()


def test_of_a_large_batch_the_judged_rows_are_written(tmp_path):
    case = PLAIN.replace(B=9, judged=2, ragged=True)
    whole = case.replace(judged=None)
    for name, one in (("part", case), ("whole", whole)):
        exported.write(tmp_path / name, [one])
    part, all_rows = (arrays(tmp_path / name / whole.id) for name in ("part", "whole"))
    assert index(tmp_path / "part")[0]["B"] == 2
    rows = judged_rows(case)
    for name in ("x", "h0", "output", "h_n"):
        assert np.array_equal(part[name], all_rows[name][:, rows])
    assert np.array_equal(part["lengths"], all_rows["lengths"][rows])


def test_a_case_is_written_once_and_none_without_a_batch(tmp_path):
    made = [PLAIN, PLAIN.replace(invariants=True), PLAIN.replace(strided=True)]
    assert exported.write(tmp_path / "a", [*made, PLAIN.replace(B=None)]) == 1
    with pytest.raises(UsageError, match="no case is left"):
        exported.write(tmp_path / "b", [PLAIN.replace(B=None)])
    assert not (tmp_path / "b").exists()
    with pytest.raises(UsageError, match="is not empty"):
        exported.write(tmp_path / "a", made)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("out.onnx", "--cases", "d"), "--cases writes weights of its own"),
        (("--cases", "d", "--lengths"), "--cases writes weights of its own"),
        (("out.onnx", "--weights", "w", "--preset", "full"), "go with --cases"),
        ((), "expected OUT.onnx and --weights FILE, or --cases DIR"),
        (("--cases", "d", "--preset", "no"), "no preset 'no'"),
        (("--cases", "d", "--cell", "no"), "no cell 'no'"),
        (("--cases", "d", "--dtype", "int8"), "no dtype 'int8'"),
        (("--cases", "file"), "file cannot be written to"),
    ],
)
def test_a_slip_is_one_line(tmp_path, arguments, line):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "rnnparity", "export", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
