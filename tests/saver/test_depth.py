"""Nesting: the strict pickler gives up where the interpreter's does, the superset does not."""

import pickle
import subprocess
import sys

import achar
import achar.pickle
import pytest
from saver_support import PROTOCOLS


class Holder:
    def __init__(self, inner):
        self.inner = inner


class Calls:
    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        return Calls, (self.inner,)


WRAPS = {
    "list": lambda x: [x],
    "list of two": lambda x: [x, x],
    "tuple": lambda x: (x,),
    "dict": lambda x: {"k": x},
    "dict of two": lambda x: {"k": x, "l": 1},
    "frozenset": lambda x: frozenset([x]),
    "instance": Holder,
    "reduce": Calls,
}


def build(wrap, levels):
    obj = ()
    for _ in range(levels):
        obj = wrap(obj)
    return obj


def survives(dumps, obj, protocol):
    try:
        dumps(obj, protocol)
    except RecursionError:
        return False
    return True


def limit(dumps, wrap, protocol):
    """The deepest nesting that can be pickled, by bisection."""
    low, high = 0, 40_000
    while high - low > 1:
        middle = (low + high) // 2
        if survives(dumps, build(wrap, middle), protocol):
            low = middle
        else:
            high = middle
    return low


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the interpreter measures its C stack there")
@pytest.mark.parametrize("name", [name for name in WRAPS if name not in ("frozenset", "list of two")])
def test_strict_gives_up_where_the_interpreter_does(name):
    for protocol in (5, 2, 0):
        theirs = limit(pickle.dumps, WRAPS[name], protocol)
        ours = limit(achar.pickle.dumps, WRAPS[name], protocol)
        # Frames of Python callbacks, which count in the same budget up to 3.11, are not ours to set.
        assert abs(ours - theirs) <= 1, (name, protocol)
        assert ours > 50


def test_budget_is_given_back():
    for _ in range(20):
        for wrap in (WRAPS["list"], WRAPS["tuple"], WRAPS["instance"]):
            assert not survives(achar.pickle.dumps, build(wrap, 20_000), 5)
            assert survives(achar.pickle.dumps, build(wrap, 100), 5)

    def recurse(n):
        return n and recurse(n - 1)

    recurse(900 if sys.getrecursionlimit() >= 1000 else 100)


DEEP = """
import achar, sys

class Holder:
    def __init__(self, inner):
        self.inner = inner

class Calls:
    def __init__(self, inner):
        self.inner = inner
    def __reduce__(self):
        return Calls, (self.inner,)

wraps = [lambda x: [x], lambda x: (x, 1), lambda x: {"k": x}, lambda x: [x, {"k": (x,)}], Holder, Calls]
for wrap in wraps:
    for protocol in (0, 2, 5):
        obj = None
        for _ in range(100_000):
            obj = wrap(obj)
        data = achar.dumps(obj, protocol)
        assert len(data) > 200_000
        if wrap is wraps[0] and protocol == 5:
            back = achar.loads(data)
            for _ in range(100_000):
                (back,) = back
            assert back is None
        while obj is not None:      # taken apart from the outside, as a destructor may not recurse so far
            obj = (obj[0] if isinstance(obj, (list, tuple)) else obj["k"] if isinstance(obj, dict) else obj.inner)
print("deep enough")
"""


def test_superset_goes_on():
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=800)
    assert done.stdout == "deep enough\n", done.stderr


ENDLESS = """
import achar

class Endless:
    def __reduce__(self):
        return Endless, (Endless(),)

try:
    achar.dumps(Endless())
except RecursionError as error:
    print("RecursionError", error)
"""


def test_superset_ends_what_has_no_end():
    done = subprocess.run([sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=800)
    assert done.stdout.startswith("RecursionError an object nested without end"), done.stderr


def test_strict_ends_what_has_no_end():
    class Endless:
        def __reduce__(self):
            return list, (Endless(),)

    for protocol in PROTOCOLS:
        with pytest.raises(RecursionError):
            achar.pickle.dumps(Endless(), protocol)
