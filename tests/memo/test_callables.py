"""Callables that are more than a name and a signature: methods, partials, objects, wrappers."""

import functools
import pickle
import threading

import achar
import pytest


@pytest.fixture
def memo(tmp_path):
    with achar.Memo(tmp_path / "m") as memo:
        yield memo


def add(a, b):
    return a + b


def multiply(a, b):
    return a * b


class Scale:
    unit = 1

    def __init__(self, n):
        self.n = n

    def times(self, x):
        return self.n * x

    def __call__(self, x):
        return self.n + x

    @classmethod
    def named(cls, x):
        return cls.__name__, x


class Other(Scale):
    pass


@pytest.mark.parametrize("key", ["name", "source", "code"])
def test_what_a_callable_carries_counts(memo, key):
    pairs = [
        (functools.partial(add, 10), functools.partial(multiply, 10)),
        (functools.partial(add, 10), functools.partial(add, 11)),
        (functools.partial(add, b=10), functools.partial(add, b=11)),
        (Scale(1).times, Scale(2).times),
        (functools.partial(Scale(3).times), functools.partial(Scale(4).times)),
        (Scale(1), Scale(2)),
        (Scale.named, Other.named),
        (functools.lru_cache(Scale(5).times), functools.lru_cache(Scale(6).times)),
    ]
    if key == "name":  # these have no source
        pairs.append(([1, 2].count, [1, 1].count))
        pairs.append(((1).__add__, (2).__add__))
    for first, second in pairs:
        expected = first(1), second(1)
        one, two = memo(first, key=key), memo(second, key=key)
        for _ in range(2):
            assert (one(1), two(1)) == expected and (one.key(1) != two.key(1))
    assert memo(Scale(7).times, key=key).key(1) == memo(Scale(7).times, key=key).key(1)
    changing = Scale(1)
    f = memo(changing.times, key=key)
    assert f(2) == 2
    changing.n = 5
    assert f(2) == 10
    with pytest.raises(Exception, match="_thread.lock"):
        memo(Scale(threading.Lock()).times, key=key)(1)


def retrying(function):
    @functools.wraps(function)
    def wrapper(*args, retries=3, **named):
        return function(*args, **named), retries

    return wrapper


def passing(function):
    @functools.wraps(function)
    def wrapper(*args, **named):
        return function(*args, **named)

    return wrapper


def taking(function):
    @functools.wraps(function)
    def wrapper(*args, **named):
        retries = named.pop("retries", 3)
        return function(*args, **named), retries

    return wrapper


@pytest.mark.parametrize("wrap", [retrying, taking])
def test_a_wrapper_with_parameters_of_its_own(memo, wrap):
    f = memo(wrap(multiply), key="name")
    for _ in range(2):
        assert f(2, 3, retries=5) == (6, 5) and f(2, 3, retries=6) == (6, 6) and f(2, 3) == (6, 3)
    assert memo.stats()["stored"] == 3


def test_a_wrapper_that_passes_all_on(memo):
    f = memo(passing(passing(multiply)), ignore=["b"])
    assert f(2, 3) == f(a=2, b=4) == 6 and memo.stats()["stored"] == 1
    partial = functools.partial(multiply, 2)
    functools.update_wrapper(partial, multiply)
    g = memo(partial, key="name")
    assert [g(5), g(5)] == [10, 10] and memo.stats()["stored"] == 2


def test_a_wrapper_with_a_default_of_its_own(memo):
    """What it makes of an argument that is left out is not what the function does."""

    def one(x=1):
        return x

    @functools.wraps(one)
    def wrapper(*args, **named):
        return one(*args, **named) if args or named else one(99)

    f = memo(wrapper, key="name")
    for _ in range(2):
        assert [f(), f(1), f(x=1), f(99)] == [99, 1, 1, 99]
    assert memo.stats()["stored"] == 3


def test_functions_of_modules_go_into_the_standard_librarys_pickles(memo, monkeypatch):
    f = memo(add)
    monkeypatch.setitem(globals(), "add", f)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(f, protocol)) is f
    assert achar.loads(achar.dumps(f))(1, 2) == 3
    space = {"__name__": "__main__", "memo": memo}
    exec("@memo\ndef g(x): return x + 1", space)
    with achar.Executor(1) as executor:  # which sends what __main__ has by value
        assert executor.submit(space["g"], 1).result(60) == 2
        assert executor.submit(lambda: space["g"](2)).result(60) == 3
