"""cloudpickle's own tests against achar.compat.cloudpickle, on every CPython of this machine.

    python tests/conformance/cloudpickle_suite.py [--here | --only VERSION] [--keep FOLDER] [-k EXPRESSION]

The source archive is downloaded from PyPI by pip; it is the last one that contains the tests. For
each interpreter they run in a folder of their own, where achar's module stands under the name
cloudpickle; as many at once as there are processors. Prints how many passed, failed and were
excluded; exits with 1 if one that is not excluded fails, or one that is excluded passes in every
class that has it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matrix

VERSION = "3.1.0"
TIME_LIMIT_S = 1800

# Tests that hold cloudpickle to what achar does otherwise, by name, with the reason.
WRITABLE = "asks for a copy of the contents of a file that is open for writing, too; achar refuses such a file"
OLD = "loads a stream of an older cloudpickle, which names functions of cloudpickle's own"
SAME_BYTES = "asks for the same bytes in each process; achar writes ids of classes, and who sent it"
EXCLUDED = {
    "test_closed_file": "asks for the words 'Cannot pickle closed files'; achar refuses them, too, in its own",
    "test_pickling_special_file_handles": "asks that sys.stdin be refused; it becomes the receiver's, as sys.stdout",
    "test_plus_mode": WRITABLE,
    "test_seek": WRITABLE,
    "test_importing_multiprocessing_does_not_impact_whichmodule": "wants old numpy's names; cloudpickle fails it, too",
    "test_deterministic_dynamic_class_attr_ordering_for_chained_pickling": SAME_BYTES,
    "test_deterministic_str_interning_for_chained_dynamic_class_pickling": SAME_BYTES,
    "test_dynamic_class_determinist_subworker_tuple_memoization": SAME_BYTES,
    "test_dynamic_func_deterministic_roundtrip": SAME_BYTES,
    "test_simple_func": OLD,
    "test_simple_class": OLD,
    "test_dynamic_module": OLD,
    "test_simple_enum": OLD,
    "test_complex_class": OLD,
    "test_complex_function": OLD,
    "test_nested_function": OLD,
}


def download(folder):
    constraint = folder / "constraint.txt"
    constraint.write_text("flit_core<4\n")  # what pip makes metadata with; later ones refuse this archive
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
         f"cloudpickle=={VERSION}", "--dest", str(folder)],
        env={**os.environ, "PIP_CONSTRAINT": str(constraint)}, capture_output=True, text=True,
    )  # fmt: skip
    archives = list(folder.glob("cloudpickle-*.tar.gz"))
    if done.returncode or not archives:
        raise SystemExit(f"cloudpickle {VERSION} cannot be downloaded\n{done.stderr}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(folder)
    return folder / f"cloudpickle-{VERSION}"


def substitute(source, site):
    """Puts achar's module where cloudpickle's was; its tests give child processes no other path."""
    package = source / "cloudpickle"
    for file in package.iterdir():
        if file.is_file():
            file.unlink()
    names = "from achar.compat.cloudpickle.cloudpickle import *\n"
    (package / "__init__.py").write_text(f'from . import cloudpickle\n{names}__version__ = "{VERSION}"\n')
    (package / "cloudpickle.py").write_text(
        "import achar.compat.cloudpickle.cloudpickle as _module\n"
        "globals().update({k: v for k, v in vars(_module).items() if not k.startswith('__')})\n"
    )
    (source / "achar").symlink_to(site / "achar")


def last_name(test):
    return test.rpartition("::")[2]


def run_suite(interpreter, original, folder, options):
    """(whether all went well, what to print)."""
    source = folder / interpreter.version
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(original, source)
    substitute(source, interpreter.site)
    path = os.pathsep.join([str(source), str(source / "tests" / "cloudpickle_testpkg")])
    command = [str(interpreter.venv_python), "-X", "faulthandler", "-m", "pytest", "tests",
               "-v", "-rfE", "--tb=short", "-p", "no:cacheprovider"]  # fmt: skip
    began = time.monotonic()
    try:
        done = subprocess.run(
            command + (["-k", options.k] if options.k else []), cwd=source, text=True, timeout=TIME_LIMIT_S,
            env={**interpreter.environment(), "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        # Here, output is bytes whatever was asked for.
        output = (error.stdout or b"").decode(errors="replace")
        return False, f"CPython {interpreter.version}: not finished within {TIME_LIMIT_S} s\n{output}"
    if options.keep:
        (source / "output.txt").write_text(done.stdout)
    reasons = dict(re.findall(r"^(?:FAILED|ERROR) (\S+) - (.*)$", done.stdout, re.M))
    outcomes = re.findall(r"^(tests/\S+) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", done.stdout, re.M)
    counts = Counter(outcome for _, outcome in outcomes)
    failed = [test for test, outcome in outcomes if outcome in ("FAILED", "ERROR")]
    unexpected = [test for test in failed if last_name(test) not in EXCLUDED]
    # Old streams are there for some versions of Python only; for others, their tests are skipped.
    excused = {last_name(test) for test, outcome in outcomes if outcome in ("FAILED", "ERROR", "SKIPPED")}
    gone = [] if options.k else [name for name in EXCLUDED if name not in excused]
    lines = [
        f"CPython {interpreter.version:8} {counts['PASSED']:4} passed {len(unexpected):3} failed"
        f" {len(failed) - len(unexpected):3} excluded by name {counts['SKIPPED']:3} skipped"
        f" {counts['XFAIL']:3} expected by cloudpickle itself to fail in {time.monotonic() - began:.0f} s"
    ]
    lines += [f"    FAILED {test}  {reasons.get(test, '')}" for test in unexpected]
    lines += [f"    excluded, but it passes: {name}" for name in gone]
    # 0: all passed; 1: some failed. All else is pytest's own trouble, or a crash.
    if done.returncode not in (0, 1) or not counts["PASSED"]:
        return False, "\n".join([*lines, f"    exit status {done.returncode}", done.stdout])
    return not (unexpected or gone), "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--here", action="store_true", help="only the interpreter that runs this")
    parser.add_argument("--only", help="only interpreters whose version begins so")
    parser.add_argument("--keep", help="a folder to work in, which stays")
    parser.add_argument("-k", help="pytest's expression")
    options = parser.parse_args()

    began = time.monotonic()
    found = matrix.here() if options.here else matrix.discover()
    interpreters = [one for one in found if one.version.startswith(options.only or "")]
    if not interpreters:
        print("no CPython with headers and a test package here")
        return 1
    for one in interpreters:
        one.build()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(options.keep or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        original = folder / f"cloudpickle-{VERSION}"
        if not original.exists():
            download(folder)
        good = True

        def run_one(interpreter):
            interpreter.make_venv()
            return run_suite(interpreter, original, folder, options)

        for one_good, text in pool.map(run_one, interpreters):
            print(text, flush=True)
            good = good and one_good
    for name, why in EXCLUDED.items():
        print(f"  excluded {name}: {why}")
    versions = ", ".join(one.version for one in interpreters)
    print(
        f"cloudpickle {VERSION}'s own tests on {versions}: {'passed' if good else 'FAILED'}"
        f" in {time.monotonic() - began:.0f} s"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
