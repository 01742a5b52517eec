"""The numeric environment of a worker: set before its framework is imported, and recorded."""

import msgspec

from rnnparity.errors import UsageError

MATMUL_PRECISIONS = ("float32", "tf32")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the numbers and the speed besides the code.

    Attributes:
        threads: threads that a framework may use for one operation.
        matmul_precision: "float32", every product of a matrix multiplication in full float32; or
            "tf32", where the hardware has it: inputs rounded to 11 significant bits.
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
        full = self.matmul_precision == "float32"
        variables["JAX_DEFAULT_MATMUL_PRECISION"] = "highest" if full else "tensorfloat32"
        if full:
            variables["NVIDIA_TF32_OVERRIDE"] = "0"
        return variables
