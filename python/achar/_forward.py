"""What tasks print and log, in the worker: marked with the task that it comes from.

sys.stdout and sys.stderr write frames (src/runtime/pool/output.h) into the worker's pipes: each says
which task wrote it. What others write there (C code, child processes) goes as it is. Log records go
through the second pipe; the root logger's only handler here is the one that sends them.
"""

from __future__ import annotations

import io
import os
import struct
import sys

from . import _achar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FRAME = struct.Struct("<6sBBIII")
MAGIC = b"\0achar"
NBYTES_MAX = 4096  # such a write is not interleaved with others
NAME_MAX = 128
TEXT, RECORD_PART, RECORD = 1, 2, 3


def pipe_at(fd: int) -> tuple[int, int] | None:
    """Which file it is; None: none."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def send(fd: int, kind: int, data: Any) -> None:
    number, name = _achar.worker_task()
    pid = os.getpid()  # a process that a task forks writes here, too
    title = name.encode("utf-8", "replace")[:NAME_MAX] if isinstance(name, str) else b""
    room = NBYTES_MAX - FRAME.size - len(title)
    view = memoryview(data)
    while True:
        part, view = view[:room], view[room:]
        part_kind = RECORD_PART if kind == RECORD and len(view) else kind
        frame = FRAME.pack(MAGIC, part_kind, len(title), number, pid, len(part)) + title + bytes(part)
        while frame:  # a pipe takes all of it, unless a signal comes
            frame = frame[os.write(fd, frame) :]
        if not len(view):
            return


class FramedIO(io.FileIO):
    """A descriptor; what is written is sent in frames, as long as it is the worker's pipe."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w", closefd=False)
        self.pipe = pipe_at(fd)

    def write(self, data: Any, /) -> int:
        if pipe_at(self.fileno()) != self.pipe:  # a task has put something else there: it gets the text
            return super().write(data)
        with memoryview(data) as view:
            nbytes = view.nbytes
            send(self.fileno(), TEXT, view.cast("B"))
        _achar.worker_wrote(nbytes)
        return nbytes


class TellingWriter(io.BufferedWriter):
    """Says that it may hold text: tasks that print nothing end without a flush."""

    def write(self, data: Any, /) -> int:
        _achar.worker_prints()
        return super().write(data)


def install(levels: dict[str, int]) -> None:
    for fd, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        old = getattr(sys, name)
        if old is None:
            continue
        raw = FramedIO(fd)
        stream = io.TextIOWrapper(
            TellingWriter(raw), encoding="utf-8", errors="surrogateescape" if errors == "strict" else errors,
            line_buffering=True, write_through=True,
        )  # fmt: skip
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if "logging" in sys.modules:
        send_records(levels)
    else:
        sys.meta_path.insert(0, WhenLoggingIsImported(levels))  # type: ignore[arg-type]


class WhenLoggingIsImported:
    """Importing logging takes longer than starting a worker may; so this waits until a task does."""

    def __init__(self, levels: dict[str, int]) -> None:
        self.levels = levels

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name != "logging":
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        import importlib.util

        spec = importlib.util.find_spec("logging")
        if spec is None or spec.loader is None or isinstance(spec.loader, type):
            return None
        run = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            del spec.loader.exec_module  # a loader may be that of other modules, too
            run(module)
            send_records(self.levels)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def send_records(levels: dict[str, int]) -> None:
    import logging

    class Sender(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                if pipe_at(2) == pipe:
                    send(2, RECORD, plain(record))
                else:  # a task has put something else there
                    os.write(2, f"{self.format(record)}\n".encode())
            except Exception:
                self.handleError(record)

    def plain(record: logging.LogRecord) -> bytes:
        """The record with its message made, and with all that cannot be sent as text."""
        values = {**record.__dict__, "msg": record.getMessage(), "args": None, "exc_info": None}
        if record.exc_info and not record.exc_text:
            values["exc_text"] = logging.Formatter().formatException(record.exc_info)
        try:
            return _achar.dumps(values)
        except Exception:
            return _achar.dumps({name: _plain_value(value) for name, value in values.items()})

    pipe = pipe_at(2)
    root = logging.getLogger()
    root.addHandler(Sender())
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
    configure = logging.basicConfig

    def basic_config(**options: Any) -> None:
        """In a task, records are the client's to show: only a level, or a file, is this process's."""
        if options.get("filename") or options.get("handlers") or options.get("force"):
            configure(**options)
        elif options.get("level") is not None:
            root.setLevel(options["level"])

    logging.basicConfig = basic_config  # type: ignore[assignment]


def _plain_value(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float, str, bytes)) else repr(value)


def client_levels() -> dict[str, int]:
    """In the client: the levels that its loggers have been given, if it has imported logging at all."""
    logging = sys.modules.get("logging")
    if logging is None:
        return {}
    levels = {"": logging.getLogger().level}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if getattr(logger, "level", 0):
            levels[name] = logger.level
    return levels
