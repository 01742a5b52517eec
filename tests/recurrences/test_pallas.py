"""The Pallas kernels, interpreted, and copies of them with a mistake, which must be failed.

What interpretation does not show is read off what they are for a card: that nothing is read or
written past the last sequence, and that a card has room for them.
"""

import re
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import evaluate, loaded, reference_of

from rnnparity.cells.config import RNNConfig
from rnnparity.implementations import contract
from rnnparity.implementations.execution import execute
from rnnparity.judging.limit import LIMIT
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case

jax = pytest.importorskip("jax")
blocks = pytest.importorskip("recurrences.pallas_blocks")

FOLDERS = {"rnn": "elman", "gru": "gru", "lstm": "lstm"}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
PAGES = {kind: import_module(f"recurrences.{name}.pallas_fused") for kind, name in FOLDERS.items()}

# Blocks of several sequences, though there are few; and nothing on chip.
FRAMEWORK = 'framework = "jax"\n'
WITHOUT_GRADIENTS = FRAMEWORK + "gradients = False\n"
SEVERAL = {"MANY, ROWS = 2 * 132, 16": "MANY, ROWS = 2, 4"}
BY_SCAN = {"BYTES_PER_BLOCK = 2**16": "BYTES_PER_BLOCK = 2**9"}


@pytest.fixture(autouse=True)
def _compiled_quickly():
    """By XLA, without most of what makes it fast: it is compiled once, and run twice."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def case(kind="rnn", T=3, B=2, I=2, H=3, dtype="float32", ragged=False, h0=True, **arguments):
    config = RNNConfig(input_size=I, hidden_size=H, kind=kind, **arguments)
    return Case(config=config, T=T, B=B, dtype=dtype, ragged=ragged, h0=h0)


def changed(folder, kind, *changes):
    """Write a copy of a page and what it imports, every change made once, and return the path."""
    texts = [Path(one.__file__).read_text(encoding="utf-8") for one in (PAGES[kind], blocks)]
    for old, new in (item for change in changes for item in change.items()):
        assert sum(text.count(old) for text in texts) == 1, old
        texts = [text.replace(old, new) for text in texts]
    page, shared = texts
    imported = "from recurrences import pallas_blocks as blocks\n"
    assert page.count(imported) == 1
    own = f"import types\n\nblocks = types.ModuleType('blocks')\nexec({shared!r}, vars(blocks))\n"
    path = folder / "changed.py"
    path.write_text(page.replace(imported, own), encoding="utf-8")
    return str(path)


# Each value of each argument once or more, not each beside each other's.
CASES = {
    "padded": case(H=17),
    "relu, all at once": case(
        H=5, nonlinearity="relu", num_layers=2, bidirectional=True, ragged=True, batch_first=True
    ),
    "unbatched, not padded": case(T=4, B=None, H=16, bias=False, h0=False, dtype="float64"),
    "one of all": case(T=1, B=1, I=1, H=1, nonlinearity="relu"),
    "several in a block": case(B=300, T=2),
    "too large": case(H=129),
    "float16": case(dtype="float16"),
    "gru, all at once": case("gru", H=17, bidirectional=True, ragged=True, dtype="float64"),
    "gru, bfloat16": case("gru", B=1, dtype="bfloat16"),
    "lstm, all at once": case("lstm", H=17, bidirectional=True, ragged=True, dtype="float64"),
    "lstm, float16": case("lstm", B=1, dtype="float16"),
}


@pytest.mark.parametrize("which", CASES)
def test_it_agrees_with_the_truth(which):
    """Outputs, last states and gradients."""
    one = CASES[which]
    judgement = evaluate(PAGES[one.config.kind].__name__, "cpu", one)
    assert judgement.verdict == "pass", judgement.reason
    assert "grad_weight_hh_l0" in judgement.quantities


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("change", [SEVERAL, BY_SCAN], ids=["several in a block", "by a scan"])
def test_a_right_copy_passes(tmp_path, kind, change):
    judgement = evaluate(changed(tmp_path, kind, change), "cpu", case(kind, B=5, H=9))
    assert judgement.verdict == "pass", judgement.reason


# What is seen in the results, then what is seen in gradients only.
OF_RESULTS = {
    "rnn": {
        "the padding of W_hh is not zeros": {
            "other=0.0) for k in range(len(": "other=jnp.inf) for k in range(len("
        },
        "another block's sequences": {"group if axis == batch": "0 if axis == batch"},
        "what is added comes a step late": {"read(jnp.minimum(t + 1, last))": "read(t)"},
        "the last step is not made": {
            "    h, _ = lax.fori_loop(0, last + 1,": "    h, _ = lax.fori_loop(0, last,"
        },
        "the last sequence left out": {"+ row < B)": "+ row < B - 1)"},
        "the first state for the last": {"store(h_n, h,": "store(h_n, first[0],"},
        "no bias": {"blocks.product(x, from_x) + bias": "blocks.product(x, from_x)"},
    },
    "gru": {
        "the padding of W_hh is not zeros": {
            "other=0.0) for k in range(len(": "other=jnp.inf) for k in range(len("
        },
        "another block's sequences": {"group if axis == batch": "0 if axis == batch"},
        "what is added comes a step late": {"read(jnp.minimum(t + 1, last))": "read(t)"},
        "r and z exchanged": {"r, z, q = _logistic": "z, r, q = _logistic"},
        "b_hn outside of r": {
            "products[2] + bias_hn": "products[2]",
            "a[2] + r * q": "a[2] + bias_hn + r * q",
        },
    },
    "lstm": {
        "the padding of W_hh is not zeros": {
            "other=0.0) for k in range(len(": "other=jnp.inf) for k in range(len("
        },
        "another block's sequences": {"group if axis == batch": "0 if axis == batch"},
        "what is added comes a step late": {"read(jnp.minimum(t + 1, last))": "read(t)"},
        "i and f exchanged": {"c = f * c + i * g": "c = i * c + f * g"},
        "h_n for c_n": {"store(c_n, c,": "store(c_n, h,"},
    },
}
OF_GRADIENTS = {
    "rnn": {
        "that of h_n left out": {
            "blocks.load(grad_h_n, mask), read": "jnp.zeros_like(weight[:1]), read"
        },
        "W_hh not transposed": {"shapes, from_h.T[None],": "shapes, from_h[None],"},
        "relu's slope of the step before": {
            "_slope(h, nonlinearity)\n        blocks.store": (
                "_slope(later[1], nonlinearity)\n        blocks.store"
            )
        },
        "of W_hh with a state a step late": {"jnp.concatenate([h0[None], output])[:T]": "output"},
    },
    "gru": {
        "that of h_n left out": {
            "blocks.load(grad_h_n, mask), read": ("jnp.zeros_like(weights[0][:1]), read")
        },
        "W_hh not transposed": {"before), from_h.swapaxes(1, 2)": "before), from_h"},
        "gates in another order": {
            "blocks.store(of_all.at[t, :, blocks.nth(k)]": (
                "blocks.store(of_all.at[t, :, blocks.nth(3 - k)]"
            )
        },
        "what goes past n left out": {"grad_h * now[1] + sum": "sum"},
        "n's product without r": {"grad_n * r)": "grad_n)"},
        "the state of another step": {"before.at[t],": "before.at[last - t],"},
    },
    "lstm": {
        "that of h_n left out": {"(*start, read": "(jnp.zeros_like(c_0), *[*start][1:], read"},
        "that of c_n left out": {"(*start, read": "(next(start), jnp.zeros_like(c_0), read"},
        "W_hh not transposed": {"gates, c0), from_h.swapaxes(1, 2)": "gates, c0), from_h"},
        "gates in another order": {"i, f, g, o, c = gates": "o, f, g, i, c = gates"},
        "c_0 left out": {"later[-1], c_0)": "later[-1], 0)"},
        "c of a step for that before it": {"later[-1], c_0)": "now[-1], c_0)"},
    },
}


def named(mutants):
    return [(kind, name) for kind, of_kind in mutants.items() for name in of_kind]


def verdict(path, one):
    """Judge a case, and do not explain a failure: that would run it again and again."""
    (implementation, its_border), against = loaded(path), reference_of(one)
    return judge(one, execute(implementation, its_border, one, against.problem, "cpu"), against)


@pytest.mark.parametrize(("kind", "name"), named(OF_RESULTS))
def test_a_mistake_is_failed(tmp_path, kind, name):
    path = changed(tmp_path, kind, OF_RESULTS[kind][name], {FRAMEWORK: WITHOUT_GRADIENTS})
    assert verdict(path, case(kind)).verdict == "fail"


@pytest.mark.parametrize(("kind", "name"), named(OF_GRADIENTS))
def test_a_mistake_on_the_way_back_is_failed(tmp_path, kind, name):
    path = changed(tmp_path, kind, OF_GRADIENTS[kind][name])
    arguments = {"nonlinearity": "relu"} if "relu" in name else {}
    judgement = verdict(path, case(kind, **arguments))
    assert judgement.verdict == "fail"
    assert judgement.quantities["output"].z < LIMIT


def problem(kind, T=4, B=2, I=2, H=3, dtype="float32"):
    """Return x, the states before, the cell and gradients of the results."""
    random = np.random.default_rng(T + B + I + H)

    def draw(*shape, bound=1.0):
        return jax.numpy.asarray(random.uniform(-bound, bound, shape), dtype)

    rows, states = GATES[kind] * H, 2 if kind == "lstm" else 1
    cell = tuple(draw(*shape, bound=H**-0.5) for shape in ((rows, I), (rows, H), (rows,), (rows,)))
    before = tuple(draw(B, H) for _ in range(states))
    return draw(T, B, I), before, cell, (draw(T, B, H), *(draw(B, H) for _ in range(states)))


def more(kind, nonlinearity="tanh"):
    return (nonlinearity,) if kind == "rnn" else ()


def run(page, kind, x, before, cell, nonlinearity="tanh"):
    arguments = more(kind, nonlinearity)
    return page.layer(x, *before, page.prepare(cell, *arguments), *arguments)


def scan_of(kind):
    return import_module(f"recurrences.{FOLDERS[kind]}.jax_scan")


def assert_close(found, expected, rtol=1e-5):
    __tracebackhide__ = True
    found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max(initial=0))


NO_MASK = {
    "rnn": {
        "h = jnp.where(mask, _activate(a + blocks.times(h, weight), nonlinearity), 0)": (
            "h = _activate(a + blocks.times(h, weight), nonlinearity)"
        )
    },
    "gru": {"h = jnp.where(mask, h, 0)": "h = h"},
    "lstm": {"h = jnp.where(mask, h, 0)": "h = h"},
}


@pytest.mark.parametrize(
    ("kind", "block"), [("rnn", {}), ("gru", SEVERAL), ("lstm", {})], ids=FOLDERS
)
def test_an_infinite_state_stays_out_of_the_padding(tmp_path, kind, block):
    x, before, cell, _ = problem(kind)
    cell = jax.tree.map(abs, cell)
    before = (before[0].at[0, 1].set(np.inf), *before[1:])
    expected = run(scan_of(kind), kind, abs(x), before, cell, "relu")
    for change, same in (({}, True), (NO_MASK[kind], False)):
        page = contract._import(changed(tmp_path, kind, block, change))
        found = run(page, kind, abs(x), before, cell, "relu")
        assert np.allclose(found[0], expected[0], rtol=1e-5, equal_nan=True) == same


def test_what_is_no_number_stays_so(tmp_path):
    """Of relu, too, for which a card's maximum would return a number."""
    x, before, cell, _ = problem("rnn")
    x = x.at[1, 0].set(np.nan)
    found = run(PAGES["rnn"], "rnn", x, before, cell, "relu")[0]
    assert np.isnan(found[1:, 0]).all()
    assert np.isfinite(found[:, 1]).all()
    for _, text in kernels(PAGES["rnn"], "rnn", 3, 20, nonlinearity="relu"):
        assert "maxnum" not in text
    maximum = {"jnp.where(a <= 0, 0, a)": "jnp.maximum(a, 0)"}
    page = contract._import(changed(tmp_path, "rnn", maximum))
    assert "maxnum" in kernels(page, "rnn", 3, 20, nonlinearity="relu")[0][1]


