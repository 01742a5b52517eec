"""Judge implementations in a process of its own: Triton interprets or compiles for a whole process.

Reads a list of implementations and cases from standard input; writes a verdict and a reason each.
"""

import json
import sys

import msgspec
from conftest import evaluate

from rnnparity.problems.cases import Case

if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=list[tuple[str, Case]])
    for target, case in asked:
        judgement = evaluate(target, "cpu", case)
        print(json.dumps((case.id, judgement.verdict, judgement.reason)), flush=True)
