"""achar.Queue: any object, between threads, processes and tasks; limits, signals, kill -9, memory."""

import functools
import gc
import json
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import achar
import numpy
import pytest
from sync_support import ended, forked, wait_until_waiting

HERE = Path(__file__).parent
ENOUGH = 120


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


class Point:
    def __init__(self, x):
        self.x = x


def test_any_object_in_order():
    factor = 3
    objects = [
        None, True, 7, -(2**70), 1.5, "text", "é" * 5000, b"", b"x" * 5_000_000, [1, {"a": (2,)}], {1, 2},
        lambda x: x * factor, Point(5), ValueError("no"), bytearray(b"y" * 200_000), list(range(30_000)),
    ]  # fmt: skip
    q = achar.Queue()
    for each in objects:
        q.put(each)
    assert q.qsize() == len(objects) and not q.empty()
    for each in objects:
        got = q.get(timeout=ENOUGH)
        if callable(each):
            assert got(4) == 12
        elif isinstance(each, Point):
            assert type(got) is Point and got.x == 5
        elif isinstance(each, ValueError):
            assert got.args == ("no",)
        else:
            assert got == each and type(got) is type(each)
    assert q.empty()


def test_what_cannot_be_pickled_raises_in_put():
    q = achar.Queue()
    with pytest.raises((pickle.PicklingError, TypeError), match="generator"):
        q.put([1, {"here": (x for x in ())}])
    assert q.empty()
    q.join()


def test_what_cannot_be_read_raises_in_get_and_nothing_else_is_lost():
    q = achar.Queue()
    q.put(pickle.PickleBuffer(b"abc"))
    q.put(Unreadable())
    q.put(2)
    assert bytes(q.get()) == b"abc"
    with pytest.raises(ZeroDivisionError):
        q.get()
    assert q.get() == 2


class Unreadable:
    def __reduce__(self):
        return divmod, (1, 0)


def test_large_arrays_are_not_copied_again():
    q = achar.Queue()
    sent = {"a": numpy.arange(300_000), "b": [numpy.ones((300, 400), order="F"), numpy.zeros(10)]}
    sent["a"].flags.writeable = False
    q.put(sent)
    q.put(sent)
    sent["b"][0][:] = 5  # later changes are not sent
    first, second = q.get(), q.get()
    for got in (first, second):
        assert (got["a"] == sent["a"]).all() and not got["a"].flags.writeable
        assert (got["b"][0] == 1).all() and got["b"][0].flags.f_contiguous and got["b"][0].flags.writeable
    first["b"][0][:] = 7  # each has memory of its own
    assert (second["b"][0] == 1).all()
    assert type(memory_of(first["b"][0])).__name__ == "QueueMemory"
    kept = first["b"][0][5:7, 5:7]
    del first, got, second
    q.put(numpy.full(300_000, 9))
    assert (kept == 7).all()
    assert q.get()[0] == 9


def memory_of(array):
    while isinstance(array, numpy.ndarray):
        array = array.base
    return array.obj


