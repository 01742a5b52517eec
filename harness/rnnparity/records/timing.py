"""The record of a timing: one implementation, one size, one device."""

import msgspec

from rnnparity.problems.cases import Case, full_id
from rnnparity.verdicts import Verdict

# What was timed: an implementation, judged and compared; the baseline once more, for the noise;
# matrix products alone, a bound that no implementation of the same framework should be far from;
# or the control, which is the same in every run.
IMPLEMENTATION, AGAIN, BOUND, CONTROL = "implementation", "again", "bound", "control"


class Timing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How long one implementation takes on one case and device; raw seconds, nothing scaled.

    Attributes:
        mode: "forward", or "gradients": forward and backward.
        verdict: "pass" where the timed calls' own outputs passed; else there are no times.
        role: "implementation"; "again", the baseline a second time; "bound", products alone; or
            "control", work that is the same in every run.
        seconds: per call, for each process and each of its rounds.
        calls: of a block, for each process: what one of `seconds` is the mean of.
        ratio: baseline's seconds by these, paired within rounds; with its 95% interval.
        first_call: seconds, compilation included, for each process.
        prepare: seconds of what is done once per set of weights, for each process.
        seen_faster: how many times as fast calls are on inputs that were seen before.
        with_transfer: seconds of a call with x brought to the device and the output brought back;
            null on the CPU.
        on_device: seconds of a call between two marks in the device's queue, without the wait for
            its result; null where the framework has no such marks.
        handing_over: share of a call's time that is over when it returns, before its result is
            there: near 1, launching is what takes the time; null on the CPU.
        clock: lowest and highest of a card's multiprocessors, in MHz, right after the blocks.
        throttled: rounds that were dropped since a card was throttled.
        cores: that were busy: CPU time over wall time, of all blocks.
        peak_memory: bytes that a call adds to the process, or to the device's, at most.
        flop: of the matrix products of the forward pass. bytes: that it must move at least.
        steps: (T, seconds) of shorter sequences and this one, for the line through them:
        fixed: seconds of a call besides its steps; per_step: seconds of a step.
        host: the machine of a cluster; "" is the one that the run's environment describes.
    """

    implementation: str
    framework: str
    device: str
    dtype: str
    case: str
    mode: str
    verdict: Verdict
    reason: str = ""
    role: str = "implementation"
    threads: int = 1
    baseline: str = ""
    seconds: tuple[tuple[float, ...], ...] = ()
    calls: tuple[int, ...] = ()
    median: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    first_call: tuple[float, ...] = ()
    prepare: tuple[float, ...] = ()
    seen_faster: float | None = None
    with_transfer: float | None = None
    on_device: float | None = None
    handing_over: float | None = None
    clock: tuple[float, float] | None = None
    throttled: int = 0
    cores: float | None = None
    peak_memory: int | None = None
    flop: float | None = None
    bytes: float | None = None
    steps: tuple[tuple[int, float], ...] = ()
    fixed: float | None = None
    per_step: float | None = None
    definition: Case | None = None
    host: str = ""

    @property
    def id(self) -> str:
        """The timing's full id."""
        case = "" if self.definition is None else full_id("", self.device, self.definition)
        return f"{self.implementation}{case}-{self.mode}-{self.role}"

    @property
    def cell(self) -> str:
        """The kind of layers that was timed: "rnn", "gru" or "lstm"."""
        return "rnn" if self.definition is None else self.definition.config.kind

    @property
    def job(self) -> tuple[str, str, str, int]:
        """What was timed and where: case, mode, device and threads."""
        return self.case, self.mode, self.device, self.threads


def size(one: Timing) -> str:
    """Return a timing's sizes: 100,32,64,128."""
    case = one.definition
    assert case is not None
    return f"{case.T},{case.B or 1},{case.config.input_size},{case.config.hidden_size}"
