"""achar.Memo beside joblib.Memory and diskcache: microseconds for a hit and a miss, and opening a large file.

    python bench/memo.py              all of it; half of the time goes into a file with a million results
    python bench/memo.py --rows 0     without that file
    python bench/memo.py --write      docs/benchmarks/memo.md is made anew

A hit and a miss are CPU time of the process, system calls included, so that what else the machine does does not count;
what the disk still does afterwards is not in it. The libraries take turns, and ratios are medians of the rounds' own.
"""

import argparse
import os
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

HERE = Path(__file__).parent
MISS_ADDS_MAX_US, OPENING_MAX_S = 100, 1
OPENINGS = 7


def work(x, y=2, scale=1.0):
    return {"x": x, "y": y, "scaled": [x, scale]}


def total(array):
    return float(array.sum())


def microseconds(call, arguments):
    """CPU and elapsed."""
    start, began = time.process_time(), time.perf_counter()
    for argument in arguments:
        call(argument)
    cpu, elapsed = time.process_time() - start, time.perf_counter() - began
    return cpu / len(arguments) * 1e6, elapsed / len(arguments) * 1e6


def compare(title, calls, arguments_of, rounds, targets):
    """Each of 'calls' (name to callable) on the same arguments, in turns. Rows for as_table()."""
    times = {name: [] for name in calls}
    for n in range(rounds):
        for name, call in calls.items():
            times[name].append(microseconds(call, arguments_of(n)))
    rows = []
    for name, measured in times.items():
        ratio = statistics.median(theirs[0] / mine[0] for theirs, mine in zip(measured, times["achar"]))
        cpu, elapsed = (statistics.median(column) for column in zip(*measured))
        target = targets.get(name)
        rows.append([title, name, f"{cpu:.1f} µs", f"{elapsed:.1f} µs", "", ""])
        if name != "achar":
            rows[-1][4:] = f"{ratio:.1f}×", "" if target is None else f"{target}×" + missed(ratio >= target)
        title = ""
    return rows


def missed(is_met):
    return "" if is_met else ", **missed**"


def small(folder, rounds):
    """Hits, misses, get()."""
    memo = achar.Memo(f"{folder}/m")
    memory = joblib.Memory(f"{folder}/joblib", verbose=0)
    cache = diskcache.Cache(f"{folder}/diskcache")
    calls = {"achar": memo(work), "joblib": memory.cache(work), "diskcache": cache.memoize()(work)}
    few = list(range(50))
    for call in calls.values():
        microseconds(call, few)
    targets = {"joblib": 5, "diskcache": 2}
    rows = compare("a hit", calls, lambda n: few * 10, rounds, targets)
    misses = compare("a miss", calls, lambda n: range(1000 + 200 * n, 1200 + 200 * n), rounds, {})
    adds = float(misses[0][2].split()[0]) - microseconds(work, range(10000))[0]
    misses[0][4:] = f"adds {adds:.1f} µs", f"≤ {MISS_ADDS_MAX_US} µs" + missed(adds <= MISS_ADDS_MAX_US)
    rows += misses
    array = [np.arange(131_072.0)]
    arrays = {"achar": memo(total), "joblib": memory.cache(total)}
    for call in arrays.values():
        microseconds(call, array)
    rows += compare("a hit, an array of 1 MB as argument", arrays, lambda n: array * 10, rounds, {})
    for i in few:
        memo.put(i, work(i))
        cache.set(i, work(i))
    rows += compare("`get()`", {"achar": memo.get, "diskcache": cache.get}, lambda n: few * 10, rounds, {})
    return rows


OPEN = """
import sys, time
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
print(seconds, rss() - before)
"""


def opening(path, count):
    """Seconds until a result has been read, in a new process, and its KiB after a thousand hits."""
    done = subprocess.run([sys.executable, "-c", OPEN, path, str(count)], capture_output=True, text=True, check=True)
    seconds, kib = done.stdout.split()
    return float(seconds), int(kib)


def large(folder, counts):
    """Files with so many results; their openings take turns."""
    files = {}
    for count in counts:
        path = files[count] = Path(folder) / f"large-{count}"
        with achar.Memo(path) as memo:
            for i in range(count):
                memo.put(i, {"x": i})
    opened = {count: [] for count in counts}
    for _ in range(OPENINGS):
        for count, path in files.items():
            opened[count].append(opening(path, count))
    rows = []
    for count, path in files.items():
        seconds, kib = (statistics.median(column) for column in zip(*opened[count]))
        rows.append(
            [
                f"{count:,}",
                f"{path.stat().st_size / 2**20:.1f} MiB",
                f"{seconds * 1000:.1f} ms" + missed(seconds <= OPENING_MAX_S),
                f"{kib:,.0f} KiB",
            ]
        )
    return rows


def as_table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


PAGE = """# achar.Memo: how fast

Made by `python bench/memo.py --write`, which `make bench` runs: CPython {version}, {cpus} CPUs,
load {load:.1f} when it began; joblib {joblib}, diskcache {diskcache}; {rounds} rounds in turns, medians.

{small}

CPU time of the process, system calls included. The function returns a small dict; durability is the default of each,
and none of them waits for the disk.

{large}

"opened": `Memo(path)` and one result, in a new process, median of {openings}; at most {opening_max} s is the target.
"memory": what the process has grown by after a thousand results have been read.
"""

SMALL = ["", "", "CPU", "elapsed", "achar is faster", "target"]
LARGE = ["results", "file", "opened", "memory"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and not options.rows:
        parser.error("the page has the large file, too")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        tables = {"small": as_table(SMALL, small(folder, options.rounds))}
        print(tables["small"], flush=True)
        if options.rows:
            tables["large"] = as_table(LARGE, large(folder, sorted({1000, options.rows})))
            print("\n" + tables["large"])
    if options.write:
        page = PAGE.format(
            version=sys.version.split()[0],
            cpus=len(os.sched_getaffinity(0)),
            load=load,
            joblib=joblib.__version__,
            diskcache=diskcache.__version__,
            rounds=options.rounds,
            openings=OPENINGS,
            opening_max=OPENING_MAX_S,
            **tables,
        )
        (HERE.parent / "docs" / "benchmarks" / "memo.md").write_text(page)


if __name__ == "__main__":
    main()
