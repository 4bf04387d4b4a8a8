"""Executors work wherever Python code runs, without a __main__ guard."""

import pytest

# A blank line ends a block in the REPL.
PROGRAM = """
import achar

FACTOR = 3

class MyError(Exception):
    def __init__(self, *, n):
        super().__init__(n)
        self.n = n

def helper(n):
    if n == 5:
        raise MyError(n=n)
    return n * FACTOR

def task(n):
    return helper(n)

ex = achar.Executor(2)
print(list(ex.map(task, range(4))))
try:
    ex.submit(task, 5).result()
except MyError as error:
    print("MyError", error.n)

ex.shutdown()
"""


@pytest.mark.parametrize("how", ["script", "-c", "stdin", "repl"])
def test_no_guard(run, how):
    assert run(PROGRAM, how=how) == "[0, 3, 6, 9]\nMyError 5\n"


def test_redefinition_in_the_repl(run):
    out = run(
        """
import achar
ex = achar.Executor(1)
def f():
    return 1

print(ex.submit(f).result())
def f():
    return 2

print(ex.submit(f).result())
ex.shutdown()
""",
        how="repl",
    )
    assert out == "1\n2\n"


def test_main_script_is_not_run_again(run, tmp_path):
    out = run(f"""
        import os
        import achar
        with open({str(tmp_path / "ran")!r}, "a") as file:
            file.write("x")
        with achar.Executor(2) as ex:
            print(sorted(set(ex.map(lambda n: __name__, range(4)))))
        """)
    assert out == "['__main__']\n"
    assert (tmp_path / "ran").read_text() == "x"


def test_prints_of_tasks_come_before_their_results(run):
    out = run("""
        import achar
        def task(n):
            print("task", n)
        with achar.Executor(1, output="plain") as ex:
            ex._pool.be_patient(60)
            for n in range(3):
                ex.submit(task, n).result()
                print("client", n, flush=True)
        """)
    assert out == "task 0\nclient 0\ntask 1\nclient 1\ntask 2\nclient 2\n"


def test_tasks_do_not_read_the_clients_stdin(run):
    out = run(
        """
import sys
import achar
with achar.Executor(1) as ex:
    print(repr(ex.submit(sys.stdin.__class__, open("/dev/null", "rb")).exception() is not None))
    print(repr(ex.submit(eval, "__import__('sys').stdin.read()").result()))
""",
        how="stdin",
    )
    assert out == "True\n''\n"


OPTIONS = """
import subprocess, sys
program = f"import sys; sys.path[:] = {sys.path!r}" + '''
import achar
with achar.Executor(1) as ex:
    flags = ex.submit(eval, "tuple(__import__('sys').flags)").result()
assert flags == tuple(sys.flags), (flags, sys.flags)
print(sys.flags.optimize, sys.flags.utf8_mode, sys.flags.isolated)
'''
for options in (["-O"], ["-X", "utf8"], ["-I"]):
    subprocess.run([sys.executable, *options, "-c", program], check=True)
"""


def test_interpreter_options_reach_the_workers(run):
    assert run(OPTIONS) == "1 0 0\n0 1 0\n0 0 1\n"
