"""What Python callers use: `rnnparity.check(...)`, and the plan behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from rnnparity import presets, registry, weights, workers
from rnnparity.cases import Case
from rnnparity.config import RNNConfig
from rnnparity.dtypes import NAMES
from rnnparity.errors import UsageError
from rnnparity.runs import TIMEOUT, Progress, Run, new_directory
from rnnparity.runs import check as run_check
from rnnparity.settings import Settings


def check(
    *implementations: str,
    preset: str = "quick",
    cases: Sequence[Case] | None = None,
    device: Sequence[str] | None = None,
    dtype: Sequence[str] | None = None,
    weights: Any = None,
    nonlinearity: str = "tanh",
    batch_first: bool = False,
    settings: Settings | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    timeout: float = TIMEOUT,
    progress: Progress = lambda event: None,
) -> Run:
    """Check implementations against the truth, each in a process of its own.

    Args:
        *implementations: registered names, files or modules; none for all that are registered.
        preset: "quick" or "full", unless `cases` or `weights` are given.
        cases: what to check on.
        device: device names or kinds; None for all that are found.
        dtype: only cases in these dtypes; with `weights`, the dtypes to check (float32 if None).
        weights: a `torch.nn.RNN`, a state dict, or the path of a `.safetensors` or `.pt` file:
            checks on these weights instead of a preset.
        nonlinearity: of these weights, which names and shapes do not tell.
        batch_first: likewise.
        settings: threads and matmul precision of the workers.
        out: the run's folder; `results/<time>-<preset>` if None.
        resume: go on with the run in `out`.
        timeout: seconds for one case and for an import.
        progress: called with every event.

    Returns:
        The run: `.records`, `.environment`, `.directory`, `.passed`.

    Raises:
        UsageError: something given cannot be used.
    """
    settings = settings or Settings()
    for name in dtype or ():
        if name not in NAMES:
            raise UsageError(f"no dtype {name!r}: there are {', '.join(NAMES)}")
    if timeout <= 0:
        raise UsageError(f"timeout is {timeout:g} s, expected more than 0")
    specs = registry.resolve_all(list(implementations))
    label = preset if weights is None else "weights"
    directory = Path(out) if out is not None else new_directory(label)
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file: expected a folder for the records")
    if cases is None:
        if weights is not None:
            told = {"nonlinearity": nonlinearity, "batch_first": batch_first}
            cases = weights_cases(weights, told, directory, dtype or ("float32",), settings)
        else:
            cases = presets.preset(preset)
    if dtype:
        cases = [case for case in cases if case.dtype in dtype]
    if not cases:
        raise UsageError("no case is left to check: give other dtypes or another preset")
    return run_check(
        specs,
        cases,
        directory,
        settings=settings,
        devices=list(device) if device else None,
        timeout=timeout,
        resume=resume,
        progress=progress,
    )


def weights_cases(
    source: Any,
    told: dict[str, Any],
    directory: Path,
    dtypes: Sequence[str],
    settings: Settings,
) -> list[Case]:
    """Keep weights in the run's folder, and return cases on them.

    Args:
        source: as `check`'s `weights`.
        told: `nonlinearity` and `batch_first`, where the source does not know them.
        directory: gets `weights.safetensors`, so that the run can be repeated.
        dtypes: one set of cases for each.
        settings: of the worker that reads a `.pt` file.

    Raises:
        UsageError: the source holds no weights of a `torch.nn.RNN`.
    """
    if isinstance(source, str | Path):
        config = _keep_file(Path(source), told, directory, settings)
    else:
        config = keep(source, told, directory)
    kept = str((directory / "weights.safetensors").resolve())
    plain = Case(config=config, T=32, B=4, regime="torch-init", weights=kept)
    cases = [
        plain,
        plain.replace(h0=False),
        plain.replace(one_more_step=True),
        plain.replace(ragged=True),
        plain.replace(B=None),
        plain.replace(T=1, B=1),
    ]
    return [case.replace(dtype=dtype) for dtype in dtypes for case in cases]


def keep(source: Any, told: dict[str, Any], directory: Path) -> RNNConfig:
    """Read weights, write them to `weights.safetensors` in a folder, and infer their configuration.

    Raises:
        UsageError: they cannot be used.
    """
    parameters = weights.read(source)
    config = weights.config_of(source, parameters, **told)
    directory.mkdir(parents=True, exist_ok=True)
    weights.write(directory / "weights.safetensors", parameters)
    return config


def _keep_file(path: Path, told: dict[str, Any], directory: Path, settings: Settings) -> RNNConfig:
    if path.suffix not in (".pt", ".pth"):
        return keep(path, told, directory)
    # Only torch reads a .pt file, and torch is not imported into this process.
    directory.mkdir(parents=True, exist_ok=True)
    worker = workers.Worker(settings, directory / "worker-weights.log")
    try:
        return msgspec.convert(
            msgspec.to_builtins(worker.call(TIMEOUT, keep, path, told, directory)), RNNConfig
        )
    except workers.WorkerLost as lost:
        raise UsageError(f"{path} could not be read: the process that read it {lost}") from None
    finally:
        worker.stop()
