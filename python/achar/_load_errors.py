"""What loads says of a failure, in words: where in the object, what, why, and what to do.

The functions are called from C (``loader/errors.c``) with the exception that is on its way, the module
and name of the global that it is about, the path from the root ("obj[1]['k']") or None, and the sender's
label (``_sender.py``) or None. They return a text that is added to the exception.
"""

from __future__ import annotations

import sys
from types import FunctionType

from achar import _sender


def global_missing(error: BaseException, module: str, name: str, path: str | None, label: bytes | None) -> str:
    """A module that cannot be imported here, or that has no such name."""
    sender = _sender.read(label) if label else None
    there = _there(sender, module)
    place = f"{path}: " if path else ""
    package = module.partition(".")[0]
    if isinstance(error, AttributeError):
        return (
            f"{place}{module} has no {name} here\n"
            f"  why: the pickle has it by name{there}; here {_here(module)} is another\n"
            f"  do:  have the same {package} on both sides, or call achar.register_by_value({module}) "
            "where it is pickled, so that the code travels along"
        )
    missing = getattr(error, "name", None) or module
    if missing != module and not module.startswith(f"{missing}."):  # it is there, and imports what is not
        return (
            f"{place}{_dotted(module, name)} cannot be had here: {module} needs {missing}, which cannot be imported\n"
            f"  why: the pickle has it by name{there}\n"
            f"  do:  install {missing} here"
        )
    return (
        f"{place}{_dotted(module, name)} cannot be had here: there is no module {missing}\n"
        f"  why: the pickle has it by name, because {module} can be imported where it was pickled{there}\n"
        f"  do:  install {_wanted(sender, module)} here or put it on sys.path, or call "
        f"achar.register_by_value({module}) where it is pickled, so that the code travels along"
    )


def rebuilding_failed(
    error: BaseException, module: str, name: str, path: str | None, label: bytes | None
) -> str | None:
    """A call that the pickle asks for, or a state that it sets, raised."""
    if isinstance(error, ImportError) and (not name or module != "achar._v1"):
        return global_missing(error, module, name, path, label)
    if module == "achar._v1" or "\n  why: " in str(error):  # it says the rest itself
        return f"while loading {path}" if path else None
    sender = _sender.read(label) if label else None
    place = f"{path}: " if path else ""
    text = f"{place}{_dotted(module, name)} cannot be rebuilt here\n  why: {_cause(error, module, name)}"
    there = _there(sender, module)
    if there:
        text += f"; the pickle is{there.removeprefix(':')}"
    return text + f"; here is {_here(module)}\n  do:  {_remedy(error, module, name)}"


def _cause(error: BaseException, module: str, name: str) -> str:
    found = _find(module, name)
    if isinstance(found, type) and issubclass(found, BaseException) and isinstance(error, TypeError):
        return "it was pickled as its class and args, and its __init__ wants other arguments than are in args"
    if isinstance(found, type):
        return f"its class does not accept what was pickled ({type(error).__name__}); its definition may have changed"
    if name and found is not None:
        if isinstance(found, FunctionType) and not _wants_a_class(error):
            return f"this raised {type(error).__name__}"
        return f"here it is a {type(found).__name__}, and not the class that it was where it was pickled"
    return f"this raised {type(error).__name__}"


def _wants_a_class(error: BaseException) -> bool:
    return "class argument must be a type" in str(error)


def _remedy(error: BaseException, module: str, name: str) -> str:
    found = _find(module, name)
    if isinstance(found, type) and issubclass(found, BaseException) and isinstance(error, TypeError):
        return "pickle it with achar.dumps, which does not call __init__, or give the class a __reduce__"
    package = module.partition(".")[0]
    if isinstance(found, type):
        return (
            f"have the same {package} on both sides, let {name}.__setstate__ accept what earlier versions wrote, "
            f"or call achar.register_by_value({module}) where it is pickled"
        )
    if name and _wants_a_class(error):
        return (
            f"have the same {package} on both sides, or call achar.register_by_value({module}) where it is pickled, "
            "so that the code travels along"
        )
    return f"have the same {package} on both sides"


def _find(module: str, name: str) -> object:
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _dotted(module: str, name: str) -> str:
    return f"{module}.{name}" if name else f"module {module}"


def _version(known: _sender.Module | None) -> str:
    if known is None:
        return ""
    return f" {known.version}" if known.version else f" of {known.file}" if known.file else ""


def _there(sender: _sender.Sender | None, module: str) -> str:
    if sender is None:
        return ""
    return f": {module}{_version(sender.modules.get(module))}, sent by {sender}"


def _here(module: str) -> str:
    package = module.partition(".")[0]
    version = _sender.version_of(package)
    file = getattr(sys.modules.get(module), "__file__", None)
    if package in sys.stdlib_module_names:
        return f"{module} of Python {sys.version_info[0]}.{sys.version_info[1]}"
    return f"{module}{' ' + version if version else ' of ' + file if file else ''}"


def _wanted(sender: _sender.Sender | None, module: str) -> str:
    package = module.partition(".")[0]
    known = sender.modules.get(module) if sender else None
    return f"{package} {known.version}" if known and known.version else package
