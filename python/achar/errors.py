"""What becomes of a task that did not end well: the exceptions that only achar raises.

What a task itself raised arrives as itself, with the worker's traceback as its cause. The classes
here are for the rest: a worker that died, workers that cannot start, bytes that cannot be read.
Every message says which task, what happened, why, and what to do. The functions with an underscore
are called from C (``executor/settle.c``, ``executor/worker.c``) and return the exception that they make.
"""

from __future__ import annotations

import os
import signal as _signal
from _pickle import UnpicklingError  # pickle's, which takes longer to import
from concurrent.futures import BrokenExecutor
from errno import ETIME

from ._achar import attach_traceback

__all__ = [
    "ActorDied",
    "EnvironmentDiffers",
    "InitializerFailed",
    "InputFailed",
    "OwnerDied",
    "RemoteError",
    "TaskAbandoned",
    "TaskCancelled",
    "Unreadable",
    "WorkerDied",
    "WorkersCannotStart",
]


class WorkerDied(RuntimeError):
    """The worker process that ran the task ended; other tasks and the executor go on.

    ``pid``; ``exitcode``, or None when a signal ended it or nobody knows; ``signal``, the signal's
    name or None; ``task``, the function's name.
    """

    def __init__(
        self,
        message: str,
        *,
        task: str | None = None,
        pid: int = 0,
        exitcode: int | None = None,
        signal: str | None = None,
    ) -> None:
        super().__init__(message)
        self.task, self.pid, self.exitcode, self.signal = task, pid, exitcode, signal

    def __reduce__(self):
        return _rebuild, (type(self), self.args, self.__dict__)


class ActorDied(WorkerDied):
    """The actor's process has ended, and it is not made anew: no call of it can be done any more."""


class WorkersCannotStart(BrokenExecutor):
    """Worker processes end before they are ready, so no task of this executor can run."""


class InitializerFailed(BrokenExecutor):
    """The executor's initializer raised in the worker, so no task of this executor can run."""


class EnvironmentDiffers(ImportError):
    """A worker's Python, achar or package is of another version than the client's."""


class InputFailed(RuntimeError):
    """The task did not run, because another whose result is among its arguments failed.

    ``task`` is the name of the task where it began, however far up; its exception is the ``__cause__``.
    """

    def __init__(self, message: str, *, task: str | None = None) -> None:
        super().__init__(message)
        self.task = task

    def __reduce__(self):
        return _rebuild, (type(self), self.args, self.__dict__, self.__cause__)


class OwnerDied(RuntimeError):
    """A process died holding the lock, or with permits of the semaphore; the caller does not have it.

    Everyone is told so until someone calls ``recover()``.
    """


class TaskAbandoned(RuntimeError):
    """The executor was ended by force before this task had finished."""


class TaskCancelled(BaseException):
    """Raised inside a task that the client cancels by force: clean up and end, a second is left."""


class Unreadable(UnpicklingError):
    """Bytes that arrived cannot be turned into objects where they arrived; the cause says why.

    ``what`` is "result", "arguments" or "function".
    """

    def __init__(self, message: str, *, what: str = "") -> None:
        super().__init__(message)
        self.what = what

    def __reduce__(self):
        return _rebuild, (type(self), self.args, self.__dict__)


class RemoteError(Exception):
    """Stands for an exception that could not be pickled there or cannot be rebuilt here.

    ``type_name`` is the exception's qualified class name, ``text`` its ``str()``, ``arguments`` the
    ``repr()`` of its ``args``, ``traceback`` the traceback's text, ``reason`` why it did not come
    itself, ``pickled`` the bytes that it came in, or None. Where its class is only missing here, the
    stand-in's class is also made from the nearest class above it that is not, so that
    ``except ThatClass`` finds it.
    """

    arguments: str = ""
    pickled: bytes | None = None

    def __init__(
        self, message: str, *, type_name: str = "", text: str = "", traceback: str = "", reason: str = ""
    ) -> None:
        super().__init__(message)
        self.type_name, self.text = type_name, text
        self.traceback, self.reason = traceback, reason

    def __str__(self) -> str:  # OSError and others, which a stand-in may be too, have words of their own
        return str(self.args[0]) if self.args else ""

    def __reduce__(self):
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[BaseException], args: tuple, state: dict, cause: BaseException | None = None) -> BaseException:
    error = cls(*args)
    error.__dict__.update(state)
    error.__cause__ = cause
    return error


