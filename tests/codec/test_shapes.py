"""Known shapes: C says what Python wrote, and makes what Python reads, value by value."""

import array
import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import pickle
import sys
import uuid
import zoneinfo

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapes_client import Refused, Server, same

QUIET = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
PROTOCOLS = range(6)


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"
    BOTH = (1, "green")


class Weight(enum.IntFlag):
    LIGHT = 1
    HEAVY = 2


@pytest.fixture(scope="session")
def server():
    server = Server()
    yield server
    server.close()


def utc(hours, name=None):
    offset = datetime.timedelta(hours=hours)
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


WHEN = datetime.datetime(2024, 2, 29, 23, 59, 58, 999999)
A = numpy.arange(24, dtype="<i4").reshape(2, 3, 4)

VALUES = {
    "datetime": WHEN,
    "datetime least": datetime.datetime.min,
    "datetime most": datetime.datetime.max,
    "datetime utc": WHEN.replace(tzinfo=datetime.timezone.utc),
    "datetime west": WHEN.replace(tzinfo=utc(-5.5, "Wëst")),
    "datetime zone": WHEN.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    "datetime in october": WHEN.replace(month=10, day=13, hour=10),  # newlines in its state
    "date": datetime.date(1, 12, 31),
    "time": datetime.time(23, 0, 59, 1),
    "time with zone": datetime.time(0, tzinfo=utc(23.99)),
    "timedelta": datetime.timedelta(-999999999, 86399, 999999),
    "timezone": utc(0),
    "zoneinfo": zoneinfo.ZoneInfo("America/New_York"),
    "decimals": [decimal.Decimal(t) for t in ("1.10", "-0", "1E+5", "0E-7", "Infinity", "-NaN12", "sNaN", "-0.00")],
    "long decimal": decimal.Decimal("9" * 5000 + "." + "1" * 5000),
    "fractions": [fractions.Fraction(3, 4), fractions.Fraction(-7), fractions.Fraction(2**200, 3**100)],
    "complex": [1 - 2j, complex("-0-0j"), complex("inf+nanj")],
    "range": [range(1, 9, 2), range(0), range(10**30, -(10**30), -3)],
    "uuids": [uuid.UUID(int=n) for n in (0, 5, 2**63, 2**127, 2**128 - 1)] + [uuid.NAMESPACE_DNS],
    "paths": [pathlib.PurePosixPath("/a/b c/ö"), pathlib.PureWindowsPath("C:\\x\\y"), pathlib.Path("x/y")],
    "bytes": [b"", b"abc", bytes(range(256)), bytearray(), bytearray(b"\0\xff"), bytearray(range(256))],
    "sets": [set(), {1, 2}, {"a", WHEN, None}, frozenset(), frozenset([1, (2, 3)]), {frozenset([1])}],
    "large set": set(range(2500)),
    "deques": [
        collections.deque(),
        collections.deque([1, WHEN, 2]),
        collections.deque([1, 2, 3], 3),
        collections.deque((), 0),
        collections.deque(range(2500)),
    ],
    "ordered dicts": [
        collections.OrderedDict(),
        collections.OrderedDict(b=1, a=WHEN),
        collections.OrderedDict((i, i) for i in range(2500)),
    ],
    "default dicts": [collections.defaultdict(list, {"k": [1]}), collections.defaultdict(None, {1: 2})],
    "counters": [collections.Counter(), collections.Counter("aab"), collections.Counter({WHEN: 5})],
    "enum members": [Colour.RED, Colour.GREEN, Colour.BOTH, Weight.LIGHT],
    "plain": [None, True, 1, -(2**70), 1.5, "text €", (), (1,), [], {}, {"a": [1]}],
    "arrays": [array.array(code, [0, 1, 100]) for code in "bBhHiIlLqQfd"] + [array.array("d"), array.array("u", "aö€")],
    "array limits": [
        array.array(code, [-(2 ** (8 * array.array(code).itemsize - 1)), 2 ** (8 * array.array(code).itemsize - 1) - 1])
        for code in "bhilq"
    ]
    + [array.array(code, [2 ** (8 * array.array(code).itemsize) - 1]) for code in "BHILQ"],
    "ndarray": A,
    "ndarray fortran": numpy.asfortranarray(A),
    "ndarray other order": A.transpose(1, 0, 2),
    "ndarray slice": A[:, ::2, ::-1],
    "ndarray zero-dimensional": numpy.array(5.0),
    "ndarrays empty": [numpy.zeros((0, 3)), numpy.zeros((3, 0, 2)), numpy.zeros(0)],
    "ndarray big-endian": numpy.array([[1, -2], [3, 2**40]], ">i8"),
    "ndarrays by kind": [
        numpy.array([True, False]),
        numpy.array([-1, 2], "i1"),
        numpy.array([2**64 - 1, 0], "u8") // 2,
        numpy.array([1.5, -0.0, 65504, 6e-8, numpy.inf, numpy.nan], "f2"),
        numpy.array([1.5, 1e-40], ">f4"),
        numpy.array([1.5], numpy.longdouble),
        numpy.array([1 - 2j], "c8"),
        numpy.array([1 - 2j], ">c16"),
        numpy.array([b"ab", b"c", b"\0d"]),
        numpy.array(["ab", "", "ö€\U0001f600"]),
        numpy.array(["ab"], ">U5"),
        numpy.zeros(2, "V3"),
        numpy.array(["2020-01-01", "NaT"], "M8[D]"),
        numpy.array(["2020-01-01T00:00"], ">M8[us]"),
        numpy.array([3, -3], "m8[25us]"),
        numpy.array(["NaT"], "M8"),
    ],
    "ndarray of objects": numpy.array([[1, None, "x"], [WHEN, [1], decimal.Decimal(1)]], object),
    "ndarray of objects, fortran": numpy.asfortranarray(numpy.array([[1, None, "x"], [WHEN, "y", 2]], object)),
    "ndarrays that share a dtype": [numpy.zeros(2), numpy.ones(3)],
    "scalars": [
        numpy.float64(1.5),
        numpy.float32(-0.0),
        numpy.int16(-3),
        numpy.uint8(200),
        numpy.bool_(True),
        numpy.complex64(1j),
        numpy.datetime64("2020-01-01T00:00:00"),
        numpy.timedelta64(5, "ms"),
        numpy.str_("abö"),
        numpy.bytes_(b"a\xff"),
        numpy.void(b"abc"),
    ],
    "dtypes": [numpy.dtype(text) for text in ("<f8", ">i2", "|b1", "<U3", "|S5", "<M8[ns]", "|O")],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VALUES)
