"""`python -m rnnparity`: the same as the command `rnnparity`."""

from rnnparity.cli import main

if __name__ == "__main__":
    main()
