"""Pickling and unpickling that calls back, for no_memory.py: each hook once."""

import collections
import copyreg
import datetime
import decimal
import functools
import io
import pickle


class Thing:
    def __init__(self, value=0):
        self.value = value

    def __eq__(self, other):
        return type(self) is type(other) and self.value == other.value

    __hash__ = None


class Reduced(Thing):
    def __reduce__(self):
        return Reduced, (), {"value": ["state", self.value]}


class Listed(list):
    def __reduce_ex__(self, protocol):
        return Listed, (), {"a": 1}, iter([1, "two", [3]])


class Mapped(dict):
    def __reduce__(self):
        return Mapped, (), None, None, iter([("k", [1]), ("l", "two")])


class Setter(Thing):
    def __reduce__(self):
        return Setter, (), {"value": [self.value]}, None, None, set_value


class State(Thing):
    def __getstate__(self):
        return [self.value]

    def __setstate__(self, state):
        self.value = state[0]


class NewArguments(Thing):
    def __new__(cls, *args):
        return super().__new__(cls)

    def __getnewargs__(self):
        return (str(self.value), "two")


class NewArgumentsEx(Thing):
    def __new__(cls, *args, key=None):
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return ("one",), {"key": [2]}


class Slots:
    __slots__ = ("a", "b", "__dict__")

    def __init__(self):
        self.a = 1
        self.b = [2]
        self.c = 3


class Outer:
    class Inner(Thing):
        pass

    def method(self):
        return 1


class Registered(Thing):
    pass


def set_value(obj, state):
    obj.__dict__.update(state)


copyreg.pickle(Registered, lambda obj: (Registered, (obj.value,)))

Pair = collections.namedtuple("Pair", "a b")

OBJECTS = {
    "reduce": lambda: [Reduced(1), Reduced("a")],
    "reduce, list items": lambda: Listed(),
    "reduce, dict items": lambda: Mapped(),
    "state setter": lambda: Setter(1),
    "getstate": lambda: State([1]),
    "getnewargs": lambda: NewArguments(7),
    "getnewargs_ex": lambda: NewArgumentsEx(7),
    "slots": lambda: [Slots(), Slots()],
    "instances": lambda: [Thing(), Thing([1]), Thing(Thing("a"))],
    "names": lambda: [Thing, Outer.Inner, len, Outer.method, Outer.Inner(3)],
    "copyreg": lambda: [Registered([1])],
    "a tuple in itself": lambda: recursive_tuple(),
    "cycles": lambda: recursive_list(),
    "library": lambda: [
        collections.OrderedDict(a=1),
        collections.deque([1, 2]),
        collections.Counter("aab"),
        decimal.Decimal("1.5"),
        datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc),
        datetime.timedelta(1),
        complex(1, 2),
        Pair(1, "b"),
        bytearray(b"x"),
        b"bytes",
        {1, 2},
        frozenset([("a", 1)]),
        range(3),
    ],
    "large parts": lambda: [bytes(70_000), "x" * 70_000, "é" * 70_000, bytearray(70_000), 1 << 3000],
}


def recursive_tuple():
    inner = []
    outer = (1, inner)
    inner.append(outer)
    return outer


def recursive_list():
    items = [1]
    items.append({"k": items})
    return items


class NullFile:
    """Keeps nothing."""

    def write(self, data):
        return len(data)


def dumping(module, obj, protocol, **hooks):
    """A function that dumps with a new Pickler that has 'hooks', and returns the bytes."""
    cls = type("Hooked", (module.Pickler,), hooks)

    def run():
        file = io.BytesIO()
        pickler = cls(file, protocol)
        pickler.dump(obj)
        pickler.dump(obj)
        return file.getvalue()

    return run


def loading(module, data, **hooks):
    cls = type("Hooked", (module.Unpickler,), hooks)

    def run():
        return cls(io.BytesIO(data)).load()

    return run


def make(module):
    """{name: (a function without arguments that makes the function to be tried, what to watch)}"""
    found = {}
    classes = [Thing, Reduced, Listed, Mapped, Setter, State, NewArguments, NewArgumentsEx, Slots, Outer.Inner]
    classes += [Registered, Pair, list, dict, tuple, set]
    for name, obj in OBJECTS.items():
        for protocol in (0, 2, 5) if name != "slots" else (2, 5):
            one = obj()
            data = pickle.dumps(one, protocol)
            watched = [one, *classes]
            found[f"{name}, dumps, {protocol}"] = (
                lambda one=one, protocol=protocol: lambda: module.dumps(one, protocol), watched,
            )  # fmt: skip
            found[f"{name}, dump, {protocol}"] = (
                lambda one=one, protocol=protocol: lambda: module.dump(one, NullFile(), protocol), watched,
            )  # fmt: skip
            if name not in ("a tuple in itself", "cycles"):
                found[f"{name}, loads, {protocol}"] = (lambda data=data: lambda: module.loads(data), watched)

    things = [Thing(1), [Thing("a"), 1], {"k": Thing(2)}]
    persistent = pickle_with(things, persistent_id=lambda self, obj: ["id"] if type(obj) is Thing else None)
    hooks = {
        "persistent_id": lambda self, obj: ["id", 1] if type(obj) is Thing else None,
        "reducer_override": lambda self, obj: (Thing, ([1],)) if type(obj) is Thing else NotImplemented,
        "dispatch_table": {Thing: lambda obj: (Thing, (str(obj.value),))},
    }
    for name, hook in hooks.items():
        for protocol in (2, 5):
            found[f"{name}, {protocol}"] = (
                lambda name=name, hook=hook, protocol=protocol: dumping(module, things, protocol, **{name: hook}),
                [Thing, things, hook],
            )  # fmt: skip
    found["persistent_load"] = (
        lambda: loading(module, persistent, persistent_load=lambda self, pid: list(pid)), [Thing],
    )  # fmt: skip
    found["find_class"] = (
        lambda: loading(module, pickle.dumps(things), find_class=lambda self, module, name: Reduced), [Thing, Reduced],
    )  # fmt: skip
    buffers = [pickle.PickleBuffer(bytearray(10)), pickle.PickleBuffer(b"y" * 10)]
    for answer in (True, False):
        # Made here: where memory fails, making a function crashes CPython 3.13.
        def callback(buffer, answer=answer):
            return answer

        dumps = functools.partial(module.dumps, buffers, 5, buffer_callback=callback)
        found[f"buffer_callback, {answer}"] = (lambda dumps=dumps: dumps, buffers)
    return found


def pickle_with(obj, **hooks):
    file = io.BytesIO()
    type("Hooked", (pickle._Pickler,), hooks)(file, 5).dump(obj)
    return file.getvalue()
