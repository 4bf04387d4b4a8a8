"""achar.pickle.loads against _pickle.loads, interleaved, on the shapes that people pickle.

    python bench/loads.py [SECONDS_PER_CASE] [CASE ...]

For each case the best time of each side over rounds that alternate, and their ratio (above 1: achar
is faster). The collector is left on, as in a program. The closing line is the geometric mean.
"""

import _pickle
import collections
import dataclasses
import datetime
import math
import sys
import time

import achar.pickle


@dataclasses.dataclass
class Record:
    key: int
    name: str
    score: float


@dataclasses.dataclass
class Slotted:
    __slots__ = ("key", "name", "score")
    key: int
    name: str
    score: float


class Plain:
    def __init__(self, i):
        self.key = i
        self.name = f"name {i}"


Pair = collections.namedtuple("Pair", "left right")


def tree(depth):
    return [tree(depth - 1), tree(depth - 1)] if depth else []


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def request():
    now = datetime.datetime(2024, 5, 17, 12, 30, 15, 123456)
    return {
        "id": 91231,
        "method": "POST",
        "path": "/api/v1/items",
        "headers": {"accept": "*/*", "host": "example.org", "user-agent": "curl/8.1", "x-id": "abc" * 9},
        "query": [("page", 2), ("size", 50), ("sort", "-created")],
        "body": {"items": [{"sku": f"sku-{i}", "count": i, "price": i * 1.25} for i in range(8)], "note": None},
        "received": now,
        "deadline": now + datetime.timedelta(seconds=30),
        "ok": True,
    }


CASES = {
    "None": lambda: None,
    "small dict": lambda: {"a": 1, "b": "two", "c": [3.0, None]},
    "33-key dict": lambda: {f"key{i}": i for i in range(33)},
    "request": request,
    "10x2x10 ints": lambda: [[list(range(10)) for _ in range(2)] for _ in range(10)],
    "10k records as dicts": lambda: [{"id": i, "name": f"n{i}", "tags": ["a", "b"]} for i in range(10000)],
    "1k dataclasses": lambda: [Record(i, f"n{i}", i / 3) for i in range(1000)],
    "1k plain instances": lambda: [Plain(i) for i in range(1000)],
    "1k slotted": lambda: [Slotted(i, f"n{i}", i / 3) for i in range(1000)],
    "1k namedtuples": lambda: [Pair(i, str(i)) for i in range(1000)],
    "1k datetimes": lambda: [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=i) for i in range(1000)],
    "200k ints": lambda: [(i * 7919) % (1 << (i % 40)) for i in range(200000)],
    "1M small ints": lambda: [i % 200 for i in range(1000000)],
    "100k floats": lambda: [i / 7 for i in range(100000)],
    "100k strings": lambda: [f"string {i}" for i in range(100000)],
    "30k non-ASCII strings": lambda: [f"zeichenkette ü {i}" for i in range(30000)],
    "100k 3-tuples": lambda: [(i, i + 1, i + 2) for i in range(100000)],
    "50k pairs": lambda: [(str(i), i) for i in range(50000)],
    "set of 50k": lambda: set(range(50000)),
    "one dict of 50k": lambda: {f"key {i}": i for i in range(50000)},
    "tree of 2^15 lists": lambda: tree(15),
    "nested 400 deep": lambda: nested(400),
    "shared strings": lambda: [f"word {i % 50}" * 2 for i in range(50)] * 2000,
    "8 MB of bytes": lambda: bytes(8 << 20),
    "10k bytes": lambda: [b"payload %d" % i for i in range(10000)],
}


def best_times(data, seconds):
    """The least time of one call of each side; rounds alternate so that both see the same machine."""
    sides = (_pickle.loads, achar.pickle.loads)
    started = time.perf_counter()
    sides[0](data)
    once = time.perf_counter() - started
    calls = max(1, int(0.005 / max(once, 1e-9)))
    best = [math.inf, math.inf]
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for i, loads in enumerate(sides):
            begin = time.perf_counter()
            for _ in range(calls):
                loads(data)
            best[i] = min(best[i], (time.perf_counter() - begin) / calls)
        rounds += 1
    return best


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    chosen = sys.argv[2:] or list(CASES)
    logs = []
    print(f"CPython {sys.version.split()[0]}; microseconds a call")
    print(f"{'case':24} {'_pickle':>11} {'achar':>11} {'ratio':>6}")
    for name in chosen:
        data = _pickle.dumps(CASES[name](), 5)
        theirs, ours = best_times(data, seconds)
        logs.append(math.log(theirs / ours))
        print(f"{name:24} {theirs * 1e6:11.2f} {ours * 1e6:11.2f} {theirs / ours:6.2f}", flush=True)
    print(f"geometric mean {math.exp(sum(logs) / len(logs)):.2f}, least {math.exp(min(logs)):.2f}")


if __name__ == "__main__":
    main()
