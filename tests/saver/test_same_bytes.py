"""achar.pickle writes what the interpreter's own _pickle writes, byte for byte."""

import array
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import pickle
import uuid

import achar
import achar.pickle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saver_support import PROTOCOLS, outcome, pickled, written


class Empty:
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: object
    label: str = "p"


class Slotted:
    __slots__ = ("a", "b", "__weakref__")

    def __init__(self, **values):
        for name, value in values.items():
            setattr(self, name, value)


class SlottedWithDict(Slotted):
    pass


class SlottedTwice(Slotted):
    __slots__ = ("c", "_SlottedTwice__d")


class ListOf(list):
    pass


class DictOf(dict):
    pass


class SetOf(set):
    pass


class IntOf(int):
    pass


class StrOf(str):
    pass


class TupleOf(tuple):
    pass


class WithNewArgs:
    def __getnewargs__(self):
        return (1, "two")

    def __new__(cls, *args):
        return super().__new__(cls)


class WithNewArgsEx:
    def __getnewargs_ex__(self):
        return (1,), {"key": [2]}

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)


class WithState:
    def __init__(self, state):
        self._state = state

    def __getstate__(self):
        return self._state

    def __setstate__(self, state):
        self._state = state


class Reduced:
    """Reduces to whatever it was given."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return self.value


class ReducedEx(Reduced):
    def __reduce_ex__(self, protocol):
        return self.value


def set_state(obj, state):
    obj.__dict__.update(state)


class Outer:
    class Inner:
        pass

    def method(self):
        pass


class Meta(type):
    pass


class OfMeta(metaclass=Meta):
    pass


class Shadowing:
    """Its instances have attributes by the names that pickling looks up on them."""


Pair = collections.namedtuple("Pair", "left right")


class Colour(enum.Enum):
    RED = 1
    GREEN = [2]


class Flagged(enum.Flag):
    A = 1
    B = 2


def instance(cls, **attributes):
    obj = cls.__new__(cls)
    obj.__dict__.update(attributes)
    return obj


def shadowed(name, value):
    obj = Shadowing()
    obj.__dict__["plain"] = 1
    obj.__dict__[name] = value
    return obj


def cycle_through_list():
    items = []
    items.append(items)
    return items


def cycle_through_tuple(size):
    inner = []
    outer = (*range(size - 1), inner)
    inner.append(outer)
    return outer


def cycle_through_nested_tuples():
    end = []
    root = ((end,),)
    end.append(root)
    return root


def cycle_through_tuple_in_list():
    inner = []
    items = [(inner, 1)]
    inner.append(items)
    return items


def cycle_through_frozenset():
    member = Empty()
    root = frozenset([member])
    member.back = root
    return root


def cycle_through_dict():
    table = {}
    table["self"] = table
    table[("key", Empty())] = [table]
    return table


def cycle_through_reduce():
    cell = []
    obj = Reduced((ListOf, (), None, iter([1])))
    obj.value = (Reduced, (cell,))
    cell.append(obj)
    return obj


def deep(levels, wrap):
    obj = None
    for _ in range(levels):
        obj = wrap(obj)
    return obj


def dictview_state():
    obj = Empty()
    obj.__dict__ = DictOf(a=1)
    return obj


class Moment(datetime.datetime):
    pass


class Zone(datetime.tzinfo):
    def utcoffset(self, when):
        return datetime.timedelta(hours=1)


def dates_and_times():
    zones = [None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=-5)), Zone()]
    found = []
    for _ in range(2):  # the second time their types have been written
        for zone in zones:
            for fold in (0, 1):
                found.append(datetime.datetime(2024, 12, 31, 23, 59, 58, 999_999, zone, fold=fold))
                found.append(datetime.time(23, 59, 58, 1, zone, fold=fold))
                found.append(Moment(2024, 1, 1, tzinfo=zone, fold=fold))
        found += [datetime.date(1, 1, 1), datetime.date.max, datetime.datetime.min, datetime.time()]
        found += [
            datetime.timedelta(),
            datetime.timedelta(-1, 70_000, 999_999),
            datetime.timedelta.max,
            found[0],
            found[1],
        ]
    return [found, [datetime.datetime(2000, 1, 1 + i % 28, i % 24) for i in range(9000)]]


def many_slots(count):
    return MANY_SLOTS[count](*range(count))


def class_of_slots(count):
    names = [f"slot{i}" for i in range(count)]

    def __init__(self, *values):
        for name, value in zip(names, values, strict=True):
            setattr(self, name, value)

    cls = type(f"Slots{count}", (), {"__slots__": names, "__init__": __init__})
    cls.__module__ = __name__
    globals()[cls.__name__] = cls
    return cls


MANY_SLOTS = {count: class_of_slots(count) for count in (0, 1, 16, 17, 20)}

SIZES = [1, 2, 3, 4, 255, 256, 257, 998, 999, 1000, 1001, 1002, 1999, 2000, 2001]

# Functions, because iterators in reduce tuples are used up, and each pickler needs its own.
SHAPES = {
    "singletons": lambda: [None, True, False, ..., NotImplemented],
    "their types": lambda: [type(None), type(...), type(NotImplemented)],
    "integers": lambda: [
        sign * (1 << bits) + delta
        for bits in [*range(0, 70), 127, 255, 2031, 2032, 2039, 2040, 2047, 4096]
        for sign in (1, -1)
        for delta in (-1, 0, 1)
    ],
    "floats": lambda: [0.0, -0.0, 1.5, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"), 0.1],
    "strings": lambda: [
        "",
        "a",
        "é",
        "€",
        "\U0001f600",
        "\ud800",
        "a\ud800\udc00b",
        "\\ \n \r \0 \x1a \x7f \x80 \xff \u0100",
        *("x" * n for n in SIZES),
        *("é" * n for n in (127, 128, 32767, 32768)),
        *("€" * n for n in (85, 86)),
        "x" * 65535,
        "y" * 65536,
        "z" * 200_000,
        "ü" * 100_000,
        "\udfff" * 30_000,
    ],
    "bytes": lambda: [
        b"",
        b"a",
        bytes(range(256)),
        *(b"x" * n for n in SIZES),
        b"y" * 65535,
        b"z" * 65536,
        b"w" * 200_000,
    ],
    "bytearrays": lambda: [bytearray(b""), bytearray(b"abc"), bytearray(65536), bytearray(100_000)],
    "lists": lambda: [list(range(n)) for n in [0, *SIZES]],
    "dicts": lambda: [dict.fromkeys(range(n)) for n in [0, *SIZES]],
    "sets": lambda: [set(range(n)) for n in [0, *SIZES]],
    "frozensets": lambda: [frozenset(range(n)) for n in [0, *SIZES]],
    "tuples": lambda: [tuple(range(n)) for n in [0, *SIZES]],
    "list subclasses": lambda: [ListOf(range(n)) for n in [0, *SIZES]],
    "dict subclasses": lambda: [DictOf.fromkeys(range(n)) for n in [0, *SIZES]],
    "other subclasses": lambda: [SetOf([1]), IntOf(5), StrOf("s"), TupleOf((1, [2])), StrOf("x" * 70_000)],
    "shared": lambda: [x := [1], x, (x, x), {"a": x, "b": x}],
    "shared strings": lambda: [[f"a{i % 300}" for i in range(1000)], {f"a{i % 300}": str(i) for i in range(1000)}],
    "many objects": lambda: [[str(i), (i, str(i)), {str(i): [i]}] for i in range(3000)],
    "list in itself": cycle_through_list,
    **{f"tuple of {n} in itself": functools.partial(cycle_through_tuple, n) for n in (1, 2, 3, 4, 9)},
    "nested tuples in themselves": cycle_through_nested_tuples,
    "tuple in a list in it": cycle_through_tuple_in_list,
    "frozenset in itself": cycle_through_frozenset,
    "dict in itself": cycle_through_dict,
    "object in its own arguments": cycle_through_reduce,
    "nested lists": lambda: deep(150, lambda x: [x]),
    "nested tuples": lambda: deep(200, lambda x: (x,)),
    "nested dicts": lambda: deep(100, lambda x: {"k": x}),
    "nested instances": lambda: deep(100, lambda x: instance(Empty, inner=x)),
    "functions": lambda: [len, outcome, Outer.method, functools.partial(outcome, 1), [].append, "x".upper],
    "classes": lambda: [int, Empty, Outer.Inner, OfMeta, Meta, datetime.datetime, io.BytesIO],
    "names of Python 2": lambda: [range, map, zip, filter, io.StringIO, collections.UserDict, ImportError, OSError],
    "instances": lambda: [
        Empty(),
        Point(1, [2]),
        Point("x", Point(3, 4)),
        instance(Empty, a=1),
        OfMeta(),
        Outer.Inner(),
    ],
    "many instances": lambda: [Point(i, [i], str(i)) for i in range(3000)],
    "slots": lambda: [
        Slotted(),
        Slotted(a=1),
        Slotted(a=[1], b="two"),
        SlottedTwice(a=1, c=(2,), _SlottedTwice__d=3),
        SlottedWithDict(a=1, z=2),
        SlottedWithDict(),
        [Slotted(a=i, b=[i] if i % 3 else "".join(["b", str(i)])) for i in range(9)],
        [Slotted(b=bytes(100_000)), Slotted(a="é" * 40_000), Slotted(a=1 << 100, b=None), Slotted(b=True)],
    ],
    "many slotted": lambda: [Slotted(a=i, b=str(i)) for i in range(3000)],
    "new arguments": lambda: [WithNewArgs(), WithNewArgsEx(), instance(WithNewArgs, a=1), instance(WithNewArgsEx, b=2)],
    "states": lambda: [WithState(s) for s in (None, 0, 1, {}, {"a": 1}, ({}, {}), [1], "text", (None, {"_state": 5}))],
    "shadowed hooks": lambda: [
        shadowed("__reduce_ex__", lambda protocol: (list, ())),
        shadowed("__reduce__", lambda: (list, ())),
        shadowed("__getstate__", lambda: {"other": 1}),
        shadowed("__getnewargs__", lambda: ()),
        shadowed("__class__", Empty),
        shadowed("__reduce_ex", 1),
        shadowed("__é__", 1),
    ],
    "dict of another kind": dictview_state,
    "keys that are not names": lambda: instance(Empty, **{"a b": 1, "": 2}),
    "exceptions": lambda: [
        ValueError("x", 1),
        OSError(2, "no"),
        KeyError("k"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "r"),
    ],
    "namedtuples": lambda: [Pair(i, str(i)) for i in range(50)],
    "enums": lambda: [Colour.RED, Colour.GREEN, Colour.RED, Flagged.A, Flagged.A | Flagged.B],
    "library types": lambda: [
        collections.OrderedDict(a=1, b=[2]),
        collections.defaultdict(list, {1: [2]}),
        collections.Counter("hello"),
        collections.deque(range(1001), 2000),
        collections.ChainMap({1: 2}, {3: 4}),
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6, datetime.timezone.utc),
        datetime.date(2024, 1, 2),
        datetime.timedelta(1, 2, 3),
        decimal.Decimal("1.50"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=7),
        complex(1, 2),
        range(3, 9, 2),
        slice,
        array.array("i", [1, 2, 3]),
        iter([1, 2]),
        iter((1, 2)),
        iter({1: 2}),
        enumerate([1]),
        zip([1], [2], strict=False),
        memoryview,
    ],
    "dates and times": dates_and_times,
    "many slots": lambda: [many_slots(count) for count in (0, 1, 16, 17, 20)],
    "reduce": lambda: [
        Reduced((list, ())),
        Reduced((list, ([1],))),
        Reduced((Empty, (), {"a": 1})),
        Reduced((Empty, (), None)),
        Reduced((ListOf, (), None, iter(range(1000)))),
        Reduced((ListOf, (), {"x": 1}, iter(range(1001)), None)),
        Reduced((ListOf, (), None, iter([]))),
        Reduced((DictOf, (), None, None, iter([]))),
        Reduced((DictOf, (), None, None, iter([(1, 2)]))),
        Reduced((DictOf, (), None, None, iter((i, str(i)) for i in range(2001)))),
        Reduced((Empty, (), {"a": 1}, None, None, set_state)),
        Reduced((Empty, (), None, None, None, set_state)),
        ReducedEx((Empty, ())),
    ],
    "reduce to a name": lambda: [Reduced("SHAPES")],
}
SHAPES["all of them"] = lambda: [make() for make in list(SHAPES.values())[:-1]]


@pytest.mark.parametrize("name", SHAPES)
def test_shape(name):
    make = SHAPES[name]
    for protocol in PROTOCOLS:
        for fix_imports in (True, False) if protocol < 3 else (True,):
            want = outcome(pickle.dumps, make(), protocol, fix_imports=fix_imports)
            assert outcome(achar.pickle.dumps, make(), protocol, fix_imports=fix_imports) == want
        assert written(achar.pickle, make(), protocol) == written(pickle, make(), protocol)
        assert pickled(achar.pickle.Pickler, [make(), 1, make()], protocol) == pickled(
            pickle.Pickler, [make(), 1, make()], protocol
        )


WITH_ITERATORS = {"library types", "reduce", "object in its own arguments", "all of them"}  # used up by pickling


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - WITH_ITERATORS))
def test_same_object_twice(name):
    """One object for both picklers: what others hold of it, which the saver looks at, is the same."""
    obj = [SHAPES[name]()]
    for protocol in PROTOCOLS:
        assert outcome(achar.pickle.dumps, obj, protocol) == outcome(pickle.dumps, obj, protocol)
        held = [obj, *obj, obj]
        assert outcome(achar.pickle.dumps, held, protocol) == outcome(pickle.dumps, held, protocol)


def test_frames_near_the_target():
    """Where a frame is cut depends on every byte before it."""
    for fill in range(65_530 - 40, 65_560):
        for tail in ([1], ["a"], [(1,)], [{"k": 1}], {"k": "v"}, [b"x"], [Empty()], [{1}]):
            obj = ["x" * (fill // 2), "y" * (fill - fill // 2), *(tail if type(tail) is list else [tail]), None]
            for protocol in (4, 5):
                assert written(achar.pickle, obj, protocol) == written(pickle, obj, protocol)
            assert achar.pickle.dumps(obj, 4) == pickle.dumps(obj, 4)


def test_picklebuffers():
    def run(module, obj, protocol, answers):
        seen = []
        answers = iter(answers)

        def callback(buffer):
            seen.append(bytes(buffer))
            return next(answers)

        return outcome(module.dumps, obj, protocol, buffer_callback=callback), seen

    buffers = [
        bytes(10),
        bytearray(10),
        bytes(70_000),
        bytearray(70_000),
        memoryview(b"abcdef")[::2],
        array.array("i", [1]),
    ]
    obj = [pickle.PickleBuffer(b) for b in buffers if not isinstance(b, memoryview)]
    for protocol in PROTOCOLS:
        assert outcome(achar.pickle.dumps, obj, protocol) == outcome(pickle.dumps, obj, protocol)
        for answers in ([True] * 5, [False] * 5, [0, 1, None, "x", []]):
            assert run(achar.pickle, obj, protocol, answers) == run(pickle, obj, protocol, answers)
    strided = pickle.PickleBuffer(buffers[4])
    assert outcome(achar.pickle.dumps, strided, 5) == outcome(pickle.dumps, strided, 5)
    assert written(achar.pickle, obj, 5) == written(pickle, obj, 5)


atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(1 << 40), max_value=1 << 40),
    st.floats(),
    st.text(max_size=40),
    st.text(alphabet="ab", max_size=3),
    st.binary(max_size=300),
    st.sampled_from(["shared", "also shared", 1000, (1,), int, len, Empty, 10**30]),
    st.builds(bytearray, st.binary(max_size=10)),
)
hashables = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10), st.binary(max_size=10), st.just("shared")),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=4)),
    max_leaves=5,
)


def trees(inner):
    return st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(hashables, inner, max_size=5),
        st.sets(hashables, max_size=5),
        st.frozensets(hashables, max_size=5),
        st.builds(Point, inner, inner),
        st.builds(lambda a, b: Slotted(a=a, b=b), inner, inner),
        st.builds(ListOf, st.lists(inner, max_size=3)),
        st.builds(DictOf, st.dictionaries(st.text(max_size=3), inner, max_size=3)),
        st.builds(Pair, inner, inner),
        st.builds(lambda a: Reduced((Empty, (), {"a": a})), inner),
        st.builds(lambda a, b: Reduced((tuple, ([a, b],))), inner, inner),
        st.builds(lambda a, b: [a, b, a], inner, inner),
    )


graphs = st.recursive(atoms, trees, max_leaves=30)


def link(obj, data):
    """Makes cycles and shared parts: puts containers of the graph into its lists and dicts."""
    containers, mutable, todo = [], [], [obj]
    while todo and len(containers) < 200:
        here = todo.pop()
        if isinstance(here, (list, tuple, dict, Point)):
            containers.append(here)
            if isinstance(here, (list, dict, Point)):
                mutable.append(here)
        if isinstance(here, (list, tuple)):
            todo.extend(here)
        elif isinstance(here, dict):
            todo.extend(here.values())
        elif isinstance(here, Point):
            todo.extend([here.x, here.y])
    if not mutable:
        return
    for _ in range(data.draw(st.integers(0, 4))):
        target = data.draw(st.sampled_from(range(len(mutable))))
        value = containers[data.draw(st.sampled_from(range(len(containers))))]
        target = mutable[target]
        if isinstance(target, list):
            target.append(value)
        elif isinstance(target, dict):
            target["link"] = value
        else:
            target.y = value


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs, st.data())
def test_random_graphs(obj, data):
    link(obj, data)
    for protocol in PROTOCOLS:
        want = outcome(pickle.dumps, obj, protocol)
        assert outcome(achar.pickle.dumps, obj, protocol) == want
        assert outcome(achar.pickle.dumps, [obj, obj], protocol) == outcome(pickle.dumps, [obj, obj], protocol)
        assert written(achar.pickle, obj, protocol) == written(pickle, obj, protocol)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs)
def test_superset_writes_plain_data_the_same(obj):
    """Without code in it, achar.dumps is pickle."""
    assert outcome(achar.dumps, obj, 5) == outcome(pickle.dumps, obj, 5)
    assert outcome(achar.dumps, obj, 2) == outcome(pickle.dumps, obj, 2)


def test_classes_that_change():
    """What is remembered of a class is forgotten when it, a base of it or copyreg changes."""

    def same():
        for protocol in PROTOCOLS:
            for obj in (Changing(), [instance(Changing, a=1) for _ in range(3)]):
                assert achar.pickle.dumps(obj, protocol) == pickle.dumps(obj, protocol)
                assert achar.dumps(obj, protocol) == pickle.dumps(obj, protocol)

    hooks = {
        "__reduce__": lambda self: (Changing, ()),
        "__reduce_ex__": lambda self, protocol: (Changing, (), {"ex": protocol}),
        "__getstate__": lambda self: {"state": 1},
        "__getnewargs__": lambda self: (1, "two"),
        "__getnewargs_ex__": lambda self: ((1,), {"k": 2}),
    }
    same()
    for where in (Changing, ChangingBase):
        for name, hook in hooks.items():
            for _ in range(2):
                setattr(where, name, hook)
                same()
                delattr(where, name)
                same()
    for _ in range(2):
        copyreg.pickle(Changing, lambda obj: (Changing, (), {"by": "copyreg"}))
        try:
            same()
        finally:
            del copyreg.dispatch_table[Changing]
        same()


class ChangingBase:
    pass


class Changing(ChangingBase):
    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)
