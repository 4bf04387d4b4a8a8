"""The errors and warnings of achar.memo."""

from __future__ import annotations

from ._memo import MemoError

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any


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


for _class in (MemoWarning, MemoDamagedWarning, StaleResultWarning, Unstorable):
    _class.__module__ = "achar.memo"  # where they are found
