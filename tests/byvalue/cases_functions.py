"""Functions, closures, cells, code. See cases.py."""

import concurrent.futures  # noqa: F401
import functools
import os
import os.path
import typing
import xml.etree.ElementTree

from cases import case, main

ANSWER = 42
TABLE = {"a": [1, 2], "b": None}
counter = 0


def plus_answer(x):
    return x + ANSWER


def countdown(n):
    return [n] + countdown(n - 1) if n else []


def is_even(n):
    return n == 0 or is_odd(n - 1)


def is_odd(n):
    return n != 0 and is_even(n - 1)


def count_up():
    global counter
    counter += 1
    return counter


def read_counter():
    return counter


@case
def function_lambda():
    return (lambda x: x * 2), lambda f: f(21) == 42 and f.__name__ == "<lambda>"


@case
def function_with_global():
    return plus_answer, lambda f: f(1) == 43 and set(f.__globals__) == {"__name__", "ANSWER", "__builtins__"}


@case
def function_with_mutable_global():
    def look(key):
        return TABLE[key]

    return look, lambda f: f("a") == [1, 2] and f("b") is None


@case
def function_recursive():
    return countdown, lambda f: f(3) == [3, 2, 1] and f.__globals__["countdown"] is f


@case
def function_mutually_recursive():
    return is_even, lambda f: f(10) and not f(7) and f.__globals__["is_odd"].__globals__ is f.__globals__


@case
def functions_share_globals():
    def check(pair):
        up, read = pair
        return up.__globals__ is read.__globals__ and up() == 1 and up() == 2 and read() == 2

    return (count_up, read_counter), check


@case
def function_defaults():
    def f(a, b=[1], *args, c={"k": 2}, d, **kwargs):  # noqa: B006
        return a, b, c, d, args, kwargs

    return f, lambda f: f(0, d=3) == (0, [1], {"k": 2}, 3, (), {}) and f.__kwdefaults__ == {"c": {"k": 2}}


@case
def function_attributes():
    def f():
        "documented"

    f.color = "red"
    f.me = f
    f.__name__ = "renamed"
    f.__qualname__ = "somewhere.renamed"
    f.__module__ = "elsewhere"

    def check(f):
        return (f.color, f.me is f, f.__name__, f.__qualname__, f.__module__, f.__doc__) == (
            "red",
            True,
            "renamed",
            "somewhere.renamed",
            "elsewhere",
            "documented",
        )

    return f, check


@case
def function_qualname():
    class Outer:
        def method(self):
            return 1

    return Outer.method, lambda f: f.__qualname__ == "function_qualname.<locals>.Outer.method"


@case
def function_doc_replaced():
    def f():
        "was"

    f.__doc__ = None
    return f, lambda f: f.__doc__ is None


@case
def function_annotations():
    def f(a: int, *, b: "str" = "x") -> typing.List[int]:  # noqa: UP006
        return [a]

    return f, lambda f: typing.get_type_hints(f) == {"a": int, "b": str, "return": typing.List[int]}  # noqa: UP006


@case
def closure():
    def outer(n):
        def inner(x):
            return x + n

        return inner

    return outer(5), lambda f: f(1) == 6


@case
def closure_recursive():
    def outer():
        def fact(n):
            return 1 if n < 2 else n * fact(n - 1)

        return fact

    return outer(), lambda f: f(5) == 120 and f.__closure__[0].cell_contents is f


@case
def closure_mutually_recursive():
    def outer():
        def ping(n):
            return "ping" if n == 0 else pong(n - 1)

        def pong(n):
            return "pong" if n == 0 else ping(n - 1)

        return ping, pong

    return outer(), lambda pair: pair[0](3) == "pong" and pair[1](3) == "ping"


def make_counter():
    n = 0

    def up():
        nonlocal n
        n += 1
        return n

    def read():
        return n

    return up, read


@case
def closures_share_cell():
    def check(pair):
        up, read = pair
        return up() == 1 and up() == 2 and read() == 2 and up.__closure__[0] is read.__closure__[0]

    return make_counter(), check


@case
def closures_share_mutable_cell():
    def make():
        items = []

        def add(x):
            nonlocal items
            items = items + [x]

        def get():
            return items

        return add, get

    def check(pair):
        add, get = pair
        add(1)
        add(2)
        return get() == [1, 2]

    return make(), check


@case
def closure_with_empty_cell():
    def make():
        def f():
            return later

        if not f:
            later = 1
        return f

    def check(f):
        try:
            f()
        except NameError:
            return True

    return make(), check


