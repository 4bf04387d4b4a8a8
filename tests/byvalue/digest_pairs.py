"""Pairs of objects whose digests must differ, and pairs whose digests must agree.

As a script it prints the digests of both, as JSON: they must be the same in every process.
"""

import collections
import datetime
import decimal
import enum
import fractions
import functools
import json
import pathlib
import sys
import weakref

import achar
import numpy as np


def code(source, **names):
    """The function f that the source defines in a __main__ of its own."""
    space = {"__name__": "__main__", **names}
    exec(source, space)
    return space["f"]


def closure(n):
    return code(f"def make(n):\n def f(): return n\n return f\nf = make({n!r})")


class Point:
    def __init__(self, x, y=0):
        self.x, self.y = x, y


class Other(Point):
    pass


class Color(enum.Enum):
    RED = 1
    BLUE = 2


KINDS = [Point, Other, Color]


class Names(set):
    pass


class FrozenNames(frozenset):
    pass


class Ordered(collections.OrderedDict):
    pass


class Table(dict):
    pass


class OrderMatters(dict):
    def __eq__(self, other):
        return list(self.items()) == list(other.items())


class Told(dict):
    """Sends the items that it was told to, twice if so."""

    def __reduce__(self):
        return Told, (), None, None, iter(self["items"])


class Lines:
    """Filled by items, and no dict: it keeps them all."""

    def __init__(self, *lines):
        self.lines = lines

    def __reduce__(self):
        return Lines, (), None, None, iter(self.lines)


def klass(source):
    space = {"__name__": "__main__"}
    exec(source, space)
    return space["C"]


def cyclic(n):
    a = [n]
    a.append(a)
    return a


def cyclic_twice(n):
    a, b = [n], [n]
    a.append(b)
    b.append(a)
    return a


DIFFER = [
    ([1, 2], (1, 2)),
    ([1, 2], {1: 2}),
    ([1, 2], [2, 1]),
    ([1, [2]], [[1], 2]),
    ([[], []], [[[]]]),
    ([], ()),
    ([], {}),
    (set(), frozenset()),
    ({1, 2}, {1, 3}),
    ({"a": 1}, {"a": 2}),
    ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
    (1, True),
    (0, False),
    (1, 1.0),
    (0.0, -0.0),
    (1.0, 1 + 0j),
    (1j, -1j),
    (1, "1"),
    ("1", b"1"),
    (b"1", bytearray(b"1")),
    (None, "None"),
    ("", b""),
    ("ab", "ba"),
    (["ab", "c"], ["a", "bc"]),
    ("a" * 2000, "a" * 1999 + "b"),
    (b"a" * 5000, b"a" * 5001),
    (2**64, 2**64 + 1),
    (2**100, -(2**100)),
    (float("inf"), float("-inf")),
    (..., NotImplemented),
    (list(range(1000)), list(range(999)) + [1]),
    (range(3), range(4)),
    (Point(1), Point(2)),
    (Point(1), Other(1)),
    (Point(1), {"x": 1, "y": 0}),
    (Point, Other),
    (Color.RED, Color.BLUE),
    (Color.RED, 1),
    (code("def f(x): return x + 1"), code("def f(x): return x + 2")),
    (code("def f(x): return x + 1"), code("def f(x): return x - 1")),
    (code("def f(x, y=1): pass"), code("def f(x, y=2): pass")),
    (code("def f(*, y=1): pass"), code("def f(*, y=2): pass")),
    (code("f = lambda: A", A=1), code("f = lambda: A", A=2)),
    (code("def g(): return 1\ndef f(): return g()"), code("def g(): return 2\ndef f(): return g()")),
    (code("def f(): return lambda: 1"), code("def f(): return lambda: 2")),
    (code("f = lambda: len"), code("f = lambda: max")),
    (closure(1), closure(2)),
    (closure([1]), closure([2])),
    (functools.partial(int, base=2), functools.partial(int, base=3)),
    (klass("class C:\n a = 1"), klass("class C:\n a = 2")),
    (klass("class C:\n def m(self): return 1"), klass("class C:\n def m(self): return 2")),
    (klass("class C(int): pass"), klass("class C(str): pass")),
    (cyclic(1), cyclic(2)),
    (np.arange(3), np.arange(4)),
    (np.arange(4), np.arange(4).reshape(2, 2)),
    (np.arange(4, dtype="i4"), np.arange(4, dtype="i8")),
    (np.array([1.0]), [1.0]),
    (np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3)[::-1]),
    (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
    (datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)),
    (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
    (fractions.Fraction(1, 2), fractions.Fraction(1, 3)),
    (pathlib.PurePosixPath("a"), "a"),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
    ([collections.OrderedDict([(1, 2), (3, 4)])], [collections.OrderedDict([(3, 4), (1, 2)])]),
    (Ordered(a=1, b=2), Ordered(b=2, a=1)),
    (OrderMatters(a=1, b=2), OrderMatters(b=2, a=1)),
    (Lines(("a", 1), ("b", 2)), Lines(("b", 2), ("a", 1))),
    (Lines(("a", 1), ("a", 2)), Lines(("a", 2))),
    (Told(items=[("a", 1), ("a", 2)]), Told(items=[("a", 2)])),
    (collections.defaultdict(int, a=1), collections.defaultdict(int, a=2)),
    (collections.Counter("ab"), collections.Counter("aa")),
    (ValueError("a"), ValueError("b")),
    (ValueError("a"), KeyError("a")),
    (Names("ab"), Names("ac")),
    (Names("ab"), set("ab")),
]