@pytest.mark.parametrize(("T", "B"), [(0, 2), (4, 0)])
@pytest.mark.parametrize("kind", FOLDERS)
def test_without_a_step_or_a_sequence(kind, T, B):
    x, before, cell, upstream = problem(kind, T=T, B=B)
    results, pull = jax.vjp(lambda *given: run(PAGES[kind], kind, *given), x, before, cell)
    grad_x, grad_before, grad_cell = pull(upstream)
    assert results[0].shape == (T, B, 3)
    assert grad_x.shape == x.shape
    assert not any(one.any() for one in grad_cell)
    if T == 0:
        assert_close(results[1:], before, rtol=0)
        assert_close(grad_before, upstream[1:], rtol=0)


@pytest.mark.parametrize("kind", FOLDERS)
def test_it_is_differentiated_twice_and_in_reverse(kind):
    x, before, cell, upstream = problem(kind, T=2, dtype="float64")

    def twice(page):
        def slope(scale):
            def loss(scale):
                results = run(page, kind, scale * x, before, cell)
                return sum((a * b).sum() for a, b in zip(results, upstream, strict=True))

            return jax.grad(loss)(scale)

        return jax.jit(jax.grad(slope))(1.0)

    assert_close(twice(PAGES[kind]), twice(scan_of(kind)), rtol=1e-10)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: run(PAGES[kind], kind, x, before, cell), (x,), (x,))


