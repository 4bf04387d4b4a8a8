"""Objects that pickle in every way there is, and a journal of the calls that loading makes."""

import collections
import dataclasses
import enum

journal = []


class Made:
    """The result of note(): has items, keys and a state like any object."""

    def __init__(self):
        self.items = []
        self.pairs = []
        self.states = []

    def extend(self, items):
        journal.append(("extend", [repr(item) for item in items]))
        self.items.extend(items)

    def append(self, item):
        self.extend([item])

    def add(self, item):
        journal.append(("add", repr(item)))
        self.items.append(item)

    def __setitem__(self, key, value):
        journal.append(("set", repr(key), repr(value)))
        self.pairs.append((key, value))

    def __setstate__(self, state):
        journal.append(("state", repr(state)))
        self.states.append(state)

    def __repr__(self):
        return f"Made({len(self.items)}, {len(self.pairs)}, {len(self.states)})"


def note(*arguments):
    """Writes down what it is called with, as it is at that moment."""
    journal.append(("note", repr(arguments)))
    return Made()


@dataclasses.dataclass
class Record:
    name: object
    value: object


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a = a
        self.b = b

    def __getstate__(self):
        return None, {"a": self.a, "b": self.b}


Pair = collections.namedtuple("Pair", "left right")


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Keyword:
    def __new__(cls, *, value):
        self = super().__new__(cls)
        self.value = value
        return self

    def __getnewargs_ex__(self):
        return (), {"value": self.value}


class Stack(list):
    pass


class Mapping(dict):
    pass


class Bag(set):
    pass


class Setter:
    """The sixth item of a reduce value: a call whose result is thrown away."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return Setter.blank, (), self.state, None, None, Setter.set

    @staticmethod
    def blank():
        return Setter(None)

    @staticmethod
    def set(self, state):
        self.state = state


class Outer:
    class Inner:
        def __init__(self, value):
            self.value = value
