"""``achar.Memo``: results that outlive the process, in one SQLite file.

The file is written and read in C (``src/memo``); what stands here is what is decided: what a call's key is,
what happens when a result cannot be stored or read, what is dropped when there is too much.

A result is stored as ``_achar.pack()`` writes it: in its row; compressed there, if that pays; or, if it is
large, in a file of its own in the folder ``<path>.d``, which is mapped into memory when it is read.
"""

from __future__ import annotations

import functools
import inspect
import mmap
import os
import re
import secrets
import sys
import threading
import time
import warnings
import weakref

from . import _achar, _memo, _memo_keys, _memo_origin
from ._memo import DamagedRow, MemoDamaged, MemoError, MemoFull, Moved, NotAMemo
from ._memo_origin import StaleResult

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = [
    "Memo",
    "Memoized",
    "MemoDamaged",
    "MemoDamagedWarning",
    "MemoError",
    "MemoFull",
    "MemoWarning",
    "NotAMemo",
    "StaleResult",
    "StaleResultWarning",
    "Unstorable",
]

_DURABILITY = {"process": 0, "power": 1}
_ON_STALE = ("recompute", "view", "raise", "return")

# A row's kind: what pack() or a task's result is (packed.h), and how it is stored.
_PACKED, _RAISED, _ZSTD, _BESIDE = 0b11, 4, 8, 16

INLINE_NBYTES = 64 << 10  # larger results get a file of their own
COMPRESS_NBYTES = 4 << 10  # smaller ones are not compressed
_SAMPLE_NBYTES = 64 << 10
_LEVEL = 3

_FILE_NAME = re.compile(rb"[0-9a-f]{2}/[0-9a-f]{32}-[0-9a-f]{8}")
_NO_BUFFERS = bytes(8)  # how packed bytes end that have none

_ABSENT = object()


class MemoWarning(UserWarning):
    """Something about a memo that does not keep a call from returning its result."""


class MemoDamagedWarning(MemoWarning):
    """A memo's file, or a result in it, is not what was written; what can be read is kept."""


class StaleResultWarning(MemoWarning):
    """A stored result is not used, since what it is made of has changed."""


class Unstorable(MemoError):
    """A result cannot be stored; ``result`` is what the call returned, ``__cause__`` says why."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self):
        return Unstorable, self.args


# The stores of this process, by path and durability: who opens a file twice has one store.
_stores: weakref.WeakValueDictionary[tuple[str, str], Any] = weakref.WeakValueDictionary()
_opening = threading.RLock()
_memos: weakref.WeakSet[Memo] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Threads that are not here may have had these locks."""
    global _opening
    _opening = threading.RLock()
    for memo in _memos:
        memo._counting = threading.Lock()
    _memo.after_fork_in_child()


