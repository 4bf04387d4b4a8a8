"""dill.detect: which parts of an object cannot be pickled, and why."""

from __future__ import annotations

from typing import Any

__all__ = ["baditems", "badobjects", "badtypes", "errors"]


def _parts(obj: Any) -> dict:
    """{name: attribute}, as dill.detect looks at an object: everything that dir() names."""
    found = {}
    for name in dir(obj):
        try:
            found[name] = getattr(obj, name)
        except Exception:  # an attribute that cannot be read is no part
            continue
    return found


def _pickles(obj, exact, safe):
    from .dill import pickles

    return pickles(obj, exact, safe)


def baditems(obj: Any, exact: bool = False, safe: bool = False) -> list:
    """The items of ``obj`` that cannot be pickled; of what is not iterable, the object itself."""
    if not hasattr(obj, "__iter__"):
        return [] if _pickles(obj, exact, safe) else [obj]
    items = obj.values() if hasattr(obj, "values") else obj
    found: list = []
    for item in items:
        if not _pickles(item, exact, safe) and not any(item is known for known in found):
            found.append(item)
    return found


def badobjects(obj: Any, depth: int = 0, exact: bool = False, safe: bool = False) -> Any:
    """What of the object cannot be pickled: the object; from depth 1 on, {name: the same of it}."""
    if not depth:
        return None if _pickles(obj, exact, safe) else obj
    return {
        name: badobjects(part, depth - 1, exact, safe)
        for name, part in _parts(obj).items()
        if not _pickles(part, exact, safe)
    }


def badtypes(obj: Any, depth: int = 0, exact: bool = False, safe: bool = False) -> Any:
    """As badobjects(), with types in place of objects."""
    if not depth:
        return None if _pickles(obj, exact, safe) else type(obj)
    return {
        name: badtypes(part, depth - 1, exact, safe)
        for name, part in _parts(obj).items()
        if not _pickles(part, exact, safe)
    }


def errors(obj: Any, depth: int = 0, exact: bool = False, safe: bool = False) -> Any:
    """The exception that pickling raises, None for none; from depth 1 on, {name: the same of it}."""
    if depth:
        found = {name: errors(part, depth - 1, exact, safe) for name, part in _parts(obj).items()}
        return {name: error for name, error in found.items() if error is not None}
    from .dill import copy

    try:
        arrived = copy(obj)
        if exact:
            assert arrived == obj, f"unpickling produces {arrived!r} instead of {obj!r}"
        elif type(arrived).__qualname__ != type(obj).__qualname__:
            raise AssertionError(f"unpickling produces {type(arrived)} instead of {type(obj)}")
        return None
    except Exception as error:  # whatever it is, it is the answer
        return error
