"""The pools of this process until they have ended, and the end of the interpreter, which waits for them.

A pool outlives its executor: what was submitted is done. So ``living`` keeps it, with the threads that serve it, as
long as it has something to do; leaving the interpreter waits for all of them, as concurrent.futures does.
"""

from __future__ import annotations

import os
import sys
import threading

from . import _achar, _monitor

# With what is to be joined: the threads at its door, of its output and of its bar; its record.
living: dict[_achar.Pool, tuple[threading.Thread | _monitor.Monitor | None, ...]] = {}
called: set[_achar.Pool] = set()  # of actors that tasks and other actors may call: they are closed after all others
exiting = False


def start_watcher(pool: _achar.Pool) -> threading.Thread:
    """The thread that runs callbacks."""
    thread = threading.Thread(target=pool.watch, name="achar-callbacks", daemon=True)
    thread.start()
    return thread


def wait_for_end(pool: _achar.Pool) -> None:
    """Until a closed pool has done its tasks and callbacks; Ctrl-C ends the tasks."""
    try:
        pool.join()
        watcher = pool.watcher
        if watcher is not None and watcher is not threading.current_thread():
            watcher.join()
        for thread in living.get(pool, ()):
            if thread is not None and thread is not threading.current_thread():
                thread.join()
    except KeyboardInterrupt:
        pool.interrupt()
        raise
    forget(pool)


def forget(pool: _achar.Pool) -> None:
    living.pop(pool, None)
    called.discard(pool)


def forget_ended() -> None:
    for pool in list(living):
        if pool.closed and pool.join(0):
            forget(pool)


def _finish_at_exit() -> None:
    global exiting
    exiting = True
    last = getattr(sys, "last_value", None)
    interrupted = isinstance(last, KeyboardInterrupt) and not hasattr(sys, "ps1")
    deferred = sys.modules.get("achar._deferred")
    if deferred is not None and not interrupted:
        try:
            deferred.before_exit()
        except KeyboardInterrupt:
            interrupted = True
    for pool in list(living):
        if pool not in called:
            pool.close()
        for part in living[pool]:
            if isinstance(part, _monitor.Monitor):
                part.close()
        if interrupted:
            pool.interrupt()
    ctrl_c = None
    while living:
        try:
            for pool in list(living):
                if pool not in called:
                    wait_for_end(pool)
            for pool in list(living):
                pool.close()
                wait_for_end(pool)
        except KeyboardInterrupt as error:
            # It is meant for all of them; none is left unattended because of another.
            ctrl_c = error
            for pool in list(living):
                pool.interrupt()
    if ctrl_c is not None:
        raise ctrl_c


def _forget_after_fork() -> None:
    living.clear()  # they are the parent's
    called.clear()


threading._register_atexit(_finish_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget_after_fork)
