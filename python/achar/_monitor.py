"""Executor(monitor=path): the record of a run, which all its pools tell (``src/record`` writes it; docs/record.md)."""

from __future__ import annotations

import os
import sys
import threading
import warnings

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

EXECUTOR, NESTED, ACTOR, ENVIRONMENT = range(4)  # what a pool is for
JOIN_SECONDS = 40  # longer than the record itself waits for who has its file locked


class Monitor:
    """A run's record, and what the pool is for that it is handed to.

    Only the executor that was given the path closes and joins it; the others just tell it.
    """

    def __init__(self, record: Any, path: str, kind: int = EXECUTOR) -> None:
        self.record, self.path, self.kind = record, path, kind
        self.told = False
        self.lock = threading.Lock()

    def part(self, kind: int) -> Monitor:
        return Monitor(self.record, self.path, kind)

    def journal(self) -> object:
        return self.record.journal(self.kind)

    def close(self) -> None:
        if self.kind == EXECUTOR:
            self.record.close()

    def join(self) -> None:
        """Until the file has what there is to tell; says so, once, if it has not."""
        if self.kind != EXECUTOR:
            return
        written = self.record.join(JOIN_SECONDS)
        dropped, reason = self.record.trouble()
        with self.lock:
            if (written and not dropped) or self.told:
                return
            self.told = True
        what = f"{dropped} events of this run are missing" if dropped else "what is last of this run is not there yet"
        warnings.warn(f"{self.path}: {what}{': ' if reason else ''}{reason}", RuntimeWarning, stacklevel=3)


def open_run(monitor: object, workers: int) -> Monitor:
    if isinstance(monitor, Monitor):
        return monitor
    path = os.fspath(monitor)  # type: ignore[call-overload]
    try:
        from ._record import Record
    except ModuleNotFoundError:
        raise RuntimeError("this achar was built without SQLite: it cannot record") from None
    program = sys.argv[0] if sys.argv and sys.argv[0] not in ("", "-c") else None
    version = "{}.{}.{}".format(*sys.version_info)
    return Monitor(Record(path, program, version, workers), os.fsdecode(path))
