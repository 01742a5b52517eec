"""The ways, by what they do differently: order, biases, tanh, its derivative, gradients, dtype."""

from rnnparity.right_ways import nonlinearities as f
from rnnparity.right_ways import steps, sums
from rnnparity.right_ways.recurrence import Way, in_chunks, row_by_row

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
    Way(
        "the biases as columns", "an input of ones", sums.EIGHT_LANES, steps.biases_as_columns
    ),
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
        from_a=True,
    ),
    Way("tanh up to 4 ULP high", "a fast library's bound", ulps=4),
    Way("tanh up to 4 ULP low", "the same on the other side", ulps=-4, slope=f.product_of_two),
    Way("the slope by cosh", "a textbook's derivative", slope=f.by_cosh, from_a=True),
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
)
