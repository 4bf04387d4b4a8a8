"""The same objects between processes: by fork, by spawn, as arguments of tasks; and kill -9."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import achar
import pytest
from sync_support import ended, forked

HERE = Path(__file__).parent
ENOUGH = 120


def run(code, *arguments, timeout=150):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


def hold_and_stay(lock, ready):
    lock.acquire()
    ready.set()
    time.sleep(1000)


# ---- by spawn, fork and task ----


def play(condition, turns, mine, rounds, done):
    for _ in range(rounds):
        with condition:
            assert condition.wait_for(lambda: turns[0] % 2 == mine, ENOUGH)
            turns[0] += 1
            condition.notify()
    done.release()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_ping_pong_by_multiprocessing(method):
    context = multiprocessing.get_context(method)
    condition, done = achar.Condition(), achar.Semaphore(0)
    turns = context.Array("i", 1, lock=False)
    players = [context.Process(target=play, args=(condition, turns, mine, 50, done)) for mine in (0, 1)]
    # And between threads of this process at the same time.
    local = [0]
    threads = [threading.Thread(target=play, args=(condition, local, mine, 50, done)) for mine in (0, 1)]
    # Each notification may reach one who plays another game, so everybody is told now and then.
    for each in players + threads:
        each.start()
    for _ in range(4):
        while not done.acquire(timeout=0.01):
            with condition:
                condition.notify_all()
    for each in players + threads:
        each.join(ENOUGH)
    assert [each.exitcode for each in players] == [0, 0]
    assert turns[0] == local[0] == 100


def test_as_an_argument_of_a_task():
    def count(lock, barrier, event, path):
        barrier.wait(ENOUGH)
        for _ in range(100):
            with lock:
                with open(path) as file:
                    value = int(file.read())
                with open(path, "w") as file:
                    file.write(str(value + 1))
        return event.wait(ENOUGH)

    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".count") as file, achar.Executor(2) as executor:
        file.write("0")
        file.flush()
        lock, barrier, event = achar.RLock(), achar.Barrier(3), achar.Event()
        futures = [executor.submit(count, lock, barrier, event, file.name) for _ in range(2)]
        barrier.wait(ENOUGH)
        event.set()
        assert [future.result(ENOUGH) for future in futures] == [True, True]
        assert Path(file.name).read_text() == "200"


def test_made_in_a_task_and_returned():
    def make():
        event = achar.Event()
        event.set()
        return event

    with achar.Executor(1) as executor:
        event = executor.submit(make).result(ENOUGH)
        assert event.is_set()
        event.clear()
    assert not event.is_set()  # its maker has gone; the memory has not


def test_a_sender_that_has_gone():
    done = run("import achar, pickle, sys; sys.stdout.write(pickle.dumps(achar.Lock()).hex())")
    with pytest.raises(RuntimeError, match="has ended"):
        pickle.loads(bytes.fromhex(done.stdout))


def test_a_pickle_of_an_object_that_is_no_more():
    lock = achar.Lock()
    function, arguments = lock.__reduce__()[:2]
    with pytest.raises(RuntimeError, match="not exist"):
        function(achar.Lock, arguments[1], arguments[2] + (1 << 32), None, None, None)
    with pytest.raises(RuntimeError, match="not exist"):
        function(achar.Event, arguments[1], arguments[2], None, None, None)
    with pytest.raises(TypeError):
        function(int, arguments[1], arguments[2], None, None, None)


# ---- death ----


def test_the_owner_is_killed():
    for make in (achar.Lock, achar.RLock, achar.Condition):
        lock, ready = make(), achar.Event()
        pid = forked(lambda lock=lock, ready=ready: hold_and_stay(lock, ready))
        assert ready.wait(ENOUGH)
        told = []

        def wait(lock=lock, told=told):
            try:
                lock.acquire()
            except achar.OwnerDied:
                told.append(1)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join(ENOUGH)
        assert told == [1, 1, 1]
        ended(pid)
        for _ in range(2):
            with pytest.raises(achar.OwnerDied):
                lock.acquire(False)
            with pytest.raises(achar.OwnerDied):
                with lock:
                    raise AssertionError("not reached")
        assert lock.recover() is True
        assert lock.recover() is False
        with lock:
            pass
        assert lock.acquire(timeout=0.1)
        lock.release()


def test_recover_can_hold():
    lock, ready = achar.Lock(), achar.Event()
    pid = forked(lambda: hold_and_stay(lock, ready))
    assert ready.wait(ENOUGH)
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    with pytest.raises(achar.OwnerDied):  # nobody waits, so the one who asks looks
        lock.acquire(False)
    assert lock.recover(hold=True) is True
    assert lock.acquire(False) is False
    lock.release()


def test_the_owner_is_killed_while_others_wait_for_a_notification():
    condition, ready = achar.Condition(), achar.Event()
    told = []

    def wait():
        try:
            with condition:
                ready.set()
                condition.wait()
        except achar.OwnerDied:
            told.append(1)

    thread = threading.Thread(target=wait)
    thread.start()
    assert ready.wait(ENOUGH)
    ready.clear()
    pid = forked(lambda: hold_and_stay(condition, ready))
    assert ready.wait(ENOUGH)
    os.kill(pid, signal.SIGKILL)
    thread.join(ENOUGH)
    assert told == [1]
    ended(pid)
    assert condition.recover()


KILLED_WAITER = """
import {module} as chosen, multiprocessing, os, signal, sys, time
def wait(condition, ready):
    with condition:
        ready.set()
        condition.wait()
