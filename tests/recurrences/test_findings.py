"""What docs/findings.md says of other libraries on a CPU is still so.

Where a release mends one of these, the page and what the peer declares have to follow.
"""

import pytest
from conftest import evaluate

from rnnparity.cells.config import RNNConfig
from rnnparity.problems.cases import Case

NNX_GRU = """
from flax import nnx
kind, framework = "gru", "jax"
def prepare(cell):
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    H = weight_hh.shape[1]
    return weight_ih.T, weight_hh.T, bias_ih + bias_hh.at[2 * H :].set(0)
def layer(x, h0, cell):
    module = nnx.GRUCell(x.shape[2], h0.shape[1], param_dtype=x.dtype, rngs=nnx.Rngs(0))
    module.dense_i.kernel, module.dense_h.kernel, module.dense_i.bias = map(nnx.Param, cell)
    h_n, output = nnx.RNN(module, time_major=True, return_carry=True)(x, initial_carry=h0)
    return output, h_n
"""

IN_FLOAT64 = "from recurrences.peers.{} import *; dtypes = ('float64',)"


@pytest.mark.parametrize(
    ("peer", "text", "kind", "changed", "said"),
    [
        ("onnxruntime_rnn", None, "rnn", {"regime": "tiny"}, "tanh loses digits near zero"),
        ("flax_gru", NNX_GRU, "gru", {}, "the candidate's part of bias_hh dropped"),
        ("keras_gru", IN_FLOAT64, "gru", {"dtype": "float64"}, "e+08 units of rounding"),
        ("keras_lstm", IN_FLOAT64, "lstm", {"dtype": "float64"}, "e+08 units of rounding"),
    ],
    ids=["ONNX Runtime's RNN", "nnx.GRUCell", "Keras's GRU", "Keras's LSTM"],
)
@pytest.mark.filterwarnings("ignore")  # what a library warns about is its own
def test_it_fails_as_the_page_says(tmp_path, peer, text, kind, changed, said):
    """Given is the peer itself, or a file that does what the peer avoids."""
    name = f"recurrences.peers.{peer}"
    pytest.importorskip(name)
    if text is not None:
        path = tmp_path / "found.py"
        path.write_text(text.replace("{}", peer))
        name = str(path)
    config = RNNConfig(input_size=8, hidden_size=16, kind=kind)
    judgement = evaluate(name, "cpu", Case(config=config, T=12, B=4).replace(**changed))
    assert judgement.verdict == "fail"
    assert said in judgement.reason
