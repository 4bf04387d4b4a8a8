"""Executors whose tasks are not Python's own business: pickled by someone else, or done by a C program."""

from __future__ import annotations

from . import _calls
from .executor import Executor

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeVar

    from .executor import Future

    T = TypeVar("T")


class SerializedExecutor(Executor):
    """Executor(serializer=…): functions, arguments and results go through its dumps() and loads()."""

    def __init__(self, *args: Any, serializer: Any, **keywords: Any) -> None:
        if not callable(getattr(serializer, "dumps", None)) or not callable(getattr(serializer, "loads", None)):
            raise TypeError("serializer must have dumps() and loads()")
        super().__init__(*args, serializer=serializer, **keywords)
        self._serializer = serializer

    def _submit_with(self, options: tuple, name: str | None, fn: Any, args: tuple, kwargs: dict) -> Future:
        s = self._serializer
        call = (s, _calls.Foreign(s, (fn, args, kwargs)))
        return super()._submit_with(options, name or _calls.name_of(fn), _calls.call_foreign, call, {})

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future:
        return self._submit_with((None, 0, 0, 0), None, fn, args, kwargs)

    def _map(self, fn: Any, iterables: tuple, timeout: float | None, buffersize: int | None) -> Iterator[Any]:
        s = self._serializer
        calls = (_calls.Foreign(s, args) for args in zip(*iterables, strict=False))
        return super()._map(_calls.ForeignFunction(s, fn), (calls,), timeout, buffersize)


class ProgramExecutor(Executor):
    """Executor(program=…): the workers are programs in C (achar/worker.h), and tasks have names."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        if keywords.get("initializer") or len(args) > 2 and args[2]:
            raise ValueError("a C program has no initializer: what it needs, it does before achar_worker_run()")
        if keywords.get("serializer"):
            raise ValueError("a C program reads and writes achar's format: another serializer is for Python workers")
        super().__init__(*args, **keywords)

    def submit(self, name: str, /, *args: Any, **kwargs: Any) -> Future:  # type: ignore[override]
        """Have a worker do the task that it has registered as 'name'; returns the Future of its result."""
        return super().submit(_task_name(name), *args, **kwargs)  # type: ignore[arg-type]

    def _submit_with(self, options: tuple, title: str | None, name: Any, args: tuple, kwargs: dict) -> Future:
        return super()._submit_with(options, title, _task_name(name), args, kwargs)

    def _map(self, name: Any, iterables: tuple, timeout: float | None, buffersize: int | None) -> Iterator[Any]:
        return super()._map(_task_name(name), iterables, timeout, buffersize)

    def options(self, *, env: Mapping[str, str | None] | None = None, cwd: Any = None, **options: Any) -> Any:
        if cwd is not None:
            raise ValueError("a C program does not change its folder for a task: make cwd an argument of it")
        if env:  # which the program reads when it starts: such tasks have workers of their own
            own = self._sibling({str(key): None if value is None else str(value) for key, value in env.items()})
            return own.options(**options)
        return super().options(**options)

    def run(self, *args: Any, **options: Any) -> Any:
        raise ValueError("commands are run by Python workers: use another Executor")

    def actor(self, *args: Any, **options: Any) -> Any:
        raise ValueError("actors live in Python workers: use another Executor")


def _task_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a C program's tasks are called by their names, not by a {type(name).__name__!r} object")
    return name
