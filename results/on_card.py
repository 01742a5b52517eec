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


def commands(folder: Path) -> list[list[str]]:
    """Return what is run: checks at every precision of products, then timings, alone."""
    device = ["--device", "cuda", "--resume"]
    made = [
        ["check", "--preset", "full", "--matmul-precision", name, "--out", str(folder / name)]
        for name in MATMUL_PRECISIONS
    ]
    made.append(["bench", "--preset", "gpu", "--out", str(folder / "bench")])
    return [[*command, *device] for command in made]


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