def _subject(task: str | None) -> str:
    return f"task {task}" if task else "a task"


def _signal_name(number: int) -> str:
    try:
        return _signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _ending(exit_code: int, signal_number: int) -> str:
    if signal_number:
        return f"was killed by {_signal_name(signal_number)}"
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    return "ended, nobody knows how: something else in this process collected its exit status"


_SIGNAL_HINTS = {
    "SIGKILL": "someone killed it; the kernel does when memory is short (see dmesg)",
    "SIGSEGV": "code in C crashed, or recursed too deep; its Python stack is on stderr",
    "SIGBUS": "code in C crashed; its Python stack is on stderr",
    "SIGABRT": "code in C aborted; its Python stack is on stderr",
    "SIGFPE": "code in C divided by zero; its Python stack is on stderr",
    "SIGILL": "code in C ran an instruction that this processor does not have",
}


LAST_LINES = 25  # of a dead worker's stderr, in messages


def _last_words(words: bytes | None) -> str:
    lines = (words or b"").decode("utf-8", "replace").rstrip().splitlines()
    if not lines:
        return ""
    shown = lines[-LAST_LINES:]
    return "\n  the end of its stderr:\n" + "\n".join(f"    {line}".rstrip() for line in shown)


def _died(
    task: str | None, pid: int, exit_code: int, signal_number: int, errno: int, interrupted: int, words: bytes | None
) -> WorkerDied:
    signal_name = _signal_name(signal_number) if signal_number else None
    message = f"{_subject(task)}: its worker process (pid {pid}) {_ending(exit_code, signal_number)}"
    if interrupted and signal_name == "SIGKILL":
        message += ", because of Ctrl-C"
    else:
        hint = _SIGNAL_HINTS.get(signal_name or "")
        if not hint and exit_code >= 0:
            hint = "the task, or a library that it called, ended the process (os._exit, exec, …)"
        if hint:
            message += f"\n  why: {hint}"
    message += _last_words(words)
    return WorkerDied(
        message,
        task=task,
        pid=pid,
        exitcode=exit_code if exit_code >= 0 and not signal_number else None,
        signal=signal_name,
    )


def _abandoned(
    task: str | None, pid: int, exit_code: int, signal_number: int, errno: int, interrupted: int, words: bytes | None
) -> Exception:
    if errno == ETIME:
        return WorkersCannotStart(
            f"{_subject(task)}: a worker process (pid {pid}) was not ready within start_timeout, and was killed\n"
            "  why: the initializer, or an import when Python starts, takes too long or never returns"
            + _last_words(words)
        )
    if errno:
        return WorkersCannotStart(f"{_subject(task)}: no worker process can be started: {os.strerror(errno)}")
    if pid:
        return WorkersCannotStart(
            f"{_subject(task)}: no worker process gets ready: the last one (pid {pid}) "
            f"{_ending(exit_code, signal_number)} before it could take a task\n"
            "  do:  read what it wrote to stderr; "
            "it runs sys.executable with this process's options and environment" + _last_words(words)
        )
    return TaskAbandoned(f"{_subject(task)}: the executor was ended before the task had finished")


def _actor_died(
    task: str | None, pid: int, exit_code: int, signal_number: int, errno: int, interrupted: int, words: bytes | None
) -> Exception:
    if errno or not pid:
        return _abandoned(task, pid, exit_code, signal_number, errno, interrupted, words)
    return ActorDied(
        f"{_subject(task)}: the actor's process (pid {pid}) {_ending(exit_code, signal_number)}\n"
        "  do:  ex.actor(..., restarts=n) makes it anew, without the state that is lost" + _last_words(words),
        task=task,
        pid=pid,
        exitcode=exit_code if exit_code >= 0 and not signal_number else None,
        signal=_signal_name(signal_number) if signal_number else None,
    )


def _actor_gone(task: str) -> ActorDied:
    return ActorDied(
        f"{_subject(task)}: the actor has ended, or is not one of the process that made this executor\n"
        "  why: an actor ends with the executor that made it: when that is shut down, or when nobody has it",
        task=task,
    )


def _stuck_call() -> RuntimeError:
    return RuntimeError(
        "a deadlock: this call of an actor would never begin\n"
        "  why: the actor does one call at a time, and the one that it does waits for this one, "
        "by way of other calls or tasks\n"
        "  do:  call it without waiting for the result there, or wait with a timeout"
    )


