"""The numeric environment of a worker: set before its framework is imported, and recorded.

Who decides on a variable that the user has set, too:

- Threads and precision are the run's, since the records say what they were: `--threads` (one, if
  it is not given) and `--matmul-precision` win over OMP_NUM_THREADS, NVIDIA_TF32_OVERRIDE and the
  like, and x64 is on, without which JAX has no float64.
- Of XLA_FLAGS, a list, the user's flags are kept and ours are added. Only XLA's own switch of its
  threads is the run's.
- All else is the user's. Where nothing was set, two defaults are ours.
"""

import os
import re
from collections.abc import Mapping

import msgspec

from rnnparity.errors import UsageError, one_line

# From the finest: a framework may be finer than it is allowed to be, never coarser.
MATMUL_PRECISIONS = ("float32", "tf32", "bfloat16")

# What JAX calls them. Not BF16_BF16_F32: that would round float64 and float16 as well.
_OF_JAX = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}

# What libraries read their number of threads from, and XLA's flag for its own.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
XLA_THREADS = "--xla_cpu_multi_thread_eigen"

# A user's variables that a record of a run has to tell: those of the libraries, by their prefixes,
# and single ones.
PREFIXES = (
    *("ATEN_", "BLIS_", "CUBLAS_", "CUDA_", "CUDNN_", "DNNL_", "GOMP_", "GOTO_", "JAX_", "KMP_"),
    *("MKL_", "NPY_", "NUMBA_", "NUMEXPR_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_"),
    *("TORCHDYNAMO_", "TORCHINDUCTOR_", "VECLIB_", "XLA_"),
)
NAMES = ("LD_PRELOAD", "NPROC", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")

# What a size of memory may be said in; "g" and "gb" are the same, as in Docker's options.
UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
UNITS |= {f"{unit}i": 2 ** (10 * power) for power, unit in enumerate("kmgt", 1)}

# More bytes than any machine has; what records can hold ends soon after.
MOST_MEMORY = 10**18


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the numbers and the speed besides the code.

    Attributes:
        threads: threads that a framework may use for one operation.
        matmul_precision: of float32 matrix products: "float32", every product in full; or how far
            inputs may be rounded where the hardware is faster then: "tf32", to 11 significant bits;
            "bfloat16", to 8.
        tanh_absolute: an error that tanh may have besides its relative one, at any argument: what
            forms by exp or by the logistic function have near zero. It is in the unit.
        memory: bytes that a worker may take, with all that it starts; 0 for half of what the
            machine has.
    """

    threads: int = 1
    matmul_precision: str = "float32"
    tanh_absolute: float = 0.0
    memory: int = 0

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
        whole = isinstance(self.memory, int) and not isinstance(self.memory, bool)
        if not (whole and 0 <= self.memory < MOST_MEMORY):
            raise UsageError(
                f"memory is {one_line(repr(self.memory), 60)}, expected bytes, as 4 * 10**9, or 0 "
                "for half of what the machine has"
            )

    def environment_variables(self, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the variables to set before NumPy, PyTorch or JAX is imported.

        Args:
            given: what the user has set; this process's own environment if None.
        """
        given = os.environ if given is None else given
        n = str(self.threads)
        variables = dict.fromkeys(THREADS, n)
        # XLA's own pool has no size to set: off for one thread, else NPROC is what it reads.
        eigen = "true" if self.threads > 1 else "false"
        variables["XLA_FLAGS"] = _with_flag(given.get("XLA_FLAGS", ""), XLA_THREADS, eigen)
        variables["NPROC"] = n
        variables["JAX_ENABLE_X64"] = "1"
        variables["JAX_DEFAULT_MATMUL_PRECISION"] = self.jax_matmul_precision
        if self.matmul_precision == "float32":
            variables["NVIDIA_TF32_OVERRIDE"] = "0"
        # OpenBLAS's threads spin for 0.1 s after each product, beside whatever runs then; for 2^20
        # cycles they still do, which is longer than the pause between two steps of a loop.
        if self.threads > 1:
            variables["OPENBLAS_THREAD_TIMEOUT"] = given.get("OPENBLAS_THREAD_TIMEOUT", "20")
        preallocate = "XLA_PYTHON_CLIENT_PREALLOCATE"
        variables[preallocate] = given.get(preallocate, "false")
        return variables

    @property
    def jax_matmul_precision(self) -> str:
        """What JAX calls the precision."""
        return _OF_JAX[self.matmul_precision]


def numeric_variables(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return those of a user's variables that may decide numbers or speed, by name.

    Args:
        given: what the user has set; this process's own environment if None.
    """
    given = os.environ if given is None else given
    return {
        name: given[name] for name in sorted(given) if name in NAMES or name.startswith(PREFIXES)
    }


def threads_given(given: Mapping[str, str] | None = None) -> int:
    """Return the threads that OMP_NUM_THREADS says, where there is no `--threads`; 1 if unset.

    Args:
        given: what the user has set; this process's own environment if None.
    """
    given = os.environ if given is None else given
    # Of nested regions, the outer one's.
    first = given.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, int(first)) if first.isdecimal() else 1


def parse_memory(text: str) -> int:
    """Return the bytes that a size of memory is: "4GB", "1.5 GiB", "500m".

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([kmgt]i?)b?", text.strip().lower(), re.ASCII)
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not 0 < size < MOST_MEMORY:
        raise UsageError(
            f"memory is {one_line(text, 60)!r}, expected a size with its unit, as 4GB or 500MB"
        )
    return size


def _with_flag(flags: str, name: str, value: str) -> str:
    """Return flags with one of them set, the others as they were."""
    kept = [flag for flag in flags.split() if flag.partition("=")[0] != name]
    return " ".join([*kept, f"{name}={value}"])
