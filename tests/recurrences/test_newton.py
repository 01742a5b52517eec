"""jax-newton: right wherever it is asked, and it says where Newton's method did not converge."""

from pathlib import Path

import numpy as np
import pytest
from conftest import evaluate

from rnnparity.cells.config import RNNConfig
from rnnparity.implementations import contract
from rnnparity.problems.cases import Case

jax = pytest.importorskip("jax")
elman = pytest.importorskip("recurrences.elman")
jax_newton = pytest.importorskip("recurrences.elman.jax_newton")
jax_scan = pytest.importorskip("recurrences.elman.jax_scan")

NAME = "recurrences.elman.jax_newton"


def case(T=40, B=3, I=4, H=5, dtype="float64", regime="torch-init", ragged=False, **arguments):
    config = RNNConfig(input_size=I, hidden_size=H, **arguments)
    return Case(config=config, T=T, B=B, dtype=dtype, regime=regime, ragged=ragged)


CASES = {
    "blocks of all lengths": case(T=41, dtype="float32"),
    "float64": case(T=70),
    "relu": case(nonlinearity="relu", dtype="float32"),
    "diagonal": case(T=64, H=jax_newton.DENSE_UP_TO + 1, dtype="float32"),
    "one step": case(T=1),
    "fewer steps than blocks": case(T=3, B=1, dtype="float32"),
    "one unit": case(H=1),
    "unbatched": case(B=None, bias=False),
    "all at once": case(num_layers=2, bidirectional=True, ragged=True, batch_first=True),
    "critical": case(regime="critical"),
    "expansive": case(regime="expansive", T=12),
}


@pytest.mark.parametrize("which", CASES)
def test_it_agrees_with_the_truth(which):
    """Outputs, final states and gradients."""
    judgement = evaluate(NAME, "cpu", CASES[which])
    assert judgement.verdict == "pass", judgement.reason
    assert "grad_weight_hh_l0" in judgement.quantities


def changed(folder, *replaced):
    """Write the implementation with passages replaced, and return the path."""
    source = (Path(elman.__path__[0]) / "jax_newton.py").read_text(encoding="utf-8")
    for old, new in zip(replaced[::2], replaced[1::2], strict=True):
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    path = folder / "changed.py"
    path.write_text(source, encoding="utf-8")
    return path


NOT_VERIFIED = "TOLERANCE = 4.0", "TOLERANCE = 4e13"
MUTANTS = {
    "states not verified": (case(regime="critical"), NOT_VERIFIED),
    "all states taken for right": (
        case(regime="critical"),
        ("jnp.ones((), start.dtype))", "jnp.full((), 1e16, start.dtype))"),
    ),
    "backward weights not transposed": (
        case(T=9),
        ("zeros_like(h0), from_h.T", "zeros_like(h0), from_h"),
    ),
}


@pytest.mark.parametrize("which", MUTANTS)
def test_mutants_fail(tmp_path, which):
    wrong_on, replaced = MUTANTS[which]
    judgement = evaluate(str(changed(tmp_path, *replaced)), "cpu", wrong_on)
    assert judgement.verdict == "fail"
    assert evaluate(NAME, "cpu", wrong_on).verdict in ("pass", "chaotic")


def draw(T, H, radius, dtype="float64"):
    random = np.random.default_rng(0)
    weight_hh = random.standard_normal((H, H))
    weight_hh *= radius / abs(np.linalg.eigvals(weight_hh)).max()
    arrays = random.standard_normal((T, 2, H)) / 2, random.uniform(-1, 1, (2, H))
    cell = random.standard_normal((H, H)) / H, weight_hh, np.zeros(H), np.zeros(H)
    x, h0, cell = jax.tree.map(lambda a: jax.numpy.asarray(a, dtype), (*arrays, cell))
    return x, h0, jax_newton.prepare(cell, "tanh")


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def test_it_converges_in_few_iterations():
    """So that what is judged above is Newton's method, and not the steps that would follow."""
    found = jax_newton.solve(*draw(500, 8, 0.9), "tanh")
    assert found.settled == 500
    assert found.iterations <= 5


ONE_STEP = "STEPS, BLOCKS = 16, 4", "STEPS, BLOCKS = 1, 4"
TRANSPOSED = "(error[..., None, :] @ by)", "(by @ error[..., None]).swapaxes(-1, -2)"
DIAGONAL = "DENSE_UP_TO = 32", "DENSE_UP_TO = 0"


@pytest.mark.parametrize(
    ("replaced", "converges"),
    [((), True), (TRANSPOSED, False), (DIAGONAL, False)],
    ids=["whole", "transposed", "diagonal"],
)
def test_without_blocks_all_depends_on_the_derivatives(tmp_path, replaced, converges):
    """Few iterations need the right derivative of every step: a wrong one is seen."""
    module = contract._import(str(changed(tmp_path, *ONE_STEP, *replaced)))
    found = module.solve(*draw(150, 8, 0.9), "tanh")
    assert (found.settled == 150) == converges
    expected, _ = jax_scan.layer(*draw(150, 8, 0.9), "tanh")
    np.testing.assert_allclose(found.output, expected, rtol=0, atol=1e-13)


