"""Contestants that share a process take turns in short blocks, in shuffled order."""

import gc
import random
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec

from rnnparity.errors import explain
from rnnparity.implementations import card
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.settings import Settings
from rnnparity.problems import arrays
from rnnparity.problems.sizes import Job
from rnnparity.records.timing import CONTROL
from rnnparity.runs import work
from rnnparity.timing import machine
from rnnparity.timing.contestants import Contestant, Timed
from rnnparity.timing.control import Control

# Rounds of one process: so many at least, for a median; at most, since more tell nothing new.
FEWEST, MOST = 4, 60

# Every so many rounds each contestant also runs on inputs that it has never seen; in all of them if
# that is what is looked at.
FRESH_EVERY = 4

# Seconds to wait at most for other threads of the process to stop spinning, and between two looks.
SETTLED_WITHIN, LOOK_EVERY = 0.2, 1e-3

# Where Linux keeps what the threads of this process are doing. Elsewhere the process's CPU time has
# to tell: over so many seconds, since it is counted in ticks, and up to this share of a core.
THREADS, TICKS, IDLE = Path("/proc/self/task"), 0.02, 0.2


# What a process may say: nothing here is beyond a million, and no clock says that a call took none.
Number = Annotated[float, msgspec.Meta(ge=0, lt=1e6)]
Seconds = Annotated[float, msgspec.Meta(gt=0, lt=1e6)]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one process found of one contestant; `error` instead of times if it broke.

    `fresh` are seconds per call on inputs never seen before, `seen` on others right before those.
    On a card, `on_device` and `handing_over` are what `Timed.on_device` returns, `clock` is what
    its multiprocessors ran at after each block, in MHz, `throttled` the number of rounds that were
    dropped since something held that down, and `reasons` say what.
    """

    prepare: Number = 0.0
    first_call: Number = 0.0
    peak_memory: int | None = None
    calls: int = 0
    seconds: tuple[Seconds, ...] = ()
    fresh: tuple[Seconds, ...] = ()
    seen: tuple[Seconds, ...] = ()
    cores: tuple[Number, ...] = ()
    transfer: tuple[Number, ...] = ()
    on_device: tuple[Number, ...] = ()
    handing_over: tuple[Number, ...] = ()
    clock: tuple[Number, ...] = ()
    throttled: int = 0
    reasons: tuple[str, ...] = ()
    error: str = ""

    def __post_init__(self) -> None:
        """Refuse samples that do not belong together.

        Raises:
            ValueError: there are none, or of what is paired more of one.
        """
        paired = len(self.seconds) == len(self.cores) and len(self.fresh) == len(self.seen)
        if not self.error and not (paired and self.seconds and self.fresh and self.calls > 0):
            raise ValueError(f"{self.calls} calls, {len(self.seconds)} blocks: samples are missing")


# What is sampled, in some rounds or in all.
SAMPLES = ("seconds", "fresh", "seen", "cores", "transfer", "on_device", "handing_over", "clock")


def measure(
    contestants: tuple[Contestant, ...],
    settings: Settings,
    job: Job,
    device: str,
    budget: float,
    seed: int,
    fresh_every: int = FRESH_EVERY,
) -> tuple[dict[str, Measured], dict[str, Outcome]]:
    """Time contestants on a job, in this process.

    Args:
        contestants: who takes turns.
        settings: of this process; the environment has them already.
        job: what on.
        device: where.
        budget: seconds that the turns of all rounds may take; at least `FEWEST` rounds are made.
        seed: of the order of turns.
        fresh_every: rounds from one run on inputs never seen to the next.

    Returns:
        By name: the times, and what one call out of the timed ones returned.
    """
    rng = random.Random(seed)
    problem = arrays.build(job.case)
    timed: dict[str, Timed | Control] = {}
    found: dict[str, Measured] = {}
    for contestant in rng.sample(contestants, len(contestants)):
        try:
            if contestant.role == CONTROL:
                timed[contestant.name] = Control()
            else:
                timed[contestant.name] = Timed(contestant, settings, job, problem, device)
        except BaseException as error:  # it is the contestant's own
            found[contestant.name] = Measured(error=explain(error))
    rounds = Rounds(timed, settings, rng, fresh_every, card.find(device))
    gc.collect()
    gc.disable()
    try:
        rounds.run(budget)
    finally:
        gc.enable()
    return found | rounds.measured(), rounds.outcomes


class Rounds:
    """The rounds of one process.

    Attributes:
        outcomes: name to what one call out of the timed ones returned.
    """

    def __init__(
        self,
        timed: dict[str, Timed | Control],
        settings: Settings,
        rng: random.Random,
        fresh_every: int = FRESH_EVERY,
        its_card: card.Card | None = None,
    ) -> None:
        """Begin with none.

        Args:
            timed: who takes turns, by name; those that break are taken out.
            settings: of this process.
            rng: of the order.
            fresh_every: rounds, of which one has calls on inputs never seen before.
            its_card: where the turns are taken, if on a card.
        """
        self.timed, self.settings, self.rng, self.card = timed, settings, rng, its_card
        self.fresh_every = fresh_every
        self.samples: dict[str, dict[str, list[float]]] = {
            name: {kind: [] for kind in SAMPLES} for name in timed
        }
        self.outcomes: dict[str, Outcome] = {}
        self.lost: dict[str, Measured] = {}
        self.throttled = 0
        self.reasons: set[str] = set()

    def run(self, budget: float) -> None:
        """Take turns until so many seconds are over; rounds in which a card was held down drop."""
        spent, done, planned = 0.0, 0, FEWEST
        while done < planned and self.timed:
            found: dict[str, dict[str, float]] = {}
            held_down: set[str] = set()
            for name in self.rng.sample(sorted(self.timed), len(self.timed)):
                if self.settings.threads > 1:
                    settle()
                begun = time.perf_counter()
                try:
                    # Of all rounds, however many there will be, each is as likely to be judged.
                    judged = self.rng.random() < 1 / (done + 1)
                    fresh_too = done % self.fresh_every == min(1, self.fresh_every - 1)
                    found[name] = self._turn(name, fresh_too, judged)
                    held_down |= self._card_state(found[name])
                except BaseException as error:  # it is the contestant's own
                    self.lost[name] = Measured(error=explain(error))
                    del self.timed[name]
                spent += time.perf_counter() - begun
            if held_down:  # all of the round: they are compared within it
                self._drop(held_down)
                continue
            for name, values in found.items():
                for kind, value in values.items():
                    self.samples[name][kind].append(value)
            done += 1
            planned = min(MOST, max(FEWEST, int(budget / spent * done)))

    def _turn(self, name: str, fresh_too: bool, judged: bool) -> dict[str, float]:
        one = self.timed[name]
        if self.card is not None:
            self.card.flush()
        seconds, cores, result = one.block(end_with_first=judged)
        found = {"seconds": seconds, "cores": cores}
        if judged and not isinstance(one, Control):
            self.outcomes[name] = one.outcome(result)
        if fresh_too:
            found["fresh"], found["seen"] = one.fresh()
            if not isinstance(one, Control) and one.device != "cpu":
                on_device, found["handing_over"] = one.on_device()
                if on_device is not None:
                    found["on_device"] = on_device
                found["transfer"] = one.with_transfer()
        return found

    def _card_state(self, found: dict[str, float]) -> set[str]:
        """Add the card's clock to what was found; return what holds it down."""
        if self.card is None:
            return set()
        state = self.card.state()
        found["clock"] = state.clock
        return set(state.throttled)

    def _drop(self, reasons: set[str]) -> None:
        self.throttled += 1
        self.reasons |= reasons
        if self.throttled > MOST:
            told = f"the card was throttled ({', '.join(sorted(self.reasons))}) again and again"
            self.lost |= {name: Measured(error=told) for name in self.timed}
            self.timed.clear()

    def measured(self) -> dict[str, Measured]:
        """Return what was found, by name."""
        found = dict(self.lost)
        for name, one in self.timed.items():
            sampled: dict[str, Any] = {kind: tuple(v) for kind, v in self.samples[name].items()}
            found[name] = Measured(
                prepare=one.prepare,
                first_call=one.first_call,
                peak_memory=one.peak_memory,
                calls=one.calls,
                throttled=self.throttled,
                reasons=tuple(sorted(self.reasons)),
                **sampled,
            )
        return found


def settle() -> None:
    """Wait until threads that the turn before has left spinning have gone to sleep."""
    end = time.perf_counter() + SETTLED_WITHIN
    while others_run() and time.perf_counter() < end:
        time.sleep(LOOK_EVERY)


def others_run() -> bool:
    """Whether another thread of this process is running, or ready to."""
    if not THREADS.exists():
        cpu = time.process_time()
        time.sleep(TICKS)
        return time.process_time() - cpu > IDLE * TICKS
    own = threading.get_native_id()
    return any(_state(thread) == "R" for thread in THREADS.iterdir() if int(thread.name) != own)


def _state(thread: Path) -> str:
    """Return a letter: R for a thread that runs, others for those that wait or have ended."""
    try:
        # The thread's name, in parentheses, may itself hold some.
        return (thread / "stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def warm(contestants: tuple[Contestant, ...], settings: Settings) -> dict[str, int]:
    """Import all that the contestants need; return the threads that libraries are set to then."""
    for contestant in contestants:
        if contestant.role == CONTROL:
            continue
        work.loaded(contestant.spec, settings)
    return machine.threads()
