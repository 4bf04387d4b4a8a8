"""achar.explain(obj): what dumps would send, before anything is sent.

The dump itself is asked: it is made, and each function, class and module that it writes is noted. What
cannot be sent is left out and the dump is made again, so that all of it is found and not the first only.
"""

from __future__ import annotations

import importlib.metadata
import sys
import warnings
from types import FunctionType, ModuleType
from typing import Any

from achar import dumps
from achar._achar import dump_log, registered_by_value

__all__ = ["ByName", "ByValue", "Explanation", "LargePickleWarning", "Problem", "explain"]

_PROBLEMS_MAX = 20


class LargePickleWarning(UserWarning):
    """A pickle is larger than the ``warn_size`` that dumps was given."""


class ByName:
    """What is looked up where the pickle is loaded: ``name``, ``module``, ``version`` or None."""

    def __init__(self, name: str, module: str, version: str | None):
        self.name, self.module, self.version = name, module, version

    def __str__(self) -> str:
        package = self.module.partition(".")[0]
        if package in sys.stdlib_module_names or package == "achar":
            return f"{self.name}: by name, from {self.module}"
        return f"{self.name}: by name, from {package} {self.version or '(no version)'}, must be installed there"


class ByValue:
    """What goes whole: ``name``, ``nbytes`` with all that it captures, ``why``, ``captures``."""

    def __init__(self, name: str, nbytes: int | None, why: str, captures: dict[str, int]):
        self.name, self.nbytes, self.why, self.captures = name, nbytes, why, captures

    def __str__(self) -> str:
        size = f", {_size(self.nbytes)}" if self.nbytes is not None else ""
        large = [f"\n    {name}: {_size(n)}" for name, n in self.captures.items() if n >= 1000]
        return f"{self.name}: by value{size}, because {self.why}{''.join(large)}"


class Problem:
    """What cannot be sent: ``path`` from the root, ``error`` the exception that dumps raises."""

    def __init__(self, path: str, error: Exception):
        self.path, self.error = path, error

    def __str__(self) -> str:
        text = str(self.error)
        return text if text.startswith(self.path) else f"{self.path}: {type(self.error).__name__}: {text}"


class Explanation:
    """``nbytes`` of the pickle (None: it cannot be made), ``by_name``, ``by_value``, ``problems``."""

    def __init__(self, nbytes: int | None, by_name: list[ByName], by_value: list[ByValue], problems: list[Problem]):
        self.nbytes, self.by_name, self.by_value, self.problems = nbytes, by_name, by_value, problems

    def __str__(self) -> str:
        if self.nbytes is None:
            lines = [f"cannot be sent: {len(self.problems)} problem{'s' * (len(self.problems) != 1)}"]
        else:
            lines = [f"{_size(self.nbytes)} in all"]
        for part in (*self.problems, *self.by_value, *self.by_name):
            lines.append("  " + str(part).replace("\n", "\n  "))
        return "\n".join(lines)

    __repr__ = __str__


def explain(obj: Any) -> Explanation:
    """What ``achar.dumps(obj)`` would send: by name, by value and why, sizes, and what would fail."""
    skip: dict[int, object] = {}
    problems: list[Problem] = []
    nbytes = None
    while True:
        log: list = []
        try:
            data = dump_log(obj, log, skip)
        except Exception as error:  # whatever user code raises is what the caller would get
            problems.append(Problem(_path_of(error), error))
            if isinstance(error, RecursionError):
                break  # each level would be one more
            culprit = log[-1] if log and not isinstance(log[-1], tuple) else None
            if culprit is None or id(culprit) in skip or culprit is obj or len(problems) == _PROBLEMS_MAX:
                break
            skip[id(culprit)] = culprit
        else:
            nbytes = None if problems else len(data)
            break
    return Explanation(nbytes, *_sort(log), problems)


def _path_of(error: Exception) -> str:
    for text in (*getattr(error, "__notes__", ()), str(error)):
        _, found, path = text.rpartition("while pickling ")
        if found:
            return path.partition("\n")[0]
    return str(error).partition(": ")[0]


