"""One computation for calls and tasks of the same key, in this process and in others: who waits for whom.

    a call waits for a call      in C (``src/memo/flight.c``), which finds circles
    a call waits for a task      here; it has not begun meanwhile, so nobody waits for it; a moment at most for one
                                 that is queued, since what is before that may wait for what the caller does next
    a task waits for either      here; it is not submitted meanwhile, so it holds no worker

A task is computed by workers that other tasks may hold up, and these may wait for calls. So that nothing closes such a
circle, there are rules. In a worker, in a thread of a pool and in achar's own, nobody waits for a task, nor lets a task
wait. Nor does a process while a thread of it is inside another memoized call, which others may wait for. And nobody
waits for a call that he is inside of. Who does not wait computes, which costs time and nothing else.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from . import _memo, _memo_stores, _worker
from ._memo import MemoError

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

    from .memo import Memo

# So many tasks at once are known to other processes. The kernel's locks are a list: to take one and let go of it costs
# 1 us, with 256 others 4, with 1024 others 23.
LOCKS_MAX = 256
NOBODY, THIS_THREAD, HERE, ELSEWHERE = range(4)  # what Store.owner() says
PAUSE_FIRST_S, PAUSE_LAST_S = 0.002, 0.05
QUEUED_S = 1.0

_lock = threading.RLock()  # a signal's handler may submit
_tasks: dict[str, dict[bytes, Flight]] = {}  # the tasks that are under way, by file
_locks_count = 0


def tasks_of(path: str) -> dict[bytes, Flight]:
    return _tasks.setdefault(path, {})


def may_wait() -> bool:
    """Whether this thread may wait for a task: no task can be waiting for it."""
    thread = threading.current_thread()
    pools = sys.modules.get("concurrent.futures.thread")
    is_pools = pools is not None and thread in pools._threads_queues
    return _worker.place is None and not is_pools and not thread.name.startswith("achar")


def begin_call(memo: Memo, store: Any, key: bytes) -> bool:
    """Store.begin(), after the task that computes this, if there is one."""
    wait_s, tasks = memo._wait, tasks_of(memo.path)
    end_s = _end_of_wait(wait_s)
    begun: bool | None = store.begin(key, tasks, wait_s)
    if begun is None:
        begun = _begin_after(store, key, tasks, end_s) if may_wait() else bool(store.begin(key, None, wait_s))
    return begun


def _end_of_wait(wait_s: float | None) -> float | None:
    return None if wait_s is None else time.monotonic() + wait_s


def _begin_after(store: Any, key: bytes, tasks: dict[bytes, Flight], end_s: float | None) -> bool:
    pause, give_up_s, left_s = PAUSE_FIRST_S, time.monotonic() + QUEUED_S, None
    while True:
        while (flight := tasks.get(key)) is not None or store.task_is_elsewhere(key):
            is_late = flight is not None and flight.is_queued() and time.monotonic() > give_up_s
            if end_s is not None:
                left_s = max(0.0, end_s - time.monotonic())
            if is_late or left_s == 0 or store.has_other_calls(key):
                return bool(store.begin(key, None, left_s))
            _memo.await_landing(pause)
            pause = min(pause * 2, PAUSE_LAST_S)
        begun = store.begin(key, tasks, left_s)
        if begun is not None:
            return bool(begun)


class Flight:
    """That a task of this process computes a key, or is to."""

    def __init__(self, memo: Memo, key: bytes) -> None:
        self.path, self.key, self.store = memo.path, key, memo._store
        self.tasks = tasks_of(memo.path)
        self.is_begun = self.has_lock = self.is_over = False
        self.future: Any = None  # the task's, when it has been submitted
        self._end_s = _end_of_wait(memo._wait)

    def is_queued(self) -> bool:
        """No worker has begun the task."""
        future = self.future
        return future is None or not (future.running() or future.done())

    def is_ready(self) -> bool:
        """The task may be submitted: nobody else computes it, or it is not to be waited for."""
        store, key = self.store, self.key
        is_late = self._end_s is not None and time.monotonic() >= self._end_s
        if not self.is_begun and not self._begin():
            return bool(is_late or store.owner(key) == THIS_THREAD or store.has_other_calls(key))
        return bool(is_late or store.owner(key) in (NOBODY, THIS_THREAD) or store.has_other_calls(key))

    def _begin(self) -> bool:
        global _locks_count
        with _lock:
            if self.is_over:
                return True
            if self.key in self.tasks:
                return False
            if _locks_count >= LOCKS_MAX:
                if self.store.task_is_elsewhere(self.key):
                    return False
            elif self.store.begin_task(self.key):
                self.has_lock = True
                _locks_count += 1
            else:
                return False
            self.tasks[self.key] = self
            self.is_begun = True
            return True

    def end(self) -> None:
        """Its result is stored, or there is none."""
        global _locks_count
        with _lock:
            self.is_over, self.future = True, None
            if self.tasks.get(self.key) is not self:  # also in a child, which has none of its parent's
                return
            del self.tasks[self.key]
            if self.has_lock:
                _locks_count -= 1
                self._unlock()

    def _unlock(self) -> None:
        if _ended(self.store, self.key):
            return
        for memo in list(_memo_stores.memos):  # while one has a store of the file, the file's locks are kept
            if memo.path == self.path and _ended(memo._store, self.key):
                return


def _ended(store: Any, key: bytes) -> bool:
    try:
        return store.end_task(key)
    except MemoError:  # it is closed
        return False


def _after_fork_in_child() -> None:
    global _lock, _locks_count
    _lock, _locks_count = threading.RLock(), 0
    for tasks in _tasks.values():
        tasks.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
