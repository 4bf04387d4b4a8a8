"""achar.pickle.dumps beside the interpreter's own _pickle, case by case.

    python bench/dumps.py [CASE...] [--protocol N] [--superset] [--rounds N]

Both take turns in every round, so that what the machine does besides hits both; a case's figure is
the median over the rounds. Every case is first checked to give the same bytes.
"""

import argparse
import array
import collections
import dataclasses
import datetime
import math
import pickle
import random
import statistics
import sys
import time

import achar
import achar.pickle


@dataclasses.dataclass
class Point:
    x: int
    y: float
    name: str


@dataclasses.dataclass
class Slotted:
    __slots__ = ("x", "y", "name")
    x: int
    y: float
    name: str


Pair = collections.namedtuple("Pair", "left right")


def tree(depth):
    return [] if depth == 0 else [tree(depth - 1), tree(depth - 1)]


def nested(depth):
    obj = None
    for _ in range(depth):
        obj = [obj]
    return obj


def request():
    now = datetime.datetime(2024, 5, 17, 12, 30, 1, 250)
    return {
        "id": 12345,
        "method": "POST",
        "path": "/api/v1/items",
        "headers": {f"X-Header-{i}": f"value-{i}" for i in range(12)},
        "user": {"id": 77, "name": "Ada", "roles": ["admin", "staff"], "joined": now},
        "items": [{"sku": f"SKU-{i}", "n": i, "price": i * 1.5, "at": now} for i in range(20)],
        "flags": (True, False, None),
    }


# pyperformance's bm_pickle, as it is there.
MICRO_DICT = {
    "ads_flags": 0,
    "age": 18,
    "birthday": datetime.date(1980, 5, 7),
    "bulletin_count": 0,
    "comment_count": 0,
    "country": "BR",
    "encrypted_id": "G9urXXAJwjE",
    "favorite_count": 9,
    "first_name": "",
    "flags": 412317970704,
    "friend_count": 0,
    "gender": "m",
    "gender_for_display": "Male",
    "id": 302935349,
    "is_custom_profile_icon": 0,
    "last_name": "",
    "locale_preference": "pt_BR",
    "member": 0,
    "tags": ["a", "b", "c", "d", "e", "f", "g"],
    "profile_foo_id": 827119638,
    "secure_encrypted_id": "Z_xxx2dYx3t4YAdnmfgyKw",
    "session_number": 2,
    "signup_id": "201-19225-223",
    "status": "A",
    "theme": 1,
    "time_created": 1225237014,
    "time_updated": 1233134493,
    "unread_message_count": 0,
    "user_group": "0",
    "username": "collinwinter",
    "play_count": 9,
    "view_count": 7,
    "zip": "",
}
MICRO_TUPLE = ([265867233, 265868503, 265252341, 265243910, 265879514, 266219766, 266021701], 60)


def cases():
    rng = random.Random(1)
    yield "None", None
    yield "small dict", {"a": 1, "b": "two", "c": [1, 2, 3]}
    yield "request with datetimes", request()
    yield (
        "10k records",
        [{"id": i, "name": f"user{i}", "score": i * 0.5, "tags": ["a", "b"], "ok": True} for i in range(10_000)],
    )
    yield "1k dataclasses", [Point(i, i / 2, f"p{i}") for i in range(1000)]
    yield "1k slotted dataclasses", [Slotted(i, i / 2, f"p{i}") for i in range(1000)]
    yield "1k namedtuples", [Pair(i, f"p{i}") for i in range(1000)]
    yield "200k ints", [rng.randrange(-(1 << rng.choice([7, 15, 31, 40, 62])), 1 << 30) for _ in range(200_000)]
    yield "100k floats", [rng.random() for _ in range(100_000)]
    yield "100k ASCII strings", [f"string number {i}" for i in range(100_000)]
    yield "50k non-ASCII strings", [f"Zeichenkette für Nummer {i} \u20ac" for i in range(50_000)]
    yield "100k pairs", [(i, i + 1) for i in range(100_000)]
    yield "100k triples of strings", [(f"a{i}", f"b{i}", "c") for i in range(30_000)]
    yield "set of 50k ints", set(range(50_000))
    yield "set of 20k strings", {f"s{i}" for i in range(20_000)}
    yield "tree of 2^15 lists", tree(14)
    yield "nested 400 deep", nested(400)
    yield "8 MB of bytes", bytes(8 << 20)
    yield "8 MB of str", "x" * (8 << 20)
    yield "repeated shared strings", [rng.choice(["red", "green", "blue", "black"]) for _ in range(100_000)]
    yield "dict of 20k strings", {f"key{i}": f"value{i}" for i in range(20_000)}
    yield "1k datetimes", [datetime.datetime(2024, 1, 1) + datetime.timedelta(minutes=i) for i in range(1000)]
    yield "array", array.array("d", range(100_000))
    yield "pyperformance pickle", [MICRO_DICT, MICRO_TUPLE, [MICRO_DICT] * 3]
    yield "pyperformance pickle_list", [[list(range(10)), list(range(10))] for _ in range(10)]
    yield "pyperformance pickle_dict", {key: dict.fromkeys("abcdefghij", key) for key in range(100)}


def time_once(function, obj, protocol, repeat):
    clock = time.thread_time  # processor time: what else runs here counts less
    began = clock()
    for _ in range(repeat):
        function(obj, protocol)
    return (clock() - began) / repeat


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="only those whose names contain one of these")
    parser.add_argument("--protocol", type=int, default=5)
    parser.add_argument("--superset", action="store_true", help="achar.dumps instead of achar.pickle.dumps")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    ours = achar.dumps if options.superset else achar.pickle.dumps
    theirs = pickle.dumps

    print(f"CPython {sys.version.split()[0]}, protocol {options.protocol}, {ours.__module__}.dumps")
    print(f"{'':28}{'_pickle us':>12}{'achar us':>12}{'ratio':>8}")
    logs = []
    for name, obj in cases():
        if options.cases and not any(part in name for part in options.cases):
            continue
        sys.setrecursionlimit(5000)
        if ours(obj, options.protocol) != theirs(obj, options.protocol) and not options.superset:
            raise SystemExit(f"{name}: not the same bytes")
        repeat = max(1, int(0.004 / time_once(theirs, obj, options.protocol, 1)))
        samples = [
            (time_once(theirs, obj, options.protocol, repeat), time_once(ours, obj, options.protocol, repeat))
            for _ in range(options.rounds)
        ]
        slow, fast = (statistics.median(column) for column in zip(*samples, strict=True))
        logs.append(math.log(slow / fast))
        print(f"{name:28}{slow * 1e6:12.2f}{fast * 1e6:12.2f}{slow / fast:8.2f}", flush=True)
    print(f"{'geometric mean':28}{'':24}{math.exp(statistics.mean(logs)):8.2f}")
    print(f"{'least':28}{'':24}{math.exp(min(logs)):8.2f}")


if __name__ == "__main__":
    main()
