"""achar.pickle.Unpickler against _pickle.Unpickler on any bytes: the same value, the same effects in
the same order, the same error with the same words, the file left at the same place. achar.Unpickler
on the same bytes: the same value, or an error of the same class. What differs on purpose is listed
in docs/loading.md and, as code, in explained() of tests/loader/differential.py.

Imports are answered from a list of harmless things. What a pickle changes in their classes is a part
of what is compared, and is put right afterwards.
"""

import _pickle
import collections
import datetime
import decimal
import gc
import io
import re
import sys
import warnings

import achar
import achar.pickle

from fuzz.here import ROOT

sys.path.append(str(ROOT / "tests" / "loader"))
from differential import Peekable, explained, straddles  # noqa: E402

warnings.simplefilter("ignore", DeprecationWarning)  # STRING with odd escapes
sys.unraisablehook = lambda _: None  # a __del__ that BUILD put there

# ---- what may be imported

journal = []


class Noted:
    """Writes down what is done to it."""

    def __init__(self, *args):
        self.args = args

    def extend(self, items):
        journal.append(("extend", len(items)))

    def append(self, item):
        journal.append(("append", type(item).__name__))

    def add(self, item):
        journal.append(("add", type(item).__name__))

    def __setitem__(self, key, value):
        journal.append(("set", type(key).__name__, type(value).__name__))

    def __setstate__(self, state):
        journal.append(("state", type(state).__name__))
        self.state = state


class Plain:
    pass


class Slotted:
    __slots__ = ("a", "b", "__dict__")


class Items(list):
    pass


class Table(dict):
    pass


class Keyword:
    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.made_with = (args, kwargs)
        return self


Pair = collections.namedtuple("Pair", "left right")
CLASSES = [Noted, Plain, Slotted, Items, Table, Keyword, Pair]


class Function:
    """Called by REDUCE; BUILD cannot change it."""

    __slots__ = ()

    def __setattr__(self, name, value):
        raise AttributeError(name)


class Note(Function):
    def __call__(self, *args):
        journal.append(("note", *(type(arg).__name__ for arg in args)))
        return Noted(*args)


class Encode(Function):
    """_codecs.encode, which looks for a module of the encoding's name."""

    def __call__(self, text, encoding):
        if encoding not in ("latin1", "latin-1"):
            raise LookupError(encoding)
        return text.encode(encoding)


class Reconstruct(Function):
    def __call__(self, cls, base, state):
        return base.__new__(cls) if base is object else base.__new__(cls, state)


class Empty(Function):
    """bytes and bytearray, which would take a number for a size."""

    def __call__(self, *args):
        return b"".join(arg for arg in args if isinstance(arg, bytes))


IMPORTS = {
    **{("fuzz.loads", cls.__name__): cls for cls in CLASSES},
    **{("builtins", cls.__name__): cls for cls in (set, frozenset, list, tuple, dict, object, complex)},
    **{("__builtin__", cls.__name__): cls for cls in (set, frozenset, list, object, complex)},
    **{("collections", cls.__name__): cls for cls in (collections.OrderedDict, collections.deque)},
    ("collections", "defaultdict"): collections.defaultdict,
    **{("datetime", name): getattr(datetime, name) for name in ("datetime", "date", "time", "timedelta", "timezone")},
    ("decimal", "Decimal"): decimal.Decimal,
    ("_codecs", "encode"): Encode(),
    ("copyreg", "_reconstructor"): Reconstruct(),
    ("copy_reg", "_reconstructor"): Reconstruct(),
    ("builtins", "bytes"): Empty(),
    ("builtins", "bytearray"): Empty(),
    ("fuzz.loads", "note"): Note(),
}


def pristine(cls):
    return dict(vars(cls)), cls.__bases__, cls.__name__, cls.__qualname__


PRISTINE = {cls: pristine(cls) for cls in CLASSES}
imported = set()


def restore():
    """Undoes what was done to the classes, and names it."""
    changed = []
    for cls in imported & PRISTINE.keys():
        was, now = PRISTINE[cls], pristine(cls)
        if now == was:
            continue
        for name in now[0].keys() | was[0].keys():
            if now[0].get(name, restore) is not was[0].get(name, restore):
                changed.append((was[2], name, name in now[0]))
                if name in was[0]:
                    setattr(cls, name, was[0][name])
                else:
                    delattr(cls, name)
        changed.append((was[2], *now[2:]))
        cls.__bases__, cls.__name__, cls.__qualname__ = was[1:]
    imported.clear()
    return sorted(changed)


def unpickler(base):
    class Careful(base):
        def find_class(self, module, name):
            journal.append(("import", module, name))
            if (module, name) not in IMPORTS:
                raise _pickle.UnpicklingError(f"{module}.{name} is not allowed")
            imported.add(IMPORTS[module, name])
            return IMPORTS[module, name]

        def persistent_load(self, pid):
            journal.append(("persistent", type(pid).__name__))
            return ("persistent", pid)

    return Careful


THEIRS = unpickler(_pickle.Unpickler)
OURS = unpickler(achar.pickle.Unpickler)
SUPERSET = unpickler(achar.Unpickler)

# ---- what came of it, as something to compare

ATOMS = {type(None), bool, float, str, bytes, bytearray, complex}
ADDRESS = re.compile("0x[0-9a-f]+")


