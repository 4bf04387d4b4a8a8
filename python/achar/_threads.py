"""Executor(kind="thread"): the same calls on threads of this process.

Nothing is pickled: functions, arguments and results are the caller's own objects. What only a process can
have (a time limit, an environment, a folder, an end by force) is refused, with the reason.

What a task submits is done by threads of the next level, up to max_workers at each: a task waits only for tasks
that are deeper than itself, in whatever way, and the deepest always run. Where it waits for the result of one that is
not deeper, another thread takes its place meanwhile.
"""

from __future__ import annotations

import collections
import concurrent.futures
import concurrent.futures.thread
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import _calls, _command, _inputs, _monitor, _strangers, _thread_waits
from ._launch import default_workers
from ._options import Commands, map_tasks
from ._strangers import LOOK_S, LOOKS, is_strange, others_work
from .executor import Executor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._thread_actor import ThreadActor, ThreadTurns

_local = threading.local()  # .executor: the level whose task, .call, this thread runs; .failing: see _fail()
_PENDING, _CANCELLED = "PENDING", "CANCELLED"  # states of a Future
_making = threading.Lock()  # a level


class ThreadFuture(concurrent.futures.Future):
    _executor: ThreadExecutor | None = None  # the level that does it
    _node: Any = None  # these three: see _thread_waits.py
    _waiting: _Waiting | None = None
    _is_stuck = False

    def result(self, timeout: float | None = None) -> Any:
        with self._lend(timeout):
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        try:
            with self._lend(timeout):
                return super().exception(timeout)
        except RuntimeError as error:
            if not self._is_stuck:
                raise
            return error

    @contextlib.contextmanager
    def _lend(self, timeout: float | None) -> Iterator[None]:
        here, there = getattr(_local, "executor", None), self._executor
        if here is None or self.done():
            yield
            return
        with contextlib.ExitStack() as waiting:
            if timeout is None:
                waiting.enter_context(_thread_waits.entered(here if here._is_actor else _local.call, self))
            is_deeper = there is None or (there._deeper is here._deeper and there._depth > here._depth)
            if not is_deeper and not here._is_actor:  # which has one thread
                waiting.enter_context(here._lent())
            yield


