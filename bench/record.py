"""What Executor(monitor=) costs: the same work with and without it, in one run, rounds interleaved.

    python bench/record.py [--workers N] [--rounds N] [--tasks N] [--calls N]
    python bench/record.py --write         docs/benchmarks/record.md is made anew

Each round measures both, the first of them in turn; a figure is the median over the rounds of the ratio within a
round, so that what else the machine does hits both alike. Tasks do nothing, and are submitted as fast as
possible: the record never has more to do. Processor time is that of this process and the workers, until all is
written; it says more where the machine has other things to do.
"""

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

import achar

HERE = Path(__file__).resolve().parent
TARGET = 2.0  # percent


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
    threads = getattr(executor, "_recorder", None)
    monitor = getattr(executor, "_monitor", None) or (threads and threads.monitor)
    if monitor is not None:
        monitor.record.join(10)
    ticks = 0
    for pid in executor._pool.pids() if hasattr(executor, "_pool") else ():
        with open(f"/proc/{pid}/stat") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def compare(plain, recorded, measure, count, rounds):
    """(without, with, ratio of rates, quartiles of it, us each without, with, ratio of costs)."""
    rates, costs = {plain: [], recorded: []}, {plain: [], recorded: []}
    for i in range(rounds):
        for executor in (plain, recorded) if i % 2 else (recorded, plain):
            before = processor_seconds(executor)
            rates[executor].append(measure(executor, count))
            costs[executor].append((processor_seconds(executor) - before) / count)
    ratios = [b / a for a, b in zip(rates[plain], rates[recorded], strict=True)]
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return (
        statistics.median(rates[plain]),
        statistics.median(rates[recorded]),
        statistics.median(ratios),
        (quartiles[0], quartiles[2]),
        1e6 * statistics.median(costs[plain]),
        1e6 * statistics.median(costs[recorded]),
        statistics.median(b / a for a, b in zip(costs[plain], costs[recorded], strict=True)),
    )


QUERIES = {
    "`SELECT count(*), sum(calls) FROM task`": "SELECT count(*), sum(calls) FROM task",
    "the same by name and state, with `sum(seconds)`": "SELECT name, state, sum(calls), sum(seconds) FROM task"
    " GROUP BY 1, 2",
    "`SELECT * FROM task`": "SELECT * FROM task",
}


def query_seconds(path, text):
    """Processor seconds of the query for a million rows of 'task', all of them fetched."""
    connection = sqlite3.connect(path)
    ((count,),) = connection.execute("SELECT count(*) FROM task")
    start = time.process_time()
    for _ in connection.execute(text):
        pass
    seconds = time.process_time() - start
    connection.close()
    return seconds / count * 1e6


# ---- the page

PAGE = """# The record of a run: what it costs

Made by `python bench/record.py --write`, which `make bench` runs: CPython {version}, {cpus} CPUs, {workers} workers,
{rounds} interleaved rounds, load {load:.1f} when it began. Tasks are submitted as fast as possible; the target is that
`monitor=` costs less than {target:.0f} % of throughput. What costs more has a plus.

{table}

Processor time is that of the client and the workers until all is written.
{tasks:,} tasks and calls were recorded in a file of {size:.1f} MB.

## To read it

| query of that file | processor time, of a million rows of `task` |
|---|---|
{queries}

SQLite is {sqlite}.
"""


def as_percent(ratio):
    return f"{100 * (ratio - 1):+.1f} %"


def as_table(rows):
    lines = [
        "| | without | with | throughput lost | quartiles | processor time, each | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, (without, with_it, ratio, (low, high), cost, cost_with, cost_ratio) in rows:
        cells = [
            title,
            f"{without:,.0f}/s",
            f"{with_it:,.0f}/s",
            as_percent(2 - ratio),
            f"{as_percent(2 - high)} to {as_percent(2 - low)}",
            f"{cost:,.2f} to {cost_with:,.2f} µs, {as_percent(cost_ratio)}",
            f"{TARGET:.0f} %" + ("" if 100 * (1 - ratio) < TARGET else ", **missed**"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    kinds = [
        ("`submit` of tasks that do nothing", submitted, options.tasks),
        ("`map` of calls that do nothing", mapped, options.calls),
        ("`submit` of tasks of 1 ms", working, options.tasks // 40),
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "record.db")
        with achar.Executor(options.workers) as plain, achar.Executor(options.workers, monitor=path) as recorded:
            for executor in (plain, recorded):
                submitted(executor, 2000)
                mapped(executor, 20_000)
            for name, measure, count in kinds:
                rows.append((name, compare(plain, recorded, measure, count, options.rounds)))
        tasks = 2000 + 20_000 + options.rounds * sum(count for _, _, count in kinds)
        size = os.path.getsize(path) / 1e6
        other = os.path.join(folder, "threads.db")
        with (
            achar.Executor(options.workers, kind="thread") as plain,
            achar.Executor(options.workers, kind="thread", monitor=other) as recorded,
        ):
            for name, measure, count in [kind for kind in kinds if kind[1] is not mapped]:
                for executor in (plain, recorded):
                    measure(executor, 100)
                rows.append((f"{name}, on threads", compare(plain, recorded, measure, count, options.rounds)))
        queries = "\n".join(f"| {name} | {query_seconds(path, text):.1f} s |" for name, text in QUERIES.items())
    page = PAGE.format(
        version=sys.version.split()[0], cpus=len(os.sched_getaffinity(0)), workers=options.workers, load=load,
        rounds=options.rounds, target=TARGET, table=as_table(rows), tasks=tasks, size=size,
        queries=queries, sqlite=sqlite3.sqlite_version,
    )  # fmt: skip
    print(page)
    if options.write:
        (HERE.parent / "docs" / "benchmarks" / "record.md").write_text(page)


main()
