"""The names of ``cloudpickle.cloudpickle``, those that programs and cloudpickle's own tests reach for included."""

from __future__ import annotations

import builtins
import copyreg
import dis
import io
import platform
import sys
import types
from collections import ChainMap
from pickle import HIGHEST_PROTOCOL as DEFAULT_PROTOCOL
from pickle import PicklingError
from typing import Any

import achar
from achar._achar import registered_by_value as _registered
from achar.pickle import load, loads

__all__ = [
    "DEFAULT_PROTOCOL",
    "DELETE_GLOBAL",
    "EXTENDED_ARG",
    "GLOBAL_OPS",
    "HAVE_ARGUMENT",
    "LOAD_GLOBAL",
    "PYPY",
    "STORE_GLOBAL",
    "CellType",
    "CloudPickler",
    "Pickler",
    "builtin_code_type",
    "dump",
    "dumps",
    "dynamic_subimport",
    "instance",
    "is_tornado_coroutine",
    "list_registry_pickle_by_value",
    "load",
    "loads",
    "register_pickle_by_value",
    "subimport",
    "unregister_pickle_by_value",
]

PYPY = platform.python_implementation() == "PyPy"
CellType = types.CellType
builtin_code_type = types.CodeType
STORE_GLOBAL, DELETE_GLOBAL = dis.opmap["STORE_GLOBAL"], dis.opmap["DELETE_GLOBAL"]
LOAD_GLOBAL = dis.opmap["LOAD_GLOBAL"]
GLOBAL_OPS = (STORE_GLOBAL, DELETE_GLOBAL, LOAD_GLOBAL)
HAVE_ARGUMENT, EXTENDED_ARG = dis.HAVE_ARGUMENT, dis.EXTENDED_ARG

# What CloudPickler.dispatch[cls] = reducer adds; the rest is the interpreter's.
_dispatch_table: dict[type, Any] = {}


class Pickler(achar.Pickler):
    """cloudpickle's Pickler: protocol 5 by default; ``reducer_override`` may be defined.

    ``dispatch`` and ``dispatch_table`` are one table, as in cloudpickle: what is put into it goes before
    what ``copyreg`` has, for dump() and dumps(), too.
    """

    def __init__(self, file, protocol=None, buffer_callback=None):
        super().__init__(file, _protocol(protocol), buffer_callback=buffer_callback)

    dispatch = dispatch_table = ChainMap(_dispatch_table, copyreg.dispatch_table)

    def dump(self, obj):
        try:
            return super().dump(obj)
        except RecursionError as e:
            raise _too_deep(obj, e) from e


CloudPickler = Pickler


def _protocol(protocol):
    return DEFAULT_PROTOCOL if protocol is None else protocol


def _too_deep(obj, error):
    """It is that of a __reduce__ or __getattr__; achar itself does not recurse."""
    return PicklingError(f"{type(obj).__qualname__} cannot be pickled: {error}")


def dumps(obj, protocol=None, buffer_callback=None):
    if _dispatch_table:
        with io.BytesIO() as file:
            Pickler(file, protocol, buffer_callback).dump(obj)
            return file.getvalue()
    try:
        return achar.dumps(obj, _protocol(protocol), buffer_callback=buffer_callback)
    except RecursionError as e:
        raise _too_deep(obj, e) from e


def dump(obj, file, protocol=None, buffer_callback=None):
    Pickler(file, protocol, buffer_callback).dump(obj)


def subimport(name):
    __import__(name)
    return sys.modules[name]


def dynamic_subimport(name, vars):
    module = types.ModuleType(name)
    module.__dict__.update(vars)
    module.__dict__["__builtins__"] = builtins.__dict__
    return module


def instance(cls):
    """A new instance of a class; a decorator."""
    return cls()


def register_pickle_by_value(module: types.ModuleType) -> None:
    if not isinstance(module, types.ModuleType):
        raise ValueError(f"Input should be a module object, got {module!s} instead")
    if module.__name__ not in sys.modules:
        raise ValueError(
            f"{module} was not imported correctly, have you used an `import` statement to access it?"
        )
    achar.register_by_value(module)


def unregister_pickle_by_value(module: types.ModuleType) -> None:
    if not isinstance(module, types.ModuleType):
        raise ValueError(f"Input should be a module object, got {module!s} instead")
    if module.__name__ not in _registered():
        raise ValueError(f"{module} is not registered for pickle by value")
    achar.unregister_by_value(module)


def list_registry_pickle_by_value() -> set[str]:
    return set(_registered())


def is_tornado_coroutine(func: Any) -> bool:
    gen = sys.modules.get("tornado.gen")
    return gen is not None and hasattr(gen, "is_coroutine_function") and gen.is_coroutine_function(func)


# What cloudpickle's own tests, and some programs, reach for.


def _is_registered(module: types.ModuleType) -> bool:
    name = module.__name__
    registered = _registered()
    return any(part in registered for part in _and_parents(name))


def _and_parents(name):
    while name:
        yield name
        name = name.rpartition(".")[0]


def _getattribute(obj, qualname):
    parent = None
    for part in qualname.split("."):
        if part == "<locals>":
            raise AttributeError(f"cannot reach {qualname!r} in {obj!r}")
        parent, obj = obj, getattr(obj, part)
    return obj, parent


def _whichmodule(obj, name):
    module_name = getattr(obj, "__module__", None)
    if module_name is not None:
        return module_name
    for module_name, module in sys.modules.copy().items():
        if module_name == "__main__" or not isinstance(module, types.ModuleType):
            continue
        try:
            if _getattribute(module, name)[0] is obj:
                return module_name
        except Exception:  # a module's own __getattr__ may raise whatever it likes
            continue
    return None


def _lookup_module_and_qualname(obj, name=None):
    if name is None:
        name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    module_name = _whichmodule(obj, name)
    if module_name is None or module_name == "__main__":
        return None
    module = sys.modules.get(module_name)
    if module is None:
        return None
    try:
        found, _parent = _getattribute(module, name)
    except AttributeError:
        return None
    return (module, name) if found is obj else None


def _should_pickle_by_reference(obj, name=None):
    if isinstance(obj, types.FunctionType) or issubclass(type(obj), type):
        found = _lookup_module_and_qualname(obj, name)
        return found is not None and not _is_registered(found[0])
    if isinstance(obj, types.ModuleType):
        return not _is_registered(obj) and obj.__name__ in sys.modules
    raise TypeError(f"cannot check importability of {type(obj).__name__} instances")


def _make_empty_cell():
    return types.CellType()


def _extract_class_dict(cls):
    own = dict(cls.__dict__)
    inherited: dict = {}
    for base in reversed(cls.__mro__[1:]):
        inherited.update(base.__dict__)
    return {name: value for name, value in sorted(own.items()) if name not in inherited or inherited[name] is not value}


def _extract_code_globals(code):
    """The names of globals that the code and code nested in it read, write or delete."""
    names = {}
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"):
            names[instruction.argval] = None
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(_extract_code_globals(constant))
    return names


def __getattr__(name):
    raise AttributeError(
        f"achar.compat.cloudpickle has no {name!r}: what cloudpickle rebuilds objects with is achar._v1's here; "
        "docs/compat.md has the names that are covered"
    )
