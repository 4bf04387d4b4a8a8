"""``achar.Memo``: results that outlive the process, in one SQLite file.

The file is written and read in C (``src/memo``); what is decided stands in Python: ``_memo_keys``, what a call's key
is; ``_memo_function``, memoized functions; ``_memo_rows``, how results are stored and found, and what is dropped when
there are too many; ``_memo_names`` and ``_memo_stores``, which file it is and who has it; ``_memo_salvage``, what is
done with a damaged one.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings

from . import _achar, _memo, _memo_keys, _memo_names, _memo_origin, _memo_stores
from ._memo import MemoDamaged, MemoError, MemoFull, NotAMemo
from ._memo_errors import MemoDamagedWarning, MemoWarning, StaleResultWarning, Unstorable
from ._memo_function import ON_STALE, Memoized, check_choice
from ._memo_origin import StaleResult
from ._memo_rows import ABSENT, FoundRow, Rows, now_ms

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


def _reopened(path: str, options: dict[str, Any]) -> Memo:
    return Memo(path, **options)


class Memo(Rows):
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
    wait: seconds that a call or a task waits for somebody else who computes the same; then it is computed here, too.
    None: as long as that takes, or until that process dies.
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
        wait: float | None = None,
    ) -> None:
        check_choice("durability", durability, tuple(_memo_stores.DURABILITY))
        check_choice("on_stale", on_stale, ON_STALE)
        check_choice("unstorable", unstorable, ("raise", "return"))
        if max_bytes is not None and not max_bytes >= 0:
            raise ValueError("max_bytes must be None or >= 0")
        if max_age is not None and not max_age >= 0:
            raise ValueError("max_age must be None or >= 0")
        if wait is not None and not wait >= 0:
            raise ValueError("wait must be None or >= 0")
        self.path = _memo_names.name_of(os.fsdecode(path))
        self._options = {
            "durability": durability,
            "max_bytes": max_bytes,
            "max_age": max_age,
            "on_stale": on_stale,
            "unstorable": unstorable,
            "wait": wait,
        }
        self._durability, self._max_bytes, self._max_age = durability, max_bytes, max_age
        self._on_stale, self._unstorable, self._wait = on_stale, unstorable, wait
        self._counts = {"hits": 0, "misses": 0, "stored": 0, "stale": 0, "damaged": 0, "dropped": 0}
        self._counting = threading.Lock()
        self._under_way: dict[tuple[Any, bytes], Any] = {}  # tasks, by executor and key
        self._unchecked_nbytes = 0
        self._origins = _memo_origin.Origins(self)
        self._verified: set[tuple[int, int, int]] = set()  # files whose checksum was right: inode, size, time
        self._reader: Any = None
        self._use(_memo_stores.shared_store(self.path, durability))
        _memo_stores.memos.add(self)

    def _use(self, store: Any) -> None:
        reader = _memo.Reader(store, self._origins.unchanged, _achar.loads_packed, ABSENT, FoundRow)
        self._store, self._find = store, reader.find
        self._replace_reader(reader)

    def _replace_reader(self, reader: Any) -> None:
        """The old one keeps its store open, so that it must go."""
        with self._counting:
            old, self._reader = self._reader, reader
            if old is not None:
                self._counts["hits"] += old.hits

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
        self._replace_reader(None)
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
        return default if found is ABSENT else found

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
            if self._reader is not None:
                counts["hits"] += self._reader.hits
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

    def invalidate(self, what: Any = None, *, key: Any = ABSENT) -> int:
        """Drop results: all; those of a function, or of the name of one; or what was put under ``key=``.
        Returns how many. For one call of a function: ``function.invalidate(x)``."""
        if key is not ABSENT:
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
            dropped += self._drop("stored_ms < ?", (now_ms() - int(max_age * 1000),))
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


def _not_here(key: bytes) -> Any:
    return NotImplemented


class _Closed:
    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        raise MemoError(f"the memo {self._path} is closed")
