"""Whether a worker may keep a function for several calls: only if no call can see another's changes."""

import functools
import math
import threading

import pytest
from achar._achar import is_reusable

IMMUTABLE = (1, "a", (2.5, None, frozenset({3})), b"x", 3j, ...)
MUTABLE = []
NESTED = (1, (2, [3]))
counter = 0


class Local:
    pass


def helper(x):
    return x + 1


def in_main(function):
    """The same function, as if its module could not be imported."""
    function.__module__ = "__main__"
    return function


helper = in_main(helper)


def make(value):
    return lambda: value


def make_counter():
    n = 0

    def up():
        nonlocal n
        n += 1
        return n

    return up


def make_nested_counter():
    n = 0

    def up():
        def inner():
            nonlocal n
            n += 1

        inner()
        return n

    return up


def own_variable_of_a_nested_function():
    def f():
        n = 0

        def up():
            nonlocal n
            n += 1
            return n

        return up()

    return f


def stores_global():
    global counter
    counter += 1


def nested_stores_global():
    def inner():
        global counter
        counter += 1

    inner()


def deletes_global():
    global counter
    del counter


def with_attribute():
    return 1


with_attribute.calls = 0


def sets_own_attribute():
    sets_own_attribute.calls = 1


def stores_attribute(x):
    x.attribute = 1
    return x


YES = {
    "plain": lambda x: x + 1,
    "immutable global": lambda: IMMUTABLE,
    "module and builtin": lambda x: math.sqrt(len(x)),
    "named class and function": lambda: (threading.Thread, functools.reduce),
    "immutable closure": make((1, "a")),
    "immutable defaults": lambda a=1, *, b=("x",): (a, b),
    "helper by value": lambda x: helper(x),
    "own variable of a nested function": own_variable_of_a_nested_function(),
    "stores attribute of an argument": stores_attribute,
    "bound builtin": make("abc".upper),
}
NO = {
    "mutable global": lambda: MUTABLE,
    "mutable inside a tuple": lambda: NESTED,
    "mutable closure": make([1]),
    "dict closure": make({}),
    "class by value": in_main(type("C", (), {})) and make(in_main(Local)),
    "instance": make(Local()),
    "mutable default": lambda a=[]: a,  # noqa: B006
    "mutable keyword default": lambda *, a={}: a,  # noqa: B006
    "assigns to its closure": make_counter(),
    "nested code assigns to its closure": make_nested_counter(),
    "stores global": stores_global,
    "nested code stores global": nested_stores_global,
    "deletes global": deletes_global,
    "function attributes": with_attribute,
    "sets own attribute": sets_own_attribute,
    "reaches for its globals": lambda: globals(),
    "reaches inside": lambda f: f.__defaults__,
    "method of an instance": make([].append),
    "helper that is not": make(make([1])),
    "partial": make(functools.partial(print, [])),
    "cached": make(functools.lru_cache(lambda: 1)),
}


@pytest.mark.parametrize("name", YES)
def test_reusable(name):
    assert is_reusable(in_main(YES[name]))


@pytest.mark.parametrize("name", NO)
def test_not_reusable(name):
    assert not is_reusable(in_main(NO[name]))


def test_other_roots():
    assert is_reusable(math.sqrt)
    assert is_reusable(len)
    assert not is_reusable(functools.partial(print, []))
    assert not is_reusable(Local())
    assert not is_reusable([].append)