def test_memory_is_used_again():
    """Far more goes through than there is room for, by each of the three ways."""
    code = """
import achar, numpy, resource
q = achar.Queue()
block, array = b"x" * 20_000_000, numpy.ones(2_500_000)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(3):
    q.put(block); q.put(array); q.get(); q.get()
before = peak()
for i in range(20):
    q.put(block); q.put(array); q.get(); q.get()
    for j in range(300): q.put(b"y" * 3000)
    for j in range(300): q.get()
assert peak() - before < 60_000, peak() - before
for i in range(3000):  # queues that are collected give their memory back
    q = achar.Queue()
    q.put(b"z" * 100_000)
assert peak() - before < 60_000, peak() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=250)


def test_limits_and_time():
    q = achar.Queue(2)
    assert q.maxsize == 2 and achar.Queue().maxsize == achar.Queue(-1).maxsize == 0
    q.put(1, timeout=ENOUGH)
    q.put_nowait(2)
    assert q.full() and q.qsize() == 2
    for refused in (
        lambda: q.put(3, False),
        lambda: q.put(3, timeout=0.01),
        lambda: q.put(3, timeout=-1),
        lambda: q.put(obj=3, block=True, timeout=0),
        lambda: q.put_nowait(3),
        lambda: q.put(b"x" * 100_000, timeout=0.01),
    ):
        with pytest.raises(queue.Full):
            refused()
    assert (q.get(), q.get_nowait()) == (1, 2)
    for refused in (
        lambda: q.get(False),
        lambda: q.get(timeout=0.01),
        lambda: q.get(block=True, timeout=0),
        q.get_nowait,
    ):
        with pytest.raises(queue.Empty):
            refused()
    with pytest.raises(TypeError):
        q.put()
    with pytest.raises(TypeError):
        q.get(nothing=1)
    assert achar.Queue[int]


def test_task_done_and_join():
    q = achar.Queue()
    q.join()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        q.task_done()
    q.put(1)
    q.put(2)
    assert q.unfinished_tasks == 2
    done = threading.Event()
    thread = in_thread(lambda: (q.join(), done.set()))
    for _ in range(2):
        assert not done.is_set()
        q.get()
        q.task_done()
    thread.join(ENOUGH)
    assert done.is_set()


def test_close_is_for_this_handle():
    q = achar.Queue()
    other = pickle.loads(pickle.dumps(q))
    q.put(1)
    q.close()
    q.join_thread()
    q.cancel_join_thread()
    for refused in (q.get, lambda: q.put(2)):
        with pytest.raises(ValueError, match="is closed"):
            refused()
    assert other.get() == 1


# ---- many, and in order ----


def produce(q, number, count):
    for i in range(count):
        q.put((number, i, b"x" * (i % 97 * 100)))


def consume(q, results):
    last, count = {}, 0
    while (got := q.get()) is not None:
        number, i, data = got
        assert len(data) == i % 97 * 100
        assert last.get(number, -1) < i
        last[number] = i
        count += 1
        q.task_done()
    q.task_done()
    results.put(count)


@pytest.mark.parametrize(
    ("method", "maxsize"), [("threads", 0), ("threads", 5), ("fork", 0), ("fork", 5), ("spawn", 5)]
)
def test_many_producers_and_consumers(method, maxsize):
    start = threading.Thread if method == "threads" else multiprocessing.get_context(method).Process
    q, results = achar.Queue(maxsize), achar.Queue()
    consumers = [start(target=consume, args=(q, results)) for _ in range(3)]
    producers = [start(target=produce, args=(q, number, 700)) for number in range(3)]
    for each in consumers + producers:
        each.start()
    for each in producers:
        each.join(ENOUGH)
    for _ in consumers:
        q.put(None)
    q.join()
    assert sum(results.get(timeout=ENOUGH) for _ in consumers) == 2100
    for each in consumers:
        each.join(ENOUGH)
    assert q.empty()


def double(inbox, outbox):
    outbox.put(inbox.get(timeout=ENOUGH) * 2)


def test_as_an_argument_of_a_task():
    inbox, outbox = achar.Queue(), achar.Queue()
    with achar.Executor(2) as executor:
        futures = [executor.submit(double, inbox, outbox) for _ in range(2)]
        inbox.put(numpy.ones(100_000))
        inbox.put(21)
        results = [outbox.get(timeout=ENOUGH) for _ in range(2)]
        for future in futures:
            future.result(ENOUGH)
    assert sorted(float(numpy.max(r)) for r in results) == [2, 42]


def test_first_come_first_served():
    q, order = achar.Queue(), []
    threads = []
    for i in range(4):
        ready = threading.Event()

        def wait(i=i, ready=ready):
            ready.set()
            order.append((i, q.get()))

        threads.append(in_thread(wait))
        ready.wait()
        wait_until_waiting(threads[-1])  # if not, the order below may be another
    for i in range(4):
        q.put(i)
        threads[i].join(ENOUGH)
    assert order == [(i, i) for i in range(4)]


# ---- signals and death ----


def test_signals_are_answered_while_waiting():
    q, seen = achar.Queue(1), []

    def handler(*_):
        seen.append(q.qsize())
        if len(seen) == 2:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident

    def strike():
        for count in range(2):
            while len(seen) < count:
                time.sleep(0.001)
            wait_until_waiting(threading.main_thread())
            signal.pthread_kill(main, signal.SIGUSR1)

    try:
        for refused in (q.get, lambda: q.put(2), q.join):
            del seen[:]
            thread = in_thread(strike)
            with pytest.raises(KeyboardInterrupt):
                refused()
            thread.join()
            if q.empty():
                q.put(1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert q.get() == 1 and q.empty()


def test_a_killed_consumer_takes_what_it_had_and_no_more():
    q, ready = achar.Queue(), achar.Event()
    for i in range(3):
        q.put((i, b"x" * 100_000))

    def take_and_wait():
        q.get()
        ready.set()
        time.sleep(1000)

    pid = forked(take_and_wait)
    assert ready.wait(ENOUGH)
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    assert [q.get(timeout=ENOUGH)[0] for _ in range(2)] == [1, 2]
    q.task_done()
    q.task_done()
    with pytest.raises(achar.OwnerDied):
        q.join()
    assert q.recover() == 1
    assert q.recover() == 0
    q.join()


KILLED_GETTER = """
import os, signal, sys, time, multiprocessing
if sys.argv[1] == "achar":
    import achar
    q = achar.Queue()
