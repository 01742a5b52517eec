"""Records as they are made: written, told, and looked up by who goes on with a run."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.records.run import Run
from rnnparity.runs.expected import as_expected, outdated, unmatched
from rnnparity.runs.plan import Plan


@dataclass(frozen=True)
class Event:
    """Something to show of a check.

    Attributes:
        announced: the implementations that will be checked: the first event of a run.
        notes: with it, what of a resumed run no longer counts.
        implementation: whose check it is, of every other event.
        planned: how many checks it will have.
        record: one that was made.
        earlier: whether the record is one of a resumed run.
    """

    implementation: str = ""
    announced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    planned: int | None = None
    record: Record | None = None
    earlier: bool = False


Progress = Callable[[Event], None]


class Keeper:
    """Keeps the records of a run, whoever makes them; safe to share between threads.

    Attributes:
        run: gets the records.
        done: by implementation, device and case, those that a resumed run has already.
    """

    def __init__(self, plan: Plan, run: Run, progress: Progress, recorder: files.Recorder) -> None:
        """Keep nothing yet."""
        self.run, self._plan, self._progress, self._recorder = run, plan, progress, recorder
        self.done = {(r.implementation, r.device, r.definition): r for r in run.records}
        self.lock = threading.RLock()

    def keep(self, record: Record) -> None:
        """Write a new record, with the verdict `xfail` where it fails as was expected."""
        record = as_expected(self._plan.expected, record)
        self._recorder.write(record)
        self.emit(Event(record.implementation, record=record))

    def emit(self, event: Event) -> None:
        """Tell an event, one at a time."""
        with self.lock:
            if event.record is not None and not event.earlier:
                self.run.records.append(event.record)
            self._progress(event)

    def finish(self) -> None:
        """Say which expected failures did not come, and close the files."""
        late = outdated(self._plan.expected, self.run.records)
        nothing = unmatched(self._plan.expected, self.run.records)
        if nothing:
            self.run.environment["unmatched"] = [one.pattern for one in nothing]
        if late:
            self.run.environment["outdated"] = [one.pattern for one in late if not one.of_peers]
        self._recorder.close()
        self.run.write_environment()
