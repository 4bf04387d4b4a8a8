"""across.py dump FOLDER | load FILE | refused FILE: one side of a trip between two versions of Python.

dump writes FOLDER/source.pickle and FOLDER/plain.pickle, each a pickle of {name: dumps of that object}; load
loads and uses each; refused says what loading each raises. Both print {name: what went wrong, or what was
raised} as JSON.
"""

import asyncio
import json
import pickle
import sys
import traceback
from pathlib import Path

import achar


def check_plain(f):
    assert f(1) == [5, 6] and f.__defaults__ == (2,) and f.__kwdefaults__ == {"z": (1,)}
    assert f.__doc__.startswith("Doc.\n") and f.note == "kept" and f.__qualname__ == "plain"
    assert f.__module__ == "across_objects" and f.__code__.co_filename.endswith("across_objects.py")


def check_annotations(f):
    assert f(1, "x") == [1, 1, 1.0]
    assert f.__annotations__ == {"a": int, "rest": "str", "key": float, "return": "list[int]"}


def check_shared_cell(pair):
    up, down = pair
    assert [up(), up(), down(), up()] == [1, 2, 1, 2] and up.__qualname__ == "make_counter.<locals>.up"


def check_generator(f):
    g = f(5)
    assert [next(g), next(g)] == [0, 1]
    try:
        g.send("end")
    except StopIteration as end:
        assert end.value == "end"


def check_everything(f):
    assert f([1, 2]) == ((1, [2]), ".", {"a": 0, "b": 1}, "[1, 2]")
    assert f({"k": 3})[0] == 3 and f(None)[0] == (None,)


def check_containers(found):
    assert found["a"][0][0](1) == [5, 6] and found["a"][0][1]["b"](2) == 6 and found["f"]() == [9, 10]


def check_class(cls):
    one = cls()
    assert one.method() == 9 and one.size == 7 and cls.static(1) == 4 and cls.name() == "Derived"
    one.size = 2
    assert one.count == 2 and cls.__mro__[1].__name__ == "Base" and type(one).__slots__ == ("extra",)


def check_local_class(cls):
    assert cls().method() == (18, ["Local"]) and cls.__qualname__ == "make_class.<locals>.Local"


def check_dataclass(cls):
    a, b = cls(1), cls(2, scale=5)
    assert repr(a) == "Point(x=1, tags=[])" and a < b and cls(1, [3]) == a and hash(a) == hash(cls(1))
    assert b.scaled == 10 and cls.__init__.__qualname__ == "Point.__init__"
    assert cls.__init__.__annotations__["x"] is int
    try:
        a.x = 5
    except AttributeError:
        pass
    else:
        raise AssertionError("it was frozen")
    import dataclasses

    assert dataclasses.replace(a, x=7, scale=1).x == 7 and [f.name for f in dataclasses.fields(cls)] == ["x", "tags"]
    assert dataclasses.dataclass(frozen=True)(type("Sub", (cls,), {"__annotations__": {"y": int}, "y": 3}))(1).y == 3


def check_dataclass_defaults(cls):
    assert repr(cls()) == "Point3(a=1)" and cls(b="c") != cls() and cls(2).method() == 8 and cls.__hash__ is None


def check_namedtuple(cls):
    assert cls(1, 2)._replace(left=3) == (3, 2) and cls._make([1, 2])._asdict() == {"left": 1, "right": 2}
    assert repr(cls(right=1, left=2)) == "Pair(left=2, right=1)" and cls.__new__.__name__ == "__new__"


def check_enum(cls):
    assert [m.name for m in cls] == ["RED", "BLUE"] and cls(2) is cls.BLUE and cls["RED"].loud() == "RED"
    assert isinstance(cls.RED, cls) and len(cls) == 2


def check_exception(error):
    assert isinstance(error, ValueError) and error.code == 3 and error.explain() == "3!" and error.args == (3, "three")


def check_strict_flag(both):
    cls, both_set = both
    assert both_set is cls.READ | cls.WRITE and both_set.value == 3 and ~cls.READ & both_set is cls.WRITE
    assert cls(4) is cls.RUN and list(cls) == [cls.READ, cls.WRITE, cls.RUN] and cls["RUN"].can() == "RUN"
    try:
        cls(8)
    except ValueError:
        return
    raise AssertionError("a bit that has no member")


CHECKS = {
    "plain": check_plain,
    "on one line": lambda fs: [f(10) for f in fs] == [11, 12, 30, 11],
    "in a comprehension": lambda fs: [f() for f in fs] == [2, 2, 2],
    "annotations": check_annotations,
    "recursive": lambda f: f(5) == 120,
    "mutual": lambda f: f(10) and not f(7),
    "shared cell": check_shared_cell,
    "closure over itself": lambda f: f([[], [[]]]) == 4 and f.__closure__[0].cell_contents is f,
    "decorated": lambda f: f(2) == 6 and f.__name__ == "decorated" and f.__wrapped__(2) == 3,
    "generator": check_generator,
    "coroutine": lambda f: asyncio.run(f(3)) == [0, 1, 2],
    "syntax of 3.10": check_everything,
    "nested in containers": check_containers,
    "bound method": lambda m: m() == 9,
    "class": check_class,
    "inner class": lambda cls: cls().where() == ("Base.Inner", "Inner"),
    "local class": check_local_class,
    "instances": lambda pair: pair[0].method() == 9 and pair[1].method()[0] == 18,
    "dataclass": check_dataclass,
    "dataclass instance": lambda p: p.x == 2 and p.tags == ["t"] and p.scaled == 8 and p == type(p)(2),
    "dataclass with defaults": check_dataclass_defaults,
    "namedtuple": check_namedtuple,
    "namedtuple of one": lambda one: one == (5,) and one.only == 5 and type(one)(6).only == 6,
    "enum": check_enum,
    "enum member": lambda m: m.name == "RED" and m.value == 1 and m.loud() == "RED" and m is type(m)(1),
    "flag": lambda cls: cls.A | cls.B == 3 and cls(3) & cls.A is cls.A,
    "strict flag": check_strict_flag,
    "exception": check_exception,
    "code": lambda code: code.co_name == "plain" and code.co_varnames[:3] == ("x", "y", "z"),
}


def dump(folder):
    sys.path.insert(0, str(Path(__file__).parent))
    import across_objects

    achar.register_by_value(across_objects)
    with_source = {name: achar.dumps(obj, source=True) for name, obj in across_objects.OBJECTS.items()}
    plain = {name: achar.dumps(obj) for name, obj in across_objects.OBJECTS.items()}
    Path(folder, "source.pickle").write_bytes(pickle.dumps(with_source))
    Path(folder, "plain.pickle").write_bytes(pickle.dumps(plain))


def load(file):
    results = {}
    for name, data in pickle.loads(Path(file).read_bytes()).items():
        try:
            loaded = achar.loads(data)
            answer = CHECKS[name](loaded)
            if not isinstance(loaded, type):  # what came with its source can go on with it
                answer = answer if answer is not None else True
                achar.loads(achar.dumps(loaded, source=True))
            results[name] = None if answer or answer is None else f"the check says {answer!r}"
        except BaseException:
            results[name] = traceback.format_exc()
    print(json.dumps(results))


def refused(file):
    results = {}
    for name, data in pickle.loads(Path(file).read_bytes()).items():
        try:
            achar.loads(data)
            results[name] = None
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(results))


if __name__ == "__main__":
    {"dump": dump, "load": load, "refused": refused}[sys.argv[1]](sys.argv[2])
