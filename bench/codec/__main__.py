"""The codec benchmark: achar.pickle against _pickle, the floor of loads, and other serializers.

    python bench/codec                     measure with this interpreter, write results as JSON
    python bench/codec --quick             the same in seconds, with tiny data: does it work at all?
    python bench/codec --only ints,set     some cases
    python bench/codec --direction dumps --no-peers
    python bench/codec --check             only the proof that everyone gives back what they were given
    python bench/codec report FILE...      results to docs/benchmarks/codec.md and pictures

How it measures is in timing.py, who takes part in contestants.py, what in cases.py, and what the
floor is in floor/floor.c.
"""

import argparse
import datetime
import gc
import json
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import performance
import report
from cases import CASES, Case
from contestants import BASELINE, FLOOR, PROTOCOL, SUBJECT, gather
from equality import difference
from runner import Runner
from timing import ratio, run_rounds

ROOT = Path(__file__).resolve().parents[2]


def prepare(case, obj, contestants):
    """
    ({name: (data, buffers)}, {name: why it does not take part}) after the proof that each gives back
    what it was given, and that achar.pickle's bytes are _pickle's.
    """
    prepared, refused = {}, {}
    expected = None
    for contestant in contestants:
        own = contestant.is_pickle or contestant.name == FLOOR
        try:
            if case.out_of_band and not own:
                raise NotImplementedError("no out-of-band buffers")
            data, buffers = contestant.dump(obj, case.out_of_band)
            back = contestant.load(data, buffers)
        except Exception as error:
            if own:
                raise
            refused[contestant.name] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            continue
        if contestant.name == BASELINE:
            expected = back
        wrong = difference(expected, back, sharing=own)
        if wrong and own:
            raise AssertionError(f"{case.name}: {contestant.name} is wrong: {wrong}")
        if wrong:
            refused[contestant.name] = wrong
            continue
        prepared[contestant.name] = (data, buffers)
    if prepared[SUBJECT][0] != prepared[BASELINE][0]:
        raise AssertionError(f"{case.name}: the bytes of {SUBJECT} are not {BASELINE}'s")
    return prepared, refused


