"""The tests where it matters, as on other machines (`make test-machines`).

A library picks its kernels by the processor, and its threads by what it is told. Here each is told
to pick others, one setting at a time, and the tests marked `machine` are run: those that run
implementations and judge them. A setting counts only if it shows: a library that ignores one is
asked, in a process of its own, which kernels it uses.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Where pytest and this program run: the folder above this one.
ROOT = Path(__file__).resolve().parent.parent

MKL_NAMES = {"SSE4_2": "SSE4.2", "AVX2": "(Intel(R) AVX2)"}
# What OpenBLAS calls its oldest kernels, and whose Zen's are where they are not built apart.
OPENBLAS_NAMES = {"Prescott": ("Prescott", "Katmai"), "Zen": ("Zen", "Haswell")}
ONEDNN_NAMES = {"SSE41": "SSE4.1", "AVX2": "AVX2", "AVX512_CORE": "AVX-512"}
XLA_FEATURES = {"AVX2": ("+avx2", "+avx512f"), "SSE4_2": ("+sse4.2", "+avx,")}
# Implementations in the names of tests, as pytest's -k has them, by the library that they run on. A
# library's setting leaves out the tests that name those of others alone; those of JAX also beside
# its own, since they compile for long.
NAMED = {
    "numpy": "numpy-loop or numpy_loop or numba or onnxruntime or onnx-reference or openvino "
    "or mlx or paddle",
    "torch": "torch-rnn or torch-loop or torch_loop or torch-c or torchs",
    "jax": "jax or flax or keras or haiku or equinox or pallas",
}
_ANY = " or ".join(NAMED.values())
OF_NUMPY = f"({NAMED['numpy']}) and not ({NAMED['jax']}) or not ({_ANY})"
OF_TORCH = f"({NAMED['torch']}) and not ({NAMED['jax']}) or not ({_ANY})"
OF_JAX = f"({NAMED['jax']}) or not ({_ANY})"
NUMPY_FEATURES = ("X86_V3", "X86_V4", "AVX2", "AVX512F", "AVX512_SKX")


@dataclass(frozen=True)
class Setting:
    """Variables, and whether what is seen of the libraries then shows that they are heard.

    `tests` are those that it can touch, as pytest's `-k` has it; all, if it is empty.
    """

    name: str
    variables: dict[str, str]
    shows: Callable[[dict[str, str]], bool] = lambda seen: True
    sees: tuple[str, ...] = ()
    tests: str = ""


@dataclass
class Row:
    """What came of the tests under a setting."""

    setting: str
    seen: str
    heard: bool
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def _openblas(name: str) -> Setting:
    return Setting(
        f"OPENBLAS_CORETYPE={name}",
        {"OPENBLAS_CORETYPE": name},
        lambda seen: seen["openblas"] in OPENBLAS_NAMES.get(name, (name,)),
        ("openblas",),
        OF_NUMPY,
    )


def _mkl(name: str) -> Setting:
    return Setting(
        f"MKL_ENABLE_INSTRUCTIONS={name}",
        {"MKL_ENABLE_INSTRUCTIONS": name},
        lambda seen: MKL_NAMES[name] in seen["mkl"],
        ("mkl",),
        OF_TORCH,
    )


def _onednn(name: str) -> Setting:
    return Setting(
        f"ONEDNN_MAX_CPU_ISA={name}",
        {"ONEDNN_MAX_CPU_ISA": name},
        lambda seen: ONEDNN_NAMES[name] in seen["onednn"],
        ("onednn",),
        OF_TORCH,
    )


def _aten(name: str) -> Setting:
    return Setting(
        f"ATEN_CPU_CAPABILITY={name}",
        {"ATEN_CPU_CAPABILITY": name},
        lambda seen: seen["aten"] == name.upper(),
        ("aten",),
        OF_TORCH,
    )


def _xla(name: str) -> Setting:
    there, gone = XLA_FEATURES[name]
    flag = f"--xla_cpu_max_isa={name}"
    return Setting(
        f"XLA_FLAGS={flag}",
        {"XLA_FLAGS": flag},
        lambda seen: there in seen["xla"] and gone not in seen["xla"],
        ("xla",),
        OF_JAX,
    )


def _threads(count: int) -> Setting:
    return Setting(
        f"{count} thread{'s' * (count > 1)}",
        {"OMP_NUM_THREADS": str(count)},
        lambda seen: seen["threads"] == str(count),
        ("threads",),
    )


def settings() -> list[Setting]:
    """Return every setting on its own."""
    numpy_off = " ".join(_dispatched())
    return [
        *map(_openblas, ("Prescott", "Haswell", "Zen", "SkylakeX")),
        *map(_mkl, ("SSE4_2", "AVX2")),
        *map(_onednn, ("SSE41", "AVX2", "AVX512_CORE")),
        *map(_aten, ("default", "avx2")),
        Setting(
            f"NPY_DISABLE_CPU_FEATURES={numpy_off}",
            {"NPY_DISABLE_CPU_FEATURES": numpy_off},
            lambda seen: not set(numpy_off.split()) & set(seen["numpy"].split()),
            ("numpy",),
            OF_NUMPY,
        ),
        *map(_xla, ("AVX2", "SSE4_2")),
        *map(_threads, (1, 2)),
    ]


def sample() -> list[Setting]:
    """Return two settings that differ most from today's processors: a few of the above at once."""
    oldest = (_openblas("Prescott"), _mkl("SSE4_2"), _onednn("SSE41"), _aten("default"))
    every = {one.name: one for one in settings()}
    numpy_off = next(one for name, one in every.items() if name.startswith("NPY_"))
    return [
        _together("the oldest kernels", (*oldest, numpy_off, _xla("SSE4_2"))),
        _together(
            "kernels for AVX2, two threads",
            (_openblas("Haswell"), _mkl("AVX2"), _aten("avx2"), _xla("AVX2"), _threads(2)),
        ),
    ]


