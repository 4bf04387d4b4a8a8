"""dumps and loads of code by value: achar beside cloudpickle (and dill, if it is there).

    python bench/byvalue.py [seconds per measurement, default 0.2]

The candidates take turns on every object, several rounds; the best round counts, so that both meet
the same machine. Ratios are cloudpickle's time divided by achar's: more is better for achar.
"""

import collections
import dataclasses
import enum
import functools
import importlib
import math
import statistics
import sys
import time
import warnings

import achar

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2
ROUNDS = 5

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


def main():
    modules = {"achar": achar}
    for name in ("cloudpickle", "dill"):
        try:
            modules[name] = importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed: left out")
    warnings.simplefilter("ignore")
    failures = {}
    best = collections.defaultdict(lambda: math.inf)
    for _ in range(ROUNDS):
        for label, obj in OBJECTS.items():
            for name, module in modules.items():
                try:
                    data = module.dumps(obj)
                    module.loads(data)
                except Exception as error:
                    failures[label, name] = type(error).__name__
                    continue
                for verb, argument in (("dumps", obj), ("loads", data)):
                    seconds = timed(getattr(module, verb), argument, SECONDS / ROUNDS)
                    best[label, name, verb] = min(best[label, name, verb], seconds)
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"CPython {version}; microseconds dumps / loads; in parentheses achar's advantage")
    ratios = collections.defaultdict(list)
    for label in OBJECTS:
        cells = []
        for name in modules:
            if (label, name) in failures:
                cells.append(f"{name} fails: {failures[label, name]}")
                continue
            dumps, loads = (best[label, name, verb] for verb in ("dumps", "loads"))
            cell = f"{name} {dumps * 1e6:9.2f} / {loads * 1e6:8.2f}"
            if name != "achar":
                ratio = dumps / best[label, "achar", "dumps"], loads / best[label, "achar", "loads"]
                ratios[name].append(ratio)
                cell += f" ({ratio[0]:5.1f}x {ratio[1]:4.1f}x)"
            cells.append(cell)
        print(f"{label:22}" + "   ".join(cells))
    for name, pairs in ratios.items():
        dumps, loads = (statistics.geometric_mean(side) for side in zip(*pairs, strict=True))
        print(f"geometric mean against {name}: dumps {dumps:.1f}x, loads {loads:.2f}x")


if __name__ == "__main__":
    main()
