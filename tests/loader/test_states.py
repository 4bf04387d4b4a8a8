"""BUILD without a state's dict (state.c) and dicts that are made late (dicts.c): as _pickle, case by case."""

import _pickle
import dataclasses
import gc
import random
import sys
import types

import achar.pickle
import pytest


@dataclasses.dataclass
class Point:
    x: object = 0
    y: object = 0
    z: object = 0


class Slots:
    __slots__ = ("a", "b", "c")


class SlotsAndDict(Slots):
    __slots__ = ("__dict__", "d")


class Stateful:
    def __setstate__(self, state):
        self.state = state


class WithProperty:
    @property
    def x(self):
        return self.__dict__["x"]

    @x.setter
    def x(self, value):
        raise AssertionError("BUILD does not call setters of attributes")


class WithSetattr:
    def __setattr__(self, name, value):
        object.__setattr__(self, name, ("set", value))


class SlotsWithSetattr:
    __slots__ = ("a", "b", "c")

    def __setattr__(self, name, value):
        object.__setattr__(self, name, ("set", value))


class WithGetattr:
    def __getattr__(self, name):
        if name == "__setstate__":
            return lambda state: object.__setattr__(self, "by", ("getattr", state))
        raise AttributeError(name)


class OwnDict:
    @property
    def __dict__(self):
        return log


class Base:
    def __init__(self):
        self.base = 1


class Derived(Base, list):
    pass


class Many:
    pass


CLASSES = [
    Point,
    Slots,
    SlotsAndDict,
    Stateful,
    WithProperty,
    WithSetattr,
    SlotsWithSetattr,
    WithGetattr,
    Derived,
    Many,
]
log = {}


def describe(thing, depth=0):
    """All that can be seen of a loaded thing, order of attributes included."""
    if isinstance(thing, (list, tuple)) and depth < 6:
        own = [describe(item, depth + 1) for item in thing]
    elif isinstance(thing, dict) and depth < 6:
        own = [(describe(key, depth + 1), describe(value, depth + 1)) for key, value in thing.items()]
    else:
        own = repr(thing) if type(thing).__module__ == "builtins" else ""
    attributes = []
    if type(thing) in CLASSES:
        attributes = [(name, describe(value, depth + 1)) for name, value in getattr(thing, "__dict__", {}).items()]
        for name in ("a", "b", "c", "d"):
            try:
                attributes.append((name, describe(object.__getattribute__(thing, name), depth + 1)))
            except AttributeError:
                pass
    return type(thing).__name__, own, attributes


def outcome(loads, data):
    log.clear()
    try:
        loaded = loads(data)
    except Exception as error:
        return type(error), str(error)
    return describe(loaded), dict(log)


def same(data):
    expected = outcome(_pickle.loads, data)
    assert outcome(achar.pickle.loads, data) == expected
    return expected


def load(value, protocol=5):
    return achar.pickle.loads(_pickle.dumps(value, protocol))


# ---- streams by hand: many objects of a class with the same state


def text(value):
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def state_dict(pairs, keys):
    """}( key value ... u, where keys are fetched from the memo when they are there."""
    body = b"".join(keys(key) + value for key, value in pairs)
    return b"}\x94(" + body + b"u"


def stream(cls, count, make_state):
    """A tuple of 'count' objects; the names a, b, c, x, y, z are in the memo from 1 to 6."""
    names = {name: i + 1 for i, name in enumerate("abcxyz")}

    def keys(key):
        return b"h" + bytes([names[key]]) if key in names else text(key) + b"\x94"

    parts = [b"\x80\x04(", b"c", __name__.encode(), b"\n", cls.encode(), b"\n\x94"]
    parts += [text(name) + b"\x94" for name in names] + [b"0"] * len(names)
    parts += [b"h\x00)\x81\x94" + make_state(i, keys) + b"b" for i in range(count)]
    return b"".join(parts) + b"t."


