"""achar.Condition and its like in one process: what they have beyond CPython's own tests."""

import gc
import json
import pickle
import subprocess
import sys
import threading
import time
import warnings
import weakref
from pathlib import Path

import achar
import pytest

HERE = Path(__file__).parent


def run(code, *arguments, timeout=150):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=timeout, cwd=HERE, check=False
    )


def in_thread(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_cpythons_own_lock_tests():
    done = subprocess.run(
        [sys.executable, HERE / "run_lock_tests.py"], capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["bad"] == [], done.stderr
    assert outcome["ran"] >= 95
    assert len(outcome["excluded"]) == 1


@pytest.mark.parametrize("make", [achar.Lock, achar.RLock])
def test_notified_in_the_order_of_arrival(make):
    condition = achar.Condition(make())
    order = []
    arrived = threading.Semaphore(0)

    def wait(number):
        with condition:
            arrived.release()
            assert condition.wait()
            order.append(number)

    threads = []
    for number in range(8):
        threads.append(in_thread(lambda number=number: wait(number)))
        arrived.acquire()  # it has the lock, and gives it up only by waiting
    with condition:
        condition.notify(3)
        assert order == []
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join(120)
    assert order == list(range(8))


def test_nobody_goes_on_before_the_release():
    condition = achar.Condition()
    went_on = []
    ready = threading.Semaphore(0)

    def wait():
        with condition:
            ready.release()
            condition.wait()
            went_on.append(1)

    threads = [in_thread(wait) for _ in range(4)]
    for _ in threads:
        ready.acquire()
    with condition:
        condition.notify_all()
        time.sleep(0.05)
        assert went_on == []
    for thread in threads:
        thread.join(120)
    assert len(went_on) == 4


LOST = """
import sys, threading, time
import {module} as chosen
condition = chosen.Condition(chosen.Lock())
lost = 0
for round in range({rounds}):
    entered, results = {{}}, {{}}
    limit = 0.003 * (1 + round % 10)
    def wait(name, timeout):
        with condition:
            entered[name] = time.monotonic()
            results[name] = condition.wait(timeout)
    hasty = threading.Thread(target=wait, args=("hasty", limit), daemon=True)
    patient = threading.Thread(target=wait, args=("patient", {patience} + 5), daemon=True)
    hasty.start()
    time.sleep(0.0005)
    patient.start()
    # notify(1) when the limit has just expired, but before the thread that waited can do anything
    notified = False
    while not notified:
        time.sleep(0.0005)
        with condition:
            if len(entered) == 2:  # both wait
                while time.monotonic() < entered["hasty"] + limit + 0.003:
                    pass
                condition.notify(1)
                notified = True
    hasty.join()
    # The notification was for one of the two: who says that it was not notified leaves it.
    if not results["hasty"]:
        patient.join({patience})
        if "patient" not in results:
            lost += 1
            with condition:
                condition.notify_all()
    else:
        with condition:
            condition.notify_all()
    patient.join()
    if lost:
        break
print(lost)
"""


def test_no_wake_up_is_lost_to_a_time_limit():
    done = run(LOST.format(module="achar", rounds=60, patience=100), timeout=250)
    assert done.stdout == "0\n", done.stderr


def test_threading_loses_one():
    """The fault that the test above would find, found where it is."""
    done = run(LOST.format(module="threading", rounds=2000, patience=1), timeout=250)
    assert done.stdout == "1\n", done.stderr


INTERRUPTED = """
import achar, signal, threading, _thread, time, sys
from sync_support import wait_until_waiting
what = sys.argv[1]
lock = achar.Lock(); event = achar.Event(); semaphore = achar.Semaphore(0)
condition = achar.Condition(); barrier = achar.Barrier(2)
lock.acquire()
handled = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
def strike():
    wait_until_waiting(threading.main_thread())
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    while not handled:  # of two signals at once the one with the lower number is handled first
        time.sleep(0.01)
    wait_until_waiting(threading.main_thread())
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
try:
    threading.Thread(target=strike, daemon=True).start()
    if what == "lock": lock.acquire()
    if what == "event": event.wait()
    if what == "semaphore": semaphore.acquire()
    if what == "barrier": barrier.wait()
    if what == "condition":
        with condition: condition.wait()
except KeyboardInterrupt:
    assert handled == [1]
    assert barrier.n_waiting == 0
    assert condition.acquire(False)
    print("interrupted")
"""


@pytest.mark.parametrize("what", ["lock", "event", "semaphore", "barrier", "condition"])
def test_signals_are_answered(what):
    done = run(INTERRUPTED, what)
    assert done.stdout == "interrupted\n", done.stderr


def test_a_handler_may_use_the_condition_that_is_waited_for():
    done = run("""
import achar, signal, threading
from sync_support import wait_until_waiting
condition = achar.Condition(achar.Lock())
def handler(*_):
    with condition:
        condition.notify_all()
signal.signal(signal.SIGUSR1, handler)
def strike():
    wait_until_waiting(threading.main_thread())
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
threading.Thread(target=strike).start()
with condition:
    print(condition.wait(120))
""")
    assert done.stdout == "True\n", done.stderr


def test_misuse_has_threadings_words():
    for module in (threading, achar):
        with pytest.raises(RuntimeError, match="^release unlocked lock$"):
            module.Lock().release()
        with pytest.raises(RuntimeError, match="^cannot release un-acquired lock$"):
            module.RLock().release()
        with pytest.raises(RuntimeError, match="^cannot wait on un-acquired lock$"):
            module.Condition().wait()
        with pytest.raises(RuntimeError, match="^cannot notify on un-acquired lock$"):
            module.Condition().notify()
        with pytest.raises(ValueError, match="^Semaphore released too many times$"):
            module.BoundedSemaphore(2).release()
        with pytest.raises(ValueError, match="^semaphore initial value must be >= 0$"):
            module.Semaphore(-1)
        with pytest.raises(ValueError, match="^can't specify timeout for non-blocking acquire$"):
            module.Semaphore().acquire(False, 1)
        with pytest.raises(ValueError, match="^can't specify a timeout for a non-blocking call$"):
            module.Lock().acquire(False, 1)
        with pytest.raises(ValueError, match="^n must be one or more$"):
            module.Semaphore().release(0)
        with pytest.raises(ValueError) as info:
            module.Lock().acquire(timeout=-2)
        message = str(info.value)
    with pytest.raises(ValueError) as info:
        threading.Lock().acquire(timeout=-2)
    assert str(info.value) == message
    with pytest.raises(TypeError):
        achar.Condition(threading.Lock())


def test_deprecated_names_warn_and_work():
    condition = achar.Condition()
    with condition, pytest.warns(DeprecationWarning):
        condition.notifyAll()
    with pytest.warns(DeprecationWarning):
        assert achar.Event().isSet() is False


def test_an_action_that_raises_breaks_the_barrier():
    def action():
        raise ZeroDivisionError

    barrier = achar.Barrier(2, action)
    broken = []

    def wait():
        try:
            barrier.wait()
        except (ZeroDivisionError, threading.BrokenBarrierError) as error:
            broken.append(type(error))

    thread = in_thread(wait)
    wait()
    thread.join(120)
    assert sorted(broken, key=str) == [ZeroDivisionError, threading.BrokenBarrierError]
    assert barrier.broken


def test_subclasses_and_their_attributes():
    class Named(achar.Lock):
        def __init__(self, name):
            super().__init__()
            self.name = name

    lock = Named("a")
    with lock:
        pass
    assert lock.name == "a"

    class Forgetful(achar.Semaphore):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__"):
        Forgetful().acquire()
    with pytest.raises(RuntimeError, match="twice"):
        lock.__init__("b")


def test_a_pickle_is_the_same_object():
    for dumps, loads in ((pickle.dumps, pickle.loads), (achar.dumps, achar.loads)):
        lock, condition, event = achar.Lock(), achar.Condition(), achar.Event()
        copies = loads(dumps([lock, condition, event, condition]))
        assert copies[1] is copies[3]
        with lock:
            assert not copies[0].acquire(False)
        with condition:
            assert copies[1]._is_owned()
        event.set()
        assert copies[2].is_set()
        semaphore = loads(dumps(achar.BoundedSemaphore(3)))
        assert repr(semaphore).endswith("value=3/3>")
        barrier = loads(dumps(achar.Barrier(1, timeout=2)))
        assert barrier.wait() == 0


def test_cells_are_used_again():
    lock = achar.Lock()
    first = pickle.loads(pickle.dumps(lock)).__reduce__()[1][2]
    numbers = set()
    for _ in range(1000):
        numbers.add(achar.Lock().__reduce__()[1][2] & 0xFFFFFFFF)  # pickled: stays
    assert len(numbers) == 1000
    for _ in range(100_000):  # more than there is room for
        achar.Lock()
    assert first == lock.__reduce__()[1][2]


def test_no_leaks():
    lock = achar.Lock()
    reference = weakref.ref(lock)
    del lock
    assert reference() is None
    barrier = achar.Barrier(1, None)
    holder = [barrier]
    cyclic = achar.Barrier(1, holder.clear)
    holder.append(cyclic)
    reference = weakref.ref(cyclic)
    del cyclic, holder, barrier
    gc.collect()
    assert reference() is None


def test_timeouts():
    event = achar.Event()
    for timeout in (0, 0.0, -1, 0.01, 1e-9):
        assert event.wait(timeout) is False
    with pytest.raises(OverflowError):
        event.wait(1e100)
    with pytest.raises(ValueError):
        event.wait(float("nan"))
    with pytest.raises(TypeError):
        event.wait("soon")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        condition = achar.Condition()
        with condition:
            started = time.monotonic()
            assert condition.wait(0.05) is False
            assert time.monotonic() - started >= 0.05
            assert condition.wait_for(lambda: 7) == 7
            assert condition.wait_for(lambda: 0, 0.01) == 0
            looks = []
            assert condition.wait_for(lambda: looks.append(1), -1) is None
            assert len(looks) == 2  # as threading's: it waits once, whatever the time
        with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
            condition.wait_for(lambda: 0, 0)