def test_c_finds_what_python_wrote(server, name, protocol):
    value = VALUES[name]
    found = server.describe(pickle.dumps(value, protocol))
    assert same(found, value), found


# What achar_make_…() does not make, or not of any size.
NOT_MADE = {"dtypes", "paths", "range", "array limits", "arrays", "enum members"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [name for name in VALUES if name not in NOT_MADE])
def test_python_reads_what_c_made(server, name, protocol):
    value = VALUES[name]
    for_python = server.again(pickle.dumps(value, 5), protocol)
    assert same(pickle.loads(for_python), value, any_order=True)
    assert same(server.describe(for_python), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        pathlib.PurePosixPath("b c"),
        range(1, -9, -2),
        [array.array(code, [0, 1, 100]) for code in "bBhHiIlLqQfd"],
        [Colour.RED, Colour.GREEN, Weight.HEAVY],
    ],
    ids=lambda value: type(value).__name__,
)
def test_python_reads_what_else_c_made(server, value, protocol):
    if sys.version_info[:2] == (3, 11):  # which writes members by their names
        value = value if not isinstance(value, list) or not isinstance(value[0], enum.Enum) else [1]
    assert same(pickle.loads(server.again(pickle.dumps(value, 5), protocol)), value)


@pytest.mark.parametrize("protocol", [4, 5])
def test_fold(server, protocol):
    """Which protocols below 4 leave out."""
    for value in (WHEN.replace(fold=1), datetime.time(1, fold=1)):
        assert server.describe(pickle.dumps(value, protocol)).fold == 1
        for_python = server.again(pickle.dumps(value, protocol), 2)
        assert pickle.loads(for_python).fold == 1


@pytest.mark.parametrize("value", [A, numpy.asfortranarray(A), A.transpose(1, 0, 2), A.astype(">f8")])
def test_out_of_band(server, value):
    buffers = []
    data = pickle.dumps([value, value[:1]], 5, buffer_callback=buffers.append)
    raw = [bytes(buffer.raw()) for buffer in buffers]
    assert len(raw) >= 1
    assert same(server.describe(data, buffers=raw), [value, value[:1]])
    with pytest.raises(Refused) as refused:
        server.describe(data)
    assert refused.value.code == "E_BUFFERS"
    with pytest.raises(Refused) as refused:
        server.describe(data, buffers=[raw[0][:-1], *raw[1:]])
    assert refused.value.code == "E_SHAPE"


# ---- values by the thousand ----

OFFSETS = st.integers(-86399999999, 86399999999).map(lambda us: datetime.timedelta(microseconds=us))
ZONES = st.none() | OFFSETS.map(datetime.timezone) | st.builds(datetime.timezone, OFFSETS, st.text(max_size=3))
LEAVES = st.one_of(
    st.builds(
        lambda when, zone, fold: when.replace(tzinfo=zone, fold=fold), st.datetimes(), ZONES, st.sampled_from([0, 1])
    ),
    st.dates(),
    st.builds(lambda time, zone: time.replace(tzinfo=zone), st.times(), ZONES),
    st.timedeltas(),
    st.decimals().map(str).map(decimal.Decimal),
    st.fractions(),
    st.complex_numbers(),
    st.uuids(),
    st.binary(),
    st.binary().map(bytearray),
    st.text(),
    st.integers(),
    st.floats(),
    st.lists(st.floats()).map(numpy.array),
    st.lists(st.integers(-(2**63), 2**63 - 1)).map(lambda items: numpy.array(items, "i8")),
    st.lists(st.floats(width=16)).map(lambda items: numpy.array(items, ">f2")),
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1).map(
        numpy.array
    ),
    st.lists(st.floats()).map(lambda items: array.array("d", items)),
    st.lists(st.integers(0, 2**64 - 1)).map(lambda items: array.array("Q", items)),
)
KEYS = st.text() | st.integers() | st.datetimes() | st.uuids()
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(collections.deque),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4).map(collections.OrderedDict),
        st.dictionaries(KEYS, inner, max_size=4).map(lambda items: collections.defaultdict(list, items)),
        st.dictionaries(KEYS, st.integers(), max_size=4).map(collections.Counter),
    ),
    max_leaves=8,
)  # fmt: skip


def without_fold(value, protocol):
    """Protocols below 4 do not have it, so pickles of such values are made in 4 and 5."""
    return pickle.loads(pickle.dumps(value, protocol))


@QUIET
@given(NESTED, st.integers(0, 5), st.integers(0, 5))
def test_any_value_both_ways(server, value, protocol, again):
    value = without_fold(value, protocol)
    data = pickle.dumps(value, protocol)
    assert same(server.describe(data), value)
    assert same(pickle.loads(server.again(data, again)), value, any_order=True)
