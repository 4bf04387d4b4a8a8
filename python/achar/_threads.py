"""Executor(kind="thread"): the same calls on threads of this process.

Nothing is pickled: functions, arguments and results are the caller's own objects. What only a process can
have (a time limit, an environment, a folder, an end by force) is refused, with the reason.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import _calls, _command
from ._launch import default_workers
from ._options import Commands
from .executor import Executor

_local = threading.local()  # .executor: whose task this thread runs


class ThreadFuture(concurrent.futures.Future):
    """A future that a task may wait for without holding up the others: another thread takes its place."""

    def result(self, timeout: float | None = None) -> Any:
        with self._lend():
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        with self._lend():
            return super().exception(timeout)

    @contextlib.contextmanager
    def _lend(self) -> Iterator[None]:
        executor = getattr(_local, "executor", None)
        if executor is None or self.done():
            yield
            return
        executor._add_workers(1)
        try:
            yield
        finally:
            executor._add_workers(-1)


class ThreadExecutor(Commands, concurrent.futures.ThreadPoolExecutor):
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: object = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        kind: str = "thread",
        **others: Any,
    ) -> None:
        for name, value in others.items():
            if value is not None and value is not False:
                raise ValueError(f"{name} is for processes: threads share this process's")
        super().__init__(max_workers or default_workers(), "achar", initializer, initargs)
        self._lending = threading.Lock()
        self._actors: list[ThreadExecutor] = []

    def _add_workers(self, count: int) -> None:
        with self._lending:
            self._max_workers += count
            if count > 0:
                # A thread that is counted as idle may just have taken a task; then who waits, waits for nobody.
                while self._idle_semaphore.acquire(blocking=False):  # type: ignore[attr-defined]
                    pass
                self._adjust_thread_count()  # type: ignore[attr-defined]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return self._submit_with((None, 0, 0, 0), None, fn, args, kwargs)

    def _submit_with(self, options: tuple, name: str | None, fn: Any, args: tuple, kwargs: dict) -> ThreadFuture:
        limit, retries, backoff, priority = options
        if limit is not None:
            raise ValueError("a thread cannot be ended, so a task on threads has no time limit: use processes")
        if priority:
            raise ValueError("threads take tasks in the order in which they come: priority is for processes")
        inputs: list[concurrent.futures.Future] = []
        _find(args, inputs)
        _find(kwargs, inputs)
        call = _Call(self, retries, backoff, name or _calls.name_of(fn), fn, args, kwargs)
        if not inputs:
            future = super().submit(call)
            future.__class__ = ThreadFuture
            return future
        if self._shutdown:  # type: ignore[attr-defined]
            raise RuntimeError("cannot schedule new futures after shutdown")
        return _Waiting(self, call, inputs).future

    def _submit_now(self, call: Callable[[], None]) -> None:
        super().submit(call)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        if buffersize is None:
            return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize)
        if not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        return self._map_ahead(fn, zip(*iterables, strict=False), timeout, buffersize)

    def _map_ahead(self, fn: Any, calls: Iterator[tuple], timeout: float | None, ahead: int) -> Iterator[Any]:
        deadline = None if timeout is None else time.monotonic() + timeout
        futures: list[Any] = []
        try:
            for args in calls:
                futures.append(self.submit(fn, *args))
                if len(futures) >= ahead:
                    yield futures.pop(0).result(None if deadline is None else deadline - time.monotonic())
            while futures:
                yield futures.pop(0).result(None if deadline is None else deadline - time.monotonic())
        finally:
            for future in futures:
                future.cancel()

    def options(self, *, env: Any = None, cwd: Any = None, **options: Any) -> Any:
        if env is not None or cwd is not None:
            raise ValueError("threads share this process's environment and folder: env and cwd are for processes")
        return Executor.options(self, **options)  # type: ignore[arg-type]

    def cancel(self, future: concurrent.futures.Future, *, force: bool = False) -> bool:
        if future.cancel() or not force or future.done():
            return future.cancelled()
        raise ValueError("a thread cannot be ended by force: use processes")

    def put(self, obj: object) -> ThreadFuture:
        """A future that is done, with the object itself: threads share it."""
        future = ThreadFuture()
        future.set_result(obj)
        return future

    wait = Executor.wait

    def _run(
        self, args: list[str], stdin: bytes | None, timeout: Any, env: Any, cwd: Any, check: bool, retries: int
    ) -> ThreadFuture:
        options = self.options(retries=retries, name=args[0])
        return options.submit(_run_command, args, stdin, timeout, env, cwd, check)

    def actor(self, cls: Callable[..., Any], /, *args: Any, restarts: int = 0, **kwargs: Any) -> ThreadActor:
        """An object that is called by one thread, in the order of the calls."""
        executor = ThreadExecutor(1)
        self._actors.append(executor)
        return ThreadActor(executor, _calls.name_of(cls), executor.submit(cls, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for executor in (*self._actors, super()):
            executor.shutdown(wait=wait, cancel_futures=cancel_futures)

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle 'Executor' object: it owns threads")


class ThreadActor:
    def __init__(self, executor: ThreadExecutor, name: str, made: ThreadFuture) -> None:
        self._executor, self._name, self._made = executor, name, made

    def __getattr__(self, name: str) -> Callable[..., ThreadFuture]:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> ThreadFuture:
            call = lambda *args, **kwargs: getattr(self._made.result(), name)(*args, **kwargs)  # noqa: E731
            return self._executor._submit_with((None, 0, 0, 0), f"{self._name}.{name}", call, args, kwargs)

        return method


class _Call:
    """A task's call, with its retries; a task that returns a future returns its result."""

    def __init__(self, executor: ThreadExecutor, retries: int, backoff: float, name: str, fn: Any, args: Any, kw: Any):
        self.executor, self.retries, self.backoff, self.name = executor, retries, backoff, name
        self.fn, self.args, self.kwargs = fn, args, kw

    def __call__(self) -> Any:
        _local.executor = self.executor
        try:
            for attempt in range(self.retries + 1):
                try:
                    result = self.fn(*self.args, **self.kwargs)
                    return result.result() if isinstance(result, ThreadFuture) else result
                except Exception:
                    if attempt == self.retries:
                        raise
                    time.sleep(min(self.backoff * 2**attempt, 60))
        finally:
            _local.executor = None


