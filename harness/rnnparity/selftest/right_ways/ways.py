"""The ways, by what they do differently: order, biases, tanh, its derivative, gradients, dtype.

Those of gates, which a plain RNN has not, come last.
"""

from typing import Any

from rnnparity.judging.mistakes.mistake import GATED
from rnnparity.selftest.right_ways import gates, steps, sums
from rnnparity.selftest.right_ways import nonlinearities as f
from rnnparity.selftest.right_ways.gradients import in_chunks, row_by_row
from rnnparity.selftest.right_ways.way import Way


def _of_gates(name: str, stands_for: str, *, kinds: tuple[str, ...] = GATED, **done: Any) -> Way:
    return Way(name, stands_for, kinds=kinds, **done)


WAYS = (
    Way("terms added first to last", "a loop in C", sums.ASCENDING),
    Way("terms added last to first", "a loop run down", sums.DESCENDING, steps.each_its_own),
    Way("terms added pairwise", "a tree of additions", sums.PAIRWISE, steps.biases_last),
    Way("terms added in 4 lanes", "SSE or NEON", sums.FOUR_LANES, steps.onto_the_projection),
    Way("terms added in 8 lanes", "AVX", sums.EIGHT_LANES, steps.onto_a_bias),
    Way(
        "terms added in 16 lanes",
        "AVX-512",
        sums.SIXTEEN_LANES,
        steps.from_biases,
        weights=in_chunks(1, wide=True),
    ),
    Way("tiles of 64 terms", "a small kernel of a GPU", sums.TILES_OF_64, steps.each_its_own),
    Way("tiles of 256 terms", "a kernel of a CPU", sums.TILES_OF_256, steps.onto_the_projection),
    Way("fused multiply-adds", "a compiler's contraction", sums.FUSED, steps.from_biases),
    Way("fused multiply-adds in 8 lanes", "AVX2", sums.FUSED_LANES, steps.onto_a_bias),
    Way("compensated sums", "Kahan's summation", sums.COMPENSATED, steps.one_by_one),
    Way("sums in a higher precision", "float64 accumulators", sums.HIGHER, steps.from_biases),
    Way("the smallest terms first", "sorted sums", sums.BY_SIZE, steps.state_first),
    Way("one product of [x, h]", "a concatenated input", sums.ASCENDING, steps.input_first),
    Way("one product of [h, x]", "the same, the state first", sums.ASCENDING, steps.state_first),
    Way("the biases as columns", "an input of ones", sums.EIGHT_LANES, steps.biases_as_columns),
    Way("the biases one after the other", "eager code", sums.BLAS, steps.one_by_one),
    Way("sums that start from the biases", "an accumulator", sums.ASCENDING, steps.from_biases),
    Way("columns for rows", "features first", sums.TRANSPOSED, steps.onto_a_bias),
    Way(
        "rows left over from tiles",
        "the edge of a tile takes another loop",
        sums.TILES_OF_ROWS,
        steps.each_its_own,
    ),
    Way(
        "tanh rounded correctly",
        "a table-driven library",
        tanh=f.by_higher,
        slope=f.product_of_two,
    ),
    Way("tanh by expm1", "a port of a C library", tanh=f.by_expm1),
    Way(
        "tanh by a continued fraction",
        "a rational approximation",
        tanh=f.by_continued_fraction,
        slope=f.one_minus_square_fused,
    ),
    Way(
        "tanh by exp and by a fraction",
        "CUDA's and HIP's library",
        step=steps.each_its_own,
        tanh=f.by_parts,
        slope=f.by_exp,
    ),
    Way("tanh as high as is right", "a fast library's bound", off=1),
    Way("tanh as low as is right", "the same on the other side", off=-1, slope=f.product_of_two),
    Way("the slope by cosh", "a textbook's derivative", slope=f.by_cosh),
    Way(
        "states computed again",
        "checkpointing, with another kernel",
        again=sums.EIGHT_LANES,
    ),
    Way(
        "gradients of weights added up step by step",
        "autograd over a loop",
        step=steps.each_its_own,
        weights=in_chunks(1),
    ),
    Way("gradients of weights in chunks of steps", "chunked kernels", weights=in_chunks(16)),
    Way(
        "gradients of weights row by row",
        "batch-first layouts",
        sums.ASCENDING,
        weights=row_by_row,
    ),
    Way("subnormal numbers flushed", "XLA on a CPU, and GPUs", flushes=True),
    Way(
        "only states rounded",
        "a fused kernel: sums, biases and tanh in float32",
        step=steps.from_biases,
        rounds="factors",
    ),
    Way(
        "the state kept in float32",
        "a kernel with its state in registers",
        step=steps.from_biases,
        rounds="output",
    ),
    Way(
        "the state kept in float32 within chunks",
        "the same, launched again every 16 steps",
        sums.EIGHT_LANES,
        step=steps.onto_a_bias,
        rounds="output",
        every=16,
        weights=in_chunks(16, wide=True),
    ),
    _of_gates(
        "a product for every gate",
        "a dense layer per gate",
        order=sums.ASCENDING,
        step=steps.each_its_own,
        each_gate=True,
    ),
    _of_gates(
        "a product of [x, h] for every gate",
        "the same, on a concatenated input",
        step=steps.input_first,
        each_gate=True,
        onto=True,
    ),
    _of_gates(
        "the logistic function by tanh",
        "a kernel with a fast tanh",
        logistic=f.logistic_by_tanh,
        step=steps.onto_a_bias,
    ),
    _of_gates(
        "the logistic function by exp of the size",
        "a port that avoids overflow",
        logistic=f.logistic_of_size,
        logistic_slope=f.less_its_square,
    ),
    _of_gates(
        "the logistic function rounded at every operation",
        "eager code",
        logistic=f.logistic_step_by_step,
        step=steps.one_by_one,
    ),
    _of_gates(
        "the logistic function rounded correctly",
        "a table-driven library",
        logistic=f.logistic_by_higher,
        tanh=f.by_higher,
        logistic_slope=f.product_with_other_side,
    ),
    _of_gates("PyTorch's logistic function", "itself", logistic=f.logistic_by_torch, needs="torch"),
    _of_gates("JAX's logistic function", "itself", logistic=f.logistic_by_jax, needs="jax"),
    _of_gates("the logistic function as high as is right", "a library's bound", logistic_off=1),
    _of_gates(
        "the logistic function as low as is right",
        "the same on the other side",
        logistic_off=-1,
        logistic_slope=f.less_its_square,
    ),
    _of_gates(
        "the logistic slope as s - s^2",
        "one product, one difference",
        logistic_slope=f.less_its_square,
        weights=row_by_row,
    ),
    _of_gates(
        "the logistic slope as s(a) s(-a)",
        "no difference that cancels",
        logistic_slope=f.product_with_other_side,
        weights=in_chunks(1),
    ),
    _of_gates(
        "fused multiply-adds in the gates",
        "a compiler's contraction",
        fuses="first",
        onto=True,
    ),
    _of_gates(
        "fused multiply-adds in the gates, the other way round",
        "the same, of the other product",
        fuses="second",
        step=steps.from_biases,
    ),
    _of_gates(
        "the carried gradient onto what passes by",
        "a product that adds to its result",
        order=sums.EIGHT_LANES,
        onto=True,
    ),
    _of_gates(
        "gates computed again, gate by gate",
        "checkpointing, with another kernel",
        each_gate=True,
        again=sums.TILES_OF_64,
    ),
    _of_gates(
        "gates and states kept in float32",
        "a fused cell, with products of its own for every gate",
        step=steps.onto_the_projection,
        each_gate=True,
        rounds="output",
        logistic=f.logistic_by_tanh,
        fuses="first",
    ),
    _of_gates("h as n + z (h - n)", "PyTorch's", update=gates.FROM_N, kinds=("gru",)),
    _of_gates(
        "h as n + z (h - n), fused",
        "a kernel's interpolation",
        update=gates.FROM_N,
        fuses="first",
        kinds=("gru",),
    ),
    _of_gates(
        "1 - z by the logistic function of -a",
        "the same of the gate itself",
        update=gates.BY_TWO_GATES,
        kinds=("gru",),
    ),
    _of_gates(
        "the update differentiated term by term",
        "autograd through (1 - z) n + z h",
        update=gates.BY_PARTS,
        kinds=("gru",),
    ),
)