condition, ready = chosen.Condition(), multiprocessing.Event()
context = multiprocessing.get_context("fork")
victim = context.Process(target=wait, args=(condition, ready))
victim.start(); ready.wait()
with condition: pass              # it waits
os.kill(victim.pid, signal.SIGKILL); victim.join()
for _ in range(2):
    with condition:
        condition.notify()
print("went on")
"""

KILLED_OWNER = """
import {module} as chosen, multiprocessing, os, signal, sys, time
def own(condition, ready):
    condition.acquire()
    ready.set()
    time.sleep(1000)
condition, ready = chosen.Condition(), multiprocessing.Event()
context = multiprocessing.get_context("fork")
victim = context.Process(target=own, args=(condition, ready))
victim.start(); ready.wait()
os.kill(victim.pid, signal.SIGKILL); victim.join()
try:
    with condition:
        condition.notify()
except RuntimeError as error:
    print(type(error).__name__)
    condition.recover()
with condition:
    condition.notify()
print("went on")
"""


def test_a_killed_waiter_holds_up_nobody():
    assert run(KILLED_WAITER.format(module="achar")).stdout == "went on\n"


def test_a_killed_owner_holds_up_nobody():
    assert run(KILLED_OWNER.format(module="achar")).stdout == "OwnerDied\nwent on\n"


@pytest.mark.parametrize("code", [KILLED_WAITER, KILLED_OWNER], ids=["waiter", "owner"])
def test_multiprocessing_hangs(code):
    """The faults that the two tests above would find, found where they are."""
    with pytest.raises(subprocess.TimeoutExpired):
        run(code.format(module="multiprocessing"), timeout=1.5)


def test_a_notification_to_the_dead_is_passed_on():
    condition, ready = achar.Condition(), achar.Semaphore(0)

    def wait():
        with condition:
            ready.release()
            condition.wait()

    victim = forked(wait)
    assert ready.acquire(timeout=ENOUGH)
    with condition:  # the victim waits
        pass
    notified = []

    def wait_too():
        with condition:
            ready.release()
            notified.append(condition.wait(ENOUGH))

    thread = threading.Thread(target=wait_too)
    thread.start()
    assert ready.acquire(timeout=ENOUGH)
    with condition:
        os.kill(victim, signal.SIGSTOP)  # so that it cannot take what it is given
        condition.notify()
    os.kill(victim, signal.SIGKILL)
    thread.join(ENOUGH)
    assert notified == [True]
    ended(victim)
    assert condition.acquire(timeout=ENOUGH)
    condition.release()


def test_permits_of_the_dead():
    semaphore, ready = achar.BoundedSemaphore(2), achar.Event()

    def take():
        semaphore.acquire()
        semaphore.acquire()
        ready.set()
        time.sleep(1000)

    pid = forked(take)
    assert ready.wait(ENOUGH)
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    with pytest.raises(achar.OwnerDied):
        semaphore.acquire()
    assert semaphore.recover() == 2
    assert semaphore.recover() == 0
    assert semaphore.get_value() == 2
    with pytest.raises(ValueError):
        semaphore.release()


def test_a_party_dies_in_a_barrier():
    barrier = achar.Barrier(3)
    pid = forked(barrier.wait)
    broken = []

    def wait():
        try:
            barrier.wait(ENOUGH)
        except threading.BrokenBarrierError:
            broken.append(1)

    thread = threading.Thread(target=wait)
    thread.start()
    while barrier.n_waiting < 2:
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    thread.join(ENOUGH)
    assert broken == [1]
    assert barrier.broken
    ended(pid)


def test_a_fork_owns_nothing_of_its_parents():
    lock = achar.RLock()
    with lock:

        def child():
            assert not lock._is_owned()
            assert not lock.acquire(False)
            try:
                lock.release()
            except RuntimeError:
                pass
            else:
                raise AssertionError
            lock._at_fork_reinit()  # does not touch what another process has
            assert not lock.acquire(False)

        assert ended(forked(child)) == 0
        assert lock._is_owned()
    assert ended(forked(lambda: lock.acquire())) == 0
    with pytest.raises(achar.OwnerDied):  # it ended without releasing
        lock.acquire()


def test_tasks_may_die_with_a_lock():
    def die(lock):
        lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    lock = achar.Lock()
    with achar.Executor(1) as executor:
        with pytest.raises(achar.errors.WorkerDied):
            executor.submit(die, lock).result(ENOUGH)
    with pytest.raises(achar.OwnerDied):
        lock.acquire(timeout=ENOUGH)


# ---- multiprocessing's own tests; a minute and more of sleeping, so only when asked for ----


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.skipif("ACHAR_SLOW_TESTS" not in os.environ, reason="a minute each; set ACHAR_SLOW_TESTS")
def test_multiprocessings_own_tests(method):
    done = subprocess.run(
        [sys.executable, HERE / "run_multiprocessing_tests.py", method],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["bad"] == [], done.stderr
    assert outcome["ran"] >= 20
