"""What ``executor.options(memo=memo)`` adds to submit(): a result that the memo has needs no worker.

A result is stored when it arrives, in the bytes that the worker has written: nothing is unpickled for it. The thread
that serves callbacks does that, or whoever asks for the result sooner: when result() returns, it is stored.
"""

from __future__ import annotations

import concurrent.futures
import functools
import threading
import warnings
from concurrent.futures import BrokenExecutor

from . import _achar, _deferred, _memo_after, _memo_flights, _memo_keys, errors
from ._memo_errors import MemoWarning, Unstorable
from ._memo_function import Memoized
from ._memo_rows import ABSENT, RAISED, Raised
from ._threads import ThreadExecutor
from .executor import Executor, Future
from .memo import Memo

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

    from ._options import TaskOptions

_FUNCTIONS_MAX = 256


class StoredFuture(Future):
    """The future of a task whose result a memo keeps."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> Any:
        """As Future.result(); when this returns, the memo has it."""
        return self._storing.result(super().result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As Future.exception(); when this returns, the memo has what it keeps."""
        return self._storing.exception(super().exception, timeout)


_stored_classes: dict[type, type] = {Future: StoredFuture}


def _stored_class(plain: type) -> Any:
    """The same of another executor's futures."""
    found = _stored_classes.get(plain)
    if found is None:

        def result(self: Any, timeout: float | None = None) -> Any:
            return self._storing.result(functools.partial(plain.result, self), timeout)

        def exception(self: Any, timeout: float | None = None) -> BaseException | None:
            return self._storing.exception(functools.partial(plain.exception, self), timeout)

        methods = {"result": result, "exception": exception}
        found = _stored_classes[plain] = type(f"Stored{plain.__name__}", (plain,), methods)
    return found


# What did not come from the task's function; TimeoutError may have, if the task has no time limit.
_NOT_RAISED = (
    BrokenExecutor,
    concurrent.futures.CancelledError,
    errors.EnvironmentDiffers,
    errors.InputFailed,
    errors.TaskAbandoned,
    errors.TaskCancelled,
    errors.Unreadable,
    errors.WorkerDied,
)


class _Storing:
    """Storing of what a task returned or raised, once."""

    def __init__(
        self, tasks: Tasks, call: _Call, under_way: tuple[Any, bytes], flight: _memo_flights.Flight, has_limit: bool
    ) -> None:
        self.tasks, self.call, self.under_way, self.has_limit = tasks, call, under_way, has_limit
        self.flight = flight
        self.name = _memo_keys.name_of(call.function)
        self.lock = threading.Lock()
        self.is_done = False
        self.error: Exception | None = None  # why what it returned could not be stored
        # The identity that the function must have still, where it runs in this process.
        self.identity: bytes | None = None

    def result(self, ask: Any, timeout: float | None) -> Any:
        try:
            value = ask(timeout)
        except BaseException:
            self.store(self.future)
            raise
        self.store(self.future)
        if self.error is not None and self.call.unstorable == "raise":
            raise Unstorable(self._text(), value) from self.error
        return value

    def exception(self, ask: Any, timeout: float | None) -> BaseException | None:
        error = ask(timeout)
        self.store(self.future)
        if error is None and self.error is not None and self.call.unstorable == "raise":
            error = Unstorable(self._text(), self._returned())
            error.__cause__ = self.error
        return error

    def _returned(self) -> Any:
        return self.plain.result(self.future, 0)

    def _text(self) -> str:
        return f"the result of {self.name} cannot be stored in {self.call.memo.path}: {self.error}"

    def watch(self, future: Any) -> None:
        self.future, self.plain = future, type(future)
        if isinstance(future, Future):
            future._keep_bytes(True)
        future.__class__ = _stored_class(self.plain)
        future._storing = self
        future.add_done_callback(self.store)

    def store(self, future: Any) -> None:
        if not future.done():
            return
        with self.lock:
            if self.is_done:
                return
            self.is_done = True
            try:
                if self.identity is not None and self.call.keys.identity() != self.identity:
                    self.call.keys.warn_of_changes(stacklevel=4)
                else:
                    self._store_returned() or self._store_raised()
            finally:
                if isinstance(future, Future):
                    future._keep_bytes(False)
                self.tasks.ended(self.call.memo, self.under_way, future)
                self.flight.end()

    def _store_returned(self) -> bool:
        """False: it did not return."""
        future = self.future
        if isinstance(future, Future):
            returned = future._bytes()
            if returned is None:
                return False
        elif future.cancelled() or self.plain.exception(future, 0) is not None:
            return False
        try:
            packed, data = returned if isinstance(future, Future) else (1, _achar.pack(self._returned()))
            self.call.memo._keep_packed(self.under_way[1], packed, data, self.name, 0)
        except Exception as error:
            self.error = error
            if self.call.unstorable != "raise":
                warnings.warn(self._text(), MemoWarning, stacklevel=5)
        return True

    def _store_raised(self) -> None:
        future = self.future
        if not self.call.exceptions or future.cancelled():
            return
        error = self.plain.exception(future, 0)
        if not isinstance(error, self.call.exceptions):
            return
        if isinstance(future, Future):
            if not future._has_raised():
                return
        elif isinstance(error, _NOT_RAISED) or (self.has_limit and isinstance(error, TimeoutError)):
            return
        try:
            if isinstance(error, errors.RemoteError):
                raise TypeError(error.reason)
            self.call.memo._keep(self.under_way[1], error, self.name, 0, RAISED)
        except Exception as why:
            warnings.warn(f"what {self.name} raised cannot be stored: {why}", MemoWarning, stacklevel=5)


