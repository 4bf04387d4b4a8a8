"""What a worker process runs: the set-up in Python, then the loop in C (``src/python/executor/worker.c``).

Imports are kept to what every interpreter has loaded anyway: a worker should be ready in the time
that Python takes to start.
"""

import os
import sys

from . import _achar

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types

place: tuple[int, int] | None = None  # in a worker: how deep (see _nested.py), and its process id
DOOR_FD = 6  # src/runtime/pool/wire.h
door: int | None = None  # its inode: something else may stand at that descriptor later


def main() -> None:
    import _signal

    # Ctrl-C is for the client, which ends its tasks. A handler, not SIG_IGN: programs that tasks
    # start would inherit that.
    _signal.signal(_signal.SIGINT, lambda number, frame: None)
    _signal.signal(_signal.SIGALRM, end_overdue_task)
    _achar.worker_run(set_up, describe, unreadable)


asks_again = False  # a timer runs since the word came within an import


def end_overdue_task(number: int, frame: "types.FrameType | None") -> None:
    """SIGALRM: the executor's word that the task's time limit has passed, or a timer of the task's own."""
    import _signal

    global asks_again
    if is_importing(frame):
        asks_again = True
        _signal.setitimer(_signal.ITIMER_REAL, 0.005)
        return
    overdue = _achar.worker_overdue()
    if asks_again and overdue != 0:  # told already: the timer's signal would be nobody's
        asks_again = False
        _signal.setitimer(_signal.ITIMER_REAL, 0)
    if overdue == 2:
        raise TimeoutError("the task's time limit has passed")
    if overdue == 3:
        from .errors import TaskCancelled

        raise TaskCancelled("the task has been cancelled by force")
    if overdue == 0:
        import signal

        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def is_importing(frame: "types.FrameType | None") -> bool:
    """No import is interrupted: what it leaves behind would be there for later tasks.

    The import system takes TimeoutError for an OSError of its own: it finds that there is no such file, makes a
    namespace package instead, or leaves a folder out from then on. And some modules cannot be imported twice.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def set_up(hello: dict) -> BaseException | None:
    """Become the client's like; the exception of an initializer that failed, or None."""
    import faulthandler

    os.environ.pop("ACHAR_WORKER", None)  # the runtime's word for this process, not for its children
    if hello["output"] is not None:
        from . import _forward

        _forward.install(hello["output"])
    if sys.stderr is not None:
        faulthandler.enable()
    if hello["path"] is not None:  # a client in C has none
        if hello["adds_path"]:
            sys.path += [entry for entry in hello["path"] if entry not in sys.path]
        else:
            sys.path[:] = hello["path"]
        sys.argv[:] = hello["argv"]
    if hello["cwd"] is not None:
        try:
            os.chdir(hello["cwd"])
        except OSError as error:
            print(f"achar: a worker cannot enter the client's folder: {error}", file=sys.stderr)
    if hello["environment"] is not None:
        from . import _environment

        difference = _environment.difference(hello["environment"])
        if difference is not None:
            from .errors import EnvironmentDiffers

            return EnvironmentDiffers(difference)
    global place, door
    place = hello["depth"], os.getpid()
    try:
        door = os.fstat(DOOR_FD).st_ino
    except OSError:  # there is none: the client is in C
        pass
    if hello["initializer"] is None:
        return None
    try:
        initializer, arguments = _achar.loads(hello["initializer"])
        initializer(*arguments)
    except BaseException as error:
        from .errors import InitializerFailed

        type_name, text, _ = describe(error)
        failure = InitializerFailed(f"the executor's initializer raised {type_name}: {text}")
        failure.__cause__ = error
        return failure
    return None


def type_and_text(error: BaseException) -> tuple[str, str]:
    cls = type(error)
    type_name = cls.__qualname__
    if cls.__module__ not in ("builtins", "__main__"):
        type_name = f"{cls.__module__}.{type_name}"
    try:
        text = str(error)
    except Exception as broken:
        text = f"<str() raised {type(broken).__name__}>"
    return type_name, text


def describe(error: BaseException) -> tuple[str, str, str]:
    """The exception's type, text and traceback, whatever state it is in."""
    type_name, text = type_and_text(error)
    try:
        import traceback

        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception as broken:
        lines = f"{type_name}: {text}\n<its traceback cannot be shown: {type(broken).__name__}>\n"
    return type_name, text, lines


def unreadable(what: str, cause: BaseException) -> BaseException:
    from .errors import _unreadable

    return _unreadable(what, None, cause, "the worker")
