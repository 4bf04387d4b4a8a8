"""achar.pickle against _pickle on objects that change while they are being saved: the same bytes, or
the same error with the same words.

The input is a program. It makes a pile of objects that refer to each other, and leaves pieces of
itself behind as callbacks: in __reduce_ex__ and __getstate__, persistent_id, reducer_override,
buffer_callback and the file's write(). When a pickler calls, the piece runs, and makes, changes and
drops objects of the pile; what it returns may have been written already, may be new, may be
nonsense. Both picklers call back in the same order, so two piles made by one program stay alike as
long as both picklers do the same.
"""

import _pickle
import datetime
import io
import pickle
import pickletools
import re
import sys

import achar
import achar.pickle

sys.unraisablehook = lambda _: None
ADDRESS = re.compile("0x[0-9a-f]+")
CALLBACKS_MAX = 25  # of one run: a reduce may return what reduces again


def make(*args):
    return list(args)


def take_state(obj, state):
    pass


class Plain:
    pass


class Slotted:
    __slots__ = ("a", "b")


class Items(list):
    pass


class Table(dict):
    pass


class Calls:
    """Reduces to what its piece of the program says."""

    def __init__(self, pile, piece):
        self.pile, self.piece = pile, piece

    def __reduce_ex__(self, protocol):
        return self.pile.reduced(self.piece)


class Stateful:
    """Has the state that its piece of the program says."""

    def __init__(self, pile, piece):
        self.pile, self.piece = pile, piece

    def __getstate__(self):
        return self.pile.call(self.piece)

    def __setstate__(self, state):
        pass


class NewArgs:
    def __init__(self, pile, piece):
        self.pile, self.piece = pile, piece

    def __getnewargs_ex__(self):
        return (self.pile.call(self.piece),), {"k": self.pile.some(self.piece)}

    def __getstate__(self):
        return self.pile.some(self.piece)


class Expected(Exception):
    """What a piece raises."""


SHARED = ("shared text", b"shared bytes", 10**30, (1, "two"), 2.5)


