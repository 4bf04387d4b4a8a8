"""Futures of what a task has submitted, called, or put; and what runs there, with their results in their places.

As an argument of a task's own submit() or call, such a future is a number in what is sent (input_of); the client makes
the future of that number an argument of the task, and run_packed() finds the result.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading

from . import _achar
from ._frames import CANCEL, WAIT, WAITER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._nested import Link

REFERENCE = 1  # of packed.h's kinds
WAIT_TOLD_S = 0.1  # most waits end sooner


def lost(reason: object) -> RuntimeError:
    return RuntimeError(f"the connection to the client was lost: {reason}")


_inputs: list[tuple] = []  # of the calls that are being opened, the innermost last


def opened(packed: bytes, inputs: tuple) -> Any:
    _inputs.append(inputs)
    try:
        return _achar.loads(packed)
    finally:
        _inputs.pop()


_task = 0  # of a task of a task: its number in the client


def run_packed(task: int, packed: bytes, *inputs: Any) -> Any:
    """What a nested call is for the client: the task that makes it."""
    global _task
    _task = task
    fn, args, kwargs = opened(packed, inputs)
    return fn(*args, **kwargs)


def input_of(index: int) -> Any:
    return _inputs[-1][index]


class NestedFuture(concurrent.futures.Future):
    """The future of a task that a task has submitted."""

    _collecting = threading.local()
    _packed: bytes | None = None

    def __init__(self, link: Link, number: int, parent: int) -> None:
        super().__init__()
        self._link, self._number, self._parent = link, number, parent

    def result(self, timeout: float | None = None) -> Any:
        return self._ask(super().result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return self._ask(super().exception, timeout)

    def _ask(self, ask: Callable[[float | None], Any], timeout: float | None) -> Any:
        """The client hears of a wait without end, which another may be, see _waits.py."""
        if timeout is not None or threading.current_thread() is not threading.main_thread():
            return ask(timeout)
        with self._condition:
            if not self.done():
                self._condition.wait(WAIT_TOLD_S)
        if self.done():
            return ask(None)
        link, is_told = self._link, False
        try:
            with contextlib.suppress(ConnectionError):  # then it has failed
                link.send(WAIT, self._number, WAITER.pack(_task, os.getpid()))
                is_told = True
            return ask(None)
        finally:
            if is_told and not self.done():
                with contextlib.suppress(ConnectionError):
                    link.send(WAIT, self._number)

    def __reduce__(self) -> Any:
        inputs = getattr(self._collecting, "inputs", None)
        if inputs is None:
            raise TypeError("a future of a nested task can be an argument of submit(), or what a task returns")
        if self._link is not self._collecting.link:
            raise lost("and this future with it")
        inputs.append(self._number)
        return input_of, (len(inputs) - 1,)

    def __del__(self) -> None:
        self._link.released.append(self._number)  # told at the task's end: this may run anywhere

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled:
            with contextlib.suppress(ConnectionError):  # it has ended, for which the client cancels all of it
                self._link.send(CANCEL, self._number)
        return cancelled


class NestedReference(NestedFuture):
    """What a task has put: bytes, which go to the client when a task of this one's needs them.

    When the task returns it, they are its result, and the future of that is a reference in the client.
    """

    def __init__(self, obj: Any) -> None:
        concurrent.futures.Future.__init__(self)
        self._link, self._number = None, 0
        self._packed = _achar.pack(obj)
        self.set_result(None)

    def result(self, timeout: float | None = None) -> Any:
        return _achar.loads_packed(REFERENCE, self._packed)

    def __reduce__(self) -> Any:
        if getattr(self._collecting, "inputs", None) is not None and self._link is not self._collecting.link:
            link = self._collecting.link
            self._link, self._number = link, link.put(self._packed)
        return super().__reduce__()

    def __del__(self) -> None:
        if self._link is not None:
            super().__del__()


class CallFuture(NestedFuture):
    """The future of a call that a task has made of an actor."""


class Check(concurrent.futures.Future):
    """The client's answer to a CHECK."""

    _parent = None
