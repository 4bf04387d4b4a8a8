"""The C library beside _pickle: how fast it reads and writes, and what memory that takes.

    python bench/codec/library.py                    measure; docs/benchmarks/library.md and its picture
    python bench/codec/library.py --largest 10m      growth up to 10 MB of input (1 GB; 0 for none)
    python bench/codec/library.py --quick            tiny: does it work? Nothing is written to docs/

Both sides have glibc keep the memory that is freed, as docs/libachar.md says for programs that read large
graphs again and again; GLIBC_TUNABLES= in the environment measures without.

The C side is library.c, which ninja builds. Both sides are processes that say how many seconds so many
loops took (timing.py has the method); a ratio is how many times as fast as _pickle the library is.
"""

import argparse
import json
import math
import os
import pickle
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cases import CASES, Case
from timing import ratio, run_rounds

ROOT = Path(__file__).resolve().parents[2]
DIRECTIONS = ("reads", "writes")
TARGETS = {"reads": 8, "writes": 4}
BYTES_PER_VALUE = 24
LONG_NBYTES = 10_000_000
KEEP_MEMORY = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=268435456"

MORE_CASES = [
    Case("small lists", "50,000 lists of two ints and a str",
         lambda n: [[i, i + 1, str(i)] for i in range(n)], 50_000, 9),
    Case("small dicts", "50,000 dicts of two ints", lambda n: [{"a": i, "b": i} for i in range(n)], 50_000, 9),
    Case("empty lists", "100,000 empty lists", lambda n: [[] for _ in range(n)], 100_000, 9),
]  # fmt: skip
# What the targets are about: they are met, or not, by these.
CONTAINERS = {
    "small dict", "request", "records", "dataclasses", "slotted dataclasses", "namedtuples", "pairs", "deep tree",
    "nested", "small lists", "small dicts", "empty lists",
}  # fmt: skip
# What surely is a tree, so that the values can be counted, and many.
WEIGHED = ["records", "pairs", "deep tree", "small lists", "small dicts", "empty lists", "ints", "floats",
           "ASCII strings", "set"]  # fmt: skip
SETTLED = {"GLIBC_TUNABLES": KEEP_MEMORY, **os.environ, "PYTHONHASHSEED": "0"}


class Server:
    """A process that takes a number of loops and answers with seconds."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=SETTLED)

    def __call__(self, loops):
        self.process.stdin.write(f"{loops}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args} ended with status {self.process.wait()}")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve(direction, path):
    """_pickle's side: what library.c is for the library."""
    import _pickle

    data = Path(path).read_bytes()
    obj = _pickle.loads(data) if direction == "writes" else None
    loads, dumps, clock = _pickle.loads, _pickle.dumps, time.thread_time
    for line in sys.stdin:
        loops = range(int(line))
        start = clock()
        if direction == "reads":
            for _ in loops:
                loads(data)
        else:
            for _ in loops:
                dumps(obj, 5)
        print(clock() - start, flush=True)


def build_program(build):
    subprocess.run(["ninja", "-C", build, "--quiet", "bench/codec/library"], check=True)
    return build / "bench" / "codec" / "library"


def weigh(program, path):
    """What library.c says of one reading and writing: {name: number}."""
    done = subprocess.run([program, "weigh", path], check=True, capture_output=True, text=True)
    words = done.stdout.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