def _together(name: str, parts: tuple[Setting, ...]) -> Setting:
    variables = {n: value for part in parts for n, value in part.variables.items()}
    sees = tuple(what for part in parts for what in part.sees)
    return Setting(name, variables, lambda seen: all(part.shows(seen) for part in parts), sees)


def _dispatched() -> list[str]:
    """Return what NumPy can do without here, as it names it."""
    from numpy._core import _multiarray_umath as umath

    there = umath.__cpu_features__
    return [name for name in umath.__cpu_dispatch__ if there.get(name)]


def environment(setting: Setting) -> dict[str, str]:
    """Return this process's environment with a setting's variables in place of all such ones."""
    sys.path[:0] = [str(ROOT / "harness")] if "rnnparity" not in sys.modules else []
    from rnnparity.implementations.settings import numeric_variables

    own = numeric_variables()
    plain = {name: value for name, value in os.environ.items() if name not in own}
    return plain | {"OMP_NUM_THREADS": "1"} | setting.variables


def probe(setting: Setting) -> dict[str, str]:
    """Return what libraries say they use under a setting, in a process of its own."""
    told = environment(setting) | {"MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"}
    command = [sys.executable, str(Path(__file__)), "--probe"]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    seen: dict[str, str] = json.loads(lines[-1])
    mkl = [line for line in lines if line.startswith("MKL_VERBOSE") and "architecture" in line]
    onednn = [line for line in lines if ",info,cpu,isa:" in line]
    seen["mkl"] = mkl[0].partition("architecture ")[2].partition(" enabled")[0] if mkl else ""
    seen["onednn"] = onednn[0].partition("isa:")[2] if onednn else ""
    return seen


