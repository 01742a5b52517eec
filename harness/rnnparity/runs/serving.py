"""A worker's own side: how it begins, answers what it is asked, and ends with its parent.

It may be a process of another Python: what is imported here has to be there, too.
"""

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from rnnparity.implementations import stopwatch
from rnnparity.runs import answers, leftovers, parcels

# Bytes in which a message between two Pythons says how long it is, and of which it is read at most
# at once.
HEAD, AT_ONCE = 8, 2**20

# When this worker began: until its first call it imports what that needs.
_began: list[float] = []

# Where this worker says, a byte for each, how many answers it has.
_counted: list[str] = []


class Beginning(msgspec.Struct, frozen=True):
    """What a worker of another Python is told first: the arguments of `begin`."""

    parent: int
    log: str
    counted: str
    places: dict[str, parcels.Place]
    folder: str


class Call(msgspec.Struct, frozen=True):
    """What it is asked then: a function's place, its packed arguments, the files that it lacks."""

    function: str
    packed: bytes
    sent: list[parcels.Parcel]


def serve(descriptor: str) -> None:
    """Answer, in a process of another Python, what comes through a socket, until that is closed."""
    pipe = socket.socket(fileno=int(descriptor))
    pipe.set_inheritable(False)
    with suppress(EOFError, OSError):
        told = msgspec.msgpack.decode(receive(pipe), type=Beginning)
        begin(told.parent, told.log, told.counted, told.places, told.folder)
        while True:
            call = msgspec.msgpack.decode(receive(pipe), type=Call)
            module, _, name = call.function.partition(":")
            function = getattr(import_module(module), name)
            send(pipe, noted(function, call.packed, *call.sent))
    threading.Event().wait()  # its parent ends it, or `_end_with` when there is none


def send(pipe: socket.socket, message: bytes) -> None:
    """Send a message and its length."""
    pipe.sendall(len(message).to_bytes(HEAD, "big") + message)


def receive(pipe: socket.socket) -> bytes:
    """Wait for a message.

    Raises:
        EOFError: the other end is closed.
    """
    return _exactly(pipe, int.from_bytes(_exactly(pipe, HEAD), "big"))


def _exactly(pipe: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = pipe.recv(min(size - len(found), AT_ONCE))
        if not part:
            raise EOFError
        found += part
    return bytes(found)


def noted(function: Callable[..., Any], packed: bytes, *sent: parcels.Parcel) -> bytes:
    """Run a function (in a worker), whose start counts as the implementations' work."""
    if _began:
        stopwatch.note([(_began.pop(), time.monotonic())])
    told = answers.answer(parcels.call, function, packed, *sent)
    for path in _counted:
        with suppress(OSError), Path(path).open("ab") as file:
            file.write(b".")
    return told


def begin(
    parent: int, log: str, counted: str, places: dict[str, parcels.Place], folder: str
) -> None:
    """Set up a worker: output to its log, crashes explained there, Ctrl-C left to the parent."""
    _began.append(time.monotonic())
    _counted.append(counted)
    leftovers.apart()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # somebody has removed the run's folder
        descriptor = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    parcels.take_over(places, folder)
    faulthandler.enable()
    from rnnparity.implementations.execution import leave_arithmetic_alone

    leave_arithmetic_alone()
    told = parent, os.environ[leftovers.MARK]
    threading.Thread(target=_end_with, args=told, daemon=True).start()


def _end_with(parent: int, mark: str) -> None:
    """End this process when its parent is gone, whatever it is doing, and leave nothing behind."""
    while os.getppid() == parent:
        time.sleep(1)
    try:
        parcels.remove_folder()
        leftovers.end(mark, within=0)  # trackers end with this process
    finally:
        os._exit(1)
