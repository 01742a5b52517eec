"""What a run on a Dask cluster costs, and what bounds a large one, measured on one machine.

    python results/cluster.py writer            records per second into a run's folder
    python results/cluster.py tasks             checks per second through the scheduler, by workers
    python results/cluster.py speedup           a preset with one worker and with two, a core each
    python results/cluster.py floor             the noise floor of timings, here and on a worker

`tasks` has the real scheduler and the real client; its workers are real, too, but many in a process
and what they return is made up: nothing is computed. So it shows what everything but the checks
themselves takes. Workers, scheduler and client share this machine's cores; the CPU time of each,
per task, is what tells where a cluster's bound is.
"""

import argparse
import asyncio
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from rnnparity import api
from rnnparity.cells.config import RNNConfig
from rnnparity.judging.difference import Difference
from rnnparity.problems.cases import Case
from rnnparity.records import files
from rnnparity.records.check import Record
from rnnparity.records.environment import environment, usable_cores
from rnnparity.records.timing import AGAIN
from rnnparity.runs.cluster import on_worker
from rnnparity.timing import noise
from rnnparity.verdicts import Verdict

# The names of what is checked: as many as come with the package.
NAMES = ("torch-rnn", "numpy-loop", "jax-scan", "torch-loop")

# Of a made up record: as many numbers as a real one has.
QUANTITIES = ("output", "h_n", "grad_x", "grad_h0", "grad_weight_ih_l0", "grad_weight_hh_l0")
DIFFERENCE = Difference(
    max_abs_error=1.12e-7, max_ulp=136.037, z=0.897, index=(3, 1, 16), rms_z=0.1361362,
    by_step=(0.657, 0.634, 0.539, 0.897, 0.596, 0.621), histogram=(1396, 122, 17, 1),
)  # fmt: skip


def cases(count: int) -> tuple[Case, ...]:
    """Return so many small cases, no two alike."""
    plain = Case(config=RNNConfig(input_size=8, hidden_size=16), T=12, B=4)
    return tuple(plain.replace(seed=seed) for seed in range(count))


def record(ask: on_worker.Ask) -> Record:
    """Return a record as a worker sends it, of a check that was not made."""
    return Record(
        implementation=ask.spec.name,
        framework="numpy",
        device=ask.device,
        dtype=ask.case.dtype,
        case=ask.case.id,
        verdict=Verdict.PASS,
        reason="",
        quantities=dict.fromkeys(QUANTITIES, DIFFERENCE),
        cell=ask.spec.kind,
        seconds=0.1,
    )


def writer(count: int) -> str:
    """Measure how many records a run's folder takes."""
    spec = api.plans.specs(["numpy-loop"])[0]
    one = record(on_worker.Ask(cases(1)[0], spec, "cpu"))
    with tempfile.TemporaryDirectory() as folder:
        recorder = files.Recorder(Path(folder))
        begun = time.perf_counter()
        for _ in range(count):
            recorder.write(one)
        took = time.perf_counter() - begun
        recorder.close()
        size = (Path(folder) / files.RECORDS).stat().st_size
    return (
        "| records | bytes of each | records per second |\n|---:|---:|---:|\n"
        f"| {count} | {size / count:.0f} | {count / took:,.0f} |"
    )


def host(address: str, count: int) -> None:
    """Be a process with so many workers, which make nothing and answer at once."""
    import distributed
    from distributed import Worker

    from rnnparity.runs.cluster import crews
    from rnnparity.runs.cluster.crews import Manner
    from rnnparity.runs.cluster.on_worker import Ask, Offer
    from rnnparity.runs.work import Description

    found = environment(api.Settings())

    def offer(manner: Manner, specs: Any) -> Offer:
        description = Description(framework="numpy", devices=("cpu",))
        worker: Any = distributed.get_worker()
        return Offer(
            name=str(worker.name),
            host=platform.node(),
            machine=str(worker.name),
            threads=1,
            resources={},
            load=0.0,
            environment=found,
            descriptions={spec.name: description for spec in specs},
        )

    def check_block(manner: Manner, asks: tuple[Ask, ...]) -> list[Record]:
        return [record(ask) for ask in asks]

    on_worker.offer, on_worker.check_block = offer, check_block  # type: ignore[assignment]
    crews.finish = lambda run: None

    async def work() -> None:
        workers = [
            await Worker(address, nthreads=1, memory_limit=0, name=f"{os.getpid()}-{i}")
            for i in range(count)
        ]
        await asyncio.gather(*[worker.finished() for worker in workers])

    asyncio.run(work())