def _probed() -> None:
    """Use every library once, and print what they say of themselves as the last line."""
    import jax
    import numpy as np
    import torch
    from numpy._core import _multiarray_umath as umath
    from threadpoolctl import threadpool_info

    torch.ones(64, 64) @ torch.ones(64, 64)
    if torch.backends.mkldnn.is_available():
        torch.ones(1, 8, 8, 8).to_mkldnn().relu()
    np.ones((8, 8)) @ np.ones((8, 8))
    compiled = jax.jit(lambda a: a * a).lower(jax.ShapeDtypeStruct((64,), "float32")).compile()
    code = compiled.runtime_executable().serialize().decode("latin1")
    features = next((w for w in code.split("\0") if "+sse2," in w), "")
    start = features.find("+")
    blas = [one for one in threadpool_info() if one["internal_api"] == "openblas"]
    sys.stdout.flush()
    print()
    print(
        json.dumps(
            {
                "openblas": blas[0]["architecture"] if blas else "",
                "aten": torch.backends.cpu.get_cpu_capability(),
                "numpy": " ".join(n for n in NUMPY_FEATURES if umath.__cpu_features__.get(n)),
                "xla": features[start:].partition("-")[0] if start >= 0 else "",
                "threads": str(torch.get_num_threads()),
            }
        )
    )


def run(setting: Setting, arguments: list[str], seen: dict[str, str] | None = None) -> Row:
    """Run pytest under a setting.

    Args:
        setting: what to set.
        arguments: pytest's.
        seen: what libraries say then; they are asked if None.
    """
    seen = probe(setting) if seen is None else seen
    shown = ", ".join(f"{what} {_short(what, seen[what])}" for what in setting.sees)
    row = Row(setting.name, shown, setting.shows(seen))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, f"--junit-xml={report}", *arguments, "-k", setting.tests],
            cwd=ROOT,
            # torch.compile keeps code by what was compiled, not by what kernels were asked for.
            env=environment(setting) | {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor"},
            capture_output=True,
            text=True,
        )
        row.seconds = time.monotonic() - begun
        if not report.exists():
            row.failed, row.failures = 1, [f"pytest ended with {done.returncode}: {done.stderr}"]
            return row
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            children = {child.tag for child in case}
            broken = bool(children & {"failure", "error"})
            row.failed += broken
            row.skipped += "skipped" in children
            row.passed += not broken and "skipped" not in children
            if broken:
                row.failures.append(f"{case.get('classname')}::{case.get('name')}")
    if done.returncode and not row.failed:
        row.failed, row.failures = 1, [f"pytest ended with {done.returncode}"]
    return row


def _short(what: str, seen: str) -> str:
    """Return what is seen in few words: of XLA's hundred features the widest."""
    if what == "xla":
        widest = ("+avx512f", "+avx2", "+avx,", "+sse4.2")
        return next((one.strip("+,") for one in widest if one in seen), "?")
    return seen.replace("(R)", "") or "nothing"


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| setting | what the library says | heard | passed | failed | skipped | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [row.setting, row.seen, "yes" if row.heard else "NO", row.passed, row.failed]
        cells += [row.skipped, f"{row.seconds:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run what the command line says; return 0 if nothing failed under any setting."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", action="store_true", help="only two, of several at once")
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--out", type=Path, help="where the table is written, too")
    parser.add_argument("--probe", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("pytest", nargs="*", help="pytest's arguments; -m machine -n auto if none")
    told = parser.parse_args()
    if told.probe:
        _probed()
        return 0
    chosen = [one for one in (sample() if told.sample else settings()) if told.only in one.name]
    rows = []
    for setting in chosen:
        row = run(setting, told.pytest or ["-m", "machine", "-n", "auto"])
        rows.append(row)
        print(table([row]).splitlines()[-1], flush=True)
        for failure in row.failures:
            print(f"  failed: {failure}", flush=True)
    if told.out is not None:
        told.out.parent.mkdir(parents=True, exist_ok=True)
        told.out.write_text(table(rows) + "\n", encoding="utf-8")
    ignored = [row.setting for row in rows if not row.heard]
    if ignored:
        print(f"not heard by the library here, so not tested: {', '.join(ignored)}")
    return 1 if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