class Pile:
    """The objects of one run, numbered; what the program works on."""

    def __init__(self, program, protocol):
        self.protocol = protocol
        self.objects = [None, 1, "", []]
        self.calls_left = CALLBACKS_MAX  # then callbacks return what ends
        self.run(program)

    def some(self, piece):
        """One of the objects; bytes pick it, from the end for what is new."""
        if self.calls_left < 0:
            return None
        number = piece.pop() if piece else 1
        return self.objects[-1 - number % len(self.objects)]

    def run(self, piece):
        while piece and len(self.objects) < 120:
            self.step(piece)

    def step(self, piece):
        what = piece.pop()
        if what < 128:
            self.objects.append(self.atom(what, piece) if what < 48 else self.container(what, piece))
        else:
            self.change(what, piece)

    def atom(self, what, piece):
        number = piece.pop() if piece else 0
        match what % 12:
            case 0:
                return (None, True, False, Ellipsis, NotImplemented)[number % 5]
            case 1:
                return (number - 128) << number % 70
            case 2:
                return number / 7
            case 3:
                return "".join(["text", str(number)])
            case 4:
                return ("é" if number % 2 else "a") * (number * number % 1031)
            case 5:
                return bytes([number]) * (number * 5)
            case 6:
                return bytearray(number)
            case 7:
                return SHARED[number % len(SHARED)]
            case 8:
                return (Plain, len, make, type(None), int, datetime.datetime)[number % 6]
            case 9:
                data = bytes([number]) if number % 2 else bytearray(number)
                return pickle.PickleBuffer(data) if self.protocol == 5 or number == 0 else data
            case 10:
                return datetime.datetime(1 + number, 2, 3)
            case _:
                return str(number % 3)

    def piece(self, piece):
        """The next bytes of the program, cut off to run later."""
        count = piece.pop() % 12 if piece else 0
        cut = piece[len(piece) - count :] if count else bytearray()
        del piece[len(piece) - len(cut) :]
        return cut

    def container(self, what, piece):
        match what % 16:
            case 0:
                return []
            case 1:
                return {}
            case 2:
                return [self.some(piece)]
            case 3:
                return [self.some(piece), self.some(piece), self.some(piece)]
            case 4:
                return (self.some(piece),)
            case 5:
                return (self.some(piece), self.some(piece))
            case 6:
                return tuple(self.some(piece) for _ in range(4))
            case 7:
                return {"a": self.some(piece), "b": self.some(piece)}
            case 8:
                # Only what hashes alike in both runs: sets go by that.
                items = [self.some(piece), self.some(piece), 7]
                return {item for item in items if type(item) in (int, str, bytes)}
            case 9:
                return frozenset(item for item in [self.some(piece), 5] if type(item) in (int, str, bytes))
            case 10:
                made = Plain()
                made.first, made.second = self.some(piece), self.some(piece)
                return made
            case 11:
                made = Slotted()
                made.a = self.some(piece)
                return made
            case 12:
                return (Items, Table)[what // 16 % 2]()
            case 13:
                return (Stateful, NewArgs)[what // 16 % 2](self, self.piece(piece))
            case _:
                return Calls(self, self.piece(piece))

    def change(self, what, piece):
        target, value = self.some(piece), self.some(piece)
        match what % 8:
            case 0 | 1:
                if isinstance(target, list):
                    target.append(value)
            case 2:
                if isinstance(target, dict):
                    target[f"k{what // 8}"] = value
            case 3:
                if isinstance(target, (Plain, Slotted, Items, Table)):
                    setattr(target, "ab"[what // 8 % 2], value)
            case 4:
                if isinstance(target, (list, dict, set)):
                    target.clear()
            case 5:
                if isinstance(target, (list, dict, set)) and target and isinstance(target, list):
                    target.pop()
                elif isinstance(target, dict):
                    target.pop("a", None)
            case 6:
                del self.objects[len(self.objects) // 2 + 1 :]
            case _:
                if isinstance(target, (list, set)) and type(value) is int:
                    (target.append if isinstance(target, list) else target.add)(value)

    # ---- what picklers call

    def call(self, piece):
        """Runs a piece; the value that it then chooses."""
        self.calls_left -= 1
        if self.calls_left < 0:
            return None
        piece = bytearray(piece)
        last = piece.pop() if piece else 0
        self.run(piece)
        if last == 255:
            raise Expected(len(self.objects))
        return self.objects[-1 - last % len(self.objects)]

    def reduced(self, piece):
        form = piece[0] if piece else 0
        value = self.call(piece[1:])
        if self.calls_left < 0:
            return make, ()
        other = self.objects[form % len(self.objects)]
        match form % 16:
            case 0:
                return make, (value,)
            case 1:
                return make, (value, other, value)
            case 2:
                return make, (), value
            case 3:
                return Items, (), None, iter([value, other, value])
            case 4:
                return Table, (), None, None, iter([("k", value), (1, other)])
            case 5:
                return Plain, (), {"a": value}, None, None, take_state
            case 6:
                return pickle_newobj, (Plain,), {"b": value}
            case 7:
                return pickle_newobj_ex, (Plain, (value,), {"k": other}), None
            case 8:
                return "make"
            case 9:
                return value
            case 10:
                return make, (value,), other, iter([value]), iter([(value, other)])
            case 11:
                return Items, (), value, other
            case 12:
                return (make, (value, [value, str(form) * 3], {"fresh": [other]}))
            case 13:
                return make, (self.objects, {"all": self.objects[-1]})
            case 14:
                return value, other
            case _:
                return make, value


def pickle_newobj(cls, *args):
    pass


def pickle_newobj_ex(cls, args, kwargs):
    pass


pickle_newobj.__name__ = "__newobj__"
pickle_newobj_ex.__name__ = "__newobj_ex__"


class File:
    def __init__(self, pile, piece):
        self.written, self.pile, self.piece = [], pile, piece

    def write(self, data):
        self.written.append(bytes(data))
        self.pile.call(self.piece)
        return len(data)


def with_callbacks(pickler, which, pile, piece):
    """A pickler of a class that asks the pile."""
    seen = [0]

    def asked():
        seen[0] += 1
        return seen[0] % 3 == 0

    def persistent_id(self, obj):
        if not asked() or type(obj) is str:
            return None
        chosen = pile.call(piece)
        return ("id", chosen) if pile.protocol else type(chosen).__name__  # protocol 0 writes its str()

    def reducer_override(self, obj):
        return pile.reduced(piece) if asked() and isinstance(obj, (Plain, Items)) else NotImplemented

    def dispatch(obj):
        return pile.reduced(piece)

    members = {}
    if which & 1:
        members["persistent_id"] = persistent_id
    if which & 2:
        members["reducer_override"] = reducer_override
    if which & 4:
        members["dispatch_table"] = {Plain: dispatch, Slotted: dispatch}
    return type("Asking", (pickler,), members)


def outcome(module, pickler, program, protocol, which):
    """What is written for the program's pile, or why nothing is."""
    program = bytearray(reversed(program))
    piece = bytearray(program[-6:])
    written = None
    try:
        pile = Pile(program, protocol)
        if which & 8:
            file = File(pile, piece if which & 16 else bytearray())
            asking = with_callbacks(pickler, which, pile, piece)
            options = {"buffer_callback": lambda buffer: pile.call(piece)} if which & 32 and protocol == 5 else {}
            made = asking(file, protocol, **options)
            written = file.written
            made.dump(pile.objects[-1])
            made.dump(pile.objects)
            return written
        return [module.dumps(pile.objects, protocol, fix_imports=which & 1 == 0)]
    except RecursionError:
        return "RecursionError"  # the message counts as the interpreter's own
    except Exception as error:
        return type(error).__name__, ADDRESS.sub("", str(error)), written


def operations(written):
    """What the pickles say, but for frames and the superset's label, which is dropped as soon as it is there."""
    stream, all_of_it = io.BytesIO(b"".join(written)), []
    while stream.tell() < len(stream.getbuffer()):
        said = [(op.name, argument) for op, argument, _ in pickletools.genops(stream) if op.name != "FRAME"]
        if len(said) > 3 and said[-2][0] == "POP" and str(said[-3][1]).startswith("b'achar:sender"):
            del said[-3:-1]
        all_of_it += said
    return all_of_it


def check(data):
    if len(data) < 2:
        return
    protocol, which, program = data[0] % 6, data[1], data[2:]
    theirs = outcome(pickle, _pickle.Pickler, program, protocol, which)
    ours = outcome(achar.pickle, achar.pickle.Pickler, program, protocol, which)
    assert theirs == ours, f"protocol {protocol}, {which:b}\n    _pickle {theirs}\n    achar   {ours}"
    if theirs == "RecursionError":
        return  # the superset gives up at a million levels, which takes its time
    superset = outcome(achar, achar.Pickler, program, protocol, which)
    if isinstance(theirs, list):  # where _pickle fails, the superset may know how, or says it in other words
        labelled = isinstance(superset, list) and b"achar:sender\n" in b"".join(superset)
        same = operations(superset) == operations(theirs) if labelled else superset == theirs
        assert same, f"protocol {protocol}, {which:b}\n    _pickle  {theirs}\n    superset {superset}"