class _Waiting:
    """A call that goes to the threads when its inputs have ended."""

    def __init__(self, executor: ThreadExecutor, call: _Call, inputs: list[concurrent.futures.Future]) -> None:
        self.executor, self.call, self.future = executor, call, ThreadFuture()
        self.left, self.lock = len(inputs), threading.Lock()
        for future in inputs:
            future.add_done_callback(self.ended)

    def ended(self, future: concurrent.futures.Future) -> None:
        from .errors import InputFailed, _input_failed

        error = None
        if future.cancelled() or future.exception() is not None:
            failure = None if future.cancelled() else future.exception()
            if isinstance(failure, InputFailed):
                error = _input_failed(self.call.name, failure.task, failure.__cause__)
            else:
                error = _input_failed(self.call.name, getattr(future, "_name", None), failure)
        with self.lock:
            self.left -= 1
            if self.future.done() or (error is None and self.left):
                return
            if error is not None:
                if self.future.set_running_or_notify_cancel():
                    self.future.set_exception(error)
                return
        try:
            self.executor._submit_now(self.run)
        except RuntimeError as closed:
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(closed)

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.call.args, self.call.kwargs = _resolved(self.call.args), _resolved(self.call.kwargs)
            self.future.set_result(self.call())
        except BaseException as error:
            self.future.set_exception(error)


def _find(value: Any, found: list[concurrent.futures.Future]) -> None:
    if isinstance(value, concurrent.futures.Future):
        found.append(value)
    elif type(value) in (list, tuple):
        for item in value:
            _find(item, found)
    elif type(value) is dict:
        for item in value.values():
            _find(item, found)


def _resolved(value: Any) -> Any:
    if isinstance(value, concurrent.futures.Future):
        return value.result()
    if type(value) in (list, tuple):
        return type(value)(map(_resolved, value))
    if type(value) is dict:
        return {key: _resolved(item) for key, item in value.items()}
    return value


def _run_command(
    args: list[str], stdin: bytes | None, timeout: float | None, env: Any, cwd: Any, check: bool
) -> _command.Command:
    folder = tempfile.gettempdir()
    environment = {**os.environ, **(env or {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    with _command._unnamed(folder) as out, _command._unnamed(folder) as err, _command._unnamed(folder) as into:
        into.write(stdin or b"")
        into.seek(0)
        process = subprocess.Popen(
            args, stdin=into, stdout=out, stderr=err, env=environment, cwd=cwd, start_new_session=True
        )
        try:
            command = _command.Command(args, process.wait(timeout))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise TimeoutError(f"task {args[0]}: its time limit of {timeout:g} s has passed") from None
        command.stdout, command.stdout_path = _command._take(out, folder, "stdout")
        command.stderr, command.stderr_path = _command._take(err, folder, "stderr")
    if check:
        command.check_returncode()
    return command
