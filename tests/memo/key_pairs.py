"""Calls whose keys must differ, and calls whose keys must agree; those of achar.digest's pairs besides.

As a script, with the path of a memo: prints all keys, as JSON; they must be the same in every process.
"""

import dataclasses
import enum
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "byvalue"))

import achar  # noqa: E402
import digest_pairs  # noqa: E402
import numpy as np  # noqa: E402


def code(source, **names):
    space = {"__name__": "__main__", **names}
    exec(source, space)
    return space["f"]


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def plain(x, y=2, *rest, z=3, **named):
    pass


def call(*args, **kwargs):
    return plain, args, kwargs


def of(function, *args, **kwargs):
    return function, args, kwargs


def module(name, source, **names):
    made = type(sys)(name)
    made.__file__ = f"/nowhere/{name}.py"
    made.__dict__.update(names)
    exec(source, made.__dict__)
    sys.modules[name] = made
    return made


NEXT = module("helpers_next", "def g(): return 1")
HELPERS = {
    n: module(f"helpers_{n}", f"def g(): return {n}\nLIMIT = {n}\ndef unused(): return {n}", sub=NEXT) for n in (1, 2)
}

DIFFER = [
    (call(1), call(2)),
    (call(1), call(True)),
    (call(1), call(1.0)),
    (call(1), call("1")),
    (call("1"), call(b"1")),
    (call(0.0), call(-0.0)),
    (call(None), call(0)),
    (call([1, 2]), call((1, 2))),
    (call({1, 2}), call({1: 2})),
    (call([1, 2]), call([2, 1])),
    (call(1, 3), call(1, z=3)),
    (call(1, 2, 3), call(1, 2, z=4)),
    (call(1, 2, 3), call(1, 2, (3,))),
    (call(1, 2, 3, 4), call(1, 2, (3, 4))),
    (call(1, w=3), call(1, v=3)),
    (call(1, w=3), call(1)),
    (call(Point(1)), call(Point(1.0))),
    (call(Point(1, 2)), call(Point(2, 1))),
    (call(Point(1, 2)), call((1, 2))),
    (call(Color.RED), call(Color.BLUE)),
    (call(Color.RED), call(1)),
    (call(np.arange(3)), call([0, 1, 2])),
    (call(np.float64(1)), call(1.0)),
    (call(math.sin), call(math.cos)),
    (of(math.sin, 1), of(math.cos, 1)),
    (of(code("f = lambda x: x + 1"), 1), of(code("f = lambda x: x + 2"), 1)),
    (of(code("def f(x): return x"), 1), of(code("def f(y): return y"), 1)),
    (of(code("def f(x, y=1): pass"), 1), of(code("def f(x, y=2): pass"), 1)),
    (of(code("def f(x): return A", A=1), 1), of(code("def f(x): return A", A=2), 1)),
    (of(code("def f(x): return A", A=[1]), 1), of(code("def f(x): return A", A=[2]), 1)),
    (of(code("def f(x): return A", A=[1]), 1), of(code("def f(x): return A", A=(1,)), 1)),
    (of(code("def f(x): return A"), 1), of(code("def f(x): return A", A=None), 1)),
    (of(code("def f(x): return h.g()", h=HELPERS[1]), 1), of(code("def f(x): return h.g()", h=HELPERS[2]), 1)),
    (of(code("def f(x): return h.LIMIT", h=HELPERS[1]), 1), of(code("def f(x): return h.LIMIT", h=HELPERS[2]), 1)),
    (of(digest_pairs.closure(1), ), of(digest_pairs.closure(2), )),
    (
        of(code("def g(): return 1\ndef f(x): return g()"), 1),
        of(code("def g(): return 2\ndef f(x): return g()"), 1),
    ),
    (
        of(code("class C:\n def m(self): return 1\ndef f(x): return C().m()"), 1),
        of(code("class C:\n def m(self): return 2\ndef f(x): return C().m()"), 1),
    ),
]  # fmt: skip

AGREE = [
    (call(1), call(x=1)),
    (call(1), call(1, 2)),
    (call(1), call(1, z=3)),
    (call(1, 2, z=3), call(z=3, y=2, x=1)),
    (call(float("nan")), call(-float("nan"))),
    (call({"a": 1, "b": 2}), call({"b": 2, "a": 1})),
    (call(1, v=1, w=2), call(1, w=2, v=1)),
    (call({1, 2, 3}), call({3, 2, 1})),
    (call(Point(1, 2)), call(Point(1, y=2))),
    (call(Color.RED), call(Color(1))),
    (call(np.arange(6).reshape(2, 3).T), call(np.ascontiguousarray(np.arange(6).reshape(2, 3).T))),
    (of(code("def f(x): return x"), 1), of(code("\n\n# a comment\ndef f(x):\n    return x"), 1)),
    (of(code("def f(x): return A", A=1, B=1), 1), of(code("def f(x): return A", A=1, B=2), 1)),
    (of(code("def f(x): return f(x)"), 1), of(code("def f(x):\n  return f(x)"), 1)),
]


def keys(memo):
    """The pairs of keys: of calls, and of achar.digest's pairs as arguments."""
    as_arguments = [(call(a), call(b)) for a, b in digest_pairs.DIFFER]
    as_equal_arguments = [(call(a), call(b)) for a, b in digest_pairs.AGREE]

    def key(function, args, kwargs):
        return memo(function).key(*args, **kwargs)

    return [[(key(*a), key(*b)) for a, b in pairs] for pairs in (DIFFER, AGREE, as_arguments, as_equal_arguments)]


if __name__ == "__main__":
    json.dump(keys(achar.Memo(sys.argv[1])), sys.stdout)
