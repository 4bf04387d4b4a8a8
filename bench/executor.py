"""achar.Executor beside multiprocessing.Pool, ProcessPoolExecutor, loky, Dask, Ray and Parsl's HTEX, in one run,
rounds interleaved.

    python bench/executor.py [--workers N] [--rounds N] [--quick] [--only NAME …] [--out FILE] [--page FILE]

In each round each executor is measured once, in an interpreter of its own in which nothing else has been imported
or started, so that none pays for what another leaves behind, and what else the machine does hits all of them
alike. It is warm first, likewise for all: each case runs once before it counts, with large data four times, so that
each worker has had them, then five times (less, where that takes over three seconds), and the median counts. What is
measured cold says so. Every figure is the median over the rounds.

Peers that are not installed, or do not start, are left out, and it is said why (tools/requirements-bench-peers.txt
has them). The growth figures are achar's alone. All figures of every round go to build/bench/executor.json;
--page writes docs/benchmarks/executor.md and its plots (by matplotlib), as `bench/run` does. Whatever a peer leaves
running is killed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import executor_page
import executor_plots
import leftovers
from executor_peers import FIRST, PEERS

OUT = Path(__file__).resolve().parents[1] / "build" / "bench" / "executor.json"
ROUND_SECONDS = 300  # for one executor in one round; then it is killed, and left out of this round
CASE_SECONDS = 3  # for the timed repetitions of one case
REPEATS = 5
WARM = 4  # each worker has had it

CASES = [  # key, title, unit, higher is better
    ("throughput", "no-op tasks", "tasks/s", True),
    ("p50", "round trip, median", "µs", False),
    ("p99", "round trip, 99th percentile", "µs", False),
    ("map", "map, no-op items", "items/s", True),
    ("argument", "10 MB argument", "ms", False),
    ("echo", "10 MB echo", "ms", False),
    ("array", "64 MB numpy echo", "ms", False),
    ("cold", "64 MB numpy echo, the executor's first large one", "ms", False),
    ("changed", "64 MB numpy array in, another out, each page read", "ms", False),
    ("shared", "10 MB array read by 100 tasks", "ms", False),
    ("first", "first result, clean start", "ms", False),
]


def nothing():
    return None


def same(x):
    return x


def add_one(x):
    return x + 1


def throughput(peer, count):
    start = time.perf_counter()
    handles = [peer.submit(nothing) for _ in range(count)]
    for handle in handles:
        peer.result(handle)
    return count / (time.perf_counter() - start)


def round_trips(peer, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        peer.result(peer.submit(nothing))
        times.append(time.perf_counter() - start)
    times.sort()
    return times[count // 2] * 1e6, times[count * 99 // 100] * 1e6


def mapped(peer, count):
    items = range(count)
    start = time.perf_counter()
    results = peer.map(same, items)
    elapsed = time.perf_counter() - start
    assert results == list(items)
    return count / elapsed


def made_bytes(nbytes):
    """Not zeros, whose pages need not be there."""
    return (bytes(range(251)) * (nbytes // 251 + 1))[:nbytes]


def made_array(nbytes):
    import numpy

    return numpy.frombuffer(made_bytes(nbytes), "u1").copy()


def large_argument(peer, data):
    start = time.perf_counter()
    nbytes = peer.result(peer.submit(len, data))
    elapsed = time.perf_counter() - start
    assert nbytes == len(data)
    return elapsed * 1e3


def echo(peer, data):
    start = time.perf_counter()
    result = peer.result(peer.submit(same, data))
    elapsed = time.perf_counter() - start
    assert bytes(result) == bytes(data)
    return elapsed * 1e3


def changed(peer, data):
    """The task makes a new array, and each page of it is looked at here."""
    start = time.perf_counter()
    result = peer.result(peer.submit(add_one, data))
    assert result[::4096].any()
    return (time.perf_counter() - start) * 1e3


def read_by_many(peer, data, count):
    """One array that 'count' tasks read: put once where that can be had, sent each time elsewhere."""
    start = time.perf_counter()
    shared = peer.share(data)
    for handle in [peer.submit(len, shared) for _ in range(count)]:
        assert peer.result(handle) == len(data)
    return (time.perf_counter() - start) * 1e3


def first_result(name, workers):
    """From the constructor to the first result, workers started clean, in an interpreter of its own."""
    program = (
        f"import os, time\nif __name__ == '__main__': {FIRST[name].format(w=workers)}; "
        "print(time.perf_counter() - s, flush=True)"
    )
    if name == "Parsl HTEX":
        program += "; parsl.dfk().cleanup()"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Parsl writes into the current one
        path = Path(folder, "first.py")
        path.write_text(program)
        out = subprocess.run(
            [sys.executable, path], capture_output=True, text=True, check=True, cwd=folder, timeout=120
        )
    return float(out.stdout.split()[-1]) * 1e3


def repeated(case, *args):
    """The median of warm runs: of as many as fit into CASE_SECONDS, the first half, at most WARM, do not count."""
    end = time.perf_counter() + CASE_SECONDS
    values = [case(*args)]
    while len(values) < WARM + REPEATS and time.perf_counter() < end:
        values.append(case(*args))
    return statistics.median(values[min(WARM, len(values) // 2) :])


def measure(name, workers, scale):
    """One round of one executor."""
    peer = PEERS[name](workers)
    slow = peer.slow  # so many times less to do
    throughput(peer, 200 // min(slow, 10))  # workers are up
    large, larger = made_bytes(10_000_000), made_array(64 << 20)
    echo(peer, larger[:8])  # workers have numpy
    figures = {"cold": echo(peer, larger)}
    round_trips(peer, 20)
    figures["p50"], figures["p99"] = round_trips(peer, 1000 // scale // min(slow, 5))
    throughput(peer, 1000 // scale // slow)
    figures["throughput"] = throughput(peer, 20_000 // scale // slow)
    mapped(peer, 5000 // scale // slow)
    figures["map"] = mapped(peer, 100_000 // scale // slow)
    figures["argument"] = repeated(large_argument, peer, large)
    figures["echo"] = repeated(echo, peer, large)
    figures["array"] = repeated(echo, peer, larger)
    figures["changed"] = repeated(changed, peer, larger)
    read_by_many(peer, larger[:10_000_000], 2)
    figures["shared"] = read_by_many(peer, larger[:10_000_000], 100)
    peer.close()
    figures["first"] = first_result(name, workers)
    return figures


# ---- growth: achar's alone ----


def resident_nbytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def queue_tasks(ex, count):
    """(µs each, bytes each) of tasks that are all submitted before the first result is asked for."""
    before, start = resident_nbytes(), time.perf_counter()
    futures = [ex.submit(nothing) for _ in range(count)]
    grown = resident_nbytes() - before
    for future in futures:
        future.result()
    return (time.perf_counter() - start) / count * 1e6, grown / count


def queued(ex, count, scale):
    """So often that many tasks are measured, however few they are at a time; the memory is the first time's."""
    rows = [queue_tasks(ex, count) for _ in range(max(1, 100_000 // scale // count))]
    return statistics.median(each for each, _ in rows), rows[0][1] if count >= 10_000 else None


def chained(ex, count, scale):
    future = ex.submit(int)
    start = time.perf_counter()
    for _ in range(count):
        future = ex.submit(add_one, future)
    assert future.result() == count
    return (time.perf_counter() - start) / count * 1e6, None


def fanned(ex, count, scale):
    one = ex.submit(int)
    start = time.perf_counter()
    fan = [ex.submit(add_one, one) for _ in range(count)]
    assert ex.submit(sum, fan).result() == count
    return (time.perf_counter() - start) / count * 1e6, None


GROWTH = [  # kind, measure, counts
    ("no-op tasks, all submitted first", queued, (1000, 10_000, 100_000, 1_000_000)),
    ("chain: each needs the one before", chained, (100_000,)),
    ("fan: all need one, one needs all", fanned, (100_000,)),
]


def grow(kind, count, workers, scale):
    """One row, in an interpreter and with an executor of its own, which has worked before."""
    import achar

    with achar.Executor(workers) as ex:
        queue_tasks(ex, 2000)
        each, nbytes = next(one for name, one, _ in GROWTH if name == kind)(ex, count, scale)
    return {"us": each, "nbytes": nbytes}


# ---- the run ----


def in_own_interpreter(what, options):
    """What 'what' asks for, measured by this program in another process; whatever that leaves running is killed."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        out = Path(folder, "figures.json")
        command = [sys.executable, __file__, "--workers", str(options.workers), *(["--quick"] * options.quick)]
        command += ["--measure", json.dumps(what), "--out", str(out)]
        try:
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=ROUND_SECONDS)
            if done.returncode:
                lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
                raise RuntimeError(lines[-1])
            return json.loads(out.read_text())
        finally:
            leftovers.kill()


def all_rounds(names, options):
    """({name: {key: [value of each round]}}, {name: why it was left out})"""
    rounds, left_out = {name: {key: [] for key, *_ in CASES} for name in names}, {}
    for number in range(options.rounds):
        for name in names:
            if name in left_out and not rounds[name]["first"]:
                continue  # it will not start the next time either
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr)
            try:
                figures = in_own_interpreter({"peer": name}, options)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                left_out[name] = str(error) if isinstance(error, RuntimeError) else f"over {ROUND_SECONDS} s"
                print(f"left out: {name}: {left_out[name]}", file=sys.stderr)
                continue
            for key, value in figures.items():
                rounds[name][key].append(value)
    return {name: row for name, row in rounds.items() if row["first"]}, left_out


def all_growth(options):
    scale = 10 if options.quick else 1
    rows = [
        {"kind": kind, "count": count // scale, "us_rounds": [], "nbytes_rounds": []}
        for kind, _, counts in GROWTH
        for count in counts
    ]
    for number in range(options.rounds):
        print(f"growth {number + 1} of {options.rounds}", file=sys.stderr)
        for row in rows:
            one = in_own_interpreter({"kind": row["kind"], "count": row["count"]}, options)
            row["us_rounds"].append(one["us"])
            row["nbytes_rounds"].append(one["nbytes"])
    for row in rows:
        row["us"] = statistics.median(row["us_rounds"])
        row["nbytes"] = None if None in row["nbytes_rounds"] else statistics.median(row["nbytes_rounds"])
    return rows


def run(options):
    names = options.only or list(PEERS)
    rounds, left_out = all_rounds(names, options)
    result = {
        "python": platform.python_version(),
        "workers": options.workers,
        "processors": os.cpu_count(),
        "round_count": options.rounds,
        "cases": [dict(zip(("key", "title", "unit", "higher"), case)) for case in CASES],
        "rounds": rounds,
        "median": {name: {key: statistics.median(v) for key, v in row.items()} for name, row in rounds.items()},
        "left_out": left_out,
        "growth": all_growth(options),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    text = executor_page.page(result)
    print(text)
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(text)
        executor_plots.draw(result, options.page.parent)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--only", nargs="+", choices=PEERS, metavar="NAME", help="these executors, achar among them")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures go, as JSON")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # HTEX starts programs of its own that pip has put beside the interpreter.
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
    if options.measure is None:
        sys.exit(leftovers.guarded(run, options))
    scale = 10 if options.quick else 1
    if "peer" in options.measure:
        figures = measure(options.measure["peer"], options.workers, scale)
    else:
        figures = grow(options.measure["kind"], options.measure["count"], options.workers, scale)
    options.out.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
