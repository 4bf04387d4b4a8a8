"""achar: pickle, in C."""

from achar._achar import Unpickler, load, loads

__all__ = ["Unpickler", "load", "loads"]
