"""Judge implementations in a process of its own: Triton interprets or compiles for a whole process.

Reads a list of implementations and cases from standard input; writes a verdict and a reason each.
Why one fails is not looked for: that calls it again and again, which takes an interpreter long.
"""

import json
import sys

import msgspec
from conftest import loaded, reference_of

from rnnparity.implementations.execution import execute
from rnnparity.judging.verdict import judge
from rnnparity.problems.cases import Case

if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=list[tuple[str, Case]])
    for target, case in asked:
        implementation, border = loaded(target)
        against = reference_of(case)
        outcome = execute(implementation, border, case, against.problem, "cpu")
        judgement = judge(case, outcome, against)
        print(json.dumps((case.id, judgement.verdict, judgement.reason)), flush=True)
