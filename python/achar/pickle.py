"""The strict stand-in for the standard ``pickle``: same names, same bytes, same errors.

What writes and reads is achar's (``dump``, ``dumps``, ``load``, ``loads``, ``Pickler``,
``Unpickler``); the opcode names and the other constants are the interpreter's own, and so are the
exception classes, so that ``except pickle.PicklingError`` catches what achar raises. What else the
standard module has (``_Pickler``, ``whichmodule``, …) is handed through.
"""

import pickle as _standard
from pickle import *  # noqa: F403  the opcode names

from achar._achar import strict as _strict

__all__ = list(_standard.__all__)

Pickler = _strict.Pickler
Unpickler = _strict.Unpickler
dump = _strict.dump
dumps = _strict.dumps
load = _strict.load
loads = _strict.loads


def __getattr__(name):
    return getattr(_standard, name)
