"""Calls that are not made because their result is known (known.c), and pickles of one scalar, against _pickle."""

import _pickle
import collections
import datetime
import itertools
import random
import struct
import sys
import types
import typing

import achar
import achar.pickle
import pytest


def outcome(loads, data):
    log.clear()
    try:
        loaded = loads(data)
    except Exception as error:
        return type(error), str(error), list(log)
    return repr(loaded), [type(item) for item in loaded] if isinstance(loaded, list) else type(loaded), list(log)


def same(data):
    expected = outcome(_pickle.loads, data)
    assert outcome(achar.pickle.loads, data) == expected
    return expected


log = []

# ---- dates


class Zone(datetime.tzinfo):
    def utcoffset(self, when):
        return datetime.timedelta(hours=1)

    def __repr__(self):
        return "Zone()"


class Moment(datetime.datetime):
    pass


def test_dates_and_datetimes():
    source = random.Random(1)
    zones = [None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=-3)), Zone()]
    value = []
    for _ in range(500):
        moment = datetime.datetime.min + datetime.timedelta(seconds=source.randrange(300_000_000_000))
        moment = moment.replace(microsecond=source.randrange(1_000_000), fold=source.randrange(2))
        value += [moment, moment.date(), moment.time(), moment.replace(tzinfo=source.choice(zones))]
        value.append(Moment(2026, 1, 1, fold=1))
    for protocol in range(6):
        loaded = achar.pickle.loads(_pickle.dumps(value, protocol))
        expected = _pickle.loads(_pickle.dumps(value, protocol))
        assert loaded[::4] == expected[::4] and list(map(repr, loaded)) == list(map(repr, expected))
        assert list(map(type, loaded)) == list(map(type, value))
        assert [getattr(one, "fold", 0) for one in loaded] == [getattr(one, "fold", 0) for one in expected]
        assert list(map(hash, loaded[::4])) == list(map(hash, value[::4]))


def date_stream(name, *arguments):
    return b"\x80\x04cdatetime\n" + name + b"\n(" + b"".join(arguments) + b"tR."


@pytest.mark.parametrize("name", [b"datetime", b"date", b"time", b"timedelta"])
def test_dates_from_any_bytes(name):
    source = random.Random(2)
    for length in (0, 3, 4, 5, 6, 9, 10, 11):
        for _ in range(200):
            state = bytearray(source.randbytes(length))
            if length > 2:
                state[2] = source.choice([0, 1, 12, 13, 127, 128, 129, 140, 141, 255])
            same(date_stream(name, b"C" + bytes([length]) + state))


@pytest.mark.parametrize("name", [b"datetime", b"date"])
def test_dates_of_other_arguments(name):
    ten = b"C\x0a" + bytes([7, 230, 1, 31, 12, 30, 15, 0, 0, 1])
    four = b"C\x04" + bytes([7, 230, 1, 31])
    utc = b"cdatetime\ntimezone\ncdatetime\ntimedelta\nK\x00\x85R\x85R"
    arguments = [b"", ten, four, b"N", b"K\x01", utc, b"\x8c\x0aabcdefghij", b"M\xea\x07", b"]"]
    for chosen in itertools.chain.from_iterable(itertools.product(arguments, repeat=n) for n in (1, 2, 3)):
        same(date_stream(name, *chosen))


def test_who_only_calls_itself_datetime():
    fake = types.ModuleType("fake_dates")
    fake.datetime = types.new_class("datetime.datetime", (list,))
    sys.modules["fake_dates"] = fake
    try:
        assert same(b"\x80\x04cfake_dates\ndatetime\nC\x0a0123456789\x85R.")[0] == repr(list(b"0123456789"))
    finally:
        del sys.modules["fake_dates"]


# ---- namedtuples

Three = collections.namedtuple("Three", "a b c")
Defaults = collections.namedtuple("Defaults", "a b c", defaults=(1, 2))
Empty = collections.namedtuple("Empty", "")
Long = collections.namedtuple("Long", [f"field_{i}" for i in range(64)])
Longer = collections.namedtuple("Longer", [f"field_{i}" for i in range(65)])


class Typed(typing.NamedTuple):
    a: int
    b: str = ""


class Subclass(Three):
    pass


class Slotted(Three):
    __slots__ = ()


class OwnNew(Three):
    __slots__ = ()

    def __new__(cls, a, b, c):
        log.append("own")
        return super().__new__(cls, c, b, a)


class LikeOne(tuple):
    """Its __new__ looks like a namedtuple's, and is not."""

    __slots__ = ()

    def __new__(_cls, a, b, c):
        return _tuple_new(_cls, (a, b, c))

    def __getnewargs__(self):
        return tuple(self)


def _tuple_new(cls, items):
    log.append("like one")
    return tuple.__new__(cls, items[::-1])


class Asking(type):
    def __getattribute__(cls, name):
        if name == "__new__":
            log.append("asked")
        return super().__getattribute__(name)


class Asked(Three, metaclass=Asking):
    pass


class Plain(tuple):
    pass


@pytest.mark.parametrize(
    "cls", [Three, Defaults, Typed, Subclass, Slotted, OwnNew, LikeOne, Asked, Plain, Empty, Long, Longer]
)
def test_tuples_of_many_classes(cls):
    count = len(getattr(cls, "_fields", "abc"))
    value = [
        cls([i] * count) if cls is Plain else cls(*[(i, j) if j % 2 else j for j in range(count)]) for i in range(200)
    ]
    for protocol in range(2, 6):
        data = _pickle.dumps(value, protocol)
        same(data)
        log.clear()
        loaded = achar.pickle.loads(data)
        assert loaded == _pickle.loads(data) and {type(one) for one in loaded} == {cls}
        assert loaded == achar.loads(data)


