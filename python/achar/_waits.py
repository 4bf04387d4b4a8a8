"""Who waits for whom among tasks and actors, so that one that would wait for ever is told.

An actor does one call at a time. When its method waits, it does nothing else: a call of it that its method waits for,
by way of whatever other actors and tasks, is never begun. A worker whose task has waited for a while says so (WAIT in
_frames.py). From there the way leads from what is waited for to who does it, and on to what that one waits for. If it
comes back to where it began, there is a call on it that has not begun: that one fails.

Only result() and exception() without a timeout, in the thread that runs the task, are seen.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from ._turns import HeldCall


class Wait(NamedTuple):
    """For the task of that number on a connection. A node is an actor's pool, or the number of a task of a task."""

    connection: Any
    number: int
    future: Any
    pool: Any  # of the process that waits
    pid: int

    def is_over(self) -> bool:
        return self.future.done() or self.pid not in self.pool.pids()


_waits: dict[Any, Wait] = {}  # by node
_lock = threading.Lock()


def begin(node: Any, wait: Wait) -> None:
    with _lock:
        _waits[node] = wait
        found = _stuck(node)
    if found is not None:
        found.future._stuck = True  # see Server.returned()
        found.future.cancel()  # if it has begun by now, it was not stuck


def end(node: Any, connection: Any, number: int) -> None:
    with _lock:
        wait = _waits.get(node)
        if wait is not None and wait.connection is connection and wait.number == number:  # and not the next one
            del _waits[node]


def _stuck(node: Any) -> Wait | None:
    """On a way from this node to itself, the wait for a call that has not begun of an actor that waits."""
    to_look_at: list[tuple[Any, Any]] = [(_waits[node].future, (_waits[node], None))]
    seen = set()
    while to_look_at:
        future, way = to_look_at.pop()
        if future in seen or future.done():
            continue
        seen.add(future)
        if isinstance(future, HeldCall) and future._inner is None:
            to_look_at += ((each, way) for call in future._turns.before(future) for each in call._snapshot.inputs)
        there = getattr(future, "_node", None)
        if there == node:
            while way is not None:
                wait, way = way
                is_call = wait.number in wait.connection.calls and wait.future._node in _waits
                if is_call and not wait.future.running():
                    return wait
        elif there is not None and there in _waits and not _waits[there].is_over():
            to_look_at.append((_waits[there].future, (_waits[there], way)))
    return None
