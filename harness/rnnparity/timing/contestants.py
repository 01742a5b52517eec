"""An implementation on one job, ready to be timed: in a worker, with arrays of its own."""

import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rnnparity.implementations import compiled, stopwatch
from rnnparity.implementations.frameworks import initial
from rnnparity.implementations.outcome import Outcome, named
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.settings import Settings
from rnnparity.problems.arrays import Problem, initial_states, rows_are_left, weighing_all_rows
from rnnparity.problems.arrays import upstream as coming_in
from rnnparity.problems.sizes import FORWARD, Job
from rnnparity.records.timing import IMPLEMENTATION
from rnnparity.runs import work
from rnnparity.types import Array

# Seconds that a block of calls should take. Long enough for the clock and for caches to be warm,
# short enough that neighbours in a round meet the same machine.
BLOCK = 2e-3

# Seconds that finding out how long a call takes may need: one slow call alone says nothing.
PATIENCE = 10 * BLOCK

# Inputs that blocks go round, and inputs that were never seen before, to compare with; fewer where
# they would not fit into so much memory.
INPUTS, FRESH = 4, 16
INPUT_BYTES = 64e6

PEAK = Path("/proc/self/clear_refs")


class Contestant(msgspec.Struct, frozen=True):
    """What is timed under which name. `delay` makes it slower by that share (a test's)."""

    name: str
    spec: Spec
    role: str = IMPLEMENTATION
    delay: float = 0.0