def measure_case(program, case, options, folder):
    path = folder / "case.pickle"
    path.write_bytes(pickle.dumps(case.build(options.quick), 5))
    result = {"name": case.name, "what": case.what, "nbytes": path.stat().st_size}
    for direction in DIRECTIONS:
        commands = {
            "_pickle": [sys.executable, __file__, "--serve", direction, path],
            "achar": [program, direction, path],
        }
        seconds = {name: [] for name in commands}
        for _ in range(options.processes):
            servers = {name: Server(command) for name, command in commands.items()}
            try:
                measured = run_rounds(servers, -(-options.rounds // options.processes), options.seconds)
            finally:
                for server in servers.values():
                    server.close()
            for name in seconds:
                seconds[name] += measured[name]
        own = sorted(seconds["achar"])
        result[direction] = {"ratio": ratio(seconds["_pickle"], seconds["achar"]), "seconds": own[len(own) // 2]}
    if case.name in WEIGHED:
        result["memory"] = weigh(program, path)
    return result


# --- long data


def measure_long(program, options, folder):
    """Seconds for 10 MB: what the library does with them, _pickle, and memcpy."""
    results = []
    objects = {"ASCII text": "x" * LONG_NBYTES, "Latin-1 text": "é" * (LONG_NBYTES // 2), "bytes": bytes(LONG_NBYTES)}
    for what, obj in objects.items():
        path = folder / "long.pickle"
        path.write_bytes(pickle.dumps(obj, 5))
        result = {"what": what, "nbytes": path.stat().st_size}
        for direction in DIRECTIONS:
            commands = {
                "_pickle": [sys.executable, __file__, "--serve", direction, path],
                "achar": [program, direction, path],
                "memcpy": [program, "copies", path],
            }
            servers = {name: Server(command) for name, command in commands.items()}
            try:
                measured = run_rounds(servers, options.rounds, options.seconds)
            finally:
                for server in servers.values():
                    server.close()
            result[direction] = {name: statistics.median(seconds) for name, seconds in measured.items()}
        results.append(result)
    return results


# --- growth: the same records, more and more of them, without an object for each in Python

BLOCK_NBYTES = 8 << 20  # of different records; after that they repeat


def records_pickle(path, nbytes):
    """A pickle of at least 'nbytes' bytes: one list of dicts with the same six keys, as pickle writes it."""
    keys = [b"id", b"name", b"value", b"active", b"tags", b"parent"]
    first = [b"\x8c" + bytes([len(key)]) + key + b"\x94" for key in keys]
    again = [b"h" + bytes([index]) for index in (2, 3, 5, 6, 7, 11)]  # in the memo, from the first record

    def name(text):
        return b"\x8c" + bytes([len(text)]) + text + b"\x94"

    def record(i, keys):
        parts = [b"}\x94(", keys[0], struct.pack("<ci", b"J", i), keys[1], name(b"record %d" % i),
                 keys[2], struct.pack(">cd", b"G", i / 3), keys[3], b"\x88", keys[4]]  # fmt: skip
        return b"".join([*parts, b"]\x94(", name(b"red"), name(b"t%d" % i), b"e", keys[5], b"Nu"])

    def framed(data):
        return b"\x95" + struct.pack("<Q", len(data)) + data

    def batch(start):
        return framed(b"".join(record(i, again) for i in range(start, start + 1000)) + b"e(")

    with open(path, "wb") as file:
        written = file.write(b"\x80\x05" + framed(b"]\x94(" + record(0, first)))
        block, block_nbytes, start = [], 0, 1
        while written < nbytes and block_nbytes < BLOCK_NBYTES and nbytes - written >= 64 << 10:
            block.append(batch(start))
            written += file.write(block[-1])
            block_nbytes += len(block[-1])
            start += 1000
        i = 0
        while nbytes - written >= 64 << 10:
            written += file.write(block[i % len(block)])
            i += 1
        rest = []
        while written < nbytes:
            rest.append(record(start, again))
            written += len(rest[-1])
            start += 1
        file.write(framed(b"".join([*rest, b"e."])))


def measure_growth(program, options, folder):
    points = []
    path = folder / "growth.pickle"
    for nbytes in [1000 * 10**i for i in range(7) if 1000 * 10**i <= options.largest]:
        records_pickle(path, nbytes)
        if nbytes <= 1 << 20:  # a list of as many dicts as it looks like
            records = pickle.loads(path.read_bytes())
            assert all(list(one) == list(records[0]) for one in records) and len(records) > nbytes // 100
        runs = [weigh(program, path) for _ in range(5 if nbytes < 1 << 26 else 2)]
        points.append({**runs[0], **{name: min(run[name] for run in runs) for name in ("read_ns", "write_ns")}})
        print(f"growth: {points[-1]}", flush=True)
    path.unlink(missing_ok=True)
    return points


# --- the page


def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def long_lines(long):
    """10 MB at once."""
    if not long:
        return []

    def speed(result, direction, name):
        gb_per_second = result["nbytes"] / result[direction][name] / 1e9
        return "not touched" if gb_per_second > 1000 else f"{gb_per_second:.1f}"

    lines = [
        "## 10 MB in one piece",
        "",
        "GB/s. Bytes stay where they are when they are read; text is looked at once, to see that it is UTF-8. Writing",
        "is a copy, into memory of its own each time, while memcpy always copies to the same place.",
        "",
        "| what | reads | `_pickle` | writes | `_pickle` | memcpy |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for result in long:
        cells = [speed(result, d, name) for d in DIRECTIONS for name in ("achar", "_pickle")]
        lines.append(f"| {result['what']} | " + " | ".join([*cells, speed(result, "writes", "memcpy")]) + " |")
    return [*lines, ""]


def verdict(direction, cases):
    target = TARGETS[direction]
    low = [case["name"] for case in cases if case["name"] in CONTAINERS and case[direction]["ratio"][0] < target]
    return f"at least {target}× on containers: " + ("met" if not low else f"**not met** by {', '.join(low)}")


def page(results):
    lines = [
        "# libachar, measured",
        "",
        "<!-- made by `python bench/codec/library.py`; edit that instead -->",
        "",
        "How many times as fast as CPython's `_pickle.loads` and `_pickle.dumps` the C library reads and writes the",
        "same bytes. Its graph of values is not Python's objects: it is what a C program walks. The time to free what",
        "was made is in both. In brackets the quartiles of the rounds' ratios. Both sides have glibc keep freed",
        "memory, as [libachar](../libachar.md#memory-and-threads) says a program may; without that, graphs of many",
        "values are read up to three times slower.",
        "",
        f"CPython {results['python']}; {results['machine']}; {results['rounds']} rounds, {results['date']}. The",
        f"machine's load was {results['load']:.1f} before and {results['load_after']:.1f} after; what is compared runs",
        "by turns, and its CPU time counts.",
        "",
        *(f"- {direction}, {verdict(direction, results['cases'])}" for direction in DIRECTIONS),
        "",
        "| case | bytes | reads | | writes | |",
        "|:--|--:|--:|:--|--:|:--|",
    ]
    for case in results["cases"]:
        cells = [case["name"], f"{case['nbytes']:,}"]
        for direction in DIRECTIONS:
            middle, low, high = case[direction]["ratio"]
            cells += [f"**{number(middle)}×**", f"({number(low)} to {number(high)})"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "The targets are about containers. Where `_pickle` does little itself, there is less to gain: a string that",
        "comes again is a look into the memo for both; a small pickle is mostly setting up and freeing; in datetimes",
        "nearly every value is a call, which the library notes in the log of effects and writes in its order.",
        "",
        *long_lines(results["long"]),
        "## Memory",
        "",
        "Bytes that the graph takes beyond the input, divided by the number of places in it where a value stands,",
        f"a dict's keys included; the target is at most {BYTES_PER_VALUE}. *Peak* is while reading, with the memo and",
        "the stack. Writing to a sink takes some 80 KB, whatever the size.",
        "",
        "| case | values | bytes a value | at the peak |",
        "|:--|--:|--:|--:|",
    ]
    for case in results["cases"]:
        if "memory" in case:
            m = case["memory"]
            kept, peak = m["kept"] / m["values"], m["read_peak"] / m["values"]
            cells = [f"{value:.1f}" + (" **not met**" if value > BYTES_PER_VALUE else "") for value in (kept, peak)]
            lines.append(f"| {case['name']} | {m['values']:,} | " + " | ".join(cells) + " |")
    if results["growth"]:
        lines += [
            "",
            "## Growth",
            "",
            "Records like those of the case above, more and more of them. Each size is read and written once in a",
            "process of its own, so the kernel's time to hand out memory for the first time is in it; the best of a",
            "few processes. What is written goes to a sink.",
            "",
            "![time and peak memory by size of the input](library-growth.svg)",
            "",
            "| input | read ns/byte | write ns/byte | graph bytes/byte | peak bytes/byte |",
            "|--:|--:|--:|--:|--:|",
        ]
        for p in results["growth"]:
            per = [p[name] / p["input"] for name in ("read_ns", "write_ns", "kept", "read_peak")]
            lines.append(f"| {p['input']:,} | " + " | ".join(f"{value:.2f}" for value in per) + " |")
    return "\n".join(lines) + "\n"


def draw(points, path):
    """Two log-log panels: what grows linearly is a straight line of slope 1."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "achar"
    matplotlib.rcParams["font.family"] = "sans-serif"
    import matplotlib.pyplot as plot

    sizes = [p["input"] for p in points]
    seconds = [("read", "read_ns", 1e-9), ("write", "write_ns", 1e-9)]
    memory = [("graph", "kept", 1), ("peak while reading", "read_peak", 1), ("while writing", "write_peak", 1)]
    panels = [
        (title, [(label, [p[name] * unit for p in points]) for label, name, unit in lines])
        for title, lines in [("seconds", seconds), ("bytes of memory", memory)]
    ]
    figure, axes = plot.subplots(1, 2, figsize=(10, 4))
    for axis, (title, lines) in zip(axes, panels, strict=True):
        for name, values in lines:
            axis.plot(sizes, values, marker="o", markersize=4, label=name)
        middle = len(sizes) // 2  # a line of slope 1 through the first curve's middle
        axis.plot(sizes, [lines[0][1][middle] * size / sizes[middle] for size in sizes], color="#bbbbbb", linewidth=1,
                  zorder=0, label="in proportion")  # fmt: skip
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("bytes of input")
        axis.set_title(title)
        axis.legend(frameon=False)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plot.close(figure)


def size(text):
    units = {"k": 10**3, "m": 10**6, "g": 10**9}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def measure(options):
    import datetime
    import platform

    program = build_program(options.build)
    cases = [case for case in [*CASES, *MORE_CASES] if not case.out_of_band]
    if options.only:
        cases = [case for case in cases if case.name in options.only.split(",")]
    results = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} CPUs",
        "rounds": options.rounds,
        "date": datetime.date.today().isoformat(),
        "load": os.getloadavg()[0],
        "cases": [],
        "long": [],
        "growth": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            result = measure_case(program, case, options, Path(folder))
            results["cases"].append(result)
            print(f"{case.name}: " + ", ".join(f"{d} {number(result[d]['ratio'][0])}×" for d in DIRECTIONS), flush=True)
        if not options.only:
            results["long"] = measure_long(program, options, Path(folder))
        results["growth"] = measure_growth(program, options, Path(folder))
        results["load_after"] = os.getloadavg()[0]
    for direction in DIRECTIONS:
        ratios = [result[direction]["ratio"][0] for result in results["cases"] if result["name"] in CONTAINERS]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"{direction}: geometric mean over containers {mean:.2f}×")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--serve", nargs=2, metavar=("DIRECTION", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="tiny data, one round")
    parser.add_argument("--only", help="these cases, separated by commas")
    parser.add_argument("--rounds", type=int, help="how often each side is timed (21)")
    parser.add_argument("--processes", type=int, help="over how many processes the rounds are spread (3)")
    parser.add_argument("--seconds", type=float, help="the least that one timing takes (0.02)")
    parser.add_argument("--largest", type=size, help="of the inputs that show the growth (1g)")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="where ninja builds")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "benchmarks")
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    options.rounds = options.rounds or (1 if options.quick else 21)
    options.processes = options.processes or (1 if options.quick else 3)
    options.seconds = options.seconds if options.seconds is not None else (0 if options.quick else 0.02)
    options.largest = options.largest if options.largest is not None else (10**4 if options.quick else 10**9)
    results = measure(options)
    text = page(results)
    if options.quick or options.only:
        print(text)
        return
    options.docs.mkdir(parents=True, exist_ok=True)
    (options.docs / "library.md").write_text(text)
    if results["growth"]:
        draw(results["growth"], options.docs / "library-growth.svg")
    out = ROOT / "build" / "bench" / "library.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{options.docs / 'library.md'}; results: {out}")


if __name__ == "__main__":
    main()
