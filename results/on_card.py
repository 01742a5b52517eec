"""Checks and timings on this machine's NVIDIA card, into results/<card>/.

`python results/on_card.py`, or `make gpu`, which installs what it takes. What is there already is
not made again.
"""

import subprocess
import sys
from pathlib import Path

from rnnparity.implementations import card
from rnnparity.implementations.settings import MATMUL_PRECISIONS

HERE = Path(__file__).parent

# What has a card to run on, and what is compared with it, by kind of layers.
LOOPS = "torch-rnn", "torch-loop", "jax-scan"
FUSED = "triton-fused", "pallas-fused"
NAMES = {
    "rnn": (*LOOPS, *FUSED, "torch-graph", "jax-newton"),
    "gru": (*LOOPS, *FUSED),
    "lstm": (*LOOPS, *FUSED),
}

# Precisions of products that PyTorch's kernel libraries and JAX have; kernels of our own have one.
ROUNDED = [precision for precision in MATMUL_PRECISIONS if precision != "float32"]


def commands(folder: Path) -> list[list[str]]:
    """Return what is run: checks and timings by kind of layers, then the other precisions."""
    made = []
    for kind, names in NAMES.items():
        of_kind = [*names, "--cell", kind]
        made.append(["check", *of_kind, "--preset", "full", "--out", str(folder / kind)])
        made.append(["bench", *of_kind, "--preset", "gpu", "--out", str(folder / f"bench-{kind}")])
    for precision in ROUNDED:
        for kind in NAMES:
            of_kind = [*LOOPS, "--cell", kind, "--matmul-precision", precision]
            out = str(folder / f"{kind}-{precision}")
            made.append(["check", *of_kind, "--preset", "full", "--out", out])
    return [[*command, "--device", "cuda", "--resume"] for command in made]


def main() -> None:
    """Run all of it, and exit with 1 if something failed."""
    cards = card.found()
    if not cards:
        raise SystemExit("no NVIDIA card here")
    folder = HERE / card.folder(cards[0]["name"])
    codes = []
    for command in commands(folder):
        sys.stdout.write(f"rnnparity {' '.join(command)}\n")
        sys.stdout.flush()
        codes.append(subprocess.run([sys.executable, "-m", "rnnparity", *command]).returncode)
    raise SystemExit(1 if any(codes) else 0)


if __name__ == "__main__":
    main()