class Timed:
    """One contestant on one job.

    Attributes:
        prepare: seconds of what is done once per set of weights.
        first_call: seconds of the first call, compilation included.
        peak_memory: bytes by which a later call raises the process's memory at most, or the
            framework's on another device than the CPU; None if nobody tells.
        calls: per block.
    """

    def __init__(
        self, contestant: Contestant, settings: Settings, job: Job, problem: Problem, device: str
    ) -> None:
        """Hold the arrays, prepare, call for the first time and choose the size of a block."""
        self.contestant, self._delay, self.device = contestant, contestant.delay, device
        implementation, border = work.loaded(contestant.spec, settings)
        self._border, self._forward = border, job.mode == FORWARD
        self._context = border.unrecorded if self._forward else nullcontext
        config = job.case.config
        weights = {n: border.from_numpy(value, device) for n, value in problem.weights.items()}
        given = initial_states(problem)
        states = {name: border.from_numpy(value, device) for name, value in given.items()}
        self._wait: Callable[[Any], None] = border.synchronize
        border.synchronize((*weights.values(), *states.values()))

        begun = time.perf_counter()
        make = compiled.forward if self._forward else compiled.gradients
        with stopwatch.running(), self._context():
            self._call: Callable[..., Any] = make(implementation, border, config, weights)
        self.prepare = time.perf_counter() - begun

        upstream = None
        if not self._forward:
            coming = coming_in(problem).values()
            upstream = tuple(border.from_numpy(a, device) for a in coming)

        def arguments(x: Array) -> tuple[Any, ...]:
            held = border.from_numpy(x, device)
            border.synchronize(held)
            if self._forward:
                return held, initial(states), None
            leaves = {"x": held} | states
            return {name: border.leaf(value) for name, value in leaves.items()}, None, upstream

        self._case, self._problem = job.case, problem
        self._x, self._make_arguments = problem.x, arguments
        self._rolled = at_most(INPUTS, problem.x)
        self._arguments = [arguments(rolled(problem.x, i)) for i in range(self._rolled)]
        self._next = 0
        self.first_call = self._measure(self._in_turn(1))[0]
        self.peak_memory = self._memory()
        self.calls = self._calibrated()

    def block(self, end_with_first: bool = False) -> tuple[float, float, Any]:
        """Call a block's number of times, on a few inputs in turn, after calls that do not count.

        Args:
            end_with_first: whether the last call gets the input that is judged.

        Returns:
            Seconds per call, the cores that were busy, and what the last call returned.
        """
        n, count = self.calls, len(self._arguments)
        self._measure(self._in_turn(max(1, n // 8)))
        if end_with_first:
            self._next = (1 - n) % count
        return self._measure(self._in_turn(n))

    def fresh(self) -> tuple[float, float]:
        """Return seconds per call on inputs never seen before, and on others right before those.

        Medians of single calls, as many of each: what interrupts a call or two is in neither.
        """
        n = min(self.calls, at_most(FRESH, self._x))
        new = [self._make_arguments(rolled(self._x, self._rolled + i)) for i in range(n)]
        self._rolled += n
        self._measure(self._in_turn(1))
        seen, fresh = (
            float(np.median([self._measure([one])[0] for one in order]))
            for order in (self._in_turn(n), new)
        )
        return fresh, seen

    def with_transfer(self) -> float:
        """Return seconds per call with x brought to the device and the output brought back."""
        border, n = self._border, max(1, self.calls // 4)
        with self._context():
            begun = time.perf_counter()
            for _ in range(n):
                result = self._call(*self._make_arguments(self._x))
                border.to_numpy(result[0] if self._forward else result[0][0])
            return (time.perf_counter() - begun) / n

    def on_device(self) -> tuple[float | None, float]:
        """Return seconds that the device has for a call, and the share of handing it over.

        Between two marks in the device's queue there is no waiting for the result, as there is on
        the clock of the wall. Where the call returns only when the device is nearly done, launching
        is what takes the time.

        Returns:
            Seconds per call, or None if there are no such marks; and the part of the time until the
            result is there that is over when the call returns.
        """
        border, order = self._border, self._in_turn(max(1, self.calls // 4))
        marks, handed, until = [], 0.0, 0.0
        with self._context():
            for arguments in order:
                before, begun = border.mark(self.device), time.perf_counter()
                result = self._call(*arguments)
                returned = time.perf_counter()
                marks.append((before, border.mark(self.device)))
                self._wait(result[0] if self._forward else tuple(result[1].values()))
                until += time.perf_counter() - begun
                handed += returned - begun
        if marks[0][0] is None:
            return None, handed / until
        elapsed = [before.elapsed_time(after) for before, after in marks]
        return 1e-3 * sum(elapsed) / len(elapsed), handed / until

    def outcome(self, result: Any) -> Outcome:
        """Return what a call returned as the verdict takes it."""
        if self._forward:
            arrays = named(result, self._case.config)
        else:
            outputs, gradients = result
            arrays = named(outputs, self._case.config)
            arrays |= {f"grad_{name}": value for name, value in gradients.items()}
        crossed = {name: self._border.to_numpy(value) for name, value in arrays.items()}
        return Outcome(crossed, every_row=self._every_row())

    def _every_row(self) -> dict[str, Array]:
        """Call once more, to the gradients of a functional that weighs all rows."""
        case, problem, border = self._case, self._problem, self._border
        if self._forward or not rows_are_left(case, problem):
            return {}
        states, lengths, _ = self._make_arguments(problem.x)
        coming = weighing_all_rows(case, problem).values()
        upstream = tuple(border.from_numpy(a, self.device) for a in coming)
        with stopwatch.running():
            _, gradients = self._call(states, lengths, upstream)
        return {f"grad_{name}": border.to_numpy(value) for name, value in gradients.items()}

    def _in_turn(self, n: int) -> list[tuple[Any, ...]]:
        count, first = len(self._arguments), self._next
        self._next = (first + n) % count
        return [self._arguments[(first + i) % count] for i in range(n)]

    def _measure(self, order: list[tuple[Any, ...]]) -> tuple[float, float, Any]:
        call, wait = self._call, self._wait
        forward = self._forward
        with stopwatch.running(), self._context():
            cpu, begun = time.process_time(), time.perf_counter()
            for arguments in order:
                result = call(*arguments)
                wait(result[0] if forward else tuple(result[1].values()))
            seconds = time.perf_counter() - begun
            if self._delay:
                seconds = _delayed(begun, seconds * (1 + self._delay))
            cpu = time.process_time() - cpu
        return seconds / len(order), cpu / seconds, result

    def _calibrated(self) -> int:
        """Return how many calls a block has, from the fastest of a few.

        Inputs that none of them had are dropped: blocks are to be of inputs seen before.
        """
        fastest = spent = self._second_call
        called = 2
        while spent < BLOCK or (called < INPUTS and spent < PATIENCE):
            seconds = self._measure(self._in_turn(1))[0]
            fastest, spent, called = min(fastest, seconds), spent + seconds, called + 1
        del self._arguments[called:]
        self._next %= len(self._arguments)
        return max(1, math.ceil(BLOCK / fastest))

    def _memory(self) -> int | None:
        """Call a second time, and return how far that raised the memory in use."""
        if self.device != "cpu":
            before = self._border.memory(self.device, forget=True)
            self._second_call = self._measure(self._in_turn(1))[0]
            return None if before is None else raised(before, self._border.memory(self.device))
        now = _forget_peak()
        self._second_call = self._measure(self._in_turn(1))[0]
        return None if now is None else max(0, _status("VmHWM") - now)


def raised(before: tuple[int, int], after: tuple[int, int]) -> int | None:
    """Return how far a call raised a device's memory.

    Args:
        before: bytes in use, and the most that ever were, before the call.
        after: the same two numbers, after it.

    Returns:
        None where an earlier call took more, and hides what this one took.
    """
    if after[1] == before[1] > before[0]:
        return None
    return after[1] - before[0]


def at_most(count: int, x: Array) -> int:
    """Return how many inputs like x are held: `count`, or what fits; two at least."""
    return max(2, min(count, int(INPUT_BYTES / x.nbytes)))


def rolled(x: Array, i: int) -> Array:
    """Return x (for i = 0), which is judged, or another input: its values in other places."""
    one: Array = np.roll(x, i)
    return one * (1 + i // x.size) if i >= x.size else one


def _delayed(begun: float, seconds: float) -> float:
    while time.perf_counter() - begun < seconds:
        pass
    return time.perf_counter() - begun


def _forget_peak() -> int | None:
    """Make Linux forget the process's peak of memory, and return what it has now, in bytes."""
    try:
        PEAK.write_text("5")
        return _status("VmRSS")
    except (OSError, StopIteration):
        return None


def _status(name: str) -> int:
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(name))
    return 1024 * int(line.split()[1])
