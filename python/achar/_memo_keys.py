"""What a call is known by: the digest of the function, and of its arguments by the names of its parameters."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import sys
import types
import warnings

from . import _achar
from ._memo_code import Both, Code, Computing, where
from ._memo_errors import MemoWarning

TYPE_CHECKING = False  # type checkers know this name; importing typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


_REMEDIES = {
    "argument": "leave it out with ignore=, or let key= say what stands for it",
    "what key= returned": "return what can be pickled",
    "key": "use a key that can be pickled",
    "what it is bound to": 'memoize the plain function, or use key="code"',
}


def name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None)}.{name}"


def _explained(first: Any, obj: Any, root: str) -> bytes:
    """A digest; where it is refused, the error says where in the object: what pickling it says."""
    try:
        return _achar.digest_call(first, obj)
    except RecursionError:
        raise
    except Exception as error:
        raise type(error)(where(obj, root, error, _REMEDIES[root])) from None


def of_object(key: Any) -> bytes:
    """The key of get() and put()."""
    return _explained(b"put", key, "key")


class LeftOut:
    """Stands for an argument that is left out where the default is not known."""


class Keys:
    """The keys of one function's calls."""

    def __init__(self, function: Any, key: Any, ignore: Iterable[str]) -> None:
        if isinstance(ignore, str):
            ignore = (ignore,)
        if not callable(key) and key not in ("code", "name", "source"):
            raise ValueError('key must be "code", "source", "name", or a callable')
        self.function, self.ignored = function, frozenset(ignore)
        self._by, self._of_arguments = ("code", key) if callable(key) else (key, None)
        self.code = Code(function)
        self._chooser = Code(key) if callable(key) else None
        self._identity: tuple[bytes, Any] | None = None
        self._has_warned = False
        self._read_signature()

    def _read_signature(self) -> None:
        """What _bind() needs, without asking inspect at each call."""
        parameters, self._is_wrapper = _parameters(self.function)
        self._parameters = parameters
        # So many positional arguments, and no others, are in order as they are, with these for those that are missing.
        self._plain_least, self._plain_most = 1, 0
        self._plain_defaults: tuple[Any, ...] = ()
        if parameters is None:
            if self.ignored:
                raise ValueError(f"{name_of(self.function)} does not tell its parameters, so none can be ignored")
            return
        if self._is_wrapper:  # it may give what is left out another value than the function that it wraps
            parameters = self._parameters = [
                p if p.default is inspect.Parameter.empty else p.replace(default=LeftOut) for p in parameters
            ]
        by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._positional = [
            (p.name, p.default, p.kind is inspect.Parameter.POSITIONAL_ONLY)
            for p in parameters
            if p.kind in by_position
        ]
        self._keyword = [(p.name, p.default) for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        self._rest = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
        self._named_rest = next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD), None)
        unknown = self.ignored - {p.name for p in parameters}
        if unknown and self._named_rest is None:
            raise ValueError(f"{name_of(self.function)} has no parameter {', '.join(sorted(unknown))} to ignore")
        if len(self._positional) == len(parameters) and not self.ignored:
            self._plain_defaults = tuple(p.default for p in parameters if p.default is not inspect.Parameter.empty)
            self._plain_most = len(parameters)
            self._plain_least = len(parameters) - len(self._plain_defaults)

    def identity(self) -> bytes:
        """The function's part of the key, as it is now."""
        identity, watch = self._identity or (None, None)
        return self._identify() if watch is None or not watch.holds() else identity

    def of_other(self, function: Any) -> Keys:
        """The same of another function."""
        return Keys(function, self._by if self._of_arguments is None else self._of_arguments, self.ignored)

    def of_call(self, identity: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | None:
        """The key, of what identity() returned; None: the function does not take these arguments."""
        if self._of_arguments is not None:
            arguments = self._chosen(identity, args, kwargs)
        elif not kwargs and self._plain_least <= len(args) <= self._plain_most:
            arguments = args + self._plain_defaults[len(args) - self._plain_least :]
        elif self._parameters is None:
            arguments = (args, kwargs)
        else:
            arguments = self._bind(args, dict(kwargs))
            if arguments is None and not self._is_wrapper:
                return None
            if arguments is None:  # the wrapper may take them for itself
                named = {name: value for name, value in kwargs.items() if name not in self.ignored}
                identity, arguments = _achar.digest_call(identity, "as given"), [args, named]
        try:
            return _achar.digest_call(identity, arguments)
        except RecursionError:
            raise
        except Exception:
            root = "argument" if self._of_arguments is None else "what key= returned"
            return _explained(identity, self._named(arguments), root)

    def _named(self, arguments: Any) -> Any:
        """The arguments as a dict, for the message about one of them."""
        if self._parameters is None or not isinstance(arguments, tuple):
            return arguments
        names = [p.name for p in self._parameters if p.name not in self.ignored]
        return dict(zip(names, arguments))

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        """The value of each parameter, defaults filled in, but for those that are ignored."""
        count, ignored = len(args), self.ignored
        bound = []
        if count > len(self._positional) and self._rest is None:
            return None
        for i, (name, value, only) in enumerate(self._positional):
            if i < count:
                if not only and name in kwargs:
                    return None
                value = args[i]
            elif not only:
                value = kwargs.pop(name, value)
            if value is inspect.Parameter.empty:
                return None
            if name not in ignored:
                bound.append(value)
        if self._rest is not None and self._rest not in ignored:
            bound.append(args[len(self._positional) :])
        for name, value in self._keyword:
            value = kwargs.pop(name, value)
            if value is inspect.Parameter.empty:
                return None
            if name not in ignored:
                bound.append(value)
        if self._named_rest is None:
            return None if kwargs else tuple(bound)
        if self._named_rest not in ignored:
            bound.append({name: value for name, value in kwargs.items() if name not in ignored})
        return tuple(bound)

    def warn_of_changes(self, stacklevel: int) -> None:
        """That a result is not stored; once for a function."""
        if not self._has_warned:
            self._has_warned = True
            text = "data or code that it names was changed while it ran, and other threads may have done it"
            text = f"a result of {name_of(self.function)} is not stored: {text}"
            warnings.warn(text, MemoWarning, stacklevel=stacklevel + 1)

    def _identify(self) -> bytes:
        """The function's part of the key; kept as long as what it is made of stays the same."""
        watch: Any = _Always
        if self._by in ("name", "source"):
            function, carried = _unbound(self.function)
            known_by: Any = name_of(function)
            if self._by == "source":
                known_by = known_by, _source(function)
            identity = _achar.digest_call(self._by.encode(), known_by)
            if carried:
                identity, watch = _explained(identity, carried, "what it is bound to"), None  # which may change
        else:
            digest, modules, watch = self.code.identify()
            identity = _achar.digest_call(digest, (_PYTHON, versions(modules)))
        if self._chooser is not None:
            digest, modules, also = self._chooser.identify()
            identity = _achar.digest_call(identity, ("key", digest, versions(modules)))
            watch = None if watch is None or also is None else Both(watch, also)
        elif self.ignored:
            identity = _achar.digest_call(identity, ("ignore", sorted(self.ignored)))
        self._identity = identity, watch
        return identity

    def _chosen(self, identity: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What key= makes of the arguments."""
        assert self._chooser is not None
        with Computing(self._chooser, self, identity):
            return self._of_arguments(*args, **kwargs)

    def computing(self, identity: bytes) -> Computing:
        """Around a call of the function."""
        return Computing(self.code, self, identity)


_BINDING = (functools.partial, types.MethodType)


def _parameters(function: Any) -> tuple[list[inspect.Parameter] | None, bool]:
    """What a function takes, None if it does not tell; and whether a wrapper before it may take other arguments.

    A wrapper is asked itself, but where it takes anything: then the function that it says it wraps."""
    is_wrapper = False
    while True:
        is_function = isinstance(function, types.FunctionType)
        wrapped = None if isinstance(function, _BINDING) else getattr(function, "__wrapped__", None)
        follow = not (is_function or isinstance(function, _BINDING))
        try:
            parameters = list(inspect.signature(function, follow_wrapped=follow).parameters.values())
        except (ValueError, TypeError):  # a function in C that does not tell
            parameters = None
        if wrapped is None:
            return parameters, is_wrapper
        if is_function and any(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters or ()):
            return parameters, is_wrapper
        function, is_wrapper = wrapped, is_wrapper or is_function


def _unbound(function: Any) -> tuple[Any, list[Any]]:
    """What has a name, and what a callable carries beside it: arguments, the object that a method is bound to."""
    carried: list[Any] = []
    while True:
        if isinstance(function, functools.partial):
            carried.append((function.args, function.keywords))
            function = function.func
        elif isinstance(function, types.MethodType):
            carried.append(_owner(function.__self__))
            function = function.__func__
        elif isinstance(function, (types.BuiltinMethodType, types.MethodWrapperType)):
            owner = function.__self__
            if owner is not None and not isinstance(owner, types.ModuleType):
                carried.append(_owner(owner))
            return function, carried
        elif isinstance(function, (types.FunctionType, type)):
            return function, carried
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(getattr(function, "__qualname__", None), str):
            return function, carried
        else:  # an object that can be called
            carried.append(function)
            return type(function), carried


def _owner(owner: Any) -> Any:
    return ("class", name_of(owner)) if isinstance(owner, type) else owner


class _Always:
    @staticmethod
    def holds() -> bool:
        return True


def _source(function: Any) -> bytes:
    path = inspect.getsourcefile(inspect.unwrap(function))
    if path is None:
        raise ValueError(f'there is no source of {name_of(function)}: use key="code" or key="name"')
    with open(path, "rb") as file:
        return file.read()


_versions: dict[str, str] = {}


def versions(modules: Iterable[str]) -> tuple[str, ...]:
    """Of the packages that were installed, their versions; the standard library's is Python's."""
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"", "__main__", "achar"}
    found = (_version(name) for name in sorted(packages))
    return tuple(version for version in found if version)


def _version(name: str) -> str:
    if name not in _versions:
        module = sys.modules.get(name)
        version = getattr(module, "__version__", None)
        if not isinstance(version, str):
            version = _installed_version(name)
        _versions[name] = f"{name} {version}" if version else ""
    return _versions[name]


def _installed_version(name: str) -> str:
    """Of what has installed a module: its distribution may have another name, and a namespace has several."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = sorted(set(importlib.metadata.packages_distributions().get(name, ())))
        return ", ".join(f"{distribution} {importlib.metadata.version(distribution)}" for distribution in found)
