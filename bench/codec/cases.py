"""What is pickled: one Case for each kind of data. Built when it is its turn, so that nothing else is alive.

Reference counts are as in a program's own data: an item is held by its container and by nothing else,
unless the case is about sharing.
"""

import collections
import dataclasses
import datetime
import importlib.util
import random
from collections.abc import Callable

START = datetime.datetime(2026, 1, 31, 12, 30, 15, 250_000)
SECOND = datetime.timedelta(seconds=1)


@dataclasses.dataclass
class Order:
    number: int
    customer: str
    price: float
    quantity: int
    paid: bool


@dataclasses.dataclass(slots=True)
class SlottedOrder:
    number: int
    customer: str
    price: float
    quantity: int
    paid: bool


NamedOrder = collections.namedtuple("NamedOrder", "number customer price quantity paid")


def orders(kind, count):
    return [kind(i, f"customer {i}", i / 7, i % 12, i % 3 == 0) for i in range(count)]


def request():
    return {
        "id": "5f1c9b1e-3c44-4c5a-9d53-6a1d0a7c2f10",
        "method": "POST",
        "path": "/api/v2/orders",
        "received": START,
        "deadline": START.replace(tzinfo=datetime.timezone.utc) + 30 * SECOND,
        "headers": {
            "Content-Type": "application/json",
            "Accept-Language": "de, en;q=0.8",
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "X-Forwarded-For": ["10.0.4.17", "10.0.0.1"],
        },
        "user": {
            "id": 48151623,
            "name": "Zoë Müller",
            "roles": ("buyer", "reviewer"),
            "born": datetime.date(1988, 2, 29),
        },
        "body": {
            "items": [
                {"sku": f"SKU-{i:05}", "quantity": i % 4 + 1, "price": 19.99 * i, "note": None} for i in range(12)
            ],
            "gift": False,
            "coupon": None,
            "total": 1319.34,
        },
        "retry": 0,
    }


def records(count):
    return [
        {"id": i, "name": f"record {i}", "value": i / 3, "active": i % 2 == 0, "tags": ["red", f"t{i}"], "parent": None}
        for i in range(count)
    ]


def mixed_ints(count):
    """As many of 1, 2, 4 and 8 bytes; one in 32 has more, as ids and hashes do."""
    source = random.Random(1)
    limits = [1 << 8, 1 << 16, 1 << 31, 1 << 63]
    return [
        source.getrandbits(200) if i % 32 == 31 else source.randrange(-limits[i % 4] // 2, limits[i % 4])
        for i in range(count)
    ]


def floats(count):
    source = random.Random(2)
    return [source.gauss(0, 1000) for _ in range(count)]


def ascii_strings(count):
    source = random.Random(3)
    return [f"{i:x} " + "abcdefghijklmnopqrstuvwxyz"[: source.randrange(26)] for i in range(count)]


def other_strings(count):
    """Latin-1, Greek, Japanese and beyond the BMP by turns."""
    words = ["naïve café", "Ελληνικά", "日本語の文字列", "sour 🥒 pickle"]
    return [f"{words[i % 4]} {i}" for i in range(count)]


def tree(depth):
    return [tree(depth - 1), tree(depth - 1)] if depth else []


def nested(depth):
    outermost = []
    for _ in range(depth):
        outermost = [outermost]
    return outermost


def shared_strings(count):
    words = [f"a word that comes again, number {i}" for i in range(100)]
    source = random.Random(4)
    return [source.choice(words) for _ in range(count)]


def datetimes(count):
    return [START + i * 977 * SECOND for i in range(count)]


def array(count):
    import numpy  # here, so that the other cases have a process without it

    return numpy.arange(float(count))


@dataclasses.dataclass
class Case:
    name: str
    what: str
    make: Callable  # make(size): the object
    size: int = 0
    quick_size: int = 0
    out_of_band: bool = False

    def build(self, quick):
        return self.make(self.quick_size if quick else self.size)


CASES = [
    Case("None", "None", lambda _: None),
    Case("small dict", "a dict of an int, a str, a bool and a float",
         lambda _: {"id": 1729, "name": "cucumber", "fresh": True, "weight": 0.25}),
    Case("request", "a request: nested dicts and lists, strings, datetimes", lambda _: request()),
    Case("records", "10,000 dicts with the same six keys", records, 10_000, 20),
    Case("dataclasses", "1,000 instances of a dataclass with five fields", lambda n: orders(Order, n), 1000, 20),
    Case("slotted dataclasses", "the same with slots", lambda n: orders(SlottedOrder, n), 1000, 20),
    Case("namedtuples", "the same as namedtuples", lambda n: orders(NamedOrder, n), 1000, 20),
    Case("ints", "200,000 ints of 1 to 8 bytes, some longer", mixed_ints, 200_000, 100),
    Case("floats", "100,000 floats", floats, 100_000, 100),
    Case("ASCII strings", "100,000 str of 2 to 32 characters", ascii_strings, 100_000, 100),
    Case("non-ASCII strings", "100,000 str in four scripts", other_strings, 100_000, 100),
    Case("pairs", "100,000 tuples of two ints", lambda n: [(i, i + 1) for i in range(n)], 100_000, 100),
    Case("set", "a set of 100,000 ints", lambda n: {i * 37 for i in range(n)}, 100_000, 100),
    Case("deep tree", "a binary tree of lists, 15 levels", tree, 15, 5),
    Case("nested", "lists nested 400 deep", nested, 400, 400),
    Case("bytes", "8 MB of bytes", bytes, 8_000_000, 100_000),
    Case("shared strings", "100,000 references to 100 str", shared_strings, 100_000, 300),
    Case("datetimes", "10,000 datetimes", datetimes, 10_000, 20),
]  # fmt: skip

if importlib.util.find_spec("numpy"):
    CASES += [
        Case("array in band", "a numpy array of 1,000,000 float64", array, 1_000_000, 1000),
        Case("array out of band", "the same, its memory as a buffer beside the pickle", array, 1_000_000, 1000,
             out_of_band=True),
    ]  # fmt: skip
