"""Who waits for whom among tasks and actors on threads, so that an actor that would wait for itself is told.

As _waits.py does it for processes; here a thread enters what it waits for itself. A node is an actor's executor, or a
task's call.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._threads import ThreadFuture

_waits: dict[Any, ThreadFuture] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def entered(node: Any, future: ThreadFuture) -> Iterator[None]:
    """While this thread, whose task's node that is, waits for the future without a limit."""
    with _lock:
        before = _waits.get(node)
        _waits[node] = future
        found = _stuck(node)
    try:
        if found is not None:
            found._is_stuck = True
            found.cancel()  # if it has begun by now, it was not stuck
        yield
    except concurrent.futures.CancelledError:
        if not future._is_stuck:
            raise
        from .errors import _stuck_call

        raise _stuck_call() from None
    finally:
        with _lock:
            if before is None:
                del _waits[node]
            else:
                _waits[node] = before


def _stuck(node: Any) -> ThreadFuture | None:
    """On a way from this node to itself, the call that has not begun of an actor that waits."""
    to_look_at: list[tuple[Any, Any]] = [(_waits[node], (_waits[node], None))]
    seen = set()
    while to_look_at:
        future, way = to_look_at.pop()
        if future in seen or future.done():
            continue
        seen.add(future)
        waiting = getattr(future, "_waiting", None)
        if waiting is not None:
            to_look_at += ((each, way) for each in waiting.needs())
        there = getattr(future, "_node", None)
        if there is node:
            while way is not None:
                wait, way = way
                if getattr(wait._node, "_is_actor", False) and wait._node in _waits and not wait.running():
                    return wait
        elif there in _waits:
            to_look_at.append((_waits[there], (_waits[there], way)))
    return None