os.register_at_fork(
    before=_memo.before_fork,
    after_in_parent=_memo.after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


def _shared_store(path: str, durability: str, instead_of: Any = None) -> Any:
    with _opening:
        store = _stores.get((path, durability))
        if store is None or store is instead_of:
            inode = _inode(path)
            try:
                store = _open(path, durability)
            except MemoDamaged as error:
                store = _salvaged(path, durability, error, inode)
            _stores[path, durability] = store
        return store


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


def _salvaged(path: str, durability: str, error: Exception, inode: int | None) -> Any:
    from . import _memo_salvage

    report = _memo_salvage.salvage(path, error, inode)
    if report:
        warnings.warn(report, MemoDamagedWarning, stacklevel=4)
    return _open(path, durability)


def _open(path: str, durability: str) -> Any:
    while True:
        try:
            return _memo.Store(path, _DURABILITY[durability])
        except Moved:  # a salvaged file is to take its place
            from . import _memo_salvage

            _memo_salvage.finish(path)


def _reopened(path: str, options: dict[str, Any]) -> Memo:
    return Memo(path, **options)


class Memo:
    """Results on disk: ``@memo`` before a function, ``memo.get`` and ``memo.put``, ``executor.options(memo=memo)``.

    path: the file; it is made where there is none. Any number of processes may use it at once.
    durability: what a result that was returned survives: "process", the death of the process at any moment;
    "power", also a loss of power.
    max_bytes: what results may take on disk; those that were used longest ago are dropped. None: no limit.
    max_age: seconds after which a result is computed again. None: never.
    on_stale: what to do with a result whose class has changed or vanished, or that another version of Python has
    written: "recompute" it, with a warning; return a "view" of it (achar.memo.StaleResult); "raise" StaleResult's
    error; "return" it if it can be read.
    unstorable: a result that cannot be pickled, or for which there is no room: "raise" achar.memo.Unstorable, or
    "return" it with a warning.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str = "process",
        max_bytes: int | None = None,
        max_age: float | None = None,
        on_stale: str = "recompute",
        unstorable: str = "raise",
    ) -> None:
        _check_choice("durability", durability, tuple(_DURABILITY))
        _check_choice("on_stale", on_stale, _ON_STALE)
        _check_choice("unstorable", unstorable, ("raise", "return"))
        if max_bytes is not None and not max_bytes >= 0:
            raise ValueError("max_bytes must be None or >= 0")
        if max_age is not None and not max_age >= 0:
            raise ValueError("max_age must be None or >= 0")
        self.path = os.path.realpath(os.fsdecode(path))  # SQLite follows links, too
        self._options = {
            "durability": durability,
            "max_bytes": max_bytes,
            "max_age": max_age,
            "on_stale": on_stale,
            "unstorable": unstorable,
        }
        self._durability, self._max_bytes, self._max_age = durability, max_bytes, max_age
        self._on_stale, self._unstorable = on_stale, unstorable
        self._counts = {"hits": 0, "misses": 0, "stored": 0, "stale": 0, "damaged": 0, "dropped": 0}
        self._counting = threading.Lock()
        self._unchecked_nbytes = 0
        self._origins = _memo_origin.Origins(self)
        self._verified: set[tuple[int, int, int]] = set()  # files whose checksum was right: inode, size, time
        self._readers: list[Any] = []
        self._use(_shared_store(self.path, durability))
        _memos.add(self)

    def _use(self, store: Any) -> None:
        self._store = store
        self._readers.append(_memo.Reader(store, self._origins.unchanged, _achar.loads_packed, _ABSENT))
        self._find = self._readers[-1].find

    def __repr__(self) -> str:
        return f"<achar.Memo {self.path!r}>"

    def __reduce__(self):
        return _reopened, (self.path, self._options)

    def __enter__(self) -> Memo:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Write down what is left to write. The file is closed when nobody in this process uses it any more."""
        store, self._store = self._store, _Closed(self.path)
        self._find = _not_here
        hits = sum(reader.hits for reader in self._readers)
        self._count("hits", hits)
        self._readers = []
        if not isinstance(store, _Closed):
            try:
                store.flush()
            except MemoError as error:
                warnings.warn(f"{self.path}: {error}", MemoWarning, stacklevel=2)

    # ---- functions

    def __call__(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        key: str | Callable[..., Any] = "code",
        ignore: Iterable[str] = (),
        exceptions: bool | type[BaseException] | tuple[type[BaseException], ...] = False,
        on_stale: str | None = None,
        unstorable: str | None = None,
    ) -> Any:
        """The function with its results in the memo; without a function, a decorator.

        key: what the function is known by. "code": what it says, closes over and calls, and the versions of installed
        modules that it names; "source": the text of the file that it is in; "name": its module and name alone.
        A callable is given the call's arguments and returns what stands for them; the function is known by "code".
        ignore: names of parameters that do not count.
        exceptions: also store what it raises: True: every Exception; or a class, or a tuple of classes.
        on_stale, unstorable: as for Memo.
        """
        make = functools.partial(
            Memoized,
            memo=self,
            key=key,
            ignore=ignore,
            exceptions=exceptions,
            on_stale=on_stale,
            unstorable=unstorable,
        )
        return make if function is None else make(function)

    # ---- results by any key

    def get(self, key: Any, default: Any = None) -> Any:
        """What was put under an equal key, or the default."""
        try:
            digest = _achar.digest_call(b"put", key)
        except Exception:
            digest = _memo_keys.of_object(key)  # which says what is wrong
        found = self._lookup(digest, self._on_stale)
        return default if found is _ABSENT else found

    def put(self, key: Any, value: Any) -> None:
        """Store a value under a key; when this returns, it is kept. The key may be what achar.digest takes."""
        self._keep(_memo_keys.of_object(key), value, "", 0, 0)

    def __contains__(self, key: Any) -> bool:
        return self._row(_memo_keys.of_object(key)) is not None

    # ---- what is there

    def stats(self) -> dict[str, Any]:
        """What this object has done (hits, misses, stored, stale, damaged, dropped) and what the file holds
        (results, nbytes)."""
        with self._counting:
            counts = dict(self._counts)
        counts["hits"] += sum(reader.hits for reader in self._readers)
        ((results,),) = self._run("SELECT count(*) FROM result")
        return {**counts, "results": results, "nbytes": self._nbytes()}

    def functions(self) -> dict[str, int]:
        """How many results there are by the names of functions; "" has what was put()."""
        found: dict[str, int] = {}
        rows = self._run(
            "SELECT about, n FROM origin JOIN (SELECT origin o, count(*) n FROM result GROUP BY o) ON id=o"
        )
        for about, count in rows:
            name = _memo_origin.name_in(about)
            found[name] = found.get(name, 0) + count
        return found

    def invalidate(self, what: Any = None, *, key: Any = _ABSENT) -> int:
        """Drop results: all; those of a function, or of the name of one; or what was put under ``key=``.
        Returns how many. For one call of a function: ``function.invalidate(x)``."""
        if key is not _ABSENT:
            return self._drop_key(_memo_keys.of_object(key))
        if what is None:
            return self._drop("1", ())
        name = what if isinstance(what, str) else _memo_keys.name_of(what)
        rows = self._run("SELECT id, about FROM origin")
        return sum(self._drop("origin=?", (id,)) for id, about in rows if _memo_origin.name_in(about) == name)

    def prune(self, *, max_bytes: int | None = None, max_age: float | None = None) -> int:
        """Drop what is over these limits (None: the memo's own), least recently used first. Returns how many."""
        self._flush()
        dropped = 0
        max_age = self._max_age if max_age is None else max_age
        max_bytes = self._max_bytes if max_bytes is None else max_bytes
        if max_age is not None:
            dropped += self._drop("stored_ms < ?", (_now_ms() - int(max_age * 1000),))
        if max_bytes is not None:
            dropped += self._drop_least_recent(max_bytes)
        return dropped

    def check(self) -> dict[str, Any]:
        """Read everything and say what is wrong: ``results``, how many are as they were written; ``damaged``, how many
        are not; ``problems``, SQLite's words about the file. What is damaged is dropped, the file made anew if it has
        to be; files that belong to no result are removed."""
        from . import _memo_salvage

        return _memo_salvage.check(self)

    def import_parsl(self, folder: str | os.PathLike[str], functions: Iterable[Any] = ()) -> Any:
        """Take over Parsl's checkpoints: ``tasks.pkl`` in the folder, or in folders in it, torn ones too.

        functions: what the tasks called, memoized by this memo: they then find the results that Parsl has kept.
        Returns what was taken and what could not be: files, results, known, exceptions, torn, unreadable.
        """
        from . import _memo_parsl

        return _memo_parsl.import_checkpoints(self, folder, functions)

    # ---- rows

    def _count(self, what: str, number: int = 1) -> None:
        with self._counting:
            self._counts[what] += number

    def _run(self, sql: str, parameters: tuple[Any, ...] = (), write: bool = False) -> list[Any]:
        try:
            return self._store.run(sql, parameters, write)
        except Moved:
            self._reopen()
        except MemoDamaged as error:
            self._salvage(error)
        return self._store.run(sql, parameters, write)

    def _reopen(self) -> None:
        self._origins.forget()
        self._use(_shared_store(self.path, self._durability, instead_of=self._store))

    def _salvage(self, error: Exception) -> None:
        """The file is damaged: what can be read goes into a new one."""
        damaged = self._store
        with _opening:
            if _stores.get((self.path, self._durability)) is damaged:
                del _stores[self.path, self._durability]  # the other memos that use it find out by themselves
                self._count("damaged")
                store = _salvaged(self.path, self._durability, error, damaged.inode)
                _stores[self.path, self._durability] = store
        self._reopen()

    def _flush(self) -> None:
        try:
            self._store.flush()
        except Moved:
            self._reopen()

    def _row(self, key: bytes) -> Any:
        """The row, or None; a damaged one is reported and dropped."""
        try:
            row = self._store.get(key)
        except Moved:
            self._reopen()
            row = self._store.get(key)
        except DamagedRow as error:
            self._drop_damaged(key, error)
            return None
        except MemoDamaged as error:
            self._salvage(error)
            row = self._store.get(key)
        if row is not None and self._max_age is not None and _now_ms() - row[3] > self._max_age * 1000:
            return None
        return row

    def _drop_damaged(self, key: bytes, error: Exception) -> None:
        """Unless another process has dropped or replaced it meanwhile."""
        try:
            value = self._store.drop_damaged(key)
        except Moved:
            return  # the row was in a file that is there no more
        except MemoDamaged as damage:
            self._salvage(damage)
            return
        if value is not None:
            self._remove_beside(value[16:])
            self._count("damaged")
            warnings.warn(f"{self.path}: {error}; it is computed again", MemoDamagedWarning, stacklevel=5)

    def _lookup(self, key: bytes, on_stale: str) -> Any:
        """The result, a _Raised, or _ABSENT; counts."""
        found = self._find(key) if self._max_age is None else NotImplemented
        if found is not NotImplemented:
            if found is _ABSENT:
                self._count("misses")
            return found
        row = self._row(key)
        found = _ABSENT if row is None else self._read(key, row, on_stale)
        self._count("misses" if found is _ABSENT else "hits")
        return found

    def _read(self, key: bytes, row: Any, on_stale: str) -> Any:
        kind, origin, beside, _, _, value = row
        changes = self._origins.changes(origin)
        if changes:
            self._count("stale")
        if changes and on_stale != "return":
            return self._stale(row, key, changes, on_stale)
        try:
            data = self._bytes_of(kind, beside, value, key)
            value = _achar.loads_packed(kind & _PACKED, data)
            return _Raised(value) if kind & _RAISED and isinstance(value, BaseException) else value
        except _Replaced:
            row = self._row(key)
            return _ABSENT if row is None else self._read(key, row, on_stale)
        except _Lost:
            return _ABSENT
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            return self._stale(row, key, [*changes, reason], on_stale)

    def _is_stale(self, row: Any) -> bool:
        return row[1] not in self._origins.unchanged and bool(self._origins.changes(row[1]))

    def _stale(self, row: Any, key: bytes, changes: list[str], on_stale: str) -> Any:
        about = self._origins.about(row[1])
        if on_stale == "view":
            try:
                data = bytes(self._bytes_of(row[0], row[2], row[5], key))
            except _Lost:
                return _ABSENT
            return _memo_origin.StaleResult(about, changes, row[3] / 1000, row[0] & _PACKED, data)
        what = f"a result of {about.name or 'put()'} in {self.path}"
        if on_stale in ("raise", "return"):
            raise MemoError(f"{what} is stale: {'; '.join(changes)}")
        warnings.warn(f"{what} is not used: {'; '.join(changes)}", StaleResultWarning, stacklevel=5)
        return _ABSENT

    def _bytes_of(self, kind: int, beside: int, value: bytes, key: bytes) -> Any:
        """What was packed: bytes, or memory of this process alone that may be written."""
        if not kind & _BESIDE:
            data: Any = value
            if kind & _ZSTD:
                data = _memo.decompress(value[8:], int.from_bytes(value[:8], "little"))
            elif kind & _PACKED and value[-8:] != _NO_BUFFERS:
                data = bytearray(value)  # in which they are the caller's own
            return data
        nbytes, check = int.from_bytes(value[:8], "little"), int.from_bytes(value[8:16], "little", signed=True)
        path = os.path.join(self.path + ".d", value[16:].decode())
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size != beside:
                    raise _Lost
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, _Lost):
            self._lose(key, value, f"the file {path} of a result is missing or has another size")
        seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        if seen not in self._verified:
            if _memo.check(mapped) != check:
                self._lose(key, value, f"the checksum of {path} is wrong")
            self._verified.add(seen)
        return _memo.decompress(mapped, nbytes) if kind & _ZSTD else mapped

    def _lose(self, key: bytes, value: bytes, message: str) -> None:
        """The row with this value goes, if it is still there: its file cannot be read."""
        id = int.from_bytes(key[:8], "big", signed=True)
        if not self._drop("id=? AND key=? AND value=?", (id, key, value)):
            raise _Replaced
        self._count("damaged")
        warnings.warn(f"{message}; it is computed again", MemoDamagedWarning, stacklevel=6)
        raise _Lost

    def _keep(self, key: bytes, value: Any, name: str, took_ns: int, flags: int) -> None:
        """Pack and store; raises what packing does, Unstorable where the disk is full."""
        self._keep_packed(key, 1, _achar.pack(value), name, took_ns, flags)

    def _keep_packed(self, key: bytes, packed: int, data: bytes, name: str, took_ns: int, flags: int = 0) -> None:
        origin = self._origins.of_result(name, data)
        kind, row_value, beside, path = self._encoded(packed | flags, data, key)
        try:
            try:
                replaced = self._store.put(key, kind, origin, beside, _now_ms(), took_ns, row_value)
            except (Moved, MemoDamaged) as error:
                self._reopen() if isinstance(error, Moved) else self._salvage(error)
                origin = self._origins.of_result(name, data)
                replaced = self._store.put(key, kind, origin, beside, _now_ms(), took_ns, row_value)
        except BaseException:
            if path:
                _remove(path)
            raise
        if replaced is not None:
            self._remove_beside(replaced[16:])
        self._count("stored")
        if self._max_bytes is not None:
            self._unchecked_nbytes += 256 + len(row_value) + beside
            if self._unchecked_nbytes > min(self._max_bytes // 16, 16 << 20):
                self._unchecked_nbytes = 0
                self._drop_least_recent(self._max_bytes)

    def _encoded(self, kind: int, data: bytes, key: bytes) -> tuple[int, bytes, int, str | None]:
        """(kind, the row's value, the size of the file beside, its path)."""
        nbytes = len(data)
        if nbytes >= COMPRESS_NBYTES:
            frame = _compressed(data)
            if frame is not None:
                kind, data = kind | _ZSTD, frame
        if len(data) <= INLINE_NBYTES:
            return kind, nbytes.to_bytes(8, "little") + data if kind & _ZSTD else data, 0, None
        name = f"{key[:1].hex()}/{key[1:17].hex()}-{secrets.token_hex(4)}"
        path = os.path.join(self.path + ".d", name)
        try:
            _write_file(path, data, self._durability == "power")
        except OSError as error:
            raise MemoFull(f"{path}: {error.strerror}") from error
        value = nbytes.to_bytes(8, "little") + _memo.check(data).to_bytes(8, "little", signed=True) + name.encode()
        return kind | _BESIDE, value, len(data), path

    # ---- dropping

    def _nbytes(self) -> int:
        ((pages,),) = self._run("PRAGMA page_count")
        ((free,),) = self._run("PRAGMA freelist_count")
        ((size,),) = self._run("PRAGMA page_size")
        ((beside,),) = self._run("SELECT nbytes FROM beside")
        return (pages - free) * size + beside

    def _drop_key(self, key: bytes) -> int:
        return self._drop("id=? AND key=?", (int.from_bytes(key[:8], "big", signed=True), key))

    def _drop(self, where: str, parameters: tuple[Any, ...]) -> int:
        rows = self._run(f"DELETE FROM result WHERE {where} RETURNING kind, substr(value, 17, 64)", parameters, True)
        for kind, name in rows:
            if isinstance(kind, int) and kind & _BESIDE:
                self._remove_beside(name)
        self._count("dropped", len(rows))
        return len(rows)

    def _remove_beside(self, name: Any) -> None:
        """A damaged row may say anything; a file that is left over is removed by check()."""
        if isinstance(name, bytes) and _FILE_NAME.fullmatch(name):
            _remove(os.path.join(self.path + ".d", name.decode()))

    def _drop_least_recent(self, max_bytes: int) -> int:
        """Down to the limit, and a sixteenth of it further, so that not every result drops another."""
        dropped = 0
        if self._nbytes() <= max_bytes:
            return 0
        self._flush()
        while self._nbytes() > max_bytes - max_bytes // 16:
            ((count,),) = self._run("SELECT count(*) FROM result")
            rows = self._drop(
                "seq IN (SELECT result.seq FROM result LEFT JOIN recent USING(seq)"
                " ORDER BY coalesce(used_ms, stored_ms), result.seq LIMIT ?)",
                (max(1, min(10000, count // 32)),),
            )
            if not rows:
                break
            dropped += rows
        return dropped


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
        _check_choice("on_stale", on_stale, _ON_STALE)
        _check_choice("unstorable", unstorable, ("raise", "return"))
        functools.update_wrapper(self, function)
        self.memo, self._on_stale, self._unstorable = memo, on_stale, unstorable
        self._exceptions = (
            {True: Exception, False: ()}.get(exceptions, exceptions) if isinstance(exceptions, bool) else exceptions
        )
        self._keys = _memo_keys.Keys(function, key, ignore)
        self._asks_parsl = False  # Memo.import_parsl()
        self._arguments = {"key": key, "ignore": tuple(self._keys.ignored), "exceptions": exceptions,
                           "on_stale": on_stale, "unstorable": unstorable}  # fmt: skip

    def __repr__(self) -> str:
        return f"<{_memo_keys.name_of(self.__wrapped__)} in {self.memo!r}>"

    def __reduce__(self):
        return _memoized, (self.__wrapped__, self.memo, self._arguments)

    def __get__(self, obj: Any, cls: type | None = None) -> Any:
        import types

        return self if obj is None else types.MethodType(self, obj)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        key = self._keys.of_call(args, kwargs)
        if key is None:  # the arguments do not fit: the function says so
            return self.__wrapped__(*args, **kwargs)
        found = self.memo._lookup(key, self._on_stale)
        if found is _ABSENT and self._asks_parsl:
            found = self._imported(key, args, kwargs)
        if found is _ABSENT:
            return self._compute(key, args, kwargs)
        if type(found) is _Raised:
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
        key = self._keys.of_call(args, kwargs)
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
        found = _ABSENT if row is None else memo._read(parsl_key, row, self._on_stale)
        if found is not _ABSENT:
            memo._keep(key, found, _memo_keys.name_of(self.__wrapped__), 0, 0)
            with memo._counting:
                memo._counts["hits"] += 1
                memo._counts["misses"] -= 1
        return found

    def _compute(self, key: bytes, args: Any, kwargs: Any) -> Any:
        memo = self.memo
        store = memo._store
        mine = store.begin(key)
        try:
            if mine:
                row = memo._row(key)  # somebody else may have been at it just now
                found = _ABSENT if row is None or memo._is_stale(row) else memo._read(key, row, self._on_stale)
                if type(found) is _Raised:
                    raise found.error
                if found is not _ABSENT:
                    return found
            start = time.perf_counter_ns()
            try:
                with self._keys.computing():
                    result, raised = self.__wrapped__(*args, **kwargs), None
            except BaseException as error:
                if not isinstance(error, self._exceptions):
                    raise
                result, raised = None, error
            took_ns = time.perf_counter_ns() - start
            self._store(key, result, raised, took_ns)
            if raised is not None:
                raise raised
            return result
        finally:
            if mine:
                store.end(key)

    def _store(self, key: bytes, result: Any, raised: Any, took_ns: int) -> None:
        name = _memo_keys.name_of(self.__wrapped__)
        try:
            self.memo._keep(key, result if raised is None else raised, name, took_ns, 0 if raised is None else _RAISED)
        except Exception as error:
            if raised is not None:
                warnings.warn(f"what {name} raised cannot be stored: {error}", MemoWarning, stacklevel=5)
                return
            unstorable = _unstorable(self.memo, name, result, error)
            if self._unstorable == "raise":
                raise unstorable from error
            warnings.warn(str(unstorable), MemoWarning, stacklevel=5)


def _unstorable(memo: Memo, name: str, result: Any, error: Exception) -> Unstorable:
    return Unstorable(f"the result of {name} cannot be stored in {memo.path}: {error}", result)


def _memoized(function: Any, memo: Memo, arguments: dict[str, Any]) -> Memoized:
    return Memoized(function, memo=memo, **arguments)


class _Raised:
    """What a call has raised, found in the memo."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Lost(Exception):
    """A row's file cannot be used."""


class _Replaced(_Lost):
    """The row has been replaced or dropped since it was read, and its file with it."""


def _not_here(key: bytes) -> Any:
    return NotImplemented


class _Closed:
    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        raise MemoError(f"the memo {self._path} is closed")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _compressed(data: bytes) -> bytes | None:
    """A zstd frame, if it is a good deal shorter; three samples are tried first."""
    if len(data) > 4 * _SAMPLE_NBYTES:
        middle = len(data) // 2
        view = memoryview(data)
        sample = b"".join(view[at : at + _SAMPLE_NBYTES // 3] for at in (0, middle, len(data) - _SAMPLE_NBYTES // 3))
        frame = _memo.compress(sample, 1)
        if frame is None or len(frame) > len(sample) * 3 // 4:
            return None
    frame = _memo.compress(data, _LEVEL)
    return frame if frame is not None and len(frame) <= len(data) * 3 // 4 else None


def _write_file(path: str, data: bytes, to_disk: bool) -> None:
    """A file that is there whole or not at all."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        parent = os.path.dirname(folder)  # <path>.d
        os.makedirs(folder, exist_ok=True)
        if to_disk:
            _sync_folder(parent)
            _sync_folder(os.path.dirname(parent))
    unfinished = path + ".new"
    try:
        with open(unfinished, "wb") as file:
            file.write(data)
            if to_disk:
                file.flush()
                os.fsync(file.fileno())
        os.rename(unfinished, path)
    except BaseException:
        _remove(unfinished)
        raise
    if to_disk:
        _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
