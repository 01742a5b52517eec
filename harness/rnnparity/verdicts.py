"""The verdicts, in one order."""

from enum import StrEnum


class Verdict(StrEnum):
    """What is said of a check or a timing, in words that records keep.

    In the order in which one stands for several: an error hides a failure, a failure a pass.
    """

    ERROR = "error"  # it broke: an exception, a crash, no answer in time
    FAIL = "fail"  # it ran, and is wrong
    XFAIL = "xfail"  # it fails or breaks, as the user's list of expected failures says
    PASS = "pass"
    CHAOTIC = "chaotic"  # right as far as it can be judged: then rounding alone takes over
    UNSUPPORTED = "unsupported"  # declared, or not to be judged on this platform
    ABSENT = "absent"  # not installed, or no such device

    @property
    def is_right(self) -> bool:
        """Whether something was judged and nothing of it is wrong."""
        return self in (Verdict.PASS, Verdict.CHAOTIC)

    @property
    def was_judged(self) -> bool:
        """Whether what came of it was compared with the truth."""
        return self in (Verdict.PASS, Verdict.CHAOTIC, Verdict.FAIL, Verdict.XFAIL)

    @property
    def is_wrong(self) -> bool:
        """Whether something failed or broke."""
        return self in (Verdict.ERROR, Verdict.FAIL)
