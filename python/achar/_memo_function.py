"""Memoized functions: a call is looked up, or computed once and stored."""

from __future__ import annotations

import functools
import inspect
import sys
import time
import warnings

from . import _memo_flights, _memo_keys
from ._memo_errors import MemoWarning, Unstorable
from ._memo_rows import ABSENT, RAISED, Raised

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .memo import Memo

ON_STALE = ("recompute", "view", "raise", "return")


class Memoized:
    """A function with its results in a memo. ``__wrapped__`` is the function; see Memo.__call__()."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        memo: Memo,
        key: str | Callable[..., Any],
        ignore: Iterable[str],
        exceptions: Any,
        on_stale: str | None,
        unstorable: str | None,
    ) -> None:
        if isinstance(function, (staticmethod, classmethod)):
            raise TypeError(f"put @{type(function).__name__} above the memo, not below")
        if not callable(function):
            raise TypeError("a memo takes a function")
        for kind, test in (("a coroutine", inspect.iscoroutinefunction), ("a generator", inspect.isgeneratorfunction),
                           ("an asynchronous generator", inspect.isasyncgenfunction)):  # fmt: skip
            if test(function):
                raise TypeError(f"a call of {_memo_keys.name_of(function)} returns {kind}, which cannot be stored")
        on_stale = memo._on_stale if on_stale is None else on_stale
        unstorable = memo._unstorable if unstorable is None else unstorable
        check_choice("on_stale", on_stale, ON_STALE)
        check_choice("unstorable", unstorable, ("raise", "return"))
        functools.update_wrapper(self, function)
        self.memo, self._on_stale, self._unstorable = memo, on_stale, unstorable
        self._exceptions = (
            {True: Exception, False: ()}.get(exceptions, exceptions) if isinstance(exceptions, bool) else exceptions
        )
        self._keys, self._name = _memo_keys.Keys(function, key, ignore), _memo_keys.name_of(function)
        self._asks_parsl = False  # Memo.import_parsl()
        self._arguments = {"key": key, "ignore": tuple(self._keys.ignored), "exceptions": exceptions,
                           "on_stale": on_stale, "unstorable": unstorable}  # fmt: skip

    def __repr__(self) -> str:
        return f"<{_memo_keys.name_of(self.__wrapped__)} in {self.memo!r}>"

    def __reduce__(self):
        name = getattr(self, "__qualname__", None)
        if name is not None and self._is_found_as(name):
            return name  # by which its function is not to be had, as pickle would want
        return self.__reduce_by_value__()

    def __reduce_by_value__(self):
        """For achar, which sends the functions of __main__ so."""
        return _memoized, (self.__wrapped__, self.memo, self._arguments)

    def _is_found_as(self, name: str) -> bool:
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split("."):
            found = inspect.getattr_static(found, part, None)
        return found is self

    def __get__(self, obj: Any, cls: type | None = None) -> Any:
        import types

        return self if obj is None else types.MethodType(self, obj)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        identity = self._keys.identity()
        key = self._keys.of_call(identity, args, kwargs)
        if key is None:  # the arguments do not fit: the function says so
            return self.__wrapped__(*args, **kwargs)
        found = self.memo._lookup(key, self._on_stale)
        if found is ABSENT and self._asks_parsl:
            found = self._imported(key, args, kwargs)
        if found is not ABSENT:
            if type(found) is Raised:
                raise found.error
            return found
        # The function is called from here, not further below: functions that call themselves run out of frames.
        store = self.memo._store
        mine = _memo_flights.begin_call(self.memo, store, key)
        try:
            if mine and not store.is_still_absent(key) and (found := self._found_meanwhile(key)) is not ABSENT:
                return found
            start = time.perf_counter_ns()
            try:
                with self._keys.computing(identity) as computing:
                    result, raised = self.__wrapped__(*args, **kwargs), None
            except BaseException as error:
                if not isinstance(error, self._exceptions):
                    raise
                result, raised = None, error
            took_ns = time.perf_counter_ns() - start
            if computing.is_of_key():
                self._store(key, result, raised, took_ns)
            else:
                self._keys.warn_of_changes(stacklevel=3)
        finally:
            if mine:
                store.end(key)
        if raised is not None:
            raise raised
        return result

    def _found_meanwhile(self, key: bytes) -> Any:
        """Somebody else may have been at it just now."""
        memo = self.memo
        row = memo._row(key)
        found = ABSENT if row is None or memo._is_stale(row) else memo._read(key, row, self._on_stale)
        if type(found) is Raised:
            raise found.error
        return found

    def key(self, /, *args: Any, **kwargs: Any) -> str:
        """The key of this call, as 64 hexadecimal digits."""
        return self._key(args, kwargs).hex()

    def is_stored(self, /, *args: Any, **kwargs: Any) -> bool:
        """Whether the memo has a result of this call."""
        return self.memo._row(self._key(args, kwargs)) is not None

    def invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Drop the result of this call; True if there was one."""
        return bool(self.memo._drop_key(self._key(args, kwargs)))

    def _key(self, args: Any, kwargs: Any) -> bytes:
        key = self._keys.of_call(self._keys.identity(), args, kwargs)
        if key is None:
            inspect.signature(self.__wrapped__).bind(*args, **kwargs)
            raise TypeError(f"these arguments do not fit {_memo_keys.name_of(self.__wrapped__)}")
        return key

    def _imported(self, key: bytes, args: Any, kwargs: Any) -> Any:
        """What Parsl has kept of this call becomes what the memo has of it."""
        from . import _memo_parsl

        memo = self.memo
        parsl_key = _memo_parsl.key_of_call(self.__wrapped__, args, kwargs, self._keys.ignored)
        row = None if parsl_key is None else memo._row(parsl_key)
        found = ABSENT if row is None else memo._read(parsl_key, row, self._on_stale)
        if found is not ABSENT:
            memo._keep(key, found, _memo_keys.name_of(self.__wrapped__), 0, 0)
            with memo._counting:
                memo._counts["hits"] += 1
                memo._counts["misses"] -= 1
        return found

    def _store(self, key: bytes, result: Any, raised: Any, took_ns: int) -> None:
        name = self._name
        try:
            self.memo._keep(key, result if raised is None else raised, name, took_ns, 0 if raised is None else RAISED)
        except Exception as error:
            if raised is not None:
                warnings.warn(f"what {name} raised cannot be stored: {error}", MemoWarning, stacklevel=5)
                return
            unstorable = _unstorable(self.memo, name, result, error)
            if self._unstorable == "raise":
                raise unstorable from error
            warnings.warn(str(unstorable), MemoWarning, stacklevel=5)


Memoized.__module__ = "achar.memo"  # where it is found; achar.digest knows it by that, and follows __wrapped__


def _unstorable(memo: Memo, name: str, result: Any, error: Exception) -> Unstorable:
    return Unstorable(f"the result of {name} cannot be stored in {memo.path}: {error}", result)


def _memoized(function: Any, memo: Memo, arguments: dict[str, Any]) -> Memoized:
    return Memoized(function, memo=memo, **arguments)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}")
