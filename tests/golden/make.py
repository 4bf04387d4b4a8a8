"""Makes the golden pickles: the same values in every protocol, by Python 3 and by Python 2.7.

    python3 tests/golden/make.py            writes 3.x/NAME.PROTOCOL.pickle and hand/NAME.pickle
    python2.7 tests/golden/make.py          writes 2.7/NAME.PROTOCOL.pickle, cPickle's

Those in hand/ are written opcode by opcode: what no pickler writes today, or not by default.

The files are committed; they are made again only when a value is added here.
"""

import collections
import datetime
import os
import sys

try:
    import cPickle as pickle

    unicode_type = eval("unicode")
    long_type = eval("long")
    protocols = [0, 1, 2]
    folder = "2.7"
except ImportError:
    import pickle

    unicode_type = str
    long_type = int
    protocols = range(6)
    folder = "3.x"


BY_HAND = {
    "inst": b"(I1\nI2\nibuiltins\ncomplex\n.",
    "obj": b"(ccollections\nOrderedDict\no.",
    "persid": b"(Pfirst\nPfirst\nl.",
    "binpersid": b"\x80\x02(K\x01K\x02tQ.",
    "ext": b"\x80\x02(\x82\x01\x83\x00\x01\x84\x00\x00\x01\x00l.",
    "buffers": b"\x80\x05(\x97\x97\x98t.",
    "long4": b"\x80\x02\x8b\x00\x01\x00\x00" + b"\xff" * 255 + b"\x7f.",
    "long_memo": b"\x80\x02]r\x00\x01\x00\x00j\x00\x01\x00\x00\x86.",
    "dup": b"\x80\x02]2\x86.",
    "popped_call": b"cbuiltins\ndict\n(tR0K\x01.",
    "pop_mark": b"(K\x01K\x021N.",
    "newobj_ex": b"\x80\x04cfunctools\npartial\ncbuiltins\nlen\n\x85}\x92.",
    "binunicode8": b"\x80\x04\x8d\x03\0\0\0\0\0\0\0abc.",
    "binbytes8": b"\x80\x04\x8e\x03\0\0\0\0\0\0\0abc.",
    "frozenset": b"\x80\x04(K\x01K\x02\x91.",
    "newobj_build": b"\x80\x02ccollections\nUserDict\n)\x81}X\x04\0\0\0data}sb.",
    "python2_strings": b"(S'a\\n\\x41'\nT\x03\0\0\0abcU\x02hil.",
}


def values():
    loop = [1]
    loop.append(loop)
    knot = ([],)
    knot[0].append(knot)
    shared = ["shared"]
    yield "none", None
    powers = [sign * 2**n for n in (31, 63, 100) for sign in (1, -1)]
    yield "numbers", [True, False, 0, -1, 1, 255, 256, 65535, 65536] + powers
    yield "floats", [0.0, -0.0, 1.5, 1e300, -1e-300, float("inf"), float("-inf"), 0.1]
    yield "strings", ["", "abc", "two\nlines", "quote ' and \" and \\ backslash", "\0\x1a\r"]
    yield "text", [b"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \\u0041\n\r".decode("utf-8"), b"x".decode("ascii") * 300]
    yield "bytes", [bytearray(b"\x00\xff"), bytearray()] + ([b"", b"\x00\xff", b"x" * 300] if folder == "3.x" else [])
    yield "tuples", [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]
    yield "lists", [[], [1], list(range(1001))]
    yield "dicts", [{}, {"a": 1}, dict((i, i) for i in range(1001))]
    yield "sets", [set(), {1, 2}, frozenset(), frozenset([3])]
    yield "shared", [shared, shared, (shared, shared)]
    yield "loop", loop
    yield "knot", knot
    yield (
        "objects",
        [
            datetime.datetime(2024, 2, 29, 12, 30, 15, 500),
            datetime.timedelta(1, 2, 3),
            collections.OrderedDict([("b", 1), ("a", 2)]),
            collections.deque([1, 2], 5),
            collections.defaultdict(list, {"k": [1]}),
            complex(1, -2),
        ],
    )
    yield "imports", [len, collections.OrderedDict, ValueError("why", 3)]


def main():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), folder)
    if not os.path.isdir(here):
        os.mkdir(here)
    for name, value in values():
        for protocol in protocols:
            with open(os.path.join(here, name + "." + str(protocol) + ".pickle"), "wb") as f:
                f.write(pickle.dumps(value, protocol))
    print(len(os.listdir(here)), "files in", here)
    if folder == "3.x":
        hand = os.path.join(os.path.dirname(here), "hand")
        if not os.path.isdir(hand):
            os.mkdir(hand)
        for name, data in BY_HAND.items():
            with open(os.path.join(hand, name + ".pickle"), "wb") as f:
                f.write(data)
        print(len(os.listdir(hand)), "files in", hand)


if __name__ == "__main__":
    sys.exit(main())
