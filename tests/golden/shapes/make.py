"""Makes the golden pickles of known shapes: one dict in every protocol, by many Pythons and numpys.

    PYTHON tests/golden/shapes/make.py NAME        writes NAME/PROTOCOL.pickle

NAME says which Python and which numpy, such as 2.7-numpy1.16. The files are committed; they are
made again only when a value is added here. tests/codec/test_shapes_golden.py has C take them apart
and compares that with what values() gives in the Python that runs the test.
"""

import array
import collections
import datetime
import decimal
import fractions
import os
import pickle
import sys
import uuid

try:
    import numpy
except ImportError:
    numpy = None

PYTHON2 = sys.version_info[0] == 2
unichr = eval("unichr") if PYTHON2 else chr
xrange = eval("xrange") if PYTHON2 else range
long = eval("long") if PYTHON2 else int


def values():
    """What every Python from 2.7 on has; text is ASCII, and of one type in each."""
    yield "datetime", datetime.datetime(2024, 10, 13, 23, 59, 58, 999999)
    yield "date", datetime.date(2024, 2, 29)
    yield "time", datetime.time(23, 10, 13, 255)
    yield "timedelta", datetime.timedelta(-5, 86399, 999999)
    yield "decimal", [decimal.Decimal(text) for text in ("1.10", "-0", "1E+5", "Infinity", "-NaN12")]
    yield "fraction", [fractions.Fraction(-3, 4), fractions.Fraction(2**100, 3)]
    yield "complex", complex(1, -2)
    yield "range", xrange(1, 9, 2)
    yield "uuid", [uuid.UUID(int=5), uuid.UUID(int=2**127 + 1)]
    yield "bytearray", [bytearray(b""), bytearray(b"\x00\xff")]
    yield "sets", [set(), set([1, 2]), frozenset(), frozenset([3])]
    yield "deques", [collections.deque([1, 2]), collections.deque([1, 2], 5)]
    yield "ordered dict", collections.OrderedDict([("b", 1), ("a", [])])
    yield "default dict", collections.defaultdict(list, {1: [2]})
    yield "counter", collections.Counter({"a": 2})
    codes = "bBhHiIlLfd"
    yield "arrays", [array.array(code, [0, 1, 100]) for code in codes] + [array.array("d")]
    yield "array of text", array.array("u", unichr(97) + unichr(0x20AC))


def later_values():
    """What Python 2.7 does not have."""
    import pathlib

    west = datetime.timezone(datetime.timedelta(hours=-5), "west")
    yield "aware", [datetime.datetime(2024, 1, 1, tzinfo=west), datetime.time(1, tzinfo=datetime.timezone.utc)]
    yield "bytes", [b"", b"abc", b"\x00\xff"]
    yield "path", [pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("C:/x")]
    yield "long array", array.array("Q", [2**64 - 1])


def numpy_values():
    a = numpy.arange(6, dtype="<i4").reshape(2, 3)
    yield "ndarray", [a, numpy.asfortranarray(a), a[:, ::2], numpy.zeros((0, 2)), numpy.array(5.5)]
    yield "order", numpy.arange(24, dtype=">f8").reshape(2, 3, 4).transpose(1, 0, 2)
    yield (
        "kinds",
        [
            numpy.array([True, False]),
            numpy.array([-1], "i1"),
            numpy.array([200], "u2"),
            numpy.array([1.5], "f2"),
            numpy.array([1.5 - 2j], "c16"),
            numpy.array([b"ab", b"c"]),
            numpy.array(["ab", "c"], "U2"),
            numpy.array(["2020-01-01"], "M8[D]"),
            numpy.array([3], "m8[25us]"),
        ],
    )
    yield "objects", numpy.array([[1, None], ["x", 1.5]], object)
    yield "scalars", [numpy.float64(1.5), numpy.int16(-3), numpy.bool_(True), numpy.datetime64("2020-01-01T00:00:00")]


def all_values():
    everything = list(values())
    if not PYTHON2:
        everything += later_values()
    if numpy is not None:
        everything += numpy_values()
    return everything


if __name__ == "__main__":
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), sys.argv[1])
    if not os.path.isdir(folder):
        os.makedirs(folder)
    if PYTHON2:
        import cPickle

        pickle.dumps = cPickle.dumps
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = os.path.join(folder, str(protocol) + ".pickle")
        with open(path, "wb") as file:
            file.write(pickle.dumps(dict(all_values()), protocol))
        print(path)
