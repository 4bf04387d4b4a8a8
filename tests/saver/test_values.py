"""Dates, times and zones, and the names of what is written by name: what is not asked must come out as if it were."""

import copyreg
import datetime
import enum
import io
import itertools
import pickle
import subprocess
import sys
import types

import achar
import achar.pickle
import pytest
from saver_support import PROTOCOLS, Chunks, outcome, pickled, written

delta, timezone = datetime.timedelta, datetime.timezone


class Zone(datetime.tzinfo):
    """Has a state of its own, and calls back."""

    def __init__(self, part=None, state=None):
        self.part = part
        self.state = state

    def utcoffset(self, when):
        return delta(hours=1)

    def __reduce__(self):
        part = self.part() if callable(self.part) else self.part
        return Zone, (part,), self.state

    def __setstate__(self, state):
        self.state = state


class Name(str):
    pass


def values():
    zones = [
        None,
        timezone.utc,
        timezone(delta(hours=-5)),
        timezone(delta(hours=5, microseconds=7), "named"),
        timezone(delta(0)),
        timezone(delta(0), "UTC"),
        timezone(delta(1) - delta(microseconds=1), ""),
        timezone(delta(minutes=1), Name("é")),
        timezone(delta(minutes=1), "n" * 70_000),
        Zone(),
        Zone(["part"], {"a": 1}),
    ]
    yield from zones
    for zone, fold in itertools.product(zones, (0, 1)):
        yield datetime.datetime(2024, 12, 31, 23, 59, 58, 999_999, zone, fold=fold)
        yield datetime.time(23, 59, 58, 1, zone, fold=fold)
    yield datetime.date(1, 1, 1)
    yield delta(-1, 70_000, 999_999)


def same(make, protocols=PROTOCOLS):
    """By every way there is; 'make' gives equal objects, since writing counts references."""
    for protocol in protocols:
        want = outcome(pickle.dumps, make(), protocol)
        assert outcome(achar.pickle.dumps, make(), protocol) == want
        assert written(achar.pickle, make(), protocol) == written(pickle, make(), protocol)
        assert pickled(achar.pickle.Pickler, [make()] * 2, protocol) == pickled(pickle.Pickler, [make()] * 2, protocol)


def test_each_alone_and_twice():
    for index in range(len(list(values()))):

        def one(index=index):
            return next(itertools.islice(values(), index, None))

        same(one)
        same(lambda one=one: [one(), one(), (one(),), {one(): 1} if one() is not None else 0])
        same(lambda one=one: (lambda value: [value, value, {"k": value}, (value, value)])(one()))


def test_all_together():
    same(lambda: list(values()))
    same(lambda: (list(values()), tuple(values()), list(values())))
    same(lambda: [{"id": i, "at": datetime.datetime(2024, 1, 1, tzinfo=timezone(delta(hours=i)))} for i in range(20)])
    assert achar.loads(achar.dumps(list(values())[:7])) == list(values())[:7]


def test_framing():
    """Values on each side of where a frame ends, in memory and in a file."""
    for size in range(65_480, 65_560, 3):
        same(lambda size=size: ["x" * size, datetime.datetime(2024, 1, 1, tzinfo=timezone.utc), "y"], (4, 5))


def test_zones_that_call_back():
    """The zone's own parts lead back to the value, to what was written before, and change it."""

    def cycle():
        zone = Zone(state={})
        value = datetime.datetime(2024, 1, 1, tzinfo=zone)
        zone.state["at"] = value
        zone.state["again"] = [value, zone]
        return [value, value]

    def reached_back():
        value = datetime.datetime(2024, 1, 1)
        items = [["".join(["a", "b"])], value]
        items.append(datetime.datetime(2024, 1, 2, tzinfo=Zone(lambda: (items[0], items[1]))))
        return items

    def emptied():
        items = []
        items += [datetime.time(1, tzinfo=Zone(lambda: items.clear())), datetime.time(2)]
        return items

    def emptied_dict():
        table = {}
        table.update(a=datetime.time(1, tzinfo=Zone(lambda: table.clear())))
        return table

    def fails():
        return [datetime.time(1, tzinfo=Zone(lambda: 1 / 0))]

    for make in (cycle, reached_back, emptied, emptied_dict, fails):
        same(make, (2, 3, 4, 5))
    same(lambda: [datetime.time(1, tzinfo=Zone(lambda: achar.pickle.dumps(list(values())[3])))])


