"""Actors: an object that lives in a worker process of its own, and is called from here.

An actor is an executor of one worker whose initializer makes the object; its calls are tasks, which one
worker does in their order. How often a dead one is made anew is the runtime's limit on starts.

A call with a future in its arguments that has not ended is not given to that executor yet, nor are the
calls of the same caller behind it: _turns.py holds them until it is their turn.
"""

from __future__ import annotations

import os
import threading

from . import _handle

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


def call_packed(packed: bytes, *inputs: Any) -> Any:
    """A call that a task has made, or another actor's; their futures' results are the inputs."""
    from ._nested_futures import opened

    return call(*opened(packed, inputs))


def call_held(name: str | None, packed: bytes, results: tuple) -> Any:
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
    return call_packed(*args) if name is None else call(name, args, kwargs)


# ---- in the client

_making = threading.Lock()


class Actor(_handle.Handle):
    """``actor.method(x)`` calls the object's method and returns a Future; calls are done in their order."""

    def __init__(self, executor: Executor, name: str, kept: _handle.Kept) -> None:
        self._executor, self._name, self._kept = executor, name, kept
        self._turns: Turns | None = None  # once a call had to wait
        self._key = int.from_bytes(os.urandom(8), "little")
        _handle.known[self._key] = self

    def _call(self, name: str, args: tuple, kwargs: dict) -> Future:
        title = f"{self._name}.{name}"
        if self._executor._refuses:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._turns is None or not self._turns.held:
            future = self._executor._submit_with((None, 0, 0, 0), title, call, (name, args, kwargs), {})
            if future is not None:
                return future
        with _making:  # two would know no order
            if self._turns is None:
                from ._turns import Turns

                self._turns = Turns(self._executor)
        return self._turns.hold(title, name, args, kwargs)

    def _call_packed(
        self, title: str, packed: bytes, inputs: list[Any], parent: int, turns: dict[Any, Turns], caller: int
    ) -> Future:
        """A call that a task has made, or another actor's: ``caller`` of those whose calls wait in ``turns``."""
        args = packed, *inputs
        own = turns.get((caller, self._key))
        if own is None or not own.held:
            future = self._executor._submit_with((None, 0, 0, 0, parent), title, call_packed, args, {})
            if future is not None:
                return future
        if own is None:
            from ._turns import Turns

            for key in [key for key, each in turns.items() if not each.held]:
                del turns[key]
            own = turns[caller, self._key] = Turns(self._executor)
        return own.hold(title, None, args, {})

    def __reduce__(self) -> Any:
        from . import _pools

        if self._key not in self._kept and not self._executor._pool.closed:
            self._executor._pool.start_watcher()
            _pools.called.add(self._executor._pool)
            self._kept[self._key] = self
        return _handle.of, (self._key, self._name)
