"""CPython's own pickle tests against achar, on every CPython of this machine.

    python tests/conformance/run.py [--here | --only VERSION] [--verbose]

Two ways (pairings.py, substitute.py), each in a process of its own, as many at once as there are
processors. Prints what passed, failed and was skipped; exits with 1 upon a failure, a test that
should not have been skipped, or a machine without any interpreter to test.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matrix

HERE = Path(__file__).resolve().parent
PAIRINGS = ["ours->ours", "ours->Py", "Py->ours", "ours->C", "C->ours"]
MODULES = ["test.test_pickle", "test.test_pickletools", "test.test_picklebuffer"]
TIME_LIMIT_S = 1800

# A test may be skipped for what the machine or the interpreter's build lacks, or because it is about
# the other implementation; for nothing else.
GOOD_REASONS = [
    "32-bit",
    "not enough memory",
    "numpy",
    "has no associated pickler type",  # tests of an object's own pickler, where there are only functions
    "only verified in the python implementation",
    "only verified in the c implementation",
]


def run_one(interpreter, label, arguments):
    command = [interpreter.executable, "-X", "faulthandler", *[str(part) for part in arguments]]
    try:
        done = subprocess.run(
            command, cwd=HERE, env=interpreter.environment(), capture_output=True, text=True, timeout=TIME_LIMIT_S
        )
        result = json.loads(done.stdout) if done.returncode == 0 else None
        trouble = f"exit status {done.returncode}\n{done.stderr}"
    except subprocess.TimeoutExpired:
        result, trouble = None, f"not finished within {TIME_LIMIT_S} s"
    except ValueError:
        result, trouble = None, f"no report\n{done.stdout}\n{done.stderr}"
    if result is None:
        result = {"run": 0, "passed": 0, "failed": [[label, trouble]], "skipped": []}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--here", action="store_true", help="only the interpreter that runs this")
    parser.add_argument("--only", help="only interpreters whose version begins so")
    parser.add_argument("--verbose", action="store_true", help="also name what was skipped")
    options = parser.parse_args()

    began = time.monotonic()
    found = matrix.here() if options.here else matrix.discover()
    interpreters = [one for one in found if one.version.startswith(options.only or "")]
    if not interpreters:
        print("no CPython with headers and a test package here")
        return 1
    for one in interpreters:
        one.build()
    print(f"built for {len(interpreters)} interpreters in {time.monotonic() - began:.0f} s", flush=True)

    jobs = []
    for one in interpreters:
        for module in MODULES:
            jobs.append((one, f"{module} with achar as _pickle", ["substitute.py", one.extension, module]))
        for pairing in PAIRINGS:
            jobs.append((one, pairing, ["pairings.py", pairing]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda job: run_one(*job), jobs))

    total = {"passed": 0, "failed": 0, "skipped": 0}
    bad_skips = 0
    for (one, label, _), result in zip(jobs, results, strict=True):
        counts = {"passed": result["passed"], "failed": len(result["failed"]), "skipped": len(result["skipped"])}
        for key, count in counts.items():
            total[key] += count
        print(
            f"CPython {one.version:8} {label:42} {counts['passed']:4} passed"
            f" {counts['failed']:3} failed {counts['skipped']:3} skipped"
        )
        for test, reason in result["skipped"]:
            bad = not any(good in reason.lower() for good in GOOD_REASONS)
            bad_skips += bad
            if bad or options.verbose:
                print(f"    {'must not be ' if bad else ''}skipped: {test}: {reason}")
        for test, text in result["failed"]:
            print(f"    FAILED {test}\n" + "".join(f"        {line}\n" for line in text.splitlines()))
    versions = ", ".join(one.version for one in interpreters)
    print(
        f"CPython's own tests on {versions}: {total['passed']} passed, {total['failed']} failed,"
        f" {total['skipped']} skipped in {time.monotonic() - began:.0f} s"
    )
    return 1 if total["failed"] or bad_skips or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
