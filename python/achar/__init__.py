"""achar: pickle, in C."""

from achar import _v1  # what streams of achar.dumps name; imported so that it is found by name
from achar._achar import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    Pickler,
    Queue,
    RemoteTraceback,
    RLock,
    Semaphore,
    Unpickler,
    digest,
    dump,
    dumps,
    load,
    loads,
    register_by_value,
    set_class_state,
    unregister_by_value,
)

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "Pickler",
    "Queue",
    "RLock",
    "RemoteTraceback",
    "Semaphore",
    "Unpickler",
    "digest",
    "dump",
    "dumps",
    "load",
    "loads",
    "register_by_value",
    "set_class_state",
    "unregister_by_value",
]

# What needs concurrent.futures is imported when it is first asked for.
_LATER = {
    "ActorDied": "errors",
    "ClassChangedWarning": "_redefined",
    "Executor": "executor",
    "Command": "_command",
    "current_executor": "_nested",
    "EnvironmentDiffers": "errors",
    "Future": "executor",
    "LargePickleWarning": "_parts",
    "Memo": "memo",
    "memo": None,
    "InitializerFailed": "errors",
    "InputFailed": "errors",
    "OwnerDied": "errors",
    "RemoteError": "errors",
    "TaskAbandoned": "errors",
    "TaskCancelled": "errors",
    "Unreadable": "errors",
    "WorkerDied": "errors",
    "WorkersCannotStart": "errors",
    "errors": None,
    "explain": "_explain",
    "pickle": None,
}
__all__ += _LATER

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from achar import errors as errors
    from achar import pickle as pickle
    from achar._command import Command as Command
    from achar._explain import explain as explain
    from achar._nested import current_executor as current_executor
    from achar._parts import LargePickleWarning as LargePickleWarning
    from achar._redefined import ClassChangedWarning as ClassChangedWarning
    from achar.errors import ActorDied as ActorDied
    from achar.errors import EnvironmentDiffers as EnvironmentDiffers
    from achar.errors import InitializerFailed as InitializerFailed
    from achar.errors import InputFailed as InputFailed
    from achar.errors import OwnerDied as OwnerDied
    from achar.errors import RemoteError as RemoteError
    from achar.errors import TaskAbandoned as TaskAbandoned
    from achar.errors import TaskCancelled as TaskCancelled
    from achar.errors import Unreadable as Unreadable
    from achar.errors import WorkerDied as WorkerDied
    from achar.errors import WorkersCannotStart as WorkersCannotStart
    from achar.executor import Executor as Executor
    from achar.executor import Future as Future
    from achar.memo import Memo as Memo


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module_name = _LATER[name]
    module = importlib.import_module(f"{__name__}.{module_name or name}")
    globals()[name] = value = getattr(module, name) if module_name else module
    return value


def __dir__():
    return sorted({*globals(), *__all__})
