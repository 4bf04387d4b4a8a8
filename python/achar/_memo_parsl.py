"""Parsl's checkpoints in a memo: ``tasks.pkl``, pickles of {"hash", "exception", "result"} one after another.

Parsl knows a call by an MD5 of pickles of its arguments and the function's name and module. It cannot be turned
round, so results are kept under it, and a memoized function that import_checkpoints() was given looks there
when the memo has nothing under its own key. What Parsl takes for the same (a list and a tuple of the same
items; any change of the code) is the same there, too.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import pickletools

from . import _achar, _memo_keys

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .memo import Memo, Memoized

# How the next pickle may begin, where a torn one has to be passed over.
_BEGINNINGS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


class Imported:
    """What import_parsl() took and what it could not.

    files: the checkpoints read. results: how many were taken. known: how many the memo had. exceptions: how many
    tasks had failed; they are not taken. torn: (file, offset, bytes) of pickles that are not whole. unreadable: (file,
    offset, why) of pickles that cannot be loaded here, and of things that are no checkpoint.
    """

    def __init__(self) -> None:
        self.files: list[str] = []
        self.results = self.known = self.exceptions = 0
        self.torn: list[tuple[str, int, int]] = []
        self.unreadable: list[tuple[str, int, str]] = []

    def __repr__(self) -> str:
        lines = [f"{self.results} results from {len(self.files)} checkpoints, {self.known} known before"]
        if self.exceptions:
            lines.append(f"{self.exceptions} tasks had failed and are not taken")
        lines += [f"{file}: {nbytes} bytes at {offset} are torn" for file, offset, nbytes in self.torn]
        lines += [f"{file}: the pickle at {offset} cannot be taken: {why}" for file, offset, why in self.unreadable]
        return "\n".join(lines)


def import_checkpoints(memo: Memo, folder: str | os.PathLike[str], functions: Iterable[Memoized]) -> Imported:
    report = Imported()
    for path in _checkpoints(os.fspath(folder)):
        report.files.append(path)
        with open(path, "rb") as file:
            data = file.read()
        for offset, end, whole in _pickles(data):
            if whole:
                _take(memo, report, path, offset, data[offset:end])
            else:
                report.torn.append((path, offset, end - offset))
    if not report.files:
        raise FileNotFoundError(f"there is no tasks.pkl in {os.fspath(folder)!r} or below it")
    for function in functions:
        if getattr(function, "memo", None) is not memo:
            raise TypeError(f"{function!r} is not memoized by {memo!r}")
        function._asks_parsl = True
    return report


def _checkpoints(folder: str) -> list[str]:
    if os.path.isfile(folder):
        return [folder]
    return sorted(
        os.path.join(place, name) for place, _, names in os.walk(folder) for name in names if name == "tasks.pkl"
    )


def _pickles(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """(where it begins, where it ends, whether it is whole) of each."""
    offset, file = 0, io.BytesIO(data)
    while offset < len(data):
        end = _end_of_pickle(file, offset)
        if end is not None:
            yield offset, end, True
        else:
            end = _next_beginning(data, file, offset + 1)
            yield offset, end, False
        offset = end


def _end_of_pickle(file: io.BytesIO, offset: int) -> int | None:
    file.seek(offset)
    try:
        for opcode, _, _ in pickletools.genops(file):  # noqa: B007
            pass
        return file.tell() if opcode.name == "STOP" else None
    except Exception:  # whatever genops makes of what is no pickle
        return None


def _next_beginning(data: bytes, file: io.BytesIO, start: int) -> int:
    """Where the next pickle begins that is a dict with a hash, or the end."""
    while True:
        found = [at for beginning in _BEGINNINGS if (at := data.find(beginning, start)) >= 0]
        if not found:
            return len(data)
        start = min(found)
        if b"hash" in data[start : start + 64] and _end_of_pickle(file, start) is not None:
            return start
        start += 1


def _take(memo: Memo, report: Imported, path: str, offset: int, pickled: bytes) -> None:
    try:
        entry = _achar.loads(pickled)
        known_by = entry["hash"]
        if not isinstance(known_by, str):
            raise TypeError("its hash is no text")
        if entry.get("exception") is not None:
            report.exceptions += 1
            return
        key = _memo_keys.of_object(("parsl", known_by))
        if memo._row(key) is not None:
            report.known += 1
            return
        memo._keep(key, entry["result"], "parsl", 0, 0)
        report.results += 1
    except Exception as error:
        text = str(error).partition("\n")[0]
        report.unreadable.append((path, offset, f"{type(error).__name__}: {text}"))


# ---- Parsl's hash of a call


def key_of_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], ignored: Iterable[str]) -> bytes | None:
    """The key that the result of a call was imported under; None: Parsl has no hash for these arguments."""
    named = {name: value for name, value in kwargs.items() if name not in ignored and name != "outputs"}
    try:
        parts = [_identified(kwargs["outputs"])] if "outputs" in kwargs else []
        parts += [_identified(named), _function(function), _identified(args)]
    except Exception:  # whatever the arguments make of being sorted or pickled: Parsl has no hash for them either
        return None
    return _memo_keys.of_object(("parsl", hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()))


class _Unknown(Exception):
    pass


def _function(function: Any) -> bytes:
    return pickle.dumps(["types.FunctionType", function.__name__, function.__module__])


def _identified(obj: Any) -> bytes:
    """parsl.dataflow.memoization.id_for_memo()."""
    if isinstance(obj, (str, int, float)) or obj is None:
        return pickle.dumps(obj)
    if type(obj) in (list, tuple):
        return pickle.dumps([_identified(item) for item in obj])
    if type(obj) is dict:
        return pickle.dumps([part for key in sorted(obj) for part in (_identified(key), _identified(obj[key]))])
    if callable(obj) and hasattr(obj, "__code__"):
        return _function(obj)
    raise _Unknown
