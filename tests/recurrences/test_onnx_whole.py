"""A whole network as one ONNX model, as its runtimes are given it."""

import pytest
from conftest import evaluate, reference_of

from rnnparity.cells.config import KINDS, RNNConfig
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.registry import Spec, kind_of, resolve, resolve_all
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case
from rnnparity.problems.weights import onnx_writer

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
NAMES = ("onnxruntime-rnn", "onnx-reference", "openvino", "openvino-f32", "tract")


def _case(kind, **changed):
    own = {name: changed.pop(name) for name in [*changed] if name in RNNConfig.__struct_fields__}
    return Case(
        config=RNNConfig(input_size=5, hidden_size=6, kind=kind, **own), T=7, B=4, **changed
    )


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"h0": False},
        {"bias": False},
        {"ragged": True},
        {"bidirectional": True, "num_layers": 3, "batch_first": True, "ragged": True},
        {"bidirectional": True, "num_layers": 2, "h0": False, "bias": False},
        {"dtype": "float16"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_is_right(kind, changed):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    target = f"recurrences.peers.onnxruntime_whole:{kind}"
    judgement = evaluate(target, "cpu", _case(kind, **changed))
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_refusal_is_no_mistake(kind):
    """ONNX Runtime lists float64 among the kernels of these, and says that it is not supported."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    target = f"recurrences.peers.onnxruntime_whole:{kind}"
    judgement = evaluate(target, "cpu", _case(kind, dtype="float64"))
    assert judgement.verdict == "unsupported"
    assert "does not support double yet" in judgement.reason


@pytest.mark.filterwarnings("ignore")
def test_what_is_raised_for_another_reason_is_an_error():
    judgement = evaluate(
        "recurrences.peers.onnx_reference:rnn", "cpu", _case("rnn", nonlinearity="relu")
    )
    assert judgement.verdict == "error"
    assert "Unknown activation function 'Relu'" in judgement.reason


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("h0", [True, False])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_layouts_and_dtypes_by_the_reference_evaluator(kind, layout, layers, both, h0, dtype):
    """It is right about these, and has what ONNX Runtime has not."""
    from onnx.reference import ReferenceEvaluator

    case = _case(kind, batch_first=True, num_layers=layers, bidirectional=both, h0=h0, dtype=dtype)
    against = reference_of(case)
    problem = against.problem
    model = onnx_writer.model(problem.weights, case.config, initial=h0, layout=layout)
    onnx.checker.check_model(model)
    states = case.config.states if h0 else ()
    given = {f"{state}0": getattr(problem, f"{state}0") for state in states}
    found = ReferenceEvaluator(model).run(None, {"x": problem.x, **given})
    names = ("output", *(f"{state}_n" for state in case.config.states))
    judgement = judge(case, Outcome(dict(zip(names, found, strict=True))), against)
    assert judgement.verdict == "pass", judgement.reason


def test_a_layout_that_the_network_has_not_is_refused():
    with pytest.raises(ValueError, match="layout=1 is batch first"):
        onnx_writer.model({}, RNNConfig(input_size=1, hidden_size=1), layout=1)


def test_one_module_is_of_every_kind():
    for name in NAMES:
        specs = resolve_all([name], kinds=tuple(KINDS))
        assert [spec.kind for spec in specs] == [kind_of(spec) for spec in specs] == [*KINDS]
        assert kind_of(resolve(f"{name} (lstm)")) == "lstm"
    assert kind_of(Spec("mine", __file__)) == "rnn"


@pytest.mark.parametrize("name", NAMES[2:])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_the_heavy_ones_compute_the_network(kind, name):
    """In float32 where that is what they compute in, two layers in both directions."""
    spec = resolve(name, kind)
    pytest.importorskip(spec.target.partition(":")[0], reason="its library is not installed")
    judgement = evaluate(spec.target, "cpu", _case(kind, num_layers=2, bidirectional=True))
    right = "fail" if name == "openvino" and _has_bfloat16() else "pass"
    assert judgement.verdict == right, judgement.reason


def _has_bfloat16():
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
