"""What ``executor.options(memo=memo)`` adds to submit(): a result that the memo has needs no worker.

A result is stored when it arrives, in the bytes that the worker has written: nothing is unpickled for it. The thread
that serves callbacks does that, or whoever asks for the result sooner: when result() returns, it is stored.
"""

from __future__ import annotations

import concurrent.futures
import threading
import warnings

from . import _achar, _memo_inputs, _memo_keys
from ._memo_errors import MemoWarning
from ._memo_function import Memoized
from ._memo_rows import ABSENT, Raised
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
        value = super().result(timeout)
        self._storing.store(self)
        return value


_stored_classes: dict[type, type] = {Future: StoredFuture}


def _stored_class(plain: type) -> Any:
    """The same of another executor's futures."""
    found = _stored_classes.get(plain)
    if found is None:

        def result(self: Any, timeout: float | None = None) -> Any:
            value = plain.result(self, timeout)
            self._storing.store(self)
            return value

        found = _stored_classes[plain] = type(f"Stored{plain.__name__}", (plain,), {"result": result})
    return found


def _packed(future: Any) -> tuple[int, bytes] | None:
    """What a task returned, in bytes; None: it did not return."""
    if isinstance(future, Future):
        return future._bytes()
    if future.cancelled() or future.exception() is not None:
        return None
    return 1, _achar.pack(concurrent.futures.Future.result(future))


class _Storing:
    """Storing of a task's result, once."""

    def __init__(self, tasks: Tasks, memo: Memo, key: bytes, name: str) -> None:
        self.tasks, self.memo, self.key, self.name = tasks, memo, key, name
        self.lock = threading.Lock()
        self.is_done = False

    def store(self, future: Future) -> None:
        with self.lock:
            if self.is_done:
                return
            self.is_done = True
            try:
                returned = _packed(future)
                if returned is not None:
                    self.memo._keep_packed(self.key, *returned, self.name, 0)
            except Exception as error:
                text = f"the result of {self.name} cannot be stored in {self.memo.path}: {error}"
                warnings.warn(text, MemoWarning, stacklevel=3)
            finally:
                if isinstance(future, Future):
                    future._keep_bytes(False)
                self.tasks.ended(self.key, future)


class _Call:
    """What is called, and what is asked for the result."""

    __slots__ = ("function", "keys", "memo", "on_stale")

    def __init__(self, memo: Memo, on_stale: str, keys: _memo_keys.Keys, function: Any) -> None:
        self.memo, self.on_stale, self.keys, self.function = memo, on_stale, keys, function


def _never(*inputs: Any) -> None:
    raise AssertionError("its inputs have failed")


class Tasks:
    """A memo, and the calls that are under way."""

    def __init__(self, memo: Memo) -> None:
        if not isinstance(memo, Memo):
            raise TypeError("memo must be an achar.Memo")
        self._memo = memo
        self._keys: dict[int, tuple[Any, _memo_keys.Keys]] = {}
        self._under_way: dict[bytes, Future] = {}
        self._lock = threading.Lock()

    def submit(self, options: TaskOptions, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._call_of(fn)
        try:
            key = call.keys.of_call(args, kwargs)
        except Exception as error:
            inputs: list[Any] = []
            try:
                snapshot = _memo_inputs.Snapshot(inputs, call.function, args, kwargs)
            except Exception as other:
                return _failed(other if inputs else error)
            return self._submit_later(options, call, snapshot) if inputs else _failed(error)
        return self._submit(options, call, key, args, kwargs)

    def _submit(self, options: TaskOptions, call: _Call, key: bytes | None, args: Any, kwargs: Any) -> Any:
        if key is None:  # the arguments do not fit: the function says so
            return options._submit(call.function, args, kwargs)
        other = self._under_way.get(key)
        if other is not None and not other.done():
            return other
        try:
            found = call.memo._lookup(key, call.on_stale)
        except Exception as error:
            return _failed(error)
        if found is not ABSENT:
            return _ended(found, options._executor)
        future = options._submit(call.function, args, kwargs)
        with self._lock:  # not around _submit(), which may wait for room that _store() is to make
            other = self._under_way.setdefault(key, future)
            if other is not future and not other.done() and future.cancel():
                return other
            self._under_way[key] = future
        storing = _Storing(self, call.memo, key, _memo_keys.name_of(call.function))
        if isinstance(future, Future):
            future._keep_bytes(True)
        future.__class__ = _stored_class(type(future))
        future._storing = storing
        future.add_done_callback(storing.store)
        return future

    def _submit_later(self, options: TaskOptions, call: _Call, snapshot: _memo_inputs.Snapshot) -> Any:
        """When the futures in the arguments have returned: the function is the one of now."""
        identity = call.keys.identity()

        def submit(snapshot: _memo_inputs.Snapshot) -> Any:
            if any(one.cancelled() or one.exception() is not None for one in snapshot.inputs):
                return options._submit(_never, tuple(snapshot.inputs), {})  # fails as all tasks do whose inputs have
            now = call
            function, args, kwargs = snapshot.call()
            if call.keys.identity() != identity:
                now = _Call(call.memo, call.on_stale, call.keys.of_other(function), function)
            return self._submit(options, now, now.keys.of_call(args, kwargs), args, kwargs)

        future = _memo_inputs.WaitingFuture()
        future._start(snapshot, submit, options._executor)
        return future

    def _call_of(self, fn: Any) -> _Call:
        if isinstance(fn, Memoized):
            return _Call(fn.memo, fn._on_stale, fn._keys, fn.__wrapped__)
        return _Call(self._memo, self._memo._on_stale, self._keys_of(fn), fn)

    def _keys_of(self, fn: Any) -> _memo_keys.Keys:
        known = self._keys.get(id(fn))
        if known is None or known[0] is not fn:
            if len(self._keys) >= _FUNCTIONS_MAX:
                self._keys.clear()
            known = self._keys[id(fn)] = (fn, _memo_keys.Keys(fn, "code", ()))
        return known[1]

    def ended(self, key: bytes, future: Future) -> None:
        with self._lock:
            if self._under_way.get(key) is future:
                del self._under_way[key]


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
