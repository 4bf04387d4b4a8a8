"""The C library beside _pickle: how fast it reads and writes, and what memory that takes.

    python bench/codec/library.py                    measure; docs/benchmarks/library.md and its picture
    python bench/codec/library.py --largest 1g       growth up to 1 GB of input (64m; 0 for none)
    python bench/codec/library.py --quick            tiny: does it work? Nothing is written to docs/

The C side is library.c, which ninja builds. Both sides are processes that say how many seconds so many
loops took (timing.py has the method); a ratio is how many times as fast as _pickle the library is.
"""

import argparse
import json
import math
import os
import pickle
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

MORE_CASES = [
    Case("small lists", "50,000 lists of two ints and a str",
         lambda n: [[i, i + 1, str(i)] for i in range(n)], 50_000, 9),
    Case("small dicts", "50,000 dicts of two ints", lambda n: [{"a": i, "b": i} for i in range(n)], 50_000, 9),
    Case("empty lists", "100,000 empty lists", lambda n: [[] for _ in range(n)], 100_000, 9),
    Case("long text", "a str of 10 MB", lambda n: "x" * n, 10_000_000, 1000),
]  # fmt: skip
# What the targets are about: they are met, or not, by these.
CONTAINERS = {
    "small dict", "request", "records", "dataclasses", "slotted dataclasses", "namedtuples", "pairs", "deep tree",
    "nested", "small lists", "small dicts", "empty lists",
}  # fmt: skip
# What surely is a tree, so that the values can be counted, and many.
WEIGHED = ["records", "pairs", "deep tree", "small lists", "small dicts", "empty lists", "ints", "floats",
           "ASCII strings", "set"]  # fmt: skip


class Server:
    """A process that takes a number of loops and answers with seconds."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}
        )

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


# --- growth: the same records, more and more of them, without an object for each in Python


def records_pickle(path, nbytes):
    """A pickle of at least 'nbytes' bytes: one list of dicts with the same six keys, as pickle writes it."""
    known = {}  # key to memo index
    memo_count = 1  # the list
    frame = [b"]\x94("]
    frame_nbytes = written = i = 0

    def key(text):
        nonlocal memo_count
        if text in known:
            return b"h" + bytes([known[text]])
        known[text] = memo_count
        return name(text)

    def name(text):
        nonlocal memo_count
        memo_count += 1
        return b"\x8c" + bytes([len(text)]) + text + b"\x94"

    with open(path, "wb") as file:

        def flush():
            nonlocal frame, frame_nbytes, written
            data = b"".join(frame)
            file.write(b"\x95" + struct.pack("<Q", len(data)) + data)
            written += len(data) + 9
            frame, frame_nbytes = [], 0

        file.write(b"\x80\x05")
        while written + frame_nbytes < nbytes:
            if i % 1000 == 0 and i != 0:
                frame.append(b"e(")
            memo_count += 1  # the dict
            parts = [b"}\x94(", key(b"id"), struct.pack("<ci", b"J", i), key(b"name"), name(b"record %d" % i),
                     key(b"value"), struct.pack(">cd", b"G", i / 3), key(b"active"), b"\x88", key(b"tags")]  # fmt: skip
            memo_count += 1  # the list of tags
            parts += [b"]\x94(", name(b"red"), name(b"t%d" % i), b"e", key(b"parent"), b"Nu"]
            record = b"".join(parts)
            frame.append(record)
            frame_nbytes += len(record)
            i += 1
            if frame_nbytes >= 64 << 10:
                flush()
        frame.append(b"e.")
        flush()


def measure_growth(program, options, folder):
    points = []
    nbytes = 1 << 10
    path = folder / "growth.pickle"
    while nbytes <= options.largest:
        records_pickle(path, nbytes)
        if nbytes <= 1 << 20:  # a list of as many dicts as it looks like
            assert len(pickle.loads(path.read_bytes())) > 1
        runs = [weigh(program, path) for _ in range(3 if nbytes < 1 << 28 else 1)]
        points.append({**runs[0], **{name: min(run[name] for run in runs) for name in ("read_ns", "write_ns")}})
        print(f"growth: {points[-1]}", flush=True)
        nbytes *= 4
    path.unlink(missing_ok=True)
    return points


# --- the page


def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


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
        "was made is in both. In brackets the quartiles of the rounds' ratios.",
        "",
        f"CPython {results['python']}; {results['machine']}; {results['rounds']} rounds, {results['date']}.",
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
            over = "" if kept <= BYTES_PER_VALUE else " **not met**"
            lines.append(f"| {case['name']} | {m['values']:,} | {kept:.1f}{over} | {peak:.1f} |")
    if results["growth"]:
        lines += [
            "",
            "## Growth",
            "",
            "Records like those of the case above, more and more of them, each size read and written once in a fresh",
            "process: the kernel's time to hand out memory for the first time is in it.",
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
        axis.set_xscale("log", base=2)
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
    units = {"k": 10, "m": 20, "g": 30}
    return int(text[:-1]) << units[text[-1]] if text[-1] in units else int(text)


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
        "cases": [],
        "growth": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            result = measure_case(program, case, options, Path(folder))
            results["cases"].append(result)
            print(f"{case.name}: " + ", ".join(f"{d} {number(result[d]['ratio'][0])}×" for d in DIRECTIONS), flush=True)
        results["growth"] = measure_growth(program, options, Path(folder))
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
    parser.add_argument("--largest", type=size, help="of the inputs that show the growth (64m)")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="where ninja builds")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "benchmarks")
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    options.rounds = options.rounds or (1 if options.quick else 21)
    options.processes = options.processes or (1 if options.quick else 3)
    options.seconds = options.seconds if options.seconds is not None else (0 if options.quick else 0.02)
    options.largest = options.largest if options.largest is not None else (1 << 14 if options.quick else 1 << 26)
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