@pytest.mark.parametrize("arguments", [b"", b"K\x01", b"K\x01K\x02", b"K\x01K\x02K\x03", b"K\x01K\x02K\x03K\x04"])
@pytest.mark.parametrize("cls", [b"Three", b"Defaults", b"Typed", b"Empty", b"LikeOne", b"Plain"])
def test_any_number_of_arguments(cls, arguments):
    good = {b"Three": 3, b"Defaults": 3, b"Typed": 2, b"Empty": 0, b"LikeOne": 3, b"Plain": 1}[cls]
    items = b"]" if cls == b"Plain" else b"K\x00" * good
    head = b"\x80\x04](c" + __name__.encode() + b"\n" + cls + b"\n\x940" + (b"h\x00(" + items + b"t\x81") * 100
    same(head + b"h\x00(" + arguments + b"t\x81" + (b"h\x00(" + items + b"t\x81") * 3 + b"e.")


class Replace:
    """Changes what Victim.__new__ does, in the middle of a load."""

    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        return replace, (self.how,)


def noted_new(cls, items):
    log.append("noted")
    return tuple.__new__(cls, items)


def replace(how):
    def other(_cls, a, b):
        log.append("other")
        return tuple.__new__(_cls, (b, a))

    if how == "global":
        Victim.__new__.__globals__["_tuple_new"] = noted_new
    elif how == "code":
        Victim.__new__.__code__ = (lambda _cls, a, b: _tuple_new(_cls, (b, a))).__code__
    elif how == "method":
        Victim.__new__ = staticmethod(other)
    elif how == "no global":
        del Victim.__new__.__globals__["_tuple_new"]
    return how


@pytest.mark.parametrize("how", ["nothing", "global", "code", "method", "no global"])
def test_a_class_whose_new_changes_meanwhile(how):
    global Victim
    Victim = collections.namedtuple("Victim", "a b")
    data = _pickle.dumps(
        [[Victim(i, i + 1) for i in range(100)], Replace(how), [Victim(i, i + 1) for i in range(3)]], 5
    )
    results = []
    for loads in (_pickle.loads, achar.pickle.loads):
        Victim = collections.namedtuple("Victim", "a b")
        results.append(outcome(loads, data))
    assert results[0] == results[1]
    assert how == "nothing" or results[0][2] or results[0][0] is NameError or "Victim(a=1, b=0)" in results[0][0]


def test_audit_hooks_see_no_execution():
    script = (
        "import sys, collections, _pickle, achar.pickle\n"
        "Three = collections.namedtuple('Three', 'a b c')\n"
        "data = _pickle.dumps([Three(i, i, i) for i in range(1000)], 5)\n"
        "achar.pickle.loads(_pickle.dumps(1))\n"
        "events = set()\n"
        "sys.addaudithook(lambda event, arguments: events.add(event))\n"
        "achar.pickle.loads(data)\n"
        "assert events <= {'pickle.find_class', 'compile'}, events\n"
        "def refuse(event, arguments):\n"
        "    if event == 'compile': raise RuntimeError\n"
        "sys.addaudithook(refuse)\n"
        "assert achar.pickle.loads(data) == _pickle.loads(data)\n"
    )
    import subprocess

    subprocess.run([sys.executable, "-c", script], check=True, timeout=200)


# ---- one scalar

SCALARS = [None, True, False, 0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**64]
SCALARS += [1.5, float("inf"), -0.0, "", "a", "é", "ab", "text", "日本語", "\ud800", "x" * 50, "x" * 60, "x" * 300]
SCALARS += [b"", b"a"]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
@pytest.mark.parametrize("protocol", range(6))
def test_scalars(value, protocol):
    data = _pickle.dumps(value, protocol)
    for loads in (achar.pickle.loads, achar.loads):
        loaded = loads(data)
        assert loaded == value and type(loaded) is type(value)
    if value is None or isinstance(value, bool):
        assert loaded is value
    if type(value) in (int, float, type(None)):
        for changed in changes(data):
            assert outcome(achar.pickle.loads, changed) == outcome(_pickle.loads, changed), changed


def changes(data):
    """Every prefix, every byte doubled or left out, and some others in its place."""
    for i in range(len(data)):
        yield data[:i]
        yield data[:i] + data[i + 1 :]
        yield data[:i] + data[i : i + 1] + data[i:]
        for byte in b"\x00\x01\x02\x05\x06\x08\x80\x94\x95.N\x88KMJG\x8a\x8cC0(2\xff":
            yield data[:i] + bytes([byte]) + data[i + 1 :]
    for frame in (0, 1, len(data), 2**40, 2**63):
        yield data[:2] + b"\x95" + struct.pack("<Q", frame) + data[2:]
    yield data + b"more"


def test_errors_in_one_scalar_are_explained():
    with pytest.raises(UnicodeDecodeError) as caught:
        achar.loads(b"\x80\x04\x8c\x02\xff\xff\x94.")
    if sys.version_info >= (3, 11):
        assert "at byte 2" in caught.value.__notes__[0]
