"""Executor(kind="thread", monitor=path): what threads do goes into the record, told by the threads themselves.

What a task costs is in C: a ``ThreadTask`` (``src/python/record/thread_task.c``) is called in the place of the task's
call, and tells of its beginning and its end, which it does before the future has it: who has seen all results finds all
of them recorded. What ends otherwise, its future tells.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

from . import _record
from ._monitor import Monitor
from ._threads import ThreadFuture
from ._worker import type_and_text
from .errors import InputFailed

_LINE_NBYTES = 160
_OPEN = ("PENDING", "RUNNING")  # states of a Future


def _line_of(error: BaseException) -> bytes:
    """As workers tell it: the type and the text, in UTF-8."""
    kind, text = type_and_text(error)
    line = f"{kind}: {text[:_LINE_NBYTES]}" if text else kind
    utf8 = line.replace("\0", "\\x00").encode("utf-8", "backslashreplace")
    return utf8[:_LINE_NBYTES].decode("utf-8", "ignore").encode()  # no half character


class RecordedFuture(ThreadFuture):
    """Tells of the ends that its task's call does not see."""

    _task: Any

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled:
            self._task.ended(_record.CANCELLED, None)
        return cancelled

    def set_exception(self, exception: BaseException | None) -> None:
        self._tell(exception)
        super().set_exception(exception)

    def _tell(self, error: BaseException | None) -> None:
        if error is not None:
            state = _record.INPUT_FAILED if isinstance(error, InputFailed) else _record.ABANDONED
            self._task.ended(state, _line_of(error))


class Recorder:
    """What an executor of threads tells the record of its run."""

    def __init__(self, monitor: Monitor, threads: Any) -> None:
        self.monitor, self._threads = monitor, threads
        self.task, self.again = threads.task, threads.again
        self.part, self.join = monitor.part, monitor.join

    def submitted(self, future: Any, task: Any, waits: bool) -> Any:
        """The future, which tells of its end from now on; it may have one already."""
        future._task = task
        future.__class__ = RecordedFuture
        task.submitted(waits)
        if future._state not in _OPEN:
            if future.cancelled():
                task.ended(_record.CANCELLED, None)
            else:
                future._tell(concurrent.futures.Future.exception(future))
        return future

    def retried(self, error: Exception) -> None:
        self._threads.retried(_line_of(error))

    def close(self) -> None:
        self._threads.close()
        self.monitor.close()


def recorder(monitor: Monitor) -> Recorder | None:
    """None: the run is over."""
    threads = monitor.record.threads(monitor.kind, _line_of)
    return None if threads is None else Recorder(monitor, threads)
