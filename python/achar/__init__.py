"""achar: pickle, in C."""

from achar._achar import Pickler, Unpickler, dump, dumps, load, loads

from achar import _v1  # what streams of achar.dumps name; imported so that it is found by name
from achar._achar import RemoteTraceback, register_by_value, unregister_by_value

__all__ = [
    "Pickler",
    "RemoteTraceback",
    "Unpickler",
    "dump",
    "dumps",
    "load",
    "loads",
    "register_by_value",
    "unregister_by_value",
]

# What needs concurrent.futures is imported when it is first asked for.
_LATER = {
    "Executor": "executor",
    "Future": "executor",
    "InitializerFailed": "errors",
    "RemoteError": "errors",
    "TaskAbandoned": "errors",
    "Unreadable": "errors",
    "WorkerDied": "errors",
    "WorkersCannotStart": "errors",
}
__all__ += [*_LATER, "errors"]

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from achar import errors
    from achar.errors import (
        InitializerFailed,
        RemoteError,
        TaskAbandoned,
        Unreadable,
        WorkerDied,
        WorkersCannotStart,
    )
    from achar.executor import Executor, Future


def __getattr__(name):
    module_name = _LATER.get(name)
    if module_name is None and name != "errors":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"{__name__}.{module_name or name}")
    value = module if module_name is None else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
