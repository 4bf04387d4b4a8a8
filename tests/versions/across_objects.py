"""What across.py sends from one version of Python to another. Only the sender can import this."""

import dataclasses
import enum
import functools
from collections import namedtuple

FACTOR = 3


def plain(x, y=2, *, z=(1,)):
    "Doc.\n\n    Indented."

    def add(a):
        return a + x + FACTOR

    return [add(i) + z[0] for i in range(y)]


plain.note = "kept"

# Told apart by what they compile to.
on_one_line = [lambda x: x + 1, lambda x: x + 2, lambda x: x * FACTOR, lambda x: x + 1]
in_a_comprehension = [lambda: i for i in range(3)]  # noqa: B023


def with_annotations(a: int, *rest: "str", key: float = 1.0) -> "list[int]":
    return [a, len(rest), key]


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


def is_even(n):
    return True if n == 0 else is_odd(n - 1)


def is_odd(n):
    return False if n == 0 else is_even(n - 1)


def make_counter():
    n = 0

    def up():
        nonlocal n
        n += 1
        return n

    def down():
        nonlocal n
        n -= 1
        return n

    return up, down


def make_walker():
    def walk(tree):
        return 1 + sum(walk(child) for child in tree)

    return walk


def twice(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args) * 2

    return wrapper


@twice
def decorated(x):
    return x + 1


def generator(n):
    for i in range(n):
        received = yield i
        if received:
            return received


async def coroutine(x):
    async def inner():
        return [y async for y in numbers(x)]

    return await inner()


async def numbers(n):
    for i in range(n):
        yield i


def everything(x):
    with open("/dev/null") as file:
        text = file.read()
    try:
        match x:
            case [a, *rest]:
                found = a, rest
            case {"k": v}:
                found = v
            case _:
                raise KeyError(x)
    except KeyError as error:
        found = error.args
    finally:
        text += "."
    return found, text, {k: v for k, v in zip("ab", range(2))}, f"{x!r:>5}"


class Base:
    __secret = 5
    count = 0

    def method(self, q=lambda: 3):
        return self.__secret + q()

    @property
    def size(self):
        """The size."""
        return 7

    @size.setter
    def size(self, value):
        self.count = value

    @staticmethod
    def static(x):
        return x + FACTOR

    @classmethod
    def name(cls):
        return cls.__name__

    class Inner:
        def where(self):
            return __class__.__qualname__, type(self).__name__


class Derived(Base):
    __slots__ = ("extra",)

    def method(self):
        return super().method() + 1


def make_class(base_value):
    class Local(Base):
        value = base_value

        def method(self):
            return super().method() + base_value, [__class__.__name__ for _ in range(1)]

    return Local


@dataclasses.dataclass(order=True, frozen=True)
class Point:
    x: int
    tags: list = dataclasses.field(default_factory=list, compare=False)
    scale: dataclasses.InitVar[int] = 4

    def __post_init__(self, scale):
        object.__setattr__(self, "scaled", self.x * scale)


@dataclasses.dataclass
class Point3(Base):
    a: "int" = 1
    b: str = dataclasses.field(default="b", repr=False, kw_only=True)


Pair = namedtuple("Pair", "left right")
Single = namedtuple("Single", "only", defaults=[5])


class Color(enum.Enum):
    RED = 1
    BLUE = 2

    def loud(self):
        return self.name.upper()


# What 3.11.2 takes for the boundary of a plain Flag is not what later ones do.
class Rights(enum.Flag, **({"boundary": enum.STRICT} if hasattr(enum, "STRICT") else {})):
    READ = 1
    WRITE = 2
    RUN = 4

    def can(self):
        return self.name


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Failure(ValueError):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code

    def explain(self):
        return f"{self.code}!"


local = make_class(10)

OBJECTS = {
    "plain": plain,
    "on one line": on_one_line,
    "in a comprehension": in_a_comprehension,
    "annotations": with_annotations,
    "recursive": recursive,
    "mutual": is_even,
    "shared cell": make_counter(),
    "closure over itself": make_walker(),
    "decorated": decorated,
    "generator": generator,
    "coroutine": coroutine,
    "syntax of 3.10": everything,
    "nested in containers": {"a": [(plain, {"b": on_one_line[2]})], "f": functools.partial(plain, 5)},
    "bound method": Derived().method,
    "class": Derived,
    "inner class": Base.Inner,
    "local class": local,
    "instances": [Derived(), local()],
    "dataclass": Point,
    "dataclass instance": Point(2, ["t"]),
    "dataclass with defaults": Point3,
    "namedtuple": Pair,
    "namedtuple of one": Single(),
    "enum": Color,
    "enum member": Color.RED,
    "flag": Bits,
    "strict flag": (Rights, Rights.READ | Rights.WRITE),
    "exception": Failure(3, "three"),
    "code": plain.__code__,
}
