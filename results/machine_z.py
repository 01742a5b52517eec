"""How near to the limit right implementations come with other kernels, over a preset.

    PYTHONPATH=tests python results/machine_z.py full > results/reference-machines/full.md
    PYTHONPATH=tests python results/machine_z.py full jax-scan flax-rnn    # these only

Every setting of `tests/machines.py` is set in processes of its own, for the implementations whose
library it reaches; the reference of a case is made once for all of them. `torch-compile` compiles
for seconds per shape: it is left to `make test-machines`. What fails is named on stderr at once.
"""

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import machines

from rnnparity.implementations import registry
from rnnparity.implementations.settings import Settings
from rnnparity.judging.reference import reference
from rnnparity.judging.verdict import judge
from rnnparity.problems import presets
from rnnparity.runs import processes, work
from rnnparity.runs.processes import Worker

TORCH = ("torch-rnn", "torch-loop", "torch-cell")
BLAS = ("numpy-loop",)
JAX = ("jax-scan", "jax-newton", "flax-rnn", "keras-rnn")
REACHED = {
    "OPENBLAS": BLAS,
    "NPY": (*BLAS, "numba-fused"),
    "MKL": TORCH,
    "ONEDNN": TORCH,
    "ATEN": TORCH,
    "XLA": JAX,
    "1 thread": (*BLAS, *TORCH, *JAX, "numba-fused", "onnxruntime-rnn"),
    "2 threads": (*BLAS, *TORCH, *JAX, "numba-fused", "onnxruntime-rnn"),
}


@dataclass
class Series:
    """One implementation under one setting."""

    setting: machines.Setting
    name: str
    worker: Worker
    settings: Settings
    verdicts: dict[str, int] = field(default_factory=dict)
    largest: float = 0.0
    where: str = ""


class MachineWorker(Worker):
    """A worker whose libraries are told to pick other kernels."""

    def __init__(self, settings: Settings, log: Path, variables: dict[str, str]) -> None:
        """Start nothing yet."""
        super().__init__(settings, log)
        self._variables = variables

    def call(self, timeout, function, *args, **kwargs):
        """As `Worker.call`; the variables are this process's own while the other one starts."""
        if self._executor is None:
            before = dict(os.environ)
            os.environ.update(self._variables)
            try:
                super().call(timeout, len, ())
            finally:
                os.environ.clear()
                os.environ.update(before)
        return super().call(timeout, function, *args, **kwargs)


def main(preset: str, *only: str) -> None:
    """Judge every case under every setting; print the table."""
    # A series is run in turn by one thread: the processes do not disturb each other.
    series: list[Series] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, setting in enumerate(machines.settings()):
            names = next(found for key, found in REACHED.items() if setting.name.startswith(key))
            settings = Settings(threads=int(setting.variables.get("OMP_NUM_THREADS", "1")))
            log = Path(folder) / f"{number}.log"
            worker = MachineWorker(settings, log, dict(setting.variables))
            series += [
                Series(setting, name, worker, settings)
                for name in names
                if not only or name in only
            ]
        # What differs in its numbers only lies together: JAX compiles a shape once.
        cases = sorted(
            presets.preset(preset), key=lambda case: (repr(case.config), case.T, case.dtype)
        )
        with ThreadPoolExecutor(1) as ahead:
            following = ahead.submit(reference, cases[0])
            for number, case in enumerate(cases):
                against = following.result()
                if number + 1 < len(cases):
                    following = ahead.submit(reference, cases[number + 1])
                for one in series:
                    _judge(one, case, against)
                if number % 25 == 0:
                    print(f"{number} of {len(cases)}", file=sys.stderr, flush=True)
        for one in series:
            one.worker.close()
    print("| setting | implementation | largest z | of | verdicts |")
    print("| --- | --- | --- | --- | --- |")
    for one in series:
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in one.verdicts.items())
        print(
            f"| {one.setting.name} | {one.name} | {one.largest:.1f} | `{one.where}` | {verdicts} |"
        )


def _judge(one: Series, case, against) -> None:
    spec = registry.resolve(one.name)
    try:
        outcome = one.worker.call(300, work.run_case, spec, one.settings, case, "cpu")
    except processes.WorkerLost as lost:
        print(f"LOST {one.setting.name} {one.name} {case.id}: {lost}", file=sys.stderr, flush=True)
        one.verdicts["lost"] = one.verdicts.get("lost", 0) + 1
        return
    judgement = judge(case, outcome, against)
    verdict = judgement.verdict
    one.verdicts[verdict] = one.verdicts.get(verdict, 0) + 1
    if verdict in ("fail", "error"):
        told = f"{verdict} {one.setting.name} {one.name} {case.id}: {judgement.reason}"
        print(told, file=sys.stderr, flush=True)
    for name, quantity in judgement.quantities.items():
        if quantity.z is not None and quantity.z > one.largest:
            one.largest, one.where = quantity.z, f"{case.id} {name}"


if __name__ == "__main__":
    main(*sys.argv[1:])
