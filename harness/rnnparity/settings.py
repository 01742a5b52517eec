"""The numeric environment of a worker: set before its framework is imported, and recorded."""

import msgspec

from rnnparity.errors import UsageError

# From the finest: a framework may be finer than it is allowed to be, never coarser.
MATMUL_PRECISIONS = ("float32", "tf32", "bfloat16")

# What JAX calls them. Not BF16_BF16_F32: that would round float64 and float16 as well.
_OF_JAX = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the numbers and the speed besides the code.

    Attributes:
        threads: threads that a framework may use for one operation.
        matmul_precision: of float32 matrix products: "float32", every product in full; or how far
            inputs may be rounded where the hardware is faster then: "tf32", to 11 significant bits;
            "bfloat16", to 8.
        tanh_absolute: an error that tanh may have besides its relative one, at any argument: what
            forms by exp or by the logistic function have near zero. It is in the unit.
    """

    threads: int = 1
    matmul_precision: str = "float32"
    tanh_absolute: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no framework can be set to.

        Raises:
            UsageError: fewer than one thread, an unknown precision, or no error of tanh.
        """
        if self.threads < 1:
            raise UsageError(f"threads is {self.threads}, expected 1 or more")
        if self.matmul_precision not in MATMUL_PRECISIONS:
            raise UsageError(
                f"matmul precision is {self.matmul_precision!r}, "
                f"expected one of {', '.join(MATMUL_PRECISIONS)}"
            )

        if not 0 <= self.tanh_absolute < 1:
            raise UsageError(
                f"tanh_absolute is {self.tanh_absolute}, expected an error from 0 to 1, as 1e-7"
            )

    def environment_variables(self) -> dict[str, str]:
        """Return the variables to set before NumPy, PyTorch or JAX is imported."""
        n = str(self.threads)
        variables = dict.fromkeys(
            (
                "OMP_NUM_THREADS",
                "OPENBLAS_NUM_THREADS",
                "MKL_NUM_THREADS",
                "BLIS_NUM_THREADS",
                "VECLIB_MAXIMUM_THREADS",
                "NUMEXPR_NUM_THREADS",
            ),
            n,
        )
        # OpenBLAS's threads spin for 0.1 s after each product, beside whatever runs then; for 2^20
        # cycles they still do, which is longer than the pause between two steps of a loop.
        if self.threads > 1:
            variables["OPENBLAS_THREAD_TIMEOUT"] = "20"
        # XLA's own pool has no size to set: off for one thread, else NPROC is what it reads.
        eigen = "true" if self.threads > 1 else "false"
        variables["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={eigen}"
        variables["NPROC"] = n
        variables["JAX_ENABLE_X64"] = "1"
        variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        variables["JAX_DEFAULT_MATMUL_PRECISION"] = self.jax_matmul_precision
        if self.matmul_precision == "float32":
            variables["NVIDIA_TF32_OVERRIDE"] = "0"
        return variables

    @property
    def jax_matmul_precision(self) -> str:
        """What JAX calls the precision."""
        return _OF_JAX[self.matmul_precision]
