"""The numeric environment: what is the run's, what is the user's, and what is recorded of both."""

import json
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import UsageError
from rnnparity.implementations import contract, execution
from rnnparity.implementations.frameworks import get
from rnnparity.implementations.settings import (
    Settings,
    numeric_variables,
    parse_memory,
    threads_given,
)
from rnnparity.problems import arrays
from rnnparity.problems.cases import Case
from rnnparity.records import environment

SHOW = """
import os
framework = "numpy"
gradients = False

def layer(x, h0, cell, nonlinearity):
    raise RuntimeError(" ".join(f"{n}:{os.environ.get(n)}" for n in {names}))
"""


def flags(given, threads=1):
    return Settings(threads=threads).environment_variables(given)["XLA_FLAGS"].split()


def test_a_users_xla_flags_are_kept_and_ours_added():
    ours = "--xla_cpu_multi_thread_eigen=false"
    assert flags({}) == [ours]
    own = "--xla_cpu_max_isa=AVX2 --xla_dump_to=here"
    assert flags({"XLA_FLAGS": own}) == [*own.split(), ours]
    assert flags({"XLA_FLAGS": f"{ours} --xla_cpu_max_isa=AVX"}) == ["--xla_cpu_max_isa=AVX", ours]


def test_threads_and_precision_are_the_runs():
    given = {
        "OMP_NUM_THREADS": "4",
        "NPROC": "4",
        "NVIDIA_TF32_OVERRIDE": "1",
        "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true",
    }
    found = Settings().environment_variables(given)
    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == found["NPROC"] == "1"
    assert found["NVIDIA_TF32_OVERRIDE"] == "0"
    assert found["JAX_DEFAULT_MATMUL_PRECISION"] == "highest"
    assert flags(given) == ["--xla_cpu_multi_thread_eigen=false"]
    assert flags({"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}, 2) == [
        "--xla_cpu_multi_thread_eigen=true"
    ]
    in_tf32 = Settings(matmul_precision="tf32").environment_variables(given)
    assert "NVIDIA_TF32_OVERRIDE" not in in_tf32


def test_all_else_is_the_users():
    two = Settings(threads=2)
    names = "OPENBLAS_THREAD_TIMEOUT", "XLA_PYTHON_CLIENT_PREALLOCATE"
    defaults = two.environment_variables({})
    assert [defaults[name] for name in names] == ["20", "false"]
    given = {"OPENBLAS_THREAD_TIMEOUT": "26", "XLA_PYTHON_CLIENT_PREALLOCATE": "true"}
    assert [two.environment_variables(given)[name] for name in names] == ["26", "true"]
    assert "OPENBLAS_CORETYPE" not in two.environment_variables({"OPENBLAS_CORETYPE": "Haswell"})


@pytest.mark.parametrize(
    ("value", "threads"), [(None, 1), ("3", 3), ("4,2", 4), ("0", 1), ("all", 1), ("", 1)]
)
def test_where_no_threads_can_be_asked_for_omp_num_threads_says_them(value, threads):
    assert threads_given({} if value is None else {"OMP_NUM_THREADS": value}) == threads


def test_what_is_recorded_of_a_users_environment():
    given = {"OPENBLAS_CORETYPE": "Zen", "HOME": "/home/me", "OMP_DYNAMIC": "true", "NPROC": "3"}
    assert numeric_variables(given) == {"NPROC": "3", "OMP_DYNAMIC": "true"} | {
        "OPENBLAS_CORETYPE": "Zen"
    }
    told = environment._told(
        {"XLA_FLAGS": "--a=/secret/there --b=1", "LD_PRELOAD": "/x/y.so:/z/w.so"}
    )
    assert told == {"LD_PRELOAD": "y.so:w.so", "XLA_FLAGS": "--a=there --b=1"}


def test_a_worker_gets_the_users_flags_and_the_record_says_whose_they_are(tmp_path):
    names = ["XLA_FLAGS", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS"]
    (tmp_path / "show.py").write_text(SHOW.replace("{names}", repr(names)))
    own = {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "OPENBLAS_CORETYPE": "Haswell"}
    command = ["check", "show.py", "--case", "float32-torch-init-T12-B4-I8-H16", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-m", "rnnparity", *command, "--json"],
        env=os.environ | own | {"OMP_NUM_THREADS": "2"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    (record,) = json.loads(done.stdout)["records"]
    in_worker = "--xla_cpu_max_isa=AVX2 --xla_cpu_multi_thread_eigen=false"
    assert f"XLA_FLAGS:{in_worker} OPENBLAS_CORETYPE:Haswell" in record["reason"]
    assert "OMP_NUM_THREADS:1" in record["reason"]
    described = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert own.items() <= described["user_variables"].items()
    assert described["user_variables"]["OMP_NUM_THREADS"] == "2"
    assert described["variables"]["OMP_NUM_THREADS"] == "1"
    assert described["variables"]["XLA_FLAGS"] == in_worker
    assert described["variables"]["OPENBLAS_CORETYPE"] == "Haswell"


def test_what_arithmetic_warns_of_is_no_error_and_what_else_does_is():
    """NumPy warns of an overflow in some loops and not in others: which it takes is its own."""
    case = Case(config=RNNConfig(input_size=2, hidden_size=3), T=2, B=1)

    class Loud:
        framework, gradients = "numpy", False
        warning: Warning

        @classmethod
        def layer(cls, x, h0, cell, nonlinearity):
            warnings.warn(cls.warning, stacklevel=1)
            output = np.tanh(np.zeros((len(x), *h0.shape), x.dtype))
            return output, output[-1].copy()

    def verdict(warning):
        Loud.warning = warning
        implementation = contract.from_object("loud", Loud)
        border = get("numpy", Settings())
        return execution.execute(implementation, border, case, arrays.build(case), "cpu").verdict

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert verdict(RuntimeWarning("overflow encountered in multiply")) is None
        assert verdict(RuntimeWarning("something else")) == "error"
        assert verdict(UserWarning("overflow encountered in multiply")) == "error"


def test_float16_that_xla_cannot_compile_is_unsupported():
    """Below AVX it has no instructions for it; a right implementation is not to be failed."""
    pytest.importorskip("jax")
    program = (
        "from rnnparity.implementations.frameworks import get\n"
        "from rnnparity.implementations.settings import Settings\n"
        "print(get('jax', Settings()).dtypes('cpu'))\n"
    )

    def dtypes(flags):
        env = os.environ | {"XLA_FLAGS": flags}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=env, capture_output=True, text=True).stdout

    assert "bfloat16" in dtypes("--xla_cpu_max_isa=SSE4_2")
    # A later XLA may well compile it; what it must not do is break.
    compiles = (
        "import jax; jax.jit(lambda a: jax.numpy.tanh(a @ a))(jax.numpy.ones((2, 2), 'float16'))"
    )
    env = os.environ | {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"}
    can = subprocess.run([sys.executable, "-c", compiles], env=env, capture_output=True)
    assert ("'float16'" in dtypes("--xla_cpu_max_isa=SSE4_2")) == (can.returncode == 0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4 * 10**9),
        ("500mb", 5 * 10**8),
        ("1.5 GiB", 3 * 2**29),
        ("2g", 2 * 10**9),
        (" 1TB ", 10**12),
        ("64k", 64000),
        ("1KiB", 1024),
    ],
)
def test_a_size_of_memory_is_read(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    "text", ["", "4", "GB", "-4GB", "0GB", "4XB", "4 G B", "nanGB", "infGB", "1e3GB", "4iB", "٤GB"]
)
def test_what_is_no_size_of_memory_is_refused(text):
    with pytest.raises(UsageError, match="expected a size with its unit, as 4GB or 500MB"):
        parse_memory(text)


@pytest.mark.parametrize("memory", [-1, 1.5, "4GB", True, None, 10**30])
def test_memory_is_bytes(memory):
    with pytest.raises(UsageError, match="expected bytes"):
        Settings(memory=memory)


def test_the_processor_calls_itself_by_the_kernels_name_or_another_is_asked_for(
    tmp_path, monkeypatch
):
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Some  Processor 9\n\nmodel name\t: Another\n")
    monkeypatch.setattr(environment, "CPU", told)
    assert environment._cpu_model() == "Some Processor 9"
    told.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")  # as on ARM
    monkeypatch.setitem(
        sys.modules, "cpuinfo", SimpleNamespace(get_cpu_info=lambda: {"brand_raw": "Neoverse-N1"})
    )
    assert environment._cpu_model() == "Neoverse-N1"
    monkeypatch.setattr(environment, "CPU", tmp_path / "absent")
    assert environment._cpu_model() == "Neoverse-N1"
