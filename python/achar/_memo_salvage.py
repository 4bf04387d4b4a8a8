"""What can still be read of a memo's file that is damaged.

SQLite's file is read page by page, without its trees: any page may be the damaged one. Each row has a checksum
over itself, so what is found is what was written, or it is not taken. What was deleted has been overwritten, so
it does not come back. One page, and one row, is in memory at a time.
"""

from __future__ import annotations

import glob
import os
import struct
import time

from . import _memo, _memo_files

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_PAGE_NBYTES = 4096  # what SQLite makes since 2016; the header, which says it, may be what is damaged
_LEAF = 0x0D  # the first byte of a page that has rows
_RESULT_COLUMNS, _ORIGIN_COLUMNS = 10, 3
_ROWS_AT_ONCE = 1000
_ROW_NBYTES_MAX = 16 << 20  # larger results than 64 KiB stand beside the file


def salvage(path: str, error: Exception, inode: int | None) -> str | None:
    """Put a new file with all that can be read in the place of a damaged one, which is kept under another name.

    inode: of the damaged file. Returns what is to be said of it; None: another process has done it already.
    """
    excluded = _memo.exclude_writers(path)
    try:
        if os.path.exists(path + _SALVAGED):
            replace(path)
        if inode is None or _inode(path) != inode:
            return None
        kept, lost = _copied(path, error)
        kept_as = replace(path)
    finally:
        _memo.admit_writers(excluded)
    return (
        f"{path} was damaged ({error}): {kept} results are kept, {lost} others are damaged and will be computed "
        f"again; the damaged file is now {kept_as}"
    )


def finish(path: str) -> None:
    """What a process that salvaged the file did not live to do."""
    excluded = _memo.exclude_writers(path)
    try:
        replace(path)
    finally:
        _memo.admit_writers(excluded)


_SALVAGED = ".salvaged"  # as memo_store_open() knows it


def _copied(path: str, error: Exception) -> tuple[int, int]:
    """Make <path>.salvaged, whole, of what can be read. Returns how many results it has, and how many are lost."""
    _remove_unfinished(path)
    new = f"{path}.new-{os.getpid()}"
    pages = _Pages(path)
    try:
        try:
            store = _memo.Store(new, 0)
            try:
                counts = _copy(pages, store)
            finally:
                store.close()  # the last one, so its log goes into the file
            if os.path.exists(new + "-wal"):
                raise _memo.MemoFull("no room for its log")
        except _memo.MemoFull as full:
            text = f"{path} is damaged ({error}), and there is no room to write anew what can be read of it: {full}"
            raise _memo.MemoFull(text) from None
        if not counts[0] and not _was_a_memo(path, pages):
            raise _memo.NotAMemo(f"{path}: it is something else ({error})")
        _memo_files.sync(new)
        os.rename(new, path + _SALVAGED)
        _memo_files.sync(os.path.dirname(path))
    finally:
        pages.close()
        _remove_unfinished(path)
    return counts


def _was_a_memo(path: str, pages: _Pages) -> bool:
    """Whether a file in which no result is left had been one of ours, or has nothing that could be lost."""
    said = b"CREATE TABLE result(seq INTEGER PRIMARY KEY"
    with open(path, "rb") as file:
        first = file.read(_PAGE_NBYTES)  # it may be shorter than a page
    has_something = any(first)
    for _, page in pages.items():
        if said in page:
            return True
        has_something = has_something or any(page)
    return said in first or not has_something


def _remove_unfinished(path: str) -> None:
    """Ours, and those of processes that died; nobody else is at it now."""
    for left in glob.glob(glob.escape(path) + ".new-*"):
        os.unlink(left)


def replace(path: str) -> str:
    """Put <path>.salvaged in the place of the damaged file. Returns what that one is called now.

    Whoever dies in the middle of this leaves <path>.salvaged, and who opens the file next goes on here: nobody writes
    to the damaged file any more. Its log goes first, since it must never be seen beside the new file.
    """
    salvaged = path + _SALVAGED
    try:
        kept_as = _kept_as(path, os.stat(salvaged).st_mtime)
    except FileNotFoundError:
        return path  # another process was faster
    if os.path.exists(path + "-wal"):
        os.rename(path + "-wal", kept_as + "-wal")
    if os.path.exists(path + "-shm"):
        os.unlink(path + "-shm")
    if os.path.exists(path):
        os.rename(path, kept_as)
    os.rename(salvaged, path)
    _remove_unfinished(path)
    _memo_files.sync(os.path.dirname(path))
    return kept_as


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


def _kept_as(path: str, seconds: float) -> str:
    """The same name at each attempt, until the file has it."""
    name = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.localtime(seconds))}"
    number = 0
    while os.path.exists(name + (f"-{number}" if number else "")):
        number += 1
    return name + (f"-{number}" if number else "")


