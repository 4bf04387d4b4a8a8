"""dumps and loads of code by value: achar beside cloudpickle and dill.

    python bench/byvalue.py [--seconds 0.2] [--out FILE.json]     one interpreter
    python bench/byvalue.py report FILE.json …                    writes docs/benchmarks/byvalue.md

The candidates take turns on every object, several rounds; the best round counts, so that all meet the
same machine. Ratios are the other's time divided by achar's: more is better for achar.
"""

import argparse
import dataclasses
import enum
import functools
import importlib
import importlib.metadata
import json
import math
import os
import pathlib
import statistics
import sys
import time
import types
import warnings

import achar
import achar.pickle

ROUNDS = 5
PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "byvalue.md"
TARGETS = {"dumps": 10, "loads": 1.3}

LIMIT = 10
TABLE = {"a": 1, "b": 2}


def helper(x):
    return x + LIMIT


def closure_with_globals(n):
    def inner(x, scale=2):
        return helper(x) * scale + n + TABLE["a"] + len(str(math.pi))

    return inner


class Plain:
    kind = "plain"

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def norm(self):
        return math.hypot(self.x, self.y)

    @property
    def both(self):
        return self.x, self.y

    @classmethod
    def unit(cls):
        return cls(1, 0)

    @staticmethod
    def origin():
        return Plain(0, 0)


class Color(enum.Enum):
    RED = 1
    GREEN = 2
    BLUE = 3


@dataclasses.dataclass
class Point:
    x: int
    y: float
    label: str


OBJECTS = {
    "lambda": lambda x: x + 1,
    "closure with globals": closure_with_globals(3),
    "class": Plain,
    "instance": Plain(1, 2),
    "partial": functools.partial(closure_with_globals(3), 1, scale=3),
    "enum member": Color.RED,
    "100 lambdas": [lambda x, i=i: x + i for i in range(100)],
    "1,000 dataclasses": [Point(i, i / 2, f"p{i}") for i in range(1000)],
    "task tuple": (helper, (1, "two", 3.0), {"key": [1, 2, 3]}),
}


def timed(function, argument, seconds):
    """Seconds of processor time per call, over at least that many seconds."""
    count, clock = 1, time.process_time
    while True:
        start = clock()
        for _ in range(count):
            function(argument)
        elapsed = clock() - start
        if elapsed >= seconds:
            return elapsed / count
        count = max(count * 2, int(count * seconds / max(elapsed, 1e-9)))


PLAIN = {
    "1,000 ints": list(range(1000)),
    "a dict of 33 keys": {f"key{i}": i * 1.5 for i in range(33)},
    "1,000 small dicts": [{"id": i, "name": f"n{i}", "tags": ["a", "b"]} for i in range(1000)],
    "1,000 strings": [f"string number {i}" for i in range(1000)],
}


def race(candidates, seconds):
    """{key: seconds}, the best of some rounds; 'candidates' is {key: (function, argument)}."""
    best = {}
    for _ in range(ROUNDS):
        for key, (function, argument) in candidates.items():
            best[key] = min(best.get(key, math.inf), timed(function, argument, seconds / ROUNDS))
    return best


def measure_code(modules, seconds):
    """{object: {serializer: [dumps, loads] or the exception's name}}"""
    found = {}
    for label, obj in OBJECTS.items():
        candidates, found[label] = {}, {}
        for name, module in modules.items():
            try:
                data = module.dumps(obj)
                module.loads(data)
            except Exception as error:
                found[label][name] = type(error).__name__
                continue
            candidates[name, "dumps"] = (module.dumps, obj)
            candidates[name, "loads"] = (module.loads, data)
        best = race(candidates, seconds)
        for name in {name for name, _ in best}:
            found[label][name] = [best[name, "dumps"], best[name, "loads"]]
    return found


def measure_plain(seconds):
    """{object: [dumps, loads]}: achar's time divided by achar.pickle's."""
    found = {}
    for label, obj in PLAIN.items():
        data = achar.pickle.dumps(obj, 5)
        candidates = {
            ("strict", "dumps"): (functools.partial(achar.pickle.dumps, protocol=5), obj),
            ("ours", "dumps"): (functools.partial(achar.dumps, protocol=5), obj),
            ("ours", "loads"): (achar.loads, data),
            ("strict", "loads"): (achar.pickle.loads, data),
        }
        best = race(candidates, seconds)
        found[label] = [
            best["ours", "dumps"] / best["strict", "dumps"],
            best["ours", "loads"] / best["strict", "loads"],
        ]
    return found


