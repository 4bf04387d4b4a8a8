"""What Executor(monitor=) costs: the same work with and without it, in one run, rounds interleaved.

    python bench/record.py [--workers N] [--rounds N] [--tasks N] [--calls N]

Each round measures both, the first of them in turn; a figure is the median over the rounds of the ratio within a
round, so that what else the machine does hits both alike. Tasks do nothing, and are submitted as fast as
possible: the record never has more to do. Processor time is that of this process and the workers, until all is
written; it says more where the machine has other things to do.
"""

import argparse
import os
import statistics
import tempfile
import time

import achar


def nothing():
    return None


def same(x):
    return x


def submitted(executor, count):
    """Tasks a second: all are submitted, then all results are read."""
    start = time.perf_counter()
    for future in [executor.submit(nothing) for _ in range(count)]:
        future.result()
    return count / (time.perf_counter() - start)


def mapped(executor, count):
    """Calls a second of a map."""
    start = time.perf_counter()
    assert sum(executor.map(same, range(count))) == count * (count - 1) // 2
    return count / (time.perf_counter() - start)


def working(executor, count):
    """Tasks a second that compute for a millisecond."""
    start = time.perf_counter()
    for future in [executor.submit(compute) for _ in range(count)]:
        future.result()
    return count / (time.perf_counter() - start)


def compute():
    end = time.thread_time() + 0.001
    while time.thread_time() < end:
        pass


def processor_seconds(executor):
    """Of this process and the executor's workers; what is still to be recorded is written first."""
    if executor._monitor is not None:
        executor._monitor.record.join(10)
    ticks = 0
    for pid in executor._pool.pids():
        with open(f"/proc/{pid}/stat") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--calls", type=int, default=200_000)
    options = parser.parse_args()
    kinds = [
        ("submit, tasks/s", submitted, options.tasks),
        ("map, calls/s", mapped, options.calls),
        ("submit of 1 ms, tasks/s", working, options.tasks // 40),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "record.db")
        with achar.Executor(options.workers) as plain, achar.Executor(options.workers, monitor=path) as recorded:
            for executor in (plain, recorded):
                submitted(executor, 2000)
                mapped(executor, 20_000)
            for name, measure, count in kinds:
                rates, costs = {plain: [], recorded: []}, {plain: [], recorded: []}
                for i in range(options.rounds):
                    for executor in (plain, recorded) if i % 2 else (recorded, plain):
                        before = processor_seconds(executor)
                        rates[executor].append(measure(executor, count))
                        costs[executor].append((processor_seconds(executor) - before) / count)
                ratio = statistics.median(b / a for a, b in zip(rates[plain], rates[recorded], strict=True))
                print(
                    f"{name:26} {statistics.median(rates[plain]):12,.0f} without"
                    f" {statistics.median(rates[recorded]):12,.0f} with   {100 * (1 - ratio):+5.1f} %"
                )
                without, with_it = (1e6 * statistics.median(costs[executor]) for executor in (plain, recorded))
                ratio = statistics.median(b / a for a, b in zip(costs[plain], costs[recorded], strict=True))
                print(
                    f"{'  processor time, us each':26} {without:12,.2f} without {with_it:12,.2f} with"
                    f"   {100 * (ratio - 1):+5.1f} %"
                )
        tasks = 2 * (2000 + 20_000) // 2 + options.rounds * sum(count for _, _, count in kinds)
        size = os.path.getsize(path)
        print(f"{tasks:,} tasks and calls recorded in {size / 1e6:.1f} MB")


main()
