"""The captured loop, with a stand-in for a CUDA graph: fixed arguments and results, replayed."""

from pathlib import Path

import pytest
from conftest import evaluate

from rnnparity.cells.config import RNNConfig
from rnnparity.problems.cases import Case

torch = pytest.importorskip("torch")

SOURCE = Path(__file__).parents[2] / "impls" / "recurrences" / "elman" / "torch_graph.py"

# A replay reads the arguments and writes the results where they were at the capture, as on a card.
STAND_IN = """

devices = ("cpu",)


def _milliseconds(captured):
    return 0 if captured.function.keywords["product"].func is FASTEST else 1


class Captured(Captured):
    def __init__(self, function, examples):
        with torch.no_grad():
            self.arguments = [torch.zeros(a.shape, dtype=a.dtype) for a in examples]
            self.results = function(*self.arguments)
        self.function, self.graph = function, self

    def replay(self):
        for result, new in zip(self.results, self.function(*self.arguments), strict=True):
            result.copy_(new)
"""


def _copy(folder, old="", new="", fastest="_whole"):
    source = SOURCE.read_text(encoding="utf-8")
    assert not old or source.count(old) == 1
    source = (source.replace(old, new) if old else source) + f"\n\nFASTEST = {fastest}"
    # The tests' states are small.
    source = source.replace("COLUMNS = 64", "COLUMNS = 2")
    path = folder / "graph.py"
    path.write_text(source + STAND_IN, encoding="utf-8")
    return str(path)


def _case(dtype="float32", T=5, B=3, **arguments):
    config = RNNConfig(input_size=4, hidden_size=6, **arguments)
    return Case(config=config, T=T, B=B, dtype=dtype, invariants=T > 1)


CASES = [
    _case(),
    _case(nonlinearity="relu", num_layers=2, bidirectional=True),
    _case(T=1, B=1),
    *(_case(dtype) for dtype in ("float64", "float16", "bfloat16")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_agrees_with_the_truth(tmp_path, case):
    judgement = evaluate(_copy(tmp_path), "cpu", case)
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize("way", ["_whole", "_by_rows", "_by_columns"])
@pytest.mark.parametrize("B", [1, 3])
def test_every_way_to_make_a_product_agrees(tmp_path, way, B):
    judgement = evaluate(_copy(tmp_path, fastest=way), "cpu", _case(B=B))
    assert judgement.verdict == "pass", judgement.reason


def test_a_wrong_way_to_make_a_product_is_failed(tmp_path):
    wrong = _copy(tmp_path, "matrix.view(H, parts", "matrix.t().reshape(H, parts", "_by_columns")
    assert evaluate(wrong, "cpu", _case()).verdict == "fail"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("result.clone() for result", "result for result"),
        ("argument.copy_(array)", "None"),
        ("if t > 0:", "if t > 1:"),
        ("tuple((a.shape, a.dtype, a.device) for a in arrays)", "0"),
    ],
    ids=["results handed out", "arguments not copied", "a step left out", "one graph for all"],
)
def test_a_mistake_is_failed(tmp_path, old, new):
    assert evaluate(_copy(tmp_path, old, new), "cpu", CASES[0]).verdict in ("fail", "error")


def test_a_graph_is_captured_once_per_shape_and_dropped_when_not_used():
    from recurrences.elman import torch_graph

    made = []

    class Counted:
        def __init__(self, function, examples):
            made.append(len(examples[0]))

        def __call__(self, *arrays):
            return arrays

    cell = torch.ones(3, 2), torch.ones(3, 3), torch.zeros(3), torch.zeros(3)
    prepared = torch_graph.prepare(cell, "tanh")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_graph, "Captured", Counted)
        patch.setattr(torch_graph, "fastest", lambda matrix, B: None)
        lengths = [*range(1, torch_graph.KEPT + 1), 1, torch_graph.KEPT + 1, 1, 2]
        for T in lengths:
            torch_graph.layer(torch.ones(T, 1, 2), torch.zeros(1, 3), prepared, "tanh")
    assert made == [*range(1, torch_graph.KEPT + 2), 2]
    assert len(prepared.graphs) == torch_graph.KEPT
