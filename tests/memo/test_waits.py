"""Who waits for what another computes, and what ends that: a limit, a signal, the other's death."""

import os
import signal
import subprocess
import sys
import threading

import achar
import pytest
from achar import _memo_flights

HOLDER = """
import os, sys, threading, achar
memo, go = achar.Memo(sys.argv[1]), threading.Event()
@memo(key="name")
def f(x):
    os.write(1, b"begun\\n")
    go.wait()
    return "there"
executor = achar.Executor(2, kind="thread")
for x in (1, 2):
    threading.Thread(target=f, args=(x,)).start()
tasks = [executor.options(memo=memo).submit(f, x) for x in (3, 4)]
sys.stdin.readline()
go.set()
executor.shutdown()
"""

CALLS, TASKS = (1, 2), (3, 4)  # what the holder computes


class Interrupted(BaseException):
    pass


def here(x):
    return "here"


def as_f(function):
    function.__module__, function.__qualname__ = "__main__", "f"
    return function


@pytest.fixture
def holder(tmp_path):
    """A process that computes f(1) and f(2) by calls, f(3) and f(4) by tasks, until it reads a line."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "m"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert [process.stdout.readline() for _ in range(4)] == ["begun\n"] * 4
            yield process
        finally:
            process.kill()


def test_a_limit_ends_the_wait_for_a_process_that_stands_still(tmp_path, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    with achar.Memo(tmp_path / "m", wait=0.2) as memo, achar.Executor(1, kind="thread") as executor:
        f, tasks = memo(key="name")(as_f(here)), executor.options(memo=memo)
        assert f(CALLS[0]) == f(TASKS[0]) == "here"
        futures = [tasks.submit(f, x) for x in (CALLS[1], TASKS[1])]
        assert [future.result(120) for future in futures] == ["here"] * 2
        assert memo.stats()["results"] == 4
    os.kill(holder.pid, signal.SIGCONT)
    holder.communicate("go\n", timeout=120)
    with achar.Memo(tmp_path / "m") as memo:  # who comes last has stored last
        f = memo(key="name")(as_f(here))
        assert [f(x) for x in CALLS + TASKS] == ["there"] * 4


def test_whom_tasks_wait_for_dies(tmp_path, holder):
    with achar.Memo(tmp_path / "m") as memo, achar.Executor(1, kind="thread") as executor:
        f = memo(key="name")(as_f(here))
        futures = [executor.options(memo=memo).submit(f, x) for x in (CALLS[0], TASKS[0])]
        assert not any(future.done() for future in futures)
        holder.kill()
        assert [future.result(120) for future in futures] == ["here"] * 2


@pytest.mark.parametrize("x", [CALLS[0], TASKS[0]], ids=["call", "task"])
def test_whom_a_call_waits_for_dies(tmp_path, holder, x):
    """One at a time: while a thread is inside a call, the process's others wait for no task."""
    results = []
    with achar.Memo(tmp_path / "m") as memo:
        f = memo(key="name")(as_f(here))
        thread = threading.Thread(target=lambda: results.append(f(x)), daemon=True)
        thread.start()
        assert not results
        holder.kill()
        thread.join(120)
        assert results == ["here"]


def test_a_signal_ends_the_wait_for_a_task_of_another_process(tmp_path, holder):
    def interrupt(*_):
        raise Interrupted

    os.kill(holder.pid, signal.SIGSTOP)
    handler = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with achar.Memo(tmp_path / "m") as memo:
            f = memo(key="name")(as_f(here))
            with pytest.raises(Interrupted):
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
                f(TASKS[0])
            holder.kill()
            assert f(TASKS[0]) == "here"  # nothing is left over
    finally:
        signal.signal(signal.SIGUSR1, handler)


def test_a_limit_within_the_process(tmp_path):
    begun, go, calls = threading.Event(), threading.Event(), []
    with achar.Memo(tmp_path / "m", wait=0.05) as memo:

        @memo(key="name")
        def f(x):
            calls.append(x)
            if len(calls) == 1:
                begun.set()
                assert go.wait(120)
            return x

        thread = threading.Thread(target=f, args=(1,))
        thread.start()
        assert begun.wait(120)
        assert f(1) == 1 and calls == [1, 1]
        go.set()
        thread.join(120)
    with pytest.raises(ValueError, match="wait"):
        achar.Memo(tmp_path / "m", wait=-1)


ASKS = """
import sys, achar
memo = achar.Memo(sys.argv[1])
@memo(key="name")
def f(x):
    return "there"
keys = [bytes.fromhex(f.key(x)) for x in range(5)]
print([memo._store.task_is_elsewhere(key) for key in keys], f(4))
"""


def test_more_tasks_than_others_are_told_of(tmp_path, monkeypatch, interpreters):
    """Those are computed by others, too, who do not wait; the next are told of again."""
    go = threading.Event()
    script = tmp_path / "asks.py"
    script.write_text(ASKS)
    before = _memo_flights._locks_count
    monkeypatch.setattr(_memo_flights, "LOCKS_MAX", before + 3)

    @as_f
    def f(x):
        assert go.wait(120)
        return "here"

    with achar.Memo(tmp_path / "m") as memo, achar.Executor(1, kind="thread") as executor:
        f = memo(key="name")(f)
        tasks = executor.options(memo=memo)
        futures = [tasks.submit(f, x) for x in range(5)]
        assert interpreters.run(script, tmp_path / "m") == "[1, 1, 1, 0, 0] there\n"
        go.set()
        assert [future.result(120) for future in futures] == ["here"] * 5
        assert _memo_flights._locks_count == before and memo.stats()["results"] == 5
        go.clear()
        memo.invalidate()
        futures = [tasks.submit(f, x) for x in (3, 4, 0)]
        memo.put("not waited for", 1)
        go.set()
        assert [future.result(120) for future in futures] == ["here"] * 3


BODIES = {}


def asks_for_itself(x):
    import test_waits  # what it names would be sent with it

    return test_waits.BODIES[x]()


def test_a_call_that_waits_for_the_same_call_as_a_task(tmp_path, monkeypatch):
    """It asks for the task's result itself: then the task is computed, for nobody else will."""
    monkeypatch.setitem(sys.modules, "test_waits", sys.modules[__name__])
    with achar.Memo(tmp_path / "m") as memo, achar.Executor(1, kind="thread") as executor:
        f, caller, futures = memo(key="name")(asks_for_itself), threading.get_ident(), []

        def submit():
            futures.append(executor.options(memo=memo).submit(f, 1))

        def body():
            if threading.get_ident() != caller:
                return "as a task"
            thread = threading.Thread(target=submit)
            thread.start()
            thread.join(120)
            assert not futures[0].done()
            return futures[0].result(120)

        monkeypatch.setitem(BODIES, 1, body)
        assert f(1) == "as a task"
