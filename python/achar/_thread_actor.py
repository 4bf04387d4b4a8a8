"""Actors of Executor(kind="thread"): an object that one thread calls, one call after the other.

As with processes (_turns.py, _waits.py) a call with a future in its arguments that has not ended waits, and with it the
later calls of the same caller, which is a task, or everything outside of tasks; and a call that would wait for itself
fails.
"""

from __future__ import annotations

import collections
import threading
import weakref
from collections.abc import Callable
from typing import Any

from ._threads import ThreadExecutor, ThreadFuture, _Call, _fail, _local, _Waiting

_making = threading.Lock()


class ThreadTurns:
    """The calls of one actor by one caller that wait, in their order."""

    def __init__(self) -> None:
        self.held: collections.deque[_Waiting] = collections.deque()
        self.lock = threading.RLock()

    def submit(
        self, executor: ThreadExecutor, call: _Call, task: Callable[[], Any], inputs: list[Any]
    ) -> tuple[ThreadFuture, bool]:
        """And whether it waits."""
        with self.lock:
            if not inputs and not self.held:
                if executor._closed:
                    raise RuntimeError("cannot schedule new futures after shutdown")
                return executor._submit_now(task), False
            waiting = _Waiting(executor, call, task, inputs, self)
            self.held.append(waiting)
        waiting.begin(inputs)
        return waiting.future, True

    def before(self, waiting: _Waiting) -> list[_Waiting]:
        """And that one itself; none if it has been given to the thread."""
        held = list(self.held)
        return held[: held.index(waiting) + 1] if waiting in held else []

    def go_on(self) -> None:
        """Gives those to the thread whose turn it is."""
        while True:
            with self.lock:  # a new call passes when there is none before it
                if not self.held or not (self.held[0].is_ready or self.held[0].future.done()):
                    return
                first = self.held[0]
                error = None if first.future.done() else first.send()
                self.held.popleft()
            if error is not None:
                _fail(first.future, error)


class ThreadActor:
    """``actor.method(x)`` calls the object's method and returns a Future."""

    def __init__(self, executor: ThreadExecutor, name: str, made: ThreadFuture) -> None:
        self._executor, self._name, self._made = executor, name, made
        self._own, self._of_tasks = ThreadTurns(), weakref.WeakKeyDictionary[_Call, ThreadTurns]()

    def _turns(self) -> ThreadTurns:
        caller = getattr(_local, "call", None)
        if caller is None:
            return self._own
        with _making:
            return self._of_tasks.setdefault(caller, ThreadTurns())

    def __reduce__(self) -> Any:
        raise TypeError(
            "an actor on threads is called in its process only: nothing of it can be sent\n"
            "  do:  make it with an executor of processes, Executor().actor(...)"
        )

    def __getattr__(self, name: str) -> Callable[..., ThreadFuture]:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> ThreadFuture:
            call = lambda *args, **kwargs: getattr(self._made.result(), name)(*args, **kwargs)  # noqa: E731
            title, options = f"{self._name}.{name}", (None, 0, 0, 0)
            return self._executor._submit_with(options, title, call, args, kwargs, self._turns())

        return method