@pytest.mark.parametrize("kind", FOLDERS)
def test_it_is_mapped(kind):
    """Over calls on other inputs, and on other weights."""
    x, before, cell, _ = problem(kind)
    many = jax.tree.map(lambda a: jax.numpy.stack([a, a / 2]), (x, cell))
    found = jax.vmap(lambda x, cell: run(PAGES[kind], kind, x, before, cell))(*many)
    for k in range(2):
        one_x, one_cell = jax.tree.map(lambda a, k=k: a[k], many)
        expected = run(scan_of(kind), kind, one_x, before, one_cell)
        assert_close([one[k] for one in found], expected)


def test_a_kernel_is_compiled_where_nothing_else_is():
    x, before, cell, _ = problem("rnn")
    with jax.disable_jit():
        assert_close(
            run(PAGES["rnn"], "rnn", x, before, cell), run(scan_of("rnn"), "rnn", x, before, cell)
        )


def test_without_types_of_64_bits():
    """As JAX is when nobody sets it: indices have another type then."""
    with jax.enable_x64(False):
        x, before, cell, upstream = problem("lstm")
        found = []
        for page in (PAGES["lstm"], scan_of("lstm")):
            results, pull = jax.vjp(
                lambda *given, page=page: run(page, "lstm", *given), x, before, cell
            )
            found.append((results, pull(upstream)))
        assert_close(*found)


