"""Actors: an object that lives in a worker process of its own, and is called from here.

An actor is an executor of one worker whose initializer makes the object; its calls are tasks, which one
worker does in their order. How often a dead one is made anew is the runtime's limit on starts.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .executor import Executor, Future

# ---- in the worker

_object: Any = None


def make(cls: Callable[..., Any], args: tuple, kwargs: dict) -> None:
    global _object
    _object = cls(*args, **kwargs)


def call(name: str, args: tuple, kwargs: dict) -> Any:
    return getattr(_object, name)(*args, **kwargs)


# ---- in the client


class Actor:
    """``actor.method(x)`` calls the object's method and returns a Future; calls are done in their order."""

    def __init__(self, executor: Executor, name: str) -> None:
        self._executor, self._name = executor, name

    def __getattr__(self, name: str) -> Callable[..., Future]:
        if name.startswith("__"):
            raise AttributeError(name)
        executor, title = self._executor, f"{self._name}.{name}"

        def method(*args: Any, **kwargs: Any) -> Future:
            return executor._submit_with((None, 0, 0, 0), title, call, (name, args, kwargs), {})

        return method

    def __repr__(self) -> str:
        return f"<achar actor {self._name}>"

    def __reduce__(self) -> Any:
        raise TypeError("an actor is called by the process that made it")
