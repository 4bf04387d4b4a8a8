"""A script that is run twice: ``later.py write FILE``, and with other definitions ``later.py read FILE``.

The classes named Same… are the same in both runs, those named Changed… are not. test_later.py looks at
what the second run prints, as JSON.
"""

import dataclasses
import enum
import json
import pickle
import sys
import warnings

import achar

later = sys.argv[1] == "read"


def helper():
    return "later" if later else "first"


class SamePlain:
    """Its line numbers differ, as does what it calls."""

    limits = {"low": 1, "high": (2, 3)}  # noqa: RUF012

    def __init__(self, x, *, y=2):
        self.x, self.y = x, y

    def says(self):
        return helper()

    @property
    def double(self):
        return 2 * self.x

    class Inner:
        pass


class SameSlots(SamePlain):
    __slots__ = ("z",)


@dataclasses.dataclass
class SameData:
    a: int
    b: list = dataclasses.field(default_factory=list)


class SameColour(enum.Enum):
    RED = 1
    BLUE = "b"


class SameError(Exception):
    def __init__(self, *, code):
        self.code = code


if later:

    class ChangedCode:
        def double(self):
            return self.x + self.x

    class ChangedValue:
        version, added = 2, True

    class ChangedDefault:
        def __init__(self, x=2):
            self.x = x

    class ChangedBase(SamePlain):
        pass

    class ChangedProperty:
        @property
        def size(self):
            return 2

    ChangedKind = 5

else:

    class ChangedCode:
        def double(self):
            return self.x * 2

    class ChangedValue:
        version, removed = 1, True

    class ChangedDefault:
        def __init__(self, x=1):
            self.x = x

    class ChangedBase(ChangedValue):
        pass

    class ChangedProperty:
        @property
        def size(self):
            return 1

    class ChangedKind:
        pass


class ChangedBelow(ChangedValue):
    pass


def local():
    class SameName:
        pass

    return SameName


NAMES = [name for name in dir() if name.startswith(("Same", "Changed"))]


def write(path):
    instances = {"SamePlain": SamePlain(4), "inner": SamePlain.Inner(), "SameData": SameData(1)}
    instances["SameError"] = SameError(code=3)
    streams = {}
    for way in ("plain", "deterministic"):
        for name in NAMES:
            found = globals()[name]
            made = instances.get(name) or (list(found)[0] if name == "SameColour" else found.__new__(found))
            if name == "ChangedCode":
                made.x = 3
            streams[way, name] = achar.dumps([made, found], deterministic=way == "deterministic")
        streams[way, "inner"] = achar.dumps([instances["inner"], SamePlain.Inner], deterministic=way == "deterministic")
        streams[way, "local"] = achar.dumps([local()(), local()], deterministic=way == "deterministic")
    with open(path, "wb") as file:
        pickle.dump(streams, file)


def read(path):
    with open(path, "rb") as file:
        streams = pickle.load(file)
    found = {}
    for (way, name), data in streams.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loads = achar.loads if way == "plain" else pickle.loads
            made, cls = loads(data)
        here = SamePlain.Inner if name == "inner" else globals().get(name)
        found[f"{way} {name}"] = {
            "same": cls is here and type(made) is cls,
            "works": isinstance(made, cls),
            "warnings": [f"{w.category.__name__}: {w.message}" for w in caught],
            "at": [w.filename for w in caught],
        }
        if name == "ChangedCode":
            found[f"{way} {name}"]["double"] = made.double()
        if name == "SamePlain":
            found[f"{way} {name}"]["says"] = [made.says(), made.x, made.double]
        if name == "SameColour":
            found[f"{way} {name}"]["same"] &= made is SameColour.BLUE or made is SameColour.RED
    # What was read goes out again, and comes home.
    made, cls = achar.loads(streams["plain", "SamePlain"])
    assert achar.loads(achar.dumps(made)).__class__ is SamePlain
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    (read if later else write)(sys.argv[2])