class _Call:
    """What is called, and what is asked for the result."""

    __slots__ = ("exceptions", "function", "keys", "memo", "memoized", "on_stale", "unstorable")

    def __init__(self, memo: Memo, memoized: Memoized | None, keys: _memo_keys.Keys, function: Any) -> None:
        self.memo, self.memoized, self.keys, self.function = memo, memoized, keys, function
        self.on_stale, self.unstorable, self.exceptions = memo._on_stale, memo._unstorable, ()
        if memoized is not None:
            self.on_stale, self.unstorable = memoized._on_stale, memoized._unstorable
            self.exceptions = memoized._exceptions

    def found(self, key: bytes, args: Any, kwargs: Any) -> Any:
        """What is stored, a Raised, or ABSENT."""
        found = self.memo._lookup(key, self.on_stale)
        if found is ABSENT and self.memoized is not None and self.memoized._asks_parsl:
            found = self.memoized._imported(key, args, kwargs)
        return found


def _never(*inputs: Any) -> None:
    raise AssertionError("its inputs have failed")


class Tasks:
    """A memo for what an options object submits; the calls that are under way are the memo's."""

    def __init__(self, memo: Memo) -> None:
        if not isinstance(memo, Memo):
            raise TypeError("memo must be an achar.Memo")
        self._memo = memo
        self._keys: dict[int, tuple[Any, _memo_keys.Keys]] = {}

    def submit(self, options: TaskOptions, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._call_of(fn)
        try:
            identity = call.keys.identity()
            key = call.keys.of_call(identity, args, kwargs)
        except Exception as error:
            inputs: list[Any] = []
            try:
                snapshot = _deferred.Snapshot(inputs, call.function, args, kwargs)
            except Exception as other:
                return _failed(other if inputs else error)
            return self._submit_later(options, call, snapshot) if inputs else _failed(error)
        return self._submit(options, call, identity, key, args, kwargs)

    def _submit(
        self, options: TaskOptions, call: _Call, identity: bytes, key: bytes | None, args: Any, kwargs: Any
    ) -> Any:
        if key is None:  # the arguments do not fit: the function says so
            return options._submit(call.function, args, kwargs)
        executor, memo = options._executor, call.memo
        under_way = executor, key
        other = memo._under_way.get(under_way)
        if other is not None:
            if not other.done():
                return other
            storing = getattr(other, "_storing", None)
            if storing is not None:  # its result is to be found
                storing.store(other)
        try:
            found = call.found(key, args, kwargs)
        except Exception as error:
            return _failed(error)
        if found is not ABSENT:
            return _ended(found, executor)
        flight = _memo_flights.Flight(memo, key)
        if not flight.is_ready() and _memo_flights.may_wait():
            waiting = self._submit_after(options, call, identity, flight, args, kwargs)
            if waiting is not None:
                return waiting
        return self._submit_begun(options, call, identity, flight, args, kwargs, None)

    def _submit_after(
        self, options: TaskOptions, call: _Call, identity: bytes, flight: _memo_flights.Flight, args: Any, kwargs: Any
    ) -> Any:
        """When somebody else has computed it, as the call is now. None: it cannot be kept so long."""
        memo, under_way = call.memo, (options._executor, flight.key)
        try:
            snapshot = _deferred.Snapshot([], call.function, args, kwargs)
        except Exception:
            return None
        waiting = _memo_after.AfterFlight()

        def submit(snapshot: _deferred.Snapshot) -> Any:
            try:
                function, args, kwargs = snapshot.call()
                now, now_identity = call, call.keys.identity()
                if now_identity != identity:
                    now = _Call(memo, call.memoized, call.keys.of_other(function), function)
                    now_identity = now.keys.identity()
                if now.keys.of_call(now_identity, args, kwargs) == flight.key:
                    return self._submit_begun(options, now, now_identity, flight, args, kwargs, waiting)
                flight.end()
                return options._submit(function, args, kwargs)
            except BaseException:
                flight.end()
                raise

        with memo._counting:
            other = memo._under_way.get(under_way)
            if other is not None and not other.done():
                flight.end()
                return other
            memo._under_way[under_way] = waiting
        waiting.add_done_callback(lambda waiting: self.ended(memo, under_way, waiting))
        waiting._start_after(flight, snapshot, submit, options._executor)
        return waiting

    def _submit_begun(
        self, options: TaskOptions, call: _Call, identity: bytes, flight: _memo_flights.Flight, args: Any, kwargs: Any,
        waiting: Any,
    ) -> Any:  # fmt: skip
        """What another has stored before it was this one's turn; else a task. 'waiting': the future that it is for."""
        executor, memo = options._executor, call.memo
        under_way = executor, flight.key
        try:
            is_absent = memo._store.is_still_absent(flight.key) or memo._row(flight.key) is None
            if not is_absent and (found := call.found(flight.key, args, kwargs)) is not ABSENT:
                flight.end()
                return _ended(found, executor)
            future = flight.future = options._submit(call.function, args, kwargs)
        except BaseException:
            flight.end()
            raise
        try:
            return self._watch(options, call, identity, flight, waiting)
        except BaseException:  # an interrupt, or a warning that is an error
            self.ended(memo, under_way, future)
            flight.end()
            raise

    def _watch(
        self, options: TaskOptions, call: _Call, identity: bytes, flight: _memo_flights.Flight, waiting: Any
    ) -> Any:
        """The task that computes it from now on: the flight's, or one that another thread has submitted before."""
        executor, memo, future = options._executor, call.memo, flight.future
        under_way = executor, flight.key
        with memo._counting:  # not around _submit(), which may wait for room that _store() is to make
            other = memo._under_way.setdefault(under_way, future)
            if other not in (future, waiting) and not other.done() and future.cancel():
                flight.end()
                return other
            memo._under_way[under_way] = future
        storing = _Storing(self, call, under_way, flight, options._options[0] is not None)
        if isinstance(executor, ThreadExecutor):
            storing.identity = identity
        elif call.keys.identity() != identity:  # another thread has changed it: what was sent may be either
            self.ended(memo, under_way, future)
            flight.end()
            call.keys.warn_of_changes(stacklevel=5)
            return future
        storing.watch(future)
        return future

    def _submit_later(self, options: TaskOptions, call: _Call, snapshot: _deferred.Snapshot) -> Any:
        """When the futures in the arguments have returned: the function is the one of now."""
        identity = call.keys.identity()

        def submit(snapshot: _deferred.Snapshot) -> Any:
            if any(one.cancelled() or one.exception() is not None for one in snapshot.inputs):
                return options._submit(_never, tuple(snapshot.inputs), {})  # fails as all tasks do whose inputs have
            now = call
            function, args, kwargs = snapshot.call()
            if call.keys.identity() != identity:
                now = _Call(call.memo, call.memoized, call.keys.of_other(function), function)
            now_identity = now.keys.identity()
            return self._submit(options, now, now_identity, now.keys.of_call(now_identity, args, kwargs), args, kwargs)

        future = _deferred.WaitingFuture()
        future._start(snapshot, submit, options._executor)
        return future

    def _call_of(self, fn: Any) -> _Call:
        if isinstance(fn, Memoized):
            return _Call(fn.memo, fn, fn._keys, fn.__wrapped__)
        return _Call(self._memo, None, self._keys_of(fn), fn)

    def _keys_of(self, fn: Any) -> _memo_keys.Keys:
        known = self._keys.get(id(fn))
        if known is None or known[0] is not fn:
            if len(self._keys) >= _FUNCTIONS_MAX:
                self._keys.clear()
            known = self._keys[id(fn)] = (fn, _memo_keys.Keys(fn, "code", ()))
        return known[1]

    def ended(self, memo: Memo, under_way: tuple[Any, bytes], future: Any) -> None:
        with memo._counting:
            if memo._under_way.get(under_way) is future:
                del memo._under_way[under_way]


def _ended(found: Any, executor: Any) -> Any:
    """A future that has ended already."""
    if type(found) is Raised:
        return _failed(found.error)
    if not isinstance(executor, Executor):  # in threads, or in a task: a future of theirs
        return executor.put(found)
    future = Future()
    future.set_result(found)
    return future


def _failed(error: BaseException) -> Future:
    future = Future()
    future.set_exception(error)
    return future