class ThreadExecutor(Commands, concurrent.futures.ThreadPoolExecutor):
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: object = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        kind: str = "thread",
        monitor: Any = None,
        _deeper: list[ThreadExecutor] | None = None,
        **others: Any,
    ) -> None:
        for name, value in others.items():
            if value is not None and value is not False:
                raise ValueError(f"{name} is for processes: threads share this process's")
        super().__init__(max_workers or default_workers(), "achar", initializer, initargs)
        self._recorder: Any = None
        if monitor is not None:
            from . import _thread_record

            self._recorder = _thread_record.recorder(_monitor.open_run(monitor, self._max_workers))
        self._setup = (self._max_workers, None, initializer, initargs)
        self._lending = threading.Lock()
        self._actors: weakref.WeakSet[ThreadExecutor] = weakref.WeakSet()
        self._deeper = [] if _deeper is None else _deeper  # all levels but the first share this list
        self._depth = 0 if _deeper is None else 1 + len(_deeper)
        if self._depth:
            self._deeper.append(self)
        self._closed = self._is_actor = False
        self._waiting: set[_Waiting] = set()
        self._on_strangers: set[_Waiting] = set()  # of these, those whose inputs no executor may ever end
        self._changed = threading.Condition()  # of the three above
        with _knowing:
            _executors.add(self)

    def _level(self) -> ThreadExecutor:
        """The one that does what this thread submits."""
        here = getattr(_local, "executor", None)
        if here is None or here._deeper is not self._deeper:
            return self
        with _making:
            if here._depth == len(self._deeper):
                ThreadExecutor(*self._setup, monitor=self._part_of_record(_monitor.NESTED), _deeper=self._deeper)
            return self._deeper[here._depth]

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()  # type: ignore[misc]
        except RuntimeError:  # as CPython 3.12 says when the main thread has ended
            if not self._threads:  # else they do it
                raise

    @contextlib.contextmanager
    def _lent(self) -> Iterator[None]:
        """Another thread does tasks while this one waits."""
        self._add_workers(1)
        try:
            yield
        finally:
            self._add_workers(-1)

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

    def _submit_with(
        self, options: tuple, name: str | None, fn: Any, args: tuple, kwargs: dict, turns: ThreadTurns | None = None
    ) -> ThreadFuture:
        """turns: those of an actor's caller."""
        limit, retries, backoff, priority = options
        if limit is not None:
            raise ValueError("a thread cannot be ended, so a task on threads has no time limit: use processes")
        if priority:
            raise ValueError("threads take tasks in the order in which they come: priority is for processes")
        level = self._level() if turns is None else self
        call = _Call(level, retries, backoff, name or _calls.name_of(fn), fn, args, kwargs)
        recorder = level._recorder
        task = call if recorder is None else recorder.task(call.name, call)  # tells of what it calls
        inputs = _inputs.futures_in((args, kwargs))
        waits = bool(inputs)
        if turns is not None:
            future, waits = turns.submit(level, call, task, inputs)
        elif inputs:
            waiting = _Waiting(level, call, task, inputs)
            waiting.begin(inputs)
            future = waiting.future
        elif level._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        else:
            future = level._submit_now(task)
        future._node = call if turns is None else level
        return future if recorder is None else recorder.submitted(future, task, waits)

    def _submit_now(self, call: Callable[[], Any]) -> ThreadFuture:
        future = super().submit(call)
        future.__class__ = ThreadFuture
        future._executor = self  # type: ignore[attr-defined]
        return future  # type: ignore[return-value]

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        return map_tasks(self.submit, fn, iterables, timeout, chunksize, buffersize)

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
        return options.submit(_command.run_here, args, stdin, timeout, env, cwd, check)

    def actor(self, cls: Callable[..., Any], /, *args: Any, restarts: int = 0, **kwargs: Any) -> ThreadActor:
        """An object that is called by one thread, in the order of the calls."""
        from ._thread_actor import ThreadActor

        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        executor = ThreadExecutor(1, monitor=self._part_of_record(_monitor.ACTOR))
        executor._is_actor = True
        self._actors.add(executor)
        return ThreadActor(executor, _calls.name_of(cls), executor.submit(cls, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self._waits_elsewhere(wait, cancel_futures):
            return
        for executor in list(self._actors):
            executor.shutdown(wait=wait, cancel_futures=cancel_futures)
        self._shut_down(wait, cancel_futures)
        if wait or cancel_futures:  # else the tasks may go on submitting some
            for level in self._deeper:
                level._shut_down(wait, cancel_futures)
        if wait and self._recorder is not None:
            self._recorder.join()

    def _shut_down(self, wait: bool, cancel_futures: bool) -> None:
        with self._changed:
            self._closed = True
            waiting = list(self._waiting)
        if cancel_futures:
            for each in waiting:
                each.future.cancel()
        if wait:
            self._wait_for_those_that_wait()
        with self._changed:
            if self._waiting:  # the last one does it
                return
        self._stop(wait, cancel_futures)

    def _stop(self, wait: bool, cancel_futures: bool = False) -> None:
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
        if self._recorder is not None:
            self._recorder.close()

    def _part_of_record(self, kind: int) -> Any:
        return None if self._recorder is None else self._recorder.part(kind)

    def _wait_for_those_that_wait(self) -> None:
        looks = 0
        while True:
            with self._changed:
                if not self._waiting:
                    return
                if self._changed.wait(LOOK_S if self._on_strangers else None):
                    continue
                stuck = [each for each in self._on_strangers if each.is_stuck()]
            looks = looks + 1 if stuck and not others_work() else 0
            if looks == LOOKS:
                looks = 0
                for each in stuck:
                    each.give_up()

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle 'Executor' object: it owns threads")


class _Call:
    """A task's call, with its retries; a task that returns a future returns its result."""

    def __init__(self, executor: ThreadExecutor, retries: int, backoff: float, name: str, fn: Any, args: Any, kw: Any):
        self.executor, self.retries, self.backoff, self.name = executor, retries, backoff, name
        self.fn, self.args, self.kwargs = fn, args, kw

    def __call__(self) -> Any:
        _local.executor, _local.call = self.executor, self
        try:
            for attempt in range(self.retries + 1):
                try:
                    result = self.fn(*self.args, **self.kwargs)
                    return result.result() if isinstance(result, ThreadFuture) else result
                except Exception as error:
                    if attempt == self.retries:
                        raise
                    self._pause(attempt, error)
        finally:
            _local.executor = _local.call = None

    def _pause(self, attempt: int, error: Exception) -> None:
        recorder = self.executor._recorder
        if recorder is not None:
            recorder.retried(error)
        time.sleep(min(self.backoff * 2**attempt, 60))
        if recorder is not None:
            recorder.again()


class _Waiting:
    """A call that goes to the threads when its inputs have ended."""

    def __init__(
        self,
        executor: ThreadExecutor,
        call: _Call,
        task: Callable[[], Any],
        inputs: list[concurrent.futures.Future],
        turns: ThreadTurns | None = None,
    ) -> None:
        self.executor, self.call, self.task, self.future = executor, call, task, ThreadFuture()
        self.turns, self.is_ready, self.inputs = turns, False, inputs
        self.future._waiting = self
        self.future._executor = executor
        self.left, self.lock, self.is_over = len(inputs), threading.Lock(), False
        with executor._changed:
            if executor._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            executor._waiting.add(self)
            if any(map(is_strange, inputs)):
                executor._on_strangers.add(self)

    def begin(self, inputs: list[concurrent.futures.Future]) -> None:
        self.future.add_done_callback(self.over)
        for future in inputs:
            future.add_done_callback(self.ended)
        if not inputs:  # it waits for its turn
            self.go()

    def needs(self) -> list[concurrent.futures.Future]:
        """What has to end before it is its turn."""
        if self.turns is None:
            return self.inputs
        return [each for waiting in self.turns.before(self) for each in waiting.inputs]

    def over(self, future: concurrent.futures.Future) -> None:
        self.future._waiting, self.inputs = None, []
        if future.cancelled():
            _claim(future)
        with self.executor._changed:
            self.executor._waiting.discard(self)
            self.executor._on_strangers.discard(self)
            if not self.executor._waiting:
                self.executor._changed.notify_all()
            is_last = self.executor._closed and not self.executor._waiting
        if is_last:
            self.executor._stop(wait=False)
        if self.turns is not None:
            self.turns.go_on()

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
            if self.is_over or self.future.done() or (error is None and self.left):
                return
            self.is_over = True
        if error is None:
            self.go()
        else:
            _fail(self.future, error)

    def go(self) -> None:
        if self.turns is not None:
            self.is_ready = True
            self.turns.go_on()
        elif (error := self.send()) is not None:
            _fail(self.future, error)

    def send(self) -> Exception | None:
        try:
            if self.executor._recorder is not None:
                self.task.submitted(False)  # it is ready
            self.executor._submit_now(self.run)
        except RuntimeError as closed:
            return closed
        return None

    def is_stuck(self) -> bool:
        """No executor does those of its inputs that have not ended."""
        unfinished = [each for each in _inputs.futures_in((self.call.args, self.call.kwargs)) if not each.done()]
        return bool(unfinished) and all(map(is_strange, unfinished))

    def give_up(self) -> None:
        from .errors import _input_failed

        with self.lock:
            if self.is_over:
                return
            self.is_over = True
        why = RuntimeError("its executor ends, and nobody is left who could end this future: no executor does it")
        _fail(self.future, _input_failed(self.call.name, None, why))

    def run(self) -> None:
        if not _claim(self.future):
            return
        try:
            self.call.args, self.call.kwargs = _inputs.resolved((self.call.args, self.call.kwargs))
            self.future.set_result(self.task())
        except BaseException as error:
            self.future.set_exception(error)


def _claim(future: concurrent.futures.Future) -> bool:
    """True, once: the caller ends it. If it has been cancelled, those who wait for it are told, once."""
    with future._condition:  # recursive
        if future._state in (_CANCELLED, _PENDING):
            return future.set_running_or_notify_cancel()
        return False


def _fail(future: concurrent.futures.Future, error: BaseException) -> None:
    """What waits for it fails too, and so on. The outermost call does all, for a chain may be longer than the stack."""
    if (failing := getattr(_local, "failing", None)) is not None:
        failing.append((future, error))
        return
    _local.failing = failing = collections.deque([(future, error)])
    raised = None
    while failing:
        future, error = failing.popleft()
        try:
            if _claim(future):
                future.set_exception(error)
        except BaseException as why:  # a callback's, or Ctrl-C: the others fail none the less
            raised = raised or why
    _local.failing = None
    if raised is not None:
        raise raised


# ---- the end: before concurrent.futures stops taking tasks, all are done, and what they submit

_executors: weakref.WeakSet[ThreadExecutor] = weakref.WeakSet()  # all levels: the first may be gone before its tasks
_knowing = threading.Lock()


def _finish_at_exit() -> None:
    _strangers.is_exit = True
    ended: set[ThreadExecutor] = set()
    while True:
        with _knowing:
            left = set(_executors) - ended  # a task may make one
        if not left:
            return
        first = min(left, key=lambda executor: executor._depth)
        first.shutdown()
        ended.add(first)


def _forget() -> None:
    """In a child of fork() their threads are not."""
    global _executors, _knowing
    _executors, _knowing = weakref.WeakSet(), threading.Lock()


os.register_at_fork(after_in_child=_forget)
threading._register_atexit(_finish_at_exit)  # type: ignore[attr-defined]
