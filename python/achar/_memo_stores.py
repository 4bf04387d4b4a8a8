"""The stores of this process: one for each file and durability, whoever opens it, and what opening a file takes."""

from __future__ import annotations

import os
import stat
import threading
import warnings
import weakref

from . import _memo, _memo_names
from ._memo import MemoDamaged, MemoError, Moved, NotAMemo
from ._memo_errors import MemoDamagedWarning

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

DURABILITY = {"process": 0, "power": 1}

# The stores of this process, by path and durability: who opens a file twice has one store.
_stores: weakref.WeakValueDictionary[tuple[str, str], Any] = weakref.WeakValueDictionary()
_opening = threading.RLock()
memos: weakref.WeakSet[Any] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Threads that are not here may have had these locks."""
    global _opening
    _opening = threading.RLock()
    for memo in memos:
        memo._counting = threading.Lock()
    _memo.after_fork_in_child()


os.register_at_fork(
    before=_memo.before_fork,
    after_in_parent=_memo.after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


def shared_store(path: str, durability: str, instead_of: Any = None) -> Any:
    with _opening:
        store = _stores.get((path, durability))
        if store is None or store is instead_of:
            inode = _inode(path)  # before it is opened: of the one that is damaged
            try:
                store = _open(path, durability)
            except MemoDamaged as error:
                store = _salvaged(path, durability, error, inode)
            _stores[path, durability] = store
        return store


def _inode(path: str) -> int | None:
    try:
        status = os.stat(path)
    except OSError:  # none is there, or opening it says what is wrong
        return None
    if not stat.S_ISREG(status.st_mode):
        raise NotAMemo(f"{path}: it is a {'directory' if stat.S_ISDIR(status.st_mode) else 'device or pipe'}")
    return status.st_ino


def replace_damaged(path: str, durability: str, damaged: Any, error: Exception) -> bool:
    """A new file in the place of a damaged one; the other memos that use it find out by themselves. False: there is
    another already."""
    with _opening:
        if _stores.get((path, durability)) is not damaged:
            return False
        del _stores[path, durability]
        _stores[path, durability] = _salvaged(path, durability, error, damaged.inode)
        return True


def _salvaged(path: str, durability: str, error: Exception, inode: int | None) -> Any:
    from . import _memo_salvage

    report = _memo_salvage.salvage(path, error, inode)
    if report:
        warnings.warn(report, MemoDamagedWarning, stacklevel=6)
    return _open(path, durability)


def _open(path: str, durability: str) -> Any:
    while True:
        try:
            store = _memo.Store(path, DURABILITY[durability])
            _memo_names.note(path)
            return store
        except Moved:  # a salvaged file is to take its place
            from . import _memo_salvage

            _memo_salvage.finish(path)
        except MemoDamaged:
            raise
        except MemoError as error:
            raise type(error)(f"{path}: {error}") from None
