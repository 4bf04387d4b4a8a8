"""What ``executor.options(memo=memo)`` adds to submit(): a result that the memo has needs no worker.

A result is stored when it arrives, in the bytes that the worker has written: nothing is unpickled for it. The thread
that serves callbacks does that, or whoever asks for the result sooner: when result() returns, it is stored.
"""

from __future__ import annotations

import threading
import warnings

from . import _memo_keys
from ._memo_errors import MemoWarning
from ._memo_function import Memoized
from ._memo_rows import ABSENT, Raised
from .executor import Future
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
                returned = future._bytes()
                if returned is not None:
                    self.memo._keep_packed(self.key, *returned, self.name, 0)
            except Exception as error:
                text = f"the result of {self.name} cannot be stored in {self.memo.path}: {error}"
                warnings.warn(text, MemoWarning, stacklevel=3)
            finally:
                future._keep_bytes(False)
                self.tasks.ended(self.key, future)


class Tasks:
    """A memo, and the calls that are under way."""

    def __init__(self, memo: Memo) -> None:
        if not isinstance(memo, Memo):
            raise TypeError("memo must be an achar.Memo")
        self._memo = memo
        self._keys: dict[int, tuple[Any, _memo_keys.Keys]] = {}
        self._under_way: dict[bytes, Future] = {}
        self._lock = threading.Lock()

    def submit(self, options: TaskOptions, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
        memo, on_stale = self._memo, self._memo._on_stale
        if isinstance(fn, Memoized):
            memo, on_stale, keys, fn = fn.memo, fn._on_stale, fn._keys, fn.__wrapped__
        else:
            keys = self._keys_of(fn)
        try:
            key = keys.of_call(args, kwargs)
            if key is None:  # the arguments do not fit: the function says so
                return options._submit(fn, args, kwargs)
            other = self._under_way.get(key)
            if other is not None and not other.done():
                return other
            found = memo._lookup(key, on_stale)
            future = options._submit(fn, args, kwargs) if found is ABSENT else _ended(found)
        except Exception as error:
            if options._executor._pool.closed:
                raise
            return _failed(error)
        if found is not ABSENT:
            return future
        with self._lock:  # not around _submit(), which may wait for room that _store() is to make
            other = self._under_way.setdefault(key, future)
            if other is not future and not other.done() and future.cancel():
                return other
            self._under_way[key] = future
        storing = _Storing(self, memo, key, _memo_keys.name_of(fn))
        future._keep_bytes(True)
        future.__class__ = StoredFuture
        future._storing = storing
        future.add_done_callback(storing.store)
        return future

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


def _ended(found: Any) -> Future:
    """A future that has ended already."""
    if type(found) is Raised:
        return _failed(found.error)
    future = Future()
    future.set_result(found)
    return future


def _failed(error: BaseException) -> Future:
    future = Future()
    future.set_exception(error)
    return future
