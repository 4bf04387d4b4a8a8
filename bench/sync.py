"""achar's conditions, locks and queues beside threading's and multiprocessing's, in one run.

    python bench/sync.py                 all of it, some minutes
    python bench/sync.py --rounds 3      quicker
    python bench/sync.py --write         docs/benchmarks/sync.md is made anew

On one CPU (the first that this process may use), then on all of them. The rounds of the contestants
are interleaved; each figure is the median of its rounds, with the quartiles; "x" is how many times
faster achar is than that contestant. The floor is a round trip over two bare futexes, between threads
or processes without Python, made by bench/sync_floor.c where a compiler is found; that of notify_all()
is a chain of 32 threads without Python, each of which wakes the next.
"""

import argparse
import multiprocessing
import os
import queue as stdlib_queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import achar

HERE = Path(__file__).resolve().parent
FORK = multiprocessing.get_context("fork")


def ping_pong(condition, turn, mine, rounds):
    with condition:
        for _ in range(rounds):
            while turn[0] != mine:
                condition.wait()
            turn[0] = 1 - mine
            condition.notify()


def between_threads(make, rounds=3000):
    condition, turn = make(), [0]
    other = threading.Thread(target=ping_pong, args=(condition, turn, 1, rounds))
    other.start()
    started = time.perf_counter()
    ping_pong(condition, turn, 0, rounds)
    other.join()
    return (time.perf_counter() - started) / rounds


def between_processes(make, rounds=3000):
    condition, turn = make(), FORK.RawArray("i", [0])
    other = FORK.Process(target=ping_pong, args=(condition, turn, 1, rounds))
    other.start()
    ping_pong(condition, turn, 0, 10)  # it is there
    started = time.perf_counter()
    ping_pong(condition, turn, 0, rounds - 10)
    elapsed = time.perf_counter() - started
    other.join()
    return elapsed / (rounds - 10)


def uncontended(make, rounds=100_000):
    condition = make()
    started = time.perf_counter()
    for _ in range(rounds):
        with condition:
            condition.notify()
    return (time.perf_counter() - started) / rounds


def wake_all(make, waiters=32, rounds=30):
    """From notify_all() until the last of the waiters has gone on; nobody polls meanwhile."""
    condition, ended = make(), threading.Semaphore(0)
    arrived, gone = [0], [0]
    times = []

    def wait():
        for _ in range(rounds):
            with condition:
                arrived[0] += 1
                condition.wait()
                gone[0] += 1
                if gone[0] % waiters == 0:
                    times.append(time.perf_counter())
                    ended.release()

    threads = [threading.Thread(target=wait) for _ in range(waiters)]
    for thread in threads:
        thread.start()
    total = 0.0
    for number in range(1, rounds + 1):
        while arrived[0] < waiters * number:
            time.sleep(0.001)
        with condition:
            pass  # the last one waits
        started = time.perf_counter()
        with condition:
            condition.notify_all()
        ended.acquire()
        total += times[-1] - started
    for thread in threads:
        thread.join()
    return total / rounds


def lock_only(make, rounds=100_000):
    lock = make()
    started = time.perf_counter()
    for _ in range(rounds):
        with lock:
            pass
    return (time.perf_counter() - started) / rounds


def by_pipe_between_threads(_, rounds=3000):
    return by_pipe(lambda target, *args: threading.Thread(target=target, args=args), rounds)


def by_pipe_between_processes(_, rounds=3000):
    return by_pipe(lambda target, *args: FORK.Process(target=target, args=args), rounds)


def by_pipe(start, rounds):
    """A byte there and a byte back."""
    there, back = os.pipe(), os.pipe()

    def echo():
        for _ in range(rounds):
            os.write(back[1], os.read(there[0], 1))

    other = start(echo)
    other.start()
    started = time.perf_counter()
    for _ in range(rounds):
        os.write(there[1], b"x")
        os.read(back[0], 1)
    elapsed = time.perf_counter() - started
    other.join()
    for end in there + back:
        os.close(end)
    return elapsed / rounds


def feed(queue, item, count):
    for _ in range(count):
        queue.put(item)


def through(item, count, start):
    """Returns what measures one queue: from the first put() to the last get(), for each object."""

    def measure(make):
        queue = make()
        feeder = start(target=feed, args=(queue, item, count))
        started = time.perf_counter()
        feeder.start()
        for _ in range(count):
            queue.get()
        elapsed = time.perf_counter() - started
        feeder.join()
        return elapsed / count

    return measure


SMALL, LARGE = 7, b"x" * 10_000_000
FLOOR, CHAIN = "two futex wakes", "32 futex wakes"
ALL = {"achar": achar.Condition, "threading": threading.Condition, "multiprocessing": FORK.Condition}
QUEUES = {"achar": achar.Queue, "multiprocessing": FORK.Queue}
PROCESS, THREAD = FORK.Process, threading.Thread

