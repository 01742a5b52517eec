"""A Dask scheduler and workers as processes on this machine, for the tests of a cluster."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager


class Processes:
    """Starts them in a folder, and ends all of them."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.all = []
        self.scheduler = self._start(
            "scheduler", "--port", "0", "--scheduler-file", self.file, "--host", "127.0.0.1"
        )
        while not self.file.exists():
            assert self.scheduler.poll() is None, self._told("scheduler")
            time.sleep(0.05)

    def worker(self, name, *options, **variables):
        """Start a worker, which joins when it is ready."""
        more = ("--nthreads", "1", "--name", name, "--local-directory", self.folder / name)
        return self._start(
            "worker",
            "--scheduler-file",
            self.file,
            "--host",
            "127.0.0.1",
            *more,
            *options,
            **variables,
        )

    def _start(self, what, *options, **variables):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard"]
        with (self.folder / f"{len(self.all)}-{what}.log").open("w") as log:
            process = subprocess.Popen(
                [*command, *map(str, options)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | variables,
            )
        self.all.append(process)
        return process

    def _told(self, what):
        return "\n".join(path.read_text() for path in self.folder.glob(f"*-{what}.log"))

    def end(self):
        for process in reversed(self.all):
            process.terminate()
        for process in self.all:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def processes(folder):
    found = None
    try:
        found = Processes(folder)
        yield found
    finally:
        if found is not None:
            found.end()