@contextmanager
def started(folder: Path):
    """Start a scheduler, and give a function that starts what joins it; end all of them."""
    file, begun = folder / "scheduler.json", []

    def start(*command: Any) -> psutil.Process:
        with (folder / f"{len(begun)}.log").open("w") as log:
            begun.append(
                subprocess.Popen(
                    [sys.executable, *map(str, command)],
                    stdout=log,
                    stderr=log,
                    cwd=folder,
                )
            )
        return psutil.Process(begun[-1].pid)

    try:
        scheduler = start(
            *("-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--host", "127.0.0.1"),
            *("--port", 0, "--scheduler-file", file),
        )
        while not file.exists():
            time.sleep(0.1)
        yield file, scheduler, start
    finally:
        for process in reversed(begun):
            process.terminate()
        for process in begun:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(file: Path, count: int) -> None:
    """Wait until so many workers have joined."""
    import distributed

    with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(count)


def tasks(counts: list[int], checks: int) -> str:
    """Measure checks per second with more and more workers that compute nothing."""
    rows = ["| workers | checks | checks per second | tasks per second | ms of the scheduler's CPU "
            "per task | ms of the client's | last worker known after |",
            "|---:|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for count in counts:
        with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as there:
            file, scheduler, start = there
            import json

            address = json.loads(file.read_text())["address"]
            per_host = 50
            for k in range(0, count, per_host):
                start(Path(__file__).resolve(), "host", address, min(per_host, count - k))
            wait_for(file, count)
            rows.append(_measured(file, scheduler, count, checks))
    return "\n".join(rows)


def _measured(file: Path, scheduler: psutil.Process, count: int, checks: int) -> str:
    from rnnparity.runs.cluster import spreading

    own, moments, given = psutil.Process(), [], []
    give = spreading._Spreading._give

    # Tasks are counted where they are given out: nothing else tells of each.
    def counted(self: Any, worker: str, block: Any) -> None:
        if not given:
            moments.append((time.perf_counter(), cpu(scheduler), cpu(own)))
        given.append(worker)
        give(self, worker, block)

    spreading._Spreading._give = counted  # type: ignore[method-assign]
    asked = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as out:
            api.check(
                *NAMES, cases=cases(checks // len(NAMES)), out=Path(out) / "run", cluster=str(file)
            )
    finally:
        spreading._Spreading._give = give  # type: ignore[method-assign]
    begun, of_scheduler, of_client = moments[0]
    took = time.perf_counter() - begun
    of_scheduler, of_client = cpu(scheduler) - of_scheduler, cpu(own) - of_client
    number = len(given)
    return (
        f"| {count} | {checks} | {checks / took:,.0f} | {number / took:,.0f} | "
        f"{1000 * of_scheduler / number:.2f} | {1000 * of_client / number:.2f} | "
        f"{begun - asked:.1f} s |"
    )


def cpu(process: psutil.Process) -> float:
    """Return the CPU seconds that a process has taken."""
    times = process.cpu_times()
    return float(times.user + times.system)


def speedup(preset: str, names: list[str], pinned: bool) -> str:
    """Time a preset's checks with one worker and with two, and see who used the CPU."""
    import distributed

    rows = ["| workers | checks | wall s | speed-up | implementations' CPU s | judging | scheduler "
            "| client |", "|---:|---:|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    first = 0.0
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as there:
            file, scheduler, start = there
            for k in range(count):
                worker = start(
                    *("-m", "distributed.cli.dask_worker", "--no-dashboard", "--nthreads", 1),
                    *("--host", "127.0.0.1", "--scheduler-file", file, "--name", k),
                )
                if pinned and hasattr(worker, "cpu_affinity"):  # else XLA compiles on both
                    worker.cpu_affinity([worker.cpu_affinity()[k]])
            wait_for(file, count)
            own, begun = cpu(psutil.Process()), time.perf_counter()
            run = api.check(*names, preset=preset, out=Path(folder) / "run", cluster=str(file))
            took = time.perf_counter() - begun
            own = cpu(psutil.Process()) - own
            time.sleep(5)  # until the workers have ended their processes, whose times count then
            with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
                times = [*client.run(os.times).values()]
            first = first or took
            rows.append(
                f"| {count} | {len(run.records)} | {took:.1f} | {first / took:.2f} | "
                f"{sum(t.children_user + t.children_system for t in times):.1f} | "
                f"{sum(t.user + t.system for t in times):.1f} | {cpu(scheduler):.1f} | {own:.1f} |"
            )
    return "\n".join(rows)


def floor(sizes: list[str], rounds: int) -> str:
    """Time the baseline against itself, in turns here and on a worker of a cluster."""
    rows = ["| what | where | noise floor: the median run's, and the range | ratios |",
            "|---|---|---:|---:|"]  # fmt: skip
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as there:
        file, _, start = there
        start(
            *("-m", "distributed.cli.dask_worker", "--no-dashboard", "--nthreads", 1),
            *("--host", "127.0.0.1", "--scheduler-file", file),
        )
        wait_for(file, 1)
        for k in range(rounds):
            for where, cluster in (("here", None), ("on a worker", str(file))):
                out = Path(folder) / f"run-{k}-{cluster is None}"
                run = api.bench("numpy-loop", size=sizes, out=out, cluster=cluster)
                for one in run.timings:
                    if one.role == AGAIN and one.ratio is not None:
                        told = noise.floor(one, run.timings), one.ratio
                        found.setdefault((f"{one.case}, {one.mode}", where), []).append(told)
    for (what, where), told in sorted(found.items()):
        floors, ratios = zip(*told, strict=True)
        rows.append(
            f"| {what} | {where} | {statistics.median(floors):.1%}, {min(floors):.1%} to "
            f"{max(floors):.1%} | {min(ratios):.3f} to {max(ratios):.3f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure what the arguments say, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("writer").add_argument("--records", type=int, default=200_000)
    by_workers = commands.add_parser("tasks")
    by_workers.add_argument("--workers", default="10,30,100,300,1000")
    by_workers.add_argument("--checks", type=int, default=40_000)
    of_preset = commands.add_parser("speedup")
    of_preset.add_argument("--preset", default="full")
    of_preset.add_argument("--unpinned", action="store_true", help="workers may use all cores")
    of_preset.add_argument("names", nargs="*", default=[])
    of_floor = commands.add_parser("floor")
    of_floor.add_argument("--size", nargs="*", default=["20,4,8,16", "100,16,64,64"])
    of_floor.add_argument("--rounds", type=int, default=5)
    as_host = commands.add_parser("host")
    as_host.add_argument("address")
    as_host.add_argument("count", type=int)
    given = parser.parse_args()
    if given.what == "host":
        host(given.address, given.count)
        return
    if importlib.util.find_spec("distributed") is None:
        sys.exit("pip install 'rnnparity[cluster]' first")
    made = {
        "writer": lambda: writer(given.records),
        "tasks": lambda: tasks([int(n) for n in given.workers.split(",")], given.checks),
        "speedup": lambda: speedup(given.preset, given.names, not given.unpinned),
        "floor": lambda: floor(given.size, given.rounds),
    }[given.what]()
    print(f"{platform.processor() or platform.machine()}, {usable_cores()} cores, load "
          f"{os.getloadavg()[0]:.1f} at the end\n\n{made}")  # fmt: skip


if __name__ == "__main__":
    main()