def shallow(value):
    if type(value) in ATOMS:
        return repr(value)
    if type(value) is int:
        return hex(value)
    return type(value).__name__


def parts(value):
    """A description of the value itself, and what is in it."""
    kind = type(value)
    inside = []
    if isinstance(value, dict):
        for pair in dict.items(value):
            inside += pair
    elif isinstance(value, (list, tuple, collections.deque)):
        inside += kind.__iter__(value)
    elif isinstance(value, (set, frozenset)):
        return (kind.__name__, sorted(map(shallow, value))), []
    elif kind not in PRISTINE:
        return (kind.__name__, ADDRESS.sub("", repr(value))), []
    if kind is collections.defaultdict:
        inside.append(value.default_factory)
    if kind is Slotted:
        inside += [getattr(value, name, None) for name in ("a", "b")]
    if kind in PRISTINE and kind is not Pair:
        inside.append(object.__getattribute__(value, "__dict__"))
    return (kind.__name__, len(inside)), inside


def describe(value):
    """A list that is equal for equal values, down to which objects are one."""
    seen = {}
    description = []
    todo = [value]
    keep = []  # what is looked at lives on, so that no id() is used twice
    while todo:
        value = todo.pop()
        if type(value) in ATOMS or type(value) is int:
            description.append(shallow(value))
        elif id(value) in seen:
            description.append(seen[id(value)])
        else:
            seen[id(value)] = len(seen)
            keep.append(value)
            itself, inside = parts(value)
            description.append(itself)
            todo += reversed(inside)
    return description


def outcome(unpickler, data, options, file_class):
    """(what came of it, where the file stood), and what happened on the way."""
    journal.clear()
    file = file_class(data)
    try:
        value = unpickler(file, **options, buffers=iter([b"one", bytearray(b"two"), [3]])).load()
    except MemoryError:
        result = ("memory", None)
    except RecursionError:
        result = ("recursion", None)
    except Exception as error:
        result = (type(error).__name__, ADDRESS.sub("", str(error)))
    else:
        result = (value, file.tell())
    effects = journal[:], restore()
    assert gc.isenabled(), "the collector was left off"
    if isinstance(result[1], int):
        result = (describe(result[0]), result[1])
    return result, effects


# ---- what the interpreter had better not see

# Lengths and memo indexes above 2^24, which _pickle takes at their word.
LARGE = re.compile(
    rb"[rBTX\x8b]...[^\0]|[\x8d\x8e\x96\x95]...(?:[^\0]....|.[^\0]...|..[^\0]..|...[^\0].|....[^\0])|[pg][^\n]{7}", re.S
)


def explosive(data):
    """Tuples of tuples that are fetched again and again, as a key: hashing them takes too long."""
    again = sum(map(data.count, (b"2", b"h", b"j", b"g")))
    tuples = sum(map(data.count, (b"\x85", b"\x86", b"\x87", b"t", b"\x91")))
    return tuples and (again / tuples + 1) ** tuples > 1e5


OPTIONS = [
    {},
    {"encoding": "latin1"},
    {"encoding": "bytes"},
    {"encoding": "utf-8", "errors": "surrogateescape"},
    {"fix_imports": False},
]
# Without these bytes nothing is imported, and loads(), which asks no find_class of ours, may run.
IMPORTING = re.compile(rb"[ci\x93\x82\x83\x84]")


def imports_itself(journal):
    """Has 'journal', of a load without options, imports that loads() answers as we do?"""
    imports = {entry[1:] for entry in journal if entry[0] == "import"}
    for module, name in imports:
        real = getattr(sys.modules.get(module), name, None)
        if real is None or real is not IMPORTS.get((module, name)):
            return False
    imported.update(IMPORTS[one] for one in imports)
    return True


def compare(theirs, ours, data, what):
    if theirs == ours or explained(theirs[0], ours[0]) or (what is io.BytesIO and straddles(data)):
        return
    raise AssertionError(f"{what}\n    _pickle {theirs}\n    achar   {ours}")


# From memory _pickle finds even no bytes at all too many, where they would stand at the very end.
NO_BYTES_AT_THE_END = (("UnpicklingError", "pickle data was truncated"), ("EOFError", "Ran out of input"))


def loads_outcome(loads, data, classes):
    journal.clear()
    imported.update(classes)
    try:
        value = loads(data)
    except Exception as error:
        result = type(error).__name__, ADDRESS.sub("", str(error))
    else:
        result = describe(value), 0
    return result, (journal[:], restore())


def check(data):
    if explosive(data):
        return
    options = OPTIONS[len(data) % len(OPTIONS)]
    comparable = not LARGE.search(data)
    file_class = Peekable if len(data) % 2 else io.BytesIO
    ours = outcome(OURS, data, options, file_class)
    if comparable:
        compare(outcome(THEIRS, data, options, file_class), ours, data, file_class)
    superset = outcome(SUPERSET, data, options, file_class)
    if superset[0][0] != ours[0][0] or superset[1] != ours[1]:
        raise AssertionError(f"{options}\n    strict   {ours}\n    superset {superset}")
    if comparable and (not IMPORTING.search(data) or (not options and imports_itself(ours[1][0]))):
        classes = tuple(imported)
        theirs, ours = (loads_outcome(one, data, classes) for one in (_pickle.loads, achar.pickle.loads))
        if (theirs[0], ours[0]) != NO_BYTES_AT_THE_END:
            compare(theirs, ours, data, "loads")
