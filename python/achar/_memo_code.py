"""What a function is known by: its code, and the data that it names but for what its calls change.

What a call changes is output: a list that it appends to, a counter. A place of data, a name in a namespace or a cell,
is output for a function if a call of it has changed the place, or a call of a memoized function that it reaches. Then
it counts as what it had been before. For all other functions it stays what it is: input.

Who has changed a place is known only if no other thread could have: where there were others when a call began, what
changes during the call makes nothing output, and the call's result belongs to no key: it is not stored.
"""

from __future__ import annotations

import os
import sys
import threading
import types
import weakref

from . import _achar

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    _Places = list[tuple[Any, str | None, bytes]]  # namespace or cell, name or None, digest

_REMEDY = 'make it an argument that ignore= leaves out, or use key="name" or key="source"'
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def where(obj: Any, root: str, error: Exception, remedy: str) -> str:
    """Why an object has no digest: where in it pickling stops and why, and what to do here."""
    try:
        _achar.dumps(obj)
    except Exception as other:
        text = str(other)
        what, refused, why = text.partition(" cannot be sent\n")
        if refused:
            text = f"{what} cannot be identified\n{why.partition('  do:')[0]}  do:  {remedy}"
        return root + text[3:] if text.startswith("obj") else f"{root}: {text}"
    return f"{root}: {error}"


class Code:
    """A function by what it says, and what of its data its calls change: that is output, and no part of its key."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._watch: Any = None
        self._places: _Places = []
        # Places of data, a name in a namespace or a cell, that calls have changed, and the digests to take for them:
        # what they had been before. The owners are kept, so that no other object gets their addresses.
        self._outputs: dict[tuple[int, str | None], bytes] = {}
        self._owners: dict[int, Any] = {}

    def identify(self) -> tuple[bytes, set[str], Any]:
        """The digest, the modules whose versions count, and what says whether all is as it was."""
        try:
            found = _achar.digest_function(self._function, self._outputs)
            if self._find_outputs(found[3]):
                found = _achar.digest_function(self._function, self._outputs)
        except RecursionError:
            raise
        except Exception as error:
            name = getattr(self._function, "__name__", "function")
            raise type(error)(where(self._function, name, error, _REMEDY)) from None
        digest, modules, watch, places = found
        self._watch, self._places = watch, places
        return digest, {*modules, getattr(self._function, "__module__", None) or ""}, watch  # not another thread's

    def _find_outputs(self, places: _Places) -> bool:
        """Those of calls that are under way, and of functions that this one reaches. True: there are new ones."""
        calls, count = _calls(), len(self._outputs)
        if self in calls:  # a call of it makes this call
            self._note_changes(calls[self])
        asked = {(id(owner), name): owner for owner, name, _ in places if (id(owner), name) not in self._outputs}
        others = [code for code in {*calls, *_having_outputs()} if code is not self]
        if not asked or not others:
            return len(self._outputs) > count
        reached = _reached(self._function)
        for code in others:
            if code not in reached:
                continue
            if code in calls:
                code._note_changes(calls[code])
            for place in asked:
                before = code._outputs.get(place)
                if before is not None:
                    self._add(place, asked[place], before)
        return len(self._outputs) > count

    def _add(self, place: tuple[int, str | None], owner: Any, before: bytes) -> None:
        self._owners[place[0]] = owner
        self._outputs.setdefault(place, before)
        number = id(self)
        _with_outputs[number] = weakref.ref(self, lambda _: _with_outputs.pop(number, None))

    def _note_changes(self, places: _Places) -> bool:
        """What is not as it was is output. True: there is more of it than before."""
        count = len(self._outputs)
        for owner, name, before in places:
            place = (id(owner), name)
            if place not in self._outputs and _value_digest(owner, name) != before:
                self._add(place, owner, before)
        return len(self._outputs) > count


_with_outputs: dict[int, weakref.ref[Code]] = {}
_thread = threading.local()


def _having_outputs() -> list[Code]:
    codes = (reference() for reference in list(_with_outputs.values()))
    return [code for code in codes if code is not None]


def _calls() -> dict[Code, _Places]:
    """The functions that this thread is calling, and what their data was when the outermost call began."""
    try:
        return _thread.calls
    except AttributeError:
        _thread.calls = {}
        return _thread.calls


class Computing:
    """Around a call, or key='s: what of a function's data the call changes is output, if only the call can have."""

    __slots__ = ("_code", "_identity", "_is_alone", "_is_outermost", "_keys", "_places", "_watch")

    def __init__(self, code: Code, keys: Any, identity: bytes) -> None:
        self._code, self._keys, self._identity = code, keys, identity

    def __enter__(self) -> Computing:
        # Threads that begin after this are the call's. In this order: who is gone by now may have changed something.
        self._is_alone = len(sys._current_frames()) == 1 and self._keys.identity() == self._identity
        self._places: _Places = self._code._places if self._is_alone else []
        self._watch = self._code._watch
        calls = _calls()
        self._is_outermost = self._code not in calls
        if self._is_outermost:
            calls[self._code] = self._places
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_outermost:
            del _calls()[self._code]
        if self._is_alone and (self._watch is None or not self._watch.holds()):
            self._code._note_changes(self._places)

    def is_of_key(self) -> bool:
        """After the call: whether it was the call that the key says, for all that other threads have done."""
        return self._is_alone or self._keys.identity() == self._identity


def _value_digest(owner: Any, name: str | None) -> bytes | None:
    """As digest_function() makes it of a place's value; None: there is none any more, or none that has a digest."""
    try:
        return bytes.fromhex(_achar.digest(owner.cell_contents if name is None else owner[name]))
    except Exception:
        return None