@pytest.mark.parametrize("cls", [cls.__name__ for cls in CLASSES] + ["OwnDict"])
@pytest.mark.parametrize(
    "make_state",
    [
        lambda i, keys: state_dict([("x", b"K\x01"), ("y", b"]"), ("z", b"K%c" % i)], keys),
        lambda i, keys: state_dict([("x" if i % 3 else "y", b"K\x01"), ("z", b"]")], keys),
        lambda i, keys: state_dict([("x", b"K\x01"), ("x", b"K\x02"), ("y", b"K\x03")], keys),
        lambda i, keys: state_dict([("x", b"K\x01"), ("new", b"K\x02")], keys),
        lambda i, keys: state_dict([("x", b"K\x01"), ("__setstate__", b"K\x02")], keys),
        lambda i, keys: state_dict([("x", b"K\x01"), ("__class__", b"K\x02")], keys),
        lambda i, keys: state_dict([("x", b"K\x01"), ("__dict__", b"K\x02")], keys),
        lambda i, keys: b"}\x94(K\x01K\x02u",
        lambda i, keys: b"}\x94(h\x01u",
        lambda i, keys: b"}\x94(u",
        lambda i, keys: b"}\x94",
        lambda i, keys: b"}\x94(h\x01N\x85u",
        lambda i, keys: b"N",
        lambda i, keys: b"N" + state_dict([("a", b"K\x01"), ("b", b"]")], keys) + b"\x86\x94",
        lambda i, keys: b"N" + state_dict([("a", b"K\x01"), ("a", b"]")], keys) + b"\x86\x94",
        lambda i, keys: b"N" + state_dict([("a", b"K\x01"), ("x", b"]")], keys) + b"\x86",
        lambda i, keys: b"N" + state_dict([("a", b"K\x01"), ("__setstate__", b"]")], keys) + b"\x86",
        lambda i, keys: b"N" + state_dict([("a", b"K\x01")], keys) + b"\x86q\xff",
        lambda i, keys: b"N}\x94(K\x01K\x02u\x86\x94",
        lambda i, keys: b"}\x94(h\x04K\x07u" + state_dict([("b", b"K\x01"), ("a", b"]")], keys) + b"\x86\x94",
        lambda i, keys: state_dict([("a", b"K\x01")], keys) + b"b" + state_dict([("a", b"K\x02"), ("b", b"N")], keys),
        lambda i, keys: b"N" + state_dict([("a", b"N")], keys) + b"\x86bN" + state_dict([("a", b"]")], keys) + b"\x86",
    ],
)
def test_every_class_with_every_state(cls, make_state):
    for count in (1, 2, 3, 40):
        same(stream(cls, count, make_state))


@pytest.mark.parametrize("cls", [cls.__name__ for cls in CLASSES])
def test_nothing_to_build(cls):
    """A BUILD whose object is under a mark, or missing."""
    begin = b"\x80\x04(" + b"\x8c\x01a\x94" * 100 + b"1c" + __name__.encode() + b"\n" + cls.encode() + b"\n)\x81"
    for middle in (
        b"(}\x94(h\x01K\x01ub",
        b"(N}\x94(h\x01K\x01u\x86\x94b",
        b"0}\x94(h\x01K\x01ub",
        b"00}\x94(h\x01K\x01ub",
    ):
        same(begin + middle + b".")


# ---- states that are used elsewhere too


def test_objects_that_share_their_dict():
    class_dict = {"x": 1, "y": [2]}
    points = [Point() for _ in range(100)]
    for point in points:
        point.__dict__ = class_dict
    value = [points, class_dict]
    data = _pickle.dumps(value, 5)
    assert _pickle.dumps(achar.pickle.loads(data), 5) == _pickle.dumps(_pickle.loads(data), 5)


def test_states_that_are_fetched_later():
    points = [Point(i, str(i), [i]) for i in range(400)]
    value = [points, [point.__dict__ for point in points[::7]]]
    loaded = load(value)
    assert loaded == value
    assert all(state is not point.__dict__ for state, point in zip(loaded[1], loaded[0][::7], strict=True))


def test_an_object_in_its_own_state():
    points = [Point() for _ in range(100)]
    for i, point in enumerate(points):
        point.x, point.y, point.z = point, points[i - 1], points
    loaded = load(points)
    assert all(point.x is point and point.z is loaded for point in loaded)
    assert all(point.y is loaded[i - 1] for i, point in enumerate(loaded))


# ---- what loaded objects are like