def _overdue(task: str | None, limit: float, pid: int) -> TimeoutError:
    return TimeoutError(
        f"{_subject(task)}: its time limit of {limit:g} s has passed\n"
        f"  why: it did not end when it was told to, so its worker process (pid {pid}) was killed with it"
    )


def _with_history(error: BaseException, attempts: list[tuple[str, int, int]]) -> BaseException:
    """The last attempt's exception, which says how those before it failed."""
    counts: dict[str, int] = {}
    for what, exit_code, signal_number in attempts:
        if what == "raised":
            how = "raised"
        elif what == "overdue":
            how = "ran into its time limit"
        else:
            how = f"its worker {_ending(exit_code, signal_number)}"
        counts[how] = counts.get(how, 0) + 1
    before = ", ".join(f"{how} ({count} times)" if count > 1 else how for how, count in counts.items())
    note = f"  tried {len(attempts) + 1} times; before this: {before}"
    if isinstance(error, WorkerDied):
        error.args = (f"{error.args[0]}\n{note}",)
    elif hasattr(error, "add_note"):  # from Python 3.11 on; what a task raised is not touched otherwise
        error.add_note(note)
    return error


def _input_failed(task: str | None, cause: str | None, exception: BaseException | None) -> InputFailed:
    if isinstance(exception, InputFailed) and exception.task is not None:  # it began before
        cause, exception = exception.task, exception.__cause__
    why = "it was cancelled" if exception is None else _one_line(exception)
    error = InputFailed(
        f"{_subject(task)} needs the result of {_subject(cause)}, which failed\n  why: {why}", task=cause
    )
    error.__cause__ = exception
    return error


def _starved(task: str | None) -> MemoryError:
    return MemoryError(f"{_subject(task)}: the results that it needs do not fit into the shared memory of its executor")


def _remedy(cause: BaseException, place: str) -> str:
    if isinstance(cause, ModuleNotFoundError):
        return (
            f"make the module {cause.name!r} importable in {place} "
            "(install it, or add its folder to sys.path before the Executor is made), "
            "or send it whole with achar.register_by_value()"
        )
    if isinstance(cause, (AttributeError, ImportError)):
        return (
            f"the module that is found in {place} lacks that name: it is another version, or "
            "the name was added while running; define it at the module's top level, or send the "
            "module whole with achar.register_by_value()"
        )
    return "its class's __setstate__, __new__ or __init__ raised this while it was rebuilt"


def _unreadable(what: str, task: str | None, cause: BaseException, place: str = "this process") -> Unreadable:
    error = Unreadable(
        f"{_subject(task)}: its {what} cannot be read in {place}\n"
        f"  why: {_one_line(cause)}\n"
        f"  do:  {_remedy(cause, place)}",
        what=what,
    )
    error.__cause__ = cause
    return error


def _one_line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:
        text = f"<str() raised {type(broken).__name__}>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _raised(
    task: str | None,
    exception: object,
    load_error: BaseException | None,
    report: tuple[str, str, str, str] | None,
) -> BaseException:
    """What a task raised; ``report`` is (type, text, traceback, why it could not be pickled)."""
    if report is None:
        return RemoteError(
            f"{_subject(task)} failed, and the worker had no memory left to say how",
            reason="no memory",
        )
    type_name, text, traceback, why = report
    if isinstance(exception, BaseException):
        attach_traceback(exception, traceback)
        return exception
    if load_error is not None:
        reason = f"it cannot be rebuilt in this process: {_one_line(load_error)}"
        remedy = _remedy(load_error, "this process")
    elif exception is not None:
        reason = f"it was pickled as an object of type {type(exception).__name__}"
        remedy = "look at its __reduce__"
    else:
        reason = f"it could not be pickled: {why}".replace("\n", "\n     ")
        remedy = "keep what cannot be pickled out of the exception's arguments and attributes"
    stand_in = RemoteError(
        f"{type_name}: {text}\n"
        f"  this stands for the exception that {_subject(task)} raised\n"
        f"  why: {reason}\n"
        f"  do:  {remedy}",
        type_name=type_name,
        text=text,
        traceback=traceback,
        reason=reason,
    )
    stand_in.__cause__ = load_error
    attach_traceback(stand_in, traceback)
    return stand_in
