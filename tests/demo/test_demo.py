"""`make demo`, smaller: what it prints is true, and the inputs that fail on purpose do."""

import io
import os
import pickletools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def output():
    """What `make demo` prints when it indexes 300 library files."""
    done = subprocess.run(
        ["make", "--no-print-directory", "demo", "DEMO_FILES=300"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_python_reads_what_c_wrote_and_prints_the_same(output):
    in_c, in_python = output.split("== in Python: pickle.loads of the same bytes\n")
    read_back = in_c.split("read back:\n")[1].strip().splitlines()
    assert in_python.split("\n\n")[0].splitlines() == read_back
    assert [line.split(" = ")[0] for line in read_back] == ["earth", "venus", "orbit"]


def test_the_disassembly_is_pickletools(output):
    pickled = (ROOT / os.environ.get("BUILD", "build") / "planets.pickle").read_bytes()
    text = io.StringIO()
    pickletools.dis(pickled, text)
    assert text.getvalue() in output


@pytest.mark.parametrize(
    "name, exception, message",
    [
        ("kills_its_worker.py", "WorkerDied", "SIGSEGV"),
        ("not_utf8.py", "UnicodeDecodeError", "can't decode byte 0xe9"),
        ("syntax_error.py", "SyntaxError", r"invalid syntax \(syntax_error.py, line 1\)"),
        ("too_large.py", "TooLarge", "20,368 bytes, the limit is 10,000"),
    ],
)
def test_each_input_that_fails_on_purpose_comes_back_as_its_exception(output, name, exception, message):
    assert re.search(rf"^ +data/{name} +{exception} +.*{message}", output, re.MULTILINE), output


def test_nothing_else_fails(output):
    failures = output.split("failures: the exception that came back\n")[1].split("\n\n")[0]
    assert len(re.findall(r"^  \S+\.py  ", failures, re.MULTILINE)) == 4, failures


def test_the_exception_is_the_scripts_own_class_with_its_attributes(output):
    assert "data/too_large.py is 10,368 bytes over its limit" in output


def test_results_equal_those_of_one_process(output):
    assert "check: 303 outcomes, 0 differ from those of one process" in output


def test_a_run_that_was_killed_is_finished_and_its_record_says_where_the_time_went(output):
    act = output.split("examples/resumed_run.py, killed half-way and started again\n")[1]
    found = re.match(
        r"200 tasks; kill -9 after (\d+) results\nstarted again: 200 results, (\d+) of them remembered", act
    )
    assert found and 100 == int(found[1]) <= int(found[2]) <= 200, act  # some may have ended that were not yet printed
    assert re.search(r"^  1 +was killed +\d+ +\d+ ", act, re.MULTILINE), act
    assert re.search(r"^  2 +ended +\d+ +0 ", act, re.MULTILINE), act
    assert re.search(r"^  squeeze +\d+ +\d+\.\d\d ", act, re.MULTILINE), act
    assert "check: every task was computed once, but for those that were under way" in act


@pytest.mark.parametrize("name", ["kills_its_worker.py", "too_large.py"])
def test_it_is_true_that_these_break_a_whole_process_pool(name, tmp_path):
    definitions, main = (ROOT / "examples/index_sources.py").read_text().split("\nparser = ")
    script = tmp_path / "breaks.py"
    script.write_text(
        f"""{definitions}
with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as executor:
    first = executor.submit(index_file, {str(ROOT / "examples/data" / name)!r}, DATA_LIMIT_NBYTES)
    print(type(first.exception()).__name__)
    try:
        executor.submit(int).result()
    except Exception as error:
        print(type(error).__name__)
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=150)
    assert done.stdout.split() == ["BrokenProcessPool", "BrokenProcessPool"], done.stderr
