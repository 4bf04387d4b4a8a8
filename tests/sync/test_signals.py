"""Signals while something is waited for: they are answered, cost nobody a place in the queue, and may fork."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import achar
import pytest
from sync_support import wait_until_waiting

HERE = Path(__file__).parent
LONG = 150  # never, if all is well

LATE = """
# A waiter is woken, another takes the lock first, and a signal comes before the waiter sleeps again. It is
# the owner that waits for the answer.
import os, signal, sys, threading, time
import achar

sys.setswitchinterval(5)  # who runs goes on running
answered, ready = threading.Event(), threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: answered.set())
kind = sys.argv[1]
waited_for = achar.Lock() if kind == "lock" else achar.Condition()

def busy(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

def other():
    if kind == "lock":
        waited_for.acquire()
        ready.set()
        time.sleep(0.1)  # the main thread sleeps in acquire()
    else:
        ready.wait()
        waited_for.acquire()  # as soon as the main thread is in wait()
        waited_for.notify()
    waited_for.release()
    mine = waited_for.acquire(False)
    busy(0.05)  # the main thread is awake, and waits for the GIL
    os.kill(os.getpid(), signal.SIGUSR1)
    busy(0.05)
    if not answered.wait(150):
        os._exit(1)
    if mine:
        waited_for.release()

thread = threading.Thread(target=other)
if kind == "lock":
    thread.start()
    ready.wait()
    waited_for.acquire()
else:
    with waited_for:
        thread.start()
        ready.set()
        waited_for.wait()
thread.join()
"""


@pytest.mark.parametrize("kind", ["lock", "condition"])
def test_a_signal_is_answered_after_a_wake_in_vain(kind):
    subprocess.run([sys.executable, "-c", LATE, kind], check=True, timeout=LONG + 10)


@pytest.mark.parametrize("make", [achar.Lock, lambda: achar.Semaphore(1), achar.RLock])
def test_a_signal_costs_no_place_in_the_queue(make):
    lock, order, answered = make(), [], threading.Semaphore(0)
    main = threading.main_thread()
    before = signal.signal(signal.SIGUSR1, lambda *_: answered.release())

    def second():
        with lock:
            order.append("second")

    def owner():
        nonlocal owned
        with lock:
            owned.set()
            wait_until_waiting(main)
            late = threading.Thread(target=second)
            late.start()
            wait_until_waiting(late)
            for _ in range(3):
                signal.pthread_kill(main.ident, signal.SIGUSR1)
                if not answered.acquire(timeout=LONG):
                    order.append("a signal was not answered")
                    break
                wait_until_waiting(main)
        late.join()

    owned = threading.Event()
    try:
        thread = threading.Thread(target=owner)
        thread.start()
        owned.wait()
        with lock:
            order.append("first")
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert order == ["first", "second"]


FORKED = """
# A handler forks while its thread waits. Both go on waiting, each for itself, and both get what they wait for.
import os, signal, sys, threading, warnings
import achar
from sync_support import wait_until_waiting

warnings.simplefilter("ignore", DeprecationWarning)
child = None

def fork(*_):
    global child
    child = os.fork()

signal.signal(signal.SIGUSR1, fork)
kind = sys.argv[1]
gate, woken = achar.Semaphore(0), achar.Semaphore(0)
event, lock, semaphore, condition = achar.Event(), achar.Lock(), achar.Semaphore(0), achar.Condition()
full, empty, undone, barrier = achar.Queue(1), achar.Queue(), achar.Queue(), achar.Barrier(3)
large = b"x" * 500_000

def let_go():
    gate.acquire()
    if kind == "event":
        event.set()
    elif kind == "lock":
        lock.release()
    elif kind == "semaphore":
        semaphore.release(2)
    elif kind == "condition":
        left = 2
        while left:  # the child may come late
            with condition:
                condition.notify_all()
            left -= woken.acquire(timeout=0.01)
    elif kind == "put":
        assert [full.get(timeout=150) for _ in range(3)] == [b"first", large, large]
    elif kind == "get":
        empty.put(1)
        empty.put(1)
    elif kind == "join":
        undone.task_done()
    elif kind == "barrier":
        barrier.wait(150)

def wait():
    if kind == "event":
        return event.wait(150)
    if kind == "lock":
        got = lock.acquire(timeout=150)
        lock.release()
        return got
    if kind == "semaphore":
        return semaphore.acquire(timeout=150)
    if kind == "condition":
        with condition:
            got = condition.wait(150)
            woken.release()
            return got
    if kind == "put":
        full.put(large, timeout=150)
        return True
    if kind == "get":
        return empty.get(timeout=150) == 1
    if kind == "join":
        undone.join()
        return True
    return barrier.wait(150) in (0, 1, 2)

if kind == "lock":
    lock.acquire()
elif kind == "put":
    full.put(b"first")
elif kind == "join":
    undone.put(1)
    undone.get()

def interrupt():
    wait_until_waiting(threading.main_thread())
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    while child is None:
        pass
    gate.release()

threads = [threading.Thread(target=let_go), threading.Thread(target=interrupt)]
for thread in threads:
    thread.start()
ok = wait()
if child == 0:
    os._exit(0 if ok else 1)
for thread in threads:
    thread.join()
assert ok
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("kind", ["event", "lock", "semaphore", "condition", "put", "get", "join", "barrier"])
def test_a_handler_forks_in_the_middle_of_a_wait(kind):
    subprocess.run([sys.executable, "-c", FORKED, kind], check=True, cwd=HERE, timeout=LONG + 30)
