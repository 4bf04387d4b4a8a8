"""Tasks with a memo that wait until somebody else has computed the same; who that may be: _memo_flights."""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time

from . import _achar, _memo
from ._deferred import WaitingFuture, _waiting
from ._memo_flights import PAUSE_FIRST_S, PAUSE_LAST_S

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._deferred import Snapshot
    from ._memo_flights import Flight

LOOKED_AT = 256  # of the futures that wait, each time

_lock = threading.Lock()
_pending: dict[AfterFlight, None] = {}  # oldest first
_watcher: threading.Thread | None = None


class AfterFlight(WaitingFuture):
    """The future of a task that waits for somebody else's computing of the same, and then is done, or submitted."""

    __slots__ = ()

    def _start_after(
        self, flight: Flight, snapshot: Snapshot, submit: Callable[[Snapshot], Any], executor: Any
    ) -> None:
        global _watcher
        self._snapshot, self._submit, self._flight = snapshot, submit, flight
        self._lock = threading.Lock()
        self._inner: concurrent.futures.Future | None = None
        _waiting[self] = executor
        with _lock:
            _pending[self] = None
            if _watcher is None or not _watcher.is_alive():
                _watcher = threading.Thread(target=_watch, name="achar-memo", daemon=True)
                _watcher.start()

    def _advance(self) -> bool:
        """Whether it waits no longer."""
        if self._inner is None and not self.done():
            try:
                if not self._flight.is_ready():
                    return False
            except Exception:  # it is closed, or memory is short: what is submitted then says so
                pass
            self._go_on()
        return True

    def _leave(self) -> None:
        super()._leave()
        _pending.pop(self, None)

    def _wait(self, timeout: float | None) -> tuple[concurrent.futures.Future | None, float | None]:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, left = PAUSE_FIRST_S, timeout
        while not self._advance() and (left is None or left > 0):
            _memo.await_landing(pause if left is None else min(pause, left))
            pause = min(pause * 2, PAUSE_LAST_S)
            left = None if deadline is None else max(0, deadline - time.monotonic())
        return self._inner, left

    def cancel(self) -> bool:
        """As Future.cancel(); what it waits for goes on."""
        cancelled = super().cancel()
        if cancelled and self._inner is None:
            self._flight.end()
        return cancelled


def _watch() -> None:
    global _watcher
    _achar.never_wait_for_room()
    pause, first = PAUSE_FIRST_S, 0
    while True:
        with _lock:
            waiting = list(_pending)
            if not waiting:
                _watcher = None
                return
        first = first if first < len(waiting) else 0
        moved = [future for future in waiting[first : first + LOOKED_AT] if future._advance()]
        first += LOOKED_AT - len(moved)
        pause = PAUSE_FIRST_S if moved else min(pause * 2, PAUSE_LAST_S)
        _memo.await_landing(pause)


def _after_fork_in_child() -> None:
    global _lock, _watcher
    _lock, _watcher = threading.Lock(), None
    _pending.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