def kernels(page, kind, B, H, dtype="float32", nonlinearity="tanh"):
    """Return what a card is given, forward and backward: (warps, text of Triton's) each."""
    pytest.importorskip("jaxlib.triton", reason="this jaxlib is without Triton")
    from jax.interpreters import mlir
    from jaxlib.mlir import ir
    from jaxlib.triton import dialect

    def gradients(x, before, cell, upstream):
        def function(*given):
            return run(page, kind, *given, nonlinearity)

        return jax.vjp(function, x, before, cell)[1](upstream)

    given = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), problem(kind, B=B, H=H, dtype=dtype)
    )
    lowered = jax.jit(gradients).trace(*given).lower(lowering_platforms=("cuda",))
    context = mlir.make_ir_context()
    dialect.register_dialect(context)
    context.load_all_available_dialects()
    found = []

    def walk(operation):
        if operation.name == "stablehlo.custom_call":
            config = ir.DictAttr(operation.attributes["mhlo.backend_config"])
            told = {one.name: one.attr for one in config}
            with context:
                module = ir.Module.parse(ir.StringAttr(told["ir"]).value_bytes)
            text = module.operation.get_asm(enable_debug_info=False)
            found.append((ir.IntegerAttr(told["num_warps"]).value, text))
        for block in (block for region in operation.regions for block in region.blocks):
            for one in block.operations:
                walk(one.operation)

    walk(lowered.compiler_ir().operation)
    return found


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("B", [3, 300])
@pytest.mark.parametrize("kind", FOLDERS)
def test_a_card_is_given_two_kernels_that_leave_what_is_beyond_the_arrays_alone(kind, B, x64):
    """Each reads W_hh once, before its loop; each access is masked, whatever the type."""
    with jax.enable_x64(x64):
        for dtype in ("float32", "float64", "bfloat16") if x64 else ("float32",):
            found = kernels(PAGES[kind], kind, B, 20, dtype)
            assert len(found) == 2
            for _, text in found:
                assert not unmasked(text)
                before, loop = text.split("scf.for")
                assert before.count("tensor<32x32x!tt.ptr") > 0
                assert loop.count("tensor<32x32x!tt.ptr") == 0


