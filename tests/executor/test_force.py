"""Executor.cancel(future, force=True): a task that runs is ended, and nothing else."""

import concurrent.futures
import os
import time

import achar
import pytest


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def wait_until_running(future):
    while not future.running():
        assert not future.done()
        time.sleep(0.005)


def tasks():
    """Made here, so that they travel by value."""

    def sleep():
        time.sleep(600)

    def catch_everything():
        while True:
            try:
                time.sleep(600)
            except BaseException:  # noqa: S110
                pass

    def stay_in_c():
        sum(range(10**15))

    def run_a_program():
        import subprocess

        subprocess.run(["sleep", "1000"], check=True)

    return locals()


TASKS = tasks()


@pytest.mark.parametrize("name", TASKS)
def test_whatever_it_does(ex, name):
    ended = ex.options(retries=5).submit(TASKS[name])
    wait_until_running(ended)
    futures = [ex.submit(pow, n, 2) for n in range(40)]
    assert ex.cancel(ended, force=True)
    assert concurrent.futures.wait([ended], 120).done == {ended}
    assert ended.cancelled() and ended.done()
    with pytest.raises(concurrent.futures.CancelledError):
        ended.result()
    assert [future.result() for future in futures] == [n * n for n in range(40)]
    assert ex.submit(len, "abc").result() == 3


def test_its_worker_goes_on_when_it_ends(tmp_path):
    path = str(tmp_path / "cleaned")

    def task(path):
        try:
            open(f"{path}.begun", "w").close()
            time.sleep(600)
        except BaseException as error:
            with open(path, "w") as file:
                file.write(type(error).__name__)
            return "too late"

    with achar.Executor(1) as executor:
        executor._pool.be_patient(60)
        before = executor.submit(os.getpid).result()
        future = executor.submit(task, path)
        while not os.path.exists(f"{path}.begun"):
            time.sleep(0.005)
        told = []
        future.add_done_callback(told.append)
        assert executor.cancel(future, force=True)
        assert executor.submit(os.getpid).result() == before
        assert future.cancelled()
    assert told == [future]
    with open(path) as file:
        assert file.read() == "TaskCancelled"


def test_without_force_and_too_late(ex, tmp_path):
    def wait_for(path):
        while not os.path.exists(path):
            time.sleep(0.005)

    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    running = ex.submit(wait_for, one)
    wait_until_running(running)
    assert not ex.cancel(running)
    open(one, "w").close()
    assert running.result() is None
    assert not ex.cancel(running, force=True)
    blocker = [ex.submit(wait_for, two) for _ in range(2)]
    queued = ex.submit(pow, 2, 3)
    assert ex.cancel(queued, force=True) and queued.cancelled()
    open(two, "w").close()
    assert [future.result() for future in blocker] == [None, None]


def test_many_times(ex):
    """The signal may come when the task has just ended: no other may get it."""
    for n in range(60):
        future = ex.submit(time.sleep, n % 4 * 0.001)
        others = [ex.submit(pow, i, 2) for i in range(4)]
        was_in_time = ex.cancel(future, force=True)
        assert [other.result() for other in others] == [0, 1, 4, 9]
        assert concurrent.futures.wait([future], 120).done
        assert was_in_time or not future.cancelled()
