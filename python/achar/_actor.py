"""Actors: an object that lives in a worker process of its own, and is called from here.

An actor is an executor of one worker whose initializer makes the object; its calls are tasks, which one
worker does in their order. How often a dead one is made anew is the runtime's limit on starts.

A call with a future in its arguments that has not ended is not given to that executor yet, nor are the
calls behind it: _turns.py holds them until it is their turn.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._turns import Turns
    from .executor import Executor, Future

# ---- in the worker

_object: Any = None


def make(cls: Callable[..., Any], args: tuple, kwargs: dict) -> None:
    global _object
    _object = cls(*args, **kwargs)


def call(name: str, args: tuple, kwargs: dict) -> Any:
    return getattr(_object, name)(*args, **kwargs)


def call_held(name: str, packed: bytes, results: tuple) -> Any:
    """A call that was pickled before its inputs had ended, with their results."""
    import io

    from . import Unpickler, _worker

    class Filling(Unpickler):
        def persistent_load(self, pid: int) -> Any:
            return results[pid]

    try:
        args, kwargs, _ = Filling(io.BytesIO(packed)).load()
    except Exception as error:
        raise _worker.unreadable("arguments", error) from error
    return call(name, args, kwargs)


# ---- in the client

_making = threading.Lock()


class Actor:
    """``actor.method(x)`` calls the object's method and returns a Future; calls are done in their order."""

    def __init__(self, executor: Executor, name: str) -> None:
        self._executor, self._name = executor, name
        self._turns: Turns | None = None  # once a call had to wait

    def __getattr__(self, name: str) -> Callable[..., Future]:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> Future:
            title = f"{self._name}.{name}"
            if self._turns is None or not self._turns.held:
                future = self._executor._submit_with((None, 0, 0, 0), title, call, (name, args, kwargs), {})
                if future is not None:
                    return future
            return self._hold(title, name, args, kwargs)

        return method

    def _hold(self, title: str, name: str, args: tuple, kwargs: dict) -> Future:
        from ._turns import Turns

        with _making:  # two would know no order
            if self._turns is None:
                self._turns = Turns(self._executor)
        return self._turns.hold(title, name, args, kwargs)

    def __repr__(self) -> str:
        return f"<achar actor {self._name}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "an actor is called by the process that made it: a task cannot call one.\n"
            "  do:  return from the task what the call needs, and make its future an argument of the call"
        )
