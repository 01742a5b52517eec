"""In which precision float32 products run on a CPU, for each that is declared, and the verdicts.

    python results/matmul_precision.py > results/reference-bfloat16/precision.md

The first table has products and layers of PyTorch under its setting `medium` (and the same that
`--matmul-precision bfloat16` makes of its RNNs), at sizes that oneDNN's choices may depend on: the
largest error, as a share of the sum of absolute products or of the largest output. float32's is
below 1e-5, and that of operands in bfloat16 above 1e-4. The second table has checks of some float32
cases of the preset `full`, the largest among them: how many ran in what, and their verdicts,
OpenVINO's without the list of what is known of it.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch

import rnnparity
from rnnparity import Settings
from rnnparity.cells.config import KINDS
from rnnparity.implementations import frameworks
from rnnparity.implementations.settings import MATMUL_PRECISIONS
from rnnparity.problems.cases import Case
from rnnparity.problems.presets import preset
from rnnparity.records.check import Record
from rnnparity.records.environment import environment
from rnnparity.report.markdown import table

BUILT_IN = ("torch-rnn", "torch-loop", "jax-scan", "numpy-loop")
PEERS = ("openvino", "openvino-f32")

# M, K, N of products [M, K] [K, N]; and T, B, H of layers with as many inputs.
PRODUCTS = ((1, 64, 64), (4, 16, 16), (16, 64, 64), (64, 256, 256), (1, 1024, 1024), (1024,) * 3)
LAYERS = ((12, 4, 16), (12, 16, 64), (12, 1, 256), (12, 64, 256), (3, 16, 1024))

# Of the cases so many of the largest are taken, and of the others one in so many. Of the peers, one
# of which fails, only those with weights of so many elements: to explain a failure takes long.
LARGEST, ONE_IN, EXPLAINED = 4, 30, 2**13

FLAGS = ("avx512_bf16", "amx_bf16", "amx_tile")


def of_products() -> Iterator[list[str]]:
    """Yield a row for each size, of PyTorch's products."""
    random = torch.Generator().manual_seed(0)
    for M, K, N in PRODUCTS:
        a, b = (torch.randn(shape, generator=random) for shape in ((M, K), (K, N)))
        size = a.double().abs() @ b.double().abs()
        bias = torch.zeros(N)
        made: dict[str, Callable[[], Any]] = {
            "mm": lambda a=a, b=b: a @ b,
            "addmm": lambda a=a, b=b, bias=bias: torch.addmm(bias, a, b),
            "linear": lambda a=a, b=b: torch.nn.functional.linear(a, b.T.contiguous()),
        }
        for name, make in made.items():
            off = float(((make() - a.double() @ b.double()).abs() / size).max())
            yield [f"{name} {M},{K},{N}", f"{off:.0e}"]


def of_layers() -> Iterator[list[str]]:
    """Yield a row for each kind and size, of PyTorch's layers."""
    for kind in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM):
        for T, B, H in LAYERS:
            torch.manual_seed(0)
            layer, x = kind(H, H), torch.randn(T, B, H)
            exact = kind(H, H).double()
            exact.load_state_dict(layer.state_dict())
            with torch.no_grad():
                true = exact(x.double())[0]
                off = float((layer(x)[0] - true).abs().max() / true.abs().max())
            yield [f"{kind.__name__} {T},{B},{H}", f"{off:.0e}"]


def chosen(kind: str) -> list[Case]:
    """Return the float32 cases of a kind that are checked."""
    found = [case for case in preset("full", kind) if case.dtype == "float32"]
    found.sort(key=lambda case: -case.config.hidden_size * case.config.input_size * (case.B or 1))
    return found[:LARGEST] + found[LARGEST::ONE_IN]


def checked(kind: str) -> Iterator[list[str]]:
    """Yield a row for each implementation: a cell for each precision that is declared."""
    cells: dict[str, list[str]] = {name: [] for name in (*BUILT_IN, *PEERS)}
    cases = chosen(kind)
    small = [one for one in cases if one.config.hidden_size * one.config.input_size <= EXPLAINED]
    for precision, (names, given) in product(
        MATMUL_PRECISIONS, ((BUILT_IN, cases), (PEERS, small))
    ):
        with tempfile.TemporaryDirectory() as folder:
            run = rnnparity.check(
                *names,
                cases=given,
                cell=kind,
                settings=Settings(matmul_precision=precision),
                out=Path(folder) / "run",
            )
        for name in names:
            own = [one for one in run.records if one.implementation.split()[0] == name]
            cells[name].append(_told(own))
        print(kind, precision, *names, file=sys.stderr, flush=True)
    for name, cell in cells.items():
        yield [kind, name, *cell]


def _told(records: list[Record]) -> str:
    """Return how many of each verdict, by what products ran in."""
    verdicts = [(one.matmul_precision, one.own[0] if one.own else one.verdict) for one in records]
    counted = Counter(one for one in verdicts if one[1] != "unsupported")
    found: dict[str, list[str]] = {}
    for (ran, verdict), count in counted.most_common():
        found.setdefault(str(ran), []).append(f"{count} {verdict}")
    return "; ".join(f"in {ran}: {', '.join(told)}" for ran, told in found.items())


def main() -> None:
    """Write both tables."""
    described = environment(Settings())
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    has = ", ".join(f"{flag}: {'yes' if flag in flags else 'no'}" for flag in FLAGS)
    print(f"{described['cpu_model']} ({has}), PyTorch {torch.__version__}\n")
    settings = Settings(matmul_precision="bfloat16")
    with frameworks.as_set(frameworks.imported("torch", settings), settings):
        rows = [*of_products(), *of_layers()]
    sys.stdout.write(table(["in PyTorch, bfloat16 allowed", "largest error"], rows) + "\n\n")
    rows = [row for kind in KINDS for row in checked(kind)]
    sys.stdout.write(table(["kind", "implementation", *MATMUL_PRECISIONS], rows) + "\n")


if __name__ == "__main__":
    main()
