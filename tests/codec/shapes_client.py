"""Talks to tests/c/codec/shapes_server.c, and evaluates what it says of a pickle."""

import array
import collections
import datetime
import decimal
import fractions
import importlib
import pathlib
import struct
import subprocess
import uuid
import zoneinfo

import numpy
import pytest
from conftest import built

ASCII, LATIN1, UTF8, BYTES = range(4)


class Refused(Exception):
    """What the server says of what it does not take apart."""

    def __init__(self, text):
        self.code, self.message = text.split(" ", 1)
        super().__init__(text)


class Server:
    """C takes shapes apart, thousands in one process."""

    def __init__(self):
        self.process = None

    def ask(self, mode, data, protocol=5, encoding=ASCII, buffers=()):
        if self.process is None:
            self.process = subprocess.Popen(
                [built("tests/c/codec/shapes_server")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        request = bytes([ord(mode), protocol, encoding, len(buffers)])
        for part in (*buffers, data):
            request += struct.pack("<Q", len(part)) + part
        self.process.stdin.write(request)
        self.process.stdin.flush()
        header = self.process.stdout.read(9)
        if len(header) != 9:
            status, self.process = self.process.wait(), None
            pytest.fail(f"the server died ({status}) on {data!r}")
        answer = self.process.stdout.read(struct.unpack("<Q", header[1:])[0])
        if header[0] != 0:
            raise Refused(answer.decode())
        return answer

    def describe(self, data, encoding=ASCII, buffers=()):
        """The pickle's value, put together from what C found in it."""
        return evaluate(self.ask("d", data, 5, encoding, buffers).decode())

    def again(self, data, protocol, encoding=ASCII):
        """A pickle of the same value, made by C from scratch."""
        return self.ask("r", data, protocol, encoding)

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            assert self.process.wait() == 0


def _tzinfo(tz, offset_us):
    """Checks the offset that C gives beside a tzinfo."""
    if isinstance(tz, datetime.timezone):
        assert tz.utcoffset(None) == datetime.timedelta(microseconds=offset_us)
    else:
        assert offset_us is None
    return tz


def _datetime(year, month, day, hour, minute, second, microsecond, fold, tz, offset_us):
    tz = _tzinfo(tz, offset_us)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, tz, fold=fold)


def _time(hour, minute, second, microsecond, fold, tz, offset_us):
    return datetime.time(hour, minute, second, microsecond, _tzinfo(tz, offset_us), fold=fold)


def _timezone(offset_us, name):
    offset = datetime.timedelta(microseconds=offset_us)
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


class _Decimal(decimal.Decimal):
    """With the parts that C found: decimal('1.5', '1.5', 0), and [kind] behind what is not finite."""

    def __new__(cls, text, coefficient, exponent):
        self = super().__new__(cls, text)
        if self.is_finite():
            assert self.compare_total(decimal.Decimal(f"{coefficient}E{exponent}")) == 0
        return self

    def __class_getitem__(cls, kind):
        raise TypeError

    def __getitem__(self, kind):
        assert str(self).lstrip("-").rstrip("0123456789") == kind
        return self


def _path(windows, pure, parts):
    names = {(0, 0): "PosixPath", (0, 1): "PurePosixPath", (1, 0): "WindowsPath", (1, 1): "PureWindowsPath"}
    return getattr(pathlib, names[windows, pure])(*parts)


def _items(kind, found, factory, maxlen):
    if kind is collections.deque:
        return collections.deque(found, None if maxlen == -1 else maxlen)
    assert maxlen == -1
    if kind is collections.defaultdict:
        return collections.defaultdict(factory, found)
    assert factory is None
    return kind(dict(found)) if kind is collections.Counter else kind(found)


def _member(kind, value, name):
    return kind(value) if name is None else kind[name]


def _named(module, name):
    return getattr(importlib.import_module({"__builtin__": "builtins"}.get(module, module)), name)


def _array(typecode, kind, items):
    if kind[0] == "U":
        return array.array(typecode, "".join(items))
    made = array.array(typecode, items)
    assert kind[0] == "f" or kind[0] == ("u" if typecode.isupper() else "i")
    return made


def _dense(dtype, items):
    """A flat numpy array of what C says the items are."""
    dtype = numpy.dtype(dtype)
    if dtype.kind in "Mm":
        return numpy.array(items, "i8").view(dtype.newbyteorder("=")).astype(dtype)
    if dtype.kind == "V" or dtype == numpy.longdouble:
        return numpy.frombuffer(b"".join(items), dtype)
    made = numpy.empty(len(items), dtype)
    for i, item in enumerate(items):
        made[i] = item
    return made


def _ndarray(dtype, shape, strides, items):
    made = _dense(dtype, items).reshape(shape)
    assert len(strides) == made.ndim
    assert made.size == 0 or dtype == "|O" or sorted(strides) == sorted(_strides_of_some_order(made, strides))
    return made


def _strides_of_some_order(made, strides):
    """The strides of a dense array whose axes lie in memory in the order that 'strides' has."""
    found, step = [0] * made.ndim, made.itemsize
    for axis in sorted(range(made.ndim), key=lambda axis: (strides[axis], made.shape[axis])):
        found[axis] = step
        step *= made.shape[axis]
    return found


def _scalar(dtype, item):
    return _dense(dtype, [item])[0]


NAMES = {
    "B": bytes.fromhex,
    "buffer": collections.namedtuple("Buffer", "index readonly data"),
    "extension": collections.namedtuple("Extension", "code"),
    "persistent": collections.namedtuple("Persistent", "id"),
    "S": lambda text: bytes.fromhex(text).decode("utf-8", "surrogatepass"),
    "OrderedDict": collections.OrderedDict,
    "defaultdict": collections.defaultdict,
    "Counter": collections.Counter,
    "deque": collections.deque,
    "Infinity": "Infinity",
    "NaN": "NaN",
    "sNaN": "sNaN",
    "array": _array,
    "date": datetime.date,
    "datetime": _datetime,
    "decimal": _Decimal,
    "dtype": numpy.dtype,
    "fraction": fractions.Fraction,
    "items": _items,
    "member": _member,
    "named": _named,
    "ndarray": _ndarray,
    "path": _path,
    "scalar": _scalar,
    "time": _time,
    "timedelta": datetime.timedelta,
    "timezone": _timezone,
    "uuid": lambda text: uuid.UUID(text),
    "zoneinfo": zoneinfo.ZoneInfo,
}


def evaluate(text):
    return eval(text, dict(NAMES))


def same(a, b, any_order=False):
    """Equal, of the same type, and alike where == looks away: folds, zones, signs, dtypes, order.

    'any_order' lets the byte order of arrays differ: numpy makes it the machine's own when it loads
    an array from its state.
    """
    if isinstance(a, decimal.Decimal):
        return isinstance(b, decimal.Decimal) and str(a) == str(b)
    if type(a) is not type(b):
        return False
    if isinstance(a, numpy.ndarray):
        if any_order:
            a, b = a.astype(a.dtype.newbyteorder("=")), b.astype(b.dtype.newbyteorder("="))
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype.kind == "O":
            return all(same(x, y, any_order) for x, y in zip(a.flat, b.flat, strict=True))
        if a.dtype.kind in "fcMm":
            return numpy.array_equal(a, b, equal_nan=True) and repr(a) == repr(b)  # -0.0 too
        return a.tobytes("C") == b.tobytes("C")
    if isinstance(a, numpy.generic):
        return a.dtype == b.dtype and (a.tobytes() == b.tobytes() or bool(a == b))
    if isinstance(a, (datetime.datetime, datetime.time)):
        return repr(a) == repr(b)
    if isinstance(a, datetime.timezone):
        return repr(a) == repr(b)
    if isinstance(a, float):
        return repr(a) == repr(b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, array.array):
        return a.typecode == b.typecode and repr(a) == repr(b)
    if isinstance(a, (list, tuple, collections.deque)):
        maxlen = getattr(a, "maxlen", None) == getattr(b, "maxlen", None)
        return maxlen and len(a) == len(b) and all(same(x, y, any_order) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        factory = getattr(a, "default_factory", None) is getattr(b, "default_factory", None)
        return factory and same(list(a.items()), list(b.items()), any_order)
    return a == b
