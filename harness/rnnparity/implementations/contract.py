"""The contract of an implementation: loading one, and saying in one line what it lacks."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnparity.cells import network
from rnnparity.cells.config import KINDS as KINDS_OF_CELLS
from rnnparity.cells.config import NONLINEARITIES, Cell, RNNConfig, cells
from rnnparity.errors import explain
from rnnparity.implementations import module_names, modules, neighbours, onnx_whole
from rnnparity.implementations.frameworks import FRAMEWORKS, KINDS, install_hint
from rnnparity.implementations.registry import Spec
from rnnparity.implementations.support import FEATURES, Support
from rnnparity.problems.dtypes import NAMES

# What a `layer` takes, by kind, and a whole `rnn`.
LAYER = {"rnn": "x, h0, cell, nonlinearity", "gru": "x, h0, cell", "lstm": "x, h0, c0, cell"}
WHOLE = "x, h0, weights, config, lengths"
BACKEND = "model_bytes, inputs"  # what the `run` of a user's ONNX runtime takes


class Absent(Exception):
    """What an implementation needs is not installed here."""


class BrokenImplementation(Exception):
    """The module does not load, or is no implementation."""


def _breach(what: str) -> BrokenImplementation:
    return BrokenImplementation(f"{what} (docs/contract.md)")


@dataclass(frozen=True)
class Implementation:
    """A loaded implementation: what it declares, and how to run a whole RNN with it.

    Exactly one of `layer` and `rnn` is there. `prepare` is done once per set of weights; what it
    returns takes the place of the cell (for `layer`) or of the weights (for `rnn`).
    """

    name: str
    framework: str
    kind: str  # "rnn", "gru" or "lstm"
    layer: Callable[..., Any] | None
    rnn: Callable[..., Any] | None
    prepare: Callable[..., Any] | None
    layer_backward: Callable[..., Any] | None
    gradients: bool
    support: Support

    def prepared(self, weights: dict[str, Any], config: RNNConfig) -> Any:
        """Do what is done once per set of weights."""
        if self.rnn is not None:
            return weights if self.prepare is None else self.prepare(weights, config)
        grouped: list[Cell] = cells(weights, config)
        if self.prepare is None:
            return grouped
        more = (config.nonlinearity,) if self.kind == "rnn" else ()
        return [self.prepare(cell, *more) for cell in grouped]

    def run(
        self, prepared: Any, x: Any, h0: Any, lengths: Any, config: RNNConfig
    ) -> tuple[Any, Any]:
        """Run the whole RNN: arguments and results laid out as `torch.nn.RNN`'s."""
        if self.rnn is not None:
            result: tuple[Any, Any] = self.rnn(x, h0, prepared, config, lengths)
            return result
        assert self.layer is not None
        return network.run(self.layer, x, h0, prepared, config, lengths)


def load(spec: Spec) -> Implementation:
    """Import an implementation and check it against the contract.

    Raises:
        Absent: a package that it imports is not installed.
        BrokenImplementation: it does not import, or lacks what the contract asks for.
    """
    try:
        module = _import(spec.target)
        if spec.onnx:
            importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or _findable(missing) or not _asked_for_by(spec, error):
            # What it asked for is installed, but broken: not absent.
            raise BrokenImplementation(f"does not import: {error}") from error
        raise Absent(f"{missing} is not installed: {install_hint(missing)}") from error
    except BaseException as error:
        raise BrokenImplementation(f"does not import: {explain(error)}") from error
    if spec.onnx:
        _check_takes(getattr(module, "run", None), "run", spec.kind)
        module = onnx_whole.of_backend(module, spec.kind)
    return from_object(spec.name, module)


@contextmanager
def loaded_anew(spec: Spec) -> Iterator[Implementation]:
    """Load an implementation once more, in a state in which nothing has called it.

    The modules that it consists of are imported anew, and what was there before is put back.

    Raises:
        Absent: a package that it imports is not installed.
        BrokenImplementation: it does not import, as some modules do not a second time.
    """
    with imported_anew(spec.target):
        yield load(spec)


@contextmanager
def imported_anew(target: str) -> Iterator[None]:
    """Forget the modules of a target while this lasts, so that importing it starts afresh.

    Args:
        target: a file, a module, or an attribute of one.
    """
    is_part = _membership(target)
    own = {name: module for name, module in sys.modules.items() if is_part(name, module)}
    path = list(sys.path)
    for name in own:
        del sys.modules[name]
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if is_part(name, module):
                del sys.modules[name]
        sys.modules.update(own)
        sys.path[:] = path


def _membership(target: str) -> Callable[[str, Any], bool]:
    """Return what says of a module whether a target consists of it: its package, its neighbours."""
    name = "" if target.endswith(".py") else target.partition(":")[0]
    root = name.partition(".")[0]
    file = target if not name else getattr(sys.modules.get(name), "__file__", None)
    folder = Path(file).parent if file and "." not in name else None
    if folder is not None and folder.name in ("site-packages", "dist-packages"):
        folder = None  # a library's file has other libraries beside it

    def is_part(name: str, module: Any) -> bool:
        if name.partition(".")[0] in ("rnnparity", "__main__"):
            return False
        own_file = getattr(module, "__file__", None) or ""
        beside = folder is not None and own_file != "" and Path(own_file).parent == folder
        return beside or (root != "" and name.partition(".")[0] == root)

    return is_part


