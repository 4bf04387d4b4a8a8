"""What is said when a class of ``__main__`` comes from a run in which its definition was another."""

from __future__ import annotations

import warnings

from achar._achar import definition

__all__ = ["ClassChangedWarning"]

_SHOWN_MAX = 6
_INCIDENTAL = frozenset(
    ("__module__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__", "_abc_impl")
    + ("__slotnames__", "__qualname__")
)


class ClassChangedWarning(UserWarning):
    """A pickle has a class of ``__main__`` whose definition is not the one of this run's ``__main__``."""


def warn(sent: type, here: type) -> None:
    """Called from C when ``sent`` has been made of what a pickle says, and ``here`` has its name."""
    name = here.__qualname__
    warnings.warn(
        f"__main__.{name} of the pickle is not __main__.{name} of this run\n"
        f"  why: its definition was another when it was pickled: {'; '.join(_differences(sent, here))}\n"
        f"  do:  instances in the pickle keep the class that came along; to have them be of this run's "
        f"{name}, let the definitions agree, or move it to a module that both import",
        ClassChangedWarning,
        stacklevel=2,
    )


def _differences(sent: type, here: type) -> list[str]:
    found = []
    if type(sent).__qualname__ != type(here).__qualname__:
        found.append(f"the metaclass was {type(sent).__qualname__}, and is {type(here).__qualname__}")
    bases = [tuple(base.__qualname__ for base in cls.__bases__) for cls in (sent, here)]
    if bases[0] != bases[1]:
        found.append(f"the bases were ({', '.join(bases[0])}), and are ({', '.join(bases[1])})")
    theirs, ours = _attributes(sent), _attributes(here)
    for name in sorted(theirs.keys() | ours.keys()):
        if name not in ours:
            found.append(f"{name} is not there any more")
        elif name not in theirs:
            found.append(f"{name} is new")
        elif definition(theirs[name]) != definition(ours[name]):
            found.append(_change(name, theirs[name], ours[name]))
    for base, other in zip(sent.__bases__, here.__bases__):
        if bases[0] == bases[1] and definition(base) != definition(other):
            found.append(f"its base {other.__qualname__} differs")
    if len(found) > _SHOWN_MAX:
        found[_SHOWN_MAX:] = [f"and {len(found) - _SHOWN_MAX} more"]
    return found or ["it was changed after it had been defined"]


def _attributes(cls: type) -> dict[str, object]:
    slots = cls.__dict__.get("__slots__", ())
    hidden = _INCIDENTAL | {slots} if isinstance(slots, str) else _INCIDENTAL.union(slots)
    return {name: value for name, value in vars(cls).items() if name not in hidden}


def _change(name: str, before: object, now: object) -> str:
    plain = (int, float, complex, str, bytes, tuple, type(None))
    if isinstance(before, plain) and isinstance(now, plain):
        texts = [text if len(text := repr(value)) <= 40 else f"{text[:37]}..." for value in (before, now)]
        return f"{name} was {texts[0]}, and is {texts[1]}"
    return f"{name} is another"
