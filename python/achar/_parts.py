"""The parts of an object, under the names that dumps's errors have for them: what makes a pickle large, and where
it is that something has no digest.

``dumps(warn_size=)`` asks when the pickle has turned out larger. The way to the largest piece leads from the
object to that of its parts which is the largest alone, and so on, while that is most of the whole.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from pickle import PickleError, PicklingError
from types import (
    BuiltinMethodType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from achar._achar import dumps

__all__ = ["LargePickleWarning", "parts_of_class", "parts_of_function", "size"]

Part = tuple[str, str, Any]  # how it is called, what it adds to the path, the object

_DEPTH_MAX = 30


class LargePickleWarning(UserWarning):
    """A pickle is larger than the ``warn_size`` that dumps was given."""


def parts_of_function(function: FunctionType) -> Iterator[Part]:
    """What a function takes along: globals, what it closes over, defaults, attributes."""
    for name in sorted(_names_in(function.__code__)):
        if name in function.__globals__:
            yield f"global {name}", f".__globals__[{name!r}]", function.__globals__[name]
    for index, (name, cell) in enumerate(zip(function.__code__.co_freevars, function.__closure__ or ())):
        try:
            yield f"enclosing {name}", f".__closure__[{index}].cell_contents", cell.cell_contents
        except ValueError:  # still empty
            continue
    for index, value in enumerate(function.__defaults__ or ()):
        yield f"default {index}", f".__defaults__[{index}]", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f"default {name}", f".__kwdefaults__[{name!r}]", value
    for name, value in vars(function).items():
        yield f"attribute {name}", f".{name}", value


def parts_of_class(cls: type) -> Iterator[Part]:
    """What a class by value takes along: its attributes, and its bases."""
    for name, value in vars(cls).items():
        made_with_it = isinstance(value, (MemberDescriptorType, GetSetDescriptorType))
        if name not in ("__module__", "__qualname__", "_abc_impl") and not made_with_it:
            yield f"attribute {name}", f".{name}", value
    for index, base in enumerate(cls.__bases__):
        yield f"base {base.__qualname__}", f".__bases__[{index}]", base


def _names_in(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names_in(constant)
    return names


def _parts(obj: Any) -> Iterator[Part]:
    if isinstance(obj, FunctionType):
        yield from parts_of_function(obj)
    elif isinstance(obj, type):
        yield from parts_of_class(obj)
    elif isinstance(obj, dict):
        for key, value in list(obj.items()):
            yield "", f"[{_shown(key)}]", value
            yield "", f"<key {_shown(key)}>", key
    elif isinstance(obj, (list, tuple)):
        for index, value in enumerate(obj):
            yield "", f"[{index}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in list(obj):
            yield "", "{…}", value
    elif isinstance(obj, (staticmethod, classmethod, MethodType)):
        yield "", ".__func__", obj.__func__
        if isinstance(obj, MethodType):
            yield "", ".__self__", obj.__self__
    elif isinstance(obj, BuiltinMethodType):
        yield "", ".__self__", obj.__self__
    elif isinstance(obj, property):
        for name in ("fget", "fset", "fdel"):
            yield "", f".{name}", getattr(obj, name)
    elif isinstance(obj, functools.partial):
        yield "", ".func", obj.func
        yield "", ".args", obj.args
        yield "", ".keywords", obj.keywords
    if not isinstance(obj, (type, FunctionType, ModuleType, str, bytes, bytearray)):
        yield from _attributes(obj)
        yield "", ".__class__", type(obj)


def _attributes(obj: Any) -> Iterator[Part]:
    try:
        for name, value in list(vars(obj).items()):
            yield "", f".{name}", value
    except TypeError:  # has no __dict__
        pass
    for cls in type(obj).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            name = f"_{cls.__name__.lstrip('_')}{name}" if private else name
            try:
                yield "", f".{name}", object.__getattribute__(obj, name)
            except AttributeError:  # empty
                continue


def _shown(key: Any) -> str:
    try:
        text = repr(key)
    except Exception:  # its class's own fault
        return f"a {type(key).__name__}"
    return text if len(text) <= 60 else f"<a {type(key).__name__}>"


def size(nbytes: int) -> str:
    """A number of bytes in words."""
    if nbytes < 10_000:
        return f"{nbytes:,} bytes"
    if nbytes < 10**6:
        return f"{nbytes / 10**3:.3g} kB"
    return f"{nbytes / 10**6:.3g} MB" if nbytes < 10**9 else f"{nbytes / 10**9:.3g} GB"


def _nbytes_of(part: Any) -> int:
    try:
        return len(dumps(part))
    except Exception:  # it goes along with the whole, and cannot go alone
        return 0


def _largest(parts: Iterator[Part], seen: set[int]) -> tuple[int, Part] | None:
    found: tuple[int, Part] | None = None
    for part in parts:
        if id(part[2]) not in seen:
            nbytes = _nbytes_of(part[2])
            if found is None or nbytes > found[0]:
                found = nbytes, part
    return found


def _kind(obj: Any) -> str:
    name = f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.").removeprefix("__main__.")
    if isinstance(obj, (FunctionType, type)):
        return f"{'class' if isinstance(obj, type) else 'function'} {obj.__qualname__}"
    try:
        return f"{name} of {len(obj):,}"
    except TypeError:
        return name


def _way_to_largest(obj: Any, nbytes: int) -> tuple[str, str, Any, int]:
    """Path of the largest piece, who takes it along ("" for data), the piece, its size as a pickle of its own."""
    path, taken, seen = "obj", "", {id(obj)}
    whole = nbytes
    for _ in range(_DEPTH_MAX):
        largest = _largest(_parts(obj), seen)
        if largest is None or largest[0] * 2 <= whole:
            break
        nbytes, (name, step, part) = largest
        if name:
            taken = f"{obj.__qualname__} takes along {name}"
        path, obj = path + step, part
        seen.add(id(part))
    return path, taken, obj, nbytes


def _warn_of_size(obj: Any, nbytes: int, limit: int) -> None:
    """Called from C when a pickle is larger than the ``warn_size`` that dumps was given."""
    text = f"the pickle has {size(nbytes)}, more than warn_size={limit}"
    path, taken, piece, piece_nbytes = _way_to_largest(obj, nbytes)
    remedy = "leave it out in __getstate__, load it inside the task, or put() it once"
    if path == "obj":
        text += f"\n  why: obj is a {_kind(piece)}, and no part of it is most of it"
    elif taken:
        text += f"\n  why: {taken}; {path} ({_kind(piece)}) has {size(piece_nbytes)}"
        remedy = "pass it as an argument, load it inside the task, or put() it once"
    else:
        text += f"\n  why: {path} ({_kind(piece)}) has {size(piece_nbytes)}"
    text += f"\n  do:  {remedy}"
    warnings.warn(text, LargePickleWarning, stacklevel=2)


# ---- the way to what has no digest ----


def _path_of(chain: list[Any]) -> str:
    """The path to the last object; some of those between are what the one before is made of: a state, a closure."""
    path, owner, made_of = "obj", chain[0], None
    for obj in chain[1:]:
        step = next((step for _, step, part in _parts(owner) if part is obj), None)
        if step is None and made_of is not None:
            step = _step_inside(made_of, obj)
        if step is None:
            made_of = obj
        else:
            path, owner, made_of = path + step, obj, None
    return path if len(path) <= 400 else f"{path[:200]} … {path[-200:]}"


def _step_inside(made_of: Any, obj: Any) -> str | None:
    if isinstance(made_of, dict):
        return next((f".{key}" for key, value in made_of.items() if value is obj and isinstance(key, str)), None)
    return None


def explain_digest(error: BaseException, chain: list[Any]) -> BaseException | None:
    """Called from C: what digest raises in place of ``error``; None: ``error``, with a note."""
    path, culprit, text = _path_of(chain), chain[-1], str(error)
    if isinstance(error, PicklingError) and "\n  why: " in text:
        return type(error)(f"{path}: {text}")
    if isinstance(error, (PickleError, TypeError, AttributeError)) and ("pickle" in text or "serializ" in text):
        module = type(culprit).__module__
        name = type(culprit).__qualname__ if module == "builtins" else f"{module}.{type(culprit).__qualname__}"
        made = PicklingError(f"{path}: {name} has no digest\n  why: {type(error).__name__}: {text}")
        made.__cause__ = error
        return made
    if hasattr(error, "add_note"):
        error.add_note(f"while making the digest of {path}")
    return None