def test_deep():
    """A zone in a value in a zone …: as deep as _pickle can."""

    def nested(depth):
        value = datetime.datetime(2024, 1, 1)
        for _ in range(depth):
            value = datetime.datetime(2024, 1, 1, tzinfo=Zone(value))
        return value

    same(lambda: nested(30))
    for depth in (20_000,):
        assert outcome(pickle.dumps, nested(depth)) == outcome(achar.pickle.dumps, nested(depth)) == "RecursionError"


def test_write_that_empties_what_is_written():
    class Emptying(Chunks):
        def write(self, data):
            target.clear()
            return super().write(data)

    for protocol in (4, 5):
        target = [datetime.datetime(1 + i % 9000, 1, 1, tzinfo=timezone(delta(seconds=i))) for i in range(5000)]
        file = Emptying()
        achar.pickle.dump(target, file, protocol)
        loaded = pickle.loads(b"".join(file.chunks))
        assert loaded == [datetime.datetime(1 + i, 1, 1, tzinfo=timezone(delta(seconds=i))) for i in range(len(loaded))]
        assert 0 < len(loaded) < 5000


def test_copyreg_has_its_say():
    for cls in (datetime.date, datetime.datetime, timezone, delta):
        achar.pickle.dumps(list(values()))
        copyreg.pickle(cls, lambda value: (str, ("replaced",)))
        try:
            same(lambda: list(values()))
        finally:
            del copyreg.dispatch_table[cls]
        same(lambda: list(values()))


def test_a_class_that_is_not_where_it_says(monkeypatch):
    """As a library that freezes time has it."""

    class Frozen(datetime.datetime):
        pass

    real = datetime.datetime(2024, 1, 1)
    monkeypatch.setattr(datetime, "datetime", Frozen)
    for protocol in PROTOCOLS:
        want = outcome(pickle.dumps, [real], protocol)
        assert want[0] is pickle.PicklingError
        assert outcome(achar.pickle.dumps, [real], protocol) == want
    with pytest.raises(pickle.PicklingError, match=r"^obj\[0\].__reduce__\(\)\[0\]: "):
        achar.dumps([real])


def test_paths():
    class Refusing(datetime.tzinfo):
        def __reduce__(self):
            raise ValueError("no")

    with pytest.raises(ValueError) as caught:
        achar.dumps({"at": datetime.time(1, tzinfo=Refusing())})
    if sys.version_info >= (3, 11):
        assert "obj['at'].tzinfo" in caught.value.__notes__[0]


