"""achar.Executor beside multiprocessing.Pool and ProcessPoolExecutor, in one run, rounds interleaved.

    python bench/executor.py [--workers N] [--rounds N] [--quick] [--json FILE]

Every figure is the median over the rounds; a round measures every executor once, so that what else
the machine does hits all of them alike. The last columns are achar's ratio to each peer, where
above 1 achar is better.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

import achar


def nothing():
    return None


def same(x):
    return x


class Achar:
    name = "achar"

    def __init__(self, workers):
        self.ex = achar.Executor(workers)

    def submit(self, fn, *args):
        return self.ex.submit(fn, *args)

    def result(self, future):
        return future.result()

    def map(self, fn, items):
        return list(self.ex.map(fn, items, chunksize=100))

    def close(self):
        self.ex.shutdown()


class ProcessPool(Achar):
    name = "ProcessPoolExecutor"

    def __init__(self, workers):
        context = multiprocessing.get_context("fork")
        self.ex = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)


class Pool:
    name = "multiprocessing.Pool"

    def __init__(self, workers):
        self.pool = multiprocessing.get_context("fork").Pool(workers)

    def submit(self, fn, *args):
        return self.pool.apply_async(fn, args)

    def result(self, handle):
        return handle.get()

    def map(self, fn, items):
        return self.pool.map(fn, items)  # its own chunking

    def close(self):
        self.pool.close()
        self.pool.join()


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


def large_argument(peer, nbytes):
    data = bytes(nbytes)
    start = time.perf_counter()
    assert peer.result(peer.submit(len, data)) == nbytes
    return (time.perf_counter() - start) * 1e3


def echo(peer, nbytes):
    data = bytes(nbytes)
    start = time.perf_counter()
    assert len(peer.result(peer.submit(same, data))) == nbytes
    return (time.perf_counter() - start) * 1e3


FIRST = {
    "achar": "import achar; s=time.perf_counter(); ex=achar.Executor({w}); ex.submit(int).result()",
    "multiprocessing.Pool": "import multiprocessing as m; s=time.perf_counter(); "
    "ex=m.get_context('spawn').Pool({w}); ex.apply(int)",
    "ProcessPoolExecutor": "import multiprocessing as m, concurrent.futures as c; s=time.perf_counter(); "
    "ex=c.ProcessPoolExecutor({w}, mp_context=m.get_context('spawn')); ex.submit(int).result()",
}


def first_result(name, workers):
    """From the constructor to the first result, workers started clean, in an interpreter of its own."""
    program = f"import time; {FIRST[name].format(w=workers)}; print(time.perf_counter()-s)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(out.stdout) * 1e3


MEASURES = [  # key, title, unit, higher is better
    ("throughput", "no-op tasks", "tasks/s", True),
    ("p50", "round trip, median", "µs", False),
    ("p99", "round trip, 99th percentile", "µs", False),
    ("map", "map, no-op items", "items/s", True),
    ("argument", "10 MB argument", "ms", False),
    ("echo", "10 MB echo", "ms", False),
    ("first", "first result, clean start", "ms", False),
]


def measure(peer, name, workers, scale):
    p50, p99 = round_trips(peer, 1000 // scale)
    return {
        "p50": p50,
        "p99": p99,
        "throughput": throughput(peer, 20_000 // scale),
        "map": mapped(peer, 100_000 // scale),
        "argument": large_argument(peer, 10_000_000),
        "echo": echo(peer, 10_000_000),
        "first": first_result(name, workers),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    peers = [Pool(options.workers), ProcessPool(options.workers), Achar(options.workers)]
    rows = {peer.name: {key: [] for key, *_ in MEASURES} for peer in peers}
    for peer in peers:
        throughput(peer, 200)  # workers are up
    for _ in range(options.rounds):
        for peer in peers:
            for key, value in measure(peer, peer.name, options.workers, scale).items():
                rows[peer.name][key].append(value)
    for peer in peers:
        peer.close()
    median = {name: {k: statistics.median(v) for k, v in row.items()} for name, row in rows.items()}
    print(
        f"CPython {sys.version.split()[0]}, {options.workers} workers, {os.cpu_count()} processors, "
        f"median of {options.rounds} rounds\n"
    )
    print(f"{'':30}{'achar':>12}{'mp.Pool':>12}{'PPE':>12}   {'× mp.Pool':>10}{'× PPE':>8}")
    for key, title, unit, higher in MEASURES:
        a, p, e = (median[n][key] for n in ("achar", "multiprocessing.Pool", "ProcessPoolExecutor"))
        ratios = [a / x if higher else x / a for x in (p, e)]
        print(
            f"{title + ', ' + unit:42}"[:42].rjust(0)
            + f"{a:12,.1f}{p:12,.1f}{e:12,.1f}   {ratios[0]:10.2f}{ratios[1]:8.2f}"
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rounds": rows, "median": median}, file, indent=1)


if __name__ == "__main__":
    main()
