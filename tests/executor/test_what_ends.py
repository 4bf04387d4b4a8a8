"""A task that is told to end: which processes end with it."""

import concurrent.futures
import os
import time

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(1) as executor:
        yield executor


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_programs_are_ended_though_the_connection_is_gone(ex, tmp_path):
    path, closed = tmp_path / "pid", tmp_path / "closed"

    def bad(path, closed):
        import subprocess

        here = achar.current_executor()
        here.submit(int).result()
        here.submit(time.sleep, 0.5)
        path.write_text(str(subprocess.Popen(["sleep", "600"]).pid))
        os.closerange(3, 1000)
        closed.touch()
        while True:
            time.sleep(0.01)

    ended = ex.submit(bad, path, closed)
    while not closed.exists():
        time.sleep(0.01)
    assert ex.cancel(ended, force=True)
    with pytest.raises(concurrent.futures.CancelledError):
        ended.result(120)
    deadline = time.monotonic() + 60  # it has been killed, and has to die; for that, too, it needs a processor
    while is_alive(int(path.read_text())):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)


def test_what_a_helper_starts_is_the_helpers(tmp_path):
    """A program that the initializer has started starts another, while a task runs that is ended."""
    pid, go = tmp_path / "pid", tmp_path / "go"

    def start(pid, go):
        import subprocess

        wait = f"while ! [ -e {go} ]; do sleep 0.01; done"
        subprocess.Popen(["sh", "-c", f"{wait}; sleep 600 & echo $! > {pid}.part; mv {pid}.part {pid}; wait"])
        time.sleep(0.1)  # a task that begins in the same hundredth of a second is not told apart

    def bad(pid, go):
        go.touch()
        while True:
            time.sleep(0.01)

    with achar.Executor(1, initializer=start, initargs=(pid, go)) as ex:
        ex._pool.be_patient(60)
        ended = ex.submit(bad, pid, go)
        while not pid.exists():
            time.sleep(0.01)
        assert ex.cancel(ended, force=True)
        assert ex.submit(len, "abc").result(120) == 3
        assert is_alive(int(pid.read_text()))
