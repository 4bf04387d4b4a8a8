"""Tasks with a future in their arguments that is another executor's, or of an actor's call, and has not ended.

Those of the executor itself are the runtime's to wait for. A task with another's is pickled when it is submitted, and
submitted to the runtime when all futures in it have ended (_deferred.py says who does that). The result of the
other's passes through this process; if it has failed, the task fails as those do whose inputs have failed.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

from . import _achar
from ._deferred import Snapshot, WaitingFuture
from ._nested_futures import run_packed
from .executor import Executor, Future


class HeldTask(WaitingFuture):
    """Its future."""

    __slots__ = ()

    def _bytes(self) -> tuple[int, bytes] | None:
        return self._inner._bytes() if isinstance(self._inner, Future) else None

    def _cancel_by_force(self) -> bool:
        cancelled, inner = self.cancel(), self._inner
        return inner._cancel_by_force() if isinstance(inner, Future) else cancelled


def hold(
    executor: Executor, options: tuple[Any, ...] | None, name: str | None, fn: Any, args: tuple, kwargs: dict | None
) -> Future:
    try:
        snapshot = Snapshot([], fn, args, kwargs or {})
        _achar.dumps([future for future in snapshot.inputs if not isinstance(future, Future)])  # refused, mostly
    except Exception as error:  # as that of a task that need not wait
        failed = Future()
        failed.set_exception(error)
        return failed

    def submit(snapshot: Snapshot) -> concurrent.futures.Future:
        fn, args, kwargs = snapshot.call_with_inputs()
        future = executor._submit_with(options or (None, 0, 0, 0), name or snapshot.name, fn, args, kwargs)
        if fn is run_packed and isinstance(future, Future):
            future._keep_bytes(True)  # they go to the task that has submitted this one, as they are
        return future

    held = HeldTask()
    held._start(snapshot, submit, executor)
    return held