def test_attributes_can_be_changed_as_usual():
    loaded = load([Point(i, i + 1, i + 2) for i in range(100)])
    for i, point in enumerate(loaded):
        assert vars(Point(i, i + 1, i + 2)) == {"x": point.x, "y": point.y, "z": point.z}
        if i % 4 == 0:
            del point.y
            assert list(vars(point)) == ["x", "z"]
            point.y = 1
            assert list(vars(point)) == ["x", "z", "y"]
        elif i % 4 == 1:
            point.new = "new"
            assert list(vars(point)) == ["x", "y", "z", "new"]
        elif i % 4 == 2:
            point.x = "other"
            assert vars(point) == {"x": "other", "y": i + 1, "z": i + 2}
        else:
            del point.x, point.y, point.z
            assert vars(point) == {}
    del loaded
    gc.collect()


@pytest.mark.parametrize("count", [1, 2, 29, 30, 31, 32, 33, 100, 300])
def test_many_attributes(count):
    value = []
    for i in range(50):
        many = Many()
        for j in range(count):
            setattr(many, f"name_{j}", (i, j))
        value.append(many)
    data = _pickle.dumps(value, 5)
    assert describe(achar.pickle.loads(data)) == describe(_pickle.loads(data))


def test_attributes_in_any_order_and_number():
    source = random.Random(5)
    value = []
    for i in range(500):
        many = Many()
        for name in source.sample("abcdefghijkl", source.randrange(13)):
            setattr(many, name, i)
        value.append(many)
    data = _pickle.dumps(value, 5)
    assert describe(achar.pickle.loads(data)) == describe(_pickle.loads(data))


def make_class(name, **body):
    cls = types.new_class(name, exec_body=lambda namespace: namespace.update(body, __module__=__name__))
    globals()[name] = cls
    return cls


def test_more_classes_than_are_remembered():
    classes = [make_class(f"Made{i}") for i in range(40)]
    value = []
    for i in range(400):
        made = classes[i * 7 % 40]()
        made.number, made.other = i, [i]
        value.append(made)
    loaded = load(value)
    assert [(type(made), made.number, made.other) for made in loaded] == [(type(m), m.number, m.other) for m in value]


class SmallPoint(Point):
    """For one test: in a class whose instances were ever given other attributes, objects are larger."""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="objects have a dict from the beginning")
def test_loaded_objects_are_as_small_as_others():
    # who has no __dict__ yet refers to its attributes, not to a dict
    for points in ([SmallPoint(i, i, i) for i in range(100)], load([SmallPoint(i, i, i) for i in range(100)])):
        assert not any(isinstance(referent, dict) for point in points for referent in gc.get_referents(point))


# ---- classes that change meanwhile


def change_class():
    if Changing.how == "property":
        Changing.x = property(lambda self: "got", lambda self, value: log.setdefault("set", value))
    elif Changing.how == "setstate":
        Changing.__setstate__ = lambda self, state: log.setdefault("states", []).append(state)
    elif Changing.how == "setattr":
        Changing.__setattr__ = lambda self, name, value: log.setdefault("names", []).append(name)
    elif Changing.how == "dict":
        Changing.__dict__ = property(lambda self: log)
    return 1


class Changing:
    how = None


class Trigger:
    def __reduce__(self):
        return change_class, ()


@pytest.mark.parametrize("how", ["property", "setstate", "setattr", "dict"])
def test_a_class_that_changes_between_two_of_its_objects(how, monkeypatch):
    def make():
        changing = object.__new__(Changing)
        vars(changing).update(x=1, y=[2])
        return changing

    data = _pickle.dumps([[make() for _ in range(50)], Trigger(), [make() for _ in range(3)]], 5)

    def run(loads):
        for name in ("x", "__setstate__", "__setattr__", "__dict__"):
            if name in type.__getattribute__(Changing, "__dict__") and name != "__dict__":
                delattr(Changing, name)
        globals()["Changing"] = types.new_class("Changing", exec_body=lambda body: body.update(__module__=__name__))
        globals()["Changing"].how = how
        log.clear()
        try:
            loaded = loads(data)
        except Exception as error:
            return type(error), str(error)
        return [object.__getattribute__(one, "__class__").__name__ for one in loaded[0] + loaded[2]], repr(log)

    old = Changing
    try:
        assert run(achar.pickle.loads) == run(_pickle.loads)
    finally:
        globals()["Changing"] = old


def touch(point):
    point.z = "touched"
    return point


class Touched:
    """The object is changed by a function of its own pickle, before its BUILD."""


