"""What tasks print and log, in the client: the thread that gives it to sys.stdout, sys.stderr and logging.

The runtime reads the workers' pipes, whoever is slow here (src/runtime/pool/output.h).
"""

from __future__ import annotations

import contextlib
import sys
import threading

from . import _achar

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from typing import Any

MODES = {"inherit": 0, "discard": 1, "plain": 2, "tagged": 2}
TEXT, RECORD, DROPPED = range(3)  # src/runtime/pool/pool.h


def start(pool: _achar.Pool, mode: str) -> threading.Thread | None:
    if MODES[mode] != 2:
        return None
    thread = threading.Thread(target=forward, args=(pool, mode == "tagged"), name="achar-output", daemon=True)
    thread.start()
    return thread


def forward(pool: _achar.Pool, tagged: bool) -> None:
    while True:
        pieces = pool.take_output()
        if pieces is None:
            return
        written: list[tuple[int, str]] = []  # runs of text for one descriptor: one write each
        for kind, worker, pid, descriptor, number, data, name, count, nbytes in pieces:
            if kind == RECORD:
                _write(written)
                written.clear()
                _log(data, worker, pid, number, name)
                continue
            if kind == DROPPED:
                text = (
                    f"achar: {count} lines ({nbytes} bytes) of worker {worker}'s output were dropped: nobody read it\n"
                )
            else:
                text = data.decode("utf-8", "replace")
                if tagged:
                    tag = f"[worker {worker}" + (f" · task {number}" if number else "")
                    tag += f" {name.decode('utf-8', 'replace')}] " if name else "] "
                    text = "".join([tag + line for line in text.splitlines(keepends=True)])
                    if not text.endswith("\n"):
                        text += "\n"
            if written and written[-1][0] == descriptor:
                written[-1] = descriptor, written[-1][1] + text
            else:
                written.append((descriptor, text))
        _write(written)


def _write(runs: list[tuple[int, str]]) -> None:
    for descriptor, text in runs:
        stream = sys.stdout if descriptor == 1 else sys.stderr  # as they are now: notebooks and tests replace them
        try:
            stream.write(text)
            stream.flush()
        except UnicodeEncodeError:
            with contextlib.suppress(Exception):
                stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
                stream.flush()
        except Exception:  # noqa: BLE001, S110
            pass  # it is closed, None, or broken: print() here would fail, too, and a task is not to blame


def _log(data: bytes, worker: int, pid: int, number: int, name: bytes) -> None:
    """A record that a task has logged goes the way of a record that was logged here."""
    import logging

    try:
        record: Any = logging.makeLogRecord(_achar.loads(data))
        record.achar_worker, record.achar_task, record.achar_name = worker, number, name.decode("utf-8", "replace")
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception:
        # A filter or a handler of the program's raised, as handlers do not when they follow logging's rules.
        # It may be asked again here; then there is nobody left to tell.
        with contextlib.suppress(Exception):
            logging.getLogger("achar").exception("a record of worker %d (pid %d) could not be logged", worker, pid)
