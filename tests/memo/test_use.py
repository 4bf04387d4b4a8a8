"""A memo in use, with what people have: arrays of all kinds, files, functions that call themselves, methods."""

import dataclasses
import enum
import functools
import io
import operator

import achar
import achar.memo
import numpy as np
import pytest


@pytest.fixture
def memo(tmp_path):
    with achar.Memo(tmp_path / "m") as memo:
        yield memo


class Tagged(np.ndarray):
    def __array_finalize__(self, other):
        self.tag = getattr(other, "tag", None)


class Plain(np.ndarray):
    pass


def tagged(tag):
    array = np.arange(5.0).view(Tagged)
    array.tag = tag
    return array


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    seen: list = dataclasses.field(default_factory=list, compare=False)


class Counting:
    def __init__(self, n):
        self.n = n

    def m(self, x):
        return self.n * x

    async def later(self):
        pass

    def __call__(self, x):
        return x + self.n


class Flags(enum.Flag):
    A = 1
    B = 2


def counter(n):
    def step():
        nonlocal n
        n += 1
        return n

    return step


def stepped():
    step = counter(1)
    step()
    return step


def array_of(*items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


DIFFER = [
    (tagged("a"), tagged("b")),
    (tagged("a"), np.arange(5.0)),
    (np.arange(5.0).view(Plain), np.arange(5.0)),
    (np.zeros(1, [("a", "i4"), ("b", "f8")]), np.zeros(1, [("a", "i4"), ("c", "f8")])),
    (array_of(1, "a", [1]), array_of(1, "a", [2])),
    (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0])),
    (np.random.default_rng(1), np.random.default_rng(2)),
    (np.datetime64("2020-01-01"), np.datetime64("2020-01-02")),
    (Point(1, [1]), Point(1, [2])),
    (functools.partial(pow, 2), functools.partial(pow, 3)),
    (Counting(1).m, Counting(2).m),
    (counter(1), counter(2)),
    (counter(1), stepped()),
    (Counting, Point),
    (Flags.A | Flags.B, Flags.A),
    (lambda x, y=1: x, lambda x, y=2: x),
    (io.BytesIO(b"a"), io.BytesIO(b"b")),
]
AGREE = [
    (tagged("a"), tagged("a")),
    (np.arange(5.0).view(Plain), np.arange(5.0).view(Plain)),
    (array_of(1, "a", [1]), array_of(1, "a", [1])),
    (np.arange(10)[::2], np.arange(0, 10, 2)),
    (np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(6).reshape(2, 3)),
    (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 1])),
    (np.random.default_rng(1), np.random.default_rng(1)),
    (Point(1, [1]), Point(1, [1])),
    (functools.partial(pow, 2), functools.partial(pow, 2)),
    (Counting(1).m, Counting(1).m),
    (counter(2), stepped()),
    (Flags.A | Flags.B, Flags(3)),
    (lambda x: x + 1, lambda x: x + 1),
]


def test_what_is_given_to_functions(memo):
    key = memo(key="name")(lambda x: None).key
    assert [i for i, (a, b) in enumerate(DIFFER) if key(a) == key(b)] == []
    assert [i for i, (a, b) in enumerate(AGREE) if key(a) != key(b)] == []


def test_open_files_are_refused(memo, tmp_path):
    path = tmp_path / "data"
    path.write_text("1")
    f = memo(key="name")(lambda file: file.read())
    for mode in ("r", "rb", "w"):
        with open(path, mode) as file, pytest.raises(Exception, match="argument.*cannot be identified|argument.*_io"):
            f([file])
    with open(path, "rb", buffering=0) as file, pytest.raises(Exception, match="argument"):
        f(file)
    assert memo.stats()["results"] == 0


def test_what_is_memoized(memo):
    for function, args, result in (
        (Counting(2), (3,), 5),
        (Counting, (1,), None),
        (len, ([1],), 1),
        (operator.itemgetter(1), ([1, 2],), 2),
        (np.add, (1, 2), 3),
        (functools.lru_cache(lambda x: x), (1,), 1),
        (memo(lambda x: x + 1), (1,), 2),
        (functools.singledispatch(lambda x: x), (2,), 2),
    ):
        f = memo(function)
        for _ in range(2):
            assert result is None or f(*args) == result
    for function in (Counting(1).later, functools.partial(Counting(1).later)):
        with pytest.raises(TypeError, match="a coroutine"):
            memo(function)
    with pytest.raises(achar.memo.Unstorable, match="generator"):
        memo(lambda: (i for i in [1]))()


def test_functions_that_call_themselves_deep(memo):
    space = {"memo": memo}
    exec(
        "@memo\ndef depth(n): return n and 1 + depth(n - 1)\n"
        "@memo\ndef even(n): return n == 0 or odd(n - 1)\n@memo\ndef odd(n): return n != 0 and even(n - 1)",
        space,
    )
    assert space["depth"](300) == 300 and space["even"](60) is True
    assert memo.stats()["stored"] == 301 + 61 and space["depth"](301) == 301 and memo.stats()["stored"] == 363


def test_methods_of_all_kinds(memo):
    class Base:
        @classmethod
        @memo
        def name(cls, x):
            return cls.__name__, x

        @property
        @memo
        def five(self):
            return 5

    class Derived(Base):
        pass

    for _ in range(2):
        assert Base.name(1) == ("Base", 1) and Derived.name(1) == ("Derived", 1) and Derived().five == 5
    assert memo.stats()["hits"] == 3


def test_exceptions_that_end_things_are_never_stored(memo):
    for error in (KeyboardInterrupt, SystemExit, GeneratorExit):

        def f(error=error):
            raise error

        for _ in range(2):
            with pytest.raises(error):
                memo(key=lambda error: repr(error), exceptions=True)(f)(error)
    assert memo.stats()["results"] == 0
