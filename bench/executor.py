"""achar.Executor beside multiprocessing.Pool, ProcessPoolExecutor, loky, Dask, Ray and Parsl's HTEX, in one run,
rounds interleaved.

    python bench/executor.py [--workers N] [--rounds N] [--quick] [--json FILE] [--page FILE]

Every figure is the median over the rounds; a round measures every executor once, so that what else
the machine does hits all of them alike. Peers that are not installed, or do not start, are left out, and it is
said why (tools/requirements-bench-peers.txt has them). The growth figures are achar's alone. --page writes
docs/benchmarks/executor.md; `bench/run` does so.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time

import achar


def nothing():
    return None


def same(x):
    return x


class Achar:
    name = "achar"
    slow = 1

    def __init__(self, workers):
        self.ex = achar.Executor(workers)

    def submit(self, fn, *args):
        return self.ex.submit(fn, *args)

    def result(self, future):
        return future.result()

    def map(self, fn, items):
        return list(self.ex.map(fn, items, chunksize=100))

    def share(self, data):
        return self.ex.put(data)

    def close(self):
        self.ex.shutdown()


class ProcessPool(Achar):
    name = "ProcessPoolExecutor"

    def share(self, data):
        return data

    def __init__(self, workers):
        context = multiprocessing.get_context("fork")
        self.ex = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)


class Loky(ProcessPool):
    name = "loky"

    def __init__(self, workers):
        import loky

        self.ex = loky.ProcessPoolExecutor(workers)


class Dask:
    name = "Dask"
    slow = 20

    def __init__(self, workers):
        import distributed

        self.client = distributed.Client(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
        )

    def submit(self, fn, *args):
        return self.client.submit(fn, *args, pure=False)

    def result(self, future):
        return future.result()

    def map(self, fn, items):
        return self.client.gather(self.client.map(fn, list(items), pure=False))

    def share(self, data):
        return self.client.scatter(data)

    def close(self):
        self.client.close()


class Ray:
    """As it starts on one machine: ray.init()."""

    name = "Ray"
    slow = 5

    def __init__(self, workers):
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")
        self.ray = ray
        self.remote = {}

    def submit(self, fn, *args):
        if fn not in self.remote:
            self.remote[fn] = self.ray.remote(fn if hasattr(fn, "__code__") else lambda *args: fn(*args))
        return self.remote[fn].remote(*args)

    def result(self, reference):
        return self.ray.get(reference)

    def map(self, fn, items):
        return self.ray.get([self.submit(fn, item) for item in items])

    def share(self, data):
        return self.ray.put(data)

    def close(self):
        self.ray.shutdown()


class Htex:
    """Parsl's HighThroughputExecutor, with apps as a user writes them."""

    name = "Parsl HTEX"
    slow = 20

    def __init__(self, workers):
        import parsl
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        executor = HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node=workers,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
        config = parsl.Config(executors=[executor], strategy="none", run_dir=self.folder.name, initialize_logging=False)
        self.kernel = parsl.load(config)
        self.parsl = parsl
        self.apps = {}

    def submit(self, fn, *args):
        if fn not in self.apps:
            self.apps[fn] = self.parsl.python_app(fn if hasattr(fn, "__code__") else lambda *args: fn(*args))
        return self.apps[fn](*args)

    def result(self, future):
        return future.result()

    def map(self, fn, items):
        return [future.result() for future in [self.submit(fn, item) for item in items]]

    def share(self, data):
        return data

    def close(self):
        self.kernel.cleanup()
        self.parsl.clear()
        self.folder.cleanup()


class Pool:
    name = "multiprocessing.Pool"
    slow = 1

    def share(self, data):
        return data

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


def echo_array(peer, nbytes):
    import numpy

    data = numpy.zeros(nbytes, "u1")
    start = time.perf_counter()
    assert peer.result(peer.submit(same, data)).nbytes == nbytes
    return (time.perf_counter() - start) * 1e3


def read_by_many(peer, nbytes, count):
    """One array that 'count' tasks read: put once where that can be had, sent each time elsewhere."""
    import numpy

    data = numpy.zeros(nbytes, "u1")
    start = time.perf_counter()
    shared = peer.share(data)
    for handle in [peer.submit(len, shared) for _ in range(count)]:
        assert peer.result(handle) == nbytes
    return (time.perf_counter() - start) * 1e3


FIRST = {
    "achar": "import achar; s=time.perf_counter(); ex=achar.Executor({w}); ex.submit(int).result()",
    "multiprocessing.Pool": "import multiprocessing as m; s=time.perf_counter(); "
    "ex=m.get_context('spawn').Pool({w}); ex.apply(int)",
    "ProcessPoolExecutor": "import multiprocessing as m, concurrent.futures as c; s=time.perf_counter(); "
    "ex=c.ProcessPoolExecutor({w}, mp_context=m.get_context('spawn')); ex.submit(int).result()",
    "loky": "import loky; s=time.perf_counter(); ex=loky.ProcessPoolExecutor({w}); ex.submit(int).result()",
    "Dask": "import distributed as d; s=time.perf_counter(); ex=d.Client(n_workers={w}, threads_per_worker=1, "
    "dashboard_address=None); ex.submit(int).result()",
    "Ray": "import ray; s=time.perf_counter(); ray.init(num_cpus={w}, include_dashboard=False, log_to_driver=False, "
    "logging_level='error'); ray.get(ray.remote(lambda: 0).remote())",
    "Parsl HTEX": "import parsl, parsl.executors as e, parsl.providers as p; s=time.perf_counter(); "
    "parsl.load(parsl.Config(executors=[e.HighThroughputExecutor(address='127.0.0.1', max_workers_per_node={w}, "
    "provider=p.LocalProvider(init_blocks=1, max_blocks=1))], strategy='none', initialize_logging=False)); "
    "parsl.python_app(lambda: 0)().result()",
}


