"""``achar.Executor`` and ``achar.Future``: concurrent.futures on achar's own runtime.

The work is done in C (``src/python/executor``); what stands here is what is easier
to read in Python: options, and the executors that stand behind one.

An executor that nobody shut down ends by itself: when it is collected it is closed, and what was
submitted is still done (_pools.py).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import threading
import time
import weakref

from . import _achar, _calls, _environment, _forward, _handle, _launch, _memory, _monitor, _output, _pools, _progress

# Now, since a process that is short of descriptors could not import them.
from . import _sender as _sender
from . import errors as errors
from ._options import Commands, TaskOptions

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from . import _actor
    from .memo import Memo

    T = TypeVar("T")

__all__ = ["Executor", "Future"]

MAX_WORKERS = 1024  # the runtime's limit
SIBLINGS_MAX = 8  # environments that have workers of their own


class Future(_achar.FutureCore, concurrent.futures.Future):
    """A task's result, some day; a ``concurrent.futures.Future``.

    The result stays bytes until ``result()`` or ``exception()`` asks for it, so a result that
    cannot be read hurts nobody but who reads it.
    """

    __slots__ = ()
    __dict__ = vars(_achar.FutureCore)["__dict__"]  # not the one that a class gets by itself: see future_track()


class Executor(Commands, _achar.ExecutorCore, concurrent.futures.Executor):
    """Runs calls in worker processes.

    Functions and classes of ``__main__`` and of functions are sent by value, and workers never
    import the main script, so no ``if __name__ == "__main__"`` is needed. A task that kills its
    worker fails alone, with WorkerDied.

    max_workers: how many processes; None: as many as this process may use processors.
    mp_context: accepted for the sake of ProcessPoolExecutor's callers; workers always start clean.
    initializer, initargs: called once in every worker before its first task.
    max_tasks_per_child: replace a worker after so many tasks; None: never.
    env: environment variables for the workers, over this process's; None unsets one.
    serializer: a module or an object with dumps() and loads() (pickle, cloudpickle, dill, …) that writes
    functions, arguments and results instead of achar; exceptions always go achar's way.
    program: the command line of a worker written in C (achar/worker.h), which does its tasks by name:
    ``Executor(program=["./adder"]).submit("add", 1, 2)``.
    memory_limit: bytes of shared memory for arguments, results and what was put(); None: half of the machine's.
    spill_limit, spill_dir: what is beyond goes to disk, up to so many bytes (None: as many as there are; 0: none), in
    nameless files in this folder (None: TMPDIR, else /var/tmp). When that is full, too, submit() waits until tasks end.
    room_timeout: seconds that submit() and put() wait so while nothing becomes free; then it is a MemoryError, since a
    task may wait for what this process does next. None: for ever.
    python: another interpreter for the workers, a path or the beginning of a command line; it must have an
    achar of this version. Versions of packages that differ are an achar.EnvironmentDiffers when a task imports them.
    start_timeout: seconds that a worker may take to get ready, the initializer included; None: for ever.
    output: what becomes of the workers' standard output and error, and of what tasks log. "tagged": it goes
    to this process's sys.stdout, sys.stderr and loggers, each line with worker and task in front;
    "plain": the same without that; "inherit": workers write to this process's descriptors; "discard".
    monitor: a path; what happens is recorded there, in an SQLite file that ``achar top`` shows (docs/record.md).
    progress: True shows a bar on a terminal or in a notebook, by tqdm if that is installed; "always" also elsewhere.
    kind: "process"; "thread" gives the same on threads of this process, as far as threads can.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: object = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        env: Mapping[str, str | None] | None = None,
        serializer: Any = None,
        program: Sequence[str | os.PathLike[str]] | None = None,
        memory_limit: int | None = None,
        spill_limit: int | None = None,
        spill_dir: str | os.PathLike[str] | None = None,
        room_timeout: float | None = 600,
        python: str | os.PathLike[str] | Sequence[str] | None = None,
        start_timeout: float | None = 600,
        output: str = "tagged",
        monitor: str | os.PathLike[str] | None = None,
        progress: bool | str = False,
        kind: str = "process",
        _depth: int = 0,
        _starts: int = 0,
        _nested: tuple | None = None,
        _kept: _handle.Kept | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = min(_launch.default_workers(), MAX_WORKERS)
        elif max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        elif max_workers > MAX_WORKERS:
            raise ValueError(f"max_workers must be <= {MAX_WORKERS}")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        if start_timeout is not None and not start_timeout > 0:
            raise ValueError("start_timeout must be None or > 0")
        if room_timeout is not None and not room_timeout > 0:
            raise ValueError("room_timeout must be None or > 0")
        if output not in _output.MODES:
            raise ValueError(f"output must be one of {', '.join(map(repr, _output.MODES))}")
        _progress.check(progress)
        if _pools.exiting and not _depth:
            raise RuntimeError("cannot make an executor at interpreter shutdown")
        _pools.forget_ended()
        hello = {
            "path": _launch.path_for(python),
            "adds_path": python is not None,
            "environment": _environment.describe(with_packages=python is not None),
            "cwd": _launch.folder(),
            "argv": list(sys.argv),
            "keeps": True,  # a result may refer to its task's arguments, see packed.c
            "depth": _depth,
            "output": _forward.client_levels() if _output.MODES[output] == 2 else None,
        }
        self._max_workers = max_workers
        memory = _memory.limits(memory_limit, spill_limit, spill_dir, max_workers)
        options = (
            _launch.python_command(python) if program is None else _launch.program_command(program),
            _launch.environment(max_workers, env),
            max_workers,
            hello,
            None if initializer is None else (initializer, tuple(initargs)),
            max_tasks_per_child or 0,
            program is None,
            _starts,
            _output.MODES[output],
            start_timeout or 0,
        )
        self._monitor = None if monitor is None else _monitor.open_run(monitor, max_workers)
        journal = None if self._monitor is None else self._monitor.journal
        try:
            self._pool = _achar.Pool(*options, *memory, room_timeout or 0, journal and journal())
        except OSError:
            if spill_dir is not None or memory[2] is None:
                raise
            # No file can be made there: nothing is spilled.
            self._pool = _achar.Pool(*options, memory[0], 0, None, room_timeout or 0, journal and journal())
        self._memory_options = {
            "memory_limit": memory_limit,
            "spill_limit": spill_limit,
            "spill_dir": spill_dir,
            "room_timeout": room_timeout,
        }
        self._setup = (max_workers, mp_context, initializer, initargs)
        self._setup_options = {
            "max_tasks_per_child": max_tasks_per_child,
            "serializer": serializer,
            "program": program,
            "python": python,
            "start_timeout": start_timeout,
            "output": output,
            "monitor": self._monitor and self._monitor.part(_monitor.ENVIRONMENT),
            **self._memory_options,
        }
        self._env = dict(env or {})
        self._siblings: dict[frozenset, Executor] = {}
        self._actors: weakref.WeakSet[Executor] = weakref.WeakSet()
        self._kept = _handle.Kept() if _kept is None else _kept
        self._refuses = False  # as an actor's: calls from here, while those of tasks are still done
        forwarder = _output.start(self._pool, output)
        if not _depth:  # else the one above waits for it
            door = None
            if program is None:
                setup, options = _nested or self._setup, self._nested_options(_monitor.NESTED)
                door = _start_door(self._pool, setup, self._env, options, self._kept, is_actors=_starts > 0)
            bar = _progress.start(self._pool, progress)
            _pools.living[self._pool] = (door, forwarder, bar, self._monitor)

    def _nested_options(self, kind: int) -> dict[str, Any]:
        """What workers for actors, and for tasks of tasks, have in common with the others."""
        names = (*self._memory_options, "python", "start_timeout", "output")
        options = {name: self._setup_options[name] for name in names}
        return {**options, "monitor": self._monitor and self._monitor.part(kind)}

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Like ``map(fn, *iterables)``, in the same order, with the calls made by the workers.

        'fn' is pickled once. The iterables are read at once; with 'buffersize', only so many calls
        are submitted ahead of the results that were read. 'timeout' is in seconds from now, for all
        of it. Short calls travel together by themselves, so 'chunksize' changes nothing; each call
        ends by itself: one that fails, or kills its worker, takes no other along.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        return self._map(fn, iterables, timeout, buffersize)

    def options(
        self,
        *,
        timeout: float | None = None,
        retries: int = 0,
        backoff: float = 0.1,
        priority: int = 0,
        name: str | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        memo: Memo | None = None,
    ) -> TaskOptions:
        """``options(...).submit(...)`` and ``.map(...)`` submit tasks that have these options.

        timeout: seconds that a task may run, from when a worker starts it. Then TimeoutError is raised
        inside the task, as the exception of its future; a task that does not end within a second of
        that, because it is in C code or catches everything, is killed with its worker and its child
        processes, and its future fails with TimeoutError all the same.
        retries: how often a task is tried again that raised, ran into its time limit, or whose worker
        died. The exception of the last attempt is the future's; it says how the others failed.
        backoff: seconds before the first retry; each time twice as long, at most a minute.
        priority: -100 to 100; among tasks that wait for a worker, higher ones go first.
        name: what messages call the task.
        env: environment variables while the task runs, over the worker's; None unsets one. Variables
        that are read once when a process or a library starts (LD_*, PYTHON*, OMP_*, LANG, …; see
        achar._calls.READ_ONCE) get workers of their own, started with them.
        cwd: the folder that the task runs in.
        memo: an achar.Memo: a call that it has a result of needs no worker; the results of others are stored when
        they arrive. The same call submitted again while it is under way is the same Future.
        """
        if env is not None:
            env = {str(name): None if value is None else str(value) for name, value in env.items()}
        options = TaskOptions(self, timeout, retries, backoff, priority, name)
        if env and _calls.is_read_once(env):
            options._executor = self._sibling(env)
            env = None
        if env or cwd is not None:
            options._place = (env, None if cwd is None else os.path.abspath(os.fsdecode(cwd)))
        if memo is not None:
            from ._memo_tasks import Tasks

            options._memo = Tasks(memo)
        return options

    def _sibling(self, env: dict[str, str | None]) -> Executor:
        """An executor whose workers start with this environment; the same for the same."""
        if self._pool.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        key = frozenset(env.items())
        sibling = self._siblings.pop(key, None)
        if sibling is None:
            sibling = Executor(*self._setup, env={**self._env, **env}, **self._setup_options, _kept=self._kept)
            if len(self._siblings) >= SIBLINGS_MAX:  # what it was given is still done
                self._siblings.pop(next(iter(self._siblings))).shutdown(wait=False)
        self._siblings[key] = sibling  # the last to have been used
        return sibling

    def cancel(self, future: Future, *, force: bool = False) -> bool:
        """Cancel the task of 'future'; True if it is, or will be, cancelled, False if it had ended.

        With 'force' also a task that runs: achar.TaskCancelled, a BaseException, is raised in it where
        it stands, so ``finally`` runs; when it has not ended a second later it is killed, with its
        worker and the processes that it started. Other tasks are not touched. The future is done when
        the task has ended. Whatever the task still returns or raises is thrown away; it is not tried again.
        """
        return future._cancel_by_force() if force and isinstance(future, Future) else future.cancel()

    def actor(self, cls: Callable[..., Any], /, *args: Any, restarts: int = 0, **kwargs: Any) -> _actor.Actor:
        """Make cls(*args, **kwargs) in a process of its own; ``actor.method(x)`` returns a Future.

        The calls are done one after the other, in the order in which they were made; one that has futures
        in its arguments waits for them, and those behind it wait, too. When the process dies, the call that ran
        fails with WorkerDied. Up to 'restarts' times the object is then made anew, and the calls behind go to it;
        after that they, and all later ones, fail with ActorDied.
        The actor ends with the executor, or when nobody has it any more and its calls are done.
        """
        from . import _actor

        if self._pool.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if not isinstance(restarts, int) or restarts < 0:
            raise ValueError("restarts must be an integer >= 0")
        executor = Executor(
            1,
            initializer=_actor.make,
            initargs=(cls, args, kwargs),
            env=self._env,
            **self._nested_options(_monitor.ACTOR),
            _starts=1 + restarts,
            _nested=self._setup,
        )
        self._actors.add(executor)
        self._kept.actors.difference_update([p for p in self._kept.actors if p.closed and p.join(0)])
        self._kept.actors.add(executor._pool)
        return _actor.Actor(executor, _calls.name_of(cls), self._kept)

    def wait(
        self, futures: Iterable[Future], n: int | None = None, timeout: float | None = None
    ) -> tuple[list[Future], list[Future]]:
        """Wait until 'n' of the futures have ended (None: all), or 'timeout' seconds.

        Returns (those that have ended, the others), each in the order given.
        """
        futures = list(futures)
        count = len(futures) if n is None else n
        if not 0 <= count <= len(futures):
            raise ValueError("n must be 0 to the number of futures")
        ended = threading.Semaphore(0)
        if sum(future.done() for future in futures) < count:
            for future in futures:
                future.add_done_callback(lambda future: ended.release())
            deadline = None if timeout is None else time.monotonic() + timeout
            for _ in range(count):
                if not ended.acquire(timeout=None if deadline is None else max(0, deadline - time.monotonic())):
                    break
        done = [future.done() for future in futures]
        return (
            [future for future, is_done in zip(futures, done, strict=True) if is_done],
            [future for future, is_done in zip(futures, done, strict=True) if not is_done],
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; with 'wait', return when all are done and the workers have left.

        cancel_futures: cancel the tasks that no worker has started.
        """
        pool = self._pool
        if pool is None:
            return
        if self._waits_elsewhere(wait, cancel_futures):
            return
        pool.close()
        if self._monitor is not None:
            self._monitor.close()
        if cancel_futures:
            pool.cancel_queued()
        actors = list(self._actors)
        last = [actor for actor in actors if actor._pool in _pools.called]  # by tasks that are still to be done
        others = [*self._siblings.values(), *(actor for actor in actors if actor not in last)]
        for executor in others:
            executor.shutdown(wait=False, cancel_futures=cancel_futures)
        for executor in last:
            executor._refuses = True
            if cancel_futures:
                executor._pool.cancel_queued()
        if wait:
            self._wait_for_end(others, last)
        elif last:
            with contextlib.suppress(RuntimeError):  # CPython 3.12 at its end, which does the same
                threading.Thread(target=self._wait_for_end, args=(others, last), name="achar shutdown").start()

    def _wait_for_end(self, others: list[Executor], last: list[Executor]) -> None:
        try:
            _pools.wait_for_end(self._pool)
        except KeyboardInterrupt:
            for executor in (*others, *last):
                executor._pool.interrupt()
            raise
        for executor in others:
            executor.shutdown(wait=True)
        for executor in last:  # they have nothing to do any more, see Kept.ended()
            executor.shutdown(wait=False)
        for executor in last:
            executor.shutdown(wait=True)
        if self._monitor is not None:
            self._monitor.join()

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
        if isinstance(exc_value, KeyboardInterrupt):
            for executor in (self, *self._siblings.values(), *self._actors):
                executor._pool.interrupt()
        self.shutdown(wait=True)

    def __del__(self) -> None:
        if self._pool is not None:
            self._pool.close()
            if self._monitor is not None:
                self._monitor.close()

    def __reduce__(self) -> Any:
        if self._pool is not None and _achar.dumping_pool() is self._pool:
            from ._nested import current_executor

            return current_executor, ()
        raise TypeError(f"cannot pickle {type(self).__name__!r} object: it owns processes")

    def __new__(
        cls, *args: Any, serializer: Any = None, program: Any = None, kind: str = "process", **keywords: Any
    ) -> Executor:
        if kind == "thread":
            from ._threads import ThreadExecutor

            return ThreadExecutor(*args, serializer=serializer, program=program, **keywords)  # type: ignore[return-value]
        if kind != "process":
            raise ValueError('kind must be "process" or "thread"')
        if cls is Executor and program is not None:
            from ._variants import ProgramExecutor

            cls = ProgramExecutor
        elif cls is Executor and serializer is not None and getattr(serializer, "__name__", "") != "achar":
            from ._variants import SerializedExecutor

            cls = SerializedExecutor
        return super().__new__(cls)


# ---- tasks of tasks


def _start_door(
    pool: _achar.Pool, setup: tuple, env: dict[str, str | None], options: dict, kept: _handle.Kept, is_actors: bool
) -> threading.Thread:
    """What attends to tasks that submit tasks (achar._door); it must not keep the executor alive."""

    def make_executor(depth: int) -> Executor:
        return Executor(*setup, env=env, **options, _depth=depth)

    def attend() -> None:
        try:
            serve()
        finally:
            kept.ended(pool)

    def serve() -> None:
        import select

        _achar.never_wait_for_room()  # the tasks whose calls it takes may be what there is to wait for

        door = select.poll()
        door.register(pool.door, select.POLLIN)
        door.poll()  # until a task submits one, or the pool has ended
        while pool.has_arrivals or not (pool.closed and pool.join(0)):
            try:
                from ._door import Server

                server = Server(pool, make_executor, is_actors)
            except OSError:  # no descriptor is left: the tasks' calls wait until there is one
                time.sleep(0.1)
            else:
                return server.serve()

    kept.pools.add(pool)
    thread = threading.Thread(target=attend, name="achar-door", daemon=True)
    thread.start()
    return thread


_achar.executor_configure(Future, concurrent.futures.Future, concurrent.futures._base, _pools.start_watcher)