def unmasked(text):
    """Return the lines that read or write without a mask."""
    operands = {"tt.load": 2, "tt.store": 3}
    lines = [line for line in text.splitlines() if re.search(r"tt\.(load|store) ", line)]
    assert lines
    return [
        line
        for line in lines
        for name, least in operands.items()
        if f"{name} " in line and line.split(name)[1].split(" : ")[0].count("%") < least
    ]


def test_a_write_without_a_mask_is_seen(tmp_path):
    page = contract._import(
        changed(tmp_path, "rnn", {"store(h_n, h, mask)": "store(h_n, h, None)"})
    )
    assert [len(unmasked(text)) > 0 for _, text in kernels(page, "rnn", 300, 20)] == [True, False]


NEXT_GROUP = {"+ row < B) & (column": "+ row < B + 1) & (column"}


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize(("change", "right"), [({}, True), (NEXT_GROUP, False)])
def test_the_mask_is_of_what_is_there(tmp_path, kind, change, right):
    """Of five sequences in blocks of four, of states padded from 3 to 8."""
    from jax.experimental import pallas

    page = contract._import(changed(tmp_path, kind, change))

    def kernel(written):
        written[...] = page.blocks.inside(written, 5, 3).astype("float32")

    found = pallas.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((8, 8), "float32"),
        grid=(2,),
        out_specs=pallas.BlockSpec((4, 8), lambda group: (group, 0)),
        interpret=True,
    )()
    expected = np.outer(np.arange(8) < 5, np.arange(8) < 3)
    assert np.array_equal(found, expected) == right


@pytest.mark.parametrize("B", [3, 300])
@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_an_h100_has_room_for_the_largest(kind, B, tmp_path, monkeypatch):
    """All of it stays in registers, and shared memory suffices on smaller cards since 2020, too."""
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import get_ptxas

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    H = {"rnn": 128, "lstm": 64}[kind]
    for warps, text in kernels(PAGES[kind], kind, B, H):
        options = {"num_warps": warps, "enable_fp_fusion": True}
        path = tmp_path / "kernel.ttir"
        path.write_text(text)
        compiled = triton.compile(str(path), target=GPUTarget("cuda", 90, 32), options=options)
        assert compiled.metadata.shared <= 99 * 2**10
        path = tmp_path / "kernel.ptx"
        path.write_text(compiled.asm["ptx"])
        command = [get_ptxas(90).path, "-v", "-arch=sm_90a", path, "-o", tmp_path / "kernel"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        assert re.findall(r"(\d+) bytes spill", told) == ["0", "0"], told


def test_products_are_in_float32_unless_jax_is_set_to_less():
    for setting, less in ((None, 0), ("highest", 0), ("tensorfloat32", 1)):
        with jax.default_matmul_precision(setting):
            for _, text in kernels(PAGES["rnn"], "rnn", 300, 20):
                (product,) = (line for line in text.splitlines() if "tt.dot " in line)
                assert product.count("inputPrecision = tf32") == less


def test_an_older_jax_is_told(monkeypatch):
    monkeypatch.setattr(blocks, "triton", None)
    judgement = evaluate(PAGES["rnn"].__name__, "cpu", case(T=2, H=2))
    assert judgement.verdict == "unsupported"
    assert "as of JAX 0.7.1" in judgement.reason
