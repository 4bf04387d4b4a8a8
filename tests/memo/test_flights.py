"""Calls that several make at once, also as tasks: a wait that is interrupted, waits that would never end."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import achar
import pytest


class Interrupted(BaseException):
    pass


def test_a_wait_that_is_interrupted_as_it_ends(tmp_path):
    """Who was interrupted has begun nothing: the next computes the call."""
    fails, begun, main_waits = True, threading.Event(), threading.Event()

    def interrupt(*_):
        raise Interrupted

    with achar.Memo(tmp_path / "m") as memo:

        @memo(key="name")
        def f(x):
            begun.set()
            if fails:
                main_waits.wait(120)
                signal.raise_signal(signal.SIGUSR1)
                raise ValueError
            return x

        def call():
            with pytest.raises(ValueError):
                f(1)

        handler = signal.signal(signal.SIGUSR1, interrupt)
        try:
            first = threading.Thread(target=call)
            first.start()
            begun.wait(120)
            with pytest.raises(Interrupted):
                threading.Timer(0.05, main_waits.set).start()
                f(1)
            first.join(120)
        finally:
            signal.signal(signal.SIGUSR1, handler)
        fails, results = False, []
        again = threading.Thread(target=lambda: results.append(f(1)), daemon=True)
        again.start()
        again.join(120)
        assert results == [1]


def test_threads_that_want_each_others_calls(tmp_path):
    """Each waits for what another computes: one of them computes what it wants itself."""
    following, begun = {1: 2, 2: 3, 3: 1}, threading.Barrier(3)

    with achar.Memo(tmp_path / "m") as memo:

        @memo(key="name", ignore=["path"])
        def reached(n, path=()):
            if not path:
                begun.wait(120)
            return {n} if n in path else {n} | reached(following[n], (*path, n))

        found = []
        threads = [threading.Thread(target=lambda n=n: found.append(reached(n)), daemon=True) for n in following]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(found) == 3 and {1, 2, 3} in found


def test_tasks_and_calls_are_computed_once(tmp_path):
    command = [sys.executable, Path(__file__).with_name("shared_task.py"), tmp_path / "m"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert (done.stdout, done.stderr) == ("each computed once, and taken over; no circle\n", "")
