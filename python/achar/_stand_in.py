"""Classes that stand in for classes of exceptions that cannot be had where a pickle is loaded.

Called from C (``loader/errors.c``) when an exception by value names a class that is missing here. The
stand-in is made from RemoteError and from the nearest class above the missing one that can be had, so
``except`` and ``isinstance`` find it as far as they can. What the exception has of its own (args,
attributes, cause, context, traceback) is set on it afterwards as on any exception; its own attributes
hide those of RemoteError.
"""

from __future__ import annotations

import builtins
import importlib
import traceback
from typing import Any

import achar
from achar import _load_errors
from achar.errors import RemoteError


def make(
    error: BaseException,
    module: str,
    name: str,
    bases: tuple[str, ...],
    path: str | None,
    label: bytes | None,
    pickled: bytes | None,
) -> type[BaseException]:
    """The class for ``module.name``; ``bases`` are module and name of the classes above it, nearest first."""
    explanation = _load_errors.global_missing(error, module, name, path, label)
    # Up to 3.10, which has no notes, the explanation is in the message, too.
    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    return _make(module, name, tuple(bases), reason, explanation, pickled)


def _make(
    module: str, name: str, bases: tuple[str, ...], reason: str, explanation: str, pickled: bytes | None
) -> type[BaseException]:
    namespace = {
        "__module__": RemoteError.__module__,
        "__str__": _str,
        "__repr__": _repr,
        "__reduce__": _reduce,
        "_set_text": _set_text,
        "_remade": (module, name, bases, reason, explanation, pickled),
        "type_name": f"{module}.{name}",
        "reason": reason,
        "explanation": explanation,
        "pickled": pickled,
        "text": _Computed(_text),
        "arguments": _Computed(lambda error: repr(error.args)),
        "traceback": _Computed(_traceback),
    }
    title = f"RemoteError[{module}.{name}]"
    for base in _importable(bases):
        if base is getattr(builtins, "BaseExceptionGroup", None):
            continue  # what is an Exception, as RemoteError is, cannot hold those that are none
        parents = (RemoteError,) if issubclass(RemoteError, base) else (RemoteError, base)
        try:
            return type(title, parents, dict(namespace))
        except Exception:  # noqa: S112  a base that cannot be subclassed like this; the next one
            continue
    return type(title, (RemoteError,), namespace)


def _importable(bases: tuple[str, ...]):
    for module, name in zip(bases[::2], bases[1::2]):
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        if isinstance(found, type) and issubclass(found, BaseException):
            yield found


class _Computed:
    """As a property, but an attribute of the exception's own comes first."""

    def __init__(self, function):
        self.function = function

    def __get__(self, obj, cls):
        return "" if obj is None else self.function(obj)


_TEXT = "__stand_in_text__"


def _set_text(self, text: str) -> None:
    self.__dict__[_TEXT] = text


def _text(self) -> str:
    found = self.__dict__.get(_TEXT)
    if found is not None:
        return found
    for cls in type(self).__mro__:  # as the nearest builtin class has it
        if cls.__module__ == "builtins":
            return cls.__str__(self)
    return ""


def _traceback(self) -> str:
    return "".join(traceback.format_exception(type(self), self, self.__traceback__))


def _str(self) -> str:
    cls = type(self)
    first = f"{cls.type_name}: {_text(self)}" if _text(self) else cls.type_name
    explanation = "\n".join("  " * (not line.startswith("  ")) + line for line in cls.explanation.split("\n"))
    return f"{first}\n  this stands for an exception whose class cannot be had here\n{explanation}"


def _repr(self) -> str:
    return f"{type(self).__name__}({', '.join(map(repr, self.args))})"


def _reduce(self):
    return _rebuild, (*type(self)._remade, self.args, dict(self.__dict__), self.__cause__)


def _is_the_same(error, name, args) -> bool:
    """``pickled`` is a whole stream: what it begins with may be another object than this exception."""
    cls = type(error)
    names = (f"{cls.__module__}.{cls.__qualname__}", getattr(cls, "type_name", None))
    return isinstance(error, BaseException) and repr(error.args) == repr(args) and name in names


def _rebuild(module, name, bases, reason, explanation, pickled, args, attributes, cause):
    try:  # as it was, where its class can be had by now
        error = None if pickled is None else achar.loads(pickled)
    except Exception:
        error = None
    if not _is_the_same(error, f"{module}.{name}", args):
        cls = _make(module, name, bases, reason, explanation, pickled)
        error = cls.__new__(cls, *args)  # OSError and groups take what they keep there
        error.args = args
    error.__dict__.update(attributes)
    error.__cause__ = cause
    return error
