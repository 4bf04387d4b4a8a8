"""Calls that are pickled when they are submitted, and go to the workers when the futures in their arguments have ended.

So it is where the runtime cannot wait for them itself: with a memo, whose key is made of their results
(_memo_tasks.py); with futures of other executors (_held.py); for an actor's process, which does what it gets in
order (_turns.py). What is pickled has a mark for each future, and is read with the results, or the futures
themselves, in the marks' places.

A task that waits so is not known to the pool yet. Whoever asks for its result submits it himself, if the thread that
serves callbacks has not; shutdown() waits until all have been submitted.
"""

from __future__ import annotations

import concurrent.futures
import io
import threading
import time

from . import Pickler, Unpickler, _calls
from ._strangers import LOOK_S, LOOKS, is_strange, others_work
from .executor import Future

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


_waiting: dict[WaitingFuture, Any] = {}  # and the executors; changed in one step each


class _Marking(Pickler):
    def __init__(self, file: Any, inputs: list[concurrent.futures.Future]) -> None:
        super().__init__(file)
        self.inputs = inputs

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, concurrent.futures.Future):
            return None
        for i, known in enumerate(self.inputs):
            if known is obj:
                return i
        self.inputs.append(obj)
        return len(self.inputs) - 1


class _Filling(Unpickler):
    def __init__(self, file: Any, results: list[Any]) -> None:
        super().__init__(file)
        self.results = results

    def persistent_load(self, pid: int) -> Any:
        return self.results[pid]


class Snapshot:
    """A call as it was when it was submitted. inputs: a list that gets the futures in its arguments."""

    def __init__(self, inputs: list[Any], fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.inputs, self.name = inputs, _calls.name_of(fn)
        file = io.BytesIO()
        _Marking(file, self.inputs).dump((args, kwargs, fn))
        self._bytes = file.getvalue()

    def call(self) -> Call:
        """With the results of the inputs, which have ended; raises what one of them raised."""
        return self._filled([future.result() for future in self.inputs])

    def call_with_inputs(self) -> Call:
        """As it was: with the inputs themselves."""
        return self._filled(self.inputs)

    def _filled(self, items: list[Any]) -> Call:
        args, kwargs, fn = _Filling(io.BytesIO(self._bytes), items).load()
        return fn, args, kwargs


class WaitingFuture(Future):
    """The future of a task that waits for its inputs, and then of the task that is submitted with them."""

    __slots__ = ()
    _is_dropped = False  # it is cancelled, or about to be, and is not submitted any more

    def _start(
        self, snapshot: Snapshot, submit: Callable[[Snapshot], concurrent.futures.Future], executor: Any
    ) -> None:
        self._snapshot, self._submit = snapshot, submit
        self._lock = threading.Lock()
        self._inner: concurrent.futures.Future | None = None
        _waiting[self] = executor
        for future in snapshot.inputs:
            future.add_done_callback(self._look)

    def _look(self, _: object = None) -> None:
        if all(future.done() for future in self._snapshot.inputs):
            self._go_on()

    def _go_on(self) -> None:
        """Submit, once; the inputs have ended."""
        with self._lock:
            if self._inner is not None or self._is_dropped or super().done():
                return
            try:
                self._inner = self._submit(self._snapshot)
            except BaseException as error:
                self._inner = concurrent.futures.Future()
                self._inner.set_exception(error)
        self._leave()
        self._inner.add_done_callback(self._take)

    def _leave(self) -> None:
        _waiting.pop(self, None)

    def _take(self, inner: concurrent.futures.Future) -> None:
        """For wait(), as_completed() and callbacks; who asks for the result asks 'inner'."""
        if inner.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
        elif inner.exception() is not None:
            self.set_exception(inner.exception())
        else:
            self.set_result(inner.result())

    def _wait(self, timeout: float | None) -> tuple[concurrent.futures.Future | None, float | None]:
        """What has been submitted, and the time that is left."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for future in self._snapshot.inputs:
            if self._inner is not None or super().done():
                break
            try:
                future.exception(None if deadline is None else max(0, deadline - time.monotonic()))
            except concurrent.futures.CancelledError:
                pass
        else:
            self._go_on()
        return self._inner, None if deadline is None else max(0, deadline - time.monotonic())

    def _wait_for_end(self) -> None:
        """Until it waits no longer for its inputs, or nobody is left who could end them: then it fails."""
        looks = 0
        while True:
            try:
                if self._wait(LOOK_S)[0] is not None or super().done():
                    return
            except concurrent.futures.TimeoutError:  # of an input
                pass
            unfinished = [each for each in self._snapshot.inputs if not each.done()]
            looks = looks + 1 if unfinished and all(map(is_strange, unfinished)) and not others_work() else 0
            if looks == LOOKS:
                self._give_up()

    def _give_up(self) -> None:
        from .errors import _input_failed

        why = RuntimeError("its executor ends, and nobody is left who could end this future: no executor does it")
        with self._lock:
            if self._inner is not None or self._is_dropped or super().done():
                return
            self._inner = concurrent.futures.Future()
            self._inner.set_exception(_input_failed(self._snapshot.name, None, why))
        self._leave()
        self._inner.add_done_callback(self._take)

    def result(self, timeout: float | None = None) -> Any:
        """As Future.result()."""
        inner, left = self._wait(timeout)
        return super().result(left) if inner is None else inner.result(left)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As Future.exception()."""
        inner, left = self._wait(timeout)
        return super().exception(left) if inner is None else inner.exception(left)

    def cancel(self) -> bool:
        """As Future.cancel(); the tasks that it waits for go on."""
        with self._lock:  # not while callbacks run, which may ask for this future, or for another that waits for it
            inner = self._inner
            self._is_dropped = inner is None
        if inner is not None:
            return inner.cancel()
        cancelled = super().cancel()
        if cancelled:
            self._leave()
        return cancelled

    def running(self) -> bool:
        return self._inner is not None and self._inner.running()


def before_shutdown(executor: Any, waits: bool, cancels: bool) -> bool:
    """Those of an executor that is to take no more tasks are submitted, or cancelled. True: another thread shuts it
    down when that is done."""
    mine = [future for future, where in list(_waiting.items()) if where is executor]
    if cancels:
        for future in mine:
            future.cancel()
    elif mine and not waits:
        threading.Thread(target=executor.shutdown, name="achar shutdown").start()
        return True
    for future in mine:
        future._wait_for_end()
    return False


def before_exit() -> None:
    for future in list(_waiting):
        future._wait_for_end()