# title, function, contestants, what achar is to reach: {contestant: at least so many times faster}
ONE_CPU = [
    (
        "ping-pong by a condition, threads: round trip",
        between_threads,
        ALL,
        {FLOOR: 1 / 1.3, "threading": 2, "multiprocessing": 2.5},
    ),
    (
        "ping-pong by a condition, processes: round trip",
        between_processes,
        {"achar": achar.Condition, "multiprocessing": FORK.Condition},
        {FLOOR: 1 / 1.3, "multiprocessing": 2.5},
    ),
    ("`with c: c.notify()`, nobody waits", uncontended, ALL, {"threading": 2.5, "multiprocessing": 2.5}),
    (
        "`notify_all()` to 32 threads",
        wake_all,
        {"achar": achar.Condition, "threading": threading.Condition},
        {"threading": 3},
    ),
    (
        "`with lock: pass`",
        lock_only,
        {"achar": achar.Lock, "threading": threading.Lock, "multiprocessing": FORK.Lock},
        {},
    ),
    (
        "`with rlock: pass`",
        lock_only,
        {"achar": achar.RLock, "threading": threading.RLock, "multiprocessing": FORK.RLock},
        {},
    ),
    ("queue between processes, an int", through(SMALL, 5000, PROCESS), QUEUES, {"multiprocessing": 5}),
    ("queue between processes, 10 MB of bytes", through(LARGE, 10, PROCESS), QUEUES, {"multiprocessing": 5}),
    (
        "queue between threads, an int",
        through(SMALL, 5000, THREAD),
        {"achar": achar.Queue, "queue.Queue": stdlib_queue.Queue},
        {},
    ),
]
ALL_CPUS = [
    (
        "ping-pong by a condition, threads: round trip",
        between_threads,
        {**ALL, "a pipe": by_pipe_between_threads},
        {"a pipe": 1},
    ),
    (
        "ping-pong by a condition, processes: round trip",
        between_processes,
        {"achar": achar.Condition, "multiprocessing": FORK.Condition, "a pipe": by_pipe_between_processes},
        {"a pipe": 1},
    ),
    ("queue between processes, an int", through(SMALL, 5000, PROCESS), QUEUES, {"multiprocessing": 5}),
    ("queue between processes, 10 MB of bytes", through(LARGE, 10, PROCESS), QUEUES, {"multiprocessing": 5}),
]


def build_floor(folder):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        return None
    program = Path(folder) / "sync_floor"
    command = [compiler, "-O2", "-pthread", "-o", program, HERE / "sync_floor.c"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return program


def floor_between(program, who):
    return lambda _: float(subprocess.run([program, who], capture_output=True, text=True, check=True).stdout)


def as_time(seconds):
    unit, scale = ("ns", 1e9) if seconds < 1e-6 else ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3)
    return f"{seconds * scale:.{2 if seconds * scale < 100 else 0}f} {unit}"


def run_case(case, rounds, floor):
    """Rows of (contestant, median, quartiles, how many times faster achar is, target)."""
    title, measure, contestants, targets = case
    runs = {}
    for name, make in contestants.items():
        runs[name] = (make, None) if name == "a pipe" else (measure, make)
    if title.startswith("ping-pong") and floor:
        runs[FLOOR] = (floor_between(floor, "threads" if "threads" in title else "processes"), None)
    if title.startswith("`notify_all") and floor:
        runs[CHAIN] = (floor_between(floor, "chain"), None)
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (function, make) in runs.items():
            times[name].append(function(make))
    ours = statistics.median(times["achar"])
    rows = []
    for name, seconds in times.items():
        low, middle, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
        rows.append((name, middle, low, high, middle / ours, targets.get(name)))
    return rows


def print_case(title, rows):
    print(f"\n{title}")
    for name, middle, low, high, times, target in rows:
        text = f"  {name:16}{as_time(middle):>10}  ({as_time(low)} to {as_time(high)})"
        if name != "achar":
            text += f"   x{times:.2f}"
        if target:
            text += f" (target x{target:.2f}{'' if times >= target else ': MISSED'})"
        print(text, flush=True)


def as_table(results):
    lines = ["| | | median | quartiles | achar is faster | target |", "|---|---|---|---|---|---|"]
    for title, rows in results:
        for number, (name, middle, low, high, times, target) in enumerate(rows):
            cells = [
                "" if number else title,
                name,
                as_time(middle),
                f"{as_time(low)} to {as_time(high)}",
                "" if name == "achar" else f"{times:.2f}×",
                "" if not target else f"{target:.2f}×" + ("" if times >= target else ", **missed**"),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


PAGE = """# Locks, conditions and queues: how fast

Made by `python bench/sync.py --write`, which `make bench` runs: CPython {version}, {cpus} CPUs,
{rounds} interleaved rounds, load {load:.1f} when it began. The floor, "two futex wakes", is a round trip
between two threads or processes without Python; its target of 0.77× is "no more than 1.3 times that".
"32 futex wakes" is a chain of as many threads without Python, each of which wakes the next.

## On one CPU

{one}

## On all CPUs

{all}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    cpus = os.sched_getaffinity(0)
    version = sys.version.split()[0]
    print(f"CPython {version}, {len(cpus)} CPUs, {options.rounds} interleaved rounds, median (quartiles)")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        floor = build_floor(folder)
        for where, cases in (("one", ONE_CPU), ("all", ALL_CPUS)):
            os.sched_setaffinity(0, {min(cpus)} if where == "one" else cpus)
            print(f"\n== on {where} CPU{'' if where == 'one' else 's'}")
            results[where] = []
            for case in cases:
                rows = run_case(case, options.rounds, floor)
                results[where].append((case[0], rows))
                print_case(case[0], rows)
    if options.write:
        tables = {where: as_table(rows) for where, rows in results.items()}
        page = PAGE.format(version=version, cpus=len(cpus), rounds=options.rounds, load=load, **tables)
        (HERE.parent / "docs" / "benchmarks" / "sync.md").write_text(page)


main()