AGREE = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({str(i) for i in range(100)}, {str(i) for i in reversed(range(100))}),
    ({i: {i} for i in range(50)}, {i: {i} for i in reversed(range(50))}),
    (frozenset("abc"), frozenset("cba")),
    ("".join(["ab", "c"]), "abc"),
    ([[1], [1]], [[1]] * 2),
    ([["x" * 3000], ["x" * 3000]], [["x" * 3000]] * 2),
    (float("nan"), -float("nan")),
    (cyclic(1), cyclic(1)),
    (2**100, int("1" + "0" * 100, 2)),
    (Point(1), Point(1)),
    ([Point([1, 2])] * 2, [Point([1, 2]), Point([1, 2])]),
    (code("def f(x): return x"), code("\n\n\ndef f(x): return x")),
    (code("def f(x):\n return x"), code("def f(x):\n\n  return x")),
    (code("f = lambda: A", A={"x", "y", "z"}), code("f = lambda: A", A={"z", "y", "x"}, B=1)),
    (code("def f(): return f()"), code("def f(): return f()")),
    (code("def f(x): return x in {'a', 'b', 'c'}"), code("def f(x): return x in {'a', 'b', 'c'}")),
    (closure([1]), closure([1])),
    (klass("class C:\n def m(self): return C"), klass("\nclass C:\n def m(self): return C")),
    (np.arange(6).reshape(2, 3).T, np.ascontiguousarray(np.arange(6).reshape(2, 3).T)),
    (np.arange(3000.0), np.arange(6000.0)[:3000]),
    (collections.Counter("ab"), collections.Counter("ba")),
    (collections.OrderedDict(a=1, b=2), collections.OrderedDict([("a", 1), ("b", 2)])),
    (collections.defaultdict(int, a=1, b=2), collections.defaultdict(int, b=2, a=1)),
    (Table(a=1, b=2), Table(b=2, a=1)),
    (functools.partial(int, base=2), functools.partial(int, base=2)),
    (Names("abcdef"), Names("fedcba")),
    (Names([0, 8, 16]), Names([16, 8, 0])),
    (FrozenNames("abcdef"), FrozenNames("fedcba")),
    (weakref.WeakSet(KINDS), weakref.WeakSet(reversed(KINDS))),
]

if __name__ == "__main__":
    json.dump([[achar.digest(a), achar.digest(b)] for a, b in DIFFER + AGREE], sys.stdout)
