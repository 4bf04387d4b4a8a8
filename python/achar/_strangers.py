"""Futures that no executor ends, and who may yet end one: what waits for such a future is given up when nobody can."""

from __future__ import annotations

import concurrent.futures
import sys
import threading

from . import _pools

LOOK_S, LOOKS = 0.05, 3  # so often, one after the other, nobody is seen at work before a task is given up
is_exit = False  # the interpreter ends; so says _pools, but later


def is_strange(future: concurrent.futures.Future) -> bool:
    """Made by hand, as it seems: executors other than concurrent.futures' own have futures of their own."""
    return type(future) is concurrent.futures.Future and future._state == concurrent.futures._base.PENDING


def others_work() -> bool:
    """Is there a thread that may yet end a future: any but this one, achar's own, and a pool's that waits for tasks."""
    module = sys.modules.get("concurrent.futures.thread")  # at its end the interpreter cannot import it any more
    pools = {} if module is None else module._threads_queues
    idle = None if module is None else module._worker.__code__
    frames = sys._current_frames()
    for thread in threading.enumerate():
        is_service = thread.daemon and (is_exit or _pools.exiting or thread.name.startswith("achar-"))
        if is_service or thread is threading.current_thread():
            continue
        if (queue := pools.get(thread)) is not None:
            frame = frames.get(thread.ident)  # type: ignore[arg-type]
            if not queue.empty() or (frame is not None and frame.f_code is not idle):
                return True
        elif getattr(thread, "pending_work_items", True):  # a ProcessPoolExecutor's thread has a dict of them
            return True
    return False
