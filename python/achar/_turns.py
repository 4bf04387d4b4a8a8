"""Calls of an actor that wait: for futures in their arguments that have not ended, or for a call before them that does.

An actor's process does what it gets in the order in which it gets it. So a call is held here until the futures in its
arguments have ended and all calls of the same caller before it have been sent or cancelled. Each task is a caller of
its own: what it waits for may have to be done before a call of another's that waits. The arguments of a held call were
pickled when it was made, with a mark for each future; the process puts the results there. If one of them has failed,
the call fails as tasks do whose inputs have failed, and the next one has its turn.
"""

from __future__ import annotations

import collections
import concurrent.futures
import threading
import time
from typing import Any

from . import _achar, _actor
from ._deferred import Snapshot, WaitingFuture, _waiting
from .executor import Executor, Future


class Turns:
    """The calls of one actor by one caller that are held, in their order."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.held: collections.deque[HeldCall] = collections.deque()
        self.lock = threading.RLock()
        self.is_sending = False  # by one thread at a time

    def hold(self, title: str, name: str | None, args: tuple, kwargs: dict) -> Future:
        """A call of the method 'name'; None: one that a task has packed, see Actor._call_packed()."""
        if self.executor._pool.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        try:
            snapshot = Snapshot([], None, args, kwargs)
            _achar.dumps([future for future in snapshot.inputs if not isinstance(future, Future)])  # refused, mostly
        except Exception as error:  # as that of a call that need not wait
            failed = Future()
            failed.set_exception(error)
            return failed
        call = HeldCall()
        call._begin(self, snapshot, title, name)
        for future in snapshot.inputs:
            future.add_done_callback(call._look)
        self.go_on()
        return call

    def before(self, call: HeldCall) -> list[HeldCall]:
        """And that call itself; none if it has been sent."""
        with self.lock:
            held = list(self.held)
        return held[: held.index(call) + 1] if call in held else []

    def go_on(self) -> None:
        """Sends those whose turn it is. Where another thread is at it, that one goes on with what is ready."""
        while True:
            with self.lock:
                if self.is_sending or not self.held or not self.held[0]._is_ready():
                    return
                self.is_sending, call = True, self.held[0]
            try:  # without the lock: it may wait for room, and pickle what runs code of the user's
                sent = call._send()
            except BaseException:  # an interrupt: it is still held
                self.is_sending = False
                raise
            with self.lock:
                self.held.popleft()  # only now: a new call may pass when there is none
                self.is_sending = False
            if sent is None:
                continue
            if call._method is None and isinstance(sent, Future):
                sent._keep_bytes(True)  # they go to the task as they are
            sent.add_done_callback(call._take)


class HeldCall(WaitingFuture):
    """The future of a call that is held, and then of the one that is sent."""

    __slots__ = ()

    def _begin(self, turns: Turns, snapshot: Snapshot, title: str, name: str | None) -> None:
        self._turns, self._snapshot, self._title, self._method = turns, snapshot, title, name
        self._lock, self._inner = threading.Lock(), None
        with turns.lock:
            _waiting[self] = turns.executor
            turns.held.append(self)

    def _look(self, _: object = None) -> None:
        self._turns.go_on()

    def _is_ready(self) -> bool:
        return self._is_dropped or self._inner is not None or all(future.done() for future in self._snapshot.inputs)

    def _send(self) -> concurrent.futures.Future | None:
        """None: it has been cancelled, or given up."""
        with self._lock:
            if self._is_dropped or self._inner is not None:
                return None
            packed, inputs = self._snapshot._bytes, tuple(self._snapshot.inputs)
            try:
                sent = self._turns.executor._submit_with(
                    (None, 0, 0, 0), self._title, _actor.call_held, (self._method, packed, inputs), {}
                )
                if sent is None:  # nobody would look again
                    raise TypeError("the result of a future in the arguments has a future that has not ended")
            except BaseException as error:
                sent = concurrent.futures.Future()
                sent.set_exception(error)
            self._inner = sent
        self._leave()
        return sent

    def _wait(self, timeout: float | None) -> tuple[concurrent.futures.Future | None, float | None]:
        """What has been sent, and the time that is left. Who asks for the result does what is to be done for that."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for call in self._turns.before(self):
            for future in call._snapshot.inputs:
                if Future.done(call):
                    break
                try:
                    future.exception(None if deadline is None else max(0, deadline - time.monotonic()))
                except concurrent.futures.CancelledError:
                    pass
        self._turns.go_on()
        return self._inner, None if deadline is None else max(0, deadline - time.monotonic())

    def cancel(self) -> bool:
        cancelled = super().cancel()
        self._turns.go_on()
        return cancelled

    def _bytes(self) -> tuple[int, bytes] | None:
        return self._inner._bytes() if isinstance(self._inner, Future) else None

    def _cancel_by_force(self) -> bool:
        inner = self._inner
        return inner._cancel_by_force() if isinstance(inner, Future) else self.cancel()
