"""The command `rnnparity`, and `python -m rnnparity`: the command line, if it is installed."""

import sys

from rnnparity import extras


def main() -> None:
    """Run the command line; where its packages are missing, say which line installs them."""
    try:
        from rnnparity.cli import main as run
    except ModuleNotFoundError as missing:
        if extras.of(missing.name) is None:
            raise
        sys.stderr.write(f"rnnparity: {extras.line('the command line', str(missing.name))}\n")
        raise SystemExit(2) from None
    run()


if __name__ == "__main__":
    main()