def from_object(name: str, module: Any) -> Implementation:
    """Check any object that has the names of the contract.

    Raises:
        BrokenImplementation: it lacks one, or declares what is not known.
    """
    module = _of_module(module)
    framework = getattr(module, "framework", None)
    if framework not in FRAMEWORKS:
        raise _breach(f"framework is {framework!r}, expected one of {', '.join(FRAMEWORKS)}")
    kind = getattr(module, "kind", "rnn")
    if kind not in KINDS_OF_CELLS:
        raise _breach(f"kind is {kind!r}, expected one of {', '.join(KINDS_OF_CELLS)}")
    layer, rnn = getattr(module, "layer", None), getattr(module, "rnn", None)
    if (layer is None) == (rnn is None):
        raise _breach(
            "defines both layer and rnn: expected one of them"
            if layer is not None
            else f"defines neither layer({LAYER[kind]}) nor rnn({WHOLE})"
        )
    _check_takes(layer or rnn, "layer" if layer is not None else "rnn", kind)
    layer_backward = getattr(module, "layer_backward", None)
    # PyTorch and JAX differentiate by themselves; NumPy only with a backward pass.
    gradients = getattr(module, "gradients", framework != "numpy" or layer_backward is not None)
    if gradients and framework == "numpy" and layer_backward is None:
        raise _breach("declares gradients, but has no layer_backward")
    return Implementation(
        name=name,
        framework=framework,
        kind=kind,
        layer=layer,
        rnn=rnn,
        prepare=getattr(module, "prepare", None),
        layer_backward=layer_backward,
        gradients=gradients,
        support=Support(
            kind=kind,
            dtypes=_declared(module, "dtypes", ("float64", "float32"), NAMES),
            nonlinearities=_declared(module, "nonlinearities", NONLINEARITIES, NONLINEARITIES)
            if kind == "rnn"
            else ("tanh",),
            devices=_declared(module, "devices", None, KINDS),
            features=_declared(module, "supports", None, tuple(FEATURES), empty=True),
        ),
    )


def _of_module(given: Any) -> Any:
    """Return what has the names of the contract, also for a `torch.nn.Module` or a file with one.

    Raises:
        BrokenImplementation: it is such a module, whose parameters have other names than torch's.
    """
    given = module_names.whose(given)
    own = next(
        (v for n in ("rnn", "layer") if module_names.is_module(v := getattr(given, n, None))), None
    )
    try:
        if module_names.is_module(given):
            return modules.adapted(given)
        if own is not None:
            return modules.adapted(own, given)
        if isinstance(given, ModuleType) and not any(
            hasattr(given, name) for name in ("layer", "rnn")
        ):
            found = modules.among(given)
            return given if found is None else modules.adapted(found, given)
    except module_names.NoTorchNames as error:
        raise BrokenImplementation(str(error)) from None
    line = module_names.line_for(given)
    if line and not hasattr(given, "framework"):
        raise BrokenImplementation(f"{type(given).__name__} {line}")
    return given


def _check_takes(function: Any, name: str, kind: str) -> None:
    expected = {"layer": LAYER[kind], "rnn": WHOLE, "run": BACKEND}[name]
    if not callable(function):
        given = "missing" if function is None else f"a {type(function).__name__}"
        raise _breach(f"{name} is {given}, expected a function {name}({expected})")
    try:
        inspect.signature(function).bind(*expected.split(", "))
    except TypeError:
        raise _breach(f"{name}{inspect.signature(function)} does not take ({expected})") from None
    except ValueError:  # a function without a signature: found out when it is called
        return


def _declared(
    module: Any, name: str, default: Any, known: tuple[str, ...], *, empty: bool = False
) -> Any:
    declared = getattr(module, name, default)
    if declared is None:
        return None
    several = isinstance(declared, tuple | list | set | frozenset)
    if not several or not set(declared) <= set(known) or not (declared or empty):
        raise _breach(
            f"{name} is {declared!r}, expected a tuple of names out of {', '.join(known)}"
        )
    return tuple(declared)


def _import(target: str) -> Any:
    if target.endswith(".py"):
        path = Path(target)
        neighbours.make_importable(path.parent)
        name = f"_rnnparity_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    name, _, attribute = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    module = importlib.import_module(name)
    return getattr(module, attribute) if attribute else module


def _asked_for_by(spec: Spec, error: BaseException) -> bool:
    """Whether the failed import stands in the implementation itself, or in its package."""
    where, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        where = where if file.startswith("<frozen") else file
        trace = trace.tb_next
    if spec.target.endswith(".py"):
        return Path(where) == Path(spec.target)
    package, _, module = spec.target.partition(":")[0].rpartition(".")
    # Also a module beside it, if it is in a package: pages of one library have one in common.
    own = f"{package.replace('.', '/')}/" if package else f"{module}.py"
    return f"/{own}" in "/" + where.replace("\\", "/") or where == importlib.__file__


def _findable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return True
