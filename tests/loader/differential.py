"""Mutated pickles through achar and through _pickle: the same value, or both refuse alike.

    python tests/loader/differential.py SEED COUNT

Run by test_differential.py, with a memory limit, in a process of its own: what is compared with
takes any length in the stream at its word. Both sides load with a find_class that lets only
harmless things through. Prints each difference that is not listed in EXPLAINED and exits with 1
if there is one.
"""

import _pickle
import collections
import dataclasses
import datetime
import decimal
import fractions
import io
import random
import resource
import sys
import uuid
import warnings

import achar
import achar.pickle

MEMORY_LIMIT = 768 << 20

SAFE = {
    "__main__": {"Record", "Slotted", "Stateful"},
    "builtins": {"set", "frozenset", "range", "slice", "complex", "bytearray", "bytes", "list", "object", "int"},
    "__builtin__": {"set", "frozenset", "xrange", "bytes", "list", "object", "long", "bytearray", "complex"},
    "collections": {"OrderedDict", "deque", "Counter", "defaultdict"},
    "datetime": {"datetime", "date", "timedelta", "time", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "uuid": {"UUID"},
    "_codecs": {"encode"},
    "copyreg": {"_reconstructor"},
    "copy_reg": {"_reconstructor"},
}


@dataclasses.dataclass
class Record:
    key: int
    name: str
    more: object = None


@dataclasses.dataclass
class Slotted:
    __slots__ = ("key", "name")
    key: int
    name: str


class Stateful:
    def __setstate__(self, state):
        self.state = state

    def __getstate__(self):
        return ("state", 1)

    def __repr__(self):
        return f"Stateful({self.__dict__!r})"


def seeds():
    """Valid pickles of many kinds, all protocols."""
    recursive_list = [1, 2]
    recursive_list.append(recursive_list)
    recursive_dict = {"self": None}
    recursive_dict["self"] = recursive_dict
    recursive_tuple = ([],)
    recursive_tuple[0].append(recursive_tuple)
    shared = ["shared"]
    values = [
        None, True, 0, 255, 65535, -1, 2**31, -(2**31), 2**200, -(2**70), 1.5, float("nan"), "", "a", "text",
        "zeichenkette ü", "\u20ac" * 90, "\ud800", "x" * 300, b"", b"bytes", b"\x00\xff" * 200, bytearray(b"array"),
        [], [1], [1, [2, [3]]], list(range(30)), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((), ((),)),
        {}, {"a": 1}, {"a": {"b": [1, 2]}, (1, 2): None, 3: "three"}, set(), {1, 2, 3}, frozenset([1, "a"]),
        recursive_list, recursive_dict, recursive_tuple, [shared, shared, shared],
        Record(1, "one"), [Record(i, f"n{i}", [i]) for i in range(4)], Slotted(2, "two"), Stateful(),
        collections.OrderedDict(a=1, b=2), collections.deque([1, 2], 5), collections.Counter("abca"),
        collections.defaultdict(list, {"k": [1]}), datetime.datetime(2024, 5, 6, 7, 8, 9), datetime.timedelta(3, 4, 5),
        decimal.Decimal("1.25"), fractions.Fraction(3, 7), uuid.UUID(int=5), range(3, 9, 2), slice(1, 2), 3 + 4j,
        datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
    ]  # fmt: skip
    for value in values:
        for protocol in range(2 if isinstance(value, Slotted) else 0, 6):
            yield _pickle.dumps(value, protocol)
    yield from (
        b"I010\n.", b"I01\n.", b"I00\n.", b"I-5\n.", b"L12L\n.", b"L\n.", b"F1.5e3\n.", b"S'abc'\n.", b'S"x\\n"\n.',
        b"T\x03\x00\x00\x00abc.", b"U\x03abc.", b"V\\u20acx\n.", b"(I1\nI2\nl.", b"(S'a'\nI1\nd.", b"(I1\nt.",
        b"(c__main__\nStateful\no.", b"(i__main__\nStateful\n.", b"N2\x86.", b"N0N.", b"(NN1N.", b"Np5\nNg5\n\x86.",
        b"Nq\x05N\x94h\x01.", b"Pid\n.", b"Nr\xff\xff\xff\x0fN.", b"\x80\x05\x96\x03\0\0\0\0\0\0\0abc\x98.",
        b"\x82\x01.", b"](NNe.", b"}(NNNNu.", b"\x8f(NI1\n\x90.", b"(\x91.", b"\x80\x04c__main__\nRecord\n)}\x92.",
    )  # fmt: skip


OPCODE_BYTES = bytes(b"IJKMLSTUBCNVXFG]ael)t}dus02(1gjpqrcRbioPQ." + bytes(range(0x80, 0x99)) + b"h")


def mutate(random_source, data):
    data = bytearray(data)
    for _ in range(random_source.choice((1, 1, 1, 2, 3))):
        at = random_source.randrange(len(data) + 1)
        kind = random_source.randrange(6)
        if kind == 0 and at < len(data):
            data[at] = random_source.randrange(256)
        elif kind == 1 and at < len(data):
            data[at] = random_source.choice(OPCODE_BYTES)
        elif kind == 2:
            data.insert(at, random_source.choice(OPCODE_BYTES))
        elif kind == 3:
            del data[at : at + random_source.choice((1, 1, 2, 5))]
        elif kind == 4:
            del data[at:]
        else:
            start = random_source.randrange(len(data) + 1)
            data[at:at] = data[start : start + random_source.randrange(1, 12)]
    return bytes(data)


def unpicklers(base):
    class Careful(base):
        def find_class(self, module, name):
            if name not in SAFE.get(module, ()):
                raise _pickle.UnpicklingError(f"{module}.{name} is not allowed")
            return super().find_class(module, name)

        def persistent_load(self, pid):
            return ("persistent", pid)

    return Careful


THEIRS = unpicklers(_pickle.Unpickler)
OURS = unpicklers(achar.pickle.Unpickler)
SUPERSET = unpicklers(achar.Unpickler)


class Peekable(io.BytesIO):
    def peek(self, size):
        at = self.tell()
        data = self.read(size)
        self.seek(at)
        return data


def outcome(unpickler, file, encoding):
    """(what came of it, where the file stood)"""
    try:
        value = unpickler(file, encoding=encoding).load()
    except MemoryError:
        return ("memory", None)
    except RecursionError:
        return ("recursion", None)
    except Exception as error:
        return (type(error).__name__, str(error))
    try:
        return (repr(value), file.tell())
    except Exception as error:
        return ("unprintable", type(error).__name__)


def explained(theirs, ours):
    """Differences that are meant: why, or None."""
    if theirs[0] in ("memory", "OverflowError") and ours[0] in ("UnpicklingError", "EOFError"):
        return "a length beyond the end of the input is seen before it is allocated"
    if theirs[0] == "memory":
        return "an index far out costs no memory"
    if theirs == ("UnpicklingError", "STACK_GLOBAL requires str"):
        # Up to some 3.11.x it looks at the types before it looks whether there are two operands.
        return ours[1] in ("unpickling stack underflow", "unexpected MARK found")
    return None


def straddles(data):
    """An opcode reaches over the end of its frame: from a file, _pickle drops what is left of it."""
    import pickletools

    end = None
    try:
        operations = list(pickletools.genops(data))
    except Exception:
        return b"\x95" in data
    for (opcode, argument, at), following in zip(operations, [*operations[1:], (None, None, len(data))], strict=True):
        if end is not None and at < end and (end < following[2] or opcode.name == "FRAME"):
            return True
        if opcode.name == "FRAME":
            end = at + 9 + argument
    return False


def main(seed, count):
    warnings.simplefilter("ignore", DeprecationWarning)  # STRING with odd escapes
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    random_source = random.Random(seed)
    corpus = list(seeds())
    differences = 0
    accepted = 0
    for number in range(count):
        data = random_source.choice(corpus)
        if number % 10:
            data = mutate(random_source, data)
        encoding = random_source.choice(("ASCII", "latin1", "bytes"))
        for kind in (Peekable, io.BytesIO):
            theirs = outcome(THEIRS, kind(data), encoding)
            ours = outcome(OURS, kind(data), encoding)
            accepted += isinstance(ours[1], int)
            if theirs != ours and not explained(theirs, ours) and not (kind is io.BytesIO and straddles(data)):
                differences += 1
                print(f"{kind.__name__} {encoding} {data!r}\n    _pickle {theirs}\n    achar   {ours}")
        superset = outcome(SUPERSET, io.BytesIO(data), encoding)
        if superset[0] != ours[0] and "memory" not in (ours[0], superset[0]):
            differences += 1
            print(f"superset {encoding} {data!r}\n    strict   {ours}\n    superset {superset}")
    print(f"{count} inputs, {accepted} accepted, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
