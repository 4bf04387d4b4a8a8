"""dill's names on achar: ``import achar.compat.dill as dill``.

``dumps, loads, dump, load, copy, pickles`` and ``detect.baditems, badobjects, errors, badtypes``. What
dill's settings choose (``recurse``, ``byref``, ``fmode``, ``ignore``) has one answer here and is accepted
without effect: a function takes along the globals that it names, a class of ``__main__`` goes by value, a
file is opened for reading at its position. Sessions (``dump_module``) and ``dill.source`` are not here:
asking for them says what there is instead. ``docs/compat.md`` has more.
"""

from __future__ import annotations

from pickle import DEFAULT_PROTOCOL, HIGHEST_PROTOCOL, PickleError, PicklingError, UnpicklingError
from typing import Any

import achar
from achar import Pickler, Unpickler

from . import _dill_detect as detect

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIGHEST_PROTOCOL",
    "PickleError",
    "Pickler",
    "PicklingError",
    "Unpickler",
    "UnpicklingError",
    "copy",
    "detect",
    "dump",
    "dumps",
    "load",
    "loads",
    "pickles",
]


def dumps(obj: Any, protocol=None, byref=None, fmode=None, recurse=None, **kwargs) -> bytes:
    return achar.dumps(obj, protocol, **kwargs)


def dump(obj: Any, file, protocol=None, byref=None, fmode=None, recurse=None, **kwargs) -> None:
    achar.dump(obj, file, protocol, **kwargs)


def loads(data, ignore=None, **kwargs) -> Any:
    return achar.loads(data, **kwargs)


def load(file, ignore=None, **kwargs) -> Any:
    return achar.load(file, **kwargs)


def copy(obj: Any, *args, ignore=None, **kwargs) -> Any:
    """A deep copy by pickling and unpickling."""
    return loads(dumps(obj, *args, **kwargs))


def pickles(obj: Any, exact: bool = False, safe: bool = False, **kwargs) -> bool:
    """Whether the object survives a round trip; ``exact``: as an equal object."""
    expected = Exception if safe else (TypeError, AssertionError, NotImplementedError, PickleError, AttributeError)
    try:
        arrived = copy(obj, **kwargs)
        if exact:
            equal = arrived == obj
            return bool(equal.all() if hasattr(equal, "all") else equal)
        return type(arrived) is type(obj) or type(arrived).__qualname__ == type(obj).__qualname__
    except expected:
        return False


_SESSION = "dill's sessions are not covered: pickle the objects that matter, or go on using dill for them"
_INSTEAD = {
    "settings": "there is nothing to set: what dill's settings choose has one answer here, and is accepted by dump()",
    "source": "inspect.getsource() shows source; achar.dumps(f, source=True) sends it along",
    "temp": "tempfile and dump() do it",
    "register": "copyreg.pickle(cls, reducer) does it, for pickle, too",
    "extend": "nothing has to be switched on",
    "check": "achar.explain(obj) says what would be sent, pickles(obj) whether it arrives",
    "dump_module": _SESSION,
    "load_module": _SESSION,
    "load_module_asdict": _SESSION,
    "dump_session": _SESSION,
    "load_session": _SESSION,
    "session": _SESSION,
}


def __getattr__(name):
    instead = _INSTEAD.get(name, "docs/compat.md has the names that are covered")
    raise AttributeError(f"achar.compat.dill has no {name!r}: {instead}")
