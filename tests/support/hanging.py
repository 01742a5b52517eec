"""What never comes back, each in another way: to be called in a worker."""

import os
import signal
import time


def fine() -> int:
    """Return at once."""
    return os.getpid()


def loops() -> int:
    """Run Python for ever."""
    while True:
        pass


def sleeps() -> int:
    """Wait in C, deaf to what can be ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(1e6)
    return 0


def stops_itself() -> int:
    """Ask to be stopped, as Ctrl-Z does."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return 0


def waits_for_a_child() -> int:
    """Wait for one that waits for ever."""
    child = os.fork()
    if child == 0:
        time.sleep(1e6)
    return os.waitpid(child, 0)[1]
