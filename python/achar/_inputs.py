"""Futures among the arguments of a task on threads: where they are, and the arguments with results in their places.

Those of a task on processes are found by the pickler (src/python/executor/inputs.c).
"""

from __future__ import annotations

import concurrent.futures
from typing import Any


def futures_in(value: Any) -> list[concurrent.futures.Future]:
    """At any depth of lists, tuples and dicts, which may hold themselves."""
    found, to_look_at, seen = [], [value], set()
    while to_look_at:
        value = to_look_at.pop()
        if isinstance(value, concurrent.futures.Future):
            found.append(value)
        elif type(value) in (list, tuple, dict) and id(value) not in seen:
            seen.add(id(value))
            to_look_at += value.values() if type(value) is dict else value
    return found


def resolved(value: Any) -> Any:
    """The same with results for futures, in the same shape; what holds none stays the object that it is."""
    seen: dict[int, Any] = {}
    holders: dict[int, list[int]] = {}  # of each, by id
    to_look_at, to_change = [value], []
    while to_look_at:
        here = to_look_at.pop()
        if id(here) in seen:
            continue
        seen[id(here)] = here
        for item in here.values() if type(here) is dict else here:
            if isinstance(item, concurrent.futures.Future):
                to_change.append(id(here))
            elif type(item) in (list, tuple, dict):
                holders.setdefault(id(item), []).append(id(here))
                to_look_at.append(item)
    new: dict[int, Any] = {}  # a tuple's is None until it can be made
    while to_change:
        key = to_change.pop()
        if key not in new:
            new[key] = None if type(seen[key]) is tuple else type(seen[key])()
            to_change += holders.get(key, ())

    def now(item: Any) -> Any:
        return item.result() if isinstance(item, concurrent.futures.Future) else new.get(id(item), item)

    tuples = [key for key in new if new[key] is None]
    while tuples:  # those inside others first: only lists and dicts hold themselves
        here = seen[tuples[-1]]
        inner = [id(item) for item in here if new.get(id(item), here) is None]
        if not inner and new[id(here)] is None:
            new[id(here)] = tuple(map(now, here))
        tuples += inner
        if not inner:
            tuples.pop()
    for key, made in new.items():
        if type(made) is dict:
            made.update((name, now(item)) for name, item in seen[key].items())
        elif type(made) is list:
            made.extend(map(now, seen[key]))
    return new.get(id(value), value)