NOT_FINISHED = "return states.at[:, k].set(found)", "return states"


@pytest.mark.parametrize(
    ("replaced", "right"), [((), True), (NOT_FINISHED, False)], ids=["finished", "left"]
)
def test_an_expansive_recurrence_is_said_not_to_converge_and_is_right(tmp_path, replaced, right):
    """Every step follows from the one before it, to its rounding; not if the rest is left."""
    module = contract._import(str(changed(tmp_path, *replaced)))
    x, h0, prepared = draw(300, 16, 4.0)
    found = module.solve(x, h0, prepared, "tanh")
    assert found.iterations == module.ITERATIONS
    assert found.settled < 300
    from_x, from_h, bias = prepared
    before = np.concatenate([h0[None], found.output[:-1]])
    follows = np.tanh(x @ from_x + bias + before @ from_h)
    assert (np.abs(found.output - follows).max() < 1e-13) == right
    assert (found.h_n == found.output[-1]).all()


# Products whose terms are rounded by so much, otherwise while stepping than when all is verified: a
# number that looks random, made of the state's bits and the place in the weights.
COARSE = """
def coarse(h, matrix, salt):
    place = jnp.arange(matrix.size, dtype=jnp.uint32).reshape(matrix.shape)
    bits = jax.lax.bitcast_convert_type(h, jnp.uint32)[..., None] * jnp.uint32(2246822519)
    bits = bits + (place + jnp.uint32(salt)) * jnp.uint32(2654435761)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(3266489917)
    noise = ((bits ^ (bits >> 13)).astype(h.dtype) / 2.0**31 - 1) * {roundoff}
    return h @ matrix + (h[..., None] * matrix * noise).sum(-2)


class Solution("""
STEPPING = "finish(now[0] + h @ matrix,", "finish(now[0] + coarse(h, matrix, 1),"
VERIFYING = "blocks[0] + before @ matrix,", "blocks[0] + coarse(before, matrix, 7),"


@pytest.mark.parametrize(
    ("roundoff", "margin", "settles"),
    [(2.0**-22, 1.5, True), (2.0**-12, 1.5, True), (2.0**-22, 0, False)],
    ids=["a unit or two", "TF32", "without a margin"],
)
def test_coarse_products_do_not_keep_it_from_settling(tmp_path, roundoff, margin, settles):
    """As where a tensor core makes one of two products: both are right to their own rounding."""
    products = ("class Solution(", COARSE.format(roundoff=roundoff)), STEPPING, VERIFYING
    replaced = [*sum(products, ()), "MARGIN = 1.5", f"MARGIN = {margin}"]
    module = contract._import(str(changed(tmp_path, *replaced)))
    x, h0, (from_x, from_h, bias) = draw(1500, 16, 0.9, "float32")
    found = module.solve(x, h0, (from_x, from_h, bias), "tanh")
    assert (found.settled == 1500) == settles
    assert (found.iterations <= 5) == settles

    def step(h, given):
        h = jax.numpy.tanh(given + module.coarse(h, from_h, 1))
        return h, h

    _, one_by_one = jax.lax.scan(step, h0, x @ from_x + bias)
    doubles = jax.tree.map(lambda a: a.astype("float64"), (x, h0, (from_x, from_h, bias)))
    true, _ = jax_scan.layer(*doubles, "tanh")
    assert np.abs(found.output - true).max() <= 2 * np.abs(one_by_one - true).max()


def test_coarse_products_do_not_settle_an_expansive_recurrence(tmp_path):
    products = ("class Solution(", COARSE.format(roundoff=2.0**-22)), STEPPING, VERIFYING
    module = contract._import(str(changed(tmp_path, *sum(products, ()))))
    found = module.solve(*draw(300, 16, 4.0, "float32"), "tanh")
    assert found.iterations == module.ITERATIONS
    assert found.settled < 300


def test_products_that_overflow_do_no_harm():
    """Neither those of derivatives, nor those of which the rounding is estimated."""
    x, h0, (from_x, from_h, bias) = draw(40, 4, 1.0, "float32")
    for scale in (1e10, 1e25):
        arguments = x, h0, (from_x, from_h * scale, bias), "tanh"
        found, _ = jax_newton.layer(*arguments)
        expected, _ = jax_scan.layer(*arguments)
        np.testing.assert_array_equal(found, expected)


def test_a_batch_of_calls_is_mapped():
    x, h0, prepared = draw(20, 3, 0.9)
    both = jax.numpy.stack([x, -x])
    found, _ = jax.vmap(lambda x: jax_newton.layer(x, h0, prepared, "tanh"))(both)
    expected, _ = jax_newton.layer(-x, h0, prepared, "tanh")
    np.testing.assert_allclose(found[1], expected, rtol=0, atol=1e-14)


def test_it_says_that_it_is_differentiated_once_and_in_reverse():
    x, h0, prepared = draw(5, 3, 0.9)

    def loss(x):
        return (jax_newton.layer(x, h0, prepared, "tanh")[0] ** 2).sum()

    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (x,), (x,))
    with pytest.raises(ValueError, match="Reverse-mode differentiation"):
        jax.grad(lambda x: jax.grad(loss)(x).sum())(x)