def summarize(seconds):
    """{name: figures} of one direction; a ratio is how many times as fast as _pickle, or as the floor is."""
    figures = {}
    for name, own in seconds.items():
        median, low, high = ratio(seconds[BASELINE], own)
        figures[name] = {"seconds": sorted(own)[len(own) // 2], "ratio": median, "quartiles": [low, high]}
        if FLOOR in seconds and name in (BASELINE, SUBJECT, "achar"):
            median, low, high = ratio(own, seconds[FLOOR])
            figures[name].update(floors=median, floors_quartiles=[low, high])
    return figures


def run_direction(direction, case_name, names, options):
    """The figures, of rounds that are spread over several processes of each contestant."""
    seconds = {name: [] for name in names}
    for _ in range(options.processes):
        timers = {}
        try:
            for name in names:
                timers[name] = Runner(name, case_name, direction, options.quick)
            measured = run_rounds(timers, -(-options.rounds // options.processes), options.seconds)
        finally:
            for timer in timers.values():
                timer.close()
        for name in names:
            seconds[name] += measured[name]
    return summarize(seconds)


def measure_case(case, contestants, options):
    obj = case.build(options.quick or options.check)
    prepared, refused = prepare(case, obj, contestants)
    result = {"name": case.name, "what": case.what, "refused": refused}
    result["nbytes"] = {
        name: len(data) + sum(buffer.raw().nbytes for buffer in buffers or ())
        for name, (data, buffers) in prepared.items()
        if name != FLOOR
    }
    if options.check:
        return result
    names = list(prepared)
    del obj, prepared
    if options.direction != "loads":
        result["dumps"] = run_direction("dumps", case.name, [name for name in names if name != FLOOR], options)
    if options.direction != "dumps":
        result["loads"] = run_direction("loads", case.name, names, options)
    return result


def measure_performance(name, contestants, options):
    """One benchmark of pyperformance, in its one direction."""
    direction = performance.BENCHMARKS[name][0]
    able = [one for one in contestants if one.is_pickle or one.name == FLOOR]
    prepare(Case(name, "", None), performance.objects(name), able)
    names = [one.name for one in able if one.name != FLOOR or direction == "loads"]
    result = {
        "name": name,
        "what": f"pyperformance's benchmark {name}: one round of its loop",
        "nbytes": {},
        "refused": {one.name: "takes other arguments" for one in contestants if one not in able},
    }
    if not options.check:
        result[direction] = run_direction(direction, name, names, options)
    return result


def machine():
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{model or platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, {platform.system()}"


def interpreter_build():
    """How the interpreter, and so _pickle, was compiled: it matters as much as the machine."""
    configured = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimized = [flag for flag in (sysconfig.get_config_var("OPT") or "").split() if flag.startswith("-O")]
    linked = "shared libpython" if sysconfig.get_config_var("Py_ENABLE_SHARED") else "static libpython"
    profiled = "with" if "--enable-optimizations" in configured else "without"
    whole = "with" if "--with-lto" in configured else "without"
    return f"{' '.join(optimized)}, {profiled} PGO, {whole} LTO, {linked}"


def commit():
    """What was measured, if git knows."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "an unknown commit"


def measure(options):
    contestants, absent = gather(peers=not options.no_peers)
    benchmarks = list(performance.BENCHMARKS) if performance.find_benchmark() else []
    wanted = options.only.split(",") if options.only else None
    names = [case.name for case in CASES] + benchmarks
    unknown = set(wanted or ()) - set(names)
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if not benchmarks:
        absent["pyperformance"] = "its benchmarks are not installed"
    for name, why in absent.items():
        print(f"without {name}: {why}")

    results = []

    def run(name, measured):
        if wanted and name not in wanted:
            return
        result = measured()
        gc.collect()
        results.append(result)
        if not options.check:
            print(report.progress_line(result, judged=not options.quick), flush=True)

    for case in CASES:
        run(case.name, lambda case=case: measure_case(case, contestants, options))
    for name in benchmarks:
        if options.direction not in (None, performance.BENCHMARKS[name][0]):
            continue
        run(name, lambda name=name: measure_performance(name, contestants, options))

    return {
        "python": platform.python_version(),
        "build": interpreter_build(),
        "machine": machine(),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "protocol": PROTOCOL,
        "quick": options.quick,
        "rounds": options.rounds,
        "processes": options.processes,
        "versions": {contestant.name: contestant.version for contestant in contestants},
        "absent": absent,
        "cases": results,
    }


def main():
    parser = argparse.ArgumentParser(prog="bench/codec", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny data, one round")
    parser.add_argument("--check", action="store_true", help="time nothing; tiny data")
    parser.add_argument("--only", help="these cases, separated by commas")
    parser.add_argument("--direction", choices=["dumps", "loads"], help="only this one")
    parser.add_argument("--no-peers", action="store_true", help="only achar and _pickle")
    parser.add_argument("--rounds", type=int, help="how often each contestant is timed (21)")
    parser.add_argument("--processes", type=int, help="over how many processes the rounds are spread (3)")
    parser.add_argument("--seconds", type=float, help="the least that one timing takes (0.02)")
    parser.add_argument("--out", type=Path, help="where the results go (build/bench/codec-VERSION.json)")
    commands = parser.add_subparsers(dest="command")
    reporting = commands.add_parser("report", help="make the table and the pictures")
    reporting.add_argument("files", nargs="+", type=Path)
    reporting.add_argument("--docs", type=Path, default=ROOT / "docs" / "benchmarks")
    reporting.add_argument("--no-pictures", action="store_true", help="without matplotlib")
    options = parser.parse_args()

    if options.command == "report":
        report.write([json.loads(path.read_text()) for path in options.files], options.docs, not options.no_pictures)
        return
    options.rounds = options.rounds or (1 if options.quick else 21)
    options.processes = options.processes or (1 if options.quick else 3)
    options.seconds = options.seconds if options.seconds is not None else (0 if options.quick else 0.02)
    results = measure(options)
    if options.check:
        print(f"{len(results['cases'])} cases: achar.pickle's bytes are _pickle's, and all load to equal objects")
        return
    out = options.out or ROOT / "build" / "bench" / f"codec-{results['python']}{'-quick' if options.quick else ''}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    if not options.quick:
        print(report.verdict(results))
    print(f"results: {out}")


if __name__ == "__main__":
    main()