def first_result(name, workers):
    """From the constructor to the first result, workers started clean, in an interpreter of its own."""
    program = (
        f"import os, time\nif __name__ == '__main__': {FIRST[name].format(w=workers)}; "
        "print(time.perf_counter() - s, flush=True)"
    )
    if name == "Parsl HTEX":
        program += "; parsl.dfk().cleanup()"
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(program)
        file.flush()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Parsl writes into the current one
            out = subprocess.run(
                [sys.executable, file.name], capture_output=True, text=True, check=True, cwd=folder, timeout=120
            )
    return float(out.stdout.split()[-1]) * 1e3


MEASURES = [  # key, title, unit, higher is better
    ("throughput", "no-op tasks", "tasks/s", True),
    ("p50", "round trip, median", "µs", False),
    ("p99", "round trip, 99th percentile", "µs", False),
    ("map", "map, no-op items", "items/s", True),
    ("argument", "10 MB argument", "ms", False),
    ("echo", "10 MB echo", "ms", False),
    ("array", "64 MB numpy echo", "ms", False),
    ("shared", "10 MB array read by 100 tasks", "ms", False),
    ("first", "first result, clean start", "ms", False),
]


def measure(peer, name, workers, scale):
    slow = peer.slow  # so many times less to do
    p50, p99 = round_trips(peer, 1000 // scale // min(slow, 5))
    return {
        "p50": p50,
        "p99": p99,
        "throughput": throughput(peer, 20_000 // scale // slow),
        "map": mapped(peer, 100_000 // scale // slow),
        "argument": large_argument(peer, 10_000_000),
        "echo": echo(peer, 10_000_000),
        "array": echo_array(peer, 64 << 20),
        "shared": read_by_many(peer, 10_000_000, 100),
        "first": first_result(name, workers),
    }


def resident_nbytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def add_one(x):
    return x + 1


def growth(workers, scale):
    """(what, how many, µs each, bytes each or None), with achar."""
    rows = []
    for count in (1000, 10_000, 100_000, 1_000_000):
        count //= scale
        with achar.Executor(workers) as ex:
            ex.submit(nothing).result()
            before, start = resident_nbytes(), time.perf_counter()
            futures = [ex.submit(nothing) for _ in range(count)]
            grown = resident_nbytes() - before
            for future in futures:
                future.result()
            each = (time.perf_counter() - start) / count
            rows.append(
                ("no-op tasks, all submitted first", count, each * 1e6, grown / count if count > 9999 else None)
            )
            del futures, future
    count = 100_000 // scale
    with achar.Executor(workers) as ex:
        start = time.perf_counter()
        future = ex.submit(int)
        for _ in range(count):
            future = ex.submit(add_one, future)
        assert future.result() == count
        rows.append(("chain: each needs the one before", count, (time.perf_counter() - start) / count * 1e6, None))
        start = time.perf_counter()
        fan = [ex.submit(add_one, future) for _ in range(count)]
        assert ex.submit(sum, fan).result() == count * (count + 1)
        rows.append(("fan: all need one, one needs all", count, (time.perf_counter() - start) / count * 1e6, None))
        del fan, future
    return rows


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def page(median, rows, options, left_out):
    """docs/benchmarks/executor.md"""
    names = list(median)
    lines = [
        "# The executor, measured",
        "",
        "<!-- made by `bench/run`; edit bench/executor.py instead -->",
        "",
        "`python bench/executor.py` made this page: all executors in one process, one after the other in each round;",
        f"figures are medians of {options.rounds} rounds. CPython {sys.version.split()[0]}, {options.workers} workers, "
        f"{os.cpu_count()} processors.",
        "Absolute figures move with the machine; the ratios (in parentheses: how many times as good achar is) are what",
        "to look at. mp.Pool and ProcessPoolExecutor fork their workers, except for the first result.",
        *[f"Not here: {reason}" for reason in left_out],
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for key, title, unit, higher in MEASURES:
        ours = median["achar"][key]
        cells = []
        for name in names:
            value = median[name][key]
            ratio = ours / value if higher else value / ours
            cells.append(figure(value) + ("" if name == "achar" else f" ({ratio:.1f}×)"))
        lines.append(f"| {title}, {unit} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Growth",
        "",
        "achar alone; memory is the client's resident memory while the tasks are queued.",
        "",
    ]
    lines += ["| | how many | µs each | bytes each |", "|---|---:|---:|---:|"]
    for what, count, each, nbytes in rows:
        lines.append(f"| {what} | {count:,} | {each:.2f} | {figure(nbytes) if nbytes is not None else ''} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--page", metavar="FILE")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    # HTEX starts programs of its own that pip has put beside the interpreter.
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
    peers = [Achar(options.workers), Pool(options.workers), ProcessPool(options.workers)]
    left_out = []
    for peer in (Loky, Dask, Ray, Htex):
        try:
            peers.append(peer(options.workers))
            throughput(peers[-1], 20)
        except Exception as error:  # whatever keeps it from working here is to be read
            left_out.append(f"{peer.name}: {type(error).__name__}: {error}".splitlines()[0])
            print(f"left out: {left_out[-1]}", file=sys.stderr)
            peers = [one for one in peers if one.name != peer.name]
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
    text = page(median, growth(options.workers, scale), options, left_out)
    print(text)
    if options.page:
        with open(options.page, "w") as file:
            file.write(text)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rounds": rows, "median": median}, file, indent=1)


if __name__ == "__main__":
    main()
