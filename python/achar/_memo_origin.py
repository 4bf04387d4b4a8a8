"""What many results of a memo have in common, and whether it is still so: who made them, with which classes."""

from __future__ import annotations

import importlib
import json
import sys
import time
import weakref

from . import _achar, _memo
from ._memo_keys import _PYTHON

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any


class About:
    """An origin: the function's name, the version of Python, and the digests of the classes by their names."""

    __slots__ = ("classes", "name", "python")

    def __init__(self, name: str, python: str, classes: dict[str, str]) -> None:
        self.name, self.python, self.classes = name, python, classes

    def text(self) -> str:
        return json.dumps([self.name, self.python, self.classes], sort_keys=True, ensure_ascii=False)


def _parsed(text: str) -> About:
    return About(*json.loads(text))


def name_in(text: str) -> str:
    return _parsed(text).name


class Origins:
    """The origins in a memo's file."""

    def __init__(self, memo: Any) -> None:
        self._memo = memo
        self.forget()

    def forget(self) -> None:
        self._numbers: dict[str, int] = {}
        self._abouts: dict[int, About] = {}
        self.unchanged: set[int] = set()  # numbers of origins that are as they were
        self._without_classes: dict[str, int] = {}

    def of_result(self, name: str, data: bytes) -> int:
        """The number of the origin of what pack() wrote."""
        named = _achar.globals_named(data)
        if not named:
            number = self._without_classes.get(name)
            if number is None:
                number = self._without_classes[name] = self._number(About(name, _PYTHON, {}).text())
            return number
        classes = {}
        for module, qualname in named:
            try:
                digest = _class_digest(module, qualname)
            except _Vanished:
                continue
            if digest:
                classes[f"{module}:{qualname}"] = digest
        return self._number(About(name, _PYTHON, classes).text())

    def _number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            find = "SELECT id FROM origin WHERE about=?"
            rows = self._memo._run(find, (text,))
            if not rows:
                check = _memo.check(text.encode("utf-8", "surrogatepass"))
                self._memo._run("INSERT OR IGNORE INTO origin(about, checksum) VALUES(?, ?)", (text, check), True)
                rows = self._memo._run(find, (text,))
            number = self._numbers[text] = rows[0][0]
        return number

    def about(self, number: int) -> About:
        about = self._abouts.get(number)
        if about is None:
            about = self._abouts[number] = self._read(number)
        return about

    def _read(self, number: int) -> About:
        for table in ("origin", "origin_again"):
            for text, check in self._memo._run(f"SELECT about, checksum FROM {table} WHERE id=?", (number,)):
                if _memo.check(text.encode("utf-8", "surrogatepass")) == check:
                    return _parsed(text)
        return About("?", "", {})

    def changes(self, number: int) -> list[str]:
        """What is no longer as it was when results of this origin were stored."""
        if number in self.unchanged:
            return []
        about = self.about(number)
        changes = []
        if not about.python:
            changes.append("what it is made of is not known any more")
        elif about.python != _PYTHON:
            changes.append(f"it was written by Python {about.python}, this is {_PYTHON}")
        for where, digest in about.classes.items():
            module, _, qualname = where.partition(":")
            try:
                is_same = _class_digest(module, qualname) == digest
            except _Vanished as vanished:
                changes.append(f"the class {module}.{qualname} is not there any more{vanished}")
                continue
            if not is_same:
                changes.append(f"the class {module}.{qualname} has changed since")
        if not changes and not about.classes:  # which may change, with a module that is loaded again
            self.unchanged.add(number)
        return changes


_digests: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()


class _Vanished(Exception):
    """A class cannot be found; the text says why, if there is more to say."""


def _class_digest(module: str, qualname: str) -> str:
    """Of a class of the user's own; "": nothing that could change; raises _Vanished."""
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ModuleNotFoundError, AttributeError):
        raise _Vanished from None
    except Exception as error:  # its module may raise anything when it is imported
        raise _Vanished(f" ({type(error).__name__}: {error})") from error
    if not isinstance(found, type) or module.partition(".")[0] in sys.stdlib_module_names or module == "achar._v1":
        return ""
    digest = _digests.get(found)
    if digest is None:
        try:
            digest = _digests[found] = _achar.digest(found)[:32]
        except Exception:
            digest = _digests[found] = ""  # a class that cannot be identified cannot be compared
    return digest


class StaleResult:
    """A stored result that is not what it would be today: what has changed, and what can be had of it.

    name: the function's. python: the version that wrote it. changes: what has changed, as texts. stored: when, in
    seconds since 1970. ``load()`` makes the object all the same, or raises; ``pickle`` is what it is made from.
    """

    def __init__(self, about: About, changes: list[str], stored: float, kind: int, data: bytes) -> None:
        self.name, self.python, self.classes = about.name, about.python, sorted(about.classes)
        self.changes, self.stored = changes, stored
        self._kind, self._data = kind, data

    def load(self) -> Any:
        return _achar.loads_packed(self._kind, self._data)

    @property
    def pickle(self) -> bytes:
        return self._data

    def __repr__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.stored))
        return f"<stale result of {self.name or 'put()'}, stored {when}: {'; '.join(self.changes)}>"