def _reached(function: Any) -> set[Code]:
    """The memoized functions that a function may call, as far as its names tell."""
    from ._memo_function import Memoized

    found: set[Code] = set()
    seen: dict[int, Any] = {}
    stack = [function]
    while stack:
        obj = stack.pop()
        if id(obj) in seen:
            continue
        seen[id(obj)] = obj
        if isinstance(obj, Memoized):
            found.add(obj._keys.code)
            stack.append(obj.__wrapped__)
        elif isinstance(obj, types.FunctionType):
            stack.extend(_named_by(obj))
        elif isinstance(obj, (types.MethodType, staticmethod, classmethod)):
            stack.append(obj.__func__)
        elif isinstance(obj, type) and not _is_installed(obj.__module__, ""):
            stack.extend(vars(obj).values())
        elif isinstance(obj, (list, tuple)):
            stack.extend(item for item in obj if callable(item))
        elif isinstance(obj, dict):
            stack.extend(item for item in obj.values() if callable(item))
    return found


def _named_by(function: types.FunctionType) -> Iterator[Any]:
    if _is_installed(function.__module__, function.__code__.co_filename):
        return
    names: set[str] = set()
    codes = [function.__code__]
    for code in codes:
        names.update(code.co_names)
        codes.extend(const for const in code.co_consts if isinstance(const, types.CodeType))
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty
            pass
    for name in names:
        value = function.__globals__.get(name)
        yield value
        if isinstance(value, types.ModuleType) and not _is_installed(value.__name__, value.__dict__.get("__file__")):
            yield from (value.__dict__[other] for other in names if other in value.__dict__)


def _is_installed(module: Any, path: Any) -> bool:
    if isinstance(module, str) and module.partition(".")[0] in sys.stdlib_module_names:
        return module != "__main__"
    return isinstance(path, str) and any(folder in path for folder in _INSTALLED)


class Both:
    __slots__ = ("_first", "_second")

    def __init__(self, first: Any, second: Any) -> None:
        self._first, self._second = first, second

    def holds(self) -> bool:
        return self._first.holds() and self._second.holds()
