"""achar.Memo beside joblib.Memory and diskcache: microseconds for a hit and a miss, and opening a large file.

    python bench/memo.py              all of it
    python bench/memo.py --rows 0     without the large file

A hit and a miss are CPU time of the process, system calls included, median of rounds in turns; what the disk
still does afterwards is not in it.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import achar
import diskcache
import joblib
import numpy as np

ROUNDS = 7


def work(x, y=2, scale=1.0):
    return {"x": x, "y": y, "scaled": [x, scale]}


def total(array):
    return float(array.sum())


def microseconds(call, arguments):
    start = time.process_time()
    for argument in arguments:
        call(argument)
    return (time.process_time() - start) / len(arguments) * 1e6


def compare(title, calls, arguments_of):
    """Each of 'calls' (name to callable) on the same arguments, in turns."""
    times = {name: [] for name in calls}
    for n in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(microseconds(call, arguments_of(n)))
    ours = statistics.median(times["achar"])
    print(f"{title:34}", end="")
    for name in calls:
        ratio = statistics.median(theirs / mine for theirs, mine in zip(times[name], times["achar"]))
        print(f"{statistics.median(times[name]):10.1f}" + ("" if name == "achar" else f" {ratio:5.1f}x"), end="")
    print()
    return ours


OPEN = """
import resource, sys, time
import achar.memo
def rss():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
before, start = rss(), time.perf_counter()
memo = achar.Memo(sys.argv[1])
found = memo.get(7)
seconds = time.perf_counter() - start
assert found == {"x": 7}, found
for i in range(0, int(sys.argv[2]), max(1, int(sys.argv[2]) // 1000)):
    memo.get(i)
print(f"{seconds * 1000:.1f} ms, {rss() - before} KiB after a thousand hits")
"""


def large(folder, rows):
    for count in (1000, rows):
        path = Path(folder) / f"large-{count}"
        memo = achar.Memo(path)
        start = time.process_time()
        for i in range(count):
            memo.put(i, {"x": i})
        spent = (time.process_time() - start) / count * 1e6
        memo.close()
        done = subprocess.run(
            [sys.executable, "-c", OPEN, path, str(count)], capture_output=True, text=True, check=True
        )
        mib = path.stat().st_size / 2**20
        print(
            f"a file with {count} results ({mib:.0f} MiB, {spent:.0f} µs a put): opened and read in {done.stdout}",
            end="",
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        memo = achar.Memo(f"{folder}/m")
        memory = joblib.Memory(f"{folder}/joblib", verbose=0)
        cache = diskcache.Cache(f"{folder}/diskcache")
        print(f"{'µs':34}{'achar':>10}{'joblib':>10}{'':7}{'diskcache':>9}")
        calls = {"achar": memo(work), "joblib": memory.cache(work), "diskcache": cache.memoize()(work)}
        few = list(range(50))
        for call in calls.values():
            microseconds(call, few)
        compare("a hit", calls, lambda n: few * 10)
        compare("a miss", calls, lambda n: range(1000 + 200 * n, 1200 + 200 * n))
        array = [np.arange(131_072.0)]
        arrays = {"achar": memo(total), "joblib": memory.cache(total)}
        for call in arrays.values():
            microseconds(call, array)
        compare("a hit, array of 1 MB as argument", arrays, lambda n: array * 10)
        values = {"achar": memo.get, "diskcache": cache.get}
        for i in few:
            memo.put(i, work(i))
            cache.set(i, work(i))
        compare("get()", values, lambda n: few * 10)
        if options.rows:
            large(folder, options.rows)


if __name__ == "__main__":
    main()
