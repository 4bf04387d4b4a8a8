"""Weak references, files, tracebacks, context variables, and what hides its parts."""

import collections
import contextvars
import functools
import itertools
import logging
import os
import struct
import sys
import tempfile
import types
import weakref

from cases import case, main


class Thing:
    def __init__(self, x=None):
        self.x = x

    def get(self):
        return self.x


@case
def weak_reference():
    thing = Thing(1)
    return (thing, weakref.ref(thing), weakref.ref(thing)), lambda t: t[1]() is t[0] and t[1] is t[2]


@case
def weak_reference_first():
    thing = Thing(1)
    return (weakref.ref(thing), thing), lambda t: t[0]() is t[1]


@case
def weak_reference_to_its_holder():
    thing = Thing()
    thing.x = weakref.ref(thing)
    return thing, lambda t: t.x() is t


@case
def weak_reference_alone_is_dead_there():
    return weakref.ref(Thing), lambda r: r() is None or r().__name__ == "Thing"


@case
def weak_reference_dead():
    return weakref.ref(Thing()), lambda r: type(r).__name__ == "ReferenceType" and r() is None


def remember(reference):
    gone.append(1)


gone = []


@case
def weak_reference_with_callback():
    thing = Thing()

    def check(pair):
        log = pair[1].__callback__.__globals__["gone"]
        pair.pop(0)
        return log == [1]

    return [thing, weakref.ref(thing, remember)], check


class Named(weakref.ref):
    __slots__ = ("name",)

    def __new__(cls, obj, name):
        self = super().__new__(cls, obj)
        self.name = name
        return self

    def __init__(self, obj, name):
        super().__init__(obj)


@case
def weak_reference_subclass():
    thing = Thing()
    return (thing, Named(thing, "n")), lambda t: t[1]() is t[0] and t[1].name == "n"


@case
def weak_method():
    thing = Thing(5)
    return (thing, weakref.WeakMethod(thing.get)), lambda t: t[1]()() == 5


@case
def weak_method_dead():
    return weakref.WeakMethod(Thing().get), lambda r: r() is None


@case
def weak_proxy():
    thing = Thing(5)

    def check(pair):
        alive = pair[1].x == 5 and type(pair[1]) is __import__("weakref").ProxyType
        del pair[0]
        try:
            return pair[0].x and False
        except ReferenceError:
            return alive

    return [thing, weakref.proxy(thing)], check


@case
def weak_key_dictionary():
    thing = Thing(1)
    d = weakref.WeakKeyDictionary({thing: 5})

    def check(pair):
        good = pair[1][pair[0]] == 5
        del pair[0]
        return good and len(pair[0]) == 0

    return [thing, d], check


@case
def weak_value_dictionary():
    thing = Thing()
    thing.x = weakref.WeakValueDictionary(a=thing)
    return thing, lambda t: t.x["a"] is t and list(t.x) == ["a"]


@case
def weak_set():
    thing = Thing()
    return (thing, weakref.WeakSet([thing])), lambda t: list(t[1]) == [t[0]]


class Registry(weakref.WeakValueDictionary):
    def __init__(self, name):
        super().__init__()
        self.name = name


@case
def weak_dictionary_subclass():
    thing, registry = Thing(), Registry("r")
    registry[1] = thing
    return (thing, registry), lambda t: t[1][1] is t[0] and t[1].name == "r"


@functools.singledispatch
def describe(obj):
    return "object"


@describe.register
def _(obj: int):
    return "int"


@describe.register(Thing)
def _(obj):
    return "Thing"


@case
def singledispatch():
    describe(True)
    return (describe, Thing()), lambda t: [t[0](v) for v in (1, True, "", t[1])] == ["int", "int", "object", "Thing"]


class Visitor:
    @functools.singledispatchmethod
    def visit(self, node):
        return "any"

    @visit.register
    def _(self, node: str):
        return "str"

    @functools.singledispatchmethod
    @classmethod
    def of(cls, node):
        return cls.__name__


@case
def singledispatchmethod():
    return Visitor(), lambda v: (v.visit(1), v.visit(""), v.of(1)) == ("any", "str", "Visitor")


request = contextvars.ContextVar("request", default=7)
bare = contextvars.ContextVar("bare")


@case
def context_variable():
    return (request, bare), lambda t: (t[0].name, t[0].get(), t[1].get("none")) == ("request", 7, "none")


@case
def context_variable_is_one():
    def read():
        return request.get()

    def check(t):
        t[1].set(8)
        return t[0]() == 8

    return (read, request), check


@case
def context_variable_of_a_module():
    import decimal

    module = types.ModuleType("with_variable")
    sys.modules["with_variable"] = module
    return decimal.getcontext().prec, lambda p: p == 28


class Base:
    def name(self):
        return "base"


