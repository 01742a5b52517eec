"""The notebook that this project grew out of, as tests: a hand-written RNN against torch.nn.RNN."""

import pytest
from conftest import loaded

INPUT_SIZE, HIDDEN_SIZE, L = 5, 3, 5
HAND_WRITTEN = ("numpy-loop", "jax-scan", "torch-loop")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def rnn(torch):
    torch.manual_seed(0)
    return torch.nn.RNN(INPUT_SIZE, HIDDEN_SIZE).eval()


@pytest.fixture(params=HAND_WRITTEN)
def forward(request, torch, rnn):
    """The hand-written forward with the weights of `rnn`: tensors in, tensors out."""
    from rnnparity.cells.config import RNNConfig
    from rnnparity.problems.weights import read

    implementation, border = loaded(request.param)
    config = RNNConfig(input_size=INPUT_SIZE, hidden_size=HIDDEN_SIZE)
    weights = {name: border.from_numpy(value, "cpu") for name, value in read(rnn).items()}

    def run(x, h0=None):
        def cross(tensor):
            return None if tensor is None else border.from_numpy(tensor.detach().numpy(), "cpu")

        prepared = implementation.prepared(weights, config)
        results = implementation.run(prepared, cross(x), cross(h0), None, config)
        return tuple(torch.from_numpy(border.to_numpy(result)) for result in results)

    return run


def test_outputs_and_hidden_state_match(torch, rnn, forward):
    x = torch.randn(L, INPUT_SIZE)
    expected_output, expected_hidden = rnn(x)
    output, hidden = forward(x)
    assert torch.allclose(output, expected_output, atol=1e-6)
    assert torch.allclose(hidden, expected_hidden, atol=1e-6)


def test_one_more_step_with_the_hidden_state_passed_back_in(torch, rnn, forward):
    x, x_next = torch.randn(L, INPUT_SIZE), torch.randn(1, INPUT_SIZE)
    expected_output, expected_hidden = rnn(x_next, rnn(x)[1])
    output, hidden = forward(x_next, forward(x)[1])
    assert torch.allclose(output, expected_output, atol=1e-6)
    assert torch.allclose(hidden, expected_hidden, atol=1e-6)


def test_a_batch_of_four_with_the_sequence_dimension_first(torch, rnn, forward):
    x = torch.randn(L, 4, INPUT_SIZE)
    expected_output, expected_hidden = rnn(x)
    output, hidden = forward(x)
    assert output.shape == (L, 4, HIDDEN_SIZE)
    assert torch.allclose(output, expected_output, atol=1e-6)
    assert torch.allclose(hidden, expected_hidden, atol=1e-6)


def test_a_dropped_hidden_state_is_noticed(torch, rnn, forward):
    x, x_next = torch.randn(L, INPUT_SIZE), torch.randn(1, INPUT_SIZE)
    expected_output, _ = rnn(x_next, rnn(x)[1])
    output, _ = forward(x_next)
    assert not torch.allclose(output, expected_output, atol=1e-6)
