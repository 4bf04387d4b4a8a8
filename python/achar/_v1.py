"""Version 1 of what achar.dumps writes for functions, classes, modules and exceptions.

A stream names these functions; each says what its arguments are. They may learn to accept more,
never less, so that every later achar of the same major version reads what this one wrote. What they
cannot express goes into a module ``_v2`` beside this one.
"""

from achar._achar import v1 as _functions

__all__ = sorted(name for name in vars(_functions) if not name.startswith("__"))

globals().update((name, getattr(_functions, name)) for name in __all__)