@case
def cell_alone():
    def make():
        big = [1, 2]
        return (lambda: big).__closure__[0]

    return make(), lambda cell: cell.cell_contents == [1, 2]


@case
def cell_before_its_function():
    def make():
        me = []

        def f():
            return me

        return f.__closure__[0], f

    return make(), lambda pair: pair[1]() is pair[0].cell_contents and pair[1].__closure__[0] is pair[0]


@case
def cell_in_itself():
    def make():
        def f():
            return f

        return f.__closure__[0]

    return make(), lambda cell: cell.cell_contents() is cell.cell_contents


@case
def nested_code_reads_globals():
    def outer():
        def inner():
            return [plus_answer(i) for i in range(2)]

        return inner

    return outer, lambda f: f()() == [42, 43]


@case
def class_body_reads_globals():
    def make():
        class C:
            value = ANSWER

        return C

    return make, lambda f: f().value == 42


@case
def function_generator():
    def g(n):
        yield from range(n)

    return g, lambda g: list(g(3)) == [0, 1, 2]


@case
def function_async():
    async def f(x):
        return x + ANSWER

    def check(f):
        import asyncio

        return asyncio.run(f(1)) == 43

    return f, check


@case
def function_uses_submodule():
    def f():
        return os.path.join("a", "b"), concurrent.futures.ThreadPoolExecutor, xml.etree.ElementTree.fromstring

    return f, lambda f: f()[0] == "a/b" and f()[2]("<a/>").tag == "a"


@case
def function_uses_submodule_from_closure():
    import concurrent as package

    def f():
        return package.futures.Future

    return f, lambda f: f().__name__ == "Future"


@case
def function_decorated():
    def twice(f):
        @functools.wraps(f)
        def wrapper(*a):
            return f(*a) * 2

        return wrapper

    @twice
    def f(x):
        "doc"
        return x + ANSWER

    return f, lambda f: f(0) == 84 and f.__doc__ == "doc" and f.__wrapped__(0) == 42


@case
def function_without_module_name():
    namespace = {"n": 3}
    exec("def f(): return n", namespace)
    return namespace["f"], lambda f: f() == 3


@case
def function_100_lambdas():
    return [lambda i=i: i for i in range(100)], lambda fs: [f() for f in fs] == list(range(100))


@case
def function_100_deep():
    f = lambda: 0  # noqa: E731
    for _ in range(100):
        f = (lambda g: lambda: g() + 1)(f)
    return f, lambda f: f() == 100


@case
def function_many_names():
    # EXTENDED_ARG: more globals than fit into a byte
    namespace = {"__name__": "__main__"}
    names = [f"name_{i}" for i in range(600)]
    namespace.update((name, i) for i, name in enumerate(names))
    exec("def f(): return " + " + ".join(names), namespace)
    return namespace["f"], lambda f: f() == sum(range(600))


@case
def function_with_star_import_builtins():
    def f():
        return len([1]) + max(2, 3)

    return f, lambda f: f() == 4


@case
def function_reads_its_module_name():
    def f():
        return __name__

    return f, lambda f: f() == "__main__"


@case
def code_object():
    return plus_answer.__code__, lambda code: code.co_names == ("ANSWER",) and code.co_argcount == 1


@case
def code_with_foreign_constant():
    def f():
        return 123456

    class Thing:
        def hello(self):
            return "hello"

    code = f.__code__
    f.__code__ = code.replace(co_consts=tuple(Thing() if c == 123456 else c for c in code.co_consts))
    return f, lambda f: f().hello() == "hello"


@case
def partial_of_lambda():
    return functools.partial(lambda a, b: a - b, b=2), lambda f: f(5) == 3


@case
def partialmethod_in_class():
    class C:
        def add(self, a, b):
            return a + b

        add2 = functools.partialmethod(add, 2)

    return C, lambda C: C().add2(3) == 5


@case
def lru_cached():
    @functools.lru_cache(maxsize=7)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    fib(5)

    def check(f):
        return f.cache_info().currsize == 0 and f(30) == 832040 and f.cache_parameters()["maxsize"] == 7

    return fib, check


@case
def builtin_function_in_closure():
    def make(f):
        return lambda x: f(x)

    return make(len), lambda f: f([1, 2]) == 2


@case
def bound_method_of_builtin():
    return [3, 1].append, lambda m: m(2) is None and m.__self__ == [3, 1, 2]


@case
def method_descriptors():
    return [str.upper, object.__new__, int.__add__, dict.fromkeys], lambda m: m[0]("a") == "A" and m[2](1, 2) == 3


main()