def _sort(log: list) -> tuple[list[ByName], list[ByValue]]:
    by_name: dict[tuple, ByName] = {}
    by_value: dict[int, ByValue] = {}
    for entry in log:
        if not isinstance(entry, tuple):
            continue
        part, named = entry
        module = _module_of(part)
        if named or (isinstance(part, ModuleType) and _is_imported(part)):
            if module not in ("builtins", "achar._v1"):
                name = _name_of(part)
                by_name.setdefault((module, name), ByName(name, module, _version_of(module)))
        elif id(part) not in by_value:
            by_value[id(part)] = ByValue(_name_of(part), _nbytes_of(part), _why(part), captures_of(part))
    return list(by_name.values()), list(by_value.values())


def _is_imported(module: ModuleType) -> bool:
    name = module.__name__
    return sys.modules.get(name) is module and not _is_registered(name)


def _is_registered(name: str) -> bool:
    registered = registered_by_value()
    return any(name == one or name.startswith(one + ".") for one in registered)


def _module_of(part: Any) -> str:
    if isinstance(part, ModuleType):
        return part.__name__
    module = getattr(part, "__module__", None)
    return module if isinstance(module, str) else "?"


def _name_of(part: Any) -> str:
    if isinstance(part, ModuleType):
        return part.__name__
    name = getattr(part, "__qualname__", None) or getattr(part, "__name__", "?")
    module = _module_of(part)
    return name if module in ("__main__", "builtins", "?") else f"{module}.{name}"


def _version_of(module: str) -> str | None:
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        return None
    version = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _nbytes_of(part: Any) -> int | None:
    try:
        return len(dumps(part))
    except Exception:  # said as a problem already
        return None


def _why(part: Any) -> str:
    module = _module_of(part)
    if module == "__main__":
        return "it is defined in __main__"
    if _is_registered(module):
        return f"{module} was given to register_by_value"
    if isinstance(part, ModuleType):
        return "it was not imported"
    name = getattr(part, "__qualname__", "")
    if "<lambda>" in name:
        return "it is a lambda"
    if "<locals>" in name:
        return "it is defined inside a function"
    if module not in sys.modules:
        return f"its module {module} is not imported here"
    return f"{module} has no {name}, or another one"


def captures_of(part: Any) -> dict[str, int]:
    """What a function takes along, each with its size as a pickle of its own."""
    if not isinstance(part, FunctionType):
        return {}
    found: dict[str, Any] = {}
    for name in _names_in(part.__code__):
        if name in part.__globals__:
            found[f"global {name}"] = part.__globals__[name]
    for name, cell in zip(part.__code__.co_freevars, part.__closure__ or ()):
        try:
            found[f"enclosing {name}"] = cell.cell_contents
        except ValueError:  # still empty
            continue
    for index, value in enumerate(part.__defaults__ or ()):
        found[f"default {index}"] = value
    for name, value in (part.__kwdefaults__ or {}).items():
        found[f"default {name}"] = value
    return _sizes(found, part)


def _sizes(found: dict[str, Any], part: Any) -> dict[str, int]:
    sizes = {name: _nbytes_of(value) for name, value in found.items() if value is not part}
    return {name: n for name, n in sorted(sizes.items(), key=lambda item: -(item[1] or 0)) if n is not None}


def _names_in(code) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            names |= _names_in(constant)
    return names


def _size(nbytes: int) -> str:
    if nbytes < 10_000:
        return f"{nbytes:,} bytes"
    if nbytes < 10**6:
        return f"{nbytes / 10**3:.3g} kB"
    return f"{nbytes / 10**6:.3g} MB" if nbytes < 10**9 else f"{nbytes / 10**9:.3g} GB"


def _warn_of_size(obj: Any, nbytes: int, limit: int) -> None:
    """Called from C when a pickle is larger than the ``warn_size`` that dumps was given."""
    text = f"the pickle has {_size(nbytes)}, more than warn_size={limit}"
    largest: tuple[int, str] = (0, "")
    for part in explain(obj).by_value:
        for name, n in part.captures.items():
            largest = max(largest, (n, f"{part.name} takes along {name}, {_size(n)}"))
    if largest[0] * 2 > nbytes:
        text += f"\n  why: {largest[1]}\n  do:  pass it as an argument, load it inside the task, or put() it once"
    warnings.warn(text, LargePickleWarning, stacklevel=2)
