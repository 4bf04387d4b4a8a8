"""How long Parsl takes to pack a task and to unpack it, with its own serializer and with achar's, in one run.

    python bench/parsl_serializers.py

Needs Parsl (tools/requirements-engines.txt). Both work on the same tasks through Parsl's own
pack_apply_message and unpack_apply_message, turn by turn; the figure is the median of the rounds, and the
ratio that of the medians. Parsl keeps what it made of a function that it has seen, and of the same bytes
("seen"); a "new" function is another object with other bytes each time, as a closure in a loop is. achar
packs what the function is now, each time.
"""

import statistics
import sys
import time
import types

import achar.engines.parsl
import parsl.serialize.facade as facade

ROUNDS, CALLS = 40, 50
LIMIT = 10
OWN = dict(facade.methods_for_code), dict(facade.methods_for_data)
achar.engines.parsl.register()
OURS = dict(facade.methods_for_code), dict(facade.methods_for_data)


def use(methods):
    for place, wanted in zip((facade.methods_for_code, facade.methods_for_data), methods):
        place.clear()
        place.update(wanted)


def task(x, scale=1):
    return min(x, LIMIT) * scale


def new_function(number):
    def closure(x):
        return task(x) + number

    return closure


class Particle:
    def __init__(self, i):
        self.position, self.name = [i, i + 1, i + 2], f"p{i}"


def tasks():
    """Name and what packs: functions that give (function, args, kwargs) for call number n."""
    particles = [Particle(i) for i in range(100)]
    table = {f"key{i}": i for i in range(1000)}
    yield "seen function, two numbers", lambda n: (task, (n, 2), {})
    yield "new closure, two numbers", lambda n: (new_function(n), (n,), {"scale": 2})
    yield "seen function, dict of 1,000", lambda n: (task, (table,), {})
    yield "seen function, 100 objects", lambda n: (task, (particles,), {})


def measure(make):
    times = {name: ([], []) for name in ("own", "achar")}
    number = 0
    for _ in range(ROUNDS):
        for name, methods in (("own", OWN), ("achar", OURS)):
            use(methods)
            number += CALLS
            calls = [make(number + i) for i in range(CALLS)]
            begin = time.perf_counter_ns()
            packed = [facade.pack_apply_message(*call) for call in calls]
            middle = time.perf_counter_ns()
            unpacked = [facade.unpack_apply_message(data) for data in packed]
            end = time.perf_counter_ns()
            assert isinstance(unpacked[0][0], types.FunctionType)
            times[name][0].append((middle - begin) / CALLS / 1000)
            times[name][1].append((end - middle) / CALLS / 1000)
    return {name: tuple(map(statistics.median, both)) for name, both in times.items()}


def main():
    import parsl

    print(
        f"CPython {sys.version.split()[0]}, Parsl {parsl.__version__}; µs, median of {ROUNDS} rounds of {CALLS} tasks"
    )
    print(f"{'task':32}{'pack: own':>10}{'achar':>8}{'ratio':>7}{'unpack: own':>13}{'achar':>8}{'ratio':>7}")
    for name, make in tasks():
        found = measure(make)
        (pack, unpack), (our_pack, our_unpack) = found["own"], found["achar"]
        print(
            f"{name:32}{pack:>10.1f}{our_pack:>8.1f}{pack / our_pack:>6.1f}×"
            f"{unpack:>13.1f}{our_unpack:>8.1f}{unpack / our_unpack:>6.1f}×"
        )


if __name__ == "__main__":
    main()
