"""Sequences of length 0 in a batch: no step is taken, forward or backward."""

from importlib import import_module

import numpy as np
import pytest

from rnnparity.cells import network
from rnnparity.cells.config import RNNConfig, cells
from rnnparity.problems import arrays
from rnnparity.problems.cases import Case

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

ROOMS = {"rnn": "elman", "gru": "gru", "lstm": "lstm"}
LENGTHS = np.array([5, 0, 2])


@pytest.mark.parametrize("kind", ROOMS)
def test_the_state_and_its_gradient_go_past_an_empty_sequence(kind):
    """By the backward pass by hand and by PyTorch's own, through two layers of two directions."""
    config = RNNConfig(input_size=3, hidden_size=4, num_layers=2, bidirectional=True, kind=kind)
    problem = arrays.build(Case(config=config, T=5, B=3, dtype="float64", ragged=True))
    module = import_module(f"recurrences.{ROOMS[kind]}.numpy_loop")
    more = (config.nonlinearity,) if kind == "rnn" else ()
    prepared = [module.prepare(cell, *more) for cell in cells(problem.weights, config)]
    state = (problem.h0, problem.c0) if kind == "lstm" else problem.h0
    tape = []
    output, last = network.run(module.layer, problem.x, state, prepared, config, LENGTHS, tape)
    h_n = last[0] if kind == "lstm" else last
    assert (output[:, 1] == 0).all()
    assert (h_n[:, 1] == problem.h0[:, 1]).all()
    assert (h_n[:, [0, 2]] != problem.h0[:, [0, 2]]).any(axis=-1).all()

    loop = import_module(f"recurrences.{ROOMS[kind]}.torch_loop")
    x, h0 = (torch.tensor(a, requires_grad=True) for a in (problem.x, problem.h0))
    own = (h0, torch.tensor(problem.c0)) if kind == "lstm" else h0
    weights = {name: torch.tensor(value) for name, value in problem.weights.items()}
    made = cells(weights, config)
    if hasattr(loop, "prepare"):
        made = [loop.prepare(cell, *more) for cell in made]
    found, after = network.run(loop.layer, x, own, made, config, torch.tensor(LENGTHS))
    after = after[0] if kind == "lstm" else after
    loss = (found * torch.tensor(problem.grad_output)).sum()
    (loss + (after * torch.tensor(problem.grad_h_n)).sum()).backward()

    grad_last = problem.grad_h_n
    if kind == "lstm":
        grad_last = (problem.grad_h_n, np.zeros_like(problem.c0))
    grad_x, grad_state, _ = network.backward(
        module.layer_backward, tape, problem.grad_output, grad_last, config, LENGTHS
    )
    grad_h0 = grad_state[0] if kind == "lstm" else grad_state
    np.testing.assert_allclose(grad_x, x.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grad_h0, h0.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert (grad_h0[:, 1] == problem.grad_h_n[:, 1]).all()
