"""Enumerations and flags. See cases.py."""

import enum

from cases import case, main


class Color(enum.Enum):
    RED = 1
    GREEN = "g"
    ALIAS = 1

    @property
    def pretty(self):
        return self.name.title()


@case
def enum_plain():
    def check(p):
        C, red, key = p
        return (
            C.RED is red
            and C(1) is red
            and C["ALIAS"] is red
            and list(C) == [C.RED, C.GREEN]
            and red.pretty == "Red"
            and repr(red) == "<Color.RED: 1>"
            and key == {C.GREEN: 1}
            and C.__members__["GREEN"].value == "g"
        )

    return (Color, Color.RED, {Color.GREEN: 1}), check


@case
def enum_member_only():
    return Color.GREEN, lambda m: m is type(m)("g") and m.name == "GREEN"


@case
def enum_frozen():
    def check(C):
        try:
            C.RED = 5
        except AttributeError:
            return C.RED.value == 1

    return Color, check


@case
def enum_with_new_and_init():
    class Planet(enum.Enum):
        MERCURY = (3.3e23, 2.4e6)
        EARTH = (5.9e24, 6.3e6)

        def __init__(self, mass, radius):
            self.mass = mass
            self.radius = radius

    class Coded(bytes, enum.Enum):
        def __new__(cls, value, label):
            self = bytes.__new__(cls, [value])
            self._value_ = value
            self.label = label
            return self

        A = (1, "first")

    def check(p):
        earth, a = p
        return (
            earth.mass == 5.9e24
            and type(earth)((3.3e23, 2.4e6)).name == "MERCURY"
            and (a.label == "first" and bytes(a) == b"\x01" and type(a)(1) is a)
        )

    return (Planet.EARTH, Coded.A), check


@case
def enum_int_str_auto():
    class I(enum.IntEnum):  # noqa: E742
        A = enum.auto()
        B = enum.auto()

    class S(str, enum.Enum):
        X = "x"

        def shout(self):
            return self.upper()

    return (I.B, S.X), lambda p: p[0] == 2 and p[0] + 1 == 3 and p[1] == "x" and p[1].shout() == "X"


@case
def enum_flags():
    class Perm(enum.Flag):
        R = 4
        W = 2
        X = 1
        RW = 6

    class I(enum.IntFlag):  # noqa: E742
        A = 1
        B = 2

    combined = Perm.R | Perm.X

    def check(p):
        Perm, combined, rw, both = p
        return (
            combined is Perm.R | Perm.X
            and Perm.R in combined
            and rw is Perm.RW
            and both == 3
            and (~Perm.R).value == 3
            and Perm(0).value == 0
        )

    return (Perm, combined, Perm.RW, I.A | I.B), check


@case
def enum_with_date_mixin():
    import datetime

    class Day(datetime.date, enum.Enum):
        D = (2024, 1, 2)

    return Day.D, lambda d: d.isoformat() == "2024-01-02" and type(d).D is d


@case
def enum_values_are_functions_of_it():
    class Op(enum.Enum):
        ADD = (lambda a, b: a + b if Op else 0,)

        def __call__(self, *a):
            return self.value[0](*a)

        @classmethod
        def first(cls):
            return Op.ADD

    return Op.ADD, lambda op: op(1, 2) == 3 and type(op).first() is op


@case
def enum_inherits_behaviour():
    class Base(enum.Enum):
        def hello(self):
            return f"hello {self.name}"

    class Sub(Base):
        A = 1

    return Sub.A, lambda a: a.hello() == "hello A" and len(type(a)) == 1


main()