# ---- the file's pages


class _Pages:
    """The pages by number, as the database and its log have them; read when they are asked for."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  closed by close()
        self._count = os.fstat(self._file.fileno()).st_size // _PAGE_NBYTES
        self._log: Any = None
        self._in_log: dict[int, int] = {}  # where in it
        try:
            self._log = open(path + "-wal", "rb")  # noqa: SIM115
        except FileNotFoundError:
            return
        self._in_log = _places_in_log(self._log, _PAGE_NBYTES)

    def close(self) -> None:
        self._file.close()
        if self._log is not None:
            self._log.close()

    def __len__(self) -> int:
        return self._count + len(self._in_log)

    def __getitem__(self, number: int) -> bytes:
        if number in self._in_log:
            return os.pread(self._log.fileno(), _PAGE_NBYTES, self._in_log[number])
        if not 1 <= number <= self._count:
            raise KeyError(number)
        return os.pread(self._file.fileno(), _PAGE_NBYTES, (number - 1) * _PAGE_NBYTES)

    def items(self) -> Iterator[tuple[int, bytes]]:
        for number in range(1, self._count + 1):
            yield number, self[number]
        for number in self._in_log:
            if number > self._count:
                yield number, self[number]


def _places_in_log(file: Any, size: int) -> dict[int, int]:
    """Where the pages of whole transactions stand. A frame that is not as it was written takes its transaction along,
    not those behind it: each frame says what the sums were before it."""
    places: dict[int, int] = {}
    pending: dict[int, int] = {}
    begin = file.read(32)
    if len(begin) < 32:
        return places
    order = ">" if int.from_bytes(begin[:4], "big") & 1 else "<"
    sums, is_whole, at = _log_sums(begin[:24], order, (0, 0)), True, 32
    while len(frame := file.read(24 + size)) == 24 + size:
        head, page = frame[:24], frame[24:]
        number, commits = struct.unpack(">II", head[:8])
        if head[8:16] != begin[16:24]:  # of an earlier log
            break
        said = struct.unpack(">II", head[16:])
        is_whole = is_whole and _log_sums(page, order, _log_sums(head[:8], order, sums)) == said
        pending[number], sums = at + 24, said
        if commits:
            places.update(pending if is_whole else {})
            pending, is_whole = {}, True
        at += 24 + size
    return places


def _log_sums(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for i in range(0, len(words), 2):
        first = (first + words[i] + second) & 0xFFFFFFFF
        second = (second + words[i + 1] + first) & 0xFFFFFFFF
    return first, second


# ---- rows


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(9):
        byte = data[at + i]
        if i == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    raise AssertionError


def _payload(pages: _Pages, page: bytes, at: int) -> tuple[int, bytes]:
    """A row's number and its record, which may go on in other pages."""
    nbytes, at = _varint(page, at)
    number, at = _varint(page, at)
    usable = len(page)
    most, least = usable - 35, (usable - 12) * 32 // 255 - 23
    if nbytes <= most:
        return number, page[at : at + nbytes]
    if nbytes > min(len(pages) * usable, _ROW_NBYTES_MAX):
        raise ValueError("a size that cannot be")
    local = least + (nbytes - least) % (usable - 4)
    local = local if local <= most else least
    parts = [page[at : at + local]]
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    left = nbytes - local
    while left > 0:
        more = pages[following]
        parts.append(more[4 : 4 + min(left, usable - 4)])
        left -= usable - 4
        following = int.from_bytes(more[:4], "big")
    return number, b"".join(parts)


_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def _columns(payload: bytes) -> list[Any]:
    end, at = _varint(payload, 0)
    types = []
    while at < end:
        kind, at = _varint(payload, at)
        types.append(kind)
        if len(types) > _RESULT_COLUMNS:
            raise ValueError("too many columns")
    values: list[Any] = []
    for kind in types:
        if kind in _INTEGERS:
            nbytes = _INTEGERS[kind]
            values.append(int.from_bytes(payload[at : at + nbytes], "big", signed=True))
        elif kind in (8, 9):
            nbytes = 0
            values.append(kind - 8)
        elif kind >= 12:
            nbytes = (kind - 12) // 2
            if at + nbytes > len(payload):
                raise ValueError("too short")
            data = payload[at : at + nbytes]
            values.append(data if kind % 2 == 0 else data.decode("utf-8", "surrogatepass"))
        else:
            nbytes = 8 if kind == 7 else 0
            values.append(None)
        at += nbytes
    return values


