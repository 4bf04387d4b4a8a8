"""Aliases of PEP 695, ``type Pair[T] = tuple[T, T]``, by value; called from C."""

from __future__ import annotations

import functools
import typing
from typing import Any

from achar.pickle import PicklingError


def reduce(alias: Any) -> tuple:
    """What makes the alias again. Its value is worked out, which the ``type`` statement leaves for later."""
    value = alias.__value__
    if _names(value, alias, set()):
        raise PicklingError(
            f"the alias {alias.__name__} cannot be sent\n"
            "  why: its value names the alias itself, and what makes an alias takes a value that is complete\n"
            "  do:  define it in a module that both sides can import"
        )
    make = functools.partial(typing.TypeAliasType, type_params=alias.__type_params__)
    return make, (alias.__name__, value)


def _names(value: Any, alias: Any, seen: set[int]) -> bool:
    if value is alias:
        return True
    if id(value) in seen:
        return False
    seen.add(id(value))
    inside = [*_items(getattr(value, "__args__", ())), getattr(value, "__origin__", None)]
    if isinstance(value, typing.TypeAliasType):
        inside.append(value.__value__)
    if isinstance(value, (list, tuple)):
        inside += value
    return any(_names(part, alias, seen) for part in inside if part is not None)


def _items(args: Any) -> tuple:
    return args if isinstance(args, tuple) else ()
