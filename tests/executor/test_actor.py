"""Executor.actor(): state in one process, calls in order, and what happens when it dies."""

import os
import time

import achar
import pytest


def classes():
    class Counter:
        def __init__(self, start=0):
            self.value = start

        def add(self, n):
            self.value += n
            return self.value

        def pid(self):
            import os

            return os.getpid()

        def die(self, signal):
            import os

            os.kill(os.getpid(), signal)

        def fail(self):
            raise ValueError("no")

        def rest(self, seconds):
            import time

            time.sleep(seconds)

    class Broken:
        def __init__(self):
            raise ValueError("cannot be made")

        def method(self):
            pass

    return Counter, Broken


Counter, Broken = classes()


@pytest.fixture
def ex():
    with achar.Executor(2) as executor:
        yield executor


def test_state_and_order(ex):
    counter, other = ex.actor(Counter), ex.actor(Counter, start=1000)
    futures = [counter.add(1) for _ in range(2000)]
    assert [future.result() for future in futures] == list(range(1, 2001))
    assert other.add(1).result() == 1001
    assert len({counter.pid().result(), other.pid().result(), ex.submit(os.getpid).result(), os.getpid()}) == 4
    with pytest.raises(ValueError, match="no"):
        counter.fail().result()
    with pytest.raises(AttributeError):
        counter.absent().result()
    assert counter.add(0).result() == 2000
    with pytest.raises(Exception, match="process that made it"):
        ex.submit(lambda x: x, counter).result()


def test_death_is_reported(ex):
    counter = ex.actor(Counter)
    assert counter.add(1).result() == 1
    counter.rest(0.2)
    dies, behind = counter.die(9), [counter.add(1) for _ in range(5)]
    error = dies.exception()
    assert isinstance(error, achar.WorkerDied) and error.signal == "SIGKILL"
    for future in [*behind, counter.add(1)]:
        error = future.exception()
        assert isinstance(error, achar.ActorDied) and error.signal == "SIGKILL" and "Counter.add" in str(error)
    assert ex.submit(pow, 2, 3).result() == 8
    assert ex.actor(Counter).add(2).result() == 2


def test_restarts(ex):
    counter = ex.actor(Counter, 10, restarts=2)
    pids = set()
    for _ in range(2):
        pids.add(counter.pid().result())
        assert counter.add(1).result() == 11
        dies, behind = counter.die(11), [counter.add(1) for _ in range(3)]
        assert isinstance(dies.exception(), achar.WorkerDied)
        assert [future.result() for future in behind] == [11, 12, 13]  # a new one, in order
        counter.add(-3)
    pids.add(counter.pid().result())
    assert len(pids) == 3
    counter.die(9)
    assert isinstance(counter.add(1).exception(), achar.ActorDied)


def test_that_cannot_be_made(ex):
    actor = ex.actor(Broken)
    error = actor.method().exception()
    assert isinstance(error, achar.InitializerFailed) and "cannot be made" in str(error)


def test_ends_with_the_executor():
    with achar.Executor(1) as ex:
        counter = ex.actor(Counter)
        pid = counter.pid().result()
        last = counter.add(5)
    assert last.result() == 5
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(RuntimeError, match="after shutdown"):
        counter.add(1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.actor(Counter)


def test_ends_when_nobody_has_it(ex):
    counter = ex.actor(Counter)
    pid = counter.pid().result()
    last = counter.add(5)
    del counter
    assert last.result() == 5
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{pid}")
