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