def measure_modules(modules, seconds, count=500):
    """{serializer: dumps' time with 'count' more modules imported, divided by the time without}"""
    names = [f"bench_module_{i}" for i in range(count)]
    objects = [OBJECTS[label] for label in ("lambda", "closure with globals", "class", "instance")]
    found = {}
    for name, module in modules.items():

        def dump_all(objects, dumps=module.dumps):
            for obj in objects:
                dumps(obj)

        ratios = []
        for _ in range(ROUNDS):
            before = timed(dump_all, objects, seconds / ROUNDS)
            for one in names:
                sys.modules[one] = types.ModuleType(one)
                vars(sys.modules[one]).update((f"name{i}", i) for i in range(20))
            ratios.append(timed(dump_all, objects, seconds / ROUNDS) / before)
            for one in names:
                del sys.modules[one]
        found[name] = statistics.median(ratios)
    return found


def means(code, name):
    """Geometric means of name's dumps and loads divided by achar's."""
    pairs = [
        (times[name][0] / times["achar"][0], times[name][1] / times["achar"][1])
        for times in code.values()
        if isinstance(times.get(name), list)
    ]
    return [statistics.geometric_mean(side) for side in zip(*pairs, strict=True)]


def measure(options):
    modules = {"achar": achar}
    for name in ("cloudpickle", "dill"):
        try:
            modules[name] = importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed: left out")
    warnings.simplefilter("ignore")
    result = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "load": round(os.getloadavg()[0]),
        "versions": {name: importlib.metadata.version(name) for name in modules if name != "achar"},
        "code": measure_code(modules, options.seconds),
        "plain": measure_plain(options.seconds),
        "modules": measure_modules(modules, options.seconds),
    }
    print("\n".join(section(result)))
    if options.out:
        pathlib.Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(options.out).write_text(json.dumps(result))


def section(result):
    """The lines of the page about one interpreter."""
    names = ["achar", *result["versions"]]
    peers = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [f"## CPython {result['python']}, {peers}", ""]
    if result["load"] > os.cpu_count():
        lines += [f"The machine was busy: a load of {result['load']} on {os.cpu_count()} processors.", ""]
    heads = [f"{name} {verb}" for verb in ("dumps", "loads") for name in names]
    lines += [f"| µs | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for label, times in result["code"].items():
        cells = []
        for index in (0, 1):
            for name in names:
                if isinstance(times[name], str):
                    cells.append(times[name])
                    continue
                ratio = f" ({times[name][index] / times['achar'][index]:.1f}×)" if name != "achar" else ""
                cells.append(f"{times[name][index] * 1e6:,.2f}{ratio}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines.append("")
    for name in names[1:]:
        dumps, loads = means(result["code"], name)
        goal = ""
        if name == "cloudpickle":
            goal = f"; the goals are {TARGETS['dumps']}× and {TARGETS['loads']}×"
        lines.append(f"Geometric mean against {name}: dumps **{dumps:.1f}×**, loads **{loads:.2f}×**{goal}.")
    plain = "; ".join(f"{label} {dumps:.2f} / {loads:.2f}" for label, (dumps, loads) in result["plain"].items())
    lines += [
        "",
        f"Plain data, `achar`'s time divided by `achar.pickle`'s, dumps / loads: {plain}; the goal is 1.05.",
        "",
    ]
    with_modules = ", ".join(f"{name} {ratio:.2f}×" for name, ratio in result["modules"].items())
    lines.append(f"dumps with 500 more modules imported, as a multiple of the time without: {with_modules}.")
    return lines


def report(files):
    lines = [
        "# Code by value",
        "",
        "Written by `bench/run` from `bench/byvalue.py`. Times are of one run, the best of five rounds in which the",
        "serializers take turns; in parentheses the other's time divided by achar's. Only ratios mean something",
        "on another machine.",
    ]
    for file in files:
        lines += ["", *section(json.loads(pathlib.Path(file).read_text()))]
    PAGE.write_text("\n".join(lines) + "\n")


def main():
    if sys.argv[1:2] == ["report"]:
        return report(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--out")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
