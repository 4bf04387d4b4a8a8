"""achar.explain(obj): what dumps would send, before anything is sent.

The dump itself is asked: it is made, and each function, class and module that it writes is noted. What
cannot be sent is left out and the dump is made again, so that all of it is found and not the first only.
"""

from __future__ import annotations

import importlib.metadata
import sys
from types import FunctionType, ModuleType
from typing import Any

from achar import dumps
from achar._achar import dump_log, registered_by_value
from achar._parts import parts_of_class, parts_of_function
from achar._parts import size as _size

__all__ = ["ByName", "ByValue", "Explanation", "Problem", "explain"]

_PROBLEMS_MAX = 20


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


def explain(
    obj: Any,
    protocol: int | None = None,
    *,
    fix_imports: bool = True,
    locks: str | None = None,
    deterministic: bool = False,
    portable: bool = False,
    source: bool = False,
) -> Explanation:
    """What ``achar.dumps(obj)`` with these options would send: by name, by value and why, sizes, what would fail."""
    options: dict[str, Any] = {
        "protocol": protocol,
        "fix_imports": fix_imports,
        "locks": locks,
        "deterministic": deterministic,
        "portable": portable,
        "source": source,
    }
    skip: dict[int, object] = {}
    problems: list[Problem] = []
    nbytes = None
    dumps(None, **options)  # what is wrong with the options is no problem of the object's
    while True:
        log: list = []
        try:
            data = dump_log(obj, log, skip, **options)
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
    return Explanation(nbytes, *_sort(log, options), problems)


def _path_of(error: Exception) -> str:
    for text in (*getattr(error, "__notes__", ()), str(error)):
        _, found, path = text.rpartition("while pickling ")
        if found:
            return path.partition("\n")[0]
    return str(error).partition(": ")[0]


def _sort(log: list, options: dict[str, Any]) -> tuple[list[ByName], list[ByValue]]:
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
        elif id(part) not in by_value and module not in ("builtins", "achar._v1"):  # portable=True sends these
            nbytes, captures = _nbytes_of(part, options), _captures_of(part, options)
            by_value[id(part)] = ByValue(_name_of(part), nbytes, _why(part), captures)
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


def _nbytes_of(part: Any, options: dict[str, Any]) -> int | None:
    try:
        return len(dumps(part, **options))
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


def _captures_of(part: Any, options: dict[str, Any]) -> dict[str, int]:
    """What a function or class takes along, each with its size as a pickle of its own, the largest first."""
    if isinstance(part, FunctionType):
        found = [(name, value) for name, _, value in parts_of_function(part)]
    elif isinstance(part, type):
        found = [(name, value) for name, _, value in parts_of_class(part) if not _is_code(value)]
    else:
        return {}
    sizes = {name: _nbytes_of(value, options) for name, value in found if value is not part}
    return {name: n for name, n in sorted(sizes.items(), key=lambda item: -(item[1] or 0)) if n is not None}


def _is_code(value: Any) -> bool:
    return isinstance(value, (FunctionType, staticmethod, classmethod, property))
