"""Handles of actors: what the client, a task, or another actor's method calls an actor by.

Pickled, a handle is a number. Where that is read, it is the Actor again in the process that has it, and an ActorThere
in a worker, whose calls go to the client on the worker's connection (_nested.py), and from there to the actor
(_door.py). Nobody knows who has the bytes: an actor whose handle has been pickled ends with its executor, and there
after everybody who may call it.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ._actor import Actor

known: weakref.WeakValueDictionary[int, Actor] = weakref.WeakValueDictionary()  # those of this process


class Handle:
    """``handle.method(x)`` has the actor's method called, and returns a Future."""

    _name: str

    def _call(self, name: str, args: tuple, kwargs: dict) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._call(name, args, kwargs)

    def __repr__(self) -> str:
        return f"<achar actor {self._name}>"


class ActorThere(Handle):
    """In a worker: an actor of the process that it works for."""

    def __init__(self, key: int, name: str) -> None:
        self._key, self._name = key, name

    def _call(self, name: str, args: tuple, kwargs: dict) -> Any:
        from ._nested import executor_of_worker

        return executor_of_worker()._call_actor(self._key, f"{self._name}.{name}", (name, args, kwargs))

    def __reduce__(self) -> Any:
        return of, (self._key, self._name)


def of(key: int, name: str) -> Handle:
    from . import _worker

    actor = known.get(key)
    if actor is not None:
        return actor
    if _worker.place is None or _worker.place[1] != os.getpid():
        raise RuntimeError(
            f"actor {name} cannot be called here: it has ended, or is another program's\n"
            "  why: an actor's handle can be read in the process that made the actor, and in its workers"
        )
    return ActorThere(key, name)


class Kept(dict):
    """The actors of an executor that have been pickled. It and its siblings have ended, whose tasks call them, when the
    threads at their doors have; the last of these goes on until the actors have nothing to do any more.
    """

    def __init__(self) -> None:
        self.pools: set[Any] = set()
        self.actors: set[Any] = set()  # pools of all its actors: one that nobody can call may call others

    def ended(self, pool: Any) -> None:
        self.pools.discard(pool)
        if not self.pools:
            settle(list(self.actors))
            self.clear()


def settle(pools: Collection[Any]) -> None:
    """Until none of these actors has a call left: one may call another as long as that has not been closed.

    A call is known here before the one that has made it has ended (_nested.py). So when none of them has anything to
    do, and none has got anything since the last time that this was so, there is nobody left who could call them.
    """
    before, pause = None, 0.001
    while True:
        deferred = sys.modules.get("achar._deferred")
        is_held = deferred is not None and any(
            getattr(executor, "_pool", None) in pools for executor in list(deferred._waiting.values())
        )
        counts = [pool.progress()[:2] for pool in pools]
        if not is_held and all((submitted - ended) % (1 << 32) == 0 for submitted, ended in counts):
            if counts == before:
                return
            before = counts
            continue
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
