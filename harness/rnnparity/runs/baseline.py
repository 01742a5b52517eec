"""What `torch.nn.RNN` made of each case, kept for the implementations that are compared with it."""

import threading
from collections import Counter
from collections.abc import Iterable

from rnnparity.implementations.outcome import Outcome
from rnnparity.problems.cases import Case


class Baseline:
    """What `torch.nn.RNN` made of each case on the CPU; others wait for it."""

    def __init__(self, users: int) -> None:
        """Start empty, for so many users."""
        self._users = users
        self._outcomes: dict[Case, Outcome] = {}
        self._passed: Counter[Case] = Counter()
        self._finished = False
        self._changed = threading.Condition()

    def put(self, case: Case, outcome: Outcome) -> None:
        """Keep an outcome until every user has passed its case."""
        with self._changed:
            if self._passed[case] < self._users:
                self._outcomes[case] = Outcome(outcome.arrays, outcome.verdict, outcome.reason)
            self._changed.notify_all()

    def finish(self) -> None:
        """Say that there will be no more."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def get(self, case: Case) -> Outcome | None:
        """Return the outcome, or None once it is known that there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: case in self._outcomes or self._finished)
            return self._outcomes.get(case)

    def passed(self, cases: Iterable[Case]) -> None:
        """Note that one user will not ask for these again."""
        with self._changed:
            for case in cases:
                self._passed[case] += 1
                if self._passed[case] >= self._users:
                    self._outcomes.pop(case, None)
            self._changed.notify_all()