def _rows(pages: _Pages) -> Iterator[tuple[int, list[Any]] | None]:
    """The rows of all pages, with their numbers; None: something that looks like one and cannot be read."""
    for number, page in pages.items():
        head = 100 if number == 1 else 0
        if page[head] != _LEAF:
            continue
        count = int.from_bytes(page[head + 3 : head + 5], "big")
        for i in range(min(count, len(page) // 4)):
            at = int.from_bytes(page[head + 8 + 2 * i : head + 10 + 2 * i], "big")
            try:
                row, payload = _payload(pages, page, at)
                yield row, _columns(payload)
            except (IndexError, KeyError, ValueError, AssertionError):
                yield None


def _check_of(key: bytes, numbers: list[int], value: bytes) -> int:
    """As row.c makes it."""
    return _memo.check(value, _memo.check(key + struct.pack("<5q", *numbers)))


def _is_whole(row: list[Any]) -> bool:
    key, value = row[2], row[9]
    if not isinstance(key, bytes) or not isinstance(value, bytes) or len(key) != 32:
        return False
    return all(isinstance(number, int) for number in row[3:9]) and _check_of(key, row[3:8], value) == row[8]


def _copy(pages: _Pages, store: Any) -> tuple[int, int]:
    """What is whole goes into the new file. Returns how many results that are, and how many are not."""
    kept = lost = 0
    for found in _rows(pages):
        if found is None:
            lost += 1
            continue
        number, row = found
        if len(row) == _ORIGIN_COLUMNS and isinstance(row[1], str):
            if _memo.check(row[1].encode("utf-8", "surrogatepass")) == row[2]:
                store.run("INSERT OR IGNORE INTO origin VALUES(?,?,?)", (number, row[1], row[2]), True)
        elif len(row) == _RESULT_COLUMNS:
            if not _is_whole(row):
                lost += 1
                continue
            _, _, key, *numbers, _, value = row
            known = store.get(key)  # an older page may have the row as it was
            kept += known is None
            if known is None or known[3] <= row[6]:
                store.put(key, *numbers, value)
    return kept, lost


# ---- a look at everything


def check(memo: Any) -> dict[str, Any]:
    problems = [text for (text,) in memo._run("PRAGMA integrity_check") if text != "ok"]
    if problems:
        memo._salvage(_memo.MemoDamaged(problems[0]))
    damaged = 0
    while True:
        store, files = memo._store, set[str]()
        whole, more = _look_at_rows(memo, store, files)
        damaged += more
        if memo._store is store:  # else another file has taken its place, with other numbers
            break
    memo._count("damaged", damaged)
    _remove_unknown(memo, files)
    return {"results": whole, "damaged": damaged, "problems": problems}


def _look_at_rows(memo: Any, store: Any, files: set[str]) -> tuple[int, int]:
    """How many are whole, and how many are dropped; the files of the former. Ends early if the store goes."""
    whole = damaged = 0
    after = -1
    while memo._store is store:
        sql = "SELECT seq, id, key, kind, origin, beside, stored_ms, took_ns, checksum, value FROM result"
        rows = memo._run(f"{sql} WHERE seq > ? ORDER BY seq LIMIT {_ROWS_AT_ONCE}", (after,))
        if not rows:
            break
        after = rows[-1][0]
        for row in rows:
            dropped = _dropped(memo, row, files)
            whole += dropped is None
            damaged += bool(dropped)
    return whole, damaged


def _dropped(memo: Any, row: list[Any], files: set[str]) -> int | None:
    """None: the row is whole, and so is its file. Else 1, or 0 where others have dropped or replaced it meanwhile: rows
    that they have stored since are not touched."""
    seq, id, key, value = row[0], row[1], row[2], row[9]
    if not isinstance(id, int):
        return memo._drop("seq=? AND typeof(id)<>'integer'", (seq,))
    if not _is_whole(row):
        return memo._drop_if_damaged(id.to_bytes(8, "big", signed=True) + bytes(24))
    if id != int.from_bytes(key[:8], "big", signed=True):
        return memo._drop("seq=? AND id=? AND key=?", (seq, id, key))
    if row[5]:
        name = value[16:].decode()
        if not _file_is_whole(f"{memo.path}.d/{name}", row[5], value):
            return memo._drop("id=? AND key=? AND value=?", (id, key, value))
        files.add(name)
    return None


def _file_is_whole(path: str, nbytes: int, value: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return False
    return len(data) == nbytes and _memo.check(data) == int.from_bytes(value[8:16], "little", signed=True)


def _remove_unknown(memo: Any, known: set[str]) -> None:
    """Files that were written for rows that never came. A file that is an hour old has its row, or will not get it."""
    folder = memo.path + ".d"
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            try:
                if os.path.relpath(path, folder) not in known and os.stat(path).st_mtime < time.time() - 3600:
                    os.unlink(path)
            except FileNotFoundError:  # its row has just been dropped
                pass