class Derived(Base):
    def name(self):
        return "derived"

    def inner(self):
        return super()


@case
def super_objects():
    d = Derived()
    return (d, d.inner(), super(Derived)), (
        lambda t: t[1].name() == "base" and t[1].__self__ is t[0] and t[2].__thisclass__ is type(t[0])
    )


def a_file(mode, **kwargs):
    # Beside what main() writes, with which the test removes it.
    handle, path = tempfile.mkstemp(dir=os.path.dirname(sys.argv[1]))
    os.write(handle, "zwölf\nBoxkämpfer\n".encode(kwargs.get("encoding", "utf-8")))
    os.close(handle)
    return open(path, mode, **kwargs)


@case
def file_text():
    file = a_file("r", encoding="latin-1")
    file.readline()
    return file, lambda f: f.encoding == "latin-1" and f.read() == "Boxkämpfer\n"


@case
def file_binary():
    file = a_file("rb")
    file.read(2)
    return file, lambda f: f.readline() == "ölf\n".encode()


@case
def file_raw():
    file = a_file("rb", buffering=0)
    file.seek(-3, 2)
    return file, lambda f: f.read() == b"er\n"


@case
def file_standard_streams():
    return (sys.stdout, sys.stderr), lambda t: t == (__import__("sys").stdout, __import__("sys").stderr)


def fails(x):
    return 1 // x


def caught(function, *args):
    try:
        function(*args)
    except Exception as e:
        return e


@case
def traceback_object():
    def check(trace):
        import traceback

        entries = traceback.extract_tb(trace)
        return [e.name for e in entries] == ["caught", "fails"] and all(e.lineno > 1 for e in entries)

    return caught(fails, 0).__traceback__, check


@case
def exception_raised_again():
    def chained():
        try:
            fails(0)
        except ZeroDivisionError as e:
            raise ValueError("v") from e

    def check(e):
        import traceback

        try:
            raise e
        except ValueError as again:
            text = "".join(traceback.format_exception(type(again), again, again.__traceback__))
        return "in chained" in text and "in fails" in text and "in check" in text

    return caught(chained), check


@case
def pairwise_begun():
    fresh, begun, spent = itertools.pairwise([1, 2, 3]), itertools.pairwise([1, 2, 3]), itertools.pairwise([1])
    next(begun), list(spent)
    return (fresh, begun, spent), lambda t: [list(p) for p in t] == [[(1, 2), (2, 3)], [(2, 3)], []]


@case
def compare_keys():
    key = functools.cmp_to_key(lambda a, b: b - a)
    return (key, key(3)), lambda t: sorted([1, 3, 2], key=t[0]) == [3, 2, 1] and t[1].obj == 3 and t[1] < t[0](1)


@case
def ordered_dict_views():
    d = collections.OrderedDict(a=1)
    return (d, d.keys(), d.items()), (
        lambda t: list(t[1]) == ["a"] and type(t[2]).__name__ == "odict_items" and t[1].mapping == t[0]
    )


@case
def descriptors():
    return (types.FunctionType.__code__, vars(dict)["fromkeys"]), (
        lambda t: (
            t[0].__get__(t[2] if len(t) > 2 else check_code).co_name == "check_code"
            and t[1].__get__(None, dict)("a") == {"a": None}
        )
    )


def check_code():
    pass


@case
def struct_object():
    return struct.Struct("<ih"), lambda s: s.pack(1, 2) == b"\1\0\0\0\2\0"


@case
def loggers():
    return (logging.getLogger("a.b"), logging.getLogger()), (
        lambda t: t[0] is __import__("logging").getLogger("a.b") and t[1] is __import__("logging").root
    )


@case
def iterators_over_lambdas():
    return (
        [
            map(lambda x: x + 1, [1, 2]),
            filter(lambda x: x > 1, [1, 2]),
            itertools.takewhile(lambda x: x < 2, [1, 2]),
            itertools.starmap(lambda a, b: a + b, [(1, 2)]),
            itertools.accumulate([1, 2], lambda a, b: a * b),
            itertools.chain([1], map(lambda x: -x, [2])),
            enumerate(map(lambda x: -x, [2])),
        ],
        lambda its: [list(i) for i in its] == [[2, 3], [2], [1], [3], [1, 2], [1, -2], [(0, -2)]],
    )


def nested(make, inner, depth=100_000):
    for _ in range(depth):
        inner = make(inner)
    return inner


def depth_of(obj, step):
    n = 0
    while obj:
        obj, n = step(obj), n + 1
    return n


@case
def nested_100_000_lists():
    return nested(lambda x: [x], []), lambda x: (depth_of, depth_of(x, lambda y: y[0]))[1] == 100_000


@case
def nested_100_000_objects():
    return nested(Thing, None), lambda x: depth_of(x, lambda y: y.x) == 100_000


main()
