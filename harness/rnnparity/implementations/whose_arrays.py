"""Whose arrays a function takes, where nobody says it: by its module, its arguments, its code."""

import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

from rnnparity.implementations.frameworks import FRAMEWORKS

# Of which framework's arrays a package's types and functions are.
_ROOTS = {"numpy": "numpy", "jax": "jax", "jaxlib": "jax", "torch": "torch"}

# Attributes under which wrappers keep the function that they wrap.
_WRAPPED = ("__wrapped__", "func", "py_func", "_torchdynamo_orig_callable", "__func__")


class Guess(NamedTuple):
    """A framework, and how it was told; `sure` if it can be no other."""

    framework: str
    why: str
    sure: bool = True


def guesses(function: Any, x: Any, weights: Any) -> list[Guess]:
    """Return whose arrays a function may take, the likeliest first.

    Args:
        function: as `assert_parity` takes one.
        x: the input that is given with it, which anybody may hand over as NumPy's.
        weights: given with it, by themselves no more than a hint.
    """
    home = sys.modules.get(getattr(function, "__module__", None) or "")
    declared = getattr(home, "framework", None)
    if declared in FRAMEWORKS:
        return [Guess(declared, "its module declares it")]
    of_x = _of_type(type(x))
    if of_x in ("jax", "torch"):
        return [Guess(of_x, "x is one")]
    found: list[Guess] = []
    chain = list(_unwrapped(function))
    for one in chain:
        of_type = _of_type(type(one))
        if of_type in ("jax", "torch"):
            found.append(Guess(of_type, "it is compiled by it", False))
    for one in chain:
        found += [Guess(name, "its annotations name it", False) for name in _annotated(one)]
    named = {name for one in chain for name in _named(one)}
    likely = [name for name in ("jax", "torch", "numpy") if name in named]
    found += [Guess(name, "its code names it", False) for name in likely]
    if of_x == "numpy":
        found.append(Guess("numpy", "x is one", False))
    of_weights = {_of_type(type(value)) for value in _values(weights)} - {None}
    found += [Guess(str(name), "the weights are", False) for name in sorted(map(str, of_weights))]
    unique: dict[str, Guess] = {}
    for guess in found:
        unique.setdefault(guess.framework, guess)
    return list(unique.values())


def _of_type(kind: type) -> str | None:
    return _ROOTS.get(kind.__module__.partition(".")[0])


def _unwrapped(function: Any) -> Iterator[Any]:
    """Give a function, and those that it wraps, from the outside."""
    seen: list[Any] = []
    while function is not None and all(function is not one for one in seen) and len(seen) < 9:
        seen.append(function)
        yield function
        inner = next((i for n in _WRAPPED if (i := getattr(function, n, None)) is not None), None)
        if inner is None and not hasattr(function, "__code__"):
            inner = vars(type(function)).get("__call__")  # of an object
        function = inner


def _annotated(function: Any) -> list[str]:
    """Return the frameworks that the annotations of arguments name."""
    try:
        annotations = inspect.get_annotations(function).values()
    except (TypeError, NameError):
        return []
    found = []
    for one in annotations:
        root = one.partition(".")[0] if isinstance(one, str) else ""
        root = {"np": "numpy", "jnp": "jax", "NDArray": "numpy"}.get(root, root)
        name = (
            _ROOTS.get(root)
            if isinstance(one, str)
            else _ROOTS.get(getattr(one, "__module__", "").partition(".")[0])
        )
        if name is not None:
            found.append(name)
    return list(dict.fromkeys(found))


def _named(function: Any) -> set[str]:
    """Return the frameworks whose modules, functions or classes the code of a function names."""
    code = getattr(function, "__code__", None)
    if code is None or isinstance(function, functools.partial):
        return set()
    space = dict(getattr(function, "__globals__", {}))
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            space[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    found: set[str] = set()
    own = getattr(function, "__module__", None)
    todo, seen = [(code, space)], {id(code)}
    while todo:
        part, names = todo.pop()
        for name in _names_in(part):
            found |= {_ROOTS[name]} if name in _ROOTS and name not in names else set()
            value = names.get(name)
            if value is None:
                continue
            home = getattr(value, "__module__", None) or ""
            home = getattr(value, "__name__", "") if inspect.ismodule(value) else home
            root = home.partition(".")[0] if isinstance(home, str) else ""
            of_type = _of_type(type(value))
            found |= {_ROOTS[root]} if root in _ROOTS else {of_type} if of_type else set()
            value = inspect.unwrap(value) if callable(value) else value
            inner = getattr(value, "__code__", None)
            if (
                getattr(value, "__module__", None) == own
                and isinstance(inner, CodeType)
                and id(inner) not in seen
            ):
                seen.add(id(inner))  # a function beside it, which it calls
                todo.append((inner, names))
    return found


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _values(weights: Any) -> list[Any]:
    if hasattr(weights, "state_dict"):
        return list(weights.state_dict().values())
    return list(weights.values()) if isinstance(weights, dict) else []
