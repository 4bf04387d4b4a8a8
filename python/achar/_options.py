"""What executors of all kinds have around submit(): ``options(...)``, and ``run(...)`` for commands."""

from __future__ import annotations

import collections
import itertools
import os
import sys
import time

from . import _calls

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from .executor import Executor, Future

    T = TypeVar("T")


class TaskOptions:
    """An executor together with options for tasks; see Executor.options()."""

    __slots__ = ("_executor", "_memo", "_name", "_options", "_place")

    def __init__(
        self,
        executor: Executor,
        timeout: float | None,
        retries: int,
        backoff: float,
        priority: int,
        name: str | None,
    ) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError("timeout must be None or > 0")
        if not isinstance(retries, int) or not isinstance(priority, int):
            raise TypeError("retries and priority must be integers")
        if not 0 <= retries <= 1000:
            raise ValueError("retries must be 0 to 1000")
        if not backoff >= 0:
            raise ValueError("backoff must be >= 0")
        if not -100 <= priority <= 100:
            raise ValueError("priority must be -100 to 100")
        if name is not None and not isinstance(name, str):
            raise TypeError("name must be a str or None")
        self._executor, self._name = executor, name
        self._options = (timeout, retries, min(backoff, 60), priority)
        self._place: tuple[dict[str, str | None] | None, str | None] | None = None
        self._memo: Any = None  # a _memo_tasks.Tasks

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future:
        """Have a worker call fn(*args, **kwargs); returns the Future of its result."""
        return self._submit(fn, args, kwargs) if self._memo is None else self._memo.submit(self, fn, args, kwargs)

    def _submit(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
        name = self._name
        if self._place is not None:
            name = name or _calls.name_of(fn)
            fn, args, kwargs = _calls.call_in_place, (*self._place, fn, args, kwargs), {}
        return self._executor._submit_with(self._options, name, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Like ``map(fn, *iterables)``, each call a task with these options; else as Executor.map()."""
        return map_tasks(self.submit, fn, iterables, timeout, chunksize, buffersize)

    def map_unordered(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As map(), the results in the order in which the calls end."""
        return map_tasks(self.submit, fn, iterables, timeout, chunksize, buffersize, _results_as_they_come)


def map_tasks(
    submit: Callable[..., Any],
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
    results: Callable[..., Iterator[Any]] | None = None,
) -> Iterator[Any]:
    """map() with a task for each call; the first ones are submitted before it returns."""
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    deadline = None if timeout is None else timeout + time.monotonic()
    calls = zip(*iterables, strict=False)
    futures = [submit(fn, *args) for args in itertools.islice(calls, buffersize)]
    more = (submit(fn, *args) for args in calls)
    return (results or _results)(futures, more, deadline)


def _results(futures: list[Future], more: Iterator[Future], deadline: float | None) -> Iterator[Any]:
    """The futures' results in order; for each that is read one more is submitted. Who stops cancels the rest."""
    waiting = collections.deque(futures)
    futures.clear()
    try:
        while waiting:
            waiting.extend(itertools.islice(more, 1))
            # No name for the future or its result: while the caller has it, nobody else does.
            yield waiting.popleft().result(None if deadline is None else deadline - time.monotonic())
    finally:
        for future in waiting:
            future.cancel()


def _results_as_they_come(futures: list[Future], more: Iterator[Future], deadline: float | None) -> Iterator[Any]:
    import concurrent.futures
    import queue

    ended: Any = queue.SimpleQueue()
    waiting: Any = collections.Counter()  # with a memo, two calls may have one future

    def add(future: Future) -> None:
        waiting[future] += 1
        future.add_done_callback(ended.put)

    for future in futures:
        add(future)
    futures.clear()
    try:
        while waiting:
            try:
                future = ended.get(timeout=None if deadline is None else max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise concurrent.futures.TimeoutError from None  # which is TimeoutError from CPython 3.11 on
            waiting[future] -= 1
            if not waiting[future]:
                del waiting[future]
            for another in itertools.islice(more, 1):
                add(another)
            yield future.result()
    finally:
        for future in waiting:
            future.cancel()


class Commands:
    """run() of executors, which makes a program a task with the options that it has; and map_unordered()."""

    def _waits_elsewhere(self, wait: bool, cancel_futures: bool) -> bool:
        """Before shutdown(): tasks that are not in the pool yet (_deferred.py). True: another thread does it."""
        deferred = sys.modules.get("achar._deferred")
        return deferred is not None and deferred.before_shutdown(self, wait, cancel_futures)

    def map_unordered(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As map(), each call a task, the results in the order in which the calls end."""
        return self.options().map_unordered(  # type: ignore[attr-defined]
            fn, *iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize
        )

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        stdin: bytes | str | None = None,
        timeout: float | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        check: bool = False,
        retries: int = 0,
    ) -> Any:
        """Run a program as a task; the Future's result is an achar.Command: exit code, output, error.

        stdin: what it reads; None: nothing. timeout: seconds; then the program is killed, with all that
        it has started, and the Future fails with TimeoutError. check: an exit code other
        than 0 is subprocess.CalledProcessError. Output of more than 16 MiB stays in files of the
        temporary folder; see achar.Command.
        """
        if isinstance(command, (str, bytes)):
            raise TypeError('command must be a list: ["sh", "-c", ...] for a line of the shell')
        args = [os.fsdecode(arg) for arg in command]
        data = stdin.encode() if isinstance(stdin, str) else stdin
        return self._run(args, data, timeout, env, cwd, check, retries)

    def _run(
        self, args: list[str], stdin: bytes | None, timeout: Any, env: Any, cwd: Any, check: bool, retries: int
    ) -> Any:
        import tempfile

        from ._command import run_command

        options = self.options(timeout=timeout, env=env, cwd=cwd, retries=retries, name=args[0])  # type: ignore[attr-defined]
        return options.submit(run_command, args, stdin, check, tempfile.gettempdir())