def test_without_the_c_datetime():
    """Where datetime is Python's own, its classes are asked like all others."""
    script = (
        "import sys; sys.modules['_datetime'] = None\n"
        "import pickle, datetime, achar.pickle\n"
        "assert datetime.datetime.__flags__ & 1 << 9\n"
        "zone = datetime.timezone.utc\n"
        "value = [datetime.datetime(2024, 1, 1, tzinfo=zone), datetime.date.min, datetime.timedelta(1)]\n"
        "for protocol in range(6):\n"
        "    data = achar.pickle.dumps(value, protocol)\n"
        "    assert data == pickle.dumps(value, protocol)\n"
        "    assert achar.pickle.loads(data) == value\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=200)


# ---- names


class Lying(type):
    @property
    def __module__(cls):
        asked.append("module")
        return __name__

    @property
    def __name__(cls):
        asked.append("name")
        return "__newobj__"


class Lied(metaclass=Lying):
    pass


class Hooked(type):
    def __getattribute__(cls, name):
        if name in ("__qualname__", "__module__", "__name__"):
            asked.append(name)
        return super().__getattribute__(name)


class OfHooked(metaclass=Hooked):
    pass


class Colour(enum.Enum):
    RED = 1


class Outer:
    class Inner:
        pass


class Renamed:
    pass


Elsewhere = type("Elsewhere", (), {"__module__": "no.such.module"})
Numbered = type("Numbered", (), {"__module__": 5})
NoModule = type("NoModule", (), {})
Renamed.__name__ = "Other"
Renamed.__qualname__ = "Renamed"
asked = []


@pytest.mark.parametrize(
    "cls", [Lied, OfHooked, Colour, Outer, Outer.Inner, Renamed, Elsewhere, Numbered, NoModule, int, types.ModuleType]
)  # fmt: skip
def test_names_of_classes(cls):
    for protocol in PROTOCOLS:
        log = []
        for module in (pickle, achar.pickle):
            asked.clear()
            log.append((outcome(module.dumps, [cls, cls], protocol), set(asked)))
        assert log[0] == log[1]


def test_callables_that_are_classes():
    """A reduce that calls a class, whose __name__ may say __newobj__."""

    class Reduced:
        def __init__(self, *what):
            self.what = what

        def __reduce__(self):
            return self.what

    for cls in (Lied, OfHooked, Colour, list, Renamed):
        for arguments in ((), (Outer,), (1,)):
            same(lambda cls=cls, arguments=arguments: Reduced(cls, arguments))


def test_modules_of_every_kind(monkeypatch):
    """Where the name is looked up decides what is found there."""

    class Module(types.ModuleType):
        def __getattribute__(self, name):
            return found if name == "thing" else super().__getattribute__(name)

    found = type("thing", (), {"__module__": "achar_test_place"})
    other = type("thing", (), {"__module__": "achar_test_place"})
    plain, empty, lazy, strange = (types.ModuleType("achar_test_place") for _ in range(4))
    plain.thing = found
    empty.thing = other
    lazy.__getattr__ = lambda name: found
    strange = Module("achar_test_place")
    strange.thing = other
    for place in (plain, empty, lazy, strange, None, types.SimpleNamespace(thing=found), types.ModuleType("x")):
        monkeypatch.setitem(sys.modules, "achar_test_place", place)
        same(lambda: found)
    monkeypatch.setitem(sys.modules, "achar_test_place", plain)
    for name in ("__doc__", "__dict__", "__class__", "_private", ""):
        found.__qualname__ = found.__name__ = name
        setattr(plain, name, found) if name not in ("__dict__", "__class__", "") else None
        same(lambda: found)


def test_reduce_of_every_kind():
    """__reduce__ in place of __reduce_ex__, in the class, in the instance and by a metaclass."""

    class Slots:
        __slots__ = ()

        def __reduce__(self):
            return str, ("class",)

    class WithDict(Slots):
        pass

    class Descriptor(Slots):
        __slots__ = ()
        __reduce__ = property(lambda self: lambda: (str, ("property",)))

    class Static(Slots):
        __slots__ = ()
        __reduce__ = staticmethod(lambda: (str, ("static",)))

    class Both(Slots):
        __slots__ = ()

        def __reduce_ex__(self, protocol):
            return str, ("ex", protocol)

    class Meta(type):
        @property
        def __reduce__(cls):
            return object.__reduce__  # as if it were not overridden

    class OfMeta(Slots, metaclass=Meta):
        __slots__ = ()

    def with_own(name):
        value = WithDict()
        setattr(value, name, lambda *args: (str, ("own", *args[:0])))
        return value

    for cls in (Slots, WithDict, Descriptor, Static, Both, OfMeta):
        same(lambda cls=cls: [cls(), cls()])
    for name in ("__reduce__", "__reduce_ex__"):
        same(lambda name=name: with_own(name))


def test_files():
    """A real file gets what a BytesIO gets."""
    file = io.BytesIO()
    achar.pickle.dump(list(values()), file, 5)
    assert file.getvalue() == pickle.dumps(list(values()), 5)
