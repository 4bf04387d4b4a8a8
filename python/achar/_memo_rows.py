"""A memo's rows, and the files beside them: how a result is stored and found, and what happens when one is damaged,
stale, or too many.

A result is stored as ``_achar.pack()`` writes it: in its row; compressed there, if that pays; or, if it is large, in a
file of its own in the folder ``<path>.d``, which is mapped into memory when it is read.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import time
import warnings

from . import _achar, _memo, _memo_keys, _memo_origin, _memo_stores
from ._memo import DamagedRow, MemoDamaged, MemoError, MemoFull, Moved
from ._memo_errors import MemoDamagedWarning, StaleResultWarning
from ._memo_files import compressed, remove, write_file

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

# A row's kind: what pack() or a task's result is (packed.h), and how it is stored.
_PACKED, RAISED, _ZSTD, _BESIDE = 0b11, 4, 8, 16

INLINE_NBYTES = 64 << 10  # larger results get a file of their own
COMPRESS_NBYTES = 4 << 10  # smaller ones are not compressed
_VERIFIED = 10_000  # so many files are remembered as whole

_FILE_NAME = re.compile(rb"[0-9a-f]{2}/[0-9a-f]{32}-[0-9a-f]{8}")
_NO_BUFFERS = bytes(8)  # how packed bytes end that have none

ABSENT = object()


class FoundRow(tuple):
    """A row that Reader.find() leaves to us."""

    __slots__ = ()


class Raised:
    """What a call has raised, found in the memo."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Lost(Exception):
    """A row's file cannot be used."""


class _Replaced(_Lost):
    """The row has been replaced or dropped since it was read, and its file with it."""


class Rows:
    """What achar.Memo stands on."""

    _store: Any
    _origins: _memo_origin.Origins

    path: str
    _durability: str
    _max_bytes: int | None
    _max_age: float | None

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
        self._use(_memo_stores.shared_store(self.path, self._durability, instead_of=self._store))

    def _salvage(self, error: Exception) -> None:
        """The file is damaged: what can be read goes into a new one."""
        if _memo_stores.replace_damaged(self.path, self._durability, self._store, error):
            self._count("damaged")
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
        if row is not None and self._max_age is not None and now_ms() - row[3] > self._max_age * 1000:
            return None
        return row

    def _drop_damaged(self, key: bytes, error: Exception) -> None:
        if self._drop_if_damaged(key):
            self._count("damaged")
            warnings.warn(f"{self.path}: {error}; it is computed again", MemoDamagedWarning, stacklevel=5)

    def _drop_if_damaged(self, key: bytes) -> bool:
        """The row with this key; False: another process has dropped or replaced it meanwhile."""
        try:
            value = self._store.drop_damaged(key)
        except Moved:
            return False  # the row was in a file that is there no more
        except MemoDamaged as damage:
            self._salvage(damage)
            return False
        if value is not None:
            self._remove_beside(value[16:])
        return value is not None

    def _lookup(self, key: bytes, on_stale: str) -> Any:
        """The result, a Raised, or ABSENT; counts."""
        found = self._find(key) if self._max_age is None else NotImplemented
        if type(found) is FoundRow:
            row: Any = found
        elif found is NotImplemented:
            row = self._row(key)
        else:
            if found is ABSENT:
                self._count("misses")
            return found
        found = ABSENT if row is None else self._read(key, row, on_stale)
        self._count("misses" if found is ABSENT else "hits")
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
            return Raised(value) if kind & RAISED and isinstance(value, BaseException) else value
        except _Replaced:
            row = self._row(key)
            return ABSENT if row is None else self._read(key, row, on_stale)
        except _Lost:
            return ABSENT
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
                return ABSENT
            return _memo_origin.StaleResult(about, changes, row[3] / 1000, row[0] & _PACKED, data)
        what = f"a result of {about.name or 'put()'} in {self.path}"
        if on_stale in ("raise", "return"):
            raise MemoError(f"{what} is stale: {'; '.join(changes)}")
        warnings.warn(f"{what} is not used: {'; '.join(changes)}", StaleResultWarning, stacklevel=5)
        return ABSENT

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
            if len(self._verified) >= _VERIFIED:
                self._verified.clear()
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
                replaced = self._store.put(key, kind, origin, beside, now_ms(), took_ns, row_value)
            except (Moved, MemoDamaged) as error:
                self._reopen() if isinstance(error, Moved) else self._salvage(error)
                origin = self._origins.of_result(name, data)
                replaced = self._store.put(key, kind, origin, beside, now_ms(), took_ns, row_value)
        except BaseException:
            if path:
                remove(path)
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
            frame = compressed(data)
            if frame is not None:
                kind, data = kind | _ZSTD, frame
        if len(data) <= INLINE_NBYTES:
            return kind, nbytes.to_bytes(8, "little") + data if kind & _ZSTD else data, 0, None
        name = f"{key[:1].hex()}/{key[1:17].hex()}-{secrets.token_hex(4)}"
        path = os.path.join(self.path + ".d", name)
        try:
            write_file(path, data, self._durability == "power")
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
            remove(os.path.join(self.path + ".d", name.decode()))

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


def now_ms() -> int:
    return time.time_ns() // 1_000_000
