"""Whether two checkouts judge alike: the records of `check --json`, compared bit by bit.

    python tests/same_verdicts.py ../before . -- --preset full --peers

Each checkout is run with its own `.venv/bin/rnnparity`. Compared are, of every check by its id, the
verdict, the reason, the diagnosis, the horizon, the judged rows and every number of every quantity.
What the machine decides from run to run is not: times, paths, versions.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

COMPARED = ("verdict", "reason", "diagnosis", "horizon", "judged_rows", "quantities")


def records(checkout, arguments):
    """Return the records of a check in a checkout, by id."""
    with tempfile.TemporaryDirectory() as folder:
        command = [".venv/bin/rnnparity", "check", "--json", "--out", f"{folder}/run", *arguments]
        done = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE)
    if done.returncode not in (0, 1):
        sys.exit(f"{checkout}: rnnparity ended with {done.returncode}")
    made = json.loads(done.stdout)["records"]
    return {(one["implementation"], one["device"], one["case"]): one for one in made}


def differences(before, after):
    """Return a line for every check that is not the same in both."""
    found = []
    for key in sorted(before.keys() | after.keys()):
        if key not in before or key not in after:
            found.append(f"{' '.join(key)}: only {'after' if key in after else 'before'}")
            continue
        for name in COMPARED:
            old, new = before[key].get(name), after[key].get(name)
            if old != new:
                found.append(f"{' '.join(key)}: {name} was {old}, is {new}")
    return found


def main():
    """Compare; exit code 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("check", nargs="*", help="arguments of rnnparity check, after --")
    told = parser.parse_args()
    before, after = (records(path, told.check) for path in (told.before, told.after))
    found = differences(before, after)
    print("\n".join(found[:50]))
    print(f"{len(before)} checks before, {len(after)} after, {len(found)} differences")
    return 1 if found or not before else 0


if __name__ == "__main__":
    sys.exit(main())