else:
    q = multiprocessing.Queue()
pid = os.fork()
if pid == 0:
    q.get()
if sys.argv[1] == "achar":
    from sync_support import wait_until_waiting
    wait_until_waiting(pid)
else:
    while q._rlock.acquire(False):  # it has the lock, with which it waits
        q._rlock.release()
        time.sleep(0.01)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
q.put("here")
print(q.get(), flush=True)
os._exit(0)
"""


def test_a_consumer_killed_while_it_waits_hangs_nobody():
    command = [sys.executable, "-c", KILLED_GETTER, "achar"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ENOUGH, cwd=HERE, check=False)
    assert done.stdout == "here\n", done.stderr


def test_multiprocessings_hangs():
    with pytest.raises(subprocess.TimeoutExpired):
        command = [sys.executable, "-c", KILLED_GETTER, "multiprocessing"]
        subprocess.run(command, capture_output=True, timeout=2, check=False)


def test_producers_and_consumers_are_killed_at_random():
    q = achar.Queue(20)

    def work(seed):
        n = 0
        while True:
            n += 1
            try:
                if (n * seed) % 2:
                    q.put((n, b"a" * (n * 37 % 9000)), timeout=0.01)
                else:
                    n_got, data = q.get(timeout=0.01)
                    assert data == b"a" * (n_got * 37 % 9000)
                    q.task_done()
            except (queue.Empty, queue.Full):
                pass

    pids = [forked(functools.partial(work, seed)) for seed in (1, 2, 3)]
    for number in range(60):
        time.sleep(0.01)
        victim = pids.pop(0)
        os.kill(victim, signal.SIGKILL)
        assert ended(victim) == -signal.SIGKILL  # and not of an exception
        pids.append(forked(functools.partial(work, number)))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        ended(pid)
    while True:
        try:
            q.get(timeout=ENOUGH if q.qsize() else 0.2)
        except queue.Empty:
            break
        q.task_done()
    q.recover()
    q.join()
    q.put("still works")
    assert q.get() == "still works"


def test_a_sender_may_be_gone():
    q = achar.Queue()
    assert ended(forked(lambda: q.put({"from": "the dead", "array": numpy.arange(100_000)}))) == 0
    got = q.get(timeout=ENOUGH)
    assert got["from"] == "the dead" and got["array"][-1] == 99_999


def test_a_forked_child_keeps_what_its_parent_had():
    q, go = achar.Queue(), achar.Event()
    q.put(numpy.full(100_000, 3))
    arrays = [q.get()]

    def look():
        assert go.wait(ENOUGH)
        assert (arrays[0] == 3).all()

    pid = forked(look)
    arrays.clear()
    gc.collect()
    for _ in range(5):  # would find the memory, if it were free
        q.put(numpy.full(100_000, 4))
    go.set()
    assert ended(pid) == 0


# ---- CPython's own ----


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessings_own_tests_of_queues(method):
    done = subprocess.run(
        [sys.executable, HERE / "run_multiprocessing_tests.py", method, "_TestQueue"],
        capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["bad"] == [], done.stderr
    assert outcome["ran"] >= 8
