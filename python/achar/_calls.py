"""Calls around a task's own call: in another place, or pickled by someone else.

These run in the worker; their arguments are made in the client. A task whose options change nothing of
this is called by C directly and never comes here.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def name_of(fn: Callable[..., object]) -> str:
    name = getattr(fn, "__qualname__", None)
    return name if isinstance(name, str) else type(fn).__name__


# ---- env and cwd


def call_in_place(
    env: Mapping[str, str | None] | None, cwd: str | None, fn: Callable[..., Any], args: tuple, kwargs: dict
) -> Any:
    """fn(*args, **kwargs) with these variables (None: unset) in this folder; afterwards all is as before."""
    before = dict(os.environ)
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY) if cwd is not None else -1
    try:
        if cwd is not None:
            os.chdir(cwd)
        _set_environment(env or {})
        return fn(*args, **kwargs)
    finally:
        now = dict(os.environ)
        _set_environment({name: before.get(name) for name in now.keys() | before.keys()})
        if cwd is not None:
            os.fchdir(folder)
            os.close(folder)


def _set_environment(changes: Mapping[str, str | None]) -> None:
    zone = os.environ.get("TZ")
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        elif os.environ.get(name) != value:
            os.environ[name] = value
    if os.environ.get("TZ") != zone:
        import time

        time.tzset()


# What the interpreter, the loader, or a library reads once, when it starts: set for a task, it would
# have no effect in a worker that runs already.
READ_ONCE = (
    "LD_",
    "PYTHON",
    "OMP_",
    "OPENBLAS_",
    "MKL_",
    "BLIS_",
    "VECLIB_",
    "NUMEXPR_",
    "NUMBA_",
    "CUDA_",
    "MALLOC_",
    "GLIBC_",
    "LC_",
    "LANG",
)


def is_read_once(env: Mapping[str, str | None]) -> bool:
    return any(name.startswith(READ_ONCE) for name in env)


# ---- another serializer


class Foreign:
    """A value that travels as ``serializer`` writes it; it arrives as the value itself."""

    __slots__ = ("serializer", "value")

    def __init__(self, serializer: Any, value: object) -> None:
        self.serializer, self.value = serializer, value

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any]]:
        return self.serializer.loads, (self.serializer.dumps(self.value),)


def call_foreign(serializer: Any, call: tuple[Callable[..., Any], tuple, dict]) -> Foreign:
    fn, args, kwargs = call
    return Foreign(serializer, fn(*args, **kwargs))


class ForeignFunction:
    """For map: the function as ``serializer`` writes it, called with tuples of arguments."""

    def __init__(self, serializer: Any, fn: Callable[..., Any]) -> None:
        self.serializer, self.fn = serializer, Foreign(serializer, fn)
        self.__qualname__ = name_of(fn)

    def __call__(self, args: tuple) -> Foreign:
        return Foreign(self.serializer, self.fn(*args))
