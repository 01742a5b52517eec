"""The record of a check; what it says of one quantity is in `judging/difference.py`."""

import msgspec

from rnnparity.judging.difference import Difference
from rnnparity.problems.cases import Case, full_id
from rnnparity.verdicts import Verdict

SCHEMA = 1  # of the records: goes up when an older reader would misread them


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one implementation on one case on one device.

    `absent`, and an `error` on import, concern no case: `case` is then empty. `horizon` is the time
    step from which on a chaotic case is not judged. `judged_rows` says how many rows of the batch
    were judged, where a sample was. `matmul_precision` is the one that matrix products really ran
    in (float32 cases), in the case or, where that does not tell, in a canary. `same_bits_twice`
    says, for cases with invariants, whether the same input gave the same bits again. `diagnosis`
    names the known mistakes that reproduce a failing result. `seconds` is what the check took,
    judging included. `own` is the verdict and the reason that an `xfail` has without the list that
    expects it. `host` names the machine of a cluster, one of `hosts` in the environment; "" is the
    machine that this describes.
    """

    implementation: str
    framework: str
    device: str
    dtype: str
    case: str
    verdict: Verdict
    reason: str
    quantities: dict[str, Difference] = {}
    horizon: int | None = None
    judged_rows: int | None = None
    matmul_precision: str | None = None
    same_bits_twice: bool | None = None
    diagnosis: tuple[str, ...] = ()
    cell: str = "rnn"
    seconds: float | None = None
    host: str = ""
    definition: Case | None = None
    own: tuple[Verdict, str] | None = None

    @property
    def id(self) -> str:
        """The check's full id."""
        if self.definition is None:
            return self.implementation
        return full_id(self.implementation, self.device, self.definition)