def test_an_object_that_has_attributes_before_its_build():
    body = b"}\x94(h\x02K\x01h\x04K\x02ub"
    names = b"\x8c\x01z\x94\x8c\x01x\x94\x8c\x01y\x94"
    functions = b"c%b\nPoint\n\x94c%b\ntouch\n\x94" % (__name__.encode(), __name__.encode())
    one = b"h\x01h\x00)\x81\x85R" + body
    data = b"\x80\x04(" + functions + names + one * 50 + b"t."
    same(data)
    loaded = achar.pickle.loads(data)
    assert vars(loaded[-1]) == {"z": 1, "y": 2}


# ---- dicts


def test_dicts_with_the_same_keys():
    value = [{"id": i, "name": str(i), "tags": [i], "pair": (i, [i]), "none": None} for i in range(1000)]
    loaded = load(value)
    assert loaded == value
    assert [list(one) for one in loaded] == [list(one) for one in value]
    expected = _pickle.loads(_pickle.dumps(value, 5))
    assert [sys.getsizeof(one) for one in loaded] == [sys.getsizeof(one) for one in expected]
    assert [gc.is_tracked(one) for one in loaded] == [gc.is_tracked(one) for one in expected]
    for i, one in enumerate(loaded):
        one["new"] = i
        del one["name"]
        one.update(id=-1, more={})
        assert one == {"id": -1, "tags": [i], "pair": (i, [i]), "none": None, "new": i, "more": {}}


@pytest.mark.parametrize("values", [(1, "a", None), ((1,), 2.5, b"x"), ([], 1, 2), (1, ((), [1]), 2), ({}, {}, {})])
def test_dicts_are_tracked_as_the_interpreters_are(values):
    value = [dict(zip("abc", values, strict=True)) for _ in range(100)]
    data = _pickle.dumps(value, 5)
    tracked = [[gc.is_tracked(one) for one in loads(data)] for loads in (_pickle.loads, achar.pickle.loads)]
    assert tracked[0] == tracked[1]


@pytest.mark.parametrize("count", [1, 5, 6, 10, 11, 21, 22, 63, 64, 65, 200, 999, 1000, 1001, 2500])
def test_dicts_of_any_size(count):
    value = [{f"key {i}": [i, j] for i in range(count)} for j in range(5)]
    loaded, expected = load(value), _pickle.loads(_pickle.dumps(value, 5))
    assert loaded == value
    assert [sys.getsizeof(one) for one in loaded] == [sys.getsizeof(one) for one in expected]


def test_dicts_of_any_keys():
    source = random.Random(6)
    keys = [*"abcdefgh", *range(6), (1, "x"), None, b"b", 1.5, "key" * 30]
    value = []
    for i in range(3000):
        chosen = source.sample(keys, source.randrange(1, 8))
        if source.random() < 0.7:
            chosen.sort(key=str)
        value.append({key: [i] for key in chosen[: source.randrange(1, 9)]})
    loaded = load(value)
    assert [list(one.items()) for one in loaded] == [list(one.items()) for one in value]


# ---- any opcode may take the mark above a dict that is not made yet

PUSHES = [b"K\x01", b"N", b"]", b")", b"\x8f", b"h\x00", b"h\x01", b"j\x02\0\0\0", b"\x8c\x01k\x94", b"}\x94", b"}"]
PLACES = [b"}\x94(", b"}("]
TAKERS = [b"t", b"t\x94", b"l", b"d", b"u", b"u", b"u", b"u", b"e", b"1", b"0"]
TAKERS += [b"\x90", b"\x91", b"o", b"iset\nset\n"]
OTHERS = [
    b"(",
    b"0",
    b"2",
    b"a",
    b"s",
    b"\x85",
    b"\x86\x94",
    b"\x87",
    b"b",
    b"\x81",
    b"R",
    b"\x94",
    b"u",
    b"e",
    b"h\x05",
]


@pytest.mark.parametrize("part", range(8))
def test_random_programs_with_marks(part):
    filler = b"\x80\x04(" + b"\x8c\x01f\x94" * 100 + b"1"
    for seed in range(part * 1500, part * 1500 + 1500):
        source = random.Random(seed)
        parts = [filler if source.random() < 0.8 else b"\x80\x04\x8c\x01f\x94\x8c\x01g\x94\x8c\x01h\x94000"]
        for _ in range(source.randrange(3, 25)):
            kind = source.choices([PUSHES, PLACES, TAKERS, OTHERS], [6, 3, 4, 1])[0]
            parts.append(source.choice(kind))
        data = b"".join(parts) + source.choice([b"", b"t", b"t", b"u"]) + b"."
        same(data)
