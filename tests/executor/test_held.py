"""Tasks that need a future of another executor's, or of an actor's call, that has not ended."""

import concurrent.futures
import os
import pickle
import threading
import time

import achar
import pytest

LIMIT_S = 100


@pytest.fixture
def ex():
    with achar.Executor(1) as executor:
        yield executor


class Patient:
    def until(self, path, result):
        while not os.path.exists(path):
            time.sleep(0.01)
        if isinstance(result, Exception):
            raise result
        return result


def until(path, result):
    return Patient().until(path, result)


@pytest.fixture
def gate(tmp_path):
    class Gate:
        path = str(tmp_path / "open")

        def open(self):
            (tmp_path / "open").touch()

    return Gate()


def test_futures_of_others_are_awaited(ex, gate):
    actor = ex.actor(Patient)
    with achar.Executor(1) as other:
        of_other, of_actor = other.submit(until, gate.path, {"a": 1}), actor.until(gate.path, [2])
        own = ex.submit(int, "3")
        both = ex.submit(lambda first, *, rest: (first, rest), [of_other, (of_actor,)], rest={"own": own})
        named = ex.options(name="sum", retries=1).submit(sum, of_actor)
        after = ex.submit(lambda first, second: [first, second], both, named)  # futures of the same executor again
        assert not both.done() and ex.submit(int).result(LIMIT_S) == 0  # others go on
        gate.open()
        assert after.result(LIMIT_S) == [([{"a": 1}, ([2],)], {"own": 3}), 2]
        assert both.result(LIMIT_S) == ([{"a": 1}, ([2],)], {"own": 3})
        assert concurrent.futures.wait([both, named, after], LIMIT_S).not_done == set()


def test_one_that_fails_or_is_cancelled(ex, gate):
    actor = ex.actor(Patient)
    failing, cancelled = actor.until(gate.path, ValueError("no")), actor.until(gate.path, 1)
    after_failing, after_cancelled = ex.submit(str, failing), ex.submit(str, [cancelled])
    dropped = ex.submit(str, failing)
    assert cancelled.cancel() and dropped.cancel() and dropped.cancelled()
    gate.open()
    error = after_failing.exception(LIMIT_S)
    assert isinstance(error, achar.InputFailed) and "Patient.until" in str(error)
    assert isinstance(error.__cause__, ValueError)
    assert isinstance(after_cancelled.exception(LIMIT_S), achar.InputFailed)
    with pytest.raises(concurrent.futures.CancelledError):
        dropped.result()
    assert ex.submit(int).result(LIMIT_S) == 0


def test_a_held_task_is_cancelled_by_force(ex, gate):
    future = ex.submit(str, ex.actor(Patient).until(gate.path, 1))
    assert ex.cancel(future, force=True) and future.cancelled()
    gate.open()


@pytest.mark.parametrize("wait", [True, False])
def test_it_is_done_when_the_executor_ends(gate, wait):
    with achar.Executor(1) as other, achar.Executor(1) as ex:
        future = ex.submit(str, other.submit(until, gate.path, 1))
        opening = threading.Timer(0.1, gate.open)
        opening.start()
        ex.shutdown(wait=wait)
        assert future.result(LIMIT_S) == "1"
        opening.join()


def test_it_is_cancelled_with_what_is_queued(gate):
    with achar.Executor(1) as other, achar.Executor(1) as ex:
        future = ex.submit(str, other.submit(until, gate.path, 1))
        ex.shutdown(cancel_futures=True)
        assert future.cancelled()
        gate.open()


def test_it_is_done_at_exit(run, tmp_path):
    run(
        f"""import achar, time
def slow(x):
    time.sleep(0.2)
    return x
def write(x):
    with open({str(tmp_path / "out")!r}, "w") as file:
        file.write(str(x))
ex, other = achar.Executor(1), achar.Executor(1)
ex.submit(write, [other.submit(slow, 5)])
"""
    )
    assert (tmp_path / "out").read_text() == "[5]"


def test_in_a_task(ex, gate):
    actor = ex.actor(Patient)

    def task(actor):
        here = achar.current_executor()
        return here.submit(lambda x: x + 1, actor.until(gate_path, 1)).result()

    gate_path = gate.path
    future = ex.submit(task, actor)
    gate.open()
    assert future.result(LIMIT_S) == 2


def test_what_cannot_be_sent_is_said_at_once(ex, gate):
    awaited = ex.actor(Patient).until(gate.path, 1)
    error, items = ex.submit(str, awaited, threading.Lock()), ex.map(str, [awaited])
    gate.open()
    error = error.exception(LIMIT_S)
    assert isinstance(error, pickle.PicklingError) and "lock cannot be sent" in str(error)
    with pytest.raises(pickle.PicklingError, match="make it an argument of submit"):
        list(items)
