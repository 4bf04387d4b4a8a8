"""achar's conditions beside threading's and multiprocessing's, in one run.

    python bench/sync.py                 all of it, about a minute
    python bench/sync.py --rounds 3      quicker

Everything runs on one CPU (the first that this process may use), and the rounds of the contestants
are interleaved; each figure is the median of its rounds, with the quartiles. The floor is a round
trip over two bare futexes between two C threads' worth of system calls, made by bench/sync_floor.c
where a compiler is found. "x" is how many times faster achar is than that contestant.
"""

import argparse
import multiprocessing
import os
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
    """From notify_all() until the last of the waiters has gone on."""
    condition = make()
    arrived, gone = [0], [0]
    total = 0.0

    def wait():
        for _ in range(rounds):
            with condition:
                arrived[0] += 1
                condition.wait()
                gone[0] += 1

    threads = [threading.Thread(target=wait) for _ in range(waiters)]
    for thread in threads:
        thread.start()
    for number in range(1, rounds + 1):
        while arrived[0] < waiters * number:
            time.sleep(0.001)
        with condition:
            pass  # the last one waits
        started = time.perf_counter()
        with condition:
            condition.notify_all()
        while gone[0] < waiters * number:
            time.sleep(0)
        total += time.perf_counter() - started
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


CASES = [
    (
        "ping-pong round trip, threads",
        between_threads,
        {"achar": achar.Condition, "threading": threading.Condition, "multiprocessing": FORK.Condition},
    ),
    (
        "ping-pong round trip, processes",
        between_processes,
        {"achar": achar.Condition, "multiprocessing": FORK.Condition},
    ),
    (
        "with c: c.notify(), nobody waits",
        uncontended,
        {"achar": achar.Condition, "threading": threading.Condition, "multiprocessing": FORK.Condition},
    ),
    (
        "notify_all() to 32 threads",
        wake_all,
        {"achar": achar.Condition, "threading": threading.Condition},
    ),
    (
        "with lock: pass",
        lock_only,
        {"achar": achar.Lock, "threading": threading.Lock, "multiprocessing": FORK.Lock},
    ),
    (
        "with rlock: pass",
        lock_only,
        {"achar": achar.RLock, "threading": threading.RLock, "multiprocessing": FORK.RLock},
    ),
]


def build_floor(folder):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        return None
    program = Path(folder) / "sync_floor"
    done = subprocess.run(
        [compiler, "-O2", "-pthread", "-o", program, HERE / "sync_floor.c"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return lambda _: float(subprocess.run([program], capture_output=True, text=True, check=True).stdout)


def describe(seconds):
    low, middle, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    unit, scale = ("ns", 1e9) if middle < 1e-6 else ("µs", 1e6)
    return middle, f"{middle * scale:8.1f} {unit}  ({low * scale:.1f} to {high * scale:.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"CPython {sys.version.split()[0]}, one CPU, {rounds} interleaved rounds, median (quartiles)")
    with tempfile.TemporaryDirectory() as folder:
        floor = build_floor(folder)
        for title, measure, contestants in CASES:
            runs = {name: (measure, make) for name, make in contestants.items()}
            if title.startswith("ping-pong") and floor:
                runs["two futex wakes"] = (floor, None)
            times = {name: [] for name in runs}
            for _ in range(rounds):
                for name, (function, make) in runs.items():
                    times[name].append(function(make))
            print(f"\n{title}")
            ours = statistics.median(times["achar"])
            for name in runs:
                middle, text = describe(times[name])
                print(f"  {name:16}{text}" + ("" if name == "achar" else f"   x{middle / ours:.2f}"))


main()
